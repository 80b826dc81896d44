"""Rules that choose weights, judged on recorded runs and compared over datasets."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from causalmix.benchmarks.comparison import COMPARED, GAINS, mean_and_interval
from causalmix.finetuning.metrics import normalised_improvement
from causalmix.finetuning.stopping import EVEN, RULES, UNTESTED, replay

LEVELS = (UNTESTED, 0.95, 0.84, EVEN, 0.16, 0.05)
"""Levels of the test against step 0 that every rule is judged at."""

STEPS = (16, 24, 40)
"""Lengths of a run that are judged, where it has as many steps."""

ORACLE = "oracle"
"""Rule that keeps the step with the lowest test log-loss: the best that choosing can do."""

HARM = 0.005
"""Mean loss of ROC-AUC on a dataset that counts as harm."""

_SETTING, _CHOICE = ["n_train", "mixing", "steps"], ["rule", "level"]
_RUN = ["dataset", "n_train", "seed", "mixing"]


def count_validation_rows(n_train: int) -> int:
    """Return the validation rows beside so many training rows: a fifth of both together."""
    return round(n_train / 4)


def read_histories(runs: pd.DataFrame) -> list[pd.DataFrame]:
    """Read the recorded curves.

    Parameters
    ----------
    runs : DataFrame
        Rows as `causalmix.benchmarks.stopping_rules.benchmark_rules` writes them.

    Returns
    -------
    list of DataFrame
        A history a row; columns as in :class:`causalmix.finetuning.run.FinetuneResult`.
    """
    return [pd.DataFrame(json.loads(text)) for text in runs["history"]]


def judge_runs(
    runs: pd.DataFrame,
    *,
    rules: Sequence[str] = tuple(RULES),
    steps: Sequence[int] = STEPS,
    patience: int,
) -> pd.DataFrame:
    """Let every rule choose a step of every run.

    Parameters
    ----------
    runs : DataFrame
        Rows as `causalmix.benchmarks.stopping_rules.benchmark_rules` writes them.
    rules : sequence of str
        Of `causalmix.finetuning.stopping.RULES`.
    steps : sequence of int
        Lengths at which a run is judged besides its own: a shorter run is the beginning of a
        longer one.
    patience : int
        Validations without a larger gain after which a rule stops.

    Returns
    -------
    DataFrame
        A row per run, length ``steps``, rule and level (`LEVELS`), and one a length for the
        `ORACLE`: ``kept`` (step), ``auc`` and ``log_loss`` of the test rows at that step,
        ``zero_shot_auc`` and ``zero_shot_log_loss`` at step 0, and ``improvement``, the
        normalised one of ROC-AUC.
    """
    records = []
    for run, history in zip(runs.to_dict("records"), read_histories(runs), strict=True):
        n_val = count_validation_rows(run["n_train"])
        for part in _beginnings(history, steps):
            chosen = {(ORACLE, EVEN): int(part["test_log_loss"].argmin())}
            for rule in rules:
                for level in LEVELS:
                    choice = replay(part, rule, level=level, n_val=n_val, patience=patience)
                    chosen[rule, level] = choice.kept
            before, length = part.iloc[0], int(part["step"].iloc[-1])
            for (rule, level), kept in chosen.items():
                after = part.iloc[kept]
                record = {name: run[name] for name in _RUN}
                record |= {"steps": length, "rule": rule, "level": level}
                record["kept"] = int(after["step"])
                for prefix, scores in (("", after), ("zero_shot_", before)):
                    record |= {f"{prefix}{name}": scores[f"test_{name}"] for name in COMPARED}
                records.append(record)
    judged = pd.DataFrame(records)
    improvement = normalised_improvement(judged["auc"], judged["zero_shot_auc"])
    return judged.assign(improvement=improvement)


def _beginnings(history: pd.DataFrame, steps: Sequence[int]) -> list[pd.DataFrame]:
    wanted = history["step"].isin(steps) | (history["step"] == history["step"].iloc[-1])
    return [history.iloc[: end + 1] for end in np.flatnonzero(wanted)]


def gains_by_dataset(judged: pd.DataFrame) -> pd.DataFrame:
    """Average the gains over the seeds of every dataset.

    Parameters
    ----------
    judged : DataFrame
        As `judge_runs` gives it.

    Returns
    -------
    DataFrame
        A row per ``n_train``, ``mixing``, ``steps``, ``rule``, ``level`` and ``dataset``: mean
        gains over zero-shot ``auc_gain``, ``log_loss_gain`` (a decrease, nats) and
        ``improvement``, and ``untouched``, the share of runs that keep step 0.
    """
    gains = judged.assign(
        auc_gain=judged["auc"] - judged["zero_shot_auc"],
        log_loss_gain=judged["zero_shot_log_loss"] - judged["log_loss"],
        untouched=(judged["kept"] == 0).astype(float),
    )
    values = [*GAINS, "improvement", "untouched"]
    return gains.groupby([*_SETTING, *_CHOICE, "dataset"], sort=False)[values].mean().reset_index()


def summarise_rules(judged: pd.DataFrame) -> pd.DataFrame:
    """Compare rules over datasets, each of which counts once.

    Parameters
    ----------
    judged : DataFrame
        As `judge_runs` gives it.

    Returns
    -------
    DataFrame
        A row per ``n_train``, ``mixing``, ``steps``, ``rule`` and ``level``: ``datasets``, the
        mean gains over zero-shot ``auc_gain`` and ``log_loss_gain``, each with its 95 % interval
        (`causalmix.benchmarks.comparison.bootstrap_interval` over datasets), ``improvement``
        (median over datasets), ``worst`` (least mean gain of ROC-AUC on a dataset), ``harmed``
        (datasets that lose more than `HARM`), ``untouched`` (share of runs that keep step 0), and
        ``of_oracle``, the log-loss gain as a share of the oracle's.
    """
    per_dataset = gains_by_dataset(judged)
    records = []
    keys = [*_SETTING, *_CHOICE]
    for key, group in per_dataset.groupby(keys, sort=False):
        record = dict(zip(keys, key, strict=True)) | {"datasets": len(group)}
        for name in GAINS:
            record |= mean_and_interval(group[name].to_numpy(), name, f"{name}_")
        record |= {
            "improvement": group["improvement"].median(),
            "worst": group["auc_gain"].min(),
            "harmed": int((group["auc_gain"] < -HARM).sum()),
            "untouched": group["untouched"].mean(),
        }
        records.append(record)
    table = pd.DataFrame(records)
    best = table[table["rule"] == ORACLE].set_index(_SETTING)["log_loss_gain"]
    reach = best.reindex(pd.MultiIndex.from_frame(table[_SETTING])).to_numpy()
    return table.assign(of_oracle=table["log_loss_gain"] / np.where(reach > 0, reach, np.nan))
