"""What all measurements of speed share: seconds, paired ratios, made-up tables, and their file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import make_classification

from causalmix.atomic import make_folder
from causalmix.data.dataset import TabularDataset
from causalmix.manifest import make_manifest, write_json


def processor_seconds(run: Callable[[], object]) -> float:
    """Return the processor seconds that a call takes in this process."""
    start = time.process_time()
    run()
    return time.process_time() - start


def wall_seconds(run: Callable[[], object]) -> float:
    """Return the seconds that pass during a call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use so many threads in a ``with`` statement."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def summarise_pairs(
    pairs: Sequence[tuple[float, float]], ours: str, theirs: str
) -> dict[str, object]:
    """Sum up pairs of measurements, one after the other: the load of the machine cancels out.

    Parameters
    ----------
    pairs : sequence of (float, float)
        Our seconds and the others'.
    ours, theirs : str
        What the result calls them.

    Returns
    -------
    dict
        ``ratio`` (median over the pairs of the others' seconds divided by ours), ``ratios``, and
        the medians of both.
    """
    first, second = np.array(pairs).T
    ratios = second / first
    return {
        "ratio": float(np.median(ratios)),
        "ratios": [round(float(ratio), 3) for ratio in ratios],
        ours: float(np.median(first)),
        theirs: float(np.median(second)),
    }


def make_table(n_rows: int, n_features: int, seed: int = 0, flip_y: float = 0.01) -> TabularDataset:
    """Make up a table of two classes and numeric columns, five of which say something.

    Parameters
    ----------
    n_rows, n_features : int
    seed : int, default=0
    flip_y : float, default=0.01
        Share of the rows whose class is drawn by lot.

    Returns
    -------
    TabularDataset
    """
    X, y = make_classification(
        n_rows, n_features, n_informative=5, flip_y=flip_y, random_state=seed
    )
    return TabularDataset.from_frame(pd.DataFrame(X).add_prefix("x").assign(target=y), "target")


def write_measured(
    path: Path,
    measured: Mapping[str, object],
    settings: dict[str, object],
    data: Mapping[str, str] | None = None,
) -> Path:
    """Write measurements and the manifest of the run into one JSON file.

    Parameters
    ----------
    path : Path
        The file; its folder is made.
    measured : mapping
    settings, data
        Of :func:`causalmix.manifest.make_manifest`.

    Returns
    -------
    Path
        `path`.
    """
    make_folder(path.parent)
    write_json(path, {**measured, **make_manifest(settings, dict(data or {}))})
    return path
