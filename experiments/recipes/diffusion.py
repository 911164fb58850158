"""Diffusion and flow matching: images with labels, super-resolution, few steps, points."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from experiments.recipes.autoencoders import DTYPES, DtypeName, VAESettings, vae_setup
from experiments.recipes.autoregressive import MNIST
from experiments.runner import needs
from experiments.runner.config import (
    Config,
    Evaluation,
    Fraction,
    Optimizer,
    PositiveFloat,
    PositiveInt,
    SamplerName,
)
from experiments.runner.datasets import load_splits
from experiments.runner.experiment import Goal, Setup, every_label, experiment
from genjax_models import diffusion, networks
from genjax_models.core import DataSpec, Loss
from genjax_models.core.preprocess import to_unit_range
from genjax_models.diffusion import (
    flow_matching,
    losses,
    ode,
    samplers,
    schedules,
)

ScheduleName = Literal["linear", "cosine", "edm", "rectified"]
SCHEDULES: Mapping[ScheduleName, schedules.Schedule] = {
    "linear": schedules.LinearBeta(),
    "cosine": schedules.Cosine(),
    "edm": schedules.EDM(),
    "rectified": schedules.RectifiedFlow(),
}
PredictionName = Literal["noise", "data", "velocity", "flow", "edm"]
PREDICTIONS: Mapping[PredictionName, schedules.Prediction] = {
    "noise": diffusion.NoisePrediction(),
    "data": diffusion.DataPrediction(),
    "velocity": diffusion.VelocityPrediction(),
    "flow": diffusion.FlowPrediction(),
    "edm": diffusion.EDMPrediction(),
}
SAMPLERS: Mapping[SamplerName, samplers.Sampler] = {
    "ancestral": samplers.ancestral,
    "ddim": samplers.ddim,
    "euler": samplers.euler,
    "heun": samplers.heun,
    "dpm_solver_2m": samplers.dpm_solver_2m,
    "dpm_solver_2s": samplers.dpm_solver_2s,
    "predictor_corrector": samplers.predictor_corrector,
    "adaptive": ode.adaptive,
    "multistep_consistency": diffusion.multistep_consistency,
}
CouplingName = Literal["independent", "optimal_transport"]
COUPLINGS: Mapping[CouplingName, flow_matching.Coupling] = {
    "independent": flow_matching.independent,
    "optimal_transport": flow_matching.minibatch_optimal_transport,
}
LossName = Literal["simple", "vlb", "min_snr"]
LOSSES: Mapping[LossName, Callable[[diffusion.Diffusion], Loss]] = {
    "simple": lambda model: model.loss,
    "vlb": lambda model: Loss(model.forward, {"vlb": losses.vlb}),
    "min_snr": lambda model: Loss(model.forward, {"min_snr": losses.Weighted(losses.MinSNR())}),
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
    """Noise schedule."""
    prediction: PredictionName = "velocity"
    """The network's prediction."""
    loss: LossName = "simple"
    """Weights of noise levels: the prediction's own, those of the bound of -log p, or min-SNR."""
    conditional: bool = True
    """Condition the network on the label, if the data have labels."""
    drop_label: Fraction = 0.1
    """Probability that training drops the label."""
    max_log_snr: PositiveFloat = 13.3
    """The log-SNR where the bound's z_0 lies."""
    sampler: SamplerName = "dpm_solver_2m"
    """Sampler of the run's samples."""
    sampling_steps: PositiveInt = 25
    """Steps of the sampler."""
    guidance: PositiveFloat | None = 1.0
    """Weight of classifier-free guidance; 1 is none, and None is 2 where the network is given the
    label, else none."""
    dtype: DtypeName = "float32"
    """Number type of the network's computations."""

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


def guidance_of(settings: UNetSettings, num_classes: int | None) -> float:
    """The weight of guidance, of a model with or without labels."""
    if settings.guidance is None:
        return 1.0 if num_classes is None else 2.0
    return settings.guidance


def sampling(settings: UNetSettings, num_classes: int | None) -> dict[str, Any]:
    """Arguments of `Diffusion.sample` for its samples."""
    return {
        "sampler": SAMPLERS[settings.sampler],
        "timesteps": samplers.linear_timesteps(settings.sampling_steps),
        "guidance": guidance_of(settings, num_classes),
    }


