"""Arguments of the wrong kind are refused in a line that says what to write; Optax's are taken."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import genjax_models as gm
from genjax_models.networks import MLP, Transformer, gelu_erf, gelu_tanh
from tests.training.toys import Affine, points

DATA, MODEL = points(), Affine()
ADAM = optax.adam(1e-2)


def fit(**given):
    options = {"optimizer": ADAM, "steps": 4, "batch_size": 8, "devices": 1, "log_every": 2}
    options = {"model": MODEL, "data": DATA, **options, **given}
    return gm.fit(options.pop("model"), options.pop("data"), options.pop("optimizer"), **options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"losses": MODEL.loss}, 'give losses={"affine": loss}'),
        ({"losses": {"affine": lambda outputs: outputs}}, "give a Loss, such as model.loss.weigh"),
        ({"optimizer": 1e-2}, r"give an Optax transformation, such as optax.adam\(0.01\)"),
        ({"optimizer": optax.adam}, "give an Optax transformation"),
        ({"optimizer": optax.lbfgs()}, r"linesearch=None"),
        ({"data": DATA.arrays["x"]}, r"gm.Dataset.from_arrays\(x\)"),
        ({"data": "digits"}, r"gm.load"),
        ({"model": gm.VAE}, r"build one, VAE\(...\)"),
        ({"model": MLP((4,))}, "give a model of this library"),
        ({"steps": 0.5}, "give a whole number of at least 1"),
    ],
)
def test_what_fit_is_given_wrongly_is_said(given, message):
    with pytest.raises(TypeError, match=message) as caught:
        fit(**given)
    assert "\n" not in str(caught.value)


def test_multi_steps_move_in_the_last_of_their_steps():
    """Two steps' gradients, at the same parameters, are one step by their mean."""
    state = fit(optimizer=optax.MultiSteps(optax.sgd(0.1), 2), steps=1)
    fresh = fit(optimizer=optax.set_to_zero(), steps=1)
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(fresh.params), strict=True):
        np.testing.assert_array_equal(a, b)
    moved = fit(optimizer=optax.MultiSteps(optax.sgd(0.1), 2), steps=2)
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(moved.params), jax.tree.leaves(fresh.params), strict=True)
    )


def test_optimizers_that_ask_for_the_loss_are_told_it():
    """A plateau that nothing is good enough to leave halves every step after the first."""
    plateau = optax.contrib.reduce_on_plateau(factor=0.5, patience=1, rtol=0.0, atol=1e9)
    state = fit(optimizer=optax.chain(ADAM, plateau))
    assert float(state.opt_state["affine"][-1].scale) < 1.0
    fit(optimizer=optax.lbfgs(1e-2, linesearch=None), steps=1)


@pytest.mark.parametrize("weight", ["4", None, True, [1.0]])
def test_weights_are_numbers_or_schedules(weight):
    with pytest.raises(TypeError, match="'squared' is .*: give a number, or a schedule"):
        MODEL.loss.weigh(squared=weight)
    for good in (4, np.float32(4), jnp.float32(4), optax.constant_schedule(4.0)):
        MODEL.loss.weigh(squared=good)
    with pytest.raises(TypeError, match="give a function"):
        MODEL.loss.add(more=1.0)


class Nnx(nnx.Module):
    """What is no linen module."""


@pytest.mark.parametrize("network", [Nnx(), Nnx, lambda x: x, object()])
def test_networks_are_linen_modules(network):
    model = gm.VAE(network, MLP((4, 64)), 2)
    with pytest.raises(TypeError, match="flax.nnx.bridge.to_linen"):
        model.init(jax.random.key(0), {"x": jnp.zeros((2, 8, 8, 1), jnp.uint8)})
    with pytest.raises(TypeError, match="the class Dense: build one"):
        gm.VAE(nn.Dense, MLP((4, 64)), 2).init(
            jax.random.key(0), {"x": jnp.zeros((2, 8, 8, 1), jnp.uint8)}
        )


@pytest.mark.parametrize(
    "given",
    [
        {"temperature": 0},
        {"temperature": -1.0},
        {"temperature": 1e-40},
        {"temperature": np.nan},
        {"temperature": np.inf},
        {"temperature": "1"},
        {"top_k": 0},
        {"top_k": 1.5},
        {"top_k": np.nan},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": -0.1},
        {"top_p": jnp.ones(2)},
    ],
)
def test_filters_take_numbers_in_their_range(given):
    from genjax_models.autoregressive.sampling import LogitFilter

    (name,) = given
    with pytest.raises((ValueError, TypeError), match=name):
        LogitFilter(**given)
    logits = jnp.array([0.0, 1.0, -2.0])
    for good in ({"temperature": 1e-6}, {"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}):
        kept = jax.nn.softmax(LogitFilter(**good)(logits))
        np.testing.assert_allclose(kept, [0.0, 1.0, 0.0])


def test_prompts_of_several_lengths_are_told():
    model = gm.Autoregressive(
        Transformer(3, 4, 1, 1, 8), spec=gm.DataSpec((8,), 3), inputs=gm.autoregressive.tokens
    )
    with pytest.raises(ValueError, match="lengths 1, 2: give texts of one length"):
        gm.autoregressive.generate(model, {}, jax.random.key(0), [[0, 1], [2]], 3)
    with pytest.raises(TypeError, match="tokens, which are integers"):
        gm.autoregressive.generate(model, {}, jax.random.key(0), [0.5, 1.0], 3)


def test_both_gelus_are_had_by_name():
    from scipy.stats import norm

    x = np.linspace(-6, 6, 201)
    np.testing.assert_allclose(gelu_erf(jnp.asarray(x)), x * norm.cdf(x), atol=1e-6)
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    np.testing.assert_allclose(gelu_tanh(jnp.asarray(x)), 0.5 * x * (1 + np.tanh(inner)), atol=1e-6)
    tokens = jnp.array([[0, 1, 2]])
    network = Transformer(3, 4, 1, 1, 3)
    params = jax.jit(network.init)(jax.random.key(0), tokens)
    params = jax.tree.map(lambda a: a * 20, params)
    with_tanh, with_erf = (
        jax.jit(Transformer(3, 4, 1, 1, 3, activation=f).apply)(params, tokens)
        for f in (gelu_tanh, gelu_erf)
    )
    np.testing.assert_array_equal(jax.jit(network.apply)(params, tokens), with_tanh)
    assert not np.array_equal(with_erf, with_tanh)
    assert hash(Transformer(3, 4, 1, 1, 3, activation=gelu_erf))
