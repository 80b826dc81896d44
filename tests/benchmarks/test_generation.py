"""The two benchmarks of generated rows: what they write, and how they sum it up."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from causalmix.benchmarks.csuite import (
    DRAWN,
    METHODS,
    REAL,
    WAYS,
    _fitted,
    benchmark_csuite,
    compare_csuite,
    summarise_csuite,
)
from causalmix.benchmarks.csuite_data import PUBLISHED_COLUMNS
from causalmix.benchmarks.findings import csuite_wins
from causalmix.benchmarks.utility import (
    GENERATORS,
    PRIVACY,
    SCORES,
    benchmark_utility,
    summarise_utility,
)
from causalmix.cli import main
from causalmix.errors import DataError, UnknownNameError
from causalmix.plots.quality import plot_csuite, plot_utility, plot_ways


@pytest.fixture
def csuite(tmp_path):
    """One dataset: a → b, with an effect of 2 for each unit of a."""
    folder = tmp_path / "csuite" / "line"
    folder.mkdir(parents=True)
    rng, arms = np.random.default_rng(0), []
    for part, n in (("train", 200), ("test", 150)):
        a = rng.normal(size=n)
        frame = pd.DataFrame({"a": a, "b": 2 * a + rng.normal(size=n)})
        frame.to_parquet(folder / f"{part}.parquet")
    for arm, value in (("reference", -1.0), ("treated", 1.0)):
        b = 2 * value + rng.normal(size=80)
        arms.append(pd.DataFrame({"a": value, "b": b, "arm": arm}))
    pd.concat(arms, ignore_index=True).to_parquet(folder / "interventional.parquet")
    effect = {"treatment": ["a"], "outcome": ["b"], "ate": [4.0]}
    effect |= {"treatment_value": 1.0, "reference_value": -1.0}
    truth = {"variables": [{"name": "a"}, {"name": "b"}], "adjacency": [[0, 1], [0, 0]]}
    (folder / "truth.json").write_text(json.dumps(truth | {"interventions": [effect]}))
    published = pd.DataFrame(
        [["line", 60, name, 9.0, 0.0, 0.9, 9.0] for name in ("dag", "cpdag_discovered")],
        columns=PUBLISHED_COLUMNS,
    )
    published.to_csv(folder.parent / "published.csv", index=False)
    return folder.parent


def test_csuite_is_scored_against_truth_floor_and_published_medians(csuite, tmp_path, monkeypatch):
    out = tmp_path / "out.csv"
    options = {"n_train": [60], "repetitions": 2, "mechanisms": ["linear"]}
    summary = benchmark_csuite(csuite, out, **options)
    rows = pd.read_csv(out)
    assert len(rows) == 2 * 3  # true and discovered graph, and real rows
    by_measure = summary[summary["graph"] == "true"].set_index("measure")
    assert by_measure.loc["ate_error", "median"] < 0.6
    assert by_measure["better"].to_dict() == {
        "cmd": True,
        "kmtvd": False,
        "nnaa_distance": True,
        "ate_error": True,
        "arms_error": True,
    }
    assert by_measure.loc["arms_error", "median"] < 0.8  # of an effect of 4
    together = pd.read_csv(tmp_path / "out_comparison.csv").set_index(["graph", "measure"])
    cmd = rows.loc[rows["graph"] == "true", "cmd"]
    assert together.loc[("true", "cmd"), "difference"] == pytest.approx(cmd.mean() - 9, abs=1e-5)
    assert together.loc["true", "wins"].tolist() == [1, 0, 1, 1, 1]
    real = rows[rows["method"] == REAL]
    assert by_measure.loc["cmd", "floor"] == pytest.approx(real["cmd"].median())
    manifest = json.loads((tmp_path / "out_manifest.json").read_text())
    assert manifest["settings"]["n_train"] == [60]

    before = out.read_text()
    monkeypatch.setattr("causalmix.benchmarks.csuite.perform", None)  # nothing is left to do
    benchmark_csuite(csuite, out, **options)
    assert out.read_text() == before
    monkeypatch.undo()
    benchmark_csuite(csuite, out, **options | {"n_train": [50], "graphs": ["true"]})
    assert pd.read_csv(out).groupby("n_train").size().to_dict() == {50: 4, 60: 6}
    monkeypatch.setattr("causalmix.benchmarks.engine.code_hash", lambda parts: "changed since")
    benchmark_csuite(csuite, out, **options | {"n_train": [50], "graphs": ["true"]})
    assert pd.read_csv(out)["n_train"].tolist() == [50] * 4
    wins = csuite_wins(summary)
    assert wins.loc[("true", "linear", 60), "CMD"] == "1 of 1"
    assert plot_csuite(summary, "true").axes[0].get_title() == "line"


def test_each_way_to_go_column_by_column_has_its_graph(csuite, tmp_path, monkeypatch):
    """With linear mechanisms in place of the foundation model, which take no time.

    Along b → a to set a changes nothing, which is an error of 4; in rows of both arms the
    dependence shows all the same. Of a and b alone the CPDAG leaves the direction open.
    """
    monkeypatch.setattr("causalmix.benchmarks.csuite.TFM", "linear")
    options = {"n_train": [60], "repetitions": 1, "mechanisms": ["linear"], "graphs": ["true"]}
    summary = benchmark_csuite(csuite, tmp_path / "o.csv", methods=list(METHODS), **options)
    table = summary.pivot(index="method", columns="measure", values="median")
    assert set(table.index) == {*METHODS, "linear"}
    assert table.loc["vanilla_reverse_topological", "ate_error"] == pytest.approx(4)
    others = table.drop(index=["vanilla_reverse_topological", DRAWN])
    assert others["ate_error"].max() < 1
    assert table.loc[DRAWN, "ate_error"] < 3.5  # some rows have either direction
    assert table["arms_error"].max() < 1
    published = summary[summary["measure"] == "cmd"].set_index("method")["published"]
    assert published[["dag", "linear", DRAWN]].tolist() == [9.0] * 3
    assert published[["vanilla_original", "cpdag_minimal"]].isna().all()
    shared = pd.read_csv(tmp_path / "o.csv").set_index("method")
    for name in ("dag", DRAWN):  # whose mechanisms were partly another's
        _fitted.cache_clear()
        benchmark_csuite(csuite, tmp_path / f"{name}.csv", methods=[name], **options)
        alone = pd.read_csv(tmp_path / f"{name}.csv").set_index("method")
        pd.testing.assert_series_equal(alone.loc[name], shared.loc[name])
    together = pd.read_csv(tmp_path / "o_comparison.csv")
    known = [("true", "dag"), ("discovered", "cpdag_discovered"), ("discovered", DRAWN)]
    cmd = summary[(summary["measure"] == "cmd") & (summary["method"] == "dag")]["median"].item()
    cells = together.set_index(["graph", "method", "measure"])
    assert cells.loc[(*known[0], "cmd"), "difference"] == pytest.approx(cmd - 9, abs=1e-5)
    assert (cells.xs("kmtvd", level="measure")["wins"] == 0).all()
    ax = plot_ways(together, "").axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == [WAYS[way] for way in known]
    assert ax.lines[0].get_xdata().size == len(known)


def test_a_corrected_effect_is_measured_anew(csuite, tmp_path):
    """Started again, not resumed with scores against what had been taken for the truth."""
    options = {"n_train": [60], "repetitions": 1, "mechanisms": ["linear"], "graphs": ["true"]}
    out, path = tmp_path / "out.csv", csuite / "line" / "truth.json"
    right = path.read_text()
    path.write_text(right.replace("4.0", "99.0"))
    errors = []
    for _ in range(2):
        benchmark_csuite(csuite, out, **options)
        rows = pd.read_csv(out).set_index("method")
        errors.append(rows.loc["linear", "ate_error"])
        path.write_text(right)
    assert errors[0] > 90
    assert errors[1] < 1


def test_csuite_mistakes_are_named(csuite, tmp_path):
    out = tmp_path / "out.csv"
    with pytest.raises(DataError, match="line has 200 training rows, fewer than 500"):
        benchmark_csuite(csuite, out, n_train=[500])
    with pytest.raises(UnknownNameError, match="true, discovered"):
        benchmark_csuite(csuite, out, graphs=["tru"])
    with pytest.raises(UnknownNameError, match="cpdag_minimal"):
        benchmark_csuite(csuite, out, methods=["cpdag_min"])
    assert not out.exists()


def test_nnaa_is_held_against_a_half():
    rows = pd.DataFrame(
        {
            "dataset": "d",
            "n_train": 20,
            "repetition": [0, 1, 2, 0],
            "graph": ["true"] * 3 + ["none"],
            "method": ["gp"] * 3 + [REAL],
            "cmd": [1.0, 2.0, 9.0, 0.5],
            "kmtvd": 0.1,
            "nnaa": [0.4, 0.6, 0.45, 0.5],
            "ate_error": [0.1, 0.2, 0.3, np.nan],
            "arms_error": np.nan,
        }
    )
    published = pd.DataFrame([["d", 20, "dag", 1.5, 0.2, 0.56, 0.1]], columns=PUBLISHED_COLUMNS)
    summary = summarise_csuite(rows, published).set_index("measure")
    assert summary.loc["cmd", "median"] == 2.0
    assert summary.loc["nnaa_distance", ["median", "published"]].tolist() == pytest.approx(
        [0.05, 0.06]  # of the medians, 0.45 and 0.56: only these are published
    )
    assert summary["better"].tolist() == [False, True, True, False]


def test_a_method_does_not_differ_from_its_own_medians():
    """Errors are skewed, so that their mean is above their median."""
    rng, rows = np.random.default_rng(0), []
    for k in range(6):
        for r in range(20):
            values = {"cmd": rng.lognormal(k / 3, 1), "kmtvd": rng.lognormal(-2, 0.3)}
            values |= {"nnaa": 0.5 + rng.normal(0, 0.1), "ate_error": rng.lognormal(0, 1)}
            named = {"dataset": f"d{k}", "n_train": 20, "repetition": r, "graph": "true"}
            rows.append({**named, "method": "gp", **values, "arms_error": np.nan})
    rows = pd.DataFrame(rows)
    medians = rows.groupby("dataset")[["cmd", "kmtvd", "nnaa", "ate_error"]].median()
    shown = [[d, 20, "dag", *own] for d, own in zip(medians.index, medians.to_numpy(), strict=True)]
    found = compare_csuite(rows, pd.DataFrame(shown, columns=PUBLISHED_COLUMNS))
    assert found["difference"].tolist() == pytest.approx([0.0] * 4)
    assert (found["wins"] == 0).all()
    assert ((found["low"] <= 0) & (found["high"] >= 0)).all()
    better = rows.assign(cmd=rows["cmd"] - 0.1)
    found = compare_csuite(better, pd.DataFrame(shown, columns=PUBLISHED_COLUMNS))
    assert found.set_index("measure").loc["cmd", ["wins", "difference"]].tolist() == pytest.approx(
        [6, -0.1]
    )
    one = rows[rows["dataset"] == "d0"].assign(cmd=lambda each: each["cmd"] + 1)
    alone = compare_csuite(one, pd.DataFrame(shown, columns=PUBLISHED_COLUMNS))
    assert alone.set_index("measure").loc["cmd", "difference"] == pytest.approx(1)


def test_mixup_is_compared_as_any_generator_is(tmp_path):
    """From the command, where its rows lack the reference of the summary."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 2))
    (tmp_path / "tables").mkdir()
    table = pd.DataFrame(x, columns=list("ab")).assign(target=np.where(x[:, 0] > 0, "p", "n"))
    table.to_csv(tmp_path / "tables" / "one.csv", index=False)
    command = ["benchmark-generation", "--data", str(tmp_path / "tables"), "--generators", "mixup"]
    command += ["--n-train", "60", "--seeds", "1", "--out", str(tmp_path / "out.csv")]
    command += ["--workers", "0"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    rows = pd.read_csv(tmp_path / "out.csv").set_index("generator")
    assert rows.loc["mixup", "linear_synthetic"] > 0.9
    summary = pd.read_csv(tmp_path / "out_summary.csv")
    assert summary["difference"].isna().all()
    assert summary["auc"].notna().all()


def test_embedded_tables_are_asked_for_by_name(tmp_path):
    """Copies with little noise give away who was there; rows that owe nothing to anyone do not."""
    command = ["benchmark-generation", "--datasets", "anes96", "--n-train", "60", "--seeds", "1"]
    command += ["--generators", "perturbation", "copula", "--out", str(tmp_path / "out.csv")]
    done = CliRunner().invoke(main, [*command, "--workers", "0"])
    assert done.exit_code == 0, done.output
    leaks = pd.read_csv(tmp_path / "out.csv").set_index("generator")["membership_auc"]
    assert leaks["perturbation"] > leaks["copula"] + 0.2
    refused = CliRunner().invoke(main, ["benchmark-generation", "--out", str(tmp_path / "o.csv")])
    assert "--datasets NAMES (embedded ones)" in refused.output


def test_utility_is_compared_on_the_same_splits(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    folder = tmp_path / "tables"
    folder.mkdir()
    for name in ("one", "two"):
        x = rng.normal(size=(220, 3))
        y = np.where(x[:, 0] + 0.5 * rng.normal(size=220) > 0, "p", "n")
        pd.DataFrame(x, columns=list("abc")).assign(target=y).to_csv(
            folder / f"{name}.csv", index=False
        )
    out = tmp_path / "out.csv"
    options = {"n_train": [60], "seeds": 2, "n_synthetic": 150}
    summary = benchmark_utility(folder, out, generators=["smote_nc", "causal"], **options)
    rows = pd.read_csv(out)
    monkeypatch.setattr("causalmix.benchmarks.utility.GENERATORS", dict.fromkeys(GENERATORS))
    again = benchmark_utility(folder, out, generators=["smote_nc", "causal"], **options)
    pd.testing.assert_frame_equal(again, summary)  # without a generator that could be fitted
    assert len(rows) == 2 * 2 * 3
    assert rows["linear_synthetic"].min() > 0.85
    auc = rows.pivot_table(index="dataset", columns="generator", values="boosting_both")
    line = summary[(summary["score"] == "boosting_both") & (summary["generator"] == "smote_nc")]
    assert line["difference"].item() == pytest.approx((auc["causal"] - auc["smote_nc"]).mean())
    assert set(summary["score"]) == {*SCORES, "mean_synthetic", "mean_both", "membership_auc"}
    leaks = rows.groupby("generator")[list(PRIVACY)].mean()
    assert leaks.loc["smote_nc", "membership_auc"] > 0.6  # its rows lie between those
    assert leaks.loc["real"].isna().all()
    pd.testing.assert_frame_equal(summarise_utility(rows), summary)
    assert len(plot_utility(summary).axes) == 2
    with pytest.raises(DataError, match="as n_train needs"):
        benchmark_utility(folder, out, n_train=[150])
