"""Markov chain Monte Carlo: chains whose distribution approaches a density known up to a constant.

A kernel moves one chain by one step, given only a log-density `x [...] -> []`; `run_chains` runs
many chains with `jax.vmap`. A kernel is a frozen dataclass, so that it can be a model's field; its
`step_size` may also be a traced number (`dataclasses.replace`).

    Langevin    x + eps grad log p(x) + sqrt(2 eps) z, always accepted: biased by O(eps)
    MALA        the same as a proposal, accepted or rejected: exact
    HMC         L leapfrog steps of size eps with new momentum, accepted or rejected: exact

MALA and HMC are BlackJAX's. `Replay` keeps the chains of training from step to step, and
`Reference` is the distribution of the chains' initial positions.

References:
    Roberts and Tweedie 1996, Exponential convergence of Langevin distributions and their discrete
    approximations. Neal 2011, MCMC using Hamiltonian dynamics, arXiv:1206.1901. Cabezas et al.
    2024, BlackJAX: Composable Bayesian inference in JAX, arXiv:2402.10797.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp

from genjax_models.core import buffer, random
from genjax_models.core.buffer import Buffer
from genjax_models.core.distributions import Normal
from genjax_models.core.types import Array, Key, State
from genjax_models.core.values import value

LogDensity: TypeAlias = Callable[[Array], Array]
"""`x [...] -> []`: the log of a density, in nats, up to a constant."""


class ChainState(NamedTuple):
    """The state of a chain.

    Attributes:
        position: The chain's position `[...]`.
        log_density: The log-density there `[]`, in nats, up to a constant.
        gradient: The log-density's gradient there `[...]`.
    """

    position: Array
    log_density: Array
    gradient: Array


class ChainInfo(NamedTuple):
    """Statistics of a chain, averaged over its steps.

    Attributes:
        acceptance_rate: Probability with which the proposals were accepted `[]`; 1 for a kernel
            that always accepts.
        gradient_norm: Norm of the log-density's gradient `[]`.
    """

    acceptance_rate: Array
    gradient_norm: Array


class Kernel(Protocol):
    """One step of a Markov chain."""

    @property
    def step_size(self) -> Any:
        """Size of a step."""
        ...

    def __call__(
        self, log_density: LogDensity, state: ChainState, key: Key
    ) -> tuple[ChainState, Array]:
        """Takes a step: the next state, and the proposal's acceptance probability `[]`."""
        ...


@value
class Langevin:
    """The unadjusted Langevin algorithm: x + eps grad log p(x) + sqrt(2 eps) z.

    On a Gaussian of variance s^2 its stationary variance is s^2 / (1 - eps / (2 s^2)).

    Attributes:
        step_size: eps.
        noise: Standard deviation of the noise, in place of sqrt(2 eps). A smaller one samples
            p^(1/T) with the temperature T = noise^2 / (2 eps), as is usual for energies of images,
            and gives energies in units of T.

    References:
        Du and Mordatch 2019, Implicit generation and modeling with energy-based models,
        arXiv:1903.08689 (eq. 1).
    """

    step_size: float
    noise: float | None = None

    def __call__(
        self, log_density: LogDensity, state: ChainState, key: Key
    ) -> tuple[ChainState, Array]:
        """Takes a step, which is always accepted."""
        x = state.position
        noise = jnp.sqrt(2.0 * self.step_size) if self.noise is None else self.noise
        z = jax.random.normal(key, x.shape, x.dtype)
        y = x + self.step_size * state.gradient + noise * z
        return init(log_density, y.astype(x.dtype)), jnp.ones(())


@value
class MALA:
    """The Metropolis-adjusted Langevin algorithm.

    Attributes:
        step_size: eps of the proposal x + eps grad log p(x) + sqrt(2 eps) z.
    """

    step_size: float

    def __call__(
        self, log_density: LogDensity, state: ChainState, key: Key
    ) -> tuple[ChainState, Array]:
        """Takes a step, and gives the proposal's acceptance probability."""
        from blackjax.mcmc import mala

        density, wide = _widened(log_density, state)
        before: Any = mala.MALAState(*_untyped(wide))
        after, info = mala.build_kernel()(key, before, density, _step_size(self, wide))
        after = of_types(ChainState(*_untyped(after)), state)
        return after, jnp.asarray(info.acceptance_rate)


