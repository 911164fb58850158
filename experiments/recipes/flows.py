"""Normalizing flows: points in the plane, digits, 8-bit MNIST."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

from experiments.runner import needs
from experiments.runner.config import Config, Evaluation, Optimizer, PositiveFloat, PositiveInt
from experiments.runner.experiment import Goal, Setup, every_label, experiment
from genjax_models import flows, networks
from genjax_models.core import DataSpec


def _inverse_autoregressive() -> flows.Dequantization:
    layer = flows.MaskedAutoregressive((128,))
    return flows.Variational(
        flows.Flattened(flows.Repeat(flows.Chain([layer, flows.Permute()]), 2))
    )


DequantizationName = Literal["uniform", "variational"]
DEQUANTIZATIONS: Mapping[DequantizationName, Callable[[], flows.Dequantization]] = {
    "uniform": flows.Uniform,
    "variational": _inverse_autoregressive,
}


def _setup(model: flows.Flow | flows.Dequantized) -> Setup:
    classes = model.num_classes
    if classes is None:
        return Setup(model)
    return Setup(model, condition=every_label(classes))


def _classes(conditional: bool, spec: DataSpec) -> int | None:
    return spec.num_classes if conditional else None


@dataclasses.dataclass(frozen=True)
class PointsSettings:
    """A spline flow of vectors."""

    steps: PositiveInt = 6
    """Couplings, with a normalisation and a linear map before each."""
    hidden: tuple[PositiveInt, ...] = (64, 64)
    """Widths of the hidden layers of each coupling's network."""
    num_bins: PositiveInt = 16
    """Bins of each spline."""
    bound: PositiveFloat = 4.0
    """Splines are the identity outside [-bound, bound]."""


@experiment(
    Config(
        PointsSettings(),
        dataset="two_moons",
        steps=4000,
        batch_size=256,
        log_every=200,
        optimizer=Optimizer(learning_rate=2e-3, schedule="cosine", gradient_clip=10.0),
        evaluation=Evaluation(every=1000, examples=10_000, batch_size=1000),
    ),
    Goal("kl_to_truth", at_most=0.02, unit="nats a point"),
    needs=(needs.POINTS,),
)
def flow_points(config: Config[PointsSettings], spec: DataSpec) -> Setup:
    """A neural spline flow on a density in the plane that is known."""
    settings = config.model
    model = flows.neural_spline_flow(
        spec,
        steps=settings.steps,
        network=lambda outputs: networks.MLP((*settings.hidden, outputs)),
        num_bins=settings.num_bins,
        bound=settings.bound,
    )
    return _setup(model)


@dataclasses.dataclass(frozen=True)
class ConvolutionalSettings:
    """A multi-scale flow of images."""

    num_scales: PositiveInt | None = None
    """Number of times that an image is halved; None is as often as it can be, at most 3."""
    steps: PositiveInt = 4
    """Steps of each level."""
    channels: PositiveInt = 64
    """Channels of the hidden layers of each coupling's network."""
    blocks: PositiveInt = 1
    """Residual blocks of each coupling's network."""
    coupling: Literal["affine", "spline"] = "affine"
    """Transformation of an entry by the networks' outputs."""
    conditional: bool = False
    """Condition the networks on the label."""
    dequantization: DequantizationName = "uniform"
    """The noise that is added to the levels."""


def _network(settings: ConvolutionalSettings) -> Callable[[int], networks.ResidualNetwork]:
    return lambda outputs: networks.ResidualNetwork(settings.channels, settings.blocks, outputs)


def _glow(settings: ConvolutionalSettings, spec: DataSpec) -> flows.Flow | flows.Dequantized:
    build = {"affine": flows.glow, "spline": flows.neural_spline_flow}[settings.coupling]
    return build(
        spec,
        num_scales=settings.num_scales,
        steps=settings.steps,
        network=_network(settings),
        num_classes=_classes(settings.conditional, spec),
        dequantization=DEQUANTIZATIONS[settings.dequantization](),
    )


