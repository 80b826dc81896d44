"""Gaussian process regression of a node on its parents: trend, one curve a parent, interaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
from scipy.linalg import cho_solve
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize
from scipy.stats import kurtosis
from sklearn.base import BaseEstimator, RegressorMixin

_JITTER = 1e-8
_HEAVY_TAILS = 1.0  # excess kurtosis of residuals from which on their tails are modelled
_ROBUST_ROUNDS = 2
_EM_STEPS = 3


class _Prior:
    """Independent normal priors of the logarithms of the hyperparameters, for standardised data.

    They matter where 200 rows leave a hyperparameter open: length scales of about two deviations of
    a parent, a trend, and curves and an interaction that have to be earned.
    """

    def __init__(self, n_groups: int) -> None:
        interaction = n_groups > 1
        means = [2.0] * n_groups + [0.5 / n_groups] * n_groups + [0.2] * interaction + [0.3, 0.3]
        self.mean = np.log(means)
        self.deviation = np.array([0.7] * n_groups + [1.5] * (n_groups + interaction + 2))
        scale, amplitude, noise = np.log([(0.05, 50.0), (1e-4, 50.0), (1e-4, 3.0)])
        self.bounds = [scale] * n_groups + [amplitude] * (n_groups + interaction + 1) + [noise]


class AdditiveGaussianProcess(RegressorMixin, BaseEstimator):
    """Gaussian process whose kernel adds a linear trend, a curve of each parent and an interaction.

    k(x, x') = b x·x' + Σ_g a_g r_g(x, x') + c Π_g r_g(x, x'), with a squared exponential r_g over
    the predictors of parent g. A process with the interaction alone, the usual choice, learns from
    a few hundred rows hardly anything about combinations of parents that are rare in them; trend
    and curves carry over, which interventions depend on.

    Hyperparameters maximise the marginal likelihood times a weak prior. Noise with heavy tails
    (excess kurtosis above 1 of leave-one-out residuals) is Student-t: each row has a noise variance
    of its own, estimated by expectation maximisation.

    Parameters
    ----------
    groups : sequence of sequence of int, optional
        Columns of the predictors that belong to one parent, as those of a category do. By default
        each column is a parent.

    Attributes
    ----------
    hyperparameters_ : numpy.ndarray
        Logarithms of the length scales, a_1..a_G, c (where there are several parents), b, and the
        noise variance, for standardised targets.
    degrees_of_freedom_ : float
        Of the noise; infinite where it is Gaussian.

    References
    ----------
    Rasmussen, Williams (2006), "Gaussian Processes for Machine Learning", algorithm 2.1 and
    eqs. 5.9-5.12. Duvenaud, Nickisch, Rasmussen (2011), "Additive Gaussian processes", NIPS 24.
    """

    def __init__(self, groups: Sequence[Sequence[int]] | None = None) -> None:
        self.groups = groups

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Fit to standardised predictors (n, p) and any target (n,)."""
        self._groups = [list(g) for g in self.groups or [[k] for k in range(X.shape[1])]]
        self._prior = _Prior(len(self._groups))
        self._X, self._mean, self._unit = X, float(np.mean(y)), float(np.std(y)) or 1.0
        self._y = (np.asarray(y, float) - self._mean) / self._unit
        self._distances = self._squared_distances(X)
        self._relative = np.ones(len(y))  # noise variance of each row, relative to the common one
        self.degrees_of_freedom_ = np.inf
        self._optimise(self._prior.mean)
        tails = kurtosis(self._weights / np.sqrt(np.diag(self._inverse)))  # leaving each row out
        if tails > _HEAVY_TAILS:
            self._fit_student(max(4 + 6 / tails, 4.5))
        del self._distances
        return self

    def predict(
        self, X: np.ndarray, return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Mean (n,) at predictors (n, p), and on request its deviation (n,), noise included."""
        theta, distances = self.hyperparameters_, self._squared_distances(X)
        kernel = sum(self._terms(theta, distances, X @ self._X.T)[0])
        mean = self._mean + self._unit * (kernel @ self._weights)
        if not return_std:
            return mean
        _, a, c, b, _ = self._split(theta)
        prior = a.sum() + c + b * np.sum(X**2, axis=1)
        known = np.einsum("ij,ij->i", kernel @ self._inverse, kernel)
        variance = np.maximum(prior - known, 0) + self._noise_variance()
        return mean, self._unit * np.sqrt(variance)

    def leave_one_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation (n,) of each row of the data, given all others and in closed form."""
        precision = np.diag(self._inverse)
        own_noise = np.exp(self.hyperparameters_[-1]) * self._relative
        uncertainty = np.maximum(1 / precision - own_noise, 0)
        mean = self._mean + self._unit * (self._y - self._weights / precision)
        return mean, self._unit * np.sqrt(uncertainty + self._noise_variance())

    # ---- kernel ----------------------------------------------------------------------------------

    def _squared_distances(self, X: np.ndarray) -> list[np.ndarray]:
        """Squared distances within each parent's predictors, each (n, n_train)."""
        return [sum((X[:, k, None] - self._X[None, :, k]) ** 2 for k in g) for g in self._groups]

    def _split(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, float, float]:
        """Length scales squared, a, c, b and noise variance."""
        n = len(self._groups)
        c = np.exp(theta[2 * n]) if n > 1 else 0.0
        return np.exp(2 * theta[:n]), np.exp(theta[n : 2 * n]), c, *np.exp(theta[-2:])

    def _terms(
        self, theta: np.ndarray, distances: list[np.ndarray], products: np.ndarray
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Terms of the kernel (curves, interaction, trend), and distances over squared scales."""
        squares, a, c, b, _ = self._split(theta)
        scaled = [d / square for d, square in zip(distances, squares, strict=True)]
        terms = [amplitude * np.exp(-0.5 * s) for amplitude, s in zip(a, scaled, strict=True)]
        if len(scaled) > 1:
            terms.append(c * np.exp(-0.5 * sum(scaled)))
        return [*terms, b * products], scaled

    def _partials(self, terms: list[np.ndarray], scaled: list[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield partial derivatives by the logarithms of all hyperparameters but the noise."""
        for curve, s in zip(terms, scaled, strict=False):
            yield s * (curve + terms[-2] if len(scaled) > 1 else curve)
        yield from terms

    def _noise_variance(self) -> float:
        noise, degrees = np.exp(self.hyperparameters_[-1]), self.degrees_of_freedom_
        return noise if np.isinf(degrees) else noise * degrees / (degrees - 2)

    # ---- hyperparameters -------------------------------------------------------------------------

    def _optimise(self, start: np.ndarray) -> None:
        prior, products, y = self._prior, self._X @ self._X.T, self._y

        def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
            terms, scaled = self._terms(theta, self._distances, products)
            noise = np.exp(theta[-1]) * self._relative
            factor, inverse = _invert(sum(terms), noise)
            weights = inverse @ y
            pull = (theta - prior.mean) / prior.deviation
            value = 0.5 * y @ weights + np.log(np.diag(factor)).sum() + 0.5 * pull @ pull
            inverse -= np.outer(weights, weights)
            gradient = [0.5 * np.vdot(inverse, each) for each in self._partials(terms, scaled)]
            gradient.append(0.5 * np.diag(inverse) @ noise)
            return value, np.array(gradient) + pull / prior.deviation

        found = minimize(
            objective, start, jac=True, method="L-BFGS-B", bounds=prior.bounds,
            options={"maxiter": 60, "ftol": 1e-6},
        )  # fmt: skip
        self._condition(found.x)

    def _condition(self, theta: np.ndarray) -> None:
        """Keep hyperparameters, and what predictions need of the data under them."""
        self.hyperparameters_ = theta
        self._covariance = sum(self._terms(theta, self._distances, self._X @ self._X.T)[0])
        factor, self._inverse = _invert(self._covariance.copy(), np.exp(theta[-1]) * self._relative)
        self._weights = cho_solve((factor, True), self._y)

    def _fit_student(self, degrees: float) -> None:
        self.degrees_of_freedom_ = degrees
        for _ in range(_ROBUST_ROUNDS):
            for _ in range(_EM_STEPS):
                mean = self._covariance @ self._weights
                known = np.einsum("ij,ij->i", self._covariance @ self._inverse, self._covariance)
                uncertainty = np.maximum(np.diag(self._covariance) - known, 0)
                squares = (self._y - mean) ** 2 + uncertainty
                noise = np.exp(self.hyperparameters_[-1])
                precision = (degrees + 1) / (degrees + squares / noise)
                self._relative = 1 / precision
                common = np.log(np.mean(precision * squares))
                self._condition(np.append(self.hyperparameters_[:-1], common))
            self._optimise(self.hyperparameters_)


def _invert(kernel: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cholesky factor and inverse of a kernel matrix plus noise; the kernel is overwritten."""
    kernel[np.diag_indices_from(kernel)] += noise + _JITTER
    factor, failed = dpotrf(kernel, lower=True, clean=True)
    if failed:
        raise np.linalg.LinAlgError("The kernel matrix is not positive definite.")
    inverse, _ = dpotri(factor, lower=True)
    return factor, np.tril(inverse) + np.tril(inverse, -1).T
