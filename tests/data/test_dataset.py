"""`Dataset`: the same examples whichever way they are asked for, and refusals that say the mend."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.core.types import DataSpec
from genjax_models.data import Dataset
from genjax_models.data.dataset import parse_split, split_bounds

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 4, 5, 3)).astype(np.uint8)
LABELS = np.arange(10) % 3


class Records:
    """A source that counts what is read."""

    def __init__(self, images, labels):
        self.images, self.labels, self.read = images, labels, []

    def __len__(self):
        return len(self.images)

    def __getitems__(self, record_keys):
        self.read.extend(record_keys)
        return [{"x": self.images[i], "label": np.int32(self.labels[i])} for i in record_keys]


def test_arrays_become_examples():
    data = Dataset.from_arrays(IMAGES, LABELS, name="mine")
    assert len(data) == 10
    assert data.spec == DataSpec((4, 5, 3), 256, 3, name="mine")
    batch = data.rows([7, 2])
    np.testing.assert_array_equal(batch["x"], IMAGES[[7, 2]])
    assert batch["x"].dtype == np.uint8
    np.testing.assert_array_equal(batch["label"], [1, 2])
    assert batch["label"].dtype == np.int32


def test_grey_images_get_a_channel_axis():
    data = Dataset.from_arrays(IMAGES[..., 0])
    assert data.spec.shape == (4, 5, 1)
    np.testing.assert_array_equal(data.rows([3])["x"][0, ..., 0], IMAGES[3, ..., 0])


@pytest.mark.parametrize(
    ("array", "given", "levels", "dtype"),
    [
        (IMAGES, None, 256, np.uint8),
        (IMAGES % 17, 17, 17, np.uint8),
        (IMAGES.astype(np.int64), None, 256, np.uint8),
        (IMAGES > 9, None, 2, np.uint8),
        ((IMAGES > 9).astype(np.int64), None, 2, np.uint8),
        (IMAGES.astype(np.int32) % 17, None, 17, np.uint8),
        (np.array([[0, 5], [2, 1]]), None, 6, np.int32),
        (IMAGES.astype(np.int32) * 200, 65_536, 65_536, np.int32),
        (np.zeros((3, 2)), None, None, np.float32),
    ],
)
def test_levels_and_types(array, given, levels, dtype):
    data = Dataset.from_arrays(array, num_levels=given)
    assert data.spec.num_levels == levels
    assert data.arrays is not None and data.arrays["x"].dtype == dtype
    np.testing.assert_array_equal(data.arrays["x"], array)


NAN = np.ones((6, 2))
NAN[[4, 5], 1] = np.nan

BAD = {
    "float images": ((IMAGES / 255.0,), {}, "give images as uint8 levels"),
    "NaN in points": ((NAN,), {}, "2 values are NaN or infinite, the first in row 4"),
    "NaN in float images": ((np.full((2, 4, 4, 1), np.inf),), {}, "the first in row 0"),
    "one axis": ((np.arange(5),), {}, r"have shape \(5,\); give images \[N, H, W, C\]"),
    "five axes": ((np.zeros((1, 2, 2, 2, 2), np.uint8),), {}, "give images"),
    "no examples": ((np.zeros((0, 4, 4, 1), np.uint8),), {}, "nothing to learn from"),
    "channels first": ((np.zeros((2, 3, 8, 8), np.uint8),), {}, "channels last"),
    "text as type": ((np.array([["a"]]),), {}, "of type <U1; give integers"),
    "value at levels": ((IMAGES,), {"num_levels": 17}, r"17 levels allow 0 .. 16; .* num_levels="),
    "negative": ((np.full((2, 4, 4), -1),), {}, "values lie in -1 .. -1, and levels count from 0"),
    "no levels": ((IMAGES,), {"num_levels": 0}, "whole number of at least 1"),
    "levels of points": ((np.zeros((3, 2)),), {"num_levels": 4}, "without levels"),
    "labels too few": ((IMAGES, LABELS[:9]), {}, r"labels have shape \(9,\) for 10 examples"),
    "labels of two columns": ((IMAGES, np.stack([LABELS] * 2, 1)), {}, "or one-hot rows"),
    "labels that are no classes": ((IMAGES, LABELS / 2), {}, "type float64 and no whole numbers"),
    "labels of objects": ((IMAGES, [None] * 10), {}, "labels are of type object"),
    "labels that are NaN": ((IMAGES, LABELS + np.nan), {}, "labels: 10 values are NaN"),
    "words that are no class": (
        (IMAGES, ["cat", "dog"] * 5),
        {"class_names": ("cat", "cow")},
        "'dog', which is none of",
    ),
    "more classes than words": ((IMAGES, ["a", "b"] * 5), {"num_classes": 3}, "class_names="),
    "names of other classes": (
        (IMAGES, LABELS),
        {"num_classes": 3, "class_names": "ab"},
        "has 2 names",
    ),
    "two classes of one name": ((IMAGES, LABELS), {"class_names": "aab"}, "2 of them different"),
    "beyond float32": ((np.array([[1.0, 2.0], [-1e39, 0.0]]),), {}, "row 1 holds -1e.39, beyond"),
    "beyond int32": ((np.array([[1, 2**40]]),), {}, "more than int32 counts"),
    "behind a mask": ((np.ma.masked_equal([[1, 2]], 2),), {}, "hide values behind a mask"),
    "ragged": (([[1, 2], [3]],), {}, "rows of different lengths"),
    "extra of words": ((IMAGES,), {"extra": {"who": ["a"] * 10}}, "'who' is of type <U1"),
    "negative labels": ((IMAGES, LABELS - 1), {}, "number the classes from 0"),
    "label beyond classes": ((IMAGES, LABELS), {"num_classes": 2}, "2 classes allow 0 .. 1"),
    "extra too short": ((IMAGES,), {"extra": {"factors": LABELS[:3]}}, "'factors' has shape"),
    "extra named x": ((IMAGES,), {"extra": {"x": LABELS}}, "a name other than x and label"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_are_refused_in_one_line(case):
    args, kwargs, message = BAD[case]
    with pytest.raises(ValueError, match=message) as error:
        Dataset.from_arrays(*args, name="mine", **kwargs)
    assert "\n" not in str(error.value) and "mine" in str(error.value)


def test_gather_on_the_device_equals_rows():
    data = Dataset.from_arrays(IMAGES, LABELS, extra={"factors": np.eye(10)})
    arrays = jax.tree.map(jnp.asarray, dict(data.arrays or {}))
    gathered = jax.jit(data.gather)(arrays, jnp.array([9, 0, 9]))
    for name, value in data.rows([9, 0, 9]).items():
        np.testing.assert_array_equal(gathered[name], value)


def test_batches_give_every_example_once_in_order():
    data = Dataset.from_arrays(IMAGES, LABELS)
    batches = list(data.batches(4))
    assert [len(b["x"]) for b in batches] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([b["x"] for b in batches]), IMAGES)
    with pytest.raises(ValueError, match="batch_size is 0"):
        next(data.batches(0))


def test_streaming_equals_memory_and_reads_only_what_is_asked_for():
    memory = Dataset.from_arrays(IMAGES, LABELS, name="mine")
    source = Records(IMAGES, LABELS)
    stream = Dataset(memory.spec, source=source)
    assert stream.arrays is None and not stream.in_memory and len(stream) == 10
    for name, value in memory.rows([8, 1]).items():
        streamed = stream.rows(np.array([8, 1]))[name]
        np.testing.assert_array_equal(streamed, value)
        assert streamed.dtype == value.dtype
    assert set(source.read) == {8, 1}
    for one, other in zip(stream[3:8].batches(2), memory[3:8].batches(2), strict=True):
        np.testing.assert_array_equal(one["x"], other["x"])
    assert "streaming" in repr(stream)


def test_slices_and_take():
    data = Dataset.from_arrays(IMAGES, LABELS)
    np.testing.assert_array_equal(data[2:5].rows([0, 2])["x"], IMAGES[[2, 4]])
    assert len(data.take(3)) == 3 and len(data.take(99)) == 10
    assert len(data[-2:]) == 2
    with pytest.raises(TypeError, match=r"use rows\(\[...\]\)"):
        data[3]  # type: ignore[index]
    with pytest.raises(ValueError, match="num is -1"):
        data.take(-1)


def test_exactly_one_place_to_read_from():
    with pytest.raises(ValueError, match="either arrays"):
        Dataset(DataSpec((1,)))
    with pytest.raises(ValueError, match="either arrays"):
        Dataset(DataSpec((4, 5, 3)), arrays={"x": IMAGES}, source=Records(IMAGES, LABELS))


def test_repr_says_what_is_inside():
    said = repr(Dataset.from_arrays(IMAGES, LABELS, name="mine", split="test"))
    for part in ("mine[test]", "10 examples", "(4, 5, 3)", "256 levels", "3 classes", "x uint8"):
        assert part in said


def test_a_dataset_is_hashable_and_replaceable():
    data = Dataset.from_arrays(IMAGES)
    assert hash(data) == hash(data)  # it can be a static argument
    assert dataclasses.replace(data, split="test").split == "test"


def test_an_array_in_place_of_arrays_by_name_is_refused_in_one_line():
    with pytest.raises(
        TypeError, match=r"arrays is a ndarray: .*from_arrays\(x, labels\)"
    ) as error:
        Dataset(DataSpec((4, 5, 3)), arrays=IMAGES)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


KNOWN = ("train", "test")


@pytest.mark.parametrize(
    ("written", "num", "start", "stop"),
    [
        ("train", 10, 0, 10),
        ("train[:4]", 10, 0, 4),
        ("train[4:]", 10, 4, 10),
        ("train[-3:]", 10, 7, 10),
        ("train[2:99]", 10, 2, 10),
        ("test[90%:]", 1000, 900, 1000),
        ("test[-10%:]", 1000, 900, 1000),
        ("test[:33%]", 10, 0, 3),
    ],
)
def test_slices_are_read_as_tfds_reads_them(written, num, start, stop):
    name, *ends = parse_split(written, KNOWN, "mine")
    assert name == written.split("[")[0]
    assert split_bounds(*ends, num) == slice(start, stop)


@pytest.mark.parametrize(
    "written", ["trian", "", "train[5]", "train[:5", "train[a:]", "train+test"]
)
def test_what_is_no_split_is_refused(written):
    with pytest.raises(ValueError, match="mine has no split .* it has train, test"):
        parse_split(written, KNOWN, "mine")
