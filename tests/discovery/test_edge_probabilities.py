"""Edge probabilities: made from marks, saved and loaded, compared with a known graph."""

from __future__ import annotations

import json

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from causallearn.graph.AdjacencyConfusion import AdjacencyConfusion
from causallearn.graph.ArrowConfusion import ArrowConfusion
from causallearn.graph.GeneralGraph import GeneralGraph
from causallearn.graph.GraphNode import GraphNode
from causallearn.graph.SHD import SHD
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from causalmix.discovery.edge_probabilities import EdgeProbabilities
from causalmix.discovery.graph_comparison import check_dag, compare_graphs
from causalmix.discovery.knowledge import BackgroundKnowledge
from causalmix.errors import CausalMixError, DataError, UnknownNameError

NAMES = ("a", "b", "c", "d")


def probabilities(**values: float) -> EdgeProbabilities:
    """From ``ab=0.7`` for P(a → b)."""
    matrix = np.zeros((4, 4))
    for (i, j), value in values.items():
        matrix[NAMES.index(i), NAMES.index(j)] = value
    return EdgeProbabilities(NAMES, matrix, pd.DataFrame())


def random_pair(seed: int, d: int = 8) -> tuple[EdgeProbabilities, nx.DiGraph]:
    rng = np.random.default_rng(seed)
    share = rng.dirichlet([1, 1, 1], (d, d))
    matrix = np.triu(share[..., 0], 1) + np.triu(share[..., 1], 1).T
    matrix[[0, 1, 2, 3], [1, 0, 3, 2]] = 0.45  # two edges without direction
    names = tuple("abcdefgh"[:d])
    true = np.triu(rng.random((d, d)) < 0.4, 1)[np.ix_(order := rng.permutation(d), order)]
    dag = nx.relabel_nodes(nx.DiGraph(true.astype(int)), dict(enumerate(names)))
    return EdgeProbabilities(names, matrix, pd.DataFrame()), dag


# --- made from marks -----------------------------------------------------------------------------


def test_marks_of_graphs_become_probabilities():
    graph = np.zeros((4, 4), dtype=int)
    graph[0, 1], graph[1, 0] = -1, 1  # a --> b
    graph[1, 2], graph[2, 1] = 1, 2  # c o-> b
    graph[2, 3] = graph[3, 2] = 1  # c <-> d
    edges = EdgeProbabilities.from_graphs(NAMES, {"fci": [graph, np.zeros_like(graph)]})
    expected = probabilities(ab=0.5, cb=0.375, cd=0.25, dc=0.25)
    np.testing.assert_allclose(edges.matrix, expected.matrix)
    assert set(edges.marks[["source", "target", "mark"]].itertuples(index=False, name=None)) == {
        ("a", "b", "-->"),
        ("c", "b", "o->"),
        ("c", "d", "<->"),
    }
    assert (edges.marks.frequency == 0.5).all()


def test_knowledge_moves_a_pair_to_the_direction_that_is_left():
    graph = np.full((4, 4), 2) * ~np.eye(4, dtype=bool)  # o-o everywhere
    knowledge = BackgroundKnowledge(
        required=[("a", "b")], forbidden=[("c", "b"), ("c", "d"), ("d", "c")]
    )
    matrix = EdgeProbabilities.from_graphs(NAMES, {"fci": [graph]}, knowledge=knowledge).matrix
    expected = probabilities(ab=1, bc=1, ac=0.5, ca=0.5, ad=0.5, da=0.5, bd=0.5, db=0.5).matrix
    np.testing.assert_allclose(matrix, expected)


def test_mark_weights_may_be_named():
    graph = np.array([[0, 1], [1, 0]])  # a <-> b
    for name, probability in (("soft", 0.5), ("strict", 0.0)):
        edges = EdgeProbabilities.from_graphs("ab", {"fci": [graph]}, mark_weights=name)
        assert edges.matrix[0, 1] == edges.matrix[1, 0] == probability


@pytest.mark.parametrize("value", [-0.1, 0.6, np.nan])
def test_impossible_probabilities_are_refused(value):
    with pytest.raises(CausalMixError, match="at most 1 in sum"):
        EdgeProbabilities(("a", "b"), np.array([[0, value], [0.5, 0]]), pd.DataFrame())


# --- saved and loaded ----------------------------------------------------------------------------


