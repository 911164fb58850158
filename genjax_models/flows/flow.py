"""Normalizing flows: an invertible network maps data to noise of a known density."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import struct
from jax.core import Tracer

from genjax_models.core.conditions import check_examples, label_context, labels_to_sample
from genjax_models.core.distributions import Distribution, standard_normal
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player
from genjax_models.core.types import Array, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import value
from genjax_models.flows import losses
from genjax_models.flows.bijector import Bijector, all_finite, first_non_finite, layers

Base: TypeAlias = Callable[[tuple[int, ...]], Distribution]
"""`shape [B, ...]` -> the distribution of the codes; `core.standard_normal` is one."""

POINTS = DataSpec(shape=(2,), num_levels=None, name="points")
"""Points in the plane: the default of a flow's `spec`."""


@struct.dataclass
class FlowOutputs:
    """Outputs of one pass of a flow; the first axis of every array is the batch.

    Attributes:
        x: Data `[B, ...]`.
        z: Their codes f(x) `[B, ...]`.
        log_det: log |det df/dx| `[B]`, in nats.
        log_p_z: Log-density of the codes under the base `[B]`, in nats.
    """

    x: Array
    z: Array
    log_det: Array
    log_p_z: Array


@value
class Flow:
    """A normalizing flow over real-valued data.

    `log p(x) = log p_z(f(x)) + log |det df/dx|`, with z = f(x) the bijector's `forward`.

    Attributes:
        bijector: f, from the data to noise.
        base: The density of the noise, p_z.
        spec: Description of one example; its entries are real numbers. For discrete data, see
            `Dequantized`.
        num_classes: Number of labels of a conditional flow p(x | label); None for p(x).

    References:
        Dinh et al. 2017, arXiv:1605.08803, eq. 2; Papamakarios et al. 2021, arXiv:1912.02762.
    """

    bijector: Bijector
    base: Base = standard_normal
    spec: DataSpec = POINTS
    num_classes: int | None = None

    def __post_init__(self) -> None:
        """Refuses discrete data, because their density would be unbounded.

        Raises:
            ValueError: The entries have levels.
        """
        if self.spec.num_levels is not None:
            raise ValueError(
                f"{self.spec.name} has {self.spec.num_levels} discrete levels, but a Flow is a "
                "density of real numbers: use Dequantized(Flow(..., spec=real_valued(spec)), spec)"
            )

    @property
    def loss(self) -> Loss:
        """-log p(x) in nats: the term `nll`."""
        return Loss(self.forward, {"nll": losses.nll})

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, which owns all parameters."""
        return {"flow": Player(self.loss, ("bijector",))}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Returns fresh parameters from a batch (for data-dependent initialisation), and no state.

        Raises:
            ValueError: The batch does not fit the model.
        """
        check_examples(batch["x"], self.spec)
        context = label_context(batch.get("label"), self.num_classes)
        return {"bijector": self.bijector.init(key, jnp.asarray(batch["x"]), context)}, {}

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[FlowOutputs, State]:
        """Computes z = f(x) and the terms of log p(x); deterministic."""
        del key, train
        x, context = batch["x"], label_context(batch.get("label"), self.num_classes)
        z, log_det = self.bijector.forward(params["bijector"], x, context)
        return FlowOutputs(x, z, log_det, self.base(z.shape).log_prob(z)), state

    @entry()
    def log_prob(
        self,
        params: Params,
        x: Array,
        *,
        label: Array | None = None,
        key: Key | None = None,
        state: State | None = None,
    ) -> Array:
        """Exact log p(x) `[B]`, in nats.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`.
            label: Labels `[B]` of a conditional model.
            key: Unused: a flow needs no noise.
            state: Unused: a flow has no state.
        """
        del key, state
        z, log_det = self._encode(params, x, label)
        return self.base(z.shape).log_prob(z) + log_det

    @entry("num", "temperature")
    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        temperature: Array | float = 1.0,
        label: Array | int | None = None,
        state: State | None = None,
    ) -> Array:
        """Draws examples `[num, *shape]`: x = f^-1(T eps), with eps from the base distribution.

        Args:
            params: The model's parameters.
            key: PRNG key.
            num: Number of samples.
            temperature: T > 0; below 1, samples are more likely and less varied than the data.
            label: Labels `[num]`, or one for all, of a conditional model; by default uniform.
            state: Unused: a flow has no state.

        Raises:
            ValueError: The temperature is not positive.

        References:
            Kingma & Dhariwal 2018, Glow, arXiv:1807.03039, sec. 5.
        """
        check_temperature(temperature)
        key_label, key_z = jax.random.split(key)
        label = labels_to_sample(label, self.num_classes, num, key_label)
        z = temperature * self.base((num, *self.spec.shape)).sample(key_z)
        return self.decode(params, z, label=label, state=state)

    @entry()
    def encode(
        self, params: Params, x: Array, *, label: Array | None = None, state: State | None = None
    ) -> Array:
        """Maps each example to its code z = f(x) `[B, *shape]`."""
        del state
        return self._encode(params, x, label)[0]

    @entry()
    def decode(
        self, params: Params, z: Array, *, label: Array | None = None, state: State | None = None
    ) -> Array:
        """Maps each code to its example x = f^-1(z) `[B, *shape]`."""
        del state
        context = label_context(label, self.num_classes)
        return self.bijector.inverse(params["bijector"], z, context)[0]

    def diagnose(self, params: Params, batch: Batch, key: Key, *, state: State) -> str | None:
        """Names the first place with a value that is not finite: data, layer, base or gradient.

        A gradient that is not finite spreads to all earlier layers, so the last layer with such a
        gradient is named. See `core.protocols.Diagnosed`.
        """
        x, context = jnp.asarray(batch["x"]), label_context(batch.get("label"), self.num_classes)
        if not all_finite(x):
            return "the data"
        if place := first_non_finite(self.bijector, params["bijector"], x, context):
            return place

        @jax.jit
        @jax.value_and_grad
        def mean_nll(own: Any) -> Array:
            out, _ = self.forward({"bijector": own}, batch, key, state=state, train=True)
            return jnp.mean(losses.nll(out))

        value, gradient = mean_nll(params["bijector"])
        if not all_finite(value):
            return "the base distribution"
        spoilt = [name for name, _, own in layers(self.bijector, gradient) if not all_finite(own)]
        return f"the gradient of {spoilt[-1]}" if spoilt else None

    def _encode(self, params: Params, x: Array, label: Array | None) -> tuple[Array, Array]:
        check_examples(x, self.spec)
        context = label_context(label, self.num_classes)
        return self.bijector.forward(params["bijector"], x, context)


def check_temperature(temperature: Array | float) -> None:
    """Raises unless the temperature is positive; a traced value is not checked.

    Raises:
        ValueError: The temperature is not positive.
    """
    if not isinstance(temperature, Tracer) and not temperature > 0:
        raise ValueError(
            f"temperature is {temperature}: give a number above 0; 1 draws from the model, less "
            "draws nearer to its mode"
        )


def real_valued(spec: DataSpec) -> DataSpec:
    """Returns the same description with real-valued entries."""
    return dataclasses.replace(spec, num_levels=None)
