"""Evaluation: metrics of a model over a dataset, and of samples compared with real examples.

`evaluate` and `evaluate_likelihood` measure a model by what its Protocols allow; `compare_samples`
measures samples in an extractor's features.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.core.conditions import check_params, checked_key, labels_of
from genjax_models.core.distributions import check_num_samples
from genjax_models.core.protocols import (
    ApproximateDensity,
    Model,
    Representation,
    TractableDensity,
    UnnormalizedDensity,
)
from genjax_models.core.types import Array, Batch, DataSpec, Key, Params, State
from genjax_models.data import tokenizers
from genjax_models.metrics import text
from genjax_models.metrics.features import ClassifyingExtractor, Extractor
from genjax_models.metrics.figure import Figure
from genjax_models.metrics.frechet import frechet_distance
from genjax_models.metrics.inception import inception_score
from genjax_models.metrics.kernel import mmd
from genjax_models.metrics.likelihood import (
    LikelihoodStatement,
    bits_per_dim,
    likelihood_kind,
    shared_error,
)
from genjax_models.metrics.map_dataset import (
    Examples,
    Metric,
    combine,
    map_dataset,
    progress,
    round_up_to_devices,
)
from genjax_models.metrics.prdc import prdc


def evaluate(
    model: Model,
    params: Params,
    dataset: Examples,
    key: Key,
    metrics: Mapping[str, Metric] | None = None,
    *,
    state: State | None = None,
    num_samples: int = 1,
    batch_size: int = 256,
    devices: int | None = None,
) -> dict[str, float]:
    """Averages metrics of single examples over a dataset.

    Args:
        model: The model.
        params: Its parameters, usually `train_state.ema`.
        dataset: The dataset; every example counts once.
        key: PRNG key of stochastic metrics.
        metrics: Name -> metric; by default those that the model's Protocols allow.
        state: The model's state, `train_state.state`.
        num_samples: Number of samples for each example's likelihood bound, at least 1.
        batch_size: Number of examples at a time.
        devices: Number of devices; None for all.

    Returns:
        Name -> mean. It is the same, up to rounding, for any batch size and number of devices:
        noise depends on the key and an example's number alone. By default,

        - `nll`: -log p(x) of an example in nats, exact or an upper bound (`likelihood_kind`);
        - `bits_per_dim`: the same in bits an entry, for discrete data;
        - `reconstruction_error`: squared difference between an example and its reconstruction, the
          mean over entries, in units where the data span [0, 1];
        - `energy`: E(x) in nats, which cannot be compared between models;
        - of text, `nats_per_token`, `perplexity` and `bits_per_character`, over windows that do not
          overlap, each without the text before it. (With all the text before each token, the
          figures would be lower.)

    Raises:
        ValueError: The dataset is empty or not of the model's spec (another shape or other levels,
            values outside them or not finite, labels that are no classes), or num_samples is below
            1.
    """
    metrics = default_metrics(model, num_samples) if metrics is None else metrics
    if not metrics:
        return {}
    values, length = _measured(model, params, state, dataset, key, metrics, batch_size, devices)
    result = {name: float(np.mean(rows, dtype=np.float64)) for name, rows in values.items()}
    if "nll" in result:
        result |= _in_other_units(result["nll"], dataset.spec, length)
    return result


def evaluate_likelihood(
    model: Model,
    params: Params,
    dataset: Examples,
    key: Key,
    *,
    state: State | None = None,
    num_samples: int = 1,
    batch_size: int = 256,
    devices: int | None = None,
) -> LikelihoodStatement:
    """Computes a model's likelihood of a dataset, with its standard error and its kind.

    Args:
        model: The model.
        params: Its parameters, usually `train_state.ema`.
        dataset: The dataset; every example counts once.
        key: PRNG key of a bound's samples.
        state: The model's state, `train_state.state`.
        num_samples: Number of samples for each example's likelihood bound, at least 1.
        batch_size: Number of examples at a time.
        devices: Number of devices; None for all.

    Returns:
        The likelihood. Its standard error is infinite for a single example, or where the
        likelihood is not finite.

    Raises:
        ValueError: The model has no likelihood, or `evaluate` would refuse the arguments.
    """
    kind, metrics = likelihood_kind(model, num_samples), default_metrics(model, num_samples)
    if kind is None:
        raise ValueError(f"a {type(model).__name__} has no likelihood: use compare_samples")
    nll = {"nll": metrics["nll"]}
    values, _ = _measured(model, params, state, dataset, key, nll, batch_size, devices)
    nats = values["nll"].astype(np.float64)
    mean, num = float(np.mean(nats)), len(nats)
    known = num > 1 and math.isfinite(mean)
    spread = float(np.std(nats, ddof=1)) / math.sqrt(num) if known else math.inf
    error = math.hypot(spread, shared_error(model))
    return LikelihoodStatement(mean, error, num, kind, dataset.spec)


def compare_samples(
    extractor: Extractor,
    samples: Any,
    reference: Any,
    *,
    key: Key | None = None,
    on_error: Callable[[str, ValueError], None] | None = None,
) -> dict[str, Figure]:
    """Compares samples with real examples by all metrics of features, in one pass of each set.

    Figures of other numbers of samples, or of another extractor, cannot be compared with these.

    Args:
        extractor: Extractor of the features, and of logits if it is a `ClassifyingExtractor`.
        samples: Samples of a model `[N, ...]`.
        reference: Real examples `[M, ...]`, usually of the test split.
        key: PRNG key of the jackknife's groups; by default a fixed one.
        on_error: Called with the name of a metric that fails, for too few samples for example,
            and its error; the others are still returned. None raises the error.

    Returns:
        `frechet_distance`, squared; `kernel_distance`, the KID from all pairs (`mmd`); `precision`,
        `recall`, `density` and `coverage` with 5 neighbours (`prdc`); and, of a
        `ClassifyingExtractor`, `inception_score` over 10 splits.

    Raises:
        ValueError: The extractor refuses the examples, or there are too few of either. A little
            more samples are needed than there are features.
    """
    key = jax.random.key(0) if key is None else key
    # In random order: what is sorted by class would make groups that differ too much.
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    samples, reference = (rng.permutation(np.asarray(a)) for a in (samples, reference))
    logits = None
    if isinstance(extractor, ClassifyingExtractor):
        x, logits = extractor.read(samples)
    else:
        x = extractor.features(samples)
    y, name = extractor.features(reference), extractor.name
    metrics: dict[str, Callable[[], Mapping[str, Figure]]] = {
        "frechet_distance": lambda: {"frechet_distance": frechet_distance(x, y, extractor=name)},
        "kernel_distance": lambda: {"kernel_distance": mmd(x, y, extractor=name)},
        "prdc": lambda: prdc(x, y, extractor=name)._asdict(),
    }
    if logits is not None:
        metrics["inception_score"] = lambda: {
            "inception_score": inception_score(logits, extractor=name)
        }
    figures: dict[str, Figure] = {}
    for metric, compute in metrics.items():
        try:
            figures |= compute()
        except ValueError as error:
            if on_error is None:
                raise
            on_error(metric, error)
    return figures


def _measured(
    model: Model,
    params: Params,
    state: State | None,
    dataset: Examples,
    key: Key,
    metrics: Mapping[str, Metric],
    batch_size: int,
    devices: int | None,
) -> tuple[dict[str, np.ndarray], _Length]:
    """Each metric of every example `[N]`, and how much data was measured."""
    check_params(params)
    key = checked_key(key)
    length = _Length()
    batch_size = round_up_to_devices(batch_size, devices)
    with progress(_num_batches(dataset, batch_size), "evaluating") as advance:

        def on_batch(batch: Mapping[str, np.ndarray]) -> None:
            length.add(np.asarray(batch["x"]), dataset.spec)
            advance()

        options = {"batch_size": batch_size, "devices": devices, "on_batch": on_batch}
        apply = map_dataset(model, combine(metrics), **options)
        return apply((params, state or {}), key, dataset), length


def _num_batches(dataset: Any, batch_size: int) -> int | None:
    """Number of batches; None for a dataset that does not know its length."""
    if not hasattr(dataset, "__len__"):
        return None
    return math.ceil(math.ceil(len(dataset) / (getattr(dataset, "window", None) or 1)) / batch_size)


@dataclasses.dataclass
class _Length:
    """Amount of data that was measured; of text, also in tokens and characters."""

    examples: int = 0
    tokens: int = 0
    characters: int = 0

    def add(self, x: np.ndarray, spec: DataSpec) -> None:
        self.examples += len(x)
        if spec.vocabulary:
            self.tokens += x.size
            self.characters += tokenizers.num_characters(tokenizers.of(spec), x)


def _in_other_units(nll: float, spec: DataSpec, length: _Length) -> dict[str, float]:
    """A likelihood of `nll` nats an example, in the usual units of its kind of data."""
    if not spec.vocabulary:
        return {} if spec.num_levels is None else {"bits_per_dim": bits_per_dim(nll, spec)}
    total = nll * length.examples
    units = {
        "nats_per_token": text.nats_per_token(total, length.tokens),
        "perplexity": text.perplexity(total, length.tokens),
    }
    if length.characters:  # a few bytes may hold none
        units["bits_per_character"] = text.bits_per_character(total, length.characters)
    return units


def default_metrics(model: Model, num_samples: int = 1) -> dict[str, Metric]:
    """Metrics that a model's Protocols allow, by name; equal models get the same functions.

    Raises:
        ValueError: num_samples is below 1.
    """
    check_num_samples(num_samples)
    try:
        hash(model)
    except TypeError:  # it holds arrays, say, and is compiled anew each time
        return _allowed_by(model, num_samples)
    return dict(_allowed_by_known(model, num_samples))


def _allowed_by(model: Model, num_samples: int) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {}
    if isinstance(model, TractableDensity):
        metrics["nll"] = lambda params, state, batch, key: (
            -model.log_prob(params, batch["x"], key=key, state=state, **conditions(model, batch))
        )
    elif isinstance(model, ApproximateDensity):
        metrics["nll"] = lambda params, state, batch, key: (
            -model.log_prob_bound(
                params, batch["x"], key, num_samples, state=state, **conditions(model, batch)
            )
        )
    if isinstance(model, UnnormalizedDensity):
        metrics["energy"] = lambda params, state, batch, key: model.energy(
            params, batch["x"], state=state
        )
    if isinstance(model, Representation):
        metrics["reconstruction_error"] = _reconstruction_error(model)
    return metrics


_allowed_by_known = functools.lru_cache(maxsize=64)(_allowed_by)


def conditions(model: Any, batch: Batch) -> dict[str, Array]:
    """The condition of a model, taken from a batch, as keyword arguments of its methods.

    Raises:
        ValueError: The batch has no labels, and the model is conditional on them.
    """
    num_classes = getattr(model, "num_classes", None)
    return {} if num_classes is None else {"label": labels_of(batch, num_classes)}


def encode(model: Any, params: Params, state: State, batch: Batch, key: Key) -> Array:
    """Codes of a batch `[B, ...]`; the key is for a model whose `encode` draws noise."""
    noise = {"key": key} if "key" in inspect.signature(model.encode).parameters else {}
    return model.encode(params, batch["x"], state=state, **conditions(model, batch), **noise)


def _reconstruction_error(model: Any) -> Metric:
    scale = 1.0 if model.spec.num_levels is None else float(model.spec.num_levels - 1)

    def metric(params: Params, state: State, batch: Batch, key: Key) -> Array:
        condition = conditions(model, batch)
        z = encode(model, params, state, batch, key)
        x_hat = model.decode(params, z, state=state, **condition)
        error = ((x_hat - batch["x"].astype(jnp.float32)) / scale) ** 2
        return jnp.mean(error.reshape(error.shape[0], -1), axis=-1)

    return metric
