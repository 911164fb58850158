"""Densities in the plane that are known exactly: `log_prob` and `sample` of one distribution.

A model trained on samples can be measured against the truth (KL, modes found, support kept).

    ring, grid      Gaussians on a circle, on a square lattice
    two_moons       two interleaved arcs: a mixture of Gaussians along them
    checkerboard    uniform on the black squares
    pinwheel        Gaussian arms, twisted
    spiral          a bar, stretched and twisted: two arms

All are frozen and hashable; their methods are pure and can be jitted.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from genjax_models.core.types import Array, Key
from genjax_models.data.dataset import Dataset

Point = tuple[float, float]


class Density(Protocol):
    """A distribution in the plane that can be both sampled and evaluated."""

    def log_prob(self, x: Array) -> Array:
        """The log density `[B]`, in nats, at points `[B, 2]`; -inf outside the support."""
        ...

    def sample(self, key: Key, num: int) -> Array:
        """Independent points `[num, 2]`."""
        ...


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Equally likely Gaussians: p(x) = 1/K sum_k N(x; mode_k, scale^2 I).

    Attributes:
        modes: Their means.
        scale: Their common standard deviation.
    """

    modes: tuple[Point, ...]
    scale: float

    def log_prob(self, x: Array) -> Array:
        """The log density `[B]`, in nats, at points `[B, 2]`."""
        z = (x[:, None] - jnp.asarray(self.modes)) / self.scale  # [B, K, 2]
        log_normal = -0.5 * jnp.sum(z**2, -1) - math.log(2 * math.pi * self.scale**2)
        return jax.nn.logsumexp(log_normal, -1) - math.log(len(self.modes))

    def sample(self, key: Key, num: int) -> Array:
        """Independent points `[num, 2]`."""
        which_key, noise_key = jax.random.split(key)
        which = jax.random.randint(which_key, (num,), 0, len(self.modes))
        noise = jax.random.normal(noise_key, (num, 2))
        return jnp.asarray(self.modes)[which] + self.scale * noise


