"""How well synthetic rows stand in for real ones: fidelity, privacy and utility in one report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from causalmix.data.backing import numpy_backed
from causalmix.data.columns import listed
from causalmix.data.dataset import TabularDataset
from causalmix.data.own_settings import own_settings
from causalmix.errors import CausalMixError, DataError, check_name, check_seed
from causalmix.finetuning.metrics import roc_auc
from causalmix.finetuning.run import predict_proba
from causalmix.quality.baselines import BASELINES
from causalmix.quality.fidelity import (
    correlation_matrix_difference,
    k_marginal_tvd,
    nearest_neighbour_adversarial_accuracy,
)
from causalmix.quality.privacy import (
    FALSE_POSITIVES,
    MembershipAttack,
    membership_attack,
    near_copy_share,
)
from causalmix.tfm.model import FoundationModel

LEARNERS = ("linear", "boosting", "tfm")
"""Logistic regression, histogram gradient boosting, and a foundation model zero-shot."""

REFERENCE = "real training rows"
"""First row of a report."""

FIDELITY = ("CMD", "kMTVD", "NNAA")

PRIVACY = ("near-copies", "membership AUC", "members found")

MAX_NNAA_ROWS = 2000
"""Rows of a table at most that NNAA compares, others being left out at random: it takes the
distances of all pairs."""

_BASELINES = {"linear": "logistic_regression", "boosting": "hist_gradient_boosting"}

Rows = tuple[pd.DataFrame, pd.Series]
"""Features (n_rows, n_features) and target (n_rows,)."""


@own_settings()
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
        Features and target to learn from. Classes and categories go by their names in the test
        rows, whatever their order or type.
    test : TabularDataset
        Real rows that neither the learner nor a generator has seen.
    learner : {"linear", "boosting", "tfm"}, default="linear"
        See `LEARNERS`.
    tfm : FoundationModel, optional
        The model of the learner ``"tfm"``. Of more rows than it takes, some are left out at random.
    seed : int, default=0
        Of the learner.

    Returns
    -------
    float
        ROC-AUC on the test rows; 0.5 where the rows hold one class only, or no value. A class that
        they lack gets probability 0.

    Raises
    ------
    UnknownNameError
        If there is no such learner.
    DataError
        If the rows have a class, a level or a column that the test rows do not know, a column of
        another kind, or lack a label.
    CausalMixError
        If the learner ``"tfm"`` has no model.
    """
    check_name(learner, LEARNERS, "learner")
    check_seed(seed)
    X, y = (numpy_backed(each) for each in rows)
    if len(X) != len(y):
        raise DataError(f"The features of the rows are {len(X)}, their labels {len(y)}.")
    if unknown := [name for name in X if name not in test.X]:
        raise DataError(f"The test rows lack columns that the rows have: {listed(unknown)}.")
    if y.isna().any():
        raise DataError(f"{y.isna().sum()} of the rows have no label; drop them.")
    X = pd.DataFrame({name: _column_like(test.X[name], X[name], "rows", "test") for name in X})
    y = _column_like(test.y, y, "rows", "test")
    codes = y.cat.codes.to_numpy(dtype=np.int64)
    if len(np.unique(codes)) < 2:
        return 0.5
    known = X.columns[X.notna().any()]
    if not len(known):
        return 0.5
    proba = np.zeros((test.n_rows, test.n_classes))
    if learner == "tfm":
        if tfm is None:
            raise CausalMixError("The learner 'tfm' needs a model: pass tfm=load_tfm().")
        rng, n = np.random.default_rng(seed), tfm.limits.max_rows
        kept = np.arange(len(y)) if len(y) <= n else rng.choice(len(y), n, replace=False)
        present = y.iloc[kept].cat.remove_unused_categories().reset_index(drop=True)
        features = X.iloc[kept][known].reset_index(drop=True)
        context = TabularDataset("rows", features, present, "generated")
        columns = [test.class_names.index(name) for name in context.class_names]
        proba[:, columns] = predict_proba(tfm, context, test.X[known], random_state=seed)
    else:
        model = BASELINES[_BASELINES[learner]].build(seed, 1).fit(X[known], codes)
        proba[:, model.classes_] = model.predict_proba(test.X[known])
    return roc_auc(test.y.cat.codes.to_numpy(), proba)


