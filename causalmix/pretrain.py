"""Pre-train the embedded foundation model on synthetic tasks: ``python -m causalmix.pretrain``.

The network is TabPFN's own third architecture, made tiny, from `tabpfn.architectures`. It sees
synthetic tables only (`causalmix.prior`); the checkpoint that is kept is the one with the lowest
log-loss on held-out synthetic tasks. Three small tables of scikit-learn are evaluated for the log
and select nothing. Training that was killed goes on from the last evaluation when it is started
again with the same configuration.

Reads nothing. Writes to the folder given: ``state.pt`` (to resume), ``log.csv`` (one row an
evaluation), ``manifest.json`` and ``model.safetensors``.

Shapes: R rows, C columns, B tasks, K classes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from causalmix.checkpoint import build_network, replace_file, write_checkpoint
from causalmix.errors import CheckpointError
from causalmix.prior import NO_CLASS, PriorConfig, TaskBatch, sample_batch, squash

ARCHITECTURE = "tabpfn_v3"

# About 224,000 parameters: learned several times faster per CPU second than `tabpfn_v2`.
NETWORK_CONFIG: dict[str, Any] = {
    "max_num_classes": 10,
    "num_buckets": 2,  # only for regression; 2 keeps the unused buffer small
    "embed_dim": 32,
    "dist_embed_num_blocks": 2,
    "dist_embed_num_heads": 4,
    "dist_embed_num_inducing_points": 16,
    "feat_agg_num_blocks": 2,
    "feat_agg_num_heads": 4,
    "feat_agg_num_cls_tokens": 2,
    "nlayers": 4,
    "icl_num_heads": 4,
    "decoder_head_dim": 32,
    "decoder_num_heads": 4,
}

# How TabPFNClassifier prepares a table for this network: light, and no column is multiplied,
# because fine-tuning pays for every column in every step.
INFERENCE_CONFIG: dict[str, Any] = {
    "PREPROCESS_TRANSFORMS": [
        {"name": "squashing_scaler_default", "categorical_name": "ordinal_shuffled"},
        {"name": "none", "categorical_name": "ordinal_shuffled"},
    ],
    "FINGERPRINT_FEATURE": False,
    "POLYNOMIAL_FEATURES": "no",
    "N_ESTIMATORS": 4,
    "SOFTMAX_TEMPERATURE": 1.0,
    "MAX_NUMBER_OF_CLASSES": 10,
    # Pre-trained on up to 40 columns and 320 rows. The limits are wider, so that ordinary tables
    # are accepted; beyond the trained range quality is extrapolated.
    "MAX_NUMBER_OF_FEATURES": 100,
    "MAX_NUMBER_OF_SAMPLES": 2_000,
    "MAX_CPU_SAMPLES": 2_000,
}


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that decides the result of a pre-training run, apart from the device.

    Attributes
    ----------
    steps : int
        Optimiser steps.
    tasks_per_step : int
        Synthetic tasks a step, B.
    learning_rate : float
        Peak rate of AdamW; linear warm-up, then cosine to zero.
    betas : tuple of float
        AdamW's moment decays.
    weight_decay : float
        AdamW's decoupled weight decay.
    warmup_steps : int
        Steps of linear warm-up.
    clip_norm : float
        Largest norm of the gradient.
    curriculum_share : float
        Share of the steps over which the tasks widen from binary, narrow and shallow to all.
    evaluate_every : int
        Steps between evaluations; also how much work a kill can lose.
    n_held_out : int
        Batches of held-out synthetic tasks that select the checkpoint.
    seed : int
        Seed of initialisation, training tasks and held-out tasks.
    prior : PriorConfig
        Where tasks come from.
    network : dict
        Configuration of the architecture.
    """

    steps: int = 5_000
    tasks_per_step: int = 8
    learning_rate: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup_steps: int = 100
    clip_norm: float = 1.0
    curriculum_share: float = 1 / 3
    evaluate_every: int = 250
    n_held_out: int = 24
    seed: int = 0
    prior: PriorConfig = field(default_factory=PriorConfig)
    network: dict[str, Any] = field(default_factory=lambda: dict(NETWORK_CONFIG))


