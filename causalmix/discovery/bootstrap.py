"""Causal discovery: PC, FCI and a score-based search over bootstrap resamples of a table."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from causalmix.data.backing import numpy_backed
from causalmix.data.codec import TableCodec
from causalmix.data.columns import identifiers, listed
from causalmix.data.memory import free_memory
from causalmix.data.own_settings import own_settings
from causalmix.discovery.citest import DegenerateGaussian
from causalmix.discovery.edge_probabilities import EdgeProbabilities, MarkCounts
from causalmix.discovery.independence import check_test
from causalmix.discovery.knowledge import Constraints
from causalmix.discovery.options import DiscoveryOptions
from causalmix.discovery.possible_dsep import OutOfTimeError
from causalmix.discovery.search import complete, search_bootstrap
from causalmix.errors import DataError, TimeLimitWarning, quoted, takes_options

# Columns that are searched whatever the time.
_LEAST_COLUMNS = 8

# For each ordered pair of columns: the probability, its sum with that of the reverse when the two
# are checked, truth values of knowledge and checks.
_BYTES_A_PAIR = 24

# Wider tables are screened in parts of so many columns, whose correlations are in memory at once.
_SCREENED_AT_ONCE = 1000


@takes_options(DiscoveryOptions)
@own_settings()
def discover(data: pd.DataFrame, *, target: str | None = None, **options: Any) -> EdgeProbabilities:
    """Estimate how probable every directed edge is, by searches of bootstrap resamples.

    Each bootstrap draws rows with replacement, permutes the columns (the algorithms depend on
    their order), and searches one skeleton, from which PC and FCI orient the edges with
    causal-learn's rules, and the best order by a score. The n resampled rows are tested as n/2:
    their statistics vary twice as much as those of fresh rows, and tested as n, columns without any
    relation would be joined several times too often. Causal-learn's own tests cannot be told so;
    with them, a "bootstrap" is half of the rows, drawn without replacement, which vary as much.

    - ``"pc"``: stable PC; unshielded colliders, then Meek's rules.
    - ``"fci"``: FCI without its possible-d-sep stage, whose cost no setting of causal-learn
      bounds; its adjacencies are therefore PC's, and an edge may remain that only a larger
      separating set would remove. Rules R0 to R10 orient.
    - ``"bounded_fci"``: FCI with a bounded possible-d-sep stage: paths of at most 3 edges, the 8
      nearest columns that they reach, sets of at most 3. In a bootstrap where this takes more
      than `possible_dsep_seconds` the graph of ``"fci"`` takes its place; the result counts these
      bootstraps (`EdgeProbabilities.timeouts`) and a warning tells.
    - ``"boss"``: best order score search, with a BIC for columns of both kinds
      (`causalmix.discovery.score_search`); it tests nothing, and neither `alpha` nor
      `max_conditioning` matters to it. A bootstrap of 20 columns takes twice as long as PC and FCI,
      one of 100 ten times as long or more. After `boss_seconds` no further column moves, and the
      graph is the best so far; this is counted and told as well.

    In all others, the skeleton's sets have at most `max_conditioning` columns (anytime FCI; Spirtes
    2001), and a set that determines a column exactly does not separate it from others: copies and
    exact sums of columns keep their edges.
    The result depends on the data, the options and `seed` alone, not on `n_jobs` (where no time
    runs out).

    Parameters
    ----------
    data : pandas.DataFrame of shape (n_rows, d)
        Numeric columns, and columns of any other type as categories. A missing number becomes the
        median of its column in the bootstrap, a missing category a level of its own. Columns that
        identify the rows (`causalmix.data.columns.identifiers`) get no edges but those that
        knowledge requires, in the graphs drawn from the result too, and a warning names them.
    algorithms : sequence of {"pc", "fci", "bounded_fci", "boss"}, optional
        Averaged with equal weight. By default ``("pc", "boss")``, which finds more of the edges and
        of their directions than the ``("pc", "fci")`` of CausalMixFT on the tables of the benchmark
        together (`causalmix.benchmarks.discovery`); and those with a test that gives BOSS no score.
        BOSS by itself does a little better still there; PC stays so that the probabilities do not
        rest on one score.
    test : str, default="basis_function"
        Test of conditional independence. ``"basis_function"`` and ``"degenerate_gaussian"`` take
        columns of both kinds and are by far the fastest. The second sees linear dependence of
        numbers and of indicators of categories; the first also that of the squares of numbers. On
        random mixed models it found more of the edges where half of the effects are curves,
        monotone or not, and fewer where all are linear and rows are few. The
        kernel tests ``"kci"`` and ``"rcit"`` see other dependence as well, in tens and hundreds of
        times the time; ``"fisherz"`` needs numbers or two categories, ``"chisq"`` categories.
    n_bootstraps : int, default=20
        Resamples; each runs every algorithm.
    alpha : float, default=0.2
        Level of the independence tests in every bootstrap. Half of the bootstraps have an edge at
        0.2, tested as n/2 rows, about where one test of all n rows has it at 0.1.
    max_conditioning : int, default=2
        Largest conditioning set, in columns.
    possible_dsep_seconds : float, default=10.0
        Time limit of the possible-d-sep stage in each bootstrap, in seconds.
    boss_seconds : float, default=60.0
        Time limit of BOSS in each bootstrap, in seconds.
    max_columns : int, default=100
        In a wider table only this many columns are searched: those most dependent on `target`, or
        on any other column if there is no target. The others get no edges, and a warning says so.
    time_limit : float, optional
        Seconds after which no further bootstrap starts. Where half of them do not suffice for the
        skeleton of the first, the columns that are searched are halved. A `TimeLimitWarning` says
        what was left out. Results depend on `seed` alone only without a limit.
    target : str, optional
        Column that is always searched; it has no other effect.
    knowledge : BackgroundKnowledge, optional
        Required and forbidden edges and tiers. All algorithms keep them: a required pair is
        always adjacent, one with both directions forbidden never; in FCI, a column that may not
        cause another gets an arrowhead there. Required edges have probability 1, forbidden ones 0
        and what evidence there is for them goes to the other direction.
    mark_weights : {"soft", "strict"} or mapping of str to (float, float), default="soft"
        What each mark adds to P(source → target) and P(target → source); see
        `causalmix.discovery.edge_probabilities.read_mark_weights`. With ``"strict"`` a bidirected
        edge counts as no edge.
    seed : int, default=0
    n_jobs : int, default=1
        Worker processes, each with one BLAS thread.
    progress : bool, default=False
        Show a progress bar.

    Returns
    -------
    EdgeProbabilities

    Raises
    ------
    DataError
        If the table is empty, repeats a column, contains infinities, lacks `target` or has no
        column but identifiers, or if `test` does not fit the type of a column; if the result does
        not fit into memory.
    UnknownNameError
        If an option, an algorithm, the test, a mark or a column in `knowledge` is unknown.
    CausalMixError
        If a number or a weight is out of its range, `algorithms` is one name, or `test` gives
        ``"boss"`` no score.
    """
    how, start = DiscoveryOptions(**options), time.monotonic()
    if not isinstance(data, pd.DataFrame):
        raise DataError(f"discover needs a pandas DataFrame, not {type(data).__name__}.")
    _check_memory(data.shape[1])
    data = numpy_backed(data)
    codec = TableCodec(data)
    if target is not None and target not in data:
        raise DataError(f"The table has no column {quoted(target)}; it has {listed(list(data))}.")
    names, d = tuple(data.columns), data.shape[1]
    known = how.knowledge.constraints(names)
    values = codec.encode(data).to_numpy()
    categorical = np.array([name in codec.categorical for name in names])
    check_test(how.test, names, categorical, values)
    identifying = identifiers(data, besides=[target])
    if len(identifying) == d:
        raise DataError(f"Every column identifies the rows: {listed(identifying)}. Give others.")
    if identifying:
        _warn_of_identifiers(identifying)
    searched = np.flatnonzero([name not in identifying for name in names])
    wanted = None if target is None else names.index(target)
    if len(searched) > how.max_columns:
        searched = _most_dependent(values, categorical, searched, wanted, how.max_columns)

    reductions: list[str] = []
    deadlines = _deadlines(start, how.time_limit)
    while True:
        table = values[:, searched], categorical[searched], known.take(searched)
        # Few columns are searched whatever the time.
        skeleton, end = deadlines if len(searched) > _LEAST_COLUMNS else (math.inf, deadlines[1])
        try:
            counts, late = _search(table, how, skeleton, end)
            break
        except OutOfTimeError:
            searched = _most_dependent(values, categorical, searched, wanted, len(searched) // 2)
            reductions = [f"a search of {len(searched)} of {d} columns"]
            deadlines = _deadlines(time.monotonic(), how.time_limit / 2)
    _warn_of_timeouts(late, how)
    n_wanted = d - len(identifying)
    if len(searched) < n_wanted and not reductions:
        _warn_of_width(n_wanted, how.max_columns, target)
    n_done = max(counts.n_graphs.values())
    if n_done < how.n_bootstraps:
        reductions.append(f"{n_done} of {how.n_bootstraps} bootstraps")
    _warn_of_reductions(reductions, how)
    return EdgeProbabilities.from_counts(
        names,
        counts,
        searched,
        mark_weights=how.mark_weights,
        knowledge=how.knowledge,
        timeouts=sum(map(bool, late)),
        identifiers=identifying,
    )


def _deadlines(start: float, limit: float | None) -> tuple[float, float]:
    """Return when a skeleton has to be found, and when the last bootstrap may start."""
    return (math.inf, math.inf) if limit is None else (start + limit / 2, start + limit)


def _search(
    table: tuple[np.ndarray, np.ndarray, Constraints],
    how: DiscoveryOptions,
    skeleton: float,
    end: float,
) -> tuple[MarkCounts, list[set[str]]]:
    """Search the bootstraps until `end`, one at least; count the marks of their graphs.

    Returns
    -------
    counts : MarkCounts
    late : list of set of str
        By bootstrap, what ran out of time there.
    """
    # The first skeleton shows whether the columns are too many; later ones may take their time.
    jobs = (
        delayed(search_bootstrap)(*table, how, b, math.inf if b else skeleton, end)
        for b in range(how.n_bootstraps)
    )
    counts, late = MarkCounts(table[0].shape[1]), []
    parallel = parallel_config("loky", n_jobs=how.n_jobs, inner_max_num_threads=1)
    with parallel, warnings.catch_warnings():
        done = Parallel(return_as="generator")(jobs)
        for findings in tqdm(done, "bootstraps", how.n_bootstraps, disable=not how.progress):
            for name, graph in findings.graphs.items():
                counts.add(name, graph)
            late.append(findings.timed_out)
            if time.monotonic() > end:
                # joblib warns of results that nobody takes; none is lost.
                warnings.simplefilter("ignore")
                done.close()
                break
    return counts, late


def _check_memory(d: int) -> None:
    """Raise DataError if the result for d columns does not fit into the memory that is free."""
    needed, free = _BYTES_A_PAIR * d**2, free_memory()
    if needed > free:
        raise DataError(
            f"Probabilities of the edges among {d:,} columns take {needed / 2**30:,.1f} GiB of "
            f"memory, and {free / 2**30:,.1f} GiB are free. Select some of the columns."
        )


def _warn_of_timeouts(found: Sequence[set[str]], options: DiscoveryOptions) -> None:
    for algorithm, name, limit, instead in (
        ("bounded_fci", "Bounded FCI", "possible_dsep_seconds", "plain FCI took its place there"),
        ("boss", "BOSS", "boss_seconds", "its graph there is the best so far"),
    ):
        late = sum(algorithm in timed_out for timed_out in found)
        if late:
            given = f"{limit}={getattr(options, limit):g}"
            if options.time_limit is not None:
                given += f" and time_limit={options.time_limit:g}"
            warnings.warn(
                f"{name} ran out of time in {late} of {len(found)} bootstraps, and {instead}. Give "
                f"it more than {given}, or fewer columns (max_columns).",
                stacklevel=4,
            )


def _warn_of_reductions(reductions: Sequence[str], options: DiscoveryOptions) -> None:
    if reductions:
        warnings.warn(
            f"To end within {options.time_limit:.3g} s (time_limit), discovery made do with "
            f"{' and '.join(reductions)}.",
            TimeLimitWarning,
            stacklevel=4,
        )


def _warn_of_identifiers(names: Sequence[Hashable]) -> None:
    warnings.warn(
        f"These columns identify the rows (all their known values are different): "
        f"{listed(names)}. They get no edges; drop them from the table, or synthetic rows repeat "
        "their values.",
        stacklevel=4,
    )


def _warn_of_width(d: int, max_columns: int, target: str | None) -> None:
    warnings.warn(
        f"The table has {d} columns; discovery searches the {max_columns} most dependent on "
        f"{'each other' if target is None else repr(target)} and leaves the others without edges "
        "(max_columns).",
        stacklevel=4,
    )


def _most_dependent(
    values: np.ndarray, categorical: np.ndarray, columns: np.ndarray, target: int | None, n: int
) -> np.ndarray:
    """Return the `n` columns most dependent on the target, or else on any other, in order."""
    target_at = None if target is None else int(np.flatnonzero(columns == target)[0])
    strength = np.full(len(columns), -np.inf)
    n_parts = -(-len(columns) // _SCREENED_AT_ONCE)
    parts = np.array_split(np.arange(len(columns)), n_parts)
    for part in parts:
        for other in [np.array([target_at])] if target is not None else parts:
            both = np.union1d(part, other)
            found = _dependence(values, categorical, columns[both], np.searchsorted(both, other))
            strength[both] = np.maximum(strength[both], found)
    if target is not None:
        strength[target_at] = np.inf
    return columns[np.sort(np.argsort(strength, kind="stable")[-n:])]


def _dependence(
    values: np.ndarray, categorical: np.ndarray, columns: np.ndarray, rivals: np.ndarray
) -> np.ndarray:
    """Return how dependent each of some columns is on that of the `rivals` it depends on most."""
    test = DegenerateGaussian(
        complete(values[:, columns], categorical[columns]),
        np.flatnonzero(categorical[columns]),
        squares=True,
    )
    dependence = np.array([test.dependence(i) for i in rivals])
    dependence[np.arange(len(rivals)), rivals] = -np.inf  # of a column with itself
    return dependence.max(axis=0)
