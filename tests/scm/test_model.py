from __future__ import annotations

import warnings
from functools import partial

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalmix.errors import CausalMixError, DataError, UnknownNameError
from causalmix.scm.mechanisms import BinnedModel, _Classifier, _Regressor
from causalmix.scm.model import StructuralCausalModel

CHAIN = nx.DiGraph([("a", "b"), ("b", "y")])


def mixed(n: int, seed: int = 0) -> pd.DataFrame:
    """a → b (integer), a → g (category), {b, g} → y; missing cells in a and g."""
    rng = np.random.default_rng(seed)
    a = rng.normal(10, 3, n)
    b = np.round(2 * a + rng.normal(size=n)).astype(int)
    g = np.where(a + rng.normal(size=n) > 12, "high", np.where(a < 8, "low", "middle"))
    y = np.where(b + 10 * (g == "high") + rng.normal(size=n) > 25, "yes", "no")
    frame = pd.DataFrame({"y": y, "a": a, "g": g, "b": b, "flag": rng.random(n) < 0.2})
    frame.loc[rng.random(n) < 0.15, "a"] = np.nan
    frame.loc[rng.random(n) < 0.3, "g"] = np.nan
    return frame.astype({"y": "category", "g": pd.CategoricalDtype(["low", "middle", "high", "?"])})


MIXED_DAG = nx.DiGraph([("a", "b"), ("a", "g"), ("b", "y"), ("g", "y")])
MIXED_DAG.add_node("flag")


def test_reproduces_the_covariance_of_a_linear_gaussian_model():
    """x = Wᵀx + e gives Cov(x) = (I − W)⁻ᵀ diag(σ²) (I − W)⁻¹."""
    names, sigma = list("abcd"), np.array([1.0, 0.5, 2.0, 1.0])
    weights = np.zeros((4, 4))
    weights[0, 1], weights[0, 2], weights[1, 3], weights[2, 3] = 1.5, -1.0, 0.8, 0.6
    total = np.linalg.inv(np.eye(4) - weights)
    covariance = total.T @ np.diag(sigma**2) @ total
    noise = np.random.default_rng(0).normal(size=(4000, 4)) * sigma
    data = pd.DataFrame(noise @ total, columns=names)
    dag = nx.relabel_nodes(nx.DiGraph(weights), dict(enumerate(names)))
    sample = StructuralCausalModel(dag).fit(data).sample(20000, seed=1)
    np.testing.assert_allclose(sample.cov(), covariance, atol=0.05 * covariance.max())


def test_an_absent_edge_means_independence():
    data = mixed(400).dropna()
    dag = nx.DiGraph()
    dag.add_nodes_from(data.columns)
    sample = StructuralCausalModel(dag).fit(data).sample(3000, seed=0)
    assert abs(data.a.corr(data.b)) > 0.9
    assert abs(sample.a.corr(sample.b)) < 0.06


def test_boosting_learns_what_is_not_linear():
    rng = np.random.default_rng(0)
    a = rng.uniform(-2, 2, 600)
    data = pd.DataFrame({"a": a, "b": a**2 + 0.5 * rng.normal(size=600)})
    dag = nx.DiGraph([("a", "b")])
    boosting = StructuralCausalModel(dag, mechanism="boosting").fit(data).sample(4000, 0)
    linear = StructuralCausalModel(dag, noise="stacked").fit(data).sample(4000, 0)
    assert (boosting.a**2).corr(boosting.b) > 0.85
    assert abs((linear.a**2).corr(linear.b)) < 0.2


