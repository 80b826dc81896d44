"""Classification tables: one type for them, one way to load them, one way to split them."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.data.backing import numpy_backed
from causalmix.data.cells import all_whole, has_infinity, moments_of, place
from causalmix.data.columns import (
    as_category,
    check_column_sets,
    clean_columns,
    levels_of,
    listed,
    notes_on,
)
from causalmix.data.datasets import EMBEDDED, load_embedded
from causalmix.data.diagnosis import diagnose
from causalmix.data.display import as_html
from causalmix.data.files import SUFFIXES, RawTable, check_columns, read_table
from causalmix.data.openml import fetch_table
from causalmix.errors import (
    DataError,
    check_filled,
    check_name,
    check_seed,
    check_whole,
    quoted,
)

MAX_WHOLE_CLASSES = 30
"""Most distinct whole numbers that a numeric target may have to count as classes."""

MAX_FRACTIONAL_CLASSES = 10
"""Most distinct values that a target with fractions may have to count as classes."""

_CLASSES_SHOWN = 12


@dataclass(frozen=True, eq=False, repr=False)
class TabularDataset:
    """A classification table: features, target, and where they come from.

    Parameters
    ----------
    name : str
        Short name, as it reads in tables and figures.
    X : pd.DataFrame, shape (n_rows, n_features)
        Features. Numeric columns are int64 or float64, categorical columns have pandas dtype
        `category` with string categories; NaN is missing.
    y : pd.Series, shape (n_rows,)
        Target, named after its column: dtype `category` with string class names, no missing
        values. Classes keep their order, and stay known in subsets where they do not occur.
    provenance : str
        One line: origin and licence.
    dates : tuple of str, default=()
        Features that are days since 1970-01-01, and are described as dates.

    Raises
    ------
    DataError
        If `X` and `y` are not as described.
    """

    name: str
    X: pd.DataFrame
    y: pd.Series
    provenance: str
    dates: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        if len(self.X) != len(self.y):
            raise DataError(f"{self.name}: X has {len(self.X)} rows, y has {len(self.y)}.")
        check_columns(list(self.X.columns), self.name)
        odd = [c for c, dtype in self.X.dtypes.items() if not _is_clean(dtype)]
        is_category = isinstance(self.y.dtype, pd.CategoricalDtype)
        if odd or not (is_category and _is_clean(self.y.dtype)) or self.y.hasnans:
            raise DataError(
                f"{self.name}: columns must be int64, float64 or categories of strings and the "
                f"target complete categories; not so: {listed(odd) or repr(self.y.name)}. "
                "TabularDataset.from_frame prepares a raw table."
            )

    @staticmethod
    def from_frame(
        frame: pd.DataFrame,
        target: str,
        *,
        name: str = "table",
        provenance: str = "a data frame",
        categorical: Sequence[str] = (),
        numeric: Sequence[str] = (),
        date: Sequence[str] = (),
    ) -> TabularDataset:
        """Make a dataset of a raw table, with types inferred as by `load_dataset`.

        Parameters
        ----------
        frame : pd.DataFrame
            Features and target.
        target : str
            Target column.
        name, provenance : str
            See the class.
        categorical, numeric, date : sequence of str, default=()
            Columns whose type is not to be inferred.

        Returns
        -------
        TabularDataset
            Cleaned copy of the table.

        Raises
        ------
        DataError, UnknownNameError
            As `load_dataset`.
        """
        frame = frame.set_axis(check_columns(list(frame.columns), name), axis=1)
        raw = RawTable(frame.reset_index(drop=True), provenance)
        sets = {"categorical": categorical, "numeric": numeric, "date": date, "drop": ()}
        return _clean(name, raw, target, sets)

    def __repr__(self) -> str:
        return (
            f"TabularDataset({self.name!r}: {self.n_rows} rows, {self.n_features} features "
            f"({len(self.categorical)} categorical), {self.n_classes} classes)"
        )

    def _repr_html_(self) -> str:
        columns = self.summary()
        columns["missing"] = [f"{share:.0%}" if share else "" for share in columns["missing"]]
        about = repr(self).partition(": ")[2].removesuffix(")")
        counts = self.y.value_counts(sort=False)
        classes = ", ".join(f"{name} {n}" for name, n in counts.iloc[:_CLASSES_SHOWN].items())
        more = ", …" if len(counts) > _CLASSES_SHOWN else ""
        notes = [f"Classes: {classes}{more}.", self.provenance]
        return as_html(self.name, about, columns, notes)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.X)

    @property
    def n_features(self) -> int:
        """Number of feature columns."""
        return self.X.shape[1]

    @property
    def categorical(self) -> tuple[str, ...]:
        """Names of the categorical feature columns."""
        return tuple(self.X.select_dtypes("category").columns)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their codes."""
        return tuple(self.y.cat.categories)

    @property
    def n_classes(self) -> int:
        """Number of classes, with those that do not occur in this subset."""
        return len(self.class_names)

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) over names, types, categories and values, in column order.

        It does not depend on `name`, `provenance` or row labels, nor on the platform.
        """
        return hash_columns([*(self.X[c] for c in self.X), self.y])

    def take(self, rows: Sequence[int] | np.ndarray) -> TabularDataset:
        """Return the rows at the given positions, in that order, labelled from 0.

        Parameters
        ----------
        rows : sequence of int
            Row positions; they may repeat.

        Returns
        -------
        TabularDataset
            Same columns, categories and classes.
        """
        X, y = (part.iloc[rows].reset_index(drop=True) for part in (self.X, self.y))
        return replace(self, X=X, y=y)

    def draw(self, n: int, seed: int) -> TabularDataset:
        """Return rows drawn at random without replacement, labelled from 0.

        Parameters
        ----------
        n : int
            Rows at most, at least 1.
        seed : int

        Returns
        -------
        TabularDataset
            Same columns, categories and classes.

        Raises
        ------
        CausalMixError
            If `n` or `seed` is none.
        """
        check_whole(n, 1, "n")
        rng = np.random.default_rng(check_seed(seed))
        return self.take(rng.permutation(self.n_rows)[:n])

    def frame(self) -> pd.DataFrame:
        """Return features and target in one table, the target last.

        Returns
        -------
        pd.DataFrame, shape (n_rows, n_features + 1)
            A copy. The target's name gets underscores if a feature has it too.
        """
        name = str(self.y.name)
        while name in self.X.columns:
            name += "_"
        frame = self.X.copy()
        frame[name] = self.y.array
        return frame

    def with_dates(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return rows of this table, real or synthetic, with dates in the place of their days.

        Parameters
        ----------
        rows : pd.DataFrame
            With the table's features, to be shown.

        Returns
        -------
        pd.DataFrame
            A copy; the columns in `dates` are of type ``datetime64[s]``.
        """
        return rows.assign(**{name: moments_of(rows[name]) for name in self.dates})

    def summary(self) -> pd.DataFrame:
        """Describe every column, the target last.

        Returns
        -------
        pd.DataFrame
            One row per column: its name, type, share of missing cells, number of distinct
            values, and range (numbers, dates) or most frequent categories.
        """
        frame = self.frame()
        kinds = {"int64": "integer", "float64": "number", "category": "category"}
        types = ["date" if c in self.dates else kinds[str(self.X[c].dtype)] for c in self.X]
        described = {
            "type": [*types, "target"],
            "missing": frame.isna().mean(),
            "distinct": frame.nunique(),
            "values": [_examples(column, name in self.dates) for name, column in frame.items()],
        }
        return pd.DataFrame(described, frame.columns).rename_axis("column").reset_index()


