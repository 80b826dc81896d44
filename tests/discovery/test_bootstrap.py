from __future__ import annotations

import subprocess
import sys
import warnings

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from causallearn.graph.GeneralGraph import GeneralGraph
from causallearn.graph.GraphClass import CausalGraph
from causallearn.search.ConstraintBased import FCI
from causallearn.search.ConstraintBased.PC import pc
from causallearn.utils.PCUtils.SkeletonDiscovery import skeleton_discovery
from made_tables import collider, mixed

from causalmix.discovery.bootstrap import discover
from causalmix.discovery.citest import DEGENERATE_GAUSSIAN, DegenerateGaussian
from causalmix.discovery.edge_probabilities import (
    ARROW,
    CIRCLE,
    MARK_WEIGHTS,
    TAIL,
    EdgeProbabilities,
)
from causalmix.discovery.knowledge import NO_KNOWLEDGE
from causalmix.discovery.options import PAPER_ALGORITHMS, DiscoveryOptions
from causalmix.discovery.orientation import _Graph, _Pattern, _rule10
from causalmix.discovery.search import search_bootstrap
from causalmix.discovery.skeleton import search_skeleton
from causalmix.errors import CausalMixError, DataError, TimeLimitWarning, UnknownNameError


def edge(edges: EdgeProbabilities, source: str, target: str) -> float:
    return edges.matrix[edges.names.index(source), edges.names.index(target)]


# --- discovery -----------------------------------------------------------------------------------


def test_searches_the_skeleton_of_causal_learn():
    rng = np.random.default_rng(0)
    weights = np.triu(rng.normal(size=(14, 14)) * (rng.random((14, 14)) < 0.3), 1)
    data = rng.normal(size=(200, 14)) @ np.linalg.inv(np.eye(14) - weights)
    test = DegenerateGaussian(data)
    ours = search_skeleton(test, NO_KNOWLEDGE.constraints(range(14)), 0.05, max_conditioning=2)
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
        kinds, known = np.zeros(10, dtype=bool), NO_KNOWLEDGE.constraints(range(10))
        ours = search_bootstrap(
            data,
            kinds,
            known,
            DiscoveryOptions(
                algorithms=PAPER_ALGORITHMS, test=DEGENERATE_GAUSSIAN, alpha=0.05, seed=seed
            ),
            1,
        ).graphs
        rng = np.random.default_rng([seed, 1])
        rows, order = rng.integers(300, size=300), rng.permutation(10)
        sample = data[np.ix_(rows, order)]
        pattern = pc(sample, indep_test=DEGENERATE_GAUSSIAN, max_k=2, **shared).G.graph
        pag, _ = FCI.fci(sample, DEGENERATE_GAUSSIAN, depth=2, **shared)
        np.testing.assert_array_equal(ours["pc"][np.ix_(order, order)], pattern)
        np.testing.assert_array_equal(ours["fci"][np.ix_(order, order)], pag.graph)
        marks |= set(np.unique(pag.graph))
    assert marks == {0, -1, 1, 2}  # no edge, tail, arrowhead, circle


def test_rule_10_of_fci_is_that_of_causal_learn():
    """On random marks, of which the rule finds work in many."""
    oriented = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        adjacent = np.triu(rng.random((10, 10)) < 0.5, 1)
        ours = _Graph(adjacent | adjacent.T, TAIL)
        ours.graph = np.where(
            ours.graph, rng.choice([TAIL, ARROW, ARROW, CIRCLE], size=(10, 10)), 0
        )
        before = ours.graph.copy()
        theirs = GeneralGraph(ours.nodes)
        theirs.graph = before.copy()
        assert _rule10(ours.graph) == FCI.rule10(theirs, False)
        np.testing.assert_array_equal(ours.graph, theirs.graph)
        oriented += (ours.graph != before).sum()
    assert oriented > 10


def test_triples_and_kites_are_those_of_causal_learn():
    rng = np.random.default_rng(0)
    adjacent = np.triu(rng.random((14, 14)) < 0.4, 1)
    ours, theirs = _Pattern(0), CausalGraph(0)
    ours.G = theirs.G = _Graph(adjacent | adjacent.T, TAIL)
    ours.G.direct(adjacent & (rng.random((14, 14)) < 0.4))
    assert ours.find_unshielded_triples() == theirs.find_unshielded_triples()
    assert ours.find_triangles() == theirs.find_triangles()
    assert ours.find_kites() == theirs.find_kites() != []


