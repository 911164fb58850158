"""The flow over real-valued data: its density, its samples, and what it says of failures."""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import genjax_models as gm
from genjax_models.core.protocols import Diagnosed, Representation, TractableDensity
from genjax_models.core.types import DIGITS, DataSpec
from genjax_models.flows.architectures import maf, neural_spline_flow, realnvp
from genjax_models.flows.bijector import Chain, Repeat
from genjax_models.flows.coupling import AffineCoupling
from genjax_models.flows.flow import POINTS, Flow, real_valued
from genjax_models.flows.linear import ActNorm, Permute
from genjax_models.metrics import kl_to_truth
from genjax_models.networks.mlp import MLP
from genjax_models.training import NonFiniteLoss
from genjax_models.training.feed import batch_indices
from tests.training.toys import points as toy_points

SMALL = {"steps": 2, "network": lambda outputs: MLP((16, outputs))}
FLOWS = {
    "spline": neural_spline_flow(POINTS, **SMALL),
    "maf": maf(POINTS, steps=2, hidden=(16,)),
}


def shaken(params, scale=0.3):
    """The parameters with noise, so that no bijector is at its start near the identity."""
    rng = np.random.default_rng(7)
    noise = jax.tree.map(lambda a: (scale * rng.normal(size=a.shape)).astype(a.dtype), params)
    return jax.tree.map(lambda a, n: a + n, params, noise)


def start(model, num=64, **batch):
    x = jax.random.normal(jax.random.key(3), (num, *model.spec.shape))
    return jax.jit(lambda k: shaken(model.init(k, {"x": x, **batch})[0]))(jax.random.key(0))


class Fitted(NamedTuple):
    """A flow, its parameters and its methods, compiled."""

    model: Flow
    params: Any
    encode: Callable
    decode: Callable
    log_prob: Callable


@pytest.fixture(params=FLOWS, scope="module")
def flow(request):
    model = FLOWS[request.param]
    params = start(model)
    methods = (model.encode, model.decode, model.log_prob)
    return Fitted(model, params, *(jax.jit(functools.partial(f, params)) for f in methods))


def test_what_it_can_do_is_said_by_protocols(flow):
    assert isinstance(flow.model, TractableDensity) and isinstance(flow.model, Representation)
    assert hash(flow.model) == hash(flow.model)


def grid(reach, side):
    """The middles of the cells of a square, and a cell's area."""
    line = (jnp.arange(side) + 0.5) / side * 2 * reach - reach
    points = jnp.stack(jnp.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    return points, (2 * reach / side) ** 2


def test_a_density_in_the_plane_integrates_to_one_and_samples_follow_it(flow):
    """The mass on a fine grid, and the draws' moments against integrals over it."""
    points, area = grid(reach=16.0, side=800)
    mass = jnp.exp(flow.log_prob(points)) * area
    assert float(jnp.sum(mass)) == pytest.approx(1.0, abs=2e-3)
    mean, second = mass @ points, (points * mass[:, None]).T @ points
    x = flow.decode(jax.random.normal(jax.random.key(1), (40_000, 2)))
    spread = float(jnp.sqrt(jnp.trace(second)))
    np.testing.assert_allclose(jnp.mean(x, axis=0), mean, atol=0.02 * spread)
    np.testing.assert_allclose(x.T @ x / len(x), second, atol=0.04 * spread**2)


X = 2.0 * jax.random.normal(jax.random.key(5), (32, 2))


def test_log_prob_is_the_change_of_variables(flow):
    @jax.jit
    def by_hand(x):
        z = flow.encode(x)
        jacobian = jax.vmap(jax.jacfwd(lambda x: flow.encode(x[None])[0]))(x)
        log_normal = -0.5 * jnp.sum(z**2, axis=-1) - jnp.log(2 * jnp.pi)
        return log_normal + jnp.linalg.slogdet(jacobian)[1]

    np.testing.assert_allclose(flow.log_prob(X), by_hand(X), rtol=2e-6, atol=2e-4)
    loss, aux = jax.jit(lambda p: flow.model.loss(p, {"x": X}, jax.random.key(0)))(flow.params)
    np.testing.assert_allclose(loss, -jnp.mean(by_hand(X)), atol=2e-4)
    assert aux.metrics["nll"] == loss


def test_codes_and_back(flow):
    np.testing.assert_allclose(flow.decode(flow.encode(X)), X, atol=2e-4)


def test_temperature_scales_the_draws_of_the_base(flow):
    @jax.jit
    def sample(temperature):
        key = jax.random.key(2)
        return flow.model.sample(flow.params, key, 32, temperature=temperature)

    eps, cold = flow.encode(sample(1.0)), flow.encode(sample(0.5))
    assert np.std(eps) > 0.7
    np.testing.assert_allclose(cold, 0.5 * eps, atol=2e-4)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature):
    model = FLOWS["maf"]
    with pytest.raises(ValueError, match=r"^temperature is .*: give a number above 0[^\n]*$"):
        model.sample({}, jax.random.key(0), 1, temperature=temperature)


