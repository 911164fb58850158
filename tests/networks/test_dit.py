"""The diffusion Transformer: patches, positions, blocks that start near the identity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.networks.dit import AdaptiveBlock, DiT, from_patches, positions, to_patches

KEY = jax.random.key(0, impl="rbg")


def test_patches_and_back():
    x = jax.random.normal(KEY, (2, 4, 6, 3))
    rows = to_patches(x, 2)
    assert rows.shape == (2, 6, 12)
    np.testing.assert_array_equal(rows[0, 4].reshape(2, 2, 3), x[0, 2:4, 2:4])
    np.testing.assert_array_equal(from_patches(rows, 2, 4, 6), x)


def test_every_place_has_its_own_vector():
    at = np.asarray(positions(4, 7, 16))
    assert at.shape == (28, 16)
    apart = np.linalg.norm(at[:, None] - at[None], axis=-1) + 9 * np.eye(28)
    assert apart.min() > 0.3
    np.testing.assert_array_equal(at[0, :8], at[1, :8])  # of one row
    np.testing.assert_array_equal(at[0, 8:], at[7, 8:])  # of one column


def test_blocks_start_near_the_identity():
    x, level = jax.random.normal(KEY, (2, 5, 8)), jnp.ones((2, 8))
    y, variables = jax.jit(AdaptiveBlock(8, 2, jnp.float32).init_with_output)(KEY, x, level)
    assert 0.0 < np.std(y - x) < 0.2 * np.std(x)
    assert variables["params"]["modulation"]["kernel"].shape == (8, 48)


def test_size_is_the_paper_s():
    """DiT-S/2 on 4 channels of 32x32 has 33 million parameters (table 1)."""
    args = jnp.zeros((1, 32, 32, 4)), jnp.zeros(1)
    params = jax.eval_shape(DiT(2, 384, 12, 6, out=8).init, KEY, *args)
    assert sum(a.size for a in jax.tree.leaves(params)) == pytest.approx(33e6, rel=0.03)


@pytest.mark.parametrize(
    ("width", "heads", "shape", "message"),
    [
        (8, 2, (2, 7, 8, 1), r"multiples of 2, but it was given \(2, 7, 8, 1\)"),
        (8, 2, (2, 64), r"images \[B, H, W, C\].*given \(2, 64\)"),
        (8, 3, (2, 8, 8, 1), "width is 8 and heads is 3"),
        (10, 2, (2, 8, 8, 1), "multiple of both 4 and heads"),
    ],
)
def test_what_cannot_be_is_refused(width, heads, shape, message):
    args = jnp.zeros(shape), jnp.zeros(2)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(DiT(2, width, 1, heads).init, KEY, *args)
