"""The causal mechanisms of DoWhy's gcm, on scikit-learn learners and mixed columns."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, Self

import numpy as np
import pandas as pd
from dowhy import gcm
from dowhy.gcm.causal_mechanisms import InvertibleFunctionalCausalModel, StochasticModel
from dowhy.gcm.ml import ClassificationModel, PredictionModel
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from sklearn.utils import check_random_state

from causalmix.scm.conditional_noise import ConditionalNoise
from causalmix.scm.density import (
    Copied,
    Uniform,
    empirical,
    smooth,
    stacking_weights,
)
from causalmix.scm.learners import (
    choose_classifier,
    choose_regressor,
    predict_mean_and_scale,
    stacking_seconds,
)

BINS = "bins"  # before regressors: what they leave has the classifier of a `BinnedModel`

MECHANISMS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    # name: (regressors of a numeric node, classifiers of a categorical one); where there are
    # several, held-out rows decide for each node. The predictors that all are given are
    # standardised.
    "linear": (["linear"], ["linear"]),
    "gp": (["gp"], ["linear"]),
    "boosting": (["boosting"], ["boosting"]),
    "forest": (["forest"], ["forest"]),
    "stacked": (["linear"], ["stacked"]),
    "tfm": (["gp"], ["tfm"]),
    "tfm_bins": ([BINS, "gp"], ["tfm"]),
    "auto": (["linear", "gp", "boosting"], ["linear", "boosting"]),
}

_PLAIN = "plain"  # linear too, without cross-validation
_LEARNERS = MECHANISMS | {_PLAIN: ([_PLAIN], [_PLAIN])}

NOISES = ("conditional", "stacked", "empirical")
_MOST_BINS = 10
_OUTERMOST = (0.005, 0.995)  # levels between which the outer bins have a width
_FOLDS = 3  # that weigh a classifier of bins: each costs a pass of all rows through the model,
_WEIGHING_ROWS = 150  # and those are enough that hold out this many rows
_LEAST_WEIGHT = 0.1  # of that classifier; with less it changes little and takes as long
_LEAST_CHANCE = 1e-3  # of a held-out bin: one surprise does not decide the weight
_CONDITIONAL_ROWS = 50  # fewer rows do not show that noise depends on the parents
_CONDITIONAL_GAIN = 1.0  # standard errors by which held-out rows have to show it


@dataclass(frozen=True)
class Columns:
    """A coded table as the model's nodes see it, and how each column looks as a predictor.

    Attributes
    ----------
    values : dict of str to numpy.ndarray of shape (n_rows,)
        Numbers, or the codes of categories as strings (DoWhy takes a column for categorical by
        its strings).
    encoders : dict of str to callable
        Turns a column's values into predictors of shape (n_rows, n_dimensions).
    """

    values: dict[str, np.ndarray]
    encoders: dict[str, Callable[[np.ndarray], np.ndarray]]

    @classmethod
    def learn(
        cls, coded: pd.DataFrame, categorical: Sequence[str], *, missing_level: bool = True
    ) -> Self:
        """Learn from a table as `causalmix.scm.missingness.fill_gaps` gives it.

        Without `missing_level` a missing category is no level of its own: it is unknown where the
        column is a child, and none of the levels where it is a parent.
        """
        values, encoders = {}, {}
        for name in coded:
            column = coded[name].to_numpy()
            if name in categorical:
                values[name] = column.astype(int).astype(str).astype(object)
                levels = np.unique(column)
                if not missing_level and levels[-1] >= 0:
                    values[name][column < 0] = None
                    levels = levels[levels >= 0]
                encoders[name] = partial(_one_hot, levels=levels)
            else:
                values[name] = column
                scale = np.std(column) or 1.0
                encoders[name] = partial(_standardise, median=np.median(column), scale=scale)
        return cls(values, encoders)

    def is_categorical(self, name: str) -> bool:
        """Whether a column holds codes of categories, its first value known or not."""
        return self.values[name].dtype == object


def make_mechanism(
    node: str,
    parents: Sequence[str],
    columns: Columns,
    mechanism: str,
    noise: str,
    pace: Pace | None = None,
    temperature: float = 1.0,
) -> Any:
    """Return the fitted gcm mechanism of `node` given `parents` (none: a root).

    A classifier's probabilities are raised to the inverse of the temperature. Where `pace` leaves
    no time for the mechanism, it is a simple one instead.
    """
    if pace is not None:
        return pace.fit(node, parents, columns, mechanism, noise, temperature)
    regressors, classifiers = _LEARNERS[mechanism]
    child, categorical = columns.values[node], columns.is_categorical(node)
    observed = ~pd.isna(child)
    child = child[observed]
    if not parents:
        return empirical(child) if categorical or noise == "empirical" else smooth(child)
    predictors = side_by_side(columns.values, parents)[observed]
    encoders = [columns.encoders[parent] for parent in parents]
    if categorical:
        fitted = gcm.ClassifierFCM(_Classifier(classifiers, encoders, temperature))
    elif regressors[0] == BINS:
        regressor, classifier = (
            _Regressor(regressors[1:], encoders),
            _Classifier(classifiers, encoders),
        )
        fitted = BinnedModel(regressor, classifier, temperature)
    else:
        fitted = ScaledNoiseModel(_Regressor(regressors, encoders), noise)
    checked = config_context(assume_finite=True, skip_parameter_validation=True)
    with warnings.catch_warnings(), checked:
        # scikit-learn takes a category with many levels for a regression target; a rare level
        # is not in every fold; a kernel's parameter at its bound is no fault here.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        fitted.fit(predictors, child)
    return fitted


@dataclass
class Pace:
    """Fits the mechanisms of a model's nodes, the later ones simpler where time gets short.

    Simple mechanisms are linear, with one penalty for categories and residuals for noise.

    Parameters
    ----------
    deadline, stacked_deadline : float
        When all but stacked mechanisms should be fitted, and when those, on the clock of
        `time.perf_counter`.

    Attributes
    ----------
    left : int
        How many mechanisms are still to be fitted; the model that has it fitted says so.
    simple : int
        How many nodes were given a simple mechanism instead of another one.
    hurried_gaps : bool
        Whether gaps were filled and modelled with less than all regressions.
    """

    deadline: float
    stacked_deadline: float
    left: int = 0
    simple: int = 0
    hurried_gaps: bool = False
    _seconds: list[float] = field(default_factory=list)

    def gaps_deadline(self) -> float:
        """When gaps should be filled: half of the time for the nodes has gone by."""
        now = time.perf_counter()
        return now + max(self.deadline - now, 0.0) / 2

    def fit(
        self,
        node: str,
        parents: Sequence[str],
        columns: Columns,
        mechanism: str,
        noise: str,
        temperature: float = 1.0,
    ) -> Any:
        """Do as `make_mechanism`, and note the time."""
        start = time.perf_counter()
        deadline, left, self.left = self.deadline, max(self.left, 1), self.left - 1
        expected = float(np.mean(self._seconds)) if self._seconds else 0.0
        if mechanism == "stacked" and parents and columns.is_categorical(node):
            observed = ~pd.isna(columns.values[node])
            predictors = side_by_side(columns.values, parents)[observed]
            encoded = [columns.encoders[name](predictors[:, k]) for k, name in enumerate(parents)]
            child = columns.values[node][observed].astype(str)
            expected, left, deadline = (
                stacking_seconds(np.hstack(encoded), child),
                1,
                self.stacked_deadline,
            )
        if start + expected * left <= deadline:
            made = make_mechanism(node, parents, columns, mechanism, noise, temperature=temperature)
            if mechanism != "stacked" and parents:
                self._seconds.append(time.perf_counter() - start)
            return made
        self.simple += bool(parents)
        return make_mechanism(node, parents, columns, _PLAIN, "empirical", temperature=temperature)


def side_by_side(columns: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Return columns (n,) as one array (n, n_names), as gcm hands parents to a mechanism."""
    return np.column_stack([columns[name].astype(object) for name in names])


