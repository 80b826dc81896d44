"""Energies of a class, and rows that go down them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

from causalmix.errors import CausalMixError, DataError
from causalmix.generation.tabebm import ClassEnergy, CoordinateSpace, TabEBMGenerator
from causalmix.tfm.encoding import Member
from causalmix.tfm.model import load_tfm


@pytest.fixture(scope="module")
def points() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standardised rows of one class, further rows of it, and rows of the other class."""
    X, y = load_breast_cancer(return_X_y=True)
    X = ((X - X.mean(axis=0)) / X.std(axis=0))[:, :6]
    return X[y == 1][:50], X[y == 1][50:150], X[y == 0][:100]


@pytest.fixture(scope="module")
def energy(points) -> ClassEnergy:
    return ClassEnergy(load_tfm(), points[0], rng=np.random.default_rng(0))


def energies(energy: ClassEnergy, rows: np.ndarray) -> np.ndarray:
    return energy.energies(rows)[1].detach().numpy()


def test_the_energy_is_minus_the_log_odds_against_the_corners(points, energy):
    """As the encoder for fine-tuning, which is tested against TabPFN's predictions, gives them."""
    own, further, _ = points
    corners = energy._context[len(own) :]
    assert (np.abs(corners) == 5).all()
    np.testing.assert_array_equal(energy._context[: len(own)], own)
    context, query = (
        torch.as_tensor(a, dtype=torch.float32)[:, None] for a in (energy._context, further)
    )
    labels = torch.tensor([0] * len(own) + [1] * len(corners))[:, None]
    plain = SimpleNamespace(class_permutation=torch.arange(2), categorical=[])
    logits = Member.logits(plain, load_tfm().network, context, labels, query)
    odds = (logits[:, 0, 0] - logits[:, 0, 1]).detach().numpy()
    np.testing.assert_allclose(energies(energy, further), -odds, atol=1e-4)


def test_rows_of_the_class_have_less_energy_than_others(points, energy):
    _, own, other = points
    noise = 3 * np.random.default_rng(0).normal(size=own.shape)
    assert energies(energy, own).mean() < energies(energy, other).mean() - 1
    assert energies(energy, own).mean() < energies(energy, noise).mean() - 2
    assert energies(energy, own).mean() < energies(energy, 5.0 * np.sign(own)).mean() - 4  # corners


def test_the_gradient_is_that_of_finite_differences(points, energy):
    x = points[2][:3]
    gradient, h = energy.gradient(x), 1e-2
    for j in range(x.shape[1]):
        step = h * np.eye(x.shape[1])[j]
        slope = (energies(energy, x + step) - energies(energy, x - step)) / (2 * h)
        np.testing.assert_allclose(gradient[:, j], slope, atol=0.02, rtol=0.05)


def test_rows_go_down_their_energy_and_stay_near_the_class(points):
    own, further, other = points
    X = pd.DataFrame(np.vstack([own, other[:30]])).rename(columns=str)
    y = pd.Series(["benign"] * 50 + ["malignant"] * 30, name="y")
    X_new, y_new = TabEBMGenerator(n_steps=10).fit(X, y).sample(120, seed=0)
    noise = np.random.default_rng(0).normal(size=X_new.shape) * np.sqrt(10) * 0.1
    drifting = own[np.arange(75) % 50] + noise[:75]
    energy = ClassEnergy(load_tfm(), own, rng=np.random.default_rng(0))
    new = X_new[y_new == "benign"].to_numpy()
    assert energies(energy, new).mean() < energies(energy, drifting).mean() - 0.2
    spread = new.std(axis=0) / own.std(axis=0)
    assert (spread > 0.5).all()
    assert (spread < 1.6).all()
    judge = LogisticRegression().fit(np.vstack([further, other[30:]]), [1] * 100 + [0] * 70)
    assert (judge.predict(new) == 1).mean() > 0.85
    others = X_new[y_new == "malignant"].to_numpy()
    assert (judge.predict(others) == 0).mean() > 0.85


def test_coordinates_are_left_as_they_were_entered():
    rng = np.random.default_rng(0)
    coded = pd.DataFrame(
        {"a": rng.normal(5, 3, 40), "k": rng.integers(-1, 3, 40), "b": rng.normal(size=40)}
    ).astype(float)
    space = CoordinateSpace(coded, ("k",))
    points = space.enter(coded)
    assert points.shape == (40, 2 + 4)  # a level for missing
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-12)
    pd.testing.assert_frame_equal(space.leave(points), coded)


@pytest.mark.parametrize(
    ("option", "value"), [("n_steps", 0), ("step_size", 0.0), ("noise", -1.0), ("distance", 0.0)]
)
def test_options_that_make_no_sense_are_refused(option, value):
    with pytest.raises(CausalMixError, match=f"{option} is {value}"):
        TabEBMGenerator(**{option: value})


def test_more_coordinates_than_the_model_takes_are_refused():
    levels = [f"level {k}" for k in range(130)]
    X = pd.DataFrame({"wide": pd.Categorical(levels), "x": np.arange(130.0)})
    y = pd.Series(pd.Categorical(np.tile(["a", "b"], 65)), name="y")
    with pytest.raises(DataError, match="features"):
        TabEBMGenerator().fit(X, y)
