"""Sampling: from the cache as by full passes, as often as log_prob says, around what is given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.autoregressive import sampling
from genjax_models.autoregressive.sampling import (
    LogitFilter,
    min_p,
    top_k,
    top_p,
    with_temperature,
)
from genjax_models.core.distributions import Bernoulli
from tests.autoregressive import tiny
from tests.autoregressive.tiny import MODELS, TEXT, condition, every_example, params_of

LOGITS = jnp.log(jnp.array([0.5, 0.2, 0.15, 0.1, 0.05]))


def kept(logits):
    return np.isfinite(logits).tolist()


def test_temperature_is_a_power_of_the_probabilities():
    cold = jax.nn.softmax(with_temperature(LOGITS, 0.5))
    p = np.exp(LOGITS) ** 2
    np.testing.assert_allclose(cold, p / p.sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("filtered", "expected"),
    [
        (top_k(LOGITS, 2), [1, 1, 0, 0, 0]),
        (top_k(LOGITS, 9), [1, 1, 1, 1, 1]),
        (top_k(jnp.array([0.0, 1.0, 0.0]), 1), [0, 1, 0]),
        (top_p(LOGITS, 0.45), [1, 0, 0, 0, 0]),
        (top_p(LOGITS, 0.65), [1, 1, 0, 0, 0]),
        (top_p(LOGITS[::-1], 0.84), [0, 0, 1, 1, 1]),
        (top_p(LOGITS, 1.0), [1, 1, 1, 1, 1]),
        (top_p(LOGITS, 1e-9), [1, 0, 0, 0, 0]),
        (min_p(LOGITS, 0.29), [1, 1, 1, 0, 0]),
        (min_p(LOGITS, 1.0), [1, 0, 0, 0, 0]),
        (min_p(LOGITS, 0.0), [1, 1, 1, 1, 1]),
        # Of p^2 = (25, 4, 2.25, 1, 0.25) / 32.5 the first two have 0.892.
        (LogitFilter(0.5, top_p=0.88)(LOGITS), [1, 1, 0, 0, 0]),
        (LogitFilter(top_k=4, top_p=0.9, min_p=0.35)(LOGITS), [1, 1, 0, 0, 0]),
    ],
)
def test_filters_keep_what_they_say(filtered, expected):
    assert kept(filtered) == [bool(e) for e in expected]


def test_a_filter_of_two_values_is_a_bernoulli_s():
    logits = jnp.array([[-0.4, 0.3, 2.0]])
    cold = LogitFilter(0.5).apply(Bernoulli(logits))
    np.testing.assert_allclose(cold.logits, 2 * logits, rtol=1e-6)
    np.testing.assert_array_equal(LogitFilter(top_k=1).apply(Bernoulli(logits)).mean(), [[0, 1, 1]])
    np.testing.assert_array_equal(LogitFilter(top_p=0.8).apply(Bernoulli(logits)).mean()[0, 2], 1)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"temperature": 0.0}, "temperature must be a number of at least 1e-06, got 0.0"),
        ({"temperature": -1.0}, "temperature must be a number of at least"),
        ({"top_k": 0}, "top_k must be an integer of at least 1, got 0"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, got 0.0"),
        ({"top_p": 1.1}, "top_p must be above 0 and at most 1, got 1.1"),
        ({"min_p": -0.1}, "min_p must be at least 0 and at most 1"),
        ({"min_p": float("nan")}, "min_p must be at least 0"),
    ],
)
def test_numbers_that_are_not_allowed(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MODELS["learned"].sample({}, jax.random.key(0), 1, **kwargs)


def test_filters_are_of_likelihoods_with_logits():
    model, params = MODELS["mixture"], params_of("mixture")
    with pytest.raises(TypeError, match="this one is a DiscretizedLogisticMixture: leave them out"):
        model.sample(params, jax.random.key(0), 1, temperature=0.5)


@pytest.mark.parametrize("name", MODELS)
def test_the_cache_gives_the_samples_of_full_passes(name):
    model, params = MODELS[name], params_of(name)
    keep = LogitFilter() if name == "mixture" else LogitFilter(2.0, min_p=0.01)
    label = condition(model, 64).get("label")
    given = (model, params, {}, jax.random.key(3), 64, keep, label)
    x = tiny.ancestral(*given, make_step=sampling.cached)
    np.testing.assert_array_equal(x, tiny.ancestral(*given, make_step=sampling.uncached))
    assert len(np.unique(x, axis=0)) > 3


@pytest.mark.parametrize("name", ["learned", "made_of_labels", "mixture"])
def test_samples_are_as_frequent_as_log_prob_says(name):
    model, params, num = MODELS[name], params_of(name), 20_000
    every = every_example(model.spec)
    p = np.exp(tiny.log_prob(name, every, **condition(model, len(every))))
    options = {} if model.num_classes is None else {"label": 1}
    x = np.asarray(model.sample(params, jax.random.key(7), num, **options))
    weights = model.spec.num_levels ** np.arange(model.spec.num_dims - 1, -1, -1)
    counts = np.bincount(x.reshape(num, -1) @ weights, minlength=len(every))
    likely = p * num >= 5  # rarer examples are counted as one
    observed = np.append(counts[likely], counts[~likely].sum())
    expected = np.append(p[likely], p[~likely].sum()) * num
    statistic = np.sum((observed - expected) ** 2 / np.maximum(expected, 1e-9))
    degrees = len(expected) - 1
    # Mean `degrees`, variance 2 `degrees`: five standard deviations.
    assert statistic < degrees + 5 * np.sqrt(2 * degrees)
    assert likely.sum() > 8


def test_an_example_is_its_own_whatever_the_batch():
    model, params = MODELS["learned"], params_of("learned")
    few, many = (model.sample(params, jax.random.key(1), n) for n in (3, 8))
    np.testing.assert_array_equal(many[:3], few)


def test_a_prompt_stays_and_what_follows_knows_it():
    model, params = MODELS["learned"], params_of("learned")
    x = np.asarray(model.sample(params, jax.random.key(1), 20_000, given=[2, 0]))
    assert x.dtype == np.int32
    assert np.all(x[:, :2] == [2, 0])
    every = every_example(TEXT)
    p = np.exp(tiny.log_prob("learned", every))
    after = p[(every[:, 0] == 2) & (every[:, 1] == 0)]
    frequency = np.bincount(x[:, 2], minlength=3) / len(x)
    np.testing.assert_allclose(frequency, after / after.sum(), atol=0.015)


def test_completion_keeps_what_is_given_and_draws_the_rest():
    model, params = MODELS["made_of_labels"], params_of("made_of_labels")
    x = np.asarray(model.sample(params, jax.random.key(1), 32, label=0))
    mask = np.zeros(x.shape[1:], bool)
    mask[0], mask[2, 0] = True, True
    done = np.asarray(model.complete(params, x, mask, jax.random.key(2), label=1))
    np.testing.assert_array_equal(done[:, mask], x[:, mask])
    assert np.mean(done[:, ~mask] != x[:, ~mask]) > 0.1
    each = np.random.default_rng(0).random(x.shape) < 0.5
    done = np.asarray(model.complete(params, x, each, jax.random.key(2), label=1))
    np.testing.assert_array_equal(done[each], x[each])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"given": [0, 1, 2, 0]}, "the prompt has 4 entries, and an example of text has 3"),
        ({"given": [0, 3]}, "given holds 3, but text has values 0 .. 2"),
        ({"mask": np.ones(3, bool)}, "given=... is missing"),
        ({"given": np.zeros((5, 3), int)}, r"given has shape \(5, 3\), but 2 examples"),
        ({"given": np.zeros(3, int), "mask": np.ones(2, bool)}, r"mask has shape \(2,\)"),
    ],
)
def test_what_is_given_must_fit(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MODELS["learned"].sample(params_of("learned"), jax.random.key(0), 2, **kwargs)


def test_an_image_needs_a_mask():
    given = np.ones((3, 2, 1), int)
    with pytest.raises(ValueError, match="say with mask=... which of their entries are given"):
        MODELS["made"].sample(params_of("made"), jax.random.key(0), 2, given=given)
