"""Autoregressive models: p(x) = prod_t p(x_t | x_<t), with any causal network."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import linen as nn

from genjax_models.autoregressive import losses, sampling
from genjax_models.autoregressive.losses import AutoregressiveOutputs
from genjax_models.autoregressive.sampling import LogitFilter, Positions
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
from genjax_models.core.values import value


@value
class Autoregressive:
    """A model of examples entry by entry, with exact log p(x) = sum_t log p(x_t | x_<t).

    A position is a pixel with all its channels, or a token. Positions depend on each other through
    the network, and the channels of a pixel through the likelihood.

    Attributes:
        network: Causal network (`networks.Causal`) from inputs `[B, H, W, C]` or `[B, N]` to
            outputs `[B, ..., K]`.
        spec: Description of one example.
        likelihood: p(x_t | x_<t), given the network's outputs.
        inputs: `(x, spec) -> network's inputs`, entry by entry: `to_unit_range` for images,
            `tokens` for texts, and for images as sequences of tokens.
        preprocess: Preprocessing of the data; the likelihood is of its result.
        num_classes: Number of labels to condition on, for p(x | label); None for p(x).
        marginals: If True, each position has a bias, initialised at the data's marginals; for
            images, not for texts, whose windows begin anywhere.

    Raises:
        ValueError: The preprocessing is a dequantisation, which has only a bound.
    """

    network: nn.Module
    spec: DataSpec = DIGITS
    likelihood: Likelihood = likelihoods.categorical
    inputs: Callable[[Array, DataSpec], Array] = to_unit_range
    preprocess: Preprocess = preprocess.identity
    num_classes: int | None = None
    marginals: bool = True

    def __post_init__(self) -> None:
        """Checks that log_prob is exact."""
        if self.spec.num_levels is not None and self.preprocess.log_volume(self.spec) != 0.0:
            raise ValueError(
                "an autoregressive model has an exact likelihood, and dequantised data have only a "
                "bound: use preprocess.identity and a likelihood over levels"
            )

    @property
    def prepared(self) -> DataSpec:
        """Description of one preprocessed example."""
        return self.preprocess.describe(self.spec)

    @property
    def loss(self) -> Loss:
        """`nll`: -log p(x), in nats per example."""
        return Loss(self.forward, {"nll": losses.nll})

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, which owns all parameters."""
        return {"autoregressive": Player(self.loss, ("network", "likelihood"))}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Initialises the parameters and the state.

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
        # Checks the shape of the network's outputs, without computing anything.
        jax.eval_shape(
            functools.partial(self.forward, train=False, state=state), params, batch, key_forward
        )
        return params, state

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[AutoregressiveOutputs, State]:
        """Computes the likelihood of every entry, given the entries before it."""
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
        """Computes log p(x) `[B]` of the preprocessed examples exactly, in nats.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`.
            key: PRNG key of the preprocessing (dynamic binarisation); a fixed one if None.
            label: Labels `[B]` of a conditional model.
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
        """Draws `num` new examples `[num, *shape]`, in the data's range, entry by entry.

        Given entries stay as they are. Each other entry is drawn from its distribution given all
        entries before it, sampled or given; it does not depend on given entries after it.

        Args:
            params: The model's parameters.
            key: PRNG key; example i depends on the key and i alone.
            num: Number of examples.
            label: Labels of a conditional model: `[num]`, one for all, or None for random ones.
            given: A prompt, tokens `[num, P]` or `[P]` that the samples begin with; or whole
                examples `[num, *shape]` or `[*shape]`, with `mask`.
            mask: True for the given entries of whole examples, bool `[num, *shape]` or `[*shape]`.
            temperature: Divisor of the logits, at least 1e-6; 1 samples the model itself.
            top_k: Number of likeliest values to sample from.
            top_p: Probability of the likeliest values to sample from, in (0, 1].
            min_p: Least probability of a value to sample, relative to the likeliest, in [0, 1].
            state: The model's state.

        Raises:
            ValueError: A number is out of its range, or the prompt does not fit the model.
            TypeError: A temperature or a filter is given for a likelihood that has no logits.
        """
        logit_filter = LogitFilter(temperature, top_k, top_p, min_p)
        key_label, key_given, key_x = jax.random.split(key, 3)
        label = labels_to_sample(label, self.num_classes, num, key_label)
        entries = given_entries(given, mask, num, self.spec)
        if entries is not None:
            entries = self.preprocess.apply(entries[0], key_given, self.spec), entries[1]
        x = sampling.ancestral(self, params, state or {}, key_x, num, logit_filter, label, entries)
        return self.preprocess.restore(x, self.spec)

    def complete(self, params: Params, x: Array, mask: Array, key: Key, **options: Any) -> Array:
        """Samples the entries of examples where `mask` is False `[B, *shape]`.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`; entries that are not given may have any value.
            mask: True for given entries, bool `[B, *shape]` or `[*shape]`.
            key: PRNG key.
            **options: Options of `sample`: `label`, `temperature`, ..., `state`.
        """
        return self.sample(params, key, x.shape[0], given=x, mask=mask, **options)

    @property
    def positions(self) -> Positions:
        """The positions of an example, in the order of `conditional`."""
        return sampling.positions_of(self)

    def start(
        self, params: Params, num: int, *, label: Array | None = None, state: State | None = None
    ) -> Any:
        """Initialises the cache that `conditional` carries, for `num` examples.

        Args:
            params: The model's parameters.
            num: Number of examples.
            label: Labels `[num]` of a conditional model.
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
        """Computes p(x_t | x_<t) at one position of each example.

        Args:
            params: The model's parameters.
            carry: The cache, from `start` or from the position before.
            t: The position, int32 `[]`; positions are visited in order, from 0.
            previous: Preprocessed values `[B, E]` at position t - 1; not used at t = 0.
            label: Labels `[B]` of a conditional model.
            state: The model's state.

        Returns:
            The likelihood over `[B, *positions.spec.shape]`, and the new cache.
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
