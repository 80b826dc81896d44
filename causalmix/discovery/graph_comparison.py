"""Edge probabilities against a known graph: errors of the likely edges, calibration of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from causalmix.discovery.edge_probabilities import EdgeProbabilities
from causalmix.discovery.knowledge import check_acyclic
from causalmix.errors import DataError, check_name, check_range

N_BINS = 10
"""Bins of equal width of a reliability table."""

ROUNDING = 1e-9
"""Sums of shares of bootstraps that differ by no more are equal."""


@dataclass(frozen=True)
class GraphComparison:
    """How edge probabilities compare with the true graph.

    Attributes
    ----------
    scores : dict of str to float
        ``skeleton_precision``, ``skeleton_recall``, ``skeleton_f1``, the same of ``arrow``,
        ``shd``, and ``skeleton_brier``, ``skeleton_calibration_error`` and the same of ``arrow``;
        see `compare_graphs`.
    reliability : pandas.DataFrame
        A row per ``kind`` (skeleton or arrow) and bin of probabilities that is not empty: ``low``
        and ``high`` (its bounds), ``n`` (pairs, or ordered pairs), ``probability`` (mean) and
        ``frequency`` (share of them that the true graph has).
    """

    scores: dict[str, float]
    reliability: pd.DataFrame


def compare_graphs(
    edges: EdgeProbabilities, true_dag: nx.DiGraph, threshold: float = 0.5
) -> GraphComparison:
    """Compare edge probabilities with the graph that the data come from.

    Two nodes count as adjacent if the probability of an edge between them is above `threshold`;
    the edge is an arrow in the more probable direction, and undirected if both are as probable. An
    undirected edge is no arrow at all, neither right nor wrong. An independence search can at best
    find the true graph's equivalence class: where that leaves edges undirected, one search says so,
    while the average of many bootstraps leans one way by chance.

    - Precision, recall and F1 of the skeleton are over pairs, those of arrows over ordered pairs.
      Precision without any guess, and recall without any true edge, are 0; but all three are 1
      where there is neither.
    - SHD, the structural Hamming distance, counts the pairs that are joined differently (an edge
      missing, too many, reversed or undirected).
    - The Brier score is the mean squared difference between probability and truth (0 or 1). The
      expected calibration error is the mean over `N_BINS` bins of equal width, weighted by their
      sizes, of the absolute difference between mean probability and frequency of true edges.

    Parameters
    ----------
    edges : EdgeProbabilities
    true_dag : networkx.DiGraph
        On the same nodes, in any order.
    threshold : float, default=0.5
        In [0, 1).

    Returns
    -------
    GraphComparison

    Raises
    ------
    DataError
        If the true graph has a cycle, lacks a node or is no networkx.DiGraph.
    UnknownNameError
        If the true graph has a node that is not in ``edges.names``.
    CausalMixError
        If `threshold` is out of its range.

    References
    ----------
    Tsamardinos, Brown, Aliferis (2006), "The max-min hill-climbing Bayesian network structure
    learning algorithm", Machine Learning 65, for SHD; here to the DAG, not to its class. Naeini,
    Cooper, Hauskrecht (2015), "Obtaining well calibrated probabilities using Bayesian binning",
    AAAI, for the calibration error.
    """
    check_range(threshold, "[0, 1)", "threshold")
    check_dag(true_dag, edges.names)
    true = nx.to_numpy_array(true_dag, nodelist=edges.names, weight=None) > 0
    pairs = np.triu_indices(len(true), 1)
    ordered = ~np.eye(len(true), dtype=bool)
    joined = edges.matrix + edges.matrix.T
    adjacent = joined > threshold
    arrow = adjacent & (edges.matrix > edges.matrix.T + ROUNDING)
    wrong = (true != arrow) | (true.T != arrow.T) | ((true | true.T) != adjacent)

    kinds = {
        "skeleton": ((true | true.T)[pairs], adjacent[pairs], joined[pairs]),
        "arrow": (true[ordered], arrow[ordered], edges.matrix[ordered]),
    }
    scores: dict[str, float] = {}
    tables = []
    for kind, (truth, guess, probability) in kinds.items():
        table = _reliability(truth, probability)
        error = ((table.probability - table.frequency).abs() * table.n).sum() / max(len(truth), 1)
        scores |= {f"{kind}_{name}": value for name, value in _retrieval(truth, guess).items()}
        scores[f"{kind}_brier"] = float(np.mean((probability - truth) ** 2)) if len(truth) else 0.0
        scores[f"{kind}_calibration_error"] = float(error)
        tables.append(table.assign(kind=kind))
    scores["shd"] = float(wrong[pairs].sum())
    reliability = pd.concat(tables, ignore_index=True)
    return GraphComparison(
        scores, reliability[["kind", "low", "high", "n", "probability", "frequency"]]
    )


def average_comparisons(compared: Sequence[GraphComparison]) -> GraphComparison:
    """Sum up comparisons of one method on several tables.

    Parameters
    ----------
    compared : sequence of GraphComparison
        At least one.

    Returns
    -------
    GraphComparison
        Means of the scores, and the reliability of the pairs of all tables together.
    """
    scores = pd.DataFrame([each.scores for each in compared]).mean().to_dict()
    bins = pd.concat([each.reliability for each in compared])
    for name in ("probability", "frequency"):
        bins[name] *= bins["n"]
    pooled = bins.groupby(["kind", "low", "high"], sort=False).sum().reset_index()
    for name in ("probability", "frequency"):
        pooled[name] /= pooled["n"]
    pooled = pooled.sort_values(["kind", "low"], ascending=[False, True], ignore_index=True)
    return GraphComparison(scores, pooled[list(compared[0].reliability)])


def check_dag(dag: nx.DiGraph, names: Sequence[str]) -> None:
    """Check that a graph given by a user is a DAG on all the columns of a table.

    Parameters
    ----------
    dag : networkx.DiGraph
    names : sequence of str
        The columns.

    Raises
    ------
    DataError
        If the graph has a cycle, which is named, lacks a node for a column or is no
        networkx.DiGraph.
    UnknownNameError
        If it has a node that is no column.
    """
    check_acyclic(dag)
    for node in dag:
        check_name(node, names, "node of the graph:")
    missing = [str(name) for name in names if name not in dag]
    if missing:
        raise DataError(
            f"The graph has no node for these columns: {', '.join(missing)}. Add the nodes, even "
            "without edges, or drop the columns."
        )


def _retrieval(truth: np.ndarray, guess: np.ndarray) -> dict[str, float]:
    if not truth.any() and not guess.any():
        return {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, guess, average="binary", zero_division=0
    )
    return {"precision": float(precision), "recall": float(recall), "f1": float(f1)}


def _reliability(truth: np.ndarray, probability: np.ndarray) -> pd.DataFrame:
    """Return low, high, n, probability, frequency of each bin of `probability` that is not empty.

    Bins are closed above, as `sklearn.calibration.calibration_curve` has them; 0 is in the first.
    """
    bounds = np.linspace(0, 1, N_BINS + 1)
    # Sums of shares of bootstraps miss a bound by rounding errors, which must not decide the bin.
    bins = np.searchsorted(bounds[1:-1], np.round(probability, 9))
    table = pd.DataFrame(
        {"bin": bins, "probability": probability, "frequency": truth.astype(float)}
    )
    grouped = table.groupby("bin")
    result = grouped.mean().assign(n=grouped.size())
    return result.assign(low=bounds[result.index], high=bounds[result.index + 1])
