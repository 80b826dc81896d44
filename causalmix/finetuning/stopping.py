"""Which weights of a fine-tuning run to keep, judged by the curves it has recorded.

Every rule estimates, for each validated step, the *gain*: by how much log-loss has fallen since
step 0. One step is the candidate, for most rules that of the largest gain. A test of its gain then
says whether it is kept or the weights stay as they were; the level of the test says which of the
two has to prove itself. Rules are functions of the recorded history alone, so that a finished run
can be judged again by any of them.

Notation: S validations, the first of them at step 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from causalmix.errors import check_name

EVEN = 0.5
"""Level at which a gain above zero is enough, and needed."""

UNTESTED = 1.0
"""Level at which the candidate is kept whatever its gain."""

_Estimate = tuple[np.ndarray, np.ndarray]  # gains (S,) and their standard errors (S,), in nats


@dataclass(frozen=True)
class Rule:
    """A way to estimate the gain of every validated step.

    Parameters
    ----------
    estimate : callable
        Takes a history and returns gains and their standard errors, arrays of shape (S,).
    label : str
        As tables and reports name it.
    needs_synthetic : bool, default=False
        Whether it needs synthetic validation rows, and so a generator.
    needs_splits : bool, default=False
        Whether it needs runs on other splits of the same rows.
    revises : bool, default=False
        Whether a later validation can change the gain of an earlier one.
    latest : bool, default=False
        Whether the last step is the candidate, not that of the largest gain.
    """

    estimate: Callable[[pd.DataFrame], _Estimate]
    label: str
    needs_synthetic: bool = False
    needs_splits: bool = False
    revises: bool = False
    latest: bool = False


def gains_of(history: pd.DataFrame, rows: str) -> _Estimate:
    """Gains since step 0 on one kind of validation rows.

    Parameters
    ----------
    history : DataFrame
        Of a run, with the columns ``{rows}_log_loss`` and ``{rows}_gain_se``.
    rows : {"val", "synthetic_val", "splits"}
        Which rows.

    Returns
    -------
    gains, errors : ndarray of float, shape (S,)
        In nats; a gain that is not finite, of a ruined network, is −inf.
    """
    loss = history[f"{rows}_log_loss"].to_numpy(dtype=float)
    gains = loss[0] - loss
    return np.where(np.isfinite(gains), gains, -np.inf), history[f"{rows}_gain_se"].to_numpy(float)


def _smoothed(history: pd.DataFrame) -> _Estimate:
    gains, errors = gains_of(history, "val")
    # Centred windows of three validations, of two at the end; step 0 itself stays.
    mean = pd.Series(gains).rolling(3, center=True, min_periods=2).mean().to_numpy(copy=True)
    mean[0] = 0.0
    # A ruined step is not kept for its neighbours' sake, nor one with none to average over.
    return np.where(np.isfinite(gains) & np.isfinite(mean), mean, -np.inf), errors


def _augmented(history: pd.DataFrame) -> _Estimate:
    real, real_error = gains_of(history, "val")
    made, made_error = gains_of(history, "synthetic_val")
    weight = synthetic_weight(history)
    ratio = 1 / weight - 1
    gains = (1 - weight) * real + weight * made
    variance = (1 - weight) ** 2 * real_error**2
    variance += weight**2 * (made_error**2 + ratio * real_error**2)  # sampling, and bias
    return gains, np.sqrt(variance)


RULES: dict[str, Rule] = {
    "log_loss": Rule(partial(gains_of, rows="val"), "Validation log-loss"),
    "smoothed": Rule(_smoothed, "Smoothed log-loss", revises=True),
    "repeated_splits": Rule(partial(gains_of, rows="splits"), "Repeated splits", needs_splits=True),
    "augmented": Rule(
        _augmented, "Validation with synthetic rows", needs_synthetic=True, revises=True
    ),
    "last": Rule(partial(gains_of, rows="val"), "Last step", latest=True),
}
"""Rules by name.

