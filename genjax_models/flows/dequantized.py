"""Flows over discrete data: noise is added within their cells, and a flow fitted to the sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from genjax_models.core import random
from genjax_models.core.conditions import check_examples, label_context
from genjax_models.core.dequantization import UNIT, Dequantization, Uniform, num_levels_of
from genjax_models.core.distributions import log_mean_weight, standard_normal, sum_entries
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player
from genjax_models.core.preprocess import of_data, to_unit_range
from genjax_models.core.protocols import LikelihoodInfo
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import value
from genjax_models.flows import losses
from genjax_models.flows.bijector import Bijector
from genjax_models.flows.flow import Flow


@value
class Variational:
    """Learned dequantisation noise: y = (x + sigmoid(g(eps; x))) / num_levels, eps ~ N(0, I).

    g is the bijector's `forward`, so that a masked autoregressive bijector is an inverse
    autoregressive flow. Its context is the data, flattened and scaled to [-1, 1] `[B, D]`.

    Attributes:
        bijector: g, conditional on the data.

    References:
        Ho et al. 2019, Flow++, arXiv:1902.00275, sec. 3.1, eq. 10-12.
    """

    bijector: Bijector

    @property
    def name(self) -> str:
        """Name shown with likelihoods."""
        return "variational"

    def init(self, key: Key, x: Array, spec: DataSpec) -> Any:
        """The bijector's parameters."""
        key_eps, key_bijector = jax.random.split(key)
        return self.bijector.init(
            key_bijector, random.normal(key_eps, x.shape), self._context(x, spec)
        )

    def __call__(self, params: Any, x: Array, key: Key, spec: DataSpec) -> tuple[Array, Array]:
        """Draws y in [0, 1] `[B, ...]`, and returns log q(y | x) `[B]`, in nats."""
        eps = random.normal(key, x.shape)
        v, log_det = self.bijector.forward(params, eps, self._context(x, spec))
        # d sigmoid(v) / dv = sigmoid(v) sigmoid(-v); each entry of y is that times a cell's width.
        log_slope = jax.nn.log_sigmoid(v) + jax.nn.log_sigmoid(-v)
        y = UNIT.points(x, jax.nn.sigmoid(v), spec)
        log_q = standard_normal(eps.shape).log_prob(eps) - log_det - sum_entries(log_slope)
        return y, log_q - UNIT.log_volume(spec)

    def _context(self, x: Array, spec: DataSpec) -> Array:
        return to_unit_range(x, spec).reshape(x.shape[0], -1)


@struct.dataclass
class DequantizedOutputs:
    """Outputs of one pass over discrete data; the first axis of every array is the batch.

    Attributes:
        x: Discrete data `[B, ...]`.
        y: The data with noise within their cells, in [0, 1] `[B, ...]`.
        log_q: log q(y | x) `[B]`, in nats.
        z: The codes f(y) `[B, ...]`.
        log_det: log |det df/dy| `[B]`, in nats.
        log_p_z: Log-density of the codes under the base `[B]`, in nats.
    """

    x: Array
    y: Array
    log_q: Array
    z: Array
    log_det: Array
    log_p_z: Array


