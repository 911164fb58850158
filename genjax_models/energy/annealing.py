"""Annealed importance sampling: weighted chains from a distribution that is easy to sample.

Chains follow a path of densities f_beta from beta = 0, a distribution that is easy to sample, to
beta = 1, the target. Each carries an importance weight,

    w = prod_t f_(beta_t)(x_(t-1)) / f_(beta_(t-1))(x_(t-1)),   x_t ~ T_(beta_t)(. | x_(t-1)),

where T_beta leaves f_beta invariant. The mean of w is an unbiased estimate of Z_1 / Z_0 for any
number of steps. Its logarithm is biased downwards, and less so the slower the annealing.
Densities are plain functions, so that models of every family can be annealed.

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
from genjax_models.energy.mcmc import ChainState, Kernel, LogDensity, init, of_types, run_chain

Path: TypeAlias = Callable[[Array, Array], Array]
"""`(x [...], beta []) -> []`: the log-density, up to a constant, at each point of the path."""


class AnnealedSamples(NamedTuple):
    """Weighted samples of the density at beta = 1.

    Attributes:
        x: The chains' last positions `[N, ...]`.
        log_weight: The chains' log weights `[N]`, in nats.
        acceptance_rate: Mean acceptance of the chains at each beta after the first `[T]`.
        step_size: The kernel's step size at each of those `[T]`.
    """

    x: Array
    log_weight: Array
    acceptance_rate: Array
    step_size: Array


class LogPartition(NamedTuple):
    """An estimate of log(Z_1 / Z_0).

    Attributes:
        value: Logarithm of the mean weight `[]`, in nats.
        standard_error: Standard error of the value `[]`: the weights' standard deviation over their
            mean and sqrt(N). It is reliable only if the effective sample size is not small.
        effective_sample_size: (sum w)^2 / sum w^2 `[]`, between 1 and N.
    """

    value: Array
    standard_error: Array
    effective_sample_size: Array

    @staticmethod
    def of_weights(log_weight: Array) -> LogPartition:
        """Estimates from the chains' log weights `[N]`."""
        num = log_weight.shape[0]
        log_mean = jax.nn.logsumexp(log_weight) - jnp.log(num)
        w = jnp.exp(log_weight - log_mean)  # mean 1
        error = jnp.std(w, ddof=1) / jnp.sqrt(num)
        return LogPartition(log_mean, error, num / jnp.mean(w**2))


def geometric(log_base: LogDensity, log_target: LogDensity) -> Path:
    """The geometric path: log f_beta = (1 - beta) log f_0 + beta log f_1."""
    return lambda x, beta: (1.0 - beta) * log_base(x) + beta * log_target(x)


