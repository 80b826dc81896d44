"""What a column means: decided once, on all its cells, and used to read every later table.

A later cell is read for itself, whatever stands in the cells beside it; what cannot be read is
missing where it is little, and an error where it is much.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from functools import partial
from numbers import Real
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd

from causalmix.data import cells
from causalmix.data.cells import Decimals, is_gap
from causalmix.errors import DataError, quoted

MOST_ODD = 0.05
"""Largest share of known cells that may say something else in a column of numbers or dates."""

_ONE_AMONG = 10
"""Dates among which one cell may be broken, whatever its share."""

Kind = Literal["number", "date", "duration", "category", "text"]
"""What a column is; `category` is stated by the source or learned, `text` is neither yet."""

Want = Literal["category", "number", "date", "label"]
"""What a user declared a column to be; a `label` is a target, whose numbers are kept exact."""

_LISTS = {"number": "numeric", "date": "date"}  # where a user declares what is read
_ODD = ("bound", "unit", "ledger", "thousands", "gap", "other", "unread")
_EXAMPLES = 3
_MANY = 10  # distinct numbers or dates, of which a column of text is said to have almost been one
_LEADING_ZERO = re.compile(r"0\d+")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+")
_WORDS = {"na", "n/a"}  # missing, but of a region or a garage perhaps a category
_OTHER: dict[str, Decimals] = {".": ",", ",": "."}
_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True)
class Odd:
    """Cells of a column that are not simply numbers, dates or categories.

    Attributes
    ----------
    kind : {"bound", "unit", "ledger", "thousands", "gap", "other", "unread"}
        A bound (``<5``); a number with a unit, a percent or a currency sign; a negative number as
        in ledgers (``(5)``, ``5-``); a number of which no
        cell of the column says whether a comma sets off thousands or a fraction; a missing marker
        or an error code (of text, a marker that may be meant as a category); anything else;
        anything else in a column that is text because of it.
    count : int
        Such cells.
    examples : dict of str to (float or None)
        The most frequent of them, and what each was taken as; None is a missing value.
    """

    kind: Literal["bound", "unit", "ledger", "thousands", "gap", "other", "unread"]
    count: int
    examples: dict[str, float | None]

    def __str__(self) -> str:
        taken = (
            f"{text!r} as {'missing' if value is None else f'{value:.15g}'}"
            for text, value in self.examples.items()
        )
        said = map(repr, self.examples) if self.kind == "unread" else taken
        return f"{', '.join(said)} in {self.count} cell{'s' * (self.count > 1)}"


@dataclass(frozen=True)
class Diagnosis:
    """What a column means.

    Attributes
    ----------
    kind : {"number", "date", "duration", "category", "text"}
    levels : tuple of str or None
        Names of the categories; None for any other kind.
    decimal : {".", ","}
        What separates whole from fraction in text.
    unit : str
        Unit, percent or currency sign of numbers; "" for none.
    day_first : bool or None
        Whether the day comes before the month in dates that end with their year; None if there were
        none.
    assumed : bool
        Whether no cell settles that order.
    grouped : bool
        Whether a later cell may set off thousands by the mark that is not `decimal`; False if there
        were fractions and no such mark.
    furthest : float
        Days from 1970-01-01 to the date furthest from it.
    odd : tuple of Odd
        Cells that are not simply numbers, dates or categories, by what they were taken as.
    dropped : str
        Why the column is not used, in a word; "" if it is.
    """

    kind: Kind
    levels: tuple[str, ...] | None = None
    decimal: Decimals = "."
    unit: str = ""
    day_first: bool | None = None
    assumed: bool = False
    grouped: bool = True
    furthest: float = 0.0
    odd: tuple[Odd, ...] = ()
    dropped: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return all attributes as JSON can hold them."""
        lists = {"levels": None if self.levels is None else list(self.levels)}
        return asdict(self) | lists | {"odd": [asdict(odd) for odd in self.odd]}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Undo `as_json`."""
        levels = None if state["levels"] is None else tuple(state["levels"])
        return cls(**{**state, "levels": levels, "odd": tuple(Odd(**o) for o in state["odd"])})


@dataclass
class Unread:
    """Known cells of a later table that a column's diagnosis has no reading for.

    Attributes
    ----------
    known : int
        Cells that are no gaps.
    cells : Counter
        By their text; they count as missing.
    times : str
        A number that was read as time since 1970-01-01 in a column of dates; "" if there is none.
    """

    known: int = 0
    cells: Counter[str] = field(default_factory=Counter)
    times: str = ""


def diagnose(
    column: pd.Series, *, want: Want | None = None, decimal_comma: bool = False
) -> tuple[pd.Series, Diagnosis]:
    """Say what a column means, and read it.

    Parameters
    ----------
    column : pd.Series
        A column of any dtype.
    want : {"category", "number", "date", "label"}, optional
        What the user declared the column to be: a declared category is not read as dates, nor as
        numbers that are not written plainly; declared numbers and dates are not left as text.
    decimal_comma : bool, default=False
        Whether ``1,234`` means 1.234 where no cell of the column settles it.

    Returns
    -------
    values : pd.Series
        int64 or float64 for `number`, float64 days since 1970-01-01 for `date`, float64 days for
        `duration`, strings (NaN where missing) for `text`, and a pandas category, its levels as
        they were, for `category`.
    diagnosis : Diagnosis
        Without levels.

    Raises
    ------
    DataError
        If cells are nested, binary or complex, or are no numbers or dates where those are wanted.
    """
    column = _dense(column)
    dtype = column.dtype
    if want == "date" and dtype.kind not in "mM":
        return _diagnose_cells(column, want, False)
    if isinstance(dtype, pd.CategoricalDtype):
        if want == "number":
            return _diagnose_cells(column, want, False)
        return column, Diagnosis("category")
    if pd.api.types.is_bool_dtype(dtype):
        if want == "number":
            return _plain_numbers(column.astype("Int64")), Diagnosis("number")
        return column.astype("category"), Diagnosis("category")
    if pd.api.types.is_numeric_dtype(dtype):
        values = _plain_numbers(column)
        rounded = want == "label" and pd.api.types.is_integer_dtype(dtype) and _is_rounded(values)
        return _diagnose_cells(column, want, False) if rounded else (values, Diagnosis("number"))
    if want == "date" and dtype.kind == "m":
        raise DataError(f"Column {quoted(column.name)} is to be dates, but holds durations.")
    if dtype.kind in "mM" and want != "category":
        days = _days(column)
        kind = "date" if dtype.kind == "M" else "duration"
        return days, Diagnosis(kind, furthest=_furthest(days.to_numpy()))
    return _diagnose_cells(column, want, decimal_comma)


def read(
    column: pd.Series, diagnosis: Diagnosis, *, decimal_comma: bool = False
) -> tuple[pd.Series, Unread]:
    """Read a later column as the one that was diagnosed, cell by cell.

    Parameters
    ----------
    column : pd.Series
        Of any dtype.
    diagnosis : Diagnosis
        Of numbers, dates, durations or categories.
    decimal_comma : bool, default=False
        Whether the column's source has decimal commas: where the one that was diagnosed had points,
        a comma is then not taken for one of thousands.

    Returns
    -------
    values : pd.Series
        float64, or a category with the learned levels; NaN where a cell is missing or not read.
    unread : Unread
        What was not read.

    Raises
    ------
    DataError
        If a column of numbers, dates or durations holds something else in more than one cell and in
        more than `MOST_ODD` of those that are known, or in all of them; but for columns that held
        such cells when they were diagnosed.
    """
    column, unread = _dense(column), Unread()
    if diagnosis.kind == "category":
        return _read_levels(column, diagnosis, unread), unread
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object if column.hasnans else column.cat.categories.dtype)
    dtype = column.dtype
    if diagnosis.kind == "number" and pd.api.types.is_bool_dtype(dtype):
        column = column.astype("Int8")
    if diagnosis.kind == "number" and pd.api.types.is_numeric_dtype(dtype):
        return _plain_numbers(column).astype(np.float64), unread
    if dtype.kind == {"date": "M", "duration": "m"}.get(diagnosis.kind):
        return _days(column), unread
    return _read_measures(column, diagnosis, unread, decimal_comma), unread


def read_part(column: pd.Series, diagnosis: Diagnosis) -> tuple[pd.Series, Diagnosis]:
    """Read some rows of the column that was diagnosed, as `diagnose` reads all.

    Parameters
    ----------
    column : pd.Series
        Of any dtype.
    diagnosis : Diagnosis
        Of numbers, dates, durations or categories.

    Returns
    -------
    values : pd.Series
        As `diagnose` returns them; a category with those levels that these rows have.
    diagnosis : Diagnosis
        The same, but for the levels.
    """
    if diagnosis.kind == "number" and pd.api.types.is_bool_dtype(column.dtype):
        column = column.astype("Int8")
    values, _ = read(column, diagnosis)
    if diagnosis.kind == "category":
        values = values.cat.remove_unused_categories()
        return values, replace(diagnosis, levels=tuple(values.cat.categories))
    if diagnosis.kind == "number" and not values.isna().any():
        texts = np.array([str(cell).strip() for cell in column], dtype=object)
        values = pd.Series(_exact(texts, values.to_numpy()), values.index, name=values.name)
    return values, diagnosis


def _dense(column: pd.Series) -> pd.Series:
    """Return a column without sparse storage; refuse complex numbers."""
    if isinstance(column.dtype, pd.SparseDtype):
        column = column.sparse.to_dense()
    cells.refuse_complex(column)
    return column


def _plain_numbers(column: pd.Series) -> pd.Series:
    """Return numbers as int64 if they are whole by type and complete, else as float64."""
    whole = pd.api.types.is_integer_dtype(column.dtype) and not column.isna().any()
    if whole and (column.empty or column.max() <= np.iinfo(np.int64).max):
        return column.astype(np.int64)
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return pd.Series(values, index=column.index, name=column.name)


def _is_rounded(values: pd.Series | np.ndarray) -> bool:
    """Say whether whole numbers may have lost digits on their way to float64."""
    return values.dtype == np.float64 and bool((np.abs(values) >= 2**53).any())


def _days(column: pd.Series) -> pd.Series:
    """Return dates as days since 1970-01-01 (UTC), and durations as days."""
    if isinstance(column.dtype, pd.ArrowDtype):
        values = column.array.__arrow_array__().to_numpy()
    elif getattr(column.dtype, "tz", None) is not None:
        values = column.dt.tz_convert(None).to_numpy()
    else:
        values = column.to_numpy()
    return pd.Series(cells.days_of(values), column.index, name=column.name)


def _furthest(days: np.ndarray) -> float:
    return float(np.fmax.reduce(np.abs(days), initial=0.0))


# The decision on a column of Python objects ------------------------------------------------


class _Levels(NamedTuple):
    """The distinct cells of a column, arrays of shape (n_levels,)."""

    texts: np.ndarray  # without blanks around them
    counts: np.ndarray
    written: np.ndarray  # whether the cell is text itself, and no number or date
    gaps: np.ndarray  # whether it is missing in any column
    plain: np.ndarray  # the number that it plainly is, or NaN
    complete: bool  # whether the column has no other cells, which are missing

    @classmethod
    def of(cls, values: Sequence[object], codes: np.ndarray) -> Self:
        texts = np.empty(len(values), dtype=object)
        try:  # the quick way for most columns
            texts[:], written = list(map(cells.tidy, values)), np.ones(len(texts), dtype=bool)
        except AttributeError:  # numbers or dates among them
            written = np.array([isinstance(v, str) for v in values], dtype=bool)
            texts[:] = [cells.tidy(v) if isinstance(v, str) else str(v) for v in values]
        plain, gaps = cells.plain_floats(texts), np.zeros(len(texts), dtype=bool)
        for i in np.flatnonzero(np.isnan(plain)):
            gaps[i] = is_gap(texts[i])
        return cls(
            texts,
            np.bincount(codes[codes >= 0], minlength=len(texts)),
            written,
            gaps,
            plain,
            bool((codes >= 0).all()),
        )

    def odd(self, how: np.ndarray, values: np.ndarray) -> tuple[Odd, ...]:
        """Name the cells that are read in an odd way (`Odd.kind` or "" by level)."""
        at = {kind: np.flatnonzero(how == kind) for kind in _ODD}
        return tuple(self._odd(kind, where, values) for kind, where in at.items() if len(where))

    def _odd(self, kind: str, at: np.ndarray, values: np.ndarray) -> Odd:
        most = at[np.argsort(-self.counts[at], kind="stable")][:_EXAMPLES]
        taken = {self.texts[i]: None if np.isnan(values[i]) else float(values[i]) for i in most}
        return Odd(kind, int(self.counts[at].sum()), taken)

    def share(self, where: np.ndarray) -> float:
        """Return the share of some distinct cells among the known cells."""
        return self.counts[where].sum() / max(self.counts[~self.gaps].sum(), 1)


class _Attempt(NamedTuple):
    """The distinct cells read as numbers or dates, how each was read, and whether that fits."""

    values: np.ndarray
    how: np.ndarray
    diagnosis: Diagnosis
    fits: bool


def _diagnose_cells(
    column: pd.Series, want: Want | None, decimal_comma: bool
) -> tuple[pd.Series, Diagnosis]:
    """Diagnose a column of Python objects by way of its distinct values."""
    codes, found = cells.distinct(column)
    if want in (None, "label") and found and all(isinstance(v, bool) for v in found):
        return column.astype("category"), Diagnosis("category")
    if found and all(isinstance(v, dt.timedelta) for v in found):
        return diagnose(pd.to_timedelta(column), want="number")
    levels = _Levels.of(found, codes)
    attempts = [_as_dates(levels) if want == "date" else _as_numbers(levels, want, decimal_comma)]
    if not attempts[0].fits and want in (None, "label"):
        attempts.append(_as_dates(levels))
    fitting = attempts[-1] if attempts[-1].fits else None
    other = attempts[0].how == "other"
    if want in _LISTS and not fitting and other.any():
        raise DataError(
            f"Column {quoted(column.name)} is listed in {_LISTS[want]}=, but "
            f"{quoted(levels.texts[other][0])} is not a {want}. Correct the cell, leave it "
            "empty, or take the column off the list."
        )
    values = fitting.values if fitting else np.where(levels.gaps, np.nan, levels.texts)
    if not levels.complete:  # the code -1 of a missing cell points to the value at the end
        values = np.append(values, [np.nan])
    diagnosis = fitting.diagnosis if fitting else _text(levels, attempts)
    return pd.Series(values[codes], index=column.index, name=column.name), diagnosis


def _text(levels: _Levels, attempts: list[_Attempt]) -> Diagnosis:
    """Diagnose a column of text; name what keeps it from being numbers or dates if that is little.

    A few numbers among names are codes. Else name missing markers that may be meant as a category.
    """
    for attempt in attempts:
        other, n_read = attempt.how == "other", len(np.unique(attempt.values))
        if other.any() and levels.share(other) < 0.5 and n_read > _MANY:
            kept = [odd for odd in attempt.diagnosis.odd if odd.kind == "other"]
            return Diagnosis("text", odd=tuple(replace(odd, kind="unread") for odd in kept))
    words = np.array([text.lower() in _WORDS for text in levels.texts], dtype=bool)
    how = np.where(words, "gap", "").astype(object)
    return Diagnosis("text", odd=levels.odd(how, np.full(len(how), np.nan)))


def _as_numbers(levels: _Levels, want: Want | None, decimal_comma: bool) -> _Attempt:
    """Read the distinct cells of a column as numbers."""
    decimal, settled = _decimal(levels, decimal_comma)
    values, how, unit = _number_cells(levels, decimal)
    if settled:
        how[how == "thousands"] = ""
    _name_gaps(levels, values, how)
    read = ~np.isnan(values)
    texts = levels.texts[read]
    diagnosis = Diagnosis(
        "number",
        decimal=decimal,
        unit=unit,
        grouped=_has(texts, _OTHER[decimal]) or not _has(texts, decimal),
        odd=levels.odd(how, values),
    )
    if levels.complete and read.all():
        values = _exact(levels.texts, values)
    fits = _numbers_fit(levels, values[read], how, want)
    if fits and want != "number" and cells.all_whole(values[read]):
        fits = not any(_LEADING_ZERO.fullmatch(text) for text in levels.texts)  # codes
    return _Attempt(values, how, diagnosis, fits)


def _has(texts: Iterable[object], mark: str) -> bool:
    return any(mark in text for text in texts if isinstance(text, str))


def _numbers_fit(levels: _Levels, known: np.ndarray, how: np.ndarray, want: Want | None) -> bool:
    """Say whether the cells of a column may be read as these numbers."""
    if not len(known) or levels.share(how == "other") > MOST_ODD:
        return False
    if want == "number":
        return True
    signs, rounded = np.isin(how, ("bound", "unit", "ledger")).any(), _is_rounded(known)
    if want is not None:  # what is a category is not to lose a name
        return not (signs or rounded or (how == "other").any() or _are_versions(levels.texts))
    only_signs = np.isin(how[~levels.gaps], ("bound", "ledger", "gap", "other")).all()
    n_distinct = len(np.unique(known))
    few = np.isin(how[~levels.gaps], ("unit", "gap", "other")).all() and n_distinct <= 2  # 2D, 3D
    merged = (signs and n_distinct == 1 < len(known)) or (rounded and n_distinct < len(known))
    return not (only_signs or few or merged)


def _are_versions(texts: np.ndarray) -> bool:
    """Say whether fractions differ in length and one ends with 0: 3.9, 3.10; not 0.50, 1.25."""
    fractions = [text.partition(".")[2] for text in texts if "." in text]
    ends = any(part.endswith("0") and part.strip("0") for part in fractions)
    return ends and len({len(part) for part in fractions}) > 1


def _exact(texts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return whole numbers that are all written without a decimal point as int64 if they fit."""
    if all(text.lstrip("+-").isdecimal() for text in texts):
        try:
            return np.array([int(text) for text in texts], dtype=np.int64)
        except OverflowError:
            pass
    return values


