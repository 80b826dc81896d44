"""What is written holds for any table: no name of another one, and no result that is typed.

Chapters 1 to 4 run on a reader's table. These checks read the sources, so they take no book; what
the notebooks do with odd tables is tested where it is done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from causalmix.data.dataset import dataset_names, load_dataset

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ON_A_TABLE = [path for path in NOTEBOOKS if path.name[:2] in ("01", "02", "03", "04")]
PAGES = sorted((ROOT / "book").glob("*.md"))
ELSEWHERE = "On other tables"

CONSTANTS = {
    "limits of a definition": "0.5 5% 80% 95% 0.002 0.005 0.01 0.02",
    "levels and settings that are named": "0.16 0.9 0.95",
    "the paper's figures": "+0.12 +0.10 0.63 0.98 0.67 0.30 −0.01 −0.04 −0.09",
    "examples of a definition": "70% 0.70",
    "what an exercise supposes": "0.006 0.012",
    "versions": "2.0 3.11",
}
"""Numbers with a decimal point or a per cent sign that prose may have, and why."""

NUMBER = re.compile(r"(?<![\w.\-/])[+−-]?\d+\.\d+(?:\s?%)?|(?<![\w.])\d+\s?%")
COUNTED = re.compile(
    r"\b(two|three|four|five|six|eight|ten|eleven|twelve|eighteen|twenty|thirty|\d+)"
    r"( \w+)? (tables|datasets)\b"
)


def sections(path: Path) -> Iterator[tuple[str, str, nbformat.NotebookNode]]:
    """Heading of the second level, text and cell, part by part."""
    heading = ""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "markdown":
            yield heading, cell.source, cell
            continue
        first, *parts = re.split(r"^## ", cell.source, flags=re.MULTILINE)
        yield heading, first, cell
        for part in parts:
            heading = part.partition("\n")[0]
            yield heading, part, cell


def prose(text: str) -> str:
    """Text without code, formulas and blanks; directives stay."""
    text = re.sub(r"^```(?!`|\{).*?^```\s*$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$", "", text, flags=re.DOTALL)
    return re.sub(r"`[^`\n]*`|\{\{.*?\}\}", "", text)


def names_of_tables() -> set[str]:
    """Names of embedded tables and of their columns that are no English words."""
    columns = {str(name) for each in dataset_names() for name in load_dataset(each).frame()}
    odd = {name for name in columns if not name.islower() or "_" in name}
    return odd | {name for name in dataset_names() if name not in ("fair", "digits")}


@pytest.mark.filterwarnings("ignore")
def test_a_chapter_about_the_readers_table_names_no_other():
    names = {name for name in names_of_tables() if re.fullmatch(r"\w+", name)}
    assert {"anes96", "TVnews", "malic_acid"} <= names
    for path in ON_A_TABLE:
        for heading, text, cell in sections(path):
            tagged = "parameters" in cell.metadata.get("tags", [])
            if heading == ELSEWHERE or tagged:
                continue
            text = re.sub(r"`causalmix [^`]*`|^\$ causalmix .*$", "", text, flags=re.MULTILINE)
            found = names & set(re.findall(r"\w+", text))
            assert not found, (path.stem, heading, found)


def test_a_chapter_about_the_readers_table_counts_no_others():
    for path in ON_A_TABLE:
        for heading, text, cell in sections(path):
            if heading not in (ELSEWHERE, "Exercises") and cell.cell_type == "markdown":
                found = COUNTED.search(prose(text))
                assert not found, (path.stem, heading, found)


@pytest.mark.parametrize("path", [*NOTEBOOKS, *PAGES], ids=lambda path: path.stem)
def test_no_result_is_typed(path):
    known = {number for numbers in CONSTANTS.values() for number in numbers.split()}
    texts = [path.read_text(encoding="utf-8")]
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    found = {n.replace(" ", "") for text in texts for n in NUMBER.findall(prose(text))}
    assert found <= known, "compute it, or say in CONSTANTS what it is"


def test_every_constant_is_used():
    texts = [path.read_text(encoding="utf-8") for path in (*NOTEBOOKS, *PAGES)]
    for numbers in CONSTANTS.values():
        for number in numbers.split():
            assert any(number in text for text in texts), number


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_commands_of_the_pages_are_commands(path):
    """Every ``$ causalmix`` line has a command and options that there are."""
    from causalmix.cli import main

    block = re.compile(r"^\$ causalmix (.+(?:\\\n.+)*)$", re.MULTILINE)
    for line in block.findall(path.read_text(encoding="utf-8")):
        words = re.sub(r"#.*|\{\{.*?\}\}", "", line.replace("\\\n", " ")).split()
        if not words:
            continue
        assert words[0] in main.commands, line
        options = {name for each in main.commands[words[0]].params for name in each.opts}
        assert {word for word in words if word.startswith("-")} <= options | {"--help"}, line


def test_every_command_is_on_the_page_that_lists_them():
    from causalmix.cli import main

    listed = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
    assert not [name for name in main.commands if f"`causalmix {name}" not in listed]
