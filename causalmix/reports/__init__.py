"""What a user is shown of a table of their own: how it is read, what a fit is worth."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "drawing": ["generate_table"],
        "fitting": ["TableFit", "fit_table"],
        "folds": ["Folds", "evaluate_folds"],
        "inspection": ["Inspection", "inspect_table"],
        "meanings": ["describe_columns"],
        "page": ["write_report"],
        "prediction": ["predict_table"],
    },
)
