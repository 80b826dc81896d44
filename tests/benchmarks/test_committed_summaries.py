"""Committed summaries are what the code of today makes of the committed rows."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from causalmix.benchmarks import discovery, published_discovery, zero_shot
from causalmix.benchmarks.csuite import compare_csuite, summarise_csuite
from causalmix.benchmarks.csuite_data import load_published, read_scores
from causalmix.benchmarks.results import load_record, load_result
from causalmix.benchmarks.rule_summary import judge_runs, summarise_rules
from causalmix.benchmarks.utility import summarise_utility
from causalmix.pretraining.comparison import summarise_games


def of_checkpoint(name: str) -> pd.DataFrame:
    rows, settings = load_result(name), load_record(f"{name}_manifest")["settings"]
    if settings["share"] is not None:
        rows = rows.assign(n_train=f"{settings['share']:.0%}")
    return zero_shot._summarise(rows, settings["tuning"])


def of_rules(name: str) -> pd.DataFrame:
    """Of the rule that is quick to judge by, and the oracle, which all are held against."""
    patience = load_record(f"{name}_manifest")["settings"]["config"]["patience"]
    return summarise_rules(judge_runs(load_result(name), rules=["last"], patience=patience))


def of_games(name: str) -> pd.DataFrame:
    return summarise_games(*(load_result(f"{name}{part}") for part in ("", "_gaps", "_real")))


MADE_BY = {
    **dict.fromkeys(
        [
            *("boosters", "boosters_small", "calibration", "codes", "evaluation", "inference"),
            *("share", "small"),
        ],
        ("tfm", of_checkpoint),
    ),
    **dict.fromkeys(
        ["ctgan", "privacy", "utility"],
        ("generation", lambda name: summarise_utility(load_result(name))),
    ),
    "rules": ("finetuning", of_rules),
    "splits": ("finetuning", of_rules),
    "games": ("pretrain", of_games),
    "benchmark": ("discovery", lambda name: discovery.summarise(load_result(name))),
}


def check(found: pd.DataFrame, name: str) -> None:
    """Compare with what is committed, as it is written, lines in any order."""
    committed = load_result(name)
    if "rule" in found and "of_oracle" in found:
        committed = committed[committed["rule"].isin(found["rule"])]
    written = pd.read_csv(io.StringIO(found.to_csv(index=False, float_format="%.6f")))
    texts = [column for column in written if written[column].dtype == object]
    order = [*texts, *(c for c in ("n_train", "n_rows", "steps", "level") if c in written)]
    made, there = (each.sort_values(order, ignore_index=True) for each in (written, committed))
    pd.testing.assert_frame_equal(made, there, check_exact=False, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", MADE_BY)
def test_a_summary_follows_from_its_rows(name):
    folder, summed = MADE_BY[name]
    check(summed(f"{folder}/{name}"), f"{folder}/{name}_summary")


def test_summaries_beside_published_scores_follow_from_their_rows(shared_data):
    published = load_published(shared_data / "csuite")
    rows = load_result("generation/csuite").assign(arms_error=float("nan"))  # made without arms
    check(summarise_csuite(rows, published), "generation/csuite_summary")
    ways = load_result("generation/csuite_ways").sample(frac=1, random_state=0)
    check(compare_csuite(ways, published), "generation/csuite_ways_comparison")
    columns = ["dataset", "train_size", *published_discovery.PUBLISHED.values()]
    published = read_scores(shared_data / "csuite" / "published_discovery.csv", columns)
    found = published_discovery.summarise(load_result("discovery/published"), published)
    check(found, "discovery/published_summary")