@dataclass(eq=False)
class _Predictor(Copied, PredictionModel):
    """A scikit-learn learner behind the encoders of its parents.

    Parameters
    ----------
    names : sequence of str
        Learners to choose from.
    encoders : sequence of callable
        One for each parent, as `Columns.encoders` has them.
    temperature : float, default=1.0
        Of a classifier.
    """

    names: Sequence[str]
    encoders: Sequence[Callable[[np.ndarray], np.ndarray]]
    temperature: float = 1.0
    learner: BaseEstimator | None = field(default=None, init=False)

    def encode(self, X: np.ndarray) -> tuple[np.ndarray, list[range]]:
        """Return parents (n, n_parents) as numeric predictors (n, p), and the columns of each."""
        parents = [encode(column) for encode, column in zip(self.encoders, X.T, strict=True)]
        ends = np.cumsum([0, *(parent.shape[1] for parent in parents)])
        return np.hstack(parents), [range(start, end) for start, end in pairwise(ends)]

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.learner.predict(self.encode(X)[0]).reshape(-1, 1)


class _Regressor(_Predictor):
    def fit(self, X: np.ndarray, Y: np.ndarray) -> None:
        (x, groups), y = self.encode(X), Y.ravel().astype(float)
        if np.ptp(y) == 0:
            self.learner, self.residuals = DummyRegressor().fit(x, y), np.zeros(len(y))
            return
        chosen = choose_regressor(self.names, x, y, groups)
        self.learner, self.errors = chosen.learner, (y - chosen.mean) / chosen.scale
        self.residuals = self.errors - self.errors.mean()


