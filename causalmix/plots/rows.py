"""Figures of rows, real beside synthetic: single columns, associations, pairs of columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.dates import MONTHLY, AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

from causalmix.data.backing import numpy_backed
from causalmix.data.cells import all_whole
from causalmix.errors import DataError, check_name
from causalmix.plots.style import colours_of, label, make_panels
from causalmix.quality.fidelity import association_matrix

_MAX_LEVELS = 8
_MAX_POINTS = 400
_LEVEL = 14  # characters of the name of a level, or of a column among many


def plot_marginals(
    real: pd.DataFrame,
    synthetic: Mapping[str, pd.DataFrame],
    *,
    columns: Sequence[str] | None = None,
    n_columns: int = 6,
) -> Figure:
    """Compare the distribution of single columns, real against synthetic.

    Parameters
    ----------
    real : DataFrame
        Real rows.
    synthetic : mapping of str to DataFrame
        Synthetic rows by the generator's name, with the same columns.
    columns : sequence of str, optional
        Columns to show; by default the last one (the target) and the first `n_columns` - 1.
    n_columns : int, default=6
        Number of panels where `columns` is not given.

    Returns
    -------
    Figure
        Cumulative shares for numeric columns, shares of the (at most 8 most frequent) categories
        for categorical ones.
    """
    real, dates = _plottable(real), _dates(real)
    synthetic = {name: _plottable(frame) for name, frame in synthetic.items()}
    if columns is None:
        columns = [*real.columns[:-1][: n_columns - 1], real.columns[-1]]
    for column in columns:
        check_name(column, real.columns, "column")
    sources = {"real": real, **synthetic}
    colours = colours_of(len(sources))
    figure, axes = make_panels(len(columns), 2, (6.6, 2.4))
    for ax, column in zip(axes, columns, strict=True):
        parts = [
            pd.DataFrame({"rows": k, "value": frame[column]})
            for k, frame in enumerate(sources.values())
        ]
        tidy = pd.concat(parts, ignore_index=True)
        if _is_categorical(real[column]):
            _category_shares(tidy, ax, colours)
        else:
            look = {"hue": "rows", "palette": colours, "legend": False}
            sns.ecdfplot(tidy, x="value", ax=ax, **look)
            ax.set_ylabel("Cumulative share")
            if column in dates:
                _show_dates(ax.xaxis)
        ax.set_xlabel(label(column))
    handles = [
        plt.Line2D([], [], color=colour, lw=3, label=label(name))
        for name, colour in zip(sources, colours, strict=True)
    ]
    figure.legend(handles=handles, loc="lower center", ncols=min(len(sources), 3), frameon=False)
    figure.tight_layout(rect=(0, 0.2 / -(-len(columns) // 2), 1, 1))
    return figure


def _dates(frame: pd.DataFrame) -> list[str]:
    return list(numpy_backed(frame).select_dtypes(["datetime", "datetimetz"]))


def _show_dates(axis: Axis) -> None:
    """Label days since 1970-01-01 as dates; the margins end where dates do, in the year 9999."""
    limits = np.clip(axis.get_view_interval(), *date2num([date.min, date.max]))
    getattr(axis.axes, f"set_{axis.axis_name}lim")(limits)
    ticks = AutoDateLocator(minticks=2, maxticks=4)
    ticks.intervald[MONTHLY] = [*ticks.intervald[MONTHLY], 12]  # of a range of two years
    axis.set(major_locator=ticks, major_formatter=ConciseDateFormatter(ticks))


def _plottable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return NumPy's numbers, dates as days since 1970-01-01, and other columns as categories."""
    frame = numpy_backed(frame)
    for name in _dates(frame):
        days = date2num(frame[name].dt.tz_localize(None))
        frame = frame.assign(**{name: days})
    numbers = frame.select_dtypes("number")
    with_gaps = [name for name in numbers if not isinstance(frame[name].dtype, np.dtype)]
    others = frame.select_dtypes(["object", "string", "bool", "boolean"])
    return frame.astype(dict.fromkeys(with_gaps, float) | dict.fromkeys(others, "category"))


