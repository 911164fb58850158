"""Masks, couplings and their networks; and couplings after training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from genjax_models.flows.bijector import Chain, Repeat
from genjax_models.flows.coupling import (
    AffineCoupling,
    Alternate,
    Checkerboard,
    Halves,
    SplineCoupling,
)
from genjax_models.flows.linear import ActNorm, InvertibleConv1x1
from genjax_models.networks.convolutional import ResidualNetwork
from genjax_models.networks.mlp import MLP
from tests.flows.bijectors import jit

KEY = jax.random.key(0, impl="rbg")


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize(
    ("mask", "shape", "kept"),
    [
        (Halves(), (5,), [1, 1, 0, 0, 0]),
        (Halves(swap=True), (5,), [0, 0, 1, 1, 1]),
        (Alternate(0), (5,), [1, 0, 1, 0, 1]),
        (Alternate(1), (4,), [0, 1, 0, 1]),
        (Checkerboard(0), (2, 3, 1), [[[1], [0], [1]], [[0], [1], [0]]]),
        (Checkerboard(1), (2, 3, 1), [[[0], [1], [0]], [[1], [0], [1]]]),
    ],
)
def test_a_mask_keeps_what_it_says_and_shows_nothing_else(mask, shape, kept):
    x, kept = draw(2, *shape), np.broadcast_to(np.asarray(kept, bool), (2, *shape))
    seen, changed = mask.split(x)
    np.testing.assert_array_equal(mask.join(seen, changed), x)
    np.testing.assert_array_equal(mask.join(seen, changed + 100.0), np.where(kept, x, x + 100.0))
    np.testing.assert_array_equal(np.sort(seen[seen != 0]), np.sort(x[kept]))
    # What the network sees does not depend on what is changed.
    other, _ = mask.split(jnp.where(kept, x, 7.0))
    np.testing.assert_array_equal(seen, other)


def test_masks_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\(1,\) cannot be halved: put a Squeeze before"):
        Halves().split(jnp.zeros((2, 1)))
    with pytest.raises(ValueError, match="needs at least two"):
        Alternate().split(jnp.zeros((2, 1)))
    with pytest.raises(ValueError, match="use Halves"):
        Checkerboard().split(jnp.zeros((2, 4)))


@pytest.mark.parametrize(
    ("network", "shape", "wanted"),
    [(MLP((5,)), (6,), "6 outputs of a vector"), (ResidualNetwork(4, 0, 3), (2, 2, 4), "4 chan")],
)
def test_a_network_with_another_number_of_outputs(network, shape, wanted):
    x = jnp.zeros((2, *shape))
    coupling = AffineCoupling(network)
    with pytest.raises(ValueError, match=f"must return 2 numbers for each: .*{wanted}"):
        coupling.forward(coupling.init(KEY, x), x)


def test_a_network_that_keeps_statistics():
    class Normalized(nn.Module):
        @nn.compact
        def __call__(self, x, context=None):
            return nn.Dense(2)(nn.BatchNorm(use_running_average=True)(x))

    with pytest.raises(TypeError, match="Normalized keeps batch_stats beside its parameters"):
        AffineCoupling(Normalized()).init(KEY, jnp.zeros((2, 2)))


def test_splines_that_are_none():
    for wrong in ({"num_bins": 1}, {"bound": 0.0}):
        with pytest.raises(ValueError, match="takes 2 to 256 bins"):
            SplineCoupling(MLP((4,)), **wrong)


@pytest.mark.parametrize("coupling", [AffineCoupling(MLP((32, 4))), SplineCoupling(MLP((32, 46)))])
def test_a_coupling_starts_near_the_identity(coupling):
    x = draw(500, 4)
    y, log_det = jit(coupling.forward)(jit(coupling.init)(KEY, x), x)
    np.testing.assert_array_equal(y[:, :2], x[:, :2])
    assert 0.0 < np.std(y - x) < 0.3
    assert 0.0 < np.std(log_det) < 0.3


def test_the_log_scale_is_bounded():
    coupling = AffineCoupling(MLP((8, 4)), max_log_scale=1.5)
    x = 1e6 * draw(50, 4)
    params = jit(coupling.init)(KEY, x)
    _, log_det = jit(coupling.forward)({**params, "gain": 1e3 * params["gain"]}, x)
    assert np.max(np.abs(log_det)) <= 2 * 1.5 + 1e-5
    assert np.max(np.abs(log_det)) > 2.9


# A ring with a hole: what no affine map takes to a normal distribution.
def ring(num, seed=0):
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(0, 2 * np.pi, num), 2.0 + 0.2 * rng.normal(size=num)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).astype(np.float32)


def stack(dtype=jnp.float32):
    """Both couplings, three times each."""
    layers = (
        AffineCoupling(MLP((16, 2), dtype=dtype)),
        SplineCoupling(MLP((16, 23), dtype=dtype)),
    )
    return Chain([Repeat(Chain([ActNorm(), InvertibleConv1x1(), layer]), 3) for layer in layers])


def both_ways(params, x):
    """The log-determinant, the inverse of the outputs, and its log-determinant; all finite."""
    bijector = stack(x.dtype)

    def go(params, x):
        y, log_det = bijector.forward(params, x)
        return y, log_det, *bijector.inverse(params, y)

    y, *rest = jit(go)(params, x)
    assert all(np.all(np.isfinite(a)) for a in (y, *rest))
    return rest


@pytest.fixture(scope="module")
def trained():
    """`stack()` fitted to a ring by 2,000 steps: its parameters, and the losses."""
    bijector = stack()
    data = jnp.asarray(ring(4096))
    optimizer = optax.adam(2e-3)

    def loss(params, x):
        z, log_det = bijector.forward(params, x)
        return jnp.mean(0.5 * jnp.sum(z**2, axis=-1) - log_det) + np.log(2 * np.pi)

    @jax.jit
    def fit(params):
        def step(carry, x):
            params, state = carry
            value, grads = jax.value_and_grad(loss)(params, x)
            updates, state = optimizer.update(grads, state)
            return (optax.apply_updates(params, updates), state), value

        rows = np.random.default_rng(1).integers(0, len(data), (2000, 64))
        (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), data[rows])
        return params, losses

    return fit(jit(bijector.init)(KEY, data[:500]))


def test_training_has_moved_the_couplings(trained):
    _, losses = trained
    assert np.all(np.isfinite(losses))
    # The ring's entropy: log(2 pi 2) for the angle at radius 2, and that of the radius.
    entropy = np.log(2 * np.pi * 2.0) + 0.5 * np.log(2 * np.pi * np.e * 0.2**2)
    assert entropy - 0.05 < np.mean(losses[-200:]) < entropy + 0.15 < losses[0] - 0.5


def test_after_training_the_inverse_holds(trained):
    params, _ = trained
    x = jnp.asarray(ring(1000, seed=2))
    log_det, back, log_det_back = both_ways(params, x)
    np.testing.assert_allclose(back, x, atol=2e-5)
    np.testing.assert_allclose(log_det_back, -log_det, atol=2e-4)


def test_after_training_the_inverse_holds_far_from_the_data(trained):
    """In double precision; in single, networks that see numbers of 100 round by too much."""
    far = 50.0 * draw(1000, 2, seed=3)
    params = jax.tree.map(np.asarray, trained[0])
    both_ways(params, far)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), params)
        x = jnp.asarray(far, jnp.float64)
        log_det, back, log_det_back = both_ways(params, x)
        np.testing.assert_allclose(back, x, atol=1e-8)
        np.testing.assert_allclose(log_det_back, -log_det, atol=1e-7)


def test_after_training_far_inputs_have_finite_gradients(trained):
    def loss(params, x):
        z, log_det = stack().forward(params, x)
        return jnp.sum(0.5 * jnp.sum(z**2, axis=-1) - log_det)

    grads = jit(jax.grad(loss, argnums=(0, 1)))(trained[0], 50.0 * draw(100, 2, seed=4))
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(grads))
