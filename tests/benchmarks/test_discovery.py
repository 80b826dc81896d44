"""The comparison of discovery with causal-learn: scores, time limits, resuming, bad input."""

from __future__ import annotations

import json
import os
import signal

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from causallearn.search.ConstraintBased.PC import pc
from click.testing import CliRunner

from causalmix import cli
from causalmix.benchmarks import discovery as discovery_benchmark
from causalmix.benchmarks.comparison import bootstrap_interval
from causalmix.benchmarks.discovery import (
    LABELS,
    METHODS,
    SCORES,
    VARIANTS,
    describe,
    run_discovery_benchmark,
    summarise,
)
from causalmix.benchmarks.discovery_speed import measure_bootstrap_speed, measure_cost
from causalmix.benchmarks.engine import KINDS, code_hash
from causalmix.benchmarks.plain_discovery import PlainSearcher, integer_codes
from causalmix.benchmarks.results import load_result
from causalmix.benchmarks.search_comparison import (
    compare_searches,
    known_halves,
    tabulate_comparisons,
)
from causalmix.discovery.bootstrap import discover
from causalmix.discovery.edge_probabilities import EdgeProbabilities
from causalmix.discovery.graph_comparison import average_comparisons, compare_graphs
from causalmix.errors import CausalMixError, DataError
from causalmix.plots.cost import plot_discovery_cost
from causalmix.plots.discovery import plot_calibration, plot_discovery_benchmark
from causalmix.scm.random_scm import random_scm_table

RESULT = "discovery/benchmark"
# Results written with other files behind discovery than there are now. Since these rows were
# written, text of all-different values names the rows; no table here has text.
STALE: set[str] = {RESULT}
SMALL = {"n_rows": [100], "n_nodes": [5], "n_scms": 2, "n_bootstraps": 2}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    out = tmp_path_factory.mktemp("discovery") / "rows.csv"
    return out, run_discovery_benchmark(out, **SMALL)


def test_rows_are_what_the_libraries_give_by_hand(small):
    rows = small[1].rows.set_index(["seed", "method"])
    assert len(rows) == 2 * len(METHODS)
    for seed in (0, 1):
        frame, dag = random_scm_table(5, 100, seed)
        ours = compare_graphs(discover(frame, n_bootstraps=2, seed=seed), dag).scores
        coded = frame.apply(lambda c: c.cat.codes if c.dtype == "category" else c).to_numpy(float)
        graph = pc(coded, 0.05, "fisherz", show_progress=False).G.graph
        arrow, line = (graph == -1) & (graph.T == 1), (graph == -1) & (graph.T == -1)
        true = nx.to_numpy_array(dag, nodelist=list(frame)) > 0
        right, guesses = (arrow & true).sum(), arrow.sum() + line.sum() / 2
        assert rows.loc[(seed, "pc"), "arrow_f1"] == pytest.approx(
            2 * right / (arrow.sum() + true.sum()), abs=1e-6
        )
        assert rows.loc[(seed, "pc"), "coin_arrow_f1"] == pytest.approx(
            2 * (right + (line & true).sum() / 2) / (guesses + true.sum()), abs=1e-6
        )
        for score in ("skeleton_f1", "arrow_f1", "shd", "skeleton_brier", "arrow_brier"):
            assert rows.loc[(seed, "bootstrap"), score] == pytest.approx(ours[score], abs=1e-6)
        for variant, options in VARIANTS.items():
            ours = compare_graphs(discover(frame, n_bootstraps=2, seed=seed, **options), dag).scores
            assert rows.loc[(seed, variant), "arrow_brier"] == pytest.approx(
                ours["arrow_brier"], abs=1e-6
            )
    assert (rows["outcome"] == "ok").all()


def test_a_run_goes_on_where_it_stopped(small, monkeypatch):
    out, first = small
    searched = []
    search = discovery_benchmark._search

    def counted(*arguments):
        searched.append(arguments)
        return search(*arguments)

    monkeypatch.setattr(discovery_benchmark, "_search", counted)
    again = run_discovery_benchmark(out, **SMALL | {"n_scms": 3})
    assert len(searched) == len(METHODS)
    pd.testing.assert_frame_equal(again.rows.head(len(first.rows)), first.rows)
    manifest = json.loads(out.with_name("rows_manifest.json").read_text())
    assert manifest["settings"]["n_scms"] == 3
    assert {"causal-learn", "numpy"} <= set(manifest["versions"])
    assert set(manifest["settings"]["methods"].values()) == set(first.rows["code"])


