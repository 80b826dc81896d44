"""The curves of a fine-tuning run, and the weights behind them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from causalmix.data.splitting import Split
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.metrics import log_loss, roc_auc, row_losses
from causalmix.finetuning.mixing import codes_of
from causalmix.finetuning.stopping import RULES, choose
from causalmix.tfm.encoding import Encoder
from causalmix.tfm.model import FoundationModel


@dataclass(frozen=True)
class Evidence:
    """What a run is watched by, besides its validation rows.

    Attributes
    ----------
    synthetic : tuple of (DataFrame, Series), optional
        Synthetic validation rows and their classes.
    other_runs : sequence of DataFrame
        Histories of runs on other splits.
    """

    synthetic: tuple[pd.DataFrame, pd.Series] | None = None
    other_runs: Sequence[pd.DataFrame] = ()


class Monitor:
    """Validates the network along the run and keeps the weights that may still be chosen.

    Parameters
    ----------
    tfm : FoundationModel
        The model in training.
    encoder : Encoder
        Fitted on the training rows, which are the context of every validation.
    split : Split
        Validation rows, and test rows if they are recorded; their context is that of the final
        prediction, training and validation rows.
    config : FinetuneConfig
        Rule and level.
    evidence : Evidence
        What else is recorded.
    test_encoder : Encoder, optional
        Fitted on the context of the test rows, where these are recorded.

    Attributes
    ----------
    choice : Choice
        What the rule makes of the curves so far.
    """

    def __init__(
        self,
        tfm: FoundationModel,
        encoder: Encoder,
        split: Split,
        config: FinetuneConfig,
        evidence: Evidence,
        test_encoder: Encoder | None = None,
    ) -> None:
        self._network, self._encoder, self._test_encoder = tfm.network, encoder, test_encoder
        self._config, self._split = config, split
        self._n_classes, self._n_val = split.train.n_classes, split.val.n_rows
        X, self._codes = split.val.X, codes_of(split.val.y)
        if evidence.synthetic is not None:
            X = pd.concat([X, evidence.synthetic[0]])
            self._codes = np.concatenate([self._codes, codes_of(evidence.synthetic[1])])
        # Real and synthetic rows go through the network together; they do not see each other.
        self._queries = encoder.transform(X)
        if test_encoder is not None:
            self._test_queries = test_encoder.transform(split.test.X)
        self._other_runs = [run.set_index("step") for run in evidence.other_runs]
        self._start = time.perf_counter()
        self._losses_before: np.ndarray | None = None  # of the rows, at step 0
        self._records: list[dict[str, float]] = []
        self._weights: dict[int, dict[str, torch.Tensor]] = {}  # by position, without step 0

    @property
    def history(self) -> pd.DataFrame:
        """The curves so far; columns as in `causalmix.finetuning.run.FinetuneResult`."""
        return pd.DataFrame(self._records)

    @property
    def last_comparable_step(self) -> float:
        """Last step up to which the runs on other splits went; infinite without any."""
        return min((run.index[-1] for run in self._other_runs), default=np.inf)

    @property
    def last_loss(self) -> float:
        """Log-loss of the validation rows at the last validation."""
        return self._records[-1]["val_log_loss"]

    @property
    def chosen_weights(self) -> dict[str, torch.Tensor] | None:
        """State of the network at the chosen step; None for step 0."""
        return self._weights[self.choice.kept] if self.choice.kept else None

    def evaluate(self, step: int, train_loss: float, synthetic_share: float) -> None:
        """Validate the network and judge the curves anew.

        Parameters
        ----------
        step : int
            Steps done.
        train_loss : float
            To be recorded (nats).
        synthetic_share : float
            To be recorded.
        """
        self._network.eval()
        proba = self._encoder.predict_proba(self._network, self._queries, self._n_classes)
        losses = row_losses(self._codes, proba)
        if self._losses_before is None:
            self._losses_before = losses
        gains = self._losses_before - losses
        real, made = slice(self._n_val), slice(self._n_val, None)
        record = {
            "step": step,
            "train_loss": train_loss,
            "val_auc": roc_auc(self._codes[real], proba[real]),
            "val_log_loss": losses[real].mean(),
            "val_gain_se": _standard_error(gains[real]),
        }
        if len(losses) > self._n_val:
            record["synthetic_val_log_loss"] = losses[made].mean()
            record["synthetic_val_gain_se"] = _standard_error(gains[made])
        if self._other_runs:
            record |= self._pooled(step, record)
        if self._test_encoder is not None:
            record |= self._test_scores()
        record["seconds"] = time.perf_counter() - self._start
        record["synthetic_share"] = synthetic_share
        self._records.append(record)
        self._judge()

    def _judge(self) -> None:
        config = self._config
        self.choice = choose(self.history, config.rule, level=config.level, n_val=self._n_val)
        position = len(self._records) - 1
        if position:
            state = self._network.state_dict()
            self._weights[position] = {k: v.detach().cpu().clone() for k, v in state.items()}
        if not RULES[config.rule].revises:  # then no other step can be chosen any more
            self._weights = {k: v for k, v in self._weights.items() if k == self.choice.candidate}

    def _pooled(self, step: int, record: dict[str, float]) -> dict[str, float]:
        """Mean over this run and those on other splits, between their validations if need be."""
        columns = ["val_log_loss", "val_gain_se"]
        rows = [[np.interp(step, run.index, run[k]) for k in columns] for run in self._other_runs]
        found = np.array([[record[name] for name in columns], *rows])
        # As if the splits were independent; they share rows, so the error is somewhat larger.
        error = np.sqrt((found[:, 1] ** 2).sum()) / len(found)
        return {"splits_log_loss": found[:, 0].mean(), "splits_gain_se": error}

    def _test_scores(self) -> dict[str, float]:
        codes = codes_of(self._split.test.y)
        proba = self._test_encoder.predict_proba(self._network, self._test_queries, self._n_classes)
        return {"test_auc": roc_auc(codes, proba), "test_log_loss": log_loss(codes, proba)}


def _standard_error(gains: np.ndarray) -> float:
    if len(gains) < 2:
        return float("nan")
    return float(gains.std(ddof=1) / np.sqrt(len(gains)))
