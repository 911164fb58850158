"""PixelRNN: LSTMs over the pixels of an image, between a causal convolution and the outputs."""

from __future__ import annotations

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from genjax_models.core.types import Array
from genjax_models.networks.conv import Conv
from genjax_models.networks.layers import drop
from genjax_models.networks.pixelcnn import check_shape, down, right

Cache: TypeAlias = dict[str, Any]


def lstm(gates: Array, c: Array) -> tuple[Array, Array]:
    """One step of an LSTM: `c' = sigma(f) c + sigma(i) tanh(g)`, `h = sigma(o) tanh(c')`.

    Args:
        gates: Pre-activations of o, f, i and g, concatenated `[..., 4 d]`.
        c: Memory `[..., d]`.

    Returns:
        The output h and the memory c', `[..., d]` each.

    References:
        van den Oord et al. 2016, Pixel Recurrent Neural Networks, arXiv:1601.06759, eq. 3.
    """
    o, f, i, g = jnp.split(gates, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def skew(x: Array) -> Array:
    """Row r moved r places to the right, so that diagonals become columns.

    `[B, H, W, C] -> [B, H, W + H - 1, C]`. In the column before a pixel's stand the pixel to its
    left, in the same row, and the pixel above it, in the row above.
    """
    b, height, width, channels = x.shape
    total = width + height - 1
    # Rows of W + H read as rows of one less: each begins one place further to the right.
    x = jnp.pad(x, ((0, 0), (0, 0), (0, height), (0, 0))).reshape(b, -1, channels)
    return x[:, : height * total].reshape(b, height, total, channels)


def unskew(x: Array) -> Array:
    """The inverse of `skew`: `[B, H, W + H - 1, C] -> [B, H, W, C]`."""
    b, height, total, channels = x.shape
    x = jnp.pad(x.reshape(b, -1, channels), ((0, 0), (0, height), (0, 0)))
    return x.reshape(b, height, total + 1, channels)[:, :, : total + 1 - height]


class RowLSTM(nn.Module):
    """An LSTM that takes a row at a time: its state comes from the neighbours in the row above.

    The gates of a pixel see its own input and those to its left, and the states of `size` pixels
    above; so a pixel's context widens upwards as a triangle.

    Attributes:
        channels: Size d of the state.
        size: Width of both kernels, odd.
        dtype: Dtype of the computation.

    References:
        van den Oord et al. 2016, Pixel Recurrent Neural Networks, arXiv:1601.06759, sec. 3.1.
    """

    channels: int
    size: int = 3
    dtype: jnp.dtype | type = jnp.float32

    def setup(self) -> None:
        """The kernels."""
        d = self.channels
        self.inputs = Conv(4 * d, (1, self.size // 2 + 1), self.dtype)
        self.context = nn.Dense(4 * d, use_bias=False, dtype=self.dtype)
        init = nn.initializers.lecun_normal()
        self.state = self.param("state", init, (self.size * d, 4 * d)).astype(self.dtype)

    def __call__(self, x: Array, pixels: Array, context: Array | None = None) -> Array:
        """States `[B, H, W, d]`.

        Args:
            x: Features `[B, H, W, p]`, of the pixels before each.
            pixels: The image `[B, H, W, C]`; nothing here depends on it.
            context: Condition `[B, D]`.
        """
        del pixels
        gates = self._gates(x, self.size // 2, context)
        side, width = self.size // 2, x.shape[2]

        def row(carry: tuple[Array, Array], gates: Array) -> tuple[Any, Array]:
            h, c = carry
            h = jnp.pad(h, ((0, 0), (side, side), (0, 0)))
            above = jnp.concatenate([h[:, j : j + width] for j in range(self.size)], axis=-1)
            h, c = lstm(gates + above @ self.state, c)
            return (h, c), h

        zeros = jnp.zeros_like(gates[:, 0, :, : self.channels])
        _, h = lax.scan(row, (zeros, zeros), jnp.moveaxis(gates, 1, 0))
        return jnp.moveaxis(h, 0, 1)

    def start(self, num: int, width: int, features: int) -> Cache:
        """The cache before the first pixel: inputs to the left, states above and of this row."""
        side, d = self.size // 2, self.channels
        zeros = lambda *shape: jnp.zeros((num, *shape), self.dtype)  # noqa: E731
        return {
            "left": zeros(1, side, features),
            "above": zeros(width + 2 * side, d),
            "h": zeros(width, d),
            "c": zeros(width, d),
        }

    def begin_row(self, cache: Cache, pixels: Array, first: Array) -> Cache:
        """The cache before the first pixel of a row; see `DiagonalBiLSTM`."""
        del pixels, first  # above the first row the states are zeros, as beyond all edges
        side = self.size // 2
        above = jnp.pad(cache["h"], ((0, 0), (side, side), (0, 0)))
        return {**cache, "left": jnp.zeros_like(cache["left"]), "above": above}

    def step(
        self, cache: Cache, column: Array, x: Array, context: Array | None
    ) -> tuple[Array, Cache]:
        """The state `[B, 1, 1, d]` of a pixel with features `[B, 1, 1, p]`, and the cache."""
        window = jnp.concatenate([cache["left"], x], axis=2)
        gates = self._gates(window, 0, context)[:, 0, 0]
        above = lax.dynamic_slice_in_dim(cache["above"], column, self.size, axis=1)
        c = lax.dynamic_index_in_dim(cache["c"], column, axis=1, keepdims=False)
        h, c = lstm(gates + above.reshape(above.shape[0], -1) @ self.state, c)
        put = lambda row, new: lax.dynamic_update_index_in_dim(row, new, column, 1)  # noqa: E731
        changed = {"left": window[:, :, 1:], "h": put(cache["h"], h), "c": put(cache["c"], c)}
        return h[:, None, None], {**cache, **changed}

    def _gates(self, x: Array, left: int, context: Array | None) -> Array:
        gates = self.inputs(x, ((0, 0), (left, 0)))
        return gates if context is None else gates + self.context(context)[:, None, None]


class DiagonalBiLSTM(nn.Module):
    """Two LSTMs that walk over an image from both upper corners, a diagonal at a time.

    The state of a pixel comes from the one beside it and the one above it, so that together they
    see all of the image that there is. The one that comes from the right is read a row lower, since
    it has seen pixels further to the right in its own row. So it may be given the pixel at its own
    place as well, and is: no features left of the last pixel of the row above would know of it.

    Attributes:
        channels: Size d of the states.
        dtype: Dtype of the computation.

    References:
        van den Oord et al. 2016, Pixel Recurrent Neural Networks, arXiv:1601.06759, sec. 3.2.
    """

    channels: int
    dtype: jnp.dtype | type = jnp.float32

    def setup(self) -> None:
        """The kernels."""
        d, init = self.channels, nn.initializers.lecun_normal()
        self.inputs = Conv(8 * d, 1, self.dtype)
        self.own = nn.Dense(4 * d, use_bias=False, dtype=self.dtype)
        self.context = nn.Dense(8 * d, use_bias=False, dtype=self.dtype)
        self.from_left = self.param("from_left", init, (2 * d, 4 * d)).astype(self.dtype)
        self.from_right = self.param("from_right", init, (2 * d, 4 * d)).astype(self.dtype)

    def __call__(self, x: Array, pixels: Array, context: Array | None = None) -> Array:
        """Computes states `[B, H, W, d]`, each from the pixels before it.

        Args:
            x: Features `[B, H, W, p]`, of the pixels before each.
            pixels: The image `[B, H, W, C]`.
            context: Condition `[B, D]`.
        """
        to_right, to_left = self._gates(x, context)
        h = _walk(to_right, self.from_left)
        mirrored = _walk((to_left + self.own(pixels))[:, :, ::-1], self.from_right)
        return h + down(mirrored[:, :, ::-1])

    def start(self, num: int, width: int, features: int) -> Cache:
        """The cache before the first pixel.

        Of the LSTM from the left, the states of the row above, which this row's replace one by
        one, and the memory; of the one from the right, the states of the row above, and the gates
        of this row, to be walked over when the row is complete.
        """
        del features
        d = self.channels
        zeros = lambda *shape: jnp.zeros((num, *shape), self.dtype)  # noqa: E731
        return {"h": zeros(width, d), "c": zeros(d), "right": zeros(width, d)} | {
            "gates": zeros(width, 4 * d)
        }

    def begin_row(self, cache: Cache, pixels: Array, first: Array) -> Cache:
        """The cache before the first pixel of a row: the LSTM from the right has seen that above.

        Args:
            cache: The cache after the last pixel of the row above.
            pixels: The row above `[B, W, C]`.
            first: True for the first row, bool `[]`.
        """

        def pixel(carry: tuple[Array, Array], at: tuple[Array, Array]) -> tuple[Any, Array]:
            (h, c), (gates, above) = carry, at
            h, c = lstm(gates + jnp.concatenate([h, above], axis=-1) @ self.from_right, c)
            return (h, c), h

        gates = cache["gates"] + self.own(pixels)
        row = jnp.moveaxis(gates, 1, 0), jnp.moveaxis(cache["right"], 1, 0)
        zeros = jnp.zeros_like(cache["c"])
        _, h = lax.scan(pixel, (zeros, zeros), row, reverse=True)
        beyond = jnp.where(first, 0.0, jnp.moveaxis(h, 0, 1))
        return {**cache, "c": zeros, "right": beyond}

    def step(
        self, cache: Cache, column: Array, x: Array, context: Array | None
    ) -> tuple[Array, Cache]:
        """The state `[B, 1, 1, d]` of a pixel with features `[B, 1, 1, p]`, and the cache."""
        gates, to_left = (g[:, 0, 0] for g in self._gates(x, context))
        at = lambda row, i: lax.dynamic_index_in_dim(row, i, 1, keepdims=False)  # noqa: E731
        beside = jnp.where(column > 0, at(cache["h"], jnp.maximum(column - 1, 0)), 0.0)
        state = jnp.concatenate([beside, at(cache["h"], column)], axis=-1)
        h, c = lstm(gates + state @ self.from_left, cache["c"])
        put = lambda row, new: lax.dynamic_update_index_in_dim(row, new, column, 1)  # noqa: E731
        changed = {"h": put(cache["h"], h), "c": c, "gates": put(cache["gates"], to_left)}
        out = h + at(cache["right"], column)
        return out[:, None, None], {**cache, **changed}

    def _gates(self, x: Array, context: Array | None) -> tuple[Array, Array]:
        """Input-to-state part of the gates of both LSTMs `[B, H, W, 4 d]`."""
        gates = self.inputs(x)
        if context is not None:
            gates += self.context(context)[:, None, None]
        to_right, to_left = jnp.split(gates, 2, axis=-1)
        return to_right, to_left


def _walk(gates: Array, kernel: Array) -> Array:
    """States `[B, H, W, d]` of an LSTM from the upper left, given its gates' inputs `[..., 4 d]`.

    Beyond the edges, gates' inputs of zero keep the states at zero.
    """

    def diagonal(carry: tuple[Array, Array], gates: Array) -> tuple[Any, Array]:
        h, c = carry
        above = jnp.pad(h, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        h, c = lstm(gates + jnp.concatenate([h, above], axis=-1) @ kernel, c)
        return (h, c), h

    diagonals = jnp.moveaxis(skew(gates), 2, 0)  # [W + H - 1, B, H, 4 d]
    zeros = jnp.zeros((*diagonals.shape[1:3], gates.shape[-1] // 4), gates.dtype)
    _, h = lax.scan(diagonal, (zeros, zeros), diagonals)
    return unskew(jnp.moveaxis(h, 0, 2))


class PixelRNN(nn.Module):
    """PixelRNN: outputs for each pixel of an image, given the pixels before it, row by row.

    A causal convolution, then LSTM layers with residual connections. A `Causal` network: `step`
    takes one pixel from the LSTMs' states.

    Attributes:
        shape: Height, width and channels of an image.
        num_outputs: Number K of outputs a pixel.
        layer: `RowLSTM` or `DiagonalBiLSTM`.
        channels: Size d of the states; the features between layers have 2 d channels.
        layers: Number of LSTM layers.
        first_size: Width of the first convolution, odd, at least 3.
        head: Channels of the layer before the outputs.
        dropout: Probability with which a state's entry is hidden from the next layer in training.
        dtype: Dtype of the computation; parameters and outputs are float32.

    References:
        van den Oord et al. 2016, Pixel Recurrent Neural Networks, arXiv:1601.06759, sec. 3 and
        table 1 (there no position has a bias of its own, and the first pixels of a row do not
        know of the last one of the row above).
    """

    shape: tuple[int, int, int]
    num_outputs: int
    layer: type[RowLSTM] | type[DiagonalBiLSTM] = DiagonalBiLSTM
    channels: int = 16
    layers: int = 7
    first_size: int = 7
    head: int = 64
    dropout: float = 0.0
    dtype: jnp.dtype | type = jnp.float32

    def setup(self) -> None:
        """The layers and the outputs."""
        if self.first_size % 2 == 0 or self.first_size < 3:
            raise ValueError(
                f"first_size is the width of a kernel with a middle and pixels to its left, so odd "
                f"and at least 3: got {self.first_size}"
            )
        reach, features = self.first_size // 2, 2 * self.channels
        self.above = Conv(features, (reach, self.first_size), self.dtype)
        self.left = Conv(features, (1, reach), self.dtype)
        grid = (*self.shape[:2], features)
        self.positions = self.param("positions", nn.initializers.zeros, grid)
        self.stack = [self.layer(self.channels, dtype=self.dtype) for _ in range(self.layers)]
        self.up = [Conv(features, 1, self.dtype) for _ in range(self.layers)]
        self.hidden = Conv(self.head, 1, self.dtype)
        self.outputs = Conv(self.num_outputs, 1, self.dtype)

    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """Outputs `[B, H, W, num_outputs]`, float32.

        Args:
            x: Images `[B, H, W, C]`, scaled to [-1, 1].
            context: Condition `[B, D]`.
            train: If True, applies dropout (rng `dropout`).

        Raises:
            ValueError: The images have another shape.
        """
        check_shape(x, self.shape, "the PixelRNN")
        reach = self.first_size // 2
        above = self.above(down(x), ((reach - 1, 0), (reach, reach)))
        left = self.left(right(x), ((0, 0), (reach - 1, 0)))
        features = above + left + self.positions.astype(self.dtype)
        for layer, up in zip(self.stack, self.up, strict=True):
            h = layer(features, x, context)
            if train and self.dropout > 0.0:
                h = drop(h, self.dropout, self.make_rng("dropout"))
            features += up(h)
        return self._out(features)

    def start(self, num: int, context: Array | None = None) -> Cache:
        """The cache before position 0: rows above, the row that is drawn, every layer's own."""
        del context
        _, width, channels = self.shape
        reach = self.first_size // 2
        return {
            "rows": jnp.zeros((num, reach + 1, width + 2 * reach, channels)),
            "layers": [layer.start(num, width, 2 * self.channels) for layer in self.stack],
        }

    def step(
        self, cache: Cache, t: Array, previous: Array, context: Array | None = None
    ) -> tuple[Array, Cache]:
        """The outputs `[B, num_outputs]` of position t, and the cache after it.

        Args:
            cache: Cache from `start` or the previous step.
            t: The position, row by row, int32 `[]`; steps are taken in order, from 0 on.
            previous: The pixel at position t - 1 `[B, C]`. Anything at t = 0.
            context: Condition, as in `__call__`.
        """
        width, reach = self.shape[1], self.first_size // 2
        row, column = jnp.divmod(t, width)
        # A weight of 0 would not stop a NaN of the missing pixel.
        previous = jnp.where(t > 0, previous, 0.0)[:, None, None].astype(cache["rows"].dtype)
        place = (0, reach, reach + (column - 1) % width, 0)
        cache = {**cache, "rows": lax.dynamic_update_slice(cache["rows"], previous, place)}
        cache = nn.cond(
            column == 0,
            lambda self, cache: self._begin_row(cache, row == 0),
            lambda self, cache: cache,
            self,
            cache,
        )
        window = lax.dynamic_slice_in_dim(cache["rows"], column, 2 * reach + 1, axis=2)
        positions = lax.dynamic_slice(self.positions, (row, column, 0), (1, 1, 2 * self.channels))
        features = self.above(window[:, :-1], ((0, 0), (0, 0)))
        features += self.left(window[:, -1:, :reach], ((0, 0), (0, 0)))
        features += positions.astype(self.dtype)
        caches = []
        for layer, up, its in zip(self.stack, self.up, cache["layers"], strict=True):
            h, its = layer.step(its, column, features, context)
            caches.append(its)
            features += up(h)
        return self._out(features)[:, 0, 0], {**cache, "layers": caches}

    def _begin_row(self, cache: Cache, first: Array) -> Cache:
        rows, reach = cache["rows"], self.first_size // 2
        above = rows[:, -1, reach : reach + self.shape[1]]
        pairs = zip(self.stack, cache["layers"], strict=True)
        return {
            "rows": jnp.pad(rows[:, 1:], ((0, 0), (0, 1), (0, 0), (0, 0))),
            "layers": [layer.begin_row(its, above, first) for layer, its in pairs],
        }

    def _out(self, features: Array) -> Array:
        y = self.hidden(nn.relu(features))
        return self.outputs(nn.relu(y)).astype(jnp.float32)