def test_a_search_whose_process_was_ended_is_not_out_of_time():
    with PlainSearcher(limit=9) as searcher:
        searcher.search("pc", np.random.default_rng(0).normal(size=(50, 3)))
        os.kill(searcher._process.pid, signal.SIGKILL)
        searcher._process.wait()
        with pytest.raises(CausalMixError, match="pc ended with status -9"):
            searcher.search("pc", np.zeros((50, 3)))


def test_a_search_that_takes_too_long_is_stopped_and_the_next_one_runs():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(2000, 1)) + rng.normal(size=(2000, 40))  # all columns adjacent
    singular = np.tile(rng.normal(size=(50, 1)), 3)
    with PlainSearcher(limit=0.3) as searcher:
        stopped = searcher.search("pc", wide)
        assert (stopped.graph, stopped.seconds, stopped.outcome) == (None, 0.3, "timeout")
        assert searcher.search("pc", wide[:, :3]).graph.shape == (3, 3)
        failed = searcher.search("fci", singular)
        assert failed.graph is None
        assert "singular" in failed.outcome


def test_codes_of_categories():
    frame = pd.DataFrame({"a": [1.5, np.nan, 2.5], "b": pd.Categorical(["y", "x", "y"])})
    np.testing.assert_array_equal(integer_codes(frame), [[1.5, 1], [2.0, 0], [2.5, 1]])


def made_rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"source": source, "dataset": f"{source}-{d}", "n_nodes": d, "n_rows": n, "seed": seed}
        | {"method": method, "seconds": 1.0, "outcome": "ok", "shd": float(rng.integers(9))}
        | {name: rng.random() for name in SCORES if name != "shd"}
        for source in ("csuite", "random")
        for d in (5, 9)
        for n in (100, 200)
        for seed in range(4)
        for method in METHODS
    ]
    frame = pd.DataFrame(rows)
    stopped = (frame["method"] == "fci") & (frame["n_nodes"] == 9) & (frame["seed"] == 0)
    frame.loc[stopped, list(SCORES)] = np.nan
    return frame


def test_failed_searches_are_counted_and_left_out_of_the_differences():
    rows = made_rows()
    summary = summarise(rows).set_index(["source", "group", "n_rows", "method"])
    fci = summary.loc["random", "all", 100, "fci"]
    assert (fci["tables"], fci["failed"]) == (8, 1)
    part = rows[(rows["source"] == "random") & (rows["n_rows"] == 100)]
    wide = part.pivot(index=["dataset", "seed"], columns="method", values="arrow_f1").dropna()
    difference = wide["bootstrap"] - wide["fci"]
    assert fci["arrow_f1_difference"] == pytest.approx(difference.mean())
    assert (fci["arrow_f1_low"], fci["arrow_f1_high"]) == bootstrap_interval(difference.to_numpy())
    own = rows[(rows["source"] == "csuite") & (rows["n_rows"] == 100)]
    wide = own.pivot(index=["dataset", "seed"], columns="method", values="arrow_f1").dropna()
    difference, graphs = wide["bootstrap"] - wide["fci"], wide.index.get_level_values("dataset")
    expected = bootstrap_interval(difference.to_numpy(), clusters=graphs)
    assert (
        tuple(summary.loc["csuite", "all", 100, "fci"][["arrow_f1_low", "arrow_f1_high"]])
        == expected
    )
    assert summary.loc["csuite", "csuite-5", 200, "pc"]["tables"] == 4
    assert summary.loc["random", "9 nodes", 200, "fci"]["failed"] == 1
    assert np.isnan(summary.loc["random", "all", 100, "bootstrap"]["shd_difference"])


def test_committed_rows_are_of_todays_code_or_named_stale():
    today = load_result(RESULT)["code"].str.startswith(code_hash(KINDS["discovery"].code) + " ")
    assert today.all() or RESULT in STALE
    assert not today.all() or RESULT not in STALE


def test_where_we_lose_is_said(small):
    worse = small[1].rows.assign(arrow_f1=lambda r: (r["method"] != "bootstrap") * 1.0)
    text = describe(discovery_benchmark.DiscoveryBenchmark(worse, summarise(worse), {}))
    assert "Not above pc: arrow_f1, random all, 100 rows" in text