def _decimal(levels: _Levels, decimal_comma: bool) -> tuple[Decimals, bool]:
    """Return what separates whole from fraction, and whether cells of the column settle it."""
    plain = ~np.isnan(levels.plain)
    unread = [i for i in np.flatnonzero(~plain & ~levels.gaps) if {*levels.texts[i]} & {*".,"}]
    reads = {i: [cells.read_number(levels.texts[i], d) is not None for d in ".,"] for i in unread}
    for_point = sum(levels.counts[i] for i, (point, comma) in reads.items() if point > comma)
    for_comma = sum(levels.counts[i] for i, (point, comma) in reads.items() if comma > point)
    is_open = any(all(read) and "," in levels.texts[i] for i, read in reads.items())
    if for_comma or is_open:
        fractions = (i for i in np.flatnonzero(plain) if "." in levels.texts[i])
        for_point += sum(
            levels.counts[i] for i in fractions if not _THOUSANDS.fullmatch(levels.texts[i])
        )
    pointed = [i for i in np.flatnonzero(plain & levels.written) if "." in levels.texts[i]]
    grouped = bool(pointed) and all(_THOUSANDS.fullmatch(levels.texts[i]) for i in pointed)
    silent = not unread and not pointed  # a later cell may have a mark
    is_open |= grouped or silent
    comma = for_comma > for_point or (decimal_comma and is_open and for_comma == for_point)
    return "," if comma else ".", bool(for_comma != for_point)


