"""When numbers are missing: a model of a table's gaps, to put like gaps into synthetic rows."""

from __future__ import annotations

from typing import Self

import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

_LEAST_GAPS = 5


class MissingnessModel:
    """Which numeric cells are missing, given the row's values and its earlier gaps.

    Column after column, a logistic regression (the more gaps the earlier) on all values of the row
    and on the gaps of the columns before: gaps that depend on other columns, and gaps that come
    together, come again so. A column with fewer than 5 gaps, or fewer than 5 known cells, loses
    cells completely at random.

    Gaps that depend on the missing value itself cannot be learned from the table.

    Attributes
    ----------
    columns : list of str
        Columns with gaps, in the order they are modelled.
    """

    def fit(self, coded: pd.DataFrame, categorical: tuple[str, ...] = ()) -> Self:
        """Learn from a table as `TableCodec.encode` gives it."""
        self._categorical = categorical
        numeric = [name for name in coded if name not in categorical]
        share = coded[numeric].isna().mean().sort_values(ascending=False, kind="stable")
        self.columns = list(share.index[share > 0])
        self._median = coded[numeric].median().fillna(0.0)
        self._spread = coded[numeric].std().fillna(0.0).replace(0.0, 1.0)
        self._levels = {name: np.unique(coded[name]) for name in categorical}
        gaps = coded[self.columns].isna().to_numpy()
        values = self._predictors(coded)
        self._models = []
        for k in range(len(self.columns)):
            rare = min(gaps[:, k].sum(), (~gaps[:, k]).sum()) < _LEAST_GAPS
            model = DummyClassifier() if rare else LogisticRegression(max_iter=1000)
            self._models.append(model.fit(np.hstack([values, gaps[:, :k]]), gaps[:, k]))
        return self

    def mask(self, coded: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        """Return coded rows with cells replaced by NaN."""
        values = self._predictors(coded)
        gaps = np.zeros((len(coded), len(self.columns)), dtype=bool)
        for k, model in enumerate(self._models):
            if len(model.classes_) == 1:
                gaps[:, k] = model.classes_[0]
                continue
            chance = model.predict_proba(np.hstack([values, gaps[:, :k]]))[:, 1]
            gaps[:, k] = rng.random(len(coded)) < chance
        masked = coded.copy()
        masked[self.columns] = masked[self.columns].mask(gaps)
        return masked

    def _predictors(self, coded: pd.DataFrame) -> np.ndarray:
        """Values of a row; a missing number, in training, counts as the column's median."""
        names = self._median.index
        numbers = (coded[names].fillna(self._median) - self._median) / self._spread
        levels = [coded[[name]].to_numpy() == self._levels[name] for name in self._categorical]
        return np.hstack([numbers.to_numpy(float), *levels]).astype(float)
