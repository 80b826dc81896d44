"""TabICL (Qu et al., ICML 2025) as a foundation model, by the package of the extra ``tabicl``.

Its official checkpoints load by `causalmix.tfm.model.load_tfm`, as files: they hold ``config`` and
``state_dict``. Rows are prepared and members vote as in ``TabICLClassifier``. Shapes are as in
`causalmix.tfm.encoding`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from tabpfn.architectures.interface import PerformanceOptions

from causalmix.data.own_settings import own_settings
from causalmix.tfm.encoding import AveragingEncoder, ShuffledMember, complete_permutation
from causalmix.tfm.model import EnsembleSettings, FoundationModel, Limits

_LARGEST = 100.0  # of a standardised cell, as in TabICL's own scaler


class TabICLNetwork(torch.nn.Module):
    """The stages of a TabICL network, called as an architecture of TabPFN is.

    Parameters
    ----------
    tabicl : torch.nn.Module
        The network as its package makes it; has the same weights by the same names.
    """

    def __init__(self, tabicl: torch.nn.Module) -> None:
        super().__init__()
        for name, stage in tabicl.named_children():
            self.add_module(name, stage)
        self.train(tabicl.training)

    def train(self, mode: bool = True) -> TabICLNetwork:
        """Set the mode of all that lies below the stages; see `torch.nn.Module.train`."""
        super().train(mode)
        for stage in self.children():  # in the other mode they record no gradients
            stage.training = True
        return self

    def get_default_performance_options(self) -> PerformanceOptions:
        """Return how tasks are handled by default."""
        return PerformanceOptions()

    def forward(
        self,
        rows: torch.Tensor,
        labels: torch.Tensor,
        *,
        performance_options: PerformanceOptions | None = None,
        **_: Any,
    ) -> torch.Tensor:
        """Logits of query rows: rows (R, B, C) and codes (R_context, B) → (R_query, B, K)."""
        options = performance_options or self.get_default_performance_options()
        for module in self.modules():
            if hasattr(module, "recompute"):
                module.recompute = options.force_recompute_layer
        x, y = rows.transpose(0, 1), labels.T
        embedded = self.row_interactor(self.col_embedder(x, y_train=y))
        return self.icl_predictor(embedded, y_train=y).transpose(0, 1)


class TabICLEncoder(AveragingEncoder):
    """TabICL's fitted preprocessing; made by `TabICLModel.encoder`."""

    def prepare_prior(self, x: torch.Tensor, n_context: int) -> torch.Tensor:
        """Scale by the context and fill gaps with its means; see `Encoder.prepare_prior`."""
        known = x[:n_context].isfinite()
        count = known.sum(dim=0).clamp(min=1)
        filled = x[:n_context].where(known, 0.0)
        mean = filled.sum(dim=0) / count
        deviation = ((filled - mean) * known).square().sum(dim=0).div(count).sqrt()
        scaled = (x - mean) / deviation.where(deviation > 0, 1.0)
        return scaled.nan_to_num(nan=0.0).clamp(-_LARGEST, _LARGEST)


@dataclass(frozen=True, eq=False)
class TabICLModel(FoundationModel):
    """A TabICL network with what is needed to run it; attributes as of `FoundationModel`."""

    settings: ClassVar[EnsembleSettings] = EnsembleSettings(SOFTMAX_TEMPERATURE=0.9)
    classes_setting: ClassVar[str] = "max_classes"

    @staticmethod
    def build(config: Mapping[str, Any]) -> TabICLNetwork:
        """Build a freshly initialised network from what the package's class takes."""
        from tabicl._model.tabicl import TabICL

        return TabICLNetwork(TabICL(**config))

    @property
    def limits(self) -> Limits:
        """The largest table that the authors report on, with the classes that the network knows."""
        return Limits(100_000, 2_000, self.config["max_classes"])

    @own_settings()
    def encoder(
        self,
        X: pd.DataFrame,
        y: np.ndarray,
        *,
        n_estimators: int | None = None,
        random_state: int = 0,
    ) -> TabICLEncoder:
        """Fit TabICL's preprocessing; see `FoundationModel.encoder`."""
        from tabicl._sklearn.preprocessing import EnsembleGenerator, TransformToNumerical

        codes = np.asarray(y, dtype=np.int64)
        self.check(len(X), X.shape[1], codes.max() + 1)
        classes, dense = np.unique(codes, return_inverse=True)
        numbers = TransformToNumerical().fit(X)
        ensemble = EnsembleGenerator(
            classification=True,
            n_estimators=n_estimators or self.inference_config.N_ESTIMATORS,
            random_state=random_state,
        ).fit(numbers.transform(X), dense)
        members = []
        for name in sorted(ensemble.ensemble_configs_):  # their order is that of a set
            scaler = ensemble.preprocessors_[name]
            for columns, permutation in ensemble.ensemble_configs_[name]:
                complete = complete_permutation(permutation, classes, self.limits.max_classes)
                scaled = scaler.X_transformed_
                members.append(ShuffledMember(scaler.transform, scaled, columns, complete))
        return TabICLEncoder(
            lambda rows: ensemble.unique_filter_.transform(numbers.transform(rows)),
            members,
            codes,
            self.device,
            self.inference_config.SOFTMAX_TEMPERATURE,
        )
