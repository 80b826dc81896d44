"""Tables of known structure that several tests use."""

from __future__ import annotations

import numpy as np
import pandas as pd


def collider(n: int, seed: int = 1) -> pd.DataFrame:
    """a → c ← b, c → d."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    c = a + b + 0.5 * rng.normal(size=n)
    return pd.DataFrame({"a": a, "b": b, "c": c, "d": c + 0.5 * rng.normal(size=n)})


def mixed(n: int, seed: int = 0) -> pd.DataFrame:
    """Independent columns of every kind, with missing cells in two of them."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "normal": rng.normal(size=n),
            "skewed": rng.exponential(size=n),
            "binary": rng.choice(["yes", "no"], n, p=[0.2, 0.8]),
            "letters": rng.choice(list("abcde"), n, p=[0.4, 0.3, 0.15, 0.1, 0.05]),
            "count": rng.poisson(3, n),
            "flag": rng.random(n) < 0.3,
        }
    )
    frame.loc[rng.random(n) < 0.2, "normal"] = np.nan
    frame.loc[rng.random(n) < 0.2, "letters"] = np.nan
    return frame.astype({"binary": "category", "letters": "category"})