def _number_cells(levels: _Levels, decimal: Decimals) -> tuple[np.ndarray, np.ndarray, str]:
    """Read the distinct cells as numbers; say how each was read, and which unit they have."""
    values, how = levels.plain.copy(), np.full(len(levels.texts), "", dtype=object)
    again = np.isnan(values) & ~levels.gaps
    if decimal == ",":
        again |= levels.written & np.array(["." in text for text in levels.texts], dtype=bool)
    found = {i: cells.read_number(levels.texts[i], decimal) for i in np.flatnonzero(again)}
    units: Counter[str] = Counter()
    for i, number in found.items():
        if number and number.unit:
            units[number.unit] += levels.counts[i]
    unit = units.most_common(1)[0][0] if units else ""
    for i, number in found.items():
        if number and number.unit in ("", unit):
            values[i] = number.value
            names = ("bound", "unit", "ledger", "thousands")
            open_ = {*levels.texts[i]} & ({","} | ({"."} if decimal == "," else set()))
            says = (number.bound, number.unit, number.ledger, open_)
            how[i] = next((name for name, said in zip(names, says, strict=True) if said), "")
    return values, how, unit


def _name_gaps(levels: _Levels, values: np.ndarray, how: np.ndarray) -> None:
    """Mark the cells that are not read as gaps, or as something else."""
    for i in np.flatnonzero(np.isnan(values) & ~levels.gaps):
        how[i] = "gap" if cells.is_gap_among_measures(levels.texts[i]) else "other"


