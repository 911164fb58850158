"""GANs: what each player moves, labels, noise, and what is refused."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import genjax_models as gm
from genjax_models.adversarial import GAN, GaussianNoise, augmentation, losses
from genjax_models.adversarial.gan import TAIL
from genjax_models.core.random import normal
from genjax_models.training.state import init_state
from genjax_models.training.step import turn_key

mlp = gm.networks.MLP
MODEL = GAN(mlp((16, 64)), mlp((16, 1)), latent_dim=4)


@pytest.fixture(scope="module")
def batch(digits):
    return digits.rows(np.arange(8))


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_an_update_changes_what_its_player_owns_alone(player, batch):
    still = dict.fromkeys(MODEL.players, optax.set_to_zero())
    optimizers = {**still, player: optax.sgd(0.1)}
    state = init_state(MODEL, optimizers, batch, 0)
    after, _ = jax.jit(gm.make_step(MODEL, optimizers))(state, batch)
    for name, before in state.params.items():
        same = jax.tree.map(np.array_equal, before, after.params[name])
        assert jax.tree.leaves(same) == [name != player] * 4


def test_a_move_leaves_the_statistics_of_the_other_s_network_alone(batch):
    network = gm.networks.DCGANDiscriminator((4, 4))
    model = dataclasses.replace(MODEL, discriminator=network)
    start = jax.jit(lambda: init_state(model, optax.sgd(0.1), batch, 0))()
    after, _ = jax.jit(gm.make_step(model, optax.sgd(0.1)))(start, batch)

    @jax.jit
    def judged(params):
        key = turn_key(start.key, 0, 0, 0)
        return model.forward(params, batch, key, state=start.state, train=True)[1]

    own = judged(start.params)["discriminator"]
    assert not jax.tree.all(jax.tree.map(np.array_equal, own, start.state["discriminator"]))
    for a, b in zip(*map(jax.tree.leaves, (own, after.state["discriminator"])), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_every_penalty_can_be_added_and_differentiated(batch):
    params, state = MODEL.init(jax.random.key(0), batch)
    loss = MODEL.discriminator_loss.add(
        gradient_penalty=losses.gradient_penalty,
        r1=losses.r1,
        feature_matching=losses.feature_matching,
    )

    @jax.jit
    def slope(params):
        return jax.grad(lambda p: loss(p, batch, jax.random.key(1), state=state)[0])(params)

    for leaf in jax.tree.leaves(slope(params)["discriminator"]):
        assert np.all(np.isfinite(leaf)) and np.any(leaf != 0)


def test_features_are_those_of_the_layers(batch):
    params, state = MODEL.init(jax.random.key(0), batch)
    o, _ = MODEL.forward(params, batch, jax.random.key(1), state=state, train=False)
    assert [f.shape for f in o.real_features.values()] == [(8, 16), (8, 1)]
    np.testing.assert_array_equal(list(o.fake_features.values())[-1], o.fake_logits)
    np.testing.assert_allclose(o.discriminator(o.real, None), o.real_logits, rtol=1e-5)


def test_labels_reach_both_networks(batch):
    model = dataclasses.replace(MODEL, num_classes=10)
    params, state = model.init(jax.random.key(0), batch)
    forward = functools.partial(model.forward, params, key=jax.random.key(1), state=state)
    first, _ = forward(batch, train=False)
    second, _ = forward({**batch, "label": (batch["label"] + 1) % 10}, train=False)
    assert not np.allclose(first.fake, second.fake)
    assert not np.allclose(first.real_logits, second.real_logits)
    with pytest.raises(ValueError, match="label 10 is given"):
        model.sample(params, jax.random.key(0), 2, label=10)


def test_a_generator_of_another_size_is_refused(batch):
    wrong = dataclasses.replace(MODEL, generator=mlp((16, 49)))
    with pytest.raises(ValueError, match=r"shape \(8, 8, 1\), but the generator returned \(49,\)"):
        wrong.init(jax.random.key(0), batch)
    with pytest.raises(ValueError, match="turns is 0.*at least 1"):
        _ = dataclasses.replace(MODEL, turns=0).players
    with pytest.raises(ValueError, match="truncation is 0"):
        MODEL.sample({}, jax.random.key(0), 1, truncation=0)


def test_truncated_noise_is_a_normal_distribution_cut_off():
    z = GaussianNoise()(jax.random.key(0), (20_000, 2), 0.5)
    assert np.abs(z).max() <= TAIL * 0.5
    # Var of N(0, 1) within (-1, 1): 1 - 2 phi(1) / (2 Phi(1) - 1)
    assert np.var(z) == pytest.approx(0.2911, abs=0.005)
    whole = GaussianNoise()(jax.random.key(0), (8, 2))
    np.testing.assert_array_equal(whole, normal(jax.random.key(0), (8, 2)))


@pytest.mark.parametrize(
    "name", ["brightness", "saturation", "contrast", "translation", "cutout", "diff_augment"]
)
def test_augmentations_change_images_and_let_gradients_through(name):
    augment = getattr(augmentation, name)
    x = jax.random.uniform(jax.random.key(1), (16, 8, 8, 3), minval=-1.0)
    y = augment(jax.random.key(0), x)
    assert y.shape == x.shape
    differs = np.any(np.asarray(y != x).reshape(16, -1), axis=-1)
    assert differs.mean() > 0.5 and len(np.unique(np.asarray(y - x)[:, 4, 4, 0].round(5))) > 2
    slope = jax.grad(lambda x: jnp.sum(augment(jax.random.key(0), x)))(x)
    assert np.all(np.isfinite(slope)) and np.any(slope != 0)


def test_translation_and_cutout_are_what_they_say():
    x = jnp.ones((200, 8, 8, 1))
    covered = 64 - jnp.sum(augmentation.cutout(jax.random.key(0), x), axis=(1, 2, 3))
    assert covered.max() == 16 and covered.min() >= 4  # a 4x4 hole, at most half off either way
    moved = augmentation.translation(jax.random.key(0), x, ratio=0.25)
    moved = np.asarray(moved)
    rows, columns = (8 - np.max(moved, axis)[..., 0].sum(-1) for axis in (2, 1))
    assert set(zip(rows, columns, strict=True)) == {(a, b) for a in range(3) for b in range(3)}
