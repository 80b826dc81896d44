"""Runs use the weights that they name, or none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from causalmix.benchmarks import checkpoints, known_models
from causalmix.benchmarks.checkpoints import load_checkpoint
from causalmix.benchmarks.engine import Run
from causalmix.benchmarks.zero_shot import load_variant
from causalmix.errors import CausalMixError


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A file that holds the hash of its model; the models that were read from it."""
    read = []

    def load(path, device):
        read.append(SimpleNamespace(run_hash=path.read_text()))
        return read[-1]

    monkeypatch.setattr(checkpoints, "load_tfm", load)
    path = tmp_path / "model.ckpt"
    path.write_text("aa-1")
    return path, read


def test_a_file_is_read_once_until_another_model_is_asked_for(place):
    path, read = place
    assert load_checkpoint(path, "aa-1") is load_checkpoint(path, "aa-1")
    assert len(read) == 1
    path.write_text("bb-1")
    assert load_checkpoint(path, "aa-1") is read[0]  # a run that began with it
    assert load_checkpoint(path, "bb-1").run_hash == "bb-1"


def test_a_model_that_was_not_asked_for_is_refused_until_it_is_replaced(place):
    path, _ = place
    for _ in range(2):
        with pytest.raises(CausalMixError, match=r"hash aa-1; the run asks for bb-1"):
            load_checkpoint(path, "bb-1")
    path.write_text("bb-1")
    assert load_checkpoint(path, "bb-1").run_hash == "bb-1"


def test_all_kinds_of_runs_refuse_another_model():
    settings = {"seed": 0, "weights": "0"}
    places = {"tfm": "embedded", "device": "cpu"}
    with pytest.raises(CausalMixError, match=r"embedded has the hash .*; the run asks for 0"):
        known_models.perform(Run("known_models", settings, "hospital", places), None)
    with pytest.raises(CausalMixError, match=r"embedded has the hash .*; the run asks for 0"):
        load_variant("embedded", "0")
