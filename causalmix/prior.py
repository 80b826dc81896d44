"""Synthetic classification tasks drawn from random structural causal models.

A task is made the way a table comes about: a sparse random graph, a random mechanism and noise at
every node, a class derived from it, and then what happens to real columns on their way into a file
(units, rounding, category codes, gaps). The idea of pre-training on such tasks is TabPFN's
(Hollmann et al., Nature 637, 2025); this prior is small and written for one CPU core.

Shapes: R rows, C columns, B tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

NO_CLASS = -100  # label of a query row whose class the context lacks (torch's `ignore_index`)


@dataclass(frozen=True)
class PriorConfig:
    """What the tasks of a prior range over.

    Attributes
    ----------
    rows : tuple of int
        Smallest and largest number of rows in a task, context and query together.
    max_features : int
        Largest number of columns.
    max_classes : int
        Largest number of classes.
    max_cells : int
        Bound on rows × columns of one task: it bounds the cost of a training step.
    binary_share : float
        Share of the tasks with two classes; the others draw 3 to `max_classes`.
    observed_share : float
        Share of the targets that are a random function of a few observed columns. The rest is
        split evenly between a node of the graph and a cause of all of it. Mostly unobserved
        targets make tasks too hard for in-context learning to appear.
    missing_share : float
        Share of the tasks with missing values.
    """

    rows: tuple[int, int] = (48, 320)
    max_features: int = 40
    max_classes: int = 10
    max_cells: int = 1_800
    binary_share: float = 0.5
    observed_share: float = 0.7
    missing_share: float = 0.25


@dataclass(frozen=True)
class TaskBatch:
    """Tasks of one shape, as an architecture of TabPFN takes them.

    Attributes
    ----------
    x : torch.Tensor
        Columns, float32 of shape (R, B, C); missing values are NaN. Context rows come first.
    y : torch.Tensor
        Classes, int64 of shape (R, B): in the context 0 … K-1 without a hole; a query row of
        another class is `NO_CLASS`.
    n_context : int
        Number of context rows.
    """

    x: torch.Tensor
    y: torch.Tensor
    n_context: int


def sample_batch(
    config: PriorConfig, n_tasks: int, rng: np.random.Generator, *, difficulty: float = 1.0
) -> TaskBatch:
    """Draw tasks that share their numbers of rows, columns and context rows.

    Parameters
    ----------
    config : PriorConfig
        Ranges of the prior.
    n_tasks : int
        Number of tasks, B.
    rng : numpy.random.Generator
        Source of all randomness.
    difficulty : float, default=1.0
        From 0 (two classes, up to four columns, shallow graphs) to 1 (the whole prior).

    Returns
    -------
    TaskBatch
    """
    max_features = round(4 + difficulty * (config.max_features - 4))
    n_features = round(np.exp(rng.uniform(np.log(2), np.log(max_features))))
    most_rows = min(config.rows[1], max(config.max_cells // n_features, 2 * config.rows[0]))
    n_rows = int(rng.integers(config.rows[0], most_rows + 1))
    n_context = round(n_rows * rng.uniform(0.4, 0.85))
    tasks = [sample_task(config, n_rows, n_features, rng, difficulty) for _ in range(n_tasks)]
    y = [_context_codes(classes, n_context, rng) for _, classes in tasks]
    x = [_rescale(table, n_context, rng) for table, _ in tasks]
    return TaskBatch(
        x=torch.from_numpy(np.stack(x, axis=1).astype(np.float32)),
        y=torch.from_numpy(np.stack(y, axis=1)),
        n_context=n_context,
    )


def sample_task(
    config: PriorConfig,
    n_rows: int,
    n_features: int,
    rng: np.random.Generator,
    difficulty: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one table and its classes.

    Parameters
    ----------
    config : PriorConfig
        Ranges of the prior.
    n_rows, n_features : int
        Shape of the table.
    rng : numpy.random.Generator
        Source of all randomness.
    difficulty : float, default=1.0
        As in `sample_batch`.

    Returns
    -------
    x : numpy.ndarray
        Columns of shape (R, C), float64; missing values are NaN.
    y : numpy.ndarray
        Class codes of shape (R,), int64, at least two distinct values.
    """
    n_classes = _number_of_classes(config, difficulty, rng)
    kind = _target_kind(config, rng)
    n_hidden = round(difficulty * rng.integers(0, n_features + 1)) + 1
    root = _classes_from_prototypes(n_rows, n_classes, rng) if kind == "cause" else None
    nodes = _sample_nodes(n_rows, n_features + n_hidden, root, rng)  # (R, C + hidden)
    order = rng.permutation(nodes.shape[1])
    observed, hidden = nodes[:, order[:n_features]], nodes[:, order[n_features:]]
    if root is not None:
        y = root
    elif kind == "node":
        y = _cut(hidden[:, 0], n_classes, rng)
    else:
        y = _classes_of_columns(observed, n_classes, rng)
    x = np.column_stack([_measure(column, rng) for column in observed.T])
    if rng.random() < config.missing_share * difficulty:
        x = _with_gaps(x, rng)
    if rng.random() < 0.3:
        y = _with_label_noise(y, rng)
    return (x, y) if y.min() < y.max() else (x, rng.permutation(np.arange(n_rows) % 2))


