"""What a model is given: examples and labels are checked, and labels become vectors."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from genjax_models.core.types import Array, DataSpec, Key


def check_examples(x: Array, spec: DataSpec) -> None:
    """Raise unless `x` is `[B, *spec.shape]`.

    Raises:
        ValueError: The examples have another shape.
    """
    if x.shape[1:] != spec.shape:
        raise ValueError(
            f"the model is of {spec.name}, examples of shape {spec.shape}, but it was given "
            f"{x.shape[1:]}: give such examples, or build the model with spec=data.spec"
        )


def check_call(model: Any, given: dict[str, Any], specs: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of a model's method, looked at on the host; labels as an array.

    Args:
        model: The model.
        given: The arguments by name, none of them traced.
        specs: Argument -> the attribute of the model that says what its examples are.

    Raises:
        TypeError: A number of examples or samples is no whole number, the key no PRNG key, or the
            parameters no mapping.
        ValueError: The data or the labels are not the model's, or a number is below 1.
    """
    for name in ("num", "num_samples"):
        if name in given:
            _check_count(name, given[name])
    if "params" in given:
        check_params(given["params"])
    if given.get("key") is not None:
        given["key"] = checked_key(given["key"])
    num = given.get("num")
    for name, attribute in specs.items():
        if given.get(name) is not None:
            given[name] = _array(given[name])
            check_data(given[name], getattr(model, attribute), name)
            num = len(given[name])
    if given.get("given") is not None:
        given["given"] = _array(given["given"])
        check_known(given["given"], given.get("mask"), model.spec, "given")
    num_classes = getattr(model, "num_classes", model.spec.num_classes)
    if given.get("label") is not None and num_classes is not None:
        given["label"] = _array(given["label"])
        if num is None:
            num = next((len(given[name]) for name in ("z", "x_t", "v") if name in given), None)
        check_labels(given["label"], num_classes, num, one_for_all="num" in given)
    return given


def check_params(params: Any) -> None:
    """Raise unless the parameters are a mapping from the names of networks, as `init` returns.

    Raises:
        TypeError: They are something else, a `TrainState` say.
    """
    if not isinstance(params, Mapping):
        mend = "what init returned, or state.ema of a training"
        if hasattr(params, "ema"):
            mend = "its averaged parameters, state.ema, or state.params"
        raise TypeError(f"params is a {type(params).__name__}: give {mend}")


def checked_key(key: Any) -> Key:
    """A PRNG key; one of JAX's old kind, uint32 `[2]`, as one of the new.

    Raises:
        TypeError: It is no single key.
    """
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ():
        return key
    if dtype == jnp.uint32 and shape == jax.eval_shape(jax.random.PRNGKey, 0).shape:
        return jax.random.wrap_key_data(jnp.asarray(key))
    what = f"an array {dtype}{list(shape)}" if shape else f"{key!r}, a {type(key).__name__}"
    raise TypeError(f"key is {what}: give one PRNG key, jax.random.key(0)")


def _check_count(name: str, value: Any) -> None:
    wanted = "give a whole number of at least 1"
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}, a {type(value).__name__}: {wanted}") from None
    if count < 1:
        raise ValueError(f"{name} is {count}: {wanted}")


def _array(value: Any) -> Any:
    return value if hasattr(value, "dtype") and hasattr(value, "shape") else np.asarray(value)


def check_data(x: Any, spec: DataSpec, what: str = "x") -> None:
    """Raise unless `x` is examples of the spec: shape, type, levels, finite numbers.

    Raises:
        ValueError: There is none, or they have another shape, type or range.
    """
    check_examples(x, spec)
    if not len(x):
        raise ValueError(f"{what} holds no example: give [B, {', '.join(map(str, spec.shape))}]")
    check_values(x, spec, what)


