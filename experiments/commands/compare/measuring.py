"""The ruler: what is measured of every trained model, in the same way whatever its family."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.measures.energy import FEWEST_EFFECTIVE
from experiments.runner import runs
from experiments.runner.experiment import Setup
from genjax_models import energy
from genjax_models.core import ApproximateDensity, TractableDensity, UnnormalizedDensity
from genjax_models.metrics import (
    bits_per_dim,
    compare_samples,
    default_metrics,
    evaluate_likelihood,
    frechet_distance,
)
from genjax_models.training.devices import sampler

if TYPE_CHECKING:
    from genjax_models.core import Params, State
    from genjax_models.data import Dataset
    from genjax_models.metrics import Extractor
    from genjax_models.training import TrainState

CHUNK = 250
"""Samples that are drawn at a time."""
LOOK_SAMPLES, LOOK_EXAMPLES = 250, 500
"""Samples and validation examples of the figures that are watched during training."""
LOOK_KEY = 0x6C6F6F6B
NORMAL_95 = 1.96
BOUND_POINTS = 100
"""Points of a cell in the bound of a discrete example's probability, of an unnormalised density."""


class Measured(NamedTuple):
    """A number with where it lies with 95 % confidence, and what it is.

    Attributes:
        value: The number; None where it is not known, and `kind` says why.
        low: The interval's lower end; None where no sound interval is known.
        high: Its upper end.
        kind: Kind of the number: exact, a bound, an estimate.
    """

    value: float | None
    low: float | None
    high: float | None
    kind: str


class Drawing(NamedTuple):
    """Samples, and how long they took.

    Attributes:
        samples: `[num, *shape]`, in the data's units.
        milliseconds: A sample, for each chunk that was drawn.
        compile_seconds: Time that the first chunk took longer than others.
    """

    samples: np.ndarray
    milliseconds: list[float]
    compile_seconds: float