def dataset_names() -> list[str]:
    """Return the names of the embedded datasets.

    Returns
    -------
    list of str
        Names that `load_dataset` takes, in alphabetical order.
    """
    return sorted(EMBEDDED)


def load_dataset(
    name_or_path: str | Path,
    *,
    target: str | None = None,
    categorical: Sequence[str] | None = None,
    numeric: Sequence[str] | None = None,
    date: Sequence[str] | None = None,
    drop: Sequence[str] | None = None,
) -> TabularDataset:
    """Load a classification table by name, from a file or from OpenML.

    Parameters
    ----------
    name_or_path : str or Path
        An embedded dataset (see `dataset_names`), a CSV or Parquet file, or
        ``openml:<id>`` or ``openml:<name>``.
    target : str, optional
        Target column. Default (also for ``""``): the one the source names; for files the
        column ``target``, in upper or lower case.
    categorical, numeric, date : sequence of str, optional
        Columns whose type is decided here. The types of the others are inferred by the rules
        of `causalmix.data.columns`, where the source does not state them. A Parquet file in which
        any column is stored as a category is taken to state them all.
    drop : sequence of str, optional
        Columns that are not used.

    Returns
    -------
    TabularDataset
        The cleaned table. Rows without a target value and columns that say nothing are
        dropped, and dates converted, with a warning that names them.

    Raises
    ------
    UnknownNameError
        If there is no such dataset or column; the nearest valid names are given.
    DataError
        If the table cannot be used for classification as it is; the message says why and
        what to do.
    """
    name, raw = find_table(name_or_path)
    chosen = _target(name, raw, target)
    sets = {"categorical": categorical, "numeric": numeric, "date": date, "drop": drop}
    return _clean(name, raw, chosen, {role: names or () for role, names in sets.items()})