def _as_dates(levels: _Levels) -> _Attempt:
    """Read the distinct cells of a column as dates."""
    votes = {True: 0, False: 0}
    for text, count in zip(levels.texts, levels.counts, strict=True):
        if (first := cells.day_is_first(text)) is not None:
            votes[first] += count
    separators = {cells.date_separator(text) for text in levels.texts} - {""}
    settled = votes[True] != votes[False]
    day_first = votes[True] > votes[False] if settled else "." in separators
    values = np.array([cells.read_date(text, day_first) for text in levels.texts], np.float64)
    how = np.full(len(values), "", dtype=object)
    _name_gaps(levels, values, how)
    diagnosis = Diagnosis(
        "date",
        day_first=bool(day_first) if separators else None,
        assumed=bool(separators) and not settled,
        furthest=_furthest(values),
        odd=levels.odd(how, values),
    )
    n_other, n_read = levels.counts[how == "other"].sum(), levels.counts[~np.isnan(values)].sum()
    few = levels.share(how == "other") <= MOST_ODD or (n_other == 1 and n_read >= _ONE_AMONG)
    fits = n_read > 0 and few
    return _Attempt(values, how, diagnosis, bool(fits))


# Later cells -------------------------------------------------------------------------------


def _read_measures(
    column: pd.Series, diagnosis: Diagnosis, unread: Unread, decimal_comma: bool
) -> pd.Series:
    """Read a later column of objects as numbers, dates or durations."""
    codes, values = cells.distinct(column)
    later = _LATER[diagnosis.kind]
    other = _OTHER[diagnosis.decimal]
    # No cell has the decimal mark of the column, and some have another: 3.231 for 3,231, say.
    changed = not (diagnosis.grouped or _has(values, diagnosis.decimal)) and _has(values, other)
    changed |= decimal_comma and other == ","
    numbers = np.full(len(values) + 1, np.nan)  # the last one is that of missing cells
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    foreign = []
    for i, (value, count) in enumerate(zip(values, counts, strict=True)):
        cell = cells.tidy(value) if isinstance(value, str) else value
        if cells.is_gap_among_measures(str(cell)):
            continue
        unread.known += int(count)
        if not (changed and _has([cell], other)):
            numbers[i] = later(cell, diagnosis, unread)
        if np.isnan(numbers[i]):
            foreign.append(value)
            unread.cells[str(cell)] += int(count)
    n, expected = unread.cells.total(), any(odd.kind == "other" for odd in diagnosis.odd)
    if foreign and not expected and (n > max(1, MOST_ODD * unread.known) or n == unread.known):
        raise _foreign(column, foreign[0], diagnosis)
    return pd.Series(numbers[codes], column.index, name=column.name)


