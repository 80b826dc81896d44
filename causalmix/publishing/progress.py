"""A bar over a notebook that runs: the heading it is at, and the time left."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import nbformat
from tqdm import tqdm

from causalmix.errors import CausalMixError, naming

_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
_FENCED = re.compile(r"^(`{3,}).*?^\1`*\s*$", re.MULTILINE | re.DOTALL)
_FORMAT = "{desc} {percentage:3.0f}%|{bar}| {postfix}"


class Progress:
    """A bar that a notebook's cells move, each by the time that it took in an earlier run.

    Parameters
    ----------
    source : pathlib.Path
        The notebook's source.
    seconds : mapping of str to float
        Of an earlier run, by a cell's code, as `cell_seconds` returns them. Cells that are not in
        it count as their mean; without any, all cells count alike.
    **options : object
        Of tqdm.
    """

    def __init__(self, source: Path, seconds: Mapping[str, float], **options: Any) -> None:
        cells = nbformat.read(source, as_version=4).cells
        codes = [cell.source for cell in cells if cell.cell_type == "code"]
        known = [seconds[code] for code in codes if code in seconds]
        usual = sum(known) / len(known) if any(known) else 1.0
        self._weights = {code: seconds.get(code, usual) for code in codes}
        self._total = sum(self._weights.values()) or 1.0
        # What a second of the earlier run took in this one; nothing is known of it at first.
        self._pace = 1.0 if any(known) else None
        self._done, self._start = 0.0, time.monotonic()
        self._began = self._start  # of the cell that runs
        self._over = threading.Event()
        self._name, options = source.stem, {"bar_format": _FORMAT} | options
        self.bar = tqdm(total=self._total, desc=self._name, **options)

    def __enter__(self) -> Progress:
        threading.Thread(target=self._tick, daemon=True).start()
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.bar.close()

    def begin(self, cell: nbformat.NotebookNode, cell_index: int) -> None:
        """Show the heading that a cell stands under; a hook of nbclient."""
        self._began = time.monotonic()
        if cell.cell_type == "markdown" and (title := last_heading(cell.source)):
            self.bar.set_description_str(f"{self._name}: {title}")

    def end(self, cell: nbformat.NotebookNode, cell_index: int, **other: object) -> None:
        """Move the bar by a cell that has run; a hook of nbclient."""
        self._done += self._weights.pop(cell.source, 0.0)  # papermill adds a cell of its own
        self._began = time.monotonic()
        self._pace = (self._began - self._start) / self._done if self._done else self._pace
        self.bar.n = min(self._done, self._total)
        self._show()

    def left(self) -> float | None:
        """Return the seconds that are probably left, None where nothing is known yet."""
        if self._pace is None:
            return None
        rest = self._pace * (self._total - self._done)
        return max(rest - (time.monotonic() - self._began), 0.0)

    def _tick(self) -> None:
        while not self._over.wait(1.0):
            self._show()

    def _show(self) -> None:
        left = self.left()
        self.bar.set_postfix_str("" if left is None else f"{tqdm.format_interval(left)} left")


def last_heading(markdown: str) -> str | None:
    """Return the last heading of a cell's text, without a label or code in fences."""
    titles = _HEADING.findall(_FENCED.sub("", markdown))
    return titles[-1] if titles else None


def cell_seconds(copies: Iterable[Path]) -> dict[str, float]:
    """Return how long cells took in the newest of some executed notebooks.

    Parameters
    ----------
    copies : iterable of pathlib.Path

    Returns
    -------
    dict of str to float
        Seconds by a cell's code; nothing where no copy can be read, or says it.
    """
    newest = max(copies, key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        return {}
    try:
        with naming(newest, "an executed notebook", ""):
            cells = nbformat.read(newest, as_version=4).cells
    except CausalMixError:  # it serves to guess the time left only
        return {}
    spans = {cell.source: cell.metadata.get("execution", {}) for cell in cells}
    ends = ("iopub.status.busy", "iopub.status.idle")
    moments = {
        code: [datetime.fromisoformat(span[end]) for end in ends]
        for code, span in spans.items()
        if all(end in span for end in ends)
    }
    return {code: (end - start).total_seconds() for code, (start, end) in moments.items()}
