"""A notebook that is opened in the cloud installs the package; one that is run here does not."""

from __future__ import annotations

import builtins
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from causalmix.publishing.page import page_of

ROOT = Path(__file__).parents[2]
CELLS = {
    path.stem: nbformat.read(path, as_version=4).cells
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
}
ADDRESS = "https://example.org/team/book"


@pytest.fixture
def launch(tmp_path, monkeypatch):
    """Run the cell in a folder of its own, as if the package were installed or not."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("BINDER_REPO_URL", raising=False)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setattr(builtins, "input", lambda prompt: ADDRESS)
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda words, check: commands.append(words))

    def run(*, installed):
        with monkeypatch.context() as patch:
            patch.setattr(importlib.util, "find_spec", lambda name: installed or None)
            exec(CELLS["00_causality"][1].source, {})
        return commands

    return run


def test_all_notebooks_begin_with_the_same_cell_which_no_page_shows():
    cells = [each[1] for each in CELLS.values()]
    assert len({cell.source for cell in cells}) == 1
    assert all(cell.id == "launch" and cell.metadata.tags == ["remove-cell"] for cell in cells)
    nb = nbformat.v4.new_notebook(cells=CELLS["00_causality"][:3])
    nb.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "p"}
    assert "networkx" in page_of(nb)
    assert "BINDER_REPO_URL" not in page_of(nb)


def test_colab_clones_the_repository_and_installs_the_package(launch, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    clone, install = launch(installed=False)
    root = os.path.abspath("repository")
    assert clone == ["git", "clone", "--depth", "1", ADDRESS, root]
    assert install[1:] == ["-m", "pip", "install", "-q", "-e", root]
    assert sys.path[0] == root


def test_binder_installs_the_repository_that_it_has_cloned(launch, monkeypatch, tmp_path):
    monkeypatch.setenv("BINDER_REPO_URL", ADDRESS)
    (install,) = launch(installed=False)
    assert install[1:] == ["-m", "pip", "install", "-q", "-e", str(tmp_path)]
    assert "cpu" in os.environ["PIP_EXTRA_INDEX_URL"]


@pytest.mark.parametrize("cloud", [True, False])
def test_a_build_and_a_run_elsewhere_install_nothing(launch, monkeypatch, cloud):
    if cloud:  # where the package is there, as in every build
        monkeypatch.setenv("BINDER_REPO_URL", ADDRESS)
        monkeypatch.setitem(sys.modules, "google.colab", sys)
    assert launch(installed=cloud) == []