def pretrain(
    folder: str | Path,
    config: PretrainConfig | None = None,
    *,
    device: str = "cpu",
    progress: bool = False,
) -> pd.DataFrame:
    """Pre-train a network, or go on with a run that was interrupted.

    Parameters
    ----------
    folder : str or Path
        Where state, log, manifest and checkpoint are written.
    config : PretrainConfig, optional
        Configuration of the run; the default is the one of the embedded checkpoint.
    device : str, default="cpu"
        Device of the network.
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
        If the folder holds a run with another configuration.
    """
    config, folder = config or PretrainConfig(), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(config, torch.device(device))
    run.resume(folder / "state.pt")
    held_out = _held_out_tasks(config)
    started, losses = time.perf_counter() - run.seconds, []
    steps = range(run.step + 1, config.steps + 1)
    for step in tqdm(steps, initial=run.step, total=config.steps, disable=not progress):
        losses.append(run.train_step(step))
        if step % config.evaluate_every == 0 or step == config.steps:
            run.seconds = time.perf_counter() - started
            run.evaluate(float(np.mean(losses)), held_out)
            run.save(folder)
            losses = []
    return run.log


class _Run:
    """State of a pre-training run: network, optimiser, step and log."""

    def __init__(self, config: PretrainConfig, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device = config, device
        self.network = build_network(ARCHITECTURE, config.network).to(device)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
        )
        self.step, self.seconds = 0, 0.0
        self.log = pd.DataFrame()

    def train_step(self, step: int) -> float:
        """Take one optimiser step; its tasks depend on the seed and the step alone."""
        config = self.config
        rng = np.random.default_rng([config.seed, step])
        difficulty = min(1.0, step / max(1, config.curriculum_share * config.steps))
        batch = sample_batch(config.prior, config.tasks_per_step, rng, difficulty=difficulty)
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, config)
        self.network.train()
        loss = cross_entropy(*_logits_and_targets(self.network, batch), ignore_index=NO_CLASS)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm)
        self.optimiser.step()
        self.step = step
        return loss.item()

    def evaluate(self, train_loss: float, held_out: Sequence[TaskBatch]) -> None:
        """Append a row to the log."""
        self.network.eval()
        held_out_loss, held_out_auc = evaluate_tasks(self.network, held_out)
        row = {
            "step": self.step,
            "train_loss": train_loss,
            "learning_rate": self.optimiser.param_groups[0]["lr"],
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
            write_checkpoint(
                folder / "model.safetensors",
                self.network.state_dict(),
                architecture_name=ARCHITECTURE,
                config=self.config.network,
                inference_config=INFERENCE_CONFIG,
            )
        replace_file(folder / "log.csv", lambda path: self.log.to_csv(path, index=False))
        manifest = json.dumps(self._manifest(folder / "model.safetensors"), indent=2) + "\n"
        replace_file(folder / "manifest.json", lambda path: path.write_text(manifest))
        state = {
            "config": asdict(self.config),
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
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
        if state["config"] != asdict(self.config):
            raise CheckpointError(
                f"{path.parent} holds a pre-training run with another configuration. "
                "Choose an empty folder, or the same configuration to go on with it."
            )
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
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
            "checkpoint_sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
            "training_seconds": round(self.seconds, 1),
            "device": str(self.device),
            "torch_threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("tabpfn", "torch", "numpy")},
            "commit": _commit(),
        }


def _schedule(step: int, config: PretrainConfig) -> float:
    """Factor on the learning rate: linear warm-up, then cosine to zero."""
    if step <= config.warmup_steps:
        return step / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * done))


