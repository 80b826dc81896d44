"""Plans of benchmarks: what they ask for, what they leave out, and what they do not take."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from made_checkpoints import write_official
from made_stores import made_row

from causalmix.benchmarks import plan as module
from causalmix.benchmarks.engine import Progress
from causalmix.benchmarks.plan import (
    Plan,
    benchmark,
    expected_seconds,
    plan_runs,
    preset_names,
    read_plan,
)
from causalmix.benchmarks.store import COLUMNS, Store
from causalmix.benchmarks.store_analysis import plan_progress
from causalmix.cli import main
from causalmix.data.dataset import load_dataset
from causalmix.errors import CausalMixError, DataError
from causalmix.generation.registry import GENERATORS
from causalmix.tfm.model import load_tfm

SMALL = {"arms": {"zero_shot": None, "default": None}, "tables": ["iris"], "sizes": [[30, 12]]}


def made(tmp_path, **changes):
    path = tmp_path / "plan.yml"
    path.write_text(
        yaml.safe_dump({**SMALL, "n_test": 40, "least_test": 20} | changes, sort_keys=False)
    )
    return path


def test_runs_go_split_by_split_and_the_first_size_that_fits_is_taken(tmp_path):
    path = made(tmp_path, tables=["iris", "wine"], sizes=[[130, 20], [90, 30]], splits=2, seeds=2)
    planned = plan_runs(read_plan(path))
    order = [
        (r.settings["split"], r.table, r.settings["seed"], r.settings["arm"]) for r in planned.runs
    ]
    expected = [
        (split, table, 2 * split + k, arm)
        for split in (0, 1)
        for table in ("iris", "wine")
        for k in (0, 1)
        for arm in ("zero_shot", "default")
    ]
    assert order == expected
    sizes = {r.table: (r.settings["n_train"], r.settings["n_val"]) for r in planned.runs}
    assert sizes == {"iris": (90, 30), "wine": (130, 20)}


def test_variants_of_an_arm_differ_in_what_they_say(tmp_path):
    arms = {
        "low": {"arm": "default", "config": {"learning_rate": 1e-5}},
        "few": {"arm": "causal", "options": {"n_dags": 3}},
        "more": {"arm": "zero_shot", "members": 5},
    }
    runs = {
        r.settings["arm"]: r.settings
        for r in plan_runs(read_plan(made(tmp_path, arms=arms, splits=1))).runs
    }
    assert runs["low"]["config"]["learning_rate"] == 1e-5
    assert runs["few"]["config"]["n_synthetic"] == 3 * 30
    assert (runs["few"]["generator"], runs["few"]["options"]) == ("causal", {"n_dags": 3})
    assert runs["more"]["members"] == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": 3}, r"key of plan\.yml 'split'.*'splits'"),
        ({"arms": {"defualt": None}}, "arm 'defualt'.*'default'"),
        ({"arms": {"default": {"confg": {}}}}, "key of the arm 'default' 'confg'"),
        ({"arms": {"default": {"config": {"rate": 1}}}}, "setting in the arm 'default' 'rate'"),
        ({"arms": {"causal": {"options": {"n_dag": 1}}}}, "n_dags"),
        ({"arms": {"default": {"config": {"steps": -1}}}}, "steps must not be negative"),
        ({"arms": {}}, "arms is empty"),
        ({"tables": ["irsi"]}, "table 'irsi'.*'iris'"),
        ({"sizes": [120]}, "sizes holds 120"),
        ({"sizes": []}, "sizes is empty"),
        ({"splits": 0}, "splits is 0"),
        ({"tables": "iris"}, r"tables is 'iris'; a list is needed"),
        ({"config": {"rows_per_task": 9}}, "config has rows_per_task; a benchmark takes it from"),
        ({"arms": {"default": {"config": {"n_synthetic": 9}}}}, "arm 'default' has n_synthetic"),
        ({"arms": {"default": {"members": "two"}}}, "members of the arm 'default'"),
        ({"arms": {"default": {"repeats": 0}}}, "repeats of the arm 'default' is 0"),
        ({"arms": {"default": {"config": ["steps"]}}}, "config of the arm 'default'"),
        (
            {"arms": {"zero_shot": {"repeats": 3}}},
            "zero_shot' has repeats, but Zero-shot does",
        ),
        ({"arms": {"zero_shot": {"members": 2, "all_rows": True}}}, "has all_rows, but"),
        ({"arms": {"random_forest": {"members": 2}}}, "has members, but .* is not fine-tuned"),
        ({"arms": {"default": {"all_rows": "yes"}}}, "all_rows of the arm 'default'"),
        ({"arms": {1: {"arm": "default"}}}, "the name of an arm must be a string, got 1"),
        ({"name": "../out/x"}, "name is '../out/x'; .*leave folders out"),
        ({"tfm": 5}, "tfm must be a string"),
        ({"contrasts": [["default"]]}, "contrasts holds .*pairs of arms"),
        ({"config": {"stpes": 3}}, "stpes"),
        ({"contrasts": [["default", "causal"]]}, "arm in contrasts 'causal'"),
        ({"version": 0}, "version is 0"),
        ({"arms": {"all": {"arm": "rehearsal", "all_rows": True}}}, "'all' trains on all rows"),
        ({"data": {"iris": "12ab"}}, "its content hash is .*, that of the plan's table 12ab"),
        ({"sizes": [[140, 30]]}, "No table is left:\n  iris: 150 rows leave fewer than 20 to test"),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path, changes, message):
    with pytest.raises(CausalMixError, match=message):
        plan_runs(read_plan(made(tmp_path, **changes)))


def test_files_that_are_no_plans_are_named(tmp_path):
    with pytest.raises(CausalMixError, match=r"'smok'.*Did you mean 'smoke'"):
        read_plan("smok")
    (tmp_path / "a.yml").write_text("- 1\n")
    with pytest.raises(CausalMixError, match=r"a\.yml cannot be read as a plan of a benchmark"):
        read_plan(tmp_path / "a.yml")
    with pytest.raises(DataError, match="names no tables"):
        plan_runs(Plan(name="x", arms={"zero_shot": None}))


def test_tables_that_cannot_be_used_are_left_out_with_the_reason(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    frame = pd.DataFrame({"x": [i % 9 / 4 for i in range(200)], "target": ["a", "b"] * 100})
    frame.to_csv(folder / "good.csv", index=False)
    frame.head(40).to_csv(folder / "short.csv", index=False)
    frame.rename(columns={"target": "y"}).to_csv(folder / "none.csv", index=False)
    rare = frame.assign(target=["b", "b", *["a"] * 198])  # one to train on, one to validate
    rare.to_csv(folder / "rare.csv", index=False)
    planned = plan_runs(read_plan(made(tmp_path, tables=[])), folder)
    assert set(planned.tables) == {"good"}
    assert "its test rows hold a single class" in planned.skipped["rare"]
    assert "40 rows leave fewer than 20" in planned.skipped["short"]
    assert "target" in planned.skipped["none"]


def test_an_arm_whose_library_is_not_installed_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_why_not", lambda arm: "no luck" if arm.generator else "")
    planned = plan_runs(read_plan(made(tmp_path, arms={"zero_shot": None, "smote_nc": None})))
    assert planned.skipped == {"smote_nc": "no luck"}
    assert {run.settings["arm"] for run in planned.runs} == {"zero_shot"}


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_plans(name):
    plan = read_plan(name)
    assert plan.name == name
    assert plan.arms_by_name["zero_shot"].method == "zero_shot"


def test_the_frozen_plans_are_as_they_were_frozen():
    """Whoever changes one raises its version, and puts the new content here."""
    frozen = {name: read_plan(name) for name in preset_names() if name.startswith("paper")}
    assert {plan.version for plan in frozen.values()} == {1}
    content = json.dumps({name: asdict(plan) for name, plan in frozen.items()}, sort_keys=True)
    assert hashlib.sha256(content.encode()).hexdigest()[:16] == "d2a61a44582f05dd"


def test_rows_by_column_have_a_third_of_the_frozen_tables():
    plan, frozen = read_plan("by_column"), read_plan("paper")
    assert (plan.name, plan.version, len(plan.tables)) == ("by_column", 1, len(frozen.data) // 3)
    assert set(plan.tables) <= set(frozen.data)
    assert (plan.config, plan.data, plan.sizes) == (frozen.config, frozen.data, frozen.sizes)
    made = {arm.generator for arm in plan.arms_by_name.values()}
    assert {name for name in GENERATORS if name.startswith("tfm_conditional")} <= made


def test_the_time_is_estimated_by_what_was_measured(tmp_path):
    runs = plan_runs(read_plan(made(tmp_path))).runs
    store = Store()
    assert expected_seconds(runs, store) == [run.cost for run in runs]
    for run, seconds in zip(runs[:2], (3.0, 50.0), strict=True):
        row = dict.fromkeys(COLUMNS, "{}") | {"key": run.key, "kind": run.kind, "status": "ok"}
        row |= {"settings": json.dumps(run.settings), "seconds": seconds, "finished": 0.0}
        store.add(row)
    assert expected_seconds(runs, store) == [3.0, 50.0] * 5


def test_a_benchmark_is_planned_run_and_summed_up(tmp_path, monkeypatch):
    path = made(tmp_path, arms={"zero_shot": None, "logistic_regression": None}, splits=2)
    out = tmp_path / "store"
    said = CliRunner().invoke(main, ["benchmark", str(path), "--out", str(out), "--dry-run"])
    assert "4 runs: 1 tables, 2 arms. 0 are there already." in said.output
    assert "The 4 others take about 1 min with" in said.output
    assert not out.exists()
    summary, done = benchmark(path, out, workers=0)
    assert done == Progress(4, 0, 0)
    assert "4 runs are done, 0 failed, 0 are missing." in summary
    assert "logistic_regression" in summary
    monkeypatch.setattr(module, "compute", lambda *a, **k: Progress(3, 1, 0))
    assert "4 are there already" in benchmark(path, out, workers=0, dry_run=True)[0]


def test_failed_runs_are_announced_where_they_are_made_again(tmp_path):
    path, out = made(tmp_path, arms={"zero_shot": None}, splits=2), tmp_path / "store"
    store = Store(out)
    for run in plan_runs(read_plan(path)).runs:
        row = dict.fromkeys(COLUMNS, "{}") | {"key": run.key, "kind": run.kind, "status": "failed"}
        row |= {"settings": json.dumps(run.settings), "error": "E: so", "finished": 0.0}
        store.add(row | {"seconds": 1.0})
    store.flush()
    assert "2 are there already" in benchmark(path, out, dry_run=True)[0]
    command = ["benchmark", str(path), "--out", str(out), "--workers", "0"]
    said = CliRunner().invoke(main, command)
    assert "0 runs are done, 2 failed, 0 are missing." in said.output
    assert said.exit_code == 1
    assert CliRunner().invoke(main, [*command, "--dry-run"]).exit_code == 0
    again, _ = benchmark(path, out, dry_run=True, retry=True, scheduler="tcp://far:1")
    assert "0 are there already.\nThe 2 others take about 1 min of one core." in again


def test_progress_counts_each_run_of_a_plan_once(tmp_path):
    (tmp_path / "plan-1.yml").write_text(
        yaml.safe_dump(
            {"arms": {"default": None}, "splits": 2, "version": 1, "sizes": [[60, 20]]}
            | {"config": {"steps": 8}}
        )
    )
    store = Store(tmp_path)
    assert plan_progress(store) == {"plan-1": (0, 0, 0)}  # no tables yet
    pd.DataFrame(
        [
            {
                "dataset": name,
                "data": name,
                "rows": 9,
                "features": 2,
                "categorical": 0,
                "classes": 2,
            }
            for name in ("t0", "t1")
        ]
    ).to_csv(tmp_path / "tables.csv", index=False)
    for n_test in (100, 200):  # the same run, tested on more rows
        store.add(made_row("default", "t0", 0, 0.8, n_test=n_test))
    store.add(made_row("default", "t1", 0, 0.8) | {"status": "failed", "error": "ValueError: no"})
    assert plan_progress(store) == {"plan-1": (1, 1, 4)}
    # Runs of other plans in the same store: another setting, another seed.
    store.add(made_row("default", "t1", 1, 0.8, config={"steps": 9}))
    store.add(made_row("default", "t1", 1, 0.8, seed=5))
    assert plan_progress(store) == {"plan-1": (1, 1, 4)}
    store.add(made_row("default", "t1", 1, 0.8, config={"steps": 8}))
    assert plan_progress(store) == {"plan-1": (2, 1, 4)}


def test_a_frozen_plan_stays_with_its_runs_and_is_not_replaced_by_another(tmp_path):
    arms, out = {"zero_shot": None, "logistic_regression": None}, tmp_path / "store"
    path = made(tmp_path, arms=arms, splits=1, version=1)
    benchmark(path, out, workers=0)
    assert read_plan(out / "plan-1.yml").arms == read_plan(path).arms
    benchmark(path, out, workers=0)
    made(tmp_path, arms=arms, splits=2, version=1)
    with pytest.raises(CausalMixError, match=r"plan-1\.yml is another plan.*Raise the version"):
        benchmark(path, out, workers=0)
    made(tmp_path, arms=arms, splits=2, version=2)
    assert "2 are there already" in benchmark(path, out, workers=0, dry_run=True)[0]
    assert len(Store(out)) == 2


@pytest.mark.parametrize("wrong", [{"workers": -3}, {"hours": float("nan")}, {"hours": -1}])
def test_a_benchmark_that_cannot_begin_leaves_nothing(tmp_path, wrong):
    with pytest.raises(CausalMixError, match=next(iter(wrong))):
        benchmark(made(tmp_path), tmp_path / "store", **wrong)
    assert not (tmp_path / "store").exists()


def test_a_plan_extends_another(tmp_path):
    made(tmp_path, splits=3, config={"steps": 3})
    child = tmp_path / "child.yml"
    child.write_text("extends: plan.yml\nsplits: 2\n")
    plan, parent = read_plan(child), read_plan(tmp_path / "plan.yml")
    assert plan == replace(parent, name="child", splits=2)
    child.write_text("extends: smoke\ntables: [iris]\n")
    assert read_plan(child) == replace(read_plan("smoke"), name="child", tables=["iris"])
    (tmp_path / "sub").mkdir()
    for circle in ("child.yml", "sub/../child.yml"):
        child.write_text(f"extends: {circle}\n")
        with pytest.raises(CausalMixError, match=r"child\.yml .*it extends itself"):
            read_plan(child)
    for wrong in ("5", "[smoke]"):
        child.write_text(f"extends: {wrong}\n")
        with pytest.raises(CausalMixError, match="extends"):
            read_plan(child)
    child.write_text("splits: 1\narms:\n  default:\nsplits: 3\n")
    with pytest.raises(CausalMixError, match="'splits' stands there twice, again in line 4"):
        read_plan(child)
    child.write_text("arms: {no: {arm: default, config: {learning_rate: 1e-4}}}\n")
    (arm,) = read_plan(child).arms_by_name.items()
    assert (arm[0], arm[1].config["learning_rate"]) == ("no", 1e-4)
    child.write_text("tables: [wine]\n")
    with pytest.raises(CausalMixError, match=r"child\.yml names no arms: write arms:"):
        read_plan(child)


@pytest.mark.parametrize("version", ["tabpfn_v2", "tabpfn_v3"])
def test_the_frozen_benchmark_runs_on_official_weights_as_the_book_says(tmp_path, version):
    page = (Path(__file__).parents[2] / "book" / "model_card.md").read_text(encoding="utf-8")
    (recipe,) = (each for each in re.findall(r"```yaml\n(.*?)```", page, re.S) if "extends" in each)
    keys, frozen = yaml.safe_load(recipe), read_plan("paper")
    if version == "tabpfn_v3":
        del keys["config"]
    (tmp_path / "official.yml").write_text(yaml.safe_dump(keys))
    plan = read_plan(tmp_path / "official.yml")
    assert replace(plan, name="paper", tfm="embedded", config=frozen.config) == frozen
    assert set(plan.config) == set(frozen.config)
    weights = str(write_official(version, tmp_path))
    arms, quick = ("zero_shot", "rehearsal", "smote_nc"), {"steps": 1, "validate_every": 1}
    keys |= {"tfm": weights, "data": {}, "arms": dict.fromkeys(arms), "contrasts": []}
    keys |= {"config": {**plan.config, **quick}, "sizes": [[30, 12]], "n_test": 20, "splits": 1}
    (tmp_path / "official.yml").write_text(yaml.safe_dump(keys | {"tables": ["iris"]}))
    summary, _ = benchmark(tmp_path / "official.yml", tmp_path / "store", workers=0, device="cpu")
    assert "3 runs are done, 0 failed, 0 are missing." in summary
    assert set(Store(tmp_path / "store").runs()["weights"]) == {load_tfm(weights).run_hash}


def test_tables_with_hashes_are_those_of_the_plan(tmp_path):
    known = load_dataset("iris").content_hash
    path = made(tmp_path, tables=[], data={"iris": known})
    assert set(plan_runs(read_plan(path)).tables) == {"iris"}
