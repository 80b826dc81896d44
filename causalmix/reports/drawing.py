"""Synthetic rows of a table in a file, written as the table is written."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from causalmix.atomic import check_writable, replace_file
from causalmix.data.columns import identifiers, listed
from causalmix.data.diagnosis import Diagnosis
from causalmix.data.schema import TableSchema
from causalmix.data.splitting import holdout_split
from causalmix.errors import CausalMixError, check_range, check_whole
from causalmix.finetuning.fit_input import as_dataset
from causalmix.generation.registry import make_generator
from causalmix.quality.privacy import MembershipAttack, membership_attack
from causalmix.reports.inspection import inspect_table, source_rows

_DATE = re.compile(r"(\d+)([-/.])\d+\2(\d+)(?:([ T])\d+:\d+(:\d+)?)?.*")
_MOST_DECIMALS = 6


def generate_table(
    table: str | Path,
    target: str | None,
    out: str | Path,
    n: int,
    *,
    generator: str = "causal",
    keep_noise: float = 0.0,
    options: Mapping[str, Any] | None = None,
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    drop: Sequence[str] = (),
    seed: int = 0,
    report: Callable[[str], object] = lambda line: None,
) -> MembershipAttack | None:
    """Fit a generator on a table and write rows of it to a file.

    Parameters
    ----------
    table, target, categorical, numeric, drop
        As :func:`causalmix.reports.inspection.inspect_table` takes them; a target there must be.
    out : str or Path
        CSV file. It has the table's columns, written as there: dates in their format, numbers with
        their decimals and units, and those at a bound as it is written (``<5``). Columns that
        identify rows get new numbers, and other columns that are not used stay empty.
    n : int
        Rows.
    generator : str, default="causal"
        Key of `causalmix.generation.registry.GENERATORS`.
    keep_noise : float, default=0.0
        ``noise_correlation`` of the causal generator: how near a row stays to the one that it
        starts from. Rows that leave the house should owe nothing to single people.
    options : mapping, optional
        Further arguments of the generator.
    seed : int, default=0
    report : callable, optional
        Takes a line on each stage.

    Returns
    -------
    MembershipAttack or None
        With kept noise: how well the rows tell who was in the table. It is measured on half of the
        rows with a generator of the other half.

    Raises
    ------
    CausalMixError
        If the table cannot be used, or a parameter makes no sense.
    """
    check_writable(Path(out))
    check_whole(n, 1, "n")
    check_range(keep_noise, "[0, 1]", "keep_noise")
    given = dict(options or {})
    if generator.startswith("causal"):
        given = {"noise_correlation": keep_noise, "seed": seed} | given
    elif keep_noise:
        raise CausalMixError(f"keep_noise is an option of the causal generator, not {generator!r}.")
    report("reading the table")
    inspection = inspect_table(table, target, categorical=categorical, numeric=numeric, drop=drop)
    raw, X, y, roles = source_rows(table, inspection, categorical)
    comma = bool(X.attrs.get("decimal_comma"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the inspection has said it
        schema, features, _ = TableSchema.learn(X, roles, decimal_comma=comma)
    report(f"fitting {generator} on {len(features)} rows")
    made, labels = make_generator(generator, **given).fit(features, y).sample(n, seed)
    report(f"writing {n} rows")
    name = str(y.name)
    columns = {}
    for column in raw:
        if column == name:
            columns[column] = labels.astype(object).to_numpy()
        elif column in made:
            columns[column] = written_like(made[column], raw[column], schema.columns[column])
    rows = pd.DataFrame(columns)
    unused = [column for column in raw if column not in rows]
    numbered = [c for c in identifiers(raw[unused]) if c in unused]
    for column in unused:
        rows[column] = np.arange(1, n + 1) if column in numbered else ""
    replace_file(Path(out), partial(rows[list(raw)].to_csv, index=False))
    if unused:
        report(
            f"Columns that were not learned from: {listed(unused)}; those that identify rows are "
            "numbered, the others empty."
        )
    if not (keep_noise and generator.startswith("causal")):
        return None
    report("attacking the rows: half of the table against the other")
    whole = as_dataset(features, np.array(y.cat.categories), y.cat.codes.to_numpy())
    half, other = holdout_split(whole, len(y) // 2, len(y) - len(y) // 2, seed)
    X_half, y_half = make_generator(generator, **given).fit(half.X, half.y).sample(n, seed)
    return membership_attack(half.frame(), other.frame(), X_half.join(y_half))


def written_like(made: pd.Series, like: pd.Series, diagnosis: Diagnosis) -> pd.Series:
    """Write the values of a column as another one has them.

    Parameters
    ----------
    made : Series
        Numbers, days since 1970-01-01 or categories, as `TableSchema` reads them.
    like : Series
        The column as its source has it.
    diagnosis : Diagnosis
        How it was read.

    Returns
    -------
    Series
        Text where `like` is text, of its own type where it is typed; empty where missing.
    """
    is_text = like.dtype == object or isinstance(like.dtype, pd.StringDtype)
    if diagnosis.kind == "category":
        return made.astype(object)
    if diagnosis.kind in ("date", "duration"):
        moments = pd.to_timedelta(made, unit="D")
        if diagnosis.kind == "date":
            moments = (pd.Timestamp(0) + moments).dt.round("s")
        return moments.dt.strftime(_date_format(like, diagnosis)) if is_text else moments
    if not is_text:
        return made.round().astype("Int64") if pd.api.types.is_integer_dtype(like.dtype) else made
    decimals = _decimals(like, diagnosis.decimal)
    text = made.map(lambda value: "" if pd.isna(value) else f"{value:.{decimals}f}")
    if diagnosis.decimal == ",":
        text = text.str.replace(".", ",")
    if diagnosis.unit:
        text = text.where(made.isna(), text + " " + diagnosis.unit)
    for bound, value in _bounds(diagnosis).items():
        beyond = made <= value if bound.lstrip().startswith(("<", "≤", "b", "u")) else made >= value
        text = text.where(~beyond, bound)
    return text


def _bounds(diagnosis: Diagnosis) -> dict[str, float]:
    found = [odd.examples for odd in diagnosis.odd if odd.kind == "bound"]
    return {text: value for each in found for text, value in each.items() if value is not None}


def _decimals(like: pd.Series, decimal: str) -> int:
    """Most digits behind the point that a cell has."""
    digits = like.dropna().astype(str).str.extract(rf"\d{re.escape(decimal)}(\d+)")[0].dropna()
    return min(int(digits.str.len().max()), _MOST_DECIMALS) if len(digits) else 0


def _date_format(like: pd.Series, diagnosis: Diagnosis) -> str:
    found = next(m for cell in like.dropna() if (m := _DATE.fullmatch(str(cell).strip())))
    first, separator, last, before_time, seconds = found.groups()
    parts = ["%d", "%m"] if diagnosis.day_first else ["%m", "%d"]
    parts = ["%Y", "%m", "%d"] if len(first) == 4 else [*parts, "%Y" if len(last) == 4 else "%y"]
    time = f"{before_time}%H:%M{':%S' if seconds else ''}" if before_time else ""
    return separator.join(parts) + time
