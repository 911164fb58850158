"""Settings of diffusion experiments: names for schedules, predictions, samplers, and a U-Net's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

from experiments.recipes.autoencoders import DTYPES, DtypeName
from experiments.runner.config import Fraction, PositiveFloat, PositiveInt
from genjax_models import diffusion, networks
from genjax_models.core import DataSpec, Loss
from genjax_models.diffusion import (
    couplings,
    grids,
    losses,
    predictions,
    samplers,
    schedules,
    solvers,
)

ScheduleName = Literal["linear", "cosine", "edm", "rectified"]
SCHEDULES: Mapping[ScheduleName, schedules.Schedule] = {
    "linear": schedules.LinearBeta(),
    "cosine": schedules.Cosine(),
    "edm": schedules.EDM(),
    "rectified": schedules.RectifiedFlow(),
}
PredictionName = Literal["noise", "data", "velocity", "flow", "edm"]
PREDICTIONS: Mapping[PredictionName, predictions.Prediction] = {
    "noise": predictions.noise,
    "data": predictions.data,
    "velocity": predictions.velocity,
    "flow": predictions.flow,
    "edm": predictions.edm(),
}
SamplerName = Literal["ancestral", "ddim", "euler", "heun", "dpm_solver_2m", "dpm_solver_2s"]
SAMPLERS: Mapping[SamplerName, samplers.Sampler] = {
    "ancestral": samplers.ancestral,
    "ddim": samplers.ddim,
    "euler": samplers.euler,
    "heun": samplers.heun,
    "dpm_solver_2m": solvers.dpm_solver_2m,
    "dpm_solver_2s": solvers.dpm_solver_2s,
}
CouplingName = Literal["independent", "optimal_transport"]
COUPLINGS: Mapping[CouplingName, couplings.Coupling] = {
    "independent": couplings.independent,
    "optimal_transport": couplings.minibatch_optimal_transport,
}
LossName = Literal["simple", "vlb", "min_snr"]
LOSSES: Mapping[LossName, Callable[[diffusion.Diffusion], Loss]] = {
    "simple": lambda model: model.loss,
    "vlb": lambda model: Loss(model.forward, {"vlb": losses.vlb}),
    "min_snr": lambda model: Loss(model.forward, {"min_snr": losses.weighted(losses.min_snr())}),
}


@dataclasses.dataclass(frozen=True)
class UNetSettings:
    """A U-Net, what it learns, and how it is sampled."""

    channels: PositiveInt = 32
    """Channels of the first level."""
    multipliers: tuple[PositiveInt, ...] = (1, 2)
    """Of the channels, level by level; each level halves the image."""
    blocks: PositiveInt = 2
    """Residual blocks of each level, each way."""
    dropout: Fraction = 0.1
    """Probability with which a hidden unit is left out of a step."""
    schedule: ScheduleName = "cosine"
    """How noise grows with time."""
    prediction: PredictionName = "velocity"
    """What the network predicts."""
    loss: LossName = "simple"
    """How noise levels are weighed: as the prediction does, by the bound of -log p, by min-SNR."""
    conditional: bool = True
    """Whether the network is given the label, if the data have labels."""
    drop_label: Fraction = 0.1
    """How often it is not, in training."""
    max_log_snr: PositiveFloat = 13.3
    """The log-SNR where the bound's z_0 lies."""
    sampler: SamplerName = "dpm_solver_2m"
    """How samples are drawn."""
    sampling_steps: PositiveInt = 25
    """In how many steps."""
    guidance: PositiveFloat = 1.0
    """Weight of classifier-free guidance; 1 is none."""
    dtype: DtypeName = "float32"
    """What the network computes in."""

    def unet(self, out: int) -> networks.UNet:
        """The network, with attention at the lowest resolution."""
        attention = tuple(i == len(self.multipliers) - 1 for i in range(len(self.multipliers)))
        return networks.UNet(
            channels=self.channels,
            out=out,
            multipliers=self.multipliers,
            blocks=self.blocks,
            attention=attention,
            dropout=self.dropout,
            dtype=DTYPES[self.dtype],
        )


def image_diffusion(settings: UNetSettings, spec: DataSpec, **kwargs: Any) -> diffusion.Diffusion:
    """The model of these settings, for such data."""
    classes = spec.num_classes if settings.conditional else None
    return diffusion.Diffusion(
        settings.unet(spec.shape[-1]),
        SCHEDULES[settings.schedule],
        PREDICTIONS[settings.prediction],
        spec,
        num_classes=classes,
        drop_label=0.0 if classes is None else settings.drop_label,
        max_log_snr=settings.max_log_snr,
        **kwargs,
    )


def sampling(settings: UNetSettings) -> dict[str, Any]:
    """How its samples are drawn: arguments of `Diffusion.sample`."""
    return {
        "sampler": SAMPLERS[settings.sampler],
        "times": grids.linear(settings.sampling_steps),
        "guidance": settings.guidance,
    }
