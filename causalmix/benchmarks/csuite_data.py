"""CSuite: small tables with a known graph and the effect of a known intervention."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd

from causalmix.data.dataset import hash_columns
from causalmix.data.files import read_table
from causalmix.discovery.graph_comparison import check_dag
from causalmix.errors import DataError

PUBLISHED_COLUMNS = (
    "dataset",
    "train_size",
    "algorithm",
    "correlation_matrix_difference",
    "k_marginal_tvd",
    "nnaa",
    "ate_abs_error",
)


@dataclass(frozen=True)
class CSuiteDataset:
    """A table, the graph that it comes from, and an intervention with its effect.

    Attributes
    ----------
    name : str
        Name of the folder.
    train, test : pandas.DataFrame
        Independent rows of one distribution: numeric columns, and ``category`` columns.
    dag : networkx.DiGraph
        The true graph, with a node for each column, in their order.
    treatment, outcome : str
        Columns: what is set, and what is then observed. The outcome is numeric.
    treatment_value, reference_value : float or str
        The two values that the treatment is set to; a category's name in a ``category`` column.
    ate : float
        True average treatment effect: the mean of the outcome under ``do(treatment_value)`` minus
        that under ``do(reference_value)``.
    arms : pandas.DataFrame or None
        Rows under these two interventions: the same columns, the treatment having the two classes
        ``"reference"`` and ``"treated"``. None by default.

    References
    ----------
    Geffner et al. (2022), "Deep end-to-end causal inference", arXiv 2202.02195.
    """

    name: str
    train: pd.DataFrame
    test: pd.DataFrame
    dag: nx.DiGraph
    treatment: str
    outcome: str
    treatment_value: float | str
    reference_value: float | str
    ate: float
    arms: pd.DataFrame | None = None

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) over all rows and the truth about them; `name` is not in it."""
        frames = [self.train, self.test, *(() if self.arms is None else (self.arms,))]
        effect = (self.treatment, self.outcome, self.treatment_value, self.reference_value)
        return hash_with_graph(frames, self.dag, *effect, self.ate)


def hash_with_graph(frames: Sequence[pd.DataFrame], dag: nx.DiGraph, *truth: float | str) -> str:
    """SHA-256 (hex) over tables, the graph that they come from, and what else is known of them.

    Parameters
    ----------
    frames : sequence of pandas.DataFrame
        Columns of numbers or categories.
    dag : networkx.DiGraph
        Of names of columns.
    *truth : float or str

    Returns
    -------
    str
    """
    rows = [hash_columns(frame[name] for name in frame) for frame in frames]
    content = json.dumps([rows, sorted(dag.edges), truth], default=float)
    return hashlib.sha256(content.encode()).hexdigest()


def load_csuite(folder: str | Path) -> CSuiteDataset:
    """Read one dataset.

    Parameters
    ----------
    folder : str or Path
        With ``train.parquet``, ``test.parquet`` and ``truth.json``. The last holds ``variables``
        (each with its ``name``), ``adjacency`` (``adjacency[i][j]`` is 1 where variable i is a
        direct cause of variable j) and ``interventions``, of which the first is read.
        ``interventional.parquet``, if there is one, has rows under it, with a column ``arm``.

    Returns
    -------
    CSuiteDataset

    Raises
    ------
    DataError
        If a file is missing or damaged, the graph has a cycle, or a column has no node or a node
        no column.
    """
    folder = Path(folder)
    train, test = (read_table(folder / f"{part}.parquet").frame for part in ("train", "test"))
    truth = folder / "truth.json"
    try:
        content = json.loads(truth.read_text(encoding="utf-8"))
        names = [variable["name"] for variable in content["variables"]]
        dag = _graph(names, content["adjacency"])
        effect = content["interventions"][0]
        (treatment,), (outcome,), (ate,) = (effect[k] for k in ("treatment", "outcome", "ate"))
        # Of one treated column: the files give its value bare or in a list.
        values = [float(np.ravel(effect[k]).item()) for k in ("treatment_value", "reference_value")]
    except OSError as error:
        raise DataError(f"{truth} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise DataError(
            f"{truth} is not the description of a CSuite dataset, or is damaged ({error!r})."
        ) from error
    for part, frame in (("train", train), ("test", test)):
        _check_nodes(names, frame, folder / f"{part}.parquet")
    _check_nodes([treatment, outcome], train, truth, every=False)
    check_dag(dag, list(train))
    if isinstance(train[treatment].dtype, pd.CategoricalDtype):
        values = [train[treatment].cat.categories[int(value)] for value in values]
    arms, path = None, folder / "interventional.parquet"
    if path.exists():
        arms = _read_arms(path, names, treatment)
    found = (train[names], test[names], dag, treatment, outcome, *values, float(ate), arms)
    return CSuiteDataset(folder.name, *found)


