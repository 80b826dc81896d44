from __future__ import annotations

import subprocess
import sys
import warnings

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from causallearn.search.ConstraintBased import FCI
from causallearn.search.ConstraintBased.PC import pc
from causallearn.utils.cit import CIT
from causallearn.utils.PCUtils.SkeletonDiscovery import skeleton_discovery

from causalmix.citest import DEGENERATE_GAUSSIAN, DegenerateGaussian
from causalmix.discovery import MARK_WEIGHTS, EdgeProbabilities, discover, sample_dags
from causalmix.errors import CausalMixError, DataError, UnknownNameError
from causalmix.search import search_bootstrap, search_skeleton


def collider(n: int, seed: int = 1) -> pd.DataFrame:
    """a → c ← b, c → d."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    c = a + b + 0.5 * rng.normal(size=n)
    return pd.DataFrame({"a": a, "b": b, "c": c, "d": c + 0.5 * rng.normal(size=n)})


def mixed(n: int, seed: int = 0) -> pd.DataFrame:
    """Independent columns of every kind, with missing cells in two of them."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "normal": rng.normal(size=n),
            "skewed": rng.exponential(size=n),
            "binary": rng.choice(["yes", "no"], n, p=[0.2, 0.8]),
            "letters": rng.choice(list("abcde"), n, p=[0.4, 0.3, 0.15, 0.1, 0.05]),
            "count": rng.poisson(3, n),
            "flag": rng.random(n) < 0.3,
        }
    )
    frame.loc[rng.random(n) < 0.2, "normal"] = np.nan
    frame.loc[rng.random(n) < 0.2, "letters"] = np.nan
    return frame.astype({"binary": "category", "letters": "category"})


def edge(edges: EdgeProbabilities, source: str, target: str) -> float:
    return edges.matrix[edges.names.index(source), edges.names.index(target)]


# --- the independence test -----------------------------------------------------------------------


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


# --- discovery -----------------------------------------------------------------------------------


def test_searches_the_skeleton_of_causal_learn():
    rng = np.random.default_rng(0)
    weights = np.triu(rng.normal(size=(14, 14)) * (rng.random((14, 14)) < 0.3), 1)
    data = rng.normal(size=(200, 14)) @ np.linalg.inv(np.eye(14) - weights)
    test = DegenerateGaussian(data)
    ours = search_skeleton(test, 14, 0.05, max_conditioning=2)
    theirs = skeleton_discovery(data, 0.05, test, show_progress=False, max_k=2)
    np.testing.assert_array_equal(ours.adjacent, theirs.G.graph != 0)
    for pair in zip(*np.nonzero(~ours.adjacent & ~np.eye(14, dtype=bool)), strict=True):
        assert ours.separators[pair] == set().union(*theirs.sepset[pair])


def test_orients_like_causal_learn(monkeypatch):
    """On the resampled rows themselves, in their permuted order of columns."""
    monkeypatch.setattr(FCI, "removeByPossibleDsep", lambda *_: None)
    shared = {"alpha": 0.05, "show_progress": False, "sample_size": 150}
    marks = set()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        weights = np.triu(rng.normal(size=(12, 12)) * (rng.random((12, 12)) < 0.3), 1)
        data = (rng.normal(size=(300, 12)) @ np.linalg.inv(np.eye(12) - weights))[:, 2:]
        ours = search_bootstrap(data, np.zeros(10, bool), ["pc", "fci"], 0.05, 2, 1, seed)
        rng = np.random.default_rng([seed, 1])
        rows, order = rng.integers(300, size=300), rng.permutation(10)
        sample = data[np.ix_(rows, order)]
        pattern = pc(sample, indep_test=DEGENERATE_GAUSSIAN, max_k=2, **shared).G.graph
        pag, _ = FCI.fci(sample, DEGENERATE_GAUSSIAN, depth=2, **shared)
        np.testing.assert_array_equal(ours["pc"][np.ix_(order, order)], pattern)
        np.testing.assert_array_equal(ours["fci"][np.ix_(order, order)], pag.graph)
        marks |= set(np.unique(pag.graph))
    assert marks == {0, -1, 1, 2}  # no edge, tail, arrowhead, circle


@pytest.mark.parametrize("algorithm", ["pc", "fci"])
def test_finds_the_collider(algorithm):
    edges = discover(collider(1000), algorithms=[algorithm], n_bootstraps=10)
    adjacent = edges.matrix + edges.matrix.T
    truth = nx.to_numpy_array(nx.Graph([("a", "c"), ("b", "c"), ("c", "d")]), nodelist=edges.names)
    assert (adjacent[truth == 1] > 0.7).all()  # an edge o-> counts 0.75
    assert (adjacent[truth == 0] < 0.2).all()
    arrow = 0.9 if algorithm == "pc" else 0.9 * MARK_WEIGHTS["o->"][0]
    assert edge(edges, "a", "c") > arrow
    assert edge(edges, "b", "c") > arrow
    assert edge(edges, "c", "d") > 0.9  # Meek's first rule, and FCI's
    assert edge(edges, "c", "a") < 0.1


