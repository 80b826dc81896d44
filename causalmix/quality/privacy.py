"""How near synthetic rows come to the real rows that their generator has seen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score, roc_curve

from causalmix.data.backing import numpy_backed
from causalmix.data.gower import distance_to_closest_record
from causalmix.data.own_settings import own_settings
from causalmix.errors import DataError, check_range

FALSE_POSITIVES = 0.05
"""Share of rows that were not learned from of which `membership_attack` says that they were."""


class MembershipAttack(NamedTuple):
    """How well a guess who was among the training rows succeeds.

    Parameters
    ----------
    auc : float
        ROC-AUC; 0.5 is chance.
    true_positives : float
        Share of the training rows that are found with `FALSE_POSITIVES`, which is also what
        chance finds.
    """

    auc: float
    true_positives: float


@own_settings()
def near_copy_share(records: pd.DataFrame, rows: pd.DataFrame, *, fraction: float = 0.5) -> float:
    """Share of rows that lie suspiciously near a record.

    A row is a near-copy if its distance to the closest record is at most `fraction` of the median
    distance between a record and the closest other one. Real rows that no generator has seen have
    some near-copies too, so their share is the one to compare with: a generator well above it
    repeats what it was fitted on.

    Parameters
    ----------
    records : DataFrame, shape (n_records, n_columns)
        Real rows that the generator was fitted on, two or more.
    rows : DataFrame, shape (n_rows, n_columns)
        Synthetic rows, or real ones held out.
    fraction : float, default=0.5
        Positive. Where more than half of the records have a duplicate, the median is 0 and only
        exact copies count.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    DataError
        If there are fewer than two records, or no rows.
    CausalMixError
        If `fraction` is not positive.

    References
    ----------
    Distances to the closest record, held against those of held-out rows: Platzer and Reutterer
    (2021), "Holdout-based empirical assessment of mixed-type synthetic data", Frontiers in Big
    Data 4. The distance between neighbouring records as the unit: Yoon, Drumright, van der Schaar
    (2020), "Anonymization through data synthesis using generative adversarial networks
    (ADS-GAN)", IEEE Journal of Biomedical and Health Informatics 24.
    """
    records, rows = numpy_backed(records), numpy_backed(rows)
    if len(records) < 2:
        raise DataError(f"Near-copies need two or more records to compare, got {len(records)}.")
    if len(rows) == 0:
        raise DataError("There are no rows to search for near-copies.")
    check_range(fraction, "(0, inf)", "fraction")
    typical = np.median(distance_to_closest_record(records))
    near = distance_to_closest_record(records, rows) <= fraction * typical + 1e-12
    return float(near.mean())


@own_settings()
def membership_attack(
    records: pd.DataFrame, others: pd.DataFrame, rows: pd.DataFrame
) -> MembershipAttack:
    """Guess from synthetic rows alone which real rows their generator was fitted on.

    The guess goes by Gower's distance of a real row to the closest synthetic one: the nearer, the
    more likely it was learned from. It grows with the number of synthetic rows, so compare
    generators with equal numbers.

    Parameters
    ----------
    records : DataFrame, shape (n_records, n_columns)
        Real rows that the generator was fitted on.
    others : DataFrame, shape (n_others, n_columns)
        Real rows of the same population that it was not fitted on, best as many.
    rows : DataFrame, shape (n_rows, n_columns)
        Synthetic rows.

    Returns
    -------
    MembershipAttack

    Raises
    ------
    DataError
        If one of the three has no rows.

    References
    ----------
    The attack without access to the generator of Chen, Yu, Zhang, Fritz (2020), "GAN-Leaks: a
    taxonomy of membership inference attacks against generative models", CCS. Its success at few
    false positives: Carlini et al. (2022), "Membership inference attacks from first principles",
    IEEE Symposium on Security and Privacy.
    """
    records, others, rows = (numpy_backed(each) for each in (records, others, rows))
    if not (len(records) and len(others) and len(rows)):
        raise DataError(
            "The attack takes rows of all three kinds, and got "
            f"{len(records)} records, {len(others)} others and {len(rows)} synthetic rows."
        )
    near, far = (distance_to_closest_record(rows, each) for each in (records, others))
    guess, learned = -np.concatenate([near, far]), np.repeat([True, False], [len(near), len(far)])
    false, true, _ = roc_curve(learned, guess)  # between its points a coin decides
    auc = float(roc_auc_score(learned, guess))
    return MembershipAttack(auc, float(np.interp(FALSE_POSITIVES, false, true)))
