"""What else the same model and rows give: a fitted temperature, and tabpfn's own loop."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from causalmix.benchmarks import alternatives
from causalmix.benchmarks.alternatives import at_temperature, tempered, tuned_by_tabpfn, zero_shot
from causalmix.data.dataset import load_dataset
from causalmix.data.splitting import low_data_split
from causalmix.finetuning.metrics import log_loss
from causalmix.tfm.model import load_tfm


@pytest.fixture(scope="module")
def split():
    return low_data_split(load_dataset("fair"), 60, 20, 0, n_test=60)


def test_temperature_divides_logits():
    logits = np.random.default_rng(0).normal(size=(5, 3)) * 4
    proba = softmax(logits, axis=1)
    for temperature in (0.5, 1.0, 3.0):
        expected = softmax(logits / temperature, axis=1)
        np.testing.assert_allclose(at_temperature(proba, temperature), expected, atol=1e-12)
    np.testing.assert_array_equal(at_temperature(np.array([[1.0, 0.0]]), 2.0).round(6), [[1, 0]])


def test_the_temperature_is_the_best_of_a_grid_on_the_validation_rows(split, monkeypatch):
    tfm, asked = load_tfm(), []
    monkeypatch.setattr(
        alternatives, "at_temperature", lambda p, t: asked.append(t) or at_temperature(p, t)
    )
    tempered(tfm, split, 0)
    proba = alternatives.predict_proba(tfm, split.train, split.val.X)
    codes = split.val.y.cat.codes.to_numpy()
    grid = np.geomspace(0.25, 4, 200)
    best = grid[np.argmin([log_loss(codes, at_temperature(proba, t)) for t in grid])]
    assert asked[-1] == pytest.approx(best, rel=0.03)


def test_tabpfns_loop_starts_from_the_given_weights(split, monkeypatch):
    """Without an epoch it predicts as zero-shot does, and with them it trains."""
    from tabpfn.finetuning import finetuned_classifier

    original, seen = finetuned_classifier.FinetunedTabPFNClassifier, {}

    def without_epochs(**options):
        seen.update(options)
        return original(**options, epochs=0)

    tfm = load_tfm()
    before = {name: p.clone() for name, p in tfm.network.state_dict().items()}
    monkeypatch.setattr(finetuned_classifier, "FinetunedTabPFNClassifier", without_epochs)
    found = tuned_by_tabpfn(tfm, split, 0)
    # Where the processor has bfloat16, TabPFN's loop predicts in it.
    np.testing.assert_allclose(found, zero_shot(tfm, split, 0), atol=5e-3)
    assert seen["validation_split_ratio"] == 0.25
    assert all((before[name] == p).all() for name, p in tfm.network.state_dict().items())
