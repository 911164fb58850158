"""Energy-based models: densities in the plane, digits, and digits with their labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from experiments.runner import needs
from experiments.runner.config import (
    Config,
    Evaluation,
    Fraction,
    NonNegativeInt,
    Optimizer,
    PositiveFloat,
    PositiveInt,
)
from experiments.runner.experiment import Goal, Setup, every_label, experiment
from genjax_models import energy, networks
from genjax_models.core import DataSpec, Loss
from genjax_models.training.hooks import Hook, Report, stop_when

KernelName = Literal["langevin", "mala"]
KERNELS: Mapping[KernelName, Callable[[float], energy.Kernel]] = {
    "langevin": energy.Langevin,
    "mala": energy.MALA,
}
TrainingName = Literal["noise_contrastive", "contrastive_divergence", "denoising", "sliced"]
TRAININGS: Mapping[TrainingName, Callable[[energy.EnergyModel, PointsSettings], Loss]] = {
    "noise_contrastive": lambda model, settings: model.noise_contrastive_loss(settings.nu),
    "contrastive_divergence": lambda model, settings: model.loss,
    "denoising": lambda model, settings: model.denoising_loss(settings.sigma),
    "sliced": lambda model, settings: model.sliced_loss(),
}


@dataclasses.dataclass(frozen=True)
class ChainSettings:
    """The reference, and the chains of training and of samples."""

    reference: PositiveFloat = 1.0
    """Standard deviation of the Gaussian that the network tilts."""
    kernel: KernelName = "langevin"
    """One step of a chain."""
    step_size: PositiveFloat = 5e-4
    """Its step size."""
    chain_steps: PositiveInt = 30
    """Steps of the chains in each step of training."""
    buffer: NonNegativeInt = 6400
    """Chains that are kept, a multiple of the batch; 0 starts all anew."""
    fresh: Fraction = 0.05
    """Probability that one of them starts anew."""
    sampling_steps: PositiveInt = 2000
    """Steps of the samples' chains."""

    @property
    def replay(self) -> energy.Replay:
        """Chains, and their buffer, that draw training's samples."""
        kernel = KERNELS[self.kernel](self.step_size)
        return energy.Replay(kernel, self.chain_steps, self.buffer, self.fresh)


def stops_when_energies_diverge(player: str) -> Callable[[Sequence[Report]], Hook]:
    """Stops a run whose energies have run away: far above all that learning goes through."""
    metric, mend = f"{player}/energy_magnitude", "lower the learning rate or the chains' step size"
    return lambda reports: stop_when(metric, above=1e9, mend=mend)


@dataclasses.dataclass(frozen=True)
class PointsSettings(ChainSettings):
    """An MLP of points, and what it is trained by."""

    training: TrainingName = "noise_contrastive"
    """Method of training."""
    nu: PositiveInt = 1
    """Points of noise a datum, of noise-contrastive estimation."""
    sigma: PositiveFloat = 0.03
    """The noise of denoising score matching."""
    width: PositiveInt = 128
    """Size of each hidden layer."""
    layers: PositiveInt = 3
    """Hidden layers."""
    betas: PositiveInt = 300
    """Steps from the reference to the model in which its log Z is found."""
    annealed_chains: PositiveInt = 4000
    """Chains that take them."""


@experiment(
    Config(
        PointsSettings(
            reference=1.5, kernel="mala", step_size=5e-3, buffer=12_800, sampling_steps=300
        ),
        dataset="ring",
        steps=4000,
        batch_size=512,
        log_every=500,
        optimizer=Optimizer(learning_rate=2e-3, schedule="cosine"),
        evaluation=Evaluation(every=1000, examples=10_000, batch_size=1000),
    ),
    Goal("kl_to_truth", at_most=0.05, unit="nats"),
    needs=(needs.POINTS,),
)
def energy_points(config: Config[PointsSettings], spec: DataSpec) -> Setup:
    """An energy-based model of a density in the plane, its log Z by annealing."""
    from experiments.measures.energy import kl_by_annealing
    from experiments.measures.modes import distance_of_points, modes_of_points

    settings = config.model
    model = energy.EnergyModel(
        networks.MLP((settings.width,) * settings.layers + (1,)),
        spec,
        energy.Gaussian(settings.reference),
        settings.replay,
    )
    return Setup(
        model,
        {"energy": TRAININGS[settings.training](model, settings)},
        sampling={"steps": settings.sampling_steps},
        measures=(
            kl_by_annealing(settings.betas, settings.annealed_chains),
            modes_of_points,
            distance_of_points,
        ),
    )


