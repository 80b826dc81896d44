"""A scikit-learn classifier around all of it: fine-tune on one table, and say what came of it."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import networkx as nx
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_consistent_length
from sklearn.utils.validation import check_is_fitted

from causalmix.data.dataset import TabularDataset
from causalmix.data.own_settings import own_settings
from causalmix.data.schema import TableSchema
from causalmix.data.splitting import Split
from causalmix.discovery.knowledge import BackgroundKnowledge
from causalmix.errors import CausalMixError, FinetuningWarning
from causalmix.finetuning import fit_input, fit_parameters, persistence
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.report import FitReport, make_report
from causalmix.finetuning.run import finetune
from causalmix.tfm.model import load_tfm


class CausalMixClassifier(ClassifierMixin, BaseEstimator):
    """A tabular foundation model fine-tuned on the rows of a table and on other tasks beside them.

    A share of the rows given to `fit` is set aside for validation. The network is fine-tuned on
    tasks of the other rows, of rows of causal models fitted on them and, so that it does not forget
    how tasks are solved, of the prior that it was pre-trained on. What it has become is kept only
    if the validation rows are better predicted; else a `FinetuningWarning` says so and it predicts
    as the model it was. Predictions have all rows given to `fit` as context.

    Parameters
    ----------
    tfm : str or Path, default="embedded"
        Foundation model as :func:`causalmix.tfm.model.load_tfm` takes it.
    generator : str or None, default="causal"
        Key of ``causalmix.generation.registry.GENERATORS``: a quarter of the tasks are of its rows;
        it is fitted on the training rows only. None saves its time, and takes more tasks of the
        prior. With ``{"rehearsal": 0}`` in the `config` there are none of those. The paper's
        ``"causal_paper"`` goes with its mixing, the `config`
        ``{"synthetic_share": 0.5, "synthetic_tasks": 0, "rehearsal": 0}``.
    generator_options : mapping, optional
        Arguments of the generator's constructor, and ``purified=True`` for purified rows
        (`causalmix.generation.purification.Purified`). Its ``seed``, where it has one, is by
        default that of the fit.
    graph : sequence of (str, str) or networkx.DiGraph, optional
        A known graph, or its edges from cause to effect, in the place of the causal generator's
        search. The target goes by the name of `y`, or ``"target"`` where that has none.
    knowledge : BackgroundKnowledge or mapping, optional
        What is known of the graph before the causal generator's search: edges that it has
        (``required``) and has not (``forbidden``), and ``tiers``; see
        :class:`causalmix.discovery.knowledge.BackgroundKnowledge`. A saved classifier comes back
        with the mapping.
    columns : mapping of str to str, optional
        What columns are, by name: ``"categorical"``, ``"numeric"``, ``"date"`` or ``"drop"``. The
        types of the others are inferred.
    n_val : int or float, default=0.2
        Validation rows: a number of rows, at least one for each class that has two; or a share in
        (0, 1), which is raised to that. A class with a single row is not validated, and a warning
        names it.
    n_estimators : int, optional
        Members of the ensemble; by default as many as the checkpoint asks for.
    steps : int, optional
        Optimiser steps at most; 0 is zero-shot prediction.
    learning_rate : float, optional
        Of the optimiser.
    time_limit : float, optional
        Seconds that fine-tuning may take, generator included. A causal generator gets a share of
        them and makes do with fewer bootstraps, columns, graphs and simpler mechanisms, which the
        report names; the step, fit or validation under way is not interrupted, and other generators
        are not either. Only fits without a limit are reproducible.
    config : FinetuneConfig or mapping, optional
        All settings of fine-tuning: see :class:`causalmix.finetuning.config.FinetuneConfig`. A
        mapping has some of them by name, for example ``{"rule": "smoothed"}``; the others are as by
        default. `steps`, `learning_rate` and `time_limit` are as here where the arguments of that
        name are None. One that is set in both places, to different values, is an error; what
        equals the default in `config` counts as not set.
    device : str, default="auto"
        Where the network runs; ``"auto"`` takes a CUDA device where there is one.
    random_state : int, RandomState instance or None, default=None
        Of the split, the generator, the rows of every step and the ensemble. An int makes two
        fits on one machine alike.
    progress : bool, default=False
        Whether to show a progress bar on standard error.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted class labels.
    n_features_in_ : int
        Columns given to `fit`.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Their names, if `fit` was given a DataFrame whose column names are all strings.
    history_ : DataFrame
        A row per validation, from step 0: ``step``, ``train_loss`` (nats, mean since the last
        row), ``val_auc``, ``val_log_loss``, and more as
        :class:`causalmix.finetuning.run.FinetuneResult` has it.
    report_ : FitReport
        Zero-shot against fine-tuned, which weights were kept, and why.
    tfm_ : FoundationModel
        The model with the kept weights.

    Notes
    -----
    In a DataFrame, numbers stay numbers, dates become days, and text, truth values and pandas
    categories are categories. Columns with one value, row numbers, identifiers and free text are
    left out, with a warning; the rules are those of `causalmix.data.columns`. Where the DataFrame's
    ``attrs`` have a true ``"decimal_comma"``, text such as ``1,234`` is 1.234 if nothing in its
    column says otherwise; where they have ``"diagnoses"``, columns mean what these say (a mapping
    of names to `causalmix.data.diagnosis.Diagnosis`, of a table that these rows are part of). NaN,
    None and the usual markers are missing values. A category that `fit` has not seen counts as
    missing.

    `set_params` and searches over parameters reach a setting in `config` as ``config__NAME``, for
    example ``config__query_share``, whatever kind of value `config` has.

    See Also
    --------
    causalmix.finetuning.run.finetune : The same on a given split, as the benchmark uses it.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from causalmix.finetuning.estimator import CausalMixClassifier
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> classifier = CausalMixClassifier(generator=None, steps=8, random_state=0).fit(X, y)
    >>> classifier.predict_proba(X).shape
    (178, 3)
    """

    def __init__(
        self,
        *,
        tfm: str | Path = "embedded",
        generator: str | None = "causal",
        generator_options: Mapping[str, Any] | None = None,
        graph: Sequence[tuple[str, str]] | nx.DiGraph | None = None,
        knowledge: BackgroundKnowledge | Mapping[str, Any] | None = None,
        columns: Mapping[str, str] | None = None,
        n_val: int | float = 0.2,
        n_estimators: int | None = None,
        steps: int | None = None,
        learning_rate: float | None = None,
        time_limit: float | None = None,
        config: FinetuneConfig | Mapping[str, Any] | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        progress: bool = False,
    ) -> None:
        self.tfm = tfm
        self.generator = generator
        self.generator_options = generator_options
        self.graph = graph
        self.knowledge = knowledge
        self.columns = columns
        self.n_val = n_val
        self.n_estimators = n_estimators
        self.steps = steps
        self.learning_rate = learning_rate
        self.time_limit = time_limit
        self.config = config
        self.device = device
        self.random_state = random_state
        self.progress = progress

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters.

        Parameters
        ----------
        deep : bool, default=True
            Whether the settings in `config` are among them, as ``config__NAME``.

        Returns
        -------
        dict
            By name.
        """
        nested = fit_parameters.nested(self.config) if deep else {}
        return super().get_params(deep) | nested

    def set_params(self, **params: Any) -> Self:
        """Set parameters.

        Parameters
        ----------
        **params
            By name; a setting in `config` as ``config__NAME``, which is set in a copy of it.

        Returns
        -------
        CausalMixClassifier
            Itself.

        Raises
        ------
        UnknownNameError
            If there is no such setting.
        ValueError
            If there is no such parameter.
        """
        return super().set_params(**fit_parameters.with_nested(self.config, params))

    def fit(self, X: Any, y: Any, **fit_params: Any) -> Self:
        """Fine-tune on a table; where this fails, what an earlier `fit` learned stays.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
            Features of any type; missing values are allowed.
        y : array-like of shape (n_rows,)
            Class labels, none missing, two classes at least.
        **fit_params
            ``sample_weight=None`` and nothing else: rows have no weights.

        Returns
        -------
        CausalMixClassifier
            Itself.

        Raises
        ------
        DataError
            If the table is empty, repeats a column, holds infinities, exceeds the checkpoint's
            limits, has one class or a missing label, or too few rows for its classes; if fewer
            than two classes have the two rows that fine-tuning needs of them.
        CheckpointError
            If the checkpoint is missing, unreadable or a regressor's.
        CausalMixError
            If a parameter is of the wrong type or out of its range, the device is absent,
            `fit_params` has more, the loss stops being finite, or a single task does not fit into
            memory.
        UnknownNameError
            If the generator, one of its options, a setting in `config` or the foundation model is
            unknown.
        """
        fit_parameters.check_fit_params(fit_params)
        with own_settings(), fit_input.unchanged_on_failure(self):
            self._fit(X, y)
        return self

    @property
    def context_(self) -> TabularDataset:
        """The rows given to `fit`, as they were read: what predictions are made from."""
        check_is_fitted(self, "classes_")
        return self._fitted.context

    @own_settings()
    def read_features(self, X: Any) -> pd.DataFrame:
        """Read rows as `fit` has read its own.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
            As in `predict_proba`.

        Returns
        -------
        DataFrame
            The columns that are used, as numbers and categories.

        Raises
        ------
        sklearn.exceptions.NotFittedError, ValueError, DataError
            As `predict_proba`.
        """
        check_is_fitted(self, "classes_")
        comma = bool(getattr(X, "attrs", {}).get("decimal_comma", False))
        frame = fit_input.read_frame(self, X, columns=self._fitted.columns)
        return self._schema.read(frame, decimal_comma=comma)

    @own_settings()
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
            Rows with the columns given to `fit`. Where that was a DataFrame too, they are found by
            name: their order does not matter, and others are ignored.

        Returns
        -------
        ndarray of float32 of shape (n_rows, n_classes)
            In the order of ``classes_``. Each row is predicted for itself.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If a column is missing, named, or the number of columns is another one.
        DataError
            If there is no row, or a column of numbers holds something else, or infinities.
        CausalMixError
            If memory does not suffice for one row and those given to `fit`.
        """
        return self.predict_proba_of_read(self.read_features(X))

    @own_settings()
    def predict_proba_of_read(self, features: pd.DataFrame) -> np.ndarray:
        """Return class probabilities of rows that were read already.

        Parameters
        ----------
        features : DataFrame
            As `read_features` gives them.

        Returns
        -------
        ndarray of float32 of shape (n_rows, n_classes)
            As `predict_proba`.

        Raises
        ------
        sklearn.exceptions.NotFittedError, CausalMixError
            As `predict_proba`.
        """
        check_is_fitted(self, "classes_")
        queries = self._encoder.transform(features)
        return self._encoder.predict_proba(self.tfm_.network, queries, len(self.classes_))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of every row.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
            As in `predict_proba`.

        Returns
        -------
        ndarray of shape (n_rows,)
            Elements of ``classes_``.

        Raises
        ------
        ValueError
            As `predict_proba`.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of rows that are predicted right.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
            As in `predict_proba`.
        y : array-like of shape (n_rows,)
            True labels, read as `fit` reads them.
        sample_weight : array-like of shape (n_rows,), optional
            Weights of the rows.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            As `predict_proba`.
        """
        return super().score(X, fit_input.as_labels(y), sample_weight)

    def save(self, path: str | Path) -> Path:
        """Write the fitted classifier to a folder, in one step and without pickle.

        The folder holds the rows given to `fit`, because predictions need them: share it only
        where these may be shared.

        Parameters
        ----------
        path : str or Path
            Folder to write. An earlier classifier there is replaced, if nothing else is there; a
            link is followed.

        Returns
        -------
        Path

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        CheckpointError
            If `path` holds something else too, or its parent is no folder.
        CausalMixError
            If a parameter or the class labels cannot be written as JSON, or the folder cannot be
            written.
        """
        check_is_fitted(self, "classes_")
        persistence.save_folder(Path(path), self, self._fitted)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto") -> CausalMixClassifier:
        """Read a classifier that `save` wrote.

        Parameters
        ----------
        path : str or Path
            The folder.
        device : str, default="auto"
            Where to run it, whatever it was fitted on.

        Returns
        -------
        CausalMixClassifier
            Fitted; predicts the same.

        Raises
        ------
        CheckpointError
            If the folder is no saved classifier, is damaged, or has a file that is not the one that
            was saved; says which file lacks what.
        CausalMixError
            If the device is absent.
        """
        known = cls._get_param_names()
        fitted, parameters, learned = persistence.load_folder(Path(path), device, known)
        classifier = cls(**parameters | {"device": device})
        vars(classifier).update(learned)
        classifier._restore(fitted)
        return classifier

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        for kind in ("allow_nan", "categorical", "string"):
            setattr(tags.input_tags, kind, True)
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "_fitted" in state:  # the encoder is made again; weights travel on the CPU
            del state["_encoder"], state["tfm_"]
            fitted = state["_fitted"]
            state["_fitted"] = dataclasses.replace(fitted, tfm=fitted.tfm.to("cpu"))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_fitted" in state:
            try:
                tfm = self._fitted.tfm.to(self.device)
            except CausalMixError:  # fitted on a GPU, unpickled where there is none
                tfm = self._fitted.tfm
            self._restore(dataclasses.replace(self._fitted, tfm=tfm))

    def _fit(self, X: Any, y: Any) -> None:
        start = time.perf_counter()
        config = fit_parameters.check_parameters(self)
        seed = fit_input.draw_seed(self.random_state)
        options = fit_input.generator_options(self, config)
        generator = fit_input.seeded_generator(self.generator, options, seed)
        frame = fit_input.read_frame(self, X)
        classes, codes = fit_input.read_labels(y)
        check_consistent_length(frame, codes)
        said = getattr(X, "attrs", {})
        schema, features, notes = TableSchema.learn(
            frame,
            self.columns,
            decimal_comma=bool(said.get("decimal_comma", False)),
            known=said.get("diagnoses"),
        )
        dataset = fit_input.as_dataset(features, classes, codes, getattr(y, "name", None))
        train, val, more = fit_input.split_rows(dataset, self.n_val, seed, steps=config.steps)
        for warning in [*notes, *more]:
            warnings.warn(warning, stacklevel=3)
        result = finetune(
            load_tfm(self.tfm, device=self.device),
            Split(train, val, dataset.take([]), seed),
            generator=generator,
            config=config,
            n_estimators=self.n_estimators,
            seed=seed,
            progress=self.progress,
        )
        self.history_ = result.history
        self._schema = schema
        columns = list(frame.columns)
        self._restore(persistence.Fitted(result.tfm, dataset, columns, self.n_estimators, seed))
        seconds = time.perf_counter() - start
        self.report_ = make_report(result, n_val=val.n_rows, seconds=seconds)
        self.classes_ = classes
        gained = self.report_.kept == "fine_tuned" and self.report_.gain > 0
        if config.steps and not gained:
            warnings.warn(_say(self.report_), FinetuningWarning, stacklevel=3)

    def _restore(self, fitted: persistence.Fitted) -> None:
        """Take over fitted state, and fit the ensemble's preprocessing on all rows."""
        self._fitted, self.tfm_ = fitted, fitted.tfm
        with own_settings():
            self._encoder = fitted.encoder()


def _say(report: FitReport) -> str:
    """Say in front of the reason what fine-tuning was worth, and what predicts."""
    used = {
        "zero_shot": "The model predicts as without fine-tuning",
        "fine_tuned": "The fine-tuned weights are used",
    }[report.kept]
    measured = f" ({report.measured})" if report.measured else ""
    return f"Fine-tuning: {report.verdict}. {used}{measured}. {report.reason}"
