"""Generation: the model's own samples, chunk by chunk, from window to window."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.autoregressive import sampling
from genjax_models.autoregressive.generation import generate
from genjax_models.autoregressive.model import Autoregressive
from genjax_models.autoregressive.sampling import LogitFilter
from genjax_models.core import DataSpec
from genjax_models.core.preprocess import tokens
from genjax_models.networks.made import MADE
from genjax_models.networks.transformer import Transformer
from tests.autoregressive import tiny

T, V = 8, 4
SPEC = DataSpec((T,), V, vocabulary=tuple("abcd"), name="abcd")
NETWORKS = {
    "transformer": Transformer(V, 8, 2, 1, T),
    "made": MADE((T,), V, (32,), vocabulary=V),  # a network without prefill
}
KEY = jax.random.key(3)


@functools.cache
def model_and_params(name):
    model = Autoregressive(NETWORKS[name], SPEC, inputs=tokens, marginals=False)
    params, _ = jax.jit(model.init)(jax.random.key(0), {"x": jnp.zeros((2, T), jnp.int32)})
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [a + 0.4 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)]
    return model, jax.tree.unflatten(tree, noisy)


def text(name, prompt, num, **kwargs):
    chunks = list(generate(*model_and_params(name), KEY, prompt, num, **kwargs))
    return np.concatenate(chunks, axis=-1)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_window_is_sampled_as_by_full_passes(name):
    model, params = model_and_params(name)
    prompt = np.array([2, 0, 1])
    drawn = text(name, prompt, T - 3, temperature=0.7)
    known = jnp.pad(prompt, (0, T - 3))[None], jnp.arange(T)[None] < 3
    x = tiny.ancestral(
        model, params, {}, KEY, 1, LogitFilter(0.7), None, known, make_step=sampling.uncached
    )
    np.testing.assert_array_equal(drawn, x[0, 3:])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_full_window_goes_on_from_its_last_half(name):
    model, params = model_and_params(name)
    prompt = [1, 2]
    drawn = text(name, prompt, 14, top_k=1)
    greedy = list(prompt)
    window = list(prompt)
    step = jax.jit(lambda x: model.forward(
        params, {"x": x}, KEY, state={}, train=False)[0].likelihood.logits)  # fmt: skip
    for _ in range(14):
        if len(window) == T:
            window = window[T // 2 :]
        x = jnp.asarray(window + [0] * (T - len(window)))[None]
        window.append(int(jnp.argmax(step(x)[0, len(window)])))
        greedy.append(window[-1])
    np.testing.assert_array_equal(drawn, greedy[2:])


def test_chunks_do_not_change_the_text():
    sizes = [len(c) for c in generate(*model_and_params("transformer"), KEY, [1], 20, chunk=3)]
    assert sum(sizes) == 20 and max(sizes) == 3
    whole = text("transformer", [1], 20)
    assert whole.dtype == np.int32 and len(np.unique(whole)) > 1
    np.testing.assert_array_equal(whole, text("transformer", [1], 20, chunk=3))


def test_chunks_come_as_they_are_drawn():
    endless = generate(*model_and_params("transformer"), KEY, [1], 10**9, chunk=3)
    assert next(endless).shape == (3,)


def test_several_texts_and_an_empty_prompt():
    both = text("transformer", np.zeros((2, 0), int), 12)
    assert both.shape == (2, 12)
    np.testing.assert_array_equal(both[0], text("transformer", [], 12))


def test_a_long_prompt_is_seen_by_its_end_and_said_once():
    long = np.array([0, 3, 2, 1, 0, 1, 2, 3, 3, 1, 0, 2])
    with pytest.warns(UserWarning, match="12 tokens and the model a window of 8") as said:
        drawn = text("transformer", long, 12, top_k=1)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = text("transformer", long[-T // 2 :], 12, top_k=1)
    np.testing.assert_array_equal(drawn, expected)


def test_a_stop_token_ends_the_text():
    whole = text("transformer", [1], 30)
    stop = int(whole[5])
    first = int(np.argmax(whole == stop))
    stopped = text("transformer", [1], 30, stop=stop, chunk=4)
    np.testing.assert_array_equal(stopped, whole[: first + 1])


def test_several_texts_end_with_the_last_of_them():
    prompt = np.array([[1], [2], [0]])
    whole = text("transformer", prompt, 30)
    stop = int(whole[0, 4])
    stopped = text("transformer", prompt, 30, stop=stop)
    ends = [int(np.argmax(row == stop)) if stop in row else 29 for row in whole]
    assert stopped.shape[1] == max(ends) + 1
    for row, full, end in zip(stopped, whole, ends, strict=True):
        np.testing.assert_array_equal(row[: end + 1], full[: end + 1])
        assert np.all(row[end + 1 :] == stop)


@pytest.mark.parametrize(
    ("prompt", "kwargs", "message"),
    [
        ([0, V], {}, "the prompt holds 4, but abcd has values 0 .. 3"),
        ([0], {"stop": V}, "stop is 4, but abcd has tokens 0 .. 3"),
        ([0], {"chunk": 0}, "chunk must be positive, got 0"),
        ([0], {"top_p": 0.0}, "top_p must be above 0"),
        ([[[0]]], {}, r"the prompt has shape \(1, 1, 1\)"),
    ],
)
def test_what_cannot_be_is_refused_at_once(prompt, kwargs, message):
    with pytest.raises(ValueError, match=message):
        generate(*model_and_params("transformer"), KEY, prompt, 5, **kwargs)


def test_images_are_sampled_not_generated():
    with pytest.raises(ValueError, match="generate continues texts"):
        generate(tiny.MODELS["made"], {}, KEY, [0], 3)
