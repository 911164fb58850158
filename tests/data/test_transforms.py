"""Datasets made of others: what is chosen, cut, scaled, turned round and set side by side."""

import numpy as np
import pytest

from genjax_models.core.types import DIGITS, DataSpec
from genjax_models.data.dataset import Dataset
from genjax_models.data.transforms import (
    alike,
    cropped,
    only_labels,
    resized,
    swapped,
    unpaired,
    without_labels,
)


def test_two_parts_are_the_whole(digits):
    four, rest = only_labels(digits, [4]), without_labels(digits, [4])
    assert set(four.arrays["label"]) == {4} and 4 not in rest.arrays["label"]
    assert len(four) + len(rest) == len(digits)
    assert rest.spec == digits.spec  # labels keep their numbers
    first = np.flatnonzero(digits.arrays["label"] != 4)[:5]
    np.testing.assert_array_equal(rest.arrays["x"][:5], digits.arrays["x"][first])


def test_images_take_size_and_levels():
    x = np.zeros((3, 16, 16, 1), np.uint8)
    x[1] = 255
    x[2, :8] = 255
    found = alike(Dataset.from_arrays(x, [0, 1, 2]), DIGITS, 10)
    assert (found.spec.shape, found.spec.num_levels, len(found)) == ((8, 8, 1), 17, 3)
    np.testing.assert_array_equal(found.arrays["x"][:2, 3, 3, 0], [0, 16])
    assert found.arrays["x"][2, 1, 0, 0] == 16 and found.arrays["x"][2, 6, 0, 0] == 0
    np.testing.assert_array_equal(found.arrays["label"], [0, 1, 2])


@pytest.mark.parametrize(
    ("labels", "message"), [([12], "no label 12"), (range(10), "no example .* outside")]
)
def test_refuses_labels_that_leave_nothing(digits, labels, message):
    with pytest.raises(ValueError, match=message):
        without_labels(digits, list(labels))


def test_refuses_other_channels():
    colour = Dataset.from_arrays(np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="as many channels"):
        alike(colour, DIGITS, 2)
    with pytest.raises(ValueError, match="has no labels"):
        without_labels(colour, [0])


RANDOM = np.random.default_rng(0)
PHOTOS = RANDOM.integers(0, 256, (60, 4, 4, 3)).astype(np.uint8)
MAPS = RANDOM.integers(0, 256, (60, 4, 4, 3)).astype(np.uint8)
PAIRS = Dataset.from_arrays(PHOTOS, extra={"condition": MAPS}, name="facades", split="test")


def numbered(num, offset=0):
    """Images that say their number, and labels that do."""
    numbers = np.arange(offset, offset + num)
    images = np.broadcast_to(numbers[:, None, None, None], (num, 2, 2, 1)).astype(np.uint8)
    return Dataset.from_arrays(images, numbers - offset, name=f"from{offset}")


def numbers(images):
    return images[:, 0, 0, 0].astype(int)


def test_examples_of_both_sets_in_no_pairs():
    a, b = numbered(60), numbered(60, 100)
    data = unpaired(a, b)
    batch = data.rows(np.arange(60))
    assert set(batch) == {"x", "y"}
    x, y = numbers(batch["x"]), numbers(batch["y"]) - 100
    np.testing.assert_array_equal(x, np.arange(60))
    np.testing.assert_array_equal(np.sort(y), np.arange(60))
    # Of 60 pairs a random order leaves one where it was on average, and 7 once in 80,000 times.
    assert np.sum(x == y) < 7
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.4
    assert data.spec == DataSpec((2, 2, 1), 256, None, name="from0|from100")


def test_it_is_a_function_of_the_numbers_and_the_seed():
    a, b = numbered(60), numbered(60, 100)
    rows = unpaired(a, b).rows([5, 17])
    np.testing.assert_array_equal(rows["y"], unpaired(a, b).rows([17, 5])["y"][::-1])
    assert not np.array_equal(unpaired(a, b).arrays["y"], unpaired(a, b, seed=1).arrays["y"])


