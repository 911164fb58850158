"""Distributions against closed forms: levels sum to one, KL, moments, finite gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import genjax_models as gm
from genjax_models.core import (
    Bernoulli,
    BetaBinomial,
    Binomial,
    Categorical,
    DataSpec,
    DiscretizedLogistic,
    Normal,
    likelihoods,
)

KEY = jax.random.key(0)


def discrete(levels, num=6, scale=1.0, num_params=2):
    """Each discrete distribution over one entry, with random parameters."""
    h = scale * jax.random.normal(KEY, (num_params, num, 1))
    return {
        "categorical": Categorical(scale * jax.random.normal(KEY, (num, 1, levels))),
        "binomial": Binomial(h[0], levels - 1),
        "beta-binomial": BetaBinomial(h[0], h[1], levels - 1),
        "logistic": DiscretizedLogistic(h[0], h[1] - 1.0, levels),
    }


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_levels_sum_to_one(levels, scale):
    for name, distribution in discrete(levels, scale=scale).items():
        every = [distribution.log_prob(jnp.full((6, 1), level)) for level in range(levels)]
        total = np.exp(np.stack(every).astype(np.float64)).sum(axis=0)
        np.testing.assert_allclose(total, 1.0, rtol=2e-5, err_msg=name)


def test_bernoulli_is_the_binomial_of_two_levels():
    logits, x = jax.random.normal(KEY, (5, 3)), jnp.ones((5, 3), jnp.uint8).at[0].set(0)
    np.testing.assert_allclose(
        Bernoulli(logits).log_prob(x), Binomial(logits, 1).log_prob(x), rtol=1e-5
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_mixture_levels_sum_to_one_over_all_channels(channels):
    levels = 5
    spec = DataSpec((1, 1, channels), num_levels=levels)
    likelihood = likelihoods.discretized_logistic_mixture(4)
    outputs = 2.0 * jax.random.normal(KEY, (1, likelihood.num_outputs(spec)))
    grid = np.stack(np.meshgrid(*[range(levels)] * channels, indexing="ij"), -1)
    x = jnp.asarray(grid.reshape(-1, 1, 1, channels))
    distribution = likelihood(jnp.repeat(outputs, len(x), axis=0), spec)
    np.testing.assert_allclose(np.exp(distribution.log_prob(x)).sum(), 1.0, rtol=1e-5)


def test_mixture_samples_follow_its_probabilities():
    spec, num = DataSpec((1, 1, 2), num_levels=4), 40_000
    likelihood = likelihoods.discretized_logistic_mixture(3)
    outputs = jax.random.normal(KEY, (1, likelihood.num_outputs(spec)))
    grid = np.stack(np.meshgrid(range(4), range(4), indexing="ij"), -1).reshape(-1, 1, 1, 2)
    probability = np.exp(likelihood(jnp.repeat(outputs, 16, axis=0), spec).log_prob(grid))
    draws = np.asarray(likelihood(jnp.repeat(outputs, num, axis=0), spec).sample(KEY))
    counts = np.bincount(draws[:, 0, 0, 0] * 4 + draws[:, 0, 0, 1], minlength=16)
    expected = probability.astype(np.float64) / probability.sum(dtype=np.float64) * num
    assert scipy.stats.chisquare(counts, expected).pvalue > 1e-3


@pytest.mark.parametrize("levels", [2, 17])
def test_samples_follow_the_probabilities(levels):
    num = 20_000
    for name, one in discrete(levels, num=1).items():
        many = jax.tree.map(lambda a: jnp.repeat(a, num, axis=0), one)
        counts = np.bincount(np.asarray(many.sample(KEY))[:, 0], minlength=levels)
        probability = np.exp(
            [float(one.log_prob(jnp.full((1, 1), level))[0]) for level in range(levels)]
        )
        expected = num * probability / probability.sum()
        common = expected > 5  # the chi-square test's own condition
        pooled = [np.append(a[common], a[~common].sum()) for a in (counts, expected)]
        keep = pooled[1] > 0
        p = scipy.stats.chisquare(pooled[0][keep], pooled[1][keep]).pvalue
        assert p > 1e-3, (name, p)
        assert many.sample(KEY).dtype == jnp.uint8


@pytest.mark.parametrize("name", ["binomial", "beta-binomial"])
def test_sampling_takes_the_memory_of_the_draws(name):
    """A float for each level of each of them would be four times the bound."""
    wide = discrete(256, num=10_000)[name]
    compiled = jax.jit(lambda d: d.sample(KEY)).lower(wide).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 256 * 10_000


@pytest.mark.parametrize("levels", [2, 17])
def test_mean_and_mode_are_those_of_the_levels(levels):
    for name, distribution in discrete(levels).items():
        every = jnp.stack(
            [distribution.log_prob(jnp.full((6, 1), level)) for level in range(levels)]
        )
        mean = jnp.sum(jnp.exp(every) * jnp.arange(levels)[:, None], axis=0)
        np.testing.assert_allclose(distribution.mean()[:, 0], mean, rtol=1e-4, err_msg=name)
        chosen = jnp.take_along_axis(every, distribution.mode().astype(int).T, axis=0)[0]
        np.testing.assert_allclose(chosen, every.max(axis=0), rtol=1e-4, err_msg=name)


def test_discretized_logistic_is_the_difference_of_its_cdf():
    levels, loc, log_scale = 17, 0.3, -1.5
    edges = (2 * np.arange(levels + 1) - 1) / (levels - 1) - 1
    cdf = scipy.stats.logistic.cdf(edges.astype(np.float64), loc, np.exp(log_scale))
    cdf[0], cdf[-1] = 0.0, 1.0
    distribution = DiscretizedLogistic(
        jnp.full((levels, 1), loc), jnp.full((levels, 1), log_scale), levels
    )
    log_prob = distribution.log_prob(jnp.arange(levels)[:, None])
    np.testing.assert_allclose(log_prob, np.log(np.diff(cdf)), rtol=2e-5)


@pytest.mark.parametrize("total", [1, 16, 255])
@pytest.mark.parametrize("log_alpha", [-12.0, -1.0, 0.5, 4.0, 9.0])
@pytest.mark.parametrize("log_beta", [-12.0, 0.0, 3.0, 9.0])
def test_beta_binomial_is_scipys(total, log_alpha, log_beta):
    x = np.arange(total + 1)[:, None]
    h = np.array([[log_alpha, log_beta]], np.float32).repeat(total + 1, 0)
    expected = scipy.stats.betabinom.logpmf(x[:, 0], total, *np.exp(h[0].astype(np.float64)))
    log_prob = BetaBinomial(h[:, :1], h[:, 1:], total).log_prob(x)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize("log_alpha", [-100.0, -20.0, 0.0, 14.0, 100.0])
@pytest.mark.parametrize("log_beta", [-100.0, 0.0, 100.0])
def test_beta_binomial_has_finite_gradients_at_the_edges(log_alpha, log_beta):
    def value(log_alpha, log_beta):
        ones = jnp.ones((3, 1))
        x = jnp.array([[0], [128], [255]])
        return BetaBinomial(log_alpha * ones, log_beta * ones, 255).log_prob(x).sum()

    value, grads = jax.value_and_grad(value, (0, 1))(log_alpha, log_beta)
    assert np.isfinite(value) and np.all(np.isfinite(grads))


@pytest.mark.parametrize("log_scale", [-100.0, -7.0, 0.0, 14.0, 100.0])
@pytest.mark.parametrize("loc", [-1e4, -1.0, 0.0, 1.0, 1e4])
def test_discretized_logistic_has_finite_gradients_at_the_edges(loc, log_scale):
    def value(loc, log_scale):
        ones = jnp.ones((3, 1))
        x = jnp.array([[0], [128], [255]])
        return DiscretizedLogistic(loc * ones, log_scale * ones, 256).log_prob(x).sum()

    value, grads = jax.value_and_grad(value, (0, 1))(loc, log_scale)
    assert np.isfinite(value) and np.all(np.isfinite(grads))


@pytest.mark.parametrize("logit", [-1e4, -50.0, 0.0, 50.0, 1e4])
def test_logits_have_finite_gradients_at_the_edges(logit):
    x = jnp.array([[0], [1]])
    for make in (
        Bernoulli,
        lambda h: Binomial(h, 1),
        lambda h: Categorical(jnp.stack([0 * h, h], -1)),
    ):
        value, grad = jax.value_and_grad(
            lambda h, make=make: make(h * jnp.ones((2, 1))).log_prob(x).sum()
        )(logit)
        assert np.isfinite(value) and np.isfinite(grad)


def test_kl_is_the_closed_form_and_zero_on_itself():
    a, b = jax.random.normal(KEY, (2, 4, 3)), jax.random.normal(jax.random.key(1), (2, 4, 3))
    p, q = Normal(a[0], a[1]), Normal(b[0], b[1])
    ratio = np.exp(2 * (a[1] - b[1]))
    closed = 0.5 * (ratio + ((a[0] - b[0]) / np.exp(b[1])) ** 2 - 1 - np.log(ratio)).sum(-1)
    np.testing.assert_allclose(p.kl(q), closed, rtol=1e-4)
    bernoulli, categorical = Bernoulli(a[0]), Categorical(a[0][None])
    for same in (p, bernoulli, Binomial(a[0], 16), categorical):
        np.testing.assert_allclose(same.kl(same), 0.0, atol=1e-6)
    levels = (
        jnp.stack([jnp.zeros_like(a[0]), a[0]], -1),
        jnp.stack([jnp.zeros_like(b[0]), b[0]], -1),
    )
    np.testing.assert_allclose(
        bernoulli.kl(Bernoulli(b[0])), Categorical(levels[0]).kl(Categorical(levels[1])), rtol=1e-4
    )
    np.testing.assert_allclose(
        Binomial(a[0], 16).kl(Binomial(b[0], 16)), 16 * bernoulli.kl(Bernoulli(b[0])), rtol=1e-5
    )


def test_normal_density_and_moments():
    loc, log_scale = jnp.array([[1.0, -2.0]]), jnp.array([[0.5, -1.0]])
    x = jnp.array([[0.3, 0.7]])
    expected = scipy.stats.norm.logpdf(x, loc, np.exp(log_scale)).sum()
    np.testing.assert_allclose(Normal(loc, log_scale).log_prob(x), [expected], rtol=1e-6)
    many = Normal(jnp.repeat(loc, 50_000, 0), jnp.repeat(log_scale, 50_000, 0)).sample(KEY)
    np.testing.assert_allclose(many.mean(0), loc[0], atol=0.03)
    np.testing.assert_allclose(many.std(0), np.exp(log_scale[0]), rtol=0.02)


@pytest.mark.parametrize(
    ("likelihood", "spec", "outputs", "message"),
    [
        (likelihoods.categorical, DataSpec((2, 2, 1), 17, name="digits"), 64, "takes 68 decoder"),
        (likelihoods.bernoulli, DataSpec((2, 2, 1), 17), 4, "dynamic_binarization"),
        (likelihoods.binomial, DataSpec((2,), None), 2, "likelihoods.normal"),
        (likelihoods.discretized_logistic_mixture(2), DataSpec((4,), 9), 4, "images"),
    ],
)
def test_a_likelihood_says_what_it_takes(likelihood, spec, outputs, message):
    with pytest.raises(ValueError, match=message):
        likelihood(jnp.zeros((3, outputs)), spec)


@pytest.mark.parametrize(
    "likelihood",
    [
        likelihoods.beta_binomial,
        likelihoods.binomial,
        likelihoods.categorical,
        likelihoods.discretized_logistic,
        likelihoods.discretized_logistic_mixture(3),
    ],
    ids=lambda likelihood: likelihood.name,
)
def test_a_likelihood_starts_at_the_marginals(likelihood, digits):
    """Its mean is the data's, and its likelihood is far above that of zero outputs."""
    x, spec = digits.arrays["x"], digits.spec
    params = likelihood.init(x, spec)
    zeros = jnp.zeros((len(x), likelihood.num_outputs(spec)))
    fitted, flat = likelihood(zeros, spec, params), likelihood(zeros, spec)
    # A logistic loses the tails that the edge levels take up: within a level and a half.
    np.testing.assert_allclose(fitted.mean()[0], x.mean(axis=0), atol=1.5)
    assert fitted.log_prob(x).mean() > flat.log_prob(x).mean() + 20


def test_the_categorical_marginal_is_the_entropy_of_the_entries(digits):
    x, spec = digits.arrays["x"], digits.spec
    params = likelihoods.categorical.init(x, spec)
    fitted = likelihoods.categorical(jnp.zeros((len(x), 64 * 17)), spec, params)
    counts = np.stack([(x == level).mean(axis=0) for level in range(17)], -1)
    entropy = -(counts * np.log(np.maximum(counts, 1e-12))).sum()
    np.testing.assert_allclose(-fitted.log_prob(x).mean(), entropy, rtol=1e-3)


def test_likelihoods_are_values_that_print_as_what_builds_them():
    mixture = likelihoods.discretized_logistic_mixture(3)
    assert mixture == likelihoods.discretized_logistic_mixture(3)
    assert mixture != likelihoods.discretized_logistic_mixture(4)
    assert hash(mixture) == hash(likelihoods.discretized_logistic_mixture(3))
    for likelihood in (mixture, likelihoods.categorical):
        assert eval(repr(likelihood), {"gm": gm}) == likelihood
