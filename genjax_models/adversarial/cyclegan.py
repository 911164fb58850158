"""CycleGAN: translation between two sets of examples of which none are paired."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import jax
from flax import linen as nn

from genjax_models.adversarial import image_pool, losses
from genjax_models.adversarial.augmentation import Augment, nothing
from genjax_models.adversarial.gan import to_examples
from genjax_models.adversarial.losses import CycleGANLogits, CycleGANOutputs, GANLoss, Logits
from genjax_models.adversarial.translation import broadcast_source, check_source
from genjax_models.core.conditions import check_examples
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.preprocess import from_unit_range, to_unit_range
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State

GENERATORS = ("x_to_y", "y_to_x")
DISCRIMINATORS = ("discriminator_x", "discriminator_y")


@dataclasses.dataclass(frozen=True)
class CycleGAN:
    """Two generators, G: X -> Y and F: Y -> X, and a discriminator in each domain.

    Nothing pairs the examples `x` and `y` of a batch (`data.unpaired` makes such sets). Each
    generator must fool the other domain's discriminator, and each must undo what the other does.

    A step is two moves: the discriminators', which see translations out of a pool of earlier ones,
    and the generators'. The pools lie in the state, and only the discriminators' move changes them.

    Attributes:
        generator: G, `[B, *spec.shape]` to `[B, *spec_y.shape]`, any real numbers: `bounded` brings
            them into the data's range. F is another one of the same kind.
        discriminator: D_Y, examples in [-1, 1] to logits `[B, ...]`; D_X is another such.
        spec: What one example of X is, the data set's `x`.
        spec_y: What one of Y is, the batch's `y`; None where they are as those of X.
        generator_back: F, where it is not of G's kind.
        discriminator_x: D_X, where it is not of D_Y's kind.
        cycle: Weight of the cycle's term, lambda in the paper.
        identity: Weight of |G(y) - y| and |F(x) - x|; 0 leaves the term out.
        game: The loss of each player at the discriminators' logits.
        pool_size: Images in each pool: a multiple of the batch, of whose examples each owns as
            many.
        augment: What is done to every example first, such as `augmentation.random_flip`.

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
    augment: Augment = nothing

    def __post_init__(self) -> None:
        """Refuses settings that cannot be.

        Raises:
            ValueError: Which, and what may be.
        """
        if self.pool_size < 1:
            raise ValueError(
                f"pool_size is {self.pool_size}: give a multiple of the batch; one as large as the "
                "batch holds one image an example"
            )
        if self.identity and self.target.shape != self.spec.shape:
            raise ValueError(
                f"x is of shape {self.spec.shape} and y of {self.target.shape}: G(y) can be no y "
                "where they differ, so give identity=0"
            )

    @property
    def target(self) -> DataSpec:
        """What one example of Y is."""
        return self.spec if self.spec_y is None else self.spec_y

    @property
    def loss(self) -> Loss:
        """The discriminators' loss, who move first."""
        return self.discriminators_loss

    @property
    def discriminators_loss(self) -> Loss:
        """Terms `x` and `y`: what D_X and D_Y pay."""
        terms = {
            "x": lambda o: self.game.discriminator(o.x.real_logits, o.x.fake_logits),
            "y": lambda o: self.game.discriminator(o.y.real_logits, o.y.fake_logits),
        }
        return Loss(self.judge, terms)

    @property
    def generators_loss(self) -> Loss:
        """Terms `adversarial_x` (of F), `adversarial_y` (of G), `cycle` and `identity`."""
        terms = {
            "adversarial_x": lambda o: self.game.generator(o.x_logits),
            "adversarial_y": lambda o: self.game.generator(o.y_logits),
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
        """Fresh parameters of the four networks, and empty pools.

        Raises:
            ValueError: The batch has no `y`, an example's shape is not its domain's, or a
                generator's output is not.
        """
        key_modules, key_forward = jax.random.split(key)
        x, y = self._prepared(batch, key_forward)
        modules = {name: (module, (y if name in ("y_to_x", "discriminator_y") else x,))
                   for name, module in self._modules.items()}  # fmt: skip
        params, state = init_modules(key_modules, modules)
        state["pool_x"] = image_pool.empty(self.pool_size, self.spec.shape)
        state["pool_y"] = image_pool.empty(self.pool_size, self.target.shape)
        forward = functools.partial(self.forward, train=False)
        jax.eval_shape(forward, params, batch, key_forward, state=state)
        return params, state

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[CycleGANOutputs, State]:
        """The generators' pass: there, back, and what the discriminators say of it."""
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

    def judge(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[CycleGANLogits, State]:
        """The discriminators' pass; in training they are shown what the pools give."""
        key_data, key_y, key_x, key_pool_x, key_pool_y, *keys = jax.random.split(key, 9)
        x, y = self._prepared(batch, key_data)
        apply = functools.partial(self._apply, params, train=train)
        fake_y, state = apply("x_to_y", x, state, key_y)
        fake_x, state = apply("y_to_x", y, state, key_x)
        if train:
            fake_x, pool_x = image_pool.exchange(key_pool_x, state["pool_x"], fake_x)
            fake_y, pool_y = image_pool.exchange(key_pool_y, state["pool_y"], fake_y)
            state = {**state, "pool_x": pool_x, "pool_y": pool_y}
        real_x, state = apply("discriminator_x", x, state, keys[0])
        x_logits, state = apply("discriminator_x", fake_x, state, keys[1])
        real_y, state = apply("discriminator_y", y, state, keys[2])
        y_logits, state = apply("discriminator_y", fake_y, state, keys[3])
        return CycleGANLogits(Logits(real_x, x_logits), Logits(real_y, y_logits)), state

    @entry()
    def x_to_y(self, params: Params, x: Array, *, state: State | None = None) -> Array:
        """G(x): examples of X `[B, *spec.shape]` as examples of Y, both in their data's units."""
        check_examples(x, self.spec)
        fake = self._apply(params, "x_to_y", to_unit_range(x, self.spec), state or {})[0]
        return from_unit_range(fake, self.target)

    @entry(y="target")
    def y_to_x(self, params: Params, y: Array, *, state: State | None = None) -> Array:
        """F(y): examples of Y `[B, *spec_y.shape]` as examples of X, both in their data's units."""
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
        """`num` new examples of Y: G(x), which no noise enters.

        Args:
            params: The parameters; a run's averaged ones are the usual choice.
            key: Of no account.
            num: How many.
            x: Examples of X `[num, *spec.shape]`, or one for all, in the data's units.
            state: The model's state, where the networks keep some.

        Returns:
            Examples `[num, *spec_y.shape]` in the data's units.

        Raises:
            ValueError: No examples of X are given, or not so many.
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
        check_source(batch, "y", self.target, "a CycleGAN", "data.unpaired(a, b) makes such a set")
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
        """A network's output: of a generator, in its target's range and shape."""
        module = self._modules[name]
        out, state = apply_module(name, module, params, state, inputs, key=key, train=train)
        if name in GENERATORS:
            out = to_examples(out, self.target if name == "x_to_y" else self.spec, name)
        return out, state
