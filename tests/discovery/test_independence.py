"""Tests of conditional independence: level, power, and columns that tests break on."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from causallearn.search.ConstraintBased.PC import pc
from causallearn.utils.cit import CIT
from made_tables import collider, mixed
from scipy.stats import norm

from causalmix.data.codec import TableCodec
from causalmix.data.dataset import load_dataset
from causalmix.discovery.bootstrap import discover
from causalmix.discovery.citest import DEGENERATE_GAUSSIAN, DegenerateGaussian
from causalmix.discovery.independence import TESTS, check_test, draw_rows, make_test
from causalmix.discovery.search import complete
from causalmix.errors import DataError, UnknownNameError

# --- the degenerate-Gaussian test ----------------------------------------------------------------


@pytest.mark.parametrize("given", [(), (2,), (2, 3)])
def test_agrees_with_fisher_z_on_gaussian_data(given):
    data = collider(400).to_numpy()
    data = data + 1.5 * np.random.default_rng(1).normal(size=data.shape)  # p-values off 0
    ours = DegenerateGaussian(data)(0, 1, given)
    assert ours == pytest.approx(CIT(data, "fisherz")(0, 1, given), abs=0.01)


def test_agrees_with_likelihood_ratio_of_a_two_way_table():
    rng = np.random.default_rng(3)
    x = rng.integers(0, 3, 2000)
    y = np.where(rng.random(2000) < 0.05, x, rng.integers(0, 3, 2000))
    data = np.column_stack([x, y]).astype(float)
    test = DegenerateGaussian(data, categorical=(0, 1))
    statistic, df = test.statistic(0, 1)
    assert df == 4
    expected = np.outer(np.bincount(x), np.bincount(y)) / 2000
    table = np.histogram2d(x, y, bins=(3, 3))[0]
    assert statistic == pytest.approx(((table - expected) ** 2 / expected).sum(), rel=0.05)


def test_level_on_independent_mixed_columns():
    rejected = []
    for seed in range(60):
        frame = mixed(200, seed)
        codes = frame.apply(lambda s: pd.factorize(s)[0] if s.dtype.kind not in "if" else s)
        data = codes.fillna(0.0).to_numpy(float)
        test = DegenerateGaussian(data, categorical=(2, 3, 5))
        rejected += [test(i, j, (k,)) < 0.05 for i, j, k in [(0, 2, 3), (1, 3, 4), (2, 5, 0)]]
        rejected += [test(i, j) < 0.05 for i, j in [(0, 1), (2, 3), (3, 4), (1, 5)]]
    assert 0.025 < np.mean(rejected) < 0.08  # 420 tests: three standard errors are 0.03


def test_power_and_separation_through_a_category():
    rng = np.random.default_rng(0)
    z = rng.integers(0, 4, 500)
    x = rng.normal(size=500) + np.array([0.0, 2.0, -1.0, 1.0])[z]
    y = rng.normal(size=500) + np.array([1.0, 0.0, 2.0, -2.0])[z]
    test = DegenerateGaussian(np.column_stack([x, y, z]), categorical=(2,))
    assert test(0, 2) < 1e-6
    assert test(0, 1) < 1e-6
    assert test(0, 1, (2,)) > 0.05


def test_squares_show_dependence_on_size_and_separate_by_a_curve():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=1000)
    even, other = (3 * x**2 + rng.normal(size=1000) for _ in range(2))
    data = np.column_stack([x, even, other, x > 0])
    linear, squared = (DegenerateGaussian(data, squares=squares) for squares in (False, True))
    assert [len(block) for block in squared.blocks] == [2, 2, 2, 1]  # two values have no square
    assert linear(0, 1) > 1e-3
    assert squared(0, 1) < 1e-12
    assert linear(1, 2, (0,)) < 1e-12
    assert squared(1, 2, (0,)) > 0.05


def test_squares_of_outliers_do_not_decide():
    """Columns without a variance: the level at .05 rises to .085, and without a bound to more."""
    rng = np.random.default_rng(0)
    rejected = []
    for _ in range(400):
        data = rng.standard_t(2, size=(200, 2))
        rejected.append(DegenerateGaussian(data, squares=True)(0, 1) < 0.05)
    assert np.mean(rejected) < 0.12


def test_survives_degenerate_columns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=100)
    y = x + rng.normal(size=100)
    data = np.column_stack([x, x, 2 * x - 1, np.full(100, 0.1), y, rng.normal(size=100)])
    test = DegenerateGaussian(data)
    assert test(0, 3) == 1.0
    assert test(0, 1) < 1e-6
    assert test(0, 4, (1, 2)) > 0.05  # x tells nothing beyond its copies
    assert test(0, 4, (3, 5)) < 1e-6


def test_too_few_rows_decide_nothing():
    data = np.random.default_rng(0).normal(size=(4, 4))
    assert DegenerateGaussian(data)(0, 1, (2, 3)) == 1.0


def test_is_registered_with_causal_learn():
    graph = pc(
        collider(500).to_numpy(),
        indep_test=DEGENERATE_GAUSSIAN,
        categorical=(),
        show_progress=False,
    )
    assert graph.is_fully_directed(0, 2)


@pytest.mark.parametrize("squares", [False, True])
@pytest.mark.parametrize("dataset", ["anes96", "modechoice"])
def test_level_on_permuted_real_columns(dataset, squares):
    """A real column, shuffled, is independent of the others whatever holds among those."""
    frame = load_dataset(dataset).frame()
    codec = TableCodec(frame)
    categorical = frame.columns.isin(codec.categorical)
    d = len(categorical)
    rejected = {0: [], 1: [], 2: []}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rows = rng.permutation(len(frame))[:200]
        values = complete(codec.encode(frame).to_numpy()[rows], categorical)
        y, *others = rng.permutation(d)
        values[:, y] = rng.permutation(values[:, y])
        test = DegenerateGaussian(values, np.flatnonzero(categorical), squares=squares)
        for size, found in rejected.items():
            for k in range(3):
                x, *given = others[3 * k % (d - 1) :][: size + 1]
                found.append(test(x, y, given) < 0.05)
    for found in rejected.values():
        assert np.mean(found) < 0.12  # 180 tests, three of a table alike: three standard errors
    assert 0.025 < np.mean(list(rejected.values())) < 0.095


@pytest.mark.parametrize("n_given", [0, 2])
def test_power_is_that_of_the_partial_correlation(n_given):
    """Fisher's z has a closed form, and the test is equivalent to it for numbers."""
    n, correlation, rejected = 100, 0.3, []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=(n, 2))
        x, noise = rng.normal(size=(2, n))
        y = correlation * x + np.sqrt(1 - correlation**2) * noise
        data = np.column_stack([x + z @ [1, -1], y + z @ [0.5, 2], z])
        if not n_given:
            data[:, :2] -= z @ np.array([[1, 0.5], [-1, 2]])
        rejected.append(DegenerateGaussian(data)(0, 1, range(2, 2 + n_given)) < 0.05)
    expected = norm.cdf(np.sqrt(n - n_given - 3) * np.arctanh(correlation) - norm.ppf(0.975))
    assert np.mean(rejected) == pytest.approx(expected, abs=0.075)  # three standard errors


