"""A VAE's evidence against the integral that it is."""

import jax
import jax.numpy as jnp
import numpy as np

import genjax_models as gm
from experiments.measures.energy import decoder_evidence
from genjax_models.core import DataSpec


def test_the_evidence_of_a_vae_is_the_integral_over_its_codes():
    spec = DataSpec((2, 2, 1), num_levels=3, name="small")
    model = gm.VAE(gm.networks.MLP((4,)), gm.networks.MLP((4, 4)), latent_dim=2, spec=spec)
    x = np.random.default_rng(0).integers(0, 3, (4, 2, 2, 1)).astype(np.uint8)
    params, state = jax.jit(model.init)(jax.random.key(0), {"x": x})
    line = np.linspace(-6, 6, 161, dtype=np.float32)
    z = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    log_prior = -0.5 * np.sum(z**2, -1) - np.log(2 * np.pi) + 2 * np.log(line[1] - line[0])

    @jax.jit
    def both(params):
        h = model.decoder.apply({"params": params["decoder"]}, z)
        likelihood = model.likelihood(h, spec, params["likelihood"])
        log_joint = [likelihood.log_prob(jnp.tile(row, (len(z), 1, 1, 1))) + log_prior for row in x]
        found = decoder_evidence(model, params, state, x, jax.random.key(2), betas=30, chains=200)
        return jax.nn.logsumexp(jnp.stack(log_joint), axis=-1), found

    exact, found = both(params)
    assert np.all(np.abs(found.value - exact) < 4 * found.standard_error + 1e-3)
    assert np.all(found.standard_error < 0.1)
