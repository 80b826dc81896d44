"""A made table as a hospital keeps it: its causes are known, and its cells are not tidy."""

from __future__ import annotations

import numpy as np
import pandas as pd

from causalmix.errors import check_seed, check_whole

_NOTES = ("stable overnight", "no complaints", "short of breath on exertion", "wound dry")


def patients_table(n: int = 240, seed: int = 0) -> pd.DataFrame:
    """Draw patients by a structural causal model, and write them as a hospital would.

    Parameters
    ----------
    n : int, default=240
        Patients.
    seed : int, default=0
        Equal seeds give equal rows.

    Returns
    -------
    DataFrame of str
        ``patient_id``; ``admitted`` (day first) and ``last_seen`` (year first); ``age`` in years;
        ``sex``; ``ward``; ``crp_mg_l``, below its bound of detection as ``<5``; ``creatinine``
        (mg/dl), in part unknown; ``weight_kg``, unknown as ``n.a.``; ``antibiotics``; a ``note``;
        and the ``outcome`` home, rehab or died. Antibiotics help, and the worse cases get them.

    Raises
    ------
    CausalMixError
        If `n` or `seed` is none.
    """
    check_whole(n, 1, "n")
    rng = np.random.default_rng(check_seed(seed))
    age = np.clip(rng.normal(63, 17, n), 18, 97).round()
    crp = rng.gamma(0.8, 45, n)
    creatinine = np.exp(0.008 * (age - 60) + rng.normal(0, 0.3, n))
    old, inflamed = (age - 63) / 17, np.log1p(crp / 20)
    places = {"medicine": 0.5 * inflamed, "surgery": -0.3 * old, "geriatrics": 1.5 * old - 0.8}
    ward = _drawn(rng, {name: np.broadcast_to(odds, n) for name, odds in places.items()})
    antibiotics = np.where(inflamed + rng.logistic(0, 0.25, n) > 0.9, "yes", "no")
    ill = 1.1 * old + 1.9 * (inflamed - 0.8) + 0.8 * (creatinine - 1)
    ill -= 0.7 * (antibiotics == "yes")
    outcome = _drawn(rng, {"home": 0.6 - ill, "rehab": 0.5 * ill, "died": 1.2 * ill - 2.2})
    admitted = pd.Timestamp("2024-01-02") + pd.to_timedelta(rng.integers(0, 700, n), "D")
    seen = admitted + pd.to_timedelta(2 + rng.poisson(4 + np.clip(2 * ill, 0, 8)), "D")
    weight = rng.normal(75, 14, n).clip(38)
    beds = rng.integers(1, 45, n)
    return pd.DataFrame(
        {
            "patient_id": [f"K-{40_000 + 7 * i}" for i in range(n)],
            "admitted": admitted.strftime("%d.%m.%Y"),
            "last_seen": seen.strftime("%Y-%m-%d"),
            "age": age.astype(int).astype(str),
            "sex": rng.choice(["f", "m"], n),
            "ward": ward,
            "crp_mg_l": [f"{value:.0f}" if value >= 5 else "<5" for value in crp],
            "creatinine": _with_gaps(rng, [f"{value:.2f}" for value in creatinine], 0.07, ""),
            "weight_kg": _with_gaps(rng, [f"{value:.1f}" for value in weight], 0.05, "n.a."),
            "antibiotics": antibiotics,
            "note": [f"{rng.choice(_NOTES)} (bed {bed})" for bed in beds],
            "outcome": outcome,
        },
        dtype=str,
    )


def _drawn(rng: np.random.Generator, odds: dict[str, np.ndarray]) -> np.ndarray:
    """Draw a level a row, by the logarithms of its odds (the Gumbel trick)."""
    table = np.stack(list(odds.values()), axis=1)
    return np.array(list(odds))[(table + rng.gumbel(size=table.shape)).argmax(axis=1)]


def _with_gaps(rng: np.random.Generator, cells: list[str], share: float, gap: str) -> list[str]:
    gone = rng.random(len(cells)) < share
    return [gap if lost else cell for cell, lost in zip(cells, gone, strict=True)]
