"""Networks that models can call, and what is said of others."""

import jax
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import genjax_models as gm

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
SPEC = gm.DataSpec((3,), None)


class OfX(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(4)(x)


class WithTrain(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(4)(x)


class ByNnx(nnx.Module):
    def __init__(self, *, rngs):
        self.dense = nnx.Linear(3, 4, rngs=rngs)

    def __call__(self, x, context=None, *, train=False):
        return self.dense(x)


LAYERS = (nn.Dense(8), nn.tanh, nn.Dense(4))


def vae(encoder):
    return gm.VAE(
        encoder=encoder,
        decoder=gm.networks.MLP((4, 6)),
        latent_dim=2,
        spec=SPEC,
        likelihood=gm.likelihoods.normal,
    )


@pytest.mark.parametrize(
    "network",
    [
        gm.networks.Unconditional(OfX()),
        gm.networks.Unconditional(WithTrain()),
        gm.networks.Unconditional(nn.Sequential(LAYERS)),
        nnx.bridge.to_linen(ByNnx),
    ],
)
def test_modules_of_x_alone_and_of_nnx_are_trained(network):
    model = vae(network)
    data = gm.Dataset.from_arrays(X)
    state = gm.fit(model, data, optax.adam(1e-3), steps=2, batch_size=2, devices=1)
    assert np.all(np.isfinite(model.log_prob_bound(state.ema, X, KEY, state=state.state)))


def test_layers_in_a_row_are_a_part_of_a_model_that_is_a_value():
    one, two = (vae(gm.networks.Unconditional(nn.Sequential(LAYERS))) for _ in range(2))
    assert one == two and hash(one) == hash(two)


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (nn.Dense(4), "Dense does not take .too many positional"),
        (OfX(), "OfX does not take .too many positional"),
        (WithTrain(), "WithTrain does not take .multiple values for argument 'train'"),
        (nn.Sequential(LAYERS), "Sequential does not take .Dense.__call__"),
    ],
)
def test_others_are_refused_with_the_mend(network, why):
    call = r"encoder is called as network\(\(6, 3\), None, train=...\), which "
    with pytest.raises(TypeError, match=call + why + ".*networks.Unconditional.*to_linen"):
        vae(network).init(KEY, {"x": X})


@pytest.mark.parametrize("network", [OfX, nnx.Linear(3, 4, rngs=nnx.Rngs(0)), lambda x: x])
def test_what_is_no_module_is_refused(network):
    with pytest.raises(TypeError, match=r"the encoder is .*: build one|to_linen\(Class"):
        vae(network).init(KEY, {"x": X})


def test_a_module_of_x_alone_is_told_no_noise_level():
    denoiser = gm.Diffusion(
        gm.networks.Unconditional(OfX()),
        gm.diffusion.Cosine(),
        gm.diffusion.VelocityPrediction(),
        SPEC,
    )
    with pytest.raises(ValueError, match="OfX sees x alone, and this model has more to tell"):
        denoiser.init(KEY, {"x": X})
