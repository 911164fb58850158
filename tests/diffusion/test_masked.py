"""Masked diffusion: with the true conditionals for a network, its bound is log p(x) itself."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from genjax_models.core import ApproximateDensity, DataSpec, TractableDensity
from genjax_models.data import Dataset
from genjax_models.diffusion import masked
from genjax_models.diffusion.masked import MaskedDiffusion, masked_lm, vlb
from genjax_models.metrics import evaluate, likelihood_kind
from genjax_models.networks.transformer import Transformer

V, N = 3, 3
TEXT = DataSpec((N,), V, vocabulary=("a", "b", "c"), name="text")
EVERY = np.array(list(itertools.product(range(V), repeat=N)))  # [V^N, N]

# A Markov chain whose tokens know much of each other.
START = np.array([0.5, 0.3, 0.2])
MOVE = np.array([[0.8, 0.15, 0.05], [0.1, 0.2, 0.7], [0.6, 0.1, 0.3]])
JOINT = START[EVERY[:, 0]] * MOVE[EVERY[:, 0], EVERY[:, 1]] * MOVE[EVERY[:, 1], EVERY[:, 2]]
LOG_P = np.log(JOINT)


class Truth(nn.Module):
    """The chain's own conditionals of every token, given those that are not masked."""

    @nn.compact
    def __call__(self, z, context=None, *, train=False):
        fits = jnp.all((z[:, None] == EVERY) | (z[:, None] == V), axis=-1)  # [B, V^N]
        p = jnp.where(fits, JOINT, 0.0)
        p = jnp.einsum("bm,mnv->bnv", p, jax.nn.one_hot(EVERY, V))
        return jnp.log(jnp.maximum(p, 1e-30)) - jnp.log(jnp.sum(p, axis=-1, keepdims=True))


TRUTH = MaskedDiffusion(Truth(), TEXT)
COSINE = MaskedDiffusion(Truth(), TEXT, masked.cosine_alpha)
NONE = {"network": {}}
NETWORK = Transformer(V + 1, 8, 2, 1, N, causal=False, outputs=V)
MODEL = MaskedDiffusion(NETWORK, TEXT, num_classes=2)
SUBSETS = np.array(list(itertools.product([False, True], repeat=N)))[1:]  # masks, not the empty one
SHARE = np.array([1.0 / (s.sum() * math.comb(N, int(s.sum()))) for s in SUBSETS])


@pytest.fixture(scope="module")
def params():
    batch = {"x": jnp.asarray(EVERY[:4]), "label": jnp.zeros(4, jnp.int32)}
    return jax.jit(MODEL.init)(jax.random.key(0), batch)[0]


@functools.partial(jax.jit, static_argnums=(0, 1))
def rows(model, num_samples, mask=None):
    """500 estimates of the bound of every example `[500, V^N]`."""
    x = jnp.tile(EVERY, (500, 1))
    bound = model.log_prob_bound(NONE, x, jax.random.key(1), num_samples, mask=mask)
    return bound.reshape(500, -1)


def frequencies(x):
    """How often each example of EVERY is among the samples `[num, N]`."""
    code = np.asarray(x) @ V ** np.arange(N)[::-1]
    return np.bincount(code, minlength=V**N) / len(code)


def distance(x, p):
    """The total variation between samples and a law over EVERY."""
    return 0.5 * np.abs(frequencies(x) - p).sum()


def test_with_the_true_conditionals_the_bound_is_log_p_mask_by_mask():
    given = np.broadcast_to(~SUBSETS[:, None], (len(SUBSETS), V**N, N)).reshape(-1, N)
    x = np.tile(EVERY, (len(SUBSETS), 1))
    p = jax.jit(TRUTH.conditionals)(NONE, x, given)
    assert p.shape == (len(x), N, V)
    np.testing.assert_allclose(np.sum(p, -1), 1.0, rtol=1e-5)
    nats = -np.log(np.take_along_axis(np.asarray(p), x[..., None], -1)[..., 0])
    assert np.all(nats[given] == 0)  # what is given is certain
    by_mask = nats.sum(1).reshape(len(SUBSETS), -1)
    np.testing.assert_allclose(SHARE @ by_mask, -LOG_P, rtol=1e-4)


