"""Gower's distance against SynthEval's, and how cells are coded for it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from causalmix.data.gower import code_columns, gower_distances
from causalmix.quality.fidelity import _syntheval


def test_distances_equal_those_of_syntheval():
    rng = np.random.default_rng(0)
    a, b = (
        pd.DataFrame(
            {
                "x": rng.normal(size=n),
                "k": pd.Categorical(rng.choice(list("abc"), n)),
                "z": rng.exponential(5, n),
                "m": pd.Categorical(rng.choice(["u", "v"], n)),
            }
        )
        for n in (30, 20)
    )
    (first, second), categorical = code_columns([a, b], pd.concat([a, b]))
    assert categorical == ["k", "m"]
    distances = _syntheval("utils.nn_distance")._gower_matrix_sklearn
    theirs = distances(first, second, cat_features=[c in "km" for c in first])
    np.testing.assert_allclose(gower_distances(first, second, categorical), theirs)


def test_numbers_get_the_scale_of_the_given_rows_and_gaps_their_median():
    scale = pd.DataFrame({"x": [0.0, 10.0, 2.0], "level": pd.Categorical(["a", "b", None])})
    other = pd.DataFrame({"x": [20.0, np.nan], "level": pd.Categorical([None, "c"])})
    (first, second), categorical = code_columns([scale, other], scale)
    assert first["x"].tolist() == [0, 1, 0.2]
    assert second["x"].tolist() == [2, 0.2]
    assert second["x is missing"].tolist() == [0, 1]
    assert second["level"].iloc[0] == first["level"].iloc[2]  # missing is a level
    assert set(categorical) == {"level", "x is missing"}
    # x differs by nothing, being missing on one side only by 1, the levels by 1
    assert gower_distances(first, second, categorical)[2, 1] == 2 / 3


def test_a_constant_or_empty_column_tells_no_rows_apart():
    frame = pd.DataFrame({"same": [3.0, 3.0], "none": [np.nan, np.nan], "x": [0.0, 1.0]})
    (coded,), categorical = code_columns([frame], frame)
    assert gower_distances(coded, coded, categorical)[0, 1] == 1 / 4


def test_a_column_may_be_called_as_the_gaps_of_another_are():
    frame = pd.DataFrame({"age": [1, 2, np.nan, 4], "age is missing": [100, 0, 50, 7]})
    (coded,), categorical = code_columns([frame], frame)
    assert len(coded.columns) == 3
    assert coded["age is missing"].tolist() == [1.0, 0.0, 0.5, 0.07]
    assert coded[categorical[0]].tolist() == [0, 0, 1, 0]
