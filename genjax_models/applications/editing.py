"""Editing of examples by a trained model: along a direction of codes, and by filling in.

`shift` moves codes along the direction of an `attribute`; paths between codes are
`core.interpolation`'s. `complete` and `super_resolve` find the unknown part of an example. They
take a `Restore`, a function that finds examples for a measurement of them: `latent_search` uses
codes, and a family may have a better one (guidance of a diffusion's sampler).
Models that complete by themselves (`Completes`) need none. Conditions and the model's `state` are
keyword arguments, and results are in the data's units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

import jax
import jax.numpy as jnp
import optax

from genjax_models.core import random
from genjax_models.core.conditions import check_examples, check_known
from genjax_models.core.interpolation import real_codes
from genjax_models.core.protocols import Model, Representation
from genjax_models.core.types import Array, Key, Params
from genjax_models.core.values import partial
from genjax_models.networks.conv import average_pool

Measurement: TypeAlias = Callable[[Array], Array]
"""`x [B, *shape] -> A(x) [B, ...]`, linear, each example by itself."""
Restore: TypeAlias = Callable[..., Array]
"""`(model, params, y, measure, key, **condition) -> x [B, *shape]` with measure(x) near y."""


@runtime_checkable
class Completes(Protocol):
    """A model that draws the unknown entries of an example, given the known ones."""

    def complete(self, params: Params, x: Array, mask: Array, key: Key, **options: Any) -> Array:
        """Redraws the entries of examples `[B, *shape]` where `mask` is False."""
        ...


def attribute(
    model: Representation, params: Params, x: Array, without: Array, **condition: Any
) -> Array:
    """Direction of an attribute: mean code of examples with it, less that of examples without.

    Args:
        model: A model with real-valued codes.
        params: Its parameters.
        x: Examples with the attribute `[N, *shape]`.
        without: Examples without it `[M, *shape]`, otherwise alike.
        **condition: Passed on to `encode` (`state`).

    Returns:
        A difference of codes, in the shape of one code.

    Raises:
        ValueError: The codes are integers.

    References:
        Larsen et al. 2016, Autoencoding beyond pixels using a learned similarity metric,
        arXiv:1512.09300, sec. 4.1.
    """
    z, other = (real_codes(model, params, a, **condition) for a in (x, without))
    return jnp.mean(z, axis=0) - jnp.mean(other, axis=0)


def shift(
    model: Representation,
    params: Params,
    x: Array,
    direction: Array,
    strength: float = 1.0,
    **condition: Any,
) -> Array:
    """Adds an attribute to examples or removes it: moves their codes along a direction.

    Args:
        model: A model with real-valued codes.
        params: Its parameters.
        x: Examples `[B, *shape]`.
        direction: Direction that is added to each code, such as `attribute` gives.
        strength: Multiple of the direction; below 0 removes the attribute.
        **condition: Passed on to `encode` and `decode` (`state`, `label`).

    Returns:
        Decoded means `[B, *shape]`.

    Raises:
        ValueError: The codes are integers.
    """
    z = real_codes(model, params, x, **condition)
    return model.decode(params, z + strength * direction, **condition)


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
    """Fills in the unknown entries of examples; the known ones stay as they are.

    Image completion and inpainting differ only in the mask.

    Args:
        model: A model.
        params: Its parameters.
        x: Examples `[B, *shape]`; their values at unknown entries do not matter.
        key: PRNG key.
        mask: True for known entries, bool `[*shape]` or `[B, *shape]`.
        restore: Method of finding the unknown entries. By default the model's own `complete` if it
            `Completes`, else `latent_search`.
        **condition: Passed on (`state`, `label`).

    Returns:
        Examples `[B, *shape]`.

    Raises:
        TypeError: The model neither `Completes` nor has codes.
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
    """Finds images with given means over squares of `factor` by `factor` pixels.

    Args:
        model: A model of the large images.
        params: Its parameters.
        x: Small images `[B, h, w, C]`, in the data's units, integers or floats.
        key: PRNG key.
        factor: Factor of height and width.
        restore: Method of finding the images; by default `latent_search`.
        **condition: Passed on (`state`, `label`).

    Returns:
        Images `[B, factor h, factor w, C]`.

    Raises:
        TypeError: The model has no codes, and `restore` is None.
        ValueError: The model's images are not `factor` times as large.
    """
    large = tuple(factor * side for side in x.shape[1:3]) + x.shape[3:]
    if x.ndim != 4 or large != model.spec.shape:
        raise ValueError(
            f"images {x.shape[1:]} enlarged by {factor} are {large}, and the model has "
            f"{model.spec.shape}: give images, or a factor, that fit"
        )
    restore = _restore_of(model) if restore is None else restore
    small = jnp.asarray(x, jnp.float32)
    return restore(model, params, small, partial(average_pool, factor=factor), key, **condition)


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
    """Decodes the code that explains a measurement best: the mode of the posterior over codes.

    argmin_z |A(decode(z)) - y|^2 / (2 noise^2) + |z|^2 / 2, by Adam from several normal codes; each
    example keeps its best one.

    Args:
        model: A model with real-valued codes, with a prior near a standard normal, and a
            differentiable decoder (one that does not round to levels).
        params: Its parameters.
        y: Measurements `[B, ...]`, in the data's units.
        measure: The measurement A.
        key: PRNG key of the starts.
        noise: Standard deviation of the measurement, in units where the data span [0, 1]; it
            includes what the decoder cannot express.
        steps: Number of steps of Adam.
        starts: Number of codes from which each example's search starts.
        learning_rate: Learning rate of Adam.
        **condition: Passed on to `encode` and `decode` (`state`, `label`).

    Returns:
        Decoded means `[B, *shape]`.

    Raises:
        ValueError: The codes are integers.

    References:
        Bora et al. 2017, Compressed Sensing using Generative Models, arXiv:1703.03208, eq. 3.
    """
    num, spec = len(y), model.spec
    scale = 1.0 if spec.num_levels is None else float(spec.num_levels - 1)
    blank = jnp.zeros((num, *spec.shape), jnp.float32 if spec.num_levels is None else jnp.uint8)
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
    """Returns True if the filled-in values have the data's kind of numbers."""
    return jnp.issubdtype(filled.dtype, jnp.integer) or jnp.issubdtype(x.dtype, jnp.floating)


def _restore_of(model: Any) -> Restore:
    if not isinstance(model, Representation):
        raise TypeError(
            f"{type(model).__name__} neither completes examples nor has codes to search: give "
            "restore=, a function that finds examples for a measurement"
        )
    return latent_search