@experiment(
    Config(
        ConvolutionalSettings(num_scales=2, steps=4, channels=32, coupling="spline"),
        steps=500,
        optimizer=Optimizer(
            learning_rate=2e-3, schedule="cosine", gradient_clip=100.0, weight_decay=0.5
        ),
        evaluation=Evaluation(every=50, num_samples=16, batch_size=50),
    ),
    Goal("bits_per_dim", at_most=2.35, unit="bits an entry"),
    needs=(needs.IMAGES, needs.labels_if("model.conditional")),
)
def glow(config: Config[ConvolutionalSettings], spec: DataSpec) -> Setup:
    """A Glow of digits, whose couplings are affine or splines."""
    return _setup(_glow(config.model, spec))


@experiment(
    Config(
        ConvolutionalSettings(num_scales=2, steps=2, channels=32),
        steps=500,
        optimizer=Optimizer(
            learning_rate=2e-3, schedule="cosine", gradient_clip=100.0, weight_decay=0.5
        ),
        evaluation=Evaluation(every=50, num_samples=16, batch_size=50),
    ),
    needs=(needs.IMAGES, needs.labels_if("model.conditional")),
)
def realnvp(config: Config[ConvolutionalSettings], spec: DataSpec) -> Setup:
    """A multi-scale RealNVP of digits, with checkerboards and channels' halves."""
    settings = config.model
    model = flows.realnvp(
        spec,
        num_scales=settings.num_scales,
        steps=settings.steps,
        network=_network(settings),
        num_classes=_classes(settings.conditional, spec),
        dequantization=DEQUANTIZATIONS[settings.dequantization](),
    )
    return _setup(model)


@dataclasses.dataclass(frozen=True)
class MAFSettings:
    """A masked autoregressive flow."""

    steps: PositiveInt = 2
    """Autoregressive layers."""
    hidden: tuple[PositiveInt, ...] = (256,)
    """Widths of the hidden layers of each layer's network."""
    num_bins: PositiveInt | None = 16
    """Bins of the spline of each entry; None takes affine functions, as in the paper."""
    conditional: bool = False
    """Condition the networks on the label."""
    dequantization: DequantizationName = "uniform"
    """The noise that is added to the levels."""


@experiment(
    Config(
        MAFSettings(),
        steps=400,
        optimizer=Optimizer(
            learning_rate=1e-3, schedule="cosine", gradient_clip=100.0, weight_decay=2.0
        ),
        evaluation=Evaluation(every=50, num_samples=16, batch_size=50),
    ),
    Goal("bits_per_dim", at_most=2.35, unit="bits an entry"),
    needs=(needs.labels_if("model.conditional"),),
)
def maf(config: Config[MAFSettings], spec: DataSpec) -> Setup:
    """A masked autoregressive flow of digits, each pixel by a spline given those before it."""
    settings = config.model
    transform: flows.Elementwise = flows.Affine()
    if settings.num_bins is not None:
        transform = flows.Spline(settings.num_bins, bound=4.0)
    model = flows.maf(
        spec,
        steps=settings.steps,
        hidden=settings.hidden,
        transform=transform,
        num_classes=_classes(settings.conditional, spec),
        dequantization=DEQUANTIZATIONS[settings.dequantization](),
    )
    return _setup(model)


@experiment(
    Config(
        ConvolutionalSettings(num_scales=2, steps=16, channels=96, blocks=2, coupling="spline"),
        dataset="mnist",
        steps=100_000,
        batch_size=128,
        log_every=100,
        checkpoint_every=1000,
        optimizer=Optimizer(
            learning_rate=5e-4, schedule="cosine", warmup_steps=200, gradient_clip=100.0
        ),
        evaluation=Evaluation(every=1000, examples=1000, num_samples=8),
    ),
    Goal("bits_per_dim", at_most=1.05, unit="bits an entry"),
    needs=(needs.IMAGES, needs.labels_if("model.conditional")),
)
def glow_mnist(config: Config[ConvolutionalSettings], spec: DataSpec) -> Setup:
    """A Glow of 8-bit MNIST, for an accelerator; `--steps` bounds it elsewhere."""
    return _setup(_glow(config.model, spec))
