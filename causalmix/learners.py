"""Learners of one node given its parents, with honest residuals and calibrated probabilities.

Shapes: n rows, p predictors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.linalg import cho_solve
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)

FOLDS = 5
_ARD_PREDICTORS = 12
_GP_ROWS = 500
_BOOSTING_ROWS = 200
_ROWS_PER_PREDICTOR = 20
_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)  # inverse strength, scikit-learn's C

# Small trees and few of them: the tables have a few hundred rows, and there is one learner for
# each node of each graph.
_boosting = {"max_iter": 60, "max_leaf_nodes": 8, "min_samples_leaf": 5, "early_stopping": False}
_forest = {"n_estimators": 100, "min_samples_leaf": 3, "random_state": 0}


# ---- numeric nodes -------------------------------------------------------------------------------


def ridge(n_rows: int, n_predictors: int) -> BaseEstimator:
    """Ridge regression; the penalty is chosen by leave-one-out error."""
    return RidgeCV(alphas=np.logspace(-2, 4, 7))


def gaussian_process(n_rows: int, n_predictors: int) -> BaseEstimator:
    """Gaussian process with a squared exponential kernel and noise, fitted by marginal likelihood.

    One length scale a predictor, or one for all beyond 12; beyond 500 rows boosting instead, since
    the cost grows with the cube of the rows.
    """
    if n_rows > _GP_ROWS:
        return boosting_regressor(n_rows, n_predictors)
    scales = np.ones(n_predictors) if n_predictors <= _ARD_PREDICTORS else np.sqrt(n_predictors)
    kernel = ConstantKernel(1.0) * RBF(scales, (0.05, 1e3)) + WhiteKernel(0.3, (1e-4, 3.0))
    return GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)


def boosting_regressor(n_rows: int, n_predictors: int) -> BaseEstimator:
    """Histogram gradient boosting with 60 small trees."""
    return HistGradientBoostingRegressor(**_boosting, random_state=0)


def forest_regressor(n_rows: int, n_predictors: int) -> BaseEstimator:
    """Random forest of 100 trees."""
    return RandomForestRegressor(**_forest)


REGRESSORS: dict[str, Callable[[int, int], BaseEstimator]] = {
    "linear": ridge,
    "gp": gaussian_process,
    "boosting": boosting_regressor,
    "forest": forest_regressor,
}


def predict_mean_and_scale(learner: BaseEstimator, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n,) and relative spread (n,) of a node: of a Gaussian process its predictive deviation.

    The deviation grows away from the rows that the process has seen; other learners have none, and
    their spread is 1 everywhere.
    """
    if isinstance(learner, GaussianProcessRegressor):
        return learner.predict(X, return_std=True)
    return learner.predict(X), np.ones(len(X))


