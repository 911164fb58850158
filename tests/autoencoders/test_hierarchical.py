"""`HierarchicalVAE`: against linear Gaussian models, whose likelihood is known."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import stats

import genjax_models as gm
from genjax_models.autoencoders import HierarchicalVAE, LatentLayer, losses

A, B, S1, S = 0.8, -1.3, 0.6, 0.5
"""z_2 ~ N(0, 1), z_1 ~ N(A z_2, S1^2), x ~ N(B z_1, S^2)."""
SPEC = gm.DataSpec((1,), num_levels=None)
KEY = jax.random.key(0)


class Fixed(nn.Module):
    """A function of input and context in place of a network."""

    function: object

    @nn.compact
    def __call__(self, x, context=None, *, train=False):
        return self.function(x, context)


def halves(loc, scale):
    return jnp.concatenate([loc, jnp.full_like(loc, 2 * math.log(scale))], -1)


def gaussian(*, exact=True):
    """The model above; with its own posteriors, or those of nobody who looked at the data."""
    var_x_given_2 = B**2 * S1**2 + S**2
    precision_2 = 1 + (A * B) ** 2 / var_x_given_2
    precision_1 = 1 / S1**2 + B**2 / S**2

    def posterior_2(x, h):
        del h
        return halves(A * B * x / var_x_given_2 / precision_2, precision_2**-0.5)

    def posterior_1(x, h):  # as a change of N(h, S1^2)
        mean = (h / S1**2 + B * x / S**2) / precision_1
        return halves(mean - h, precision_1**-0.5 / S1)

    def nothing(x, h):
        return jnp.zeros((x.shape[0], 2))

    layers = (
        LatentLayer(
            1, Fixed(lambda x, h: x), Fixed(posterior_1 if exact else nothing),
            Fixed(lambda z, h: B * z), Fixed(lambda h, c: halves(h, S1)),
        ),
        LatentLayer(
            1, Fixed(lambda x, h: x), Fixed(posterior_2 if exact else nothing),
            Fixed(lambda z, h: A * z),
        ),
    )  # fmt: skip
    model = HierarchicalVAE(
        layers,
        Fixed(lambda h, c: jnp.concatenate([h, jnp.full_like(h, math.log(S))], -1)),
        SPEC,
        gm.likelihoods.normal,
    )
    x = jnp.asarray(np.random.default_rng(0).normal(size=(64, 1)), jnp.float32)
    params, _ = jax.jit(model.init)(KEY, {"x": x})
    # The likelihood would start at the marginals of the batch.
    return model, {**params, "likelihood": jax.tree.map(jnp.zeros_like, params["likelihood"])}, x


def log_prob(x):
    return stats.norm(0, math.sqrt(B**2 * (A**2 + S1**2) + S**2)).logpdf(np.asarray(x, float))[:, 0]


@pytest.mark.parametrize("num_samples", [1, 3])
def test_with_the_true_posteriors_the_bound_is_the_likelihood(num_samples):
    model, params, x = gaussian()
    bound = model.log_prob_bound(params, x, KEY, num_samples)
    np.testing.assert_allclose(bound, log_prob(x), rtol=1e-4, atol=1e-4)


def test_with_the_prior_as_posterior_the_bound_rises_to_the_likelihood():
    model, params, x = gaussian(exact=False)
    bounds = [
        float(jnp.mean(jax.jit(model.log_prob_bound, static_argnums=3)(params, x, KEY, num)))
        for num in (1, 10, 3000)
    ]
    truth = log_prob(x).mean()
    assert bounds[0] < bounds[1] < truth + 0.02
    assert abs(bounds[2] - truth) < 0.02


def test_the_loss_is_the_mean_of_the_bound_and_its_kl_is_of_each_layer():
    model, params, x = gaussian()
    forward = functools.partial(model.forward, state={}, train=False, num_samples=2000)
    outputs, _ = jax.jit(forward)(params, {"x": x}, KEY)
    elbo = -losses.reconstruction(outputs) - losses.kl(outputs)
    np.testing.assert_allclose(elbo, log_prob(x), atol=0.15)
    np.testing.assert_allclose(jnp.mean(elbo), log_prob(x).mean(), atol=0.02)
    # Of the highest layer it is known: KL(N(m, v) || N(0, 1)).
    var = 1 / (1 + (A * B) ** 2 / (B**2 * S1**2 + S**2))
    mean = A * B * np.asarray(x)[:, 0] / (B**2 * S1**2 + S**2) * var
    np.testing.assert_allclose(
        outputs.kl[:, 1], 0.5 * (mean**2 + var - 1 - math.log(var)), rtol=1e-4
    )
    _, aux = jax.jit(lambda p: model.loss(p, {"x": x}, KEY))(params)
    assert aux.metrics["kl"] == pytest.approx(
        float(aux.metrics["kl_1"] + aux.metrics["kl_2"]), rel=1e-5
    )


def test_a_posterior_that_is_the_prior_has_no_kl():
    model, params, x = gaussian(exact=False)
    _, aux = jax.jit(lambda p: model.loss(p, {"x": x}, KEY))(params)
    assert abs(float(aux.metrics["kl_1"])) < 1e-6 and abs(float(aux.metrics["kl_2"])) < 1e-6


def test_samples_have_the_models_moments():
    model, params, _ = gaussian()
    for mean, noise in ((False, S), (True, 0.0)):
        x = np.asarray(model.sample(params, jax.random.key(3), 40_000, mean=mean))
        variance = B**2 * (A**2 + S1**2) + noise**2
        assert abs(x.mean()) < 4 * math.sqrt(variance / 40_000)
        assert abs(x.var() / variance - 1) < 4 * math.sqrt(2 / 40_000)


def test_codes_are_the_layers_means_and_decode_to_the_mean():
    model, params, x = gaussian()
    z = model.encode(params, x)
    assert z.shape == (64, 2) and model.latent_dims == (1, 1) and model.latent_dim == 2
    np.testing.assert_allclose(model.decode(params, z), B * z[:, :1], rtol=1e-5)
    # The lowest layer's mean given the highest one's: E[z_1 | z_2, x].
    mean = (A * z[:, 1:] / S1**2 + B * x / S**2) / (1 / S1**2 + B**2 / S**2)
    np.testing.assert_allclose(z[:, :1], mean, rtol=1e-4, atol=1e-5)


def mlp(*widths):
    return gm.networks.MLP(widths)


def test_one_layer_serves_and_its_prior_is_standard():
    layer = LatentLayer(3, mlp(8), mlp(6), mlp(8))
    model = HierarchicalVAE((layer,), mlp(64))
    data = gm.load("digits")[:32]
    params, _ = jax.jit(model.init)(KEY, data.rows(np.arange(32)))
    assert not [name for name in params if name.startswith("prior")]
    assert model.sample(params, KEY, 2).shape == (2, 8, 8, 1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: HierarchicalVAE((), mlp(64)), "layers is empty"),
        (
            lambda: HierarchicalVAE((LatentLayer(3, mlp(8), mlp(6), mlp(8), mlp(6)),), mlp(64)),
            "is the highest and has a prior network",
        ),
        (
            lambda: HierarchicalVAE((LatentLayer(3, mlp(8), mlp(5), mlp(8)),), mlp(64)).init(
                KEY, gm.load("digits")[:4].rows(np.arange(4))
            ),
            "takes 6 outputs, .* but posterior_1 returned 5",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
