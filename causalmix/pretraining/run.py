"""Pre-train the embedded foundation model on synthetic tasks: ``python -m causalmix.pretraining.run``.

The network is TabPFN's own third architecture, made small, from `tabpfn.architectures`. It sees
synthetic tables only (`causalmix.prior.tasks`); the checkpoint that is kept is the one with the
lowest log-loss on held-out synthetic tasks. Three small tables of scikit-learn are evaluated for
the log and select nothing. Training that was killed goes on from the last evaluation when it is
started again with the same configuration. With several workers, each process draws its own batches
and the gradients are averaged.

Reads nothing. Writes to the folder given: ``state.pt`` (to resume), ``log.csv`` (one row an
evaluation), ``manifest.json`` and ``model.safetensors``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from causalmix.atomic import replace_file
from causalmix.errors import CheckpointError
from causalmix.manifest import file_hash, git_commit, write_json
from causalmix.pretraining.config import ARCHITECTURE, INFERENCE_CONFIG, PretrainConfig
from causalmix.pretraining.heldout import evaluate_real_tables, evaluate_tasks, logits_and_targets
from causalmix.prior.tasks import NO_CLASS, PriorConfig, TaskBatch, sample_batch
from causalmix.tfm.checkpoint import build_network, read_checkpoint, write_checkpoint


def pretrain(
    folder: str | Path,
    config: PretrainConfig | None = None,
    *,
    start_from: str | Path | None = None,
    device: str = "cpu",
    workers: int = 1,
    progress: bool = False,
) -> pd.DataFrame:
    """Pre-train a network, or go on with a run that was interrupted.

    Parameters
    ----------
    folder : str or Path
        Where state, log, manifest and checkpoint are written.
    config : PretrainConfig, optional
        Configuration of the run; by default one of about two hours on two cores.
    start_from : str or Path, optional
        Checkpoint whose weights the run starts from, of the same architecture.
    device : str, default="cpu"
        Device of the network.
    workers : int, default=1
        Processes that share the batches of a step, one thread each. Their number changes results
        only by rounding.
    progress : bool, default=False
        Show a progress bar.

    Returns
    -------
    pandas.DataFrame
        The log: one row an evaluation, with `step`, `train_loss` (mean cross-entropy since the
        last one), `learning_rate`, `held_out_loss`, `held_out_auc`, one AUC column for each real
        table, `seconds` of training so far, and `best` (lowest held-out loss yet).

    Raises
    ------
    CheckpointError
        If the folder holds a run with another configuration, or `start_from` does not fit.
    """
    config, folder = config or PretrainConfig(), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arguments = (folder, config, start_from, device, progress)
    if workers == 1:
        _work(0, 1, "", *arguments)
    else:
        with tempfile.TemporaryDirectory() as meeting:
            torch.multiprocessing.spawn(
                _work, (workers, f"{meeting}/store", *arguments), nprocs=workers
            )
    return pd.read_csv(folder / "log.csv")


def _work(
    rank: int,
    workers: int,
    meeting: str,
    folder: Path,
    config: PretrainConfig,
    start_from: str | Path | None,
    device: str,
    progress: bool,
) -> None:
    """Run one of the processes; the first one evaluates and writes."""
    if workers > 1:
        torch.set_num_threads(1)
        dist.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=rank, world_size=workers
        )
    run = _Run(config, start_from, torch.device(device), rank, workers)
    run.resume(folder / "state.pt")
    held_out = _held_out_tasks(config) if rank == 0 else []
    started, losses = time.perf_counter() - run.seconds, []
    steps = range(run.step + 1, config.steps + 1)
    hidden = rank > 0 or not progress
    parent = os.getppid()
    for step in tqdm(steps, initial=run.step, total=config.steps, disable=hidden):
        if workers > 1 and os.getppid() != parent:
            raise SystemExit("The main process is gone.")  # killed: do not train on unseen
        losses.append(run.train_step(step))
        if rank == 0 and (step % config.evaluate_every == 0 or step == config.steps):
            run.seconds = time.perf_counter() - started
            run.evaluate(float(np.mean(losses)), held_out)
            run.save(folder)
            losses = []
    if workers > 1:
        dist.destroy_process_group()


class _Run:
    """State of a pre-training run: network, optimisers, step and log."""

    def __init__(
        self,
        config: PretrainConfig,
        start_from: str | Path | None,
        device: torch.device,
        rank: int,
        workers: int,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device, self.rank, self.workers = config, device, rank, workers
        self.network = build_network(ARCHITECTURE, config.network)
        if start_from is not None:
            _load_weights(self.network, Path(start_from), config)
        self.network.to(device)
        self.optimisers = _optimisers(self.network, config)
        self.earlier = _earlier_run(start_from)
        self.step, self.seconds = 0, 0.0
        self.log = pd.DataFrame()

    def train_step(self, step: int) -> float:
        """Take one optimiser step; its tasks depend on the seed and the step alone."""
        config, total = self.config, 0.0
        self.network.train()
        self.network.zero_grad()
        for number in range(self.rank, config.batches_per_step, self.workers):
            rng = np.random.default_rng([config.seed, step, number])
            difficulty = min(1.0, step / max(1, config.curriculum_steps))
            batch = sample_batch(config.prior, rng, difficulty=difficulty, device=self.device)
            logits, targets = logits_and_targets(self.network, batch)
            loss = cross_entropy(logits, targets, ignore_index=NO_CLASS) / config.batches_per_step
            loss.backward()
            total += loss.item()
        if self.workers > 1:
            _sum_gradients(self.network)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * _schedule(step, config)
            optimiser.step()
        self.step = step
        return total * self.workers

    def evaluate(self, train_loss: float, held_out: Sequence[TaskBatch]) -> None:
        """Append a row to the log."""
        self.network.eval()
        held_out_loss, held_out_auc = evaluate_tasks(self.network, held_out)
        row = {
            "step": self.step,
            "train_loss": train_loss,
            "learning_rate": self.optimisers[0].param_groups[0]["lr"],
            "held_out_loss": held_out_loss,
            "held_out_auc": held_out_auc,
            **{f"{name}_auc": auc for name, auc in evaluate_real_tables(self.network).items()},
            "seconds": self.seconds,
            "best": self.log.empty or bool(held_out_loss < self.log["held_out_loss"].min()),
        }
        self.log = pd.concat([self.log, pd.DataFrame([row])], ignore_index=True)

    def save(self, folder: Path) -> None:
        """Write all files; the state last, so that a kill in between repeats, not skips."""
        if self.log["best"].iloc[-1]:
            checkpoint = {
                "state_dict": dict(self.network.state_dict()),
                "config": self.config.network,
                "architecture_name": ARCHITECTURE,
                "inference_config": INFERENCE_CONFIG,
            }
            write_checkpoint(folder / "model.safetensors", checkpoint)
        replace_file(folder / "log.csv", lambda path: self.log.to_csv(path, index=False))
        write_json(folder / "manifest.json", self._manifest(folder / "model.safetensors"))
        state = {
            "config": asdict(self.config),
            "network": self.network.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "step": self.step,
            "seconds": self.seconds,
            "log": self.log.to_dict("list"),
        }
        replace_file(folder / "state.pt", lambda path: torch.save(state, path))

    def resume(self, path: Path) -> None:
        """Take over the state in `path`, if there is one."""
        if not path.is_file():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        length = {"steps": self.config.steps, "decay_steps": self.config.decay_steps}
        if state["config"] | length != asdict(self.config):
            raise CheckpointError(
                f"{path.parent} holds a pre-training run with another configuration. "
                "Choose an empty folder, or the same configuration to go on with it."
            )
        self.network.load_state_dict(state["network"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]
        self.log = pd.DataFrame(state["log"])

    def _manifest(self, checkpoint: Path) -> dict[str, Any]:
        best = self.log.loc[self.log["held_out_loss"].idxmin()]
        return {
            "config": asdict(self.config),
            "architecture": ARCHITECTURE,
            "parameters": sum(p.numel() for p in self.network.parameters()),
            "steps_done": self.step,
            "best_step": int(best["step"]),
            "best_held_out_loss": round(float(best["held_out_loss"]), 5),
            "checkpoint_sha256": file_hash(checkpoint),
            "training_seconds": round(self.seconds, 1),
            "device": str(self.device),
            "workers": self.workers,
            "torch_threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("tabpfn", "torch", "numpy")},
            "commit": git_commit(),
            "earlier": self.earlier,
        }


def _load_weights(network: torch.nn.Module, path: Path, config: PretrainConfig) -> None:
    """Take over a checkpoint's weights, if it is the one that `config` names."""
    if not path.is_file():
        raise CheckpointError(f"No checkpoint at {path} to start from. Check the path.")
    found = file_hash(path)
    if found != config.start:
        raise CheckpointError(
            f"The configuration starts from a checkpoint with SHA-256 {config.start!r}, but that "
            f"of {path.name} is {found!r}."
        )
    try:
        network.load_state_dict(read_checkpoint(path)["state_dict"])
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path.name} does not fit the network: {reason}") from error


