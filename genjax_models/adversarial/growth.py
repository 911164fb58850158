"""How far a model that grows has grown: a function of how many images it has been shown."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from genjax_models.core.types import Array


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
