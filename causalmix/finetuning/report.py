"""What a fine-tuning run was worth, in a form to print and to keep."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pandas as pd
from scipy.stats import t as student_t

from causalmix.data.display import as_html
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.run import FinetuneResult
from causalmix.finetuning.stopping import RULES, UNTESTED, synthetic_weight


@dataclass(frozen=True, kw_only=True)
class FitReport:
    """What fine-tuning did, judged on the validation rows with the training rows as context.

    Attributes
    ----------
    kept : {"zero_shot", "fine_tuned"}
        Which weights the classifier predicts with.
    reason : str
        Why, what ended the run, and what the generator left out to keep the limit of time.
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
    gain, gain_error, gain_needed : float or None
        By how much that step lowers log-loss as the rule estimates it (nats), the standard error of
        that, and what it had to exceed; None without any step, the latter also without a test.
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
    gain_error: float | None
    gain_needed: float | None
    synthetic_weight: float | None
    steps: int
    stopped_by: str
    n_train: int
    n_val: int
    seconds: float
    generator_seconds: float

    @property
    def verdict(self) -> str:
        """What fine-tuning was worth, as far as the validation rows tell.

        By `gain_interval`: ``"helped"`` if all of it is above 0 and the fine-tuned weights are
        kept; ``"harmed"`` if all of it is below 0; else ``"no difference found"``, whichever
        weights are kept. ``"not tried"``: no step was taken.
        """
        if self.fine_tuned is None:
            return "not tried"
        low, high = self.gain_interval
        if low > 0 and self.kept == "fine_tuned":
            return "helped"
        return "harmed" if high < 0 else "no difference found"

    @property
    def gain_interval(self) -> tuple[float, float]:
        """95 % interval of `gain` (t, by validation row); NaN without a standard error."""
        if self.gain is None:
            return math.nan, math.nan
        if math.isinf(self.gain):  # of a ruined network
            return self.gain, self.gain
        half = float(student_t.ppf(0.975, max(self.n_val - 1, 1))) * self.gain_error
        return self.gain - half, self.gain + half

    @property
    def measured(self) -> str:
        """The gain and its interval in words; "" without any step."""
        if self.gain is None:
            return ""
        low, high = self.gain_interval
        return f"gain {self.gain:+.4f} [{low:+.4f}, {high:+.4f}] nats"

    def __str__(self) -> str:
        """Return the comparison and the reason in a few lines."""
        lines = [f"Validation ({self.n_val} rows)   log-loss     AUC"]
        lines += [f"{name:<22}{s['log_loss']:>11.4f}{s['auc']:>8.4f}" for name, s in self._rows()]
        return "\n".join([*lines, *self._remarks()])

    def _repr_html_(self) -> str:
        rows = [(name, f"{s['log_loss']:.4f}", f"{s['auc']:.4f}") for name, s in self._rows()]
        table = pd.DataFrame(rows, columns=["weights", "log-loss", "AUC"])
        about = f"on {self.n_val} validation rows, with {self.n_train} training rows as context"
        return as_html("Fine-tuning", about, table, self._remarks())

    def _rows(self) -> list[tuple[str, dict[str, float]]]:
        rows = [("zero-shot", self.zero_shot)]
        if self.fine_tuned:
            rows.append((f"step {self.fine_tuned['step']}", self.fine_tuned))
        return rows

    def _remarks(self) -> list[str]:
        no_auc = "There is no AUC, because all validation rows are of one class."
        kept = self.kept.replace("_", "-")
        measured = f" ({self.measured})" if self.measured else ""
        verdict = f"Verdict: {self.verdict}{measured}. Kept: {kept}. {self.reason}"
        return [no_auc, verdict] if math.isnan(self.zero_shot["auc"]) else [verdict]


def make_report(result: FinetuneResult, *, n_val: int, seconds: float) -> FitReport:
    """Compare the weights before the first step with the best ones after it.

    Parameters
    ----------
    result : FinetuneResult
        The run.
    n_val : int
        Rows validated with.
    seconds : float
        Wall-clock time to report.

    Returns
    -------
    FitReport
    """
    config, choice = result.config, result.choice
    curve = result.history[["step", "val_log_loss", "val_auc"]]
    scores = curve.set_axis(["step", "log_loss", "auc"], axis=1).to_dict("records")
    judged = choice.candidate > 0
    weighs = judged and RULES[config.rule].needs_synthetic
    report = FitReport(
        kept="fine_tuned" if result.best_step else "zero_shot",
        reason="",
        zero_shot={name: scores[0][name] for name in ("log_loss", "auc")},
        fine_tuned=scores[choice.candidate] if judged else None,
        best_step=result.best_step,
        rule=config.rule,
        gain=choice.gain if judged else None,
        gain_error=choice.error if judged else None,
        gain_needed=choice.needed if judged and config.level < UNTESTED else None,
        synthetic_weight=synthetic_weight(result.history) if weighs else None,
        steps=scores[-1]["step"],
        stopped_by=result.stopped_by,
        n_train=result.n_train,
        n_val=n_val,
        seconds=seconds,
        generator_seconds=result.generator_seconds,
    )
    parts = (_verdict(report, config), _ending(report, config), *result.left_out)
    return replace(report, reason=" ".join(filter(None, parts)))


def _verdict(report: FitReport, config: FinetuneConfig) -> str:
    tuned, gain = report.fine_tuned, report.gain
    if tuned is None:
        return "No step was taken." if config.steps else "No step was taken (steps=0)."
    moved = (
        f"Step {tuned['step']} took the log-loss of {report.n_val} validation rows from "
        f"{report.zero_shot['log_loss']:.4f} to {tuned['log_loss']:.4f}"
    )
    if report.synthetic_weight is not None:
        weight = f"{report.synthetic_weight:.0%}"
        moved += f" (a gain of {gain:.4f} with synthetic rows counting {weight})"
    elif config.rule in ("smoothed", "repeated_splits"):
        moved += f" ({RULES[config.rule].label.lower()}: a gain of {gain:.4f})"
    if config.level == UNTESTED:
        return f"{moved}; it is kept untested (level=1)."
    if report.best_step:
        return f"{moved}{', no more than chance explains: it is kept' if gain <= 0 else ''}."
    if gain > 0:
        return (
            f"{moved}, but chance alone may do that: a gain above {report.gain_needed:.4f} was "
            f"needed (level={config.level:g}). The weights stay as they were."
        )
    best = "" if RULES[config.rule].latest else ", the best of all steps"
    return f"{moved}{best}: the weights stay as they were."


def _ending(report: FitReport, config: FinetuneConfig) -> str:
    stopped = f"Stopped at step {report.steps} of {config.steps}"
    if report.stopped_by == "time_limit":
        return f"{stopped} by the time limit of {config.time_limit:g} s."
    if report.stopped_by == "patience":
        return f"{stopped} after {config.patience} validations without a larger gain (patience)."
    return f"All {report.steps} steps were taken." if report.steps else ""
