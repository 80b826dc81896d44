"""Parameters of an estimator and of its `fit`, checked before anything is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sklearn.base import BaseEstimator

from causalmix.errors import CausalMixError, check_type
from causalmix.finetuning.config import FinetuneConfig

# Of those that are neither settings of the run nor checked where they are used.
_TYPES = {
    "tfm": "str | Path",
    "generator": "str | None",
    "generator_options": "Mapping | None",
    "n_estimators": "int | None",
    "progress": "bool",
}


def check_parameters(estimator: BaseEstimator) -> FinetuneConfig:
    """Check the parameters of an estimator.

    Parameters
    ----------
    estimator : CausalMixClassifier

    Returns
    -------
    FinetuneConfig
        Those that are settings of the run.

    Raises
    ------
    CausalMixError
        If one has the wrong type, or is out of its range.
    """
    for name, annotation in _TYPES.items():
        check_type(name, getattr(estimator, name), annotation)
    n_estimators = estimator.n_estimators
    if n_estimators is not None and n_estimators < 1:
        raise CausalMixError(
            "n_estimators must be at least 1, or None for as many as the checkpoint asks for; got "
            f"{n_estimators}."
        )
    names = [field.name for field in dataclasses.fields(FinetuneConfig)]
    return FinetuneConfig(**{name: getattr(estimator, name) for name in names})


def check_fit_params(fit_params: Mapping[str, Any]) -> None:
    """Raise if `fit` is given more than a table and its labels.

    Parameters
    ----------
    fit_params : mapping
        By name. Only ``sample_weight=None`` is valid: without weights.

    Raises
    ------
    CausalMixError
        If there is anything else.
    """
    refused = [
        name for name in fit_params if name != "sample_weight" or fit_params[name] is not None
    ]
    if refused:
        raise CausalMixError(
            f"fit does not take {', '.join(refused)}: an in-context learner conditions on "
            "whole rows, without weights. Leave it out; to stress rows, repeat them in X and y."
        )
