"""The in-context tasks of a fine-tuning step, cut from real and synthetic rows.

A task is a context of labelled rows and query rows whose labels are to be predicted. A mixed task
takes a share of each from the training rows and the rest from a pool of synthetic rows; a whole
synthetic task takes all its rows from the pool, and where several causal models made that, from one
of them, as the tasks of pre-training do. A rehearsed task is one of those: it comes from the prior
that the network was pre-trained on, and has nothing to do with the table but its number of rows.

Shapes: R rows, B tasks, C columns after preprocessing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy

from causalmix.data.dataset import TabularDataset
from causalmix.errors import DataError
from causalmix.finetuning.config import SCHEDULES, FinetuneConfig
from causalmix.generation.registry import Generator
from causalmix.prior.tasks import NO_CLASS, PriorConfig, sample_batch
from causalmix.tfm.encoding import Encoder, Member, memory_options

_LEAST_COLUMNS = 4  # that tasks of the prior range up to
_LEAST_REHEARSED = 4  # rows of such a task
_AMPLE = 10**9  # cells: the number of tasks is given


@dataclass(frozen=True)
class TaskShape:
    """Numbers of real and synthetic rows in the context and among the queries of a task."""

    context_real: int
    context_made: int
    query_real: int
    query_made: int

    @property
    def synthetic_share(self) -> float:
        """Share of synthetic rows in the whole task."""
        made = self.context_made + self.query_made
        return made / (made + self.context_real + self.query_real)


@dataclass(frozen=True)
class Batch:
    """Tasks of one shape, as one ensemble member sees them.

    Attributes
    ----------
    member : Member or None
        That member; None for tasks of the prior, which are no member's.
    x_context, x_query : torch.Tensor
        Shapes (R_context, B, C) and (R_query, B, C).
    y_context, y_query : torch.Tensor
        Class codes, int64 of shapes (R_context, B) and (R_query, B). A query of a class that the
        context lacks may be `causalmix.prior.tasks.NO_CLASS`; it does not count.
    """

    member: Member | None
    x_context: torch.Tensor
    y_context: torch.Tensor
    x_query: torch.Tensor
    y_query: torch.Tensor

    @property
    def n_tasks(self) -> int:
        """B."""
        return self.y_query.shape[1]

    @property
    def n_counted(self) -> int:
        """Queries that the loss is the mean of."""
        return int((self.y_query != NO_CLASS).sum())

    def split(self, size: int) -> list[Batch]:
        """Return the same tasks in batches of `size` at most."""
        member, *fields = vars(self).values()
        parts = zip(*(field.split(size, dim=1) for field in fields), strict=True)
        return [Batch(member, *part) for part in parts]

    def loss(self, network: torch.nn.Module) -> torch.Tensor:
        """Return the mean log-loss of the queries (nats), with gradients."""
        if not self.n_counted:  # a mean of nothing
            return sum(parameter.sum() for parameter in network.parameters()) * 0.0
        if self.member is None:
            rows = torch.cat([self.x_context, self.x_query])
            logits = network(
                rows,
                self.y_context.float(),
                task_type="multiclass",
                categorical_inds=[[]] * self.n_tasks,
                performance_options=memory_options(network, rows),
            )
        else:
            logits = self.member.logits(network, self.x_context, self.y_context, self.x_query)
        # The logits (R, B, K) are in single precision again.
        return cross_entropy(
            logits.float().flatten(0, 1), self.y_query.flatten(), ignore_index=NO_CLASS
        )


def task_shape(
    config: FinetuneConfig, *, n_real: int, n_made: int, n_classes: int, progress: float
) -> TaskShape:
    """Divide a task among real and synthetic rows.

    The task is as large as the config and the rows allow, without a row in it twice. Its context
    has a real row of each class whatever the shares are, because a network that has not seen a
    class cannot predict it.

    Parameters
    ----------
    config : FinetuneConfig
        Shares, schedule and size.
    n_real, n_made : int
        Training rows, and rows of the pool.
    n_classes : int
        Classes among the training rows, fewer than these.
    progress : float
        Share of the steps that is done, in [0, 1].

    Returns
    -------
    TaskShape
    """
    factor = SCHEDULES[config.schedule](progress) if n_made else 0.0
    in_context = factor * config.synthetic_share
    in_query = factor * config.share_in_query
    made = (1 - config.query_share) * in_context + config.query_share * in_query
    limits = [config.rows_per_task]
    if made < 1:
        limits.append(int(n_real / (1 - made) + 1e-9))
    if made > 0:
        limits.append(int(n_made / made + 1e-9))
    size = max(min(limits), n_classes + 1)
    query = min(max(round(size * config.query_share), 1), size - n_classes)
    query_made = min(round(query * in_query), n_made)
    context_real = round((size - query) * (1 - in_context))
    context_real = min(max(context_real, n_classes), n_real - 1)
    room = min(size - query - context_real, n_made - query_made)
    context_made = max(room, 0) if in_context else 0
    query_real = min(query - query_made, n_real - context_real)
    return TaskShape(context_real, context_made, query_real, query_made)


@cache
def task_counts(config: FinetuneConfig, generates: bool) -> np.ndarray:
    """Count the tasks of every step that have no rows of the table's own.

    Parameters
    ----------
    config : FinetuneConfig
        Settled.
    generates : bool
        Whether there are synthetic rows.

    Returns
    -------
    ndarray of int, shape (steps, 2)
        Whole synthetic tasks and rehearsed ones, ``tasks_per_step`` together at most. Fractions add
        up: the sums over the steps so far are less than one task from what the shares ask for.
    """
    steps = range(1, config.steps + 1)
    whole = np.array([_whole_share(config, step) if generates else 0.0 for step in steps])
    shares = np.cumsum([whole, whole + config.rehearsal], axis=1)
    n_whole, n_both = np.floor(config.tasks_per_step * shares + 1e-9).astype(int)
    # Where rounding has a whole task take a rehearsed one's place, none is given back.
    n_rehearsed = np.maximum.accumulate(n_both - n_whole)
    return np.diff([n_whole, n_rehearsed], prepend=0).T


def _whole_share(config: FinetuneConfig, step: int) -> float:
    """Share of whole synthetic tasks in a step, where there are synthetic rows."""
    return config.synthetic_tasks * SCHEDULES[config.schedule](_progress(config, step))


def _progress(config: FinetuneConfig, step: int) -> float:
    return (step - 1) / max(config.steps, 1)


@dataclass(eq=False)
class TaskSampler:
    """Draws the tasks of every step.

    Parameters
    ----------
    encoder : Encoder
        Fitted on the training rows.
    train : TabularDataset
        The real rows.
    generator : Generator or None
        Fitted on the same rows; None for tasks of real rows only.
    config : FinetuneConfig
        What tasks are made of.
    seed : int
        Of the pool and the tasks.

    Raises
    ------
    DataError
        If there are no more rows than classes, real ones or, where tasks are synthetic as a whole,
        of a model.
    """

    encoder: Encoder
    train: TabularDataset
    generator: Generator | None
    config: FinetuneConfig
    seed: int

    def __post_init__(self) -> None:
        self._labels = codes_of(self.train.y)
        self._classes = np.unique(self._labels)
        if self.train.n_rows <= len(self._classes):
            raise DataError(
                f"{self.train.name!r} has {self.train.n_rows} training rows for "
                f"{len(self._classes)} classes; fine-tuning needs more rows than classes. Raise "
                "n_train."
            )
        self._rng = np.random.default_rng(self.seed)
        self._real = self.encoder.transform(self.train.X)
        self._pool: _Pool | None = None
        if self.generator is not None and self.config.mixes and self.config.steps:
            self._pool = self._draw_pool(self.seed)

    def shape(self, step: int) -> TaskShape:
        """Return the shape of the mixed tasks of a step, the first of which is 1."""
        return task_shape(
            self.config,
            n_real=len(self._labels),
            n_made=0 if self._pool is None else len(self._pool.labels),
            n_classes=len(self._classes),
            progress=_progress(self.config, step),
        )

    def draw(self, step: int) -> list[Batch]:
        """Draw the tasks of a step: mixed, whole synthetic and rehearsed ones, if there are any.

        Parameters
        ----------
        step : int
            From 1 on; it chooses the ensemble member and the place in the schedule.

        Returns
        -------
        list of Batch
            One a shape; their B add up to ``tasks_per_step``.
        """
        if self._pool is not None and self.config.fresh_rows and step > 1:
            self._pool = self._draw_pool(int(self._rng.integers(2**31)))
        shape = self.shape(step)
        n_whole, n_rehearsed = task_counts(self.config, self._pool is not None)[step - 1].tolist()
        n_mixed = self.config.tasks_per_step - n_whole - n_rehearsed
        mixed = [self._mixed(shape) for _ in range(n_mixed)]
        whole = [self._whole() for _ in range(n_whole)]
        batches = [self._batch(tasks, step) for tasks in (mixed, whole) if tasks]
        return [*batches, self._rehearsed(n_rehearsed)] if n_rehearsed else batches

    def synthetic_share(self, step: int) -> float:
        """Return the share of synthetic rows in the tasks of a step, on average over tasks."""
        whole = _whole_share(self.config, step) if self._pool is not None else 0.0
        whole += self.config.rehearsal
        return whole + (1 - whole) * self.shape(step).synthetic_share

    def _draw_pool(self, seed: int) -> _Pool:
        n = self.config.n_synthetic
        X, y = self.generator.sample(n, seed)
        models = np.zeros(n, dtype=int)
        if hasattr(self.generator, "dag_of_rows"):
            models = self.generator.dag_of_rows(n, seed)
        rows_of_model = int(np.bincount(models).max())
        if self.config.synthetic_tasks and rows_of_model <= len(self._classes):
            raise DataError(
                f"n_synthetic={n} leaves the models of the generator at most {rows_of_model} rows "
                f"for {len(self._classes)} classes; a synthetic task needs more rows than classes. "
                "Raise n_synthetic."
            )
        return _Pool(self.encoder.transform(X), codes_of(y), models)

    def _mixed(self, shape: TaskShape) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of context and queries; those of the pool follow the real ones."""
        n_real = len(self._labels)
        order = self._rng.permutation(n_real)
        real = _representatives_first(order, self._labels[order])
        real = real[: shape.context_real + shape.query_real]
        context, query = real[: shape.context_real], real[shape.context_real :]
        n_made = shape.context_made + shape.query_made
        if n_made:
            made = n_real + self._rng.choice(len(self._pool.labels), n_made, replace=False)
            context = np.concatenate([context, made[: shape.context_made]])
            query = np.concatenate([query, made[shape.context_made :]])
        return context, query

    def _whole(self) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of context and queries, all made by one model."""
        counts = np.bincount(self._pool.models)
        # A purified generator may be left few rows of a model, which would make all tasks small.
        usable = counts >= max(counts.max() / 2, len(self._classes) + 1)
        size = min(counts[usable].min(), len(self._labels), self.config.rows_per_task)
        size = max(size, len(self._classes) + 1)  # else no query is left
        n_query = max(round(size * self.config.query_share), 1)
        n_query = min(n_query, size - len(self._classes))  # every class is in the context
        model = self._rng.choice(np.flatnonzero(usable))
        rows = self._rng.permutation(np.flatnonzero(self._pool.models == model))
        rows = _representatives_first(rows, self._pool.labels[rows])[:size] + len(self._labels)
        return rows[: size - n_query], rows[size - n_query :]

    def _rehearsed(self, n_tasks: int) -> Batch:
        """Draw tasks of the prior, with as many rows as the others and no more columns."""
        n_rows = max(min(self.config.rows_per_task, len(self._labels)), _LEAST_REHEARSED)
        n_query = min(max(round(n_rows * self.config.query_share), 1), n_rows - 1)
        share = 1 - n_query / n_rows
        prior = PriorConfig(
            rows=(n_rows, n_rows),
            context_share=(share, share),
            max_features=max(self._real[0].shape[1], _LEAST_COLUMNS),
            max_classes=min(PriorConfig.max_classes, self.encoder.n_classes),
            budget=_AMPLE,
            max_tasks=n_tasks,
        )
        batch = sample_batch(prior, self._rng)
        n = batch.n_context
        x = self.encoder.prepare_prior(batch.x, n)
        parts = (x[:n], batch.y[:n], x[n:], batch.y[n:])
        return Batch(None, *(part.to(self._real[0].device) for part in parts))

    def _batch(self, tasks: list[tuple[np.ndarray, np.ndarray]], step: int) -> Batch:
        turn = step % len(self.encoder.members)
        features, labels = self._real[turn], self._labels
        if self._pool is not None:
            features = torch.cat([features, self._pool.features[turn]])
            labels = np.concatenate([labels, self._pool.labels])
        codes = torch.as_tensor(labels, device=features.device)
        context = torch.as_tensor(np.stack([rows for rows, _ in tasks], axis=1))  # (R_context, B)
        query = torch.as_tensor(np.stack([rows for _, rows in tasks], axis=1))  # (R_query, B)
        member = self.encoder.members[turn]
        return Batch(member, features[context], codes[context], features[query], codes[query])


@dataclass(frozen=True)
class _Pool:
    """Encoded synthetic rows."""

    features: list[torch.Tensor]  # a member each: (n_synthetic, C)
    labels: np.ndarray  # (n_synthetic,)
    models: np.ndarray  # the causal model that made each, (n_synthetic,)


def codes_of(y: pd.Series) -> np.ndarray:
    """Class codes of a target, int64; pandas counts categories in int8."""
    return y.cat.codes.to_numpy(dtype=np.int64)


def _representatives_first(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Move a row of each class to the front; `labels` are those of `rows`."""
    _, first = np.unique(labels, return_index=True)
    return np.concatenate([rows[first], np.delete(rows, first)])
