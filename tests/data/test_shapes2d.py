"""Sprites: every combination once, each readable off its image, each factor doing what it says."""

import math

import numpy as np
import pytest

from genjax_models import data
from genjax_models.data import shapes2d


@pytest.fixture(scope="module")
def parts():
    return [data.load("shapes2d", split).arrays for split in ("train", "validation", "test")]


def test_every_combination_is_in_exactly_one_split(parts):
    factors = np.concatenate([part["factors"] for part in parts])
    assert len(factors) == math.prod(shapes2d.FACTOR_SIZES)
    np.testing.assert_array_equal(np.unique(factors, axis=0), shapes2d.all_factors())
    assert [round(len(p["x"]) / len(factors), 2) for p in parts] == [0.8, 0.1, 0.1]


def test_factors_are_independent(parts):
    """In the whole exactly, and in the training split as far as a fair draw is."""
    factors = parts[0]["factors"]
    correlation = np.corrcoef(factors.T) - np.eye(5)
    assert np.abs(correlation).max() < 4 / np.sqrt(len(factors))


def test_images_are_a_function_of_the_factors_and_all_differ(parts):
    images = np.concatenate([part["x"] for part in parts])
    assert images.dtype == np.uint8 and images.shape[1:] == (32, 32, 1)
    assert len({image.tobytes() for image in images}) == len(images)
    some = slice(0, 50)
    np.testing.assert_array_equal(shapes2d.render(parts[2]["factors"][some]), parts[2]["x"][some])
    np.testing.assert_array_equal(parts[2]["label"], parts[2]["factors"][:, 0])


def test_x_and_y_move_the_sprite_one_pixel_a_step():
    factors = shapes2d.all_factors()
    factors = factors[(factors[:, 3] < 11) & (factors[:, 4] < 11)][::37]
    image = shapes2d.render(factors)
    right, down = (shapes2d.render(factors + step) for step in ([0, 0, 0, 1, 0], [0, 0, 0, 0, 1]))
    np.testing.assert_array_equal(right, np.roll(image, 1, axis=2))
    np.testing.assert_array_equal(down, np.roll(image, 1, axis=1))


def test_no_sprite_touches_the_border(parts):
    for images in (part["x"] for part in parts):
        for edge in (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]):
            assert not edge.any()


def test_areas_are_those_of_the_shapes():
    """Anti-aliased: the brightness adds up to the area, whatever the orientation."""
    radii = np.array([4.5, 6.0, 7.5, 9.0])
    area_of_unit = [2.0, math.pi / 2, 3 * math.sqrt(3) / 4]
    factors = shapes2d.all_factors()
    factors = factors[(factors[:, 3] == 6) & (factors[:, 4] == 5)]
    brightness = shapes2d.render(factors).sum((1, 2, 3)) / 255.0
    expected = np.array(area_of_unit)[factors[:, 0]] * radii[factors[:, 1]] ** 2
    np.testing.assert_allclose(brightness, expected, rtol=0.04)


def test_factors_that_are_none_are_refused():
    with pytest.raises(ValueError, match="beyond their sizes"):
        shapes2d.render(np.array([[3, 0, 0, 0, 0]]))
    with pytest.raises(ValueError, match=r"give integers \[N, 5\]"):
        shapes2d.render(np.zeros((2, 4), int))
