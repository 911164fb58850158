"""Markov chains whose law approaches a density that is known up to a constant.

A kernel moves one chain by one step, and sees a log-density `x [...] -> []` and nothing else; many
chains are `jax.vmap` of one (`chains` does that). A kernel is a frozen dataclass, so that a model
can hold it; its `step_size` may also be a traced number (`dataclasses.replace`).

    Langevin    x + eps grad log p(x) + sqrt(2 eps) z: never refuses, biased by O(eps)
    MALA        the same as a proposal, accepted or not: exact
    HMC         L leapfrog steps of size eps with fresh momentum, accepted or not: exact

The last two are BlackJAX's.

References:
    Roberts and Tweedie 1996, Exponential convergence of Langevin distributions and their discrete
    approximations. Neal 2011, MCMC using Hamiltonian dynamics, arXiv:1206.1901. Cabezas et al.
    2024, BlackJAX: Composable Bayesian inference in JAX, arXiv:2402.10797.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp

from genjax_models.core import random
from genjax_models.core.types import Array, Key

LogDensity: TypeAlias = Callable[[Array], Array]
"""`x [...] -> []`: the log of a density, in nats, up to a constant."""


class Point(NamedTuple):
    """Where a chain is.

    Attributes:
        x: The place `[...]`.
        log_density: There `[]`, in nats, up to a constant.
        gradient: The log-density's gradient there `[...]`.
    """

    x: Array
    log_density: Array
    gradient: Array


class Trace(NamedTuple):
    """What happened to a chain, the means over its steps.

    Attributes:
        acceptance: The probability with which its proposals were accepted `[]`; 1 of a kernel that
            never refuses.
        gradient_norm: The norm of the log-density's gradient `[]`.
    """

    acceptance: Array
    gradient_norm: Array


class Kernel(Protocol):
    """One step of a Markov chain."""

    @property
    def step_size(self) -> Any:
        """How far a step goes."""
        ...

    def __call__(self, log_density: LogDensity, point: Point, key: Key) -> tuple[Point, Array]:
        """The chain's next point, and the probability `[]` with which its proposal was accepted."""
        ...


@dataclasses.dataclass(frozen=True)
class Langevin:
    """The unadjusted Langevin algorithm: x + eps grad log p(x) + sqrt(2 eps) z.

    On a Gaussian of variance s^2 its own law has the variance s^2 / (1 - eps / (2 s^2)).

    Attributes:
        step_size: eps.
        noise: The noise's standard deviation in place of sqrt(2 eps). Less of it samples
            p^(1/T) with the temperature T = noise^2 / (2 eps), as is usual for energies of images,
            which then are learned in units of T.

    References:
        Du and Mordatch 2019, Implicit generation and modeling with energy-based models,
        arXiv:1903.08689 (eq. 1).
    """

    step_size: float
    noise: float | None = None

    def __call__(self, log_density: LogDensity, point: Point, key: Key) -> tuple[Point, Array]:
        """The next point; its acceptance is 1."""
        noise = jnp.sqrt(2.0 * self.step_size) if self.noise is None else self.noise
        z = jax.random.normal(key, point.x.shape, point.x.dtype)
        x = point.x + self.step_size * point.gradient + noise * z
        return at(log_density, x.astype(point.x.dtype)), jnp.ones(())


@dataclasses.dataclass(frozen=True)
class MALA:
    """The Metropolis-adjusted Langevin algorithm.

    Attributes:
        step_size: eps of the proposal x + eps grad log p(x) + sqrt(2 eps) z.
    """

    step_size: float

    def __call__(self, log_density: LogDensity, point: Point, key: Key) -> tuple[Point, Array]:
        """The next point, and the proposal's acceptance probability."""
        from blackjax.mcmc import mala

        density, wide = _widened(log_density, point)
        here: Any = mala.MALAState(*_untyped(wide))
        after, info = mala.build_kernel()(key, here, density, _step_size(self, wide))
        after = of_types(Point(*_untyped(after)), point)
        return after, jnp.asarray(info.acceptance_rate)


