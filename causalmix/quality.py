"""How well synthetic rows stand in for real ones: fidelity, privacy and utility in one report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from causalmix.baselines import BASELINES
from causalmix.data import TabularDataset
from causalmix.errors import CausalMixError, check_name
from causalmix.fidelity import (
    correlation_matrix_difference,
    k_marginal_tvd,
    near_copies,
    nearest_neighbour_adversarial_accuracy,
)
from causalmix.finetune import predict_proba
from causalmix.metrics import roc_auc
from causalmix.tfm import FoundationModel

LEARNERS = ("linear", "boosting", "tfm")
"""Logistic regression, histogram gradient boosting, and a foundation model zero-shot."""

_BASELINES = {"linear": "logistic_regression", "boosting": "hist_gradient_boosting"}

Rows = tuple[pd.DataFrame, pd.Series]
"""Features (n_rows, n_features) and target (n_rows,)."""


def transfer_auc(
    rows: Rows,
    test: TabularDataset,
    *,
    learner: str = "linear",
    tfm: FoundationModel | None = None,
    seed: int = 0,
) -> float:
    """Train a learner on some rows, test it on real ones (TSTR where the rows are synthetic).

    Parameters
    ----------
    rows : tuple of DataFrame and Series
        Features and target to learn from.
    test : TabularDataset
        Real rows that neither the learner nor a generator has seen.
    learner : {"linear", "boosting", "tfm"}, default="linear"
        See `LEARNERS`.
    tfm : FoundationModel, optional
        The model of the learner ``"tfm"``. Of more rows than it takes, the first are used.
    seed : int, default=0
        Of the learner.

    Returns
    -------
    float
        ROC-AUC on the test rows; 0.5 where the rows hold one class only. A class that they lack
        gets probability 0.

    Raises
    ------
    UnknownNameError
        If there is no such learner.
    CausalMixError
        If the learner ``"tfm"`` has no model.
    """
    check_name(learner, LEARNERS, "learner")
    X, y = rows
    codes = y.cat.codes.to_numpy(dtype=np.int64)
    if len(np.unique(codes)) < 2:
        return 0.5
    known = X.columns[X.notna().any()]
    proba = np.zeros((test.n_rows, test.n_classes))
    if learner == "tfm":
        if tfm is None:
            raise CausalMixError("The learner 'tfm' needs a model: pass tfm=load_tfm().")
        first = slice(0, tfm.limits.max_rows)
        present = y.iloc[first].cat.remove_unused_categories().reset_index(drop=True)
        features = X.iloc[first][known].reset_index(drop=True)
        context = TabularDataset("rows", features, present, "generated")
        columns = [test.class_names.index(name) for name in context.class_names]
        proba[:, columns] = predict_proba(tfm, context, test.X[known], random_state=seed)
    else:
        model = BASELINES[_BASELINES[learner]].build(seed, 1).fit(X[known], codes)
        proba[:, model.classes_] = model.predict_proba(test.X[known])
    return roc_auc(test.y.cat.codes.to_numpy(), proba)


def quality_report(
    train: TabularDataset,
    test: TabularDataset,
    synthetic: Mapping[str, Rows],
    *,
    learners: Sequence[str] = ("linear", "boosting"),
    tfm: FoundationModel | None = None,
    ate_error: Mapping[str, float] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare generators by fidelity, privacy and utility on the same real rows.

    Parameters
    ----------
    train : TabularDataset
        The real rows that the generators were fitted on.
    test : TabularDataset
        Real rows that they have never seen: the reference for all measures.
    synthetic : mapping of str to tuple of DataFrame and Series
        Synthetic features and target by the generator's name.
    learners : sequence of str, default=("linear", "boosting")
        Learners of `transfer_auc` to judge the use of the rows by.
    tfm : FoundationModel, optional
        Of the learner ``"tfm"``.
    ate_error : mapping of str to float, optional
        Error of an average treatment effect by the generator's name, where the truth is known.
    seed : int, default=0
        Of the learners, and of the subsamples in NNAA.

    Returns
    -------
    DataFrame
        A row per generator, after a first row for the real training rows. ``CMD``, ``kMTVD`` and
        ``NNAA`` (`causalmix.fidelity`) are against the test rows, ``near-copies`` is against the
        training rows (in the first row: that of the test rows). ``<learner> TSTR`` is the ROC-AUC
        on test rows after training on synthetic rows, ``<learner> real + synthetic`` that after
        training on both; in the first row both are those of real rows alone. ``ATE error`` is
        there if given.
    """
    reference = test.frame()
    real = (train.X, train.y)
    rows = {"real training rows": _fidelity(reference, train.frame(), seed)}
    rows["real training rows"]["near-copies"] = near_copies(train.frame(), reference)
    for learner in learners:
        start = transfer_auc(real, test, learner=learner, tfm=tfm, seed=seed)
        rows["real training rows"] |= {
            f"{learner} TSTR": start,
            f"{learner} real + synthetic": start,
        }
    for name, (X, y) in synthetic.items():
        made = pd.concat([X, y], axis=1).set_axis(reference.columns, axis=1)
        rows[name] = _fidelity(reference, made, seed)
        rows[name]["near-copies"] = near_copies(train.frame(), made)
        sources = {
            "TSTR": (X, y),
            "real + synthetic": (pd.concat([train.X, X]), pd.concat([train.y, y])),
        }
        for learner in learners:
            for source, each in sources.items():
                rows[name][f"{learner} {source}"] = transfer_auc(
                    each, test, learner=learner, tfm=tfm, seed=seed
                )
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("rows")
    if ate_error is not None:
        table["ATE error"] = pd.Series(dict(ate_error), dtype=float)
    return table


def _fidelity(reference: pd.DataFrame, rows: pd.DataFrame, seed: int) -> dict[str, float]:
    return {
        "CMD": correlation_matrix_difference(reference, rows),
        "kMTVD": k_marginal_tvd(reference, rows),
        "NNAA": nearest_neighbour_adversarial_accuracy(reference, rows, seed=seed),
    }
