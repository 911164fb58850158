"""Energies whose density is known in closed form."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import DataSpec

POINTS = DataSpec(shape=(2,), num_levels=None, name="points")


class Quadratic(nn.Module):
    """f(x) = 1/2 x^T A x - b^T x + c, with A symmetric: a Gaussian's energy."""

    @nn.compact
    def __call__(self, x, context=None, *, train=False):
        size = x.shape[-1]
        a = self.param("a", nn.initializers.zeros, (size, size))
        b = self.param("b", nn.initializers.zeros, (size,))
        c = self.param("c", nn.initializers.zeros, ())
        a = 0.5 * (a + a.T)
        return 0.5 * jnp.einsum("bi,ij,bj->b", x, a, x) - x @ b + c


class Linear(nn.Module):
    """Logits m_k^T x, with means of any kind: each class a Gaussian around m_k."""

    means: tuple

    @nn.compact
    def __call__(self, x, context=None, *, train=False):
        scale = self.param("scale", nn.initializers.ones, ())
        return scale * x @ jnp.asarray(self.means).T


@dataclasses.dataclass(frozen=True)
class Stay:
    """A kernel that goes nowhere."""

    step_size: float = 1.0

    def __call__(self, log_density, state, key):
        return state, jnp.ones(())


@dataclasses.dataclass(frozen=True)
class Exactly:
    """A kernel that draws from N(0, variance I) whatever it is asked for."""

    variance: float
    step_size: float = 1.0

    def __call__(self, log_density, state, key):
        x = jnp.sqrt(self.variance) * jax.random.normal(key, state.position.shape)
        return state._replace(position=x), jnp.ones(())
