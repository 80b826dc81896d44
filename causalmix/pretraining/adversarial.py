"""Pre-training as a game: ``python -m causalmix.pretraining.adversarial FOLDER``.

The network goes on from a checkpoint, in rounds. In each, tasks from all regions of a family of
priors (`causalmix.pretraining.regions`) show where it trails strong learners most
(`causalmix.pretraining.gaps`); a rule moves the prior there; the network trains on a mixture of
such tasks and ordinary ones. A round after which the network predicts ordinary held-out tasks worse
is undone, and the next one has fewer tasks of the moved prior.

A game that was killed, or ran out of the time it was given, goes on from its last whole round when
it is started again with the same configuration.

Reads the checkpoint and the held-out tasks. Writes to the folder given what
`causalmix.pretraining.run` writes, where ``model.safetensors`` is the last network, and
``game.json`` with the rounds.

References
----------
Peroni, Le, Sheinin (2025), "Robust Tabular Foundation Models", arXiv 2512.03307.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from scipy.special import softmax
from tqdm import tqdm

from causalmix.atomic import check_writable, make_folder, sole_writer
from causalmix.data.own_settings import own_settings
from causalmix.errors import (
    CausalMixError,
    CheckpointError,
    check_filled,
    check_name,
    check_names,
    check_range,
    check_whole,
)
from causalmix.manifest import file_hash, read_json, write_json
from causalmix.pretraining.config import PretrainConfig, read_as
from causalmix.pretraining.gaps import (
    LEARNERS,
    draw_probes,
    gaps_by_region,
    learner_losses,
    network_losses,
    optimality_gaps,
)
from causalmix.pretraining.heldout import HELD_OUT_TASKS, read_tasks
from causalmix.pretraining.regions import KNOBS, PriorMixture, Probabilities
from causalmix.pretraining.run import TrainingRun, check_empty, moved
from causalmix.pretraining.tasks import task_stream
from causalmix.prior.tasks import PriorConfig, TaskBatch
from causalmix.quality.baselines import BASELINES
from causalmix.tfm.checkpoint import read_checkpoint
from causalmix.tfm.device import find_device, tensor_cores
from causalmix.tfm.model import EMBEDDED_CHECKPOINT

_KEPT = 0.5  # share of a region's earlier gap in the one that a rule sees; the rest is the last
_BOUND = 2.0  # standard errors above a gap that the bandit hopes for
_PROBES, _GAME = 7, "game.json"


def softmax_rule(gaps: pd.DataFrame, temperature: float) -> Probabilities:
    """Move the probability of regions to those with a large gap, as the paper does.

    Parameters
    ----------
    gaps : pandas.DataFrame
        ``knob``, ``region``, ``gap`` in nats, as `causalmix.pretraining.gaps.gaps_by_region` gives.
    temperature : float
        In nats. The larger, the more evenly.

    Returns
    -------
    dict
        Knob → region → probability; regions that were not measured have none.
    """
    return {
        str(knob): dict(
            zip(part["region"], softmax(part["gap"] / temperature).tolist(), strict=True)
        )
        for knob, part in gaps.groupby("knob", sort=False)
    }


def bandit_rule(gaps: pd.DataFrame) -> Probabilities:
    """Take one region of one knob, the one whose gap may be largest; others come as often.

    Parameters
    ----------
    gaps : pandas.DataFrame
        As `softmax_rule` takes it, with the standard ``error`` of each gap. What counts is the gap
        and two errors.

    Returns
    -------
    dict
        Knob → region → probability.
    """
    best = gaps.loc[(gaps["gap"] + _BOUND * gaps["error"].fillna(0)).idxmax()]
    measured = gaps.groupby("knob", sort=False)["region"].unique()  # others may have no tasks
    probabilities = {knob: dict.fromkeys(own, 1 / len(own)) for knob, own in measured.items()}
    probabilities[best["knob"]] = {best["region"]: 1.0}
    return probabilities


RULES = ("softmax", "bandit", "plain")
"""How the prior moves: by `softmax_rule`, by `bandit_rule`, or not at all."""


@dataclass(frozen=True)
class GameConfig:
    """Everything that decides the result of a game, apart from the checkpoint and the device.

    Attributes
    ----------
    rule : {"softmax", "bandit", "plain"}
        One of `RULES`.
    rounds : int
        How often gaps are measured and the prior moves.
    steps_per_round : int
        Optimiser steps of a round.
    batches_per_step : int
        Batches of tasks whose gradients are averaged in a step.
    learning_rate : float
        Peak rate; see `causalmix.pretraining.config.PretrainConfig`.
    seed : int
        Of all tasks.
    prior : PriorConfig
        Of ordinary tasks.
    ordinary : float
        Share of the batches that are ordinary.
    temperature : float
        Of the softmax, in nats.
    probes : int
        Draws of regions on which gaps are measured in a round, two tasks each; every region of a
        knob is drawn as often.
    learners : tuple of str
        Keys of `causalmix.quality.baselines.BASELINES` that say what is possible.
    tolerance : float
        By how many nats the loss on held-out tasks may exceed that of the checkpoint. After a round
        with more, the weights go back, and half as many batches come from the moved prior.
    """

    rule: str = "softmax"
    rounds: int = 8
    steps_per_round: int = 16
    batches_per_step: int = 1
    learning_rate: float = 5e-5  # at 2e-4 plain continuation harmed the embedded checkpoint
    seed: int = 0
    prior: PriorConfig = field(default_factory=PriorConfig)
    ordinary: float = 0.5
    temperature: float = 0.02
    probes: int = 32
    learners: tuple[str, ...] = LEARNERS
    tolerance: float = 0.002

    def __post_init__(self) -> None:
        check_name(self.rule, RULES, "rule")
        for name in ("rounds", "steps_per_round", "batches_per_step"):
            check_whole(getattr(self, name), 1, name)
        check_whole(self.probes, max(map(len, KNOBS.values())), "probes")
        check_range(self.learning_rate, "(0, inf)", "learning_rate")
        check_range(self.ordinary, "[0, 1]", "ordinary")
        check_range(self.temperature, "(0, inf)", "temperature")
        check_range(self.tolerance, "[0, inf)", "tolerance")
        check_filled(self.learners, "learners")
        check_names(self.learners, BASELINES, "learner")
        if self.prior.max_classes < 3:  # that region's tasks would be those of another one
            raise CausalMixError(
                'A game measures the region "more" of the knob "classes", whose tasks have three '
                f"classes or more; max_classes of the prior is {self.prior.max_classes}. Give 3 "
                "or more."
            )

    def training(self, start_from: Path) -> PretrainConfig:
        """Return the settings of the training, of the checkpoint's own network."""
        steps = self.rounds * self.steps_per_round
        return PretrainConfig(
            steps=steps,
            batches_per_step=self.batches_per_step,
            learning_rate=self.learning_rate,
            warmup_steps=steps // 10 + 1,
            decay_steps=steps // 4,
            curriculum_steps=0,
            evaluate_every=self.steps_per_round,
            seed=self.seed,
            network=read_checkpoint(start_from)["config"],
            prior=self.prior,
            start=file_hash(start_from),
        )


