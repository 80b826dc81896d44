"""Foundation models: loaded, given tables as they want them, run on a device."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checkpoint": ["build_network", "read_checkpoint", "write_checkpoint"],
        "device": ["find_device"],
        "encoding": ["Encoder"],
        "model": [
            "EMBEDDED_CHECKPOINT",
            "OFFICIAL_VERSIONS",
            "OTHER_VERSIONS",
            "EnsembleSettings",
            "FoundationModel",
            "TabPFNModel",
            "load_tfm",
        ],
        "tabdpt": ["TabDPTModel"],
        "tabicl": ["TabICLModel"],
    },
)
