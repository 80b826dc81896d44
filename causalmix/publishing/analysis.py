"""The analysis of a store as a folder: tables, figures, and a report that reads them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from causalmix.atomic import check_writable, replace_file
from causalmix.benchmarks import analysis, curve_analysis
from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.audit import describe_claims
from causalmix.benchmarks.store import Store
from causalmix.benchmarks.store_analysis import analyse_store
from causalmix.plots import analysis as plots
from causalmix.plots.style import use_book_style
from causalmix.publishing.markdown import markdown_table


def analyse(
    store: str | Path,
    out: str | Path,
    *,
    where: Collection[str] = (),
    by: Collection[str] = (),
) -> Path:
    """Write every analysis of a store: a CSV file each, figures, and ``report.md``.

    Parameters
    ----------
    store : str or Path
        Folder of a :class:`~causalmix.benchmarks.store.Store`: see
        :func:`causalmix.benchmarks.store_analysis.analyse_store`.
    out : str or Path
        Folder to write into.
    where : collection of str, default=()
        As :func:`causalmix.benchmarks.analysis.select` takes it.
    by : collection of str, default=()
        Settings: paired differences for each of their values, and nothing else.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    CausalMixError
        If the store has no such runs, or runs that differ in more than their seed.
    """
    check_writable(Path(out), folder=True)
    store = Store(store)
    runs = analysis.select(store, where).runs(KIND)
    if by:
        return _write(Path(out), runs, {"differences_by": analysis.differences_by(runs, by)}, {})
    tables = analyse_store(store, where)
    claims = describe_claims(tables["claims"])
    for name in ("against", "lacking"):
        tables["claims"][name] = tables["claims"][name].str.join(", ")
    return _write(Path(out), runs, tables, _figures(tables), claims)


def _figures(tables: Mapping[str, pd.DataFrame]) -> dict[str, Callable[[], Axes]]:
    """Name the figures and say how each is drawn; those without data are left out."""
    differences, means = tables["differences"], tables["means"]
    found = {
        f"differences_{reference}_{score}": partial(
            plots.plot_differences, differences, reference, score
        )
        for reference, score in differences.groupby(["reference", "score"]).groups
    }
    if len(means) > 1 and means.shape[1] > 2:
        found["ranks"] = partial(plots.plot_critical_differences, means)
    if len(tables["gains"]):
        found["gains_by_table"] = partial(plots.plot_table_gains, tables["gains"])
    for unit in curve_analysis.UNITS if "survival" in tables else ():
        found[f"convergence_{unit}"] = partial(plots.plot_survival, tables["survival"], unit)
    return found


def _write(
    out: Path,
    runs: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Callable[[], Axes]],
    claims: str = "",
) -> Path:
    use_book_style()
    out.mkdir(parents=True, exist_ok=True)
    splits, commits = (
        runs[["dataset", "split"]].drop_duplicates(),
        sorted(set(map(str, runs["commit"]))),
    )
    parts = [
        f"# Analysis of {len(runs)} runs",
        f"{runs['arm'].nunique()} arms on {len(splits)} splits of {splits['dataset'].nunique()} "
        f"tables, by the code of {', '.join(commits)}. Intervals are at 95 %; a positive "
        "difference is better.",
    ]
    for name, table in tables.items():
        if name not in (*_TITLES, "claims") or table.empty:
            continue
        replace_file(out / f"{name}.csv", partial(table.to_csv, index=False))
        if name == "claims":
            parts.append(f"## The paper's claims\n\n```text\n{claims}\n```")
            continue
        parts.append(f"## {_TITLES[name]}")
        for figure in (each for each in figures if each.startswith(name)):
            drawn = figures[figure]().figure
            replace_file(out / f"{figure}.png", partial(drawn.savefig, format="png", dpi=150))
            plt.close(drawn)
            parts.append(f"![]({figure}.png)")
        if len(table) > _MOST_ROWS:
            parts.append(f"The first {_MOST_ROWS} of {len(table)} rows; all are in {name}.csv.")
        shown = table[:_MOST_ROWS].map(lambda x: f"{x:.4g}" if isinstance(x, float) else x)
        parts.append(markdown_table(list(shown), shown.itertuples(index=False)))
    text = "\n\n".join(parts) + "\n"
    replace_file(out / "report.md", lambda path: path.write_text(text, encoding="utf-8"))
    return out / "report.md"


_MOST_ROWS = 60  # of a table in the report

_TITLES = {
    "contrasts": "Contrasts that the plan named beforehand (Holm's correction over them)",
    "other_contrasts": "Contrasts that no plan named (Holm's correction over them)",
    "differences": "Paired differences (bootstrap of tables, then splits; t; Wilcoxon, with Holm's "
    f"correction over arms; ties within {analysis.MARGIN})",
    "differences_by": "Paired differences by setting",
    "ranks": "Mean ranks (Friedman; critical difference at 5 %), of the arms run on all tables",
    "improvements": "Normalised improvement (tables set aside have too little error to gain from)",
    "gains_by_table": "Gains on every table",
    "harm": "Shares of tables and runs that are worse than zero-shot",
    "variance": "Variation of the gain over zero-shot between splits and between seeds",
    "power": f"Detectable differences at 80 % power, and tables needed for {analysis.MARGIN}",
    "traits": "Traits of tables against the gain in ROC-AUC (Spearman)",
    "cost": "Cost (seconds a run)",
    "gaps": f"Validation-test gap (runs with at least {curve_analysis.LEAST_POINTS} evaluations)",
    "convergence": "Convergence (Kaplan-Meier; saved against default fine-tuning)",
}
