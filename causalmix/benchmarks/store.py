"""Results in a folder of Parquet files: one row a run, with its settings and its curves.

A row is found by its key, a hash of everything that decides it: what was run, on which data, with
which settings, weights and code. Rows come in small files that nobody changes afterwards; now and
then they are put together. So several programs can write to one folder, and a kill costs the rows
of the last seconds at most.
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
import uuid
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from causalmix.atomic import make_folder, replace_file
from causalmix.errors import CausalMixError

FORMAT = "1"
"""Version of the columns below; a folder of another one is refused."""

COLUMNS = {
    "key": "string",
    "kind": "string",
    "settings": "string",
    "status": "string",
    "outcome": "string",
    "curves": "string",
    "error": "string",
    "device": "string",
    "seconds": "float64",
    "timings": "string",
    "versions": "string",
    "commit": "string",
    "finished": "float64",
}
"""Columns of a store; settings, outcome, curves, timings and versions are JSON."""

FLUSH_SECONDS = 5.0
"""How long a finished row may wait in memory for others to share a file with."""

_MOST_PARTS = 24  # before they are put together
_PART_ROWS = 20_000  # of a file that is not touched again
_MARK = b"causalmix_store"
_SCHEMA = pa.schema([(name, getattr(pa, kind)()) for name, kind in COLUMNS.items()]).with_metadata(
    {_MARK: FORMAT.encode()}
)


@dataclass(frozen=True)
class Disagreement:
    """Two rows of one key whose outcomes differ by more than a tolerance.

    Attributes
    ----------
    key : str
        Of both rows.
    name : str
        Of the value that differs most.
    first, second : object
        The two values, the kept one first.
    """

    key: str
    name: str
    first: object
    second: object


class Store:
    """Rows of runs in a folder.

    Parameters
    ----------
    folder : str or Path or None
        Made when the first row comes; None keeps the rows in memory only.

    Raises
    ------
    CausalMixError
        If it holds files of another version of the format, or is no folder.

    Warns
    -----
    UserWarning
        If a file is damaged: its rows are missing, and it stays where it is.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._waiting: list[dict[str, Any]] = []
        self._since = time.monotonic()
        self._lock, self._timer = threading.RLock(), None
        if self.folder is not None and self.folder.exists() and not self.folder.is_dir():
            raise CausalMixError(f"{self.folder} is a file; a store is a folder.")
        self._rows: dict[str, dict[str, Any]] = {}
        read: set[Path] = set()
        # Once more where another program has put files together meanwhile.
        while self.folder is not None and (new := set(self._parts()) - read):
            for path in sorted(new):
                for row in _read_part(path):
                    self._keep(row)
            read |= new

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._rows[key]

    def origin(self, keys: Iterable[str]) -> dict[str, object]:
        """Return the versions and commits that made some runs, as `make_manifest` takes them.

        They are those in the rows, for a checkout may have moved on; several are joined by commas.
        """
        made = {(self[key]["versions"], self[key]["commit"] or "unknown") for key in keys}
        versions: dict[str, set[str]] = {}
        for text in sorted({versions for versions, _ in made}):
            for name, version in json.loads(text).items():
                versions.setdefault(name, set()).add(version)
        joined = {name: ", ".join(sorted(found)) for name, found in versions.items()}
        return {"versions": joined, "commit": ", ".join(sorted({commit for _, commit in made}))}

    def why(self, key: str) -> str:
        """Return the reason that a run failed for: see `reason_of`."""
        return reason_of(self[key]["error"])

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a finished run; it is on the disk after `FLUSH_SECONDS` or `flush`.

        Parameters
        ----------
        row : mapping
            With `COLUMNS`. A row that ended well takes the place of a failed one. Of two that did
            the earlier stays, of two that failed the later.
        """
        row = {name: row[name] for name in COLUMNS}
        with self._lock:
            self._keep(row)
            self._waiting.append(row)
            if time.monotonic() - self._since >= FLUSH_SECONDS:
                self.flush()
            elif self._timer is None and self.folder is not None:  # the next row may be hours away
                self._timer = threading.Timer(FLUSH_SECONDS, self._flush_in_time)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Write the rows that wait; where many small files have come together, make one of them.

        Raises
        ------
        CausalMixError
            If the disk is full or read-only: the rows wait on, and the next call tries again.
        """
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._waiting and self.folder is not None:
                make_folder(self.folder)
                self._write(self._waiting)
                self._waiting = []
                if len(parts := self._parts()) > _MOST_PARTS:
                    self._merge_parts(parts)
            self._since = time.monotonic()

    def _flush_in_time(self) -> None:
        with suppress(CausalMixError):  # the next flush says it, if the disk is still full
            self.flush()

    def compact(self) -> None:
        """Put all rows into as few files as possible."""
        self.flush()
        if self.folder is not None:
            self._merge_parts(self._parts(), all_of_them=True)

    def merge(self, other: Store, *, tolerance: float = 1e-3) -> list[Disagreement]:
        """Take the rows of another store.

        Parameters
        ----------
        other : Store
            Not changed.
        tolerance : float, default=1e-3
            By how much numbers of two outcomes of one key may differ. Rows of a CPU and a GPU
            differ in their last digits, and fine-tuning makes more of that.

        Returns
        -------
        list of Disagreement
            Keys that both hold with different outcomes. The row that was finished first stays.
        """
        found = []
        for key, row in other._rows.items():
            if key in self and {row["status"], self[key]["status"]} == {"ok"}:
                first, second = sorted((self[key], row), key=lambda each: each["finished"])
                found += compare_outcomes(first, second, tolerance)
            self.add(row)
        self.flush()
        return found

    def runs(self, kind: str | None = None, *, status: str = "ok") -> pd.DataFrame:
        """Return settings and outcome of the runs, a column each.

        Parameters
        ----------
        kind : str, optional
            Only of this kind.
        status : {"ok", "failed"}, default="ok"
            Only those that ended so.

        Returns
        -------
        DataFrame
            Indexed by ``key``; nested settings have a dot in their names. With ``device``,
            ``commit``, ``run_seconds`` and, where a run failed, ``error``.
        """
        of_kind = (row for row in self._rows.values() if kind in (None, row["kind"]))
        rows = [row for row in of_kind if row["status"] == status]
        flat = [
            json.loads(row["settings"])
            | json.loads(row["outcome"])
            | {name: row[name] for name in ("device", "commit", "error")}
            | {"run_seconds": row["seconds"]}
            for row in rows
        ]
        index = pd.Index([row["key"] for row in rows], name="key", dtype=object)
        return pd.json_normalize(flat).set_index(index)

    def kinds(self) -> set[str]:
        """Return the kinds of the runs that ended well."""
        return {row["kind"] for row in self._rows.values() if row["status"] == "ok"}

    def curves(self, keys: Iterable[str]) -> pd.DataFrame:
        """Return the curves of some runs, one below the other.

        Parameters
        ----------
        keys : iterable of str
            Of runs that ended well.

        Returns
        -------
        DataFrame
            With the column ``key`` in front; runs without curves are left out.
        """
        found = [
            pd.DataFrame(json.loads(self[key]["curves"])).assign(key=key)
            for key in keys
            if self[key]["curves"]
        ]
        frame = pd.concat(found, ignore_index=True) if found else pd.DataFrame({"key": []})
        return frame[["key", *frame.columns.drop("key")]]

    # ---- files -----------------------------------------------------------------------------------

    def _keep(self, row: dict[str, Any]) -> None:
        self._rows[row["key"]] = _preferred(self._rows.get(row["key"]), row)

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))

    def _write(self, rows: list[dict[str, Any]]) -> None:
        table = pa.Table.from_pylist(rows, _SCHEMA)
        path = self.folder / f"part-{uuid.uuid4().hex[:16]}.parquet"
        options = {"compression": "zstd", "write_page_checksum": True}
        replace_file(path, lambda partial: pq.write_table(table, partial, **options))

    def _merge_parts(self, parts: list[Path], *, all_of_them: bool = False) -> None:
        """Write the rows of small files into one, then delete those; a kill leaves rows twice."""
        small: list[Path] = []
        rows: dict[str, dict[str, Any]] = {}
        for path in parts:
            found = _read_part(path)
            if found and (all_of_them or len(found) < _PART_ROWS):
                small.append(path)
                for row in found:
                    rows[row["key"]] = _preferred(rows.get(row["key"]), row)
        if len(small) > 1:
            self._write(sorted(rows.values(), key=lambda row: row["key"]))
            for path in small:
                path.unlink(missing_ok=True)


