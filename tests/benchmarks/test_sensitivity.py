"""Other readings of a store: the last step, levels of arms, what chance does to ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_stores import STEPS, made_row, made_store
from scipy import stats

from causalmix.benchmarks.audit import compared_cube
from causalmix.benchmarks.claims import DEFAULT, PAPER, Cube
from causalmix.benchmarks.sensitivity import (
    at_last_step,
    chance_of_rank_lead,
    contrasts_by_tables,
    decisive_tables,
    harm_falls,
    levels_by_arm,
    rank_verdicts_by_chance,
    sd_lead,
)

ARMS = ("zero_shot", "default", "causal_paper", "smote_nc")
GAINS = {  # of four tables whose zero-shot error is .2
    "default": (0.0, 0.1, 0.0, -0.1),
    "causal_paper": (0.0, 0.02, 0.0, -0.02),
    "smote_nc": (0.01, 0.01, 0.01, 0.01),
}


def score(arm: str, table: str, split: int) -> dict[str, object]:
    gain = GAINS.get(arm, (0.0,) * 4)[int(table[1:])]
    test = np.linspace(0.8, 0.7 if arm == "default" else 0.85, len(STEPS))
    return {"auc": 0.8 + gain, "curves": {"test_auc": test.tolist()}}


@pytest.fixture(scope="module")
def store():
    return made_store(score, ARMS, tables=4, splits=2)


def test_the_last_step_has_its_own_scores_whatever_was_kept(store):
    kept, last = store.runs(), at_last_step(store)
    assert last.index.equals(kept.index)
    by_arm = last.groupby("arm")["auc"]
    assert by_arm.max()["default"] == by_arm.min()["default"] == pytest.approx(0.7)
    assert by_arm.mean()["zero_shot"] == pytest.approx(0.8)  # nothing was trained
    assert kept.loc[kept["arm"] == "default", "auc"].max() == pytest.approx(0.9)


def test_levels_are_those_of_the_arms_themselves(store):
    cube = compared_cube(store)
    levels = levels_by_arm(store, cube)
    shares = np.array(GAINS["default"]) / 0.2
    assert levels.loc["default", "sd"] == pytest.approx(shares.std(ddof=1))
    assert levels.loc["default", "iqr"] == pytest.approx(
        np.subtract(*np.quantile(shares, [0.75, 0.25]))
    )
    assert levels.loc["smote_nc", "median"] == pytest.approx(0.05)
    assert levels["unchanged"].to_dict() == {
        "zero_shot": 1.0,
        "default": 0.5,
        "causal_paper": 0.5,
        "smote_nc": 0.0,
    }
    assert levels["mean_rank"].sum() == pytest.approx(10)
    assert levels.loc["default", "gap"] == pytest.approx(2)  # validation rises, test falls
    assert levels.loc["causal_paper", "gap"] == pytest.approx(0)
    lead = sd_lead(cube)
    assert lead.value == pytest.approx(0.8 * shares.std(ddof=1))
    assert lead.low < lead.value < lead.high


def test_chance_alone_puts_any_arm_behind_the_best_of_many():
    rng = np.random.default_rng(0)
    store = made_store(
        lambda arm, table, split: {"auc": 0.8 + 0.01 * rng.normal()},
        (*ARMS, "mixup", "copula", "ctgan"),
        tables=30,
        splits=1,
    )
    cube = compared_cube(store)
    assert chance_of_rank_lead(cube, PAPER) > 0.05
    for table in cube.tables:
        store.add(made_row("copula", table, 1, 0.9))  # of a split that others lack
    assert chance_of_rank_lead(compared_cube(store), PAPER) == chance_of_rank_lead(cube, PAPER)
    last = made_store(
        lambda arm, table, split: {"auc": 0.8 - 0.1 * (arm == DEFAULT)}, ARMS, tables=12, splits=1
    )
    assert chance_of_rank_lead(compared_cube(last), DEFAULT, PAPER) < 0.001


def test_a_rule_that_asks_for_the_best_of_many_refuses_arms_that_are_as_good():
    rng = np.random.default_rng(0)
    arms = [*ARMS, "ctgan", "mixup", "copula", "perturbation"]
    alike = Cube(sorted(arms), [f"t{k}" for k in range(20)], rng.random((20, 2, 8)))
    found = rank_verdicts_by_chance(alike)
    assert found.sum() == pytest.approx(1)
    assert found["not reproduced"] > 0.25  # nominally 5 % for both of its quantities together
    assert found.get("reproduced", 0.0) < 0.02
    few = replace(alike, arms=list(ARMS), values=alike.values[:, :, :4])
    assert rank_verdicts_by_chance(few)["not reproduced"] < found["not reproduced"] / 2
    equal = replace(alike, values=np.full((20, 2, 8), 0.7))
    assert rank_verdicts_by_chance(equal).to_dict() == {"undecided": 1.0}


def test_a_fall_of_harm_is_that_of_shares_a_table():
    harmed = {"default": (2, 1, 0, 1), "causal": (0, 1, 1, 0)}  # of two splits
    rows = [
        {"dataset": f"t{k}", "split": s, "arm": arm, "auc_gain": -0.1 * (s < n), "log_loss_gain": 0}
        for arm, each in harmed.items()
        for k, n in enumerate(each)
        for s in range(2)
    ]
    (found,) = harm_falls(pd.DataFrame(rows), [("causal", "default"), ("causal", "none")]).to_dict(
        "records"
    )
    more = [{"dataset": "t0", "split": s, "arm": "causal", "auc_gain": -0.1} for s in (2, 3)]
    under_way = pd.DataFrame(rows + [each | {"log_loss_gain": 0} for each in more])
    assert harm_falls(under_way, [("causal", "default")])["fall"].item() == found["fall"]
    falls = np.array([1.0, 0.0, -0.5, 0.5])
    reach = stats.ttest_1samp(falls, 0).confidence_interval()
    assert (found["tables"], found["fall"]) == (4, falls.mean())
    assert (found["t_low"], found["t_high"]) == pytest.approx((reach.low, reach.high))


def test_contrasts_are_made_of_the_tables_of_each_group(store):
    groups = {"gains": ["t1"], "all": [f"t{k}" for k in range(4)], "none": ["t9"]}
    found = contrasts_by_tables(store.runs(), [("default", "zero_shot")], groups)
    auc = found[found["score"] == "auc"].set_index("group")
    assert auc["difference"].to_dict() == pytest.approx({"gains": 0.1, "all": 0.0})
    assert auc["tables"].to_dict() == {"gains": 1, "all": 4}


def test_a_verdict_that_hangs_on_one_table_names_it():
    def gains(arm, table, split):
        """Seven tables gain nearly the same, the eighth loses enough to make it undecided."""
        gain = 0.02 + 0.001 * int(table[1:])
        lost = -0.06 if table == "t7" else gain
        return {"auc": 0.8 + (lost if arm == "default" else 0.0)}

    runs = made_store(gains, ("zero_shot", "default"), tables=8, splits=2).runs()
    assert decisive_tables(runs, "default", "zero_shot", "auc") == ["t7"]
    assert decisive_tables(runs[runs["dataset"] != "t7"], "default", "zero_shot", "auc") == []
    six = runs[~runs["dataset"].isin(["t6", "t7"])]  # one less is too few for a verdict of a test
    assert decisive_tables(six, "default", "zero_shot", "auc") == []
    assert decisive_tables(runs[runs["dataset"] == "t0"], "default", "zero_shot", "auc") == []
    assert decisive_tables(runs, "causal", "zero_shot", "auc") == []
