"""Tables of known models: the truth they claim, what arms are given of it, and how they compare."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from causalmix.benchmarks import known_models, structure
from causalmix.benchmarks.engine import Outcome
from causalmix.benchmarks.known_models import _RandomModel, known_tables, sink_graph
from causalmix.benchmarks.store import Store
from causalmix.benchmarks.structure import KIND, structure_contrasts
from causalmix.cli import main
from causalmix.errors import DataError
from causalmix.scm.hospital import hospital_dag, hospital_rows
from causalmix.scm.random_scm import random_dag


@pytest.fixture(scope="module")
def tables():
    return known_tables(n_random=2)


# ---- tables --------------------------------------------------------------------------------------


def test_setting_a_node_changes_what_follows_from_it_and_nothing_else():
    for seed in range(3):
        model = _RandomModel.draw(seed)
        cause = next(model.dag.predecessors(model.target))
        free = model.rows(300, 5)
        held = model.rows(300, 5, {cause: 1.0})  # with the same noise
        changed = {name for name in free if not free[name].equals(held[name])}
        assert {cause, model.target} <= changed <= {cause, *nx.descendants(model.dag, cause)}
        assert held[cause].nunique() == 1


def test_every_edge_of_a_random_model_carries_an_effect():
    """An edge with a curve that is the same for both values of a sign would carry none."""
    for seed in range(8):
        model = _RandomModel.draw(seed)
        for cause, effect in model.dag.edges:
            values = (-1.0, 1.0) if cause in model.signs else (-1.0, 0.1)
            one, other = (model.rows(300, 5, {cause: value})[effect] for value in values)
            assert not one.equals(other), (seed, cause, effect)


def test_effects_make_up_as_much_of_a_target_as_is_said():
    for seed in range(5):
        model = _RandomModel.draw(seed)
        spread = model.rows(20_000, 0)[model.target].var()
        assert 0.45 < 1 - 0.3 / spread < 0.68  # a noise of variance 0.3


def test_the_two_values_of_the_set_cause_differ_in_what_follows():
    """Else a shift would be none: one of |x| is the same at -1 and 1."""
    for table in known_tables(n_random=5).values():
        low, high = (table.shifted.y[half] == "high" for half in (slice(1000), slice(1000, None)))
        assert abs(low.mean() - high.mean()) > 0.08


def test_random_rows_have_no_dependence_that_their_graph_denies():
    model = _RandomModel.draw(0)
    dag, rows = model.dag, model.rows(4000, 0)
    codes = rows.apply(lambda column: column.cat.codes if column.dtype == "category" else column)
    correlation = codes.corr().abs()
    for a, b in combinations(dag, 2):
        if nx.is_d_separator(dag, {a}, {b}, set()):
            assert correlation.loc[a, b] < 0.06, (a, b)
    assert all(
        codes[name].std() == pytest.approx(1, abs=0.35) for name in rows.select_dtypes(float)
    )


def test_the_hospital_asks_who_recovers_and_treats_whatever_the_severity(tables):
    table, patients = tables["hospital"], hospital_rows(2000, 0).frame()
    high = patients["recovery"] > patients["recovery"].median()
    assert (table.y == "high").tolist() == high.tolist()
    assert "recovery" not in table.X
    coded = [part.X.assign(t=part.X["treated"].cat.codes) for part in (table, table.shifted)]
    observed, set_to = (frame["t"].corr(frame["severity"]) for frame in coded)
    assert observed > 0.4
    assert abs(set_to) < 0.07
    assert coded[1]["t"].mean() == 0.5


def test_of_csuite_the_outcome_is_the_label_and_its_cut_stays_under_intervention(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    truth = {
        "variables": [{"name": name} for name in "tyx"],
        "adjacency": [[0, 1, 0], [0, 0, 1], [0, 0, 0]],
        "interventions": [
            {"treatment": ["t"], "treatment_value": [1], "reference_value": [0]}
            | {"outcome": ["y"], "ate": [0.5]}
        ],
    }
    (folder / "truth.json").write_text(json.dumps(truth))
    kinds = pd.CategoricalDtype(["a", "b"])
    train = pd.DataFrame({"t": pd.Series(list("abab"), dtype=kinds), "y": [1.0, 2.0, 3.0, 9.0]})
    train["x"] = np.float32([0.1, 0.2, 0.3, 0.4])
    moved = pd.DataFrame({"t": list("bb"), "y": [2.6, 9.0], "x": [1.0, 2.0]})
    moved["arm"] = ["reference", "treated"]
    for name, frame in (("train", train), ("test", train)):
        frame.to_parquet(folder / f"{name}.parquet")
    with pytest.raises(DataError, match=r"interventional\.parquet"):
        known_tables(tmp_path)
    moved.to_parquet(folder / "interventional.parquet")
    table = known_tables(tmp_path, n_random=0)["tiny"]
    assert table.y.tolist() == ["low", "low", "high", "high"]
    assert table.shifted.y.tolist() == ["high", "high"]  # cut where the table is, at 2.5
    assert table.shifted.X.dtypes.equals(table.X.dtypes)
    assert list(table.shifted.X) == ["t", "x"]
    assert table.shifted.X["t"].tolist() == ["b", "b"]
    assert set(table.dag.edges) == {("t", "y"), ("y", "x")}


def subsets(names: set[str]) -> Iterator[set[str]]:
    for size in range(len(names) + 1):
        yield from map(set, combinations(sorted(names), size))


def test_a_sink_graph_denies_no_dependence_and_has_the_blanket_for_parents():
    for seed in range(6):
        dag = random_dag(6, 2.5, np.random.default_rng(seed))
        for target in ("x0", "x3"):
            turned = sink_graph(dag, target)
            assert nx.is_directed_acyclic_graph(turned)
            assert not turned.out_degree(target)
            for a, b in combinations(dag, 2):
                for given in subsets(set(dag) - {a, b}):
                    if nx.is_d_separator(turned, {a}, {b}, given):
                        assert nx.is_d_separator(dag, {a}, {b}, given), (seed, a, b, given)
            others = {p for child in dag.successors(target) for p in dag.predecessors(child)}
            blanket = {*dag.predecessors(target), *dag.successors(target), *others} - {target}
            assert set(turned.predecessors(target)) == blanket
    last = nx.DiGraph([("a", "b"), ("b", "y")])
    assert set(sink_graph(last, "y").edges) == set(last.edges)


# ---- runs ----------------------------------------------------------------------------------------


@pytest.fixture
def untrained(monkeypatch):
    """Fit generators and train nothing; predict that all are high."""
    seen = []

    def finetune(model, split, *, generator, config, seed):
        if generator is not None:
            generator.fit(split.train.X, split.train.y)
        seen.append(generator)
        return SimpleNamespace(tfm=model)

    monkeypatch.setattr(known_models, "finetune", finetune)
    monkeypatch.setattr(
        known_models,
        "predict_proba",
        lambda model, context, X, random_state: np.tile([0.1, 0.9], (len(X), 1)),
    )
    return seen


def runs_of(tables, name, n_train=60):
    found = structure._plan({name: tables[name]}, splits=1)
    return {r.settings["arm"]: r for r in found if r.settings["n_train"] == n_train}


def test_arms_get_the_graphs_that_they_name(tables, untrained):
    table, true = tables["hospital"], sink_graph(hospital_dag(), "recovery")
    runs = runs_of(tables, "hospital")
    features = true.subgraph(table.X)
    blanket = set(true.predecessors("recovery"))
    for arm in ("true", "true_label", "true_shuffled", "causal_empty"):
        options = {**runs[arm].settings["options"], "n_dags": 2}
        run = replace(runs[arm], settings={**runs[arm].settings, "options": options})
        values = known_models.perform(run, table).values
        (generator,) = untrained
        untrained.clear()
        edges = [set(dag.subgraph(table.X).edges) for dag in generator.dags_]
        parents = {frozenset(dag.predecessors("recovery")) for dag in generator.dags_}
        wrong = np.mean([len(each ^ set(features.edges)) for each in edges])
        assert values["wrong_edges"] == wrong
        if arm in ("true", "true_label"):
            assert wrong == 0
        if arm == "causal_empty":
            assert wrong == features.number_of_edges()
        if arm == "true_shuffled":
            assert wrong > 0
            assert {len(each) for each in edges} == {features.number_of_edges()}
        wanted = blanket if arm == "true_label" else set(table.X)
        assert parents == {frozenset(wanted)}
        assert values["wrong_label_edges"] == len(wanted ^ blanket)


def test_both_kinds_of_test_rows_are_scored(tables, untrained):
    table = tables["random_0"]
    run = runs_of(tables, "random_0")["zero_shot"]
    values = known_models.perform(run, table).values
    shifted = table.shifted.draw(500, 0)
    assert values["accuracy"] == pytest.approx((table.y == "high").mean(), abs=0.01)
    assert values["shifted_accuracy"] == (shifted.y == "high").mean()
    assert abs(values["shifted_accuracy"] - values["accuracy"]) > 0.03
    assert not untrained


def test_arms_differ_in_their_graphs_and_in_nothing_else(tables):
    runs = runs_of(tables, "hospital")
    assert len({run.key for run in runs.values()}) == len(structure.ARMS)
    about_graphs = {"arm", "generator", "options", "search", "known_graph"}
    settings = [
        {k: v for k, v in run.settings.items() if k not in about_graphs}
        for run in runs.values()
        if run.settings["generator"]
    ]
    assert all(each == settings[0] for each in settings)
    assert settings[0]["dag"] == sorted(map(list, hospital_dag().edges))
    searching = {arm for arm, run in runs.items() if run.settings["search"]}
    assert searching == {arm for arm in structure.ARMS if arm.startswith("causal")} - {
        "causal_empty"
    }


def test_the_command_goes_on_where_it_was_and_leaves_a_manifest(tmp_path, monkeypatch, tables):
    made = []

    def perform(run, table, prepared):
        made.append(run.settings["arm"])
        scores = {"auc": 0.8 + (run.settings["arm"] == "true") * 0.1, "log_loss": 0.5}
        return Outcome(scores | {f"shifted_{name}": value for name, value in scores.items()})

    monkeypatch.setattr(known_models, "perform", perform)
    monkeypatch.setattr(structure, "known_tables", lambda csuite: {"hospital": tables["hospital"]})
    monkeypatch.setattr(structure, "ARMS", {k: structure.ARMS[k] for k in ("default", "true")})
    command = ["benchmark-structure", "--out", str(tmp_path / "runs"), "--splits", "1"]
    command += ["--workers", "0"]
    late = CliRunner().invoke(main, [*command, "--hours", "0"])
    assert "The time was up; the same command goes on." in late.output
    assert not (tmp_path / "runs" / "manifest.json").exists()
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    again = CliRunner().invoke(main, command)
    assert made == ["default", "true"] * 2  # of two sizes, once
    assert again.stdout == result.stdout
    assert "true default    same       1       2       0.1" in result.stdout
    manifest = json.loads((tmp_path / "runs" / "manifest.json").read_text())
    assert manifest["data"] == {"hospital": tables["hospital"].content_hash}
    assert manifest["settings"]["arms"] == ["default", "true"]
    assert len(Store(tmp_path / "runs").runs(KIND)) == 4


# ---- comparison ----------------------------------------------------------------------------------


def test_gains_are_paired_and_every_graph_counts_once():
    def row(dataset, split, arm, auc, loss):
        where = {"dataset": dataset, "n_train": 60, "split": split, "arm": arm}
        scores = {"auc": auc, "log_loss": loss}
        return where | scores | {"shifted_auc": auc, "shifted_log_loss": 2 * loss}

    runs = pd.DataFrame(
        [
            row("a", 0, "true", 0.9, 0.3),
            row("a", 1, "true", 0.7, 0.5),
            row("b", 0, "true", 0.6, 0.6),
            row("c", 0, "true", 1.0, 0.0),  # without a partner
            row("b", 0, "causal", 0.6, 0.5),
            row("a", 1, "causal", 0.6, 0.6),
            row("a", 0, "causal", 0.6, 0.6),
        ]
    )
    found = structure_contrasts(runs).set_index("rows")
    assert set(zip(found["better"], found["than"], strict=True)) == {("true", "causal")}
    assert (found["graphs"] == 2).all()
    assert (found["splits"] == 3).all()
    same, shifted = found.loc["same"], found.loc["shifted"]
    assert same["auc_gain"] == pytest.approx(0.1)  # 0.2 in a, 0 in b
    assert same["log_loss_gain"] == pytest.approx(0.05)  # 0.2 in a, -0.1 in b
    reach = 12.706 * 0.15  # Student's over two graphs
    ends = (same["log_loss_low"], same["log_loss_high"])
    assert ends == pytest.approx((0.05 - reach, 0.05 + reach), abs=1e-4)
    assert shifted["log_loss_gain"] == pytest.approx(0.1)
    assert shifted["auc_gain"] == pytest.approx(0.1)
