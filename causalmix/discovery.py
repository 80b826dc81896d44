"""Causal discovery: PC and FCI over bootstrap resamples, edge probabilities, sampled DAGs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from causalmix.citest import DegenerateGaussian
from causalmix.codec import TableCodec
from causalmix.errors import CausalMixError, DataError, check_name
from causalmix.search import ALGORITHMS, MARKS, complete, search_bootstrap

TARGET_PARENTS = ("adjacent", "all")

# What an edge mark contributes to P(source → target) and to P(target → source). An arrowhead at
# the target alone ("o->") rules out the reverse and leaves latent confounding possible. Strictly,
# "<->" says that neither causes the other; it counts here because it is most of what FCI finds on
# real tables, and rows generated without it lose the dependence that it stands for.
MARK_WEIGHTS: Mapping[str, tuple[float, float]] = {
    "-->": (1.0, 0.0),
    "o->": (0.75, 0.0),
    "--o": (0.75, 0.25),
    "---": (0.5, 0.5),
    "o-o": (0.5, 0.5),
    "<->": (0.5, 0.5),
}


@dataclass(frozen=True)
class EdgeProbabilities:
    """How probable every directed edge is, and the findings behind it.

    Attributes
    ----------
    names : tuple of str
        The d columns, in the order of the matrix.
    matrix : numpy.ndarray of shape (d, d)
        ``matrix[i, j]`` is P(i → j) in [0, 1]. The diagonal is 0 and
        ``matrix[i, j] + matrix[j, i]``, the probability of an edge between the two, at most 1.
    marks : pandas.DataFrame
        One row for each algorithm, pair and mark that was found: algorithm, source, target, mark
        (a key of `MARK_WEIGHTS`), frequency (share of the algorithm's bootstraps). Symmetric
        marks name the pair once, in the order of `names`.
    """

    names: tuple[str, ...]
    matrix: np.ndarray
    marks: pd.DataFrame

    def __post_init__(self) -> None:
        d = len(self.names)
        if self.matrix.shape != (d, d):
            raise CausalMixError(f"The matrix is {self.matrix.shape}, but there are {d} names.")
        adjacent = self.matrix + self.matrix.T
        if (self.matrix < 0).any() or (adjacent > 1 + 1e-9).any() or self.matrix.diagonal().any():
            raise CausalMixError(
                "Edge probabilities must be at least 0, 0 on the diagonal, and at most 1 in sum "
                "over the two directions of a pair."
            )


def discover(
    data: pd.DataFrame,
    *,
    algorithms: Sequence[str] = ALGORITHMS,
    n_bootstraps: int = 20,
    alpha: float = 0.05,
    max_conditioning: int = 2,
    max_columns: int = 100,
    target: str | None = None,
    mark_weights: Mapping[str, tuple[float, float]] = MARK_WEIGHTS,
    seed: int = 0,
    n_jobs: int = 1,
    progress: bool = False,
) -> EdgeProbabilities:
    """Estimate how probable every directed edge is, by PC and FCI on bootstrap resamples.

    Each bootstrap draws rows with replacement, permutes the columns (the algorithms depend on
    their order), and searches one skeleton with the degenerate-Gaussian test, from which both
    algorithms orient the edges with causal-learn's rules. The n resampled rows are tested as n/2:
    their statistics vary twice as much as those of fresh rows, and tested as n, columns without
    any relation would be joined several times too often.

    - ``"pc"``: stable PC; unshielded colliders, then Meek's rules.
    - ``"fci"``: FCI without its possible-d-sep stage, whose cost no setting of causal-learn
      bounds; its adjacencies are therefore PC's, and an edge may remain that only a larger
      separating set would remove. Rules R0 to R10 orient.

    In both, conditioning sets have at most `max_conditioning` columns (anytime FCI; Spirtes 2001).
    The result depends on the data, the options and `seed` alone, not on `n_jobs`.

    Parameters
    ----------
    data : pandas.DataFrame of shape (n_rows, d)
        Numeric columns, and columns of any other type as categories. A missing number becomes the
        median of its column in the bootstrap, a missing category a level of its own.
    algorithms : sequence of {"pc", "fci"}, default=("pc", "fci")
        Averaged with equal weight.
    n_bootstraps : int, default=20
        Resamples; each runs every algorithm.
    alpha : float, default=0.05
        Level of the independence tests.
    max_conditioning : int, default=2
        Largest conditioning set, in columns.
    max_columns : int, default=100
        In a wider table only this many columns are searched: those most dependent on `target`, or
        on any other column if there is no target. The others get no edges, and a warning says so.
    target : str, optional
        Column that is always searched; it has no other effect.
    mark_weights : mapping of str to (float, float), default=MARK_WEIGHTS
        What each mark adds to P(source → target) and P(target → source).
    seed : int, default=0
    n_jobs : int, default=1
        Worker processes, each with one BLAS thread.
    progress : bool, default=False
        Show a progress bar.

    Returns
    -------
    EdgeProbabilities

    Raises
    ------
    DataError
        If the table is empty, repeats a column, contains infinities or lacks `target`.
    UnknownNameError
        If an algorithm or a mark is unknown.
    CausalMixError
        If `alpha`, `n_bootstraps` or a weight is out of its range.
    """
    _check_options(algorithms, n_bootstraps, alpha, mark_weights)
    codec = TableCodec(data)
    if target is not None and target not in data:
        raise DataError(f"The table has no column {target!r}; it has {', '.join(map(str, data))}.")
    names = tuple(data.columns)
    values = codec.encode(data).to_numpy()
    categorical = np.isin(names, codec.categorical)
    searched = _screen(values, categorical, names, target, max_columns)

    jobs = (
        delayed(search_bootstrap)(
            values[:, searched], categorical[searched], algorithms, alpha, max_conditioning, b, seed
        )
        for b in range(n_bootstraps)
    )
    with parallel_config("loky", n_jobs=n_jobs, inner_max_num_threads=1):
        done = Parallel(return_as="generator")(jobs)
        graphs = list(tqdm(done, "bootstraps", n_bootstraps, disable=not progress))

    frequency = {
        (algorithm, mark): _frequency([g[algorithm] for g in graphs], mark, searched, len(names))
        for algorithm in algorithms
        for mark in MARKS
    }
    matrix = sum(
        (mark_weights[mark][0] * share + mark_weights[mark][1] * share.T) / len(algorithms)
        for (_, mark), share in frequency.items()
    )
    return EdgeProbabilities(names, matrix, _tidy(frequency, names))


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


def _check_options(
    algorithms: Sequence[str],
    n_bootstraps: int,
    alpha: float,
    mark_weights: Mapping[str, tuple[float, float]],
) -> None:
    for algorithm in algorithms:
        check_name(algorithm, ALGORITHMS, "discovery algorithm")
    if not algorithms:
        raise CausalMixError(f"No discovery algorithm given. Valid: {', '.join(ALGORITHMS)}.")
    if not 0 < alpha < 1:
        raise CausalMixError(f"alpha is {alpha}; a test level lies between 0 and 1.")
    if n_bootstraps < 1:
        raise CausalMixError(f"n_bootstraps is {n_bootstraps}; at least 1 is needed.")
    for mark in mark_weights:
        check_name(mark, MARKS, "edge mark")
    for mark in MARKS:
        forward, backward = mark_weights.get(mark, (-1, -1))
        if min(forward, backward) < 0 or forward + backward > 1:
            raise CausalMixError(
                f"mark_weights needs two weights for {mark!r}, neither negative, with a sum of "
                f"at most 1; got {mark_weights.get(mark)}."
            )


def _screen(
    values: np.ndarray,
    categorical: np.ndarray,
    names: Sequence[str],
    target: str | None,
    max_columns: int,
) -> np.ndarray:
    """Return the positions of the columns to search, in order."""
    d = len(names)
    if d <= max_columns:
        return np.arange(d)
    test = DegenerateGaussian(complete(values, categorical), np.flatnonzero(categorical))
    rivals = range(d) if target is None else [names.index(target)]
    strength = [
        np.inf if names[j] == target else max(_dependence(test, i, j) for i in rivals if i != j)
        for j in range(d)
    ]
    kept = np.sort(np.argsort(strength, kind="stable")[-max_columns:])
    warnings.warn(
        f"The table has {d} columns; discovery searches the {max_columns} most dependent on "
        f"{'each other' if target is None else repr(target)} and leaves the others without edges "
        "(max_columns).",
        stacklevel=3,
    )
    return kept


def _dependence(test: DegenerateGaussian, i: int, j: int) -> float:
    statistic, df = test.statistic(i, j)
    return statistic - df  # the statistic's mean under independence is df


def _frequency(graphs: Sequence[np.ndarray], mark: str, searched: np.ndarray, d: int) -> np.ndarray:
    """Return the share (d, d) of graphs in which i and j are joined by `mark` from i to j."""
    at_source, at_target = MARKS[mark]
    found = np.mean([(g == at_source) & (at_target == g.T) for g in graphs], axis=0)
    if at_source == at_target:
        found = np.triu(found)
    share = np.zeros((d, d))
    share[np.ix_(searched, searched)] = found
    return share


def _tidy(frequency: dict[tuple[str, str], np.ndarray], names: Sequence[str]) -> pd.DataFrame:
    rows = [
        (algorithm, names[i], names[j], mark, share[i, j])
        for (algorithm, mark), share in frequency.items()
        for i, j in zip(*np.nonzero(share), strict=True)
    ]
    return pd.DataFrame(rows, columns=["algorithm", "source", "target", "mark", "frequency"])


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
