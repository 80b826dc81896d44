"""The page of the claims: every claim has its verdict, and what it points at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from chapters import MISSING
from made_stores import made_row

from causalmix.benchmarks.audit import describe_claims, judge_claims
from causalmix.benchmarks.claims import CLAIMS
from causalmix.benchmarks.store import Store
from causalmix.errors import CausalMixError
from causalmix.publishing.claims import fill_claims

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "book" / "claims.md"
GAINS = {"zero_shot": 0.0, "default": 0.02, "causal": 0.05, "causal_paper": 0.1, "smote_nc": 0.01}
PLAN = "version: 1\nsizes: [[60, 20]]\nsplits: 4\nn_test: 9\ntables: [t0, t1, t2, t3, t4, t5]\n"


@pytest.fixture
def results(tmp_path) -> Path:
    """On six tables the paper's arm gains most, and 60 of 120 runs of the plan are there."""
    store = Store(tmp_path / "results" / "finetuning" / "paper")
    for arm, gain in GAINS.items():
        for k in range(12):
            store.add(made_row(arm, f"t{k // 2}", k % 2, 0.7 + gain * (1 + k // 2) / 6))
    store.flush()
    arms = ", ".join(GAINS)
    (store.folder / "made-1.yml").write_text(f"{PLAN}arms: {{{arms}}}\n")
    return tmp_path / "results"


@pytest.fixture
def filled(tmp_path):
    def fill(text: str, results: Path) -> str:
        page = tmp_path / "claims.md"
        page.write_text(text)
        fill_claims(page, results)
        return page.read_text()

    return fill


def test_verdicts_figures_and_what_is_missing_are_those_of_the_runs(results, filled):
    blanks = "{{ claim_1 }}|{{ claim_2 }}|{{ claim_11 }}|{{ question }}"
    first, spread, gap, question = filled(blanks, results).split("|", 3)
    assert first.startswith("**CausalMixFT (paper): reproduced.** Median improvement minus")
    assert "CausalMix, beside it: reproduced." in first  # it is not compared with the paper's
    assert "(6 tables, 12 splits," in first
    assert "**CausalMixFT (paper): not reproduced.**" in spread  # its gain grows from t0 to t5
    assert "There are no runs yet" not in gap
    assert "There are no runs yet of Mixup, Row perturbation." in question
    assert "| CausalMixFT (paper) | SMOTE-NC | test accuracy | better |" in question


def test_a_generator_that_refused_a_table_is_set_aside_by_name(results, filled):
    store = Store(results / "finetuning" / "paper")
    for k in range(10):  # five of six tables
        store.add(made_row("tabebm", f"t{k // 2}", k % 2, 0.9))
    store.flush()
    said = filled("{{ compared }}", results)
    aside = (
        "Zero-shot. Set aside, for want of runs on some of these tables: Gaussian copula, CTGAN,"
    )
    assert said.startswith(f"Both are compared with Default fine-tuning, SMOTE-NC, {aside}")
    assert ", TabEBM, " in said
    assert f"SMOTE-NC, {aside}" in describe_claims(judge_claims(Store(store.folder)))


def test_a_plan_that_is_not_done_makes_verdicts_provisional(results, filled):
    assert "60 of 120 runs are there. **The verdicts are provisional" in filled(
        "{{ progress }}", results
    )
    path = results / "finetuning" / "paper" / "made-1.yml"
    path.write_text(path.read_text().replace("splits: 4", "splits: 2"))
    assert filled("{{ progress }}", results) == "All 60 runs of the frozen plan `made-1` are there."


def test_runs_that_do_not_judge_say_what_they_would(results, filled):
    other = Store(results / "finetuning" / "paper_generators")
    for arm, gain in GAINS.items():
        for k in range(6):
            other.add(made_row(arm, f"t{k}", 0, 0.7 + gain * k / 9))
    other.flush()
    plan = f"{PLAN}arms: {{{', '.join(GAINS)}}}\n".replace("splits: 4", "splits: 1")
    (other.folder / "made-1.yml").write_text(plan)
    said = filled("{{ elsewhere }}", results)
    assert said.startswith("What if the runs of `results/finetuning/paper` judged? Of the frozen")
    assert "60 of 120 runs are there" in said
    assert "Claim 1 would be reproduced: +0." in said
    assert "Claim 11 would be undecided: +0.0000 [+0.0000, +0.0000]." in said
    assert "CausalMixFT (paper)* is compared with Default fine-tuning, SMOTE-NC, Zero-shot." in said


def test_runs_with_the_papers_generators_judge_once_a_fifth_is_there(results, filled):
    other = Store(results / "finetuning" / "paper_generators")
    for k in range(10):
        other.add(made_row("zero_shot", f"t{k % 6}", k // 6, 0.7))
    other.flush()
    path = other.folder / "made-1.yml"
    path.write_text(f"{PLAN}arms: {{zero_shot, causal_paper, default}}\n")  # 10 of 72
    assert filled("{{ folder }}", results) == "results/finetuning/paper"
    path.write_text(path.read_text().replace("splits: 4", "splits: 2"))  # 10 of 36
    assert filled("{{ folder }}", results) == "results/finetuning/paper_generators"


def test_the_committed_page_has_every_claim_and_no_blank(filled):
    text = filled(PAGE.read_text(encoding="utf-8"), ROOT / "results")
    assert "{{" not in text
    assert not MISSING.search(text)
    for claim in CLAIMS:
        assert f"(claim-{claim.number})=\n### {claim.number}. " in text
    assert len(re.findall(r"^\*\*The paper:\*\*", text, re.M)) == len(CLAIMS)
    assert len(re.findall(r"^\*\*Where:\*\*", text, re.M)) == len(CLAIMS) + 1
    assert "TabMWP" in text
    rows = re.findall(r"\| undecided \| \S+ \[(\S+), (\S+)\] \|", text.replace("−", "-"))
    apart = [low for low, high in rows if low[0] == high[0] and (float(low) or float(high))]
    assert f"By that alone {len(apart) or 'none'} of " in text


def test_the_tests_that_show_a_claim_are_there():
    named = re.findall(r"`(tests/[\w/.]+)::(\w+)`", PAGE.read_text(encoding="utf-8"))
    assert len(named) >= 10
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), (file, name)
    for claim in CLAIMS:
        if claim.shown_by:
            files = {file for file, _ in named}
            assert set(claim.shown_by.split(", ")) <= files, claim.number


def test_missing_runs_are_named(tmp_path):
    with pytest.raises(CausalMixError, match="results/finetuning/paper: restore"):
        fill_claims(tmp_path / "claims.md", tmp_path / "results")
