"""Guidance on data whose conditional denoisers are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.diffusion import guidance
from genjax_models.diffusion.schedules import LinearBeta, RectifiedFlow

VP, FLOW = LinearBeta(), RectifiedFlow()
MEANS, S = jnp.asarray([-1.0, 1.5]), 0.4  # the data: an even mixture of N(m_y, S^2), label y
X = jnp.asarray([[-2.0, 0.3], [0.1, 0.9], [3.0, -0.2]])
T = jnp.asarray(0.4)


def conditional(schedule, y):
    """E[x_0 | x_t, y]; entries are alike and independent."""

    def denoise(x_t, t):
        alpha, sigma = schedule(t)
        gain = alpha * S**2 / (alpha**2 * S**2 + sigma**2)
        return MEANS[y] + gain * (x_t - alpha * MEANS[y])

    return denoise


def log_posterior(schedule, y):
    """log p(y | x_t, t) of all entries, which share the label."""

    def log_prob(x_t, t):
        alpha, sigma = schedule(t)
        variance = alpha**2 * S**2 + sigma**2
        log_p = -0.5 * (x_t[..., None] - alpha * MEANS) ** 2 / variance  # [B, D, 2]
        return jax.nn.log_softmax(jnp.sum(log_p, axis=1))[:, y]

    return log_prob


def unconditional(schedule):
    """E[x_0 | x_t] = sum_y p(y | x_t) E[x_0 | x_t, y]."""

    def denoise(x_t, t):
        parts = [
            jnp.exp(log_posterior(schedule, y)(x_t, t))[:, None] * conditional(schedule, y)(x_t, t)
            for y in (0, 1)
        ]
        return parts[0] + parts[1]

    return denoise


@pytest.mark.parametrize("weight", [1, 1.0, jnp.asarray(1.0), jnp.ones((3, 1))])
@pytest.mark.parametrize("rescale", [0.0, 0.7])
def test_classifier_free_guidance_of_weight_1_is_the_conditional_denoiser(weight, rescale):
    given = conditional(VP, 1)
    guided = guidance.classifier_free(given, unconditional(VP), weight, rescale=rescale)
    found, expected = guided(X, T), given(X, T)
    if rescale == 0.0:
        np.testing.assert_array_equal(found, expected)  # bit for bit
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_classifier_free_guidance_extrapolates():
    c, u = conditional(VP, 1)(X, T), unconditional(VP)(X, T)
    for weight in (0.0, 0.5, 3.0):
        guided = guidance.classifier_free(conditional(VP, 1), unconditional(VP), weight)
        np.testing.assert_allclose(guided(X, T), u + weight * (c - u), atol=1e-6)


@pytest.mark.parametrize("schedule", [VP, FLOW], ids=["vp", "flow"])
def test_classifier_guidance_of_weight_1_is_bayes_rule(schedule):
    guided = guidance.classifier(unconditional(schedule), schedule, log_posterior(schedule, 0))
    for t in (0.05, 0.5, 0.95):
        found, expected = guided(X, jnp.asarray(t)), conditional(schedule, 0)(X, jnp.asarray(t))
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


def test_with_an_exact_classifier_both_kinds_of_guidance_are_one():
    free = guidance.classifier_free(conditional(VP, 0), unconditional(VP), 2.5)
    by_classifier = guidance.classifier(unconditional(VP), VP, log_posterior(VP, 0), 2.5)
    np.testing.assert_allclose(free(X, T), by_classifier(X, T), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("t", [0.0, 1.0])
def test_classifier_guidance_is_finite_without_noise_and_without_signal(t):
    guided = guidance.classifier(unconditional(FLOW), FLOW, log_posterior(FLOW, 0), 3.0)
    found = guided(X, jnp.asarray(t))
    # At t = 0 there is nothing to denoise; at t = 1, x_t says nothing of the label.
    np.testing.assert_allclose(found, unconditional(FLOW)(X, jnp.asarray(t)), rtol=1e-6)
    assert np.all(np.isfinite(found))


def test_the_interval_guides_within_and_only_there_asks_the_guided_denoiser():
    asked = []

    def guided(x_t, t):
        jax.debug.callback(lambda t: asked.append(float(t)), t)
        return x_t + 1.0

    run = jax.jit(guidance.interval(guided, lambda x_t, t: x_t, FLOW, 0.5, 2.0))
    times = [0.1, 0.3, 0.4, 0.5, 0.6, 0.7, 0.999, 1.0]  # ratios t / (1 - t)
    shifts = [float((run(X, jnp.asarray(t)) - X)[0, 0]) for t in times]
    jax.effects_barrier()
    np.testing.assert_allclose(shifts, [0, 0, 1, 1, 1, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(sorted(asked), [0.4, 0.5, 0.6], rtol=1e-6)


def test_an_empty_interval_is_refused():
    with pytest.raises(ValueError, match="is empty"):
        guidance.interval(lambda x, t: x, lambda x, t: x, VP, 2.0, 0.5)


def test_rescaling_brings_the_standard_deviation_back():
    c, u = X, 0.2 * X
    for phi in (0.0, 0.5, 1.0):
        found = guidance.classifier_free(lambda *_: c, lambda *_: u, 4.0, rescale=phi)(X, T)
        raised = np.std(c + 3.0 * (c - u), axis=1)
        wanted = phi * np.std(c, axis=1) + (1 - phi) * raised
        np.testing.assert_allclose(np.std(found, axis=1), wanted, rtol=1e-5)
    flat = jnp.ones((2, 3))
    found = guidance.classifier_free(lambda *_: flat, lambda *_: 0 * flat, 2.0, rescale=1.0)(X, T)
    np.testing.assert_allclose(found, 2.0)  # no deviation, nothing to divide by


def test_clipping_and_thresholding_keep_the_range():
    x_0 = jnp.asarray([[0.2, -0.5, 0.9, 0.1], [4.0, -2.0, 1.0, 0.0]])
    clipped = guidance.clipped(lambda *_: x_0)(x_0, T)
    np.testing.assert_allclose(clipped, [[0.2, -0.5, 0.9, 0.1], [1, -1, 1, 0]])
    whole = guidance.thresholded(lambda *_: x_0, 1.0)(x_0, T)
    np.testing.assert_allclose(whole, [[0.2, -0.5, 0.9, 0.1], [1, -0.5, 0.25, 0]])  # in range: kept
    half = guidance.thresholded(lambda *_: x_0, 0.5)(x_0, T)  # the median of |x_0| is 1.5
    np.testing.assert_allclose(half[1], [1, -1, 1 / 1.5, 0], rtol=1e-6)
    with pytest.raises(ValueError, match="quantile is 0"):
        guidance.thresholded(lambda *_: x_0, 0.0)