# ---- graph and mechanisms ------------------------------------------------------------------------


def _sample_nodes(
    n_rows: int, n_nodes: int, root: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """Run a random SCM: nodes in causal order, standardised, shape (R, nodes).

    `root`, where given, is a class that shifts every node without another parent and some with.
    """
    values = np.empty((n_rows, n_nodes))
    mean_parents = rng.uniform(0.3, 2.5)
    noise = rng.choice(["normal", "uniform", "laplace", "mixture"])
    noise_scale = np.exp(rng.uniform(np.log(0.05), np.log(1.0)))
    for node in range(n_nodes):
        n_parents = min(node, rng.poisson(mean_parents), 5)
        value = _noise(n_rows, noise, rng)
        if n_parents:
            parents = values[:, rng.choice(node, n_parents, replace=False)]
            value = _mechanism(parents, rng) + noise_scale * value
        if root is not None and (n_parents == 0 or rng.random() < 0.3):
            shift = rng.normal(size=root.max() + 1) * rng.choice([0.0, 0.5, 1.5], p=[0.3, 0.4, 0.3])
            value = value + shift[root]
        values[:, node] = _standardise(value)
    return values


def _noise(n_rows: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Exogenous noise of unit scale; a mixture makes clusters."""
    if kind == "normal":
        return rng.standard_normal(n_rows)
    if kind == "uniform":
        return rng.uniform(-1.7, 1.7, n_rows)
    if kind == "laplace":
        return rng.laplace(scale=0.7, size=n_rows)
    centres = rng.normal(scale=1.5, size=rng.integers(2, 5))
    return centres[rng.integers(len(centres), size=n_rows)] + 0.4 * rng.standard_normal(n_rows)


def _mechanism(parents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random function of the parents (R, P), standardised, shape (R,)."""
    kind = rng.choice(["linear", "mlp", "tree", "product"], p=[0.35, 0.3, 0.25, 0.1])
    if kind == "tree":
        return _standardise(_tree(parents, rng))
    if kind == "mlp":
        hidden = parents @ rng.normal(size=(parents.shape[1], 6)) + rng.normal(size=6)
        return _standardise(_activation(hidden, rng) @ rng.normal(size=6))
    if kind == "product":
        pair = parents[:, rng.integers(parents.shape[1], size=2)]
        return _standardise(pair[:, 0] * pair[:, 1])
    return _standardise(parents @ _weights(parents.shape[1], rng))


def _weights(n: int, rng: np.random.Generator) -> np.ndarray:
    """Weights of different sizes, so that a few parents matter most."""
    return rng.normal(size=n) * np.exp(rng.normal(scale=0.5, size=n))


def _activation(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    functions = (np.tanh, np.abs, np.sin, lambda v: np.maximum(v, 0), np.sign)
    return functions[rng.integers(len(functions))](values)


def _tree(parents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Oblivious decision tree: one threshold a level, random values at the leaves."""
    depth = int(rng.integers(1, 5))
    split = parents[:, rng.integers(parents.shape[1], size=depth)]  # (R, depth)
    threshold = split[rng.integers(len(split), size=depth), np.arange(depth)]
    leaf = (split > threshold) @ (1 << np.arange(depth))
    return rng.normal(size=1 << depth)[leaf]


# ---- target --------------------------------------------------------------------------------------


def _target_kind(
    config: PriorConfig, rng: np.random.Generator
) -> Literal["observed", "node", "cause"]:
    if rng.random() < config.observed_share:
        return "observed"
    return "node" if rng.random() < 0.5 else "cause"


def _number_of_classes(config: PriorConfig, difficulty: float, rng: np.random.Generator) -> int:
    most = round(2 + difficulty * (config.max_classes - 2))
    if most == 2 or rng.random() < config.binary_share:
        return 2
    # Log-uniform: three and four classes are the common case.
    return int(np.exp(rng.uniform(np.log(3), np.log(most + 1))))


def _classes_of_columns(
    columns: np.ndarray, n_classes: int, rng: np.random.Generator
) -> np.ndarray:
    """Classes as a random function of a few columns, shape (R,)."""
    n_used = min(columns.shape[1], 1 + rng.geometric(0.3))
    used = columns[:, rng.choice(columns.shape[1], n_used, replace=False)]
    noise = np.exp(rng.uniform(np.log(0.02), np.log(0.6)))
    n_rows = len(columns)
    if n_classes == 2 or rng.random() < 0.4:  # one score, cut: ordinal classes
        return _cut(_score(used, rng) + noise * rng.standard_normal(n_rows), n_classes, rng)
    scores = np.column_stack([_score(used, rng) for _ in range(n_classes)])
    scores = scores + noise * rng.standard_normal(scores.shape)
    return (scores + rng.normal(scale=0.3, size=n_classes)).argmax(axis=1)


def _score(used: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One mechanism, or the sum of two: mostly smooth signal with some structure on top."""
    score = _mechanism(used, rng)
    return score + rng.uniform(0.3, 1) * _mechanism(used, rng) if rng.random() < 0.5 else score


def _classes_from_prototypes(n_rows: int, n_classes: int, rng: np.random.Generator) -> np.ndarray:
    share = rng.dirichlet(np.full(n_classes, rng.choice([2.0, 20.0])))
    return rng.choice(n_classes, size=n_rows, p=share)


def _cut(score: np.ndarray, n_classes: int, rng: np.random.Generator) -> np.ndarray:
    """Cut a score at random quantiles; the spread of the class shares is itself random."""
    share = rng.dirichlet(np.full(n_classes, rng.choice([2.0, 20.0])))
    edges = np.quantile(score, np.clip(np.cumsum(share)[:-1], 0.04, 0.96))
    return np.searchsorted(edges, score)


def _with_label_noise(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    flip = rng.random(len(y)) < rng.uniform(0, 0.15)
    return np.where(flip, rng.permutation(y), y)


def _context_codes(y: np.ndarray, n_context: int, rng: np.random.Generator) -> np.ndarray:
    """Give the classes of the context random codes 0 … K-1 and all others `NO_CLASS`."""
    present = rng.permutation(np.unique(y[:n_context]))
    codes = np.full(y.max() + 1, NO_CLASS, dtype=np.int64)
    codes[present] = np.arange(len(present))
    return codes[y]


# ---- what happens to a column before it is seen --------------------------------------------------


def _measure(column: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn a node into a column of a table: warped, rounded, or category codes."""
    kind = rng.random()
    if kind < 0.2:  # category codes in an arbitrary order
        levels = _levels(column, rng)
        return rng.permutation(levels.max() + 1)[levels].astype(float)
    if kind < 0.3:  # ordered codes
        return _levels(column, rng).astype(float)
    if kind < 0.4:
        return np.exp(rng.uniform(0.3, 1.5) * column)
    if kind < 0.5:
        return np.sign(column) * np.abs(column) ** rng.uniform(0.5, 3)
    if kind < 0.6:  # counts and rounded readings
        return np.round(column * rng.uniform(1, 8))
    return column


def _levels(column: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n_levels = 2 + min(int(rng.geometric(0.3)) - 1, 20)
    return _cut(column, n_levels, rng)


def _with_gaps(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Remove cells at random, in some columns the more often the larger the value."""
    share = rng.uniform(0, 0.4, x.shape[1]) * (rng.random(x.shape[1]) < rng.uniform(0.1, 1))
    by_value = rng.random(x.shape[1]) < 0.3
    chance = np.where(by_value, share * 2 / (1 + np.exp(-_standardise(x))), share)
    return np.where(rng.random(x.shape) < chance, np.nan, x)


def _rescale(x: np.ndarray, n_context: int, rng: np.random.Generator) -> np.ndarray:
    """Apply one of the scalings that inference uses, fitted on the context, to a table."""
    kind = rng.choice(["none", "squash", "rank"], p=[0.3, 0.4, 0.3])
    if kind == "none":
        return np.clip(_standardise(x), -12, 12)
    if kind == "squash":
        return squash(x, n_context)
    return np.column_stack([_rank(column, n_context) for column in x.T])


def squash(x: np.ndarray, n_context: int) -> np.ndarray:
    """Scale columns (R, C) by the context's quartiles and bound them smoothly to ±3."""
    with np.errstate(all="ignore"):
        low, middle, high = np.nanquantile(x[:n_context], [0.25, 0.5, 0.75], axis=0)
    spread = high - low
    spread = np.where(spread > 1e-9, spread, np.nan_to_num(np.nanstd(x[:n_context], axis=0)) + 1e-9)
    scaled = (x - np.nan_to_num(middle)) / np.nan_to_num(spread, nan=1.0)
    return scaled / np.sqrt(1 + (scaled / 3) ** 2)


def _rank(column: np.ndarray, n_context: int) -> np.ndarray:
    """Rank of each value among the context's, in [0, 1]; missing stays missing."""
    known = np.sort(column[:n_context][~np.isnan(column[:n_context])])
    if known.size == 0:
        return column
    left, right = np.searchsorted(known, column), np.searchsorted(known, column, side="right")
    return np.where(np.isnan(column), np.nan, (left + right) / (2 * known.size))


def _standardise(values: np.ndarray) -> np.ndarray:
    """Zero mean and unit deviation down the rows, ignoring missing values."""
    mean = np.mean if np.isfinite(values.sum()) else np.nanmean  # the latter is far slower
    centred = values - mean(values, axis=0)
    spread = np.sqrt(mean(centred * centred, axis=0))
    return centred / np.where(spread > 1e-9, spread, 1.0)
