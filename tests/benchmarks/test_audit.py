"""The audit of a store: what is true passes, what was altered fails, and claims have verdicts."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from made_stores import STEPS, made_store

from causalmix.benchmarks import claims
from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.audit import (
    OTHER_DEVICE,
    SAME_DEVICE,
    TABMWP,
    _numbers,
    describe_audit,
    describe_claims,
    judge_claims,
    rerun_sample,
)
from causalmix.benchmarks.claims import CLAIMS
from causalmix.benchmarks.engine import compute
from causalmix.benchmarks.plan import Plan, plan_runs
from causalmix.benchmarks.store import Store
from causalmix.cli import main
from causalmix.data.dataset import load_dataset
from causalmix.errors import CausalMixError
from causalmix.manifest import read_json
from causalmix.publishing.claims import describe_audit_file


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(claims, "N_BOOTSTRAP", 100)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder of real runs, one of each kind, as the smoke preset has them."""
    config = {"steps": 2, "validate_every": 1, "tasks_per_step": 1, "rule": "last", "level": 1.0}
    arms = {name: {"members": 1} for name in ("zero_shot", "default", "causal")}
    arms["causal"]["options"] = {"n_dags": 1, "n_bootstraps": 2}
    rows = {"sizes": [(30, 12)], "n_test": 30, "least_test": 20, "splits": 1}
    arms["logistic_regression"] = None
    plan = Plan(name="tiny", tables=["iris"], arms=arms, config=config, **rows)
    planned, folder = plan_runs(plan, device="cpu"), tmp_path_factory.mktemp("tiny")
    store = Store(folder)
    assert compute(planned.runs, store, planned.tables).done == 4
    return folder


def altered(store, arm, **changes):
    """A copy in which one row has other columns; an outcome is added to the one there is."""
    copy = Store()
    for key in store.runs(KIND).index:
        row = dict(store[key])
        if json.loads(row["settings"])["arm"] == arm:
            outcome = json.loads(row["outcome"]) | changes.pop("outcome", {})
            row |= {"outcome": json.dumps(outcome)} | changes
        copy.add(row)
    return copy


def test_runs_made_again_from_their_rows_are_equal(tiny):
    audited = rerun_sample(Store(tiny), workers=0)
    assert len(audited) == 4 * 3 + 2 * 4  # scores, and curves of two
    assert audited["agrees"].all()
    assert (audited["commit"] == "").all()
    assert set(audited["tolerance"]) == {SAME_DEVICE}
    assert "4 of 4 runs are equal" in describe_audit(audited)


def test_the_sample_follows_from_its_seed(tiny):
    store = Store(tiny)
    one, same = (rerun_sample(store, 1, seed=3, workers=0)["key"].iloc[0] for _ in range(2))
    assert one == same
    with pytest.raises(CausalMixError, match="seed"):
        rerun_sample(store, 1, seed=-1, workers=0)


def test_the_command_fails_for_one_altered_score_and_shows_which(tiny, tmp_path):
    store = altered(Store(tiny), "zero_shot", outcome={"auc": 0.9})
    false = Store(tmp_path / "false")
    for key in store.runs(KIND).query("arm in ('zero_shot', 'logistic_regression')").index:
        false.add(store[key])
    false.flush()
    out = tmp_path / "new" / "audit.csv"
    asked = ["audit", str(false.folder), "--sample", "9", "--seed", "0", "--out", str(out)]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 1, done.output
    wrong = [line for line in done.output.splitlines() if "DIFFERS" in line]
    assert len(wrong) == 1, done.output
    assert wrong[0].split()[:2] == ["zero_shot", "on"]
    assert "0.9" in wrong[0]
    assert "1 of 2 runs are equal" in done.output
    assert "The same sample again: --seed 0" in done.output
    written = pd.read_csv(out)
    assert written.loc[~written["agrees"], "stored"].tolist() == [0.9]
    assert (written["stored_on"] == written["recomputed_on"]).all()
    manifest = read_json(out.with_name("audit_manifest.json"), "a manifest", "")
    assert manifest["settings"]["sample"] == 2
    assert manifest["data"] == {"iris": load_dataset("iris").content_hash}
    worst = written.loc[~written["agrees"], "difference"].abs().iloc[0]
    said = describe_audit_file(out)
    assert "2 of 2 runs, chosen at random (seed 0), were made again; 1 came out the same to" in said
    assert f"The largest difference is {worst:.2g}, in ROC-AUC of Zero-shot on iris" in said
    assert said.split()[1].strip(",") == written["recomputed_day"].iloc[0]
    written[written["agrees"]].to_csv(out, index=False)
    assert describe_audit_file(out).endswith("to the last digit.")


def test_rows_of_other_code_name_its_commit_and_are_made_again(tiny):
    store = altered(Store(tiny), "logistic_regression", key="of older code", commit="abc1+")
    kept = Store()
    kept.add(store["of older code"])
    audited = rerun_sample(kept, workers=0)
    assert audited["agrees"].all()
    text = describe_audit(audited)
    assert "1 of the runs were made by other code" in text
    assert "git checkout abc1 (there were changes on top of it)" in text


