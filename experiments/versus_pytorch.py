"""The same VAE here and in eager PyTorch, each on one core, in alternation.

    python -m experiments.versus_pytorch --torch-python PATH [--rounds 5]

784-512-16 on dynamically binarised images, batch 128, Adam: the speed that the README's results
table states. PyTorch is no dependency of ours, so its side runs in an interpreter that has it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

BATCH, WIDTH, LATENT, DIMS = 128, 512, 16, 784
WARMUP, STEPS = 50, 500


def run_jax() -> float:
    """Steps a second of `fit` with this library, compiling left out."""
    import numpy as np
    import optax

    import genjax_models as gm

    images = np.random.default_rng(0).integers(0, 256, (6000, 28, 28, 1)).astype(np.uint8)
    data = gm.Dataset.from_arrays(images)
    model = gm.VAE(
        gm.networks.MLP((WIDTH, 2 * LATENT)),
        gm.networks.MLP((WIDTH, DIMS)),
        LATENT,
        spec=data.spec,
        likelihood=gm.likelihoods.bernoulli,
        preprocess=gm.preprocess.dynamic_binarization,
    )
    times: list[float] = []
    gm.fit(
        model,
        data,
        optax.adam(1e-3),
        steps=WARMUP + STEPS,
        batch_size=BATCH,
        devices=1,
        log_every=WARMUP,
        hooks=[lambda state, metrics: times.append(time.perf_counter())],
    )
    return STEPS / (times[-1] - times[0])


def run_torch() -> float:
    """Steps a second of the same model in eager PyTorch, written as its tutorials write it."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]
    from torch.nn import functional as F  # noqa: N812 # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = torch.randint(0, 256, (6000, DIMS), dtype=torch.uint8)
    encoder = nn.Sequential(nn.Linear(DIMS, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 2 * LATENT))
    decoder = nn.Sequential(nn.Linear(LATENT, WIDTH), nn.SiLU(), nn.Linear(WIDTH, DIMS))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)

    def step() -> None:
        x = images[torch.randint(0, len(images), (BATCH,))].float() / 255
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

    for _ in range(WARMUP):
        step()
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    return STEPS / (time.perf_counter() - start)


SIDES = {"jax": run_jax, "torch": run_torch}


def measure(python: str, side: str, core: int) -> float:
    """Steps a second of one side, in a process of its own that is held to one core."""
    command = ["taskset", "-c", str(core), python, __file__, "--side", side]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
    out = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(out.stdout.strip().splitlines()[-1])


def main() -> None:
    """Prints the steps a second of both sides and their ratio, round by round and the median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter with PyTorch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--side", choices=SIDES, help="measure one side in this process")
    arguments = parser.parse_args()
    if arguments.side:
        print(SIDES[arguments.side]())
        return
    rows = []
    for _ in range(arguments.rounds):
        ours = measure(sys.executable, "jax", arguments.core)
        theirs = measure(arguments.torch_python, "torch", arguments.core)
        rows.append({"jax": ours, "torch": theirs, "ratio": ours / theirs})
        print(json.dumps(rows[-1]), flush=True)
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    print(json.dumps({"median": medians}))


if __name__ == "__main__":
    main()
