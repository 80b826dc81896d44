"""Files in TabPFN's checkpoint format: read safely, written in one step.

A checkpoint holds `state_dict`, `config` (of the architecture), `architecture_name` and
`inference_config`. TabICL's own files hold the first two; TabDPT's hold ``cfg``.
"""

from __future__ import annotations

import json
import math
import pickle
import struct
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tabpfn.architectures import ARCHITECTURES
from tabpfn.checkpoint import Checkpoint, save_as_safetensors

from causalmix.atomic import replace_file
from causalmix.errors import CheckpointError
from causalmix.tfm.device import exclude_cudnn_attention

OTHERS = {
    "tabicl": ("TabICLModel", "pip install 'causalmix[tabicl]'"),
    "tabdpt": ("TabDPTModel", "pip install tabdpt"),
}
"""Architectures of the packages of these names: what models are called in the module of this room
of the same name, and how the package is installed."""

_MOST_BUCKETS = 10**6  # of a regression's distribution, which has 5,000
# What readers stumble over in a damaged file.
_UNREADABLE = (
    *(SafetensorError, RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError),
    *(AttributeError, struct.error),
)
_SPARE_BYTES = 2**28  # of tables that a network computes for itself


def build_network(architecture_name: str, config: Mapping[str, Any]) -> torch.nn.Module:
    """Build a freshly initialised network of one of TabPFN's architectures, or of another.

    Parameters
    ----------
    architecture_name : str
        Name in `tabpfn.architectures`, or key of `OTHERS`.
    config : mapping
        Configuration; what it leaves out keeps the architecture's default.

    Returns
    -------
    torch.nn.Module
    """
    exclude_cudnn_attention()
    if architecture_name in OTHERS:
        return other_model(architecture_name).build(config)
    architecture = ARCHITECTURES[architecture_name]
    parsed, _ = architecture.parse_config(dict(config))
    return architecture.get_architecture(parsed)


def other_model(architecture_name: str) -> Any:
    """Return the class of the models of another package's architecture.

    Parameters
    ----------
    architecture_name : str
        Key of `OTHERS`.

    Returns
    -------
    type
        A `causalmix.tfm.model.FoundationModel`, with `build`, the default `settings`, and the
        `classes_setting` of a configuration.

    Raises
    ------
    CheckpointError
        If the package is not installed.
    """
    name, installing = OTHERS[architecture_name]
    try:
        import_module(architecture_name)
    except ImportError as error:
        raise CheckpointError(
            f"The checkpoint needs the package {architecture_name}: {installing}."
        ) from error
    return getattr(import_module(f"causalmix.tfm.{architecture_name}"), name)


def check_sizes(
    architecture_name: str, config: Mapping[str, Any], weights: Mapping[str, torch.Tensor]
) -> None:
    """Raise if a configuration asks for a network that is much larger than its weights.

    Nothing is allocated for it.

    Parameters
    ----------
    architecture_name : str
        As in `build_network`.
    config : mapping
        Configuration.
    weights : mapping of str to torch.Tensor
        What the network is to hold.

    Raises
    ------
    ValueError
        Says which setting is too large, or how large the network would be.
    """
    for name, value in config.items():
        most = math.inf
        if "layers" in name or "blocks" in name:  # each has a tensor at least
            most = len(weights)
        elif "buckets" in name:
            most = _MOST_BUCKETS
        if isinstance(value, int) and value > most:
            raise ValueError(f"{name} is {value:,}, and {most:,} at most can be.")
    with torch.device("meta"):
        network = build_network(architecture_name, config)
    needed = sum(each.nbytes for each in (*network.parameters(), *network.buffers()))
    stored = sum(each.nbytes for each in weights.values())
    if needed > 2 * stored + _SPARE_BYTES:
        raise ValueError(
            f"a network of {needed / 2**30:,.1f} GiB is asked for, and its weights have "
            f"{stored / 2**30:,.3f} GiB."
        )


def write_checkpoint(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Write a checkpoint in TabPFN's safetensors format, in one step.

    Equal content gives an equal file.

    Parameters
    ----------
    path : Path
        File to write or replace.
    checkpoint : mapping of str to object
        What a checkpoint holds.
    """

    def write(temporary: Path) -> None:
        save_as_safetensors(dict(checkpoint), temporary)
        _sort_metadata(temporary)

    replace_file(path, write)


def _sort_metadata(path: Path) -> None:
    """Give the metadata of a safetensors file a fixed order; safetensors writes a random one."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors stay aligned
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[start:])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a file without ever unpickling anything but tensors and plain containers.

    Parameters
    ----------
    path : Path
        A ``.safetensors`` or ``.ckpt`` file.

    Returns
    -------
    dict
        With ``state_dict``, ``config`` and what else the file holds.

    Raises
    ------
    CheckpointError
        If the file is damaged, unsafe to read, or not in TabPFN's format.
    """
    try:
        if path.suffix == ".safetensors":
            checkpoint = Checkpoint(path).load()
        else:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path.name} was not loaded: it is damaged, or it holds Python objects besides "
            "tensors, and reading those can run code. If you trust where it comes from, convert "
            "it once with tabpfn.checkpoint.save_as_safetensors("
            "torch.load(FILE, weights_only=False), NEW_FILE) and load the new file."
        ) from error
    except _UNREADABLE as error:
        raise CheckpointError(
            f"{path.name} cannot be read as a checkpoint; it may be truncated. "
            f"Get the file again. ({str(error).splitlines()[0] if str(error) else 'empty file'})"
        ) from error
    parts = checkpoint if isinstance(checkpoint, Mapping) else {}
    if "cfg" in parts and "state_dict" in parts:
        from causalmix.tfm.tabdpt import from_official

        return from_official(parts)
    missing = [key for key in ("state_dict", "config") if not isinstance(parts.get(key), Mapping)]
    if missing:
        raise CheckpointError(f"{path.name} is no checkpoint: it lacks {' and '.join(missing)}.")
    weights = parts["state_dict"].items()
    if not all(isinstance(k, str) and isinstance(w, torch.Tensor) for k, w in weights):
        raise CheckpointError(f"{path.name} is no checkpoint: state_dict must hold named tensors.")
    if not isinstance(parts.get("architecture_name", ""), str | None):
        raise CheckpointError(f"{path.name} is no checkpoint: architecture_name must be text.")
    return checkpoint
