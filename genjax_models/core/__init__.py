"""What every family stands on: types, Protocols, losses, players, distributions."""

from genjax_models.core import interpolation, likelihoods, preprocess, random
from genjax_models.core.beta_binomial import BetaBinomial
from genjax_models.core.discretized import DiscretizedLogistic, DiscretizedLogisticMixture
from genjax_models.core.distributions import (
    Bernoulli,
    Binomial,
    Categorical,
    Distribution,
    Normal,
    standard_normal,
)
from genjax_models.core.interpolation import interpolate, slerp, traverse
from genjax_models.core.likelihoods import Likelihood
from genjax_models.core.loss import Forward, Loss, Player, Term
from genjax_models.core.preprocess import Preprocess
from genjax_models.core.protocols import (
    ApproximateDensity,
    HasLikelihoodInfo,
    LikelihoodInfo,
    Model,
    Representation,
    TractableDensity,
    UnnormalizedDensity,
)
from genjax_models.core.types import DIGITS, Array, Aux, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import partial

__all__ = [
    "DIGITS",
    "ApproximateDensity",
    "Array",
    "Aux",
    "Batch",
    "Bernoulli",
    "BetaBinomial",
    "Binomial",
    "Categorical",
    "DataSpec",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "Distribution",
    "Forward",
    "HasLikelihoodInfo",
    "LikelihoodInfo",
    "Key",
    "Likelihood",
    "Loss",
    "Model",
    "Normal",
    "Params",
    "Player",
    "Preprocess",
    "Representation",
    "State",
    "Term",
    "TractableDensity",
    "UnnormalizedDensity",
    "interpolate",
    "interpolation",
    "likelihoods",
    "partial",
    "preprocess",
    "random",
    "slerp",
    "standard_normal",
    "traverse",
]
