"""Progressive growing: a GAN that learns small images first, and then larger and larger ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from genjax_models.adversarial import losses
from genjax_models.adversarial.gan import GAN
from genjax_models.adversarial.losses import GANOutputs
from genjax_models.core import random
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player
from genjax_models.core.types import Array, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import value
from genjax_models.networks.conv import average_pool, upsample_nearest
from genjax_models.networks.progressive import GROWTH

_NETWORKS = ("generator", "discriminator")


@value
class Growth:
    """Schedule of the stages, each of which doubles the resolution.

    The first stage trains on `stage_images` images. Every further stage is faded in over
    `fade_images` images, while alpha rises linearly from 0 to 1, and then trains on `stage_images`.
    The last stage lasts to the end of training.

    Attributes:
        stages: Number of stages, S.
        stage_images: Number of images of a stage after its fade; 800,000 in the paper.
        fade_images: Number of images of a fade; 800,000 in the paper.
        start: Number of images at which training starts; above 0 to skip the first stages.

    Raises:
        ValueError: There are no stages, or a number of images is too small.

    References:
        Karras et al. 2018, Progressive Growing of GANs, arXiv:1710.10196, sec. 2 and app. A.
    """

    stages: int
    stage_images: int = 800_000
    fade_images: int = 800_000
    start: int = 0

    def __post_init__(self) -> None:
        """Checks the numbers."""
        if self.stages < 1:
            raise ValueError(f"stages is {self.stages}: give at least 1")
        for name, least in (("stage_images", 0), ("fade_images", 1), ("start", 0)):
            if (value := getattr(self, name)) < least:
                raise ValueError(f"{name} is {value}: give at least {least}")

    @property
    def images(self) -> int:
        """Number of images after which the last stage has been faded in."""
        return (self.stages - 1) * (self.stage_images + self.fade_images)

    def __call__(self, shown: Array | int) -> tuple[Array, Array]:
        """Computes the stage and the fraction of it that has been faded in.

        Args:
            shown: Number of images that training has used, int32 `[]`.

        Returns:
            The stage, 0 .. stages - 1, int32 `[]`; and alpha, the fraction of it that has been
            faded in, float32 `[]` in [0, 1], always 1 in the first stage.
        """
        since = jnp.asarray(shown, jnp.int32) - self.stage_images  # since the first fade began
        period = self.fade_images + self.stage_images
        faded = jnp.clip(since // period, 0, max(self.stages - 2, 0))
        alpha = jnp.clip((since - faded * period) / self.fade_images, 0.0, 1.0)
        started = (since >= 0) & (self.stages > 1)
        stage = jnp.where(started, faded + 1, 0)
        return stage.astype(jnp.int32), jnp.where(started, alpha, 1.0).astype(jnp.float32)


@value
class ProgressiveGAN:
    """A GAN whose two networks grow during training.

    The stage depends on the number of images that training has used, which the generator's
    pass counts in the model's state, `shown`. So a resumed run continues at the same stage, for
    any number of devices or batch size. `sample(..., state=...)` draws from the
    model at the state's stage; without a state the model is fully grown.

    Make a player's own loss from the model's (`generator_loss.add(...)`): another forward pass
    would not count the images.

    Attributes:
        gan: The GAN, with networks that read their stage from the variable collection `growth`
            (`networks.ProgressiveGenerator` and `networks.ProgressiveDiscriminator`). The paper's
            game is `losses.wasserstein`.
        growth: Schedule of the stages; as many stages as the networks have.

    Raises:
        ValueError: The images cannot be halved S - 1 times, or a network has not S stages.

    References:
        Karras et al. 2018, Progressive Growing of GANs, arXiv:1710.10196.
    """

    gan: GAN
    growth: Growth

    def __post_init__(self) -> None:
        """Checks the images and the networks against the growth."""
        factor = 2 ** (self.growth.stages - 1)
        shape = self.spec.shape
        if len(shape) != 3 or shape[0] % factor or shape[1] % factor:
            raise ValueError(
                f"{self.spec.name} has examples of shape {shape}, which cannot be halved "
                f"{self.growth.stages - 1} times: give the growth fewer stages"
            )
        for name in _NETWORKS:
            channels = getattr(getattr(self.gan, name), "channels", None)
            if channels is not None and len(channels) != self.growth.stages:
                raise ValueError(
                    f"the growth has {self.growth.stages} stages, and the {name} has "
                    f"{len(channels)}: give it as many channels as there are stages"
                )

    @property
    def spec(self) -> DataSpec:
        """Description of one example."""
        return self.gan.spec

    @property
    def num_classes(self) -> int | None:
        """Number of labels to condition the networks on; None for none."""
        return self.gan.num_classes

    @property
    def loss(self) -> Loss:
        """The loss of the discriminator, which moves first."""
        return self.discriminator_loss

    @property
    def discriminator_loss(self) -> Loss:
        """The game's term, 10 times the gradient penalty, and 0.001 times the drift (app. A.1).

        The gradient is taken at full-sized images, so that the scale of the discriminator does not
        change with the stage.
        """
        loss = self.gan.discriminator_loss.add(
            gradient_penalty=losses.gradient_penalty, drift=losses.drift
        )
        loss = loss.weigh(gradient_penalty=10.0, drift=0.001)
        return dataclasses.replace(loss, forward=self.forward)

    @property
    def generator_loss(self) -> Loss:
        """The game's term for the generator; its pass counts the images."""
        return dataclasses.replace(self.gan.generator_loss, forward=self._counting)

    @property
    def players(self) -> Mapping[str, Player]:
        """The discriminator, then the generator."""
        own = {"discriminator": self.discriminator_loss, "generator": self.generator_loss}
        return {
            name: dataclasses.replace(player, loss=own[name])
            for name, player in self.gan.players.items()
        }

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Initialises the parameters of both networks at all stages, and the count of images.

        Raises:
            ValueError: The examples, or the generator's outputs, do not have `spec`'s shape.
        """
        params, state = self.gan.init(key, batch)
        return params, {**state, "shown": jnp.asarray(self.growth.start, jnp.int32)}

    def stage(self, state: State | None) -> tuple[Array, Array]:
        """The stage, int32 `[]`, and the fraction of it that has been faded in, float32 `[]`."""
        state = state or {}
        shown = state.get("shown", self.growth.images)
        return self.growth(shown)

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[GANOutputs, State]:
        """The GAN's pass at the stage of the state, on data at that stage's resolution."""
        stage, alpha = self.stage(state)
        x = jnp.asarray(batch["x"], jnp.float32)
        batch = {**batch, "x": at_stage(x, stage, alpha, self.growth.stages)}
        grown = self._with_growth(state)
        outputs, grown = self.gan.forward(params, batch, key, state=grown, train=train)
        return outputs, _without_growth(grown)

    def _counting(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[GANOutputs, State]:
        outputs, state = self.forward(params, batch, key, state=state, train=train)
        if train and "shown" in state:
            _, num = random.positions(len(batch["x"]))
            state = {**state, "shown": state["shown"] + num}
        return outputs, state

    @entry("num", "truncation")
    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        label: Array | int | None = None,
        truncation: float = 1.0,
        state: State | None = None,
    ) -> Array:
        """Draws `num` new examples `[num, *shape]`, in the data's units; see `GAN.sample`.

        A model that is not fully grown also returns full-size examples, with repeated pixels.
        """
        grown = self._with_growth(state or {})
        return self.gan.sample(params, key, num, label=label, truncation=truncation, state=grown)

    @entry()
    def generate(
        self, params: Params, z: Array, *, label: Array | None = None, state: State | None = None
    ) -> Array:
        """Turns noise `[B, latent_dim]` into examples `[B, *shape]`, in the data's units."""
        grown = self._with_growth(state or {})
        return self.gan.generate(params, z, label=label, state=grown)

    def discriminate(
        self, params: Params, x: Array, context: Array | None = None, *, state: State | None = None
    ) -> Array:
        """Computes the discriminator's logits `[B, 1]` of examples in [-1, 1] `[B, *shape]`."""
        grown = self._with_growth(state or {})
        return self.gan.discriminate(params, x, context, state=grown)

    def _with_growth(self, state: State) -> State:
        """Adds the stage, for the networks, to the state."""
        if "shown" not in state:
            return state
        stage, alpha = self.stage(state)
        growth = {GROWTH: {"stage": stage, "alpha": alpha}}
        return {**state, **{name: {**state.get(name, {}), **growth} for name in _NETWORKS}}


