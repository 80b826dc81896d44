"""Synthetic classification tasks drawn from random structural causal models, in batches.

A task is made the way a table comes about: a sparse random graph, a random mechanism and noise at
every node (`causalmix.prior.nodes`), a class derived from it, and then what happens to real columns
on their way into a file (`causalmix.prior.columns`). The idea of pre-training on such
tasks is TabPFN's (Hollmann et al., Nature 637, 2025). All tasks of a batch are made at once.

Shapes: R rows, C columns, B tasks, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from causalmix.errors import CausalMixError, check_range, check_whole
from causalmix.prior.columns import (
    EVENNESS,
    class_shares,
    cut,
    read_columns,
    rescale,
    with_components,
    with_gaps,
)
from causalmix.prior.nodes import MECHANISMS, Source, sample_nodes, standardise

NO_CLASS = -100  # label of a query row whose class the context lacks (torch's `ignore_index`)

_ROW_COST = 16  # cells

_BY_LOGARITHM = ("noise", "target_noise", "evenness")
_BETWEEN = ("rows", "context_share", "noise", "target_noise", "categorical", "evenness")
_SHARES = ("binary_share", "observed_share", "missing_share", "one_hot_share", "component_share")


@dataclass(frozen=True)
class PriorConfig:
    """What the tasks of a prior range over.

    Attributes
    ----------
    rows : tuple of int
        Smallest and largest number of rows in a task, context and query together.
    context_share : tuple of float
        Smallest and largest share of a task's rows that are context.
    min_features, max_features : int
        Smallest and largest number of columns.
    max_classes : int
        Largest number of classes.
    budget : int
        Bounds the cost of a batch: rows × (columns + 16) over all its tasks. A row costs the
        network (`causalmix.pretraining.run`) as much as 16 cells.
    max_tasks : int
        Most tasks in a batch.
    binary_share : float
        Share of the tasks with two classes; the others draw 3 to `max_classes`.
    observed_share : float
        Share of the targets that are a random function of some observed columns. The rest is
        split evenly between a hidden node of the graph and a cause of all of it. Mostly
        unobserved targets make tasks too hard for in-context learning to appear.
    max_used : int
        Most observed columns that such a target depends on.
    missing_share : float
        Share of the tasks with missing values.
    one_hot_share : float
        Share of the batches in which some categorical columns come one-hot encoded.
    component_share : float
        Share of the batches with principal components beside the columns.
    depth : int
        Most levels of a graph below its roots.
    mechanisms, target_mechanisms : tuple of float
        Shares of `causalmix.prior.nodes.MECHANISMS`, in their order, among the nodes and among
        the targets that are a function of observed columns.
    noise, target_noise : tuple of float
        Smallest and largest scale of the noise of a task's nodes and of such a target.
    categorical : tuple of float
        Between which the share of categorical columns is uniform before it is clipped to [0, 1].
    evenness : tuple of float
        Smallest and largest power of the weights of classes; near 0 they are equally common.

    Raises
    ------
    CausalMixError
        If a number makes no sense.
    """

    rows: tuple[int, int] = (48, 1024)
    context_share: tuple[float, float] = (0.4, 0.85)
    min_features: int = 2
    max_features: int = 60
    max_classes: int = 10
    budget: int = 22_000
    max_tasks: int = 24
    binary_share: float = 0.5
    observed_share: float = 0.65
    max_used: int = 32
    missing_share: float = 0.25
    one_hot_share: float = 0.3
    component_share: float = 0.5
    depth: int = 6
    mechanisms: tuple[float, ...] = (0.35, 0.25, 0.08, 0.05, 0.12, 0.15)
    # On real tables of a hundred rows logistic regression is about as good as a random forest, so
    # linear targets are the largest share; on larger tables rules and interactions matter, so trees
    # come second.
    target_mechanisms: tuple[float, ...] = (0.38, 0.17, 0.07, 0.04, 0.12, 0.22)
    noise: tuple[float, float] = (0.03, 1.2)
    target_noise: tuple[float, float] = (0.01, 0.7)
    # A third of the tasks is all numeric, some are all categorical, the rest is mixed.
    categorical: tuple[float, float] = (-0.6, 1.4)
    evenness: tuple[float, float] = EVENNESS

    def __post_init__(self) -> None:
        for name in _BETWEEN:
            _check_ends(name, getattr(self, name))
        for name in ("min_features", "budget", "max_tasks", "max_used", "depth"):
            check_whole(getattr(self, name), 1, name)
        check_range(check_whole(self.max_classes, 2, "max_classes"), "[2, 10]", "max_classes")
        check_whole(self.rows[0], 2, "rows")
        check_whole(self.max_features, self.min_features, "max_features")
        for share in self.context_share:
            check_range(share, "(0, 1)", "context_share")
            if not 0 < round(self.rows[0] * share) < self.rows[0]:
                raise CausalMixError(
                    f"context_share is {share}: of {self.rows[0]} rows that leaves none for "
                    "context or none to predict. Give more rows, or another share."
                )
        for name in _SHARES:
            check_range(getattr(self, name), "[0, 1]", name)
        for name in ("mechanisms", "target_mechanisms"):
            shares = getattr(self, name)
            wrong = len(shares) != len(MECHANISMS) or min(shares) < 0
            if wrong or not np.isclose(sum(shares), 1):
                raise CausalMixError(
                    f"{name} is {shares}: give {len(MECHANISMS)} shares that sum to 1, those of "
                    f"{', '.join(MECHANISMS)}."
                )


def _check_ends(name: str, given: Sequence[float]) -> None:
    """Check the ends between which something is drawn."""
    if len(given) != 2 or not given[0] <= given[1]:
        raise CausalMixError(f"{name} is {given}: give two numbers, the smaller one first.")
    if name in _BY_LOGARITHM:
        for end in given:
            check_range(end, "(0, inf)", name)


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

    x: Tensor
    y: Tensor
    n_context: int


@dataclass(frozen=True)
class _Shape:
    """What the tasks of a batch share: sizes, and which columns come one-hot encoded."""

    n_tasks: int
    n_rows: int
    n_context: int
    n_nodes: int
    depth: int
    one_hot: tuple[int, ...]  # levels of each column that is one-hot encoded
    n_plain: int  # other columns
    n_components: int  # principal components beside them

    @property
    def n_columns(self) -> int:
        """Columns before one-hot encoding."""
        return len(self.one_hot) + self.n_plain


def sample_batch(
    config: PriorConfig,
    rng: np.random.Generator,
    *,
    difficulty: float = 1.0,
) -> TaskBatch:
    """Draw tasks that share their numbers of rows, columns and context rows.

    Parameters
    ----------
    config : PriorConfig
        Ranges of the prior.
    rng : numpy.random.Generator
        Source of all randomness; the same state gives the same batch.
    difficulty : float, default=1.0
        From 0 (two classes, up to four columns, shallow graphs) to 1 (the whole prior).

    Returns
    -------
    TaskBatch
    """
    shape = _draw_shape(config, difficulty, rng)
    source = Source(int(rng.integers(2**62)))
    n_classes = _numbers_of_classes(config, shape.n_tasks, difficulty, source)
    observed, cause = config.observed_share, (1 - config.observed_share) / 2
    kind = source.pick([observed, cause, cause], shape.n_tasks)  # observed, cause, node

    prototypes = _draw_classes(shape, n_classes, config.evenness, source)
    scale = source.log_uniform(shape.n_tasks, low=0.3, high=2.0)
    scale = scale * ((kind == 1) | source.happens(0.15, shape.n_tasks))
    nodes = sample_nodes(
        shape.n_rows,
        shape.n_nodes,
        shape.depth,
        prototypes,
        scale,
        rng,
        source,
        mechanisms=config.mechanisms,
        noise=config.noise,
    )
    order = source.permutations(shape.n_nodes, shape.n_tasks)
    nodes = nodes.gather(2, order[:, None].expand(-1, shape.n_rows, -1))

    columns = read_columns(
        nodes[:, :, : shape.n_columns],
        shape.one_hot,
        difficulty,
        source,
        categorical_range=config.categorical,
    )
    y = torch.where(
        (kind == 1)[:, None],
        prototypes,
        torch.where(
            (kind == 2)[:, None],
            cut(nodes[:, :, -1], n_classes, source, config.evenness),
            _classes_of_columns(columns.value, n_classes, config, rng, source),
        ),
    )
    y = _with_label_noise(_with_two_classes(y, shape, source), source)
    x = with_gaps(columns.emitted, config.missing_share * difficulty, source)
    x = with_components(rescale(x, shape.n_context, rng), shape.n_context, shape.n_components)
    x = x[:, :, torch.from_numpy(rng.permutation(x.shape[2]))]
    return TaskBatch(
        x=x.transpose(0, 1).contiguous(),
        y=_context_codes(y, shape.n_context, config.max_classes, source).T.contiguous(),
        n_context=shape.n_context,
    )


def _draw_shape(config: PriorConfig, difficulty: float, rng: np.random.Generator) -> _Shape:
    easy = min(4, config.max_features)
    most = round(easy + difficulty * (config.max_features - easy))
    least = min(config.min_features, most)
    n_features = round(np.exp(rng.uniform(np.log(least), np.log(most))))
    low, high = config.rows
    affordable = config.budget // (n_features + _ROW_COST)
    high = int(np.clip(affordable, low, high))
    # Half of the batches favour few rows, half do not: 500 rows are as common as 50.
    even = rng.random() < 0.5
    n_rows = round(rng.uniform(low, high) if even else np.exp(rng.uniform(*np.log([low, high]))))
    n_context = round(n_rows * rng.uniform(*config.context_share))
    n_tasks = int(np.clip(affordable // n_rows, 1, config.max_tasks))
    n_components = 0
    if n_features >= 3 and rng.random() < config.component_share * difficulty:
        # As many as TabPFN adds: half of the columns, at most one in ten rows.
        n_components = min(n_features // 3, n_context // 10 + 1)
        n_features -= n_components
    one_hot: list[int] = []
    if n_features >= 4 and rng.random() < config.one_hot_share * difficulty:
        budget = n_features * rng.uniform(0.3, 1.0)
        while True:
            levels = int(rng.choice([3, 4, 5, 6, 7, 8], p=[0.3, 0.25, 0.2, 0.1, 0.1, 0.05]))
            if sum(one_hot) + levels > budget:
                break
            one_hot.append(levels)
    n_plain = max(n_features - sum(one_hot), 0 if len(one_hot) > 1 else 1)
    n_hidden = 1 + round(difficulty * rng.integers(0, min(n_features, 20) + 1))
    return _Shape(
        n_tasks=n_tasks,
        n_rows=n_rows,
        n_context=n_context,
        n_nodes=len(one_hot) + n_plain + n_hidden,
        depth=1 + round((config.depth - 1) * difficulty),
        one_hot=tuple(one_hot),
        n_plain=n_plain,
        n_components=n_components,
    )


# ---- target --------------------------------------------------------------------------------------


def _numbers_of_classes(
    config: PriorConfig, n_tasks: int, difficulty: float, source: Source
) -> Tensor:
    """Draw the number of classes of each task, int64 (B,), most often two, three or four."""
    most = round(2 + difficulty * (config.max_classes - 2))
    if most == 2:
        return torch.full((n_tasks,), 2)
    many = source.log_uniform(n_tasks, low=3.0, high=most + 0.999).long()
    return torch.where(source.happens(config.binary_share, n_tasks), 2, many)


def _draw_classes(
    shape: _Shape, n_classes: Tensor, evenness: tuple[float, float], source: Source
) -> Tensor:
    """Draw a class for every row, int64 (B, R)."""
    edges = class_shares(n_classes, int(n_classes.max()), source, evenness).cumsum(1)[:, :-1]
    draw = source.uniform(shape.n_tasks, shape.n_rows)
    return (draw[..., None] > edges[:, None]).sum(-1)


def _classes_of_columns(
    values: Tensor,
    n_classes: Tensor,
    config: PriorConfig,
    rng: np.random.Generator,
    source: Source,
) -> Tensor:
    """Classes as a random function of some of the columns (B, R, C), int64 (B, R)."""
    n_tasks, n_rows, _ = values.shape
    n_most = int(n_classes.max())
    scores = _scores(values, n_most, config, rng, source)  # (B, R, K)
    low, high = config.target_noise
    noise = source.log_uniform(n_tasks, 1, 1, low=low, high=high)
    uniform = source.uniform(n_tasks, n_rows, n_most, low=1e-6, high=1 - 1e-6)
    # Gumbel noise on scores of classes is a softmax, logistic noise on one score a sigmoid.
    ordinal = cut(
        scores[..., 0] + (noise * uniform.logit())[..., 0], n_classes, source, config.evenness
    )
    scores = scores - noise * (-uniform.log()).log()
    scores = scores + 0.4 * source.normal(n_tasks, 1, n_most)
    absent = torch.arange(n_most) >= n_classes[:, None]
    nominal = scores.masked_fill(absent[:, None], -torch.inf).argmax(-1)
    ordered = (n_classes == 2) | source.happens(0.35, n_tasks)
    return torch.where(ordered[:, None], ordinal, nominal)


def _scores(
    values: Tensor, n_scores: int, config: PriorConfig, rng: np.random.Generator, source: Source
) -> Tensor:
    """Random functions of some columns of each task, standardised, (B, R, n_scores)."""
    n_tasks, n_rows, n_columns = values.shape
    n_slots = min(n_columns, config.max_used)
    # Half of the targets use few columns, half use many; unused slots repeat the used ones.
    few = source.log_uniform(n_tasks, low=1.0, high=n_slots + 0.999)
    many = source.uniform(n_tasks, low=1.0, high=n_slots + 0.999)
    n_used = torch.where(source.happens(0.5, n_tasks), few, many).long()
    slot = torch.arange(n_slots) % n_used[:, None]
    slots = source.permutations(n_columns, n_tasks).gather(1, slot)  # (B, slots)
    used = values.gather(2, slots[:, None].expand(-1, n_rows, -1))  # (B, R, slots)
    shares = config.target_mechanisms
    main = _functions(used, n_scores, shares, rng, source)
    extra = _functions(used[:, :, : min(n_slots, 4)], n_scores, shares, rng, source)
    weight = source.uniform(n_tasks, 1, 1, low=0.2) * source.happens(0.3, n_tasks, 1, 1)
    return standardise(main + weight * extra)


def _functions(
    used: Tensor,
    n_scores: int,
    shares: Sequence[float],
    rng: np.random.Generator,
    source: Source,
) -> Tensor:
    """Apply one kind of mechanism a task, with other weights for every score."""
    parents = used[:, :, None].expand(-1, -1, n_scores, -1)
    kinds = rng.choice(list(MECHANISMS), len(used), p=shares)
    scores = torch.empty(parents.shape[:3])
    for kind in np.unique(kinds):
        tasks = torch.from_numpy(np.flatnonzero(kinds == kind))
        scores[tasks] = MECHANISMS[kind](parents[tasks], source)
    return standardise(scores)


def _with_two_classes(y: Tensor, shape: _Shape, source: Source) -> Tensor:
    """Replace the classes of a task whose context has a single one by a random half."""
    context = y[:, : shape.n_context]
    single = (context == context[:, :1]).all(dim=1)
    half = source.permutations(shape.n_rows, shape.n_tasks) % 2
    return torch.where(single[:, None], half, y)


def _with_label_noise(y: Tensor, source: Source) -> Tensor:
    """Give some rows of some tasks the class of another row."""
    n_tasks, n_rows = y.shape
    share = source.uniform(n_tasks, 1, high=0.15) * source.happens(0.3, n_tasks, 1)
    other = y.gather(1, source.integers(n_rows, n_tasks, n_rows))
    return torch.where(source.happens(share, n_tasks, n_rows), other, y)


def _context_codes(y: Tensor, n_context: int, max_classes: int, source: Source) -> Tensor:
    """Give the classes of the context random codes 0 … K-1 and all others `NO_CLASS`."""
    present = torch.zeros(len(y), max_classes, dtype=torch.bool)
    present.scatter_(1, y[:, :n_context], True)
    # Rank random keys among the present classes; absent ones come last.
    key = torch.where(present, source.uniform(*present.shape), 2.0)
    code = key.argsort(dim=1).argsort(dim=1)
    return torch.where(present, code, NO_CLASS).gather(1, y)
