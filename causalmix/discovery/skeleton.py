"""PC's search for the skeleton: which columns no set of their neighbours separates."""

from __future__ import annotations

import math
import time
from itertools import chain, combinations

import numpy as np

from causalmix.discovery.independence import IndependenceTest
from causalmix.discovery.knowledge import Constraints
from causalmix.discovery.orientation import Skeleton
from causalmix.discovery.possible_dsep import OutOfTimeError


def search_skeleton(
    test: IndependenceTest,
    known: Constraints,
    alpha: float,
    max_conditioning: int,
    deadline: float = math.inf,
) -> Skeleton:
    """Search the skeleton as causal-learn's stable `skeleton_discovery` does, only faster.

    Edges leave after all conditioning sets of one size have been tried, so that the result does
    not depend on the order of the tests. Required edges never leave; pairs with both directions
    forbidden are not adjacent from the start, and what comes nearest to separating them stands as
    their separator. After `deadline`, on the clock of `time.monotonic`, OutOfTimeError is raised.
    """
    d = len(known.forbidden)
    required, banned = known.required | known.required.T, known.forbidden & known.forbidden.T
    adjacent = ~np.eye(d, dtype=bool) & ~banned
    separators: dict[tuple[int, int], set[int]] = {}
    for size in range(max_conditioning + 1):
        found: dict[tuple[int, int], set[int]] = {}
        for x, y in zip(*np.nonzero(np.triu(adjacent & ~required, 1)), strict=True):
            if time.monotonic() > deadline:
                raise OutOfTimeError
            sets = _neighbour_sets(adjacent, x, y, size)
            separating = test.separators(int(x), int(y), sets, alpha)
            if separating:
                found[int(x), int(y)] = set().union(*separating)
        for (x, y), separator in found.items():
            adjacent[x, y] = adjacent[y, x] = False
            separators[x, y] = separators[y, x] = separator
    for x, y in zip(*np.nonzero(np.triu(banned, 1)), strict=True):
        separator = _nearest_separator(test, int(x), int(y), adjacent, max_conditioning)
        separators[x, y] = separators[y, x] = separator
    return Skeleton(adjacent, separators)


def _neighbour_sets(adjacent: np.ndarray, x: int, y: int, size: int) -> list[tuple[int, ...]]:
    """Return the sets of neighbours of x, and of y, without the two; each set once."""
    near = [[j for j in np.flatnonzero(adjacent[i]).tolist() if j not in (x, y)] for i in (x, y)]
    return list(dict.fromkeys(chain.from_iterable(combinations(js, size) for js in near)))


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