def _logits_and_targets(
    network: torch.nn.Module, batch: TaskBatch
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (query rows × B, K) and classes of the query rows."""
    device = next(network.parameters()).device
    x, y = batch.x.to(device), batch.y.to(device)
    logits = network(x, y[: batch.n_context].float())  # (query rows, B, K)
    return logits.flatten(0, 1), y[batch.n_context :].flatten()


# ---- evaluation ----------------------------------------------------------------------------------


def _held_out_tasks(config: PretrainConfig) -> list[TaskBatch]:
    # Steps count from 1, so [seed, 0] is a stream that training never draws from.
    rng = np.random.default_rng([config.seed, 0])
    return [sample_batch(config.prior, 4, rng) for _ in range(config.n_held_out)]


@torch.no_grad()
def evaluate_tasks(network: torch.nn.Module, batches: Sequence[TaskBatch]) -> tuple[float, float]:
    """Mean log-loss and mean one-vs-rest ROC-AUC over synthetic tasks.

    Parameters
    ----------
    network : torch.nn.Module
        Architecture of TabPFN in evaluation mode.
    batches : sequence of TaskBatch
        Tasks that were not trained on.

    Returns
    -------
    loss, auc : float
        Each task counts the same in both.
    """
    losses, aucs = [], []
    for batch in batches:
        logits, targets = _logits_and_targets(network, batch)
        n_tasks = batch.x.shape[1]
        for task in range(n_tasks):
            task_logits, y = logits[task::n_tasks].double().cpu(), targets[task::n_tasks].cpu()
            task_logits, y = task_logits[y != NO_CLASS], y[y != NO_CLASS]
            if len(y):
                losses.append(cross_entropy(task_logits, y).item())
                aucs.append(mean_auc(y.numpy(), task_logits.softmax(dim=1).numpy()))
    return float(np.mean(losses)), float(np.nanmean(aucs))


@torch.no_grad()
def evaluate_real_tables(network: torch.nn.Module, n_context: int = 60) -> dict[str, float]:
    """ROC-AUC on scikit-learn's small tables, mean of three splits, for the log only.

    Parameters
    ----------
    network : torch.nn.Module
        Architecture of TabPFN in evaluation mode.
    n_context : int, default=60
        Labelled rows given as context; the others are predicted.

    Returns
    -------
    dict
        Table name → macro one-vs-rest ROC-AUC.
    """
    device = next(network.parameters()).device
    aucs = {}
    for load in (load_breast_cancer, load_iris, load_wine):
        x, y = load(return_X_y=True)
        scores = []
        for seed in range(3):
            context, query = train_test_split(
                np.arange(len(y)), train_size=n_context, stratify=y, random_state=seed
            )
            table = squash(x[np.r_[context, query]], n_context).astype(np.float32)  # (R, C)
            rows = torch.from_numpy(table)[:, None].to(device)
            codes = torch.from_numpy(y[context])[:, None].float().to(device)
            probability = network(rows, codes)[:, 0].double().softmax(dim=1).cpu().numpy()
            scores.append(mean_auc(y[query], probability))
        aucs[load.__name__.removeprefix("load_")] = float(np.mean(scores))
    return aucs


def mean_auc(y: np.ndarray, probability: np.ndarray) -> float:
    """Macro one-vs-rest ROC-AUC over the classes that `y` has and has not in some row.

    Parameters
    ----------
    y : numpy.ndarray
        Class codes, shape (R,).
    probability : numpy.ndarray
        Predicted probabilities, shape (R, K).

    Returns
    -------
    float
        NaN if `y` has only one class.
    """
    classes = np.unique(y)
    if len(classes) < 2:
        return float("nan")
    return float(np.mean([roc_auc_score(y == k, probability[:, k]) for k in classes]))


def _commit() -> str | None:
    """Commit of the source, where the package lies in a git checkout."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        result = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m causalmix.pretrain",
        description="Pre-train a small tabular foundation model on synthetic tasks.",
    )
    parser.add_argument("folder", type=Path, help="where state, log and checkpoint are written")
    default = PretrainConfig()
    for name in ("steps", "tasks_per_step", "evaluate_every", "seed"):
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=int, default=getattr(default, name))
    parser.add_argument("--learning-rate", type=float, default=default.learning_rate)
    parser.add_argument("--device", default="cpu", help='"cpu" (default), "cuda", …')
    options = vars(parser.parse_args(arguments))
    folder, device = options.pop("folder"), options.pop("device")
    log = pretrain(folder, PretrainConfig(**options), device=device, progress=True)
    print(log.tail(1).T.to_string(header=False))


if __name__ == "__main__":
    main()
