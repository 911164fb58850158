"""Autoregressive models of images: MADE, PixelCNN, PixelRNN."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from flax import linen as nn

from experiments.recipes.autoencoders import BINARIZE, DTYPES, LIKELIHOODS, BinarizeName, DtypeName
from experiments.runner import needs
from experiments.runner.config import Config, Evaluation, Fraction, Optimizer, PositiveInt
from experiments.runner.experiment import Goal, Setup, every_label, experiment
from genjax_models.autoregressive.model import Autoregressive
from genjax_models.core import DataSpec, Likelihood, likelihoods
from genjax_models.networks.made import MADE
from genjax_models.networks.pixelcnn import GatedPixelCNN
from genjax_models.networks.pixelrnn import DiagonalBiLSTM, PixelRNN, RowLSTM

LikelihoodName = Literal["bernoulli", "binomial", "categorical", "mixture"]
LayerName = Literal["row", "diagonal"]
LAYERS: Mapping[LayerName, type[RowLSTM] | type[DiagonalBiLSTM]] = {
    "row": RowLSTM,
    "diagonal": DiagonalBiLSTM,
}


def _likelihood(settings: Settings) -> Likelihood:
    if settings.likelihood == "mixture":
        return likelihoods.discretized_logistic_mixture(settings.components)
    return LIKELIHOODS[settings.likelihood]


def _outputs(settings: Settings, spec: DataSpec) -> int:
    """Number of outputs for a pixel."""
    prepared = BINARIZE[settings.binarize].describe(spec)
    return _likelihood(settings).num_outputs(prepared) // math.prod(_image(spec)[:2])


def _image(spec: DataSpec) -> tuple[int, int, int]:
    if len(spec.shape) != 3:
        raise ValueError(
            f"{spec.name} has examples of shape {spec.shape}, but this experiment is about images "
            "[H, W, C]"
        )
    height, width, channels = spec.shape
    return height, width, channels


def _setup(settings: Settings, spec: DataSpec, network: nn.Module) -> Setup:
    classes = spec.num_classes if settings.conditional else None
    model = Autoregressive(
        network,
        spec,
        _likelihood(settings),
        preprocess=BINARIZE[settings.binarize],
        num_classes=classes,
    )
    if classes is None:
        return Setup(model)
    return Setup(model, condition=every_label(classes))


@dataclasses.dataclass(frozen=True)
class MADESettings:
    """Masked fully connected layers, and the likelihood of a pixel."""

    hidden: tuple[PositiveInt, ...] = (512, 512)
    """Width of each hidden layer."""
    residual: bool = True
    """Add each hidden layer to the one before it."""
    dropout: Fraction = 0.5
    """Probability with which a hidden unit is left out of a step."""
    likelihood: LikelihoodName = "mixture"
    """The distribution of each pixel, given those before it."""
    components: PositiveInt = 5
    """Components of a mixture."""
    binarize: BinarizeName = "no"
    """Binarisation of pixels: anew at each step, once for all, or at half."""
    conditional: bool = False
    """Condition the network on the label."""
    dtype: DtypeName = "float32"
    """Number type of the network's computations."""


def _made(settings: MADESettings, spec: DataSpec) -> Setup:
    network = MADE(
        _image(spec),
        _outputs(settings, spec),
        settings.hidden,
        residual=settings.residual,
        dropout=settings.dropout,
        dtype=DTYPES[settings.dtype],
    )
    return _setup(settings, spec, network)


@dataclasses.dataclass(frozen=True)
class PixelCNNSettings:
    """A gated PixelCNN, and the likelihood of a pixel."""

    channels: PositiveInt = 32
    """Channels of both stacks."""
    layers: PositiveInt = 4
    """Number of layers."""
    first_size: PositiveInt = 5
    """Width of the first layer's kernels, odd."""
    size: PositiveInt = 3
    """Width of the other layers' kernels, odd."""
    head: PositiveInt = 64
    """Channels of the layer before the outputs."""
    dropout: Fraction = 0.3
    """Probability with which a gated unit is left out of a step."""
    likelihood: LikelihoodName = "mixture"
    """The distribution of each pixel, given those before it."""
    components: PositiveInt = 5
    """Components of a mixture."""
    binarize: BinarizeName = "no"
    """Binarisation of pixels: anew at each step, once for all, or at half."""
    conditional: bool = False
    """Condition every layer on the label."""
    dtype: DtypeName = "float32"
    """Number type of the network's computations."""


def _pixelcnn(settings: PixelCNNSettings, spec: DataSpec) -> Setup:
    network = GatedPixelCNN(
        _image(spec),
        _outputs(settings, spec),
        channels=settings.channels,
        layers=settings.layers,
        size=settings.size,
        first_size=settings.first_size,
        head=settings.head,
        dropout=settings.dropout,
        dtype=DTYPES[settings.dtype],
    )
    return _setup(settings, spec, network)


