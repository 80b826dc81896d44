"""Smooth distributions of one number, estimated from few values: a stack of candidate families."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import cached_property
from typing import Any, Self

import numpy as np
from dowhy import gcm
from dowhy.gcm.causal_mechanisms import StochasticModel
from scipy import stats
from scipy.special import ndtr
from sklearn.model_selection import KFold
from sklearn.utils import check_random_state

_FOLDS = 10
_MOST_VALUES = 2000  # a kernel density of all values at all values takes time with their square
_EM_STEPS = 500
_LEAST_WEIGHT = 0.02
_LEAST_VALUES = 20
_LEAST_DISTINCT = 0.5
_GRID = np.sinh(np.linspace(-3.5, 3.5, 1001))  # deviations: near zero .007 apart, to 16.5


class Density:
    """What a candidate is, once fitted: a distribution of SciPy with its parameters, or that of −x.

    SciPy's own frozen distributions take two milliseconds to make, more than all that is done with
    them here.
    """

    def __init__(self, family: stats.rv_continuous, *parameters: float, sign: int = 1) -> None:
        self._family, self._parameters, self._sign = family, parameters, sign

    def pdf(self, x: np.ndarray) -> np.ndarray:
        """Density at each value."""
        return self._family.pdf(self._sign * x, *self._parameters)

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """Probability of values up to each value."""
        below = self._family.cdf(self._sign * x, *self._parameters)
        return below if self._sign > 0 else 1 - below

    def rvs(self, size: int) -> np.ndarray:
        """Draw values with numpy's global generator, as DoWhy does."""
        return self._sign * self._family.rvs(*self._parameters, size=size)

    def reflected(self) -> Density:
        """Return the distribution of −x."""
        return Density(self._family, *self._parameters, sign=-self._sign)


class _KernelDensity(Density):
    """Gaussian kernel density, a little sharper than Scott's rule for Gaussian data."""

    def __init__(self, x: np.ndarray) -> None:
        self._kde = stats.gaussian_kde(x, bw_method=0.6 * len(x) ** -0.2)

    def pdf(self, x: np.ndarray) -> np.ndarray:
        return self._kde(x)

    def cdf(self, x: np.ndarray) -> np.ndarray:
        points, width = self._kde.dataset[0], np.sqrt(self._kde.covariance[0, 0])
        return np.array([ndtr((value - points) / width).mean() for value in x])

    def rvs(self, size: int) -> np.ndarray:
        return self._kde.resample(size)[0]


def _laplace(x: np.ndarray) -> Density:
    centre = np.median(x)
    return Density(stats.laplace, centre, np.abs(x - centre).mean())


def _uniform(x: np.ndarray) -> Density:
    # The range of n values is short by two of n + 1 gaps.
    width = np.ptp(x) * (len(x) + 1) / (len(x) - 1)
    return Density(stats.uniform, (x.min() + x.max() - width) / 2, width)


def _exponential(x: np.ndarray) -> Density:
    scale = x.mean() - x.min()
    low = x.min() - scale / len(x)  # the minimum lies scale / n too high
    return Density(stats.expon, low, scale)


def _gamma(x: np.ndarray) -> Density:
    shape = 4 / max(_moment(x, 3), 0.05) ** 2
    scale = x.std() / np.sqrt(shape)
    return Density(stats.gamma, shape, x.mean() - shape * scale, scale)


def _student(x: np.ndarray) -> Density:
    degrees = 4 + 6 / max(_moment(x, 4) - 3, 0.1)
    return Density(stats.t, degrees, x.mean(), x.std() * np.sqrt((degrees - 2) / degrees))


def _moment(x: np.ndarray, order: int) -> float:
    """Standardised central moment; SciPy's skew and kurtosis take a quarter of a millisecond."""
    centred = x - x.mean()
    return float(np.mean(centred**order) / np.mean(centred**2) ** (order / 2))


