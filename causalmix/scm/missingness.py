"""When numbers are missing: fill the gaps of a table, and put like gaps into synthetic rows."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from causalmix.scm.learners import ridge

_LEAST_GAPS = 5
_LEAST_KNOWN = 10  # numbers of a column; fewer do not show what it depends on
_ROUNDS = 5


class MissingnessModel:
    """Which numeric cells are missing, given the row's other values and its earlier gaps.

    Column after column, a logistic regression (the more gaps the earlier) on the values of all
    other columns and on the gaps of the columns before: gaps that depend on other columns, and
    gaps that come together, come again so. A column with fewer than 5 gaps, or fewer than 5 known
    cells, loses cells completely at random.

    Synthetic rows have a value in every cell before they lose some, and so have the rows that the
    regressions are fitted to (`fill_gaps`): a missing number that counted as its column's median
    would tell them of the gap. Gaps that depend on the missing value itself cannot be learned from
    the table.

    Attributes
    ----------
    columns : list of str
        Columns with gaps, in the order they are modelled.
    filled : pandas.DataFrame
        The coded table with its gaps filled.
    hurried : bool
        Whether a regression was left out because the deadline had come.
    """

    def fit(
        self, coded: pd.DataFrame, categorical: tuple[str, ...] = (), deadline: float = math.inf
    ) -> Self:
        """Learn from a table as `TableCodec.encode` gives it.

        After the deadline (on the clock of `time.perf_counter`) no further regression starts.
        """
        until = Deadline(deadline)
        self.filled = fill_gaps(coded, categorical, until)
        self._encoding = _Encoding(self.filled, categorical)
        share = coded.isna().mean().sort_values(ascending=False, kind="stable")
        self.columns = list(share.index[share > 0])
        self._gaps = coded[self.columns].isna().to_numpy()
        self._values = self._encoding.predictors(self.filled)
        self._models = []
        for k, gap in enumerate(self._gaps.T):
            x = self._predictors(k, self._values, self._gaps)
            random = min(gap.sum(), (~gap).sum()) < _LEAST_GAPS or not x.shape[1]
            random = random or until.passed()
            model = DummyClassifier() if random else LogisticRegression(max_iter=1000)
            self._models.append(model.fit(x if x.shape[1] else gap[:, None], gap))
        self.hurried = until.missed
        return self

    def mask(
        self,
        coded: pd.DataFrame,
        rng: np.random.Generator,
        *,
        start: np.ndarray | None = None,
        correlation: float = 0.0,
    ) -> pd.DataFrame:
        """Replace cells of coded rows by NaN.

        Parameters
        ----------
        coded : pandas.DataFrame
            Rows without gaps.
        rng : numpy.random.Generator
        start : numpy.ndarray of int, shape (n,), optional
            The training row that each row was moved from
            (`causalmix.scm.counterfactual.move_noise`).
        correlation : float, default=0.0
            Of the noise that decides on a gap with that of the training row. With 1, rows that are
            as they were have the gaps they had.

        Returns
        -------
        pandas.DataFrame
        """
        values = self._encoding.predictors(coded)
        gaps = np.zeros((len(coded), len(self.columns)), dtype=bool)
        for k in range(len(self.columns)):
            level = rng.random(len(coded))
            if start is not None:
                level = _moved(self._levels(k, rng)[start], correlation, level)
            gaps[:, k] = level < self._chance(k, values, gaps)
        masked = coded.copy()
        masked[self.columns] = masked[self.columns].mask(gaps)
        return masked

    def _levels(self, k: int, rng: np.random.Generator) -> np.ndarray:
        """Draw levels of the training rows that have made their gaps: below the chance of one."""
        chance, gap = self._chance(k, self._values, self._gaps), self._gaps[:, k]
        return rng.uniform(np.where(gap, 0, chance), np.where(gap, chance, 1))

    def _chance(self, k: int, values: np.ndarray, gaps: np.ndarray) -> np.ndarray:
        model = self._models[k]
        if len(model.classes_) == 1:
            return np.full(len(values), float(model.classes_[0]))
        return model.predict_proba(self._predictors(k, values, gaps))[:, 1]

    def _predictors(self, k: int, values: np.ndarray, gaps: np.ndarray) -> np.ndarray:
        others = self._encoding.owners != self.columns[k]
        return np.hstack([values[:, others], gaps[:, :k]])


@dataclass
class Deadline:
    """A time after which no further work starts.

    Parameters
    ----------
    end : float
        On the clock of `time.perf_counter`.
    missed : bool, default=False
        Whether any work was left out for it so far.
    """

    end: float
    missed: bool = False

    def passed(self) -> bool:
        """Say whether work that is to start now is left out.

        Returns
        -------
        bool
        """
        self.missed = self.missed or time.perf_counter() > self.end
        return self.missed


def fill_gaps(
    coded: pd.DataFrame,
    categorical: tuple[str, ...] = (),
    deadline: Deadline | None = None,
) -> pd.DataFrame:
    """Draw the missing numbers of a table from what it knows of their rows.

    Chained regressions (van Buuren 2018, section 4.5): for each column with gaps in turn, and five
    times over, a ridge regression on all other columns; a missing number is its prediction with the
    residual of a known number added, and then the nearest number that the column has. The numbers
    drawn depend on the other columns as the known ones do, and vary as much.

    Parameters
    ----------
    coded : pandas.DataFrame
        As `TableCodec.encode` gives it.
    categorical : tuple of str
        Columns of codes, in which "missing" is a level.
    deadline : Deadline, optional
        After it no further regression starts: gaps are then as they were drawn last, at first from
        the known numbers of their column. By default there is none.

    Returns
    -------
    pandas.DataFrame
        What is known is as it was. A column without any number is 0.

    References
    ----------
    van Buuren (2018), "Flexible Imputation of Missing Data", 2nd edition.
    """
    deadline = deadline or Deadline(math.inf)
    rng = np.random.default_rng(0)
    filled, gaps = coded.copy(), coded.isna()
    incomplete = gaps.sum()[gaps.any()].sort_values(kind="stable").index
    for name in incomplete:
        known = coded[name].dropna().to_numpy()
        filled.loc[gaps[name], name] = rng.choice(known, gaps[name].sum()) if len(known) else 0.0
    encoding = _Encoding(filled, categorical)
    learnable = [name for name in incomplete if coded[name].count() >= _LEAST_KNOWN]
    values = encoding.predictors(filled)
    for name in learnable * (_ROUNDS if len(learnable) > 1 else 1):
        own = encoding.owners == name
        if own.all() or deadline.passed():
            break
        filled[name] = _fill_column(values[:, ~own], coded[name].to_numpy(), rng)
        values[:, own] = encoding.standardised(filled, name)
    return filled


def _fill_column(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the missing ones of y (n,) given predictors x (n, p)."""
    gap = np.isnan(y)
    known = np.sort(y[~gap])
    model = ridge().fit(x[~gap], y[~gap])
    residuals = y[~gap] - model.predict(x[~gap])
    # Residuals of the rows that the regression is fitted to are smaller than those of others.
    widening = np.sqrt(-model.best_score_ / max(np.mean(residuals**2), 1e-300))
    drawn = model.predict(x[gap]) + widening * rng.choice(residuals, gap.sum())
    filled = y.copy()
    filled[gap] = known[np.searchsorted((known[:-1] + known[1:]) / 2, drawn)]
    return filled


