"""Directed acyclic graphs drawn from edge probabilities, and how well they keep them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import networkx as nx
import numpy as np
import pandas as pd

from causalmix.discovery.edge_probabilities import EdgeProbabilities
from causalmix.discovery.knowledge import Constraints
from causalmix.errors import CausalMixError, check_name, check_seed, check_whole

TARGET_PARENTS = ("adjacent", "all", "markov_blanket", "free")


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
    order, after those that knowledge requires; one that would close a cycle is turned round, or
    dropped if that direction has probability 0. Which pairs are adjacent therefore keeps its
    probabilities nearly exactly, and directions are distorted little (less than if cycles lost
    their least probable edge). No graph has an edge that knowledge forbids.

    Drawn like the other nodes, a target has no parents in many of the graphs: labels are then drawn
    first, and how they go with features rests on the mechanisms of its children, not on one
    classifier. `target_parents` says what is done about it:

    - ``"adjacent"``: the target is a sink; its parents in every graph are all nodes that can be
      adjacent to it (P > 0), or those of ``"all"`` where there are none.
    - ``"all"``: the target is a sink; its parents are all nodes but those that identify the rows
      (``edges.identifiers``), which have no edges.
    - ``"markov_blanket"``: the target is drawn like the other nodes and then made a sink in each
      graph, whose parents are what was its Markov blanket there: parents, children, and the other
      parents of the children. This reverses its arrows into its children in causal order (arc
      reversal), and adds the edges among its blanket that keep the dependence which ran through
      the target. Each graph then implies no independence that the drawn one did not, but it is no
      longer causal about the target. A target drawn without edges stays without parents.
    - ``"free"``: the target is a node like the others.

    Parameters
    ----------
    edges : EdgeProbabilities
    n_dags : int
    seed : int
    target : str, optional
        The node that `target_parents` is about.
    target_parents : {"adjacent", "all", "markov_blanket", "free"}, default="adjacent"
        Edges into the target that knowledge forbids are left out in all cases.

    Returns
    -------
    list of networkx.DiGraph
        Every graph has all nodes, in the order of ``edges.names``.

    Raises
    ------
    UnknownNameError
        If `target` is not one of the names, or `target_parents` is unknown.
    CausalMixError
        If `n_dags` is below 1, `seed` is none, or `target_parents` makes the target a sink and
        knowledge requires an edge out of it or forbids every edge into it.

    References
    ----------
    Shachter (1986), "Evaluating influence diagrams", Operations Research 34, for arc reversal.
    """
    check_whole(n_dags, 1, "n_dags")
    check_seed(seed)
    check_name(target_parents, TARGET_PARENTS, "choice of target_parents")
    known = edges.knowledge.constraints(edges.names)
    matrix, required = edges.matrix.copy(), known.required.copy()
    parents: np.ndarray | None = None
    if target is not None:
        t = edges.names.index(check_name(target, edges.names, "node"))
        if target_parents != "free":
            _check_sink(edges, known, t, target_parents)
        if target_parents in ("adjacent", "all"):
            parents = _fixed_parents(edges, known, t, target_parents)
            matrix[t] = matrix[:, t] = required[:, t] = 0
    rng = np.random.default_rng(seed)
    dags = []
    for _ in range(n_dags):
        dag = _draw_dag(matrix, required, rng)
        if parents is not None:
            dag.add_edges_from((int(parent), t) for parent in parents)
        elif target is not None and target_parents == "markov_blanket":
            _reverse_into_sink(dag, t, known.forbidden)
        dags.append(nx.relabel_nodes(dag, dict(enumerate(edges.names))))
    return dags


def _check_sink(edges: EdgeProbabilities, known: Constraints, t: int, target_parents: str) -> None:
    target = edges.names[t]
    if known.required[t].any():
        effect = edges.names[int(np.flatnonzero(known.required[t])[0])]
        raise CausalMixError(
            f"The background knowledge requires {target} → {effect}, but target_parents="
            f"{target_parents!r} leaves no edge out of {target}. Use target_parents='free'."
        )
    useful = _useful_parents(edges, t)
    if useful.any() and known.forbidden[useful, t].all():
        raise CausalMixError(
            f"The background knowledge (its forbidden edges or tiers) forbids every edge into "
            f"{target}, and target_parents={target_parents!r} leaves none out of it: its labels "
            "would have nothing to do with the other columns. Use target_parents='free', or allow "
            f"causes of {target}."
        )


def _fixed_parents(
    edges: EdgeProbabilities, known: Constraints, t: int, target_parents: str
) -> np.ndarray:
    """Return the positions of the target's parents in every graph."""
    allowed = ~known.forbidden[:, t]
    adjacent = (edges.matrix[t] + edges.matrix[:, t] > 0) & allowed
    useful = (_useful_parents(edges, t) | known.required[:, t]) & allowed
    return np.flatnonzero(adjacent if target_parents == "adjacent" and adjacent.any() else useful)


def _useful_parents(edges: EdgeProbabilities, t: int) -> np.ndarray:
    """Say which nodes may tell of the label: not itself, nor those that identify the rows."""
    useful = np.array([name not in edges.identifiers for name in edges.names])
    useful[t] = False
    return useful


def _draw_dag(matrix: np.ndarray, required: np.ndarray, rng: np.random.Generator) -> nx.DiGraph:
    """Draw one DAG on the nodes 0..d−1."""
    d = len(matrix)
    upper = np.triu_indices(d, 1)
    forward, backward = matrix[upper], matrix.T[upper]
    draws = rng.random(len(forward))
    dag = nx.DiGraph()
    dag.add_nodes_from(range(d))
    reaches = np.eye(d, dtype=bool)  # reaches[i, j]: there is a path from i to j

    def add(i: int, j: int) -> None:
        dag.add_edge(i, j)
        reaches[:] |= np.outer(reaches[:, i], reaches[j])

    for i, j in np.argwhere(required).tolist():
        add(i, j)
    # The pairs that are joined, in random order: none is favoured where edges would close a cycle.
    for pair in rng.permutation(np.flatnonzero(draws < forward + backward)):
        i, j = int(upper[0][pair]), int(upper[1][pair])
        if draws[pair] >= forward[pair]:
            i, j = j, i
        if reaches[j, i]:
            i, j = j, i
        if matrix[i, j] > 0:
            add(i, j)
    return dag


def _reverse_into_sink(dag: nx.DiGraph, t: int, forbidden: np.ndarray) -> None:
    """Turn the arrows of `t` into its children round, adding the edges that arc reversal needs."""
    # In causal order, so that no other path leads from t to the child and no cycle is closed.
    for child in [node for node in nx.topological_sort(dag) if dag.has_edge(t, node)]:
        parents, co_parents = list(dag.predecessors(t)), set(dag.predecessors(child)) - {t}
        dag.remove_edge(t, child)
        dag.add_edges_from((parent, child) for parent in parents)
        dag.add_edges_from((node, t) for node in (child, *sorted(co_parents)))
    dag.remove_edges_from([edge for edge in dag.edges if forbidden[edge]])


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
        drawn = np.mean([nx.to_numpy_array(dag, edges.names, weight=None) for dag in dags], axis=0)
        parents = np.array([dag.in_degree(target) for dag in dags])
        distance = np.abs(drawn - edges.matrix)[pairs][off_diagonal]
        rows[name] = {
            "distortion": distance.mean() if distance.size else 0.0,
            "edges per graph": np.mean([dag.number_of_edges() for dag in dags]),
            "parents of the target": parents.mean(),
            "graphs without parents of the target": (parents == 0).mean(),
        }
    return pd.DataFrame.from_dict(rows, orient="index")
