"""TabDPT (Ma et al., NeurIPS 2025) as a foundation model, by the package ``tabdpt``.

Its official checkpoints load by `causalmix.tfm.model.load_tfm`, as files. Numbers are prepared and
members vote as in ``TabDPTClassifier`` without retrieval; categories become codes, because it takes
numbers only. Shapes are as in `causalmix.tfm.encoding`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from tabpfn.architectures.interface import PerformanceOptions

from causalmix.data.own_settings import own_settings
from causalmix.errors import CausalMixError, CheckpointError
from causalmix.tfm.encoding import AveragingEncoder, ShuffledMember, complete_permutation
from causalmix.tfm.model import EnsembleSettings, FoundationModel, Limits

# What the package's class takes, and how the model's part of an official file calls it.
_OFFICIAL_NAMES = {
    "enc_cell_dim": "enc_cell_dim",
    "n_out": "max_num_classes",
    "regression_bin_count": "regression_bin_count",
    "regression_bin_min": "regression_bin_min",
    "regression_bin_max": "regression_bin_max",
    "nhead": "nhead",
    "nhid": "ff_dim",
    "ninp": "emsize",
    "nlayers": "nlayers",
    "num_features": "max_num_features",
    "base_len": "min_eval_context",
    "max_len": "max_eval_context",
    "y_encoder_dim": "y_encoder_dim",
    "num_col_attn_layers": "num_col_attn_layers",
    "n_thinking_rows": "n_thinking_rows",
}


class TabDPTNetwork(torch.nn.Module):
    """A TabDPT network, called as an architecture of TabPFN is.

    Parameters
    ----------
    tabdpt : torch.nn.Module
        The network as its package makes it.
    """

    def __init__(self, tabdpt: torch.nn.Module) -> None:
        super().__init__()
        self.tabdpt = tabdpt
        self.train(tabdpt.training)

    def train(self, mode: bool = True) -> TabDPTNetwork:
        """Set the mode of all that lies below the network; see `torch.nn.Module.train`."""
        super().train(mode)
        self.tabdpt.training = False  # in the other mode rows are scaled by the queries, too
        return self

    def get_default_performance_options(self) -> PerformanceOptions:
        """Return how tasks are handled; options change nothing here."""
        return PerformanceOptions()

    def forward(self, rows: torch.Tensor, labels: torch.Tensor, **_: Any) -> torch.Tensor:
        """Logits of query rows: rows (R, B, C) and codes (R_context, B) → (R_query, B, K)."""
        if rows.requires_grad:  # its own scaling changes a mask in place
            raise CausalMixError(
                "TabDPT gives no gradients of rows; choose another model for this."
            )
        absent = self.tabdpt.num_features - rows.shape[-1]
        x = torch.nn.functional.pad(rows.transpose(0, 1), (0, absent))
        return self.tabdpt(x_src=x, y_src=labels.T, is_cls=True)[..., : self.tabdpt.n_out]


def from_official(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Turn an official checkpoint into one of the form that is written here.

    Parameters
    ----------
    checkpoint : mapping
        With ``cfg`` and ``state_dict``.

    Returns
    -------
    dict
        With ``state_dict``, ``config`` and ``architecture_name``.

    Raises
    ------
    CheckpointError
        Naming the setting that is missing.
    """
    try:
        model = checkpoint["cfg"]["model"]
        config = {name: model[official] for name, official in _OFFICIAL_NAMES.items()}
        config["dropout"] = checkpoint["cfg"]["training"]["dropout"]
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"A checkpoint of TabDPT lacks a setting that version 1.3 has: {error}."
        ) from error
    weights = {
        "tabdpt." + key.replace("_orig_mod.", "").replace("model.", ""): tensor
        for key, tensor in checkpoint["state_dict"].items()
    }
    return {"state_dict": weights, "config": config, "architecture_name": "tabdpt"}


@dataclass(frozen=True, eq=False)
class TabDPTModel(FoundationModel):
    """A TabDPT network with what is needed to run it; attributes as of `FoundationModel`."""

    settings: ClassVar[EnsembleSettings] = EnsembleSettings()
    classes_setting: ClassVar[str] = "n_out"

    @staticmethod
    def build(config: Mapping[str, Any]) -> TabDPTNetwork:
        """Build a freshly initialised network from what the package's class takes."""
        from tabdpt.model import TabDPTModel as Network

        return TabDPTNetwork(Network(**config, use_flash=False))

    @property
    def limits(self) -> Limits:
        """The largest context, the most columns and the most classes in the configuration."""
        names = ("max_len", "num_features", "n_out")
        return Limits(*(self.config[name] for name in names))

    @own_settings()
    def encoder(
        self,
        X: pd.DataFrame,
        y: np.ndarray,
        *,
        n_estimators: int | None = None,
        random_state: int = 0,
    ) -> AveragingEncoder:
        """Fit TabDPT's preprocessing; see `FoundationModel.encoder`."""
        from tabdpt.utils import generate_random_permutation

        codes = np.asarray(y, dtype=np.int64)
        self.check(len(X), X.shape[1], codes.max() + 1)
        classes = np.unique(codes)
        coder = OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan
        )
        coded = make_column_transformer(
            (coder, make_column_selector(dtype_include="category")), remainder="passthrough"
        )
        scaler = make_pipeline(coded, SimpleImputer(keep_empty_features=True), StandardScaler())
        context = scaler.fit_transform(X)

        n_members = n_estimators or self.inference_config.N_ESTIMATORS
        seeds = np.random.SeedSequence(random_state).generate_state(n_members).tolist()
        members = []
        for seed in seeds if n_members > 1 else [random_state]:
            columns = generate_random_permutation(context.shape[1], seed).tolist()
            permutation = None  # of the classes: a single member has none
            if n_members > 1:
                permutation = np.argsort(generate_random_permutation(len(classes), seed).numpy())
            complete = complete_permutation(permutation, classes, self.limits.max_classes)
            members.append(ShuffledMember(lambda rows: rows, context, columns, complete))
        return AveragingEncoder(
            scaler.transform,
            members,
            codes,
            self.device,
            self.inference_config.SOFTMAX_TEMPERATURE,
        )
