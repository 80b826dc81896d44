"""What a classifier is worth on one table: held-out folds, beside zero-shot and the usual ones."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import permutations

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from causalmix.data.dataset import TabularDataset
from causalmix.errors import DataError, FinetuningWarning
from causalmix.finetuning.estimator import CausalMixClassifier
from causalmix.finetuning.metrics import SCORES, among_present, row_losses, score
from causalmix.quality.baselines import BASELINES, fit_predict_proba

TUNED, BEFORE, GUESS = "fine-tuned", "zero-shot", "guessing"

USUAL = ("logistic_regression", "random_forest", "hist_gradient_boosting")
"""Classifiers that stand beside."""

N_BOOTSTRAP, N_AUC = 1000, 100
"""Resamples of the held-out rows, within their folds, behind an interval; and behind one of
ROC-AUC, which asks for all pairs of rows."""

_LIKE_A_FOLD = 1.1  # of the seconds of the last fold, which the next one is expected to take


@dataclass(frozen=True, eq=False)
class Folds:
    """Predictions of rows that were held out.

    Attributes
    ----------
    class_names : tuple of str
    y : ndarray of int, shape (n_rows,)
        Class codes of all rows of the table.
    fold : ndarray of int, shape (n_rows,)
        Which fold held a row out; -1 where none did.
    proba : dict of str to ndarray of float, shape (n_rows, n_classes)
        By method: `TUNED`, `BEFORE`, those of `USUAL`, and `GUESS`, the shares of the classes.
    asked : int
        Folds that were asked for; fewer were finished where time ran out, or one failed.
    failed : int
        Folds without which the other rows cannot be fitted, as where a class has a single one left.
    last : CausalMixClassifier or None
        Of the last fold.
    last_rows : ndarray of int
        Positions of its held-out rows.
    last_X : DataFrame
        Their features.
    """

    class_names: tuple[str, ...]
    y: np.ndarray
    fold: np.ndarray
    proba: dict[str, np.ndarray]
    asked: int
    failed: int = 0
    last: CausalMixClassifier | None = None
    last_rows: np.ndarray = field(default_factory=lambda: np.array([], int))
    last_X: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def finished(self) -> int:
        """Folds that were finished."""
        return int(self.fold.max()) + 1

    @property
    def rows(self) -> np.ndarray:
        """Positions of the rows that were held out."""
        return np.flatnonzero(self.fold >= 0)

    def scores(self) -> pd.DataFrame:
        """Score every method.

        Returns
        -------
        DataFrame
            A row a method, the least log-loss first: means over folds of `SCORES`, each with the
            95 % interval ``_low`` to ``_high`` of a bootstrap of the rows within their folds; for
            ROC-AUC within folds and classes, so that no resample lacks a class.
        """
        rows = {}
        for name, proba in self.proba.items():
            right = self._of_rows(proba, lambda y, p: (p.argmax(axis=1) == y).astype(float))
            drawn = {
                "auc": self._resampled_auc(proba),
                "log_loss": self._resampled(self._of_rows(proba, row_losses)),
                "accuracy": self._resampled(right),
            }
            each_fold = [score(self.y[part], proba[part]) for part in self._folds()]
            found = pd.DataFrame(each_fold).mean()
            rows[name] = {}
            for each in SCORES:
                low, high = np.nanquantile(drawn[each], [0.025, 0.975])
                rows[name] |= {each: found[each], f"{each}_low": low, f"{each}_high": high}
        table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")
        return table.sort_values("log_loss")

    def difference(self, method: str = TUNED, other: str = BEFORE) -> tuple[float, float, float]:
        """Compare the log-loss of two methods, row by row.

        Parameters
        ----------
        method, other : str
            Keys of `proba`.

        Returns
        -------
        value, low, high : float
            Nats by which `method` is lower, with its 95 % interval (bootstrap of the rows within
            their folds). It says nothing about other training rows.
        """
        gain = self._of_rows(self.proba[other], row_losses)
        gain -= self._of_rows(self.proba[method], row_losses)
        value = np.mean([gain[part].mean() for part in self._folds()])
        low, high = np.quantile(self._resampled(gain), [0.025, 0.975])
        return float(value), float(low), float(high)

    def _of_rows(
        self, proba: np.ndarray, value: Callable[[np.ndarray, np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """Take a value of every row that was held out; NaN for others."""
        found = np.full(len(self.y), np.nan)
        found[self.rows] = value(self.y[self.rows], proba[self.rows])
        return found

    def _folds(self) -> list[np.ndarray]:
        return [np.flatnonzero(self.fold == k) for k in range(self.finished)]

    @cached_property
    def _counts(self) -> list[np.ndarray]:
        """How often every row is in each resample of its fold: (N_BOOTSTRAP, n_fold) a fold."""
        rng = np.random.default_rng(0)
        sizes = [len(part) for part in self._folds()]
        return [rng.multinomial(n, np.full(n, 1 / n), N_BOOTSTRAP) for n in sizes]

    def _resampled(self, values: np.ndarray) -> np.ndarray:
        """Means over folds of the means of resamples (N_BOOTSTRAP,) of values of rows."""
        parts = zip(self._folds(), self._counts, strict=True)
        return np.mean([counts @ values[part] / len(part) for part, counts in parts], axis=0)

    @cached_property
    def _counts_in_class(self) -> list[np.ndarray]:
        """As `_counts`, each class with as many rows as it has: (N_AUC, n_fold) a fold."""
        rng, found = np.random.default_rng(0), []
        for part in self._folds():
            counts = np.zeros((N_AUC, len(part)), dtype=np.int64)
            for label in np.unique(self.y[part]):
                own = np.flatnonzero(self.y[part] == label)
                counts[:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), N_AUC)
            found.append(counts)
        return found

    def _resampled_auc(self, proba: np.ndarray) -> np.ndarray:
        """Means over folds of the ROC-AUC of resamples (N_AUC,), without folds of one class."""
        parts = zip(self._folds(), self._counts_in_class, strict=True)
        values = [_auc_of_counts(self.y[part], proba[part], counts) for part, counts in parts]
        return pd.DataFrame(values).mean().to_numpy()


def _auc_of_counts(y: np.ndarray, proba: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """ROC-AUC (n_resamples,), one-vs-one, of rows that are in resamples so often.

    Each class is in each resample. NaN where there is a single one.
    """
    present, codes = np.unique(y, return_inverse=True)
    proba, found = among_present(present, proba), []
    for a, b in permutations(range(len(present)), 2):
        of_a, of_b = codes == a, codes == b
        lead = proba[of_a, a][:, None] - proba[of_b, a]
        wins = (lead > 0) + 0.5 * (lead == 0)
        pairs = counts[:, of_a].sum(axis=1) * counts[:, of_b].sum(axis=1)
        found.append(((counts[:, of_a] @ wins) * counts[:, of_b]).sum(axis=1) / pairs)
    return np.mean(found, axis=0) if found else np.full(len(counts), np.nan)


def evaluate_folds(
    classifier: CausalMixClassifier,
    X: pd.DataFrame,
    y: pd.Series,
    *,
    n_folds: int = 5,
    until: float | None = None,
    seed: int = 0,
    report: Callable[[str], object] = lambda line: None,
) -> Folds:
    """Fit a classifier on all folds but one, predict that one, and so on; others beside it.

    Parameters
    ----------
    classifier : CausalMixClassifier
        Cloned for every fold.
    X : DataFrame, shape (n_rows, n_features)
    y : Series of dtype category, shape (n_rows,)
        Classes with a single row are trained on in every fold, and not tested.
    n_folds : int, default=5
        At most; a class of fewer rows lowers it.
    until : float, optional
        Of `time.monotonic`: no fold begins that would end later.
    seed : int, default=0
        Of the folds.
    report : callable, optional
        Takes a line on each fold, also on one without which the other rows cannot be fitted.

    Returns
    -------
    Folds
    """
    codes = y.cat.codes.to_numpy(dtype=np.int64)
    counts = np.bincount(codes, minlength=len(y.cat.categories))
    alone = np.isin(codes, np.flatnonzero(counts == 1))
    others = np.flatnonzero(~alone)
    asked, least = n_folds, int(counts[counts > 1].min())
    if (n_folds := max(2, min(asked, least))) < asked:
        report(f"{n_folds} folds, not {asked}: the smallest class has {least} rows")
    fold = np.full(len(y), -1)
    proba = {
        name: np.full((len(y), len(counts)), np.nan)
        for name in (TUNED, BEFORE, GUESS, *(BASELINES[name].label for name in USUAL))
    }
    last, last_rows, failed = None, np.array([], int), 0
    split = StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(others, codes[others])
    took = 0.0
    for k, (train, test) in enumerate(split):
        if until is not None and time.monotonic() + _LIKE_A_FOLD * took > until:
            report(f"time is over: {k - failed} of {n_folds} folds were held out")
            break
        started = time.monotonic()
        rows = np.sort(np.concatenate([others[train], np.flatnonzero(alone)]))
        tested = others[test]
        try:
            tuned = _fit(clone(classifier), X.iloc[rows], y.iloc[rows])
            before = _fit(without_steps(classifier), X.iloc[rows], y.iloc[rows])
        except DataError as error:
            report(f"without fold {k + 1} of {n_folds} the rows cannot be fitted: {error}")
            failed += 1
            continue
        for name, model in ((TUNED, tuned), (BEFORE, before)):
            places = y.cat.categories.get_indexer(model.classes_)
            found = np.zeros((len(tested), len(counts)))
            found[:, places] = model.predict_proba(X.iloc[tested])
            proba[name][tested] = found
        proba[GUESS][tested] = np.bincount(codes[rows], minlength=len(counts)) / len(rows)
        for name in USUAL:
            proba[BASELINES[name].label][tested] = _usual(name, tuned, y, X.iloc[tested], seed)
        fold[tested] = k - failed
        last, last_rows = tuned, tested
        took = time.monotonic() - started
        report(f"fold {k + 1} of {n_folds} held out; about {took * (n_folds - k - 1):.0f} s to go")
    of_last = {"last": last, "last_rows": last_rows, "last_X": X.iloc[last_rows]}
    return Folds(tuple(y.cat.categories), codes, fold, proba, n_folds, failed, **of_last)


def without_steps(classifier: CausalMixClassifier) -> CausalMixClassifier:
    """Return an unfitted classifier like another one that predicts without fine-tuning."""
    return clone(classifier).set_params(steps=None, config__steps=0)


def _fit(classifier: CausalMixClassifier, X: pd.DataFrame, y: pd.Series) -> CausalMixClassifier:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said once, of the whole table
        warnings.simplefilter("ignore", FinetuningWarning)
        return classifier.fit(X, y.astype(str))


def _usual(
    name: str, tuned: CausalMixClassifier, y: pd.Series, X: pd.DataFrame, seed: int
) -> np.ndarray:
    """Predict with a usual classifier, from the rows as the tuned one has read them."""
    context: TabularDataset = tuned.context_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = fit_predict_proba(name, context, tuned.read_features(X), seed=seed)
    proba = np.zeros((len(X), len(y.cat.categories)))
    proba[:, y.cat.categories.get_indexer(context.class_names)] = found
    return proba
