"""Rows of a structural causal model: noise in, values out, anew or from observed rows on.

The noise of a node is held as a level u of its distribution, uniform on (0, 1), and as the normal
score z = Φ⁻¹(u) of that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import isqrt
from types import MappingProxyType
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from dowhy import gcm
from dowhy.graph import get_ordered_predecessors
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

from causalmix.scm.mechanisms import enclosing, side_by_side


def draw_rows(
    model: gcm.StructuralCausalModel,
    n: int,
    rng: np.random.Generator,
    do: Mapping[str, float | str] = MappingProxyType({}),
) -> pd.DataFrame:
    """Draw noise and propagate it.

    Every row is a draw from the model, but the levels of the noise are spread evenly over the rows
    (`even_levels`): together they show less of the accident of drawing than independent rows do.

    Parameters
    ----------
    model : dowhy.gcm.StructuralCausalModel
        Fitted, with the mechanisms of `causalmix.scm.mechanisms`.
    n : int
    rng : numpy.random.Generator
    do : mapping of str to value, default={}
        As `move_noise` takes it.

    Returns
    -------
    pandas.DataFrame of shape (n, n_nodes)
    """
    nothing = dict.fromkeys(model.graph.nodes, np.full(n, None))
    return move_noise(model, nothing, 0.0, rng, do)


def move_noise(
    model: gcm.StructuralCausalModel,
    observed: Mapping[str, np.ndarray],
    correlation: float,
    rng: np.random.Generator,
    do: Mapping[str, float | str] = MappingProxyType({}),
) -> pd.DataFrame:
    """Move the noise of observed rows a little and propagate the change.

    Abduction, action, prediction (Pearl 2009, section 7.1), with a change of the noise, and what
    `do` sets, for an action. The noise of each node that explains the observed row is found, as its
    normal score z, which becomes ρz + √(1 − ρ²)ε with a normal ε (spread evenly, as in
    `draw_rows`); and the row that follows is computed in causal order. That would leave the
    distribution of the noise as it is if the z of the observed rows were standard normal. Those of
    the rows that a mechanism was fitted to are narrower, the more the mechanism bends to them: it
    comes nearer to these rows than to the held-out ones that its noise is learned from. What the
    model does not know of the dependence between columns lives on in the noise. With ρ = 0 rows are
    drawn from the model, with ρ = 1 they are the observed ones, or what these would have been under
    `do`.

    Parameters
    ----------
    model : dowhy.gcm.StructuralCausalModel
        Fitted, with the mechanisms of `causalmix.scm.mechanisms`.
    observed : mapping of str to numpy.ndarray of shape (n,)
        Values of every node as the model holds them; missing ones have no noise and are drawn.
    correlation : float
        ρ, in [0, 1].
    rng : numpy.random.Generator
    do : mapping of str to value, default={}
        Nodes that are set to a value, as the model holds it, whatever their parents are.

    Returns
    -------
    pandas.DataFrame of shape (n, n_nodes)
    """
    nodes = list(model.graph.nodes)
    n = len(observed[nodes[0]])
    normals = ndtri(even_levels(n, len(nodes), rng))
    rows: dict[str, np.ndarray] = {}
    for node in nx.topological_sort(model.graph):
        if node in do:
            rows[node] = np.full(n, do[node])
            continue
        mechanism = model.causal_mechanism(node)
        parents = get_ordered_predecessors(model.graph, node)
        old, new = (side_by_side(each, parents) if parents else None for each in (observed, rows))
        move = _Move(correlation, pd.isna(observed[node]), normals[:, nodes.index(node)], rng)
        if not parents:
            rows[node] = move.values(mechanism, observed[node])
        elif isinstance(mechanism, gcm.ClassifierFCM):
            rows[node] = _move_class(mechanism.classifier_model, old, new, observed[node], move)
        else:
            noise = move.noise(mechanism, old, observed[node])
            rows[node] = mechanism.evaluate(new, noise[:, None]).ravel()
        if correlation == 1:  # to the last digit, and where the noise is beyond its distribution
            same = ~move.missing & ((old == new).all(axis=1) if parents else True)
            rows[node] = np.where(same, observed[node], rows[node])
    return pd.DataFrame(rows)[nodes]


def draw_mixed_rows(
    models: Sequence[gcm.StructuralCausalModel],
    model_of_row: np.ndarray,
    fixed: Mapping[str, Any],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Draw noise and propagate it, along a graph of its own in each row.

    Rows in which a node has the same parents are evaluated together, whatever else differs in their
    graphs: the cost is that of the different mechanisms, not of the graphs.

    Parameters
    ----------
    models : sequence of dowhy.gcm.StructuralCausalModel
        Fitted to one table; equal mechanisms are shared.
    model_of_row : numpy.ndarray of int, shape (n,)
        Position of each row's model.
    fixed : mapping of str to value
        Nodes that are set, whatever their parents are.
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame of shape (n, n_nodes)
    """
    nodes = list(models[0].graph.nodes)
    levels = dict(zip(nodes, even_levels(len(model_of_row), len(nodes), rng).T, strict=True))
    return pd.DataFrame(_propagate(models, model_of_row, levels, fixed, nodes))


