"""Exceptions that say what is wrong and what to do about it."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Parameter, signature
from numbers import Integral, Real
from pathlib import Path
from typing import Any, dataclass_transform

# By annotation: how a message puts it, and the classes.
_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "int": ("a whole number", (Integral,)),
    "float": ("a number", (Real,)),
    "bool": ("True or False", (bool,)),
    "str": ("a string", (str,)),
    "Path": ("a Path", (Path,)),
    "Mapping": ("a mapping", (Mapping,)),
    "None": ("None", (type(None),)),
}

# By bracket of an interval: what a number within compares like, and how a message puts it.
_BOUNDS = {
    "[": (operator.ge, "at least"),
    "(": (operator.gt, "above"),
    "]": (operator.le, "at most"),
    ")": (operator.lt, "below"),
}


LONGEST_NAME = 100
"""Characters of a name in a message at most."""


class CausalMixError(ValueError):
    """Base class of every error that a user of the package can cause and mend."""


class DataError(CausalMixError):
    """A table that cannot be used as it is; the message names the column or value."""


class UnknownNameError(CausalMixError):
    """A name that is none of the valid ones; the message lists the nearest first."""


class CheckpointError(CausalMixError):
    """A foundation-model checkpoint that is missing, unreadable or of the wrong kind."""


class FinetuningWarning(UserWarning):
    """Fine-tuning did harm or made no difference, as far as the validation rows show."""


class TimeLimitWarning(UserWarning):
    """Work that was left out to keep a limit of time; the message names it."""


class GenerationWarning(UserWarning):
    """Synthetic rows that are not all as they were asked for."""


def quoted(name: object) -> str:
    """Return a name of a user's, of a column or level, as a message shows it: quoted, not too long.

    Parameters
    ----------
    name : object

    Returns
    -------
    str
        Of a name longer than `LONGEST_NAME` both ends.
    """
    return _shortened(repr(name))


def _shortened(text: str) -> str:
    half = LONGEST_NAME // 2
    return text if len(text) <= LONGEST_NAME else f"{text[:half]}…{text[-half:]}"


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
    from difflib import get_close_matches  # here: most commands come without it

    of_text = {str(each): each for each in names}  # columns may be named by numbers
    near = [of_text[text] for text in get_close_matches(str(name), of_text, n=3, cutoff=0.5)]
    hint = f" Did you mean {' or '.join(map(quoted, near))}?" if near else ""
    valid = ", ".join(map(_shortened, map(str, names)))
    raise UnknownNameError(f"Unknown {kind} {quoted(name)}.{hint} Valid: {valid}.")


def check_names(names: Iterable[str], valid: Iterable[str], kind: str) -> None:
    """Raise unless every one of some names is valid; see `check_name`."""
    for name in names:
        check_name(name, valid, kind)


def file_problem(error: BaseException) -> str | None:
    """Say why the system refused to read or write a file.

    Parameters
    ----------
    error : BaseException
        What a library has raised. Those written in Rust, as safetensors, wrap the system's error.

    Returns
    -------
    str or None
        The system's own words, as "No space left on device"; None where it was none of its errors.
    """
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    if isinstance(error, ValueError) and "null byte" in str(error):  # Python's own refusal
        return "its name holds a null byte"
    found = re.search(r"os error (\d+)", str(error))
    return os.strerror(int(found[1])) if found else None


@contextmanager
def naming(
    path: Path, what: str, advice: str, kind: type[CausalMixError] = CausalMixError
) -> Iterator[None]:
    """Turn whatever goes wrong in reading a file into an error that names it.

    Parameters
    ----------
    path : Path
        The file.
    what : str
        What it should be, as it reads in "cannot be read as ...".
    advice : str
        A sentence that says what to do.
    kind : type, default=CausalMixError
        Of the error.

    Raises
    ------
    CausalMixError
        Instead of any other error.
    """
    try:
        yield
    except CausalMixError:
        raise
    except Exception as error:
        reason = file_problem(error) or f"{type(error).__name__}: {error}"
        reason = (reason.splitlines() or [""])[0][:300].rstrip(". ")
        raise kind(f"{path} cannot be read as {what} ({reason}). {advice}") from error


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
    if not _is_whole(value) or value < least:
        raise CausalMixError(f"{option} is {value!r}; a whole number, at least {least}, is needed.")
    return value


def check_seed(value: int, option: str = "seed") -> int:
    """Return `value` if every random generator takes it for a seed, else raise.

    Parameters
    ----------
    value : int
        What a user gave.
    option : str, default="seed"
        Its name.

    Returns
    -------
    int
        `value`, unchanged.

    Raises
    ------
    CausalMixError
        Unless it is a whole number from 0 to 2³² − 1.
    """
    if not _is_whole(value) or not 0 <= value < 2**32:
        raise CausalMixError(
            f"{option} is {value!r}; a whole number from 0 to {2**32 - 1} is needed."
        )
    return value


def check_jobs(value: int, option: str = "n_jobs") -> int:
    """Return `value` if it is a number of processes, else raise.

    Parameters
    ----------
    value : int
        What a user gave.
    option : str, default="n_jobs"
        Its name.

    Returns
    -------
    int
        `value`, unchanged.

    Raises
    ------
    CausalMixError
        Unless it is a whole number of at least 1, or −1, which stands for one on every core.
    """
    if not _is_whole(value) or (value < 1 and value != -1):
        raise CausalMixError(
            f"{option} is {value!r}; a whole number, at least 1, or -1 for all cores, is needed."
        )
    return value


def check_list(values: Collection, option: str, example: str) -> Collection:
    """Return `values` if it is a collection and no string, else raise.

    Parameters
    ----------
    values : collection
        What a user gave; an iterator, which can be read once only, is none.
    option : str
        Its name.
    example : str
        How such a list is written.

    Returns
    -------
    collection
        `values`, unchanged.

    Raises
    ------
    CausalMixError
        If it is a string, or no collection.
    """
    if isinstance(values, str) or not isinstance(values, Collection):
        raise CausalMixError(f"{option} is {values!r}; a list is needed, as {example}.")
    return values


def check_filled(values: Collection, option: str) -> Collection:
    """Return `values` if there is one at least, else raise.

    Parameters
    ----------
    values : collection
        What a user gave; a string is none.
    option : str
        Its name.

    Returns
    -------
    collection
        `values`, unchanged.

    Raises
    ------
    CausalMixError
        If it is empty, or no collection.
    """
    if not len(check_list(values, option, f"[{values!r}]")):
        raise CausalMixError(f"{option} is empty; name at least one.")
    return values


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_range(value: float, within: str, option: str, *, hint: str = "") -> float:
    """Return `value` if it is a number in an interval, else raise.

    Parameters
    ----------
    value : float
        What a user gave.
    within : str
        The interval, as "[0, 1)"; a round bracket leaves its bound out. Without an upper bound,
        "[0, inf)".
    option : str
        Its name.
    hint : str, default=""
        What the message says besides.

    Returns
    -------
    float
        `value`, unchanged.

    Raises
    ------
    CausalMixError
        If it is outside, or no number.
    """
    low, high = within[1:-1].split(", ")
    bounds = ((*_BOUNDS[within[0]], low), (*_BOUNDS[within[-1]], high))
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not all(fits(value, float(b)) for fits, _, b in bounds):
        valid = " and ".join(f"{words} {bound}" for _, words, bound in bounds if bound != "inf")
        raise CausalMixError(f"{option} is {value!r}; a number {valid} is needed. {hint}".strip())
    return value


def check_type(name: str, value: object, annotation: str) -> None:
    """Raise unless a parameter has one of the types of its annotation.

    Parameters
    ----------
    name : str
        Of the parameter.
    value : object
        What a user gave. NumPy's numbers count as Python's; a truth value is no number, nor is NaN.
    annotation : str
        Types joined by " | ", of int, float, bool, str, Path, Mapping and None.

    Raises
    ------
    CausalMixError
        If it has none of them; says the parameter, the valid types and the value.
    """
    types = annotation.split(" | ")
    if not any(_is_of(value, each) for each in types):
        valid = " or ".join(_TYPES[each][0] for each in types)
        raise CausalMixError(f"{name} must be {valid}, got {value!r}.")


def check_types(settings: Any) -> None:
    """Raise unless every field of a dataclass, names apart, has one of its annotated types.

    Parameters
    ----------
    settings : dataclass instance
        Its annotations are strings, as ``from __future__ import annotations`` makes them.

    Raises
    ------
    CausalMixError
        As `check_type`, for the first field that has none of them.
    """
    for field in fields(settings):
        if field.type != "str":  # `check_name` lists the valid ones
            check_type(field.name, getattr(settings, field.name), field.type)


def _is_of(value: object, kind: str) -> bool:
    if kind in ("int", "float") and (isinstance(value, bool) or value != value):
        return False
    if kind == "bool":
        import numpy as np  # here: the command's help comes without it

        return isinstance(value, bool | np.bool_)
    return isinstance(value, _TYPES[kind][1])


@dataclass_transform(kw_only_default=True, eq_default=False)
def checked_options(cls: type) -> type:
    """Make a class a dataclass of keyword options, which refuses an unknown one.

    Parameters
    ----------
    cls : type
        Its ``__post_init__`` checks the values.

    Returns
    -------
    type
        The class; to make one with an unknown option raises `UnknownNameError`, whose message
        lists the valid ones.
    """
    made = dataclass(kw_only=True, eq=False)(cls)
    make, valid = made.__init__, [field.name for field in fields(made)]

    @wraps(make)  # its signature stays to be seen
    def check_and_make(self: Any, *arguments: Any, **options: Any) -> None:
        for name in options:
            check_name(name, valid, "option")
        make(self, *arguments, **options)

    made.__init__ = check_and_make
    return made


def takes_options(options: type) -> Callable[[Callable], Callable]:
    """Show the options of a class in the signature of a function that takes them as keywords.

    Parameters
    ----------
    options : type
        As `checked_options` makes it.

    Returns
    -------
    callable
        Decorator of functions whose last parameter is ``**options``.
    """

    def show(function: Callable) -> Callable:
        own = signature(function)
        named = [each for each in own.parameters.values() if each.kind != Parameter.VAR_KEYWORD]
        shown = signature(options).parameters.values()
        function.__signature__ = own.replace(parameters=[*named, *shown])
        return function

    return show
