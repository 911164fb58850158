"""Consistency models: a diffusion's network that goes to the data in one step.

A consistency function f(x_t, t) is the same all along a path of the probability-flow ODE: its end.
It is trained to be the same at neighbouring times, and is x_t itself where there is no noise, as
every denoiser of `predictions` is but `data`'s. So it is a denoiser in a diffusion's place, and the
sampler `multistep_consistency` draws with it in as few steps as its grid has.

Song et al. 2023, Consistency models, arXiv:2303.01469; Song & Dhariwal 2024, arXiv:2310.14189.
"""

from __future__ import annotations

import dataclasses
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
from genjax_models.diffusion import bound, grids, passes, samplers
from genjax_models.diffusion.conditioning import hide_some
from genjax_models.diffusion.guidance import classifier_free
from genjax_models.diffusion.learned_schedule import Learned, bind
from genjax_models.diffusion.losses import mean_entries
from genjax_models.diffusion.model import Diffusion
from genjax_models.diffusion.predictions import check_signal
from genjax_models.diffusion.samplers import Level, Sampler, walk
from genjax_models.diffusion.schedules import Schedule


@struct.dataclass
class ConsistencyOutputs:
    """What one pass gives; every array's first axis is the examples.

    Attributes:
        x_0: The data, in [-1, 1] if they are discrete `[B, ...]`.
        x_t: Noisy data `[B, ...]`.
        x_s: Where the path leads from x_t in one step `[B, ...]`.
        t: The times of x_t `[B]`.
        s: The times of x_s `[B]`.
        prediction: f(x_t, t) `[B, ...]`.
        target: f(x_s, s), which no gradient follows `[B, ...]`.
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
    denoise: samplers.Denoiser,
    schedule: Schedule,
    x: Array,
    times: Array,
    key: Key,
    *,
    trajectory: bool = False,
) -> Array:
    """The sampler of consistency models: to the data, back to the next time with new noise, ...

    Takes and returns what `samplers.heun` does, but no churn. Here `denoise(x_t, t)` is f(x_t, t),
    the path's end; it is asked once a step, and of one time, t = 1, there is one step. The key
    decides the new noise.

    References:
        Song et al. 2023, arXiv:2303.01469, algorithm 1.
    """

    def step(x: Array, memory: Any, at: Level, to: Level, key: Key) -> tuple[Array, Any]:
        noise = random.normal(key, x.shape, x.dtype)
        return to.alpha * denoise(x, at.t) + to.sigma * noise, memory

    return walk(step, schedule, x, times, key, trajectory=trajectory)


@dataclasses.dataclass(frozen=True)
class Consistency:
    """A diffusion model that learns to go to the data in one step, from a trained one or alone.

    Attributes:
        diffusion: Network, schedule, prediction and conditions, the student's and the teacher's.
        intervals: N, into how many steps the teacher's path is cut.
        distil: Whether a step along the path is the trained teacher's, which lies in the state
            (`adopt` puts it there); or else adds less of the same noise to the data.
        guidance: Weight of classifier-free guidance of the teacher; the student has it built in.
    """

    diffusion: Diffusion
    intervals: int = 40
    distil: bool = True
    guidance: float = 1.0

    def __post_init__(self) -> None:
        """Refuses settings that cannot be.

        Raises:
            ValueError: Which, and what may be.
        """
        if self.intervals < 1:
            raise ValueError(f"a path cannot be cut into {self.intervals} steps: give 1 or more")
        if not isinstance(self.diffusion.schedule, Learned):
            check_signal(self.diffusion.prediction, self.diffusion.schedule, 1.0)  # a path's start

    @property
    def spec(self) -> DataSpec:
        """What one example is."""
        return self.diffusion.spec

    @property
    def num_classes(self) -> int | None:
        """Number of labels to be conditional on; None for none."""
        return self.diffusion.num_classes

    @property
    def loss(self) -> Loss:
        """`consistency`: how much f differs between neighbouring times."""
        return Loss(self.forward, {"consistency": pseudo_huber})

    @property
    def players(self) -> Mapping[str, Player]:
        """One player: the student."""
        return {"consistency": Player(self.loss, tuple(self.diffusion.players["diffusion"].owns))}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters, and a teacher that is as fresh."""
        params, state = self.diffusion.init(key, batch)
        return params, self.adopt(state, params) if self.distil else state

    def adopt(self, state: State, teacher: Params) -> State:
        """The state with a trained diffusion's parameters for the teacher."""
        return {**state, "teacher": teacher}

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[ConsistencyOutputs, State]:
        """The consistency function at both ends of one step along each example's path."""
        model, num = self.diffusion, batch["x"].shape[0]
        check_examples(batch["x"], self.spec)
        key_x, key_t, key_noise, key_label = jax.random.split(key, 4)
        x = model.preprocess.apply(batch["x"], key_x, model.spec)
        shown = passes.known(model, x, batch.get("label"))
        schedule = bind(model.schedule, params)
        start = bound.first_time(schedule, model.max_log_snr, model.steps)
        u, _ = model.times.draw(key_t, num, model.times.init())
        n = jnp.ceil(u * self.intervals)
        t, s = (start + (1.0 - start) * i / self.intervals for i in (n, n - 1.0))
        x_0 = to_unit_range(x, model.prepared)
        at, to = (samplers.level(schedule, time, x_0.ndim) for time in (t, s))
        noise = random.normal(key_noise, x_0.shape)
        x_t = at.alpha * x_0 + at.sigma * noise
        x_s = to.alpha * x_0 + to.sigma * noise
        if self.distil:
            x_s = self._follow(state, x_t, at, to, shown)
        if train and shown.context is not None:
            shown = shown._replace(context=hide_some(shown.context, key_label, model.drop_label))

        def f(x: Array, level: Level) -> Array:
            (prediction, _), _ = passes.predict(model, params, state, x, level, shown)
            return model.prediction.denoised(prediction, x, level.alpha, level.sigma)

        target = jax.lax.stop_gradient(f(x_s, to))
        return ConsistencyOutputs(x_0, x_t, x_s, t, s, f(x_t, at), target), state

    @entry("num", "guidance", "sampler", "times", "trajectory")
    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        sampler: Sampler = multistep_consistency,
        times: Array | None = None,
        **options: Any,
    ) -> Array:
        """New examples `[num, *shape]` in the data's range.

        Args:
            params: The model's parameters.
            key: What the draws are a function of.
            num: How many.
            sampler: What goes with a consistency function.
            times: The sampler's times `[n]`; one, t = 1, where None.
            **options: As of `Diffusion.sample`: `label`, `observed`, `state`.
        """
        times = grids.linear(1) if times is None else times
        return self.diffusion.sample(params, key, num, sampler=sampler, times=times, **options)

    def _follow(self, state: State, x_t: Array, at: Level, to: Level, shown: Any) -> Array:
        """The teacher's step, by DDIM, from one level to the next `[B, ...]`."""
        model, teacher = self.diffusion, state["teacher"]

        def denoiser(shown: Any) -> samplers.Denoiser:
            def denoise(x: Array, t: Array) -> Array:
                del t
                (prediction, _), _ = passes.predict(model, teacher, state, x, at, shown)
                return model.within(model.prediction.denoised(prediction, x, at.alpha, at.sigma))

            return denoise

        denoise = denoiser(shown)
        if shown.context is not None:
            without = denoiser(shown._replace(context=jnp.zeros_like(shown.context)))
            denoise = classifier_free(denoise, without, self.guidance)
        x_0, eps = samplers.read(denoise, x_t, at)
        return jax.lax.stop_gradient(to.alpha * x_0 + to.sigma * eps)
