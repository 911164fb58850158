"""Data and samples of the model, looked at in one pass of the network."""

from __future__ import annotations

import jax.numpy as jnp

from genjax_models.core.types import Array
from genjax_models.energy.mcmc import Trace
from genjax_models.energy.outputs import ContrastiveOutputs
from genjax_models.energy.reference import Reference


def side_by_side(v: Array, x_model: Array) -> Array:
    """Data and samples `[B, ...]` as one batch `[2 B, ...]`, each sample next to its example.

    So nothing crosses devices, and noise that the network draws is the example's own.
    """
    return jnp.stack([v, x_model], axis=1).reshape(-1, *v.shape[1:])


def compare(
    reference: Reference, v: Array, x_model: Array, tilts: Array, trace: Trace
) -> ContrastiveOutputs:
    """The outputs of data and samples `[B, ...]`, given the network's of both as they lie."""
    tilt, tilt_model = tilts.reshape(-1, 2).T
    return ContrastiveOutputs(
        x=v,
        x_model=x_model,
        energy=tilt - reference.log_prob(v),
        energy_model=tilt_model - reference.log_prob(x_model),
        tilt=tilt,
        tilt_model=tilt_model,
        acceptance=trace.acceptance,
        gradient_norm=trace.gradient_norm,
    )
