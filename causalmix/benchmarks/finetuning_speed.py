"""How fast fine-tuning is against tabpfn's own class, as ratios in one run on one machine.

Both fine-tune the same checkpoint on the same rows. CPU time is counted, not wall-clock time, so
that other load on the machine matters little.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tabpfn.finetuning import FinetunedTabPFNClassifier, NullLogger

from causalmix.atomic import check_writable, make_folder, stage_folder
from causalmix.benchmarks.timing import (
    make_table,
    processor_seconds,
    summarise_pairs,
    torch_threads,
    write_measured,
)
from causalmix.data.splitting import Split, low_data_split
from causalmix.errors import check_whole
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.run import finetune
from causalmix.manifest import read_json
from causalmix.tfm.model import FoundationModel, load_tfm

_MEMBERS = 2  # of the ensemble: the library's default for training and validation
_LIBRARY_RATE, _LIBRARY_EPOCHS = 1e-5, 30  # its defaults


def measure_steps(
    tfm: FoundationModel,
    checkpoint: Path,
    *,
    n_train: int,
    n_val: int = 60,
    n_features: int = 20,
    steps: int = 10,
    repeats: int = 3,
) -> dict[str, object]:
    """Compare the CPU time of an optimiser step that is followed by a validation.

    A step of either is two tasks of all training rows, a fifth of them queries, and moves all
    weights; the validation has two members. The library runs with activation checkpointing, as it
    does by default. Time before the first step is taken off as the time of a run of one step.

    Parameters
    ----------
    tfm : FoundationModel
        The checkpoint, loaded on the CPU.
    checkpoint : Path
        The same as a file.
    n_train, n_val, n_features : int
        Size of a made-up table of two classes; all columns are numeric.
    steps : int, default=10
        Steps that are timed.
    repeats : int, default=3
        Pairs of measurements, one after the other, after one that does not count.

    Returns
    -------
    dict
        ``ratio`` (median over the pairs of the library's seconds divided by ours), ``ratios``,
        ``seconds`` and ``library_seconds`` (medians, CPU time a step), and the arguments.
    """
    split = _split(n_train, n_val, n_features, seed=0)

    def ours(n: int) -> None:
        task = {"tasks_per_step": _MEMBERS, "rows_per_task": n_train, "query_share": 0.2}
        task |= {"rehearsal": 0.0, "trained": "all"}  # as the library does
        config = FinetuneConfig(steps=n, validate_every=1, patience=n + 1, **task)
        finetune(tfm, split, config=config, n_estimators=_MEMBERS)

    def theirs(n: int) -> None:
        _library(checkpoint, epochs=n, early_stopping=False, split=split)

    def seconds(run: Callable[[int], object]) -> float:
        whole = processor_seconds(partial(run, steps + 1))
        return (whole - processor_seconds(partial(run, 1))) / steps

    pairs = [(seconds(ours), seconds(theirs)) for _ in range(repeats + 1)][1:]
    sizes = {"n_train": n_train, "n_val": n_val, "n_features": n_features, "steps": steps}
    return summarise_pairs(pairs, "seconds", "library_seconds") | sizes


def measure_time_to_loss(
    tfm: FoundationModel,
    checkpoint: Path,
    *,
    n_train: int,
    n_val: int = 60,
    n_features: int = 20,
    seed: int = 0,
    config: FinetuneConfig | None = None,
) -> list[dict[str, object]]:
    """Compare the CPU time to the same validation log-loss.

    Ours are the defaults of `FinetuneConfig`; the library has its own, once as they are and once
    with our learning rate, since its default rate hardly moves a small network. Both have an
    ensemble of two, and so start from the same log-loss. The aim is what both reach: the higher
    one of their best log-losses.

    Parameters
    ----------
    tfm, checkpoint, n_train, n_val, n_features
        As in `measure_steps`.
    seed : int, default=0
        Of the made-up table.
    config : FinetuneConfig, optional
        Ours.

    Returns
    -------
    list of dict
        One a learning rate of the library: ``ratio`` (the library's seconds divided by ours; NaN
        where one of the two never improves on zero-shot), ``seconds`` and ``library_seconds``
        (CPU time from the start to the first validation at or below the aim), ``steps`` and
        ``library_steps`` up to there, ``log_loss`` (the aim, nats), ``zero_shot_log_loss``,
        ``best_log_loss`` and ``library_best_log_loss``, ``library_learning_rate``, and the
        arguments.
    """
    config = (config or FinetuneConfig()).settled(tfm.network, generates=False)
    split = _split(n_train, n_val, n_features, seed)
    curve = finetune(tfm, split, config=config, n_estimators=_MEMBERS).history
    curve = curve.set_index("step")["val_log_loss"]

    rows = []
    for rate in (_LIBRARY_RATE, config.learning_rate):
        options = {"learning_rate": rate, "epochs": min(config.steps, _LIBRARY_EPOCHS)}
        library = _library(checkpoint, split=split, eval_metric="log_loss", **options)
        best, theirs = float(curve.min()), float(library["val_log_loss"].min())
        row = {"library_learning_rate": rate, "zero_shot_log_loss": float(curve[0])}
        row |= {"best_log_loss": best, "library_best_log_loss": theirs}
        row |= {"log_loss": max(best, theirs), "ratio": float("nan")}
        row |= {"n_train": n_train, "n_val": n_val, "n_features": n_features, "seed": seed}
        if row["log_loss"] < curve[0] - 1e-4:  # less is rounding: the library's first rate is 0
            first = library[library["val_log_loss"] <= row["log_loss"]].iloc[0]
            step = int(curve.index[curve <= row["log_loss"]][0])
            # The same run again up to there: a seed fixes it.
            part = dataclasses.replace(config, steps=step)
            again = partial(finetune, tfm, split, config=part, n_estimators=_MEMBERS)
            row |= {"steps": step, "library_steps": int(first["step"])}
            row["seconds"] = processor_seconds(again)
            row["library_seconds"] = float(first["cpu_seconds"])
            row["ratio"] = row["library_seconds"] / row["seconds"]
        rows.append(row)
    return rows


def write_finetuning_speed(
    tfm: str | Path,
    path: Path,
    *,
    n_train: tuple[int, ...] = (200, 500),
    steps: int = 10,
    repeats: int = 3,
    seeds: int = 3,
) -> Path:
    """Measure the speed of fine-tuning a checkpoint and write it down.

    Parameters
    ----------
    tfm : str or Path
        Checkpoint as :func:`causalmix.tfm.model.load_tfm` takes it.
    path : Path
        JSON file to write; its folder is made.
    n_train : tuple of int, default=(200, 500)
        Training rows.
    steps, repeats : int, default=10 and 3
        As in `measure_steps`.
    seeds : int, default=3
        Made-up tables for `measure_time_to_loss`.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    CausalMixError
        If a number is below 1.
    """
    counts = {"n_train": min(n_train), "steps": steps, "repeats": repeats, "seeds": seeds}
    for name, value in counts.items():
        check_whole(value, 1, name)
    check_writable(path)
    model = load_tfm(tfm)
    make_folder(path.parent)
    with stage_folder(path) as folder:
        # The library takes a file, whose name says no version.
        checkpoint = model.save(folder / "checkpoint.safetensors")
        with torch_threads(1):
            timed = [
                measure_steps(model, checkpoint, n_train=n, steps=steps, repeats=repeats)
                for n in n_train
            ]
            losses = [
                row
                for n in n_train
                for seed in range(seeds)
                for row in measure_time_to_loss(model, checkpoint, n_train=n, seed=seed)
            ]
    settings = {"tfm": model.source, "checkpoint": model.content_hash, "threads": 1}
    return write_measured(path, {"steps": timed, "time_to_loss": losses}, settings)


def describe(path: Path) -> str:
    """Summarise what `write_finetuning_speed` wrote.

    Parameters
    ----------
    path : Path
        The JSON file.

    Returns
    -------
    str
        Tables for the terminal.
    """
    found = read_json(path, "measurements of speed", "Measure again.")
    steps = pd.DataFrame(found["steps"])[["n_train", "seconds", "library_seconds", "ratio"]]
    columns = ["n_train", "seed", "library_learning_rate", "log_loss", "zero_shot_log_loss"]
    columns += ["seconds", "library_seconds", "ratio"]
    losses = pd.DataFrame(found["time_to_loss"]).reindex(columns=columns)
    return (
        f"CPU time of a step with validation:\n{steps.round(3).to_string(index=False)}\n"
        f"CPU time to a log-loss:\n{losses.round(5).to_string(index=False)}"
    )


class _Clock(NullLogger):
    """Logger of the library's class: validation log-loss and CPU time after every epoch."""

    def __init__(self) -> None:
        self.start = time.process_time()
        self.records: list[dict[str, float]] = []

    def log_epoch(self, metrics: dict[str, float], step: int) -> None:
        """Note a validation."""
        seconds = time.process_time() - self.start
        loss = metrics["val/log_loss"]
        self.records.append({"step": step, "val_log_loss": loss, "cpu_seconds": seconds})


def _library(checkpoint: Path, *, split: Split, **options: Any) -> pd.DataFrame:
    """Fine-tune with tabpfn's class; a row per validation after a step."""
    clock = _Clock()
    extra = {"model_path": str(checkpoint), "inference_precision": torch.float32}
    classifier = FinetunedTabPFNClassifier(
        device="cpu",
        n_estimators_final_inference=_MEMBERS,
        experiment_logger=clock,
        extra_classifier_kwargs=extra,
        **options,
    )
    parts = [(part.X.to_numpy(), part.y.cat.codes.to_numpy()) for part in (split.train, split.val)]
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stderr(io.StringIO()):
        classifier.fit(*parts[0], *parts[1])
    return pd.DataFrame(clock.records)


def _split(n_train: int, n_val: int, n_features: int, seed: int) -> Split:
    table = make_table(n_train + n_val + 2, n_features, seed, flip_y=0.1)
    return low_data_split(table, n_train, n_val, seed=0)
