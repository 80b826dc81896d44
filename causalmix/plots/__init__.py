"""Figures: tidy data and axes in, the axes out; a figure, where it has several panels."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "analysis": [
            "plot_critical_differences",
            "plot_differences",
            "plot_gain_intervals",
            "plot_survival",
            "plot_table_gains",
        ],
        "cost": ["plot_discovery_cost", "plot_generation_cost"],
        "discovery": ["plot_calibration", "plot_discovery_benchmark", "plot_published_discovery"],
        "evaluation": ["plot_evaluation", "plot_pretraining"],
        "quality": [
            "plot_csuite",
            "plot_quality",
            "plot_utility",
            "plot_ways",
            "plot_ways_by_size",
        ],
        "results": ["plot_gaps", "plot_histories", "plot_improvements"],
        "rows": ["plot_associations", "plot_marginals", "plot_pairs"],
        "style": ["plot_edge_probabilities", "plot_graph", "use_book_style"],
    },
)
