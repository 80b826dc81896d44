"""Rows generated on CSuite against real ones, beside the published scores of TabPFN-based rows.

Every repetition draws training rows, fits structural causal models on the true graph or on graphs
discovered from those rows, draws as many synthetic rows as there are test rows, and scores them.
The paper's own ways to generate are `METHODS`.

Two errors of a treatment effect are measured. ``arms_error`` is the paper's task: half of the rows
of each arm of an experiment (`CSuiteDataset.arms`) are test rows, always the same. Half of the
training rows are drawn from each arm's others; the treatment has two classes, and no edge of a
graph leads into it. From as many synthetic rows as there are test rows follows the difference of
the outcome's means between the arms, and the error is its distance from that of the test rows.
``ate_error`` is harder: the training rows are observed ones, and the effect is that of an
intervention on the fitted model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from causalmix.atomic import replace_file
from causalmix.benchmarks.comparison import mean_and_interval
from causalmix.benchmarks.csuite_data import CSuiteDataset, load_csuite_folder, load_published
from causalmix.benchmarks.engine import Outcome, Run
from causalmix.benchmarks.rows import check_counts, csv_path, keyed_run, make_rows, write_beside
from causalmix.discovery.bootstrap import discover
from causalmix.discovery.cpdag import conditioning_dag, cpdag_of, discover_cpdag
from causalmix.discovery.dag_completion import complete_dags
from causalmix.discovery.dag_sampling import sample_dags
from causalmix.discovery.knowledge import NO_KNOWLEDGE, BackgroundKnowledge
from causalmix.errors import DataError, check_names
from causalmix.generation.by_column import complete_dag, drawn_dags
from causalmix.generation.causal import fit_models, sample_mixture
from causalmix.manifest import make_manifest
from causalmix.quality.fidelity import (
    correlation_matrix_difference,
    k_marginal_tvd,
    nearest_neighbour_adversarial_accuracy,
)
from causalmix.scm.mechanisms import MECHANISMS
from causalmix.scm.mixed import MixedModel
from causalmix.scm.model import Fitted, StructuralCausalModel

GRAPHS = {"true": "dag", "discovered": "cpdag_discovered"}
"""Where the graph comes from, and the published algorithm that has it from there."""

REAL = "real"
"""Method of rows that were not generated but are real: the floor of every score."""

MEASURES = {
    "cmd": "correlation_matrix_difference",
    "kmtvd": "k_marginal_tvd",
    "nnaa_distance": "nnaa",
    "ate_error": "ate_abs_error",
    "arms_error": "ate_abs_error",
}
"""Measures, less being better, and the published columns they are held against."""

MEASURE_LABELS = {
    "cmd": "CMD",
    "kmtvd": "kMTVD",
    "nnaa_distance": "|NNAA − 0.5|",
    "ate_error": "ATE error",
    "arms_error": "ATE error, arms",
}
"""Their names in figures and tables."""

DRAWN = "drawn_parents"
"""Ours: parents drawn for each row (`causalmix.generation.by_column.TFMDrawnGenerator`)."""

METHODS = {
    "vanilla_original": "none",
    "vanilla_topological": "true",
    "vanilla_reverse_topological": "true",
    "dag": "true",
    "cpdag_minimal": "true",
    "cpdag_discovered": "discovered",
    DRAWN: "discovered",
}
"""Ways to fill in a table column by column, and the graph that each knows. All but the last are the
paper's: each column is given all before it, in the table's, a causal or the reverse order; its true
parents; or what the CPDAG says of the true graph or of one that PC finds
(`causalmix.discovery.cpdag.conditioning_dag`)."""

WAYS = {
    ("true", "gp"): "process, true graph",
    ("discovered", "gp"): "process, discovered",
    ("true", "dag"): "true parents",
    ("true", "cpdag_minimal"): "true CPDAG",
    ("discovered", "cpdag_discovered"): "PC's CPDAG",
    ("discovered", DRAWN): "drawn parents",
    ("true", "vanilla_topological"): "causal order",
    ("none", "vanilla_original"): "table's order",
    ("true", "vanilla_reverse_topological"): "reverse order",
}
"""Names in figures, by graph and method."""

TFM = "tfm_bins"
"""Mechanism of the `METHODS`."""

N_DAGS = 5
N_BOOTSTRAPS = 20
_ROWS, _TFM_ROWS = 4000, 1000  # behind an effect; the foundation model takes milliseconds for each

_KEY = ("dataset", "n_train", "repetition", "graph", "method")
_VALUES = ("cmd", "kmtvd", "nnaa", "ate_error", "arms_error")


def benchmark_csuite(
    folder: str | Path,
    out: str | Path,
    *,
    n_train: Sequence[int] = (20, 50, 100, 200, 500),
    repetitions: int = 20,
    graphs: Sequence[str] = tuple(GRAPHS),
    mechanisms: Sequence[str] = ("gp",),
    methods: Sequence[str] = (),
    **computing: Any,
) -> pd.DataFrame:
    """Score synthetic rows on every dataset of a folder.

    Parameters
    ----------
    folder : str or Path
        With a subfolder for each dataset (`causalmix.benchmarks.csuite_data`) and
        ``published.csv``.
    out : str or Path
        CSV file for the rows; what goes beside it is said in `causalmix.benchmarks.rows`. It has
        all rows of today's code and data: sizes and graphs may be run one after the other. Beside
        it, in ``_comparison.csv``, goes what `compare_csuite` gives.
    n_train : sequence of int, default=(20, 50, 100, 200, 500)
        Training rows.
    repetitions : int, default=20
        Draws of training rows.
    graphs : sequence of {"true", "discovered"}, default=both
        Discovered graphs are 5 DAGs drawn from the edge probabilities of 20 bootstraps, with the
        edges that they lack (`causalmix.discovery.dag_completion`).
    mechanisms : sequence of str, default=("gp",)
        Of `causalmix.scm.model.StructuralCausalModel`.
    methods : sequence of str, default=()
        Of `METHODS`, besides.
    **computing
        As :func:`causalmix.benchmarks.rows.make_rows` takes them.

    Returns
    -------
    pandas.DataFrame
        The summary, as `summarise_csuite` gives it.

    Raises
    ------
    DataError
        If a dataset cannot be read or has too few rows, or a number makes no sense.
    UnknownNameError
        If a graph, mechanism or method is unknown.
    CausalMixError
        If a run fails.
    """
    out = csv_path(out)
    check_counts(least=5, n_train=n_train)
    check_counts(repetitions=repetitions)
    check_names(graphs, GRAPHS, "graph")
    check_names(mechanisms, MECHANISMS, "mechanism")
    check_names(methods, METHODS, "method")
    datasets, published = load_csuite_folder(folder), load_published(folder)
    hashes = {name: dataset.content_hash[:16] for name, dataset in datasets.items()}
    for name, dataset in datasets.items():
        if (n := len(dataset.train)) < max(n_train):
            raise DataError(f"{name} has {n} training rows, fewer than {max(n_train)}.")
    ways = [*product(graphs, mechanisms), *((METHODS[name], name) for name in methods)]
    ways.append(("none", REAL))
    runs = [
        keyed_run("csuite", _KEY, (name, n, repetition, *way), name, data=data)
        for name, data in hashes.items()
        for n in n_train
        for repetition in range(repetitions)
        for way in ways
    ]
    columns = [*_KEY, *_VALUES, "data"]
    rows, origin = make_rows(out, runs, datasets, columns, also=[*hashes.values()], **computing)
    summary = summarise_csuite(rows, published)
    settings = {
        **{name: sorted(rows[name].unique().tolist()) for name in ("n_train", "graph", "method")},
        "repetitions": int(rows["repetition"].max()) + 1,
        "n_dags": N_DAGS,
        "n_bootstraps": N_BOOTSTRAPS,
    }
    write_beside(out, summary, make_manifest(settings, hashes, origin))
    together = compare_csuite(rows, published)
    path = out.with_name(f"{out.stem}_comparison.csv")
    replace_file(path, partial(together.to_csv, index=False, float_format="%.6f"))
    return summary


def perform(run: Run, dataset: CSuiteDataset, _: object = None) -> Outcome:
    """Score rows in place of those of a dataset."""
    n_train, seed = run.settings["n_train"], run.settings["repetition"]
    order = np.random.default_rng(seed).permutation(len(dataset.train))
    table = dataset.train.iloc[order[:n_train]].reset_index(drop=True)
    n = len(dataset.test)
    ate_error = np.nan
    if run.settings["method"] == REAL:
        others = order[n_train:][:n]  # without repeats, which would be near each other
        rows = dataset.train.iloc[others].reset_index(drop=True)
    else:
        models = _fit(run.settings, dataset, table)
        rows = sample_mixture(models, n, seed)
        asked = _TFM_ROWS if run.settings["method"] in METHODS else _ROWS
        ate_error = abs(_effect(models, dataset, seed, asked) - dataset.ate)
    scores = {
        "cmd": correlation_matrix_difference(dataset.test, rows),
        "kmtvd": k_marginal_tvd(dataset.test, rows),
        "nnaa": nearest_neighbour_adversarial_accuracy(dataset.test, rows, seed=seed),
        "ate_error": ate_error,
        "arms_error": np.nan if dataset.arms is None else _arms_error(run.settings, dataset),
    }
    rounded = {name: round(float(value), 6) for name, value in scores.items()}
    return Outcome(rounded)


@lru_cache(maxsize=8)
def _fitted(data: str, n_train: int, seed: int, cause: str | None, mechanism: str) -> Fitted:
    """Return what is fitted to a draw of rows; the ways that follow each other share mechanisms."""
    return {}


def _fit(
    settings: Mapping[str, Any],
    dataset: CSuiteDataset,
    table: pd.DataFrame,
    cause: str | None = None,
) -> list[StructuralCausalModel]:
    """Fit models to a table; of a `cause`, which was set, only the effect is asked for."""
    method = settings["method"]
    dags = _graphs(settings, dataset, table, cause)
    if cause is not None:
        dags = [_leading_to(dag, [cause, dataset.outcome]) for dag in dags]
    mechanism = TFM if method in METHODS else method
    draw = (settings[name] for name in ("data", "n_train", "repetition"))
    fitted = _fitted(*draw, cause, mechanism)
    if method == DRAWN:
        return [MixedModel(dags, mechanism=mechanism).fit(table, fitted=fitted)]
    return fit_models(dags, table, mechanism=mechanism, fitted=fitted)


def _graphs(
    settings: Mapping[str, Any], dataset: CSuiteDataset, table: pd.DataFrame, cause: str | None
) -> list[nx.DiGraph]:
    """Graphs of a method; where it knows that `cause` was set, no edge leads into that."""
    method, seed, names = settings["method"], settings["repetition"], list(table)
    others = [name for name in names if name != cause]
    known = NO_KNOWLEDGE if cause is None else BackgroundKnowledge(tiers=[[cause], others])
    true = dataset.dag.copy()
    true.remove_edges_from([edge for edge in true.edges if edge[1] == cause])
    search = partial(discover, table, n_bootstraps=N_BOOTSTRAPS, knowledge=known, seed=seed)
    if method not in METHODS:
        if settings["graph"] == "true":
            return [true]
        return complete_dags(sample_dags(search(), N_DAGS, seed), table, knowledge=known)
    causal = list(nx.lexicographical_topological_sort(dataset.dag, key=names.index))
    given = {
        "vanilla_original": lambda: [complete_dag(names)],
        "vanilla_topological": lambda: [complete_dag(causal)],
        "vanilla_reverse_topological": lambda: [complete_dag(causal[::-1])],
        "dag": lambda: [true],
        "cpdag_minimal": lambda: [conditioning_dag(_cut(cpdag_of(dataset.dag), cause))],
        "cpdag_discovered": lambda: [conditioning_dag(discover_cpdag(table, knowledge=known))],
        DRAWN: lambda: drawn_dags(search(), table, seed),
    }
    return given[method]()


def _leading_to(dag: nx.DiGraph, nodes: Sequence[str]) -> nx.DiGraph:
    """Leave out the edges on which these nodes do not depend; they would cost mechanisms."""
    needed = set(nodes).union(*(nx.ancestors(dag, node) for node in nodes))
    kept = dag.copy()
    kept.remove_edges_from([edge for edge in dag.edges if edge[1] not in needed])
    return kept


def _cut(cpdag: nx.DiGraph, cause: str | None) -> nx.DiGraph:
    """Leave out the edges into a node; its undirected ones lead out of it."""
    cut = cpdag.copy()
    cut.remove_edges_from([edge for edge in cpdag.edges if edge[1] == cause])
    return cut


def _effect(
    models: Sequence[StructuralCausalModel], dataset: CSuiteDataset, seed: int, rows: int
) -> float:
    """Mean over the graphs of the effect of the dataset's intervention."""
    values = (dataset.treatment_value, dataset.reference_value)
    asked, n = (dataset.treatment, *values, dataset.outcome), rows // len(models)
    effects = [model.average_treatment_effect(*asked, n=n, seed=seed) for model in models]
    return float(np.mean(effects))