@dataclasses.dataclass(frozen=True)
class PixelRNNSettings:
    """A PixelRNN, and the likelihood of a pixel."""

    layer: LayerName = "diagonal"
    """LSTMs row by row, or diagonal by diagonal from both sides."""
    channels: PositiveInt = 24
    """Size of an LSTM's state; the features between layers have twice as many."""
    layers: PositiveInt = 2
    """Number of LSTM layers."""
    first_size: PositiveInt = 5
    """Width of the first convolution, odd."""
    head: PositiveInt = 64
    """Channels of the layer before the outputs."""
    dropout: Fraction = 0.3
    """Probability with which a state's entry is left out of a step."""
    likelihood: LikelihoodName = "mixture"
    """The distribution of each pixel, given those before it."""
    components: PositiveInt = 5
    """Components of a mixture."""
    binarize: BinarizeName = "no"
    """Binarisation of pixels: anew at each step, once for all, or at half."""
    conditional: bool = False
    """Condition every layer on the label."""
    dtype: DtypeName = "float32"
    """Number type of the network's computations."""


def _pixelrnn(settings: PixelRNNSettings, spec: DataSpec) -> Setup:
    network = PixelRNN(
        _image(spec),
        _outputs(settings, spec),
        LAYERS[settings.layer],
        channels=settings.channels,
        layers=settings.layers,
        first_size=settings.first_size,
        head=settings.head,
        dropout=settings.dropout,
        dtype=DTYPES[settings.dtype],
    )
    return _setup(settings, spec, network)


Settings: TypeAlias = MADESettings | PixelCNNSettings | PixelRNNSettings

DIGITS_OPTIMIZER = Optimizer(learning_rate=3e-3, schedule="cosine", weight_decay=0.1)
MNIST_OPTIMIZER = Optimizer(learning_rate=1e-3, schedule="cosine")
MNIST: Mapping[str, Any] = {"dataset": "mnist", "split": "train", "log_every": 200}
MNIST_EVALUATION = Evaluation(every=2000, split="test", examples=2000)


@experiment(
    Config(
        MADESettings(), steps=2000, optimizer=DIGITS_OPTIMIZER, evaluation=Evaluation(every=200)
    ),
    needs=(needs.IMAGES, needs.LEVELS, needs.labels_if("model.conditional")),
)
def made(config: Config[MADESettings], spec: DataSpec) -> Setup:
    """Masked fully connected layers, pixel by pixel."""
    return _made(config.model, spec)


@experiment(
    Config(
        PixelCNNSettings(),
        steps=1000,
        batch_size=64,
        optimizer=DIGITS_OPTIMIZER,
        evaluation=Evaluation(every=200),
    ),
    Goal("nll", at_most=86.0, unit="nats a digit"),
    needs=(needs.IMAGES, needs.LEVELS, needs.labels_if("model.conditional")),
)
def pixelcnn(config: Config[PixelCNNSettings], spec: DataSpec) -> Setup:
    """A gated PixelCNN over the levels of the pixels."""
    return _pixelcnn(config.model, spec)


@experiment(
    Config(
        PixelRNNSettings(),
        steps=1000,
        batch_size=64,
        optimizer=DIGITS_OPTIMIZER,
        evaluation=Evaluation(every=200),
    ),
    Goal("nll", at_most=86.0, unit="nats a digit"),
    needs=(needs.IMAGES, needs.LEVELS, needs.labels_if("model.conditional")),
)
def pixelrnn(config: Config[PixelRNNSettings], spec: DataSpec) -> Setup:
    """A PixelRNN over the levels of the pixels, by rows or by diagonals."""
    return _pixelrnn(config.model, spec)


@experiment(
    Config(
        MADESettings(hidden=(1536, 1536), dropout=0.0, likelihood="bernoulli", binarize="dynamic"),
        **MNIST,
        steps=40_000,
        batch_size=100,
        optimizer=MNIST_OPTIMIZER,
        evaluation=MNIST_EVALUATION,
    ),
    Goal("nll", at_most=86.0, unit="nats an image"),
    needs=(needs.IMAGES, needs.LEVELS, needs.labels_if("model.conditional")),
)
def made_mnist(config: Config[MADESettings], spec: DataSpec) -> Setup:
    """MADE on dynamically binarised MNIST."""
    return _made(config.model, spec)


@experiment(
    Config(
        PixelCNNSettings(
            channels=32,
            layers=5,
            first_size=7,
            head=64,
            dropout=0.0,
            likelihood="bernoulli",
            binarize="dynamic",
        ),
        **MNIST,
        steps=12_000,
        batch_size=16,
        optimizer=MNIST_OPTIMIZER,
        evaluation=MNIST_EVALUATION,
    ),
    Goal("nll", at_most=81.4, unit="nats an image"),
    needs=(needs.IMAGES, needs.LEVELS, needs.labels_if("model.conditional")),
)
def pixelcnn_mnist(config: Config[PixelCNNSettings], spec: DataSpec) -> Setup:
    """A gated PixelCNN on dynamically binarised MNIST."""
    return _pixelcnn(config.model, spec)


@experiment(
    Config(
        PixelRNNSettings(
            channels=16,
            layers=4,
            first_size=7,
            dropout=0.0,
            likelihood="bernoulli",
            binarize="dynamic",
        ),
        **MNIST,
        steps=12_000,
        batch_size=16,
        optimizer=MNIST_OPTIMIZER,
        evaluation=MNIST_EVALUATION,
    ),
    Goal("nll", at_most=80.0, unit="nats an image"),
    needs=(needs.IMAGES, needs.LEVELS, needs.labels_if("model.conditional")),
)
def pixelrnn_mnist(config: Config[PixelRNNSettings], spec: DataSpec) -> Setup:
    """A PixelRNN of diagonal LSTMs on dynamically binarised MNIST."""
    return _pixelrnn(config.model, spec)
