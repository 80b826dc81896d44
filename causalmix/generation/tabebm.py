"""Rows from class-specific energies that the foundation model gives, by Langevin dynamics.

Shapes: R rows, C coordinates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm import tqdm

from causalmix.errors import check_range, check_seed, check_whole, checked_options
from causalmix.generation.base import ByClassGenerator
from causalmix.scm.missingness import MissingnessModel

if TYPE_CHECKING:  # torch is imported only where it is needed
    import torch

    from causalmix.tfm.model import FoundationModel

_CHUNK = 1000  # rows that move at a time, for memory


@checked_options
class TabEBMGenerator(ByClassGenerator):
    """TabEBM: rows of each class where the foundation model tells them from surrogate negatives.

    For each class the model is given the class's rows as one class and four corners of a
    hypercube, far from all rows, as the other. The energy of a point is minus the log-odds of the
    first class. Chains start at training rows with a little noise and move by stochastic gradient
    Langevin dynamics: a step down the gradient of the energy, plus noise.

    Two things differ from the paper. Its energy is minus the log-sum-exp of the two logits, but
    networks of the TabPFN v3 architecture give log-probabilities, whose log-sum-exp is 0
    everywhere. The log-odds are what logits say beyond their free constant. And its 200 steps with
    noise of 0.01 take the chains down to the densest point of the class, where all rows are alike;
    fewer steps with more noise keep the spread of the class.

    Coordinates are standardised numbers, missing ones at the median, and one-hot levels of
    categories ("missing" is one), which move freely and end at the largest. A `DataError` says
    where these are more than the model takes features. Numbers lose cells again as
    `causalmix.scm.missingness.MissingnessModel` has learned it.

    Parameters
    ----------
    n_steps : int, default=20
    step_size : float, default=0.1
    noise : float, default=0.1
        Standard deviation of the noise of a step, as the next two in units of the coordinates.
    start_noise : float, default=0.01
        Standard deviation of the noise at the start.
    distance : float, default=5.0
        Of the surrogate negatives from the mean, in every coordinate.
    tfm : str, default="embedded"
        As `causalmix.tfm.model.load_tfm` takes it. Rows of a class beyond its limit are left out of
        its context at random.
    seed : int, default=0
        Of the surrogate negatives.
    progress : bool, default=False
        Whether to show a progress bar for each class on standard error.

    References
    ----------
    Margeloiu, Jiang, Simidjievski, Jamnik (2024), "TabEBM: A tabular data augmentation method with
    distinct class-specific energy-based models", NeurIPS 37, arXiv 2409.16118.
    """

    n_steps: int = 20
    step_size: float = 0.1
    noise: float = 0.1
    start_noise: float = 0.01
    distance: float = 5.0
    tfm: str = "embedded"
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        check_whole(self.n_steps, 1, "n_steps")
        check_seed(self.seed)
        check_range(self.step_size, "(0, inf)", "step_size")
        check_range(self.distance, "(0, inf)", "distance")
        check_range(self.noise, "[0, inf)", "noise")
        check_range(self.start_noise, "[0, inf)", "start_noise")

    def _learn(self, coded: pd.DataFrame) -> None:
        from causalmix.tfm.model import load_tfm

        self._gaps = MissingnessModel().fit(coded, self._codec.categorical)
        features = coded.drop(columns=self.target_)
        self._space = CoordinateSpace(features, self._codec.categorical)
        points, rng = self._space.enter(features), np.random.default_rng(self.seed)
        model = load_tfm(self.tfm)
        model.check(1, points.shape[1], 2)  # two classes; rows beyond the limit are left out
        self._energies = {
            c: ClassEnergy(model, points[self._classes == c], distance=self.distance, rng=rng)
            for c in np.unique(self._classes)
        }

    def _sample_class(self, c: int, m: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        energy = self._energies[c]
        points = energy.points[rng.integers(len(energy.points), size=m)]
        points = points + self.start_noise * rng.standard_normal(points.shape)
        steps = tqdm(range(self.n_steps), desc=f"TabEBM, class {c}", disable=not self.progress)
        for _ in steps:
            points = points - self.step_size * energy.gradient(points)
            points += self.noise * rng.standard_normal(points.shape)
        return self._space.leave(points)


class ClassEnergy:
    """Energy of points for one class: minus the log-odds of its rows against surrogate negatives.

    Parameters
    ----------
    model : FoundationModel
        With weights of its own: their gradients are switched off.
    points : numpy.ndarray of shape (R, C)
        Rows of the class.
    distance : float, default=5.0
        Of the negatives from 0, in every coordinate.
    rng : numpy.random.Generator
        Draws two corners; the opposite ones are negatives too.
    """

    def __init__(
        self,
        model: FoundationModel,
        points: np.ndarray,
        *,
        distance: float = 5.0,
        rng: np.random.Generator,
    ) -> None:
        self.points = points
        self._network = model.network.requires_grad_(False)
        corners = distance * rng.choice([-1.0, 1.0], (2, points.shape[1]))
        limit = model.limits.max_rows - 2 * len(corners)
        kept = points if len(points) <= limit else rng.choice(points, limit, replace=False)
        self._context = np.concatenate([kept, corners, -corners])
        self._labels = np.repeat([0.0, 1.0], [len(kept), 2 * len(corners)])

    def gradient(self, points: np.ndarray) -> np.ndarray:
        """Gradients (R, C) of the energies of points (R, C)."""
        import torch

        gradients = []
        for start in range(0, len(points), _CHUNK):
            inputs, energies = self.energies(points[start : start + _CHUNK])
            # Points do not see each other: the gradient of the sum is that of each energy.
            gradients.append(torch.autograd.grad(energies.sum(), inputs)[0].numpy())
        return np.concatenate(gradients).astype(float)

    def energies(self, points: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return points (R, C) as a tensor, and their energies (R,) to be derived by it."""
        import torch

        context, inputs, labels = (
            torch.as_tensor(each, dtype=torch.float32)
            for each in (self._context, points, self._labels)
        )
        inputs.requires_grad_()
        logits = self._network(
            torch.cat([context, inputs])[:, None],  # (R, 1, C)
            labels[:, None],
            task_type="multiclass",
            categorical_inds=[[]],
        )[:, 0]
        return inputs, logits[:, 1] - logits[:, 0]