@pytest.mark.parametrize("alpha", [masked.linear_alpha, masked.cosine_alpha])
def test_masks_and_weights_are_those_of_the_continuous_time_bound(alpha):
    """E[weight; mask = S] is the integral of -alpha' / (1 - alpha) P(S | t) over t."""
    t = (np.arange(200_000) + 0.5) / 200_000
    kept, slope = jax.vmap(jax.value_and_grad(alpha))(jnp.asarray(t))
    kept, slope = np.asarray(kept, float), np.asarray(slope, float)
    num = SUBSETS.sum(1)[:, None]
    integral = np.mean(-slope * (1 - kept) ** (num - 1) * kept ** (N - num), axis=1)
    np.testing.assert_allclose(integral, SHARE, rtol=1e-3)

    t = jnp.asarray((np.arange(60_000) + 0.5) / 60_000)
    may = jnp.ones((len(t), N), bool)
    hidden, weight = jax.jit(masked.mask_tokens, static_argnums=1)(jax.random.key(0), alpha, t, may)
    hidden, weight = np.asarray(hidden), np.asarray(weight)
    which = np.array([np.all(hidden == s, axis=1) for s in SUBSETS])
    assert np.all(which.sum(0) == 1)  # never nothing
    np.testing.assert_allclose((which * weight).mean(1), SHARE, rtol=0.03)
    assert np.isfinite(weight).all() and weight.max() <= N * math.pi / 2 + 1e-4


@pytest.mark.parametrize("model", [TRUTH, COSINE])
def test_the_estimate_of_the_bound_is_log_p(model):
    one = rows(model, 1)
    error = np.std(one, axis=0) / np.sqrt(len(one))
    assert np.all(np.abs(np.mean(one, axis=0) - LOG_P) < 4.5 * error)
    ten = rows(model, 10)
    np.testing.assert_allclose(np.mean(ten, axis=0), LOG_P, atol=2 * np.max(error))
    # Better than independent draws, whose standard deviation falls by the root of their number.
    assert np.mean(np.std(ten, axis=0)) < np.mean(np.std(one, axis=0)) / np.sqrt(10)


def test_the_bound_of_some_entries_given_the_others():
    estimate = rows(TRUTH, 10, np.array([True, False, False]))
    error = np.std(estimate, axis=0) / np.sqrt(len(estimate))
    exact = LOG_P - np.log(START[EVERY[:, 0]])
    assert np.all(np.abs(np.mean(estimate, axis=0) - exact) < 4.5 * error + 1e-5)
    np.testing.assert_array_equal(rows(TRUTH, 1, np.ones(N, bool)), 0.0)


def test_terms_of_one_pass(params):
    batch = {"x": jnp.asarray(EVERY), "label": jnp.arange(V**N) % 2}
    forward = jax.jit(functools.partial(MODEL.forward, state={}, train=False))
    outputs, _ = forward(params, batch, jax.random.key(0))
    x, hidden = np.asarray(outputs.x), np.asarray(outputs.hidden)
    np.testing.assert_array_equal(np.asarray(outputs.z_t), np.where(hidden, V, x))
    log_p = np.asarray(jax.nn.log_softmax(outputs.logits))
    nats = np.array(
        [-sum(log_p[b, i, x[b, i]] for i in range(N) if hidden[b, i]) for b in range(27)]
    )
    np.testing.assert_allclose(vlb(outputs), outputs.weight * np.array(nats), rtol=1e-5)
    np.testing.assert_allclose(masked_lm(outputs), np.array(nats) / hidden.sum(1), rtol=1e-5)
    np.testing.assert_allclose(np.diff(np.sort(outputs.t)), 1 / 27, rtol=1e-3)  # even times
    loss = MODEL.loss.drop("vlb").add(masked_lm=masked_lm)
    total, aux = jax.jit(lambda *a: loss(*a))(params, batch, jax.random.key(0))
    np.testing.assert_allclose(total, np.mean(masked_lm(outputs)), rtol=1e-5)
    assert set(aux.metrics) == {"loss", "masked_lm"}


