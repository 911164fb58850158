"""What one pass of a model of image translation gives."""

from __future__ import annotations

from flax import struct

from genjax_models.core.types import Array


@struct.dataclass
class Pix2PixOutputs:
    """What one pass of a Pix2Pix gives; every array's first axis is the examples.

    Attributes:
        source: What is translated, in the networks' range `[B, H, W, C]`.
        target: What it should become `[B, H, W, D]`, y in the paper.
        fake: What the generator makes of it `[B, H, W, D]`.
        real_logits: The discriminator's logits of source and target `[B, ...]`.
        fake_logits: Its logits of source and `fake`.
    """

    source: Array
    target: Array
    fake: Array
    real_logits: Array
    fake_logits: Array


@struct.dataclass
class Judged:
    """What one discriminator says.

    Attributes:
        real_logits: Of data `[B, ...]`: one logit, or a map of them.
        fake_logits: Of what was translated.
    """

    real_logits: Array
    fake_logits: Array


@struct.dataclass
class JudgedPair:
    """What both discriminators say; every array's first axis is the examples.

    Attributes:
        x: D_X of x and of what the pool gives for F(y).
        y: D_Y of y and of what the pool gives for G(x).
    """

    x: Judged
    y: Judged


@struct.dataclass
class CycleGANOutputs:
    """What the generators' pass gives; examples are in the networks' range, `[B, ...]`.

    Attributes:
        x: Examples of one set.
        y: Examples of the other, no partners of those.
        fake_x: F(y).
        fake_y: G(x).
        cycle_x: F(G(x)).
        cycle_y: G(F(y)).
        same_x: F(x); None where the identity does not matter.
        same_y: G(y); None likewise.
        x_logits: D_X's logits of F(y) `[B, ...]`.
        y_logits: D_Y's logits of G(x) `[B, ...]`.
    """

    x: Array
    y: Array
    fake_x: Array
    fake_y: Array
    cycle_x: Array
    cycle_y: Array
    same_x: Array | None
    same_y: Array | None
    x_logits: Array
    y_logits: Array