def _later_number(cell: object, diagnosis: Diagnosis, unread: Unread) -> float:
    if not isinstance(cell, str):
        return float(cell) if isinstance(cell, Real | Decimal) else np.nan
    if (truth := _TRUTH.get(cell.lower())) is not None:
        return float(truth)
    number = cells.read_number(cell, diagnosis.decimal)
    return number.value if number and number.unit in ("", diagnosis.unit) else np.nan


def _later_date(cell: object, diagnosis: Diagnosis, unread: Unread) -> float:
    text = str(cell)
    if isinstance(cell, Real | Decimal) or text.lstrip("+-").isdecimal():
        days = cells.epoch_days(float(cell), diagnosis.furthest)
        if not np.isnan(days):
            unread.times = unread.times or text
        return days
    first = diagnosis.day_first
    if first is None and (separator := cells.date_separator(text)):
        first = True if separator == "." else cells.day_is_first(text)
        if first is None and cells.read_date(text, True) != cells.read_date(text, False):
            return np.nan  # nothing says whether day or month comes first
    return cells.read_date(text, bool(first))


def _later_duration(cell: object, diagnosis: Diagnosis, unread: Unread) -> float:
    number = cells.read_number(str(cell), ".")
    if number and not number.unit:
        return np.nan  # nothing says of what
    return float(pd.to_timedelta(cell, errors="coerce") / pd.Timedelta(days=1))


