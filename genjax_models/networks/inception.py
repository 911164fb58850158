"""Inception-v3 as the Fréchet Inception Distance takes it: a classifier's 2,048 pooled features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.normalization import BatchNorm

SIZE = 299
"""Height and width of the images that it was trained on."""


class Layer(NamedTuple):
    """A convolution of a branch.

    Attributes:
        name: As in the published weights.
        features: Channels of the output.
        size: Height and width of the kernel.
        stride: 2 without padding halves the images; 1 keeps their size.
    """

    name: str
    features: int
    size: tuple[int, int] = (1, 1)
    stride: int = 1


Branch: TypeAlias = Sequence["Layer | tuple[Layer, ...]"]
"""Layers one after the other; those of a tuple side by side."""
ROW, COLUMN = (1, 7), (7, 1)


class Unit(nn.Module):
    """A convolution without bias, batch normalisation by kept averages, and a ReLU.

    Attributes:
        features: Channels of the output.
        size: Height and width of the kernel.
        stride: Stride of the convolution.
        padding: "SAME" or "VALID".
    """

    features: int
    size: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, H', W', features]`, from `[B, H, W, C]`."""
        # Flax's own convolution: the network is never trained, so its gradients are of no account.
        strides = (self.stride, self.stride)
        x = nn.Conv(self.features, self.size, strides, self.padding, use_bias=False, name="conv")(x)
        return nn.relu(BatchNorm(train=False, epsilon=1e-3, name="bn")(x))


class Block(nn.Module):
    """Branches side by side, their outputs joined, and the pooled input beside them.

    Attributes:
        branches: Branches of convolutions.
        pool: Channels that the last branch, of the pooled input, is brought to; None leaves it.
        largest: If True, uses max pooling; if False, average pooling.
    """

    branches: Sequence[Branch]
    pool: int | None
    largest: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, H', W', D]`, from `[B, H, W, C]`: halved where `pool` is None."""
        outs = [self._through(branch, x) for branch in self.branches]
        if self.pool is None:
            outs.append(nn.max_pool(x, (3, 3), (2, 2)))
        else:
            # The mean leaves out what lies beyond the edges, as in the network's first training.
            pooled = (
                nn.max_pool(x, (3, 3), padding="SAME")
                if self.largest
                else nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)
            )
            outs.append(Unit(self.pool, name="branch_pool")(pooled))
        return jnp.concatenate(outs, axis=-1)

    def _through(self, branch: Branch, x: Array) -> Array:
        for layers in branch:
            if isinstance(layers, Layer):
                x = _unit(layers)(x)
            else:
                x = jnp.concatenate([_unit(layer)(x) for layer in layers], axis=-1)
        return x


class InceptionV3(nn.Module):
    """Inception-v3 with the weights, and the pooling, of the FID's authors.

    It differs from Inception-v3 as it is published elsewhere: means leave out what lies beyond the
    edges, the last block pools by the largest value, and there are 1,008 classes. The modules have
    the names of the published PyTorch weights, and the averages of the batch normalisations are in
    the collection "batch_stats".

    References:
        Szegedy et al. 2015, Rethinking the Inception Architecture for Computer Vision,
        arXiv:1512.00567. Heusel et al. 2017, arXiv:1706.08500.
    """

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Features `[B, 2048]` and logits without their bias `[B, 1008]`.

        The bias is left out as in the Inception Score's first implementation.

        Args:
            x: Images in [-1, 1] `[B, H, W, 3]`, of 75 pixels at least; `SIZE` as published.
        """
        x = Unit(32, (3, 3), 2, "VALID", name="Conv2d_1a_3x3")(x)
        x = Unit(32, (3, 3), 1, "VALID", name="Conv2d_2a_3x3")(x)
        x = Unit(64, (3, 3), name="Conv2d_2b_3x3")(x)
        x = nn.max_pool(x, (3, 3), (2, 2))
        x = Unit(80, padding="VALID", name="Conv2d_3b_1x1")(x)
        x = Unit(192, (3, 3), padding="VALID", name="Conv2d_4a_3x3")(x)
        x = nn.max_pool(x, (3, 3), (2, 2))
        for name, pool in (("5b", 32), ("5c", 64), ("5d", 64)):
            x = Block(_SMALL, pool, name=f"Mixed_{name}")(x)
        x = Block(_TO_17, None, name="Mixed_6a")(x)
        for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            x = Block(_factored(width), 192, name=f"Mixed_{name}")(x)
        x = Block(_TO_8, None, name="Mixed_7a")(x)
        x = Block(_WIDE, 192, name="Mixed_7b")(x)
        x = Block(_WIDE, 192, largest=True, name="Mixed_7c")(x)
        features = jnp.mean(x, axis=(1, 2))
        return features, nn.Dense(1008, use_bias=False, name="fc")(features)


def _unit(layer: Layer) -> Unit:
    name, features, size, stride = layer
    return Unit(features, size, stride, "SAME" if stride == 1 else "VALID", name=name)


_SMALL = (
    [Layer("branch1x1", 64)],
    [Layer("branch5x5_1", 48), Layer("branch5x5_2", 64, (5, 5))],
    [
        Layer("branch3x3dbl_1", 64),
        Layer("branch3x3dbl_2", 96, (3, 3)),
        Layer("branch3x3dbl_3", 96, (3, 3)),
    ],
)
_TO_17 = (
    [Layer("branch3x3", 384, (3, 3), 2)],
    [
        Layer("branch3x3dbl_1", 64),
        Layer("branch3x3dbl_2", 96, (3, 3)),
        Layer("branch3x3dbl_3", 96, (3, 3), 2),
    ],
)
_TO_8 = (
    [Layer("branch3x3_1", 192), Layer("branch3x3_2", 320, (3, 3), 2)],
    [
        Layer("branch7x7x3_1", 192),
        Layer("branch7x7x3_2", 192, ROW),
        Layer("branch7x7x3_3", 192, COLUMN),
        Layer("branch7x7x3_4", 192, (3, 3), 2),
    ],
)
_WIDE = (
    [Layer("branch1x1", 320)],
    [
        Layer("branch3x3_1", 384),
        (Layer("branch3x3_2a", 384, (1, 3)), Layer("branch3x3_2b", 384, (3, 1))),
    ],
    [
        Layer("branch3x3dbl_1", 448),
        Layer("branch3x3dbl_2", 384, (3, 3)),
        (Layer("branch3x3dbl_3a", 384, (1, 3)), Layer("branch3x3dbl_3b", 384, (3, 1))),
    ],
)


def _factored(width: int) -> tuple[Branch, ...]:
    """Branches with 7x7 kernels factorised into 1x7 and 7x1."""
    return (
        [Layer("branch1x1", 192)],
        [
            Layer("branch7x7_1", width),
            Layer("branch7x7_2", width, ROW),
            Layer("branch7x7_3", 192, COLUMN),
        ],
        [
            Layer("branch7x7dbl_1", width),
            Layer("branch7x7dbl_2", width, COLUMN),
            Layer("branch7x7dbl_3", width, ROW),
            Layer("branch7x7dbl_4", width, COLUMN),
            Layer("branch7x7dbl_5", 192, ROW),
        ],
    )
