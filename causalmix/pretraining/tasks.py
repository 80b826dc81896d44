"""Training tasks, made ahead of the trainer by processes of their own.

A batch is drawn from the run's seed, its step and its number in the step alone, always on the CPU
and on one thread. So it does not matter how many processes make the batches, where the network
trains, or how often the run was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from causalmix.pretraining.config import PretrainConfig
from causalmix.pretraining.regions import PriorMixture
from causalmix.prior.tasks import TaskBatch, sample_batch

_AHEAD = 4  # batches that a producer may be ahead of the trainer


def make_tasks(
    config: PretrainConfig, step: int, number: int, mixture: PriorMixture | None = None
) -> TaskBatch:
    """Make one batch of a run.

    Parameters
    ----------
    config : PretrainConfig
        Of the run.
    step : int
        From 1.
    number : int
        Of the batch in the step, from 0.
    mixture : PriorMixture, optional
        Where tasks come from, in place of the prior of `config`.

    Returns
    -------
    TaskBatch
        On the CPU.
    """
    rng = np.random.default_rng([config.seed, step, number])
    difficulty = min(1.0, step / max(1, config.curriculum_steps))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more would add up in another order
    try:
        prior = mixture.draw(rng) if mixture else config.prior
        return sample_batch(prior, rng, difficulty=difficulty)
    finally:
        torch.set_num_threads(threads)


def task_stream(
    config: PretrainConfig,
    step: int,
    *,
    last: int | None = None,
    mixture: PriorMixture | None = None,
    producers: int = 0,
    pin: bool = False,
) -> Iterator[TaskBatch]:
    """Make the batches of a run in order.

    Parameters
    ----------
    config : PretrainConfig
        Of the run.
    step : int
        The first step whose batches are made.
    last : int, optional
        The last one; by default the run's.
    mixture : PriorMixture, optional
        Where tasks come from, in place of the prior of `config`.
    producers : int, default=0
        Processes that make them ahead; with 0 each is made when it is asked for.
    pin : bool, default=False
        Hand them over in memory from which a copy to a GPU need not be waited for.

    Yields
    ------
    TaskBatch
        On the CPU.
    """
    per_step = config.batches_per_step
    loader = DataLoader(
        _Batches(config, mixture),
        batch_size=None,  # an item is a batch already
        sampler=range((step - 1) * per_step, (last or config.steps) * per_step),
        num_workers=producers,
        prefetch_factor=_AHEAD if producers else None,
        pin_memory=pin,
    )
    for x, y, n_context in loader:
        yield TaskBatch(x, y, n_context)


class _Batches(Dataset):
    """The batches of a run by their number in it, in a form that PyTorch's loader passes on."""

    def __init__(self, config: PretrainConfig, mixture: PriorMixture | None) -> None:
        self._config, self._mixture = config, mixture

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        step, number = divmod(index, self._config.batches_per_step)
        batch = make_tasks(self._config, step + 1, number, self._mixture)
        return batch.x, batch.y, batch.n_context
