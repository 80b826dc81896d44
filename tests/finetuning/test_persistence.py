"""Saved classifiers: what a damaged folder says, and the values that JSON has no form for."""

from __future__ import annotations

import json
import os
import shutil
import stat

import numpy as np
import pandas as pd
import pytest

import causalmix
from causalmix.errors import CausalMixError, CheckpointError
from causalmix.finetuning import persistence
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.estimator import CausalMixClassifier
from causalmix.finetuning.persistence import FORMAT, json_value
from causalmix.manifest import json_hash

TINY = {"n_estimators": 1, "steps": 0, "random_state": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def table():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["a", "b"])
    return X, (X["a"] > 0).to_numpy()


@pytest.fixture
def folder(table, tmp_path):
    return CausalMixClassifier(**TINY).fit(*table).save(tmp_path / "model")


def change(folder, change_state, *, sealed=True):
    """Change the state in place, and its checksum with it, as one who means to."""
    file = folder / "classifier.json"
    state = json.loads(file.read_text())
    change_state(state)
    if sealed and "checksums" in state:
        plain = {name: part for name, part in state.items() if name != "checksums"}
        state["checksums"]["classifier.json"] = json_hash(plain)
    file.write_text(json.dumps(state))


def refusal(folder):
    with pytest.raises(CheckpointError) as info:
        CausalMixClassifier.load(folder, device="cpu")
    return str(info.value)


@pytest.mark.parametrize(
    "key",
    [
        *("format", "versions", "parameters", "classes", "n_features_in", "feature_names_in"),
        *("columns", "schema", "n_estimators", "seed", "report", "history", "checksums"),
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
    given = TINY | {"generator": "causal", "generator_options": options}
    classifier = CausalMixClassifier(**given).fit(X, y)
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
        persistence._label_dtype({"dtype": "S500000000", "values": ["yes", "no"]})
    for wide in ("<U3", "<U30", "<U500000000"):
        assert persistence._label_dtype({"dtype": wide, "values": ["yes", "no"]}) == "<U3"


def flip(file):
    """Change one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["weights.safetensors", "context.safetensors"])
def test_a_flipped_bit_and_a_file_of_another_classifier_are_found(table, folder, tmp_path, name):
    other = CausalMixClassifier(**TINY).fit(table[0] * 2, ~table[1]).save(tmp_path / "other")
    whole = (folder / name).read_bytes()
    flip(folder / name)
    assert refusal(folder).startswith(f"{folder / name} is not as it was saved: its content is")
    (folder / name).write_bytes(whole)
    CausalMixClassifier.load(folder, device="cpu")
    shutil.copy(other / "context.safetensors", folder)
    assert f"{folder / 'context.safetensors'} is not as it was saved" in refusal(folder)


@pytest.mark.parametrize(
    "change_state",
    [
        lambda state: state.update(schema=dict(reversed(state["schema"].items()))),
        lambda state: state.update(columns=["b", "a"]),
        lambda state: state["classes"]["values"].reverse(),
        lambda state: state.update(seed=state["seed"] + 1),
    ],
)
def test_a_state_that_was_changed_is_found(folder, change_state):
    change(folder, lambda state: None, sealed=False)  # written anew, with the same content
    CausalMixClassifier.load(folder, device="cpu")
    change(folder, change_state, sealed=False)
    assert f"{folder / 'classifier.json'} is not as it was saved" in refusal(folder)


def test_a_file_that_is_gone_or_cut_short_is_named(folder):
    for name in ("context.safetensors", "weights.safetensors"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-100])
        assert f"{folder / name} is not as it was saved" in refusal(folder)
        (folder / name).unlink()
        assert f"{folder / name} cannot be read as part of a saved classifier" in refusal(folder)
        (folder / name).write_bytes(content)


def test_a_link_to_a_classifier_is_written_through(table, folder, tmp_path):
    link = tmp_path / "current"
    link.symlink_to(folder, target_is_directory=True)
    before = (folder / "classifier.json").stat().st_ino
    CausalMixClassifier(**TINY).fit(*table).save(link)
    assert link.is_symlink()
    assert (folder / "classifier.json").stat().st_ino != before
    CausalMixClassifier.load(link, device="cpu")


def test_files_are_readable_as_the_umask_says(table, tmp_path):
    classifier, before = CausalMixClassifier(**TINY).fit(*table), os.umask(0o022)
    try:
        folder = classifier.save(tmp_path / "model")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o644}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