def _gumbel(x: np.ndarray) -> Density:
    scale = x.std() * np.sqrt(6) / np.pi
    return Density(stats.gumbel_r, x.mean() - np.euler_gamma * scale, scale)


# Closed-form estimates (moments or maximum likelihood): each is fitted eleven times for a node.
FAMILIES: dict[str, Callable[[np.ndarray], Density]] = {
    "normal": lambda x: Density(stats.norm, x.mean(), x.std()),
    "laplace": _laplace,
    "student": _student,
    "uniform": _uniform,
    "exponential": _exponential,
    "reflected exponential": lambda x: _exponential(-x).reflected(),
    "gamma": _gamma,
    "reflected gamma": lambda x: _gamma(-x).reflected(),
    "gumbel": _gumbel,
    "reflected gumbel": lambda x: _gumbel(-x).reflected(),
    "kernel": _KernelDensity,
}


class ObservedValues(gcm.EmpiricalDistribution):
    """gcm's distribution that draws the values it was fitted to, numbers or strings."""

    def fit(self, X: np.ndarray) -> None:
        """Take the values of shape (n,) or (n, 1)."""
        super().fit(X)
        vars(self).pop("_ranked", None)

    def quantiles(self, levels: np.ndarray) -> np.ndarray:
        """Value (n,) at each level (n,) in [0, 1]; each has as many levels as its share."""
        ranked = self._ranked
        return ranked[(levels * len(ranked)).astype(int).clip(max=len(ranked) - 1)]

    def levels(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Level (n,) of each value (n,), by chance any of those it has."""
        ranked = self._ranked
        ends = [np.searchsorted(ranked, values, side) / len(ranked) for side in ("left", "right")]
        return rng.uniform(*ends)

    @cached_property
    def _ranked(self) -> np.ndarray:
        return np.sort(self.data.ravel())


def empirical(values: Sequence[Any] | np.ndarray) -> ObservedValues:
    """Return the distribution of the given values."""
    model = ObservedValues()
    model.fit(np.asarray(values))
    return model


class Copied:
    """A model of gcm that is cloned by a copy, which may be fitted anew."""

    def clone(self) -> Self:
        """Return a copy."""
        return deepcopy(self)


class Uniform(Copied, StochasticModel):
    """The uniform distribution on (0, 1): noise that is a level itself."""

    def fit(self, X: np.ndarray) -> None:
        """Do nothing."""

    def draw_samples(self, num_samples: int) -> np.ndarray:
        """Draw levels, shape (num_samples, 1), with numpy's global generator as DoWhy does."""
        return check_random_state(None).random_sample((num_samples, 1))

    def quantiles(self, levels: np.ndarray) -> np.ndarray:
        """Return the levels (n,)."""
        return levels

    def levels(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the values (n,)."""
        return values


class StackedDensity(Copied, StochasticModel):
    """A mixture of candidate families whose weights maximise the likelihood of held-out values.

    The observed values themselves, or an interpolation of them, carry every accident of a small
    sample into each synthetic row. A parametric family does not, but has to be the right one.
    Stacking weighs both by how well they predict values that they were not fitted to.

    Of more than 2,000 values, as many at random decide the weights, and all the families'
    parameters.

    Attributes
    ----------
    weights_ : dict of str to float
        Weight of each family (a key of `FAMILIES`) above 0.02.

    References
    ----------
    Smyth, Wolpert (1999), "Linearly combining density estimators via stacking", Machine Learning
    36.
    """

    def fit(self, X: np.ndarray) -> None:
        """Estimate from values of shape (n,) or (n, 1), without NaN."""
        vars(self).pop("_cdf_on_grid", None)
        values = np.asarray(X, float).ravel()
        self._centre, self._scale = values.mean(), values.std()
        scaled = (values - self._centre) / self._scale
        judged = scaled
        if len(scaled) > _MOST_VALUES:
            judged = np.random.default_rng(0).choice(scaled, _MOST_VALUES, replace=False)
        self.weights_ = kept_weights(FAMILIES, stacking_weights(_held_out_densities(judged)))
        self._densities = [FAMILIES[name](scaled) for name in self.weights_]

    def draw_samples(self, num_samples: int) -> np.ndarray:
        """Draw values, shape (num_samples, 1), with numpy's global generator as DoWhy does."""
        random = check_random_state(None)  # the global generator
        parts = random.multinomial(num_samples, list(self.weights_.values()))
        drawn = [density.rvs(n) for density, n in zip(self._densities, parts, strict=True)]
        return (self._centre + self._scale * random.permutation(np.concatenate(drawn)))[:, None]

    def quantiles(self, levels: np.ndarray) -> np.ndarray:
        """Value (n,) at each level (n,) in [0, 1]."""
        return self._centre + self._scale * np.interp(levels, self._cdf_on_grid, _GRID)

    def levels(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Level (n,) of each value (n,), the inverse of `quantiles`."""
        return np.interp((values - self._centre) / self._scale, _GRID, self._cdf_on_grid)

    @cached_property
    def _cdf_on_grid(self) -> np.ndarray:
        parts = zip(self.weights_.values(), self._densities, strict=True)
        return sum(weight * density.cdf(_GRID) for weight, density in parts)


def smooth(values: np.ndarray) -> ObservedValues | StackedDensity:
    """Return a `StackedDensity` of values (n,), or these themselves where they have many ties.

    So have counts and rounded or truncated values. Fewer than 20 values too are drawn as observed.
    """
    if len(values) < _LEAST_VALUES or len(np.unique(values)) < _LEAST_DISTINCT * len(values):
        return empirical(values)
    density = StackedDensity()
    density.fit(values)
    return density


def _held_out_densities(x: np.ndarray) -> np.ndarray:
    """Density of each value under each family fitted to the other folds, (n, families)."""
    densities = np.empty((len(x), len(FAMILIES)))
    for rest, fold in KFold(_FOLDS, shuffle=True, random_state=0).split(x):
        for k, family in enumerate(FAMILIES.values()):
            densities[fold, k] = family(x[rest]).pdf(x[fold])
    return np.maximum(densities, 1e-12)


def stacking_weights(densities: np.ndarray) -> np.ndarray:
    """Weights of a mixture under which observations are most likely, by expectation maximisation.

    Parameters
    ----------
    densities : numpy.ndarray of shape (n, m)
        Density (or probability) of each observation under each of the mixed distributions, above 0.

    Returns
    -------
    numpy.ndarray of shape (m,)
        Not negative, summing to 1.
    """
    weights = np.full(densities.shape[1], 1 / densities.shape[1])
    for _ in range(_EM_STEPS):
        weights = weights * (1 / (densities @ weights) @ densities) / len(densities)
    return weights


def kept_weights(names: Iterable[str], weights: np.ndarray) -> dict[str, float]:
    """Return weights above 0.02 by the names of what they weigh, summing to 1 again."""
    kept = {name: w for name, w in zip(names, weights, strict=True) if w > _LEAST_WEIGHT}
    total = sum(kept.values())
    return {name: float(w / total) for name, w in kept.items()}


def observed_quantiles(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles of observed values, to draw from a column without a model of it.

    Parameters
    ----------
    values : numpy.ndarray of shape (n_values,)
        At least one, none missing.
    levels : numpy.ndarray
        Between 0 and 1.

    Returns
    -------
    numpy.ndarray
        Of the shape of `levels`; the i-th of n values, from 0, at the level (i + 1/2) / n. In
        between lie numbers between neighbours if at least half of the values are distinct; else
        there are observed values only.
    """
    repeat = 2 * len(np.unique(values)) < len(values)
    return np.quantile(values, levels, method="inverted_cdf" if repeat else "hazen")
