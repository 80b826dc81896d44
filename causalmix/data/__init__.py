"""Tables in: files and embedded tables, kinds of columns, codes, splits."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "codec": ["TableCodec"],
        "dataset": ["TabularDataset", "dataset_names", "load_dataset", "load_datasets"],
        "folder": ["read_tables"],
        "gower": ["distance_to_closest_record"],
        "schema": ["TableSchema"],
        "splitting": ["Split", "holdout_split", "low_data_split"],
    },
)