@value
class HMC:
    """Hamiltonian Monte Carlo with unit masses.

    Attributes:
        step_size: eps of a leapfrog step.
        num_integration_steps: Number of leapfrog steps of a proposal.
    """

    step_size: float
    num_integration_steps: int = 10

    def __call__(
        self, log_density: LogDensity, state: ChainState, key: Key
    ) -> tuple[ChainState, Array]:
        """Takes a step, and gives the proposal's acceptance probability."""
        from blackjax.mcmc import hmc

        density, wide = _widened(log_density, state)
        before: Any = hmc.HMCState(*_untyped(wide))
        masses = jnp.ones(state.position.size, wide.position.dtype)
        after, info = hmc.build_kernel()(
            key, before, density, _step_size(self, wide), masses, self.num_integration_steps
        )
        after = of_types(ChainState(*_untyped(after)), state)
        return after, jnp.asarray(info.acceptance_rate)


def _widened(log_density: LogDensity, state: ChainState) -> tuple[LogDensity, ChainState]:
    """Casts both to JAX's default precision, in which BlackJAX draws."""
    own = state.position.dtype
    dtype = jnp.promote_types(own, jnp.zeros(()).dtype)
    wide = jax.tree.map(lambda a: a.astype(dtype), state)
    return lambda x: log_density(x.astype(own)).astype(dtype), wide


def _step_size(kernel: Kernel, state: ChainState) -> Any:
    """The step size in the position's precision, so that a step keeps it."""
    return jnp.asarray(kernel.step_size, state.position.dtype)


def of_types(new: Any, old: Any) -> Any:
    """Casts a pytree's numbers to the types of another's, which a loop's carry must keep."""
    return jax.tree.map(lambda a, b: jnp.asarray(a, b.dtype), new, old)


def _untyped(state: Any) -> Any:
    """Passes the three fields as Any: type checkers see pytrees and floats in BlackJAX."""
    return state


def init(log_density: LogDensity, position: Array) -> ChainState:
    """The state of a chain at a position `[...]`."""
    return ChainState(position, *jax.value_and_grad(log_density)(position))


def run_chain(
    kernel: Kernel, log_density: LogDensity, state: ChainState, key: Key, steps: int
) -> tuple[ChainState, ChainInfo]:
    """Runs one chain.

    Args:
        kernel: One step.
        log_density: The density to sample.
        state: The chain's state, of the same log-density (`init`).
        key: PRNG key.
        steps: Number of steps.

    Returns:
        The state after the last step, and statistics of all steps.
    """

    def step(i: Array, carry: tuple[ChainState, ChainInfo]) -> tuple[ChainState, ChainInfo]:
        state, total = carry
        norm = jnp.linalg.norm(state.gradient.reshape(-1))
        after, acceptance = kernel(log_density, state, jax.random.fold_in(key, i))
        total = ChainInfo(total.acceptance_rate + acceptance, total.gradient_norm + norm)
        return of_types(after, state), total

    zeros = ChainInfo(jnp.zeros(()), jnp.zeros(()))
    state, total = jax.lax.fori_loop(0, steps, step, (state, zeros))
    return state, jax.tree.map(lambda a: a / steps, total)


