"""Rows that keep part of the noise of observed rows: what these would have been otherwise."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import networkx as nx
import numpy as np
import pandas as pd
from dowhy import gcm
from dowhy.graph import get_ordered_predecessors


def redraw_noise(
    model: gcm.StructuralCausalModel,
    observed: Mapping[str, np.ndarray],
    redrawn_share: float,
    rng: np.random.Generator,
    kept: Collection[str] = (),
) -> pd.DataFrame:
    """Draw part of the noise of observed rows anew and propagate the change.

    Abduction, action, prediction (Pearl 2009, section 7.1): the noise of each node that explains
    the observed row is found; of a random part of the nodes it is replaced by a draw; and the row
    that follows is computed in causal order. What the model does not know of the dependence between
    the columns lives on in the noise that is kept. With a share of 1 rows are drawn from the model,
    with 0 they are the observed ones; in between, each row has at least one node drawn anew.

    Parameters
    ----------
    model : dowhy.gcm.StructuralCausalModel
        Fitted, with roots, invertible mechanisms and gcm's `ClassifierFCM`.
    observed : mapping of str to numpy.ndarray of shape (n,)
        Values of every node as the model holds them; missing ones have no noise and are drawn.
    redrawn_share : float
        Probability that the noise of a node is drawn anew, in [0, 1].
    rng : numpy.random.Generator
        Of the choice of nodes and of classes; other noise comes from numpy's global generator, as
        in DoWhy.
    kept : collection of str, default=()
        Nodes whose noise is always kept; they still follow their parents.

    Returns
    -------
    pandas.DataFrame of shape (n, n_nodes)
    """
    graph, rows = model.graph, {}
    n = len(next(iter(observed.values())))
    free = [node for node in graph if node not in kept]
    changed = _nodes_to_redraw(n, free, redrawn_share, rng)
    for node in nx.topological_sort(graph):
        before = observed[node]
        redrawn = changed.get(node, False) | pd.isna(before)
        mechanism, parents = model.causal_mechanism(node), get_ordered_predecessors(graph, node)
        if not parents:
            rows[node] = np.where(redrawn, mechanism.draw_samples(len(before)).ravel(), before)
            continue
        old = np.column_stack([observed[parent].astype(object) for parent in parents])
        new = np.column_stack([rows[parent].astype(object) for parent in parents])
        if isinstance(mechanism, gcm.ClassifierFCM):
            rows[node] = _redraw_class(mechanism, old, new, before, redrawn, rng)
        else:
            noise = mechanism.draw_noise_samples(len(before)).ravel()
            filled = np.where(pd.isna(before), 0.0, before)
            noise = np.where(redrawn, noise, mechanism.estimate_noise(filled, old).ravel())
            rows[node] = mechanism.evaluate(new, noise[:, None]).ravel()
    return pd.DataFrame(rows)[list(graph.nodes)]


def _nodes_to_redraw(
    n: int, nodes: Sequence[str], share: float, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """For each of the nodes, in which of n rows its noise is drawn anew."""
    chosen = rng.random((n, len(nodes))) < share
    if share > 0 and nodes:
        unchanged = np.flatnonzero(~chosen.any(axis=1))
        chosen[unchanged, rng.integers(len(nodes), size=len(unchanged))] = True
    return dict(zip(nodes, chosen.T, strict=True))


def _redraw_class(
    mechanism: gcm.ClassifierFCM,
    old: np.ndarray,
    new: np.ndarray,
    before: np.ndarray,
    redrawn: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Classes by the inverse of their cumulative probability at uniform noise.

    The noise that explains an observed class is uniform between the cumulative probabilities that
    enclose it.
    """
    model = mechanism.classifier_model
    classes = np.asarray(model.classes, dtype=object)
    position = np.searchsorted(
        classes.astype(str), np.where(redrawn, classes[0], before).astype(str)
    )
    ends = model.predict_probabilities(old).cumsum(axis=1)
    starts = np.pad(ends, ((0, 0), (1, 0)))
    each = np.arange(len(before))
    uniform = rng.random(len(before))
    explained = starts[each, position] + uniform * (ends[each, position] - starts[each, position])
    noise = np.where(redrawn, uniform, explained)
    cumulative = model.predict_probabilities(new).cumsum(axis=1)
    drawn = (cumulative <= noise[:, None]).sum(axis=1).clip(max=len(classes) - 1)
    return classes[drawn]
