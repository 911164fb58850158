"""A network that knows the truth: data whose entries are independent draws of a few levels."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core import DataSpec
from genjax_models.diffusion.schedules import of_log_snr

PMF = jnp.array([0.5, 0.2, 0.15, 0.1, 0.05])
SPEC = DataSpec((4, 1), num_levels=5, name="independent entries")


def data(num, seed=0):
    """Examples `[num, 4, 1]`."""
    return jax.random.choice(jax.random.key(seed), 5, (num, *SPEC.shape), p=PMF).astype(jnp.uint8)


def log_prob(x):
    """Log p(x) `[B]`."""
    return jnp.sum(jnp.log(PMF)[x], axis=(1, 2))


class Exact(nn.Module):
    """Predicts exactly, on variance-preserving schedules, what a `Prediction` asks for.

    Its one parameter, 0, is added to all it says. With `variance` it also says that number.
    """

    prediction: Any
    variance: float | None = None
    pmf: tuple[float, ...] = tuple(PMF.tolist())

    @nn.compact
    def __call__(self, x, log_snr, context=None, *, train=False):
        wrong = self.param("wrong", nn.initializers.zeros, ())
        x = x[..., :1]  # whatever else is shown is of no use
        alpha, sigma = of_log_snr(log_snr.reshape(-1, *(1,) * (x.ndim - 1)))
        values = jnp.linspace(-1.0, 1.0, 5)
        error = ((x[..., None] - alpha[..., None] * values) / sigma[..., None]) ** 2
        weights = jax.nn.softmax(jnp.log(jnp.asarray(self.pmf)) - 0.5 * error)
        x_0 = jnp.sum(weights * values, axis=-1)
        target = self.prediction.target(x_0, (x - alpha * x_0) / sigma, alpha, sigma) + wrong
        if self.variance is None:
            return target
        return jnp.concatenate([target, jnp.full_like(target, self.variance) + wrong], axis=-1)
