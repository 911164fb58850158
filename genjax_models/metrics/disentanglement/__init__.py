"""How well codes tell the factors of variation apart, where the factors are known."""

from genjax_models.metrics.disentanglement.dci import DCI, dci, dci_of_importances
from genjax_models.metrics.disentanglement.factor_vae import factor_vae_score, grouped
from genjax_models.metrics.disentanglement.mig import mig, mutual_information
from genjax_models.metrics.disentanglement.probe import linear_probe
from genjax_models.metrics.disentanglement.sap import sap

__all__ = [
    "DCI",
    "dci",
    "dci_of_importances",
    "factor_vae_score",
    "grouped",
    "linear_probe",
    "mig",
    "mutual_information",
    "sap",
]
