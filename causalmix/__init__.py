"""Causal data augmentation for fine-tuning tabular foundation models."""

import warnings

import lazy_loader

__version__ = "0.1.0"

# The names that a user types, each imported on first use: `import causalmix` loads no torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "discovery.bootstrap": ["discover"],
        "discovery.dag_sampling": ["sample_dags"],
        "discovery.knowledge": ["BackgroundKnowledge"],
        "data.dataset": ["dataset_names", "load_dataset"],
        "data.splitting": ["low_data_split"],
        "errors": ["CausalMixError"],
        "finetuning.config": ["FinetuneConfig"],
        "finetuning.estimator": ["CausalMixClassifier"],
        "finetuning.run": ["finetune"],
        "generation.causal": ["CausalGenerator"],
        "generation.registry": ["make_generator"],
        "quality.report": ["quality_report"],
        "reports.fitting": ["fit_table"],
        "reports.inspection": ["inspect_table"],
        "reports.meanings": ["describe_columns"],
        "reports.page": ["write_report"],
        "scm.model": ["StructuralCausalModel"],
        "tfm.model": ["load_tfm"],
    },
)

# The libraries below ask for notebook widgets, which a book that reads offline cannot show.
warnings.filterwarnings("ignore", message="IProgress not found")
