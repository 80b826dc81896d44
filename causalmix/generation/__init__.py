"""Generators of synthetic rows behind one protocol."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["Generator", "TableGenerator"],
        "by_column": ["TFMCPDAGGenerator", "TFMConditionalGenerator", "TFMDrawnGenerator"],
        "causal": ["CausalGenerator"],
        "copula": ["CopulaGenerator"],
        "mixup": ["MixupGenerator"],
        "purification": ["Purified"],
        "relabelling": ["Relabelled"],
        "registry": ["GENERATORS", "make_generator"],
        "tabebm": ["TabEBMGenerator"],
    },
)
