"""Growth: when stages come, what networks make of them, and runs that stop in mid-growth."""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend.core import jaxprs_in_params

import genjax_models as gm
from genjax_models.adversarial import losses
from genjax_models.adversarial.gan import GAN
from genjax_models.adversarial.progressive import Growth, ProgressiveGAN, at_stage
from genjax_models.core.types import DIGITS
from genjax_models.networks.conv import average_pool, upsample_nearest
from genjax_models.networks.progressive import (
    ProgressiveDiscriminator,
    ProgressiveGenerator,
)

BATCH = 16
CHANNELS = (6, 4)


def progressive(growth, channels=CHANNELS, spec=DIGITS, **kwargs):
    networks = ProgressiveGenerator(spec.shape, channels), ProgressiveDiscriminator(channels)
    return ProgressiveGAN(GAN(*networks, 3, spec, game=losses.wasserstein, **kwargs), growth)


def fit(model, data, steps, **kwargs):
    kwargs = {"devices": 1, "batch_size": BATCH, "log_every": 100, **kwargs}
    return gm.fit(model, data, optax.adam(1e-3, 0.0, 0.99), steps=steps, **kwargs)


def arrays(state):
    return jax.tree.map(np.asarray, state._replace(key=jax.random.key_data(state.key)))


def test_growth_at_its_ends():
    growth = Growth(3, stage_images=100, fade_images=50)
    shown = jnp.array([0, 99, 100, 125, 149, 150, 249, 250, 275, 300, 10_000, 2_000_000_000])
    stage, alpha = jax.jit(jax.vmap(growth))(shown)
    assert stage.dtype == jnp.int32 and alpha.dtype == jnp.float32
    np.testing.assert_array_equal(stage, [0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2])
    np.testing.assert_allclose(alpha, [1, 1, 0, 0.5, 0.98, 1, 1, 0, 0.5, 1, 1, 1], rtol=1e-6)
    assert growth.images == 300
    assert [int(a) for a in Growth(1)(10**9)] == [0, 1]


def test_growths_that_cannot_be():
    with pytest.raises(ValueError, match="stages is 0"):
        Growth(0)
    with pytest.raises(ValueError, match="fade_images is 0: give at least 1"):
        Growth(2, fade_images=0)
    with pytest.raises(ValueError, match=r"\(8, 8, 1\), which cannot be halved 4 times"):
        progressive(Growth(5))
    with pytest.raises(ValueError, match="growth has 3 stages, and the generator has 2"):
        progressive(Growth(3))
    with pytest.raises(ValueError, match="8x8 pixels cannot be halved 4 times"):
        ProgressiveDiscriminator((1,) * 5).init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))


@pytest.fixture(scope="module")
def networks():
    """Both networks, their inputs and parameters, and both as functions of how far they grew."""
    channels, key = (5, 4, 3), jax.random.key(0)
    generator, critic = (
        ProgressiveGenerator((8, 8, 2), channels),
        ProgressiveDiscriminator(channels),
    )
    z = jax.random.normal(key, (4, 3))
    x = jax.random.normal(key, (4, 8, 8, 2))

    def of(network, given):
        params = jax.jit(network.init)(key, given)["params"]

        @jax.jit
        def apply(stage, alpha, given=given, params=params):
            growth = {"stage": stage, "alpha": alpha}
            return network.apply({"params": params, "growth": growth}, given)

        return params, apply

    return generator, critic, z, x, of(generator, z), of(critic, x)


def test_a_stage_has_its_own_resolution(networks):
    *_, (_, generate), _ = networks
    for stage in range(3):
        image = generate(stage, 0.7)
        factor = 2 ** (2 - stage)
        np.testing.assert_allclose(
            image, upsample_nearest(average_pool(image, factor), factor), atol=1e-6
        )
        assert (
            stage == 0
            or np.ptp(image - upsample_nearest(average_pool(image, 2 * factor), 2 * factor)) > 0.1
        )


def test_fading_starts_at_the_stage_before_and_is_a_line(networks):
    *_, (_, generate), (_, judge) = networks
    for apply in (generate, judge):
        np.testing.assert_allclose(apply(1, 0.0), apply(0, 1.0), atol=1e-4)
        np.testing.assert_allclose(apply(2, 0.0), apply(1, 1.0), atol=1e-4)
    none, half, all_there = (generate(2, alpha) for alpha in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(half, (none + all_there) / 2, atol=1e-4)


def test_without_a_growth_networks_are_fully_grown(networks):
    generator, critic, z, x, (g_params, generate), (d_params, judge) = networks
    for network, params, given, apply in (
        (generator, g_params, z, generate),
        (critic, d_params, x, judge),
    ):
        alone = jax.jit(network.apply)({"params": params}, given)
        np.testing.assert_allclose(alone, apply(2, 1.0), atol=1e-4)


def test_a_discriminator_sees_its_resolution_alone(networks):
    """What a stage's blocks of pixels average out, it cannot see."""
    _, _, _, x, _, (_, judge) = networks
    for stage in range(3):
        factor = 2 ** (2 - stage)
        coarse = upsample_nearest(average_pool(x, factor), factor)
        np.testing.assert_allclose(judge(stage, 0.5, coarse), judge(stage, 0.5, x), atol=1e-4)


def test_real_images_fade_as_generated_ones_do():
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 1))
    fade = jax.jit(functools.partial(at_stage, x, stages=3))
    small, middle = upsample_nearest(average_pool(x, 4), 4), upsample_nearest(average_pool(x, 2), 2)
    np.testing.assert_allclose(fade(stage=0, alpha=1.0), small, atol=1e-6)
    np.testing.assert_allclose(fade(stage=1, alpha=0.25), 0.75 * small + 0.25 * middle, atol=1e-6)
    np.testing.assert_allclose(fade(stage=2, alpha=1.0), x, atol=1e-6)


