"""PixelRNN: what each pixel sees, and the same pixel by pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.networks.pixelrnn import DiagonalBiLSTM, PixelRNN, RowLSTM, lstm, skew, unskew
from tests.networks.causality import check_causality, check_steps, dependence


def small(shape, layer, **kwargs):
    kwargs = {"channels": 4, "layers": 2, "first_size": 3, "head": 6, **kwargs}
    return PixelRNN(shape, 3, layer, **kwargs)


def test_skewing_puts_diagonals_into_columns():
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 5))
    skewed = skew(x)
    assert skewed.shape == (2, 3, 6, 5)
    for r in range(3):
        np.testing.assert_array_equal(skewed[:, r, r : r + 4], x[:, r])
        assert not np.any(skewed[:, r, :r]) and not np.any(skewed[:, r, r + 4 :])
    np.testing.assert_array_equal(unskew(skewed), x)


def test_an_lstm_keeps_writes_and_shows_what_its_gates_say():
    c = jnp.array([[0.7, -0.3]])
    shut, open_ = -50.0, 50.0
    gates = lambda o, f, i, g: jnp.repeat(jnp.array([[o, f, i, g]]), 2, axis=1)  # noqa: E731
    h, kept = lstm(gates(open_, open_, shut, 9.0), c)
    np.testing.assert_allclose(kept, c, rtol=1e-6)
    np.testing.assert_allclose(h, jnp.tanh(c), rtol=1e-6)
    h, written = lstm(gates(shut, shut, open_, 0.5), c)
    np.testing.assert_allclose(written, jnp.tanh(jnp.full((1, 2), 0.5)), rtol=1e-6)
    np.testing.assert_allclose(h, 0.0, atol=1e-12)


def triangle(shape, layers, first, size=3):
    """`[H, W, H, W]`: what a pixel of Row LSTMs sees.

    In each layer inputs come from up to `size // 2` pixels to the left, and states from any number
    of rows above, `size // 2` further to either side with each; the first convolution reaches
    `first // 2` up, to either side and to the left.
    """
    height, width, _ = shape
    side, reach = size // 2, first // 2
    expected = np.zeros((height, width, height, width), bool)
    for r in range(height):
        for c in range(width):
            for up in range(r + 1):  # the features that the last layer sees in row r - up
                from_, to = c - layers * side - up * side, c + up * side
                row = r - up
                columns = np.arange(max(from_, 0), min(to, width - 1) + 1)
                for column in columns:
                    expected[r, c, row, max(column - reach, 0) : column] = True
                    above = slice(max(row - reach, 0), row)
                    expected[r, c, above, max(column - reach, 0) : column + reach + 1] = True
    return expected


@pytest.mark.parametrize("channels", [1, 3])
def test_a_row_lstm_sees_a_triangle_and_nothing_else(channels):
    shape = (5, 7, channels)
    seen = dependence(small(shape, RowLSTM))
    check_causality(seen)
    np.testing.assert_array_equal(seen > 0, triangle(shape, layers=2, first=3))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_diagonal_lstm_sees_every_pixel_before(channels):
    seen = dependence(small((5, 6, channels), DiagonalBiLSTM, layers=1)).reshape(30, 30)
    np.testing.assert_array_equal(seen > 0, np.tri(30, k=-1, dtype=bool))


@pytest.mark.parametrize("layer", [RowLSTM, DiagonalBiLSTM])
@pytest.mark.parametrize(("shape", "context"), [((4, 5, 3), None), ((5, 3, 1), 2)])
def test_steps_are_the_whole_pass(layer, shape, context):
    context = None if context is None else jax.random.normal(jax.random.key(5), (2, context))
    check_steps(small(shape, layer, first_size=5), context)


def test_bad_input():
    x = jnp.zeros((2, 4, 4, 1))
    with pytest.raises(ValueError, match=r"shape \(5, 4, 1\), but was given \(4, 4, 1\)"):
        small((5, 4, 1), RowLSTM).init(jax.random.key(0), x)
    with pytest.raises(ValueError, match="odd and at least 3: got 4"):
        small((4, 4, 1), RowLSTM, first_size=4).init(jax.random.key(0), x)
