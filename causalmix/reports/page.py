"""The report of a fit: one HTML file that needs nothing else."""

from __future__ import annotations

import io
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from causalmix.atomic import replace_file
from causalmix.discovery.bootstrap import discover
from causalmix.finetuning.estimator import CausalMixClassifier
from causalmix.finetuning.metrics import N_BINS, reliability, row_losses
from causalmix.finetuning.stopping import RULES
from causalmix.manifest import package_versions
from causalmix.plots.rows import plot_marginals
from causalmix.plots.style import REAL_COLOUR, label, plot_graph
from causalmix.reports.fitting import TableFit
from causalmix.reports.folds import BEFORE, TUNED

N_SYNTHETIC = 500
"""Synthetic rows that are drawn beside the real ones."""

_REPEATS, _MOST_ROWS = 3, 200  # permutations of a column, and rows that they are of
_MOST_NODES = 40  # of a graph that can be read
_MOST_SHOWN = 12  # columns of rows


class _Part(NamedTuple):
    title: str
    caption: str
    alt: str
    svg: Markup


def write_report(
    fit: TableFit,
    out: str | Path,
    *,
    report: Callable[[str], object] = lambda line: None,
) -> Path:
    """Write what is known of a fit to a self-contained HTML file.

    Parameters
    ----------
    fit : TableFit
    out : str or Path
        The file.
    report : callable, optional
        Takes a line as each part begins.

    Returns
    -------
    Path

    Raises
    ------
    CausalMixError
        If the file cannot be written.
    """
    inspection, folds, left_out = fit.inspection, fit.folds, []
    figures = []
    for title, draw in _PARTS.items():
        if fit.until is not None and time.monotonic() > fit.until:
            left_out.append(f"{title}: the time was over.")
            continue
        report(f"drawing: {title.lower()}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = draw(fit)
        if isinstance(found, str):
            left_out.append(f"{title}: {found}")
        elif found is not None:
            figure, caption = found
            figures.append(_Part(title, caption, f"{title}. {caption}", _svg(figure)))
    target = inspection.columns.loc[inspection.columns["use"] == "target", "column"].item()
    finished = f"{folds.finished} of {folds.asked} folds" if folds.finished else ""
    page = _TEMPLATE.render(
        name=inspection.name,
        sentences=fit.sentences(),
        size=f"{inspection.n_rows} rows, {len(inspection.columns)} columns.",
        target=target,
        classes=", ".join(f"{name}: {n}" for name, n in inspection.classes.items()),
        said=[
            (title, lines)
            for title, lines in (
                ("How it is read", inspection.notes),
                ("To look at", inspection.warnings),
            )
            if lines
        ],
        columns=_table(inspection.shown()),
        folds=f"{finished} ({len(folds.rows)} rows)",
        scores=_table(_scores(fit)) if finished else "",
        figures=figures,
        left_out=left_out,
        made=_table(_made(fit)),
    )
    path = Path(out)
    replace_file(path, lambda file: file.write_text(page, encoding="utf-8"))
    return path


_TEMPLATE = Environment(
    loader=PackageLoader("causalmix.reports", "."), autoescape=True, undefined=StrictUndefined
).get_template("report.html")


def _table(frame: pd.DataFrame) -> Markup:
    return Markup(frame.to_html(index=False, escape=True, border=0))


def _scores(fit: TableFit) -> pd.DataFrame:
    rows = []
    for name, row in fit.folds.scores().iterrows():
        cells = (
            f"{row[key]:.3f} [{row[f'{key}_low']:.3f}, {row[f'{key}_high']:.3f}]"
            for key in ("log_loss", "auc", "accuracy")
        )
        rows.append((name, *cells))
    return pd.DataFrame(rows, columns=["", "log-loss", "ROC-AUC", "accuracy"])


def _made(fit: TableFit) -> pd.DataFrame:
    classifier, report = fit.classifier, fit.classifier.report_
    changed = {
        name: value
        for name, value in classifier.get_params(deep=False).items()
        if value is not None and name not in ("columns", "progress", "device")
    }
    rows = [
        *((name, str(value)) for name, value in changed.items()),
        ("rows to train, to validate", f"{report.n_train}, {report.n_val}"),
        ("steps", f"{report.steps} (ended by: {report.stopped_by})"),
        ("rule", f"{RULES[report.rule].label} (step {report.best_step} is used)"),
        ("rows, content hash", fit.table.content_hash),
        ("weights, content hash", classifier.tfm_.content_hash),
        ("seconds", f"{fit.seconds:.0f}"),
        *((f"version of {name}", version) for name, version in package_versions().items()),
    ]
    return pd.DataFrame(rows, columns=["what", "value"])


def _svg(figure: Figure) -> Markup:
    """Return a figure as SVG that stands in a page; text stays text."""
    file = io.StringIO()
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = file.getvalue()
    return Markup(re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S))


# The figures, each with its caption; a sentence in its place says why there is none -----------


def _curves(fit: TableFit) -> tuple[Figure, str] | str:
    history, report = fit.tried.history_, fit.tried.report_
    if len(history) < 2:
        return "no step was taken."
    gains, errors = RULES[report.rule].estimate(history)
    figure, (ax, other) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    margin = 1.96 * np.nan_to_num(errors)
    ax.errorbar(history["step"], np.where(np.isfinite(gains), gains, np.nan), margin, fmt="o-")
    ax.set(xlabel="step", ylabel="gain in log-loss (nats)")
    other.plot(history["step"], history["val_auc"], "o-")
    other.set(xlabel="step", ylabel="validation ROC-AUC")
    for each, before in ((ax, 0.0), (other, history["val_auc"].iloc[0])):
        each.axhline(before, color=REAL_COLOUR, ls=":", lw=1)
        each.axvline(report.best_step, color="tab:orange", ls="--", lw=1)
    return figure, (
        f"{report.n_val} validation rows, by which was chosen what is kept. Left: the gain since "
        f"step 0 as the rule estimates it ({RULES[report.rule].label.lower()}), with 95% "
        f"intervals. Dotted: before the first step. Dashed: the step that they chose "
        f"({report.best_step}{'; it was undone' if fit.undone else ''})."
    )