def test_ancestors_are_found_on_any_path():
    rng = np.random.default_rng(0)
    edges = np.triu(rng.random((12, 12)) < 0.2, 1)
    graph = _Graph(edges | edges.T, TAIL)
    graph.direct(edges)
    dag = nx.from_numpy_array(edges, create_using=nx.DiGraph)
    for i, j in np.ndindex(edges.shape):
        assert graph.is_ancestor_of(graph.nodes[i], graph.nodes[j]) == nx.has_path(dag, i, j)


@pytest.mark.parametrize("algorithm", ["pc", "fci"])
def test_finds_the_collider(algorithm):
    edges = discover(collider(1000), algorithms=[algorithm], n_bootstraps=10, alpha=0.05)
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
    edges = discover(frame, algorithms=["pc"], n_bootstraps=10, alpha=0.05)
    assert edge(edges, "a", "b") == pytest.approx(0.5, abs=0.15)
    assert edge(edges, "b", "a") == pytest.approx(0.5, abs=0.15)
    assert edge(edges, "a", "c") + edge(edges, "c", "a") < 0.2


def test_mixed_independent_columns_are_hardly_joined():
    """Resampled rows are tested as half as many; as n rows, over 14% of the pairs are joined."""
    adjacent = []
    for seed in range(5):
        matrix = discover(mixed(300, seed), n_bootstraps=4, algorithms=["pc"], alpha=0.05).matrix
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
    assert set(edges.marks.algorithm) == {"pc", "boss"}
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
    for weights in ((np.nan, 0.0), (1.0,), 1.0):
        with pytest.raises(CausalMixError, match="two weights for '-->'"):
            discover(frame, mark_weights=MARK_WEIGHTS | {"-->": weights})
    with pytest.raises(UnknownNameError, match="Valid: soft, strict"):
        discover(frame, mark_weights="hard")


def test_columns_may_come_in_any_order():
    frame = collider(1000)
    edges = discover(frame[["d", "c", "b", "a"]], algorithms=PAPER_ALGORITHMS, n_bootstraps=6)
    assert edges.names == ("d", "c", "b", "a")
    assert edge(edges, "c", "d") > 0.9
    assert edge(edges, "a", "c") > 0.6


def test_result_depends_on_the_seed_but_not_on_the_workers():
    frame = mixed(120).assign(copy=lambda f: f["count"] + f["skewed"])
    every = {"algorithms": ["pc", "fci", "bounded_fci", "boss"], "n_bootstraps": 4}
    one = discover(frame, **every, seed=3)
    two = discover(frame, **every, seed=3, n_jobs=2)
    np.testing.assert_array_equal(one.matrix, two.matrix)
    pd.testing.assert_frame_equal(one.marks, two.marks)
    assert (discover(frame, **every, seed=4).matrix != one.matrix).any()


def test_result_does_not_depend_on_the_hash_seed(capsys):
    code = (
        "import numpy as np, pandas as pd\n"
        "from causalmix.discovery.bootstrap import discover\n"
        "from causalmix.discovery.orientation import _Node\n"
        "rng = np.random.default_rng(0)\n"
        "weights = rng.normal(size=(12, 12)) * (rng.random((12, 12)) < 0.3)\n"
        "x = rng.normal(size=(300, 12)) @ (weights + np.eye(12))\n"
        "frame = pd.DataFrame(x, columns=list('abcdefghijkl'))\n"
        "algorithms = ['pc', 'fci', 'bounded_fci', 'boss']\n"
        "print(discover(frame, algorithms=algorithms, n_bootstraps=3).matrix.tolist())\n"
        "print([str(n) for n in {_Node(j) for j in range(12)}])\n"
    )
    exec(code, {})
    there = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert capsys.readouterr().out == there.stdout
    assert there.stdout.startswith("[[")  # and nothing else was printed


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
    wide = pd.concat([frame, frame.add_suffix("'").drop(columns="y'")], axis=1)
    with pytest.warns(TimeLimitWarning, match="made do with a search of 5 of 25 columns") as said:
        discover(wide, target="y", max_columns=20, n_bootstraps=2, time_limit=1e-9)
    assert not any("most dependent" in str(each.message) for each in said)


