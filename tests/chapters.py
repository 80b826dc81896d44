"""The chapters' sources, and what must not stand in them about a reader's table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

from causalmix.data.dataset import dataset_names, load_dataset

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ON_A_TABLE = [path for path in NOTEBOOKS if path.name[:2] in ("01", "02", "03", "04")]
ELSEWHERE = "On other tables"
"""The heading under which a chapter says what was found on other tables."""

COUNTED = re.compile(
    r"\b(two|three|four|five|six|eight|ten|eleven|twelve|eighteen|twenty|thirty|\d+)"
    r"( \w+)? (tables|datasets)\b"
)
MISSING = re.compile(r"\b(nan|NaN|NaT|None|inf)\b")
"""What Python writes for a value that is not there."""


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


def names_of_tables() -> set[str]:
    """Names of embedded tables and of their columns that are no English words."""
    columns = {str(name) for each in dataset_names() for name in load_dataset(each).frame()}
    odd = {name for name in columns if not name.islower() or "_" in name}
    words = {"popul", "educ", "mdvis", "lncoins", "physlm", "disea"}
    odd |= words & columns | {name for name in dataset_names() if name not in ("fair", "digits")}
    return {name for name in odd if re.fullmatch(r"\w+", name)}
