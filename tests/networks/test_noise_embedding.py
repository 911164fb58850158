"""The noise level's vector: finite everywhere, different everywhere, and the context's part."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.networks.noise_embedding import HIGHEST, LOWEST, NoiseEmbedding, sinusoids

KEY = jax.random.key(0, impl="rbg")


def embedding(log_snr, context=None):
    network = NoiseEmbedding(8)
    variables = jax.jit(network.init)(KEY, log_snr, context)
    return variables, jax.jit(functools.partial(network.apply, variables))


def test_it_is_finite_at_the_ends_and_so_are_its_gradients():
    ends = jnp.array([jnp.inf, -jnp.inf, 1e30, -1e30, HIGHEST, LOWEST])
    _, embed = embedding(ends)
    # Of one batch: a batch of another size is summed in another order.
    y = embed(ends).reshape(3, 2, -1)
    assert np.all(np.isfinite(y))
    np.testing.assert_array_equal(y, np.broadcast_to(y[2], y.shape))
    slope = jax.grad(lambda levels: jnp.sum(embed(levels) ** 2))(ends[:4])
    np.testing.assert_array_equal(slope, jnp.zeros(4))


def test_it_tells_levels_apart_in_its_range():
    levels = jnp.linspace(LOWEST, HIGHEST, 401)  # a tenth apart
    u = 1000 * (levels - LOWEST) / (HIGHEST - LOWEST)
    features = np.asarray(sinusoids(u, 64))
    apart = np.linalg.norm(features[:, None] - features[None], axis=-1) + 9 * np.eye(401)
    assert apart.min() > 0.5
    _, embed = embedding(levels)
    assert np.linalg.norm(np.diff(embed(levels), axis=0), axis=-1).min() > 1e-2


def test_sinusoids_are_those_of_their_wavelengths():
    t = jnp.array([0.0, 1.0, 3.0])
    y = sinusoids(t, 6, longest=100.0)  # angular frequencies 1, 1/10, 1/100
    expected = np.outer(t, [1.0, 0.1, 0.01])
    np.testing.assert_allclose(y, np.concatenate([np.sin(expected), np.cos(expected)], -1), 1e-5)


def test_the_context_is_added_linearly_so_zeros_add_nothing():
    levels, labels = jnp.array([0.3, -4.0]), jnp.eye(2, 3)
    variables, embed = embedding(levels, labels)
    np.testing.assert_array_equal(embed(levels, 0 * labels), embed(levels))
    added = embed(levels, labels) - embed(levels)
    np.testing.assert_allclose(
        added, variables["params"]["of_context"]["kernel"][:2], rtol=1e-4, atol=1e-5
    )
