"""Adversarial terms against closed forms."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.adversarial import augmentation, losses
from genjax_models.adversarial.losses import GANOutputs

REAL, FAKE = np.array([2.0, -0.5, 0.0]), np.array([-1.0, 3.0, 0.25])
D_REAL, D_FAKE = 1 / (1 + np.exp(-REAL)), 1 / (1 + np.exp(-FAKE))


def outputs(discriminator=None, **changes):
    x = jax.random.normal(jax.random.key(0), (3, 2, 2, 1))
    given = GANOutputs(
        real=x,
        fake=x[::-1] + 1.0,
        z=jnp.zeros((3, 2)),
        real_logits=jnp.asarray(REAL)[:, None],
        fake_logits=jnp.asarray(FAKE)[:, None],
        real_features={},
        fake_features={},
        context=None,
        epsilon=jnp.array([0.0, 0.3, 1.0]),
        discriminator=discriminator or (lambda x, context: x),
    )
    return dataclasses.replace(given, **changes)


@pytest.mark.parametrize(
    ("game", "discriminator", "generator"),
    [
        (losses.minimax, -np.log(D_REAL) - np.log(1 - D_FAKE), np.log(1 - D_FAKE)),
        (losses.non_saturating, -np.log(D_REAL) - np.log(1 - D_FAKE), -np.log(D_FAKE)),
        (losses.least_squares, (REAL - 1) ** 2 / 2 + FAKE**2 / 2, (FAKE - 1) ** 2 / 2),
        (losses.hinge, np.maximum(0, 1 - REAL) + np.maximum(0, 1 + FAKE), -FAKE),
        (losses.wasserstein, FAKE - REAL, -FAKE),
        (losses.relativistic, np.log1p(np.exp(FAKE - REAL)), np.log1p(np.exp(REAL - FAKE))),
    ],
)
def test_games_are_what_their_papers_say(game, discriminator, generator):
    np.testing.assert_allclose(game.discriminator_term(outputs()), discriminator, rtol=1e-6)
    np.testing.assert_allclose(game.generator_term(outputs()), generator, rtol=1e-6)


def test_a_map_of_logits_counts_by_its_mean():
    patches = jnp.stack([jnp.asarray(REAL), jnp.asarray(FAKE)], axis=-1).reshape(3, 2, 1, 1)
    term = losses.least_squares.generator_term(outputs(fake_logits=patches))
    np.testing.assert_allclose(term, ((REAL - 1) ** 2 + (FAKE - 1) ** 2) / 4, rtol=1e-6)


def test_penalties_of_a_linear_critic_are_its_slope():
    w = jnp.array([[1.0, -2.0], [0.5, 2.0]])[..., None]  # |w|^2 = 9.25
    o = outputs(lambda x, context: jnp.sum(w * x, axis=(1, 2, 3))[:, None])
    np.testing.assert_allclose(losses.gradient_penalty(o), (np.sqrt(9.25) - 1) ** 2, rtol=1e-5)
    np.testing.assert_allclose(losses.r1(o), 9.25 / 2, rtol=1e-5)
    np.testing.assert_allclose(losses.r2(o), 9.25 / 2, rtol=1e-5)


def test_the_penalty_is_taken_between_data_and_samples():
    # A critic |x|^2 / 2 has the slope |x|, so the penalty tells where it was taken.
    o = outputs(lambda x, context: 0.5 * jnp.sum(x**2, axis=(1, 2, 3)))
    epsilon = np.asarray(o.epsilon)[:, None]
    x, y = np.asarray(o.real).reshape(3, -1), np.asarray(o.fake).reshape(3, -1)
    norm = np.linalg.norm(epsilon * x + (1 - epsilon) * y, axis=-1)
    np.testing.assert_allclose(losses.gradient_penalty(o), (norm - 1) ** 2, rtol=1e-4)
    np.testing.assert_allclose(losses.r1(o), np.sum(x**2, -1) / 2, rtol=1e-5)
    np.testing.assert_allclose(losses.r2(o), np.sum(y**2, -1) / 2, rtol=1e-5)


def test_an_idle_critic_has_a_finite_gradient():
    def penalty(w):
        o = outputs(lambda x, context: jnp.sum(w * x, axis=(1, 2, 3)))
        return jnp.mean(losses.gradient_penalty(o))

    value, slope = jax.value_and_grad(penalty)(jnp.zeros((2, 2, 1)))
    assert value == pytest.approx(1.0, abs=1e-5) and np.all(np.isfinite(slope))


def test_feature_matching_compares_means_layer_by_layer():
    f = {"a": jnp.array([[1.0], [2.0], [3.0]]), "b": jnp.zeros((3, 2))}
    g = {"a": jnp.array([[1.0], [1.0], [1.0]]), "b": jnp.array([[3.0, 0.0]] * 3)}
    o = outputs(real_features=f, fake_features=g)
    np.testing.assert_allclose(losses.feature_matching(o), [(1.0 + 4.5) / 2] * 3)


def test_the_critic_that_is_reported_to_be_right_is():
    assert losses.real_accuracy(outputs()) == pytest.approx(1 / 3)
    assert losses.fake_accuracy(outputs()) == pytest.approx(1 / 3)
    assert losses.drift(outputs()) == pytest.approx(REAL**2)


def test_losses_and_augmentations_built_alike_are_equal():
    square = losses.GANLoss(losses.SquaredError(1.0), losses.SquaredError(0.0), losses.per_example)
    again = losses.GANLoss(losses.SquaredError(1.0), losses.SquaredError(0.0), losses.per_example)
    assert square == again and hash(square) == hash(again)
    assert losses.RelativisticLoss() == losses.relativistic
    parts = (augmentation.random_flip, augmentation.RandomShift(2))
    assert augmentation.Chain(parts) == augmentation.Chain(parts)
    assert hash(augmentation.Chain(parts)) == hash(augmentation.Chain(parts))
