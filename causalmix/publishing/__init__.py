"""Notebooks run with parameters, the book, its execution record and model card."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "book": ["build_book"],
        "headline": ["describe_evidence", "describe_progress", "describe_rank_rule"],
        "notebooks": ["find_notebook", "run_notebook"],
        "parameters": ["read_parameters"],
    },
)
