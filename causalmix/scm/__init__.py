"""From a graph to a fitted structural causal model: rows, interventions, counterfactuals."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "hospital": [
            "effect_error",
            "hospital_dag",
            "hospital_knowledge",
            "hospital_rows",
            "tabulate_effects",
        ],
        "model": ["StructuralCausalModel"],
        "random_scm": ["random_scm_table"],
    },
)
