"""Masked (absorbing) discrete diffusion: tokens are masked at random times, and put back.

alpha(t) is the share of tokens that are not masked at time t: 1 at t = 0 (data), 0 at t = 1, where
every token is the mask. `linear_alpha`, or any such function that falls in t and has a derivative,
is an `Alpha`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from genjax_models.core import random
from genjax_models.core.conditions import (
    check_examples,
    given_entries,
    label_context,
    labels_to_sample,
)
from genjax_models.core.distributions import Categorical
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.preprocess import from_tokens, of_data, tokens
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import value
from genjax_models.diffusion.time_sampler import LowDiscrepancy, sequence

Alpha: TypeAlias = Callable[[Array], Array]
"""`t -> alpha(t)`, of any one shape."""
Reveal: TypeAlias = Callable[[Key, Array, Array, Array], Array]
"""`(key, log_prob [B, N], hidden [B, N], share []) -> revealed [B, N]`: which of the hidden tokens
a step of sampling reveals, given the log-probabilities of their draws and the share to reveal."""


def linear_alpha(t: Array) -> Array:
    """alpha(t) = 1 - t: all numbers of masks are equally likely."""
    return 1.0 - t


def cosine_alpha(t: Array) -> Array:
    """alpha(t) = 1 - cos(pi (1 - t) / 2): the first steps of sampling reveal few tokens.

    References:
        Chang et al. 2022, MaskGIT, arXiv:2202.04200, sec. 3.3; Shi et al. 2024, arXiv:2406.04329.
    """
    return 1.0 - jnp.cos(0.5 * math.pi * (1.0 - t))


def mask_tokens(key: Key, alpha: Alpha, t: Array, may: Array) -> tuple[Array, Array]:
    """Chooses which tokens are masked at their times, and weighs what is predicted of them.

    Of n tokens exactly ceil(n (1 - alpha(t))) are masked, all equally likely. With t uniform and
    the weight -alpha'(t) n / (number masked), a weighted sum over the masked tokens has the same
    mean as when each is masked independently with probability 1 - alpha(t) and the weight is
    -alpha'(t) / (1 - alpha(t)): both are sum_k (1/k) E[sum over k masked tokens]. But the number
    masked is never 0, and the weight is never above n times the slope of alpha.

    Args:
        key: PRNG key.
        alpha: The schedule.
        t: Times in (0, 1] `[B]`.
        may: Which tokens may be masked, bool `[B, N]`, n of each example.

    Returns:
        Which tokens are masked, bool `[B, N]`, and the weights `[B]` (0 where none may be masked).

    References:
        Hoogeboom et al. 2021, Autoregressive diffusion models, arXiv:2110.02037 (the same sum over
        numbers of masks); Nie et al. 2025, arXiv:2502.09992 (less noisy with a fixed number).
    """
    num = jnp.sum(may, axis=1)
    kept, slope = jax.jvp(alpha, (t,), (jnp.ones_like(t),))
    number = jnp.clip(jnp.ceil(num * (1.0 - kept)), 1, jnp.maximum(num, 1))
    score = jnp.where(may, random.uniform(key, may.shape), -1.0)
    return may & (_rank(score) < number[:, None]), -slope * num / number


def independently(key: Key, log_prob: Array, hidden: Array, share: Array) -> Array:
    """Reveals each token independently with probability `share`: the reversed process."""
    del log_prob
    return hidden & (random.uniform(key, hidden.shape) < share)


def evenly(key: Key, log_prob: Array, hidden: Array, share: Array) -> Array:
    """Reveals the same number of tokens a step, all equally likely; one by one in N steps.

    One by one, no two tokens that depend on each other are drawn at once: the samples are then
    exactly those of the model, an autoregressive one in random order.
    """
    del log_prob
    return _highest(random.uniform(key, hidden.shape), hidden, share)


def most_confident(key: Key, log_prob: Array, hidden: Array, share: Array) -> Array:
    """Reveals the tokens whose draws are the likeliest.

    The samples are better and less varied than the model: what is frequent becomes more frequent.

    References:
        Chang et al. 2022, MaskGIT, arXiv:2202.04200, sec. 3.2.
    """
    del key
    return _highest(log_prob, hidden, share)


def _highest(score: Array, hidden: Array, share: Array) -> Array:
    """The share of the masked tokens of each example with the highest scores, rounded up."""
    number = jnp.ceil(share * jnp.sum(hidden, axis=1) - 1e-4)  # 3 * (1 / 3) is one, not two
    return hidden & (_rank(jnp.where(hidden, score, -jnp.inf)) < number[:, None])


def _rank(score: Array) -> Array:
    """The number of entries of its row with a higher score than each entry `[B, N]`."""
    return jnp.argsort(jnp.argsort(-score, axis=1), axis=1)


def unmask(
    predict: Callable[[Array], Array], alpha: Alpha, z: Array, key: Key, steps: int, reveal: Reveal
) -> Array:
    """Runs the process backwards from t = 1, in one scan: each step reveals some tokens for good.

    Of the tokens that are masked at t, the share (alpha(s) - alpha(t)) / (1 - alpha(t)) is revealed
    at the next time s; each is drawn from its own distribution given those revealed before.

    Args:
        predict: `z [B, N] -> logits [B, N, V]` of the tokens behind the masks.
        alpha: The schedule.
        z: Tokens, or the mask V where they are to be drawn, int32 `[B, N]`.
        key: PRNG key.
        steps: Number of steps, evenly spaced in time.
        reveal: Which tokens a step reveals.

    Returns:
        Tokens `[B, N]`, none of them masked; those that were not masked before are the same.

    References:
        Sahoo et al. 2024, arXiv:2406.07524, sec. 3; Shi et al. 2024, arXiv:2406.04329, sec. 4.
    """
    grid = alpha(1.0 - jnp.arange(steps + 1) / steps)
    # At t = 0 nothing is masked, whatever rounding makes of alpha(0).
    share = ((grid[1:] - grid[:-1]) / (1.0 - grid[:-1])).at[-1].set(1.0)

    def step(z: Array, at: tuple[Array, Array]) -> tuple[Array, None]:
        number, share = at
        key_x, key_reveal = jax.random.split(jax.random.fold_in(key, number))
        logits = predict(z)
        x = Categorical(logits).sample(key_x).astype(z.dtype)
        log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), x[..., None], axis=-1)[..., 0]
        revealed = reveal(key_reveal, log_prob, z == logits.shape[-1], share)
        return jnp.where(revealed, x, z), None

    return jax.lax.scan(step, z, (jnp.arange(steps), share))[0]


@struct.dataclass
class MaskedOutputs:
    """Outputs of a forward pass; the first axis of every array is the examples.

    Attributes:
        x: Data as tokens, int32 `[B, N]`.
        z_t: The network's input `[B, N]`: the tokens, or the mask, which is token V.
        t: Times in (0, 1] `[B]`.
        hidden: Which tokens are masked, bool `[B, N]`.
        weight: Weight of the masked tokens' nats in the bound `[B]`.
        logits: Logits of every token, given those that are not masked `[B, N, V]`.
    """

    x: Array
    z_t: Array
    t: Array
    hidden: Array
    weight: Array
    logits: Array


def token_nats(outputs: MaskedOutputs) -> Array:
    """-log p(x_i | z_t) of masked tokens `[B, N]`, in nats; 0 of the others, which are given."""
    log_probs = jax.nn.log_softmax(outputs.logits)
    chosen = jnp.take_along_axis(log_probs, outputs.x[..., None], axis=-1)[..., 0]
    return jnp.where(outputs.hidden, -chosen, 0.0)


def vlb(outputs: MaskedOutputs) -> Array:
    """An unbiased estimate of an upper bound of -log p(x) `[B]`, in nats an example."""
    return outputs.weight * jnp.sum(token_nats(outputs), axis=1)


def masked_lm(outputs: MaskedOutputs) -> Array:
    """Mean cross-entropy of the masked tokens `[B]`, in nats a token: the loss of BERT, no bound.

    References:
        Devlin et al. 2019, BERT, arXiv:1810.04805, sec. 3.1; Chang et al. 2022, arXiv:2202.04200,
        eq. 1.
    """
    return jnp.sum(token_nats(outputs), axis=1) / jnp.maximum(jnp.sum(outputs.hidden, axis=1), 1)


@value
class MaskedDiffusion:
    """A diffusion whose noise is a mask: each token is masked from some time on.

    `log p(x) >= int_0^1 -alpha'(t) / (1 - alpha(t)) E[sum_{i masked} log p(x_i | z_t)] dt`

    The network sees the tokens that are left and predicts all others at once. A token that is not
    masked stays as it is, and no prediction is ever the mask, so the network needs neither the time
    nor an output for the mask. The bound is the same for every schedule; with the data's own
    conditionals for a network it is log p(x) of each example.

    Attributes:
        network: Tokens int32 `[B, N]`, of which V is the mask, to logits `[B, N, V]`:
            `Transformer(vocabulary=V + 1, outputs=V, causal=False, ...)`.
        spec: Description of one example; V is its number of levels. Images are tokens row by row.
        schedule: alpha(t), which spaces the times of training and the steps of sampling.
        num_classes: Number of labels of p(x | label); None for p(x).

    Raises:
        ValueError: The data are no tokens, or the network is of other ones or causal.

    References:
        Sahoo et al. 2024, Simple and effective masked diffusion language models, arXiv:2406.07524,
        sec. 3; Shi et al. 2024, Simplified and generalized masked diffusion for discrete data,
        arXiv:2406.04329, sec. 3-4.
    """

    network: nn.Module
    spec: DataSpec = DIGITS
    schedule: Alpha = linear_alpha
    num_classes: int | None = None

    def __post_init__(self) -> None:
        """Refuses networks that would compute something else."""
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
        """The token of the mask, V."""
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
        """Masks tokens at random times and predicts them."""
        key_t, key_mask, key_network = jax.random.split(key, 3)
        x = tokens(batch["x"], self.spec)
        context = label_context(batch.get("label"), self.num_classes)
        t, _ = LowDiscrepancy().draw(key_t, x.shape[0], None)
        may, options = jnp.ones(x.shape, bool), {"train": train, "key": key_network}
        return self._outputs(params, state, x, context, t, may, key_mask, **options)

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
            key: PRNG key of the masks.
            num_samples: Number of masks an example, one in each of as many equal parts of the time.
            label: Labels `[B]` of a conditional model.
            mask: Which entries are given, bool `[B, *shape]` or `[*shape]`; the bound is then of
                log p(the others | those). None gives none.
            state: The model's state.
        """
        check_examples(x, self.spec)
        _check_positive("num_samples", num_samples)
        given = jnp.zeros(x.shape, bool) if mask is None else jnp.broadcast_to(mask, x.shape)
        may = ~given.reshape(x.shape[0], -1)
        flat, context = tokens(x, self.spec), label_context(label, self.num_classes)

        def add(k: Array, total: Array) -> Array:
            key_t, key_mask = jax.random.split(jax.random.fold_in(key, k))
            t = (k + sequence(key_t, x.shape[0])) / num_samples
            outputs, _ = self._outputs(params, state or {}, flat, context, t, may, key_mask)
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
        """p(x_i | the entries that are given) of every entry `[B, *shape, V]`, as of BERT.

        Those that are given have probability 1. Each distribution is of its entry alone: entries
        that are drawn from them at once are independent of each other.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`, with any values where nothing is given.
            mask: Which entries are given, bool `[B, *shape]` or `[*shape]`.
            label: Labels `[B]` of a conditional model.
            state: The model's state.
        """
        check_examples(x, self.spec)
        hidden = ~jnp.broadcast_to(mask, x.shape).reshape(x.shape[0], -1)
        flat, context = tokens(x, self.spec), label_context(label, self.num_classes)
        z = jnp.where(hidden, self.mask_token, flat)
        logits, _ = self._logits(params, state or {}, z, context)
        given = jax.nn.one_hot(flat, self.mask_token)
        p = jnp.where(hidden[..., None], jax.nn.softmax(logits), given)
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
        reveal: Reveal = independently,
        temperature: float = 1.0,
        state: State | None = None,
    ) -> Array:
        """Draws examples `[num, *shape]` in the data's range, all masked at first.

        Entries that are given stay as they are, and all others are drawn given all of them. The
        tokens of one step are drawn independently: few steps are fast, many are accurate.

        Args:
            params: The model's parameters.
            key: PRNG key; example i depends on the key and on i alone.
            num: Number of examples.
            label: Labels of a conditional model, `[num]` or one for all; uniform ones where None.
            given: A prompt, tokens `[num, P]` or `[P]` that the samples begin with; or whole
                examples `[num, *shape]` or `[*shape]`, with `mask`.
            mask: Which entries of whole examples are given, bool `[num, *shape]` or `[*shape]`.
            steps: Number of passes of the network, evenly spaced in time; None for one an entry.
            reveal: Which tokens a step reveals: `independently`, `evenly` (one by one in N steps),
                `most_confident`.
            temperature: Divisor of the logits, at least 1e-6; 1 leaves the model as it is.
            state: The model's state.

        Raises:
            ValueError: A number is out of its range, or the prompt does not fit.
        """
        steps = self.spec.num_dims if steps is None else steps
        _check_positive("steps", steps)
        if not (temperature >= 1e-6 and math.isfinite(temperature)):
            raise ValueError(f"temperature must be a number of at least 1e-6, got {temperature}")
        key_label, key_x = jax.random.split(key)
        label = labels_to_sample(label, self.num_classes, num, key_label)
        context = label_context(label, self.num_classes)
        z = jnp.full((num, self.spec.num_dims), self.mask_token, jnp.int32)
        entries = given_entries(given, mask, num, self.spec)
        if entries is not None:
            values, is_given = (a.reshape(z.shape) for a in entries)
            z = jnp.where(is_given, values.astype(z.dtype), z)

        def predict(z: Array) -> Array:
            logits, _ = self._logits(params, state or {}, z, context)
            # The likeliest stay 0, whatever they are divided by.
            return (logits - jnp.max(logits, -1, keepdims=True)) / temperature

        return from_tokens(unmask(predict, self.schedule, z, key_x, int(steps), reveal), self.spec)

    def complete(self, params: Params, x: Array, mask: Array, key: Key, **options: Any) -> Array:
        """Draws the entries where `mask` is False anew: examples `[B, *shape]`.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`, with any values where nothing is given.
            mask: Which entries are given, bool `[B, *shape]` or `[*shape]`.
            key: PRNG key.
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
        key_mask: Key,
        **options: Any,
    ) -> tuple[MaskedOutputs, State]:
        """Masks some of the tokens that may be, and predicts them."""
        hidden, weight = mask_tokens(key_mask, self.schedule, t, may)
        z_t = jnp.where(hidden, self.mask_token, x)
        logits, state = self._logits(params, state, z_t, context, **options)
        return MaskedOutputs(x, z_t, t, hidden, weight, logits), state

    def _logits(
        self, params: Params, state: State, z: Array, context: Array | None, **options: Any
    ) -> tuple[Array, State]:
        """Logits `[B, N, V]` of the tokens behind the masks, and the state after the pass."""
        logits, state = apply_module("network", self.network, params, state, z, context, **options)
        if logits.shape != (*z.shape, self.mask_token):
            raise ValueError(
                f"the network returned {logits.shape[1:]} for {self.spec.name}: it must return "
                f"{(z.shape[1], self.mask_token)} (a Transformer: outputs={self.mask_token})"
            )
        return jnp.asarray(logits, jnp.float32), state


def _check_positive(name: str, value: int) -> None:
    if value != int(value) or value < 1:
        raise ValueError(f"{name} must be a positive whole number, got {value}")