def _without_growth(state: State) -> State:
    """Removes the stage, which follows from the count of images, from the state."""
    kept = {}
    for name, part in state.items():
        if name in _NETWORKS:
            part = {kind: a for kind, a in part.items() if kind != GROWTH}
        if name not in _NETWORKS or part:
            kept[name] = part
    return kept


def at_stage(x: Array, stage: Array, alpha: Array, stages: int) -> Array:
    """Reduces images to a stage's resolution, keeping their full size.

    During a fade they are mixed with those of the stage before, as the generator's are:
    `(1 - alpha) halved + alpha x`.

    Args:
        x: Images `[B, H, W, C]`.
        stage: The stage, int32 `[]`.
        alpha: Fraction of the stage that has been faded in `[]`.
        stages: Number of stages; at the last one, images are returned as they are.

    References:
        Karras et al. 2018, arXiv:1710.10196, sec. 2: "we interpolate between two resolutions of the
        real images".
    """

    def of_size(factor: int) -> Array:
        return x if factor == 1 else upsample_nearest(average_pool(x, factor), factor)

    def branch(s: int) -> Array:
        image = of_size(2 ** (stages - 1 - s))
        if s == 0:
            return image
        old = of_size(2 ** (stages - s))
        return old + alpha * (image - old)

    return jax.lax.switch(stage, [lambda s=s: branch(s) for s in range(stages)])
