"""Likelihoods: from a decoder's outputs to a distribution over the data.

`VAE(..., likelihood=likelihoods.categorical)`: each value here says how many numbers it wants of
the decoder for one example, what distribution those numbers parameterise, and which of them are
the data's own marginals. At those a decoder starts: they are added to its outputs as a bias.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import jax.numpy as jnp

from genjax_models.core.beta_binomial import BetaBinomial
from genjax_models.core.dequantization import num_levels_of
from genjax_models.core.discretized import DiscretizedLogistic, DiscretizedLogisticMixture
from genjax_models.core.distributions import (
    Bernoulli,
    Binomial,
    Categorical,
    ExplicitMean,
    Normal,
)
from genjax_models.core.types import Array, DataSpec
from genjax_models.core.values import partial, value


@value
class Likelihood:
    """The map from a decoder's outputs to a distribution over examples.

    Attributes:
        name: Its name, for messages.
        num_outputs: `spec ->` the number of decoder outputs for one example.
        build: `(outputs [B, num_outputs], spec) -> Distribution` over `[B, *spec.shape]`.
        marginal: `(examples [N, *spec.shape], spec) -> [num_outputs]`: the outputs at which each
            entry has about the distribution that it has among the examples.
    """

    name: str
    num_outputs: Callable[[DataSpec], int]
    build: Callable[[Array, DataSpec], ExplicitMean]
    marginal: Callable[[Array, DataSpec], Array]

    def init(self, x: Array, spec: DataSpec) -> dict[str, Array]:
        """The parameters: a bias that starts at the marginals of examples `x` `[N, *shape]`."""
        return {"bias": self.marginal(x, spec).reshape(-1)}

    def __call__(
        self, outputs: Array, spec: DataSpec, params: Mapping[str, Array] | None = None
    ) -> ExplicitMean:
        """The distribution over examples `[B, *spec.shape]`.

        Args:
            outputs: The decoder's output `[B, ...]`, in any shape of the right size.
            spec: Spec of the data.
            params: The result of `init`, for a bias to be added; None adds none.

        Raises:
            ValueError: The decoder returned another number of values than this likelihood takes.
        """
        outputs = jnp.asarray(outputs, jnp.float32)
        given, wanted = outputs[0].size, self.num_outputs(spec)
        if given != wanted:
            raise ValueError(
                f"{spec.name} has examples of shape {spec.shape}, for which the {self.name} "
                f"likelihood takes {wanted} decoder outputs, but the decoder returned "
                f"{outputs.shape[1:]}, which is {given}: give the decoder {wanted} outputs"
            )
        outputs = outputs.reshape(outputs.shape[0], wanted)
        return self.build(outputs if params is None else outputs + params["bias"], spec)


def _levels(spec: DataSpec) -> int:
    return num_levels_of(
        spec,
        "give the model likelihood=likelihoods.normal, or data of integers",
    )


def _split(outputs: Array, spec: DataSpec, parts: int) -> list[Array]:
    """`parts` arrays `[B, *shape]`, from the innermost axis: what a convolution's channels are."""
    outputs = outputs.reshape(outputs.shape[0], *spec.shape, parts)
    return [outputs[..., i] for i in range(parts)]


def _normal(outputs: Array, spec: DataSpec) -> Normal:
    loc, log_scale = _split(outputs, spec, 2)
    return Normal(loc, log_scale)


def _bernoulli(outputs: Array, spec: DataSpec) -> Bernoulli:
    if _levels(spec) != 2:
        raise ValueError(
            f"{spec.name} has {spec.num_levels} levels, but the Bernoulli likelihood is over 2: "
            "give the model preprocess=preprocess.dynamic_binarization, or use likelihoods.binomial"
        )
    return Bernoulli(outputs.reshape(-1, *spec.shape))


def _binomial(outputs: Array, spec: DataSpec) -> Binomial:
    return Binomial(outputs.reshape(-1, *spec.shape), _levels(spec) - 1)


def _beta_binomial(outputs: Array, spec: DataSpec) -> BetaBinomial:
    log_alpha, log_beta = _split(outputs, spec, 2)
    return BetaBinomial(log_alpha, log_beta, _levels(spec) - 1)


def _categorical(outputs: Array, spec: DataSpec) -> Categorical:
    return Categorical(outputs.reshape(-1, *spec.shape, _levels(spec)))


def _discretized_logistic(outputs: Array, spec: DataSpec) -> DiscretizedLogistic:
    loc, log_scale = _split(outputs, spec, 2)
    return DiscretizedLogistic(loc, log_scale, _levels(spec))


def _frequency(x: Array, num_levels: int) -> Array:
    """How bright each entry is among the examples, in (0, 1), as if there were two more."""
    x = x.astype(jnp.float32) / (num_levels - 1)
    return (jnp.sum(x, axis=0) + 1.0) / (x.shape[0] + 2.0)


def _log_odds(x: Array, spec: DataSpec) -> Array:
    p = _frequency(x, _levels(spec))
    return jnp.log(p) - jnp.log1p(-p)


def _beta_moments(x: Array, spec: DataSpec) -> Array:
    """Logarithms of alpha and beta `[*shape, 2]` of the beta-binomials with the entries' moments.

    The variance n p (1 - p) (1 + (n - 1) rho) gives rho = 1 / (alpha + beta + 1), which is kept
    within [1e-4, 0.99].
    """
    n = _levels(spec) - 1
    p = _frequency(x, n + 1)
    square = _frequency(x.astype(jnp.float32) ** 2, n**2 + 1)
    over = (square - p**2) / (p * (1.0 - p))
    rho = jnp.clip((n * over - 1.0) / max(n - 1, 1), 1e-4, 0.99)
    log_sum = jnp.log1p(-rho) - jnp.log(rho)
    return log_sum[..., None] + jnp.stack([jnp.log(p), jnp.log1p(-p)], axis=-1)


