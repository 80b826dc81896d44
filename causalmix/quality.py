"""One report on synthetic rows: fidelity, privacy, causal effect and utility."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from causalmix.data import TabularDataset
from causalmix.errors import CausalMixError, DataError, check_name
from causalmix.fidelity import (
    correlation_matrix_difference,
    k_marginal_tvd,
    nearest_neighbour_adversarial_accuracy,
)
from causalmix.privacy import near_copy_share
from causalmix.utility import LEARNERS, append_rows, held_out_auc

if TYPE_CHECKING:
    from causalmix.tfm import FoundationModel

REFERENCE = "real rows"
"""First row of a report: real rows in the place of synthetic ones."""

SYNTHETIC_AUC = "AUC, synthetic"
BOTH_AUC = "AUC, real + synthetic"

_ATE_ERROR = ("effect", "ATE error")

BETTER = {
    ("fidelity", "CMD"): "lower",
    ("fidelity", "kMTVD"): "lower",
    ("fidelity", "NNAA"): "nearer 0.5",
    _ATE_ERROR: "lower",
    ("privacy", "near-copies"): "lower",
    **{(source, learner): "higher" for source in (SYNTHETIC_AUC, BOTH_AUC) for learner in LEARNERS},
}
"""Columns that a report can have, in their order, and which of their values are better."""

MAX_DISTANCE_ROWS = 2000
"""Rows of a table at most of which NNAA takes all distances; the others are left out at random."""


def quality_report(
    train: TabularDataset,
    test: TabularDataset,
    synthetic: Mapping[str, tuple[pd.DataFrame, pd.Series]],
    *,
    ate_error: Mapping[str, float] | None = None,
    learners: Sequence[str] = LEARNERS,
    tfm: FoundationModel | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Judge generators by the same real rows.

    Parameters
    ----------
    train : TabularDataset
        The real rows that the generators were fitted on.
    test : TabularDataset
        Real rows that they have never seen.
    synthetic : mapping of str to tuple of DataFrame and Series
        Synthetic features (n_rows, n_features) and target (n_rows,) by the generator's name.
    ate_error : mapping of str to float, optional
        Absolute error of the average treatment effect by generator (or `REFERENCE`), in the
        outcome's unit, where the caller knows the true effect; it becomes a column.
    learners : sequence of {"linear", "boosting", "TFM"}, default=all
        Trained on the rows and tested on `test`.
    tfm : FoundationModel, optional
        For the learner "TFM"; the embedded one by default.
    seed : int, default=0
        Of what is random in a measure or a learner.

    Returns
    -------
    DataFrame
        A row for the real rows (`REFERENCE`), then one per generator. Columns, in two levels:

        - ``fidelity``: ``CMD``, ``kMTVD`` and ``NNAA`` against the test rows; for the reference
          these are the training rows, which may be far fewer than the synthetic ones;
        - ``effect``: ``ATE error``, where given;
        - ``privacy``: ``near-copies`` of training rows (:func:`causalmix.privacy.near_copy_share`);
          for the reference among the test rows;
        - ``AUC, synthetic`` and ``AUC, real + synthetic``: test ROC-AUC by learner; for the
          reference trained on the training rows alone in both.

    Raises
    ------
    DataError
        If synthetic rows lack a column of the training rows, have a column of another type or a
        level that is unknown there, or if there are none.
    UnknownNameError
        If a learner, or a generator in `ate_error`, is unknown.
    CausalMixError
        If a generator bears the name of the reference.
    """
    for learner in learners:
        check_name(learner, LEARNERS, "learner")
    if REFERENCE in synthetic:
        raise CausalMixError(f"{REFERENCE!r} names the reference; call the generator otherwise.")
    for name in ate_error or ():
        check_name(name, [REFERENCE, *synthetic], "generator")
    made = {name: _like(train, name, *rows) for name, rows in synthetic.items()}
    if "TFM" in learners and tfm is None:
        from causalmix.tfm import load_tfm  # torch is imported only where it is needed

        tfm = load_tfm()

    def auc(rows: TabularDataset, source: str) -> dict[tuple[str, str], float]:
        return {(source, k): held_out_auc(k, rows, test, seed=seed, tfm=tfm) for k in learners}

    baseline = {k: value for (_, k), value in auc(train, SYNTHETIC_AUC).items()}
    scores = {
        REFERENCE: _fidelity(test, train, seed)
        | {("privacy", "near-copies"): near_copy_share(train.frame(), test.frame())}
        | {(source, k): v for source in (SYNTHETIC_AUC, BOTH_AUC) for k, v in baseline.items()}
    }
    for name, rows in made.items():
        scores[name] = (
            _fidelity(test, rows, seed)
            | {("privacy", "near-copies"): near_copy_share(train.frame(), rows.frame())}
            | auc(rows, SYNTHETIC_AUC)
            | auc(append_rows(train, rows), BOTH_AUC)
        )
    if ate_error is not None:
        for name, record in scores.items():
            record[_ATE_ERROR] = float(ate_error.get(name, float("nan")))
    order = [column for column in BETTER if column in scores[REFERENCE]]
    table = pd.DataFrame([[record[c] for c in order] for record in scores.values()])
    table.index = pd.Index(scores, name="rows")
    table.columns = pd.MultiIndex.from_tuples(order, names=["group", "measure"])
    return table


def _fidelity(test: TabularDataset, rows: TabularDataset, seed: int) -> dict:
    real, made = test.frame(), rows.frame()
    near = [
        frame.sample(min(len(frame), MAX_DISTANCE_ROWS), random_state=seed)
        for frame in (real, made)
    ]
    return {
        ("fidelity", "CMD"): correlation_matrix_difference(real, made),
        ("fidelity", "kMTVD"): k_marginal_tvd(real, made),
        ("fidelity", "NNAA"): nearest_neighbour_adversarial_accuracy(*near, seed=seed),
    }


def _like(train: TabularDataset, name: str, X: pd.DataFrame, y: pd.Series) -> TabularDataset:
    """Return synthetic rows as a dataset with the training rows' columns, levels and classes."""
    lacking = [column for column in train.X if column not in X]
    if lacking:
        raise DataError(f"The rows of {name!r} lack the columns {', '.join(lacking)}.")
    if len(X) == 0:
        raise DataError(f"{name!r} has no rows to judge.")
    columns = {column: _column_like(train.X[column], X[column], name) for column in train.X}
    features = pd.DataFrame(columns).reset_index(drop=True)
    target = _column_like(train.y, y, name).rename(train.y.name).reset_index(drop=True)
    return TabularDataset(name, features, target, f"drawn by {name}")


def _column_like(real: pd.Series, made: pd.Series, name: str) -> pd.Series:
    numeric = pd.api.types.is_numeric_dtype(real.dtype)
    if numeric != pd.api.types.is_numeric_dtype(made.dtype):
        raise DataError(
            f"Column {real.name!r} of {name!r} is {made.dtype}, that of the training rows "
            f"{real.dtype}."
        )
    if numeric:
        return made
    unknown = sorted(set(made.dropna()) - set(real.cat.categories))
    if unknown:
        raise DataError(
            f"Column {real.name!r} of {name!r} has levels that the training rows do not know: "
            f"{', '.join(map(str, unknown[:5]))}."
        )
    return made.astype(real.dtype)