_LATER = {"number": _later_number, "date": _later_date, "duration": _later_duration}


def _foreign(column: pd.Series, value: object, diagnosis: Diagnosis) -> DataError:
    """Return the error for a later cell that the column's diagnosis has no reading for."""
    what = {"number": "numbers", "date": "dates", "duration": "durations"}[diagnosis.kind]
    hint = ""
    if diagnosis.kind == "date" and cells.date_separator(str(value)):
        order = {None: "none with the year last", True: "day first", False: "month first"}
        hint = f" Those were {order[diagnosis.day_first]}: write 2024-12-31 for 31 December."
    elif diagnosis.kind == "number" and _has([value], _OTHER[diagnosis.decimal]):
        hint = f" Their decimal mark was {diagnosis.decimal!r}."
    elif diagnosis.unit:
        hint = f" Their unit was {diagnosis.unit!r}."
    return DataError(
        f"Column {quoted(column.name)} held {what} when the model was fitted and now holds "
        f"{quoted(value)}.{hint} Correct the cell, or leave it empty."
    )


def _read_levels(column: pd.Series, diagnosis: Diagnosis, unread: Unread) -> pd.Series:
    """Read a later column as categories."""
    levels = diagnosis.levels
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, values = column.cat.codes.to_numpy(), list(column.cat.categories)
    else:
        codes, values = cells.distinct(column)
    find = _finder(levels, diagnosis.decimal)
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    positions = np.full(len(values) + 1, -1)  # the last one is that of missing cells
    for i, (value, count) in enumerate(zip(values, counts, strict=True)):
        text = cells.name_of(value)
        positions[i] = find(text)
        if positions[i] >= 0 or not is_gap(text):
            unread.known += int(count)
        if positions[i] < 0 < count and not is_gap(text):
            unread.cells[text] += int(count)
    cells_read = pd.Categorical.from_codes(positions[codes], pd.Index(levels, dtype=object))
    return pd.Series(cells_read, column.index, name=column.name)


