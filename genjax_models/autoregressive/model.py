"""Autoregressive models: p(x) = prod_t p(x_t | x_<t), by any causal network."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import linen as nn
from flax import struct

from genjax_models.autoregressive import losses, sampling
from genjax_models.autoregressive.filters import Filter
from genjax_models.autoregressive.sampling import Positions
from genjax_models.core import likelihoods, preprocess
from genjax_models.core.conditions import (
    check_examples,
    given_entries,
    label_context,
    labels_to_sample,
)
from genjax_models.core.distributions import ExplicitMean
from genjax_models.core.entry import entry
from genjax_models.core.likelihoods import Likelihood
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.preprocess import Preprocess, of_data, to_unit_range
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State


@struct.dataclass
class AutoregressiveOutputs:
    """What one pass gives; every array's first axis is the examples.

    Attributes:
        x: Data `[B, ...]`, as the model prepared them.
        likelihood: p(x_t | x_<t) of all entries, over `[B, ...]`.
    """

    x: Array
    likelihood: ExplicitMean


@dataclasses.dataclass(frozen=True)
class Autoregressive:
    """A model of examples entry by entry: log p(x) = sum_t log p(x_t | x_<t), exactly.

    A position is a pixel with all its channels, or a token. What the channels of a pixel know of
    each other is the likelihood's business; positions know each other through the network.

    Attributes:
        network: `networks.Causal`: input `[B, H, W, C]` or `[B, N]` to outputs `[B, ..., K]`.
        spec: What one example is.
        likelihood: p(x_t | x_<t), given the network's outputs.
        inputs: `(x, spec) -> network input`, entry by entry: `to_unit_range` for images,
            `tokens` for texts (and for images as rows of tokens).
        preprocess: What is done to the data first; the likelihood is of its result.
        num_classes: Number of labels to be conditional on, p(x | label); None for p(x).
        marginals: Whether each position has a bias, which starts at the data's marginals there:
            for images, whose positions differ. A window of a text may begin anywhere.

    Raises:
        ValueError: The preprocessing adds noise of a density, so that only a bound is known.
    """

    network: nn.Module
    spec: DataSpec = DIGITS
    likelihood: Likelihood = likelihoods.categorical
    inputs: Callable[[Array, DataSpec], Array] = to_unit_range
    preprocess: Preprocess = preprocess.identity
    num_classes: int | None = None
    marginals: bool = True

    def __post_init__(self) -> None:
        """Refuses what would make log_prob a bound."""
        if self.spec.num_levels is not None and self.preprocess.log_volume(self.spec) != 0.0:
            raise ValueError(
                "an autoregressive model has an exact likelihood, and of dequantised data only a "
                "bound is known: use preprocess.identity and a likelihood over levels"
            )

    @property
    def prepared(self) -> DataSpec:
        """What one example is after the preprocessing."""
        return self.preprocess.describe(self.spec)

    @property
    def loss(self) -> Loss:
        """`nll`: -log p(x), in nats an example."""
        return Loss(self.forward, {"nll": losses.nll})

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, who owns everything."""
        return {"autoregressive": Player(self.loss, ("network", "likelihood"))}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters and state.

        Raises:
            ValueError: The batch or the network's outputs do not fit the model.
        """
        check_examples(batch["x"], self.spec)
        context = label_context(batch.get("label"), self.num_classes)
        key_x, key_network, key_forward = jax.random.split(key, 3)
        x = self.preprocess.apply(batch["x"], key_x, self.spec)
        inputs = self.inputs(x, self.prepared)
        params, state = init_modules(key_network, {"network": (self.network, (inputs, context))})
        params["likelihood"] = self.likelihood.init(x, self.prepared) if self.marginals else {}
        # Abstractly: what the network returns is checked, and nothing is computed.
        jax.eval_shape(
            functools.partial(self.forward, train=False, state=state), params, batch, key_forward
        )
        return params, state

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[AutoregressiveOutputs, State]:
        """The likelihood of every entry, given the entries before it."""
        key_x, key_network = jax.random.split(key)
        x = self.preprocess.apply(batch["x"], key_x, self.spec)
        context = label_context(batch.get("label"), self.num_classes)
        likelihood, state = self._likelihood(
            params, state, x, context, train=train, key=key_network
        )
        return AutoregressiveOutputs(x, likelihood), state

    @entry()
    def log_prob(
        self,
        params: Params,
        x: Array,
        *,
        key: Key | None = None,
        label: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """Log p(x) `[B]` in nats, exactly: of the examples as the preprocessing leaves them.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`.
            key: Noise of the preprocessing (dynamic binarisation); a fixed one where None.
            label: Of a conditional model, the labels `[B]`.
            state: The model's state.
        """
        check_examples(x, self.spec)
        y = self.preprocess.apply(x, jax.random.key(0) if key is None else key, self.spec)
        context = label_context(label, self.num_classes)
        log_prob = self._likelihood(params, state or {}, y, context)[0].log_prob(y)
        return of_data(log_prob, x, self.spec)

    @entry("num", "temperature", "top_k", "top_p", "min_p")
    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        label: Array | int | None = None,
        given: Array | None = None,
        mask: Array | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        state: State | None = None,
    ) -> Array:
        """New examples `[num, *shape]` in the data's range, entry by entry from a cache.

        Entries that are given stay as they are, and each new one is drawn from its distribution
        given all entries before it, those drawn and those given. (So it does not know of given
        entries behind it.)

        Args:
            params: The model's parameters.
            key: What the draws are a function of; example i's are of the key and i alone.
            num: How many.
            label: Of a conditional model: `[num]` labels or one for all; uniform ones where None.
            given: A prompt: tokens `[num, P]` or `[P]` that the samples begin with. Or whole
                examples `[num, *shape]` or `[*shape]`, with `mask`.
            mask: Which entries of whole examples are given, bool `[num, *shape]` or `[*shape]`.
            temperature: Logits are divided by it, at least 1e-6; 1 leaves the model as it is.
            top_k: Draw among this many likeliest values only.
            top_p: Draw among the likeliest values that together have this probability, in (0, 1].
            min_p: Draw among values at least this fraction as likely as the likeliest, in [0, 1].
            state: The model's state.

        Raises:
            ValueError: A number that is not allowed, or a prompt that does not fit.
            TypeError: Another temperature or a filter for a likelihood that has no logits.
        """
        keep = Filter(temperature, top_k, top_p, min_p)
        key_label, key_given, key_x = jax.random.split(key, 3)
        label = labels_to_sample(label, self.num_classes, num, key_label)
        known = given_entries(given, mask, num, self.spec)
        if known is not None:
            known = self.preprocess.apply(known[0], key_given, self.spec), known[1]
        x = sampling.ancestral(self, params, state or {}, key_x, num, keep, label, known)
        return self.preprocess.restore(x, self.spec)

    def complete(self, params: Params, x: Array, mask: Array, key: Key, **options: Any) -> Array:
        """The examples with the entries where `mask` is False drawn anew `[B, *shape]`.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`; what stands where nothing is given does not matter.
            mask: Which entries are given, bool `[B, *shape]` or `[*shape]`.
            key: What the draws are a function of.
            **options: As in `sample`: `label`, `temperature`, ..., `state`.
        """
        return self.sample(params, key, x.shape[0], given=x, mask=mask, **options)

    @property
    def positions(self) -> Positions:
        """The positions that `conditional` goes through, in order."""
        return sampling.positions_of(self)

    def start(
        self, params: Params, num: int, *, label: Array | None = None, state: State | None = None
    ) -> Any:
        """What `conditional` carries before the first position of `num` examples: a cache.

        Args:
            params: The model's parameters.
            num: Number of examples.
            label: Of a conditional model, the labels `[num]`.
            state: The model's state.
        """
        return self._cached(params, state, num, label)[0]

    def conditional(
        self,
        params: Params,
        carry: Any,
        t: Array,
        previous: Array,
        *,
        label: Array | None = None,
        state: State | None = None,
    ) -> tuple[ExplicitMean, Any]:
        """p(x_t | x_<t) at one position of each example, and what is carried on to the next.

        Args:
            params: The model's parameters.
            carry: What `start`, or the position before, gave.
            t: The position, int32 `[]`; positions are taken in order, from 0 on.
            previous: Values `[B, E]` at position t - 1, as the preprocessing leaves them; anything
                at t = 0.
            label: Of a conditional model, the labels `[B]`.
            state: The model's state.

        Returns:
            The likelihood over `[B, *positions.spec.shape]`, and the carry.
        """
        _, step = self._cached(params, state, previous.shape[0], label)
        outputs, carry = step(carry, t, sampling.network_input(self, previous))
        return sampling.likelihood_at(self, params, outputs, t), carry

    def _cached(
        self, params: Params, state: State | None, num: int, label: Array | None
    ) -> tuple[Any, sampling.Step]:
        variables = {"params": params["network"], **(state or {}).get("network", {})}
        return sampling.cached(self, variables, num, label_context(label, self.num_classes))

    def _likelihood(
        self, params: Params, state: State, x: Array, context: Array | None, **kwargs: Any
    ) -> tuple[ExplicitMean, State]:
        inputs = self.inputs(x, self.prepared)
        out, state = apply_module("network", self.network, params, state, inputs, context, **kwargs)
        return self.likelihood(out, self.prepared, params["likelihood"] or None), state
