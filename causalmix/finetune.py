"""Fine-tuning of a tabular foundation model on one small table, with or without synthetic rows.

A step draws a few in-context tasks from the training rows (and, where a generator is given, from
its synthetic rows): some rows become the context, the others the queries whose labels are to be
predicted. Real validation rows decide when to stop and which weights are kept; the weights before
the first step are always a candidate, so that a run that only does harm changes nothing.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from causalmix.data import Split, TabularDataset
from causalmix.encoding import Encoder
from causalmix.errors import CausalMixError, DataError
from causalmix.generators import Generator
from causalmix.metrics import log_loss, roc_auc
from causalmix.tfm import FoundationModel


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Settings of a fine-tuning run.

    Parameters
    ----------
    steps : int, default=60
        Optimiser steps at most; with 0 the weights passed in are validated and kept.
    learning_rate : float, default=1e-4
        Of AdamW, after warm-up.
    weight_decay : float, default=0.01
        Of AdamW, decoupled.
    warmup_steps : int, default=5
        Steps over which the rate rises linearly; the first already moves the weights.
    clip_norm : float, default=1.0
        Largest L2 norm of the gradient of a step.
    tasks_per_step : int, default=4
        In-context tasks whose loss is averaged in a step.
    rows_per_task : int, default=256
        Rows (context and query, real and synthetic) of a task at most.
    query_share : float, default=0.3
        Share of a task's rows that are queries, in (0, 1).
    synthetic_share : float, default=0.5
        Share of a task's rows that are synthetic where there is a generator, in [0, 1).
    n_synthetic : int, default=1000
        Size of the pool of synthetic rows, drawn once before the first step.
    validate_every : int, default=4
        Steps between two validations.
    patience : int, default=6
        Validations in a row without a better log-loss after which the run stops.
    time_limit : float, optional
        Seconds from the start of the run, generator included; the step that exceeds them is
        validated and the last. None means no limit. The generator itself is not interrupted.
    """

    steps: int = 60
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    warmup_steps: int = 5
    clip_norm: float = 1.0
    tasks_per_step: int = 4
    rows_per_task: int = 256
    query_share: float = 0.3
    synthetic_share: float = 0.5
    n_synthetic: int = 1000
    validate_every: int = 4
    patience: int = 6
    time_limit: float | None = None

    def __post_init__(self) -> None:
        at_least_one = (
            "tasks_per_step",
            "rows_per_task",
            "n_synthetic",
            "validate_every",
            "patience",
        )
        for name in at_least_one:
            if getattr(self, name) < 1:
                raise CausalMixError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("learning_rate", "clip_norm", "time_limit"):
            value = getattr(self, name)
            if not (value is None and name == "time_limit") and not value > 0:
                raise CausalMixError(f"{name} must be positive, got {value}.")
        for name in ("steps", "warmup_steps", "weight_decay"):
            if getattr(self, name) < 0:
                raise CausalMixError(f"{name} must not be negative, got {getattr(self, name)}.")
        if not 0 < self.query_share < 1:
            raise CausalMixError(f"query_share must lie in (0, 1), got {self.query_share}.")
        if not 0 <= self.synthetic_share < 1:
            raise CausalMixError(f"synthetic_share must lie in [0, 1), got {self.synthetic_share}.")


@dataclass(frozen=True)
class FinetuneResult:
    """What a fine-tuning run leaves.

    Attributes
    ----------
    tfm : FoundationModel
        The model with the kept weights; the model passed in is untouched.
    history : DataFrame
        A row per validation: ``step``, ``train_loss`` (nats, mean since the last row; NaN at
        step 0), ``val_auc``, ``val_log_loss``, ``test_auc``, ``test_log_loss`` (NaN unless
        recorded), ``seconds`` since the first row, ``synthetic_share`` of the rows trained on.
    best_step : int
        The step whose weights are kept; 0 means the weights passed in.
    generator_seconds : float
        Time to fit the generator and draw the pool; 0 without one.
    stopped_by : {"steps", "patience", "time_limit"}
        Which setting ended the run.
    """

    tfm: FoundationModel
    history: pd.DataFrame
    best_step: int
    generator_seconds: float
    stopped_by: str


