"""Words in figures can be read, on white and in the book's dark mode (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from causalmix.benchmarks.labels import ARM_LABELS
from causalmix.plots.analysis import plot_critical_differences
from causalmix.plots.results import ARM_COLOURS

mpl.use("Agg")


def luminance(colour: np.ndarray) -> float:
    """Relative luminance of an sRGB colour, as WCAG defines it."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(colour: object, *, dark: bool) -> float:
    """Contrast of a colour to the white of a figure.

    In dark mode the theme shows figures through ``brightness(0.8) contrast(1.2)``.
    """
    shown = np.array([mpl.colors.to_rgb(colour), (1, 1, 1)])
    if dark:
        shown = ((0.8 * shown - 0.5) * 1.2 + 0.5).clip(0, 1)
    low, high = sorted(map(luminance, shown))
    return (high + 0.05) / (low + 0.05)


def test_black_and_grey_have_the_published_contrast():
    assert contrast("black", dark=False) == pytest.approx(21)
    assert contrast("#767676", dark=False) == pytest.approx(4.54, abs=0.01)  # WCAG's own example


@pytest.mark.parametrize("dark", [False, True])
def test_every_arm_is_named_in_a_colour_that_can_be_read(dark):
    arms = [*ARM_LABELS, "an arm of a plan"]
    means = pd.DataFrame(np.random.default_rng(0).random((30, len(arms))), columns=arms)
    ax = plot_critical_differences(means)
    named = [text for text in ax.texts if text.get_text()]
    assert len(named) == len(arms)
    assert min(contrast(text.get_color(), dark=dark) for text in named) >= 4.5
    # The dots keep the arms' colours; a palette is of no use if they cannot be seen at all.
    assert min(contrast(ARM_COLOURS[arm], dark=False) for arm in ("default", "rehearsal")) > 2
    mpl.pyplot.close("all")
