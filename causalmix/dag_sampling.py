"""Directed acyclic graphs drawn from edge probabilities, and how well they keep them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import networkx as nx
import numpy as np
import pandas as pd

from causalmix.edge_probabilities import EdgeProbabilities
from causalmix.errors import CausalMixError, check_name

TARGET_PARENTS = ("adjacent", "all")


def sample_dags(
    edges: EdgeProbabilities,
    n_dags: int,
    seed: int,
    *,
    target: str | None = None,
    target_parents: str = "adjacent",
) -> list[nx.DiGraph]:
    """Draw directed acyclic graphs whose edges are as frequent as the probabilities say.

    For every pair of nodes one of →, ← and no edge is drawn. The edges enter the graph in random
    order; one that would close a cycle is turned round, or dropped if that direction has
    probability 0. Which pairs are adjacent therefore keeps its probabilities nearly exactly, and
    directions are distorted little (less than if cycles lost their least probable edge).

    Parameters
    ----------
    edges : EdgeProbabilities
    n_dags : int
    seed : int
    target : str, optional
        A node that is made a sink with the same parents in every graph. Drawn like the others, it
        has no parents in about half of the graphs, whose rows then have labels without signal.
    target_parents : {"adjacent", "all"}, default="adjacent"
        The parents of `target`: all nodes that can be adjacent to it (P > 0), or all nodes at all.
        Where no node can be adjacent, both mean all: the mechanism decides what matters.

    Returns
    -------
    list of networkx.DiGraph
        Every graph has all nodes, in the order of ``edges.names``.

    Raises
    ------
    UnknownNameError
        If `target` is not one of the names, or `target_parents` is unknown.
    CausalMixError
        If `n_dags` is below 1.
    """
    if n_dags < 1:
        raise CausalMixError(f"n_dags is {n_dags}; at least 1 graph is needed.")
    check_name(target_parents, TARGET_PARENTS, "choice of target_parents")
    matrix = edges.matrix.copy()
    parents: list[str] = []
    if target is not None:
        t = edges.names.index(check_name(target, edges.names, "node"))
        others = [name for name in edges.names if name != target]
        if target_parents == "adjacent":
            adjacent = np.flatnonzero(matrix[t] + matrix[:, t])
            parents = [edges.names[i] for i in adjacent]
        parents = parents or others
        matrix[t] = matrix[:, t] = 0
    rng = np.random.default_rng(seed)
    dags = []
    for _ in range(n_dags):
        dag = nx.relabel_nodes(_draw_dag(matrix, rng), dict(enumerate(edges.names)))
        dag.add_edges_from((parent, target) for parent in parents)
        dags.append(dag)
    return dags


def describe_dags(
    edges: EdgeProbabilities, samples: Mapping[str, Sequence[nx.DiGraph]], target: str
) -> pd.DataFrame:
    """Hold samples of DAGs against the probabilities that they were drawn from.

    Parameters
    ----------
    edges : EdgeProbabilities
    samples : mapping of str to sequence of networkx.DiGraph
        DAGs on the nodes of `edges`, by the name of their row in the result.
    target : str
        Node whose parents are counted.

    Returns
    -------
    pandas.DataFrame
        A row per sample: ``distortion`` (mean absolute difference between the frequency and the
        probability of an edge, over the pairs without the target), ``edges per graph``,
        ``parents of the target`` (mean) and ``graphs without parents of the target`` (share).

    Raises
    ------
    UnknownNameError
        If `target` is not one of the names.
    """
    t = edges.names.index(check_name(target, edges.names, "node"))
    others = [i for i in range(len(edges.names)) if i != t]
    pairs = np.ix_(others, others)
    off_diagonal = ~np.eye(len(others), dtype=bool)
    rows = {}
    for name, dags in samples.items():
        drawn = np.mean([nx.to_numpy_array(dag, nodelist=edges.names) > 0 for dag in dags], axis=0)
        parents = np.array([dag.in_degree(target) for dag in dags])
        distance = np.abs(drawn - edges.matrix)[pairs][off_diagonal]
        rows[name] = {
            "distortion": distance.mean() if distance.size else 0.0,
            "edges per graph": np.mean([dag.number_of_edges() for dag in dags]),
            "parents of the target": parents.mean(),
            "graphs without parents of the target": (parents == 0).mean(),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _draw_dag(matrix: np.ndarray, rng: np.random.Generator) -> nx.DiGraph:
    """Draw one DAG on the nodes 0..d−1."""
    d = len(matrix)
    upper = np.triu_indices(d, 1)
    forward, backward = matrix[upper], matrix.T[upper]
    draws = rng.random(len(forward))
    dag = nx.DiGraph()
    dag.add_nodes_from(range(d))
    reaches = np.eye(d, dtype=bool)  # reaches[i, j]: there is a path from i to j
    # The pairs that are joined, in random order: none is favoured where edges would close a cycle.
    for pair in rng.permutation(np.flatnonzero(draws < forward + backward)):
        i, j = int(upper[0][pair]), int(upper[1][pair])
        if draws[pair] >= forward[pair]:
            i, j = j, i
        if reaches[j, i]:
            i, j = j, i
        if matrix[i, j] > 0:
            dag.add_edge(i, j)
            reaches |= np.outer(reaches[:, i], reaches[j])
    return dag