def _ddpm(settings: UNetSettings, spec: DataSpec, *measures: Any) -> Setup:
    model = image_diffusion(settings, spec)
    return Setup(
        model,
        {"diffusion": LOSSES[settings.loss](model)},
        condition=every_label(model.num_classes),
        sampling=sampling(settings, model.num_classes),
        measures=measures,
    )


UNET_OPTIMIZER = Optimizer(
    learning_rate=5e-4, schedule="cosine", warmup_steps=200, gradient_clip=1.0
)


@experiment(
    Config(
        UNetSettings(guidance=None, max_log_snr=7.0),
        steps=6000,
        batch_size=64,
        optimizer=UNET_OPTIMIZER,
        evaluation=Evaluation(num_samples=100),
    ),
    Goal("bits_per_dim", at_most=2.25, unit="bits an entry"),
    needs=(needs.IMAGES, needs.labels_for_guidance()),
)
def ddpm(config: Config[UNetSettings], spec: DataSpec) -> Setup:
    """A diffusion of images with a U-Net, guided by labels."""
    from experiments.measures.images import distance_by_a_classifier

    return _ddpm(config.model, spec, distance_by_a_classifier)


@experiment(
    Config(
        UNetSettings(channels=32, multipliers=(1, 2, 4), conditional=False, dropout=0.0),
        **MNIST,
        steps=100_000,
        batch_size=64,
        optimizer=UNET_OPTIMIZER,
        evaluation=Evaluation(num_samples=20, every=1000, split="test"),
    ),
    needs=(needs.IMAGES, needs.labels_for_guidance()),
)
def ddpm_mnist(config: Config[UNetSettings], spec: DataSpec) -> Setup:
    """A diffusion of MNIST with a U-Net of 3.4 million parameters."""
    return _ddpm(config.model, spec)


@dataclasses.dataclass(frozen=True)
class SuperResolutionSettings(UNetSettings):
    """A U-Net that is shown a small image at the full size."""

    factor: PositiveInt = 2
    """Factor by which the known image is smaller."""


@experiment(
    Config(
        SuperResolutionSettings(conditional=False, drop_label=0.0),
        steps=3000,
        batch_size=64,
        optimizer=UNET_OPTIMIZER,
        evaluation=Evaluation(num_samples=20),
    ),
    needs=(needs.IMAGES, needs.LEVELS, needs.labels_for_guidance()),
)
def super_resolution(config: Config[SuperResolutionSettings], spec: DataSpec) -> Setup:
    """SR3: a diffusion of images that is shown them at a lower resolution."""
    from experiments.measures.images import restored

    settings = config.model
    condition_fn = diffusion.LowResolution(settings.factor)
    model = image_diffusion(settings, spec, condition_fn=condition_fn)

    def condition(num: int) -> Mapping[str, Any]:
        data = load_splits(config).test
        x = data.rows(np.arange(num) % len(data))["x"]
        return {"condition": condition_fn(to_unit_range(jnp.asarray(x), spec))}

    return Setup(
        model,
        {"diffusion": LOSSES[settings.loss](model)},
        condition=condition,
        sampling=sampling(settings, model.num_classes),
        measures=(restored,),
    )


@dataclasses.dataclass(frozen=True)
class DistillationSettings(UNetSettings):
    """The teacher's settings, and how the student learns from it."""

    intervals: PositiveInt = 40
    """Steps in which the teacher goes from noise to data."""
    student_steps: PositiveInt = 2
    """Steps of the student's samples."""


@experiment(
    Config(
        DistillationSettings(guidance=None),
        steps=4000,
        batch_size=64,
        optimizer=dataclasses.replace(UNET_OPTIMIZER, learning_rate=2e-4),
        evaluation=Evaluation(num_samples=20),
    ),
    needs=(needs.IMAGES, needs.labels_for_guidance()),
)
def consistency(config: Config[DistillationSettings], spec: DataSpec) -> Setup:
    """A trained diffusion, `--initial RUN` of ddpm, distilled to few steps."""
    from experiments.measures.images import distance_by_a_classifier

    settings = config.model
    teacher = image_diffusion(settings, spec)
    weight = guidance_of(settings, teacher.num_classes)
    model = diffusion.Consistency(teacher, settings.intervals, guidance=weight)

    def start(fresh: Any, trained: Any, batch: Any) -> Any:
        return trained[0], model.with_teacher(fresh[1], trained[0])

    return Setup(
        model,
        condition=every_label(model.num_classes),
        sampling={"timesteps": samplers.linear_timesteps(settings.student_steps)},
        measures=(distance_by_a_classifier,),
        start=start,
    )


