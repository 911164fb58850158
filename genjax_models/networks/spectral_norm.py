"""Spectral normalisation of a whole network."""

from __future__ import annotations

from flax import linen as nn

from genjax_models.core.types import Array


class SpectralNormalized(nn.Module):
    """A network whose every kernel is divided by its largest singular value.

    Kernels count as matrices of as many columns as they have outputs. The singular value is
    estimated by one step of power iteration a pass; what the next pass goes on from is kept in the
    collection "spectral", which training moves.

    Attributes:
        network: Called as this is.
        iterations: Steps of power iteration a pass.

    References:
        Miyato et al. 2018, Spectral Normalization for Generative Adversarial Networks,
        arXiv:1802.05957, eq. 8 and alg. 1.
    """

    network: nn.Module
    iterations: int = 1

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """What the network gives."""
        norm = nn.SpectralNorm(self.network, self.iterations, collection_name="spectral")
        moved = train and not self.is_initializing()
        return norm(x, context, train=train, update_stats=moved)