def _category_shares(tidy: pd.DataFrame, ax: Axes, colours: list) -> None:
    shares = tidy.groupby("rows", sort=False)["value"].value_counts(normalize=True)
    shares = shares.rename("share").reset_index()
    top = _frequent_levels(tidy["value"].astype("category"))
    shares = shares[shares["value"].isin(top)].astype({"value": str})
    look = {"hue": "rows", "palette": colours, "legend": False}
    sns.barplot(shares, x="value", y="share", order=[str(name) for name in top], ax=ax, **look)
    ax.set_ylabel("Share of rows")
    turn = {"rotation": 35, "ha": "right"} if sum(len(str(name)) for name in top) > 30 else {}
    ax.set_xticks(range(len(top)), [label(name, _LEVEL) for name in top], **turn)


def plot_associations(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw association matrices side by side.

    Parameters
    ----------
    frames : mapping of str to DataFrame
        Rows by the name that titles their panel.

    Returns
    -------
    Figure
        A heat map each, on one colour scale from -1 to 1 (see
        :func:`causalmix.quality.fidelity.association_matrix`).
    """
    names = [label(name, _LEVEL) for name in next(iter(frames.values())).columns]
    labels = names if len(names) <= 40 else False
    figure, axes = make_panels(len(frames), 2, (6.6, 3.3), layout="constrained")
    for k, (ax, (title, frame)) in enumerate(zip(axes, frames.items(), strict=True)):
        names_of = {
            "xticklabels": labels if k + 2 >= len(frames) else False,  # nothing below
            "yticklabels": labels if k % 2 == 0 else False,
        }
        look = {"vmin": -1, "vmax": 1, "cmap": "vlag", "square": True, "cbar": False}
        strength = association_matrix(_plottable(frame)).to_numpy()
        sns.heatmap(strength, ax=ax, **look, **names_of)
        ax.set_title(label(title))
        ax.tick_params(labelsize=9 if len(names) <= 15 else 6)
    scale = {"label": "Association (Spearman's ρ, Cramér's V² or η²)", "location": "top"}
    scale["ticks"] = [-1, -0.5, 0, 0.5, 1]
    figure.colorbar(axes[0].collections[0], ax=figure.axes, shrink=0.6, aspect=40, **scale)
    return figure


def plot_pairs(
    real: pd.DataFrame, synthetic: Mapping[str, pd.DataFrame], n_pairs: int = 3
) -> Figure:
    """Draw the most associated pairs of columns, real rows beside synthetic ones.

    Parameters
    ----------
    real : DataFrame
        With two columns or more.
    synthetic : mapping of str to DataFrame
        Rows with the same columns by the generator's name.
    n_pairs : int, default=3
        Pairs at most. A column is in one pair only, so that a few columns that say the same do
        not fill the figure.

    Returns
    -------
    Figure
        A line of panels a pair, on the axes of the real rows; of a single pair, panels in lines of
        two. Two numeric columns are points (at
        most 400; whole numbers are spread a little, so that equal ones do not hide each other),
        a numeric and a categorical one box plots, two categorical ones a heat map: the shares of
        the levels across (0 is white, 1 the darkest) within each level down. Of a column's levels
        the 8 most frequent are shown.

    Raises
    ------
    DataError
        If there are fewer than two columns.
    """
    real, dates = _plottable(real), _dates(real)
    synthetic = {name: _plottable(frame) for name, frame in synthetic.items()}
    if real.shape[1] < 2:
        raise DataError("Pairs of columns need two of them; the table has fewer.")
    pairs = _strongest_pairs(real, n_pairs)
    sources = {"real": real, **synthetic}
    colours = colours_of(len(sources))
    drawn = [(name, pair) for pair in pairs for name in sources]
    across = 2 if len(pairs) == 1 else len(sources)
    shared = {"sharex": "row", "sharey": "row", "layout": "constrained"}
    figure, axes = make_panels(len(drawn), across, (2.7 * across + 1.1, 2.3), **shared)
    for k, (ax, (name, (x, y))) in enumerate(zip(axes, drawn, strict=True)):
        _draw_pair(ax, real[[x, y]], sources[name][[x, y]], colours[k % len(sources)])
        ax.set(xlabel=label(x), ylabel=label(y) if k % across == 0 else "")
        for axis, column in ((ax.xaxis, x), (ax.yaxis, y)):
            if column in dates:
                _show_dates(axis)
        if k < len(sources):
            ax.set_title(label(name))
    return figure


def _strongest_pairs(frame: pd.DataFrame, n: int) -> list[tuple[str, str]]:
    """Choose up to `n` pairs without a column in common; of each, the one to go down comes last.

    That is the column of more levels, whose names have room there once.
    """
    levels = {c: frame[c].nunique() if _is_categorical(frame[c]) else 0 for c in frame}
    numeric = [c for c in frame if not levels[c]]
    strength = association_matrix(frame)
    strength.loc[numeric, numeric] **= 2  # like the other two, a share of variance
    upper = strength.where(np.triu(np.ones(strength.shape, bool), 1))
    pairs: list[tuple[str, str]] = []
    for pair in upper.stack().sort_values(ascending=False, kind="stable").index:
        if len(pairs) < n and not set(pair) & {c for used in pairs for c in used}:
            pairs.append(tuple(sorted(pair, key=levels.get)))
    return pairs


def _is_categorical(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype)


def _draw_pair(ax: Axes, real: pd.DataFrame, frame: pd.DataFrame, colour: object) -> None:
    x, y = real.columns
    if not _is_categorical(real[y]):
        ax.scatter(*_spread(frame.iloc[:_MAX_POINTS]), s=5, color=colour, alpha=0.6)
        ax.set(xlim=_limits(real[x]), ylim=_limits(real[y]))
        return
    down = _frequent_levels(real[y])
    if _is_categorical(real[x]):
        across = _frequent_levels(real[x])
        shares = pd.crosstab(frame[y], frame[x], normalize="index")
        shares = shares.reindex(index=down, columns=across)
        ax.imshow(shares.fillna(0), vmin=0, vmax=1, cmap="Blues", aspect="auto")
        names = [label(level, 30 // len(across)) for level in across]
        ax.set_xticks(range(len(across)), names)
        ax.grid(False)
    else:
        groups = [frame.loc[frame[y] == level, x].dropna() for level in down]
        place = {"positions": range(len(down)), "orientation": "horizontal", "widths": 0.6}
        box = {"boxprops": {"facecolor": sns.light_palette(colour, 3)[1]}, "patch_artist": True}
        lines = {"medianprops": {"color": "black", "linewidth": 2}}
        ax.boxplot(groups, flierprops={"markersize": 2}, **place, **box, **lines)
        ax.set(xlim=_limits(real[x]), ylim=(len(down) - 0.5, -0.5))
    ax.set_yticks(range(len(down)), [label(level, _LEVEL) for level in down])


def _limits(column: pd.Series) -> tuple[float, float]:
    low, high = (0.0, 1.0) if column.isna().all() else (column.min(), column.max())
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _frequent_levels(column: pd.Series) -> list:
    """Return the most frequent levels, in the column's own order."""
    top = set(column.value_counts().index[:_MAX_LEVELS])
    return [level for level in column.cat.categories if level in top]


def _spread(pair: pd.DataFrame) -> list[pd.Series]:
    rng = np.random.default_rng(0)
    return [
        column + rng.uniform(-0.3, 0.3, len(column))
        if all_whole(column.dropna()) and column.nunique() <= 30
        else column
        for _, column in pair.items()
    ]
