"""Variety and copies of texts, by hand and against a plain search."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genjax_models.data.markov import MarkovText
from genjax_models.metrics.ngrams import distinct_n, longest_copies, ngram_overlap
from genjax_models.metrics.text import perplexity, relative_perplexity


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
