"""FCI's possible-d-sep stage, kept within bounds.

With latent variables, two columns may be separated only by columns that are adjacent to neither.
The possible-d-sep stage looks for such sets. It tries all subsets of all columns that certain paths
reach, which takes hours on real tables of 20 columns; here paths, columns and subsets are bounded.
"""

from __future__ import annotations

import time
from itertools import combinations

import numpy as np

from causalmix.discovery.edge_probabilities import ARROW
from causalmix.discovery.independence import IndependenceTest
from causalmix.discovery.knowledge import Constraints
from causalmix.discovery.orientation import Skeleton, orient_colliders

MAX_PATH = 3
"""Most edges of a path that is followed."""

MAX_NODES = 8
"""Most columns that sets are made of, the nearest first."""

MAX_SUBSET = 3
"""Most columns of a set. With 2, no graph of up to 6 columns that we tried needed the stage."""


class OutOfTimeError(Exception):
    """The stage was not done in time."""


def remove_by_possible_dsep(
    skeleton: Skeleton,
    test: IndependenceTest,
    alpha: float,
    known: Constraints,
    tried: int,
    deadline: float,
) -> Skeleton:
    """Return the skeleton without the edges that possible-d-sep sets separate.

    All edges are judged on the same skeleton, so that the result does not depend on their order.
    Of several sets that separate a pair, that of the largest p-value is kept.

    Parameters
    ----------
    skeleton : Skeleton
        Of PC; it is not changed.
    test, alpha, known
        As for the skeleton.
    tried : int
        Up to which size the skeleton's search has tried sets of neighbours.
    deadline : float
        On the clock of `time.monotonic`.

    Returns
    -------
    Skeleton

    Raises
    ------
    OutOfTimeError
        If the deadline passes; at most one test later.
    """
    marks = orient_colliders(skeleton, known)
    adjacent, separators = skeleton.adjacent.copy(), dict(skeleton.separators)
    kept = known.required | known.required.T
    for x, y in np.argwhere(np.triu(skeleton.adjacent & ~kept, 1)).tolist():
        found = []
        for given in _candidate_sets(marks, x, y, tried):
            if time.monotonic() > deadline:
                raise OutOfTimeError
            if test.separators(x, y, [given], alpha):
                found.append(given)
        if found:
            adjacent[x, y] = adjacent[y, x] = False
            best = set(max(found, key=lambda given: test(x, y, given)))
            separators[x, y] = separators[y, x] = best
    return Skeleton(adjacent, separators)


def _candidate_sets(marks: np.ndarray, x: int, y: int, tried: int) -> list[tuple[int, ...]]:
    """Return the sets to try for a pair: those that the skeleton's search has not tried."""
    near = [set(np.flatnonzero(marks[node])) for node in (x, y)]
    sets: dict[tuple[int, ...], None] = {}
    for start, end in ((x, y), (y, x)):
        nodes = sorted(possible_dsep(marks, start, end)[:MAX_NODES])
        for size in range(1, MAX_SUBSET + 1):
            sets |= dict.fromkeys(combinations(nodes, size))
    return [
        given
        for given in sets
        if len(given) > tried or not any(one.issuperset(given) for one in near)
    ]


def possible_dsep(marks: np.ndarray, x: int, y: int) -> list[int]:
    """Return the columns that paths of at most `MAX_PATH` edges reach from `x`, nearest first.

    On such a path, every node between its ends is a collider, or its two neighbours on the path
    are adjacent (Spirtes, Glymour, Scheines 2000, "Causation, Prediction, and Search", ch. 6.7).

    Parameters
    ----------
    marks : numpy.ndarray of shape (d, d)
        The mark at i of the edge between i and j after rule R0.
    x, y : int
        `y` is on no path.
    """
    steps = [(x, int(b)) for b in np.flatnonzero(marks[x]) if b != y]
    seen, reached = set(steps), dict.fromkeys(b for _, b in steps)
    for _ in range(MAX_PATH - 1):
        following = []
        for a, b in steps:
            for c in np.flatnonzero(marks[b]).tolist():
                collider = marks[b, a] == marks[b, c] == ARROW
                if c in (a, x, y) or (b, c) in seen or not (collider or marks[a, c]):
                    continue
                seen.add((b, c))
                following.append((b, c))
                reached.setdefault(c)
        steps = following
    return list(reached)