@own_settings()
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
        Real rows that they have never seen.
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
        A row for `REFERENCE`, the real training rows, then one per generator. Columns:

        - ``CMD``, ``kMTVD`` and ``NNAA`` (`causalmix.quality.fidelity`) against the test rows.
          Those of the reference depend on how many training rows there are, which may be far fewer
          than synthetic ones.
        - ``ATE error``, if given.
        - ``near-copies`` of training rows (`causalmix.quality.privacy`); in the first row among the
          test rows.
        - ``membership AUC`` and ``members found``: how well the rows tell who was trained on from
          who is a test row (`causalmix.quality.privacy.membership_attack`, which finds that share
          of the training rows at 5 % false positives); in the first row what chance finds.
        - ``<learner> TSTR``: ROC-AUC on test rows after training on synthetic rows, and
          ``<learner> real + synthetic`` after training on both; in the first row both are those
          of the real rows alone.

    Raises
    ------
    DataError
        If synthetic or test rows are none, lack a column, or hold one of another type or with a
        level that the training rows do not know.
    UnknownNameError
        If a learner or a generator in `ate_error` is unknown.
    CausalMixError
        If the learner ``"tfm"`` has no model, or a generator bears the reference's name.
    """
    for learner in learners:
        check_name(learner, LEARNERS, "learner")
    check_seed(seed)
    if REFERENCE in synthetic:
        raise CausalMixError(f"{REFERENCE!r} names the reference; call the generator otherwise.")
    for name in ate_error or ():
        check_name(name, [REFERENCE, *synthetic], "generator")
    made = {name: _like(train, name, *rows) for name, rows in synthetic.items()}
    test = _like(train, "test", test.X, test.y)

    def utility(X: pd.DataFrame, y: pd.Series) -> list[float]:
        return [transfer_auc((X, y), test, learner=k, tfm=tfm, seed=seed) for k in learners]

    real, start = train.frame(), utility(train.X, train.y)
    private = [near_copy_share(real, test.frame()), *MembershipAttack(0.5, FALSE_POSITIVES)]
    records = {REFERENCE: [*_fidelity(test.frame(), real, seed), *private, *start, *start]}
    for name, rows in made.items():
        records[name] = [
            *_fidelity(test.frame(), rows.frame(), seed),
            near_copy_share(real, rows.frame()),
            *membership_attack(real, test.frame(), rows.frame()),
            *utility(rows.X, rows.y),
            *utility(pd.concat([train.X, rows.X]), pd.concat([train.y, rows.y])),
        ]
    auc = [f"{learner} {source}" for source in ("TSTR", "real + synthetic") for learner in learners]
    columns = [*FIDELITY, *PRIVACY, *auc]
    table = pd.DataFrame.from_dict(records, orient="index", columns=columns).rename_axis("rows")
    if ate_error is not None:
        table.insert(len(FIDELITY), "ATE error", pd.Series(dict(ate_error), dtype=float))
    return table


def _fidelity(test: pd.DataFrame, rows: pd.DataFrame, seed: int) -> list[float]:
    """Values of `FIDELITY`."""
    few = [f.sample(min(len(f), MAX_NNAA_ROWS), random_state=seed) for f in (test, rows)]
    return [
        correlation_matrix_difference(test, rows),
        k_marginal_tvd(test, rows),
        nearest_neighbour_adversarial_accuracy(*few, seed=seed),
    ]


def _like(train: TabularDataset, name: str, X: pd.DataFrame, y: pd.Series) -> TabularDataset:
    """Return synthetic rows as a dataset with the training rows' columns, levels and classes."""
    X, y = numpy_backed(X), numpy_backed(y)
    lacking = [column for column in train.X if column not in X]
    if lacking:
        raise DataError(f"The rows of {name!r} lack the columns {', '.join(lacking)}.")
    if len(X) == 0:
        raise DataError(f"{name!r} has no rows to judge.")
    columns = {column: _column_like(train.X[column], X[column], name) for column in train.X}
    features = pd.DataFrame(columns).reset_index(drop=True)
    target = _column_like(train.y, y, name).rename(train.y.name).reset_index(drop=True)
    return TabularDataset(name, features, target, f"drawn by {name}")


def _column_like(real: pd.Series, made: pd.Series, name: str, of: str = "training") -> pd.Series:
    numeric = pd.api.types.is_numeric_dtype(real.dtype)
    if numeric != pd.api.types.is_numeric_dtype(made.dtype):
        raise DataError(f"Column {real.name!r} of {name!r} is {made.dtype}, not {real.dtype}.")
    if numeric:
        return made
    unknown = sorted(set(made.dropna()) - set(real.cat.categories), key=str)
    if unknown:
        raise DataError(
            f"Column {real.name!r} of {name!r} has levels that the {of} rows do not know: "
            f"{', '.join(map(str, unknown[:5]))}."
        )
    # By way of objects: pandas has the same categories in another order for the same type.
    return made.astype(object).astype(real.dtype)