@dataclasses.dataclass(frozen=True)
class LatentSettings:
    """A diffusion of the codes of a VAE, which comes from a run of `vae`."""

    first_stage: VAESettings = VAESettings()
    """The VAE, as its run has it."""
    width: PositiveInt = 256
    """Size of the hidden vectors."""
    blocks: PositiveInt = 3
    """Residual blocks."""
    sampling_steps: PositiveInt = 25
    """Steps of the samples."""


@experiment(
    Config(
        LatentSettings(),
        steps=6000,
        optimizer=UNET_OPTIMIZER,
    ),
    needs=(needs.LEVELS,),
)
def latent_diffusion(config: Config[LatentSettings], spec: DataSpec) -> Setup:
    """A diffusion of a VAE's codes, guided by nothing; `--initial RUN` of vae."""
    from experiments.measures.images import distance_by_a_classifier

    settings, classes = config.model, spec.num_classes
    first_stage: Any = vae_setup(settings.first_stage, spec).model
    dims = settings.first_stage.latent_dim
    codes = diffusion.Diffusion(
        networks.DenoisingMLP(dims, width=settings.width, blocks=settings.blocks),
        spec=DataSpec((dims,), num_levels=None, name="codes"),
        num_classes=classes,
        drop_label=0.0 if classes is None else 0.1,
    )
    model = diffusion.LatentDiffusion(codes, first_stage)

    def start(fresh: Any, before: Any, batch: Any) -> Any:
        return fresh[0], model.with_first_stage(fresh[1], before[0], before[1], batch["x"])

    timesteps = samplers.linear_timesteps(settings.sampling_steps)
    return Setup(
        model,
        condition=every_label(classes),
        sampling={"sampler": samplers.dpm_solver_2m, "timesteps": timesteps},
        measures=(distance_by_a_classifier,),
        start=start,
    )


@dataclasses.dataclass(frozen=True)
class PointsSettings:
    """A residual network of points."""

    width: PositiveInt = 128
    """Size of the hidden vectors."""
    blocks: PositiveInt = 3
    """Residual blocks."""
    coupling: CouplingName = "independent"
    """Pairing of noise and points; of flow matching alone."""
    sampling_steps: PositiveInt = 50
    """Steps of the samples."""


POINTS: Mapping[str, Any] = {
    "dataset": "ring",
    "steps": 10_000,
    "batch_size": 512,
    "log_every": 500,
    "optimizer": Optimizer(learning_rate=2e-3, schedule="cosine"),
    "evaluation": Evaluation(every=1000, examples=10_000, batch_size=1000, num_samples=20),
}
MODES_GOAL = Goal(
    "within_3_sigma",
    at_least=99.0,
    unit="%",
    also=(Goal("mode_difference", at_most=20.0, unit="% of a mode's weight"),),
)
"""A model that draws one mode alone keeps within it, and so does one that leaves some out."""


@experiment(
    Config(PointsSettings(), **POINTS),
    MODES_GOAL,
    needs=(needs.POINTS,),
)
def diffusion_points(config: Config[PointsSettings], spec: DataSpec) -> Setup:
    """A diffusion on a density in the plane whose modes are known."""
    from experiments.measures.modes import distance_of_points, modes_of_points

    settings = config.model
    model = diffusion.Diffusion(
        networks.DenoisingMLP(spec.shape[-1], width=settings.width, blocks=settings.blocks),
        spec=spec,
    )
    heun = {
        "sampler": samplers.heun,
        "timesteps": samplers.linear_timesteps(settings.sampling_steps),
    }
    return Setup(model, sampling=heun, measures=(modes_of_points, distance_of_points))


@experiment(
    Config(PointsSettings(), **POINTS),
    MODES_GOAL,
    needs=(needs.POINTS,),
)
def flow_matching_points(config: Config[PointsSettings], spec: DataSpec) -> Setup:
    """Flow matching on a density in the plane whose modes are known."""
    from experiments.measures.modes import distance_of_points, modes_of_points

    settings = config.model
    model = diffusion.FlowMatching(
        networks.DenoisingMLP(spec.shape[-1], width=settings.width, blocks=settings.blocks),
        spec,
        COUPLINGS[settings.coupling],
    )
    heun = {
        "sampler": samplers.heun,
        "timesteps": samplers.linear_timesteps(settings.sampling_steps),
    }
    return Setup(model, sampling=heun, measures=(modes_of_points, distance_of_points))
