"""Progressive growing: a GAN that learns small images first, and larger ones bit by bit."""

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
from genjax_models.networks.conv import averaged, repeated
from genjax_models.networks.progressive import GROWTH

_NETWORKS = ("generator", "discriminator")


@dataclasses.dataclass(frozen=True)
class Growth:
    """Stages that are trained in turn, each but the first after it has been faded in.

    The first stage is shown `stage_images`; every further one `fade_images`, while alpha rises from
    0 to 1 in a line, and then `stage_images`. The last stage stays.

    Attributes:
        stages: Number of stages, S.
        stage_images: Images that a stage is shown when it is all there; 800,000 in the paper.
        fade_images: Images that it is shown while it is faded in; as many in the paper.
        start: Images that count as shown when training starts: 0, or what skips the first stages.

    Raises:
        ValueError: No stages, or numbers of images that cannot be.

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
            raise ValueError(f"stages is {self.stages}: a model that grows has at least 1")
        for name, least in (("stage_images", 0), ("fade_images", 1), ("start", 0)):
            if (value := getattr(self, name)) < least:
                raise ValueError(f"{name} is {value}: give at least {least}")

    @property
    def images(self) -> int:
        """Images after which the last stage is all there; what is shown beyond them is its own."""
        return (self.stages - 1) * (self.stage_images + self.fade_images)

    def __call__(self, shown: Array | int) -> tuple[Array, Array]:
        """How far the model has grown.

        Args:
            shown: Number of images shown, int32 `[]`.

        Returns:
            The stage, 0 .. stages - 1, int32 `[]`; and alpha, how much of it is there, float32 `[]`
            in [0, 1]. alpha is 1 in the first stage, which has none before it.
        """
        since = jnp.asarray(shown, jnp.int32) - self.stage_images  # since the first fade began
        period = self.fade_images + self.stage_images
        faded = jnp.clip(since // period, 0, max(self.stages - 2, 0))
        alpha = jnp.clip((since - faded * period) / self.fade_images, 0.0, 1.0)
        started = (since >= 0) & (self.stages > 1)
        stage = jnp.where(started, faded + 1, 0)
        return stage.astype(jnp.int32), jnp.where(started, alpha, 1.0).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class ProgressiveGAN:
    """A GAN whose two networks grow while they learn.

    The growth is a function of how many images training has shown, which the generator's pass
    counts in the model's state, `shown`: a run that is resumed, on however many devices and in
    whatever parts its batches are passed, goes on where it was, and `sample(..., state=...)` draws
    from a model as far as it has grown. Without a state the model is fully grown.

    A player's loss of one's own is made from the model's, `generator_loss.add(...)`: another's
    forward pass would not count.

    Attributes:
        gan: The game, played by networks that read how far they have grown from the collection
            `growth` (`networks.ProgressiveGenerator` and `networks.ProgressiveDiscriminator`).
            The paper's game is `losses.wasserstein`.
        growth: When each stage comes; as many stages as the networks have.

    Raises:
        ValueError: Images that cannot be halved so often.

    References:
        Karras et al. 2018, Progressive Growing of GANs, arXiv:1710.10196.
    """

    gan: GAN
    growth: Growth

    def __post_init__(self) -> None:
        """Checks that the images can be halved."""
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
        """What one example is."""
        return self.gan.spec

    @property
    def num_classes(self) -> int | None:
        """Number of labels that the networks are conditioned on; None for none."""
        return self.gan.num_classes

    @property
    def loss(self) -> Loss:
        """The discriminator's loss, who moves first."""
        return self.discriminator_loss

    @property
    def discriminator_loss(self) -> Loss:
        """The game's term, 10 times the gradient penalty and a drift of 0.001 (app. A.1).

        Slopes are those at full-sized images, so that the discriminator's scale does not change
        while it grows.
        """
        loss = self.gan.discriminator_loss.add(
            gradient_penalty=losses.gradient_penalty, drift=losses.drift
        )
        loss = loss.weigh(gradient_penalty=10.0, drift=0.001)
        return dataclasses.replace(loss, forward=self.forward)

    @property
    def generator_loss(self) -> Loss:
        """The game's term; its pass counts the images."""
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
        """Fresh parameters of both networks at all stages, and the count of images.

        Raises:
            ValueError: Examples of another shape than `spec`'s, or a generator that gives some.
        """
        params, state = self.gan.init(key, batch)
        return params, {**state, "shown": jnp.asarray(self.growth.start, jnp.int32)}

    def stage(self, state: State | None) -> tuple[Array, Array]:
        """The stage, int32 `[]`, and how much of it has been faded in, float32 `[]`."""
        state = state or {}
        shown = state.get("shown", self.growth.images)
        return self.growth(shown)

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[GANOutputs, State]:
        """The game at the stage of the state; data are shown at that stage's size."""
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
        """`num` new examples `[num, *shape]` in the data's units; see `GAN.sample`.

        Those of a model that is not fully grown have the full size too, of repeated pixels.
        """
        grown = self._with_growth(state or {})
        return self.gan.sample(params, key, num, label=label, truncation=truncation, state=grown)

    @entry()
    def decode_noise(
        self, params: Params, z: Array, *, label: Array | None = None, state: State | None = None
    ) -> Array:
        """What the generator makes of noise `[B, latent_dim]`, in the data's units."""
        grown = self._with_growth(state or {})
        return self.gan.decode_noise(params, z, label=label, state=grown)

    def discriminate(
        self, params: Params, x: Array, context: Array | None = None, *, state: State | None = None
    ) -> Array:
        """The discriminator's logits `[B, 1]` of examples in [-1, 1] `[B, *shape]`."""
        grown = self._with_growth(state or {})
        return self.gan.discriminate(params, x, context, state=grown)

    def _with_growth(self, state: State) -> State:
        """The state as the networks see it, who are told how far they have grown."""
        if "shown" not in state:
            return state
        stage, alpha = self.stage(state)
        growth = {GROWTH: {"stage": stage, "alpha": alpha}}
        return {**state, **{name: {**state.get(name, {}), **growth} for name in _NETWORKS}}


def _without_growth(state: State) -> State:
    """The state without what follows from the count of images."""
    kept = {}
    for name, value in state.items():
        if name in _NETWORKS:
            value = {kind: a for kind, a in value.items() if kind != GROWTH}
        if name not in _NETWORKS or value:
            kept[name] = value
    return kept


def at_stage(x: Array, stage: Array, alpha: Array, stages: int) -> Array:
    """Images as a model of that stage may know them: of as many pixels, at the full size.

    While a stage is faded in, they are mixed with those of the stage before, as the generator's
    are: `(1 - alpha) halved + alpha x`.

    Args:
        x: Images `[B, H, W, C]`.
        stage: The stage, int32 `[]`.
        alpha: How much of it has been faded in `[]`.
        stages: Number of stages; at the last one, images are as they are.

    References:
        Karras et al. 2018, arXiv:1710.10196, sec. 2: "we interpolate between two resolutions of the
        real images".
    """

    def of_size(factor: int) -> Array:
        return x if factor == 1 else repeated(averaged(x, factor), factor)

    def branch(s: int) -> Array:
        image = of_size(2 ** (stages - 1 - s))
        if s == 0:
            return image
        old = of_size(2 ** (stages - s))
        return old + alpha * (image - old)

    return jax.lax.switch(stage, [lambda s=s: branch(s) for s in range(stages)])
