"""Completed partially directed acyclic graphs (CPDAGs): read, checked, discovered, and used.

A CPDAG is a networkx.DiGraph that has both edges between two nodes where the direction is open.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from causalmix.data.backing import numpy_backed
from causalmix.data.codec import TableCodec
from causalmix.data.columns import identifiers, listed
from causalmix.data.own_settings import own_settings
from causalmix.discovery.citest import DegenerateGaussian
from causalmix.discovery.edge_probabilities import ARROW, TAIL
from causalmix.discovery.graph_comparison import check_dag
from causalmix.discovery.knowledge import NO_KNOWLEDGE, BackgroundKnowledge, check_acyclic
from causalmix.discovery.orientation import orient_dag, orient_pc
from causalmix.discovery.search import complete
from causalmix.discovery.skeleton import search_skeleton
from causalmix.errors import DataError, check_range, naming, quoted

_MAX_CONDITIONING = 3  # columns in a conditioning set

_EDGE_LINE = re.compile(r"\d+\.\s+(.+)")
_EDGE_MARK = re.compile(r"\s([-<o]-[->o])\s+")


def read_cpdag(path: str | Path) -> nx.DiGraph:
    """Read a graph of directed and undirected edges.

    Parameters
    ----------
    path : str or Path
        Text as Tetrad and causal-learn write it: a line ``Graph Nodes:``, the names joined by
        semicolons, a line ``Graph Edges:``, and edges as ``1. a --> b`` and ``2. b --- c``. What
        Tetrad adds behind an edge is left out. Names may hold blanks.

    Returns
    -------
    networkx.DiGraph
        With both edges between two nodes for an undirected one. `check_cpdag` says whether it is a
        DAG or a CPDAG.

    Raises
    ------
    DataError
        If the file cannot be read as such, has an edge of another kind, or joins two nodes twice.
    """
    path = Path(path)
    advice = "Write it as causal-learn does: 'Graph Nodes:', names with ';', '1. a --> b'."
    with naming(path, "a graph in Tetrad's text format", advice, DataError):
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        graph = nx.DiGraph()
        graph.add_nodes_from(_names_in(lines))
        edges = [_edge_in(found[1], graph) for found in map(_EDGE_LINE.fullmatch, lines) if found]
    for source, mark, target in edges:
        edge = f"{source} {mark} {target}"
        if mark not in ("-->", "<--", "---"):
            raise DataError(
                f"{path}: the edge {edge} is of no DAG or CPDAG; their edges are --> and ---."
            )
        if graph.has_edge(source, target) or graph.has_edge(target, source):
            raise DataError(
                f"{path}: the edge {edge} joins two nodes that another edge joins; keep one."
            )
        if mark != "<--":
            graph.add_edge(source, target)
        if mark != "-->":
            graph.add_edge(target, source)
    return graph


def _names_in(lines: Sequence[str]) -> list[str]:
    """Return the names of the line behind the one that announces them."""
    behind = lines[lines.index("Graph Nodes:") + 1 :]
    names = next((line for line in behind if line), "").split(";")
    if names == [""] or "Graph Edges:" in names:
        raise ValueError("it names no nodes")
    return names


def _edge_in(text: str, names: Collection[str]) -> tuple[str, str, str]:
    """Return source, mark and target of an edge's line, without its number."""
    for mark in _EDGE_MARK.finditer(text):
        source, rest = text[: mark.start()], text[mark.end() :]
        words = rest.split(" ")
        behind = (" ".join(words[:n]) for n in range(len(words), 0, -1))
        target = next((name for name in behind if name in names), None)
        if source in names and target is not None:
            return source, mark[1], target
    raise ValueError(f"the edge '{text}' joins no two of its nodes")


