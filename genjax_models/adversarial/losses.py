"""Outputs of adversarial models, and their loss terms.

s is the discriminator's logit and D = sigmoid(s). A map of logits, one for each patch of an
image, is averaged.

| loss             | discriminator                               | generator        |
|------------------|---------------------------------------------|------------------|
| `minimax`        | -log D(x) - log(1 - D(G(z)))                | log(1 - D(G(z))) |
| `non_saturating` | as `minimax`                                | -log D(G(z))     |
| `least_squares`  | (s(x) - 1)^2 / 2 + s(G(z))^2 / 2            | (s(G(z)) - 1)^2 / 2 |
| `hinge`          | max(0, 1 - s(x)) + max(0, 1 + s(G(z)))      | -s(G(z))         |
| `wasserstein`    | s(G(z)) - s(x), with a penalty on s's slope | -s(G(z))         |
| `relativistic`   | -log sigmoid(s(x) - s(G(z)))                | -log sigmoid(s(G(z)) - s(x)) |

References:
    Goodfellow et al. 2014, Generative Adversarial Networks, arXiv:1406.2661, eq. 1 and sec. 3.
    Mao et al. 2017, Least Squares GANs, arXiv:1611.04076, eq. 2 with a = 0, b = c = 1.
    Lim and Ye 2017, Geometric GAN, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, eq. 16.
    Arjovsky et al. 2017, Wasserstein GAN, arXiv:1701.07875, eq. 2.
    Jolicoeur-Martineau 2019, The Relativistic Discriminator, arXiv:1807.00734; Huang et al. 2024,
        The GAN is Dead; Long Live the GAN!, arXiv:2501.05441: with `r1` and `r2` it converges.
    Isola et al. 2017, Image-to-Image Translation with Conditional Adversarial Networks,
        arXiv:1611.07004, eqs. 1, 3 and sec. 3.3 (`half_cross_entropy`, `l1`).
    Zhu et al. 2017, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
        Networks, arXiv:1703.10593, eqs. 2, 3, sec. 4 and 5.2 (`half_least_squares`, `cycle`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import jax
import jax.numpy as jnp
from flax import struct

from genjax_models.core.types import Array
from genjax_models.core.values import value


@struct.dataclass
class GANOutputs:
    """Outputs of one pass of a GAN; the first axis of every array is the batch.

    A compiled pass computes only what the loss's terms use.

    Attributes:
        real: Data in the networks' range `[B, ...]`.
        fake: G(z) `[B, ...]`.
        z: Noise `[B, latent_dim]`.
        real_logits: The discriminator's logits of the data `[B, ...]`: one each, or a map.
        fake_logits: Its logits of the generated examples.
        real_features: Outputs of the discriminator's layers for the data: name -> `[B, ...]`.
        fake_features: Outputs of its layers for the generated examples.
        context: One-hot labels `[B, K]`; None in an unconditional model.
        epsilon: A uniform number for each example `[B]`, for terms that need one.
        discriminator: `(x [B, ...], context) -> logits`: the discriminator as a function, for terms
            that take its gradient.
    """

    real: Array
    fake: Array
    z: Array
    real_logits: Array
    fake_logits: Array
    real_features: Mapping[str, Array]
    fake_features: Mapping[str, Array]
    context: Array | None
    epsilon: Array
    discriminator: Callable[[Array, Array | None], Array] = struct.field(pytree_node=False)


@struct.dataclass
class Pix2PixOutputs:
    """Outputs of one pass of a Pix2Pix; the first axis of every array is the batch.

    Attributes:
        source: Images to translate, in the networks' range `[B, H, W, C]`.
        target: Their true translations `[B, H, W, D]`, y in the paper.
        fake: Their translations by the generator `[B, H, W, D]`.
        real_logits: The discriminator's logits of source and target `[B, ...]`.
        fake_logits: Its logits of source and `fake`.
    """

    source: Array
    target: Array
    fake: Array
    real_logits: Array
    fake_logits: Array


@struct.dataclass
class Logits:
    """Logits of one discriminator.

    Attributes:
        real_logits: Logits of data `[B, ...]`: one each, or a map.
        fake_logits: Logits of translations.
    """

    real_logits: Array
    fake_logits: Array


@struct.dataclass
class CycleGANLogits:
    """Outputs of the discriminators' pass of a CycleGAN.

    Attributes:
        x: D_X of x and of images from the pool of F(y).
        y: D_Y of y and of images from the pool of G(x).
    """

    x: Logits
    y: Logits


@struct.dataclass
class CycleGANOutputs:
    """Outputs of the generators' pass of a CycleGAN; examples are in the networks' range.

    Attributes:
        x: Examples of X `[B, ...]`.
        y: Examples of Y `[B, ...]`, not paired with those of X.
        fake_x: F(y).
        fake_y: G(x).
        cycle_x: F(G(x)).
        cycle_y: G(F(y)).
        same_x: F(x); None without an identity term.
        same_y: G(y); None without an identity term.
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


