"""Calls from outside JAX's transformations: checked on the host, compiled once, nothing kept."""

import dataclasses
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import genjax_models as gm
from genjax_models.core import entry as module
from genjax_models.core.entry import entry
from tests.programs import num_compiled

KEY = jax.random.key(0)
RING = gm.DataSpec((2,), num_levels=None, name="ring")
traced = []
"""What the methods of `Toy` were traced, or run, with."""


def churned(x, scale, churn=0.0):
    return x * scale + churn


@dataclasses.dataclass(frozen=True)
class Toy:
    """The least that a model is here: a spec, and methods with options."""

    spec: gm.DataSpec = RING
    num_classes: int | None = 3
    scale: float = 2.0

    @entry("num", "function", "times")
    def sample(self, params, key, num, *, label=None, function=churned, times=None, state=None):
        """Draws."""
        traced.append(times)
        x = function(jax.random.normal(key, (num, 2)), self.scale) * params["w"]
        x = x if times is None else x + times[0]
        return x if label is None else x + jax.nn.one_hot(label, 3)[..., :1]

    @entry()
    def encode(self, params, x, *, label=None, state=None):
        """The code."""
        traced.append(x)
        return x * params["w"]

    @entry(y="other")
    def back(self, params, y):
        return y

    @property
    def other(self):
        return gm.DataSpec((3,), num_levels=4, name="other")

    @entry("num")
    def passed_on(self, params, key, num, **options):
        return self.sample(params, key, num, **options)


TOY, PARAMS = Toy(), {"w": jnp.ones(2)}


def num_traces(call, times=5):
    traced.clear()
    for i in range(times):
        call(i)
    return len(traced)


@pytest.mark.parametrize(
    ("num", "call"),
    {
        "keys": (1, lambda i: TOY.sample(PARAMS, jax.random.key(i), 4)),
        "labels": (1, lambda i: TOY.sample(PARAMS, KEY, 5, label=i % 3)),
        "equal models": (1, lambda i: Toy(scale=3.0).sample(PARAMS, KEY, 4)),
        "other models": (5, lambda i: Toy(scale=4.0 + i).sample(PARAMS, KEY, 4)),
        "positional or not": (
            1,
            lambda i: (
                TOY.sample(PARAMS, KEY, 6) if i % 2 else TOY.sample(params=PARAMS, key=KEY, num=6)
            ),
        ),
        "numbers of other types": (1, lambda i: TOY.sample(PARAMS, KEY, (7, np.int64(7))[i % 2])),
        "partial": (
            1,
            lambda i: TOY.sample(PARAMS, KEY, 4, function=functools.partial(churned, churn=1.0)),
        ),
        "partial of partial": (
            1,
            lambda i: TOY.sample(
                PARAMS,
                KEY,
                4,
                function=functools.partial(functools.partial(churned), churn=np.ones(2)),
            ),
        ),
        "partials with arrays": (
            1,
            lambda i: TOY.sample(
                PARAMS, KEY, 4, function=jax.tree_util.Partial(churned, churn=jnp.full(2, i))
            ),
        ),
        "times": (1, lambda i: TOY.sample(PARAMS, KEY, 4, times=jnp.linspace(1.0, 0.5, 3))),
        "other times": (5, lambda i: TOY.sample(PARAMS, KEY, 4, times=jnp.linspace(2.0, i, 3))),
        "data": (1, lambda i: TOY.encode(PARAMS, np.full((4, 2), i, np.float32))),
        "passed on": (1, lambda i: TOY.passed_on(PARAMS, jax.random.key(i), 9, label=1)),
    }.values(),
)
def test_what_is_the_same_is_traced_once(num, call):
    assert num_traces(call) == num
    assert num_traces(call) == 0
    assert num_compiled(lambda: call(0)) == 0


def test_what_is_new_is_compiled():
    model = Toy(scale=0.123)
    x = np.ones((3, 2), np.float32)
    assert num_compiled(lambda: model.encode(PARAMS, x)) == 1
    assert num_compiled(lambda: model.encode(PARAMS, x + 1)) == 0
    assert num_compiled(lambda: model.encode(PARAMS, x[:2])) == 1


def test_a_partial_is_called_with_its_own_arguments():
    x = [
        TOY.sample(PARAMS, KEY, 4, function=function)
        for function in (
            churned,
            functools.partial(churned, churn=1.0),
            functools.partial(churned, churn=2.0),
            jax.tree_util.Partial(churned, churn=jnp.asarray(3.0)),
            jax.tree_util.Partial(churned, churn=jnp.asarray(4.0)),
        )
    ]
    for i, moved in enumerate(x):
        np.testing.assert_allclose(moved, x[0] + i, rtol=1e-6)


