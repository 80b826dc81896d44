"""From a table to a fitted classifier and what it is worth, in named stages."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from causalmix.data.dataset import TabularDataset
from causalmix.errors import CausalMixError, FinetuningWarning
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.estimator import CausalMixClassifier
from causalmix.reports.folds import BEFORE, TUNED, Folds, evaluate_folds, without_steps
from causalmix.reports.inspection import Inspection, inspect_table, source_rows

_FITS = 0.3  # share of the time that the fit whose model is kept may take
_HELD_OUT = 0.85  # share after which no fold begins; the rest is the report's

VERDICTS = ("helped", "no difference found", "harmed")


@dataclass(frozen=True, eq=False)
class TableFit:
    """A classifier fitted on a table, and what is known of it.

    Attributes
    ----------
    classifier : CausalMixClassifier
        Predicts as it did before fine-tuning where that did harm.
    inspection : Inspection
        How the table was read.
    table : TabularDataset
        All rows that have a class, as they were read.
    folds : Folds
        Predictions of rows that were held out.
    seed : int
    seconds : float
        Of it all.
    until : float or None
        When the time is over, by `time.monotonic`.
    """

    classifier: CausalMixClassifier
    inspection: Inspection
    table: TabularDataset
    folds: Folds
    seed: int
    seconds: float
    until: float | None

    @property
    def used(self) -> str:
        """What the classifier predicts with: `TUNED` or `BEFORE`."""
        return TUNED if self.classifier.report_.kept == "fine_tuned" else BEFORE

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`: by held-out folds; by the validation rows where no fold was held out.

        ``"not tried"`` where no step was taken.
        """
        if not self.folds.finished:
            return self.classifier.report_.verdict
        _, low, high = self.folds.difference()
        return "helped" if low > 0 else "harmed" if high < 0 else "no difference found"

    def sentences(self) -> list[str]:
        """Say what fine-tuning was worth, what is used, and whether a usual classifier would do.

        Returns
        -------
        list of str
        """
        if not self.folds.finished:
            return [
                f"Fine-tuning: {self.verdict}, by {self.classifier.report_.n_val} validation rows "
                f"alone; there was no time for a held-out fold. The {self.used} model is used.",
            ]
        return [self._on_fine_tuning(), self._on_the_usual()]

    def _on_fine_tuning(self) -> str:
        value, low, high = self.folds.difference()
        side = "lower" if value > 0 else "higher"
        measured = f"{side} by {abs(value):.4f} nats (gain {value:+.4f} [{low:+.4f}, {high:+.4f}])"
        where = f"on {len(self.folds.rows)} rows held out in {self.folds.finished} folds"
        if self.folds.finished < self.folds.asked:
            where += f" of {self.folds.asked}, for which there was time"
        why = {
            "helped": "the fine-tuned model is used.",
            "harmed": "the model predicts as without it.",
            "no difference found": f"the {self.used} model is used. {self._why()}",
        }[self.verdict]
        return (
            f"Fine-tuning: {self.verdict}. Its log-loss is {measured} than zero-shot's, {where}; "
            f"{why}"
        )

    def _why(self) -> str:
        if self.used == BEFORE:
            return "Nothing speaks for changing it."
        return "Neither the validation rows nor the held-out ones are against it."

    def _on_the_usual(self) -> str:
        scores = self.folds.scores()["log_loss"]
        best = scores.drop([TUNED, BEFORE]).idxmin()
        value, low, high = self.folds.difference(self.used, best)
        measured = f"{abs(value):.4f} nats [{min(low, high):+.4f}, {max(low, high):+.4f}]"
        if low > 0:
            return f"It is better than the best of the usual classifiers, {best}, by {measured}."
        if high < 0:
            return f"{best} is better by {measured}: use that."
        return f"{best} does about as well (a difference of {measured}): the simpler one will do."

    def __str__(self) -> str:
        lines = []
        if self.folds.finished:
            for name, row in self.folds.scores().iterrows():
                parts = (f"{key} {row[key]:.4f}" for key in ("log_loss", "auc", "accuracy"))
                lines.append(f"{name:<22}" + "  ".join(parts))
        return "\n".join([*lines, *self.sentences()])


def fit_table(
    table: str | Path | pd.DataFrame,
    target: str | None = None,
    *,
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    drop: Sequence[str] = (),
    generator: str | None = "causal",
    generator_options: Mapping[str, Any] | None = None,
    config: FinetuneConfig | Mapping[str, Any] | None = None,
    tfm: str | Path = "embedded",
    n_folds: int = 5,
    time_limit: float | None = None,
    seed: int = 0,
    report: Callable[[str], object] = lambda line: None,
) -> TableFit:
    """Read a table, fine-tune on it, and hold out folds to say what that is worth.

    Parameters
    ----------
    table, target, categorical, numeric, drop
        As :func:`causalmix.reports.inspection.inspect_table` takes them; a target there must be.
    generator, generator_options, config, tfm
        Of :class:`causalmix.finetuning.estimator.CausalMixClassifier`.
    n_folds : int, default=5
        Held out at most.
    time_limit : float, optional
        Seconds for all of it. The fit gets a part, folds are held out while there is time, and the
        report makes do with the rest. What is under way is not interrupted.
    seed : int, default=0
        Of splits, generator, steps and ensemble.
    report : callable, optional
        Takes a line as each stage begins or ends.

    Returns
    -------
    TableFit

    Raises
    ------
    CausalMixError
        If the table cannot be used, or a parameter makes no sense; says what to do.
    """
    started = time.monotonic()
    if time_limit is not None and not time_limit > 0:
        raise CausalMixError(f"time_limit must be positive, got {time_limit}.")
    report("reading the table")
    inspection = inspect_table(table, target, categorical=categorical, numeric=numeric, drop=drop)
    _, X, y, roles = source_rows(table, inspection, categorical)
    for line in inspection.warnings:
        report(f"to look at: {line}")
    classifier = CausalMixClassifier(
        tfm=tfm,
        generator=generator,
        generator_options=generator_options,
        columns=roles,
        config=config,
        time_limit=None if time_limit is None else _FITS * time_limit,
        random_state=seed,
    )
    report(f"fitting on {len(X)} rows" + (" and the generator's" if generator else ""))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FinetuningWarning)  # the verdict says it
        warnings.filterwarnings("ignore", category=UserWarning)  # the inspection has said it
        classifier.fit(X, y.astype(str))
        ends = None if time_limit is None else started + _HELD_OUT * time_limit
        folds = evaluate_folds(
            classifier, X, y, n_folds=n_folds, until=ends, seed=seed, report=report
        )
        found = TableFit(
            classifier,
            inspection,
            TabularDataset(inspection.name, classifier.context_.X, y, "given to fit"),
            folds,
            seed,
            time.monotonic() - started,
            None if time_limit is None else started + time_limit,
        )
        if found.verdict == "harmed" and found.used == TUNED:
            report("fine-tuning does harm: fitting without it")
            found = replace(found, classifier=without_steps(classifier).fit(X, y.astype(str)))
    return found
