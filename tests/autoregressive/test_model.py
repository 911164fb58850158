"""`Autoregressive`: a probability of every example, and they sum to one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.autoregressive import losses
from genjax_models.autoregressive.model import Autoregressive
from genjax_models.core import DataSpec, TractableDensity, likelihoods, preprocess
from genjax_models.core.preprocess import tokens
from genjax_models.metrics import default_metrics
from genjax_models.networks.made import MADE
from genjax_models.networks.transformer import Transformer
from tests.autoregressive import tiny
from tests.autoregressive.tiny import IMAGE, MODELS, TEXT, condition, every_example, params_of


@pytest.mark.parametrize("name", MODELS)
def test_probabilities_of_all_examples_sum_to_one(name):
    model = MODELS[name]
    x = every_example(model.spec)
    assert isinstance(model, TractableDensity)
    log_prob = tiny.log_prob(name, x, **condition(model, len(x)))
    assert log_prob.shape == (len(x),)
    np.testing.assert_allclose(np.sum(np.exp(log_prob)), 1.0, rtol=1e-4)
    assert np.std(log_prob) > 0.1


def test_the_loss_is_minus_log_prob_and_its_parts():
    model, params = MODELS["learned"], params_of("learned")
    x = jnp.asarray(every_example(TEXT))
    log_prob = tiny.log_prob("learned", x)
    loss = model.loss.watch(next_token=losses.next_token, last=losses.after(2))
    total, aux = jax.jit(lambda p, k: loss(p, {"x": x}, k))(params, jax.random.key(0))
    np.testing.assert_allclose(total, -np.mean(log_prob), rtol=1e-5)
    forward = jax.jit(functools.partial(model.forward, state={}, train=False))
    outputs, _ = forward(params, {"x": x}, jax.random.key(0))
    nats = losses.token_nats(outputs)
    np.testing.assert_allclose(np.sum(nats, axis=1), -log_prob, rtol=1e-4)
    # The first token's probability is a marginal: the sum over all that may follow.
    first = np.log([np.sum(np.exp(log_prob)[x[:, 0] == v]) for v in range(3)])
    np.testing.assert_allclose(-nats[:, 0], first[x[:, 0]], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(aux.metrics["next_token"], np.mean(nats[:, 1:]), rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["last"], np.mean(nats[:, 2]), rtol=1e-5)


def test_labels_condition_the_probability():
    model, params = MODELS["rotary_of_labels"], params_of("rotary_of_labels")
    x = every_example(TEXT)
    name = "rotary_of_labels"
    one, other = (tiny.log_prob(name, x, **condition(model, len(x), k)) for k in (0, 1))
    assert np.max(np.abs(one - other)) > 0.1
    with pytest.raises(ValueError, match="conditional on one of 2 labels, and none was given"):
        model.log_prob(params, x)
    with pytest.raises(ValueError, match="label 2 is given"):
        model.sample(params, jax.random.key(0), 2, label=2)


GREY = DataSpec((2, 2, 1), 256, name="grey")
BINARISED = Autoregressive(
    MADE(GREY.shape, 1, (8,)), GREY, likelihoods.bernoulli,
    preprocess=preprocess.dynamic_binarization,
)  # fmt: skip


def test_the_key_decides_what_noisy_preprocessing_draws():
    x = np.full((64, *GREY.shape), 100, np.uint8)
    params, _ = jax.jit(BINARISED.init)(jax.random.key(0), {"x": x})
    params = jax.tree.map(lambda a: a + 0.5, params)
    binary = Autoregressive(
        BINARISED.network, BINARISED.prepared, likelihoods.bernoulli, marginals=True
    )
    log_prob, of_binary = jax.jit(BINARISED.log_prob), jax.jit(binary.log_prob)
    nll = jax.jit(default_metrics(BINARISED)["nll"])
    for key in (jax.random.key(5), jax.random.key(6)):
        drawn = preprocess.dynamic_binarization.apply(x, key, GREY)
        expected = of_binary(params, drawn)
        np.testing.assert_allclose(log_prob(params, x, key=key), expected, rtol=1e-5)
        np.testing.assert_allclose(nll(params, {}, {"x": x}, key), -expected, rtol=1e-5)
    fixed = log_prob(params, x)
    np.testing.assert_array_equal(fixed, log_prob(params, x))
    assert np.any(fixed != log_prob(params, x, key=jax.random.key(5)))


def test_samples_are_in_the_data_s_range():
    x = np.full((4, *GREY.shape), 100, np.uint8)
    params, _ = jax.jit(BINARISED.init)(jax.random.key(0), {"x": x})
    samples = BINARISED.sample(params, jax.random.key(1), 16)
    assert samples.dtype == np.uint8 and samples.shape == (16, *GREY.shape)
    assert set(np.unique(samples)) == {0, 255}


def test_a_position_s_bias_starts_at_the_data_s_marginals():
    x = np.zeros((100, *IMAGE.shape), np.uint8)
    x[:30, 0] = 1
    model = Autoregressive(MADE(IMAGE.shape, 1, (8,), scale=0.0), IMAGE, likelihoods.bernoulli)
    params, _ = jax.jit(model.init)(jax.random.key(0), {"x": x})
    p = np.where(np.arange(3)[:, None, None] == 0, 31 / 102, 1 / 102) * np.ones(IMAGE.shape)
    expected = np.sum(np.log(np.where(x[:1], p, 1 - p)))
    log_prob = jax.jit(model.log_prob)(params, x[:1])
    np.testing.assert_allclose(log_prob[0], expected, rtol=1e-4)
    drawn = np.mean(model.sample(params, jax.random.key(0), 2000), axis=0)
    np.testing.assert_allclose(drawn, p, atol=0.04)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="have only a bound"):
        Autoregressive(MADE((2, 2, 1), 2), GREY, likelihoods.normal,
                       preprocess=preprocess.uniform_dequantization)  # fmt: skip
    wrong = Autoregressive(MADE(IMAGE.shape, 3, (8,)), IMAGE)
    with pytest.raises(ValueError, match="takes 12 decoder outputs"):
        jax.jit(wrong.init)(jax.random.key(0), {"x": every_example(IMAGE)})
    points = DataSpec((2,), None, name="points")
    model = Autoregressive(Transformer(3, 8, 2, 1, 3), points, likelihoods.normal, tokens)
    with pytest.raises(ValueError, match="real-valued entries, which are no tokens"):
        model.init(jax.random.key(0), {"x": jnp.zeros((3, 2))})
    with pytest.raises(TypeError, match="nats per token need the categorical"):
        loss = MODELS["made"].loss.watch(next_token=losses.next_token)
        batch = {"x": every_example(IMAGE)}
        jax.eval_shape(lambda p: loss(p, batch, jax.random.key(0)), params_of("made"))
