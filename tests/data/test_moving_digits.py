"""Films of digits: where each frame has them, that they bounce, and GIF files."""

import numpy as np
import pytest

import genjax_models as gm
from genjax_models.data.dataset import Dataset
from genjax_models.data.moving_digits import bounce, dataset


@pytest.fixture(scope="module")
def dots():
    """Ten 2x2 images, of brightness 1 to 10 all over."""
    x = np.broadcast_to(np.arange(1, 11, dtype=np.uint8)[:, None, None, None], (10, 2, 2, 1))
    return Dataset.from_arrays(x, np.arange(10), num_levels=17, name="dots")


def test_bouncing_step_by_step():
    for start in range(5):
        for velocity in (-2, -1, 1, 2):
            at, v, places = start, velocity, []
            for _ in range(12):
                places.append(at)
                at += v
                if not 0 <= at <= 4:
                    at, v = (-at if at < 0 else 8 - at), -v
            np.testing.assert_array_equal(bounce(start, velocity, 4, 12), places)


def test_each_frame_has_the_digit_where_its_path_says(dots):
    films = dataset(dots, "train", 50, frames=6, side=7)
    x, motion = films.arrays["x"], films.arrays["motion"][:, 0]
    assert x.shape == (50, 6, 7, 7, 1) and films.spec.shape == x.shape[1:]
    for film, (row, column, down, right), label in zip(
        x, motion, films.arrays["label"], strict=True
    ):
        rows, columns = bounce(row, down, 5, 6), bounce(column, right, 5, 6)
        for frame, r, c in zip(film, rows, columns, strict=True):
            assert (frame[r : r + 2, c : c + 2] == label + 1).all()
            assert frame.sum() == 4 * (label + 1)  # and nothing else


def test_a_film_is_a_function_of_its_number(dots):
    some = dataset(dots, "train", 30, seed=5, in_memory=False)
    for name, array in dataset(dots, "train", 60, seed=5).arrays.items():
        np.testing.assert_array_equal(some.rows([29, 3])[name], array[[29, 3]])
    other = dataset(dots, "train", 30, seed=6)
    assert (other.arrays["motion"] != some.rows(np.arange(30))["motion"]).any()


def test_motion_is_uniform(dots):
    motion = dataset(dots, "train", 8_000, frames=1, side=6).arrays["motion"][:, 0]
    for values, sides in ((motion[:, :2], 5), (motion[:, 2:], 4)):
        counts = np.unique(values, return_counts=True)[1]
        expected = values.size / sides
        assert len(counts) == sides and ((counts - expected) ** 2 / expected).sum() < 20


def test_of_two_digits_the_brighter_is_seen(dots):
    films = dataset(dots, "train", 200, num_digits=2, frames=2, side=3)
    assert "label" not in films.arrays and films.spec.num_classes is None
    x, (first, second) = films.arrays["x"], np.moveaxis(films.arrays["motion"][..., :2], 1, 0)
    together = (first == second).all(1)
    assert together.any()
    assert all(len(np.unique(x[i, 0])) == 2 for i in np.flatnonzero(together))
    centre = x[:, 0, 1, 1, 0]  # both cover it, wherever they are
    np.testing.assert_array_equal(centre, x[:, 0].max((1, 2, 3)))


def test_it_is_loaded_by_name_and_refuses_what_cannot_be(dots):
    test = gm.load("moving_digits", "test[:10]")
    assert test.spec.shape == (8, 16, 16, 1) and test.spec.num_classes == 10 and len(test) == 10
    for options, line in (({"side": 2}, "side is 2"), ({"frames": 0}, "frames is 0")):
        with pytest.raises(ValueError, match=line):
            dataset(dots, **options)
    with pytest.raises(ValueError, match="cannot be filmed"):
        dataset(gm.load("ring"))