@dataclasses.dataclass(frozen=True)
class Checkerboard:
    """Uniform on the black squares of a board around the origin; -inf elsewhere.

    Attributes:
        squares: Squares a side; even, so that half of them are black.
        width: Length of a square's side.
    """

    squares: int = 4
    width: float = 2.0

    def log_prob(self, x: Array) -> Array:
        """The log density `[B]`, in nats, at points `[B, 2]`."""
        square = jnp.floor(x / self.width + self.squares / 2)  # [B, 2]
        inside = jnp.all((square >= 0) & (square < self.squares), -1)
        black = jnp.sum(square, -1) % 2 == 0
        area = self.squares**2 / 2 * self.width**2
        return jnp.where(inside & black, -math.log(area), -jnp.inf)

    def sample(self, key: Key, num: int) -> Array:
        """Independent points `[num, 2]`."""
        row_key, column_key, within_key = jax.random.split(key, 3)
        row = jax.random.randint(row_key, (num,), 0, self.squares)
        column = 2 * jax.random.randint(column_key, (num,), 0, self.squares // 2) + row % 2
        within = jax.random.uniform(within_key, (num, 2))
        return (jnp.stack([column, row], -1) + within - self.squares / 2) * self.width


@dataclasses.dataclass(frozen=True)
class Pinwheel:
    """Gaussian blobs along the spokes of a wheel, twisted by an angle that grows with the radius.

    The twist x = R(twist |z|) z keeps |z|, so it undoes itself by the opposite angle, and being a
    shear in polar coordinates it keeps areas: log p(x) = log p_z(R(-twist |x|) x).

    Attributes:
        arms: Number of blobs.
        radius: Distance of their means from the origin.
        radial: Standard deviation along the spoke.
        tangential: Standard deviation across it.
        twist: Angle, in radians, that a unit of radius adds.
    """

    arms: int = 5
    radius: float = 2.0
    radial: float = 0.5
    tangential: float = 0.15
    twist: float = 0.7

    def log_prob(self, x: Array) -> Array:
        """The log density `[B]`, in nats, at points `[B, 2]`."""
        z = _twist(x, -self.twist)
        spokes = jnp.arange(self.arms) * (2 * math.pi / self.arms)  # [K]
        along = jax.vmap(lambda angle: _rotate(z, -angle), out_axes=1)(spokes)  # [B, K, 2]
        log_normal = norm.logpdf(along[..., 0], self.radius, self.radial)
        log_normal += norm.logpdf(along[..., 1], 0.0, self.tangential)
        return jax.nn.logsumexp(log_normal, -1) - math.log(self.arms)

    def sample(self, key: Key, num: int) -> Array:
        """Independent points `[num, 2]`."""
        arm_key, noise_key = jax.random.split(key)
        arm = jax.random.randint(arm_key, (num,), 0, self.arms)
        noise = jax.random.normal(noise_key, (num, 2))
        blob = noise * jnp.array([self.radial, self.tangential]) + jnp.array([self.radius, 0.0])
        return _twist(_rotate(blob, arm * (2 * math.pi / self.arms)), self.twist)


@dataclasses.dataclass(frozen=True)
class Spiral:
    """Two arms wound around the origin: a standard normal z, pushed forward and rotated.

    z -> (length tanh(stretch z_1), thickness z_2) -> twisted as in `Pinwheel`, then rotated. Only
    the first step changes areas: log |det| = log(length stretch thickness sech^2(stretch z_1)).

    Attributes:
        length: Radius at which the arms end.
        stretch: Below 1/sqrt(2), so that the density falls to zero at the ends.
        thickness: Standard deviation across an arm, before the twist.
        twist: Angle, in radians, that a unit of radius adds.
        rotation: Angle by which the whole is turned.
    """

    length: float = 4.0
    stretch: float = 0.6
    thickness: float = 0.15
    twist: float = 1.5
    rotation: float = math.pi / 4

    def log_prob(self, x: Array) -> Array:
        """The log density `[B]`, in nats, at points `[B, 2]`; -inf beyond the ends of the arms."""
        bar = _twist(_rotate(x, -self.rotation), -self.twist)
        ratio = bar[:, 0] / self.length
        inside = jnp.abs(ratio) < 1.0
        ratio = jnp.where(inside, ratio, 0.0)  # keeps the gradient of the other branch finite
        z_1, z_2 = jnp.arctanh(ratio) / self.stretch, bar[:, 1] / self.thickness
        log_det = math.log(self.length * self.stretch * self.thickness) + jnp.log1p(-(ratio**2))
        return jnp.where(inside, norm.logpdf(z_1) + norm.logpdf(z_2) - log_det, -jnp.inf)

    def sample(self, key: Key, num: int) -> Array:
        """Independent points `[num, 2]`."""
        z = jax.random.normal(key, (num, 2))
        along = self.length * jnp.tanh(self.stretch * z[:, 0])
        bar = jnp.stack([along, self.thickness * z[:, 1]], -1)
        return _rotate(_twist(bar, self.twist), self.rotation)


def _rotate(x: Array, angle: Array | float) -> Array:
    """Points `[B, 2]` turned about the origin, by one angle or one each `[B]`."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([cos * x[:, 0] - sin * x[:, 1], sin * x[:, 0] + cos * x[:, 1]], -1)


def _twist(x: Array, rate: float) -> Array:
    """Points `[B, 2]`, each turned by `rate` times its radius."""
    # The smallest of offsets, so that the gradient at the origin is 0 and not NaN.
    radius = jnp.sqrt(jnp.sum(x**2, -1) + 1e-20)
    return _rotate(x, rate * radius)


def ring(num: int = 8, radius: float = 2.0, scale: float = 0.1) -> Mixture:
    """Gaussians on a circle; papers on mode collapse take scale 0.02.

    Args:
        num: Number of Gaussians.
        radius: Radius of the circle, around the origin.
        scale: Standard deviation of each.

    Returns:
        Their mixture.
    """
    angles = [2 * math.pi * k / num for k in range(num)]
    return Mixture(tuple((radius * math.cos(a), radius * math.sin(a)) for a in angles), scale)


def grid(side: int = 5, spacing: float = 2.0, scale: float = 0.1) -> Mixture:
    """Gaussians on a square lattice around the origin; papers on mode collapse take scale 0.05.

    Args:
        side: Gaussians a side: there are side^2.
        spacing: Distance of neighbours.
        scale: Standard deviation of each.

    Returns:
        Their mixture.
    """
    line = [spacing * (k - (side - 1) / 2) for k in range(side)]
    return Mixture(tuple((x, y) for x in line for y in line), scale)


def two_moons(scale: float = 0.1, num: int = 64) -> Mixture:
    """Two interleaved half circles of radius 1: Gaussians evenly along each.

    Neighbours are pi / (num - 1) apart, half a standard deviation, so the arcs are smooth.

    Args:
        scale: Standard deviation of each Gaussian.
        num: Gaussians an arc, 2 at least.

    Returns:
        Their mixture, of 2 num.
    """
    arc = [math.pi * k / (num - 1) for k in range(num)]
    upper = tuple((math.cos(a) - 0.5, math.sin(a) - 0.25) for a in arc)
    lower = tuple((-x, -y) for x, y in upper)
    return Mixture(upper + lower, scale)


checkerboard, pinwheel, spiral = Checkerboard, Pinwheel, Spiral

_SPLITS = {"train": (50_000, 0), "validation": (10_000, 1), "test": (10_000, 2)}
"""Split -> how many points, and the seed that draws them."""


def dataset(
    density: Density, num: int, seed: int = 0, *, name: str = "density", split: str = "train"
) -> Dataset:
    """Points drawn from a density as a data set.

    Args:
        density: The density.
        num: Number of points.
        seed: Seed; the points are a pure function of it.
        name: The data set's name, for messages.
        split: The split's name, for messages.

    Returns:
        A data set with `x` float32 `[B, 2]`.
    """
    points = jax.jit(density.sample, static_argnums=1)(jax.random.key(seed), num)
    return Dataset.from_arrays(np.asarray(points, np.float32), name=name, split=split)


def _loader(name: str, make: Callable[[], Density]) -> Callable[..., Dataset]:
    def load(split: str = "train") -> Dataset:
        return dataset(make(), *_SPLITS[split], name=name, split=split)

    return load


DENSITIES: Mapping[str, Callable[[], Density]] = MappingProxyType(
    {
        "ring": ring,
        "grid": grid,
        "two_moons": two_moons,
        "checkerboard": checkerboard,
        "pinwheel": pinwheel,
        "spiral": spiral,
    }
)
"""Name -> the density, with its usual settings."""

LOADERS: Mapping[str, Callable[..., Dataset]] = MappingProxyType(
    {name: _loader(name, make) for name, make in DENSITIES.items()}
)
"""Name -> the data set of a split's points."""
