"""The U-Net's training step and 50 steps of DDIM, here and in eager PyTorch.

`versus_pytorch` times them. The U-Net is of the size of denoising-diffusion-pytorch's
`Unet(dim=32)` with as many levels as 28x28 can be halved to, (1, 2, 4). A step is a forward and
backward pass at noise levels of a cosine schedule, Adam, and the parameters' moving average.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from experiments.benchmarks import steps_a_second

BATCH, SIDE, CHANNELS, MULTIPLIERS, BLOCKS, HEADS, GROUPS = 32, 28, 32, (1, 2, 4), 2, 4, 8
DDIM_STEPS = 50
WARMUP, STEPS, SAMPLES = 3, 15, 2


def torch_unet() -> Any:
    """The architecture of `networks.UNet` in PyTorch, written as one writes it there."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]
    from torch.nn import functional as F  # noqa: N812 # pyright: ignore[reportMissingImports]

    class Residual(nn.Module):
        def __init__(self, before: int, channels: int) -> None:
            super().__init__()
            self.norms = nn.ModuleList([nn.GroupNorm(GROUPS, c) for c in (before, channels)])
            self.first = nn.Conv2d(before, channels, 3, padding=1, bias=False)
            self.last = nn.Conv2d(channels, channels, 3, padding=1)
            self.level = nn.Linear(4 * CHANNELS, 2 * channels)
            same = before == channels
            self.project = nn.Identity() if same else nn.Conv2d(before, channels, 1)

        def forward(self, x: Any, level: Any) -> Any:
            h = self.first(F.silu(self.norms[0](x)))
            scale, shift = self.level(level)[..., None, None].chunk(2, dim=1)
            h = F.silu(self.norms[1](h) * (1 + scale) + shift)
            return self.project(x) + self.last(h)

    class Attention(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.norm = nn.GroupNorm(GROUPS, channels)
            self.qkv = nn.Conv2d(channels, 3 * channels, 1)
            self.out = nn.Conv2d(channels, channels, 1)

        def forward(self, x: Any) -> Any:
            b, c, height, width = x.shape
            qkv = self.qkv(self.norm(x)).view(b, 3, HEADS, c // HEADS, -1)
            q, k, v = qkv.transpose(3, 4).unbind(1)
            y = F.scaled_dot_product_attention(q, k, v)
            return x + self.out(y.transpose(2, 3).reshape(b, c, height, width))

    class Block(nn.Module):
        def __init__(self, before: int, channels: int, attends: bool) -> None:
            super().__init__()
            self.residual = Residual(before, channels)
            self.attention = Attention(channels) if attends else nn.Identity()

        def forward(self, x: Any, level: Any) -> Any:
            return self.attention(self.residual(x, level))

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [CHANNELS * m for m in MULTIPLIERS]
            last = len(widths) - 1
            self.level = nn.Sequential(
                nn.Linear(64, 4 * CHANNELS),
                nn.SiLU(),
                nn.Linear(4 * CHANNELS, 4 * CHANNELS),
                nn.SiLU(),
            )
            self.first = nn.Conv2d(1, CHANNELS, 3, padding=1)
            self.down, self.up = nn.ModuleList(), nn.ModuleList()
            self.halves, self.doubles = nn.ModuleList(), nn.ModuleList()
            for i, width in enumerate(widths):
                for blocks, before in ((self.down, width), (self.up, 2 * width)):
                    blocks.append(
                        nn.ModuleList([Block(before, width, i == last) for _ in range(BLOCKS)])
                    )
                if i < last:
                    after = widths[i + 1]
                    self.halves.append(
                        nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * width, after, 1))
                    )
                    self.doubles.append(
                        nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(after, width, 3, 1, 1))
                    )
            self.bottom = nn.ModuleList([Block(widths[-1], widths[-1], on) for on in (True, False)])
            self.norm, self.out = nn.GroupNorm(GROUPS, CHANNELS), nn.Conv2d(CHANNELS, 1, 3, 1, 1)

        def forward(self, x: Any, log_snr: Any) -> Any:
            angle = 25.0 * (log_snr[:, None] + 20.0) * 10_000.0 ** -torch.linspace(0, 1, 32)
            level = self.level(torch.cat([angle.sin(), angle.cos()], dim=-1))
            h, skips = self.first(x), []
            for i, blocks in enumerate(self.down):
                if i > 0:
                    h = self.halves[i - 1](h)
                for block in blocks:
                    h = block(h, level)
                    skips.append(h)
            for block in self.bottom:
                h = block(h, level)
            for i, blocks in reversed(list(enumerate(self.up))):
                for block in blocks:
                    h = block(torch.cat([h, skips.pop()], dim=1), level)
                if i > 0:
                    h = self.doubles[i - 1](h)
            return self.out(F.silu(self.norm(h)))

    return UNet()


