"""A table as the package understands it: every column, what is left out, what to look at."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import shorten

import numpy as np
import pandas as pd
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.tree import DecisionTreeClassifier

from causalmix.data.backing import numpy_backed
from causalmix.data.cells import all_whole, moments_of
from causalmix.data.columns import clean_columns, listed, notes_on
from causalmix.data.dataset import check_target_stays, find_table, read_classes
from causalmix.data.diagnosis import Diagnosis, diagnose
from causalmix.data.files import RawTable, check_columns
from causalmix.data.own_settings import own_settings
from causalmix.errors import CausalMixError, DataError, check_name, quoted

RARE = 5
"""Classes and levels with fewer rows say little, and may be missing from a split."""

FEW = 40
"""Rows below which a fit, and even more its scores, are left to chance."""

LEAK = 0.99
"""Cross-validated balanced accuracy of one column by itself from which on it is suspected."""

_SENTINEL = re.compile(r"-?(9+|8{2,}|7{2,})|-1")
REASONS = {
    "constant": "one value or none",
    "identifier": "identifies the rows",
    "text": "text of too many values",
    "mixed": "text; numbers or dates but for some cells",
    "": "",
}
"""Why a column is left out, by `Diagnosis.dropped`, in words."""

_MOST_ROWS = 5000  # that leaks are looked for in
_SHOWN = 4  # levels in a line


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a table holds, and how it will be read.

    Attributes
    ----------
    name : str
    n_rows : int
    columns : DataFrame
        A row a column, in the table's order: ``column``; ``kind`` (number, whole number, date,
        duration, category, text); ``use`` (feature, target, or left out); ``reason`` why it is left
        out; ``missing`` (share of the rows); ``distinct`` values; ``values``: the range of numbers,
        with their unit, and of dates, or the most frequent levels with their counts.
    classes : Series or None
        Rows of each class, in the order of classes; None without a target.
    notes : tuple of str
        What is dropped, converted or assumed, a sentence each.
    warnings : tuple of str
        What to look at before the table is used, a sentence each.
    diagnoses : mapping of str to Diagnosis
        How each feature is read.
    """

    name: str
    n_rows: int
    columns: pd.DataFrame
    classes: pd.Series | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    diagnoses: Mapping[str, Diagnosis]

    def __str__(self) -> str:
        shown = self.shown()
        rows = [list(shown), *shown.astype(str).itertuples(index=False)]
        lines = [[" ".join(cell.split()) for cell in row] for row in rows]  # a name may hold breaks
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        head = f"{self.name}: {self.n_rows} rows, {len(self.columns)} columns"
        parts = [head, "\n".join(table)]
        if self.classes is not None:
            counts = ", ".join(f"{name} {count}" for name, count in self.classes.items())
            parts.append(f"Classes: {counts}.")
        for title, lines in (("How it is read", self.notes), ("To look at", self.warnings)):
            if lines:
                parts.append("\n".join([f"{title}:", *(f"- {line}" for line in lines)]))
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        lists = (("How it is read", self.notes), ("To look at", self.warnings))
        size = f"{self.n_rows} rows, {len(self.columns)} columns"
        return "".join(
            [
                f"<p><b>{escape(self.name)}</b>: {size}</p>",
                self.shown().to_html(index=False, escape=True, border=0),
                *(
                    f"<p><b>{title}</b></p><ul>"
                    + "".join(f"<li>{escape(line)}</li>" for line in lines)
                    + "</ul>"
                    for title, lines in lists
                    if lines
                ),
            ]
        )

    def shown(self) -> pd.DataFrame:
        """Return `columns` as a reader wants them: shares in percent, reasons beside the use."""
        shown = self.columns.copy()
        shown["missing"] = [f"{share:.0%}" if share else "" for share in shown["missing"]]
        left_out = shown["use"] + ": " + shown["reason"]
        shown["use"] = left_out.where(shown["reason"] != "", shown["use"])
        return shown.drop(columns="reason")


