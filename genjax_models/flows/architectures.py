"""The published architectures, built for a data set's `spec`: vectors, points or images.

Real-valued data give a `Flow`; discrete data a `Dequantized` flow that begins with a `Logit`. A
coupling's network is given as a function of its number of outputs: `network=lambda n: MLP((64,
n))`; it sees `[B, D]` or, on images, `[B, H, W, C]`, and returns as many channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from flax import linen as nn

from genjax_models.core.dequantization import Dequantization, Uniform
from genjax_models.core.types import DIGITS, Array, DataSpec
from genjax_models.flows.bijector import Bijector, Chain, Flattened, Inverse, Logit, Repeat
from genjax_models.flows.coupling import AffineCoupling, Checkerboard, Halves, SplineCoupling
from genjax_models.flows.dequantized import Dequantized
from genjax_models.flows.flow import POINTS, Flow, real_valued
from genjax_models.flows.linear import ActNorm, InvertibleConv1x1, Permute
from genjax_models.flows.masked import Affine, Elementwise, MaskedAutoregressive
from genjax_models.flows.multiscale import Split, Squeeze
from genjax_models.flows.splines import Spline
from genjax_models.networks.convolutional import ResidualNetwork
from genjax_models.networks.mlp import MLP

UNIFORM, AFFINE = Uniform(), Affine()

Network: TypeAlias = Callable[[int], nn.Module]
"""Number of outputs (of an image: channels) -> the network of a coupling."""


def realnvp(
    spec: DataSpec = DIGITS,
    *,
    steps: int | None = None,
    num_scales: int | None = None,
    network: Network | None = None,
    num_classes: int | None = None,
    dequantization: Dequantization = UNIFORM,
    alpha: float = 0.05,
) -> Flow | Dequantized:
    """RealNVP: affine couplings with alternating masks.

    On images, each level has couplings with checkerboard masks, a squeeze, couplings between the
    channels' halves, and a split; the last has checkerboards alone. Activation normalisation takes
    the place of batch normalisation, which would make an example's density depend on others.

    Args:
        spec: Description of one example.
        steps: Pairs of couplings, one for each side of the mask: of a vector 8, of each mask at
            each level of an image 2.
        num_scales: Number of times an image is halved; default: as often as possible, up to 3.
        network: The couplings' networks; `MLP` for vectors, `ResidualNetwork` for images.
        num_classes: Number of labels to be conditional on.
        dequantization: Dequantisation of discrete data.
        alpha: Field of the `Logit` that discrete data pass through.

    Raises:
        ValueError: The images cannot be halved so often.

    References:
        Dinh et al. 2017, Density estimation using Real NVP, arXiv:1605.08803, sec. 3.
    """
    make = network or _usual_network(spec)

    def pairs(num: int, first: Bijector, second: Bijector) -> Bijector:
        return Repeat(Chain([ActNorm(), first, ActNorm(), second]), num)

    def checkerboards(channels: int, num: int) -> Bijector:
        network = make(2 * channels)
        return pairs(num, *(AffineCoupling(network, Checkerboard(parity)) for parity in (0, 1)))

    def halves(size: int, num: int) -> Bijector:
        sizes = size - size // 2, size // 2
        masks = Halves(), Halves(swap=True)
        couplings = [
            AffineCoupling(make(2 * changed), mask)
            for changed, mask in zip(sizes, masks, strict=True)
        ]
        return pairs(num, *couplings)

    if not _is_image(spec):
        bijector = halves(_size(spec), 8 if steps is None else steps)
    else:
        num = 2 if steps is None else steps
        num_scales = _num_scales("realnvp", spec, num_scales)

        def level(channels: int, left: int) -> Bijector:
            if not left:
                return checkerboards(channels, num)
            inside = Split(level(2 * channels, left - 1), make(4 * channels))
            before, after = checkerboards(channels, num), halves(4 * channels, num)
            return Chain([before, Squeeze(), after, inside, Inverse(Squeeze())])

        bijector = level(spec.shape[-1], num_scales)
    return _model(spec, bijector, num_classes, dequantization, alpha)


def glow(
    spec: DataSpec = DIGITS,
    *,
    num_scales: int | None = None,
    steps: int = 8,
    network: Network | None = None,
    num_classes: int | None = None,
    dequantization: Dequantization = UNIFORM,
    alpha: float = 0.05,
) -> Flow | Dequantized:
    """Glow: steps of activation normalisation, an invertible 1x1 convolution and a coupling.

    Args:
        spec: Description of one example, an image.
        num_scales: Number of times it is halved; by default as often as possible, at most 3.
        steps: Steps of each level.
        network: The couplings' networks, images to images.
        num_classes: Number of labels to be conditional on.
        dequantization: Dequantisation of discrete data.
        alpha: Field of the `Logit` that discrete data pass through.

    Raises:
        ValueError: The examples are not images, or cannot be halved `num_scales` times.

    References:
        Kingma & Dhariwal 2018, Glow, arXiv:1807.03039, sec. 3.
    """
    make = network or _usual_network(spec)
    num_scales = _num_scales("glow", spec, num_scales)

    def step(channels: int) -> Bijector:
        coupling = AffineCoupling(make(2 * (channels - channels // 2)))
        return Chain([ActNorm(), InvertibleConv1x1(), coupling])

    bijector = _multiscale(spec.shape[-1], num_scales, lambda c: Repeat(step(c), steps), make)
    return _model(spec, bijector, num_classes, dequantization, alpha)


def neural_spline_flow(
    spec: DataSpec = POINTS,
    *,
    steps: int = 8,
    num_scales: int | None = None,
    network: Network | None = None,
    num_bins: int = 8,
    bound: float = 5.0,
    num_classes: int | None = None,
    dequantization: Dequantization = UNIFORM,
    alpha: float = 0.05,
) -> Flow | Dequantized:
    """RQ-NSF (C): couplings by rational-quadratic splines, with linear maps between them.

    On images it is a Glow whose couplings are splines. `maf(spec, transform=Spline())` is the
    autoregressive one, RQ-NSF (AR). With a single entry there is nothing to couple, and the splines
    are functions of the label alone.

    Args:
        spec: Description of one example.
        steps: Steps, of each level on images.
        num_scales: Number of times an image is halved; default: as often as possible, up to 3.
        network: The couplings' networks; `MLP` for vectors, `ResidualNetwork` for images.
        num_bins: Bins of each spline.
        bound: Splines are the identity outside [-bound, bound].
        num_classes: Number of labels to be conditional on.
        dequantization: Dequantisation of discrete data.
        alpha: Field of the `Logit` that discrete data pass through.

    Raises:
        ValueError: The images cannot be halved so often.

    References:
        Durkan et al. 2019, Neural Spline Flows, arXiv:1906.04032, sec. 3 and 5.
    """
    make = network or _usual_network(spec)

    def steps_of(size: int) -> Bijector:
        outputs = (3 * num_bins - 1) * (size - size // 2)
        coupling: Bijector = SplineCoupling(make(outputs), num_bins=num_bins, bound=bound)
        if size == 1:
            coupling = MaskedAutoregressive(transform=Spline(num_bins, bound))
        return Repeat(Chain([ActNorm(), InvertibleConv1x1(), coupling]), steps)

    if _is_image(spec):
        num_scales = _num_scales("neural_spline_flow", spec, num_scales)
        bijector = _multiscale(spec.shape[-1], num_scales, steps_of, make)
    else:
        bijector = steps_of(_size(spec, least=1))
    return _model(spec, bijector, num_classes, dequantization, alpha)


def maf(
    spec: DataSpec = DIGITS,
    *,
    steps: int = 5,
    hidden: Sequence[int] = (512, 512),
    transform: Elementwise = AFFINE,
    activation: Callable[[Array], Array] = nn.relu,
    residual: bool = False,
    num_classes: int | None = None,
    dequantization: Dequantization = UNIFORM,
    alpha: float = 0.05,
) -> Flow | Dequantized:
    """MAF: masked autoregressive layers, the order of the entries reversed after each.

    Images are flattened. Activation normalisation takes the place of batch normalisation.

    Args:
        spec: Description of one example.
        steps: Autoregressive layers.
        hidden: Widths of the hidden layers of each one's network, a `MADE`.
        transform: Function of each entry given those before it: `Affine()`, or `Spline()`.
        activation: Activation of the hidden layers.
        residual: If True, each hidden layer adds its input to its output.
        num_classes: Number of labels to be conditional on.
        dequantization: Dequantisation of discrete data.
        alpha: Field of the `Logit` that discrete data pass through.

    References:
        Papamakarios et al. 2017, Masked Autoregressive Flow, arXiv:1705.07057, sec. 3 and 4.
    """
    layer = MaskedAutoregressive(tuple(hidden), transform, activation, residual)
    bijector: Bijector = Repeat(Chain([ActNorm(), layer, Permute()]), steps)
    if len(spec.shape) > 1:
        bijector = Flattened(bijector)
    return _model(spec, bijector, num_classes, dequantization, alpha)


def _model(
    spec: DataSpec,
    bijector: Bijector,
    num_classes: int | None,
    dequantization: Dequantization,
    alpha: float,
) -> Flow | Dequantized:
    if spec.num_levels is None:
        return Flow(bijector, spec=spec, num_classes=num_classes)
    bijector = Chain([Logit(alpha), bijector])
    flow = Flow(bijector, spec=real_valued(spec), num_classes=num_classes)
    return Dequantized(flow, dequantization, spec)


def _multiscale(
    channels: int, num_scales: int, steps: Callable[[int], Bijector], network: Network
) -> Bijector:
    """Squeeze, steps, split; the half that goes on meets the next level inside of the split."""
    now = steps(4 * channels)
    if num_scales == 1:
        return Chain([Squeeze(), now, Inverse(Squeeze())])
    inner = _multiscale(2 * channels, num_scales - 1, steps, network)
    return Chain([Squeeze(), now, Split(inner, network(4 * channels)), Inverse(Squeeze())])


def _usual_network(spec: DataSpec) -> Network:
    if _is_image(spec):
        return lambda num_outputs: ResidualNetwork(64, 2, num_outputs)
    return lambda num_outputs: MLP((128, 128, num_outputs))


def _is_image(spec: DataSpec) -> bool:
    return len(spec.shape) == 3


def _size(spec: DataSpec, least: int = 2) -> int:
    """The number of entries of a vector.

    Raises:
        ValueError: The examples are no vectors, or there are too few entries.
    """
    if len(spec.shape) != 1 or spec.shape[0] < least:
        instead = "use neural_spline_flow" if spec.shape == (1,) else "use maf, which flattens them"
        raise ValueError(
            f"{spec.name} has examples of shape {spec.shape}, and coupling flows are over vectors "
            f"(D,) with D >= {least} or images (H, W, C): {instead}"
        )
    return spec.shape[0]


def _num_scales(name: str, spec: DataSpec, num_scales: int | None) -> int:
    """Returns the number of times images are halved.

    Raises:
        ValueError: The examples are not images, or cannot be halved `num_scales` times.
    """
    if not _is_image(spec):
        raise ValueError(
            f"{name} is over images (H, W, C), and {spec.name} has examples of shape {spec.shape}: "
            "use neural_spline_flow or maf, which are also for vectors"
        )
    height, width, _ = spec.shape
    most = 0
    while height % 2 == 0 and width % 2 == 0:
        most, height, width = most + 1, height // 2, width // 2
    # A 1x1 image is too small for a scale: where possible, the last scale is larger.
    usual = max(1, most - 1 if min(height, width) == 1 else most)
    if num_scales is None and most:
        return min(3, usual)
    if num_scales is None or not 1 <= num_scales <= most:
        raise ValueError(
            f"{spec.name} has images of {spec.shape[0]}x{spec.shape[1]}, which can be halved "
            f"{most} times, and {name} was given num_scales={num_scales}: "
            + (f"give num_scales=1 to {most}" if most else "pad them to an even height and width")
        )
    return num_scales
