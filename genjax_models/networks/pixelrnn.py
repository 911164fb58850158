"""PixelRNN: LSTMs over the pixels of an image, between a causal convolution and the outputs."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from genjax_models.core.types import Array
from genjax_models.networks.convolution import Conv
from genjax_models.networks.dropout import drop
from genjax_models.networks.image_lstm import Cache, DiagonalBiLSTM, RowLSTM
from genjax_models.networks.pixelcnn import check_shape, down, right


class PixelRNN(nn.Module):
    """Outputs for each pixel of an image, of which each sees the pixels before it, row by row.

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
        dtype: What is computed in; parameters and outputs are float32.

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
            context: What the outputs are conditioned on `[B, D]`.
            train: Whether this is a training pass (dropout, by the rng `dropout`).

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
            cache: What `start`, or the step before, returned.
            t: The position, row by row, int32 `[]`; steps are taken in order, from 0 on.
            previous: The pixel at position t - 1 `[B, C]`. Anything at t = 0.
            context: As in `__call__`.
        """
        width, reach = self.shape[1], self.first_size // 2
        row, column = jnp.divmod(t, width)
        # A weight of 0 would not stop a NaN of the pixel that there is not.
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
