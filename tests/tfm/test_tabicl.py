"""TabICL as a foundation model: its own predictions, fine-tuning, saving, and bad files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from made_tables import mixed
from numpy.testing import assert_allclose, assert_array_equal

from causalmix.benchmarks.alternatives import tuned_by_tabpfn
from causalmix.benchmarks.arms import run_benchmark
from causalmix.data.dataset import TabularDataset, load_dataset
from causalmix.data.splitting import low_data_split
from causalmix.errors import CausalMixError, CheckpointError, DataError
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.mixing import TaskSampler, codes_of
from causalmix.finetuning.run import finetune, predict_proba
from causalmix.tfm.model import load_tfm

pytest.importorskip("tabicl")

from tabicl import TabICLClassifier
from tabicl._model.tabicl import TabICL

TINY = {
    "max_classes": 10,
    "embed_dim": 8,
    "col_num_blocks": 1,
    "col_nhead": 2,
    "col_num_inds": 4,
    "row_num_blocks": 1,
    "row_nhead": 2,
    "row_num_cls": 2,
    "icl_num_blocks": 1,
    "icl_nhead": 2,
}
# The settings in which the two generations of official checkpoints differ.
GENERATIONS = {
    "v1": {
        "max_classes": 4,  # fewer than the prior's
        "col_affine": True,
        "col_feature_group": False,
        "col_target_aware": False,
        "col_ssmax": False,
        "icl_ssmax": False,
    },
    "v2": {"row_rope_interleaved": False, "bias_free_ln": True},
}
STEP = FinetuneConfig(steps=1, validate_every=1, learning_rate=1e-2, level=1.0)


def write_official(path: Path, generation: str = "v2", **changes: object) -> Path:
    """A file as the authors of TabICL write it."""
    config = TINY | GENERATIONS[generation]
    torch.manual_seed(3)
    network = TabICL(**config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    torch.save({"config": config, "state_dict": network.state_dict()} | changes, path)
    return path


@pytest.fixture(scope="module", params=GENERATIONS)
def path(request, tmp_path_factory):
    return write_official(tmp_path_factory.mktemp("tabicl") / "official.ckpt", request.param)


@pytest.fixture(scope="module")
def tfm(tmp_path_factory):
    return load_tfm(write_official(tmp_path_factory.mktemp("tabicl") / "official.ckpt"))


@pytest.fixture(scope="module")
def split():
    """Numbers and categories with gaps, and three classes."""
    table = mixed(120)
    classes = (table["skewed"] > 0.7).astype(int) + (table["count"] > 3)
    dataset = TabularDataset.from_frame(table.assign(y=[f"c{k}" for k in classes]), "y")
    return low_data_split(dataset, 50, 30, seed=0)


@pytest.mark.parametrize("n_estimators", [1, 7])
def test_predictions_are_those_of_the_package(path, split, n_estimators):
    X, y, queries = split.train.X, codes_of(split.train.y), split.test.X
    own = TabICLClassifier(
        model_path=path,
        device="cpu",
        n_estimators=n_estimators,
        random_state=3,
        batch_size=1,  # with several at once the first version's columns get the inverse order
    )
    expected = own.fit(X, y).predict_proba(queries)
    assert expected.std(axis=0).min() > 5e-4  # the rows are told apart
    tfm = load_tfm(path)
    encoder = tfm.encoder(X, y, n_estimators=n_estimators, random_state=3)
    assert len(encoder.members) == n_estimators
    got = encoder.predict_proba(tfm.network, encoder.transform(queries), 3)
    assert_allclose(got, expected, atol=2e-6)
    alone = encoder.predict_proba(tfm.network, encoder.transform(queries[:1]), 3)
    assert_allclose(alone, expected[:1], atol=2e-6)


def test_classes_without_a_row_in_the_context_are_improbable(path, split):
    tfm, y = load_tfm(path), 2 * (codes_of(split.train.y) > 0)  # 0 and 2
    encoder = tfm.encoder(split.train.X, y, n_estimators=1)
    got = encoder.predict_proba(tfm.network, encoder.transform(split.test.X), 3)
    own = TabICLClassifier(model_path=path, device="cpu", n_estimators=1)
    expected = own.fit(split.train.X, y).predict_proba(split.test.X)
    assert_allclose(got[:, [0, 2]], expected, atol=2e-6)
    assert got[:, 1].max() < 1e-6


def test_a_step_moves_a_copy_that_can_be_saved(path, split, tmp_path):
    tfm = load_tfm(path)
    before, proba = tfm.content_hash, predict_proba(tfm, split.train, split.test.X)
    result = finetune(tfm, split, config=STEP, n_estimators=2)
    assert result.config.trained == "all"  # no stages that read columns as TabPFN's do
    assert result.config.rehearsal == 0.5
    assert result.best_step == 1
    tuned = result.tfm
    assert tuned.content_hash != before
    assert tfm.content_hash == before
    assert_array_equal(predict_proba(tfm, split.train, split.test.X), proba)
    again = load_tfm(tuned.save(tmp_path / "tuned.safetensors"))
    assert again.run_hash == tuned.run_hash
    after = predict_proba(again, split.train, split.test.X)
    assert_array_equal(after, predict_proba(tuned, split.train, split.test.X))
    assert np.abs(after - proba).max() > 1e-4


def test_a_seed_fixes_dropout(split, tmp_path):
    config = TINY | GENERATIONS["v2"] | {"dropout": 0.3}
    torch.manual_seed(3)
    torch.save({"config": config, "state_dict": TabICL(**config).state_dict()}, tmp_path / "d.ckpt")
    tfm, hashes = load_tfm(tmp_path / "d.ckpt"), []
    for others, seed in ((1, 0), (2, 0), (2, 1)):
        torch.manual_seed(others)
        hashes.append(finetune(tfm, split, config=STEP, seed=seed).tfm.content_hash)
    assert hashes[0] == hashes[1] != hashes[2]


def test_gradients_reach_all_weights_and_are_the_same_computed_anew(path, split, monkeypatch):
    tuned = load_tfm(path).copy()
    codes = codes_of(split.train.y)
    encoder = tuned.encoder(split.train.X, codes, n_estimators=1)
    (rows,), labels = encoder.transform(split.train.X), torch.as_tensor(codes)[:, None]

    def gradients():
        tuned.network.zero_grad()
        member = encoder.members[0]
        logits = member.logits(tuned.network, rows[:40, None], labels[:40], rows[40:, None])
        torch.nn.functional.cross_entropy(logits[:, 0], labels[40:, 0]).backward()
        return {k: p.grad for k, p in tuned.network.named_parameters() if p.grad is not None}

    expected = gradients()
    assert len(expected) > 0.9 * len(list(tuned.network.parameters()))
    monkeypatch.setattr("causalmix.tfm.encoding._RECOMPUTED_CELLS", 0)
    for name, found in gradients().items():
        torch.testing.assert_close(found, expected[name])


def test_rows_of_the_prior_are_scaled_by_their_context(tfm, split):
    encoder = tfm.encoder(split.train.X, codes_of(split.train.y), n_estimators=1)
    x = 50 + 1e3 * np.random.default_rng(0).normal(size=(40, 2, 3)).astype(np.float32)
    x[::4, 0, 1] = np.nan
    x[:, 1, 2] = 7.0
    got = encoder.prepare_prior(torch.as_tensor(x), 30).numpy()
    with np.errstate(invalid="ignore"):
        expected = (x - np.nanmean(x[:30], axis=0)) / np.nanstd(x[:30], axis=0)
    assert_allclose(got, np.nan_to_num(expected), atol=1e-4)


def test_tasks_of_the_prior_have_no_more_classes_than_the_network(path, split):
    tfm = load_tfm(path)
    encoder = tfm.encoder(split.train.X, codes_of(split.train.y), n_estimators=1)
    config = FinetuneConfig(tasks_per_step=20, synthetic_tasks=0.0, rehearsal=1.0)
    (batch,) = TaskSampler(encoder, split.train, None, config, seed=0).draw(1)
    assert batch.y_context.max() < tfm.limits.max_classes
    assert batch.loss(tfm.network).isfinite()


def test_arms_run_unchanged(tfm, tmp_path):
    path = write_official(tmp_path / "official.ckpt")
    result = run_benchmark(
        ["iris"],
        arms=("zero_shot", "default"),
        seeds=(0,),
        n_train=30,
        n_val=12,
        n_test=30,
        config=FinetuneConfig(steps=1, validate_every=1, n_synthetic=40),
        tfm=path,
    )
    assert result.scores["auc"].between(0, 1).all()
    split = low_data_split(load_dataset("iris"), 30, 12, seed=0, n_test=30)
    with pytest.raises(CausalMixError, match=r"takes TabPFN's models, not 'official\.ckpt'"):
        tuned_by_tabpfn(tfm, split, 0)


# ---- files ---------------------------------------------------------------------------------------


def test_official_weights_are_found_where_the_package_keeps_them(tmp_path, monkeypatch):
    version = "tabicl-v2"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"tabicl-classifier.*not downloaded here") as info:
        load_tfm(version)
    expected = Path(str(info.value).removeprefix("No checkpoint at ").split(". The")[0])
    expected.parent.mkdir(parents=True)
    tfm = load_tfm(write_official(expected))
    assert load_tfm(version).content_hash == tfm.content_hash
    assert load_tfm(version).name == version


class _Intruder:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_bad_files_are_refused(tmp_path):
    config, trace = TINY | GENERATIONS["v2"], tmp_path / "trace"
    for change, message in (
        ({"config": config | {"max_classes": 0}}, "regression checkpoint"),
        ({"config": config | {"icl_num_blocks": 2}}, "does not fit the architecture tabicl"),
        ({"config": config | {"icl_num_blocks": 10**9}}, "icl_num_blocks is 1,0"),
        ({"config": config | {"embed_dim": 10**6}}, "GiB is asked for"),
        ({"config": config | {"no_such_setting": 2}}, "does not fit the architecture tabicl"),
        ({"config": config | {"activation": _Intruder(trace)}}, "can run code"),
        ({"inference_config": {"N_ESTIMATORS": 0}}, "N_ESTIMATORS is 0"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_tfm(write_official(tmp_path / "bad.ckpt", **change))
    assert not trace.exists()


def test_limits_and_a_missing_package_are_named(tfm, tmp_path, monkeypatch):
    path = write_official(tmp_path / "official.ckpt")
    with pytest.raises(DataError, match=r"11 classes.*at most 10"):
        tfm.check(50, 5, 11)
    assert tfm.with_settings(N_ESTIMATORS=2).run_hash != tfm.run_hash
    monkeypatch.setitem(sys.modules, "tabicl", None)
    with pytest.raises(CheckpointError, match=r"pip install 'causalmix\[tabicl\]'"):
        load_tfm(path)
