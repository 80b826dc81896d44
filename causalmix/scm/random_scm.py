"""Random structural causal models of mixed columns: tables whose graph is known."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd

from causalmix.errors import check_seed, check_whole

_CURVES = (np.tanh, np.sin, np.square, np.abs, lambda x: np.maximum(x, 0.0))
_NOISES = ("normal", "laplace", "uniform", "logistic")
_MEAN_DEGREE = 3.0  # expected neighbours of a column
_CATEGORICAL_SHARE = 0.4  # of the columns, expected
_CURVED_SHARE = 0.5  # of the effects of numeric parents, expected


def random_dag(n_nodes: int, mean_degree: float, rng: np.random.Generator) -> nx.DiGraph:
    """Draw a DAG in which every pair of nodes is joined with the same probability.

    Parameters
    ----------
    n_nodes : int
    mean_degree : float
        Expected neighbours of a node.
    rng : numpy.random.Generator

    Returns
    -------
    networkx.DiGraph
        Nodes ``x0``, ``x1``, ... whose numbers say nothing about their causal order.
    """
    joined = rng.random((n_nodes, n_nodes)) < mean_degree / max(n_nodes - 1, 1)
    order = [f"x{i}" for i in rng.permutation(n_nodes)]
    dag = nx.DiGraph()
    dag.add_nodes_from(f"x{i}" for i in range(n_nodes))
    edges = zip(*np.nonzero(np.triu(joined, 1)), strict=True)
    dag.add_edges_from((order[i], order[j]) for i, j in edges)
    return dag


def random_scm_table(n_nodes: int, n_rows: int, seed: int) -> tuple[pd.DataFrame, nx.DiGraph]:
    """Draw a random structural causal model and rows from it.

    A numeric column is the sum of one effect for each parent and noise (normal, Laplace, uniform or
    logistic), which make up shares of its variance: 30 to 80 % are the parents', of which none
    weighs more than twice as much as another. Half of the effects of numeric parents are linear,
    half a curve (tanh, sine, square, absolute value or rectifier of twice the parent's deviations);
    that of a categorical one is a random number for each level. Two in five columns are
    categorical: they have 2 to 5 levels without order, a sum like that for each of them, and take
    the level with the largest.

    Parameters
    ----------
    n_nodes : int
        Columns.
    n_rows : int
    seed : int
        Determines everything, with `n_nodes` the graph.

    Returns
    -------
    frame : pandas.DataFrame of shape (n_rows, n_nodes)
        Columns of dtype float64 and ``category``.
    dag : networkx.DiGraph
        On its columns.
    """
    check_whole(n_nodes, 1, "n_nodes")
    check_whole(n_rows, 1, "n_rows")
    rng = np.random.default_rng([check_seed(seed), n_nodes])
    dag = random_dag(n_nodes, _MEAN_DEGREE, rng)
    columns: dict[str, pd.Series] = {}
    for node in nx.topological_sort(dag):
        n_levels = int(rng.integers(2, 6)) if rng.random() < _CATEGORICAL_SHARE else 1
        explained = rng.uniform(0.3, 0.8)
        weights = {parent: rng.uniform(0.5, 1.0) for parent in dag.predecessors(node)}
        curves = {parent: rng.random() < _CURVED_SHARE for parent in weights}
        sums = np.zeros((n_rows, n_levels))
        for parent, weight in weights.items():
            effects = [_effect(columns[parent], curves[parent], rng) for _ in range(n_levels)]
            sums += weight * np.stack(effects, axis=1)
        sums = np.sqrt(explained) * _standardised(sums)
        sums += np.sqrt(1 - explained if weights else 1.0) * _noise(sums.shape, rng)
        if n_levels == 1:
            columns[node] = pd.Series(sums[:, 0])
        else:
            levels = pd.Index([f"c{i}" for i in range(n_levels)])
            codes = (sums + rng.normal(scale=0.3, size=n_levels)).argmax(axis=1)
            columns[node] = pd.Series(pd.Categorical.from_codes(codes, levels))
    return pd.DataFrame({name: columns[name] for name in dag}), dag


def _effect(parent: pd.Series, curved: bool, rng: np.random.Generator) -> np.ndarray:
    """Return what a parent adds, of variance 1 unless it is constant."""
    if isinstance(parent.dtype, pd.CategoricalDtype):
        values = rng.normal(size=len(parent.cat.categories))[parent.cat.codes]
    elif curved:
        values = _CURVES[rng.integers(len(_CURVES))](2 * _standardised(parent.to_numpy()))
    else:
        values = parent.to_numpy()
    return rng.choice([-1, 1]) * _standardised(values)


def _noise(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return _standardised(getattr(rng, _NOISES[rng.integers(len(_NOISES))])(size=shape))


def _standardised(values: np.ndarray) -> np.ndarray:
    spread = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
