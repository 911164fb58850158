"""The probability-flow ODE on Gaussians and their mixtures, whose densities are known."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from genjax_models.core import random
from genjax_models.core.preprocess import Preprocess, identity, uniform_dequantization
from genjax_models.core.protocols import ApproximateDensity, Representation, TractableDensity
from genjax_models.core.types import DataSpec
from genjax_models.diffusion import ode, samplers
from genjax_models.diffusion.flow_matching import FlowMatching
from genjax_models.diffusion.ode import DequantizedProbabilityFlow, ProbabilityFlow
from genjax_models.diffusion.schedules import EDM, LinearBeta, RectifiedFlow

KEY = jax.random.key(0)
VP, FLOW, VE = LinearBeta(), RectifiedFlow(), EDM()
POINTS = DataSpec((2,), num_levels=None, num_classes=2, name="points")

# A mixture of Gaussians that is no product of its entries: N(c_k, s_k^2 I) with weights w_k.
CENTRES = jnp.asarray([[-1.0, 0.4], [0.8, 1.0], [0.2, -0.9]])
SCALES, WEIGHTS = jnp.asarray([0.3, 0.15, 0.5]), jnp.asarray([0.5, 0.2, 0.3])


def log_mixture(x, alpha=1.0, sigma=0.0):
    """The log-densities of alpha x_0 + sigma eps under the components `[B, 3]`, with weights."""
    variance = (alpha * SCALES) ** 2 + sigma**2
    squares = jnp.sum((x[:, None] - alpha * CENTRES) ** 2, axis=-1)
    return jnp.log(WEIGHTS) - 0.5 * squares / variance - jnp.log(2 * jnp.pi * variance)


def mixture(schedule):
    def denoise(x_t, t):
        alpha, sigma = schedule(t)
        share = jax.nn.softmax(log_mixture(x_t, alpha, sigma))[..., None]
        gain = (alpha * SCALES**2 / ((alpha * SCALES) ** 2 + sigma**2))[:, None]
        return jnp.sum(share * (CENTRES + gain * (x_t[:, None] - alpha * CENTRES)), axis=1)

    return denoise


@dataclasses.dataclass(frozen=True)
class Gaussians:
    """A trained model of N(mean_y, scale^2) in every entry, with the protocol of `Diffusion`."""

    schedule: object
    spec: DataSpec
    means: tuple[float, ...]
    scale: float
    num_classes: int | None = None
    preprocess: Preprocess = identity

    def mean(self, label):
        return jnp.asarray(self.means)[0 if label is None else label[:, None]]

    def denoiser(self, params, *, label=None, state=None):
        def denoise(x_t, t):
            alpha, sigma = self.schedule(t)
            mean = self.mean(label)
            gain = alpha * self.scale**2 / ((alpha * self.scale) ** 2 + sigma**2)
            return mean + gain * (x_t - alpha * mean)

        return denoise

    def solution(self, x, label, t=1.0, end=0.0):
        """Where the ODE leads from x at t: to another time, or to the data."""
        mean = self.mean(label)
        (a, s), (b, r) = (self.schedule(jnp.asarray(u)) for u in (t, end))
        before, after = (jnp.sqrt((c * self.scale) ** 2 + n**2) for c, n in ((a, s), (b, r)))
        return b * mean + after * (x - a * mean) / before

    def pushed(self, label):
        """Mean and scale of what the ODE makes of N(0, sigma(1)^2)."""
        zero, one = (self.solution(jnp.full((1, 1), v), label) for v in (0.0, 1.0))
        return zero, (one - zero) * self.schedule(jnp.ones(()))[1]


def log_normal(x, mean, scale):
    return jnp.sum(
        -0.5 * ((x - mean) / scale) ** 2 - jnp.log(scale) - 0.5 * math.log(2 * math.pi), -1
    )


LABELLED = Gaussians(VP, POINTS, means=(-0.8, 0.5), scale=0.6, num_classes=2)
LABEL = jnp.asarray([0, 1, 1, 0, 1, 0])
X = jax.random.normal(jax.random.key(1), (6, 2))


def test_the_adaptive_sampler_is_on_the_solution_at_every_time_of_the_grid():
    schedule, model = FLOW, dataclasses.replace(LABELLED, schedule=FLOW)
    times = jnp.concatenate([jnp.asarray([1.0, 0.6, 0.3]), ode.ends(schedule)[1:]])
    x = samplers.initial_noise(schedule, X.shape, times, KEY)
    run = jax.jit(
        lambda x: ode.adaptive(
            model.denoiser(None, label=LABEL),
            schedule,
            x,
            times,
            KEY,
            rtol=1e-6,
            atol=1e-6,
            trajectory=True,
        )
    )
    path = run(x)
    assert path.shape == (5, 6, 2)
    np.testing.assert_array_equal(path[0], x)
    for state, t in zip(path[1:-1], times[1:], strict=True):
        exact = model.solution(x, LABEL, end=t)
        np.testing.assert_allclose(state, exact, rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(path[-1], model.solution(x, LABEL), atol=2e-4)


def test_a_grid_of_one_time_is_one_look_and_too_few_steps_give_nan():
    denoise, x = mixture(FLOW), X
    one = ode.adaptive(denoise, FLOW, x, jnp.asarray([0.7]), KEY)
    np.testing.assert_allclose(one, denoise(x, jnp.asarray(0.7)), rtol=1e-5)
    few = jax.jit(lambda x: ode.adaptive(denoise, FLOW, x, ode.ends(FLOW), KEY, max_steps=2))
    assert np.all(np.isnan(few(x)))


@pytest.fixture(scope="module")
def exact_log_prob():
    return jax.jit(lambda x: ode.log_prob(mixture(FLOW), FLOW, x, KEY))


def test_log_prob_is_that_of_the_mixture(exact_log_prob):
    x = jnp.concatenate([CENTRES, 1.5 * X])
    true = jax.nn.logsumexp(log_mixture(x), axis=-1)
    np.testing.assert_allclose(exact_log_prob(x), true, atol=1e-3)


def test_an_examples_figure_does_not_depend_on_the_others(exact_log_prob):
    x = jnp.concatenate([CENTRES, 1.5 * X])
    others = x.at[3:].set(jnp.linspace(-7, 7, 12).reshape(6, 2))
    np.testing.assert_array_equal(exact_log_prob(others)[:3], exact_log_prob(x)[:3])


def test_hutchinsons_estimate_is_unbiased_and_the_same_on_any_devices(exact_log_prob):
    x = jnp.tile(jnp.asarray([[0.1, 0.3]]), (256, 1))

    def estimate(x):
        return ode.log_prob(
            mixture(FLOW), FLOW, x, KEY, divergence=ode.Hutchinson(2), rtol=1e-4, atol=1e-4
        )

    found = jax.jit(estimate)(x)
    error = float(jnp.std(found)) / math.sqrt(len(found))
    assert 0.001 < error < 0.05
    assert float(jnp.mean(found)) == pytest.approx(float(exact_log_prob(x[:9])[0]), abs=4 * error)
    mapped = jax.pmap(estimate, axis_name=random.DATA_AXIS)(x.reshape(2, 128, 2))
    np.testing.assert_allclose(mapped.reshape(-1), found, atol=1e-4)


@pytest.mark.parametrize("draw", [jax.random.rademacher, jax.random.normal])
def test_divergences(draw):
    a = jnp.asarray([[1.0, 2.0], [-0.5, 3.0]])
    field = lambda x: jnp.tanh(a @ x)  # noqa: E731
    value, divergence = ode.exact(field, X[0], KEY)
    np.testing.assert_allclose(value, field(X[0]))
    assert float(divergence) == pytest.approx(float(jnp.trace(jax.jacobian(field)(X[0]))))
    value, estimate = ode.Hutchinson(20_000, draw)(field, X[0], KEY)
    np.testing.assert_allclose(value, field(X[0]))
    assert float(estimate) == pytest.approx(float(divergence), abs=0.1)


def test_a_labelled_model_as_a_flow():
    flow = ProbabilityFlow(LABELLED)
    assert isinstance(flow, TractableDensity) and isinstance(flow, Representation)
    assert not isinstance(flow, ApproximateDensity)
    found = jax.jit(lambda x: flow.log_prob(None, x, label=LABEL))(X)
    np.testing.assert_allclose(found, log_normal(X, *LABELLED.pushed(LABEL)), atol=1e-3)
    z = jax.jit(lambda x: flow.encode(None, x, label=LABEL))(X)
    noise_of_mean = LABELLED.mean(LABEL) * VP(jnp.ones(()))[0]
    exact = noise_of_mean + (X - LABELLED.mean(LABEL)) / 0.6  # sigma(1) is nearly 1
    np.testing.assert_allclose(z, exact, atol=2e-3)
    draw = jax.jit(lambda k: flow.sample(None, k, 6, label=LABEL))(KEY)
    noise = samplers.initial_noise(VP, (6, 2), jnp.ones(1), jax.random.split(KEY)[1])
    np.testing.assert_allclose(draw, LABELLED.solution(noise, LABEL), atol=1e-3)


def test_levels_and_real_values_go_to_their_own_flow():
    levels = dataclasses.replace(LABELLED, spec=DataSpec((2,), num_levels=4, name="levels"))
    with pytest.raises(ValueError, match="use DequantizedProbabilityFlow"):
        ProbabilityFlow(levels)
    with pytest.raises(ValueError, match="no levels: use ProbabilityFlow"):
        DequantizedProbabilityFlow(LABELLED)
    with pytest.raises(ValueError, match="begins at the examples of 'low'"):
        ProbabilityFlow(FlowMatching(nn.Dense(2), spec=POINTS, base="low"))


GREY = DataSpec((1,), num_levels=9, name="grey")


def test_the_uniform_bound_rises_to_the_cells_probabilities():
    """log P(x) of a Gaussian integrated over the cells, which are 2 / 8 wide."""
    model = Gaussians(VE, GREY, means=(0.1,), scale=0.3)
    flow = DequantizedProbabilityFlow(model, ode.UniformNoise(), ode.exact)
    assert isinstance(flow, ApproximateDensity) and not isinstance(flow, TractableDensity)
    level = jnp.arange(9)[:, None]
    (mean,), (scale,) = (a[0] for a in model.pushed(None))
    edges = (jnp.linspace(-1.125, 1.125, 10) - mean) / scale
    cells = jnp.diff(jax.scipy.stats.norm.cdf(edges))
    bound = jax.jit(flow.log_prob_bound, static_argnums=3)(None, level, KEY, 120)
    assert float(jnp.mean((bound - jnp.log(cells))[2:7])) == pytest.approx(0.0, abs=0.04)


def test_noise_that_the_model_adds_by_itself_is_taken_as_it_is():
    model = Gaussians(VE, GREY, means=(0.5,), scale=0.1, preprocess=uniform_dequantization)
    level = jnp.arange(9)[:, None]
    v, log_weight, _ = DequantizedProbabilityFlow(model)._dequantized(level, KEY, KEY)
    np.testing.assert_array_equal(jnp.floor(9 * v), level)  # in units where the data span [0, 1]
    assert log_weight == pytest.approx(-math.log(9))


def test_the_noised_bound_of_a_model_of_levels_is_nearly_tight():
    """The data are levels, with known probabilities; the denoiser is theirs, exactly."""
    values, shares = jnp.linspace(-1, 1, 5), jnp.asarray([0.1, 0.4, 0.05, 0.3, 0.15])
    spec = DataSpec((1,), num_levels=5, name="five levels")

    @dataclasses.dataclass(frozen=True)
    class Levels(Gaussians):
        def denoiser(self, params, *, label=None, state=None):
            def denoise(x_t, t):
                alpha, sigma = self.schedule(t)
                log_p = jnp.log(shares) - 0.5 * ((x_t - alpha * values) / sigma) ** 2
                return jnp.sum(jax.nn.softmax(log_p) * values, axis=-1, keepdims=True)

            return denoise

    flow = DequantizedProbabilityFlow(Levels(FLOW, spec, means=(), scale=0.0))
    level = jnp.tile(jnp.arange(5), 60)[:, None]
    bound = jax.jit(flow.log_prob_bound)(None, level, KEY).reshape(60, 5)
    found = jnp.mean(bound, axis=0)
    np.testing.assert_allclose(found, jnp.log(shares), atol=0.05)
    assert float(jnp.sum(shares * (found - jnp.log(shares)))) < 0.01  # a bound, in the mean
