"""Adversarial training steps, here and in eager PyTorch.

`versus_pytorch` times them. dcgan: 28x28 images, 64 a batch, two halvings and doublings, binary
cross-entropy, Adam for both players, as PyTorch's DCGAN tutorial does it, whose generator's turn
sees the examples that the discriminator's saw; ours draws new ones. pix2pix: a U-Net of 7 levels
and a discriminator of patches on pairs of 128x128 images, one a batch, as its authors' own code
does it. Theirs keeps no average of the parameters; ours does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from experiments.benchmarks import steps_a_second

BATCH, SIDE, LATENT, WIDTH = 64, 28, 64, 64
PIX2PIX_SIDE, PIX2PIX_WIDTH, LEVELS, L1 = 128, 64, 7, 100.0
WARMUP, STEPS = 10, 60
PIX2PIX_WARMUP, PIX2PIX_STEPS = 3, 12


def dcgan_jax() -> float:
    """Steps a second of `fit`."""
    import numpy as np
    import optax

    from genjax_models.adversarial.gan import GAN
    from genjax_models.data import Dataset
    from genjax_models.networks.dcgan import DCGANDiscriminator, DCGANGenerator

    shape = (SIDE, SIDE, 1)
    images = np.random.default_rng(0).integers(0, 256, (6000, *shape)).astype(np.uint8)
    data = Dataset.from_arrays(images)
    generator = DCGANGenerator((2 * WIDTH, WIDTH), shape)
    model = GAN(generator, DCGANDiscriminator((WIDTH, 2 * WIDTH)), LATENT, data.spec)
    return steps_a_second.of_fit(model, data, optax.adam(2e-4, b1=0.5), BATCH, WARMUP, STEPS)


def pix2pix_jax() -> float:
    """Steps a second of `fit`."""
    import numpy as np
    import optax

    from genjax_models.adversarial.pix2pix import Pix2Pix
    from genjax_models.data import Dataset
    from genjax_models.networks.translators import PatchDiscriminator, UNetTranslator

    shape = (64, PIX2PIX_SIDE, PIX2PIX_SIDE, 3)
    images, sources = np.random.default_rng(0).integers(0, 256, (2, *shape)).astype(np.uint8)
    data = Dataset.from_arrays(images, extra={"condition": sources})
    generator = UNetTranslator(3, PIX2PIX_WIDTH, LEVELS)
    model = Pix2Pix(generator, PatchDiscriminator(PIX2PIX_WIDTH), data.spec, l1=L1)
    return steps_a_second.of_fit(
        model, data, optax.adam(2e-4, b1=0.5), 1, PIX2PIX_WARMUP, PIX2PIX_STEPS
    )


def _play(
    generator: Any, discriminator: Any, discriminator_loss: Callable, generator_loss: Callable
) -> Callable[[Any, Any], None]:
    """A step of both players in eager PyTorch, each with its Adam: `(real, input) -> None`."""
    import torch  # pyright: ignore[reportMissingImports]

    for module in (*generator.modules(), *discriminator.modules()):
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.normal_(module.weight, 0.0, 0.02)
    of_generator, of_discriminator = (
        torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))
        for network in (generator, discriminator)
    )

    def step(real: Any, given: Any) -> None:
        fake = generator(given)
        of_discriminator.zero_grad(set_to_none=True)
        discriminator_loss(given, real, fake.detach()).backward()
        of_discriminator.step()
        discriminator.requires_grad_(False)  # its gradients are of no use to the generator
        of_generator.zero_grad(set_to_none=True)
        generator_loss(given, real, fake).backward()
        of_generator.step()
        discriminator.requires_grad_(True)

    return step


def _costs() -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Binary cross-entropy of logits with all of them true, and with all of them false."""
    from torch.nn.functional import softplus  # pyright: ignore[reportMissingImports]

    return (lambda s: softplus(-s).mean()), (lambda s: softplus(s).mean())