def load_datasets(
    names_or_paths: Sequence[str | Path],
    *,
    target: str | None = None,
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    date: Sequence[str] = (),
    drop: Sequence[str] = (),
) -> list[TabularDataset]:
    """Load several tables; what is said of columns goes to those that have them.

    Parameters
    ----------
    names_or_paths : sequence of str or Path
        As `load_dataset` takes them.
    target : str, optional
        Target column of those that are no embedded datasets, which keep their own.
    categorical, numeric, date, drop : sequence of str, default=()
        As `load_dataset` takes them, each of at least one table.

    Returns
    -------
    list of TabularDataset
        In the order given.

    Raises
    ------
    UnknownNameError, DataError
        As `load_dataset`.
    """
    check_filled(names_or_paths, "datasets")
    found = [find_table(item) for item in names_or_paths]
    columns = list(dict.fromkeys(column for _, raw in found for column in raw.frame.columns))
    sets = {"categorical": categorical, "numeric": numeric, "date": date, "drop": drop}
    check_column_sets(sets, columns)
    tables = []
    for item, (name, raw) in zip(names_or_paths, found, strict=True):
        chosen = _target(name, raw, None if item in EMBEDDED else target)
        own = {r: [c for c in names if c in raw.frame.columns] for r, names in sets.items()}
        tables.append(_clean(name, raw, chosen, own))
    return tables


def _target(name: str, raw: RawTable, given: str | None) -> str:
    if given or raw.target:
        return given or raw.target
    raise DataError(
        f"{name}: say which column is the target (target=, or -p target NAME); none is named "
        f"'target'. Columns: {listed(list(raw.frame.columns), 50)}."
    )


def find_table(name_or_path: str | Path) -> tuple[str, RawTable]:
    """Read a table as its source has it.

    Parameters
    ----------
    name_or_path : str or Path
        As `load_dataset` takes it.

    Returns
    -------
    name : str
        Its short name.
    table : RawTable

    Raises
    ------
    UnknownNameError
        If there is no such dataset.
    DataError
        If it cannot be read.
    """
    text = str(name_or_path)
    if text.startswith("openml:"):
        return text, fetch_table(text.removeprefix("openml:"))
    if text in EMBEDDED:
        return text, load_embedded(text)
    path = Path(text).expanduser()
    if isinstance(name_or_path, Path) or path.suffix or len(path.parts) > 1 or os.path.exists(path):
        return path.stem, read_table(path)
    forms = f"a file ({', '.join(SUFFIXES)})", "openml:<id or name>"
    check_name(text, [*dataset_names(), *forms], "dataset")
    raise AssertionError("each name that check_name accepts is dealt with above")


def check_target_stays(target: str, sets: Mapping[str, Sequence[str]]) -> None:
    """Raise where the target is among columns that are numbers, dates or left out.

    Parameters
    ----------
    target : str
    sets : mapping of str to sequence of str
        Columns by role: ``numeric``, ``date``, ``drop``.

    Raises
    ------
    DataError
        If it is; says where.
    """
    for option, must in (("numeric", "be classes"), ("date", "be classes"), ("drop", "stay")):
        if target in sets[option]:
            raise DataError(f"The target {quoted(target)} must {must}; take it out of {option}=.")


def _clean(
    name: str, raw: RawTable, target: str, sets: Mapping[str, Sequence[str]]
) -> TabularDataset:
    """Make a dataset of a raw table; warn of what was changed, on behalf of the caller's caller."""
    frame = numpy_backed(raw.frame)
    check_name(target, frame.columns, "target column")
    check_column_sets(sets, frame.columns)
    check_target_stays(target, sets)
    categorical = sets["categorical"]
    y = read_classes(frame[target], target in categorical, raw.decimal_comma)
    features = frame.drop(columns=[target, *sets["drop"]])
    if features.empty:
        raise DataError(f"{name} has no column besides the target {quoted(target)}.")
    known, notes = y.notna(), []
    if n_gone := int((~known).sum()):
        rows = "row" if n_gone == 1 else "rows"
        markers = _markers(raw.frame[target][~known])
        notes.append(
            f"Dropped {n_gone} {rows} without a value of the target {quoted(target)}{markers}."
        )
        y, features = y[known], features[known]
    X, diagnoses = clean_columns(
        features,
        categorical=[c for c in categorical if c != target],
        numeric=sets["numeric"],
        date=sets["date"],
        typed=raw.typed,
        decimal_comma=raw.decimal_comma,
    )
    for note in notes + notes_on(diagnoses):
        warnings.warn(f"{name}: {note}", stacklevel=3)
    X, y = (part.reset_index(drop=True) for part in (X, y))
    dates = tuple(column for column in X if diagnoses[column].kind == "date")
    return TabularDataset(name, X, y, raw.provenance, dates=dates)


