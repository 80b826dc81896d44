"""What is said of a table before it is used, on tables whose faults are known."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from causalmix.cli import main
from causalmix.data.dataset import dataset_names
from causalmix.errors import DataError, UnknownNameError
from causalmix.reports.inspection import inspect_table


@pytest.fixture
def faulty():
    rng, n = np.random.default_rng(0), 100
    y = np.array(["a", "b"] * 47 + ["a"] * 4 + ["c"] * 2)
    frame = pd.DataFrame(
        {
            "leak": (y == "a") + 2.0 * (y == "c") + rng.normal(0, 0.01, n),
            "age": rng.integers(20, 80, n),
            "answer": rng.choice(["Yes", "yes ", "no"], n),
            "count": rng.integers(0, 9, n),
            "crp": np.where(rng.random(n) < 0.2, "<5", rng.integers(5, 90, n).astype(str)),
            "seen": pd.date_range("2024-01-31", periods=n).strftime("%d.%m.%Y"),
            "weight": [f"{value:.1f} kg" for value in rng.normal(70, 9, n)],
            "note": [f"word number {i}" for i in range(n)],
            "same": 1,
            "y": y,
        }
    )
    frame.loc[:3, "age"] = 999
    frame.loc[5:9, "count"] = -1
    frame.loc[20:29, "crp"] = ""
    return pd.concat([frame, frame.iloc[:2]], ignore_index=True)


def test_every_column_is_described_in_its_own_terms(faulty):
    found = inspect_table(faulty, "y", drop=["count"])
    columns = found.columns.set_index("column")
    assert list(columns.index) == list(faulty)
    assert columns["kind"].to_dict() == {
        **{"leak": "number", "age": "whole number", "answer": "category", "count": "whole number"},
        **{"crp": "whole number", "seen": "date", "weight": "number", "note": "text"},
        **{"same": "whole number", "y": "category"},
    }
    assert columns.loc["seen", "values"] == "2024-01-31 to 2024-05-09"
    assert columns.loc["weight", "values"].endswith(" kg")
    assert columns.loc["crp", "missing"] == pytest.approx(10 / 102)
    assert columns.loc["y", ["use", "values"]].tolist() == ["target", "a (52), b (48), c (2)"]
    left = columns[columns["use"] == "left out"]
    assert left["reason"].to_dict() == {
        "count": "by request",
        "note": "text of too many values",  # two rows repeat
        "same": "one value or none",
    }
    assert found.classes.to_dict() == {"a": 52, "b": 48, "c": 2}
    assert any("'<5' as 5" in note for note in found.notes)


def test_what_deserves_a_look_is_named_and_nothing_else(faulty):
    said = " ".join(inspect_table(faulty, "y").warnings)
    assert "almost without error by themselves: 'leak'." in said
    assert "'age' (999 in 6 rows), 'count' (-1 in 5 rows)" in said
    assert "'answer' ('Yes' and 'yes ')" in said
    assert "2 rows repeat another one" in said
    assert "Classes with fewer than 5 rows: 'c' (2)" in said
    assert len(inspect_table(faulty, "y").warnings) == 5
    for name in set(dataset_names()) - {"fair", "anes96", "modechoice", "randhie"}:
        # Bundled tables are clean, but for a row of iris and some of others that repeat.
        assert not [w for w in inspect_table(name).warnings if "repeat" not in w]


def test_without_a_target_there_are_no_classes(faulty):
    found = inspect_table(faulty)
    assert found.classes is None
    assert found.columns["use"].isin(["feature", "left out"]).all()
    assert not any("class" in warning for warning in found.warnings)


def test_the_page_of_a_table_escapes_what_is_in_it(faulty):
    hostile = faulty.rename(columns={"age": "<script>"})
    html = inspect_table(hostile, "y")._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_the_command_prints_it_and_mistakes_are_one_sentence(faulty, tmp_path):
    path = tmp_path / "faulty.csv"
    faulty.to_csv(path, index=False)
    run = CliRunner().invoke
    done = run(main, ["inspect", str(path), "--target", "y", "--drop", "note", "same"])
    assert done.exit_code == 0, done.output
    assert "faulty: 102 rows, 10 columns" in done.output
    assert "left out: by request" in done.output
    assert "To look at:\n- " in done.output
    wrong = run(main, ["inspect", str(path), "--target", "z"])
    assert wrong.exit_code == 2
    assert "z" in wrong.output
    assert "Traceback" not in wrong.output
    with pytest.raises(DataError, match="The target 'y' must stay; take it out of drop="):
        inspect_table(faulty, "y", drop=["y"])
    with pytest.raises(UnknownNameError, match="drop="):
        inspect_table(faulty, "y", drop=["nothing"])
    with pytest.raises(DataError, match="no rows"):
        inspect_table(faulty[:0])


def test_dates_that_stand_for_none_and_broken_names_are_shown():
    days = [*pd.date_range("2024-01-01", periods=30).strftime("%Y-%m-%d"), *["9999-12-31"] * 3]
    found = inspect_table(pd.DataFrame({"valid\nuntil": days, "x": np.arange(33.0) % 7}))
    assert "until' (9999-12-31 in 3 rows). Leave those cells empty" in str(found)
    assert re.search(r"^valid until +date", str(found), re.M)