def check_batch(model: Any, batch: Mapping[str, Any]) -> None:
    """Raise unless a batch on the host is of the model: its examples, and labels if there are any.

    Raises:
        ValueError: They are not.
    """
    check_data(batch["x"], model.spec)
    check_batch_labels(model, batch)


def check_batch_labels(model: Any, batch: Mapping[str, Any]) -> None:
    """Raise unless the labels beside the examples are of the model's classes, if it has any.

    Raises:
        ValueError: They are not.
    """
    num_classes = getattr(model, "num_classes", None)
    if num_classes is not None and "label" in batch:
        check_labels(batch["label"], num_classes, len(batch["x"]))


def labels_of(batch: Mapping[str, Any], num_classes: int) -> Any:
    """The labels of a batch, for a model that is conditional on them.

    Raises:
        ValueError: It has none.
    """
    if "label" not in batch:
        raise ValueError(
            f"the model is conditional on one of {num_classes} labels, and the data have "
            f"{', '.join(batch)}: give data with labels, or a model with num_classes=None"
        )
    return batch["label"]


def check_labels(
    label: Any, num_classes: int, num: int | None = None, *, one_for_all: bool = False
) -> None:
    """Raise unless every label is a whole number in 0 .. num_classes - 1.

    Of labels that are being traced the values are taken as they are: a compiled function looks at
    none. A label out of the range would be no class at all there.

    Args:
        label: Labels `[num]`.
        num_classes: Number of labels.
        num: Number of examples; any where None.
        one_for_all: Whether a single label `[]` will do.

    Raises:
        ValueError: They have another shape or type, or one is out of the range.
    """
    if isinstance(label, Tracer) or not getattr(label, "is_fully_addressable", True):
        return
    labels = np.asarray(label)
    allowed = f"give labels in 0 .. {num_classes - 1}"
    if num is not None and labels.shape != (num,) and not (one_for_all and labels.ndim == 0):
        raise ValueError(
            f"label has shape {labels.shape}, and there are {num} examples: {allowed}, one an "
            f"example [{num}]{' or one for all' if one_for_all else ''}"
        )
    if labels.dtype.kind not in "iu":
        raise ValueError(f"label is of {labels.dtype}: {allowed}, as whole numbers")
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if wrong.size:
        raise ValueError(
            f"label {wrong[0]} is given, but the model is conditional on one of {num_classes} "
            f"labels: {allowed}"
        )


def label_context(label: Array | None, num_classes: int | None) -> Array | None:
    """Labels as the context of a network.

    Args:
        label: Labels in 0 .. num_classes - 1 `[B]`.
        num_classes: Number of labels; None for an unconditional model, which ignores labels.

    Returns:
        One-hot vectors `[B, num_classes]`, or None for an unconditional model.

    Raises:
        ValueError: A conditional model is given no labels, or one that is out of the range.
    """
    if num_classes is None:
        return None
    if label is None:
        raise ValueError(
            f"the model is conditional on one of {num_classes} labels, and none was given: pass "
            "label=[...], one an example, or data that have labels"
        )
    check_labels(label, num_classes)
    return jax.nn.one_hot(label, num_classes)


def labels_to_sample(
    label: Array | int | None, num_classes: int | None, num: int, key: Key
) -> Array | None:
    """The labels `[num]` to sample for: those given, one for all, or uniform ones.

    Raises:
        ValueError: A label is out of the range.
    """
    if num_classes is None:
        return None
    if label is None:
        return jax.random.randint(key, (num,), 0, num_classes)
    check_labels(label, num_classes, num, one_for_all=True)
    return jnp.broadcast_to(jnp.asarray(label), (num,))


