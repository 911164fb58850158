"""What one pass of a diffusion model gives."""

from __future__ import annotations

from flax import struct

from genjax_models.core.types import Array
from genjax_models.diffusion.samplers import Level


@struct.dataclass
class DiffusionOutputs:
    """What the terms are functions of; every array's first axis is the examples.

    The times are t = t_0 + (1 - t_0) u, u in (0, 1], or the next of T steps (`bound.times_of`).

    Attributes:
        x_0: The data, in [-1, 1] if they are discrete `[B, ...]`.
        x_t: alpha x_0 + sigma noise `[B, ...]`.
        t: The times `[B]`.
        noise: Standard normal `[B, ...]`.
        prediction: What the network predicts `[B, ...]`.
        target: What it ought to `[B, ...]`.
        denoised: E[x_0 | x_t] as read from the prediction `[B, ...]`.
        v: Of a learned variance, its place between the fixed ones `[B, ...]`; or None.
        weight: 1 over the density of u `[B]`.
        log_snr: log(alpha^2 / sigma^2) `[B]`.
        log_snr_rate: How fast that falls in u `[B]`.
        snr_rate: How fast alpha^2 / sigma^2 falls in u; of T steps, T times the difference `[B]`.
        prior: KL(q(z_1 | x) || p(z_1)) `[B]`, in nats.
        reconstruction: -log p(x | z_0) `[B]`, in nats.
        at: The level of t, to be broadcast against the data.
        to: The level of the step before; t's own in continuous time.
        steps: T; None in continuous time.
    """

    x_0: Array
    x_t: Array
    t: Array
    noise: Array
    prediction: Array
    target: Array
    denoised: Array
    v: Array | None
    weight: Array
    log_snr: Array
    log_snr_rate: Array
    snr_rate: Array
    prior: Array
    reconstruction: Array
    at: Level
    to: Level
    steps: int | None = struct.field(pytree_node=False)
