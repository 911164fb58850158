"""What is no level has no probability: both ends, fractions, NaN; all types; 32 and 64 bits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

import genjax_models as gm
from genjax_models.core import (
    Bernoulli,
    BetaBinomial,
    Binomial,
    Categorical,
    DataSpec,
    DiscretizedLogistic,
    likelihoods,
)

EXTREMES = np.array([-1e4, -30.0, -3.0, 0.0, 0.7, 30.0, 1e4])


def parameters(num, dtype):
    """Two arrays `[N, 1]`: all pairs of extreme numbers."""
    pairs = np.stack(np.meshgrid(EXTREMES, EXTREMES), -1).reshape(-1, 2, 1)
    return jnp.asarray(pairs[:, 0], dtype), jnp.asarray(pairs[:, 1], dtype)


def mixture(a, b, levels):
    """A mixture of two discretised logistics, of images of one pixel."""
    spec = DataSpec((1, 1, 1), levels)
    return likelihoods.discretized_logistic_mixture(2).build(
        jnp.stack([a, b, a, -b, b, a], -1).reshape(len(a), -1), spec
    )


MAKE = {
    "bernoulli": lambda a, b, levels: Bernoulli(a),
    "binomial": lambda a, b, levels: Binomial(a, levels - 1),
    "beta-binomial": lambda a, b, levels: BetaBinomial(a, b, levels - 1),
    "categorical": lambda a, b, levels: Categorical(
        jnp.stack([a, *[b] * (levels - 2), -a], axis=-1)
    ),
    "logistic": lambda a, b, levels: DiscretizedLogistic(a, b, levels),
    "mixture": mixture,
}


@pytest.fixture(params=[(n, k) for n in MAKE for k in (2, 17, 300) if n != "bernoulli" or k == 2])
def distribution(request):
    """`(dtype) -> distribution` with extreme parameters, its number of levels, examples' shape."""
    name, levels = request.param
    make = lambda dtype: MAKE[name](*parameters(levels, dtype), levels)  # noqa: E731
    return make, levels, (len(EXTREMES) ** 2, *((1, 1, 1) if name == "mixture" else (1,)))


def test_levels_sum_to_one_and_nothing_else_has_mass(distribution):
    make, levels, shape = distribution
    for dtype, tolerance in ((np.float32, 1e-4), (np.float64, 1e-6)):
        with jax.enable_x64(dtype == np.float64):
            log_prob = jax.jit(make(dtype).log_prob)
            every = jax.vmap(lambda k, f=log_prob: f(jnp.full(shape, k)))(jnp.arange(levels))
            assert every.dtype == dtype
            total = np.exp(np.asarray(every, np.float64)).sum(axis=0)
            np.testing.assert_allclose(total, 1.0, atol=tolerance)
            for x in (-1, levels, levels + 7, 2**31 - 1, -(2**31)):
                assert np.all(log_prob(jnp.full(shape, x, jnp.int32)) == -np.inf), x
            for x in (-1.0, -1e-3, 0.5, levels - 1.5, levels - 1 + 1e-3, levels, 1e30, np.inf):
                assert np.all(log_prob(jnp.full(shape, x, dtype)) == -np.inf), x
            assert np.all(np.isnan(log_prob(jnp.full(shape, np.nan, dtype))))


def test_every_type_of_number_has_the_same_probability(distribution):
    make, levels, shape = distribution
    d = make(np.float32)
    for level in {0, 1, levels - 1}:
        expected = d.log_prob(jnp.full(shape, level, jnp.int32))
        types = [jnp.float32, jnp.float16, jnp.uint32, jnp.int16]
        types += [jnp.uint8] if levels <= 256 else []
        types += [bool] if levels == 2 else []
        for dtype in types:
            np.testing.assert_array_equal(d.log_prob(jnp.full(shape, level, dtype)), expected)
        np.testing.assert_array_equal(d.log_prob(np.full(shape, level, np.int64)), expected)


def test_gradients_are_finite_beside_what_is_outside(distribution):
    make, levels, shape = distribution
    for x in (0, levels - 1, levels, -1, 0.5):
        x = jnp.full(shape, x).at[0].set(0)
        grads = jax.grad(lambda d, x=x: d.log_prob(x)[0])(make(np.float32))
        assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(grads)), x


