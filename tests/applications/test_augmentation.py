"""Few examples, drawn ones and both together; the interval against a table's."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import genjax_models as gm
from genjax_models.applications import augmentation
from genjax_models.core.types import DIGITS


def test_few_of_each_label(digits):
    few = augmentation.few_per_class(digits, 5, seed=1)
    np.testing.assert_array_equal(np.bincount(few.arrays["label"]), [5] * 10)
    rows = {row.tobytes() for row in digits.arrays["x"]}
    assert len({row.tobytes() for row in few.arrays["x"]} & rows) == 50
    with pytest.raises(ValueError, match="rarest label of .* has"):
        augmentation.few_per_class(digits, 500)


@dataclasses.dataclass(frozen=True)
class Shades:
    """Draws images whose every pixel is the label."""

    spec = DIGITS

    def sample(self, params, key, num, *, state=None, label=None):
        return jnp.broadcast_to(label[:, None, None, None], (num, 8, 8, 1)).astype(jnp.uint8)


def test_every_label_is_drawn_as_often():
    found = augmentation.sample_dataset(Shades(), {}, jax.random.key(0), 3)
    np.testing.assert_array_equal(np.bincount(found.arrays["label"]), [3] * 10)
    np.testing.assert_array_equal(found.arrays["x"][:, 4, 4, 0], found.arrays["label"])


def test_many_are_drawn_in_blocks(monkeypatch):
    monkeypatch.setattr(augmentation, "_AT_ONCE", 16)
    found = augmentation.sample_dataset(Shades(), {}, jax.random.key(0), 5)
    np.testing.assert_array_equal(np.bincount(found.arrays["label"]), [5] * 10)
    np.testing.assert_array_equal(found.arrays["x"][:, 4, 4, 0], found.arrays["label"])
    with pytest.raises(ValueError, match="0 examples of each label"):
        augmentation.sample_dataset(Shades(), {}, jax.random.key(0), 0)


def test_sets_that_do_not_go_together(digits):
    other = gm.Dataset.from_arrays(np.zeros((3, 8, 8, 1), np.uint8), np.arange(3), num_levels=256)
    with pytest.raises(ValueError, match="17 levels.*256 levels.*do not go together"):
        augmentation.augment(digits, other)
    bare = gm.Dataset.from_arrays(np.zeros((3, 8, 8, 1), np.uint8), num_levels=17)
    with pytest.raises(ValueError, match="with labels"):
        augmentation.augment(digits, bare)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_what_is_drawn_has_its_share(digits, share):
    few = augmentation.few_per_class(digits, 3)
    more = digits.take(300)
    both = augmentation.augment(few, more, share)
    assert 300 / len(both) == pytest.approx(share, abs=0.03)
    np.testing.assert_array_equal(both.arrays["label"][-300:], more.arrays["label"])
    np.testing.assert_array_equal(both.arrays["x"][:30], few.arrays["x"])


def test_the_interval_is_students():
    gain = augmentation.paired_gain([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 4.0, 3.0, 6.0, 5.0])
    half = 2.776 * 1.0 / np.sqrt(5)  # the differences 1, 2, 0, 2, 0 have deviation 1
    assert gain.value == pytest.approx(1.0)
    np.testing.assert_allclose(gain.interval, [1 - half, 1 + half], atol=1e-3)
    assert gain.num == 5
    with pytest.raises(ValueError, match="pairs"):
        augmentation.paired_gain([1.0], [2.0])
