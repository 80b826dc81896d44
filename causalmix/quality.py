"""How well synthetic rows stand in for real ones."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from causalmix.data import TabularDataset
from causalmix.metrics import roc_auc


def association_matrix(frame: pd.DataFrame) -> pd.DataFrame:
    """Pairwise association of numeric and categorical columns.

    Spearman's correlation for two numeric columns, squared Cramér's V for two categorical ones,
    the correlation ratio η² for one of each: the mixed matrix of arXiv 2603.10254. Every pair
    uses the rows where both columns are present.

    Parameters
    ----------
    frame : DataFrame, shape (n_rows, n_columns)
        Numeric columns and columns of pandas' category dtype.

    Returns
    -------
    DataFrame, shape (n_columns, n_columns)
        Symmetric with a unit diagonal; 0 where a pair has no spread.
    """
    names = list(frame.columns)
    categorical = {name: isinstance(frame[name].dtype, pd.CategoricalDtype) for name in names}
    matrix = np.eye(len(names))
    for i, j in combinations(range(len(names)), 2):
        pair = frame[[names[i], names[j]]].dropna()
        a, b = pair.iloc[:, 0], pair.iloc[:, 1]
        if categorical[names[i]] and categorical[names[j]]:
            value = _cramers_v_squared(a, b)
        elif categorical[names[i]]:
            value = _correlation_ratio(a, b)
        elif categorical[names[j]]:
            value = _correlation_ratio(b, a)
        else:
            value = a.corr(b, method="spearman") if a.nunique() > 1 < b.nunique() else 0.0
        matrix[i, j] = matrix[j, i] = value
    return pd.DataFrame(matrix, index=names, columns=names)


def _cramers_v_squared(a: pd.Series, b: pd.Series) -> float:
    counts = pd.crosstab(a, b)
    if min(counts.shape) < 2:
        return 0.0
    chi2 = chi2_contingency(counts, correction=False).statistic
    return float(chi2 / (counts.to_numpy().sum() * (min(counts.shape) - 1)))


def _correlation_ratio(groups: pd.Series, values: pd.Series) -> float:
    total = ((values - values.mean()) ** 2).sum()
    if total == 0:
        return 0.0
    means = values.groupby(groups, observed=True).transform("mean")
    return float(((means - values.mean()) ** 2).sum() / total)


def correlation_matrix_difference(real: pd.DataFrame, synthetic: pd.DataFrame) -> float:
    """Frobenius norm of the difference of two association matrices (CMD).

    Parameters
    ----------
    real, synthetic : DataFrame
        With the same columns.

    Returns
    -------
    float
        0 where all pairwise associations agree.
    """
    difference = association_matrix(real) - association_matrix(synthetic)
    return float(np.linalg.norm(difference.to_numpy()))


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
