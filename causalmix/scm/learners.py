"""Learners of one node given its parents, with honest residuals and calibrated probabilities.

Shapes: n rows, p predictors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeCV
from sklearn.model_selection import (
    KFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.preprocessing import StandardScaler

from causalmix.scm.density import kept_weights, stacking_weights
from causalmix.scm.gaussian_process import AdditiveGaussianProcess

if TYPE_CHECKING:
    from causalmix.tfm.model import FoundationModel

Groups = Sequence[Sequence[int]]
"""For each parent, the columns of the predictors that belong to it."""

FOLDS = 5
_GP_ROWS = 500
_MEMBERS = 1  # of the foundation model's ensemble; a second one takes as long again
_BOOSTING_ROWS = 200
_STACKING_ROWS = 200
_ROWS_PER_PREDICTOR = 20
_LEAST_CHANCE = 1e-3  # of a held-out label: one surprise does not decide the weights
# With few coefficients Newton's steps are several times faster than L-BFGS, and end nearer the
# optimum; with many (the products that make one Hessian are counted) they take seconds each.
_newton = {"solver": "newton-cholesky", "max_iter": 1000}
_many_coefficients = {"solver": "lbfgs", "max_iter": 1000, "tol": 1e-5}
_HESSIAN = 2e8

_RIDGE_PENALTIES = np.logspace(-2, 4, 7)
_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)  # inverse strength, scikit-learn's C
_PLAIN_PENALTY = 0.1  # where there is no time to choose

# Small trees and few of them: the tables have a few hundred rows, and there is one learner for
# each node of each graph. Steps are larger, and bins fewer, than scikit-learn's, for speed.
_boosting = {
    "max_iter": 40,
    "learning_rate": 0.15,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 5,
    "max_bins": 64,
    "early_stopping": False,
    "random_state": 0,
}
_forest = {"n_estimators": 100, "min_samples_leaf": 3, "random_state": 0}


# ---- numeric nodes -------------------------------------------------------------------------------


def ridge() -> BaseEstimator:
    """Ridge regression; the penalty is chosen by leave-one-out error."""
    return RidgeCV(alphas=_RIDGE_PENALTIES)


class PlainRidge(RidgeCV):
    """Ridge regression that leaves each row out in closed form, for where time is short."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> PlainRidge:
        """Choose the penalty and fit."""
        super().fit(X, y)
        centred = X - X.mean(axis=0)
        spread = np.linalg.inv(centred.T @ centred + self.alpha_ * np.eye(X.shape[1]))
        leverage = 1 / len(X) + ((centred @ spread) * centred).sum(axis=1)
        self._left_out = y - (y - self.predict(X)) / np.maximum(1 - leverage, 1e-6)
        return self

    def leave_one_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and relative spread of each row, fitted to the others with the same penalty."""
        return self._left_out, np.ones(len(self._left_out))


def gaussian_process(n_rows: int, groups: Groups) -> BaseEstimator:
    """Additive Gaussian process; beyond 500 rows boosting, as its cost grows with their cube."""
    if n_rows > _GP_ROWS:
        return HistGradientBoostingRegressor(**_boosting)
    return AdditiveGaussianProcess(groups)


REGRESSORS: dict[str, Callable[[int, Groups], BaseEstimator]] = {
    "linear": lambda n_rows, groups: ridge(),
    "plain": lambda n_rows, groups: PlainRidge(alphas=_RIDGE_PENALTIES),
    "gp": gaussian_process,
    "boosting": lambda n_rows, groups: HistGradientBoostingRegressor(**_boosting),
    # In units of its spread: scikit-learn's trees take a variance below 2e-16 for none.
    "forest": lambda n_rows, groups: TransformedTargetRegressor(
        RandomForestRegressor(**_forest), transformer=StandardScaler()
    ),
}


def predict_mean_and_scale(learner: BaseEstimator, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n,) and relative spread (n,) of a node: of a Gaussian process its predictive deviation.

    The deviation grows away from the rows that the process has seen; other learners have none, and
    their spread is 1 everywhere.
    """
    if isinstance(learner, AdditiveGaussianProcess):
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
    if isinstance(learner, AdditiveGaussianProcess | PlainRidge):
        return learner.leave_one_out()
    if len(y) <= FOLDS:
        return predict_mean_and_scale(learner, X)
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    return cross_val_predict(learner, X, y, cv=folds), np.ones(len(y))


class FittedRegressor(NamedTuple):
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


def choose_regressor(
    names: Sequence[str], X: np.ndarray, y: np.ndarray, groups: Groups
) -> FittedRegressor:
    """Fit several regressors and return the one under which held-out rows are most likely.

    Rows are judged by a Gaussian density with the learner's spread, up to one common factor. Below
    200 rows boosted trees, the costliest, are no candidate beside others.
    """
    if len(y) < _BOOSTING_ROWS and len(names) > 1:
        names = [name for name in names if name != "boosting"]
    learners = [REGRESSORS[name](len(X), groups).fit(X, y) for name in names]
    fitted = [FittedRegressor(each, *held_out_mean_and_scale(each, X, y)) for each in learners]
    return max(fitted, key=lambda each: _likelihood(each, y))


