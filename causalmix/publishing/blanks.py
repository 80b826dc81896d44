"""Pages whose text is written and whose numbers and figures are computed when the book is built."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from causalmix.benchmarks.store import Store
from causalmix.errors import CausalMixError
from causalmix.plots.style import use_book_style

_BLANK = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def fill_blanks(
    page: Path, texts: Mapping[str, Callable[[], str]], figures: Mapping[str, Callable[[], Figure]]
) -> None:
    """Fill the blanks of a page, such as ``{{ limits }}``, and draw the figures that it shows.

    Parameters
    ----------
    page : pathlib.Path
        The page, changed in place.
    texts : mapping of str to callable
        What makes the text of each blank.
    figures : mapping of str to callable
        What draws a figure, by the name of its file, which lies beside the page.

    Raises
    ------
    CausalMixError
        If the page has a blank that is not among `texts`.
    """
    text = page.read_text(encoding="utf-8")
    unknown = sorted(set(_BLANK.findall(text)) - set(texts))
    if unknown:
        raise CausalMixError(
            f"{page.name} has unknown blanks: {', '.join(unknown)}. Known: {', '.join(texts)}."
        )
    page.write_text(_BLANK.sub(lambda blank: texts[blank.group(1)](), text), encoding="utf-8")
    use_book_style()
    # The same input gives the same file, so that an unchanged book is not rendered again.
    with mpl.rc_context({"svg.hashsalt": "causalmix", "svg.fonttype": "path"}):
        for name in sorted(name for name in figures if name in text):
            figure = figures[name]()
            figure.savefig(page.with_name(name), metadata={"Date": None})
            plt.close(figure)


def stored_runs(results: Path, name: str, page: Path) -> Store:
    """Return the committed runs that a page is filled from.

    Parameters
    ----------
    results : pathlib.Path
        The project's folder of results.
    name : str
        Of the runs' folder in it.
    page : pathlib.Path
        Named where they are missing.

    Returns
    -------
    Store

    Raises
    ------
    CausalMixError
        If there are none.
    """
    store = Store(results / name)
    if not len(store):
        raise CausalMixError(
            f"{page.name} needs the runs of results/{name}: restore them from the repository "
            "(git checkout)."
        )
    return store
