"""The command `causalmix`: run a notebook or the book with parameters, list data, check a setup."""

from __future__ import annotations

import errno
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Collection, Sequence
from functools import reduce
from pathlib import Path

import click
from click.core import ParameterSource

import causalmix
from causalmix.atomic import replace_file
from causalmix.errors import CausalMixError, file_problem, naming

# Everything heavy (torch, papermill, scikit-learn) is imported by the command that needs it.

_PATH = click.Path(path_type=Path)

_PARAMETERS = click.option(
    "-p",
    "--parameter",
    "parameters",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="Replace a parameter's default; may be given several times. Lists: a,b,c.",
)

_COMPUTING = (
    click.option("--workers", type=int, help="Processes; by default one a core."),
    click.option("--scheduler", metavar="ADDRESS", help="Use the workers of a Dask scheduler."),
    click.option("--hours", type=float, help="Begin no run that would end later than this."),
    click.option("--retry", is_flag=True, help="Make failed runs again."),
)

_COLUMNS = (
    click.option("--target", help="Column of the classes; by default the one named target."),
    click.option("--categorical", multiple=True, help="Columns that are categories."),
    click.option("--numeric", multiple=True, help="Columns that are numbers."),
    click.option("--date", multiple=True, help="Columns that are dates."),
    click.option("--drop", multiple=True, help="Columns that are not used."),
)

_STRUCTURE = (
    click.option(
        "--graph",
        type=_PATH,
        help="File of the known edges (CSV: cause,effect; GraphML or GML) in place of a search.",
    ),
    click.option(
        "--knowledge",
        type=_PATH,
        help="YAML file of edges that are required and forbidden, and tiers, for the search.",
    ),
)


def _takes(options: Sequence[Callable]) -> Callable[[Callable], Callable]:
    """Give a command options that others have too."""
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


def _check_goes(allowed: Collection[str], mode: str) -> None:
    """Refuse an option that was given, and that a way to call the command does not take."""
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
        if given and option.name not in allowed:
            raise CausalMixError(f"{option.opts[0]} does not go with {mode}.")


_RUNNING = ("workers", "scheduler", "hours", "retry")


class _Commands(click.Group):
    """A group whose commands turn a user's mistake, or the system's refusal, into one message."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except CausalMixError as error:
            click.echo(f"causalmix: {error}", err=True)
            ctx.exit(1 if type(error).__name__ == "NotebookError" else 2)
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of our output has gone, which click knows
                raise
            named = f"{error.filename}: " if error.filename else ""
            click.echo(f"causalmix: {named}{file_problem(error)}.", err=True)
            ctx.exit(2)


class _ListOptions(click.Command):
    """A command whose repeatable options also take several values in a row: --n-train 64 128."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        lists = {name for p in self.params if getattr(p, "multiple", False) for name in p.opts}
        spread: list[str] = []
        option = None  # the list that is being read
        for argument in args:
            if argument.startswith("-"):
                option = argument if argument in lists else None
            elif option and spread[-1] != option:
                spread.append(option)
            spread.append(argument)
        return super().parse_args(ctx, spread)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(causalmix.__version__, prog_name="causalmix")
def main() -> None:
    """Causal data augmentation for fine-tuning tabular foundation models."""


@main.command()
@click.argument("notebook")
@_PARAMETERS
@click.option("--output", type=_PATH, help="Where the executed copy goes.")
@click.option("--html", is_flag=True, help="Write it as a page too: one file, no network.")
def run(
    notebook: str, parameters: tuple[tuple[str, str], ...], output: Path | None, html: bool
) -> None:
    """Run one NOTEBOOK, named by its stem or a prefix: causalmix run 03 -p dataset wine."""
    from causalmix.publishing.notebooks import run_notebook

    result = run_notebook(notebook, _once(parameters), output, html=html, progress=True)
    click.echo(_shown(result))


@main.command()
@_PARAMETERS
@click.option("--smoke", is_flag=True, help="Start from small parameters, for a quick look.")
@click.option("--out", type=_PATH, help="Folder for the HTML.")
def book(parameters: tuple[tuple[str, str], ...], smoke: bool, out: Path | None) -> None:
    """Build the whole book; each parameter goes to every notebook that has it."""
    from causalmix.publishing.book import build_book

    result = build_book(
        _once(parameters), smoke=smoke, out=out, report=lambda line: click.echo(line, err=True)
    )
    click.echo(_shown(result))


