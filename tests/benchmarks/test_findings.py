"""What chapters argue from is what the summaries hold."""

from __future__ import annotations

import pandas as pd
import pytest

from causalmix.benchmarks import judge_searches, judge_uses, tabulate_searches, tabulate_uses

SCORES = ("linear_synthetic", "linear_both", "boosting_synthetic", "boosting_both")
INTERVALS = {"fci": {200: (0.1, 0.3), 1000: (-0.1, 0.3)}, "pc": {200: (-0.3, -0.1)}}
INTERVALS["pc"][1000] = INTERVALS["pc"][200]


@pytest.fixture
def searches() -> pd.DataFrame:
    """Ahead of FCI in few rows, behind PC in any; groups and the bootstrap itself do not count."""
    rows = []
    for source in ("csuite", "random"):
        rows.append({"source": source, "group": "all", "n_rows": 200, "method": "bootstrap"})
        for group, method in (("all", "fci"), ("all", "pc"), ("one", "pc")):
            for n, (low, high) in INTERVALS[method].items():
                row = {"source": source, "group": group, "n_rows": n, "method": method}
                for score in ("skeleton_f1", "arrow_f1"):
                    row |= {f"{score}_low": low, f"{score}_high": high}
                    row[f"{score}_difference"] = (low + high) / 2
                rows.append(row)
    return pd.DataFrame(rows)


@pytest.fixture
def uses() -> pd.DataFrame:
    names = {"fci": "smote_nc", "pc": "real"}
    rows = [
        {"score": score, "generator": names[method], "n_train": n, "difference": (a + b) / 2}
        | {"low": a, "high": b}
        for score in (*SCORES, "mean_both")
        for method, each in INTERVALS.items()
        for n, (a, b) in each.items()
    ]
    return pd.DataFrame([{"score": SCORES[0], "generator": "causal", "n_train": 200}, *rows])


def test_verdicts_name_the_sizes_where_not_all_agree(searches, uses):
    told = judge_searches(searches)
    assert len(told) == 4
    assert (told["surely ahead of"] == "causal-learn FCI (200 rows)").all()
    assert (told["surely behind"] == "causal-learn PC").all()
    assert (told["not told from"] == "causal-learn FCI (1,000 rows)").all()
    told = judge_uses(uses)
    assert len(told) == 4
    assert set(told["surely ahead of"]) == {"smote_nc (200 rows)"}
    assert set(told["surely behind"]) == {"real"}
    nothing = judge_uses(uses[uses["generator"] != "real"])
    assert set(nothing["surely behind"]) == {"–"}


def test_tables_hold_differences_with_their_intervals(searches, uses):
    table = tabulate_searches(searches, ["pc"])
    assert table.shape == (2, 4)
    assert set(table.to_numpy().ravel()) == {"−0.200 [−0.300, −0.100]"}
    table = tabulate_uses(uses, ["smote_nc"])
    assert table.shape == (4, 2)
    assert set(table["1000 training rows"]) == {"+0.100 [−0.100, +0.300]"}