def _earlier_run(start_from: str | Path | None) -> dict[str, Any] | None:
    """Manifest of the run that made the checkpoint to start from, where it lies beside it."""
    manifest = Path(start_from).with_name("manifest.json") if start_from is not None else None
    return json.loads(manifest.read_text()) if manifest and manifest.is_file() else None


def _optimisers(
    network: torch.nn.Module, config: PretrainConfig
) -> tuple[torch.optim.Muon, torch.optim.AdamW]:
    """Muon for the matrices of attention and feed-forward layers, AdamW for all other weights."""
    matrices, others = [], []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            inside = "_projection.weight" in name or ".mlp." in name
            (matrices if inside and parameter.ndim == 2 else others).append(parameter)
    settings = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    muon = torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw", **settings)
    return muon, torch.optim.AdamW(others, betas=(0.9, 0.98), **settings)


def _schedule(step: int, config: PretrainConfig) -> float:
    """Factor on the learning rate: linear warm-up, plateau, linear decay to zero."""
    left = (config.steps - step + 1) / max(1, config.decay_steps)
    return min(1.0, step / config.warmup_steps, left)


def _sum_gradients(network: torch.nn.Module) -> None:
    """Add up the gradients of all processes, in one message."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([grad.flatten() for grad in grads])
    dist.all_reduce(flat)
    for parameter, part in zip(parameters, flat.split([g.numel() for g in grads]), strict=True):
        parameter.grad = part.view_as(parameter)


def _held_out_tasks(config: PretrainConfig) -> list[TaskBatch]:
    # Steps count from 1, so [seed, 0] is a stream that training never draws from.
    rng = np.random.default_rng([config.seed, 0])
    return [sample_batch(config.prior, rng) for _ in range(config.n_held_out)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m causalmix.pretraining.run",
        description="Pre-train a small tabular foundation model on synthetic tasks.",
    )
    parser.add_argument("folder", type=Path, help="where state, log and checkpoint are written")
    simple = [f for f in fields(PretrainConfig) if f.type in ("int", "float")]
    for each in simple:
        flag, kind = (
            "--" + each.name.replace("_", "-"),
            {"int": int, "float": float}[str(each.type)],
        )
        parser.add_argument(flag, type=kind, default=each.default)
    parser.add_argument("--budget", type=int, default=PriorConfig.budget, help="size of a batch")
    parser.add_argument("--max-tasks", type=int, default=PriorConfig.max_tasks)
    parser.add_argument("--start-from", type=Path, help="checkpoint whose weights to start from")
    parser.add_argument("--device", default="cpu", help='"cpu" (default), "cuda", …')
    parser.add_argument("--workers", type=int, default=1, help="processes that share a step")
    options = parser.parse_args(arguments)
    start = options.start_from
    if start and not start.is_file():
        parser.error(f"no checkpoint at {start} to start from")
    config = PretrainConfig(
        **{each.name: getattr(options, each.name) for each in simple},
        start=file_hash(start) if start else "",
        prior=PriorConfig(budget=options.budget, max_tasks=options.max_tasks),
    )
    log = pretrain(
        options.folder,
        config,
        start_from=start,
        device=options.device,
        workers=options.workers,
        progress=True,
    )
    print(log.tail(1).T.to_string(header=False))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
