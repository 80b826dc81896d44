"""Numpy's global generator, for libraries that draw from no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np


@contextmanager
def numpy_seed(seed: int | Sequence[int]) -> Iterator[None]:
    """Seed numpy's global generator, and restore it afterwards.

    Parameters
    ----------
    seed : int or sequence of int
        What is drawn within depends on nothing else.
    """
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
