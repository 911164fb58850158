"""Consistency models: a diffusion's network that goes to the data in one step.

A consistency function f(x_t, t) is the same all along a path of the probability-flow ODE: its end.
It is trained to be the same at neighbouring times, and is x_t itself where there is no noise, as
the denoiser of every prediction is except a `DataPrediction`. So it stands in the place of a
denoiser, and the sampler `multistep_consistency` draws with it in as few steps as are asked for.

Song et al. 2023, Consistency models, arXiv:2303.01469; Song & Dhariwal 2024, arXiv:2310.14189.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from genjax_models.core import random
from genjax_models.core.conditions import check_examples
from genjax_models.core.distributions import sum_entries
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player
from genjax_models.core.preprocess import to_unit_range
from genjax_models.core.types import Array, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import value
from genjax_models.diffusion.diffusion import Diffusion
from genjax_models.diffusion.guidance import Condition, classifier_free
from genjax_models.diffusion.losses import first_time, mean_entries
from genjax_models.diffusion.samplers import (
    Denoiser,
    Sampler,
    linear_timesteps,
    predict_x0_eps,
    sample_loop,
)
from genjax_models.diffusion.schedules import (
    NoiseScale,
    Schedule,
    bind,
    check_signal,
    noise_scale,
)


@struct.dataclass
class ConsistencyOutputs:
    """Outputs of a forward pass; the first axis of every array is the examples.

    Attributes:
        x_0: Data, in [-1, 1] if they are discrete `[B, ...]`.
        x_t: Noisy data `[B, ...]`.
        x_s: The state one step further along the path, with less noise `[B, ...]`.
        t: Times of x_t `[B]`.
        s: Times of x_s `[B]`.
        prediction: f(x_t, t) `[B, ...]`.
        target: f(x_s, s), without a gradient `[B, ...]`.
    """

    x_0: Array
    x_t: Array
    x_s: Array
    t: Array
    s: Array
    prediction: Array
    target: Array


def squared_difference(out: ConsistencyOutputs) -> Array:
    """(f(x_t, t) - f(x_s, s))^2, the mean over entries `[B]`."""
    return mean_entries((out.prediction - out.target) ** 2)


def pseudo_huber(out: ConsistencyOutputs) -> Array:
    """sqrt(|f(x_t, t) - f(x_s, s)|^2 + c^2) - c over the root of D, c = 0.00054 sqrt(D) `[B]`.

    Song & Dhariwal 2024, arXiv:2310.14189, eq. 7.
    """
    root = out.prediction[0].size ** 0.5
    c = 0.00054 * root
    square = sum_entries((out.prediction - out.target) ** 2)
    return (jnp.sqrt(square + c**2) - c) / root


def multistep_consistency(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    timesteps: Array,
    key: Key,
    *,
    trajectory: bool = False,
) -> Array:
    """The sampler of consistency models: to the data, back to the next time with new noise, ...

    Here `denoise(x_t, t)` is f(x_t, t), the end of the path. It is asked once a step; the timestep
    t = 1 alone makes one step. All else as in `Sampler`.

    References:
        Song et al. 2023, arXiv:2303.01469, algorithm 1.
    """

    def step(x: Array, memory: Any, at: NoiseScale, to: NoiseScale, key: Key) -> tuple[Array, Any]:
        noise = random.normal(key, x.shape, x.dtype)
        return to.alpha * denoise(x, at.t) + to.sigma * noise, memory

    return sample_loop(step, schedule, x, timesteps, key, trajectory=trajectory)


@value
class Consistency:
    """A diffusion model that learns to go to the data in one step, from a trained one or alone.

    Attributes:
        diffusion: Network, schedule, prediction and conditions of both student and teacher.
        intervals: N, the number of steps into which a path is cut.
        distil: Whether a step along the path is that of a trained teacher, which lies in the state
            (`with_teacher` puts it there); or else x_s is the data with less of the same noise.
        guidance: Weight of classifier-free guidance of the teacher; the student has it built in.
    """

    diffusion: Diffusion
    intervals: int = 40
    distil: bool = True
    guidance: float = 1.0

    def __post_init__(self) -> None:
        """Refuses settings that cannot be.

        Raises:
            ValueError: There are no intervals, or x_0 does not follow from the prediction at t = 1.
        """
        if self.intervals < 1:
            raise ValueError(f"a path cannot be cut into {self.intervals} steps: give 1 or more")
        check_signal(self.diffusion.prediction, self.diffusion.schedule, 1.0)  # a path's start

    @property
    def spec(self) -> DataSpec:
        """Description of one example."""
        return self.diffusion.spec

    @property
    def num_classes(self) -> int | None:
        """Number of labels of p(x | label); None for p(x)."""
        return self.diffusion.num_classes

    @property
    def loss(self) -> Loss:
        """`consistency`, the difference of f between neighbouring times."""
        return Loss(self.forward, {"consistency": pseudo_huber})

    @property
    def players(self) -> Mapping[str, Player]:
        """One player: the student."""
        return {"consistency": Player(self.loss, tuple(self.diffusion.players["diffusion"].owns))}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters, which are the teacher's too."""
        params, state = self.diffusion.init(key, batch)
        return params, self.with_teacher(state, params) if self.distil else state

    def with_teacher(self, state: State, teacher: Params) -> State:
        """The state with the parameters of a trained diffusion as the teacher."""
        return {**state, "teacher": teacher}

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[ConsistencyOutputs, State]:
        """Computes the consistency function at both ends of a step on the path of each example."""
        model, num = self.diffusion, batch["x"].shape[0]
        check_examples(batch["x"], self.spec)
        key_x, key_t, key_noise, key_label = jax.random.split(key, 4)
        x = model.preprocess.apply(batch["x"], key_x, model.spec)
        label = batch.get("label")
        schedule = bind(model.schedule, params)
        t_0 = first_time(schedule, model.max_log_snr, model.steps)
        u, _ = model.time_sampler.draw(key_t, num, model.time_sampler.init())
        n = jnp.ceil(u * self.intervals)
        t, s = (t_0 + (1.0 - t_0) * i / self.intervals for i in (n, n - 1.0))
        x_0 = to_unit_range(x, model.prepared)
        at, to = (noise_scale(schedule, time, x_0.ndim) for time in (t, s))
        noise = random.normal(key_noise, x_0.shape)
        x_t = at.alpha * x_0 + at.sigma * noise
        x_s = to.alpha * x_0 + to.sigma * noise
        if self.distil:
            x_s = self._teacher_step(state, x_t, at, to, model.condition_of(x, label))
        condition = model.condition_of(x, label, key_label if train else None)

        def f(x: Array, scale: NoiseScale) -> Array:
            out, _ = model.predict(params, schedule, condition, x, scale, state=state)
            return out.denoised

        target = jax.lax.stop_gradient(f(x_s, to))
        return ConsistencyOutputs(x_0, x_t, x_s, t, s, f(x_t, at), target), state

    @entry("num", "sampler", "timesteps", "trajectory")
    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        label: Array | int | None = None,
        condition: Array | None = None,
        sampler: Sampler = multistep_consistency,
        timesteps: Array | None = None,
        trajectory: bool = False,
        state: State | None = None,
    ) -> Array:
        """Draws examples `[num, *shape]` in the data's range.

        Args:
            params: The model's parameters.
            key: PRNG key.
            num: Number of examples.
            label: Labels of a conditional model, `[num]` or one for all; uniform ones where None.
            condition: Result of the model's `condition_fn` `[num, ...]`, if it has one.
            sampler: A sampler that suits a consistency function.
            timesteps: Times at which the sampler asks it `[n]`; t = 1 alone where None.
            trajectory: Whether to return all states of the sampler `[n + 1, num, *shape]`.
            state: The model's state.
        """
        return self.diffusion.sample(
            params,
            key,
            num,
            label=label,
            condition=condition,
            sampler=sampler,
            timesteps=linear_timesteps(1) if timesteps is None else timesteps,
            trajectory=trajectory,
            state=state,
        )

    def _teacher_step(
        self, state: State, x_t: Array, at: NoiseScale, to: NoiseScale, condition: Condition
    ) -> Array:
        """The teacher's step by DDIM from one noise scale to the next `[B, ...]`."""
        model, teacher = self.diffusion, state["teacher"]
        schedule = bind(model.schedule, teacher)

        def denoiser(condition: Condition) -> Denoiser:
            def denoise(x: Array, t: Array) -> Array:
                del t
                out, _ = model.predict(teacher, schedule, condition, x, at, state=state)
                return model.clip_denoised(out.denoised)

            return denoise

        denoise = denoiser(condition)
        if condition.context is not None:
            without = denoiser(condition._replace(context=jnp.zeros_like(condition.context)))
            denoise = classifier_free(denoise, without, self.guidance)
        x_0, eps = predict_x0_eps(denoise, x_t, at)
        return jax.lax.stop_gradient(to.alpha * x_0 + to.sigma * eps)
