"""The flow over discrete data: its bound against probabilities that are known."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from genjax_models.core.dequantization import Uniform
from genjax_models.core.protocols import ApproximateDensity, Representation
from genjax_models.core.types import DIGITS, DataSpec
from genjax_models.flows.bijector import Chain, Flattened, Logit
from genjax_models.flows.coupling import AffineCoupling
from genjax_models.flows.dequantized import Dequantized, Variational
from genjax_models.flows.flow import Flow, real_valued
from genjax_models.flows.linear import ActNorm
from genjax_models.networks.mlp import MLP
from tests.flows.test_flow import shaken

SPEC = DataSpec((2,), num_levels=4, name="pairs")
EVERY = jnp.stack(jnp.meshgrid(jnp.arange(4), jnp.arange(4), indexing="ij"), -1).reshape(-1, 2)
ALPHA, SCALE, SHIFT = 0.05, np.array([1.3, 0.6]), np.array([0.4, -0.3])
VARIATIONAL = Variational(Chain([ActNorm(), AffineCoupling(MLP((8, 2)))]))


def exact_log_prob(x):
    """log P(x): the masses of cells under a normal of logits."""

    def cdf(edge):
        p = ALPHA + (1 - 2 * ALPHA) * edge
        return norm.cdf(SCALE * jnp.log(p / (1 - p)) + SHIFT)

    return jnp.sum(jnp.log(cdf((x + 1) / 4) - cdf(x / 4)), axis=-1)


def noise_params(dequantization):
    """Of learned noise, away from its start, and wide enough to be weighed by."""
    params = shaken(jax.jit(lambda k: dequantization.init(k, EVERY, SPEC))(jax.random.key(0)), 0.1)
    if params:
        params["0_ActNorm"]["log_scale"] = jnp.log(jnp.array([1.8, 1.7]))
    return params


@pytest.fixture(params=[Uniform(), VARIATIONAL], ids=["uniform", "variational"], scope="module")
def known(request):
    """A model whose probabilities are known, and its bound as a compiled function."""
    flow = Flow(Chain([Logit(ALPHA), ActNorm()]), spec=real_valued(SPEC))
    model = Dequantized(flow, request.param, SPEC)
    params, _ = jax.jit(model.init)(jax.random.key(0), {"x": EVERY})
    params["bijector"]["1_ActNorm"] = {"log_scale": jnp.log(SCALE), "shift": jnp.asarray(SHIFT)}
    params["dequantization"] = noise_params(request.param)
    return model, params, jax.jit(model.log_prob_bound, static_argnums=3)


def test_what_it_can_do_is_said_by_protocols(known):
    model, *_ = known
    assert isinstance(model, ApproximateDensity) and isinstance(model, Representation)
    assert hash(model) == hash(model)


def test_the_bound_rises_to_the_probability(known):
    model, params, bound = known
    exact = exact_log_prob(EVERY)
    x = jnp.repeat(EVERY, 400, axis=0)

    def mean(num):
        return jnp.mean(bound(params, x, jax.random.key(num), num).reshape(-1, 400), axis=1)

    one, few, many = mean(1), mean(8), mean(300)
    assert np.all(one < few + 0.01) and np.all(few < exact + 0.01)
    assert np.mean(one) < np.mean(few) - 0.05
    assert np.mean(few) < np.mean(exact) - 0.005
    np.testing.assert_allclose(many, exact, atol=0.01)


def test_the_loss_is_the_bound_with_one_draw(known):
    model, params, bound = known
    x = jnp.repeat(EVERY, 400, axis=0)
    loss, aux = jax.jit(lambda k: model.loss(params, {"x": x}, k))(jax.random.key(3))
    assert aux.metrics["nll"] == loss
    expected = -jnp.mean(bound(params, x, jax.random.key(1), 1))
    np.testing.assert_allclose(loss, expected, atol=0.03)


def test_samples_have_the_probabilities(known):
    model, params, _ = known
    x = jax.jit(lambda k: model.sample(params, k, 20_000))(jax.random.key(0))
    assert x.dtype == jnp.uint8
    counts = np.bincount(4 * np.asarray(x[:, 0], int) + np.asarray(x[:, 1]), minlength=16)
    exact = np.exp(exact_log_prob(EVERY))
    # The flow's mass beyond [0, 1], whose logits are finite, goes to the cells at the ends.
    inner = np.all((np.asarray(EVERY) > 0) & (np.asarray(EVERY) < 3), axis=-1)
    assert inner.sum() == 4
    np.testing.assert_allclose(counts[inner] / 20_000, exact[inner], atol=0.012)
    assert np.all(counts[~inner] / 20_000 > exact[~inner] - 0.012)


def test_noise_stays_in_its_cell_and_its_density_integrates_to_one(known):
    """E_q[1 / q(y | x)] is the volume of where q puts its mass: the cell's, levels^-D."""
    model, params, _ = known
    x = jnp.repeat(EVERY[:4], 5000, axis=0)
    dequantize = jax.jit(lambda k: model.dequantization(params["dequantization"], x, k, SPEC))
    y, log_q = dequantize(jax.random.key(0))
    assert np.all(y * 4 >= x - 1e-6) and np.all(y * 4 <= x + 1 + 1e-6)
    volume = jnp.mean(jnp.exp(-log_q.reshape(4, -1)), axis=1)
    np.testing.assert_allclose(volume, 4.0**-2, rtol=0.05)


