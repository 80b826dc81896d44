"""The files around the package agree with each other."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import causalmix
from causalmix.data.dataset import dataset_names, load_dataset
from causalmix.data.splitting import low_data_split
from causalmix.publishing.parameters import read_parameters

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# All chapters but those on variables that are made there, and on stored runs.
ON_A_TABLE = [path for path in NOTEBOOKS if path.stem not in ("00_causality", "05_evidence")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = {
    canonicalize_name(name): version
    for name, version in (
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    )
}


def tracked_files():
    done = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.splitlines()]


def test_lock_pins_everything_the_project_asks_for():
    extras = [need for needs in PROJECT["optional-dependencies"].values() for need in needs]
    for need in map(Requirement, PROJECT["dependencies"] + extras):
        assert need.specifier.contains(PINS[canonicalize_name(need.name)]), need


def test_lock_is_closed_under_what_its_packages_need():
    from importlib.metadata import PackageNotFoundError, requires

    for name in PINS:
        try:
            needs = map(Requirement, requires(name) or [])
        except PackageNotFoundError:
            continue  # of an extra that is not installed, or of another system
        for need in needs:
            if need.marker and not need.marker.evaluate({"extra": ""}):
                continue
            if not canonicalize_name(need.name).startswith(("nvidia", "cuda", "triton")):
                assert canonicalize_name(need.name) in PINS, (name, need)


def test_lock_has_the_agreed_versions_and_no_local_ones():
    assert PINS["torch"] == "2.13.0"
    assert PINS["jupyter-book"] == "1.0.4.post1"
    assert not [version for version in PINS.values() if "+" in version or "@" in version]


def test_conda_environment_installs_this_package_with_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert environment["name"] == PROJECT["name"]
    assert pip == {"pip": ["-c constraints.txt", "-e .[dev]"]}
    assert "dev" in PROJECT["optional-dependencies"]
    python = next(entry for entry in conda if entry.startswith("python="))
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))
    assert conda == [python, "pip"]  # nothing that pyproject does not know


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"] == causalmix.__version__
    assert citation["license"] == PROJECT["license"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_a_clean_parameterised_source(path):
    nb = nbformat.read(path, as_version=4)
    nbformat.validate(nb)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert not [cell for cell in code if cell.outputs or cell.execution_count]
    parameters = read_parameters(path)
    if path in ON_A_TABLE:
        assert "dataset" in parameters
        assert parameters["target"].default == ""
        sets = [parameters[name] for name in ("categorical", "numeric", "drop")]
        assert {(each.type, str(each.default)) for each in sets} == {("list[str]", "[]")}
    assert all(parameter.help for parameter in parameters.values())
    assert len(parameters) == len(tagged[0].source.splitlines())  # one line each
    assert nb.metadata.kernelspec.name == "python3"


def test_each_figure_has_a_name_of_its_own_a_caption_and_alt_text():
    names = []
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            if drawn := cell.metadata.get("mystnb"):
                assert re.search(r"plot_\w+\(|plt\.", cell.source), (path.stem, cell.id)
                assert drawn["figure"]["caption"].endswith("."), (path.stem, cell.id)
                assert drawn["image"]["alt"], (path.stem, cell.id)
                names.append(drawn["figure"]["name"])
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("stem", ["03_finetuning", "04_benchmark", "05_evidence"])
def test_exercises_have_solutions_that_run(stem):
    cells = nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4).cells
    places = [i for i, cell in enumerate(cells) if "{solution-start}" in cell.source]
    assert len(places) >= 3
    for i in places:
        assert cells[i + 1].cell_type == "code"
        assert "{solution-end}" in cells[i + 2].source


# What gives results that are not of the chapter's own table.
ELSEWHERE = re.compile(
    r"load_(result|record|store)|load_dataset\(\"|compare_searches|hospital_rows|the paper reports"
)


@pytest.mark.parametrize("path", ON_A_TABLE, ids=lambda path: path.stem)
def test_findings_on_other_tables_stand_under_a_heading_that_says_so(path):
    section, found = "", set()
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            for part in re.split(r"^## ", cell.source, flags=re.MULTILINE)[1:]:
                section = part.partition("\n")[0]
                if ELSEWHERE.search(part.lower()):
                    found.add(section)
        elif "import" not in cell.source and ELSEWHERE.search(cell.source):
            found.add(section)
    assert found == {"On other tables"}


@pytest.mark.parametrize("path", NOTEBOOKS[:3], ids=lambda path: path.stem)
def test_chapters_that_teach_say_what_to_see_and_run_their_solutions(path):
    cells = nbformat.read(path, as_version=4).cells
    for k, cell in enumerate(cells):
        if "mystnb" in cell.metadata:
            text = next(each.source for each in cells[k:] if each.cell_type == "markdown")
            assert "**What to see.**" in text, cell.metadata["mystnb"]["figure"]["name"]
    text = "".join(f"{cell.source}\n" if cell.cell_type == "markdown" else "CODE" for cell in cells)
    labels = re.findall(r":label: (ex-\S+)", text)
    assert len(labels) >= 3
    solutions = re.findall(r"\{solution-start\} (\S+)(.*?)\{solution-end\}", text, re.DOTALL)
    assert [label for label, _ in solutions] == labels
    assert all("CODE" in solution for _, solution in solutions)
    table = (ROOT / "book" / "teaching.md").read_text()
    assert all(f"{{ref}}`{label}`" in table for label in labels)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_default_sizes_fit_every_embedded_dataset(path):
    sizes = {name: p.default for name, p in read_parameters(path).items()}
    if "n_val" not in sizes:
        return  # it splits nothing
    for name in dataset_names():
        split = low_data_split(load_dataset(name), sizes["n_train"], sizes["n_val"], seed=0)
        assert split.test.n_rows >= 20, name


def test_lab_passes_options_on():
    done = subprocess.run(
        ["make", "-n", "lab", "ARGS=--port 1234"], cwd=ROOT, capture_output=True, text=True
    )
    command = next(line for line in done.stdout.splitlines() if "jupyter lab" in line)
    assert "--port 1234" in command
    assert ("--allow-root" in command) == (os.geteuid() == 0)


def test_smoke_parameters_are_parameters():
    smoke = yaml.safe_load((ROOT / "notebooks" / "smoke.yml").read_text())
    assert set(smoke) <= {path.stem for path in NOTEBOOKS}
    for stem, values in smoke.items():
        parameters = read_parameters(ROOT / "notebooks" / f"{stem}.ipynb")
        for name, value in values.items():
            parameters[name].convert(value)


def test_contents_list_every_notebook_and_only_what_exists():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    assert {f"notebooks/{path.stem}" for path in NOTEBOOKS} <= set(chapters)
    written = [name for name in chapters if name not in ("book/record",)]  # made by the build
    assert all(list(ROOT.glob(f"{name}.*")) for name in [contents["root"], *written])


def test_citations_in_the_text_are_in_the_bibliography():
    known = set(re.findall(r"^@\w+\{([^,]+),", (ROOT / "book/references.bib").read_text(), re.M))
    pages = [*(ROOT / "book").glob("*.md"), *NOTEBOOKS]
    cited = {
        key.strip()
        for page in pages
        for keys in re.findall(r"\{cite\w*(?::\w+)?\}`([^`]+)`", page.read_text())
        for key in keys.split(",")
    }
    assert cited
    assert cited <= known


def test_tracked_files_name_no_folder_of_this_machine():
    private = {str(ROOT) + "/", str(Path.home()) + "/"} - {"//"}
    for path in tracked_files():
        if path.is_file() and path.suffix not in {".safetensors", ".js"}:
            text = path.read_text(encoding="utf-8", errors="replace")
            assert not [folder for folder in private if folder in text], path


def test_make_names_what_it_can_do_and_refuses_an_old_python(tmp_path):
    make = ["make", "--no-print-directory", "-C", ROOT]
    shown = subprocess.run(make, capture_output=True, text=True, check=True).stdout
    for target in ("book", "test", "lab", "clean", "help"):
        assert f"make {target} " in shown
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    venv = tmp_path / "venv"
    refused = subprocess.run(
        [*make, f"VENV={venv}", f"PYTHON={old}", "test"], capture_output=True, text=True
    )
    assert refused.returncode != 0
    assert "CausalMix needs Python 3.11 or newer" in refused.stderr
    assert not venv.exists()


def test_make_leaves_no_stamp_when_the_installation_fails(tmp_path):
    for name in ("Makefile", "constraints.txt"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "pyproject.toml").write_text("not a project")
    python = tmp_path / "python3"  # makes an environment in which nothing can be installed
    python.write_text(
        "#!/bin/sh\n[ $1 != -m ] || { mkdir -p .venv/bin && ln -s /bin/false .venv/bin/python; }\n"
    )
    python.chmod(0o755)
    make = ["make", "-C", tmp_path, f"PYTHON={python}", "test"]
    failed = subprocess.run(make, capture_output=True, text=True)
    assert failed.returncode != 0
    assert (tmp_path / ".venv" / "bin").exists()
    assert not (tmp_path / ".venv" / ".installed").exists()
