"""Tabular foundation models: load, check, copy, save, and run with gradients.

`FoundationModel` states what fine-tuning needs of a model. `TabPFNModel` is one, and speaks
TabPFN's own checkpoint format, so that a file saved here loads with
``TabPFNClassifier(model_path=...)`` and an official checkpoint loads here;
`causalmix.tfm.tabicl.TabICLModel` and `causalmix.tfm.tabdpt.TabDPTModel` are others. Nothing is
ever downloaded: a missing file is an error that says where it belongs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.file_download import repo_folder_name
from tabpfn import TabPFNClassifier
from tabpfn.architectures import ARCHITECTURES
from tabpfn.base import ModelSpecs
from tabpfn.constants import ModelVersion
from tabpfn.errors import TabPFNValidationError
from tabpfn.inference_config import InferenceConfig
from tabpfn.model_loading import resolve_model_path

from causalmix.data.own_settings import own_settings
from causalmix.errors import CheckpointError, DataError, check_name, check_type, naming
from causalmix.manifest import file_hash
from causalmix.tfm.checkpoint import (
    OTHERS,
    build_network,
    check_sizes,
    other_model,
    read_checkpoint,
    write_checkpoint,
)
from causalmix.tfm.device import find_device
from causalmix.tfm.encoding import Encoder, TabPFNEncoder, blurred_columns, scaled

EMBEDDED_CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "causalmix-tfm.safetensors"

OFFICIAL_VERSIONS = ("v2", "v2.5", "v2.6", "v3", "v3.5")

OTHER_VERSIONS = {
    "tabicl-v1": ("jingang/TabICL", "tabicl-classifier-v1-20250208.ckpt"),
    "tabicl-v1.1": ("jingang/TabICL", "tabicl-classifier-v1.1-20250506.ckpt"),
    "tabicl-v2": ("jingang/TabICL", "tabicl-classifier-v2-20260212.ckpt"),
    "tabdpt-v1.3": ("Layer6/TabDPT", "tabdpt1_3.safetensors"),
}
"""Official versions of TabICL and TabDPT: the repository at Hugging Face, and the file."""

_TABPFN_HINT = (
    "The official TabPFN weights are licensed apart from the software, most versions for "
    "non-commercial use only, and are not downloaded here. Accept the licence and get the "
    "file from Prior Labs, put it there or set TABPFN_MODEL_CACHE_DIR, or pass its path "
    "instead of the version. 'embedded' needs no download."
)
_OTHER_HINT = (
    "The official weights have a licence of their own and are not downloaded here. Read it, get "
    "the file from Hugging Face ({}) by its own tools, or pass its path instead of the version. "
    "'embedded' needs no download."
)

_SUFFIXES = (".safetensors", ".ckpt")

# Checkpoints of the first releases name no architecture, or call it "base".
_OLD_ARCHITECTURE_NAMES = {None: "tabpfn_v2", "base": "tabpfn_v2_5"}

# What building a network from a configuration that is not its own may raise.
_MISFITS = (RuntimeError, TypeError, ValueError, ArithmeticError, AssertionError, MemoryError)

_MOST_ESTIMATORS = 1024


@dataclass(frozen=True)
class Limits:
    """Largest table that a model accepts.

    Attributes
    ----------
    max_rows : int
        Training rows; of TabPFN on a CPU the smaller limit that it sets there.
    max_features : int
        Columns.
    max_classes : int
        Classes of the target.
    """

    max_rows: int
    max_features: int
    max_classes: int


@dataclass(frozen=True)
class EnsembleSettings:
    """What predictions depend on beside the weights, where that is not TabPFN's configuration.

    Attributes
    ----------
    N_ESTIMATORS : int
        Members of the ensemble.
    SOFTMAX_TEMPERATURE : float
        What the members' mean logits are divided by.
    """

    N_ESTIMATORS: int = 8
    SOFTMAX_TEMPERATURE: float = 1.0


@dataclass(frozen=True, eq=False)
class FoundationModel(ABC):
    """A network with what is needed to run it, to fine-tune it and to save it.

    The network takes rows (R, B, C) and class codes of the first of them (R_context, B), and what
    else an architecture of TabPFN takes, and gives logits of the other rows (R_query, B, K).

    Attributes
    ----------
    network : torch.nn.Module
        The architecture with its weights, in evaluation mode.
    architecture_name : str
        Name in `tabpfn.architectures`, for example ``"tabpfn_v3"``, or of another
        package, as ``"tabicl"``.
    config : dict
        Configuration of the architecture.
    inference_config : dataclass
        Settings of the ensemble and what else predictions depend on: TabPFN's
        `tabpfn.inference_config.InferenceConfig`, or `EnsembleSettings`.
    name : str
        The name it was asked for by.
    source : str
        Name of the file it was read from.
    file_hash : str
        SHA-256 (hex) of that file, byte by byte. Another file with the same weights may have
        another one; their `content_hash` is the same.
    """

    network: torch.nn.Module
    architecture_name: str
    config: dict[str, Any]
    inference_config: Any
    name: str
    source: str
    file_hash: str = ""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.network.parameters()).device

    @property
    @abstractmethod
    def limits(self) -> Limits:
        """Largest table that the model accepts on its device."""

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of architecture and weights, wherever they are stored and in which order.

        Inference settings, which lie beside the weights, do not change it; see `run_hash`.
        """
        digest = _digest([self.architecture_name, self.config])
        for key, tensor in sorted(self.network.state_dict().items()):
            digest.update(key.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()

    @property
    def run_hash(self) -> str:
        """First digits of `content_hash` and of a hash of the inference settings.

        Changes with whatever may change a prediction: what rows of results are keyed by.
        """
        settings = _digest(dataclasses.asdict(self.inference_config)).hexdigest()
        return f"{self.content_hash[:16]}-{settings[:8]}"

    @property
    def hashes(self) -> str:
        """Both hashes in words: of the file, where there is one, and of the content."""
        stored = f"file SHA-256 {self.file_hash[:16]}, " if self.file_hash else ""
        return f"{stored}content SHA-256 {self.content_hash[:16]}"

    def with_settings(self, **settings: Any) -> FoundationModel:
        """Return the same weights with other inference settings.

        Parameters
        ----------
        **settings
            Fields of `inference_config`, as ``N_ESTIMATORS=8``.

        Returns
        -------
        FoundationModel
        """
        changed = dataclasses.replace(self.inference_config, **settings)
        return dataclasses.replace(self, inference_config=changed)

    def copy(self) -> FoundationModel:
        """Return the same model with weights of its own."""
        return dataclasses.replace(self, network=deepcopy(self.network))

    def to(self, device: str) -> FoundationModel:
        """Return the same model with weights of its own on a device.

        Parameters
        ----------
        device : str
            As in `load_tfm`.

        Returns
        -------
        FoundationModel

        Raises
        ------
        CausalMixError
            If the device is unknown or absent.
        """
        return dataclasses.replace(self, network=deepcopy(self.network).to(find_device(device)))

    def save(self, path: str | Path) -> Path:
        """Write a checkpoint that `load_tfm` loads, and TabPFN's own classifier where it is one.

        Parameters
        ----------
        path : str or Path
            File to write, ending in ``.safetensors``. An existing one is replaced in one step.

        Returns
        -------
        Path

        Raises
        ------
        CheckpointError
            If the suffix is another one.
        """
        path = Path(path)
        if path.suffix != ".safetensors":
            raise CheckpointError(f"A model is saved as .safetensors, not as {path.name!r}.")
        checkpoint = {
            "state_dict": dict(self.network.state_dict()),
            "config": self.config,
            "architecture_name": self.architecture_name,
            "inference_config": dataclasses.asdict(self.inference_config),
        }
        write_checkpoint(path, checkpoint)
        return path

    def check(self, n_rows: int, n_features: int, n_classes: int) -> None:
        """Raise if a table is larger than the model accepts.

        Parameters
        ----------
        n_rows : int
            Training rows.
        n_features : int
            Columns without the target.
        n_classes : int
            Classes of the target.

        Raises
        ------
        DataError
            Naming the limit that is exceeded; also for a target with one class.
        """
        if n_classes < 2:
            raise DataError("The target has only one class; classification needs two or more.")
        ways_out = (
            (n_rows, "training rows", "Draw a subsample of the rows."),
            (n_features, "features", "Select some of the columns."),
            (n_classes, "classes", "Merge rare classes."),
        )
        limits = dataclasses.astuple(self.limits)
        for limit, (count, what, way_out) in zip(limits, ways_out, strict=True):
            if count > limit:
                raise DataError(
                    f"The table has {count:,} {what}; the foundation model {self.name!r} takes "
                    f"at most {limit:,}. {way_out}"
                )

    @abstractmethod
    def encoder(
        self,
        X: pd.DataFrame,
        y: np.ndarray,
        *,
        n_estimators: int | None = None,
        random_state: int = 0,
    ) -> Encoder:
        """Fit the preprocessing of each ensemble member, once, on labelled real rows.

        Parameters
        ----------
        X : pandas.DataFrame
            Features; columns of dtype ``category`` are categorical, missing values are allowed.
        y : numpy.ndarray
            Class codes from 0, integers of shape (rows,).
        n_estimators : int, optional
            Members of the ensemble; by default as many as the checkpoint asks for.
        random_state : int, default=0
            Seed of the ensemble's shuffles.

        Returns
        -------
        Encoder
            Gives logits of this network, or of a copy in training; probabilities equal those of the
            model's own classifier.

        Raises
        ------
        DataError
            If the table exceeds the model's limits; of some models, if all columns have a single
            value.
        """


@dataclass(frozen=True, eq=False)
class TabPFNModel(FoundationModel):
    """A network of one of TabPFN's architectures; attributes as of `FoundationModel`."""

    classes_setting: ClassVar[str] = "max_num_classes"

    @property
    def limits(self) -> Limits:
        """Largest table that the model accepts on its device."""
        inference = self.inference_config
        max_rows = inference.MAX_NUMBER_OF_SAMPLES
        if self.device.type == "cpu":
            max_rows = min(max_rows, inference.MAX_CPU_SAMPLES)
        max_classes = min(inference.MAX_NUMBER_OF_CLASSES, self.config["max_num_classes"])
        return Limits(max_rows, inference.MAX_NUMBER_OF_FEATURES, max_classes)

    def classifier(
        self, *, n_estimators: int | None = None, random_state: int = 0
    ) -> TabPFNClassifier:
        """Make an unfitted TabPFN classifier on a copy of these weights, in single precision.

        Parameters
        ----------
        n_estimators : int, optional
            Members of the ensemble; by default as many as the checkpoint asks for.
        random_state : int, default=0
            Seed of the ensemble's shuffles.

        Returns
        -------
        tabpfn.TabPFNClassifier
        """
        return _classifier(self.copy(), n_estimators, random_state)

    @own_settings()
    def encoder(
        self,
        X: pd.DataFrame,
        y: np.ndarray,
        *,
        n_estimators: int | None = None,
        random_state: int = 0,
    ) -> Encoder:
        """Fit TabPFN's preprocessing; see `FoundationModel.encoder`.

        Columns that single precision would blur are scaled before
        (`causalmix.tfm.encoding.blurred_columns`), which TabPFN's own classifier does not do.
        """
        codes = np.asarray(y, dtype=np.int64)  # pandas counts categories in int8
        self.check(len(X), X.shape[1], codes.max() + 1)
        classifier = _classifier(self, n_estimators, random_state)
        scales = blurred_columns(X)
        X = scaled(X, scales)
        with warnings.catch_warnings():
            # Written for networks many times larger than the embedded one.
            warnings.filterwarnings("ignore", "Running on CPU with more than", UserWarning)
            try:
                classifier.fit(X, codes)
            except TabPFNValidationError as error:
                if "constant" not in str(error):
                    raise
                raise DataError(
                    f"Every column has a single value in the {len(X)} rows that the model gets; "
                    "a part of a table with rare values may. Give more rows or columns, or draw "
                    "that part by another seed (random_state)."
                ) from error
        return TabPFNEncoder(classifier, codes, self.limits.max_classes, scales)


@own_settings()
def load_tfm(name: str | Path = "embedded", *, device: str = "cpu") -> FoundationModel:
    """Load a foundation model for classification.

    Parameters
    ----------
    name : str or Path, default="embedded"
        ``"embedded"`` (the small model that comes with the package), a path to a
        ``.safetensors`` or ``.ckpt`` file, or an official version, one of `OFFICIAL_VERSIONS` and
        `OTHER_VERSIONS`, whose file must already lie where its package keeps it. Files of
        TabICL and TabDPT are known by their content.
    device : str, default="cpu"
        Device of the weights; ``"auto"`` takes a CUDA device where there is one.

    Returns
    -------
    FoundationModel

    Raises
    ------
    UnknownNameError
        If `name` is neither a path nor a known name.
    CheckpointError
        If the file is missing, unreadable, unsafe to read, or not a classifier's, or a package
        that it needs is not installed.
    CausalMixError
        If the device is unknown or absent.
    """
    where = find_device(device)
    check_type("name", name, "str | Path")
    path = _checkpoint_path(name)
    checkpoint = read_checkpoint(path)
    config = dict(checkpoint["config"])
    stored_name = checkpoint.get("architecture_name")
    if stored_name is None and "row_num_cls" in config:
        stored_name = "tabicl"
    architecture_name = _OLD_ARCHITECTURE_NAMES.get(stored_name, stored_name)
    if architecture_name not in (*ARCHITECTURES, *OTHERS):
        known = ", ".join((*ARCHITECTURES, *OTHERS))
        raise CheckpointError(
            f"{path.name} is of the unknown architecture {architecture_name!r}. Known: {known}."
        )
    kind = other_model(architecture_name) if architecture_name in OTHERS else TabPFNModel
    n_classes = config.get(kind.classes_setting, 0)
    if not isinstance(n_classes, int) or n_classes < 2:
        raise CheckpointError(f"{path.name} is a regression checkpoint, not a classification one.")
    # A multi-task checkpoint may carry the regression loss; it is no part of the network.
    weights = {k: v for k, v in checkpoint["state_dict"].items() if "criterion." not in k}
    try:
        check_sizes(architecture_name, config, weights)
        network = build_network(architecture_name, config)
        network.load_state_dict(weights)
        inference_config = _inference_config(checkpoint, architecture_name)
    except _MISFITS as error:
        why = str(error).splitlines()[0] if str(error) else "its sizes do not go together."
        raise CheckpointError(
            f"{path.name} does not fit the architecture {architecture_name}: {why}"
        ) from error
    return kind(
        network.eval().to(where),
        architecture_name,
        config,
        inference_config,
        name=path.name if path.suffix == Path(name).suffix else str(name),
        source=path.name,
        file_hash=file_hash(path),
    )


def _digest(settings: Any) -> Any:
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())


