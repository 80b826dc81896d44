"""Scores of one prediction, of one fine-tuning run, and of arms over many datasets."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

SCORES = ("auc", "log_loss", "accuracy")

N_BINS = 10
"""Bins of equal width for the probability of the most probable class."""

RELIABILITY = (
    "calibration_error",
    *(f"{name}_{k}" for k in range(N_BINS) for name in ("rows", "confidence", "accuracy")),
)
"""Keys of what `reliability` returns."""


def roc_auc(y: np.ndarray, proba: np.ndarray) -> float:
    """Area under the ROC curve, one-vs-one macro for more than two classes.

    Parameters
    ----------
    y : ndarray of int, shape (n_rows,)
        Class codes 0 .. n_classes - 1.
    proba : ndarray of float, shape (n_rows, n_classes)
        Predicted probabilities, rows summing to 1.

    Returns
    -------
    float
        Between 0 and 1; NaN where `y` holds a single class. Classes that `y` lacks are left
        out and the other probabilities rescaled, since no pair with them can be ranked.

    References
    ----------
    Hand and Till (2001), through :func:`sklearn.metrics.roc_auc_score`.
    """
    present = np.unique(y)
    if len(present) < 2:
        return float("nan")
    proba = among_present(present, proba)
    if len(present) == 2:
        proba = proba[:, 1]
    return float(roc_auc_score(y, proba, multi_class="ovo", average="macro"))


def among_present(present: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Probabilities if a row is of one of some classes.

    Parameters
    ----------
    present : ndarray of int, shape (n_present,)
        Those classes.
    proba : ndarray of float, shape (n_rows, n_classes)

    Returns
    -------
    ndarray of float, shape (n_rows, n_present)
        As they were where all classes are present: rescaling would break ties by rounding.
    """
    if len(present) == proba.shape[1]:
        return proba
    kept = np.clip(proba[:, present], 1e-12, None)
    return kept / kept.sum(axis=1, keepdims=True)


def log_loss(y: np.ndarray, proba: np.ndarray) -> float:
    """Mean negative log-probability of the true class, in nats.

    Parameters
    ----------
    y : ndarray of int, shape (n_rows,)
        Class codes 0 .. n_classes - 1.
    proba : ndarray of float, shape (n_rows, n_classes)
        Predicted probabilities; clipped at 1e-12 from below.

    Returns
    -------
    float
        At least 0. Unlike scikit-learn's, `y` may lack classes.
    """
    return float(row_losses(y, proba).mean())


def row_losses(y: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Negative log-probability of each row's class, in nats.

    Parameters
    ----------
    y, proba
        As in `log_loss`.

    Returns
    -------
    ndarray of float, shape (n_rows,)
    """
    return -np.log(np.clip(proba[np.arange(len(y)), y].astype(np.float64), 1e-12, None))


def score(y: np.ndarray, proba: np.ndarray) -> dict[str, float]:
    """All of `SCORES` of one prediction.

    Parameters
    ----------
    y : ndarray of int, shape (n_rows,)
        Class codes.
    proba : ndarray of float, shape (n_rows, n_classes)
        Predicted probabilities.

    Returns
    -------
    dict of str to float
        Keys ``auc``, ``log_loss`` (nats) and ``accuracy``, the share of rows whose most probable
        class is the true one.
    """
    return {
        "auc": roc_auc(y, proba),
        "log_loss": log_loss(y, proba),
        "accuracy": float((proba.argmax(axis=1) == y).mean()),
    }


def reliability(y: np.ndarray, proba: np.ndarray) -> dict[str, float]:
    """How often the most probable class is the true one, by its probability.

    Parameters
    ----------
    y : ndarray of int, shape (n_rows,)
        Class codes.
    proba : ndarray of float, shape (n_rows, n_classes)
        Predicted probabilities.

    Returns
    -------
    dict of str to float
        Keys `RELIABILITY`: ``calibration_error``, the mean over rows of the distance between
        confidence and accuracy of their bin; and for each of `N_BINS` bins how many ``rows`` it
        holds, their mean ``confidence`` (probability of the most probable class) and their
        ``accuracy``, both NaN in an empty bin.

    References
    ----------
    Guo et al. (2017), "On calibration of modern neural networks", ICML.
    """
    confidence = proba.max(axis=1).astype(np.float64)
    right = proba.argmax(axis=1) == y
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    rows = np.bincount(bins, minlength=N_BINS)
    sums = [np.bincount(bins, weights, N_BINS) for weights in (confidence, right)]
    means = [np.divide(total, rows, where=rows > 0, out=np.full(N_BINS, np.nan)) for total in sums]
    error = np.abs(sums[0] - sums[1]).sum() / len(y)
    cells = np.stack([rows, *means], axis=1).ravel()
    return dict(zip(RELIABILITY, [float(error), *cells.tolist()], strict=True))


def normalised_improvement(
    auc: float | pd.Series, zero_shot_auc: float | pd.Series
) -> float | pd.Series:
    """Share of the zero-shot model's remaining ROC-AUC error that an arm removes.

    ``(auc - zero_shot_auc) / (1 - zero_shot_auc)``, and 0 where zero-shot is already perfect.
    The source paper (arXiv 2601.04110) normalises by zero-shot performance without giving the
    formula; this is the definition that this project uses.

    Parameters
    ----------
    auc, zero_shot_auc : float or Series
        ROC-AUC of the arm and of the model before fine-tuning, on the same test rows.

    Returns
    -------
    float or Series
        1 is a perfect model, 0 no change; not bounded below.
    """
    room = 1 - np.asarray(zero_shot_auc, dtype=float)
    gain = np.asarray(auc, dtype=float) - np.asarray(zero_shot_auc, dtype=float)
    share = np.where(room > 1e-12, gain / np.where(room > 1e-12, room, 1), 0.0)
    if isinstance(auc, pd.Series):
        return pd.Series(share, index=auc.index)
    return float(share)


def validation_test_gap(validation: np.ndarray, test: np.ndarray) -> float:
    """One minus Spearman's rank correlation of the validation and the test curve of a run.

    Parameters
    ----------
    validation, test : array-like of float, shape (n_evaluations,)
        One score of the same kind (ROC-AUC or log-loss) at the same steps.

    Returns
    -------
    float
        0 where validation orders the steps as test does, 1 where it is unrelated, 2 where it is
        reversed. A constant validation curve orders nothing, so it counts as unrelated (1);
        NaN where the test curve is constant or has fewer than 3 points.
    """
    validation, test = np.asarray(validation, dtype=float), np.asarray(test, dtype=float)
    if len(test) < 3 or np.ptp(test) == 0:
        return float("nan")
    if np.ptp(validation) == 0:
        return 1.0
    return float(1 - spearmanr(validation, test).statistic)


def steps_to_converge(steps: np.ndarray, validation_log_loss: np.ndarray) -> float:
    """First step with 95 % of the run's best improvement in validation log-loss.

    Parameters
    ----------
    steps : array-like of int, shape (n_evaluations,)
        Optimiser steps, ascending, the first being step 0.
    validation_log_loss : array-like of float, shape (n_evaluations,)
        Validation log-loss (nats) at those steps.

    Returns
    -------
    float
        A step; 0 where fine-tuning never improved on step 0.
    """
    losses = np.asarray(validation_log_loss, dtype=float)
    gained = losses[0] - losses
    if gained.max() <= 0:
        return 0.0
    return float(np.asarray(steps)[np.argmax(gained >= 0.95 * gained.max())])
