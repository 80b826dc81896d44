"""A fitted classifier as a folder: weights and context rows as safetensors, the rest as JSON.

Nothing in it is pickled, so that loading a folder runs no code of it. The JSON file has checksums
of all, so that no other weights, rows or columns pass for those that were saved.
``weights.safetensors`` is a checkpoint of its own, which ``TabPFNClassifier(model_path=...)`` and
`load_tfm` take.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from causalmix import __version__
from causalmix.atomic import hidden_content, naming_output, replace_folder
from causalmix.data.columns import listed
from causalmix.data.dataset import TabularDataset
from causalmix.data.schema import TableSchema
from causalmix.discovery.knowledge import BackgroundKnowledge
from causalmix.errors import CausalMixError, CheckpointError
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.fit_input import as_dataset
from causalmix.finetuning.report import FitReport
from causalmix.finetuning.run import encoder_of
from causalmix.manifest import file_hash, json_hash, package_versions, write_json
from causalmix.tfm.encoding import Encoder
from causalmix.tfm.model import FoundationModel, load_tfm

FORMAT = 5
"""Version of the folder's layout; a folder of another version is refused."""

_STATE, _WEIGHTS, _ROWS = "classifier.json", "weights.safetensors", "context.safetensors"

REPORT, GENERATOR = "report.html", "generator.parquet"
"""What may stand beside these, and goes with them when another classifier is saved there."""

_ALL = (_STATE, _WEIGHTS, _ROWS, REPORT, GENERATOR)

# What the state has at least, and what some parts of it have.
_KEYS = (
    *("parameters", "classes", "n_features_in", "feature_names_in", "columns", "schema"),
    *("target", "n_estimators", "seed", "report", "history", "checksums"),
)
_PARTS = {"classes": ("dtype", "values"), "report": [each.name for each in fields(FitReport)]}

_PAIRS = "__pairs__"  # key of a mapping whose keys are not all strings, as pairs
_CONFIG = "__config__"  # key of a FinetuneConfig, as a mapping


@dataclass(frozen=True)
class Fitted:
    """What predictions need, apart from what can be made again of it.

    Attributes
    ----------
    tfm : FoundationModel
        The weights.
    context : TabularDataset
        Training and validation rows, in the order they were given.
    columns : list of str
        All columns given, used or not.
    n_estimators : int or None
        Members of the ensemble.
    seed : int
        Of their preprocessing.
    """

    tfm: FoundationModel
    context: TabularDataset
    columns: list[str]
    n_estimators: int | None
    seed: int

    def encoder(self) -> Encoder:
        """Fit the ensemble's preprocessing on all rows."""
        return encoder_of(self.tfm, self.context, self.seed, self.n_estimators)


def classifier_state(classifier: Any, fitted: Fitted) -> dict[str, Any]:
    """Describe a fitted `CausalMixClassifier` but for its weights and rows, for JSON.

    Parameters
    ----------
    classifier : CausalMixClassifier
    fitted : Fitted
        Its fitted state.

    Returns
    -------
    dict

    Raises
    ------
    CausalMixError
        If a parameter or the class labels cannot be written as JSON.
    """
    parameters = classifier.get_params(deep=False) | {"tfm": str(classifier.tfm)}
    if isinstance(classifier.random_state, np.random.RandomState):
        parameters["random_state"] = fitted.seed
    classes = classifier.classes_
    # JSON has no dates, and NumPy makes numbers of some units only.
    values = classes.astype(np.int64) if classes.dtype.kind in "mM" else classes
    return {
        "format": FORMAT,
        "versions": package_versions(),
        "parameters": {name: json_value(name, v) for name, v in parameters.items()},
        "classes": {"dtype": classes.dtype.str, "values": json_value("classes_", values)},
        "n_features_in": classifier.n_features_in_,
        "feature_names_in": list(getattr(classifier, "feature_names_in_", [])),
        "columns": fitted.columns,
        "target": fitted.context.y.name,
        "schema": classifier._schema.as_json(),
        "n_estimators": json_value("n_estimators", fitted.n_estimators),
        "seed": fitted.seed,
        "report": asdict(classifier.report_),
        "history": classifier.history_.to_dict(orient="list"),
    }


