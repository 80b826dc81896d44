"""The training of the embedded model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "adversarial": ["GameConfig", "play"],
        "comparison": ["compare_games"],
        "config": ["PretrainConfig"],
        "heldout": ["held_out_loss"],
        "run": ["pretrain"],
    },
)
