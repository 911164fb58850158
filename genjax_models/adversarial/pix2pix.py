"""Pix2Pix: image translation learned from pairs."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.adversarial import losses
from genjax_models.adversarial.augmentation import Augment, no_augmentation
from genjax_models.adversarial.gan import to_examples
from genjax_models.adversarial.losses import Game, Pix2PixOutputs
from genjax_models.adversarial.translation import broadcast_source, check_source
from genjax_models.core.conditions import check_examples
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.preprocess import from_unit_range, to_unit_range
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import value

MEND = "it learns from pairs; for datasets without pairs use a CycleGAN"


@value
class Pix2Pix:
    """A generator of a target image given a source image, and a discriminator of such pairs.

    The generator must fool the discriminator, which is given source and target concatenated along
    their channels, and stay near the target. Its noise is dropout, in training and in sampling, if
    the network applies dropout whenever it is given a key (`networks.UNetTranslator`).

    The source is an entry of the batch, such as `condition` in `facades`, the map of a photo's
    parts; `data.swapped(data, "condition")` reverses the direction.

    Attributes:
        generator: Network from sources in [-1, 1] `[B, *source_spec.shape]` to `[B, *spec.shape]`,
            any real numbers: `bounded` brings them into the data's range.
        discriminator: Network from source and target, concatenated `[B, H, W, C + D]`, to logits
            `[B, ...]`: one each, or a map of patches.
        spec: Description of one target, the dataset's `x`.
        source: Name of the batch's entry to translate.
        source_spec: Description of one source; None for that of a target.
        l1: Weight of the mean absolute error, lambda in the paper.
        game: Loss of each player: a `losses.GANLoss`, or another `losses.Game`.
        augment: Augmentation of source and target, the same for both (`augmentation.random_flip`).

    References:
        Isola et al. 2017, Image-to-Image Translation with Conditional Adversarial Networks,
        arXiv:1611.07004, eq. 4.
    """

    generator: nn.Module
    discriminator: nn.Module
    spec: DataSpec = DIGITS
    source: str = "condition"
    source_spec: DataSpec | None = None
    l1: float = 100.0
    game: Game = losses.half_cross_entropy
    augment: Augment = no_augmentation

    def __post_init__(self) -> None:
        """Checks that source and target can be concatenated.

        Raises:
            ValueError: Source and target differ in height or width, or are not images.
        """
        shape, other = self.spec.shape, self._source_spec.shape
        if len(shape) != 3 or shape[:2] != other[:2]:
            raise ValueError(
                f"the discriminator takes {self.source} of shape {other} and x of {shape} "
                "concatenated: both must be images [H, W, C] of one height and width, so resize one"
            )

    @property
    def loss(self) -> Loss:
        """The loss of the discriminator, which moves first."""
        return self.discriminator_loss

    @property
    def discriminator_loss(self) -> Loss:
        """`adversarial`: the game's term for the discriminator."""
        return Loss(self.forward, {"adversarial": self.game.discriminator_term})

    @property
    def generator_loss(self) -> Loss:
        """`adversarial`, the game's term for the generator, and `l1` of weight `self.l1`."""
        terms = {"adversarial": self.game.generator_term, "l1": losses.l1}
        return Loss(self.forward, terms, {"l1": self.l1})

    @property
    def players(self) -> Mapping[str, Player]:
        """The discriminator, then the generator."""
        return {
            "discriminator": Player(self.discriminator_loss, ("discriminator",)),
            "generator": Player(self.generator_loss, ("generator",)),
        }

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Initialises the parameters of both networks.

        Raises:
            ValueError: The batch has no source, or an image or the generator's output has the wrong
                shape.
        """
        key_modules, key_forward = jax.random.split(key)
        source, target = self._prepared(batch, key_forward)
        modules = {
            "generator": (self.generator, (source,)),
            "discriminator": (self.discriminator, (_concatenate(source, target),)),
        }
        params, state = init_modules(key_modules, modules)
        forward = functools.partial(self.forward, train=False)
        jax.eval_shape(forward, params, batch, key_forward, state=state)
        return params, state

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[Pix2PixOutputs, State]:
        """Translates the sources, and passes them to the discriminator with targets and fakes."""
        key_data, key_g, key_real, key_fake = jax.random.split(key, 4)
        source, target = self._prepared(batch, key_data)
        fake, state = self._generate(params, source, state, key_g, train=train)
        apply = functools.partial(
            apply_module, "discriminator", self.discriminator, params, train=train
        )
        real_logits, state = apply(state, _concatenate(source, target), key=key_real)
        fake_logits, state = apply(state, _concatenate(source, fake), key=key_fake)
        return Pix2PixOutputs(source, target, fake, real_logits, fake_logits), state

    @entry(source="_source_spec")
    def translate(
        self, params: Params, source: Array, key: Key | None = None, *, state: State | None = None
    ) -> Array:
        """Translates sources into targets `[B, *spec.shape]`, both in their data's units.

        Args:
            params: The model's parameters; usually a run's averaged ones.
            source: Images `[B, *source_spec.shape]`.
            key: PRNG key of the dropout; no dropout if None.
            state: The model's state, if the networks have any.

        Raises:
            ValueError: The images do not have the source's shape.
        """
        check_examples(source, self._source_spec)
        source = to_unit_range(source, self._source_spec)
        fake, _ = self._generate(params, source, state or {}, key, train=False)
        return from_unit_range(fake, self.spec)

    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        state: State | None = None,
        **condition: Array,
    ) -> Array:
        """Draws `num` new targets `[num, *spec.shape]`, in the data's units.

        Args:
            params: The model's parameters; usually a run's averaged ones.
            key: PRNG key of the dropout.
            num: Number of targets.
            state: The model's state.
            **condition: Named as the source, images `[num, *source_spec.shape]` or one for all.

        Raises:
            ValueError: No images are given, or not `num` of them.
            TypeError: Another condition is given.
        """
        source = broadcast_source(
            condition.pop(self.source, None), num, self._source_spec, self.source
        )
        if condition:
            raise TypeError(f"the model takes {self.source}, not {', '.join(condition)}")
        return self.translate(params, source, key, state=state)

    @property
    def _source_spec(self) -> DataSpec:
        return self.spec if self.source_spec is None else self.source_spec

    def _prepared(self, batch: Batch, key: Key) -> tuple[Array, Array]:
        check_source(batch, self.source, self._source_spec, "a Pix2Pix", MEND)
        check_examples(batch["x"], self.spec)
        source = to_unit_range(batch[self.source], self._source_spec)
        target = to_unit_range(batch["x"], self.spec)
        both = self.augment(key, _concatenate(source, target))
        return both[..., : source.shape[-1]], both[..., source.shape[-1] :]

    def _generate(
        self, params: Params, source: Array, state: State, key: Key | None, *, train: bool
    ) -> tuple[Array, State]:
        raw, state = apply_module(
            "generator", self.generator, params, state, source, key=key, train=train
        )
        return to_examples(raw, self.spec), state


def _concatenate(source: Array, target: Array) -> Array:
    return jnp.concatenate([source, target], axis=-1)