def _finder(levels: Sequence[str], decimal: Decimals) -> Callable[[str], int]:
    """Return a function that gives the position of a text among levels, -1 if it is none.

    A text is a level as it is; else without blanks around it; else as it looks; else as the truth
    value or the number that it says, where one level only says that too.
    """
    keys = (str, str.strip, cells.tidy, _truth, _number, partial(_written_number, decimal=decimal))
    by_key = [_positions(levels, key) for key in keys]
    if not {True, False} <= by_key[3].keys():  # one truth value alone is a number
        by_key[3] = {}

    def find(text: str) -> int:
        found = (each.get(key(text), -1) for key, each in zip(keys, by_key, strict=True))
        return next((position for position in found if position >= 0), -1)

    return find


def _positions(levels: Sequence[str], key: Callable[[str], Any]) -> dict[Any, int]:
    """Return the positions of levels by a key, where it is that of one level only."""
    counts = Counter(map(key, levels))
    return {key(level): i for i, level in enumerate(levels) if counts[key(level)] == 1} | {None: -1}


def _truth(text: str) -> bool | None:
    return _TRUTH.get(text.strip().lower(), {1: True, 0: False}.get(_number(text)))


def _number(text: str) -> int | float | None:
    """Return a text as an exact number, None if it is none."""
    text = text.strip()
    try:
        return int(text) if text.lstrip("+-").isdecimal() else float(text)
    except ValueError:
        return None


def _written_number(text: str, decimal: Decimals) -> float | None:
    """Return the number of a text as a table writes it, ``2,00`` say; a level is named plainly."""
    found = cells.read_number(cells.tidy(text), decimal)
    return found.value if found and not (found.bound or found.unit) else None
