"""Nodes of random structural causal models, for many tasks at once.

Each task has its own sparse graph, mechanisms, weights and noise; the tasks of a batch share the
number of nodes and of levels, so that a level of all tasks is computed in one go. A node takes
its parents from any earlier level.

Shapes: B tasks, R rows, N nodes, G nodes of one level, P parents of a node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

MAX_PARENTS = 4
_WIDTH, _STEPS = 8, 5  # of a network's hidden layer; of a piecewise constant function


class Source:
    """Random tensors from one seed."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, *size: int) -> Tensor:
        """Draw standard normal numbers."""
        return torch.randn(size, generator=self._generator)

    def uniform(self, *size: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draw uniform numbers in [low, high)."""
        draw = torch.rand(size, generator=self._generator)
        return low + (high - low) * draw

    def log_uniform(self, *size: int, low: float, high: float) -> Tensor:
        """Draw numbers whose logarithm is uniform between those of `low` and `high`."""
        return self.uniform(*size, low=float(np.log(low)), high=float(np.log(high))).exp()

    def integers(self, high: int, *size: int) -> Tensor:
        """Draw integers from 0 to ``high - 1``, int64."""
        return torch.randint(high, size, generator=self._generator)

    def happens(self, chance: Tensor | float, *size: int) -> Tensor:
        """Draw booleans that are true with the given chance."""
        return self.uniform(*size) < chance

    def pick(self, weights: list[float], *size: int) -> Tensor:
        """Draw indices in proportion to weights, int64."""
        edges = torch.tensor(np.cumsum(weights)[:-1] / np.sum(weights))
        return torch.bucketize(self.uniform(*size), edges.float())

    def permutations(self, n: int, *size: int) -> Tensor:
        """Draw permutations of ``0 … n-1``, int64, as the last dimension after `size`."""
        return self.uniform(*size, n).argsort(dim=-1)


def sample_nodes(
    n_rows: int,
    n_nodes: int,
    depth: int,
    cause: Tensor,
    cause_scale: Tensor,
    rng: np.random.Generator,
    source: Source,
    *,
    mechanisms: Sequence[float],
    noise: tuple[float, float],
) -> Tensor:
    """Run one random SCM a task.

    Parameters
    ----------
    n_rows, n_nodes : int
        R and N.
    depth : int
        Levels below the roots at most.
    cause : torch.Tensor
        A discrete common cause, int64 of shape (B, R).
    cause_scale : torch.Tensor
        Size of its effect, shape (B,); 0 where a task has none.
    rng : numpy.random.Generator
        Draws what the tasks share: level sizes and kinds of mechanisms.
    source : Source
        Draws all else.
    mechanisms : sequence of float
        Shares of the `MECHANISMS`, in their order.
    noise : tuple of float
        Smallest and largest scale of a task's noise, against a mechanism's deviation of one.

    Returns
    -------
    torch.Tensor
        Standardised values, float32 of shape (B, R, N), causes before their effects.
    """
    n_tasks = len(cause)
    noise_kind = source.pick([0.4, 0.2, 0.15, 0.25], n_tasks, 1, 1)
    noise_scale = source.log_uniform(n_tasks, 1, 1, low=noise[0], high=noise[1])
    parent_chance = source.uniform(n_tasks, 1, 1, low=0.0, high=0.9)
    values: Tensor | None = None
    for size in _level_sizes(n_nodes, depth, rng):
        level = _noise(n_tasks, n_rows, size, noise_kind, source)
        if values is not None:
            parents = _draw_parents(values, size, parent_chance, source)
            spread = noise_scale * source.log_uniform(n_tasks, 1, size, low=0.5, high=2.0)
            level = _level_mechanisms(parents, mechanisms, rng, source) + spread * level
        level = level + _effect_of_cause(cause, cause_scale, size, source)
        level = standardise(level)
        values = level if values is None else torch.cat([values, level], dim=2)
    assert values is not None
    return values


def _level_sizes(n_nodes: int, depth: int, rng: np.random.Generator) -> list[int]:
    """Divide the nodes among at most ``depth + 1`` levels, none empty."""
    n_levels = min(1 + int(rng.integers(0, depth + 1)), n_nodes)
    cuts = np.sort(rng.choice(np.arange(1, n_nodes), n_levels - 1, replace=False))
    return np.diff([0, *cuts, n_nodes]).tolist()


def _draw_parents(values: Tensor, size: int, chance: Tensor, source: Source) -> Tensor:
    """Values of the parents of `size` nodes, shape (B, R, G, P).

    A node with fewer than P parents has its first one several times, so that every slot is valid.
    """
    n_tasks, n_rows, n_before = values.shape
    index = source.integers(n_before, n_tasks, size, MAX_PARENTS)
    absent = ~source.happens(chance, n_tasks, size, MAX_PARENTS)
    index = torch.where(absent, index[..., :1], index).flatten(1)  # (B, G·P)
    parents = values.gather(2, index[:, None].expand(-1, n_rows, -1))
    return parents.unflatten(2, (size, MAX_PARENTS))


def _noise(n_tasks: int, n_rows: int, size: int, kind: Tensor, source: Source) -> Tensor:
    """Exogenous noise of about unit scale, one kind a task; a mixture makes clusters."""
    normal = source.normal(n_tasks, n_rows, size)
    uniform = source.uniform(n_tasks, n_rows, size, low=-1.0, high=1.0)
    laplace = -0.7 * uniform.sign() * torch.log1p(-uniform.abs().clamp(max=0.9999))
    centres = 1.5 * source.normal(n_tasks, 1, size, 4)
    member = source.integers(4, n_tasks, n_rows, size)
    mixture = 0.4 * normal + _lookup(centres, member)
    noise = torch.where(kind == 0, normal, 1.7 * uniform)
    return torch.where(kind == 2, laplace, torch.where(kind == 3, mixture, noise))


def _effect_of_cause(cause: Tensor, scale: Tensor, size: int, source: Source) -> Tensor:
    """Shift of every node by the class of its row, zero for some nodes, shape (B, R, G)."""
    n_tasks = len(cause)
    strength = scale[:, None] * source.happens(0.7, n_tasks, size)
    strength = strength * source.log_uniform(n_tasks, size, low=0.3, high=1.5)
    shift = source.normal(n_tasks, 1, size, 10) * strength[:, None, :, None]
    return _lookup(shift, cause[:, :, None].expand(-1, -1, size))


def _level_mechanisms(
    parents: Tensor, shares: Sequence[float], rng: np.random.Generator, source: Source
) -> Tensor:
    """Give each node of a level a mechanism; nodes of one kind are computed together."""
    kinds = np.sort(rng.choice(list(MECHANISMS), parents.shape[2], p=shares))
    parts = []
    for kind in np.unique(kinds):
        chosen = torch.from_numpy(np.flatnonzero(kinds == kind))
        parts.append(MECHANISMS[kind](parents[:, :, chosen], source))
    return standardise(torch.cat(parts, dim=2))


# ---- mechanisms: parents (B, R, G, P) → values (B, R, G) -----------------------------------------


def linear(parents: Tensor, source: Source) -> Tensor:
    """Weighted sum whose weights differ in size, so that a few parents matter most."""
    n_tasks, _, size, n_parents = parents.shape
    weight = source.normal(n_tasks, 1, size, n_parents)
    return (parents * weight * source.normal(n_tasks, 1, size, n_parents).mul(0.6).exp()).sum(-1)


def network(parents: Tensor, source: Source) -> Tensor:
    """Neural network with one hidden layer; one activation function a call."""
    n_tasks, _, size, n_parents = parents.shape
    weight = source.normal(n_tasks, size, n_parents, _WIDTH) / n_parents**0.5
    weight = weight * source.log_uniform(n_tasks, size, 1, 1, low=0.5, high=3.0)
    hidden = torch.einsum("brgp,bgph->brgh", parents, weight)
    hidden = hidden + source.normal(n_tasks, 1, size, _WIDTH)
    activation = _ACTIVATIONS[int(source.integers(len(_ACTIVATIONS), 1))]
    return torch.einsum("brgh,bgh->brg", activation(hidden), source.normal(n_tasks, size, _WIDTH))


def tree(parents: Tensor, source: Source) -> Tensor:
    """Sum of one to twelve oblivious decision trees with thresholds taken from the rows."""
    n_trees = int(source.log_uniform(1, low=1.0, high=12.999))
    trees = [_one_tree(parents, source) for _ in range(n_trees)]
    return torch.stack(trees).sum(dim=0)


def _one_tree(parents: Tensor, source: Source) -> Tensor:
    n_tasks, n_rows, size, n_parents = parents.shape
    depth = 1 + int(source.integers(6, 1))
    slot = source.integers(n_parents, n_tasks, 1, size, depth).expand(-1, n_rows, -1, -1)
    split = parents.gather(3, slot)  # (B, R, G, depth)
    threshold = split.gather(1, source.integers(n_rows, n_tasks, 1, size, depth))
    power = 2 ** torch.arange(depth)
    leaf = ((split > threshold) * power).sum(-1)
    return _lookup(source.normal(n_tasks, 1, size, 1 << depth), leaf)


def steps(parents: Tensor, source: Source) -> Tensor:
    """Sum of piecewise constant functions of each parent: what category levels do."""
    n_tasks, n_rows, size, n_parents = parents.shape
    rows = source.integers(n_rows, n_tasks, _STEPS)
    edges = parents.gather(1, rows[:, :, None, None].expand(-1, -1, size, n_parents))
    piece = sum((parents > edges[:, k : k + 1]).long() for k in range(_STEPS))
    height = source.normal(n_tasks, 1, size, n_parents, _STEPS + 1)
    importance = source.normal(n_tasks, 1, size, n_parents).mul(0.6).exp()
    return (_lookup(height, piece) * importance).sum(-1)


def product(parents: Tensor, source: Source) -> Tensor:
    """Product of two parents plus a little of all."""
    pair = source.integers(parents.shape[3], 2)
    return parents[..., pair[0]] * parents[..., pair[1]] + 0.3 * linear(parents, source)


def radial(parents: Tensor, source: Source) -> Tensor:
    """Distance from a random row."""
    n_tasks, n_rows, size, n_parents = parents.shape
    row = source.integers(n_rows, n_tasks, 1, 1, 1).expand(-1, -1, size, n_parents)
    offset = (parents - parents.gather(1, row)) * source.normal(n_tasks, 1, size, n_parents)
    return offset.square().sum(-1).sqrt()


MECHANISMS: dict[str, Callable[[Tensor, Source], Tensor]] = {
    "linear": linear,
    "network": network,
    "product": product,
    "radial": radial,
    "steps": steps,
    "tree": tree,
}

_ACTIVATIONS: tuple[Callable[[Tensor], Tensor], ...] = (
    torch.tanh,
    torch.abs,
    torch.sin,
    torch.relu,
    torch.sign,
    torch.square,
)


def _lookup(table: Tensor, index: Tensor) -> Tensor:
    """Entries of a table (B, 1, …, K) at an index (B, R, …), without copying the table."""
    expanded = table.expand(*index.shape, table.shape[-1])
    return expanded.gather(-1, index[..., None]).squeeze(-1)


def standardise(values: Tensor) -> Tensor:
    """Zero mean and unit deviation over the rows, dimension 1; constants become 0."""
    centred = values - values.mean(dim=1, keepdim=True)
    return centred / centred.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-6)