``log_loss`` takes the validation rows as they are; ``smoothed`` a moving average over three
validations; ``repeated_splits`` the mean over runs on several splits of training and validation
rows, which costs as many runs; ``augmented`` the precision-weighted mean of the gains on real and
on synthetic validation rows, see `synthetic_weight`. ``last`` leaves the choice of the step to the
length of the run, and to validation only whether to keep it.
"""


def synthetic_weight(history: pd.DataFrame) -> float:
    r"""Weight that synthetic validation rows have earned on this table.

    On real rows the gain of a step is unbiased with standard error :math:`\sigma`; on synthetic
    rows it has little sampling error, but the bias of the model they come from. How large that
    bias is shows in the discrepancy of the two curves: its mean square in units of its own
    variance, the sum of those of both gains, is :math:`\rho`, about 1 if chance alone parts the
    curves. As the points of a curve move together, :math:`\rho` has about one degree of freedom; it
    counts as much as one more observation of size 1. With a bias of variance
    :math:`\rho\sigma^2` the weights inverse
    to the variances are :math:`1/(1+\rho)` for synthetic and :math:`\rho/(1+\rho)` for real rows.

    Parameters
    ----------
    history : DataFrame
        Of a run with synthetic validation rows.

    Returns
    -------
    float
        In [0, 2/3]; 1/2 before there is anything to compare.
    """
    real, real_error = gains_of(history, "val")
    made, made_error = gains_of(history, "synthetic_val")
    known = (real_error > 0) & np.isfinite(real) & np.isfinite(made)
    if not known.any():
        return 0.5
    variance = real_error[known] ** 2 + made_error[known] ** 2
    observed = np.mean((real[known] - made[known]) ** 2 / variance)
    return float(1 / (1 + (observed + 1) / 2))


@dataclass(frozen=True)
class Choice:
    """What a rule makes of a history.

    Attributes
    ----------
    candidate : int
        Position in the history of the step after the first that the rule prefers; 0 if there is
        none yet.
    kept : int
        Position whose weights are kept: the candidate, or 0.
    gain, error : float
        Estimated gain of the candidate and its standard error (nats).
    needed : float
        The gain that it had to exceed.
    stale : int
        Validations since the largest gain, step 0 counting as a gain of 0; always 0 where the
        last step is the candidate.
    """

    candidate: int
    kept: int
    gain: float
    error: float
    needed: float
    stale: int


def choose(history: pd.DataFrame, rule: str, *, level: float = EVEN, n_val: int) -> Choice:
    """Judge a history by a rule.

    Parameters
    ----------
    history : DataFrame
        As in :class:`causalmix.finetuning.run.FinetuneResult`; its first row is step 0.
    rule : str
        Key of `RULES`.
    level : float, default=0.5
        Of the one-sided paired t-test of one step, in (0, 1]: how often the last step is kept if it
        is neither better nor worse than step 0. A candidate that was chosen for its gain on the
        same rows is kept more often. Below 0.5 the candidate has to prove itself; above it step 0
        has to, and the candidate is kept unless it is worse by more than chance explains; at 1 it
        is kept untested.
    n_val : int
        Validation rows, for the degrees of freedom.

    Returns
    -------
    Choice
    """
    spec = RULES[check_name(rule, RULES, "rule")]
    if len(history) == 1:
        return Choice(0, 0, 0.0, 0.0, 0.0, 0)
    gains, errors = spec.estimate(history)
    candidate = len(gains) - 1 if spec.latest else 1 + int(np.argmax(gains[1:]))
    gain, error = float(gains[candidate]), float(errors[candidate])
    needed = _needed(level, error, n_val)
    kept = candidate if gain > needed else 0
    best = len(gains) - 1 if spec.latest else candidate if gain > 0 else 0
    return Choice(candidate, kept, gain, error, needed, len(gains) - 1 - best)


def _needed(level: float, error: float, n_val: int) -> float:
    """Return the gain that is exceeded with probability `level` by chance alone."""
    if level == UNTESTED:
        return -np.inf
    if level == EVEN:
        return 0.0
    # NaN without an error, as of a single row: then nothing exceeds it.
    return float(student_t.ppf(1 - level, max(n_val - 1, 1))) * error


def replay(
    history: pd.DataFrame, rule: str, *, level: float = EVEN, n_val: int, patience: int
) -> Choice:
    """Judge a run that was not stopped as if a rule had stopped it.

    Parameters
    ----------
    history : DataFrame
        Of a run with as many validations as its steps allow.
    rule, level, n_val
        As in `choose`.
    patience : int
        Validations in a row without a larger gain after which the run would have stopped.

    Returns
    -------
    Choice
    """
    for seen in range(1, len(history) + 1):
        choice = choose(history.iloc[:seen], rule, level=level, n_val=n_val)
        if choice.stale >= patience:
            break
    return choice
