"""Synthetic rows with other labels than their generator gives them."""

from __future__ import annotations

from dataclasses import field

import numpy as np
import pandas as pd

from causalmix.data.backing import numpy_backed
from causalmix.errors import check_name, checked_options
from causalmix.generation.base import Generator, WrappingGenerator, with_target
from causalmix.generation.purification import LabelJudge

LABELS = ("base", "permuted")


@checked_options
class Relabelled(WrappingGenerator):
    """A generator whose rows stay and whose labels are replaced.

    Parameters
    ----------
    generator : Generator
        Fitted by `fit`, which raises a `DataError` too if the table exceeds the limits of the
        foundation model and the labels are its.
    labels : {"base", "permuted"}, default="base"
        ``"base"``: drawn from the probabilities of the pre-trained foundation model, with the
        training rows as its context. ``"permuted"``: the generator's own, permuted among the rows
        of a sample, a control whose classes are as frequent and whose labels say nothing.
    tfm : str, default="embedded"
        As `causalmix.tfm.model.load_tfm` takes it; for base labels.

    Attributes
    ----------
    classes_ : numpy.ndarray of object
        The K classes that training rows have, in the order of the target's categories.
    """

    generator: Generator = field(kw_only=False)
    labels: str = "base"
    tfm: str = "embedded"

    def __post_init__(self) -> None:
        check_name(self.labels, LABELS, "choice of labels")

    def _fit(self, table: pd.DataFrame) -> None:
        X, y = table.drop(columns=self.target_), table[self.target_]
        self.generator.fit(X, y)
        self.classes_ = y.cat.remove_unused_categories().cat.categories.to_numpy(object)
        self._base = LabelJudge(X, y, self.tfm) if self.labels == "base" else None

    def _sample(self, n: int, seed: int) -> pd.DataFrame:
        X, y = self.generator.sample(n, seed)
        rng = np.random.default_rng([seed, 1])  # another stream than the generator's
        if self.labels == "permuted":
            y = y.iloc[rng.permutation(n)]
        else:
            probabilities = self._base.probabilities(numpy_backed(X), self.classes_)
            level = probabilities.cumsum(axis=1) > rng.random((n, 1))
            drawn = np.where(level.any(axis=1), level.argmax(axis=1), len(self.classes_) - 1)
            y = pd.Series(self.classes_[drawn]).astype(y.dtype)
        return with_target(X, y, self.target_)