def given_entries(given: Any, mask: Any, num: int, spec: DataSpec) -> tuple[Array, Array] | None:
    """What is given to `sample`, as whole examples and a mask `[num, *shape]`; None if nothing is.

    Raises:
        ValueError: A prompt longer than the examples, values that are not the data's, wrong shapes.
    """
    if given is None:
        if mask is not None:
            raise ValueError("a mask says which entries are given, but given=... is missing")
        return None
    given = jnp.asarray(given)
    if mask is None:
        given, mask = _prompt(given, num, spec)
    for name, a in (("given", given), ("mask", jnp.asarray(mask))):
        if a.shape not in (spec.shape, (num, *spec.shape)):
            raise ValueError(
                f"{name} has shape {a.shape}, but {num} examples of {spec.name} are asked for: it "
                f"must be {spec.shape} or {(num, *spec.shape)}"
            )
    shape = (num, *spec.shape)
    return jnp.broadcast_to(given, shape), jnp.broadcast_to(jnp.asarray(mask, bool), shape)


def _prompt(given: Array, num: int, spec: DataSpec) -> tuple[Array, Array]:
    """Tokens `[num, P]` or `[P]` filled up to examples, and the mask `[T]` of the first P."""
    if len(spec.shape) != 1 or given.ndim not in (1, 2):
        raise ValueError(
            f"{spec.name} has examples of shape {spec.shape}, and given has shape {given.shape}: "
            "say with mask=... which of their entries are given"
        )
    (length,), size = spec.shape, given.shape[-1]
    if size > length:
        raise ValueError(
            f"the prompt has {size} entries, and an example of {spec.name} has {length}: shorten it"
        )
    filled = jnp.pad(given, [(0, 0)] * (given.ndim - 1) + [(0, length - size)])
    return filled, jnp.arange(length) < size


def check_known(x: Any, mask: Any, spec: DataSpec, what: str = "x") -> None:
    """Raise unless every value where a mask is True, or all if there is none, is the data's.

    Raises:
        ValueError: One is not.
    """
    if mask is not None and not isinstance(x, Tracer) and not isinstance(mask, Tracer):
        try:
            x, known = np.broadcast_arrays(np.asarray(x), np.asarray(mask, bool))
        except ValueError:  # shapes that do not go together are refused where they are to
            return
        x = x[known]
    check_values(x, spec, what)


def check_values(given: Any, spec: DataSpec, what: str) -> None:
    """Raise unless every value is one of the data's; those that are being traced are taken.

    Raises:
        ValueError: The type is another, or a value is none of the levels, or not finite.
    """
    if isinstance(given, Tracer) or not getattr(given, "is_fully_addressable", True):
        return
    if spec.num_levels is None:
        if given.dtype.kind != "f" and not jnp.issubdtype(given.dtype, jnp.floating):
            raise ValueError(
                f"{what} is of {given.dtype}, but {spec.name} has real numbers for entries: give "
                "floating-point numbers in its units"
            )
    elif given.dtype.kind not in "biu":
        raise ValueError(
            f"{what} is of {given.dtype}, but {spec.name} has levels 0 .. {spec.num_levels - 1}: "
            "give them as integers"
        )
    elif given.dtype.kind in "bu" and np.iinfo(f"u{given.dtype.itemsize}").max < spec.num_levels:
        return
    if given.size == 0:
        return
    low, high = _extremes(given)
    if spec.num_levels is None:
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError(
                f"{what} holds {high if np.isfinite(low) else low}, but {spec.name} has finite "
                "numbers: leave out the examples that have others"
            )
    elif low < 0 or high >= spec.num_levels:
        raise ValueError(
            f"{what} holds {low if low < 0 else high}, but {spec.name} has values 0 .. "
            f"{spec.num_levels - 1}"
        )


def _extremes(x: Any) -> tuple[Any, Any]:
    """The lowest and the highest value; NaN where there is one."""
    # An accelerator's arrays stay where they lie.
    if isinstance(x, jax.Array) and any(d.platform != "cpu" for d in x.devices()):
        return jax.device_get(_extremes_on_device(x))
    values = np.asarray(x)
    return values.min(), values.max()


@jax.jit
def _extremes_on_device(x: Array) -> tuple[Array, Array]:
    return jnp.min(x), jnp.max(x)
