"""Differentiable predictions: a fitted preprocessing without its estimator around it.

`Encoder` and `Member` state what fine-tuning needs; here are TabPFN's, too. `TabPFNClassifier`
prepares a table once per ensemble member (scaled and shuffled columns, permuted classes) and hands
it to the network. Fine-tuning needs the network's logits with gradients, for ever new context and
query rows. So the preprocessing is fitted once on real rows, and any rows, real or synthetic, go
through it. With the fitted rows as context the result equals `TabPFNClassifier.predict_proba`.

Shapes: R rows, C columns after preprocessing, B tasks, K classes (as many as the model knows).
"""

from __future__ import annotations

import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from tabpfn import TabPFNClassifier
from tabpfn.architectures.interface import PerformanceOptions
from tabpfn.base import check_input_shape_matches
from tabpfn.preprocessing.clean import clean_data_transform
from tabpfn.preprocessing.datamodel import FeatureModality
from tabpfn.validation import ensure_compatible_predict_input_sklearn

from causalmix.data.own_settings import own_settings
from causalmix.tfm.device import Portions

# Log-odds of a class that the context lacks, against all classes it has: a probability of about
# 1e-7, finite so that the loss of a query row of that class is too.
_ABSENT_LOG_ODDS = -16.0

_TIMED_ROWS = 100

# Cells of a batch of tasks from which a step computes layers anew on its way back: that takes some
# more time, and about half of the memory.
_RECOMPUTED_CELLS = 40_000

_LEAST_DEVIATION, _LARGEST = 1e-4, 1e30  # of numbers that single precision does not blur

_QUERY_ROWS = 2048  # in one forward pass; rows do not see each other, so this only bounds memory


def memory_options(network: torch.nn.Module, rows: torch.Tensor) -> PerformanceOptions:
    """Return how a network handles tasks: as it does by default, but for the memory of large ones.

    Parameters
    ----------
    network : torch.nn.Module
        Architecture of TabPFN.
    rows : torch.Tensor
        Of all tasks, shape (R, B, C).

    Returns
    -------
    tabpfn.architectures.interface.PerformanceOptions
        Results are the same.
    """
    large = rows.numel() > _RECOMPUTED_CELLS
    return replace(network.get_default_performance_options(), force_recompute_layer=large)


class Member(ABC):
    """One member of an ensemble: rows as it sees them, and the logits of a network on these.

    Attributes
    ----------
    context : torch.Tensor
        The rows that the preprocessing was fitted on, float32 of shape (R, C).
    class_permutation : torch.Tensor
        ``class_permutation[k]`` is the code by which the network knows class k, int64 (K,).
    categorical : list of int
        Categorical columns among the C, which some architectures treat apart.
    """

    context: torch.Tensor
    class_permutation: torch.Tensor
    categorical: list[int]

    @abstractmethod
    def transform(self, cleaned: np.ndarray) -> torch.Tensor:
        """Transform rows that `Encoder` has cleaned: (R, columns) → float32 (R, C)."""

    def logits(
        self,
        network: torch.nn.Module,
        x_context: torch.Tensor,
        y_context: torch.Tensor,
        x_query: torch.Tensor,
    ) -> torch.Tensor:
        """Logits of query rows given labelled context rows, with gradients.

        Parameters
        ----------
        network : torch.nn.Module
            Architecture of TabPFN, or another one with its signature.
        x_context, x_query : torch.Tensor
            Transformed rows of shapes (R_context, B, C) and (R_query, B, C).
        y_context : torch.Tensor
            Class codes of the context, int64 of shape (R_context, B).

        Returns
        -------
        torch.Tensor
            Shape (R_query, B, K), classes in their original order. Classes that the context
            lacks get a probability of about 1e-7 each.
        """
        n_tasks, n_classes = y_context.shape[1], len(self.class_permutation)
        # (B, K): takes a class to the network's code
        permutation = self.class_permutation.to(y_context.device).expand(n_tasks, -1)
        codes = permutation.gather(1, y_context.T)  # (B, R_context)
        # The codes are made dense, because v2 does it by itself: {0, 2} would come back as {0, 1}.
        present = torch.zeros_like(permutation, dtype=torch.bool).scatter_(1, codes, True)
        rank = present.cumsum(dim=1) - 1  # code → dense code
        rows = torch.cat([x_context, x_query])
        output = network(
            rows,
            rank.gather(1, codes).T.to(x_context.dtype),
            task_type="multiclass",
            categorical_inds=[self.categorical] * n_tasks,
            performance_options=memory_options(network, rows),
        )[..., :n_classes].float()  # (R_query, B, K): dense codes, padded
        padding = torch.arange(n_classes, device=output.device) >= present.sum(dim=1, keepdim=True)
        output = output.masked_fill(padding, -torch.inf)
        absent = output.detach().logsumexp(dim=-1, keepdim=True) + _ABSENT_LOG_ODDS
        dense = torch.where(present, rank, n_classes).gather(1, permutation)  # class → dense code
        return torch.cat([output, absent], dim=-1).gather(-1, dense.expand(len(output), -1, -1))


