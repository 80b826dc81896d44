"""Ways of searching for a graph, compared on made tables whose graph is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import networkx as nx
import pandas as pd

from causalmix.discovery.bootstrap import discover
from causalmix.discovery.graph_comparison import (
    GraphComparison,
    average_comparisons,
    compare_graphs,
)
from causalmix.discovery.knowledge import NO_KNOWLEDGE, BackgroundKnowledge
from causalmix.errors import check_filled, check_seed, check_whole
from causalmix.scm.random_scm import random_scm_table


def compare_searches(
    searches: Mapping[str, Mapping[str, object]],
    *,
    n_tables: int,
    n_nodes: int = 10,
    n_rows: int = 300,
    halves_known: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, GraphComparison]:
    """Compare ways of searching on random mixed models.

    Parameters
    ----------
    searches : mapping of str to mapping
        By name, arguments of `causalmix.discovery.bootstrap.discover`.
    n_tables : int
        Random models, with one table each; all searches get the same.
    n_nodes, n_rows : int, default=10 and 300
        Their columns and rows.
    halves_known : sequence of str, default=()
        Names of the searches that are told which half of the columns comes before the other.
    seed : int, default=0
        Of the first model; the others have the following ones.

    Returns
    -------
    dict of str to GraphComparison
        By name, summed up by `causalmix.discovery.graph_comparison.average_comparisons`.
    """
    check_filled(searches, "searches")
    for name, value in (("n_tables", n_tables), ("n_nodes", n_nodes), ("n_rows", n_rows)):
        check_whole(value, 1, name)
    check_seed(seed)
    found: dict[str, list[GraphComparison]] = {name: [] for name in searches}
    for table_seed in range(seed, seed + n_tables):
        frame, dag = random_scm_table(n_nodes, n_rows, table_seed)
        for name, options in searches.items():
            knowledge = known_halves(dag) if name in halves_known else NO_KNOWLEDGE
            edges = discover(frame, seed=table_seed, knowledge=knowledge, **options)
            found[name].append(compare_graphs(edges, dag))
    return {name: average_comparisons(each) for name, each in found.items()}


def known_halves(dag: nx.DiGraph) -> BackgroundKnowledge:
    """Return what someone knows who can say which half of the columns comes first.

    Parameters
    ----------
    dag : networkx.DiGraph

    Returns
    -------
    BackgroundKnowledge
        Two tiers, cut from a causal order.
    """
    order = list(nx.lexicographical_topological_sort(dag))
    half = len(order) // 2
    return BackgroundKnowledge(tiers=[order[:half], order[half:]])


def tabulate_comparisons(compared: Mapping[str, GraphComparison]) -> pd.DataFrame:
    """Lay out the scores of several searches.

    Parameters
    ----------
    compared : mapping of str to GraphComparison
        By name.

    Returns
    -------
    DataFrame
        A row for each: precision, recall, F1 and Brier score of the skeleton and of arrows, and
        SHD; see :func:`causalmix.discovery.graph_comparison.compare_graphs`.
    """
    table = pd.DataFrame.from_dict({name: each.scores for name, each in compared.items()}, "index")
    parts = ("precision", "recall", "f1", "brier")
    names = [f"{kind}_{part}" for kind in ("skeleton", "arrow") for part in parts]
    return table[[*names, "shd"]].rename(columns=lambda name: name.replace("_", " "))
