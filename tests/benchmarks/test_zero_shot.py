"""The comparison of a checkpoint with the usual classifiers: scores, ranks, resuming, bad input."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from scipy import stats
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tabpfn import TabPFNClassifier

from causalmix import cli
from causalmix.benchmarks import zero_shot as evaluation
from causalmix.benchmarks.comparison import (
    bins_of,
    bootstrap_interval,
    compare_methods,
    mean_and_interval,
    mean_ranks,
)
from causalmix.benchmarks.engine import KINDS
from causalmix.benchmarks.speed import measure_speed
from causalmix.benchmarks.zero_shot import DEFAULT_METHODS, TRAITS, evaluate_tfm
from causalmix.data.dataset import TabularDataset
from causalmix.data.splitting import holdout_split
from causalmix.errors import CausalMixError, DataError, UnknownNameError
from causalmix.quality.baselines import BASELINES, fit_predict_proba
from causalmix.tfm.model import EMBEDDED_CHECKPOINT, load_tfm


def make_table(n: int, n_classes: int = 2, seed: int = 0, gaps: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, n))
    colour = rng.choice(["red", "green", "blue"], n)
    signal = x + (colour == "red") + rng.normal(size=n)
    code = pd.qcut(signal, n_classes, labels=False)
    frame = pd.DataFrame({"x": x, "z": z, "colour": colour, "target": [f"c{k}" for k in code]})
    if gaps:
        frame.loc[rng.random(n) < 0.2, ["x", "colour"]] = None
    return frame


@pytest.fixture
def folder(tmp_path):
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    make_table(160).to_csv(data / "two.csv", index=False)
    make_table(150, 3, seed=1, gaps=True).to_parquet(data / "deep" / "three.parquet")
    return data


def small(folder, out, **options):
    return evaluate_tfm(folder, out, **({"n_train": [30], "seeds": 2, "n_test": 50} | options))


# Scores


def by_hand(name, seed):
    """The baseline as scikit-learn's or XGBoost's own documentation would write it."""
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    scaled = ColumnTransformer([("n", StandardScaler(), ["x", "z"]), ("c", one_hot, ["colour"])])
    plain = ColumnTransformer([("n", "passthrough", ["x", "z"]), ("c", one_hot, ["colour"])])
    if name == "logistic_regression":
        return make_pipeline(scaled, LogisticRegression(max_iter=2000))
    if name == "knn":
        return make_pipeline(scaled, KNeighborsClassifier())
    if name == "random_forest":
        return make_pipeline(plain, RandomForestClassifier(random_state=seed))
    if name == "xgboost":
        from xgboost import XGBClassifier

        return XGBClassifier(random_state=seed, enable_categorical=True)
    return HistGradientBoostingClassifier(random_state=seed, categorical_features="from_dtype")


@pytest.mark.parametrize("n_classes", [2, 3])
def test_rows_are_what_the_libraries_give_by_hand(n_classes, tmp_path):
    frame = make_table(200, n_classes)
    (tmp_path / "data").mkdir()
    frame.to_csv(tmp_path / "data" / "made.csv", index=False)
    rows = small(tmp_path / "data", tmp_path / "out.csv", seeds=1, n_train=[60]).rows
    train, test = holdout_split(TabularDataset.from_frame(frame, "target"), 60, 50, 0)
    y_train, y_test = (part.y.cat.codes.to_numpy(dtype=int) for part in (train, test))
    assert list(rows["method"]) == list(DEFAULT_METHODS)
    for row in rows.itertuples():
        if row.method == "tfm":
            model = TabPFNClassifier(
                model_path=str(EMBEDDED_CHECKPOINT),
                device="cpu",
                inference_precision=torch.float32,
            )
        else:
            model = by_hand(row.method, seed=0)
        proba = model.fit(train.X, y_train).predict_proba(test.X)
        score = proba[:, 1] if n_classes == 2 else proba
        tolerance = 1e-4 if row.method == "tfm" else 2e-6
        assert row.auc == pytest.approx(
            roc_auc_score(y_test, score, multi_class="ovo"), abs=tolerance
        ), row.method
        expected = log_loss(y_test, np.clip(proba, 1e-12, None), labels=range(n_classes))
        assert row.log_loss == pytest.approx(expected, abs=1e-4), row.method
        assert row.accuracy == pytest.approx(accuracy_score(y_test, proba.argmax(1)), abs=0.021)
        assert (row.n_test, row.dataset) == (50, "made")


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_take_gaps_unseen_levels_and_columns_of_many_levels(name):
    if BASELINES[name].extra == "boosting":
        pytest.importorskip(name)
    frame = make_table(600, 3, gaps=True)
    frame["place"] = [f"p{i % 298}" for i in range(600)]  # more than a histogram has bins
    frame["nearly"] = np.where(np.arange(600) < 2, np.arange(600.0), np.nan)
    table = TabularDataset.from_frame(frame, "target", categorical=["place"], numeric=["nearly"])
    train, test = holdout_split(table, 400, 100, seed=1)
    assert not train.X["nearly"].notna().any()  # no value to learn a median from
    proba = fit_predict_proba(name, train, test.X)
    assert proba.shape == (100, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
    assert roc_auc_score(test.y.cat.codes, proba, multi_class="ovo") > 0.55


def test_all_methods_share_splits_and_every_class_is_trained_on():
    y = pd.Series(pd.Categorical(["a"] * 150 + ["b"] * 40 + ["c"] * 9 + ["d"]))
    table = TabularDataset("t", pd.DataFrame({"row": np.arange(200)}), y, "made up")
    train, test = holdout_split(table, 40, 60, seed=1)
    assert not set(train.X["row"]) & set(test.X["row"])
    assert train.y.value_counts().to_dict() == {"a": 30, "b": 8, "c": 1, "d": 1}
    assert test.y.value_counts().to_dict() == {"a": 45, "b": 12, "c": 3, "d": 0}
    again, _ = holdout_split(table, 40, 60, seed=1)
    assert again.content_hash == train.content_hash
    assert holdout_split(table, 40, 60, seed=2)[0].content_hash != train.content_hash
    assert holdout_split(table, 40, 10_000, seed=1)[1].n_rows == 160
    for n_train, n_test in ((3, 10), (0, 10), (40, 0), (200, 10)):
        with pytest.raises(DataError):
            holdout_split(table, n_train, n_test, seed=0)


# Comparison


def long(auc: dict[str, list[float]], n_train: int = 64) -> pd.DataFrame:
    """Rows of two seeds around the given scores, a dataset each."""
    return pd.DataFrame(
        [
            {
                "dataset": f"d{i}",
                "n_train": n_train,
                "seed": seed,
                "method": method,
                "auc": value + (0.02 if seed else -0.02),
                "log_loss": 1 - value,
                "accuracy": value,
                "seconds": 1.0 + i,
            }
            for method, values in auc.items()
            for i, value in enumerate(values)
            for seed in (0, 1)
        ]
    )


def test_ranks_share_ties_and_the_best_has_the_lowest():
    auc = pd.DataFrame({"a": [0.9, 0.8, 0.7], "b": [0.9, 0.7, 0.8], "c": [0.5, 0.6, 0.8]})
    # Ranks by hand: d0 1.5 1.5 3; d1 1 2 3; d2 3 1.5 1.5.
    assert mean_ranks(auc).to_dict() == pytest.approx({"a": 5.5 / 3, "b": 5 / 3, "c": 7.5 / 3})
    assert mean_ranks(auc).sum() == pytest.approx(6)  # 1 + 2 + 3, whatever the ties


def test_differences_are_paired_and_counted():
    rows = long({"ours": [0.8, 0.7, 0.6, 0.9], "theirs": [0.7, 0.8, 0.6, 0.7]})
    table = compare_methods(rows, "ours").set_index("method")
    row = table.loc["theirs"]
    assert row["auc_difference"] == pytest.approx(0.05)
    assert row["log_loss_difference"] == pytest.approx(-0.05)
    assert (row["wins"], row["ties"], row["losses"]) == (2, 1, 1)
    assert row["auc_low"] < 0.05 < row["auc_high"]
    assert table.loc["ours", "auc"] == pytest.approx(0.75)
    assert table["mean_rank"].to_dict() == pytest.approx({"ours": 5.5 / 4, "theirs": 6.5 / 4})
    assert list(table["datasets"]) == [4, 4]
    assert table.loc["ours", ["auc_difference", "wins"]].isna().all()
    assert table.loc["theirs", "seconds"] == 2.5


def test_sizes_are_summed_up_apart_and_a_missing_reference_leaves_no_differences():
    rows = pd.concat([long({"a": [0.8], "b": [0.7]}), long({"a": [0.6], "b": [0.9]}, 128)])
    table = compare_methods(rows, "absent")
    assert list(table["n_train"]) == [64, 64, 128, 128]
    assert list(table["method"]) == ["a", "b", "b", "a"]
    assert table["auc_difference"].isna().all()


def test_bootstrap_interval_has_the_width_of_the_normal_one():
    values = np.random.default_rng(0).normal(0.3, 1.0, size=200)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / np.sqrt(200)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
    assert bootstrap_interval(np.array([0.2])) == (0.2, 0.2)


def test_an_interval_over_clusters_has_the_width_of_their_means():
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(60), 10)
    values = rng.normal(size=60)[clusters] + 0.3 * rng.normal(size=600)
    low, high = bootstrap_interval(values, clusters=clusters)
    means = values.reshape(60, 10).mean(axis=1)
    # Redrawing values within clusters adds their noise once more.
    half = 1.96 * np.sqrt((means.var() + 0.3**2 / 10) / 60)
    assert (low, high) == pytest.approx((means.mean() - half, means.mean() + half), abs=0.02)
    alone = bootstrap_interval(values)
    assert high - low > 2.5 * (alone[1] - alone[0])
    assert bootstrap_interval(values, clusters=["graph"] * 600) == alone


def test_clusters_count_once_whatever_their_size():
    values, clusters = np.array([0.0, 0.0, 0.0, 1.0]), ["a", "a", "a", "b"]
    found = mean_and_interval(values, "mean", clusters=clusters)
    reach = stats.t.ppf(0.975, 1) * 0.5
    assert list(found.values()) == pytest.approx([0.5, 0.5 - reach, 0.5 + reach])
    less = mean_and_interval(values, "mean", clusters=clusters, references={"a": 0.5, "b": 1.5})
    assert list(less.values()) == pytest.approx([-0.5, -0.5, -0.5])


@pytest.mark.parametrize("size", [1, 10])
def test_an_interval_over_six_holds_the_truth_as_often_as_it_says(size, monkeypatch):
    """The bootstrap alone holds it in 85 of 100, of tables as of clusters of them."""
    monkeypatch.setattr("causalmix.benchmarks.comparison.N_BOOTSTRAP", 300)
    rng, clusters, held = np.random.default_rng(0), np.repeat(np.arange(6), size), 0
    for _ in range(400):
        values = rng.normal(size=6)[clusters] + 0.5 * rng.normal(size=len(clusters))
        low, high = bootstrap_interval(values, clusters=clusters)
        held += low < 0 < high
    assert 0.92 < held / 400 < 0.99


def test_an_interval_over_ten_tables_is_at_least_student_s():
    values = np.random.default_rng(0).normal(size=10)
    reach = stats.t.ppf(0.975, 9) * values.std(ddof=1) / np.sqrt(10)
    found = bootstrap_interval(values)
    assert found == pytest.approx((values.mean() - reach, values.mean() + reach))
    assert bootstrap_interval(values, statistic=np.median)[0] >= values.min()  # has no t interval


# Files


def test_files_hold_rows_summary_and_manifest(folder, tmp_path):
    result = small(folder, tmp_path / "new" / "out.csv", tuning=["two"])
    written = pd.read_csv(tmp_path / "new" / "out.csv")
    assert len(written) == 2 * 2 * len(DEFAULT_METHODS)
    assert set(written["dataset"]) == {"two", "three"}
    assert written["auc"].between(0.5, 1).mean() > 0.9
    summary = pd.read_csv(tmp_path / "new" / "out_summary.csv")
    assert summary.groupby("tables")["method"].apply(set).to_dict() == {
        "held-out": set(DEFAULT_METHODS),
        "tuning": set(DEFAULT_METHODS),
        "all": set(DEFAULT_METHODS),
    }
    manifest = json.loads((tmp_path / "new" / "out_manifest.json").read_text())
    assert manifest["settings"]["tuning"] == ["two"]
    assert manifest["settings"]["checkpoint"]["content_hash"] == load_tfm().content_hash
    assert set(manifest["data"]) == {"two", "three"}
    assert str(tmp_path) not in json.dumps(manifest)
    assert "held-out" in evaluation.describe(result)


@pytest.fixture
def made(monkeypatch):
    """Name the runs that are made."""
    labels, perform = [], evaluation.perform

    def noted(run, *arguments):
        labels.append((run.settings["dataset"], run.settings["method"]))
        return perform(run, *arguments)

    monkeypatch.setattr(evaluation, "perform", noted)
    return labels


def test_what_is_done_is_not_done_again(folder, tmp_path, made):
    out = tmp_path / "out.csv"
    part = small(folder, out, seeds=1).rows
    made.clear()
    whole = small(folder, out)
    assert len(made) == len(part)
    pd.testing.assert_frame_equal(whole.rows.query("seed == 0").reset_index(drop=True), part)
    made.clear()
    before = out.read_text()
    small(folder, out)
    assert not made
    assert out.read_text() == before


def test_another_checkpoint_or_table_replaces_only_its_own_rows(folder, tmp_path, made):
    out = tmp_path / "out.csv"
    before = small(folder, out, seeds=1).rows
    other = load_tfm()
    next(other.network.parameters()).data.mul_(1.5)
    path = other.save(tmp_path / "other.safetensors")
    made.clear()
    after = small(folder, out, seeds=1, tfm=path).rows
    assert sorted(made) == [("three", "tfm"), ("two", "tfm")]
    assert len(pd.read_csv(out)) == len(before)
    is_tfm = after["method"] == "tfm"
    pd.testing.assert_frame_equal(after[~is_tfm], before[~is_tfm])
    assert (after.loc[is_tfm, "auc"] != before.loc[is_tfm, "auc"]).all()
    assert set(after.loc[is_tfm, "model"]) == {other.run_hash}

    made.clear()
    make_table(160, seed=9).to_csv(folder / "two.csv", index=False)
    small(folder, out, seeds=1, tfm=path)
    assert made == [("two", method) for method in DEFAULT_METHODS]
    assert len(pd.read_csv(out)) == len(before)


def test_rows_of_other_sizes_are_kept_and_out_of_the_file(folder, tmp_path, made):
    out = tmp_path / "out.csv"
    options = {"methods": ["knn", "logistic_regression"], "seeds": 1}
    small(folder, out, **options)
    result = small(folder, out, n_train=[40], **options)
    assert set(pd.read_csv(out)["n_train"]) == {40}
    assert set(result.rows["n_train"]) == set(result.summary["n_train"]) == {40}
    made.clear()
    assert set(small(folder, out, n_train=[30, 40], **options).rows["n_train"]) == {30, 40}
    assert not made


def test_the_code_of_a_classifier_is_not_that_of_the_checkpoint():
    assert "tfm" in KINDS["zero_shot"].code
    assert not {"tfm", "finetuning/run"} & set(KINDS["baseline"].code)


def test_workers_give_the_same_rows(folder, tmp_path):
    options = {"methods": ["random_forest", "tfm"], "seeds": 1}
    one = small(folder, tmp_path / "one.csv", **options).rows
    two = small(folder, tmp_path / "two.csv", workers=1, **options).rows
    timeless = one.columns.drop("seconds")
    pd.testing.assert_frame_equal(one[timeless], two[timeless], atol=1e-5)


def test_other_inference_settings_are_methods_of_their_own(folder, tmp_path):
    own = load_tfm().inference_config
    same = f"tfm@{own.SOFTMAX_TEMPERATURE}"
    methods = ["tfm", "tfm:1/none-numeric", "tfm:1@0.5", same]
    rows = small(folder, tmp_path / "out.csv", methods=methods, seeds=1).rows
    by_method = rows.pivot_table(index=["dataset", "n_train"], columns="method", values="log_loss")
    assert set(by_method) == set(methods)
    pd.testing.assert_series_equal(by_method["tfm"], by_method[same], check_names=False)
    for other in methods[1:3]:
        assert (by_method["tfm"] - by_method[other]).abs().min() > 1e-3
    assert rows.groupby("method")["model"].nunique().eq(1).all()
    assert rows["model"].nunique() == 3
    with pytest.raises(CausalMixError, match=r"temperature of 'tfm@0\.0'"):  # before all else
        small(folder, tmp_path / "wrong.csv", methods=["tfm@0.0"])
    for wrong in ("tfm:0", "tfm:x", "tfm@", "tfm8", "tfm/"):
        with pytest.raises(UnknownNameError, match=re.escape(wrong)):
            small(folder, tmp_path / "wrong.csv", methods=[wrong])


def test_other_preparations_are_those_of_a_checkpoint_that_asks_for_them(folder, tmp_path):
    model = load_tfm()
    own = model.inference_config.PREPROCESS_TRANSFORMS[0]
    kinds = [("power", "ordinal"), ("none", "onehot")]
    asked = [dataclasses.replace(own, name=a, categorical_name=b) for a, b in kinds]
    path = model.with_settings(PREPROCESS_TRANSFORMS=asked).save(tmp_path / "one.safetensors")
    name = "tfm/power-ordinal+none-onehot"
    variant = small(folder, tmp_path / "1.csv", methods=[name], seeds=1).rows
    alone = small(folder, tmp_path / "2.csv", methods=["tfm"], tfm=path, seeds=1).rows
    assert list(variant["auc"]) == list(alone["auc"])
    assert list(variant["model"]) == list(alone["model"])
    for wrong in ("kernel-onehot", "none-kernel"):
        with pytest.raises(UnknownNameError, match="'kernel'"):
            small(folder, tmp_path / "3.csv", methods=[f"tfm/{wrong}"])


def test_calibration_is_recorded_on_request(folder, tmp_path):
    options = {"methods": ["knn"], "seeds": 1, "calibration": True}
    rows = small(folder, tmp_path / "out.csv", **options).rows
    counts = bins_of(rows, "rows")
    assert (counts.sum(axis=1) == rows["n_test"]).all()
    right = (bins_of(rows, "accuracy").fillna(0) * counts).sum(axis=1) / rows["n_test"]
    assert list(right) == pytest.approx(list(rows["accuracy"]), abs=1e-5)
    again = small(folder, tmp_path / "out.csv", **options).rows
    pd.testing.assert_frame_equal(rows, again)


def test_a_share_of_the_rows_is_a_size_of_every_table(folder, tmp_path):
    result = small(folder, tmp_path / "out.csv", share=0.5, methods=["knn", "tfm"], seeds=1)
    sizes = result.rows.groupby("dataset")["n_train"].unique()
    assert sizes.map(list).to_dict() == {"two": [80], "three": [75]}
    assert set(result.summary["n_train"]) == {"50%"}
    assert (result.summary["datasets"] == 2).all()
    with pytest.raises(DataError, match="share is 1"):
        small(folder, tmp_path / "other.csv", share=1)


def test_traits_compare_the_tables_of_a_group_with_their_best_rival(folder, tmp_path):
    result = small(folder, tmp_path / "out.csv", methods=["knn", "logistic_regression", "tfm"])
    written = pd.read_csv(tmp_path / "out_traits.csv")
    assert set(written["trait"]) == set(TRAITS)
    classes = written[written["trait"] == "classes"].set_index("group")
    assert classes["datasets"].to_dict() == {"two classes": 1, "more classes": 1}
    means = result.rows.groupby(["dataset", "method"])["auc"].mean().unstack()
    for group, dataset in (("two classes", "two"), ("more classes", "three")):
        others = means.loc[dataset].drop("tfm")
        assert classes.loc[group, "rival"] == others.idxmax()
        gain = means.loc[dataset, "tfm"] - others.max()
        assert classes.loc[group, "auc_difference"] == pytest.approx(gain)


@pytest.mark.parametrize("method", ["xgboost", "lightgbm"])
def test_names_that_a_library_refuses_do_not_stop_it(method):
    table = make_table(120)
    odd = table.rename(columns={table.columns[0]: "a [b] <c>", table.columns[1]: 'd: "e", {f}'})
    train, test = (
        holdout_split(TabularDataset.from_frame(each, "target"), 60, 50, 0) for each in (table, odd)
    )
    plain, named = (
        fit_predict_proba(method, split[0], split[1].X, seed=0) for split in (train, test)
    )
    np.testing.assert_array_equal(plain, named)


def test_a_file_without_its_runs_is_not_touched(folder, tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("name,price\napple,3\n")
    with pytest.raises(CausalMixError, match=r"behind it are not in .*out\.runs"):
        small(folder, out)
    assert out.read_text() == "name,price\napple,3\n"


# What is skipped, and bad input


def test_what_cannot_be_evaluated_is_listed_with_the_reason(folder, tmp_path):
    make_table(160).drop(columns="target").to_csv(folder / "aimless.csv", index=False)
    wide = make_table(160).join(pd.DataFrame(np.random.default_rng(0).normal(size=(160, 500))))
    wide.columns = wide.columns.astype(str)
    wide.to_parquet(folder / "wide.parquet")
    make_table(85).to_csv(folder / "short.csv", index=False)
    lonely = make_table(160).assign(target=["a"] * 159 + ["b"])
    lonely.to_csv(folder / "lonely.csv", index=False)
    (folder / "notes.txt").write_text("not a table")
    result = small(folder, tmp_path / "out.csv", n_train=[30, 40], seeds=1, methods=["tfm", "knn"])
    assert set(result.rows["dataset"]) == {"two", "three", "short"}
    skipped = {entry["dataset"]: entry for entry in result.manifest["skipped"]}
    assert set(skipped) == {"aimless", "wide", "short", "lonely"}
    assert "which column is the target" in skipped["aimless"]["reason"]
    assert "503 features" in skipped["wide"]["reason"]
    assert "Fewer than two classes" in skipped["lonely"]["reason"]
    assert skipped["short"]["n_train"] == [40]
    assert "fewer than 50 are left" in skipped["short"]["reason"]
    assert "short at 40 rows: Of 85 rows" in evaluation.describe(result)
    # Without the checkpoint its limits do not matter.
    alone = small(folder, tmp_path / "out.csv", seeds=1, methods=["knn"])
    assert "wide" in set(alone.rows["dataset"])
    assert alone.manifest["settings"]["checkpoint"] is None


def test_files_of_one_name_are_told_apart(folder, tmp_path):
    make_table(160, seed=5).to_csv(folder / "deep" / "two.csv", index=False)
    rows = small(folder, tmp_path / "out.csv", seeds=1, methods=["knn"]).rows
    assert set(rows["dataset"]) == {"two.csv", "deep/two.csv", "three"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"methods": ["random_forrest"]}, UnknownNameError, "Did you mean 'random_forest'"),
        ({"tuning": ["tow"]}, UnknownNameError, "Did you mean 'two'"),
        ({"n_train": []}, DataError, "n_train takes positive whole numbers"),
        ({"n_train": [30, 30]}, DataError, "n_train takes positive whole numbers, each once"),
        ({"seeds": 0}, DataError, "seeds takes"),
        ({"n_test": 10}, DataError, "n_test=10 is too few"),
        ({"n_train": [5000]}, DataError, "Nothing to evaluate(.|\n)*two: The table has 5,000"),
        ({"target": "colour_"}, DataError, "Nothing to evaluate(.|\n)*Did you mean 'colour'"),
    ],
)
def test_bad_input_is_named_before_anything_is_written(folder, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        small(folder, tmp_path / "out.csv", **options)
    assert not list(tmp_path.glob("out*"))


def test_bad_folders_and_files_are_named(folder, tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        small(tmp_path / "absent", tmp_path / "out.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no file of a type in \.csv"):
        small(tmp_path / "empty", tmp_path / "out.csv")
    with pytest.raises(DataError, match=r"ending in \.csv"):
        small(folder, tmp_path / "out.json")


def test_missing_xgboost_is_said_only_when_it_is_asked_for(folder, tmp_path, monkeypatch):
    from importlib.metadata import PackageNotFoundError

    def version(name):
        if name.startswith("xgboost"):
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr("causalmix.quality.baselines.version", version)
    with pytest.raises(
        CausalMixError, match=r"xgboost or xgboost-cpu.* pip install .causalmix\[dev\]"
    ):
        small(folder, tmp_path / "out.csv")
    small(folder, tmp_path / "out.csv", methods=["knn"], seeds=1)


def test_a_failing_method_is_named_and_what_is_done_is_kept(folder, tmp_path, monkeypatch):
    def fail(name, *arguments, **options):
        if name == "xgboost":
            raise ValueError("no such tree")
        return fit_predict_proba(name, *arguments, **options)

    monkeypatch.setattr(evaluation, "fit_predict_proba", fail)
    out = tmp_path / "out.csv"
    methods = ["knn", "random_forest", "xgboost"]
    message = r"dataset=three.*method=xgboost failed: .*no such tree.* 8 of 12 runs.*--retry"
    with pytest.raises(CausalMixError, match=message):
        small(folder, out, methods=methods)
    assert not out.exists()
    monkeypatch.undo()
    with pytest.raises(CausalMixError, match="4 failed"):
        small(folder, out, methods=methods)
    assert len(small(folder, out, methods=methods, retry=True).rows) == 12


def test_no_row_is_written_where_the_time_was_up(folder, tmp_path):
    out = tmp_path / "out.csv"
    with pytest.raises(CausalMixError, match=r"0 of 4 runs .* The time was up"):
        small(folder, out, methods=["knn"], hours=0)
    assert not out.exists()


# The command line


def test_command_takes_lists_in_a_row_or_repeated(folder, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(evaluation, "evaluate_tfm", lambda *a, **options: calls.append(options))
    monkeypatch.setattr(evaluation, "describe", lambda result: "done")
    options = ["evaluate-tfm", "--data", str(folder), "--out", str(tmp_path / "out.csv")]
    for sizes in (["--n-train", "30", "40"], ["--n-train", "30", "--n-train=40"]):
        call = [*options, *sizes, "--seeds", "2", "--tuning", "two", "three", "--methods", "knn"]
        result = CliRunner().invoke(cli.main, call)
        assert result.exit_code == 0, result.output
        assert calls[-1]["n_train"] == (30, 40)
        assert calls[-1]["tuning"] == ("two", "three")
        assert (calls[-1]["seeds"], calls[-1]["methods"]) == (2, ("knn",))


def test_command_writes_its_files_and_names_a_mistake(folder, tmp_path):
    out = tmp_path / "out.csv"
    options = ["evaluate-tfm", "--data", str(folder), "--out", str(out), "--seeds", "1"]
    options += ["--workers", "0"]
    result = CliRunner().invoke(cli.main, [*options, "--n-train", "30", "--methods", "knn", "tfm"])
    assert result.exit_code == 0, result.output
    assert "mean_rank" in result.stdout
    assert out.exists()
    wrong = CliRunner().invoke(cli.main, [*options, "--methods", "xgbost"])
    assert wrong.exit_code == 2
    assert "Did you mean 'xgboost'" in wrong.stderr
    nothing = CliRunner().invoke(cli.main, ["evaluate-tfm", "--out", str(out)])
    assert nothing.exit_code == 2
    assert "--data" in nothing.stderr


def test_speed_is_a_ratio_of_paired_seconds(monkeypatch):
    seconds = iter([9.0, 9.0, 1.0, 4.0, 2.0, 6.0, 1.0, 8.0])  # the first pair warms up

    def time_it(run):
        run()
        return next(seconds)

    monkeypatch.setattr("causalmix.benchmarks.speed.wall_seconds", time_it)
    options = {"n_context": 30, "n_query": 20, "n_features": 8, "n_trees": 5, "repeats": 3}
    measured = measure_speed(load_tfm(), **options)
    assert measured["ratios"] == [4, 3, 8]
    assert measured["ratio"] == 4
    assert (measured["tfm_seconds"], measured["random_forest_seconds"]) == (1, 6)


def test_speed_alone_needs_no_data_and_says_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "causalmix.benchmarks.speed.measure_speed", lambda tfm, threads: {"threads": threads}
    )
    out = tmp_path / "new" / "scores.csv"
    result = CliRunner().invoke(cli.main, ["evaluate-tfm", "--speed", "--out", str(out)])
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "new" / "scores_speed.json").read_text())
    assert written["measured"][0] == {"threads": 1}
    assert written["settings"]["checkpoint"] == load_tfm().content_hash
    assert "torch" in written["versions"]
    assert not out.exists()