def _arms_error(settings: Mapping[str, Any], dataset: CSuiteDataset) -> float:
    """Error of the effect in rows that were generated from rows of both arms."""
    n, seed, treatment = settings["n_train"], settings["repetition"], dataset.treatment
    train, others, test = [], [], []
    for _, arm in dataset.arms.groupby(treatment, observed=True):
        order = np.random.default_rng(0).permutation(len(arm))  # the test rows are always the same
        kept, pool = np.split(order, [len(arm) // 2])
        drawn = np.random.default_rng(seed).permutation(pool)
        test.append(arm.iloc[kept])
        train.append(arm.iloc[drawn[: n // 2]])
        others.append(arm.iloc[pool])
    test, rows = pd.concat(test), pd.concat(others)
    if settings["method"] != REAL:
        table = pd.concat(train, ignore_index=True)
        rows = sample_mixture(_fit(settings, dataset, table, treatment), len(test), seed)
    effects = []
    for frame in (rows, test):
        means = frame.groupby(treatment, observed=False)[dataset.outcome].mean()
        effects.append(means["treated"] - means["reference"])
    return abs(effects[0] - effects[1])


def summarise_csuite(rows: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Hold medians over repetitions against the published ones.

    Parameters
    ----------
    rows : pandas.DataFrame
        As `benchmark_csuite` writes them.
    published : pandas.DataFrame
        As `causalmix.benchmarks.csuite_data.load_published` gives it.

    Returns
    -------
    pandas.DataFrame
        A row per dataset, n_train, graph, method and ``measure`` (a key of `MEASURES`;
        ``nnaa_distance`` is that of the median NNAA from 0.5): ``median``, its 95 % interval
        ``low`` to ``high`` (percentile bootstrap over repetitions), ``repetitions``, ``floor``
        (median of real rows in place of synthetic ones), ``published`` (median of the same method,
        or of the algorithm with the graph from the same source) and ``better`` (whether the median
        is below the published one). A measure without values has no rows.
    """
    scored = rows.assign(nnaa_distance=rows["nnaa"])
    groups = ["dataset", "n_train", "graph", "method"]
    floors = scored[scored["method"] == REAL].groupby(["dataset", "n_train"])[list(MEASURES)]
    floor = floors.median()
    floor["nnaa_distance"] = (floor["nnaa_distance"] - 0.5).abs()
    reference = _published_scores(published)
    records = []
    for key, group in scored[scored["method"] != REAL].groupby(groups):
        dataset, n, graph, method = key
        for measure in (name for name in MEASURES if group[name].notna().all()):
            record = dict(zip(groups, key, strict=True)) | {"measure": measure}
            record |= mean_and_interval(
                group[measure].to_numpy(), "median", statistic=_middle(measure)
            )
            record |= {"repetitions": len(group), "floor": floor.loc[(dataset, n), measure]}
            shown = reference.get((dataset, n, _algorithm(graph, method), measure), np.nan)
            better = bool(record["median"] < shown)
            records.append(record | {"published": shown, "better": better})
    return pd.DataFrame(records)


def _algorithm(graph: str, method: str) -> str:
    """Name the published algorithm to compare with."""
    return method if method in METHODS and method != DRAWN else GRAPHS[graph]


def compare_csuite(rows: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Hold methods against the published ones over all datasets together.

    Parameters
    ----------
    rows, published : pandas.DataFrame
        As `summarise_csuite` takes them.

    Returns
    -------
    pandas.DataFrame
        A row per n_train, graph, method and ``measure``: ``datasets``, ``wins`` (on how many the
        median is below the published one), and the mean over datasets of the ``difference`` of our
        median from the published one, with its 95 % interval ``low`` to ``high``
        (`causalmix.benchmarks.comparison.bootstrap_interval`, over datasets and the repetitions of
        each).
    """
    reference, records = _published_scores(published), []
    scored = rows[rows["method"] != REAL].sort_values(["dataset", "repetition"], kind="stable")
    scored = scored.assign(nnaa_distance=scored["nnaa"])
    groups = ["n_train", "graph", "method"]
    for key, group in scored.groupby(groups):
        n, graph, method = key
        algorithm = _algorithm(graph, method)
        for measure in MEASURES:
            middle = _middle(measure)
            shown = {d: reference.get((d, n, algorithm, measure)) for d in set(group["dataset"])}
            whole = group.groupby("dataset")[measure].transform(lambda own: own.notna().all())
            both = group[whole.astype(bool) & group["dataset"].map(shown).notna()]
            if len(both):
                ours = {d: middle(own.to_numpy()) for d, own in both.groupby("dataset")[measure]}
                wins = sum(bool(value < shown[d]) for d, value in ours.items())
                clusters = {"clusters": both["dataset"].to_list(), "references": shown}
                found = {"datasets": len(ours), "wins": wins} | mean_and_interval(
                    both[measure].to_numpy(), "difference", statistic=middle, **clusters
                )
                records.append({**dict(zip(groups, key, strict=True)), "measure": measure} | found)
    return pd.DataFrame(records)


def _middle(measure: str) -> Callable[..., np.ndarray]:
    """Return the median, of NNAA its distance from 0.5: so the published medians are known."""
    if measure != "nnaa_distance":
        return np.median
    return lambda values, axis=None: np.abs(np.median(values, axis=axis) - 0.5)


def _published_scores(published: pd.DataFrame) -> Mapping[tuple[str, int, str, str], float]:
    scores = published.assign(nnaa=(published["nnaa"] - 0.5).abs())
    return {
        (row["dataset"], row["train_size"], row["algorithm"], measure): row[column]
        for row in scores.to_dict("records")
        for measure, column in MEASURES.items()
    }
