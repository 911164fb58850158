"""The same model here and in eager PyTorch, in alternation, each on as many cores as are named.

    python -m experiments.benchmarks.versus_pytorch vae --torch-python PATH [--rounds 5] [--cores 0]
    python -m experiments.benchmarks.versus_pytorch gpt --torch-python PATH
    python -m experiments.benchmarks.versus_pytorch unet --torch-python PATH --cores 0,1
    python -m experiments.benchmarks.versus_pytorch ddim --torch-python PATH --cores 0,1
    python -m experiments.benchmarks.versus_pytorch dcgan --torch-python PATH --cores 0,1
    python -m experiments.benchmarks.versus_pytorch pix2pix --torch-python PATH --cores 0,1

vae: 784-512-16 on dynamically binarised images, batch 128, Adam. gpt: 4 layers of 4 heads, 128
wide, on windows of 64 characters, batch 12, AdamW with gradients clipped: nanoGPT's setting for a
CPU. (Ours predicts a window's first character from a start vector and theirs the one after the
window: 64 positions both.) unet, ddim: see `versus_unet`. dcgan, pix2pix: see `versus_gan`.

PyTorch is no dependency of ours, so its side runs in an interpreter that has it, and this file
imports nothing of ours but where our side needs it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.benchmarks import steps_a_second, versus_gan, versus_unet

VAE = {"batch": 128, "width": 512, "latent": 16, "dims": 784}
GPT = {"batch": 12, "block": 64, "vocabulary": 65, "width": 128, "heads": 4, "layers": 4}


def vae_jax() -> float:
    """The VAE in this library."""
    import numpy as np
    import optax

    import genjax_models as gm

    images = np.random.default_rng(0).integers(0, 256, (6000, 28, 28, 1)).astype(np.uint8)
    data = gm.Dataset.from_arrays(images)
    model = gm.VAE(
        gm.networks.MLP((VAE["width"], 2 * VAE["latent"])),
        gm.networks.MLP((VAE["width"], VAE["dims"])),
        VAE["latent"],
        spec=data.spec,
        likelihood=gm.likelihoods.bernoulli,
        preprocess=gm.preprocess.dynamic_binarization,
    )
    return steps_a_second.of_fit(model, data, optax.adam(1e-3), VAE["batch"])


def vae_torch() -> float:
    """The same VAE in eager PyTorch, written as its tutorials write it."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]
    from torch.nn import functional as F  # noqa: N812 # pyright: ignore[reportMissingImports]

    batch, width, latent, dims = VAE.values()
    images = torch.randint(0, 256, (6000, dims), dtype=torch.uint8)
    encoder = nn.Sequential(nn.Linear(dims, width), nn.SiLU(), nn.Linear(width, 2 * latent))
    decoder = nn.Sequential(nn.Linear(latent, width), nn.SiLU(), nn.Linear(width, dims))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)

    def step() -> None:
        x = images[torch.randint(0, len(images), (batch,))].float() / 255
        x = torch.bernoulli(x)
        mean, log_variance = encoder(x).chunk(2, dim=-1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        logits = decoder(z)
        reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(-1)
        loss = (reconstruction + kl).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return steps_a_second.of(step)


def gpt_jax() -> float:
    """The GPT in this library, with the optimizer of the experiment `gpt`."""
    import numpy as np
    import optax

    from genjax_models.autoregressive.model import Autoregressive
    from genjax_models.core import DataSpec
    from genjax_models.core.preprocess import tokens
    from genjax_models.data import Dataset
    from genjax_models.networks.transformer import Transformer

    vocabulary, window = GPT["vocabulary"], GPT["block"]
    text = np.random.default_rng(0).integers(0, vocabulary, 1_000_000).astype(np.int32)
    spec = DataSpec((window,), vocabulary, vocabulary=tuple(map(chr, range(vocabulary))))
    network = Transformer(vocabulary, GPT["width"], GPT["heads"], GPT["layers"], window)
    model = Autoregressive(network, spec, inputs=tokens, marginals=False)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(1e-3, b1=0.9, b2=0.99, weight_decay=0.1)
    )
    return steps_a_second.of_fit(
        model, Dataset(spec, arrays={"x": text}, window=window), optimizer, 12
    )


