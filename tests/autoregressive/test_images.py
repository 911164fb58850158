"""Images sampled from the caches of convolutions and LSTMs, and completed from a part of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.autoregressive import sampling
from genjax_models.autoregressive.model import Autoregressive
from genjax_models.autoregressive.sampling import LogitFilter
from genjax_models.core import DataSpec, likelihoods
from genjax_models.networks.pixelcnn import GatedPixelCNN
from genjax_models.networks.pixelrnn import PixelRNN, RowLSTM
from tests.autoregressive.tiny import ancestral

GREY = DataSpec((6, 5, 1), 4, num_classes=3, name="grey")
COLOUR = DataSpec((4, 5, 3), 5, name="colour")
MIXTURE = likelihoods.discretized_logistic_mixture(2)
SMALL = {"channels": 6, "layers": 2, "head": 8}

MODELS = {
    "pixelcnn_of_labels": Autoregressive(
        GatedPixelCNN(GREY.shape, 4, **SMALL), GREY, num_classes=3
    ),
    "pixelcnn_mixture": Autoregressive(
        GatedPixelCNN(COLOUR.shape, 20, first_size=3, **SMALL), COLOUR, MIXTURE
    ),
    "row_lstm": Autoregressive(PixelRNN(COLOUR.shape, 15, RowLSTM, first_size=3, **SMALL), COLOUR),
    "diagonal_lstm_of_labels": Autoregressive(
        PixelRNN(GREY.shape, 4, first_size=5, **SMALL), GREY, num_classes=3
    ),
}


def examples(spec, num=4, key=0):
    return jax.random.randint(
        jax.random.key(key), (num, *spec.shape), 0, spec.num_levels, jnp.uint8
    )


@pytest.fixture(params=MODELS, scope="module")
def model(request):
    return MODELS[request.param]


@pytest.fixture(scope="module")
def params(model):
    """Parameters whose outputs differ much from pixel to pixel."""

    @jax.jit
    def noisy(key_init, key_noise):
        batch = {"x": examples(model.spec), "label": jnp.array([0, 1, 2, 0])}
        leaves, tree = jax.tree.flatten(model.init(key_init, batch)[0])
        keys = jax.random.split(key_noise, len(leaves))
        noise = [0.4 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)]
        return jax.tree.unflatten(tree, [a + b for a, b in zip(leaves, noise, strict=True)])

    return noisy(*jax.random.split(jax.random.key(0)))


def draw(model, params, known=None, make_step=sampling.cached):
    label = None if model.num_classes is None else jnp.array([0, 1, 2])
    key = jax.random.key(2)
    return ancestral(model, params, {}, key, 3, LogitFilter(), label, known, make_step=make_step)


def test_the_cache_gives_the_samples_of_full_passes(model, params):
    x = draw(model, params)
    np.testing.assert_array_equal(x, draw(model, params, make_step=sampling.uncached))
    assert len(np.unique(x)) == model.spec.num_levels


def test_completion_keeps_what_is_given_and_knows_it(model, params):
    """The upper half is given; below it, other pixels follow another upper half."""
    label = {} if model.num_classes is None else {"label": 1}
    upper = np.zeros(model.spec.shape, bool)
    upper[: model.spec.shape[0] // 2] = True
    complete = jax.jit(lambda x: model.complete(params, x, upper, jax.random.key(3), **label))
    x = examples(model.spec, 3)
    y, other = complete(x), complete(examples(model.spec, 3, key=9))
    np.testing.assert_array_equal(y[:, upper], x[:, upper])
    assert np.any(y[:, ~upper] != x[:, ~upper]) and np.any(y[:, ~upper] != other[:, ~upper])
    hidden = jnp.where(upper, x, 0)
    np.testing.assert_array_equal(complete(hidden), y)
