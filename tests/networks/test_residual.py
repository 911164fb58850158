"""The residual network of couplings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.networks.convolutional import ResidualNetwork

KEY = jax.random.key(0, impl="rbg")


@pytest.mark.parametrize(
    ("dtype", "returned"),
    [(jnp.bfloat16, jnp.float32), (jnp.float32, jnp.float32), (jnp.float64, jnp.float64)],
)
def test_shapes_and_types(dtype, returned):
    network = ResidualNetwork(4, 1, 6, dtype=dtype)
    with jax.enable_x64(dtype == jnp.float64):
        x = jax.ShapeDtypeStruct((2, 3, 5, 2), dtype)
        y, _ = jax.eval_shape(network.init_with_output, KEY, x)
        assert y.shape == (2, 3, 5, 6) and y.dtype == returned


def test_context_and_blocks_reach_the_outputs():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 4, 1)), jnp.float32)
    context = jnp.eye(2)
    network = ResidualNetwork(4, 2, 1)
    y, variables = jax.jit(network.init_with_output)(KEY, x, context)
    apply = jax.jit(network.apply)
    for b in range(2):
        assert not np.allclose(y[b], apply(variables, x, context[::-1])[b])
    # Two 3x3 convolutions and one a block: a pixel sees all that are within 4 of it.
    far = jnp.zeros((1, 11, 1, 1)).at[0, 0].set(1.0)
    images = jnp.concatenate([far, 0 * far])
    lit, dark = apply(variables, images, context[jnp.array([0, 0])])
    response = (lit - dark)[:, 0, 0]
    np.testing.assert_array_equal(response[5:], 0.0)
    assert np.all(response[:5] != 0.0)
