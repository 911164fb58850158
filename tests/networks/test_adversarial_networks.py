"""Generators and discriminators: sizes, what sees what, projections, spectral norms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.core.values import partial
from genjax_models.networks.conv import average_pool, upsample_nearest
from genjax_models.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from genjax_models.networks.mlp import MLP
from genjax_models.networks.normalization import BatchNorm, SpectralNormalized, group_norm
from genjax_models.networks.residual_gan import (
    Projection,
    ResidualDiscriminator,
    ResidualGenerator,
)
from genjax_models.networks.translators import PatchDiscriminator, ResNetTranslator, UNetTranslator

KEY = jax.random.key(0, impl="rbg")


def shapes(network, shape, context=None):
    """The variables' shapes and the output's, without computing anything."""
    x = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    y, variables = jax.eval_shape(network.init_with_output, KEY, x, context)
    assert y.dtype == jnp.float32
    return y.shape[1:], variables


def size(variables):
    return sum(a.size for a in jax.tree.leaves(variables["params"]))


def normal(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def test_the_pair_of_dcgan():
    """Radford et al. 2016, fig. 1: 100 numbers to 64x64x3 through 4x4x1024."""
    y, variables = shapes(DCGANGenerator((1024, 512, 256, 128), (64, 64, 3)), (100,))
    assert y == (64, 64, 3)
    assert variables["params"]["Dense_0"]["kernel"].shape == (100, 4 * 4 * 1024)
    weights = 100 * 4**2 * 1024 + 4**2 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3)
    assert size(variables) == weights + 2 * (1024 + 512 + 256 + 128) + 3
    assert shapes(DCGANGenerator((8, 4), (28, 28, 1)), (5,), jnp.eye(2))[0] == (28, 28, 1)
    critic = DCGANDiscriminator((4, 8), num_outputs=None)
    assert shapes(critic, (28, 28, 1))[0] == (7 * 7 * 8,)
    assert shapes(DCGANDiscriminator((4, 8)), (8, 16, 3), jnp.eye(2))[0] == (1,)


def test_normalisations_are_given():
    for norm, kept in ((BatchNorm, True), (None, False), (partial(group_norm, 2), False)):
        for network, shape in (
            (DCGANGenerator((4, 4), (8, 8, 1), norm), (3,)),
            (DCGANDiscriminator((4, 4), norm), (8, 8, 1)),
            (ResidualGenerator((4,), (8, 8, 1), norm), (3,)),
        ):
            _, variables = shapes(network, shape)
            assert ("batch_stats" in variables) == kept
            assert ("GroupNorm_0" in variables["params"]) == (not kept and norm is not None)


def test_the_residual_pair():
    """Miyato et al. 2018, table 4: three doublings from 4x4, two halvings to 8x8."""
    y, variables = shapes(ResidualGenerator((256,) * 3, (32, 32, 3)), (128,))
    assert y == (32, 32, 3)
    assert variables["params"]["Dense_0"]["kernel"].shape == (128, 4 * 4 * 256)
    assert shapes(ResidualDiscriminator((128, 128)), (32, 32, 3))[0] == (1,)
    features = ResidualDiscriminator((8, 16), num_outputs=None)
    assert shapes(features, (28, 28, 1))[0] == (16,)
    x = normal(2, 4, 6, 3)
    np.testing.assert_allclose(average_pool(upsample_nearest(x, 2), 2), x, rtol=1e-6)
    np.testing.assert_allclose(average_pool(x, 2)[:, 0, 1], x[:, :2, 2:4].mean((1, 2)), rtol=1e-5)


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (DCGANDiscriminator((4,)), (4, 4, 1)),
        (ResidualGenerator((4,), (4, 4, 1), None), (3,)),
        (ResidualDiscriminator((4,), 1), (4, 4, 1)),
        (PatchDiscriminator(2, 1), (8, 8, 1)),
    ],
)
def test_the_context_reaches_the_output(network, shape):
    x, context = normal(2, *shape), jnp.eye(2)

    @jax.jit
    def both(key):
        variables = network.init(key, x, context)
        return network.apply(variables, x, context), network.apply(variables, x, context[::-1])

    one, other = both(KEY)
    assert np.all(np.max(np.abs(one - other), axis=tuple(range(1, one.ndim))) > 1e-6)


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (3, 70)])
def test_a_patch_is_as_large_as_it_is_said_to_be(layers, field):
    network = PatchDiscriminator(2, layers, norm=None)
    x = normal(1, 80, 80, 1)

    @jax.jit
    def seen(key):
        variables = network.init(key, x)
        middle = 80 // 2**layers // 2 - 1
        return jax.grad(lambda x: network.apply(variables, x)[0, middle, middle, 0])(x)

    touched = np.asarray(seen(KEY))[0, :, :, 0] != 0.0
    assert touched.any(1).sum() == touched.any(0).sum() == field
    assert shapes(network, (80, 80, 1))[0] == (80 // 2**layers - 2,) * 2 + (1,)


def test_the_networks_of_translation_have_their_papers_sizes():
    """What the authors' code reports: 2.769, 54.414 and 11.378 million parameters.

    Ours have no taps that see zeros alone (12 of 16 on both sides of the U-Net's single pixel), 4x4
    taps instead of 3x3 between resolutions, and a scale instead of an idle bias.
    """
    patch, variables = shapes(PatchDiscriminator(), (256, 256, 6))
    assert patch == (30, 30, 1)
    assert size(variables) == pytest.approx(2.769e6, abs=1e3)
    y, variables = shapes(UNetTranslator(3), (256, 256, 3))
    assert y == (256, 256, 3)
    assert size(variables) + 2 * 12 * 512**2 == pytest.approx(54.414e6, abs=2e3)
    y, variables = shapes(ResNetTranslator(3), (256, 256, 3))
    assert y == (256, 256, 3)
    between = 7 * 2 * (64 * 128 + 128 * 256)
    assert size(variables) - between == pytest.approx(11.378e6, abs=7e3)


def test_a_residual_translator_gives_the_change_of_its_input():
    x, whole = normal(2, 8, 8, 1), ResNetTranslator(1, 4, 1)
    variables = whole.init(KEY, x)
    change = ResNetTranslator(1, 4, 1, residual=True)
    np.testing.assert_allclose(change.apply(variables, x), x + whole.apply(variables, x), atol=1e-6)


def test_the_u_net_s_noise_is_drawn_where_a_key_is_given():
    x, network = normal(4, 8, 8, 1), UNetTranslator(1, 2, 3)
    variables = jax.jit(network.init)(KEY, x)

    @jax.jit
    def apply(x, key):
        rngs = {"dropout": key}
        return network.apply(variables, x), network.apply(variables, x, rngs=rngs)

    still, noisy = apply(x, jax.random.key(1))
    still_again, other = apply(x, jax.random.key(2))
    np.testing.assert_array_equal(still, still_again)
    assert np.max(np.abs(noisy - other)) > 1e-4 and np.max(np.abs(noisy - still)) > 1e-4
    # An example's noise is its own.
    fewer = jax.jit(lambda x: network.apply(variables, x, rngs={"dropout": jax.random.key(1)}))
    np.testing.assert_allclose(fewer(x[:2]), noisy[:2], rtol=1e-3, atol=1e-6)


def test_projection_is_the_features_inner_product_with_the_label_s_vector():
    x, y = normal(4, 3), jax.nn.one_hot(jnp.array([0, 2, 1, 2]), 3)
    network = Projection(MLP((5, 6)))
    variables = network.init(KEY, x, y)
    params = variables["params"]
    h = MLP((5, 6)).apply({"params": params["features"]}, x)
    plain = h @ params["w"]["kernel"] + params["w"]["bias"]
    chosen = params["embedding"]["kernel"][jnp.array([0, 2, 1, 2])]  # [B, D]
    expected = plain[:, 0] + jnp.sum(chosen * h, axis=-1)
    np.testing.assert_allclose(network.apply(variables, x, y)[:, 0], expected, rtol=1e-4)
    np.testing.assert_allclose(network.apply(variables, x), plain, rtol=1e-4)
    with pytest.raises(ValueError, match=r"but its network gives \(2, 1, 1, 1\)"):
        jax.eval_shape(Projection(PatchDiscriminator(2, 1)).init, KEY, jnp.zeros((2, 6, 6, 1)))


def test_spectral_norms_are_the_largest_singular_values():
    plain = DCGANDiscriminator((4, 6), None, num_outputs=3)
    network, x = SpectralNormalized(plain), normal(3, 8, 8, 1)
    variables = jax.jit(network.init)(KEY, x)

    @jax.jit
    def trained(variables):
        def step(variables, _):
            _, kept = network.apply(variables, x, train=True, mutable=["spectral"])
            return {**variables, **kept}, None

        return jax.lax.scan(step, variables, None, 150)[0]

    def divided(w):
        if w.ndim == 1:
            return w
        return w / np.linalg.svd(w.reshape(-1, w.shape[-1]), compute_uv=False)[0]

    converged = trained(variables)
    kernels = jax.tree.map(divided, jax.device_get(variables["params"]["network"]))
    y, kept = network.apply(converged, x, mutable=["spectral"])
    np.testing.assert_allclose(y, plain.apply({"params": kernels}, x), rtol=1e-3, atol=1e-4)
    # In use it is moved no further; in training it was.
    jax.tree.map(np.testing.assert_array_equal, kept["spectral"], converged["spectral"])
    assert np.max(np.abs(network.apply(variables, x) - y)) > 1e-3


def test_spectral_normalisation_leaves_the_network_its_own_state():
    network, x = SpectralNormalized(DCGANDiscriminator((2, 3))), normal(3, 8, 8, 1)
    variables = jax.jit(network.init)(KEY, x)
    assert set(variables) == {"params", "batch_stats", "spectral"}
    apply = lambda v: network.apply(v, x, train=True, mutable=["batch_stats", "spectral"])  # noqa: E731
    _, kept = jax.jit(apply)(variables)
    for kind in ("batch_stats", "spectral"):
        moved = jax.tree.map(lambda a, b: np.any(a != b), variables[kind], kept[kind])
        assert any(jax.tree.leaves(moved))


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (DCGANGenerator((8, 8, 8), (28, 28, 1)), (3,), "3 doublings.*multiples of 8, not 28x28"),
        (ResidualGenerator((8, 8, 8), (28, 28, 1)), (3,), "3 doublings.*multiples of 8, not 28x28"),
        (DCGANDiscriminator((8, 8, 8)), (28, 28, 1), "7x7 pixels cannot be halved"),
        (ResidualDiscriminator((8, 8, 8)), (28, 28, 1), "7x7 pixels cannot be halved"),
        (PatchDiscriminator(), (28, 28, 1), "multiples of 8, 24 at least, but these are 28x28"),
        (PatchDiscriminator(), (16, 16, 1), "24 at least, but these are 16x16: give fewer layers"),
        (ResNetTranslator(1), (30, 28, 1), "multiples of 4, 8 at least, but these are 30x28"),
        (ResNetTranslator(3, residual=True), (8, 8, 1), "1 channels .* out is 3: give out=1"),
        (UNetTranslator(1), (128, 128, 3), "8 times.*multiples of 256, but these are 128x128"),
    ],
)
def test_images_of_another_size_are_refused(network, shape, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(network.init, KEY, jnp.zeros((2, *shape)))
