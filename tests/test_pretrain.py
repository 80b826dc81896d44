"""The synthetic prior and a pre-training that survives being interrupted."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from tabpfn.preprocessing.steps.squashing_scaler_transformer import SquashingScaler

from causalmix import pretrain as module
from causalmix.errors import CheckpointError
from causalmix.pretrain import PretrainConfig, mean_auc, pretrain
from causalmix.prior import NO_CLASS, PriorConfig, sample_batch, sample_task, squash
from causalmix.tfm import EMBEDDED_CHECKPOINT, load_tfm

TINY = PretrainConfig(
    steps=6,
    tasks_per_step=2,
    warmup_steps=2,
    evaluate_every=2,
    n_held_out=2,
    prior=PriorConfig(rows=(24, 32), max_features=4),
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


# ---- prior ---------------------------------------------------------------------------------------


def test_a_batch_has_the_shapes_and_codes_a_network_takes():
    config = PriorConfig()
    rng = np.random.default_rng(0)
    for _ in range(40):
        batch = sample_batch(config, 3, rng)
        n_rows, n_tasks, n_features = batch.x.shape
        assert batch.y.shape == (n_rows, n_tasks) == (n_rows, 3)
        assert config.rows[0] <= n_rows <= config.rows[1]
        assert 2 <= n_features <= config.max_features
        assert not torch.isinf(batch.x).any()
        for y in batch.y.T:
            context, query = y[: batch.n_context], y[batch.n_context :]
            present = context.unique()
            assert present.tolist() == list(range(len(present)))  # dense, none ignored
            assert len(present) <= config.max_classes
            assert set(query.unique().tolist()) <= {*present.tolist(), NO_CLASS}


def test_the_same_seed_gives_the_same_tasks():
    first, second, other = (
        sample_batch(PriorConfig(), 2, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    torch.testing.assert_close(first.x, second.x, equal_nan=True)
    torch.testing.assert_close(first.y, second.y)
    assert first.x.shape != other.x.shape or not torch.equal(first.x, other.x)


def test_the_curriculum_begins_binary_and_narrow_and_widens():
    def spread(difficulty: float) -> tuple[int, int, bool]:
        rng = np.random.default_rng(0)
        batches = [sample_batch(PriorConfig(), 2, rng, difficulty=difficulty) for _ in range(60)]
        return (
            max(batch.x.shape[2] for batch in batches),
            max(int(batch.y.max()) + 1 for batch in batches),
            any(batch.x.isnan().any() for batch in batches),
        )

    assert spread(0.0) == (4, 2, False)
    features, classes, gaps = spread(1.0)
    assert features > 25
    assert classes >= 8
    assert gaps


def test_classes_are_imbalanced_in_some_tasks_and_balanced_in_others():
    rng = np.random.default_rng(0)
    rare = [
        np.bincount(sample_task(PriorConfig(binary_share=1.0), 200, 5, rng)[1]).min() / 200
        for _ in range(60)
    ]
    assert min(rare) < 0.2
    assert max(rare) > 0.4


def test_most_tasks_can_be_learned():
    # At a mean of .62, in-context learning did not appear; at .8 it did.
    rng = np.random.default_rng(0)
    aucs = []
    for _ in range(40):
        x, y = sample_task(PriorConfig(binary_share=1.0), 300, 8, rng)
        forest = RandomForestClassifier(30, random_state=0).fit(x[:200], y[:200])
        if len(forest.classes_) == 2:
            aucs.append(mean_auc(y[200:], forest.predict_proba(x[200:])))
    assert 0.72 < np.nanmean(aucs) < 0.92


def test_squash_is_tabpfns_squashing_scaler():
    rng = np.random.default_rng(0)
    x = rng.standard_t(2, size=(120, 4)) * [1, 10, 0.1, 3] + [0, 5, 0, -7]
    x[rng.random(x.shape) < 0.1] = np.nan
    expected = SquashingScaler().fit(x[:80]).transform(x)
    np.testing.assert_allclose(squash(x, 80), expected, rtol=1e-6, atol=1e-9)


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
        load_tfm(tmp_path / name / "model.safetensors").checkpoint_hash
        for name in ("whole", "parts")
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
    other = PretrainConfig(**{**vars(TINY), "seed": 1})
    with pytest.raises(CheckpointError, match="another configuration"):
        pretrain(tmp_path, other)


def test_training_lowers_the_loss():
    torch.manual_seed(0)
    run = module._Run(PretrainConfig(**{**vars(TINY), "learning_rate": 1e-2}), torch.device("cpu"))
    batch = sample_batch(TINY.prior, 4, np.random.default_rng(0), difficulty=0.0)

    def loss() -> torch.Tensor:
        return torch.nn.functional.cross_entropy(
            *module._logits_and_targets(run.network, batch), ignore_index=NO_CLASS
        )

    before = loss().item()
    for _ in range(30):
        run.optimiser.zero_grad()
        loss().backward()
        run.optimiser.step()
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
