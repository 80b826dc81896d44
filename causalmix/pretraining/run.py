"""Pre-train the embedded foundation model: ``python -m causalmix.pretraining.run``.

The network is TabPFN's own third architecture, made small, from `tabpfn.architectures`. It sees
synthetic tables only (`causalmix.prior.tasks`), which other processes make ahead on the CPU; the
checkpoint that is kept is the one with the lowest log-loss on held-out synthetic tasks
(`causalmix.pretraining.heldout`). A run that was killed, or ran out of the time it was given, goes
on from its last saved state when it is started again with the same configuration, on another
machine too if the folder is taken along.

Reads the configuration, the held-out tasks, and the checkpoint to start from if there is one.
Writes to the folder given: ``state.pt`` (to resume), ``log.csv`` (one row an evaluation),
``manifest.json`` and ``model.safetensors``.
"""

from __future__ import annotations

import argparse
import io
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from causalmix.atomic import check_writable, make_folder, replace_file, sole_writer
from causalmix.data.own_settings import own_settings
from causalmix.errors import CausalMixError, CheckpointError, check_range, check_whole, naming
from causalmix.manifest import file_hash, git_commit, read_json, write_json
from causalmix.pretraining.config import (
    ARCHITECTURE,
    INFERENCE_CONFIG,
    PRETRAINING,
    PretrainConfig,
    read_config,
)
from causalmix.pretraining.heldout import (
    HELD_OUT_TASKS,
    held_out_loss,
    logits_and_targets,
    read_tasks,
)
from causalmix.pretraining.tasks import task_stream
from causalmix.prior.tasks import NO_CLASS, TaskBatch
from causalmix.tfm.checkpoint import build_network, read_checkpoint, write_checkpoint
from causalmix.tfm.device import device_name, find_device, tensor_cores
from causalmix.tfm.model import load_tfm


