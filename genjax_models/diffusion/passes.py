"""Passes of a diffusion model through its network: for samplers, and for losses and bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from genjax_models.core import random
from genjax_models.core.modules import apply_module
from genjax_models.core.preprocess import to_unit_range
from genjax_models.core.types import Array, Key, Params, State
from genjax_models.diffusion import bound, samplers
from genjax_models.diffusion.conditioning import (
    Shown,
    context_of,
    hide_some,
    network_input,
    split_variance,
)
from genjax_models.diffusion.learned_schedule import bind
from genjax_models.diffusion.outputs import DiffusionOutputs
from genjax_models.diffusion.predictions import check_signal
from genjax_models.diffusion.samplers import Level

if TYPE_CHECKING:
    from genjax_models.diffusion.model import Diffusion


def known(model: Diffusion, x: Array, label: Array | None) -> Shown:
    """The condition of prepared data `[B, ...]`, from themselves and their labels `[B]`."""
    context = context_of(label, model.num_classes, model.drop_label > 0.0, x.shape[0])
    if model.observe is None:
        return Shown(context)
    return Shown(context, model.observe(to_unit_range(x, model.prepared)))


def predict(
    model: Diffusion,
    params: Params,
    state: State,
    x_t: Array,
    level: Level,
    shown: Shown,
    *,
    key: Key | None = None,
    train: bool = False,
) -> tuple[tuple[Array, Array | None], State]:
    """The network's prediction and its variance's place `[B, ...]`, and the state after it.

    Args:
        model: The model.
        params: Its parameters.
        state: Its state.
        x_t: Noisy data `[B, ...]`.
        level: Their level; its entries broadcast against them.
        shown: The condition.
        key: For dropout, and for whom a first estimate is hidden from.
        train: Whether this is training.
    """
    key_estimate, key_network = (None, None) if key is None else jax.random.split(key)
    x = model.prediction.scale(level.alpha, level.sigma) * x_t
    log_snr = bind(model.schedule, params).log_snr(level.t.reshape(-1))

    def once(estimate: Array | None) -> tuple[tuple[Array, Array | None], State]:
        args = (network_input(x, shown, estimate), log_snr, shown.context)
        out, after = apply_module(
            "network", model.network, params, state, *args, key=key_network, train=train
        )
        return split_variance(out, x_t.shape, model.learned_variance), after

    if not model.self_condition:
        return once(None)
    (prediction, _), _ = once(jnp.zeros_like(x))
    estimate = model.prediction.denoised(prediction, x_t, level.alpha, level.sigma)
    estimate = model.within(jax.lax.stop_gradient(estimate))
    return once(hide_some(estimate, key_estimate if train else None, 0.5))


def ask(
    model: Diffusion,
    params: Params,
    state: State | None,
    x_t: Array,
    t: Array,
    label: Array | None,
    observed: Array | None,
) -> tuple[Level, Array, Array | None]:
    """The level of the times `[]` or `[B]`, the prediction and the variance's place.

    Raises:
        ValueError: What the model must be given lacks, or its prediction says nothing of x_0 there.
    """
    if (observed is None) != (model.observe is None):
        raise ValueError(
            "the model knows nothing of the data it is to draw: leave observed= out"
            if model.observe is None
            else "the model knows part of the data it is to draw: pass observed=model.observe(x)"
        )
    num, schedule = x_t.shape[0], bind(model.schedule, params)
    check_signal(model.prediction, schedule, t)
    context = context_of(label, model.num_classes, model.drop_label > 0.0, num)
    level = samplers.level(schedule, jnp.broadcast_to(t, (num,)), x_t.ndim)
    out, _ = predict(model, params, state or {}, x_t, level, Shown(context, observed))
    return level, *out


def look(
    model: Diffusion,
    params: Params,
    state: State,
    x: Array,
    u: Array,
    weight: Array,
    shown: Shown,
    key: Key,
    *,
    train: bool = False,
) -> tuple[DiffusionOutputs, State]:
    """What the terms need of prepared data at the times u `[B]`, and the state after the pass.

    Args:
        model: The model.
        params: Its parameters.
        state: Its state.
        x: Prepared data `[B, ...]`.
        u: In (0, 1] `[B]`.
        weight: 1 over the density of u `[B]`.
        shown: The condition.
        key: What the noise is a function of.
        train: Whether this is training.
    """
    key_noise, key_z, key_network = jax.random.split(key, 3)
    schedule = bind(model.schedule, params)
    start = bound.first_time(schedule, model.max_log_snr, model.steps)
    t, s = bound.times_of(u, start, model.steps)
    at, to = (samplers.level(schedule, time, x.ndim) for time in (t, s))
    x_0 = to_unit_range(x, model.prepared)
    noise = random.normal(key_noise, x_0.shape)
    x_t = at.alpha * x_0 + at.sigma * noise
    out, state = predict(model, params, state, x_t, at, shown, key=key_network, train=train)
    prediction, v = out
    z_noise = random.normal(key_z, x_0.shape)
    log_snr, log_snr_rate = bound.log_snr_rate(schedule, t, start)
    return DiffusionOutputs(
        x_0=x_0,
        x_t=x_t,
        t=t,
        noise=noise,
        prediction=prediction,
        target=model.prediction.target(x_0, noise, at.alpha, at.sigma),
        denoised=model.prediction.denoised(prediction, x_t, at.alpha, at.sigma),
        v=v,
        weight=weight,
        log_snr=log_snr,
        log_snr_rate=log_snr_rate,
        snr_rate=bound.snr_rate(schedule, t, s, start, model.steps),
        prior=bound.prior(schedule, x_0),
        reconstruction=bound.reconstruction(schedule, start, x, z_noise, model.prepared),
        at=at,
        to=to,
        steps=model.steps,
    ), state
