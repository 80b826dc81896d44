"""From nodes of a random structural causal model to columns of a table.

What happens to real columns on their way into a file: units, rounding, category codes, gaps; and
the scalings that inference applies. For many tasks at once.

Shapes: R rows, C columns, B tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from causalmix.prior.nodes import Source, standardise

MAX_LEVELS = 12  # of a categorical column

EVENNESS = (0.05, 1.3)
"""How even the shares of classes, and of a column's levels, are."""


@dataclass(frozen=True)
class Columns:
    """Columns of the tasks of a batch.

    Attributes
    ----------
    value : torch.Tensor
        As the target depends on them, float32 of shape (B, R, C).
    emitted : torch.Tensor
        As the table holds them, float32 of shape (B, R, C'); one-hot columns come first.
    """

    value: Tensor
    emitted: Tensor


def read_columns(
    nodes: Tensor,
    one_hot: Sequence[int],
    difficulty: float,
    source: Source,
    *,
    categorical_range: tuple[float, float],
) -> Columns:
    """Turn nodes into columns of a table: warped, rounded, or category codes.

    Parameters
    ----------
    nodes : torch.Tensor
        Standardised, shape (B, R, C).
    one_hot : sequence of int
        Numbers of levels of the first columns, which come one-hot encoded.
    difficulty : float
        From 0, all numeric, to 1.
    source : Source
        Draws all that is random.
    categorical_range : tuple of float
        Between which a task's share of categorical columns is uniform before it is clipped to
        [0, 1].

    Returns
    -------
    Columns
    """
    n_tasks, n_rows, n_columns = nodes.shape
    low, high = categorical_range
    share = source.uniform(n_tasks, 1, low=low, high=high).clamp(0, 1) * min(1.0, 2 * difficulty)
    categorical = source.happens(share, n_tasks, n_columns)
    n_levels = 2 + source.log_uniform(n_tasks, n_columns, low=0.3, high=MAX_LEVELS - 1.01).long()
    n_hot = len(one_hot)
    if n_hot:
        categorical[:, :n_hot] = True
        n_levels[:, :n_hot] = torch.tensor(one_hot)
    flat = nodes.transpose(1, 2).reshape(-1, n_rows)
    level = cut(flat, n_levels.flatten(), source).view(n_tasks, n_columns, n_rows)
    level = level.transpose(1, 2)  # (B, R, C)
    nominal = source.happens(0.6, n_tasks, 1, n_columns)
    if n_hot:
        nominal[:, :, :n_hot] = source.happens(0.85, n_tasks, 1, n_hot)
    effect = torch.where(nominal, _effects(level, source), level.float())
    value = torch.where(categorical[:, None], standardise(effect), nodes)

    codes = torch.where(nominal, _permuted(level, n_levels, source), level).float()
    emitted = torch.where(categorical[:, None], codes, _warp(nodes, source))
    if n_hot:
        hot = [
            torch.nn.functional.one_hot(level[:, :, j].clamp(max=k - 1), k).float()
            for j, k in enumerate(one_hot)
        ]
        emitted = torch.cat([*hot, emitted[:, :, n_hot:]], dim=2)
    return Columns(value, emitted)


def _effects(level: Tensor, source: Source) -> Tensor:
    """Give the levels of each column random values, through which a nominal column acts."""
    n_tasks, n_rows, n_columns = level.shape
    effect = source.normal(n_tasks, n_columns, MAX_LEVELS)
    return effect[:, None].expand(-1, n_rows, -1, -1).gather(3, level[..., None]).squeeze(3)


def _permuted(level: Tensor, n_levels: Tensor, source: Source) -> Tensor:
    """Give the levels of each column numbers in a random order."""
    key = source.uniform(*n_levels.shape, MAX_LEVELS)
    beyond = torch.arange(MAX_LEVELS) >= n_levels[..., None]
    code = torch.where(beyond, 2.0, key).argsort(-1).argsort(-1)  # (B, C, levels)
    return code[:, None].expand(-1, level.shape[1], -1, -1).gather(3, level[..., None]).squeeze(3)