def test_every_parameter_of_the_shared_transformer_is_trained():
    """The mask's embedding too, and no output is of the mask."""
    model = MaskedDiffusion(NETWORK.clone(tied=False), TEXT)
    batch = {"x": jnp.asarray(EVERY)}
    params, _ = jax.jit(model.init)(jax.random.key(0), batch)
    grad = jax.jit(jax.grad(lambda p: model.loss(p, batch, jax.random.key(1))[0]))(params)
    embedding = grad["network"]["embedding"]
    assert embedding.shape == (V + 1, 8) and np.all(np.any(embedding != 0, axis=1))
    head = grad["network"]["head"]["kernel"]
    assert head.shape == (8, V) and np.all(np.any(head != 0, axis=0))


def test_evaluate_gives_the_text_s_entropy_a_token():
    draws = np.random.default_rng(0).choice(len(EVERY), 400, p=JOINT)
    x = EVERY[draws].astype(np.int32)
    data = Dataset(TEXT, arrays={"x": x.reshape(-1)}, window=N)
    result = evaluate(TRUTH, NONE, data, jax.random.key(0), num_samples=40, devices=1)
    exact = -np.mean(LOG_P[draws]) / N
    assert result["nats_per_token"] == pytest.approx(exact, abs=0.01)
    assert result["perplexity"] == pytest.approx(np.exp(result["nats_per_token"]))
    assert isinstance(TRUTH, ApproximateDensity) and not isinstance(TRUTH, TractableDensity)
    kind = likelihood_kind(TRUTH, 40)
    assert kind == "upper bound of the negative log-likelihood, 40 samples"


def draw(model, num=20_000, key=0, **options):
    return np.asarray(model.sample(NONE, jax.random.key(key), num, **options))


@pytest.mark.parametrize(
    ("model", "options"), [(COSINE, dict(steps=100)), (TRUTH, dict(reveal=masked.evenly))]
)
def test_samples_have_the_joint_law(model, options):
    assert distance(draw(model, **options), JOINT) < 0.025


def test_more_steps_are_nearer_to_the_truth():
    """One step draws every token from its marginal; steps of one token each are exact."""
    marginals = np.array([[JOINT[EVERY[:, i] == v].sum() for v in range(V)] for i in range(N)])
    product = np.prod(marginals[np.arange(N), EVERY], axis=1)
    assert distance(draw(TRUTH, steps=1), product) < 0.025
    far = [distance(draw(TRUTH, steps=steps), JOINT) for steps in (1, 3, 50)]
    assert far[0] == pytest.approx(0.5 * np.abs(product - JOINT).sum(), abs=0.02)
    assert far[0] > far[1] + 0.05 and far[1] > far[2] + 0.05 and far[2] < 0.03


def test_what_is_given_stays_and_is_known_on_both_sides():
    x, given = np.array([0, 0, 2]), np.array([True, False, True])
    drawn = draw(TRUTH, given=x, mask=given, steps=2)
    assert np.all(drawn[:, given] == x[given])
    middle = MOVE[0] * MOVE[:, 2]
    np.testing.assert_allclose(
        np.bincount(drawn[:, 1], minlength=V) / len(drawn), middle / middle.sum(), atol=0.015
    )
    many = np.tile([[1, 0, 0], [2, 0, 0]], (10_000, 1))
    first = [True, False, False]
    done = np.asarray(TRUTH.complete(NONE, many, first, jax.random.key(1), steps=2))
    np.testing.assert_array_equal(done[:, 0], many[:, 0])
    np.testing.assert_array_equal(draw(TRUTH, given=[2], steps=2)[:, 0], 2)  # a prompt


