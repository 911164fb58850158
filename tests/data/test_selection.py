"""Examples chosen by their labels, and images made like others."""

import numpy as np
import pytest

from genjax_models.core.types import DIGITS
from genjax_models.data.dataset import Dataset
from genjax_models.data.transforms import alike, only_labels, without_labels


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