def test_the_density_of_learned_noise_is_the_change_of_variables():
    params, key = noise_params(VARIATIONAL), jax.random.key(3)
    x = EVERY[5:6]
    eps = jax.random.normal(jax.random.fold_in(key, 0), (2,))

    @jax.jit
    def by_hand(eps):
        def cell(eps):
            v, _ = VARIATIONAL.bijector.forward(params, eps[None], 2.0 * x / 3 - 1.0)
            return ((x + jax.nn.sigmoid(v)) / 4)[0]

        log_normal = -0.5 * jnp.sum(eps**2) - math.log(2 * math.pi)
        return cell(eps), log_normal - jnp.linalg.slogdet(jax.jacfwd(cell)(eps))[1]

    y, log_q = jax.jit(lambda k: VARIATIONAL(params, x, k, SPEC))(key)
    expected, log_density = by_hand(eps)
    np.testing.assert_allclose(y[0], expected, rtol=1e-5)
    np.testing.assert_allclose(log_q[0], log_density, atol=1e-4)


@pytest.fixture(scope="module")
def on_digits(digits):
    bijector = Chain([Logit(), Flattened(AffineCoupling(MLP((16, 64))))])
    model = Dequantized(Flow(bijector, spec=real_valued(DIGITS), num_classes=10))
    batch = digits.rows(np.arange(32))
    params, _ = jax.jit(model.init)(jax.random.key(0), batch)
    return model, shaken(params, 0.1), batch


def test_codes_of_cells_come_back_exactly(on_digits):
    model, params, batch = on_digits
    x, label = batch["x"], batch["label"]
    z = jax.jit(lambda x: model.encode(params, x, label=label))(x)
    assert z.shape == x.shape and z.dtype == jnp.float32
    back = jax.jit(lambda z: model.decode(params, z, label=label))(z)
    assert back.dtype == x.dtype
    np.testing.assert_array_equal(back, x)


def test_samples_of_a_label_are_data(on_digits):
    model, params, _ = on_digits
    sample = jax.jit(
        lambda key, temperature, label: model.sample(
            params, key, 4, temperature=temperature, label=label
        )
    )
    x = sample(jax.random.key(0), 1.0, 3)
    assert x.shape == (4, 8, 8, 1) and x.dtype == jnp.uint8 and x.max() <= 16
    assert not np.array_equal(x, sample(jax.random.key(0), 1.0, 4))
    cold = sample(jax.random.key(0), 1e-6, 3)  # the mode, four times
    np.testing.assert_array_equal(cold, np.broadcast_to(cold[:1], cold.shape))
    with pytest.raises(ValueError, match="temperature is 0: give a number above 0"):
        model.sample(params, jax.random.key(0), 4, temperature=0)
    with pytest.raises(ValueError, match="label 10 is given"):
        model.sample(params, jax.random.key(0), 4, label=10)
    with pytest.raises(ValueError, match="none was given"):
        model.log_prob_bound(params, jnp.zeros((4, 8, 8, 1), jnp.uint8), jax.random.key(0))


def test_the_bound_of_many_draws_takes_no_more_memory(known):
    _, params, bound = known

    def temporary(num):
        lowered = bound.lower(params, EVERY, jax.random.key(0), num)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert temporary(64) <= 1.5 * temporary(2)


def test_flow_and_data_must_fit():
    with pytest.raises(ValueError, match=r"real-valued entries and no levels.*Flow by itself$"):
        Dequantized(Flow(ActNorm()), spec=real_valued(SPEC))
    with pytest.raises(ValueError, match=r"shape \(8, 8, 1\), but the flow is over \(2,\)"):
        Dequantized(Flow(ActNorm()))
