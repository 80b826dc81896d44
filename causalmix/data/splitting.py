"""Stratified splits for the low-data regime."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
import pandas as pd

from causalmix.data.columns import listed
from causalmix.data.dataset import TabularDataset
from causalmix.errors import DataError, check_seed


@dataclass(frozen=True, eq=False)
class Split:
    """Train, validation and test part of a dataset, without a row in common.

    Parameters
    ----------
    train, val, test : TabularDataset
        The parts; all know all classes and categories.
    seed : int
        Seed that drew them.
    """

    train: TabularDataset
    val: TabularDataset
    test: TabularDataset
    seed: int

    def context(self) -> TabularDataset:
        """Return training and validation rows together, the context of a final prediction.

        Returns
        -------
        TabularDataset
            Training rows first.
        """
        X = pd.concat([self.train.X, self.val.X], ignore_index=True)
        y = pd.concat([self.train.y, self.val.y], ignore_index=True)
        return replace(self.train, X=X, y=y)


def low_data_split(
    dataset: TabularDataset, n_train: int, n_val: int, seed: int, n_test: int | None = None
) -> Split:
    """Draw a small stratified training and validation set; the rest is for testing.

    Each part has its classes in the proportions of the data, rounded by largest remainders,
    but every class has at least one training and one validation row. Only classes that do not
    fit into a validation set of fewer rows than classes are left out of it, the rarest first,
    with a warning.

    Parameters
    ----------
    dataset : TabularDataset
        The table.
    n_train, n_val : int
        Rows for training and for validation.
    seed : int
        Seed of the draw.
    n_test : int, optional
        Rows for testing at most, drawn the same way from the remaining rows; by default all of
        them.

    Returns
    -------
    Split
        Rows in random order.

    Raises
    ------
    DataError
        If a class has a single row, which cannot be both trained on and validated with; if the
        sizes are not positive integers, ask for more rows than there are, or leave the training
        set fewer rows than there are classes.
    """
    check_seed(seed)
    counts = np.bincount(dataset.y.cat.codes, minlength=dataset.n_classes)
    _check_rare(dataset, counts)
    _check_sizes(counts, n_test, n_train=n_train, n_val=n_val)
    if n_test is not None:
        n_test = min(n_test, dataset.n_rows - n_train - n_val)
    in_train, in_val, in_test = _allocate_parts(counts, n_train, n_val, n_test)
    _warn_about_unfit(dataset, counts, in_val)
    train, val, test = _draw(dataset, [in_train, in_val, in_test], seed)
    return Split(train, val, test, seed)


def holdout_split(
    dataset: TabularDataset, n_train: int, n_test: int, seed: int
) -> tuple[TabularDataset, TabularDataset]:
    """Draw stratified training and test rows, for methods that need no validation rows.

    Every class has a training row, and a test row too if it has two rows and the test set room.

    Parameters
    ----------
    dataset : TabularDataset
        The table.
    n_train : int
        Rows for training.
    n_test : int
        Rows for testing at most.
    seed : int
        Seed of the draw.

    Returns
    -------
    train, test : TabularDataset
        In random order, without a row in common; both know all classes and categories.

    Raises
    ------
    DataError
        If the sizes are not positive integers, leave no row for testing, or leave the training
        set fewer rows than there are classes.
    """
    check_seed(seed)
    counts = np.bincount(dataset.y.cat.codes, minlength=dataset.n_classes)
    _check_sizes(counts, n_test, n_train=n_train)
    n_test = min(n_test, dataset.n_rows - n_train)
    most = counts - (counts >= 2)
    if n_train > most.sum():  # then some class goes without a test row
        most = counts
    in_train = allocate(n_train, counts, np.minimum(counts, 1), most)
    train, test = _draw(dataset, [in_train, _share_test(n_test, counts - in_train)], seed)
    return train, test


def allocate(total: int, shares: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Divide a number of rows among classes in proportion, within bounds.

    The result is the integer vector nearest (in squares) to the proportional one that keeps
    the bounds; where they do not bind, it is that of the largest-remainder method.

    Parameters
    ----------
    total : int
        Rows to divide; between the sums of the bounds.
    shares : np.ndarray, shape (n_classes,)
        Non-negative weights, not all zero.
    lower, upper : np.ndarray, shape (n_classes,)
        Fewest and most rows of each class.

    Returns
    -------
    np.ndarray, shape (n_classes,)
        Rows of each class, int64; their sum is `total`.
    """
    quota = total * shares / shares.sum()
    rows = np.clip(np.floor(quota).astype(np.int64), lower, upper)
    while rows.sum() != total:
        step = 1 if rows.sum() < total else -1
        movable = rows < upper if step == 1 else rows > lower
        rows[np.argmax(np.where(movable, step * (quota - rows), -np.inf))] += step
    return rows


