"""What the pass of a VAE gives."""

from __future__ import annotations

from flax import struct

from genjax_models.core.distributions import Distribution, ExplicitMean
from genjax_models.core.types import Array


@struct.dataclass
class VAEOutputs:
    """What one pass of a VAE gives; every array's first axis is the examples.

    Attributes:
        x: Data `[B, ...]`, as the model prepared them.
        posterior: q(z | x) over `[B, d]`.
        z: K codes of each example, side by side: `[B K, d]`.
        likelihood: p(x | z) of each code, over `[B K, ...]`.
        log_q: log q(z | x) of each code `[B K]`, in nats.
        log_p: log p(z) of each code `[B K]`, in nats.
        kl: KL(q || p) `[B, d]` by latent entry where both are Normal, else estimated `[B, 1]`.
        z_prior: A code of the prior for each example `[B, d]`.
    """

    x: Array
    posterior: Distribution
    z: Array
    likelihood: ExplicitMean
    log_q: Array
    log_p: Array
    kl: Array
    z_prior: Array