def conditionals(jaxpr):
    """Number of conditionals anywhere in a program."""
    found = 0
    for equation in jaxpr.eqns:
        found += equation.primitive.name == "cond"
        for inner in jaxprs_in_params(equation.params):
            found += conditionals(inner)
    return found


@pytest.mark.parametrize("batched", [False, True])
def test_one_stage_is_computed(networks, batched):
    """Stages stay branches of a conditional, differentiated and mapped over examples."""
    _, critic, _, x, _, (params, _) = networks

    def logit(image, stage):
        variables = {"params": params, "growth": {"stage": stage, "alpha": jnp.float32(0.5)}}
        return critic.apply(variables, image).sum()

    slope = jax.grad(logit)
    if batched:
        slope = jax.vmap(slope, (0, None))
    images = x[:, None] if batched else x
    assert conditionals(jax.make_jaxpr(slope)(images, 0).jaxpr) >= 1


@pytest.fixture(scope="module")
def growing():
    """From 4x4 to 8x8 pixels, faded in from the 2nd to the 6th step."""
    return progressive(Growth(2, stage_images=2 * BATCH, fade_images=4 * BATCH))


@pytest.fixture(scope="module")
def states(growing, digits):
    """Of one run, after 2, 4 and 6 steps."""
    seen = []
    fit(growing, digits, 6, log_every=2, hooks=[lambda s, _: seen.append(arrays(s))])
    return seen


@pytest.fixture(scope="module")
def trained(states):
    return states[-1]


def test_a_stage_waits_for_its_turn(growing, states, trained):
    """Then it moves, as everything does in the last fade of two stages."""
    early = states[0]
    assert int(early.state["shown"]) == 2 * BATCH
    for player in growing.players:
        moved = [jax.tree.map(np.any, s.opt_state[player][0].nu) for s in (early, trained)]
        names = [name for name in moved[0][player] if name.endswith("_1") or name == "up_0"]
        assert names and not any(jax.tree.leaves([moved[0][player][name] for name in names]))
        assert all(jax.tree.leaves(moved[1]))


def test_a_run_is_resumed_in_the_middle_of_a_fade(growing, digits, trained, tmp_path):
    stopped = fit(growing, digits, 4, checkpoint_dir=tmp_path)
    stage, alpha = growing.stage(stopped.state)
    assert (int(stage), float(alpha)) == (1, 0.5)
    resumed = fit(growing, digits, 6, checkpoint_dir=tmp_path)
    chex.assert_trees_all_equal(arrays(resumed), trained)


def test_images_are_counted_by_the_generator_alone_and_once(growing, digits, trained):
    batch = digits.rows(np.arange(BATCH))

    def after(loss, batch, train):
        return loss.forward(
            trained.params, batch, jax.random.key(0), state=trained.state, train=train
        )[1]

    def shown(loss, batch=batch, train=True):
        return int(jax.jit(functools.partial(after, loss, train=train))(batch)["shown"])

    before = int(trained.state["shown"])
    assert before == 6 * BATCH
    assert shown(growing.generator_loss) == before + BATCH
    assert shown(growing.generator_loss, {"x": batch["x"][:4]}) == before + 4
    assert shown(growing.generator_loss, train=False) == shown(growing.loss) == before
    # On two devices each sees half of the batch, and both count all of it.
    halves = {"x": batch["x"].reshape(2, -1, 8, 8, 1)}
    counted = jax.vmap(lambda b: after(growing.generator_loss, b, True), axis_name="data")
    np.testing.assert_array_equal(jax.jit(counted)(halves)["shown"], before + BATCH)


def test_samples_know_how_far_the_model_has_grown(growing, trained):
    @jax.jit
    def sample(state):
        return growing.sample(trained.ema, jax.random.key(0), 5, state=state)

    small = np.asarray(sample({"shown": jnp.int32(0)}))
    assert small.shape == (5, 8, 8, 1) and small.dtype == np.uint8 and small.max() <= 16
    np.testing.assert_array_equal(small, np.asarray(upsample_nearest(average_pool(small, 2), 2)))
    whole = np.asarray(sample(None))
    np.testing.assert_array_equal(whole, sample({"shown": jnp.int32(6 * BATCH)}))
    assert not np.array_equal(whole, np.asarray(upsample_nearest(average_pool(whole, 2), 2)))
