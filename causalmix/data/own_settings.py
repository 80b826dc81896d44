"""The settings of other libraries that this package's results rest on, whatever a user has set."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pandas as pd
from sklearn import config_context


@contextmanager
def own_settings() -> Iterator[None]:
    """Run under the libraries' usual settings, and give the user's back afterwards.

    Also a decorator. scikit-learn's steps return arrays, PyTorch computes in single precision and
    records gradients and makes tensors on the CPU unless told otherwise, NumPy's floating-point
    errors raise nothing, pandas' text is of dtype object. PyTorch's global generators are where
    they were afterwards.
    """
    with ExitStack() as stack:
        stack.enter_context(
            config_context(transform_output="default", enable_metadata_routing=False)
        )
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        stack.enter_context(pd.option_context("future.infer_string", False))
        if torch := sys.modules.get("torch"):  # else its settings are still the usual ones
            stack.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float32)
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            gpus = range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)
            stack.enter_context(torch.random.fork_rng(devices=gpus))
            stack.enter_context(torch.autocast("cpu", enabled=False))
            if torch.cuda.is_available():
                stack.enter_context(torch.autocast("cuda", enabled=False))
        yield
