"""How fast a checkpoint predicts, as a ratio in one run: the machine and its load cancel out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from joblib import cpu_count

from causalmix.atomic import check_writable
from causalmix.benchmarks.timing import (
    make_table,
    summarise_pairs,
    torch_threads,
    wall_seconds,
    write_measured,
)
from causalmix.finetuning.run import predict_proba
from causalmix.quality.baselines import random_forest
from causalmix.tfm.model import FoundationModel, load_tfm


def measure_speed(
    tfm: FoundationModel,
    *,
    n_context: int = 300,
    n_query: int = 200,
    n_features: int = 20,
    n_trees: int = 500,
    repeats: int = 9,
    threads: int = 1,
) -> dict[str, object]:
    """Time zero-shot prediction against fitting a random forest and predicting with it.

    Parameters
    ----------
    tfm : FoundationModel
        The checkpoint, loaded.
    n_context, n_query, n_features : int, default=300, 200 and 20
        Labelled rows, rows to predict, and numeric columns of a made-up table of two classes.
    n_trees : int, default=500
        Of the forest.
    repeats : int, default=9
        Pairs of measurements, one after the other, after one that does not count.
    threads : int, default=1
        Threads that each of the two may use.

    Returns
    -------
    dict
        ``ratio`` (median over the pairs of the forest's seconds divided by the checkpoint's: above
        1 the checkpoint is faster), ``ratios`` of all pairs, ``tfm_seconds`` and
        ``random_forest_seconds`` (medians), and the arguments.
    """
    table = make_table(n_context + n_query, n_features)
    context = table.take(np.arange(n_context))
    query = table.take(np.arange(n_context, n_context + n_query)).X
    codes = context.y.cat.codes.to_numpy()
    forest = random_forest(threads=threads, n_estimators=n_trees)
    with torch_threads(threads):
        pairs = [
            (
                wall_seconds(lambda: predict_proba(tfm, context, query)),
                wall_seconds(lambda: forest.fit(context.X, codes).predict_proba(query)),
            )
            for _ in range(repeats + 1)
        ]
    sizes = {"n_context": n_context, "n_query": n_query, "n_features": n_features}
    measured = summarise_pairs(pairs[1:], "tfm_seconds", "random_forest_seconds")
    return measured | sizes | {"n_trees": n_trees, "threads": threads}


def write_speed(tfm: str | Path, path: Path) -> Path:
    """Measure the speed of a checkpoint with one thread and with all cores, and write it down.

    Parameters
    ----------
    tfm : str or Path
        Checkpoint as :func:`causalmix.tfm.model.load_tfm` takes it.
    path : Path
        JSON file to write; its folder is made.

    Returns
    -------
    Path
        `path`.
    """
    check_writable(path)
    model = load_tfm(tfm)
    measured = [measure_speed(model, threads=threads) for threads in sorted({1, cpu_count()})]
    settings = {"tfm": model.source, "checkpoint": model.content_hash}
    return write_measured(path, {"measured": measured}, settings)
