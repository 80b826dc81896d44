"""Mixed rows lie between two rows of one class."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from causalmix.errors import CausalMixError
from causalmix.generation.mixup import MixupGenerator


def on_a_segment(row: np.ndarray, rows: np.ndarray) -> bool:
    """Whether a point lies on the segment between any two rows: |ap| + |pb| = |ab|."""
    to_rows = np.linalg.norm(rows - row, axis=1)
    between = np.linalg.norm(rows[:, None] - rows, axis=2)
    return bool((to_rows[:, None] + to_rows - between).min() < 1e-9)


def test_rows_lie_on_segments_between_rows_of_their_class():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(24, 3)), columns=list("abc"))
    y = pd.Series(rng.choice(["u", "v"], 24), name="y")
    X_new, y_new = MixupGenerator().fit(X, y).sample(100, seed=0)
    for label in ("u", "v"):
        own = X[y == label].to_numpy()
        for row in X_new[y_new == label].to_numpy():
            assert on_a_segment(row, own)
            assert not (row == own).all(axis=1).any()
    others = X[y == "u"].to_numpy()
    assert not any(on_a_segment(row, others) for row in X_new[y_new == "v"].to_numpy())


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_weights_follow_the_beta_distribution(alpha):
    """Between 0 and 1 the mixed number is the weight or its complement, which has its law."""
    X = pd.DataFrame({"x": [0.5, 1.5], "k": pd.Categorical(["p", "q"])})  # whole numbers stay whole
    y = pd.Series(["c", "c"], name="y")
    X_new, _ = MixupGenerator(alpha=alpha).fit(X, y).sample(20_000, seed=0)
    X_new["x"] -= 0.5
    assert X_new.x.mean() == pytest.approx(0.5, abs=0.01)
    assert X_new.x.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.04)  # of Beta(a, a)
    # the category comes from the row q with the probability that x says
    for low in (0.1, 0.4, 0.7):
        near = X_new.x.between(low, low + 0.2)
        assert (X_new.k[near] == "q").mean() == pytest.approx(X_new.x[near].mean(), abs=0.05)


def test_gaps_come_from_one_of_the_rows():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 400))
    gone = rng.random(400) < 0.3
    X = pd.DataFrame({"a": np.where(gone, np.nan, a), "b": np.where(gone, np.nan, b)})
    X_new, _ = MixupGenerator(alpha=0.05).fit(X, pd.Series(np.zeros(400), name="y")).sample(4000, 0)
    assert X_new.a.isna().mean() == pytest.approx(gone.mean(), abs=0.03)
    assert (X_new.a.isna() == X_new.b.isna()).mean() > 0.95  # nearly one row, so nearly together


def test_a_class_of_one_row_repeats_it_and_bad_alpha_is_refused():
    X = pd.DataFrame({"x": [0.0, 1.0, 7.5]})
    y = pd.Series(["c", "c", "odd"], name="y")
    X_new, y_new = MixupGenerator().fit(X, y).sample(60, seed=0)
    assert (X_new.x[y_new == "odd"] == 7.5).all()
    assert (X_new.x[y_new == "c"] <= 1).all()
    with pytest.raises(CausalMixError, match="alpha is 0"):
        MixupGenerator(alpha=0)