@own_settings()
def inspect_table(
    table: str | Path | pd.DataFrame,
    target: str | None = None,
    *,
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    date: Sequence[str] = (),
    drop: Sequence[str] = (),
) -> Inspection:
    """Say how a table will be read, and what in it deserves a look.

    Parameters
    ----------
    table : str, Path or DataFrame
        As :func:`causalmix.data.dataset.load_dataset` takes it, or a table in memory.
    target : str, optional
        Target column; by default the one that the source names. Without one there are no classes
        and no suspicions of leaks.
    categorical, numeric : sequence of str, default=()
        As `load_dataset` takes them.
    date : sequence of str, default=()
        Columns that are dates.
    drop : sequence of str, default=()
        Columns that will not be used.

    Returns
    -------
    Inspection
        It prints as text, and shows as a table in notebooks.

    Raises
    ------
    UnknownNameError
        If there is no such table or column.
    DataError
        If the table cannot be used as it is; the message says why and what to do.
    """
    name, raw = _raw(table)
    frame = numpy_backed(raw.frame)
    chosen = target or raw.target
    columns = list(frame.columns)
    if chosen is not None:
        check_name(chosen, columns, "target column")
        check_target_stays(chosen, {"numeric": numeric, "date": date, "drop": drop})
    for each in drop:
        check_name(each, columns, "column in drop=")
    y = None
    if chosen is not None:
        y = read_classes(frame[chosen], chosen in categorical, raw.decimal_comma)
    features = frame.drop(columns=[*drop, *([] if chosen is None else [chosen])])
    X, diagnoses = clean_columns(
        features,
        categorical=[each for each in categorical if each != chosen],
        numeric=numeric,
        date=date,
        typed=raw.typed,
        decimal_comma=raw.decimal_comma,
    )
    rows = []
    for column in frame:
        if column == chosen:
            values, found, use, reason = y, None, "target", ""
        elif column in drop:
            values, found = diagnose(frame[column], decimal_comma=raw.decimal_comma)
            use, reason = "left out", "by request"
        else:
            found = diagnoses[column]
            use, reason = ("left out" if found.dropped else "feature"), REASONS[found.dropped]
            values = X.get(column)
            if values is None:
                values = diagnose(frame[column], decimal_comma=raw.decimal_comma)[0]
            if found.dropped == "text" and values.dropna().is_unique:
                reason = REASONS["identifier"]
        counts = (float(values.isna().mean()), int(values.nunique()))
        rows.append((column, _kind(values, found), use, reason, *counts, _values(values, found)))
    names = ["column", "kind", "use", "reason", "missing", "distinct", "values"]
    said = [
        *(
            [f"{len(frame)} rows are few: what is found in them may be chance."]
            * (len(frame) < FEW)
        ),
        *_sentinels(X, diagnoses),
        *_lookalikes(frame[[name for name in X if diagnoses[name].kind == "category"]]),
        *_duplicates(frame),
    ]
    if y is not None:
        said = [*_about_classes(y), *_leaks(X, y), *said]
    return Inspection(
        name,
        len(frame),
        pd.DataFrame(rows, columns=names),
        None if y is None else y.value_counts(sort=False),
        tuple(notes_on(diagnoses)),
        tuple(said),
        diagnoses,
    )


