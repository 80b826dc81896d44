"""The model card's page: its text is written, its numbers come from the committed results.

`book/model_card.md` has blanks such as ``{{ limits }}``. When the book is built they are filled
from the checkpoint, from ``results/pretrain`` (how it was trained) and from ``results/tfm`` (how it
compares), and the figures are drawn beside the page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from causalmix.benchmarks.comparison import calibration_by_method
from causalmix.benchmarks.zero_shot import LABELS, TFM, read_variant
from causalmix.finetuning.metrics import SCORES
from causalmix.plots.evaluation import (
    plot_evaluation,
    plot_pretraining,
    plot_reliability,
)
from causalmix.publishing.blanks import fill_blanks
from causalmix.publishing.games import describe_games
from causalmix.publishing.markdown import enumerated, markdown_table, signed, with_interval
from causalmix.publishing.model_card_results import Results, held_out
from causalmix.tfm.checkpoint import read_checkpoint
from causalmix.tfm.model import EMBEDDED_CHECKPOINT, OFFICIAL_VERSIONS, official_path

MARGIN = 0.005
"""How far the mean ROC-AUC is meant to be above the best other method's, up to `MARGIN_UP_TO`."""

MARGIN_UP_TO = 256
"""Largest number of labelled rows at which that is meant to hold."""


def fill_model_card(page: Path, results: Path) -> None:
    """Fill the page, and draw its figures: see `causalmix.publishing.book.fill_page`."""
    found = Results.read(results)
    figures = {
        "model_card_evaluation.svg": lambda: plot_evaluation(found.held_out),
        "model_card_calibration.svg": lambda: plot_reliability(found.calibration).figure,
        "model_card_pretraining.svg": lambda: plot_pretraining(found.log).figure,
    }
    fill_blanks(page, {name: partial(make, found) for name, make in BLANKS.items()}, figures)


# ---- What it is ----------------------------------------------------------------------------------


def _facts(found: Results) -> str:
    file, training = EMBEDDED_CHECKPOINT, found.pretraining
    weights = read_checkpoint(file)["state_dict"]
    precision = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in weights.values()})
    n_parameters = sum(parameter.numel() for parameter in found.model.network.parameters())
    kept = (
        f"step {training['best_step']:,}, the lowest log-loss on held-out synthetic tasks "
        f"({training['best_held_out_loss']:.3f} nats)"
    )
    rows = [
        ("File", f"`{file.name}`, {file.stat().st_size / 1e6:.1f} MB"),
        ("File hash", f"SHA-256 `{found.model.file_hash[:16]}…`"),
        ("Content hash", f"SHA-256 `{found.model.content_hash[:16]}…` (architecture, weights)"),
        ("Architecture", f"`{found.model.architecture_name}` of the package `tabpfn`"),
        ("Parameters", f"{n_parameters:,}, stored as {' and '.join(precision)}"),
        ("Training", _effort(training)),
        ("Kept", kept),
        ("Trained with", ", ".join(f"{k} {v}" for k, v in training["versions"].items())),
        ("By the code of", _commits(training)),
    ]
    return markdown_table(["", file.stem], rows)


def _effort(training: Mapping[str, Any]) -> str:
    """Tell steps, time and hardware of a run, after those of the run that it started from."""
    where = f"{training.get('workers', 1)} × {training.get('torch_threads', 1)} CPU threads"
    if training["device"] != "cpu":
        where = f"one {training['device']}"
    steps = training["steps_done"]
    if training.get("earlier"):
        before = {**training["earlier"], "steps_done": training["earlier"]["best_step"]}
        return f"{_effort(before)}; from there {steps:,} steps, {_duration(training)} on {where}"
    return f"{steps:,} steps, {_duration(training)} on {where}"


def _commits(training: Mapping[str, Any]) -> str:
    """Tell the commits behind a run, after those of the runs that it goes on from."""
    before = [_commits(training["earlier"])] if training.get("earlier") else []
    commit = training["commit"]
    own = f"commit `{commit[:12]}`" if commit else "this package, before it was committed"
    return "; then of ".join([*before, own])