@dataclasses.dataclass(frozen=True)
class DigitsSettings(ChainSettings):
    """An MLP of images."""

    width: PositiveInt = 256
    """Size of each hidden layer."""
    layers: PositiveInt = 3
    """Hidden layers."""
    magnitude: PositiveFloat = 1e-4
    """Weight of the term that keeps energies near 0."""
    betas: PositiveInt = 2000
    """Steps from the reference to the model in which its log Z is found."""
    annealed_chains: PositiveInt = 500
    """Chains that take them."""

    def mlp(self, outputs: int) -> networks.MLP:
        """The network."""
        return networks.MLP((self.width,) * self.layers + (outputs,))


DIGITS_OPTIMIZER = Optimizer(
    learning_rate=1e-3, schedule="cosine", gradient_clip=1.0, b1=0.0, warmup_steps=100
)
"""Without momentum: the samples answer each step of the energy, and it would overshoot."""


@experiment(
    Config(
        DigitsSettings(),
        steps=4000,
        batch_size=64,
        optimizer=DIGITS_OPTIMIZER,
    ),
    # An energy that tells sets apart may still have samples that are like none of them.
    Goal("auroc_omniglot", at_least=0.95, also=(Goal("frechet_distance", at_most=150.0),)),
    needs=(needs.IMAGES, needs.LEVELS),
)
def energy_digits(config: Config[DigitsSettings], spec: DataSpec) -> Setup:
    """An energy-based model of digits, by persistent chains."""
    from experiments.measures.energy import likelihood_by_annealing, out_of_distribution
    from experiments.measures.images import distance_by_a_classifier

    settings = config.model
    model = energy.EnergyModel(
        settings.mlp(1), spec, energy.Gaussian(settings.reference), settings.replay
    )
    return Setup(
        model,
        {"energy": model.loss.weigh(energy_magnitude=settings.magnitude)},
        sampling={"steps": settings.sampling_steps},
        measures=(
            distance_by_a_classifier,
            out_of_distribution("omniglot", "mnist", "shapes2d"),
            likelihood_by_annealing(settings.betas, settings.annealed_chains),
        ),
        hooks=(stops_when_energies_diverge("energy"),),
    )


@dataclasses.dataclass(frozen=True)
class JointSettings(DigitsSettings):
    """An MLP of images that is a classifier too."""

    classification: PositiveFloat = 10.0
    """Weight of -log p(y | x), whose gradient is small beside that of -log p(x)."""


@experiment(
    Config(
        JointSettings(),
        steps=4000,
        batch_size=64,
        optimizer=DIGITS_OPTIMIZER,
    ),
    Goal(
        "accuracy",
        at_least=96.0,
        unit="% of labels",
        also=(Goal("frechet_distance", at_most=150.0),),  # a classifier alone has no samples
    ),
    needs=(needs.IMAGES, needs.LEVELS, needs.LABELS),
)
def jem_digits(config: Config[JointSettings], spec: DataSpec) -> Setup:
    """A classifier of digits that is their density too."""
    from experiments.measures.energy import accuracy, out_of_distribution
    from experiments.measures.images import distance_by_a_classifier

    settings, classes = config.model, spec.num_classes or 1
    model = energy.JointEnergyModel(
        settings.mlp(classes), spec, energy.Gaussian(settings.reference), settings.replay
    )
    loss = model.loss.weigh(
        energy_magnitude=settings.magnitude, cross_entropy=settings.classification
    )
    return Setup(
        model,
        {"joint": loss},
        condition=every_label(classes),
        sampling={"steps": settings.sampling_steps},
        measures=(
            accuracy,
            out_of_distribution("omniglot", "mnist", "shapes2d"),
            distance_by_a_classifier,
        ),
        hooks=(stops_when_energies_diverge("joint"),),
    )
