"""Devices: which there is, in what precision to train there, and what fits into its memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from tabpfn.architectures.shared import scaled_dot_product_attention
from torch.nn.attention import SDPBackend

from causalmix.errors import CausalMixError

_Result = TypeVar("_Result")

# Parts of the messages of allocators that raise no `torch.OutOfMemoryError`.
_ALLOCATORS = ("DefaultCPUAllocator", "out of memory")


def find_device(name: str) -> torch.device:
    """Return a device by its name.

    Parameters
    ----------
    name : str
        As PyTorch has it; ``"auto"`` takes a CUDA device where there is one, else the CPU.

    Returns
    -------
    torch.device

    Raises
    ------
    CausalMixError
        If the device is unknown or absent.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise CausalMixError(
            f"Unknown device {name!r}. Valid: auto, cpu, cuda, or another that PyTorch knows."
        ) from None
    if device.type != "cpu" and (device.index or 0) >= (there := _count(device.type)):
        raise CausalMixError(
            f"The device {name!r} was asked for, but PyTorch finds none here (of its type {there})."
            " Use device='cpu', or 'auto' for a CUDA device where there is one."
        )
    return device


def device_name(device: torch.device) -> str:
    """Return the name of a graphics card, and the type of any other device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _count(kind: str) -> int:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    here = accelerator is not None and accelerator.type == kind
    return torch.accelerator.device_count() if here else 0


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """Return the type to which a training step lowers its precision on a device.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    torch.dtype or None
        On CUDA bfloat16 where the hardware has it, else float16, whose gradients need scaling;
        None for single precision, everywhere else.
    """
    if device.type != "cuda":
        return None
    has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if has_bfloat16 else torch.float16


def exclude_cudnn_attention() -> None:
    """Keep TabPFN's architectures from cuDNN's attention, in this process.

    It plans anew for every shape, and in training on tasks nearly every batch has another one:
    steps take up to ten times as long. PyTorch's other kernels compute the same.
    """
    # A release of TabPFN without this list chooses its kernels in another way.
    backends = getattr(scaled_dot_product_attention, "_SDPA_BACKENDS", [])
    backends[:] = [each for each in backends if each != SDPBackend.CUDNN_ATTENTION]


@contextmanager
def tensor_cores(device: torch.device) -> Iterator[None]:
    """Compute matrix products on CUDA in TF32: single precision's range, a mantissa of ten bits.

    Parameters
    ----------
    device : torch.device
        Nothing changes on another kind of device.
    """
    before = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Say whether an error of PyTorch means that memory did not suffice.

    Parameters
    ----------
    error : RuntimeError

    Returns
    -------
    bool
    """
    known = isinstance(error, torch.OutOfMemoryError)
    return known or any(part in str(error) for part in _ALLOCATORS)


class Portions:
    """How many items go through a network at a time; fewer once memory has run out.

    Parameters
    ----------
    items : str
        What they are, for the warning; plural.
    too_large : str
        Message for the case that a single one does not fit: what it is, and the way out.
    most : int, optional
        Items at a time at most, from the start; by default all.
    """

    def __init__(self, items: str, too_large: str, most: int | None = None) -> None:
        self._items, self._too_large, self._most = items, too_large, most

    def run(self, n_items: int, work: Callable[[int], _Result]) -> _Result:
        """Do some work, again with half as many items at a time as long as memory runs out.

        Parameters
        ----------
        n_items : int
            In all, at least one.
        work : callable
            Takes the number of items that may be processed at once and does all of the work.

        Returns
        -------
        object
            What `work` returns. A warning says if it took smaller portions than before, which are
            kept for the next call.

        Raises
        ------
        CausalMixError
            If a single item does not fit.
        """
        first = size = n_items if self._most is None else min(n_items, self._most)
        while True:
            try:
                result = work(size)
                break
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if size == 1:
                    raise CausalMixError(self._too_large) from error
            # Below the handler, because the error holds on to the tensors of what failed.
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
            size = (size + 1) // 2
        if size < first:
            self._most = size
            warnings.warn(
                f"Memory ran out with {first} {self._items} at a time; went on with {size}, which "
                "takes longer and changes results by rounding only.",
                stacklevel=2,
            )
        return result
