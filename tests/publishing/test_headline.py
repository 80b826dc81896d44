"""The headline of a store: its sentences are true of runs whose answer is known."""

from __future__ import annotations

import pytest
from made_stores import made_row, made_store

from causalmix.benchmarks.analysis import planned_contrasts
from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.store_analysis import analyse_store
from causalmix.publishing.headline import describe_evidence

ARMS = ("zero_shot", "zero_shot_reseeded", "default", "rehearsal", "causal_rehearsal")
GAINS = {"default": -0.03, "rehearsal": 0.01, "causal_rehearsal": 0.02, "zero_shot_reseeded": 0.0}


def score(arm: str, table: str, split: int) -> dict[str, float]:
    """Each arm gains the same everywhere, but for a little of chance."""
    gain = GAINS.get(arm, 0.0) + (0.001 * (split - 1) if arm != "zero_shot" else 0.0)
    return {"auc": 0.8 + gain, "log_loss": 0.5 - gain}


@pytest.fixture(scope="module")
def points() -> dict[str, str]:
    text = describe_evidence(analyse_store(made_store(score, ARMS, tables=7, splits=5)))
    return dict(line.removeprefix("- **").split("** ", 1) for line in text.split("\n"))


def test_the_headline_is_true_of_the_runs(points):
    worth = points["Is fine-tuning worth it?"]
    assert worth.startswith(
        "Better than zero-shot prediction, of 3 ways to go beyond it: in ROC-AUC 2"
    )
    assert "2 (CausalMix and rehearsal, Rehearsal), in log-loss 2 (" in worth
    assert "corrected for the number of arms, agrees on none." in worth  # not in 7 tables
    assert "better in ROC-AUC (+0.0210 [" in worth
    assert " and in log-loss (+0.0210 [" in worth  # the same verdict is said once
    assert (
        "nats), on 7 tables. Three tables make up 43% of the gain in ROC-AUC; on how many single"
        in worth
    )
    compared = points["Is one way better than another?"]
    assert compared.startswith("Mean ranks of 5 arms in ROC-AUC go from 1.00 (CausalMix and reh")
    assert "to 5.00 (Default fine-tuning), more than the critical difference of" in compared
    assert "No runs with shuffled graphs" in points["Is it the causal structure?"]
    claims = points["The paper's claims."]
    assert "claims 1, 2, 3 and 11 are not testable here. Claims 5, 6, 7, 8, 9 and 10 say" in claims
    assert claims.endswith("claim 4 cannot be tested.")
    harmed = points["Who is harmed?"]
    assert "100% of the 35 of Default fine-tuning, 0% of the 35 of CausalMix and" in harmed
    assert "`t0`, `t1`, `t2`, `t3`, `t4`, `t5`, `t6` (by Default fine-tuning)" in harmed
    assert "on 7 of 7 tables, and loses more than that on 0" in points["When does it help?"]
    assert "Of the runs that fine-tuning changed, 0% to 100% do, by arm." in harmed
    assert "in either score: Default fine-tuning. An arm" in points["What is not shown?"]
    assert "runs; against Default fine-tuning it is better in ROC-AUC" in points["What to do."]
    assert points["What to do."].startswith("Where you fine-tune, keep the default")
    assert "not shown to be better" not in points["What to do."]


def test_few_tables_decide_nothing_and_missing_arms_are_said_to_be():
    text = describe_evidence(analyse_store(made_store(score, ARMS, tables=2)))
    assert "in ROC-AUC none, in log-loss none. CausalMix and" in text
    assert "undecided in ROC-AUC (+0.0200" in text
    assert "It is not shown to be better than zero-shot prediction, which `steps=0`" in text
    store = made_store(score, ARMS, splits=1)
    store.add(made_row("default", "t0", 1, **score("default", "t0", 1)))  # the second has begun
    assert "explains. Those with fewer than 5 splits cannot be judged." in (
        describe_evidence(analyse_store(store))
    )
    single = describe_evidence(analyse_store(made_store(score, ARMS[:1] + ARMS[2:3], tables=1)))
    assert "of 1 way to go beyond it: in ROC-AUC none" in single
    assert "1 tables" not in single
    alone = describe_evidence(analyse_store(made_store(score, ("zero_shot",))))
    assert "No way of fine-tuning was run." in alone
    assert "no runs of the package's default" in alone


def test_rehearsal_alone_is_advised_where_graphs_add_nothing():
    arms = (*ARMS, "causal_shuffled_rehearsal")

    def as_good_without_graphs(arm, table, split):
        alike = arm in (arms[-1], "rehearsal")
        made = score("causal_rehearsal" if alike else arm, table, split)
        return score("default", table, split) if (arm, table) == ("rehearsal", "t3") else made

    store = made_store(as_good_without_graphs, arms, tables=7)
    pairs = [("causal_rehearsal", arms[-1])]
    found = analyse_store(store) | {"contrasts": planned_contrasts(store.runs(KIND), pairs)}
    advice = describe_evidence(found).split("**What to do.** ")[1]
    assert "`generator=None` (rehearsal alone) is a fair choice" in advice
    assert "The default, against it, is undecided in ROC-AUC" in advice
    assert advice.endswith("nats), on 7 tables.")


def test_a_default_that_harms_is_not_advised():
    worse = {"causal_rehearsal": -0.02}
    store = made_store(lambda *a: score(*a) | {"auc": 0.8 + worse.get(a[0], 0)}, ARMS, tables=7)
    assert "without fine-tuning: the default is worse here" in describe_evidence(
        analyse_store(store)
    )
