"""Purification drops planted bad rows, keeps the good ones, and says when there are too few."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from causalmix.errors import CausalMixError, DataError, GenerationWarning
from causalmix.generation.purification import Purified, out_of_support
from causalmix.generation.registry import make_generator

N = 80


def table(seed: int = 0, n: int = N) -> tuple[pd.DataFrame, pd.Series]:
    """Two far classes, the rarer one 1 in 10."""
    rng = np.random.default_rng(seed)
    rare = np.arange(n) % 10 == 0
    X = pd.DataFrame(rng.normal(size=(n, 3)) + 4 * rare[:, None], columns=list("abc"))
    X["kind"] = pd.Categorical(rng.choice(["p", "q"], n), categories=["p", "q", "never"])
    return X, pd.Series(np.where(rare, "rare", "usual"), dtype="category", name="y")


class Planted:
    """Draws a table's further rows, a share of which is spoilt in one way."""

    def __init__(self, spoil, share: float = 0.4) -> None:
        self.spoil = spoil
        self.share = share

    def fit(self, X, y):
        self.X, self.y = X, y
        return self

    def sample(self, n, seed):
        rng = np.random.default_rng(seed)
        X, y = table(seed + 1000, n)
        lo, hi = self.X[list("abc")].min(), self.X[list("abc")].max()
        X[list("abc")] = X[list("abc")].clip(lo, hi, axis=1)
        bad = rng.random(n) < self.share
        X, y = self.spoil(X.copy(), y.copy(), bad, self, rng)
        self.bad = bad
        return X, y


def wrong_labels(X, y, bad, planted, rng):
    flipped = y.map({"rare": "usual", "usual": "rare"})
    return X, y.where(~bad, flipped)


def copies(X, y, bad, planted, rng):
    rows = rng.integers(len(planted.X), size=len(X))
    numbers = list("abc")
    X.loc[bad, numbers] = planted.X[numbers].iloc[rows].to_numpy()[bad] + 1e-6
    X.loc[bad, "kind"] = planted.X["kind"].iloc[rows].to_numpy()[bad]
    return X, y.where(~bad, planted.y.iloc[rows].set_axis(y.index))


def beyond(X, y, bad, planted, rng):
    X.loc[bad, "b"] = 50.0
    return X, y


def unseen(X, y, bad, planted, rng):
    X.loc[bad, "kind"] = "never"
    return X, y


def gaps(X, y, bad, planted, rng):
    X.loc[bad, "c"] = np.nan
    return X, y


@pytest.mark.parametrize("spoil", [wrong_labels, copies, beyond, unseen, gaps])
def test_planted_rows_are_found_and_others_are_not(spoil):
    planted = Planted(spoil)
    pure = Purified(planted).fit(*table())
    X, y = planted.sample(300, seed=5)
    faults = pure.faults(X, y) > 0
    assert faults[planted.bad].mean() > 0.9
    assert faults[~planted.bad].mean() < 0.15


@pytest.mark.parametrize("spoil", [wrong_labels, copies, beyond])
def test_samples_are_full_pure_and_keep_the_class_shares(spoil):
    planted = Planted(spoil)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GenerationWarning)
        pure = Purified(planted, max_rounds=10).fit(*table())
        X, y = pure.sample(200, seed=3)
    assert len(X) == len(y) == 200
    assert (pure.faults(X, y) == 0).all()
    pd.testing.assert_series_equal(y.value_counts(), planted.sample(200, seed=3)[1].value_counts())
    again = pure.sample(200, seed=3)[0]
    pd.testing.assert_frame_equal(X, again)


def test_good_rows_are_not_chosen_by_how_good_they_are():
    """All pass: the sample is the generator's."""
    pure = Purified(Planted(wrong_labels, share=0.0), copy_distance=0).fit(*table())
    X, y = pure.sample(100, seed=2)
    expected = pure.generator.sample(100, seed=2)
    pd.testing.assert_frame_equal(X, expected[0])
    pd.testing.assert_series_equal(y, expected[1], check_names=False)