@pytest.mark.parametrize("x", [-1, 0, 1, 16, 17, 0.5, 2.5])
def test_they_are_scipys_on_and_off_their_support(x):
    a, b = np.float64(0.4), np.float64(-1.3)
    with jax.enable_x64(True):
        value = lambda d, x=x: float(d.log_prob(jnp.full((1, 1), x))[0])  # noqa: E731
        h, g = jnp.full((1, 1), a), jnp.full((1, 1), b)
        p = scipy.special.expit(a)
        close = functools.partial(np.testing.assert_allclose, rtol=1e-6)
        close(value(Bernoulli(h)), scipy.stats.bernoulli.logpmf(x, p))
        close(value(Binomial(h, 16)), scipy.stats.binom.logpmf(x, 16, p))
        expected = scipy.stats.betabinom.logpmf(x, 16, np.exp(a), np.exp(b))
        close(value(BetaBinomial(h, g, 16)), expected)
        v = 2.0 * x / 16 - 1.0
        edges = np.array([v - 1 / 16 if x > 0 else -np.inf, v + 1 / 16 if x < 16 else np.inf])
        mass = np.diff(scipy.stats.logistic.cdf(edges, a, np.exp(b)))[0]
        level = x in range(17)
        expected = np.log(mass) if level else -np.inf
        close(value(DiscretizedLogistic(h, g, 17)), expected)


POINTS = gm.DataSpec((3,), 5, name="points")
FLAT = functools.partial(gm.networks.MLP, activation=jax.nn.tanh)
MODELS = {
    "vae": gm.VAE(FLAT((4,)), FLAT((6,)), 2, spec=POINTS, likelihood=likelihoods.beta_binomial),
    "vae of binary data": gm.VAE(
        FLAT((4,)),
        FLAT((3,)),
        2,
        spec=POINTS,
        likelihood=likelihoods.bernoulli,
        preprocess=gm.preprocess.dynamic_binarization,
    ),
    "vae of real data": gm.VAE(
        FLAT((4,)),
        FLAT((6,)),
        2,
        spec=POINTS,
        likelihood=likelihoods.normal,
        preprocess=gm.preprocess.uniform_dequantization,
    ),
    "flow": gm.flows.maf(POINTS, steps=1, hidden=(4,)),
    "autoregressive": gm.Autoregressive(gm.networks.MADE((3,), 5, (4,)), spec=POINTS),
    "masked": gm.MaskedDiffusion(
        gm.networks.Transformer(6, 4, 1, 1, 3, causal=False, outputs=5), spec=POINTS
    ),
    "diffusion": gm.Diffusion(gm.networks.DenoisingMLP(3, 4, 1), spec=POINTS),
    "diffusion's flow": gm.diffusion.DequantizedProbabilityFlow(
        gm.Diffusion(gm.networks.DenoisingMLP(3, 4, 1), spec=POINTS)
    ),
    "energy": gm.energy.NormalizedDiscrete(gm.EnergyModel(FLAT((1,)), spec=POINTS), 0.0),
}


@pytest.mark.parametrize("name", MODELS)
def test_no_model_of_levels_has_mass_elsewhere(name):
    """Under `jit`, where nothing can be refused."""
    model = MODELS[name]
    x = jnp.array([[0.0, 4.0, 2.0]] + [[0.0, bad, 2.0] for bad in (-1, 5, 1.5, 1e6, np.nan)])
    made_of = getattr(model, "diffusion", getattr(model, "model", model))
    params, state = made_of.init(jax.random.key(0), {"x": x[:1].astype(jnp.uint8)})

    def score(x):
        if isinstance(model, gm.core.TractableDensity):
            return model.log_prob(params, x, state=state)
        return model.log_prob_bound(params, x, jax.random.key(1), state=state)

    log_prob = np.asarray(jax.jit(score)(x))
    assert np.isfinite(log_prob[0])
    assert np.all(log_prob[1:-1] == -np.inf)
    assert np.isnan(log_prob[-1])
