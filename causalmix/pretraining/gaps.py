"""How far a network trails strong learners, and on which tasks.

The optimality gap of a task is the network's log-loss less the best that is known to be possible.
What is possible is estimated by learners that are fitted on the task's context: boosting and
a random forest (Peroni, Le, Sheinin 2025, arXiv 2512.03307).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import joblib
import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy

from causalmix.errors import CausalMixError, check_names
from causalmix.pretraining.heldout import logits_and_targets
from causalmix.pretraining.regions import KNOBS, with_regions
from causalmix.prior.tasks import NO_CLASS, PriorConfig, TaskBatch, sample_batch
from causalmix.quality.baselines import BASELINES

LEARNERS = ("random_forest", "xgboost", "catboost")
"""The paper's learners, in `causalmix.quality.baselines.BASELINES`."""

_LOGGER = logging.getLogger(__name__)

CHANCE = "chance"
"""Prediction of the classes' shares in the context."""


@dataclass(frozen=True)
class Probe:
    """Tasks on which a gap is measured.

    Attributes
    ----------
    regions : dict of str to str
        The region of every knob.
    batch : TaskBatch
        A few tasks, on the CPU.
    """

    regions: dict[str, str]
    batch: TaskBatch


def draw_probes(
    base: PriorConfig,
    n_batches: int,
    seed: Sequence[int],
    *,
    tasks_per_batch: int = 2,
    knobs: Collection[str] = tuple(KNOBS),
) -> list[Probe]:
    """Draw tasks to measure gaps on, as many from every region of a knob.

    Parameters
    ----------
    base : PriorConfig
        Has the settings that no knob has.
    n_batches : int
        Draws of a region for every knob, at least as many as a knob has regions.
    seed : sequence of int
        Of all draws.
    tasks_per_batch : int, default=2
        Tasks with one draw of regions at most.
    knobs : collection of str, optional
        Keys of `causalmix.pretraining.regions.KNOBS`; by default all.

    Returns
    -------
    list of Probe

    Raises
    ------
    CausalMixError
        If no task of a region has a query row whose class is known. The knob and the region are
        named.
    """
    rng = np.random.default_rng(seed)
    drawn = {knob: rng.permutation(np.resize(list(KNOBS[knob]), n_batches)) for knob in knobs}
    probes = []
    for number in range(n_batches):
        regions = {knob: str(each[number]) for knob, each in drawn.items()}
        batch = sample_batch(with_regions(base, regions), rng)
        usable = (batch.y[batch.n_context :] != NO_CLASS).any(0).nonzero()[:tasks_per_batch, 0]
        batch = TaskBatch(batch.x[:, usable], batch.y[:, usable], batch.n_context)
        probes.append(Probe(regions, batch))
    _check_labels(probes)
    return probes


def _check_labels(probes: Sequence[Probe]) -> None:
    drawn, usable = set(), set()
    for probe in probes:
        drawn |= probe.regions.items()
        usable |= probe.regions.items() if probe.batch.y.shape[1] else set()
    for knob, region in sorted(drawn - usable):
        raise CausalMixError(
            f"The region {region!r} of the knob {knob!r} yields tasks without labels: no query row "
            "has a class that the context has. Give its tasks more rows or fewer classes."
        )


def learner_losses(
    probes: Sequence[Probe], learners: Collection[str] = LEARNERS, workers: int = 1
) -> pd.DataFrame:
    """Log-losses of the learners on the tasks of probes.

    Parameters
    ----------
    probes : sequence of Probe
        As `draw_probes` gives them.
    learners : collection of str, default=LEARNERS
        Keys of `causalmix.quality.baselines.BASELINES`.
    workers : int, default=1
        Processes, on one core each.

    Returns
    -------
    pandas.DataFrame
        A row a task, in the order of the probes: ``batch``, a column a knob, the loss in nats of
        each learner (NaN where it fails) and ``chance``. Probabilities count after one row of
        every class is added to the context's, because a forest's zero would cost infinitely much.

    Raises
    ------
    UnknownNameError
        If there is no such learner.
    CausalMixError
        If the library of a learner is not installed.
    """
    check_names(learners, BASELINES, "learner")
    for name in learners:
        _ = BASELINES[name].version  # says what to install
    tasks = [(number, *task) for number, probe in enumerate(probes) for task in _tasks(probe)]
    found = joblib.Parallel(n_jobs=workers)(
        joblib.delayed(_losses)(*task, tuple(learners)) for _, *task in tasks
    )
    rows = [
        {"batch": number, **probes[number].regions, **losses}
        for (number, *_), losses in zip(tasks, found, strict=True)
    ]
    return pd.DataFrame(rows)


def _tasks(probe: Probe) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    batch = probe.batch
    for b in range(batch.y.shape[1]):
        yield batch.x[:, b].numpy(), batch.y[:, b].numpy(), batch.n_context


