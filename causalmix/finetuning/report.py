"""What a fine-tuning run was worth, in a form to print and to keep."""

from __future__ import annotations

import math
from dataclasses import dataclass

from causalmix.finetuning.run import FinetuneConfig, FinetuneResult
from causalmix.finetuning.stopping import RULES, UNTESTED, synthetic_weight


@dataclass(frozen=True, kw_only=True)
class FitReport:
    """What fine-tuning did, judged on the validation rows with the training rows as context.

    Attributes
    ----------
    kept : {"zero_shot", "fine_tuned"}
        Which weights the classifier predicts with.
    reason : str
        Why, and what ended the run.
    zero_shot : dict of str to float
        ``log_loss`` (nats) and ``auc`` of the weights before the first step; the latter NaN where
        all validation rows are of one class.
    fine_tuned : dict of str to float, or None
        The same of the step that the rule would rather keep than any other after the first, kept
        or not, and that ``step``; None without any step.
    best_step : int
        The step whose weights are kept; 0 for zero-shot.
    rule : str
        What chose the step: a key of `causalmix.finetuning.stopping.RULES`.
    gain, gain_needed : float or None
        By how much that step lowers log-loss as the rule estimates it (nats), and what it had to
        exceed; None without any step, the latter also without a test.
    synthetic_weight : float or None
        Weight that synthetic validation rows had in that estimate; None where there are none.
    steps : int
        Optimiser steps taken.
    stopped_by : {"steps", "patience", "time_limit"}
        Which setting ended the run.
    n_train, n_val : int
        Rows trained on and validated with.
    seconds, generator_seconds : float
        Wall-clock time of the whole fit, and of fitting the generator and drawing its rows.
    """

    kept: str
    reason: str
    zero_shot: dict[str, float]
    fine_tuned: dict[str, float] | None
    best_step: int
    rule: str
    gain: float | None
    gain_needed: float | None
    synthetic_weight: float | None
    steps: int
    stopped_by: str
    n_train: int
    n_val: int
    seconds: float
    generator_seconds: float

    @property
    def helped(self) -> bool:
        """Whether the kept weights have a lower log-loss on the validation rows than zero-shot."""
        return (
            self.kept == "fine_tuned" and self.fine_tuned["log_loss"] < self.zero_shot["log_loss"]
        )

    def __str__(self) -> str:
        """Return the comparison and the reason in a few lines."""
        rows = [("zero-shot", self.zero_shot)]
        if self.fine_tuned:
            rows.append((f"step {self.fine_tuned['step']}", self.fine_tuned))
        lines = [f"Validation ({self.n_val} rows)   log-loss     AUC"]
        lines += [f"{name:<22}{s['log_loss']:>11.4f}{s['auc']:>8.4f}" for name, s in rows]
        if math.isnan(self.zero_shot["auc"]):
            lines.append("There is no AUC, because all validation rows are of one class.")
        return "\n".join([*lines, f"Kept: {self.kept.replace('_', '-')}. {self.reason}"])


def make_report(result: FinetuneResult, *, n_train: int, n_val: int, seconds: float) -> FitReport:
    """Compare the weights before the first step with the best ones after it.

    Parameters
    ----------
    result : FinetuneResult
        The run.
    n_train, n_val : int
        Rows trained on and validated with.
    seconds : float
        Wall-clock time to report.

    Returns
    -------
    FitReport
    """
    config = result.config
    curve = result.history[["step", "val_log_loss", "val_auc"]]
    curve = curve.set_axis(["step", "log_loss", "auc"], axis=1)
    zero_shot = curve.loc[0, ["log_loss", "auc"]].to_dict()
    fine_tuned = None
    if result.choice.candidate:
        fine_tuned = curve.loc[result.choice.candidate].to_dict()
        fine_tuned["step"] = int(fine_tuned["step"])
    rule, steps = RULES[config.rule], int(curve["step"].iloc[-1])
    judged = fine_tuned is not None
    weight = synthetic_weight(result.history) if judged and rule.needs_synthetic else None
    verdict = _verdict(result, config, zero_shot, fine_tuned, weight, n_val)
    return FitReport(
        kept="fine_tuned" if result.best_step else "zero_shot",
        reason=f"{verdict} {_ending(result.stopped_by, steps, config)}".strip(),
        zero_shot=zero_shot,
        fine_tuned=fine_tuned,
        best_step=result.best_step,
        rule=config.rule,
        gain=result.choice.gain if judged else None,
        gain_needed=result.choice.needed if judged and config.level < UNTESTED else None,
        synthetic_weight=weight,
        steps=steps,
        stopped_by=result.stopped_by,
        n_train=n_train,
        n_val=n_val,
        seconds=seconds,
        generator_seconds=result.generator_seconds,
    )


def _verdict(
    result: FinetuneResult,
    config: FinetuneConfig,
    zero_shot: dict[str, float],
    fine_tuned: dict[str, float] | None,
    weight: float | None,
    n_val: int,
) -> str:
    if fine_tuned is None:
        return "No step was taken (steps=0)." if not config.steps else "No step was taken."
    rule, step = RULES[config.rule], fine_tuned["step"]
    moved = (
        f"Step {step} took the log-loss of {n_val} validation rows from "
        f"{zero_shot['log_loss']:.4f} to {fine_tuned['log_loss']:.4f}"
    )
    gain, needed = result.choice.gain, result.choice.needed
    if weight is not None:
        moved += f" (a gain of {gain:.4f} with synthetic rows counting {weight:.0%})"
    elif config.rule in ("smoothed", "repeated_splits"):
        moved += f" ({rule.label.lower()}: a gain of {gain:.4f})"
    if config.level == UNTESTED:
        return f"{moved}; it is kept untested (level=1)."
    if result.best_step:
        unsure = gain <= 0
        return f"{moved}{', no more than chance explains: it is kept' if unsure else ''}."
    if gain > 0:
        return (
            f"{moved}, but chance alone may do that: a gain above {needed:.4f} was needed "
            f"(level={config.level:g}). The weights stay as they were."
        )
    if rule.latest:
        return f"{moved}: the weights stay as they were."
    return f"{moved}, the best of all steps: the weights stay as they were."


def _ending(stopped_by: str, steps: int, config: FinetuneConfig) -> str:
    if stopped_by == "time_limit":
        limit = f"{config.time_limit:g} s"
        return f"Stopped at step {steps} of {config.steps} by the time limit of {limit}."
    if stopped_by == "patience":
        return (
            f"Stopped at step {steps} of {config.steps} after {config.patience} validations "
            "without a larger gain (patience)."
        )
    return f"All {steps} steps were taken." if steps else ""