@dataclasses.dataclass(frozen=True)
class HMC:
    """Hamiltonian Monte Carlo with unit masses.

    Attributes:
        step_size: eps of a leapfrog step.
        leapfrogs: How many such steps make a proposal.
    """

    step_size: float
    leapfrogs: int = 10

    def __call__(self, log_density: LogDensity, point: Point, key: Key) -> tuple[Point, Array]:
        """The next point, and the proposal's acceptance probability."""
        from blackjax.mcmc import hmc

        density, wide = _widened(log_density, point)
        here: Any = hmc.HMCState(*_untyped(wide))
        masses = jnp.ones(point.x.size, wide.x.dtype)
        after, info = hmc.build_kernel()(
            key, here, density, _step_size(self, wide), masses, self.leapfrogs
        )
        after = of_types(Point(*_untyped(after)), point)
        return after, jnp.asarray(info.acceptance_rate)


def _widened(log_density: LogDensity, point: Point) -> tuple[LogDensity, Point]:
    """Both in JAX's default precision, in which BlackJAX draws, whatever the point's own is."""
    own, dtype = point.x.dtype, jnp.promote_types(point.x.dtype, jnp.zeros(()).dtype)
    wide = jax.tree.map(lambda a: a.astype(dtype), point)
    return lambda x: log_density(x.astype(own)).astype(dtype), wide


def _step_size(kernel: Kernel, point: Point) -> Any:
    """The step size in the place's own precision, which a step must not change."""
    return jnp.asarray(kernel.step_size, point.x.dtype)


def of_types(new: Any, old: Any) -> Any:
    """The numbers of one pytree in the types of another: what a loop carries keeps its types."""
    return jax.tree.map(lambda a, b: jnp.asarray(a, b.dtype), new, old)


def _untyped(point: Any) -> Any:
    """What BlackJAX holds are pytrees and floats to type checkers, of the same three fields."""
    return point


def at(log_density: LogDensity, x: Array) -> Point:
    """The point at a place `[...]`."""
    return Point(x, *jax.value_and_grad(log_density)(x))


def chain(
    kernel: Kernel, log_density: LogDensity, point: Point, key: Key, steps: int
) -> tuple[Point, Trace]:
    """One chain's point after so many steps, and what happened on the way.

    Args:
        kernel: One step.
        log_density: Where the chain is to go.
        point: Where it is, of the same log-density (`at`).
        key: What its noise is a function of.
        steps: How many.
    """

    def step(i: Array, carry: tuple[Point, Trace]) -> tuple[Point, Trace]:
        point, total = carry
        norm = jnp.linalg.norm(point.gradient.reshape(-1))
        after, acceptance = kernel(log_density, point, jax.random.fold_in(key, i))
        total = Trace(total.acceptance + acceptance, total.gradient_norm + norm)
        return of_types(after, point), total

    zeros = Trace(jnp.zeros(()), jnp.zeros(()))
    point, total = jax.lax.fori_loop(0, steps, step, (point, zeros))
    return point, jax.tree.map(lambda a: a / steps, total)


def chains(
    kernel: Kernel,
    log_density: Callable[..., Array],
    x: Array,
    key: Key,
    steps: int,
    context: Any = None,
) -> tuple[Array, Trace]:
    """Where many chains are after so many steps.

    Args:
        kernel: One step.
        log_density: Of one place, `x [...] -> []`; with a context `(x [...], context) -> []`.
        x: Where they start `[N, ...]`.
        key: What their noise is a function of: chain i's of the key and of i alone.
        steps: How many, at least 1.
        context: What each chain's density depends on: a pytree of arrays `[N, ...]`.

    Returns:
        Their places `[N, ...]`, and the `Trace` of each `[N]`.

    Raises:
        ValueError: There are no steps to make.
    """
    if steps < 1:
        raise ValueError(f"a chain of {steps} steps goes nowhere: give at least 1")

    def one(x: Array, key: Key, context: Any) -> tuple[Array, Trace]:
        own = log_density if context is None else lambda x: log_density(x, context)
        point, trace = chain(kernel, own, at(own, x), key, steps)
        return point.x, trace

    return jax.vmap(one)(x, random.example_keys(key, x.shape[0]), context)
