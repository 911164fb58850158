"""What generators return, as examples."""

from __future__ import annotations

from genjax_models.core.preprocess import bounded
from genjax_models.core.types import Array, DataSpec


def examples(raw: Array, spec: DataSpec, name: str = "the generator") -> Array:
    """A generator's outputs as examples `[B, *spec.shape]`, in the range of networks' inputs.

    Args:
        raw: Outputs `[B, ...]`, as many numbers as examples have.
        spec: What one example is.
        name: Whose outputs, for messages.

    Raises:
        ValueError: The outputs are not as many.
    """
    if raw.size != raw.shape[0] * spec.num_dims:
        raise ValueError(
            f"{spec.name} has examples of shape {spec.shape}, but {name} returned "
            f"{raw.shape[1:]}: give it {spec.num_dims} outputs"
        )
    return bounded(raw.reshape(raw.shape[0], *spec.shape), spec)
