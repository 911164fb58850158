"""`evaluate`: the figures that a model's Protocols allow, over a whole data set."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from genjax_models.core.bounds import check_num_samples
from genjax_models.core.conditions import check_params, checked_key, labels_of
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
from genjax_models.metrics.examples import Examples, Metric, of_examples, together, whole_batches
from genjax_models.metrics.likelihood import (
    LikelihoodStatement,
    bits_per_dim,
    kind_of_likelihood,
    shared_error,
)
from genjax_models.metrics.progress import progress


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
    """Means over a data set of what can be said of each example.

    Args:
        model: What is measured.
        params: Its parameters, usually `train_state.ema`.
        dataset: What it is measured on.
        key: What stochastic figures are a function of.
        metrics: Name -> metric; those that the model's Protocols allow where None.
        state: The model's state, `train_state.state`.
        num_samples: Samples an example of a likelihood that is known by a bound, at least 1.
        batch_size: Examples at a time; the last ones are measured too, however few.
        devices: How many devices; all where None.

    Returns:
        Name -> mean, the same for any batch size and number of devices but for rounding: noise is
        of the key and of an example's number. `nll` is -log p(x) of an example in nats, exact or an
        upper bound (`kind_of_likelihood`), `bits_per_dim` the same by entry, and
        `reconstruction_error` the squared difference between an example and its reconstruction,
        the mean over entries, in units where the data span [0, 1]. `energy` is the mean of E(x) in
        nats, which no other model's can be compared with. A text's likelihood is given
        by token and by character instead (`nats_per_token`, `perplexity`, `bits_per_character`):
        of windows that do not overlap, each without the text before it, which makes the figures
        higher than with all the text before each token.

    Raises:
        ValueError: The data set is empty, or is not of the model's spec: another shape or other
            levels, values that are none of them or not finite, labels that are no classes; or
            num_samples is below 1.
    """
    metrics = metrics_of(model, num_samples) if metrics is None else metrics
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
    """A model's likelihood of a data set, with its error and with what kind of figure it is.

    Takes what `evaluate` takes.

    Returns:
        The likelihood; of a single example, or where it is not finite, with an infinite error.

    Raises:
        ValueError: The model has no likelihood, or what is given is refused as by `evaluate`.
    """
    kind, metrics = kind_of_likelihood(model, num_samples), metrics_of(model, num_samples)
    if kind is None:
        raise ValueError(f"a {type(model).__name__} has no likelihood: its samples can be compared")
    nll = {"nll": metrics["nll"]}
    values, _ = _measured(model, params, state, dataset, key, nll, batch_size, devices)
    nats = values["nll"].astype(np.float64)
    mean, num = float(np.mean(nats)), len(nats)
    known = num > 1 and math.isfinite(mean)
    spread = float(np.std(nats, ddof=1)) / math.sqrt(num) if known else math.inf
    error = math.hypot(spread, shared_error(model))
    return LikelihoodStatement(mean, error, num, kind, dataset.spec)


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
    """Each metric of every example `[N]`, and how much was measured."""
    check_params(params)
    key = checked_key(key)
    length = _Length()
    batch_size = whole_batches(batch_size, devices)
    with progress(_num_batches(dataset, batch_size), "evaluating") as advance:

        def seen(batch: Mapping[str, np.ndarray]) -> None:
            length.add(np.asarray(batch["x"]), dataset.spec)
            advance()

        measure = together(metrics)
        take = of_examples(model, measure, batch_size=batch_size, devices=devices, seen=seen)
        return take((params, state or {}), key, dataset), length


def _num_batches(dataset: Any, batch_size: int) -> int | None:
    """How many there will be, of a data set that knows its length."""
    if not hasattr(dataset, "__len__"):
        return None
    return math.ceil(math.ceil(len(dataset) / (getattr(dataset, "window", None) or 1)) / batch_size)


@dataclasses.dataclass
class _Length:
    """How much was measured; of a text, its tokens and characters too."""

    examples: int = 0
    tokens: int = 0
    characters: int = 0

    def add(self, x: np.ndarray, spec: DataSpec) -> None:
        self.examples += len(x)
        if spec.vocabulary:
            self.tokens += x.size
            self.characters += tokenizers.num_characters(tokenizers.of(spec), x)


def _in_other_units(nll: float, spec: DataSpec, length: _Length) -> dict[str, float]:
    """A likelihood of `nll` nats an example in the units that its kind of data is told in."""
    if not spec.vocabulary:
        return {} if spec.levels is None else {"bits_per_dim": bits_per_dim(nll, spec)}
    total = nll * length.examples
    units = {
        "nats_per_token": text.nats_per_token(total, length.tokens),
        "perplexity": text.perplexity(total, length.tokens),
    }
    if length.characters:  # a few bytes may hold none
        units["bits_per_character"] = text.bits_per_character(total, length.characters)
    return units


def metrics_of(model: Model, num_samples: int = 1) -> dict[str, Metric]:
    """The metrics that a model's Protocols allow, by name: the same functions of the same model.

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
    """What a model is conditional on, from a batch, as the keyword arguments of its methods.

    Raises:
        ValueError: The batch has no labels, and the model is conditional on them.
    """
    num_classes = getattr(model, "num_classes", None)
    return {} if num_classes is None else {"label": labels_of(batch, num_classes)}


def encode(model: Any, params: Params, state: State, batch: Batch, key: Key) -> Array:
    """The codes of a batch `[B, ...]`; the key is for a model whose `encode` draws noise."""
    noise = {"key": key} if "key" in inspect.signature(model.encode).parameters else {}
    return model.encode(params, batch["x"], state=state, **conditions(model, batch), **noise)


def _reconstruction_error(model: Any) -> Metric:
    scale = 1.0 if model.spec.levels is None else float(model.spec.levels - 1)

    def metric(params: Params, state: State, batch: Batch, key: Key) -> Array:
        condition = conditions(model, batch)
        z = encode(model, params, state, batch, key)
        x_hat = model.decode(params, z, state=state, **condition)
        error = ((x_hat - batch["x"].astype(jnp.float32)) / scale) ** 2
        return jnp.mean(error.reshape(error.shape[0], -1), axis=-1)

    return metric
