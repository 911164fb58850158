"""Samples of the model for its own training: chains that go on from step to step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from genjax_models.core import buffer, random
from genjax_models.core.buffer import Buffer
from genjax_models.core.types import Array, Key, State
from genjax_models.energy.mcmc import Kernel, Langevin, LogDensity, Trace, chains
from genjax_models.energy.reference import Reference


@dataclasses.dataclass(frozen=True)
class Replay:
    """How training draws samples of the model: persistent chains in a replay buffer.

    Each example of a batch owns `size / B` chains. At each step one of them goes on, or starts
    anew from the reference, and its end takes its place. Without a buffer (`size=0`) every chain
    starts anew: short-run chains (Nijkamp et al. 2019, arXiv:1904.09770).

    Attributes:
        kernel: One step of a chain.
        steps: Steps that a chain makes a training step.
        size: Number of chains in the buffer, a multiple of the batch; 0 for none.
        fresh: The probability with which a chain starts anew.

    References:
        Tieleman 2008 (persistent chains); Du and Mordatch 2019, arXiv:1903.08689, sec. 3.2.
    """

    kernel: Kernel = Langevin(1e-2)
    steps: int = 20
    size: int = 12_800
    fresh: float = 0.05

    def __post_init__(self) -> None:
        """Refuses settings that cannot be.

        Raises:
            ValueError: Which, and what may be.
        """
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}: a chain makes at least 1 step")
        if self.size < 0:
            raise ValueError(f"size is {self.size}: give the number of chains, 0 for no buffer")
        if not 0.0 <= self.fresh <= 1.0:
            raise ValueError(f"fresh is {self.fresh}: give a probability in [0, 1]")

    def init(self, key: Key, reference: Reference, shape: tuple[int, ...]) -> State:
        """The state's entry `buffer`, chains at the reference; nothing without a buffer."""
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
    ) -> tuple[Array, Trace, State]:
        """Samples of a density, which no gradient follows.

        Args:
            log_density: Of one point.
            reference: Where chains start.
            shape: Of the samples, the batch's `[B, ...]`.
            key: What the noise is a function of.
            state: The model's state.
            train: Whether the chains' ends take their places in the buffer. Otherwise any number
                of samples goes on from chains anywhere in it.

        Returns:
            The samples `[B, ...]`, the `Trace` of each `[B]`, and the state.

        Raises:
            ValueError: The buffer is no multiple of the batch.
        """
        key_slot, key_fresh, key_start, key_chain = jax.random.split(key, 4)
        anew = reference.sample(key_start, shape)
        if not self.size:
            return *_settled(self, log_density, anew, key_chain), state
        kept: Buffer = state["buffer"]
        chosen, start = (buffer.draw if train else anywhere)(key_slot, kept, shape[0])
        begins = random.uniform(key_fresh, shape[:1]) < self.fresh
        start = jnp.where(begins.reshape(-1, *[1] * (len(shape) - 1)), anew, start)
        x, trace = _settled(self, log_density, start, key_chain)
        if train:
            state = {**state, "buffer": buffer.put(kept, chosen, x)}
        return x, trace, state


def anywhere(key: Key, kept: Buffer, num: int) -> tuple[Array, Array]:
    """Slots of a whole buffer, whoever owns them: `chosen [num]` and their values `[num, ...]`."""
    size = kept.values.shape[0]
    chosen = jnp.floor(random.uniform(key, (num,)) * size).astype(jnp.int32)
    return chosen, kept.values[chosen]


def _settled(
    replay: Replay, log_density: Callable[[Array], Array], start: Array, key: Key
) -> tuple[Array, Trace]:
    ends = chains(replay.kernel, log_density, start, key, replay.steps)
    return jax.lax.stop_gradient(ends)
