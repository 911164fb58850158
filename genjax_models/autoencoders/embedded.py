"""A VQ-VAE's codes as the vectors that they stand for."""

from __future__ import annotations

import dataclasses

from genjax_models.autoencoders import codebook
from genjax_models.autoencoders.vqvae import VQVAE
from genjax_models.core.entry import entry
from genjax_models.core.types import Array, Batch, DataSpec, Key, Params, State


@dataclasses.dataclass(frozen=True)
class EmbeddedCodes:
    """A VQ-VAE whose codes are real-valued: the codebook's vectors, for a diffusion to model.

    Attributes:
        vqvae: The VQ-VAE.
    """

    vqvae: VQVAE

    @property
    def spec(self) -> DataSpec:
        """What one example is."""
        return self.vqvae.spec

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters and a fresh codebook."""
        return self.vqvae.init(key, batch)

    @entry()
    def encode(self, params: Params, x: Array, *, state: State | None = None) -> Array:
        """The vectors of each example's codes `[B, ..., d]`."""
        codes = self.vqvae.encode(params, x, state=state)
        return (state or {})["codebook"]["embedding"][codes]

    @entry()
    def decode(self, params: Params, z: Array, *, state: State | None = None) -> Array:
        """The example of the codes whose vectors are nearest to z `[B, ..., d]`."""
        codes = codebook.nearest((state or {})["codebook"], z)
        return self.vqvae.decode(params, codes, state=state)
