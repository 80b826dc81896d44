"""What one cell says: nothing, a number and how it is written, or a date."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Hashable
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from causalmix.errors import DataError, quoted

MISSING = frozenset(
    {"", "?", "na", "n/a", "#n/a", "nan", "<na>", "null", "(null)", "<null>", "[null]", "\\n"}
)
"""Cells that mean "missing" in any column, in lower case."""

MISSING_AMONG_MEASURES = frozenset(
    {
        "-",
        "--",
        "---",
        "\u2013",
        "\u2014",
        ".",
        "..",
        "...",
        "none",
        "nil",
        "missing",
        "unknown",
        "pending",
        "tbd",
    }
    | {"n.a.", "n.a", "na.", "n. a.", "n.d.", "n.d", "nd", "n/d", "k.a.", "k. a.", "n.v.", "nat"}
    | {"not available", "not applicable", "not done", "not measured", "0000-00-00"}
    | {"-nan", "1.#qnan", "-1.#qnan", "1.#ind", "-1.#ind"}
)
"""Cells that mean "missing" where the others of the column are numbers or dates, in lower case."""

LARGEST = 1e150
"""Numbers beyond this cannot be computed with: their squares are infinite."""

Decimals = Literal[".", ","]
"""What separates whole from fraction."""

_ERROR = re.compile(r"#[^\W\d_]+(/[^\W_]+)?[!?]?|err:\d+", re.IGNORECASE)  # of a spreadsheet
_CURRENCY = r"(?:[A-Z]{0,2}\$|[€£¥₹₽₩₪₺]|USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN)"
_NO_UNIT = (
    "(?!plus$)(?![\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u2079\u2150-\u215f])"  # powers, fractions
)
_UNIT = rf"(?:{_CURRENCY}|[%‰°]|[°µμ]?[^\W\d_][^\s\d,;:]{{0,14}}[23]?)"
_MULTIPLES = frozenset({"k", "K", "T", "M", "B", "bn", "mn", "Mio", "Mio.", "Mrd", "Mrd."})
_BOUND = r"below|under|less than|up to|at most|above|over|more than|at least"
_BEGINNING = re.compile(rf"{_CURRENCY}|{_BOUND}")  # of a number that begins with a letter


def _pattern(decimal: Decimals) -> re.Pattern[str]:
    """Return the pattern of a number with all that may stand around it."""
    point = re.escape(decimal)
    between = {".": ",", ",": "."}[decimal] + "'’ \u00a0\u202f\u2009"
    grouped = rf"[1-9]\d{{0,2}}(?P<group>[{between}])\d{{3}}(?:(?P=group)\d{{3}})*"
    lakhs = r"[1-9]\d?(?:,\d{2})+,\d{3}" if decimal == "." else r"(?!)"  # of India
    written = (
        rf"(?:(?:{grouped}|(?P<lakhs>{lakhs})|\d+)(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?"
    )
    return re.compile(
        rf"(?P<bound>[<>≤≥]=?|=[<>]|{_BOUND})?\s*(?P<sign>[+-])?\s*(?P<before>{_CURRENCY})?\s*"
        rf"(?P<inner>(?(before)[+-]|(?!)))?"
        rf"(?:(?P<number>{written})|(?P<plain>\d*\.\d+(?:[eE][+-]?\d+)?))"
        rf"\s*(?P<after>{_NO_UNIT}{_UNIT})?(?P<more>\+|plus|(?P<behind>-))?"
    )


_NUMBER = {decimal: _pattern(decimal) for decimal in (".", ",")}
_DATE = re.compile(
    r"(?:(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})"
    r"|(?P<a>\d{1,2})(?P<sep>[-/.])(?P<b>\d{1,2})[-/.](?P<end>\d{4}))"
    r"(?:[ T](?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.(?P<part>\d+))?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?(?: ?(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?))?)?"
)
_INVISIBLE = {0xA0: " "} | dict.fromkeys(
    (0xAD, 0x200B, 0x200E, 0x200F, 0x202A, 0x202C, 0x2060, 0xFEFF)
)
_EPOCH = dt.datetime(1970, 1, 1)
_DAY = 86_400 * 10**9
_PER_DAY = {"D": 1, "s": 86_400, "ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": _DAY}


class Number(NamedTuple):
    """A number as a cell has it.

    Parameters
    ----------
    value : float
    bound : bool
        Whether the cell says "below", "above" or "and more".
    unit : str
        Unit, percent or currency sign; "" for none.
    ledger : bool
        Whether it is negative as in ledgers: in brackets, or with the minus at its end.
    """

    value: float
    bound: bool
    unit: str
    ledger: bool = False


def tidy(text: str) -> str:
    """Return a text as it looks: composed, without invisible characters and blanks around it.

    Hard blanks count as blanks; ``="x"``, with which files force a spreadsheet to text, is x.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.translate(_INVISIBLE))
    text = text.strip()
    return (
        text[2:-1].strip()
        if text.startswith('="') and text.endswith('"') and len(text) > 2
        else text
    )


