"""Masked autoregressive flows: each entry is changed given the entries before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array, Key
from genjax_models.core.values import value
from genjax_models.networks.made import MADE


class Elementwise(Protocol):
    """A monotone function of single numbers, given K parameters for each of them."""

    @property
    def num_params(self) -> int:
        """Number K of parameters of an entry; zeros give approximately the identity."""
        ...

    def forward(self, h: Array, x: Array) -> tuple[Array, Array]:
        """The values y, and log dy/dx `[...]`, given the parameters `[..., K]`."""
        ...

    def inverse(self, h: Array, y: Array) -> tuple[Array, Array]:
        """The values x, and log dx/dy `[...]`, given the parameters `[..., K]`."""
        ...


@value
class Affine:
    """y = (x - mu) exp(-alpha) with |alpha| < max_log_scale, however large the network's outputs.

    Attributes:
        max_log_scale: Bound c of alpha = c tanh(a / c).
    """

    max_log_scale: float = 3.0

    @property
    def num_params(self) -> int:
        """Two: mu and a."""
        return 2

    def forward(self, h: Array, x: Array) -> tuple[Array, Array]:
        """The values y, and log dy/dx `[...]`, given mu and a `[..., 2]`."""
        mu, alpha = self._split(h)
        return (x - mu) * jnp.exp(-alpha), -alpha

    def inverse(self, h: Array, y: Array) -> tuple[Array, Array]:
        """The values x, and log dx/dy `[...]`, given mu and a `[..., 2]`."""
        mu, alpha = self._split(h)
        return y * jnp.exp(alpha) + mu, alpha

    def _split(self, h: Array) -> tuple[Array, Array]:
        return h[..., 0], self.max_log_scale * jnp.tanh(h[..., 1] / self.max_log_scale)


@value
class MaskedAutoregressive:
    """y_i = g(x_i; h_i) with h_i = network(x_1 .. x_{i-1}, context).

    `forward` is one pass of a masked network. `inverse` is sequential: D steps of a `lax.scan`,
    each of which computes only the hidden units that its entry needs, so that all of them cost
    about one pass. Put a permutation between two layers to vary the order of the entries.
    With `forward` from data to noise this is a MAF; `Inverse(...)` of it is
    an IAF, whose samples take one pass and whose densities of given data take D steps.

    Attributes:
        hidden: Widths of the hidden layers of the network, a `MADE`.
        transform: The function g of each entry.
        activation: Activation of the hidden layers.
        residual: If True, each hidden layer adds its input to its output.
        network: A `Causal` network `[B, D] -> [B, D, K]`, in place of that `MADE`.

    References:
        Papamakarios et al. 2017, Masked Autoregressive Flow, arXiv:1705.07057, eq. 4-5; Kingma et
        al. 2016, Inverse Autoregressive Flow, arXiv:1606.04934; Germain et al. 2015, MADE,
        arXiv:1502.03509.
    """

    hidden: Sequence[int] = (64, 64)
    transform: Elementwise = Affine()
    activation: Callable[[Array], Array] = nn.silu
    residual: bool = False
    network: nn.Module | None = None

    def __post_init__(self) -> None:
        """Keeps the widths as a tuple, so that the bijector is hashable."""
        object.__setattr__(self, "hidden", tuple(self.hidden))

    def init(self, key: Key, x: Array, context: Array | None = None) -> dict[str, Any]:
        """Initialises the network, near the identity."""
        flat = x.reshape(x.shape[0], -1)
        return {"network": self._network(x).init(key, flat, context)["params"]}

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The values y `[B, ...]`, and log |det dy/dx| `[B]`, in one pass."""
        flat = x.reshape(x.shape[0], -1)
        h = self._network(x).apply({"params": params["network"]}, flat, context)
        y, log_det = self.transform.forward(self._checked(h, flat), flat)
        return y.reshape(x.shape), jnp.sum(log_det, axis=-1)

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The values x `[B, ...]`, and log |det dx/dy| `[B]`, entry by entry."""
        network, variables = self._network(y), {"params": params["network"]}
        num, flat = y.shape[0], y.reshape(y.shape[0], -1)
        cache = network.apply(variables, num, context, method="start")

        def step(carry: tuple[Any, Array], t_and_y: tuple[Array, Array]) -> tuple[Any, Any]:
            cache, previous = carry
            t, y_t = t_and_y
            h, cache = network.apply(variables, cache, t, previous, context, method="step")
            x_t, log_det = self.transform.inverse(h, y_t)
            return (cache, x_t), (x_t, log_det)

        steps = (jnp.arange(flat.shape[1]), flat.T)
        _, (x, log_dets) = jax.lax.scan(step, (cache, jnp.zeros_like(flat[:, 0])), steps)
        return x.T.reshape(y.shape), jnp.sum(log_dets, axis=0)

    def _network(self, x: Array) -> Any:
        if self.network is not None:
            return self.network
        return MADE(
            shape=(math.prod(x.shape[1:]),),
            outputs=self.transform.num_params,
            hidden=self.hidden,
            activation=self.activation,
            residual=self.residual,
            scale=0.1,
            dtype=x.dtype,
        )

    def _checked(self, h: Array, x: Array) -> Array:
        wanted = (*x.shape, self.transform.num_params)
        if h.shape != wanted:
            raise ValueError(
                f"{type(self.transform).__name__} takes {self.transform.num_params} network "
                f"outputs an entry, {wanted[1:]} an example, but the network returned "
                f"{h.shape[1:]}: give it outputs={self.transform.num_params}"
            )
        return h
