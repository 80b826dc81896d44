"""Generators of synthetic rows: one protocol, fit on a table and sample rows like it."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE, SMOTEN, SMOTENC

from causalmix.codec import TableCodec
from causalmix.discovery import ALGORITHMS, MARK_WEIGHTS, TARGET_PARENTS, discover, sample_dags
from causalmix.errors import CausalMixError, DataError, check_name
from causalmix.mechanisms import MECHANISMS
from causalmix.scm import StructuralCausalModel


class Generator(Protocol):
    """What every generator of synthetic rows does.

    Samples have the dtypes, categories, column order and target name of the training table, an
    index 0..n−1, and only classes and values within the range that training has shown.
    """

    def fit(self, X: pd.DataFrame, y: pd.Series) -> Self:
        """Learn from features (n_rows, n_features) and the target (n_rows,); return itself."""
        ...

    def sample(self, n: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
        """Draw exactly `n` rows; equal seeds give equal rows."""
        ...


class _TableGenerator(ABC):
    """The common part: one table with the target as its last column, checked and decoded."""

    def fit(self, X: pd.DataFrame, y: pd.Series) -> Self:
        """Learn from a table.

        Parameters
        ----------
        X : pandas.DataFrame of shape (n_rows, n_features)
            Features; missing cells are allowed.
        y : pandas.Series of shape (n_rows,)
            Classes, none missing.

        Returns
        -------
        Generator
            Itself.

        Raises
        ------
        DataError
            If the table is empty, X and y differ in length, a class is missing, a column appears
            twice or contains an infinity.
        """
        _check(X, y)
        self._target_name, self._target_dtype = y.name, y.dtype
        self.target_ = _unused_name("target" if y.name is None else y.name, X.columns)
        table = X.assign(**{self.target_: y.astype("category")}).reset_index(drop=True)
        self._fit(table)
        return self

    def sample(self, n: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
        """Draw rows.

        Parameters
        ----------
        n : int
            Number of rows, at least 1.
        seed : int
            Equal seeds give equal rows.

        Returns
        -------
        X : pandas.DataFrame of shape (n, n_features)
        y : pandas.Series of shape (n,)

        Raises
        ------
        CausalMixError
            If `n` is below 1 or the generator is not fitted.
        """
        if not hasattr(self, "target_"):
            raise CausalMixError("The generator is not fitted; call fit(X, y) before sample.")
        if n < 1:
            raise CausalMixError(f"Cannot draw {n} rows; n must be at least 1.")
        rows = self._sample(n, seed)
        y = rows.pop(self.target_).astype(self._target_dtype).rename(self._target_name)
        return rows, y

    @abstractmethod
    def _fit(self, table: pd.DataFrame) -> None:
        """Learn from the table, target included."""

    @abstractmethod
    def _sample(self, n: int, seed: int) -> pd.DataFrame:
        """Draw `n` rows of the table, target included."""


class CausalGenerator(_TableGenerator):
    """Rows from structural causal models on DAGs that PC and FCI make probable.

    Discovers edge probabilities on features and target together, draws DAGs from them, fits a
    structural causal model to each and draws an equal number of rows from each. The target is a
    sink in every graph; its mechanism, not the search, decides by default which features matter.

    Parameters
    ----------
    n_dags : int, default=10
    target_parents : {"all", "adjacent"}, default="all"
        See `causalmix.discovery.sample_dags`. A search in few rows misses features that matter for
        the label, and what it misses is missing in every synthetic row.
    mechanism : {"linear", "boosting"}, default="linear"
        See `causalmix.scm.StructuralCausalModel`.
    n_bootstraps, algorithms, alpha, mark_weights, n_jobs, progress
        See `causalmix.discovery.discover`.
    seed : int, default=0
        Of the bootstraps and of the DAGs.

    Attributes
    ----------
    edges_ : EdgeProbabilities
    dags_ : list of networkx.DiGraph
    target_ : str
        The target's node in both.

    References
    ----------
    Bühler, Purucker, Hutter (2026), "Causal Data Augmentation for Robust Fine-Tuning of Tabular
    Foundation Models", arXiv 2601.04110.
    """

    def __init__(
        self,
        *,
        n_dags: int = 10,
        target_parents: str = "all",
        mechanism: str = "linear",
        n_bootstraps: int = 10,
        algorithms: Sequence[str] = ALGORITHMS,
        alpha: float = 0.05,
        mark_weights: Mapping[str, tuple[float, float]] = MARK_WEIGHTS,
        seed: int = 0,
        n_jobs: int = 1,
        progress: bool = False,
    ) -> None:
        self.n_dags = n_dags
        self.target_parents = check_name(target_parents, TARGET_PARENTS, "choice of target_parents")
        self.mechanism = check_name(mechanism, MECHANISMS, "mechanism")
        self.n_bootstraps = n_bootstraps
        self.algorithms = algorithms
        self.alpha = alpha
        self.mark_weights = mark_weights
        self.seed = seed
        self.n_jobs = n_jobs
        self.progress = progress

    def _fit(self, table: pd.DataFrame) -> None:
        self.edges_ = discover(
            table,
            algorithms=self.algorithms,
            n_bootstraps=self.n_bootstraps,
            alpha=self.alpha,
            target=self.target_,
            mark_weights=self.mark_weights,
            seed=self.seed,
            n_jobs=self.n_jobs,
            progress=self.progress,
        )
        self.dags_ = sample_dags(
            self.edges_,
            self.n_dags,
            self.seed,
            target=self.target_,
            target_parents=self.target_parents,
        )
        fitted: dict = {}
        self._models = [
            StructuralCausalModel(dag, mechanism=self.mechanism).fit(table, fitted=fitted)
            for dag in self.dags_
        ]

    def _sample(self, n: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        # Shuffled, so that the first rows of a sample come from all models.
        model_of_row = rng.permutation(np.arange(n) % len(self._models))
        parts = []
        for k, model in enumerate(self._models):
            rows = np.flatnonzero(model_of_row == k)
            if len(rows):
                part = model.sample(len(rows), int(rng.integers(2**31)))
                parts.append(part.set_index(rows))
        return pd.concat(parts).sort_index()


class SMOTENCGenerator(_TableGenerator):
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

    def __init__(self, *, k_neighbors: int = 5) -> None:
        if k_neighbors < 1:
            raise CausalMixError(f"k_neighbors is {k_neighbors}; at least 1 is needed.")
        self.k_neighbors = k_neighbors

    def _fit(self, table: pd.DataFrame) -> None:
        self._codec = TableCodec(table)
        coded = self._codec.encode(table)
        self._classes = coded.pop(self.target_).to_numpy(int)
        numeric = coded.drop(columns=[c for c in coded if c in self._codec.categorical])
        self._centre = numeric.median().fillna(0.0)
        self._scale = numeric.std().fillna(0.0).replace(0.0, 1.0)
        coded[numeric.columns] = (numeric.fillna(self._centre) - self._centre) / self._scale
        self._rows = coded

    def _sample(self, n: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        classes, counts = np.unique(self._classes, return_counts=True)
        wanted = _apportion(n, counts, rng)
        parts = [
            self._sample_class(c, int(m), int(rng.integers(2**31))).assign(**{self.target_: c})
            for c, m in zip(classes, wanted, strict=True)
            if m
        ]
        rows = pd.concat(parts, ignore_index=True).iloc[rng.permutation(n)].reset_index(drop=True)
        rows[self._centre.index] = rows[self._centre.index] * self._scale + self._centre
        return self._codec.decode(rows, rng)

    def _sample_class(self, c: int, m: int, seed: int) -> pd.DataFrame:
        own = self._classes == c
        if own.sum() == 1:
            return self._rows[own].iloc[np.zeros(m, dtype=int)]
        sampler = self._sampler(min(self.k_neighbors, own.sum() - 1), own.sum() + m, seed)
        rows, _ = sampler.fit_resample(self._rows, own)
        return rows.iloc[len(self._rows) :]  # the given rows come first

    def _sampler(self, k: int, n_class: int, seed: int) -> SMOTE | SMOTEN | SMOTENC:
        options = {
            "sampling_strategy": {True: n_class},
            "k_neighbors": k,
            "random_state": seed,
        }
        categorical = [j for j, c in enumerate(self._rows) if c in self._codec.categorical]
        if not categorical:
            return SMOTE(**options)
        if len(categorical) == self._rows.shape[1]:
            return SMOTEN(**options)
        return SMOTENC(categorical, **options)


class PerturbationGenerator(_TableGenerator):
    """Training rows drawn with replacement and slightly changed; classes stay.

    A number gets Gaussian noise with a share of its column's standard deviation; a category is
    replaced, with a small probability, by a draw from its column. Missing cells stay missing. This
    is this project's own definition of table augmentation, not that of another paper.

    Parameters
    ----------
    noise : float, default=0.1
        Standard deviation of the noise, in standard deviations of the column.
    swap : float, default=0.05
        Probability of redrawing a category.
    """

    def __init__(self, *, noise: float = 0.1, swap: float = 0.05) -> None:
        if noise < 0 or not 0 <= swap <= 1:
            raise CausalMixError(
                f"noise is {noise} and swap {swap}; noise must not be negative and swap lies "
                "between 0 and 1."
            )
        self.noise = noise
        self.swap = swap

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


GENERATORS: dict[str, type] = {
    "causal": CausalGenerator,
    "smote_nc": SMOTENCGenerator,
    "perturbation": PerturbationGenerator,
}


def make_generator(name: str, **options: Any) -> Generator:
    """Return a new generator.

    Parameters
    ----------
    name : str
        A key of `GENERATORS`.
    **options
        Arguments of its constructor.

    Raises
    ------
    UnknownNameError
        If the name or an option is unknown.
    """
    generator = GENERATORS[check_name(name, GENERATORS, "generator")]
    valid = inspect.signature(generator).parameters
    for option in options:
        check_name(option, valid, f"{name} generator option")
    return generator(**options)


def _check(X: pd.DataFrame, y: pd.Series) -> None:
    if len(X) != len(y):
        raise DataError(f"X has {len(X)} rows and y {len(y)}; they must have the same.")
    if X.empty:
        raise DataError(
            f"X has {X.shape[0]} rows and {X.shape[1]} columns; at least one of each is needed."
        )
    if y.isna().any():
        raise DataError(f"The target {y.name!r} is missing in {y.isna().sum()} rows; drop them.")


def _unused_name(name: str, taken: pd.Index) -> str:
    while name in taken:
        name = f"{name}_"
    return name


def _apportion(n: int, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return how many of `n` rows each class gets: its share, the remainder drawn at random."""
    exact = n * counts / counts.sum()
    wanted = np.floor(exact).astype(int)
    rest = n - wanted.sum()
    if rest:
        fraction = (exact - wanted) / (exact - wanted).sum()
        wanted[rng.choice(len(counts), rest, replace=False, p=fraction)] += 1
    return wanted
