"""What can be made of the same model and rows without this package's fine-tuning."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar

from causalmix.data.splitting import Split
from causalmix.errors import CausalMixError
from causalmix.finetuning.metrics import log_loss
from causalmix.finetuning.mixing import codes_of
from causalmix.finetuning.run import predict_proba
from causalmix.tfm.model import FoundationModel, TabPFNModel


@dataclass(frozen=True)
class Alternative:
    """A way to predict without this package's fine-tuning.

    Attributes
    ----------
    label : str
        As tables and figures name it.
    predict : callable
        Takes a model, a split and a seed; returns the class probabilities of the test rows.
    """

    label: str
    predict: Callable[[FoundationModel, Split, int], np.ndarray]


def zero_shot(tfm: FoundationModel, split: Split, seed: int) -> np.ndarray:
    """Predict the test rows from training and validation rows, without training.

    Parameters
    ----------
    tfm : FoundationModel
    split : Split
    seed : int
        Of the ensemble members' preprocessing.

    Returns
    -------
    ndarray of float, shape (n_test, n_classes)
    """
    return predict_proba(tfm, split.context(), split.test.X, random_state=seed)


def tempered(tfm: FoundationModel, split: Split, seed: int) -> np.ndarray:
    """Predict as `zero_shot` does, at the temperature that fits the validation rows best.

    Parameters
    ----------
    tfm : FoundationModel
    split : Split
        The temperature is chosen with the training rows alone as context.
    seed : int

    Returns
    -------
    ndarray of float, shape (n_test, n_classes)

    Notes
    -----
    Guo et al., "On calibration of modern neural networks", ICML 2017; here between 1/4 and 4.
    """
    proba = predict_proba(tfm, split.train, split.val.X, random_state=seed)
    codes = codes_of(split.val.y)
    found = minimize_scalar(
        lambda t: log_loss(codes, at_temperature(proba, np.exp(t))),
        bounds=(-np.log(4), np.log(4)),
        method="bounded",
    )
    return at_temperature(zero_shot(tfm, split, seed), np.exp(found.x))


def at_temperature(proba: np.ndarray, temperature: float) -> np.ndarray:
    """Flatten (above 1) or sharpen (below 1) class probabilities.

    Parameters
    ----------
    proba : ndarray of float, shape (n_rows, n_classes)
    temperature : float
        Positive.

    Returns
    -------
    ndarray of float, shape (n_rows, n_classes)
    """
    logits = np.log(np.maximum(proba, np.finfo(float).tiny)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def tuned_by_tabpfn(tfm: FoundationModel, split: Split, seed: int) -> np.ndarray:
    """Predict after fine-tuning by tabpfn's own `FinetunedTabPFNClassifier`.

    Its settings are its defaults, but for the members of the ensemble, which are those of all arms,
    and the validation rows, which are as many as theirs.

    Parameters
    ----------
    tfm : FoundationModel
    split : Split
    seed : int

    Returns
    -------
    ndarray of float, shape (n_test, n_classes)

    Raises
    ------
    CausalMixError
        If the model is not one of TabPFN's.
    """
    if not isinstance(tfm, TabPFNModel):
        raise CausalMixError(f"tabpfn's own fine-tuning takes TabPFN's models, not {tfm.name!r}.")
    from tabpfn.finetuning.finetuned_classifier import FinetunedTabPFNClassifier

    context = split.context()
    members = tfm.inference_config.N_ESTIMATORS
    # Its progress bars would mix with those of the benchmark.
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        path = tfm.save(Path(folder) / "model.safetensors")
        classifier = FinetunedTabPFNClassifier(
            device=tfm.device.type,
            random_state=seed,
            validation_split_ratio=split.val.n_rows / context.n_rows,
            n_estimators_finetune=members,
            n_estimators_validation=members,
            n_estimators_final_inference=members,
            extra_classifier_kwargs={"model_path": str(path)},
        )
        with redirect_stderr(nowhere):
            classifier.fit(context.X, codes_of(context.y))
            return classifier.predict_proba(split.test.X)


ALTERNATIVES: dict[str, Alternative] = {
    "zero_shot": Alternative("Zero-shot", zero_shot),
    "zero_shot_tempered": Alternative("Zero-shot, fitted temperature", tempered),
    "tabpfn_finetuned": Alternative("tabpfn's own fine-tuning", tuned_by_tabpfn),
}
"""By name."""