class _Classifier(_Predictor, ClassificationModel):
    def fit(self, X: np.ndarray, Y: np.ndarray) -> None:
        (x, groups), y = self.encode(X), Y.ravel().astype(str)
        if len(set(y)) == 1:
            self.learner = DummyClassifier().fit(x, y)
        else:
            self.learner = choose_classifier(self.names, x, y, groups)

    def predict_probabilities(self, X: np.ndarray) -> np.ndarray:
        probabilities = self.learner.predict_proba(self.encode(X)[0])
        probabilities = _tempered(probabilities, self.temperature)
        # gcm compares a cumulative sum with a uniform draw, and takes the first class when
        # rounding leaves the sum below it.
        cumulative = probabilities.cumsum(axis=1)
        return np.diff(cumulative / cumulative[:, -1:], axis=1, prepend=0.0)

    @property
    def classes(self) -> np.ndarray:
        return self.learner.classes_


class NoiseModel(Copied, InvertibleFunctionalCausalModel):
    """A number as a function of its parents and a noise with a distribution of its own.

    Attributes
    ----------
    noise_model : dowhy.gcm.causal_mechanisms.StochasticModel
        The distribution.
    """

    noise_model: StochasticModel

    def draw_noise_samples(self, num_samples: int) -> np.ndarray:
        """Draw noise, shape (num_samples, 1)."""
        return self.noise_model.draw_samples(num_samples)


