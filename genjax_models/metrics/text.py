"""Metrics of text: likelihood by token and by character; variety of n-grams, and copies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


def nats_per_token(nll: float, num_tokens: int) -> float:
    """Mean negative log-likelihood of a token, in nats: nll / N.

    Args:
        nll: -log p of a text, in nats.
        num_tokens: Number of tokens of the text, N.

    Raises:
        ValueError: There are no tokens.
    """
    return nll / _positive(num_tokens, "tokens")


def perplexity(nll: float, num_tokens: int) -> float:
    """Perplexity exp(nll / N): the number of equally likely tokens of the same uncertainty.

    Perplexities of different tokenizers cannot be compared; `bits_per_character` can.

    Args:
        nll: -log p of a text, in nats.
        num_tokens: Number of tokens of the text, N.

    Returns:
        The perplexity; infinite beyond floating point.

    Raises:
        ValueError: There are no tokens.

    References:
        Jelinek et al. 1977, Perplexity: a measure of the difficulty of speech recognition tasks.
    """
    mean = nats_per_token(nll, num_tokens)
    return math.exp(mean) if mean < 700.0 else math.inf


def relative_perplexity(nll: float, num_tokens: int, entropy_rate: float) -> float:
    """Perplexity of a model over that of the source: exp(nll / N - H), 1 for the source itself.

    Args:
        nll: -log p of a text, in nats.
        num_tokens: Number of tokens of the text, N.
        entropy_rate: Entropy rate H of the source, in nats a token (`data.markov` knows its own).

    Returns:
        At least 1 in expectation; infinite beyond floating point.

    Raises:
        ValueError: There are no tokens.

    References:
        Cover and Thomas 2006, Elements of Information Theory, 2nd ed., theorem 5.4.3 (the cost of a
        wrong code is the relative entropy).
    """
    excess = nats_per_token(nll, num_tokens) - entropy_rate
    return math.exp(excess) if excess < 700.0 else math.inf


def bits_per_character(nll: float, num_characters: int) -> float:
    """Negative log-likelihood of a character in bits, nll / (C ln 2), whatever the tokens.

    Args:
        nll: -log p of a text, in nats.
        num_characters: Number of characters (Unicode code points) of the text, C.

    Raises:
        ValueError: There are no characters.

    References:
        Graves 2013, Generating Sequences With Recurrent Neural Networks, arXiv:1308.0850 (sec. 3).
    """
    return nll / (_positive(num_characters, "characters") * math.log(2.0))


def distinct_n(texts: Sequence[Any], n: int) -> float:
    """Share of distinct n-grams, |unique n-grams| / |n-grams|, over all texts.

    It falls with the number of tokens: compare texts of equal length only. Li et al. divide by the
    number of tokens; here a text that never repeats itself has 1 for every n.

    Args:
        texts: Tokens of each text, integers `[T_i]` (characters or words, for example).
        n: Number of tokens of an n-gram.

    Returns:
        A share above 0, at most 1.

    Raises:
        ValueError: No text has n tokens.

    References:
        Li et al. 2016, A Diversity-Promoting Objective Function for Neural Conversation Models,
        arXiv:1510.03055, sec. 5.
    """
    grams = list(_all_ngrams(texts, n))
    return len(set(grams)) / len(grams)


def ngram_overlap(texts: Sequence[Any], training: Any, n: int) -> float:
    """Share of n-grams, counting repetitions, that occur anywhere in the training text.

    Args:
        texts: Tokens of each text `[T_i]`.
        training: Tokens of the training text `[M]`.
        n: Number of tokens of an n-gram.

    Returns:
        A share, 0 .. 1. Compare it with the share that new text of the same source has.

    Raises:
        ValueError: No text has n tokens.
    """
    grams = list(_all_ngrams(texts, n))
    whole, wanted = _as_string(training), set(grams)
    known = {gram for gram in _ngrams(whole, n) if gram in wanted}
    return sum(gram in known for gram in grams) / len(grams)


def longest_copies(texts: Sequence[Any], training: Any) -> np.ndarray:
    """Length of each text's longest run of tokens that also occurs in the training text.

    Args:
        texts: Tokens of each text `[T_i]`.
        training: Tokens of the training text `[M]`.

    Returns:
        Numbers of tokens `[N]`, each 0 .. T_i.
    """
    whole = _as_string(training)
    return np.array([_longest_copy(_as_string(text), whole) for text in texts], np.int64)


def _positive(num: int, what: str) -> int:
    if num < 1:
        raise ValueError(f"the text has {num} {what}: a mean over them needs at least one")
    return num


def _longest_copy(text: str, whole: str) -> int:
    """Searches only for runs longer than the longest so far: at most 2 T searches."""
    longest = 0
    for start in range(len(text)):
        while start + longest < len(text) and text[start : start + longest + 1] in whole:
            longest += 1
    return longest


def _all_ngrams(texts: Sequence[Any], n: int) -> Iterator[str]:
    if n < 1:
        raise ValueError(f"n is {n}: an n-gram has at least one token")
    strings = [_as_string(text) for text in texts]
    if max(map(len, strings), default=0) < n:
        raise ValueError(
            f"the longest of {len(strings)} texts has {max(map(len, strings), default=0)} tokens:"
            f" {n}-grams need a text of {n}"
        )
    return (gram for string in strings for gram in _ngrams(string, n))


def _ngrams(string: str, n: int) -> Iterator[str]:
    return (string[i : i + n] for i in range(len(string) - n + 1))


def _as_string(tokens: Any) -> str:
    """Turns tokens into the characters of a string, which Python slices and searches fast.

    Raises:
        ValueError: The tokens are not integers in 0 .. 1,114,111.
    """
    tokens = np.asarray(tokens)
    if tokens.size == 0:
        return ""
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise ValueError(
            f"a text is {tokens.dtype} of shape {tokens.shape}: give its tokens, whole numbers [T]"
        )
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high > 0x10FFFF:
        raise ValueError(f"tokens go from {low} to {high}: they must be 0 .. {0x10FFFF:,}")
    return tokens.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
