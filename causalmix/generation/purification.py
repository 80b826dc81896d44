"""Synthetic rows sorted out before they are used."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import field
from typing import Self

import numpy as np
import pandas as pd

from causalmix.data.backing import numpy_backed
from causalmix.data.codec import is_number
from causalmix.data.gower import distance_to_closest_record
from causalmix.data.own_settings import own_settings
from causalmix.errors import GenerationWarning, check_range, check_whole, checked_options
from causalmix.generation.base import Generator, WrappingGenerator, with_target

_EQUAL = 1e-12  # a distance that is one by rounding only


@checked_options
class Purified(WrappingGenerator):
    """A generator whose implausible rows, near-copies and impossible rows are drawn anew.

    A synthetic row is dropped if

    - its label is implausible: the pre-trained foundation model, with the training rows as its
      context, gives it less than `least_lift` times the class's share of the training rows (in
      units of the share, for else no row of a rare class would be plausible);
    - it is a near-copy of a training row, label included: nearer to it, by Gower's distance, than
      `copy_distance` times the median distance between a training row and the closest other one.
      In tables where most rows have a duplicate that median is 0, and copies are no sign of
      anything;
    - it is out of support: a number outside the range of the training rows, a category that they
      lack, or a gap in a column without gaps. No generator of this package draws such rows.

    Each round draws as many rows as were asked for, until enough of them pass. The classes keep the
    shares of the first round, since rows of classes that overlap would be dropped more often. What
    is still lacking after the last round is filled with the least bad rows of the class (`faults`),
    and a `GenerationWarning` says how many these are: all of them where a generator draws nothing
    but near-copies.

    Parameters
    ----------
    generator : Generator
        Fitted by `fit`, which raises a `DataError` too if the table exceeds the limits of the
        foundation model.
    least_lift : float, default=0.2
        0 or more; 0 takes every label.
    copy_distance : float, default=0.5
        0 or more; 0 takes copies too.
    max_rounds : int, default=5
    tfm : str, default="embedded"
        As `causalmix.tfm.model.load_tfm` takes it.

    References
    ----------
    A variant of the generators compared in Bühler, Purucker, Hutter (2026), "Causal Data
    Augmentation for Robust Fine-Tuning of Tabular Foundation Models", arXiv 2601.04110. The rules
    are this project's own.
    """

    generator: Generator = field(kw_only=False)
    least_lift: float = 0.2
    copy_distance: float = 0.5
    max_rounds: int = 5
    tfm: str = "embedded"

    def __post_init__(self) -> None:
        check_range(self.least_lift, "[0, inf)", "least_lift")
        check_range(self.copy_distance, "[0, inf)", "copy_distance")
        check_whole(self.max_rounds, 1, "max_rounds")

    def _fit(self, table: pd.DataFrame) -> None:
        X, y = table.drop(columns=self.target_), table[self.target_]
        self.generator.fit(X, y)
        self._kept: tuple[int, int, list[int], np.ndarray] | None = None
        self._records = with_target(X, y.astype(object), self.target_)
        self._judge = LabelJudge(X, y, self.tfm) if self.least_lift > 0 else None
        between = np.median(distance_to_closest_record(self._records)) if len(X) > 1 else 0.0
        self._nearest = self.copy_distance * between

    def _sample(self, n: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        seeds = [seed]
        rounds = [self._draw(n, seed)]
        wanted = rounds[0][0][self.target_].value_counts()
        while len(rounds) < self.max_rounds and self._lacks(rounds, wanted):
            seeds.append(int(rng.integers(2**31)))
            rounds.append(self._draw(n, seeds[-1]))
        rows, faults = (pd.concat(parts, ignore_index=True) for parts in zip(*rounds, strict=True))
        kept = _least_bad(rows[self.target_], faults, wanted)
        self._kept = (n, seed, seeds, kept)
        if bad := int((faults[kept] > 0).sum()):
            warnings.warn(
                f"{bad} of {n} rows were taken although they should have been dropped: of "
                f"{len(rows)} drawn, {(faults > 0).mean():.0%} are implausible, near-copies or out "
                "of support. Lower least_lift or copy_distance, or raise max_rounds.",
                GenerationWarning,
                stacklevel=4,
            )
        return rows.iloc[kept].reset_index(drop=True)

    def _lacks(self, rounds: Sequence[tuple[pd.DataFrame, pd.Series]], wanted: pd.Series) -> bool:
        good = pd.concat([rows.loc[faults == 0, self.target_] for rows, faults in rounds])
        return bool((good.value_counts().reindex(wanted.index, fill_value=0) < wanted).any())

    def dag_of_rows(self, n: int, seed: int) -> np.ndarray:
        """Which model of the generator each row of ``sample(n, seed)`` comes from.

        Others than the `n` and `seed` of the last call of `sample` draw the rows again.
        """
        self._check_draw(n, seed)
        if self._kept is None or self._kept[:2] != (n, seed):
            self.sample(n, seed)
        _, _, seeds, kept = self._kept
        of_round = super().dag_of_rows
        return np.concatenate([of_round(n, each) for each in seeds])[kept]

    def detached(self) -> Self:
        """Return this with its generator's rows starting from no training row, where they do."""
        other = super().detached()
        other._kept = None
        return other

    def _draw(self, n: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
        X, y = self.generator.sample(n, seed)
        return with_target(X, y, self.target_), pd.Series(self.faults(X, y))

    @own_settings()
    def faults(self, X: pd.DataFrame, y: pd.Series) -> np.ndarray:
        """How bad rows are.

        Parameters
        ----------
        X : pandas.DataFrame of shape (n, n_features)
        y : pandas.Series of shape (n,)

        Returns
        -------
        numpy.ndarray of shape (n,)
            0 for a row to keep. Else the sum of 4 for a row out of support, of how far the
            label's lift falls short of `least_lift` (a share of it), and of how far the row is on
            its way from the least distance to a copy.
        """
        self._check_fitted()
        X, y = numpy_backed(X), numpy_backed(y)
        rows = with_target(X, y.astype(object), self.target_)
        faults = 4.0 * out_of_support(self._records, rows)
        if self._judge is not None:
            faults += (1 - self._judge.lift(X, y) / self.least_lift).clip(0)
        if self._nearest > _EQUAL:
            distance = distance_to_closest_record(self._records, rows)
            faults += (1 - distance / self._nearest).clip(0)
        return faults


class LabelJudge:
    """How plausible the pre-trained foundation model finds labels, given labelled rows.

    Parameters
    ----------
    X : pandas.DataFrame of shape (n_rows, n_features)
    y : pandas.Series of shape (n_rows,)
        Two classes or more.
    tfm : str, default="embedded"
        As `causalmix.tfm.model.load_tfm` takes it.

    Raises
    ------
    DataError
        If the table exceeds the limits of the model.
    """

    def __init__(self, X: pd.DataFrame, y: pd.Series, tfm: str = "embedded") -> None:
        from causalmix.tfm.model import load_tfm  # torch is imported only where it is needed

        codes, classes = pd.factorize(y.astype(object))
        self._classes = pd.Index(classes)
        self._shares = np.bincount(codes) / len(codes)
        self._model = load_tfm(tfm)
        self._encoder = self._model.encoder(_categories(X), codes)

    def probabilities(self, X: pd.DataFrame, classes: Sequence[Hashable]) -> np.ndarray:
        """Probabilities of classes that the labelled rows have, shape (n, n_classes)."""
        queries = self._encoder.transform(_categories(X))
        proba = self._encoder.predict_proba(self._model.network, queries, len(self._classes))
        return proba[:, self._classes.get_indexer(classes)]

    def lift(self, X: pd.DataFrame, y: pd.Series) -> np.ndarray:
        """Probabilities of labels in units of their classes' shares, shape (n,); 0 if unknown."""
        proba = self.probabilities(X, self._classes)
        codes = self._classes.get_indexer(y.astype(object))
        lift = proba[np.arange(len(codes)), codes] / self._shares[codes]
        return np.where(codes >= 0, lift, 0.0)


def out_of_support(records: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """Say which rows hold a value that no record has or encloses.

    Parameters
    ----------
    records : pandas.DataFrame of shape (n_records, n_columns)
    rows : pandas.DataFrame of shape (n_rows, n_columns)
        With the same columns.

    Returns
    -------
    numpy.ndarray of bool, shape (n_rows,)
        True for a number outside the records' range, a category or truth value that they lack, or
        a gap in a column without gaps.
    """
    outside, numeric = np.zeros(len(rows), dtype=bool), records.select_dtypes("number").columns
    for name, seen in records.items():
        values, known = rows[name], rows[name].notna().to_numpy()
        if name in numeric:
            inside = values.between(seen.min(), seen.max()).to_numpy(bool, na_value=False)
        else:
            inside = values.astype(object).isin(seen.dropna().astype(object)).to_numpy()
        outside |= np.where(known, ~inside, not seen.hasnans)
    return outside


_LEVELS = ("string", "boolean", "integer", "floating", "empty")  # others are written as text


def _categories(X: pd.DataFrame) -> pd.DataFrame:
    """Return columns that are no numbers as categories, with levels that the model takes."""
    X = X.copy()
    for name in X:
        if is_number(X[name].dtype):
            continue
        column = X[name].astype("category")
        if pd.api.types.infer_dtype(column.cat.categories) not in _LEVELS:
            column = X[name].astype(object).map(str, na_action="ignore").astype("category")
        X[name] = column
    return X.rename(columns=str)  # it takes no names of several types either


def _least_bad(y: pd.Series, faults: pd.Series, wanted: pd.Series) -> np.ndarray:
    """Positions of as many rows of each class as are wanted, in the order they were drawn."""
    # Stable: of the rows without fault those that were drawn first.
    order = faults.to_numpy().argsort(kind="stable")
    classes = y.iloc[order]
    nth_of_class = classes.groupby(classes, observed=True).cumcount()
    within = nth_of_class < classes.map(wanted).astype(int)
    return np.sort(order[within.to_numpy()])
