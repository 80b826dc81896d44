"""Every analysis of a store of runs, by name."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from causalmix.benchmarks import analysis, curve_analysis, variance
from causalmix.benchmarks.arms import FINETUNED, KIND, RESEEDED
from causalmix.benchmarks.audit import compared_cube, judge_claims
from causalmix.benchmarks.candidates import CHOSEN
from causalmix.benchmarks.claims import BEFORE, DEFAULT, PAPER
from causalmix.benchmarks.labels import ARM_LABELS
from causalmix.benchmarks.plan import Plan, read_plan
from causalmix.benchmarks.sensitivity import rank_verdicts_by_chance
from causalmix.benchmarks.store import Store, reason_of
from causalmix.benchmarks.traits import correlate_traits, read_traits
from causalmix.data.columns import counted

_OTHER_PAIRS = (
    *((CHOSEN[0], other) for other in (BEFORE, DEFAULT, "rehearsal", "smote_nc")),
    *((PAPER, other) for other in (BEFORE, DEFAULT)),
)
"""Pairs of arms that a reader asks for, whether a plan named them or not."""


def analyse_store(store: Store, where: Collection[str] = ()) -> dict[str, pd.DataFrame]:
    """Make every analysis of a store.

    Parameters
    ----------
    store : Store
        Plans beside its runs say which contrasts were named beforehand, and ``tables.csv`` what the
        tables are like.
    where : collection of str, default=()
        Which runs: as :func:`causalmix.benchmarks.analysis.select` takes it.

    Returns
    -------
    dict of str to DataFrame
        ``contrasts`` that plans named, ``other_contrasts``, ``differences``, ``ranks``,
        ``improvements``, ``gains_by_table``, ``harm``, ``variance``, ``power``, ``traits``,
        ``cost``, ``claims``, ``rank_rule`` (how often chance gives a verdict on mean ranks); for
        figures ``means`` of tables by arm, and ``gains`` of fine-tuned
        runs; and where runs have curves of test rows ``facts``, ``gaps``, ``convergence`` and
        ``survival``. The functions that make them say what
        they hold: those of `causalmix.benchmarks.analysis`, `causalmix.benchmarks.variance`,
        `causalmix.benchmarks.traits`, `causalmix.benchmarks.curve_analysis` and
        `causalmix.benchmarks.audit`. Tables with nothing to say are empty.

    Raises
    ------
    CausalMixError
        If the store has no such runs, or runs that differ in more than their seed.
    """
    chosen = analysis.select(store, where)
    runs, folder = chosen.runs(KIND), store.folder
    plans = sorted(folder.glob("*.yml")) if folder else []
    planned = [tuple(pair) for plan in plans for pair in read_plan(plan).contrasts]
    others = [pair for pair in _OTHER_PAIRS if pair not in planned]
    found = {
        "contrasts": analysis.planned_contrasts(runs, planned),
        "other_contrasts": analysis.planned_contrasts(runs, others),
        "differences": analysis.paired_differences(runs),
        "ranks": analysis.rank_arms(runs),
        "improvements": analysis.normalised_by_arm(runs),
        "gains_by_table": analysis.normalised_by_table(runs),
        "harm": analysis.harm_by_arm(runs),
        "variance": variance.variance_parts(runs),
        "power": variance.power(runs),
        "traits": correlate_traits(runs, read_traits(folder)),
        "cost": curve_analysis.cost_by_arm(chosen),
        "claims": judge_claims(chosen),
        "rank_rule": _rank_rule(chosen),
        "means": analysis.table_means(analysis.common_cube(runs)),
        "gains": analysis.gains_over(runs[(runs["method"] == FINETUNED) | (runs["arm"] == BEFORE)]),
    }
    facts = curve_analysis.curve_facts(chosen)
    if len(facts):
        found["facts"] = facts
        found["gaps"] = curve_analysis.gaps_by_arm(facts)
        found["convergence"] = curve_analysis.convergence_by_arm(facts)
        found["survival"] = curve_analysis.survival_curves(facts)
    return found


def _rank_rule(store: Store) -> pd.DataFrame:
    cube = compared_cube(store)
    known = len(cube.tables) and len(cube.arms) > 3
    shares = rank_verdicts_by_chance(cube) if known else pd.Series(dtype=float)
    return shares.rename_axis("verdict").rename("share").reset_index()


def describe_store(store: Store) -> str:
    """Say in a few lines what is in a store.

    Parameters
    ----------
    store : Store

    Returns
    -------
    str
        Finished and failed runs, arms, tables and splits, what failed and why, rows of a split,
        the plans and how far they got, code, weights and devices behind them.
    """
    runs, failed = store.runs(KIND), store.runs(KIND, status="failed")
    rows = runs.groupby(["n_train", "n_val"]).size().index
    progress = plan_progress(store)
    plans = [f"{name} ({done:,} of {n:,} runs)" for name, (done, _, n) in progress.items()]
    weights = {str(each)[:8] for each in runs["weights"].dropna()}
    reasons = [
        f"{ARM_LABELS.get(arm, arm)} on {counted(own['dataset'].nunique(), 'table')} "
        f"({_short(reason_of(own['error'].iloc[0]))})"
        for arm, own in (failed.groupby("arm") if len(failed) else ())
    ]
    behind = {"Failed": reasons} if reasons else {}
    behind |= {
        "Training and validation rows": [f"{train:g} + {val:g}" for train, val in rows],
        "Plans": plans or ["none was frozen"],
        "Code": sorted({commit[:10] for commit in runs["commit"].astype(str)}),
        "Weights (content hash)": sorted(weights),
        "Devices": sorted(set(runs["device"])),
    }
    return "\n".join(
        [
            f"{counted(len(runs), 'run')}, and {len(failed)} that "
            f"failed: {counted(runs['arm'].nunique(), 'arm')} on "
            f"{counted(runs['dataset'].nunique(), 'table')}, "
            f"{counted(len(runs[['dataset', 'split']].drop_duplicates()), 'split')} in all.",
            *(f"{name}: {', '.join(values)}." for name, values in behind.items()),
        ]
    )


def _short(reason: str) -> str:
    """Take the first sentence of an error, without the module of its kind."""
    return reason.removeprefix("causalmix.errors.").partition(". ")[0].rstrip(".")


def plan_progress(store: Store) -> dict[str, tuple[int, int, int]]:
    """Say how far the plans that lie beside a store have got.

    Parameters
    ----------
    store : Store

    Returns
    -------
    dict of str to tuple of int
        Runs that are finished, runs that failed, and runs of the plan, by its name and version.
    """
    run, found = ["dataset", "split", "arm", "seed"], {}
    statuses = ("ok", "failed")
    parts = [store.runs(KIND, status=each).assign(status=each) for each in statuses]
    runs = pd.concat([each.astype(object) for each in parts])  # columns may be empty in one
    runs = runs.reindex(columns=[*dict.fromkeys([*run, "n_train", "n_val", "status", *runs])])
    for path in sorted(store.folder.glob("*.yml")) if store.folder else []:
        plan = read_plan(path)
        tables = plan.tables or list(plan.data) or list(read_traits(store.folder)["dataset"])
        rows = runs.set_index(["n_train", "n_val"]).index
        own = _as_planned(runs, plan) & runs["dataset"].isin(tables)
        own &= (runs["split"] < plan.splits) & rows.isin(list(map(tuple, plan.sizes)))
        n = len(plan.arms) * len(tables) * plan.splits * plan.seeds
        ended = runs.loc[own, [*run, "status"]].drop_duplicates(run)["status"]
        found[path.stem] = (*((ended == each).sum() for each in statuses), n)
    return found


def _as_planned(runs: pd.DataFrame, plan: Plan) -> pd.Series:
    """Whether runs are of arms of a plan with its seeds and settings, which others may vary."""
    settings = {name: {**plan.config, **arm.config} for name, arm in plan.arms_by_name.items()}
    own = runs["arm"].isin(list(settings))
    own &= runs["seed"] % RESEEDED // plan.seeds == runs["split"]
    for arm, config in settings.items():
        for name in config.keys() & {each.removeprefix("config.") for each in runs}:
            value = runs[f"config.{name}"]
            own &= (runs["arm"] != arm) | value.isna() | (value == config[name])
    return own


def judges_claims(store: Store) -> bool:
    """Say whether a store with the paper's other generators decides its claims yet.

    Parameters
    ----------
    store : Store

    Returns
    -------
    bool
        Whether a fifth of one of its plans is there: with three splits, each table about once.
    """
    return any(0 < planned <= 5 * done for done, _, planned in plan_progress(store).values())
