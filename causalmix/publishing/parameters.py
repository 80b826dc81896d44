"""The typed parameters of a notebook: read from its cell, checked against what a user gives."""

from __future__ import annotations

import ast
import csv
import hashlib
import io
import json
import os
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any

import nbformat

from causalmix.data.columns import check_column_sets
from causalmix.errors import (
    CausalMixError,
    UnknownNameError,
    check_filled,
    check_seed,
    check_whole,
    naming,
)

_COLUMN_SETS = ("categorical", "numeric", "date", "drop")  # of a chapter's dataset
_SCALARS = {"int": int, "float": float, "str": str, "bool": bool}
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Parameter:
    """One typed line `name: type = default  # help` of a notebook's parameters cell."""

    name: str
    type: str
    default: Any
    help: str

    def __str__(self) -> str:
        """One line for lists of parameters."""
        return f"{self.name}: {self.type} = {self.default!r}  # {self.help}"

    def convert(self, value: Any) -> Any:
        """Return `value` as this parameter's type.

        Parameters
        ----------
        value : object
            A value of the declared type, or a string that spells one as on the command line:
            list items separated by commas, "none" for None.

        Returns
        -------
        int, float, str, bool, list or None
            The value to inject.

        Raises
        ------
        CausalMixError
            If the value is not of the declared type.
        """
        try:
            return _convert(value, self.type)
        except (TypeError, ValueError, KeyError, csv.Error):
            raise CausalMixError(
                f"Parameter {self.name!r} takes {self.type}, not {value!r}."
            ) from None


def _convert(value: Any, kind: str) -> Any:
    if kind.endswith(" | None"):
        if value is None or (isinstance(value, str) and value.lower() in ("none", "")):
            return None
        kind = kind.removesuffix(" | None")
    if kind.startswith("list["):
        if isinstance(value, str):
            (row,) = csv.reader([value], skipinitialspace=True)  # "a, b",c are two names
            value = [item.strip() for item in row if item.strip()]
        if not isinstance(value, (list, tuple)):
            raise TypeError
        return [_convert(item, kind[5:-1]) for item in value]
    scalar = _SCALARS[kind]
    if isinstance(value, str) and scalar is not str:
        return _BOOLEANS[value.lower()] if scalar is bool else scalar(value)
    if scalar is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not scalar:  # bool is a subclass of int, but no number of rows
        raise TypeError
    return value


def read_parameters(notebook: Path) -> dict[str, Parameter]:
    """Read a notebook's parameters from its cell tagged `parameters`.

    Papermill's own `inspect_notebook` silently leaves out what its pattern does not match (such
    as `int | None`), so the cell is parsed as the Python it is.

    Parameters
    ----------
    notebook : pathlib.Path
        The notebook's source.

    Returns
    -------
    dict of str to Parameter
        In the order of the cell.

    Raises
    ------
    CausalMixError
        If a line of the cell is not of the form `name: type = literal  # help`.
    """
    with naming(notebook, "a notebook", "Restore it from the repository."):
        nb = nbformat.read(notebook, as_version=4)
    cells = [cell for cell in nb.cells if "parameters" in cell.metadata.get("tags", [])]
    source = cells[0].source if cells else ""
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    parameters = {}
    for node in ast.parse(source).body:
        try:
            name, kind = node.target.id, ast.unparse(node.annotation)
            default = _convert(ast.literal_eval(node.value), kind)
        except (AttributeError, TypeError, ValueError, KeyError):
            raise CausalMixError(
                f"{notebook.name}, parameters cell, line {node.lineno}: expected "
                "'name: type = value  # help' with a type of int, float, str, bool, list[...] "
                "or ... | None."
            ) from None
        parameters[name] = Parameter(name, kind, default, comments.get(node.end_lineno, ""))
    return parameters


