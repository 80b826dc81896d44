"""What becomes of the arms where one setting is another: rows, seeds, what is trained.

Functions take runs as :meth:`causalmix.benchmarks.store.Store.runs` returns them.
"""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from causalmix.benchmarks.analysis import COMPARED, harm_by_arm, paired_differences
from causalmix.benchmarks.candidates import SPLIT
from causalmix.benchmarks.claims import BEFORE
from causalmix.errors import check_name, check_names

_ALL_ROWS = "_all_rows"
_SHARES = ["runs_changed", "runs_harmed", "changed_harmed"]

VARIED = ("n_train", "n_val", "all_rows", "seed", "config.trained")
"""Settings that plans of the benchmark vary."""


def beside_usual(
    usual: pd.DataFrame, other: pd.DataFrame, settings: Collection[str]
) -> pd.DataFrame:
    """Put runs with other values of some settings beside those with the usual ones.

    Parameters
    ----------
    usual : DataFrame
        Runs of a plan.
    other : DataFrame
        Runs of plans that differ from it, each in its own setting.
    settings : collection of str
        Those of `VARIED` that may differ.

    Returns
    -------
    DataFrame
        Of `other`, runs whose other settings of `VARIED` are those of a usual run on the split; of
        `usual`, runs that have such beside them. A run that both have is there once.

    Raises
    ------
    UnknownNameError
        If one of `settings` is not varied.
    """
    check_names(settings, VARIED, "varied setting")
    varied = [name for name in VARIED if name in usual and name in other]
    same = [*SPLIT, *(name for name in varied if name not in settings)]
    other = other.merge(usual[same].drop_duplicates())
    usual = usual.merge(other[[name for name in same if name != "split"]].drop_duplicates())
    runs = pd.concat([usual, other], ignore_index=True)
    return runs.drop_duplicates([*SPLIT, "arm", *varied], ignore_index=True)


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
        As of `beside_usual`, with ``n_val`` of 0 where none were left, and with arms by the names
        that they have otherwise.
    """
    runs = beside_usual(usual, other, ["n_val", "all_rows"])
    trained = runs["all_rows"].eq(True)
    place = [*SPLIT, "n_train", "n_val"]
    # The untouched model reads the same rows, whether they validate or not.
    none_left = runs[trained][place].drop_duplicates()
    before = runs[runs["arm"] == BEFORE].merge(none_left)
    found = pd.concat([runs[~trained], runs[trained].assign(n_val=0), before.assign(n_val=0)])
    arms = found["arm"].str.removesuffix(_ALL_ROWS)
    return found.assign(arm=arms).drop_duplicates([*place, "arm", "seed"], ignore_index=True)


def by_training_rows(usual: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Put runs with other numbers of training rows beside those with the usual number.

    Parameters
    ----------
    usual : DataFrame
        Runs of a plan.
    other : DataFrame
        Runs of plans that differ from it in ``n_train``, and as a rule in ``n_val`` with it.

    Returns
    -------
    DataFrame
        As of `beside_usual`.
    """
    usual = usual[usual["dataset"].isin(other["dataset"])]
    other = other[~other["n_train"].isin(usual["n_train"])]
    return beside_usual(usual, other, ["n_train", "n_val"])


def effects_by(runs: pd.DataFrame, factor: str) -> pd.DataFrame:
    """Compare arms that were run with several values of a setting with zero-shot, by its values.

    Parameters
    ----------
    runs : DataFrame
    factor : str
        Its column. Where zero-shot runs lack it, they count with each value.

    Returns
    -------
    DataFrame
        A row an arm and value, the values in order, on splits that the arm has with all its values:
        ``tables`` and ``splits``; ``auc_gain`` and ``log_loss_gain`` (nats), means over tables,
        with 95 % intervals ``auc_low`` to ``auc_high`` and so on; ``runs_changed``,
        ``runs_harmed`` and ``changed_harmed`` as `causalmix.benchmarks.analysis.harm_by_arm` has
        them. Empty where no arm has two values on a split.

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
    untouched = runs[(runs["arm"] == BEFORE) & runs[factor].isna()]
    tuned = runs["arm"] != BEFORE
    for value, own in runs.groupby(factor) if tuned.any() else ():
        own = pd.concat([own, untouched], ignore_index=True)
        pairs = paired_differences(own, [BEFORE])
        wide = pairs[["arm", "tables", "splits"]].drop_duplicates("arm").set_index("arm")
        for score, each in pairs.set_index("arm").groupby("score"):
            figures = each[["difference", "low", "high"]].rename(columns={"difference": "gain"})
            wide = wide.join(figures.add_prefix(f"{score}_"))
        wide = wide.join(harm_by_arm(own).set_index("arm")[_SHARES])
        found.append(wide.reset_index().assign(**{factor: value}))
    figures = [f"{score}_{each}" for score in COMPARED for each in ("gain", "low", "high")]
    columns = ["arm", factor, "tables", "splits", *figures, *_SHARES]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)
