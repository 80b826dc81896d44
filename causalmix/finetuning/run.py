"""Fine-tuning of a tabular foundation model on one small table, with or without synthetic rows.

A step draws a few in-context tasks from the training rows (and, where a generator is given, from
its synthetic rows): some rows become the context, the others the queries whose labels are to be
predicted. Validation decides when to stop and which weights are kept; the weights before the first
step are always a candidate, so that a run that only does harm changes nothing.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from causalmix.data.dataset import TabularDataset
from causalmix.data.own_settings import own_settings
from causalmix.data.splitting import Split, holdout_split
from causalmix.errors import CausalMixError, TimeLimitWarning, check_name, check_seed, check_whole
from causalmix.finetuning.config import RATE_SCHEDULES, FinetuneConfig
from causalmix.finetuning.mixing import Batch, TaskSampler, codes_of
from causalmix.finetuning.monitor import Monitor
from causalmix.finetuning.parts import only
from causalmix.finetuning.stopping import RULES, Choice
from causalmix.finetuning.time_budget import (
    GENERATOR_SHARE,
    GRACE,
    affordable_members,
    affordable_rows,
    affordable_tasks,
    generator_seconds,
    what_was_left_out,
)
from causalmix.generation.registry import Generator, limit_time
from causalmix.tfm.device import Portions, autocast_dtype
from causalmix.tfm.encoding import Encoder
from causalmix.tfm.model import FoundationModel

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinetuneResult:
    """What a fine-tuning run leaves.

    Attributes
    ----------
    tfm : FoundationModel
        The model with the kept weights; the model passed in is untouched.
    history : DataFrame
        A row per validation: ``step``, ``train_loss`` (nats, mean since the last row; NaN at
        step 0), ``val_auc``, ``val_log_loss``, ``val_gain_se`` (standard error over validation
        rows of the decrease since step 0), ``seconds`` since just before the first row, and the
        ``synthetic_share`` of rows that the settings ask for in that step, of which whole tasks
        are a fraction more or less. Where the rule needs them, the loss and error
        of synthetic validation rows (``synthetic_val_…``) and over several splits
        (``splits_…``). Where recorded, ``test_auc`` and ``test_log_loss``, with training and
        validation rows as context.
    choice : Choice
        How the rule judged the history; positions are rows of it.
    generator_seconds : float
        Time to fit the generator and draw its first rows; 0 without one.
    stopped_by : {"steps", "patience", "time_limit"}
        Which setting ended the run.
    config : FinetuneConfig
        The settings that it had, with fewer or smaller tasks where time was short.
    n_train : int
        Rows trained on, which may be fewer than given where time was short.
    left_out : tuple of str
        What the run and the generator left out to keep the time limit, in sentences.
    """

    tfm: FoundationModel
    history: pd.DataFrame
    choice: Choice
    generator_seconds: float
    stopped_by: str
    config: FinetuneConfig
    n_train: int
    left_out: tuple[str, ...] = ()

    @property
    def best_step(self) -> int:
        """The step whose weights are kept; 0 means the weights passed in."""
        return int(self.history["step"].iloc[self.choice.kept])


@own_settings()
def finetune(
    tfm: FoundationModel,
    split: Split,
    *,
    generator: Generator | None = None,
    config: FinetuneConfig | None = None,
    n_estimators: int | None = None,
    seed: int = 0,
    record_test: bool = False,
    record_rules: Sequence[str] = (),
    record_blends: bool = False,
    progress: bool = False,
) -> FinetuneResult:
    """Fine-tune a copy of a foundation model on a split's training rows.

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
        Of the generator's draws and of the rows of every step.
    record_test : bool, default=False
        Whether the history holds test scores, for analysis; they never influence the run.
    record_rules : sequence of str, default=()
        Rules besides the config's whose curves the history is to hold, for analysis.
    record_blends : bool, default=False
        Whether the history also holds, for analysis, the curves of what lies half-way between the
        network before training and the one that is validated: ``half_…`` of their weights,
        ``mean_…`` of their predictions.
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
        If the loss stops being finite, a single task does not fit into memory, or a setting needs
        a generator, or another one.

    Notes
    -----
    Where the tasks of a step do not fit into memory together, they go through the network a few
    at a time, and so do the rows to predict: a warning says so, and results change by rounding
    only. On CUDA the network is trained in lower precision (`causalmix.tfm.device.autocast_dtype`);
    weights, loss and validation are in single precision everywhere.
    """
    check_seed(seed)
    if n_estimators is not None:
        check_whole(n_estimators, 1, "n_estimators")
    config = (config or FinetuneConfig()).settled(tfm.network, generator is not None)
    if generator is None or not config.steps:  # then none is fitted
        config = config.without_generator()
    rules = [RULES[check_name(name, RULES, "rule")] for name in (config.rule, *record_rules)]
    needs_synthetic = any(rule.needs_synthetic for rule in rules)
    if needs_synthetic and generator is None:
        raise CausalMixError(
            "The rule 'augmented' in record_rules validates with synthetic rows and needs a "
            "generator; give one, or record other rules."
        )
    run = _Run(
        tfm, generator, config, n_estimators, needs_synthetic, record_test, record_blends, progress
    )
    start = time.perf_counter()
    limit = np.inf if config.time_limit is None else config.time_limit
    others = []
    if any(rule.needs_splits for rule in rules) and config.steps:
        for k in range(1, config.n_splits):
            deadline = start + limit * k / config.n_splits
            others.append(run.on_other_split(split, seed + k, deadline))
    return run.on(split, seed, start + limit, others)


@own_settings()
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
    encoder = encoder_of(tfm, context, check_seed(random_state, "random_state"))
    tfm.network.eval()
    return encoder.predict_proba(tfm.network, encoder.transform(X), context.n_classes)


def encoder_of(
    tfm: FoundationModel, rows: TabularDataset, seed: int, n_estimators: int | None = None
) -> Encoder:
    """Fit the preprocessing of the ensemble's members on labelled rows.

    Parameters
    ----------
    tfm : FoundationModel
    rows : TabularDataset
        The context of all that goes through the encoder.
    seed : int
        Of the members' preprocessing.
    n_estimators : int, optional
        Members; by default as many as the checkpoint asks for.

    Returns
    -------
    Encoder
    """
    codes = codes_of(rows.y)
    return tfm.encoder(rows.X, codes, n_estimators=n_estimators, random_state=seed)


@dataclass(frozen=True)
class _Run:
    """A fine-tuning run that may be repeated on other splits."""

    tfm: FoundationModel
    generator: Generator | None
    config: FinetuneConfig
    n_estimators: int | None
    needs_synthetic: bool
    record_test: bool
    record_blends: bool
    progress: bool

    def on(
        self, split: Split, seed: int, deadline: float, other_runs: Sequence[pd.DataFrame] = ()
    ) -> FinetuneResult:
        train = split.train
        self.tfm.check(train.n_rows + split.val.n_rows, train.n_features, train.n_classes)
        tuned = self.tfm.copy()
        with only(tuned.network, self.config.trained) as parameters:
            # The first one in a process takes seconds to import.
            optimiser = _Optimiser(tuned, parameters, self.config)
            return self._tune(tuned, optimiser, split, seed, deadline, other_runs)

    def _tune(
        self,
        tuned: FoundationModel,
        optimiser: _Optimiser,
        split: Split,
        seed: int,
        deadline: float,
        other_runs: Sequence[pd.DataFrame],
    ) -> FinetuneResult:
        train, config = split.train, self.config
        torch.manual_seed(seed)  # of dropout, in a network that has it
        encoder = encoder_of(tuned, train, seed, self.n_estimators)
        start = time.perf_counter()
        generator = synthetic = None
        left_out: tuple[str, ...] = ()
        if config.steps and (config.mixes or self.needs_synthetic):
            generator = self.generator
        elif config.steps and self.generator:
            left_out = ("No generator was fitted: config has no synthetic rows.",)
        n_members = len(encoder.members)
        if np.isfinite(deadline) and config.steps:
            seconds = max(deadline - start, 1.0)
            encoder, generator, split = self._limited(
                encoder, generator, tuned, split, seconds, seed
            )
        if generator is not None:
            generator, left_out = _fit_and_hear(generator, split.train)
            if self.needs_synthetic:  # other rows than those of the pool
                other_seed = int(np.random.default_rng([seed, 1]).integers(2**31))
                source = generator.detached() if hasattr(generator, "detached") else generator
                synthetic = source.sample(config.n_synthetic_val, other_seed)
        sampler = TaskSampler(encoder, split.train, generator, config, seed)
        seconds = time.perf_counter() - start if generator else 0.0
        test_encoder = None
        if self.record_test:
            test_encoder = encoder_of(tuned, split.context(), seed, self.n_estimators)
        monitor = Monitor(
            tuned,
            encoder,
            split,
            config,
            synthetic,
            other_runs,
            test_encoder,
            before=self.tfm.network.state_dict(),
            record_blends=self.record_blends,
        )
        stopped_by = self._run_steps(optimiser, sampler, monitor, deadline)
        limited = what_was_left_out(
            config,
            sampler.config,
            members=(n_members, len(encoder.members)),
            rows=(train.n_rows, split.train.n_rows),
        )
        left_out = (*limited, *left_out)
        weights = monitor.chosen_weights
        tuned.network.load_state_dict(self.tfm.network.state_dict() if weights is None else weights)
        tuned.network.eval()
        tuned.network.zero_grad()  # gradients are as large as the network
        return FinetuneResult(
            tuned,
            monitor.history,
            monitor.choice,
            seconds,
            stopped_by,
            sampler.config,
            split.train.n_rows,
            left_out,
        )

    def _limited(
        self,
        encoder: Encoder,
        generator: Generator | None,
        tfm: FoundationModel,
        split: Split,
        seconds: float,
        seed: int,
    ) -> tuple[Encoder, Generator | None, Split]:
        """Return fewer members, rows and a quicker generator where validations and a step need it.

        The generator is quicker, and there are fewer members, before there are fewer rows.
        """
        train, n_val = split.train, split.val.n_rows
        n_val += self.config.n_synthetic_val if self.needs_synthetic else 0
        row_seconds = encoder.row_seconds(tfm.network)
        own = seconds * (1.0 if generator is None else 1.0 - GENERATOR_SHARE)
        n_members = affordable_members(
            len(encoder.members), row_seconds * (train.n_rows + n_val), own
        )
        n_train = train.n_rows
        if n_members == 1:
            n_train = affordable_rows(
                n_train, n_val, train.n_classes, row_seconds=row_seconds, seconds=own
            )
        if n_train < train.n_rows:
            train, _ = holdout_split(train, n_train, 1, seed)
            encoder = encoder_of(tfm, train, seed, self.n_estimators)
        if generator is not None:
            validation = n_members * row_seconds * (n_train + n_val)
            generator = limit_time(generator, generator_seconds(seconds, validation))
        return encoder.first(n_members), generator, replace(split, train=train)

    def on_other_split(self, split: Split, seed: int, deadline: float) -> pd.DataFrame:
        """Run all steps on another split of training and validation rows; return the history."""
        rows = split.context()
        train, val = holdout_split(rows, split.train.n_rows, split.val.n_rows, seed)
        # The rule that keeps nothing back: all steps are needed, and no weights.
        whole = replace(self.config, rule="last")
        run = replace(
            self, config=whole, needs_synthetic=False, record_test=False, record_blends=False
        )
        other = replace(split, train=train, val=val)
        return run.on(other, seed, deadline).history

    def _run_steps(
        self, optimiser: _Optimiser, sampler: TaskSampler, monitor: Monitor, deadline: float
    ) -> str:
        """Run the optimiser; return what ended it, as in `FinetuneResult.stopped_by`."""
        config, start = self.config, time.perf_counter()
        monitor.evaluate(0, float("nan"), 0.0)
        now = time.perf_counter()
        last_step_until = deadline - (now - start)  # the last validation is as long
        first_until = last_step_until + GRACE * (config.time_limit or 0.0)
        if config.steps and now > first_until:  # the generator took it all
            return "time_limit"
        if np.isfinite(deadline):
            sampler.config = affordable_tasks(
                config,
                n_rows=sampler.train.n_rows,
                n_classes=sampler.train.n_classes,
                row_seconds=(now - start) / monitor.n_passes,
                seconds=last_step_until - now,
            )
        if config.steps:
            _log.info("fine-tuning")
        losses: list[float] = []
        last = min(config.steps, monitor.last_comparable_step)
        bar = tqdm(range(1, last + 1), desc="fine-tuning", unit="step", disable=not self.progress)
        for step in bar:
            rate = config.learning_rate * min(step / max(config.warmup_steps, 1), 1.0)
            rate *= RATE_SCHEDULES[config.rate_schedule]((step - 1) / config.steps)
            began = time.perf_counter()
            losses.append(optimiser.step(sampler.draw(step), rate))
            if not np.isfinite(losses[-1]):
                raise CausalMixError(
                    f"The training loss became {losses[-1]} at step {step}; lower learning_rate "
                    f"(now {config.learning_rate:g})."
                )
            now = time.perf_counter()
            late = now > last_step_until or 2 * now - began > first_until  # the next is as long
            if step % config.validate_every == 0 or step == last or late:
                mean = float(np.mean(losses))
                val_loss = monitor.evaluate(step, mean, sampler.synthetic_share(step))
                losses.clear()
                bar.set_postfix(val_log_loss=f"{val_loss:.4f}")
                _log.info("step %d of %d: validation log-loss %.4f", step, last, val_loss)
                if step == last:
                    break
                if late:
                    return "time_limit"
                if monitor.choice.stale >= config.patience:
                    return "patience"
        return "steps" if last == config.steps else "time_limit"


def _fit_and_hear(generator: Generator, train: TabularDataset) -> tuple[Generator, tuple[str, ...]]:
    """Fit a generator; return it and what it says it left out to keep its limit of time."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", TimeLimitWarning)
        generator = generator.fit(train.X, train.y)
    for told in heard:
        if not issubclass(told.category, TimeLimitWarning):
            warnings.warn_explicit(told.message, told.category, told.filename, told.lineno)
    kept = (str(each.message) for each in heard if issubclass(each.category, TimeLimitWarning))
    return generator, tuple(kept)