def finetune(
    tfm: FoundationModel,
    split: Split,
    *,
    generator: Generator | None = None,
    config: FinetuneConfig | None = None,
    n_estimators: int | None = None,
    seed: int = 0,
    record_test: bool = False,
    progress: bool = False,
) -> FinetuneResult:
    """Fine-tune a copy of a foundation model on a split's training rows.

    Validation log-loss decides which weights are kept: with few rows it follows the test curve
    far better than ROC-AUC does, which moves in steps.

    Parameters
    ----------
    tfm : FoundationModel
        The model to start from; not modified.
    split : Split
        Training and validation rows. Test rows are used only for `record_test`.
    generator : Generator, optional
        Source of synthetic rows. It is fitted on the training rows, never on validation rows.
    config : FinetuneConfig, optional
        Defaults to ``FinetuneConfig()``.
    n_estimators : int, optional
        Members of the ensemble, which take turns in training and vote in validation; by default
        as many as the checkpoint asks for.
    seed : int, default=0
        Of the generator's draw and of the rows of every step.
    record_test : bool, default=False
        Whether the history holds test scores, for analysis; they never influence the run.
    progress : bool, default=False
        Whether to show a progress bar on standard error.

    Returns
    -------
    FinetuneResult
        Kept weights, history and step.

    Raises
    ------
    DataError
        If the table exceeds the limits of the checkpoint, or has no more rows than classes.
    CausalMixError
        If the loss stops being finite.
    """
    start = time.perf_counter()
    config = config or FinetuneConfig()
    train = split.train
    tfm.check(train.n_rows + split.val.n_rows, train.n_features, train.n_classes)
    tuned = tfm.copy()
    encoder = tuned.encoder(train.X, _codes(train), n_estimators=n_estimators, random_state=seed)
    synthetic, generator_seconds = _draw_synthetic(generator, train, config, seed)
    rows = _Rows.build(encoder, train, synthetic, config)
    monitor = _Monitor(tuned, encoder, split, record_test)
    deadline = start + (np.inf if config.time_limit is None else config.time_limit)
    rng = np.random.default_rng(seed)
    stopped_by = _run_steps(tuned, encoder, rows, monitor, config, rng, deadline, progress)
    tuned.network.load_state_dict(monitor.best_weights)
    tuned.network.eval()
    history = pd.DataFrame(monitor.records)
    return FinetuneResult(tuned, history, monitor.best_step, generator_seconds, stopped_by)


def predict_proba(
    tfm: FoundationModel, context: TabularDataset, X: pd.DataFrame, *, random_state: int = 0
) -> np.ndarray:
    """Class probabilities of rows given a labelled context, without any weight update.

    Parameters
    ----------
    tfm : FoundationModel
        Pre-trained or fine-tuned.
    context : TabularDataset
        Labelled rows that the model conditions on.
    X : DataFrame, shape (n_rows, n_features)
        Rows to predict, with the context's columns.
    random_state : int, default=0
        Of the ensemble members' preprocessing.

    Returns
    -------
    ndarray of float, shape (n_rows, n_classes)
        In the order of ``context.class_names``; the same as `TabPFNClassifier` gives.
    """
    encoder = tfm.encoder(context.X, _codes(context), random_state=random_state)
    tfm.network.eval()
    return encoder.predict_proba(tfm.network, encoder.transform(X), context.n_classes)


def _codes(dataset: TabularDataset) -> np.ndarray:
    return dataset.y.cat.codes.to_numpy(dtype=np.int64)


def _draw_synthetic(
    generator: Generator | None, train: TabularDataset, config: FinetuneConfig, seed: int
) -> tuple[tuple[pd.DataFrame, pd.Series] | None, float]:
    if generator is None or config.synthetic_share == 0 or config.steps == 0:
        return None, 0.0
    start = time.perf_counter()
    drawn = generator.fit(train.X, train.y).sample(config.n_synthetic, seed)
    return drawn, time.perf_counter() - start