def test_power_between_categories_and_numbers():
    rejected = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        k = rng.integers(0, 3, 200)
        x = rng.normal(size=200) + 0.6 * (k == 1)
        m = np.where(rng.random(200) < 0.3, k, rng.integers(0, 3, 200))
        test = DegenerateGaussian(np.column_stack([k, x, m, rng.normal(size=200)]), (0, 2))
        rejected.append([test(0, 1), test(0, 2), test(0, 1, (3,)), test(0, 2, (1,))])
    assert (np.mean(np.array(rejected) < 0.05, axis=0) > 0.8).all()


def test_knows_what_determines_a_column():
    rng = np.random.default_rng(0)
    a, b, noise = rng.normal(size=(3, 200))
    city = rng.integers(0, 4, 200)
    data = np.column_stack([a, b, a + b, a + 0.05 * noise, city, city // 2, np.ones(200)])
    test = DegenerateGaussian(data, categorical=(4, 5))
    assert test.determines((0, 1), 2)
    assert test.determines((4,), 5)
    assert not test.determines((5,), 4)
    assert not test.determines((0,), 3)
    assert not test.determines((0,), 2)
    assert not test.determines((), 0)
    assert not test.determines((0,), 6)  # without variance there is nothing to determine


# --- causal-learn's tests ------------------------------------------------------------------------


def resample(test: str, data: np.ndarray, categorical: np.ndarray, seed: int = 0):
    return make_test(
        test, data[draw_rows(test, len(data), np.random.default_rng(seed))], categorical
    )


def test_every_test_finds_and_separates():
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, 600)
    x, y = (np.where(rng.random(600) < 0.2, 1 - z, z) for _ in range(2))
    data = np.column_stack([x, y, z]).astype(float)
    for name in TESTS:
        test = resample(name, data, np.ones(3, dtype=bool))
        assert test(0, 1) < 1e-4
        assert test(0, 1, (2,)) > 0.05
        assert test(0, 2, [1]) < 1e-4


@pytest.mark.parametrize("name", ["kci", "rcit"])
def test_kernel_tests_see_more_than_lines(name):
    rng = np.random.default_rng(0)
    x = np.repeat(np.linspace(-2, 2, 100), 4)  # uncorrelated with its square
    k, noise = rng.integers(0, 3, 400), rng.normal(size=400)
    data = np.column_stack([x, x**2 + 0.3 * rng.normal(size=400), k, noise])
    categorical = np.array([False, False, True, False])
    test = resample(name, data, categorical)
    assert test(0, 1) < 0.01
    assert test(0, 1, (2,)) < 0.01
    assert test(2, 3, (0,)) > 0.05
    assert resample("degenerate_gaussian", data, categorical)(0, 1) > 0.05


@pytest.mark.parametrize("name", TESTS)
def test_level_in_resamples(name):
    """Rows with replacement count half; a half without replacement counts as it is."""
    rejected = []
    for seed in range(100):
        data = np.random.default_rng(seed).integers(0, 2, (120, 4)).astype(float)
        test = resample(name, data, np.ones(4, dtype=bool), seed)
        rejected += [test(0, 1) < 0.05, test(2, 3, (0,)) < 0.05]
    assert np.mean(rejected) < 0.11  # four standard errors


@pytest.mark.parametrize("name", TESTS)
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 40])
def test_every_test_survives_degenerate_columns(name, n, recwarn):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, n).astype(float)
    data = np.column_stack([x, x, 1 - x, np.zeros(n), rng.integers(0, 2, n)])
    test = resample(name, data, np.ones(5, dtype=bool))
    values = [
        test(i, j, given)
        for i, j in [(0, 1), (0, 3), (3, 4), (0, 4)]
        for given in [(), *([k] for k in range(5) if k not in (i, j))]
    ]
    assert all(0 <= p <= 1 for p in values)
    assert test(0, 3) == test(3, 4) == 1
    assert not recwarn


