"""Tables drawn from models that are known, and fine-tuning on them with a graph of choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import networkx as nx
import numpy as np
import pandas as pd

from causalmix.benchmarks.arms import FINETUNED, Rows
from causalmix.benchmarks.checkpoints import load_checkpoint
from causalmix.benchmarks.csuite_data import load_csuite_folder
from causalmix.benchmarks.engine import Outcome, Run
from causalmix.data.dataset import TabularDataset
from causalmix.data.files import read_table
from causalmix.discovery.control_graphs import n_changed_edges
from causalmix.discovery.dag_sampling import sample_dags
from causalmix.discovery.edge_probabilities import EdgeProbabilities
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.fit_input import seeded_generator
from causalmix.finetuning.metrics import score
from causalmix.finetuning.run import finetune, predict_proba
from causalmix.generation.causal import CausalGenerator
from causalmix.scm.hospital import OUTCOME, hospital_dag, hospital_rows
from causalmix.scm.random_scm import random_dag
from causalmix.tfm.device import device_name

_N_NODES = 10  # of a random model


@dataclass(frozen=True, eq=False, repr=False)
class KnownTable(TabularDataset):
    """Rows of a known model.

    Parameters
    ----------
    dag : networkx.DiGraph
        The true graph; its nodes are the columns, the target among them.
    shifted : TabularDataset
        Rows of the same model in which a cause of the target is set to one of two values.
    """

    dag: nx.DiGraph
    shifted: TabularDataset


def known_tables(csuite: str | Path | None = None, n_random: int = 5) -> dict[str, KnownTable]:
    """Draw a table from every model.

    The target is a numeric node, cut at its median into ``low`` and ``high``: the outcome of
    CSuite's intervention, the recovery of the hospital's patients, and of a random model the node
    with most parents. Set are the treatments of the first two, and the first of those parents of
    which the two values have different effects, if there is one.

    Parameters
    ----------
    csuite : str or Path, optional
        Folder as `causalmix.benchmarks.csuite_data.load_csuite_folder` takes it, with an
        ``interventional.parquet`` beside each ``truth.json``. None leaves CSuite out.
    n_random : int, default=5
        Random models.

    Returns
    -------
    dict of str to KnownTable

    Raises
    ------
    DataError
        If a file is missing or damaged.
    """
    tables = {}
    set_to = [hospital_rows(1000, 1 + k, treated=bool(k)).frame() for k in (0, 1)]
    rows = hospital_rows(2000, 0).frame()
    tables["hospital"] = _cut("hospital", rows, set_to, hospital_dag(), OUTCOME)
    for seed in range(n_random):
        model, name = _RandomModel.draw(seed), f"random_{seed}"
        cause = min(model.effects[model.target], key=lambda each: each.is_even).parent
        set_to = [model.rows(1000, 1 + k, {cause: 2.0 * k - 1}) for k in (0, 1)]
        tables[name] = _cut(name, model.rows(2000, 0), set_to, model.dag, model.target)
    for name, data in ({} if csuite is None else load_csuite_folder(csuite)).items():
        shifted = read_table(Path(csuite) / name / "interventional.parquet").frame
        tables[name] = _cut(name, data.train, [shifted], data.dag, data.outcome)
    return tables


def _cut(
    name: str, rows: pd.DataFrame, set_to: list[pd.DataFrame], dag: nx.DiGraph, target: str
) -> KnownTable:
    """Make classes of the target; round numbers, so that their hash is the same everywhere."""
    shifted = pd.concat(set_to, ignore_index=True)[list(rows)].astype(rows.dtypes)
    parts = []
    for frame in (rows, shifted):
        X = frame.drop(columns=target)
        numeric = list(X.select_dtypes("number"))
        X[numeric] = X[numeric].astype(float).round(6)
        high = (frame[target] > rows[target].median()).astype(int)
        y = pd.Series(pd.Categorical.from_codes(high, ["low", "high"]), name=target)
        parts.append((name, X, y, "drawn from a known model"))
    return KnownTable(*parts[0], dag, TabularDataset(*parts[1]))


_CURVES = (lambda x: x, lambda x: np.tanh(2 * x), lambda x: np.abs(x) - 0.8, lambda x: -x)
_EVEN = 2  # of them: the same for -1 and 1


class _Effect(NamedTuple):
    """What a node has from a parent: a curve of it times a weight."""

    parent: str
    weight: float
    curve: int

    @property
    def is_even(self) -> bool:
        return self.curve == _EVEN


@dataclass(frozen=True)
class _RandomModel:
    """Weighted sums of one effect for each parent, and normal noise.

    Every third node but the target is the sign of its sum. The weights are such that 70 % of a sum
    would be effects if all had a variance of one and the parents were independent; of the targets
    of the first five models 46 to 67 % are.

    Attributes
    ----------
    seed : int
    target : str
        The node with most parents.
    effects : dict of str to list of _Effect
        In causal order.
    signs : set of str
    """

    seed: int
    target: str
    effects: dict[str, list[_Effect]]
    signs: set[str]

    @classmethod
    def draw(cls, seed: int) -> Self:
        """Draw a graph and its effects."""
        dag = random_dag(_N_NODES, 2.5, np.random.default_rng([seed, 0]))
        target = max(dag, key=dag.in_degree)
        order, rng, effects = list(nx.topological_sort(dag)), np.random.default_rng([seed, 1]), {}
        for node in order:
            parents = list(dag.predecessors(node))
            weights = rng.uniform(0.5, 1.0, len(parents))
            curves = rng.choice(len(_CURVES), len(parents))
            weights *= np.sqrt(0.7 / np.sum(weights**2)) if parents else 1.0
            effects[node] = [*map(_Effect, parents, weights, curves)]
        return cls(seed, target, effects, {*order[2::3]} - {target})

    @property
    def dag(self) -> nx.DiGraph:
        """The true graph: of a sign an even curve makes a constant, which is no effect."""
        dag = nx.DiGraph()
        dag.add_nodes_from(sorted(self.effects))
        dag.add_edges_from(
            (each.parent, node)
            for node, effects in self.effects.items()
            for each in effects
            if not (each.is_even and each.parent in self.signs)
        )
        return dag

    def rows(self, n: int, draw: int, do: Mapping[str, float] | None = None) -> pd.DataFrame:
        """Draw rows, in which some nodes may be set to -1 or 1."""
        noise = np.random.default_rng([self.seed, 2, draw])
        values, do = {}, do or {}
        for node, effects in self.effects.items():
            value = noise.normal(size=n) * np.sqrt(0.3 if effects else 1.0)
            for parent, weight, curve in effects:
                value += weight * _CURVES[curve](values[parent])
            if node in self.signs:
                value = np.where(value > 0, 1.0, -1.0)
            values[node] = np.full(n, do[node]) if node in do else value
        frame = pd.DataFrame({node: values[node] for node in sorted(values)})
        for node in self.signs:
            codes = (frame[node] > 0).astype(int)
            frame[node] = pd.Categorical.from_codes(codes, ["minus", "plus"])
        return frame


def sink_graph(dag: nx.DiGraph, target: str) -> nx.DiGraph:
    """Turn the edges out of the target round, as in generators, without denying any dependence.

    The edges among the others are then those of their distribution without the target, and its
    parents are its Markov blanket; both hold for classes that a numeric target is cut into, too.

    Parameters
    ----------
    dag : networkx.DiGraph
    target : str

    Returns
    -------
    networkx.DiGraph
        By arc reversal, as `causalmix.discovery.dag_sampling.sample_dags` does it.
    """
    edges = _certain(dag, tuple(dag))
    return sample_dags(edges, 1, 0, target=target, target_parents="markov_blanket")[0]


def _certain(dag: nx.DiGraph, names: tuple[str, ...]) -> EdgeProbabilities:
    return EdgeProbabilities(names, nx.to_numpy_array(dag, nodelist=names), pd.DataFrame())


def perform(run: Run, table: KnownTable, prepared: Mapping[str, object] | None = None) -> Outcome:
    """Make a run of `causalmix.benchmarks.structure.compare_known_models`.

    Parameters
    ----------
    run : Run
    table : KnownTable
    prepared : mapping, optional
        As `causalmix.benchmarks.arms.prepare` returns it.

    Returns
    -------
    Outcome
        Scores of test rows of the same distribution, and with ``shifted_`` in front those under
        interventions. ``wrong_edges`` are those among features by which graphs differ from that of
        `sink_graph`, ``wrong_label_edges`` those at the label; means over graphs.
    """
    settings, values = run.settings, {}
    seed, model = settings["seed"], load_checkpoint(run_hash=settings["weights"], **run.places)
    rows = Rows.of(settings)
    split = rows.draw(table)
    if settings["method"] == FINETUNED:
        options = dict(settings["options"])
        if settings["known_graph"]:
            true = sink_graph(table.dag, table.y.name)
            options["edges"] = _certain(true, (*table.X, table.y.name))
        elif prepared:
            options["edges"] = prepared["edges"]
        generator = seeded_generator(settings["generator"], options, seed)
        config = FinetuneConfig(**settings["config"])
        model = finetune(model, split, generator=generator, config=config, seed=seed).tfm
        if generator:
            values = _wrong_edges(generator, table)
    shifted = table.shifted.draw(rows.n_test, rows.split)
    for prefix, test in (("", split.test), ("shifted_", shifted)):
        proba = predict_proba(model, split.context(), test.X, random_state=seed)
        scores = score(test.y.cat.codes.to_numpy(), proba)
        values |= {f"{prefix}{name}": value for name, value in scores.items()}
    return Outcome(values, device=device_name(model.device))


def _wrong_edges(generator: CausalGenerator, table: KnownTable) -> dict[str, float]:
    true, X = sink_graph(table.dag, table.y.name), list(table.X)
    every = np.mean([n_changed_edges(dag, true) for dag in generator.dags_])
    among = [n_changed_edges(dag.subgraph(X), true.subgraph(X)) for dag in generator.dags_]
    wrong = float(np.mean(among))
    return {"wrong_edges": wrong, "wrong_label_edges": float(every) - wrong}
