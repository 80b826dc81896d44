"""A fitted classifier as a folder: weights and context rows as safetensors, the rest as JSON.

Nothing in it is pickled, so that loading a folder runs no code of it. ``weights.safetensors`` is a
checkpoint of its own, which ``TabPFNClassifier(model_path=...)`` and `load_tfm` take.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from causalmix.atomic import hidden_content, replace_folder
from causalmix.data import TabularDataset
from causalmix.encoding import Encoder
from causalmix.errors import CausalMixError, CheckpointError
from causalmix.fit_report import FitReport
from causalmix.manifest import package_versions, write_json
from causalmix.schema import TableSchema
from causalmix.tfm import FoundationModel, load_tfm

FORMAT = 2
"""Version of the folder's layout; a folder of another version is refused."""

_STATE, _WEIGHTS, _ROWS = "classifier.json", "weights.safetensors", "context.safetensors"


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
        codes = self.context.y.cat.codes.to_numpy()
        return self.tfm.encoder(
            self.context.X, codes, n_estimators=self.n_estimators, random_state=self.seed
        )


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
    return {
        "parameters": {name: json_value(name, v) for name, v in parameters.items()},
        "classes": {"dtype": classes.dtype.str, "values": json_value("classes_", classes)},
        "n_features_in": classifier.n_features_in_,
        "feature_names_in": list(getattr(classifier, "feature_names_in_", [])),
        "columns": fitted.columns,
        "schema": classifier._schema.columns,
        "n_estimators": fitted.n_estimators,
        "seed": fitted.seed,
        "report": dataclasses.asdict(classifier.report_),
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
        "classes_": np.array(classes["values"], dtype=np.dtype(classes["dtype"])),
        "_schema": TableSchema(state["schema"]),
    }
    if state["feature_names_in"]:
        attributes["feature_names_in_"] = np.array(state["feature_names_in"], dtype=object)
    return attributes


def save_folder(path: Path, fitted: Fitted, state: dict[str, Any]) -> None:
    """Write a fitted classifier, in one step.

    Parameters
    ----------
    path : Path
        Folder to write. An earlier classifier there is replaced; anything else is left alone.
    fitted : Fitted
        Weights and context rows, which become files of their own.
    state : dict
        The rest, JSON-serialisable.

    Raises
    ------
    CheckpointError
        If `path` holds something else, or its parent is no folder.
    """
    path = path.absolute()
    if path.exists() and not (path / _STATE).is_file():
        raise CheckpointError(f"{path} exists and is no saved classifier; choose another path.")
    if not path.parent.is_dir():
        raise CheckpointError(f"There is no folder {path.parent}; make it first.")
    table = fitted.context.frame()
    levels = {name: list(table[name].cat.categories) for name in table.select_dtypes("category")}
    state = {
        "format": FORMAT,
        "versions": package_versions(),
        "rows": {"columns": list(table.columns), "levels": levels},
        **state,
    }

    def write(folder: Path) -> None:
        fitted.tfm.save(folder / _WEIGHTS)
        save_file(_arrays(table), folder / _ROWS)
        write_json(folder / _STATE, state)

    replace_folder(path, write)


def load_folder(path: Path, device: str) -> tuple[Fitted, dict[str, Any]]:
    """Read what `save_folder` wrote.

    Parameters
    ----------
    path : Path
        The folder.
    device : str
        As in :func:`causalmix.tfm.load_tfm`.

    Returns
    -------
    fitted : Fitted
    state : dict

    Raises
    ------
    CheckpointError
        If the folder is no saved classifier, is damaged, or is of another format.
    """
    if not (path / _STATE).is_file():
        hidden = [] if path.exists() or not path.parent.is_dir() else hidden_content(path)
        complete = [other for other in hidden if (other / _STATE).is_file()]
        hint = f" A save was killed and left {complete[0]}: rename that." if complete else ""
        raise CheckpointError(f"{path} is no saved classifier: there is no {path / _STATE}.{hint}")
    try:
        state = json.loads((path / _STATE).read_text())
        if state["format"] != FORMAT:
            raise CheckpointError(
                f"{path} is of format {state['format']}; this version of causalmix reads format "
                f"{FORMAT}. It was written with causalmix {state['versions']['causalmix']}."
            )
        context = _table(load_file(path / _ROWS), **state["rows"])
    except CheckpointError:
        raise
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a saved classifier: {type(error).__name__}: {error}. "
            "Save it again."
        ) from error
    tfm = load_tfm(path / _WEIGHTS, device=device)
    return Fitted(tfm, context, *(state[k] for k in ("columns", "n_estimators", "seed"))), state


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

    Raises
    ------
    CausalMixError
        If JSON has no form for it.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    try:
        json.dumps(value)
    except TypeError as error:
        raise CausalMixError(
            f"{name}={value!r} cannot be saved: {error}. Use plain values, or pickle."
        ) from error
    return dict(value) if isinstance(value, Mapping) else value


def _arrays(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """One array a column, named by its position: int32 codes of categories, else the numbers."""
    return {
        str(j): column.cat.codes.to_numpy(np.int32)
        if isinstance(column.dtype, pd.CategoricalDtype)
        else np.ascontiguousarray(column.to_numpy())
        for j, (_, column) in enumerate(table.items())
    }


def _table(
    arrays: dict[str, np.ndarray], columns: list[str], levels: dict[str, list[str]]
) -> TabularDataset:
    table = pd.DataFrame(
        {
            name: pd.Categorical.from_codes(
                arrays[str(j)], categories=pd.Index(levels[name], dtype=object)
            )
            if name in levels
            else arrays[str(j)]
            for j, name in enumerate(columns)
        }
    )
    return TabularDataset("table", table[columns[:-1]], table[columns[-1]], "a saved classifier")
