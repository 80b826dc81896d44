"""The orientation rules of PC and FCI, as causal-learn has them, on a skeleton and knowledge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from causallearn.graph.Edge import Edge
from causallearn.graph.Endpoint import Endpoint
from causallearn.graph.GeneralGraph import GeneralGraph
from causallearn.graph.GraphClass import CausalGraph
from causallearn.graph.GraphNode import GraphNode
from causallearn.search.ConstraintBased import FCI
from causallearn.utils.PCUtils import Meek, UCSepset

from causalmix.discovery.edge_probabilities import ARROW, CIRCLE, TAIL
from causalmix.discovery.independence import IndependenceTest
from causalmix.discovery.knowledge import Constraints

_ENDPOINTS = {end.value: end for end in (Endpoint.TAIL, Endpoint.ARROW, Endpoint.CIRCLE)}


@dataclass(frozen=True)
class Skeleton:
    """Which columns are adjacent, and what separates the others.

    Attributes
    ----------
    adjacent : numpy.ndarray of bool of shape (d, d)
    separators : dict of (int, int) to set of int
        For each pair that is not adjacent, in both orders: the union of the sets that were found
        to separate it, as causal-learn keeps them.
    """

    adjacent: np.ndarray
    separators: dict[tuple[int, int], set[int]]


class _Node(GraphNode):
    """A column. Its hash is its position, so the order of sets of nodes is fixed."""

    def __init__(self, position: int) -> None:
        super().__init__(f"{position:05d}")
        self._position = position

    def __hash__(self) -> int:
        return self._position


class _Graph(GeneralGraph):
    """causal-learn's graph on a skeleton, for rules that ask for marks a million times.

    Lists of neighbours are in causal-learn's order, so the rules give what they give on its own
    graphs. Directed paths are searched when they are asked for: causal-learn keeps them up to date
    at every change, which costs most of its time, and misses some.
    """

    def __init__(self, adjacent: np.ndarray, mark: int) -> None:
        super().__init__([_Node(j) for j in range(len(adjacent))])
        self.graph = np.where(adjacent, mark, 0)

    def direct(self, edges: np.ndarray) -> None:
        """Set the edges i → j for which ``edges[i, j]``."""
        self.graph[edges], self.graph[edges.T] = TAIL, ARROW

    def adjust_dpath(self, i: int, j: int) -> None:
        pass

    def reconstitute_dpath(self, edges: list[Edge]) -> None:
        pass

    def is_ancestor_of(self, node1: GraphNode, node2: GraphNode) -> bool:
        children = (self.graph == TAIL) & (self.graph.T == ARROW)
        ancestors = np.arange(self.num_vars) == self.node_map[node2]
        grown = True
        while grown:
            parents = children[:, ancestors].any(axis=1) & ~ancestors
            grown = parents.any()
            ancestors |= parents
        return bool(ancestors[self.node_map[node1]])

    def remove_edge(self, edge: Edge) -> None:
        i, j = self.node_map[edge.node1], self.node_map[edge.node2]
        self.graph[i, j] = self.graph[j, i] = 0

    def get_edge(self, node1: GraphNode, node2: GraphNode) -> Edge | None:
        i, j = self.node_map[node1], self.node_map[node2]
        if not self.graph[i, j]:
            return None
        return Edge(node1, node2, _ENDPOINTS[self.graph[i, j]], _ENDPOINTS[self.graph[j, i]])

    def get_endpoint(self, node1: GraphNode, node2: GraphNode) -> Endpoint | None:
        """Return the mark at `node2`."""
        return _ENDPOINTS.get(self.graph[self.node_map[node2], self.node_map[node1]])

    def get_adjacent_nodes(self, node: GraphNode) -> list[GraphNode]:
        return [self.nodes[j] for j in np.flatnonzero(self.graph[self.node_map[node]])]

    def get_nodes_into(self, node: GraphNode, endpoint: Endpoint) -> list[GraphNode]:
        marks = self.graph[self.node_map[node]]
        return [self.nodes[j] for j in np.flatnonzero(marks == endpoint.value)]

    def get_nodes_out_of(self, node: GraphNode, endpoint: Endpoint) -> list[GraphNode]:
        marks = self.graph[:, self.node_map[node]]
        return [self.nodes[j] for j in np.flatnonzero(marks == endpoint.value)]


class _Pattern(CausalGraph):
    """causal-learn's graph of PC, which finds triples and kites by comparing all pairs of edges.

    They come in its order, on which the orientation of conflicting colliders depends.
    """

    def _triples(self, shielded: bool) -> list[tuple[int, int, int]]:
        edges = self.find_adj()
        near = _grouped(edges)
        return [
            (i, j, k)
            for i, j in edges
            for k in near[j]
            if k != i and (self.G.graph[i, k] != 0) == shielded
        ]

    def find_unshielded_triples(self) -> list[tuple[int, int, int]]:
        return self._triples(shielded=False)

    def find_triangles(self) -> list[tuple[int, int, int]]:
        return self._triples(shielded=True)

    def find_kites(self) -> list[tuple[int, int, int, int]]:
        triangles = self.find_triangles()
        middles = _grouped(((i, k), j) for i, j, k in triangles)
        return [
            (i, j, other, k)
            for i, j, k in triangles
            for other in middles[i, k]
            if j < other and self.G.graph[j, other] == 0
        ]


def _grouped(pairs: Iterable[tuple[Hashable, int]]) -> dict[Hashable, list[int]]:
    """Return the second of each pair by the first, in order."""
    groups = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return groups


def orient_pc(
    skeleton: Skeleton, test: IndependenceTest, alpha: float, known: Constraints
) -> np.ndarray:
    """Orient as causal-learn's `pc` does by default (existing colliders take priority).

    Returns
    -------
    numpy.ndarray of shape (d, d)
        The mark at i of the edge between i and j.
    """
    pattern = _Pattern(0)
    pattern.G = _Graph(skeleton.adjacent, TAIL)
    pattern.G.direct(skeleton.adjacent & known.forbidden.T & ~known.forbidden)
    pattern.sepset = np.empty(skeleton.adjacent.shape, dtype=object)
    for pair, separator in skeleton.separators.items():
        pattern.sepset[pair] = [tuple(separator)]
    return Meek.meek(UCSepset.uc_sepset(pattern, 2, known), known).G.graph


def orient_dag(dag: np.ndarray, known: Constraints) -> np.ndarray:
    """Return the marks that all graphs share which are equivalent to one and fit the knowledge.

    Parameters
    ----------
    dag : numpy.ndarray of bool of shape (d, d)
        Whether it has the edge i → j.
    known : Constraints
        That the graph fits.

    Returns
    -------
    numpy.ndarray of shape (d, d)
        The mark at i of the edge between i and j; tails at both ends where the direction is open.

    References
    ----------
    Meek (1995), "Causal inference and causal explanation with background knowledge", UAI: rules 1
    to 3 by causal-learn, and rule 4, which only knowledge makes necessary.
    """
    adjacent = dag | dag.T
    # i → j is part of a collider if another parent of j is not adjacent to i.
    strangers = (~adjacent & ~np.eye(len(dag), dtype=bool)).astype(int)
    colliders = dag & (strangers @ dag > 0)
    directed = colliders | dag & (known.forbidden.T | known.required)
    while True:
        pattern = _Pattern(0)
        pattern.G = _Graph(adjacent, TAIL)
        pattern.G.direct(directed)
        marks = Meek.meek(pattern, known).G.graph
        more = _rule4(marks)
        if not more.any():
            return marks
        directed = (marks == TAIL) & (marks.T == ARROW) | more


def _rule4(marks: np.ndarray) -> np.ndarray:
    """Open edges a - b to direct as a → b: a - c → d → b, a next to d, and c not next to b."""
    arrows, tails = (marks == TAIL) & (marks.T == ARROW), (marks == TAIL) & (marks.T == TAIL)
    apart = (marks == 0) & ~np.eye(len(marks), dtype=bool)
    found = np.zeros_like(tails)
    for a, b in np.argwhere(tails):
        c, d = tails[a] & apart[:, b], (marks[a] != 0) & arrows[:, b]
        found[a, b] = arrows[np.ix_(c, d)].any()
    return found


def orient_fci(
    skeleton: Skeleton, test: IndependenceTest, alpha: float, known: Constraints
) -> np.ndarray:
    """Orient as causal-learn's `fci` does after its possible-d-sep stage.

    Knowledge enters first: a column that may not cause another has an arrowhead there, which
    leaves latent confounding possible. The rules never change a mark but a circle, so it stays.

    Returns
    -------
    numpy.ndarray of shape (d, d)
        The mark at i of the edge between i and j.
    """
    graph = _Graph(skeleton.adjacent, CIRCLE)
    graph.graph = orient_colliders(skeleton, known)
    separators, data = skeleton.separators, np.empty((0, 0))  # the test has the data
    changed = True
    while changed:  # ends: every change turns a circle into a tail or an arrowhead
        changed = FCI.rulesR1R2cycle(graph, None, False)
        changed = FCI.ruleR3(graph, separators, None, changed)
        if changed:
            changed = FCI.ruleR4B(graph, -1, data, test, alpha, separators, changed, None)
        changed = FCI.ruleR5(graph, changed)
        changed = FCI.ruleR6(graph, changed)
        changed = FCI.ruleR7(graph, changed)
        changed = FCI.rule8(graph, graph.get_nodes(), changed)
        changed = FCI.rule9(graph, graph.get_nodes(), changed)
        changed = _rule10(graph.graph) or changed
    return graph.graph


def _rule10(graph: np.ndarray) -> bool:
    """Orient as `FCI.rule10` does, which searches every path anew for every pair of parents.

    A o→ C becomes A → C if there are parents B and D of C, and two neighbours of A that A may
    cause and that are not adjacent to each other, from which paths that may be directed lead to B
    and to D. Returns whether anything changed.
    """
    # The rule turns circles into tails at their own end, where a path may pass either: what is
    # reached does not change with it.
    step = (graph == TAIL) | (graph == CIRCLE)
    reached = step
    for _ in range(len(graph).bit_length()):
        reached = reached | (reached.astype(float) @ reached > 0)
    changed = False
    for c, a in np.argwhere((graph == ARROW) & (graph.T == CIRCLE)).tolist():
        parents = np.flatnonzero((graph[c] == ARROW) & (graph[:, c] == TAIL))
        # A set of numbers is in the same order as causal-learn's set of nodes.
        ways = list({j for j in np.flatnonzero(step[a]).tolist() if j != c})
        for one, two in combinations(ways, 2):
            first, second = reached[one, parents], reached[two, parents]
            # Of some pair of parents, the first is reached from one and the second from two.
            if not graph[one, two] and (first[:-1].cumsum() * second[1:]).any():
                graph[a, c] = TAIL
                changed = True
                break
    return changed


def orient_colliders(skeleton: Skeleton, known: Constraints) -> np.ndarray:
    """Return FCI's marks after knowledge and rule R0, circles where nothing is said.

    Rule R0: a — b — c is a collider, a *→ b ←* c, where a and c are separated without b.
    """
    graph = np.where(skeleton.adjacent, CIRCLE, 0)
    graph[skeleton.adjacent & known.forbidden] = ARROW
    graph[skeleton.adjacent & known.required] = TAIL
    for (a, c), separator in skeleton.separators.items():
        if a < c:
            for b in np.flatnonzero(skeleton.adjacent[a] & skeleton.adjacent[c]):
                if b not in separator and TAIL not in (graph[b, a], graph[b, c]):
                    graph[b, a] = graph[b, c] = ARROW
    return graph
