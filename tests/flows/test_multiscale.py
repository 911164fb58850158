"""Squeeze, Split and Logit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.core.distributions import Normal
from genjax_models.flows.bijector import Chain, Inverse, Logit
from genjax_models.flows.linear import ActNorm, Permute
from genjax_models.flows.multiscale import Split, Squeeze
from genjax_models.networks.mlp import MLP

KEY = jax.random.key(0, impl="rbg")


def test_squeeze_puts_each_block_into_the_channels_of_a_pixel():
    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    y, log_det = Squeeze().forward({}, x)
    assert y.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(y[1, 1, 2].reshape(2, 2, 3), x[1, 2:4, 4:6])
    np.testing.assert_array_equal(log_det, [0.0, 0.0])


@pytest.mark.parametrize("shape", [(7, 4, 1), (4, 5, 1), (4,)])
def test_what_cannot_be_squeezed(shape):
    with pytest.raises(ValueError, match=r"halves the height and the width.*use fewer scales"):
        Squeeze().forward({}, jnp.zeros((2, *shape)))


def test_what_cannot_be_unsqueezed():
    with pytest.raises(ValueError, match="2x2 pixels of every 4 channels"):
        Inverse(Squeeze()).forward({}, jnp.zeros((2, 4, 4, 3)))


def test_split_is_a_normal_prior_of_one_half_given_the_other():
    """log p(b, a) = log N(a; mu(b), sigma(b)) + log p(b), with p(b) by the inner bijector."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(2.0, 3.0, size=(50, 4)), jnp.float32)
    b, a = x[:, :2], x[:, 2:]
    split = Split(Chain([ActNorm(), Permute()]), MLP((4,)))
    params = split.init(KEY, x)
    y, log_det = split.forward(params, x)

    raw = MLP((4,)).apply({"params": params["prior"]["network"]}, b).reshape(50, 2, 2)
    raw = raw * params["prior"]["gain"]
    prior = Normal(raw[..., 0], 2.0 * jnp.tanh(raw[..., 1] / 2.0))
    inner, inner_log_det = split.inner.forward(params["inner"], b)
    standard = Normal(jnp.zeros(()), jnp.zeros(()))
    expected = prior.log_prob(a) + standard.log_prob(inner) + inner_log_det
    np.testing.assert_allclose(standard.log_prob(y) + log_det, expected, rtol=1e-4)
    np.testing.assert_allclose(y[:, :2], inner, rtol=1e-6)


def test_logit_keeps_both_ends_finite_and_undoes_itself():
    x = jnp.asarray([[0.0, 0.25, 0.5, 1.0]])
    y, log_det = Logit(0.05).forward({}, x)
    np.testing.assert_allclose(y[0, [0, 3]], [np.log(0.05 / 0.95), np.log(0.95 / 0.05)], rtol=1e-5)
    np.testing.assert_allclose(y[0, 2], 0.0, atol=1e-6)
    back, log_det_back = Logit(0.05).inverse({}, y)
    np.testing.assert_allclose(back, x, atol=1e-6)
    np.testing.assert_allclose(log_det_back, -log_det, rtol=1e-5)


def test_logit_s_inverse_stays_in_the_range():
    x, log_det = Logit(0.05).inverse({}, jnp.asarray([[-100.0, -3.0, 3.0, 100.0]]))
    np.testing.assert_array_equal(x, [[0.0, 0.0, 1.0, 1.0]])
    assert np.all(np.isfinite(log_det))


@pytest.mark.parametrize("alpha", [0.0, 0.5, -0.1])
def test_an_alpha_that_is_none(alpha):
    with pytest.raises(ValueError, match="0 < alpha < 0.5"):
        Logit(alpha)