def _warp(nodes: Tensor, source: Source) -> Tensor:
    """Read numbers in other units, skewed, or rounded to counts."""
    n_tasks, _, n_columns = nodes.shape
    size = (n_tasks, 1, n_columns)
    kind = source.pick([0.64, 0.12, 0.12, 0.12], *size)
    skewed = (source.uniform(*size, low=0.3, high=1.5) * nodes).exp()
    power = nodes.sign() * nodes.abs().pow(source.uniform(*size, low=0.5, high=3.0))
    counts = (nodes * source.log_uniform(*size, low=0.7, high=8.0)).round()
    warped = torch.where(kind == 1, skewed, nodes)
    return torch.where(kind == 2, power, torch.where(kind == 3, counts, warped))


def with_gaps(x: Tensor, task_share: float, source: Source) -> Tensor:
    """Remove cells at random, in some columns the more often the larger the value.

    Parameters
    ----------
    x : torch.Tensor
        Columns, shape (B, R, C).
    task_share : float
        Share of the tasks with missing values.
    source : Source
        Draws all that is random.

    Returns
    -------
    torch.Tensor
        The same with NaN where a cell is missing.
    """
    n_tasks, n_rows, n_columns = x.shape
    chosen = source.happens(task_share, n_tasks, 1, 1)
    columns = source.happens(source.uniform(n_tasks, 1, 1, low=0.1), n_tasks, 1, n_columns)
    share = source.uniform(n_tasks, 1, n_columns, high=0.4) * chosen * columns
    by_value = source.happens(0.3, n_tasks, 1, n_columns)
    chance = torch.where(by_value, 2 * share * standardise(x).sigmoid(), share)
    return x.masked_fill(source.happens(chance, n_tasks, n_rows, n_columns), torch.nan)


def rescale(x: Tensor, n_context: int, rng: np.random.Generator) -> Tensor:
    """Apply one of the scalings that inference uses, fitted on the context.

    Parameters
    ----------
    x : torch.Tensor
        Columns, shape (B, R, C); NaN is missing.
    n_context : int
        The first rows, which the scale is fitted on.
    rng : numpy.random.Generator
        Chooses the scaling.

    Returns
    -------
    torch.Tensor
        Shape (B, R, C).
    """
    kind = rng.choice(["none", "squash", "rank"], p=[0.35, 0.4, 0.25])
    if kind == "squash":
        return squash(x, n_context)
    if kind == "rank":
        return rank_in_context(x, n_context, normal=bool(rng.random() < 0.5))
    known = ~x[:, :n_context].isnan()
    count = known.sum(1, keepdim=True).clamp(min=1)
    mean = x[:, :n_context].nan_to_num().sum(1, keepdim=True) / count
    centred = x - mean
    spread = (centred[:, :n_context].square().nan_to_num().sum(1, keepdim=True) / count).sqrt()
    return (centred / spread.clamp(min=1e-6)).clamp(-12, 12)


def squash(x: Tensor, n_context: int) -> Tensor:
    """Scale columns by the context's quartiles and bound them smoothly to ±3.

    Parameters
    ----------
    x : torch.Tensor
        Columns, shape (B, R, C); NaN is missing.
    n_context : int
        The first rows, which the scale is fitted on.

    Returns
    -------
    torch.Tensor
        Shape (B, R, C).
    """
    context = x[:, :n_context]
    quartiles = context.nanquantile(
        torch.tensor([0.25, 0.5, 0.75], dtype=x.dtype), dim=1, keepdim=True
    ).nan_to_num()
    low, middle, high = quartiles
    deviation = (context - middle).square().nan_to_num().mean(1, keepdim=True).sqrt()
    spread = torch.where(high - low > 1e-6, high - low, deviation + 1e-6)
    scaled = (x - middle) / spread
    return scaled / (1 + (scaled / 3).square()).sqrt()


