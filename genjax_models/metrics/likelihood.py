"""Likelihood in the usual units, its kind, and the divergence from a known truth."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np

from genjax_models.core.protocols import (
    ApproximateDensity,
    HasLikelihoodInfo,
    LikelihoodInfo,
    TractableDensity,
)
from genjax_models.core.types import Array, Batch, DataSpec, Key, Params, State
from genjax_models.data.dataset import Dataset
from genjax_models.metrics.figure import Figure, mean_figure
from genjax_models.metrics.map_dataset import combine, map_dataset


def bits_per_dim(nats: float, spec: DataSpec) -> float:
    """Negative log-likelihood of an example in bits an entry: nats / (D ln 2).

    Args:
        nats: -log p(x) of an example, in nats.
        spec: Specification of one example; D is its number of entries.

    References:
        Theis et al. 2016, A note on the evaluation of generative models, arXiv:1511.01844.
    """
    return nats / (spec.num_dims * math.log(2.0))


class LikelihoodStatement(NamedTuple):
    """A likelihood, with everything needed to compare it with another.

    Attributes:
        nats: Mean of -log p(x) over examples, or a bound or an estimate of it, in nats.
        standard_error: Standard error of the mean, over examples and over what the model estimates
            once for all of them.
        num: Number of examples.
        kind: Kind of the likelihood in words: exact, a bound or an estimate, and of what data
            (`likelihood_kind`).
        spec: Specification of one example.
    """

    nats: float
    standard_error: float
    num: int
    kind: str
    spec: DataSpec

    @property
    def bits_per_dim(self) -> float | None:
        """The mean in bits an entry; None for real-valued data, where it depends on the unit."""
        return None if self.spec.num_levels is None else bits_per_dim(self.nats, self.spec)

    def __str__(self) -> str:
        """The likelihood, its error and its kind, in one line."""
        text = f"{self.nats:.6g} ± {self.standard_error:.2g} nats an example"
        if self.bits_per_dim is not None:
            error = bits_per_dim(self.standard_error, self.spec)
            text += f", {self.bits_per_dim:.4g} ± {error:.2g} bits an entry"
        return f"{text} ({self.num:,} examples of {self.spec.name}; {self.kind})"


def likelihood_kind(model: Any, num_samples: int = 1) -> str | None:
    """Kind of a model's negative log-likelihood in words; None for a model without a likelihood.

    Args:
        model: Any model.
        num_samples: Number of samples of a bound.

    Returns:
        `exact`, `upper bound of the negative log-likelihood, 10 samples`, or an estimate of either;
        then, after commas, what is estimated, and how the model preprocesses the data.
    """
    info = _info_of(model)
    if isinstance(model, TractableDensity):
        parts = ["estimate" if info.estimated else "exact"]
    elif isinstance(model, ApproximateDensity):
        bound = "upper bound of the negative log-likelihood"
        parts = [f"estimate of an {bound}" if info.estimated else bound]
        parts += ["1 sample" if num_samples == 1 else f"{num_samples} samples"]
    else:
        return None
    if info.estimated and info.standard_error:
        parts += [f"{info.estimated} with standard error {info.standard_error:.2g} nats"]
    elif info.estimated:
        parts += [info.estimated]
    return ", ".join([*parts, info.prepared] if info.prepared else parts)


class KnownDensity(Protocol):
    """A distribution with a sampler and a density (`data.densities` holds some)."""

    def log_prob(self, x: Array) -> Array:
        """Log density `[B]`, in nats."""
        ...

    def sample(self, key: Key, num: int) -> Array:
        """Independent examples `[num, ...]`."""
        ...


def kl_to_truth(
    model: TractableDensity,
    params: Params,
    truth: KnownDensity,
    key: Key,
    num: int = 100_000,
    *,
    state: State | None = None,
    batch_size: int = 10_000,
) -> Figure:
    """KL(truth || model) = E_truth[log p_truth(x) - log p_model(x)], on fresh samples of the truth.

    Args:
        model: A model with an exact density.
        params: Its parameters.
        truth: The distribution that the data are drawn from.
        key: PRNG key.
        num: Number of samples.
        state: The model's state.
        batch_size: Number of samples at a time.

    Returns:
        The divergence in nats: the same, up to rounding, for any batch size and number of devices.

    Raises:
        ValueError: Fewer than 2 samples, which have no standard error.
    """
    if num < 2 or batch_size < 1:
        raise ValueError(f"num is {num} and batch_size {batch_size}: give at least 2 and 1")

    def log_ratio(params: Params, state: State | None, batch: Batch, key: Key) -> Array:
        del key
        return truth.log_prob(batch["x"]) - model.log_prob(params, batch["x"], state=state)

    apply = map_dataset(model, combine({"log_ratio": log_ratio}), batch_size=min(num, batch_size))
    samples = Dataset.from_arrays(np.asarray(truth.sample(key, num)))
    return mean_figure(apply((params, state), key, samples)["log_ratio"].astype(np.float64))


def shared_error(model: Any) -> float:
    """Standard error, in nats, of an estimate shared by a model's likelihoods, such as log Z."""
    return _info_of(model).standard_error


def _info_of(model: Any) -> LikelihoodInfo:
    """The model's declared `LikelihoodInfo`, else one of its preprocessing, if it has one."""
    if isinstance(model, HasLikelihoodInfo):
        return model.likelihood_info
    return LikelihoodInfo(prepared=getattr(getattr(model, "preprocess", None), "name", ""))
