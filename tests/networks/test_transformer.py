"""The Transformer: what outputs see; steps and prefill compute what the full pass does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.networks.attention import attend, learned, rotary, rotate_pairs
from genjax_models.networks.transformer import Transformer

V, T = 6, 6
CASES = {
    "learned": dict(positions=learned),
    "rotary": dict(positions=rotary, tied=False),
    "context": dict(positions=learned),
}


def build(**kwargs):
    return Transformer(
        V, width=8, heads=2, layers=2, max_length=kwargs.pop("max_length", T), **kwargs
    )


def initialised(network, x, context=None):
    """Variables with nothing left at zero, so that a missing dependence is not one by chance."""
    variables = jax.jit(network.init)(jax.random.key(0), x, context)
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return jax.tree.unflatten(
        tree, [a + 0.3 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)]
    )


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """Network, variables, tokens `[2, T]`, context and logits of the full pass."""
    network = build(**CASES[request.param])
    x = jax.random.randint(jax.random.key(2), (2, T), 0, V)
    context = jnp.eye(2, 3) if request.param == "context" else None
    variables = initialised(network, x, context)
    return network, variables, x, context, jax.jit(network.apply)(variables, x, context)


@pytest.mark.parametrize("positions", [learned, rotary])
def test_a_logit_is_a_function_of_all_earlier_tokens_and_no_others(positions):
    network = build(positions=positions, tied=False)
    x = jnp.arange(T)[None]  # each token stands once, so its vector is one position's input
    variables = initialised(network, x)

    @jax.jit
    @jax.jacrev
    def jacobian(embedding):
        params = {**variables["params"], "embedding": embedding}
        return network.apply({"params": params}, x)[0]

    seen = np.abs(jacobian(variables["params"]["embedding"])).sum(axis=(1, 3))  # [T, T]
    np.testing.assert_array_equal(seen > 0, np.tril(np.ones((T, T)), -1))


def test_without_causality_every_logit_sees_every_token():
    network = build(causal=False, tied=False)
    x = jnp.arange(T)[None]
    variables = initialised(network, x)
    assert "beginning" not in variables["params"]
    apply = jax.jit(network.apply)
    base = apply(variables, x)[0]
    for j in range(T):
        other = apply(variables, x.at[0, j].set((j + 1) % T))[0]
        assert np.all(np.any(np.abs(other - base) > 1e-4, axis=-1))


def test_steps_give_the_full_pass(case):
    network, variables, x, context, logits = case

    @jax.jit
    def run(previous):
        cache = network.apply(variables, len(x), context, method="start")

        def step(cache, at):
            out, cache = network.apply(variables, cache, *at, context, method="step")
            return cache, out

        return jax.lax.scan(step, cache, (jnp.arange(T), previous))[1]

    previous = jnp.roll(x, 1, axis=1).T  # the first is anything: here, the last token
    np.testing.assert_allclose(jnp.moveaxis(run(previous), 0, 1), logits, rtol=1e-4, atol=1e-5)
    assert np.std(logits, axis=-1).min() > 1e-2


def test_steps_go_on_from_a_prefilled_cache(case):
    network, variables, x, context, logits = case
    known = 3
    # What stands behind the known tokens does not matter.
    filled = x.at[:, known:].set(0)
    prefill = jax.jit(functools.partial(network.apply, method="prefill"))
    step = jax.jit(functools.partial(network.apply, method="step"))
    cache = prefill(variables, filled, context)
    for t in range(known, T):
        out, cache = step(variables, cache, jnp.asarray(t), x[:, t - 1], context)
        np.testing.assert_allclose(out, logits[:, t], rtol=1e-4, atol=1e-5)


def test_a_context_changes_every_logit():
    network = build()
    x = jnp.zeros((2, T), jnp.int32)
    context = jnp.eye(2, 3)
    variables = initialised(network, x, context)
    apply = jax.jit(network.apply)
    one, other = (apply(variables, x, c) for c in (context, context[::-1]))
    assert np.all(np.any(np.abs(one - other) > 1e-3, axis=-1))


def test_rotation_knows_the_distance_alone():
    q, k = jax.random.normal(jax.random.key(0), (2, 1, 1, 1, 8))

    def product(t, s):
        return jnp.sum(rotate_pairs(q, jnp.array([t])) * rotate_pairs(k, jnp.array([s])))

    np.testing.assert_allclose(product(7, 4), product(103, 100), rtol=1e-4)
    assert abs(product(7, 4) - product(7, 5)) > 1e-3
    norm = jnp.linalg.norm(rotate_pairs(q, jnp.array([11])))
    np.testing.assert_allclose(norm, jnp.linalg.norm(q), rtol=1e-5)


def test_attention_is_jax_s():
    q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 3, 5, 4))  # [B, heads, T, d]
    by_place = [jnp.swapaxes(a, 1, 2) for a in (q, k, v)]
    expected = jnp.swapaxes(jax.nn.dot_product_attention(*by_place, is_causal=True), 1, 2)
    np.testing.assert_allclose(
        attend(q, k, v, jnp.tri(5, dtype=bool)), expected, rtol=1e-5, atol=1e-6
    )


def test_size_and_start_are_gpt_2_s():
    width, layers, vocabulary, length = 64, 3, 50, 20
    network = Transformer(vocabulary, width, 4, layers, length)
    params = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, length), jnp.int32))["params"]
    count = sum(a.size for a in jax.tree.leaves(params))
    blocks = layers * (12 * width**2 + 13 * width)
    assert count == (vocabulary + length + 1) * width + blocks + 2 * width
    block = params["blocks_1"]
    for a in (block["attention"]["qkv"], block["hidden"]):
        assert np.std(a["kernel"]) == pytest.approx(0.02, rel=0.05)
    for a in (block["attention"]["out"], block["out"]):
        assert np.std(a["kernel"]) == pytest.approx(0.02 / np.sqrt(2 * layers), rel=0.05)


def test_dropout_is_the_example_s_own_and_of_training_alone():
    network = build(dropout=0.5)
    x = jax.random.randint(jax.random.key(2), (4, T), 0, V)
    variables = initialised(network, x)
    rngs = {"dropout": jax.random.key(3)}
    train = jax.jit(lambda x: network.apply(variables, x, train=True, rngs=rngs))
    np.testing.assert_allclose(train(x)[:2], train(x[:2]), rtol=1e-4, atol=1e-5)
    still = jax.jit(build().apply)(variables, x)  # without any dropout
    assert np.max(np.abs(train(x) - still)) > 0.1
    np.testing.assert_array_equal(still, jax.jit(network.apply)(variables, x, rngs=rngs))


def test_half_precision_gives_float32_near_the_whole():
    x = jax.random.randint(jax.random.key(2), (2, T), 0, V)
    variables = initialised(build(), x)
    half, whole = (jax.jit(build(dtype=d).apply)(variables, x) for d in (jnp.bfloat16, jnp.float32))
    assert half.dtype == jnp.float32
    assert {a.dtype for a in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(half, whole, atol=0.3)


def test_what_cannot_be_is_refused():
    x = jnp.zeros((1, 7), jnp.int32)
    with pytest.raises(ValueError, match="max_length=6, but it was given windows of 7 tokens"):
        build().init(jax.random.key(0), x)
    with pytest.raises(ValueError, match="width is 10 and heads is 4"):
        Transformer(V, 10, 4, 1, 8).init(jax.random.key(0), x)
    with pytest.raises(ValueError, match="turn pairs of entries, but a head has 5"):
        Transformer(V, 10, 2, 1, 8, rotary).init(jax.random.key(0), x)
