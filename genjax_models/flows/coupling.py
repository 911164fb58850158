"""Coupling layers: some entries are kept, and determine how the others are changed."""

from __future__ import annotations

import math
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from genjax_models.core.distributions import sum_entries
from genjax_models.core.types import Array, Key
from genjax_models.core.values import value
from genjax_models.flows import splines

START = 0.1
"""Initial gain: small, so that every coupling starts near the identity; not 0 (as with a last
layer of zeros), because then no gradient would reach the network in the first step."""


class Mask(Protocol):
    """Partition of the entries of a coupling into kept and changed ones."""

    def split(self, x: Array) -> tuple[Array, Array]:
        """Returns the network's input `[B, ...]`, and the entries to change `[B, ...]`."""
        ...

    def join(self, kept: Array, changed: Array) -> Array:
        """Inverts `split`: x `[B, ...]`, with entries at kept positions taken from `kept`."""
        ...


@value
class Halves:
    """Keeps the first half of the last axis, and changes the second.

    Attributes:
        swap: If True, keeps the second half and changes the first.
    """

    swap: bool = False

    def split(self, x: Array) -> tuple[Array, Array]:
        """Two parts `[..., C // 2]` and `[..., C - C // 2]`, in this order unless swapped."""
        if x.shape[-1] < 2:
            raise ValueError(
                f"the last axis of {x.shape[1:]} cannot be halved: put a Squeeze before, or use "
                "the mask Checkerboard() on images"
            )
        first, second = jnp.split(x, [x.shape[-1] // 2], axis=-1)
        return (second, first) if self.swap else (first, second)

    def join(self, kept: Array, changed: Array) -> Array:
        """`[..., C]`."""
        parts = [changed, kept] if self.swap else [kept, changed]
        return jnp.concatenate(parts, axis=-1)


@value
class Alternate:
    """Keeps every other entry of the last axis: the even or the odd ones.

    Attributes:
        parity: 0 to keep the entries 0, 2, 4, ...; 1 to keep 1, 3, 5, ...
    """

    parity: int = 0

    def split(self, x: Array) -> tuple[Array, Array]:
        """The entries of the parity, and the others."""
        if x.shape[-1] < 2:
            raise ValueError(
                f"the last axis of {x.shape[1:]} has one entry, and none is left to change: a "
                "coupling needs at least two"
            )
        return x[..., self.parity :: 2], x[..., 1 - self.parity :: 2]

    def join(self, kept: Array, changed: Array) -> Array:
        """`[..., C]`."""
        size = kept.shape[-1] + changed.shape[-1]
        return _spread(kept, self.parity, size) + _spread(changed, 1 - self.parity, size)


def _spread(x: Array, start: int, size: int) -> Array:
    """The entries at start, start + 2, ... of an axis of zeros."""
    end = size - (start + 2 * (x.shape[-1] - 1) + 1)
    return lax.pad(x, x.dtype.type(0), [(0, 0, 0)] * (x.ndim - 1) + [(start, end, 1)])


@value
class Checkerboard:
    """Keeps every other pixel, as the white squares of a chessboard.

    The network sees the whole image, with zeros for the pixels that are changed.

    Attributes:
        parity: 0 to keep the pixels whose row and column sum to an even number; 1 for the others.
    """

    parity: int = 0

    def split(self, x: Array) -> tuple[Array, Array]:
        """The image with zeros in the changed pixels, and the image."""
        if x.ndim != 4:
            raise ValueError(
                f"Checkerboard is a mask of images [B, H, W, C], and was given {x.shape}: use "
                "Halves() or Alternate() on vectors"
            )
        return jnp.where(self._kept(x), x, 0), x

    def join(self, kept: Array, changed: Array) -> Array:
        """`[B, H, W, C]`."""
        return jnp.where(self._kept(kept), kept, changed)

    def _kept(self, x: Array) -> np.ndarray:
        """A boolean array `[H, W, 1]`."""
        rows, columns = np.indices(x.shape[1:3])
        return ((rows + columns) % 2 == self.parity)[..., None]


@value
class AffineCoupling:
    """y_changed = exp(s(x_kept)) x_changed + t(x_kept), and y_kept = x_kept.

    The log-scale is bounded, s = s_max tanh(. / s_max), so that no input makes a scale
    overflow. It starts near the identity (see `conditioner`).

    Attributes:
        network: Conditioner `network(kept, context)`; it returns 2 numbers for each changed entry,
            in the last axis: t and s of the first channel, of the second, ...
        mask: Partition into kept and changed entries.
        max_log_scale: s_max.

    References:
        Dinh et al. 2017, Density estimation using Real NVP, arXiv:1605.08803, eq. 7 to 9.
    """

    network: nn.Module
    mask: Mask = Halves()
    max_log_scale: float = 2.0

    def init(self, key: Key, x: Array, context: Array | None = None) -> dict[str, Any]:
        """The network's parameters, and the gain of its outputs."""
        kept, changed = self.mask.split(x)
        return init_conditioner(self.network, key, kept, changed, context, 2)

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The output y `[B, ...]`, and the sum of the log-scales `[B]`."""
        kept, changed = self.mask.split(x)
        shift, log_scale = self._shift_and_log_scale(params, kept, changed, context)
        y = self.mask.join(kept, changed * jnp.exp(log_scale) + shift)
        return y, _sum_changed(self.mask, kept, log_scale)

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The input x `[B, ...]`, and minus the sum of the log-scales `[B]`."""
        kept, changed = self.mask.split(y)
        shift, log_scale = self._shift_and_log_scale(params, kept, changed, context)
        x = self.mask.join(kept, (changed - shift) * jnp.exp(-log_scale))
        return x, -_sum_changed(self.mask, kept, log_scale)

    def _shift_and_log_scale(
        self, params: Any, kept: Array, changed: Array, context: Array | None
    ) -> tuple[Array, Array]:
        raw = conditioner(self.network, params, kept, changed, context, 2)
        return raw[..., 0], self.max_log_scale * jnp.tanh(raw[..., 1] / self.max_log_scale)


@value
class SplineCoupling:
    """Applies to each changed entry a rational-quadratic spline with knots computed from x_kept.

    Outside [-bound, bound] the spline is the identity. It starts near the identity everywhere.

    Attributes:
        network: Conditioner `network(kept, context)`; it returns 3 num_bins - 1 numbers for each
            changed entry, in the last axis, one entry after the other.
        mask: Partition into kept and changed entries.
        num_bins: Bins of each spline, K.
        bound: Half of the interval's length; the data's scale should be about 1.

    References:
        Durkan et al. 2019, Neural Spline Flows, arXiv:1906.04032, sec. 3.1.
    """

    network: nn.Module
    mask: Mask = Halves()
    num_bins: int = 8
    bound: float = 5.0

    def __post_init__(self) -> None:
        """Checks the number of bins and the bound.

        Raises:
            ValueError: `num_bins` is not in 2 .. 256, or `bound` is not positive.
        """
        if not 2 <= self.num_bins <= 256 or self.bound <= 0:
            raise ValueError(
                f"SplineCoupling was given num_bins={self.num_bins} and bound={self.bound}, and "
                "takes 2 to 256 bins (8 is usual) and a bound above 0 (5 is usual)"
            )

    def init(self, key: Key, x: Array, context: Array | None = None) -> dict[str, Any]:
        """The network's parameters, and the gain of its outputs."""
        kept, changed = self.mask.split(x)
        return init_conditioner(self.network, key, kept, changed, context, 3 * self.num_bins - 1)

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The output y `[B, ...]`, and the sum of the splines' log-derivatives `[B]`."""
        kept, changed = self.mask.split(x)
        y, log_slope = splines.forward(self._knots(params, kept, changed, context), changed)
        return self.mask.join(kept, y), _sum_changed(self.mask, kept, log_slope)

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The input x `[B, ...]`, and the sum of the inverse splines' log-derivatives `[B]`."""
        kept, changed = self.mask.split(y)
        x, log_slope = splines.inverse(self._knots(params, kept, changed, context), changed)
        return self.mask.join(kept, x), _sum_changed(self.mask, kept, log_slope)

    def _knots(
        self, params: Any, kept: Array, changed: Array, context: Array | None
    ) -> splines.Knots:
        count = 3 * self.num_bins - 1
        raw = conditioner(self.network, params, kept, changed, context, count)
        return splines.knots(raw, self.bound)


def init_conditioner(
    network: nn.Module, key: Key, kept: Array, changed: Array, context: Array | None, count: int
) -> dict[str, Any]:
    """Initialises the network, and the learned gain of each of its outputs.

    Args:
        network: Module `network(kept, context)`, a function of its parameters alone.
        key: PRNG key.
        kept: Input of the network `[B, ...]`.
        changed: Entries to change `[B, ..., C]`.
        context: Condition `[B, D]`.
        count: Number of outputs for each changed entry, K.

    Returns:
        Parameters `network`, and `gain` `[C, K]`.

    Raises:
        TypeError: The network has variables other than parameters.
    """
    variables = network.init(key, kept, context)
    others = sorted(set(variables) - {"params"})
    if others:
        raise TypeError(
            f"{type(network).__name__} keeps {', '.join(others)} beside its parameters, and the "
            "network of a bijector must be a function of its parameters alone: use layers without "
            "running averages, such as layer normalisation instead of batch normalisation"
        )
    gain = jnp.full((changed.shape[-1], count), START, changed.dtype)
    return {"network": variables.get("params", {}), "gain": gain}


def conditioner(
    network: nn.Module, params: Any, kept: Array, changed: Array, context: Array | None, count: int
) -> Array:
    """The network's outputs for each changed entry, times their gain `[B, ..., C, K]`.

    Raises:
        ValueError: The network does not return K numbers for each changed entry.
    """
    raw: Any = network.apply({"params": params["network"]}, kept, context)
    shape = (*changed.shape, count)
    if raw.size != math.prod(shape):
        raise ValueError(
            f"{type(network).__name__} returned {raw.shape[1:]} an example, where a bijector "
            f"changes {changed.shape[1:]} entries, and must return {count} numbers for each: "
            f"{math.prod(shape[1:])} outputs of a vector, {count * changed.shape[-1]} channels of "
            "an image"
        )
    return raw.reshape(shape).astype(changed.dtype) * params["gain"]


def _sum_changed(mask: Mask, kept: Array, change: Array) -> Array:
    """Sums `change` over the changed entries `[B]`."""
    return sum_entries(mask.join(jnp.zeros_like(kept), change))
