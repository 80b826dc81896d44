"""Parts of a network that fine-tuning may be confined to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from causalmix.errors import CausalMixError

# Of `tabpfn.architectures.tabpfn_v3`: what turns the cells of a column into its embedding, and the
# columns of a row into one vector.
_COLUMN_MODULES = ("x_embed", "col_y_encoder", "feature_distribution_embedder", "column_aggregator")


def _reads_columns(name: str, _: torch.nn.Parameter) -> bool:
    return name.split(".")[0] in _COLUMN_MODULES


PARTS: dict[str, Callable[[str, torch.nn.Parameter], bool]] = {
    "all": lambda name, parameter: True,
    "columns": _reads_columns,
    "vectors": lambda name, parameter: parameter.ndim == 1,
}
"""By name, whether a parameter belongs to the part: ``all`` of them; ``columns``, the stages that
read the columns, before rows see each other; ``vectors``, scales of norms and biases."""


def parameters_of(network: torch.nn.Module, part: str) -> list[torch.nn.Parameter]:
    """Return the parameters of a part of a network, of those that have gradients.

    Parameters
    ----------
    network : torch.nn.Module
    part : str
        Key of `PARTS`.

    Returns
    -------
    list of torch.nn.Parameter
        Empty if the architecture has no such part.
    """
    named = network.named_parameters()
    return [p for name, p in named if p.requires_grad and PARTS[part](name, p)]


@contextmanager
def only(network: torch.nn.Module, part: str) -> Iterator[list[torch.nn.Parameter]]:
    """Let a part of a network have gradients, and nothing else, inside a ``with`` statement.

    Parameters
    ----------
    network : torch.nn.Module
    part : str
        Key of `PARTS`.

    Yields
    ------
    list of torch.nn.Parameter
        Those of the part.

    Raises
    ------
    CausalMixError
        If the network has no such part.
    """
    before = {p: p.requires_grad for p in network.parameters()}
    if not (chosen := parameters_of(network, part)):
        raise CausalMixError(
            f"trained={part!r} asks for a part that the architecture {type(network).__name__} does "
            "not have; use trained='all', with a lower learning_rate."
        )
    try:
        network.requires_grad_(False)
        for parameter in chosen:
            parameter.requires_grad_(True)
        yield chosen
    finally:
        for parameter, wanted in before.items():
            parameter.requires_grad_(wanted)