def test_a_base_of_another_density():
    """With the identity for a bijector, the flow is its base."""

    class Shifted:
        def __init__(self, shape):
            self.shape = shape

        def log_prob(self, x):
            return -jnp.sum((x - 3.0) ** 2, axis=-1)

        def sample(self, key):
            return jnp.full(self.shape, 3.0)

    model = Flow(Permute((0, 1)), Shifted)
    params, _ = model.init(jax.random.key(0), {"x": jnp.zeros((2, 2))})
    assert model.log_prob(params, jnp.full((1, 2), 4.0)) == -2.0
    np.testing.assert_array_equal(model.sample(params, jax.random.key(0), 2), np.full((2, 2), 3.0))


@pytest.fixture(scope="module")
def conditional():
    spec = DataSpec((2,), num_levels=None, num_classes=3)
    model = realnvp(spec, num_classes=3, **SMALL)
    return model, start(model, label=jnp.arange(64) % 3)


def test_every_label_has_a_density_of_its_own(conditional):
    model, params = conditional
    points, area = grid(reach=16.0, side=400)
    log_prob = jax.jit(lambda c: model.log_prob(params, points, label=jnp.full(len(points), c)))
    of_label = [log_prob(c) for c in range(3)]
    for a, b in itertools.combinations(of_label, 2):
        assert np.max(np.abs(a - b)) > 0.01
    for log_p in of_label:
        assert float(jnp.sum(jnp.exp(log_p))) * area == pytest.approx(1.0, abs=5e-3)


def test_labels_of_samples(conditional):
    model, params = conditional
    sample = jax.jit(lambda label: model.sample(params, jax.random.key(4), 6, label=label))
    one, two = sample(jnp.ones(6, jnp.int32)), sample(jnp.full(6, 2))
    assert not np.allclose(one, two)
    same = model.sample(params, jax.random.key(4), 6, label=1)
    np.testing.assert_allclose(same, one, rtol=1e-5)
    assert model.sample(params, jax.random.key(4), 6).shape == (6, 2)


def test_bad_labels_are_refused_in_one_line(conditional):
    model, params = conditional
    x = jnp.zeros((2, 2))
    with pytest.raises(ValueError, match=r"^label 3 is given, but .* 0 \.\. 2$"):
        model.log_prob(params, x, label=jnp.array([0, 3]))
    with pytest.raises(ValueError, match=r"^label -1 is given"):
        model.sample(params, jax.random.key(0), 2, label=-1)
    with pytest.raises(ValueError, match="none was given: pass label="):
        model.log_prob(params, x)


def test_labels_are_not_looked_at_under_jit(conditional):
    model, params = conditional
    log_prob = jax.jit(lambda label: model.log_prob(params, jnp.zeros((2, 2)), label=label))
    assert np.all(np.isfinite(log_prob(jnp.array([0, 3]))))


def test_discrete_data_are_refused():
    with pytest.raises(ValueError, match=r"^digits has 17 discrete levels.*use Dequantized"):
        Flow(ActNorm(), spec=DIGITS)
    assert Flow(ActNorm(), spec=real_valued(DIGITS)).spec.shape == (8, 8, 1)


def test_examples_of_another_shape_are_refused(flow):
    with pytest.raises(ValueError, match=r"examples of shape \(2,\), but it was given \(3,\)"):
        flow.log_prob(jnp.zeros((4, 3)))


def test_the_kl_to_a_known_truth():
    """An affine flow with known numbers against a Gaussian: the KL has a closed form."""

    class Normal:
        def log_prob(self, x):
            return -0.5 * jnp.sum(x**2, axis=-1) - jnp.log(2 * jnp.pi)

        def sample(self, key, num):
            return jax.random.normal(key, (num, 2))

    model = Flow(ActNorm())
    params = {"bijector": {"log_scale": jnp.log(jnp.array([2.0, 1.0])), "shift": jnp.ones(2)}}
    # z = s x + t: KL = sum_i (s_i^2 + t_i^2 - 1) / 2 - log s_i.
    exact = (4 + 1 - 1) / 2 - np.log(2) + 1 / 2
    with pytest.raises(ValueError, match="num is 1"):
        kl_to_truth(model, params, Normal(), jax.random.key(0), 1)
    kl = kl_to_truth(model, params, Normal(), jax.random.key(0), 40_000)
    assert abs(kl.value - exact) < 4 * kl.standard_error
    assert 0 < kl.standard_error < 0.03
    again = kl_to_truth(model, params, Normal(), jax.random.key(0), 40_000, batch_size=7_001)
    assert again.value == pytest.approx(kl.value, rel=1e-5)


