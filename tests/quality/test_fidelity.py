"""Fidelity measures against SciPy, naive counts, closed forms and known extremes."""

from __future__ import annotations

from itertools import combinations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scipy.stats import contingency, spearmanr

from causalmix.errors import DataError
from causalmix.quality.fidelity import (
    association_matrix,
    correlation_matrix_difference,
    k_marginal_tvd,
    nearest_neighbour_adversarial_accuracy,
)


@pytest.fixture
def mixed() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, 300)
    level = group * 2.0 + rng.normal(size=300)
    return pd.DataFrame(
        {
            "level": level,
            "other": np.exp(level) + rng.normal(size=300),
            "group": pd.Categorical.from_codes(group, ["a", "b", "c"]),
            "flag": pd.Categorical(np.where(level > 2, "yes", "no")),
        }
    )


def test_associations_equal_their_definitions(mixed):
    found = association_matrix(mixed)
    assert found.loc["level", "other"] == pytest.approx(
        spearmanr(mixed["level"], mixed["other"]).statistic
    )
    counts = pd.crosstab(mixed["group"], mixed["flag"]).to_numpy()
    assert found.loc["group", "flag"] == pytest.approx(
        contingency.association(counts, method="cramer") ** 2
    )
    # η² is the R² of a regression on the group's indicators
    dummies = pd.get_dummies(mixed["group"]).to_numpy(float)
    fitted = dummies @ np.linalg.lstsq(dummies, mixed["level"], rcond=None)[0]
    assert found.loc["level", "group"] == pytest.approx(np.var(fitted) / np.var(mixed["level"]))
    np.testing.assert_allclose(found, found.T)


def test_a_constant_column_is_associated_with_nothing(mixed):
    found = association_matrix(mixed.assign(constant=1.0))
    assert (found["constant"].drop("constant") == 0).all()


def test_cmd_is_zero_for_the_same_rows_and_grows_when_columns_are_shuffled(mixed):
    assert correlation_matrix_difference(mixed, mixed.iloc[::-1]) == pytest.approx(0, abs=1e-12)
    shuffled = pd.DataFrame(
        {name: mixed[name].sample(frac=1, random_state=i).array for i, name in enumerate(mixed)}
    )
    independent = correlation_matrix_difference(mixed, shuffled)
    off_diagonal = association_matrix(mixed).to_numpy() - np.eye(4)
    assert independent == pytest.approx(np.linalg.norm(off_diagonal), abs=0.4)


def test_kmtvd_equals_a_count_of_every_cell(mixed):
    made = mixed.sample(200, random_state=1, replace=True).reset_index(drop=True)
    made.loc[:20, "level"] = np.nan
    made.loc[10:30, "group"] = np.nan
    distances = []
    for pair in combinations(mixed, 2):
        shares = []
        for frame in (mixed, made):
            cells = []
            for name in pair:
                if name in ("level", "other"):
                    edges = np.quantile(mixed[name], np.linspace(0, 1, 21))[1:-1]
                    bins = [
                        "missing" if np.isnan(v) else str((v >= edges).sum()) for v in frame[name]
                    ]
                    cells.append(bins)
                else:
                    cells.append(frame[name].astype(object).fillna("missing").tolist())
            shares.append(pd.Series(list(zip(*cells, strict=True))).value_counts(normalize=True))
        real, synthetic = shares
        distances.append(0.5 * real.sub(synthetic, fill_value=0).abs().sum())
    assert k_marginal_tvd(mixed, made) == pytest.approx(np.mean(distances))
    assert k_marginal_tvd(mixed, mixed.iloc[::-1]) == 0
    with pytest.raises(DataError, match="pairs of columns; these tables have 1"):
        k_marginal_tvd(mixed.iloc[:, :1], made.iloc[:, :1])


