"""How a table writes its cells, for others to be written alike, and files of rows."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.atomic import check_writable, make_folder, replace_file
from causalmix.data.cells import is_gap, is_gap_among_measures, moments_of, read_number, tidy
from causalmix.data.columns import as_category
from causalmix.data.diagnosis import Diagnosis, read
from causalmix.data.files import SUFFIXES
from causalmix.errors import CausalMixError

_DATE = re.compile(
    r"(\d+)([-/.])\d+\2(\d+)"
    r"(?:([ T])\d+:\d+(:\d+)?.*?( ?(?:Z|UTC|GMT|([+-])(\d{2}):?(\d{2})?))?)?"
)
_MOST_DECIMALS = 6
_BELOW = (
    "<",
    "≤",
    "=<",
    "below",
    "under",
    "less",
    "up",
    "at most",
)  # how a bound from above begins


def check_place_of_rows(path: str | Path, *used: object) -> Path:
    """Raise unless a file of rows can be written there.

    Parameters
    ----------
    path : str or Path
    *used : object
        What else is read or written; files among it, by name, are not to be replaced.

    Returns
    -------
    Path

    Raises
    ------
    CausalMixError
        If it cannot, it is one of the others, or the ending is not that of a CSV or Parquet file.
    """
    path = Path(path)
    for other in used:
        if isinstance(other, str | Path) and _is_same_file(path, Path(other)):
            raise CausalMixError(
                f"{path} is named twice, and what is read from or written to it would be lost: "
                "name another file."
            )
    if path.suffix.lower() not in SUFFIXES:
        raise CausalMixError(f"{path}: rows are written to files of type {', '.join(SUFFIXES)}.")
    check_writable(path)
    return path


def _is_same_file(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))


def write_rows(rows: pd.DataFrame, path: Path, **options: object) -> None:
    """Write rows to a CSV or Parquet file, by its ending.

    Parameters
    ----------
    rows : DataFrame
    path : Path
        As `check_place_of_rows` takes it; its folder is made.
    **options
        Of `DataFrame.to_csv`.
    """
    make_folder(path.parent)
    if path.suffix.lower() in (".parquet", ".pq"):
        replace_file(path, partial(rows.to_parquet, index=False))
    else:
        if path.suffix.lower() == ".tsv":
            options["sep"] = "\t"
        replace_file(path, partial(rows.to_csv, index=False, **options))


def typed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of text with the types that a CSV file of them is read with by default.

    Parameters
    ----------
    rows : DataFrame

    Returns
    -------
    DataFrame
    """
    return pd.read_csv(io.StringIO(rows.to_csv(index=False)))


def is_text(like: pd.Series) -> bool:
    """Say whether the known cells of a column are text.

    Parameters
    ----------
    like : Series

    Returns
    -------
    bool
    """
    known = like.dropna()
    return isinstance(known.iloc[0], str) if len(known) else like.dtype == object


def levels_like(made: pd.Series, like: pd.Series) -> pd.Series:
    """Return categories as the values that another column has in their place.

    Parameters
    ----------
    made : Series
        Categories, named as `causalmix.data.columns.as_category` names them.
    like : Series
        The column as its source has it.

    Returns
    -------
    Series
    """
    if is_text(like) and not isinstance(like.dtype, pd.CategoricalDtype):
        return made.astype(object)
    names = as_category(like).astype(object)
    values = like.astype(object)[~names.duplicated() & names.notna()]
    written = made.astype(object).map(dict(zip(names[values.index], values, strict=True)))
    return _as(written, like)


def _as(values: pd.Series, like: pd.Series) -> pd.Series:
    """Give a column the type of another one, if it can have that in spite of its gaps."""
    try:
        return values.astype(like.dtype)
    except (TypeError, ValueError):
        return values.convert_dtypes()


def written_like(
    made: pd.Series,
    like: pd.Series,
    diagnosis: Diagnosis,
    *,
    cells: pd.Series | None = None,
    seed: int | Sequence[int] = 0,
) -> pd.Series:
    """Write the values of a column as another one has them.

    Parameters
    ----------
    made : Series
        Numbers, days since 1970-01-01 or categories, as `TableSchema` reads them.
    like : Series
        The column as its source has it.
    diagnosis : Diagnosis
        How it was read.
    cells : Series, optional
        Text whose bounds (``<5``) are written; by default that of `like`.
    seed : int or sequence of int, default=0
        Of the choice which values at a bound are written as one: of 5s the share that is ``<5``
        among the cells, the others as 5.

    Returns
    -------
    Series
        Text where `like` is text, of its own type where it is typed. What is missing is written as
        most gaps of `like` are.
    """
    cells = like if cells is None else cells
    written = _written(made, like, diagnosis, cells, np.random.default_rng(seed))
    if is_text(like) and written.hasnans and (gap := _gap(like, diagnosis)):
        written = written.astype(object).fillna(gap)
    return written


def written_as_asked(
    made: pd.Series, text: str, like: pd.Series, diagnosis: Diagnosis
) -> pd.Series:
    """Write a column that was set to a value, as another one is written where that holds it.

    Parameters
    ----------
    made : Series
        As `written_like` takes it, of one value.
    text : str
        What was asked for: a number of more digits than the column has, say, is written as here.
    like, diagnosis
        As `written_like` takes them.

    Returns
    -------
    Series
    """
    written = written_like(made, like, diagnosis, cells=pd.Series([text]))
    if diagnosis.kind not in ("number", "date"):
        return written
    says, _ = read(written.iloc[:1].astype(written.dtype), diagnosis)
    if np.allclose(says, made.iloc[:1].astype(float), rtol=1e-9, atol=0):
        return written
    if not is_text(like):
        return made if diagnosis.kind == "number" else written
    cell = tidy(text)
    number = read_number(cell, diagnosis.decimal) if diagnosis.kind == "number" else None
    if number and diagnosis.unit and not number.unit:
        cell = f"{cell} {diagnosis.unit}"
    return pd.Series([cell] * len(made), made.index, dtype=object)


