"""Flow matching: a network learns the velocity of paths from noise, or from anything, to data.

A `Coupling` says which noise goes with which example. Data and noise that are drawn independently
are the usual choice, but any coupling with the right marginals gives a flow between them, and one
that pairs what is near gives straighter paths, which take fewer steps. Nor need the other end be
noise: an `Interpolant` joins data with examples of anything.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TypeAlias

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from genjax_models.core import random
from genjax_models.core.conditions import check_examples, labels_to_sample
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.preprocess import from_unit_range, to_unit_range
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import value
from genjax_models.diffusion import samplers
from genjax_models.diffusion.guidance import (
    classifier_free,
    context_of,
    drop_condition,
    is_guided,
)
from genjax_models.diffusion.losses import mean_entries
from genjax_models.diffusion.samplers import Denoiser, Sampler
from genjax_models.diffusion.schedules import RectifiedFlow
from genjax_models.diffusion.time_sampler import LowDiscrepancy, TimeSampler

Coupling: TypeAlias = Callable[[Key, Array], Array]
"""`(key, x_0 [B, ...]) -> noise [B, ...]`, each row of which is N(0, I) whatever the others are."""


def independent(key: Key, x_0: Array) -> Array:
    """Noise that is independent of the example (Lipman et al. 2023, arXiv:2210.02747)."""
    return random.normal(key, x_0.shape, x_0.dtype)


def minibatch_optimal_transport(key: Key, x_0: Array) -> Array:
    """The noise of a batch, permuted so that the squared distances to the examples are least.

    The permutation p minimises `sum_i |x_i - noise_p(i)|^2` exactly, in the order of B^3 operations
    one after the other: for 128 examples some 20 ms on a CPU, and more on an accelerator. On
    several devices each solves the problem of the whole batch.

    Args:
        key: PRNG key.
        x_0: Data `[B, ...]`.

    Returns:
        Noise `[B, ...]`: the rows of `independent(key, x_0)` in another order.

    References:
        Tong et al. 2024, arXiv:2302.00482 (OT-CFM); Pooladian et al. 2023, arXiv:2304.14772.
    """
    noise = random.normal(key, x_0.shape, x_0.dtype)
    all_x, all_noise = random.all_examples((x_0, noise))
    size = all_x.shape[0]
    x, z = (jax.lax.stop_gradient(a.reshape(size, -1)) for a in (all_x, all_noise))
    # The squares are the same in every order: |x - z|^2 = |x|^2 - 2 x z + |z|^2.
    row, column = optax.assignment.hungarian_algorithm(-x @ z.T)
    order = jnp.zeros_like(column).at[row].set(column)
    rows, _ = random.positions(x_0.shape[0])
    return all_noise[order[rows]]


def one_minus_t(t: Array) -> Array:
    """1 - t."""
    return 1.0 - t


def identity(t: Array) -> Array:
    """The time itself."""
    return t


def zero(t: Array) -> Array:
    """0 at all times."""
    return jnp.zeros_like(t)


@value
class SquaredSine:
    """scale sin^2(pi t).

    Attributes:
        scale: The value at t = 1/2.
    """

    scale: float = 1.0

    def __call__(self, t: Array) -> Array:
        """The values at times t."""
        return self.scale * jnp.sin(jnp.pi * t) ** 2


@value
class Interpolant:
    """A path from an example x_0 of one distribution to an example x_1 of another.

    `x_t = alpha(t) x_0 + beta(t) x_1 + gamma(t) z`, with z ~ N(0, I), alpha(0) = beta(1) = 1 and
    everything else 0 at the ends. The mean of its velocity given x_t is a flow u(x_t, t) that turns
    the one distribution into the other.

    A network that predicts u is sampled like any other: with `x_t - t u` in the place of the
    denoised x_0, on the schedule `RectifiedFlow`, the samplers solve dx/dt = u, from x_1 at t = 1.

    Attributes:
        alpha: The factor of x_0, a smooth function of the time.
        beta: The factor of x_1.
        gamma: The factor of z; it blurs the distributions between, which are smoother to learn.

    References:
        Albergo et al. 2023, arXiv:2303.08797, definition 2.1 (there x_0 is the base).
    """

    alpha: Callable[[Array], Array] = one_minus_t
    beta: Callable[[Array], Array] = identity
    gamma: Callable[[Array], Array] = zero

    def __call__(self, x_0: Array, x_1: Array, z: Array, t: Array) -> tuple[Array, Array]:
        """The state and its velocity.

        Args:
            x_0: Data `[B, ...]`.
            x_1: Examples of the base `[B, ...]`.
            z: Standard normal noise `[B, ...]`.
            t: Times in [0, 1], which broadcast against these.

        Returns:
            x_t and `d x_t / dt`, which is what the network is to predict, `[B, ...]` both.
        """

        def path(t: Array) -> Array:
            return self.alpha(t) * x_0 + self.beta(t) * x_1 + self.gamma(t) * z

        return jax.jvp(path, (t,), (jnp.ones_like(t),))


def bridge(scale: float = 1.0) -> Interpolant:
    """The straight line, blurred between its ends: `gamma(t) = scale sin^2(pi t)`.

    Its slope is finite everywhere; that of a Brownian bridge, sqrt(t (1 - t)), is not at the ends.
    """
    return Interpolant(gamma=SquaredSine(scale))


@struct.dataclass
class FlowMatchingOutputs:
    """Outputs of a forward pass; the first axis of every array is the examples.

    Attributes:
        x_0: Data, in [-1, 1] if they are discrete `[B, ...]`.
        x_1: The other ends of their paths: noise, or examples of the base `[B, ...]`.
        x_t: States on the paths `[B, ...]`.
        t: Times, 0 at the data `[B]`.
        velocity: Velocities of the paths, dx_t / dt `[B, ...]`.
        prediction: The network's velocities `[B, ...]`.
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