def is_gap(text: str) -> bool:
    """Say whether a cell stands for a missing value in any column."""
    return tidy(text).lower() in MISSING


def is_gap_among_measures(text: str) -> bool:
    """Say whether a cell among numbers or dates is a missing marker or a spreadsheet's error."""
    return is_gap(text) or text.lower() in MISSING_AMONG_MEASURES or bool(_ERROR.fullmatch(text))


def read_number(text: str, decimal: Decimals) -> Number | None:
    """Read a cell as a number, with bound, unit and thousands.

    Parameters
    ----------
    text : str
        Without blanks around it.
    decimal : {".", ","}
        What separates whole from fraction.

    Returns
    -------
    Number or None
        None if it is none, or a multiple such as ``5k``.
    """
    text = text.translate({0x2212: "-", 0x2013: "-", 0x66B: decimal, 0x66C: ""})
    if text[:1] in ("'", "\u2019"):
        text = text[1:]  # with which spreadsheets mark a number as text
    brackets = text[:1] == "(" and text[-1:] == ")"
    text = text[1:-1].strip() if brackets else text
    if text[:1].isalpha() and not _BEGINNING.match(text):
        return None  # the quick way for most texts
    found = _NUMBER[decimal].fullmatch(text)
    if not found or found["after"] in _MULTIPLES or (found["before"] and found["after"]):
        return None
    signs = [sign for sign in (found["sign"], found["inner"], found["behind"]) if sign]
    if len(signs) + brackets > 1:
        return None
    written = found["plain"]
    if not written:
        written = found["number"].replace(found["group"] or " ", "")
        written = written.replace(",", "") if found["lakhs"] else written.replace(decimal, ".")
    return Number(
        float(("-" if brackets else "".join(signs)) + written),
        bool(found["bound"] or (found["more"] and not found["behind"])),
        found["before"] or found["after"] or "",
        bool(brackets or found["behind"]),
    )