def check_cpdag(graph: nx.DiGraph, names: Sequence[str]) -> None:
    """Check that a graph given by a user is a DAG or a CPDAG on all the columns of a table.

    A CPDAG is what is known of a DAG by the independences that it implies: the edges on which all
    DAGs with the same ones agree are directed, the others are not. So the undirected edges are
    directed without a new collider, and the graph must be the CPDAG of what comes out.

    Parameters
    ----------
    graph : networkx.DiGraph
        With both edges between two nodes for an undirected one. Without any it is a DAG.
    names : sequence of str
        The columns.

    Raises
    ------
    DataError
        If it is neither, with the edge that stands against it; if it lacks a node for a column or
        is no networkx.DiGraph.
    UnknownNameError
        If it has a node that is no column.

    References
    ----------
    Andersson, Madigan, Perlman (1997), "A characterization of Markov equivalence classes for
    acyclic digraphs", Annals of Statistics 25.
    """
    if not isinstance(graph, nx.DiGraph) or graph.is_multigraph():
        check_acyclic(graph)
    open_edges = _undirected(graph)
    directed = nx.DiGraph()
    directed.add_nodes_from(graph)
    directed.add_edges_from(edge for edge in graph.edges if edge not in open_edges.edges)
    check_dag(directed, names)
    if not open_edges.edges:
        return
    found = directed.copy()
    found.add_edges_from(_without_colliders(open_edges))
    if nx.is_directed_acyclic_graph(found):
        wanted = cpdag_of(found).edges
        wrong = next((e for e in graph.edges if e not in wanted), None)
        wrong = wrong or next((e for e in wanted if e not in graph.edges), None)
    else:
        wrong = next(e for e in nx.find_cycle(found) if e in open_edges.edges)
    if wrong is not None:
        cause, effect = wrong
        mark = "---" if wrong in open_edges.edges else "-->" if graph.has_edge(*wrong) else "<--"
        raise DataError(
            f"The graph is neither a DAG nor a CPDAG: the edge {quoted(cause)} {mark} "
            f"{quoted(effect)} is not as the other edges make it. Direct every edge, or give the "
            "CPDAG of a DAG (causalmix.discovery.cpdag.cpdag_of)."
        )


def cpdag_of(dag: nx.DiGraph) -> nx.DiGraph:
    """Return the CPDAG of a DAG: the edges on which all DAGs with its independences agree.

    Parameters
    ----------
    dag : networkx.DiGraph

    Returns
    -------
    networkx.DiGraph
        The same nodes, with both edges between two where the direction is open.

    Raises
    ------
    DataError
        If the graph has a cycle or is no networkx.DiGraph.
    """
    check_acyclic(dag)
    names = list(dag)
    edges = nx.to_numpy_array(dag, nodelist=names, weight=None) > 0
    return _with_edges(names, orient_dag(edges, NO_KNOWLEDGE.constraints(names)) == TAIL)


@own_settings()
def discover_cpdag(
    data: pd.DataFrame,
    *,
    alpha: float = 0.05,
    knowledge: BackgroundKnowledge | Mapping[str, Any] = NO_KNOWLEDGE,
) -> nx.DiGraph:
    """Search a table once by PC: one graph, not the probabilities of many.

    The test is the degenerate Gaussian one, for columns of both kinds. What PC finds in few rows
    need not be a CPDAG: directions that it contradicts itself on, or that make a cycle, are left
    open.

    Parameters
    ----------
    data : pandas.DataFrame
    alpha : float, default=0.05
        Level of the tests.
    knowledge : BackgroundKnowledge or mapping, optional

    Returns
    -------
    networkx.DiGraph
        On the columns, with both edges between two where the direction is open. Columns that
        identify the rows have none.

    Raises
    ------
    CausalMixError
        If `alpha` is not between 0 and 1.
    DataError
        If the table is empty, repeats a column, contains infinities or has no column but
        identifiers.
    """
    check_range(alpha, "(0, 1)", "alpha")
    data = numpy_backed(data)
    codec, names, identifying = TableCodec(data), list(data), identifiers(data)
    if len(identifying) == len(names):
        raise DataError(f"Every column identifies the rows: {listed(identifying)}. Give others.")
    searched = np.flatnonzero([name not in identifying for name in names])
    categorical = np.isin(searched, [names.index(name) for name in codec.categorical])
    values = complete(codec.encode(data).to_numpy()[:, searched], categorical)
    test = DegenerateGaussian(values, np.flatnonzero(categorical), squares=True)
    constraints = BackgroundKnowledge.read(knowledge).constraints(names)
    known = constraints.take(searched)
    skeleton = search_skeleton(test, known, alpha, _MAX_CONDITIONING)
    marks = orient_pc(skeleton, test, alpha, known)
    found = np.zeros((len(names), len(names)), dtype=bool)
    found[np.ix_(searched, searched)] = (marks == TAIL) | ((marks == ARROW) & (marks.T == ARROW))
    directed = nx.from_numpy_array(found & ~found.T, create_using=nx.DiGraph)
    for cycle in nx.strongly_connected_components(directed):
        within = np.ix_(list(cycle), list(cycle))
        found[within] |= found[within].T & ~constraints.forbidden[within]
    return _with_edges(names, found)