def _gap(like: pd.Series, diagnosis: Diagnosis) -> str:
    """Text that stands for a missing value in most of a column's gaps; "" for none."""
    texts = like.map(lambda cell: tidy(cell) if isinstance(cell, str) else "")
    gaps = texts[texts.map(is_gap if diagnosis.kind == "category" else is_gap_among_measures)]
    return gaps.mode().iloc[0] if len(gaps) else ""


def _written(
    made: pd.Series,
    like: pd.Series,
    diagnosis: Diagnosis,
    cells: pd.Series,
    rng: np.random.Generator,
) -> pd.Series:
    if diagnosis.kind == "category":
        return levels_like(made, like)
    if diagnosis.kind in ("date", "duration"):
        return _moments(made, like, diagnosis)
    if not is_text(like):
        whole = pd.api.types.is_integer_dtype(like.dtype)
        return _as(made.round().astype("Int64") if whole else made, like)
    return _with_bounds(made, _number_format(like, diagnosis.decimal), cells, diagnosis, rng)


def _numbers(made: pd.Series, form: str, diagnosis: Diagnosis) -> pd.Series:
    text = made.map(lambda value: None if pd.isna(value) else format(value, form))
    if diagnosis.decimal == ",":
        text = text.str.replace(".", ",")
    if diagnosis.unit:
        text = text.where(made.isna(), text + " " + diagnosis.unit)
    return text


def _with_bounds(
    made: pd.Series,
    form: str,
    cells: pd.Series,
    diagnosis: Diagnosis,
    rng: np.random.Generator,
) -> pd.Series:
    """Write numbers, those at a bound as the cells have it there, in their shares."""
    counts = cells.dropna().map(lambda cell: tidy(str(cell))).value_counts()
    numbers = {cell: read_number(cell, diagnosis.decimal) for cell in counts.index}
    numbers = {cell: n for cell, n in numbers.items() if n and n.unit in ("", diagnosis.unit)}
    plain = _numbers(made, form, diagnosis)
    text = plain.copy()
    ends = {(n.value, _is_below(cell)) for cell, n in numbers.items() if n.bound}
    # Of "<5" and "<2", a 2 is the second.
    for value, below in sorted(ends, key=lambda end: -end[0] if end[1] else end[0]):
        (measured,) = _numbers(pd.Series([value]), form, diagnosis)
        shares = {
            cell: counts[cell]
            for cell, n in numbers.items()
            if n.bound and n.value == value and _is_below(cell) == below
        }
        shares[measured] = sum(
            counts[cell] for cell, n in numbers.items() if n.value == value and not n.bound
        )
        beyond = np.less if below else np.greater
        here = plain == measured
        if not any(beyond(n.value, value) for n in numbers.values() if not n.bound):
            here |= beyond(made, value)
        weights = np.array([*shares.values()])
        text[here] = rng.choice([*shares], here.sum(), p=weights / weights.sum())
    return text


def _is_below(bound: str) -> bool:
    return bound.lower().startswith(_BELOW)


def _moments(days: pd.Series, like: pd.Series, diagnosis: Diagnosis) -> pd.Series:
    if diagnosis.kind == "duration":
        return _as(pd.to_timedelta(days, unit="D"), like)
    moments = pd.Series(moments_of(days), days.index, name=days.name)
    if is_text(like):
        form, ahead = _date_format(like, diagnosis)
        return (moments + np.timedelta64(ahead, "m")).dt.strftime(form)
    if like.dtype == object:  # of dates without a time
        return moments.dt.date
    if isinstance(like.dtype, pd.DatetimeTZDtype):
        moments = moments.dt.tz_localize("UTC")
    return _as(moments, like)


def _number_format(like: pd.Series, decimal: str) -> str:
    """Format with the most digits that a cell has: behind the point, or of a power of ten."""
    texts = like.dropna().astype(str)
    if texts.empty:
        return ".0f"
    digits = texts.str.extract(rf"{re.escape(decimal)}(\d+)")[0].fillna("")
    powers = texts.str.contains(r"\d[eE][+-]?\d")
    if powers.all():
        return f".{digits.str.len().max()}e"
    if powers.any():
        known = texts.str.replace(r"[eE].*|\D", "", regex=True).str.lstrip("0")
        return f".{max(known.str.len().max(), 1)}g"
    # What is shown of a fraction that begins with zeros are the digits behind them.
    zeros = (digits.str.len() - digits.str.lstrip("0").str.len()).where(digits.str.strip("0") != "")
    most = _MOST_DECIMALS + int(zeros.max() if zeros.notna().any() else 0)
    return f".{min(digits.str.len().max(), most)}f"


def _date_format(like: pd.Series, diagnosis: Diagnosis) -> tuple[str, int]:
    """Format of the first date, with its zone, and by how many minutes that is ahead of UTC."""
    found = next(m for cell in like.dropna() if (m := _DATE.fullmatch(str(cell).strip())))
    first, separator, last, before_time, seconds, zone, sign, hours, minutes = found.groups()
    ahead = int(f"{sign or ''}{60 * int(hours or 0) + int(minutes or 0)}")
    parts = ["%d", "%m"] if diagnosis.day_first else ["%m", "%d"]
    parts = ["%Y", "%m", "%d"] if len(first) == 4 else [*parts, "%Y" if len(last) == 4 else "%y"]
    time = f"{before_time}%H:%M{':%S' if seconds else ''}{zone or ''}" if before_time else ""
    return separator.join(parts) + time, ahead
