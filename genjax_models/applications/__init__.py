"""Applications of trained models."""

from genjax_models.applications import anomaly, augmentation, bias, compression, editing

__all__ = ["anomaly", "augmentation", "bias", "compression", "editing"]
