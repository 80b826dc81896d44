"""What is known about a graph before the search: edges, forbidden edges, tiers, or all of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import networkx as nx
import numpy as np
import pandas as pd

from causalmix.data.files import read_table
from causalmix.data.yaml_files import read_yaml
from causalmix.errors import CausalMixError, DataError, check_list, check_name, naming

Edge = tuple[str, str]

EDGE_HEADERS = (("cause", "effect"), ("source", "target"), ("from", "to"))
"""Names that the two columns of a file of edges may have."""

_READERS = {".graphml": nx.read_graphml, ".gml": nx.read_gml}


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
        Columns in their order in time: no edge goes from a column to one of an earlier tier. Edges
        within a tier are free, and so is a column that is in no tier: by way of it a later column
        may still be a cause of an earlier one. Give all columns a tier to rule that out.

    Raises
    ------
    CausalMixError
        If one of the three or a tier is no sequence, an edge is not a pair, or the entries
        contradict each other: an edge both required and forbidden, a cycle of required edges,
        required edges that lead to an earlier tier, a column in two tiers. The message lists all
        contradictions.
    """

    required: Sequence[Edge] = ()
    forbidden: Sequence[Edge] = ()
    tiers: Sequence[Sequence[str]] = ()

    def __post_init__(self) -> None:
        for field in ("required", "forbidden"):
            edges = check_list(getattr(self, field), field, "[[age, outcome]]")
            object.__setattr__(self, field, tuple(_pair(edge, field) for edge in edges))
        tiers = check_list(self.tiers, "tiers", "[[age, sex], [outcome]]")
        filled = (names for tier in tiers if (names := _tier(tier)))  # an empty one says nothing
        object.__setattr__(self, "tiers", tuple(filled))
        found = list(self._contradictions())
        if found:
            raise CausalMixError(
                f"The background knowledge contradicts itself: {'; '.join(found)}. "
                "Take one side of each contradiction out."
            )

    @classmethod
    def read(cls, known: BackgroundKnowledge | Mapping[str, Any]) -> Self:
        """Take knowledge as it is, or from a mapping.

        Parameters
        ----------
        known : BackgroundKnowledge or mapping
            ``required``, ``forbidden`` and ``tiers``, of which any may be left out.

        Returns
        -------
        BackgroundKnowledge

        Raises
        ------
        UnknownNameError
            If a mapping has another key.
        CausalMixError
            If it is neither, or makes no sense.
        """
        if isinstance(known, cls):
            return known
        valid = [field.name for field in fields(cls)]
        if not isinstance(known, Mapping):
            raise CausalMixError(
                f"knowledge is {known!r}; give a BackgroundKnowledge, or a mapping with some of "
                f"{', '.join(valid)}."
            )
        for name in known:
            check_name(name, valid, "entry of the background knowledge:")
        return cls(**{name: value for name, value in known.items() if value is not None})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a YAML file.

        It looks like this, where any of the three may be left out::

            required: [[age, outcome]]
            forbidden: [[ward, age]]
            tiers: [[age, sex], [ward, crp], [outcome]]

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        BackgroundKnowledge

        Raises
        ------
        CausalMixError
            If the file cannot be read as such, or contradicts itself; names it.
        """
        path = Path(path)
        advice = (
            "Write required: and forbidden: with pairs, as [[age, outcome]], and tiers: with lists."
        )
        with naming(path, "background knowledge", advice):
            found = read_yaml(path)
        try:
            return cls.read(found)
        except CausalMixError as error:
            raise type(error)(f"{path}: {error}") from error

    def about(self, names: Collection[str]) -> Self:
        """Return what is said of some columns, without the rest.

        Parameters
        ----------
        names : collection of str

        Returns
        -------
        BackgroundKnowledge
        """

        def known(edges: Sequence[Edge]) -> list[Edge]:
            return [edge for edge in edges if set(edge) <= set(names)]

        tiers = [[name for name in tier if name in names] for tier in self.tiers]
        return type(self)(known(self.required), known(self.forbidden), tiers)

    @property
    def named(self) -> list[str]:
        """The columns that it names, in alphabetical order."""
        edges = {name for edge in (*self.required, *self.forbidden) for name in edge}
        return sorted(edges.union(*self.tiers), key=str)

    def constraints(self, names: Sequence[str]) -> Constraints:
        """Return the knowledge as matrices over `names`.

        Raises
        ------
        UnknownNameError
            If the knowledge names a column that is not among `names`.
        """
        for name in self.named:
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


def read_graph(graph: nx.DiGraph | Iterable[Edge]) -> nx.DiGraph:
    """Take a graph that is known.

    Parameters
    ----------
    graph : networkx.DiGraph or iterable of (str, str)
        Or its edges, from cause to effect.

    Returns
    -------
    networkx.DiGraph

    Raises
    ------
    CausalMixError
        If an edge is no pair of names.
    DataError
        If it has a cycle, which is named, or no edge.
    """
    if not isinstance(graph, nx.Graph):
        graph = nx.DiGraph(read_edges(graph))
    check_acyclic(graph)
    if not graph.edges:
        raise DataError("The graph has no edges; name some, or leave it to the search.")
    return graph


def read_edges(edges: Iterable[Edge]) -> list[Edge]:
    """Take the edges of a graph, as pairs.

    Parameters
    ----------
    edges : iterable of (str, str)
        From cause to effect.

    Returns
    -------
    list of (str, str)

    Raises
    ------
    CausalMixError
        If an edge is no pair of names.
    """
    if isinstance(edges, str) or not isinstance(edges, Iterable):
        raise CausalMixError(
            f"The graph is {edges!r}; a networkx.DiGraph is needed, or pairs (cause, effect)."
        )
    return [_pair(edge, "The graph") for edge in edges]


def load_graph(path: str | Path) -> nx.DiGraph:
    """Read a graph that is known from a file.

    Parameters
    ----------
    path : str or Path
        Edges, from cause to effect: a CSV or Parquet file with a row each and the columns ``cause``
        and ``effect`` (or another pair of `EDGE_HEADERS`); or GraphML or GML, by the ending.

    Returns
    -------
    networkx.DiGraph

    Raises
    ------
    DataError
        If the file cannot be read as such, or the graph has a cycle, which is named.
    """
    path = Path(path)
    if read := _READERS.get(path.suffix.lower()):
        with naming(path, "a graph", "Write its edges to a CSV file: cause,effect.", DataError):
            graph = read(path)
    else:
        frame = read_table(path).frame
        pairs = [pair for pair in EDGE_HEADERS if set(pair) <= set(frame)]
        if not pairs:
            raise DataError(
                f"{path} has no columns cause and effect; its first line is to be cause,effect, "
                "and each other line an edge."
            )
        edges = frame[list(pairs[0])].map(lambda name: "" if pd.isna(name) else str(name).strip())
        if (gaps := (edges == "").any(axis=1)).any():
            raise DataError(
                f"{path} lacks a cause or an effect in its row {int(gaps.argmax()) + 1} after the "
                "first line. Fill it in, or take the row out."
            )
        graph = edges.itertuples(index=False, name=None)
    try:
        return read_graph(graph)
    except CausalMixError as error:
        raise DataError(f"{path}: {error}") from error


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
    unordered = isinstance(edge, str | set | frozenset)
    if unordered or not isinstance(edge, Iterable) or len(names := _names(edge, field)) != 2:
        raise CausalMixError(f"{field} contains {edge!r}; an edge is a pair (cause, effect).")
    return names


def _tier(tier: Sequence[str]) -> tuple[str, ...]:
    if isinstance(tier, str) or not isinstance(tier, Iterable):
        raise CausalMixError(
            f"tiers contains {tier!r}; a tier is a sequence of columns, as [{tier!r}]."
        )
    return _names(tier, "tiers")


def _names(group: Iterable[str], field: str) -> tuple[str, ...]:
    names = tuple(group)
    for name in names:
        try:
            hash(name)
        except TypeError:
            name = None
        if name is None:
            raise CausalMixError(f"{field} contains {group!r}; its members are names of columns.")
    return names
