"""How well a network in pre-training predicts tasks that it was not trained on.

``python -m causalmix.pretraining.heldout [CHECKPOINT]`` computes the loss of a checkpoint, by
default the embedded one, on the held-out tasks of this package: synthetic ones that no run has
trained on. They are a file, so that a change to the prior changes no loss.

Reads the checkpoint and the tasks. Writes nothing.

Shapes: Q query rows, C columns, B tasks, K classes.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

from causalmix.atomic import replace_file
from causalmix.errors import CausalMixError, CheckpointError, naming
from causalmix.manifest import file_hash
from causalmix.prior.tasks import NO_CLASS, TaskBatch
from causalmix.tfm.model import EMBEDDED_CHECKPOINT, load_tfm

HELD_OUT_TASKS = Path(__file__).with_name("held_out_tasks.safetensors")
HELD_OUT_HASH = "7d497ffd2e9e078d46a6a288aa861ccaf9e38b3645aa79c5a52f5bfb539e1cb9"


def read_tasks(path: Path = HELD_OUT_TASKS, content: str = HELD_OUT_HASH) -> list[TaskBatch]:
    """Read batches of tasks, if they are the right ones.

    Parameters
    ----------
    path : Path, optional
        As `write_tasks` writes it; by default the held-out tasks of this package.
    content : str, optional
        The `content_hash` that they must have.

    Returns
    -------
    list of TaskBatch

    Raises
    ------
    CheckpointError
        If the file is missing or damaged, or holds other tasks.
    """
    advice = "Reinstall the package, or name the right file."
    with naming(path, "held-out tasks", advice, CheckpointError):
        tensors = load_file(path)
        numbers = sorted({key.partition(".")[0] for key in tensors})
        batches = [
            TaskBatch(tensors[f"{n}.x"], tensors[f"{n}.y"], int(tensors[f"{n}.n_context"]))
            for n in numbers
        ]
    found = content_hash(batches)
    if found != content:
        raise CheckpointError(
            f"The held-out tasks in {path.name} have the content hash {found}, not {content}: "
            f"losses on them compare with no other. {advice}"
        )
    return batches


def write_tasks(path: Path, batches: Sequence[TaskBatch]) -> str:
    """Write batches of tasks to a file in the safetensors format.

    Parameters
    ----------
    path : Path
        File to write or replace. It holds ``NNN.x``, ``NNN.y`` and ``NNN.n_context`` of each batch.
    batches : sequence of TaskBatch
        On the CPU.

    Returns
    -------
    str
        Their `content_hash`.
    """
    tensors = {}
    for number, batch in enumerate(batches):
        tensors[f"{number:03d}.x"] = batch.x
        tensors[f"{number:03d}.y"] = batch.y
        tensors[f"{number:03d}.n_context"] = torch.tensor([batch.n_context])
    replace_file(path, lambda partial: save_file(tensors, partial))
    return content_hash(batches)


def content_hash(batches: Sequence[TaskBatch]) -> str:
    """Hash what batches of tasks hold, however a file arranges it.

    Parameters
    ----------
    batches : sequence of TaskBatch
        On the CPU.

    Returns
    -------
    str
        SHA-256, hexadecimal.
    """
    digest = hashlib.sha256()
    for batch in batches:
        digest.update(f"{tuple(batch.x.shape)} {batch.n_context}".encode())
        for tensor in (batch.x, batch.y):
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def logits_and_targets(
    network: torch.nn.Module, batch: TaskBatch
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run a network on a batch of tasks.

    Parameters
    ----------
    network : torch.nn.Module
        Architecture of TabPFN.
    batch : TaskBatch
        Tasks on the network's device.

    Returns
    -------
    logits : torch.Tensor
        Of the query rows, shape (Q, B, K).
    targets : torch.Tensor
        Their classes, int64 of shape (Q, B).
    """
    logits = network(batch.x, batch.y[: batch.n_context].float())
    return logits, batch.y[batch.n_context :]


@torch.no_grad()
def held_out_loss(network: torch.nn.Module, batches: Sequence[TaskBatch]) -> float:
    """Mean log-loss over synthetic tasks, each of which counts the same.

    Parameters
    ----------
    network : torch.nn.Module
        Architecture of TabPFN in evaluation mode.
    batches : sequence of TaskBatch
        Tasks that were not trained on, on the network's device.

    Returns
    -------
    float
        In nats. Query rows of a class that the context lacks do not count.
    """
    means = []
    for batch in batches:
        logits, targets = logits_and_targets(network, batch)
        losses = cross_entropy(
            logits.transpose(1, 2), targets, ignore_index=NO_CLASS, reduction="none"
        )  # (Q, B), 0 where ignored
        n_known = (targets != NO_CLASS).sum(0)
        means.append((losses.sum(0) / n_known)[n_known > 0])
    return torch.cat(means).double().mean().item()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m causalmix.pretraining.heldout",
        description="Compute a checkpoint's loss on the held-out synthetic tasks, on the CPU.",
    )
    parser.add_argument("checkpoint", type=Path, nargs="?", default=EMBEDDED_CHECKPOINT)
    path = parser.parse_args(arguments).checkpoint
    try:
        tfm, batches = load_tfm(path), read_tasks()
    except CausalMixError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(f"{path.name}: file {file_hash(path)}, content {tfm.content_hash}")
    print(f"{HELD_OUT_TASKS.name}: file {file_hash(HELD_OUT_TASKS)}, content {HELD_OUT_HASH}")
    print(f"held-out loss {held_out_loss(tfm.network, batches):.5f}")


if __name__ == "__main__":
    main()