@main.command()
@click.option("--write", type=_PATH, help="Write a made table of patients.")
def datasets(write: Path | None) -> None:
    """List the embedded datasets, or write a CSV file to try the other commands on."""
    from causalmix.data.dataset import dataset_names, load_dataset

    if write is not None:
        from causalmix.scm.patients import patients_table

        if write.exists():
            raise CausalMixError(f"{write} is there already: name a new file, or delete it.")
        table = patients_table()
        replace_file(write, lambda path: table.to_csv(path, index=False))
        click.echo(f"{_shown(write)}: {len(table)} made patients; the target is outcome.")
        return
    rows = [("name", "rows", "features", "classes", "origin")]
    for table in map(load_dataset, dataset_names()):
        sizes = (table.n_rows, table.n_features, table.n_classes)
        rows.append((table.name, *map(str, sizes), table.provenance))
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    for name, *sizes, origin in rows:
        aligned = [size.rjust(width) for size, width in zip(sizes, others, strict=False)]
        click.echo("  ".join([name.ljust(first), *aligned, origin]))
    click.echo("Also: a CSV or Parquet file (-p target COLUMN), or openml:<id or name>.")


@main.command(cls=_ListOptions)
@click.argument("table")
@_takes(_COLUMNS)
def inspect(table: str, target: str | None, **columns: tuple[str, ...]) -> None:
    """Say how a TABLE will be read, a CSV or Parquet file, and what in it deserves a look."""
    from causalmix.reports.inspection import inspect_table

    click.echo(str(inspect_table(table, target, **columns)))


@main.command(cls=_ListOptions)
@click.argument("table")
@_takes(_COLUMNS)
@click.option("--out", type=_PATH, required=True, help="Folder to write.")
@click.option(
    "--generator", default="causal", show_default=True, help="Of rows to train on; or none."
)
@_takes(_STRUCTURE)
@click.option(
    "--keep-generator",
    is_flag=True,
    help="Keep the used columns and the generator's settings, so that generate takes the folder.",
)
@click.option("--config", type=_PATH, help="YAML file of settings.")
@click.option("--tfm", default="embedded", show_default=True, help="Checkpoint: name or file.")
@click.option("--time-limit", type=float, help="Seconds for all of it.")
@click.option("--folds", "n_folds", type=int, default=5, show_default=True, help="Held out.")
@click.option("--seed", type=int, default=0, show_default=True)
def fit(
    table: str,
    target: str | None,
    out: Path,
    config: Path | None,
    generator: str,
    **options: object,
) -> None:
    """Fine-tune on a TABLE, a CSV or Parquet file; write the model and report.html.

    The model is written first, then folds are held out to say what it is worth: Ctrl-C there loses
    the report alone. Its folder holds the rows of the table: share it only where these may be.
    """
    from causalmix.finetuning.persistence import REPORT
    from causalmix.reports.fitting import fit_table, keeping
    from causalmix.reports.page import write_report

    say = _clocked(options["time_limit"])
    options |= {"config": _yaml(config), "generator": None if generator == "none" else generator}
    found = fit_table(table, target, out=out, report=say, **options)
    with keeping(out, say, "the report"):
        write_report(found, out / REPORT, report=say)
    click.echo(str(found))
    click.echo(f"Report: {_shown(out / REPORT)}")
    click.echo(f"Next: causalmix predict {_shown(out)} NEW.csv --out scores.csv")
    if options["keep_generator"]:
        click.echo(f"Or: causalmix generate {_shown(out)} -n 500 --out rows.csv")


@main.command()
@click.argument("model", type=_PATH)
@click.argument("table")
@click.option("--out", type=_PATH, required=True, help="CSV or Parquet file.")
@click.option("--device", default="auto", show_default=True, help="Of the foundation model.")
def predict(model: Path, table: str, out: Path, device: str) -> None:
    """Predict every row of a TABLE with a MODEL, a folder that fit wrote."""
    from causalmix.reports.prediction import predict_table

    for line in predict_table(model, table, out, device=device):
        click.echo(line, err=True)
    click.echo(_shown(out))


