"""Every bijector of the table; Chain, Repeat and Inverse; and which layer is not finite."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.flows.bijector import Chain, Flattened, Inverse, Repeat, first_non_finite
from genjax_models.flows.coupling import AffineCoupling
from genjax_models.flows.linear import ActNorm, Permute
from genjax_models.flows.multiscale import Split
from genjax_models.networks.convolutional import ResidualNetwork
from genjax_models.networks.mlp import MLP
from tests.flows.bijectors import TABLE, jit

NUM = 4
FAR = 50.0


class Setup:
    """A bijector of the table with parameters, examples and a context, all of one type."""

    def __init__(self, name, dtype, start=None):
        case, self.dtype = TABLE[name], jnp.dtype(dtype)
        self.case, self.bijector = case, case.build(self.dtype)
        rng = np.random.default_rng(0)
        self.x = jnp.asarray(case.draw(rng, (NUM, *case.shape)), self.dtype)
        self.context = None
        if case.context is not None:
            self.context = jnp.asarray(rng.normal(size=(NUM, case.context)), self.dtype)
        key = jax.random.key(0, impl="rbg")  # of all generators, the fastest to compile
        if start is None:
            start = jit(self.bijector.init)(key, self.x, self.context)
        types = jax.eval_shape(self.bijector.init, key, self.x, self.context)
        self.start = jax.tree.map(lambda a, like: a.astype(like.dtype), start, types)
        self.params = jax.tree.map(
            lambda a: a + jnp.asarray(case.noise * rng.normal(size=a.shape), a.dtype), self.start
        )

    def both_ways(self, params, x, context, move=0.0):
        """The outputs y = f(x), their log-det, f^-1(y + move), and its log-det."""
        return self.results(params, x, context, move)[0][1]

    def gradients(self, params, x, context, move=0.0):
        """The slopes of a number that all of these decide, by params, x and y."""
        return self.results(params, x, context, move)[1]

    def results(self, params, x, context, move):
        y = jax.eval_shape(self.bijector.forward, params, x, context)[0]
        return self._compiled(params, x, jnp.full(y.shape, move, y.dtype), context)

    @functools.cached_property
    def _compiled(self):
        """Everything at once, since compiling is what these tests wait for."""
        chex.clear_trace_counter()

        @chex.assert_max_traces(n=1)
        def value(params, x, move, context):
            y, log_det = self.bijector.forward(params, x, context)
            # `move` stands for y here: the slopes of inverse and forward are kept apart.
            back, log_det_back = self.bijector.inverse(
                params, jax.lax.stop_gradient(y) + move, context
            )
            total = jnp.sum(log_det - log_det_back) - 0.5 * jnp.sum(y**2)
            return total - 0.5 * jnp.sum(back**2), (y, log_det, back, log_det_back)

        if self.dtype == jnp.float64:
            return jit(lambda *args: (value(*args), None))
        return jit(jax.value_and_grad(value, argnums=(0, 1, 2), has_aux=True))

    def log_det_of_the_jacobian(self):
        """By differentiating each example's outputs `[B]`."""

        def outputs(x, context):
            context = None if context is None else context[None]
            y, _ = self.bijector.forward(self.params, x.reshape(1, *self.case.shape), context)
            return y.reshape(-1)

        in_axes = (0, None if self.context is None else 0)
        # Backwards, since convolutions have no forward mode on the CPU.
        jacobian = jit(jax.vmap(jax.jacrev(outputs), in_axes))
        return jnp.linalg.slogdet(jacobian(self.x.reshape(NUM, -1), self.context))[1]


@pytest.fixture(scope="module", params=TABLE)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def single(name):
    return Setup(name, "float32")


def check_inverse(setup):
    """Holds it to the row's tolerance; gives f(x) and the log-determinant."""
    tolerance = setup.case.tolerance[setup.dtype.name]
    y, log_det, back, log_det_back = setup.both_ways(setup.params, setup.x, setup.context)
    assert {a.dtype for a in (y, log_det, back, log_det_back)} == {setup.dtype}
    assert log_det.shape == log_det_back.shape == (NUM,)
    np.testing.assert_allclose(back, setup.x, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(log_det_back, -log_det, rtol=tolerance, atol=10 * tolerance)
    return y, log_det


def test_single_precision_by_one_trace(single):
    check_inverse(single)
    single.both_ways(single.params, single.x + 0.1, single.context)


def test_double_precision_and_the_jacobian(name, single):
    start = jax.tree.map(np.asarray, single.start)  # what is compiled once serves both types
    with jax.enable_x64(True):
        double = Setup(name, "float64", start)
        _, log_det = check_inverse(double)
        expected = double.log_det_of_the_jacobian()
        np.testing.assert_allclose(log_det, expected, rtol=1e-10, atol=1e-10)


def test_inputs_far_from_the_data_give_finite_values_and_gradients(single):
    x = FAR * np.random.default_rng(1).choice([-1.0, 0.01, 1.0], single.x.shape)
    x = jnp.asarray(x, single.dtype)
    for move in (0.0, FAR):
        chex.assert_tree_all_finite(single.results(single.params, x, single.context, move))


def test_the_first_gradient_reaches_every_parameter(single):
    grads, _, _ = single.gradients(single.start, single.x * 1.1 + 0.1, single.context)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert np.all(np.isfinite(grad)) and np.any(grad != 0), jax.tree_util.keystr(path)


def test_the_context_matters(single):
    if single.context is None:
        pytest.skip("the bijector is not conditional")
    y = single.both_ways(single.params, single.x, single.context)[0]
    other = single.both_ways(single.params, single.x, single.context[::-1])[0]
    assert np.all(np.any(np.abs(y - other).reshape(NUM, -1) > 1e-3, axis=-1))


def test_is_a_frozen_hashable_value(single):
    bijector = single.bijector
    assert hash(bijector) == hash(dataclasses.replace(bijector))
    assert bijector == single.case.build(single.dtype)
    with pytest.raises(dataclasses.FrozenInstanceError):
        bijector.anything = 0


def test_repeat_is_the_chain_of_the_same_parameters():
    step = Chain([ActNorm(), Permute(), AffineCoupling(MLP((4,)))])
    repeat, chain = Repeat(step, 2), Chain([step] * 2)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)), jnp.float32)
    params = jit(repeat.init)(jax.random.key(0, impl="rbg"), x)
    apart = {f"{i}_Chain": part.params for i, part in enumerate(repeat.parts(params))}
    kernel = params["2_AffineCoupling"]["network"]["Dense_0"]["kernel"]
    assert not np.allclose(kernel[0], kernel[1])

    @functools.partial(jit, static_argnums=0)
    def both_ways(bijector, params):
        return bijector.forward(params, x), bijector.inverse(params, x)

    expected = both_ways(chain, apart)
    chex.assert_trees_all_close(both_ways(repeat, params), expected, rtol=1e-5, atol=1e-5)


