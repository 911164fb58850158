"""Flow matching: a network learns the velocity of paths from noise, or from anything, to data."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from genjax_models.core import random
from genjax_models.core.conditions import check_examples, labels_to_sample
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.preprocess import from_unit_range, to_unit_range
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.diffusion import grids, samplers
from genjax_models.diffusion.conditioning import (
    check_guidance,
    context_of,
    hide_some,
    split_variance,
)
from genjax_models.diffusion.couplings import Coupling, Interpolant, independent
from genjax_models.diffusion.guidance import classifier_free
from genjax_models.diffusion.losses import mean_entries
from genjax_models.diffusion.samplers import Denoiser, Sampler
from genjax_models.diffusion.schedules import RectifiedFlow
from genjax_models.diffusion.times import Times, low_discrepancy


@struct.dataclass
class FlowMatchingOutputs:
    """What one pass gives; every array's first axis is the examples.

    Attributes:
        x_0: The data, in [-1, 1] if they are discrete `[B, ...]`.
        x_1: Where their paths begin: noise, or examples of the base `[B, ...]`.
        x_t: The state on the path `[B, ...]`.
        t: The times, 0 at the data `[B]`.
        velocity: The path's, dx_t / dt `[B, ...]`.
        prediction: The network's `[B, ...]`.
        weight: 1 over the density of the times `[B]`.
    """

    x_0: Array
    x_1: Array
    x_t: Array
    t: Array
    velocity: Array
    prediction: Array
    weight: Array


def flow_matching(out: FlowMatchingOutputs) -> Array:
    """The squared error of the velocity, the mean over entries `[B]`.

    Lipman et al. 2023, arXiv:2210.02747, eq. 14; Tong et al. 2024, arXiv:2302.00482, eq. 8.
    """
    return out.weight * mean_entries((out.prediction - out.velocity) ** 2)


@dataclasses.dataclass(frozen=True)
class FlowMatching:
    """A flow between two distributions, learned from paths between their examples.

    x_t lies on a path from the data, t = 0, to noise or to examples of a base, t = 1. The network
    learns the mean velocity u(x_t, t), and the ODE dx / dt = u takes the base to the data. The
    samplers are those of `Diffusion`: they see x_t - t u as the denoised data, on the schedule
    `RectifiedFlow`.

    Attributes:
        network: As of `Diffusion`; it is told the log-SNR of the straight path at t.
        spec: What one example is.
        coupling: Which noise goes with which example.
        path: From x_0 to x_1.
        base: The name of the batch's entry that holds x_1, examples like the data; None for noise.
        num_classes: Number of labels to be conditional on; None for none.
        drop_label: How often training hides the label, so that the model can be guided.
        times: How training draws times.

    References:
        Lipman et al. 2023, arXiv:2210.02747; Liu et al. 2023, arXiv:2209.03003; Albergo et al.
        2023, arXiv:2303.08797.
    """

    network: nn.Module
    spec: DataSpec = DIGITS
    coupling: Coupling = independent
    path: Interpolant = Interpolant()
    base: str | None = None
    num_classes: int | None = None
    drop_label: float = 0.0
    times: Times = low_discrepancy

    @property
    def schedule(self) -> RectifiedFlow:
        """The schedule on which samplers see the model."""
        return RectifiedFlow()

    @property
    def loss(self) -> Loss:
        """The squared error of the velocity."""
        return Loss(self.forward, {"flow_matching": flow_matching})

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, who owns everything."""
        return {"flow_matching": Player(self.loss, ("network",))}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters, and the memory that the times are drawn by.

        Raises:
            ValueError: The batch or the network's output does not fit the model.
        """
        check_examples(batch["x"], self.spec)
        key_network, key_forward = jax.random.split(key)
        x = to_unit_range(jnp.asarray(batch["x"]), self.spec)
        args = (x, jnp.zeros(x.shape[0]), self._context(batch.get("label"), x.shape[0]))
        params, state = init_modules(key_network, {"network": (self.network, args)})
        state["times"] = self.times.init()
        # Abstractly: what the network returns is checked, and nothing is computed.
        forward = functools.partial(self.forward, train=False, state=state)
        jax.eval_shape(forward, params, batch, key_forward)
        return params, state

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[FlowMatchingOutputs, State]:
        """A place on each example's path, and the network's velocity there."""
        key_x, key_z, key_t, key_label, key_network = jax.random.split(key, 5)
        x_0 = to_unit_range(batch["x"], self.spec)
        x_1 = self._start(batch, key_x, x_0)
        memory = state.get("times", {})
        t, weight = self.times.draw(key_t, x_0.shape[0], memory)
        z = random.normal(key_z, x_0.shape)
        x_t, velocity = self.path(x_0, x_1, z, t.reshape(-1, *(1,) * (x_0.ndim - 1)))
        context = self._context(batch.get("label"), x_0.shape[0])
        if train and context is not None:
            context = hide_some(context, key_label, self.drop_label)
        prediction, state = self._velocity(
            params, state, x_t, t, context, key=key_network, train=train
        )
        out = FlowMatchingOutputs(x_0, x_1, x_t, t, velocity, prediction, weight)
        if train:
            memory = self.times.update(memory, t, flow_matching(out) / weight)
            state = {**state, "times": memory}
        return out, state

    @entry("num", "guidance", "sampler", "times", "trajectory", base="spec")
    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        label: Array | int | None = None,
        guidance: float = 1.0,
        base: Array | None = None,
        sampler: Sampler = samplers.euler,
        times: Array | None = None,
        trajectory: bool = False,
        state: State | None = None,
    ) -> Array:
        """New examples `[num, *shape]` in the data's range.

        Args:
            params: The model's parameters.
            key: What the draws are a function of; example i's are of the key and i alone.
            num: How many.
            label: Of a conditional model: `[num]` labels or one for all; uniform ones where None.
            guidance: Weight of classifier-free guidance; 1 changes nothing.
            base: Examples of the base to start from `[num, *shape]`; noise where None.
            sampler: One that draws no noise: `euler`, `heun`, `dpm_solver_2m`, ...
            times: The sampler's times `[n]`; 50 even ones where None (`grids` has others).
            trajectory: Whether to return all the sampler's states `[n + 1, num, *shape]`.
            state: The model's state.

        Raises:
            ValueError: The model lacks what is asked of it, or is not given what it starts from.
        """
        check_guidance(guidance, self.num_classes, self.drop_label)
        key_label, key_start, key_steps = jax.random.split(key, 3)
        label = labels_to_sample(label, self.num_classes, num, key_label)
        times = grids.linear(50) if times is None else times
        if self.base is not None and base is None:
            raise ValueError("the model starts from examples, not from noise: pass base=[num, ...]")
        if base is None:
            x = samplers.start(self.schedule, (num, *self.spec.shape), times, key_start)
        else:
            x = to_unit_range(base, self.spec)
        denoise = classifier_free(
            self.denoiser(params, label=label, state=state),
            self.denoiser(params, state=state),
            guidance,
        )
        x = sampler(denoise, self.schedule, x, times, key_steps, trajectory=trajectory)
        return from_unit_range(x, self.spec)

    def denoiser(
        self, params: Params, *, label: Array | None = None, state: State | None = None
    ) -> Denoiser:
        """`(x_t, t) -> x_t - t u(x_t, t)`: E[x_0 | x_t] where the path is straight.

        Args:
            params: The model's parameters.
            label: Of a conditional model, the labels `[B]`; None for p(x) if labels were dropped.
            state: The model's state.
        """

        def denoise(x_t: Array, t: Array) -> Array:
            num = x_t.shape[0]
            t = jnp.broadcast_to(t, (num,))
            u, _ = self._velocity(params, state or {}, x_t, t, self._context(label, num))
            return x_t - t.reshape(-1, *(1,) * (x_t.ndim - 1)) * u

        return denoise

    def _context(self, label: Array | None, num: int) -> Array | None:
        return context_of(label, self.num_classes, self.drop_label > 0.0, num)

    def _start(self, batch: Batch, key: Key, x_0: Array) -> Array:
        """Where the examples' paths begin `[B, ...]`."""
        if self.base is None:
            return self.coupling(key, x_0)
        if self.base not in batch:
            raise ValueError(
                f"the batch has no entry {self.base!r}, where paths are to begin: it has "
                f"{', '.join(batch)}"
            )
        return to_unit_range(batch[self.base], self.spec)

    def _velocity(
        self,
        params: Params,
        state: State,
        x_t: Array,
        t: Array,
        context: Array | None,
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Array, State]:
        """The network's velocity `[B, ...]` at times `[B]`, and the state after the pass."""
        args = (x_t, self.schedule.log_snr(t), context)
        out, state = apply_module(
            "network", self.network, params, state, *args, key=key, train=train
        )
        return split_variance(out, x_t.shape, learned=False)[0], state
