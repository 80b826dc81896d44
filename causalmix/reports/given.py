"""What a user knows of a table's graph, read and held against the table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from causalmix.data.columns import listed
from causalmix.discovery.knowledge import BackgroundKnowledge, load_graph, read_graph
from causalmix.errors import CausalMixError, DataError, check_name, quoted
from causalmix.finetuning.fit_input import takes
from causalmix.reports.inspection import Inspection

Graph = str | Path | nx.DiGraph | Iterable[tuple[str, str]]
Knowledge = str | Path | BackgroundKnowledge | Mapping[str, Any]


def read_structure(
    inspection: Inspection, graph: Graph | None = None, knowledge: Knowledge | None = None
) -> dict[str, Any]:
    """Read a known graph, or knowledge of one, for a causal generator.

    Parameters
    ----------
    inspection : Inspection
        Of the table.
    graph : str, Path, networkx.DiGraph or pairs of str, optional
        As :func:`causalmix.discovery.knowledge.load_graph` and `read_graph` take it.
    knowledge : str, Path, BackgroundKnowledge or mapping, optional
        As `BackgroundKnowledge.load` and `BackgroundKnowledge.read` take it. What it says of
        columns that are not used is left out, but for required edges.

    Returns
    -------
    dict
        ``graph``, the edges, or ``knowledge``; nothing that is not given.

    Raises
    ------
    CausalMixError
        If both are given, one cannot be read, or names a column that there is not or that is not
        used.
    """
    if graph is not None and knowledge is not None:
        raise CausalMixError("A graph and knowledge of one are given; leave one of the two out.")
    if graph is not None:
        dag = load_graph(graph) if isinstance(graph, str | Path) else read_graph(graph)
        _check_used(inspection, list(dag), "The graph")
        return {"graph": list(dag.edges)}
    if knowledge is None:
        return {}
    is_file = isinstance(knowledge, str | Path)
    known = (BackgroundKnowledge.load if is_file else BackgroundKnowledge.read)(knowledge)
    for name in known.named:
        check_name(name, list(inspection.columns["column"]), "column in the background knowledge:")
    _check_used(inspection, [name for edge in known.required for name in edge], "A required edge")
    columns = inspection.columns
    return {"knowledge": known.about(list(columns.loc[columns["use"] != "left out", "column"]))}


def freeing_target(
    inspection: Inspection,
    structure: Mapping[str, Any],
    generator: str | None,
    report: Callable[[str], object],
) -> dict[str, str]:
    """Make the target a node like the others where knowledge has effects of it, or no cause.

    Parameters
    ----------
    inspection : Inspection
        Of the table.
    structure : mapping
        As `read_structure` gives it.
    generator : str or None
        Key of `causalmix.generation.registry.GENERATORS`.
    report : callable
        Takes a line where it is made so.

    Returns
    -------
    dict
        ``target_parents`` of the generator, or nothing: a target is a sink by default.
    """
    if "knowledge" not in structure or not takes(generator, "target_parents"):
        return {}
    use = inspection.columns.set_index("column")["use"]
    names = list(use.index[use != "left out"])
    if not (use == "target").any():
        return {}
    t = names.index(use.index[use == "target"].item())
    known = structure["knowledge"].constraints(names)
    others = np.arange(len(names)) != t
    if not known.required[t].any() and not known.forbidden[others, t].all():
        return {}
    report(f"the knowledge gives {quoted(names[t])} effects, or no cause: it may have effects")
    return {"target_parents": "free"}


def _check_used(inspection: Inspection, names: list[str], what: str) -> None:
    columns = inspection.columns.set_index("column")
    for name in names:
        check_name(name, list(columns.index), "column in the graph:")
    if unused := [name for name in names if columns.loc[name, "use"] == "left out"]:
        raise DataError(
            f"{what} names {listed(unused)}, but {quoted(unused[0])} is left out of the table "
            f"({columns.loc[unused[0], 'reason']}). Take it out there, or keep it in the table by "
            "--categorical, --numeric or --date."
        )
