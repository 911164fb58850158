"""A model is a value: equal when built alike, printed as what builds it, named for files."""

import dataclasses

import flax
import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

import genjax_models as gm
from genjax_models.core import values
from tests.programs import num_compiled


def built(text):
    return eval(text, {"gm": gm, "jax": jax, "flax": flax})


@values.value
class Scaled:
    """A value that is not the library's."""

    by: float
    of: tuple[int, ...] = ()


def test_a_partial_is_equal_to_another_built_alike():
    one, same = (gm.partial(gm.networks.MLP, (8, 2), dtype=jnp.bfloat16) for _ in range(2))
    assert one == same and hash(one) == hash(same)
    assert one != gm.partial(gm.networks.MLP, (8, 2)) != gm.partial(gm.networks.MLP, (8, 3))
    assert one() == gm.networks.MLP((8, 2), dtype=jnp.bfloat16)
    assert one(dtype=jnp.float32) == gm.networks.MLP((8, 2))
    assert repr(one) == "gm.partial(gm.networks.MLP, (8, 2), dtype=jax.numpy.bfloat16)"
    assert built(repr(one)) == one


@pytest.mark.parametrize(
    "x",
    [
        0, -1.5, 1e-30, float("inf"), -float("inf"), None, True, "a'b", (), (1,), [1, 2],
        {"a": (1,)}, jnp.bfloat16, jnp.dtype("int8"), jax.nn.gelu, nn.relu, nn.BatchNorm, gm.VAE,
        gm.likelihoods.binomial, gm.DataSpec((3,), num_levels=None, name="x"),
        gm.networks.MLP((4,), activation=nn.tanh), nn.Dense(3, use_bias=False),
    ],
)  # fmt: skip
def test_a_value_prints_as_what_builds_it(x):
    assert built(values.source(x)) == x


def test_nan_prints_as_what_builds_it():
    assert built(values.source(float("nan"))) != built(values.source(float("nan")))


def test_what_is_as_it_is_by_default_is_left_out_unless_asked_for():
    module = gm.networks.MLP((4,))
    assert values.arguments(module) == ((), {"features": (4,)})
    _, all_of_it = values.arguments(module, defaults=True)
    assert all_of_it == {"features": (4,), "activation": nn.silu, "dtype": jnp.float32}
    assert repr(Scaled(2.0)) == f"{__name__}.Scaled(by=2.0)"
    # 1 == 1.0 == True, but they are not the same argument.
    assert "levels=True" in values.source(gm.DataSpec((1,), num_levels=True))


def test_a_value_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Scaled(1.0).by = 2.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        gm.partial(gm.networks.MLP).args = ()


def test_names_are_of_public_objects_alone():
    for name, x in {
        "gm.VAE": gm.VAE,
        "gm.flows.glow": gm.flows.glow,
        "jax.nn.gelu": nn.gelu,
        "flax.linen.Dense": nn.Dense,
        "jax.numpy.bfloat16": jnp.bfloat16,
    }.items():
        assert values.public_name(x) == name and values.public_object(name) is x
    assert values.public_name(lambda x: x) is None
    for name in ("os.system", "gm.core.values.sys", "gm.plots.np", "builtins.eval", "gm", "gm.core",
                 "gm.core.values._objects", "jax.numpy.load", "VAE",
                 "gm.fit", "gm.plots.grid", "gm.data.load"):  # fmt: skip
        with pytest.raises(KeyError):
            values.public_object(name)


def test_what_equality_leaves_out_is_printed_all_the_same():
    named = dataclasses.replace(gm.core.DIGITS, class_names=("zero", "one"))
    assert named == gm.core.DIGITS and values.public_name(gm.core.DIGITS) == "gm.core.DIGITS"
    assert built(values.source(named)).class_names == named.class_names


def test_what_is_registered_has_a_name():
    @values.register
    def own(x):
        return x

    name = f"{__name__}.test_what_is_registered_has_a_name.<locals>.own"
    assert values.public_name(own) == name and values.public_object(name) is own
    assert values.register(own) is own
    with pytest.raises(ValueError, match="the name of another object"):
        values.register(lambda x: x, "gm.VAE")


def test_a_model_whose_network_was_given_a_list_compiles_once(digits):
    def call(key, width=8):
        encoder = gm.networks.MLP([width, 8])
        model = gm.VAE(encoder, gm.networks.MLP([8, 64]), latent_dim=4)
        params, _ = model.init(jax.random.key(0), {"x": digits.arrays["x"][:2]})
        return model.sample(params, key, 3)

    key, other = jax.random.split(jax.random.key(1))
    call(key), call(key, width=16)
    assert num_compiled(lambda: call(other)) == 0
