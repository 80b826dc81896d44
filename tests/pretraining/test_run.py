"""A pre-training that survives being interrupted."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from made_training import HELD_OUT, TINY

from causalmix.errors import CausalMixError, CheckpointError
from causalmix.pretraining import run as module
from causalmix.pretraining.config import PRETRAINING, read_config
from causalmix.pretraining.heldout import (
    HELD_OUT_TASKS,
    held_out_loss,
    logits_and_targets,
    read_tasks,
    write_tasks,
)
from causalmix.pretraining.heldout import main as print_loss
from causalmix.pretraining.run import main, pretrain
from causalmix.pretraining.tasks import task_stream
from causalmix.prior.tasks import NO_CLASS, sample_batch
from causalmix.tfm.model import EMBEDDED_CHECKPOINT, load_tfm

TIMES = ["seconds", "waited"]


@pytest.fixture(autouse=True)
def few_held_out_tasks(tmp_path_factory, monkeypatch):
    """Two batches of small tasks, because a tiny network is slow on those of the package."""
    path = tmp_path_factory.mktemp("held_out") / "tasks.safetensors"
    assert write_tasks(path, HELD_OUT) == TINY.held_out
    monkeypatch.setitem(pretrain.__kwdefaults__, "held_out", path)
    return path


def weights(folder) -> dict[str, torch.Tensor]:
    return torch.load(folder / "state.pt", weights_only=True)["network"]


# ---- training ------------------------------------------------------------------------------------


def test_an_interrupted_run_ends_like_an_uninterrupted_one(tmp_path, monkeypatch):
    whole = pretrain(tmp_path / "whole", TINY)
    assert whole["step"].tolist() == [2, 4, 6]

    write_results = module.TrainingRun.write_results

    def killed_in_step_four(run, folder):
        if run.step == 4:
            raise KeyboardInterrupt
        write_results(run, folder)

    monkeypatch.setattr(module.TrainingRun, "write_results", killed_in_step_four)
    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path / "parts", TINY)
    monkeypatch.setattr(module.TrainingRun, "write_results", write_results)
    resumed = pretrain(tmp_path / "parts", TINY)

    pd.testing.assert_frame_equal(resumed.drop(columns=TIMES), whole.drop(columns=TIMES))
    first, second = (
        load_tfm(tmp_path / name / "model.safetensors").content_hash for name in ("whole", "parts")
    )
    assert first == second


def test_time_that_runs_out_stops_a_run_which_another_call_ends_like_an_uninterrupted_one(tmp_path):
    whole = pretrain(tmp_path / "whole", TINY)
    assert pretrain(tmp_path / "parts", TINY, seconds=0).empty  # a step, no evaluation yet
    assert torch.load(tmp_path / "parts" / "state.pt", weights_only=True)["step"] == 1
    for _ in range(TINY.steps - 1):
        resumed = pretrain(tmp_path / "parts", TINY, seconds=0)
    pd.testing.assert_frame_equal(resumed.drop(columns=TIMES), whole.drop(columns=TIMES))
    torch.testing.assert_close(
        weights(tmp_path / "parts"), weights(tmp_path / "whole"), rtol=0, atol=0
    )


def test_the_command_repeats_a_run_bit_for_bit(tmp_path, few_held_out_tasks, capsys):
    settings = {key: value for key, value in asdict(TINY).items() if key != "prior"}
    prior = {"rows": [24, 32], "max_features": 4, "max_tasks": 2}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({**settings, "prior": prior}))
    options = ["--config", str(config), "--held-out", str(few_held_out_tasks), "--device", "cpu"]
    for folder, producers in (("first", "0"), ("again", "2")):
        main([str(tmp_path / folder), *options, "--producers", producers])
    first, again = (
        load_tfm(tmp_path / folder / "model.safetensors").content_hash
        for folder in ("first", "again")
    )  # of the content: the safetensors format leaves the order of its header open
    assert first == again
    torch.testing.assert_close(
        weights(tmp_path / "first"), weights(tmp_path / "again"), rtol=0, atol=0
    )
    assert "held_out_loss" in capsys.readouterr().out


def test_a_run_writes_log_manifest_and_the_best_checkpoint(tmp_path, monkeypatch):
    commits = iter(["at its start", "later"])
    monkeypatch.setattr("causalmix.pretraining.run.git_commit", lambda: next(commits))
    log = pretrain(tmp_path, TINY)
    written = pd.read_csv(tmp_path / "log.csv")
    pd.testing.assert_frame_equal(written, log)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    best = log.loc[log["held_out_loss"].idxmin()]
    assert manifest["best_step"] == best["step"]
    assert manifest["commit"] == "at its start"
    assert manifest["config"]["steps"] == manifest["steps_done"] == TINY.steps
    assert load_tfm(tmp_path / "model.safetensors").limits.max_classes == 10
    assert not list(tmp_path.glob(".*"))  # no temporary file is left


def test_a_finished_run_is_not_run_again(tmp_path, monkeypatch):
    log = pretrain(tmp_path, TINY)
    monkeypatch.setattr(module.TrainingRun, "train_step", None)
    pd.testing.assert_frame_equal(pretrain(tmp_path, TINY), log)
    (tmp_path / "model.safetensors").unlink()
    best = log.loc[log["best"], "step"].iloc[-1]
    with pytest.raises(CheckpointError, match=f"weights of its best evaluation, at step {best}"):
        pretrain(tmp_path, TINY)


def test_another_configuration_does_not_take_over_a_run(tmp_path):
    pretrain(tmp_path, TINY)
    other = replace(TINY, seed=1)
    with pytest.raises(CheckpointError, match="another configuration"):
        pretrain(tmp_path, other)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with two cores
def test_a_damaged_state_is_named(tmp_path):
    pretrain(tmp_path, TINY)
    state, content = tmp_path / "state.pt", (tmp_path / "state.pt").read_bytes()
    for damaged in (b"", content[:-500], b"PK" + content[2:500]):
        state.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"state\.pt cannot be read as the state"):
            pretrain(tmp_path, TINY)
    torch.save({"config": asdict(TINY)}, state)
    with pytest.raises(CheckpointError, match=r"state\.pt cannot be read as .*'network'"):
        pretrain(tmp_path, TINY)


@pytest.mark.parametrize("name", ["model.safetensors", "log.csv", "manifest.json"])
def test_results_that_are_not_the_runs_own_are_left_alone(tmp_path, name, capsys):
    (tmp_path / name).write_text("mine")
    with pytest.raises(CheckpointError, match=f"holds {name}, but no state"):
        pretrain(tmp_path, TINY)
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), "--device", "cpu", "--producers", "0"])
    assert ended.value.code == 2
    assert f"holds {name}" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "mine"


def test_where_a_run_cannot_write_is_found_before_it_trains(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(module, "TrainingRun", None)
    for name in ("file", "file/deep"):
        with pytest.raises(CausalMixError, match=rf"{name} cannot be written"):
            pretrain(tmp_path / name, TINY)


@pytest.mark.parametrize("producers", [1, 2, 3])
def test_the_number_of_producers_does_not_change_the_tasks(producers):
    alone, ahead = task_stream(TINY, 3), task_stream(TINY, 3, producers=producers)
    pairs = list(zip(alone, ahead, strict=True))
    assert len(pairs) == 8  # two batches in each of the steps 3 to 6
    for one, other in pairs:
        torch.testing.assert_close(one.x, other.x, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(one.y, other.y)
        assert one.n_context == other.n_context


def test_a_run_that_is_made_longer_keeps_its_plateau(tmp_path):
    pretrain(tmp_path, replace(TINY, steps=4))
    log = pretrain(tmp_path, replace(TINY, steps=8))
    assert log["step"].tolist() == [2, 4, 6, 8]
    assert log["learning_rate"].tolist() == pytest.approx([2e-3, 1e-3, 2e-3, 1e-3])


def test_without_warm_up_the_rate_is_whole_from_the_first_step(tmp_path):
    log = pretrain(tmp_path, replace(TINY, steps=4, warmup_steps=0, evaluate_every=1))
    assert log["learning_rate"].tolist()[:2] == pytest.approx([2e-3, 2e-3])


def test_a_run_starts_from_the_weights_of_a_checkpoint(tmp_path):
    pretrain(tmp_path / "first", TINY)
    start = tmp_path / "first" / "model.safetensors"
    digest = hashlib.sha256(start.read_bytes()).hexdigest()
    config = replace(TINY, steps=1, learning_rate=1e-12, start=digest)
    log = pretrain(tmp_path / "second", config, start_from=start)
    first = pd.read_csv(tmp_path / "first" / "log.csv")
    assert log["held_out_loss"].iloc[0] == pytest.approx(first["held_out_loss"].min(), abs=1e-3)
    with pytest.raises(CheckpointError, match="starts from a checkpoint with SHA-256"):
        pretrain(tmp_path / "third", replace(config, start="0"), start_from=start)
    with pytest.raises(CheckpointError, match=rf"\(SHA-256 {digest}\); give it with --start-from"):
        pretrain(tmp_path / "third", config)
    with pytest.raises(CheckpointError, match="No checkpoint at"):
        pretrain(tmp_path / "third", config, start_from=tmp_path / "missing.safetensors")


def test_training_lowers_the_loss():
    torch.manual_seed(0)
    config = replace(TINY, learning_rate=1e-2)
    run = module.TrainingRun(config, None, torch.device("cpu"))
    batch = sample_batch(TINY.prior, np.random.default_rng(0), difficulty=0.0)

    def loss() -> torch.Tensor:
        logits, targets = logits_and_targets(run.network, batch)
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=NO_CLASS
        )

    before = loss().item()
    for _ in range(30):
        run.network.zero_grad()
        loss().backward()
        for optimiser in run.optimisers:
            optimiser.step()
    assert loss().item() < before - 0.02


def test_the_log_of_the_embedded_checkpoint_is_its_own():
    folder = EMBEDDED_CHECKPOINT.parents[2] / "results" / "pretrain"
    if not folder.is_dir():
        pytest.skip("the results lie in the repository only")
    log = pd.read_csv(folder / "log.csv")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["best_step"] == log.loc[log["held_out_loss"].idxmin(), "step"]
    # Inference settings were chosen afterwards: the file is another one, the weights are the same.
    assert manifest["content_hash"] == load_tfm().content_hash


def test_a_configuration_with_an_unknown_setting_is_refused(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(PRETRAINING.read_text() + "\nlerning_rate: 0.1\n")
    with pytest.raises(CheckpointError, match="lerning_rate"):
        read_config(path)
    with pytest.raises(CheckpointError, match="No such file"):
        read_config(tmp_path / "missing.yaml")
    assert read_config().prior.rows == (48, 1536)


# ---- held-out tasks ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"), [("batches_per_step", 0), ("evaluate_every", 0), ("learning_rate", 0.0)]
)
def test_a_configuration_that_makes_no_sense_is_refused(name, value):
    with pytest.raises(CausalMixError, match=name):
        replace(TINY, **{name: value})


def test_the_callers_random_numbers_are_left_alone(tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    pretrain(tmp_path, replace(TINY, steps=1))
    assert torch.equal(torch.rand(1), expected)


def test_the_loss_in_batches_is_the_mean_of_the_loss_of_each_task():
    torch.manual_seed(0)
    network = module.build_network(module.ARCHITECTURE, TINY.network).eval()
    batches = read_tasks()[:6]
    losses = []
    for batch in batches:
        for task in range(batch.x.shape[1]):
            alone = replace(batch, x=batch.x[:, [task]], y=batch.y[:, [task]])
            with torch.no_grad():
                logits, targets = logits_and_targets(network, alone)
            known = targets[:, 0] != NO_CLASS
            if known.any():
                losses.append(
                    torch.nn.functional.cross_entropy(logits[known, 0], targets[known, 0]).item()
                )
    assert held_out_loss(network, batches) == pytest.approx(np.mean(losses), abs=1e-5)


def test_other_held_out_tasks_are_refused(tmp_path):
    assert sum(batch.x.shape[1] for batch in read_tasks()) == 165
    with pytest.raises(CheckpointError, match=r"content hash 7d497.*, not 0000:"):
        read_tasks(content="0000")
    damaged = tmp_path / HELD_OUT_TASKS.name
    content = bytearray(HELD_OUT_TASKS.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(CheckpointError, match="content hash"):
        read_tasks(damaged)
    damaged.write_bytes(content[:1000])
    with pytest.raises(CheckpointError, match="cannot be read as held-out tasks"):
        read_tasks(damaged)
    with pytest.raises(CheckpointError, match="content hash"):
        pretrain(tmp_path / "run", replace(TINY, held_out="0000"))


def test_the_command_prints_a_checkpoints_loss_and_the_hashes(tmp_path, monkeypatch, capsys):
    pretrain(tmp_path, TINY)
    path = tmp_path / "model.safetensors"
    print_loss([str(path)])
    printed = capsys.readouterr().out
    for part in (hashlib.sha256(path.read_bytes()).hexdigest(), load_tfm(path).content_hash):
        assert part in printed
    assert 0.5 < float(printed.split()[-1]) < 3
