"""Synthetic rows of a table in a file, written as the table is written."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from causalmix.atomic import check_writable, make_folder, replace_file
from causalmix.data.cells import moments_of
from causalmix.data.columns import identifiers, listed
from causalmix.data.dataset import TabularDataset, read_classes
from causalmix.data.diagnosis import Diagnosis, read
from causalmix.data.schema import TableSchema
from causalmix.data.splitting import holdout_split
from causalmix.errors import (
    CausalMixError,
    CheckpointError,
    DataError,
    check_name,
    check_range,
    check_whole,
    naming,
    quoted,
)
from causalmix.finetuning.fit_input import seeded_generator, takes
from causalmix.finetuning.persistence import GENERATOR, json_value
from causalmix.generation.base import Generator
from causalmix.plots.style import plot_graph
from causalmix.quality.privacy import MembershipAttack, membership_attack
from causalmix.quality.report import quality_report
from causalmix.reports.bounds import cut_off, with_bounds
from causalmix.reports.formats import (
    check_place_of_rows,
    is_text,
    levels_like,
    typed,
    write_rows,
    written_as_asked,
    written_like,
)
from causalmix.reports.given import Graph, Knowledge, freeing_target, read_structure
from causalmix.reports.inspection import REASONS, Inspection, inspect_table, source_rows
from causalmix.reports.order import check_dates, date_order, sample_in_order
from causalmix.reports.stages import heard

_FIGURES = (".png", ".svg", ".pdf")
_WITH_ZONE = re.compile(r"\d:\d\d(:\d\d(\.\d+)?)?\s*(Z|[+-]\d\d(:?\d\d)?)$")  # of a time
_KEY = b"causalmix"  # of the settings among a Parquet file's metadata


@dataclass(frozen=True, eq=False)
class RowSource:
    """A table that rows are drawn like, and the generator that draws them.

    Attributes
    ----------
    rows : DataFrame
        Its used columns, those of one value and the target, as their source has them, of the rows
        with a class.
    columns : list of str
        All columns of the source, in its order.
    numbered : list of str
        Those of the others that identify rows.
    target : str
    roles : dict of str to str
        What the used columns are, as `causalmix.data.schema.ROLES` has it.
    declared : bool
        Whether the target is a category by request.
    decimal_comma : bool
    generator : str or None
        Key of ``causalmix.generation.registry.GENERATORS``.
    options : dict
        Arguments of its constructor.
    seed : int
        Its seed, where it has one.
    separator : str
        Between cells of a CSV file.
    known : dict of str to dict
        What the used columns mean, by all rows of the source: each as
        `causalmix.data.diagnosis.Diagnosis.as_json` has it.
    """

    rows: pd.DataFrame
    columns: list[str]
    numbered: list[str]
    target: str
    roles: dict[str, str]
    declared: bool
    decimal_comma: bool
    generator: str | None
    options: dict[str, Any]
    seed: int
    separator: str = ","
    known: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        table: str | Path | pd.DataFrame,
        inspection: Inspection,
        *,
        categorical: Sequence[str] = (),
        generator: str | None = "causal",
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> Self:
        """Take a table as its inspection has read it; the parameters are the attributes."""
        raw, X, y, roles = source_rows(table, inspection, categorical)
        unused = [name for name in raw if name not in X and name != y.name]
        reasons = inspection.columns.set_index("column")["reason"]
        same = [
            name
            for name in unused
            if reasons[name] == REASONS["constant"] and _has_one_value(raw[name])
        ]
        return cls(
            raw[[*X, *same, y.name]],
            list(raw),
            [name for name in identifiers(raw[unused]) if name in unused],
            y.name,
            roles,
            y.name in categorical,
            bool(X.attrs.get("decimal_comma")),
            generator,
            dict(options or {}),
            seed,
            X.attrs["separator"],
            {name: each.as_json() for name, each in X.attrs["diagnoses"].items()},
        )

    @cached_property
    def read(self) -> tuple[TableSchema, TabularDataset]:
        """How the columns are read, and the rows as read."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the inspection has said it
            schema, X, _ = TableSchema.learn(
                self.rows.drop(columns=self.target),
                self.roles,
                decimal_comma=self.decimal_comma,
                known={name: Diagnosis.from_json(each) for name, each in self.known.items()},
            )
        y = read_classes(self.rows[self.target], self.declared, self.decimal_comma)
        return schema, TabularDataset("table", X, y, "given")

    def make(self, **options: Any) -> Generator:
        """Return the generator, not fitted; options replace those that it has."""
        return seeded_generator(self.generator, self.options | options, self.seed)

    def written(
        self, X: pd.DataFrame, y: pd.Series, seed: int = 0, do: Mapping[str, str] | None = None
    ) -> pd.DataFrame:
        """Write rows as the source is written, with all its columns.

        Parameters
        ----------
        X : DataFrame, shape (n, n_features)
        y : Series, shape (n,)
            As the generator draws them.
        seed : int, default=0
            Of the choice which values at a bound are written as one.
        do : mapping of str to str, optional
            Columns that were set, and to what: with all digits, and a bound only where it was asked
            for.

        Returns
        -------
        DataFrame
            Numbered where a column identifies rows, its one value where it has no other, empty
            where it was not learned from for another reason.
        """
        schema, _ = self.read
        columns = {name: pd.Series([None] * len(y), dtype=object) for name in self.columns}
        first = self.rows.iloc[np.zeros(len(y), dtype=int)].reset_index(drop=True)
        columns |= {name: first[name] for name in self.rows if _has_one_value(self.rows[name])}
        asked = do or {}
        for k, (name, column) in enumerate(X.items()):
            how = self.rows[name], schema.columns[name]
            if name in asked:
                columns[name] = written_as_asked(column, asked[name], *how)
            else:
                columns[name] = written_like(column, *how, seed=[seed, k])
        columns[self.target] = levels_like(y, self.rows[self.target])
        columns |= {name: np.arange(1, len(y) + 1) for name in self.numbered}
        return pd.DataFrame(columns)

    def save(self, path: Path) -> None:
        """Write it to a Parquet file, the settings as JSON in its metadata.

        Parameters
        ----------
        path : Path

        Raises
        ------
        CausalMixError
            If an option cannot be written as JSON, or the file not be written.
        """
        kept = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "rows"}
        settings = json.dumps(json_value("the generator's options", kept)).encode()
        table = pa.Table.from_pandas(self.rows, preserve_index=False)
        table = table.replace_schema_metadata({**table.schema.metadata, _KEY: settings})
        replace_file(path, lambda file: pq.write_table(table, file))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote into a model folder.

        Parameters
        ----------
        folder : Path

        Returns
        -------
        RowSource

        Raises
        ------
        CheckpointError
            If there is none, or it is damaged.
        """
        path = folder / GENERATOR
        if not path.is_file():
            raise CheckpointError(
                f"{folder} has no generator: fit again with --keep-generator, or give the table "
                "itself."
            )
        with naming(path, "a kept generator", "Fit again.", CheckpointError):
            table = pq.read_table(path)
            settings = json.loads(table.schema.metadata[_KEY])
            return cls(table.to_pandas(), **settings)


@dataclass(frozen=True, eq=False)
class Drawn:
    """What is known of rows that were written.

    Attributes
    ----------
    attack : MembershipAttack or None
        With kept noise, how well the rows tell who was in the table.
    quality : DataFrame or None
        If it was asked for, as :func:`causalmix.quality.report.quality_report` gives it.
    """

    attack: MembershipAttack | None
    quality: pd.DataFrame | None


def generate_table(
    table: str | Path,
    target: str | None,
    out: str | Path,
    n: int,
    *,
    generator: str | None = None,
    keep_noise: float = 0.0,
    class_shares: Mapping[str, float] | None = None,
    do: Mapping[str, str] | None = None,
    graph: Graph | None = None,
    knowledge: Knowledge | None = None,
    options: Mapping[str, Any] | None = None,
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    date: Sequence[str] = (),
    drop: Sequence[str] = (),
    seed: int = 0,
    quality: bool = False,
    graph_out: str | Path | None = None,
    report: Callable[[str], object] = lambda line: None,
) -> Drawn:
    """Fit a generator on a table and write rows of it to a file.

    Parameters
    ----------
    table : str or Path
        As :func:`causalmix.reports.inspection.inspect_table` takes it; or a model folder with a
        generator (``causalmix fit --keep-generator``), which has its table, target and generator.
        The generator is fitted again on the rows that were kept, as it was.
    target, categorical, numeric, date, drop
        As `inspect_table` takes them; a target there must be.
    out : str or Path
        CSV or Parquet file. It has the table's columns, written as there: dates in their format,
        numbers with their decimals and units, and those at a bound as it is written (``<5``), in
        the share of the table's cells at that value; its separator between cells. Without `do` as
        large a share of the rows is at the least or greatest number of a column, where that is 5 %
        of the cells or more (`causalmix.reports.bounds.with_bounds`).
        A date that is never after another one in the table is not in any row. Columns that identify
        rows get new numbers, those of one value have it, others that are not used stay empty.
    n : int
        Rows.
    generator : str, optional
        Key of `causalmix.generation.registry.GENERATORS`; ``"causal"`` by default.
    keep_noise : float, default=0.0
        ``noise_correlation`` of the causal generator: how near a row stays to the one that it
        starts from. Rows that leave the house should not start from single people's.
    class_shares : mapping of str to float, optional
        Shares of the classes, which sum to 1; by default as in the table.
    do : mapping of str to str, optional
        Columns that are set to a value, as the table writes it, with the effects that follow in the
        causal generator's graphs. Of ``{"a": "b=c"}``, where there is no column ``a``, it may be
        ``a=b`` that is set. Dates that are not set stay in their order with one that is.
    graph, knowledge
        As :func:`causalmix.reports.given.read_structure` takes them. Knowledge of effects of the
        target makes it a node like the others (`causalmix.reports.given.freeing_target`).
    options : mapping, optional
        Further arguments of the generator.
    seed : int, default=0
    quality : bool, default=False
        Whether to judge the generator: fitted on one half of the table, against the other.
    graph_out : str or Path, optional
        Where to write the edges: a figure (.png, .svg, .pdf) or a table of them (.csv, .parquet),
        with their probability and the share of the models that have them.
    report : callable, optional
        Takes a line on each stage.

    Returns
    -------
    Drawn

    Raises
    ------
    CausalMixError
        If the table cannot be used, or a parameter makes no sense.
    """
    out = check_place_of_rows(out, table, graph, knowledge)
    if graph_out is not None:
        graph_out = _check_place_of_graph(graph_out, table, graph, knowledge, out)
    check_whole(n, 2 if quality else 1, "n (with quality)" if quality else "n")
    check_range(keep_noise, "[0, 1]", "keep_noise")
    roles = {"categorical": categorical, "numeric": numeric, "date": date, "drop": drop}
    given = {"target": target, "generator": generator, "graph": graph, "knowledge": knowledge}
    if Path(table).is_dir():
        report("reading the kept table")
        source = _kept_source(Path(table), given | roles | {"options": options})
    else:
        report("reading the table")
        inspection = inspect_table(table, target, **roles)
        structure = read_structure(inspection, graph, knowledge)
        generator = generator or "causal"
        freed = freeing_target(inspection, structure, generator, report)
        source = RowSource.of(
            table,
            inspection,
            categorical=categorical,
            generator=generator,
            options=freed | dict(options or {}) | structure,
            seed=seed,
        )
    do = _named(do or {}, source.columns)
    own = {"keep_noise": keep_noise, "class_shares": class_shares, "do": do, "graph_out": graph_out}
    own |= {"graph": graph, "knowledge": knowledge}
    _check_taken(source.generator, [name for name, value in own.items() if value])
    with_noise = takes(source.generator, "noise_correlation")
    noise = {"noise_correlation": keep_noise} if with_noise else {}
    asked = {"class_shares": class_shares, "do": _read_do(source, do or {}, report)}
    asked = {name: value for name, value in asked.items() if value}
    schema, whole = source.read
    order = [pair for pair in date_order(whole.X, schema) if not set(pair) <= set(do or {})]
    dates = {"like": source.rows, "schema": schema, "order": order}
    check_dates(asked.get("do", {}), whole.X, **dates)
    report(f"fitting {source.generator} on {whole.n_rows} rows")
    with heard(report):
        fitted = source.make(**noise, **asked).fit(whole.X, whole.y)
    report(f"writing {n} rows")
    X, y, said = sample_in_order(fitted, n, seed, do=do or (), **dates)
    for line in said:
        report(line)
    if do:
        for line in cut_off(X, whole.X, besides=do):
            report(line)
    else:
        X = with_bounds(X, y, whole, like=source.rows, schema=schema, seed=seed)
    rows = source.written(X, y, seed, do)
    if out.suffix.lower() not in (".csv", ".tsv") and _all_text(source.rows):
        rows = typed(rows)
    write_rows(rows, out, sep=source.separator)
    if unused := [name for name in source.columns if name not in source.rows]:
        report(
            f"Columns that were not learned from: {listed(unused)}; those that identify rows are "
            "numbered, the others empty."
        )
    if graph_out is not None:
        _write_graph(fitted, graph_out)
    if not keep_noise and not quality:
        return Drawn(None, None)
    report("judging the generator: fitted on half of the table, against the other")
    half, other = holdout_split(whole, whole.n_rows // 2, whole.n_rows - whole.n_rows // 2, seed)
    X, y = source.make(**noise).fit(half.X, half.y).sample(n, seed)
    attack = membership_attack(half.frame(), other.frame(), X.join(y)) if keep_noise else None
    judged = quality_report(half, other, {source.generator: (X, y)}) if quality else None
    return Drawn(attack, judged)


def _kept_source(folder: Path, given: Mapping[str, object]) -> RowSource:
    """Read the table and generator of a model folder; nothing else may be given."""
    if wrong := [name for name, value in given.items() if value]:
        raise CausalMixError(
            f"{folder} is a model folder, which has its own table and generator: leave out "
            f"{listed(wrong)}."
        )
    return RowSource.load(folder)


def _check_taken(generator: str, given: Sequence[str]) -> None:
    """Refuse what is given and no option of the generator."""
    called = {"keep_noise": "noise_correlation", "graph_out": "edges"}  # others by the same name
    for name in given:
        if not takes(generator, called.get(name, name)):
            raise CausalMixError(
                f"{name} is an option of the causal generators, not of {generator!r}."
            )


def _has_one_value(column: pd.Series) -> bool:
    return column.nunique(dropna=False) == 1


def _all_text(rows: pd.DataFrame) -> bool:
    return all(is_text(rows[name]) for name in rows)


def _named(do: Mapping[str, str], columns: Sequence[str]) -> dict[str, str]:
    """Find columns whose names have an equals sign, where the text was split at the first one."""
    found = {}
    for given, value in do.items():
        name, text = given, value
        while name not in columns and "=" in text:
            more, _, text = text.partition("=")
            name = f"{name}={more}"
        found |= {name: text} if name in columns else {given: value}
    return found


def _read_do(
    source: RowSource, do: Mapping[str, str], report: Callable[[str], object]
) -> dict[str, Any]:
    """Read the values that columns are set to as the table's own cells are read."""
    schema, table = source.read
    found = {}
    for name, text in do.items():
        if name == source.target:
            raise DataError(
                f"do sets the target {quoted(name)}, which causes nothing: no other column would "
                "change. Ask for rows of a class by --class-shares."
            )
        check_name(name, source.columns, "column in --do:")
        if name not in schema.columns:
            raise DataError(
                f"do sets {quoted(name)}, which is left out of the table. Take it out of --do, or "
                "keep the column by --categorical, --numeric or --date."
            )
        diagnosis, known = schema.columns[name], table.X[name].dropna()
        is_level = diagnosis.levels is not None
        try:
            value = read(pd.Series([text], name=name), diagnosis)[0].iloc[0]
        except DataError:
            value = np.nan
        if pd.isna(value):
            valid = f"one of {listed(diagnosis.levels)}" if is_level else f"a {diagnosis.kind}"
            raise DataError(
                f"do sets {quoted(name)} to {quoted(text)}, which it cannot be: give {valid}."
            )
        if is_level:
            found[name] = value
            continue
        value = float(value) - _days_ahead(value, text, source.rows[name])
        found[name] = value
        if not known.min() <= value <= known.max():
            report(
                f"do sets {quoted(name)} to {text}, outside of what the table has: no row shows "
                "what follows."
            )
    return found


