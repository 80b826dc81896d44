"""The curves of a fine-tuning run, and the weights behind them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

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


@dataclass(eq=False)
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
    synthetic : tuple of (DataFrame, Series), optional
        Synthetic validation rows and their classes.
    other_runs : sequence of DataFrame, default=()
        Histories of runs on other splits.
    test_encoder : Encoder, optional
        Fitted on the context of the test rows, where these are recorded.
    before : dict of str to torch.Tensor, optional
        The weights before training; needed where others are blended with them.
    record_blends : bool, default=False
        Whether the curves of such blends are kept beside those of the network.

    Attributes
    ----------
    choice : Choice
        What the rule makes of the curves so far.
    """

    tfm: FoundationModel
    encoder: Encoder
    split: Split
    config: FinetuneConfig
    synthetic: tuple[pd.DataFrame, pd.Series] | None = None
    other_runs: Sequence[pd.DataFrame] = ()
    test_encoder: Encoder | None = None
    before: Mapping[str, torch.Tensor] = field(default_factory=dict)
    record_blends: bool = False

    def __post_init__(self) -> None:
        X, self._codes = self.split.val.X, codes_of(self.split.val.y)
        if self.synthetic is not None:
            X = pd.concat([X, self.synthetic[0]])
            self._codes = np.concatenate([self._codes, codes_of(self.synthetic[1])])
        # Real and synthetic rows go through the network together; they do not see each other.
        self._queries = self.encoder.transform(X)
        if self.test_encoder is not None:
            self._test_queries = self.test_encoder.transform(self.split.test.X)
        self._other_runs = [run.set_index("step") for run in self.other_runs]
        self._start = time.perf_counter()
        self._losses_before: np.ndarray | None = None  # of the rows, at step 0
        self._records: list[dict[str, float]] = []
        self._weights: dict[int, dict[str, torch.Tensor]] = {}  # by position, without step 0

    @property
    def history(self) -> pd.DataFrame:
        """The curves so far; columns as in `causalmix.finetuning.run.FinetuneResult`."""
        return pd.DataFrame(self._records)

    @property
    def n_passes(self) -> int:
        """Rows that go through the network in a validation, each once a member."""
        n = (len(self._codes) + self.split.train.n_rows) * len(self.encoder.members)
        if self.test_encoder is not None:
            rows = self.split.context().n_rows + self.split.test.n_rows
            n += rows * len(self.test_encoder.members)
        return n

    @property
    def last_comparable_step(self) -> float:
        """Last step up to which the runs on other splits went; infinite without any."""
        return min((run.index[-1] for run in self._other_runs), default=np.inf)

    @property
    def chosen_weights(self) -> dict[str, torch.Tensor] | None:
        """State of the network at the chosen step; None for step 0."""
        return self._weights[self.choice.kept] if self.choice.kept else None

    def evaluate(self, step: int, train_loss: float, synthetic_share: float) -> float:
        """Validate the network and judge the curves anew.

        Parameters
        ----------
        step : int
            Steps done.
        train_loss : float
            To be recorded (nats).
        synthetic_share : float
            To be recorded.

        Returns
        -------
        float
            Log-loss of the validation rows (nats).
        """
        self.tfm.network.eval()
        with self._between(self.config.weight_share):
            proba, tested = self._predict_all()
            record = {"step": step, "train_loss": train_loss, **self._scores(proba, tested)}
            if self._other_runs:
                record |= self._pooled(step, record)
            if self.record_blends:
                record |= self._of_blends(proba, tested)
            record["seconds"] = time.perf_counter() - self._start
            record["synthetic_share"] = synthetic_share
            self._records.append(record)
            self._judge()
        return record["val_log_loss"]

    def _scores(self, proba: np.ndarray, tested: np.ndarray | None) -> dict[str, float]:
        losses = row_losses(self._codes, proba)
        if self._losses_before is None:
            self._losses_before, self._before_training = losses, (proba, tested)
        gains = self._losses_before - losses
        n_val = self.split.val.n_rows
        real, made = slice(n_val), slice(n_val, None)
        scores = {
            "val_auc": roc_auc(self._codes[real], proba[real]),
            "val_log_loss": losses[real].mean(),
            "val_gain_se": _standard_error(gains[real]),
        }
        if len(losses) > n_val:
            scores["synthetic_val_log_loss"] = losses[made].mean()
            scores["synthetic_val_gain_se"] = _standard_error(gains[made])
        if tested is not None:
            codes = codes_of(self.split.test.y)
            scores["test_auc"] = roc_auc(codes, tested)
            scores["test_log_loss"] = log_loss(codes, tested)
        return scores

    def _of_blends(self, proba: np.ndarray, tested: np.ndarray | None) -> dict[str, float]:
        """Score the means of the weights, and of the predictions, before and after training."""
        first, first_tested = self._before_training
        both = None if tested is None else (first_tested + tested) / 2
        mean = self._scores((first + proba) / 2, both)
        with self._between(0.5):
            half = self._scores(*self._predict_all())
        named = {"half": half, "mean": mean}
        return {f"{name}_{k}": v for name, found in named.items() for k, v in found.items()}

    @contextmanager
    def _between(self, share: float) -> Iterator[None]:
        """Move the weights to this share of the way from what they were before the run, for now."""
        if share == 1.0:
            yield
            return
        moved = [(n, p) for n, p in self.tfm.network.named_parameters() if p.requires_grad]
        trained = [parameter.detach().clone() for _, parameter in moved]
        with torch.no_grad():
            for name, parameter in moved:
                parameter.lerp_(self.before[name], 1.0 - share)
        try:
            yield
        finally:
            with torch.no_grad():
                for (_, parameter), values in zip(moved, trained, strict=True):
                    parameter.copy_(values)

    def _judge(self) -> None:
        rule, n_val = self.config.rule, self.split.val.n_rows
        self.choice = choose(self.history, rule, level=self.config.level, n_val=n_val)
        position = len(self._records) - 1
        if position:
            state = self.tfm.network.state_dict()
            self._weights[position] = {k: v.detach().cpu().clone() for k, v in state.items()}
        if not RULES[rule].revises:  # then no other step can be chosen any more
            self._weights = {k: v for k, v in self._weights.items() if k == self.choice.candidate}

    def _pooled(self, step: int, record: dict[str, float]) -> dict[str, float]:
        """Mean over this run and those on other splits, between their validations if need be."""
        columns = ["val_log_loss", "val_gain_se"]
        rows = [[np.interp(step, run.index, run[k]) for k in columns] for run in self._other_runs]
        found = np.array([[record[name] for name in columns], *rows])
        # As if the splits were independent; they share rows, so the error is somewhat larger.
        error = np.sqrt((found[:, 1] ** 2).sum()) / len(found)
        return {"splits_log_loss": found[:, 0].mean(), "splits_gain_se": error}

    def _predict_all(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Class probabilities of the validation and, where they are recorded, the test rows."""
        proba, tested = self._predict(self.encoder, self._queries), None
        if self.test_encoder is not None:
            tested = self._predict(self.test_encoder, self._test_queries)
        return proba, tested

    def _predict(self, encoder: Encoder, queries: list[torch.Tensor]) -> np.ndarray:
        return encoder.predict_proba(self.tfm.network, queries, self.split.train.n_classes)


def _standard_error(gains: np.ndarray) -> float:
    if len(gains) < 2:
        return float("nan")
    return float(gains.std(ddof=1) / np.sqrt(len(gains)))