@main.command(cls=_ListOptions)
@click.argument("table")
@_takes(_COLUMNS)
@click.option("-n", "n", type=int, default=500, show_default=True, help="Rows.")
@click.option("--out", type=_PATH, required=True, help="CSV or Parquet file.")
@click.option("--generator", help="Of the rows; causal by default.")
@_takes(_STRUCTURE)
@click.option(
    "--keep-noise",
    type=float,
    default=0.0,
    show_default=True,
    help="How near rows stay to real ones (0 to 1); says whom they give away.",
)
@click.option("--class-shares", metavar="A=0.5,B=0.5", help="Shares of the classes.")
@click.option(
    "--do", multiple=True, metavar="COLUMN=VALUE", help="Set a column; its effects follow."
)
@click.option("--graph-out", type=_PATH, help="Edges as .csv, .parquet, .png, .svg, .pdf.")
@click.option("--quality", is_flag=True, help="Judge the generator on held-out rows.")
@click.option("--seed", type=int, default=0, show_default=True)
def generate(
    table: str,
    target: str | None,
    out: Path,
    n: int,
    class_shares: str | None,
    do: tuple[str, ...],
    **options: object,
) -> None:
    """Write synthetic rows of a TABLE, a CSV or Parquet file, as it is written itself.

    TABLE may also be a folder that fit --keep-generator wrote: the generator is then fitted again
    on the rows that are kept there, as it was.
    """
    from causalmix.reports.drawing import generate_table

    shares = _pairs("--class-shares", _listed_pairs(class_shares or ""))
    drawn = generate_table(
        table,
        target,
        out,
        n,
        class_shares={name: _number("--class-shares", text) for name, text in shares.items()},
        do=_pairs("--do", do, str.partition),
        report=_clocked(),
        **options,
    )
    if drawn.attack:
        click.echo(
            f"Who was in the table can be told with an AUC of {drawn.attack.auc:.2f} (0.5 is "
            "chance)."
        )
    if drawn.quality is not None:
        click.echo(drawn.quality.T.round(3).to_string())
    click.echo(_shown(out))


def _clocked(limit: float | None = None) -> Callable[[str], None]:
    """Return what prints a line with the seconds since now, and those left of a limit."""
    begun = time.monotonic()

    def say(line: str) -> None:
        seconds = time.monotonic() - begun
        left = f", {max(limit - seconds, 0):.0f} s left" if limit else ""
        click.echo(f"[{seconds:.0f} s{left}] {line}", err=True)

    return say


def _listed_pairs(text: str) -> list[str]:
    """Split A=0.5,B=0.5 at the commas behind numbers: names may have some."""
    parts = re.split(r"(=[^=,]*)(?:,|$)", text)
    return list(filter(None, map("".join, zip(parts[::2], [*parts[1::2], ""], strict=True))))


def _pairs(
    option: str,
    given: Sequence[str],
    split: Callable[[str, str], tuple[str, str, str]] = str.rpartition,
) -> dict[str, str]:
    """Split NAME=VALUE at the last sign, or as `split` does."""
    for each in given:
        if not all(split(each, "=")):
            raise CausalMixError(f"{option} is {each!r}; give NAME=VALUE.")
    pairs = [split(each, "=") for each in given]
    return _once([(name.strip(), text.strip()) for name, _, text in pairs], option)


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise CausalMixError(f"{option} has {text!r} where a number is needed.") from None


@main.command(cls=_ListOptions)
@click.option("--data", type=_PATH, help="Folder of CSV or Parquet files.")
@click.option("--out", type=_PATH, required=True, help="CSV file to write.")
@click.option("--tfm", default="embedded", show_default=True, help="Checkpoint: name or file.")
@click.option("--n-train", type=int, multiple=True, default=(64, 128, 256, 512), show_default=True)
@click.option("--share", type=float, help="Labelled rows as a share of the table's: not --n-train.")
@click.option("--seeds", type=int, default=5, show_default=True, help="Splits of every table.")
@click.option("--n-test", type=int, default=1000, show_default=True, help="Test rows at most.")
@click.option("--methods", multiple=True, help="Which to run; tfm:8@0.9 is 8 members, T = 0.9.")
@click.option("--calibration", is_flag=True, help="Also bins of confidence and accuracy.")
@click.option("--tuning", multiple=True, help="Tables the checkpoint was chosen on: kept apart.")
@click.option("--target", help="Target column of all tables, if it is not named target.")
@_takes(_COMPUTING)
@click.option("--speed", is_flag=True, help="Also time it against a random forest of 500 trees.")
def evaluate_tfm(data: Path | None, out: Path, tfm: str, speed: bool, **options: object) -> None:
    """Compare a checkpoint, zero-shot, with the usual classifiers on every table of a folder.

    Ctrl-C stops; the same command goes on with what is kept beside the CSV file, in a folder of its
    name that ends in .runs.
    Options in the plural take several values: --n-train 64 128.
    """
    from causalmix.benchmarks.zero_shot import DEFAULT_METHODS, describe, evaluate_tfm

    if data is None and not speed:
        raise CausalMixError("Nothing to do: give --data FOLDER, or --speed, or both.")
    if data is None:
        _check_goes({"out", "tfm", "speed"}, "--speed alone")
    else:
        options["methods"] = options["methods"] or DEFAULT_METHODS
        click.echo(describe(evaluate_tfm(data, out, tfm=tfm, progress=True, **options)))
        click.echo(_shown(out))
    if speed:
        from causalmix.benchmarks.speed import write_speed

        click.echo(_shown(write_speed(tfm, out.with_name(f"{out.stem}_speed.json"))))


