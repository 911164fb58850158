"""Latent diffusion: the first stage is carried, not trained, and its codes are standardised."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import genjax_models as gm
from genjax_models.autoencoders import EmbeddedCodes
from genjax_models.core import DataSpec
from genjax_models.diffusion import Diffusion, LatentDiffusion, samplers

KEY = jax.random.key(0)


def codes(*shape):
    return DataSpec(shape, num_levels=None, name="codes")


@pytest.fixture(scope="module")
def vae():
    return gm.VAE(gm.networks.MLP((16, 8)), gm.networks.MLP((16, 64)), latent_dim=4)


def latent(first_stage, *shape):
    return LatentDiffusion(
        Diffusion(gm.networks.DenoisingMLP(4, 16, 1), spec=codes(*shape)), first_stage
    )


def test_a_trained_first_stage_is_taken_and_kept(vae, digits):
    model, batch = latent(vae, 4), digits.rows(np.arange(64))
    params, state = model.init(KEY, batch)
    trained = vae.init(jax.random.key(9), batch)
    state = model.with_first_stage(state, *trained, jnp.asarray(batch["x"]))
    np.testing.assert_array_equal(
        state["first_stage"]["params"]["encoder"]["Dense_0"]["kernel"],
        trained[0]["encoder"]["Dense_0"]["kernel"],
    )
    out, after = model.forward(params, batch, KEY, state=state, train=True)
    assert after["first_stage"] is state["first_stage"]
    np.testing.assert_allclose(jnp.mean(out.x_0, axis=0), 0.0, atol=1e-5)
    assert 0.5 < float(jnp.std(out.x_0)) < 1.5
    assert set(params) == {"network"} and tuple(model.players["diffusion"].owns) == ("network",)


def test_samples_are_decoded(vae, digits):
    model = latent(vae, 4)
    params, state = model.init(KEY, digits.rows(np.arange(16)))
    x = model.sample(params, KEY, 3, timesteps=samplers.linear_timesteps(3), state=state)
    z = model.diffusion.sample(params, KEY, 3, timesteps=samplers.linear_timesteps(3), state=state)
    first = state["first_stage"]
    wanted = vae.decode(first["params"], z * first["scale"] + first["mean"])
    assert x.shape == (3, 8, 8, 1) and x.dtype == np.uint8
    np.testing.assert_allclose(x, wanted, atol=0.5 + 1e-4)
    with pytest.raises(ValueError, match="pass state=train_state.state"):
        model.sample(params, KEY, 3)


def test_a_vq_vaes_codes_are_its_vectors(digits):
    vqvae = gm.VQVAE(
        gm.networks.ConvEncoder((8,), 3, vector=False),
        gm.networks.ConvDecoder((8,), (8, 8, 1)),
        num_codes=16,
    )
    batch, embedded = digits.rows(np.arange(16)), EmbeddedCodes(vqvae)
    params, state = embedded.init(KEY, batch)
    z = embedded.encode(params, batch["x"], state=state)
    np.testing.assert_allclose(
        embedded.decode(params, z + 1e-4, state=state),
        vqvae.decode(params, vqvae.encode(params, batch["x"], state=state), state=state),
    )
    with pytest.raises(ValueError, match=r"codes float32\[4, 4, 3\]"):
        latent(embedded, 4).init(KEY, batch)
