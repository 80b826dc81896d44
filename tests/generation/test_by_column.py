"""Column-by-column generation keeps dependence that no additive model has."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from made_tables import collider
from scipy.stats import kstest

from causalmix.errors import UnknownNameError
from causalmix.generation.by_column import TFMConditionalGenerator
from causalmix.generation.registry import make_generator
from causalmix.scm.mechanisms import BinnedModel, Columns, make_mechanism
from causalmix.scm.model import StructuralCausalModel


@pytest.fixture(scope="module")
def table() -> tuple[pd.DataFrame, pd.Series]:
    """A cause, a number with two branches that grow apart with it, and a label that it decides."""
    rng = np.random.default_rng(0)
    cause = rng.uniform(0, 2, 300)
    sign = rng.choice([-1.0, 1.0], 300)
    X = pd.DataFrame({"cause": cause, "branch": sign * (1 + cause) + 0.1 * rng.normal(size=300)})
    label = np.where(np.abs(X.branch) + 0.2 * rng.normal(size=300) > 2, "far", "near")
    return X, pd.Series(label, dtype="category", name="y")


@pytest.mark.parametrize(
    ("name", "options"),
    [("tfm_conditional", {}), ("tfm_conditional_dag", {"n_dags": 2, "n_bootstraps": 4})],
)
def test_columns_depend_on_those_before_them(table, name, options):
    X_new, y_new = make_generator(name, **options).fit(*table).sample(600, seed=0)
    far = y_new == "far"
    assert np.abs(X_new.branch[far]).median() > np.abs(X_new.branch[~far]).median() + 0.5
    assert 0.35 < far.mean() < 0.65


def test_both_branches_are_drawn_and_nothing_between_them(table):
    X, _ = table
    X_new, _ = TFMConditionalGenerator().fit(*table).sample(600, seed=0)
    assert (X_new.branch > 0).mean() == pytest.approx((X.branch > 0).mean(), abs=0.1)
    assert (np.abs(X_new.branch) < 0.7).mean() < 0.03  # X has none; a mean of branches would be 0
    assert np.corrcoef(X_new.cause, np.abs(X_new.branch))[0, 1] > 0.7


def mechanism(parents: np.ndarray, child: np.ndarray) -> BinnedModel:
    coded = pd.DataFrame({"p": parents, "c": child})
    return make_mechanism("c", ["p"], Columns.learn(coded, ()), "tfm_bins", "stacked")


def test_a_number_without_dependence_keeps_its_distribution():
    rng = np.random.default_rng(0)
    child = rng.exponential(size=400)
    model = mechanism(rng.normal(size=400), child)
    drawn = model.evaluate(rng.normal(size=(2000, 1)), rng.random((2000, 1))).ravel()
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    np.testing.assert_allclose(
        np.quantile(drawn, levels), np.quantile(child, levels), rtol=0.2, atol=0.05
    )
    assert child.min() <= drawn.min()
    assert drawn.max() <= child.max()


def test_values_of_their_own_bins_and_few_values():
    """A parent that decides the child: only the bin's own values are drawn."""
    child = np.repeat(np.arange(4.0), 30) * 10
    model = mechanism(child / 10, child)
    parents = np.repeat(np.arange(4.0), 50)[:, None]
    drawn = model.evaluate(parents, np.random.default_rng(0).random((200, 1)))
    assert set(drawn.ravel()) <= set(child)
    assert (drawn == parents * 10).mean() > 0.9


@pytest.mark.parametrize("decimals", [8, 0])
def test_the_noise_explains_the_values(decimals):
    """Evaluated at the noise that was found, the model gives every value back; ties too."""
    rng = np.random.default_rng(0)
    parent = rng.normal(size=300)
    child = (3 * parent + rng.normal(size=300)).round(decimals)
    model = mechanism(parent, child)
    noise = model.estimate_noise(child, parent[:, None])
    assert ((noise > 0) & (noise < 1)).all()
    np.testing.assert_allclose(model.evaluate(parent[:, None], noise).ravel(), child, atol=1e-6)
    higher = model.evaluate(parent[:, None], np.minimum(noise + 0.3, 1)).ravel()
    assert (higher >= child).all()
    assert kstest(noise.ravel(), "uniform").statistic < 0.12


def test_an_intervention_has_its_effect():
    """d = a + b + noise: setting a from 0 to 1 adds 1."""
    dag = nx.DiGraph([("a", "c"), ("b", "c"), ("c", "d")])
    model = StructuralCausalModel(dag, mechanism="tfm_bins").fit(collider(400))
    effect = model.average_treatment_effect("a", 1.0, 0.0, "d", n=2000, seed=0)
    assert effect == pytest.approx(1, abs=0.2)


def test_unknown_missing_option():
    with pytest.raises(UnknownNameError, match="modelled"):
        TFMConditionalGenerator(missing="modeled")
