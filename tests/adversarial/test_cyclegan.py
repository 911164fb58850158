"""CycleGAN: its terms by hand, its pools, and a translation that is known."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import genjax_models as gm
from genjax_models.adversarial import losses
from genjax_models.adversarial.cyclegan import CycleGAN, empty_pool, exchange
from genjax_models.adversarial.losses import CycleGANOutputs
from genjax_models.core.random import DATA_AXIS
from genjax_models.core.types import DataSpec
from genjax_models.data import Dataset
from genjax_models.networks.conv import Conv
from genjax_models.training.state import init_state

X, Y = DataSpec((4, 4, 1), 256, name="wide"), DataSpec((2, 2, 3), 256, name="small")


class Halve(nn.Module):
    """Images of twice the size and one channel to those of Y."""

    @nn.compact
    def __call__(self, x, context=None, *, train=False):
        return Conv(3)(x[:, ::2, ::2])


class Double(nn.Module):
    """The other way."""

    @nn.compact
    def __call__(self, y, context=None, *, train=False):
        return Conv(1)(y).repeat(2, axis=1).repeat(2, axis=2)


class Mean(nn.Module):
    """Logits that are the image's mean, times a number."""

    @nn.compact
    def __call__(self, x, context=None, *, train=False):
        return self.param("scale", nn.initializers.ones, ()) * x.mean((1, 2, 3))[:, None]


MODEL = CycleGAN(
    Halve(), Mean(), X, Y, generator_back=Double(), identity=0.0, pool_size=8
)  # fmt: skip


@pytest.fixture(scope="module")
def batch():
    x, y = jax.random.randint(jax.random.key(0), (2, 4, 4, 4, 3), 0, 256).astype(jnp.uint8)
    return {"x": x[..., :1], "y": y[:, :2, :2]}


@pytest.fixture(scope="module")
def started(batch):
    return jax.jit(functools.partial(init_state, MODEL, optax.sgd(0.1)))(batch, 0)


def test_terms_by_hand():
    """The mean over entries of each direction, and Zhu et al.'s least squares."""
    ones = np.ones((2, 2, 2, 1), np.float32)
    o = CycleGANOutputs(
        x=ones, y=0 * ones, fake_x=ones, fake_y=ones, cycle_x=0.5 * ones, cycle_y=-2 * ones,
        same_x=4 * ones, same_y=-ones, x_logits=np.array([[3.0], [1.0]]), y_logits=ones,
    )  # fmt: skip
    np.testing.assert_allclose(losses.cycle(o), [2.5, 2.5])
    np.testing.assert_allclose(losses.identity(o), [4.0, 4.0])
    model = CycleGAN(Halve(), Mean())
    terms = model.generators_loss.terms
    np.testing.assert_allclose(terms["adversarial_x"](o), [4.0, 0.0])
    np.testing.assert_allclose(terms["adversarial_y"](o), [0.0, 0.0])
    assert model.generators_loss.weights == {"cycle": 10.0, "identity": 5.0}
    real, fake = np.array([[[3.0], [1.0]]]), np.array([[[1.0], [3.0]]])
    np.testing.assert_allclose(
        losses.half_least_squares.discriminator_term(losses.Logits(real, fake)), [1.0 + 2.5]
    )


def test_the_identity_is_a_term_only_where_it_weighs():
    assert set(MODEL.generators_loss.terms) == {"adversarial_x", "adversarial_y", "cycle"}


def test_a_step_moves_the_pools_once_and_each_player_its_own(started, batch):
    """The first slots hold what the first generators made: they are kept before these move."""
    only = {"discriminators": optax.set_to_zero(), "generators": optax.sgd(0.1)}
    after, metrics = jax.jit(gm.make_step(MODEL, only))(started, batch)
    for name in ("pool_x", "pool_y"):
        assert int(after.state[name].filled) == 1
    kept = after.state["pool_y"].images.values.reshape(4, 2, 2, 2, 3)
    made = jnp.tanh(Halve().apply({"params": started.params["x_to_y"]}, batch["x"] / 127.5 - 1.0))
    np.testing.assert_allclose(kept[:, 0], made, atol=1e-5)
    np.testing.assert_array_equal(kept[:, 1], 0.0)
    for name, before in started.params.items():
        for a, b in zip(*map(jax.tree.leaves, (before, after.params[name])), strict=True):
            assert np.array_equal(a, b) == name.startswith("discriminator")
    assert metrics["discriminators/loss"] == pytest.approx(
        metrics["discriminators/x"] + metrics["discriminators/y"]
    )


