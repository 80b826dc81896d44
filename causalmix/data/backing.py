"""Tables whose columns other libraries than NumPy hold, brought to NumPy's types."""

from __future__ import annotations

from typing import TypeVar

import pandas as pd
import pyarrow as pa

from causalmix.errors import DataError

_WITH_GAPS = {"b": "boolean", "i": "Int", "u": "UInt"}  # by kind; else gaps would make floats

_Table = TypeVar("_Table", pd.DataFrame, pd.Series)


def numpy_backed(table: _Table) -> _Table:
    """Return a table without a column that Arrow holds, which neither NumPy nor SciPy can read.

    Parameters
    ----------
    table : DataFrame or Series
        Not changed.

    Returns
    -------
    DataFrame or Series
        Numbers are NumPy's, or pandas' own where whole ones or truth values have gaps; decimals are
        floats, text is of dtype object, times keep unit and zone. Other columns stay as they are.

    Raises
    ------
    DataError
        If it is neither.
    """
    if not isinstance(table, pd.DataFrame | pd.Series):
        raise DataError(f"A table or column of pandas is needed, not {type(table).__name__}.")
    if isinstance(table, pd.Series):
        return _convert(table) if _is_arrow(table.dtype) else table
    held = [j for j, dtype in enumerate(table.dtypes) if _is_arrow(dtype)]
    if not held:
        return table
    columns = [table.iloc[:, j] for j in range(table.shape[1])]
    for j in held:
        columns[j] = _convert(columns[j])
    return pd.concat(columns, axis=1)


def as_it_was(column: pd.Series, dtype: object) -> pd.Series:
    """Return a column as Arrow held it, if that is what its dtype was before `numpy_backed`."""
    if not _is_arrow(dtype):
        return column
    try:
        return column.astype(dtype)
    except pa.ArrowInvalid:  # a fraction among whole numbers
        return column.convert_dtypes(dtype_backend="pyarrow")


def _is_arrow(dtype: object) -> bool:
    if isinstance(dtype, pd.CategoricalDtype):
        return _is_arrow(dtype.categories.dtype)
    return isinstance(dtype, pd.ArrowDtype) or getattr(dtype, "storage", "") == "pyarrow"


def _convert(column: pd.Series) -> pd.Series:
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        levels = _convert(pd.Series(dtype.categories))
        return column.cat.rename_categories(pd.Index(levels))
    if not isinstance(dtype, pd.ArrowDtype):  # pandas' own text
        return column.astype(object)
    stored = dtype.pyarrow_dtype
    if pa.types.is_nested(stored):
        return column.astype(object)  # refused where it is used, not where it is dropped
    if pa.types.is_decimal(stored):
        return column.astype(float)
    if dtype.kind in _WITH_GAPS and column.hasnans:
        bits = "" if dtype.kind == "b" else str(8 * dtype.itemsize)
        return column.astype(_WITH_GAPS[dtype.kind] + bits)
    values = pa.chunked_array(column.array.__arrow_array__()).to_pandas(date_as_object=False)
    return values.set_axis(column.index).rename(column.name)
