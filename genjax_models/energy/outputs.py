"""What the passes of energy-based models give; every array's first axis is the examples."""

from __future__ import annotations

from flax import struct

from genjax_models.core.types import Array


@struct.dataclass
class ContrastiveOutputs:
    """Data, and samples of the model beside them.

    Attributes:
        x: Points of the data `[B, ...]`.
        x_model: The samples `[B, ...]`.
        energy: E of the data `[B]`, in nats.
        energy_model: E of the samples `[B]`.
        tilt: What the network gave of the data `[B]`: E less the reference's part.
        tilt_model: The same of the samples `[B]`.
        acceptance: Of the samples' chains `[B]`.
        gradient_norm: Of the energy along them `[B]`.
    """

    x: Array
    x_model: Array
    energy: Array
    energy_model: Array
    tilt: Array
    tilt_model: Array
    acceptance: Array
    gradient_norm: Array


@struct.dataclass
class DenoisingOutputs:
    """The score of data with noise.

    Attributes:
        x: Points of the data `[B, ...]`.
        noise: What was added in units of sigma `[B, ...]`.
        sigma: The noise's standard deviation `[B]`.
        score: grad log p at x + sigma noise `[B, ...]`.
    """

    x: Array
    noise: Array
    sigma: Array
    score: Array


@struct.dataclass
class SlicedOutputs:
    """The score of data, and its slope along random directions.

    Attributes:
        x: Points of the data `[B, ...]`.
        score: s = grad log p there `[B, ...]`.
        slope: v^T (grad s) v, with a random direction v for each example `[B]`.
    """

    x: Array
    score: Array
    slope: Array


@struct.dataclass
class NoiseContrastiveOutputs:
    """Data against noise.

    Attributes:
        x: Points of the data `[B, ...]`.
        logits: log p(x) - log(nu q(x)) of the data `[B]`, for nu points of noise q a datum.
        logits_noise: The same of the noise `[B, nu]`.
    """

    x: Array
    logits: Array
    logits_noise: Array


@struct.dataclass
class JointOutputs:
    """What a joint model of data and labels gives.

    Attributes:
        contrast: Of the data and of samples of p(x).
        logits: Of the data's labels `[B, K]`.
        label: The labels `[B]`.
    """

    contrast: ContrastiveOutputs
    logits: Array
    label: Array
