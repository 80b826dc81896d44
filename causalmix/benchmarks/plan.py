"""Benchmarks described by a file: which arms, on which splits of which tables."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from joblib import cpu_count

from causalmix.atomic import check_writable, replace_file
from causalmix.benchmarks.arms import ARMS, FINETUNED, KIND, Arm, Rows, make_run
from causalmix.benchmarks.engine import Progress, Run, compute, is_missing
from causalmix.benchmarks.store import Store
from causalmix.benchmarks.traits import note_traits
from causalmix.data.columns import counted
from causalmix.data.dataset import TabularDataset, dataset_names, load_dataset
from causalmix.data.folder import read_tables
from causalmix.data.own_settings import own_settings
from causalmix.data.yaml_files import read_yaml
from causalmix.errors import (
    CausalMixError,
    DataError,
    check_filled,
    check_list,
    check_name,
    check_range,
    check_type,
    check_whole,
    naming,
)
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.fit_input import seeded_generator
from causalmix.finetuning.metrics import SCORES
from causalmix.quality.baselines import BASELINES
from causalmix.tfm.model import load_tfm

_ARM_KEYS = ("arm", "config", "options", "members", "repeats", "all_rows")

PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A benchmark, as its file describes it.

    Parameters
    ----------
    name : str
        Of the benchmark.
    tables : sequence of str, default=()
        Names of tables, embedded ones or files of the folder that goes with the plan; by default
        those of `data`, and all of the folder where that names none.
    arms : mapping of str to mapping
        By the name that results have: ``arm``, the key of `ARMS` that it starts from (by default
        its name), and what differs from it: ``config``, ``options``, ``members``, ``repeats`` and
        ``all_rows`` of
        :class:`~causalmix.benchmarks.arms.Arm`.
    sizes : sequence of (int, int), default=((120, 30),)
        Training and validation rows; the first that leave `least_test` rows for testing are taken.
    n_test : int, default=500
        Test rows at most.
    least_test : int, default=60
    splits : int, default=5
    seeds : int, default=1
        Fine-tuning runs of every split.
    config : mapping, optional
        Settings of `FinetuneConfig` for all arms.
    tfm : str, default="embedded"
    record_blends : bool, default=False
        As :func:`causalmix.finetuning.run.finetune` takes it.
    version : int, optional
        Of a plan that is frozen before its runs: any change makes it another one. The store keeps
        the plan, by name and version.
    data : mapping of str to str, optional
        Content hashes of tables; one that is another is left out.
    contrasts : sequence of (str, str), default=()
        The primary ones: arms of which the first is expected to be better than the second.
    """

    name: str
    arms: Mapping[str, Any]
    tables: Sequence[str] = ()
    sizes: Sequence[Sequence[int]] = ((120, 30),)
    n_test: int = 500
    least_test: int = 60
    splits: int = 5
    seeds: int = 1
    config: Mapping[str, Any] = field(default_factory=dict)
    tfm: str = "embedded"
    record_blends: bool = False
    version: int | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    contrasts: Sequence[Sequence[str]] = ()

    def __post_init__(self) -> None:
        for name in ("name", "tfm"):
            check_type(name, getattr(self, name), "str")
        if Path(self.name).name != self.name:
            raise CausalMixError(f"name is {self.name!r}; it becomes a file's: leave folders out.")
        for name in ("arms", "config", "data"):
            check_type(name, getattr(self, name), "Mapping")
        for arm in self.arms:
            check_type("the name of an arm", arm, "str")
        check_type("record_blends", self.record_blends, "bool")
        check_filled(self.arms, "arms")
        _check_settings(self.config, "config")
        _check_pairs(self.contrasts, "contrasts", "arms", "[[causal, default]]")
        for arm in chain.from_iterable(self.contrasts):
            check_name(arm, self.arms, "arm in contrasts")
        check_list(self.tables, "tables", f"[{self.tables}]")
        for name in ("n_test", "least_test", "splits", "seeds", "version"):
            if name != "version" or self.version is not None:
                check_whole(getattr(self, name), 1, name)
        _check_pairs(self.sizes, "sizes", "training and validation rows", "[[120, 30], [90, 22]]")
        check_filled(self.sizes, "sizes")
        for rows in chain.from_iterable(self.sizes):
            check_whole(rows, 1, "sizes")

    @property
    def arms_by_name(self) -> dict[str, Arm]:
        """The arms, with what they change.

        Raises
        ------
        UnknownNameError
            If an arm, a setting or an option is unknown.
        CausalMixError
            If a value makes no sense, or the arm takes no such setting.
        """
        found = {}
        for name, changes in self.arms.items():
            check_type(f"arms: {name}", changes, "Mapping | None")
            found[name] = _changed_arm(name, dict(changes or {}))
        return found


