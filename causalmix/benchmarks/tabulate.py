"""Tables of numbers in the form in which they are read."""

from __future__ import annotations

import re
from collections.abc import Callable

import pandas as pd

from causalmix.benchmarks.arms import ARM_LABELS
from causalmix.benchmarks.structure import ARMS as GRAPH_ARMS

_NAMES = {name: arm.label for name, arm in GRAPH_ARMS.items()} | ARM_LABELS
_OF_ARMS = ("arm", "reference", "better", "than")

# By name, the first that fits; else whole numbers are counts, and others have three places.
_KINDS = (
    (r"p|p_holm", "{:.2g}"),
    (r"(.*_)?steps?( .*)?", "{:.0f}"),
    (r"accuracy|worse_runs|.*harmed|noise_floor|untouched|of_oracle", "{:.0%}"),
    (r".*seconds|hours", "{:,.1f}"),
    (r"mean.rank|.*gap.*|(auc|log_loss)_(median|q1|q3)|min.?max.*", "{:.2f}"),
    (r"detectable|sd_.*", "{:.4f}"),
    (r".*_gain|difference|worst.*", "{:+.4f}"),
    (r"median.*|improvement", "{:+.3f}"),
)


def tabulate(table: pd.DataFrame) -> pd.DataFrame:
    """Write every number by its kind: 26 steps, 4% of runs, a ROC-AUC of .874.

    Parameters
    ----------
    table : DataFrame
        Any table of this room.

    Returns
    -------
    DataFrame
        Of text. Arms have their labels, and names of columns blanks in place of underscores. An
        interval, two columns ``…low`` and ``…high``, stands in brackets behind the value before
        it. What is missing is a dash.
    """
    shown, columns = {}, list(table)
    for place, name in enumerate(columns):
        if name in _OF_ARMS:
            shown[name] = table[name].replace(_NAMES)
        elif name.endswith("high") and name[:-4] + "low" in columns[place - 1 : place]:
            continue
        elif name.endswith("low") and name[:-3] + "high" in columns[place + 1 : place + 2]:
            value, write = columns[place - 1], _kind_of(columns[place - 1], table)
            ends = zip(table[name].map(write), table[name[:-3] + "high"].map(write), strict=True)
            brackets = [f" [{low}, {high}]" for low, high in ends]
            shown[value] = [x + y for x, y in zip(shown[value], brackets, strict=True)]
        else:
            shown[name] = table[name].map(_kind_of(name, table))
    found = pd.DataFrame(shown, index=table.index)
    return found.rename(columns=lambda name: str(name).replace("_", " "))


def _kind_of(name: str, table: pd.DataFrame) -> Callable[[object], object]:
    """Return what writes a value of a column."""
    values = table[name]
    if values.dtype.kind not in "iuf":
        return lambda value: {True: "yes", False: "no", None: "–"}.get(value, value)
    whole = (values.dropna() % 1 == 0).all()
    own = (form for pattern, form in _KINDS if re.fullmatch(pattern, name))
    form = next(own, "{:,.0f}" if whole else "{:.3f}")
    return lambda value: "–" if pd.isna(value) else form.format(value)


def tabulate_traits(traits: pd.DataFrame) -> pd.DataFrame:
    """Put the correlations of traits with gains into one table.

    Parameters
    ----------
    traits : DataFrame
        As :func:`causalmix.benchmarks.traits.correlate_traits` returns it.

    Returns
    -------
    DataFrame
        A row an arm, a column a trait: Spearman's correlation, and its p after Holm in brackets.
    """
    cells = [
        "–" if pd.isna(rho) else f"{rho:+.2f} ({p:.2f})"
        for rho, p in traits[["rho", "p_holm"]].itertuples(index=False)
    ]
    table = traits.assign(arm=traits["arm"].replace(_NAMES), cell=cells)
    table = table.pivot(index="arm", columns="trait", values="cell")
    return table.rename(columns=lambda name: name.replace("_", " ")).rename_axis(columns=None)
