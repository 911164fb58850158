"""Metrics of text against numbers worked out by hand, and copies against a plain search."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import genjax_models as gm
from genjax_models.core import DataSpec
from genjax_models.data import text, tokenizers
from genjax_models.data.markov import MarkovText
from genjax_models.metrics import (
    bits_per_character,
    distinct_n,
    longest_copies,
    nats_per_token,
    ngram_overlap,
    perplexity,
    relative_perplexity,
)

HIGH = 0.9


@dataclasses.dataclass(frozen=True)
class Lopsided:
    """Every token on its own: token 0 with probability HIGH, the others alike."""

    spec: DataSpec

    def log_prob(self, params, x, *, key=None, state=None):
        other = (1 - HIGH) / (self.spec.num_levels - 1)
        return jnp.sum(jnp.where(x == 0, math.log(HIGH), math.log(other)), -1)


def evaluate(data, **options):
    model = Lopsided(data.spec)
    return gm.evaluate(model, {}, data, jax.random.key(0), **options)  # pyright: ignore


def test_a_fair_coin_is_one_bit():
    assert bits_per_character(8 * math.log(2), 8) == pytest.approx(1.0)
    assert perplexity(8 * math.log(2), 8) == pytest.approx(2.0)
    assert nats_per_token(6.0, 3) == 2.0
    assert perplexity(1e6, 1) == math.inf
    for measure in (bits_per_character, perplexity, nats_per_token):
        with pytest.raises(ValueError, match="has 0"):
            measure(1.0, 0)


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_characters(batch_size):
    """Two whole windows `aab`, `aba` count; the last `b` is in none."""
    data = text.from_text("aababab", window=3)
    nll = -(4 * math.log(HIGH) + 2 * math.log(1 - HIGH))
    found = evaluate(data, batch_size=batch_size)
    assert found == pytest.approx(
        {
            "nll": nll / 2,
            "nats_per_token": nll / 6,
            "perplexity": math.exp(nll / 6),
            "bits_per_character": nll / 6 / math.log(2),
        }
    )


def test_bytes_of_characters_count_as_one():
    """Eight bytes, five characters: an emoji has four bytes, the letters one each."""
    words = "ab\U0001f600cd"
    data = text.from_text(words, window=4, tokenizer=tokenizers.utf8())
    nll = -8 * math.log((1 - HIGH) / 255)
    found = evaluate(data)
    assert found["nats_per_token"] == pytest.approx(nll / 8)
    assert found["bits_per_character"] == pytest.approx(nll / 5 / math.log(2))
    tail = text.from_text(words[2:3], window=2, tokenizer=tokenizers.utf8())
    assert "bits_per_character" not in evaluate(tail[2:3])  # bytes 2, 3 of a character begin none


def test_tokens_of_several_characters():
    """Bits a character are of the characters that the tokens stand for."""
    words = "the cat and the dog and the bird " * 20
    data = text.from_text(words, window=7, tokenizer=tokenizers.bpe(290)(words, ""))
    kept = data.arrays["x"][: len(data.arrays["x"]) // 7 * 7]
    num = len(tokenizers.of(data.spec).decode(kept))
    assert num > 2 * len(kept)
    found = evaluate(data)
    nll = found["nats_per_token"] * len(kept)
    assert found["bits_per_character"] == pytest.approx(nll / num / math.log(2))
    assert found["perplexity"] == pytest.approx(math.exp(nll / len(kept)))


def test_other_data_has_bits_an_entry():
    x = np.zeros((4, 2, 2, 1), np.uint8)
    x[0] = 1
    data = gm.Dataset.from_arrays(x, num_levels=2)

    class Coin(Lopsided):
        def log_prob(self, params, x, *, key=None, state=None):
            return jnp.full(x.shape[0], -4 * math.log(2))

    found = gm.evaluate(Coin(data.spec), {}, data, jax.random.key(0))  # pyright: ignore
    assert found == pytest.approx({"nll": 4 * math.log(2), "bits_per_dim": 1.0})


def tokens(text):
    return np.array([ord(character) for character in text])


def test_distinct_by_hand():
    """`abab` and `abc`: 3 of 7 letters differ, and ab, ba, bc of 5 pairs; none spans two texts."""
    texts = [tokens("abab"), tokens("abc")]
    assert distinct_n(texts, 1) == 3 / 7
    assert distinct_n(texts, 2) == 3 / 5
    assert distinct_n(texts, 4) == 1.0
    assert distinct_n([[5] * 10], 3) == 1 / 8
    assert distinct_n(np.arange(12).reshape(2, 6), 2) == 1.0


def test_overlap_by_hand():
    texts, training = [tokens("abcx"), tokens("ab")], tokens("zabcab")
    assert ngram_overlap(texts, training, 1) == 5 / 6
    assert ngram_overlap(texts, training, 2) == 3 / 4  # ab, bc, cx and ab again
    assert ngram_overlap(texts, training, 3) == 1 / 2
    assert ngram_overlap([tokens("ca")], training, 2) == 1.0
    assert ngram_overlap([tokens("ca")], [], 2) == 0.0


def test_longest_copies_against_a_plain_search():
    random = np.random.default_rng(0)
    training = random.integers(0, 3, 200)
    texts = [random.integers(0, 3, 30) for _ in range(20)]
    whole = training.tolist()

    def occurs(part):
        return any(whole[i : i + len(part)] == part for i in range(len(whole) - len(part) + 1))

    expected = [
        max(j - i for i in range(30) for j in range(i, 31) if occurs(text[i:j].tolist()))
        for text in texts
    ]
    assert longest_copies(texts, training).tolist() == expected
    assert len(set(expected)) > 1
    assert longest_copies([training[50:90], [7, 8], []], training).tolist() == [40, 0, 0]


def test_any_token_that_unicode_can_number():
    """Among them those that are no characters (surrogates), and the highest."""
    texts = [[0, 0xD800, 0xDFFF, 0x10FFFF]]
    assert distinct_n(texts, 1) == 1.0 and longest_copies(texts, texts[0])[0] == 4
    for wrong in ([0.5], [-1], [0x110000], [[1]]):
        with pytest.raises(ValueError, match="whole numbers|tokens go from"):
            distinct_n([wrong], 1)
    with pytest.raises(ValueError, match="3-grams need a text of 3"):
        distinct_n([[1, 2], [3]], 3)
    with pytest.raises(ValueError, match="n is 0"):
        ngram_overlap([[1]], [1], 0)


def test_a_known_entropy_rate():
    """The source has 1 of itself, about; a model of single characters has what it misses."""
    source = MarkovText()
    x = np.asarray(source.dataset(20_000, seed=5).arrays["x"])
    nll = -float(source.log_prob(x[None])[0])
    assert relative_perplexity(nll, len(x), source.entropy_rate) == pytest.approx(1.0, abs=0.01)
    shares = np.bincount(x) / len(x)
    single = -np.sum(np.log(shares[x]))
    found = relative_perplexity(single, len(x), source.entropy_rate)
    expected = perplexity(single, len(x)) / math.exp(source.entropy_rate)
    assert found == pytest.approx(expected) and found > 5
    assert relative_perplexity(1e6, 1, 0.0) == math.inf