def test_where_everything_is_bad_the_least_bad_fill_and_a_warning_says_so():
    def both(X, y, bad, planted, rng):
        X, y = copies(X, y, bad, planted, rng)
        X.loc[np.arange(len(X)) % 2 == 0, "b"] = 50.0  # every second row is worse still
        return X, y

    pure = Purified(Planted(both, share=1.0), max_rounds=3).fit(*table())
    with pytest.warns(GenerationWarning, match="60 of 60 rows"):
        X, _ = pure.sample(60, seed=0)
    assert len(X) == 60
    assert (X.b < 50).all()


def test_copies_are_no_sign_where_training_rows_repeat_themselves():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({c: pd.Categorical(rng.choice(["p", "q"], 60)) for c in "ab"})
    y = pd.Series(np.where(X.a == "p", 1, 0), name="y")
    with warnings.catch_warnings():
        warnings.simplefilter("error", GenerationWarning)
        X_new, y_new = make_generator("mixup", purified=True).fit(X, y).sample(50, seed=0)
    assert ((X_new.a == "p") == (y_new == 1)).all()


def test_support_of_every_kind_of_column():
    records = pd.DataFrame({"n": [1.0, 3.0, np.nan], "t": ["u", "v", "v"], "f": [True, True, True]})
    rows = pd.DataFrame(
        {
            "n": [2.0, 3.5, np.nan, 2.0, 2.0, 2.0],
            "t": ["u", "v", "u", "w", None, "u"],
            "f": [True, True, True, True, True, False],
        }
    )
    assert out_of_support(records, rows).tolist() == [False, True, False, True, True, True]


@pytest.mark.parametrize(
    "cells",
    [
        pd.to_timedelta([1, 2, None] * 20, "D"),
        pd.to_datetime(["2020-01-01", "2021-01-01", None] * 20),
        pd.cut(np.arange(60.0), 3),
        pd.period_range("2020", periods=5, freq="D").repeat(12),
        pd.Series([1, "x", None] * 20, dtype=object),
    ],
    ids=["duration", "date", "interval", "period", "mixed"],
)
def test_columns_of_every_kind_are_judged(cells):
    X, y = table()
    X = X.iloc[:60].reset_index(drop=True).assign(cells=pd.Series(cells))
    for names in (list(X), [k if k else (0, "a") for k in range(X.shape[1])]):
        X = X.set_axis(pd.Index(names, tupleize_cols=False), axis=1)
        rows, _ = make_generator("copula", purified=True).fit(X, y[:60]).sample(5, 0)
        assert len(rows) == 5


def test_errors_name_what_is_wrong():
    for option in ("least_lift", "copy_distance"):
        with pytest.raises(CausalMixError, match=f"{option} is -1"):
            Purified(make_generator("mixup"), **{option: -1})
    with pytest.raises(CausalMixError, match="max_rounds is 0"):
        Purified(make_generator("mixup"), max_rounds=0)
    pure = make_generator("mixup", purified=True)
    with pytest.raises(CausalMixError, match="not fitted"):
        pure.sample(3, 0)
    X, y = table()
    with pytest.raises(CausalMixError, match="n is 0; a whole number, at least 1"):
        pure.fit(X, y).sample(0, 0)
    with pytest.raises(DataError, match="one class"):
        make_generator("mixup", purified=True).fit(X, y.mask(y == "rare", "usual"))


def test_rows_that_are_kept_know_their_model():
    class Models(Planted):
        """Two models, whose rows differ in column a."""

        def sample(self, n, seed):
            X, y = super().sample(n, seed)
            X["a"] = X["a"].where(self.dag_of_rows(n, seed) == 0, self.X["a"].max())
            return X, y

        def dag_of_rows(self, n, seed):
            return np.random.default_rng(seed).permutation(np.arange(n) % 2)

    purified = Purified(Models(copies)).fit(*table())
    X, _ = purified.sample(60, seed=4)
    second = (X["a"] == table()[0]["a"].max()).to_numpy()
    assert second.any()
    np.testing.assert_array_equal(purified.dag_of_rows(60, seed=4) == 1, second)
    purified.sample(60, seed=5)
    np.testing.assert_array_equal(purified.dag_of_rows(60, seed=4) == 1, second)
    assert not Purified(Planted(copies)).fit(*table()).dag_of_rows(60, seed=4).any()
