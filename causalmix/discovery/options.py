"""How a table is searched: the options that discovery and the causal generator share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from causalmix.discovery.edge_probabilities import MarkWeights, read_mark_weights
from causalmix.discovery.independence import BASIS_FUNCTION, MIXED_TESTS, TESTS
from causalmix.discovery.knowledge import NO_KNOWLEDGE, BackgroundKnowledge
from causalmix.errors import (
    CausalMixError,
    check_filled,
    check_jobs,
    check_name,
    check_range,
    check_seed,
    check_whole,
    checked_options,
)

ALGORITHMS = ("pc", "boss")
"""What a search runs by default, where the test comes with a score."""

PAPER_ALGORITHMS = ("pc", "fci")
"""What CausalMixFT runs."""

ALL_ALGORITHMS = ("pc", "fci", "bounded_fci", "boss")

# By limit of time: how to do without what it limits.
_WITHOUT = {
    "possible_dsep_seconds": "To leave the stage out, use 'fci' in place of 'bounded_fci'.",
    "boss_seconds": "To do without BOSS, leave it out of algorithms.",
}


@checked_options
class DiscoveryOptions:
    """Options of `causalmix.discovery.bootstrap.discover`, which says what they mean, checked."""

    algorithms: Sequence[str] | None = None
    test: str = BASIS_FUNCTION
    n_bootstraps: int = 20
    alpha: float = 0.2
    max_conditioning: int = 2
    possible_dsep_seconds: float = 10.0
    boss_seconds: float = 60.0
    max_columns: int = 100
    time_limit: float | None = None
    knowledge: BackgroundKnowledge | Mapping[str, Any] = NO_KNOWLEDGE
    mark_weights: MarkWeights = "soft"
    seed: int = 0
    n_jobs: int = 1
    progress: bool = False

    def __post_init__(self) -> None:
        if self.algorithms is None:
            self.algorithms = ALGORITHMS if self.test in MIXED_TESTS else PAPER_ALGORITHMS
        self._check_algorithms()
        check_range(self.alpha, "(0, 1)", "alpha")
        for limit, hint in _WITHOUT.items():
            check_range(getattr(self, limit), "(0, inf)", limit, hint=hint)
        if self.time_limit is not None:
            check_range(self.time_limit, "(0, inf)", "time_limit")
        check_whole(self.n_bootstraps, 1, "n_bootstraps")
        check_whole(self.max_conditioning, 0, "max_conditioning")
        check_whole(self.max_columns, 1, "max_columns")
        self.knowledge = BackgroundKnowledge.read(self.knowledge)
        check_seed(self.seed)
        check_jobs(self.n_jobs)
        read_mark_weights(self.mark_weights)

    def _check_algorithms(self) -> None:
        given = check_filled(self.algorithms, "algorithms")
        for algorithm in given:
            check_name(algorithm, ALL_ALGORITHMS, "discovery algorithm")
        check_name(self.test, TESTS, "independence test")
        if "boss" in given and self.test not in MIXED_TESTS:
            raise CausalMixError(
                f"The algorithm 'boss' has no score that goes with the test {self.test!r}. Use "
                f"test={' or '.join(map(repr, MIXED_TESTS))}, or other algorithms."
            )
