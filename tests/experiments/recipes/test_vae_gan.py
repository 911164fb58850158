"""Two families' terms in one loss, from a user's code alone."""

import dataclasses
import functools

import jax
import numpy as np
import optax
import pytest

import genjax_models as gm
from experiments.recipes.vae_gan import VAEGANSettings, vae_gan
from genjax_models.training.state import init_state


@pytest.fixture(scope="module")
def setup():
    config = dataclasses.replace(vae_gan.config, model=VAEGANSettings(width=16))
    return vae_gan.build(config, gm.load("digits").spec)


def test_each_term_is_its_own_family_s(setup, digits):
    model, batch, key = setup.model, digits.rows(np.arange(8)), jax.random.key(1)
    params, state = jax.jit(model.init)(jax.random.key(0), batch)

    @jax.jit
    def metrics(params):
        key_vae, _ = jax.random.split(key)
        return (
            setup.losses["vae"](params, batch, key, state=state)[1].metrics,
            model.vae.loss(params, batch, key_vae, state=state)[1].metrics,
        )

    both, alone = metrics(params)
    for name in ("reconstruction", "kl"):
        np.testing.assert_allclose(both[name], alone[name], rtol=1e-6)
    total = both["reconstruction"] + both["kl"] + 5.0 * both["adversarial"]
    np.testing.assert_allclose(both["loss"], total, rtol=1e-6)


def test_the_decoder_learns_from_both(setup, digits):
    model, batch = setup.model, digits.rows(np.arange(8))
    start = jax.jit(lambda: init_state(model, optax.sgd(0.01), batch, 0))()
    vae = model.vae_loss.weigh(adversarial=0.0)

    def after(losses):
        return jax.jit(gm.make_step(model, optax.sgd(0.01), losses))(start, batch)[0].params

    with_game, without = after(setup.losses), after({**setup.losses, "vae": vae})
    # Two programs may round differently.
    alike = functools.partial(np.allclose, atol=1e-7)
    differs = {
        name: not jax.tree.all(jax.tree.map(alike, with_game[name], without[name]))
        for name in with_game
        if with_game[name]
    }
    # Codes of the prior pass the decoder alone.
    assert differs == {
        name: name in ("decoder", "likelihood") and bool(jax.tree.leaves(with_game[name]))
        for name in differs
    }
