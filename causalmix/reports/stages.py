"""What a fit is at, for whoever watches it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def heard(report: Callable[[str], object]) -> Iterator[None]:
    """Report what the package logs meanwhile: the stages of a fit, and its validations.

    Parameters
    ----------
    report : callable
        Takes a line.
    """
    handler, logger = logging.Handler(), logging.getLogger("causalmix")
    handler.emit = lambda record: report(record.getMessage())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