class Sampler:
    """Draws from states of one model, compiled once."""

    def __init__(self, setup: Setup, chunk: int, devices: int | None = None) -> None:
        """Makes it.

        Args:
            setup: The model, which is conditional on nothing, and how it is sampled.
            chunk: Samples at a time.
            devices: Number of devices that draw them; all if None.
        """
        size = devices or jax.device_count()
        self.chunk = -(-chunk // size) * size  # each device draws as many

        def sample(learned: tuple[Params, State], key: jax.Array) -> jax.Array:
            params, state = learned
            return setup.model.sample(params, key, self.chunk, state=state, **setup.sampling)

        self._draw = sampler(sample, devices)
        self._first_seconds: float | None = None  # compiling included

    def __call__(self, params: Params, state: State, key: jax.Array, num: int) -> np.ndarray:
        """`num` samples `[num, *shape]`, a function of the key."""
        parts = [self._one(params, state, key, i)[0] for i in range(-(-num // self.chunk))]
        return np.concatenate(parts)[:num]

    def timed(self, params: Params, state: State, key: jax.Array, num: int) -> Drawing:
        """The same, and how long they took."""
        if self._first_seconds is None:
            self._one(params, state, key, 0)  # compiles
        drawn = [self._one(params, state, key, i) for i in range(-(-num // self.chunk))]
        seconds = [taken for _, taken in drawn]
        compiling = max(0.0, (self._first_seconds or 0.0) - statistics.median(seconds))
        samples = np.concatenate([x for x, _ in drawn])[:num]
        return Drawing(samples, [1000 * s / self.chunk for s in seconds], compiling)

    def _one(
        self, params: Params, state: State, key: jax.Array, index: int
    ) -> tuple[np.ndarray, float]:
        """A chunk, and the seconds that it took."""
        began = time.perf_counter()
        x = np.asarray(self._draw((params, state), jax.random.fold_in(key, index)))
        seconds = time.perf_counter() - began
        if self._first_seconds is None:
            self._first_seconds = seconds
        return x, seconds


def num_parameters(params: Params) -> int:
    """The number of trained numbers, of all players."""
    return sum(a.size for a in jax.tree.leaves(params))


def likelihood(
    run: runs.Run, data: Dataset, num_samples: int, annealing: tuple[int, int] | None, seed: int
) -> Measured:
    """Bits/dim of a split, by what the model's Protocols allow.

    Args:
        run: The run.
        data: The split.
        num_samples: Samples an example, of a bound.
        annealing: Steps and chains, of an unnormalised density.
        seed: Decides the noise.
    """
    model: Any = run.setup.model
    if isinstance(model, TractableDensity | ApproximateDensity):
        kind = "exact" if isinstance(model, TractableDensity) else f"bound, {num_samples} samples"
        return _bits(model, run, data, num_samples, kind.replace("1 samples", "1 sample"), seed)
    if not isinstance(model, UnnormalizedDensity) or annealing is None:
        return Measured(None, None, None, "none: the model has no density")
    steps, chains = annealing
    unnormalized: Any = model

    @jax.jit
    def log_partition(params: Params, state: State, key: jax.Array) -> energy.LogPartition:
        betas = energy.sigmoidal(steps)
        return energy.log_partition(unnormalized, params, key, num=chains, betas=betas, state=state)

    found = log_partition(run.params, run.state.state, jax.random.key(seed))
    size = float(found.effective_sample_size)
    if size < FEWEST_EFFECTIVE:
        why = f"not known: annealing of log Z rests on {size:.0f} of its {chains} chains"
        return Measured(None, None, None, why)
    density = energy.NormalizedDiscrete(
        unnormalized, float(found.value), float(found.standard_error)
    )
    kind = f"estimate, annealing with {size:.0f} effective chains of {chains}"
    return _bits(density, run, data, BOUND_POINTS, kind, seed)


def _bits(
    model: Any, run: runs.Run, data: Dataset, num_samples: int, kind: str, seed: int
) -> Measured:
    """The mean over the split with its interval."""
    stated = evaluate_likelihood(
        model,
        run.params,
        data,
        jax.random.key(seed),
        state=run.state.state,
        num_samples=num_samples,
        batch_size=min(run.record.config.evaluation.batch_size, len(data)),
        devices=run.record.config.devices,
    )
    low, value, high = (
        bits_per_dim(stated.nats + sign * NORMAL_95 * stated.standard_error, run.record.spec)
        for sign in (-1, 0, 1)
    )
    return Measured(value, low, high, kind)


def distances(
    extractor: Extractor, samples: np.ndarray, data: Dataset, seed: int
) -> dict[str, Measured]:
    """Compares samples with the examples of a split, in an extractor's features."""
    found = compare_samples(extractor, samples, of(data), key=jax.random.key(seed))
    return {
        name: Measured(figure.value, *(figure.interval or (None, None)), str(figure))
        for name, figure in found.items()
    }


def of(data: Dataset) -> np.ndarray:
    """All examples of a split."""
    return data.rows(np.arange(len(data)))["x"]


def looker(
    setup: Setup, sample: Sampler, extractor: Extractor, data: Dataset, batch_size: int
) -> Callable[[TrainState], Mapping[str, float]]:
    """The figures that are watched during training, of averaged parameters and held-back data.

    Bits/dim, exact or by the bound of one sample, where the model has them, and the Fréchet
    distance of samples, which every model has. The noise is the same at every look.

    Args:
        setup: The model.
        sample: Draws samples of it.
        extractor: Extractor of features.
        data: The held-back data.
        batch_size: Examples evaluated at once.
    """
    x = of(data)[:LOOK_EXAMPLES]
    features, key = extractor.features(x), jax.random.key(LOOK_KEY)
    # The same noise for the examples of each batch.
    nll = default_metrics(setup.model).get("nll")
    bits = None if nll is None else jax.jit(lambda p, s, x: nll(p, s, {"x": x}, key))
    size = min(batch_size, len(x))
    batches = [jnp.asarray(x[i : i + size]) for i in range(0, len(x) - size + 1, size)]

    def look(state: TrainState) -> dict[str, float]:
        seen = {}
        if bits is not None:
            nats = np.mean([np.mean(bits(state.ema, state.state, b)) for b in batches])
            seen["bits_per_dim"] = bits_per_dim(float(nats), setup.model.spec)
        drawn = sample(state.ema, state.state, key, LOOK_SAMPLES)
        seen["frechet_distance"] = frechet_distance(
            extractor.features(drawn), features, groups=None
        ).value
        return seen

    return look


def without_measures(setup: Setup) -> Setup:
    """The setup whose run is not measured by its experiment's own figures: that is done here."""
    return dataclasses.replace(setup, measures=())
