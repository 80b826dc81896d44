"""One resample searched by every algorithm: a shared skeleton, then each one's orientation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from threadpoolctl import threadpool_limits

from causalmix.citest import DEGENERATE_GAUSSIAN
from causalmix.independence import IndependenceTest, draw_rows, make_test
from causalmix.knowledge import Constraints
from causalmix.orientation import Skeleton, orient_fci, orient_pc

_ORIENT = {"pc": orient_pc, "fci": orient_fci}
ALGORITHMS = tuple(_ORIENT)


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
    values: np.ndarray,
    categorical: np.ndarray,
    known: Constraints,
    options: SearchOptions,
    bootstrap: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Search one resample with each algorithm.

    Parameters
    ----------
    values : numpy.ndarray of shape (n_rows, d)
        The whole table as `causalmix.codec.TableCodec` codes it.
    categorical : numpy.ndarray of bool of shape (d,)
    known : Constraints
        On the same columns.
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
        known = known.take(order)
        skeleton = search_skeleton(test, known, options.alpha, options.max_conditioning)
        back = np.ix_(np.argsort(order), np.argsort(order))
        return {
            algorithm: _ORIENT[algorithm](skeleton, test, options.alpha, known)[back]
            for algorithm in options.algorithms
        }


def search_skeleton(
    test: IndependenceTest, known: Constraints, alpha: float, max_conditioning: int
) -> Skeleton:
    """Search the skeleton as causal-learn's stable `skeleton_discovery` does, only faster.

    Edges leave after all conditioning sets of one size have been tried, so that the result does
    not depend on the order of the tests. Required edges never leave; pairs with both directions
    forbidden are not adjacent from the start, and what comes nearest to separating them stands as
    their separator.
    """
    d = len(known.forbidden)
    required, banned = known.required | known.required.T, known.forbidden & known.forbidden.T
    adjacent = ~np.eye(d, dtype=bool) & ~banned
    separators: dict[tuple[int, int], set[int]] = {}
    for size in range(max_conditioning + 1):
        found: dict[tuple[int, int], set[int]] = {}
        for x in range(d):
            near = [int(j) for j in np.flatnonzero(adjacent[x])]
            for y in near:
                if required[x, y]:
                    continue
                others = [j for j in near if j != y]
                sets = [s for s in combinations(others, size) if separates(test, x, y, s, alpha)]
                if sets:
                    both = found.setdefault((min(x, y), max(x, y)), set())
                    both.update(*sets)
        for (x, y), separator in found.items():
            adjacent[x, y] = adjacent[y, x] = False
            separators[x, y] = separators[y, x] = separator
    for x, y in zip(*np.nonzero(np.triu(banned, 1)), strict=True):
        separator = _nearest_separator(test, int(x), int(y), adjacent, max_conditioning)
        separators[x, y] = separators[y, x] = separator
    return Skeleton(adjacent, separators)


def _nearest_separator(
    test: IndependenceTest, x: int, y: int, adjacent: np.ndarray, max_conditioning: int
) -> set[int]:
    """Return the set of neighbours of x, or of y, given which the p-value is largest."""
    sets = [
        given
        for near in (np.flatnonzero(adjacent[x]).tolist(), np.flatnonzero(adjacent[y]).tolist())
        for size in range(max_conditioning + 1)
        for given in combinations(near, size)
        if not (test.determines(given, x) or test.determines(given, y))
    ]
    return set(max(sets, key=lambda given: test(x, y, given)))


def separates(test: IndependenceTest, x: int, y: int, given: Sequence[int], alpha: float) -> bool:
    """Say whether x and y are independent given others that determine neither.

    Given what determines it, a column is independent of everything: without this exception, copies
    of a column and the terms of an exact sum would lose their edges to all others.
    """
    independent = test(x, y, given) > alpha
    return independent and not (test.determines(given, x) or test.determines(given, y))
