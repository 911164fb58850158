"""Weightings and times: what they change, and what they must not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models import diffusion
from genjax_models.core import random
from genjax_models.diffusion import Diffusion, losses, time_sampler
from genjax_models.diffusion.losses import BoundParts, DiffusionOutputs
from tests.diffusion.exact import SPEC, Exact, data

KEY = jax.random.key(0)
X = data(20_000)
MIDDLE = functools.partial(jax.scipy.stats.norm.pdf, loc=0.0, scale=1.5)
"""A weighting that is nothing at the ends, which differ between schedules."""


def outputs(**kwargs):
    prediction = diffusion.NoisePrediction()
    model = Diffusion(Exact(prediction), prediction=prediction, spec=SPEC, **kwargs)
    params, state = model.init(KEY, {"x": X[:2]})
    return jax.jit(functools.partial(model.forward, train=True))(params, {"x": X}, KEY, state=state)


def test_simple_is_the_snr_weighting_of_the_denoised_data():
    out, _ = outputs()
    np.testing.assert_allclose(
        losses.simple(out), losses.Weighted(losses.snr)(out), rtol=0.02, atol=1e-4
    )


def test_weights_by_log_snr_do_not_depend_on_the_schedule():
    term = losses.WeightedByLogSNR(MIDDLE)
    cosine, linear = (
        float(jnp.mean(term(outputs(schedule=schedule)[0])))
        for schedule in (diffusion.Cosine(), diffusion.LinearBeta())
    )
    assert cosine == pytest.approx(linear, rel=0.04)


def test_the_bound_is_half_the_unweighted_integral_over_the_log_snr():
    out, _ = outputs()
    by_log_snr = 4 * losses.WeightedByLogSNR(lambda log_snr: 0.5 * jnp.exp(log_snr))(out)
    np.testing.assert_allclose(losses.diffusion(out), by_log_snr, rtol=1e-3, atol=1e-3)


def test_weightings_meet_their_definitions():
    log_snr = jnp.array([-3.0, 0.0, 4.0])
    snr = jnp.exp(log_snr)
    np.testing.assert_allclose(losses.MinSNR(5.0)(log_snr), jnp.minimum(snr, 5.0))
    np.testing.assert_allclose(losses.truncated_snr(log_snr), jnp.maximum(snr, 1.0))
    np.testing.assert_allclose(
        losses.SigmoidWeighting(-1.0)(log_snr), snr / (1 + jnp.exp(1 + log_snr))
    )
    s, s_d = jnp.exp(-0.5 * log_snr), 0.5
    density = jnp.exp(-0.5 * ((jnp.log(s) + 1.2) / 1.2) ** 2) / (1.2 * (2 * jnp.pi) ** 0.5)
    # d log s = d log SNR / 2.
    wanted = 0.5 * density * (s**2 + s_d**2) / (s * s_d) ** 2
    np.testing.assert_allclose(losses.EDMWeighting()(log_snr), wanted, rtol=1e-5)


def steep(u):
    """A loss that is large near 0: its integral is 0.1 (1 - e^-10)."""
    return jnp.exp(-10.0 * u)


def estimate(drawn, memory, key):
    u, weight = drawn.draw(key, 64, memory)
    return jnp.mean(weight * steep(u))


def learned_memory(drawn):
    memory = drawn.init()
    for i in range(60):
        u, _ = drawn.draw(jax.random.key(i), 64, memory)
        memory = drawn.update(memory, u, steep(u))
    return memory


@pytest.mark.parametrize(
    "drawn",
    [time_sampler.Uniform(), time_sampler.LowDiscrepancy(), time_sampler.Importance(16)],
    ids=lambda drawn: type(drawn).__name__,
)
def test_times_change_the_variance_and_not_the_mean(drawn):
    memory = learned_memory(drawn)
    keys = jax.random.split(jax.random.key(7), 2000)
    means = jax.vmap(lambda key: estimate(drawn, memory, key))(keys)
    error = float(jnp.std(means)) / 2000**0.5
    assert float(jnp.mean(means)) == pytest.approx(0.1, abs=4 * error + 1e-4)
    plain = jax.vmap(lambda key: estimate(time_sampler.Uniform(), {}, key))(keys)
    if drawn != time_sampler.Uniform():
        assert float(jnp.std(means)) < 0.35 * float(jnp.std(plain))


def test_low_discrepancy_has_one_time_in_each_part():
    u, _ = time_sampler.LowDiscrepancy().draw(KEY, 32, {})
    assert u.min() > 0 and u.max() <= 1
    # Even distances: as many in any 32nd as there are parts, but at the ends.
    np.testing.assert_allclose(np.diff(np.sort(u)), 1 / 32, atol=1e-6)


def test_importance_takes_the_loss_as_its_density():
    drawn = time_sampler.Importance(16, uniform=0.0)
    memory = learned_memory(drawn)
    middles = (np.arange(16) + 0.5) / 16
    wanted = np.asarray(steep(middles))
    found = np.sqrt(np.asarray(memory["squares"]))
    np.testing.assert_allclose(found / found.sum(), wanted / wanted.sum(), atol=0.03)
    with pytest.raises(ValueError, match="give 1 or more"):
        time_sampler.Importance(0)


def test_a_step_with_the_smaller_variance_is_a_difference_of_snrs():
    schedule = diffusion.LinearBeta()
    t, s = jnp.array([0.3, 0.9]), jnp.array([0.29, 0.89])
    at, to = (diffusion.schedules.noise_scale(schedule, a, 2) for a in (t, s))
    x_0, denoised = random.normal(KEY, (2, 3)), jnp.zeros((2, 3))
    kl = losses.step_kl(x_0, denoised, jnp.zeros((2, 3)), at, to)
    snr = lambda t: jnp.exp(schedule.log_snr(t))  # noqa: E731
    wanted = 0.5 * (snr(s) - snr(t)) * jnp.sum(x_0**2, axis=-1)
    np.testing.assert_allclose(kl, wanted, rtol=2e-3)


def test_the_memory_of_the_times_is_kept_in_the_state():
    _, state = outputs(time_sampler=time_sampler.Importance(8))
    assert float(jnp.sum(state["time_sampler"]["counts"])) == 80.0


def test_a_learned_schedule_falls_and_is_inverted():
    learned = diffusion.LearnedSchedule(width=16)
    schedule = learned.bind(learned.init(KEY))
    t = jnp.linspace(0.0, 1.0, 50)
    log_snr = schedule.log_snr(t)
    assert jnp.all(jnp.diff(log_snr) < 0)
    np.testing.assert_allclose(log_snr[jnp.array([0, -1])], [13.3, -10.0], atol=1e-4)
    np.testing.assert_allclose(schedule.time(log_snr), t, atol=1e-5)
    alpha, sigma = schedule(t)
    np.testing.assert_allclose(alpha**2 + sigma**2, 1.0, atol=1e-6)


@pytest.mark.parametrize("side", [2, 16])
def test_the_learned_variances_term_is_nichol_and_dhariwals_in_bits_per_dimension(side):
    schedule, steps, v = diffusion.LinearBeta(), 1000, 0.3
    t, s = np.array([0.3, 0.9, 1.0]), np.array([0.299, 0.899, 0.999])
    at, to = (diffusion.schedules.noise_scale(schedule, jnp.asarray(a), 4) for a in (t, s))
    shape, one = (3, side, side, 1), jnp.ones(3)
    x_0, denoised = random.normal(KEY, shape), 0.3 * random.normal(jax.random.key(1), shape)
    out = DiffusionOutputs(
        x_0=x_0, x_t=x_0, t=jnp.asarray(t), noise=x_0, prediction=x_0, target=x_0,
        denoised=denoised, weight=one, log_snr=one, log_snr_rate=one,
        bound=BoundParts(one, one, one, jnp.full(shape, v), at, to, steps),
    )  # fmt: skip
    with jax.enable_x64(True):
        (a_t, s_t), (a_s, s_s) = (map(np.asarray, schedule(jnp.asarray(u))) for u in (t, s))
    beta = s_t**2 - (a_t / a_s * s_s) ** 2
    small = beta * s_s**2 / s_t**2
    learned = beta**v * small ** (1 - v)
    square = np.mean(np.asarray(x_0 - denoised, float) ** 2, (1, 2, 3)) * (a_s * beta / s_t**2) ** 2
    nats = 0.5 * (np.log(learned / small) - 1 + (small + square) / learned)
    np.testing.assert_allclose(losses.variance(out), steps * nats / np.log(2), rtol=0.02)
    np.testing.assert_allclose(
        losses.diffusion(out), losses.variance(out) * side**2 * np.log(2), rtol=1e-5
    )


def test_noise_predicted_where_there_is_nothing_else_is_refused_before_the_work():
    flow = diffusion.RectifiedFlow()
    model = Diffusion(Exact(diffusion.NoisePrediction()), flow, diffusion.NoisePrediction(), SPEC)
    params, _ = model.init(KEY, {"x": X[:2]})
    for ask in (
        lambda: model.sample(params, KEY, 2),
        lambda: model.denoise(params, jnp.ones((2, 4, 1)), jnp.ones(())),
        lambda: diffusion.Consistency(model),
        lambda: diffusion.ProbabilityFlow(model),
        lambda: Diffusion(
            Exact(diffusion.NoisePrediction()),
            flow,
            diffusion.NoisePrediction(),
            SPEC,
            steps=9,
            learned_variance=True,
        ),
    ):
        with pytest.raises(ValueError, match=r"prediction=VelocityPrediction\(\)") as caught:
            ask()
        assert "\n" not in str(caught.value)
    timesteps = diffusion.karras_timesteps(flow, 4)
    assert model.sample(params, KEY, 2, timesteps=timesteps).shape == (2, 4, 1)
    out, _ = model.forward(params, {"x": X[:2]}, KEY, state={}, train=False)
    bound = out.bound.replace(snr_rate=jnp.zeros(2))
    nothing = out.replace(denoised=out.denoised * jnp.nan, bound=bound)
    np.testing.assert_array_equal(losses.diffusion(nothing), 0.0)
