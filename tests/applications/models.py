"""Models whose every answer is known: what the applications are tested on."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from genjax_models.core.types import DataSpec

PLANE = DataSpec((2,), None, name="plane")


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A standard normal about `params`, in the plane: a density, an energy and a code."""

    spec: DataSpec = PLANE

    def log_prob(self, params: Any, x: Any, *, key=None, state=None, **condition: Any):
        return -self.energy(params, x) - jnp.log(2 * jnp.pi)

    def energy(self, params: Any, x: Any, *, state=None, **condition: Any):
        return 0.5 * jnp.sum((x - params) ** 2, axis=-1)


@dataclasses.dataclass(frozen=True)
class TwoGaussians:
    """The same about (-3, 0) or (3, 0), as the label says."""

    spec: DataSpec = dataclasses.replace(PLANE, num_classes=2)
    num_classes: int = 2

    def log_prob(self, params: Any, x: Any, *, key=None, state=None, label: Any):
        mean = jnp.where(label == 0, -3.0, 3.0)[:, None] * jnp.array([1.0, 0.0])
        return Gaussian().log_prob(mean, x)


@dataclasses.dataclass(frozen=True)
class Linear:
    """Codes are two numbers, and an example [2, 2, 1] lies in the plane that they span."""

    spec: DataSpec = DataSpec((2, 2, 1), None, name="linear")

    def encode(self, params: Any, x: Any, *, state=None, **condition: Any):
        return x.reshape(len(x), 4).astype(jnp.float32) @ jnp.linalg.pinv(params)

    def decode(self, params: Any, z: Any, *, state=None, **condition: Any):
        return (z @ params).reshape(-1, 2, 2, 1)

    def sample(self, params: Any, key: Any, num: int, *, state=None):
        return self.decode(params, jax.random.normal(key, (num, 2)))


BASIS = jnp.array([[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 2.0]])
"""The parameters of `Linear`."""
