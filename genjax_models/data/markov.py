"""A text source whose entropy is known: sentences of a small grammar, one character at a time.

A sentence is one phrase from each slot of the grammar, drawn independently. Read character by
character it is a Markov chain with states (slot, beginning of the phrase), and the next character
determines the next state. So the entropy rate, a lower bound of any model's nats per character, is
the mean, over the chain's stationary distribution, of the entropy of the next character.
"""

from __future__ import annotations

import dataclasses
import functools
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.core.distributions import as_levels
from genjax_models.core.types import Array, DataSpec, Key
from genjax_models.data import text
from genjax_models.data.arrays import positive_int
from genjax_models.data.dataset import Dataset

Slot = tuple[tuple[str, float], ...]
"""Phrases and their probabilities. No phrase begins another one."""

GRAMMAR: tuple[Slot, ...] = (
    (("the ", 0.5), ("a ", 0.3), ("every ", 0.2)),
    (("cat ", 0.25), ("child ", 0.2), ("dog ", 0.2), ("sailor ", 0.2), ("stone ", 0.15)),
    (("sees ", 0.4), ("seeks ", 0.2), ("sings to ", 0.25), ("waits for ", 0.15)),
    (("the ", 0.6), ("their ", 0.25), ("no ", 0.15)),
    (("moon", 0.3), ("morning", 0.2), ("sea", 0.3), ("song", 0.2)),
    ((".\n", 0.7), (", and ", 0.3)),
)


