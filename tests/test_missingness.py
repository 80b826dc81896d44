"""Gaps in synthetic rows come as those of the table do."""

from __future__ import annotations

import numpy as np
import pandas as pd

from causalmix.missingness import MissingnessModel


def table(n: int = 2000) -> pd.DataFrame:
    """`a` is missing where `b` is large, `c` together with `a`, `d` at random and `e` never."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(n, 5)), columns=list("abcde"))
    frame["g"] = rng.integers(0, 3, n).astype(float)
    gone = rng.random(n) < 1 / (1 + np.exp(-3 * frame["b"] + 2))
    frame.loc[gone, ["a", "c"]] = np.nan
    frame.loc[rng.random(n) < 0.1, "d"] = np.nan
    return frame


def test_gaps_depend_on_other_columns_and_come_together():
    real = table()
    whole = table().fillna(0.0)
    made = MissingnessModel().fit(real, ("g",)).mask(whole, np.random.default_rng(1))
    np.testing.assert_allclose(made.isna().mean(), real.isna().mean(), atol=0.03)
    for high in (True, False):
        rows = (whole["b"] > 0.5) == high
        share, expected = made["a"][rows].isna().mean(), real["a"][rows].isna().mean()
        assert abs(share - expected) < 0.06
    assert (made["a"].isna() == made["c"].isna()).mean() > 0.97
    assert abs(made["d"].isna().corr(made["a"].isna())) < 0.08
    assert made["e"].notna().all()


def test_a_column_with_few_gaps_and_one_without_numbers():
    frame = table(200)
    frame["few"] = np.r_[np.nan, np.nan, np.ones(198)]
    frame["none"] = np.nan
    made = MissingnessModel().fit(frame, ("g",)).mask(frame.fillna(0.0), np.random.default_rng(0))
    assert made["none"].isna().all()
    assert made["few"].isna().mean() < 0.06
