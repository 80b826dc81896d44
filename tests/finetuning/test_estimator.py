"""The scikit-learn estimator: its conventions, what it keeps, and what it refuses."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import os
import pickle
import re
import shutil
import signal
import warnings

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from made_checkpoints import REFERENCE, SMALL, write_official
from made_tables import mixed
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from tabpfn import TabPFNClassifier

from causalmix.discovery.knowledge import BackgroundKnowledge, read_graph
from causalmix.errors import (
    CausalMixError,
    CheckpointError,
    DataError,
    FinetuningWarning,
    UnknownNameError,
)
from causalmix.finetuning import persistence
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.estimator import CausalMixClassifier
from causalmix.finetuning.fit_input import (
    as_dataset,
    count_validation_rows,
    generator_options,
    read_labels,
    takes,
)
from causalmix.finetuning.fit_parameters import check_parameters
from causalmix.finetuning.report import FitReport
from causalmix.generation import registry as generators
from causalmix.tfm import checkpoint
from causalmix.tfm.model import EMBEDDED_CHECKPOINT, load_tfm

TINY = {
    "generator": None,
    "n_estimators": 1,
    "steps": 1,
    "random_state": 0,
    "device": "cpu",
}
SMALL_TASKS = {"tasks_per_step": 1, "rows_per_task": 32}


def tiny(**changes):
    """A classifier that is quickly fitted; settings without an argument go into its config."""
    arguments = inspect.signature(CausalMixClassifier).parameters
    config = SMALL_TASKS | {name: changes.pop(name) for name in [*changes] if name not in arguments}
    return CausalMixClassifier(**TINY | {"config": config} | changes)


# Checks of scikit-learn that the estimator does not pass, each with its reason. None is left.
EXPECTED_FAILURES: dict[str, str] = {}


@parametrize_with_checks(
    [tiny()],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
    xfail_strict=True,
)
def test_scikit_learn_conventions(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FinetuningWarning)
        check(estimator)


pytestmark = pytest.mark.filterwarnings("ignore::causalmix.errors.FinetuningWarning")


@pytest.fixture(scope="module")
def table():
    """Mixed columns with missing cells, and a label that depends on two of them."""
    X = mixed(90, seed=1)
    chance = np.random.default_rng(2).random(90)
    score = X["skewed"] - 0.3 * X["count"] + (X["binary"] == "yes") + 0.3 * chance
    return X, pd.Series(np.where(score > score.median(), "high", "low"), name="level")


@pytest.fixture(scope="module")
def fitted(table):
    return tiny(generator="smote_nc").fit(*table)


class Recorder:
    """A generator that remembers what it was fitted on and repeats those rows."""

    seen: list[pd.DataFrame] = []  # noqa: RUF012

    def __init__(self, *, seed: int = 7) -> None:
        self.seed = seed

    def fit(self, X, y):
        self.X, self.y = X, y
        self.seen.append(X.assign(seed=self.seed))
        return self

    def sample(self, n, seed):
        rows = np.random.default_rng(seed).integers(len(self.X), size=n)
        return self.X.iloc[rows].reset_index(drop=True), self.y.iloc[rows].reset_index(drop=True)


# What it predicts


@pytest.fixture(scope="module")
def three_classes():
    """Numbers and categories with missing cells; classes 2, 3 and 7 depend on both."""
    X = mixed(90, seed=1).drop(columns="flag")  # truth values are categories here, numbers there
    code = (X["skewed"] > X["skewed"].median()).astype(int) + (X["letters"] == "a")
    return X, np.array([2, 3, 7])[code]


@pytest.mark.parametrize("n_estimators", [1, None])
@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("architecture", ["embedded", *SMALL])
def test_it_predicts_what_tabpfn_predicts_with_the_same_weights(
    three_classes, architecture, steps, n_estimators, tmp_path
):
    X, y = three_classes
    embedded = architecture == "embedded"
    path = EMBEDDED_CHECKPOINT if embedded else write_official(architecture, tmp_path)
    parameters = {"tfm": path, "n_estimators": n_estimators, "random_state": 3}
    parameters |= {"learning_rate": 1e-3, "warmup_steps": 0, "level": 1.0}
    ours = tiny(**parameters | {"steps": steps}).fit(X[:60], y[:60])
    assert ours.report_.kept == ("fine_tuned" if steps else "zero_shot")
    if steps:
        path = ours.tfm_.save(tmp_path / "tuned.safetensors")
    else:
        assert ours.report_.fine_tuned is None
    theirs = TabPFNClassifier(
        model_path=str(path), n_estimators=n_estimators or "auto", random_state=3, **REFERENCE
    ).fit(X[:60], y[:60])
    assert list(ours.classes_) == list(theirs.classes_) == [2, 3, 7]
    got = ours.predict_proba(X[60:])
    np.testing.assert_allclose(got, theirs.predict_proba(X[60:]), rtol=0, atol=1e-6)
    assert got.std(axis=0).min() > 1e-4  # the rows are told apart
    if steps:  # and the steps show
        zero_shot = tiny(**parameters | {"steps": 0}).fit(X[:60], y[:60])
        assert np.abs(got - zero_shot.predict_proba(X[60:])).max() > 1e-4


def test_the_causal_generator_runs_on_mixed_columns(table):
    options = {"n_bootstraps": 1, "n_dags": 1}
    classifier = tiny(generator="causal", generator_options=options, n_synthetic=30).fit(*table)
    assert classifier.history_["synthetic_share"].iloc[-1] == 0.5
    assert classifier.report_.generator_seconds > 0
    assert classifier.score(*table) > 0.6


def test_a_seed_fixes_the_history_and_the_predictions(table):
    X, y = table
    parameters = {"generator": "perturbation", "steps": 4, "validate_every": 1}
    first, again = (tiny(**parameters).fit(X, y) for _ in range(2))
    untimed = first.history_.drop(columns="seconds")
    pd.testing.assert_frame_equal(untimed, again.history_.drop(columns="seconds"))
    np.testing.assert_array_equal(first.predict_proba(X), again.predict_proba(X))
    other = tiny(**parameters | {"random_state": 1}).fit(X, y)
    assert not untimed.equals(other.history_.drop(columns="seconds"))


def test_predictions_come_in_the_right_order_beyond_one_forward_pass(fitted, table, monkeypatch):
    whole = fitted.predict_proba(table[0])
    monkeypatch.setattr("causalmix.tfm.encoding._QUERY_ROWS", 40)
    again = pickle.loads(pickle.dumps(fitted))
    sizes = []
    again.tfm_.network.register_forward_hook(lambda *call: sizes.append(len(call[2])))
    np.testing.assert_allclose(again.predict_proba(table[0]), whole, rtol=0, atol=1e-6)
    assert sizes == [40, 40, 10]


# What it keeps, and says


def test_the_report_compares_on_validation_rows_that_the_generator_never_saw(table, monkeypatch):
    X, y = table
    X = X.assign(skewed=np.arange(90) + 0.5)  # tells the rows apart
    monkeypatch.setitem(generators.GENERATORS, "recorder", Recorder)
    monkeypatch.setattr(Recorder, "seen", [])
    classifier = tiny(generator="recorder", n_val=25).fit(X, y)
    (seen,) = Recorder.seen
    assert set(seen["seed"]) == {0}  # of random_state
    report = classifier.report_
    assert (report.n_train, report.n_val) == (len(seen), 25)
    held_out = ~X["skewed"].isin(seen["skewed"])
    assert held_out.sum() == 25
    # The zero-shot scores again, from those rows alone.
    zero_shot = (
        load_tfm()
        .classifier(n_estimators=1)
        .fit(classifier._schema.read(seen), y[seen["skewed"].astype(int)] == "low")
    )
    proba = zero_shot.predict_proba(classifier._schema.read(X[held_out]))
    truth = y[held_out] == "low"
    assert report.zero_shot["log_loss"] == pytest.approx(log_loss(truth, proba), abs=1e-4)
    assert report.zero_shot["auc"] == pytest.approx(roc_auc_score(truth, proba[:, 1]), abs=1e-3)


def test_it_says_so_when_fine_tuning_did_not_help(table):
    ruinous = {"steps": 4, "learning_rate": 1.0, "warmup_steps": 0, "validate_every": 2}
    with pytest.warns(FinetuningWarning, match="Fine-tuning: harmed.*weights stay as they were"):
        classifier = tiny(**ruinous).fit(*table)
    report = classifier.report_
    assert (report.kept, report.best_step, report.steps) == ("zero_shot", 0, 4)
    assert report.fine_tuned["step"] in (2, 4)
    assert report.fine_tuned["log_loss"] > report.zero_shot["log_loss"]
    assert report.verdict == "harmed"
    assert re.search(r"Verdict: harmed \(gain -\S+ \[.*\] nats\)\. Kept: zero-shot\.", str(report))
    unchanged = tiny(**ruinous | {"steps": 0}).fit(*table)
    np.testing.assert_array_equal(
        classifier.predict_proba(table[0]), unchanged.predict_proba(table[0])
    )


def test_it_says_nothing_when_fine_tuning_helped_or_was_not_asked_for(table):
    for steps in (0, 12):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # others are of libraries' imports
            lowest = {"rule": "log_loss", "level": 0.5}
            classifier = tiny(steps=steps, learning_rate=1e-4, warmup_steps=5, **lowest).fit(*table)
    report, history = classifier.report_, classifier.history_.set_index("step")
    assert report.kept == "fine_tuned"
    assert report.verdict in ("helped", "no difference found")  # by few rows
    assert report.fine_tuned["step"] == report.best_step == history["val_log_loss"].idxmin()
    assert report.fine_tuned["log_loss"] == history["val_log_loss"].min()
    assert report.zero_shot["log_loss"] == history["val_log_loss"][0]
    assert "All 12 steps were taken." in report.reason


@pytest.mark.parametrize(
    ("settings", "kept", "reason"),
    [
        ({"level": 1.0}, "fine_tuned", "it is kept untested"),
        ({"level": 0.999999}, "fine_tuned", "no more than chance explains: it is kept"),
        ({"level": 0.5}, "zero_shot", "The weights stay|: the weights stay"),
        ({"level": 0.5, "rule": "log_loss"}, "zero_shot", "the best of all steps"),
        ({"level": 0.5, "rule": "augmented"}, "zero_shot", "with synthetic rows counting"),
    ],
)
def test_the_report_gives_the_rule_and_its_reason(table, settings, kept, reason, recwarn):
    worse = {"steps": 3, "learning_rate": 3e-3, "warmup_steps": 0, "random_state": 1}
    shuffled = table[1].sample(frac=1, random_state=0).to_numpy()  # nothing is to be learned
    options = worse | settings | {"generator": "perturbation", "synthetic_tasks": 0.5}
    report = tiny(**options).fit(table[0], shuffled).report_
    assert report.gain < 0
    assert report.kept == kept
    assert re.search(reason, report.reason)
    assert (report.synthetic_weight is not None) == (report.rule == "augmented")
    told = [str(w.message) for w in recwarn if w.category is FinetuningWarning]
    assert report.verdict in ("harmed", "no difference found")
    assert told[0].startswith(f"Fine-tuning: {report.verdict}. ")


@pytest.mark.parametrize(
    ("gain", "error", "kept", "verdict"),
    [
        (0.1, 0.04, "fine_tuned", "helped"),  # the quantile of t with 24 degrees is 2.064
        (0.08, 0.04, "fine_tuned", "no difference found"),
        (0.1, 0.04, "zero_shot", "no difference found"),  # a stricter test kept it back
        (-0.0015, 0.01, "fine_tuned", "no difference found"),
        (-0.0015, 0.01, "zero_shot", "no difference found"),
        (-0.08, 0.04, "zero_shot", "no difference found"),
        (-0.1, 0.04, "zero_shot", "harmed"),
        (-np.inf, np.nan, "zero_shot", "harmed"),
        (0.1, np.nan, "fine_tuned", "no difference found"),  # of one validation row
        (None, None, "zero_shot", "not tried"),
    ],
)
def test_the_verdict_is_that_of_the_interval_of_the_gain(gain, error, kept, verdict):
    fields = dict.fromkeys([each.name for each in dataclasses.fields(FitReport)])
    scores = {"log_loss": 0.5, "auc": 0.8}
    tuned = None if gain is None else scores | {"step": 3}
    fields |= {"gain": gain, "gain_error": error, "kept": kept, "n_val": 25, "reason": "So."}
    report = FitReport(**fields | {"zero_shot": scores, "fine_tuned": tuned})
    assert report.verdict == verdict
    assert f"Verdict: {verdict}" in str(report)


def test_the_generator_is_told_what_is_known_of_the_graph(table, tmp_path, monkeypatch):
    """And the saved classifier still knows it; the target goes by the name of y."""
    X, y = table[0], pd.Series(table[1], name="class")
    first, second = X.columns[:2]
    edges = [(first, second), (second, "class")]
    asked = []

    class Told(Recorder):
        def __init__(self, graph=None, knowledge=None, seed=0):
            super().__init__(seed=seed)
            asked.append((graph, knowledge))

    monkeypatch.setitem(generators.GENERATORS, "told", Told)
    knowledge = BackgroundKnowledge(required=[edges[0]], tiers=[[first, second], ["class"]])
    for given in ({"graph": edges}, {"knowledge": knowledge}, {"graph": nx.DiGraph(edges)}):
        asked.clear()
        classifier = clone(tiny(generator="told", **given)).fit(X, y)
        again = CausalMixClassifier.load(classifier.save(tmp_path / "m"))
        assert again.context_.y.name == "class"
        ((graph, known),) = asked
        still = generator_options(again, check_parameters(again))
        if graph is not None:
            assert (
                set(read_graph(graph).edges) == set(read_graph(still["graph"]).edges) == set(edges)
            )
        else:
            assert BackgroundKnowledge.read(still["knowledge"]) == known == knowledge
    for generator in (None, "mixup", "causal_empty", "causal_shuffled", "tfm_conditional_drawn"):
        with pytest.raises(CausalMixError, match=r"graph given, but generator=.* takes none"):
            tiny(generator=generator, graph=edges).fit(X, y)
    with pytest.raises(CausalMixError, match=r"knowledge given, but .*cpdag' takes none"):
        tiny(generator="tfm_conditional_cpdag", knowledge=knowledge).fit(X, y)
    for name, value in (("graph", edges), ("knowledge", knowledge)):
        with pytest.raises(CausalMixError, match=f"{name} given, but config has no synthetic rows"):
            tiny(generator="causal", synthetic_tasks=0, **{name: value}).fit(X, y)
    plain = tiny(generator="causal", synthetic_tasks=0).fit(X, y)
    assert "No generator was fitted: config has no synthetic rows." in plain.report_.reason
    assert takes("tfm_conditional_drawn", "knowledge")
    assert takes("causal_permuted", "graph")


def test_columns_are_what_the_user_says(tmp_path):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "code": rng.integers(0, 9, 60),
            "price": rng.choice(["1,234", "5,678", "9,123", "7,5"], 60),
            "left": rng.normal(size=60),
        }
    )
    y = np.where(X["code"] > 4, "p", "n")
    X.attrs["decimal_comma"] = True
    columns = {"code": "categorical", "left": "drop"}
    classifier = tiny(steps=0, columns=columns).fit(X, y)
    used = classifier._schema.columns
    assert {name: each.kind for name, each in used.items()} == {
        "code": "category",
        "price": "number",
    }
    assert used["price"].decimal == ","
    again = CausalMixClassifier.load(classifier.save(tmp_path / "m"))
    assert again.columns == columns
    np.testing.assert_array_equal(again.predict_proba(X), classifier.predict_proba(X))
    for wrong, message in (({"cod": "numeric"}, "columns='cod'|'cod'"), ({"code": "int"}, "'int'")):
        with pytest.raises(UnknownNameError, match=message):
            tiny(steps=0, columns=wrong).fit(X, y)


def test_a_small_gain_may_be_chance(table):
    options = {"steps": 12, "learning_rate": 1e-4, "warmup_steps": 5}
    options |= {"rule": "log_loss", "level": 1e-9}
    report = tiny(**options).fit(*table).report_
    assert (report.kept, report.verdict) == ("zero_shot", "no difference found")
    assert 0 < report.gain < report.gain_needed
    assert "chance alone may do that" in report.reason


def test_the_time_limit_ends_fine_tuning_and_is_reported(table):
    classifier = tiny(steps=40, time_limit=1e-6).fit(*table)
    assert classifier.history_["step"].tolist() == [0]
    assert classifier.report_.stopped_by == "time_limit"
    assert "Stopped at step 0 of 40 by the time limit of 1e-06 s." in classifier.report_.reason


@pytest.mark.parametrize(
    ("n_val", "counts", "rows"),
    [
        (0.2, [50, 50], 20),
        (0.01, [50, 50], 2),
        (30, [50, 50], 30),
        (2, [3, 3], 2),
        (2, [5, 5, 1], 2),  # a class of one row is not validated
        (0.01, [50, 50, 1, 1], 2),
    ],
)
def test_validation_rows_are_a_number_or_a_share(n_val, counts, rows):
    codes = np.repeat(np.arange(len(counts)), counts)
    dataset = as_dataset(pd.DataFrame({"x": codes}), np.arange(len(counts)), codes)
    assert count_validation_rows(n_val, dataset) == rows


def test_classes_that_cannot_be_validated_are_named(table):
    X, y = table
    classifier = tiny()
    with pytest.warns(UserWarning, match="Classes with one row only: 'alone', 'rare'.") as caught:
        classifier.fit(X, y.where(y.index != 3, "rare").where(y.index != 5, "alone"))
    (warning,) = (w for w in caught if "one row only" in str(w.message))
    assert warning.filename == __file__
    assert "say nothing about them" in str(warning.message)
    assert "AUC" not in str(warning.message)
    assert np.isfinite(classifier.report_.zero_shot["auc"])
    assert classifier.predict_proba(X).shape == (90, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        classifier.set_params(steps=0).fit(X, y.where(y.index > 1, "rare"))


def test_weights_are_not_chosen_by_rows_of_a_single_class(table):
    X, y = table[0], np.arange(90) // 89
    with pytest.raises(DataError, match=r"one row only: '1'\. .* of '0' alone.*steps=0"):
        tiny().fit(X, y)
    zero_shot = tiny(steps=0)
    with pytest.warns(UserWarning, match="single class there is no AUC: it is NaN"):
        zero_shot.fit(X, y)
    assert np.isnan(zero_shot.report_.zero_shot["auc"])
    assert "There is no AUC, because all validation rows are of one class." in str(
        zero_shot.report_
    )


# As a part of scikit-learn


CONFIGS = [None, {"rule": "smoothed"}, FinetuneConfig(rule="smoothed")]


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
def test_settings_are_reached_through_the_config(config):
    before = copy.deepcopy(config)
    classifier = CausalMixClassifier(config=config)
    params = classifier.get_params()
    assert {name for name in params if name.startswith("config__")} == {
        f"config__{field.name}" for field in dataclasses.fields(FinetuneConfig)
    }
    assert params["config__rule"] == ("smoothed" if config else "last")
    classifier.set_params(config__rows_per_task=64, config__time_limit=9.0, n_val=30)
    assert config == before  # the caller's own
    assert type(classifier.config) is type(config or {})
    expected = params | {"config__rows_per_task": 64, "config__time_limit": 9.0, "n_val": 30}
    assert classifier.get_params() == expected | {"config": classifier.config}
    assert check_parameters(classifier) == FinetuneConfig(
        rule=params["config__rule"], rows_per_task=64, time_limit=9.0
    )
    for same in (clone(classifier), pickle.loads(pickle.dumps(classifier))):
        assert same.get_params() == classifier.get_params()
        assert repr(same) == repr(classifier)
    assert "rows_per_task" in repr(classifier)
    assert "rows_per_task" in classifier._repr_html_()
    shallow = classifier.get_params(deep=False)
    assert not any(name.startswith("config__") for name in shallow)
    assert CausalMixClassifier(**shallow).get_params() == classifier.get_params()


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
def test_a_setting_that_cannot_be_set_changes_nothing(config):
    classifier = CausalMixClassifier(config=config)
    with pytest.raises(UnknownNameError, match=r"setting in config 'querry_share'.*'query_share'"):
        classifier.set_params(n_val=30, config__querry_share=0.2)
    with pytest.raises(ValueError, match="Invalid parameter 'query_share'"):
        classifier.set_params(query_share=0.2)
    assert (classifier.config, classifier.n_val) == (config, 0.2)
    classifier.set_params(config={"rule": "smoothed"}, config__level=0.5)
    assert classifier.config == {"rule": "smoothed", "level": 0.5}
    with pytest.raises(CausalMixError, match=r"config must be a FinetuneConfig, .* got 3"):
        classifier.set_params(config=3, config__level=0.5)


@pytest.mark.parametrize("config", [None, {"level": 0.2}, FinetuneConfig(level=0.2)])
def test_setting_what_is_set_changes_nothing(config):
    classifier = CausalMixClassifier(config=config, steps=1)
    expected = check_parameters(classifier)
    assert check_parameters(classifier.set_params(**classifier.get_params())) == expected
    assert expected.steps == 1


@pytest.mark.parametrize("kind", [dict, lambda **settings: FinetuneConfig(**settings)])
def test_a_setting_comes_from_the_argument_or_from_the_config(kind):
    config = kind(steps=7, learning_rate=1e-3)
    found = check_parameters(CausalMixClassifier(config=config, learning_rate=1e-3, time_limit=5))
    assert found == FinetuneConfig(steps=7, learning_rate=1e-3, time_limit=5)
    with pytest.raises(CausalMixError, match="steps=3 is given, but config has steps=7"):
        check_parameters(CausalMixClassifier(config=config, steps=3))
    assert check_parameters(CausalMixClassifier(config=kind(rule="last"), steps=3)).steps == 3


def test_a_grid_search_reaches_a_setting_in_a_config_that_is_none():
    X, y = load_iris(return_X_y=True)
    classifier = CausalMixClassifier(**TINY)
    assert classifier.config is None
    grid = {"config__query_share": [0.2, 0.4], "config__rows_per_task": [32]}
    search = GridSearchCV(classifier, grid, cv=2, scoring="neg_log_loss", error_score="raise")
    search.fit(X[::3], y[::3])
    assert classifier.config is None
    assert search.best_estimator_.config == {"rows_per_task": 32} | {
        "query_share": search.best_params_["config__query_share"]
    }
    histories = [
        clone(classifier).set_params(config__query_share=share).fit(X, y).history_
        for share in (0.2, 0.4)
    ]
    assert histories[0]["train_loss"][1] != histories[1]["train_loss"][1]


def test_it_works_in_a_grid_search_over_a_pipeline():
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), tiny())
    grid = {"causalmixclassifier__steps": [0, 1]}
    search = GridSearchCV(pipeline, grid, cv=2, scoring="neg_log_loss", error_score="raise")
    search.fit(X[::2], y[::2])
    assert search.best_score_ > -0.3
    assert set(search.predict(X[1::2])) == {0, 1, 2}


def test_it_takes_data_frames_behind_a_column_transformer(table):
    X, y = table
    columns = make_column_transformer(
        ("passthrough", ["binary", "letters"]),
        (StandardScaler(), ["skewed", "count"]),
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    pipeline = make_pipeline(columns, tiny())
    assert cross_val_score(pipeline, X, y, cv=2, error_score="raise").mean() > 0.6


def test_pickles_and_clones(fitted, table):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(table[0]), fitted.predict_proba(table[0]))
    assert again.report_ == fitted.report_
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "classes_")
    assert pickle.loads(pickle.dumps(copy)).get_params() == fitted.get_params()


def test_classifier_and_report_show_themselves_in_notebooks(fitted):
    report = dataclasses.replace(fitted.report_, reason="<script>alert(1)</script>")
    html = report._repr_html_()
    assert "<script" not in html
    assert f"<td>{report.zero_shot['log_loss']:.4f}</td>" in html
    assert f"Verdict: {report.verdict}" in html
    assert repr(report).startswith("FitReport(kept=")
    of_sklearn = clone(fitted).set_params(columns={"<script>alert(1)</script>": "drop"})
    assert "CausalMixClassifier" in of_sklearn._repr_html_()
    assert "<script>alert(1)" not in of_sklearn._repr_html_()


# On disk


def test_what_is_saved_predicts_the_same(fitted, table, tmp_path):
    folder = fitted.save(tmp_path / "model")
    again = CausalMixClassifier.load(folder, device="cpu")
    np.testing.assert_array_equal(again.predict_proba(table[0]), fitted.predict_proba(table[0]))
    assert list(again.predict(table[0])) == list(fitted.predict(table[0]))
    assert again.get_params() == fitted.get_params()
    pd.testing.assert_frame_equal(again.history_, fitted.history_)
    assert again.report_ == fitted.report_
    assert list(again.feature_names_in_) == list(fitted.feature_names_in_)
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


DAYS = ["2020-02-29", "2021-01-01"]


@pytest.mark.parametrize(
    "labels",
    [
        *([1, 5], [1.0, 2.0], [False, True], ["a", "b"]),
        *(np.array(DAYS, dtype=f"datetime64[{unit}]") for unit in ("Y", "D", "s", "ns")),
        np.array([7, 30], dtype="timedelta64[D]"),
        np.array(["no", "yes"], dtype="<U30"),  # cut from a column with longer ones
    ],
    ids=lambda labels: str(np.array(labels).dtype),
)
def test_labels_of_every_type_survive(tmp_path, labels):
    X = np.random.default_rng(0).normal(size=(30, 3))
    y = np.array(labels)[(X[:, 0] > 0).astype(int)]
    classifier = tiny(steps=0).fit(X, y)
    again = CausalMixClassifier.load(classifier.save(tmp_path / "m"), device="cpu")
    assert np.array(labels).dtype == classifier.classes_.dtype
    narrow = np.array(y.tolist()) if y.dtype.kind == "U" else y  # text is as wide as it needs
    assert again.classes_.dtype == narrow.dtype
    np.testing.assert_array_equal(again.predict(X), classifier.predict(X))
    assert (again.predict(X) == y).mean() > 0.8


def test_a_part_of_the_rows_in_which_nothing_varies_is_named():
    """The only row with another value is among those that validate."""
    X = pd.DataFrame({"flag": np.arange(20) == 8}).astype(int)
    with pytest.raises(DataError, match=r"single value in the \d+ rows .* \(random_state\)"):
        tiny(random_state=0, generator=None).fit(X, np.repeat([0, 1], 10))


@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_labels_with_room_for_gaps_are_read_as_others_are():
    large = [2**53, 2**53 + 1, 5] * 4
    for labels, plain in (
        (pd.Series(large, dtype="Int64"), np.array(large)),
        (pd.Series([True, False] * 6, dtype="boolean"), np.array([True, False] * 6)),
        (pd.Series(["a", "b"] * 6, dtype="string"), np.array(["a", "b"] * 6, dtype=object)),
    ):
        for each in (labels, labels.to_frame()):
            classes, codes = read_labels(each)
            assert classes.dtype == plain.dtype
            np.testing.assert_array_equal(classes[codes], plain)
    with pytest.raises(DataError, match="several types"):
        read_labels(["a", 1] * 6)
    with pytest.raises(DataError, match="columns= drops every column"):
        tiny(columns={"x0": "drop"}).fit(np.ones((12, 1)), ["a", "b"] * 6)


def test_saved_weights_are_a_checkpoint_of_their_own(fitted, tmp_path):
    weights = load_tfm(fitted.save(tmp_path / "model") / "weights.safetensors")
    assert weights.content_hash == fitted.tfm_.content_hash


def test_an_earlier_classifier_is_replaced_and_anything_else_left_alone(
    fitted, table, tmp_path, monkeypatch
):
    folder = fitted.save(tmp_path / "model")
    before = (folder / "classifier.json").stat().st_ino

    def fail(path, content):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(persistence, "write_json", fail)
        with pytest.raises(CausalMixError, match="model cannot be written: disk full"):
            fitted.save(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (folder / "classifier.json").stat().st_ino == before  # the earlier one, untouched
    CausalMixClassifier.load(folder, device="cpu")
    fitted.save(folder)
    assert (folder / "classifier.json").stat().st_ino != before
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"no part of a saved classifier: 'notes\.txt'"):
        fitted.save(folder)
    assert (folder / "notes.txt").read_text() == "mine"
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter").touch()
    with pytest.raises(CheckpointError, match="no saved classifier; choose another path"):
        fitted.save(other)
    assert (other / "chapter").exists()
    with pytest.raises(CheckpointError, match="make it first"):
        fitted.save(tmp_path / "no" / "model")


def kill(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)


def save_and_be_killed(classifier, folder, module, function, instead=kill):
    """Save in another process that is killed where it calls a function."""
    child = os.fork()
    if child == 0:
        setattr(module, function, instead)
        try:
            classifier.save(folder)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process to kill")
@pytest.mark.parametrize(
    ("module", "function"),
    [
        (checkpoint, "save_as_safetensors"),
        (persistence, "save_file"),
        (persistence, "write_json"),
        (shutil, "rmtree"),  # of the earlier one
    ],
)
def test_a_kill_while_saving_leaves_nothing_or_all_under_the_name(
    fitted, table, tmp_path, module, function
):
    folder = tmp_path / "model"
    if function != "rmtree":
        save_and_be_killed(fitted, folder, module, function)
        assert not folder.exists()
        with pytest.raises(CheckpointError, match=r"no .*classifier.json\.$"):
            CausalMixClassifier.load(folder)
    fitted.save(folder)
    save_and_be_killed(fitted, folder, module, function)
    again = CausalMixClassifier.load(folder, device="cpu")
    np.testing.assert_array_equal(again.predict_proba(table[0]), fitted.predict_proba(table[0]))
    assert list(tmp_path.glob(".*"))
    fitted.save(folder)  # tidies up
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process to kill")
def test_a_kill_between_two_names_loses_nothing(fitted, tmp_path):
    folder, rename = fitted.save(tmp_path / "model"), os.replace

    def kill_at_the_name(source, target):
        kill() if target == folder else rename(source, target)

    save_and_be_killed(fitted, folder, os, "replace", kill_at_the_name)
    with pytest.raises(CheckpointError, match=r"A save was killed and left .*: rename") as info:
        CausalMixClassifier.load(folder)
    left = re.search("left (.*): rename", str(info.value))[1]
    rename(left, folder)
    CausalMixClassifier.load(folder, device="cpu")


def test_damaged_and_foreign_folders_are_refused(fitted, tmp_path):
    with pytest.raises(CheckpointError, match="no saved classifier"):
        CausalMixClassifier.load(tmp_path)
    folder = fitted.save(tmp_path / "model")
    state = json.loads((folder / "classifier.json").read_text())
    for changed, message in (
        (json.dumps(state | {"format": 99}), "of format 99"),
        ("{", "cannot be read"),
        (json.dumps({"format": persistence.FORMAT}), "classifier.json lacks .*'history'"),
    ):
        (folder / "classifier.json").write_text(changed)
        with pytest.raises(CheckpointError, match=message):
            CausalMixClassifier.load(folder)
    (folder / "classifier.json").write_text(json.dumps(state))
    (folder / "context.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="is not as it was saved"):
        CausalMixClassifier.load(folder)


def test_parameters_that_json_cannot_hold_are_named(table, tmp_path):
    parameters = {"generator": "perturbation", "steps": 0}
    options = {"noise": np.float64(0.2)}
    classifier = tiny(**parameters, generator_options=options).fit(*table)
    assert CausalMixClassifier.load(classifier.save(tmp_path / "m")).generator_options == {
        "noise": 0.2
    }
    classifier.set_params(generator_options={"noise": {1, 2}})
    with pytest.raises(CausalMixError, match="generator_options"):
        classifier.save(tmp_path / "n")
    assert not (tmp_path / "n").exists()


# Columns at prediction


@pytest.mark.parametrize("names", [["a", 1, 2.5], [True, "b", "c"], [("a", 1), "b", 0]])
def test_names_of_several_types_are_found_by_their_text(names, tmp_path):
    values = np.random.default_rng(0).normal(size=(30, 3))
    X = pd.DataFrame(values, columns=pd.Index(names, dtype=object, tupleize_cols=False))
    classifier = tiny(steps=0, generator=None).fit(X, values[:, 0] > 0)
    expected = classifier.predict_proba(X)
    again = CausalMixClassifier.load(classifier.save(tmp_path / "m"), device="cpu")
    np.testing.assert_array_equal(again.predict_proba(X[X.columns[::-1]]), expected)


@pytest.mark.parametrize("options", [{1: 1}, {"name": "copula"}])
def test_names_of_options_are_checked(options, table):
    with pytest.raises(CausalMixError, match=r"generator_options must be|option 'name'"):
        tiny(generator="mixup", generator_options=options).fit(*table)


def test_columns_are_found_by_name_and_others_ignored(fitted, table):
    X, _ = table
    expected = fitted.predict_proba(X)
    shuffled = X[X.columns[::-1]].assign(extra=1.0)
    np.testing.assert_array_equal(fitted.predict_proba(shuffled), expected)
    with pytest.raises(ValueError, match=r"missing:\n- letters\n"):
        fitted.predict_proba(X.drop(columns="letters"))
    with pytest.raises(DataError, match="more than one column named 'count'"):
        fitted.predict_proba(pd.concat([X, X["count"]], axis=1))
    with pytest.raises(ValueError, match="X has 5 features, but CausalMixClassifier is expecting"):
        fitted.predict_proba(X.to_numpy()[:, :5])


def test_columns_whose_names_are_no_strings_are_found_by_name_too(table):
    X, y = table
    X = X.set_axis([10, 2, 33, 4, 5, 60], axis=1)  # their order is not that of their text
    classifier = tiny(steps=0).fit(X, y)
    assert not hasattr(classifier, "feature_names_in_")
    expected = classifier.predict_proba(X)
    shuffled = X[X.columns[::-1]].assign(extra=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for same in (shuffled, shuffled.set_axis(shuffled.columns.astype(str), axis=1)):
            np.testing.assert_array_equal(classifier.predict_proba(same), expected)
    np.testing.assert_array_equal(classifier.predict_proba(X.to_numpy()), expected)
    with pytest.raises(DataError, match="X lacks columns that fit was given: '2', '60'"):
        classifier.predict_proba(X.drop(columns=[60, 2]).assign(other=1.0, more=2.0))
    named = tiny(steps=0).fit(X.rename(columns=str), y)
    np.testing.assert_array_equal(named.predict_proba(X[X.columns[::-1]]), expected)


def test_columns_of_an_array_go_by_position(table):
    X, y = table[0][["skewed", "count"]], table[1]
    classifier = tiny(steps=0).fit(X.to_numpy(), y)
    expected = classifier.predict_proba(X.to_numpy())
    frame = X.set_axis([1, 0], axis=1)
    np.testing.assert_array_equal(classifier.predict_proba(frame), expected)
    with pytest.raises(ValueError, match="X has 1 features, but CausalMixClassifier is expecting"):
        classifier.predict_proba(frame[[0]])


def test_unseen_categories_count_as_missing(fitted, table):
    X, _ = table
    unseen, missing = (X.assign(letters=X["letters"].astype(object)) for _ in range(2))
    unseen.loc[::3, "letters"] = "zebra"
    missing.loc[::3, "letters"] = None
    expected = fitted.predict_proba(missing)
    np.testing.assert_array_equal(fitted.predict_proba(unseen), expected)
    assert not np.array_equal(expected, fitted.predict_proba(X))
    all_missing = X.assign(letters=None, normal=None, binary="?")
    assert np.isfinite(fitted.predict_proba(all_missing)).all()


def test_a_row_is_read_alike_alone_and_among_others():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "code": rng.choice(["007", "01", "? "], 40),
            "whole": rng.choice(pd.Series([10, 2, 33], dtype=object), 40),
            "day": pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 99, 40), "D"),
            "text": rng.normal(size=40).astype(str),
            "flag": rng.random(40) < 0.5,
        }
    ).astype({"whole": "category"})
    X.loc[3, "text"] = "unknown"
    y = X["flag"] & (X["code"] == "01")
    classifier = tiny(steps=0)
    with pytest.warns(UserWarning, match="Converted dates .*'day'"):
        classifier.fit(X, y)
    together = classifier.predict_proba(X)
    for i in range(5):
        alone = classifier.predict_proba(X.iloc[[i]])
        np.testing.assert_allclose(alone, together[[i]], rtol=0, atol=1e-6)
    untyped = X.astype({"whole": int, "day": str, "flag": str})
    np.testing.assert_allclose(classifier.predict_proba(untyped), together, rtol=0, atol=1e-6)
    with pytest.raises(DataError, match=r"Column 'text' held numbers .* now holds 'five'"):
        classifier.predict_proba(X.assign(text="five"))


def test_columns_that_say_nothing_are_left_out_with_a_warning(table):
    X, y = table
    X = X.assign(id=np.arange(90) * 7, same=1)
    with pytest.warns(UserWarning, match="Dropped columns that .*'id'") as caught:
        classifier = tiny(steps=0).fit(X, y)
    assert any("'same'" in str(warning.message) for warning in caught)
    assert caught[0].filename == __file__
    assert classifier.n_features_in_ == 8
    assert classifier.predict_proba(X).shape == (90, 2)


# What it refuses


def test_predicting_and_saving_come_after_fitting(table, tmp_path):
    classifier = tiny()
    for act in (
        lambda: classifier.predict(table[0]),
        lambda: classifier.predict_proba(table[0]),
        lambda: classifier.save(tmp_path / "model"),
    ):
        with pytest.raises(NotFittedError):
            act()


def bad_table(**changes):
    """Thirty rows of two columns and two classes, with something wrong."""
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=["a", "b"])
    return X.assign(**changes), np.arange(30) % 2


@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        (bad_table(b=np.inf)[0], np.arange(30) % 2, DataError, "Infinite values in 'b'"),
        (np.full((30, 2), -np.inf), np.arange(30) % 2, DataError, "Infinite .*'x0', 'x1'"),
        (bad_table()[0].set_axis(["a", "a"], axis=1), np.arange(30) % 2, DataError, "named 'a'"),
        (bad_table()[0][:0], [], DataError, "X has 0 rows and 2 columns"),
        (bad_table()[0][[]], np.arange(30) % 2, DataError, "X has 30 rows and 0 columns"),
        (bad_table(a=1, b=2)[0], np.arange(30) % 2, DataError, "No usable feature column"),
        (bad_table()[0], np.zeros(30), DataError, "only one class, 0"),
        (bad_table()[0], np.array([0, 1, np.nan] * 10), DataError, "NaN in 10 rows.* position 2"),
        (bad_table()[0], np.array(["a", "b", None] * 10), DataError, "NaN in 10 rows"),
        (bad_table()[0], np.random.default_rng(0).normal(size=30), ValueError, "continuous"),
        (bad_table()[0], np.arange(29) % 2, ValueError, "inconsistent numbers of samples"),
        (bad_table()[0], np.arange(30) % 15, DataError, "classes"),
    ],
    ids=lambda value: None if not isinstance(value, str) else value[:20],
)
def test_tables_that_cannot_be_used_are_refused(X, y, error, message):
    with pytest.raises(error, match=message):
        tiny().fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_val": 1}, DataError, "n_val=1 is smaller than .* two rows or more, 2"),
        ({"n_val": 28}, DataError, "28 of them validate"),
        ({"n_val": 1.5}, CausalMixError, "n_val must be"),
        ({"n_val": True}, CausalMixError, "n_val must be"),
        ({"steps": -1}, CausalMixError, "steps must not be negative"),
        ({"time_limit": 0}, CausalMixError, "time_limit must be positive"),
        ({"generator": "casual"}, UnknownNameError, "'causal'"),
        ({"generator_options": {"noise": 1}}, CausalMixError, "generator=None has none"),
        (
            {"generator": "perturbation", "generator_options": {"nose": 1}},
            UnknownNameError,
            "'noise'",
        ),
        ({"tfm": "v9"}, UnknownNameError, "foundation model 'v9'"),
        ({"device": "tpu9"}, CausalMixError, "Unknown device 'tpu9'"),
        ({"n_estimators": 0}, CausalMixError, "n_estimators is 0; .* at least 1"),
        ({"n_estimators": -1}, CausalMixError, "n_estimators is -1; .* at least 1"),
        ({"n_estimators": 1.5}, CausalMixError, "n_estimators .* whole number or None, got 1.5"),
        ({"steps": 2.5}, CausalMixError, "steps must be a whole number, got 2.5"),
        ({"steps": "a"}, CausalMixError, "steps must be a whole number, got 'a'"),
        ({"steps": True}, CausalMixError, "steps must be a whole number, got True"),
        ({"patience": None}, CausalMixError, "patience must be a whole number, got None"),
        ({"time_limit": "x"}, CausalMixError, "time_limit must be a number or None, got 'x'"),
        ({"weight_decay": np.nan}, CausalMixError, "weight_decay must be a number, got nan"),
        ({"level": None}, CausalMixError, "level must be a number, got None"),
        ({"fresh_rows": "no"}, CausalMixError, "fresh_rows must be True or False, got 'no'"),
        ({"tfm": None}, CausalMixError, "tfm must be a string or a Path, got None"),
        ({"generator": ["causal"]}, CausalMixError, "generator must be a string or None"),
        ({"generator_options": "noise"}, CausalMixError, "generator_options must be a mapping"),
        ({"random_state": -1}, CausalMixError, "random_state must be .*not negative.* got -1"),
        ({"random_state": "a"}, CausalMixError, "random_state must be .* got 'a'"),
        ({"device": None}, CausalMixError, "Unknown device None"),
        ({"config": 3}, CausalMixError, "config must be a FinetuneConfig, a mapping .* got 3"),
        ({"config": "steps"}, CausalMixError, "config must be .*, got 'steps'"),
        ({"stepz": 3}, UnknownNameError, "setting in config 'stepz'. Did you mean 'steps'"),
        ({"config": {1: 2}}, UnknownNameError, "Unknown setting in config 1. Valid: steps"),
        ({"device": "meta"}, CausalMixError, "'meta' was asked for, but PyTorch finds none here"),
    ],
)
def test_impossible_parameters_are_named(parameters, error, message):
    with pytest.raises(error, match=message):
        tiny(**parameters).fit(*bad_table())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_refused():
    with pytest.raises(CausalMixError, match="PyTorch finds none"):
        tiny(device="cuda").fit(*bad_table())


def test_a_regression_checkpoint_is_refused(tmp_path):
    path = tmp_path / "regressor.ckpt"
    config = {"max_num_classes": 0, "num_buckets": 10}
    torch.save({"state_dict": {}, "config": config, "architecture_name": "tabpfn_v2"}, path)
    with pytest.raises(CheckpointError, match="regression checkpoint"):
        tiny(tfm=path).fit(*bad_table())


def test_numbers_of_numpy_are_numbers(table, tmp_path):
    parameters = {"steps": np.int64(0), "level": np.float32(0.5), "fresh_rows": np.bool_(False)}
    parameters |= {"n_estimators": np.int32(1), "random_state": np.int64(3)}
    classifier = tiny(**parameters).fit(*table)
    assert classifier.report_.steps == 0
    again = CausalMixClassifier.load(classifier.save(tmp_path / "m"), device="cpu")
    assert again.n_estimators == 1


def test_weights_of_rows_are_refused(table):
    X, y = table
    classifier = tiny(steps=0)
    with pytest.raises(CausalMixError, match="fit does not take sample_weight"):
        classifier.fit(X, y, sample_weight=np.ones(len(X)))
    with pytest.raises(CausalMixError, match="fit does not take weight:"):
        classifier.fit(X, y, sample_weight=None, weight=None)
    classifier.fit(X, y, sample_weight=None)


def test_a_fit_that_fails_leaves_the_earlier_one_as_it_was(table, monkeypatch):
    X, y = table
    classifier = tiny(steps=0).fit(X, y)
    expected, learned = classifier.predict_proba(X), dict(vars(classifier))

    def fit_in_vain(columns, labels, error, **parameters):
        with pytest.raises(error):
            classifier.set_params(**parameters).fit(columns, labels)
        classifier.set_params(steps=0)
        assert vars(classifier) == learned
        np.testing.assert_array_equal(classifier.predict_proba(X), expected)

    fit_in_vain(X.iloc[:, 1:], np.zeros(90), DataError)
    fit_in_vain(X["count"].to_numpy()[:, None], np.zeros(90), DataError)  # has no names
    fit_in_vain(X, y, CausalMixError, steps=-1)
    monkeypatch.setattr("causalmix.finetuning.estimator.make_report", lambda *_, **__: 1 / 0)
    fit_in_vain(X.iloc[:, 1:], y, ZeroDivisionError)
    unfitted = tiny()
    with pytest.raises(DataError):
        unfitted.fit(X, np.zeros(90))
    assert vars(unfitted) == vars(tiny())


def test_bad_rows_to_predict_are_named(fitted, table):
    X, _ = table
    with pytest.raises(DataError, match="Infinite values in 'skewed'"):
        fitted.predict(X.assign(skewed=-np.inf))
    with pytest.raises(DataError, match="X has 0 rows"):
        fitted.predict(X[:0])
    with pytest.raises(ValueError, match="2D array"):
        fitted.predict(load_wine().data[0])


@pytest.mark.parametrize("kind", [int, bool, str])
def test_labels_of_dtype_object_are_scored(kind):
    X, y = bad_table()
    labels = pd.Series([kind(each) for each in y], dtype=object)
    classifier = tiny(generator=None, steps=0).fit(X, labels)
    right = np.mean(
        [one == other for one, other in zip(classifier.predict(X), labels, strict=True)]
    )
    assert classifier.score(X, labels) == right
    assert cross_val_score(classifier, X, labels, cv=2, error_score="raise").shape == (2,)
    weights = np.arange(len(y))
    assert classifier.score(X, labels, weights) == pytest.approx(
        np.average(classifier.predict(X) == labels.infer_objects().to_numpy(), weights=weights)
    )
