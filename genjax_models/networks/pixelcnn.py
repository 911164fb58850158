"""Gated PixelCNN: convolutions over the rows above a pixel and over the pixels to its left."""

from __future__ import annotations

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.conv import Conv
from genjax_models.networks.layers import drop

Cache: TypeAlias = dict[str, Any]


def check_shape(x: Array, shape: tuple[int, int, int], name: str) -> None:
    """Raise unless `x` is a batch of images of that shape.

    Raises:
        ValueError: The images have another shape.
    """
    if x.shape[1:] != shape:
        raise ValueError(
            f"{name} was built for images of shape {shape}, but was given {x.shape[1:]}: build it "
            "with shape=data.spec.shape"
        )


def down(x: Array, rows: int = 1) -> Array:
    """Images `[B, H, W, C]` moved down, with zeros above: row r holds what row r - 1 held."""
    return jnp.pad(x, ((0, 0), (rows, 0), (0, 0), (0, 0)))[:, : x.shape[1]]


def right(x: Array) -> Array:
    """Images `[B, H, W, C]` moved right, with zeros to the left."""
    return jnp.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, : x.shape[2]]


def gate(x: Array) -> Array:
    """tanh(a) sigmoid(b), of the two halves a and b of the channels."""
    a, b = jnp.split(x, 2, axis=-1)
    return jnp.tanh(a) * jax.nn.sigmoid(b)


class GatedLayer(nn.Module):
    """One layer of both stacks (van den Oord et al. 2016, fig. 2).

    The vertical stack's features of row r, v_r, are of the rows above r; the horizontal stack's at
    a pixel, h, are of v there and of the pixels to its left. Both kernels hold only the taps that
    are not masked: `size // 2 + 1` rows of `size` taps, and one row of `size // 2 + 1`.

    Attributes:
        channels: Channels p of each stack.
        size: Width of the kernels, odd.
        residual: If True, adds the layer's input to its output.
        dropout: Dropout rate of the gated units.
        dtype: Dtype of the computation.
    """

    channels: int
    size: int = 3
    residual: bool = True
    dropout: float = 0.0
    dtype: jnp.dtype | type = jnp.float32

    def setup(self) -> None:
        """The layer's parts."""
        p, reach, dtype = self.channels, self.size // 2 + 1, self.dtype
        self.vertical = Conv(2 * p, (reach, self.size), dtype)
        self.horizontal = Conv(2 * p, (1, reach), dtype)
        self.across = Conv(2 * p, 1, dtype)
        self.out = Conv(p, 1, dtype)
        self.vertical_context = nn.Dense(2 * p, use_bias=False, dtype=dtype)
        self.horizontal_context = nn.Dense(2 * p, use_bias=False, dtype=dtype)

    def rows(
        self, v: Array, above: int, context: Array | None, *, positions: Array, train: bool = False
    ) -> tuple[Array, Array]:
        """The vertical stack.

        Args:
            v: Features `[B, R, W, .]`.
            above: Rows of zeros above them: `size // 2` to get as many rows as there are, 0 if `v`
                has so many more that are only looked at.
            context: `[B, D]`.
            positions: A bias `[R', W, 2 p]` or `[1, 1, 1]`, before the gate.
            train: If True, applies dropout.

        Returns:
            The next layer's v `[B, R', W, p]`, and what h is given of it `[B, R', W, 2 p]`.
        """
        side = self.size // 2
        y = self.vertical(v, ((above, 0), (side, side))) + positions.astype(self.dtype)
        if context is not None:
            y += self.vertical_context(context)[:, None, None]
        across = self.across(y)
        y = self._drop(gate(y), train)
        if self.residual and v.shape[-1] == self.channels:
            y += v[:, v.shape[1] - y.shape[1] :].astype(self.dtype)
        return y, across

    def columns(
        self, h: Array, left: int, across: Array, context: Array | None, *, train: bool = False
    ) -> Array:
        """The horizontal stack.

        Args:
            h: Features `[B, R, W, .]`.
            left: Columns of zeros to their left, as `above` in `rows`.
            across: Output of `rows` for h `[B, R, W', 2 p]`.
            context: `[B, D]`.
            train: If True, applies dropout.

        Returns:
            The next layer's h `[B, R, W', p]`.
        """
        y = self.horizontal(h, ((0, 0), (left, 0))) + across
        if context is not None:
            y += self.horizontal_context(context)[:, None, None]
        y = self.out(self._drop(gate(y), train))
        if self.residual and h.shape[-1] == self.channels:
            y += h[:, :, h.shape[2] - y.shape[2] :].astype(self.dtype)
        return y

    def _drop(self, x: Array, train: bool) -> Array:
        if not train or self.dropout == 0.0:
            return x
        return drop(x, self.dropout, self.make_rng("dropout"))


