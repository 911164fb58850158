"""Couplings: which noise goes with which example, and paths between any two distributions.

Flow matching learns the mean velocity of paths from data to noise. That data and noise are drawn
independently is the usual choice, not the only one: any coupling with the right marginals gives a
flow between them, and one that pairs what is near gives straighter paths, which take fewer steps.
Nor need the other end be noise: `Interpolant` joins data with examples of anything.

A coupling is a function `(key, x_0 [B, ...]) -> noise [B, ...]`, in which each row's marginal
distribution is N(0, I).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import optax

from genjax_models.core import random
from genjax_models.core.types import Array, Key

Coupling: TypeAlias = Callable[[Key, Array], Array]
"""`(key, x_0 [B, ...]) -> noise [B, ...]`."""


def independent(key: Key, x_0: Array) -> Array:
    """Noise that knows nothing of the example.

    Lipman et al. 2023, arXiv:2210.02747.
    """
    return random.normal(key, x_0.shape, x_0.dtype)


def minibatch_optimal_transport(key: Key, x_0: Array) -> Array:
    """The batch's noise, dealt out so that the squared distances to the examples are least.

    The permutation p that minimises `sum_i |x_i - noise_p(i)|^2`, exactly. It takes of the order of
    B^3 operations one after the other: for 128 examples some 20 ms on a CPU, and more on an
    accelerator. On several devices each solves the problem of the whole batch.

    Args:
        key: What the noise is a function of.
        x_0: Data `[B, ...]`.

    Returns:
        Noise `[B, ...]`: the rows of `independent(key, x_0)` in another order.

    References:
        Tong et al. 2024, arXiv:2302.00482 (OT-CFM); Pooladian et al. 2023, arXiv:2304.14772.
    """
    noise = random.normal(key, x_0.shape, x_0.dtype)
    all_x, all_noise = random.all_examples((x_0, noise))
    size = all_x.shape[0]
    x, z = (jax.lax.stop_gradient(a.reshape(size, -1)) for a in (all_x, all_noise))
    # The squares are the same in every order: |x - z|^2 = |x|^2 - 2 x z + |z|^2.
    row, column = optax.assignment.hungarian_algorithm(-x @ z.T)
    order = jnp.zeros_like(column).at[row].set(column)
    rows, _ = random.positions(x_0.shape[0])
    return all_noise[order[rows]]


@dataclasses.dataclass(frozen=True)
class Interpolant:
    """A path from an example x_0 of one distribution to an example x_1 of another.

    `x_t = alpha(t) x_0 + beta(t) x_1 + gamma(t) z`, with z ~ N(0, I), alpha(0) = beta(1) = 1 and
    everything else 0 at the ends. The mean of its velocity given x_t is a flow u(x_t, t) that turns
    the one distribution into the other.

    A network that predicts u is sampled like any other: `x_t - t u` in the place of the denoised
    x_0, on the schedule `RectifiedFlow`, makes of the samplers' ODE dx/dt = u, from x_1 at t = 1.

    Attributes:
        alpha: The factor of x_0, a smooth function of the time.
        beta: The factor of x_1.
        gamma: The factor of z; it blurs distributions between, which are smoother to learn.

    References:
        Albergo et al. 2023, arXiv:2303.08797, definition 2.1 (there x_0 is the base).
    """

    alpha: Callable[[Array], Array] = lambda t: 1.0 - t
    beta: Callable[[Array], Array] = lambda t: t
    gamma: Callable[[Array], Array] = jnp.zeros_like

    def __call__(self, x_0: Array, x_1: Array, z: Array, t: Array) -> tuple[Array, Array]:
        """The state and its velocity.

        Args:
            x_0: Data `[B, ...]`.
            x_1: Examples of the base `[B, ...]`.
            z: Standard normal noise `[B, ...]`.
            t: Times in [0, 1], which broadcast against these.

        Returns:
            x_t and `d x_t / dt`, which is what the network is to predict, `[B, ...]` both.
        """

        def path(t: Array) -> Array:
            return self.alpha(t) * x_0 + self.beta(t) * x_1 + self.gamma(t) * z

        return jax.jvp(path, (t,), (jnp.ones_like(t),))


def bridge(scale: float = 1.0) -> Interpolant:
    """The straight line, blurred between its ends: `gamma(t) = scale sin^2(pi t)`.

    Its slope is finite everywhere; that of a Brownian bridge, sqrt(t (1 - t)), is not at the ends.
    """
    return Interpolant(gamma=lambda t: scale * jnp.sin(jnp.pi * t) ** 2)
