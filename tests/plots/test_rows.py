"""Figures of rows say what their axes are in."""

from __future__ import annotations

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
import pytest

from causalmix.data.dataset import load_dataset
from causalmix.errors import DataError
from causalmix.plots.rows import plot_marginals, plot_pairs


@pytest.fixture
def visits(tmp_path):
    """Rows with dates, one of them missing, another beyond what nanoseconds hold."""
    admitted = pd.date_range("2023-01-01", periods=40, freq="9D").strftime("%d.%m.%Y").to_series()
    admitted.iloc[[3, 7]] = None, "31.12.9999"
    rows = pd.DataFrame({"admitted": admitted.to_numpy(), "y": list("ab") * 20})
    rows["stay"] = np.arange(40) % 7 + 0.5
    rows.to_csv(tmp_path / "visits.csv", index=False)
    with pytest.warns(UserWarning, match="admitted"):
        return load_dataset(tmp_path / "visits.csv", target="y")


def test_days_are_shown_as_the_dates_that_they_are(visits):
    shown = visits.with_dates(visits.frame())["admitted"]
    assert str(shown[0])[:10] == "2023-01-01"
    assert shown.isna().tolist() == [k == 3 for k in range(40)]
    assert str(shown[7])[:10] == "9999-12-31"


def test_axes_of_dates_have_dates_for_ticks(visits):
    rows = visits.with_dates(visits.frame())  # among them the last day of all
    panels = plot_marginals(rows, {"again": rows}).axes
    formatters = {ax.get_xlabel(): ax.xaxis.get_major_formatter() for ax in panels}
    assert isinstance(formatters["admitted"], mdates.ConciseDateFormatter)
    assert not isinstance(formatters["stay"], mdates.ConciseDateFormatter)
    pair = plot_pairs(rows[["admitted", "stay"]], {"again": rows[["admitted", "stay"]]}).axes[0]
    dated = [axis for axis in (pair.xaxis, pair.yaxis) if axis.get_label_text() == "admitted"]
    assert isinstance(dated[0].get_major_formatter(), mdates.ConciseDateFormatter)
    days = pd.DataFrame({"day": pd.date_range("2024-01-02", "2025-10-25", 40)})
    plot_marginals(days, {"again": days}).canvas.draw()  # of two years, without a warning
    low, high = dated[0].get_view_interval()
    assert low < mdates.date2num(np.datetime64("2023-01-01")) < high


def test_dates_by_request_are_read_as_such_or_refused(tmp_path):
    rows = pd.DataFrame({"day": [f"2023-01-{k + 1:02}" for k in range(20)], "y": list("ab") * 10})
    rows.assign(code="x1").to_csv(tmp_path / "days.csv", index=False)
    table = load_dataset(tmp_path / "days.csv", target="y", date=["day"], drop=["code"])
    assert table.dates == ("day",)
    for name, message in (("y", "'y' must be classes"), ("code", "'x1' is not a date")):
        with pytest.raises(DataError, match=message):
            load_dataset(tmp_path / "days.csv", target="y", date=[name])
