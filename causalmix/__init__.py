"""Causal data augmentation for fine-tuning tabular foundation models."""

import warnings

__version__ = "0.1.0"

# The libraries below ask for notebook widgets, which a book that reads offline cannot show.
warnings.filterwarnings("ignore", message="IProgress not found")
