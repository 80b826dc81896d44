"""What a fine-tuning run was worth, in a form to print and to keep."""

from __future__ import annotations

from dataclasses import dataclass

from causalmix.finetune import FinetuneConfig, FinetuneResult


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
        ``log_loss`` (nats) and ``auc`` of the weights before the first step.
    fine_tuned : dict of str to float, or None
        The same of the validated step with the lowest log-loss, kept or not, and that ``step``;
        None without any step.
    best_step : int
        The step whose weights are kept; 0 for zero-shot.
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
    steps: int
    stopped_by: str
    n_train: int
    n_val: int
    seconds: float
    generator_seconds: float

    def __str__(self) -> str:
        """Return the comparison and the reason in a few lines."""
        rows = [("zero-shot", self.zero_shot)]
        if self.fine_tuned:
            rows.append((f"step {self.fine_tuned['step']}", self.fine_tuned))
        lines = [f"Validation ({self.n_val} rows)   log-loss     AUC"]
        lines += [f"{name:<22}{s['log_loss']:>11.4f}{s['auc']:>8.4f}" for name, s in rows]
        return "\n".join([*lines, f"Kept: {self.kept.replace('_', '-')}. {self.reason}"])


def make_report(
    result: FinetuneResult, config: FinetuneConfig, *, n_train: int, n_val: int, seconds: float
) -> FitReport:
    """Compare the weights before the first step with the best ones after it.

    Parameters
    ----------
    result : FinetuneResult
        The run.
    config : FinetuneConfig
        Its settings.
    n_train, n_val : int
        Rows trained on and validated with.
    seconds : float
        Wall-clock time to report.

    Returns
    -------
    FitReport
    """
    curve = result.history.set_index("step")
    scores = curve[["val_log_loss", "val_auc"]].set_axis(["log_loss", "auc"], axis=1)
    later = scores.drop(index=0)
    fine_tuned = None
    if len(later):
        # A ruined network may have no finite loss at any step.
        best = later["log_loss"].fillna(float("inf")).idxmin()
        fine_tuned = {"step": int(best)} | later.loc[best].to_dict()
    zero_shot = scores.loc[0].to_dict()
    steps = int(curve.index[-1])
    verdict = _verdict(zero_shot, fine_tuned, result.best_step, n_val)
    return FitReport(
        kept="fine_tuned" if result.best_step else "zero_shot",
        reason=f"{verdict} {_ending(result.stopped_by, steps, config)}".strip(),
        zero_shot=zero_shot,
        fine_tuned=fine_tuned,
        best_step=result.best_step,
        steps=steps,
        stopped_by=result.stopped_by,
        n_train=n_train,
        n_val=n_val,
        seconds=seconds,
        generator_seconds=result.generator_seconds,
    )


def _verdict(
    zero_shot: dict[str, float], fine_tuned: dict[str, float] | None, best_step: int, n_val: int
) -> str:
    if fine_tuned is None:
        return "No step was taken (steps=0)."
    before, after, step = zero_shot["log_loss"], fine_tuned["log_loss"], fine_tuned["step"]
    if best_step:
        return (
            f"Step {step} lowered the log-loss of {n_val} validation rows from {before:.4f} to "
            f"{after:.4f}."
        )
    return (
        f"No step lowered the log-loss of {n_val} validation rows, {before:.4f} before and "
        f"{after:.4f} at best (step {step}): the weights stay as they were."
    )


def _ending(stopped_by: str, steps: int, config: FinetuneConfig) -> str:
    if stopped_by == "time_limit":
        limit = f"{config.time_limit:g} s"
        return f"Stopped at step {steps} of {config.steps} by the time limit of {limit}."
    if stopped_by == "patience":
        return (
            f"Stopped at step {steps} of {config.steps} after {config.patience} validations "
            "without a better one (patience)."
        )
    return f"All {steps} steps were taken." if steps else ""