def test_discriminators_are_shown_old_translations_in_training_alone(started, batch):
    def full(pool):
        images = dataclasses.replace(pool.images, values=jnp.full_like(pool.images.values, 7.0))
        return dataclasses.replace(pool, images=images, filled=jnp.int32(2))

    state = {name: full(pool) for name, pool in started.state.items()}
    discriminate = jax.jit(MODEL.discriminators_forward, static_argnames="train")

    def logits(key, train):
        o, after = discriminate(
            started.params, batch, jax.random.key(key), state=state, train=train
        )
        same = jax.tree.leaves(jax.tree.map(np.array_equal, state, after))
        assert all(same) == (not train)
        return np.concatenate([o.x.fake_logits, o.y.fake_logits])[:, 0]

    now = logits(0, False)
    assert np.all(now <= 1.0)
    drawn = np.stack([logits(key, True) for key in range(60)])
    assert np.all(np.isclose(drawn, 7.0) | np.isclose(drawn, now, atol=1e-5))
    assert np.mean(drawn > 6.0) == pytest.approx(0.5, abs=0.1)


def test_domains_may_differ_in_shape(started, batch):
    y = jax.jit(MODEL.x_to_y)(started.params, batch["x"])
    x = jax.jit(MODEL.y_to_x)(started.params, y)
    assert (y.shape, y.dtype) == (batch["y"].shape, jnp.uint8)
    assert (x.shape, x.dtype) == (batch["x"].shape, jnp.uint8)
    sample = jax.jit(MODEL.sample, static_argnums=2)
    one = sample(started.params, jax.random.key(0), 3, x=batch["x"][0])
    np.testing.assert_array_equal(one, np.broadcast_to(y[:1], (3, 2, 2, 3)))


def test_a_known_translation_is_found():
    """Y is X turned by a right angle and moved; nothing else turns one ellipse into the other."""
    x = np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32)
    x = x * np.array([1.0, 0.2], np.float32)
    y = x[:, ::-1] * np.array([-1.0, 1.0], np.float32) + np.array([2.0, 1.0], np.float32)
    spec = DataSpec((2,), None, name="ellipse")
    linear, critic = gm.networks.MLP((2,)), gm.networks.MLP((16, 1))
    model = CycleGAN(linear, critic, spec, cycle=1.0, identity=0.0, pool_size=200)
    state = gm.fit(
        model,
        Dataset(spec, arrays={"x": x, "y": y[::-1]}),
        optax.adam(1e-2, b1=0.5),
        steps=2000,
        batch_size=100,
        devices=1,
        log_every=500,
        ema=0.99,
    )
    fake = model.x_to_y(state.ema, x)
    np.testing.assert_allclose(jnp.mean(fake, axis=0), [2.0, 1.0], atol=0.1)
    np.testing.assert_allclose(jnp.cov(fake.T), np.cov(y.T), atol=0.06)
    np.testing.assert_allclose(model.y_to_x(state.ema, fake), x, atol=0.1)


@pytest.mark.parametrize(
    ("changes", "wrong", "message"),
    [
        ({}, {"y": None}, "a CycleGAN needs a batch with x and y, but it has x: data.unpaired"),
        ({}, {"y": np.zeros((4, 4, 4, 1), np.uint8)}, r"y of shape \(2, 2, 3\)"),
        ({"generator": Double()}, {}, r"small has examples of shape .*x_to_y returned"),
        ({"pool_size": 6}, {}, "6 slots for a batch of 4"),
    ],
)
def test_what_does_not_fit_is_named(batch, changes, wrong, message):
    model = dataclasses.replace(MODEL, **changes)
    batch = {name: a for name, a in {**batch, **wrong}.items() if a is not None}
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: init_and_discriminate(model, batch))


def init_and_discriminate(model, batch):
    params, state = model.init(jax.random.key(0), batch)
    return model.discriminators_forward(params, batch, jax.random.key(0), state=state, train=True)[
        0
    ]


def test_settings_that_cannot_be():
    with pytest.raises(ValueError, match=r"identity=0"):
        dataclasses.replace(MODEL, identity=5.0)
    with pytest.raises(ValueError, match="pool_size is 0"):
        dataclasses.replace(MODEL, pool_size=0)