def test_a_chain_by_hand_needs_no_builder():
    model = Flow(Chain([ActNorm(), AffineCoupling(MLP((8, 2)))]))
    params = start(model)
    back = jax.jit(lambda x: model.decode(params, model.encode(params, x)))(X)
    np.testing.assert_allclose(back, X, atol=1e-5)


@dataclasses.dataclass(frozen=True)
class Fragile:
    """The identity, with a log-determinant that ends at a limit: no bijector, but it will do."""

    limit: float
    power: float = 0.5

    def init(self, key, x, context=None):
        return {"weight": jnp.ones(())}

    def forward(self, params, x, context=None):
        room = self.limit - params["weight"] * jnp.max(x, axis=-1)
        return x, 1e-3 * room**self.power

    def inverse(self, params, y, context=None):
        return y, -self.forward(params, y)[1]


def test_a_gradient_that_is_not_finite():
    """sqrt at 0 is finite and its slope is not."""
    model = Flow(Chain([ActNorm(), Fragile(limit=1.0), Permute()]))
    params = {"bijector": {"0_ActNorm": {"log_scale": jnp.zeros(2), "shift": jnp.zeros(2)}}}
    params["bijector"] |= {"1_Fragile": {"weight": jnp.ones(())}, "2_Permute": {}}
    assert isinstance(model, Diagnosed)

    def place(x):
        return model.diagnose(params, {"x": jnp.asarray(x)}, jax.random.key(0), state={})

    assert place([[0.0, 0.5]]) is None
    assert place([[0.0, 1.0]]) == "the gradient of 1_Fragile"
    assert place([[0.0, 2.0]]) == "1_Fragile"
    assert place([[0.0, jnp.nan]]) == "the data"
    assert place([[0.0, -1e30]]) == "the base distribution"


def train(model, data, **kwargs):
    return gm.fit(model, data, optax.adam(1e-3), steps=12, batch_size=16, log_every=12, **kwargs)


@pytest.mark.parametrize("mapping", ["mesh", "pmap"])
def test_training_says_which_layer(mapping, tmp_path):
    """An outlier of step 8 is beyond the limit of a layer, after steps of the same dispatch."""
    data = toy_points()
    x = data.arrays["x"].copy()
    rows = batch_indices(0, 7, 64, 16)
    before = np.concatenate([batch_indices(0, t, 64, 16) for t in range(4, 7)])
    x[rows[~np.isin(rows, before)][0]] = 1e4  # not in the epoch's batches before it
    model = Flow(Chain([Permute(), Repeat(Chain([Permute(), Fragile(limit=5e3)]), 2)]))
    data = dataclasses.replace(data, arrays={"x": x})
    first = next(t for t in range(12) if np.any(x[batch_indices(0, t, 64, 16)] > 5e3))
    with pytest.raises(NonFiniteLoss) as caught:
        train(model, data, devices=2, mapping=mapping, checkpoint_dir=tmp_path)
    message = str(caught.value)
    assert message.startswith(f"step {first + 1}: 'nll' of player 'flow' is nan: the run is")
    assert message.endswith("that is not finite is in 1_Repeat[0]/1_Fragile")
    assert "\n" not in message
    assert caught.value.step == first + 1 and caught.value.player == "flow"


def test_parameters_that_the_optimizer_spoilt_are_named():
    model = Flow(Chain([Permute(), ActNorm()]))
    spoils = optax.sgd(lambda t: jnp.where(t == 11, jnp.inf, 1e-3))
    with pytest.raises(NonFiniteLoss, match=r"step 12: the optimizer .* is in 1_ActNorm$"):
        gm.fit(model, toy_points(), spoils, steps=12, batch_size=16, devices=1)


def test_data_that_are_not_finite_are_named():
    data = toy_points()
    x = data.arrays["x"].copy()
    x[3] = np.nan
    with pytest.raises(ValueError, match="^x holds nan, but points has finite numbers"):
        train(Flow(Chain([Permute(), Fragile(limit=5e3)])), dataclasses.replace(
            data, arrays={"x": x}
        ), devices=1)  # fmt: skip
