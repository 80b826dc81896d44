"""Devices: the same results where memory is short, and lower precision only where it pays."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from made_checkpoints import SMALL, write_official
from tabpfn.architectures.shared import scaled_dot_product_attention
from torch.nn.attention import SDPBackend

from causalmix.data.dataset import load_dataset
from causalmix.data.splitting import Split, low_data_split
from causalmix.errors import CausalMixError
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.run import finetune, predict_proba
from causalmix.tfm.device import autocast_dtype, find_device, tensor_cores
from causalmix.tfm.model import FoundationModel, load_tfm

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
LINUX = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 4096 bytes. Error code 12 (Cannot allocate memory)"
)
WINDOWS = RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4096 bytes.")

CONFIG = FinetuneConfig(
    steps=3,
    validate_every=1,
    tasks_per_step=4,
    rows_per_task=24,
    synthetic_tasks=0.25,
    rehearsal=0.0,
    trained="all",
    learning_rate=3e-5,
    level=1.0,
    n_synthetic=60,
)


@pytest.fixture(scope="module")
def tfm(tmp_path_factory) -> FoundationModel:
    return load_tfm(write_official("tabpfn_v3", tmp_path_factory.mktemp("tfm")))


@pytest.fixture(scope="module")
def split() -> Split:
    return low_data_split(load_dataset("wine"), 40, 20, seed=0, n_test=60)


class Repeats:
    """A generator that repeats its rows as if two models had made them."""

    def fit(self, X, y):
        self.X, self.y = X, y
        return self

    def sample(self, n, seed):
        rows = np.random.default_rng(seed).integers(len(self.X), size=n)
        return self.X.iloc[rows].reset_index(drop=True), self.y.iloc[rows].reset_index(drop=True)

    def dag_of_rows(self, n, seed):
        return np.arange(n) % 2


def short_of_memory(
    tfm: FoundationModel,
    *,
    tasks: int = 99,
    queries: int = 999,
    error: RuntimeError = CUDA,
) -> tuple[FoundationModel, list[tuple[int, ...]]]:
    """A model that fails above so many tasks in training or queries at a time; and its failures."""
    tfm, failures = tfm.copy(), []

    def check(network, inputs):
        x, y = inputs  # (R, B, C) and (R_context, B)
        too_large = x.shape[1] > tasks if network.training else len(x) - len(y) > queries
        if too_large:
            failures.append(tuple(x.shape))
            raise error

    tfm.network.register_forward_pre_hook(check)
    return tfm, failures


def untimed(history: pd.DataFrame) -> pd.DataFrame:
    return history.drop(columns="seconds")


@pytest.mark.parametrize(
    ("tasks", "error", "tried"), [(3, CUDA, []), (2, LINUX, [3]), (1, WINDOWS, [3, 2])]
)
def test_tasks_in_portions_give_the_same_gradient(tfm, split, tasks, error, tried, monkeypatch):
    """A step has three mixed tasks and a whole one of another shape."""
    gradients: list[list[torch.Tensor | None]] = []
    monkeypatch.setattr(
        torch.nn.utils,
        "clip_grad_norm_",
        lambda parameters, _: gradients.append(
            [None if p.grad is None else p.grad.clone() for p in parameters]
        ),
    )
    options = {"generator": Repeats(), "config": CONFIG, "n_estimators": 1}
    expected = finetune(tfm, split, **options).history
    scarce, failures = short_of_memory(tfm, tasks=tasks, error=error)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        got = finetune(scarce, split, **options).history
    assert [shape[1] for shape in failures] == tried  # in the first step only
    message = f"Memory ran out with 3 tasks of a step at a time; went on with {tasks},"
    assert [message in str(warning.message) for warning in caught] == [True][: len(tried)]
    largest = max(gradient.abs().max() for gradient in gradients[0] if gradient is not None)
    assert largest > 1e-2
    for whole, parts in zip(gradients[0], gradients[CONFIG.steps], strict=True):
        torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-4)
    # Rounding may turn round a pair or two of rows that are told apart by nothing else.
    pd.testing.assert_frame_equal(untimed(got), untimed(expected), atol=5e-3)


def test_a_task_that_does_not_fit_alone_is_an_error_with_a_way_out(tfm, split):
    scarce, failures = short_of_memory(tfm, tasks=0)
    message = r"One task does not fit into the memory of the device 'cpu'.*rows_per_task \(now 24\)"
    with pytest.raises(CausalMixError, match=message):
        finetune(scarce, split, config=CONFIG, n_estimators=1)
    assert [shape[1] for shape in failures] == [4, 2, 1]


def test_other_errors_of_the_network_are_not_taken_for_a_lack_of_memory(tfm, split):
    broken, failures = short_of_memory(tfm, tasks=0, error=RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        finetune(broken, split, config=CONFIG, n_estimators=1)
    assert len(failures) == 1


def test_predictions_in_portions_are_the_same(tfm, split):
    expected = predict_proba(tfm, split.train, split.test.X)
    scarce, failures = short_of_memory(tfm, queries=7)
    with pytest.warns(UserWarning, match="60 rows to predict at a time; went on with 4") as caught:
        got = predict_proba(scarce, split.train, split.test.X)
    assert len(caught) == 1
    assert [rows - 40 for rows, *_ in failures] == [60, 30, 15, 8]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


def test_validation_in_portions_gives_the_same_curves(tfm, split):
    expected = finetune(tfm, split, config=CONFIG, n_estimators=1).history
    scarce, failures = short_of_memory(tfm, queries=10)
    with pytest.warns(UserWarning, match="20 rows to predict at a time; went on with 10") as caught:
        got = finetune(scarce, split, config=CONFIG, n_estimators=1).history
    assert len(caught) == len(failures) == 1  # at step 0 only
    pd.testing.assert_frame_equal(untimed(got), untimed(expected), atol=1e-5)


def test_a_context_that_does_not_fit_is_an_error_with_a_way_out(tfm, split):
    scarce, _ = short_of_memory(tfm, queries=0)
    with pytest.raises(CausalMixError, match=r"memory .* 'cpu' with 40 labelled rows.*Give fewer"):
        predict_proba(scarce, split.train, split.test.X)


@pytest.mark.parametrize(
    ("there", "name", "found"),
    [
        (None, "mps", False),
        ("mps", "mps", True),
        ("mps", "mps:1", False),
        ("mps", "xpu", False),
        ("mps", "meta", False),
    ],
)
def test_a_device_of_any_kind_has_to_be_there(there, name, found, monkeypatch):
    accelerator = None if there is None else torch.device(there)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: accelerator)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    if found:
        assert find_device(name) == torch.device(name)
    else:
        with pytest.raises(CausalMixError, match=f"'{name}' was asked for, but PyTorch finds none"):
            find_device(name)


@pytest.mark.parametrize(
    ("device", "has_bfloat16", "dtype"),
    [
        ("cpu", True, None),
        ("mps", True, None),
        ("cuda", True, torch.bfloat16),
        ("cuda:1", False, torch.float16),
    ],
)
def test_precision_is_lowered_on_cuda_only(device, has_bfloat16, dtype, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bfloat16)
    assert autocast_dtype(torch.device(device)) is dtype


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", SMALL)
def test_lower_precision_rounds_and_changes_nothing_else(name, dtype, split, tmp_path, monkeypatch):
    if name in ("tabpfn_v2_5", "tabpfn_v2_6"):
        # As wide as the official ones: at any other width, TabPFN draws embeddings of the columns
        # in the precision of the pass, and those are other numbers.
        monkeypatch.setitem(SMALL, name, SMALL[name] | {"emsize": 192})
    tfm = load_tfm(write_official(name, tmp_path))
    options = {"config": CONFIG, "n_estimators": 1}
    exact = finetune(tfm, split, **options)
    monkeypatch.setattr("causalmix.finetuning.run.autocast_dtype", lambda device: dtype)
    rounded = finetune(tfm, split, **options)
    # Validation stays in single precision: before the first step it is the same.
    first = untimed(rounded.history).drop(columns="train_loss").iloc[0]
    pd.testing.assert_series_equal(first, untimed(exact.history).loc[0, first.index])
    losses = [result.history["train_loss"].iloc[1] for result in (exact, rounded)]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1] != losses[0]
    assert {p.dtype for p in rounded.tfm.network.parameters()} == {torch.float32}
    assert rounded.history["val_log_loss"].iloc[-1] != rounded.history["val_log_loss"].iloc[0]


def test_cudnn_attention_is_excluded_once_a_model_is_loaded(tfm):
    backends = scaled_dot_product_attention._SDPA_BACKENDS
    assert SDPBackend.CUDNN_ATTENTION not in backends
    assert SDPBackend.MATH in backends


def test_matrix_products_are_rounded_on_cuda_only_and_for_a_while():
    before = torch.get_float32_matmul_precision()
    with tensor_cores(torch.device("cpu")):
        assert torch.get_float32_matmul_precision() == before
    with tensor_cores(torch.device("cuda")):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before