def learned_attributes(state: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that `CausalMixClassifier.fit` sets, as `classifier_state` wrote them.

    Parameters
    ----------
    state : dict

    Returns
    -------
    dict
        By name, without what `Fitted` holds.
    """
    classes = state["classes"]
    attributes = {
        "n_features_in_": state["n_features_in"],
        "history_": pd.DataFrame(state["history"]),
        "report_": FitReport(**state["report"]),
        "classes_": np.array(classes["values"], dtype=_label_dtype(classes)),
        "_schema": TableSchema.from_json(state["schema"]),
    }
    if state["feature_names_in"]:
        attributes["feature_names_in_"] = np.array(state["feature_names_in"], dtype=object)
    return attributes


def _label_dtype(classes: Mapping[str, Any]) -> np.dtype:
    """Return the type of class labels; raise ValueError where it is larger than they need."""
    dtype = np.dtype(classes["dtype"])
    if dtype.kind == "U":  # text is as wide as the widest of the rows that it was cut from
        return np.array(classes["values"], dtype=str).dtype
    longest = max((len(str(value)) for value in classes["values"]), default=0)
    if dtype.itemsize > max(16, 4 * longest):  # 4 bytes a character; numbers have 16 at most
        raise ValueError(
            f"the labels' type {classes['dtype']!r} takes {dtype.itemsize:,} bytes a label, of "
            f"{longest} characters at most"
        )
    return dtype


def save_folder(path: Path, classifier: Any, fitted: Fitted) -> None:
    """Write a fitted classifier, in one step.

    Parameters
    ----------
    path : Path
        Folder to write. An earlier classifier there is replaced; anything else is left alone.
    classifier : CausalMixClassifier
    fitted : Fitted
        Its fitted state; weights and context rows become files of their own.

    Raises
    ------
    CheckpointError
        If `path` holds something else too, or its parent is no folder.
    CausalMixError
        As `classifier_state`; if the folder cannot be written.
    """
    with naming_output(path):
        state = classifier_state(classifier, fitted)
        path = path.absolute()
        check_place(path)

    def write(folder: Path) -> None:
        fitted.tfm.save(folder / _WEIGHTS)
        save_file(_arrays(fitted.context.frame()), folder / _ROWS)
        checksums = {name: file_hash(folder / name) for name in (_WEIGHTS, _ROWS)}
        checksums[_STATE] = json_hash(state)
        write_json(folder / _STATE, state | {"checksums": checksums})

    replace_folder(path, write)


def check_place(path: Path) -> None:
    """Raise if a folder to write would replace anything but a saved classifier.

    Parameters
    ----------
    path : Path

    Raises
    ------
    CheckpointError
        If `path` holds something else too, or its parent is no folder.
    """
    if not path.parent.is_dir():
        raise CheckpointError(f"There is no folder {path.parent}; make it first.")
    if not path.exists():
        return
    here = sorted(each.name for each in path.iterdir()) if path.is_dir() else [path.name]
    if here and not (path.is_dir() and _is_state(path / _STATE)):
        raise CheckpointError(f"{path} exists and is no saved classifier; choose another path.")
    if foreign := [name for name in here if name not in _ALL]:
        raise CheckpointError(
            f"{path} holds what is no part of a saved classifier: {listed(foreign)}. Move that, or "
            "choose another path."
        )


def _is_state(file: Path) -> bool:
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(state, dict) and {"format", "versions", "classes"} <= state.keys()


def load_folder(
    path: Path, device: str, parameters: Collection[str]
) -> tuple[Fitted, dict[str, Any], dict[str, Any]]:
    """Read what `save_folder` wrote.

    Parameters
    ----------
    path : Path
        The folder.
    device : str
        As in :func:`causalmix.tfm.model.load_tfm`.
    parameters : collection of str
        Parameters that the classifier knows.

    Returns
    -------
    fitted : Fitted
    parameters : dict
        Of the classifier; all are known.
    attributes : dict
        As `learned_attributes` gives them.

    Raises
    ------
    CheckpointError
        If the folder is no saved classifier, is damaged, holds a file of another classifier, or is
        of another format.
    """
    with _readable(path / _STATE):
        found = (path / _STATE).is_file()
    if not found:
        hidden = [] if path.exists() or not path.parent.is_dir() else hidden_content(path)
        complete = [other for other in hidden if (other / _STATE).is_file()]
        hint = f" A save was killed and left {complete[0]}: rename that." if complete else ""
        raise CheckpointError(f"{path} is no saved classifier: there is no {path / _STATE}.{hint}")
    with _readable(path / _STATE):
        text = (path / _STATE).read_text(encoding="utf-8")
        plain = json.loads(text)
        _check_state(path / _STATE, plain, parameters)
        _check_content(path, plain)
        state = json.loads(text, object_hook=_unplain)
        attributes = learned_attributes(state)
    with _readable(path / _ROWS):
        arrays, names = load_file(path / _ROWS), (attributes["classes_"], state["target"])
        context = _context(arrays, attributes["_schema"], *names)
    tfm = load_tfm(path / _WEIGHTS, device=device)
    fitted = Fitted(tfm, context, *(state[k] for k in ("columns", "n_estimators", "seed")))
    return fitted, state["parameters"], attributes


def json_value(name: str, value: Any) -> Any:
    """Return a value as JSON can hold it; NumPy's numbers and arrays become Python's.

    Parameters
    ----------
    name : str
        What it is, for the message.
    value : object

    Returns
    -------
    object
        Mappings with other keys than strings are lists of pairs, and a `FinetuneConfig` is a
        mapping; `load_folder` undoes both. A graph is the list of its edges, and a
        `BackgroundKnowledge` a mapping; `CausalMixClassifier` takes either.

    Raises
    ------
    CausalMixError
        If JSON has no form for it.
    """
    try:
        plain = _plain(value)
        json.dumps(plain)
    except TypeError as error:
        raise CausalMixError(
            f"{name}={value!r} cannot be saved: {error}. Use plain values, or pickle."
        ) from error
    return plain


def _check_content(path: Path, state: dict[str, Any]) -> None:
    """Raise if a file of a saved classifier is not the one that was saved."""
    checksums = state["checksums"]
    found = {_STATE: json_hash({k: part for k, part in state.items() if k != "checksums"})}
    for name in (_WEIGHTS, _ROWS):
        with _readable(path / name):
            found[name] = file_hash(path / name)
    for name, checksum in found.items():
        if checksum != checksums[name]:
            raise CheckpointError(
                f"{path / name} is not as it was saved: its content is another (SHA-256 "
                f"{checksum[:8]}, not {checksums[name][:8]}). Copy the whole folder again, or save "
                "the classifier again."
            )


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Turn what goes wrong in reading a file of a saved classifier into an error that names it."""
    try:
        yield
    except CheckpointError:
        raise
    except (
        OSError,
        SafetensorError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,  # of JSON in JSON in JSON
    ) as error:
        raise CheckpointError(
            f"{file} cannot be read as part of a saved classifier: {type(error).__name__}: "
            f"{error}. Save it again."
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, FinetuneConfig):
        return {_CONFIG: _plain(vars(value))}
    if isinstance(value, nx.DiGraph):
        return _plain(list(value.edges))
    if isinstance(value, BackgroundKnowledge):
        value = vars(value)
    if not isinstance(value, Mapping):
        return value
    items = {_plain(key): _plain(each) for key, each in value.items()}
    if all(isinstance(key, str) for key in items):
        return items
    return {_PAIRS: [list(item) for item in items.items()]}


def _unplain(read: dict[str, Any]) -> dict[Any, Any] | FinetuneConfig:
    """Undo what `_plain` does to a config and to a mapping whose keys are not all strings."""
    if read.keys() == {_CONFIG}:
        return FinetuneConfig(**read[_CONFIG])
    return dict(read[_PAIRS]) if read.keys() == {_PAIRS} else read


def _check_state(file: Path, state: dict[str, Any], parameters: Collection[str]) -> None:
    """Raise if a state is of another format, incomplete, or has unknown parameters."""
    lacking = [key for key in ("format", "versions") if key not in state]
    if not lacking and state["format"] != FORMAT:
        raise CheckpointError(
            f"{file} is of format {state['format']}, written by causalmix "
            f"{state['versions']['causalmix']}, and this is causalmix {__version__}, which reads "
            f"format {FORMAT}: fit the classifier again and save it, or load it with that version."
        )
    lacking += [key for key in _KEYS if key not in state]
    for part, keys in _PARTS.items():
        lacking += [f"{part}.{key}" for key in keys if key not in state.get(part, keys)]
    if lacking:
        raise CheckpointError(f"{file} lacks {listed(lacking)}. Save the classifier again.")
    unknown = sorted(set(state["parameters"]) - set(parameters))
    if unknown:
        raise CheckpointError(
            f"{file} has unknown parameters: {listed(unknown)}. It was written with causalmix "
            f"{state['versions']['causalmix']}; this is {__version__}."
        )


def _arrays(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """One array a column, named by its position: int32 codes of categories, else the numbers."""
    return {
        str(j): column.cat.codes.to_numpy(np.int32)
        if isinstance(column.dtype, pd.CategoricalDtype)
        else np.ascontiguousarray(column.to_numpy())
        for j, (_, column) in enumerate(table.items())
    }


def _context(
    arrays: dict[str, np.ndarray], schema: TableSchema, classes: np.ndarray, target: str
) -> TabularDataset:
    """Undo `_arrays`."""
    features = {
        name: arrays[str(j)]
        if levels is None
        else pd.Categorical.from_codes(arrays[str(j)], pd.Index(levels, dtype=object))
        for j, (name, levels) in enumerate(schema.levels.items())
    }
    codes = arrays[str(len(schema.columns))]
    return as_dataset(pd.DataFrame(features), classes, codes, target)
