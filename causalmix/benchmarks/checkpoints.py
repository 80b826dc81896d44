"""The model that a run asks for, wherever the run is made."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from causalmix.errors import CausalMixError
from causalmix.tfm.model import FoundationModel, load_tfm


def load_checkpoint(
    tfm: str,
    run_hash: str,
    device: str = "cpu",
    change: Callable[[FoundationModel], FoundationModel] | None = None,
) -> FoundationModel:
    """Load the model of a run, from its file once a process.

    Parameters
    ----------
    tfm : str
        Where it is, as :func:`causalmix.tfm.model.load_tfm` takes it.
    run_hash : str
        `causalmix.tfm.model.FoundationModel.run_hash` that the run names.
    device : str, default="cpu"
    change : callable, optional
        Gives the model the inference settings of the run.

    Returns
    -------
    FoundationModel

    Raises
    ------
    CausalMixError
        If the model at that place is another one.
    """
    model = _load(tfm, device, run_hash.partition("-")[0])
    model = change(model) if change else model
    if (found := model.run_hash) != run_hash:
        _load.cache_clear()  # the file may be replaced by the right one
        raise CausalMixError(
            f"The checkpoint at {tfm} has the hash {found}; the run asks for {run_hash}."
        )
    return model


@lru_cache(maxsize=2)
def _load(tfm: str, device: str, weights: str) -> FoundationModel:
    """Load a file for runs that ask for these weights: it may have been replaced in between."""
    return load_tfm(tfm, device=device)
