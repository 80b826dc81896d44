"""A structural causal model fitted to a table, from which new rows are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, Self

import networkx as nx
import numpy as np
import pandas as pd
from dowhy import gcm
from dowhy.gcm.causal_models import PARENTS_DURING_FIT
from dowhy.graph import get_ordered_predecessors

from causalmix.data.codec import TableCodec, check_columns_differ, names_as_text
from causalmix.data.numpy_seed import numpy_seed
from causalmix.data.own_settings import own_settings
from causalmix.discovery.knowledge import check_acyclic
from causalmix.errors import (
    CausalMixError,
    DataError,
    check_name,
    check_range,
    check_seed,
    check_type,
    check_whole,
    quoted,
)
from causalmix.scm.counterfactual import draw_outcomes, draw_rows, move_noise
from causalmix.scm.mechanisms import MECHANISMS, NOISES, Columns, Pace, make_mechanism
from causalmix.scm.missingness import MissingnessModel

MISSING = ("modelled", "random", "none")

Fitted = MutableMapping[tuple[str, tuple[str, ...]] | str, Any]
"""What is fitted to a table: mechanisms by node and parents, the model of the gaps by its key."""

_GAPS = "gaps"  # key of the model of the gaps among fitted mechanisms


class StructuralCausalModel:
    """One mechanism for each node of a DAG, fitted with DoWhy's gcm.

    - A node without parents is drawn from a distribution of its own.
    - A numeric node is f(parents) + s(parents) · noise, the noise drawn from a distribution of
      held-out residuals; s is 1 but for Gaussian processes. (The mechanism ``"tfm_bins"`` draws
      numbers without such a form.)
    - A categorical node is drawn from a classifier's probabilities given its parents.

    Missing cells: in a categorical column "missing" is a level like the others, and modelled with
    it. Missing numbers are drawn from what is known of their rows
    (`causalmix.scm.missingness.fill_gaps`) before the mechanisms are fitted: samples too have a
    number in every cell until some are taken out.

    Parameters
    ----------
    dag : networkx.DiGraph
        Its nodes are the columns to model.
    mechanism : str, default="linear"
        Regressor and classifier of the nodes:

        - ``"linear"``: ridge and logistic regression;
        - ``"gp"``: Gaussian process (boosting beyond 500 rows) and logistic regression;
        - ``"boosting"``: scikit-learn's histogram gradient boosting;
        - ``"forest"``: random forests;
        - ``"stacked"``: ridge, and from 200 rows on a mean of logistic regression, forest and
          boosting that held-out rows weigh (`causalmix.scm.learners.StackedClassifier`);
        - ``"tfm"``: Gaussian process, and the embedded foundation model zero-shot;
        - ``"tfm_bins"``: the embedded foundation model zero-shot for all. Of a number it classifies
          what a Gaussian process leaves, in bins (`causalmix.scm.mechanisms.BinnedModel`);
        - ``"auto"``: for each node that of ridge, Gaussian process and boosting, or of logistic
          regression and boosting, which predicts held-out rows best.
    node_mechanisms : mapping of str to str, default={}
        Other choices of `mechanism` for single nodes.
    noise : {"conditional", "stacked", "empirical"}, default="conditional"
        Distribution of roots and residuals: smooth (`causalmix.scm.density.smooth`), and
        that of residuals dependent on the parents where they show it
        (`causalmix.scm.conditional_noise.ConditionalNoise`); smooth and always the same; or the
        observed values themselves.
    missing : {"modelled", "random", "none"}, default="modelled"
        Numbers in samples are missing depending on the row's other values and gaps
        (`causalmix.scm.missingness.MissingnessModel`), completely at random at the observed share,
        or not at all. With ``"none"`` categories are never missing either.
    temperature : float, default=1.0
        Categories, and the bins of ``"tfm_bins"``, are drawn from probabilities raised to the
        inverse of it: below 1 likely values become likelier, above 1 all become alike. Nodes
        without parents are drawn as observed.

    Attributes
    ----------
    model_ : dowhy.gcm.StructuralCausalModel
        The fitted model, for DoWhy's own queries. Its categorical nodes hold the codes of
        `codec_` as strings, and names of nodes that are no text are written as text.
    codec_ : TableCodec
        From the table's columns to the model's and back.

    Raises
    ------
    DataError
        If the graph has a cycle, which is named, or no node, or is no networkx.DiGraph.
    UnknownNameError
        If a mechanism or its node, `noise` or `missing` is unknown.
    CausalMixError
        If `temperature` is not above 0, or `node_mechanisms` is no mapping.

    References
    ----------
    Blöbaum, Götz, Budhathoki, Mastakouri, Janzing (2024), "DoWhy-GCM: An extension of DoWhy for
    causal inference in graphical causal models", JMLR 25. Hoyer et al. (2009), "Nonlinear causal
    discovery with additive noise models", NIPS 21.
    """

    def __init__(
        self,
        dag: nx.DiGraph,
        *,
        mechanism: str = "linear",
        node_mechanisms: Mapping[str, str] = MappingProxyType({}),
        noise: str = "conditional",
        missing: str = "modelled",
        temperature: float = 1.0,
    ) -> None:
        check_acyclic(dag)
        if not dag:
            raise DataError("The graph has no nodes.")
        self.dag = dag
        self.mechanism = check_name(mechanism, MECHANISMS, "mechanism")
        check_type("node_mechanisms", node_mechanisms, "Mapping")
        self.node_mechanisms = {
            check_name(node, dag, "node"): check_name(name, MECHANISMS, "mechanism")
            for node, name in node_mechanisms.items()
        }
        self.noise = check_name(noise, NOISES, "noise")
        self.missing = check_name(missing, MISSING, "choice of missing")
        self.temperature = check_range(temperature, "(0, inf)", "temperature")

    @own_settings()
    def fit(
        self, data: pd.DataFrame, *, fitted: Fitted | None = None, pace: Pace | None = None
    ) -> Self:
        """Fit the mechanism of every node.

        Parameters
        ----------
        data : pandas.DataFrame
            Columns are the nodes of the graph, in any order; samples keep this order.
        fitted : mutable mapping, optional
            What is already fitted to the same data: mechanisms by node and parents, and the model
            of the gaps. It is used where it fits and completed with what is missing: models of many
            graphs over one table share it.
        pace : Pace, optional
            Where time is limited, what fits the mechanisms.

        Returns
        -------
        StructuralCausalModel
            Itself.

        Raises
        ------
        DataError
            If a column has no node, a node no column, or the table is empty or no DataFrame.
        """
        _check_columns(self.dag, data)
        fitted = {} if fitted is None else fitted
        self.codec_ = TableCodec(data)
        if _GAPS not in fitted:
            coded = self.codec_.encode(data)
            deadline = math.inf if pace is None else pace.gaps_deadline()
            fitted[_GAPS] = MissingnessModel().fit(coded, self.codec_.categorical, deadline)
            if pace is not None:
                pace.hurried_gaps = fitted[_GAPS].hurried
        self._gaps = fitted[_GAPS]
        # DoWhy sorts parents by name, which names of several types cannot be.
        self._nodes = names_as_text(data)
        columns = Columns.learn(
            self._gaps.filled.rename(columns=self._nodes),
            [self._nodes[name] for name in self.codec_.categorical],
            missing_level=self.missing != "none",
        )
        self._observed, self._n_rows = columns.values, len(data)
        # Nodes and edges in the order of the columns: equal graphs then give equal samples.
        graph = nx.DiGraph()
        graph.add_nodes_from(self._nodes.values())
        graph.add_edges_from(sorted(nx.relabel_nodes(self.dag, self._nodes).edges))
        model = gcm.StructuralCausalModel(graph)
        parents_of = {node: tuple(get_ordered_predecessors(graph, node)) for node in graph}
        if pace is not None:
            pace.left = sum(item not in fitted for item in parents_of.items())
        for name, node in self._nodes.items():
            parents = parents_of[node]
            if (node, parents) not in fitted:
                kind = self.node_mechanisms.get(name, self.mechanism)
                fitted[node, parents] = make_mechanism(
                    node, parents, columns, kind, self.noise, pace, self.temperature
                )
            model.set_causal_mechanism(node, fitted[node, parents])
            graph.nodes[node][PARENTS_DURING_FIT] = list(parents)
        self.model_ = model
        return self

    @own_settings()
    def sample(
        self,
        n: int,
        seed: int,
        *,
        do: Mapping[str, Any] | None = None,
        noise_correlation: float = 0.0,
    ) -> pd.DataFrame:
        """Draw rows.

        Parameters
        ----------
        n : int
            Number of rows, at least 1.
        seed : int
            Equal seeds give equal rows.
        do : mapping of str to value, optional
            Interventions: these columns are set to a value, whatever their parents are, and their
            effects follow. A number may lie outside the observed range; a fraction makes a column
            of whole numbers one of floats. Gaps of other columns, where they are modelled, stay
            where they are without it.
        noise_correlation : float, default=0.0
            Above 0, rows start from training rows, and their noise has this correlation with that
            of those rows (`causalmix.scm.counterfactual.move_noise`); so has what decides on their
            gaps where these are modelled. With `do` and 1 the rows are counterfactuals of the
            training rows.

        Returns
        -------
        pandas.DataFrame of shape (n, n_columns)
            Columns, dtypes and categories of the training table, index 0..n−1. Numbers stay in the
            observed range, and are whole where all observed ones are.

        Raises
        ------
        CausalMixError
            If `n` is no whole number of at least 1, `seed` is none, the model is not fitted,
            `noise_correlation` is not between 0 and 1, or `do` is no mapping.
        DataError
            If `do` names an unknown column or level, or no finite number for a numeric column.
        """
        check_range(noise_correlation, "[0, 1]", "noise_correlation")
        check_type("do", do, "Mapping | None")
        do = dict(do or {})
        rows = self._draw(n, seed, do, noise_correlation)
        rng = np.random.default_rng(seed)
        if self.missing == "modelled":
            again = np.random.default_rng(seed)  # for the training rows that `_draw` has drawn
            start = self._training_rows(n, again) if noise_correlation else None
            without = self._draw(n, seed, {}, noise_correlation) if do else rows
            masked = self._gaps.mask(without, rng, start=start, correlation=noise_correlation)
            rows = rows.mask(masked.isna())
        table = self.codec_.decode(rows, rng if self.missing == "random" else None)
        for name, value in do.items():
            table[name] = self.codec_.constant(name, value, n)
        return table

    @own_settings()
    def average_treatment_effect(
        self,
        treatment: str,
        value: Any,
        reference: Any,
        outcome: str,
        *,
        outcome_class: Any = None,
        n: int = 10_000,
        seed: int = 0,
    ) -> float:
        """Mean outcome when the treatment is set to `value`, minus that when set to `reference`.

        Of a categorical outcome, the probability of one of its classes takes the mean's place. A
        numeric outcome stays within the range of the training rows, as in samples: effects of
        interventions that would take it beyond come out too small.

        Parameters
        ----------
        treatment : str
            Column that is intervened on.
        value, reference : number or level
            The two interventions, with the same draws of the noise.
        outcome : str
            A column.
        outcome_class : level, optional
            Of a categorical outcome, the class whose probability is asked for.
        n : int, default=10000
            Rows drawn for each of the two.
        seed : int, default=0

        Returns
        -------
        float
            In units of the outcome, or a difference of probabilities.

        Raises
        ------
        CausalMixError
            If `n` or `seed` is none, or the model is not fitted.
        DataError
            If a column or level is unknown, a categorical outcome comes without `outcome_class`,
            or a numeric one with it.
        """
        self._check_column(outcome)
        measured = self._measure(outcome, outcome_class)
        (node, treated), (_, untreated) = (
            self._intervention(treatment, each) for each in (value, reference)
        )
        check_whole(n, 1, "n")
        rng = np.random.default_rng(check_seed(seed))
        asked = node, (treated, untreated), self._nodes[outcome]
        drawn = draw_outcomes(*self._models_of_rows(n, rng), *asked, rng)
        means = [measured(pd.Series(each, dtype=float)).mean() for each in drawn]
        return float(means[0] - means[1])

    def _models_of_rows(
        self, n: int, rng: np.random.Generator
    ) -> tuple[list[gcm.StructuralCausalModel], np.ndarray]:
        """Return models, and which of them each of n rows is drawn from."""
        return [self.model_], np.zeros(n, dtype=int)

    def _measure(self, outcome: Hashable, outcome_class: Any) -> Callable[[pd.Series], pd.Series]:
        """Return what turns an outcome's coded values into those that an effect is the mean of."""
        if outcome not in self.codec_.categorical:
            if outcome_class is not None:
                raise DataError(f"The outcome {outcome!r} is numeric; leave outcome_class out.")
            return lambda values: values.clip(*self.codec_.range(outcome))
        if outcome_class is None:
            raise DataError(
                f"The outcome {outcome!r} is categorical; name the class whose probability the "
                "effect is about, as outcome_class."
            )
        code = self.codec_.code(outcome, outcome_class)
        return lambda values: values == code

    def _draw(
        self, n: int, seed: int, do: dict[str, Any], noise_correlation: float = 0.0
    ) -> pd.DataFrame:
        """Draw coded rows without gaps."""
        self._check_fitted()
        check_whole(n, 1, "n")
        check_seed(seed)
        codes = dict(self._intervention(name, value) for name, value in do.items())
        rng = np.random.default_rng(seed)
        with numpy_seed(seed):  # DoWhy draws from the global generator
            if noise_correlation:
                base = self._training_rows(n, rng)
                observed = {name: values[base] for name, values in self._observed.items()}
                rows = move_noise(self.model_, observed, noise_correlation, rng, codes)
            else:
                rows = draw_rows(self.model_, n, rng, codes)
            return self._named(rows)

    def _named(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return rows of nodes as numbers, under the names of the columns."""
        names = {node: name for name, node in self._nodes.items()}
        return rows.astype(float).rename(columns=names)

    def _training_rows(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the training rows that n rows start from, each as often as any other."""
        return rng.permutation(np.resize(rng.permutation(self._n_rows), n))

    def _intervention(self, name: Hashable, value: Any) -> tuple[str, float | str]:
        """Return a node and the value as it holds it."""
        self._check_column(name)
        if name not in self.codec_.categorical:
            return self._nodes[name], self.codec_.number(name, value)
        return self._nodes[name], str(self.codec_.code(name, value))

    def check_value(self, name: Hashable, value: Any) -> None:
        """Raise unless `do` of `sample` can set a column to a value.

        Parameters
        ----------
        name : hashable
            A column.
        value : number or level

        Raises
        ------
        DataError
            If there is no such column or level, or a numeric column cannot be that.
        """
        self._intervention(name, value)

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise CausalMixError("The model is not fitted; call fit(data) before sample.")

    def _check_column(self, name: Hashable) -> None:
        self._check_fitted()
        if name not in self.codec_.columns:
            raise DataError(
                f"The table has no column {quoted(name)} to intervene on or to look at."
            )


def _check_columns(dag: nx.DiGraph, data: pd.DataFrame) -> None:
    check_columns_differ(data)
    no_column = [str(node) for node in dag if node not in data.columns]
    no_node = [str(name) for name in data.columns if name not in dag]
    if no_column:
        raise DataError(f"The table has no column for these nodes: {', '.join(no_column)}.")
    if no_node:
        raise DataError(
            f"The graph has no node for these columns: {', '.join(no_node)}. Add the nodes or drop "
            "the columns."
        )
