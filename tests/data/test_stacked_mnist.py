"""Stacks of digits: which ones, in which order, and that they are what the labels say."""

import sys

import numpy as np
import pytest

from genjax_models import data
from genjax_models.data import stacked_mnist
from genjax_models.data.dataset import Dataset

LOAD = sys.modules["genjax_models.data.load"]  # the package's `load` is the function


@pytest.fixture(scope="module")
def digits():
    """A hundred images whose every pixel is their own number, ten of each label."""
    number = np.arange(100, dtype=np.uint8)
    return Dataset.from_arrays(
        np.broadcast_to(number[:, None, None, None], (100, 4, 4, 1)), number // 10, name="mnist"
    )


def test_channels_show_what_the_label_says(digits):
    made = stacked_mnist.dataset(digits, "test", num=2_000)
    x, label = made.arrays["x"], made.arrays["label"]
    assert x.shape == (2_000, 4, 4, 3) and x.dtype == np.uint8 and label.dtype == np.int32
    assert (x == x[:, :1, :1]).all()
    first, second, third = (x[:, 0, 0] // 10).astype(int).T
    np.testing.assert_array_equal(label, 100 * first + 10 * second + third)
    assert made.spec.num_classes == 1_000 and made.spec.name == "stacked_mnist"


def test_digits_are_drawn_evenly_and_independently(digits):
    made = stacked_mnist.dataset(digits, num=20_000)
    counts = np.bincount(made.arrays["label"], minlength=1_000)
    statistic = ((counts - 20) ** 2 / 20).sum()  # chi-squared with 999 degrees of freedom
    assert abs(statistic - 999) < 5 * np.sqrt(2 * 999)


def test_a_stack_is_a_function_of_its_number_and_the_seed(digits):
    few, many = (stacked_mnist.dataset(digits, num=n, seed=3) for n in (50, 200))
    np.testing.assert_array_equal(few.arrays["x"], many.arrays["x"][:50])
    other = stacked_mnist.dataset(digits, num=50, seed=4)
    assert (few.arrays["x"] != other.arrays["x"]).any()
    streamed = stacked_mnist.dataset(digits, num=200, seed=3, in_memory=False)
    assert streamed.arrays is None and len(streamed) == 200
    rows = streamed.rows([7, 0, 199])
    for name, values in many.rows([7, 0, 199]).items():
        np.testing.assert_array_equal(rows[name], values)
        assert rows[name].dtype == values.dtype


def test_splits_have_no_digit_in_common(digits, monkeypatch):
    asked = []

    def prepared(recipe, split, root, in_memory):
        asked.append((recipe.spec.name, split))
        return digits

    monkeypatch.setattr(LOAD, "_load_prepared", prepared)
    monkeypatch.setattr(stacked_mnist, "SIZES", {"train": 30, "validation": 20, "test": 10})
    parts = [data.load("stacked_mnist", s) for s in ("train", "validation", "test[:5]")]
    assert asked == [("mnist", "train[:50000]"), ("mnist", "validation"), ("mnist", "test")]
    assert [len(part) for part in parts] == [30, 20, 5]
    assert data.training_split("stacked_mnist") == "train"


def test_the_real_ones(original_files, data_dir):
    made = data.load("stacked_mnist", "test", data_dir, in_memory=False)
    assert made.spec.shape == (28, 28, 3) and len(made) == 26_000
    row = made.rows([5])
    test = data.load("mnist", "test", data_dir).arrays
    digits = [row["label"][0] // 10**k % 10 for k in (2, 1, 0)]
    for channel, digit in enumerate(digits):
        (found,) = np.nonzero((test["x"][..., 0] == row["x"][0, ..., channel]).all((1, 2)))
        assert test["label"][found[0]] == digit


def test_what_cannot_be_stacked(digits):
    with pytest.raises(ValueError, match=r"mnist\[train\] cannot be stacked: give images"):
        stacked_mnist.dataset(Dataset.from_arrays(digits.arrays["x"], name="mnist"))
