"""Other labels for a generator's rows: the foundation model's, or none that mean anything."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import pytest
from made_checkpoints import write_official

from causalmix.errors import CausalMixError, UnknownNameError
from causalmix.generation.purification import Purified
from causalmix.generation.registry import GENERATORS, limit_time, make_generator
from causalmix.generation.relabelling import Relabelled
from causalmix.tfm.model import load_tfm

FEW = {"n_dags": 3, "n_bootstraps": 2}


def table(n: int = 90) -> tuple[pd.DataFrame, pd.Series]:
    """Two numbers of which one decides the class, a category with gaps, an unused class."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", 7])
    X["kind"] = pd.Categorical(rng.choice(["p", "q", None], n))
    label = np.select([X["a"] > 0.7, X["a"] < -0.7], ["up", "down"], "amid")
    return X, pd.Series(pd.Categorical(label, ["up", "never", "down", "amid"]), name="y")


def test_permuted_labels_keep_their_counts_and_say_nothing():
    X, y = table()
    permuted = make_generator("causal_permuted", **FEW, seed=1).fit(X, y)
    plain = make_generator("causal", **FEW, seed=1).fit(X, y)
    (rows, labels), (its_rows, its_labels) = (g.sample(3000, seed=2) for g in (permuted, plain))
    pd.testing.assert_frame_equal(rows, its_rows)
    assert labels.value_counts().equals(its_labels.value_counts())
    assert its_rows["a"].groupby(its_labels, observed=True).mean().std() > 0.5
    assert rows["a"].groupby(labels, observed=True).mean().std() < 0.1


def test_base_labels_are_drawn_from_the_foundation_models_probabilities(tmp_path):
    X, y = table()
    path = write_official("tabpfn_v3", tmp_path)
    made = Relabelled(make_generator("copula"), tfm=str(path)).fit(X, y)
    assert list(made.classes_) == ["up", "down", "amid"]
    rows, _ = made.sample(50, seed=0)
    codes, classes = pd.factorize(y.astype(object))
    model = load_tfm(path).classifier(random_state=0).fit(X.rename(columns=str), codes)
    expected = model.predict_proba(rows.rename(columns=str))
    expected = pd.DataFrame(expected, columns=classes)[["up", "down", "amid"]]
    found = made._base.probabilities(rows, made.classes_)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_base_labels_are_as_frequent_as_they_are_probable():
    X, y = table()
    made = make_generator("copula_base_labels").fit(X, y)
    plain = make_generator("copula").fit(X, y)
    rows, labels = made.sample(600, seed=4)
    pd.testing.assert_frame_equal(rows, plain.sample(600, seed=4)[0])
    probabilities = made._base.probabilities(rows, made.classes_)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    drawn = labels.to_numpy(object)[:, None] == made.classes_
    error = np.sqrt((probabilities * (1 - probabilities)).sum(axis=0))
    assert (abs(drawn.sum(axis=0) - probabilities.sum(axis=0)) < 4 * error).all()
    chosen = probabilities[drawn]
    least = (probabilities**2).sum(axis=1)  # what the chosen ones have on average
    assert chosen.mean() == pytest.approx(least.mean(), abs=0.05)
    assert labels.dtype == y.dtype


@pytest.mark.parametrize("name", ["causal_base_labels", "causal_permuted"])
def test_rows_know_their_model_and_can_be_detached(name):
    X, y = table()
    made = make_generator(name, **FEW).fit(X, y)
    inner = made.generator
    np.testing.assert_array_equal(made.dag_of_rows(60, 5), inner.dag_of_rows(60, 5))
    assert set(made.dag_of_rows(60, 5)) == {0, 1, 2}
    apart = made.detached()
    assert apart.generator.noise_correlation == 0.0
    assert made.generator is inner
    pd.testing.assert_frame_equal(apart.sample(40, 1)[0], inner.detached().sample(40, 1)[0])
    copula = make_generator("copula_base_labels").fit(X, y)
    assert not copula.dag_of_rows(9, 0).any()
    assert copula.detached().sample(9, 0)[0].equals(copula.sample(9, 0)[0])


def test_names_options_and_wrappers_go_together():
    assert "seed" in inspect.signature(GENERATORS["causal_base_labels"]).parameters
    assert "seed" not in inspect.signature(GENERATORS["copula_base_labels"]).parameters
    both = make_generator("causal_permuted", purified=True)
    assert isinstance(both, Purified)
    assert both.generator.labels == "permuted"
    limited = limit_time(make_generator("causal_permuted"), 3.0)
    assert limited.generator.time_limit == 3.0
    with pytest.raises(UnknownNameError, match="Unknown choice of labels 'soft'"):
        Relabelled(make_generator("mixup"), labels="soft")
    with pytest.raises(UnknownNameError, match="Unknown option 'n_dag'"):
        make_generator("causal_permuted", n_dag=3)
    with pytest.raises(CausalMixError, match="not fitted"):
        make_generator("causal_permuted").sample(3, 0)