@value
class Dequantized:
    """A flow with the likelihood `P(x)` of discrete data x in {0 .. num_levels - 1}^D.

    The flow is a density p over [0, 1]^D (or more), and P(x) its integral over the cell of x:
    `log P(x) >= E_q[log p(y) - log q(y | x)]`. So the figures are bounds, in nats of the data as
    stored, comparable with exact probabilities of the same data.

    Attributes:
        flow: p(y), y in [0, 1]^D: a flow over real-valued examples of the same shape.
        dequantization: q(y | x).
        spec: Description of one example, before noise is added.

    References:
        Theis et al. 2016, arXiv:1511.01844, sec. 3.1; Ho et al. 2019, arXiv:1902.00275, eq. 10.
    """

    flow: Flow
    dequantization: Dequantization = Uniform()
    spec: DataSpec = DIGITS

    def __post_init__(self) -> None:
        """Checks that flow and data match.

        Raises:
            ValueError: The data are not discrete, or the flow has examples of another shape.
        """
        num_levels_of(self.spec, "there is nothing to dequantise; use Flow by itself")
        if self.flow.spec.shape != self.spec.shape:
            raise ValueError(
                f"{self.spec.name} has examples of shape {self.spec.shape}, but the flow is over "
                f"{self.flow.spec.shape}: build it with spec=real_valued(spec)"
            )

    @property
    def num_classes(self) -> int | None:
        """Number of labels of a conditional flow; None for an unconditional one."""
        return self.flow.num_classes

    @property
    def likelihood_info(self) -> LikelihoodInfo:
        """How the likelihoods are computed: by which dequantisation."""
        return LikelihoodInfo(f"{self.dequantization.name} dequantisation")

    @property
    def loss(self) -> Loss:
        """An upper bound of -log P(x) in nats: the term `nll`."""
        return Loss(self.forward, {"nll": losses.dequantized_nll})

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, which owns all parameters."""
        return {"flow": Player(self.loss, ("bijector", "dequantization"))}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Returns fresh parameters from a batch (for data-dependent initialisation), and no state.

        Raises:
            ValueError: The batch does not fit the model.
        """
        check_examples(batch["x"], self.spec)
        key_flow, key_noise, key_y = jax.random.split(key, 3)
        x = jnp.asarray(batch["x"])
        noise = self.dequantization.init(key_noise, x, self.spec)
        y, _ = self.dequantization(noise, x, key_y, self.spec)
        params, state = self.flow.init(key_flow, {**batch, "x": y})
        return {**params, "dequantization": noise}, state

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[DequantizedOutputs, State]:
        """Draws one y for each example, and computes the terms of the bound."""
        x = batch["x"]
        y, log_q = self.dequantization(params["dequantization"], x, key, self.spec)
        out, state = self.flow.forward(params, {**batch, "x": y}, key, state=state, train=train)
        return DequantizedOutputs(x, y, log_q, out.z, out.log_det, out.log_p_z), state

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
        """Importance-weighted lower bound of log P(x) of the discrete data `[B]`, in nats.

        `log (1/K) sum_k p(y_k) / q(y_k | x)`, which rises to log P(x) with the number of draws K.
        The draws are sequential, so memory does not grow with K.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`.
            key: PRNG key.
            num_samples: K.
            label: Labels `[B]` of a conditional model.
            state: Unused: a flow has no state.
        """
        check_examples(x, self.spec)
        label_context(label, self.num_classes)  # refused before it is traced

        def log_weight(k: Array) -> Array:
            key_k = jax.random.fold_in(key, k)
            y, log_q = self.dequantization(params["dequantization"], x, key_k, self.spec)
            return self.flow.log_prob(params, y, label=label, state=state) - log_q

        return of_data(log_mean_weight(log_weight, num_samples, x.shape[0]), x, self.spec)

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
        """Draws examples `[num, *shape]` in the data's type and range, from the flow's cells.

        Args:
            params: The model's parameters.
            key: PRNG key.
            num: Number of samples.
            temperature: See `Flow.sample`.
            label: Labels `[num]`, or one for all, of a conditional model; by default uniform.
            state: Unused: a flow has no state.

        Raises:
            ValueError: The temperature is not positive.
        """
        y = self.flow.sample(params, key, num, temperature=temperature, label=label, state=state)
        return UNIT.quantize(y, self.spec)

    @entry()
    def encode(
        self, params: Params, x: Array, *, label: Array | None = None, state: State | None = None
    ) -> Array:
        """Encodes the center of each example's cell `[B, *shape]`; no noise is drawn."""
        check_examples(x, self.spec)
        return self.flow.encode(params, UNIT.centres(x, self.spec), label=label, state=state)

    @entry()
    def decode(
        self, params: Params, z: Array, *, label: Array | None = None, state: State | None = None
    ) -> Array:
        """Decodes each code to the example `[B, *shape]` of its cell, in the data's units."""
        y = self.flow.decode(params, z, label=label, state=state)
        return UNIT.quantize(y, self.spec)

    def diagnose(self, params: Params, batch: Batch, key: Key, *, state: State) -> str | None:
        """Names the layer with the first value that is not finite (`core.protocols.Diagnosed`)."""
        x = jnp.asarray(batch["x"])
        y, log_q = self.dequantization(params["dequantization"], x, key, self.spec)
        if not (jnp.all(jnp.isfinite(y)) and jnp.all(jnp.isfinite(log_q))):
            return "the dequantization"
        return self.flow.diagnose(params, {**batch, "x": y}, key, state=state)
