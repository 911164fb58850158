"""CycleGAN: translation between two domains, learned without pairs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from genjax_models.adversarial import losses
from genjax_models.adversarial.augmentation import Augment, no_augmentation
from genjax_models.adversarial.gan import to_examples
from genjax_models.adversarial.losses import CycleGANLogits, CycleGANOutputs, GANLoss, Logits
from genjax_models.adversarial.translation import broadcast_source, check_source
from genjax_models.core import buffer, random
from genjax_models.core.buffer import Buffer
from genjax_models.core.conditions import check_examples
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.preprocess import from_unit_range, to_unit_range
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import value

GENERATORS = ("x_to_y", "y_to_x")
DISCRIMINATORS = ("discriminator_x", "discriminator_y")


@struct.dataclass
class ImagePool:
    """Images generated in earlier steps, to pass to a discriminator.

    Attributes:
        images: The images; every position of the batch owns the same number of slots.
        filled: Number of slots of each position that hold an image, int32 `[]`.
    """

    images: Buffer
    filled: Array


def empty_pool(size: int, shape: tuple[int, ...]) -> ImagePool:
    """Makes a pool without images.

    Args:
        size: Number of slots, a multiple of the batch.
        shape: Shape of one image.
    """
    return ImagePool(Buffer(jnp.zeros((size, *shape))), jnp.zeros((), jnp.int32))


def exchange(key: Key, pool: ImagePool, new: Array) -> tuple[Array, ImagePool]:
    """Puts new images into the pool, and takes the same number out.

    Each position of the batch has its own slots. Until they are full, the new image is stored
    and returned. Afterwards, with probability 1/2, a uniformly drawn old image is returned and
    the new one takes its slot; otherwise the new one is returned and not stored.

    Args:
        key: PRNG key.
        pool: The pool.
        new: Images `[B, ...]`.

    Returns:
        Images `[B, ...]`, without gradient, and the new pool.

    Raises:
        ValueError: The pool is smaller than the batch, or not a multiple of it.

    References:
        Shrivastava et al. 2017, Learning from Simulated and Unsupervised Images through Adversarial
        Training, arXiv:1612.07828, sec. 2.3; Zhu et al. 2017, arXiv:1703.10593, sec. 4.
    """
    new = jax.lax.stop_gradient(new)
    num, key_slot, key_coin = new.shape[0], *jax.random.split(key)
    size = buffer.slots(pool.images, num).shape[1]
    slot, old = buffer.draw(key_slot, pool.images, num)
    filling = pool.filled < size
    swap = random.uniform(key_coin, (num,)) < 0.5
    as_images = (num, *[1] * (new.ndim - 1))
    kept = jnp.where((filling | swap).reshape(as_images), new, old)
    taken = jnp.where((~filling & swap).reshape(as_images), old, new)
    images = buffer.put(pool.images, jnp.where(filling, pool.filled, slot), kept)
    return taken, ImagePool(images, jnp.minimum(pool.filled + 1, size))


@value
class CycleGAN:
    """Two generators, G: X -> Y and F: Y -> X, and a discriminator in each domain.

    The examples `x` and `y` of a batch are not paired (`data.unpaired` makes such datasets). Each
    generator must fool the other domain's discriminator, and must invert the other generator.

    In a step the discriminators move first, given translations from pools of earlier ones, then the
    generators. The pools are in the model's state; only the discriminators' pass changes them.

    Attributes:
        generator: G, network from `[B, *spec.shape]` to `[B, *spec_y.shape]`, any real numbers:
            `bounded` brings them into the data's range. F is a second one with its own parameters.
        discriminator: D_Y, network from examples in [-1, 1] to logits `[B, ...]`. D_X is a second
            one with its own parameters.
        spec: Description of one example of X, the dataset's `x`.
        spec_y: Description of one example of Y, the batch's `y`; None for that of X.
        generator_back: F, if it differs from G.
        discriminator_x: D_X, if it differs from D_Y.
        cycle: Weight of the cycle term, lambda in the paper.
        identity: Weight of |G(y) - y| and |F(x) - x|; 0 leaves the term out.
        game: Loss of each player at the discriminators' logits.
        pool_size: Number of images in each pool, a multiple of the batch.
        augment: Augmentation of every example, such as `augmentation.random_flip`.

    References:
        Zhu et al. 2017, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
        Networks, arXiv:1703.10593, eq. 3 and sec. 4.
    """

    generator: nn.Module
    discriminator: nn.Module
    spec: DataSpec = DIGITS
    spec_y: DataSpec | None = None
    generator_back: nn.Module | None = None
    discriminator_x: nn.Module | None = None
    cycle: float = 10.0
    identity: float = 5.0
    game: GANLoss = losses.half_least_squares
    pool_size: int = 50
    augment: Augment = no_augmentation

    def __post_init__(self) -> None:
        """Checks the settings.

        Raises:
            ValueError: The pools are empty, or `identity` is set between different shapes.
        """
        if self.pool_size < 1:
            raise ValueError(
                f"pool_size is {self.pool_size}: give a multiple of the batch size, such as the "
                "batch size itself"
            )
        if self.identity and self.target.shape != self.spec.shape:
            raise ValueError(
                f"x has shape {self.spec.shape} and y {self.target.shape}, but G(y) needs equal "
                "shapes: give identity=0"
            )

    @property
    def target(self) -> DataSpec:
        """Description of one example of Y."""
        return self.spec if self.spec_y is None else self.spec_y

    @property
    def loss(self) -> Loss:
        """The loss of the discriminators, which move first."""
        return self.discriminators_loss

    @property
    def discriminators_loss(self) -> Loss:
        """Terms `x` and `y`: the game's terms for D_X and D_Y."""
        term = functools.partial(_of_entry, self.game.discriminator_term)
        terms = {name: functools.partial(term, name) for name in ("x", "y")}
        return Loss(self.discriminators_forward, terms)

    @property
    def generators_loss(self) -> Loss:
        """Terms `adversarial_x` (of F), `adversarial_y` (of G), `cycle` and `identity`."""
        term = functools.partial(_of_entry, self.game.generator)
        terms = {
            "adversarial_x": functools.partial(term, "x_logits"),
            "adversarial_y": functools.partial(term, "y_logits"),
            "cycle": losses.cycle,
        }
        loss = Loss(self.forward, terms, {"cycle": self.cycle})
        if not self.identity:
            return loss
        return loss.add(identity=losses.identity).weigh(identity=self.identity)

    @property
    def players(self) -> Mapping[str, Player]:
        """Both discriminators as one player, then both generators."""
        return {
            "discriminators": Player(self.discriminators_loss, DISCRIMINATORS),
            "generators": Player(self.generators_loss, GENERATORS),
        }

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Initialises the parameters of the four networks, and empty pools.

        Raises:
            ValueError: The batch has no `y`, or an example or a generator's output does not have
                its domain's shape.
        """
        key_modules, key_forward = jax.random.split(key)
        x, y = self._prepared(batch, key_forward)
        modules = {name: (module, (y if name in ("y_to_x", "discriminator_y") else x,))
                   for name, module in self._modules.items()}  # fmt: skip
        params, state = init_modules(key_modules, modules)
        state["pool_x"] = empty_pool(self.pool_size, self.spec.shape)
        state["pool_y"] = empty_pool(self.pool_size, self.target.shape)
        forward = functools.partial(self.forward, train=False)
        jax.eval_shape(forward, params, batch, key_forward, state=state)
        return params, state

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[CycleGANOutputs, State]:
        """The generators' pass: translations, translations back, and the discriminators' logits."""
        key_data, *keys = jax.random.split(key, 9)
        x, y = self._prepared(batch, key_data)
        apply = functools.partial(self._apply, params, train=train)
        fake_y, state = apply("x_to_y", x, state, keys[0])
        fake_x, state = apply("y_to_x", y, state, keys[1])
        cycle_x, state = apply("y_to_x", fake_y, state, keys[2])
        cycle_y, state = apply("x_to_y", fake_x, state, keys[3])
        x_logits, state = apply("discriminator_x", fake_x, state, keys[4])
        y_logits, state = apply("discriminator_y", fake_y, state, keys[5])
        same_x = same_y = None
        if self.identity:
            same_x, state = apply("y_to_x", x, state, keys[6])
            same_y, state = apply("x_to_y", y, state, keys[7])
        outputs = CycleGANOutputs(
            x, y, fake_x, fake_y, cycle_x, cycle_y, same_x, same_y, x_logits, y_logits
        )
        return outputs, state

    def discriminators_forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[CycleGANLogits, State]:
        """The discriminators' pass; in training on translations from the pools."""
        key_data, key_y, key_x, key_pool_x, key_pool_y, *keys = jax.random.split(key, 9)
        x, y = self._prepared(batch, key_data)
        apply = functools.partial(self._apply, params, train=train)
        fake_y, state = apply("x_to_y", x, state, key_y)
        fake_x, state = apply("y_to_x", y, state, key_x)
        if train:
            fake_x, pool_x = exchange(key_pool_x, state["pool_x"], fake_x)
            fake_y, pool_y = exchange(key_pool_y, state["pool_y"], fake_y)
            state = {**state, "pool_x": pool_x, "pool_y": pool_y}
        real_x, state = apply("discriminator_x", x, state, keys[0])
        x_logits, state = apply("discriminator_x", fake_x, state, keys[1])
        real_y, state = apply("discriminator_y", y, state, keys[2])
        y_logits, state = apply("discriminator_y", fake_y, state, keys[3])
        return CycleGANLogits(Logits(real_x, x_logits), Logits(real_y, y_logits)), state

    @entry()
    def x_to_y(self, params: Params, x: Array, *, state: State | None = None) -> Array:
        """Translates examples of X `[B, *spec.shape]` to Y, G(x), both in their data's units."""
        check_examples(x, self.spec)
        fake = self._apply(params, "x_to_y", to_unit_range(x, self.spec), state or {})[0]
        return from_unit_range(fake, self.target)

    @entry(y="target")
    def y_to_x(self, params: Params, y: Array, *, state: State | None = None) -> Array:
        """Translates examples of Y `[B, *spec_y.shape]` to X, F(y), both in their data's units."""
        check_examples(y, self.target)
        fake = self._apply(params, "y_to_x", to_unit_range(y, self.target), state or {})[0]
        return from_unit_range(fake, self.spec)

    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        x: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """Translates `num` examples of X to Y: G(x), which is deterministic.

        Args:
            params: The model's parameters; usually a run's averaged ones.
            key: Unused: G is deterministic.
            num: Number of examples.
            x: Examples of X `[num, *spec.shape]`, or one for all, in the data's units.
            state: The model's state, if the networks have any.

        Returns:
            Examples `[num, *spec_y.shape]` in the data's units.

        Raises:
            ValueError: No examples of X are given, or not `num` of them.
        """
        del key
        return self.x_to_y(params, broadcast_source(x, num, self.spec, "x"), state=state)

    @property
    def _modules(self) -> dict[str, nn.Module]:
        return {
            "x_to_y": self.generator,
            "y_to_x": self.generator_back or self.generator,
            "discriminator_x": self.discriminator_x or self.discriminator,
            "discriminator_y": self.discriminator,
        }

    def _prepared(self, batch: Batch, key: Key) -> tuple[Array, Array]:
        check_source(
            batch, "y", self.target, "a CycleGAN", "data.unpaired(a, b) makes such a dataset"
        )
        check_examples(batch["x"], self.spec)
        key_x, key_y = jax.random.split(key)
        x = self.augment(key_x, to_unit_range(batch["x"], self.spec))
        return x, self.augment(key_y, to_unit_range(batch["y"], self.target))

    def _apply(
        self,
        params: Params,
        name: str,
        inputs: Array,
        state: State,
        key: Key | None = None,
        *,
        train: bool = False,
    ) -> tuple[Array, State]:
        """Applies a network; maps a generator's output to its target's range and shape."""
        module = self._modules[name]
        out, state = apply_module(name, module, params, state, inputs, key=key, train=train)
        if name in GENERATORS:
            out = to_examples(out, self.target if name == "x_to_y" else self.spec, name)
        return out, state


def _of_entry(function: Callable[[Any], Array], name: str, outputs: Any) -> Array:
    """Applies a function to an entry of the outputs."""
    return function(getattr(outputs, name))
