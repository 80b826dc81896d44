"""A family of priors: regions of the prior's knobs, and how often tasks come from each.

A knob is something that `causalmix.prior.tasks.PriorConfig` ranges over, such as the number of rows
or the kinds of mechanisms. Its regions are parts of that range. A prior of the family draws a
region of every knob, each knob by itself, and then a batch of tasks with those settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from causalmix.prior.nodes import MECHANISMS
from causalmix.prior.tasks import PriorConfig


def _only(*kinds: str) -> dict[str, tuple[float, ...]]:
    """Give nodes and targets these kinds of mechanisms alone, each as often."""
    shares = tuple(float(kind in kinds) / len(kinds) for kind in MECHANISMS)
    return {"mechanisms": shares, "target_mechanisms": shares}


KNOBS: dict[str, dict[str, dict[str, Any]]] = {
    "rows": {
        "48 to 128": {"rows": (48, 128)},
        "129 to 400": {"rows": (129, 400)},
        "401 to 1,024": {"rows": (401, 1024)},
    },
    "columns": {
        "2 to 5": {"min_features": 2, "max_features": 5},
        "6 to 15": {"min_features": 6, "max_features": 15},
        "16 to 60": {"min_features": 16, "max_features": 60},
    },
    "depth": {"1 level": {"depth": 1}, "up to 8 levels": {"depth": 8}},
    "mechanisms": {
        "linear": _only("linear"),
        "networks": _only("network"),
        "products and distances": _only("product", "radial"),
        "steps and trees": _only("steps", "tree"),
    },
    "noise": {
        "little": {"noise": (0.03, 0.2), "target_noise": (0.01, 0.1)},
        "much": {"noise": (0.2, 1.2), "target_noise": (0.1, 0.7)},
    },
    "categories": {
        "none": {"categorical": (-1.0, 0.0), "one_hot_share": 0.0},
        "some": {"categorical": (0.0, 1.0)},
        "all": {"categorical": (1.0, 2.0)},
    },
    "gaps": {"none": {"missing_share": 0.0}, "in every task": {"missing_share": 1.0}},
    "balance": {"even": {"evenness": (0.05, 0.25)}, "uneven": {"evenness": (0.7, 1.6)}},
    "classes": {"two": {"binary_share": 1.0}, "more": {"binary_share": 0.0}},
    "target": {
        "function of columns": {"observed_share": 1.0},
        "cause or hidden node": {"observed_share": 0.0},
    },
}
"""Knob → region → settings of `causalmix.prior.tasks.PriorConfig`."""

Probabilities = dict[str, dict[str, float]]
"""Knob → region → probability; those of a knob sum to one."""


def uniform() -> Probabilities:
    """Give the regions of a knob the same probability.

    Returns
    -------
    dict
        Of all `KNOBS`.
    """
    return {knob: dict.fromkeys(regions, 1 / len(regions)) for knob, regions in KNOBS.items()}


def with_regions(base: PriorConfig, regions: Mapping[str, str]) -> PriorConfig:
    """Set knobs of a prior to regions.

    Parameters
    ----------
    base : PriorConfig
        Has the settings of all other knobs.
    regions : mapping of str to str
        Knob → region, of `KNOBS`.

    Returns
    -------
    PriorConfig
    """
    settings: dict[str, Any] = {}
    for knob, region in regions.items():
        settings |= KNOBS[knob][region]
    return replace(base, **settings)


@dataclass(frozen=True)
class PriorMixture:
    """Ordinary tasks and tasks of a prior of the family.

    Parameters
    ----------
    base : PriorConfig
        Of the ordinary tasks; the family's have its settings where no knob has its own.
    probabilities : mapping
        As `uniform` gives them.
    ordinary : float, default=0.0
        Share of the batches that are ordinary.
    """

    base: PriorConfig
    probabilities: Mapping[str, Mapping[str, float]]
    ordinary: float = 0.0

    def draw(self, rng: np.random.Generator) -> PriorConfig:
        """Draw the prior of one batch.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of all randomness.

        Returns
        -------
        PriorConfig
            What the batch is drawn from.
        """
        if rng.random() < self.ordinary:
            return self.base
        regions = {
            knob: str(rng.choice(list(weights), p=list(weights.values())))
            for knob, weights in self.probabilities.items()
        }
        return with_regions(self.base, regions)
