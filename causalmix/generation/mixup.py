"""Rows between two rows of one class."""

from __future__ import annotations

import numpy as np
import pandas as pd

from causalmix.data.codec import TableCodec
from causalmix.errors import CausalMixError
from causalmix.generation.base import TableGenerator, sample_by_class


class MixupGenerator(TableGenerator):
    """Mixup of rows within a class, so that labels stay hard.

    Two different training rows of a class and a weight w from Beta(alpha, alpha) make a row. A
    number is w times that of the first row plus 1 − w times that of the second; a category is the
    first row's with probability w, else the second's. So is a number that either row lacks, which
    keeps gaps at their share and together with what they go with. A class of one row repeats it.

    Parameters
    ----------
    alpha : float, default=1.0
        1 spreads the rows evenly between the two; small values keep most of them near one.

    References
    ----------
    Zhang, Cisse, Dauphin, Lopez-Paz (2018), "mixup: Beyond empirical risk minimization", ICLR,
    where the rows may be of two classes and share the label.
    """

    def __init__(self, *, alpha: float = 1.0) -> None:
        if not alpha > 0:
            raise CausalMixError(f"alpha is {alpha}; it must be positive.")
        self.alpha = alpha

    def _fit(self, table: pd.DataFrame) -> None:
        self._codec = TableCodec(table)
        self._rows = self._codec.encode(table)
        self._classes = self._rows.pop(self.target_).to_numpy(int)
        self._numeric = ~self._rows.columns.isin(self._codec.categorical)

    def _sample(self, n: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        rows, classes = sample_by_class(n, self._classes, self._mix, rng)
        rows[self.target_] = classes
        return self._codec.decode(rows)

    def _mix(self, c: int, m: int, seed: int) -> pd.DataFrame:
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
