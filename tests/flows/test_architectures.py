"""The published architectures: invertible, with the right volume change, at usual sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.core.types import DIGITS, DataSpec
from genjax_models.flows.architectures import glow, maf, neural_spline_flow, realnvp
from genjax_models.flows.bijector import Flattened
from genjax_models.flows.dequantized import Dequantized
from genjax_models.flows.flow import Flow
from genjax_models.flows.splines import Spline
from genjax_models.networks.convolutional import ResidualNetwork
from genjax_models.networks.mlp import MLP
from tests.flows.test_flow import shaken

TINY = DataSpec((4, 4, 1), num_levels=None, name="tiny")
NETWORK = {"network": lambda outputs: ResidualNetwork(4, 0, outputs)}
BUILDERS = {
    "realnvp": functools.partial(realnvp, steps=1, **NETWORK),
    "glow": functools.partial(glow, steps=1, **NETWORK),
    "neural_spline_flow": functools.partial(neural_spline_flow, steps=1, num_bins=4, **NETWORK),
    "maf": functools.partial(maf, steps=1, hidden=(16,), transform=Spline(4)),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_images_are_inverted_and_the_volume_change_is_right(name):
    model = BUILDERS[name](TINY)
    assert isinstance(model, Flow)
    x = jax.random.normal(jax.random.key(1), (4, 4, 4, 1))

    @jax.jit
    def measure(key, x):
        params = shaken(model.bijector.init(key, x), 0.1)

        def flat(v):
            return model.bijector.forward(params, v.reshape(1, 4, 4, 1))[0].reshape(-1)

        z, log_det = model.bijector.forward(params, x)
        jacobian = jax.vmap(jax.jacrev(flat))(x.reshape(len(x), -1))
        back = model.bijector.inverse(params, z)
        return log_det, jnp.linalg.slogdet(jacobian)[1], back

    log_det, expected, (back, back_log_det) = measure(jax.random.key(0), x)
    np.testing.assert_allclose(back, x, atol=2e-4)
    np.testing.assert_allclose(back_log_det, -log_det, atol=2e-3)
    np.testing.assert_allclose(log_det, expected, atol=2e-3)
    assert np.all(np.abs(log_det) > 1e-2)


MNIST, CIFAR10 = DataSpec((28, 28, 1), name="mnist"), DataSpec((32, 32, 3), name="cifar10")


@pytest.mark.parametrize(
    ("name", "spec"),
    [("realnvp", MNIST), ("glow", CIFAR10), ("neural_spline_flow", DIGITS), ("maf", MNIST)],
)
def test_they_are_built_for_images_of_usual_sizes(name, spec):
    model = BUILDERS[name](spec)
    assert isinstance(model, Dequantized) and model.spec == spec
    assert hash(model) == hash(model)
    x = jnp.zeros((2, *spec.shape), jnp.uint8)
    params, _ = jax.eval_shape(model.init, jax.random.key(0), {"x": x})
    sample = jax.eval_shape(lambda p: model.sample(p, jax.random.key(0), 3), params)
    assert sample.shape == (3, *spec.shape) and sample.dtype == jnp.uint8


@pytest.mark.parametrize(("shape", "levels"), [((8, 8, 1), 2), ((28, 28, 1), 2), ((32, 32, 3), 3)])
def test_images_are_halved_as_often_as_they_can_be(shape, levels):
    spec = DataSpec(shape)
    assert glow(spec) == glow(spec, num_scales=levels)
    assert glow(spec) != glow(spec, num_scales=levels - 1)


@pytest.mark.parametrize("build", [realnvp, glow, neural_spline_flow])
def test_sizes_that_do_not_divide_are_refused_when_built(build):
    name = build.__name__
    with pytest.raises(ValueError) as caught:
        build(DataSpec((28, 28, 1), name="mnist"), num_scales=3)
    assert str(caught.value) == (
        f"mnist has images of 28x28, which can be halved 2 times, and {name} was given "
        "num_scales=3: give num_scales=1 to 2"
    )
    with pytest.raises(ValueError, match=r"can be halved 0 times.*pad them to an even height"):
        build(DataSpec((7, 8, 1)))
    with pytest.raises(ValueError, match="num_scales=0: give num_scales=1 to 3"):
        build(DIGITS, num_scales=0)


def test_shapes_that_are_no_images_or_vectors_are_refused():
    with pytest.raises(ValueError, match=r"glow is over images .*\(2,\): use neural_spline_flow"):
        glow(DataSpec((2,), num_levels=None))
    with pytest.raises(ValueError, match=r"\(1,\), and coupling.*: use neural_spline_flow"):
        realnvp(DataSpec((1,), num_levels=None))
    for build in (realnvp, neural_spline_flow):
        with pytest.raises(ValueError, match=r"\(4, 3\), and coupling.*: use maf"):
            build(DataSpec((4, 3), num_levels=None))


@pytest.mark.parametrize(
    ("build", "levels", "num_classes"),
    [(neural_spline_flow, None, None), (neural_spline_flow, 6, 2), (maf, 6, None), (maf, None, 2)],
)
def test_one_entry_is_data_too(build, levels, num_classes):
    """The density of one number integrates to 1, and codes come back."""
    model = build(DataSpec((1,), levels), steps=1, num_classes=num_classes)
    of = lambda num: {} if num_classes is None else {"label": jnp.arange(num) % 2}  # noqa: E731
    flow = model if levels is None else model.flow
    x = jnp.linspace(-12.0, 12.0, 4001)[:, None] if levels is None else jnp.zeros((8, 1), jnp.uint8)

    @jax.jit
    def run(key):
        start = x if levels else jax.random.normal(key, (64, 1))
        params, _ = model.init(key, {"x": start, **of(len(start))})
        params = shaken(params, 0.1)
        z = flow.encode(params, x / 10, **of(len(x)))
        back = flow.decode(params, z, **of(len(x)))
        label = {} if num_classes is None else {"label": jnp.ones(len(x), int)}
        log_prob = model.log_prob(params, x, **label) if levels is None else jnp.zeros(1)
        return back, log_prob, model.sample(params, key, 5)

    back, log_prob, sample = run(jax.random.key(0))
    np.testing.assert_allclose(back, x / 10, atol=2e-3)
    assert sample.shape == (5, 1)
    if levels is None:
        np.testing.assert_allclose(np.trapezoid(np.exp(log_prob), x[:, 0]), 1.0, atol=2e-3)


def test_vectors_of_an_odd_length():
    spec = DataSpec((3,), num_levels=None)
    x = jax.random.normal(jax.random.key(1), (8, 3))
    model = realnvp(spec, steps=1, network=lambda outputs: MLP((8, outputs)))

    @jax.jit
    def there_and_back(key):
        params = shaken(model.init(key, {"x": x})[0], 0.1)
        z = model.encode(params, x)
        return z, model.decode(params, z)

    z, back = there_and_back(jax.random.key(0))
    assert not np.allclose(z, x)
    np.testing.assert_allclose(back, x, atol=2e-4)


def test_discrete_vectors_are_dequantised():
    model = maf(DataSpec((5,), num_levels=3), steps=1, hidden=(8,))
    assert isinstance(model, Dequantized)
    assert not isinstance(model.flow.bijector.bijectors[1], Flattened)