class TabPFNMember(Member):
    """TabPFN's fitted preprocessing of one ensemble member; made by `TabPFNEncoder`."""

    def __init__(self, member: Any, classes: np.ndarray, n_classes: int) -> None:
        self._member = member
        self._fitted = torch.as_tensor(np.asarray(member.X_train), dtype=torch.float32)
        permutation = member.config.class_permutation
        self.class_permutation = complete_permutation(permutation, classes, n_classes)
        self.context, schema = self._on_tensor(self._fitted)
        self.categorical = schema.indices_for(FeatureModality.CATEGORICAL)

    def transform(self, cleaned: np.ndarray) -> torch.Tensor:
        """Transform rows that `Encoder` has cleaned: (R, columns) → float32 (R, C)."""
        rows = np.asarray(self._member.transform_X_test(cleaned))
        rows = torch.as_tensor(rows, dtype=torch.float32)
        # The last steps are fitted anew on each call: give them the fitted rows, then drop those.
        transformed, _ = self._on_tensor(torch.cat([self._fitted, rows]))
        return transformed[len(self._fitted) :]

    def _on_tensor(self, rows: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """Run the steps that TabPFN applies to tensors; they are fitted on the first rows."""
        steps, schema = self._member.gpu_preprocessor, self._member.feature_schema
        if steps is None:
            return rows, schema
        result = steps(rows, feature_schema=schema, num_train_rows=len(self._fitted))
        return result.x, result.feature_schema


class Encoder(ABC):
    """Fitted preprocessing of all ensemble members; made by `FoundationModel.encoder`.

    Parameters
    ----------
    members : sequence of Member
        The ensemble.
    y : numpy.ndarray
        Class codes of the fitted rows.
    device : torch.device
        Of the network.
    temperature : float
        What logits are divided by.
    """

    def __init__(
        self, members: Sequence[Member], y: np.ndarray, device: torch.device, temperature: float
    ) -> None:
        self.members, self._device, self._temperature = tuple(members), device, temperature
        self._y = torch.as_tensor(y, dtype=torch.int64, device=device)
        self._portions = Portions(
            "rows to predict",
            f"A prediction does not fit into the memory of the device '{self._device}' with "
            f"{len(y)} labelled rows as context, not even for one row. Give fewer of them, or use "
            "another device.",
            most=_QUERY_ROWS,
        )

    @property
    def n_classes(self) -> int:
        """Classes that the network knows."""
        return len(self.members[0].class_permutation)

    @abstractmethod
    def transform(self, X: pd.DataFrame) -> list[torch.Tensor]:
        """Transform rows for every member.

        Parameters
        ----------
        X : pandas.DataFrame
            Rows with the columns of the fitted table; categories are matched by their names, and
            one that the fitted rows lack counts as missing.

        Returns
        -------
        list of torch.Tensor
            One float32 tensor (R, C) a member, on the model's device.
        """

    def prepare_prior(self, x: torch.Tensor, n_context: int) -> torch.Tensor:
        """Prepare the rows of tasks that have nothing to do with the fitted table.

        Parameters
        ----------
        x : torch.Tensor
            Rows of shape (R, B, C) on any scale, gaps are NaN; context rows come first.
        n_context : int
            Number of context rows.

        Returns
        -------
        torch.Tensor
            Of the same shape; here the same, because TabPFN's networks scale and fill rows.
        """
        return x

    @torch.no_grad()
    def predict_proba(
        self, network: torch.nn.Module, x_query: Sequence[torch.Tensor], n_classes: int
    ) -> np.ndarray:
        """Class probabilities given the fitted rows, averaged over the members.

        Equal to the `predict_proba` of the model's own classifier with the same weights in single
        precision.

        Parameters
        ----------
        network : torch.nn.Module
            As `Member.logits` takes it, in evaluation mode.
        x_query : sequence of torch.Tensor
            Rows as `transform` gives them.
        n_classes : int
            Number of classes of the target.

        Returns
        -------
        numpy.ndarray
            Shape (R, n_classes), rows sum to one.

        Raises
        ------
        CausalMixError
            If one row and the fitted ones are too many for the memory of the device.
        """

        def predict(size: int) -> np.ndarray:  # rows do not see each other
            parts = zip(*(rows.split(size) for rows in x_query), strict=True)
            return np.concatenate([self._predict(network, part, n_classes) for part in parts])

        return self._portions.run(len(x_query[0]), predict)

    def first(self, n: int) -> Self:
        """Return the encoder of the first `n` members alone."""
        fewer = copy(self)
        fewer.members = self.members[:n]
        return fewer

    @torch.no_grad()
    def row_seconds(self, network: torch.nn.Module) -> float:
        """Time a forward pass of a few rows; return about what each row takes a member.

        Parameters
        ----------
        network : torch.nn.Module
            As `Member.logits` takes it.

        Returns
        -------
        float
            Seconds.
        """
        for n in (8, _TIMED_ROWS):  # the first pass prepares the device
            rows, labels = self.members[0].context[:n, None].to(self._device), self._y[:n, None]
            start = time.perf_counter()
            self.members[0].logits(network, rows, labels, rows).cpu()
        return (time.perf_counter() - start) / (2 * len(rows))

    def _predict(
        self, network: torch.nn.Module, x_query: Sequence[torch.Tensor], n_classes: int
    ) -> np.ndarray:
        """Class probabilities from a single forward pass for each member."""
        logits = []
        for member, query in zip(self.members, x_query, strict=True):
            context = member.context[:, None].to(self._device)
            logits.append(member.logits(network, context, self._y[:, None], query[:, None])[:, 0])
        tempered = torch.stack(logits)[..., :n_classes] / self._temperature
        return self._vote(tempered).cpu().numpy()

    @staticmethod
    def _vote(logits: torch.Tensor) -> torch.Tensor:
        """Class probabilities of an ensemble: (members, R, K) → (R, K)."""
        return logits.softmax(dim=-1).mean(dim=0)


class TabPFNEncoder(Encoder):
    """TabPFN's fitted preprocessing; made by `TabPFNModel.encoder`.

    Parameters
    ----------
    classifier : TabPFNClassifier
        Fitted.
    y : numpy.ndarray
        The class codes that it was fitted on.
    n_classes : int
        As many as the network knows.
    scales : mapping of hashable to (float, float), optional
        As `blurred_columns` gives it; the classifier was fitted on rows that are scaled so.
    """

    def __init__(
        self,
        classifier: TabPFNClassifier,
        y: np.ndarray,
        n_classes: int,
        scales: Mapping[Hashable, tuple[float, float]] | None = None,
    ) -> None:
        self._classifier, self._scales = classifier, scales or {}
        members = [
            TabPFNMember(member, np.asarray(classifier.classes_), n_classes)
            for member in classifier.executor_.ensemble_members
        ]
        super().__init__(members, y, classifier.devices_[0], classifier.softmax_temperature_)

    @own_settings()
    def transform(self, X: pd.DataFrame) -> list[torch.Tensor]:
        """Transform rows for every member; see `Encoder.transform`."""
        classifier, X = self._classifier, scaled(X, self._scales)
        check_input_shape_matches(X, estimator=classifier)
        schema = classifier.inferred_feature_schema_
        with warnings.catch_warnings():
            # Said of a column of numbers that the fitted rows have none of; to it these are gaps.
            warnings.filterwarnings("ignore", r"Column\(s\) .* have a dtype", UserWarning)
            cleaned = clean_data_transform(
                ensure_compatible_predict_input_sklearn(X, classifier),
                cat_indices=schema.indices_for(FeatureModality.CATEGORICAL),
                ord_encoder=classifier.ordinal_encoder_,
            )
        # One row alone is rounded otherwise than among others, and TabPFN's hash of it another one.
        rows = np.concatenate([cleaned] * 2) if len(X) == 1 else cleaned
        made = (member.transform(rows) for member in self.members)
        return [each[: len(X)].to(self._device) for each in made]


def blurred_columns(X: pd.DataFrame) -> dict[Hashable, tuple[float, float]]:
    """Find the columns of numbers that single precision would blur.

    Some of an ensemble's members see numbers as they are, and a network adds about 1e-6 to a
    deviation before it divides by it.

    Parameters
    ----------
    X : pandas.DataFrame
        Context rows.

    Returns
    -------
    dict of hashable to (float, float)
        Mean and deviation, where this is below 1e-4, or 1e-4 of the largest number, or where a
        number is beyond 1e30. Tables seldom have such columns; all others stay as they are.
    """
    numbers = X.select_dtypes("number").astype(np.float64)
    largest, deviation = numbers.abs().max(), numbers.std()
    blurred = (deviation < _LEAST_DEVIATION * np.maximum(largest, 1.0)) | (largest > _LARGEST)
    names = deviation.index[blurred & (deviation > 0)]
    return {name: (float(numbers[name].mean()), float(deviation[name])) for name in names}


def scaled(X: pd.DataFrame, scales: Mapping[Hashable, tuple[float, float]]) -> pd.DataFrame:
    """Return rows with some columns less a mean, divided by a deviation."""
    X = X.copy(deep=False)
    for name, (mean, deviation) in scales.items():
        X[name] = (X[name] - mean) / deviation
    return X


class ShuffledMember(Member):
    """Rows that are scaled, and whose columns come in an order of the member's own.

    Parameters
    ----------
    scale : callable
        Scales cleaned rows.
    context : numpy.ndarray
        The fitted rows, scaled.
    columns : sequence of int
        The order of the columns.
    class_permutation : torch.Tensor
        As `Member.class_permutation`.
    """

    def __init__(
        self,
        scale: Callable[[np.ndarray], np.ndarray],
        context: np.ndarray,
        columns: Sequence[int],
        class_permutation: torch.Tensor,
    ) -> None:
        self._scale, self._columns = scale, list(columns)
        self.context, self.class_permutation = self._ordered(context), class_permutation
        self.categorical = []

    def transform(self, cleaned: np.ndarray) -> torch.Tensor:
        """Transform rows that the encoder has cleaned: (R, columns) → float32 (R, C)."""
        return self._ordered(self._scale(cleaned))

    def _ordered(self, scaled: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(scaled[:, self._columns], dtype=torch.float32)


class AveragingEncoder(Encoder):
    """An encoder that cleans rows by a function, and whose members' logits are averaged.

    Parameters
    ----------
    clean : callable
        Makes an array of a table.
    members, y, device, temperature
        As of `Encoder`.
    """

    def __init__(
        self,
        clean: Callable[[pd.DataFrame], np.ndarray],
        members: Sequence[Member],
        y: np.ndarray,
        device: torch.device,
        temperature: float,
    ) -> None:
        self._clean = clean
        super().__init__(members, y, device, temperature)

    @own_settings()
    def transform(self, X: pd.DataFrame) -> list[torch.Tensor]:
        """Transform rows for every member; see `Encoder.transform`."""
        cleaned = self._clean(X)
        return [member.transform(cleaned).to(self._device) for member in self.members]

    @staticmethod
    def _vote(logits: torch.Tensor) -> torch.Tensor:
        return logits.mean(dim=0).softmax(dim=-1)


def complete_permutation(
    permutation: np.ndarray | None, classes: np.ndarray, n_classes: int
) -> torch.Tensor:
    """Extend a permutation of the fitted classes to all classes; the others come last.

    Parameters
    ----------
    permutation : numpy.ndarray or None
        Codes by which a network knows the fitted classes; None for the order that they have.
    classes : numpy.ndarray
        The fitted classes, increasing.
    n_classes : int
        Number of all classes.

    Returns
    -------
    torch.Tensor
        As `Member.class_permutation`.
    """
    complete = torch.empty(n_classes, dtype=torch.int64)
    fitted = np.arange(len(classes)) if permutation is None else np.asarray(permutation)
    complete[torch.as_tensor(classes)] = torch.as_tensor(fitted, dtype=torch.int64)
    others = np.setdiff1d(np.arange(n_classes), classes)
    complete[torch.as_tensor(others)] = torch.arange(len(classes), n_classes)
    return complete