class HasLogits(Protocol):
    """Outputs with a discriminator's logits of real and of generated examples."""

    @property
    def real_logits(self) -> Array:
        """Logits of data `[B, ...]`."""
        ...

    @property
    def fake_logits(self) -> Array:
        """Logits of generated examples `[B, ...]`."""
        ...


LogitLoss: TypeAlias = Callable[[Array], Array]
"""Logits `[B, ...]` to one number for each example `[B]`."""


class Game(Protocol):
    """The terms of the two players of a GAN."""

    def discriminator_term(self, outputs: HasLogits) -> Array:
        """The discriminator's loss `[B]`."""
        ...

    def generator_term(self, outputs: HasLogits) -> Array:
        """The generator's loss `[B]`."""
        ...


@value
class GANLoss:
    """A `Game` in which real and generated examples are scored separately.

    Attributes:
        real: The discriminator's loss at its logits of data.
        fake: The discriminator's loss at its logits of generated examples.
        generator: The generator's loss at the discriminator's logits of generated examples.
    """

    real: LogitLoss
    fake: LogitLoss
    generator: LogitLoss

    def discriminator_term(self, outputs: HasLogits) -> Array:
        """The discriminator's loss `[B]`."""
        return self.real(outputs.real_logits) + self.fake(outputs.fake_logits)

    def generator_term(self, outputs: HasLogits) -> Array:
        """The generator's loss `[B]`."""
        return self.generator(outputs.fake_logits)


@value
class RelativisticLoss:
    """A `Game` that compares a real with a generated example."""

    def discriminator_term(self, outputs: HasLogits) -> Array:
        """-log sigmoid(s(x) - s(G(z))) `[B]`."""
        return _cross_entropy_real(outputs.real_logits - outputs.fake_logits)

    def generator_term(self, outputs: HasLogits) -> Array:
        """-log sigmoid(s(G(z)) - s(x)) `[B]`."""
        return _cross_entropy_real(outputs.fake_logits - outputs.real_logits)


@value
class SquaredError:
    """weight (s - target)^2, averaged over a map of logits.

    Attributes:
        target: Logit of zero error.
        weight: The error's weight.
    """

    target: float
    weight: float = 0.5

    def __call__(self, s: Array) -> Array:
        """Computes the error `[B]` of logits `[B, ...]`."""
        return per_example(self.weight * (s - self.target) ** 2)


def per_example(values: Array) -> Array:
    """Averages over all axes but the first: `[B, ...] -> [B]`."""
    return jnp.mean(values.reshape(values.shape[0], -1), axis=-1)


def _cross_entropy_real(s: Array) -> Array:
    return per_example(jax.nn.softplus(-s))  # -log sigmoid(s)


def _cross_entropy_fake(s: Array) -> Array:
    return per_example(jax.nn.softplus(s))  # -log(1 - sigmoid(s))


def _half_cross_entropy_real(s: Array) -> Array:
    return 0.5 * _cross_entropy_real(s)


def _half_cross_entropy_fake(s: Array) -> Array:
    return 0.5 * _cross_entropy_fake(s)


def _minus_cross_entropy_fake(s: Array) -> Array:
    return -_cross_entropy_fake(s)


def _hinge_real(s: Array) -> Array:
    return per_example(jax.nn.relu(1.0 - s))


def _hinge_fake(s: Array) -> Array:
    return per_example(jax.nn.relu(1.0 + s))


def _minus(s: Array) -> Array:
    return -per_example(s)


minimax = GANLoss(_cross_entropy_real, _cross_entropy_fake, _minus_cross_entropy_fake)
non_saturating = GANLoss(_cross_entropy_real, _cross_entropy_fake, _cross_entropy_real)
least_squares = GANLoss(SquaredError(1.0), SquaredError(0.0), SquaredError(1.0))
hinge = GANLoss(_hinge_real, _hinge_fake, _minus)
wasserstein = GANLoss(_minus, per_example, _minus)
relativistic = RelativisticLoss()