def _days_ahead(days: float, text: str, like: pd.Series) -> float:
    """Return how far a column's zone is ahead of UTC, in days; 0 if the text names its own."""
    zone = getattr(like.dtype, "tz", None)
    if zone is None or _WITH_ZONE.search(text):
        return 0.0
    moment = pd.Timestamp(moments_of(np.array(days)).item())
    local = moment.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
    return local.utcoffset() / pd.Timedelta(1, "D")


def _check_place_of_graph(path: str | Path, *used: object) -> Path:
    path = Path(path)
    if path.suffix.lower() in _FIGURES:
        check_writable(path)
        return path
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise CausalMixError(
            f"{path}: a graph is written to files of type .csv, .parquet, {', '.join(_FIGURES)}."
        )
    return check_place_of_rows(path, *used)


def _write_graph(generator: Any, path: Path) -> None:
    """Write the edges of a fitted causal generator as a figure or a table."""
    generator = getattr(generator, "generator", generator)  # of other labels
    edges, dags = generator.edges_, generator.dags_
    if edges is None:
        raise CausalMixError(
            "There is no graph to write: this generator does not search for one (graph_out)."
        )
    if path.suffix.lower() in _FIGURES:
        make_folder(path.parent)
        figure = plot_graph(edges, target=generator.target_).figure
        replace_file(path, lambda file: figure.savefig(file, format=path.suffix[1:].lower()))
        return
    used = sum(nx.to_numpy_array(dag, nodelist=edges.names) for dag in dags) / len(dags)
    rows = [
        (edges.names[i], edges.names[j], edges.matrix[i, j], used[i, j])
        for i, j in np.argwhere((edges.matrix > 0) | (used > 0))
    ]
    table = pd.DataFrame(rows, columns=["cause", "effect", "probability", "share of models"])
    table = table.sort_values(["probability", "share of models"], ascending=False, kind="stable")
    write_rows(table, path, float_format="%.4g")
