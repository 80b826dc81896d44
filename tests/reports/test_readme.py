"""The README's commands run as they are written, and do what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from causalmix.cli import main
from causalmix.reports.fitting import VERDICTS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
SECTION = "## Other parameters, your own data"
WANTED = ("datasets --write", "inspect", "fit", "predict", "generate")


def commands() -> dict[str, list[str]]:
    """By their first words, the commands of the section that are about a table of one's own."""
    block = README.read_text(encoding="utf-8").split(SECTION)[1].split("```")[1]
    lines = re.findall(r"^\$ causalmix ([^#\n]+)", block, flags=re.M)
    return {name: shlex.split(line) for name in WANTED for line in lines if line.startswith(name)}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A folder in which they have run, and what each has said."""
    folder = tmp_path_factory.mktemp("readme")
    said = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, words in commands().items():
            extra = ["--time-limit", "2"] if name == "fit" else []
            done = CliRunner().invoke(main, words + extra)
            assert done.exit_code == 0, done.output
            said[name] = done.output
            if name == "fit":
                rows = pd.read_csv("patients.csv", dtype=str, keep_default_na=False)
                rows.drop(columns="outcome").iloc[::-1].to_csv("new.csv", index=False)
    return folder, said


def test_all_steps_from_a_table_to_rows_are_there():
    assert list(commands()) == list(WANTED)


def test_the_table_is_understood(session):
    shown = session[1]["inspect"]
    assert re.search(r"^crp_mg_l +whole number +feature", shown, flags=re.M)
    assert re.search(
        r"^admitted +date +feature .*2024-01-\d\d to 202\d-\d\d-\d\d", shown, flags=re.M
    )
    assert "'<5' as 5" in shown


def test_the_page_on_a_table_of_ones_own_shows_what_is_printed(session):
    page = (ROOT / "book" / "own_table.md").read_text(encoding="utf-8")
    inspected, scores, rows = (
        next(block for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL) if word in block)
        for word in ("240 rows", "probability of", "antibiotics,note")
    )
    for line in inspected.splitlines():
        assert line.partition("…")[0] in session[1]["inspect"]
    for name, shown in (("scores.csv", scores), ("rows.csv", rows)):
        head = (session[0] / name).read_text(encoding="utf-8").partition("\n")[0]
        assert shown.startswith(f"{head}\n")
    assert all(f"| `{verdict}` |" in page for verdict in VERDICTS)


def test_the_fit_gives_one_of_three_verdicts_and_a_page_that_loads_nothing(session):
    folder, said = session
    assert re.search(r"Fine-tuning: ([a-z ]+)\.", said["fit"]).group(1) in VERDICTS
    page = (folder / "model" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=\"(?!#)[^\"]+", page.replace("xlink:href=", "href="))
    assert not re.findall(r"url\((?!#)|@import", page)


def test_every_row_is_predicted_in_its_order(session):
    new, scores = (pd.read_csv(session[0] / name) for name in ("new.csv", "scores.csv"))
    assert list(scores["patient_id"]) == list(new["patient_id"])
    assert np.allclose(scores.filter(like="probability of").sum(axis=1), 1, atol=1e-5)
    assert set(scores["class"]) <= {"home", "rehab", "died"}


def test_synthetic_rows_are_written_as_the_table_is(session):
    real, rows = (pd.read_csv(session[0] / name) for name in ("patients.csv", "rows.csv"))
    assert len(rows) == 500
    assert list(rows) == list(real)
    learned = [name for name in real if name not in ("patient_id", "note")]
    assert rows[learned].dtypes.to_dict() == real[learned].dtypes.to_dict()
    formats = {"admitted": r"\d\d\.\d\d\.\d{4}", "last_seen": r"\d{4}-\d\d-\d\d"}
    for name, pattern in (formats | {"crp_mg_l": r"<5|\d+"}).items():
        assert real[name].str.fullmatch(pattern).all(), name
        assert rows[name].str.fullmatch(pattern).all(), name
    assert rows["age"].between(real["age"].min(), real["age"].max()).all()
    assert (rows["crp_mg_l"] == "<5").any()
