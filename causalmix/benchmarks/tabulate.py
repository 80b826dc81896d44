"""Tables of numbers in the form in which they are read."""

from __future__ import annotations

import re
from collections.abc import Callable

import pandas as pd

from causalmix.benchmarks.comparison import verdicts
from causalmix.benchmarks.labels import ARM_LABELS

LEAST_TABLES = 10
"""Tables below which the p of a correlation, that of a large sample, says nothing."""

UNBROKEN = "\N{NO-BREAK SPACE}"
"""Between the ends of an interval, which stay on one line of a narrow cell."""

_SCORES = {"auc": "ROC-AUC", "log_loss": "log-loss"}
_OF_ARMS = ("arm", "reference", "better", "than")

# By name, the first that fits; else whole numbers are counts, and others have three places.
_KINDS = (
    (r"p|p_holm", "{:.2g}"),
    (r"(.*_)?steps?( .*)?", "{:.0f}"),
    (r"accuracy|worse_runs|.*harmed|runs_.*ed|noise_floor|untouched|of_oracle", "{:.0%}"),
    (r".*seconds|hours", "{:,.1f}"),
    (r"auc|log_loss|mean AUC", "{:.3f}"),
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
        Of text. Arms have their labels, and names of columns blanks in place of underscores.
        Intervals, two columns ``…low`` and ``…high``, stand in brackets behind the value before
        them. What is missing is a dash.
    """
    shown: dict[str, object] = {}
    for name in table:
        stem = name.removesuffix("low")
        if name in (*_OF_ARMS, "score"):
            shown[name] = table[name].replace(ARM_LABELS | _SCORES)
        elif stem != name and f"{stem}high" in table:
            value = list(shown)[-1]
            ends = table[[name, f"{stem}high"]].map(_kind_of(value, table)).astype(object)
            shown[value] += " [" + ends.iloc[:, 0] + f",{UNBROKEN}" + ends.iloc[:, 1] + "]"
        elif not (name.endswith("high") and f"{name.removesuffix('high')}low" in table):
            shown[name] = table[name].map(_kind_of(name, table)).astype(object)
    found = pd.DataFrame(shown, index=table.index)
    return found.rename(columns=_title)


def _title(name: str) -> str:
    for short, written in _SCORES.items():
        name = re.sub(rf"\b{short}(?=\b|_)|(?<=_){short}\b", written, name)
    return name.replace("_", " ")


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
        A row an arm, a column a trait: Spearman's correlation, and in brackets its p after Holm
        where `LEAST_TABLES` or more are behind it.
    """
    rho = traits["rho"].map("{:+.2f}".format)
    p = traits["p_holm"].map(" ({:.2f})".format).where(traits["tables"] >= LEAST_TABLES, "")
    cells = (rho + p).where(traits["rho"].notna(), "–")
    table = traits.assign(arm=traits["arm"].replace(ARM_LABELS), cell=cells)
    table = table.pivot(index="arm", columns="trait", values="cell")
    return table.rename(columns=lambda name: name.replace("_", " ")).rename_axis(columns=None)


def tabulate_contrasts(contrasts: pd.DataFrame) -> pd.DataFrame:
    """Say of each pair of arms which of them is the better one, if that can be said.

    Parameters
    ----------
    contrasts : DataFrame
        As :func:`causalmix.benchmarks.analysis.planned_contrasts` or `paired_differences` returns
        it.

    Returns
    -------
    DataFrame
        A row a pair and score: the ``arm``, what it is held ``against``, the mean difference
        (nats of log-loss) with its two 95 % intervals, by bootstrap and by t, the verdict of
        `causalmix.benchmarks.comparison.verdicts`, tables won, tied and lost, Holm's p.
    """
    counts = contrasts[["wins", "ties", "losses"]].astype(str).to_numpy()
    columns = ["arm", "reference", "score", "difference", "low", "high", "t_low", "t_high"]
    columns += ["verdict", "won", "p_holm"]
    told = contrasts.assign(verdict=verdicts(contrasts), won=list(map("-".join, counts)))
    titles = {"reference": "against", "won": "won-tied-lost", "p holm": "p (Holm)"}
    titles["difference"] = "difference [bootstrap] [t]"
    return tabulate(told[columns]).rename(columns=titles).set_index("arm")