def official_path(version: str) -> Path:
    """Say where its package keeps the weights of an official version, be they there or not.

    Parameters
    ----------
    version : str
        One of `OFFICIAL_VERSIONS`, or of `OTHER_VERSIONS`.

    Returns
    -------
    Path
    """
    if version in OTHER_VERSIONS:
        repository, file = OTHER_VERSIONS[version]
        found = try_to_load_from_cache(repository, file)
        folder = repo_folder_name(repo_id=repository, repo_type="model")
        place = Path(constants.HF_HUB_CACHE, folder, "snapshots", "main", file)
        return Path(found) if isinstance(found, str) else place
    paths, *_ = resolve_model_path(None, "classifier", ModelVersion(version).value)
    return paths[0]


def _classifier(
    model: TabPFNModel, n_estimators: int | None, random_state: int
) -> TabPFNClassifier:
    """Make a classifier that holds `model`'s own network, not a copy."""
    parsed, _ = ARCHITECTURES[model.architecture_name].parse_config(model.config)
    return TabPFNClassifier(
        model_path=ModelSpecs(model.network, parsed, deepcopy(model.inference_config)),
        n_estimators="auto" if n_estimators is None else n_estimators,
        device=str(model.device),
        inference_precision=torch.float32,  # "auto" is bfloat16 on some processors only
        random_state=random_state,
    )