@pytest.mark.parametrize(
    ("reveal", "alpha", "steps"),
    [
        (masked.independently, masked.cosine_alpha, 7),
        (masked.evenly, masked.linear_alpha, 2),
        (masked.most_confident, masked.linear_alpha, 5),
    ],
)
def test_no_sample_holds_a_mask(params, reveal, alpha, steps):
    model = MaskedDiffusion(NETWORK, TEXT, alpha, num_classes=2)
    rng = np.random.default_rng(0)
    given, mask = rng.integers(0, V, (500, N)), rng.random((500, N)) < 0.5
    options = dict(steps=steps, reveal=reveal, given=given, mask=mask)
    x, again, other = (
        np.asarray(model.sample(params, jax.random.key(k), 500, **options)) for k in (0, 0, 1)
    )
    assert x.shape == (500, N) and x.dtype == np.int32
    assert np.min(x[~mask]) == 0 and np.max(x[~mask]) == V - 1
    np.testing.assert_array_equal(x[mask], given[mask])
    np.testing.assert_array_equal(x, again)
    assert np.any(x != other)


def test_which_tokens_a_step_shows():
    hidden = jnp.array([[True, True, True, False], [True, False, True, False]])
    log_prob = jnp.array([[-3.0, -1.0, -2.0, 0.0], [-5.0, 0.0, -4.0, 0.0]])
    key = jax.random.key(0)
    shown = masked.most_confident(key, log_prob, hidden, jnp.float32(1 / 3))
    np.testing.assert_array_equal(shown, [[0, 1, 0, 0], [0, 0, 1, 0]])
    shown = masked.most_confident(key, log_prob, hidden, jnp.float32(0.5))
    np.testing.assert_array_equal(shown, [[0, 1, 1, 0], [0, 0, 1, 0]])
    shown = masked.evenly(key, log_prob, hidden, jnp.float32(1 / 3))
    np.testing.assert_array_equal(np.sum(shown, axis=1), [1, 1])
    assert np.all(hidden | ~shown)
    for reveal in (masked.independently, masked.evenly, masked.most_confident):
        np.testing.assert_array_equal(reveal(key, log_prob, hidden, jnp.float32(1)), hidden)
    np.testing.assert_array_equal(
        masked.independently(key, log_prob, hidden, 0.0), ~hidden & hidden
    )


def test_temperature():
    cold = draw(TRUTH, steps=1, num=50, temperature=0.01)
    np.testing.assert_array_equal(cold, np.zeros((50, N)))  # each token's likeliest
    hot = draw(TRUTH, steps=1, temperature=1000.0)
    assert distance(hot, np.full(V**N, V**-N)) < 0.025


def test_what_cannot_be_is_refused(params):
    key = jax.random.key(0)
    for options, words in [
        (dict(steps=0), "steps must be a positive whole number, got 0"),
        (dict(steps=-3), "steps must be a positive whole number, got -3"),
        (dict(steps=2.5), "steps must be a positive whole number, got 2.5"),
        (dict(temperature=0.0), "temperature must be a number of at least 1e-6, got 0.0"),
        (dict(given=[0, 1, 2, 0]), "the prompt has 4 entries, and an example of text has 3"),
        (dict(given=[0, V]), "given holds 3, but text has values 0 .. 2"),
        (dict(mask=[True] * N), "given=... is missing"),
        (dict(given=EVERY[:5], mask=[True] * N), r"given has shape \(5, 3\), but 4 examples"),
        (dict(label=2), "label 2 is given"),
    ]:
        with pytest.raises(ValueError, match=words) as error:
            MODEL.sample(params, key, 4, **options)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="num_samples is 0: give a whole number"):
        TRUTH.log_prob_bound(NONE, EVERY, key, 0)
    with pytest.raises(ValueError, match="build it with causal=False"):
        MaskedDiffusion(Transformer(V + 1, 8, 2, 1, N, outputs=V), TEXT)
    with pytest.raises(ValueError, match="vocabulary=4, outputs=3"):
        MaskedDiffusion(Transformer(V, 8, 2, 1, N, causal=False), TEXT)
    with pytest.raises(ValueError, match=r"returned \(3, 4\) for text: it must return \(3, 3\)"):
        jax.eval_shape(MaskedDiffusion(NETWORK.clone(outputs=None), TEXT).init, key, {"x": EVERY})
    with pytest.raises(ValueError, match="real-valued entries"):
        MaskedDiffusion(NETWORK, DataSpec((2,), None, name="points"))
