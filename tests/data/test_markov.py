"""The text source's entropy rate is what its own text shows."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models import data
from genjax_models.data import markov

SOURCE = markov.MarkovText()
CHARACTERS = data.tokenizers.Characters(SOURCE.vocabulary)
COIN = markov.MarkovText(((("a", 0.25), ("b", 0.75)),))


def test_the_entropy_rate_is_a_sentences_entropy_over_its_length():
    """Renewal: sentences are independent, so the rate is also entropy per sentence / its length."""
    entropy = length = 0.0
    for slot in markov.GRAMMAR:
        p = np.array([weight for _, weight in slot])
        entropy -= (p * np.log(p)).sum()
        length += (p * [len(phrase) for phrase, _ in slot]).sum()
    assert SOURCE.entropy_rate == pytest.approx(entropy / length, rel=1e-9)
    coin = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert COIN.entropy_rate == pytest.approx(coin, rel=1e-9)


def test_the_text_costs_its_entropy_rate():
    num, half = 200, 500
    tokens = SOURCE.sample(jax.random.key(0), num * 2 * half).reshape(num, 2 * half)
    # The first half of a piece tells the state, so the second half costs the rate and no more.
    nats = SOURCE.log_prob(tokens[:, :half]) - SOURCE.log_prob(tokens)
    rates = np.asarray(nats, np.float64) / half
    error = rates.std(ddof=1) / np.sqrt(num)
    assert error < 0.005 * SOURCE.entropy_rate * 2
    assert rates.mean() == pytest.approx(SOURCE.entropy_rate, abs=3 * error)


def test_short_texts_have_probabilities_that_sum_to_one():
    num = len(SOURCE.vocabulary)
    every = jnp.array(list(itertools.product(range(num), repeat=2)), jnp.int32)
    log_p = np.asarray(SOURCE.log_prob(every), np.float64)
    assert np.exp(log_p).sum() == pytest.approx(1.0, abs=1e-5)
    # And they are what is counted in a text.
    tokens = np.asarray(SOURCE.sample(jax.random.key(1), 100_000))
    counts = np.bincount(tokens[:-1] * num + tokens[1:], minlength=num**2)
    assert not counts[np.isneginf(log_p)].any()
    np.testing.assert_allclose(counts / counts.sum(), np.exp(log_p), atol=2e-3)


def test_an_impossible_text_has_no_probability():
    def log_prob(words: str) -> float:
        return float(SOURCE.log_prob(CHARACTERS.encode(words)[None])[0])

    assert np.isneginf(log_prob("the the moon"))
    assert np.isfinite(log_prob("the cat sees the moon.\n"))


def test_sentences_are_of_the_grammar():
    text = CHARACTERS.decode(SOURCE.sample(jax.random.key(2), 5_000))
    sentences = text.replace(", and ", ".\n").split(".\n")[1:-1]
    assert len(sentences) > 50
    for sentence in sentences:
        rest = sentence + ".\n"
        for slot in markov.GRAMMAR:
            (phrase,) = (p for p, _ in slot if rest.startswith(p))
            rest = rest[len(phrase) :]
        assert rest == ""


def test_a_phrase_that_begins_another_is_refused():
    with pytest.raises(ValueError, match="'a' is empty or begins another"):
        markov.MarkovText(((("a", 0.5), ("ab", 0.5)),))
    with pytest.raises(ValueError, match="sum to 1"):
        markov.MarkovText(((("a", 0.5), ("b", 0.4)),))


def test_loaded_by_name():
    train, test = data.load("markov"), data.load("markov", "test")
    assert train.spec.vocabulary == test.spec.vocabulary == SOURCE.vocabulary
    assert train.spec.num_levels == len(SOURCE.vocabulary) and train.spec.shape == (256,)
    assert len(train.arrays["x"]) == 500_000
    assert not np.array_equal(train.arrays["x"][:1_000], test.arrays["x"][:1_000])
    assert train.with_window(64).rows([5])["x"].shape == (1, 64)
