"""A structural causal model whose graph differs from row to row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import networkx as nx
import numpy as np
import pandas as pd
from dowhy import gcm

from causalmix.data.numpy_seed import numpy_seed
from causalmix.errors import CausalMixError, check_filled, check_seed, check_whole
from causalmix.scm.counterfactual import draw_mixed_rows
from causalmix.scm.model import Fitted, StructuralCausalModel


class MixedModel(StructuralCausalModel):
    """One model for several graphs on the same columns; each row is drawn along one of them.

    A graph that is given twice has twice the rows. Equal mechanisms are fitted once, and evaluated
    once for all rows that need them (`causalmix.scm.counterfactual.draw_mixed_rows`).

    Parameters
    ----------
    dags : sequence of networkx.DiGraph
        At least one.
    **options
        Other arguments of `causalmix.scm.model.StructuralCausalModel`.
    """

    def __init__(self, dags: Sequence[nx.DiGraph], **options: Any) -> None:
        super().__init__(check_filled(dags, "dags")[0], **options)
        self.dags, self._options = dags, options

    def fit(self, data: pd.DataFrame, *, fitted: Fitted | None = None) -> Self:
        """Fit the mechanisms that any of the graphs needs.

        Parameters and errors are those of `StructuralCausalModel.fit`; there is no limit of time.
        """
        fitted, models = {} if fitted is None else fitted, {}
        for dag in self.dags:
            if (edges := frozenset(dag.edges)) not in models:
                model = StructuralCausalModel(dag, **self._options)
                models[edges] = model.fit(data, fitted=fitted)
        self._models = [models[frozenset(dag.edges)].model_ for dag in self.dags]
        return super().fit(data, fitted=fitted)

    def _draw(
        self, n: int, seed: int, do: Mapping[str, Any], noise_correlation: float = 0.0
    ) -> pd.DataFrame:
        self._check_fitted()
        check_whole(n, 1, "n")
        check_seed(seed)
        if noise_correlation:
            raise CausalMixError(
                f"noise_correlation is {noise_correlation:g}; with a graph for each row the noise "
                "is drawn anew, and it is 0."
            )
        fixed = dict(self._intervention(*item) for item in do.items())
        rng = np.random.default_rng(seed)
        with numpy_seed(seed):
            return self._named(draw_mixed_rows(*self._models_of_rows(n, rng), fixed, rng))

    def _models_of_rows(
        self, n: int, rng: np.random.Generator
    ) -> tuple[list[gcm.StructuralCausalModel], np.ndarray]:
        return self._models, rng.integers(len(self._models), size=n)


def within_budget(dags: Sequence[nx.DiGraph], most: int) -> list[nx.DiGraph]:
    """Leave graphs out so that they need no more than a number of mechanisms together.

    One after the other, a graph stays if its nodes' sets of parents, with those of the graphs that
    have stayed, are not too many; the first always stays.

    Parameters
    ----------
    dags : sequence of networkx.DiGraph
    most : int
        Different pairs of a node and its parents.

    Returns
    -------
    list of networkx.DiGraph
    """
    needed: set[tuple[Any, frozenset]] = set()
    kept = []
    for dag in dags:
        own = {(node, frozenset(dag.predecessors(node))) for node in dag}
        if not kept or len(needed | own) <= most:
            needed |= own
            kept.append(dag)
    return kept
