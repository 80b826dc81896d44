"""The orientation rules of PC and FCI, as causal-learn has them, on a skeleton and knowledge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from causallearn.graph.GeneralGraph import GeneralGraph
from causallearn.graph.GraphClass import CausalGraph
from causallearn.graph.GraphNode import GraphNode
from causallearn.search.ConstraintBased import FCI
from causallearn.utils.PCUtils import Meek, UCSepset

from causalmix.edge_probabilities import ARROW, CIRCLE, TAIL
from causalmix.independence import IndependenceTest
from causalmix.knowledge import Constraints


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


class _NodeName(str):
    """A number as a name. Its hash is the number, so the order of sets of nodes is fixed."""

    __slots__ = ()

    def __hash__(self) -> int:
        return int(self)


class _Graph(GeneralGraph):
    """causal-learn's graph on a skeleton; directed paths are kept by whole rows and columns."""

    def __init__(self, adjacent: np.ndarray, mark: int) -> None:
        super().__init__([GraphNode(_NodeName(f"{j:05d}")) for j in range(len(adjacent))])
        self.graph = np.where(adjacent, mark, 0)

    def adjust_dpath(self, i: int, j: int) -> None:
        self.dpath[j, i] = 1
        self.dpath[j] |= self.dpath[i]
        self.dpath[:, i] |= self.dpath[:, j]

    def direct(self, edges: np.ndarray) -> None:
        """Set the edges i → j for which ``edges[i, j]``."""
        for i, j in zip(*np.nonzero(edges), strict=True):
            self.add_directed_edge(self.nodes[i], self.nodes[j])


def orient_pc(
    skeleton: Skeleton, test: IndependenceTest, alpha: float, known: Constraints
) -> np.ndarray:
    """Orient as causal-learn's `pc` does by default (existing colliders take priority).

    Returns
    -------
    numpy.ndarray of shape (d, d)
        The mark at i of the edge between i and j.
    """
    pattern = CausalGraph(0)
    pattern.G = _Graph(skeleton.adjacent, TAIL)
    pattern.G.direct(skeleton.adjacent & known.forbidden.T & ~known.forbidden)
    pattern.sepset = np.empty(skeleton.adjacent.shape, dtype=object)
    for pair, separator in skeleton.separators.items():
        pattern.sepset[pair] = [tuple(separator)]
    return Meek.meek(UCSepset.uc_sepset(pattern, 2, known), known).G.graph


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
    graph.direct(skeleton.adjacent & known.required)
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
        changed = FCI.rule10(graph, changed)
    return graph.graph


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
