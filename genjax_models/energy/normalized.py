"""Energy-based models with an estimate of log Z: densities in nats."""

from __future__ import annotations

from typing import Any

import jax

from genjax_models.core.conditions import check_examples
from genjax_models.core.dequantization import SYMMETRIC
from genjax_models.core.distributions import log_mean_weight
from genjax_models.core.entry import entry
from genjax_models.core.preprocess import of_data
from genjax_models.core.protocols import LikelihoodInfo
from genjax_models.core.types import Array, DataSpec, Key, Params, State
from genjax_models.core.values import value
from genjax_models.energy import annealing
from genjax_models.energy.annealing import LogPartition
from genjax_models.energy.energy_model import EnergyModel
from genjax_models.energy.mcmc import HMC, Kernel

DEFAULT_KERNEL = HMC(step_size=0.1, num_integration_steps=5)
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
    """Estimates a model's log Z by annealed importance sampling from its reference.

    Step sizes are tuned first, on a few other chains.

    Args:
        model: The model.
        params: The model's parameters.
        key: PRNG key.
        num: Number of chains.
        betas: Increasing values from 0 to 1 `[T + 1]`; `annealing.sigmoidal(200)` if None.
        kernel: One step of a chain, with the first step size.
        steps: Number of steps at each beta.
        state: The model's state.
    """
    key_base, key_tune, key_run = jax.random.split(key, 3)
    betas = annealing.sigmoidal(200) if betas is None else betas
    path, shape = model.annealing_path(params, state), model.spec.shape
    key_first, key_v = jax.random.split(key_base)
    first = model.reference.sample(key_first, (min(num, TUNING_CHAINS), *shape))
    v = model.reference.sample(key_v, (num, *shape))
    sizes = annealing.tune_step_sizes(kernel, path, betas, first, key_tune, steps=steps)
    samples = annealing.anneal(kernel, path, betas, v, key_run, steps=steps, step_sizes=sizes)
    return LogPartition.of_weights(samples.log_weight)


@value
class Normalized:
    """An energy-based model of real-valued data with its log Z: a density.

    Attributes:
        model: The model; all methods take its parameters and state.
        log_z: Its log Z, in nats (`log_partition`); an error in it is an error of `log_prob`.
        standard_error: Standard error of log Z, in nats, to report beside likelihoods.

    Raises:
        ValueError: The data are discrete.
    """

    model: EnergyModel
    log_z: float
    standard_error: float = 0.0

    def __post_init__(self) -> None:
        """Checks that the data are real-valued."""
        if self.spec.num_levels is not None:
            raise ValueError(f"{self.spec.name} has discrete entries: use NormalizedDiscrete")

    @property
    def spec(self) -> DataSpec:
        """Description of one example."""
        return self.model.spec

    @property
    def likelihood_info(self) -> LikelihoodInfo:
        """How the likelihoods are computed: with an estimated log Z."""
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
        """Draws samples of the model."""
        return self.model.sample(params, key, num, **options)


@value
class NormalizedDiscrete:
    """An energy-based model of discrete data with its log Z: a bound of the log-probability.

    Attributes:
        model: The model; all methods take its parameters and state.
        log_z: Its log Z, in nats (`log_partition`); an error in it is an error of the bound.
        standard_error: Standard error of log Z, in nats, to report beside likelihoods.

    Raises:
        ValueError: The data are real-valued.
    """

    model: EnergyModel
    log_z: float
    standard_error: float = 0.0

    def __post_init__(self) -> None:
        """Checks that the data are discrete."""
        if self.spec.num_levels is None:
            raise ValueError(f"{self.spec.name} has real-valued entries: use Normalized")

    @property
    def spec(self) -> DataSpec:
        """Description of one example."""
        return self.model.spec

    @property
    def likelihood_info(self) -> LikelihoodInfo:
        """How the likelihoods are computed: a bound with an estimated log Z."""
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
        """A lower bound of log P(x) `[B]`, in nats, by `num_samples` uniform dequantisations."""
        check_examples(x, self.spec)

        def log_weight(k: Array) -> Array:
            v = SYMMETRIC.dequantize(x, jax.random.fold_in(key, k), self.spec)
            return self.model.log_density(params, v, state=state) - self.log_z

        bound = log_mean_weight(log_weight, num_samples, x.shape[0])
        return of_data(bound + SYMMETRIC.log_volume(self.spec), x, self.spec)

    def sample(self, params: Params, key: Key, num: int, **options: Any) -> Array:
        """Draws samples of the model."""
        return self.model.sample(params, key, num, **options)
