"""Synthetic classification tasks as pre-training draws them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "tasks": ["NO_CLASS", "PriorConfig", "TaskBatch", "sample_batch"],
    },
)
