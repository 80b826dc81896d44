"""Rows whose noise is close to that of observed rows: what these might have been instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from dowhy import gcm
from dowhy.graph import get_ordered_predecessors
from scipy.special import ndtr, ndtri

_REFERENCE_DRAWS = 4000  # of a node's noise, that stand for its distribution


def move_noise(
    model: gcm.StructuralCausalModel,
    observed: Mapping[str, np.ndarray],
    correlation: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Move the noise of observed rows a little and propagate the change.

    Abduction, action, prediction (Pearl 2009, section 7.1), with a change of the noise for an
    action. The noise of each node that explains the observed row is found, as a level u of its
    distribution; z = Φ⁻¹(u) becomes ρz + √(1 − ρ²)ε with a normal ε, which leaves the distribution
    of the noise as it is; and the row that follows is computed in causal order. What the model does
    not know of the dependence between columns lives on in the noise. With ρ = 0 rows are drawn
    from the model, with ρ = 1 they are the observed ones.

    Parameters
    ----------
    model : dowhy.gcm.StructuralCausalModel
        Fitted, with roots, invertible mechanisms and gcm's `ClassifierFCM`.
    observed : mapping of str to numpy.ndarray of shape (n,)
        Values of every node as the model holds them; missing ones have no noise and are drawn.
    correlation : float
        ρ, in [0, 1].
    rng : numpy.random.Generator
        The noise of a node whose distribution is only known by draws comes from numpy's global
        generator, as in DoWhy.

    Returns
    -------
    pandas.DataFrame of shape (n, n_nodes)
    """
    rows: dict[str, np.ndarray] = {}
    for node in nx.topological_sort(model.graph):
        mechanism = model.causal_mechanism(node)
        parents = get_ordered_predecessors(model.graph, node)
        old, new = _beside(observed, parents), _beside(rows, parents)
        move = _Move(correlation, pd.isna(observed[node]), rng)
        if not parents:
            rows[node] = move.values(mechanism.draw_samples(_REFERENCE_DRAWS), observed[node])
        elif isinstance(mechanism, gcm.ClassifierFCM):
            rows[node] = _move_class(mechanism.classifier_model, old, new, observed[node], move)
        else:
            before = np.where(move.missing, 0.0, observed[node])
            reference = mechanism.draw_noise_samples(_REFERENCE_DRAWS)
            noise = move.values(reference, mechanism.estimate_noise(before, old).ravel())
            rows[node] = mechanism.evaluate(new, noise[:, None]).ravel()
    return pd.DataFrame(rows)[list(model.graph.nodes)]


def _beside(columns: Mapping[str, np.ndarray], names: list[str]) -> np.ndarray:
    """Columns side by side, (n, n_names), as gcm hands parents to a mechanism."""
    return np.column_stack([columns[name].astype(object) for name in names]) if names else None


class _Move:
    """How the noise of one node moves; where the value is missing it is drawn instead."""

    def __init__(self, correlation: float, missing: np.ndarray, rng: np.random.Generator) -> None:
        self.correlation = correlation
        self.missing = missing
        self.rng = rng

    def levels(self, before: np.ndarray) -> np.ndarray:
        """Move levels (n,) of a distribution."""
        fresh = self.rng.standard_normal(len(before))
        moved = self.correlation * ndtri(before.clip(1e-9, 1 - 1e-9))
        moved += np.sqrt(1 - self.correlation**2) * fresh
        return ndtr(np.where(self.missing, fresh, moved))

    def values(self, reference: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Move values (n,) of a distribution of which there are draws (m, 1)."""
        draws = reference.ravel()
        if isinstance(draws[0], str):
            classes, counts = np.unique(draws.astype(str), return_counts=True)
            known = np.where(self.missing, classes[0], before).astype(str)
            position = np.searchsorted(classes, known).clip(max=len(classes) - 1)
            ends = counts.cumsum() / counts.sum()
            level = _between(np.append(0, ends)[position], ends[position], self.rng)
            drawn = np.searchsorted(ends, self.levels(level), side="right")
            return classes.astype(object)[drawn.clip(max=len(classes) - 1)]
        draws = np.sort(draws.astype(float))
        known = np.where(self.missing, draws[0], before).astype(float)
        # Between two draws, or somewhere among those that are equal to the value.
        ends = [np.searchsorted(draws, known, side) for side in ("left", "right")]
        level = _between(ends[0] / len(draws), ends[1] / len(draws), self.rng)
        moved = draws[(self.levels(level) * len(draws)).astype(int).clip(max=len(draws) - 1)]
        return np.where(self.missing | (self.correlation < 1), moved, known)


def _between(low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return low + rng.random(len(low)) * (high - low)


def _move_class(
    classifier: Any, old: np.ndarray, new: np.ndarray, before: np.ndarray, move: _Move
) -> np.ndarray:
    """Classes by the inverse of their cumulative probability at a level.

    The level that explains an observed class lies between the cumulative probabilities that
    enclose it, anywhere with the same chance.
    """
    classes = np.asarray(classifier.classes, dtype=object)
    known = np.where(move.missing, classes[0], before).astype(str)
    position = np.searchsorted(classes.astype(str), known)
    ends = classifier.predict_probabilities(old).cumsum(axis=1)
    each = np.arange(len(before))
    starts = np.pad(ends, ((0, 0), (1, 0)))[each, position]
    level = move.levels(_between(starts, ends[each, position], move.rng))
    cumulative = classifier.predict_probabilities(new).cumsum(axis=1)
    return classes[(cumulative <= level[:, None]).sum(axis=1).clip(max=len(classes) - 1)]
