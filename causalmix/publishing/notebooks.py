"""Notebooks as functions: typed parameters in, an executed copy out. Papermill runs them."""

from __future__ import annotations

import logging
import os
import re
import sysconfig
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

import nbformat
from click import unstyle

from causalmix.atomic import check_writable, make_folder, replace_file
from causalmix.errors import CausalMixError, check_name
from causalmix.publishing.parameters import check_parameters, variant

PACKAGE = Path(__file__).resolve().parents[1]
BUILD = "_build"  # everything that is built lies here, below the project's root

_TRACEBACK_LINES = 12
_NO_WIDGETS = "ignore:IProgress not found"  # tqdm misses widgets, which pages could not show
_CELL_FILE = re.compile(r"\S*ipykernel_\d+[/\\]\d+\.py")


class NotebookError(CausalMixError):
    """A notebook that stopped with an error; the message shows the cell."""


class NotebookInputError(NotebookError):
    """A notebook that a user's data or parameter stopped; the message is that of the error."""


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
    CausalMixError
        If it is the path of another notebook.
    """
    given = Path(name)
    stem = given.name.removesuffix(".ipynb")
    paths = {path.stem: path for path in notebook_paths(root)}
    own = {path.resolve() for path in paths.values()}
    if given.suffix == ".ipynb" and given.is_file() and given.resolve() not in own:
        raise CausalMixError(
            f"{given} is no notebook of the project; those are run by name, as {min(paths)}. Run "
            "yours in JupyterLab, or with papermill."
        )
    fits = [known for known in paths if stem and known.startswith(stem)]
    known = fits[0] if len(fits) == 1 else check_name(stem, paths, "notebook")
    return paths[known]


def notebook_paths(root: Path | None = None) -> list[Path]:
    """Return all notebook sources of the project, in the order of their names."""
    return sorted(((root or project_root()) / "notebooks").glob("*.ipynb"))


def run_notebook(
    name: str,
    parameters: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    *,
    root: Path | None = None,
    html: bool = False,
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
        Where the executed copy goes; by default `_build/runs/<notebook>.ipynb`, with a hash of the
        parameters that differ from their defaults in the name, if any does.
    root : pathlib.Path, optional
        The project's root; by default `project_root()`.
    html : bool, default=False
        Write a page beside the copy too, one file that needs no network, named like it.
    progress : bool, default=False
        Show a progress bar with the heading of the cell that runs and the time left.

    Returns
    -------
    pathlib.Path
        The executed copy, or its page with `html`. They appear only when every cell has run.

    Raises
    ------
    UnknownNameError
        If there is no such notebook or parameter.
    CausalMixError
        If a value has the wrong type, or the copy cannot be written there; what was run is kept
        elsewhere then, and the message says where.
    NotebookInputError
        If a cell raises one of this package's errors, which say what to change.
    NotebookError
        If a cell fails otherwise.
    """
    root = root or project_root()
    source = find_notebook(name, root)
    checked = check_parameters(source, parameters or {})
    name = f"{variant(source, checked)}.ipynb"
    target = Path(output) if output else root / BUILD / "runs" / name
    if target.suffix != ".ipynb":
        raise CausalMixError(f"The result is a notebook: end {str(output)!r} with .ipynb.")
    if target.resolve() in map(Path.resolve, notebook_paths(root)):
        raise CausalMixError(f"{target} is a chapter's source; name another file for the result.")
    page = target.with_suffix(".html")
    for path in (target, page) if html else (target,):
        check_writable(path)
    nb = execute(source, checked, root=root, bar={} if progress else None)
    save_notebook(nb, target)
    if not html:
        return target
    from causalmix.publishing.page import write_page

    write_page(nb, page)
    return page


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
        Show a progress bar with these options of tqdm: the heading, and the time left.

    Returns
    -------
    nbformat.NotebookNode
        The executed copy, without machine-dependent paths.

    Raises
    ------
    NotebookInputError
        If a cell raises one of this package's errors.
    NotebookError
        If a cell fails otherwise or the kernel dies.
    """
    # Imported here: papermill takes a second, and `causalmix --help` should not.
    import papermill
    from nbclient.exceptions import DeadKernelError

    from causalmix.publishing.progress import Progress

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it knows no `int | None`
    os.environ.update(_kernel_environment())
    shown = None if bar is None else Progress(source, _earlier_seconds(source, root), **bar)
    hooks = {} if shown is None else {"on_cell_start": shown.begin, "on_cell_executed": shown.end}
    try:
        with shown or nullcontext():
            nb = papermill.execute_notebook(
                source,
                None,  # nothing on the disk that a kill would leave there
                parameters=dict(parameters),
                kernel_name="python3",
                language="python",
                progress_bar=False,
                request_save_on_cell_execute=False,
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # no notices on our stderr
                **hooks,
            )
    except papermill.PapermillExecutionError as error:
        raise _as_notebook_error(source, error, root) from None
    except DeadKernelError:
        raise NotebookError(
            f"{source.stem}: the kernel died, most often because memory ran out; "
            "use fewer rows or close other programs."
        ) from None
    return _without_paths(nb, root)


def _earlier_seconds(source: Path, root: Path) -> dict[str, float]:
    from causalmix.publishing.progress import cell_seconds

    copies = [(root / BUILD / "runs").glob(f"{source.stem}*.ipynb")]
    copies.append((root / BUILD / "executed").glob(f"{source.stem}-*.ipynb"))
    return cell_seconds(chain(*copies))


def _kernel_environment() -> dict[str, str]:
    """Return variables that kernels inherit, on top of those there are."""
    warnings = os.environ.get("PYTHONWARNINGS", "").removesuffix(_NO_WIDGETS).rstrip(",")
    return {
        "JUPYTER_PREFER_ENV_PATH": "1",  # this environment's kernel before the user's
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # a notice of no use here
        "PYTHONWARNINGS": f"{warnings},{_NO_WIDGETS}".lstrip(","),
    }


def _as_notebook_error(source: Path, error: Any, root: Path) -> NotebookError:
    """Return what to raise for an error of papermill's: short where the message says it all."""
    if error.ename in _package_errors(CausalMixError):
        return NotebookInputError(f"{source.stem}, cell [{error.exec_count}]: {error.evalue}")
    return NotebookError(_describe(source, error, root))


