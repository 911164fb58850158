"""Bias: finding the examples that are rare in a dataset, and training on them more often.

Rare examples are found without labels: their codes lie where few others do. `rarity` measures
that, `resample` makes a dataset in which rare examples come more often, and `fit_resampled` trains
with weights that follow the codes.

References:
    Amini et al. 2019, Uncovering and Mitigating Algorithmic Bias through Learned Latent Structure
    (DB-VAE).
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from genjax_models.core.protocols import Model, Representation
from genjax_models.core.types import Array, Batch, Params, State
from genjax_models.data.dataset import Dataset
from genjax_models.metrics.evaluate import encode
from genjax_models.metrics.map_dataset import ExampleFn, Examples, map_dataset
from genjax_models.training.fit import fit
from genjax_models.training.interrupts import Interrupted
from genjax_models.training.state import Optimizers, TrainState


class Histograms(NamedTuple):
    """Histograms of the codes of a dataset, one for each entry of a code.

    Attributes:
        edges: Edges of the bins, from the smallest value to the largest `[d, bins + 1]`.
        share: Share of the examples in each bin `[d, bins]`.
    """

    edges: np.ndarray
    share: np.ndarray

    def of(self, z: Any) -> np.ndarray:
        """Q_j(z_j), the share of the (nearest) bin of each entry `[N, d]`.

        Args:
            z: Codes `[N, d]`.
        """
        z, bins = np.asarray(z), self.share.shape[1]
        columns = [
            share[np.clip(np.searchsorted(edges, column, "right") - 1, 0, bins - 1)]
            for edges, share, column in zip(self.edges, self.share, z.T, strict=True)
        ]
        return np.stack(columns, axis=1)


def encode_dataset(
    model: Representation,
    params: Params,
    data: Examples,
    *,
    state: State | None = None,
    batch_size: int = 256,
    devices: int | None = None,
) -> np.ndarray:
    """Encodes every example of a dataset to a vector `[N, d]`.

    Args:
        model: A model with codes.
        params: Its parameters.
        data: The examples, with labels for a conditional model.
        state: The model's state.
        batch_size: Number of examples at a time.
        devices: Number of devices; None for all.
    """
    apply = map_dataset(model, _encoding(model), batch_size=batch_size, devices=devices)
    return apply((params, state or {}), jax.random.key(0), data)["z"]


@functools.lru_cache(maxsize=16)
def _encoding(model: Representation) -> ExampleFn:
    def fn(constants: Any, batch: Batch) -> dict[str, Array]:
        (params, state), key = constants
        z = encode(model, params, state, batch, key)
        return {"z": z.reshape(z.shape[0], -1)}

    return fn


def histograms(z: Any, bins: int = 10) -> Histograms:
    """Histogram of each entry of codes, in bins of equal width.

    Args:
        z: Codes `[N, d]` of real numbers.
        bins: Number of bins.

    Raises:
        ValueError: The codes are not finite vectors, or `bins` is below 1.
    """
    z = np.asarray(z, np.float64)
    if z.ndim != 2 or len(z) == 0 or not np.isfinite(z).all() or bins < 1:
        raise ValueError(
            f"codes have shape {z.shape}, and bins is {bins}: give finite codes [N, d], at least "
            "one, and at least 1 bin"
        )
    pairs = [np.histogram(column, bins) for column in z.T]
    edges, counts = np.stack([e for _, e in pairs]), np.stack([c for c, _ in pairs])
    return Histograms(edges, counts / len(z))


def rarity(z: Any, *, bins: int = 10, alpha: float = 0.1) -> np.ndarray:
    """Sampling weight of each example by its rarity: prod_j 1 / (Q_j(z_j) + alpha).

    Args:
        z: Codes of the whole dataset `[N, d]`.
        bins: Number of bins for each entry of a code.
        alpha: Smoothing, above 0. The smaller it is, the more rare examples gain; near 0, a few
            examples get nearly all of the weight.

    Returns:
        Weights `[N]` that sum to 1.

    Raises:
        ValueError: The codes are not finite vectors, or alpha is not positive.

    References:
        Amini et al. 2019, eq. 3-4, algorithm 1.
    """
    if not alpha > 0.0:
        raise ValueError(f"alpha is {alpha}: give a number above 0")
    log_weight = -np.log(histograms(z, bins).of(z) + alpha).sum(axis=1)
    weight = np.exp(log_weight - log_weight.max())
    return weight / weight.sum()


def effective_size(weights: Any) -> float:
    """Effective sample size of weighted examples: 1 / sum w^2, 1 .. N.

    Args:
        weights: Weights `[N]`, which sum to 1.

    References:
        Kish 1965, Survey Sampling.
    """
    return float(1.0 / np.sum(np.square(np.asarray(weights, np.float64))))


def resample(data: Dataset, weights: Any, seed: int = 0) -> Dataset:
    """Resamples a dataset to the same size, with replacement, by weights of the examples.

    Systematic resampling: example i comes floor(N w_i) or ceil(N w_i) times.

    Args:
        data: A dataset in memory.
        weights: Weight of each example, at least 0 `[N]`; they need not sum to 1.
        seed: Seed of the one random offset.

    Raises:
        ValueError: The dataset streams or is a text, or the weights are not as above.

    References:
        Kitagawa 1996, Monte Carlo Filter and Smoother for Non-Gaussian Nonlinear State Space
        Models, appendix.
    """
    weights = np.asarray(weights, np.float64)
    if data.arrays is None or data.window is not None:
        raise ValueError(
            f"{data.spec.name} is not a set of examples in memory: load it with in_memory=True"
        )
    if weights.shape != (len(data),) or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        raise ValueError(
            f"weights have shape {weights.shape} for {len(data)} examples of {data.spec.name}: "
            "give one finite number an example, none below 0 and not all of them 0"
        )
    ends = np.cumsum(weights / weights.sum())
    points = (np.arange(len(data)) + np.random.default_rng(seed).uniform()) / len(data)
    rows = np.minimum(np.searchsorted(ends, points, "right"), len(data) - 1)
    return dataclasses.replace(data, arrays={k: a[rows] for k, a in data.arrays.items()})


WeightsOf = Callable[[TrainState], Any]
"""`state -> [N]`: sampling weight of each example from now on."""


def by_rarity(
    model: Representation, data: Dataset, *, bins: int = 10, alpha: float = 0.1
) -> WeightsOf:
    """Makes a function that weighs examples by the rarity of their codes, with averaged parameters.

    Args:
        model: The model that is trained.
        data: The dataset that it is trained on.
        bins: See `rarity`.
        alpha: See `rarity`.
    """
    codes = map_dataset(model, _encoding(model))  # compiled once for all calls

    def weights(state: TrainState) -> np.ndarray:
        found = codes((state.ema, state.state), jax.random.key(0), data)
        return rarity(found["z"], bins=bins, alpha=alpha)

    return weights


def fit_resampled(
    model: Model,
    data: Dataset,
    optimizer: Optimizers,
    weights_of: WeightsOf,
    *,
    steps: int,
    every: int,
    seed: int = 0,
    **options: Any,
) -> TrainState:
    """Trains a model on a dataset that is resampled at intervals, by weights from the model itself.

    It is one run of `training.fit` that continues from its own checkpoint: parameters, their
    average, the optimizer and the noise are those of a single run. The first interval sees the data
    as they are.

    Args:
        model: The model, of a kind that `weights_of` accepts.
        data: A dataset in memory.
        optimizer: Optimizer, as for `fit`.
        weights_of: Function of the weights after every interval but the last (`by_rarity`).
        steps: Number of steps of the run.
        every: Number of steps of an interval.
        seed: Seed of the run and of the resampling.
        **options: Options of `fit` (`losses`, `batch_size`, `hooks`, `devices`), without
            checkpoints.

    Returns:
        The state after the last step.

    Raises:
        ValueError: `fit` or `resample` refuses the arguments, or an interval has no steps.
        KeyboardInterrupt: Ctrl-C was pressed; nothing is kept.
    """
    if every < 1:
        raise ValueError(f"every is {every}: a stretch has at least 1 step")
    with tempfile.TemporaryDirectory() as folder:
        kept = {"checkpoint_dir": folder, "checkpoint_every": steps, "max_to_keep": 1}
        kept["same_data"] = False  # each stretch draws its own

        def go_on(seen: Dataset, end: int) -> TrainState:
            try:
                return fit(model, seen, optimizer, steps=end, seed=seed, **kept, **options)
            except Interrupted as stop:  # its folder goes with this function
                said = f"interrupted at step {stop.step} of {steps}: nothing of the run is kept"
                raise KeyboardInterrupt(said) from None

        state = go_on(data, min(every, steps))
        for end in range(2 * every, steps + every, every):
            state = go_on(resample(data, weights_of(state), seed + end), min(end, steps))
    return state
