"""The rules that judge the claims, on stores made for every outcome."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from causalmix.benchmarks import claims
from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.claims import (
    CLAIMS,
    VERDICTS,
    Cube,
    Interval,
    bootstrap,
    contrast,
    cube_of,
    normalised,
    quantities_of,
)
from causalmix.benchmarks.store import COLUMNS, Store


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(claims, "N_BOOTSTRAP", 400)


TABLES = [f"t{i}" for i in range(20)]
ARMS = ("zero_shot", "default", "causal_paper", "smote_nc")


def made(gain, spread, *, gap=None, seed=0, tables=TABLES, n_splits=3):
    """A store: gains in ROC-AUC and their spread over tables by arm, and whether curves agree."""
    rng, store = np.random.default_rng(seed), Store()
    for table in tables:
        base = rng.uniform(0.7, 0.9)
        own = {arm: gain[arm] + spread[arm] * rng.standard_normal() for arm in gain}
        for split in range(n_splits):
            for arm in ARMS:
                auc = base + own.get(arm, 0.0) + 0.001 * rng.standard_normal() * (arm in own)
                settings = {"arm": arm, "dataset": table, "split": split, "seed": split}
                row = dict.fromkeys(COLUMNS, "{}") | {"kind": KIND, "status": "ok", "seconds": 1.0}
                row |= {"key": json.dumps(settings), "settings": json.dumps(settings)}
                row |= {"outcome": json.dumps({"auc": auc}), "finished": 0.0, "error": None}
                val = rng.permutation(12).astype(float)
                agrees = rng.random() < (gap or {}).get(arm, 0.0)
                test = val if agrees else rng.permutation(12).astype(float)
                curves = {"val_auc": val.tolist(), "test_auc": test.tolist()}
                store.add(row | {"curves": json.dumps(curves) if arm in (gap or {}) else None})
    return store


EVEN = dict.fromkeys(ARMS[1:], 0.0)
SOME = dict.fromkeys(ARMS[1:], 0.01)


def verdicts(store):
    found = quantities_of(store, ARMS)
    return {claim.number: claim.verdict(found) for claim in CLAIMS}


@pytest.mark.parametrize(
    ("numbers", "gain", "spread", "verdict"),
    [
        ((1, 3), {"default": 0.01, "causal_paper": 0.03, "smote_nc": -0.02}, EVEN, "reproduced"),
        ((1, 3), {"default": 0.02, "causal_paper": 0.0, "smote_nc": -0.02}, EVEN, "not reproduced"),
        ((1, 3), {"default": 0.0, "causal_paper": 0.0, "smote_nc": 0.0}, SOME, "undecided"),
        ((2,), EVEN, {"default": 0.03, "causal_paper": 0.005, "smote_nc": 0.0}, "reproduced"),
        ((2,), EVEN, {"default": 0.005, "causal_paper": 0.03, "smote_nc": 0.0}, "not reproduced"),
        ((2,), EVEN, SOME, "undecided"),
    ],
)
def test_gains_and_spreads_are_judged_by_their_intervals(numbers, gain, spread, verdict):
    found = verdicts(made(gain, spread))
    assert {number: found[number] for number in numbers} == dict.fromkeys(numbers, verdict)


@pytest.mark.parametrize(
    ("agreeing", "verdict"),
    [
        ({"default": 0.0, "causal_paper": 0.9}, "reproduced"),
        ({"default": 0.9, "causal_paper": 0.0}, "not reproduced"),
        ({"default": 0.5, "causal_paper": 0.5}, "undecided"),
    ],
)
def test_gaps_are_judged_by_their_intervals(agreeing, verdict):
    assert verdicts(made(EVEN, EVEN, gap=agreeing))[11] == verdict


def test_what_no_run_shows_is_not_testable_and_the_method_is_shown_by_tests():
    found = verdicts(Store())
    for claim in CLAIMS:
        wanted = "implemented, tested" if claim.shown_by else "not testable here"
        assert found[claim.number] == wanted
        assert found[claim.number] in VERDICTS
        assert bool(claim.quantities) + bool(claim.shown_by) + bool(claim.reason) == 1
    assert [claim.number for claim in CLAIMS] == list(range(1, 12))


def test_one_side_of_a_double_claim_is_not_enough():
    third = next(claim for claim in CLAIMS if claim.number == 3)
    up, down, both = (Interval(0, *ends, 9) for ends in ((1, 2), (-2, -1), (-1, 1)))
    names = ("rank_lead", "default_rank_lead")
    for ends, verdict in (
        ((up, up), "reproduced"),
        ((up, both), "undecided"),
        ((up, down), "not reproduced"),
    ):
        assert third.verdict(dict(zip(names, ends, strict=True))) == verdict


def test_tests_that_show_a_claim_exist(pytestconfig):
    for claim in CLAIMS:
        for path in filter(None, claim.shown_by.split(", ")):
            assert (pytestconfig.rootpath / path).exists(), path


def test_intervals_respect_tables():
    """Splits of a table share its effect: their number narrows nothing."""
    rng = np.random.default_rng(0)
    effects = rng.normal(0, 1, 30)
    values = np.stack([np.repeat(effects[:, None], 50, axis=1), np.zeros((30, 50))], axis=2)
    cube = Cube(["a", "b"], [str(i) for i in range(30)], values)
    found = bootstrap(cube, lambda means: float((means[:, 0] - means[:, 1]).mean()))
    error = effects.std(ddof=1) / np.sqrt(30)
    assert found.value == pytest.approx(effects.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.1)


def test_splits_of_a_table_are_redrawn():
    gains = np.random.default_rng(0).normal(0.2, 1, 100)
    values = np.full((1, 150, 2), np.nan)  # another table has more splits
    values[0, :100] = np.stack([gains, np.zeros(100)], axis=1)
    found = bootstrap(Cube(["a", "b"], ["t"], values), lambda means: float(means[0, 0]))
    error = gains.std(ddof=1) / np.sqrt(100)
    assert found.value == pytest.approx(gains.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.15)


def test_a_split_that_an_arm_lacks_counts_for_none():
    rows = pd.DataFrame(
        [("t", s, s, arm, 0.8 + 0.1 * (arm == "a")) for s in range(3) for arm in "ab"],
        columns=["dataset", "split", "seed", "arm", "auc"],
    )
    cube = cube_of(rows.iloc[:-1], "auc")
    assert cube.values.shape == (1, 2, 2)
    found = contrast(rows, "a", "b", "auc")
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    assert contrast(rows.rename(columns={"auc": "log_loss"}), "a", "b", "log_loss").value < 0


def test_tables_with_nothing_to_gain_are_set_aside():
    means = np.array([[0.8, 0.9], [0.99, 0.97]])
    assert normalised(means, before=0) == pytest.approx(np.array([[0.0, 0.5]]))


def test_tables_behind_an_improvement_are_those_that_it_is_taken_of():
    some, store = made(SOME, EVEN, n_splits=2), Store()
    for key, run in some.runs().iterrows():
        auc = 0.995 if run["dataset"] in TABLES[:5] else run["auc"]
        store.add(some[key] | {"outcome": json.dumps({"auc": auc})})
    found = quantities_of(store, ARMS)
    for name in ("median_lead", "spread_lead"):
        assert (found[name].tables, found[name].splits, found[name].runs) == (15, 30, 120)
    assert (found["rank_lead"].tables, found["rank_lead"].splits) == (20, 40)


def test_without_a_table_to_gain_on_nothing_is_said_of_gains():
    store = made(EVEN, EVEN, tables=TABLES[:1], n_splits=1)
    rows = [store[key] for key in store.runs().index]
    saturated = Store()
    for row in rows:
        saturated.add(row | {"outcome": json.dumps({"auc": 0.995})})
    found = verdicts(saturated)
    assert (found[1], found[2]) == ("not testable here", "not testable here")
