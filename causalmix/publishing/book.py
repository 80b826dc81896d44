"""The book: run the notebooks with papermill, then let Jupyter Book render what was run."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import yaml
from click import unstyle

from causalmix.atomic import (
    check_writable,
    make_folder,
    naming_output,
    remove_stale,
    replace_folder,
    stage_folder,
)
from causalmix.data.columns import listed
from causalmix.errors import CausalMixError, check_jobs, naming
from causalmix.manifest import file_hash, write_json
from causalmix.publishing.execution import (
    Run,
    files_below,
    hash_files,
    package_hash,
    plan,
    result_files,
    run_notebooks,
    versions,
)
from causalmix.publishing.markdown import code_span
from causalmix.publishing.notebooks import (
    BUILD,
    private_folders,
    project_root,
    save_notebook,
)
from causalmix.publishing.record import record_page

# Jupyter Book, which ends too when its standard input does: with the process that started it.
_JUPYTER_BOOK = """
import os, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
from jupyter_book.cli.main import main; main()
"""
_TEXT = {".html", ".ipynb", ".md", ".json", ".txt"}
_MARK = ".causalmix-book"  # in every built book: the hash of all that went into it, and its files


def build_book(
    parameters: Mapping[str, Any] | None = None,
    *,
    smoke: bool = False,
    out: str | Path | None = None,
    root: Path | None = None,
    workers: int | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Path:
    """Run the notebooks where needed and build the book.

    Parameters
    ----------
    parameters : mapping of str to object, optional
        Values that replace defaults, each given to every notebook that has such a parameter.
    smoke : bool, default=False
        Start from the small values of `notebooks/smoke.yml`.
    out : str or pathlib.Path, optional
        Folder for the HTML; by default `_build/html`, or `_build/books/<name>/html` for a book
        with other parameters.
    root : pathlib.Path, optional
        The project's root; by default `project_root()`.
    workers : int, optional
        Notebooks run side by side; by default 2 where there are 2 cores.
    report : callable, optional
        Takes each line of progress.

    Returns
    -------
    pathlib.Path
        The book's first page, `index.html`.

    Raises
    ------
    UnknownNameError
        If no notebook has one of the parameters.
    NotebookError
        If a notebook fails; an earlier book stays as it was.
    CausalMixError
        If a value has the wrong type, or Jupyter Book warns, or a page shows a private path.
    """
    root = root or project_root()
    parameters = parameters or {}
    if workers is not None:
        check_jobs(workers, "workers")
    check_writable(root / BUILD, folder=True)
    target = _target(parameters, smoke, out, root)
    runs = plan(parameters, smoke=smoke, root=root)
    run_notebooks([run for run in runs if not run.executed.exists()], root, workers, report)
    kept = [run.source.stem for run in runs if run.executed.exists()]
    report(f"notebooks ready: {', '.join(kept)}")
    make_folder(root / BUILD)
    remove_stale(root / BUILD / "stage")
    with stage_folder(root / BUILD / "stage") as folder, naming_output(root / BUILD):
        stage = folder / "source"
        fill_stage(stage, runs, _banner(parameters, smoke), root)
        mark = hash_files(files_below(stage), base=stage, extra=[package_hash(), *versions()])
        built = target / _MARK
        if _read_mark(built).get("hash") == mark:
            built.touch()  # whoever looks at its age sees that it was compared with the sources
            report("the book is up to date")
        else:
            report("rendering the pages")
            html = render(stage, folder / "out")
            check_private_paths(html, root)
            write_json(html / _MARK, {"hash": mark, "files": _names_below(html)})
            make_folder(target.parent)
            _check_place(target, out)  # again: it has taken a while
            replace_folder(target, lambda new: shutil.copytree(html, new, dirs_exist_ok=True))
    return target / "index.html"


def fill_stage(stage: Path, runs: list[Run], banner: str, root: Path) -> None:
    """Lay out the folder that Jupyter Book renders: the book's sources and the executed copies.

    Parameters
    ----------
    stage : pathlib.Path
        The folder to make. Files lie in it as in the project, so that the pages' links to the
        repository lead to the sources.
    runs : list of Run
        The notebooks, all executed.
    banner : str
        A note below the first page's title, or "".
    root : pathlib.Path
        The project's root.
    """
    shutil.copytree(root / "book", stage / "book")
    shutil.copy(root / "_toc.yml", stage)
    _write_config(root, stage)
    records = []
    for run in runs:
        with naming(run.executed, "an executed notebook", "Delete it, and it is run again."):
            nb = nbformat.read(run.executed, as_version=4)
        record = nb.metadata.pop("causalmix")
        files = result_files(run.source, record["parameters"])
        records.append(record | {"results": {name: file_hash(f) for name, f in files.items()}})
        nb.metadata["mystnb"] = {"execution_mode": "off"}
        if run.parameters:  # the injected values are shown; the defaults fold away
            for cell in nb.cells:
                if "parameters" in cell.metadata.get("tags", []):
                    cell.metadata["tags"] = [*cell.metadata["tags"], "hide-input"]
        save_notebook(nb, stage / "notebooks" / run.source.name)
    (stage / "book" / "record.json").write_text(json.dumps(records, indent=2), encoding="utf-8")
    read = _fill_pages(stage / "book", root)
    page = record_page(records, read)
    (stage / "book" / "record.md").write_text(page, encoding="utf-8")
    if banner:
        intro = stage / "book" / "intro.md"
        title, _, rest = intro.read_text(encoding="utf-8").partition("\n")
        intro.write_text(f"{title}\n\n{banner}\n{rest}", encoding="utf-8")


_RESULTS_OF = {
    "intro": ["finetuning/contenders", "finetuning/paper"],
    "model_card": ["pretrain", "tfm"],
    "claims": [
        "finetuning/paper",
        "finetuning/paper_generators",
        "finetuning/paper_audit.csv",
    ],
    "privacy": ["generation"],
    "tables": ["tables"],
}
"""Folders and files of results that the pages with blanks read; a module here has a page's name."""


