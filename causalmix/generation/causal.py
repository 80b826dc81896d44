"""Synthetic rows from structural causal models on discovered graphs."""

from __future__ import annotations

import copy
import logging
import math
import time
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, Self

import networkx as nx
import numpy as np
import pandas as pd

from causalmix.data.columns import identifiers, listed
from causalmix.data.own_settings import own_settings
from causalmix.discovery.bootstrap import discover
from causalmix.discovery.citest import DEGENERATE_GAUSSIAN
from causalmix.discovery.control_graphs import GRAPHS, control_dag, n_changed_edges
from causalmix.discovery.dag_completion import complete_dags
from causalmix.discovery.dag_sampling import TARGET_PARENTS, sample_dags
from causalmix.discovery.edge_probabilities import EdgeProbabilities
from causalmix.discovery.knowledge import NO_KNOWLEDGE, read_graph
from causalmix.discovery.options import PAPER_ALGORITHMS, DiscoveryOptions
from causalmix.errors import (
    CausalMixError,
    DataError,
    TimeLimitWarning,
    check_name,
    check_range,
    check_type,
    check_whole,
    checked_options,
    quoted,
)
from causalmix.generation.base import TableGenerator, apportion, labelled_table
from causalmix.scm.mechanisms import MECHANISMS, NOISES, Pace
from causalmix.scm.model import MISSING, Fitted, StructuralCausalModel

PAPER_OPTIONS: dict[str, Any] = {
    "target_parents": "free",
    "completion_alpha": 0.0,
    "mechanism": "boosting",
    "target_mechanism": "boosting",
    "noise": "empirical",
    "missing": "random",
    "noise_correlation": 0.0,
    "mark_weights": "strict",
}
"""Of `CausalGenerator.paper`."""

POSTERIOR_OPTIONS: dict[str, Any] = {"n_dags": 16, "resampled": True, "noise": "stacked"}
"""Of a posterior of models: held-out rows that are in the fit too would overrate other noise."""

# Shares of a limit of time after which no further bootstrap starts, no graph is completed, and the
# nodes of the first graph but its target should be fitted.
_DISCOVERY_SHARE, _COMPLETION_SHARE, _NODES_SHARE = 0.3, 0.4, 0.7

_log = logging.getLogger(__name__)

_MAX_ROUNDS = 50  # of drawing rows until a rare class has its share