class _Optimiser:
    """AdamW on in-context tasks, in the precision and the portions that the device allows."""

    def __init__(
        self,
        tfm: FoundationModel,
        parameters: list[torch.nn.Parameter],
        config: FinetuneConfig,
    ) -> None:
        self._network, self._clip_norm = tfm.network, config.clip_norm
        self._parameters = parameters
        self._adamw = torch.optim.AdamW(
            self._parameters, weight_decay=config.weight_decay, fused=True
        )
        self._device, self._dtype = tfm.device.type, autocast_dtype(tfm.device)
        self._scaler = torch.amp.GradScaler(self._device, enabled=self._dtype is torch.float16)
        self._portions = Portions(
            "tasks of a step",
            f"One task does not fit into the memory of the device '{tfm.device}' in training. "
            f"Lower rows_per_task (now {config.rows_per_task}), or use another device.",
        )

    def step(self, batches: list[Batch], rate: float) -> float:
        """Take a step on the mean loss of the batches, weighed by tasks; return it (nats)."""
        self._network.train()
        loss = self._portions.run(
            max(batch.n_tasks for batch in batches),
            lambda size: self._set_gradient(batches, size),
        )
        self._scaler.unscale_(self._adamw)
        torch.nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        for group in self._adamw.param_groups:
            group["lr"] = rate
        self._scaler.step(self._adamw)
        self._scaler.update()
        return loss

    def _set_gradient(self, batches: list[Batch], size: int) -> float:
        """Sum the gradient up over `size` tasks at a time."""
        self._adamw.zero_grad()
        n_tasks, total = sum(batch.n_tasks for batch in batches), 0.0
        for whole, part in ((batch, part) for batch in batches for part in batch.split(size)):
            # A part weighs what its queries do in the mean over those of the whole batch.
            share = part.n_counted / max(whole.n_counted, 1)
            with torch.autocast(self._device, dtype=self._dtype, enabled=self._dtype is not None):
                loss = part.loss(self._network) * (whole.n_tasks / n_tasks * share)
            self._scaler.scale(loss).backward()
            total += loss.item()
        return total
