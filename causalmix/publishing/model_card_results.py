"""The committed results that the model card's numbers come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from causalmix.benchmarks.results import RESTORE
from causalmix.benchmarks.zero_shot import METHODS
from causalmix.errors import CausalMixError, naming
from causalmix.manifest import read_json
from causalmix.tfm.model import FoundationModel, load_tfm


@dataclass(frozen=True)
class Results:
    """What the page's numbers are computed from.

    Attributes
    ----------
    model : FoundationModel
        The embedded checkpoint.
    pretraining, log : mapping and DataFrame
        Manifest and curves of its pre-training.
    rows, summary, evaluation : DataFrame, DataFrame and mapping
        Scores of the evaluation, a row a table, size, split and method; their summary; and its
        manifest.
    traits, small, inference : DataFrame
        Summaries of the evaluation by traits of the tables, of that on truly small tables, and of
        the checkpoint with other inference settings.
    codes, calibration : DataFrame
        Summary of the checkpoint with codes in place of one-hot columns, and rows with
        `RELIABILITY`.
    boosters, boosters_small, share : DataFrame
        Summaries of one split beside CatBoost and LightGBM, on the tables of the evaluation and on
        truly small ones, and of one split that labels half of a table's rows.
    games, games_rounds, games_summary, games_manifest : DataFrames and mapping
        What pre-training as a game gave; see `causalmix.pretraining.comparison`.
    speed : mapping
        Timings of the evaluation.
    """

    model: FoundationModel
    pretraining: Mapping[str, Any]
    log: pd.DataFrame
    rows: pd.DataFrame
    summary: pd.DataFrame
    evaluation: Mapping[str, Any]
    traits: pd.DataFrame
    small: pd.DataFrame
    inference: pd.DataFrame
    codes: pd.DataFrame
    calibration: pd.DataFrame
    boosters: pd.DataFrame
    boosters_small: pd.DataFrame
    share: pd.DataFrame
    games: pd.DataFrame
    games_rounds: pd.DataFrame
    games_summary: pd.DataFrame
    games_manifest: Mapping[str, Any]
    speed: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Read them from the project's folder of results.

        Parameters
        ----------
        folder : pathlib.Path

        Returns
        -------
        Results
            Rows that the manifest does not name are left out.

        Raises
        ------
        CausalMixError
            If a file is missing.
        """
        tfm = folder / "tfm" / "evaluation"
        names = [f"{tfm}{end}" for end in (".csv", "_summary.csv", "_manifest.json", "_speed.json")]
        names += [f"{folder}/pretrain/{name}" for name in ("manifest.json", "log.csv")]
        others = {
            name: folder / "tfm" / f"{file}.csv"
            for name, file in (
                ("traits", "evaluation_traits"),
                ("small", "small_summary"),
                ("inference", "inference_summary"),
                ("codes", "codes_summary"),
                ("calibration", "calibration"),
                ("boosters", "boosters_summary"),
                ("boosters_small", "boosters_small_summary"),
                ("share", "share_summary"),
            )
        }
        games = folder / "pretrain" / "games"
        others["games"] = Path(f"{games}.csv")
        others |= {f"games_{end}": Path(f"{games}_{end}.csv") for end in ("rounds", "summary")}
        names += [*map(str, others.values()), f"{games}_manifest.json"]
        missing = [Path(name).name for name in names if not Path(name).is_file()]
        if missing:
            raise CausalMixError(
                f"The model card needs {', '.join(missing)} below {folder.name}/: run "
                "'causalmix evaluate-tfm' as the page says, or take the page out of _toc.yml."
            )
        evaluation = _json(f"{tfm}_manifest.json")
        rows = _table(f"{tfm}.csv", dtype={"dataset": str})
        known = rows["dataset"].isin(evaluation["data"]) & rows["method"].isin(METHODS)
        sizes = rows["n_train"].isin(evaluation["settings"]["n_train"])
        return cls(
            model=load_tfm(),
            pretraining=_json(f"{folder}/pretrain/manifest.json"),
            log=_read_logs(folder / "pretrain"),
            rows=rows[known & sizes & (rows["seed"] < evaluation["settings"]["seeds"])],
            summary=_table(f"{tfm}_summary.csv"),
            evaluation=evaluation,
            speed=_json(f"{tfm}_speed.json"),
            games_manifest=_json(f"{games}_manifest.json"),
            **{name: _table(path) for name, path in others.items()},
        )

    @property
    def held_out(self) -> pd.DataFrame:
        """Summary over the tables that the checkpoint was not tuned on."""
        return held_out(self.summary)

    def of_tables(self, tables: str) -> pd.DataFrame:
        """Summary over one group of tables."""
        return self.summary[self.summary["tables"] == tables]

    @property
    def per_table(self) -> pd.DataFrame:
        """Mean ROC-AUC over seeds: a row a held-out table and size, a column a method."""
        tuning = self.evaluation["settings"]["tuning"]
        rows = self.rows[~self.rows["dataset"].isin(tuning)]
        return rows.pivot_table(index=["dataset", "n_train"], columns="method", values="auc")


def held_out(summary: pd.DataFrame) -> pd.DataFrame:
    """Return a summary's rows over tables that the checkpoint was not tuned on.

    Parameters
    ----------
    summary : DataFrame
        As :func:`causalmix.benchmarks.comparison.compare_methods` returns it, by ``tables``.

    Returns
    -------
    DataFrame
    """
    return summary[summary["tables"] == "held-out"]


def _read_logs(folder: Path) -> pd.DataFrame:
    """Read the logs of all runs behind the checkpoint, one after the other."""
    logs, step, seconds = [], 0, 0.0
    for path in (folder / "first" / "log.csv", folder / "second" / "log.csv", folder / "log.csv"):
        if path.is_file():
            log = _table(path)
            logs.append(log.assign(step=log["step"] + step, seconds=log["seconds"] + seconds))
            step, seconds = logs[-1]["step"].iloc[-1], logs[-1]["seconds"].iloc[-1]
    return pd.concat(logs, ignore_index=True)


def _table(path: str | Path, **options: Any) -> pd.DataFrame:
    with naming(Path(path), "a table of results", RESTORE):
        return pd.read_csv(path, **options)


def _json(path: str) -> dict[str, Any]:
    return read_json(Path(path), "a record of results", RESTORE)
