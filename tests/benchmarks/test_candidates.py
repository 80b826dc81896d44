"""Candidates: what curves become under a rule, harm, and a choice that knows no winner's luck."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.candidates import (
    CHOSEN,
    RULES,
    candidate_gains,
    check_promise,
    describe_choice,
    describe_default,
    harm,
    judge_candidates,
    nested_choice,
)
from causalmix.benchmarks.plan import read_plan
from causalmix.benchmarks.store import COLUMNS, Store
from causalmix.errors import CausalMixError
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.estimator import CausalMixClassifier
from causalmix.tfm.model import load_tfm


def add(store, arm, dataset="t", split=0, seed=0, auc=0.8, log_loss=0.5, curves=None, config=None):
    settings = {"arm": arm, "dataset": dataset, "split": split, "seed": seed, "n_val": 30}
    settings["config"] = config
    row = dict.fromkeys(COLUMNS, "{}") | {"key": json.dumps(settings), "kind": KIND}
    row |= {"settings": json.dumps(settings), "status": "ok", "seconds": 1.0, "error": None}
    row |= {"outcome": json.dumps({"auc": auc, "log_loss": log_loss}), "finished": time.time()}
    store.add(row | {"curves": curves and json.dumps(curves)})


CURVES = {
    "step": [0, 10, 20],
    "val_log_loss": [0.6, 0.5, 0.7],
    "val_gain_se": [0.0, 0.01, 0.01],
    "test_auc": [0.8, 0.85, 0.7],
    "test_log_loss": [0.5, 0.45, 0.6],
    "mean_val_log_loss": [0.6, 0.55, 0.5],
    "mean_val_gain_se": [0.0, 0.01, 0.01],
    "mean_test_auc": [0.8, 0.82, 0.83],
    "mean_test_log_loss": [0.5, 0.48, 0.47],
}


def test_one_run_gives_a_candidate_a_view_and_rule():
    store = Store()
    add(store, "zero_shot")
    add(store, "default", curves=CURVES)
    add(store, "zero_shot_8", auc=0.81, log_loss=0.49)
    add(store, "zero_shot_reseeded", seed=7, auc=0.79)
    add(store, "default", split=1, curves=CURVES)  # nothing to compare with
    unrecorded = {"step": [0, 20], "val_log_loss": [0.6, 0.5], "val_gain_se": [0.0, 0.01]}
    whole = {"rule": "last", "level": 1.0}
    add(store, "default_all_rows", log_loss=0.4, curves=unrecorded, config=whole)
    gains = candidate_gains(store).set_index(["arm", "view", "rule"])
    assert len(gains) == 9
    assert gains.loc[("default_all_rows", "", "last"), "log_loss_gain"] == pytest.approx(0.1)
    found = gains.loc["default"][["auc_gain", "log_loss_gain"]].round(9)
    assert found.loc[("", "last")].tolist() == [-0.1, -0.1]
    assert found.loc[("", "tested")].tolist() == [0.0, 0.0]
    assert found.loc[("", "best")].tolist() == [0.05, 0.05]
    assert found.loc[("mean_", "last")].tolist() == [0.03, 0.03]
    assert gains.loc[("zero_shot_8", "", ""), "auc_gain"] == pytest.approx(0.01)
    with pytest.raises(CausalMixError, match="no runs of the arm 'zero_shot'"):
        candidate_gains(Store())


def made(arm: str, gains: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"arm": arm, "view": "", "rule": "last", "dataset": dataset, "split": i, "seed": i}
        | {"auc_gain": 0.0, "log_loss_gain": value, "seconds": 1.0}
        for dataset, values in gains.items()
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_harm_is_of_tables_and_of_runs():
    surely = {"a": [-0.02, -0.021, -0.019], "b": [0.05, 0.04, -0.005]}
    promise = check_promise(made("x", surely), noise_floor=0.6)
    assert promise.worse_tables == ("a",)
    assert promise.worse_runs == pytest.approx(3 / 6)
    assert not promise.kept
    perhaps = check_promise(made("x", {"a": [-0.2, 0.1, 0.02]}), noise_floor=0.32)
    assert perhaps.worse_tables == ()
    assert perhaps.kept
    assert not check_promise(made("x", {"a": [-0.2, 0.1, 0.02]}), noise_floor=0.3).kept
    once = check_promise(made("x", {"a": [0.1], "b": [0.1, 0.2]}), noise_floor=0.3)
    unknown = check_promise(made("x", {"a": [0.1, 0.2]}), noise_floor=float("nan"))
    assert once.kept is None
    assert unknown.kept is None
    assert harm(made("x", {"a": [-0.0099, -0.011]})) == 0.5


def test_candidates_are_judged_by_the_mean_over_tables():
    # Two splits of one table count as much as one of the other.
    rows = made("x", {"a": [0.1, 0.3], "b": [0.0]})
    rows = pd.concat([rows, made("zero_shot_reseeded", {"a": [0.0, -0.02], "b": [0.0]})])
    judged = judge_candidates(rows).set_index("arm")
    assert judged.loc["x", "log_loss_gain"] == pytest.approx(0.1)
    assert judged.loc["x", "noise_floor"] == pytest.approx(1 / 3)
    assert judged.index.tolist() == ["x", "zero_shot_reseeded"]


def test_a_nested_choice_does_not_see_the_winners_luck():
    """Fifty candidates of no worth: the best of all looks good, the choice does not."""
    rng = np.random.default_rng(0)
    names = [f"c{i}" for i in range(50)]
    tables = [f"t{i}" for i in range(12)]
    rows = pd.concat(made(c, {t: [rng.normal(0, 0.02)] for t in tables}) for c in names)
    best = rows.groupby("arm")["log_loss_gain"].mean().max()
    chosen = nested_choice(rows, [(c, "", "last") for c in names])
    assert best > 0.01
    assert abs(chosen["log_loss_gain"].mean()) < 0.008
    good = pd.concat([rows, made("good", {t: [0.05] for t in tables})])
    picked = nested_choice(good, [(c, "", "last") for c in [*names, "good"]])
    assert set(picked["arm"]) == {"good"}
    assert "the gain is +0.0000 ROC-AUC" in describe_choice(good)
    assert "+0.0500 nats [0.0500, 0.0500] (12 tables)" in describe_choice(good)
    assert picked["log_loss_gain"].mean() == pytest.approx(0.05)


def test_the_default_is_described_and_its_promise_judged():
    arm = CHOSEN[0]
    rows = pd.concat(
        [
            made(arm, {"a": [0.04, 0.04], "b": [0.04, 0.04]}).assign(rule=CHOSEN[2]),
            made("default", {"a": [0.05, 0.05], "b": [0.05, 0.05]}),
            made("zero_shot_reseeded", {"a": [0.0, 0.0], "b": [0.0, -0.02]}).assign(rule=""),
        ]
    )
    said = describe_default(rows)
    assert "+0.0400 nats over 2 tables, 80% of what the best candidate gains on" in said
    assert "0% of its 4 runs" in said
    assert "alone make 25% do so" in said
    assert said.endswith("0 tables are surely worse. It keeps the promise.")
    once = rows.groupby(["arm", "dataset"]).head(1)
    assert describe_default(once).endswith("cannot be said.")
    worse = rows.assign(log_loss_gain=rows["log_loss_gain"].where(rows["arm"] != arm, -0.04))
    assert describe_default(worse).endswith("2 tables are surely worse. It breaks the promise.")


def test_the_default_is_what_was_measured():
    network, plan = load_tfm().network, read_plan("tuning_more")
    config = asdict(FinetuneConfig().settled(network, generates=True))
    rule, level = RULES[CHOSEN[2]]
    measured = plan.config | plan.arms_by_name[CHOSEN[0]].config | {"rule": rule, "level": level}
    del measured["validate_every"]  # the last step is validated in any case
    assert {name: config[name] for name in measured} == measured
    assert CausalMixClassifier().generator == plan.arms_by_name[CHOSEN[0]].generator == "causal"
