"""The probabilities of discrete data by a diffusion's ODE, whose density is of real values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from genjax_models.core import random
from genjax_models.core.bounds import check_num_samples, log_mean_weight
from genjax_models.core.conditions import check_examples
from genjax_models.core.distributions import Normal, sum_entries
from genjax_models.core.entry import entry
from genjax_models.core.preprocess import identity, of_data, to_unit_range
from genjax_models.core.protocols import LikelihoodInfo
from genjax_models.core.types import Array, DataSpec, Key, Params, State
from genjax_models.diffusion import ode
from genjax_models.diffusion.ode import Divergence
from genjax_models.diffusion.probability_flow import Denoising, check_base, density


@dataclasses.dataclass(frozen=True)
class Dequantization:
    """How levels become real values that have a density.

    Attributes:
        draw: `(x [B, ...], key, spec) -> (v [B, ...], log_weight [B])`: values in the units of
            `to_unit_range`, and what log p(v) is to be raised by to bound log P(x).
        smallest: `spec -> ` the noise-to-signal ratio at which the ODE meets v.
    """

    draw: Callable[[Array, Key, DataSpec], tuple[Array, Array]]
    smallest: Callable[[DataSpec], float]


def _uniform(x: Array, key: Key, spec: DataSpec) -> tuple[Array, Array]:
    """Uniform in the cells, which are 2 / (num_levels - 1) wide."""
    width = 2.0 / (_levels(spec) - 1)
    u = random.uniform(key, x.shape) - 0.5
    return to_unit_range(x, spec) + width * u, jnp.full(x.shape[0], spec.num_dims * math.log(width))


uniform = Dequantization(_uniform, lambda spec: 1e-3)
"""`log P(x) >= E_u log p(x + u)`, u uniform in the cell of x: for models of data that were given
such noise (Theis et al. 2016, arXiv:1511.01844, sec. 3.1)."""


def noised(widths: float = 3.0) -> Dequantization:
    """The diffusion's own noise: for models that were trained on the levels themselves.

    Their density has a peak at every level, which uniform noise mostly misses. With a little of the
    diffusion's noise q(v | x) = N(x, r^2), and x read from v again by Bayes' rule,
    `log P(x) >= E_q[log p(v) + log p(x | v) - log q(v | x)]`, where p is the density at that noise.

    Args:
        widths: How many r make half the distance between levels.

    Raises:
        ValueError: They are not positive.

    References:
        Zheng et al. 2023, arXiv:2305.03935 (dequantisation by the diffusion's noise); Kingma et
        al. 2021, arXiv:2107.00630, sec. 3 (x read from v).
    """
    if widths <= 0:
        raise ValueError(f"levels are {widths} widths apart: give a positive number")

    def smallest(spec: DataSpec) -> float:
        return 1.0 / (_levels(spec) - 1) / widths

    def draw(x: Array, key: Key, spec: DataSpec) -> tuple[Array, Array]:
        r, centre = smallest(spec), to_unit_range(x, spec)
        v = centre + r * random.normal(key, x.shape)
        log_q = Normal(centre, jnp.full_like(centre, math.log(r))).log_prob(v)

        def squared(level: Array) -> Array:
            return -0.5 * ((v - to_unit_range(level, spec)) / r) ** 2

        total = jax.lax.fori_loop(
            1,
            _levels(spec),
            lambda level, total: jnp.logaddexp(total, squared(level)),
            squared(jnp.zeros((), jnp.int32)),
        )
        return v, sum_entries(squared(x) - total) - log_q

    return Dequantization(draw, smallest)


@dataclasses.dataclass(frozen=True)
class DequantizedProbabilityFlow:
    """A diffusion over discrete data as a continuous flow: a bound of log P(x) by its density.

    Data that the model makes real-valued by itself (`preprocess=uniform_dequantization`) are taken
    as it makes them.

    Attributes:
        diffusion: The model; its parameters and state are what all methods take.
        dequantization: `noised()`, or `uniform` if the model was trained with such noise.
        divergence: `ode.hutchinson()`, or `ode.exact` where examples have few entries.
        rtol: Relative tolerance.
        atol: Absolute tolerance.

    Raises:
        ValueError: The data are real-valued, or the flow begins elsewhere than at noise.
    """

    diffusion: Denoising
    dequantization: Dequantization = dataclasses.field(default_factory=noised)
    divergence: Divergence = dataclasses.field(default_factory=ode.hutchinson)
    rtol: float = 1e-5
    atol: float = 1e-5

    def __post_init__(self) -> None:
        """Refuses data that have a density."""
        check_base(self.diffusion)
        _levels(self.spec)

    @property
    def spec(self) -> DataSpec:
        """What one example is."""
        return self.diffusion.spec

    @property
    def num_classes(self) -> int | None:
        """Number of labels that the model is conditional on; None for p(x)."""
        return self.diffusion.num_classes

    @property
    def likelihood_info(self) -> LikelihoodInfo:
        """What its likelihoods rest on."""
        own = getattr(self.diffusion, "preprocess", identity)  # FlowMatching has none
        real = own.describe(self.spec).num_levels is None
        return LikelihoodInfo(
            prepared=own.name if real else "dequantisation by noise",
            estimated="" if self.divergence is ode.exact else "divergence by probes",
        )

    @entry("num_samples")
    def log_prob_bound(
        self,
        params: Params,
        x: Array,
        key: Key,
        num_samples: int = 1,
        *,
        label: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """A lower bound of log P(x) `[B]`, in nats; with an estimated divergence, in the mean.

        By `ode.exact` it is importance-weighted, and rises with num_samples to log P(x). Weights
        that are themselves estimated would be too high in the mean: otherwise it is the mean of
        the draws' bounds.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]` of levels.
            key: What the noise and a random divergence are functions of.
            num_samples: Draws of the noise, taken one after the other.
            label: Of a conditional model, the labels `[B]`.
            state: The model's state.
        """
        check_examples(x, self.spec)
        check_num_samples(num_samples)

        def log_weight(k: Array) -> Array:
            key_x, key_v, key_e = jax.random.split(jax.random.fold_in(key, k), 3)
            v, log_weight, smallest = self._dequantized(x, key_x, key_v)
            return log_weight + density(self, params, v, key_e, label, state, smallest)

        if self.divergence is ode.exact:
            bound = log_mean_weight(log_weight, num_samples, x.shape[0])
        else:
            bound = jnp.mean(jax.lax.map(log_weight, jnp.arange(num_samples)), axis=0)
        return of_data(bound, x, self.spec)

    def _dequantized(self, x: Array, key_x: Key, key_v: Key) -> tuple[Array, Array | float, float]:
        """Values that have a density, what their log p is to be raised by, and the ODE's start."""
        preprocess = getattr(self.diffusion, "preprocess", identity)  # FlowMatching has none
        x, spec = preprocess.apply(x, key_x, self.spec), preprocess.describe(self.spec)
        if spec.num_levels is None:
            return x, preprocess.log_volume(self.spec), uniform.smallest(spec)
        return *self.dequantization.draw(x, key_v, spec), self.dequantization.smallest(spec)

    def sample(self, params: Params, key: Key, num: int, **options: Any) -> Array:
        """The diffusion's own samples; `sampler=ode.adaptive` draws them by the ODE."""
        return self.diffusion.sample(params, key, num, **options)


def _levels(spec: DataSpec) -> int:
    if spec.num_levels is None:
        raise ValueError(f"{spec.name} has real-valued entries and no levels: use ProbabilityFlow")
    return spec.num_levels
