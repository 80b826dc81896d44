"""Background knowledge: contradictions are told, and every search keeps what is known."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from causallearn.graph.GraphNode import GraphNode
from causallearn.search.ConstraintBased.PC import pc
from causallearn.utils.PCUtils.BackgroundKnowledge import BackgroundKnowledge as TheirKnowledge
from made_tables import collider

from causalmix.discovery.bootstrap import discover
from causalmix.discovery.citest import DEGENERATE_GAUSSIAN
from causalmix.discovery.edge_probabilities import ARROW, TAIL
from causalmix.discovery.knowledge import BackgroundKnowledge, load_graph, read_graph
from causalmix.discovery.options import PAPER_ALGORITHMS, DiscoveryOptions
from causalmix.discovery.search import search_bootstrap
from causalmix.errors import CausalMixError, DataError, UnknownNameError


def gaussian(seed: int, d: int = 8, n: int = 300) -> np.ndarray:
    rng = np.random.default_rng(seed)
    weights = np.triu(rng.normal(size=(d, d)) * (rng.random((d, d)) < 0.35), 1)
    return rng.normal(size=(n, d)) @ np.linalg.inv(np.eye(d) - weights)


def chain(n: int = 500) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    a = rng.normal(size=n)
    b = a + rng.normal(size=n)
    return pd.DataFrame({"a": a, "b": b, "c": b + rng.normal(size=n)})


# --- contradictions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("knowledge", "message"),
    [
        ({"required": ["ab"], "forbidden": []}, "required contains 'ab'"),
        ({"required": [("a", "b")], "forbidden": [("a", "b")]}, "a → b is both required and forb"),
        ({"required": [("a", "b"), ("b", "c"), ("c", "a")]}, "cycle, a → b → c → a"),
        ({"required": [("a", "b"), ("b", "a")]}, "cycle, a → b → a"),
        ({"forbidden": [("a", "a")]}, "a → a joins a column to itself"),
        ({"forbidden": [3]}, "forbidden contains 3; an edge is a pair"),
        ({"required": [{"a", "b"}]}, "required contains {.*}; an edge is a pair"),
        ({"tiers": ["age", "income"]}, r"tiers contains 'age'; .* as \['age'\]"),
        ({"tiers": [3]}, "tiers contains 3"),
        ({"tiers": [["a", ["b"]]]}, r"tiers contains \['a', \['b'\]\]; its members are names"),
        ({"required": [(["a"], "b")]}, r"required contains \(\['a'\], 'b'\); its members are"),
        ({"forbidden": [("a", None)]}, r"forbidden contains \('a', None\); its members are"),
        ({"tiers": [["a", "b"], ["b", "c"]]}, "b is in tiers 1 and 2"),
        (
            {"required": [("a", "b")], "tiers": [["b"], ["a"]]},
            "a → b is required, but a is in tier 2 and b in 1",
        ),
        (
            {"required": [("a", "x"), ("x", "b")], "tiers": [["b"], ["a"]]},
            "a → x → b is required, but a is in tier 2 and b in 1",
        ),
    ],
)
def test_contradictions_are_told(knowledge, message):
    with pytest.raises(CausalMixError, match=message):
        BackgroundKnowledge(**knowledge)


def test_all_contradictions_are_told_at_once():
    with pytest.raises(CausalMixError, match=r"a → b is both .*; c is in tiers 1 and 3\. Take"):
        BackgroundKnowledge(
            required=[("a", "b")], forbidden=[("a", "b")], tiers=[["c"], ["d"], ["c"]]
        )


def test_unknown_columns_are_named():
    with pytest.raises(UnknownNameError, match=r"'agge'\. Did you mean 'age'"):
        discover(
            pd.DataFrame({"age": [1.0, 2], "x": [0.0, 1]}),
            knowledge=BackgroundKnowledge(tiers=[["agge"], ["x"]]),
        )


def test_constraints_follow_from_tiers_and_paths():
    knowledge = BackgroundKnowledge(
        required=[("a", "b"), ("b", "c")], forbidden=[("d", "c")], tiers=[["a"], ["d", "c"]]
    )
    known = knowledge.constraints("abcd")
    assert set(zip(*np.nonzero(known.required), strict=True)) == {(0, 1), (1, 2)}
    # d → c is; b → a, c → b, c → a would close cycles; c → a and d → a would lead back in time.
    assert set(zip(*np.nonzero(known.forbidden), strict=True)) == {
        (3, 2), (1, 0), (2, 1), (2, 0), (3, 0)
    }  # fmt: skip


# --- searches ------------------------------------------------------------------------------------


def test_one_way_knowledge_orients_pc_like_causal_learn():
    differs = 0
    for seed in range(5):
        data, kinds = gaussian(seed), np.zeros(8, dtype=bool)
        names = [f"{j:05d}" for j in range(8)]
        knowledge = BackgroundKnowledge(
            forbidden=[(names[7], names[j]) for j in (0, 3)], tiers=[names[:3], names[3:6]]
        )
        known = knowledge.constraints(names)
        options = DiscoveryOptions(
            algorithms=["pc"], test=DEGENERATE_GAUSSIAN, alpha=0.05, seed=seed
        )
        ours = search_bootstrap(data, kinds, known, options, 0).graphs["pc"]
        differs += (ours != search_bootstrap(
            data, kinds, BackgroundKnowledge().constraints(names), options, 0
        ).graphs["pc"]).any()  # fmt: skip
        rng = np.random.default_rng([seed, 0])
        rows, order = rng.integers(300, size=300), rng.permutation(8)
        nodes = [GraphNode(names[j]) for j in order]
        theirs = TheirKnowledge()
        for i, j in np.argwhere(known.forbidden[np.ix_(order, order)]):
            theirs.add_forbidden_by_node(nodes[i], nodes[j])
        pattern = pc(
            data[np.ix_(rows, order)],
            indep_test=DEGENERATE_GAUSSIAN,
            max_k=2,
            sample_size=150,
            show_progress=False,
            background_knowledge=theirs,
            node_names=[node.get_name() for node in nodes],
        ).G.graph
        np.testing.assert_array_equal(ours[np.ix_(order, order)], pattern)
    assert differs > 2


@pytest.mark.parametrize("algorithm", ["pc", "fci"])
def test_a_required_edge_orients_a_chain(algorithm):
    knowledge = BackgroundKnowledge(required=[("c", "b")])
    edges = discover(chain(), algorithms=[algorithm], n_bootstraps=4, knowledge=knowledge)
    assert (edges.matrix[2, 1], edges.matrix[1, 2]) == (1, 0)
    assert edges.matrix[1, 0] > 0.95  # b is no collider
    assert edges.matrix[0, 1] < 0.05


def test_tiers_leave_confounding_open_in_fci():
    edges = discover(
        chain(),
        algorithms=["fci"],
        n_bootstraps=4,
        knowledge=BackgroundKnowledge(tiers=[["a"], ["b"], ["c"]]),
    )
    marks = edges.marks.set_index(["source", "target"]).mark
    assert marks["a", "b"] == "o->"
    assert marks["b", "c"] == "-->"
    assert edges.matrix[1, 0] == edges.matrix[2, 1] == 0


def test_a_forbidden_pair_is_not_adjacent_and_its_separator_is_used():
    """a and d are dependent whatever is given; nearest to separating them is c."""
    frame = collider(1000)
    frame["d"] += 0.5 * frame["a"]
    banned = BackgroundKnowledge(forbidden=[("a", "d"), ("d", "a")])
    options = {"algorithms": PAPER_ALGORITHMS, "n_bootstraps": 4}
    free, known = (discover(frame, **options, **k) for k in ({}, {"knowledge": banned}))
    assert free.matrix[0, 3] + free.matrix[3, 0] > 0.7
    assert known.matrix[0, 3] + known.matrix[3, 0] == 0
    assert known.matrix[2, 3] > 0.9
    assert known.matrix[0, 2] > 0.7


def test_random_knowledge_is_kept():
    names = list("abcdefgh")
    for seed in range(6):
        rng = np.random.default_rng(seed)
        order = rng.permutation(names)
        pairs = [(order[i], order[j]) for i in range(8) for j in range(i + 1, 8)]
        chosen = [pairs[k] for k in rng.choice(len(pairs), 7, replace=False)]
        knowledge = BackgroundKnowledge(
            required=chosen[:3],
            forbidden=[*chosen[3:5], *((j, i) for i, j in chosen[4:])],
            tiers=[order[:2], order[6:]],
        )
        data = gaussian(seed)
        known = knowledge.constraints(names)
        graphs = search_bootstrap(
            data,
            np.zeros(8, dtype=bool),
            known,
            DiscoveryOptions(
                algorithms=["pc", "fci", "boss"], test=DEGENERATE_GAUSSIAN, alpha=0.05, seed=seed
            ),
            0,
        ).graphs
        for i, j in np.argwhere(known.forbidden):
            for name in ("pc", "boss"):
                assert graphs[name][i, j] != TAIL or graphs[name][j, i] != ARROW
            assert graphs["fci"][i, j] in (0, ARROW)
        for i, j in np.argwhere(known.required):
            assert all(g[i, j] == TAIL and g[j, i] == ARROW for g in graphs.values())
        edges = discover(pd.DataFrame(data, columns=names), n_bootstraps=2, knowledge=knowledge)
        assert (edges.matrix[known.required] == 1).all()
        assert (edges.matrix[known.forbidden] == 0).all()


# --- files ---------------------------------------------------------------------------------------


def test_knowledge_comes_from_a_file_or_a_mapping(tmp_path):
    text = "required: [[a, b]]\nforbidden:\n- [c, a]\ntiers: [[a], [b, c]]\n"
    (tmp_path / "known.yml").write_text(text)
    expected = BackgroundKnowledge([("a", "b")], [("c", "a")], [["a"], ["b", "c"]])
    assert BackgroundKnowledge.load(tmp_path / "known.yml") == expected
    assert BackgroundKnowledge.read({"tiers": [["a"]]}).tiers == (("a",),)
    assert BackgroundKnowledge.read(expected) is expected
    assert expected.named == ["a", "b", "c"]
    assert expected.about(["a", "c"]) == BackgroundKnowledge((), [("c", "a")], [["a"], ["c"]])
    assert expected.about(["z"]) == BackgroundKnowledge()  # empty tiers say nothing
    lines = ["a, b", "b, y"]
    edges = [map(str.strip, line.split(",")) for line in lines]  # which can be read once
    assert list(read_graph(edges).edges) == [("a", "b"), ("b", "y")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("requird: [[a, b]]", "Did you mean 'required'"),
        ("required: a", "required is 'a'; a list is needed"),
        ("required: [a]", "required contains 'a'; an edge is a pair"),
        ("required: [[a, b], [b, a]]", "form a cycle, a → b → a"),
        ("- a", "give a BackgroundKnowledge, or a mapping with some of required"),
        ("required: [[a", "cannot be read as background knowledge"),
        ("", "give a BackgroundKnowledge, or a mapping"),
    ],
)
def test_a_bad_file_of_knowledge_is_named_with_what_is_wrong(tmp_path, text, message):
    (tmp_path / "known.yml").write_text(text)
    with pytest.raises(CausalMixError, match=message) as caught:
        BackgroundKnowledge.load(tmp_path / "known.yml")
    assert "known.yml" in str(caught.value)
    with pytest.raises(CausalMixError, match=r"none\.yml cannot be read"):
        BackgroundKnowledge.load(tmp_path / "none.yml")


def test_a_graph_comes_from_every_kind_of_file(tmp_path):
    dag = nx.DiGraph([("a", "b"), ("b", "c c")])
    (tmp_path / "g.csv").write_text("cause,effect\na,b\nb,c c\n")
    (tmp_path / "other.csv").write_text("weight;from;to\n1;a;b\n2;b;c c\n")
    nx.write_graphml(dag, tmp_path / "g.graphml")
    nx.write_gml(dag, tmp_path / "g.gml")
    for name in ("g.csv", "other.csv", "g.graphml", "g.gml"):
        assert set(load_graph(tmp_path / name).edges) == set(dag.edges), name
    assert set(read_graph(iter(dag.edges)).edges) == set(dag.edges)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("g.csv", "cause,effect\na,b\nb,a\n", "has a cycle: a → b → a"),
        ("g.csv", "a,b\nb,c\n", "first line is to be cause,effect"),
        ("g.csv", "cause,effect\n1,2\n2,\n", "lacks a cause or an effect in its row 2"),
        ("g.csv", "cause,effect\n", "no rows"),
        ("g.gml", "graph [", "cannot be read as a graph"),
        ("g.graphml", "<x>", "cannot be read as a graph"),
        ("g.gml", 'graph [ node [ id 0 label "a" ] ]', "is a Graph; a networkx.DiGraph"),
        ("g.gml", 'graph [ directed 1 node [ id 0 label "a" ] ]', "no edges"),
    ],
)
def test_a_bad_file_of_a_graph_is_named_with_what_is_wrong(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        load_graph(tmp_path / name)
    assert name in str(caught.value)
    with pytest.raises(CausalMixError, match="The graph is 'a'"):
        read_graph("a")
    with pytest.raises(CausalMixError, match=r"The graph contains \('a', \['b'\]\); its members"):
        read_graph([("a", ["b"])])
