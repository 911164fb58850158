"""Discretised logistic likelihoods: a density over real intensities, integrated over each level.

Salimans et al. 2017, PixelCNN++, arXiv:1701.05517, sec. 2.1-2.2. Levels 0 .. L - 1 lie at
v = 2 x / (L - 1) - 1 in [-1, 1], and a level's bin reaches 1 / (L - 1) to either side; the lowest
bin reaches down to minus infinity and the highest up to infinity, so the levels' probabilities sum
to one exactly.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from genjax_models.core import random
from genjax_models.core.distributions import as_levels, level_dtype, sum_entries
from genjax_models.core.types import Array, Key

MIN_LOG_SCALE, MAX_LOG_SCALE = -7.0, 14.0
"""The narrowest logistic, as in PixelCNN++ (far narrower than a bin of 8-bit data), and the widest
(flat over all levels); between them every log-probability has a finite gradient."""


def _scale(log_scale: Array) -> Array:
    return jnp.exp(jnp.clip(log_scale, MIN_LOG_SCALE, MAX_LOG_SCALE))


def log_bin(x: Array, loc: Array, log_scale: Array, num_levels: int) -> Array:
    r"""Log-probability of each level under a logistic.

    `log(sigma(b) - sigma(a))` for the bin's edges a < b in units of the scale, by
    `sigma(b) - sigma(a) = sigma(b) sigma(-a) (1 - exp(a - b))`, which loses no digits in the tails;
    an edge bin lacks the factor of the edge that it does not have.

    Args:
        x: Levels 0 .. num_levels - 1 `[...]`; anything else has minus infinity, NaN has NaN.
        loc: Centres `[...]` in units where the levels span [-1, 1].
        log_scale: Log-scales `[...]` in the same units.
        num_levels: Number of levels, at least 2.

    Returns:
        Log-probabilities `[...]`, in nats.
    """
    level, outside = as_levels(x, num_levels)
    half = 1.0 / (num_levels - 1)
    v = 2.0 * half * level.astype(loc.dtype) - 1.0
    inv_scale = 1.0 / _scale(log_scale)
    below_upper = jax.nn.log_sigmoid((v + half - loc) * inv_scale)
    above_lower = jax.nn.log_sigmoid((loc - v + half) * inv_scale)
    inside = below_upper + above_lower + jax.nn.log1mexp(2.0 * half * inv_scale)
    upper = jnp.where(level == num_levels - 1, above_lower, inside)
    return jnp.where(level == 0, below_upper, upper) + outside


def to_level(v: Array, num_levels: int) -> Array:
    """The level whose bin holds the real value v."""
    nearest = jnp.round((v + 1.0) * (num_levels - 1) / 2.0)
    return jnp.clip(nearest, 0, num_levels - 1).astype(level_dtype(num_levels))


def _logistic(key: Key, shape: tuple[int, ...]) -> Array:
    """Standard logistic draws; the clip keeps the logit finite."""
    u = jnp.clip(random.uniform(key, shape), 1e-7, 1 - 1e-7)
    return jnp.log(u) - jnp.log1p(-u)


def _mean_level(loc: Array, log_scale: Array, num_levels: int) -> Array:
    """E[x] = sum_{l >= 1} P(x >= l), exactly."""
    inv_scale = 1.0 / _scale(log_scale)

    def add(level: Array, total: Array) -> Array:
        lower_edge = (2.0 * level - 1.0) / (num_levels - 1) - 1.0
        return total + jax.nn.sigmoid((loc - lower_edge) * inv_scale)

    return jax.lax.fori_loop(1, num_levels, add, jnp.zeros_like(loc))


@struct.dataclass
class DiscretizedLogistic:
    """Independent entries, each a logistic integrated over levels.

    Attributes:
        loc: Centres `[B, ...]` in units where the levels span [-1, 1].
        log_scale: Log-scales `[B, ...]` in the same units, cut off at `MIN_LOG_SCALE`
            and `MAX_LOG_SCALE`.
        num_levels: Number of levels.
    """

    loc: Array
    log_scale: Array
    num_levels: int = struct.field(pytree_node=False)

    def log_prob(self, x: Array) -> Array:
        """Log-probability of `x` in 0 .. num_levels - 1 `[B]`, in nats."""
        return sum_entries(log_bin(x, self.loc, self.log_scale, self.num_levels))

    def sample(self, key: Key) -> Array:
        """Draws in 0 .. num_levels - 1 `[B, ...]`."""
        noise = _scale(self.log_scale) * _logistic(key, self.loc.shape)
        return to_level(self.loc + noise, self.num_levels)

    def mean(self) -> Array:
        """The mean level `[B, ...]`."""
        return _mean_level(self.loc, self.log_scale, self.num_levels)

    def mode(self) -> Array:
        """The likeliest level `[B, ...]`: the one nearest to loc, or an edge that holds a tail."""
        nearest = to_level(self.loc, self.num_levels)
        edges = [jnp.zeros_like(nearest), jnp.full_like(nearest, self.num_levels - 1)]
        candidates = jnp.stack([nearest, *edges])
        scores = log_bin(candidates, self.loc[None], self.log_scale[None], self.num_levels)
        return jnp.take_along_axis(candidates, jnp.argmax(scores, axis=0)[None], axis=0)[0]


@struct.dataclass
class DiscretizedLogisticMixture:
    """Images whose pixels are mixtures of discretised logistics (PixelCNN++, eq. 1-3).

    The channels of a pixel share one mixture indicator, and within a component each channel's
    centre is shifted linearly by the channels before it.

    Attributes:
        mixture_logits: `[B, H, W, K]`.
        loc: `[B, H, W, C, K]`, in units where the levels span [-1, 1].
        log_scale: `[B, H, W, C, K]`.
        coefficients: `[B, H, W, C (C - 1) / 2, K]` in [-1, 1]: of channel 0 on 1, 0 on 2, 1 on 2...
        num_levels: Number of levels.
    """

    mixture_logits: Array
    loc: Array
    log_scale: Array
    coefficients: Array
    num_levels: int = struct.field(pytree_node=False)

    def log_prob(self, x: Array) -> Array:
        """Log-probability of images `x` `[B, H, W, C]` of levels: `[B]`, in nats."""
        level, outside = as_levels(x, self.num_levels)
        v = 2.0 * level.astype(self.loc.dtype) / (self.num_levels - 1) - 1.0
        loc = jnp.stack(
            [self._centre(c, [v[..., j, None] for j in range(c)]) for c in range(x.shape[-1])],
            axis=-2,
        )  # [B, H, W, C, K]
        log_bins = log_bin(level[..., None], loc, self.log_scale, self.num_levels)
        log_joint = jax.nn.log_softmax(self.mixture_logits) + jnp.sum(log_bins, axis=-2)
        log_pixels = jax.nn.logsumexp(log_joint, axis=-1)
        return sum_entries(log_pixels + jnp.sum(outside, axis=-1))

    def sample(self, key: Key) -> Array:
        """Draws `[B, H, W, C]`: a component for each pixel, then channel after channel."""
        key_mixture, key_logistic = jax.random.split(key)
        noise = random.gumbel(key_mixture, self.mixture_logits.shape)
        chosen = jnp.argmax(self.mixture_logits + noise, axis=-1)[..., None, None]
        pick = dataclasses.replace(
            self,
            loc=jnp.take_along_axis(self.loc, chosen, axis=-1),
            log_scale=jnp.take_along_axis(self.log_scale, chosen, axis=-1),
            coefficients=jnp.take_along_axis(self.coefficients, chosen, axis=-1),
        )
        scale = _scale(pick.log_scale[..., 0])
        shift = scale * _logistic(key_logistic, scale.shape)  # [B, H, W, C]
        return self._ancestral(lambda c, previous: pick._centre(c, previous) + shift[..., c, None])

    def mean(self) -> Array:
        """The mean level `[B, H, W, C]`; a later channel's given the means of those before it."""
        weights = jax.nn.softmax(self.mixture_logits)
        values, means = [], []
        for c in range(self.loc.shape[-2]):
            centre = self._centre(c, values)
            level = _mean_level(centre, self.log_scale[..., c, :], self.num_levels)
            means.append(jnp.sum(weights * level, axis=-1))
            values.append(2.0 * means[-1][..., None] / (self.num_levels - 1) - 1.0)
        return jnp.stack(means, axis=-1)

    def mode(self) -> Array:
        """The likeliest component's centres `[B, H, W, C]`, as levels."""
        best = jnp.argmax(self.mixture_logits, axis=-1)[..., None]
        return self._ancestral(
            lambda c, previous: jnp.take_along_axis(self._centre(c, previous), best, axis=-1)
        )

    def _centre(self, channel: int, previous: list[Array]) -> Array:
        """Centres `[B, H, W, K]` of a channel, given the values `[B, H, W, 1]` before it."""
        centre = self.loc[..., channel, :]
        first = channel * (channel - 1) // 2
        for j, value in enumerate(previous):
            centre = centre + self.coefficients[..., first + j, :] * value
        return centre

    def _ancestral(self, draw) -> Array:  # noqa: ANN001 - (channel, values before) -> [B, H, W, 1]
        """Channel after channel, each rounded to a level before the next sees it."""
        values, levels = [], []
        for c in range(self.loc.shape[-2]):
            levels.append(to_level(draw(c, values)[..., 0], self.num_levels))
            values.append(
                2.0 * levels[-1][..., None].astype(self.loc.dtype) / (self.num_levels - 1) - 1.0
            )
        return jnp.stack(levels, axis=-1)
