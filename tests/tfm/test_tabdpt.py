"""TabDPT as a foundation model: its own predictions, fine-tuning, saving, and bad files."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from made_tables import mixed
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.torch import save_file

from causalmix.benchmarks.arms import run_benchmark
from causalmix.data.dataset import TabularDataset
from causalmix.data.splitting import low_data_split
from causalmix.errors import CausalMixError, CheckpointError, DataError
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.mixing import codes_of
from causalmix.finetuning.run import finetune, predict_proba
from causalmix.tfm.model import load_tfm

pytest.importorskip("tabdpt")

from tabdpt import TabDPTClassifier
from tabdpt.model import TabDPTModel

TINY = {
    "enc_cell_dim": 4,
    "max_num_classes": 10,
    "regression_bin_count": 5,
    "regression_bin_min": -3.0,
    "regression_bin_max": 3.0,
    "nhead": 2,
    "ff_dim": 16,
    "emsize": 8,
    "nlayers": 2,
    "max_num_features": 20,
    "min_eval_context": 16,
    "max_eval_context": 1024,
    "y_encoder_dim": 4,
    "num_col_attn_layers": 2,
    "n_thinking_rows": 3,
}


def write_official(path: Path, **changes: object) -> Path:
    """A file as the authors of TabDPT write it, of a network that was compiled in training."""
    cfg = {"model": TINY, "training": {"dropout": 0.0}, "env": {"device": "cpu"}}
    torch.manual_seed(0)
    network = TabDPTModel(
        dropout=0.0,
        enc_cell_dim=4,
        n_out=10,
        regression_bin_count=5,
        regression_bin_min=-3.0,
        regression_bin_max=3.0,
        nhead=2,
        nhid=16,
        ninp=8,
        nlayers=2,
        num_features=20,
        base_len=16,
        max_len=1024,
        y_encoder_dim=4,
        n_thinking_rows=3,
    )
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    weights = {f"_orig_mod.{name}": tensor for name, tensor in network.state_dict().items()}
    save_file(weights, path, {"cfg": json.dumps(cfg | changes)})
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_official(tmp_path_factory.mktemp("tabdpt") / "official.safetensors")


@pytest.fixture(scope="module")
def split():
    """Numbers and categories with gaps, and three classes."""
    table = mixed(120)
    classes = (table["skewed"] > 0.7).astype(int) + (table["count"] > 3)
    dataset = TabularDataset.from_frame(table.assign(y=[f"c{k}" for k in classes]), "y")
    return low_data_split(dataset, 50, 30, seed=0)


def coded(X: pd.DataFrame) -> np.ndarray:
    """Categories first, as codes, which the package does not make itself."""
    codes = X.select_dtypes("category").apply(lambda column: column.cat.codes)
    return np.hstack([codes.astype(float).replace(-1.0, np.nan), X.select_dtypes("number")])


@pytest.mark.parametrize("n_estimators", [1, 5])
def test_predictions_are_those_of_the_package(path, split, n_estimators):
    X, y, queries = split.train.X, codes_of(split.train.y), split.test.X
    own = TabDPTClassifier(model_weight_path=str(path), device="cpu", verbose=False)
    own.fit(coded(X), y)
    expected = own.ensemble_predict_proba(coded(queries), n_ensembles=n_estimators, seed=3)
    assert expected.std(axis=0).min() > 1e-2  # the rows are told apart
    tfm = load_tfm(path)
    encoder = tfm.encoder(X, y, n_estimators=n_estimators, random_state=3)
    assert len(encoder.members) == n_estimators
    got = encoder.predict_proba(tfm.network, encoder.transform(queries), 3)
    assert_allclose(got, expected, atol=2e-6)
    alone = encoder.predict_proba(tfm.network.train(), encoder.transform(queries[:1]), 3)
    assert_allclose(alone, expected[:1], atol=2e-6)  # queries have no part in the scaling


def test_a_column_without_a_known_cell_is_as_good_as_none(path, split):
    X, y, queries = split.train.X, codes_of(split.train.y), split.test.X
    tfm = load_tfm(path)

    def predicted(change):
        encoder = tfm.encoder(change(X), y, n_estimators=1)
        return encoder.predict_proba(tfm.network, encoder.transform(change(queries)), 3)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        void = predicted(lambda rows: rows.assign(void=np.nan))
        constant = predicted(lambda rows: rows.assign(void=3.0))
        assert np.isfinite(predicted(lambda rows: rows[["count"]] * np.nan)).all()
    assert_allclose(void, constant)


def test_a_step_moves_a_copy_that_can_be_saved(path, split, tmp_path):
    tfm = load_tfm(path)
    before, proba = tfm.content_hash, predict_proba(tfm, split.train, split.test.X)
    step = FinetuneConfig(steps=1, validate_every=1, learning_rate=1e-2, level=1.0)
    result = finetune(tfm, split, config=step, n_estimators=2)
    assert (result.config.trained, result.config.rehearsal) == ("all", 0.5)
    assert result.best_step == 1
    assert result.tfm.content_hash != before
    assert tfm.content_hash == before
    assert_array_equal(predict_proba(tfm, split.train, split.test.X), proba)

    again = load_tfm(result.tfm.save(tmp_path / "tuned.safetensors"))
    assert again.run_hash == result.tfm.run_hash
    after = predict_proba(again, split.train, split.test.X)
    assert_array_equal(after, predict_proba(result.tfm, split.train, split.test.X))
    assert np.abs(after - proba).max() > 1e-4


def test_arms_run_unchanged(path):
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


def test_what_cannot_be_is_refused(path, tmp_path, monkeypatch):
    bad = tmp_path / "bad.safetensors"
    for change, message in (
        ({"model": {}}, "lacks a setting that version 1.3 has: 'enc_cell_dim'"),
        ({"model": TINY | {"nlayers": 3}}, "does not fit the architecture tabdpt"),
        ({"model": TINY | {"emsize": 10**5}}, "GiB is asked for"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_tfm(write_official(bad, **change))
    tfm = load_tfm(path)
    with pytest.raises(DataError, match=r"21 features.*at most 20"):
        tfm.check(50, 21, 2)
    with pytest.raises(CausalMixError, match="no gradients of rows"):
        tfm.network(torch.zeros(4, 1, 2, requires_grad=True), torch.tensor([[0.0], [1.0]]))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"tabdpt1_3.*not downloaded here.*Layer6/TabDPT"):
        load_tfm("tabdpt-v1.3")
