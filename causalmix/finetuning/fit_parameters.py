"""Parameters of an estimator and of its `fit`, checked before anything is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sklearn.base import BaseEstimator

from causalmix.errors import CausalMixError, check_name, check_type, check_whole
from causalmix.finetuning.config import FinetuneConfig

# Of those that are neither settings of the run nor checked where they are used.
_TYPES = {
    "tfm": "str | Path",
    "generator": "str | None",
    "generator_options": "Mapping | None",
    "columns": "Mapping | None",
    "n_estimators": "int | None",
    "progress": "bool",
}

# Settings that the estimator has arguments for.
_ARGUMENTS = ("steps", "learning_rate", "time_limit")

_NESTED = "config__"  # before the name of a setting among an estimator's parameters
_Config = FinetuneConfig | Mapping | None


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
    UnknownNameError
        If there is no setting of a name in `config`.
    CausalMixError
        If one has the wrong type, is out of its range, or is set to two values.
    """
    for name, annotation in _TYPES.items():
        check_type(name, getattr(estimator, name), annotation)
    if estimator.n_estimators is not None:
        check_whole(estimator.n_estimators, 1, "n_estimators")
    chosen = _chosen(estimator.config)
    config = FinetuneConfig(**chosen)
    defaults = vars(FinetuneConfig())
    given = {name: v for name in _ARGUMENTS if (v := getattr(estimator, name)) is not None}
    for name, value in given.items():
        # A default in config contradicts nothing: set_params(**get_params()) puts them there.
        if chosen.get(name, value) not in (value, defaults[name]):
            raise CausalMixError(
                f"{name}={value!r} is given, but config has {name}={chosen[name]!r}; give one of "
                "the two."
            )
    return dataclasses.replace(config, **given)


def nested(config: _Config) -> dict[str, Any]:
    """Name the settings in a `config` as scikit-learn does.

    Parameters
    ----------
    config : FinetuneConfig, mapping or None

    Returns
    -------
    dict
        All settings; those that a mapping lacks are as by default, and so are all where `config`
        has another type, which `check_parameters` refuses.
    """
    if isinstance(config, FinetuneConfig):
        config = vars(config)
    given = config if isinstance(config, Mapping) else {}
    return {f"{_NESTED}{k}": v for k, v in (vars(FinetuneConfig()) | dict(given)).items()}


def with_nested(config: _Config, params: Mapping[str, Any]) -> dict[str, Any]:
    """Put settings that are named as scikit-learn does into a `config`.

    Parameters
    ----------
    config : FinetuneConfig, mapping or None
        The present one, which is not changed.
    params : mapping
        Parameters of an estimator, a setting as ``config__NAME``; perhaps another `config`.

    Returns
    -------
    dict
        The parameters, with a `config` of the same kind in the place of its settings.

    Raises
    ------
    UnknownNameError
        If there is no setting of a name.
    CausalMixError
        If `config` is none, or a setting makes no sense for a `FinetuneConfig`.
    """
    others = {name: value for name, value in params.items() if not name.startswith(_NESTED)}
    changes = {n.removeprefix(_NESTED): v for n, v in params.items() if n not in others}
    if changes:
        config = others.get("config", config)
        chosen = _chosen(config) | _chosen(changes)
        is_whole = isinstance(config, FinetuneConfig)
        others["config"] = FinetuneConfig(**chosen) if is_whole else chosen
    return others


def _chosen(config: _Config) -> dict[str, Any]:
    """Return what a `config` sets, after checking its type and names."""
    if isinstance(config, FinetuneConfig):
        defaults = vars(FinetuneConfig())
        return {name: value for name, value in vars(config).items() if value != defaults[name]}
    if not isinstance(config, _Config):
        raise CausalMixError(
            f"config must be a FinetuneConfig, a mapping of its settings or None, got {config!r}."
        )
    for name in config or {}:
        check_name(name, vars(FinetuneConfig()), "setting in config")
    return dict(config or {})


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
    refused = [k for k, value in fit_params.items() if k != "sample_weight" or value is not None]
    if refused:
        raise CausalMixError(
            f"fit does not take {', '.join(refused)}: an in-context learner conditions on "
            "whole rows, without weights. Leave it out; to stress rows, repeat them in X and y."
        )
