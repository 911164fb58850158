"""`Diffusion` with a network that knows the truth, and what it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models import diffusion
from genjax_models.diffusion import Diffusion, losses, samplers
from tests.diffusion.exact import PMF, SPEC, Exact, data, log_prob

KEY = jax.random.key(0)
X = data(2000)
VELOCITY = diffusion.VelocityPrediction()


def exact(prediction=VELOCITY, variance=None, pmf=None, **kwargs):
    network = Exact(prediction, variance, tuple(PMF.tolist()) if pmf is None else pmf)
    model = Diffusion(network, prediction=prediction, spec=SPEC, **kwargs)
    return model, *model.init(KEY, {"x": X[:2]})


def bound(model, params, state, num_samples=40):
    run = jax.jit(functools.partial(model.log_prob_bound, num_samples=num_samples))
    return np.asarray(run(params, X, jax.random.key(1), state=state))


@pytest.mark.parametrize(
    ("kwargs", "gap"),
    [
        ({"schedule": diffusion.Cosine(), "prediction": diffusion.NoisePrediction()}, 0.0),
        ({"schedule": diffusion.LearnedSchedule()}, 0.0),
        ({"schedule": diffusion.LinearBeta(), "steps": 1000}, 0.1),
        ({"steps": 1000, "learned_variance": True, "variance": -1.0}, 0.05),
    ],
    ids=["cosine", "learned", "discrete", "learned_variance"],
)
def test_the_bound_is_log_p_where_the_network_is_exact(kwargs, gap):
    excess = np.asarray(log_prob(X)) - bound(*exact(**kwargs))
    error = excess.std() / len(X) ** 0.5
    assert -3 * error < excess.mean() < gap + 3 * error
    assert error < 0.08


def test_the_bound_lies_below_log_p_by_the_divergence_from_a_wrong_network():
    other = jnp.array([0.1, 0.3, 0.2, 0.2, 0.2])
    excess = np.asarray(log_prob(X)) - bound(*exact(pmf=tuple(other.tolist())))
    divergence = 4 * float(jnp.sum(PMF * jnp.log(PMF / other)))
    assert abs(excess.mean() - divergence) < 4 * excess.std() / len(X) ** 0.5


def test_all_parameterisations_are_one_denoiser():
    x_t, t = jax.random.normal(KEY, (8, *SPEC.shape)), jnp.linspace(0.05, 0.9, 8)
    found = []
    for prediction in (
        diffusion.NoisePrediction(),
        diffusion.DataPrediction(),
        diffusion.VelocityPrediction(),
        diffusion.FlowPrediction(),
    ):
        model, params, _ = exact(prediction)
        found.append(model.denoise(params, x_t, t))
    for denoised in found[1:]:
        np.testing.assert_allclose(denoised, found[0], atol=2e-5)


def test_samples_have_the_levels_frequencies():
    model, params, state = exact()
    draw = jax.jit(lambda key: model.sample(params, key, 5000, state=state))
    x = np.asarray(draw(KEY))
    assert x.dtype == np.uint8
    share = np.bincount(x.reshape(-1), minlength=5) / x.size
    np.testing.assert_allclose(share, PMF, atol=0.015)


def test_a_learned_variance_at_its_ends_is_a_fixed_one():
    for variance, fixed in ((-1.0, samplers.fixed_small), (1.0, samplers.fixed_large)):
        model, params, _ = exact(variance=variance, steps=100, learned_variance=True)
        learned = functools.partial(samplers.ancestral, variance=model.variance(params))
        timesteps = diffusion.linear_timesteps(20)
        one, other = (
            jax.jit(functools.partial(model.sample, num=50, sampler=sampler, timesteps=timesteps))(
                params, KEY
            )
            for sampler in (learned, functools.partial(samplers.ancestral, variance=fixed))
        )
        assert np.mean(one != other) < 0.01  # rounding may move a value over the edge of a level


def test_a_learned_variance_is_only_learned_by_its_term():
    model, params, state = exact(variance=0.5, steps=100, learned_variance=True)

    def gradient(term):
        def value(params):
            out, _ = model.forward(params, {"x": X[:64]}, KEY, state=state, train=True)
            return jnp.mean(term(out))

        return float(jax.jit(jax.grad(value))(params)["network"]["wrong"])

    # The one parameter moves mean and variance alike: the terms share its gradient out.
    def of_the_mean(out):
        return losses.diffusion(
            out.replace(bound=out.bound.replace(v=jax.lax.stop_gradient(out.bound.v)))
        )

    whole, nats = gradient(losses.diffusion), SPEC.num_dims * np.log(2)  # of a bit per dimension
    found = gradient(losses.variance) * nats + gradient(of_the_mean)
    assert found == pytest.approx(whole, rel=1e-3)
    assert abs(gradient(losses.variance)) > 1e-3


def test_guidance_of_one_is_the_conditional_model_and_labels_can_be_left_out():
    model, params, state = exact(num_classes=3, drop_label=0.5)
    label = jnp.array([0, 1, 2, 0])
    plain = model.sample(params, KEY, 4, label=label, timesteps=diffusion.linear_timesteps(5))
    guided = model.sample(
        params, KEY, 4, label=label, guidance=1.0, timesteps=diffusion.linear_timesteps(5)
    )
    np.testing.assert_array_equal(plain, guided)
    x_t = jnp.zeros((4, *SPEC.shape))
    assert model.denoise(params, x_t, jnp.asarray(0.5)).shape == x_t.shape


def test_labels_are_hidden_as_often_as_asked():
    from genjax_models.diffusion.guidance import drop_condition

    context = jax.nn.one_hot(jnp.zeros(4000, int), 3)
    hidden = 1.0 - float(jnp.mean(drop_condition(context, KEY, 0.25)[:, 0]))
    assert hidden == pytest.approx(0.25, abs=0.03)
    np.testing.assert_array_equal(drop_condition(context, None, 0.25), context)


def test_what_is_shown_comes_in_as_channels():
    model, params, state = exact(
        self_condition=True, condition_fn=lambda x: jnp.repeat(x, 2, axis=-1)
    )
    seen = []

    class Spy(Exact):
        def __call__(self, x, log_snr, context=None, *, train=False):
            seen.append(x)
            return super().__call__(x, log_snr, context, train=train)

    spy = Diffusion(
        Spy(diffusion.VelocityPrediction()),
        spec=SPEC,
        self_condition=True,
        condition_fn=model.condition_fn,
    )
    condition = model.condition_fn(jnp.ones((3, *SPEC.shape)))
    x_t = jnp.zeros((3, *SPEC.shape))
    with jax.disable_jit():
        denoised = spy.denoise(params, x_t, jnp.asarray(0.3), condition=condition)
    assert [x.shape[-1] for x in seen] == [4, 4]  # x_t, the estimate, two of the condition
    np.testing.assert_array_equal(seen[0][..., 1], 0.0)
    np.testing.assert_allclose(seen[1][..., 1], denoised[..., 0], atol=1e-6)
    np.testing.assert_array_equal(seen[1][..., 2:], condition)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"steps": 0}, "steps is 0: give 1 or more"),
        ({"learned_variance": True}, "give steps=1000"),
        ({"drop_label": 1.0}, r"give a probability in \[0, 1\)"),
    ],
)
def test_settings_that_cannot_be_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Diffusion(Exact(diffusion.VelocityPrediction()), spec=SPEC, **kwargs)


def test_bad_calls_are_refused_in_a_line():
    model, params, _ = exact()
    with pytest.raises(ValueError, match="was not trained for it"):
        model.sample(params, KEY, 2, guidance=2.0)
    with pytest.raises(ValueError, match="leave condition= out"):
        model.sample(params, KEY, 2, condition=jnp.zeros((2, *SPEC.shape)))
    with pytest.raises(ValueError, match="give a whole number of at least 1"):
        diffusion.linear_timesteps(0)
    with pytest.raises(ValueError, match="give timesteps that fall"):
        model.sample(params, KEY, 2, timesteps=jnp.array([0.2, 0.5]))
    labelled, params, _ = exact(num_classes=3, drop_label=0.1)
    with pytest.raises(ValueError, match="give labels in 0 .. 2"):
        labelled.sample(params, KEY, 2, label=3)
    seeing, params, _ = exact(condition_fn=lambda x: x)
    with pytest.raises(ValueError, match="pass condition=model.condition_fn"):
        seeing.sample(params, KEY, 2)
    with pytest.raises(ValueError, match="the network returns"):
        Diffusion(Exact(diffusion.VelocityPrediction(), -1.0), spec=SPEC).init(KEY, {"x": X[:2]})
