"""Films and patches reach a network of images in its layout, and come back in their places."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from genjax_models.networks.layouts import FramesAsImages, PatchesAsChannels


class Seen(nn.Module):
    """Doubles what it sees, and says that it was told what else there is."""

    shape: tuple[int, ...]

    def __call__(self, x, level, *, train=False):
        assert x.shape == self.shape and train
        return 2 * x + level[:, None, None, None]


def test_frames():
    x = jnp.arange(2 * 3 * 4 * 5 * 2.0).reshape(2, 3, 4, 5, 2)
    level = jnp.array([0.0, 1.0])
    y = FramesAsImages(Seen((6, 4, 5, 2))).apply({}, x, level, train=True)
    np.testing.assert_array_equal(y, 2 * x + level[:, None, None, None, None])


def test_patches():
    x = jnp.arange(2 * 4 * 8 * 3.0).reshape(2, 4, 8, 3)
    y = PatchesAsChannels(Seen((2, 2, 4, 12)), 2).apply({}, x, jnp.array([0.0, 1.0]), train=True)
    np.testing.assert_array_equal(y, 2 * x + jnp.array([0.0, 1.0])[:, None, None, None])
    with pytest.raises(ValueError, match="choose a patch that divides both"):
        PatchesAsChannels(Seen(()), 3).apply({}, x, jnp.zeros(2), train=True)
