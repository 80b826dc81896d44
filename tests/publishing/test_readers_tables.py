"""Chapters 1 to 4 on two tables of a reader's: they run, and speak of no other table.

The cells are run in this process, with a tiny network, which takes a fraction of a book's time.
Left out are the sections about other tables, which are the same whatever the reader's is, and the
foundation model among the learners of chapter 2. test_book runs small notebooks as books are.
"""

from __future__ import annotations

import ast
import io
import re
import warnings
from contextlib import redirect_stdout
from dataclasses import dataclass, field

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from chapters import COUNTED, ELSEWHERE, MISSING, ON_A_TABLE, names_of_tables, sections
from made_checkpoints import write_official
from made_tables import mixed

from causalmix.benchmarks.labels import ARM_LABELS
from causalmix.publishing.parameters import check_parameters, read_parameters

mpl.use("Agg")

SMALL = {
    **{"n_rows": 60, "n_bootstraps": 2, "n_dags": 20},
    **{"n_train": 24, "n_val": 12, "n_test": 24, "n_synthetic": 24, "steps": 2, "seeds": [0]},
    **{"learners": ["linear"], "generators": ["causal", "smote_nc"]},
}
ARMS = {
    "03_finetuning": ["zero_shot", "default", "causal_rehearsal"],
    "04_benchmark": ["zero_shot", "default"],
}


def sixty() -> pd.DataFrame:
    """60 rows of every kind of column, with gaps and odd names; nothing depends on anything."""
    rng = np.random.default_rng(1)
    frame = mixed(60)
    frame["day"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, 60), "D")
    frame["$cost_x$ <b>"] = rng.normal(size=60)
    return frame.assign(result=rng.permutation(["ill"] * 25 + ["well"] * 35))


def wordy() -> pd.DataFrame:
    """Three classes, and no number."""
    rng = np.random.default_rng(2)
    kind = rng.integers(3, size=90)

    def column(*words: str) -> np.ndarray:
        return np.array(words)[np.where(rng.random(90) < 0.6, kind, rng.integers(3, size=90))]

    frame = pd.DataFrame({"shape": column("round", "oval", "flat")})
    frame["colour"] = column("red", "green", "blue")
    frame["smell"] = rng.choice(["sweet", "sour", "foul", "weak"], 90)
    return frame.assign(result=np.array(["x", "y", "z"])[kind])


TABLES = {"sixty": sixty, "wordy": wordy}


@dataclass
class Page:
    """What a reader is shown by the code of a chapter."""

    texts: list[str] = field(default_factory=list)
    tables: list[pd.DataFrame] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    empty: list[mpl.axes.Axes] = field(default_factory=list)
    warned: list[warnings.WarningMessage] = field(default_factory=list)

    def show(self, value: object) -> None:
        """Take what a cell displays."""
        if isinstance(value, pd.DataFrame):
            self.tables.append(value)
        elif value is not None:
            html = getattr(value, "_repr_html_", lambda: repr(value))()
            self.texts.append(re.sub(r"<style.*?</style>|<[^>]*>", " ", html, flags=re.DOTALL))

    def run(self, source: str, names: dict[str, object]) -> None:
        """Run a cell as a notebook does: its last expression is displayed, and its figures are."""
        tree, last = ast.parse(source), None
        if isinstance(tree.body[-1], ast.Expr) and not source.rstrip().endswith(";"):
            last = ast.Expression(tree.body.pop().value)
        with (
            redirect_stdout(io.StringIO()) as printed,
            warnings.catch_warnings(record=True) as seen,
        ):
            warnings.simplefilter("default")
            exec(compile(tree, "cell", "exec"), names)
            if last:
                self.show(eval(compile(last, "cell", "eval"), names))
        self.texts.append(printed.getvalue())
        self.warned += [each for each in seen if each.category is not DeprecationWarning]
        for number in mpl.pyplot.get_fignums():
            figure = mpl.pyplot.figure(number)
            figure.canvas.draw()
            self.empty += [
                ax for ax in figure.axes if ax.axison and not (ax.has_data() or ax.texts)
            ]
            self.figures += [text.get_text() for text in figure.findobj(mpl.text.Text)]
        mpl.pyplot.close("all")


@pytest.fixture
def page(request, tmp_path, monkeypatch) -> Page:
    name, path = request.param
    monkeypatch.chdir(tmp_path)
    TABLES[name]().to_csv(f"{name}.csv", index=False)
    given = SMALL | {"dataset": f"{name}.csv", "target": "result", "arms": ARMS.get(path.stem)}
    given["tfm"] = write_official("tabpfn_v3", tmp_path).name
    given = {key: given[key] for key in read_parameters(path) if key in given}
    found = Page()
    names = {"__name__": "__main__", "display": found.show}
    shown = ("display.max_colwidth", "display.html.use_mathjax")
    with mpl.rc_context(), pd.option_context(*(x for o in shown for x in (o, pd.get_option(o)))):
        for heading, source, cell in sections(path):
            if cell.cell_type == "code" and heading != ELSEWHERE:
                found.run(source, names)
                if "parameters" in cell.metadata.get("tags", []):
                    names |= check_parameters(path, given)
    return found


@pytest.mark.parametrize(
    "page",
    [pytest.param((n, p), id=f"{n}-{p.stem}") for n in TABLES for p in ON_A_TABLE],
    indirect=True,
)
def test_a_chapter_is_about_the_readers_table_alone(page, request):
    name, path = request.node.callspec.params["page"]
    own = TABLES[name]()
    said = [*page.texts, *page.figures, *(str(each.message) for each in page.warned)]
    made = [table for table in page.tables if not set(table) <= set(own)]  # not rows of the table
    cells = [
        str(each) for table in made for each in table.reset_index().astype(str).to_numpy().flat
    ]
    heads = [str(each) for table in page.tables for each in [*table, *table.columns.names]]
    words = {word for text in [*said, *cells, *heads] for word in re.findall(r"[\w-]+", text)}
    assert name in words
    assert not words & names_of_tables()
    assert not [text for text in said if COUNTED.search(text)]
    drawn = [str(each) for rows in page.tables for each in rows.astype(str).to_numpy().flat]
    assert not [text for text in [*said, *cells, *drawn] if MISSING.search(text)]
    assert not [each for each in page.warned if not issubclass(each.category, UserWarning)]
    assert not page.empty  # where there is nothing to draw, a panel says so
    if path.stem in ARMS:
        assert not words & {arm for arm in ARM_LABELS if "_" in arm}
