"""How weights start where it is not the layers' own way."""

from flax import linen as nn

near_zero = nn.initializers.variance_scaling(1e-2, "fan_in", "truncated_normal")
"""A tenth of the usual size: what ends a branch or a network starts as little, and yet everything
before it has a gradient from the first step on."""