def sigmoidal(num: int, delta: float = 4.0) -> Array:
    """`num` + 1 values of beta from 0 to 1, dense at both ends.

    beta_t is sigmoid(delta (2 t / T - 1)), rescaled to [0, 1].

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
) -> AnnealedSamples:
    """Runs chains along a path, weighted by annealed importance sampling.

    Args:
        kernel: One step of a chain.
        path: Densities between the start and the target.
        betas: Increasing values from 0 to 1 `[T + 1]`.
        x: Exact samples of the density at beta = 0 `[N, ...]`.
        key: PRNG key.
        steps: Number of steps at each beta after the first.
        step_sizes: The kernel's step size at each of those `[T]` (see `tune_step_sizes`); by
            default `kernel.step_size`.
    """
    if step_sizes is None:
        step_sizes = jnp.full(len(betas) - 1, kernel.step_size)

    def step(carry: Any, now: tuple[Array, Array, Array]) -> tuple[Any, Array]:
        states, log_weight = carry
        after, gained, acceptance = _next_beta(kernel, path, states, now, key, steps)
        return of_types((after, log_weight + gained), carry), acceptance

    states = jax.vmap(lambda x: init(lambda y: path(y, betas[0]), x))(x)
    scanned = (betas[1:], step_sizes, jnp.arange(len(betas) - 1))
    start = (states, jnp.zeros(len(x)))
    (states, log_weight), acceptance = jax.lax.scan(step, start, scanned)
    return AnnealedSamples(states.position, log_weight, acceptance, step_sizes)


def tune_step_sizes(
    kernel: Kernel,
    path: Path,
    betas: Array,
    x: Array,
    key: Key,
    *,
    steps: int = 1,
    target_acceptance_rate: float = 0.65,
    learning_rate: float = 0.2,
) -> Array:
    """Finds a step size for each beta `[T]` that gives a target acceptance rate.

    In a first annealing, each step size follows the acceptance at the beta before it:
    log eps_(t+1) = log eps_t + learning_rate (accepted_t - target). The samples to be weighted must
    come from a second annealing with other chains: step sizes that depend on a chain's own history
    would bias its weight.

    Args:
        kernel: One step of a chain, with the first step size.
        path: Densities between the start and the target.
        betas: Increasing values from 0 to 1 `[T + 1]`.
        x: Samples of the density at beta = 0 `[N, ...]`.
        key: PRNG key.
        steps: Number of steps at each beta.
        target_acceptance_rate: Mean acceptance to reach; 0.65 is usual for HMC, 0.57 for MALA.
        learning_rate: Step size of the updates of log eps.
    """

    def step(carry: Any, now: tuple[Array, Array]) -> tuple[Any, Array]:
        states, log_eps = carry
        beta, t = now
        eps = jnp.exp(log_eps)
        states, _, accepted = _next_beta(kernel, path, states, (beta, eps, t), key, steps)
        log_eps = log_eps + learning_rate * (accepted - target_acceptance_rate)
        return of_types((states, log_eps), carry), eps

    states = jax.vmap(lambda x: init(lambda y: path(y, betas[0]), x))(x)
    start = (states, jnp.log(jnp.asarray(kernel.step_size, jnp.float32)))
    return jax.lax.scan(step, start, (betas[1:], jnp.arange(len(betas) - 1)))[1]


def _next_beta(
    kernel: Kernel,
    path: Path,
    states: ChainState,
    now: tuple[Array, Array, Array],
    key: Key,
    steps: int,
) -> tuple[ChainState, Array, Array]:
    """The chains' states after the next beta, gains in log weight `[N]`, and mean acceptance."""
    beta, step_size, t = now
    kernel_now = dataclasses.replace(cast(Any, kernel), step_size=step_size)

    def log_density(x: Array) -> Array:
        return path(x, beta)

    def one(before: ChainState, key: Key) -> tuple[ChainState, Array, Array]:
        state = init(log_density, before.position)
        after, info = run_chain(kernel_now, log_density, state, key, steps)
        return after, state.log_density - before.log_density, info.acceptance_rate

    keys = random.example_keys(jax.random.fold_in(key, t), states.position.shape[0])
    states, gained, acceptance = jax.vmap(one)(states, keys)
    return states, gained, jnp.mean(acceptance)


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
    """Estimates a decoder's log p(x) = log E_p(z)[p(x | z)], by annealing from prior to posterior.

    The path leads from p(z) to p(z) p(x | z), whose normalising constant is p(x). Step sizes are
    tuned for each example, on other chains.

    Args:
        log_likelihood: `(x [...], z [...]) -> []`: log p(x | z), in nats.
        log_prior: `z [...] -> []`: log p(z), normalised.
        z: Samples of the prior, the initial positions of every example's chains `[N, ...]`.
        x: Examples `[B, ...]`.
        key: PRNG key.
        kernel: One step of a chain.
        betas: Increasing values from 0 to 1 `[T + 1]`.
        steps: Number of steps at each beta.

    Returns:
        The estimates `[B]`, in expectation no higher than log p(x).

    References:
        Wu et al. 2017, arXiv:1611.04273, sec. 3.
    """

    def one(x: Array, key: Key) -> LogPartition:
        key_tune, key_run = jax.random.split(key)

        def path(z: Array, beta: Array) -> Array:
            return log_prior(z) + beta * log_likelihood(x, z)

        sizes = tune_step_sizes(kernel, path, betas, z, key_tune, steps=steps)
        samples = anneal(kernel, path, betas, z, key_run, steps=steps, step_sizes=sizes)
        return LogPartition.of_weights(samples.log_weight)

    return jax.vmap(one)(x, random.example_keys(key, x.shape[0]))
