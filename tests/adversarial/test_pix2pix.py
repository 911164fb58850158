"""Pix2Pix: its terms by hand, a translation that is known both ways, dropout, and bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import genjax_models as gm
from genjax_models.adversarial import augmentation
from genjax_models.adversarial.losses import Pix2PixOutputs
from genjax_models.adversarial.pix2pix import Pix2Pix
from genjax_models.core.types import DataSpec
from genjax_models.data import Dataset
from genjax_models.data.transforms import swapped, unpaired
from genjax_models.networks.conv import Conv
from genjax_models.networks.layers import drop

SPEC = DataSpec((4, 4, 1), 256, name="squares")


class Paint(nn.Module):
    """Each pixel by itself; noise where there is a key for it."""

    out: int = 1

    @nn.compact
    def __call__(self, x, context=None, *, train=False):
        h = nn.relu(Conv(16, 1)(x))
        if self.has_rng("dropout"):
            h = drop(h, 0.5, self.make_rng("dropout"))
        return Conv(self.out, 1)(h)


class Difference(nn.Module):
    """A map of logits: the target's channel less the source's, times a number."""

    @nn.compact
    def __call__(self, x, context=None, *, train=False):
        return self.param("scale", nn.initializers.ones, ()) * (x[..., 1:2] - x[..., :1])


MODEL = Pix2Pix(Paint(), Difference(), SPEC)


@pytest.fixture(scope="module")
def data():
    """Images and their negatives."""
    x = np.random.default_rng(0).integers(0, 256, (64, 4, 4, 1)).astype(np.uint8)
    return Dataset.from_arrays(x, extra={"condition": 255 - x}, name="squares")


@pytest.fixture(scope="module")
def started(data):
    return jax.jit(MODEL.init)(jax.random.key(0), data.rows(np.arange(8)))


def test_terms_by_hand():
    """|y - G(x)| over the entries, -log D for the generator, half the cross-entropy against it."""
    ones, s = np.ones((2, 2, 2, 1), np.float32), np.array([[0.0, 2.0], [1.0, -1.0]])
    o = Pix2PixOutputs(ones, ones, np.array([0.5, -1.0]).reshape(2, 1, 1, 1) * ones, s, -s)
    generator, discriminator = MODEL.generator_loss, MODEL.discriminator_loss
    np.testing.assert_allclose(generator.terms["l1"](o), [0.5, 2.0])
    cost = np.log1p(np.exp(-s)).mean(axis=1)  # -log sigmoid(s)
    other = np.log1p(np.exp(s)).mean(axis=1)
    np.testing.assert_allclose(discriminator.terms["adversarial"](o), cost, rtol=1e-6)
    np.testing.assert_allclose(generator.terms["adversarial"](o), other, rtol=1e-6)
    assert generator.weights == {"l1": 100.0}


def test_the_discriminator_sees_source_and_target_joined(data, started):
    params, state = started
    batch = data.rows(np.arange(8))
    forward = jax.jit(functools.partial(MODEL.forward, train=False))
    o, _ = forward(params, batch, jax.random.key(1), state=state)
    np.testing.assert_allclose(o.real_logits, o.target - o.source, atol=1e-6)
    np.testing.assert_allclose(o.fake_logits, o.fake - o.source, atol=1e-6)
    np.testing.assert_allclose(o.source, 1.0 - 2.0 * batch["x"] / 255.0, atol=1e-6)


class Sure(nn.Module):
    """Paint that leaves nothing out."""

    @nn.compact
    def __call__(self, x, context=None, *, train=False):
        return Conv(1, 1)(x)


def test_a_known_translation_is_learned_and_either_way_round(data):
    """`swapped` pairs are learned backwards: here an image of a quarter of the range from one."""
    bright = 96 + (255 - data.arrays["x"]) // 4
    pairs = swapped(Dataset.from_arrays(data.arrays["x"], extra={"condition": bright}), "condition")
    model = Pix2Pix(Sure(), Difference(), SPEC)
    state = gm.fit(
        model, pairs, optax.adam(0.02), steps=300, batch_size=32, devices=1, log_every=100, ema=0.9
    )
    made = jax.jit(model.translate)(state.ema, pairs.arrays["condition"])
    np.testing.assert_allclose(made.astype(jnp.int32), bright, atol=3)


def test_noise_is_dropout_and_a_function_of_the_key(data, started):
    params, state = started
    source = data.rows([0])["condition"]

    @jax.jit
    def sample(key):
        key = jax.random.key(key)
        return MODEL.sample(params, key, 3, state=state, condition=source[0])

    drawn = sample(1)
    assert (drawn.shape, drawn.dtype) == ((3, 4, 4, 1), jnp.uint8)
    np.testing.assert_array_equal(drawn, sample(1))
    assert not np.array_equal(drawn, sample(2)) and not np.array_equal(drawn[0], drawn[1])
    plain = jax.jit(MODEL.translate)(params, source, state=state)  # nothing is left out
    expected = jnp.tanh(Paint().apply({"params": params["generator"]}, source / 127.5 - 1.0))
    np.testing.assert_allclose(plain, (expected + 1.0) * 127.5, atol=0.51)


def one_pass(model, batch, key):
    params, state = model.init(key, batch)
    return model.forward(params, batch, key, state=state, train=True)[0]


def test_what_is_done_to_pairs_is_done_to_both():
    """Pairs of the same image stay the same; some are mirrored, and some moved."""
    x = np.random.default_rng(1).integers(0, 256, (32, 4, 4, 1)).astype(np.uint8)
    batch = {"x": x, "condition": x}
    for augment in (augmentation.random_flip, augmentation.RandomShift(1)):
        model = Pix2Pix(Sure(), Difference(), SPEC, augment=augment)
        forward = jax.jit(functools.partial(one_pass, model))
        o = forward(batch, jax.random.key(2))
        np.testing.assert_array_equal(o.source, o.target)
        plain = x / 127.5 - 1.0
        same = np.isclose(o.source, plain, atol=1e-5).all(axis=(1, 2, 3))
        assert 0 < same.sum() < 32
        if augment is augmentation.random_flip:
            np.testing.assert_allclose(o.source[~same], plain[~same][:, :, ::-1], atol=1e-5)


def test_moved_images_are_parts_of_the_reflected_one():
    image = np.arange(16.0, dtype=np.float32).reshape(1, 4, 4, 1)
    around = np.pad(image[0, ..., 0], 1, mode="reflect")
    parts = {around[i : i + 4, j : j + 4].tobytes() for i in range(3) for j in range(3)}
    out = np.asarray(
        jax.jit(augmentation.RandomShift(1))(jax.random.key(0), image.repeat(200, axis=0))
    )
    assert {a[..., 0].tobytes() for a in out} == parts


def test_sets_without_pairs_are_refused(data):
    message = "a Pix2Pix needs a batch with x and condition, but it has x, y: it learns from pairs"
    with pytest.raises(ValueError, match=message):
        gm.fit(MODEL, unpaired(data, data), optax.adam(1e-3), steps=1, batch_size=8)


def test_images_of_other_sizes_are_refused(data, started):
    batch = data.rows(np.arange(8))
    with pytest.raises(ValueError, match=r"condition of shape \(4, 4, 1\), but it was given"):
        MODEL.init(jax.random.key(0), {**batch, "condition": batch["x"][:, :2]})
    with pytest.raises(ValueError, match="one height and width"):
        Pix2Pix(Paint(), Difference(), SPEC, source_spec=DataSpec((8, 8, 1)))
    with pytest.raises(
        ValueError, match=r"squares has examples of shape .* but the generator returned"
    ):
        Pix2Pix(Paint(2), Difference(), SPEC).init(jax.random.key(0), batch)


def test_samples_are_of_something(data, started):
    params, state = started
    sample = jax.tree_util.Partial(MODEL.sample, params, jax.random.key(0), 2, state=state)
    with pytest.raises(ValueError, match="none were given: pass condition="):
        sample()
    with pytest.raises(ValueError, match="2 samples are asked for, but condition has shape"):
        sample(condition=data.arrays["condition"])
    with pytest.raises(TypeError, match="the model takes condition, not label"):
        sample(condition=data.rows([0, 1])["condition"], label=1)