def test_a_chain_keeps_its_directions_open():
    rng = np.random.default_rng(0)
    a = rng.normal(size=1000)
    b = a + rng.normal(size=1000)
    frame = pd.DataFrame({"a": a, "b": b, "c": b + rng.normal(size=1000)})
    edges = discover(frame, algorithms=["pc"], n_bootstraps=10)
    assert edge(edges, "a", "b") == pytest.approx(0.5, abs=0.15)
    assert edge(edges, "b", "a") == pytest.approx(0.5, abs=0.15)
    assert edge(edges, "a", "c") + edge(edges, "c", "a") < 0.2


def test_mixed_independent_columns_are_hardly_joined():
    """Resampled rows are tested as half as many; as n rows, over 14% of the pairs are joined."""
    adjacent = []
    for seed in range(5):
        matrix = discover(mixed(300, seed), n_bootstraps=4, algorithms=["pc"]).matrix
        adjacent.append((matrix + matrix.T)[np.triu_indices(6, 1)].mean())
    assert np.mean(adjacent) < 0.08


def test_frequencies_add_up_to_the_matrix():
    edges = discover(collider(200), n_bootstraps=8)
    matrix = np.zeros((4, 4))
    for row in edges.marks.itertuples():
        i, j = edges.names.index(row.source), edges.names.index(row.target)
        matrix[i, j] += MARK_WEIGHTS[row.mark][0] * row.frequency / 2
        matrix[j, i] += MARK_WEIGHTS[row.mark][1] * row.frequency / 2
    np.testing.assert_allclose(edges.matrix, matrix)
    assert set(edges.marks.algorithm) == {"pc", "fci"}
    assert edges.marks.frequency.between(0, 1).all()
    assert not edges.matrix.diagonal().any()
    assert (edges.matrix + edges.matrix.T).max() <= 1 + 1e-9


def test_mark_weights_are_an_option():
    frame = collider(500)
    strict = dict.fromkeys(MARK_WEIGHTS, (0.0, 0.0)) | {"-->": (1.0, 0.0)}
    edges = discover(frame, algorithms=["fci"], n_bootstraps=4, mark_weights=strict)
    assert edge(edges, "c", "d") > 0.7
    assert edge(edges, "a", "c") == 0  # a o-> c
    with pytest.raises(CausalMixError, match="-->"):
        discover(frame, mark_weights=MARK_WEIGHTS | {"-->": (0.8, 0.3)})
    with pytest.raises(UnknownNameError, match="<--"):
        discover(frame, mark_weights=MARK_WEIGHTS | {"<--": (0.0, 1.0)})


def test_columns_may_come_in_any_order():
    frame = collider(1000)
    edges = discover(frame[["d", "c", "b", "a"]], n_bootstraps=6)
    assert edges.names == ("d", "c", "b", "a")
    assert edge(edges, "c", "d") > 0.9
    assert edge(edges, "a", "c") > 0.6


def test_result_depends_on_the_seed_but_not_on_the_workers():
    frame = mixed(120).assign(copy=lambda f: f["count"] + f["skewed"])
    one = discover(frame, n_bootstraps=4, seed=3)
    two = discover(frame, n_bootstraps=4, seed=3, n_jobs=2)
    np.testing.assert_array_equal(one.matrix, two.matrix)
    pd.testing.assert_frame_equal(one.marks, two.marks)
    assert (discover(frame, n_bootstraps=4, seed=4).matrix != one.matrix).any()


def test_result_does_not_depend_on_the_hash_seed():
    code = (
        "import numpy as np, pandas as pd\n"
        "from causallearn.graph.GraphNode import GraphNode\n"
        "from causalmix.discovery import discover\n"
        "from causalmix.search import _NodeName\n"
        "rng = np.random.default_rng(0)\n"
        "weights = rng.normal(size=(12, 12)) * (rng.random((12, 12)) < 0.3)\n"
        "x = rng.normal(size=(300, 12)) @ (weights + np.eye(12))\n"
        "frame = pd.DataFrame(x, columns=list('abcdefghijkl'))\n"
        "print(discover(frame, algorithms=['fci'], n_bootstraps=3).matrix.tolist())\n"
        "print([str(n) for n in {GraphNode(_NodeName(f'{j:05d}')) for j in range(12)}])\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert runs[0].startswith("[[")  # and nothing else was printed


def test_prints_nothing(capfd):
    discover(collider(200), n_bootstraps=2)
    assert capfd.readouterr() == ("", "")


def test_wide_tables_are_screened_with_a_warning():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(200, 12)), columns=[f"x{j}" for j in range(12)])
    frame["y"] = np.where(frame.x3 - frame.x7 + 0.3 * rng.normal(size=200) > 0, "yes", "no")
    with pytest.warns(UserWarning, match="13 columns; discovery searches the 3 most dependent"):
        edges = discover(frame, target="y", max_columns=3, n_bootstraps=4)
    assert edges.matrix.shape == (13, 13)
    touched = {edges.names[i] for i in np.flatnonzero(edges.matrix.sum(0) + edges.matrix.sum(1))}
    assert touched == {"x3", "x7", "y"}


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0, 5.0]}),
        pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0, 5.0], "b": list("xyxyx")}),
        pd.DataFrame({"a": [1.0] * 20, "b": [np.nan] * 20, "c": ["x"] * 20, "d": range(20)}),
        pd.DataFrame({"id": [f"row{i}" for i in range(40)], "x": range(40), "y": range(40)}),
    ],
)
def test_runs_on_degenerate_tables_without_warnings(frame):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edges = discover(frame, n_bootstraps=2)
    assert np.isfinite(edges.matrix).all()


