"""A Sphinx extension that leaves out the scripts of sphinx-thebe.

Jupyter Book loads it whether a book uses it or not. It declares a constant twice on every page, of
which browsers complain, and names an address that pages read offline cannot reach.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def _drop_thebe(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    context["script_files"] = [
        each
        for each in context["script_files"]
        if "thebe" not in f"{each} {getattr(each, 'attributes', {})}".lower()
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect it, after all others."""
    app.connect("html-page-context", _drop_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
