"""An energy-based model with its log Z: a density in nats, which joins the comparison."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from genjax_models.core.bounds import log_mean_weight
from genjax_models.core.conditions import check_examples
from genjax_models.core.entry import entry
from genjax_models.core.preprocess import of_data
from genjax_models.core.protocols import LikelihoodInfo
from genjax_models.core.types import Array, DataSpec, Key, Params, State
from genjax_models.energy import annealing, cells
from genjax_models.energy.annealing import LogPartition
from genjax_models.energy.mcmc import HMC, Kernel
from genjax_models.energy.model import EnergyModel

DEFAULT_KERNEL = HMC(step_size=0.1, leapfrogs=5)
TUNING_CHAINS = 200


def log_partition(
    model: EnergyModel,
    params: Params,
    key: Key,
    *,
    num: int = 1000,
    betas: Array | None = None,
    kernel: Kernel = DEFAULT_KERNEL,
    steps: int = 1,
    state: State | None = None,
) -> LogPartition:
    """The log Z of a model by annealed importance sampling from its reference, with an error bar.

    Step sizes are tuned first, on a few chains of their own.

    Args:
        model: The model.
        params: Its parameters.
        key: What the chains are a function of.
        num: Number of chains.
        betas: From 0 to 1 `[T + 1]`; 200 steps of `annealing.sigmoidal` where None.
        kernel: One step of a chain, and its first step size.
        steps: Steps at each beta.
        state: The model's state.
    """
    key_base, key_tune, key_run = jax.random.split(key, 3)
    betas = annealing.sigmoidal(200) if betas is None else betas
    path, shape = model.path(params, state), model.spec.shape
    key_first, key_v = jax.random.split(key_base)
    first = model.reference.sample(key_first, (min(num, TUNING_CHAINS), *shape))
    v = model.reference.sample(key_v, (num, *shape))
    sizes = annealing.tuned_step_sizes(kernel, path, betas, first, key_tune, steps=steps)
    done = annealing.anneal(kernel, path, betas, v, key_run, steps=steps, step_sizes=sizes)
    return annealing.log_partition(done.log_weight)


@dataclasses.dataclass(frozen=True)
class Normalized:
    """An energy-based model of real-valued data whose log Z is known, or well estimated.

    Attributes:
        model: The model; its parameters and state are what all methods take.
        log_z: Its log Z, in nats (`log_partition`). Its error is log_prob's own.
        standard_error: The error of log Z, in nats, to stand beside likelihoods.

    Raises:
        ValueError: The data have levels.
    """

    model: EnergyModel
    log_z: float
    standard_error: float = 0.0

    def __post_init__(self) -> None:
        """Refuses data that have no density."""
        if self.spec.levels is not None:
            raise ValueError(f"{self.spec.name} has discrete entries: use NormalizedLevels")

    @property
    def spec(self) -> DataSpec:
        """What one example is."""
        return self.model.spec

    @property
    def likelihood_info(self) -> LikelihoodInfo:
        """What its likelihoods rest on."""
        return LikelihoodInfo(estimated="log Z", standard_error=self.standard_error)

    @entry()
    def log_prob(
        self,
        params: Params,
        x: Array,
        *,
        key: Key | None = None,
        state: State | None = None,
        **condition: Any,
    ) -> Array:
        """The log density -E(x) - log Z `[B]` of examples `[B, *shape]`, in nats."""
        del key
        return -self.model.energy(params, x, state=state, **condition) - self.log_z

    def sample(self, params: Params, key: Key, num: int, **options: Any) -> Array:
        """The model's own samples."""
        return self.model.sample(params, key, num, **options)


@dataclasses.dataclass(frozen=True)
class NormalizedLevels:
    """The same of data with levels: a bound of their log-probability.

    Attributes:
        model: The model; its parameters and state are what all methods take.
        log_z: Its log Z, in nats (`log_partition`). Its error is the bound's own.
        standard_error: The error of log Z, in nats, to stand beside likelihoods.

    Raises:
        ValueError: The data are real-valued.
    """

    model: EnergyModel
    log_z: float
    standard_error: float = 0.0

    def __post_init__(self) -> None:
        """Refuses data that have a density."""
        if self.spec.levels is None:
            raise ValueError(f"{self.spec.name} has real-valued entries: use Normalized")

    @property
    def spec(self) -> DataSpec:
        """What one example is."""
        return self.model.spec

    @property
    def likelihood_info(self) -> LikelihoodInfo:
        """What its likelihoods rest on."""
        return LikelihoodInfo(
            "uniform dequantisation", estimated="log Z", standard_error=self.standard_error
        )

    @entry("num_samples")
    def log_prob_bound(
        self,
        params: Params,
        x: Array,
        key: Key,
        num_samples: int = 1,
        *,
        state: State | None = None,
    ) -> Array:
        """A lower bound of log P(x) `[B]`, in nats, by points of x's cells; see `energy.cells`."""
        check_examples(x, self.spec)

        def log_weight(k: Array) -> Array:
            v = cells.points(x, jax.random.fold_in(key, k), self.spec)
            return self.model.log_density(params, v, state=state) - self.log_z

        bound = log_mean_weight(log_weight, num_samples, x.shape[0])
        return of_data(bound + cells.log_volume(self.spec), x, self.spec)

    def sample(self, params: Params, key: Key, num: int, **options: Any) -> Array:
        """The model's own samples."""
        return self.model.sample(params, key, num, **options)