def test_a_p_value_does_not_depend_on_the_tests_before_it():
    data = np.random.default_rng(0).normal(size=(100, 4))
    first, second = (resample("rcit", data, np.zeros(4, dtype=bool)) for _ in range(2))
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    second(2, 3)
    assert first(0, 1, (2,)) == second(1, 0, (2,))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_test_that_does_not_fit_names_the_columns():
    frame = mixed(50)
    codec = TableCodec(frame)
    values, categorical = codec.encode(frame).to_numpy(), frame.columns.isin(codec.categorical)
    for test, message in [
        ("chisq", r"'chisq' needs categories.*'normal', 'skewed', 'count'. Bin them"),
        ("fisherz", r"'fisherz' needs numbers or two categories.*: 'letters'\. Use test="),
    ]:
        with pytest.raises(DataError, match=message):
            check_test(test, frame.columns, categorical, values)
        with pytest.raises(DataError, match=message):
            discover(frame, test=test)
    with pytest.raises(UnknownNameError, match="Did you mean 'fisherz'"):
        discover(frame, test="fisher-z")


@pytest.mark.parametrize("name", ["fisherz", "kci", "rcit"])
def test_discovery_with_causal_learns_tests(name):
    frame = collider(200)
    edges = discover(frame, test=name, n_bootstraps=2, alpha=0.05)
    joined = edges.matrix + edges.matrix.T
    assert min(joined[0, 2], joined[1, 2], joined[2, 3]) > 0.4  # one of two halves at least
    assert joined[0, 1] < 0.5
    again = discover(frame, test=name, n_bootstraps=2, alpha=0.05)
    np.testing.assert_array_equal(edges.matrix, again.matrix)


@pytest.mark.parametrize("squares", [False, True])
@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_many_sets_are_tested_like_one(size, squares):
    """Mixed columns, one of them the sum of two others, one constant, one a copy."""
    frame = mixed(300, seed=1)
    codec = TableCodec(frame)
    kinds = np.isin(list(frame), codec.categorical)
    codes = complete(codec.encode(frame).to_numpy(), kinds)
    numeric = np.flatnonzero(~kinds)
    added = [codes[:, numeric[0]], codes[:, numeric[:2]].sum(axis=1), np.ones(len(codes))]
    data = np.column_stack([codes, *added])
    test = DegenerateGaussian(data, np.flatnonzero(kinds), squares=squares)
    separating = 0
    for x, y in combinations(range(data.shape[1]), 2):
        statistic, df = test.statistic(x, y)
        if y < data.shape[1] - 3:  # a copy's statistic is the logarithm of rounding errors
            assert test.dependence(x)[y] == pytest.approx(statistic - df, abs=1e-6)
        sets = list(combinations([j for j in range(data.shape[1]) if j not in (x, y)], size))
        found = test.separators(x, y, sets, 0.3)
        assert found == [
            given
            for given in sets
            if test(x, y, given) > 0.3
            and not (test.determines(given, x) or test.determines(given, y))
        ]
        separating += len(found)
    assert separating