def test_a_single_node_may_have_another_mechanism():
    """A label that is no line of its parents, which are a line of each other."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=400)
    b = 0.5 * a + rng.normal(size=400)
    data = pd.DataFrame({"a": a, "b": b, "y": np.where(a * b > 0, "1", "0")})
    dag = nx.DiGraph([("a", "b"), ("a", "y"), ("b", "y")])

    def agreement(**options: object) -> float:
        sample = StructuralCausalModel(dag, **options).fit(data).sample(2000, 0)
        return ((sample.a * sample.b > 0) == (sample.y == "1")).mean()

    assert agreement() < 0.7
    assert agreement(node_mechanisms={"y": "stacked"}) > 0.85


def test_noise_that_depends_on_the_parent_keeps_what_the_mean_misses():
    """A circle: no function of a, and no noise that is the same for every a, gives it."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 400)
    data = pd.DataFrame({"a": np.cos(angle), "b": np.sin(angle)})
    dag = nx.DiGraph([("a", "b")])
    radius = {
        noise: np.hypot(*StructuralCausalModel(dag, noise=noise).fit(data).sample(2000, 0).T.values)
        for noise in ("conditional", "stacked")
    }
    assert radius["conditional"].std() < 0.4 * radius["stacked"].std()


def test_noise_of_boosting_is_not_too_small():
    """The residuals of the rows that the trees were fitted to have half the true spread here."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame(rng.normal(size=(100, 5)), columns=list("abcdy"))
    dag = nx.DiGraph([(name, "y") for name in "abcd"])
    model = StructuralCausalModel(dag, mechanism="boosting").fit(data)
    noise = model.model_.causal_mechanism("y").noise_model.draw_samples(4000)
    assert noise.std() > 0.9 * data.y.std()


@pytest.mark.parametrize("mechanism", ["linear", "boosting"])
def test_samples_look_like_the_training_table(mechanism):
    data = mixed(150)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    model = StructuralCausalModel(MIXED_DAG, mechanism=mechanism).fit(data)
    sample = model.sample(500, seed=3)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    pd.testing.assert_series_equal(sample.dtypes, data.dtypes)
    assert list(sample.index) == list(range(500))
    assert sample.a.between(data.a.min(), data.a.max()).sum() == sample.a.notna().sum()
    assert sample.b.between(data.b.min(), data.b.max()).all()
    assert sample.a.isna().mean() == pytest.approx(data.a.isna().mean(), abs=0.06)
    assert sample.g.isna().mean() == pytest.approx(data.g.isna().mean(), abs=0.1)
    assert "?" not in set(sample.g)  # a category that was never seen
    assert sample.y.notna().all()
    # the label follows its parents
    assert sample[sample.b > 27].y.eq("yes").mean() > 0.8
    assert sample[sample.b < 18].y.eq("yes").mean() < 0.5
    pd.testing.assert_frame_equal(sample, model.sample(500, seed=3))
    assert not sample.equals(model.sample(500, seed=4))


def test_classifier_recovers_conditional_probabilities():
    rng = np.random.default_rng(0)
    group = rng.choice(["u", "v", "w"], 3000)
    p = pd.Series(group).map({"u": 0.1, "v": 0.5, "w": 0.8}).to_numpy()
    data = pd.DataFrame({"group": group, "y": np.where(rng.random(3000) < p, "1", "0")})
    sample = StructuralCausalModel(nx.DiGraph([("group", "y")])).fit(data).sample(6000, 0)
    rates = (sample.y == "1").groupby(sample.group).mean()
    np.testing.assert_allclose(rates[["u", "v", "w"]], [0.1, 0.5, 0.8], atol=0.05)


def test_whole_numbers_stored_as_floats_stay_whole():
    data = pd.DataFrame({"a": [1.0, 2, 5, np.nan, 3, 4] * 5, "b": np.linspace(0, 1, 30)})
    sample = StructuralCausalModel(nx.DiGraph([("b", "a")])).fit(data).sample(100, 0)
    assert (sample.a.dropna() % 1 == 0).all()


def edge_cases() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(0)
    n = 40
    x = rng.normal(size=n)
    y = pd.Series(np.where(x > 0, "1", "0"))
    rare = y.copy()
    rare[0] = "2"
    return {
        "one feature": pd.DataFrame({"x": x, "y": y}),
        "five rows": pd.DataFrame({"x": x, "z": list("ab") * 20, "y": y})[:5],
        "one row": pd.DataFrame({"x": x, "z": list("ab") * 20, "y": y})[:1],
        "a class with one row": pd.DataFrame({"x": x, "y": rare}),
        "constant columns": pd.DataFrame({"x": np.ones(n), "z": ["k"] * n, "y": y}),
        "constant target": pd.DataFrame({"x": x, "y": ["1"] * n}),
        "empty column": pd.DataFrame({"x": np.full(n, np.nan), "z": x, "y": y}),
        "empty category": pd.DataFrame({"z": pd.Series([None] * n, dtype="category"), "y": y}),
        "collinear": pd.DataFrame({"x": x, "z": 2 * x, "w": x - 1, "y": y}),
        "many levels": pd.DataFrame({"x": x, "z": [f"l{i % 30}" for i in range(n)], "y": y}),
        "bool": pd.DataFrame({"x": x > 0, "z": x < 1, "y": x > 0.5}),
        "huge": pd.DataFrame({"x": 1e12 * x, "z": 1e-12 * x, "y": y}),
    }


@pytest.mark.parametrize("mechanism", ["linear", "boosting"])
@pytest.mark.parametrize("case", edge_cases())
def test_fits_every_table_in_every_direction(case, mechanism):
    data = edge_cases()[case]
    columns = list(data)
    for order in (columns, columns[::-1]):  # complete graphs: each column is parent and child
        dag = nx.DiGraph([(a, b) for i, a in enumerate(order) for b in order[i + 1 :]])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = StructuralCausalModel(dag, mechanism=mechanism).fit(data)
        sample = model.sample(30, seed=0)
        pd.testing.assert_series_equal(sample.dtypes, data.dtypes)
        for name in columns:
            assert set(sample[name].dropna()) <= set(data[name]) or (
                sample[name].dtype.kind == "f"
                and sample[name].dropna().between(data[name].min(), data[name].max()).all()
            )
            assert sample[name].isna().any() <= data[name].isna().any()
        assert len(model.sample(1, seed=0)) == 1


def test_fitted_mechanisms_are_shared_between_graphs():
    data = mixed(100)
    fitted: dict = {}
    alone = StructuralCausalModel(MIXED_DAG).fit(data).sample(50, 0)
    StructuralCausalModel(MIXED_DAG).fit(data, fitted=fitted)
    nodes = {("a", ()), ("b", ("a",)), ("g", ("a",)), ("y", ("b", "g")), ("flag", ())}
    assert set(fitted) == nodes | {"gaps"}
    before = dict(fitted)
    again = StructuralCausalModel(MIXED_DAG).fit(data, fitted=fitted)
    assert all(fitted[key] is before[key] for key in before)
    pd.testing.assert_frame_equal(again.sample(50, 0), alone)


def test_errors_name_what_is_wrong():
    data = pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 0.0], "y": ["0", "1"]})
    with pytest.raises(DataError, match="a → b → a"):
        StructuralCausalModel(nx.DiGraph([("a", "b"), ("b", "a"), ("a", "y")]))
    with pytest.raises(DataError, match="no nodes"):
        StructuralCausalModel(nx.DiGraph())
    with pytest.raises(UnknownNameError, match="linear, gp"):
        StructuralCausalModel(CHAIN, mechanism="lineal")
    with pytest.raises(
        CausalMixError, match=r"node_mechanisms must be a mapping, got \['linear'\]"
    ):
        StructuralCausalModel(CHAIN, node_mechanisms=["linear"])
    with pytest.raises(DataError, match="A pandas DataFrame is needed, not ndarray"):
        StructuralCausalModel(CHAIN).fit(data.to_numpy())
    with pytest.raises(CausalMixError, match=r"do must be a mapping or None, got \['a'\]"):
        StructuralCausalModel(CHAIN).fit(data).sample(5, 0, do=["a"])
    with pytest.raises(DataError, match="no column for these nodes: b"):
        StructuralCausalModel(CHAIN).fit(data.drop(columns="b"))
    with pytest.raises(DataError, match="no node for these columns: z"):
        StructuralCausalModel(CHAIN).fit(data.assign(z=1))
    with pytest.raises(DataError, match="0 rows"):
        StructuralCausalModel(CHAIN).fit(data[:0])
    for wrong in (nx.Graph([("a", "b")]), nx.MultiDiGraph([("a", "b")]), [("a", "b")]):
        with pytest.raises(DataError, match=f"is a {type(wrong).__name__}; a networkx.DiGraph"):
            StructuralCausalModel(wrong)
    with pytest.raises(CausalMixError, match="not fitted"):
        StructuralCausalModel(CHAIN).sample(1, 0)
    with pytest.raises(CausalMixError, match="n is 0; a whole number, at least 1"):
        StructuralCausalModel(CHAIN).fit(data).sample(0, 0)


def line(n: int = 800) -> pd.DataFrame:
    """group → x → y, and group → y; y changes by 3 with x and by 5 with the group."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 2, n)
    x = 2.0 * group + rng.normal(size=n)
    y = 3.0 * x + 5.0 * group + rng.normal(size=n)
    names = pd.Categorical.from_codes(group, ["no", "yes"])
    return pd.DataFrame({"x": x, "group": names, "y": y, "k": rng.integers(0, 50, n)})


