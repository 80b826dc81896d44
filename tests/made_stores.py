"""Stores of made-up runs, for what reads them."""

from __future__ import annotations

import json
from collections.abc import Callable

from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.store import COLUMNS, Store

STEPS = list(range(0, 60, 5))


def made_store(
    score: Callable[[str, str, int], dict[str, object]],
    arms: tuple[str, ...],
    tables: int = 6,
    splits: int = 3,
) -> Store:
    """Rows as of real runs: ``score`` gives what is special by arm, table and split."""
    store = Store()
    for arm in arms:
        for table in (f"t{i}" for i in range(tables)):
            for split in range(splits):
                store.add(made_row(arm, table, split, **score(arm, table, split)))
    return store


def made_row(
    arm: str,
    table: str,
    split: int,
    auc: float,
    log_loss: float = 0.5,
    curves: dict[str, list] | None = None,
    seconds: float = 10.0,
    **settings: object,
) -> dict[str, object]:
    """Make one row; `curves` replaces columns of a rising one."""
    trained = arm not in ("zero_shot", "zero_shot_reseeded", "random_forest")
    method = "finetuned" if trained else "zero_shot"
    named = {"arm": arm, "dataset": table, "split": split, "seed": split, "method": method}
    named |= {"generator": arm.split("_whole")[0] if arm.startswith(("causal", "smote")) else None}
    named |= {"n_train": 60, "n_val": 20, "data": f"hash of {table}", "weights": "w0"}
    named |= settings
    falling = [1.0 - step / 100 for step in STEPS]
    rising = [0.5 + step / 1000 for step in STEPS]
    found = {"step": STEPS, "val_auc": rising, "test_auc": rising}
    found |= {"val_log_loss": falling, "test_log_loss": falling} | (curves or {})
    outcome = {"auc": auc, "log_loss": log_loss, "accuracy": auc, "best_step": STEPS[-1]}
    timings = {"generator_seconds": 2.0, "search_seconds": 1.0}
    timings["validation_seconds"] = [2.0 * step for step in STEPS]
    row = dict.fromkeys(COLUMNS, "{}") | {"kind": KIND, "status": "ok", "device": "cpu"}
    row |= {"settings": json.dumps(named), "key": json.dumps(named), "outcome": json.dumps(outcome)}
    row |= {"curves": json.dumps(found) if trained else None, "error": None, "commit": "c0"}
    row |= {"timings": json.dumps(timings if trained else {}), "seconds": seconds}
    return row | {"finished": 0.0}
