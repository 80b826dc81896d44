"""Rows between two rows of one class."""

from __future__ import annotations

import numpy as np
import pandas as pd

from causalmix.errors import check_range, checked_options
from causalmix.generation.base import ByClassGenerator


@checked_options
class MixupGenerator(ByClassGenerator):
    """Mixup of rows within a class, so that labels stay hard.

    Two different training rows of a class and a weight w from Beta(alpha, alpha) make a row. A
    number is w times that of the first row plus 1 − w times that of the second; a category is the
    first row's with probability w, else the second's. So is a number that either row lacks, which
    keeps gaps at their share; each cell takes its row by itself. A class of one row repeats it.

    Parameters
    ----------
    alpha : float, default=1.0
        1 spreads the rows evenly between the two; small values keep most of them near one.

    References
    ----------
    Zhang, Cisse, Dauphin, Lopez-Paz (2018), "mixup: Beyond empirical risk minimization", ICLR,
    where the rows may be of two classes and share the label.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_range(self.alpha, "(0, inf)", "alpha")

    def _learn(self, coded: pd.DataFrame) -> None:
        self._rows = coded.drop(columns=self.target_)
        self._numeric = ~self._rows.columns.isin(self._codec.categorical)

    def _sample_class(self, c: int, m: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        own = self._rows.to_numpy()[self._classes == c]
        first = rng.integers(len(own), size=m)
        # Another row, each with the same probability; the same one where there is no other.
        second = (first + rng.integers(1, max(len(own), 2), size=m)) % len(own)
        a, b = own[first], own[second]
        weight = rng.beta(self.alpha, self.alpha, size=(m, 1))
        between = weight * a + (1 - weight) * b
        either = np.where(rng.random(a.shape) < weight, a, b)
        mixed = np.where(self._numeric & ~np.isnan(between), between, either)
        return pd.DataFrame(mixed, columns=self._rows.columns)