def _package_errors(kind: type[CausalMixError]) -> set[str]:
    """Return the names of an exception and of all those derived from it."""
    return {kind.__name__}.union(*map(_package_errors, kind.__subclasses__()))


def _describe(source: Path, error: Any, root: Path) -> str:
    lines = unstyle("\n".join(error.traceback)).splitlines()[-_TRACEBACK_LINES:]
    cell = "\n".join(f"    {line}" for line in error.source.splitlines())
    trace = "\n".join(f"    {_shorten(line, root)}" for line in lines)
    return f"{source.stem} failed in its cell [{error.exec_count}]:\n\n{cell}\n\n{trace}"


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
        text = text.replace(folder + os.sep, "")
        text = re.sub(rf"(?<![\w./\\]){re.escape(folder)}(?![\w.-])", ".", text)
    return text


def private_folders(root: Path) -> set[str]:
    """Return the folders whose names no result may show: the project's and the user's own."""
    return {str(folder) for folder in (root, Path.home()) if folder != Path(folder.anchor)}


def save_notebook(nb: nbformat.NotebookNode, path: Path) -> None:
    """Write a finished notebook so that `path` never holds half of it, or else somewhere else.

    Parameters
    ----------
    nb : nbformat.NotebookNode
    path : pathlib.Path
        Its folder is made.

    Raises
    ------
    CausalMixError
        If it cannot be written there; says where it is kept.
    """

    def write(file: Path) -> None:
        nbformat.write(nb, file)

    try:
        make_folder(path.parent)
        replace_file(path, write)
    except CausalMixError as error:
        kept = Path(tempfile.mkdtemp(prefix="causalmix-")) / path.name
        try:
            replace_file(kept, write)
        except CausalMixError:  # nowhere is room
            kept.parent.rmdir()
            raise error from None
        raise CausalMixError(f"{error} The finished notebook is kept as {kept}.") from error
