"""MADE: dense layers with masked weights, so that outputs depend on earlier inputs only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.layers import drop


class Block(NamedTuple):
    """Neighbouring units of a layer.

    Attributes:
        start: First index, int32 `[]`.
        size: Number of units, static.
    """

    start: Array
    size: int


class MaskedDense(nn.Module):
    """y = (M * W) x + V context + b with M_ij = [degree of input i <= degree of output j].

    A unit of degree d depends on the first d positions. If no output may depend on an input,
    there is no W.

    Attributes:
        before: Degree of each input.
        after: Degree of each output.
        scale: Factor of the weights' initial standard deviation.
        use_bias: If True, adds a bias.
        dtype: Dtype of the computation; parameters are float32.

    References:
        Germain et al. 2015, MADE, arXiv:1502.03509, eq. 12-13.
    """

    before: Sequence[int]
    after: Sequence[int]
    scale: float = 1.0
    use_bias: bool = True
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, block: Block | None = None) -> Array:
        """Outputs `[B, units]`, in `dtype`.

        Args:
            x: Inputs `[B, len(before)]`.
            context: Condition `[B, C]`.
            block: The outputs to compute; None for all.
        """
        before, after = jnp.asarray(self.before), jnp.asarray(self.after)
        columns = _columns(after, block)
        if min(self.before) <= max(self.after):
            shape = (len(self.before), len(self.after))
            kernel = self.param("kernel", self._init, shape, jnp.float32)
            weights = jnp.where(before[:, None] <= columns, _columns(kernel, block), 0)
            y = x.astype(self.dtype) @ weights.astype(self.dtype)
        else:
            y = jnp.zeros((x.shape[0], columns.shape[0]), self.dtype)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (len(self.after),), jnp.float32)
            y += _columns(bias, block).astype(self.dtype)
        if context is not None:
            init = nn.initializers.variance_scaling(self.scale**2, "fan_in", "truncated_normal")
            shape = (context.shape[-1], len(self.after))
            weights = _columns(self.param("context", init, shape, jnp.float32), block)
            y += context.astype(self.dtype) @ weights.astype(self.dtype)
        return y

    def _init(self, key: Array, shape: tuple[int, ...], dtype: type) -> Array:
        """Normal with variance scale^2 / (number of inputs that the output sees)."""
        seen = np.searchsorted(np.sort(self.before), self.after, side="right")
        deviation = self.scale / np.sqrt(np.maximum(seen, 1))
        return jax.random.normal(key, shape, dtype) * jnp.asarray(deviation, dtype)


class MADE(nn.Module):
    """A masked autoencoder: outputs at position t are a function of the inputs at positions < t.

    Positions are the pixels of an image, row by row, with all their channels; the entries of a
    vector; or the tokens of a text. Hidden units are sorted by degree, so that those which may know
    about the first t positions, and no fewer, lie side by side. `step` computes just those, in
    every layer: all steps together cost one pass, and what they compute is the same.

    It is a `Causal` network and the conditioner of a masked autoregressive flow. With a single
    position and no context, the outputs are a bias.

    Attributes:
        shape: Shape of one example: `(H, W, C)`, `(D,)` or `(T,)`.
        outputs: Number K of outputs per position.
        hidden: Width of each hidden layer.
        vocabulary: Number of tokens of a text, which are one-hot encoded; None for real numbers.
        activation: Activation after each hidden layer.
        direct: If True, adds masked connections from the inputs to the outputs.
        residual: If True, each hidden layer of equal width adds its input to its output.
        dropout: Dropout rate of the hidden units.
        scale: Factor of the last layer's initial weights.
        dtype: Dtype of the computation; parameters are float32, outputs at least float32.

    References:
        Germain et al. 2015, MADE: Masked Autoencoder for Distribution Estimation, arXiv:1502.03509.
    """

    shape: tuple[int, ...]
    outputs: int
    hidden: Sequence[int] = (512, 512)
    vocabulary: int | None = None
    activation: Callable[[Array], Array] = nn.relu
    direct: bool = True
    residual: bool = False
    dropout: float = 0.0
    scale: float = 1.0
    dtype: jnp.dtype | type = jnp.float32

    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """Outputs `[B, *positions, K]`: `[B, H, W, K]`, `[B, D, K]` or `[B, T, K]`.

        Args:
            x: Images `[B, H, W, C]`, real vectors `[B, D]` or tokens int32 `[B, T]`.
            context: Condition `[B, C]`.
            train: If True, applies dropout.

        Raises:
            ValueError: The examples have another shape, or no output could depend on anything.
        """
        if x.shape[1:] != self.shape:
            raise ValueError(
                f"MADE was built for examples of shape {self.shape}, but was given {x.shape[1:]}: "
                "build it with the examples' shape"
            )
        inputs = self._encode(x).reshape(x.shape[0], -1)  # [B, N * C]
        y, _ = self._layers(inputs, None, None, context, train=train)
        return y.reshape(x.shape[0], *self._grid, self.outputs)

    def start(self, num: int, context: Array | None = None) -> dict[str, Array]:
        """The cache before position 0 of `num` examples: no inputs, no hidden unit known."""
        hidden = self._hidden(conditional=context is not None)
        widths = {f"hidden_{i}": width for i, width in enumerate(hidden)}
        inputs = {"inputs": jnp.zeros((num, self._num * self._width), self._out_dtype)}
        return inputs | {name: jnp.zeros((num, n), self.dtype) for name, n in widths.items()}

    def step(
        self, cache: dict[str, Array], t: Array, previous: Array, context: Array | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """The outputs `[B, K]` of position t, and the cache after it.

        Args:
            cache: Cache from `start` or the previous step.
            t: The position, int32 `[]`; steps are taken in order, from 0 on.
            previous: The input at position t - 1: a pixel `[B, C]`, a number or a token `[B]`.
                Anything at t = 0.
            context: Condition, as in `__call__`.
        """
        t = jnp.asarray(t, jnp.int32)
        new = self._encode(previous).reshape(previous.shape[0], self._width)
        inputs = cache["inputs"]
        # At t = 0 there is no input yet, and a weight of 0 would not stop a NaN.
        new = jnp.where(t > 0, new, 0).astype(inputs.dtype)
        inputs = jax.lax.dynamic_update_slice_in_dim(inputs, new, (t - 1) * self._width, axis=1)
        y, hidden = self._layers(inputs, cache, t, context, train=False)
        return y, {"inputs": inputs, **hidden}

    @property
    def _grid(self) -> tuple[int, ...]:
        """The positions' own axes."""
        return self.shape[:-1] if len(self.shape) > 1 else self.shape

    @property
    def _num(self) -> int:
        """Number N of positions."""
        return math.prod(self._grid)

    @property
    def _width(self) -> int:
        """Number C of network inputs a position."""
        return self.vocabulary or (self.shape[-1] if len(self.shape) > 1 else 1)

    @property
    def _out_dtype(self) -> jnp.dtype:
        return jnp.promote_types(self.dtype, jnp.float32)

    def _encode(self, x: Array) -> Array:
        if self.vocabulary is None:
            return x
        return jax.nn.one_hot(x, self.vocabulary, dtype=self._out_dtype)

    def _hidden(self, conditional: bool) -> Sequence[int]:
        """Widths of the hidden layers that have something to know."""
        return self.hidden if self._num > 1 or conditional else ()

    def _degrees(self, width: int, conditional: bool) -> np.ndarray:
        """Degrees of a hidden layer, ascending: each that is of use, as often as the others."""
        # A unit of degree 0 knows no input: of use only where there is a context to know.
        lowest = 0 if conditional else 1
        return lowest + np.arange(width) * (self._num - lowest) // width

    @nn.compact
    def _layers(
        self,
        inputs: Array,
        cache: dict[str, Array] | None,
        t: Array | None,
        context: Array | None,
        *,
        train: bool,
    ) -> tuple[Array, dict[str, Array]]:
        """All outputs `[B, N * K]`; or those of position t `[B, K]`, and the hidden layers."""
        known = np.repeat(np.arange(1, self._num + 1), self._width)
        after = np.repeat(np.arange(self._num), self.outputs)
        block = None if t is None else Block(t * self.outputs, self.outputs)
        layers, h, before, x = {}, None, known, inputs
        for i, width in enumerate(self._hidden(context is not None)):
            degrees = self._degrees(width, context is not None)
            units = None if t is None else _of_degree(degrees, t)
            new = self._dense(before, degrees, f"hidden_{i}")(x, context, units)
            h = h + new if self.residual and h is not None and len(before) == width else new
            x = self.activation(h)
            if train and self.dropout > 0:
                x = drop(x, self.dropout, self.make_rng("dropout"))
            if cache is not None and units is not None:
                known_units = cache[f"hidden_{i}"]
                x = jax.lax.dynamic_update_slice_in_dim(known_units, x, units.start, axis=1)
            layers[f"hidden_{i}"], before = x, degrees
        y = self._dense(before, after, "outputs", self.scale)(x, context, block)
        if self.direct and self.hidden and self._num > 1:
            y += self._dense(known, after, "direct", self.scale, use_bias=False)(
                inputs, None, block
            )
        return y.astype(self._out_dtype), layers

    def _dense(
        self,
        before: np.ndarray,
        after: np.ndarray,
        name: str,
        scale: float = 1.0,
        use_bias: bool = True,
    ) -> MaskedDense:
        degrees = tuple(before.tolist()), tuple(after.tolist())
        return MaskedDense(*degrees, scale, use_bias, self.dtype, name=name)


def _columns(a: Array, block: Block | None) -> Array:
    """The block's entries of the last axis."""
    if block is None:
        return a
    return jax.lax.dynamic_slice_in_dim(a, block.start, block.size, axis=a.ndim - 1)


def _of_degree(degrees: np.ndarray, t: Array) -> Block:
    """Selects the units of degree t; their numbers differ by at most one between degrees.

    A block holds as many for every t. Units of a lower degree in it come out as they were, and
    those of a higher one come out unfinished: nothing looks at them before their own step.
    """
    size = int(np.max(np.bincount(degrees)))
    start = jnp.searchsorted(jnp.asarray(degrees), t).astype(jnp.int32)
    return Block(jnp.minimum(start, len(degrees) - size), size)