def test_samples_are_of_something(started, batch):
    with pytest.raises(ValueError, match="none were given: pass x="):
        MODEL.sample(started.params, jax.random.key(0), 2)
    with pytest.raises(ValueError, match="3 samples are asked for, but x has shape"):
        MODEL.sample(started.params, jax.random.key(0), 3, x=batch["x"])


NUM, SLOTS, STEPS = 4000, 3, 80


def images(step, num=NUM, first=0):
    """The image of step t and position i holds t and i."""
    return jnp.stack([jnp.full(num, step, jnp.float32), first + jnp.arange(num)], axis=-1)


@pytest.fixture(scope="module")
def shown():
    """What came out at each step `[STEPS, NUM, 2]`."""

    def one(pool, step):
        out, pool = exchange(jax.random.fold_in(jax.random.key(0), step), pool, images(step))
        return pool, out

    pool = empty_pool(NUM * SLOTS, (2,))
    return np.asarray(jax.jit(lambda p: jax.lax.scan(one, p, jnp.arange(STEPS)))(pool)[1])


def test_while_a_pool_fills_the_new_images_are_shown(shown):
    np.testing.assert_array_equal(shown[:SLOTS, :, 0], np.arange(SLOTS)[:, None] * np.ones(NUM))


def test_nobody_is_shown_an_image_of_another_position(shown):
    np.testing.assert_array_equal(shown[..., 1], np.broadcast_to(np.arange(NUM), (STEPS, NUM)))


def test_half_are_new_and_the_others_of_geometric_age(shown):
    """A slot is overwritten with probability 1 / (2 S) a step, so P(age = a) is geometric."""
    age = (np.arange(STEPS)[:, None] - shown[..., 0])[50:]
    new = np.mean(age == 0, axis=1)
    np.testing.assert_allclose(new, 0.5, atol=5 * 0.5 / np.sqrt(NUM))
    old, p = age[age > 0], 1 / (2 * SLOTS)
    for a in (1, 2, 5, 10):
        assert np.mean(old == a) == pytest.approx(p * (1 - p) ** (a - 1), abs=0.006)
    assert np.mean(old) == pytest.approx(2 * SLOTS, rel=0.03)


def test_an_image_leaves_the_pool_when_it_is_shown(shown):
    """Once shown out of the pool, an image never comes back."""
    for i in range(50):
        times = shown[:, i, 0]
        old = times[np.arange(STEPS) != times]
        assert len(set(old)) == len(old)


def test_the_first_old_images_are_equally_likely(shown):
    out = shown[SLOTS, :, 0]
    shares = np.bincount(out[out < SLOTS].astype(int), minlength=SLOTS) / np.sum(out < SLOTS)
    np.testing.assert_allclose(shares, 1 / SLOTS, atol=0.05)


def test_parts_of_a_batch_are_shown_what_the_whole_would_be():
    key, num, parts = jax.random.key(3), 8, 4
    pool = empty_pool(2 * num, (2,))
    split = jax.tree.map(
        lambda a: a.reshape(parts, -1, 2) if a.ndim else jnp.broadcast_to(a, parts), pool
    )
    part = jax.jit(jax.vmap(exchange, (None, 0, 0), axis_name=DATA_AXIS))
    whole = jax.jit(exchange)
    for step in range(6):
        k, new = jax.random.fold_in(key, step), images(step, num)
        expected, pool = whole(k, pool, new)
        out, split = part(k, split, new.reshape(parts, -1, 2))
        np.testing.assert_array_equal(out.reshape(num, 2), expected)
    np.testing.assert_array_equal(split.images.values.reshape(-1, 2), pool.images.values)


def test_no_gradient_passes_a_pool():
    def total(new):
        return jnp.sum(exchange(jax.random.key(0), empty_pool(4, (2,)), new)[0])

    np.testing.assert_array_equal(jax.jit(jax.grad(total))(images(1, 4)), 0.0)


@pytest.mark.parametrize("size", [2, 6])
def test_a_pool_that_the_batch_does_not_divide(size):
    with pytest.raises(ValueError, match=f"{size} slots for a batch of 4"):
        exchange(jax.random.key(0), empty_pool(size, (2,)), images(0, 4))