def _changed_arm(name: str, changes: dict[str, Any]) -> Arm:
    for key in changes:
        check_name(key, _ARM_KEYS, f"key of the arm {name!r}")
    arm = ARMS[check_name(changes.pop("arm", name), ARMS, "arm")]
    taken = () if arm.method in BASELINES else ("members",)
    if arm.method != FINETUNED and (idle := [key for key in changes if key not in taken]):
        raise CausalMixError(
            f"The arm {name!r} has {', '.join(idle)}, but {arm.label} does not take that, as "
            "it is not fine-tuned: leave it out."
        )
    for key in ("config", "options"):
        check_type(f"{key} of the arm {name!r}", changes.setdefault(key, {}), "Mapping")
    for key in ("members", "repeats"):
        if changes.get(key) is not None:
            check_whole(changes[key], 1, f"{key} of the arm {name!r}")
    check_type(f"all_rows of the arm {name!r}", changes.get("all_rows", False), "bool")
    _check_settings(changes["config"], f"the arm {name!r}")
    config = {**arm.config, **changes["config"]}
    options = {**arm.options, **changes["options"]}
    seeded_generator(arm.generator, options, 0)
    return replace(arm, **changes | {"config": config, "options": options})


def _check_pairs(values: Iterable[object], name: str, shape: str, example: str) -> None:
    for pair in check_list(values, name, example):
        if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
            raise CausalMixError(f"{name} holds {pair!r}; it lists pairs of {shape}, as {example}.")


def _check_settings(config: Mapping[str, object], where: str) -> None:
    """Refuse settings that there are not, and those that follow from the rows of a split."""
    for setting in config:
        check_name(setting, vars(FinetuneConfig()), f"setting in {where}")
        if setting in ("rows_per_task", "n_synthetic"):
            raise CausalMixError(
                f"{where} has {setting}; a benchmark takes it from the rows of a split. Leave it "
                "out."
            )


@dataclass(frozen=True)
class Planned:
    """What a plan asks for on given tables.

    Attributes
    ----------
    runs : list of Run
        Split by split over all tables and arms, so that it can be stopped anywhere.
    tables : dict of str to TabularDataset
    skipped : dict of str to str
        Tables and arms that are left out, with the reason.
    """

    runs: list[Run]
    tables: dict[str, TabularDataset]
    skipped: dict[str, str]


def preset_names() -> tuple[str, ...]:
    """List the plans that come with the package."""
    return tuple(sorted(path.stem for path in PRESETS.glob("*.yml")))


def read_plan(source: str | Path) -> Plan:
    """Read a plan.

    Parameters
    ----------
    source : str or Path
        A YAML file, or one of `preset_names`. Its key ``extends`` names another one, whose keys
        hold where it has none.

    Returns
    -------
    Plan

    Raises
    ------
    UnknownNameError
        If there is no such file or preset, or it has an unknown key.
    CausalMixError
        If it cannot be read, or a value makes no sense.
    """
    path = _path_of(source)
    keys = _read_keys(path)
    if "arms" not in keys:
        raise CausalMixError(f"{path} names no arms: write arms: and under it a name a line.")
    return Plan(**{"name": path.stem, **keys})


def _read_keys(path: Path, above: Sequence[Path] = ()) -> dict[str, Any]:
    """Read the keys of a plan, on top of those of the plan that it extends."""
    with naming(path, "a plan of a benchmark", "See causalmix benchmark --help."):
        read = read_yaml(path)
        if not isinstance(read, dict):
            raise ValueError("it must hold names and their values")
        if path.resolve() in above:
            raise ValueError("it extends itself")
    extended = read.pop("extends", None)
    for key in read:
        check_name(key, Plan.__dataclass_fields__, f"key of {path.name}")
    if extended is None:
        return read
    check_type("extends", extended, "str")
    below = _path_of(extended)
    if below.parent != PRESETS:
        below = path.parent / below
    return _read_keys(below, [*above, path.resolve()]) | read