def test_another_device_is_allowed_more_and_a_run_that_fails_now_differs(tiny):
    store = altered(Store(tiny), "logistic_regression", device="cuda")
    settings = json.loads(store[store.runs(KIND).query("arm == 'zero_shot'").index[0]]["settings"])
    settings["weights"] = "another checkpoint"
    store = altered(store, "zero_shot", settings=json.dumps(settings))
    kept = Store()
    for key in store.runs(KIND).query("arm in ('zero_shot', 'logistic_regression')").index:
        kept.add(store[key])
    audited = rerun_sample(kept, workers=0)
    logistic = audited["run"].str.startswith("logistic")
    assert set(audited.loc[logistic, "tolerance"]) == {OTHER_DEVICE}
    assert audited.loc[logistic, "agrees"].all()
    assert "1 of the runs were made on another device" in describe_audit(audited)
    assert not audited.loc[~logistic, "agrees"].any()
    assert "asks for another checkpoint" in describe_audit(audited)


def test_missing_and_other_tables_are_named(tiny):
    row = dict(Store(tiny)[Store(tiny).runs(KIND).index[0]])
    for change, message in (
        ({"dataset": "gone"}, "table gone is not there"),
        ({"data": "another hash"}, "table iris has another content"),
    ):
        store = Store()
        store.add(row | {"settings": json.dumps(json.loads(row["settings"]) | change)})
        with pytest.raises(CausalMixError, match=message):
            rerun_sample(store, workers=0)


# ---- claims --------------------------------------------------------------------------------------


JUDGED = ("zero_shot", "default", "causal_paper", "causal_paper_whole", "causal", "smote_nc")
JUDGED += ("rehearsal",)


def store_of(gain, converged=None, tables=8):
    """Gains in ROC-AUC, one way or the other on every table, and steps to converge by arm."""

    def score(arm, table, split):
        number = int(table[1:])
        auc = 0.75 + 0.005 * number + gain.get(arm, 0.0) * (1 + 0.02 * number)
        step = (converged or {}).get(arm, 55)
        falling = [1.0 if s < step else 0.5 for s in STEPS]
        return {"auc": auc, "curves": {"val_log_loss": falling}}

    return made_store(score, JUDGED, tables=tables)


@pytest.mark.parametrize(
    ("gain", "paper", "ours"),
    [
        ({"causal_paper": 0.05, "causal": -0.02, "default": 0.02}, "reproduced", "not reproduced"),
        ({"causal_paper": -0.02, "causal": 0.05, "default": 0.02}, "not reproduced", "reproduced"),
    ],
)
def test_the_papers_arm_is_judged_and_ours_beside_it_not_against_it(gain, paper, ours):
    # A control is no rival of theirs, however good.
    judged = judge_claims(store_of(gain | {"rehearsal": 0.1}))
    first = judged[judged["claim"] == 1].set_index("arm")
    assert first["verdict"].to_dict() == {"causal_paper": paper, "causal": ours}
    assert first["against"]["causal_paper"] == ["causal_paper", "default", "smote_nc", "zero_shot"]
    assert first[["tables", "splits", "runs"]].to_numpy().tolist() == [[8, 24, 96]] * 2


@pytest.mark.parametrize(
    ("converged", "verdict", "saved"),
    [(10, "better", 30), (55, "worse", -15), (40, "undecided", 0)],
)
def test_the_question_is_answered_against_each_traditional_way(converged, verdict, saved):
    judged = judge_claims(store_of({}, {"causal_paper": converged, "smote_nc": 40}))
    asked = judged[(judged["claim"] == 0) & (judged["arm"] == "causal_paper")]
    asked = asked.assign(rival=asked["against"].str[0]).set_index(["rival", "quantity"])
    found = asked.loc[("smote_nc", "steps saved to converge")]
    assert (found["verdict"], found["value"]) == (verdict, saved)
    assert asked.loc[("smote_nc", "seconds saved to converge"), "value"] == 2 * saved
    assert asked.loc[("smote_nc", "test accuracy"), "verdict"] == "undecided"
    assert set(asked.loc["mixup", "verdict"]) == {"not testable here"}


def test_the_question_is_not_answered_by_five_tables():
    judged = judge_claims(store_of({}, {"causal_paper": 10, "smote_nc": 40}, tables=5))
    steps = judged[judged["quantity"] == "steps saved to converge"].iloc[0]
    assert (steps["low"], steps["verdict"]) == (30, "undecided")


def test_a_curve_may_have_gaps():
    numbers = _numbers({"outcome": '{"auc": 0.5}', "curves": '{"val_auc": [null, null]}'})
    assert numbers["auc"] == 0.5
    assert np.isnan(numbers["mean val_auc"])


def test_no_runs_judge_nothing():
    judged = judge_claims(Store())
    assert set(judged["verdict"]) == {"not testable here"}
    assert np.isnan(judged["value"]).all()


def test_the_command_prints_every_claim_the_question_and_what_is_behind_them(tiny, tmp_path):
    whole = store_of({"causal_paper": 0.05})
    store = Store(tmp_path / "claims")
    for key in whole.runs(KIND).index:
        store.add(whole[key])
    store.flush()
    done = CliRunner().invoke(main, ["audit", str(store.folder), "--claims"])
    assert done.exit_code == 0, done.output
    for claim in CLAIMS:
        assert f"\n{claim.number}. {claim.text}\n" in done.output
    assert "CausalMixFT (paper): reproduced" in done.output
    assert "(8 tables, 24 splits, 96 runs)" in done.output
    assert "research question" in done.output
    assert TABMWP in done.output
    # On the smoke store nothing is known of the paper's arm, and too little of ours.
    text = describe_claims(judge_claims(Store(tiny)))
    assert text.count("CausalMixFT (paper): not testable here") == 4
    assert "1 table, 1 split, " in text
