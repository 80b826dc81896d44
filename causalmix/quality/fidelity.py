"""How close the joint distribution of synthetic rows is to that of real ones."""

from __future__ import annotations

from importlib import import_module
from itertools import combinations
from types import ModuleType

import matplotlib
import numpy as np
import pandas as pd
from scipy.stats import rankdata

from causalmix.data.backing import numpy_backed
from causalmix.data.codec import check_columns_differ
from causalmix.data.gower import check_alike, check_same_columns, code_columns
from causalmix.data.numpy_seed import numpy_seed
from causalmix.data.own_settings import own_settings
from causalmix.errors import DataError, check_seed, check_whole, quoted


@own_settings()
def association_matrix(frame: pd.DataFrame) -> pd.DataFrame:
    """Pairwise association of numeric and categorical columns.

    Spearman's correlation for two numeric columns, squared Cramér's V for two categorical ones,
    the correlation ratio η² for one of each: the mixed matrix of arXiv 2603.10254. Every pair
    uses the rows where both columns are present.

    Parameters
    ----------
    frame : DataFrame, shape (n_rows, n_columns)
        Numeric columns and columns of pandas' category dtype.

    Returns
    -------
    DataFrame, shape (n_columns, n_columns)
        Symmetric with a unit diagonal; 0 where a pair has no spread.

    Raises
    ------
    DataError
        If a column is of another type, as text, or there twice.
    """
    check_columns_differ(frame)
    frame = numpy_backed(frame)
    columns = [_values(frame[name]) for name in frame]
    matrix = np.eye(len(columns))
    for (i, (a, a_is_code)), (j, (b, b_is_code)) in combinations(enumerate(columns), 2):
        present = ~(np.isnan(a) | np.isnan(b))
        a, b = a[present], b[present]
        if a_is_code != b_is_code:
            value = _correlation_ratio(*((a, b) if a_is_code else (b, a)))
        else:
            value = _cramers_v_squared(a, b) if a_is_code else _spearman(a, b)
        matrix[i, j] = matrix[j, i] = value
    return pd.DataFrame(matrix, index=frame.columns, columns=frame.columns)


def _values(column: pd.Series) -> tuple[np.ndarray, bool]:
    """Numbers of a column, NaN where missing, and whether they are codes of categories."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy(float)
        return np.where(codes < 0, np.nan, codes), True
    if not pd.api.types.is_numeric_dtype(column.dtype):
        raise DataError(
            f"Column {quoted(column.name)} is {column.dtype}; numbers or categories are needed. "
            "Make it a category: astype('category')."
        )
    return column.to_numpy(float, na_value=np.nan), False


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    ranks = np.array([rankdata(a), rankdata(b)])
    if not len(a) or (np.ptp(ranks, axis=1) == 0).any():
        return 0.0
    return float(np.corrcoef(ranks)[0, 1])


def _cramers_v_squared(a: np.ndarray, b: np.ndarray) -> float:
    _, a = np.unique(a, return_inverse=True)
    _, b = np.unique(b, return_inverse=True)
    if not len(a) or not a.any() or not b.any():  # one category
        return 0.0
    shape = a.max() + 1, b.max() + 1
    share = np.bincount(a * shape[1] + b, minlength=shape[0] * shape[1]).reshape(shape) / len(a)
    expected = np.outer(share.sum(axis=1), share.sum(axis=0))
    return float(((share - expected) ** 2 / expected).sum() / (min(shape) - 1))


def _correlation_ratio(groups: np.ndarray, values: np.ndarray) -> float:
    if not len(values) or np.ptp(values) == 0:
        return 0.0
    _, groups = np.unique(groups, return_inverse=True)
    values = values - values.mean()
    counts = np.bincount(groups)
    between = (np.bincount(groups, values) ** 2 / counts).sum()
    return float(between / (values**2).sum())


def correlation_matrix_difference(real: pd.DataFrame, synthetic: pd.DataFrame) -> float:
    """Frobenius norm of the difference of two association matrices (CMD).

    Parameters
    ----------
    real, synthetic : DataFrame
        With the same columns.

    Returns
    -------
    float
        0 where all pairwise associations agree.

    Raises
    ------
    DataError
        If the tables have different columns, or one of another type, as text.
    """
    check_same_columns(real, synthetic)
    difference = association_matrix(real) - association_matrix(synthetic)
    return float(np.linalg.norm(difference.to_numpy()))


@own_settings()
def k_marginal_tvd(real: pd.DataFrame, synthetic: pd.DataFrame, *, n_bins: int = 20) -> float:
    """Mean total variation distance over all pairs of columns (kMTVD with k = 2).

    Numeric columns with at least `n_bins` distinct real values are cut at quantiles of the real
    ones; other values are levels, and so are missing cells.

    Parameters
    ----------
    real, synthetic : DataFrame
        With the same columns, two or more.
    n_bins : int, default=20
        Bins of a numeric column.

    Returns
    -------
    float
        Between 0 and 1, less being closer. Two samples of one distribution are above 0, the more
        the fewer rows they have.

    Raises
    ------
    DataError
        If the tables have different columns, fewer than two, one that holds numbers in one table
        only, or no rows.

    References
    ----------
    Tugnoli et al. (2026), arXiv 2603.10254.
    """
    check_whole(n_bins, 2, "n_bins")
    check_alike(real, synthetic)
    if not (len(real) and len(synthetic)):
        raise DataError(f"kMTVD needs rows of both tables, not {len(real)} and {len(synthetic)}.")
    if (n := real.shape[1]) < 2:
        raise DataError(f"kMTVD compares pairs of columns; these tables have {n}.")
    real, synthetic = numpy_backed(real), numpy_backed(synthetic)
    codes = [_level_codes(real[name], synthetic[name], n_bins) for name in real]
    distances = []
    for (real_a, made_a, n_a), (real_b, made_b, n_b) in combinations(codes, 2):
        cells = n_a * n_b
        p = np.bincount(real_a * n_b + real_b, minlength=cells) / len(real)
        q = np.bincount(made_a * n_b + made_b, minlength=cells) / len(synthetic)
        distances.append(0.5 * np.abs(p - q).sum())
    return float(np.mean(distances))


def _level_codes(
    real: pd.Series, made: pd.Series, n_bins: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Codes of the real and of the synthetic values, and how many codes there are."""
    numeric = pd.api.types.is_numeric_dtype(real.dtype)
    if numeric and real.nunique() >= n_bins:
        inner = np.unique(np.nanquantile(real, np.linspace(0, 1, n_bins + 1)))[1:-1]
        missing = len(inner) + 1
        codes = [np.where(each.isna(), missing, np.digitize(each, inner)) for each in (real, made)]
        return *codes, missing + 1
    both = pd.concat([real.astype(object), made.astype(object)])
    codes, levels = pd.factorize(both, use_na_sentinel=False)
    return codes[: len(real)], codes[len(real) :], len(levels)