def test_errors_name_what_is_wrong():
    frame = collider(50)
    with pytest.raises(UnknownNameError, match="'pc'"):
        discover(frame, algorithms=["pcc"])
    with pytest.raises(CausalMixError, match="alpha is 5"):
        discover(frame, alpha=5)
    with pytest.raises(CausalMixError, match="n_bootstraps is 0"):
        discover(frame, n_bootstraps=0)
    with pytest.raises(DataError, match="no column 'y'"):
        discover(frame, target="y")
    with pytest.raises(DataError, match="0 rows"):
        discover(frame.iloc[:0])
    with pytest.raises(DataError, match="'a' contains infinities"):
        discover(frame.assign(a=np.inf))
    with pytest.raises(DataError, match="'a' appears more than once"):
        discover(frame.set_axis(list("aabc"), axis=1))
    with pytest.raises(CausalMixError, match="at most 1"):
        EdgeProbabilities(("a", "b"), np.array([[0, 0.7], [0.7, 0]]), pd.DataFrame())


# --- sampled graphs ------------------------------------------------------------------------------


def random_edges(d: int, seed: int, density: float) -> EdgeProbabilities:
    rng = np.random.default_rng(seed)
    joined = np.triu(rng.random((d, d)) * (rng.random((d, d)) < density), 1)
    share = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0], (d, d))
    matrix = joined * share + (joined * (1 - share)).T
    return EdgeProbabilities(tuple(f"v{j}" for j in range(d)), matrix, pd.DataFrame())


@pytest.mark.parametrize(("d", "density"), [(5, 1.0), (10, 0.5), (30, 0.2)])
def test_sampled_graphs_are_acyclic_and_keep_the_marginals(d, density):
    edges = random_edges(d, 0, density)
    dags = sample_dags(edges, 500, seed=1)
    assert all(nx.is_directed_acyclic_graph(dag) for dag in dags)
    assert all(list(dag) == list(edges.names) for dag in dags)
    mean = np.mean([nx.to_numpy_array(dag, nodelist=edges.names) for dag in dags], axis=0)
    off = ~np.eye(d, dtype=bool)
    assert np.abs(mean - edges.matrix)[off].mean() <= 0.02
    assert not mean[edges.matrix == 0].any()


def test_sampling_repeats_with_its_seed():
    edges = random_edges(8, 0, 0.6)
    first, again, other = (sample_dags(edges, 5, seed) for seed in (0, 0, 1))
    assert [sorted(g.edges) for g in first] == [sorted(g.edges) for g in again]
    assert [sorted(g.edges) for g in first] != [sorted(g.edges) for g in other]


def test_target_is_a_sink_with_the_union_of_its_adjacencies():
    matrix = np.zeros((4, 4))
    matrix[0, 1], matrix[3, 0], matrix[1, 3] = 0.5, 0.1, 0.2
    edges = EdgeProbabilities(("a", "b", "c", "y"), matrix, pd.DataFrame())
    for dag in sample_dags(edges, 20, 0, target="y"):
        assert set(dag.predecessors("y")) == {"a", "b"}
        assert dag.out_degree("y") == 0
    for dag in sample_dags(edges, 3, 0, target="y", target_parents="all"):
        assert set(dag.predecessors("y")) == {"a", "b", "c"}


def test_target_without_adjacencies_gets_all_nodes_as_parents():
    edges = EdgeProbabilities(("a", "b", "y"), np.zeros((3, 3)), pd.DataFrame())
    (dag,) = sample_dags(edges, 1, 0, target="y")
    assert set(dag.predecessors("y")) == {"a", "b"}


def test_sampling_errors():
    edges = random_edges(3, 0, 1.0)
    with pytest.raises(UnknownNameError, match="v9"):
        sample_dags(edges, 1, 0, target="v9")
    with pytest.raises(UnknownNameError, match="adjacent, all"):
        sample_dags(edges, 1, 0, target="v0", target_parents="some")
    with pytest.raises(CausalMixError, match="n_dags is 0"):
        sample_dags(edges, 0, 0)