def _fill_pages(book: Path, root: Path) -> dict[str, dict[str, str]]:
    """Fill the pages that have blanks; return the hashes of the results that each reads.

    A filled page is kept below `BUILD` until what it is made of is another.
    """
    read = {}
    for name, parts in _RESULTS_OF.items():
        page, results = book / f"{name}.md", root / "results"
        if not page.exists() or "{{" not in page.read_text(encoding="utf-8"):
            continue
        places = [results / part for part in parts]
        files = [f for p in places for f in ([p] if p.is_file() else files_below(p))]
        read[name] = {f.relative_to(root).as_posix(): file_hash(f) for f in files}
        mark = hash_files([page, *files], extra=[package_hash(), *versions()])
        kept = root / BUILD / "pages" / f"{name}-{mark[:16]}"
        if not kept.is_dir():
            make_folder(kept.parent)
            replace_folder(kept, partial(fill_page, page, results))
            for old in set(kept.parent.glob(f"{name}-*")) - {kept}:
                shutil.rmtree(old)
        shutil.copytree(kept, book, dirs_exist_ok=True)
    return read


def fill_page(page: Path, results: Path, folder: Path) -> None:
    """Write a page, filled, and its figures into a folder.

    Parameters
    ----------
    page : pathlib.Path
        With blanks. A module of this room bears its name, and has a function ``fill_<name>`` that
        takes the copy to change and the folder of results.
    results : pathlib.Path
        The project's folder of results.
    folder : pathlib.Path
        Where the copy and its figures go.

    Raises
    ------
    CausalMixError
        If results are missing, or the page has an unknown blank.
    """
    room = importlib.import_module(f"causalmix.publishing.{page.stem}")  # needs torch
    getattr(room, f"fill_{page.stem}")(Path(shutil.copy(page, folder)), results)


_HOSTS = ("github.com", "gitlab.com")
"""Of repositories that the book's theme makes buttons for; Colab opens notebooks of the first."""