LINE = nx.DiGraph([("group", "x"), ("x", "y"), ("group", "y"), ("k", "k2")])
LINE.remove_node("k2")


@pytest.mark.parametrize("mechanism", ["linear", "gp"])
def test_an_intervention_has_its_effect_and_leaves_the_causes_alone(mechanism):
    data = line(300)
    model = StructuralCausalModel(LINE, mechanism=mechanism).fit(data)
    done = model.sample(4000, 0, do={"x": 1.0})
    assert (done.x == 1.0).all()
    assert (done.group == "yes").mean() == pytest.approx((data.group == "yes").mean(), abs=0.03)
    truth = 3.0 + 5.0 * (data.group == "yes").mean()  # the group is not told by x any more
    assert done.y.mean() == pytest.approx(truth, abs=0.5)
    pd.testing.assert_series_equal(done.dtypes, data.dtypes)


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_an_intervention_moves_no_gaps(correlation):
    data = line(300)
    data.loc[data.y > data.y.quantile(0.7), "x"] = np.nan  # gaps of a cause, told by its effect
    model = StructuralCausalModel(LINE).fit(data)
    how = {"n": 500, "seed": 0, "noise_correlation": correlation}
    without = model.sample(**how)
    assert 0.2 < without.x.isna().mean() < 0.4
    for value in (-9.0, 9.0):
        done = model.sample(**how, do={"y": value})
        pd.testing.assert_frame_equal(done[["x", "group"]], without[["x", "group"]])


