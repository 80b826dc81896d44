"""What synthetic rows are worth to a learner: train on synthetic, test on real."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from causalmix.baselines import fit_predict_proba
from causalmix.data import TabularDataset
from causalmix.errors import check_name
from causalmix.metrics import roc_auc

if TYPE_CHECKING:
    from causalmix.tfm import FoundationModel

_BASELINES = {"linear": "logistic_regression", "boosting": "hist_gradient_boosting"}

LEARNERS = (*_BASELINES, "TFM")
"""Logistic regression, histogram gradient boosting, and the foundation model without an update."""


def append_rows(real: TabularDataset, synthetic: TabularDataset) -> TabularDataset:
    """Return real and synthetic rows in one dataset.

    Parameters
    ----------
    real, synthetic : TabularDataset
        With the same columns, categories and classes.

    Returns
    -------
    TabularDataset
        The real rows first; name and provenance are theirs.
    """
    return replace(
        real,
        X=pd.concat([real.X, synthetic.X], ignore_index=True),
        y=pd.concat([real.y, synthetic.y], ignore_index=True),
    )


def held_out_auc(
    learner: str,
    rows: TabularDataset,
    test: TabularDataset,
    *,
    seed: int = 0,
    tfm: FoundationModel | None = None,
) -> float:
    """Test ROC-AUC of a learner that has seen `rows` only.

    Parameters
    ----------
    learner : {"linear", "boosting", "TFM"}
        The last takes the rows as context; more rows than it accepts are thinned out at random.
    rows : TabularDataset
        Real, synthetic or both; classes may be absent.
    test : TabularDataset
        Real rows with the same columns and classes.
    seed : int, default=0
        Of what is random in the learner.
    tfm : FoundationModel, optional
        The embedded one by default.

    Returns
    -------
    float
        One-vs-one macro for more than two classes; 0.5 where `rows` hold a single class, since
        there is nothing to rank by.

    Raises
    ------
    UnknownNameError
        If there is no such learner.
    DataError
        If the foundation model does not take so many columns or classes.
    """
    check_name(learner, LEARNERS, "learner")
    if learner == "TFM":
        from causalmix.tfm import load_tfm  # torch is imported only where it is needed

        tfm = tfm or load_tfm()
        rows = _thin_out(rows, tfm.limits.max_rows, seed)
    present = replace(rows, y=rows.y.cat.remove_unused_categories())
    if present.n_classes < 2:
        return 0.5
    if learner == "TFM":
        found = _zero_shot(tfm, present, test.X, seed)
    else:
        found = fit_predict_proba(_BASELINES[learner], present, test.X, seed=seed)
    proba = np.zeros((test.n_rows, test.n_classes))
    proba[:, test.y.cat.categories.get_indexer(present.y.cat.categories)] = found
    return roc_auc(test.y.cat.codes.to_numpy(), proba)


def _thin_out(rows: TabularDataset, n: int, seed: int) -> TabularDataset:
    if rows.n_rows <= n:
        return rows
    return rows.take(np.random.default_rng(seed).choice(rows.n_rows, n, replace=False))


def _zero_shot(
    tfm: FoundationModel, context: TabularDataset, X: pd.DataFrame, seed: int
) -> np.ndarray:
    from causalmix.finetune import predict_proba

    known = context.X.columns[context.X.notna().any()]
    return predict_proba(tfm, replace(context, X=context.X[known]), X[known], random_state=seed)
