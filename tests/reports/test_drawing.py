"""Synthetic rows are written as the table is written."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from causalmix.cli import main
from causalmix.data.diagnosis import Diagnosis, diagnose, read
from causalmix.errors import CausalMixError
from causalmix.reports.drawing import generate_table
from causalmix.reports.formats import written_as_asked, written_like


@pytest.fixture
def shop(tmp_path):
    rng, n = np.random.default_rng(0), 90
    price, days = rng.gamma(3, 4, n), rng.integers(0, 400, n)
    frame = pd.DataFrame(
        {
            "order": [f"A-{i}" for i in rng.permutation(n)],
            "price": [f"{value:.2f}".replace(".", ",") for value in price],
            "weight": [f"{value:.1f} kg" for value in rng.normal(70, 9, n)],
            "crp": np.where(price < 6, "<5", rng.integers(5, 90, n).astype(str)),
            "bought": (pd.Timestamp("2024-01-20") + pd.to_timedelta(days, "D")).strftime(
                "%d.%m.%Y"
            ),
            "pieces": rng.integers(1, 30, n),
            "kind": rng.choice(["small", "large"], n),
            "shop": "north",
            "till": np.where(np.arange(n) < 3, "t7", ""),
            "back": np.where(price + rng.normal(0, 4, n) > 12, "yes", "no"),
        }
    )
    frame.to_csv(tmp_path / "shop.csv", sep=";", index=False)
    return tmp_path / "shop.csv"


@pytest.mark.parametrize("generator", ["smote_nc", "causal"])
def test_rows_have_the_formats_of_the_table(shop, tmp_path, generator):
    out = tmp_path / "rows.csv"
    command = ["generate", str(shop), "--target", "back", "-n", "60", "--out", str(out)]
    done = CliRunner().invoke(main, [*command, "--generator", generator])
    assert done.exit_code == 0, done.output
    rows = pd.read_csv(out, sep=";", dtype=str)
    real = pd.read_csv(shop, sep=";", dtype=str)
    assert list(rows) == list(real)
    assert len(rows) == 60
    formats = {
        **{"order": r"\d+", "price": r"-?\d+,\d\d", "weight": r"\d+\.\d kg", "crp": r"<5|\d+"},
        **{"bought": r"\d\d\.\d\d\.\d{4}", "pieces": r"\d+"},
    }
    for column, pattern in formats.items():
        assert rows[column].str.fullmatch(pattern).all(), (column, list(rows[column][:5]))
    assert set(rows["kind"]) <= {"small", "large"}
    assert set(rows["shop"]) == {"north"}
    assert rows["till"].isna().all()  # of three rows, which it may give away
    assert set(rows["back"]) == {"yes", "no"}
    assert (rows["crp"] == "<5").any()
    assert (pd.to_datetime(rows["bought"], dayfirst=True) >= "2023-06-01").all()
    assert "not learned from: 'order', 'till';" in done.output
    again = CliRunner().invoke(
        main, [*command[:-1], str(tmp_path / "b.csv"), "--generator", generator]
    )
    assert again.exit_code == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "b.csv", sep=";", dtype=str), rows)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_no_row_has_the_name_of_a_household_of_two(tmp_path, ending):
    rng, n = np.random.default_rng(0), 60
    text = {
        "household": np.repeat([f"Family {k}" for k in range(n // 2)], 2),
        "note": np.where(np.arange(n) < 40, "none", [f"fell in room {k}" for k in range(n)]),
        "town": rng.choice([f"Town {k}" for k in range(12)], n),
    }
    frame = pd.DataFrame({name: rng.permutation(cells) for name, cells in text.items()})
    frame = frame.assign(x=rng.normal(size=n), y=rng.choice(["n", "y"], n))
    table, out = tmp_path / f"table.{ending}", tmp_path / f"rows.{ending}"
    frame.to_parquet(table) if ending == "parquet" else frame.to_csv(table, index=False)
    generate_table(table, "y", out, 200, generator="smote_nc")
    rows = pd.read_parquet(out) if ending == "parquet" else pd.read_csv(out)
    assert list(rows) == list(frame)
    assert rows[["household", "note"]].isna().all(axis=None)
    assert rows["town"].nunique() > 6
    assert set(rows["town"]) <= set(frame["town"])


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_column_of_one_value_has_it_in_all_rows_with_its_type(tmp_path, ending):
    rng, n = np.random.default_rng(0), 40
    day = pd.Timestamp("2024-03-01")
    same = {
        **{"count": 3, "dose": 2.5, "left": day, "seen": day.tz_localize("Europe/Vienna")},
        **{"born": day.date(), "open": True, "took": pd.Timedelta("2h"), "ward": "a"},
    }
    frame = pd.DataFrame({"x": rng.normal(size=n), "y": rng.choice(["n", "y"], n)})
    frame = frame.assign(**same, none=np.nan, level=pd.Categorical(["low"] * n))
    frame["some"] = np.where(np.arange(n) < 3, 7.0, np.nan)  # of three rows, which it may give away
    table, out = tmp_path / f"table.{ending}", tmp_path / f"rows.{ending}"
    frame.to_parquet(table) if ending == "parquet" else frame.to_csv(table, index=False)
    said = []
    generate_table(table, "y", out, 25, generator="smote_nc", report=said.append)
    read = pd.read_parquet if ending == "parquet" else pd.read_csv
    rows, real = read(out), read(table)
    assert list(rows) == list(real)
    assert len(rows) == 25
    columns = [*same, "none", "level"]
    expected = real[columns].iloc[[0] * 25].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows[columns], expected)
    assert rows["some"].isna().all()
    assert "not learned from: 'some';" in said[-1]


def test_kept_noise_is_told_with_what_it_gives_away(shop, tmp_path):
    drawn = generate_table(shop, "back", tmp_path / "a.csv", 200, keep_noise=0.99)
    assert drawn.attack.auc > 0.8
    assert drawn.quality is None
    with pytest.raises(CausalMixError, match="option of the causal generators"):
        generate_table(shop, "back", tmp_path / "b.csv", 20, generator="mixup", keep_noise=0.5)
    edges = {"generator": "causal_empty", "graph": [("price", "back")]}
    with pytest.raises(CausalMixError, match=r"graph is an option of .*, not of 'causal_empty'"):
        generate_table(shop, "back", tmp_path / "b.csv", 20, **edges)
    assert not (tmp_path / "b.csv").exists()


def test_rows_of_an_intervention_in_shares_on_a_known_graph(shop, tmp_path):
    """What is set is written as the table writes it, and its effect follows; no cause moves."""
    edges = "cause,effect\npieces,price\nprice,back\nkind,weight\n"
    (tmp_path / "graph.csv").write_text(edges)
    command = ["generate", str(shop), "--target", "back", "-n", "100"]
    command += ["--graph", str(tmp_path / "graph.csv"), "--class-shares", "no=0.25,yes=0.75"]
    command += ["--do", "bought=24.12.2024", "crp=<5", "price=12,00", "--keep-noise", "0.5"]
    command += ["--graph-out", str(tmp_path / "edges.csv"), "--quality"]
    done = CliRunner().invoke(main, [*command, "--out", str(tmp_path / "rows.csv")])
    assert done.exit_code == 0, done.output
    rows = pd.read_csv(tmp_path / "rows.csv", sep=";", dtype=str)
    assert set(rows["bought"]) == {"24.12.2024"}
    assert set(rows["crp"]) == {"<5"}
    assert set(rows["price"]) == {"12,00"}
    assert rows["pieces"].nunique() > 10
    assert rows["back"].value_counts().to_dict() == {"yes": 75, "no": 25}
    assert re.search(r"AUC of 0\.\d\d", done.output)
    assert "near-copies" in done.output
    found = pd.read_csv(tmp_path / "edges.csv")
    assert set(zip(found["cause"], found["effect"], strict=True)) == {
        *[("pieces", "price"), ("price", "back"), ("kind", "weight")]
    }
    assert (found[["probability", "share of models"]] == 1).all(axis=None)


def test_names_with_signs_are_found_in_what_is_set_and_shared(tmp_path):
    rng, n = np.random.default_rng(0), 60
    frame = pd.DataFrame({"stage": rng.choice([">=3", "<=2"], n), "dose=mg": rng.integers(0, 9, n)})
    frame["end"] = np.where(rng.random(n) < 0.5, "dead, sadly", "home=ok")
    frame["same"], out = 1, tmp_path / "rows.csv"
    frame.to_csv(tmp_path / "table.csv", index=False)
    command = ["generate", str(tmp_path / "table.csv"), "--target", "end", "-n", "40"]
    command += ["--generator", "causal_complete", "--out", str(out)]
    command += ["--class-shares", "dead, sadly=0.25,home=ok=0.75"]
    done = CliRunner().invoke(main, [*command, "--do", "stage=>=3", "dose=mg=2.5"])
    assert done.exit_code == 0, done.output
    rows = pd.read_csv(out)
    assert set(rows["stage"]) == {">=3"}
    assert set(rows["dose=mg"]) == {2.5}
    assert rows["end"].value_counts().to_dict() == {"home=ok": 30, "dead, sadly": 10}
    for wrong, message in (
        (["--do", "same=1"], "do sets 'same', which is left out of the table"),
        (["--do", "dose=kg=1"], "Unknown column in --do: 'dose'"),
        (["--class-shares", "home"], "--class-shares is 'home'; give NAME=VALUE"),
        (["--quality", "-n", "1"], "n (with quality) is 1; a whole number, at least 2"),
    ):
        done = CliRunner().invoke(main, [*command, *wrong])
        assert done.exit_code == 2
        assert message in done.output, done.output


def test_knowledge_of_effects_makes_the_target_a_node_like_others(tmp_path):
    rng, n = np.random.default_rng(0), 120
    ill = rng.random(n) < 0.5
    frame = pd.DataFrame({"age": rng.normal(50, 9, n), "sign": ill + rng.normal(0, 0.3, n)})
    frame["ill"] = np.where(ill, "yes", "no")
    frame.to_csv(tmp_path / "table.csv", index=False)
    how = {"options": {"n_bootstraps": 2, "n_dags": 2}, "graph_out": tmp_path / "edges.csv"}
    for knowledge in ({"required": [("ill", "sign")]}, {"tiers": [["ill"], ["age", "sign"]]}):
        said = []
        more = {"knowledge": knowledge, "report": said.append} | how
        generate_table(tmp_path / "table.csv", "ill", tmp_path / "rows.csv", 40, **more)
        assert "the knowledge gives 'ill' effects, or no cause: it may have effects" in said
        edges = pd.read_csv(tmp_path / "edges.csv")
        if "required" in knowledge:
            edge = edges.query("cause == 'ill' and effect == 'sign'")
            assert edge["share of models"].item() == 1
        else:
            assert "ill" not in set(edges["effect"])


@pytest.mark.parametrize(
    ("cells", "asked", "written"),
    [
        (["3", "4", "39"], "2.5", "2.5"),
        (["3", "4", "39"], " 2 ", "2"),
        (["0,50", "1,25", "2,75"], "0,004", "0,004"),
        (["0,50", "1,25", "2,75"], "0,5", "0,50"),
        (["71.3 kg", "68.0 kg", "80.5 kg"], "70.25", "70.25 kg"),
        (["71.3 kg", "68.0 kg", "80.5 kg"], "70.25 kg", "70.25 kg"),
        (["12 %", "98 %", "1 %"], "0.5", "0.5 %"),
        (["01.02.2024", "13.02.2024"], "03.05.2024 14:30", "03.05.2024 14:30"),
        (["01.02.2024", "13.02.2024"], "2024-05-03", "03.05.2024"),
        ([3, 4, 39], "2.5", 2.5),
        ([3, 4, 39], "2", 2),
        ([0.5, 4, 39], "2.25", 2.25),
    ],
)
def test_what_is_set_is_written_with_all_its_digits(cells, asked, written):
    like = pd.Series(cells * 9, name="x")
    decimal_comma = "," in str(cells[0])
    _, found = diagnose(like, decimal_comma=decimal_comma)
    (value,), _ = read(pd.Series([asked]), found)
    result = written_as_asked(pd.Series([value] * 4), asked, like, found)
    assert list(result) == [written] * 4
    np.testing.assert_allclose(read(result, found)[0], value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"do": {"color": "1"}}, "Unknown column in --do: 'color'"),
        ({"do": {"kind": "huge"}}, "'kind' to 'huge', .* one of 'large', 'small'"),
        ({"do": {"bought": "soon"}}, "'bought' to 'soon', which it cannot be: give a date"),
        ({"do": {"back": "yes"}}, "by --class-shares"),
        ({"class_shares": {"maybe": 1.0}}, "Unknown class 'maybe'"),
        ({"class_shares": {"no": 0.6}}, "class_shares sum to 0.6"),
        ({"generator": "mixup", "class_shares": {"no": 1.0}}, "class_shares is an option of"),
        ({"generator": "mixup", "graph_out": "g.csv"}, "graph_out is an option of"),
        ({"graph_out": "g.txt"}, "g.txt: a graph is written to files of type"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(shop, tmp_path, options, message):
    quick = {"options": {"n_dags": 1, "n_bootstraps": 1}} if "generator" not in options else {}
    with pytest.raises(CausalMixError, match=message):
        generate_table(shop, "back", tmp_path / "a.csv", 20, **quick | options)
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.parametrize(
    ("cells", "made", "written"),
    [
        (["2024-03-01 10:30", "2024-04-02 00:00"], [0.5, np.nan], ["1970-01-01 12:00", None]),
        (["2024-03-01", "9999-12-31"], [2932896.0, 3e6, np.nan], ["9999-12-31"] * 2 + [None]),
        (
            ["2024-06-20T22:30:00+02:00", "2024-06-21T08:00:00+02:00"],
            [0.5, 1.0],
            ["1970-01-01T14:00:00+02:00", "1970-01-02T02:00:00+02:00"],
        ),
        (["2024-06-20 22:30 -0330", "2024-06-21 08:00 Z"], [0.5], ["1970-01-01 08:30 -0330"]),
        (["2024-06-20 22:30Z", "2024-06-21 08:00Z"], [0.5], ["1970-01-01 12:00Z"]),
        (["3/14/2024", "12/25/2024"], [1.0, 31.0], ["01/02/1970", "02/01/1970"]),
        (["1.5", "2.25", ">3"], [3.5, 1.0], [">3", "1.00"]),
        (["1.5", "n.a.", "n.a.", "", "2.5"], [1.0, np.nan], ["1.0", "n.a."]),
        (["1.5", "2.5", None], [1.0, np.nan], ["1.0", None]),
        (["1 234", "5 678"], [12345.4, 7.0], ["12345", "7"]),
        ([".60", ".27"], [0.6, 0.274], ["0.60", "0.27"]),
        (["1.7e-04", "2.8e-04"], [0.00017, 2.0], ["1.7e-04", "2.0e+00"]),
        (["0.5", "1.25e-05"], [0.5, 1.25e-5], ["0.5", "1.25e-05"]),
        (["0.000000134", "0.25"], [1.34e-7, 0.25], ["0.000000134", "0.250000000"]),
        (["0.123456789", "1"], [0.123456789, 1.0], ["0.123457", "1.000000"]),
        (pd.to_datetime(["2024-03-01", "2024-05-01"]), [0.0, 1.0], None),
        ([1, 2], [1.4, 2.6], [1, 3]),
    ],
)
def test_values_are_written_like_others(cells, made, written):
    like = pd.Series(cells)
    _, found = diagnose(like)
    result = written_like(pd.Series(made), like, found)
    if written is None:
        written = list(pd.to_datetime(["1970-01-01", "1970-01-02"]))
    assert [None if pd.isna(value) else value for value in result] == written


def test_numbers_are_written_where_no_cell_shows_how():
    like = pd.Series([None, None], dtype=object)
    assert list(written_like(pd.Series([1.4, 2.6]), like, Diagnosis("number"))) == ["1", "3"]


def test_a_bound_is_written_in_the_share_of_the_cells_at_it():
    like = pd.Series([*["<5"] * 30, *["5"] * 10, *map(str, range(6, 90))])
    _, found = diagnose(like)
    made = pd.Series([5.0] * 4000 + [7.0] * 10)
    written = written_like(made, like, found, seed=1)
    assert set(written[:4000]) == {"<5", "5"}
    assert abs((written[:4000] == "<5").mean() - 0.75) < 0.03  # four standard errors
    assert set(written[4000:]) == {"7"}
    pd.testing.assert_series_equal(written_like(made, like, found, seed=1), written)
    assert not written_like(made, like, found, seed=2).equals(written)
    for asked in ("<5", "5"):
        assert set(written_like(made[:9], like, found, cells=pd.Series([asked]))) == {asked}


@pytest.mark.parametrize(
    ("cells", "made", "written"),
    [
        (["less than 5", "7", "9"], [5, 8], ["less than 5", "8"]),
        (["at most 5", "7", "9"], [5, 8], ["at most 5", "8"]),
        (["at least 9", "7", "8"], [9, 8], ["at least 9", "8"]),
        (["<2", "<5", "6", "9"], [2, 3, 5, 8], ["<2", "<5", "<5", "8"]),
        (["<5", "2", "3", "9"], [2, 3, 5, 8], ["2", "3", "<5", "8"]),
        (["<0,5 mg", "0,75 mg", "2 mg"], [0.5, 0.502, 0.75], ["<0,5 mg", "<0,5 mg", "0,75 mg"]),
        (["<1", "<2", "<3", "<4", "<5", "9", "8"], [1, 4, 9], ["<1", "<4", "9"]),
        (["<5", "7", ">90", "80"], [5, 7, 90], ["<5", "7", ">90"]),
    ],
)
def test_bounds_of_every_kind(cells, made, written):
    like = pd.Series(cells)
    _, found = diagnose(like)
    assert found.kind == "number"
    assert list(written_like(pd.Series(made, dtype=float), like, found)) == written