@dataclass(frozen=True)
class _Rows:
    """Encoded rows to train on, and how many of each kind a task takes."""

    features: list[torch.Tensor]  # a member each: (n_real + n_synthetic, C)
    labels: np.ndarray  # (n_real + n_synthetic,)
    n_real: int
    real_per_task: int
    synthetic_per_task: int
    query_share: float

    @classmethod
    def build(
        cls,
        encoder: Encoder,
        train: TabularDataset,
        synthetic: tuple[pd.DataFrame, pd.Series] | None,
        config: FinetuneConfig,
    ) -> _Rows:
        X, labels, share = train.X, _codes(train), 0.0
        if train.n_rows <= len(np.unique(labels)):
            raise DataError(
                f"{train.name!r} has {train.n_rows} training rows for {len(np.unique(labels))} "
                "classes; fine-tuning needs more rows than classes. Raise n_train."
            )
        if synthetic is not None:
            X = pd.concat([train.X, synthetic[0]], ignore_index=True)
            labels = np.concatenate([labels, synthetic[1].cat.codes.to_numpy(dtype=np.int64)])
            share = config.synthetic_share
        real = max(min(train.n_rows, round(config.rows_per_task * (1 - share))), 1)
        wanted = min(round(real * share / (1 - share)), config.rows_per_task - real)
        return cls(
            features=encoder.transform(X),
            labels=labels,
            n_real=train.n_rows,
            real_per_task=real,
            synthetic_per_task=min(wanted, len(labels) - train.n_rows),
            query_share=config.query_share,
        )

    @property
    def synthetic_share(self) -> float:
        return self.synthetic_per_task / (self.real_per_task + self.synthetic_per_task)

    def draw_task(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of the context and of the queries of one task.

        The context starts with a real row of every class, because a network that has not seen
        a class in its context cannot predict it.
        """
        order = rng.permutation(self.n_real)
        classes, first = np.unique(self.labels[order], return_index=True)
        anchors, others = order[first], np.delete(order, first)
        n_real = max(self.real_per_task - len(classes), 1)
        n_query_real = max(round(n_real * self.query_share), 1)
        real = others[:n_real]
        if self.synthetic_per_task == 0:
            return np.concatenate([anchors, real[n_query_real:]]), real[:n_query_real]
        pool = len(self.labels) - self.n_real
        made = self.n_real + rng.choice(pool, self.synthetic_per_task, replace=False)
        n_query_made = round(self.synthetic_per_task * self.query_share)
        context = np.concatenate([anchors, real[n_query_real:], made[n_query_made:]])
        return context, np.concatenate([real[:n_query_real], made[:n_query_made]])


class _Monitor:
    """Evaluates the network along the run and remembers its best weights."""

    def __init__(
        self, tfm: FoundationModel, encoder: Encoder, split: Split, record_test: bool
    ) -> None:
        self.network = tfm.network
        self.encoder = encoder
        self.n_classes = split.train.n_classes
        parts = [split.val, split.test] if record_test else [split.val]
        self.codes = np.concatenate([_codes(part) for part in parts])
        self.n_val = split.val.n_rows
        # Validation and test rows go through the network together; they do not see each other.
        self.queries = encoder.transform(pd.concat([part.X for part in parts]))
        self.start = time.perf_counter()
        self.records: list[dict[str, float]] = []
        self.best_weights: dict[str, torch.Tensor] = {}
        self.best_step = 0

    def evaluate(self, step: int, train_loss: float, synthetic_share: float) -> None:
        self.network.eval()
        proba = self.encoder.predict_proba(self.network, self.queries, self.n_classes)
        record = {"step": step, "train_loss": train_loss}
        for part, rows in (("val", slice(self.n_val)), ("test", slice(self.n_val, None))):
            auc = loss = float("nan")
            if len(self.codes[rows]):
                auc = roc_auc(self.codes[rows], proba[rows])
                loss = log_loss(self.codes[rows], proba[rows])
            record |= {f"{part}_auc": auc, f"{part}_log_loss": loss}
        record["seconds"] = time.perf_counter() - self.start
        record["synthetic_share"] = synthetic_share
        best = min((r["val_log_loss"] for r in self.records), default=float("inf"))
        self.records.append(record)
        if record["val_log_loss"] < best:
            self.best_step = step
            self.best_weights = copy.deepcopy(self.network.state_dict())

    def stale(self) -> int:
        """Count the evaluations since the best one."""
        return sum(record["step"] > self.best_step for record in self.records)


def _run_steps(
    tfm: FoundationModel,
    encoder: Encoder,
    rows: _Rows,
    monitor: _Monitor,
    config: FinetuneConfig,
    rng: np.random.Generator,
    deadline: float,
    progress: bool,
) -> str:
    """Run the optimiser; return what ended it, as in `FinetuneResult.stopped_by`."""
    parameters = [p for p in tfm.network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    monitor.evaluate(0, float("nan"), 0.0)
    losses: list[float] = []
    bar = tqdm(range(1, config.steps + 1), desc="fine-tuning", unit="step", disable=not progress)
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * min(step / max(config.warmup_steps, 1), 1.0)
        tfm.network.train()
        loss = _step_loss(tfm.network, encoder, rows, step, config.tasks_per_step, rng)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        optimiser.step()
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            raise CausalMixError(
                f"The training loss became {losses[-1]} at step {step}; lower learning_rate "
                f"(now {config.learning_rate:g})."
            )
        late = time.perf_counter() > deadline
        if step % config.validate_every == 0 or step == config.steps or late:
            monitor.evaluate(step, float(np.mean(losses)), rows.synthetic_share)
            losses.clear()
            bar.set_postfix(val_log_loss=f"{monitor.records[-1]['val_log_loss']:.4f}")
            if step == config.steps:
                break
            if late:
                return "time_limit"
            if monitor.stale() >= config.patience:
                return "patience"
    return "steps"


def _step_loss(
    network: torch.nn.Module,
    encoder: Encoder,
    rows: _Rows,
    step: int,
    n_tasks: int,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Cross-entropy (nats) over freshly drawn tasks, as one ensemble member sees them."""
    turn = step % len(encoder.members)
    features = rows.features[turn]
    labels = torch.as_tensor(rows.labels, device=features.device)
    tasks = [rows.draw_task(rng) for _ in range(n_tasks)]
    context = torch.as_tensor(np.stack([rows for rows, _ in tasks], axis=1))  # (R_context, B)
    query = torch.as_tensor(np.stack([rows for _, rows in tasks], axis=1))  # (R_query, B)
    logits = encoder.members[turn].logits(
        network, features[context], labels[context], features[query]
    )  # (R_query, B, K)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[query].flatten())