def _log_frequencies(x: Array, spec: DataSpec) -> Array:
    num_levels = _levels(spec)
    counts = jnp.sum(x[..., None] == jnp.arange(num_levels), axis=0)
    return jnp.log((counts + 1.0 / num_levels) / (x.shape[0] + 1.0))


def _moments(x: Array, spec: DataSpec) -> Array:
    """Mean and logarithm of the standard deviation `[*shape, 2]`, which is a tenth at least."""
    loc = jnp.mean(x, axis=0)
    return jnp.stack([loc, jnp.log(jnp.maximum(jnp.std(x, axis=0), 0.1))], axis=-1)


def _logistic_moments(x: Array, spec: DataSpec) -> Array:
    """Centre and log-scale `[*shape, 2]` of the logistics with the entries' moments."""
    num_levels = _levels(spec)
    v = 2.0 * x.astype(jnp.float32) / (num_levels - 1) - 1.0
    scale = jnp.std(v, axis=0) * math.sqrt(3.0) / math.pi + 1.0 / (num_levels - 1)
    return jnp.stack([jnp.mean(v, axis=0), jnp.log(scale)], axis=-1)


def _one_each(spec: DataSpec) -> int:
    return spec.num_dims


def _two_each(spec: DataSpec) -> int:
    return 2 * spec.num_dims


def _one_a_level(spec: DataSpec) -> int:
    return spec.num_dims * _levels(spec)


normal = Likelihood("normal", _two_each, _normal, _moments)
"""Mean and log standard deviation for each entry; for real-valued data."""

bernoulli = Likelihood("Bernoulli", _one_each, _bernoulli, _log_odds)
"""A logit for each entry; for data of two levels."""

binomial = Likelihood("binomial", _one_each, _binomial, _log_odds)
"""A logit for each entry, for data of any number of levels; the Bernoulli where there are two."""

beta_binomial = Likelihood("beta-binomial", _two_each, _beta_binomial, _beta_moments)
"""Logarithms of alpha and beta for each entry (`core.beta_binomial`): dark, bright, or either."""

categorical = Likelihood("categorical", _one_a_level, _categorical, _log_frequencies)
"""A logit for each level of each entry: any distribution over levels, and the most outputs."""

discretized_logistic = Likelihood(
    "discretised logistic", _two_each, _discretized_logistic, _logistic_moments
)
"""Centre and log-scale for each entry (`core.discretized`)."""


def discretized_logistic_mixture(num_components: int) -> Likelihood:
    """A mixture of `num_components` discretised logistics for each pixel of an image `[H, W, C]`.

    Salimans et al. 2017, PixelCNN++, arXiv:1701.05517, eq. 1-3.
    """
    return Likelihood(
        "mixture of discretised logistics",
        partial(logistic_mixture_outputs, num_components),
        partial(logistic_mixture, num_components),
        partial(logistic_mixture_marginal, num_components),
    )


def logistic_mixture_outputs(num_components: int, spec: DataSpec) -> int:
    """The number of decoder outputs of `discretized_logistic_mixture`."""
    channels, pairs = _channels_and_pairs(spec)
    return spec.num_dims // channels * num_components * (1 + 2 * channels + pairs)


def logistic_mixture(
    num_components: int, outputs: Array, spec: DataSpec
) -> DiscretizedLogisticMixture:
    """The distribution of `discretized_logistic_mixture`, given decoder outputs `[B, n]`."""
    channels, pairs = _channels_and_pairs(spec)
    height, width, _ = spec.shape
    outputs = outputs.reshape(-1, height, width, 1 + 2 * channels + pairs, num_components)
    ends = [1, 1 + channels, 1 + 2 * channels]
    logits, loc, log_scale, coefficients = jnp.split(outputs, ends, axis=-2)
    return DiscretizedLogisticMixture(
        logits[..., 0, :], loc, log_scale, jnp.tanh(coefficients), _levels(spec)
    )


def logistic_mixture_marginal(num_components: int, x: Array, spec: DataSpec) -> Array:
    """Components side by side, at most a standard deviation to either side of the mean."""
    channels, pairs = _channels_and_pairs(spec)
    height, width, _ = spec.shape
    loc, log_scale = jnp.moveaxis(_logistic_moments(x, spec), -1, 0)  # [H, W, C] each
    spread = jnp.linspace(-1.0, 1.0, num_components) if num_components > 1 else jnp.zeros(1)
    loc = loc[..., None] + jnp.exp(log_scale)[..., None] * spread
    log_scale = jnp.broadcast_to(log_scale[..., None], loc.shape)
    flat = lambda n: jnp.zeros((height, width, n, num_components))  # noqa: E731
    return jnp.concatenate([flat(1), loc, log_scale, flat(pairs)], axis=-2)


def _channels_and_pairs(spec: DataSpec) -> tuple[int, int]:
    """The number of channels of an image, and of pairs of them."""
    if len(spec.shape) != 3:
        raise ValueError(
            f"{spec.name} has examples of shape {spec.shape}, but a mixture of discretised "
            "logistics is over images [H, W, C]: use likelihoods.discretized_logistic"
        )
    channels = spec.shape[-1]
    return channels, channels * (channels - 1) // 2
