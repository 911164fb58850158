"""Annealing: chains from a law that is easy to sample to one that is not, and what they weigh.

Between the two lies a path of densities f_beta, and the chains go along it from beta = 0 to 1. Each
carries an importance weight,

    w = prod_t f_(beta_t)(x_(t-1)) / f_(beta_(t-1))(x_(t-1)),   x_t ~ T_(beta_t)(. | x_(t-1)),

where T_beta leaves f_beta as it is. The mean of w is an unbiased estimate of Z_1 / Z_0 however few
steps there are, so log of it is, in the mean, too low: the better, the slower the annealing.
Everything here sees callables: a family's model is handed over as its log-density.

References:
    Neal 2001, Annealed importance sampling, arXiv:physics/9803008 (eq. 11-12). Wu et al. 2017, On
    the quantitative analysis of decoder-based generative models, arXiv:1611.04273.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp

from genjax_models.core import random
from genjax_models.core.types import Array, Key
from genjax_models.energy.mcmc import Kernel, LogDensity, Point, at, chain, of_types

Path: TypeAlias = Callable[[Array, Array], Array]
"""`(x [...], beta []) -> []`: the log-density, up to a constant, at each place of the way."""


class Annealed(NamedTuple):
    """Chains that went all the way.

    Attributes:
        x: Where they ended `[N, ...]`.
        log_weight: Of each `[N]`, in nats.
        acceptance: Mean over the chains, at each beta after the first `[T]`.
        step_size: The kernel's, at each of those `[T]`.
    """

    x: Array
    log_weight: Array
    acceptance: Array
    step_size: Array


class LogPartition(NamedTuple):
    """An estimate of log(Z_1 / Z_0).

    Attributes:
        value: log of the mean weight `[]`, in nats.
        standard_error: Of the value `[]`: the weights' standard deviation over their mean and
            sqrt(N). It is to be trusted while the effective sample size is not small.
        effective_sample_size: (sum w)^2 / sum w^2 `[]`, between 1 and N.
    """

    value: Array
    standard_error: Array
    effective_sample_size: Array


def geometric(log_base: LogDensity, log_target: LogDensity) -> Path:
    """The usual path: log f_beta = (1 - beta) log f_0 + beta log f_1."""
    return lambda x, beta: (1.0 - beta) * log_base(x) + beta * log_target(x)


def sigmoidal(num: int, delta: float = 4.0) -> Array:
    """`num` + 1 values of beta from 0 to 1, dense at both ends.

    beta_t is sigma(delta (2 t / T - 1)), brought to [0, 1].

    References:
        Wu et al. 2017, arXiv:1611.04273, sec. 4 (the schedule of their experiments).
    """
    s = jax.nn.sigmoid(delta * jnp.linspace(-1.0, 1.0, num + 1))
    return (s - s[0]) / (s[-1] - s[0])


def anneal(
    kernel: Kernel,
    path: Path,
    betas: Array,
    x: Array,
    key: Key,
    *,
    steps: int = 1,
    step_sizes: Array | None = None,
) -> Annealed:
    """Takes chains along a path: annealed MCMC, with the weights of annealed importance sampling.

    Args:
        kernel: One step of a chain.
        path: The densities on the way.
        betas: From 0, where the chains start, to 1 `[T + 1]`.
        x: Exact samples of the density at beta = 0 `[N, ...]`.
        key: What the noise is a function of.
        steps: Steps at each beta after the first.
        step_sizes: The kernel's step size at each of those `[T]` (see `tuned_step_sizes`); its own
            where None.

    Returns:
        Where the chains end, and their weights.
    """
    if step_sizes is None:
        step_sizes = jnp.full(len(betas) - 1, kernel.step_size)

    def level(carry: Any, now: tuple[Array, Array, Array]) -> tuple[Any, Array]:
        points, log_weight = carry
        after, gained, acceptance = _level(kernel, path, points, now, key, steps)
        return of_types((after, log_weight + gained), carry), acceptance

    points = jax.vmap(lambda x: at(lambda y: path(y, betas[0]), x))(x)
    levels = (betas[1:], step_sizes, jnp.arange(len(betas) - 1))
    start = (points, jnp.zeros(len(x)))
    (points, log_weight), acceptance = jax.lax.scan(level, start, levels)
    return Annealed(points.x, log_weight, acceptance, step_sizes)


def tuned_step_sizes(
    kernel: Kernel,
    path: Path,
    betas: Array,
    x: Array,
    key: Key,
    *,
    steps: int = 1,
    acceptance: float = 0.65,
    rate: float = 0.2,
) -> Array:
    """A step size for each beta `[T]`, with which about so many proposals are accepted.

    A first annealing finds them, in which a step size follows the acceptance of the beta before:
    log eps_(t+1) = log eps_t + rate (accepted_t - acceptance). The annealing that is weighed is a
    second one, with other chains: step sizes that depend on its own would make it biased.

    Args:
        kernel: One step of a chain; its step size is the first.
        path: The densities on the way.
        betas: From 0 to 1 `[T + 1]`.
        x: Samples of the density at beta = 0 `[N, ...]`.
        key: What the noise is a function of.
        steps: Steps at each beta.
        acceptance: The mean acceptance to reach; 0.65 is usual for HMC, 0.57 for MALA.
        rate: How fast they follow.
    """

    def level(carry: Any, now: tuple[Array, Array]) -> tuple[Any, Array]:
        points, log_eps = carry
        beta, t = now
        eps = jnp.exp(log_eps)
        points, _, accepted = _level(kernel, path, points, (beta, eps, t), key, steps)
        return of_types((points, log_eps + rate * (accepted - acceptance)), carry), eps

    points = jax.vmap(lambda x: at(lambda y: path(y, betas[0]), x))(x)
    start = (points, jnp.log(jnp.asarray(kernel.step_size, jnp.float32)))
    return jax.lax.scan(level, start, (betas[1:], jnp.arange(len(betas) - 1)))[1]


def _level(
    kernel: Kernel,
    path: Path,
    points: Point,
    now: tuple[Array, Array, Array],
    key: Key,
    steps: int,
) -> tuple[Point, Array, Array]:
    """The chains at the next beta, what they gained in log weight `[N]`, their acceptance."""
    beta, step_size, t = now
    kernel_now = dataclasses.replace(cast(Any, kernel), step_size=step_size)

    def log_density(x: Array) -> Array:
        return path(x, beta)

    def one(point: Point, key: Key) -> tuple[Point, Array, Array]:
        here = at(log_density, point.x)
        after, trace = chain(kernel_now, log_density, here, key, steps)
        return after, here.log_density - point.log_density, trace.acceptance

    keys = random.example_keys(jax.random.fold_in(key, t), points.x.shape[0])
    points, gained, acceptance = jax.vmap(one)(points, keys)
    return points, gained, jnp.mean(acceptance)


def log_partition(log_weight: Array) -> LogPartition:
    """The estimate of log(Z_1 / Z_0) by the chains' log weights `[N]`, with its error bar."""
    num = log_weight.shape[0]
    log_mean = jax.nn.logsumexp(log_weight) - jnp.log(num)
    w = jnp.exp(log_weight - log_mean)  # of mean 1
    error = jnp.std(w, ddof=1) / jnp.sqrt(num)
    return LogPartition(log_mean, error, num / jnp.mean(w**2))


