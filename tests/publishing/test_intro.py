"""The first page: its numbers are those of the runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from chapters import MISSING
from made_stores import made_row

from causalmix.benchmarks.analysis import planned_contrasts
from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.store import Store
from causalmix.errors import CausalMixError
from causalmix.publishing.intro import fill_intro

ROOT = Path(__file__).parents[2]
ARMS = ("zero_shot", "zero_shot_reseeded", "default", "causal_rehearsal")


@pytest.fixture
def results(tmp_path) -> Path:
    """Ten runs an arm, and ten of default that ask the validation rows.

    Default harms four runs, three where they are asked, chance one, ours none; ours gains .01 on
    each table.
    """
    store = Store(tmp_path / "results" / "finetuning" / "contenders")
    harmed = {("default", 1.0): 4, ("default", 0.5): 3, ("zero_shot_reseeded", 1.0): 1}
    arms = [(arm, 0.5 if arm == ARMS[-1] else 1.0) for arm in ARMS] + [("default", 0.5)]
    for arm, level in arms:
        for k in range(10):
            worse = k < harmed.get((arm, level), 0)
            auc = 0.8 - 0.02 * worse + 0.01 * (arm == "causal_rehearsal")
            rule = {} if "zero" in arm else {"config": {"rule": "last", "level": level}}
            row = made_row(arm, f"t{k}", 0, auc, 0.5 - 0.02 * (arm == ARMS[-1]), **rule)
            store.add(row | {"curves": None})
    store.flush()
    utility = tmp_path / "results" / "generation" / "utility.csv"
    utility.parent.mkdir()
    utility.write_text("dataset\nt0\n")  # whose generators were compared
    return tmp_path / "results"


def filled(page: Path, results: Path) -> str:
    fill_intro(page, results)
    return page.read_text()


def test_the_first_page_counts_the_runs(tmp_path, results):
    page = tmp_path / "intro.md"
    page.write_text("{{ pain }}|{{ gain }}|intro_runs.svg")
    pain, gain, _ = filled(page, results).split("|")
    assert pain.startswith("Of 10 runs on the 10 tables that")
    assert re.findall(r"^- (\d+%),? (\w+)", pain, re.M) == [
        ("40%", "where"),
        ("30%", "where"),
        ("0%", "with"),
        ("10%", "for"),
    ]
    assert gain == (
        "ROC-AUC rose by 0.0100 [0.0100, 0.0100] and log-loss fell by "
        "0.0200 [0.0200, 0.0200] nats on average (95% intervals, on each side the wider end of "
        "bootstrap and t). Three tables make up "
        "30% of the first and 30% of the second; on the others hardly anything changed."
    )
    assert "a fall of 30 points (95% interval by t over 10 tables: −4.6 to +64.6), and may" in pain
    assert page.with_name("intro_runs.svg").exists()


def test_a_store_without_the_other_members_has_no_figure_of_them(tmp_path, results):
    store = Store(results / "finetuning" / "paper")
    for arm in ("zero_shot", "default", "causal_rehearsal"):
        for k in range(6):
            store.add(made_row(arm, f"t{k}", 0, 0.8 - 0.02 * (arm == "default" and k < 3)))
    store.flush()
    page = tmp_path / "intro.md"
    page.write_text("{{ evidence }}")
    said = filled(page, results)
    assert "On all 6 tables 0% of its runs got worse, by more than 0.005" in said
    assert "the share fell from 30% to 0%; such a fall is not seen here" in said
    assert "(95% interval by t: −7.5 to +107.5 points)." in said
    assert "nan" not in said
    assert "had looked at 1 of these. On the others it is undecided in ROC-AUC" in said
    store.add(made_row("zero_shot_reseeded", "t0", 0, 0.7))
    store.flush()
    page.write_text("{{ evidence }}")
    assert "other ensemble members alone, which change every run, make 100% worse." in filled(
        page, results
    )


def test_the_committed_page_is_filled_from_the_committed_runs(tmp_path):
    shutil.copy(ROOT / "book" / "intro.md", tmp_path / "intro.md")
    text = filled(tmp_path / "intro.md", ROOT / "results")
    assert "{{" not in text
    assert not MISSING.search(text)
    assert "Of 50 runs on the 10 tables" in text
    assert "had looked at 20 of these." in text
    assert "Ten are left that no such step" in (ROOT / "book" / "tables.md").read_text()
    told = re.search(
        r"\*\*Gain\.\*\* (\w+) in ROC-AUC \((\S+) \[.*?, on 30 tables\. By t: ROC-AUC \[", text
    )
    runs = Store(ROOT / "results" / "finetuning" / "paper").runs(KIND)
    auc = runs.pivot_table("auc", ["dataset", "split"], "arm")
    gain = (auc["causal_rehearsal"] - auc["zero_shot"]).groupby("dataset").mean().mean()
    assert told[2] == f"{gain:+.4f}".replace("-", "−")
    assert "runs of the frozen plan `paper-1`" in text or "Of the frozen plan `paper-1`" in text


def test_the_readme_says_what_the_first_page_computes(tmp_path):
    page = tmp_path / "intro.md"
    page.write_text("{{ pain }}|{{ gain }}|{{ evidence }}")
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    pain, gain, evidence = filled(page, ROOT / "results").split("|")
    assert " ".join(pain.split()) in readme
    assert " ".join(evidence.split()) in readme
    assert gain.partition(" and log-loss")[0] in readme


def test_a_shuffled_graph_does_as_well_as_the_page_says():
    runs = Store(ROOT / "results" / "finetuning" / "contenders").runs(KIND)
    found = planned_contrasts(runs, [("causal_rehearsal", "causal_shuffled_rehearsal")])
    assert set(found["score"]) == {"auc", "log_loss"}
    assert ((found["low"] < 0) & (found["high"] > 0)).all()


def test_missing_runs_and_unknown_blanks_are_named(tmp_path, results):
    page = tmp_path / "intro.md"
    page.write_text("{{ joy }}")
    with pytest.raises(CausalMixError, match=r"unknown blanks: joy\. Known: pain, shuffled"):
        fill_intro(page, results)
    with pytest.raises(CausalMixError, match="results/finetuning/contenders: restore"):
        fill_intro(page, tmp_path)