def run_chains(
    kernel: Kernel,
    log_density: Callable[..., Array],
    positions: Array,
    key: Key,
    steps: int,
    context: Any = None,
) -> tuple[Array, ChainInfo]:
    """Runs many chains, each with noise that depends on the key and its index alone.

    Args:
        kernel: One step.
        log_density: Log-density of one position, `x [...] -> []`; with a context
            `(x [...], context) -> []`.
        positions: Initial positions `[N, ...]`.
        key: PRNG key.
        steps: Number of steps, at least 1.
        context: Conditions of each chain's density, a pytree of arrays `[N, ...]`.

    Returns:
        The last positions `[N, ...]`, and the `ChainInfo` of each chain `[N]`.

    Raises:
        ValueError: `steps` is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}: give a chain at least 1")

    def one(x: Array, key: Key, context: Any) -> tuple[Array, ChainInfo]:
        own = log_density if context is None else lambda x: log_density(x, context)
        state, info = run_chain(kernel, own, init(own, x), key, steps)
        return state.position, info

    keys = random.example_keys(key, positions.shape[0])
    return jax.vmap(one)(positions, keys, context)


class Reference(Protocol):
    """A normalised distribution over R^D that is easy to sample."""

    def log_prob(self, x: Array) -> Array:
        """The log density `[B]`, in nats, at points `[B, ...]`."""
        ...

    def sample(self, key: Key, shape: tuple[int, ...]) -> Array:
        """Draws independent points of `shape`, with the batch as the first axis."""
        ...


@value
class Gaussian:
    """A distribution of independent normal entries.

    Attributes:
        scale: Standard deviation of each entry.
        mean: Mean of each entry.
    """

    scale: float = 1.0
    mean: float = 0.0

    def log_prob(self, x: Array) -> Array:
        """The log density `[B]`, in nats, at points `[B, ...]`."""
        return self._normal(x.shape).log_prob(x)

    def sample(self, key: Key, shape: tuple[int, ...]) -> Array:
        """Draws independent points of `shape`; point i depends on the key and i alone."""
        return self._normal(shape).sample(key)

    def _normal(self, shape: tuple[int, ...]) -> Normal:
        return Normal(jnp.full(shape, self.mean), jnp.full(shape, math.log(self.scale)))


@value
class Replay:
    """How training samples the model: persistent chains in a replay buffer.

    Each example of a batch owns `size / B` chains. Each training step continues one of them, or
    restarts it from the reference, and stores its last position. Without a buffer (`size=0`) every
    chain starts from the reference: short-run chains (Nijkamp et al. 2019,
    arXiv:1904.09770).

    Attributes:
        kernel: One step of a chain.
        steps: Number of steps of a chain in a training step.
        size: Number of chains in the buffer, a multiple of the batch; 0 for none.
        reinit_probability: Probability with which a chain starts again from the reference.

    Raises:
        ValueError: A number is out of its range.

    References:
        Tieleman 2008 (persistent chains); Du and Mordatch 2019, arXiv:1903.08689, sec. 3.2.
    """

    kernel: Kernel = Langevin(1e-2)
    steps: int = 20
    size: int = 12_800
    reinit_probability: float = 0.05

    def __post_init__(self) -> None:
        """Checks the numbers."""
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}: give a chain at least 1")
        if self.size < 0:
            raise ValueError(f"size is {self.size}: give the number of chains, 0 for no buffer")
        if not 0.0 <= self.reinit_probability <= 1.0:
            raise ValueError(
                f"reinit_probability is {self.reinit_probability}: give a probability in [0, 1]"
            )

    def init(self, key: Key, reference: Reference, shape: tuple[int, ...]) -> State:
        """The state's entry `buffer`, with samples of the reference; empty without a buffer."""
        if not self.size:
            return {}
        return {"buffer": Buffer(reference.sample(key, (self.size, *shape)))}

    def draw(
        self,
        log_density: LogDensity,
        reference: Reference,
        shape: tuple[int, ...],
        key: Key,
        state: State,
        *,
        train: bool,
    ) -> tuple[Array, ChainInfo, State]:
        """Draws samples of a density, without gradient.

        Args:
            log_density: Log-density of one point.
            reference: Distribution of the chains' initial positions.
            shape: Shape of the samples, the batch's `[B, ...]`.
            key: PRNG key.
            state: The model's state.
            train: If True, the samples are put into the buffer. If False, any number of them may be
                drawn, from chains anywhere in the buffer.

        Returns:
            The samples `[B, ...]`, the `ChainInfo` of each `[B]`, and the state.

        Raises:
            ValueError: The buffer's size is not a multiple of the batch.
        """
        key_slot, key_reinit, key_start, key_chain = jax.random.split(key, 4)
        start = reference.sample(key_start, shape)
        slots = None
        if self.size:
            kept: Buffer = state["buffer"]
            slots, last = (buffer.draw if train else buffer.draw_any)(key_slot, kept, shape[0])
            reinit = random.uniform(key_reinit, shape[:1]) < self.reinit_probability
            start = jnp.where(reinit.reshape(-1, *[1] * (len(shape) - 1)), start, last)
        x, info = run_chains(self.kernel, log_density, start, key_chain, self.steps)
        x, info = jax.lax.stop_gradient((x, info))
        if train and slots is not None:
            state = {**state, "buffer": buffer.put(state["buffer"], slots, x)}
        return x, info, state