def _calibration(fit: TableFit) -> tuple[Figure, str] | str:
    folds = fit.folds
    if not folds.finished:
        return "no fold was held out."
    figure, ax = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
    ax.plot([0, 1], [0, 1], color=REAL_COLOUR, ls=":", lw=1)
    for name in (BEFORE, TUNED):
        found = reliability(folds.y[folds.rows], folds.proba[name][folds.rows])
        rows = np.array([found[f"rows_{k}"] for k in range(N_BINS)])
        points = [[found[f"{what}_{k}"] for k in range(N_BINS)] for what in _AXES]
        error = found["calibration_error"]
        line = ax.plot(*points, "-", label=f"{name} (error {error:.3f})")[0]
        ax.scatter(*points, s=10 + 200 * rows / rows.sum(), color=line.get_color())
    ax.set(xlabel="probability of the most probable class", ylabel="share that is right")
    ax.legend(loc="upper left", frameon=False)
    return figure, (
        "Held-out rows, in ten bins; a dot is as large as its bin. On the dotted line a "
        "probability of 80% is right in 80 of 100 cases."
    )


_AXES = ("confidence", "accuracy")


def _importance(fit: TableFit) -> tuple[Figure, str] | str:
    folds = fit.folds
    if folds.last is None:
        return "no fold was held out."
    X, rows = folds.last_X.iloc[:_MOST_ROWS], folds.last_rows[:_MOST_ROWS]
    begun = time.monotonic()
    folds.last.predict_proba(X)
    took = (time.monotonic() - begun) * X.shape[1] * _REPEATS
    if fit.until is not None and time.monotonic() + took > fit.until:
        return f"it takes about {took:.0f} s, and there was not so much time left."
    labels = np.array(folds.class_names, dtype=object)[folds.y[rows]]
    mean, error = _rises(folds.last, X, labels, fit.seed)
    order = np.argsort(mean)[-20:]
    figure, ax = plt.subplots(figsize=(7, 0.8 + 0.28 * len(order)), layout="constrained")
    names = [label(X.columns[i]) for i in order]
    ax.barh(names, mean[order], xerr=error[order], color="tab:blue")
    ax.set(xlabel="rise of log-loss when the column is shuffled (nats)")
    return figure, (
        f"On {len(X)} held-out rows of one fold, {_REPEATS} shuffles a column, with their standard "
        "deviation. Columns that say the same share their importance."
    )


def _rises(
    classifier: CausalMixClassifier, X: pd.DataFrame, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rise of log-loss (n_columns,) when a column is shuffled: permutation importance.

    Mean and standard deviation over shuffles. All copies are predicted at once, because each call
    reads the context anew.
    """
    rng, copies = np.random.default_rng(seed), [X]
    for name in X:
        for _ in range(_REPEATS):
            copies.append(X.copy())
            copies[-1][name] = X[name].to_numpy()[rng.permutation(len(X))]
    y = np.tile(pd.Index(classifier.classes_).get_indexer(labels), len(copies))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        proba = classifier.predict_proba(pd.concat(copies, ignore_index=True))
    losses = row_losses(y, proba).reshape(len(copies), -1).mean(axis=1)
    rises = (losses[1:] - losses[0]).reshape(-1, _REPEATS)
    return rises.mean(axis=1), rises.std(axis=1)


def _graph(fit: TableFit) -> tuple[Figure, str] | str:
    frame = fit.table.frame()
    if frame.shape[1] > _MOST_NODES:
        return f"{frame.shape[1]} columns are too many for a graph that can be read."
    edges = getattr(fit.generator, "edges_", None)
    if edges is None:
        left = None if fit.until is None else max(fit.until - time.monotonic(), 1.0)
        edges = discover(frame, n_bootstraps=20, seed=fit.seed, time_limit=left)
    ax = plot_graph(edges, target=str(frame.columns[-1]))
    if "graph" in fit.source.options:
        return ax.figure, "The edges that were given. The target is orange."
    return ax.figure, (
        "Edges found in bootstrap resamples of the rows, as wide as they are probable; the target "
        "is orange. They are dependences that other columns do not explain, not proof of causes."
    )


def _rows(fit: TableFit) -> tuple[Figure, str] | None:
    if fit.generator is None:
        return None
    X, y = fit.generator.sample(N_SYNTHETIC, fit.seed)
    real, made = (fit.table.with_dates(rows) for rows in (fit.table.frame(), X.join(y)))
    shown = min(real.shape[1], _MOST_SHOWN)
    figure = plot_marginals(real, {fit.source.generator: made}, n_columns=shown)
    which = "" if shown == real.shape[1] else f" The first {shown - 1} and the target."
    return figure, f"{N_SYNTHETIC} rows of the generator beside the real ones.{which}"


_PARTS = {
    "Learning curves": _curves,
    "Calibration": _calibration,
    "What it looks at": _importance,
    "Which columns hang together": _graph,
    "Real and synthetic rows": _rows,
}
