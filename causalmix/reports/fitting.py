"""From a table to a fitted classifier and what it is worth, in named stages."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from causalmix.atomic import check_writable, make_folder
from causalmix.data.dataset import TabularDataset
from causalmix.errors import CausalMixError, FinetuningWarning, check_range, check_whole
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.estimator import CausalMixClassifier
from causalmix.finetuning.persistence import GENERATOR, check_place
from causalmix.generation.base import Generator
from causalmix.generation.registry import limit_time
from causalmix.reports.drawing import RowSource
from causalmix.reports.folds import BEFORE, GUESS, TUNED, Folds, evaluate_folds, without_steps
from causalmix.reports.given import Graph, Knowledge, freeing_target, read_structure
from causalmix.reports.inspection import Inspection, inspect_table, source_rows
from causalmix.reports.stages import heard

_FITS = 0.3  # share of the time that the fit whose model is kept may take
_HELD_OUT = 0.85  # share after which no fold begins; the rest is the report's

VERDICTS = ("helped", "no difference found", "harmed")

LEAST_FOLDS = 2
"""Held-out folds below which nothing is decided, and the weights stay as they were."""


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
    source : RowSource
        The table as it is written, and the generator.
    seed : int
    seconds : float
        Of it all.
    until : float or None
        When the time is over, by `time.monotonic`.
    undone : CausalMixClassifier or None
        The fine-tuned classifier whose place `classifier` took, if one was undone.
    """

    classifier: CausalMixClassifier
    inspection: Inspection
    table: TabularDataset
    folds: Folds
    source: RowSource
    seed: int
    seconds: float
    until: float | None
    undone: CausalMixClassifier | None = None

    @property
    def tried(self) -> CausalMixClassifier:
        """The classifier that was fine-tuned, used or not."""
        return self.undone or self.classifier

    @property
    def used(self) -> str:
        """What the classifier predicts with: `TUNED` or `BEFORE`."""
        return TUNED if self.classifier.report_.kept == "fine_tuned" else BEFORE

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`, by the 95 % interval of the gain in log-loss.

        ``"helped"``: all of it is above 0; ``"harmed"``: all of it is below; else ``"no difference
        found"``, which is also said of fewer folds than `LEAST_FOLDS`.
        """
        if self.folds.finished < LEAST_FOLDS:
            return "no difference found"
        _, low, high = self.folds.difference()
        return "helped" if low > 0 else "harmed" if high < 0 else "no difference found"

    @cached_property
    def generator(self) -> Generator | None:
        """The generator, fitted on all rows in the time that is left; None where there is none."""
        if self.source.generator is None:
            return None
        generator = self.source.make()
        if self.until is not None:
            generator = limit_time(generator, max(self.until - time.monotonic(), 1.0))
        return generator.fit(self.table.X, self.table.y)

    def sentences(self) -> list[str]:
        """Say what fine-tuning was worth, what is used, and whether a usual classifier would do.

        Returns
        -------
        list of str
        """
        if self.folds.finished:
            return [self._on_fine_tuning(), self._on_the_usual()]
        report = self.tried.report_
        said = f"Fine-tuning: {self.verdict}. "
        if report.gain is not None:
            low, high = report.gain_interval
            moved = _moved(report.gain, low, high)
            said += f"On {report.n_val} validation rows its log-loss is {moved} zero-shot's. "
        else:
            said += "No step was taken. "
        failed = self.folds.failed
        why = "No fold could be held out" if failed else "There was no time for a held-out fold"
        return [f"{said}{why}, which would decide: {self._use()}"]

    def _on_fine_tuning(self) -> str:
        folds = "1 fold" if self.folds.finished == 1 else f"{self.folds.finished} folds"
        where = f"on {len(self.folds.rows)} rows held out in {folds}"
        if self.folds.finished < self.folds.asked:
            which = "without which the others could be fitted" if self.folds.failed else ""
            where += f" of {self.folds.asked}, {which or 'for which there was time'}"
        where += ". One fold decides nothing: " if self.folds.finished < LEAST_FOLDS else "; "
        return (
            f"Fine-tuning: {self.verdict}. Its log-loss is {_moved(*self.folds.difference())} "
            f"zero-shot's, {where}{self._use()}"
        )

    def _use(self) -> str:
        """Say which weights are used, and why that is safe."""
        if self.verdict == "harmed":
            return "the model predicts as without it."
        used = f"the {self.used} model is used."
        if self.folds.finished < LEAST_FOLDS:
            more = "More rows hold" if self.folds.failed else "More time holds"
            return f"{used} {more} more folds out."
        if self.verdict == "helped":
            against = (
                " In the fit on all rows the validation rows were not better predicted; another "
                "--seed draws others."
            )
            return used if self.used == TUNED else used + against
        if self.used == BEFORE:
            return f"{used} Nothing speaks for changing it."
        if self.folds.difference()[0] < 0:
            return f"{used} The held-out rows lean against it, by no more than chance explains."
        return f"{used} Neither the validation rows nor the held-out ones are against it."

    def _on_the_usual(self) -> str:
        scores = self.folds.scores()["log_loss"]
        usual = scores.drop([TUNED, BEFORE, GUESS])
        best = usual.idxmin()
        if min(scores[self.used], usual[best]) >= scores[GUESS]:
            return (
                "Nothing here is better than guessing by the shares of the classes: the columns "
                "say too little of the class, or the rows are too few."
            )
        if usual[best] >= scores[GUESS]:
            return "The usual classifiers are no better than guessing by the shares of the classes."
        value, low, high = self.folds.difference(self.used, best)
        moved = f"its log-loss is {_moved(-value, -high, -low)} that of the model"
        if self.folds.finished < LEAST_FOLDS:
            return f"Of the usual classifiers {best} is the best there: {moved}."
        if low > 0:
            return f"The usual classifiers are worse; of the best of them, {best}, {moved}."
        if high < 0:
            return f"{best} is better: {moved}. Use that."
        return f"{best} does about as well: {moved}. The simpler one will do."

    def __str__(self) -> str:
        lines = []
        if self.folds.finished:
            for name, row in self.folds.scores().iterrows():
                parts = (f"{key} {row[key]:.4f}" for key in ("log_loss", "auc", "accuracy"))
                lines.append(f"{name:<22}" + "  ".join(parts))
        return "\n".join([*lines, *self.sentences()])


def _moved(gain: float, low: float, high: float) -> str:
    """Say by how much a log-loss moved, with a 95 % interval, before what it is held against."""
    if gain == low == high == 0:
        return "the same as"
    side = "lower" if gain > 0 else "higher"
    return f"{side} by {abs(gain):.4f} nats (gain {gain:+.4f} [{low:+.4f}, {high:+.4f}]) than"


@contextmanager
def keeping(model: str | Path | None, report: Callable[[str], object], what: str) -> Iterator[None]:
    """Say what is kept where a user interrupts what follows the fit.

    Parameters
    ----------
    model : str or Path or None
        The folder that was written, if one was.
    report : callable
        Takes a line.
    what : str
        What is lost.
    """
    try:
        yield
    except KeyboardInterrupt:
        if model is not None:
            report(f"stopped: the model in {model} is kept and predicts; it lacks {what}")
        raise


def fit_table(
    table: str | Path | pd.DataFrame,
    target: str | None = None,
    *,
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    date: Sequence[str] = (),
    drop: Sequence[str] = (),
    generator: str | None = "causal",
    generator_options: Mapping[str, Any] | None = None,
    graph: Graph | None = None,
    knowledge: Knowledge | None = None,
    config: FinetuneConfig | Mapping[str, Any] | None = None,
    tfm: str | Path = "embedded",
    n_folds: int = 5,
    time_limit: float | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    keep_generator: bool = False,
    report: Callable[[str], object] = lambda line: None,
) -> TableFit:
    """Read a table, fine-tune on it, and hold out folds to say what that is worth.

    Parameters
    ----------
    table, target, categorical, numeric, date, drop
        As :func:`causalmix.reports.inspection.inspect_table` takes them; a target there must be.
    generator, generator_options, config, tfm
        Of :class:`causalmix.finetuning.estimator.CausalMixClassifier`.
    graph, knowledge
        As :func:`causalmix.reports.given.read_structure` takes them. Knowledge of effects of the
        target makes it a node like the others (`causalmix.reports.given.freeing_target`).
    n_folds : int, default=5
        Held out at most.
    time_limit : float, optional
        Seconds for all of it. The fit gets a part, folds are held out while there is time, and the
        report makes do with the rest. What is under way is not interrupted.
    seed : int, default=0
        Of splits, generator, steps and ensemble.
    out : str or Path, optional
        Folder to save the classifier in: after the fit, before folds are held out, so that an
        interrupt then loses nothing of it. Where the folds say that fine-tuning did harm, or are
        fewer than `LEAST_FOLDS`, the model without it takes its place.
    keep_generator : bool, default=False
        Whether the folder also gets what
        :func:`causalmix.reports.drawing.generate_table` needs to draw rows from it: the used
        columns of the table as they are written, and the generator's settings.
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
    if time_limit is not None:
        check_range(time_limit, "(0, inf)", "time_limit")
    check_whole(n_folds, 2, "n_folds")
    if keep_generator and (generator is None or out is None):
        lacking = "generator" if generator is None else "folder (out)"
        raise CausalMixError(f"keep_generator is asked for, but there is no {lacking}: name one.")
    if out is not None:
        _check_place(Path(out))
    report("reading the table")
    roles = {"categorical": categorical, "numeric": numeric, "date": date, "drop": drop}
    inspection = inspect_table(table, target, **roles)
    structure = read_structure(inspection, graph, knowledge)
    freed = freeing_target(inspection, structure, generator, report)
    generator_options = (freed | dict(generator_options or {})) or None
    source = RowSource.of(
        table,
        inspection,
        categorical=categorical,
        generator=generator,
        options=dict(generator_options or {}) | structure,
        seed=seed,
    )
    _, X, y, roles = source_rows(table, inspection, categorical)
    for line in inspection.warnings:
        report(f"to look at: {line}")
    classifier = CausalMixClassifier(
        tfm=tfm,
        generator=generator,
        generator_options=generator_options,
        **structure,
        columns=roles,
        config=config,
        time_limit=None if time_limit is None else _FITS * time_limit,
        random_state=seed,
    )
    made = f", and synthetic ones ({generator})" if generator else ""
    report(f"{len(X)} rows to fine-tune on{made}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FinetuningWarning)  # the verdict says it
        warnings.filterwarnings("ignore", category=UserWarning)  # the inspection has said it
        with heard(report):
            classifier.fit(X, y.astype(str))

        def save(fitted: CausalMixClassifier) -> None:
            if out is not None:
                _save(fitted, source if keep_generator else None, Path(out))

        save(classifier)
        if out is not None:
            report(f"the model is in {out}; Ctrl-C keeps it. Next: what it is worth")
        ends = None if time_limit is None else started + _HELD_OUT * time_limit
        with keeping(out, report, "held-out folds and the report"):
            folds = evaluate_folds(
                classifier, X, y, n_folds=n_folds, until=ends, seed=seed, report=report
            )
            context = classifier.context_.X
            dates = tuple(c for c in context if inspection.diagnoses[c].kind == "date")
            found = TableFit(
                classifier,
                inspection,
                TabularDataset(inspection.name, context, y, "given to fit", dates=dates),
                folds,
                source,
                seed,
                time.monotonic() - started,
                None if time_limit is None else started + time_limit,
            )
            if reason := _why_undone(found):
                report(f"{reason}: fitting without fine-tuning")
                before = without_steps(classifier).fit(X, y.astype(str))
                seconds = time.monotonic() - started
                found = replace(found, classifier=before, undone=classifier, seconds=seconds)
                save(found.classifier)
    return found


def _why_undone(found: TableFit) -> str:
    """Say why fine-tuned weights are not to be used; empty where they are, or are not in use."""
    folds = found.folds
    if found.used != TUNED:
        return ""
    if folds.finished < LEAST_FOLDS:
        return f"only {folds.finished} of {folds.asked} folds"
    return "it does harm" if found.verdict == "harmed" else ""


def _check_place(out: Path) -> None:
    """Raise unless a model folder can be written, which is made beside it and renamed."""
    for folder in (out, out.absolute().parent):
        check_writable(folder, folder=True)
    if out.exists():
        check_place(out)


def _save(classifier: CausalMixClassifier, source: RowSource | None, folder: Path) -> None:
    """Write a model folder, with the generator's table if it is to be kept."""
    make_folder(folder.absolute().parent)
    classifier.save(folder)
    if source is not None:
        source.save(folder / GENERATOR)