class GatedPixelCNN(nn.Module):
    """Gated PixelCNN: outputs for each pixel of an image, given the pixels before it, row by row.

    Two stacks of gated convolutions: the vertical one sees all rows above a pixel, the horizontal
    one what is to its left; together there is no blind spot. The image is moved by one
    row, and by one pixel, before the first layer, so that all others may look at the pixel's own
    place. A `Causal` network: `step` computes a row of the vertical stack when the row begins, and
    one pixel of the horizontal stack, from the few rows and pixels that the kernels reach.

    Attributes:
        shape: Height, width and channels of an image.
        num_outputs: Number K of outputs per pixel.
        channels: Channels of each stack.
        layers: Number of layers.
        size: Width of the kernels of all layers but the first, odd.
        first_size: Width of the first layer's kernels, odd.
        head: Channels of the layer before the outputs.
        residual: If True, adds a layer's input to its output, in both stacks.
        dropout: Dropout rate of the gated units.
        dtype: Dtype of the computation; parameters and outputs are float32.

    References:
        van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders,
        arXiv:1606.05328, sec. 2 (there the vertical stack has no residual connections, and no
        position has a bias of its own).
    """

    shape: tuple[int, int, int]
    num_outputs: int
    channels: int = 64
    layers: int = 8
    size: int = 3
    first_size: int = 7
    head: int = 128
    residual: bool = True
    dropout: float = 0.0
    dtype: jnp.dtype | type = jnp.float32

    def setup(self) -> None:
        """The layers and the outputs."""
        for name, size in (("size", self.size), ("first_size", self.first_size)):
            if size % 2 == 0 or size < 1:
                raise ValueError(f"{name} is the width of a centred kernel, so odd: got {size}")
        sizes = [self.first_size, *[self.size] * (self.layers - 1)]
        self.stack = [
            GatedLayer(self.channels, size, self.residual, self.dropout, self.dtype)
            for size in sizes
        ]
        height, width, _ = self.shape
        grid = (height, width, 2 * self.channels)
        self.positions = self.param("positions", nn.initializers.zeros, grid)
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
        check_shape(x, self.shape, "the PixelCNN")
        v, h = down(x), right(x)
        for i, layer in enumerate(self.stack):
            positions = self.positions if i == 0 else jnp.zeros((1, 1, 1))
            side = layer.size // 2
            v, across = layer.rows(v, side, context, positions=positions, train=train)
            h = layer.columns(h, side, across, context, train=train)
        return self._out(h)

    def start(self, num: int, context: Array | None = None) -> Cache:
        """The cache before position 0 of `num` examples: zeros, as beyond the image's edges.

        For each layer the last `size // 2` rows (`rows`) and pixels (`pixels`) of its input, what
        the present row's h is given of v (`across`), and the row that is being drawn (`row`).
        """
        del context
        _, width, channels = self.shape
        inputs = [channels, *[self.channels] * (self.layers - 1)]
        sides = [layer.size // 2 for layer in self.stack]
        zeros = lambda *shape: jnp.zeros((num, *shape), self.dtype)  # noqa: E731
        return {
            "row": jnp.zeros((num, 1, width, channels)),
            "rows": [zeros(s, width, c) for s, c in zip(sides, inputs, strict=True)],
            "pixels": [zeros(1, s, c) for s, c in zip(sides, inputs, strict=True)],
            "across": zeros(self.layers, width, 2 * self.channels),
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
        row, column = jnp.divmod(t, self.shape[1])
        # A weight of 0 would not stop a NaN of the missing pixel.
        previous = jnp.where(t > 0, previous, 0.0)[:, None, None].astype(cache["row"].dtype)
        before = (column - 1) % self.shape[1]
        cache = {
            **cache,
            "row": jax.lax.dynamic_update_slice(cache["row"], previous, (0, 0, before, 0)),
        }
        cache = nn.cond(
            column == 0,
            lambda self, cache: self._begin_row(cache, row, context),
            lambda self, cache: cache,
            self,
            cache,
        )
        h = jnp.where(column > 0, previous, 0.0)
        across = jax.lax.dynamic_slice_in_dim(cache["across"], column, 1, axis=2)
        pixels = []
        for i, layer in enumerate(self.stack):
            window = jnp.concatenate([cache["pixels"][i], h.astype(self.dtype)], axis=2)
            pixels.append(window[:, :, 1:])
            h = layer.columns(window, 0, across[:, i, None], context)
        return self._out(h)[:, 0, 0], {**cache, "pixels": pixels}

    def _begin_row(self, cache: Cache, row: Array, context: Array | None) -> Cache:
        """The vertical stack's features of a row, from the row above it."""
        v = cache["row"]  # zeros before the first row: nothing was drawn
        rows, across = [], []
        positions = jax.lax.dynamic_slice_in_dim(self.positions, row, 1)
        for i, layer in enumerate(self.stack):
            window = jnp.concatenate([cache["rows"][i], v.astype(self.dtype)], axis=1)
            rows.append(window[:, 1:])
            v, given = layer.rows(
                window, 0, context, positions=positions if i == 0 else jnp.zeros((1, 1, 1))
            )
            across.append(given)
        return {
            "row": jnp.zeros_like(cache["row"]),
            "rows": rows,
            "pixels": [jnp.zeros_like(pixels) for pixels in cache["pixels"]],
            "across": jnp.concatenate(across, axis=1),
        }

    def _out(self, h: Array) -> Array:
        y = self.hidden(nn.relu(h))
        return self.outputs(nn.relu(y)).astype(jnp.float32)