def _check_sizes(counts: np.ndarray, n_test: int | None, **sizes: int) -> None:
    """Raise if parts of these sizes cannot be drawn from classes of these counts."""
    test = {} if n_test is None else {"n_test": n_test}
    for name, size in (sizes | test).items():
        if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
            raise DataError(f"{name} must be a positive whole number, not {size!r}.")
    n_rows, n_classes = int(counts.sum()), int((counts > 0).sum())
    if sum(sizes.values()) >= n_rows:
        asked = " and ".join(f"{name}={size}" for name, size in sizes.items())
        verb = "leaves" if len(sizes) == 1 else "leave"
        raise DataError(f"{asked} {verb} none of {n_rows} rows for testing. Ask for fewer.")
    if sizes["n_train"] < n_classes:
        raise DataError(
            f"n_train={sizes['n_train']} is smaller than the number of classes, {n_classes}: "
            "every class needs a training row."
        )


def _allocate_parts(
    counts: np.ndarray, n_train: int, n_val: int, n_test: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows of each class in the training, validation and test part."""
    present = np.minimum(counts, 1)
    in_each = present if n_val >= present.sum() else np.zeros_like(present)
    in_train = allocate(n_train, counts, present, counts - in_each)
    left = counts - in_train
    in_val = allocate(n_val, counts, in_each, left)
    left = left - in_val
    return in_train, in_val, left if n_test is None else _share_test(n_test, left)


def _share_test(n_test: int, left: np.ndarray) -> np.ndarray:
    """Divide test rows among the rows that are left of each class, one each if there is room."""
    least = np.minimum(left, 1) * (n_test >= (left > 0).sum())
    return allocate(n_test, left, least, left)


def _draw(dataset: TabularDataset, sizes: list[np.ndarray], seed: int) -> list[TabularDataset]:
    """Draw disjoint parts with the given number of rows of each class."""
    rng = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[] for _ in sizes]
    for code, of_class in enumerate(zip(*sizes, strict=True)):
        rows = rng.permutation(np.flatnonzero(dataset.y.cat.codes == code))
        pieces = np.split(rows, np.cumsum(of_class))
        for part, piece in zip(parts, pieces, strict=False):  # the last piece is not drawn
            part.append(piece)
    return [dataset.take(rng.permutation(np.concatenate(part))) for part in parts]


def _check_rare(dataset: TabularDataset, counts: np.ndarray) -> None:
    """Raise if a class has one row only."""
    single = [name for name, n in zip(dataset.class_names, counts, strict=True) if n == 1]
    if single:
        raise DataError(
            f"{dataset.name}: one row only of {listed(single)} in the target {dataset.y.name!r}. "
            "A class needs a row to train on and one to validate with: merge it with another, or "
            "remove the row."
        )


def _warn_about_unfit(dataset: TabularDataset, counts: np.ndarray, in_val: np.ndarray) -> None:
    """Warn about classes that the validation set lacks."""
    unfit = [dataset.class_names[k] for k in np.flatnonzero((counts > 0) & (in_val == 0))]
    if unfit:
        warnings.warn(
            f"{dataset.name}: n_val={in_val.sum()} is too small for every class; not in the "
            f"validation set: {listed(unfit)}.",
            stacklevel=3,
        )
