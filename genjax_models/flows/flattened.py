"""Bijectors of vectors applied to images, and splines for masked autoregressive flows."""

from __future__ import annotations

import dataclasses
from typing import Any

from genjax_models.core.types import Array, Key
from genjax_models.flows import splines
from genjax_models.flows.bijector import Bijector


@dataclasses.dataclass(frozen=True)
class Flattened:
    """A bijector of vectors applied to examples of any shape, their entries in a row.

    Attributes:
        inner: The bijector; it sees `[B, D]`.
    """

    inner: Bijector

    def init(self, key: Key, x: Array, context: Array | None = None) -> Any:
        """The inner bijector's parameters."""
        return self.inner.init(key, x.reshape(x.shape[0], -1), context)

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Y `[B, ...]`, and the inner bijector's log-determinant `[B]`."""
        y, log_det = self.inner.forward(params, x.reshape(x.shape[0], -1), context)
        return y.reshape(x.shape), log_det

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """X `[B, ...]`, and the log-determinant of the inner bijector's inverse `[B]`."""
        x, log_det = self.inner.inverse(params, y.reshape(y.shape[0], -1), context)
        return x.reshape(y.shape), log_det


@dataclasses.dataclass(frozen=True)
class Spline:
    """A rational-quadratic spline for each entry of a `MaskedAutoregressive`, in `Affine`'s place.

    Attributes:
        num_bins: Bins of each spline, K.
        bound: The spline is the identity outside [-bound, bound].

    References:
        Durkan et al. 2019, Neural Spline Flows, arXiv:1906.04032, sec. 3.1.
    """

    num_bins: int = 8
    bound: float = 5.0

    @property
    def num_params(self) -> int:
        """3 K - 1: widths, heights, and derivatives between the bins."""
        return 3 * self.num_bins - 1

    def forward(self, h: Array, x: Array) -> tuple[Array, Array]:
        """The values y, and log dy/dx `[...]`, given the parameters `[..., 3 K - 1]`."""
        return splines.forward(splines.knots(h, self.bound), x)

    def inverse(self, h: Array, y: Array) -> tuple[Array, Array]:
        """The values x, and log dx/dy `[...]`, given the parameters `[..., 3 K - 1]`."""
        return splines.inverse(splines.knots(h, self.bound), y)
