"""Diffusion models: a network that denoises at every noise level, whatever it predicts."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core import preprocess, random
from genjax_models.core.conditions import check_examples, labels_to_sample
from genjax_models.core.distributions import check_num_samples
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.preprocess import Preprocess, from_unit_range, of_data, to_unit_range
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import value
from genjax_models.diffusion import losses, samplers
from genjax_models.diffusion.guidance import (
    Condition,
    ConditionFn,
    classifier_free,
    context_of,
    drop_condition,
    is_guided,
)
from genjax_models.diffusion.losses import DiffusionOutputs
from genjax_models.diffusion.samplers import Denoiser, Sampler, Variance
from genjax_models.diffusion.schedules import (
    Cosine,
    NoiseScale,
    Prediction,
    Schedule,
    TrainableSchedule,
    VelocityPrediction,
    bind,
    check_signal,
    noise_scale,
)
from genjax_models.diffusion.time_sampler import LowDiscrepancy, TimeSampler, strata


class Predicted(NamedTuple):
    """Outputs of one pass of the network `[B, ...]`.

    Attributes:
        prediction: The network's prediction.
        denoised: E[x_0 | x_t], given the prediction.
        v: Place of the learned variance: 0 at the smaller of the fixed ones, 1 at the larger; None
            if it is not learned.
    """

    prediction: Array
    denoised: Array
    v: Array | None


@value
class Diffusion:
    """A model that turns noise into data in many steps of denoising.

    x_t = alpha(t) x_0 + sigma(t) eps. The network's prediction gives E[x_0 | x_t], and everything
    else sees that alone: the terms of the losses, samplers, guidance, likelihoods.

    Attributes:
        network: A Flax module, `network(x [B, ..., C], log_snr [B], context [B, K] | None, *,
            train) -> [B, ..., C]`. Its input has more channels than the data with
            `self_condition` and `condition_fn`; its output has twice as many with
            `learned_variance`.
        schedule: alpha and sigma, or how they are learned.
        prediction: The quantity that the network predicts.
        spec: Description of one example.
        preprocess: Preprocessing of the data; the likelihood is of its result.
        num_classes: Number of labels of p(x | label); None for p(x).
        drop_label: Probability with which training drops the label, so that the model can be
            guided (Ho & Salimans 2022, arXiv:2207.12598).
        steps: T of a diffusion in discrete steps; None for continuous time.
        time_sampler: Distribution of the times in training.
        learned_variance: Whether the network also gives the variance of its steps (discrete only).
        self_condition: Whether the network is given its own first estimate of x_0, in training for
            half of the examples (Chen et al. 2023, arXiv:2208.04202, sec. 2.3).
        condition_fn: Function of x_0 that the network is conditioned on, p(x | condition_fn(x)), or
            None.
        max_log_snr: The log-SNR of the bound's z_0, if the schedule goes above it; None for t = 0.

    References:
        Ho et al. 2020, arXiv:2006.11239; Kingma et al. 2021, arXiv:2107.00630.
    """

    network: nn.Module
    schedule: Schedule | TrainableSchedule = Cosine()
    prediction: Prediction = VelocityPrediction()
    spec: DataSpec = DIGITS
    preprocess: Preprocess = preprocess.identity
    num_classes: int | None = None
    drop_label: float = 0.0
    steps: int | None = None
    time_sampler: TimeSampler = LowDiscrepancy()
    learned_variance: bool = False
    self_condition: bool = False
    condition_fn: ConditionFn | None = None
    max_log_snr: float | None = 13.3

    def __post_init__(self) -> None:
        """Refuses settings that cannot be.

        Raises:
            ValueError: A setting is out of its range, or does not go with another.
        """
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps is {self.steps}: give 1 or more, or None for continuous time")
        if self.learned_variance and self.steps is None:
            raise ValueError("a learned variance is one of discrete steps: give steps=1000")
        if not 0.0 <= self.drop_label < 1.0:
            raise ValueError(f"drop_label is {self.drop_label}: give a probability in [0, 1)")
        if self.learned_variance:
            check_signal(self.prediction, self.schedule, 1.0)  # where a step is scored

    @property
    def prepared(self) -> DataSpec:
        """Description of one example after the preprocessing."""
        return self.preprocess.describe(self.spec)

    @property
    def loss(self) -> Loss:
        """`simple`; with 0.001 `variance` where that is learned, `vlb` where the schedule is.

        `diffusion.losses` has more: `loss.drop("simple").add(vlb=losses.vlb)`.
        """
        if isinstance(self.schedule, TrainableSchedule):
            return Loss(self.forward, {"vlb": losses.vlb})
        simple = Loss(self.forward, {"simple": losses.simple})
        if not self.learned_variance:
            return simple
        return simple.add(variance=losses.variance).weigh(variance=0.001)

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, who owns everything."""
        learned = isinstance(self.schedule, TrainableSchedule)
        owned = ("network", "schedule") if learned else ("network",)
        return {"diffusion": Player(self.loss, owned)}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters, and the memory of the time sampler.

        Raises:
            ValueError: The batch or the network's output does not fit the model.
        """
        check_examples(batch["x"], self.spec)
        key_network, key_schedule, key_forward = jax.random.split(key, 3)
        x = to_unit_range(jnp.asarray(batch["x"]), self.prepared)
        condition = self.condition_of(x, batch.get("label"))
        args = self._inputs(x, jnp.zeros(x.shape[0]), condition, x if self.self_condition else None)
        params, state = init_modules(key_network, {"network": (self.network, args)})
        if isinstance(self.schedule, TrainableSchedule):
            params["schedule"] = self.schedule.init(key_schedule)
        state["time_sampler"] = self.time_sampler.init()
        # Abstractly: what the network returns is checked, and nothing is computed.
        forward = functools.partial(self.forward, train=False, state=state)
        jax.eval_shape(forward, params, batch, key_forward)
        return params, state

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[DiffusionOutputs, State]:
        """Draws a time for each example, and predicts there."""
        key_x, key_label, key_t, key_out = jax.random.split(key, 4)
        x = self.preprocess.apply(batch["x"], key_x, self.spec)
        condition = self.condition_of(x, batch.get("label"), key_label if train else None)
        memory = state.get("time_sampler", {})
        u, weight = self.time_sampler.draw(key_t, x.shape[0], memory)
        out, state = self._outputs(params, state, x, u, weight, condition, key_out, train=train)
        if train:
            memory = self.time_sampler.update(memory, u, losses.diffusion(out) / weight)
            state = {**state, "time_sampler": memory}
        return out, state

    @entry("num_samples")
    def log_prob_bound(
        self,
        params: Params,
        x: Array,
        key: Key,
        num_samples: int = 1,
        *,
        label: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """An unbiased estimate of a lower bound of log p(x) `[B]`, in nats.

        The bound is an integral over the times. They are drawn one from each of as many equal
        parts as there are samples, so that the estimate gets better with their number; in T steps
        and with T samples each step is looked at once.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`.
            key: PRNG key of times and noise.
            num_samples: Number of times, one after the other.
            label: Labels `[B]` of a conditional model; None for p(x) if labels were dropped.
            state: The model's state.
        """
        check_examples(x, self.spec)
        check_num_samples(num_samples)
        key_x, key_parts = jax.random.split(key)
        if self.steps is not None:  # the first of them is from t = 1
            check_signal(self.prediction, bind(self.schedule, params), 1.0)
        y = self.preprocess.apply(x, key_x, self.spec)
        condition, weight = self.condition_of(y, label), jnp.ones(x.shape[0])

        def add(k: Array, total: Array) -> Array:
            key_u, key_out = jax.random.split(jax.random.fold_in(key_parts, k))
            u = strata(key_u, x.shape[0], k, num_samples)
            out, _ = self._outputs(params, state or {}, y, u, weight, condition, key_out)
            denoised = self.clip_denoised(out.denoised)
            return total + losses.vlb(dataclasses.replace(out, denoised=denoised))

        total = jax.lax.fori_loop(0, num_samples, add, jnp.zeros(x.shape[0]))
        return of_data(-total / num_samples, x, self.spec)

    @entry("num", "guidance", "sampler", "timesteps", "trajectory")
    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        label: Array | int | None = None,
        guidance: float = 1.0,
        condition: Array | None = None,
        sampler: Sampler = samplers.ddim,
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
            condition: Result of the model's `condition_fn` `[num, ...]`, if it has one.
            sampler: `ddim`, `heun`, `dpm_solver_2m`, ...; `functools.partial` sets their options.
            timesteps: Times at which the sampler denoises `[n]`; `linear_timesteps(50)` where None.
            trajectory: Whether to return all states of the sampler `[n + 1, num, *shape]`.
            state: The model's state.

        Raises:
            ValueError: Guidance is asked of a model whose labels were never dropped, the condition
                is missing or superfluous, or the model cannot be sampled at these timesteps.
        """
        guided = is_guided(guidance, self.num_classes, self.drop_label)
        key_label, key_noise, key_steps = jax.random.split(key, 3)
        label = labels_to_sample(label, self.num_classes, num, key_label)
        schedule = bind(self.schedule, params)
        timesteps = samplers.linear_timesteps(50) if timesteps is None else timesteps
        timesteps = samplers.check_timesteps(timesteps, schedule)
        check_signal(self.prediction, schedule, timesteps)
        denoise = self.denoiser(params, label=label, condition=condition, state=state)
        if guided:
            unconditional = self.denoiser(params, condition=condition, state=state)
            denoise = classifier_free(denoise, unconditional, guidance)
        x = samplers.initial_noise(schedule, (num, *self.spec.shape), timesteps, key_noise)
        x_0 = sampler(denoise, schedule, x, timesteps, key_steps, trajectory=trajectory)
        return self.restore(x_0)

    def restore(self, x_0: Array) -> Array:
        """Samples `[..., *shape]` of a sampler, in the data's type and range."""
        return self.preprocess.restore(from_unit_range(x_0, self.prepared), self.spec)

    def denoise(self, params: Params, x_t: Array, t: Array, **options: Any) -> Array:
        """E[x_0 | x_t] `[B, ...]`; of discrete data clipped to [-1, 1], where they lie.

        Args:
            params: The model's parameters.
            x_t: Noisy data `[B, ...]`.
            t: Times in [0, 1], `[]` or `[B]`.
            **options: `label`, `condition` and `state`, as in `denoiser`.
        """
        # Before the program, which sees no times.
        check_signal(self.prediction, bind(self.schedule, params), t)
        return self._denoise(params, x_t, t, **options)

    @entry()
    def _denoise(self, params: Params, x_t: Array, t: Array, **options: Any) -> Array:
        return self.denoiser(params, **options)(x_t, t)

    def denoiser(
        self,
        params: Params,
        *,
        label: Array | None = None,
        condition: Array | None = None,
        state: State | None = None,
    ) -> Denoiser:
        """Binds parameters and condition: `(x_t, t) -> E[x_0 | x_t]`, which samplers ask.

        Args:
            params: The model's parameters.
            label: Labels `[B]` of a conditional model; None for p(x) if labels were dropped.
            condition: Result of the model's `condition_fn` `[B, ...]`, if it has one.
            state: The model's state.

        Raises:
            ValueError: The label or the condition is missing or superfluous.
        """
        predict = self._predictor(params, label, condition, state)
        return lambda x_t, t: self.clip_denoised(predict(x_t, t).denoised)

    def variance(
        self,
        params: Params,
        *,
        label: Array | None = None,
        condition: Array | None = None,
        state: State | None = None,
    ) -> Variance:
        """The learned variance, for `samplers.ancestral`; arguments as of `denoiser`.

        Within one `jit`, the network's pass is the denoiser's own.

        Raises:
            ValueError: The model has no learned variance.
        """
        if not self.learned_variance:
            raise ValueError(
                "the model has no learned variance: build it with learned_variance=True"
            )
        predict = self._predictor(params, label, condition, state)

        def variance(x_t: Array, at: NoiseScale, to: NoiseScale) -> Array:
            v = predict(x_t, at.t).v
            assert v is not None  # as learned_variance says
            return jnp.where(to.sigma > 0, jnp.exp(losses.log_variance(v, at, to)), 0.0)

        return variance

    def clip_denoised(self, x_0: Array) -> Array:
        """Estimates of x_0 clipped to [-1, 1] if the data are discrete."""
        return x_0 if self.prepared.num_levels is None else jnp.clip(x_0, -1.0, 1.0)

    def condition_of(self, x: Array, label: Array | None, key: Key | None = None) -> Condition:
        """The condition of prepared data, from themselves and their labels.

        Args:
            x: Prepared data `[B, ...]`.
            label: Labels `[B]`, or None.
            key: PRNG key of dropping the labels of some examples, as in training; None drops none.
        """
        context = context_of(label, self.num_classes, self.drop_label > 0.0)
        if context is not None:
            context = drop_condition(context, key, self.drop_label)
        if self.condition_fn is None:
            return Condition(context)
        return Condition(context, self.condition_fn(to_unit_range(x, self.prepared)))

    def predict(
        self,
        params: Params,
        schedule: Schedule,
        condition: Condition,
        x_t: Array,
        scale: NoiseScale,
        *,
        state: State,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Predicted, State]:
        """One pass of the network, or two with `self_condition`, and the state after it.

        Args:
            params: The model's parameters.
            schedule: The schedule, with its parameters if it is learned.
            condition: The condition.
            x_t: Noisy data `[B, ...]`.
            scale: Their noise scale `[B, 1, ...]`.
            state: The model's state.
            key: PRNG key of dropout, and of dropping a first estimate.
            train: Whether this is training.

        Raises:
            ValueError: The network's output has another shape than it must have.
        """
        key_estimate, key_network = (None, None) if key is None else jax.random.split(key)
        x = self.prediction.input_scale(scale.alpha, scale.sigma) * x_t
        log_snr = schedule.log_snr(scale.t.reshape(-1))

        def once(estimate: Array | None) -> tuple[Predicted, State]:
            args = self._inputs(x, log_snr, condition, estimate)
            out, after = apply_module(
                "network", self.network, params, state, *args, key=key_network, train=train
            )
            prediction, v = self._split(out, x_t.shape)
            denoised = self.prediction.denoised(prediction, x_t, scale.alpha, scale.sigma)
            return Predicted(prediction, denoised, v), after

        if not self.self_condition:
            return once(None)
        first, _ = once(jnp.zeros_like(x))
        estimate = self.clip_denoised(jax.lax.stop_gradient(first.denoised))
        return once(drop_condition(estimate, key_estimate if train else None, 0.5))

    def _predictor(
        self, params: Params, label: Array | None, condition: Array | None, state: State | None
    ) -> Callable[[Array, Array], Predicted]:
        """`(x_t [B, ...], t [] or [B]) -> ` what the network predicts of a sampler's states."""
        if (condition is None) != (self.condition_fn is None):
            raise ValueError(
                "the model has no condition_fn: leave condition= out"
                if self.condition_fn is None
                else "the model is conditional on its condition_fn: pass "
                "condition=model.condition_fn(x)"
            )
        schedule = bind(self.schedule, params)
        context = context_of(label, self.num_classes, self.drop_label > 0.0)
        bound = Condition(context, condition)

        def predict(x_t: Array, t: Array) -> Predicted:
            check_signal(self.prediction, schedule, t)
            scale = noise_scale(schedule, jnp.broadcast_to(t, x_t.shape[:1]), x_t.ndim)
            return self.predict(params, schedule, bound, x_t, scale, state=state or {})[0]

        return predict

    def _inputs(
        self, x: Array, log_snr: Array, condition: Condition, estimate: Array | None
    ) -> tuple[Array, Array, Array | None]:
        """Arguments of the network: all that has the data's shape goes in as channels."""
        more = [a for a in (estimate, condition.channels) if a is not None]
        if more:
            x = jnp.concatenate([x, *more], axis=-1)
        context = condition.context
        if context is not None:
            context = jnp.broadcast_to(context, (x.shape[0], context.shape[-1]))
        return x, log_snr, context

    def _split(self, out: Array, shape: tuple[int, ...]) -> tuple[Array, Array | None]:
        """The network's output as the prediction and the place of a learned variance."""
        wanted = (*shape[:-1], shape[-1] * (2 if self.learned_variance else 1))
        if out.shape != wanted:
            more = ": the prediction and the variance" if self.learned_variance else ""
            raise ValueError(
                f"the network returns {out.shape[1:]} for examples of shape {shape[1:]}, and must "
                f"return {wanted[1:]}{more}"
            )
        if not self.learned_variance:
            return out, None
        prediction, v = jnp.split(out, 2, axis=-1)
        return prediction, 0.5 * (v + 1.0)

    def _outputs(
        self,
        params: Params,
        state: State,
        x: Array,
        u: Array,
        weight: Array,
        condition: Condition,
        key: Key,
        *,
        train: bool = False,
    ) -> tuple[DiffusionOutputs, State]:
        """What the terms need of prepared data at the times u `[B]`, and the state after it."""
        key_noise, key_z, key_network = jax.random.split(key, 3)
        schedule = bind(self.schedule, params)
        t_0 = losses.first_time(schedule, self.max_log_snr, self.steps)
        t, s = losses.step_times(u, t_0, self.steps)
        at, to = (noise_scale(schedule, time, x.ndim) for time in (t, s))
        x_0 = to_unit_range(x, self.prepared)
        noise = random.normal(key_noise, x_0.shape)
        x_t = at.alpha * x_0 + at.sigma * noise
        out, state = self.predict(
            params, schedule, condition, x_t, at, state=state, key=key_network, train=train
        )
        z_noise = random.normal(key_z, x_0.shape)
        log_snr, log_snr_rate = losses.log_snr_rate(schedule, t, t_0)
        return DiffusionOutputs(
            x_0=x_0,
            x_t=x_t,
            t=t,
            noise=noise,
            prediction=out.prediction,
            target=self.prediction.target(x_0, noise, at.alpha, at.sigma),
            denoised=out.denoised,
            weight=weight,
            log_snr=log_snr,
            log_snr_rate=log_snr_rate,
            bound=losses.bound_parts(
                schedule, self.prepared, x, z_noise, at, to, t_0, self.steps, out.v
            ),
        ), state
