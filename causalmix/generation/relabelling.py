"""Synthetic rows with other labels than their generator gives them."""

from __future__ import annotations

import copy
from dataclasses import field
from typing import Self

import numpy as np
import pandas as pd

from causalmix.data.backing import numpy_backed
from causalmix.data.own_settings import own_settings
from causalmix.errors import CausalMixError, check_name, checked_options
from causalmix.generation.base import Generator, TableGenerator, with_target
from causalmix.generation.purification import LabelJudge

LABELS = ("base", "permuted")


@checked_options
class Relabelled(TableGenerator):
    """A generator whose rows stay and whose labels are replaced.

    Parameters
    ----------
    generator : Generator
        Fitted by `fit`, which raises a `DataError` too if the table exceeds the limits of the
        foundation model and the labels are its.
    labels : {"base", "permuted"}, default="base"
        ``"base"``: drawn from the probabilities of the pre-trained foundation model, with the
        training rows as its context (`label_probabilities`). ``"permuted"``: the generator's own,
        permuted among the rows of a sample, a control whose classes are as frequent and whose
        labels say nothing.
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
            level = self.label_probabilities(X).cumsum(axis=1) > rng.random((n, 1))
            drawn = np.where(level.any(axis=1), level.argmax(axis=1), len(self.classes_) - 1)
            y = pd.Series(self.classes_[drawn]).astype(y.dtype)
        return with_target(X, y, self.target_)

    @own_settings()
    def label_probabilities(self, X: pd.DataFrame) -> np.ndarray:
        """Probabilities that base labels are drawn from, for rows to be given soft labels.

        Parameters
        ----------
        X : pandas.DataFrame of shape (n, n_features)

        Returns
        -------
        numpy.ndarray of shape (n, K)
            Rows sum to 1; columns are `classes_`.

        Raises
        ------
        CausalMixError
            If the generator is not fitted, or `labels` is not ``"base"``.
        """
        if getattr(self, "_base", None) is None:
            raise CausalMixError(
                "Only a fitted generator with labels='base' has probabilities of labels."
            )
        return self._base.probabilities(numpy_backed(X), self.classes_)

    def dag_of_rows(self, n: int, seed: int) -> np.ndarray:
        """Which model of the generator each row of ``sample(n, seed)`` comes from.

        See `causalmix.generation.causal.CausalGenerator.dag_of_rows`.

        Parameters
        ----------
        n, seed : int
            As given to `sample`.

        Returns
        -------
        numpy.ndarray of int, shape (n,)
            All 0 for a generator that has no several models.
        """
        if not hasattr(self.generator, "dag_of_rows"):
            return np.zeros(n, dtype=int)
        return self.generator.dag_of_rows(n, seed)

    def detached(self) -> Self:
        """Return this with its generator's rows starting from no training row, where they do.

        See `causalmix.generation.causal.CausalGenerator.detached`.
        """
        other = copy.copy(self)
        if hasattr(self.generator, "detached"):
            other.generator = self.generator.detached()
        return other