def test_options_are_seen_by_their_values():
    traced.clear()
    TOY.sample(PARAMS, KEY, 3, times=np.array([1.0, 0.25]))
    (times,) = traced
    assert not isinstance(times, jax.core.Tracer)
    np.testing.assert_array_equal(times, np.float32([1.0, 0.25]))


def test_the_values_are_those_of_the_jitted_call():
    options = {"label": jnp.array([0, 1, 2, 2]), "times": jnp.ones(1)}
    jitted = jax.jit(lambda params, key: TOY.sample(params, key, 4, **options))
    np.testing.assert_array_equal(
        TOY.sample(PARAMS, KEY, 4, **options), jitted(PARAMS, KEY), strict=True
    )


def test_programs_are_given_up_when_there_are_many(monkeypatch):
    monkeypatch.setattr(
        module, "_program", functools.lru_cache(maxsize=4)(module._program.__wrapped__)
    )
    client = jax.devices()[0].client

    def live():
        return len(client.live_executables())

    def anew(i):
        TOY.sample(PARAMS, KEY, 4, function=lambda x, scale: x * scale + i)

    for i in range(5):
        anew(i)
    before = live()
    for i in range(20):
        anew(i)
    assert live() <= before


def test_a_model_without_a_hash_runs_and_is_checked():
    model = Toy(scale=jnp.asarray(2.0))
    with pytest.raises(TypeError, match="unhashable"):
        hash(model)
    options = {"function": functools.partial(churned, churn=np.ones(2)), "times": np.ones(1)}
    np.testing.assert_allclose(
        model.sample(PARAMS, KEY, 4, **options), TOY.sample(PARAMS, KEY, 4, **options), rtol=1e-6
    )
    with pytest.raises(ValueError, match="label 3 is given"):
        model.sample(PARAMS, KEY, 4, label=3)


@pytest.mark.parametrize(
    "transformed",
    {
        "jit": lambda f: jax.jit(f),
        "jit of nothing": lambda f: lambda x: jax.jit(lambda: f(x))(),
        "vmap": lambda f: lambda x: jax.vmap(f)(x[None])[0],
        "grad": lambda f: lambda x: jax.grad(lambda x: jnp.sum(f(x)))(x) * x,
        "checkpoint": lambda f: jax.checkpoint(f),
        "shard_map": lambda f: jax.shard_map(
            f, mesh=Mesh(np.asarray(jax.devices()), ("d",)), in_specs=P("d"), out_specs=P("d")
        ),
        "pmap": lambda f: lambda x: jax.pmap(f)(x[:, None])[:, 0],
    }.values(),
)
def test_within_a_transformation_it_is_the_plain_function(transformed):
    x = jnp.arange(16.0).reshape(8, 2)
    w = jnp.array([2.0, 3.0])
    label = jnp.full(8, 7)  # no class; nobody looks
    f = lambda x: Toy.encode(TOY, {"w": w}, x, label=label)  # noqa: E731
    np.testing.assert_allclose(transformed(f)(x), x * w)


@pytest.mark.parametrize("spec", [P(), P("d")], ids=str)
def test_parameters_and_examples_may_lie_on_many_devices(spec):
    mesh = Mesh(np.asarray(jax.devices()), ("d",))
    params = jax.device_put(PARAMS, NamedSharding(mesh, P()))
    x = jax.device_put(jnp.ones((8, 2)), NamedSharding(mesh, spec))
    assert TOY.encode(params, x).sharding.device_set == set(jax.devices())
    np.testing.assert_array_equal(TOY.encode(params, np.ones((8, 2), np.float32)), x)
    with pytest.raises(ValueError, match="x holds nan"):
        TOY.encode(params, x * jnp.nan)
    assert TOY.sample(params, KEY, 4, label=1).shape == (4, 2)


def test_in_64_bit_mode_it_is_another_program():
    with jax.enable_x64(True):
        assert TOY.encode({"w": jnp.ones(2)}, np.ones((4, 2))).dtype == np.float64
        times = np.linspace(1.0, 0.1, 3)
        TOY.sample(PARAMS, KEY, 4, times=times)
        np.testing.assert_array_equal(traced[-1], times, strict=True)
    assert TOY.encode(PARAMS, np.ones((4, 2))).dtype == np.float32