@main.command(cls=_ListOptions)
@click.option("--csuite", type=_PATH, help="Folder of CSuite datasets.")
@click.option("--data", type=_PATH, help="Folder of CSV or Parquet files.")
@click.option("--out", type=_PATH, required=True, help="CSV file to write.")
@click.option("--n-train", type=int, multiple=True, help="Training rows: 20 to 500, or 100 300.")
@click.option("--repetitions", type=int, default=20, show_default=True, help="CSuite: draws.")
@click.option("--graphs", multiple=True, help="CSuite: true, discovered; both by default.")
@click.option("--mechanisms", multiple=True, help="CSuite: mechanisms of the models.")
@click.option("--methods", multiple=True, help="CSuite: ways to go column by column; none.")
@click.option("--datasets", multiple=True, help="Of --data, or embedded ones: their names.")
@click.option("--seeds", type=int, default=3, show_default=True, help="Of --data: splits.")
@click.option(
    "--generators", multiple=True, help="Of --data: which ones; the quick ones by default."
)
@_takes(_COMPUTING)
@click.option("--speed", multiple=True, help="Datasets to time fitting on; --out is a JSON file.")
def benchmark_generation(
    csuite: Path | None, data: Path | None, out: Path, speed: tuple[str, ...], **options: object
) -> None:
    """Score synthetic rows: on CSuite against the truth, or on tables by their use to learners.

    Ctrl-C stops; the same command goes on with what is kept beside the CSV file, in a folder of its
    name that ends in .runs.
    With --speed, fitting models to sampled graphs is timed against DoWhy instead. Without --data,
    --datasets names embedded tables.
    """
    if sum(map(bool, (csuite, data or options["datasets"], speed))) != 1:
        raise CausalMixError(
            "Give one of --csuite FOLDER, --data FOLDER, --datasets NAMES (embedded ones) and "
            "--speed DATASET."
        )
    if speed:
        from causalmix.benchmarks.fitting_speed import write_fitting_speed

        _check_goes({"out", "speed"}, "--speed")
        click.echo(_shown(write_fitting_speed(list(speed), out)))
        return
    if csuite is not None:
        from causalmix.benchmarks.csuite import benchmark_csuite as benchmark

        names = ("n_train", "repetitions", "graphs", "mechanisms", "methods", *_RUNNING)
        _check_goes({"csuite", "out", *names}, "--csuite")
    else:
        from causalmix.benchmarks.utility import benchmark_utility as benchmark

        names = ("n_train", "datasets", "seeds", "generators", *_RUNNING)
        _check_goes({"data", "out", *names}, "--data or --datasets")
    given = {name: options[name] for name in names if options[name] != ()}
    summary = benchmark(csuite or data, out, progress=True, **given)
    click.echo(summary.round(4).to_string(index=False))
    click.echo(_shown(out))


