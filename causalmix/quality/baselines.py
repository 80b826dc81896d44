"""The usual classifiers for small tables, each with its library's defaults.

Every one is a pipeline that takes the table as `causalmix.data.dataset` gives it: numeric columns
and columns of pandas' category dtype, both with missing values. Trees that know categories and gaps
get them as they are; the other methods get medians in the gaps and one-hot columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from causalmix.data.dataset import TabularDataset
from causalmix.data.own_settings import own_settings
from causalmix.errors import CausalMixError, check_name, check_seed, check_whole

_MAX_LEVELS = 255  # of a categorical column in scikit-learn's HistGradientBoosting

_NUMERIC = make_column_selector(dtype_include="number")
_CATEGORICAL = make_column_selector(dtype_include="category")


@dataclass(frozen=True)
class Baseline:
    """A classifier to compare with.

    Attributes
    ----------
    label : str
        As tables and figures name it.
    build : callable
        Takes a seed and a number of threads, returns the unfitted classifier.
    packages : tuple of str
        Names under which its library may be installed.
    extra : str
        Extra of this package that installs it, if it is not always there.
    """

    label: str
    build: Callable[[int, int], ClassifierMixin]
    packages: tuple[str, ...] = ("scikit-learn",)
    extra: str = ""

    @property
    def version(self) -> str:
        """Library and version that the classifier comes from.

        Raises
        ------
        CausalMixError
            If the library is not installed.
        """
        for package in self.packages:
            try:
                return f"{self.packages[0]} {version(package)}"
            except PackageNotFoundError:
                continue
        raise CausalMixError(
            f"The baseline {self.label!r} needs the package {' or '.join(self.packages)}, which is "
            f"not installed: pip install 'causalmix[{self.extra}]'. Or leave it out with --methods."
        )


def linear_classifier() -> Pipeline:
    """Build logistic regression on scaled and one-hot columns.

    Returns
    -------
    Pipeline
        Unfitted; takes mixed tables with missing values.
    """
    return make_pipeline(_columns(StandardScaler()), LogisticRegression(max_iter=2000))


def random_forest(seed: int = 0, threads: int = 1, n_estimators: int = 100) -> Pipeline:
    """Build a random forest on imputed and one-hot columns.

    Parameters
    ----------
    seed : int, default=0
        Of bootstrap and columns.
    threads : int, default=1
        Threads that grow trees.
    n_estimators : int, default=100
        Trees.

    Returns
    -------
    Pipeline
        Unfitted.
    """
    forest = RandomForestClassifier(n_estimators, random_state=seed, n_jobs=threads)
    return make_pipeline(_columns(sparse_output=False), forest)


def _columns(*scaling: TransformerMixin, **one_hot: bool) -> ColumnTransformer:
    """Fill gaps with medians, then scale; make one-hot columns of categories."""
    filling = SimpleImputer(strategy="median", keep_empty_features=True)
    return make_column_transformer(
        (make_pipeline(filling, *scaling), _NUMERIC),
        (OneHotEncoder(handle_unknown="ignore", **one_hot), _CATEGORICAL),
    )


def _hist_gradient_boosting(seed: int, threads: int) -> Pipeline:
    # Its threads are those of OpenMP, which the caller limits.
    boosting = HistGradientBoostingClassifier(random_state=seed)
    return make_pipeline(FunctionTransformer(_number_long_columns), boosting)


def _number_long_columns(X: pd.DataFrame) -> pd.DataFrame:
    """Return the table with codes in place of columns of more levels than a histogram has bins."""
    long = [c for c in _CATEGORICAL(X) if len(X[c].cat.categories) > _MAX_LEVELS]
    coded = X.copy()
    for c in long:
        coded[c] = X[c].cat.codes.where(X[c].notna(), np.nan)
    return coded


def _xgboost(seed: int, threads: int) -> ClassifierMixin:
    from xgboost import XGBClassifier  # of an extra

    return XGBClassifier(random_state=seed, n_jobs=threads, enable_categorical=True)


def _lightgbm(seed: int, threads: int) -> ClassifierMixin:
    from lightgbm import LGBMClassifier  # of an extra

    return LGBMClassifier(random_state=seed, n_jobs=threads, verbose=-1)


class _CatBoost(ClassifierMixin, BaseEstimator):
    """CatBoost with its defaults, told which columns are categories; a gap in one is a level."""

    def __init__(self, seed: int, threads: int) -> None:
        self.seed = seed
        self.threads = threads

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> _CatBoost:
        from catboost import CatBoostClassifier  # of an extra

        self.model_ = CatBoostClassifier(
            random_seed=self.seed,
            thread_count=self.threads,
            cat_features=_CATEGORICAL(X),
            allow_writing_files=False,
            verbose=False,
        ).fit(_gaps_as_levels(X), y)
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        return self.model_.predict_proba(_gaps_as_levels(X), thread_count=self.threads)


def _gaps_as_levels(X: pd.DataFrame) -> pd.DataFrame:
    filled = X.copy()
    for c in _CATEGORICAL(X):
        filled[c] = X[c].astype(object).fillna("missing")
    return filled


def _k_neighbours(seed: int, threads: int) -> Pipeline:
    return make_pipeline(linear_classifier()[0], KNeighborsClassifier(n_jobs=threads))


BASELINES: dict[str, Baseline] = {
    "logistic_regression": Baseline(
        "Logistic regression", lambda seed, threads: linear_classifier()
    ),
    "random_forest": Baseline("Random forest", random_forest),
    "hist_gradient_boosting": Baseline("HistGradientBoosting", _hist_gradient_boosting),
    "xgboost": Baseline("XGBoost", _xgboost, ("xgboost", "xgboost-cpu"), "dev"),
    "catboost": Baseline("CatBoost", _CatBoost, ("catboost",), "boosting"),
    "lightgbm": Baseline("LightGBM", _lightgbm, ("lightgbm",), "boosting"),
    "knn": Baseline("k-NN", _k_neighbours),
}


@own_settings()
def fit_predict_proba(
    name: str, train: TabularDataset, X: pd.DataFrame, *, seed: int = 0, threads: int = 1
) -> np.ndarray:
    """Fit a baseline on all training rows and predict.

    Parameters
    ----------
    name : str
        Key of `BASELINES`.
    train : TabularDataset
        Labelled rows; every class occurs. Columns without a value in them are left out.
    X : DataFrame, shape (n_rows, n_features)
        Rows to predict, with the training rows' columns.
    seed : int, default=0
        Of what is random in the method.
    threads : int, default=1
        Threads at most.

    Returns
    -------
    ndarray of float, shape (n_rows, n_classes)
        Class probabilities, in the order of ``train.class_names``.

    Raises
    ------
    UnknownNameError
        If there is no such baseline.
    CausalMixError
        If its library is not installed.
    """
    baseline = BASELINES[check_name(name, BASELINES, "baseline")]
    check_seed(seed)
    check_whole(threads, 1, "threads")
    _ = baseline.version  # says what to install
    known = train.X.columns[train.X.notna().any()]
    neutral = [f"column{j}" for j in range(len(known))]  # XGBoost and LightGBM refuse some names
    y = train.y.cat.codes.to_numpy(dtype=np.int64)
    with threadpool_limits(threads):
        model = baseline.build(seed, threads).fit(train.X[known].set_axis(neutral, axis=1), y)
        return model.predict_proba(X[known].set_axis(neutral, axis=1))
