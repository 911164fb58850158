"""Networks: shapes, types, and what each says it does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models import networks
from genjax_models.networks.conv import depth_to_space, space_to_depth

KEY = jax.random.key(0)


def outputs(network, *args, **kwargs):
    return network.init_with_output(KEY, *args, **kwargs)


def test_space_to_depth_and_back():
    x = jax.random.normal(KEY, (2, 6, 4, 3))
    blocks = space_to_depth(x)
    assert blocks.shape == (2, 3, 2, 12)
    np.testing.assert_array_equal(blocks[0, 1, 0].reshape(2, 2, 3), x[0, 2:4, 0:2])
    np.testing.assert_array_equal(depth_to_space(blocks), x)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_parameters_and_outputs_are_float32_whatever_is_computed_in(dtype):
    x = jax.random.normal(KEY, (2, 8, 8, 1))
    for network, args in (
        (networks.MLP((16, 4), dtype=dtype), (x,)),
        (networks.ConvEncoder((8, 8), 4, dtype=dtype), (x,)),
        (networks.ConvDecoder((8, 8), (8, 8, 1), dtype=dtype), (x[:, 0, :4, 0],)),
    ):
        y, variables = outputs(network, *args)
        assert y.dtype == jnp.float32
        assert {a.dtype for a in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
        lowered = jax.jit(network.apply).lower(variables, *args).as_text()
        assert ("bf16" in lowered) == (dtype == jnp.bfloat16)


def test_convolutions_have_the_shapes_that_they_say():
    x = jnp.zeros((2, 16, 8, 3))
    assert outputs(networks.ConvEncoder((4, 8), 5), x)[0].shape == (2, 5)
    grid, _ = outputs(networks.ConvEncoder((4, 8), 5, vector=False), x)
    assert grid.shape == (2, 4, 2, 5)
    decoder = networks.ConvDecoder((8, 4), (16, 8, 6))
    assert outputs(decoder, grid)[0].shape == (2, 16, 8, 6)
    assert outputs(decoder, jnp.zeros((2, 7)))[0].shape == (2, 16, 8, 6)
    with pytest.raises(ValueError, match="cannot be halved 2 times"):
        outputs(networks.ConvEncoder((4, 8), 5), jnp.zeros((2, 7, 7, 1)))


def test_a_context_reaches_the_outputs():
    x, context = jax.random.normal(KEY, (2, 8, 8, 1)), jnp.eye(2)
    for network in (networks.MLP((4,)), networks.ConvEncoder((4,), 4, blocks=0)):
        y, variables = outputs(network, x, context)
        assert not np.allclose(y, network.apply(variables, x, context[::-1]))


def test_centred_networks_do_not_see_the_mean():
    network = networks.Centred(networks.MLP((8, 3)))
    x = jax.random.normal(KEY, (50, 4)) + 100.0
    y, variables = outputs(network, x)
    inner = {"params": variables["params"]["network"]}
    np.testing.assert_allclose(y, network.network.apply(inner, x - x.mean(0)), rtol=1e-5)
    again, changed = network.apply(variables, x + 7.0, train=True, mutable=["constants"])
    np.testing.assert_array_equal(changed["constants"]["mean"], variables["constants"]["mean"])