ARMS = ("reference", "treated")


def _read_arms(path: Path, names: list[str], treatment: str) -> pd.DataFrame:
    frame = read_table(path).frame
    _check_nodes([*names, "arm"], frame, path)
    if (found := set(frame["arm"])) != set(ARMS):
        raise DataError(f"{path}: the column arm holds {found}, not {' and '.join(ARMS)}.")
    return frame[names].assign(**{treatment: pd.Categorical(frame["arm"], ARMS)})


def load_csuite_folder(folder: str | Path) -> dict[str, CSuiteDataset]:
    """Read every dataset of a folder.

    Parameters
    ----------
    folder : str or Path
        Its subfolders with a ``truth.json`` are read.

    Returns
    -------
    dict of str to CSuiteDataset
        By name, in alphabetical order.

    Raises
    ------
    DataError
        If there is none, or one cannot be read.
    """
    found = sorted(path.parent for path in Path(folder).glob("*/truth.json"))
    if not found:
        raise DataError(
            f"{folder} holds no CSuite dataset: a subfolder with train.parquet, test.parquet and "
            "truth.json is needed."
        )
    return {path.name: load_csuite(path) for path in found}


def load_published(path: str | Path) -> pd.DataFrame:
    """Read the published scores of tables generated from CSuite.

    Parameters
    ----------
    path : str or Path
        ``published.csv``, or the folder that holds it.

    Returns
    -------
    pandas.DataFrame
        `PUBLISHED_COLUMNS`: dataset, train_size (rows), algorithm, and medians over repetitions of
        the four scores, of which less is better but for nnaa, best at 0.5.

    Raises
    ------
    DataError
        If there is no such file, or it lacks a column or holds text where numbers belong.
    """
    path = Path(path)
    path = path / "published.csv" if path.is_dir() else path
    return read_scores(path, PUBLISHED_COLUMNS)


def read_scores(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read columns of a table of published scores.

    Parameters
    ----------
    path : Path
    columns : sequence of str
        All but ``dataset`` and ``algorithm`` hold numbers.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    DataError
        As `load_published`.
    """
    frame = read_table(path).frame
    if missing := [name for name in columns if name not in frame]:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}.")
    numeric = [name for name in columns if name not in ("dataset", "algorithm")]
    try:
        return frame[[*columns]].assign(**{name: pd.to_numeric(frame[name]) for name in numeric})
    except ValueError as error:
        raise DataError(f"{path} holds text where numbers belong: {error}.") from error


def _graph(names: list[str], adjacency: list[list[int]]) -> nx.DiGraph:
    if len(adjacency) != len(names) or any(len(row) != len(names) for row in adjacency):
        raise ValueError(f"adjacency is not {len(names)} by {len(names)}")
    dag = nx.DiGraph()
    dag.add_nodes_from(names)
    dag.add_edges_from(
        (names[i], names[j])
        for i, row in enumerate(adjacency)
        for j, edge in enumerate(row)
        if edge
    )
    return dag


def _check_nodes(names: list[str], frame: pd.DataFrame, path: Path, *, every: bool = True) -> None:
    """Check that the columns of a table are the nodes of its graph, or some of them."""
    if lacking := [name for name in names if name not in frame]:
        raise DataError(f"{path}: there is no column for the nodes {', '.join(lacking)}.")
    if every and (extra := [name for name in frame if name not in names]):
        raise DataError(f"{path}: truth.json has no node for the columns {', '.join(extra)}.")
