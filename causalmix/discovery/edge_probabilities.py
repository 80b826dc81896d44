"""How probable every directed edge is: from the marks that searches found, kept and saved."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.atomic import make_folder
from causalmix.data.columns import listed
from causalmix.data.display import as_html
from causalmix.discovery.knowledge import NO_KNOWLEDGE, BackgroundKnowledge
from causalmix.errors import CausalMixError, DataError, check_name, check_type, quoted
from causalmix.manifest import write_json

# Graphs are matrices as causal-learn has them: graph[i, j] is the mark at i of the edge between i
# and j, 0 where there is no edge.
TAIL, ARROW, CIRCLE = -1, 1, 2
_ENDS = {"-": TAIL, "<": ARROW, ">": ARROW, "o": CIRCLE}

# What an edge mark contributes to P(source → target) and to P(target → source). An arrowhead at
# the target alone ("o->") rules out the reverse and leaves latent confounding possible. Strictly,
# "<->" says that neither causes the other; it counts here because it is most of what FCI finds on
# real tables, and rows generated without it lose the dependence that it stands for.
MARK_WEIGHTS: Mapping[str, tuple[float, float]] = {
    "-->": (1.0, 0.0),
    "o->": (0.75, 0.0),
    "--o": (0.75, 0.25),
    "---": (0.5, 0.5),
    "o-o": (0.5, 0.5),
    "<->": (0.5, 0.5),
}
STRICT_MARK_WEIGHTS: Mapping[str, tuple[float, float]] = {**MARK_WEIGHTS, "<->": (0.0, 0.0)}
"""As the marks are defined: where a latent variable causes both, neither causes the other."""

MARKS = {mark: (_ENDS[mark[0]], _ENDS[mark[-1]]) for mark in MARK_WEIGHTS}
"""The marks at source and target of each edge mark."""

NAMED_MARK_WEIGHTS = {"soft": MARK_WEIGHTS, "strict": STRICT_MARK_WEIGHTS}
MarkWeights = str | Mapping[str, tuple[float, float]]

_FORMAT = "causalmix edge probabilities"


class MarkCounts:
    """How often graphs have each mark at each pair of k columns; graphs need not be kept.

    Parameters
    ----------
    k : int
        Columns.

    Attributes
    ----------
    n_graphs : dict of str to int
        Graphs by algorithm.
    """

    def __init__(self, k: int) -> None:
        self._k = k
        self._counts: dict[tuple[str, str], np.ndarray] = {}
        self.n_graphs: dict[str, int] = {}

    def add(self, algorithm: str, graph: np.ndarray) -> None:
        """Count the marks of a graph (k, k), as `EdgeProbabilities.from_graphs` has them."""
        self.n_graphs[algorithm] = self.n_graphs.get(algorithm, 0) + 1
        for mark, (at_source, at_target) in MARKS.items():
            found = (graph == at_source) & (at_target == graph.T)
            if at_source == at_target:
                found = np.triu(found)
            zero = np.zeros((self._k, self._k), dtype=np.int32)
            self._counts.setdefault((algorithm, mark), zero)
            self._counts[algorithm, mark] += found

    def frequency(self) -> dict[tuple[str, str], np.ndarray]:
        """Return by algorithm and mark the share (k, k) of graphs that have it from i to j."""
        return {key: count / self.n_graphs[key[0]] for key, count in self._counts.items()}


@dataclass(frozen=True)
class EdgeProbabilities:
    """How probable every directed edge is, and the findings behind it.

    Attributes
    ----------
    names : tuple of str
        The d columns, in the order of the matrix.
    matrix : numpy.ndarray of shape (d, d)
        ``matrix[i, j]`` is P(i → j) in [0, 1]. The diagonal is 0 and
        ``matrix[i, j] + matrix[j, i]``, the probability of an edge between the two, at most 1.
    marks : pandas.DataFrame
        One row for each algorithm, pair and mark that was found: algorithm, source, target, mark
        (a key of `MARK_WEIGHTS`), frequency (share of the algorithm's bootstraps). Symmetric
        marks name the pair once, in the order of `names`.
    knowledge : BackgroundKnowledge
        What the search was told: required edges have probability 1, forbidden ones 0. None by
        default.
    timeouts : int
        Bootstraps in which bounded FCI or BOSS ran out of time. 0 by default.
    identifiers : tuple of str
        Columns that identify the rows, and get no edges but required ones. None by default.

    Raises
    ------
    CausalMixError
        If the matrix does not fit the names or holds other numbers than described.
    """

    names: tuple[str, ...]
    matrix: np.ndarray
    marks: pd.DataFrame
    knowledge: BackgroundKnowledge = NO_KNOWLEDGE
    timeouts: int = 0
    identifiers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        d = len(self.names)
        if self.matrix.shape != (d, d):
            raise CausalMixError(f"The matrix is {self.matrix.shape}, but there are {d} names.")
        possible = (self.matrix >= 0) & (self.matrix + self.matrix.T <= 1 + 1e-9)  # False for NaN
        if not possible.all() or self.matrix.diagonal().any():
            raise CausalMixError(
                "Edge probabilities must be at least 0, 0 on the diagonal, and at most 1 in sum "
                "over the two directions of a pair."
            )

    def pairs(self) -> pd.DataFrame:
        """List the pairs of columns that may be joined, the most probable first.

        Returns
        -------
        pandas.DataFrame
            ``cause`` and ``effect`` in the likelier direction, its probability ``forward``, and
            ``backward``, that of the other; pairs without either are left out.
        """
        up, down = np.triu_indices(len(self.names), 1)
        turned = self.matrix[up, down] < self.matrix[down, up]
        cause, effect = np.where(turned, down, up), np.where(turned, up, down)
        found = pd.DataFrame(
            {
                "cause": [self.names[i] for i in cause],
                "effect": [self.names[i] for i in effect],
                "forward": self.matrix[cause, effect],
                "backward": self.matrix[effect, cause],
            }
        )
        joined = found["forward"] + found["backward"]
        order = np.argsort(-joined.to_numpy(), kind="stable")
        return found.iloc[order[joined.to_numpy()[order] > 0]].reset_index(drop=True)

    def _repr_html_(self) -> str:
        found = self.pairs()
        about = f"{len(self.names)} columns, {len(found)} pairs that may be joined"
        notes = [f"{self.timeouts} searches ran out of time." if self.timeouts else ""]
        if self.identifiers:
            notes.append(f"Without edges, because they identify rows: {listed(self.identifiers)}.")
        return as_html("Edge probabilities", about, found.round(2), notes, limit=10)

    @classmethod
    def from_graphs(
        cls,
        names: Sequence[str],
        graphs: Mapping[str, Sequence[np.ndarray]],
        *,
        mark_weights: MarkWeights = MARK_WEIGHTS,
        knowledge: BackgroundKnowledge = NO_KNOWLEDGE,
        timeouts: int = 0,
        identifiers: Sequence[str] = (),
    ) -> EdgeProbabilities:
        """Average graphs over bootstraps, and over algorithms with equal weight.

        Parameters
        ----------
        names : sequence of str
            The d columns.
        graphs : mapping of str to sequence of numpy.ndarray of shape (d, d)
            By algorithm, a graph from each of its bootstraps, as causal-learn's ``G.graph``:
            ``graph[i, j]`` is the mark at i (−1 tail, 1 arrowhead, 2 circle, 0 no edge).
        mark_weights : {"soft", "strict"} or mapping of str to (float, float), default=MARK_WEIGHTS
            What each mark adds to P(source → target) and P(target → source); see
            `read_mark_weights`.
        knowledge : BackgroundKnowledge, optional
            Where it forbids one direction of a pair, all of the pair's probability goes to the
            other.
        timeouts : int, default=0
        identifiers : sequence of str, default=()
            These two are kept as they are.

        Returns
        -------
        EdgeProbabilities

        Raises
        ------
        CausalMixError
            If a weight is missing or out of its range, or a mark or a name is unknown.
        """
        counts = MarkCounts(len(names))
        for algorithm, found in graphs.items():
            for graph in found:
                counts.add(algorithm, graph)
        return cls.from_counts(
            names,
            counts,
            range(len(names)),
            mark_weights=mark_weights,
            knowledge=knowledge,
            timeouts=timeouts,
            identifiers=identifiers,
        )

    @classmethod
    def from_counts(
        cls,
        names: Sequence[str],
        counts: MarkCounts,
        positions: Sequence[int],
        *,
        mark_weights: MarkWeights = MARK_WEIGHTS,
        knowledge: BackgroundKnowledge = NO_KNOWLEDGE,
        timeouts: int = 0,
        identifiers: Sequence[str] = (),
    ) -> EdgeProbabilities:
        """Do the same as `from_graphs` with marks that are counted already, of some columns.

        Parameters
        ----------
        names : sequence of str
            The d columns.
        counts : MarkCounts
            Of k of them.
        positions : sequence of int
            Where these k stand among the d, ascending. The others have no edges but required ones.
        mark_weights, knowledge, timeouts, identifiers
            As in `from_graphs`.

        Returns
        -------
        EdgeProbabilities
        """
        weights = read_mark_weights(mark_weights)
        frequency = counts.frequency()
        searched = sum(
            (weights[mark][0] * share + weights[mark][1] * share.T) / len(counts.n_graphs)
            for (_, mark), share in frequency.items()
        )
        constraints = knowledge.constraints(names)
        forbidden = constraints.take(positions).forbidden
        one_way = np.where(forbidden & ~forbidden.T, searched, 0.0)
        matrix = np.zeros((len(names), len(names)))
        matrix[np.ix_(positions, positions)] = np.where(forbidden, 0.0, searched + one_way.T)
        matrix[constraints.required] = 1.0
        marks = _tidy(frequency, [names[j] for j in positions])
        return cls(tuple(names), matrix, marks, knowledge, timeouts, tuple(identifiers))

    def save(self, path: str | Path) -> None:
        """Write everything to a JSON file, in one step: a reader never sees half of it.

        Parameters
        ----------
        path : str or Path
            File to write, with its folder; replaced if it exists.

        Raises
        ------
        CausalMixError
            If a name is neither text nor a whole number, which JSON could not give back, or the
            file cannot be written.
        """
        for name in self.names:
            if not isinstance(name, str | int):
                raise CausalMixError(
                    f"Column {quoted(name)} cannot be saved under its name; use text as column "
                    "names."
                )
        content = {"format": _FORMAT} | asdict(self)
        content |= {"matrix": self.matrix.tolist(), "marks": self.marks.to_dict("list")}
        make_folder(Path(path).parent)
        write_json(path, content)

    @classmethod
    def load(cls, path: str | Path) -> EdgeProbabilities:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        EdgeProbabilities

        Raises
        ------
        DataError
            If there is no such file, or it is damaged or holds something else.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise ValueError(f"its format is {content['format']!r}")
            return cls(
                tuple(content["names"]),
                np.array(content["matrix"], dtype=float).reshape(len(content["matrix"]), -1),
                pd.DataFrame({**content["marks"]}),
                BackgroundKnowledge(**content["knowledge"]),
                int(content["timeouts"]),
                tuple(content["identifiers"]),
            )
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise DataError(
                f"{path.name} does not hold edge probabilities, or is damaged ({error}). Save them "
                "again with EdgeProbabilities.save."
            ) from error


def read_mark_weights(mark_weights: MarkWeights) -> Mapping[str, tuple[float, float]]:
    """Return what each edge mark adds to the probabilities of the two directions.

    Parameters
    ----------
    mark_weights : {"soft", "strict"} or mapping of str to (float, float)
        ``"soft"`` stands for `MARK_WEIGHTS`, ``"strict"`` for `STRICT_MARK_WEIGHTS`, where a
        bidirected edge counts as no edge.

    Returns
    -------
    mapping of str to (float, float)

    Raises
    ------
    UnknownNameError
        If a mark, or the name of the weights, is unknown.
    CausalMixError
        If it is neither a name nor a mapping, or lacks two possible weights for a mark.
    """
    if isinstance(mark_weights, str):
        name = check_name(mark_weights, NAMED_MARK_WEIGHTS, "choice of mark_weights")
        return NAMED_MARK_WEIGHTS[name]
    check_type("mark_weights", mark_weights, "str | Mapping")
    for mark in mark_weights:
        check_name(mark, MARKS, "edge mark")
    for mark in MARKS:
        weights = np.atleast_1d(mark_weights.get(mark, ()))
        if weights.shape != (2,) or not (weights.min() >= 0 and weights.sum() <= 1):
            raise CausalMixError(
                f"mark_weights needs two weights for {mark!r}, neither negative, with a sum of "
                f"at most 1; got {mark_weights.get(mark)}."
            )
    return mark_weights


def _tidy(frequency: dict[tuple[str, str], np.ndarray], names: Sequence[str]) -> pd.DataFrame:
    rows = [
        (algorithm, names[i], names[j], mark, float(share[i, j]))
        for (algorithm, mark), share in frequency.items()
        for i, j in zip(*np.nonzero(share), strict=True)
    ]
    return pd.DataFrame(rows, columns=["algorithm", "source", "target", "mark", "frequency"])