@pytest.mark.parametrize(("num_a", "num_b"), [(60, 25), (25, 60)])
def test_the_shorter_set_comes_as_often_as_it_takes(num_a, num_b):
    data = unpaired(numbered(num_a), numbered(num_b, 100))
    assert len(data) == 60
    for name, num, offset in (("x", num_a, 0), ("y", num_b, 100)):
        times = np.bincount(numbers(data.arrays[name]) - offset, minlength=num)
        assert times.min() == 60 // num and times.max() == -(-60 // num)


def test_labels_stay_with_their_images_where_they_are_asked_for():
    data = unpaired(numbered(60), numbered(25, 100), labels=True)
    np.testing.assert_array_equal(data.arrays["label"], numbers(data.arrays["x"]))
    np.testing.assert_array_equal(data.arrays["label_y"], numbers(data.arrays["y"]) - 100)
    assert data.spec.num_classes == 60


def test_sets_that_cannot_be_put_beside_one_another():
    class Records:
        def __len__(self):
            return 3

    streamed = Dataset(DataSpec((2, 2, 1), name="large"), source=Records())
    with pytest.raises(ValueError, match="large streams.*in memory"):
        unpaired(numbered(3), streamed)
    with pytest.raises(ValueError, match=r"facades\[test\] has x, condition and no 'label'"):
        unpaired(PAIRS, PAIRS, labels=True)


def test_swapped_pairs_are_the_same_pairs():
    back = swapped(PAIRS, "condition")
    np.testing.assert_array_equal(back.arrays["x"], MAPS)
    np.testing.assert_array_equal(back.arrays["condition"], PHOTOS)
    again = swapped(back, "condition")
    assert again.spec == PAIRS.spec and again.split == "test"
    np.testing.assert_array_equal(again.arrays["x"], PHOTOS)
    with pytest.raises(ValueError, match="no 'map'"):
        swapped(PAIRS, "map")


def test_halved_images_are_means():
    """Halving with antialiasing weighs 4 pixels each way 1, 3, 3, 1: constants and ramps stay."""
    ramp = np.broadcast_to(10 * np.arange(16)[:, None, None], (600, 16, 8, 1)).astype(np.uint8)
    data = resized(Dataset.from_arrays(ramp, extra={"condition": ramp[..., [0, 0]]}), 8, 4)
    assert data.spec.shape == (8, 4, 1)
    assert data.arrays["condition"].shape == (600, 8, 4, 2)
    assert data.arrays["x"].dtype == np.uint8
    for image in data.arrays["x"][[0, -1]]:
        inner = np.broadcast_to(5 + 20 * np.arange(8)[:, None], (8, 4))[1:-1]
        np.testing.assert_array_equal(image[1:-1, :, 0], inner)


def test_images_of_the_size_stay_and_points_are_refused():
    data = resized(PAIRS, 4)
    np.testing.assert_array_equal(data.arrays["x"], PHOTOS)
    with pytest.raises(ValueError, match="only images"):
        resized(Dataset.from_arrays(np.zeros((3, 2), np.float32)), 4)
    with pytest.raises(ValueError, match="height is 0"):
        resized(PAIRS, 0)


def test_margins_are_cut_off_every_side():
    rows, columns = np.meshgrid(np.arange(8), np.arange(6), indexing="ij")
    where = np.stack([rows, columns], -1).astype(np.uint8)[None]
    data = cropped(
        Dataset.from_arrays(where, [3], num_classes=4, extra={"condition": where[..., :1]}), 2
    )
    assert data.spec.shape == (4, 2, 2) and list(data.arrays["label"]) == [3]
    np.testing.assert_array_equal(data.arrays["x"], where[:, 2:6, 2:4])
    np.testing.assert_array_equal(data.arrays["condition"], where[:, 2:6, 2:4, :1])
    assert cropped(PAIRS, 0).spec == PAIRS.spec
    for margin in (-1, 2):
        with pytest.raises(ValueError, match=f"margin is {margin}, .* 4 pixels .* give 0 to 1"):
            cropped(PAIRS, margin)
