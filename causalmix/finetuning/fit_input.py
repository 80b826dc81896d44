"""What an estimator's `fit` is given, checked and put into the package's own types."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from causalmix.data.backing import numpy_backed
from causalmix.data.columns import listed
from causalmix.data.dataset import TabularDataset
from causalmix.data.files import check_columns
from causalmix.data.splitting import holdout_split
from causalmix.errors import CausalMixError, DataError, check_name, check_seed, check_type
from causalmix.finetuning.config import FinetuneConfig
from causalmix.generation.registry import GENERATORS, Generator, make_generator


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """Return an int itself, and a drawn one for anything else that scikit-learn takes.

    Parameters
    ----------
    random_state : int, RandomState instance or None

    Returns
    -------
    int

    Raises
    ------
    CausalMixError
        If it is neither, or negative.
    """
    if isinstance(random_state, Integral) and random_state >= 0:
        return int(check_seed(random_state, "random_state"))
    try:
        return int(check_random_state(random_state).randint(2**31 - 1))
    except ValueError:
        raise CausalMixError(
            "random_state must be a whole number, not negative, a numpy.random.RandomState or "
            f"None; got {random_state!r}."
        ) from None


def generator_options(estimator: BaseEstimator, config: FinetuneConfig) -> dict[str, Any]:
    """Put together what an estimator says of its generator.

    Parameters
    ----------
    estimator : CausalMixClassifier
    config : FinetuneConfig
        Of the run.

    Returns
    -------
    dict
        Arguments of the generator's constructor.

    Raises
    ------
    CausalMixError
        If there is a graph, or knowledge of one, for a generator that takes none or for a run
        without synthetic rows.
    UnknownNameError
        If the generator is unknown.
    """
    structure = {name: getattr(estimator, name) for name in ("graph", "knowledge")}
    structure = {name: value for name, value in structure.items() if value is not None}
    for name in structure:
        if not takes(estimator.generator, name):
            raise CausalMixError(
                f"{name} given, but generator={estimator.generator!r} takes none: leave that out, "
                "or take generator='causal'."
            )
        if config.steps and not config.uses_synthetic:
            raise CausalMixError(
                f"{name} given, but config has no synthetic rows (synthetic_tasks, synthetic_share "
                "and share_in_query are 0), so that no graph is used: raise one of them, or leave "
                f"{name} out."
            )
    return dict(estimator.generator_options or {}) | structure


def takes(name: str | None, option: str) -> bool:
    """Say whether a generator has an option that its entry in the registry leaves open.

    Parameters
    ----------
    name : str or None
        Key of ``causalmix.generation.registry.GENERATORS``, or none.
    option : str
        Argument of a constructor, as ``"graph"``; the controls (``"causal_empty"``) fix theirs.

    Returns
    -------
    bool

    Raises
    ------
    UnknownNameError
        If the generator is unknown.
    """
    if name is None:
        return False
    known = GENERATORS[check_name(name, GENERATORS, "generator")]
    fixed = getattr(known, "keywords", {})  # of a partial
    return option in inspect.signature(known).parameters and option not in fixed


def seeded_generator(
    name: str | None, options: Mapping[str, Any] | None, seed: int
) -> Generator | None:
    """Make the generator that an estimator names.

    Parameters
    ----------
    name : str or None
        Key of ``causalmix.generation.registry.GENERATORS``; None for none.
    options : mapping or None
        Arguments of its constructor.
    seed : int
        Its ``seed``, where it has one and the options do not.

    Returns
    -------
    Generator or None

    Raises
    ------
    UnknownNameError
        If the generator or an option is unknown.
    CausalMixError
        If there are options for no generator.
    """
    options = dict(options or {})
    for key in options:
        check_type("a name in generator_options", key, "str")
    if name is None:
        if options:
            raise CausalMixError(
                "generator_options are given, but generator=None has none: leave them out, or "
                f"name a generator: {', '.join(GENERATORS)}."
            )
        return None
    known = GENERATORS.get(name)
    if known and "seed" in inspect.signature(known).parameters:
        options = {"seed": seed} | options
    return make_generator(name, **options)


@contextmanager
def unchanged_on_failure(estimator: BaseEstimator) -> Iterator[None]:
    """Take back what a `fit` that fails has set, so that what an earlier one learned stays whole.

    Parameters
    ----------
    estimator : BaseEstimator
        Its attributes are replaced by `fit`, not changed in place.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def read_frame(
    estimator: BaseEstimator, X: Any, *, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return X as a table, and check it as scikit-learn does.

    Parameters
    ----------
    estimator : BaseEstimator
        Learns number and names of the columns, or is asked for them.
    X : DataFrame or array-like of shape (n_rows, n_features)
        Rows.
    columns : sequence of str, optional
        Columns of `fit`, in their order; None in `fit` itself, which learns them.

    Returns
    -------
    DataFrame
        With the columns of `fit`.

    Raises
    ------
    DataError
        If there is no row or column, or two columns share a name.
    ValueError
        If a column is missing, or the number of columns is another one.

    Notes
    -----
    scikit-learn remembers column names only if all are strings. Others, such as numbers, are found
    by their text here, and so are strings that `fit` saw as numbers, and the other way round.
    """
    reset = columns is None
    if isinstance(X, pd.DataFrame):
        X = numpy_backed(X)
        names = check_columns(list(X.columns), "X")
        if not reset:
            X = _in_order_of_fit(estimator, X, names, list(columns))
        named = all(isinstance(name, str) for name in X.columns)
        # scikit-learn takes no names of several types, and remembers none that are no text.
        seen = X if named else X.set_axis(range(X.shape[1]), axis=1)
        validate_data(estimator, seen, skip_check_array=True, reset=reset)
        if X.empty:
            raise DataError(
                f"X has {X.shape[0]} rows and {X.shape[1]} columns (shape={X.shape}); a "
                "minimum of 1 of each is required."
            )
    else:
        X = pd.DataFrame(
            validate_data(estimator, X, dtype=None, ensure_all_finite=False, reset=reset)
        )
        names = _names_for_array(X.shape[1])
    return X.set_axis(names if reset else list(columns), axis=1).reset_index(drop=True)


def _in_order_of_fit(
    estimator: BaseEstimator, X: pd.DataFrame, names: list[str], columns: list[str]
) -> pd.DataFrame:
    """Select the columns of `fit` by name, if it was given names, and leave the rest."""
    missing = [name for name in columns if name not in names]
    if hasattr(estimator, "feature_names_in_"):  # scikit-learn says what is missing
        return X if missing else X.set_axis(names, axis=1)[columns]
    if columns == _names_for_array(len(columns)):
        return X
    if missing:
        raise DataError(f"X lacks columns that fit was given: {listed(missing)}.")
    # Numbers again, because strings would make scikit-learn warn that there were none in `fit`.
    return X.set_axis(names, axis=1)[columns].set_axis(range(len(columns)), axis=1)


def _names_for_array(n_columns: int) -> list[str]:
    return [f"x{j}" for j in range(n_columns)]


def read_labels(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Read class labels.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        Labels of one type.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        Sorted.
    codes : ndarray of int of shape (n_rows,)
        Position of every row's label in `classes`.

    Raises
    ------
    DataError
        If a label is missing, there is one class only, or types are mixed.
    ValueError
        If `y` is no column of classes, as scikit-learn says it.
    """
    if y is None:
        raise DataError("CausalMixClassifier requires y to be passed, but the target y is None.")
    labels = as_labels(y, warn=True)
    missing = np.flatnonzero(pd.isna(labels))
    if len(missing):
        raise DataError(
            f"Input y contains NaN in {len(missing)} rows, the first at position {missing[0]}; "
            "remove those rows from X and y."
        )
    try:
        check_classification_targets(labels)
        classes, codes = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise DataError(f"y mixes labels of several types ({error}); use one type.") from error
    if len(classes) < 2:
        only = f"only one class, {classes[0]!s}" if len(classes) else "no rows"
        raise DataError(f"y has {only}; classification needs two classes or more.")
    return classes, codes


def as_labels(y: Any, *, warn: bool = False) -> np.ndarray:
    """Return labels in an array, those of dtype object in the type that they have.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
    warn : bool, default=False
        Whether to warn, as scikit-learn does, of a column in two dimensions.

    Returns
    -------
    ndarray of shape (n_rows,)
    """
    if isinstance(y, pd.Series | pd.DataFrame):
        y = numpy_backed(y)
        if any(map(pd.api.types.is_extension_array_dtype, pd.DataFrame(y).dtypes)):
            y = y.astype(object)  # scikit-learn makes floats of nullable numbers and truth values
    elif isinstance(y, list | tuple) and any(isinstance(label, str) for label in y):
        y = np.array(y, dtype=object)  # NumPy would make text of numbers among it
    labels = column_or_1d(y, warn=warn)
    if labels.dtype == object:
        labels = pd.Series(labels).infer_objects().to_numpy()
    return labels


def as_dataset(
    features: pd.DataFrame, classes: np.ndarray, codes: np.ndarray, name: object = None
) -> TabularDataset:
    """Put clean features and coded labels together.

    Parameters
    ----------
    features : DataFrame
        As `TableSchema` gives them.
    classes, codes : ndarray
        As `read_labels` gives them.
    name : object, optional
        Of the target, if that is text; by default it is called ``target``.

    Returns
    -------
    TabularDataset
        Its classes are named by the labels' text, in the order of `classes`.
    """
    target = name if isinstance(name, str) and name else "target"
    while target in features:
        target += "_"
    names = pd.Index([str(label) for label in classes], dtype=object)
    y = pd.Series(pd.Categorical.from_codes(codes, categories=names), name=target)
    return TabularDataset("table", features, y, "given to fit")


def split_rows(
    dataset: TabularDataset, n_val: int | float, seed: int, *, steps: int
) -> tuple[TabularDataset, TabularDataset, list[str]]:
    """Divide rows into training and validation rows.

    Every class has a training row. A class with one row only has therefore no validation row; each
    other class has one.

    Parameters
    ----------
    dataset : TabularDataset
        All rows.
    n_val : int or float
        As in `count_validation_rows`.
    seed : int
        Seed of the draw.
    steps : int
        Of fine-tuning; with any, the validation rows choose between weights.

    Returns
    -------
    train, val : TabularDataset
    notes : list of str
        Which classes have no validation row and what that means; empty if each has one.

    Raises
    ------
    CausalMixError
        If `n_val` is no number of rows and no share.
    DataError
        If the rows are too few for the classes, or if weights were to be chosen by the validation
        rows of a single class.
    """
    n_rows = count_validation_rows(n_val, dataset)
    single, others = _by_rows(dataset)
    if steps and len(others) < 2:
        raise DataError(
            f"Classes with one row only: {listed(single)}. That row is trained on, which leaves "
            f"validation rows of {listed(others)} alone, and weights chosen by those would favour "
            "that class. Give two rows or more of two classes, or take steps=0 for zero-shot "
            "prediction."
        )
    train, val = holdout_split(dataset, dataset.n_rows - n_rows, n_rows, seed)
    if not single:
        return train, val, []
    note = (
        f"Classes with one row only: {listed(single)}. That row is trained on and none is left to "
        "validate with, so the report and the choice of the weights say nothing about them. Give "
        "more rows of them, or merge them with others."
    )
    if len(others) < 2:
        note += " With validation rows of a single class there is no AUC: it is NaN."
    return train, val, [note]


def count_validation_rows(n_val: int | float, dataset: TabularDataset) -> int:
    """Return the number of validation rows, after checking that there can be so many.

    Parameters
    ----------
    n_val : int or float
        Rows, or a share in (0, 1); where that gives less, a row for each class that has two.
    dataset : TabularDataset
        All rows to be divided.

    Returns
    -------
    int

    Raises
    ------
    CausalMixError
        If `n_val` is neither.
    DataError
        If the classes that have two rows are more than the validation rows, or all classes no
        fewer than the training rows.
    """
    n_classes, n_rows = dataset.n_classes, dataset.n_rows
    n_validated = len(_by_rows(dataset)[1])
    is_share = isinstance(n_val, Real) and 0 < n_val < 1
    is_count = isinstance(n_val, Integral) and not isinstance(n_val, bool) and n_val >= 1
    if not is_share and not is_count:
        raise CausalMixError(
            f"n_val must be a number of rows, at least 1, or a share in (0, 1); got {n_val!r}."
        )
    rows = max(round(n_val * n_rows), n_validated) if is_share else int(n_val)
    if rows < n_validated:
        raise DataError(
            f"n_val={n_val} is smaller than the number of classes with two rows or more, "
            f"{n_validated}: each of these needs a validation row."
        )
    if n_rows - rows <= n_classes:
        raise DataError(
            f"Found {n_rows} rows (n_samples={n_rows}) of {n_classes} classes; {rows} of them "
            f"validate (n_val={n_val}), and more than {n_classes} must be left to train on. Give "
            "more rows, or a smaller n_val."
        )
    return rows


def _by_rows(dataset: TabularDataset) -> tuple[list[str], list[str]]:
    """Names of the classes with one row, which cannot be validated, and of those with more."""
    counts = dataset.y.value_counts(sort=False)
    single, others = counts.index[counts == 1], counts.index[counts > 1]
    return list(single), list(others)
