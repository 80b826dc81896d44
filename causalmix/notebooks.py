"""Notebooks as functions: typed parameters in, an executed copy out. Papermill runs them."""

from __future__ import annotations

import ast
import io
import logging
import os
import re
import sysconfig
import tempfile
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import nbformat

from causalmix.errors import CausalMixError, UnknownNameError, check_name

PACKAGE = Path(__file__).resolve().parent
BUILD = "_build"  # everything that is built lies here, below the project's root

_SCALARS = {"int": int, "float": float, "str": str, "bool": bool}
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_TRACEBACK_LINES = 12
_CELL_FILE = re.compile(r"\S*ipykernel_\d+[/\\]\d+\.py")


class NotebookError(CausalMixError):
    """A notebook that stopped with an error; the message shows the cell."""


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
        except (TypeError, ValueError, KeyError):
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
            value = [item.strip() for item in value.split(",") if item.strip()]
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


def project_root() -> Path:
    """Return the folder that holds the notebooks and the book's sources.

    Returns
    -------
    pathlib.Path
        The folder above the package in an editable installation, else the nearest folder from
        the working directory upward that holds `notebooks` and `_toc.yml`.

    Raises
    ------
    CausalMixError
        If there is none: the notebooks are part of the repository, not of the package.
    """
    here = Path.cwd()
    for folder in (PACKAGE.parent, here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "_toc.yml").is_file():
            return folder
    raise CausalMixError(
        "The notebooks are not here: run this inside a clone of the repository, with the package "
        "installed from it (pip install -e .)."
    )


def find_notebook(name: str, root: Path | None = None) -> Path:
    """Return the notebook source of a name.

    Parameters
    ----------
    name : str
        A stem ("03_finetuning"), a prefix that fits one notebook ("03"), or its path.
    root : pathlib.Path, optional
        The project's root; by default `project_root()`.

    Returns
    -------
    pathlib.Path
        The notebook's path.

    Raises
    ------
    UnknownNameError
        If no notebook has that name; lists those there are.
    """
    stem = Path(name).name.removesuffix(".ipynb")
    paths = {path.stem: path for path in notebook_paths(root)}
    fits = [known for known in paths if stem and known.startswith(stem)]
    known = fits[0] if len(fits) == 1 else check_name(stem, paths, "notebook")
    return paths[known]


def notebook_paths(root: Path | None = None) -> list[Path]:
    """Return all notebook sources of the project, in the order of their names."""
    return sorted(((root or project_root()) / "notebooks").glob("*.ipynb"))


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
        If a value has the wrong type; lists all parameters, this one first.
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
        except CausalMixError as error:
            message = f"{notebook.stem}: {error} {_listing(valid, [name])}"
            raise CausalMixError(message) from None
    return checked


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


def run_notebook(
    name: str,
    parameters: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    *,
    root: Path | None = None,
    progress: bool = False,
) -> Path:
    """Run one notebook with parameters and keep the executed copy.

    Parameters
    ----------
    name : str
        The notebook, as `find_notebook` takes it.
    parameters : mapping of str to object, optional
        Values that replace defaults, as `check_parameters` takes them. Relative paths in them
        are taken from the working directory.
    output : str or pathlib.Path, optional
        Where the executed copy goes; by default `_build/runs/<notebook>.ipynb`.
    root : pathlib.Path, optional
        The project's root; by default `project_root()`.
    progress : bool, default=False
        Show a progress bar over the cells.

    Returns
    -------
    pathlib.Path
        The executed copy. It appears only when every cell has run.

    Raises
    ------
    UnknownNameError
        If there is no such notebook or parameter.
    CausalMixError
        If a value has the wrong type.
    NotebookError
        If a cell fails.
    """
    root = root or project_root()
    source = find_notebook(name, root)
    checked = check_parameters(source, parameters or {})
    target = Path(output) if output else root / BUILD / "runs" / source.name
    if target.suffix != ".ipynb":
        raise CausalMixError(f"The result is a notebook: end {str(output)!r} with .ipynb.")
    save_notebook(execute(source, checked, root=root, bar={} if progress else None), target)
    return target


def execute(
    source: Path, parameters: Mapping[str, Any], *, root: Path, bar: dict[str, Any] | None = None
) -> nbformat.NotebookNode:
    """Run a notebook by papermill in the working directory and return the executed copy.

    Parameters
    ----------
    source : pathlib.Path
        The notebook's source.
    parameters : mapping of str to object
        Checked values to inject.
    root : pathlib.Path
        The project's root; paths below it are shortened in the outputs.
    bar : dict, optional
        Show a progress bar over the cells, with these options of tqdm.

    Returns
    -------
    nbformat.NotebookNode
        The executed copy, without machine-dependent paths.

    Raises
    ------
    NotebookError
        If a cell fails or the kernel dies.
    """
    # Imported here: papermill takes a second, and `causalmix --help` should not.
    import papermill
    from nbclient.exceptions import DeadKernelError

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it knows no `int | None`
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")  # this environment's kernel
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # a notice of no use here
    with tempfile.TemporaryDirectory() as folder:
        try:
            nb = papermill.execute_notebook(
                source,
                Path(folder) / source.name,
                parameters=dict(parameters),
                kernel_name="python3",
                language="python",
                progress_bar={"desc": source.stem, **bar} if bar is not None else False,
                request_save_on_cell_execute=False,
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # no notices on our stderr
            )
        except papermill.PapermillExecutionError as error:
            raise NotebookError(_describe(source, error, root)) from None
        except DeadKernelError:
            raise NotebookError(
                f"{source.stem}: the kernel died, most often because memory ran out; "
                "use fewer rows or close other programs."
            ) from None
    return _without_paths(nb, root)


def _describe(source: Path, error: Any, root: Path) -> str:
    lines = strip_colour("\n".join(error.traceback)).splitlines()[-_TRACEBACK_LINES:]
    cell = "\n".join(f"    {line}" for line in error.source.splitlines())
    trace = "\n".join(f"    {_shorten(line, root)}" for line in lines)
    return f"{source.stem} failed in its cell [{error.exec_count}]:\n\n{cell}\n\n{trace}"


def strip_colour(text: str) -> str:
    """Return terminal output without its colour codes."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _without_paths(nb: nbformat.NotebookNode, root: Path) -> nbformat.NotebookNode:
    """Drop papermill's bookkeeping and shorten paths in outputs, such as those of warnings."""
    nb.metadata.pop("papermill", None)
    for cell in nb.cells:
        cell.metadata.pop("papermill", None)
        for output in cell.get("outputs", []):
            if "text" in output:
                output.text = _shorten(output.text, root)
            for mime, content in output.get("data", {}).items():
                if mime.startswith("text/") and isinstance(content, str):
                    output.data[mime] = _shorten(content, root)
    return nb


def _shorten(text: str, root: Path) -> str:
    text = _CELL_FILE.sub("notebook cell", text)
    packages = Path(nbformat.__file__).parents[1]
    folders = {str(packages), sysconfig.get_path("stdlib"), str(PACKAGE.parent)}
    for folder in sorted(folders | private_folders(root), key=len, reverse=True):
        text = text.replace(folder.rstrip(os.sep) + os.sep, "")
    return text


def private_folders(root: Path) -> set[str]:
    """Return the folders whose names no result may show: the project's and the user's own."""
    return {str(folder) for folder in (root, Path.home()) if folder != Path(folder.anchor)}


def save_notebook(nb: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook so that `path` never holds half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        nbformat.write(nb, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
