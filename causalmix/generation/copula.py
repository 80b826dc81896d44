"""Rows from a Gaussian copula: the table's own margins, tied together by one correlation matrix."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.covariance import ledoit_wolf_shrinkage

from causalmix.errors import checked_options
from causalmix.generation.base import ByClassGenerator
from causalmix.scm.density import observed_quantiles
from causalmix.scm.missingness import MissingnessModel

_LEAST = 1e-6  # eigenvalue of a correlation matrix


@checked_options
class CopulaGenerator(ByClassGenerator):
    """A Gaussian copula given the class: margins of each class, one correlation matrix for all.

    A row is drawn as correlated normal scores; each score becomes the value of its column at that
    quantile, among the training rows of the row's class. The target is not one more column of the
    copula. A copula takes columns in the order of their codes, which classes do not have, while
    margins that depend on the class keep whatever it changes in a single column. The correlation
    is estimated within classes, over all of them, so that a rare class needs no matrix of its own.

    Correlations come from normal scores of ranks; rows with equal values share the mean score of
    their ranks. That weakens the correlation by a known factor, which is taken out: exactly where
    one of the two columns has no ties, to first order where both have. The matrix is shrunk
    towards independence as much as Ledoit and Wolf's formula says.

    Numbers in samples lie between observed values, and are observed ones in columns whose values
    repeat. Missing categories are a level of their own; numbers lose cells as
    `causalmix.scm.missingness.MissingnessModel` has learned it.

    Attributes
    ----------
    correlation_ : pandas.DataFrame of shape (n_features, n_features)
        Of the normal scores within a class.

    References
    ----------
    Li, Xiong, Jiang (2014), "Differentially private synthesization of multi-dimensional data using
    copula functions", EDBT. Ledoit, Wolf (2004), "A well-conditioned estimator for
    large-dimensional covariance matrices", Journal of Multivariate Analysis 88. Olsson, Drasgow,
    Dorans (1982), "The polyserial correlation coefficient", Psychometrika 47.
    """

    def _learn(self, coded: pd.DataFrame) -> None:
        self._gaps = MissingnessModel().fit(coded, self._codec.categorical)
        self._rows = coded.drop(columns=self.target_)
        self.correlation_ = within_class_correlation(self._rows, self._classes)

    def _sample_class(self, c: int, m: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        scores = rng.multivariate_normal(np.zeros(len(self.correlation_)), self.correlation_, m)
        own = self._classes == c
        columns = {}
        for name, level in zip(self._rows, norm.cdf(scores).T, strict=True):
            everything = self._rows[name].dropna().to_numpy()
            known = self._rows[name][own].dropna().to_numpy()
            if name in self._codec.categorical:
                columns[name] = np.quantile(known, level, method="inverted_cdf")
            elif len(everything):
                columns[name] = observed_quantiles(known if len(known) else everything, level)
            else:
                columns[name] = np.zeros(m)  # masked later
        return pd.DataFrame(columns, columns=self._rows.columns)


def within_class_correlation(rows: pd.DataFrame, classes: np.ndarray) -> pd.DataFrame:
    """Correlation of the normal scores of columns within classes, shrunk.

    Parameters
    ----------
    rows : pandas.DataFrame of shape (n_rows, n_columns)
        Numbers, NaN where missing.
    classes : numpy.ndarray of shape (n_rows,)

    Returns
    -------
    pandas.DataFrame of shape (n_columns, n_columns)
        Symmetric and positive definite, with ones on the diagonal.
    """
    scores, strength = _normal_scores(rows.to_numpy(float), classes)
    known = rows.notna().to_numpy(float)
    products = scores.T @ scores  # over the rows that know both columns
    scale = (strength * known).T @ (strength * known)
    correlation = np.divide(products, scale, out=np.zeros_like(scale), where=scale > 1e-9)
    spread = np.sqrt((scores**2).mean(axis=0))
    standard = scores / np.where(spread > 0, spread, 1.0)
    correlation = correlation.clip(-1, 1) * (1 - _shrinkage(standard))
    np.fill_diagonal(correlation, 1.0)
    return pd.DataFrame(_nearest_correlation(correlation), rows.columns, rows.columns)


def _normal_scores(rows: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return normal scores of rows (n, p), 0 where missing, and what ties in their class leave.

    That strength is the mean square of a column's scores in units of √v, v that without ties. The
    mean product of two columns is their correlation times both of their strengths.
    """
    values, strength = np.zeros_like(rows), np.zeros_like(rows)
    for c in np.unique(classes):
        own = np.flatnonzero(classes == c)
        for j, column in enumerate(rows[own].T):
            known = own[~np.isnan(column)]
            if len(known):
                values[known, j] = _column_scores(rows[known, j])
                full = np.sqrt(np.mean(_column_scores(np.arange(len(known))) ** 2))
                strength[own, j] = np.mean(values[known, j] ** 2) / (full or 1.0)
    return values, strength


def _column_scores(values: np.ndarray) -> np.ndarray:
    """Mean of a standard normal between the quantiles that a value takes among all."""
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    edges = np.concatenate([[0], counts.cumsum()]) / len(values)
    density = norm.pdf(norm.ppf(edges))
    return ((density[:-1] - density[1:]) / np.diff(edges))[position]


def _shrinkage(standard: np.ndarray) -> float:
    if standard.shape[1] == 1:
        return 0.0
    return float(ledoit_wolf_shrinkage(standard, assume_centered=True))


def _nearest_correlation(matrix: np.ndarray) -> np.ndarray:
    """Raise eigenvalues to `_LEAST` and scale the diagonal back to ones."""
    values, vectors = np.linalg.eigh(matrix)
    if values[0] >= _LEAST:
        return matrix
    raised = (vectors * values.clip(_LEAST)) @ vectors.T
    unit = np.sqrt(np.diag(raised))
    return raised / np.outer(unit, unit)