half_cross_entropy = GANLoss(
    _half_cross_entropy_real, _half_cross_entropy_fake, _cross_entropy_real
)
"""The non-saturating loss with the discriminator's part halved, to slow it down (Pix2Pix)."""

half_least_squares = GANLoss(SquaredError(1.0), SquaredError(0.0), SquaredError(1.0, weight=1.0))
"""Least squares with the generator's part, (s - 1)^2, not halved (CycleGAN)."""


def gradient_penalty(o: GANOutputs) -> Array:
    """(|grad_x s(x_hat)| - 1)^2 `[B]` at x_hat = epsilon x + (1 - epsilon) G(z).

    Its usual weight is 10. The discriminator must not mix examples (no batch normalisation).

    References:
        Gulrajani et al. 2017, Improved Training of Wasserstein GANs, arXiv:1704.00028, eq. 3.
    """
    epsilon = o.epsilon.reshape(-1, *[1] * (o.real.ndim - 1))
    between = epsilon * o.real + (1.0 - epsilon) * o.fake
    # The square root has no gradient at 0, the slope of a discriminator initialised at 0.
    return (jnp.sqrt(_squared_slope(o, between) + 1e-12) - 1.0) ** 2


def r1(o: GANOutputs) -> Array:
    """|grad_x s(x)|^2 / 2 `[B]` at data.

    References:
        Mescheder et al. 2018, Which Training Methods for GANs Actually Converge?,
        arXiv:1801.04406, eq. 9.
    """
    return 0.5 * _squared_slope(o, o.real)


def r2(o: GANOutputs) -> Array:
    """|grad_x s(G(z))|^2 / 2 `[B]`: `r1` at generated examples (ibid., eq. 10)."""
    return 0.5 * _squared_slope(o, o.fake)


def drift(o: GANOutputs) -> Array:
    """s(x)^2 `[B]`, which keeps a Wasserstein critic's values near 0; its usual weight is 0.001.

    References:
        Karras et al. 2018, Progressive Growing of GANs, arXiv:1710.10196, app. A.1.
    """
    return per_example(o.real_logits**2)


def feature_matching(o: GANOutputs) -> Array:
    """Squared distance between the mean features of data and of generated examples.

    (E_x f(x) - E_z f(G(z)))^2, averaged over the discriminator's layers f and the entries of each;
    the same number for each example `[B]`.

    References:
        Salimans et al. 2016, Improved Techniques for Training GANs, arXiv:1606.03498, sec. 3.1.
    """

    def distance(f: Array, g: Array) -> Array:
        return jnp.mean((jnp.mean(f, axis=0) - jnp.mean(g, axis=0)) ** 2)

    distances = jax.tree.leaves(jax.tree.map(distance, o.real_features, o.fake_features))
    return jnp.full(o.fake.shape[0], jnp.mean(jnp.stack(distances)))


def real_accuracy(o: GANOutputs) -> Array:
    """Fraction of the data that the discriminator classifies as data, s(x) > 0 `[]`."""
    return jnp.mean(o.real_logits > 0)


def fake_accuracy(o: GANOutputs) -> Array:
    """Fraction of generated examples that it classifies as generated, s(G(z)) < 0 `[]`."""
    return jnp.mean(o.fake_logits < 0)


def absolute_error(a: Array, b: Array) -> Array:
    """Mean of |a - b| over an example's entries `[B]`, for a and b `[B, ...]`."""
    return per_example(jnp.abs(a - b))


def l1(o: Pix2PixOutputs) -> Array:
    """Mean of |y - G(x)| over the entries `[B]`, in the networks' range."""
    return absolute_error(o.target, o.fake)


def cycle(o: CycleGANOutputs) -> Array:
    """Mean |F(G(x)) - x| plus mean |G(F(y)) - y| over the entries `[B]`."""
    return absolute_error(o.cycle_x, o.x) + absolute_error(o.cycle_y, o.y)


def identity(o: CycleGANOutputs) -> Array:
    """Mean |F(x) - x| plus mean |G(y) - y| over the entries `[B]`."""
    assert o.same_x is not None and o.same_y is not None  # the model adds the term only with them
    return absolute_error(o.same_x, o.x) + absolute_error(o.same_y, o.y)


def _squared_slope(o: GANOutputs, x: Array) -> Array:
    """|grad_x s(x)|^2 `[B]`, of the mean over a map of logits."""

    def total(x: Array) -> Any:
        return jnp.sum(per_example(o.discriminator(x, o.context)))

    slope = jax.grad(total)(x)
    return jnp.sum(slope.reshape(x.shape[0], -1) ** 2, axis=-1)
