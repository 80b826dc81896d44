"""Mixing, steps and stopping, and the estimator around them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["FinetuneConfig"],
        "estimator": ["CausalMixClassifier"],
        "metrics": [
            "log_loss",
            "normalised_improvement",
            "roc_auc",
            "steps_to_converge",
            "validation_test_gap",
        ],
        "parts": ["parameters_of"],
        "report": ["FitReport"],
        "run": ["FinetuneResult", "finetune", "predict_proba"],
        "stopping": ["RULES"],
    },
)