def test_methods_read_as_they_are_written():
    assert Toy.sample.__doc__ == "Draws." and Toy.sample.__qualname__ == "Toy.sample"
    assert list(inspect.signature(TOY.sample).parameters)[:3] == ["params", "key", "num"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TOY.sample(PARAMS, KEY), "missing 1 required positional argument: 'num'"),
        (lambda: TOY.sample(PARAMS, KEY, 4, lable=1), "unexpected keyword argument 'lable'"),
        (lambda: TOY.sample(PARAMS, KEY, 4, num=4), "multiple values for argument 'num'"),
        (lambda: TOY.encode(PARAMS, np.ones((1, 2)), 3), "positional arguments? but"),
    ],
)
def test_arguments_that_do_not_fit_are_told_by_python(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_what_a_method_refuses_is_told_in_its_own_line():
    def never(x, scale):
        raise ValueError("no such scale")

    with pytest.raises(ValueError, match=r"^no such scale$") as error:
        TOY.sample(PARAMS, KEY, 4, function=never)
    assert not getattr(error.value, "__notes__", [])


@pytest.mark.parametrize("name", ["num", "num_samples"])
@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError), ("3", TypeError)]
)
def test_counts_are_whole_numbers_of_at_least_1(name, value, error):
    model = gm.VAE(gm.networks.MLP((4, 4)), gm.networks.MLP((4, 64)), latent_dim=2)
    x = np.zeros((3, 8, 8, 1), np.uint8)
    call = {
        "num": lambda: model.sample({}, KEY, value),
        "num_samples": lambda: model.log_prob_bound({}, x, KEY, value),
    }[name]
    with pytest.raises(error, match=f"{name} is .*: give a whole number of at least 1"):
        call()


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (3, "label 3 is given.*0 .. 2"),
        (-1, "label -1 is given"),
        ([0, 1, 3, 0], "label 3 is given"),
        ([0, 1], r"shape \(2,\), and there are 4 examples"),
        (np.eye(4, 3), r"shape \(4, 3\), and there are 4 examples"),
        (np.eye(4, 3, dtype=int), r"shape \(4, 3\)"),
        (np.ones(4), "label is of float64"),
        (jnp.ones(4), "label is of float32"),
    ],
)
def test_labels_are_whole_numbers_one_an_example_and_classes(label, message):
    for call in (TOY.sample, TOY.passed_on):
        with pytest.raises(ValueError, match=message):
            call(PARAMS, KEY, 4, label=label)
    if np.ndim(label):
        with pytest.raises(ValueError, match=message):
            TOY.encode(PARAMS, np.ones((4, 2), np.float32), label=label)


def test_one_label_for_all_is_for_those_that_are_drawn():
    TOY.sample(PARAMS, KEY, 4, label=1)
    with pytest.raises(ValueError, match=r"shape \(\), and there are 4 examples"):
        TOY.encode(PARAMS, np.ones((4, 2), np.float32), label=1)


def test_examples_are_checked_against_their_own_spec():
    y = np.array([[0, 1, 3]])
    np.testing.assert_array_equal(TOY.back(PARAMS, y), y)
    with pytest.raises(ValueError, match="y holds 4, but other has values 0 .. 3"):
        TOY.back(PARAMS, y + 1)
    with pytest.raises(ValueError, match=r"examples of shape \(3,\), but it was given \(2,\)"):
        TOY.back(PARAMS, y[:, :2])


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (0, "key is 0, a int"),
        (np.zeros(2), "float64"),
        (jnp.zeros(3, jnp.uint32), r"uint32\[3\]"),
        (jax.random.split(KEY, 4), r"key<fry>\[4\]"),
    ],
)
def test_what_is_no_key_is_refused(key, said):
    with pytest.raises(TypeError, match=said):
        TOY.sample(PARAMS, key, 2)


def test_a_key_of_the_old_kind_is_the_new_one():
    old = TOY.sample(PARAMS, jax.random.PRNGKey(3), 2)
    np.testing.assert_array_equal(old, TOY.sample(PARAMS, jax.random.key(3), 2))


def test_a_training_state_in_place_of_parameters_is_told_what_to_give():
    data = gm.load("digits")[:32]
    vae = gm.VAE(gm.networks.MLP((8, 4)), gm.networks.MLP((8, 64)), latent_dim=2)
    state = gm.fit(vae, data, optax.adam(1e-3), steps=1, batch_size=16)
    with pytest.raises(TypeError, match=r"params is a TrainState: .*state\.ema"):
        vae.sample(state, KEY, 2)
    with pytest.raises(TypeError, match=r"params is a TrainState: .*state\.ema"):
        gm.evaluate(vae, state, data, KEY)
    with pytest.raises(TypeError, match="key is 0"):
        gm.evaluate(vae, state.ema, data, 0)