def _duration(training: Mapping[str, Any]) -> str:
    minutes = round(training["training_seconds"] / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 100 else f"{minutes} min"


def _limits(found: Results) -> str:
    limits, prior = found.model.limits, found.pretraining["config"]["prior"]
    return (
        f"- It accepts at most {limits.max_rows:,} labelled rows, {limits.max_features} columns "
        f"and {limits.max_classes} classes, and refuses larger tables with an error.\n"
        f"- It was trained on tables of {prior['rows'][0]:,} to {prior['rows'][1]:,} rows, "
        f"labelled ones and queries together, with up to {prior['max_features']} columns and "
        f"{prior['max_classes']} classes. Beyond those its quality is extrapolated."
    )


def _settings(found: Results) -> str:
    flat = pd.json_normalize(found.pretraining["config"]).iloc[0]
    return markdown_table(["Setting", "Value"], [(f"`{k}`", f"`{v}`") for k, v in flat.items()])


# ---- How it compares -----------------------------------------------------------------------------


def _protocol(found: Results) -> str:
    settings = found.evaluation["settings"]
    n_tuning = len(set(settings["tuning"]) & set(found.evaluation["data"]))
    return (
        f"{len(found.evaluation['data'])} tables, of which {n_tuning} are tuning tables; "
        f"{enumerated(settings['n_train'])} labelled rows; {settings['seeds']} splits of every "
        f"table and size; up to {settings['n_test']:,} test rows; "
        f"an ensemble of {found.model.inference_config.N_ESTIMATORS} for the TFM"
    )


def _same_checkpoint(found: Results) -> str:
    scored = found.evaluation["settings"]["checkpoint"]["content_hash"]
    shipped = found.model.content_hash
    if scored == shipped:
        return f"the checkpoint of content hash `{shipped[:16]}`, the one shipped here"
    return (
        f"the checkpoint of content hash `{str(scored)[:16]}`. **It is not the one shipped here, "
        f"`{shipped[:16]}`: run the evaluation again**"
    )


def _goals(found: Results) -> str:
    rows = []
    for size, table in found.held_out.groupby("n_train"):
        table = table.set_index("method")
        ours, others = table.loc[TFM], table.drop(index=TFM)
        by_rank = others["mean_rank"].idxmin()
        rival = others.loc[others["auc"].idxmax()]
        best = others.loc[by_rank, "mean_rank"]
        margin = _yes(rival["auc_difference"] >= MARGIN) if size <= MARGIN_UP_TO else "not set"
        ranks = (f"{ours['mean_rank']:.2f}", f"{LABELS[by_rank]} {best:.2f}")
        scores = (f"{ours['auc']:.3f}", f"{LABELS[rival.name]} {rival['auc']:.3f}")
        first = _yes(ours["mean_rank"] < best)
        row = (size, int(ours["datasets"]), *ranks, first, *scores, _interval(rival, "auc"), margin)
        rows.append(row)
    head = ["Rows", "Tables", "Mean rank", "Best other", "Best rank?"]
    head += ["Mean ROC-AUC", "Best other", "Difference", f"{MARGIN} ahead?"]
    return (
        "Two goals were set before the comparison was run: the best mean rank at every size, and a "
        f"mean ROC-AUC at least {MARGIN} above that of the best other method at up to "
        f"{MARGIN_UP_TO} labelled rows. CatBoost and LightGBM are not among the methods here: they "
        "were run on one split of a table, and at fewer sizes (below).\n\n"
        f"{markdown_table(head, rows)}"
    )


def _scores(summary: pd.DataFrame) -> str:
    rows = []
    for row in summary.to_dict("records"):
        means = [f"{row[name]:.3f}" for name in SCORES]
        cells = [LABELS[row["method"]], f"{row['mean_rank']:.2f}", *means, f"{row['seconds']:.2f}"]
        strong = "**" if row["method"] == TFM else ""
        rows.append((row["n_train"], *(f"{strong}{cell}{strong}" for cell in cells)))
    head = ["Rows", "Method", "Mean rank", "ROC-AUC", "Log-loss", "Accuracy", "Seconds"]
    return markdown_table(head, rows)


def _traits(found: Results) -> str:
    table = found.traits.assign(
        shown=[
            f"{_interval(row, 'auc')} {LABELS[row['rival']]}" for _, row in found.traits.iterrows()
        ]
    ).pivot(index=["trait", "group"], columns="n_train", values=["datasets", "shown"])
    rows = [
        (group, int(row["datasets"].max()), *row["shown"].fillna(""))
        for (_, group), row in table.iterrows()
    ]
    return markdown_table(["Tables with", "Tables", *(f"{n} rows" for n in table["shown"])], rows)


def _inference(found: Results) -> str:
    own = found.model.inference_config
    rows = []
    for row in found.inference.sort_values("seconds").to_dict("records"):
        members, temperature, preparations = read_variant(row["method"])
        cells = (members or own.N_ESTIMATORS, temperature or own.SOFTMAX_TEMPERATURE)
        cells += (preparations.replace("+", " + ") if preparations else "its own",)
        scores = (f"{row['auc']:.4f}", f"{row['log_loss']:.4f}", f"{row['seconds']:.1f}")
        rows.append((*cells, *scores))
    return markdown_table(
        ["Members", "Temperature", "Preparations", "ROC-AUC", "Log-loss", "Seconds"], rows
    )


def _codes(found: Results) -> str:
    rows = []
    for row in found.codes[found.codes["method"] != TFM].to_dict("records"):
        auc = with_interval(-row["auc_difference"], -row["auc_high"], -row["auc_low"])
        loss = signed(-row["log_loss_difference"], 4)
        rows.append((row["tables"], row["n_train"], int(row["datasets"]), auc, loss))
    return markdown_table(["Group", "Rows", "Tables", "Δ ROC-AUC", "Δ log-loss"], rows)


def _calibration(found: Results) -> str:
    means = calibration_by_method(found.calibration)
    cells = [(LABELS[name], *(f"{each:.3f}" for each in row)) for name, *row in means.itertuples()]
    head = ["Method", "Calibration error", "Confidence", "Accuracy", "Log-loss"]
    return markdown_table(head, cells)


def _differences(summary: pd.DataFrame) -> str:
    rows = []
    for row in summary[summary["method"] != TFM].to_dict("records"):
        counts = "–".join(str(int(row[name])) for name in ("wins", "ties", "losses"))
        differences = (_interval(row, "auc"), _interval(row, "log_loss"))
        rows.append((row["n_train"], LABELS[row["method"]], *differences, counts))
    return markdown_table(["Rows", "Against", "Δ ROC-AUC", "Δ log-loss", "W–T–L"], rows)


def _beside(summary: pd.DataFrame) -> str:
    """Return means over tables that the checkpoint was not chosen on, differences below them."""
    summary = held_out(summary)
    head = f"{summary['datasets'].max()} tables.\n\n" + "\n".join(_standing(summary))
    return f"{head}\n\n{_scores(summary)}\n\n{_differences(summary)}"


def _standing(summary: pd.DataFrame) -> list[str]:
    """Say for every size by which scores the TFM is best, and who is before it by the others."""
    lines = []
    for size, table in summary.groupby("n_train"):
        table = table.set_index("method")
        rows = size if isinstance(size, str) else f"{size} rows"
        lines.append(
            f"- **{rows}.** "
            + _behind(table, "mean_rank", "mean rank", "{:.2f}", smaller=True)
            + _behind(table, "auc", "mean ROC-AUC", "{:.3f}", smaller=False)
            + _behind(table, "log_loss", "mean log-loss", "{:.3f}", smaller=True).rstrip()
        )
    return lines


def _losses(found: Results) -> str:
    lines = _standing(found.held_out)
    margin = found.per_table[TFM] - found.per_table.drop(columns=TFM).max(axis=1)
    by_table = margin.groupby("dataset").mean().sort_values()
    worst, best = by_table[by_table < 0].head(8), by_table[by_table > 0].tail(8)[::-1]
    for word, part in (("It loses most on", worst), ("It wins most on", best)):
        if len(part):
            shown = ", ".join(f"{name} ({signed(value, 3)})" for name, value in part.items())
            what = "ROC-AUC minus that of the best other method on that table, mean over sizes"
            lines.append(f"- **{word}** {shown}: {what}.")
    return "\n".join(lines)


def _behind(table: pd.DataFrame, column: str, what: str, shape: str, *, smaller: bool) -> str:
    ours, others = table.loc[TFM, column], table[column].drop(TFM)
    ahead = others[others < ours if smaller else others > ours].sort_values(ascending=smaller)
    if ahead.empty:
        return f"Best {what} ({shape.format(ours)}). "
    names = ", ".join(f"{LABELS[name]} ({shape.format(value)})" for name, value in ahead.items())
    return f"{what[0].upper()}{what[1:]} {shape.format(ours)}, behind {names}. "


def _each_table(found: Results) -> str:
    sizes = found.evaluation["settings"]["n_train"]
    cells = found.per_table.apply(_against_best, axis=1).unstack("n_train", fill_value="")
    head = ["Table", *(f"{size} rows" for size in sizes)]
    return markdown_table(head, cells[sizes].itertuples(name=None))


def _against_best(auc: pd.Series) -> str:
    others = auc.drop(TFM)
    return f"{auc[TFM]:.3f} ({signed(auc[TFM] - others.max(), 3)} {LABELS[others.idxmax()]})"


def _skipped(found: Results) -> str:
    rows = [
        (entry["dataset"], enumerated(entry["n_train"] or ["all"]), entry["reason"])
        for entry in found.evaluation["skipped"]
    ]
    return markdown_table(["File", "Rows", "Reason"], rows) if rows else "Nothing was left out."


def _speed(found: Results) -> str:
    shape = "{threads}|{tfm_seconds:.3f}|{random_forest_seconds:.3f}|{ratio:.2f}"
    rows = [shape.format(**each).split("|") for each in found.speed["measured"]]
    head = ["Threads", "CausalMix TFM (s)", "Random forest (s)", "Forest ÷ TFM"]
    return markdown_table(head, rows)


def _command(found: Results) -> str:
    settings = found.evaluation["settings"]
    options = [
        f"--data {settings['folder']}",
        f"--n-train {' '.join(map(str, settings['n_train']))}",
        f"--seeds {settings['seeds']}",
        f"--tuning {' '.join(settings['tuning'])}",
        "--speed",
        "--out results/tfm/evaluation.csv",
    ]
    return "$ causalmix evaluate-tfm " + " \\\n    ".join(options)


def _official(found: Results) -> str:
    rows = [(f"`{name}`", f"`{official_path(name).name}`") for name in OFFICIAL_VERSIONS]
    return markdown_table(["`tfm=`", "File"], rows)


def _interval(row: Mapping[str, Any] | pd.Series, name: str) -> str:
    return with_interval(*(row[f"{name}_{what}"] for what in ("difference", "low", "high")), 3)


def _yes(condition: bool) -> str:
    return "yes" if condition else "**no**"


BLANKS: dict[str, Callable[[Results], str]] = {
    "facts": _facts,
    "limits": _limits,
    "settings": _settings,
    "protocol": _protocol,
    "same_checkpoint": _same_checkpoint,
    "games": lambda found: describe_games(
        found.games, found.games_rounds, found.games_summary, found.games_manifest["settings"]
    ),
    "tuning_tables": lambda found: enumerated(found.evaluation["settings"]["tuning"]),
    "goals": _goals,
    "held_out": lambda found: _scores(found.held_out),
    "small": lambda found: _scores(found.small),
    "traits": _traits,
    "inference": _inference,
    "codes": _codes,
    "calibration": _calibration,
    "boosters": lambda found: _beside(found.boosters),
    "boosters_small": lambda found: _beside(found.boosters_small),
    "share": lambda found: _beside(found.share),
    "differences": lambda found: _differences(found.held_out),
    "tuning": lambda found: _scores(found.of_tables("tuning")),
    "all_tables": lambda found: _scores(found.of_tables("all")),
    "losses": _losses,
    "each_table": _each_table,
    "skipped": _skipped,
    "speed": _speed,
    "command": _command,
    "official": _official,
}
"""What fills each blank of the page."""