def cosine(t: Any) -> tuple[Any, Any]:
    """Alpha and sigma of the cosine schedule, in PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]

    angle = (0.5 * math.pi * (t + 0.008) / 1.008).clamp(max=1.569)
    return torch.cos(angle), torch.sin(angle)


def torch_step() -> Callable[[], None]:
    """A training step in eager PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch.nn import functional as F  # noqa: N812 # pyright: ignore[reportMissingImports]
    from torch.optim import swa_utils  # pyright: ignore[reportMissingImports]

    network = torch_unet()
    average = swa_utils.AveragedModel(network, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.999))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    images = torch.randint(0, 256, (6000, 1, SIDE, SIDE), dtype=torch.uint8)

    def step() -> None:
        x = images[torch.randint(0, len(images), (BATCH,))].float() / 127.5 - 1
        alpha, sigma = cosine(torch.rand(BATCH))
        noise = torch.randn_like(x)
        x_t = alpha[:, None, None, None] * x + sigma[:, None, None, None] * noise
        loss = F.mse_loss(network(x_t, 2 * torch.log(alpha / sigma)), noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        average.update_parameters(network)

    return step


def torch_ddim() -> Callable[[], None]:
    """A batch by 50 steps of DDIM in eager PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]

    network = torch_unet().eval()
    times = torch.arange(DDIM_STEPS, 0, -1) / DDIM_STEPS

    @torch.inference_mode()
    def sample() -> None:
        x = torch.randn(BATCH, 1, SIDE, SIDE)
        alphas, sigmas = cosine(times)
        ends = [*zip(alphas[1:], sigmas[1:], strict=True), (1.0, 0.0)]
        for alpha, sigma, (alpha_s, sigma_s) in zip(alphas, sigmas, ends, strict=True):
            noise = network(x, (2 * torch.log(alpha / sigma)).expand(BATCH))
            x_0 = ((x - sigma * noise) / alpha).clamp(-1, 1)
            x = alpha_s * x_0 + sigma_s * noise

    return sample


def train_torch() -> float:
    """Steps a second in eager PyTorch."""
    return steps_a_second.of(torch_step(), WARMUP, STEPS)


def ddim_torch() -> float:
    """Batches a second in eager PyTorch."""
    return steps_a_second.of(torch_ddim(), 1, SAMPLES)


def jax_model() -> tuple[Any, Any]:
    """The diffusion in this library, and images to train it on."""
    import numpy as np

    from genjax_models.data import Dataset
    from genjax_models.diffusion import Diffusion, NoisePrediction
    from genjax_models.networks.unet import UNet

    images = np.random.default_rng(0).integers(0, 256, (6000, SIDE, SIDE, 1)).astype(np.uint8)
    data = Dataset.from_arrays(images)
    last = (False,) * (len(MULTIPLIERS) - 1) + (True,)
    network = UNet(CHANNELS, 1, MULTIPLIERS, BLOCKS, last, HEADS, GROUPS)
    return Diffusion(network, prediction=NoisePrediction(), spec=data.spec), data


def train_jax() -> float:
    """Steps a second of `fit`."""
    import optax

    model, data = jax_model()
    return steps_a_second.of_fit(model, data, optax.adam(1e-3), BATCH, WARMUP, STEPS)


def ddim_jax() -> float:
    """Batches a second of `model.sample`."""
    import jax
    import numpy as np

    from genjax_models.diffusion import linear_timesteps

    model, data = jax_model()
    params, _ = jax.jit(model.init)(jax.random.key(0), data.rows(np.arange(2)))
    sample = jax.jit(
        lambda params, key: model.sample(params, key, BATCH, timesteps=linear_timesteps(DDIM_STEPS))
    )
    act = lambda: sample(params, jax.random.key(1)).block_until_ready()  # noqa: E731
    return steps_a_second.of(act, 1, SAMPLES)