def plain_floats(texts: np.ndarray) -> np.ndarray:
    """Read plain decimal numbers (shape (n,), object) as float64; NaN where one is none."""
    numbers = np.array(pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce"), np.float64)
    # pandas knows what is a number, but is off in the last digit; Python's float is exact.
    read = ~np.isnan(numbers)
    numbers[read] = texts[read].astype(np.float64)
    return numbers


def day_is_first(text: str) -> bool | None:
    """Say whether only the day can come first in a date (True), or only the month (False).

    Parameters
    ----------
    text : str

    Returns
    -------
    bool or None
        None where both can, or where it is another text or a date that begins with its year.
    """
    found = _DATE.fullmatch(text)
    if not found or not found["a"]:
        return None
    a, b = int(found["a"]), int(found["b"])
    return None if (a > 12) == (b > 12) else a > 12


def date_separator(text: str) -> str:
    """Return what stands after the first number of a date that ends with its year, else ""."""
    found = _DATE.fullmatch(text)
    return (found["sep"] or "") if found else ""


def read_date(text: str, day_first: bool) -> float:
    """Read a date as days since 1970-01-01 (UTC where a time zone is given).

    Parameters
    ----------
    text : str
        Year, month and day, or the year last; a time may follow.
    day_first : bool
        Whether the day comes before the month where the year is last.

    Returns
    -------
    float
        NaN if the text is no date.
    """
    found = _DATE.fullmatch(text)
    if not found:
        return np.nan
    month, day = ("b", "a") if day_first else ("a", "b")
    names = ("end", month, day) if found["a"] else ("year", "month", "day")
    clock = [int(found[name] or 0) for name in ("hour", "minute", "second")]
    if half := (found["half"] or "").lower():
        if not 1 <= clock[0] <= 12:
            return np.nan
        clock[0] = clock[0] % 12 + 12 * (half == "p")
    try:
        since = dt.datetime(*(int(found[name]) for name in names), *clock) - _EPOCH
    except ValueError:
        return np.nan
    seconds = since.days * 86_400 + since.seconds - _offset(found["zone"])
    return float(seconds * 10**9 + int((found["part"] or "0")[:9].ljust(9, "0"))) / _DAY


def _offset(zone: str | None) -> int:
    """Return the seconds that a time zone is ahead of UTC."""
    if zone in (None, "Z", "UTC", "GMT"):
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[3:].lstrip(":") or 0) * 60
    return -seconds if zone[0] == "-" else seconds


def days_of(values: np.ndarray) -> np.ndarray:
    """Return datetime64 (since 1970-01-01) or timedelta64 values of any unit as days.

    Nanoseconds, which hold no year after 2262, are not taken on the way. NaT is NaN.
    """
    unit = np.datetime_data(values.dtype)[0]
    if unit not in _PER_DAY:
        unit = "D" if unit in "YMW" else "s"
        values = values.astype(f"{values.dtype.kind}8[{unit}]")
    days = values.astype(np.int64) / _PER_DAY[unit]
    days[np.isnat(values)] = np.nan
    return days


def moments_of(days: np.ndarray) -> np.ndarray:
    """Return days since 1970-01-01 as datetime64[s] values, as `days_of` reads them.

    Seconds are rounded. NaN is NaT, and what Python's dates do not reach (years 1 to 9999) is the
    nearest that they do.
    """
    seconds = np.round(np.asarray(days, float) * _PER_DAY["s"])
    first, last = (np.datetime64(day, "s") for day in ("0001-01-01", "9999-12-31T23:59:59"))
    return np.clip(np.datetime64(0, "s") + seconds.astype("timedelta64[s]"), first, last)


def epoch_days(value: float, furthest: float) -> float:
    """Read a number among dates as time since 1970-01-01, in days.

    Parameters
    ----------
    value : float
        Days, seconds, milliseconds, microseconds or nanoseconds.
    furthest : float
        Days from 1970-01-01 to the date furthest from it that is known in the column.

    Returns
    -------
    float
        In the coarsest of these units with which the date lies between 1740 and 2200, or is
        no further than `furthest`; NaN if there is none.
    """
    likely = max(84_000.0, furthest)
    days = (value / per_day for per_day in _PER_DAY.values())
    return next((each for each in days if abs(each) <= likely), np.nan)


class _Truth(Enum):
    """A truth value that is no number."""

    NO = False
    YES = True


_TRUTH = {each.value: each for each in _Truth}


