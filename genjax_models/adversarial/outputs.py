"""What one pass of an adversarial model gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flax import struct

from genjax_models.core.types import Array


@struct.dataclass
class GANOutputs:
    """Real and generated examples, and what the discriminator says of both.

    Every array's first axis is the examples. What no term looks at is not computed: compiled, a
    pass costs what its loss needs.

    Attributes:
        real: Data in the networks' range `[B, ...]`.
        fake: G(z) `[B, ...]`.
        z: The noise `[B, latent_dim]`.
        real_logits: The discriminator's logits of the data `[B, ...]`: one, or a map of them.
        fake_logits: Its logits of what was generated.
        real_features: Outputs of the discriminator's layers for the data: name -> `[B, ...]`.
        fake_features: The same for what was generated.
        context: One-hot labels `[B, K]`; None in an unconditional model.
        epsilon: A uniform number an example `[B]`, for terms that need one.
        discriminator: `(x [B, ...], context) -> logits`: the same discriminator at any point, for
            terms of its gradient.
    """

    real: Array
    fake: Array
    z: Array
    real_logits: Array
    fake_logits: Array
    real_features: Mapping[str, Array]
    fake_features: Mapping[str, Array]
    context: Array | None
    epsilon: Array
    discriminator: Callable[[Array, Array | None], Array] = struct.field(pytree_node=False)