def _preferred(known: dict[str, Any] | None, row: dict[str, Any]) -> dict[str, Any]:
    """Of two rows of a key, a run that ended well before a failed one; see `Store.add`."""
    both = [row] if known is None else [known, row]
    well = [each for each in both if each["status"] == "ok"]
    finished = itemgetter("finished")
    return min(well, key=finished) if well else max(both, key=finished)


def reason_of(error: str) -> str:
    """Return the line of a traceback that names the error, else its last one."""
    lines = error.strip().splitlines()
    return ([line for line in lines if _NAMED.match(line)] or lines)[-1]


_NAMED = re.compile(r"[\w.]*(Error|Exception)\b")


def compare_outcomes(
    first: Mapping[str, Any], second: Mapping[str, Any], tolerance: float
) -> list[Disagreement]:
    """Compare the outcomes of two rows of one key.

    Parameters
    ----------
    first, second : mapping
        Rows of a store that ended well.
    tolerance : float
        By how much numbers may differ.

    Returns
    -------
    list of Disagreement
        The value that differs most, or none. Texts, as the reason why weights were kept, say the
        same numbers in words, and do not count.
    """
    one, other = (json.loads(row["outcome"]) for row in (first, second))
    apart = {name: _apart(one.get(name), other.get(name)) for name in one.keys() | other.keys()}
    name = max(sorted(apart), key=apart.__getitem__, default="")
    if not name or apart[name] <= tolerance:
        return []
    return [Disagreement(first["key"], name, one.get(name), other.get(name))]


def _apart(a: object, b: object) -> float:
    both_texts = isinstance(a, str) and isinstance(b, str)
    if a == b or both_texts or (a != a and b != b):  # both NaN
        return 0.0
    numbers = all(isinstance(value, int | float) and value == value for value in (a, b))
    return abs(a - b) if numbers else math.inf


def _read_part(path: Path) -> list[dict[str, Any]]:
    """Read one file; a damaged one is named and passed over."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        found = (table.schema.metadata or {}).get(_MARK, b"").decode()
        if not found:
            warnings.warn(f"{path} is no file of a store, and is passed over.", stacklevel=4)
            return []
        rows = table.select(list(COLUMNS) if found == FORMAT else []).to_pylist()
    except FileNotFoundError:  # another program has just put it together with others
        return []
    except (OSError, KeyError, UnicodeDecodeError, pa.ArrowException) as error:
        warnings.warn(
            f"{path} is damaged ({str(error).splitlines()[0]}). Its runs are missing and will be "
            "computed again; delete it, or put a copy in its place.",
            stacklevel=4,
        )
        return []
    if found != FORMAT:
        raise CausalMixError(
            f"{path} is of version {found} of the store's format, this is version {FORMAT}. Choose "
            "another folder, or the version of causalmix that wrote it."
        )
    return rows
