"""From a table to probabilities of edges, and graphs drawn from them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bootstrap": ["discover"],
        "cpdag": ["cpdag_of", "discover_cpdag", "read_cpdag"],
        "dag_completion": ["complete_dags"],
        "dag_sampling": ["describe_dags", "sample_dags"],
        "edge_probabilities": ["EdgeProbabilities"],
        "graph_comparison": ["compare_graphs"],
        "knowledge": ["BackgroundKnowledge"],
    },
)
