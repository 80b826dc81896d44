"""Edges that a graph from a search in few rows lacks: dependence it would deny."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from scipy.special import gammaln

from causalmix.data.backing import numpy_backed
from causalmix.data.codec import TableCodec, check_columns_differ
from causalmix.data.columns import identifiers
from causalmix.data.own_settings import own_settings
from causalmix.discovery.citest import DegenerateGaussian
from causalmix.discovery.graph_comparison import check_dag
from causalmix.discovery.knowledge import NO_KNOWLEDGE, BackgroundKnowledge
from causalmix.discovery.search import complete
from causalmix.errors import check_name, check_range

MAX_PARENTS = 10
"""No node is given more parents than this; one that has more keeps them."""


@own_settings()
def complete_dags(
    dags: Sequence[nx.DiGraph],
    data: pd.DataFrame,
    *,
    alpha: float = 0.1,
    fixed: Sequence[str] = (),
    knowledge: BackgroundKnowledge | Mapping[str, Any] = NO_KNOWLEDGE,
) -> list[nx.DiGraph]:
    """Add the edges without which graphs would imply independence that the data deny.

    Rows generated on a graph have no dependence but that which its edges carry. A search in few
    rows misses edges, and one that is turned the wrong way makes two dependent causes of one
    effect independent. So every node, in causal order, also gets those earlier nodes for parents
    which it depends on given the parents it has: the most dependent first, as long as the
    degenerate Gaussian test rejects their independence. The order of the nodes stays, and no edge
    goes. Columns that identify the rows get no edge.

    Parameters
    ----------
    dags : sequence of networkx.DiGraph
        On the columns of `data`.
    data : pandas.DataFrame
        The rows that the graphs were found in.
    alpha : float, default=0.1
        Level of the tests; 0 adds nothing, 1 every edge that `MAX_PARENTS` allows.
    fixed : sequence of str, default=()
        Nodes that get no further edges.
    knowledge : BackgroundKnowledge or mapping, optional
        Its forbidden edges are not added.

    Returns
    -------
    list of networkx.DiGraph
        New graphs with the same nodes.

    Raises
    ------
    CausalMixError
        If `alpha` is not between 0 and 1.
    DataError
        If a graph has a cycle, lacks a node for a column or is no networkx.DiGraph.
    UnknownNameError
        If a graph, or `fixed`, has a node that is no column.
    """
    check_range(alpha, "[0, 1]", "alpha")
    check_columns_differ(data)
    data = numpy_backed(data)
    names = tuple(data.columns)
    for name in fixed:
        check_name(name, names, "node in fixed:")
    for dag in dags:
        check_dag(dag, names)
    codec = TableCodec(data)
    categorical = np.array([name in codec.categorical for name in names])
    values = complete(codec.encode(data).to_numpy(), categorical)
    test = DegenerateGaussian(values, np.flatnonzero(categorical))
    forbidden = BackgroundKnowledge.read(knowledge).constraints(names).forbidden.copy()
    kept = [names.index(name) for name in fixed]
    forbidden[kept] = forbidden[:, kept] = True
    identifying = [names.index(name) for name in identifiers(data, besides=fixed)]
    forbidden[identifying] = forbidden[:, identifying] = True
    return [_complete(dag, names, test, forbidden, alpha) for dag in dags]


def _complete(
    dag: nx.DiGraph,
    names: Sequence[str],
    test: DegenerateGaussian,
    forbidden: np.ndarray,
    alpha: float,
) -> nx.DiGraph:
    position = {name: k for k, name in enumerate(names)}
    completed, order = dag.copy(), list(nx.topological_sort(dag))
    for k, node in enumerate(order):
        child = position[node]
        parents = [position[parent] for parent in dag.predecessors(node)]
        earlier = [position[name] for name in order[:k]]
        rivals = [j for j in earlier if j not in parents and not forbidden[j, child]]
        while alpha and rivals and len(parents) < MAX_PARENTS:  # a p-value of 0 is no edge at 0
            ranks = [_p_value_to_rank(test, j, child, parents) for j in rivals]
            best = ranks.index(min(ranks))
            if ranks[best][0] > alpha:
                break
            parents.append(rivals.pop(best))
            completed.add_edge(names[parents[-1]], node)
    return completed


def _p_value_to_rank(
    test: DegenerateGaussian, x: int, y: int, given: Sequence[int]
) -> tuple[float, float]:
    """Return the p-value, and what ranks those that are too small for a number.

    That is the logarithm of the first term of the p-value's expansion in large statistics.
    """
    p_value = test(x, y, given)
    if p_value > 0:
        return p_value, 0.0
    statistic, df = test.statistic(x, y, given)
    return p_value, (df / 2 - 1) * np.log(statistic / 2) - statistic / 2 - gammaln(df / 2)
