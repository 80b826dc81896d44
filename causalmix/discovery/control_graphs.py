"""Graphs to hold discovered ones against: whatever these do as well owes nothing to the search."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations

import networkx as nx
import numpy as np

from causalmix.errors import check_name

GRAPHS = ("discovered", "empty", "shuffled", "random", "complete")


def control_dag(
    dag: nx.DiGraph,
    graph: str,
    rng: np.random.Generator,
    *,
    target: str,
    moved: bool = False,
    apart: Collection[str] = (),
) -> nx.DiGraph:
    """Return a graph on the nodes of a discovered one that knows less of it, or nothing.

    - ``"discovered"``: the graph itself.
    - ``"empty"``: no edges but those into the target.
    - ``"shuffled"``: the names of the nodes permuted.
    - ``"random"``: as many edges, drawn evenly among all that agree with a random order of the
      nodes.
    - ``"complete"``: an edge from every node to all that follow it in a random order.

    Unless the target is `moved`, its edges stay as they are, and the control is about the edges
    among the other nodes.

    Parameters
    ----------
    dag : networkx.DiGraph
    graph : {"discovered", "empty", "shuffled", "random", "complete"}
    rng : numpy.random.Generator
    target : str
        One of the nodes.
    moved : bool, default=False
        Whether the target gets a place of its own too, a sink with a parent wherever there is an
        edge. Its name is given to a random sink of `dag` that has parents (``"shuffled"``), it is
        last in the order, one parent drawn first (``"random"``), or has those before it in the
        order for parents, one at least (``"complete"``). An empty graph leaves it where it is.
    apart : collection of str, default=()
        Nodes without edges in `dag`, which stay so.

    Returns
    -------
    networkx.DiGraph
        With the nodes in the same order.

    Raises
    ------
    UnknownNameError
        If `graph` is unknown.
    """
    check_name(graph, GRAPHS, "graph")
    if graph == "discovered":
        return dag
    others = [node for node in dag if node != target and node not in apart]
    order = [others[k] for k in rng.permutation(len(others))]
    control = nx.DiGraph()
    control.add_nodes_from(dag)
    if graph == "empty":
        control.add_edges_from(dag.in_edges(target))
    elif graph == "shuffled":
        place = _random_sink(dag, rng, target) if moved else target
        rest = [node for node in (*others, target) if node != place]
        names = {place: target, **dict(zip(rest, order, strict=True))}
        control.add_edges_from((names[cause], names[effect]) for cause, effect in dag.edges)
    elif graph == "random":
        control.add_edges_from(_random_edges(dag, order, rng, target, moved))
    else:
        n_parents = rng.integers(len(order)) + 1 if order else 0
        parents = order[:n_parents] if moved else dag.predecessors(target)
        control.add_edges_from((parent, target) for parent in parents)
        control.add_edges_from(combinations(order, 2))
    return control


def _random_sink(dag: nx.DiGraph, rng: np.random.Generator, target: str) -> str:
    """Draw a node that has parents and no children; the target where there is none."""
    sinks = [node for node in dag if dag.in_degree(node) and not dag.out_degree(node)]
    return sinks[rng.integers(len(sinks))] if sinks else target


def _random_edges(
    dag: nx.DiGraph, order: Sequence[str], rng: np.random.Generator, target: str, moved: bool
) -> list[tuple[str, str]]:
    """Draw as many edges as `dag` has, along the order of the nodes but the target."""
    kept = list(dag.in_edges(target))
    if moved:
        kept = [(order[rng.integers(len(order))], target)] if dag.number_of_edges() else []
        order = [*order, target]
    possible = [pair for pair in combinations(order, 2) if pair not in kept]
    n_drawn = dag.number_of_edges() - len(kept)
    return kept + [possible[k] for k in rng.choice(len(possible), n_drawn, replace=False)]


def n_changed_edges(dag: nx.DiGraph, other: nx.DiGraph) -> int:
    """Count the edges that one of two graphs has and the other lacks; a reversed one counts twice.

    Parameters
    ----------
    dag, other : networkx.DiGraph

    Returns
    -------
    int
    """
    return len(set(dag.edges) ^ set(other.edges))