@checked_options
class CausalGenerator(DiscoveryOptions, TableGenerator):
    """Rows from structural causal models on DAGs that discovery makes probable.

    Discovers edge probabilities on features and target together, draws DAGs from them, fits a
    structural causal model to each and draws an equal number of rows from each. The target is a
    sink in every graph, unless it is free; its mechanism, not the search, decides by default which
    features matter.

    The defaults are meant for rows to learn from (chapter 2 has a benchmark of their use); `paper`
    gives the method as the paper has it.

    Parameters
    ----------
    n_dags : int, default=10
    target_parents : {"all", "adjacent", "markov_blanket", "free"}, default="all"
        See `causalmix.discovery.dag_sampling.sample_dags`. A search in few rows misses features
        that matter for the label, and what it misses is missing in every synthetic row. Columns
        that identify the rows, of which a warning tells, are nobody's parents.
    completion_alpha : float, default=0.1
        Level at which the sampled graphs get the edges that they lack (0: none); see
        `causalmix.discovery.dag_completion.complete_dags`.
    mechanism, noise, missing : str
        See `causalmix.scm.model.StructuralCausalModel`. The mechanism ``"auto"`` also keeps bent
        relations and thresholds, and takes longer than ``"linear"``.
    target_mechanism : str, default="stacked"
        The mechanism of the target, whatever the other nodes have. Thresholds and interactions that
        decide a label are what learners want of the rows most, and with all features for parents
        one fit serves all graphs.
    noise_correlation : float, default=0.9
        Correlation of the noise of a synthetic row with that of the training row that it starts
        from (`causalmix.scm.counterfactual.move_noise`). With 0 rows owe nothing to single training
        rows: learners make less of them on average over tables, but they tell less of anyone in
        the table.
    graph : str, networkx.DiGraph or sequence of (str, str), default="discovered"
        Graphs to fit the models to: those that are drawn and completed; one that is known, or its
        edges from cause to effect, as it is and without a search (columns that it does not name
        have no edges); or a control (``"empty"``, ``"shuffled"``, ``"random"``, ``"complete"``) in
        place of each discovered one, by which one sees what they are worth. See
        `causalmix.discovery.control_graphs.control_dag`. With ``target_parents="all"`` a control is
        about the edges among features, else the target's parents change too; only an empty graph
        leaves it those it has. `knowledge` is about discovered graphs alone.
    resampled : bool, default=False
        Whether every model is fitted to a bootstrap resample of its own, drawn within classes, and
        shares no mechanism with others. With more graphs and ``noise="stacked"`` this is a
        posterior of models (`POSTERIOR_OPTIONS`).
    edges : EdgeProbabilities, optional
        What `discover` has returned for the same rows: `fit` then searches nothing, and its result
        is the same. The options of the search count for nothing; `knowledge` is that of the edges.
    class_shares : mapping of class to float, optional
        Shares of the classes among synthetic rows, summing to 1; by default they come as the
        models give them, which is as in the data but for chance. Rows of a class that is too
        frequent are dropped and others drawn instead.
    do : mapping of str to value, optional
        Interventions: in all rows these columns are set to a value, whatever their causes are, and
        their effects in each graph follow
        (:meth:`causalmix.scm.model.StructuralCausalModel.sample`). With `noise_correlation` rows
        start from training rows, and what is not an effect stays near these. A label that only has
        causes (`target_parents`) is not set: that would change nothing else.
    n_bootstraps, algorithms, test, alpha
        See `causalmix.discovery.bootstrap.discover`. All four have other defaults there: those
        here, ten bootstraps of PC and FCI with the linear test at 0.05, are what the benchmarks of
        the use of generated rows and of fine-tuning were run with.
    max_conditioning, possible_dsep_seconds, boss_seconds, max_columns, knowledge, mark_weights
        See `causalmix.discovery.bootstrap.discover`.
    time_limit : float, optional
        Seconds that `fit` should take. It makes do with fewer bootstraps and searched columns,
        graphs as they were drawn, fewer graphs, and linear mechanisms with residuals for noise; the
        fit of a node is not interrupted. A `TimeLimitWarning` names what was left out. Rows depend
        on `seed` alone only without a limit.
    seed : int, default=0
        Of the bootstraps and of the DAGs.
    n_jobs, progress
        See `causalmix.discovery.bootstrap.discover`.

    Attributes
    ----------
    edges_ : EdgeProbabilities or None
        None where none are needed: for complete graphs, and for empty ones with
        ``target_parents="all"``.
    n_changed_edges_ : float
        Edges that a graph has and the one it stands for lacks, or the other way round; mean over
        graphs. NaN where nothing was discovered.
    dags_ : list of networkx.DiGraph
    models_ : list of StructuralCausalModel
        One for each of the graphs.
    target_ : str
        The target's node in both.

    References
    ----------
    Bühler, Purucker, Hutter (2026), "Causal Data Augmentation for Robust Fine-Tuning of Tabular
    Foundation Models", arXiv 2601.04110.
    """

    n_dags: int = 10
    target_parents: str = "all"
    completion_alpha: float = 0.1
    mechanism: str = "linear"
    target_mechanism: str = "stacked"
    noise: str = "conditional"
    missing: str = "modelled"
    noise_correlation: float = 0.9
    graph: str | nx.DiGraph | Sequence[tuple[str, str]] = "discovered"
    resampled: bool = False
    edges: EdgeProbabilities | None = None
    class_shares: Mapping[Any, float] | None = None
    do: Mapping[Any, Any] | None = None
    n_bootstraps: int = 10
    algorithms: Sequence[str] | None = PAPER_ALGORITHMS
    test: str = DEGENERATE_GAUSSIAN
    alpha: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole(self.n_dags, 1, "n_dags")
        check_range(self.completion_alpha, "[0, 1]", "completion_alpha")
        check_range(self.noise_correlation, "[0, 1]", "noise_correlation")
        check_name(self.target_parents, TARGET_PARENTS, "choice of target_parents")
        check_name(self.mechanism, MECHANISMS, "mechanism")
        check_name(self.target_mechanism, MECHANISMS, "mechanism")
        check_name(self.noise, NOISES, "noise")
        check_name(self.missing, MISSING, "choice of missing")
        if isinstance(self.graph, str):
            check_name(self.graph, GRAPHS, "graph")
        else:
            self.graph = read_graph(self.graph)
        check_type("resampled", self.resampled, "bool")
        check_type("class_shares", self.class_shares, "Mapping | None")
        check_type("do", self.do, "Mapping | None")
        if not isinstance(self.edges, EdgeProbabilities | None):
            raise CausalMixError(
                f"edges is {self.edges!r}; EdgeProbabilities are needed, as discover returns them."
            )
        if self.edges is not None and self.knowledge != NO_KNOWLEDGE:
            raise CausalMixError(
                "knowledge is given together with edges, which were found with theirs. Give it to "
                "the search of the edges instead."
            )
        known = self.knowledge if self.edges is None else self.edges.knowledge
        if self.graph != "discovered" and known != NO_KNOWLEDGE:
            said = repr(self.graph) if isinstance(self.graph, str) else "a known graph"
            raise CausalMixError(
                f"Background knowledge does not apply to graph={said}, whose edges are no "
                "findings. Leave it out, or use graph='discovered'."
            )
        if self.edges is not None and not isinstance(self.graph, str):
            raise CausalMixError("A known graph and edges are given; leave one of the two out.")

    @classmethod
    def paper(cls, **options: Any) -> Self:
        """Return the generator with the paper's choices where they are known, to compare with.

        The target is a node like the others, a bidirected edge counts as no edge, sampled graphs
        stay as they are, and all noise is drawn, from the residuals themselves. The paper does not
        say what weights it gives to edge marks, nor which learners it uses; here they are boosted
        trees.

        Parameters
        ----------
        **options
            Other arguments of the constructor, or other values for these.
        """
        return cls(**PAPER_OPTIONS | options)

    @property
    def searches(self) -> bool:
        """Whether the graphs depend on a search of the table."""
        if self.graph == "complete" or not isinstance(self.graph, str):
            return False
        return self.graph != "empty" or self.target_parents != "all"

    @own_settings()
    def discover(self, X: pd.DataFrame, y: pd.Series) -> EdgeProbabilities:
        """Search a table as `fit` does, and fit nothing.

        Generators that differ in other things than the search can share its result, as `edges`.

        Parameters
        ----------
        X : pandas.DataFrame of shape (n_rows, n_features)
        y : pandas.Series of shape (n_rows,)
            As `fit` takes both.

        Returns
        -------
        EdgeProbabilities

        Raises
        ------
        DataError
            As `fit`.
        """
        return self._discover(*labelled_table(X, y))

    def _discover(self, table: pd.DataFrame, target: str) -> EdgeProbabilities:
        options = {field.name: getattr(self, field.name) for field in fields(DiscoveryOptions)}
        if self.time_limit is not None:
            options["time_limit"] = self.time_limit * _DISCOVERY_SHARE
        _log.info("discovering the graph")
        return discover(table, target=target, **options)

    def _fit(self, table: pd.DataFrame) -> None:
        start = time.perf_counter()
        self._shares = self._checked_shares(table[self.target_])
        self._last: tuple[int, int, np.ndarray] | None = None
        self.edges_ = self._edges_of(table)
        edges = self.edges_ or _no_edges(table, self.target_)
        _log.info("fitting models")
        known = not isinstance(self.graph, str)
        dags = sample_dags(
            edges,
            1 if known and not self.resampled else self.n_dags,
            self.seed,
            target=self.target_,
            target_parents="free" if known else self.target_parents,
        )
        complete = None
        if self.edges_ and not known and self.completion_alpha:
            complete = partial(
                complete_dags,
                data=table,
                alpha=self.completion_alpha,
                fixed=[self.target_] if self.target_parents != "free" else [],
                knowledge=edges.knowledge,
            )
        replace = partial(
            control_dag,
            graph="discovered" if known else self.graph,
            rng=np.random.default_rng([self.seed, 1]),  # also that of the search's bootstrap 1
            target=self.target_,
            moved=self.target_parents != "all",
            apart=edges.identifiers,
        )
        how = (
            partial(fit_resampled, rng=np.random.default_rng([self.seed, 2]), within=self.target_)
            if self.resampled
            else partial(fit_models, fitted={})
        )
        fit = partial(
            how,
            table=table,
            mechanism=self.mechanism,
            node_mechanisms={self.target_: self.target_mechanism},
            noise=self.noise,
            missing=self.missing,
        )
        if self.time_limit is None:
            dags = dags if complete is None else complete(dags)
            self.dags_ = [replace(dag) for dag in dags]
            self.models_ = fit(self.dags_)
        else:
            dags = self._fit_in_time(dags, complete, replace, fit, start)
        changed = map(n_changed_edges, dags, self.dags_)
        self.n_changed_edges_ = float(np.mean(list(changed))) if self.edges_ else math.nan
        self._check_do()

    def _check_do(self) -> None:
        """Raise now, not when rows are drawn, if what is to be set is no column or value."""
        for name, value in (self.do or {}).items():
            for k, model in enumerate(self.models_):
                try:
                    model.check_value(name, value)
                except DataError as error:
                    if not self.resampled:
                        raise
                    which = f"In the resample of model {k + 1} of {len(self.models_)}"
                    raise DataError(
                        f"{which}: {error} Set what more rows have, or resampled=False."
                    ) from None
            if name == self.target_ and not any(dag.out_degree(name) for dag in self.dags_):
                raise DataError(
                    f"do sets the target {quoted(name)}, which causes nothing in any graph: no "
                    "other column would change. Ask for rows of a class by class_shares."
                )

    def _edges_of(self, table: pd.DataFrame) -> EdgeProbabilities | None:
        """Return the edges that are known, given or found, or None where the graph takes none."""
        if not isinstance(self.graph, str):
            return _edges_of_dag(self.graph, table, self.target_)
        if self.edges is not None:
            if self.edges.names != tuple(table):
                raise CausalMixError(
                    f"The edges are among the columns {listed(self.edges.names)}; the table, its "
                    f"target last, has {listed(list(table))}. Give edges found in its rows."
                )
            return self.edges
        return self._discover(table, self.target_) if self.searches else None

    def _fit_in_time(
        self,
        dags: Sequence[nx.DiGraph],
        complete: Callable[..., list[nx.DiGraph]] | None,
        replace: Callable[[nx.DiGraph], nx.DiGraph],
        fit: Callable[..., list[StructuralCausalModel]],
        start: float,
    ) -> list[nx.DiGraph]:
        """Fit models to as many of the graphs as the limit allows, one at least.

        Returns the graphs that those fitted stand for.
        """
        self.dags_, self.models_, found = [], [], []
        limit, simple, plain, seconds = self.time_limit, 0, 0, 0.0
        hurried = False
        for dag in dags:
            began = time.perf_counter()
            if self.models_ and began + seconds > start + limit:
                break
            if complete is not None:
                if began < start + limit * _COMPLETION_SHARE:
                    (dag,) = complete([dag])
                else:
                    plain += 1
            nodes_end = start + limit * (1.0 if self.models_ else _NODES_SHARE)
            pace = Pace(nodes_end, start + limit)
            found.append(dag)
            self.dags_.append(replace(dag))
            self.models_ += fit(self.dags_[-1:], pace=pace)
            simple, hurried = simple + pace.simple, hurried or pace.hurried_gaps
            seconds = time.perf_counter() - began
        left_out = []
        if len(self.dags_) < len(dags):
            left_out.append(f"{len(self.dags_)} of {len(dags)} graphs")
        if plain:
            left_out.append(f"{plain} graphs as they were drawn (completion_alpha=0)")
        if simple:
            left_out.append(f"{simple} mechanisms linear with residuals for noise")
        if hurried:
            left_out.append("gaps that depend less on other columns")
        if left_out:
            warnings.warn(
                f"To end within {limit:.3g} s (time_limit), the generator made do with "
                f"{', '.join(left_out)}.",
                TimeLimitWarning,
                stacklevel=4,
            )
        return found

    def detached(self) -> Self:
        """Return this fitted generator with ``noise_correlation=0``.

        None of its rows starts from a training row, so that they can be held against rows that do,
        as synthetic validation rows are.
        """
        detached = copy.copy(self)
        detached.noise_correlation = 0.0
        detached._last = None  # of other rows
        return detached

    def dag_of_rows(self, n: int, seed: int) -> np.ndarray:
        """Which of `dags_` each row of ``sample(n, seed)`` comes from.

        Parameters
        ----------
        n, seed : int
            As given to `sample`.

        Returns
        -------
        numpy.ndarray of int, shape (n,)
        """
        self._check_draw(n, seed)
        if self._shares is None:
            return _assign_models(n, len(self.models_), np.random.default_rng(seed))
        if self._last is None or self._last[:2] != (n, seed):
            self._sample(n, seed)
        return self._last[2]

    def _sample(self, n: int, seed: int) -> pd.DataFrame:
        if self._shares is None:
            return self._draw(n, seed)
        rows, dags = self._sample_classes(n, seed)
        self._last = (n, seed, dags)
        return rows

    def _draw(self, n: int, seed: int) -> pd.DataFrame:
        return sample_mixture(
            self.models_, n, seed, noise_correlation=self.noise_correlation, do=self.do
        )

    def _sample_classes(self, n: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
        """Draw rows until every class has its share; return them and the graph of each."""
        rng = np.random.default_rng(seed)
        shares = self._shares
        left = pd.Series(apportion(n, shares.to_numpy(), rng), index=shares.index)
        parts: list[pd.DataFrame] = []
        for _ in range(_MAX_ROUNDS):
            size, draw_seed = max(n, 200), int(rng.integers(2**31))
            rows = self._draw(size, draw_seed)
            rows.index = _assign_models(size, len(self.models_), np.random.default_rng(draw_seed))
            order = rows.groupby(self.target_, observed=False).cumcount()
            wanted = rows[self.target_].map(left).astype(int)
            parts.append(rows[order.to_numpy() < wanted.to_numpy()])
            taken = parts[-1][self.target_].value_counts()
            left = left.sub(taken, fill_value=0).reindex(shares.index).astype(int)
            if not left.any():
                done = pd.concat(parts).iloc[rng.permutation(n)]
                return done.reset_index(drop=True), done.index.to_numpy()
        lacking = ", ".join(f"{k!r}" for k in left.index[left > 0])
        raise CausalMixError(
            f"The models give too few rows of class {lacking} for class_shares; ask for less of it."
        )

    def _checked_shares(self, y: pd.Series) -> pd.Series | None:
        if self.class_shares is None:
            return None
        levels = {str(level): level for level in y.cat.categories}
        shares = pd.Series(0.0, index=y.cat.categories)
        for name, share in self.class_shares.items():
            level = levels[check_name(str(name), levels, "class")]
            shares[level] = check_range(share, "[0, 1]", f"The share of class {quoted(name)}")
        if abs(shares.sum() - 1) > 1e-6:
            raise CausalMixError(f"class_shares sum to {shares.sum():g}; they must sum to 1.")
        rowless = [level for level in shares.index[shares > 0] if not (y == level).any()]
        if rowless:
            raise CausalMixError(
                f"class_shares asks for classes without a training row: {listed(rowless)}. Leave "
                "them out."
            )
        return shares


def fit_models(
    dags: Sequence[nx.DiGraph],
    table: pd.DataFrame,
    *,
    fitted: Fitted | None = None,
    pace: Pace | None = None,
    **options: Any,
) -> list[StructuralCausalModel]:
    """Fit a structural causal model to each graph; equal mechanisms are fitted once.

    Parameters
    ----------
    dags : sequence of networkx.DiGraph
    table : pandas.DataFrame
    fitted, pace
        As `causalmix.scm.model.StructuralCausalModel.fit` takes them.
    **options
        Arguments of `causalmix.scm.model.StructuralCausalModel`.

    Returns
    -------
    list of StructuralCausalModel
    """
    fitted = {} if fitted is None else fitted
    return [
        StructuralCausalModel(dag, **options).fit(table, fitted=fitted, pace=pace) for dag in dags
    ]


def fit_resampled(
    dags: Sequence[nx.DiGraph],
    table: pd.DataFrame,
    *,
    within: Hashable,
    rng: np.random.Generator,
    pace: Pace | None = None,
    **options: Any,
) -> list[StructuralCausalModel]:
    """Fit a model to each graph, with nothing shared, on a bootstrap resample of its own.

    Parameters
    ----------
    dags : sequence of networkx.DiGraph
    table : pandas.DataFrame
    within : hashable
        Column of classes, of which every resample has as many rows as the table.
    rng : numpy.random.Generator
        Of the resamples.
    pace
        As `causalmix.scm.model.StructuralCausalModel.fit` takes it.
    **options
        Arguments of `causalmix.scm.model.StructuralCausalModel`.

    Returns
    -------
    list of StructuralCausalModel
    """
    classes = list(table.groupby(within, observed=True).indices.values())
    models = []
    for dag in dags:
        rows = np.concatenate([rng.choice(own, len(own)) for own in classes])
        resample = table.iloc[np.sort(rows)].reset_index(drop=True)
        models.append(StructuralCausalModel(dag, **options).fit(resample, pace=pace))
    return models


def sample_mixture(
    models: Sequence[StructuralCausalModel], n: int, seed: int, **options: Any
) -> pd.DataFrame:
    """Draw rows from several models, from each as many, in random order.

    Parameters
    ----------
    models : sequence of StructuralCausalModel
        Fitted to one table.
    n : int
        Number of rows.
    seed : int
    **options
        Other arguments of `causalmix.scm.model.StructuralCausalModel.sample`.

    Returns
    -------
    pandas.DataFrame
        As `causalmix.scm.model.StructuralCausalModel.sample` gives them.
    """
    rng = np.random.default_rng(seed)
    model_of_row = _assign_models(n, len(models), rng)
    parts = []
    for k, model in enumerate(models):
        rows = np.flatnonzero(model_of_row == k)
        if len(rows):
            part = model.sample(len(rows), int(rng.integers(2**31)), **options)
            parts.append(part.set_index(rows))
    return pd.concat(parts).sort_index()


def _assign_models(n: int, n_models: int, rng: np.random.Generator) -> np.ndarray:
    # Shuffled, so that the first rows of a sample come from all models.
    return rng.permutation(np.arange(n) % n_models)


def _no_edges(table: pd.DataFrame, target: Hashable) -> EdgeProbabilities:
    """Return probabilities of 0, where no search is needed."""
    names = tuple(table)
    return EdgeProbabilities(
        names,
        np.zeros((len(names), len(names))),
        pd.DataFrame(),
        identifiers=identifiers(table, besides=[target]),
    )


def _edges_of_dag(dag: nx.DiGraph, table: pd.DataFrame, target: Hashable) -> EdgeProbabilities:
    """Return the edges of a known graph as certain, after checking that it is about the table."""
    names = tuple(table)
    for node in dag:
        check_name(node, names, "column in the graph:")
    if target not in dag or not dag.degree(target):
        raise DataError(
            f"The graph has no edge with the target {quoted(target)}: its labels would have "
            "nothing to do with the other columns. Add those that you know."
        )
    whole = nx.DiGraph()
    whole.add_nodes_from(names)
    whole.add_edges_from(dag.edges)
    return EdgeProbabilities(names, nx.to_numpy_array(whole), pd.DataFrame())
