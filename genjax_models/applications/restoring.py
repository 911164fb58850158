"""Editing that fills in what is not known of an example: completion, inpainting, super-resolution.

Each is called as `edit(model, params, x, key)` and takes a `Restore`, a function that finds
examples for a measurement of them: `latent_search` does it with codes, and a family may have a
better one of its own (guidance of a diffusion's sampler). Models that complete by themselves
(`Completes`) need none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

import jax
import jax.numpy as jnp
import optax

from genjax_models.core import random
from genjax_models.core.conditions import check_examples, check_known
from genjax_models.core.protocols import Model, Representation
from genjax_models.core.types import Array, Key, Params

Measurement: TypeAlias = Callable[[Array], Array]
"""`x [B, *shape] -> A(x) [B, ...]`, linear, of each example by itself."""
Restore: TypeAlias = Callable[..., Array]
"""`(model, params, y, measure, key, **condition) -> x [B, *shape]` with measure(x) near y."""


@runtime_checkable
class Completes(Protocol):
    """Draws the entries of an example that are not given, from those that are."""

    def complete(self, params: Params, x: Array, mask: Array, key: Key, **options: Any) -> Array:
        """The examples `[B, *shape]` with the entries where `mask` is False drawn anew."""
        ...


def complete(
    model: Model,
    params: Params,
    x: Array,
    key: Key,
    *,
    mask: Array,
    restore: Restore | None = None,
    **condition: Any,
) -> Array:
    """Examples with their unknown entries filled in, the known ones as they were.

    Image completion and inpainting differ in the mask alone.

    Args:
        model: A model.
        params: Its parameters.
        x: Examples `[B, *shape]`; what stands where nothing is known does not matter.
        key: What is drawn is a function of it.
        mask: Which entries are known, bool `[*shape]` or `[B, *shape]`.
        restore: How the unknown is found. Where None, the model's own way if it `Completes`, else
            `latent_search`.
        **condition: Handed on (`state`, `label`).

    Returns:
        Examples `[B, *shape]`.

    Raises:
        TypeError: The model has no way to do it.
        ValueError: The mask has another shape.
    """
    x, mask = jnp.asarray(x), jnp.asarray(mask, bool)
    if mask.shape not in (x.shape, x.shape[1:]):
        raise ValueError(
            f"the mask has shape {mask.shape}, and the examples {x.shape}: give "
            f"{x.shape[1:]} or {x.shape}"
        )
    if restore is None and not isinstance(model, Completes):
        restore = _restore_of(model)
    check_examples(x, model.spec)
    check_known(x, mask, model.spec)
    if restore is None:
        return cast(Completes, model).complete(params, x, mask, key, **condition)
    known = jnp.where(mask, x, 0).astype(jnp.float32)
    filled = restore(model, params, known, lambda a: jnp.where(mask, a, 0.0), key, **condition)
    return jnp.where(mask, x, filled.astype(x.dtype) if _exact(filled, x) else filled)


def super_resolve(
    model: Model,
    params: Params,
    x: Array,
    key: Key,
    *,
    factor: int = 2,
    restore: Restore | None = None,
    **condition: Any,
) -> Array:
    """Images of which the given ones are the means of squares of `factor` pixels.

    Args:
        model: A model of the large images.
        params: Its parameters.
        x: Small images `[B, h, w, C]`, in the data's units; real numbers may be.
        key: What is drawn is a function of it.
        factor: How many times higher and wider the result is.
        restore: How it is found; `latent_search` where None.
        **condition: Handed on (`state`, `label`).

    Returns:
        Images `[B, factor h, factor w, C]`.

    Raises:
        TypeError: The model has no way to do it.
        ValueError: The model's images are not `factor` times as large.
    """
    large = tuple(factor * side for side in x.shape[1:3]) + x.shape[3:]
    if x.ndim != 4 or large != model.spec.shape:
        raise ValueError(
            f"images {x.shape[1:]} enlarged by {factor} are {large}, and the model is of "
            f"{model.spec.shape}: give images, or a factor, that fit"
        )
    restore = _restore_of(model) if restore is None else restore
    small = jnp.asarray(x, jnp.float32)
    return restore(model, params, small, shrunk(factor), key, **condition)


def shrunk(factor: int) -> Measurement:
    """Images `[B, H, W, C]` as the means of squares of `factor` pixels."""

    def measure(x: Array) -> Array:
        num, height, width, channels = x.shape
        blocks = (num, height // factor, factor, width // factor, factor, channels)
        return jnp.mean(x.reshape(blocks), axis=(2, 4))  # [B, H/f, f, W/f, f, C]

    return measure


def latent_search(
    model: Any,
    params: Params,
    y: Array,
    measure: Measurement,
    key: Key,
    *,
    noise: float = 0.1,
    steps: int = 200,
    starts: int = 4,
    learning_rate: float = 0.1,
    **condition: Any,
) -> Array:
    """The decoded code that explains a measurement best: the posterior's mode over codes.

    argmin_z |A(decode(z)) - y|^2 / (2 noise^2) + |z|^2 / 2, by Adam from several normal codes, of
    which each example keeps the best.

    Args:
        model: A model with real-valued codes whose prior is about a standard normal, and with a
            decoder that has gradients (one that rounds to levels has none).
        params: Its parameters.
        y: Measurements `[B, ...]`, in the data's units.
        measure: A.
        key: What the starts are a function of.
        noise: Standard deviation of the measurement, in units where the data span [0, 1]; what the
            decoder cannot express belongs to it.
        steps: Of Adam.
        starts: Codes that each example is searched from.
        learning_rate: Of Adam.
        **condition: Handed to `encode` and `decode` (`state`, `label`).

    Returns:
        Decoded means `[B, *shape]`.

    Raises:
        ValueError: The codes are integers.

    References:
        Bora et al. 2017, Compressed Sensing using Generative Models, arXiv:1703.03208, eq. 3.
    """
    num, spec = len(y), model.spec
    scale = 1.0 if spec.levels is None else float(spec.levels - 1)
    blank = jnp.zeros((num, *spec.shape), jnp.float32 if spec.levels is None else jnp.uint8)
    code = jax.eval_shape(lambda: model.encode(params, blank, **condition))
    if not jnp.issubdtype(code.dtype, jnp.floating):
        raise ValueError(
            f"the codes are {code.dtype}: gradients search through real-valued ones; give restore="
        )

    def energy(z: Array) -> Array:
        error = (measure(model.decode(params, z, **condition)) - y) / scale
        return _squares(error) / (2.0 * noise**2) + _squares(z) / 2.0

    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))

    def step(carry: Any, _: None) -> tuple[Any, None]:
        z, opt_state = carry
        slope = jax.grad(lambda z: jnp.sum(energy(z)))(z)
        update, opt_state = optimizer.update(slope, opt_state)
        return (optax.apply_updates(z, update), opt_state), None

    def search(key: Key) -> tuple[Array, Array]:
        z = random.normal(key, code.shape)
        (z, _), _ = jax.lax.scan(step, (z, optimizer.init(z)), length=steps)
        return z, energy(z)

    z, values = jax.lax.map(search, jax.random.split(key, starts))
    best = jnp.take_along_axis(
        z, jnp.argmin(values, axis=0).reshape(1, num, *[1] * (z.ndim - 2)), axis=0
    )
    return model.decode(params, best[0], **condition)


def _squares(a: Array) -> Array:
    return jnp.sum(a.reshape(a.shape[0], -1) ** 2, axis=-1)


def _exact(filled: Array, x: Array) -> bool:
    """Whether what was filled in is of the data's own kind of numbers."""
    return jnp.issubdtype(filled.dtype, jnp.integer) or jnp.issubdtype(x.dtype, jnp.floating)


def _restore_of(model: Any) -> Restore:
    if not isinstance(model, Representation):
        raise TypeError(
            f"{type(model).__name__} neither completes examples nor has codes to search: give "
            "restore=, a function that finds examples for a measurement"
        )
    return latent_search
