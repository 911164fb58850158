"""A flow over discrete data: noise is added within their cells, and a flow fitted to the result."""

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
    """y = (x + sigmoid(g(eps; x))) / num_levels with eps ~ N(0, I): noise that is learned.

    g is the bijector's `forward`, the direction in which a masked autoregressive one is fast: drawn
    that way it is an inverse autoregressive flow. Its context is the data, flattened and scaled to
    [-1, 1] `[B, D]`.

    Attributes:
        bijector: g, conditional on the data.

    References:
        Ho et al. 2019, Flow++, arXiv:1902.00275, sec. 3.1, eq. 10-12.
    """

    bijector: Bijector

    @property
    def name(self) -> str:
        """Stands beside likelihoods."""
        return "variational"

    def init(self, key: Key, x: Array, spec: DataSpec) -> Any:
        """The bijector's parameters."""
        key_eps, key_bijector = jax.random.split(key)
        return self.bijector.init(
            key_bijector, random.normal(key_eps, x.shape), self._context(x, spec)
        )

    def __call__(self, params: Any, x: Array, key: Key, spec: DataSpec) -> tuple[Array, Array]:
        """A draw y in [0, 1] `[B, ...]`, and log q(y | x) `[B]`, in nats."""
        eps = random.normal(key, x.shape)
        v, log_det = self.bijector.forward(params, eps, self._context(x, spec))
        # d sigmoid(v) / dv = sigmoid(v) sigmoid(-v), and each entry of y is a cell's width of it.
        log_slope = jax.nn.log_sigmoid(v) + jax.nn.log_sigmoid(-v)
        y = UNIT.points(x, jax.nn.sigmoid(v), spec)
        log_q = standard_normal(eps.shape).log_prob(eps) - log_det - sum_entries(log_slope)
        return y, log_q - UNIT.log_volume(spec)

    def _context(self, x: Array, spec: DataSpec) -> Array:
        return to_unit_range(x, spec).reshape(x.shape[0], -1)


@struct.dataclass
class DequantizedOutputs:
    """What one pass over discrete data gives; every array's first axis is the examples.

    Attributes:
        x: Discrete data `[B, ...]`.
        y: The same with noise within their cells, in [0, 1] `[B, ...]`.
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
    """A flow whose likelihood is that of discrete data, `P(x)` for x in {0 .. num_levels - 1}^D.

    The flow is a density p over [0, 1]^D (and beyond, where it puts any mass), and P(x) its
    integral over the cell of x: `log P(x) >= E_q[log p(y) - log q(y | x)]`. So the figures are
    bounds, in nats of the data as they are stored, that can be compared with those of a model with
    exact probabilities of the same data.

    Attributes:
        flow: p(y), y in [0, 1]^D: of real-valued entries, in the examples' shape.
        dequantization: q(y | x).
        spec: What one example is, before noise is added.

    References:
        Theis et al. 2016, arXiv:1511.01844, sec. 3.1; Ho et al. 2019, arXiv:1902.00275, eq. 10.
    """

    flow: Flow
    dequantization: Dequantization = Uniform()
    spec: DataSpec = DIGITS

    def __post_init__(self) -> None:
        """Checks that flow and data fit.

        Raises:
            ValueError: The data have no levels, or the flow is over examples of another shape.
        """
        num_levels_of(self.spec, "there is nothing to dequantise; use Flow by itself")
        if self.flow.spec.shape != self.spec.shape:
            raise ValueError(
                f"{self.spec.name} has examples of shape {self.spec.shape}, but the flow is over "
                f"{self.flow.spec.shape}: build it with spec=real_valued(spec)"
            )

    @property
    def num_classes(self) -> int | None:
        """Number of labels that the flow is conditional on; None for an unconditional one."""
        return self.flow.num_classes

    @property
    def likelihood_info(self) -> LikelihoodInfo:
        """What its likelihoods rest on."""
        return LikelihoodInfo(f"{self.dequantization.name} dequantisation")

    @property
    def loss(self) -> Loss:
        """A bound of -log P(x) `[nats]`: the term `nll`."""
        return Loss(self.forward, {"nll": losses.dequantized_nll})

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, who owns everything."""
        return {"flow": Player(self.loss, ("bijector", "dequantization"))}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters, given examples that data-dependent layers start from, and no state.

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
        """One draw y of each example and the parts of the bound."""
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
        """The importance-weighted lower bound of log P(x) of the discrete data `[B]`, in nats.

        `log (1/K) sum_k p(y_k) / q(y_k | x)`, which rises to log P(x) with the number K of draws.
        They are taken one after the other, so memory does not grow with K.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`.
            key: What the draws are a function of.
            num_samples: K.
            label: Of a conditional model, the labels `[B]`.
            state: Nothing: a flow keeps none.
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
        """New examples `[num, *shape]` in the data's type and range: the cells of the flow's draws.

        Args:
            params: The model's parameters.
            key: What the draws are a function of.
            num: How many.
            temperature: See `Flow.sample`.
            label: Of a conditional model: `[num]` labels or one for all; uniform ones where None.
            state: Nothing: a flow keeps none.

        Raises:
            ValueError: The temperature is not above 0.
        """
        y = self.flow.sample(params, key, num, temperature=temperature, label=label, state=state)
        return UNIT.quantize(y, self.spec)

    @entry()
    def encode(
        self, params: Params, x: Array, *, label: Array | None = None, state: State | None = None
    ) -> Array:
        """The code `[B, *shape]` of the middle of each example's cell; no noise is drawn."""
        check_examples(x, self.spec)
        return self.flow.encode(params, UNIT.centres(x, self.spec), label=label, state=state)

    @entry()
    def decode(
        self, params: Params, z: Array, *, label: Array | None = None, state: State | None = None
    ) -> Array:
        """The example `[B, *shape]` whose cell each code lies in, in the data's units."""
        y = self.flow.decode(params, z, label=label, state=state)
        return UNIT.quantize(y, self.spec)

    def diagnose(self, params: Params, batch: Batch, key: Key, *, state: State) -> str | None:
        """Which layer the first value that is not finite is in (`core.protocols.Diagnosed`)."""
        x = jnp.asarray(batch["x"])
        y, log_q = self.dequantization(params["dequantization"], x, key, self.spec)
        if not (jnp.all(jnp.isfinite(y)) and jnp.all(jnp.isfinite(log_q))):
            return "the dequantization"
        return self.flow.diagnose(params, {**batch, "x": y}, key, state=state)