def test_copies_and_sums_of_columns_keep_their_edges():
    """Given its copy, a column is independent of everything; that must not cost the edge."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 300))
    frame = pd.DataFrame({"a": a, "twice": 2 * a - 1, "b": b, "sum": a + b})
    frame["y"] = a + b + 0.5 * rng.normal(size=300)
    frame["k"] = pd.Categorical(np.where(b > 0, "u", "v"))
    frame["l"] = frame["k"].map({"u": "p", "v": "q"})
    edges = discover(frame, algorithms=PAPER_ALGORITHMS, n_bootstraps=4)
    joined = pd.DataFrame(edges.matrix + edges.matrix.T, edges.names, edges.names)
    assert joined.loc["a", "twice"] == joined.loc["k", "l"] == 1
    assert joined.loc["y", ["a", "twice", "b", "sum"]].max() > 0.7
    assert joined.loc["b", ["k", "l"]].min() > 0.7


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0, 5.0]}),
        pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0, 5.0], "b": list("xyxyx")}),
        pd.DataFrame({"a": [1.0] * 20, "b": [np.nan] * 20, "c": ["x"] * 20, "d": range(20)}),
        pd.DataFrame({"x": [0.5] + [1.0] * 39, "y": range(40), "k": ["u"] + ["v"] * 39}),
    ],
)
def test_runs_on_degenerate_tables_without_warnings(frame):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edges = discover(frame, n_bootstraps=2)
    assert np.isfinite(edges.matrix).all()


def test_identifiers_are_left_out_with_a_warning():
    frame = collider(100).assign(name=[f"row{i}" for i in range(100)], case_id=range(7, 107))
    frame.insert(0, "row", range(1, 101))
    frame.loc[3:20, "name"] = None  # those that are known are all different
    with pytest.warns(UserWarning, match="identify the rows.*: 'row', 'name', 'case_id'"):
        edges = discover(frame, n_bootstraps=2)
    assert edges.identifiers == ("row", "name", "case_id")
    joined = edges.matrix.sum(0) + edges.matrix.sum(1)
    assert [n for n, p in zip(edges.names, joined, strict=True) if p] == list("abcd")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        discover(frame[["name", "a", "b"]].iloc[:5], n_bootstraps=1)
        discover(frame[["a", "case_id"]], target="case_id", n_bootstraps=1)
        discover(frame[["a", "name"]].assign(name=[*"abcde"] + [None] * 95), n_bootstraps=1)
        discover(frame.assign(row=np.nan)[["row", "a"]], n_bootstraps=1)  # no number at all


def test_classes_that_a_bootstrap_loses():
    """One row of a class is in no resample of many; the others are searched all the same."""
    frame = collider(200)
    frame["k"] = pd.Categorical(["rare"] + ["u", "v"] * 99 + ["u"], categories=["rare", "u", "v"])
    frame["single"] = pd.Categorical(["once"] + ["often"] * 199)
    edges = discover(frame, n_bootstraps=10, target="single")
    assert edges.matrix[2, 3] + edges.matrix[3, 2] > 0.9
    assert not edges.matrix[5].any()
    assert not edges.matrix[:, 5].any()


def test_errors_name_what_is_wrong():
    frame = collider(50)
    with pytest.raises(UnknownNameError, match="'pc'"):
        discover(frame, algorithms=["pcc"])
    with pytest.raises(UnknownNameError, match=r"'n_bootstraps'.*Valid: algorithms, test, n"):
        discover(frame, n_bootstrap=5)
    for given in (np.array(["pc", "fci"]), pd.Index(["pc"])):
        assert discover(frame, algorithms=given, n_bootstraps=1).names
    for empty in ([], iter(["pc"])):
        with pytest.raises(CausalMixError, match="algorithms is"):
            discover(frame, algorithms=empty)
    with pytest.raises(CausalMixError, match="alpha is True"):
        discover(frame, alpha=True)
    with pytest.raises(CausalMixError, match="alpha is 5"):
        discover(frame, alpha=5)
    with pytest.raises(CausalMixError, match=r"algorithms is 'pc'; a list is needed, as \['pc'\]"):
        discover(frame, algorithms="pc")
    for option, value in (
        ("n_bootstraps", 0),
        ("max_columns", 0),
        ("max_conditioning", -1),
        ("max_conditioning", 1.5),
        ("possible_dsep_seconds", 0),
    ):
        with pytest.raises(CausalMixError, match=f"{option} is {value}"):
            discover(frame, **{option: value})
    with pytest.raises(DataError, match="no column 'y'"):
        discover(frame, target="y")
    with pytest.raises(DataError, match="Every column identifies the rows: 'case_id'"):
        discover(pd.DataFrame({"case_id": range(50)}))
    with pytest.raises(DataError, match="0 rows"):
        discover(frame.iloc[:0])
    with pytest.raises(DataError, match="'a' contains infinities"):
        discover(frame.assign(a=np.inf))
    with pytest.raises(DataError, match="'a' appears more than once"):
        discover(frame.set_axis(list("aabc"), axis=1))
    with pytest.raises(CausalMixError, match="at most 1"):
        EdgeProbabilities(("a", "b"), np.array([[0, 0.7], [0.7, 0]]), pd.DataFrame())