def test_average_treatment_effects_are_those_of_the_equations():
    model = StructuralCausalModel(LINE).fit(line())
    effect = model.average_treatment_effect("x", 1.5, 0.5, "y", seed=0)
    assert effect == pytest.approx(3.0, abs=0.15)
    effect = model.average_treatment_effect("group", "yes", "no", "y", seed=0)
    assert effect == pytest.approx(3.0 * 2.0 + 5.0, abs=0.4)
    assert model.average_treatment_effect("y", 1.0, -1.0, "x", seed=0) == pytest.approx(0, abs=1e-9)


def test_effects_on_the_probability_of_a_class_are_those_of_the_equations():
    """Confounded: z → x, z → y and x → y, with P(y = yes | x, z) = 1 / (1 + exp(1 − 2x − z))."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=4000)
    x = z + rng.normal(size=4000)

    def chance(x: np.ndarray | float) -> np.ndarray:
        return 1 / (1 + np.exp(1 - 2 * x - z))

    y = np.where(rng.random(4000) < chance(x), "yes", "no")
    dag = nx.DiGraph([("z", "x"), ("z", "y"), ("x", "y")])
    model = StructuralCausalModel(dag).fit(pd.DataFrame({"z": z, "x": x, "y": y}))
    truth = (chance(1.0) - chance(0.0)).mean()
    effect = {
        label: model.average_treatment_effect("x", 1.0, 0.0, "y", outcome_class=label)
        for label in ("yes", "no")
    }
    assert effect["yes"] == pytest.approx(truth, abs=0.03)
    assert effect["no"] == pytest.approx(-effect["yes"])


def test_interventions_on_categories_and_whole_numbers():
    model = StructuralCausalModel(LINE).fit(line())
    done = model.sample(50, 0, do={"group": "yes", "k": 7})
    assert (done.group == "yes").all()
    assert (done.k == 7).all()
    assert done.k.dtype == line().k.dtype
    assert (model.sample(50, 0, do={"k": 7.5}).k == 7.5).all()  # not cut off to 7
    small = StructuralCausalModel(LINE).fit(line().astype({"k": "int8"}))
    assert (small.sample(50, 0, do={"k": 300}).k == 300).all()  # beyond what int8 holds
    single = StructuralCausalModel(LINE).fit(line().astype({"k": "float32"}))
    assert (single.sample(5, 0, do={"k": 1e39}).k == 1e39).all()  # beyond what float32 holds


def test_columns_may_be_named_by_numbers():
    """With names of two types among the parents of one node."""
    names = {"x": 0, "group": 1, "y": 2}
    data = line(200).rename(columns=names)
    dag = nx.relabel_nodes(LINE, names)
    dag.add_edge("k", 2)
    model = StructuralCausalModel(dag, node_mechanisms={1: "forest"}).fit(data)
    done = model.sample(50, 0, do={0: 1.0})
    assert list(done) == list(data)
    assert (done[0] == 1.0).all()
    assert model.average_treatment_effect(0, 1.5, 0.5, 2, seed=0) == pytest.approx(3.0, abs=0.3)
    with pytest.raises(DataError, match="no column 7"):
        model.sample(5, 0, do={7: 1})


def test_a_level_without_a_row_has_no_effect():
    """A category knows levels that no row has, as a part of a table does those of all of it."""
    data = line()
    data["group"] = pd.Categorical(data["group"], categories=["maybe", "no", "yes"])
    model = StructuralCausalModel(LINE).fit(data)
    refused = pytest.raises(DataError, match="'group' has no level 'maybe'; it has 'no', 'yes'")
    with refused:
        model.sample(5, 0, do={"group": "maybe"})
    with refused:
        model.average_treatment_effect("group", "maybe", "no", "y")
    with refused:
        model.average_treatment_effect("x", 1, 0, "group", outcome_class="maybe")
    assert list(model.sample(5, 0)["group"].cat.categories) == ["maybe", "no", "yes"]


def test_an_intervention_keeps_types_and_large_numbers():
    data = line(60).assign(k=2**60 + np.arange(60) % 5)
    data = data.astype({"x": "double[pyarrow]", "group": "string[pyarrow]"})
    model = StructuralCausalModel(LINE).fit(data)
    rows = model.sample(4, 0, do={"x": 0.5, "group": "no", "k": 2**60 + 3})
    assert (rows["k"] == 2**60 + 3).all()
    assert rows.dtypes.to_dict() == data.dtypes.to_dict()
    for level in ({"no": 1}, ["no"]):
        with pytest.raises(DataError, match="'group' has no level"):
            model.sample(4, 0, do={"group": level})
    several = data.set_axis(pd.MultiIndex.from_product([["a"], data.columns]), axis=1)
    with pytest.raises(DataError, match="names of several levels"):
        StructuralCausalModel(nx.DiGraph([(("a", "x"), ("a", "y"))])).fit(several)


def test_mistakes_in_interventions_are_named():
    model = StructuralCausalModel(LINE).fit(line())
    with pytest.raises(DataError, match="'group' has no level 'maybe'; it has 'no', 'yes'"):
        model.sample(5, 0, do={"group": "maybe"})
    with pytest.raises(DataError, match="no column 'z'"):
        model.sample(5, 0, do={"z": 1})
    for value in ("old", None, np.nan, np.inf, [1.0, 2.0]):
        with pytest.raises(DataError, match="'x' is numeric and cannot be"):
            model.sample(5, 0, do={"x": value})
        with pytest.raises(DataError, match="'x' is numeric and cannot be"):
            model.average_treatment_effect("x", value, 0.0, "y", seed=0)
    with pytest.raises(DataError, match="'group' is categorical; name the class"):
        model.average_treatment_effect("x", 1, 0, "group")
    with pytest.raises(DataError, match="'group' has no level 'maybe'"):
        model.average_treatment_effect("x", 1, 0, "group", outcome_class="maybe")
    with pytest.raises(DataError, match="'y' is numeric; leave outcome_class out"):
        model.average_treatment_effect("x", 1, 0, "y", outcome_class="yes")
    with pytest.raises(CausalMixError, match="not fitted"):
        StructuralCausalModel(LINE).average_treatment_effect("x", 1, 0, "y", seed=0)


@pytest.mark.parametrize("missing", ["modelled", "random", "none"])
def test_cells_are_missing_as_asked(missing):
    data = mixed(400)
    sample = StructuralCausalModel(MIXED_DAG, missing=missing).fit(data).sample(2000, 0)
    if missing == "none":
        assert sample.notna().all().all()
        return
    assert sample.a.isna().mean() == pytest.approx(data.a.isna().mean(), abs=0.04)
    assert sample.g.isna().mean() == pytest.approx(data.g.isna().mean(), abs=0.06)


def test_empirical_noise_draws_what_was_observed_and_stacked_noise_does_not():
    data = line(100)
    dag = nx.DiGraph()
    dag.add_nodes_from(data.columns)
    observed = StructuralCausalModel(dag, noise="empirical").fit(data).sample(300, 0)
    smooth = StructuralCausalModel(dag, noise="stacked").fit(data).sample(300, 0)
    assert observed.x.isin(data.x).all()
    assert smooth.x.isin(data.x).mean() < 0.1  # at the ends of the range


@pytest.mark.parametrize("mechanism", ["linear", "gp", "boosting", "forest", "auto"])
def test_what_is_learned_does_not_depend_on_the_unit(mechanism):
    data, dag = line(150)[["x", "y"]], nx.DiGraph([("x", "y")])
    drawn = [
        StructuralCausalModel(dag, mechanism=mechanism).fit(data * unit).sample(200, 0) / unit
        for unit in (1.0, 1e-12)
    ]
    np.testing.assert_allclose(*drawn, rtol=1e-3, atol=1e-3)


def test_the_temperature_of_bins_does_not_depend_on_the_unit():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 1))
    y = 2 * X[:, 0] + rng.normal(size=300)
    noise, drawn = rng.uniform(size=(300, 1)), []
    for unit in (1.0, 1e-12):
        parts = [[partial(np.reshape, shape=(-1, 1))]] * 2
        regressor, classifier = (
            _Regressor(["boosting"], parts[0]),
            _Classifier(["linear"], parts[1]),
        )
        model = BinnedModel(regressor, classifier, temperature=0.2)
        model.fit(X, y * unit)
        drawn.append(model.evaluate(X, noise) / unit)
    np.testing.assert_allclose(*drawn, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mechanism", ["tfm", "tfm_bins"])
@pytest.mark.parametrize("child", ["b", "g"])
def test_a_flag_that_one_row_has_may_be_the_only_parent(mechanism, child):
    """Among the other rows it has one value, from which the foundation model can tell nothing."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"f": np.arange(60) == 7, "b": rng.normal(size=60)})
    table["g"] = np.where(rng.random(60) < 0.25, "few", "many")
    model = StructuralCausalModel(nx.DiGraph([("f", child)]), mechanism=mechanism)
    drawn = model.fit(table[["f", child]]).sample(400, 0)[child]
    if child == "b":
        assert drawn.mean() == pytest.approx(table["b"].mean(), abs=0.3)
    else:
        assert (drawn == "few").mean() == pytest.approx((table["g"] == "few").mean(), abs=0.1)
