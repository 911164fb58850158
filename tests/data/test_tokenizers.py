"""Tokenizers: every text comes back, in chunks too, and what is held out teaches them nothing."""

import dataclasses
import json

import numpy as np
import pytest

from genjax_models.core.types import DIGITS, DataSpec
from genjax_models.data import text, tokenizers

ASCII = "It is an ancient mariner,\r\n\tand he stoppeth one of three.  \x00\x7f"
UTF8 = "naïve straße — Ἀχιλῆος 日本語 e\u0301 \u2028"
EMOJI = "😀👩‍🚀 🏳️‍🌈"
TEXTS = {"ascii": ASCII, "utf-8": UTF8, "emoji": EMOJI, "nothing": ""}
TRAINING = (ASCII + " " + UTF8 + " the theft of the other thing.\n") * 20

FITS = {
    "characters": tokenizers.characters,
    "utf8": tokenizers.utf8,
    "bpe": tokenizers.bpe(320),
}


@pytest.fixture(params=FITS)
def tokenizer(request):
    return FITS[request.param](TRAINING, EMOJI)


@pytest.mark.parametrize("name", TEXTS)
def test_texts_come_back(tokenizer, name):
    tokens = tokenizer.encode(TEXTS[name])
    assert tokens.dtype == np.int32 and tokens.ndim == 1
    assert tokenizer.decode(tokens) == TEXTS[name]
    assert not len(tokens) or 0 <= tokens.min() <= tokens.max() < len(tokenizer.vocabulary)
    assert tokenizers.num_characters(tokenizer, tokens) == len(TEXTS[name])


@pytest.mark.parametrize("chunk", [1, 3])
def test_a_stream_of_chunks_is_the_text(tokenizer, chunk):
    words = ASCII + UTF8 + EMOJI
    tokens = tokenizer.encode(words)
    pieces = list(
        tokenizers.stream(tokenizer, (tokens[i : i + chunk] for i in range(0, len(tokens), chunk)))
    )
    assert "".join(pieces) == words
    assert "\ufffd" not in "".join(pieces) and len(pieces) > len(tokens) / chunk / 5


def test_bytes_that_are_no_utf8_are_marked():
    broken = tokenizers.utf8().encode("aé")[:2]  # the first of the two bytes of é
    assert tokenizers.utf8().decode(broken) == "a\ufffd"
    assert list(tokenizers.stream(tokenizers.utf8(), [broken])) == ["a", "\ufffd"]
    np.testing.assert_array_equal(tokenizers.utf8().encode("é"), [0xC3, 0xA9])


def test_a_tokenizer_is_read_off_the_description_of_the_data(tokenizer):
    spec = text.from_text(TRAINING, window=9, tokenizer=tokenizer).spec
    assert spec.num_levels == len(spec.vocabulary) == len(tokenizer.pieces)
    assert hash(spec) == hash(dataclasses.replace(spec))
    values = json.loads(json.dumps(dataclasses.asdict(spec)))  # as a run's folder keeps it
    values |= {"shape": tuple(values["shape"]), "vocabulary": tuple(values["vocabulary"])}
    again = tokenizers.of(DataSpec(**values))
    assert again == tokenizer
    np.testing.assert_array_equal(again.encode(UTF8), tokenizer.encode(UTF8))
    with pytest.raises(ValueError, match="digits is not a text"):
        tokenizers.of(DIGITS)


def test_vocabularies_can_be_read(tokenizer):
    for piece, word in zip(tokenizer.pieces, tokenizer.vocabulary, strict=True):
        assert word == piece.decode("utf-8", "backslashreplace")


def test_characters_that_the_vocabulary_lacks():
    known = tokenizers.characters("to be", "!")
    assert known.vocabulary == (" ", "!", "b", "e", "o", "t")
    with pytest.raises(ValueError, match="the vocabulary lacks: 'qz'; .* the training text"):
        known.encode("to be qz")
    with pytest.raises(ValueError, match="lacks: '😀'"):
        known.encode("😀")


@pytest.mark.parametrize("token", [-1, 6])
def test_tokens_that_stand_for_nothing(token):
    with pytest.raises(ValueError, match=r"the vocabulary has 6: give 0 .. 5"):
        tokenizers.characters("to be!").decode([0, token])


def test_bpe_merges_what_is_frequent():
    words = "low low low low low lower lower newest newest newest newest newest newest widest " * 9
    learned = tokenizers.bpe(270)(words, "")
    tokens = learned.encode(words)
    assert len(tokens) < 0.5 * len(words)
    assert {b" low", b" newest"} <= set(learned.pieces)
    assert len(learned.vocabulary) == 270
    # It is a function of the text: a run that is resumed has the same tokens.
    tokenizers._learn_bpe.cache_clear()
    assert tokenizers.bpe(270)(words, "") == learned
    # A text that has too few pairs gives fewer tokens; whatever it lacks is written in bytes.
    few = tokenizers.bpe(270)("ab", "")
    assert len(few.vocabulary) < 258 and few.decode(few.encode(words)) == words


@pytest.mark.parametrize("size", [256, 0, 2.5])
def test_bpe_of_no_size(size):
    with pytest.raises(ValueError, match=f"size.* {size}"):
        tokenizers.bpe(size)
