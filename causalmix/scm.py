"""A structural causal model fitted to a table, from which new rows are drawn."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Self

import networkx as nx
import numpy as np
import pandas as pd
from dowhy import gcm
from dowhy.gcm.causal_models import PARENTS_DURING_FIT
from dowhy.graph import get_ordered_predecessors

from causalmix.codec import TableCodec
from causalmix.errors import CausalMixError, DataError, check_name
from causalmix.knowledge import named_cycle
from causalmix.mechanisms import MECHANISMS, Columns, make_mechanism


class StructuralCausalModel:
    """One mechanism for each node of a DAG, fitted with DoWhy's gcm.

    - A node without parents is drawn from its observed values.
    - A numeric node is f(parents) + noise, the noise drawn from the out-of-fold residuals.
    - A categorical node is drawn from a classifier's probabilities given its parents.

    Missing cells: in a categorical column "missing" is a level like the others, and modelled with
    it. A missing number counts as the column's median where it is a parent, and its row is left
    out where it is the child; in samples, numbers are missing completely at random at the observed
    share.

    Parameters
    ----------
    dag : networkx.DiGraph
        Its nodes are the columns to model.
    mechanism : {"linear", "boosting"}, default="linear"
        Regressor and classifier of the nodes: ridge and logistic regression, or scikit-learn's
        histogram gradient boosting.

    Attributes
    ----------
    model_ : dowhy.gcm.StructuralCausalModel
        The fitted model, for DoWhy's own queries. Its categorical nodes hold the codes of
        `codec_` as strings.
    codec_ : TableCodec
        From the table's columns to the model's and back.

    Raises
    ------
    DataError
        If the graph has a cycle or no node; the cycle is named.
    UnknownNameError
        If the mechanism is unknown.

    References
    ----------
    Blöbaum, Götz, Budhathoki, Mastakouri, Janzing (2024), "DoWhy-GCM: An extension of DoWhy for
    causal inference in graphical causal models", JMLR 25. Hoyer et al. (2009), "Nonlinear causal
    discovery with additive noise models", NIPS 21.
    """

    def __init__(self, dag: nx.DiGraph, *, mechanism: str = "linear") -> None:
        if not dag:
            raise DataError("The graph has no nodes.")
        if not nx.is_directed_acyclic_graph(dag):
            raise DataError(f"The graph has a cycle: {named_cycle(dag)}. Remove one of its edges.")
        self.dag = dag
        self.mechanism = check_name(mechanism, MECHANISMS, "mechanism")

    def fit(
        self,
        data: pd.DataFrame,
        *,
        fitted: MutableMapping[tuple[str, tuple[str, ...]], Any] | None = None,
    ) -> Self:
        """Fit the mechanism of every node.

        Parameters
        ----------
        data : pandas.DataFrame
            Columns are the nodes of the graph, in any order; samples keep this order.
        fitted : mutable mapping, optional
            Mechanisms already fitted to the same data, by node and parents. They are used where
            they fit and completed with those that are missing: models of many graphs over one
            table share them.

        Returns
        -------
        StructuralCausalModel
            Itself.

        Raises
        ------
        DataError
            If a column has no node, a node no column, or the table is empty.
        """
        _check_columns(self.dag, data)
        fitted = {} if fitted is None else fitted
        self.codec_ = TableCodec(data)
        columns = Columns.learn(self.codec_.encode(data), self.codec_.categorical)
        # Nodes and edges in the order of the columns: equal graphs then give equal samples.
        graph = nx.DiGraph()
        graph.add_nodes_from(data.columns)
        graph.add_edges_from(sorted(self.dag.edges))
        model = gcm.StructuralCausalModel(graph)
        for node in graph:
            parents = tuple(get_ordered_predecessors(graph, node))
            if (node, parents) not in fitted:
                fitted[node, parents] = make_mechanism(node, parents, columns, self.mechanism)
            model.set_causal_mechanism(node, fitted[node, parents])
            graph.nodes[node][PARENTS_DURING_FIT] = list(parents)
        self.model_ = model
        return self

    def sample(self, n: int, seed: int) -> pd.DataFrame:
        """Draw rows.

        Parameters
        ----------
        n : int
            Number of rows, at least 1.
        seed : int
            Equal seeds give equal rows.

        Returns
        -------
        pandas.DataFrame of shape (n, n_columns)
            Columns, dtypes and categories of the training table, index 0..n−1. Numbers stay in the
            observed range, and are whole where all observed ones are.

        Raises
        ------
        CausalMixError
            If `n` is below 1 or the model is not fitted.
        """
        if not hasattr(self, "model_"):
            raise CausalMixError("The model is not fitted; call fit(data) before sample.")
        if n < 1:
            raise CausalMixError(f"Cannot draw {n} rows; n must be at least 1.")
        with _numpy_seed(seed):
            rows = gcm.draw_samples(self.model_, n)
        return self.codec_.decode(rows.astype(float), np.random.default_rng(seed))


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """Seed numpy's global generator, which DoWhy draws from, and restore it afterwards."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _check_columns(dag: nx.DiGraph, data: pd.DataFrame) -> None:
    no_column = [str(node) for node in dag if node not in data.columns]
    no_node = [str(name) for name in data.columns if name not in dag]
    if no_column:
        raise DataError(f"The table has no column for these nodes: {', '.join(no_column)}.")
    if no_node:
        raise DataError(
            f"The graph has no node for these columns: {', '.join(no_node)}. Add the nodes or drop "
            "the columns."
        )
