"""causal-learn's PC and FCI as a user calls them: Fisher's z on codes, in a process of their own.

Their time cannot be bounded from inside (FCI tries every subset of every possible-d-sep set), so
the process ends itself when a search has used its share of processor time.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import pandas as pd

from causalmix.data.codec import TableCodec
from causalmix.discovery.search import complete
from causalmix.errors import CausalMixError

PLAIN = ("pc", "fci")
"""Algorithms of causal-learn that can be run."""

_ALPHA = 0.05  # level of the tests: causal-learn's own default
_OUT_OF_TIME = 124  # exit status


@dataclass(frozen=True)
class PlainSearch:
    """What one run gave.

    Attributes
    ----------
    graph : numpy.ndarray of shape (d, d) or None
        causal-learn's ``G.graph``; None if the run did not finish.
    seconds : float
        Processor time, without imports.
    outcome : str
        ``"ok"``, ``"timeout"``, or the message of the error that ended it.
    """

    graph: np.ndarray | None
    seconds: float
    outcome: str


class PlainSearcher:
    """Runs searches, one after the other, in a process that is replaced when it runs out of time.

    The process ends with this one at the latest, and after a ``with`` statement.

    Parameters
    ----------
    limit : float
        Processor seconds that one search may take.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> PlainSearcher:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._end()

    def search(self, algorithm: str, codes: np.ndarray) -> PlainSearch:
        """Run one search with causal-learn's defaults.

        Parameters
        ----------
        algorithm : {"pc", "fci"}
        codes : numpy.ndarray of shape (n_rows, d)
            As `integer_codes` gives them.

        Returns
        -------
        PlainSearch

        Raises
        ------
        CausalMixError
            If the process ends otherwise than for lack of time.
        """
        if self._process is None:
            self._start()
        try:
            pickle.dump((algorithm, codes, self.limit), self._process.stdin)
            self._process.stdin.flush()
            return PlainSearch(*pickle.load(self._process.stdout))
        except (EOFError, BrokenPipeError):
            if (status := self._end()) != _OUT_OF_TIME:
                raise CausalMixError(
                    f"The process of causal-learn's {algorithm} ended with status {status}."
                ) from None
            return PlainSearch(None, self.limit, "timeout")

    def _start(self) -> None:
        # FCI's graphs depend on the hash seed.
        own = {"PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | own,
            start_new_session=True,  # Ctrl-C is no lack of time
        )
        pickle.load(self._process.stdout)  # it has imported all it needs

    def _end(self) -> int:
        process, self._process = self._process, None
        with suppress(BrokenPipeError), process:  # it may have left something unread
            pass
        return process.returncode


def integer_codes(frame: pd.DataFrame) -> np.ndarray:
    """Return a table as numbers: categories as 0, 1, ..., gaps filled as in `discover`."""
    codec = TableCodec(frame)
    return complete(codec.encode(frame).to_numpy(), np.isin(list(frame), codec.categorical))


def _serve() -> None:
    """Search what comes through standard input until it is closed."""
    from causallearn.search.ConstraintBased.FCI import fci
    from causallearn.search.ConstraintBased.PC import pc

    answers = sys.stdout.buffer
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - FCI prints its edges

    def answer(content: object) -> None:
        pickle.dump(content, answers)
        answers.flush()

    searches = {
        "pc": lambda codes: pc(codes, _ALPHA, "fisherz", show_progress=False).G.graph,
        "fci": lambda codes: fci(codes, "fisherz", _ALPHA, show_progress=False)[0].graph,
    }
    answer("ready")
    while True:
        try:
            algorithm, codes, limit = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        done = threading.Event()
        start = time.process_time()
        threading.Thread(target=_guard, args=(start + limit, done), daemon=True).start()
        try:
            graph, outcome = searches[algorithm](codes), "ok"
        except Exception as error:  # a singular correlation matrix, for one
            graph, outcome = None, str(error) or type(error).__name__
        done.set()
        answer((graph, time.process_time() - start, outcome))


def _guard(deadline: float, done: threading.Event) -> None:
    """End the process when its processor time passes the deadline, unless the search is done."""
    while not done.wait(0.05):
        if time.process_time() > deadline:
            os._exit(_OUT_OF_TIME)


if __name__ == "__main__":
    _serve()
