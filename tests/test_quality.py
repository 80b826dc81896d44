"""Association and utility measures against SciPy, closed forms and known extremes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import contingency, spearmanr

from causalmix.data import load_dataset, low_data_split
from causalmix.quality import (
    association_matrix,
    correlation_matrix_difference,
    quality_table,
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


def test_utility_tells_informative_rows_from_permuted_labels():
    split = low_data_split(load_dataset("breast_cancer"), 100, 20, seed=0)
    X, y = split.train.X, split.train.y
    wrong = pd.Series(y.sample(frac=1, random_state=0).array, name=y.name)
    table = quality_table(split.train, split.test, {"same": (X, y), "permuted": (X, wrong)})
    assert table.loc["same", "synthetic AUC"] == table.loc["real training rows", "synthetic AUC"]
    assert table.loc["same", "synthetic AUC"] > 0.95
    assert table.loc["permuted", "synthetic AUC"] < 0.8
    assert table.loc["permuted", "CMD"] > table.loc["same", "CMD"]
