"""Benchmark runs: paired, resumable, and summed up as defined."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from causalmix.benchmarks import arms as benchmark
from causalmix.benchmarks import engine
from causalmix.benchmarks.arms import (
    ARMS,
    BenchmarkResult,
    Rows,
    make_run,
    perform,
    prepare,
    run_benchmark,
)
from causalmix.benchmarks.summary import improvements, mean_ranks, run_gaps, run_table, summarise
from causalmix.data.dataset import load_dataset
from causalmix.errors import CausalMixError, UnknownNameError
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.mixing import TaskSampler
from causalmix.finetuning.run import finetune
from causalmix.generation.purification import Purified
from causalmix.generation.registry import GENERATORS, make_generator
from causalmix.plots.results import ARM_COLOURS
from causalmix.tfm.model import load_tfm

SMALL = {
    "arms": ("zero_shot", "default", "perturbation"),
    "seeds": (0,),
    "n_train": 30,
    "n_val": 12,
    "n_test": 60,
    "config": FinetuneConfig(steps=2, validate_every=1, n_synthetic=40),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("benchmark")
    return out, run_benchmark(["iris", "wine"], out=out, **SMALL)


def test_every_run_is_there_once(finished):
    _, result = finished
    keys = result.scores[["dataset", "seed", "arm"]]
    assert len(keys) == 6
    assert not keys.duplicated().any()
    assert result.scores["auc"].between(0, 1).all()
    assert set(result.histories["arm"]) == {"default", "perturbation"}
    assert result.histories["test_auc"].notna().all()
    assert set(result.manifest["data"]) == {"iris", "wine"}
    assert list(summarise(result).index) != []


def test_the_table_of_runs_joins_scores_and_gaps(finished):
    _, result = finished
    table = run_table(result)
    assert len(table) == 6
    assert table.loc[("iris", 0, "Zero-shot"), "gap_auc":].isna().all()
    gaps = run_gaps(result.histories).set_index(["dataset", "seed", "arm"])
    run = table.loc[("wine", 0, "Default fine-tuning")]
    assert run["converged_step"] == gaps.loc[("wine", 0, "default"), "converged_step"]
    scores = result.scores.set_index(["dataset", "arm"])
    assert run["auc"] == scores.loc[("wine", "default"), "auc"]
    assert run["reason"] == scores.loc[("wine", "default"), "reason"]


def test_zero_shot_alone_has_no_gap_and_no_improvement(finished):
    _, result = finished
    zero_shot = result.scores[result.scores["arm"] == "zero_shot"]
    alone = BenchmarkResult(zero_shot, pd.DataFrame(), {})
    assert run_table(alone)["gap_auc"].isna().all()
    with pytest.raises(CausalMixError, match="besides 'zero_shot'"):
        summarise(alone)


@pytest.mark.parametrize("name", ["datasets", "arms", "seeds"])
def test_nothing_to_run_is_an_error(name):
    options = {"datasets": ["iris"]} | {name: []}
    with pytest.raises(CausalMixError, match=f"{name} is empty"):
        run_benchmark(**options)


def test_target_is_that_of_files_only(tmp_path):
    table = load_dataset("iris").frame().rename(columns={"species": "kind"})
    table.to_csv(tmp_path / "mine.csv", index=False)
    datasets = ["wine", str(tmp_path / "mine.csv")]
    result = run_benchmark(datasets, target="kind", **(SMALL | {"arms": ("zero_shot",)}))
    assert result.scores["dataset"].tolist() == ["wine", "mine"]


def test_finished_runs_are_not_run_again(finished, monkeypatch):
    out, result = finished
    monkeypatch.setattr(engine, "perform", lambda *a, **k: pytest.fail("ran again"))
    again = run_benchmark(["iris", "wine"], out=out, **SMALL)
    pd.testing.assert_frame_equal(again.scores, result.scores)
    pd.testing.assert_frame_equal(again.histories, result.histories)
    assert json.loads((out / "manifest.json").read_text())["settings"]["n_train"] == 30


def test_results_of_other_settings_are_other_runs(finished, monkeypatch):
    out, _ = finished
    made = []

    def perform(run, *_):
        made.append(run.settings["arm"])
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "perform", perform)
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(["iris"], out=out, **(SMALL | {"n_train": 31}))
    assert made == ["zero_shot"]


def test_a_run_that_fails_is_named_with_its_reason(monkeypatch):
    def fails(*_, **__):
        raise CausalMixError("No luck.")

    monkeypatch.setattr(benchmark, "finetune", fails)
    message = "The run iris split 0 default failed: .*No luck.* So did 1 others"
    with pytest.raises(CausalMixError, match=message):
        run_benchmark(["iris"], **SMALL)


def test_a_run_that_failed_is_made_again(tmp_path, monkeypatch):
    options = SMALL | {"arms": ("zero_shot", "default"), "out": tmp_path}
    with monkeypatch.context() as patched:
        patched.setattr(benchmark, "finetune", lambda *_, **__: 1 / 0)
        with pytest.raises(CausalMixError, match=r"default failed: .*division by zero"):
            run_benchmark(["iris"], **options)
    assert run_benchmark(["iris"], **options).scores["auc"].notna().all()


def test_where_nothing_can_be_written_is_found_before_a_table_is_read(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CausalMixError, match="file cannot be written: it is no folder"):
        run_benchmark(["nowhere.csv"], out=tmp_path / "file")


def test_every_generator_has_an_arm_and_some_are_purified():
    mixed = {name: arm for name, arm in ARMS.items() if arm.generator}
    assert {arm.generator for arm in mixed.values()} == set(GENERATORS)
    assert len({arm.label for arm in ARMS.values()}) == len(ARMS)
    for name, arm in mixed.items():
        generator = make_generator(arm.generator, **arm.options)
        assert isinstance(generator, Purified) == name.endswith("_purified")
    assert set(ARM_COLOURS) == set(ARMS)
    assert len(set(ARM_COLOURS.values())) == len(ARMS)


def test_a_purified_arm_is_named_in_the_table_of_runs():
    options = SMALL | {"arms": ["zero_shot", "causal_purified"]}
    result = run_benchmark(["iris"], **options)
    assert result.histories["synthetic_share"].max() > 0.3
    assert "CausalMix (purified)" in run_table(result).index.get_level_values("arm")


def settings_of(arm, table, config, *, rows, seed=1, **options):
    run = make_run(arm, ARMS[arm], table, "data", rows, seed, weights(), config, **options)
    return replace(run, settings=json.loads(json.dumps(run.settings)))


@cache
def weights():
    return load_tfm().run_hash


@pytest.fixture(scope="module")
def prepared():
    """What arms share is made once, as the engine does."""
    kept = {}

    def of(run, table):
        need = engine._need(run)
        if need not in kept:
            kept[need] = prepare(run, table)
        return kept[need]

    return of


@pytest.mark.parametrize("arm", sorted(ARMS.keys() - {"tabebm_purified"}))  # a minute
def test_every_arm_runs_to_scores_and_has_tasks_and_validations_alike(arm, prepared, monkeypatch):
    if ARMS[arm].generator == "ctgan":
        pytest.importorskip("ctgan")
    if arm in ("catboost", "lightgbm"):
        pytest.importorskip(arm)
    drawn, draw = [], TaskSampler.draw

    def watched(self, step):
        drawn.append(draw(self, step))
        return drawn[-1]

    monkeypatch.setattr(TaskSampler, "draw", watched)
    table = load_dataset("iris")
    config = FinetuneConfig(steps=1, validate_every=1, tasks_per_step=4)
    run = settings_of(arm, table, config, rows=Rows(30, 12, 40, split=1))
    shared = prepared(run, table)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of purified generators, and of discovery in few rows
        outcome = perform(run, table, shared)
    assert 0.5 < outcome.values["auc"] <= 1
    trains, repeats = ARMS[arm].method == "finetuned", ARMS[arm].repeats
    assert (outcome.curves is not None) == trains
    if trains:
        assert outcome.curves["step"] == [0, 1]
        assert [sum(batch.n_tasks for batch in step) for step in drawn] == [4] * repeats
        sizes = {(len(b.y_context), len(b.y_query)) for step in drawn for b in step}
        assert sizes == {(29, 13) if ARMS[arm].all_rows else (21, 9)}
        other = ARMS[arm].generator is not None or "rehearsal" in arm
        assert (outcome.curves["synthetic_share"][1] > 0.3) == other


def test_a_shared_search_changes_nothing():
    table, config = load_dataset("iris"), FinetuneConfig(steps=1, rule="last")
    run = settings_of("causal", table, config, rows=Rows(30, 12, 40, split=1))
    shared = prepare(run, table)
    assert perform(run, table, shared).values == perform(run, table).values
    other = settings_of("causal_shuffled", table, config, rows=Rows(30, 12, 40, split=1))
    assert other.settings["search"] == run.settings["search"]
    assert (
        settings_of("causal_empty", table, config, rows=Rows(30, 12, 40, 1)).settings["search"]
        is None
    )


def test_scores_are_those_of_the_kept_step_of_the_curve():
    """With the ensemble members of the run, whatever its seed."""
    table, rows = load_dataset("fair"), Rows(60, 20, 100, split=3)
    config = FinetuneConfig(steps=4, validate_every=2, learning_rate=1e-3, rule="last", level=1)
    run = settings_of("default", table, config, rows=rows, seed=3, record_blends=True)
    outcome = perform(run, table)
    history = pd.DataFrame(outcome.curves)
    kept = history.set_index("step").loc[outcome.values["best_step"]]
    assert outcome.values["best_step"] == 4
    assert outcome.values["auc"] == pytest.approx(kept["test_auc"], abs=1e-6)
    assert outcome.values["log_loss"] == pytest.approx(kept["test_log_loss"], abs=1e-6)
    zero_shot = perform(settings_of("zero_shot", table, config, rows=rows, seed=3), table)
    for name in ("", "half_", "mean_"):
        assert zero_shot.values["auc"] == pytest.approx(history[f"{name}test_auc"][0], abs=1e-6)
    half = replace(config, weight_share=0.5)
    blended = perform(settings_of("default", table, half, rows=rows, seed=3), table)
    assert blended.values["log_loss"] == pytest.approx(kept["half_test_log_loss"], abs=1e-6)


def test_what_is_trained_on_and_validated_with(monkeypatch):
    """All rows, or three splits of the same ones; test rows are in none of them."""
    seen = []

    def watched(tfm, split, **options):
        seen.append((split, options["record_test"]))
        return finetune(tfm, split, **options)

    monkeypatch.setattr(benchmark, "finetune", watched)
    table, rows, config = load_dataset("iris"), Rows(30, 12, 40, 1), FinetuneConfig(steps=0)
    rows_of = rows.draw(table).context()
    known = {tuple(row) for row in rows_of.X.to_numpy()}
    scores = {}
    for arm in ("default_all_rows", "default_repeated"):
        scores[arm] = perform(settings_of(arm, table, config, rows=rows), table).values["log_loss"]
    parts = [split for split, recorded in seen if not recorded]
    assert [part.train.n_rows for part in parts] == [42, 30, 30, 30]
    assert {tuple(row) for part in parts for row in part.train.X.to_numpy()} <= known
    assert len({part.train.X.to_csv() for part in parts}) == 4
    for part in parts[1:]:
        assert len(part.train.X.merge(part.val.X)) <= len(rows_of.X.merge(rows_of.X)) - 42
    untouched = perform(settings_of("zero_shot", table, config, rows=rows), table)
    assert list(scores.values()) == pytest.approx([untouched.values["log_loss"]] * 2, abs=1e-6)


def test_the_paper_arm_mixes_rows_and_generators_have_the_seed_of_the_run(monkeypatch):
    seen = {}

    def watched(tfm, split, *, generator, config, **options):
        seen.update(generator=generator, config=config)
        return finetune(tfm, split, config=replace(config, steps=0), **options)

    monkeypatch.setattr(benchmark, "finetune", watched)
    for arm, mixing in (("causal_paper", (0.5, 0.0)), ("causal", (0.0, 0.25))):
        rows = Rows(30, 12, 40, split=1)
        run = settings_of(arm, load_dataset("iris"), FinetuneConfig(rule="last"), rows=rows, seed=5)
        perform(run, load_dataset("iris"))
        config = seen["config"]
        assert (config.synthetic_share, config.synthetic_tasks) == mixing
        assert seen["generator"].seed == 5


def test_only_arms_named_for_rehearsal_have_tasks_of_the_prior(monkeypatch):
    network, seen = load_tfm().network, {}

    def watched(runs, *others, **options):
        for run in runs:
            generates = run.settings["generator"] is not None
            config = FinetuneConfig(**run.settings["config"]).settled(network, generates)
            seen[run.settings["arm"]] = (generates and config.synthetic_tasks, config.rehearsal)
        raise CausalMixError("seen")

    monkeypatch.setattr(benchmark, "compute", watched)
    with pytest.raises(CausalMixError, match="seen"):
        run_benchmark(["iris"], arms=["default", "causal", "causal_rehearsal", "smote_nc"])
    half, quarters = (0.5, 0.0), (0.25, 0.25)
    assert seen == {
        "default": (False, 0.0),
        "causal": half,
        "causal_rehearsal": quarters,
        "smote_nc": half,
    }


def test_weights_that_are_not_those_asked_for_are_refused():
    table = load_dataset("iris")
    run = settings_of("zero_shot", table, FinetuneConfig(), rows=Rows(30, 12, 40, split=1))
    other = replace(run, settings=run.settings | {"weights": "0"})
    with pytest.raises(CausalMixError, match=r"embedded has the hash .*; the run asks for 0"):
        perform(other, table)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"'smote_nc'.*Valid: zero_shot.*causal_paper"):
        run_benchmark(["iris"], arms=["smote"])
    with pytest.raises(UnknownNameError, match="'wine'"):
        run_benchmark(["wines"])


def test_two_tables_of_one_name_are_refused():
    with pytest.raises(CausalMixError, match="2 datasets have 1 names: iris"):
        run_benchmark(["iris", "iris"])


@pytest.fixture
def scores():
    """Two datasets, two seeds, three arms, with figures that can be checked by hand."""
    auc = {
        ("a", 0): (0.80, 0.90, 0.70),
        ("a", 1): (0.60, 0.80, 0.60),
        ("b", 0): (0.90, 0.85, 0.95),
        ("b", 1): (1.00, 0.90, 1.00),
    }
    arms = ("zero_shot", "default", "causal")
    rows = [
        {"dataset": d, "seed": s, "arm": arm, "auc": v, "seconds": 1.0}
        for (d, s), values in auc.items()
        for arm, v in zip(arms, values, strict=True)
    ]
    return pd.DataFrame(rows)


def test_improvements_average_splits_then_datasets(scores):
    table = improvements(scores).set_index(["dataset", "arm"])
    assert table.loc[("a", "default"), "improvement"] == pytest.approx((0.5 + 0.5) / 2)
    assert table.loc[("a", "causal"), "improvement"] == pytest.approx((-0.5 + 0.0) / 2)
    assert table.loc[("b", "default"), "improvement"] == pytest.approx((-0.5 + 0.0) / 2)
    assert table.loc[("b", "causal"), "improvement"] == pytest.approx((0.5 + 0.0) / 2)
    assert table.loc[("a", "default"), "minmax"] == 1
    assert table.loc[("b", "default"), "minmax"] == 0
    assert table.loc[("b", "causal"), "auc_change"] == pytest.approx(0.025)
    alike = scores.assign(auc=0.8 + 1e-9 * scores["arm"].map({"default": 1.0}).fillna(0.0))
    assert (improvements(alike)["minmax"] == 0.5).all()  # equal, as ranks have it


def test_ranks_are_of_the_mean_over_splits(scores):
    # a: default .85, zero-shot .70, causal .65;  b: causal .975, zero-shot .95, default .875
    assert mean_ranks(scores).to_dict() == {"default": 2.0, "zero_shot": 2.0, "causal": 2.0}


def test_improvements_need_zero_shot(scores):
    with pytest.raises(CausalMixError, match="zero_shot"):
        improvements(scores[scores["arm"] != "zero_shot"])


def test_the_summary_reports_median_spread_and_gap(scores):
    steps = [0, 4, 8, 12]
    test = [0.5, 0.6, 0.7, 0.8]
    histories = pd.DataFrame(
        {
            "dataset": "a",
            "seed": 0,
            "arm": "default",
            "step": steps,
            "val_auc": [0.5, 0.6, 0.8, 0.7],
            "test_auc": test,
            "val_log_loss": [1.0, 0.6, 0.505, 0.5],
            "test_log_loss": [1.0, 0.9, 0.8, 0.7],
        }
    )
    gaps = run_gaps(histories)
    assert gaps["gap_auc"].item() == pytest.approx(0.2)
    assert gaps["gap_log_loss"].item() == pytest.approx(0)
    assert gaps["converged_step"].item() == 8
    table = summarise(BenchmarkResult(scores, histories, {}))
    default = table.loc["Default fine-tuning"]
    assert default["median improvement"] == pytest.approx((0.5 - 0.25) / 2)
    assert default["SD of improvement"] == pytest.approx(np.std([0.5, -0.25], ddof=1))
    assert default["median gap (AUC)"] == pytest.approx(0.2)
    assert np.isnan(table.loc["Zero-shot", "median improvement"])
