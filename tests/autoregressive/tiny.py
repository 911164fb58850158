"""Autoregressive models of spaces so small that every example can be listed."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.autoregressive import sampling
from genjax_models.autoregressive.model import Autoregressive
from genjax_models.core import DataSpec, likelihoods
from genjax_models.core.preprocess import tokens
from genjax_models.networks.attention import learned, rotary
from genjax_models.networks.made import MADE
from genjax_models.networks.transformer import Transformer

ancestral = jax.jit(
    sampling.ancestral, static_argnames=("model", "num", "logit_filter", "make_step")
)

TEXT = DataSpec((3,), 3, num_classes=2, vocabulary=("a", "b", "c"), name="text")
IMAGE = DataSpec((3, 2, 1), 2, name="image")
COLOUR = DataSpec((1, 2, 2), 3, name="colour")


def _gpt(positions, **kwargs):
    network = Transformer(3, 8, 2, 1, 3, positions)
    return Autoregressive(network, TEXT, inputs=tokens, marginals=False, **kwargs)


MODELS = {
    "learned": _gpt(learned),
    "rotary_of_labels": _gpt(rotary, num_classes=2),
    "made": Autoregressive(MADE(IMAGE.shape, 1, (16,)), IMAGE, likelihoods.bernoulli),
    "made_of_labels": Autoregressive(MADE(IMAGE.shape, 2, (16,)), IMAGE, num_classes=2),
    "pixels_as_tokens": Autoregressive(Transformer(2, 8, 2, 1, 6), IMAGE, inputs=tokens),
    "colour": Autoregressive(MADE(COLOUR.shape, 2 * 3, (16,)), COLOUR),
    "mixture": Autoregressive(
        MADE(COLOUR.shape, 2 * 6, (16,)), COLOUR, likelihoods.discretized_logistic_mixture(2)
    ),
}


def every_example(spec):
    """All examples there are `[levels^D, *shape]`."""
    rows = itertools.product(range(spec.num_levels), repeat=spec.num_dims)
    return np.array(list(rows)).reshape(-1, *spec.shape)


@functools.cache
def params_of(name):
    """Parameters with nothing left at zero."""
    model = MODELS[name]
    x = jnp.asarray(every_example(model.spec)[::3])
    batch = {"x": x, "label": jnp.zeros(len(x), jnp.int32)}
    params, _ = jax.jit(model.init)(jax.random.key(0), batch)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [a + 0.5 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, noisy)


def condition(model, num, label=1):
    """The labels of `num` examples, as keyword arguments."""
    return {} if model.num_classes is None else {"label": jnp.full(num, label)}


def log_prob(name, x, **options):
    """Of the named model's parameters here, compiled."""
    return jax.jit(MODELS[name].log_prob)(params_of(name), x, **options)