def _moved(level: np.ndarray, correlation: float, fresh: np.ndarray) -> np.ndarray:
    """Levels whose normal scores are `correlation` times those before, and the rest fresh."""
    if correlation == 1:
        return level
    return ndtr(correlation * ndtri(level) + np.sqrt(1 - correlation**2) * ndtri(fresh))


class _Encoding:
    """Standardised numbers and one-hot levels of a coded table.

    Attributes
    ----------
    owners : numpy.ndarray of object
        The column that each predictor comes from.
    """

    def __init__(self, filled: pd.DataFrame, categorical: tuple[str, ...]) -> None:
        self._numeric = [name for name in filled if name not in categorical]
        numbers = filled[self._numeric]
        self._median = numbers.median().to_numpy()
        self._spread = numbers.std().fillna(0.0).replace(0.0, 1.0).to_numpy()
        self._levels = {name: np.unique(filled[name]) for name in categorical}
        owners = list(self._numeric)
        for name, each in self._levels.items():
            owners += [name] * len(each)
        self.owners = np.array(owners, dtype=object)

    def standardised(self, coded: pd.DataFrame, name: str) -> np.ndarray:
        """Return the predictor of a numeric column, (n, 1)."""
        j = self._numeric.index(name)
        return (coded[[name]].to_numpy(float) - self._median[j]) / self._spread[j]

    def predictors(self, coded: pd.DataFrame) -> np.ndarray:
        """Return rows without gaps as predictors, (n, n_predictors)."""
        numbers = (coded[self._numeric].to_numpy(float) - self._median) / self._spread
        levels = [coded[[name]].to_numpy() == each for name, each in self._levels.items()]
        return np.hstack([numbers, *levels]).astype(float)