class ScaledNoiseModel(NoiseModel):
    """An additive noise model whose noise widens where the regression knows less.

    Y = f(X) + s(X) N, with N estimated from held-out residuals. For a Gaussian process s is its
    predictive deviation; for other learners s = 1, which is gcm's `AdditiveNoiseModel`. Where
    residuals depend on X in more than their mean, N is the quantile at an independent uniform
    level U of a distribution that depends on X (`causalmix.scm.conditional_noise`), and U is the
    noise.

    Parameters
    ----------
    prediction_model : dowhy.gcm.ml.PredictionModel
        A regressor of this module.
    noise : {"conditional", "stacked", "empirical"}
        Distribution of N: `causalmix.scm.density.smooth`, unless held-out residuals show that it
        depends on X; always that; or the residuals themselves.
    """

    def __init__(self, prediction_model: PredictionModel, noise: str) -> None:
        self.prediction_model = prediction_model
        self.noise = noise

    def fit(self, X: np.ndarray, Y: np.ndarray) -> None:
        """Fit f, s and the distribution of the noise to parents (n, n_parents) and Y (n,)."""
        model = self.prediction_model
        model.fit(X, Y)
        self.conditional = None
        if self.noise == "conditional" and len(X) >= _CONDITIONAL_ROWS and np.ptp(model.residuals):
            conditional = ConditionalNoise().fit(model.encode(X)[0], model.residuals)
            if conditional.gain_ > _CONDITIONAL_GAIN:
                self.conditional, self.noise_model = conditional, Uniform()
                return
        distribution = empirical if self.noise == "empirical" else smooth
        self.noise_model = distribution(model.residuals)

    def evaluate(self, parent_samples: np.ndarray, noise_samples: np.ndarray) -> np.ndarray:
        """Return Y for parents (n, n_parents) and noise (n, 1)."""
        x, mean, scale = self._predict(parent_samples)
        noise = noise_samples.ravel()
        if self.conditional:
            noise = self.conditional.quantiles(x, noise)
        return (mean + scale * noise)[:, None]

    def estimate_noise(self, target_samples: np.ndarray, parent_samples: np.ndarray) -> np.ndarray:
        """Return the noise (n, 1) that makes Y of the parents."""
        x, mean, scale = self._predict(parent_samples)
        noise = (target_samples.ravel().astype(float) - mean) / scale
        return (self.conditional.levels(x, noise) if self.conditional else noise)[:, None]

    def _predict(self, parents: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Predictors, mean and spread for parents."""
        x, _ = self.prediction_model.encode(parents)
        return x, *predict_mean_and_scale(self.prediction_model.learner, x)


class BinnedModel(NoiseModel):
    """A number given its parents: a regression, and a classifier for what that leaves.

    Y = f(X) + s(X) R, as in `ScaledNoiseModel`. R has a distribution
    (`causalmix.scm.density.smooth`), and its level in that falls into one of 10 bins, as many
    classes as the embedded foundation model knows. Each has the probability w p(bin | X) + (1 - w)
    / 10, with p from the classifier; the weight w is that under which held-out rows are most likely
    (`causalmix.scm.density.stacking_weights`). So R may change its spread, skew and number of modes
    with the parents, and what is finer than a bin comes from the regression. The noise is the level
    of Y given X, uniform on (0, 1).

    A column of which most values are repeated, as counts are, has no regression: R is Y, and the
    bins are of the observed values, one for each where there are no more than 10.

    Parameters
    ----------
    regressor : dowhy.gcm.ml.PredictionModel
        A regressor of this module.
    classifier : dowhy.gcm.ml.ClassificationModel
        A classifier of this module.
    temperature : float, default=1.0
        The density of each bin is raised to the inverse of it; of the bins of observed values the
        probability.
    """

    def __init__(
        self,
        regressor: PredictionModel,
        classifier: ClassificationModel,
        temperature: float = 1.0,
    ) -> None:
        self.regressor, self.classifier = regressor, classifier
        self.temperature = temperature
        self.noise_model = Uniform()

    def fit(self, X: np.ndarray, Y: np.ndarray) -> None:
        """Fit f and s, cut R and fit the classifier of its bins, given parents (n, n_parents)."""
        y = Y.ravel().astype(float)
        starts = np.unique(y)
        self._centred = len(starts) > _MOST_BINS and 2 * len(starts) >= len(y)
        if self._centred:
            self.regressor.fit(X, y)
            # Not centred: a regression that is robust against a skewed R is not its mean.
            residuals, distribution = self.regressor.errors, smooth(self.regressor.errors)
            self._edges = np.arange(_MOST_BINS + 1) / _MOST_BINS
            outermost = distribution.quantiles(self._edges.clip(*_OUTERMOST))
            self._widths = np.diff(outermost).clip(min=1e-9 * (np.ptp(outermost) or 1.0))
        else:
            residuals, distribution = y, empirical(y)
            if len(starts) > _MOST_BINS:
                inner = np.arange(_MOST_BINS) / _MOST_BINS
                starts = np.unique(np.quantile(y, inner, method="inverted_cdf"))
            self._edges = np.append(np.searchsorted(np.sort(y), starts) / len(y), 1.0)
            self._widths = np.ones(len(starts))
        self._distribution, self._even = distribution, np.diff(self._edges)
        bins = self._bins(distribution.levels(residuals, np.random.default_rng(0)))
        self._weight = self._weigh(X, bins)
        if self._weight:
            self.classifier.fit(X, bins.astype(str))

    def evaluate(self, parent_samples: np.ndarray, noise_samples: np.ndarray) -> np.ndarray:
        """Return Y for parents (n, n_parents) and noise (n, 1)."""
        ends = self._cumulative(parent_samples)
        noise = noise_samples.ravel()
        bins = (noise[:, None] >= ends[:, 1:-1]).sum(axis=1)
        low, high = enclosing(ends, bins)
        within = np.divide(noise - low, high - low, out=np.zeros(len(noise)), where=high > low)
        start, end = self._edges[bins], self._edges[bins + 1]
        residuals = self._distribution.quantiles(start + (end - start) * within.clip(0, 1))
        mean, scale = self._predict(parent_samples)
        return (mean + scale * residuals)[:, None]

    def estimate_noise(self, target_samples: np.ndarray, parent_samples: np.ndarray) -> np.ndarray:
        """Return the noise (n, 1) that makes Y of the parents."""
        mean, scale = self._predict(parent_samples)
        residuals = (target_samples.ravel().astype(float) - mean) / scale
        # Of a value with ties any of its levels.
        level = self._distribution.levels(residuals, check_random_state(None))
        bins = self._bins(level)
        start, end = self._edges[bins], self._edges[bins + 1]
        low, high = enclosing(self._cumulative(parent_samples), bins)
        return (low + (high - low) * (level - start) / (end - start))[:, None]

    def _predict(self, parents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and spread for parents."""
        if not self._centred:
            return np.zeros(len(parents)), np.ones(len(parents))
        return predict_mean_and_scale(self.regressor.learner, self.regressor.encode(parents)[0])

    def _bins(self, levels: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._edges[1:-1], levels, side="right")

    def _weigh(self, X: np.ndarray, bins: np.ndarray) -> float:
        """Weight of the classifier against bins that do not depend on the parents."""
        if len(bins) < 2 * _FOLDS:
            return 1.0
        judged = []
        for rest, fold in KFold(_FOLDS, shuffle=True, random_state=0).split(X):
            classifier = self.classifier.clone()
            classifier.fit(X[rest], bins[rest].astype(str))
            chances = self._classify(classifier, X[fold])[np.arange(len(fold)), bins[fold]]
            judged.append(np.column_stack([chances, self._even[bins[fold]]]))
            if sum(map(len, judged)) >= _WEIGHING_ROWS:
                break
        weight = float(stacking_weights(np.concatenate(judged).clip(_LEAST_CHANCE))[0])
        return weight if weight >= _LEAST_WEIGHT else 0.0

    def _classify(self, classifier: ClassificationModel, parents: np.ndarray) -> np.ndarray:
        """Probability of each bin (n, bins)."""
        proba = np.zeros((len(parents), len(self._even)))
        proba[:, classifier.classes.astype(int)] = classifier.predict_probabilities(parents)
        return proba

    def _cumulative(self, parents: np.ndarray) -> np.ndarray:
        """Probabilities of values below the start of each bin, and 1: (n, bins + 1)."""
        proba = np.tile((1 - self._weight) * self._even, (len(parents), 1))
        if self._weight:
            proba += self._weight * self._classify(self.classifier, parents)
        ends = _tempered(proba / self._widths, self.temperature, self._widths).cumsum(axis=1)
        return np.pad(ends / ends[:, -1:], ((0, 0), (1, 0)))


def _tempered(
    densities: np.ndarray, temperature: float, widths: np.ndarray | float = 1.0
) -> np.ndarray:
    """Raise densities (n, classes) to the inverse of a temperature; return them times the widths.

    That is up to a factor of each row.
    """
    if temperature != 1:
        highest = densities.max(axis=1, keepdims=True)  # no power of which is 0
        densities = (densities / highest) ** (1 / temperature)
    return densities * widths


def enclosing(ends: np.ndarray, bins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the bin (n,) of each row starts and ends, of its bounds (n, n_bins + 1)."""
    rows = np.arange(len(bins))
    return ends[rows, bins], ends[rows, bins + 1]


def _one_hot(column: np.ndarray, levels: np.ndarray) -> np.ndarray:
    return (pd.to_numeric(column)[:, None] == levels).astype(float)


def _standardise(column: np.ndarray, median: float, scale: float) -> np.ndarray:
    return (column.astype(float)[:, None] - median) / scale