def held_out_mean_and_scale(
    learner: BaseEstimator, X: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Predict each row of a fitted learner's own data as if it had not been fitted to it.

    Residuals of rows that a learner was fitted to are too small, most of all for trees. A Gaussian
    process leaves each row out in closed form (Rasmussen, Williams 2006, eqs. 5.10-5.12), others
    leave out each of 5 folds.

    Parameters
    ----------
    learner : estimator
        Fitted to `X` and `y`.
    X : numpy.ndarray of shape (n, p)
    y : numpy.ndarray of shape (n,)

    Returns
    -------
    tuple of numpy.ndarray of shape (n,)
        Mean and relative spread, as `predict_mean_and_scale` gives them for new rows.
    """
    if isinstance(learner, GaussianProcessRegressor):
        inverse = np.diag(cho_solve((learner.L_, True), np.eye(len(y))))
        unit = float(learner._y_train_std)
        return y - unit * learner.alpha_.ravel() / inverse, unit / np.sqrt(inverse)
    ones = np.ones(len(y))
    if len(y) <= FOLDS:
        return learner.predict(X), ones
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    return cross_val_predict(learner, X, y, cv=folds), ones


@dataclass(frozen=True)
class FittedRegressor:
    """A fitted learner, and what it predicts for its own rows as if it had not seen them.

    Attributes
    ----------
    learner : estimator
    mean, scale : numpy.ndarray of shape (n,)
        As `held_out_mean_and_scale` gives them.
    """

    learner: BaseEstimator
    mean: np.ndarray
    scale: np.ndarray


def choose_regressor(names: Sequence[str], X: np.ndarray, y: np.ndarray) -> FittedRegressor:
    """Fit several regressors and return the one under which held-out rows are most likely.

    Rows are judged by a Gaussian density with the learner's spread, up to one common factor. Below
    200 rows boosted trees, the costliest, are no candidate beside others.
    """
    if len(y) < _BOOSTING_ROWS and len(names) > 1:
        names = [name for name in names if name != "boosting"]
    fitted = []
    for name in names:
        learner = REGRESSORS[name](*X.shape).fit(X, y)
        fitted.append(FittedRegressor(learner, *held_out_mean_and_scale(learner, X, y)))
    return max(fitted, key=lambda each: _likelihood(each, y))


def _likelihood(fitted: FittedRegressor, y: np.ndarray) -> float:
    deviation = np.sqrt(np.mean(((y - fitted.mean) / fitted.scale) ** 2)) + 1e-12
    return float(-np.mean(np.log(fitted.scale * deviation)))


# ---- categorical nodes ---------------------------------------------------------------------------


def logistic(X: np.ndarray, y: np.ndarray) -> BaseEstimator:
    """Logistic regression with a cross-validated penalty, for few parents the weakest plausible.

    The penalty with the least error is a little strong to draw from: it is chosen to predict, where
    shrinking the probabilities towards each other costs little, but drawn labels then depend too
    weakly on the parents. So with 20 rows a predictor or more, of the penalties within one standard
    error of the best the weakest is taken. With fewer rows it would overfit, and the best is.
    """
    if (folds := _class_folds(y)) < 2:
        return LogisticRegression(max_iter=1000)
    return GridSearchCV(
        LogisticRegression(max_iter=1000),
        {"C": list(_PENALTIES)},
        scoring=_log_likelihood,
        cv=StratifiedKFold(folds, shuffle=True, random_state=0),
        refit=_weakest_penalty if len(y) >= _ROWS_PER_PREDICTOR * X.shape[1] else True,
    )


def _log_likelihood(classifier: BaseEstimator, X: np.ndarray, y: np.ndarray) -> float:
    """Mean log-likelihood; unlike scikit-learn's, defined for classes that a fold lacks."""
    column = np.searchsorted(classifier.classes_, y).clip(max=len(classifier.classes_) - 1)
    chance = classifier.predict_proba(X)[np.arange(len(y)), column]
    return float(np.log(np.where(classifier.classes_[column] == y, chance, 0).clip(1e-6)).mean())


def _weakest_penalty(results: dict[str, Any]) -> int:
    splits = sorted(key for key in results if key.startswith("split"))
    scores = np.stack([results[key] for key in splits], axis=1)  # (penalties, folds)
    best = int(np.nanargmax(scores.mean(axis=1)))
    behind = scores[best] - scores
    error = behind.std(axis=1, ddof=1) / np.sqrt(len(splits))
    return int(np.flatnonzero(behind.mean(axis=1) <= error).max())


def boosting_classifier(X: np.ndarray, y: np.ndarray) -> BaseEstimator:
    """Histogram gradient boosting with 60 small trees."""
    return HistGradientBoostingClassifier(**_boosting, random_state=0)


def forest_classifier(X: np.ndarray, y: np.ndarray) -> BaseEstimator:
    """Random forest of 100 trees."""
    return RandomForestClassifier(**_forest)


class FoundationModelClassifier(ClassifierMixin, BaseEstimator):
    """The embedded foundation model, zero-shot, as a learner: no weight is fitted.

    Parameters
    ----------
    tfm : str, default="embedded"
        As `causalmix.tfm.load_tfm` takes it. Rows beyond its limit are left out at random; a node
        with more classes than it knows gets boosting instead.
    """

    def __init__(self, tfm: str = "embedded") -> None:
        self.tfm = tfm

    def fit(self, X: np.ndarray, y: np.ndarray) -> FoundationModelClassifier:
        """Keep the rows as context."""
        from causalmix.tfm import load_tfm  # torch is imported only where it is needed

        model = load_tfm(self.tfm)
        self.classes_, codes = np.unique(y, return_inverse=True)
        limits = model.limits
        if len(self.classes_) > limits.max_classes or X.shape[1] > limits.max_features:
            self._model = boosting_classifier(X, y).fit(X, codes)
            return self
        kept = np.arange(len(y))
        if len(y) > limits.max_rows:
            kept = np.random.default_rng(0).choice(len(y), limits.max_rows, replace=False)
        self._model = model.classifier(random_state=0).fit(pd.DataFrame(X[kept]), codes[kept])
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of the classes, shape (n, classes)."""
        return self._model.predict_proba(pd.DataFrame(X))


CLASSIFIERS: dict[str, Callable[[np.ndarray, np.ndarray], BaseEstimator]] = {
    "linear": logistic,
    "gp": logistic,
    "boosting": boosting_classifier,
    "forest": forest_classifier,
    "tfm": lambda X, y: FoundationModelClassifier(),
}


def choose_classifier(names: Sequence[str], X: np.ndarray, y: np.ndarray) -> BaseEstimator:
    """Fit the classifier with the least cross-validated log-loss; the first where none can be."""
    candidates = [partial(CLASSIFIERS[name], X, y) for name in names]
    folds = _class_folds(y)
    if folds < 2 or len(names) == 1:
        return candidates[0]().fit(X, y)
    split = StratifiedKFold(folds, shuffle=True, random_state=0)
    losses = []
    for make in candidates:
        scores = cross_val_score(make(), X, y, cv=split, scoring=_log_likelihood)
        losses.append(-scores.mean())
    return candidates[int(np.argmin(losses))]().fit(X, y)


def _class_folds(y: np.ndarray) -> int:
    """Folds that leave every class in every training part."""
    return int(min(FOLDS, np.unique(y, return_counts=True)[1].min()))