def test_what_is_saved_is_loaded(tmp_path):
    graph = np.array([[0, -1, 0], [1, 0, 2], [0, 1, 0]])
    knowledge = BackgroundKnowledge(forbidden=[("ä", "x y")], tiers=[["x y"], ["ä"]])
    edges = EdgeProbabilities.from_graphs(
        ("x y", "ä", "z"),
        {"fci": [graph] * 2 + [graph * 0]},
        knowledge=knowledge,
        timeouts=2,
        identifiers=["z"],
    )
    path = tmp_path / "new" / "edges.json"
    edges.save(path)
    loaded = EdgeProbabilities.load(path)
    assert loaded.names == edges.names
    np.testing.assert_array_equal(loaded.matrix, edges.matrix)  # to the last bit
    pd.testing.assert_frame_equal(loaded.marks, edges.marks)
    assert (loaded.knowledge, loaded.timeouts) == (knowledge, 2)
    assert loaded.identifiers == ("z",)
    assert [p.name for p in path.parent.iterdir()] == ["edges.json"]


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "edges.json"
    with pytest.raises(DataError, match=r"edges.json cannot be read: No such file"):
        EdgeProbabilities.load(path)
    probabilities(ab=0.5).save(path)
    whole = path.read_text()
    content = json.loads(whole)
    damaged = [
        whole[: len(whole) // 2],
        "",
        "[]",
        json.dumps(content | {"format": "else"}),
        json.dumps(content | {"matrix": [[0, 2], [0, 0]]}),
        json.dumps(content | {"matrix": [[0, "x"]]}),
        json.dumps(content | {"knowledge": {"needed": []}}),
        json.dumps({k: v for k, v in content.items() if k != "marks"}),
    ]
    for text in damaged:
        path.write_text(text)
        with pytest.raises(DataError, match=r"edges.json does not hold edge probabilities"):
            EdgeProbabilities.load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"edges.json does not hold"):
        EdgeProbabilities.load(path)


def test_a_name_that_json_cannot_keep_is_refused(tmp_path):
    edges = EdgeProbabilities((1.5, "b"), np.zeros((2, 2)), pd.DataFrame())
    with pytest.raises(CausalMixError, match=r"1\.5"):
        edges.save(tmp_path / "edges.json")
    assert not list(tmp_path.iterdir())


# --- compared with a known graph -----------------------------------------------------------------


def test_pairs_are_listed_in_their_likelier_direction_the_surest_first():
    pairs = probabilities(ab=0.2, ba=0.3, cd=0.9).pairs()
    assert pairs.to_numpy().tolist() == [["c", "d", 0.9, 0.0], ["b", "a", 0.3, 0.2]]
    assert probabilities().pairs().empty


def test_edges_show_themselves_in_notebooks_and_names_are_no_markup():
    names = ("<script>alert(1)</script>", *(f"c{i}" for i in range(12)))
    matrix = np.zeros((13, 13))
    matrix[0, 1:] = 0.5
    edges = EdgeProbabilities(names, matrix, pd.DataFrame(), timeouts=3, identifiers=names[:1])
    html = edges._repr_html_()
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 11  # ten pairs are shown, and an identifier
    assert "13 columns, 12 pairs that may be joined" in html
    assert "and 2 more" in html
    assert "3 searches ran out of time" in html
    assert repr(edges).startswith("EdgeProbabilities(names=")


def test_scores_computed_by_hand():
    edges = probabilities(ab=0.9, bc=0.4, cb=0.4, db=0.7, ad=0.3)
    true = nx.DiGraph([("a", "b"), ("b", "c"), ("b", "d"), ("a", "c")])
    scores = compare_graphs(edges, true).scores
    # Found: a → b (right), b — c (undirected), d → b (reversed); a — c is missing.
    expected = {
        "skeleton_precision": 3 / 3,
        "skeleton_recall": 3 / 4,
        "skeleton_f1": 6 / 7,
        "arrow_precision": 1 / 2,
        "arrow_recall": 1 / 4,
        "arrow_f1": 2 / 6,
        "shd": 3,
        # Pairs ab .9, bc .8, bd .7, ac 0 are true; ad .3 and cd 0 are not.
        "skeleton_brier": (0.01 + 0.04 + 0.09 + 1 + 0.09) / 6,
        "skeleton_calibration_error": (0.1 + 0.2 + 0.3 + 0.3 + 2 * 0.5) / 6,
    }
    assert {k: scores[k] for k in expected} == pytest.approx(expected)
    assert compare_graphs(edges, true, threshold=0.85).scores["skeleton_recall"] == 1 / 4
    # b → c is likelier than its reverse, if not likelier than not; sums are rounded.
    leaning = probabilities(ab=0.9, bc=0.4, cb=0.3, db=0.7, ad=0.3)
    assert compare_graphs(leaning, true).scores["arrow_recall"] == 2 / 4
    rounded = probabilities(ab=0.9, bc=0.1 + 0.2, cb=0.3, db=0.7, ad=0.3)
    assert compare_graphs(rounded, true).scores["arrow_recall"] == 1 / 4


