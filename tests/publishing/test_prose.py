"""What is written holds for any table: no name of another one, and no result that is typed.

Chapters 1 to 4 run on a reader's table. These checks read the sources, so they take no book; what
the notebooks do with odd tables is tested where it is done.
"""

from __future__ import annotations

import re

import nbformat
import pytest
from chapters import COUNTED, ELSEWHERE, NOTEBOOKS, ON_A_TABLE, ROOT, names_of_tables, sections

import causalmix

PAGES = sorted((ROOT / "book").glob("*.md"))

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


def prose(text: str) -> str:
    """Text without code, formulas and blanks; directives stay."""
    text = re.sub(r"^```(?!`|\{).*?^```\s*$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$", "", text, flags=re.DOTALL)
    return re.sub(r"`[^`\n]*`|\{\{.*?\}\}", "", text)


@pytest.mark.filterwarnings("ignore")
def test_a_chapter_about_the_readers_table_names_no_other():
    names = names_of_tables()
    assert {"anes96", "TVnews", "popul", "malic_acid"} <= names
    for path in ON_A_TABLE:
        for heading, text, cell in sections(path):
            tagged = "parameters" in cell.metadata.get("tags", [])
            if heading == ELSEWHERE or tagged:
                continue
            text = re.sub(r"`causalmix [^`]*`|^\$ causalmix .*$", "", text, flags=re.MULTILINE)
            found = names & set(re.findall(r"\w+", f"{text} {cell.metadata.get('mystnb')}"))
            assert not found, (path.stem, heading, found)


def test_a_chapter_about_the_readers_table_counts_no_others():
    for path in ON_A_TABLE:
        for heading, text, cell in sections(path):
            drawn = cell.metadata.get("mystnb")
            if heading not in (ELSEWHERE, "Exercises") and (drawn or cell.cell_type == "markdown"):
                found = COUNTED.search(str(drawn) if drawn else prose(text))
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


def test_every_command_and_name_is_on_the_page_that_lists_them():
    from causalmix.cli import main

    listed = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
    assert not [name for name in main.commands if f"`causalmix {name}" not in listed]
    assert not [name for name in causalmix.__all__ if f"`{name}`" not in listed]
