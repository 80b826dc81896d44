"""Running notebooks, keeping their copies, and rendering the book."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import Future
from functools import partial
from html import escape
from pathlib import Path

import nbformat
import pytest
import yaml
from markdown_it import MarkdownIt
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from causalmix import atomic
from causalmix.errors import CausalMixError, DataError, UnknownNameError
from causalmix.publishing import book, execution, notebooks, progress
from causalmix.publishing.book import book_name, build_book, fill_stage, repository_url
from causalmix.publishing.execution import plan, result_files
from causalmix.publishing.markdown import code_span
from causalmix.publishing.notebooks import (
    NotebookError,
    NotebookInputError,
    find_notebook,
    run_notebook,
)
from causalmix.publishing.page import write_page
from causalmix.publishing.parameters import (
    Parameter,
    check_parameters,
    read_parameters,
    variant,
)
from causalmix.publishing.progress import last_heading
from causalmix.publishing.record import record_page

HOSTILE = "<img src=x onerror=alert(1)>"

KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def write_notebook(path, parameters, code, title="Title"):
    tagged = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    cells = [new_markdown_cell(f"# {title}\n\n$$x^2$$"), tagged, new_code_cell(code)]
    path.parent.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), path)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two notebooks and the least a book needs; the working directory is its root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(execution, "PACKAGE", tmp_path / "package")  # does not change meanwhile
    write_notebook(
        tmp_path / "notebooks" / "01_one.ipynb",
        "rows: int = 3  # rows\nfile: str = ''  # a file",
        "import pathlib, warnings\n"
        "print('content', pathlib.Path(file).read_text() if file else rows)\n"
        "print(pathlib.Path.cwd(), pathlib.Path.cwd() / 'somewhere')\n"
        "warnings.warn('careful')",
    )
    write_notebook(tmp_path / "notebooks" / "02_two.ipynb", "k: int = 0  # a number", "6 / (2 - k)")
    (tmp_path / "notebooks" / "smoke.yml").write_text("01_one: {rows: 1}\n")
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "intro.md").write_text("# Intro\n\nHello.\n")
    (tmp_path / "_config.yml").write_text(
        "title: Small\nonly_build_toc_files: true\nexclude_patterns: [_build]\n"
        "execute: {execute_notebooks: 'off'}\n"
    )
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nchapters:\n- file: notebooks/01_one\n"
        "- file: notebooks/02_two\n- file: book/record\n"
    )
    return tmp_path


def executed(project, **parameters):
    return {run.source.stem: run.executed for run in plan(parameters, smoke=False, root=project)}


# Buttons


ADDRESS = "https://example.org:8443/team/book"


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://github.com/team/book.git", "https://github.com/team/book"),
        ("https://user:secret@example.org:8443/team/book", ADDRESS),
        ("http://example.org/book", ""),
        ("git@example.org:team/book.git", ""),
        (None, ""),
    ],
)
def test_the_address_is_that_of_the_checkouts_remote_where_readers_can_open_it(
    project, remote, url
):
    subprocess.run(["git", "init", "-q"], check=True)
    if remote:
        subprocess.run(["git", "remote", "add", "origin", remote], check=True)
    assert repository_url(project) == url


GITHUB, GITLAB = "https://github.com/team/book", "https://gitlab.com/team/book"
BUTTONS = """
html: {{use_repository_button: true, use_issues_button: true}}
launch_buttons: {{colab_url: https://colab.research.google.com, binderhub_url: https://mybinder.org}}
repository: {{branch: main, url: {}}}
"""


@pytest.mark.parametrize(
    ("url", "shown", "hidden"),
    [
        (GITLAB, ["v2/gl/team%2Fbook/main", f"{GITLAB}/-/issues"], ["google.com"]),
        (ADDRESS, [f'href="{ADDRESS}"'], ["google.com", "mybinder"]),
    ],
)
def test_buttons_lead_where_the_settings_say_as_far_as_the_host_allows(
    project, tmp_path, url, shown, hidden
):
    (project / "_config.yml").open("a").write(BUTTONS.format(url))
    fill_stage(project / "stage", [], "", project)
    shutil.copytree(project / "notebooks", project / "stage" / "notebooks")
    html = book.render(project / "stage", tmp_path / "out")
    page = (html / "notebooks" / "01_one.html").read_text()
    assert not [each for each in shown if each not in page]
    assert not [each for each in hidden if each in page]


def test_without_an_address_there_are_no_buttons(project):
    (project / "_config.yml").open("a").write(BUTTONS.format("''"))
    fill_stage(project / "stage", [], "", project)
    config = yaml.safe_load((project / "stage" / "_config.yml").read_text())
    assert not {"repository", "launch_buttons"} & set(config)
    assert set(config["html"].values()) == {False}
    assert config["sphinx"]["config"]["html_theme_options"] == {"icon_links": []}


# Parameters


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("int", "7", 7),
        ("int", 7, 7),
        ("float", "1e-4", 1e-4),
        ("float", 2, 2.0),
        ("str", "7", "7"),
        ("bool", "False", False),
        ("bool", "yes", True),
        ("list[str]", "wine, iris", ["wine", "iris"]),
        ("list[str]", "wine", ["wine"]),
        ("list[str]", '"age, years",sex', ["age, years", "sex"]),
        ("list[str]", "", []),
        ("list[int]", "0,1", [0, 1]),
        ("list[int]", (0, 1), [0, 1]),
        ("int | None", "none", None),
        ("int | None", "5", 5),
    ],
)
def test_values_become_their_declared_type(kind, given, expected):
    value = Parameter("p", kind, None, "").convert(given)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("int", "7.5"),
        ("int", True),
        ("int", 7.0),
        ("float", "fast"),
        ("bool", "maybe"),
        ("bool", 1),
        ("str", 7),
        ("list[int]", "0,x"),
        ("list[str]", 3),
        ("list[str]", "a\nb"),
        ("int", None),
    ],
)
def test_other_types_are_refused(kind, given):
    with pytest.raises(CausalMixError, match="'p' takes"):
        Parameter("p", kind, None, "").convert(given)


def test_parameters_cell_is_read_with_types_defaults_and_help(tmp_path):
    path = tmp_path / "a.ipynb"
    write_notebook(path, "n: int | None = None  # rows, #1\nxs: list[str] = ['a']  # names", "")
    first, second = read_parameters(path).values()
    assert first == Parameter("n", "int | None", None, "rows, #1")
    assert second == Parameter("xs", "list[str]", ["a"], "names")


@pytest.mark.parametrize(
    "line", ["n = 3  # untyped", "n: int = 'x'  # wrong", "n: dict = {}  # no"]
)
def test_untyped_or_mistyped_parameters_cell_is_an_error(tmp_path, line):
    write_notebook(tmp_path / "a.ipynb", line, "")
    with pytest.raises(CausalMixError, match=r"a\.ipynb, parameters cell, line 1"):
        read_parameters(tmp_path / "a.ipynb")


def test_unknown_and_mistyped_names_list_all_parameters(project):
    source = find_notebook("01", project)
    with pytest.raises(UnknownNameError, match=r"'row'(.|\n)*rows: int = 3  # rows(.|\n)*file"):
        check_parameters(source, {"row": 3})
    with pytest.raises(CausalMixError, match=r"takes int(.|\n)*rows: int = 3  # rows"):
        check_parameters(source, {"rows": 2.5})


def test_absolute_data_file_is_named_relative_to_the_working_directory(project):
    (project / "mine.csv").write_text("x")
    source = find_notebook("01_one.ipynb", project)
    assert check_parameters(source, {"file": str(project / "mine.csv")}) == {"file": "mine.csv"}


SETS = "".join(
    f"{name}: list[str] = []  # columns\n" for name in ("categorical", "numeric", "date", "drop")
)


def test_sets_of_columns_may_be_empty_and_share_no_column(tmp_path):
    path = tmp_path / "a.ipynb"
    write_notebook(path, f"{SETS}names: list[str] = ['a']  # names", "")
    assert check_parameters(path, {"drop": "", "numeric": "b,c"}) == {
        "drop": [],
        "numeric": ["b", "c"],
    }
    with pytest.raises(DataError, match=r"^Both numeric= and drop= name 'b': choose one\.$"):
        check_parameters(path, {"drop": "b", "numeric": "b,c"})
    with pytest.raises(CausalMixError, match="names is empty"):
        check_parameters(path, {"names": ""})


def test_a_run_is_named_by_the_values_that_differ_from_the_defaults(project):
    source = find_notebook("01", project)

    def name(**given):
        return variant(source, check_parameters(source, given))

    assert name() == name(rows="3", file="") == "01_one"
    assert re.fullmatch("01_one-[0-9a-f]{8}", name(rows=4))
    assert name(rows=4) == name(rows="4", file="")
    assert len({name(rows=4), name(rows=5), name(file="x"), name(rows=4, file="x")}) == 4


def test_files_of_one_name_in_two_folders_are_not_one_run(project, monkeypatch):
    source, names = find_notebook("01", project), set()
    for folder in ("a", "b"):
        (project / folder).mkdir()
        (project / folder / "x.csv").touch()
        monkeypatch.chdir(project / folder)
        names.add(variant(source, check_parameters(source, {"file": "x.csv"})))
    assert len(names) == 2


# Progress


def test_the_heading_is_that_above_the_cell():
    assert last_heading("# One\n\n```console\n# no heading\n```\n\n## Two parts \n") == "Two parts"
    assert last_heading("```\n# no\n```\ntext #5") is None


def test_the_time_left_is_that_of_an_earlier_run_at_the_pace_of_this_one(tmp_path, monkeypatch):
    source, now = tmp_path / "a.ipynb", [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    codes = [new_code_cell(code) for code in ("one", "two", "three")]
    title = new_markdown_cell("# Title")
    nbformat.write(new_notebook(cells=[title, *codes]), source)
    shown = progress.Progress(source, {"one": 10.0, "two": 30.0, "other": 9.0}, file=io.StringIO())
    assert shown.left() == 60  # the third is not known: as long as the others on average
    shown.begin(title, 0)
    shown.begin(codes[0], 1)
    now[0] += 20
    assert shown.left() == 40
    shown.end(codes[0], 1)  # it took twice as long
    assert shown.left() == 100
    now[0] += 500
    assert shown.left() == 0
    shown.bar.close()
    assert "a: Title" in shown.bar.desc
    assert progress.Progress(source, {}, disable=True).left() is None


def test_seconds_of_cells_are_read_from_the_newest_copy(project):
    copy = run_notebook("02", root=project)
    damaged = copy.with_name("02_two-0.ipynb")
    damaged.write_text("{")
    os.utime(damaged, (1, 1))
    seconds = progress.cell_seconds([damaged, copy])
    assert set(seconds) == {"k: int = 0  # a number", "6 / (2 - k)"}
    assert all(0 <= each < 60 for each in seconds.values())
    assert progress.cell_seconds([damaged]) == progress.cell_seconds([]) == {}


# The page of a run


PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
MARKUP = """# A *title*

See {doc}`../book/rerun`, {cite}`who2020what`, {ref}`here <there>` and
{py:class}`causalmix.scm.model.Model`: $x^2$.

```{admonition} Learn
:class: tip
This.
```

````{exercise}
:label: ex
Why?
````

````{solution} ex
:class: dropdown
So **it** is.
````

````{solution-start} ex
:class: dropdown
````
"""


def test_a_page_is_one_file_with_all_that_is_on_it(tmp_path):
    outputs = [
        new_output("stream", name="stdout", text=f"said {HOSTILE}"),
        new_output("display_data", data={"image/png": PICTURE, "text/plain": "a figure"}),
        new_output("display_data", data={"text/html": "<table><tr><td>7</td></tr></table>"}),
    ]
    code = new_code_cell("print(1)", outputs=outputs, metadata={"tags": ["parameters"]})
    end = new_markdown_cell("````{solution-end}\n````")
    path = tmp_path / "a.html"
    write_page(new_notebook(cells=[new_markdown_cell(MARKUP), code, end], metadata=KERNEL), path)
    page = path.read_text()
    for shown in (
        "<title>A *title*</title>",
        "<em>rerun</em>",
        "[who2020what]",
        "<em>here</em>",
        ">Model<",
        "<math",
        "Learn",
        "Exercise",
        "<details><summary>Solution</summary>",
        "<strong>it</strong>",
        escape(f"said {HOSTILE}", quote=False),
        f"data:image/png;base64,{PICTURE}",
        "<td>7</td>",
    ):
        assert shown in page, shown
    assert HOSTILE not in page
    assert "<script" not in page
    assert page.count("<details>") == page.count("</details>") == 2
    assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?(https?:|//|\w+\.)", page)


def test_run_writes_a_page_beside_the_notebook_or_says_that_it_cannot(project):
    page = run_notebook("01", {"rows": 4}, html=True, root=project)
    assert page.suffix == ".html"
    assert "content 4" in page.read_text()
    assert str(project) not in page.read_text()
    assert "content 4" in page.with_suffix(".ipynb").read_text()
    (project / "mine.html").mkdir()
    with pytest.raises(CausalMixError, match=r"mine\.html cannot be written: it is a folder"):
        run_notebook("01", output=project / "mine.ipynb", html=True, root=project)
    assert not (project / "mine.ipynb").exists()


# Runs


def test_a_copy_is_made_anew_when_the_results_that_it_reads_change(project):
    results = project / "results" / "tables"
    for name in ("one.csv", "one_manifest.json", "other.csv", "store/part-1.parquet"):
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).write_text("old")
    code = 'load_result("tables/one")'
    parameters = "k: int = 0  # a number\nruns: str = 'tables/store'  # a folder"
    write_notebook(project / "notebooks" / "02_two.ipynb", parameters, code)
    first = executed(project)["02_two"]
    (results / "other.csv").write_text("new")
    assert executed(project)["02_two"] == first
    seen = {first}
    for name in ("one.csv", "one_manifest.json", "store/part-1.parquet"):
        (results / name).write_text("new")
        seen.add(executed(project)["02_two"])
    assert len(seen) == 4
    files = result_files(project / "notebooks" / "02_two.ipynb", {"runs": "tables/store"})
    assert sorted(files) == [
        "results/tables/one.csv",
        "results/tables/one_manifest.json",
        "results/tables/store/part-1.parquet",
    ]
    page = record_page(
        [record(parameters={}, data={}, results={"results/tables/one.csv": "ab" * 32})]
    )
    assert "| 01_one | `results/tables/one.csv` | abababababababab |" in page


def test_run_replaces_defaults_in_the_working_directory_and_shows_no_path(project):
    (project / "mine.txt").write_text("of the file")
    path = run_notebook("01", {"file": "mine.txt"}, root=project)
    text = path.read_text()
    assert re.fullmatch(r"01_one-[0-9a-f]{8}\.ipynb", path.name)
    assert path.parent == project / "_build" / "runs"
    assert "content of the file" in text
    assert ". somewhere" in text
    assert "careful" in text
    for hidden in (str(project), str(Path.home()) + "/", "ipykernel_"):
        assert hidden not in text


def test_failing_run_keeps_the_earlier_result(project):
    path = run_notebook("02", {"k": 1}, root=project)
    before = path.read_text()
    write_notebook(project / "notebooks" / "02_two.ipynb", "k: int = 0  # a number", "6 / (1 - k)")
    with pytest.raises(NotebookError, match=r"02_two failed(.|\n)*6 / (.|\n)*ZeroDivisionError"):
        run_notebook("02", {"k": 1}, root=project)
    assert path.read_text() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_error_of_the_package_is_told_without_a_traceback(project):
    code = "from causalmix.data.dataset import load_dataset\nload_dataset(file)"
    write_notebook(project / "notebooks" / "03_load.ipynb", "file: str = ''  # a file", code)
    with pytest.raises(NotebookInputError) as caught:
        run_notebook("03", {"file": "no.csv"}, root=project)
    assert str(caught.value) == "03_load, cell [3]: There is no file no.csv."


# What decides whether a copy is kept


def test_copy_is_kept_only_while_nothing_behind_it_changes(project, monkeypatch):
    first = executed(project)
    assert executed(project) == first
    other = executed(project, rows="4")
    assert other["01_one"] != first["01_one"]
    assert other["02_two"] == first["02_two"]  # has no such parameter
    write_notebook(project / "notebooks" / "02_two.ipynb", "k: int = 0  # a number", "k + 1")
    edited = executed(project)
    assert edited["02_two"] != first["02_two"]
    assert edited["01_one"] == first["01_one"]


def test_copy_depends_on_the_content_of_data_files(project):
    (project / "a.csv").write_text("1")
    before = executed(project, file="a.csv")
    (project / "a.csv").write_text("2")
    after = executed(project, file="a.csv")
    assert before["01_one"] != after["01_one"]
    assert before["02_two"] == after["02_two"]


def test_a_folder_of_runs_counts_with_its_files_and_is_named_by_its_place(project):
    source, runs = find_notebook("01", project), project / "runs"
    runs.mkdir()
    found, names = [], set()
    for n in range(3):
        (runs / f"part-{n}.parquet").write_text(str(n))
        found.append(execution.run_hash(source, {"file": "runs"}))
        names.add(variant(source, {"file": "runs"}))
    for name in ("paper-1.yml", "tables.csv"):  # are read with them
        (runs / name).write_text("")
        found.append(execution.run_hash(source, {"file": "runs"}))
    assert len(set(found)) == 5
    assert len(names) == 1


def test_the_path_of_another_notebook_is_refused(project):
    write_notebook(project / "mine" / "01_one.ipynb", "rows: int = 3  # rows", "rows")
    with pytest.raises(CausalMixError, match=r"mine/01_one\.ipynb is no notebook of the project"):
        find_notebook("mine/01_one.ipynb", project)
    assert find_notebook("notebooks/01_one.ipynb", project) == find_notebook("01", project)


@pytest.mark.parametrize("name", ["module.py", "checkpoints/model.safetensors"])
def test_copy_depends_on_package_sources_and_checkpoints(project, name):
    package = project / "package"
    (package / "checkpoints").mkdir(parents=True)
    (package / name).write_text("one")
    before = executed(project)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "module.pyc").write_text("compiled")
    assert executed(project) == before
    (package / name).write_text("two")
    assert not set(executed(project).values()) & set(before.values())


def test_copy_depends_on_installed_versions(project, monkeypatch):
    before = executed(project)
    monkeypatch.setattr(execution, "dependency_versions", lambda: {"torch": "0.1"})
    assert not set(executed(project).values()) & set(before.values())


def test_smoke_values_give_way_to_the_given_ones(project):
    one, two = plan({}, smoke=True, root=project)
    assert (one.parameters, two.parameters) == ({"rows": 1}, {})
    assert plan({"rows": 9}, smoke=True, root=project)[0].parameters == {"rows": 9}


def test_parameter_of_no_notebook_is_an_error(project):
    with pytest.raises(UnknownNameError, match=r"'rosw'(.|\n)*rows: int = 3  # rows  \(01_one\)"):
        plan({"rosw": 1}, smoke=False, root=project)


def test_books_get_readable_and_distinct_names():
    assert book_name({}, False) == ""
    assert book_name({}, True) == "smoke"
    assert book_name({"dataset": "wine"}, False) == "dataset-wine"
    assert book_name({"dataset": "wine", "n": 5}, True) == "smoke_dataset-wine_n-5"
    here, there = (book_name({"dataset": f"{folder}/x.csv"}, False) for folder in "ab")
    assert here.startswith("dataset-x-")
    assert here != there
    assert book._target({}, False, None, Path()) == Path("_build/html")
    assert book._target({"n": 5}, True, None, Path()) == Path("_build/books/smoke_n-5/html")


# The book


def test_a_book_shows_what_was_run_and_is_kept_when_the_next_fails(project):
    killed = project / "_build" / f".{os.getpid()}-{atomic._HOST}-new-stage"  # a build left it
    killed.mkdir(parents=True)
    (killed / "page.md").touch()
    (project / "_config.yml").open("a").write(BUTTONS.format(GITHUB))
    name = f"[v2](final) {HOSTILE}.csv".replace("/", "")
    (project / name).write_text("of the file")
    folder, lines = project / "public", []
    build = partial(build_book, {"file": name}, out=folder, root=project, report=lines.append)
    assert build() == folder / "index.html"
    assert not killed.exists()
    page = (folder / "notebooks" / "01_one.html").read_text()
    assert "content of the file" in page
    assert "hide-input" in page
    assert "google.com/github/team/book/blob/main/notebooks/01_one.ipynb" in page
    assert "v2/gh/team/book/main" in page
    assert "run with other parameters" in (folder / "book" / "intro.html").read_text()
    for stem in ("intro", "record"):
        text = (folder / "book" / f"{stem}.html").read_text()
        assert "<img src=x" not in text  # names are no markup
        assert "[v2](final)" in text
    for file in folder.rglob("*.html"):
        assert str(project) not in file.read_text()
    records = json.loads(next(folder.rglob("record.json")).read_text())
    assert [record["notebook"] for record in records] == ["01_one", "02_two"]
    assert records[0]["parameters"] == {"rows": 3, "file": name}
    assert "torch" in (folder / "book" / "record.html").read_text()

    def times():
        return {f: f.stat().st_mtime_ns for f in folder.rglob("*") if f.name != book._MARK}

    before = times()
    lines.clear()
    build()
    assert "the book is up to date" in lines
    assert not [line for line in lines if line.startswith("running")]
    intro = project / "book" / "intro.md"
    intro.write_text(intro.read_text() + "\n{doc}`nowhere`\n")
    with pytest.raises(CausalMixError, match=r"intro\.md.*nowhere"):
        build()
    assert times() == before
    assert not list((project / "_build").glob("stage-*"))


class Here:
    """A pool without processes; real ones are used above and in test_interrupts."""

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, function, *arguments):
        future = Future()
        try:
            future.set_result(function(*arguments))
        except NotebookError as error:
            future.set_exception(error)
        return future


@pytest.fixture
def quick(monkeypatch):
    """Notebooks run in this process, and a book is one page, its introduction as it stands."""

    def render(stage, out):
        out.mkdir()
        (out / "index.html").write_text((stage / "book" / "intro.md").read_text())
        return out

    monkeypatch.setattr(execution, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(book, "render", render)


def test_a_failing_notebook_is_told_at_once_and_what_was_made_is_kept(project, quick):
    index, lines = project / "_build" / "html" / "index.html", []
    index.parent.mkdir(parents=True)
    index.write_text("an earlier book")
    for code, kind, message in (
        ("6 / (2 - k)", NotebookError, "02_two failed"),
        (
            "from causalmix.errors import DataError\nraise DataError('All empty.')",
            NotebookInputError,
            r"^02_two, cell \[2\]: All empty\.$",
        ),
    ):
        write_notebook(project / "notebooks" / "02_two.ipynb", "k: int = 2  # a number", code)
        with pytest.raises(kind, match=message):
            build_book(root=project, report=lines.append)
    assert "running 02_two (1 at a time)" in lines  # the other one was kept
    assert "  02_two, cell [2]: All empty." in lines  # at once, while others run on
    assert index.read_text() == "an earlier book"


def test_a_filled_page_is_kept_until_something_behind_it_changes(project, monkeypatch):
    made = []

    def fill(page, results, folder):
        made.append(page.read_text())
        (folder / page.name).write_text("# Intro\n\nfilled\n")

    monkeypatch.setattr(book, "fill_page", fill)
    (project / "book" / "intro.md").write_text("# Intro\n\n{{ pain }}\n")
    runs = project / "results" / "finetuning" / "contenders" / "runs.csv"
    runs.parent.mkdir(parents=True)
    for content, times in (("1", 1), ("1", 1), ("2", 2)):
        runs.write_text(content)
        stage = Path(shutil.copytree(project / "book", project / f"stage-{len(made)}-{times}"))
        read = book._fill_pages(stage, project)
        shutil.rmtree(stage)
        assert list(read["intro"]) == ["results/finetuning/contenders/runs.csv"]
        assert len(made) == times
        assert len(list((project / "_build" / "pages").iterdir())) == 1  # the older one is gone
    stage = Path(shutil.copytree(project / "book", project / "stage"))
    book._fill_pages(stage, project)
    assert "filled" in (stage / "intro.md").read_text()


def test_a_file_of_results_is_behind_a_page_too(project, monkeypatch):
    monkeypatch.setattr(book, "fill_page", lambda page, results, folder: None)
    monkeypatch.setattr(book, "_RESULTS_OF", {"intro": ["a", "b.csv"]})
    (project / "book" / "intro.md").write_text("{{ pain }}")
    for name in ("a/runs.csv", "b.csv"):
        (project / "results" / name).parent.mkdir(parents=True, exist_ok=True)
        (project / "results" / name).touch()
    read = book._fill_pages(project / "book", project)
    assert list(read["intro"]) == ["results/a/runs.csv", "results/b.csv"]


def test_output_folder_with_other_things_is_refused(project):
    folder = project / "precious"
    folder.mkdir()
    (folder / "thesis.txt").write_text("all of it")
    with pytest.raises(CausalMixError, match="holds other things"):
        build_book(out=folder, root=project)
    assert (folder / "thesis.txt").exists()


def test_a_second_build_replaces_only_what_a_build_wrote_and_no_page_shows_a_path(project, quick):
    page = build_book(out=project / "public", root=project)
    assert page == project / "public" / "index.html"
    (page.parent / "notes.txt").write_text("mine")
    with pytest.raises(CausalMixError, match=r"holds other things than a book: 'notes\.txt'"):
        build_book(out=page.parent, root=project)
    assert (page.parent / "notes.txt").read_text() == "mine"
    (page.parent / "notes.txt").unlink()
    intro = project / "book" / "intro.md"
    intro.write_text("# Other\n\nWords.\n")
    build_book(out=page.parent, root=project)
    assert "Words." in page.read_text()
    intro.write_text(f"# Other\n\n{project}/secret\n")
    with pytest.raises(CausalMixError, match=r"index\.html shows a path"):
        build_book(out=page.parent, root=project)
    assert "Words." in page.read_text()


def test_where_a_book_goes_is_checked_before_the_notebooks_run(project):
    (project / "file").touch()
    with pytest.raises(CausalMixError, match=r"file cannot be written: .*is no folder"):
        build_book(out=project / "file", root=project)
    assert not (project / "_build").exists()
    with pytest.raises(CausalMixError, match=r"file/deep\.ipynb cannot be written"):
        run_notebook("01", output=project / "file" / "deep.ipynb", root=project)


def test_a_chapters_source_is_not_overwritten(project):
    source = project / "notebooks" / "01_one.ipynb"
    before = source.read_text()
    with pytest.raises(CausalMixError, match="is a chapter's source; name another file"):
        run_notebook("01", output=source, root=project)
    assert source.read_text() == before


def test_a_finished_notebook_that_cannot_be_written_is_kept_elsewhere(project, monkeypatch):
    def fail(path, write):
        if path.parent == project / "out":
            raise CausalMixError(f"{path} cannot be written: No space left on device.")
        write(path)

    monkeypatch.setattr(notebooks, "replace_file", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(project))
    with pytest.raises(CausalMixError, match=r"No space left on device\. The finished") as caught:
        run_notebook("01", output=project / "out" / "mine.ipynb", root=project)
    kept = Path(str(caught.value).split("is kept as ")[1].removesuffix("."))
    assert "content 3" in kept.read_text()


@pytest.mark.parametrize(
    "text", [HOSTILE, "[v2](final).csv", "`" + HOSTILE + "`", "a``b", "{{ x }}", "$x$", "a|b", "c`"]
)
def test_a_text_of_a_user_is_code_and_nothing_else(text):
    html = MarkdownIt("commonmark", {"html": True}).render(code_span(text))
    assert re.sub(r"<[^>]*>", "", html) == f"{escape(text, quote=False)}\n".replace('"', "&quot;")
    assert html.count("<") == 4  # <p><code></code></p>
    page = record_page([record(parameters={"target": text}, data={text: "0" * 64})])
    tables = MarkdownIt("commonmark", {"html": True}).enable("table").render(page)
    assert "<img" not in tables
    assert "<a " not in tables
    assert len(re.findall(r"<code>", tables)) >= 3


def record(**changes):
    return {
        "notebook": "01_one",
        "started": "2026-01-01 00:00 UTC",
        "seconds": 1.0,
        "commit": "0" * 40,
        "machine": "Linux",
        "checkpoint": {"model.safetensors": ["0" * 64, "1" * 64]},
        "python": "3.11",
        "packages": {},
    } | changes