def test_nnaa_is_half_for_one_distribution_zero_for_copies_and_one_far_away(mixed):
    first, second = mixed.iloc[:150].reset_index(drop=True), mixed.iloc[150:].reset_index(drop=True)
    assert nearest_neighbour_adversarial_accuracy(first, second) == pytest.approx(0.5, abs=0.08)
    assert nearest_neighbour_adversarial_accuracy(first, first.iloc[::-1]) < 0.02
    far = second.assign(level=second["level"] + 1000)
    assert nearest_neighbour_adversarial_accuracy(first, far) > 0.95


def test_nnaa_takes_missing_cells_and_repeats_with_its_seed(mixed):
    gaps = mixed.copy()
    gaps.loc[::4, "level"] = np.nan
    gaps.loc[::5, "flag"] = np.nan
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    few = gaps.iloc[::5].reset_index(drop=True)
    once, again, other = (
        nearest_neighbour_adversarial_accuracy(gaps, few, seed=seed, n_resample=2)
        for seed in (0, 0, 1)
    )
    assert once == again != other
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_associations_use_the_rows_where_both_columns_are_present(mixed):
    gaps = mixed.mask(np.random.default_rng(1).random(mixed.shape) < 0.2)
    gaps["empty"] = np.nan
    gaps["lone"] = pd.Categorical(["only"] * len(gaps), ["only", "never"])
    found = association_matrix(gaps)
    for a, b in combinations(mixed, 2):
        pair = mixed[[a, b]][gaps[[a, b]].notna().all(axis=1)]
        assert found.loc[a, b] == pytest.approx(association_matrix(pair).loc[a, b])
    lone = found[["empty", "lone"]].drop(["empty", "lone"])
    np.testing.assert_allclose(lone, 0, atol=1e-12)


def test_tables_of_different_columns_or_types_are_refused(mixed):
    other = mixed.rename(columns={"level": "height"})
    for measure in (
        correlation_matrix_difference,
        k_marginal_tvd,
        nearest_neighbour_adversarial_accuracy,
    ):
        with pytest.raises(DataError, match="only one of the tables has: 'level', 'height'"):
            measure(mixed, other)
    with pytest.raises(DataError, match=r"Column 'group' is \w+; numbers or categories"):
        association_matrix(mixed.astype({"group": str}))
    for cells in ("5", pd.Timestamp("2024-01-01"), pd.NaT):  # which NumPy takes for numbers
        with pytest.raises(DataError, match=r"Column 'level' is .*; numbers or categories"):
            association_matrix(mixed.assign(level=cells))
    twice = pd.concat([mixed, mixed], axis=1)
    with pytest.raises(DataError, match="'level' appears more than once"):
        association_matrix(twice)
    for measure in (k_marginal_tvd, nearest_neighbour_adversarial_accuracy):
        with pytest.raises(DataError, match="Column 'level' holds numbers in one of"):
            measure(mixed, mixed.astype({"level": str}))
        with pytest.raises(DataError, match="not 300 and 0"):
            measure(mixed, mixed[:0])
        with pytest.raises(DataError, match="'level' appears more than once"):
            measure(twice, twice)
        with pytest.raises(DataError, match="DataFrame is needed, not Series"):
            measure(mixed["level"], mixed["level"])
    with pytest.raises(DataError, match="NNAA needs two rows of each table, not 300 and 1"):
        nearest_neighbour_adversarial_accuracy(mixed, mixed[:1])


def test_nnaa_bears_a_column_without_values_and_changes_no_figure_settings(mixed):
    empty = mixed.assign(empty=np.nan)
    with mpl.rc_context({"axes.titlesize": 7.0}):
        backend = mpl.get_backend()
        score = nearest_neighbour_adversarial_accuracy(empty[:150], empty[150:])
        assert (mpl.rcParams["axes.titlesize"], mpl.get_backend()) == (7.0, backend)
    assert score == nearest_neighbour_adversarial_accuracy(mixed[:150], mixed[150:])
