"""A pre-training run of a few steps on tiny tasks."""

from __future__ import annotations

import numpy as np

from causalmix.pretraining.config import PretrainConfig
from causalmix.pretraining.heldout import content_hash
from causalmix.prior.tasks import PriorConfig, sample_batch

TINY_PRIOR = PriorConfig(rows=(24, 32), max_features=4, max_tasks=2)
RNG = np.random.default_rng(5)
HELD_OUT = [sample_batch(TINY_PRIOR, RNG) for _ in range(2)]

TINY = PretrainConfig(
    steps=6,
    batches_per_step=2,
    learning_rate=2e-3,
    warmup_steps=2,
    decay_steps=2,
    curriculum_steps=2,
    evaluate_every=2,
    seed=0,
    prior=TINY_PRIOR,
    held_out=content_hash(HELD_OUT),
    network={
        "max_num_classes": 10,
        "num_buckets": 2,
        "embed_dim": 8,
        "dist_embed_num_blocks": 1,
        "dist_embed_num_heads": 1,
        "dist_embed_num_inducing_points": 2,
        "feat_agg_num_blocks": 1,
        "feat_agg_num_heads": 1,
        "feat_agg_num_cls_tokens": 1,
        "nlayers": 1,
        "icl_num_heads": 1,
        "decoder_head_dim": 8,
        "decoder_num_heads": 1,
    },
)
