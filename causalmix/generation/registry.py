"""Generators of synthetic rows by name, and those that other libraries have."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import partial, wraps
from typing import Any

import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE, SMOTEN, SMOTENC

from causalmix.data.codec import TableCodec, names_as_text
from causalmix.discovery.control_graphs import GRAPHS
from causalmix.errors import (
    CausalMixError,
    DataError,
    check_name,
    check_range,
    check_seed,
    check_whole,
    checked_options,
)
from causalmix.generation.base import (
    ByClassGenerator,
    Generator,
    TableGenerator,
    WrappingGenerator,
)
from causalmix.generation.by_column import (
    ORDERS,
    TFMConditionalGenerator,
    TFMCPDAGGenerator,
    TFMDrawnGenerator,
)
from causalmix.generation.causal import PAPER_OPTIONS, POSTERIOR_OPTIONS, CausalGenerator
from causalmix.generation.copula import CopulaGenerator
from causalmix.generation.mixup import MixupGenerator
from causalmix.generation.purification import Purified
from causalmix.generation.relabelling import Relabelled
from causalmix.generation.tabebm import TabEBMGenerator
from causalmix.scm.missingness import MissingnessModel


@checked_options
class SMOTENCGenerator(ByClassGenerator):
    """Interpolation between rows of the same class by imbalanced-learn.

    SMOTE-NC for mixed tables, SMOTE for numeric and SMOTEN for categorical ones. They oversample
    one class at a time; here each class is asked for its share of the training rows, so a sample
    has the training balance and synthetic rows only. Neighbours are sought among standardised
    numbers. A class with fewer rows than neighbours uses those that it has; a class of one row
    repeats it.

    Missing categories are a level of their own. Missing numbers are filled with the median, and
    put back completely at random at the observed share.

    Parameters
    ----------
    k_neighbors : int, default=5

    References
    ----------
    Chawla, Bowyer, Hall, Kegelmeyer (2002), "SMOTE: Synthetic minority over-sampling technique",
    JAIR 16.
    """

    k_neighbors: int = 5

    def __post_init__(self) -> None:
        check_whole(self.k_neighbors, 1, "k_neighbors")

    def _learn(self, coded: pd.DataFrame) -> None:
        if len(np.unique(self._classes)) < 2:
            raise DataError("The target has only one class; SMOTE needs two or more.")
        numeric = coded.drop(columns=list(self._codec.categorical))
        self._centre = numeric.median().fillna(0.0)
        self._scale = numeric.std().fillna(0.0).replace(0.0, 1.0)
        coded[numeric.columns] = (numeric.fillna(self._centre) - self._centre) / self._scale
        self._rows = coded.drop(columns=self.target_)

    def _decode(self, rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        rows[self._centre.index] = rows[self._centre.index] * self._scale + self._centre
        return self._codec.decode(rows, rng)

    def _sample_class(self, c: int, m: int, seed: int) -> pd.DataFrame:
        own = self._classes == c
        if own.sum() == 1:
            return self._rows[own].iloc[np.zeros(m, dtype=int)]
        sampler = self._sampler(min(self.k_neighbors, own.sum() - 1), own.sum() + m, seed)
        # Names of several types, which scikit-learn refuses, are none of its business.
        rows, _ = sampler.fit_resample(self._rows.set_axis(range(self._rows.shape[1]), axis=1), own)
        drawn = rows.iloc[len(self._rows) :]  # the given rows come first
        return drawn.set_axis(self._rows.columns, axis=1)

    def _sampler(self, k: int, n_class: int, seed: int) -> SMOTE | SMOTEN | SMOTENC:
        options = {"sampling_strategy": {True: n_class}, "k_neighbors": k, "random_state": seed}
        categorical = [j for j, c in enumerate(self._rows) if c in self._codec.categorical]
        if not categorical:
            return SMOTE(**options)
        if len(categorical) == self._rows.shape[1]:
            return SMOTEN(**options)
        return SMOTENC(categorical, **options)


@checked_options
class PerturbationGenerator(TableGenerator):
    """Training rows drawn with replacement and slightly changed; classes stay.

    A number gets Gaussian noise with a share of its column's standard deviation; a category is
    replaced, with a small probability, by a draw from its column. Missing numbers stay missing.
    This is this project's own definition of table augmentation, not that of another paper.

    Parameters
    ----------
    noise : float, default=0.1
        Standard deviation of the noise, in standard deviations of the column.
    swap : float, default=0.05
        Probability of redrawing a category.
    """

    noise: float = 0.1
    swap: float = 0.05

    def __post_init__(self) -> None:
        check_range(self.noise, "[0, inf)", "noise")
        check_range(self.swap, "[0, 1]", "swap")

    def _fit(self, table: pd.DataFrame) -> None:
        self._codec = TableCodec(table)
        self._rows = self._codec.encode(table)

    def _sample(self, n: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        rows = self._rows.iloc[rng.integers(len(self._rows), size=n)].reset_index(drop=True)
        for name in rows.columns.drop(self.target_):
            column = self._rows[name].to_numpy()
            if name in self._codec.categorical:
                swapped = rng.random(n) < self.swap
                rows.loc[swapped, name] = rng.choice(column, swapped.sum())
            elif not np.isnan(column).all():
                rows[name] += rng.normal(0.0, self.noise * np.nanstd(column), n)
        return self._codec.decode(rows)


@checked_options
class CTGANGenerator(TableGenerator):
    """A conditional generative adversarial network by the ``ctgan`` package (the extra ``ctgan``).

    Missing categories are a level of their own. Missing numbers are filled with the median for
    training, and put back as `causalmix.scm.missingness.MissingnessModel` has learned them.

    Parameters
    ----------
    epochs : int, default=300
        Passes over the table; with few rows each is one step.
    seed : int, default=0
        Of the training.

    References
    ----------
    Xu, Skoularidou, Cuesta-Infante, Veeramachaneni (2019), "Modeling tabular data using conditional
    GAN", NeurIPS 32.
    """

    epochs: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole(self.epochs, 1, "epochs")
        check_seed(self.seed)

    def _fit(self, table: pd.DataFrame) -> None:
        try:
            from ctgan import CTGAN
        except ImportError as error:
            raise CausalMixError(
                "The generator 'ctgan' needs the package ctgan: pip install 'causalmix[ctgan]'."
            ) from error
        self._codec = TableCodec(table)
        coded = self._codec.encode(table)
        self._gaps = MissingnessModel().fit(coded, self._codec.categorical)
        known = coded.fillna(coded.median()).fillna(0.0)
        for name in self._codec.categorical:
            known[name] = known[name].astype(int).astype(str)
        self._texts = names_as_text(table)
        self._model = CTGAN(epochs=self.epochs, enable_gpu=False)
        self._model.set_random_state(self.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            discrete = [self._texts[name] for name in self._codec.categorical]
            self._model.fit(known.rename(columns=self._texts), discrete)

    def _sample(self, n: int, seed: int) -> pd.DataFrame:
        self._model.set_random_state(seed)
        names = {text: name for name, text in self._texts.items()}
        rows = self._model.sample(n).astype(float).rename(columns=names)
        return self._codec.decode(self._gaps.mask(rows, np.random.default_rng(seed)))


def _relabelled(make: Callable[..., Generator], labels: str) -> Callable[..., Relabelled]:
    """Return what makes such a generator with other labels; its options are as they were."""

    @wraps(make, updated=())
    def made(**options: Any) -> Relabelled:
        return Relabelled(make(**options), labels=labels)

    return made


_LABEL_OF_GRAPH = {"target_parents": "adjacent"}  # parents in every graph, as it can have none

GENERATORS: dict[str, Callable[..., Generator]] = {
    "causal": CausalGenerator,
    "causal_sampled": partial(CausalGenerator, noise_correlation=0.0),
    "causal_paper": partial(CausalGenerator, **PAPER_OPTIONS),
    "causal_label": partial(CausalGenerator, **_LABEL_OF_GRAPH),
    **{
        f"causal_{graph}{suffix}": partial(CausalGenerator, graph=graph, **options)
        for graph in GRAPHS
        if graph != "discovered"
        for suffix, options in (("", {}), ("_label", _LABEL_OF_GRAPH))
    },
    "causal_posterior": partial(CausalGenerator, **POSTERIOR_OPTIONS),
    "causal_tfm_label": partial(CausalGenerator, target_mechanism="tfm"),
    "causal_permuted": _relabelled(CausalGenerator, "permuted"),
    "causal_base_labels": _relabelled(CausalGenerator, "base"),
    "copula_base_labels": _relabelled(CopulaGenerator, "base"),
    "smote_nc": SMOTENCGenerator,
    "perturbation": PerturbationGenerator,
    "mixup": MixupGenerator,
    "copula": CopulaGenerator,
    "ctgan": CTGANGenerator,
    "tabebm": TabEBMGenerator,
    "tfm_conditional": TFMConditionalGenerator,
    **{
        f"tfm_conditional_{order}": partial(TFMConditionalGenerator, order=order)
        for order in ORDERS[1:]
    },
    "tfm_conditional_cpdag": TFMCPDAGGenerator,
    "tfm_conditional_drawn": TFMDrawnGenerator,
    "tfm_conditional_dag": partial(
        CausalGenerator, mechanism="tfm_bins", target_mechanism="tfm_bins", noise_correlation=0.0
    ),
}
"""Generators by name, without purification."""


def limit_time(generator: Generator, seconds: float) -> Generator:
    """Return a copy of a generator whose fit takes about this long at most, where it can do so.

    Parameters
    ----------
    generator : Generator
        Not fitted. One that has a `time_limit` already, or knows none, is returned as it is.
    seconds : float

    Returns
    -------
    Generator
    """
    if isinstance(generator, WrappingGenerator):
        return replace(generator, generator=limit_time(generator.generator, seconds))
    if getattr(generator, "time_limit", seconds) is not None:
        return generator
    limited = copy(generator)
    limited.time_limit = seconds
    return limited


def make_generator(name: str, /, *, purified: bool = False, **options: Any) -> Generator:
    """Return a new generator.

    Parameters
    ----------
    name : str
        A key of `GENERATORS`.
    purified : bool, default=False
        Whether implausible rows and near-copies are drawn anew, as
        `causalmix.generation.purification.Purified` does by default.
    **options
        Arguments of its constructor.

    Raises
    ------
    UnknownNameError
        If the name or an option is unknown.
    """
    made = GENERATORS[check_name(name, GENERATORS, "generator")](**options)
    return Purified(made) if purified else made
