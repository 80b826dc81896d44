"""What a user's program brings along: library settings, Arrow's columns, odd numbers and names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sklearn
import torch
from made_checkpoints import write_official

from causalmix.benchmarks.arms import run_benchmark
from causalmix.benchmarks.plan import Plan
from causalmix.benchmarks.rows import check_counts
from causalmix.benchmarks.search_comparison import compare_searches
from causalmix.benchmarks.utility import benchmark_utility
from causalmix.data.backing import as_it_was, numpy_backed
from causalmix.data.dataset import TabularDataset, load_dataset
from causalmix.data.own_settings import own_settings
from causalmix.data.splitting import holdout_split, low_data_split
from causalmix.discovery.bootstrap import discover
from causalmix.discovery.dag_sampling import sample_dags
from causalmix.discovery.edge_probabilities import read_mark_weights
from causalmix.discovery.knowledge import BackgroundKnowledge
from causalmix.errors import CausalMixError, check_seed
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.estimator import CausalMixClassifier
from causalmix.finetuning.run import finetune, predict_proba
from causalmix.generation.registry import make_generator
from causalmix.pretraining.run import pretrain
from causalmix.publishing.book import build_book
from causalmix.quality.fidelity import k_marginal_tvd, nearest_neighbour_adversarial_accuracy
from causalmix.quality.report import quality_report, transfer_auc
from causalmix.scm.hospital import hospital_dag, hospital_rows
from causalmix.scm.model import StructuralCausalModel
from causalmix.scm.random_scm import random_scm_table
from causalmix.tfm.model import load_tfm

SMALL = {"n_bootstraps": 2, "n_dags": 2}
PATIENTS = hospital_rows(60, 0)


@pytest.fixture(scope="module")
def tfm_file(tmp_path_factory):
    return write_official("tabpfn_v3", tmp_path_factory.mktemp("tfm"))


# Settings of libraries


def classify(tfm_file):
    config = {"n_synthetic": 40, "n_synthetic_val": 20, "tasks_per_step": 1, "rows_per_task": 24}
    options = {"tfm": tfm_file, "n_estimators": 2, "steps": 1}
    options |= {"generator": "causal", "generator_options": SMALL}
    classifier = CausalMixClassifier(**options, config=config, random_state=0, device="cpu")
    return classifier.fit(PATIENTS.X, PATIENTS.y).predict_proba(PATIENTS.X)


def draw_rows(tfm_file):
    made = make_generator("causal", **SMALL).fit(PATIENTS.X, PATIENTS.y)
    return made.sample(30, 1)[0].to_numpy()


def draw_purified(tfm_file):
    made = make_generator("smote_nc", purified=True).fit(PATIENTS.X, PATIENTS.y)
    return made.sample(10, 1)[0].to_numpy()


def intervene(tfm_file):
    model = StructuralCausalModel(hospital_dag()).fit(PATIENTS.frame())
    return model.average_treatment_effect("treated", "yes", "no", "recovery", n=100)


def find_edges(tfm_file):
    return discover(PATIENTS.frame(), n_bootstraps=2).matrix


def judge(tfm_file):
    rows = {"itself": (PATIENTS.X, PATIENTS.y)}
    tfm = load_tfm(tfm_file)
    return quality_report(PATIENTS, hospital_rows(40, 1), rows, learners=["linear", "tfm"], tfm=tfm)


def fine_tune(tfm_file):
    split = low_data_split(PATIENTS, 30, 10, 0)
    config = FinetuneConfig(steps=1, tasks_per_step=1, rows_per_task=20)
    tuned = finetune(load_tfm(tfm_file), split, config=config).tfm
    return predict_proba(tuned, split.context(), split.test.X)


@pytest.mark.parametrize(
    "work", [classify, draw_rows, draw_purified, intervene, find_edges, judge, fine_tune]
)
@pytest.mark.filterwarnings("ignore")
def test_settings_of_other_libraries_change_nothing_and_stay(work, tfm_file):
    expected = work(tfm_file)
    dtype = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")  # which holds no values, as a device that is absent
        with (
            sklearn.config_context(transform_output="pandas"),
            torch.no_grad(),
            torch.autocast("cpu", torch.bfloat16),
            np.errstate(all="raise"),
            pd.option_context("future.infer_string", True),
        ):
            state = torch.get_rng_state()
            found = work(tfm_file)
            assert torch.equal(torch.get_rng_state(), state)
            assert torch.is_autocast_enabled("cpu")
            assert sklearn.get_config()["transform_output"] == "pandas"
            assert not torch.is_grad_enabled()
            assert torch.get_default_dtype() == torch.float64
            assert torch.get_default_device().type == "meta"
            assert set(np.geterr().values()) == {"raise"}
    finally:
        torch.set_default_dtype(dtype)
        torch.set_default_device(None)
    np.testing.assert_array_equal(np.asarray(found, float), np.asarray(expected, float))


def test_settings_come_back_after_an_error():
    @own_settings()
    def fail():
        assert np.geterr()["over"] == "warn"
        raise ZeroDivisionError

    with np.errstate(all="raise"):
        with pytest.raises(ZeroDivisionError):
            fail()
        assert np.geterr()["over"] == "raise"
    assert torch.is_grad_enabled()


# Columns that Arrow holds


def arrow(values, kind):
    return pd.Series(values, dtype=pd.ArrowDtype(kind))


def arrow_frame(n=60):
    rng = np.random.default_rng(0)
    number = rng.normal(size=n)
    gaps = [None if k % 9 == 0 else k for k in range(n)]
    days = pd.date_range("2020-01-01", periods=3, tz="Europe/Berlin")
    return pd.DataFrame(
        {
            "number": arrow(np.where(number > 1, np.nan, number), pa.float64()),
            "whole": arrow(gaps, pa.int64()),
            "flag": arrow([None if k % 7 == 0 else k % 2 == 0 for k in range(n)], pa.bool_()),
            "text": arrow(rng.choice(["a", "b", "c"], n), pa.string()),
            "time": arrow(list(days[rng.integers(3, size=n)]), pa.timestamp("us", "Europe/Berlin")),
            "decimal": arrow(rng.integers(0, 5, n).tolist(), pa.decimal128(10, 2)),
            "levels": pd.Series(rng.choice(["u", "v"], n), dtype="string[pyarrow]"),
            "kind": pd.Series(rng.choice(["x", "y"], n), dtype="string[pyarrow]").astype(
                "category"
            ),
        }
    )


def test_arrow_becomes_numpy_and_back_without_a_change():
    frame = arrow_frame().set_index(np.arange(60) + 5)
    frame["past"] = arrow([2**53 + 1, None] * 30, pa.int64()).set_axis(frame.index)
    plain = numpy_backed(frame)
    assert not any("pyarrow" in str(dtype) for dtype in plain.dtypes)
    assert list(plain["past"][:1]) == [2**53 + 1]
    assert str(plain["time"].dtype) == "datetime64[us, Europe/Berlin]"
    assert plain.index.equals(frame.index)
    for name, column in frame.items():
        pd.testing.assert_series_equal(as_it_was(plain[name], column.dtype), column)
    halves = as_it_was(pd.Series([0.5, 2.0]), pd.ArrowDtype(pa.int64()))
    assert halves.tolist() == [0.5, 2.0]
    same = plain.drop(columns="past")
    assert numpy_backed(same) is same


@pytest.mark.parametrize("name", ["causal", "smote_nc", "perturbation", "mixup", "copula"])
@pytest.mark.filterwarnings("ignore")
def test_generators_take_arrow_and_give_it_back(name):
    frame = arrow_frame()
    y = frame.pop("kind")
    options = SMALL if name == "causal" else {}
    X, drawn = make_generator(name, **options).fit(frame, y).sample(20, 0)
    pd.testing.assert_series_equal(X.dtypes, frame.dtypes)
    assert drawn.dtype == y.dtype
    plain = make_generator(name, **options).fit(numpy_backed(frame), numpy_backed(y)).sample(20, 0)
    pd.testing.assert_frame_equal(numpy_backed(X), plain[0], check_dtype=False)


@pytest.mark.filterwarnings("ignore")
def test_discovery_models_reports_and_datasets_take_arrow(tfm_file, tmp_path):
    frame = arrow_frame()
    plain = numpy_backed(frame)
    found, expected = (discover(each, n_bootstraps=2) for each in (frame, plain))
    np.testing.assert_array_equal(found.matrix, expected.matrix)
    dag = sample_dags(found, 1, 0)[0]
    model = StructuralCausalModel(dag).fit(frame)
    pd.testing.assert_series_equal(model.sample(5, 0).dtypes, frame.dtypes)
    tables = [TabularDataset.from_frame(each, "kind") for each in (frame, plain)]
    assert tables[0].content_hash == tables[1].content_hash
    hashes = set()
    for k, each in enumerate((frame, plain)):
        each.to_parquet(tmp_path / f"{k}.parquet")
        hashes.add(load_dataset(tmp_path / f"{k}.parquet", target="kind").content_hash)
    assert len(hashes) == 1
    settings = {"tfm": tfm_file, "generator": None, "steps": 0, "device": "cpu"}
    proba = [
        CausalMixClassifier(**settings, random_state=0)
        .fit(each.drop(columns="kind"), each["kind"])
        .predict_proba(each)
        for each in (frame, plain)
    ]
    np.testing.assert_array_equal(*proba)


def test_nested_values_of_arrow_are_refused_by_their_column():
    frame = arrow_frame().assign(nested=arrow([[1]] * 60, pa.list_(pa.int64())))
    with pytest.raises(CausalMixError, match="Column 'nested' holds values of type ndarray"):
        discover(frame, n_bootstraps=1)
    X, y = frame.drop(columns="kind"), frame["kind"]
    options = {"generator": None, "steps": 0, "n_estimators": 1, "device": "cpu"}
    classifier = CausalMixClassifier(**options, columns={"nested": "drop"}).fit(X, y)
    assert "nested" not in classifier.context_.X
    assert len(classifier.predict(X)) == len(X)


# Numbers that make no sense


@pytest.mark.parametrize("seed", [-1, None, 1.5, True, 2**32, "0", np.nan])
def test_a_seed_is_refused_by_its_name(seed):
    X, y, frame = PATIENTS.X, PATIENTS.y, PATIENTS.frame()
    fitted = make_generator("perturbation").fit(X, y)
    edges = discover(frame, n_bootstraps=1)
    model = StructuralCausalModel(hospital_dag()).fit(frame)
    calls = [
        lambda: discover(frame, seed=seed),
        lambda: make_generator("causal", seed=seed),
        lambda: make_generator("tabebm", seed=seed),
        lambda: make_generator("ctgan", seed=seed),
        lambda: fitted.sample(3, seed),
        lambda: sample_dags(edges, 1, seed),
        lambda: model.sample(3, seed),
        lambda: low_data_split(PATIENTS, 20, 10, seed),
        lambda: holdout_split(PATIENTS, 20, 10, seed),
        lambda: PATIENTS.draw(3, seed),
        lambda: quality_report(PATIENTS, PATIENTS, {}, seed=seed),
        lambda: transfer_auc((X, y), PATIENTS, seed=seed),
        lambda: nearest_neighbour_adversarial_accuracy(X, X, seed=seed),
        lambda: compare_searches({"a": {}}, n_tables=1, seed=seed),
        lambda: run_benchmark(["iris"], seeds=[seed]),
        lambda: hospital_rows(3, seed),
        lambda: random_scm_table(3, 30, seed),
        lambda: finetune(None, None, seed=seed),
    ]
    for call in calls:
        with pytest.raises(CausalMixError, match=r"^seeds? is .*; a whole number from 0"):
            call()


def test_seeds_of_numpy_are_seeds():
    assert check_seed(np.int64(3)) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: discover(PATIENTS.frame(), n_jobs=0), "n_jobs is 0"),
        (lambda: discover(PATIENTS.frame(), n_jobs=1.5), "n_jobs is 1.5"),
        (lambda: discover(PATIENTS.frame(), n_bootstraps=True), "n_bootstraps is True"),
        (lambda: make_generator("mixup").fit(PATIENTS.X, PATIENTS.y).sample(2.5, 0), "n is 2.5"),
        (lambda: hospital_rows(-5, 0), "n is -5"),
        (lambda: PATIENTS.draw(-5, 0), "n is -5"),
        (lambda: compare_searches({"a": {}}, n_tables=0), "n_tables is 0"),
        (lambda: compare_searches({}, n_tables=1), "searches is empty"),
        (lambda: k_marginal_tvd(PATIENTS.X, PATIENTS.X, n_bins=1), "n_bins is 1"),
        (lambda: run_benchmark(["iris"], n_train=-5), "n_train is -5"),
        (lambda: run_benchmark(["iris"], arms=[]), "arms is empty"),
        (lambda: run_benchmark("iris"), r"datasets is 'iris'; a list is needed, as \['iris'\]"),
        (lambda: check_counts(n_train=2.5), "n_train takes positive whole numbers"),
        (lambda: check_counts(n_train=[True]), "n_train takes positive whole numbers"),
        (lambda: finetune(None, None, n_estimators=0), "n_estimators is 0"),
        (
            lambda: Plan(name="p", arms={"default": None}, contrasts=5),
            "contrasts is 5; a list is needed",
        ),
        (
            lambda: Plan(name="p", arms={"default": None}, sizes=None),
            "sizes is None; a list is needed",
        ),
        (lambda: Plan(name="p", arms={"default": None}, sizes=[]), "sizes is empty"),
        (
            lambda: Plan(name="p", arms={"default": None}, tables="iris"),
            r"list is needed, as \[iris\]",
        ),
        (lambda: BackgroundKnowledge(tiers=None), "tiers is None; a list is needed"),
        (lambda: BackgroundKnowledge(required="age"), "required is 'age'; a list is needed"),
        (lambda: run_benchmark(iter(["iris"])), "a list is needed"),
        (lambda: read_mark_weights(None), "mark_weights must be a string or a mapping, got None"),
        (lambda: build_book(workers=0), "workers is 0"),
        (lambda: pretrain("nowhere", producers=-1), "producers is -1"),
    ],
)
def test_numbers_and_lists_are_refused_by_their_name(call, message):
    with pytest.raises(CausalMixError, match=message):
        call()


def test_an_empty_list_of_generators_is_refused_before_a_table_is_read(tmp_path):
    with pytest.raises(CausalMixError, match="generators is empty; name at least one"):
        benchmark_utility(tmp_path / "nowhere", tmp_path / "out.csv", generators=[])


# Names


@pytest.mark.parametrize("name", ["self", "cls", "frame", "rows", "name", "X", "y", "data"])
def test_columns_may_be_called_as_arguments_are(name, tmp_path, tfm_file):
    table = PATIENTS.X.assign(kind=PATIENTS.y.astype(str)).rename(columns={"kind": name})
    table = table.rename(columns={"days": "self" if name != "self" else "cls"})
    table.to_csv(tmp_path / "a.csv", index=False)
    dataset = load_dataset(tmp_path / "a.csv", target=name)
    assert list(dataset.frame().columns) == list(table.columns)
    X, y = make_generator("perturbation").fit(dataset.X, dataset.y).sample(30, 0)
    assert list(X.join(y).columns) == list(table.columns)
    learners = ["linear", "boosting"]
    report = quality_report(dataset, dataset, {"self": (X, y)}, learners=learners)
    assert list(report.index) == ["real training rows", "self"]