def dcgan_torch() -> float:
    """Steps a second in eager PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    small = SIDE // 4
    generator = nn.Sequential(
        nn.Linear(LATENT, 2 * WIDTH * small**2, bias=False),
        nn.Unflatten(1, (2 * WIDTH, small, small)),
        nn.BatchNorm2d(2 * WIDTH),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(2 * WIDTH, WIDTH, 4, 2, 1, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(WIDTH, 1, 4, 2, 1),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, WIDTH, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(WIDTH, 2 * WIDTH, 4, 2, 1, bias=False),
        nn.BatchNorm2d(2 * WIDTH),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Flatten(),
        nn.Linear(2 * WIDTH * small**2, 1),
    )
    images = torch.randint(0, 256, (6000, 1, SIDE, SIDE), dtype=torch.uint8)
    true, false = _costs()
    play = _play(
        generator,
        discriminator,
        lambda z, real, fake: true(discriminator(real)) + false(discriminator(fake)),
        lambda z, real, fake: true(discriminator(fake)),
    )

    def step() -> None:
        real = images[torch.randint(0, len(images), (BATCH,))].float() / 127.5 - 1
        play(real, torch.randn(BATCH, LATENT))

    return steps_a_second.of(step, WARMUP, STEPS)


def torch_translator() -> Any:
    """The architecture of `UNetTranslator` in PyTorch, level within level."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    widths = [PIX2PIX_WIDTH * min(2**i, 8) for i in range(LEVELS)]

    class Level(nn.Module):
        def __init__(self, i: int) -> None:
            super().__init__()
            width, last = widths[i], i == LEVELS - 1
            below = [] if last else [Level(i + 1)]
            norm = [] if last else [nn.InstanceNorm2d(width, affine=True)]
            before = widths[i - 1]
            self.body = nn.Sequential(
                nn.LeakyReLU(0.2, inplace=True),
                nn.Conv2d(before, width, 4, 2, 1, bias=last),
                *norm,
                *below,
                nn.ReLU(inplace=True),
                nn.ConvTranspose2d(width * (1 if last else 2), before, 4, 2, 1, bias=False),
                nn.InstanceNorm2d(before, affine=True),
                *([nn.Dropout(0.5)] if i >= LEVELS - 3 else []),
            )

        def forward(self, x: Any) -> Any:
            return torch.cat([x, self.body(x)], dim=1)

    return nn.Sequential(
        nn.Conv2d(3, widths[0], 4, 2, 1),
        Level(1),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(2 * widths[0], 3, 4, 2, 1),
        nn.Tanh(),
    )


def pix2pix_torch() -> float:
    """Steps a second in eager PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    layers, before = [], 6
    for i, stride in enumerate((2, 2, 2, 1)):
        width = PIX2PIX_WIDTH * 2**i
        layers += [nn.Conv2d(before, width, 4, stride, 1, bias=i == 0)]
        layers += [nn.InstanceNorm2d(width, affine=True)] if i else []
        layers += [nn.LeakyReLU(0.2, inplace=True)]
        before = width
    discriminator = nn.Sequential(*layers, nn.Conv2d(before, 1, 4, 1, 1))
    shape = (64, 3, PIX2PIX_SIDE, PIX2PIX_SIDE)
    images, sources = (torch.randint(0, 256, shape, dtype=torch.uint8) for _ in range(2))
    true, false = _costs()

    def judge(source: Any, target: Any) -> Any:
        return discriminator(torch.cat([source, target], dim=1))

    play = _play(
        torch_translator(),
        discriminator,
        lambda x, y, fake: 0.5 * (true(judge(x, y)) + false(judge(x, fake))),
        lambda x, y, fake: true(judge(x, fake)) + L1 * (fake - y).abs().mean(),
    )

    def step() -> None:
        i = torch.randint(0, len(images), (1,))
        play(images[i].float() / 127.5 - 1, sources[i].float() / 127.5 - 1)

    return steps_a_second.of(step, PIX2PIX_WARMUP, PIX2PIX_STEPS)