def test_speed_counts_what_did_not_finish():
    frame = random_scm_table(6, 100, seed=0)[0]
    fast = measure_bootstrap_speed(frame, n_bootstraps=2)
    assert fast["ratio"] == pytest.approx(
        (fast["pc_seconds"] + fast["fci_seconds"]) / fast["bootstrap_seconds"]
    )
    assert (fast["pc_unfinished"], fast["fci_unfinished"]) == (0, 0)
    copied = frame.assign(copy=frame.select_dtypes("number").iloc[:, 0])  # singular for Fisher's z
    assert measure_bootstrap_speed(copied, n_bootstraps=2)["pc_unfinished"] == 2


def test_figures_show_every_method_and_group():
    rows = made_rows()
    for ax, source in zip(
        plot_discovery_benchmark(rows, "arrow_f1").axes, ("csuite", "random"), strict=True
    ):
        names = [t.get_text() for t in ax.get_yticklabels()]
        assert names == [LABELS[method] for method in reversed(METHODS)]
        dots = {each.get_label(): each.get_offsets() for each in ax.collections}
        for n in (100, 200):
            part = rows[(rows["source"] == source) & (rows["n_rows"] == n)]
            means = part.groupby("method")["arrow_f1"].mean().loc[[*METHODS]]
            np.testing.assert_allclose(dots[f"{n} rows"][:, 0], means)
            assert (dots[f"{n} rows"][:, 1].round() == range(len(METHODS))[::-1]).all()
    cost = measure_cost(rows=[50, 100], columns=[3], n_bootstraps=1)
    assert len(cost) == 3 * 4
    by_rows, by_columns = plot_discovery_cost(cost).axes
    assert by_rows.lines[0].get_xdata().tolist() == [50, 100]
    assert by_columns.lines[0].get_xdata().tolist() == [3]


def test_bad_input_is_named(tmp_path):
    with pytest.raises(DataError, match=r"\.csv"):
        run_discovery_benchmark(tmp_path / "rows.txt")
    with pytest.raises(DataError, match="n_nodes"):
        run_discovery_benchmark(tmp_path / "rows.csv", n_nodes=[1])
    with pytest.raises(DataError, match="limit is 0"):
        run_discovery_benchmark(tmp_path / "rows.csv", limit=0)
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(CausalMixError, match=r"not in .*rows\.runs"):
        run_discovery_benchmark(tmp_path / "rows.csv", **SMALL)
    result = CliRunner().invoke(
        cli.main, ["benchmark-discovery", "--speed", "--out", str(tmp_path / "x.csv")]
    )
    assert result.exit_code == 2
    assert "--table" in result.output


def test_the_command_writes_rows_summary_and_manifest(tmp_path):
    out = tmp_path / "rows.csv"
    options = [
        "--workers",
        "1",
        "--n-rows",
        "60",
        "80",
        "--n-nodes",
        "4",
        "--n-scms",
        "1",
        "--n-bootstraps",
        "2",
    ]
    result = CliRunner().invoke(cli.main, ["benchmark-discovery", "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    assert len(pd.read_csv(out)) == 2 * len(METHODS)
    assert len(pd.read_csv(tmp_path / "rows_summary.csv")) == 2 * 2 * len(METHODS)
    assert (tmp_path / "rows_manifest.json").exists()


def test_csuite_rows_are_drawn_from_the_training_rows(shared_data, tmp_path):
    folder = shared_data / "csuite"
    options = SMALL | {"n_scms": 1, "repetitions": 1, "n_bootstraps": 1}
    rows = run_discovery_benchmark(tmp_path / "rows.csv", csuite=folder, **options).rows
    csuite = rows[rows["source"] == "csuite"]
    assert csuite["dataset"].nunique() == 6
    assert csuite["data"].nunique() == 6
    with pytest.raises(DataError, match="fewer than n_rows=5000"):
        run_discovery_benchmark(tmp_path / "o.csv", csuite=folder, **options | {"n_rows": [5000]})


def test_edges_of_one_search_are_scored_like_probabilities():
    """A bidirected edge is joined but no arrow, a half-open one an arrow."""
    graph = np.array([[0, 1, 2], [1, 0, 0], [1, 0, 0]])  # a <-> b, a o-> c
    edges = EdgeProbabilities.from_graphs(["a", "b", "c"], {"fci": [graph]})
    dag = nx.DiGraph([("a", "b"), ("a", "c")])
    scores = compare_graphs(edges, dag).scores
    assert scores["skeleton_f1"] == 1
    assert (scores["arrow_precision"], scores["arrow_recall"]) == (1, 0.5)


def test_searches_of_one_table_are_laid_out_and_drawn():
    exact = np.array([[0, -1, -1], [1, 0, 0], [1, 0, 0]])  # a -> b, a -> c
    unsure = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0]])  # b -> a
    dag = nx.DiGraph([("a", "b"), ("a", "c")])
    compared = {
        "right": compare_graphs(EdgeProbabilities.from_graphs("abc", {"pc": [exact]}), dag),
        "half": compare_graphs(EdgeProbabilities.from_graphs("abc", {"pc": [exact, unsure]}), dag),
    }
    table = tabulate_comparisons(compared)
    assert table.loc["right", ["skeleton f1", "arrow f1", "arrow brier", "shd"]].tolist() == [
        *(1, 1, 0, 0)
    ]
    assert table.loc["half", "arrow brier"] == pytest.approx(3 * 0.5**2 / 6)
    right, half = plot_calibration(compared).axes
    assert (right.get_title(), half.get_title()) == ("right", "half")
    for ax, places in ((right, {0.0, 1.0}), (half, {0.0, 0.5})):
        arrows = next(dots for dots in ax.collections if dots.get_label() == "arrows")
        assert set(arrows.get_offsets().data[:, 0]) == places