class CoordinateSpace:
    """Rows as points of unit scale: standardised numbers and one-hot levels, centred.

    Parameters
    ----------
    coded : pandas.DataFrame
        As `TableCodec.encode` gives it, without the target.
    categorical : tuple of str
        Columns of codes.
    """

    def __init__(self, coded: pd.DataFrame, categorical: tuple[str, ...]) -> None:
        numeric = coded.drop(columns=[name for name in coded if name in categorical])
        self._columns = coded.columns
        self._median = numeric.median().fillna(0.0)
        filled = numeric.fillna(self._median)
        self._mean, self._scale = filled.mean(), filled.std(ddof=0).replace(0.0, 1.0)
        self._levels = {name: np.unique(coded[name]) for name in coded if name in categorical}
        self._shares = {
            name: (coded[[name]].to_numpy() == levels).mean(axis=0)
            for name, levels in self._levels.items()
        }

    def enter(self, coded: pd.DataFrame) -> np.ndarray:
        """Return coded rows as points (R, C): the numbers first."""
        numbers = (coded[self._mean.index].fillna(self._median) - self._mean) / self._scale
        levels = [
            (coded[[name]].to_numpy() == levels) - self._shares[name]
            for name, levels in self._levels.items()
        ]
        return np.hstack([numbers.to_numpy(float), *levels])

    def leave(self, points: np.ndarray) -> pd.DataFrame:
        """Return points (R, C) as coded rows; of the levels of a category the largest one."""
        n_numbers = len(self._mean)
        numbers = points[:, :n_numbers] * self._scale.to_numpy() + self._mean.to_numpy()
        columns = dict(zip(self._mean.index, numbers.T, strict=True))
        start = n_numbers
        for name, levels in self._levels.items():
            own = points[:, start : start + len(levels)] + self._shares[name]
            columns[name] = levels[own.argmax(axis=1)]
            start += len(levels)
        return pd.DataFrame(columns, columns=self._columns)
