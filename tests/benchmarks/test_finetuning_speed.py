"""The comparison with tabpfn's own fine-tuning: the same start, and complete records."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from causalmix.benchmarks import finetuning_speed
from causalmix.benchmarks.finetuning_speed import _library, _split, measure_time_to_loss
from causalmix.cli import main
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.run import finetune
from causalmix.tfm.model import EMBEDDED_CHECKPOINT, load_tfm


def test_both_start_from_the_same_log_loss():
    split = _split(n_train=40, n_val=20, n_features=8, seed=1)
    # The library warms up from a rate of 0, so that its first step changes nothing.
    library = _library(EMBEDDED_CHECKPOINT, split=split, epochs=10, early_stopping=False)
    ours = finetune(load_tfm(), split, config=FinetuneConfig(steps=0), n_estimators=2).history
    assert len(library) == 10
    assert library["val_log_loss"][0] == pytest.approx(ours["val_log_loss"][0], abs=1e-5)
    assert library["cpu_seconds"].is_monotonic_increasing


def test_the_aim_is_what_both_reach():
    rows = measure_time_to_loss(
        load_tfm(),
        EMBEDDED_CHECKPOINT,
        n_train=40,
        n_val=20,
        n_features=8,
        config=FinetuneConfig(steps=4, validate_every=2, learning_rate=1e-3),
    )
    assert [row["library_learning_rate"] for row in rows] == [1e-5, 1e-3]
    for row in rows:
        assert row["log_loss"] == max(row["best_log_loss"], row["library_best_log_loss"])
        if row["ratio"] == row["ratio"]:
            assert row["ratio"] == row["library_seconds"] / row["seconds"]


def test_the_command_writes_a_ratio_with_its_manifest(tmp_path, monkeypatch):
    row = {"n_train": 30, "seed": 0, "ratio": 2.0}
    monkeypatch.setattr(finetuning_speed, "measure_time_to_loss", lambda *_, **__: [row])
    out = tmp_path / "results" / "speed.json"
    small = ["--n-train", "30", "--steps", "1", "--repeats", "1", "--seeds", "1"]
    shown = CliRunner().invoke(main, ["benchmark-finetuning", "--speed", "--out", str(out), *small])
    assert shown.exit_code == 0, shown.output
    found = json.loads(out.read_text())
    (step,) = found["steps"]
    assert step["ratio"] == step["library_seconds"] / step["seconds"]
    assert found["time_to_loss"] == [row]
    assert {"settings", "versions", "commit"} <= set(found)
    assert [path.name for path in out.parent.iterdir()] == ["speed.json"]
    assert "CPU time of a step" in shown.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "either --data FOLDER or --speed"),
        (["--speed", "--data", "."], "either --data FOLDER or --speed"),
        (["--speed", "--steps", "0"], "steps is 0; a whole number, at least 1"),
        (["--speed", "--rules", "last"], "--rules does not go with --speed"),
        (["--data", ".", "--repeats", "2"], "--repeats does not go with --data"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(tmp_path, options, message):
    out = str(tmp_path / "speed.json")
    shown = CliRunner().invoke(main, ["benchmark-finetuning", "--out", out, *options])
    assert shown.exit_code == 2
    assert message in shown.output


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("benchmark-generation --csuite . --seeds 9", "--seeds does not go with --csuite"),
        ("benchmark-generation --speed wine --n-train 50", "--n-train does not go with --speed"),
        ("benchmark-generation --datasets iris --repetitions 2", "--repetitions does not go with"),
        ("evaluate-tfm --speed --seeds 2", "--seeds does not go with --speed alone"),
        ("benchmark-discovery --table wine", "--table and --target are of --speed"),
        ("audit . --claims --sample 3", "--sample does not go with --claims"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(tmp_path, command, message):
    shown = CliRunner().invoke(main, [*command.split(), "--out", str(tmp_path / "a.csv")])
    assert shown.exit_code == 2
    assert message in shown.output
    assert not any(tmp_path.iterdir())