def _checkpoint_path(name: str | Path) -> Path:
    """Find the file a name stands for; the file exists."""
    if name == "embedded":
        path, hint = EMBEDDED_CHECKPOINT, "Reinstall the package."
    elif isinstance(name, Path) or name.endswith(_SUFFIXES) or "/" in name or os.sep in name:
        path, hint = Path(name), "Check the path."
        if path.suffix not in _SUFFIXES:
            raise CheckpointError(f"{path} is no checkpoint: expected {' or '.join(_SUFFIXES)}.")
    else:
        check_name(name, ("embedded", *OFFICIAL_VERSIONS, *OTHER_VERSIONS), "foundation model")
        path = official_path(name)
        hint = _TABPFN_HINT
        if name in OTHER_VERSIONS:
            hint = _OTHER_HINT.format(OTHER_VERSIONS[name][0])
    with naming(path, "a checkpoint", hint, CheckpointError):
        found = path.is_file()
    if not found:
        raise CheckpointError(f"No checkpoint at {path}. {hint}")
    return path


def _inference_config(checkpoint: Mapping[str, Any], architecture_name: str) -> Any:
    """Inference settings of a checkpoint; the first two versions of TabPFN did not store any."""
    stored = dict(checkpoint.get("inference_config") or {})
    estimators = stored.get("N_ESTIMATORS")  # or "auto"
    if isinstance(estimators, int) and not 1 <= estimators <= _MOST_ESTIMATORS:
        raise ValueError(f"N_ESTIMATORS is {estimators:,}, not from 1 to {_MOST_ESTIMATORS:,}.")
    if architecture_name in OTHERS:
        return dataclasses.replace(other_model(architecture_name).settings, **stored)
    if not stored:
        version = ModelVersion.V2 if architecture_name == "tabpfn_v2" else ModelVersion.V2_5
        return InferenceConfig.get_default("multiclass", version)
    if "CONSTANT_FEATURE_COUNT" in stored:  # the name until version 8 of the library
        count = stored.pop("CONSTANT_FEATURE_COUNT")
        stored["FEATURE_SUBSAMPLING_CONSTANT_FEATURE_COUNT"] = count
    return InferenceConfig(**stored)
