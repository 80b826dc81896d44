"""PC and FCI on one bootstrap resample: causal-learn's rules on one shared skeleton."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from causallearn.graph.GeneralGraph import GeneralGraph
from causallearn.graph.GraphClass import CausalGraph
from causallearn.graph.GraphNode import GraphNode
from causallearn.search.ConstraintBased import FCI
from causallearn.utils.PCUtils import Meek, UCSepset
from threadpoolctl import threadpool_limits

from causalmix.citest import DEGENERATE_GAUSSIAN
from causalmix.edge_probabilities import CIRCLE, TAIL
from causalmix.independence import IndependenceTest, draw_rows, make_test


def complete(values: np.ndarray, categorical: np.ndarray) -> np.ndarray:
    """Return `values` with missing numbers replaced by the median (0 in an empty column)."""
    values = values.copy()
    for j in np.flatnonzero(~categorical & np.isnan(values).any(axis=0)):
        missing = np.isnan(values[:, j])
        values[missing, j] = 0.0 if missing.all() else np.median(values[~missing, j])
    return values


@dataclass(frozen=True)
class SearchOptions:
    """How every resample is searched; see `causalmix.discovery.discover`."""

    algorithms: tuple[str, ...] = ("pc", "fci")
    test: str = DEGENERATE_GAUSSIAN
    alpha: float = 0.05
    max_conditioning: int = 2


def search_bootstrap(
    values: np.ndarray, categorical: np.ndarray, options: SearchOptions, bootstrap: int, seed: int
) -> dict[str, np.ndarray]:
    """Search one resample with each algorithm.

    Parameters
    ----------
    values : numpy.ndarray of shape (n_rows, d)
        The whole table as `causalmix.codec.TableCodec` codes it.
    categorical : numpy.ndarray of bool of shape (d,)
    options : SearchOptions
    bootstrap, seed : int
        The resample and the permutation of the columns depend on these two alone.

    Returns
    -------
    dict of str to numpy.ndarray of shape (d, d)
        Each algorithm's graph: the mark at i of the edge between i and j
        (`causalmix.edge_probabilities.MARKS`), or 0.
    """
    rng = np.random.default_rng([seed, bootstrap])
    n, d = values.shape
    rows, order = draw_rows(options.test, n, rng), rng.permutation(d)
    sample = complete(values[np.ix_(rows, order)], categorical[order])
    with threadpool_limits(1):  # the sums of several threads differ in their last bits
        test = make_test(options.test, sample, categorical[order])
        skeleton = search_skeleton(test, d, options.alpha, options.max_conditioning)
        back = np.argsort(order)
        return {
            algorithm: _ORIENT[algorithm](skeleton, test, options.alpha)[np.ix_(back, back)]
            for algorithm in options.algorithms
        }


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


def search_skeleton(
    test: IndependenceTest, d: int, alpha: float, max_conditioning: int
) -> Skeleton:
    """Search the skeleton as causal-learn's stable `skeleton_discovery` does, only faster.

    Edges leave after all conditioning sets of one size have been tried, so that the result does
    not depend on the order of the tests.
    """
    adjacent = ~np.eye(d, dtype=bool)
    separators: dict[tuple[int, int], set[int]] = {}
    for size in range(max_conditioning + 1):
        found: dict[tuple[int, int], set[int]] = {}
        for x in range(d):
            near = [int(j) for j in np.flatnonzero(adjacent[x])]
            for y in near:
                others = [j for j in near if j != y]
                sets = [
                    s
                    for s in combinations(others, size)
                    if test(x, y, s) > alpha
                    and not (test.determines(s, x) or test.determines(s, y))
                ]
                if sets:
                    both = found.setdefault((min(x, y), max(x, y)), set())
                    both.update(*sets)
        for (x, y), separator in found.items():
            adjacent[x, y] = adjacent[y, x] = False
            separators[x, y] = separators[y, x] = separator
    return Skeleton(adjacent, separators)


def separates(test: IndependenceTest, x: int, y: int, given: Sequence[int], alpha: float) -> bool:
    """Say whether x and y are independent given others that determine neither.

    Given what determines it, a column is independent of everything: without this exception, copies
    of a column and the terms of an exact sum would lose their edges to all others.
    """
    independent = test(x, y, given) > alpha
    return independent and not (test.determines(given, x) or test.determines(given, y))


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


def _orient_pc(skeleton: Skeleton, test: IndependenceTest, alpha: float) -> np.ndarray:
    """Orient as causal-learn's `pc` does by default (existing colliders take priority)."""
    pattern = CausalGraph(0)
    pattern.G = _Graph(skeleton.adjacent, TAIL)
    pattern.sepset = np.empty(skeleton.adjacent.shape, dtype=object)
    for pair, separator in skeleton.separators.items():
        pattern.sepset[pair] = [tuple(separator)]
    return Meek.meek(UCSepset.uc_sepset(pattern, priority=2)).G.graph


def _orient_fci(skeleton: Skeleton, test: IndependenceTest, alpha: float) -> np.ndarray:
    """Orient as causal-learn's `fci` does after its possible-d-sep stage."""
    graph = _Graph(skeleton.adjacent, CIRCLE)
    separators, data = skeleton.separators, np.empty((0, 0))  # the test has the data
    FCI.rule0(graph, graph.get_nodes(), separators, None, False)
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


_ORIENT = {"pc": _orient_pc, "fci": _orient_fci}
ALGORITHMS = tuple(_ORIENT)
