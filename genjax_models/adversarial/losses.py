"""Terms of adversarial losses: games between two players, penalties, and what else is matched.

With s the discriminator's logit, D = sigmoid(s). Logits that are maps of patches are averaged over
all but the examples. A `Game` is what the discriminator wants small and what the generator does.

| game             | discriminator                               | generator        |
|------------------|---------------------------------------------|------------------|
| `minimax`        | -log D(x) - log(1 - D(G(z)))                | log(1 - D(G(z))) |
| `non_saturating` | the same                                    | -log D(G(z))     |
| `least_squares`  | (s(x) - 1)^2 / 2 + s(G(z))^2 / 2            | (s(G(z)) - 1)^2 / 2 |
| `hinge`          | max(0, 1 - s(x)) + max(0, 1 + s(G(z)))      | -s(G(z))         |
| `wasserstein`    | s(G(z)) - s(x), s held to slope 1           | -s(G(z))         |
| `relativistic`   | -log sigmoid(s(x) - s(G(z)))                | -log sigmoid(s(G(z)) - s(x)) |

References:
    Goodfellow et al. 2014, Generative Adversarial Networks, arXiv:1406.2661, eq. 1 and sec. 3.
    Mao et al. 2017, Least Squares GANs, arXiv:1611.04076, eq. 2 with a = 0, b = c = 1.
    Lim and Ye 2017, Geometric GAN, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, eq. 16.
    Arjovsky et al. 2017, Wasserstein GAN, arXiv:1701.07875, eq. 2.
    Jolicoeur-Martineau 2019, The Relativistic Discriminator, arXiv:1807.00734; Huang et al. 2024,
        The GAN is Dead; Long Live the GAN!, arXiv:2501.05441: with `r1` and `r2` it converges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from genjax_models.adversarial.outputs import GANOutputs
from genjax_models.core.loss import Term
from genjax_models.core.types import Array

OfLogits: TypeAlias = Callable[[Array], Array]
"""Logits `[B, ...]` to one number an example `[B]`."""


class Judgement(NamedTuple):
    """A game by what it makes of logits; translation models play it on several pairs.

    Attributes:
        real: What the discriminator pays for its logits of data.
        fake: What it pays for its logits of what was generated.
        fooled: What the generator pays for the latter.
    """

    real: OfLogits
    fake: OfLogits
    fooled: OfLogits


class Game(NamedTuple):
    """What two players want to be small, each a term of `GANOutputs`.

    Attributes:
        discriminator: The discriminator's term.
        generator: The generator's term.
    """

    discriminator: Term
    generator: Term


def per_example(values: Array) -> Array:
    """The mean over all axes but the first: `[B, ...] -> [B]`."""
    return jnp.mean(values.reshape(values.shape[0], -1), axis=-1)


def game(judgement: Judgement) -> Game:
    """The game of a generator and a discriminator that is judged so."""

    def discriminator(o: GANOutputs) -> Array:
        return judgement.real(o.real_logits) + judgement.fake(o.fake_logits)

    def generator(o: GANOutputs) -> Array:
        return judgement.fooled(o.fake_logits)

    return Game(discriminator, generator)


def _cross_entropy_real(s: Array) -> Array:
    return per_example(jax.nn.softplus(-s))  # -log sigmoid(s)


def _cross_entropy_fake(s: Array) -> Array:
    return per_example(jax.nn.softplus(s))  # -log(1 - sigmoid(s))


def _squared_to(target: float) -> OfLogits:
    return lambda s: per_example(0.5 * (s - target) ** 2)


def _minus(s: Array) -> Array:
    return -per_example(s)


judged_minimax = Judgement(
    _cross_entropy_real, _cross_entropy_fake, lambda s: -_cross_entropy_fake(s)
)
judged_non_saturating = Judgement(_cross_entropy_real, _cross_entropy_fake, _cross_entropy_real)
judged_least_squares = Judgement(_squared_to(1.0), _squared_to(0.0), _squared_to(1.0))
judged_hinge = Judgement(
    lambda s: per_example(jax.nn.relu(1.0 - s)), lambda s: per_example(jax.nn.relu(1.0 + s)), _minus
)
judged_wasserstein = Judgement(_minus, per_example, _minus)

minimax = game(judged_minimax)
non_saturating = game(judged_non_saturating)
least_squares = game(judged_least_squares)
hinge = game(judged_hinge)
wasserstein = game(judged_wasserstein)
relativistic = Game(
    lambda o: _cross_entropy_real(o.real_logits - o.fake_logits),
    lambda o: _cross_entropy_real(o.fake_logits - o.real_logits),
)


def gradient_penalty(o: GANOutputs) -> Array:
    """(|grad_x s(x_hat)| - 1)^2 `[B]` at x_hat = epsilon x + (1 - epsilon) G(z).

    It usually weighs 10. A discriminator under it may not mix examples (batch normalisation).

    References:
        Gulrajani et al. 2017, Improved Training of Wasserstein GANs, arXiv:1704.00028, eq. 3.
    """
    epsilon = o.epsilon.reshape(-1, *[1] * (o.real.ndim - 1))
    between = epsilon * o.real + (1.0 - epsilon) * o.fake
    # The root of 0 has no gradient; a slope of 0 is where an idle discriminator starts.
    return (jnp.sqrt(_squared_slope(o, between) + 1e-12) - 1.0) ** 2


def r1(o: GANOutputs) -> Array:
    """|grad_x s(x)|^2 / 2 `[B]` at the data.

    References:
        Mescheder et al. 2018, Which Training Methods for GANs Actually Converge?,
        arXiv:1801.04406, eq. 9.
    """
    return 0.5 * _squared_slope(o, o.real)


def r2(o: GANOutputs) -> Array:
    """|grad_x s(G(z))|^2 / 2 `[B]`: `r1` at what was generated (ibid., eq. 10)."""
    return 0.5 * _squared_slope(o, o.fake)


def drift(o: GANOutputs) -> Array:
    """s(x)^2 `[B]`: keeps a Wasserstein critic's values near 0; it usually weighs 0.001.

    References:
        Karras et al. 2018, Progressive Growing of GANs, arXiv:1710.10196, app. A.1.
    """
    return per_example(o.real_logits**2)


def feature_matching(o: GANOutputs) -> Array:
    """The squared distance of the mean features of data and of generated examples.

    The mean over the discriminator's layers f, and over the entries of each, of
    (E_x f(x) - E_z f(G(z)))^2: the same number for each example `[B]`.

    References:
        Salimans et al. 2016, Improved Techniques for Training GANs, arXiv:1606.03498, sec. 3.1.
    """

    def distance(f: Array, g: Array) -> Array:
        return jnp.mean((jnp.mean(f, axis=0) - jnp.mean(g, axis=0)) ** 2)

    distances = jax.tree.leaves(jax.tree.map(distance, o.real_features, o.fake_features))
    return jnp.full(o.fake.shape[0], jnp.mean(jnp.stack(distances)))


def real_accuracy(o: GANOutputs) -> Array:
    """The share of the data that the discriminator takes for data, s(x) > 0 `[]`."""
    return jnp.mean(o.real_logits > 0)


def fake_accuracy(o: GANOutputs) -> Array:
    """The share of what was generated that it takes for generated, s(G(z)) < 0 `[]`."""
    return jnp.mean(o.fake_logits < 0)


def _squared_slope(o: GANOutputs, x: Array) -> Array:
    """|grad_x s(x)|^2 `[B]`, of the mean over a map of logits."""

    def total(x: Array) -> Any:
        return jnp.sum(per_example(o.discriminator(x, o.context)))

    slope = jax.grad(total)(x)
    return jnp.sum(slope.reshape(x.shape[0], -1) ** 2, axis=-1)
