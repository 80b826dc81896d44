"""The command line: names, types, exit codes."""

from __future__ import annotations

import errno
import subprocess
import sys

import nbformat
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_notebook

import causalmix
from causalmix import cli
from causalmix.data.dataset import dataset_names


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (tmp_path / "_toc.yml").write_text("root: x\n")
    parameters = new_code_cell(
        "n_rows: int = 3  # rows\nword: str = 'a'  # a word", metadata={"tags": ["parameters"]}
    )
    nb = new_notebook(cells=[parameters, new_code_cell("print(word * n_rows)\n1 / len(word)")])
    nbformat.write(nb, folder / "01_first.ipynb")
    monkeypatch.setattr("causalmix.publishing.notebooks.project_root", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(cli.main, arguments)


def test_version_and_help_come_without_heavy_imports():
    assert causalmix.__version__ in call("--version").output
    heavy = "{'torch', 'tabpfn', 'dowhy', 'papermill', 'sklearn', 'pandas', 'numpy', 'difflib'}"
    code = f"import sys, causalmix.cli; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_run_takes_typed_parameters_and_prints_the_result(project):
    result = call("run", "01", "-p", "n_rows", "2", "-p", "word", "-x")
    assert result.exit_code == 0, result.output
    path = project / result.stdout.strip().splitlines()[-1]
    nb = nbformat.read(path, as_version=4)
    assert nb.cells[-1].outputs[0].text == "-x-x\n"


def test_output_option_names_the_result(project):
    assert call("run", "01", "--output", "deep/mine.ipynb").exit_code == 0
    assert (project / "deep" / "mine.ipynb").is_file()
    assert call("run", "01", "--output", "mine.html").exit_code == 2


def test_misspelt_parameter_lists_the_valid_ones_nearest_first(project):
    result = call("run", "01", "-p", "wrod", "b")
    assert result.exit_code == 2
    assert "no parameter 'wrod'" in result.stderr
    assert result.stderr.index("word: str = 'a'  # a word") < result.stderr.index("n_rows: int")
    assert "Traceback" not in result.output
    assert not (project / "_build").exists()


def test_wrong_type_and_repeated_parameter_are_refused(project):
    result = call("run", "01", "-p", "n_rows", "many")
    assert result.exit_code == 2
    assert "takes int, not 'many'" in result.stderr
    twice = call("run", "01", "-p", "n_rows", "1", "-p", "n_rows", "2")
    assert twice.exit_code == 2
    assert "more than once: -p n_rows" in twice.stderr


@pytest.mark.parametrize("value", ["0", "-5"])
def test_a_number_that_makes_no_sense_is_refused_before_anything_runs(project, value):
    result = call("run", "01", "-p", "n_rows", value)
    assert result.exit_code == 2
    assert f"n_rows is {value}; a whole number, at least 1, is needed." in result.stderr
    assert not (project / "_build").exists()


def test_what_the_system_refuses_is_one_sentence(project, monkeypatch):
    def fail(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied", "mine.csv")

    monkeypatch.setattr("causalmix.publishing.notebooks.run_notebook", fail)
    result = call("run", "01")
    assert result.exit_code == 2
    assert result.stderr == "causalmix: mine.csv: Permission denied.\n"


def test_unknown_notebook_gets_the_nearest_names(project):
    result = call("run", "01_frist")
    assert result.exit_code == 2
    assert "Did you mean '01_first'?" in result.stderr


def test_failing_notebook_shows_its_cell_and_leaves_nothing(project):
    result = call("run", "01", "-p", "word", "")
    assert result.exit_code == 1
    assert "01_first failed" in result.stderr
    assert "1 / len(word)" in result.stderr
    assert "ZeroDivisionError" in result.stderr
    assert not list(project.rglob("_build/**/*.ipynb"))


def test_book_refuses_a_parameter_that_no_notebook_has(project, monkeypatch):
    monkeypatch.setattr("causalmix.publishing.book.project_root", lambda: project)
    result = call("book", "-p", "n_row", "2")
    assert result.exit_code == 2
    assert "No notebook has a parameter 'n_row'" in result.stderr
    assert "n_rows: int = 3  # rows  (01_first)" in result.stderr


def test_datasets_lists_every_name():
    result = call("datasets")
    assert result.exit_code == 0
    first = [line.split()[0] for line in result.output.splitlines()]
    assert first[1:-1] == dataset_names()


def test_doctor_says_what_is_broken(monkeypatch):
    def broken():
        raise OSError("no such checkpoint")

    checks = {"good": lambda: "fine", "bad": broken, "later": lambda: "fine too"}
    monkeypatch.setattr(cli, "_CHECKS", checks)
    result = call("doctor")
    assert result.exit_code == 1
    assert "no such checkpoint" in result.output
    assert "fine too" in result.output  # the other checks still ran
    monkeypatch.setattr(cli, "_CHECKS", {"good": lambda: "fine"})
    assert call("doctor").exit_code == 0


def test_doctor_passes_without_a_clone(tmp_path, monkeypatch):
    monkeypatch.setattr("causalmix.publishing.notebooks.PACKAGE", tmp_path / "causalmix")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.main, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "they come with a clone" in result.output


def test_doctor_finds_this_installation_sound():
    result = call("doctor")
    assert result.exit_code == 0, result.output
    assert "torch" in result.output