def gpt_torch() -> float:
    """The same GPT in eager PyTorch, with its fused attention, written as nanoGPT is."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]
    from torch.nn import functional as F  # noqa: N812 # pyright: ignore[reportMissingImports]

    batch, block, vocabulary, width, heads, layers = GPT.values()

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(
                nn.Linear(width, 4 * width),
                nn.GELU(approximate="tanh"),
                nn.Linear(4 * width, width),
            )

        def forward(self, x: Any) -> Any:
            shape = (x.shape[0], x.shape[1], heads, width // heads)
            q, k, v = (
                a.view(shape).transpose(1, 2)
                for a in self.qkv(self.norms[0](x)).split(width, dim=2)
            )
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(x.shape))
            return x + self.mlp(self.norms[1](x))

    embedding, position = nn.Embedding(vocabulary, width), nn.Embedding(block, width)
    body = nn.Sequential(*[Block() for _ in range(layers)], nn.LayerNorm(width))
    parameters = [p for module in (embedding, position, body) for p in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
    text = torch.randint(0, vocabulary, (1_000_000,))

    def step() -> None:
        starts = torch.randint(0, len(text) - block, (batch,)).tolist()
        x = torch.stack([text[i : i + block] for i in starts])
        y = torch.stack([text[i + 1 : i + 1 + block] for i in starts])
        h = body(embedding(x) + position(torch.arange(block)))
        logits = h @ embedding.weight.T
        loss = F.cross_entropy(logits.view(-1, vocabulary), y.view(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return steps_a_second.of(step)


MODELS: Mapping[str, Mapping[str, Callable[[], float]]] = {
    "vae": {"jax": vae_jax, "torch": vae_torch},
    "gpt": {"jax": gpt_jax, "torch": gpt_torch},
    "unet": {"jax": versus_unet.train_jax, "torch": versus_unet.train_torch},
    "ddim": {"jax": versus_unet.ddim_jax, "torch": versus_unet.ddim_torch},
    "dcgan": {"jax": versus_gan.dcgan_jax, "torch": versus_gan.dcgan_torch},
    "pix2pix": {"jax": versus_gan.pix2pix_jax, "torch": versus_gan.pix2pix_torch},
}


def run_side(model: str, side: str) -> float:
    """Steps a second of one side, in this process, on all the cores that it is held to."""
    if side == "torch":
        import torch  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        torch.manual_seed(0)
    return MODELS[model][side]()


def check_torch(python: str) -> None:
    """Asks an interpreter whether it has PyTorch, before anything is measured.

    Args:
        python: The interpreter's path, or its name.

    Raises:
        SystemExit: It has none, or there is no such interpreter.
    """
    try:
        found = subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 0
    except OSError:
        found = False
    if not found:
        raise SystemExit(
            f"{python} cannot import torch, which the other side needs: name an interpreter that "
            "can by --torch-python PATH"
        )


def measure(python: str, model: str, side: str, cores: str) -> float:
    """Steps a second of one side, in a process of its own that is held to these cores."""
    command = ["taskset", "-c", cores, python, "-m", "experiments.benchmarks.versus_pytorch"]
    threads = str(len(cores.split(",")))
    out = subprocess.run(
        [*command, model, "--side", side],
        env={**os.environ, "OMP_NUM_THREADS": threads, "JAX_PLATFORMS": "cpu"},
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(out.stdout.strip().splitlines()[-1])


def main() -> None:
    """Prints the steps a second of both sides and their ratio, round by round and the median."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", choices=MODELS, default="vae")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter with PyTorch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", default="0", help="which, with commas between: 0,1")
    parser.add_argument("--side", choices=MODELS["vae"], help="measure one side in this process")
    arguments = parser.parse_args()
    if arguments.side:
        print(run_side(arguments.model, arguments.side))
        return
    check_torch(arguments.torch_python)
    rows = []
    for _ in range(arguments.rounds):
        ours = measure(sys.executable, arguments.model, "jax", arguments.cores)
        theirs = measure(arguments.torch_python, arguments.model, "torch", arguments.cores)
        rows.append({"jax": ours, "torch": theirs, "ratio": ours / theirs})
        print(json.dumps(rows[-1]), flush=True)
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    print(json.dumps({"model": arguments.model, "median": medians}))


if __name__ == "__main__":
    main()
