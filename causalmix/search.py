"""PC and FCI on one bootstrap resample: causal-learn's rules on one shared skeleton."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from causallearn.graph.GeneralGraph import GeneralGraph
from causallearn.graph.GraphClass import CausalGraph
from causallearn.graph.GraphNode import GraphNode
from causallearn.search.ConstraintBased import FCI
from causallearn.utils.PCUtils import Meek, UCSepset
from causallearn.utils.PCUtils.SkeletonDiscovery import skeleton_discovery
from threadpoolctl import threadpool_limits

from causalmix.citest import DegenerateGaussian

# causal-learn stores the mark at i of the edge between i and j in graph[i, j].
TAIL, ARROW, CIRCLE = -1, 1, 2
MARKS = {
    "-->": (TAIL, ARROW),
    "o->": (CIRCLE, ARROW),
    "--o": (TAIL, CIRCLE),
    "---": (TAIL, TAIL),
    "o-o": (CIRCLE, CIRCLE),
    "<->": (ARROW, ARROW),
}


def complete(values: np.ndarray, categorical: np.ndarray) -> np.ndarray:
    """Return `values` with missing numbers replaced by the median (0 in an empty column)."""
    values = values.copy()
    for j in np.flatnonzero(~categorical & np.isnan(values).any(axis=0)):
        missing = np.isnan(values[:, j])
        values[missing, j] = 0.0 if missing.all() else np.median(values[~missing, j])
    return values


def search_bootstrap(
    values: np.ndarray,
    categorical: np.ndarray,
    algorithms: Sequence[str],
    alpha: float,
    max_conditioning: int,
    bootstrap: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Search one resample with each algorithm.

    Parameters
    ----------
    values : numpy.ndarray of shape (n_rows, d)
        The whole table as `causalmix.codec.TableCodec` codes it.
    categorical : numpy.ndarray of bool of shape (d,)
    algorithms : sequence of {"pc", "fci"}
    alpha, max_conditioning
        See `causalmix.discovery.discover`.
    bootstrap, seed : int
        The resample and the permutation of the columns depend on these two alone.

    Returns
    -------
    dict of str to numpy.ndarray of shape (d, d)
        Each algorithm's graph: the mark at i of the edge between i and j (`MARKS`), or 0.
    """
    rng = np.random.default_rng([seed, bootstrap])
    n, d = values.shape
    rows, order = rng.integers(n, size=n), rng.permutation(d)
    sample = complete(values[np.ix_(rows, order)], categorical[order])
    with threadpool_limits(1):  # the sums of several threads differ in their last bits
        test = DegenerateGaussian(sample, np.flatnonzero(categorical[order]), sample_size=n / 2)
        skeleton = skeleton_discovery(
            sample,
            alpha,
            test,
            show_progress=False,
            node_names=[_NodeName(f"{j:05d}") for j in range(d)],
            max_k=max_conditioning,
        )
        back = np.argsort(order)
        return {a: _ORIENT[a](skeleton, test, alpha)[np.ix_(back, back)] for a in algorithms}


class _NodeName(str):
    """A number as a name. Its hash is the number, so the order of sets of nodes is fixed."""

    __slots__ = ()

    def __hash__(self) -> int:
        return int(self)


class _Graph(GeneralGraph):
    """causal-learn's graph; the table of directed paths is updated by whole rows and columns."""

    def __init__(self, matrix: np.ndarray, names: Sequence[str]) -> None:
        super().__init__([GraphNode(name) for name in names])
        self.graph = matrix

    def adjust_dpath(self, i: int, j: int) -> None:
        self.dpath[j, i] = 1
        self.dpath[j] |= self.dpath[i]
        self.dpath[:, i] |= self.dpath[:, j]


def _orient_pc(skeleton: CausalGraph, test: DegenerateGaussian, alpha: float) -> np.ndarray:
    """Orient as causal-learn's `pc` does by default (existing colliders take priority)."""
    graph = CausalGraph(0)
    graph.G = _Graph(skeleton.G.graph.copy(), skeleton.G.get_node_names())
    graph.sepset = skeleton.sepset
    return Meek.meek(UCSepset.uc_sepset(graph, priority=2)).G.graph


def _orient_fci(skeleton: CausalGraph, test: DegenerateGaussian, alpha: float) -> np.ndarray:
    """Orient as causal-learn's `fci` does after its possible-d-sep stage."""
    adjacent = skeleton.G.graph != 0
    graph = _Graph(np.where(adjacent, CIRCLE, 0), skeleton.G.get_node_names())
    separators = {
        (int(i), int(j)): {k for found in skeleton.sepset[i, j] or () for k in found}
        for i, j in zip(*np.nonzero(~adjacent), strict=True)
        if i != j
    }
    FCI.rule0(graph, graph.get_nodes(), separators, None, False)
    changed = True
    while changed:  # ends: every change turns a circle into a tail or an arrowhead
        changed = FCI.rulesR1R2cycle(graph, None, False)
        changed = FCI.ruleR3(graph, separators, None, changed)
        if changed:
            changed = FCI.ruleR4B(graph, -1, test.data, test, alpha, separators, changed, None)
        changed = FCI.ruleR5(graph, changed)
        changed = FCI.ruleR6(graph, changed)
        changed = FCI.ruleR7(graph, changed)
        changed = FCI.rule8(graph, graph.get_nodes(), changed)
        changed = FCI.rule9(graph, graph.get_nodes(), changed)
        changed = FCI.rule10(graph, changed)
    return graph.graph


_ORIENT = {"pc": _orient_pc, "fci": _orient_fci}
ALGORITHMS = tuple(_ORIENT)
