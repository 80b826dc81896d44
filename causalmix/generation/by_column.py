"""Rows whose cells the foundation model fills in, one column after another."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import fields
from itertools import combinations
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from causalmix.data.codec import names_as_text
from causalmix.discovery.bootstrap import discover
from causalmix.discovery.cpdag import check_cpdag, conditioning_dag, discover_cpdag, read_cpdag
from causalmix.discovery.dag_completion import complete_dags
from causalmix.discovery.dag_sampling import sample_dags
from causalmix.discovery.edge_probabilities import EdgeProbabilities
from causalmix.discovery.knowledge import read_edges
from causalmix.discovery.options import DiscoveryOptions
from causalmix.errors import check_name, check_range, check_seed, check_whole, checked_options
from causalmix.generation.base import TableGenerator
from causalmix.scm.mixed import MixedModel, within_budget
from causalmix.scm.model import MISSING, StructuralCausalModel

ORDERS = ("table", "reverse", "random")

_DRAWN_GRAPHS = 200  # of which rows take one each


@checked_options
class _ByColumnGenerator(TableGenerator):
    """What generators have in common whose columns are drawn given others by one model."""

    temperature: float = 1.0
    missing: str = "modelled"

    def __post_init__(self) -> None:
        check_range(self.temperature, "(0, inf)", "temperature")
        check_name(self.missing, MISSING, "choice of missing")

    @abstractmethod
    def _model_of(self, table: pd.DataFrame, **options: Any) -> StructuralCausalModel:
        """Return a model of the columns, not fitted, with these options."""

    def _fit(self, table: pd.DataFrame) -> None:
        options = {"mechanism": "tfm_bins", "temperature": self.temperature}
        self._model = self._model_of(table, missing=self.missing, **options).fit(table)

    def _sample(self, n: int, seed: int) -> pd.DataFrame:
        return self._model.sample(n, seed)


@checked_options
class TFMConditionalGenerator(_ByColumnGenerator):
    """Column after column by the foundation model zero-shot, each given all columns before it.

    A row is a sample of the complete graph in an order; nothing says that this is a causal one. The
    paper, which calls this vanilla, compares the table's order with a topological one of the true
    graph and its reverse (`causalmix.benchmarks.csuite`). A table whose graph is unknown has the
    first alone, to which its reverse and a random one are added here.

    The first column is drawn from a distribution of its own; a category from the model's
    probabilities given the earlier columns. The model knows ten classes, too few for a number: a
    Gaussian process has its mean, and the model's probabilities are of ten bins of what is left, as
    far as held-out rows show that this depends on the earlier columns
    (`causalmix.scm.mechanisms.BinnedModel`).

    With the causal parents of a column in place of all that come before it, the same is
    `causalmix.generation.causal.CausalGenerator` with ``mechanism="tfm_bins"`` and fresh
    noise, the generator ``"tfm_conditional_dag"``.

    A column with more columns before it, or with more levels, than the foundation model takes is
    left to logistic regression, as `causalmix.scm.learners.FoundationModelClassifier` says.

    Parameters
    ----------
    order : {"table", "reverse", "random"}, default="table"
        In the table's the target comes last.
    temperature, missing
        See `causalmix.scm.model.StructuralCausalModel`.
    seed : int, default=0
        Of the random order.

    References
    ----------
    Tugnoli, De Lorenzo, Virgolin, Cinà (2026), "Improving TabPFN's Synthetic Data Generation by
    Integrating Causal Structure", arXiv 2603.10254; Hollmann et al. (2025), "Accurate predictions
    on small data with a tabular foundation model", Nature 637.
    """

    order: str = "table"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(self.order, ORDERS, "order")
        check_seed(self.seed)

    def _model_of(self, table: pd.DataFrame, **options: Any) -> StructuralCausalModel:
        order = list(table)
        if self.order == "random":
            order = [order[k] for k in np.random.default_rng(self.seed).permutation(len(order))]
        return StructuralCausalModel(
            complete_dag(order[::-1] if self.order == "reverse" else order), **options
        )


@checked_options
class TFMCPDAGGenerator(_ByColumnGenerator):
    """Column after column by the foundation model, each given what a CPDAG says.

    `causalmix.discovery.cpdag.conditioning_dag` has the rule. How sure an edge is, counts for
    nothing. Numbers and categories are drawn as in `TFMConditionalGenerator`.

    Parameters
    ----------
    graph : networkx.DiGraph, sequence of (str, str), str or Path, optional
        A CPDAG on all columns, the target among them; its edges from cause to effect, both ways
        where that is open (columns that they do not name have none); or a file of one
        (`causalmix.discovery.cpdag.read_cpdag`). Of a DAG every column is given its parents. By
        default PC searches the rows (`causalmix.discovery.cpdag.discover_cpdag`).
    alpha : float, default=0.05
        Level of the tests of that search.
    temperature, missing
        See `causalmix.scm.model.StructuralCausalModel`.

    References
    ----------
    Tugnoli, De Lorenzo, Virgolin, Cinà (2026), arXiv 2603.10254.
    """

    graph: nx.DiGraph | Sequence[tuple[str, str]] | str | Path | None = None
    alpha: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self.alpha, "(0, 1)", "alpha")

    def _model_of(self, table: pd.DataFrame, **options: Any) -> StructuralCausalModel:
        if self.graph is None:
            dag = conditioning_dag(discover_cpdag(table, alpha=self.alpha))
        else:
            dag = self._given(table)
        return StructuralCausalModel(dag, **options)

    def _given(self, table: pd.DataFrame) -> nx.DiGraph:
        graph = self.graph
        if isinstance(graph, str | Path):
            of_text = {text: name for name, text in names_as_text(table).items()}
            graph = nx.relabel_nodes(read_cpdag(graph), of_text)
        elif not isinstance(graph, nx.Graph):
            edges, graph = read_edges(graph), nx.DiGraph()
            graph.add_nodes_from(table)
            graph.add_edges_from(edges)
        check_cpdag(graph, list(table))
        return graph if nx.is_directed_acyclic_graph(graph) else conditioning_dag(graph)


@checked_options
class TFMDrawnGenerator(DiscoveryOptions, _ByColumnGenerator):
    """Column after column by the foundation model, given parents that are drawn for each row.

    Where a CPDAG has an edge or none, the probabilities of edges say how sure it is: a graph is
    drawn from them for each row (`causalmix.discovery.dag_sampling.sample_dags`), the target being
    a sink with all columns for parents that can be adjacent to it, and gets the edges that it lacks
    (`causalmix.discovery.dag_completion.complete_dags`). Rows in which a column has the same
    parents are filled in together. Numbers and categories are drawn as in
    `TFMConditionalGenerator`.

    Parameters
    ----------
    mechanisms_per_column : int, default=4
        Different sets of parents that a column has on average at most: with many, each costs a pass
        through the foundation model. Rows take the 200 graphs that are drawn, less those that would
        need more (`causalmix.scm.mixed.within_budget`).
    completion_alpha : float, default=0.1
        Level at which graphs get the edges that they lack (0: none).
    temperature, missing
        See `causalmix.scm.model.StructuralCausalModel`.
    n_bootstraps, algorithms, test, alpha, max_conditioning, possible_dsep_seconds, boss_seconds
        See `causalmix.discovery.bootstrap.discover`.
    max_columns, time_limit, knowledge, mark_weights, n_jobs, progress
        See there.
    seed : int, default=0
        Of the bootstraps and of the graphs.

    Attributes
    ----------
    edges_ : EdgeProbabilities
    """

    mechanisms_per_column: int = 4
    completion_alpha: float = 0.1

    def __post_init__(self) -> None:
        DiscoveryOptions.__post_init__(self)
        _ByColumnGenerator.__post_init__(self)
        check_whole(self.mechanisms_per_column, 1, "mechanisms_per_column")
        check_range(self.completion_alpha, "[0, 1]", "completion_alpha")

    def _model_of(self, table: pd.DataFrame, **options: Any) -> StructuralCausalModel:
        search = {field.name: getattr(self, field.name) for field in fields(DiscoveryOptions)}
        self.edges_ = discover(table, target=self.target_, **search)
        own = {name: getattr(self, name) for name in ("mechanisms_per_column", "completion_alpha")}
        dags = drawn_dags(self.edges_, table, self.seed, target=self.target_, **own)
        return MixedModel(dags, **options)


def complete_dag(order: Sequence[Hashable]) -> nx.DiGraph:
    """Return the graph in which every node is a cause of all after it."""
    dag = nx.DiGraph()
    dag.add_nodes_from(order)
    dag.add_edges_from(combinations(order, 2))
    return dag


def drawn_dags(
    edges: EdgeProbabilities,
    data: pd.DataFrame,
    seed: int,
    *,
    target: Hashable | None = None,
    mechanisms_per_column: int = 4,
    completion_alpha: float = 0.1,
) -> list[nx.DiGraph]:
    """Draw the graphs that the rows of `TFMDrawnGenerator` take one each of.

    Parameters
    ----------
    edges : EdgeProbabilities
    data : pandas.DataFrame
        The rows that they were found in.
    seed : int
    target : hashable, optional
        A sink, which gets no further parents; by default there is none.
    mechanisms_per_column : int, default=4
        See `TFMDrawnGenerator`.
    completion_alpha : float, default=0.1
        See there.

    Returns
    -------
    list of networkx.DiGraph
    """
    dags = complete_dags(
        sample_dags(edges, _DRAWN_GRAPHS, seed, target=target),
        data,
        alpha=completion_alpha,
        fixed=[] if target is None else [target],
        knowledge=edges.knowledge,
    )
    return within_budget(dags, mechanisms_per_column * len(edges.names))