def source_rows(
    table: str | Path | pd.DataFrame, inspection: Inspection, categorical: Sequence[str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series, dict[str, str]]:
    """Take the rows that have a class, as their source has them.

    Parameters
    ----------
    table, categorical
        As `inspect_table` got them.
    inspection : Inspection
        Of the table.

    Returns
    -------
    rows : DataFrame
        All columns.
    X : DataFrame
        Those that are used, without the target; its ``attrs`` say of a decimal comma, the
        separator, and what columns of the whole table mean.
    y : Series of dtype category
    columns : dict of str to str
        What the used columns are, as `causalmix.data.schema.ROLES` has it.

    Raises
    ------
    CausalMixError
        If there is no target.
    """
    columns = inspection.columns
    target = columns.loc[columns["use"] == "target", "column"]
    if target.empty:
        raise CausalMixError(
            f"{inspection.name}: say which column is the target (--target NAME). Columns: "
            f"{listed(list(columns['column']))}."
        )
    _, raw = _raw(table)
    name, frame = target.item(), numpy_backed(raw.frame)
    y = read_classes(frame[name], name in categorical, raw.decimal_comma)
    rows = frame[y.notna().to_numpy()].reset_index(drop=True)
    used = list(columns.loc[columns["use"] == "feature", "column"])
    X = rows[used].copy()
    known = {each: inspection.diagnoses[each] for each in used}
    X.attrs |= {"decimal_comma": raw.decimal_comma, "separator": raw.separator, "diagnoses": known}
    roles = {"category": "categorical", "number": "numeric", "date": "date"}
    said = {name: roles[each.kind] for name, each in known.items() if each.kind in roles}
    return rows, X, y.dropna().reset_index(drop=True), said


def _raw(table: str | Path | pd.DataFrame) -> tuple[str, RawTable]:
    if not isinstance(table, pd.DataFrame):
        return find_table(table)
    if table.empty:
        raise DataError("The table has no rows, or no columns.")
    frame = table.set_axis(check_columns(list(table.columns), "The table"), axis=1)
    return "table", RawTable(frame.reset_index(drop=True), "in memory")


def _kind(values: pd.Series, found: Diagnosis | None) -> str:
    if found is None or isinstance(values.dtype, pd.CategoricalDtype):
        return "category"
    if found.kind == "number":
        return "whole number" if all_whole(values.dropna()) else "number"
    return found.kind


def _values(values: pd.Series, found: Diagnosis | None) -> str:
    """Describe the values of a column in its own units."""
    known = values.dropna()
    if known.empty:
        return ""
    if found is not None and pd.api.types.is_numeric_dtype(values.dtype):
        low, high = (_measure(end, found) for end in (known.min(), known.max()))
        unit = {"number": found.unit, "duration": "days"}.get(found.kind, "")
        return f"{low} to {high} {unit}".rstrip()
    counts = known.astype(str).value_counts()
    shown = ", ".join(
        f"{shorten(level, 24, placeholder='…')} ({n})" for level, n in counts.iloc[:_SHOWN].items()
    )
    return f"{shown}, …" if len(counts) > _SHOWN else shown


def _measure(value: float, found: Diagnosis) -> str:
    if found.kind != "date":
        return f"{value:.6g}"
    return str(moments_of(np.array(value)).astype("datetime64[D]"))


# What deserves a look --------------------------------------------------------------------------


def _sentinels(X: pd.DataFrame, diagnoses: Mapping[str, Diagnosis]) -> list[str]:
    """Name numbers and dates that look like a mark for a missing value."""
    found = []
    for name in X.select_dtypes("number"):
        known = X[name].dropna()
        if (kind := diagnoses[name].kind) not in ("number", "date") or known.nunique() < 3:
            continue
        counts = known.value_counts()
        for end in (known.min(), known.max()):
            others = known[known != end]
            apart = np.abs(others - end).min() > np.ptp(others)
            only_negative = kind == "number" and end < 0 <= others.min()
            is_mark = kind == "date" or _SENTINEL.fullmatch(f"{end:g}")
            if counts[end] > 1 and is_mark and (apart or only_negative):
                shown = _measure(end, diagnoses[name])
                found.append(f"{quoted(name)} ({shown} in {counts[end]} rows)")
    if not found:
        return []
    return [
        "Numbers and dates that may stand for missing values, far from the others: "
        f"{', '.join(found)}. Leave those cells empty if they do."
    ]


def _lookalikes(frame: pd.DataFrame) -> list[str]:
    """Name levels of text columns that differ by case, blanks or marks only."""
    found = []
    for name, column in frame.items():
        texts = pd.Series([cell for cell in column if isinstance(cell, str)], dtype=object)
        levels = texts.unique()
        if not 1 < len(levels) <= len(texts) / 2:
            continue
        alike: dict[str, set[str]] = {}
        for level in levels:
            alike.setdefault(re.sub(r"[\W_]+", " ", level).strip().casefold(), set()).add(level)
        groups = [sorted(group) for key, group in alike.items() if len(group) > 1 and key]
        if groups:
            said = "; ".join(" and ".join(map(repr, group[:3])) for group in groups[:3])
            found.append(f"{quoted(name)} ({said})")
    if not found:
        return []
    return [
        f"Levels that differ by case, blanks or marks only: {', '.join(found)}. Write them alike "
        "if they mean the same."
    ]


def _duplicates(frame: pd.DataFrame) -> list[str]:
    n = int(frame.astype(str).duplicated().sum())
    if not n:
        return []
    rows = "row repeats" if n == 1 else "rows repeat"
    return [
        f"{n} {rows} another one in every column. If they are the same case twice, remove them: a "
        "test row that was trained on flatters the scores."
    ]


def _about_classes(y: pd.Series) -> list[str]:
    counts, found = y.value_counts(), []
    if gone := int(y.isna().sum()):
        found.append(f"{gone} rows have no class and are left out.")
    rare = [f"{quoted(name)} ({n})" for name, n in counts[counts < RARE].items()]
    if rare:
        found.append(
            f"Classes with fewer than {RARE} rows: {', '.join(rare)}. They can hardly be learned "
            "or tested; put them together with others if that makes sense."
        )
    return found


def _leaks(X: pd.DataFrame, y: pd.Series) -> list[str]:
    """Name columns that tell the class almost without error by themselves."""
    known = y.dropna().index[:_MOST_ROWS]
    y, suspects = y.loc[known].cat.codes, []
    folds = min(5, int(y.value_counts().min()))
    if folds < 2:
        y = y[y.map(y.value_counts()) >= 2]
        folds = 2
    if y.nunique() < 2:
        return []
    split = StratifiedKFold(folds, shuffle=True, random_state=0)
    for name in X:
        column = X.loc[y.index, name]
        codes = column.cat.codes if isinstance(column.dtype, pd.CategoricalDtype) else column
        tree = DecisionTreeClassifier(max_leaf_nodes=4 * y.nunique(), random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UndefinedMetricWarning)
            scores = cross_val_score(
                tree, codes.to_frame("x"), y, cv=split, scoring="balanced_accuracy"
            )
        if scores.mean() >= LEAK:
            suspects.append(name)
    if not suspects:
        return []
    return [
        f"Columns that tell the class almost without error by themselves: {listed(suspects)}. Are "
        "they known before the class is? If not, leave them out."
    ]
