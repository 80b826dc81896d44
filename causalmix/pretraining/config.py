"""Settings of a pre-training run: the network, how tables are prepared for it, the schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from causalmix.prior.tasks import PriorConfig

ARCHITECTURE = "tabpfn_v3"

# Most of the cost lies in the cells (rows × columns), so that stage is narrow; rows are cheap, so
# in-context learning gets four times the width and most of the depth. Two heads instead of four
# in the narrow stage save a quarter of the time.
NETWORK_CONFIG: dict[str, Any] = {
    "max_num_classes": 10,
    "num_buckets": 2,  # only for regression; 2 keeps the unused buffer small
    "embed_dim": 32,
    "dist_embed_num_blocks": 2,
    "dist_embed_num_heads": 2,
    "dist_embed_num_inducing_points": 16,
    "feat_agg_num_blocks": 2,
    "feat_agg_num_heads": 2,
    "feat_agg_num_cls_tokens": 4,
    "nlayers": 6,
    "icl_num_heads": 4,
    "decoder_head_dim": 32,
    "decoder_num_heads": 4,
}

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
        Optimiser steps. With `decay_steps` the only setting that may change when an interrupted
        run goes on, because the plateau before the decay does not depend on it.
    batches_per_step : int
        Batches of synthetic tasks whose gradients are averaged in a step.
    learning_rate : float
        Peak rate, of Muon for the weight matrices inside the blocks and of AdamW for all others:
        linear warm-up, a plateau, linear decay to zero.
    weight_decay : float
        Decoupled weight decay of both.
    warmup_steps : int
        Steps of linear warm-up.
    decay_steps : int
        The last steps, over which the rate falls to zero.
    clip_norm : float
        Largest norm of the gradient.
    curriculum_steps : int
        The first steps, over which the tasks widen from binary, narrow and shallow to all.
    evaluate_every : int
        Steps between evaluations; also how much work a kill can lose.
    n_held_out : int
        Batches of held-out synthetic tasks that select the checkpoint.
    seed : int
        Seed of initialisation, training tasks and held-out tasks.
    start : str
        SHA-256 of the checkpoint whose weights the run starts from; "" for random weights.
    prior : PriorConfig
        Where tasks come from.
    network : dict
        Configuration of the architecture.
    """

    steps: int = 12_000
    batches_per_step: int = 2
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup_steps: int = 200
    decay_steps: int = 4_000
    clip_norm: float = 1.0
    curriculum_steps: int = 1_500
    evaluate_every: int = 250
    n_held_out: int = 40
    seed: int = 0
    start: str = ""
    prior: PriorConfig = field(default_factory=PriorConfig)
    network: dict[str, Any] = field(default_factory=lambda: dict(NETWORK_CONFIG))
