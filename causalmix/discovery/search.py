"""One resample searched by every algorithm: a shared skeleton, then each one's orientation."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from causalmix.discovery.independence import IndependenceTest, draw_rows, make_test
from causalmix.discovery.knowledge import Constraints
from causalmix.discovery.options import DiscoveryOptions
from causalmix.discovery.orientation import orient_fci, orient_pc
from causalmix.discovery.possible_dsep import OutOfTimeError, remove_by_possible_dsep
from causalmix.discovery.score_search import search_orders
from causalmix.discovery.skeleton import search_skeleton


def complete(values: np.ndarray, categorical: np.ndarray) -> np.ndarray:
    """Return `values` with missing numbers replaced by the median (0 in an empty column)."""
    values = values.copy()
    for j in np.flatnonzero(~categorical & np.isnan(values).any(axis=0)):
        missing = np.isnan(values[:, j])
        values[missing, j] = 0.0 if missing.all() else np.median(values[~missing, j])
    return values


@dataclass(frozen=True)
class Findings:
    """What the algorithms found in one resample.

    Attributes
    ----------
    graphs : dict of str to numpy.ndarray of shape (d, d)
        Each algorithm's graph: the mark at i of the edge between i and j
        (`causalmix.discovery.edge_probabilities.MARKS`), or 0.
    timed_out : set of str
        Algorithms that had not the time to end: the graph of ``"bounded_fci"`` is that of
        ``"fci"``, that of ``"boss"`` the best so far.
    """

    graphs: dict[str, np.ndarray]
    timed_out: set[str]


def search_bootstrap(
    values: np.ndarray,
    categorical: np.ndarray,
    known: Constraints,
    options: DiscoveryOptions,
    bootstrap: int,
    deadline: float = math.inf,
    end: float = math.inf,
) -> Findings:
    """Search one resample with each algorithm.

    Parameters
    ----------
    values : numpy.ndarray of shape (n_rows, d)
        The whole table as `causalmix.data.codec.TableCodec` codes it.
    categorical : numpy.ndarray of bool of shape (d,)
    known : Constraints
        On the same columns.
    options : DiscoveryOptions
    bootstrap : int
        The resample and the permutation of the columns depend on it and the options' seed alone.
    deadline : float, optional
        Of the search for the skeleton, on the clock of `time.monotonic`.
    end : float, optional
        Of BOSS and of the search for sets that bound FCI, where their own seconds end later.

    Returns
    -------
    Findings

    Raises
    ------
    OutOfTimeError
        If the skeleton is not found before the deadline.
    """
    rng = np.random.default_rng([options.seed, bootstrap])
    n, d = values.shape
    rows, order = draw_rows(options.test, n, rng), rng.permutation(d)
    sample = complete(values[np.ix_(rows, order)], categorical[order])
    with threadpool_limits(1):  # the sums of several threads differ in their last bits
        test = make_test(options.test, sample, categorical[order])
        known = known.take(order)
        graphs, late = _search_by_tests(test, known, options, deadline, end)
        timed_out = {"bounded_fci"} if late else set()
        if "boss" in options.algorithms:
            boss_end = min(time.monotonic() + options.boss_seconds, end)
            graphs["boss"], ended = search_orders(test, known, rng, boss_end)
            timed_out |= set() if ended else {"boss"}
        back = np.ix_(np.argsort(order), np.argsort(order))
        return Findings({name: graphs[name][back] for name in options.algorithms}, timed_out)


def _search_by_tests(
    test: IndependenceTest,
    known: Constraints,
    options: DiscoveryOptions,
    deadline: float,
    end: float,
) -> tuple[dict[str, np.ndarray], bool]:
    """Return the graphs of PC and FCI, and whether there was no time to bound FCI's."""
    algorithms = [name for name in options.algorithms if name != "boss"]
    if not algorithms:
        return {}, False
    skeleton = search_skeleton(test, known, options.alpha, options.max_conditioning, deadline)
    starts, late = dict.fromkeys(algorithms, skeleton), False
    if "bounded_fci" in algorithms:
        deadline = min(time.monotonic() + options.possible_dsep_seconds, end)
        try:
            starts["bounded_fci"] = remove_by_possible_dsep(
                skeleton, test, options.alpha, known, options.max_conditioning, deadline
            )
        except OutOfTimeError:
            late = True
    graphs = {
        name: (orient_pc if name == "pc" else orient_fci)(start, test, options.alpha, known)
        for name, start in starts.items()
    }
    return graphs, late
