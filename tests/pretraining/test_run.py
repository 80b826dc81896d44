"""A pre-training that survives being interrupted."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from causalmix.errors import CheckpointError
from causalmix.pretraining import run as module
from causalmix.pretraining.heldout import logits_and_targets, mean_auc
from causalmix.pretraining.run import PretrainConfig, pretrain
from causalmix.prior.tasks import NO_CLASS, PriorConfig, sample_batch
from causalmix.tfm.model import EMBEDDED_CHECKPOINT, load_tfm

TINY = PretrainConfig(
    steps=6,
    batches_per_step=2,
    warmup_steps=2,
    decay_steps=2,
    curriculum_steps=2,
    evaluate_every=2,
    n_held_out=2,
    prior=PriorConfig(rows=(24, 32), max_features=4, max_tasks=2),
    network={
        "max_num_classes": 10,
        "num_buckets": 2,
        "embed_dim": 8,
        "dist_embed_num_blocks": 1,
        "dist_embed_num_heads": 1,
        "dist_embed_num_inducing_points": 2,
        "feat_agg_num_blocks": 1,
        "feat_agg_num_heads": 1,
        "feat_agg_num_cls_tokens": 1,
        "nlayers": 1,
        "icl_num_heads": 1,
        "decoder_head_dim": 8,
        "decoder_num_heads": 1,
    },
)


@pytest.fixture(autouse=True)
def no_real_tables(monkeypatch):
    monkeypatch.setattr(module, "evaluate_real_tables", lambda network: {})


# ---- training ------------------------------------------------------------------------------------


def test_an_interrupted_run_ends_like_an_uninterrupted_one(tmp_path, monkeypatch):
    whole = pretrain(tmp_path / "whole", TINY)
    assert whole["step"].tolist() == [2, 4, 6]

    train_step = module._Run.train_step

    def killed_in_step_five(run, step):
        if step == 5:
            raise KeyboardInterrupt
        return train_step(run, step)

    monkeypatch.setattr(module._Run, "train_step", killed_in_step_five)
    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path / "parts", TINY)
    monkeypatch.setattr(module._Run, "train_step", train_step)
    resumed = pretrain(tmp_path / "parts", TINY)

    timeless = {"columns": "seconds"}
    pd.testing.assert_frame_equal(resumed.drop(**timeless), whole.drop(**timeless))
    first, second = (
        load_tfm(tmp_path / name / "model.safetensors").content_hash for name in ("whole", "parts")
    )
    assert first == second


def test_a_run_writes_log_manifest_and_the_best_checkpoint(tmp_path):
    log = pretrain(tmp_path, TINY)
    written = pd.read_csv(tmp_path / "log.csv")
    pd.testing.assert_frame_equal(written, log)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    best = log.loc[log["held_out_loss"].idxmin()]
    assert manifest["best_step"] == best["step"]
    assert manifest["config"]["steps"] == manifest["steps_done"] == TINY.steps
    assert load_tfm(tmp_path / "model.safetensors").limits.max_classes == 10
    assert not list(tmp_path.glob(".*"))  # no temporary file is left


def test_a_finished_run_is_not_run_again(tmp_path, monkeypatch):
    log = pretrain(tmp_path, TINY)
    monkeypatch.setattr(module._Run, "train_step", None)
    pd.testing.assert_frame_equal(pretrain(tmp_path, TINY), log)


def test_another_configuration_does_not_take_over_a_run(tmp_path):
    pretrain(tmp_path, TINY)
    other = replace(TINY, seed=1)
    with pytest.raises(CheckpointError, match="another configuration"):
        pretrain(tmp_path, other)


def test_two_workers_take_the_same_steps_as_one(tmp_path):
    alone = pretrain(tmp_path / "one", TINY)
    shared = pretrain(tmp_path / "two", TINY, workers=2)
    losses = ["step", "held_out_loss", "held_out_auc"]
    pd.testing.assert_frame_equal(shared[losses], alone[losses], rtol=1e-3)


def test_a_run_that_is_made_longer_keeps_its_plateau(tmp_path):
    pretrain(tmp_path, replace(TINY, steps=4))
    log = pretrain(tmp_path, replace(TINY, steps=8))
    assert log["step"].tolist() == [2, 4, 6, 8]
    assert log["learning_rate"].tolist() == pytest.approx([2e-3, 1e-3, 2e-3, 1e-3])


def test_a_run_starts_from_the_weights_of_a_checkpoint(tmp_path):
    pretrain(tmp_path / "first", TINY)
    start = tmp_path / "first" / "model.safetensors"
    digest = hashlib.sha256(start.read_bytes()).hexdigest()
    config = replace(TINY, steps=1, learning_rate=1e-12, start=digest)
    log = pretrain(tmp_path / "second", config, start_from=start)
    first = pd.read_csv(tmp_path / "first" / "log.csv")
    assert log["held_out_loss"].iloc[0] == pytest.approx(first["held_out_loss"].min(), rel=1e-5)
    with pytest.raises(CheckpointError, match="starts from a checkpoint with SHA-256"):
        pretrain(tmp_path / "third", replace(config, start="0"), start_from=start)
    with pytest.raises(CheckpointError, match="No checkpoint at"):
        pretrain(tmp_path / "third", config, start_from=tmp_path / "missing.safetensors")


def test_training_lowers_the_loss():
    torch.manual_seed(0)
    config = replace(TINY, learning_rate=1e-2)
    run = module._Run(config, None, torch.device("cpu"), rank=0, workers=1)
    batch = sample_batch(TINY.prior, np.random.default_rng(0), difficulty=0.0)

    def loss() -> torch.Tensor:
        logits, targets = logits_and_targets(run.network, batch)
        return torch.nn.functional.cross_entropy(logits, targets, ignore_index=NO_CLASS)

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
    digest = hashlib.sha256(EMBEDDED_CHECKPOINT.read_bytes()).hexdigest()
    assert manifest["checkpoint_sha256"] == digest


def test_mean_auc_counts_each_class_once():
    y = np.array([0, 0, 1, 1, 2, 2])
    perfect = np.eye(4)[y]
    assert mean_auc(y, perfect) == 1.0
    assert mean_auc(y, np.full((6, 4), 0.25)) == 0.5
    assert np.isnan(mean_auc(np.zeros(3, dtype=int), np.ones((3, 2))))