@value
class FlowMatching:
    """A flow between two distributions, learned from paths between their examples.

    x_t lies on a path from the data, t = 0, to noise or to examples of a base, t = 1. The network
    learns the mean velocity u(x_t, t), and the ODE dx / dt = u takes the base to the data. The
    samplers are those of `Diffusion`: they see x_t - t u as the denoised data, on the schedule
    `RectifiedFlow`.

    Attributes:
        network: As of `Diffusion`; it is told the log-SNR of the straight path at t.
        spec: Description of one example.
        coupling: Which noise goes with which example.
        path: The path from x_0 to x_1.
        base: Name of the batch's entry with x_1, examples like the data; None for noise.
        num_classes: Number of labels of p(x | label); None for p(x).
        drop_label: Probability with which training drops the label, so that the model can be
            guided.
        time_sampler: Distribution of the times in training.

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
    time_sampler: TimeSampler = LowDiscrepancy()

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
        """Fresh parameters, and the memory of the time sampler.

        Raises:
            ValueError: The batch or the network's output does not fit the model.
        """
        check_examples(batch["x"], self.spec)
        key_network, key_forward = jax.random.split(key)
        x = to_unit_range(jnp.asarray(batch["x"]), self.spec)
        args = (x, jnp.zeros(x.shape[0]), self._context(batch.get("label")))
        params, state = init_modules(key_network, {"network": (self.network, args)})
        state["time_sampler"] = self.time_sampler.init()
        # Abstractly: what the network returns is checked, and nothing is computed.
        forward = functools.partial(self.forward, train=False, state=state)
        jax.eval_shape(forward, params, batch, key_forward)
        return params, state

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[FlowMatchingOutputs, State]:
        """Draws a state on the path of each example, and predicts the velocity there."""
        key_x, key_z, key_t, key_label, key_network = jax.random.split(key, 5)
        x_0 = to_unit_range(batch["x"], self.spec)
        x_1 = self._base(batch, key_x, x_0)
        memory = state.get("time_sampler", {})
        t, weight = self.time_sampler.draw(key_t, x_0.shape[0], memory)
        z = random.normal(key_z, x_0.shape)
        x_t, velocity = self.path(x_0, x_1, z, t.reshape(-1, *(1,) * (x_0.ndim - 1)))
        context = self._context(batch.get("label"))
        if train and context is not None:
            context = drop_condition(context, key_label, self.drop_label)
        prediction, state = self._velocity(
            params, state, x_t, t, context, key=key_network, train=train
        )
        out = FlowMatchingOutputs(x_0, x_1, x_t, t, velocity, prediction, weight)
        if train:
            memory = self.time_sampler.update(memory, t, flow_matching(out) / weight)
            state = {**state, "time_sampler": memory}
        return out, state

    @entry("num", "guidance", "sampler", "timesteps", "trajectory", base="spec")
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
        timesteps: Array | None = None,
        trajectory: bool = False,
        state: State | None = None,
    ) -> Array:
        """Draws examples `[num, *shape]` in the data's range.

        Args:
            params: The model's parameters.
            key: PRNG key; example i depends on the key and on i alone.
            num: Number of examples.
            label: Labels of a conditional model, `[num]` or one for all; uniform ones where None.
            guidance: Weight of classifier-free guidance; 1 changes nothing.
            base: Examples of the base to start from `[num, *shape]`, if the model has one.
            sampler: A sampler that draws no noise: `euler`, `heun`, `dpm_solver_2m`, ...
            timesteps: Times at which the sampler denoises `[n]`; `linear_timesteps(50)` where None.
            trajectory: Whether to return all states of the sampler `[n + 1, num, *shape]`.
            state: The model's state.

        Raises:
            ValueError: Guidance is asked of a model whose labels were never dropped, or the base
                is missing.
        """
        guided = is_guided(guidance, self.num_classes, self.drop_label)
        key_label, key_noise, key_steps = jax.random.split(key, 3)
        label = labels_to_sample(label, self.num_classes, num, key_label)
        timesteps = samplers.linear_timesteps(50) if timesteps is None else timesteps
        if self.base is not None and base is None:
            raise ValueError("the model starts from examples, not from noise: pass base=[num, ...]")
        if base is None:
            shape = (num, *self.spec.shape)
            x = samplers.initial_noise(self.schedule, shape, timesteps, key_noise)
        else:
            x = to_unit_range(base, self.spec)
        denoise = self.denoiser(params, label=label, state=state)
        if guided:
            unconditional = self.denoiser(params, state=state)
            denoise = classifier_free(denoise, unconditional, guidance)
        x = sampler(denoise, self.schedule, x, timesteps, key_steps, trajectory=trajectory)
        return from_unit_range(x, self.spec)

    def denoiser(
        self, params: Params, *, label: Array | None = None, state: State | None = None
    ) -> Denoiser:
        """Binds parameters and label: `(x_t, t) -> x_t - t u`, E[x_0 | x_t] on straight paths.

        Args:
            params: The model's parameters.
            label: Labels `[B]` of a conditional model; None for p(x) if labels were dropped.
            state: The model's state.
        """
        context = self._context(label)

        def denoise(x_t: Array, t: Array) -> Array:
            t = jnp.broadcast_to(t, x_t.shape[:1])
            u, _ = self._velocity(params, state or {}, x_t, t, context)
            return x_t - t.reshape(-1, *(1,) * (x_t.ndim - 1)) * u

        return denoise

    def _context(self, label: Array | None) -> Array | None:
        return context_of(label, self.num_classes, self.drop_label > 0.0)

    def _base(self, batch: Batch, key: Key, x_0: Array) -> Array:
        """The other ends of the examples' paths, x_1 `[B, ...]`."""
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
        if context is not None:
            context = jnp.broadcast_to(context, (x_t.shape[0], context.shape[-1]))
        args = (x_t, self.schedule.log_snr(t), context)
        out, state = apply_module(
            "network", self.network, params, state, *args, key=key, train=train
        )
        if out.shape != x_t.shape:
            raise ValueError(
                f"the network returns {out.shape[1:]} for examples of shape {x_t.shape[1:]}, and "
                "must return the same"
            )
        return out, state