def play(
    folder: str | Path,
    config: GameConfig | None = None,
    *,
    start_from: str | Path = EMBEDDED_CHECKPOINT,
    held_out: str | Path = HELD_OUT_TASKS,
    device: str = "cpu",
    producers: int = 0,
    workers: int = 1,
    seconds: float | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Go on with the pre-training of a checkpoint as a game, or with an interrupted game.

    Parameters
    ----------
    folder : str or Path
        Where state, log, rounds and checkpoint are written.
    config : GameConfig, optional
        Settings of the game; by default a small one.
    start_from : str or Path, optional
        Checkpoint whose weights it starts from; by default the embedded one.
    held_out : str or Path, optional
        Ordinary tasks that must not be predicted worse; by default those of this package.
    device : str, default="cpu"
        Device of the network; ``"auto"`` takes a CUDA device where there is one.
    producers : int, default=0
        Processes that make tasks ahead; their number does not change the tasks.
    workers : int, default=1
        Processes in which the learners are fitted, on one core each.
    seconds : float, optional
        Begin no round after this time; another call plays the rest.
    progress : bool, default=False
        Show a progress bar.

    Returns
    -------
    pandas.DataFrame
        A row a round and region: ``round``, ``knob``, ``region``, ``gap`` before the round and its
        ``error`` (nats), ``batches``, and the ``probability`` that the rule gives the region.

    Raises
    ------
    CheckpointError
        If the folder holds another game, a damaged one or other results, or `start_from` is no
        checkpoint of the architecture that `causalmix.pretraining` trains.
    CausalMixError
        If the device, a learner's library or a region's labels are missing, a number makes no
        sense, or the folder cannot be written, or is being written by another process.
    """
    config, folder, start_from = config or GameConfig(), Path(folder), Path(start_from)
    check_whole(producers, 0, "producers")
    check_whole(workers, 1, "workers")
    if seconds is not None:
        check_range(seconds, "[0, inf)", "seconds")
    check_writable(folder, folder=True)
    make_folder(folder)
    where, started = find_device(device), time.perf_counter()
    with sole_writer(folder), own_settings(), tensor_cores(where):
        game = _Game(config, start_from, Path(held_out), where, folder)
        game.take_up()
        with tqdm(
            initial=game.round, total=config.rounds, unit="round", disable=not progress
        ) as bar:
            while game.round < config.rounds:
                if seconds is not None and time.perf_counter() - started > seconds:
                    break
                game.play_round(producers, workers)
                bar.update()
                bar.set_postfix_str(game.told())
    return game.regions()


class _Game:
    """The training run and the rounds so far."""

    def __init__(
        self,
        config: GameConfig,
        start_from: Path,
        held_out: Path,
        device: torch.device,
        folder: Path,
    ) -> None:
        self.config, self.folder = config, folder
        self.training = config.training(start_from)
        self.run = TrainingRun(self.training, start_from, device)
        self.held_out = [moved(b, device) for b in read_tasks(held_out, self.training.held_out)]
        self.rounds: list[dict[str, Any]] = []

    @property
    def round(self) -> int:
        return len(self.rounds)

    @property
    def ordinary(self) -> float:
        """Share of ordinary batches in the next round."""
        if self.config.rule == "plain":
            return 1.0
        undone = sum(not each["kept"] for each in self.rounds)
        return 1 - (1 - self.config.ordinary) / 2**undone

    def take_up(self) -> None:
        """Go on with the game in the folder, or write the beginning of this one there."""
        if not self.run.resume(self.folder / "state.pt"):
            check_empty(self.folder)
            self.run.evaluate(self.held_out)
            # Without a state the next start would refuse a folder with results in it.
            self._write_rounds()
            self.run.write_state(self.folder / "state.pt")
            self._write()
            return
        advice = "Take a copy of the whole folder, or delete it to begin anew."
        game = read_json(self.folder / _GAME, "the rounds of a game", advice)
        if game["config"] != self._settings():
            raise CheckpointError(
                f"{self.folder} holds a game with another configuration. Choose an empty folder, "
                "or the same configuration to go on with it."
            )
        # A kill may have come between a round's results and its state.
        self.rounds = game["rounds"][: self.run.step // self.config.steps_per_round]
        if not (self.folder / "model.safetensors").exists():
            self._write()

    def play_round(self, producers: int, workers: int) -> None:
        """Measure, move the prior, train, and keep the weights or not."""
        began, run = time.perf_counter(), self.run
        measured = self._measure(workers) if self.config.rule != "plain" else {"regions": []}
        mixture = self._mixture(measured["regions"])
        before = copy.deepcopy(
            (run.network.state_dict(), *(o.state_dict() for o in run.optimisers))
        )
        tables = self._train(mixture, producers)
        run.seconds += time.perf_counter() - began
        run.evaluate(self.held_out)
        loss, first = run.log["held_out_loss"].iloc[[-1, 0]]
        kept = bool(loss <= first + self.config.tolerance)
        if not kept:
            for part, state in zip((run.network, *run.optimisers), before, strict=True):
                part.load_state_dict(state)
        self.rounds.append(
            {"ordinary": mixture.ordinary, "tables": tables, "held_out_loss": float(loss)}
            | {"kept": kept, **measured}
        )
        self._write()

    def _measure(self, workers: int) -> dict[str, Any]:
        """Measure the gap of every region on new tasks from all of them."""
        config = self.config
        probes = draw_probes(config.prior, config.probes, (config.seed, self.round, _PROBES))
        self.run.network.eval()
        tasks = learner_losses(probes, config.learners, workers)
        gaps = optimality_gaps(network_losses(self.run.network, probes), tasks, config.learners)
        found = gaps_by_region(gaps, tasks)
        earlier = {
            (row["knob"], row["region"]): row["smooth"]
            for each in self.rounds[-1:]
            for row in each["regions"]
        }
        found["smooth"] = [
            _KEPT * earlier.get((knob, region), gap) + (1 - _KEPT) * gap
            for knob, region, gap in found[["knob", "region", "gap"]].itertuples(index=False)
        ]
        seen = found.assign(gap=found["smooth"])
        moved_prior = (
            softmax_rule(seen, config.temperature)
            if config.rule == "softmax"
            else bandit_rule(seen)
        )
        found["probability"] = [
            moved_prior[knob].get(region, 0.0)
            for knob, region in zip(found["knob"], found["region"], strict=True)
        ]
        failed = tasks[list(config.learners)].isna().sum()
        return {"failed": failed.astype(int).to_dict(), "regions": found.to_dict("records")}

    def _mixture(self, regions: Sequence[dict[str, Any]]) -> PriorMixture:
        probabilities: Probabilities = {}
        for row in regions:
            probabilities.setdefault(row["knob"], {})[row["region"]] = row["probability"]
        return PriorMixture(self.config.prior, probabilities, self.ordinary)

    def _train(self, mixture: PriorMixture, producers: int) -> int:
        """Take the steps of a round; return how many tasks they saw."""
        run, tables = self.run, 0
        pin = run.device.type == "cuda"
        last = run.step + self.config.steps_per_round
        ahead = task_stream(
            self.training, run.step + 1, last=last, mixture=mixture, producers=producers, pin=pin
        )

        def counted(batch: TaskBatch) -> TaskBatch:
            nonlocal tables
            tables += batch.y.shape[1]
            return batch

        with closing(ahead) as stream:
            batches = map(counted, stream)
            while run.step < last:
                run.train_step(run.step + 1, batches)
        return tables

    def _settings(self) -> dict[str, Any]:
        """Return the configuration as JSON gives it back."""
        return json.loads(json.dumps(asdict(self.config)))

    def _write_rounds(self) -> None:
        write_json(self.folder / _GAME, {"config": self._settings(), "rounds": self.rounds})

    def _write(self) -> None:
        """Write results first and what resuming needs last."""
        self._write_rounds()
        # The network is that of the last round that was not undone, or the one before all rounds.
        kept = [0, *(number for number, each in enumerate(self.rounds, 1) if each["kept"])]
        self.run.write_results(self.folder, row=kept[-1])
        self.run.write_state(self.folder / "state.pt")

    def regions(self) -> pd.DataFrame:
        """Return the regions of all rounds."""
        rows = [
            {"round": number, **row}
            for number, each in enumerate(self.rounds)
            for row in each["regions"]
        ]
        columns = ["round", "knob", "region", "gap", "error", "batches", "probability"]
        return pd.DataFrame(rows, columns=columns)

    def told(self) -> str:
        """Say how the last round went."""
        last = self.rounds[-1]
        verdict = "" if last["kept"] else ", undone"
        return f"held-out loss {last['held_out_loss']:.4f}{verdict}"


def read_config(path: Path) -> GameConfig:
    """Read the configuration of a game.

    Parameters
    ----------
    path : Path
        YAML with the attributes of `GameConfig`, ``prior`` with those of `PriorConfig`.

    Returns
    -------
    GameConfig

    Raises
    ------
    CheckpointError
        If the file is missing, or is no such configuration.
    """
    return read_as(GameConfig, path, "a game")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m causalmix.pretraining.adversarial",
        description="Go on with the pre-training of a checkpoint where it trails other learners.",
    )
    parser.add_argument("folder", type=Path, help="where state, log, rounds and checkpoint go")
    parser.add_argument("--config", type=Path, help="YAML; by default a small game")
    parser.add_argument("--start-from", type=Path, default=EMBEDDED_CHECKPOINT, help="checkpoint")
    parser.add_argument(
        "--held-out", type=Path, default=HELD_OUT_TASKS, help="tasks that must not become worse"
    )
    parser.add_argument("--device", default="auto", help='"auto" (default), "cpu", "cuda", …')
    parser.add_argument("--producers", type=int, default=2, help="processes that make tasks")
    parser.add_argument("--workers", type=int, default=2, help="processes that fit learners")
    parser.add_argument("--seconds", type=float, help="begin no round after this time")
    options = vars(parser.parse_args(arguments))
    try:
        path = options.pop("config")
        config = read_config(path) if path else GameConfig()
        regions = play(options.pop("folder"), config, progress=True, **options)
    except CausalMixError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    last = regions[regions["round"] == regions["round"].max()]
    print(last.drop(columns="round").to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
