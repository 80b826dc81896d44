"""PC's search for the skeleton: which columns no set of their neighbours separates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from causalmix.independence import IndependenceTest
from causalmix.knowledge import Constraints
from causalmix.orientation import Skeleton


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