def draw_outcomes(
    models: Sequence[gcm.StructuralCausalModel],
    model_of_row: np.ndarray,
    treatment: str,
    settings: Sequence[float | str],
    outcome: str,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw a node when another is set to one value or another, with the same noise.

    Only nodes that the outcome depends on are drawn.

    Parameters
    ----------
    models, model_of_row, rng
        As `draw_mixed_rows` takes them.
    treatment : str
        The node that is set, whatever its parents are.
    settings : sequence of value
        What it is set to, as the model holds it.
    outcome : str
        The node that is drawn.

    Returns
    -------
    numpy.ndarray of shape (n_settings, n)
    """
    nodes, n = list(models[0].graph.nodes), len(model_of_row)
    noise = even_levels(n, len(nodes), rng).T
    levels = {node: np.tile(own, len(settings)) for node, own in zip(nodes, noise, strict=True)}
    fixed = {treatment: np.repeat(np.array(settings, dtype=object), n)}
    rows = _propagate(models, np.tile(model_of_row, len(settings)), levels, fixed, [outcome])
    return rows[outcome].reshape(len(settings), n)


def _propagate(
    models: Sequence[gcm.StructuralCausalModel],
    model_of_row: np.ndarray,
    levels: Mapping[str, np.ndarray],
    fixed: Mapping[str, Any],
    wanted: Sequence[str],
) -> dict[str, np.ndarray]:
    """Values (n,) of the wanted nodes and of those that they depend on, at levels of the noise."""
    values = {node: np.full(len(model_of_row), None, dtype=object) for node in levels}
    known = {node: np.full(len(model_of_row), node in fixed) for node in levels}
    for node, value in fixed.items():
        values[node][:] = value
    mechanisms: dict[tuple[str, tuple[str, ...]], Any] = {}
    waiting: dict[tuple[str, tuple[str, ...]], np.ndarray] = {}  # the rows that need a mechanism
    for k in np.unique(model_of_row):
        for node in _needed(models[k].graph, wanted, fixed):
            pair = node, tuple(get_ordered_predecessors(models[k].graph, node))
            mechanisms[pair] = models[k].causal_mechanism(node)
            waiting[pair] = waiting.get(pair, False) | (model_of_row == k)
    while waiting:  # first a mechanism all of whose rows have their parents, if there is one
        ready = {
            pair: np.logical_and.reduce([rows, *(known[parent] for parent in pair[1])])
            for pair, rows in waiting.items()
        }
        pair = max(ready, key=lambda each: ready[each].sum() / waiting[each].sum())
        (node, parents), rows = pair, ready[pair]
        cells = {name: values[name][rows] for name in parents}
        given = side_by_side(cells, parents) if parents else None
        values[node][rows] = _value_at(mechanisms[pair], given, levels[node][rows])
        known[node] |= rows
        waiting[pair] &= ~rows
        if not waiting[pair].any():
            del waiting[pair]
    return values


def _needed(graph: nx.DiGraph, wanted: Sequence[str], fixed: Collection[str]) -> list[str]:
    """Nodes that the wanted ones depend on, and themselves, where no fixed node has parents."""
    cut = nx.DiGraph(edge for edge in graph.edges if edge[1] not in fixed)
    cut.add_nodes_from(graph)
    needed = set(wanted).union(*(nx.ancestors(cut, node) for node in wanted)).difference(fixed)
    return [node for node in graph if node in needed]


def _value_at(mechanism: Any, parents: np.ndarray | None, levels: np.ndarray) -> np.ndarray:
    """Values (n,) of a node at levels (n,) of its noise, given parents (n, n_parents)."""
    if parents is None:
        return mechanism.quantiles(levels)
    if isinstance(mechanism, gcm.ClassifierFCM):
        return _class_at(mechanism.classifier_model, parents, levels)
    return mechanism.evaluate(parents, mechanism.noise_model.quantiles(levels)[:, None]).ravel()


def even_levels(n: int, n_nodes: int, rng: np.random.Generator) -> np.ndarray:
    """Draw points of the unit cube that are spread evenly in each coordinate and in each pair.

    A Latin hypercube, which has a point in each n-th of every coordinate, made from an orthogonal
    array: with p a prime number and p² points, each pair of coordinates has a point in every cell
    of a p × p grid. Of the p² ≥ n points of the smallest such array n are kept; where it has fewer
    than `n_nodes` coordinates, pairs fall as they will.

    Parameters
    ----------
    n, n_nodes : int
        Numbers of points and of coordinates.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray of shape (n, n_nodes)
        Each point by itself is uniform on the cube.

    References
    ----------
    Tang (1993), "Orthogonal array-based Latin hypercubes", JASA 88. SciPy has the arrays.
    """
    side = next(p for p in count(max(isqrt(n - 1) + 1, 2)) if all(p % k for k in range(2, p)))
    if n_nodes <= side + 1:
        array = qmc.LatinHypercube(n_nodes, strength=2, rng=rng).random(side**2)
        points = array[rng.permutation(side**2)[:n]]
    else:
        points = rng.random((n, n_nodes))
    return (points.argsort(axis=0).argsort(axis=0) + rng.random((n, n_nodes))) / n


@dataclass(frozen=True, eq=False)
class _Move:
    """How the noise of one node moves; where the value is missing it is drawn instead."""

    correlation: float
    missing: np.ndarray
    fresh: np.ndarray
    rng: np.random.Generator

    def of_known(self, find: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Find something (n_known,) for a mask of the known values; of a missing one it is 0.5."""
        found, known = np.full(len(self.missing), 0.5), ~self.missing
        if known.any():
            found[known] = find(known)
        return found

    def levels(self, before: np.ndarray) -> np.ndarray:
        """Move levels (n,) of a distribution."""
        moved = self.correlation * ndtri(before.clip(1e-9, 1 - 1e-9))
        moved += np.sqrt(1 - self.correlation**2) * self.fresh
        return ndtr(np.where(self.missing, self.fresh, moved))

    def values(self, distribution: Any, before: np.ndarray) -> np.ndarray:
        """Move values (n,) of a distribution of `causalmix.scm.density`."""
        level = self.of_known(lambda known: distribution.levels(before[known], self.rng))
        return distribution.quantiles(self.levels(level))

    def noise(self, mechanism: Any, parents: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Move the noise (n,) that explains values (n,) given parents (n, n_parents)."""
        find = mechanism.estimate_noise
        noise = self.of_known(lambda k: find(before[k].astype(float), parents[k]).ravel())
        return self.values(mechanism.noise_model, noise)


def _move_class(
    classifier: Any, old: np.ndarray, new: np.ndarray, before: np.ndarray, move: _Move
) -> np.ndarray:
    """Classes by the inverse of their cumulative probability at a level.

    The level that explains an observed class lies between the cumulative probabilities that
    enclose it, anywhere with the same chance.
    """
    classes = np.asarray(classifier.classes, dtype=object)

    def observed_level(known: np.ndarray) -> np.ndarray:
        position = np.searchsorted(classes.astype(str), before[known].astype(str))
        ends = classifier.predict_probabilities(old[known]).cumsum(axis=1)
        return move.rng.uniform(*enclosing(np.pad(ends, ((0, 0), (1, 0))), position))

    return _class_at(classifier, new, move.levels(move.of_known(observed_level)))


def _class_at(classifier: Any, parents: np.ndarray, levels: np.ndarray) -> np.ndarray:
    classes = np.asarray(classifier.classes, dtype=object)
    cumulative = classifier.predict_probabilities(parents).cumsum(axis=1)
    return classes[(cumulative <= levels[:, None]).sum(axis=1).clip(max=len(classes) - 1)]
