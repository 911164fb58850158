"""Masked (absorbing) discrete diffusion: tokens are masked at random times, and put back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.conditions import (
    check_examples,
    given_entries,
    label_context,
    labels_to_sample,
)
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.preprocess import from_tokens, of_data, tokens
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.diffusion import masking
from genjax_models.diffusion.masked_losses import MaskedOutputs, vlb
from genjax_models.diffusion.masking import Alpha, Reveal
from genjax_models.diffusion.times import low_discrepancy, sequence


@dataclasses.dataclass(frozen=True)
class MaskedDiffusion:
    """A diffusion whose noise is a mask: each token is hidden from some time on.

    `log p(x) >= int_0^1 -alpha'(t) / (1 - alpha(t)) E[sum_{i masked} log p(x_i | z_t)] dt`

    The network sees the tokens that are left and predicts all others at once. A token that is not
    masked stays as it is, and no prediction is ever the mask, so the network needs neither the time
    nor an output for the mask. The bound is the same for every schedule; with the data's own
    conditionals for a network it is log p(x) of each example.

    Attributes:
        network: Tokens int32 `[B, N]`, of which V is the mask, to logits `[B, N, V]`:
            `Transformer(vocabulary=V + 1, outputs=V, causal=False, ...)`.
        spec: What one example is; V is its number of levels. Images are tokens row by row.
        schedule: alpha(t): what times of training and steps of sampling are counted in.
        num_classes: Number of labels to be conditional on, p(x | label); None for p(x).

    Raises:
        ValueError: The data are no tokens, or the network is of other ones or causal.

    References:
        Sahoo et al. 2024, Simple and effective masked diffusion language models, arXiv:2406.07524,
        sec. 3; Shi et al. 2024, Simplified and generalized masked diffusion for discrete data,
        arXiv:2406.04329, sec. 3-4.
    """

    network: nn.Module
    spec: DataSpec = DIGITS
    schedule: Alpha = masking.linear
    num_classes: int | None = None

    def __post_init__(self) -> None:
        """Refuses networks that would compute something else without a word."""
        name, mask = self.spec.name, self.spec.num_levels
        if mask is None:
            raise ValueError(f"{name} has real-valued entries: masked diffusion is of tokens")
        if getattr(self.network, "causal", False):
            raise ValueError(
                "the network is causal, but a masked token is predicted from those on both sides: "
                "build it with causal=False"
            )
        vocabulary = getattr(self.network, "vocabulary", mask + 1)
        if vocabulary != mask + 1:
            raise ValueError(
                f"the network has a vocabulary of {vocabulary}, but {name} has {mask} values and "
                f"there is the mask: build it with vocabulary={mask + 1}, outputs={mask}"
            )

    @property
    def mask_token(self) -> int:
        """The token that stands for the mask, V."""
        assert self.spec.num_levels is not None
        return self.spec.num_levels

    @property
    def loss(self) -> Loss:
        """`vlb`: the bound of -log p(x), in nats an example."""
        return Loss(self.forward, {"vlb": vlb})

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, who owns the network."""
        return {"diffusion": Player(self.loss, ("network",))}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters and state.

        Raises:
            ValueError: The batch or the network's outputs do not fit the model.
        """
        check_examples(batch["x"], self.spec)
        context = label_context(batch.get("label"), self.num_classes)
        x = tokens(batch["x"], self.spec)
        params, state = init_modules(key, {"network": (self.network, (x, context))})
        # Abstractly: what the network returns is checked, and nothing is computed.
        jax.eval_shape(self._logits, params, state, x, context)
        return params, state

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[MaskedOutputs, State]:
        """Masks tokens at times of the model's own and predicts them."""
        key_t, key_hide, key_network = jax.random.split(key, 3)
        x = tokens(batch["x"], self.spec)
        context = label_context(batch.get("label"), self.num_classes)
        t, _ = low_discrepancy.draw(key_t, x.shape[0], None)
        may, options = jnp.ones(x.shape, bool), {"train": train, "key": key_network}
        return self._outputs(params, state, x, context, t, may, key_hide, **options)

    @entry("num_samples")
    def log_prob_bound(
        self,
        params: Params,
        x: Array,
        key: Key,
        num_samples: int = 1,
        *,
        label: Array | None = None,
        mask: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """An unbiased estimate of the lower bound of log p(x) `[B]`, in nats.

        More samples make the estimate less noisy; its mean, the bound, is the same.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`.
            key: What the masks are a function of.
            num_samples: Masks an example, one in each of as many equal parts of the time.
            label: Of a conditional model, the labels `[B]`.
            mask: Which entries are given, bool `[B, *shape]` or `[*shape]`: then the bound is of
                log p(the others | those). None gives none.
            state: The model's state.
        """
        check_examples(x, self.spec)
        _check_positive("num_samples", num_samples)
        given = jnp.zeros(x.shape, bool) if mask is None else jnp.broadcast_to(mask, x.shape)
        may = ~given.reshape(x.shape[0], -1)
        flat, context = tokens(x, self.spec), label_context(label, self.num_classes)

        def add(k: Array, total: Array) -> Array:
            key_t, key_hide = jax.random.split(jax.random.fold_in(key, k))
            t = (k + sequence(key_t, x.shape[0])) / num_samples
            outputs, _ = self._outputs(params, state or {}, flat, context, t, may, key_hide)
            return total - vlb(outputs)

        total = jax.lax.fori_loop(0, num_samples, add, jnp.zeros(x.shape[0]))
        return of_data(total / num_samples, x, self.spec)

    def conditionals(
        self,
        params: Params,
        x: Array,
        mask: Array,
        *,
        label: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """p(x_i | the entries that are given) of every entry `[B, *shape, V]`: as BERT is used.

        Those that are given have probability 1. Each distribution is of its entry alone: two
        entries drawn at once know nothing of each other.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`; what stands where nothing is given does not matter.
            mask: Which entries are given, bool `[B, *shape]` or `[*shape]`.
            label: Of a conditional model, the labels `[B]`.
            state: The model's state.
        """
        check_examples(x, self.spec)
        hidden = ~jnp.broadcast_to(mask, x.shape).reshape(x.shape[0], -1)
        flat, context = tokens(x, self.spec), label_context(label, self.num_classes)
        z = jnp.where(hidden, self.mask_token, flat)
        logits, _ = self._logits(params, state or {}, z, context)
        known = jax.nn.one_hot(flat, self.mask_token)
        p = jnp.where(hidden[..., None], jax.nn.softmax(logits), known)
        return p.reshape(*x.shape, self.mask_token)

    @entry("num", "steps", "reveal", "temperature")
    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        label: Array | int | None = None,
        given: Array | None = None,
        mask: Array | None = None,
        steps: int | None = None,
        reveal: Reveal = masking.independently,
        temperature: float = 1.0,
        state: State | None = None,
    ) -> Array:
        """New examples `[num, *shape]` in the data's range: all masked at first, shown by and by.

        Entries that are given stay as they are, and every other one knows of all of them. The
        tokens of one step are drawn independently, so few steps are fast and many are right.

        Args:
            params: The model's parameters.
            key: What the draws are a function of; example i's are of the key and i alone.
            num: How many.
            label: Of a conditional model: `[num]` labels or one for all; uniform ones where None.
            given: A prompt: tokens `[num, P]` or `[P]` that the samples begin with. Or whole
                examples `[num, *shape]` or `[*shape]`, with `mask`.
            mask: Which entries of whole examples are given, bool `[num, *shape]` or `[*shape]`.
            steps: Passes of the network, evenly spaced in time; None is one for each entry.
            reveal: Which tokens a step shows: `masking.independently`, `evenly` (one by one in
                N steps), `most_confident`.
            temperature: Logits are divided by it, at least 1e-6; 1 leaves the model as it is.
            state: The model's state.

        Raises:
            ValueError: A number that is not allowed, or a prompt that does not fit.
        """
        steps = self.spec.num_dims if steps is None else steps
        _check_positive("steps", steps)
        if not (temperature >= 1e-6 and math.isfinite(temperature)):
            raise ValueError(f"temperature must be a number of at least 1e-6, got {temperature}")
        key_label, key_x = jax.random.split(key)
        label = labels_to_sample(label, self.num_classes, num, key_label)
        known = given_entries(given, mask, num, self.spec)
        options = (num, int(steps), reveal, float(temperature))
        x = _draw(self, *options, params, state or {}, key_x, label, known)
        return from_tokens(x, self.spec)

    def complete(self, params: Params, x: Array, mask: Array, key: Key, **options: Any) -> Array:
        """The examples with the entries where `mask` is False drawn anew `[B, *shape]`.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`; what stands where nothing is given does not matter.
            mask: Which entries are given, bool `[B, *shape]` or `[*shape]`.
            key: What the draws are a function of.
            **options: As in `sample`: `label`, `steps`, `reveal`, `temperature`, `state`.
        """
        return self.sample(params, key, x.shape[0], given=x, mask=mask, **options)

    def _outputs(
        self,
        params: Params,
        state: State,
        x: Array,
        context: Array | None,
        t: Array,
        may: Array,
        key_hide: Key,
        **options: Any,
    ) -> tuple[MaskedOutputs, State]:
        """The prediction of those tokens that may be hidden and, at their times, are."""
        hidden, weight = masking.hide(key_hide, self.schedule, t, may)
        z_t = jnp.where(hidden, self.mask_token, x)
        logits, state = self._logits(params, state, z_t, context, **options)
        return MaskedOutputs(x, z_t, t, hidden, weight, logits), state

    def _logits(
        self, params: Params, state: State, z: Array, context: Array | None, **options: Any
    ) -> tuple[Array, State]:
        """Logits `[B, N, V]` of what stands behind the masks, and the state after the pass."""
        logits, state = apply_module("network", self.network, params, state, z, context, **options)
        if logits.shape != (*z.shape, self.mask_token):
            raise ValueError(
                f"the network returned {logits.shape[1:]} for {self.spec.name}: it must return "
                f"{(z.shape[1], self.mask_token)} (a Transformer: outputs={self.mask_token})"
            )
        return jnp.asarray(logits, jnp.float32), state


def _draw(
    model: MaskedDiffusion,
    num: int,
    steps: int,
    reveal: Reveal,
    temperature: float,
    params: Params,
    state: State,
    key: Key,
    label: Array | None,
    known: tuple[Array, Array] | None,
) -> Array:
    """Tokens `[num, N]`, those that are known as they are."""
    context = label_context(label, model.num_classes)
    z = jnp.full((num, model.spec.num_dims), model.mask_token, jnp.int32)
    if known is not None:
        given, mask = (a.reshape(z.shape) for a in known)
        z = jnp.where(mask, given.astype(z.dtype), z)

    def predict(z: Array) -> Array:
        logits = model._logits(params, state, z, context)[0]
        # The likeliest stay 0, whatever they are divided by.
        return (logits - jnp.max(logits, -1, keepdims=True)) / temperature

    return masking.unmask(predict, model.schedule, z, key, steps, reveal)


def _check_positive(name: str, value: int) -> None:
    if value != int(value) or value < 1:
        raise ValueError(f"{name} must be a positive whole number, got {value}")
