"""The causal mechanisms of DoWhy's gcm, on scikit-learn learners and mixed columns."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import pandas as pd
from dowhy import gcm
from dowhy.gcm.ml import ClassificationModel, PredictionModel
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import KFold, cross_val_predict

# Small trees and few of them: the tables have a few hundred rows, and there is one learner for
# each node of each graph.
_boosting = {"max_iter": 60, "max_leaf_nodes": 8, "min_samples_leaf": 5, "early_stopping": False}

MECHANISMS: dict[str, tuple[Callable[..., BaseEstimator], Callable[..., BaseEstimator]]] = {
    # name: (regressor of a numeric node, classifier of a categorical node); the predictors that
    # both are given are standardised. Ridge chooses its penalty by leave-one-out error.
    "linear": (
        partial(RidgeCV, alphas=np.logspace(-2, 4, 7)),
        partial(LogisticRegression, max_iter=300),
    ),
    "boosting": (
        partial(HistGradientBoostingRegressor, **_boosting, random_state=0),
        partial(HistGradientBoostingClassifier, **_boosting, random_state=0),
    ),
}

_NOISE_FOLDS = 5


@dataclass(frozen=True)
class Columns:
    """A coded table as the model's nodes see it, and how each column looks as a predictor.

    Attributes
    ----------
    values : dict of str to numpy.ndarray of shape (n_rows,)
        Numbers, with NaN for missing cells, or the codes of categories as strings (DoWhy
        takes a column for categorical by its strings).
    encoders : dict of str to callable
        Turns a column's values into predictors of shape (n_rows, n_dimensions).
    """

    values: dict[str, np.ndarray]
    encoders: dict[str, Callable[[np.ndarray], np.ndarray]]

    @classmethod
    def learn(cls, coded: pd.DataFrame, categorical: Sequence[str]) -> Self:
        """Learn from a table as `TableCodec.encode` gives it."""
        values, encoders = {}, {}
        for name in coded:
            column = coded[name].to_numpy()
            if name in categorical:
                values[name] = column.astype(int).astype(str).astype(object)
                encoders[name] = partial(_one_hot, levels=np.unique(column))
            else:
                # A column without any number is a constant; its samples are masked later.
                values[name] = np.zeros(len(column)) if np.isnan(column).all() else column
                encoders[name] = partial(
                    _standardise,
                    median=np.nanmedian(values[name]),
                    scale=np.nanstd(values[name]) or 1.0,
                )
        return cls(values, encoders)


def make_mechanism(node: str, parents: Sequence[str], columns: Columns, mechanism: str) -> Any:
    """Return the fitted gcm mechanism of `node` given `parents` (none: a root)."""
    regressor, classifier = MECHANISMS[mechanism]
    child = columns.values[node]
    observed = ~pd.isna(child)
    child = child[observed]
    if not parents:
        root = gcm.EmpiricalDistribution()
        root.fit(child)
        return root
    predictors = np.empty((len(child), len(parents)), dtype=object)
    for k, parent in enumerate(parents):
        predictors[:, k] = columns.values[parent][observed]
    encoders = [columns.encoders[parent] for parent in parents]
    constant = len(set(child)) == 1
    if isinstance(child[0], str):
        learner = DummyClassifier() if constant else classifier()
        fitted = gcm.ClassifierFCM(_Classifier(learner, encoders))
    else:
        learner = DummyRegressor() if constant else regressor()
        fitted = _AdditiveNoise(_Regressor(learner, encoders))
    with warnings.catch_warnings(), config_context(assume_finite=True):
        # scikit-learn takes a category with many levels for a regression target.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        fitted.fit(predictors, child)
    return fitted


class _Regressor(PredictionModel):
    """A scikit-learn regressor behind the encoders of its parents."""

    def __init__(
        self, learner: BaseEstimator, encoders: Sequence[Callable[[np.ndarray], np.ndarray]]
    ) -> None:
        self.learner = learner
        self.encoders = encoders

    def encode(self, X: np.ndarray) -> np.ndarray:
        """Return parents (n, n_parents) as numeric predictors (n, n_dimensions)."""
        return np.hstack(
            [encode(column) for encode, column in zip(self.encoders, X.T, strict=True)]
        )

    def fit(self, X: np.ndarray, Y: np.ndarray) -> None:
        self.learner.fit(self.encode(X), Y.ravel())

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.learner.predict(self.encode(X)).reshape(-1, 1)

    def clone(self) -> Self:
        return type(self)(clone(self.learner), self.encoders)


class _Classifier(_Regressor, ClassificationModel):
    """A scikit-learn classifier behind the encoders of its parents."""

    def fit(self, X: np.ndarray, Y: np.ndarray) -> None:
        self.learner.fit(self.encode(X), Y.ravel().astype(str))

    def predict_probabilities(self, X: np.ndarray) -> np.ndarray:
        probabilities = self.learner.predict_proba(self.encode(X))
        # gcm compares a cumulative sum with a uniform draw, and takes the first class when
        # rounding leaves the sum below it.
        cumulative = probabilities.cumsum(axis=1)
        return np.diff(cumulative / cumulative[:, -1:], axis=1, prepend=0.0)

    @property
    def classes(self) -> list[str]:
        return self.learner.classes_


class _AdditiveNoise(gcm.AdditiveNoiseModel):
    """gcm's additive noise model with noise from out-of-fold residuals.

    The residuals of the rows that a learner was fitted to are too small, most of all for trees.
    """

    def fit(self, X: np.ndarray, Y: np.ndarray) -> None:
        model = self.prediction_model
        model.fit(X, Y)
        residuals = Y - model.predict(X).ravel()
        if len(Y) > _NOISE_FOLDS:
            folds = KFold(_NOISE_FOLDS, shuffle=True, random_state=0)
            predicted = cross_val_predict(model.learner, model.encode(X), Y, cv=folds)
            residuals = Y - predicted
        self.noise_model.fit(residuals - residuals.mean())


def _one_hot(column: np.ndarray, levels: np.ndarray) -> np.ndarray:
    return (column.astype(float)[:, None] == levels).astype(float)


def _standardise(column: np.ndarray, median: float, scale: float) -> np.ndarray:
    column = column.astype(float)[:, None]
    return (np.where(np.isnan(column), median, column) - median) / scale
