"""Causal data augmentation for fine-tuning tabular foundation models."""

__version__ = "0.1.0"
