"""The comparison of fitting with DoWhy's own way."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from causalmix.benchmarks.fitting_speed import (
    _merge_rare_levels,
    tabulate_fitting,
    write_fitting_speed,
)
from causalmix.plots.cost import plot_generation_cost


def test_rare_levels_join_the_most_frequent_one():
    frame = pd.DataFrame({"a": pd.Categorical(["x"] * 30 + ["y"] * 25 + ["z"] * 3), "b": 1.0})
    merged = _merge_rare_levels(frame)
    assert merged["a"].value_counts().to_dict() == {"x": 33, "y": 25}
    assert merged["b"].equals(frame["b"])


def test_seconds_and_their_ratio_are_written(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=80)})
    table["target"] = np.where(table["x"] + rng.normal(size=80) > 0, "yes", "no")
    table.to_csv(tmp_path / "made.csv", index=False)
    path = write_fitting_speed(
        [str(tmp_path / "made.csv")],
        tmp_path / "new" / "speed.json",
        n_rows=60,
        n_dags=1,
        sizes=[("rows", 50, 4)],
    )
    written = json.loads(path.read_text())
    measured = written["tables"]["made"]
    assert (measured["rows"], measured["columns"], measured["n_dags"]) == (60, 2, 1)
    assert set(measured["mechanisms"]) == {"default", "paper"}
    for ours in measured["mechanisms"].values():
        assert ours["ratio"] == pytest.approx(measured["dowhy_seconds"] / ours["seconds"])
    assert written["settings"] == {"n_rows": 60, "n_dags": 1}
    (cost,) = written["cost"]
    assert (cost["varied"], cost["rows"], cost["columns"]) == ("rows", 50, 4)
    assert cost["fit_seconds"] > 0
    assert cost["sample_seconds"] > 0


def test_cost_is_drawn_by_rows_and_by_columns():
    sizes = [("rows", 300, 10), ("rows", 1000, 10), ("columns", 300, 25)]
    cost = [
        {
            "varied": varied,
            "rows": rows,
            "columns": columns,
            "fit_seconds": 4.0,
            "sample_seconds": 1,
        }
        for varied, rows, columns in sizes
    ]
    by_rows, by_columns = plot_generation_cost(cost).axes
    assert by_rows.lines[0].get_xdata().tolist() == [300, 1000]
    assert by_rows.lines[0].get_ydata().tolist() == [4, 4]
    assert by_columns.lines[0].get_xdata().tolist() == [25]
    assert by_columns.get_title() == "300 rows"


def test_seconds_and_ratios_are_a_row_for_each_table():
    presets = {
        "default": {"seconds": 4.04, "ratio": 10.0},
        "paper": {"seconds": 20.2, "ratio": 2.0},
    }
    found = {"rows": 500, "columns": 9, "dowhy_seconds": 40.4, "mechanisms": presets}
    table = tabulate_fitting({"tables": {"one": found, "two": found | {"columns": 7}}})
    assert table.index.tolist() == ["one", "two"]
    assert table["columns"].tolist() == [9, 7]
    assert table.loc["one"].to_dict() == {
        "rows": 500,
        "columns": 9,
        "DoWhy (s)": 40.4,
        "default (s)": 4.0,
        "default: times faster": 10.0,
        "paper (s)": 20.2,
        "paper: times faster": 2.0,
    }