def conditioning_dag(cpdag: nx.DiGraph) -> nx.DiGraph:
    """Say what each column is drawn given, when rows are drawn column by column with a CPDAG.

    The rule is that of the paper and of its authors' program. A column with an undirected edge is
    given all columns before it, one with directed edges only its parents: none, if it is only a
    cause. A column without edges, of which the graph says nothing, is given all before it. First
    come the causes that have no parents themselves, those with undirected edges last; then the
    columns with parents, in causal order; then the others. Within these the order is that of the
    graph's nodes.

    Parameters
    ----------
    cpdag : networkx.DiGraph
        Without a cycle of directed edges.

    Returns
    -------
    networkx.DiGraph
        A DAG on the same nodes.

    References
    ----------
    Tugnoli, De Lorenzo, Virgolin, Cinà (2026), arXiv 2603.10254, and its program
    ``tabpfn-causal-synthetic`` (``_get_cpdag_original_ordering``).
    """
    undirected, place = _undirected(cpdag), {node: k for k, node in enumerate(cpdag)}
    directed = nx.DiGraph()
    directed.add_nodes_from(cpdag)
    directed.add_edges_from(edge for edge in cpdag.edges if edge not in undirected.edges)

    def stage(node: str) -> tuple[int, bool]:
        if directed.pred[node]:
            return 1, False
        return (0, bool(undirected.degree(node))) if directed.succ[node] else (2, False)

    causal = nx.lexicographical_topological_sort(directed, key=place.get)
    causal = {node: k for k, node in enumerate(causal)}
    order = sorted(
        cpdag, key=lambda node: (stage(node), (causal if directed.pred[node] else place)[node])
    )
    drawn = nx.DiGraph()
    drawn.add_nodes_from(cpdag)
    for k, node in enumerate(order):
        given_all = undirected.degree(node) or not directed.degree(node)
        drawn.add_edges_from(
            (cause, node) for cause in (order[:k] if given_all else directed.pred[node])
        )
    return drawn


def _undirected(graph: nx.DiGraph) -> nx.Graph:
    """Return the undirected edges, on all nodes."""
    pairs = ((a, b) for a, b in graph.edges if a != b and graph.has_edge(b, a))
    found = nx.Graph()
    found.add_nodes_from(graph)
    found.add_edges_from(pairs)
    return found


def _without_colliders(graph: nx.Graph) -> list[tuple[Hashable, Hashable]]:
    """Direct the edges so that the parents of a node are adjacent, if the graph is chordal.

    That is maximum cardinality search (Tarjan, Yannakakis 1984).
    """
    visited: list[Hashable] = []
    edges = []
    while left := [node for node in graph if node not in visited]:
        node = max(left, key=lambda each: sum(other in visited for other in graph[each]))
        edges += [(cause, node) for cause in visited if cause in graph[node]]
        visited.append(node)
    return edges


def _with_edges(names: Sequence[str], edges: np.ndarray) -> nx.DiGraph:
    """Return the graph with the edges i → j for which ``edges[i, j]``."""
    graph = nx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from((names[i], names[j]) for i, j in np.argwhere(edges))
    return graph
