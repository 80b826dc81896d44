"""Settings of a fine-tuning run, checked where they are made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from causalmix.errors import CausalMixError, check_name, check_types
from causalmix.finetuning.parts import PARTS, parameters_of
from causalmix.finetuning.stopping import EVEN, RULES

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "decaying": lambda progress: 1.0 - progress,
    "synthetic_first": lambda progress: float(progress < 0.5),
}
"""What the synthetic shares are multiplied with, by progress through the steps from 0 to 1."""

RATE_SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "cosine": lambda progress: 0.5 + 0.5 * math.cos(math.pi * progress),
}
"""What the learning rate is multiplied with, by progress through the steps from 0 to 1."""

MIXED_ROWS: dict[str, object] = {
    "synthetic_share": 0.5,
    "synthetic_tasks": 0.0,
    "rehearsal": 0.0,
}
"""Settings of the paper's way of mixing: real and synthetic rows within every task."""

RATES = {"all": 3e-5, "columns": 1e-4, "vectors": 1e-3}
"""Learning rates by the part that moves: those tried on the tuning tables."""

# By what a setting must do: the check of a value that is not None, and the settings.
_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "be at least 1": (
        lambda value: value >= 1,
        "tasks_per_step rows_per_task n_synthetic validate_every patience",
    ),
    "be at least 2": (lambda value: value >= 2, "n_splits n_synthetic_val"),
    "be positive": (lambda value: value > 0, "learning_rate clip_norm time_limit"),
    "not be negative": (lambda value: value >= 0, "steps warmup_steps weight_decay"),
    "lie in (0, 1)": (lambda value: 0 < value < 1, "query_share"),
    f"lie in (0, 1], of which {EVEN} keeps any gain": (lambda value: 0 < value <= 1, "level"),
    "lie in (0, 1]": (lambda value: 0 < value <= 1, "weight_share"),
    "lie in [0, 1]": (
        lambda value: 0 <= value <= 1,
        "synthetic_share synthetic_query_share synthetic_tasks rehearsal",
    ),
}


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Settings of a fine-tuning run.

    Half of the tasks are of the table's own rows; a quarter is of a generator's rows, and a quarter
    of the prior that the model was pre-trained on, which gives half of them where there is no
    generator. Only the stages that read columns move, and the last step is kept unless the
    validation rows are against it. These defaults were chosen on ten tuning tables:
    `causalmix.benchmarks.candidates.describe_default` says what they are worth there. `MIXED_ROWS`
    has the paper's way of mixing.

    Parameters
    ----------
    steps : int, default=40
        Optimiser steps at most; with 0 the weights passed in are validated and kept.
    learning_rate : float, optional
        Of AdamW, after warm-up; by default that of `RATES` for the part that moves.
    weight_decay : float, default=0.01
        Of AdamW, decoupled.
    warmup_steps : int, default=0
        Steps over which the rate rises linearly; the first already moves the weights.
    clip_norm : float, default=1.0
        Largest L2 norm of the gradient of a step.
    rate_schedule : {"constant", "cosine"}, default="constant"
        What the rate, in warm-up too, is multiplied with: 1, or half a cosine over all steps, which
        falls from 1 at the first and would be 0 at the one after the last.
    trained : {"all", "columns", "vectors"}, optional
        Which parameters move: see `causalmix.finetuning.parts.PARTS`. By default ``"columns"``, or
        ``"all"`` of an architecture that has no such part.
    weight_share : float, default=1.0
        How far the weights that are validated and kept lie on the straight line from those passed
        in to the trained ones, in (0, 1] (Wortsman et al., "Robust fine-tuning of zero-shot
        models", CVPR 2022).
    tasks_per_step : int, default=2
        In-context tasks whose loss is averaged in a step.
    rows_per_task : int, default=512
        Rows (context and query, real and synthetic) of a task at most. A context as large as that
        of predictions is worth its time.
    query_share : float, default=0.3
        Share of a task's rows that are queries, in (0, 1).
    synthetic_share : float, default=0.0
        Share of the context that is synthetic where there is a generator, in [0, 1]; a real row of
        each class stays in any case.
    synthetic_query_share : float, optional
        The same of the queries; by default as of the context.
    synthetic_tasks : float, default=0.25
        Share of the tasks, on average over steps, whose rows are all synthetic; where a generator
        has several causal models, all from one of them. They have as many rows as each model has in
        the pool, and as there are training rows, at most.
    rehearsal : float, optional
        Share of the tasks, on average over steps, that come from the prior that the embedded model
        was pre-trained on, with as many rows as there are training rows, and no more columns. By
        default what whole synthetic tasks leave of one half: a quarter with a generator, a half
        without.
    schedule : {"constant", "decaying", "synthetic_first"}, default="constant"
        How the shares of synthetic rows and tasks, not `rehearsal`, go over the steps: as they
        are, falling linearly to nothing, or as they are in the first half and none in the second.
    n_synthetic : int, default=1000
        Size of the pool of synthetic rows.
    fresh_rows : bool, default=False
        Whether every step draws a new pool, rather than all steps sharing one.
    validate_every : int, default=8
        Steps between two validations.
    patience : int, default=12
        Validations in a row without a larger gain, as the rule estimates it, after which the run
        stops; the rule ``"last"`` does not ask. The default lets a run of the default length go to
        its end; the recorded runs, judged with less patience, gain less.
    rule : {"log_loss", "smoothed", "repeated_splits", "augmented", "last"}, default="last"
        How the weights to keep are chosen: see `causalmix.finetuning.stopping.RULES`. Without a
        generator ``"augmented"`` is ``"log_loss"``.
    level : float, default=0.5
        Level of the test between that step and step 0, in (0, 1]: small ones keep the weights as
        they were unless the gain is certain, large ones keep the tuned weights unless harm is, 0.5
        goes by the sign of the gain and 1 tests nothing. See
        `causalmix.finetuning.stopping.choose`.
    n_synthetic_val : int, default=300
        Synthetic validation rows of the rule ``"augmented"``, 2 or more.
    n_splits : int, default=3
        Splits of the rule ``"repeated_splits"``; the time grows in proportion.
    time_limit : float, optional
        Seconds from the start of the run, generator included; the step that exceeds them is
        validated and the last. A causal generator gets 40% of them at most and makes do with less
        work; others are not interrupted. Where time is short there are fewer ensemble members,
        fewer tasks a step, and smaller ones; the first step may begin up to a fifth of the limit
        late. Where a generator took even that, no step is made. None means no limit; only then is
        a run reproducible.
    """

    steps: int = 40
    learning_rate: float | None = None
    weight_decay: float = 0.01
    warmup_steps: int = 0
    clip_norm: float = 1.0
    rate_schedule: str = "constant"
    trained: str | None = None
    weight_share: float = 1.0
    tasks_per_step: int = 2
    rows_per_task: int = 512
    query_share: float = 0.3
    synthetic_share: float = 0.0
    synthetic_query_share: float | None = None
    synthetic_tasks: float = 0.25
    rehearsal: float | None = None
    schedule: str = "constant"
    n_synthetic: int = 1000
    fresh_rows: bool = False
    validate_every: int = 8
    patience: int = 12
    rule: str = "last"
    level: float = EVEN
    n_synthetic_val: int = 300
    n_splits: int = 3
    time_limit: float | None = None

    def __post_init__(self) -> None:
        check_types(self)
        for wanted, (holds, names) in _RANGES.items():
            for name in names.split():
                value = getattr(self, name)
                if value is not None and not holds(value):
                    raise CausalMixError(f"{name} must {wanted}, got {value}.")
        if self.synthetic_tasks + (self.rehearsal or 0.0) > 1:
            raise CausalMixError(
                f"synthetic_tasks={self.synthetic_tasks} and rehearsal={self.rehearsal} are shares "
                "of the same tasks; their sum must be 1 at most."
            )
        check_name(self.schedule, SCHEDULES, "schedule")
        check_name(self.rate_schedule, RATE_SCHEDULES, "rate_schedule")
        if self.trained is not None:
            check_name(self.trained, PARTS, "part of the network")
        check_name(self.rule, RULES, "rule")

    @property
    def share_in_query(self) -> float:
        """Share of the queries that is synthetic."""
        share = self.synthetic_query_share
        return self.synthetic_share if share is None else share

    def settled(self, network: torch.nn.Module, generates: bool) -> FinetuneConfig:
        """Return the settings with values for those that go by the network and the generator.

        Parameters
        ----------
        network : torch.nn.Module
        generates : bool
            Whether there is a generator.

        Returns
        -------
        FinetuneConfig
        """
        rehearsal = self.rehearsal
        if rehearsal is None:
            rehearsal = max(0.5 - (self.synthetic_tasks if generates else 0.0), 0.0)
        part = self.trained or ("columns" if parameters_of(network, "columns") else "all")
        rate = RATES[part] if self.learning_rate is None else self.learning_rate
        return replace(self, trained=part, learning_rate=rate, rehearsal=rehearsal)

    def without_generator(self) -> FinetuneConfig:
        """Return the settings of a run without generator: what ``"augmented"`` is then left with.

        Returns
        -------
        FinetuneConfig
            With the rule ``"log_loss"`` in the place of ``"augmented"``, else the same.
        """
        return replace(self, rule="log_loss") if RULES[self.rule].needs_synthetic else self

    @property
    def mixes(self) -> bool:
        """Whether synthetic rows are trained on at all, where there is a generator."""
        return max(self.synthetic_share, self.share_in_query, self.synthetic_tasks) > 0

    @property
    def uses_synthetic(self) -> bool:
        """Whether synthetic rows are trained on or validated with."""
        return self.mixes or RULES[self.rule].needs_synthetic
