"""A flow that meets a value that is not finite says which layer; training passes it on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import genjax_models as gm
from genjax_models.core.protocols import Diagnosed
from genjax_models.flows.bijector import Chain, Inverse, Repeat
from genjax_models.flows.coupling import AffineCoupling
from genjax_models.flows.diagnosis import first_non_finite
from genjax_models.flows.flattened import Flattened
from genjax_models.flows.linear import ActNorm, Permute
from genjax_models.flows.model import Flow
from genjax_models.flows.multiscale import Split
from genjax_models.networks.mlp import MLP
from genjax_models.training import NonFiniteLoss
from genjax_models.training.feed import batch_indices
from tests.training.toys import points

STEP = Chain([ActNorm(), AffineCoupling(MLP((4, 2))), Permute()])
X = jax.random.normal(jax.random.key(1), (8, 2))


def spoilt(params, path, index=...):
    """The parameters with a NaN in one leaf."""
    key, *rest = path
    if not rest:
        return {**params, key: params[key].at[index].set(jnp.nan)}
    return {**params, key: spoilt(params[key], rest, index)}


def start(bijector, x=X):
    return jax.jit(bijector.init)(jax.random.key(0), x)


@pytest.fixture(scope="module")
def chain():
    bijector = Chain([Permute(), Repeat(STEP, 3), ActNorm()])
    return bijector, start(bijector)


@pytest.mark.parametrize("i", [0, 2])
def test_the_repetition_and_the_part_are_named(chain, i):
    bijector, params = chain
    assert first_non_finite(bijector, params, X) is None
    bad = spoilt(params, ["1_Repeat", "1_AffineCoupling", "gain"], index=i)
    assert first_non_finite(bijector, bad, X) == f"1_Repeat[{i}]/1_AffineCoupling"
    # Both ways round, the layer is the same, and those before it are others.
    assert first_non_finite(Inverse(bijector), bad, X) == f"Inverse/1_Repeat[{i}]/1_AffineCoupling"


def test_the_first_of_several_depends_on_the_direction(chain):
    bijector, params = chain
    bad = spoilt(params, ["1_Repeat", "0_ActNorm", "shift"], index=1)
    bad = spoilt(bad, ["2_ActNorm", "shift"])
    assert first_non_finite(bijector, bad, X) == "1_Repeat[1]/0_ActNorm"
    assert first_non_finite(Inverse(bijector), bad, X) == "Inverse/2_ActNorm"


def test_what_repeats_by_itself_and_what_stands_alone():
    assert first_non_finite(ActNorm(), {"log_scale": jnp.nan, "shift": 0.0}, X) == "ActNorm"
    repeat = Repeat(ActNorm(), 2)
    assert first_non_finite(repeat, spoilt(start(repeat), ["shift"], 1), X) == "Repeat[1]"


class Channels(nn.Module):
    """A linear map of the channels."""

    num_outputs: int

    @nn.compact
    def __call__(self, x, context=None):
        return nn.Dense(self.num_outputs)(x)


def test_layers_inside_of_a_split():
    x = jax.random.normal(jax.random.key(2), (4, 2, 2, 4))
    bijector = Split(Chain([ActNorm(), Repeat(ActNorm(), 2)]), Channels(4))
    params = start(bijector, x)
    inner = spoilt(params, ["inner", "1_Repeat", "shift"], 1)
    assert first_non_finite(bijector, params, x) is None
    assert first_non_finite(bijector, inner, x) == "Split/1_Repeat[1]"
    assert first_non_finite(Inverse(bijector), inner, x) == "Inverse/1_Repeat[1]"
    prior = {**params, "prior": spoilt(params["prior"], ["gain"])}
    assert first_non_finite(bijector, prior, x) == "Split"


def test_layers_inside_of_flattened_images():
    x = jax.random.normal(jax.random.key(2), (4, 2, 2, 1))
    bijector = Flattened(Repeat(ActNorm(), 2))
    params = spoilt(start(bijector, x), ["shift"], 1)
    assert first_non_finite(bijector, params, x) == "Flattened/Repeat[1]"
    assert first_non_finite(Flattened(Permute()), {}, x) is None


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
    data = points()
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
        gm.fit(model, points(), spoils, steps=12, batch_size=16, devices=1)


def test_data_that_are_not_finite_are_named():
    data = points()
    x = data.arrays["x"].copy()
    x[3] = np.nan
    with pytest.raises(ValueError, match="^x holds nan, but points has finite numbers"):
        train(Flow(Chain([Permute(), Fragile(limit=5e3)])), dataclasses.replace(
            data, arrays={"x": x}
        ), devices=1)  # fmt: skip