def log_evidence(
    log_likelihood: Callable[[Array, Array], Array],
    log_prior: LogDensity,
    z: Array,
    x: Array,
    key: Key,
    *,
    kernel: Kernel,
    betas: Array,
    steps: int = 1,
) -> LogPartition:
    """The evidence log E_p(z)[p(x | z)] of examples under a decoder, by annealing to its posterior.

    From the prior to p(z) p(x | z), whose constant is p(x). Step sizes are tuned for each example,
    on chains of their own.

    Args:
        log_likelihood: `(x [...], z [...]) -> []`: log p(x | z), in nats.
        log_prior: `z [...] -> []`: log p(z), normalised.
        z: Samples of the prior, one a chain `[N, ...]`: the same serve every example.
        x: Examples `[B, ...]`.
        key: What the noise is a function of.
        kernel: One step of a chain.
        betas: From 0 to 1 `[T + 1]`.
        steps: Steps at each beta.

    Returns:
        The estimates `[B]`, in the mean no higher than log p(x).

    References:
        Wu et al. 2017, arXiv:1611.04273, sec. 3.
    """

    def one(x: Array, key: Key) -> LogPartition:
        key_tune, key_run = jax.random.split(key)

        def path(z: Array, beta: Array) -> Array:
            return log_prior(z) + beta * log_likelihood(x, z)

        sizes = tuned_step_sizes(kernel, path, betas, z, key_tune, steps=steps)
        done = anneal(kernel, path, betas, z, key_run, steps=steps, step_sizes=sizes)
        return log_partition(done.log_weight)

    return jax.vmap(one)(x, random.example_keys(key, x.shape[0]))