@main.command(cls=_ListOptions)
@click.option("--out", type=_PATH, required=True, help="CSV file to write.")
@click.option("--csuite", type=_PATH, help="Folder of CSuite datasets.")
@click.option("--n-rows", type=int, multiple=True, default=(200, 1000), show_default=True)
@click.option("--repetitions", type=int, default=10, show_default=True, help="Of CSuite tables.")
@click.option("--n-nodes", type=int, multiple=True, default=(10, 20, 30), show_default=True)
@click.option("--n-scms", type=int, default=8, show_default=True, help="Random models a size.")
@click.option("--n-bootstraps", type=int, default=20, show_default=True)
@click.option("--limit", type=float, default=30.0, show_default=True, help="Seconds a search.")
@_takes(_COMPUTING)
@click.option("--speed", is_flag=True, help="Also measure seconds, alone and against a loop.")
@click.option("--table", help="Dataset for --speed: a name or a file.")
@click.option("--target", help="Target column of that dataset.")
def benchmark_discovery(
    out: Path, speed: bool, table: str | None, target: str | None, **options: object
) -> None:
    """Compare bootstrap discovery with causal-learn's PC and FCI where the graph is known.

    Ctrl-C stops; the same command goes on with what is kept beside the CSV file, in a folder of its
    name that ends in .runs.
    """
    from causalmix.benchmarks.discovery import describe, run_discovery_benchmark

    if speed and table is None:
        raise CausalMixError("--speed needs a dataset to be measured on: --table NAME or FILE.")
    if not speed and (table or target):
        raise CausalMixError("--table and --target are of --speed.")
    if speed:
        from causalmix.benchmarks.discovery_speed import write_discovery_speed

        path = out.with_name(f"{out.stem}_speed.json")
        click.echo(_shown(write_discovery_speed(table, path, target=target, progress=True)))
    click.echo(describe(run_discovery_benchmark(out, progress=True, **options)))
    click.echo(_shown(out))


@main.command(cls=_ListOptions)
@click.option("--csuite", type=_PATH, required=True, help="CSuite's folder.")
@click.option("--out", type=_PATH, required=True, help="CSV file to write.")
@click.option("--n-rows", type=int, multiple=True, default=(100, 200), show_default=True)
@click.option("--draws", type=int, default=100, show_default=True, help="Tables of every size.")
@_takes(_COMPUTING)
def compare_published_discovery(csuite: Path, out: Path, **options: object) -> None:
    """Hold edge probabilities beside published searches by PC: recall, precision, calibration.

    Ctrl-C stops; the same command goes on with what is kept beside the CSV file, in a folder of its
    name that ends in .runs.
    """
    from causalmix.benchmarks.published_discovery import compare_with_published

    compared = compare_with_published(csuite, out, progress=True, **options)
    click.echo(compared.round(3).to_string(index=False))
    click.echo(_shown(out))


@main.command(cls=_ListOptions)
@click.option("--data", type=_PATH, help="Folder of CSV or Parquet files.")
@click.option("--speed", is_flag=True, help="Time it against tabpfn's own fine-tuning class.")
@click.option("--out", type=_PATH, required=True, help="CSV; --speed: JSON.")
@click.option("--tfm", default="embedded", show_default=True, help="Checkpoint: name or file.")
@click.option("--n-train", type=int, multiple=True, help="Training rows: 120; --speed: 200 500.")
@click.option("--seeds", type=int, help="Splits of a table: 5; --speed: made-up tables: 3.")
@click.option("--datasets", multiple=True, help="Of --data: names of tables; all by default.")
@click.option("--mixings", multiple=True, help="Of --data: ways of mixing: real causal.")
@click.option("--rules", multiple=True, help="Of --data: rules to judge by; all by default.")
@_takes(_COMPUTING)
@click.option("--steps", type=int, help="Of --speed: steps that are timed: 10.")
@click.option("--repeats", type=int, help="Of --speed: measurements of a step: 3.")
def benchmark_finetuning(
    data: Path | None, speed: bool, out: Path, tfm: str, **options: object
) -> None:
    """Judge the rules that choose weights on a folder of tables, or time fine-tuning.

    Ctrl-C stops; the same command goes on with what is kept beside the CSV file, in a folder of its
    name that ends in .runs.
    With --speed, CPU time is compared with tabpfn's own class: a step, and up to a log-loss.
    """
    if speed == (data is not None):
        raise CausalMixError("Give either --data FOLDER or --speed.")
    of_data = {"data", "datasets", "mixings", "rules", *_RUNNING}
    names = {"out", "tfm", "n_train", "seeds"} | (
        {"speed", "steps", "repeats"} if speed else of_data
    )
    _check_goes(names, "--speed" if speed else "--data")
    given = {name: v for name, v in options.items() if v not in (None, ()) and v is not False}
    if speed:
        from causalmix.benchmarks.finetuning_speed import describe, write_finetuning_speed

        click.echo(describe(write_finetuning_speed(tfm, out, **given)))
    else:
        from causalmix.benchmarks.stopping_rules import benchmark_rules

        given = {"workers": None} | given
        summary = benchmark_rules(data, out, tfm=tfm, progress=True, **given)
        click.echo(summary.round(4).to_string(index=False))
    click.echo(_shown(out))


