"""Small random networks of every architecture, in files as Prior Labs writes them."""

from __future__ import annotations

from pathlib import Path

import torch

from causalmix.pretraining.run import INFERENCE_CONFIG
from causalmix.tfm.checkpoint import build_network, write_checkpoint

# TabPFN's default precision depends on the processor; comparisons need the same one everywhere.
REFERENCE = {"device": "cpu", "inference_precision": torch.float32}

SMALL_V3 = {
    "embed_dim": 16,
    "dist_embed_num_blocks": 1,
    "dist_embed_num_heads": 2,
    "dist_embed_num_inducing_points": 4,
    "feat_agg_num_blocks": 1,
    "feat_agg_num_heads": 2,
    "feat_agg_num_cls_tokens": 2,
    "nlayers": 1,
    "icl_num_heads": 2,
    "decoder_head_dim": 8,
    "decoder_num_heads": 2,
}
SMALL_V2 = {"emsize": 16, "nlayers": 1, "nhead": 2}
SMALL = {
    "tabpfn_v2": SMALL_V2,
    "tabpfn_v2_5": SMALL_V2 | {"num_thinking_rows": 4},
    "tabpfn_v2_6": SMALL_V2 | {"num_thinking_rows": 4},
    "tabpfn_v3": SMALL_V3,
    "tabpfn_v3_5": SMALL_V3,
}


def random_network(name: str) -> tuple[torch.nn.Module, dict]:
    """A small network without the zero-initialised layers that would hide differences."""
    config = SMALL[name] | {"max_num_classes": 10, "num_buckets": 10}
    torch.manual_seed(0)
    network = build_network(name, config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network, config


def write_official(name: str, folder: Path, path: Path | None = None) -> Path:
    """A file as Prior Labs writes it for this architecture; the suffix decides the format."""
    old = name in ("tabpfn_v2", "tabpfn_v2_5")
    path = path or folder / ("model.ckpt" if old else "model.safetensors")
    network, config = random_network(name)
    checkpoint = {"state_dict": network.state_dict(), "config": config}
    if name == "tabpfn_v2_5":
        checkpoint["architecture_name"] = "base"
    elif not old:
        checkpoint["architecture_name"] = name
        checkpoint["inference_config"] = INFERENCE_CONFIG | {"FINGERPRINT_FEATURE": True}
    if path.suffix == ".safetensors":
        write_checkpoint(path, checkpoint)
    else:
        torch.save(checkpoint, path)
    return path
