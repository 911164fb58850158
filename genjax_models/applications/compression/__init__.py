"""Lossless compression by a model: about -log2 p(x) bits an example, in a file that is checked.

Autoregressive models code entry after entry (`sequential`), latent variable models by bits-back
coding (`bits_back`). Flows are refused: their exact densities are of real numbers, and an exact
code through one (local bits-back coding, Ho et al. 2019, arXiv:1905.08500) needs float64 inverses
that agree to the last bit.
"""

from genjax_models.applications.compression.bits_back import LatentVariableDensity
from genjax_models.applications.compression.coder import (
    SUFFIX,
    Header,
    as_modelled,
    compress,
    decompress,
    fingerprint,
    read,
)
from genjax_models.applications.compression.sequential import SequentialDensity

__all__ = [
    "SUFFIX",
    "Header",
    "LatentVariableDensity",
    "SequentialDensity",
    "as_modelled",
    "compress",
    "decompress",
    "fingerprint",
    "read",
]
