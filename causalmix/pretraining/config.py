"""Settings of a pre-training run: the network, how tables are prepared for it, the schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from causalmix.data.yaml_files import read_yaml
from causalmix.errors import CheckpointError, check_range, check_whole
from causalmix.pretraining.heldout import HELD_OUT_HASH
from causalmix.prior.tasks import PriorConfig

PRETRAINING = Path(__file__).with_name("pretraining.yaml")
"""Configuration of the run that made the embedded checkpoint."""

ARCHITECTURE = "tabpfn_v3"

# How TabPFNClassifier prepares a table for this network; chosen on the tuning tables that the
# model card names. Without the components of a singular value decomposition beside the columns, the
# network misses what many columns, or many levels of a category, say together.
INFERENCE_CONFIG: dict[str, Any] = {
    "PREPROCESS_TRANSFORMS": [
        {
            "name": "squashing_scaler_default",
            "categorical_name": "onehot",
            "max_onehot_cardinality": 10,
            "global_transformer_name": "svd",
        },
        {"name": "none", "categorical_name": "numeric", "global_transformer_name": "svd"},
    ],
    "FINGERPRINT_FEATURE": False,
    "POLYNOMIAL_FEATURES": "no",
    "N_ESTIMATORS": 2,
    "SOFTMAX_TEMPERATURE": 1.0,
    "MAX_NUMBER_OF_CLASSES": 10,
    # The limits are wider than the trained range, so that ordinary tables are accepted; beyond
    # it quality is extrapolated.
    "MAX_NUMBER_OF_FEATURES": 100,
    "MAX_NUMBER_OF_SAMPLES": 2_000,
    "MAX_CPU_SAMPLES": 2_000,
}


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that decides the result of a pre-training run, apart from the device.

    Attributes
    ----------
    steps : int
        Optimiser steps. With `decay_steps` the only setting that may change when a run goes on.
        Before the decay that makes no difference; after it, the rate rises to the plateau again.
    batches_per_step : int
        Batches of synthetic tasks whose gradients are averaged in a step.
    learning_rate : float
        Peak rate, of Muon for the weight matrices inside the blocks and of AdamW for all others:
        linear warm-up, a plateau, linear decay to zero.
    weight_decay : float
        Decoupled weight decay of both.
    warmup_steps : int
        Steps of linear warm-up; 0 for none.
    decay_steps : int
        The last steps, over which the rate falls to zero.
    clip_norm : float
        Largest norm of the gradient.
    curriculum_steps : int
        The first steps, over which the tasks widen from binary, narrow and shallow to all.
    evaluate_every : int
        Steps between evaluations; also how much work a kill can lose.
    seed : int
        Seed of initialisation and training tasks.
    network : dict
        Configuration of the architecture.
    prior : PriorConfig
        Where training tasks come from.
    start : str
        SHA-256 of the checkpoint whose weights the run starts from; "" for random weights.
    held_out : str
        Content hash of the held-out tasks that select the checkpoint
        (`causalmix.pretraining.heldout`).
    """

    steps: int
    batches_per_step: int
    learning_rate: float
    warmup_steps: int
    decay_steps: int
    curriculum_steps: int
    evaluate_every: int
    seed: int
    network: dict[str, Any]
    prior: PriorConfig = field(default_factory=PriorConfig)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    start: str = ""
    held_out: str = HELD_OUT_HASH

    def __post_init__(self) -> None:
        for name in ("steps", "batches_per_step", "evaluate_every"):
            check_whole(getattr(self, name), 1, name)
        for name in ("warmup_steps", "decay_steps", "curriculum_steps"):
            check_whole(getattr(self, name), 0, name)
        for name in ("learning_rate", "clip_norm"):
            check_range(getattr(self, name), "(0, inf)", name)
        check_range(self.weight_decay, "[0, inf)", "weight_decay")


def read_config(path: Path = PRETRAINING) -> PretrainConfig:
    """Read the configuration of a run.

    Parameters
    ----------
    path : Path, optional
        YAML with the attributes of `PretrainConfig`, `prior` with those of `PriorConfig`. By
        default the configuration of the run that made the embedded checkpoint.

    Returns
    -------
    PretrainConfig

    Raises
    ------
    CheckpointError
        If the file is missing, or is no such configuration.
    """
    return read_as(PretrainConfig, path, "a pre-training run", f" {PRETRAINING} is an example.")


def read_as(kind: type, path: Path, what: str, advice: str = "") -> Any:
    """Read a configuration with a prior; an error says `what` it should be of, and the advice."""
    try:
        settings = _with_tuples(read_yaml(path))
        prior = PriorConfig(**_with_tuples(settings.pop("prior", {})))
        return kind(prior=prior, **settings)
    except (OSError, yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).replace("__init__()", "it")
        raise CheckpointError(f"{path} is no configuration of {what}: {reason}.{advice}") from error


def _with_tuples(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with tuples where a file has lists."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()}