@main.command()
@click.option("--csuite", type=_PATH, help="Folder of CSuite datasets.")
@click.option("--out", type=_PATH, required=True, help="Folder of results.")
@click.option("--splits", type=int, default=2, show_default=True, help="Draws of a table's rows.")
@_takes(_COMPUTING)
def benchmark_structure(csuite: Path | None, out: Path, **options: object) -> None:
    """Ask what the true graph is worth, on tables drawn from models that are known.

    CSuite (if given), a made hospital and random models. Finished runs go to the folder as they
    come. Ctrl-C stops; the same command goes on.
    """
    from causalmix.benchmarks.structure import compare_known_models

    contrasts = compare_known_models(out, csuite, progress=True, **options)
    click.echo(contrasts.round(4).to_string(index=False))
    click.echo(_shown(out))


@main.command()
@click.argument("plan")
@click.option("--out", type=_PATH, required=True, help="Folder of results.")
@click.option("--data", type=_PATH, help="Folder of CSV or Parquet files.")
@_takes(_COMPUTING)
@click.option("--device", default="auto", show_default=True, help="Of the foundation model.")
@click.option("--dry-run", is_flag=True, help="Only say what there is to do.")
def benchmark(plan: str, out: Path, data: Path | None, dry_run: bool, **options: object) -> None:
    """Compare ways of fine-tuning on many splits: PLAN is a YAML file or a preset.

    Finished runs go to the folder as they come. Ctrl-C stops; the same command goes on. The exit
    code is 1 if runs failed, or the time was up.
    """
    from causalmix.benchmarks.plan import benchmark

    summary, done = benchmark(plan, out, data, dry_run=dry_run, **options)
    click.echo(summary, nl=False)
    if done and (done.failed or done.missing):
        raise SystemExit(1)


@main.command()
@click.argument("store", type=_PATH)
@click.argument("others", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True)
def merge(store: Path, others: tuple[Path, ...]) -> None:
    """Take the runs of OTHERS, folders of benchmarks, into STORE.

    Where both have a run the earlier stays; the exit code is 1 if their scores differ by more than
    a GPU's differ from a CPU's.
    """
    from causalmix.benchmarks.merging import merge_stores

    taken, differing = merge_stores(store, others)
    click.echo(f"{taken} runs are new in {_shown(store)}.")
    for each in differing:
        click.echo(f"{each.key} differs in {each.name}: {each.first} was kept, not {each.second}.")
    if differing:
        raise SystemExit(1)


_WHERE = click.option(
    "--where", multiple=True, metavar="NAME=VALUES", help="Only such runs, as arm=default,causal."
)


@main.command(cls=_ListOptions)
@click.argument("store", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=_PATH, required=True, help="Folder to write into.")
@_WHERE
@click.option("--by", multiple=True, help="Only differences, by the values of these settings.")
def analyse(store: Path, out: Path, **options: object) -> None:
    """Compare the arms of a STORE, the folder of a benchmark: tables, figures and a report."""
    from causalmix.publishing.analysis import analyse

    click.echo(_shown(analyse(store, out, **options)))


