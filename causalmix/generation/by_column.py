"""Rows whose cells the foundation model fills in, one column after another."""

from __future__ import annotations

from itertools import combinations

import networkx as nx
import pandas as pd

from causalmix.errors import check_name, checked_options
from causalmix.generation.base import TableGenerator
from causalmix.scm.model import MISSING, StructuralCausalModel


@checked_options
class TFMConditionalGenerator(TableGenerator):
    """Column after column by the foundation model zero-shot, each given all columns before it.

    The columns keep the table's order, with the target last: a row is a sample of the complete
    graph in that order. Nothing says that this is a causal one. The first column is drawn from a
    distribution of its own; a category from the model's probabilities given the earlier columns; a
    number likewise from those of its quantile bins (`causalmix.scm.mechanisms.BinnedModel`).

    With the causal parents of a column in place of all that come before it, the same is
    `causalmix.generation.causal.CausalGenerator` with ``mechanism="tfm_bins"`` and fresh
    noise, the generator ``"tfm_conditional_dag"``.

    A column with more columns before it, or with more levels, than the foundation model takes is
    left to logistic regression, as `causalmix.scm.learners.FoundationModelClassifier` says.

    Parameters
    ----------
    missing : {"modelled", "random", "none"}, default="modelled"
        See `causalmix.scm.model.StructuralCausalModel`.

    References
    ----------
    Tugnoli, De Lorenzo, Virgolin, Cinà (2026), "Improving TabPFN's Synthetic Data Generation by
    Integrating Causal Structure", arXiv 2603.10254; Hollmann et al. (2025), "Accurate predictions
    on small data with a tabular foundation model", Nature 637.
    """

    missing: str = "modelled"

    def __post_init__(self) -> None:
        check_name(self.missing, MISSING, "choice of missing")

    def _fit(self, table: pd.DataFrame) -> None:
        in_order = nx.DiGraph()
        in_order.add_nodes_from(table.columns)
        in_order.add_edges_from(combinations(table.columns, 2))
        model = StructuralCausalModel(in_order, mechanism="tfm_bins", missing=self.missing)
        self._model = model.fit(table)

    def _sample(self, n: int, seed: int) -> pd.DataFrame:
        return self._model.sample(n, seed)