def pretrain(
    folder: str | Path,
    config: PretrainConfig | None = None,
    *,
    start_from: str | Path | None = None,
    held_out: str | Path = HELD_OUT_TASKS,
    device: str = "cpu",
    producers: int = 0,
    seconds: float | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Pre-train a network, or go on with a run that was interrupted.

    Parameters
    ----------
    folder : str or Path
        Where state, log, manifest and checkpoint are written.
    config : PretrainConfig, optional
        Configuration of the run; by default that of the run that made the embedded checkpoint.
    start_from : str or Path, optional
        Checkpoint whose weights the run starts from, of the same architecture.
    held_out : str or Path, optional
        Tasks that select the checkpoint; by default those of this package.
    device : str, default="cpu"
        Device of the network; ``"auto"`` takes a CUDA device where there is one. Matrix products
        are computed in TF32 on CUDA.
    producers : int, default=0
        Processes that make the tasks ahead, on one core each; with 0 the trainer makes them
        between its steps. Their number does not change the tasks.
    seconds : float, optional
        Stop after the first step that ends later than this, save the state, and leave the rest to
        another call.
    progress : bool, default=False
        Show a progress bar.

    Returns
    -------
    pandas.DataFrame
        The log: one row an evaluation, with `step`, `train_loss` (mean cross-entropy since the
        last one), `learning_rate`, `held_out_loss`, `seconds` of training so
        far, how many of them the trainer `waited` for tasks, and `best` (lowest held-out loss yet).
        Empty if time ran out before the first evaluation.

    Raises
    ------
    CheckpointError
        If the folder holds a run with another configuration or a damaged state, results without
        one, or a state without the best weights, or `start_from` or `held_out` is not the file that
        the configuration names, or is missing.
    CausalMixError
        If the device is unknown or absent, a number makes no sense, or the folder cannot be
        written, or is being written by another process.
    """
    config, folder = config or read_config(), Path(folder)
    check_whole(producers, 0, "producers")
    if seconds is not None:
        check_range(seconds, "[0, inf)", "seconds")
    check_writable(folder, folder=True)
    make_folder(folder)
    where = find_device(device)
    with sole_writer(folder), own_settings(), tensor_cores(where):
        run = TrainingRun(config, start_from, where)
        if run.resume(folder / "state.pt"):
            _check_best(run.log, folder)
        else:
            check_empty(folder)
            run.write_state(folder / "state.pt")  # from here on the folder's results are this run's
        tasks = [moved(batch, run.device) for batch in read_tasks(Path(held_out), config.held_out)]
        pin = run.device.type == "cuda"
        ahead = task_stream(config, run.step + 1, producers=producers, pin=pin)
        with (
            closing(ahead) as stream,
            tqdm(initial=run.step, total=config.steps, disable=not progress) as bar,
        ):
            _train(run, stream, tasks, folder, seconds, bar)
    return run.log


def _check_best(log: pd.DataFrame, folder: Path) -> None:
    """Raise if an evaluation was the best yet, but its weights are not there any more."""
    if len(log) and not (folder / "model.safetensors").is_file():
        step = int(log.loc[log["best"].astype(bool), "step"].iloc[-1])
        raise CheckpointError(
            f"{folder} has no model.safetensors: the weights of its best evaluation, at step "
            f"{step}, are gone. Put a copy back, or choose an empty folder to begin anew."
        )


def _train(
    run: TrainingRun,
    stream: Iterator[TaskBatch],
    held_out: Sequence[TaskBatch],
    folder: Path,
    seconds: float | None,
    bar: tqdm,
) -> None:
    """Take steps until the run or its time ends; evaluate and save on the way."""
    config, started, before = run.config, time.perf_counter(), run.seconds
    out_of_time = False
    while run.step < config.steps and not out_of_time:
        run.train_step(run.step + 1, stream)
        bar.update()
        evaluates = run.step % config.evaluate_every == 0 or run.step == config.steps
        passed = time.perf_counter() - started
        out_of_time = seconds is not None and passed > seconds
        run.seconds = before + passed
        if evaluates:
            run.evaluate(held_out)
            run.write_results(folder)
        if evaluates or out_of_time:
            # Last, so that a kill in between repeats an evaluation and skips none.
            run.write_state(folder / "state.pt")


class TrainingRun:
    """State of a pre-training run: network, optimisers, step and log."""

    def __init__(
        self, config: PretrainConfig, start_from: str | Path | None, device: torch.device
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device = config, device
        self.network = build_network(ARCHITECTURE, config.network)
        if start_from is not None:
            _load_weights(self.network, Path(start_from), config)
        elif config.start:
            raise CheckpointError(
                f"The configuration starts from a checkpoint (SHA-256 {config.start}); give it "
                "with --start-from (start_from)."
            )
        self.network.to(device)
        self.optimisers = _optimisers(self.network, config)
        self.earlier, self.commit = _earlier_run(start_from), git_commit()
        self.step, self.seconds, self.waited = 0, 0.0, 0.0
        self.losses: list[torch.Tensor] = []  # of each batch since the last evaluation
        self.log = pd.DataFrame()

    def train_step(self, step: int, stream: Iterator[TaskBatch]) -> None:
        """Take one optimiser step on the next batches of the stream."""
        config = self.config
        self.network.train()
        self.network.zero_grad()
        for _ in range(config.batches_per_step):
            asked = time.perf_counter()
            batch = next(stream)
            self.waited += time.perf_counter() - asked
            logits, targets = logits_and_targets(self.network, moved(batch, self.device))
            loss = cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=NO_CLASS)
            (loss / config.batches_per_step).backward()
            if (targets != NO_CLASS).any():  # else there is nothing to be lost
                self.losses.append(loss.detach())  # a number would make the CPU wait for the GPU
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * _schedule(step, config)
            optimiser.step()
        self.step = step

    def evaluate(self, held_out: Sequence[TaskBatch]) -> None:
        """Append a row to the log."""
        self.network.eval()
        loss = held_out_loss(self.network, held_out)
        row = {
            "step": self.step,
            "train_loss": torch.stack(self.losses).mean().item() if self.losses else float("nan"),
            "learning_rate": self.optimisers[0].param_groups[0]["lr"],
            "held_out_loss": loss,
            "seconds": self.seconds,
            "waited": self.waited,
            "best": self.log.empty or bool(loss < self.log["held_out_loss"].min()),
        }
        self.log = pd.concat([self.log, pd.DataFrame([row])], ignore_index=True)
        self.losses = []

    def write_results(self, folder: Path, *, row: int | None = None) -> None:
        """Write the log, the manifest, and the checkpoint if it is the best yet.

        Or whatever it is, where `row` says which evaluation of the log is its own.
        """
        if row is not None or self.log["best"].iloc[-1]:
            checkpoint = {
                "state_dict": _half(self.network.state_dict()),
                "config": self.config.network,
                "architecture_name": ARCHITECTURE,
                "inference_config": INFERENCE_CONFIG,
            }
            write_checkpoint(folder / "model.safetensors", checkpoint)
        replace_file(folder / "log.csv", lambda path: self.log.to_csv(path, index=False))
        write_json(folder / "manifest.json", self._manifest(folder / "model.safetensors", row))

    def write_state(self, path: Path) -> None:
        """Write what `resume` needs to go on as if nothing had happened."""
        state = {
            "config": asdict(self.config),
            "network": self.network.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "step": self.step,
            "seconds": self.seconds,
            "waited": self.waited,
            "losses": self.losses,
            "log": self.log.to_dict("list"),
        }
        content = io.BytesIO()  # PyTorch's own writer says nothing of a full disk
        torch.save(state, content)
        replace_file(path, lambda partial: partial.write_bytes(content.getbuffer()))

    def resume(self, path: Path) -> bool:
        """Take over the state in `path`; say whether there is one."""
        if not path.is_file():
            return False
        advice = "Delete it to begin anew, or take a copy of the folder."
        with naming(path, "the state of a pre-training run", advice, CheckpointError):
            self._take_over(torch.load(path, map_location=self.device, weights_only=True), path)
        return True

    def _take_over(self, state: Mapping[str, Any], path: Path) -> None:
        length = {"steps": self.config.steps, "decay_steps": self.config.decay_steps}
        if state["config"] | length != asdict(self.config):
            raise CheckpointError(
                f"{path.parent} holds a pre-training run with another configuration. "
                "Choose an empty folder, or the same configuration to go on with it."
            )
        self.network.load_state_dict(state["network"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.seconds, self.waited = state["step"], state["seconds"], state["waited"]
        self.losses, self.log = state["losses"], pd.DataFrame(state["log"])

    def _manifest(self, checkpoint: Path, row: int | None) -> dict[str, Any]:
        which = "best_" if row is None else ""
        stored = self.log.loc[self.log["held_out_loss"].idxmin() if row is None else row]
        return {
            "config": asdict(self.config),
            "architecture": ARCHITECTURE,
            "parameters": sum(p.numel() for p in self.network.parameters()),
            "steps_done": self.step,
            f"{which}step": int(stored["step"]),
            f"{which}held_out_loss": round(float(stored["held_out_loss"]), 5),
            "file_hash": file_hash(checkpoint),
            "content_hash": load_tfm(checkpoint).content_hash,
            "training_seconds": round(self.seconds, 1),
            "device": device_name(self.device),
            "torch_threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("tabpfn", "torch", "numpy")},
            "commit": self.commit,
            "earlier": self.earlier,
        }


def check_empty(folder: Path) -> None:
    """Raise `CheckpointError` if a run would replace results that are not its own."""
    for name in ("model.safetensors", "log.csv", "manifest.json"):
        if (folder / name).exists():
            raise CheckpointError(
                f"{folder} holds {name}, but no state.pt of a run to go on with. Move it or choose "
                "another folder."
            )


def _half(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights as the checkpoint stores them: half the size, and no loss changes by it."""
    return {key: w.half() if w.is_floating_point() else w for key, w in weights.items()}


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
    if manifest is None or not manifest.is_file():
        return None
    return read_json(manifest, "the manifest of a run", "Move it elsewhere to go on without it.")


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
    return min(1.0, step / max(1, config.warmup_steps), left)


def moved(batch: TaskBatch, device: torch.device) -> TaskBatch:
    """Return a batch on a device; copies from pinned memory are not waited for."""
    x, y = (each.to(device, non_blocking=True) for each in (batch.x, batch.y))
    return replace(batch, x=x, y=y)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m causalmix.pretraining.run",
        description="Pre-train a small tabular foundation model on synthetic tasks.",
    )
    parser.add_argument("folder", type=Path, help="where state, log and checkpoint are written")
    parser.add_argument(
        "--config",
        type=Path,
        default=PRETRAINING,
        help="YAML; by default that of the run that made the embedded checkpoint",
    )
    parser.add_argument("--start-from", type=Path, help="checkpoint whose weights to start from")
    parser.add_argument(
        "--held-out", type=Path, default=HELD_OUT_TASKS, help="tasks that select the checkpoint"
    )
    parser.add_argument("--device", default="auto", help='"auto" (default), "cpu", "cuda", …')
    parser.add_argument(
        "--producers", type=int, default=4, help="processes that make the tasks (default 4)"
    )
    parser.add_argument("--seconds", type=float, help="stop and save after this time")
    options = vars(parser.parse_args(arguments))
    try:
        config = read_config(options.pop("config"))
        log = pretrain(options.pop("folder"), config, progress=True, **options)
    except CausalMixError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(log.tail(1).T.to_string(header=False))


if __name__ == "__main__":
    main()