def _path_of(source: str | Path) -> Path:
    if Path(source).suffix in (".yml", ".yaml"):
        return Path(source)
    return PRESETS / f"{check_name(str(source), preset_names(), 'preset or .yml file')}.yml"


@own_settings()
def plan_runs(plan: Plan, folder: str | Path | None = None, *, device: str = "auto") -> Planned:
    """List the runs of a plan.

    Parameters
    ----------
    plan : Plan
    folder : str or Path, optional
        Of CSV and Parquet files, where the tables are looked for that are not embedded.
    device : str, default="auto"
        Where the foundation model runs.

    Returns
    -------
    Planned

    Raises
    ------
    UnknownNameError
        If a table, an arm or a setting is unknown.
    DataError
        If no table is left.
    """
    tables, skipped = _read_tables(plan, folder)
    arms = plan.arms_by_name
    for name, arm in list(arms.items()):
        if reason := _why_not(arm):
            skipped[name] = reason
            del arms[name]
    sizes = {}
    hashes = {name: table.content_hash for name, table in tables.items()}
    for name, table in tables.items():
        if hashes[name] != (wanted := plan.data.get(name, hashes[name])):
            skipped[name] = (
                f"its content hash is {hashes[name]}, that of the plan's table {wanted}."
            )
            continue
        fits = [s for s in plan.sizes if table.n_rows - sum(s) >= plan.least_test]
        try:
            if not fits:
                raise DataError(f"{table.n_rows} rows leave fewer than {plan.least_test} to test.")
            rows = Rows(*fits[0], plan.n_test, 0)
            if rows.draw(table).test.y.nunique() < 2:
                raise DataError("its test rows hold a single class, of which there is no ROC-AUC.")
            sizes[name] = rows
        except DataError as error:
            skipped[name] = str(error)
    if not sizes:
        raise DataError(
            "No table is left:\n" + "\n".join(f"  {k}: {v}" for k, v in skipped.items())
        )
    options = {
        "weights": load_tfm(plan.tfm).run_hash,
        "config": FinetuneConfig(**plan.config),
        "tfm": plan.tfm,
        "device": device,
        "record_blends": plan.record_blends,
    }
    runs = [
        make_run(
            arm,
            arms[arm],
            tables[name],
            hashes[name],
            replace(sizes[name], split=split),
            s,
            **options,
        )
        for split in range(plan.splits)
        for name in sizes
        for s in range(split * plan.seeds, (split + 1) * plan.seeds)
        for arm in arms
    ]
    return Planned(runs, {name: tables[name] for name in sizes}, skipped)


def _read_tables(
    plan: Plan, folder: str | Path | None
) -> tuple[dict[str, TabularDataset], dict[str, str]]:
    found, skipped = {}, {}
    if folder is not None:
        found, left = read_tables(folder)
        skipped = {str(entry["dataset"]): str(entry["reason"]) for entry in left}
    elif not (plan.tables or plan.data):
        raise DataError("The plan names no tables; give a folder of them with --data.")
    names = plan.tables or list(plan.data)
    if not names:
        return found, skipped
    known = [*found, *skipped, *dataset_names()]
    tables = {}
    for name in names:
        if check_name(name, known, "table") in found:
            tables[name] = found[name]
        elif name not in skipped:
            with warnings.catch_warnings(action="ignore"):
                tables[name] = load_dataset(name)
    return tables, {name: reason for name, reason in skipped.items() if name in names}


def _why_not(arm: Arm) -> str:
    """Say which library an arm lacks; empty for none."""
    try:
        if arm.method in BASELINES:
            BASELINES[arm.method].version  # noqa: B018 - raises where it is not installed
        if arm.generator == "ctgan":
            import ctgan  # noqa: F401
    except (CausalMixError, ImportError) as error:
        return str(error)
    return ""