def _likelihood(fitted: FittedRegressor, y: np.ndarray) -> float:
    deviation = np.sqrt(np.mean(((y - fitted.mean) / fitted.scale) ** 2)) + 1e-12 * np.std(y)
    return float(-np.mean(np.log(fitted.scale * deviation)))


# ---- categorical nodes ---------------------------------------------------------------------------


class NodeClassifier(ClassifierMixin, BaseEstimator):
    """What the classifiers below share.

    Parameters
    ----------
    groups : sequence of sequence of int, optional
        Columns of the predictors that belong to one parent, as the levels of a category do. By
        default each column is a parent.
    """

    def __init__(self, groups: Groups | None = None) -> None:
        self.groups = groups

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Most probable classes, shape (n,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class CalibratedLogistic(NodeClassifier):
    """Logistic regression with a cross-validated penalty, for few parents the weakest plausible.

    The penalty with the least error is a little strong to draw from: it is chosen to predict, where
    shrinking the probabilities towards each other costs little, but drawn labels then depend too
    weakly on the parents. So with 20 rows a predictor or more, of the penalties within one standard
    error of the best the weakest is taken. With fewer rows it would overfit, and the best is. With
    a class of one row there is nothing to validate on, and the penalty is scikit-learn's default.

    Parameters
    ----------
    groups : sequence of sequence of int, optional
        As `NodeClassifier` has it.
    penalty : float, optional
        Inverse strength of the penalty, in place of the search.
    """

    def __init__(self, groups: Groups | None = None, penalty: float | None = None) -> None:
        super().__init__(groups)
        self.penalty = penalty

    def fit(self, X: np.ndarray, y: np.ndarray) -> CalibratedLogistic:
        """Choose the penalty on these rows, and fit with it to all of them."""
        penalty, how = self.penalty or 1.0, _solver(X, y)
        if self.penalty is None and (folds := _class_folds(y)):
            search = LogisticRegressionCV(
                Cs=_PENALTIES,
                l1_ratios=(0,),
                cv=folds,
                scoring=_log_likelihood,
                refit=False,
                use_legacy_attributes=False,
                **how,
            ).fit(X, y)
            scores = search.scores_[:, 0].T  # (penalties, folds)
            many = len(y) >= _ROWS_PER_PREDICTOR * X.shape[1]
            best = _weakest_penalty(scores) if many else scores.mean(axis=1).argmax()
            penalty = _PENALTIES[best]
        self._model = LogisticRegression(C=penalty, **how).fit(X, y)
        self.classes_ = self._model.classes_
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of the classes, shape (n, classes)."""
        return self._model.predict_proba(X)


def _solver(X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    n_classes = len(np.unique(y))
    coefficients = X.shape[1] * (1 if n_classes == 2 else n_classes)
    return _newton if len(X) * coefficients**2 <= _HESSIAN else _many_coefficients


def _log_likelihood(classifier: BaseEstimator, X: np.ndarray, y: np.ndarray) -> float:
    """Mean log-likelihood; unlike scikit-learn's, defined for classes that a fold lacks."""
    column = np.searchsorted(classifier.classes_, y).clip(max=len(classifier.classes_) - 1)
    chance = classifier.predict_proba(X)[np.arange(len(y)), column]
    return float(np.log(np.where(classifier.classes_[column] == y, chance, 0).clip(1e-6)).mean())


def _weakest_penalty(scores: np.ndarray) -> int:
    """Position of the last penalty within a standard error of the best; (penalties, folds)."""
    best = int(np.argmax(scores.mean(axis=1)))
    behind = scores[best] - scores
    error = behind.std(axis=1, ddof=1) / np.sqrt(scores.shape[1])
    return int(np.flatnonzero(behind.mean(axis=1) <= error).max())


_STACKED = ("linear", "forest", "boosting")


class StackedClassifier(NodeClassifier):
    """Mean of logistic regression, a random forest and boosted trees, weighted by held-out rows.

    The weights are those of the mixture under which held-out labels are most likely. Below 200
    rows, which say too little of the weights, or with a class of one row, which cannot be held out,
    logistic regression stands alone.

    Attributes
    ----------
    weights_ : dict of str to float
        Weight of each learner (a key of `CLASSIFIERS`) above 0.02.

    References
    ----------
    Smyth, Wolpert (1999), "Linearly combining density estimators via stacking", Machine Learning
    36.
    """

    def fit(self, X: np.ndarray, y: np.ndarray) -> StackedClassifier:
        """Weigh the learners on these rows, and fit them to all of them."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.weights_ = {"linear": 1.0}
        if (folds := _class_folds(y)) and len(y) >= _STACKING_ROWS:
            held_out = [
                cross_val_predict(
                    CLASSIFIERS[name](self.groups), X, codes, cv=folds, method="predict_proba"
                )[np.arange(len(y)), codes]
                for name in _STACKED
            ]
            found = stacking_weights(np.column_stack(held_out).clip(_LEAST_CHANCE))
            self.weights_ = kept_weights(_STACKED, found)
        self._models = [CLASSIFIERS[name](self.groups).fit(X, codes) for name in self.weights_]
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of the classes, shape (n, classes)."""
        parts = zip(self.weights_.values(), self._models, strict=True)
        return sum(weight * model.predict_proba(X) for weight, model in parts)


def stacking_seconds(X: np.ndarray, y: np.ndarray) -> float:
    """Return about how long `StackedClassifier` takes on these rows, from a few boosted trees."""
    if len(y) < _STACKING_ROWS:
        return 0.0
    start = time.perf_counter()
    HistGradientBoostingClassifier(**_boosting | {"max_iter": 2}).fit(X, y)
    boosting = (time.perf_counter() - start) * _boosting["max_iter"] / 2
    return 2 * boosting * (FOLDS + 1)  # the others take about as long as boosting


class FoundationModelClassifier(NodeClassifier):
    """The embedded foundation model, zero-shot, as a learner: no weight is fitted.

    Rows beyond its limit are left out at random; a node with more classes or parents than it knows
    gets logistic regression instead, and where no parent has two values among the rows, as in a
    part without a rare level, each class has its share of them.
    The levels of a category are a category to the model. Equal rows are predicted once.
    """

    def fit(self, X: np.ndarray, y: np.ndarray) -> FoundationModelClassifier:
        """Keep the rows as context."""
        model = _embedded()
        self.classes_, codes = np.unique(y, return_inverse=True)
        table, limits = self._table(X), model.limits
        too_many = len(self.classes_) > limits.max_classes or table.shape[1] > limits.max_features
        self._model = CalibratedLogistic() if too_many else None
        kept = np.arange(len(y))
        if len(y) > limits.max_rows:
            kept = np.random.default_rng(0).choice(len(y), limits.max_rows, replace=False)
        if (table.iloc[kept].nunique() < 2).all():
            self._model = DummyClassifier(strategy="prior")
        if self._model is not None:
            self._model.fit(X, codes)
            return self
        self._encoder = model.encoder(table.iloc[kept], codes[kept], n_estimators=_MEMBERS)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of the classes, shape (n, classes)."""
        if self._model is not None:
            return self._model.predict_proba(X)
        rows, row_of = np.unique(X, axis=0, return_inverse=True)
        query = self._encoder.transform(self._table(rows))
        proba = self._encoder.predict_proba(_embedded().network, query, len(self.classes_))
        return proba[row_of.ravel()]

    def _table(self, X: np.ndarray) -> pd.DataFrame:
        columns = {}
        for k, group in enumerate(self.groups or [[k] for k in range(X.shape[1])]):
            parent = X[:, list(group)]
            columns[str(k)] = parent[:, 0]
            if len(group) > 1:
                level = np.where(parent.any(axis=1), parent.argmax(axis=1), -1)
                columns[str(k)] = pd.Categorical.from_codes(level, categories=range(len(group)))
        return pd.DataFrame(columns)


@lru_cache
def _embedded() -> FoundationModel:
    """Load the embedded model once; its weights are never changed here."""
    from causalmix.tfm.model import load_tfm  # torch is imported only where it is needed

    return load_tfm()


CLASSIFIERS: dict[str, Callable[[Groups], BaseEstimator]] = {
    "linear": CalibratedLogistic,
    "plain": partial(CalibratedLogistic, penalty=_PLAIN_PENALTY),
    "gp": CalibratedLogistic,
    "boosting": lambda groups: HistGradientBoostingClassifier(**_boosting),
    "forest": lambda groups: RandomForestClassifier(**_forest),
    "stacked": StackedClassifier,
    "tfm": FoundationModelClassifier,
}


def choose_classifier(
    names: Sequence[str], X: np.ndarray, y: np.ndarray, groups: Groups
) -> BaseEstimator:
    """Fit the classifier with the least cross-validated log-loss; the first where none can be."""
    candidates = [partial(CLASSIFIERS[name], groups) for name in names]
    folds = _class_folds(y)
    if folds is None or len(names) == 1:
        return candidates[0]().fit(X, y)
    score = partial(cross_val_score, X=X, y=y, cv=folds, scoring=_log_likelihood)
    return max(candidates, key=lambda make: score(make()).mean())().fit(X, y)


def _class_folds(y: np.ndarray) -> StratifiedKFold | None:
    """Folds that leave every class in every training part; None where a class has one row."""
    n = int(min(FOLDS, np.unique(y, return_counts=True)[1].min()))
    return StratifiedKFold(n, shuffle=True, random_state=0) if n >= 2 else None
