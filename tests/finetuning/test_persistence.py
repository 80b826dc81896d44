"""Saved classifiers: what a damaged folder says, and the values that JSON has no form for."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import causalmix
from causalmix.errors import CausalMixError, CheckpointError
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.estimator import CausalMixClassifier
from causalmix.finetuning.persistence import FORMAT, json_value

TINY = {"n_estimators": 1, "steps": 0, "random_state": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def table():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["a", "b"])
    return X, (X["a"] > 0).to_numpy()


@pytest.fixture
def folder(table, tmp_path):
    return CausalMixClassifier(**TINY).fit(*table).save(tmp_path / "model")


def change(folder, change_state):
    """Change the state in place."""
    file = folder / "classifier.json"
    state = json.loads(file.read_text())
    change_state(state)
    file.write_text(json.dumps(state))


def refusal(folder):
    with pytest.raises(CheckpointError) as info:
        CausalMixClassifier.load(folder, device="cpu")
    return str(info.value)


@pytest.mark.parametrize(
    "key",
    [
        *("format", "versions", "parameters", "classes", "n_features_in", "feature_names_in"),
        *("columns", "schema", "n_estimators", "seed", "report", "history"),
    ],
)
def test_what_the_state_lacks_is_named(folder, key):
    change(folder, lambda state: state.pop(key))
    message = f"{folder / 'classifier.json'} lacks '{key}'. Save the classifier again."
    assert refusal(folder) == message


def test_what_parts_of_the_state_lack_is_named(folder):
    def damage(state):
        del state["classes"]["dtype"], state["report"]["gain"]

    change(folder, damage)
    assert "classifier.json lacks 'classes.dtype', 'report.gain'." in refusal(folder)


def test_a_folder_of_an_older_format_says_what_to_do(folder):
    def age(state):
        state.update(format=2, versions={"causalmix": "0.0.9"}, parameters={"steps": 40})

    change(folder, age)
    assert refusal(folder) == (
        f"{folder / 'classifier.json'} is of format 2, written by causalmix 0.0.9, and this is "
        f"causalmix {causalmix.__version__}, which reads format {FORMAT}: fit the classifier again "
        "and save it, or load it with that version."
    )


@pytest.mark.parametrize(
    "config", [None, {"rule": "last", "level": np.float64(1)}, FinetuneConfig(rule="last")]
)
def test_a_config_comes_back_as_it_was(table, tmp_path, config):
    classifier = CausalMixClassifier(**TINY, config=config).fit(*table)
    again = CausalMixClassifier.load(classifier.save(tmp_path / "model"), device="cpu")
    assert again.get_params() == classifier.get_params()
    assert type(again.config) is type(config)


def test_unknown_parameters_are_named(folder):
    change(folder, lambda state: state["parameters"].update(depth=3))
    assert "classifier.json has unknown parameters: 'depth'. It was written" in refusal(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.update(classes=None),
        lambda state: state["classes"].update(dtype="complicated"),
        lambda state: state["report"].update(surprise=1),
        lambda state: state.update(history=3),
    ],
)
def test_parts_of_another_kind_are_damage(folder, damage):
    change(folder, damage)
    assert f"{folder / 'classifier.json'} cannot be read as part of a saved" in refusal(folder)
    (folder / "classifier.json").write_text("[1, 2]")
    assert "classifier.json cannot be read as part of a saved" in refusal(folder)


@pytest.mark.parametrize("dtype", [bool, int, str])
def test_shares_of_classes_keep_their_keys(table, tmp_path, dtype):
    X, y = table[0], table[1].astype(dtype)
    shares = dict.fromkeys(np.unique(y), 0.5)  # keys of NumPy
    options = {"class_shares": shares, "n_bootstraps": 1, "n_dags": 1}
    classifier = CausalMixClassifier(**TINY, generator_options=options).fit(X, y)
    again = CausalMixClassifier.load(classifier.save(tmp_path / "model"), device="cpu")
    assert again.get_params() == classifier.get_params()
    keys = again.generator_options["class_shares"].keys()
    assert {type(key) for key in keys} == {dtype}
    small = {"config__n_synthetic": 40, "config__n_synthetic_val": 20}
    again.set_params(steps=1, **small).fit(X, y)


def test_keys_that_json_cannot_hold_are_refused():
    assert json_value("options", {"shares": {"a": np.float32(0.5)}, "names": ("b",)}) == {
        "shares": {"a": 0.5},
        "names": ["b"],
    }
    with pytest.raises(CausalMixError, match=r"options={.* cannot be saved"):
        json_value("options", {"edges": {("a", "b"): 1}})


def test_a_type_of_labels_that_would_take_gigabytes_is_refused():
    with pytest.raises(ValueError, match="bytes a label, of 3 characters"):
        persistence._label_dtype({"dtype": "<U500000000", "values": ["yes", "no"]})
    assert persistence._label_dtype({"dtype": "<U3", "values": ["yes", "no"]}) == "<U3"
