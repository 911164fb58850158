"""Terms of image translation, and the games as its papers play them: a slower discriminator.

References:
    Isola et al. 2017, Image-to-Image Translation with Conditional Adversarial Networks,
    arXiv:1611.07004, eqs. 1, 3 and sec. 3.3.
    Zhu et al. 2017, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
    Networks, arXiv:1703.10593, eqs. 2, 3, sec. 4 and sec. 5.2.
"""

from __future__ import annotations

import jax.numpy as jnp

from genjax_models.adversarial.losses import (
    Judgement,
    judged_least_squares,
    judged_non_saturating,
    per_example,
)
from genjax_models.adversarial.translation_outputs import (
    CycleGANOutputs,
    Judged,
    Pix2PixOutputs,
)
from genjax_models.core.types import Array

half_cross_entropy = Judgement(
    lambda s: 0.5 * judged_non_saturating.real(s),
    lambda s: 0.5 * judged_non_saturating.fake(s),
    judged_non_saturating.fooled,
)
"""The non-saturating game, in which the discriminator's objective is halved to slow it down."""

half_least_squares = Judgement(
    judged_least_squares.real,
    judged_least_squares.fake,
    lambda s: 2.0 * judged_least_squares.fooled(s),
)
"""(s - 1)^2 for the generator; (s(y) - 1)^2 / 2 + s(G(x))^2 / 2 for the discriminator."""


def absolute_error(a: Array, b: Array) -> Array:
    """The mean of |a - b| over an example's entries: `[B, ...]` twice to `[B]`."""
    return per_example(jnp.abs(a - b))


def l1(o: Pix2PixOutputs) -> Array:
    """The mean of |y - G(x)| over the entries `[B]`, in the networks' range."""
    return absolute_error(o.target, o.fake)


def cycle(o: CycleGANOutputs) -> Array:
    """Mean |F(G(x)) - x| and mean |G(F(y)) - y| over the entries, their sum `[B]`."""
    return absolute_error(o.cycle_x, o.x) + absolute_error(o.cycle_y, o.y)


def identity(o: CycleGANOutputs) -> Array:
    """Mean |F(x) - x| and mean |G(y) - y| over the entries, their sum `[B]`."""
    assert o.same_x is not None and o.same_y is not None  # the model adds the term where they are
    return absolute_error(o.same_x, o.x) + absolute_error(o.same_y, o.y)


def told_apart(judgement: Judgement, judged: Judged) -> Array:
    """What a discriminator pays for what it was shown `[B]`."""
    return judgement.real(judged.real_logits) + judgement.fake(judged.fake_logits)