def _losses(
    x: np.ndarray, y: np.ndarray, n_context: int, learners: Sequence[str]
) -> dict[str, float]:
    """Mean log-losses on the query rows whose class the context has."""
    known = x[:n_context].std(0, where=~np.isnan(x[:n_context])) > 0  # no learner needs the others
    columns = pd.DataFrame(x[:, known]).add_prefix("column")
    context, query = columns[:n_context], columns[n_context:][y[n_context:] != NO_CLASS]
    labels, truth = y[:n_context], y[n_context:][y[n_context:] != NO_CLASS]
    n_classes = labels.max() + 1
    shares = np.bincount(labels) / n_context

    def loss(probability: np.ndarray) -> float:
        smooth = (n_context * probability + 1) / (n_context + n_classes)
        return float(-np.log(smooth[np.arange(len(truth)), truth]).mean())

    def of_learner(name: str) -> float:
        with warnings.catch_warnings(action="ignore"):
            model = BASELINES[name].build(0, 1).fit(context, labels)
            return loss(model.predict_proba(query))

    losses = {name: _or_nan(of_learner, name) for name in learners}
    return losses | {CHANCE: loss(np.tile(shares, (len(truth), 1)))}


def _or_nan(loss: Callable[[str], float], name: str) -> float:
    """Return a learner's loss; one that fails on a task, for whatever reason, has none."""
    try:
        return loss(name)
    except Exception as error:
        _LOGGER.warning("%s failed on a task and is left out there: %s", name, error)
        return float("nan")


@torch.no_grad()
def network_losses(network: torch.nn.Module, probes: Sequence[Probe]) -> np.ndarray:
    """Log-losses of a network on the tasks of probes.

    Parameters
    ----------
    network : torch.nn.Module
        Architecture of TabPFN in evaluation mode.
    probes : sequence of Probe
        As `draw_probes` gives them.

    Returns
    -------
    numpy.ndarray
        In nats, shape (n_tasks,).
    """
    device = next(network.parameters(), torch.empty(0)).device
    losses = []
    for probe in probes:
        batch = TaskBatch(probe.batch.x.to(device), probe.batch.y.to(device), probe.batch.n_context)
        for b in range(batch.y.shape[1]):
            one = TaskBatch(batch.x[:, [b]], batch.y[:, [b]], batch.n_context)
            logits, targets = logits_and_targets(network, one)
            n_classes = int(one.y[: one.n_context].max()) + 1
            # A network may give classes that the context lacks a little; a learner cannot.
            found = cross_entropy(logits[:, 0, :n_classes], targets[:, 0], ignore_index=NO_CLASS)
            losses.append(found.item())
    return np.array(losses)


def optimality_gaps(
    network: np.ndarray, others: pd.DataFrame, learners: Collection[str] = LEARNERS
) -> pd.Series:
    """How much a network loses to the best learner on each task.

    Parameters
    ----------
    network : numpy.ndarray
        Losses as `network_losses` gives them.
    others : pandas.DataFrame
        Losses as `learner_losses` gives them.
    learners : collection of str, default=LEARNERS
        Those of them that count.

    Returns
    -------
    pandas.Series
        In nats, the network's loss less the least of the learners' and chance's. Where no learner
        beats chance there may be nothing to learn, and the gap is zero at most; where all
        learners failed it is NaN.

    Raises
    ------
    CausalMixError
        If all learners failed on all tasks.
    """
    best = others[list(learners)].min(axis=1)
    if best.isna().all():
        raise CausalMixError(
            f"No learner of {', '.join(learners)} could be fitted to any task; the log has each "
            "error. Name other learners."
        )
    gap = network - best.clip(upper=others[CHANCE])
    return gap.mask((best >= others[CHANCE]) & (gap > 0), 0.0)


def gaps_by_region(gaps: pd.Series, tasks: pd.DataFrame) -> pd.DataFrame:
    """Mean gap of every region of every knob.

    Parameters
    ----------
    gaps : pandas.Series
        As `optimality_gaps` gives them.
    tasks : pandas.DataFrame
        As `learner_losses` gives them.

    Returns
    -------
    pandas.DataFrame
        A row a region: ``knob``, ``region``, ``gap`` (nats), its standard ``error`` over batches,
        whose tasks are alike, and the number of ``batches``.
    """
    rows = []
    known = tasks.assign(gap=gaps).dropna(subset=["gap"])
    for knob in [name for name in KNOBS if name in tasks]:
        for region, part in known.groupby(knob):
            means = part.groupby("batch")["gap"].mean()
            row = {"knob": knob, "region": region, "gap": means.mean(), "error": means.sem()}
            rows.append(row | {"batches": len(means)})
    return pd.DataFrame(rows)
