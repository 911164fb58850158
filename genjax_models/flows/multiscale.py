"""Multi-scale image flows: Squeeze and Split."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array, Key
from genjax_models.core.values import value
from genjax_models.flows.bijector import (
    Bijector,
    Inverse,
    Part,
    forward_through,
    inverse_through,
    parts_of,
)
from genjax_models.flows.coupling import AffineCoupling, Halves
from genjax_models.networks.conv import depth_to_space, space_to_depth


@value
class Squeeze:
    """Moves 2x2 blocks of pixels into channels: `[B, H, W, C] -> [B, H/2, W/2, 4C]`.

    `Inverse(Squeeze())` restores the pixels.

    References:
        Dinh et al. 2017, arXiv:1605.08803, sec. 3.6.
    """

    def init(self, key: Key, x: Array, context: Array | None = None) -> dict[str, Any]:
        """No parameters."""
        return {}

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """`[B, H/2, W/2, 4C]`, and 0 `[B]`.

        Raises:
            ValueError: The height or the width is odd, or x is not a batch of images.
        """
        if x.ndim != 4 or x.shape[1] % 2 or x.shape[2] % 2:
            raise ValueError(
                f"Squeeze halves the height and the width of images, and was given examples of "
                f"shape {x.shape[1:]}: use fewer scales, or pad the images to a height and a width "
                "divisible by 2 at every scale"
            )
        return space_to_depth(x), jnp.zeros(x.shape[0], x.dtype)

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """`[B, 2H, 2W, C]`, and 0 `[B]`.

        Raises:
            ValueError: The number of channels is not divisible by 4, or y is not a batch of images.
        """
        if y.ndim != 4 or y.shape[3] % 4:
            raise ValueError(
                f"the inverse of Squeeze makes 2x2 pixels of every 4 channels, and was given "
                f"examples of shape {y.shape[1:]}: give it the output of a Squeeze"
            )
        return depth_to_space(y), jnp.zeros(y.shape[0], y.dtype)


@value
class Split:
    """Factors out half of the channels, and transforms the other half further.

    With the channels in halves (b, a): b is the input of `inner`, and a is standardised by a
    learned prior given b, `eps = (a - mu(b)) / sigma(b)`, so that a standard normal base means the
    density `p(a, b) = N(a; mu(b), sigma(b)^2) p(b)`. The shape is kept: y = (inner(b), eps).

    Attributes:
        inner: Bijector of b; it keeps the shape.
        network: mu and log sigma of each channel of a, given b and the context: twice as many
            channels as a has. The prior starts near N(0, 1), and log sigma is bounded.

    References:
        Dinh et al. 2017, arXiv:1605.08803, sec. 3.6; Kingma & Dhariwal 2018, arXiv:1807.03039.
    """

    inner: Bijector
    network: nn.Module

    def parts(self, params: Any) -> list[Part]:
        """`prior`, (b, a) -> (b, eps), and `inner`, (b, eps) -> (inner(b), eps)."""
        return [Part(name, bijector, params[name]) for name, bijector in self._named().items()]

    def init(self, key: Key, x: Array, context: Array | None = None) -> dict[str, Any]:
        """The parameters of the prior and of the inner bijector."""
        named = self._named()
        keys = zip(named, jax.random.split(key), strict=True)
        return {name: named[name].init(k, x, context) for name, k in keys}

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """(inner(b), eps) `[B, ..., C]`, and the log-determinant `[B]`."""
        return forward_through(self.parts(params), x, context)

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """(b, a) `[B, ..., C]`, and the log-determinant `[B]`."""
        return inverse_through(self.parts(params), y, context)

    def _named(self) -> dict[str, Bijector]:
        prior = Inverse(AffineCoupling(self.network, Halves()))
        return {"prior": prior, "inner": FirstHalf(self.inner)}


@value
class FirstHalf:
    """Applies a bijector to the first half of the channels, and keeps the second.

    Attributes:
        inner: The bijector; it keeps the shape.
    """

    inner: Bijector

    def parts(self, params: Any) -> list[Part]:
        """The inner bijector's parts, each applied to the first half."""
        return [Part(n, FirstHalf(part), p) for n, part, p in parts_of(self.inner, params)]

    def init(self, key: Key, x: Array, context: Array | None = None) -> Any:
        """The inner bijector's parameters."""
        return self.inner.init(key, Halves().split(x)[0], context)

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """(inner(b), a) `[B, ..., C]`, and the inner log-determinant `[B]`."""
        b, a = Halves().split(x)
        b, log_det = self.inner.forward(params, b, context)
        return Halves().join(b, a), log_det

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """(inner^-1(b), a) `[B, ..., C]`, and the log-determinant of the inner inverse `[B]`."""
        b, a = Halves().split(y)
        b, log_det = self.inner.inverse(params, b, context)
        return Halves().join(b, a), log_det
