"""Utility of synthetic rows: known extremes."""

from __future__ import annotations

import pandas as pd

from causalmix.data import load_dataset, low_data_split
from causalmix.quality import quality_table


def test_utility_tells_informative_rows_from_permuted_labels():
    split = low_data_split(load_dataset("breast_cancer"), 100, 20, seed=0)
    X, y = split.train.X, split.train.y
    wrong = pd.Series(y.sample(frac=1, random_state=0).array, name=y.name)
    table = quality_table(split.train, split.test, {"same": (X, y), "permuted": (X, wrong)})
    assert table.loc["same", "synthetic AUC"] == table.loc["real training rows", "synthetic AUC"]
    assert table.loc["same", "synthetic AUC"] > 0.95
    assert table.loc["permuted", "synthetic AUC"] < 0.8
    assert table.loc["permuted", "CMD"] > table.loc["same", "CMD"]