@main.command(cls=_ListOptions)
@click.argument("store", type=click.Path(path_type=Path, exists=True))
@click.option("--claims", is_flag=True, help="Judge the paper's claims instead.")
@click.option("--sample", type=int, default=10, show_default=True, help="Runs to make again.")
@click.option("--seed", type=int, help="Of the choice; another one each time by default.")
@click.option("--data", type=_PATH, help="Folder of the tables.")
@click.option("--tfm", default="embedded", show_default=True, help="Checkpoint: name or file.")
@click.option("--device", default="cpu", show_default=True, help="Of the foundation model.")
@click.option("--workers", type=int, default=1, show_default=True, help="Fresh processes.")
@click.option("--out", type=_PATH, help="CSV file for the comparison; a manifest lies beside it.")
@_WHERE
def audit(
    store: Path,
    claims: bool,
    seed: int | None,
    data: Path | None,
    out: Path | None,
    where: tuple[str, ...],
    **options: object,
) -> None:
    """Make runs of a STORE again, chosen at random, from their rows; or judge the claims by it.

    The exit code is 1 if a score differs by more than the device explains.
    """
    from causalmix.atomic import check_writable
    from causalmix.benchmarks import audit
    from causalmix.benchmarks.analysis import select
    from causalmix.benchmarks.store import Store

    if claims:
        _check_goes({"store", "claims", "where"}, "--claims")
    chosen = select(Store(store), where)
    if claims:
        click.echo(audit.describe_claims(audit.judge_claims(chosen)))
        return
    seed = secrets.randbelow(2**32) if seed is None else seed
    if out is not None:
        check_writable(out)
    audited = audit.rerun_sample(chosen, folder=data, seed=seed, **options)
    if out is not None:
        audit.write_audit(audited, chosen, seed, out)
    click.echo(f"{audit.describe_audit(audited)}\nThe same sample again: --seed {seed}")
    if not audited["agrees"].all():
        raise SystemExit(1)


def _yaml(path: Path | None) -> dict[str, object] | None:
    """Read the settings in a YAML file."""
    if path is None:
        return None
    from causalmix.data.yaml_files import read_yaml

    with naming(path, "YAML settings", "Write NAME: VALUE lines."):
        found = read_yaml(path) or {}
    if not isinstance(found, dict):
        raise CausalMixError(f"{path} has no settings by name; write NAME: VALUE lines.")
    return found


@main.command()
def doctor() -> None:
    """Check the installation; exit code 1 with the reason if something is broken."""
    problems = []
    for name, check in _CHECKS.items():
        try:
            click.echo(f"{name:<12}{check()}")
        except Exception as error:  # whatever is broken, the other checks still help
            problems.append(name)
            click.echo(f"{name:<12}BROKEN: {error}")
    if problems:
        click.echo(f"causalmix: broken: {', '.join(problems)}", err=True)
        raise SystemExit(1)
    click.echo("All is well.")


def _check_packages() -> str:
    from causalmix.publishing.record import dependency_versions, requirements

    versions = dependency_versions()
    if wrong := [
        f"{need} is needed, {versions[name]} is installed"
        for name, need in requirements().items()
        if versions[name] == "missing" or not need.specifier.contains(versions[name], True)
    ]:
        raise CausalMixError("; ".join(wrong))
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _check_cores() -> str:
    import torch

    limit = os.environ.get("OMP_NUM_THREADS", "not set")
    return f"{os.cpu_count()}, torch threads {torch.get_num_threads()}, OMP_NUM_THREADS {limit}"


def _check_device() -> str:
    from causalmix.tfm.device import device_name, find_device

    return device_name(find_device("auto"))


def _check_checkpoint() -> str:
    from causalmix.tfm.model import load_tfm

    model = load_tfm("embedded")
    limits = model.limits
    return (
        f"{model.source}, {model.architecture_name}, {model.hashes}, at most "
        f"{limits.max_rows} rows, {limits.max_features} features, {limits.max_classes} classes"
    )


def _check_notebooks() -> str:
    from causalmix.publishing.notebooks import notebook_paths, project_root
    from causalmix.publishing.parameters import read_parameters

    try:
        project_root()
    except CausalMixError:
        return "not here: they come with a clone of the repository, not with the package"
    if not (paths := notebook_paths()):
        raise CausalMixError("the folder notebooks/ holds none")
    return ", ".join(f"{path.stem} ({len(read_parameters(path))} parameters)" for path in paths)


_CHECKS: dict[str, Callable[[], str]] = {
    "causalmix": lambda: causalmix.__version__,
    "python": lambda: sys.version.split()[0],
    "packages": _check_packages,
    "cores": _check_cores,
    "device": _check_device,
    "checkpoint": _check_checkpoint,
    "notebooks": _check_notebooks,
}


def _once(pairs: Sequence[tuple[str, str]], option: str = "-p") -> dict[str, str]:
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        shown = ", ".join(f"{option} {name}" for name in twice)
        raise CausalMixError(f"Given more than once: {shown}.")
    return dict(pairs)


def _shown(path: Path) -> str:
    """Return a path as short as it can be said from the working directory."""
    return min(os.path.relpath(path), str(path), key=len)


if __name__ == "__main__":
    main()