def test_repeating_what_has_no_parameters():
    x = jnp.arange(6.0).reshape(2, 3)
    repeat = Repeat(Permute((1, 2, 0)), 2)
    params = repeat.init(jax.random.key(0), x)
    np.testing.assert_array_equal(repeat.forward(params, x)[0], x[:, [2, 0, 1]])
    np.testing.assert_array_equal(repeat.inverse(params, x)[0], x[:, [1, 2, 0]])


def test_a_chain_starts_each_part_on_what_the_part_before_it_leaves():
    x = jnp.asarray(np.random.default_rng(0).normal(5.0, 3.0, size=(50, 2)), jnp.float32)
    chain = Chain([ActNorm(), ActNorm()])
    params = chain.init(jax.random.key(0), x)
    np.testing.assert_allclose(params["1_ActNorm"]["log_scale"], 0.0, atol=1e-5)
    np.testing.assert_allclose(params["1_ActNorm"]["shift"], 0.0, atol=1e-5)


def test_an_inverse_swaps_the_ways():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)), jnp.float32)
    bijector = ActNorm()
    params = {"log_scale": jnp.asarray([0.5, 0.0, -1.0]), "shift": jnp.asarray([1.0, 2.0, 3.0])}
    for ours, theirs in (("forward", "inverse"), ("inverse", "forward")):
        for a, b in zip(
            getattr(Inverse(bijector), ours)(params, x),
            getattr(bijector, theirs)(params, x),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)


STEP = Chain([ActNorm(), AffineCoupling(MLP((4, 2))), Permute()])
X = jax.random.normal(jax.random.key(1), (8, 2))


def spoilt(params, path, index=...):
    """The parameters with a NaN in one leaf."""
    key, *rest = path
    if not rest:
        return {**params, key: params[key].at[index].set(jnp.nan)}
    return {**params, key: spoilt(params[key], rest, index)}


def start(bijector, x=X):
    return jit(bijector.init)(jax.random.key(0), x)


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
    assert first_non_finite(Inverse(bijector), bad, X) == f"1_Repeat[{i}]/1_AffineCoupling"


def test_the_first_of_several_depends_on_the_direction(chain):
    bijector, params = chain
    bad = spoilt(params, ["1_Repeat", "0_ActNorm", "shift"], index=1)
    bad = spoilt(bad, ["2_ActNorm", "shift"])
    assert first_non_finite(bijector, bad, X) == "1_Repeat[1]/0_ActNorm"
    assert first_non_finite(Inverse(bijector), bad, X) == "2_ActNorm"


def test_what_repeats_by_itself_and_what_stands_alone():
    assert first_non_finite(ActNorm(), {"log_scale": jnp.nan, "shift": 0.0}, X) == "ActNorm"
    repeat = Repeat(ActNorm(), 2)
    assert first_non_finite(repeat, spoilt(start(repeat), ["shift"], 1), X) == "Repeat[1]"


def test_layers_inside_of_a_split():
    x = jax.random.normal(jax.random.key(2), (4, 2, 2, 4))
    bijector = Split(Chain([ActNorm(), Repeat(ActNorm(), 2)]), ResidualNetwork(4, 0, 4))
    params = start(bijector, x)
    inner = spoilt(params, ["inner", "1_Repeat", "shift"], 1)
    assert first_non_finite(bijector, params, x) is None
    assert first_non_finite(bijector, inner, x) == "inner/1_Repeat[1]"
    assert first_non_finite(Inverse(bijector), inner, x) == "inner/1_Repeat[1]"
    prior = {**params, "prior": spoilt(params["prior"], ["gain"])}
    assert first_non_finite(bijector, prior, x) == "prior"


def test_layers_inside_of_flattened_images():
    x = jax.random.normal(jax.random.key(2), (4, 2, 2, 1))
    bijector = Flattened(Repeat(ActNorm(), 2))
    params = spoilt(start(bijector, x), ["shift"], 1)
    assert first_non_finite(bijector, params, x) == "Flattened[1]"
    assert first_non_finite(Flattened(Permute()), {}, x) is None
