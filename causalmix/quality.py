"""How well synthetic rows stand in for real ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from causalmix.data import TabularDataset
from causalmix.fidelity import correlation_matrix_difference
from causalmix.metrics import roc_auc


def linear_classifier() -> Pipeline:
    """Build logistic regression on scaled and one-hot columns, the reference for utility.

    Returns
    -------
    Pipeline
        Unfitted; takes mixed tables with missing values.
    """
    numeric = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    )
    categorical = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer(
        (numeric, make_column_selector(dtype_include="number")),
        (categorical, make_column_selector(dtype_include="category")),
    )
    return make_pipeline(columns, LogisticRegression(max_iter=2000))


def utility(
    train: TabularDataset, test: TabularDataset, synthetic: tuple[pd.DataFrame, pd.Series]
) -> dict[str, float]:
    """Test ROC-AUC of logistic regression trained on real, synthetic, and both kinds of rows.

    Parameters
    ----------
    train : TabularDataset
        The real rows the generator was fitted on.
    test : TabularDataset
        Real rows it has never seen.
    synthetic : tuple of DataFrame and Series
        Synthetic features and target.

    Returns
    -------
    dict of str to float
        ROC-AUC under the keys ``real``, ``synthetic`` and ``real + synthetic``.
    """
    X, y = synthetic
    both = pd.concat([train.X, X]), pd.concat([train.y, y])
    sources = {"real": (train.X, train.y), "synthetic": (X, y), "real + synthetic": both}
    return {name: _test_auc(*rows, test) for name, rows in sources.items()}


def _test_auc(X: pd.DataFrame, y: pd.Series, test: TabularDataset) -> float:
    codes = y.cat.codes.to_numpy()
    if len(np.unique(codes)) < 2:
        return 0.5  # one class only: nothing to rank by
    model = linear_classifier().fit(X, codes)
    proba = np.zeros((test.n_rows, test.n_classes))
    proba[:, model.classes_] = model.predict_proba(test.X)
    return roc_auc(test.y.cat.codes.to_numpy(), proba)


def quality_table(
    train: TabularDataset,
    test: TabularDataset,
    synthetic: Mapping[str, tuple[pd.DataFrame, pd.Series]],
) -> pd.DataFrame:
    """Compare generators by fidelity and utility on the same real rows.

    Parameters
    ----------
    train : TabularDataset
        The real rows that the generators were fitted on.
    test : TabularDataset
        Real rows that they have never seen; the reference for both measures.
    synthetic : mapping of str to tuple of DataFrame and Series
        Synthetic features and target by the generator's name.

    Returns
    -------
    DataFrame
        A row per generator, after a first row for the real training rows themselves: ``CMD``
        against the test rows, ``synthetic AUC`` (train on synthetic, test on real) and ``real +
        synthetic AUC``.
    """
    reference = test.frame()
    start = _test_auc(train.X, train.y, test)
    rows = {
        "real training rows": {
            "CMD": correlation_matrix_difference(reference, train.frame()),
            "synthetic AUC": start,
            "real + synthetic AUC": start,
        }
    }
    for name, (X, y) in synthetic.items():
        scores = utility(train, test, (X, y))
        made = pd.concat([X, y], axis=1).set_axis(reference.columns, axis=1)
        rows[name] = {
            "CMD": correlation_matrix_difference(reference, made),
            "synthetic AUC": scores["synthetic"],
            "real + synthetic AUC": scores["real + synthetic"],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("rows")