def test_no_edges_found_and_none_there():
    nothing, one = probabilities(), nx.DiGraph([("a", "b")])
    one.add_nodes_from(NAMES)
    empty = nx.empty_graph(NAMES, nx.DiGraph)
    scores = compare_graphs(nothing, empty).scores
    assert (scores["skeleton_f1"], scores["arrow_f1"], scores["shd"]) == (1, 1, 0)
    assert compare_graphs(nothing, one).scores["arrow_f1"] == 0
    assert compare_graphs(probabilities(ab=0.9), empty).scores["skeleton_precision"] == 0


def as_causal_learn(names: tuple[str, ...], arrow: np.ndarray, line: np.ndarray) -> GeneralGraph:
    graph = GeneralGraph([GraphNode(name) for name in names])
    graph.graph[arrow], graph.graph.T[arrow] = -1, 1
    graph.graph[line] = graph.graph.T[line] = -1
    return graph


@pytest.mark.parametrize("seed", range(5))
def test_scores_agree_with_causal_learn(seed):
    edges, dag = random_pair(seed)
    true = nx.to_numpy_array(dag, nodelist=edges.names) > 0
    likely = edges.matrix + edges.matrix.T > 0.5
    arrow = likely & (edges.matrix > edges.matrix.T)
    line = likely & ~arrow & ~arrow.T
    assert line.any()
    truth = as_causal_learn(edges.names, true, np.zeros_like(line))
    guess = as_causal_learn(edges.names, arrow, line)
    skeleton, arrows = AdjacencyConfusion(truth, guess), ArrowConfusion(truth, guess)
    scores = compare_graphs(edges, dag).scores
    assert scores["shd"] == SHD(truth, guess).get_shd()
    assert scores["skeleton_precision"] == pytest.approx(skeleton.get_adj_precision())
    assert scores["skeleton_recall"] == pytest.approx(skeleton.get_adj_recall())
    assert scores["arrow_precision"] == pytest.approx(arrows.get_arrows_precision())
    assert scores["arrow_recall"] == pytest.approx(arrows.get_arrows_recall())


def test_calibration_agrees_with_scikit_learn():
    edges, dag = random_pair(0)
    compared = compare_graphs(edges, dag)
    off = ~np.eye(8, dtype=bool)
    truth = nx.to_numpy_array(dag, nodelist=edges.names)[off]
    frequency, probability = calibration_curve(truth, edges.matrix[off], n_bins=10)
    arrows = compared.reliability.query("kind == 'arrow'")
    np.testing.assert_allclose(arrows.frequency, frequency)
    np.testing.assert_allclose(arrows.probability, probability)
    assert arrows.n.sum() == 8 * 7
    assert (arrows.probability.between(arrows.low, arrows.high)).all()
    assert compared.scores["arrow_brier"] == pytest.approx(
        brier_score_loss(truth, edges.matrix[off])
    )


def test_true_probabilities_are_calibrated_and_sharpened_ones_are_not():
    rng = np.random.default_rng(0)
    probability = np.triu(rng.random((80, 80)), 1)
    dag = nx.DiGraph((rng.random((80, 80)) < probability).astype(int))
    right = EdgeProbabilities(tuple(range(80)), probability, pd.DataFrame())
    sharp = EdgeProbabilities(right.names, probability.round(), pd.DataFrame())
    errors = [compare_graphs(e, dag).scores["skeleton_calibration_error"] for e in (right, sharp)]
    assert errors[0] < 0.04  # 10 bins of 316 pairs: each is 0.02 off by chance
    assert errors[1] == pytest.approx(0.25, abs=0.03)


def test_graphs_that_do_not_fit_are_named():
    edges = probabilities(ab=0.5)
    cycle = nx.DiGraph([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")])
    with pytest.raises(DataError, match="cycle: a → b → c → a"):
        compare_graphs(edges, cycle)
    with pytest.raises(UnknownNameError, match="'e'"):
        compare_graphs(edges, nx.DiGraph([("a", "e")]))
    with pytest.raises(DataError, match="no node for these columns: c, d"):
        check_dag(nx.DiGraph([("a", "b")]), NAMES)
    with pytest.raises(DataError, match="is a Graph; a networkx"):
        compare_graphs(edges, nx.Graph([("a", "b")]))
    for threshold in (1, "half"):
        with pytest.raises(CausalMixError, match=f"threshold is {threshold!r}"):
            compare_graphs(edges, nx.DiGraph(), threshold=threshold)
