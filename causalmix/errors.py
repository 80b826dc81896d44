"""Exceptions that say what is wrong and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral


class CausalMixError(ValueError):
    """Base class of every error that a user of the package can cause and mend."""


class DataError(CausalMixError):
    """A table that cannot be used as it is; the message names the column or value."""


class UnknownNameError(CausalMixError):
    """A name that is none of the valid ones; the message lists the nearest first."""


class CheckpointError(CausalMixError):
    """A foundation-model checkpoint that is missing, unreadable or of the wrong kind."""


class FinetuningWarning(UserWarning):
    """Fine-tuning did not help on the validation rows, and the weights stayed as they were."""


class GenerationWarning(UserWarning):
    """Synthetic rows that are not all as they were asked for."""


def check_name(name: str, valid: Iterable[str], kind: str) -> str:
    """Return `name` if it is valid, else raise with the nearest valid names.

    Parameters
    ----------
    name : str
        The name a user gave.
    valid : iterable of str
        All names that are accepted.
    kind : str
        What the name stands for, as it reads in the message ("dataset", "arm", ...).

    Returns
    -------
    str
        `name`, unchanged.

    Raises
    ------
    UnknownNameError
        If `name` is not in `valid`.
    """
    names = list(valid)
    if name in names:
        return name
    of_text = {str(each): each for each in names}  # columns may be named by numbers
    near = [of_text[text] for text in get_close_matches(str(name), of_text, n=3, cutoff=0.5)]
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise UnknownNameError(f"Unknown {kind} {name!r}.{hint} Valid: {', '.join(map(str, names))}.")


def check_whole(value: int, least: int, option: str) -> int:
    """Return `value` if it is a whole number of at least `least`, else raise.

    Parameters
    ----------
    value : int
        What a user gave.
    least : int
    option : str
        Its name.

    Returns
    -------
    int
        `value`, unchanged.

    Raises
    ------
    CausalMixError
        If it is less, or no whole number.
    """
    if not isinstance(value, Integral) or value < least:
        raise CausalMixError(f"{option} is {value!r}; a whole number, at least {least}, is needed.")
    return value
