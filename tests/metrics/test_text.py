"""Likelihood of texts by token and by character, against numbers worked out by hand."""

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
from genjax_models.metrics import bits_per_character, nats_per_token, perplexity

HIGH = 0.9


@dataclasses.dataclass(frozen=True)
class Lopsided:
    """Every token on its own: token 0 with probability HIGH, the others alike."""

    spec: DataSpec

    def log_prob(self, params, x, *, key=None, state=None):
        other = (1 - HIGH) / (self.spec.levels - 1)
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
    data = gm.Dataset.from_arrays(x, levels=2)

    class Coin(Lopsided):
        def log_prob(self, params, x, *, key=None, state=None):
            return jnp.full(x.shape[0], -4 * math.log(2))

    found = gm.evaluate(Coin(data.spec), {}, data, jax.random.key(0))  # pyright: ignore
    assert found == pytest.approx({"nll": 4 * math.log(2), "bits_per_dim": 1.0})
