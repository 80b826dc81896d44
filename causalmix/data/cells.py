"""Reading the cells of one column: missing markers, numbers in text, dates, odd objects."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Hashable
from decimal import Decimal
from numbers import Real
from typing import Literal

import numpy as np
import pandas as pd

from causalmix.errors import DataError

MISSING = frozenset({"", "?", "na", "n/a", "#n/a", "nan", "<na>", "null"})
"""Cells that mean "missing" in any column, in lower case."""

MISSING_AMONG_NUMBERS = frozenset({"-", "--", ".", "none", "missing", "unknown"})
"""Cells that mean "missing" where every other cell of the column is a number, in lower case."""

Kind = Literal["number", "text", "stated", "date"]
"""What the cells of a column are; `stated` is a type the source itself gives (bool, category)."""

_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?[\d.]*,\d+")
_LEADING_ZERO = re.compile(r"0\d+")
_DATE = re.compile(
    r"(\d{4}[-/]\d{1,2}[-/]\d{1,2}|(\d{1,2})[-/.](\d{1,2})[-/.]\d{4})"
    r"([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?"
)
_DAY = pd.Timedelta(days=1)
_EPOCH = pd.Timestamp("1970-01-01")


def parse_column(
    column: pd.Series,
    *,
    want: Literal["category", "number"] | None = None,
    decimal_comma: bool = False,
) -> tuple[pd.Series, Kind]:
    """Turn the cells of a column into numbers or text, and say which.

    Parameters
    ----------
    column : pd.Series
        A column of any dtype.
    want : {"category", "number"}, optional
        What the user declared the column to be: a declared category is not read as dates,
        a declared number is not left as text.
    decimal_comma : bool, default=False
        Whether ``1,5`` means 1.5.

    Returns
    -------
    values : pd.Series
        int64 or float64 for `number`, float64 days since 1970-01-01 for `date`, strings
        (NaN where missing) for `text`, and the column itself for `stated`.
    kind : {"number", "text", "stated", "date"}
        What the cells are.

    Raises
    ------
    DataError
        If cells are nested or binary, or are no numbers where numbers are wanted.
    """
    if isinstance(column.dtype, pd.SparseDtype):
        column = column.sparse.to_dense()
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return (column, "stated") if want != "number" else _read_cells(column, want, False)
    if pd.api.types.is_bool_dtype(dtype):
        if want == "number":
            return _plain_numbers(column.astype("Int64")), "number"
        return column.astype("category"), "stated"
    if pd.api.types.is_complex_dtype(dtype):
        raise DataError(f"Column {column.name!r} holds complex numbers; split it in two columns.")
    if pd.api.types.is_numeric_dtype(dtype):
        return _plain_numbers(column), "number"
    if pd.api.types.is_datetime64_any_dtype(dtype) and want != "category":
        return _days(column), "date"
    if pd.api.types.is_timedelta64_dtype(dtype):
        return (column / _DAY).astype(np.float64), "number"
    return _read_cells(column, want, decimal_comma)


def has_infinity(values: pd.Series) -> bool:
    """Say whether one of the numbers of a column is infinite."""
    return bool(np.isinf(values.to_numpy(np.float64, na_value=np.nan)).any())


def _plain_numbers(column: pd.Series) -> pd.Series:
    """Return numbers as int64 if they are whole by type and complete, else as float64."""
    whole = pd.api.types.is_integer_dtype(column.dtype) and not column.isna().any()
    if whole and (column.empty or column.max() <= np.iinfo(np.int64).max):
        return column.astype(np.int64)
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return pd.Series(values, index=column.index, name=column.name)


def _days(column: pd.Series) -> pd.Series:
    """Return dates as days since 1970-01-01 (UTC where a time zone is given)."""
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert(None)
    return ((column - _EPOCH) / _DAY).astype(np.float64)


def _read_cells(column: pd.Series, want: str | None, decimal_comma: bool) -> tuple[pd.Series, Kind]:
    """Parse a column of Python objects by way of its distinct values."""
    if not decimal_comma and (numbers := _fractions(column)) is not None:
        return numbers, "number"
    try:
        codes, levels = pd.factorize(column.astype(object))
    except TypeError:  # unhashable: lists, dicts, arrays
        raise _nested(column, next(v for v in column if not isinstance(v, Hashable))) from None
    for level in levels:
        if not isinstance(level, str | Real | Decimal | dt.date | np.bool_):
            raise _nested(column, level)
    if want is None and len(levels) and all(isinstance(v, bool | np.bool_) for v in levels):
        return column.astype("category"), "stated"
    texts = [v.strip() if isinstance(v, str) else str(v) for v in levels]
    values, kind = _read_texts(texts, want, decimal_comma)
    if want == "number" and kind == "text":
        numbers = _numbers(texts, decimal_comma)
        bad = next(t for t, x in zip(texts, numbers, strict=True) if np.isnan(x) and not _gone(t))
        raise DataError(
            f"Column {column.name!r} is listed in numeric=, but {bad!r} is not a number. Correct "
            "the cell, leave it empty, or take the column off the list."
        )
    # A missing cell has the code -1, which points to the value appended here.
    cells = np.append(values, [np.nan])[codes]
    if values.dtype == np.int64 and (codes >= 0).all():
        cells = cells.astype(np.int64)
    return pd.Series(cells, index=column.index, name=column.name), kind


def _fractions(column: pd.Series) -> pd.Series | None:
    """Return plain numbers in text of which some have fractions; None for any other column.

    This is the quick way for measurements, whose distinct values are too many to look at.
    """
    if pd.api.types.infer_dtype(column, skipna=True) != "string":
        return None
    numbers = pd.Series(_floats(column), index=column.index, name=column.name)
    unread = column[numbers.isna()].dropna()
    if (numbers.dropna() % 1 == 0).all() or not all(_gone(text) for text in unread.unique()):
        return None
    return numbers


def _gone(text: str) -> bool:
    """Say whether a cell stands for a missing value in any column."""
    return text.strip().lower() in MISSING


def _read_texts(texts: list[str], want: str | None, decimal_comma: bool) -> tuple[np.ndarray, Kind]:
    """Parse the distinct texts of a column together; the result keeps their order."""
    numbers = _numbers(texts, decimal_comma)
    unread = [texts[i] for i in np.flatnonzero(np.isnan(numbers))]
    if len(unread) < len(texts) and all(
        _gone(text) or text.lower() in MISSING_AMONG_NUMBERS for text in unread
    ):
        read = numbers[~np.isnan(numbers)]
        whole = bool((np.abs(read) < 2**53).all() and (read % 1 == 0).all())
        if want or not (whole and any(_LEADING_ZERO.fullmatch(text) for text in texts)):
            exact = whole and not unread and all(text.lstrip("+-").isdecimal() for text in texts)
            return (numbers.astype(np.int64) if exact else numbers), "number"
    missing = np.array([_gone(text) for text in texts], dtype=bool)
    present = [text for text, gone in zip(texts, missing, strict=True) if not gone]
    if present and want != "category" and all(_DATE.fullmatch(text) for text in present):
        days = _dates(texts)
        if not np.isnan(days[~missing]).any():
            return days, "date"
    values = np.array(texts, dtype=object)
    values[missing] = np.nan
    return values, "text"


def _numbers(texts: list[str], decimal_comma: bool) -> np.ndarray:
    """Read texts as float64; NaN where a text is not a number."""
    if decimal_comma and any(_DECIMAL_COMMA.fullmatch(text) for text in texts):
        texts = [text.replace(".", "").replace(",", ".") for text in texts]
    numbers = _floats(pd.Series(texts, dtype=object))
    if not decimal_comma:
        for i in np.flatnonzero(np.isnan(numbers)):
            if _GROUPED.fullmatch(texts[i]):
                numbers[i] = float(texts[i].replace(",", ""))
    return numbers


def _floats(texts: pd.Series) -> np.ndarray:
    """Read plain decimal numbers as float64; NaN where a text is not one."""
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64).copy()
    # pandas knows what is a number, but is off in the last digit; Python's float is exact.
    read = ~np.isnan(numbers)
    numbers[read] = texts.to_numpy(dtype=object)[read].astype(np.float64)
    return numbers


def _dates(texts: list[str]) -> np.ndarray:
    """Read dates as days since 1970-01-01; NaN where a text is no date.

    In ``1/2/2024`` the month comes first, unless another cell of the column rules that out.
    """
    parts = [_DATE.fullmatch(text) for text in texts]
    first = max((int(part[2]) for part in parts if part and part[2]), default=0)
    stamps = pd.to_datetime(
        pd.Series(texts), format="mixed", dayfirst=first > 12, utc=True, errors="coerce"
    )
    return _days(stamps).to_numpy()


def _nested(column: pd.Series, value: object) -> DataError:
    """Return the error for a cell that is not one number, text or date."""
    return DataError(
        f"Column {column.name!r} holds values of type {type(value).__name__} "
        f"({str(value)[:60]}); every cell must be one number, text or date. Expand the column "
        "or remove it."
    )
