"""What a model of texts is told by: likelihood a token, and a character of whatever tokens."""

from __future__ import annotations

import math


def nats_per_token(nll: float, num_tokens: int) -> float:
    """Mean negative log-likelihood of a token, in nats: nll / N.

    Args:
        nll: -log p of a text, in nats.
        num_tokens: Tokens of that text, N.

    Raises:
        ValueError: There is no token.
    """
    return nll / _positive(num_tokens, "tokens")


def perplexity(nll: float, num_tokens: int) -> float:
    """exp(nll / N): among how many equally likely tokens the model is as undecided.

    Texts in different tokens have perplexities that cannot be compared: `bits_per_character` can.

    Args:
        nll: -log p of a text, in nats.
        num_tokens: Tokens of that text, N.

    Returns:
        The perplexity; infinite where it is beyond floating point.

    Raises:
        ValueError: There is no token.

    References:
        Jelinek et al. 1977, Perplexity: a measure of the difficulty of speech recognition tasks.
    """
    mean = nats_per_token(nll, num_tokens)
    return math.exp(mean) if mean < 700.0 else math.inf


def relative_perplexity(nll: float, num_tokens: int, entropy_rate: float) -> float:
    """A model's perplexity over the source's own: exp(nll / N - H), 1 for the source itself.

    Args:
        nll: -log p of a text, in nats.
        num_tokens: Tokens of that text, N.
        entropy_rate: The source's, H, in nats a token (`data.markov` knows its own).

    Returns:
        1 at least, but for the chance of which text it is; infinite beyond floating point.

    Raises:
        ValueError: There is no token.

    References:
        Cover and Thomas 2006, Elements of Information Theory, 2nd ed., theorem 5.4.3 (what a wrong
        code costs is the relative entropy).
    """
    excess = nats_per_token(nll, num_tokens) - entropy_rate
    return math.exp(excess) if excess < 700.0 else math.inf


def bits_per_character(nll: float, num_characters: int) -> float:
    """Negative log-likelihood a character, in bits: nll / (C ln 2), whatever the tokens are.

    Args:
        nll: -log p of a text, in nats.
        num_characters: Characters (Unicode code points) of that text, C.

    Raises:
        ValueError: There is no character.

    References:
        Graves 2013, Generating Sequences With Recurrent Neural Networks, arXiv:1308.0850 (sec. 3).
    """
    return nll / (_positive(num_characters, "characters") * math.log(2.0))


def _positive(num: int, what: str) -> int:
    if num < 1:
        raise ValueError(f"the text has {num} {what}: a mean over them needs at least one")
    return num