def check_parameters(notebook: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check parameters against a notebook's and return them in their declared types.

    Parameters
    ----------
    notebook : pathlib.Path
        The notebook's source.
    given : mapping of str to object
        Values by name, of the declared types or spelt as on the command line.

    Returns
    -------
    dict of str to object
        The same names with converted values. A data file named by an absolute path is named
        relative to the working directory instead, because the value is printed in the result.

    Raises
    ------
    UnknownNameError
        If the notebook has no parameter of a name; lists all, the nearest first.
    CausalMixError
        If a value has the wrong type, or makes no sense as what it is called: a seed, a number of
        things (``n_...``), a list of names; lists all parameters, this one first. Also if two sets
        of columns name the same.
    """
    valid = read_parameters(notebook)
    checked = {}
    for name, value in given.items():
        if name not in valid:
            near = get_close_matches(name, valid, n=3, cutoff=0.5)
            raise UnknownNameError(
                f"{notebook.stem} has no parameter {name!r}. {_listing(valid, near)}"
            )
        try:
            checked[name] = _relative(valid[name].convert(value))
            _check_sense(valid[name], checked[name])
        except CausalMixError as error:
            message = f"{notebook.stem}: {error} {_listing(valid, [name])}"
            raise CausalMixError(message) from None
    check_column_sets({name: checked[name] for name in _COLUMN_SETS if name in checked})
    return checked


def _check_sense(parameter: Parameter, value: Any) -> None:
    """Raise as the functions would that a chapter gives its parameters, before any of them runs."""
    name = parameter.name
    if isinstance(value, list) and parameter.default:
        check_filled(value, name)
    if name in ("seed", "seeds"):
        for seed in value if isinstance(value, list) else [value]:
            check_seed(seed, name)
    elif isinstance(value, int) and (name.startswith("n_") or name == "steps"):
        check_whole(value, 0 if name == "steps" else 1, name)


def data_files(parameters: Mapping[str, Any]) -> list[Path]:
    """Return the files that string values of `parameters` name, themselves or in a list.

    Of a folder that holds runs these are among them, with its plans and traits of tables.
    """
    paths, kinds = _paths(parameters), ("part-*.parquet", "*.yml", "tables.csv")
    runs = [file for path in paths for kind in kinds for file in sorted(path.glob(kind))]
    return [path for path in paths if path.is_file()] + runs


def _paths(parameters: Mapping[str, Any]) -> list[Path]:
    """Return the files and folders that string values name."""
    listed = [value if isinstance(value, list) else [value] for value in parameters.values()]
    values = [value for value in chain(*listed) if isinstance(value, str) and value]
    return [path for value in values if (path := Path(value).expanduser()).exists()]


def variant(notebook: Path, checked: Mapping[str, Any]) -> str:
    """Name the run of a notebook by the parameters that differ from its defaults.

    Parameters
    ----------
    notebook : pathlib.Path
        The notebook's source.
    checked : mapping of str to object
        What `check_parameters` returned.

    Returns
    -------
    str
        The notebook's stem; with other values than the defaults, also 8 hexadecimal digits over
        those values and the places of the files and folders among them.
    """
    defaults = read_parameters(notebook)
    other = {name: v for name, v in sorted(checked.items()) if v != defaults[name].default}
    if not other:
        return notebook.stem
    said = json.dumps([other, [str(path.resolve()) for path in _paths(other)]])
    return f"{notebook.stem}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"


def _listing(parameters: Mapping[str, Parameter], first: list[str]) -> str:
    if not parameters:
        return "It has none."
    names = [*first, *(name for name in parameters if name not in first)]
    return "Its parameters:\n" + "\n".join(f"  {parameters[name]}" for name in names)


def _relative(value: Any) -> Any:
    if isinstance(value, list):
        return [_relative(item) for item in value]
    if isinstance(value, str) and value:
        path = Path(value).expanduser()
        if path.is_absolute() and path.is_file():
            return Path(os.path.relpath(path)).as_posix()
    return value