@own_settings()
def nearest_neighbour_adversarial_accuracy(
    real: pd.DataFrame, synthetic: pd.DataFrame, *, seed: int = 0, n_resample: int = 30
) -> float:
    """How often a row's nearest neighbour is of its own kind rather than of the other (NNAA).

    By SynthEval, with Gower distances of numbers scaled to [0, 1] over both tables. A missing
    category is a level; a missing number is the column's median, and says that it is missing in a
    column of its own.

    Parameters
    ----------
    real, synthetic : DataFrame
        With the same columns.
    seed : int, default=0
        Of the subsamples drawn where one table has twice as many rows as the other or more.
    n_resample : int, default=30
        Number of these subsamples.

    Returns
    -------
    float
        0.5 where the two cannot be told apart, 1 where they are apart, 0 where the synthetic rows
        copy the real ones.

    Raises
    ------
    DataError
        If the tables have different columns, one that holds numbers in one table only, or fewer
        than two rows.

    References
    ----------
    Yale et al. (2020), "Generation and evaluation of privacy preserving synthetic health data",
    Neurocomputing 416. Lautrup et al. (2025), "SynthEval", Data Mining and Knowledge Discovery 39.
    """
    check_seed(seed)
    check_whole(n_resample, 1, "n_resample")
    check_alike(real, synthetic)
    if min(len(real), len(synthetic)) < 2:  # a row alone has no neighbour of its own kind
        raise DataError(f"NNAA needs two rows of each table, not {len(real)} and {len(synthetic)}.")
    real, synthetic = numpy_backed(real), numpy_backed(synthetic)
    evaluate = _syntheval("metrics.privacy.metric_nn_adversarial_accuracy").evaluate_dataset_nnaa
    both = pd.concat([real, synthetic], ignore_index=True)
    (a, b), categorical = code_columns([real, synthetic], scale=both)
    b = b.iloc[::-1]  # SynthEval takes a copy in the same order for the table itself
    numeric = [name for name in a if name not in categorical]
    with numpy_seed(seed):  # SynthEval draws from the global generator
        accuracy, _ = evaluate(a, b, numeric, categorical, "gower", n_resample)
    return float(accuracy)


def _syntheval(module: str) -> ModuleType:
    """Import a part of SynthEval, which takes seconds and would change how figures are shown."""
    settings = matplotlib.rcParams.copy()
    try:
        return import_module(f"syntheval.{module}")
    finally:
        if matplotlib.get_backend() != settings["backend"]:
            matplotlib.use(settings["backend"])
        matplotlib.rcParams.update(settings)
