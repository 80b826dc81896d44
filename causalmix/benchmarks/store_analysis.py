"""Every analysis of a store of runs, by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pandas as pd

from causalmix.benchmarks import analysis, curve_analysis, traits, variance
from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.audit import judge_claims
from causalmix.benchmarks.plan import read_plan
from causalmix.benchmarks.store import Store


def analyse_store(
    store: Store, where: Mapping[str, Collection[str]] | None = None
) -> dict[str, pd.DataFrame]:
    """Make every analysis of a store.

    Parameters
    ----------
    store : Store
        Plans beside its runs say which contrasts were named beforehand, and ``tables.csv`` what the
        tables are like.
    where : mapping of str to collection of str, optional
        Which runs: as :func:`causalmix.benchmarks.analysis.select` takes it.

    Returns
    -------
    dict of str to DataFrame
        ``contrasts``, ``differences``, ``ranks``, ``improvements``, ``gains_by_table``, ``harm``,
        ``variance``, ``power``, ``traits``, ``cost``, ``claims``, and where runs have curves of
        test rows ``facts``, ``gaps`` and ``convergence``. The functions that make them say what
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
    found = {
        "contrasts": analysis.planned_contrasts(
            runs, [pair for plan in plans for pair in read_plan(plan).contrasts]
        ),
        "differences": analysis.paired_differences(runs),
        "ranks": analysis.rank_arms(runs),
        "improvements": analysis.normalised_by_arm(runs),
        "gains_by_table": analysis.normalised_by_table(runs),
        "harm": analysis.harm_by_arm(runs),
        "variance": variance.variance_parts(runs),
        "power": variance.power(runs),
        "traits": traits.correlate_traits(runs, traits.read_traits(folder)),
        "cost": curve_analysis.cost_by_arm(chosen),
        "claims": judge_claims(chosen),
    }
    facts = curve_analysis.curve_facts(chosen)
    if len(facts):
        found["facts"] = facts
        found["gaps"] = curve_analysis.gaps_by_arm(facts)
        found["convergence"] = curve_analysis.convergence_by_arm(facts)
    return found
