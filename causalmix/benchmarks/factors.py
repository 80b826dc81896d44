"""What becomes of the arms where one setting is another: how many rows validate, or train.

Functions take runs as :meth:`causalmix.benchmarks.store.Store.runs` returns them.
"""

from __future__ import annotations

import pandas as pd

from causalmix.benchmarks.analysis import harm_by_arm, paired_differences
from causalmix.benchmarks.candidates import SPLIT
from causalmix.benchmarks.claims import BEFORE
from causalmix.errors import check_name

_ALL_ROWS = "_all_rows"


def by_validation_rows(usual: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Put runs with other numbers of validation rows beside those with the usual number.

    Parameters
    ----------
    usual : DataFrame
        Runs of a plan.
    other : DataFrame
        Runs of plans that differ from it in ``n_val``, or train on the validation rows as well
        (``all_rows``), so that none are left.

    Returns
    -------
    DataFrame
        Runs with ``n_val`` of 0 where none were left, and with arms by the names that they have
        otherwise. Of `usual` only tables and training rows that `other` has.
    """
    usual = usual.merge(other[["dataset", "n_train"]].drop_duplicates())
    runs = pd.concat([usual, other], ignore_index=True)
    trained = runs["all_rows"].eq(True)
    place = [*SPLIT, "n_train", "n_val"]
    # The untouched model reads the same rows, whether they validate or not.
    none_left = runs[trained][place].drop_duplicates()
    before = runs[runs["arm"] == BEFORE].merge(none_left)
    found = pd.concat([runs[~trained], runs[trained].assign(n_val=0), before.assign(n_val=0)])
    arms = found["arm"].str.removesuffix(_ALL_ROWS)
    return found.assign(arm=arms).drop_duplicates([*place, "arm", "seed"], ignore_index=True)


def effects_by(runs: pd.DataFrame, factor: str) -> pd.DataFrame:
    """Compare arms that were run with several values of a setting with zero-shot, by its values.

    Parameters
    ----------
    runs : DataFrame
    factor : str
        Its column of numbers.

    Returns
    -------
    DataFrame
        A row an arm and value, the values in order, on splits that the arm has with all its values:
        ``tables`` and ``splits``; ``auc_gain`` and ``log_loss_gain`` (nats), means over tables,
        with 95 % intervals ``auc_low`` to ``auc_high`` and so on; ``runs_changed``,
        ``runs_harmed`` and ``changed_harmed`` as `causalmix.benchmarks.analysis.harm_by_arm` has
        them.

    Raises
    ------
    UnknownNameError
        If there is no such column.
    """
    check_name(factor, list(runs), "setting")
    values = runs.groupby([*SPLIT, "arm"])[factor].transform("nunique")
    # Arms that lack a value are compared where they have the others.
    most = values.groupby(runs["arm"]).transform("max")
    runs, found = runs[((values == most) & (most > 1)) | (runs["arm"] == BEFORE)], []
    for value, own in runs.groupby(factor):
        pairs = paired_differences(own, [BEFORE])
        wide = pairs[["arm", "tables", "splits"]].drop_duplicates("arm").set_index("arm")
        for score, each in pairs.set_index("arm").groupby("score"):
            figures = each[["difference", "low", "high"]].rename(columns={"difference": "gain"})
            wide = wide.join(figures.add_prefix(f"{score}_"))
        shares = ["runs_changed", "runs_harmed", "changed_harmed"]
        wide = wide.join(harm_by_arm(own).set_index("arm")[shares])
        found.append(wide.reset_index().assign(**{factor: value}))
    table = pd.concat(found, ignore_index=True)
    return table[["arm", factor, *(name for name in table if name not in ("arm", factor))]]
