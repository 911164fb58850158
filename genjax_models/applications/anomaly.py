"""Anomaly detection: scores of examples, higher for those that are less like the training data.

`default_scores` lists the scores that a model's Protocols allow, and `score` computes them over a
dataset. Other scores are functions of arrays: `typicality` and `likelihood_ratio` of likelihoods,
and `sample_distance` of examples and a model's samples, which is the only one for an implicit
model.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.core.protocols import Model
from genjax_models.core.types import Array, Batch, Key, Params, State
from genjax_models.metrics.evaluate import default_metrics
from genjax_models.metrics.map_dataset import Examples, Metric, combine, map_dataset

_NEIGHBOURS_AT_ONCE = 256


def default_scores(model: Model, num_samples: int = 1) -> dict[str, Metric]:
    """Scores of one example that a model's Protocols allow, by name.

    `nll` is -log p(x) in nats, exact or an upper bound. `reconstruction_error` is the mean squared
    difference between an example and its reconstruction, in units where the data span [0, 1]; it
    says nothing where the code keeps everything (a flow's). `energy` is E(x).

    A conditional model is evaluated for every label, since an anomaly has none of them:
    -log (1/K) sum_y p(x | y), and the smallest of the errors.

    Args:
        model: The model.
        num_samples: Number of samples for each example's likelihood bound.

    Returns:
        Name -> `(params, state, batch, key) -> [B]`; empty for a model that can only be sampled.

    References:
        Bishop 1994, Novelty detection and neural network validation.
    """
    scores = default_metrics(model, num_samples)
    num_classes = getattr(model, "num_classes", None)
    if num_classes is None:
        return scores
    combined = {"nll": _mean_density, "reconstruction_error": _smallest}
    return {
        name: _over_labels(score, num_classes, combined[name]) if name in combined else score
        for name, score in scores.items()
    }


def score(
    model: Model,
    params: Params,
    data: Examples,
    key: Key,
    scores: Mapping[str, Metric] | None = None,
    *,
    state: State | None = None,
    batch_size: int = 256,
    devices: int | None = None,
) -> dict[str, np.ndarray]:
    """Scores every example of a dataset.

    Args:
        model: Model of the normal examples.
        params: Its parameters, usually `train_state.ema`.
        data: Examples, of the model's shape and levels.
        key: PRNG key of stochastic scores.
        scores: Name -> score; by default `default_scores(model)`.
        state: The model's state.
        batch_size: Number of examples at a time.
        devices: Number of devices; None for all.

    Returns:
        Name -> `[N]`, higher for more anomalous examples.

    Raises:
        ValueError: The examples do not have the model's shape and levels, or there is no score.
    """
    scores = default_scores(model) if scores is None else scores
    if not scores:
        raise ValueError(
            "the model can only be sampled, and cannot score an example: use sample_distance "
            "with samples of it, or give scores={name: function}"
        )
    apply = map_dataset(model, combine(scores), batch_size=batch_size, devices=devices)
    return apply((params, state or {}), key, data)


def typicality(nll: Any, expected: float) -> np.ndarray:
    """Distance of a likelihood from its mean over the training data: |-log p(x) - E[-log p]|.

    An example may be too likely to be typical, as a plain image is under a high-dimensional
    density.

    Args:
        nll: -log p(x) of examples `[N]`, in nats.
        expected: Mean of -log p(x) over the training data, an estimate of the entropy.

    Returns:
        `[N]`, in nats.

    References:
        Nalisnick et al. 2019, Detecting Out-of-Distribution Inputs to Deep Generative Models Using
        Typicality, arXiv:1906.02994, eq. 5 (M = 1).
    """
    return np.abs(np.asarray(nll, np.float64) - expected)


def likelihood_ratio(nll: Any, background: Any) -> np.ndarray:
    """Likelihood ratio log p_background(x) - log p(x), in which plainness alone cancels.

    Args:
        nll: -log p(x) of examples under the model `[N]`, in nats.
        background: -log p(x) under a model of what all images share (one trained on perturbed
            data), or their length under a compressor (`complexity`) `[N]`, in nats.

    Returns:
        `[N]`, in nats.

    References:
        Ren et al. 2019, Likelihood Ratios for Out-of-Distribution Detection, arXiv:1906.02845, eq.
        3; Serrà et al. 2020, Input Complexity and Out-of-distribution Detection, arXiv:1909.11480,
        eq. 1.
    """
    return np.asarray(nll, np.float64) - np.asarray(background, np.float64)


def deflate(data: bytes) -> bytes:
    """Compresses bytes as densely as zlib can, by the method of PNG files."""
    return zlib.compress(data, 9)


def complexity(
    x: Any, num_levels: int = 256, compress: Callable[[bytes], bytes] = deflate
) -> np.ndarray:
    """Length of each example under a general compressor, in nats.

    Args:
        x: Examples as the model sees them, integers 0 .. num_levels - 1 `[N, ...]`.
        num_levels: Number of levels of an entry, at most 256. Entries of two levels are packed
            eight to a byte, so that a compressor of bytes sees their patterns.
        compress: The compressor, from bytes to bytes.

    Returns:
        Lengths `[N]` in nats, 8 ln 2 a byte.

    Raises:
        ValueError: The examples are not integers in that range, or there are none.
    """
    x = np.asarray(x)
    if not x.size:
        raise ValueError(f"the examples have shape {x.shape}: give at least one")
    if x.dtype.kind not in "iub" or num_levels > 256 or x.min() < 0 or x.max() >= num_levels:
        raise ValueError(
            f"the examples are {x.dtype}, {x.min()} .. {x.max()}: a compressor takes integers 0 .. "
            f"{min(num_levels, 256) - 1}, as the model sees them"
        )
    rows = x.reshape(len(x), -1).astype(np.uint8)
    rows = np.packbits(rows, axis=1) if num_levels == 2 else rows
    return 8.0 * math.log(2.0) * np.array([len(compress(row.tobytes())) for row in rows])


def sample_distance(x: Any, samples: Any, neighbour: int = 1) -> np.ndarray:
    """Distance of each example's direction to those of a model's samples.

    |u(x) - u(s_k)| with u(a) = a / |a| and s_k the k-th nearest sample. Without lengths, faint
    examples are not near everything.

    Args:
        x: Examples, or their features `[N, ...]`.
        samples: Samples of a model, or their features `[M, ...]`.
        neighbour: The neighbour k to which the distance is taken, at least 1.

    Returns:
        Distances `[N]`, 0 .. 2.

    Raises:
        ValueError: The shapes differ, values are NaN, or there are fewer than `neighbour` samples.

    References:
        Sun et al. 2022, Out-of-Distribution Detection with Deep Nearest Neighbors,
        arXiv:2204.06507, sec. 3, with samples in place of the training data.
    """
    x, samples = np.asarray(x), np.asarray(samples)
    if x.shape[1:] != samples.shape[1:] or not len(x):
        raise ValueError(
            f"{len(x)} examples have shape {x.shape[1:]}, and samples {samples.shape[1:]}: give at "
            "least one, of the samples' shape"
        )
    if np.isnan(np.sum(x, dtype=np.float64)) or np.isnan(np.sum(samples, dtype=np.float64)):
        raise ValueError("examples or samples hold NaN: look at them, or leave those rows out")
    if not 1 <= neighbour <= len(samples):
        raise ValueError(
            f"neighbour is {neighbour}, and there are {len(samples)} samples: give 1 .. "
            f"{len(samples)}"
        )
    u, v = _directions(x), _directions(samples)
    parts = []
    for i in range(0, len(u), _NEIGHBOURS_AT_ONCE):
        cosine = np.partition(u[i : i + _NEIGHBOURS_AT_ONCE] @ v.T, -neighbour, axis=1)
        parts.append(np.sqrt(np.maximum(2.0 - 2.0 * cosine[:, -neighbour], 0.0)))
    return np.concatenate(parts)


def _directions(x: np.ndarray) -> np.ndarray:
    x = x.reshape(len(x), -1).astype(np.float32)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _over_labels(score: Metric, num_classes: int, combine: Callable[[Array], Array]) -> Metric:
    """Scores p(x | label) for every label in turn, and combines the scores `[K, B] -> [B]`."""

    def over(params: Params, state: State, batch: Batch, key: Key) -> Array:
        def given(label: Array) -> Array:
            labels = jnp.full(batch["x"].shape[:1], label, jnp.int32)
            return score(params, state, {**batch, "label": labels}, key)

        return combine(jax.lax.map(given, jnp.arange(num_classes)))

    return over


def _mean_density(nll: Array) -> Array:
    return math.log(nll.shape[0]) - jax.nn.logsumexp(-nll, axis=0)


def _smallest(error: Array) -> Array:
    return jnp.min(error, axis=0)
