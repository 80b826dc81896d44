"""TabICL (Qu et al., ICML 2025) as a foundation model, by the package of the extra ``tabicl``.

Its official checkpoints load by `causalmix.tfm.model.load_tfm`, as files: they hold ``config`` and
``state_dict``. Rows are prepared and members vote as in ``TabICLClassifier``. Shapes are as in
`causalmix.tfm.encoding`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from tabpfn.architectures.interface import PerformanceOptions

from causalmix.data.own_settings import own_settings
from causalmix.errors import CheckpointError
from causalmix.tfm.encoding import Encoder, Member, complete_permutation
from causalmix.tfm.model import FoundationModel, Limits

_LARGEST = 100.0  # of a standardised cell, as in TabICL's own scaler


@dataclass(frozen=True)
class TabICLSettings:
    """What predictions depend on beside the weights; defaults as of ``TabICLClassifier``.

    Attributes
    ----------
    N_ESTIMATORS : int
        Members of the ensemble.
    SOFTMAX_TEMPERATURE : float
        What the members' mean logits are divided by.
    """

    N_ESTIMATORS: int = 8
    SOFTMAX_TEMPERATURE: float = 0.9


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


def build_tabicl(config: Mapping[str, Any]) -> TabICLNetwork:
    """Build a freshly initialised TabICL network.

    Parameters
    ----------
    config : mapping
        What the package's class takes.

    Returns
    -------
    TabICLNetwork

    Raises
    ------
    CheckpointError
        If the package is not installed.
    """
    require_tabicl()
    from tabicl._model.tabicl import TabICL

    return TabICLNetwork(TabICL(**config))


def require_tabicl() -> None:
    """Raise if the package is not installed.

    Raises
    ------
    CheckpointError
        Says how to install it.
    """
    try:
        import tabicl  # noqa: F401
    except ImportError as error:
        raise CheckpointError(
            "A TabICL checkpoint needs the package tabicl: pip install 'causalmix[tabicl]'."
        ) from error


class _Member(Member):
    """One way in which TabICL scales, orders and codes a table."""

    def __init__(
        self, scaler: Any, columns: list[int], codes: list[int], classes: np.ndarray, n_classes: int
    ) -> None:
        self._scaler, self._columns = scaler, columns
        self.class_permutation = complete_permutation(codes, classes, n_classes)
        self.context = self._ordered(scaler.X_transformed_)
        self.categorical = []

    def transform(self, cleaned: np.ndarray) -> torch.Tensor:
        return self._ordered(self._scaler.transform(cleaned))

    def _ordered(self, scaled: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(scaled[:, self._columns], dtype=torch.float32)


class TabICLEncoder(Encoder):
    """TabICL's fitted preprocessing; made by `TabICLModel.encoder`.

    Parameters
    ----------
    model : TabICLModel
    X : pandas.DataFrame
        Features.
    y : numpy.ndarray
        Class codes.
    n_estimators : int
        Members of the ensemble; of narrow tables there are fewer.
    random_state : int
        Seed of the ensemble's shuffles.
    """

    def __init__(
        self,
        model: TabICLModel,
        X: pd.DataFrame,
        y: np.ndarray,
        n_estimators: int,
        random_state: int,
    ) -> None:
        from tabicl._sklearn.preprocessing import EnsembleGenerator, TransformToNumerical

        classes, codes = np.unique(y, return_inverse=True)
        self._numbers = TransformToNumerical().fit(X)
        ensemble = EnsembleGenerator(
            classification=True, n_estimators=n_estimators, random_state=random_state
        ).fit(self._numbers.transform(X), codes)
        self._varying = ensemble.unique_filter_
        members = [
            _Member(ensemble.preprocessors_[name], *shuffles, classes, model.limits.max_classes)
            for name in sorted(ensemble.ensemble_configs_)  # their order is that of a set
            for shuffles in ensemble.ensemble_configs_[name]
        ]
        temperature = model.inference_config.SOFTMAX_TEMPERATURE
        super().__init__(members, y, model.device, temperature)

    @own_settings()
    def transform(self, X: pd.DataFrame) -> list[torch.Tensor]:
        """Transform rows for every member; see `Encoder.transform`."""
        cleaned = self._varying.transform(self._numbers.transform(X))
        return [member.transform(cleaned).to(self._device) for member in self.members]

    def prepare_prior(self, x: torch.Tensor, n_context: int) -> torch.Tensor:
        """Scale by the context and fill gaps with its means; see `Encoder.prepare_prior`."""
        known = x[:n_context].isfinite()
        count = known.sum(dim=0).clamp(min=1)
        filled = x[:n_context].where(known, 0.0)
        mean = filled.sum(dim=0) / count
        deviation = ((filled - mean) * known).square().sum(dim=0).div(count).sqrt()
        scaled = (x - mean) / deviation.where(deviation > 0, 1.0)
        return scaled.nan_to_num(nan=0.0).clamp(-_LARGEST, _LARGEST)

    @staticmethod
    def _vote(logits: torch.Tensor) -> torch.Tensor:
        return logits.mean(dim=0).softmax(dim=-1)


@dataclass(frozen=True, eq=False)
class TabICLModel(FoundationModel):
    """A TabICL network with what is needed to run it; attributes as of `FoundationModel`."""

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
        codes = np.asarray(y, dtype=np.int64)
        self.check(len(X), X.shape[1], codes.max() + 1)
        n_members = n_estimators or self.inference_config.N_ESTIMATORS
        return TabICLEncoder(self, X, codes, n_members, random_state)
