"""Benchmark runs: paired, resumable, and summed up as defined."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from causalmix.benchmarks import arms as benchmark
from causalmix.benchmarks.arms import ARMS, BenchmarkResult, run_benchmark
from causalmix.benchmarks.summary import improvements, mean_ranks, run_gaps, run_table, summarise
from causalmix.data.dataset import load_dataset
from causalmix.data.splitting import low_data_split
from causalmix.errors import CausalMixError, UnknownNameError
from causalmix.finetuning.config import FinetuneConfig
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
    monkeypatch.setattr(benchmark, "run_arm", lambda *a, **k: pytest.fail("ran again"))
    again = run_benchmark(["iris", "wine"], out=out, **SMALL)
    pd.testing.assert_frame_equal(again.scores, result.scores)
    pd.testing.assert_frame_equal(
        again.histories.reset_index(drop=True), result.histories.reset_index(drop=True)
    )
    pd.testing.assert_frame_equal(pd.read_csv(out / "scores.csv"), result.scores)
    assert json.loads((out / "manifest.json").read_text())["settings"]["n_train"] == 30


def test_an_interrupted_benchmark_resumes(finished, tmp_path, monkeypatch):
    _, result = finished
    run_arm, calls = benchmark.run_arm, []

    def dies_at_the_third(arm, split, **options):
        calls.append(arm)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run_arm(arm, split, **options)

    monkeypatch.setattr(benchmark, "run_arm", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(["iris", "wine"], out=tmp_path, **SMALL)
    resumed = run_benchmark(["iris", "wine"], out=tmp_path, **SMALL)
    assert len(calls) == 3 + 4  # two were kept
    columns = ["dataset", "arm", "auc", "log_loss", "best_step"]
    pd.testing.assert_frame_equal(resumed.scores[columns], result.scores[columns])


def test_results_of_other_settings_are_not_mixed_in(finished):
    out, _ = finished
    with pytest.raises(CausalMixError, match="n_train"):
        run_benchmark(["iris"], out=out, **(SMALL | {"n_train": 31}))


@pytest.mark.parametrize("name", ["settings.json", "runs/wine-0.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_damaged_files_are_named(tmp_path, name, content):
    (tmp_path / "runs").mkdir()
    (tmp_path / name).write_text(content)
    message = r"results of other settings|settings\.json" if "settings" in name else r"wine-0\.json"
    with pytest.raises(CausalMixError, match=message):
        run_benchmark(["wine"], arms=["zero_shot"], seeds=[0], out=tmp_path)


def test_results_of_another_kind_are_left_alone(tmp_path):
    (tmp_path / "scores.csv").write_text("mine")
    with pytest.raises(CausalMixError, match=r"holds a scores\.csv that no benchmark has written"):
        run_benchmark(["wine"], arms=["zero_shot"], seeds=[0], out=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["scores.csv"]


def test_where_nothing_can_be_written_is_found_before_a_table_is_read(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CausalMixError, match="file cannot be written: it is no folder"):
        run_benchmark(["nowhere.csv"], out=tmp_path / "file")


def test_every_generator_has_an_arm_with_and_without_purification():
    mixed = {name: arm for name, arm in ARMS.items() if arm.generator}
    assert set(mixed) == {f"{name}{end}" for name in GENERATORS for end in ("", "_purified")}
    assert len({arm.label for arm in ARMS.values()}) == len(ARMS)
    for name, arm in mixed.items():
        generator = make_generator(arm.generator, **arm.options)
        assert isinstance(generator, Purified) == name.endswith("_purified")
    assert set(ARM_COLOURS) == set(ARMS)
    assert len(set(ARM_COLOURS.values())) == len(ARMS)


def test_a_purified_arm_is_named_in_the_table_of_runs():
    options = SMALL | {"arms": ["zero_shot", "mixup_purified"]}
    result = run_benchmark(["iris"], **options)
    assert result.histories["synthetic_share"].max() > 0.3
    assert "Mixup, purified" in run_table(result).index.get_level_values("arm")


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_runs_to_scores_and_a_reason(arm):
    if ARMS[arm].generator == "ctgan":
        pytest.importorskip("ctgan")
    split = low_data_split(load_dataset("iris"), 30, 12, seed=1, n_test=40)
    config = FinetuneConfig(steps=1, n_synthetic=60, n_synthetic_val=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of purified generators, and of discovery in few rows
        scores, history = benchmark.run_arm(arm, split, tfm=load_tfm(), config=config)
    assert 0.5 < scores["auc"] <= 1
    assert (scores["reason"] == "Nothing was trained.") == history.empty == (arm == "zero_shot")
    if ARMS[arm].generator:
        assert history["synthetic_share"].iloc[1] > 0.3


def test_scores_are_those_of_the_kept_step_of_the_curve():
    """With the ensemble members of the run, whatever its seed."""
    split = low_data_split(load_dataset("fair"), 60, 20, seed=3, n_test=100)
    config = FinetuneConfig(steps=4, validate_every=2, learning_rate=1e-3, rule="last", level=1)
    scores, history = benchmark.run_arm("default", split, tfm=load_tfm(), config=config)
    kept = history.set_index("step").loc[scores["best_step"]]
    assert scores["best_step"] == 4
    assert scores["auc"] == pytest.approx(kept["test_auc"], abs=1e-6)
    assert scores["log_loss"] == pytest.approx(kept["test_log_loss"], abs=1e-6)
    zero_shot, _ = benchmark.run_arm("zero_shot", split, tfm=load_tfm(), config=config)
    assert zero_shot["auc"] == pytest.approx(history["test_auc"].iloc[0], abs=1e-6)


def test_the_paper_arm_mixes_rows_and_generators_get_the_seed_of_the_split(monkeypatch):
    seen = {}

    def watched(tfm, split, *, generator, config, **options):
        seen.update(generator=generator, config=config)
        return finetune(tfm, split, config=replace(config, steps=0), **options)

    monkeypatch.setattr(benchmark, "finetune", watched)
    split = low_data_split(load_dataset("iris"), 30, 12, seed=5, n_test=40)
    for arm, mixing in (("causal_paper", (0.5, 0.0)), ("causal", (0.0, 0.5))):
        benchmark.run_arm(arm, split, tfm=load_tfm(), config=FinetuneConfig())
        config = seen["config"]
        assert (config.synthetic_share, config.synthetic_tasks) == mixing
        assert seen["generator"].seed == 5


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"'smote_nc'.*Valid: zero_shot.*tabebm_purified"):
        run_benchmark(["iris"], arms=["smote"])
    with pytest.raises(UnknownNameError, match="'wine'"):
        run_benchmark(["wines"])


def test_two_tables_of_one_name_are_refused():
    with pytest.raises(CausalMixError, match="share a name: iris, iris"):
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
