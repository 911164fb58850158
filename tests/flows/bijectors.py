"""The table of bijectors that are all held to the same tests, in test_bijectors.py.

A new bijector is a new row of `TABLE`: a name, and a `Case` whose `build(dtype)` makes it with
networks that compute in that type. Its parameters are drawn by its `init` and then moved by noise,
so that no test sees the identity.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.flows.bijector import Bijector, Chain, Inverse, Logit, Repeat
from genjax_models.flows.coupling import (
    AffineCoupling,
    Alternate,
    Checkerboard,
    Halves,
    SplineCoupling,
)
from genjax_models.flows.linear import ActNorm, InvertibleConv1x1, Permute
from genjax_models.flows.masked import MaskedAutoregressive
from genjax_models.flows.multiscale import Split, Squeeze
from genjax_models.flows.planar_radial import Planar, Radial
from genjax_models.networks.convolutional import ResidualNetwork
from genjax_models.networks.mlp import MLP

# Everything here is compiled for one or two small calls, and is not worth optimising.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape)


def uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(size=shape)


class Case(NamedTuple):
    """A row of the table.

    Attributes:
        build: The bijector, given the type that its networks compute in.
        shape: Shape of one example.
        context: Size of the context that it is conditioned on; None for none.
        draw: Examples in the bijector's domain: (numpy generator, shape) -> array.
        noise: Standard deviation of what is added to the parameters that `init` draws.
        tolerance: How far inverse(forward(x)) may be from x, by type.
    """

    build: Callable[[jnp.dtype], Bijector]
    shape: tuple[int, ...]
    context: int | None = None
    draw: Callable = normal
    noise: float = 0.2
    tolerance: dict[str, float] = {"float32": 1e-5, "float64": 1e-10}


def mlp(num_outputs: int, dtype: jnp.dtype) -> MLP:
    return MLP((8, num_outputs), dtype=dtype)


def conv(num_outputs: int, dtype: jnp.dtype) -> ResidualNetwork:
    return ResidualNetwork(4, 1, num_outputs, dtype=dtype)


def affine(network, outputs: int, mask, dtype) -> AffineCoupling:
    return AffineCoupling(network(outputs, dtype), mask)


def spline(network, outputs: int, mask, dtype) -> SplineCoupling:
    return SplineCoupling(network(outputs, dtype), mask, num_bins=4, bound=3.0)


def step(network, outputs: int, dtype) -> Chain:
    return Chain([ActNorm(), Permute(), AffineCoupling(network(outputs, dtype))])


def multiscale(dtype) -> Chain:
    """[4, 4, 2]: at half of the size 8 channels, of which 4 go on to a quarter of it."""
    inner = Chain([Squeeze(), step(conv, 16, dtype), Inverse(Squeeze())])
    return Chain([Squeeze(), ActNorm(), Split(inner, conv(8, dtype)), Inverse(Squeeze())])


TABLE: dict[str, Case] = {
    "permute": Case(lambda dtype: Permute(), (3,)),
    "permute_image": Case(lambda dtype: Permute(seed=1), (2, 2, 3)),
    "act_norm": Case(lambda dtype: ActNorm(), (3,)),
    "act_norm_image": Case(lambda dtype: ActNorm(), (2, 3, 2)),
    "conv_1x1": Case(lambda dtype: InvertibleConv1x1(), (4,)),
    "conv_1x1_image": Case(lambda dtype: InvertibleConv1x1(seed=3), (2, 3, 4)),
    "logit": Case(lambda dtype: Logit(), (3,), draw=uniform),
    "squeeze": Case(lambda dtype: Squeeze(), (4, 2, 3)),
    "affine_halves": Case(functools.partial(affine, mlp, 6, Halves()), (5,)),
    "affine_alternate": Case(functools.partial(affine, mlp, 6, Alternate(1)), (5,)),
    "affine_checkerboard": Case(functools.partial(affine, conv, 4, Checkerboard(1)), (3, 4, 2)),
    "affine_context": Case(functools.partial(affine, conv, 4, Halves(swap=True)), (3, 2, 4), 3),
    "spline": Case(functools.partial(spline, mlp, 22, Alternate()), (4,)),
    "spline_checkerboard": Case(functools.partial(spline, conv, 11, Checkerboard()), (3, 3, 1)),
    "spline_context": Case(functools.partial(spline, mlp, 11, Halves()), (2,), context=3),
    "inverse_affine": Case(lambda dtype: Inverse(affine(mlp, 4, Halves(), dtype)), (4,)),
    "planar": Case(lambda dtype: Planar(), (4,), noise=0.5),
    "planar_image": Case(lambda dtype: Planar(), (2, 3, 1)),
    "radial": Case(lambda dtype: Radial(), (4,), noise=0.5),
    "masked": Case(lambda dtype: MaskedAutoregressive((12, 12)), (4,)),
    "masked_context": Case(lambda dtype: MaskedAutoregressive((16,)), (2, 2, 1), context=3),
    "inverse_masked": Case(lambda dtype: Inverse(MaskedAutoregressive((8,))), (3,)),
    "repeat": Case(lambda dtype: Repeat(step(mlp, 6, dtype), 3), (5,), context=2),
    "multiscale": Case(multiscale, (4, 4, 2), context=2),
}
"""Name -> case."""
