"""What every causal network over images is held to: its receptive field, and its steps."""

import jax
import jax.numpy as jnp
import numpy as np


def initialised(network, context=None, key=0):
    """Variables with nothing left at zero, so that a missing dependence is not one by chance."""

    @jax.jit
    def noisy(key_init, key_noise):
        variables = network.init(key_init, jnp.zeros((2, *network.shape)), context)
        leaves, tree = jax.tree.flatten(variables)
        keys = jax.random.split(key_noise, len(leaves))
        noise = [0.1 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)]
        return jax.tree.unflatten(tree, [a + b for a, b in zip(leaves, noise, strict=True)])

    return noisy(*jax.random.split(jax.random.key(key)))


def dependence(network):
    """|d y[i] / d x[j]| `[H, W, H, W]`, summed over channels; y is a random mix of the outputs."""
    variables = initialised(network)
    mix = jax.random.normal(jax.random.key(2), (network.num_outputs,))
    x = jax.random.normal(jax.random.key(3), (1, *network.shape))
    jacobian = jax.jit(jax.jacrev(lambda x: network.apply(variables, x)[0] @ mix))(x)
    return np.abs(np.asarray(jacobian))[:, :, 0].sum(axis=-1)


def check_causality(seen):
    """No output depends on its own pixel, or on one after it: exactly, not nearly."""
    height, width = seen.shape[:2]
    matrix = seen.reshape(height * width, height * width)
    assert np.all(np.triu(matrix) == 0.0)


def stepwise(network, variables, x, context=None):
    """The outputs `[B, H, W, K]` that `start` and `step` give."""
    num, height, width, channels = x.shape
    pixels = x.reshape(num, -1, channels)
    # Anything may stand before the first pixel.
    previous = jnp.concatenate([jnp.full_like(pixels[:, :1], jnp.nan), pixels[:, :-1]], axis=1)

    def step(cache, at):
        t, pixel = at
        out, cache = network.apply(variables, cache, t, pixel, context, method="step")
        return cache, out

    @jax.jit
    def run(previous):
        cache = network.apply(variables, num, context, method="start")
        inputs = jnp.arange(height * width), jnp.moveaxis(previous, 1, 0)
        return jax.lax.scan(step, cache, inputs)[1]

    return jnp.moveaxis(run(previous), 0, 1).reshape(num, height, width, -1)


def check_steps(network, context=None):
    """Position by position, the outputs are those of the whole pass."""
    variables = initialised(network, context)
    x = jax.random.normal(jax.random.key(4), (2, *network.shape))
    whole = jax.jit(network.apply)(variables, x, context)
    assert whole.shape == (*x.shape[:-1], network.num_outputs)
    assert whole.dtype == jnp.float32
    steps = stepwise(network, variables, x, context)
    np.testing.assert_allclose(steps, whole, rtol=1e-4, atol=1e-5)
    if context is not None:
        other = network.apply(variables, x, context[::-1])
        assert np.all(np.any(np.abs(other - whole) > 1e-4, axis=-1))  # at every pixel
