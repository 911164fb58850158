"""Diffusion models: a network that denoises at every noise level, whatever it predicts."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core import preprocess
from genjax_models.core.bounds import check_num_samples
from genjax_models.core.conditions import check_examples, labels_to_sample
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import init_modules
from genjax_models.core.preprocess import Preprocess, from_unit_range, of_data, to_unit_range
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.diffusion import bound, grids, losses, passes, predictions, samplers, times
from genjax_models.diffusion.conditioning import (
    Observe,
    check_guidance,
    hide_some,
    network_input,
)
from genjax_models.diffusion.guidance import classifier_free
from genjax_models.diffusion.learned_schedule import Learned, bind
from genjax_models.diffusion.outputs import DiffusionOutputs
from genjax_models.diffusion.predictions import Prediction
from genjax_models.diffusion.samplers import Denoiser, Level, Sampler, Variance
from genjax_models.diffusion.schedules import Cosine, Schedule
from genjax_models.diffusion.times import Times


@dataclasses.dataclass(frozen=True)
class Diffusion:
    """A model that is noise, denoised in many steps.

    x_t = alpha(t) x_0 + sigma(t) eps. From what the network predicts, E[x_0 | x_t] is read, and
    everything else sees that alone: the losses' terms, samplers, guidance, likelihoods.

    Attributes:
        network: A Flax module, `network(x [B, ..., C], log_snr [B], context [B, K] | None, *,
            train) -> [B, ..., C]`. More channels than the data's come in with self-conditioning
            and `observe`; with a learned variance twice the data's go out.
        schedule: alpha and sigma, or how they are learned.
        prediction: What the network predicts.
        spec: What one example is.
        preprocess: What is done to the data first; the likelihood is of its result.
        num_classes: Number of labels to be conditional on, p(x | label); None for p(x).
        drop_label: How often training hides the label, so that the model can be guided (Ho &
            Salimans 2022, arXiv:2207.12598).
        steps: T of a diffusion in discrete steps; None for continuous time.
        times: How training draws times.
        learned_variance: Whether the network also says the variance of its steps (discrete only).
        self_condition: Whether the network is shown what it made of x_t at a first look, in
            training for half of the examples (Chen et al. 2023, arXiv:2208.04202, sec. 2.3).
        observe: What the network is shown of x_0 itself, p(x | observe(x)); None for nothing.
        max_log_snr: Where the bound's z_0 lies: the highest log-SNR, if the schedule passes it.

    References:
        Ho et al. 2020, arXiv:2006.11239; Kingma et al. 2021, arXiv:2107.00630.
    """

    network: nn.Module
    schedule: Schedule | Learned = Cosine()
    prediction: Prediction = predictions.velocity
    spec: DataSpec = DIGITS
    preprocess: Preprocess = preprocess.identity
    num_classes: int | None = None
    drop_label: float = 0.0
    steps: int | None = None
    times: Times = times.low_discrepancy
    learned_variance: bool = False
    self_condition: bool = False
    observe: Observe | None = None
    max_log_snr: float | None = 13.3

    def __post_init__(self) -> None:
        """Refuses settings that cannot be.

        Raises:
            ValueError: Which, and what may be.
        """
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps is {self.steps}: give 1 or more, or None for continuous time")
        if self.learned_variance and self.steps is None:
            raise ValueError("a learned variance is one of discrete steps: give steps=1000")
        if not 0.0 <= self.drop_label < 1.0:
            raise ValueError(f"drop_label is {self.drop_label}: give a probability in [0, 1)")
        if self.learned_variance and not isinstance(self.schedule, Learned):
            predictions.check_signal(self.prediction, self.schedule, 1.0)  # where a step is scored

    @property
    def prepared(self) -> DataSpec:
        """What one example is after the preprocessing."""
        return self.preprocess.describe(self.spec)

    @property
    def loss(self) -> Loss:
        """`simple`; with 0.001 `variance` where that is learned, `vlb` where the schedule is.

        `diffusion.losses` has more: `loss.drop("simple").add(vlb=losses.vlb)`.
        """
        if isinstance(self.schedule, Learned):
            return Loss(self.forward, {"vlb": losses.vlb})
        simple = Loss(self.forward, {"simple": losses.simple})
        if not self.learned_variance:
            return simple
        return simple.add(variance=losses.variance).weigh(variance=0.001)

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, who owns everything."""
        owned = ("network", "schedule") if isinstance(self.schedule, Learned) else ("network",)
        return {"diffusion": Player(self.loss, owned)}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters, and the memory that the times are drawn by.

        Raises:
            ValueError: The batch or the network's output does not fit the model.
        """
        check_examples(batch["x"], self.spec)
        key_network, key_schedule, key_forward = jax.random.split(key, 3)
        x = to_unit_range(jnp.asarray(batch["x"]), self.prepared)
        shown = passes.known(self, x, batch.get("label"))
        inputs = network_input(x, shown, x if self.self_condition else None)
        args = (inputs, jnp.zeros(x.shape[0]), shown.context)
        params, state = init_modules(key_network, {"network": (self.network, args)})
        if isinstance(self.schedule, Learned):
            params["schedule"] = self.schedule.init(key_schedule)
        state["times"] = self.times.init()
        # Abstractly: what the network returns is checked, and nothing is computed.
        forward = functools.partial(self.forward, train=False, state=state)
        jax.eval_shape(forward, params, batch, key_forward)
        return params, state

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[DiffusionOutputs, State]:
        """A time for each example, and the network's prediction there."""
        key_x, key_label, key_t, key_out = jax.random.split(key, 4)
        x = self.preprocess.apply(batch["x"], key_x, self.spec)
        shown = passes.known(self, x, batch.get("label"))
        if train and shown.context is not None:
            shown = shown._replace(context=hide_some(shown.context, key_label, self.drop_label))
        memory = state.get("times", {})
        u, weight = self.times.draw(key_t, x.shape[0], memory)
        out, state = passes.look(self, params, state, x, u, weight, shown, key_out, train=train)
        if train:
            state = {**state, "times": self.times.update(memory, u, losses.diffusion(out) / weight)}
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
            key: What times and noise are a function of.
            num_samples: Number of times, one after the other.
            label: Of a conditional model, the labels `[B]`; None for p(x) if labels were dropped.
            state: The model's state.
        """
        check_examples(x, self.spec)
        check_num_samples(num_samples)
        key_x, key_parts = jax.random.split(key)
        if self.steps is not None:  # the first of them is from t = 1
            predictions.check_signal(self.prediction, bind(self.schedule, params), 1.0)
        y = self.preprocess.apply(x, key_x, self.spec)
        shown, weight = passes.known(self, y, label), jnp.ones(x.shape[0])

        def add(k: Array, total: Array) -> Array:
            key_u, key_out = jax.random.split(jax.random.fold_in(key_parts, k))
            u = times.strata(key_u, x.shape[0], k, num_samples)
            out, _ = passes.look(self, params, state or {}, y, u, weight, shown, key_out)
            return total + losses.vlb(dataclasses.replace(out, denoised=self.within(out.denoised)))

        total = jax.lax.fori_loop(0, num_samples, add, jnp.zeros(x.shape[0]))
        return of_data(-total / num_samples, x, self.spec)

    @entry("num", "guidance", "sampler", "times", "trajectory")
    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        label: Array | int | None = None,
        guidance: float = 1.0,
        observed: Array | None = None,
        sampler: Sampler = samplers.ddim,
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
            observed: Of a model with `observe`, what that gave `[num, ...]`.
            sampler: `ddim`, `heun`, `dpm_solver_2m`, ...; `functools.partial` sets their options.
            times: The sampler's times `[n]`; 50 even ones where None (`grids` has others).
            trajectory: Whether to return all the sampler's states `[n + 1, num, *shape]`.
            state: The model's state.

        Raises:
            ValueError: A model that labels were never hidden from is to be guided, what the model
                must be given lacks, or the times are none that it can be sampled at.
        """
        check_guidance(guidance, self.num_classes, self.drop_label)
        key_label, key_start, key_steps = jax.random.split(key, 3)
        label = labels_to_sample(label, self.num_classes, num, key_label)
        schedule = bind(self.schedule, params)
        times = grids.check_times(grids.linear(50) if times is None else times, schedule)
        predictions.check_signal(self.prediction, schedule, times)
        denoise = classifier_free(
            self.denoiser(params, label=label, observed=observed, state=state),
            self.denoiser(params, observed=observed, state=state),
            guidance,
        )
        x = samplers.start(schedule, (num, *self.spec.shape), times, key_start)
        x = sampler(denoise, schedule, x, times, key_steps, trajectory=trajectory)
        return self.restore(x)

    def restore(self, x_0: Array) -> Array:
        """Samples `[..., *shape]` of a sampler, in the data's type and range."""
        return self.preprocess.restore(from_unit_range(x_0, self.prepared), self.spec)

    def denoise(self, params: Params, x_t: Array, t: Array, **condition: Any) -> Array:
        """E[x_0 | x_t] `[B, ...]`; of discrete data within [-1, 1], where they lie.

        Args:
            params: The model's parameters.
            x_t: Noisy data `[B, ...]`.
            t: Times in [0, 1], `[]` or `[B]`.
            **condition: `label`, `observed` and `state`, as of `denoiser`.
        """
        # Before the program, which sees no times.
        predictions.check_signal(self.prediction, bind(self.schedule, params), t)
        return self._denoise(params, x_t, t, **condition)

    @entry()
    def _denoise(self, params: Params, x_t: Array, t: Array, **condition: Any) -> Array:
        return self.denoiser(params, **condition)(x_t, t)

    def denoiser(
        self,
        params: Params,
        *,
        label: Array | None = None,
        observed: Array | None = None,
        state: State | None = None,
    ) -> Denoiser:
        """`(x_t, t) -> E[x_0 | x_t]` with these parameters: what samplers and guidance see.

        Args:
            params: The model's parameters.
            label: Of a conditional model, the labels `[B]`; None for p(x) if labels were dropped.
            observed: Of a model with `observe`, what that gave `[B, ...]`.
            state: The model's state.
        """

        def denoise(x_t: Array, t: Array) -> Array:
            level, prediction, _ = passes.ask(self, params, state, x_t, t, label, observed)
            denoised = self.prediction.denoised(prediction, x_t, level.alpha, level.sigma)
            return self.within(denoised)

        return denoise

    def variance(
        self,
        params: Params,
        *,
        label: Array | None = None,
        observed: Array | None = None,
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

        def variance(x_t: Array, at: Level, to: Level) -> Array:
            _, _, v = passes.ask(self, params, state, x_t, at.t, label, observed)
            assert v is not None  # as learned_variance says
            return jnp.where(to.sigma > 0, jnp.exp(bound.log_variance(v, at, to)), 0.0)

        return variance

    def within(self, x_0: Array) -> Array:
        """Estimates of discrete data, brought into [-1, 1]."""
        return x_0 if self.prepared.num_levels is None else jnp.clip(x_0, -1.0, 1.0)
