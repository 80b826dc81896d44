"""Runs of the engine that are quick, fail, or end their worker."""

from __future__ import annotations

import os
import signal
import time

from causalmix.benchmarks.engine import Outcome, Run
from causalmix.data.dataset import TabularDataset


def perform(run: Run, table: TabularDataset | None, prepared: object) -> Outcome:
    """Square a number; what is asked for besides is done first."""
    number = run.settings["number"]
    time.sleep(run.places.get("seconds", 0))
    if run.settings.get("fails"):
        raise ValueError(f"number {number} is refused")
    if run.settings.get("kills"):
        os.kill(os.getpid(), signal.SIGKILL)
    values = {"square": number**2, "rows": 0 if table is None else table.n_rows}
    if prepared is not None:
        values["prepared"] = prepared["split"]
    return Outcome(values, {"step": [0, 1], "loss": [1.0, 1 / (1 + number)]}, {"part": 0.5})


def prepare(run: Run, table: TabularDataset | None) -> dict[str, object]:
    """Name the split; leave a file behind, to be counted."""
    if run.settings["split"] < 0:
        raise ValueError("no such split")
    with open(run.places["log"], "a", encoding="utf-8") as file:
        file.write(f"{run.settings['split']}\n")
    return {"split": run.settings["split"]}
