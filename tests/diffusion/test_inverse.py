"""Inverse problems on correlated Gaussian data, whose posteriors are known in closed form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.diffusion import inverse, samplers
from genjax_models.diffusion.samplers import karras_timesteps, linear_timesteps
from genjax_models.diffusion.schedules import LinearBeta, RectifiedFlow

VP, FLOW = LinearBeta(), RectifiedFlow()
KEY = jax.random.key(0)
MEAN = jnp.asarray([0.5, -0.3, 0.0, 1.0])
ROOT = jnp.asarray([[0.8, 0, 0, 0], [0.6, 0.3, 0, 0], [-0.4, 0.2, 0.5, 0], [0.3, 0.1, 0.4, 0.2]])
SIGMA = ROOT @ ROOT.T
MIX = jnp.asarray([[1.0, 0.5, 0.0, -1.0], [0.0, 1.0, 2.0, 0.0]])  # A
NOISE = 0.2


def gaussian(schedule, mean, covariance):
    """E[x_0 | x_t] of N(mean, covariance)."""

    def denoise(x_t, t):
        alpha, sigma = schedule(t)
        inner = alpha**2 * covariance + sigma**2 * jnp.eye(len(mean))
        return mean + (x_t - alpha * mean) @ jnp.linalg.solve(inner, alpha * covariance)

    return denoise


def given(y, a, noise, mean=MEAN, covariance=SIGMA):
    """Mean and covariance of x_0 given y = a x_0 + noise."""
    y, a, mean, covariance = map(np.asarray, (y, a, mean, covariance))
    gain = covariance @ a.T @ np.linalg.inv(a @ covariance @ a.T + noise**2 * np.eye(len(a)))
    return mean + gain @ (y - a @ mean), covariance - gain @ a @ covariance


def test_moment_matching_is_exact_for_gaussian_data():
    y = jnp.asarray([[0.7, -1.0], [2.0, 0.1]])
    measure = lambda x: x @ MIX.T  # noqa: E731
    denoise = gaussian(FLOW, MEAN, SIGMA)
    guided = jax.jit(inverse.posterior(denoise, FLOW, measure, y, NOISE))
    x = jax.random.normal(KEY, (2, 4))
    for t in (0.03, 0.3, 0.8):
        exact = [
            gaussian(FLOW, *given(y_i, MIX, NOISE))(x_i[None], jnp.asarray(t))[0]
            for x_i, y_i in zip(x, y, strict=True)
        ]
        np.testing.assert_allclose(guided(x, jnp.asarray(t)), jnp.stack(exact), atol=1e-3)


def test_the_isotropic_covariance_is_exact_for_isotropic_data_and_only_there():
    y, t = jnp.asarray([[0.7, -1.0]]), jnp.asarray(0.5)
    measure, x = lambda x: x @ MIX.T, jax.random.normal(KEY, (1, 4))
    spread = 0.7**2 * jnp.eye(4)
    pigdm = functools.partial(inverse.posterior, covariance=inverse.Isotropic(0.7))
    for covariance, is_exact in ((spread, True), (SIGMA, False)):
        guided = pigdm(gaussian(FLOW, MEAN, covariance), FLOW, measure, y, NOISE)
        exact = gaussian(FLOW, *given(y[0], MIX, NOISE, covariance=covariance))
        error = float(jnp.max(jnp.abs(guided(x, t) - exact(x, t))))
        assert error < 1e-4 if is_exact else error > 0.02


def test_samples_have_the_exact_posteriors_moments():
    y = jnp.asarray([0.7, -1.0])
    guided = inverse.posterior(
        gaussian(VP, MEAN, SIGMA), VP, lambda x: x @ MIX.T, jnp.tile(y, (4000, 1)), NOISE
    )
    times = karras_timesteps(VP, 30)
    x = samplers.initial_noise(VP, (4000, 4), times, KEY)
    x_0 = jax.jit(lambda x: samplers.dpm_solver_2m(guided, VP, x, times, KEY))(x)
    mean, covariance = given(y, MIX, NOISE)
    np.testing.assert_allclose(jnp.mean(x_0, 0), mean, atol=0.03)
    np.testing.assert_allclose(jnp.cov(x_0.T), covariance, atol=0.02)


def test_nothing_is_measured_where_there_is_no_signal_and_nothing_is_left_of_a_perfect_fit():
    denoise = gaussian(FLOW, MEAN, SIGMA)
    x, one = jax.random.normal(KEY, (2, 4)), jnp.ones(())
    guided = inverse.posterior(denoise, FLOW, lambda x: x @ MIX.T, jnp.zeros((2, 2)), 0.0)
    np.testing.assert_allclose(guided(x, one), denoise(x, one), atol=1e-6)
    t = jnp.asarray(0.5)
    fitting = denoise(x, t) @ MIX.T
    guided = inverse.posterior(denoise, FLOW, lambda x: x @ MIX.T, fitting, 0.1)
    np.testing.assert_allclose(guided(x, t), denoise(x, t), atol=1e-6)


def test_operators_measure_what_they_say():
    x = jax.random.normal(KEY, (2, 4, 6, 2))
    small = inverse.Downsampled(2)(x)
    assert small.shape == (2, 2, 3, 2)
    np.testing.assert_allclose(small[0, 1, 2, 1], jnp.mean(x[0, 2:4, 4:6, 1]), rtol=1e-5)
    mask = jnp.arange(6)[None, :, None] < 3
    seen = inverse.masked(jnp.broadcast_to(mask, (4, 6, 2)))(x)
    np.testing.assert_array_equal(seen[:, :, :3], x[:, :, :3])
    assert not np.any(seen[:, :, 3:])
    kernel = np.arange(9.0).reshape(3, 3)
    spike = jnp.zeros((1, 5, 5, 2)).at[0, 2, 2, 1].set(1.0)
    blurred = inverse.blurred(kernel)(spike)
    np.testing.assert_allclose(blurred[0, 1:4, 1:4, 1], kernel)
    assert float(jnp.sum(jnp.abs(blurred))) == pytest.approx(36.0)
    with pytest.raises(ValueError, match="4x6 cannot be downsampled by 4"):
        inverse.Downsampled(4)(x)


@pytest.mark.parametrize(
    "measure",
    [
        inverse.masked(jnp.arange(4)[:, None, None] < 2),
        inverse.Downsampled(2),
        inverse.blurred([[0.0, 0.1, 0.0], [0.2, 0.4, 0.1], [0.0, 0.2, 0.0]]),
    ],
    ids=["masked", "downsampled", "blurred"],
)
def test_images_are_restored_through_every_operator(measure):
    """Of standard normal pixels the guided mean is the least-squares one: it fits y and no more."""
    x = jax.random.normal(KEY, (2, 4, 4, 1))
    denoise = lambda x_t, t: (1 - t) / ((1 - t) ** 2 + t**2) * x_t  # noqa: E731
    y, t = measure(x), jnp.asarray(0.9)
    guided = inverse.posterior(denoise, FLOW, measure, y, 0.1, iterations=16)
    found = jax.jit(guided)(jnp.zeros_like(x), t)
    dense = np.asarray(jax.vmap(lambda e: measure(e.reshape(1, 4, 4, 1)).ravel())(jnp.eye(16))).T
    spread = 0.81 / (0.81 + 0.01)  # x_0 given x_t is N(., spread I)
    inner = spread * dense @ dense.T + 0.1**2 * np.eye(len(dense))
    exact = spread * dense.T @ np.linalg.solve(inner, np.asarray(y).reshape(2, -1).T)
    np.testing.assert_allclose(found.reshape(2, -1), exact.T, atol=1e-3)


RHO, KNOWN = 0.9, 1.5
PAIR = gaussian(VP, jnp.zeros(2), jnp.asarray([[1.0, RHO], [RHO, 1.0]]))


@pytest.fixture(scope="module")
def inpainted():
    """Draws of x_2 given x_1 = KNOWN, by the number of resamplings."""
    times = linear_timesteps(25)
    x = samplers.initial_noise(VP, (600, 2), times, KEY)
    known, mask = jnp.asarray([KNOWN, jnp.nan]), jnp.asarray([True, False])
    run = jax.jit(
        lambda x, num: inverse.repaint(
            PAIR, VP, x, times, KEY, given=known, mask=mask, resamplings=num, trajectory=True
        ),
        static_argnums=1,
    )
    return {num: run(x, num) for num in (1, 10)}


@pytest.mark.parametrize("resamplings", [1, 10])
def test_the_known_part_is_exact_whatever_stands_elsewhere(inpainted, resamplings):
    path = inpainted[resamplings]
    assert path.shape == (26, 600, 2)
    np.testing.assert_array_equal(path[-1, :, 0], KNOWN)
    assert np.all(np.isfinite(path))


def test_repaint_is_nearer_to_the_conditional_than_replacement(inpainted):
    one, ten = (inpainted[num][-1, :, 1] for num in (1, 10))
    biases = [abs(float(jnp.mean(x_2)) - RHO * KNOWN) for x_2 in (one, ten)]
    assert biases[0] > 0.3  # what replacement is known for
    assert biases[1] < biases[0] / 3
    assert float(jnp.std(ten)) == pytest.approx(np.sqrt(1 - RHO**2), abs=0.15)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="resamplings is 0"):
        inverse.repaint(
            PAIR,
            VP,
            jnp.zeros((1, 2)),
            linear_timesteps(3),
            KEY,
            given=0.0,
            mask=True,
            resamplings=0,
        )
    for noise, iterations in ((-1.0, 5), (0.1, 0)):
        with pytest.raises(ValueError, match="give at least 1"):
            inverse.posterior(PAIR, VP, lambda x: x, jnp.zeros(2), noise, iterations=iterations)


MASK = jnp.asarray([True, False, True, False])
ALL, NONE = jnp.ones(4, bool), jnp.zeros(4, bool)


@pytest.mark.parametrize("mask", [MASK, ALL, NONE, jnp.stack([MASK, ~MASK])], ids=str)
@pytest.mark.parametrize("noise", [0.0, NOISE])
@pytest.mark.parametrize("junk", [jnp.nan, jnp.inf, -1e30])
def test_what_a_mask_hides_is_of_no_account_and_what_it_shows_is_exact(mask, noise, junk):
    y, t = jnp.asarray([[1.0, -0.5, 0.3, 0.9], [0.0, 0.2, -1.0, 1.5]]), jnp.asarray(0.4)
    x = jax.random.normal(KEY, (2, 4))
    rows = np.broadcast_to(mask, (2, 4))
    measure = inverse.masked(mask)

    def guided(x, y):
        denoise = gaussian(FLOW, MEAN, SIGMA)
        return inverse.posterior(denoise, FLOW, measure, y, noise)(x, t)

    hidden = jnp.where(mask, y, junk)
    np.testing.assert_array_equal(guided(x, hidden), guided(x, jnp.where(mask, y, 0.0)))
    slopes = jax.jit(jax.grad(lambda x, y: jnp.sum(guided(x, y) ** 2), (0, 1)))(x, hidden)
    assert all(np.all(np.isfinite(slope)) for slope in slopes)
    for i in range(2):
        a = np.eye(4)[rows[i]]
        # x_0 given x_t is normal, with the denoised mean; and so it is given y too.
        prior = np.linalg.inv(np.linalg.inv(np.asarray(SIGMA, float)) + 0.36 / 0.16 * np.eye(4))
        mean = np.asarray(gaussian(FLOW, MEAN, SIGMA)(x, t)[i])
        inner = a @ prior @ a.T + noise**2 * np.eye(len(a))
        exact = mean + prior @ a.T @ np.linalg.solve(inner, np.asarray(y)[i][rows[i]] - a @ mean)
        np.testing.assert_allclose(guided(x, hidden)[i], exact, atol=5e-3)


def test_measurements_that_cannot_be_are_refused():
    denoise, x = gaussian(FLOW, MEAN, SIGMA), jnp.ones((2, 4))
    seen = functools.partial(inverse.posterior, denoise, FLOW)
    with pytest.raises(ValueError, match="nan or infinite"):
        seen(inverse.masked(MASK), jnp.asarray([jnp.nan, 1.0, 1.0, 1.0]), 0.1)(x, 0.5)
    with pytest.raises(ValueError, match="measurements of that shape"):
        seen(inverse.masked(MASK), jnp.ones((2, 3)), 0.1)(x, 0.5)
    with pytest.raises(ValueError, match="k odd"):
        inverse.blurred(np.ones((2, 2)))
    with pytest.raises(ValueError, match="downsampled by 0"):
        inverse.Downsampled(0)
    repaint = functools.partial(inverse.repaint, denoise, FLOW, x, linear_timesteps(3), KEY)
    with pytest.raises(ValueError, match="given has nan"):
        repaint(given=jnp.asarray([jnp.nan, 1.0, 1.0, 1.0]), mask=MASK)
    with pytest.raises(ValueError, match="that broadcast to"):
        repaint(given=jnp.ones((3, 4)), mask=MASK)


@pytest.mark.parametrize("mask", [ALL, NONE])
def test_repaint_of_all_and_of_none_and_its_gradient_are_finite(mask):
    times = jnp.linspace(1.0, 0.0, 4)
    denoise, x = gaussian(FLOW, MEAN, SIGMA), jax.random.normal(KEY, (2, 4))
    known = jnp.where(mask, 1.5, jnp.nan)

    def run(x, known):
        options = {"given": known, "mask": mask, "resamplings": 2}
        return inverse.repaint(denoise, FLOW, x, times, KEY, **options)

    found = run(x, known)
    np.testing.assert_array_equal(found == 1.5, jnp.broadcast_to(mask, x.shape))
    assert np.all(np.isfinite(found))
    slope = jax.jacfwd(lambda x, known: run(x, known).sum(), (0, 1))(x, known)
    assert all(np.all(np.isfinite(a)) for a in slope)