def _write_config(root: Path, stage: Path) -> None:
    """Copy the book's settings; its buttons lead to a repository that there is, or are left out."""
    with naming(root / "_config.yml", "the settings of a book", "See Jupyter Book's pages."):
        config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    url = config.get("repository", {}).get("url") or repository_url(root)
    host = urlsplit(url).hostname
    if host in _HOSTS:
        config.setdefault("repository", {})["url"] = url
        if host != _HOSTS[0]:
            config.get("launch_buttons", {}).pop("colab_url", None)
    else:  # the theme refuses other hosts, but for a plain link
        config.pop("repository", None)
        config.pop("launch_buttons", None)
        buttons = {"use_repository_button": False, "use_issues_button": False}
        config["html"] = config.get("html", {}) | buttons
        theme = config
        for key in ("sphinx", "config", "html_theme_options"):
            theme = theme.setdefault(key, {})
        links = [{"name": "Repository", "url": url, "icon": "fa-brands fa-git-alt"}] if url else []
        theme["icon_links"] = [*theme.get("icon_links", []), *links]
    (stage / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def repository_url(root: Path) -> str:
    """Return the address of a checkout's remote, where readers can open it.

    Parameters
    ----------
    root : pathlib.Path
        The project's root.

    Returns
    -------
    str
        Of the remote ``origin``, without a user's name and password; empty where it is no https
        address or there is none.
    """
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git
        return ""
    parts = urlsplit(found)
    if parts.scheme != "https" or not parts.hostname:
        return ""
    return f"https://{parts.netloc.rpartition('@')[2]}{parts.path.removesuffix('.git')}"


def _banner(parameters: Mapping[str, Any], smoke: bool) -> str:
    if not parameters and not smoke:
        return ""
    lines = [f"- {code_span(name)} = {code_span(value)}" for name, value in parameters.items()]
    if smoke:
        lines.append("- the small values of `notebooks/smoke.yml`, which only show that all runs")
    text = "\n".join(lines)
    return f":::{{note}}\nThis copy of the book was run with other parameters:\n\n{text}\n:::\n"


def render(stage: Path, out: Path) -> Path:
    """Build the HTML of a stage with warnings as errors.

    Parameters
    ----------
    stage : pathlib.Path
        A folder that `fill_stage` made.
    out : pathlib.Path
        Where Jupyter Book works.

    Returns
    -------
    pathlib.Path
        The folder of the pages.

    Raises
    ------
    CausalMixError
        If Jupyter Book fails or warns; shows the warnings.
    """
    options = ["--path-output", str(out), "-W", "-n", "--keep-going", "-q"]
    watched, alive = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", _JUPYTER_BOOK, "build", str(stage), *options],
            stdin=watched,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},  # those of Sphinx's own dependencies
        )
    finally:
        os.close(watched)
        os.close(alive)
    html = out / "_build" / "html"
    if done.returncode or not (html / "index.html").is_file():
        text = unstyle(done.stdout + done.stderr)
        lines = text.replace(str(stage) + os.sep, "").splitlines()
        telling = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines[-15:]
        raise CausalMixError("Jupyter Book could not build the pages:\n" + "\n".join(telling))
    return html


def check_private_paths(html: Path, root: Path) -> None:
    """Raise CausalMixError if a page of the book shows a folder of this machine."""
    for page in html.rglob("*"):
        if page.suffix not in _TEXT and page.name != "searchindex.js":
            continue
        text = page.read_text(encoding="utf-8", errors="replace")
        for folder in private_folders(root):
            if re.search(rf"(?<![\w./]){re.escape(folder)}(?![\w.-])", text):
                raise CausalMixError(
                    f"The page {page.relative_to(html)} shows a path of this machine, below "
                    f"{folder}: print file names only."
                )


def _target(parameters: Mapping[str, Any], smoke: bool, out: str | Path | None, root: Path) -> Path:
    name = book_name(parameters, smoke)
    if out is None:
        return root / BUILD / "books" / name / "html" if name else root / BUILD / "html"
    target = Path(out).expanduser().absolute()
    _check_place(target, out)
    return target


def _check_place(target: Path, out: str | Path | None) -> None:
    """Raise if a folder that a user names cannot be written, or holds other things than a book.

    Below `BUILD`, where the others lie, all is replaced.
    """
    check_writable(target, folder=True)
    if out is None or not target.exists():
        return
    foreign = set(_names_below(target)) - set(_read_mark(target / _MARK).get("files", []))
    if foreign:
        raise CausalMixError(
            f"{out} holds other things than a book: {listed(sorted(foreign), 5)}. Move them, or "
            "name an empty folder."
        )


def _names_below(folder: Path) -> list[str]:
    """Return the files of a book but its mark, as paths below its folder."""
    return [
        name
        for file in folder.rglob("*")
        if (file.is_symlink() or not file.is_dir())
        and (name := file.relative_to(folder).as_posix()) != _MARK
    ]


def _read_mark(file: Path) -> dict[str, Any]:
    """Return what a built book says of itself; nothing where it says nothing."""
    try:
        mark = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return mark if isinstance(mark, dict) else {}


def book_name(parameters: Mapping[str, Any], smoke: bool) -> str:
    """Return a folder's name for a book with these parameters, "" for the default book."""
    values = {name: str(value) for name, value in sorted(parameters.items())}
    parts = [f"{name}-{Path(value).stem}" for name, value in values.items()]
    readable = "_".join([*(["smoke"] if smoke else []), *parts])
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", readable)[:60].strip("-.")
    if all(re.fullmatch(r"[A-Za-z0-9-]*", value) for value in values.values()) and name == readable:
        return name
    return f"{name}-{hashlib.sha256(json.dumps(values).encode()).hexdigest()[:6]}"
