"""The networks of the VAE recipe."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.recipes.autoencoders import VAESettings, vae
from genjax_models.core import DataSpec
from genjax_models.networks import MLP, ConvDecoder


def built(shape, **settings):
    config = dataclasses.replace(vae.config, model=VAESettings(**settings))
    return vae.build(config, DataSpec(shape)).model


@pytest.mark.parametrize(
    ("shape", "settings", "kind"),
    [
        ((16, 16, 1), {}, MLP),
        ((12,), {}, MLP),
        ((24, 16, 3), {}, ConvDecoder),
        ((8, 8, 1), {"network": "conv"}, ConvDecoder),
        ((64, 64, 3), {"network": "mlp"}, MLP),
    ],
)
def test_larger_images_get_convolutions(shape, settings, kind):
    assert isinstance(built(shape, **settings).decoder, kind)


@pytest.mark.parametrize("likelihood", ["discretized_logistic", "beta_binomial", "categorical"])
def test_convolutions_give_every_likelihood_what_it_reads(likelihood):
    model = built((12, 20, 3), likelihood=likelihood, channels=4, latent_dim=3)
    x = np.random.default_rng(0).integers(0, 256, (2, 12, 20, 3)).astype(np.uint8)
    key = jax.random.key(0)

    @jax.jit
    def bound_and_samples(batch):
        params, state = model.init(key, batch)
        return (
            model.log_prob_bound(params, batch["x"], key, state=state),
            model.sample(params, key, 2, state=state),
        )

    bound, samples = bound_and_samples({"x": x})
    assert np.all(np.isfinite(bound)) and samples.shape == x.shape


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((63, 90, 3), "63x90 pixels, which convolutions cannot halve: give --model.network mlp"),
        ((4, 4, 1), "4x4 pixels, which convolutions cannot halve: give --model.network mlp"),
        ((12,), "no images for convolutions: give --model.network mlp"),
    ],
)
def test_sizes_that_cannot_be_halved(shape, words):
    with pytest.raises(ValueError, match=words):
        built(shape, network="conv")
