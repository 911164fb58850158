"""Texts: windows are the text, and the held-out end is in no other split's windows."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models import data
from genjax_models.data import Dataset, text, tokenizers
from genjax_models.data.tokenizers import of

WORDS = "to be or not to be"


def test_text_windows_are_the_text():
    dataset = text.from_text(WORDS, window=5, name="hamlet")
    assert len(dataset) == len(WORDS) - 4
    assert dataset.spec.shape == (5,) and dataset.spec.num_levels == len(set(WORDS))
    assert dataset.spec.vocabulary == tuple(sorted(set(WORDS)))
    every = dataset.rows(np.arange(len(dataset)))["x"]
    assert every.dtype == np.int32
    for start, window in enumerate(every):
        assert of(dataset.spec).decode(window) == WORDS[start : start + 5]
    arrays = {k: jnp.asarray(v) for k, v in (dataset.arrays or {}).items()}
    gathered = jax.jit(dataset.gather)(arrays, jnp.arange(len(dataset)))["x"]
    np.testing.assert_array_equal(gathered, every)


def test_text_is_evaluated_in_windows_that_do_not_overlap():
    dataset = text.from_text(WORDS, window=5)
    batches = [b["x"] for b in dataset.batches(2)]
    assert [len(b) for b in batches] == [2, 1]
    walked = of(dataset.spec).decode(np.concatenate(batches).ravel())
    assert walked == WORDS[:15]


def test_text_can_be_cut_anew():
    dataset = text.from_text(WORDS, window=5)
    wide = dataset.with_window(len(WORDS))
    assert len(wide) == 1 and wide.spec.shape == (len(WORDS),)
    assert of(wide.spec).decode(wide.rows([0])["x"][0]) == WORDS
    part = dataset[3:5]  # two starts need six characters
    assert len(part) == 2
    assert of(part.spec).decode(part.rows([1])["x"][0]) == WORDS[4:9]
    with pytest.raises(ValueError, match="18 tokens but the window is 19"):
        dataset.with_window(19)
    with pytest.raises(ValueError, match="window is 0"):
        dataset.with_window(0)
    with pytest.raises(ValueError, match="is not a text"):
        Dataset.from_arrays(np.zeros((2, 4, 4), np.uint8)).with_window(2)


LINES = "".join(f"line {i}: twas brillig and the slithy toves\n" for i in range(200))


@pytest.fixture
def poem(tmp_path: Path) -> Path:
    path = tmp_path / "poem.txt"
    path.write_text(LINES[:-1] + "ö", encoding="utf-8")  # the held-out end alone has an umlaut
    return path


FITS = {"default": None, "utf8": tokenizers.utf8, "bpe": tokenizers.bpe(300)}


@pytest.mark.parametrize("name", FITS)
def test_the_splits_of_a_text_file_share_nothing_but_their_tokenizer(poem: Path, name: str):
    assert data.split_names(poem) == ("train", "validation")
    assert data.training_split(poem) == "train[:90%]"
    load = {"window": 33, "tokenizer": FITS[name]}
    train = data.load(poem, data.training_split(poem), **load)
    validation = data.load(poem, "validation", **load)
    whole = data.load(poem, **load)
    assert train.spec == validation.spec == whole.spec
    assert train.spec.shape == (33,)
    texts = [of(part.spec).decode(part.arrays["x"]) for part in (train, validation, whole)]
    assert texts[0] + texts[1] == texts[2] == poem.read_text()
    assert len(texts[1]) / len(texts[2]) == pytest.approx(0.1, abs=1e-3)
    part = data.load(poem, "train[4:14]", window=3)
    assert of(part.spec).decode(part.arrays["x"]) == LINES[4:14] and len(part) == 8


def test_bpe_learns_nothing_of_the_held_out_text(tmp_path: Path):
    path, other = tmp_path / "a.txt", tmp_path / "b.txt"
    path.write_text("moon sun " * 90 + "zebra cat " * 9)
    other.write_text("moon sun " * 90 + "horse dog " * 9)
    fit = tokenizers.bpe(280)
    a, b = (data.load(p, "validation", window=4, tokenizer=fit).spec for p in (path, other))
    assert a.tokenizer == b.tokenizer and a.vocabulary == b.vocabulary
    assert not any("zeb" in word for word in a.vocabulary)


def test_a_short_text_has_a_short_window(poem: Path):
    assert data.load(poem).spec.shape == (256,)
    poem.write_text(LINES[:300])
    train, validation = data.load(poem, "train[:90%]"), data.load(poem, "validation")
    assert train.spec.shape == validation.spec.shape == (30,)
    assert len(validation) == 1 and len(train) == 241
    with pytest.raises(ValueError, match=r"poem.txt\[validation\] has 30 tokens but the window is"):
        data.load(poem, "validation", window=31)
    with pytest.raises(ValueError, match=r"poem.txt\[train\[5:5\]\] is empty"):
        data.load(poem, "train[5:5]")
    with pytest.raises(ValueError, match="has no split 'test'; it has train, validation"):
        data.load(poem, "test")


def test_the_mark_at_a_files_start_is_no_text(poem: Path):
    poem.write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    assert of(data.load(poem).spec).decode(data.load(poem).arrays["x"]) == "one\ntwo"


def test_the_markov_source_in_other_tokens_is_the_same_text():
    plain = data.load("markov", "validation[:5000]", window=10)
    words = of(plain.spec).decode(plain.arrays["x"])
    assert len(words) == 5_000 and plain.spec.shape == (10,)
    coded = data.load("markov", "validation[:5000]", window=10, tokenizer=tokenizers.bpe(300))
    assert of(coded.spec).decode(coded.arrays["x"]) == words
    assert len(coded.arrays["x"]) < 2_500


@pytest.mark.parametrize(
    ("option", "word"), [({"window": 5}, "window"), ({"tokenizer": tokenizers.utf8}, "tokenizer")]
)
def test_what_is_no_text_takes_neither_window_nor_tokenizer(tmp_path: Path, option, word):
    np.savez(tmp_path / "mine.npz", x=np.zeros((4, 4, 4), np.uint8))
    for name in ("digits", "ring", tmp_path / "mine.npz"):
        with pytest.raises(ValueError, match=f"is not a text: only a text takes a {word}"):
            data.load(name, **option)
    with pytest.raises(FileNotFoundError, match="there is nothing at"):
        data.load(tmp_path / "gone.txt", **option)
