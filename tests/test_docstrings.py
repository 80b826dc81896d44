"""Docstrings: the defaults that they state are those of the signature."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator

import pytest

import causalmix


def public_callables() -> Iterator[tuple[str, Callable, str]]:
    """Name, what takes the parameters and the docstring of all public classes and functions."""
    for info in pkgutil.walk_packages(causalmix.__path__, "causalmix."):
        if "._" in info.name:
            continue
        module = importlib.import_module(info.name)
        for name, found in vars(module).items():
            if name.startswith("_") or getattr(found, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(found) or inspect.isclass(found):
                yield f"{info.name}.{name}", found, found.__doc__ or ""
            if inspect.isclass(found):
                for method, function in vars(found).items():
                    if inspect.isfunction(function) and not method.startswith("_"):
                        yield f"{info.name}.{name}.{method}", function, function.__doc__ or ""


def stated_defaults(docstring: str) -> dict[str, object]:
    """Literal defaults of the parameters, by name; names of constants are passed over."""
    stated = {}
    for line in re.finditer(r"^(\w+(?:, \w+)*) : .*default=(.+?)\.?$", docstring, re.MULTILINE):
        try:
            default = ast.literal_eval(line[2])
        except (ValueError, SyntaxError):
            continue
        stated |= dict.fromkeys(line[1].split(", "), default)
    return stated


STATED = [
    pytest.param(found, defaults, id=name)
    for name, found, docstring in public_callables()
    if (defaults := stated_defaults(inspect.cleandoc(docstring)))
]


def test_defaults_are_found():
    assert len(STATED) > 50
    assert stated_defaults("a, b : int, default=3\nc : str, default=NAME") == {"a": 3, "b": 3}


@pytest.mark.parametrize(("found", "defaults"), STATED)
def test_stated_defaults_are_those_of_the_signature(found, defaults):
    parameters = inspect.signature(found).parameters
    assert defaults == {name: parameters[name].default for name in defaults}
