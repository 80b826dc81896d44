"""An executed notebook as one page that needs no network and no scripts."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

from causalmix.atomic import replace_file

# Roles of Sphinx, which are text on a page by itself, and directives of sphinx-exercise.
_ROLES = ["cite", "doc", "numref", "ref", "term"]
_ROLES += [f"py:{kind}" for kind in ("attr", "class", "data", "func", "meth", "mod")]
_DIRECTIVES = ["exercise", "solution", "solution-start", "solution-end"]

_STYLE = """
:root { color-scheme: light dark; }
body { max-width: 52rem; margin: 0 auto; padding: 1rem; line-height: 1.5;
  font-family: system-ui, sans-serif; overflow-wrap: break-word; }
pre, .cell_output, .output { overflow-x: auto; }
pre.code { margin: 1rem 0; }
pre, .admonition { padding: .6rem .8rem; border-radius: .3rem; background: #8882; }
code, pre { font-size: .85rem; }
.admonition-title, summary { font-weight: 600; }
.admonition > p:first-child { margin-top: 0; }
.admonition { margin: 1rem 0; }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; background: #fff; }
figcaption { font-size: .9rem; }
table { border-collapse: collapse; width: max-content; max-width: 60rem; font-size: .85rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; border: 0; border-bottom: 1px solid #8886; }
.stderr { opacity: .7; }
details { margin: 1rem 0; }
@media print { details > * { display: block; } }
"""


def write_page(nb: nbformat.NotebookNode, path: Path) -> None:
    """Write an executed notebook as one HTML file with its figures within.

    Parameters
    ----------
    nb : nbformat.NotebookNode
        With outputs. Its text may have MyST's and Sphinx's markup; references to other pages are
        shown as text.
    path : pathlib.Path
        File to write or replace.

    Raises
    ------
    CausalMixError
        If it cannot be written.
    """
    html = page_of(nb)
    replace_file(path, lambda file: file.write_text(html, encoding="utf-8"))


def page_of(nb: nbformat.NotebookNode) -> str:
    """Return an executed notebook as the text of one HTML file; see `write_page`."""
    from docutils.core import publish_string
    from myst_nb.docutils_ import Parser

    with tempfile.TemporaryDirectory(prefix="causalmix-") as folder, _sphinx_markup():
        settings = {
            "doctitle_xform": True,
            "embed_stylesheet": True,
            "image_loading": "embed",
            "math_output": "MathML",
            "myst_enable_extensions": ["amsmath", "colon_fence", "deflist", "dollarmath"],
            "nb_append_css": False,
            "nb_execution_mode": "off",
            "nb_output_folder": folder,
            "output_encoding": "unicode",
            "report_level": 4,  # what is left is text that is shown as it stands
            "stylesheet_path": "minimal.css",
            "syntax_highlight": "short",
            "title": _title(nb),
        }
        html = publish_string(
            nbformat.writes(nb), parser=Parser(), writer_name="html5", settings_overrides=settings
        )
    return html.replace("</head>", f"<style>{_STYLE}{_colours()}</style>\n</head>", 1)


def _title(nb: nbformat.NotebookNode) -> str:
    texts = [cell.source for cell in nb.cells if cell.cell_type == "markdown"]
    found = re.search(r"^# +(.+)$", "\n".join(texts), re.MULTILINE)
    return found[1].strip() if found else "Notebook"


def _colours() -> str:
    from pygments.formatters import HtmlFormatter

    light, dark = (
        HtmlFormatter(style=style).get_style_defs("pre.code")
        for style in ("default", "github-dark")
    )
    plain = "pre.code { background: #8882; color: inherit; }"
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n{plain}"


@contextmanager
def _sphinx_markup() -> Iterator[None]:
    """Let docutils read the roles and directives of the chapters that are Sphinx's."""
    from docutils import nodes
    from docutils.parsers.rst import Directive, directives, roles

    def role(name: str, rawtext: str, text: str, *_: Any) -> tuple[list, list]:
        title = re.fullmatch(r"(.+?)\s*<.+>", text, re.DOTALL)
        shown = title[1] if title else text.lstrip("~!").rpartition("/")[2]
        if name == "cite":
            return [nodes.inline(rawtext, f"[{shown}]")], []
        if name.startswith("py:"):
            return [nodes.literal(rawtext, shown if title else shown.rpartition(".")[2])], []
        return [nodes.emphasis(rawtext, shown)], []

    class Exercise(Directive):
        has_content, optional_arguments, final_argument_whitespace = True, 1, True
        option_spec = dict.fromkeys(("label", "class", "nonumber"), directives.unchanged)

        def run(self) -> list[nodes.Node]:
            body = nodes.container()
            self.state.nested_parse(self.content, self.content_offset, body)
            if self.name == "exercise":
                title = nodes.paragraph("", "", nodes.strong(text="Exercise"))
                return [nodes.container("", title, *body.children, classes=["admonition"])]
            opening = nodes.raw("", "<details><summary>Solution</summary>", format="html")
            closing = nodes.raw("", "</details>", format="html")
            parts = {"solution-start": [opening], "solution-end": [closing]}
            return parts.get(self.name, [opening, *body.children, closing])

    registered = (roles._roles, dict.fromkeys(_ROLES, role))
    directive = (directives._directives, dict.fromkeys(_DIRECTIVES, Exercise))
    before = [(registry, dict(registry)) for registry, _ in (registered, directive)]
    for registry, ours in (registered, directive):
        registry.update(ours)
    try:
        yield
    finally:
        for registry, old in before:
            registry.clear()
            registry.update(old)
