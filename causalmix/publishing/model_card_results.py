"""The committed results that the model card's numbers come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from causalmix.benchmarks.results import read_record, read_result
from causalmix.benchmarks.zero_shot import METHODS
from causalmix.errors import CausalMixError
from causalmix.tfm.model import FoundationModel, load_tfm

_TABLES = {
    "rows": "tfm/evaluation",
    "summary": "tfm/evaluation_summary",
    "traits": "tfm/evaluation_traits",
    "small": "tfm/small_summary",
    "inference": "tfm/inference_summary",
    "codes": "tfm/codes_summary",
    "calibration": "tfm/calibration",
    "boosters": "tfm/boosters_summary",
    "boosters_small": "tfm/boosters_small_summary",
    "share": "tfm/share_summary",
    "log": "pretrain/log",
    **{name: f"pretrain/{name}" for name in ("games", "games_rounds", "games_summary")},
}
_RECORDS = {
    "evaluation": "tfm/evaluation_manifest",
    "speed": "tfm/evaluation_speed",
    "pretraining": "pretrain/manifest",
    "games_manifest": "pretrain/games_manifest",
}


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
        paths = {name: folder / f"{file}.csv" for name, file in _TABLES.items()}
        paths |= {name: folder / f"{file}.json" for name, file in _RECORDS.items()}
        missing = [path.name for path in paths.values() if not path.is_file()]
        if missing:
            raise CausalMixError(
                f"The model card needs {', '.join(missing)} below {folder.name}/: run "
                "'causalmix evaluate-tfm' as the page says, or take the page out of _toc.yml."
            )
        records = {name: read_record(paths[name]) for name in _RECORDS}
        tables = {name: read_result(paths[name], dtype={"dataset": str}) for name in _TABLES}
        rows, evaluation = tables["rows"], records["evaluation"]
        known = rows["dataset"].isin(evaluation["data"]) & rows["method"].isin(METHODS)
        sizes = rows["n_train"].isin(evaluation["settings"]["n_train"])
        tables["rows"] = rows[known & sizes & (rows["seed"] < evaluation["settings"]["seeds"])]
        tables["log"] = _read_logs(folder / "pretrain")
        return cls(model=load_tfm(), **tables, **records)

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
            log = read_result(path)
            logs.append(log.assign(step=log["step"] + step, seconds=log["seconds"] + seconds))
            step, seconds = logs[-1]["step"].iloc[-1], logs[-1]["seconds"].iloc[-1]
    return pd.concat(logs, ignore_index=True)