@dataclasses.dataclass(frozen=True)
class MarkovText:
    """A stationary source of characters with a known entropy rate.

    Attributes:
        grammar: The slots of a sentence, in order; after the last one comes the first.

    References:
        T. M. Cover and J. A. Thomas. Elements of Information Theory, 2nd ed., 2006: theorem 4.2.4
        (entropy rate of a stationary Markov chain).
    """

    grammar: tuple[Slot, ...] = GRAMMAR

    def __post_init__(self) -> None:
        """Checks that a slot's phrases are distinguishable and that probabilities sum to 1."""
        for number, slot in enumerate(self.grammar):
            weights = [weight for _, weight in slot]
            if min(weights) <= 0 or abs(sum(weights) - 1.0) > 1e-9:
                raise ValueError(
                    f"slot {number}: its phrases have probabilities {weights}; they must be above"
                    " 0 and sum to 1"
                )
            for phrase, _ in slot:
                if not phrase or any(p != phrase and p.startswith(phrase) for p, _ in slot):
                    raise ValueError(
                        f"slot {number}: {phrase!r} is empty or begins another phrase; end it with"
                        " a character that sets it apart"
                    )

    @functools.cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The source's characters, sorted."""
        return text.vocabulary_of("".join(p for slot in self.grammar for p, _ in slot))

    @functools.cached_property
    def _chain(self) -> tuple[np.ndarray, np.ndarray]:
        """Probability of each next character and the state it leads to, both `[S, V]`."""
        states = {
            (number, phrase[:i])
            for number, slot in enumerate(self.grammar)
            for phrase, weight in slot
            for i in range(len(phrase))
        }
        index = {state: i for i, state in enumerate(sorted(states))}
        token = {character: i for i, character in enumerate(self.vocabulary)}
        probability = np.zeros((len(index), len(token)))
        successor = np.zeros((len(index), len(token)), np.int32)
        for number, slot in enumerate(self.grammar):
            following = index[(number + 1) % len(self.grammar), ""]
            for phrase, weight in slot:
                for i in range(len(phrase)):
                    row, column = index[number, phrase[:i]], token[phrase[i]]
                    probability[row, column] += weight
                    whole = i + 1 == len(phrase)
                    successor[row, column] = following if whole else index[number, phrase[: i + 1]]
        return probability / probability.sum(1, keepdims=True), successor

    @functools.cached_property
    def stationary(self) -> np.ndarray:
        """Probability `[S]` of each state at a moment picked at random."""
        probability, successor = self._chain
        num = len(probability)
        transition = np.zeros((num, num))
        np.add.at(transition, (np.arange(num)[:, None], successor), probability)
        # pi (P - 1) = 0 and sum(pi) = 1, in the least-squares sense.
        system = np.concatenate([transition.T - np.eye(num), np.ones((1, num))])
        return np.linalg.lstsq(system, np.append(np.zeros(num), 1.0), rcond=None)[0]

    @functools.cached_property
    def entropy_rate(self) -> float:
        """Nats a character: sum_s pi(s) H(next character | s)."""
        probability, _ = self._chain
        logs = np.log(np.where(probability > 0, probability, 1.0))
        return float(-np.sum(self.stationary[:, None] * probability * logs))

    def sample(self, key: Key, length: int) -> Array:
        """Tokens int32 `[length]` of a text that begins anywhere in a sentence."""
        probability, successor = self._chain
        cumulative = jnp.asarray(np.cumsum(probability, 1)[:, :-1], jnp.float32)  # [S, V - 1]
        start_key, key = jax.random.split(key)
        start = jax.random.choice(start_key, len(probability), p=jnp.asarray(self.stationary))

        def step(state: Array, uniform: Array) -> tuple[Array, Array]:
            token = jnp.sum(uniform >= cumulative[state]).astype(jnp.int32)
            return jnp.asarray(successor)[state, token], token

        return jax.lax.scan(step, start.astype(jnp.int32), jax.random.uniform(key, (length,)))[1]

    def log_prob(self, tokens: Array) -> Array:
        """The exact log p `[B]`, in nats, of texts `[B, T]` that begin anywhere in a sentence.

        It is minus infinity if a token is not in the vocabulary.

        The initial state is unknown, so it is summed over: a filter carries the distribution of
        the state given the characters so far.
        """
        probability, successor = self._chain
        num = len(probability)
        move = np.zeros((len(self.vocabulary), num, num), np.float32)  # [V, from, to]
        rows, columns = np.nonzero(probability)
        move[columns, rows, successor[rows, columns]] = probability[rows, columns]
        moves, start = jnp.asarray(move), jnp.asarray(self.stationary, jnp.float32)

        def step(belief: Array, token: Array) -> tuple[Array, Array]:
            belief = belief @ moves[token]
            total = jnp.sum(belief)
            return belief / jnp.where(total > 0, total, 1.0), jnp.log(total)

        def one(sequence: Array) -> Array:
            return jnp.sum(jax.lax.scan(step, start, sequence)[1])

        level, outside = as_levels(tokens, len(self.vocabulary))
        return jax.vmap(one)(level) + jnp.sum(outside, axis=-1)

    def dataset(
        self,
        length: int,
        seed: int = 0,
        *,
        window: int = text.WINDOW,
        name: str = "markov",
        split: str = "train",
    ) -> Dataset:
        """A text of that many characters as a data set of its windows.

        Args:
            length: Number of characters.
            seed: Seed; the text is a pure function of it.
            window: Characters of one example.
            name: The data set's name, for messages.
            split: The split's name, for messages.
        """
        positive_int(length, "length")
        tokens = jax.jit(self.sample, static_argnums=1)(jax.random.key(seed), length)
        spec = DataSpec((window,), len(self.vocabulary), vocabulary=self.vocabulary, name=name)
        return Dataset(spec, split, {"x": np.asarray(tokens)}, window=window)


_SPLITS = MappingProxyType({"train": (500_000, 0), "validation": (50_000, 1), "test": (50_000, 2)})
"""Split -> how many characters, and the seed that draws them."""


def dataset(split: str = "train") -> Dataset:
    """The usual source's text, as `load("markov", split)` gives it."""
    length, seed = _SPLITS[split]
    return MarkovText().dataset(length, seed, split=split)