def distinct(column: pd.Series) -> tuple[np.ndarray, list[object]]:
    """Return the code of every cell, -1 for a missing one, and the distinct values.

    Parameters
    ----------
    column : pd.Series
        Of any dtype.

    Returns
    -------
    codes : ndarray of int of shape (n_rows,)
    values : list
        Texts, numbers, dates or truth values; those of NumPy are Python's.

    Raises
    ------
    DataError
        If a cell is nested, binary or complex.
    """
    objects = column.astype(object)
    try:
        codes, values = pd.factorize(objects)
        mixed = column.dtype == object
        if mixed and any(isinstance(v, Real | Decimal | np.bool_) and v in (0, 1) for v in values):
            # True is 1 to Python, and would take its place or the other way round.
            apart = [_TRUTH[bool(v)] if isinstance(v, bool | np.bool_) else v for v in objects]
            codes, values = pd.factorize(pd.Series(apart, dtype=object))
            values = [v.value if isinstance(v, _Truth) else v for v in values]
    except TypeError:  # unhashable: lists, dicts, arrays
        raise _nested(column, next(v for v in column if not isinstance(v, Hashable))) from None
    if pd.api.types.infer_dtype(values, skipna=False) == "string":
        return codes, list(values)
    values = [v.item() if isinstance(v, np.number | np.bool_) else v for v in values]
    for value in values:
        if not isinstance(value, str | Real | Decimal | dt.date | dt.timedelta):
            raise _nested(column, value)
    return codes, values


def _nested(column: pd.Series, value: object) -> DataError:
    """Return the error for a cell that is not one number, text or date."""
    return DataError(
        f"Column {quoted(column.name)} holds values of type {type(value).__name__} "
        f"({str(value)[:60]}); every cell must be one number, text or date. Expand the column "
        "or remove it."
    )


def name_of(value: object) -> str:
    """Return the text of a value as a category; whole numbers have no decimal point."""
    is_number = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    if is_number and (isinstance(value, Integral) or float(value).is_integer()):
        return str(int(value))
    return str(value)


def refuse_complex(column: pd.Series) -> None:
    """Raise a `DataError` if a column is one of complex numbers."""
    if pd.api.types.is_complex_dtype(column.dtype):
        raise DataError(
            f"Column {quoted(column.name)} holds complex numbers such as {column.iloc[0]}; split "
            "it in two columns."
        )


def has_infinity(values: pd.Series) -> bool:
    """Say whether one of the numbers of a column is infinite."""
    return bool(np.isinf(values.to_numpy(np.float64, na_value=np.nan)).any())


def all_whole(values: ArrayLike) -> bool:
    """Say whether all of some numbers are finite and whole.

    Parameters
    ----------
    values : array-like

    Returns
    -------
    bool
    """
    numbers = np.asarray(values, dtype=float)
    return bool((np.isfinite(numbers) & (np.trunc(numbers) == numbers)).all())


def check_size(column: pd.Series) -> None:
    """Raise if a number of a column is too large to be computed with.

    Parameters
    ----------
    column : pd.Series
        Numbers; the name of its index says what the rows are counted by.

    Raises
    ------
    DataError
        If one is beyond `LARGEST`.
    """
    values = column.to_numpy(np.float64, na_value=np.nan)
    large = np.flatnonzero(np.abs(values) > LARGEST)
    if len(large):
        raise DataError(
            f"Column {quoted(column.name)} holds {values[large[0]]:g} ({place(column, large[0])}); "
            f"numbers beyond {LARGEST:g} cannot be computed with. Correct the cell, leave it "
            "empty, or rescale the column."
        )


def check_spread(column: pd.Series) -> None:
    """Raise if the numbers of a column are so much alike that their variance is 0.

    Parameters
    ----------
    column : pd.Series
        Numbers, none of them infinite.

    Raises
    ------
    DataError
        If they differ, but by less than 1 / `LARGEST`.
    """
    values = column.to_numpy(np.float64, na_value=np.nan)
    low, high = np.fmin.reduce(values, initial=np.inf), np.fmax.reduce(values, initial=-np.inf)
    if 0 < high - low < 1 / LARGEST:
        raise DataError(
            f"Column {quoted(column.name)} holds numbers from {low:g} to {high:g}, which differ by "
            f"less than {1 / LARGEST:g}: computed with, they are all the same. Multiply the column."
        )


def place(column: pd.Series, position: int) -> str:
    """Say where a cell is: its line in a file, or its position."""
    if column.index.name == "line":
        return f"line {column.index[position]}"
    return f"at position {position}"
