"""What is known about a graph before the search: required edges, forbidden edges, tiers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np

from causalmix.errors import CausalMixError, DataError, check_name

Edge = tuple[str, str]


@dataclass(frozen=True)
class BackgroundKnowledge:
    """Edges that a graph must have or must not have.

    Parameters
    ----------
    required : sequence of (str, str), default=()
        Edges (cause, effect) that every graph has.
    forbidden : sequence of (str, str), default=()
        Edges (cause, effect) that no graph has; the effect may still be a cause of the cause.
    tiers : sequence of sequence of str, default=()
        Columns in their order in time: no column is a cause of one in an earlier tier. Edges
        within a tier are free, and so is a column that is in no tier.

    Raises
    ------
    CausalMixError
        If an edge is not a pair, a tier is no sequence, or the entries contradict each other: an
        edge both required and forbidden, a cycle of required edges, required edges that lead to an
        earlier tier, a column in two tiers. The message lists all contradictions.
    """

    required: Sequence[Edge] = ()
    forbidden: Sequence[Edge] = ()
    tiers: Sequence[Sequence[str]] = ()

    def __post_init__(self) -> None:
        for field in ("required", "forbidden"):
            edges = tuple(_pair(edge, field) for edge in getattr(self, field))
            object.__setattr__(self, field, edges)
        object.__setattr__(self, "tiers", tuple(_tier(tier) for tier in self.tiers))
        found = list(self._contradictions())
        if found:
            raise CausalMixError(
                f"The background knowledge contradicts itself: {'; '.join(found)}. "
                "Take one side of each contradiction out."
            )

    def constraints(self, names: Sequence[str]) -> Constraints:
        """Return the knowledge as matrices over `names`.

        Raises
        ------
        UnknownNameError
            If the knowledge names a column that is not among `names`.
        """
        named = {name for edge in (*self.required, *self.forbidden) for name in edge}
        for name in sorted(named.union(*self.tiers), key=str):
            check_name(name, names, "column in the background knowledge:")
        position = {name: i for i, name in enumerate(names)}
        required = np.zeros((len(names), len(names)), dtype=bool)
        forbidden = np.zeros_like(required)
        for cause, effect in self.required:
            required[position[cause], position[effect]] = True
        back_in_time = ((cause, effect) for (_, cause), (_, effect) in self._back_in_time())
        paths = nx.transitive_closure_dag(nx.DiGraph(self.required)).edges
        cycles = ((effect, cause) for cause, effect in paths)  # what would close one
        for cause, effect in (*self.forbidden, *back_in_time, *cycles):
            forbidden[position[cause], position[effect]] = True
        return Constraints(required, forbidden)

    def _back_in_time(self) -> Iterator[tuple[tuple[int, str], tuple[int, str]]]:
        """Yield (tier, column) of every cause and effect that tiers rule out."""
        ranked = [(tier, name) for tier, names in enumerate(self.tiers, 1) for name in names]
        yield from ((late, early) for late in ranked for early in ranked if late[0] > early[0])

    def _contradictions(self) -> Iterator[str]:
        for cause, effect in dict.fromkeys((*self.required, *self.forbidden)):
            if cause == effect:
                yield f"{cause} → {effect} joins a column to itself"
        for cause, effect in dict.fromkeys(self.required):
            if (cause, effect) in self.forbidden:
                yield f"{cause} → {effect} is both required and forbidden"
        for name in dict.fromkeys(name for tier in self.tiers for name in tier):
            tiers = [str(k) for k, tier in enumerate(self.tiers, 1) if name in tier]
            if len(tiers) > 1:
                yield f"{name} is in tiers {' and '.join(tiers)}"
        graph = nx.DiGraph(self.required)
        if nx.is_directed_acyclic_graph(graph):
            yield from self._required_back_in_time(graph)
        else:
            yield f"the required edges form a cycle, {named_cycle(graph)}"

    def _required_back_in_time(self, graph: nx.DiGraph) -> Iterator[str]:
        for (late, cause), (early, effect) in self._back_in_time():
            if cause in graph and effect in graph and nx.has_path(graph, cause, effect):
                path = " → ".join(map(str, nx.shortest_path(graph, cause, effect)))
                yield f"{path} is required, but {cause} is in tier {late} and {effect} in {early}"


NO_KNOWLEDGE = BackgroundKnowledge()


@dataclass(frozen=True)
class Constraints:
    """Background knowledge over d columns.

    Attributes
    ----------
    required, forbidden : numpy.ndarray of bool of shape (d, d)
        Whether the edge i → j is. Edges against a path of required ones are forbidden as well.
    """

    required: np.ndarray
    forbidden: np.ndarray

    def take(self, columns: np.ndarray) -> Constraints:
        """Return the constraints among `columns` (positions), in their order."""
        index = np.ix_(columns, columns)
        return Constraints(self.required[index], self.forbidden[index])

    def is_forbidden(self, cause: object, effect: object) -> bool:
        """Say whether a node may not cause another, as causal-learn asks; nodes named by number."""
        return bool(self.forbidden[int(cause.get_name()), int(effect.get_name())])

    def is_required(self, cause: object, effect: object) -> bool:
        """Say whether a node must cause another, as causal-learn asks; nodes named by number."""
        return bool(self.required[int(cause.get_name()), int(effect.get_name())])


def named_cycle(graph: nx.DiGraph) -> str:
    """Return a cycle of `graph` as it reads in a message: a → b → a."""
    cycle = [str(node) for node, _ in nx.find_cycle(graph)]
    return " → ".join([*cycle, cycle[0]])


def check_acyclic(graph: nx.DiGraph) -> None:
    """Raise DataError, which names a cycle where there is one, unless this is a simple DAG."""
    if not isinstance(graph, nx.DiGraph) or graph.is_multigraph():
        raise DataError(
            f"The graph is a {type(graph).__name__}; a networkx.DiGraph is needed, whose edges go "
            "from cause to effect."
        )
    if not nx.is_directed_acyclic_graph(graph):
        raise DataError(f"The graph has a cycle: {named_cycle(graph)}. Remove one of its edges.")


def _pair(edge: Sequence[str], field: str) -> Edge:
    if isinstance(edge, str) or not isinstance(edge, Iterable) or len(tuple(edge)) != 2:
        raise CausalMixError(f"{field} contains {edge!r}; an edge is a pair (cause, effect).")
    return tuple(edge)


def _tier(tier: Sequence[str]) -> tuple[str, ...]:
    if isinstance(tier, str) or not isinstance(tier, Iterable):
        raise CausalMixError(
            f"tiers contains {tier!r}; a tier is a sequence of columns, as [{tier!r}]."
        )
    return tuple(tier)