def test_comparisons_are_averaged_over_tables_and_pairs():
    """Pairs of all tables are pooled, as if they were of one table."""
    compared = []
    for seed in (0, 1):
        frame, dag = random_scm_table(6, 100, seed)
        compared.append(compare_graphs(discover(frame, n_bootstraps=5, seed=seed), dag))
    average = average_comparisons(compared)
    first, second = (each.scores["arrow_f1"] for each in compared)
    assert average.scores["arrow_f1"] == pytest.approx((first + second) / 2)
    for kind, pairs in (("skeleton", 15), ("arrow", 30)):
        bins = average.reliability[average.reliability["kind"] == kind]
        assert bins["n"].sum() == 2 * pairs
        assert bins["low"].is_unique
        parts = [each.reliability[each.reliability["kind"] == kind] for each in compared]
        for name in ("probability", "frequency"):
            total = sum((part[name] * part["n"]).sum() for part in parts)
            assert (bins[name] * bins["n"]).sum() == pytest.approx(total)


def test_searches_get_the_same_tables_and_some_are_told_more():
    options = {"algorithms": ["pc"], "n_bootstraps": 4}
    compared = compare_searches(
        {"plain": options, "told": options},
        n_tables=2,
        n_nodes=6,
        n_rows=150,
        halves_known=["told"],
        seed=3,
    )
    plain, told = [], []
    for seed in (3, 4):
        frame, dag = random_scm_table(6, 150, seed)
        plain.append(compare_graphs(discover(frame, seed=seed, **options), dag))
        edges = discover(frame, seed=seed, knowledge=known_halves(dag), **options)
        told.append(compare_graphs(edges, dag))
        (early, late) = known_halves(dag).tiers
        assert not any(dag.has_edge(b, a) for a in early for b in late)
    assert compared["plain"].scores == average_comparisons(plain).scores
    assert compared["told"].scores == average_comparisons(told).scores
    assert compared["told"].scores["arrow_f1"] > compared["plain"].scores["arrow_f1"]


def test_what_chapter_one_says_of_the_differences_holds():
    summary = load_result("discovery/benchmark_summary").query("group == 'all'")
    rows = summary.set_index(["source", "method", "n_rows"]).sort_index()

    def surely_ahead(score: str, source: str, *methods: str) -> list[bool]:
        low = rows.loc[source].loc[list(methods), f"{score}_low"]
        return list(low > 0)

    for part in ("skeleton_f1", "arrow_f1"):
        assert all(surely_ahead(part, "random", "pc", "fci", "bootstrap_pc_fci"))
    assert not any(surely_ahead("skeleton_f1", "csuite", "pc", "fci", "bootstrap_pc_fci"))
    for method, ahead in (("pc", [True, False]), ("fci", [True, False])):
        assert surely_ahead("arrow_f1", "csuite", method) == ahead  # at 200 and 1000 rows
    assert not any(surely_ahead("arrow_f1", "csuite", "bootstrap_pc_fci"))
    assert (rows.loc["random"].loc["bootstrap_boss", "arrow_f1_high"] < 0).all()
    assert not any(surely_ahead("coin_arrow_f1", "csuite", "pc", "fci"))
    linear = rows.loc["csuite"].loc["bootstrap_linear", "skeleton_f1"]
    assert (linear - rows.loc["csuite"].loc["pc", "skeleton_f1"]).abs().max() < 0.03