def benchmark(
    source: str | Path,
    out: str | Path,
    folder: str | Path | None = None,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    hours: float | None = None,
    retry: bool = False,
    device: str = "auto",
    dry_run: bool = False,
) -> tuple[str, Progress | None]:
    """Make the runs of a plan that a store lacks.

    Parameters
    ----------
    source : str or Path
        As `read_plan` takes it.
    out : str or Path
        Folder of a :class:`~causalmix.benchmarks.store.Store`.
    folder : str or Path, optional
        As `plan_runs` takes it.
    workers : int, optional
        Processes; by default one a core.
    scheduler, hours, retry
        As :func:`causalmix.benchmarks.engine.compute` takes them.
    device : str, default="auto"
        Where the foundation model runs.
    dry_run : bool, default=False
        Whether to make none.

    Returns
    -------
    summary : str
        What there was to do, what became of it, and scores by arm.
    done : Progress or None
        Of a dry run None.

    Raises
    ------
    CausalMixError
        As `read_plan`, `plan_runs` and `compute` raise it.
    """
    n = cpu_count() if workers is None else check_whole(workers, 0, "workers")
    if hours is not None:
        check_range(hours, "[0, inf)", "hours")
    if not dry_run:
        check_writable(Path(out), folder=True)
    plan, store = read_plan(source), Store(out)
    planned = plan_runs(plan, folder, device=device)
    missing = [run for run in planned.runs if is_missing(store, run.key, retry)]
    seconds = sum(expected_seconds(missing, store))
    with_them = " of one core"
    if scheduler is None:
        seconds, with_them = seconds / max(n, 1), f" with {counted(max(n, 1), 'worker')}"
    arms = {run.settings["arm"] for run in planned.runs}
    lines = [
        f"{len(planned.runs)} runs: {len(planned.tables)} tables, {len(arms)} arms. "
        f"{len(planned.runs) - len(missing)} are there already.",
        *(f"Left out: {name}: {reason}" for name, reason in planned.skipped.items()),
        f"The {len(missing)} others take about {_in_words(seconds)}{with_them}.",
    ]
    if dry_run:
        return "\n".join(lines) + "\n", None
    print("\n".join(lines), file=sys.stderr)
    if plan.version is not None:
        _keep(_path_of(source), Path(out) / f"{plan.name}-{plan.version}.yml")
    note_traits(out, planned.tables)
    done = compute(
        planned.runs,
        store,
        planned.tables,
        workers=n,
        scheduler=scheduler,
        hours=hours,
        retry=retry,
        progress=True,
    )
    store.compact()
    return _summary(planned, store, done), done


def _keep(source: Path, kept: Path) -> None:
    """Put a plan beside the runs; what was frozen is not replaced by another of its version."""
    text = yaml.safe_dump(_read_keys(source), sort_keys=False)
    kept.parent.mkdir(parents=True, exist_ok=True)
    if not kept.exists():
        replace_file(kept, lambda path: path.write_text(text, encoding="utf-8"))
    elif kept.read_text(encoding="utf-8") != text:
        raise CausalMixError(
            f"{kept} is another plan than {source}, of the same name and version. Raise the "
            "version, or give another folder."
        )


def _in_words(seconds: float) -> str:
    if seconds < 5400:
        return f"{math.ceil(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def expected_seconds(runs: Sequence[Run], store: Store) -> list[float]:
    """Estimate the time of runs by those of the store, or by their size where it has none.

    Parameters
    ----------
    runs : sequence of Run
    store : Store

    Returns
    -------
    list of float
        Seconds on one core.
    """
    known = store.runs(KIND)
    if known.empty:
        return [run.cost for run in runs]
    by_both = known.groupby(["arm", "dataset"])["run_seconds"].median()
    by_arm = known.groupby("arm")["run_seconds"].mean()
    usual = known["run_seconds"].mean()

    def seconds(run: Run) -> float:
        arm, dataset = run.settings["arm"], run.settings["dataset"]
        return by_both.get((arm, dataset), by_arm.get(arm, usual))

    return [float(seconds(run)) for run in runs]


def _summary(planned: Planned, store: Store, done: Progress) -> str:
    keys = {run.key for run in planned.runs}
    lines = [f"{done.done} runs are done, {done.failed} failed, {done.missing} are missing."]
    failed = store.runs(KIND, status="failed")
    for key, row in failed[failed.index.isin(keys)].iterrows():
        where = f"{row['arm']} on {row['dataset']}, split {row['split']}"
        lines.append(f"Failed: {where}: {store.why(key)}")
    rows = store.runs(KIND)
    rows = rows[rows.index.isin(keys)]
    if len(rows):
        scores = rows.groupby("arm")[list(SCORES)].mean()
        scores["runs"] = rows.groupby("arm").size()
        lines.append(scores.sort_values("auc", ascending=False).round(4).to_string())
    return "\n".join(lines) + "\n"