def _markers(gaps: pd.Series) -> str:
    """Say which texts among the cells of a target were taken for missing values, and where."""
    texts = gaps[[isinstance(cell, str) and bool(cell.strip()) for cell in gaps]]
    if texts.empty:
        return ""
    found = listed(list(texts.astype(str).unique()), 3)
    return f" ({len(texts)} of the cells are {found}, the first {place(texts, 0)})"


def read_classes(column: pd.Series, declared: bool, decimal_comma: bool) -> pd.Series:
    """Read a target column as classes.

    Parameters
    ----------
    column : pd.Series
        As its source has it.
    declared : bool
        Whether the user said that it is a category.
    decimal_comma : bool
        Whether ``1,234`` means 1.234 where no cell settles it.

    Returns
    -------
    pd.Series
        Of dtype category; missing where a row has no class.

    Raises
    ------
    DataError
        If its values are no classes.
    """
    name = column.name
    want = "category" if declared else "label"
    values, found = diagnose(column, want=want, decimal_comma=decimal_comma)
    kind = found.kind
    n_classes, n_rows = values.nunique(), int(values.notna().sum())
    if n_classes < 2:
        only = f"only the class {values.dropna().iloc[0]!s}" if n_classes else "no values"
        markers = _markers(column[values.isna()])
        hint = f" Missing values{markers} are no class; name a class otherwise." if markers else ""
        raise DataError(
            f"The target {quoted(name)} has {only}; at least two classes are needed.{hint}"
        )
    if kind == "date":
        raise DataError(f"The target {quoted(name)} holds dates; choose a column of classes.")
    if kind == "number" and has_infinity(values):
        raise DataError(
            f"The target {quoted(name)} holds infinite values; correct or remove the rows."
        )
    if kind == "number" and not declared:
        whole = all_whole(values.dropna())
        limit = MAX_WHOLE_CLASSES if whole else MAX_FRACTIONAL_CLASSES
    else:
        limit = max(MAX_WHOLE_CLASSES, n_rows // 2)
    if n_classes > limit:
        raise DataError(
            f"The target {quoted(name)} has {n_classes} distinct values in {n_rows} rows: that is "
            "no class. Regression is not supported; choose another target, or bin this one."
        )
    return as_category(values)


def _is_clean(dtype: object) -> bool:
    """Say whether a feature column has one of the three types of a dataset."""
    if isinstance(dtype, pd.CategoricalDtype):
        return all(isinstance(level, str) for level in dtype.categories)
    return dtype in (np.int64, np.float64)


def hash_columns(columns: Iterable[pd.Series]) -> str:
    """SHA-256 (hex) over names, types, categories and values of columns, in their order.

    Parameters
    ----------
    columns : iterable of pandas.Series
        Numbers or categories.

    Returns
    -------
    str
        It does not depend on row labels, nor on the platform.
    """
    digest = hashlib.sha256()
    for column in columns:
        levels = levels_of(column)
        values = _canonical(column) if levels is None else column.cat.codes.to_numpy("<i4")
        head = json.dumps([column.name, str(column.dtype), levels, len(values)])
        digest.update(head.encode() + values.tobytes())
    return digest.hexdigest()


def _canonical(column: pd.Series) -> np.ndarray:
    """Return numbers in little-endian order, with one kind of NaN and of zero."""
    if column.dtype == np.int64:
        return column.to_numpy("<i8")
    values = column.to_numpy("<f8") + 0.0  # -0.0 + 0.0 is 0.0
    values[np.isnan(values)] = np.nan
    return values


def _examples(column: pd.Series, is_date: bool) -> str:
    """Describe the values of a column in a few words."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        counts = column.value_counts()
        counts = counts[counts > 0]
        return ", ".join(counts.index[:4]) + (", …" if len(counts) > 4 else "")
    low, high = column.min(), column.max()
    if is_date and not np.isnan(low):
        return f"{np.datetime64(int(low // 1), 'D')} to {np.datetime64(int(high // 1), 'D')}"
    return f"{low:.4g} to {high:.4g}"