def rank_in_context(x: Tensor, n_context: int, *, normal: bool) -> Tensor:
    """Rank every value among those of the context.

    Parameters
    ----------
    x : torch.Tensor
        Columns, shape (B, R, C); NaN is missing and stays so.
    n_context : int
        The first rows.
    normal : bool
        Whether to return normal scores instead of ranks in [0, 1].

    Returns
    -------
    torch.Tensor
        Shape (B, R, C).
    """
    columns = x.transpose(1, 2)  # (B, C, R)
    known = columns[:, :, :n_context].isnan().logical_not().sum(2, keepdim=True).clamp(min=1)
    ordered = columns[:, :, :n_context].nan_to_num(nan=torch.inf).sort(dim=2).values.contiguous()
    query = columns.nan_to_num(nan=0.0).contiguous()
    left = torch.searchsorted(ordered, query)
    right = torch.searchsorted(ordered, query, right=True)
    rank = (left + right).clamp(max=2 * known) / (2 * known)
    if normal:
        rank = torch.special.ndtri(rank.clamp(0.5 / known, 1 - 0.5 / known))
    return torch.where(columns.isnan(), torch.nan, rank).transpose(1, 2)


def with_components(x: Tensor, n_context: int, n_components: int) -> Tensor:
    """Append principal components of the scaled columns, as TabPFN's preparation does.

    Parameters
    ----------
    x : torch.Tensor
        Columns, shape (B, R, C); NaN is missing and counts as the column's mean.
    n_context : int
        The first rows, which scale and components are fitted on.
    n_components : int
        How many; 0 returns the columns alone.

    Returns
    -------
    torch.Tensor
        Shape (B, R, C + n_components).
    """
    if n_components == 0:
        return x
    context = x[:, :n_context]
    mean = context.nanmean(1, keepdim=True).nan_to_num()
    known = torch.where(x.isnan(), mean, x)
    spread = known[:, :n_context].std(1, correction=0, keepdim=True)
    scaled = known / torch.where(spread > 1e-6, spread, 1.0)
    # Not centred, because TabPFN's truncated SVD is not either.
    gram = scaled[:, :n_context].transpose(1, 2) @ scaled[:, :n_context]
    directions = torch.linalg.eigh(gram).eigenvectors[:, :, -n_components:].flip(2)
    return torch.cat([x, scaled @ directions], dim=2)


def class_shares(
    n_classes: Tensor, n_most: int, source: Source, evenness: tuple[float, float] = EVENNESS
) -> Tensor:
    """Draw the shares of classes; how even they are varies.

    Parameters
    ----------
    n_classes : torch.Tensor
        Classes of each task, int64 of shape (B,).
    n_most : int
        The largest of them, K.
    source : Source
        Draws all that is random.
    evenness : tuple of float, default=(0.05, 1.3)
        Between which the power of a task's weights is log-uniform: near 0 its shares are equal.

    Returns
    -------
    torch.Tensor
        Shape (B, K), zero from `n_classes` on; rows sum to one.
    """
    power = source.log_uniform(len(n_classes), 1, low=evenness[0], high=evenness[1])
    weight = (-source.uniform(len(n_classes), n_most, low=1e-6).log()).pow(power)
    weight = weight * (torch.arange(n_most) < n_classes[:, None])
    return weight / weight.sum(1, keepdim=True)


def cut(
    score: Tensor, n_classes: Tensor, source: Source, evenness: tuple[float, float] = EVENNESS
) -> Tensor:
    """Cut a score at random quantiles into ordered classes.

    Parameters
    ----------
    score : torch.Tensor
        Shape (B, R).
    n_classes : torch.Tensor
        Classes of each task, int64 of shape (B,).
    source : Source
        Draws all that is random.
    evenness : tuple of float, default=(0.05, 1.3)
        See `class_shares`.

    Returns
    -------
    torch.Tensor
        Classes from 0 in the order of the score, int64 of shape (B, R).
    """
    edges = class_shares(n_classes, int(n_classes.max()), source, evenness).cumsum(1)[:, :-1]
    last = torch.arange(1, edges.shape[1] + 1) >= n_classes[:, None]
    edges = edges.clamp(0.04, 0.96).masked_fill(last, 2.0)
    rank = score.argsort(dim=1).argsort(dim=1) / score.shape[1]
    return (rank[..., None] >= edges[:, None]).sum(-1)
