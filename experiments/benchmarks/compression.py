"""Compressed size of a run's test split, beside its likelihood and the usual formats.

    python -m experiments.benchmarks.compression RUN [RUN ...] [--num N]

Prints a table for each run and keeps it in the run's `compression.json`. All are of the same
examples: those of a model that binarises are one draw of black and white pixels, by `--seed`. gzip,
bz2 and xz have the entries as bytes or packed to bits, whichever is smaller; PNG and WebP have all
images side by side in one picture, which spares them a header an image.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import io
import lzma
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.commands.compress import CompressArguments, examples
from experiments.runner import loading, runs
from experiments.runner.files import keep_compiled_programs
from genjax_models.applications import compression
from genjax_models.core import ApproximateDensity, TractableDensity
from genjax_models.metrics.map_dataset import progress

TABLE = "compression.json"
BATCH, DRAWS = 100, 10


def nats_of(run: runs.Run, rows: Mapping[str, np.ndarray]) -> tuple[float, str]:
    """The mean of -log p(x), or of its bound by one code an example, and which of them it is."""
    model, state, num = run.setup.model, run.state.state, len(rows["x"])

    @jax.jit
    def log_prob(params: Any, rows: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        x, given = rows["x"], {name: a for name, a in rows.items() if name != "x"}
        if isinstance(model, TractableDensity):
            return model.log_prob(params, x, state=state, **given)
        assert isinstance(model, ApproximateDensity)
        return model.log_prob_bound(params, x, key, 1, state=state, **given)

    exact = isinstance(model, TractableDensity)
    total = 0.0
    for draw in range(1 if exact else DRAWS):
        for i in range(0, num, BATCH):
            part = {name: jnp.asarray(a[i : i + BATCH]) for name, a in rows.items()}
            key = jax.random.fold_in(jax.random.key(draw), i)
            total -= float(jnp.sum(log_prob(run.params, part, key)))
    if exact:
        return total / num, "exact"
    return total / num / DRAWS, f"-ELBO, mean of {DRAWS} draws an example"


def usual_formats(x: np.ndarray, num_levels: int) -> dict[str, int]:
    """Bytes that each of the usual formats makes of images `[N, H, W, C]` of so many levels."""
    raw = x.astype(np.uint8).tobytes()
    forms = [raw, np.packbits(x.astype(bool)).tobytes()] if num_levels == 2 else [raw]
    coders: Mapping[str, Callable[[bytes], bytes]] = {
        "gzip -9": lambda a: gzip.compress(a, 9),
        "bz2 -9": lambda a: bz2.compress(a, 9),
        "xz -9e": lambda a: lzma.compress(a, preset=9 | lzma.PRESET_EXTREME),
    }
    sizes = {name: min(len(coder(form)) for form in forms) for name, coder in coders.items()}
    return sizes | picture_sizes(x, num_levels)


def picture_sizes(x: np.ndarray, num_levels: int) -> dict[str, int]:
    """Bytes of the images side by side, as PNG and as WebP without a loss."""
    from PIL import Image

    num, height, width, channels = x.shape
    if channels not in (1, 3):
        return {}
    columns = math.ceil(math.sqrt(num))
    grid = np.zeros((columns * columns, height, width, channels), np.uint8)
    grid[:num] = x * (255 if num_levels == 2 else 1)
    grid = grid[: math.ceil(num / columns) * columns]
    sheet = grid.reshape(-1, columns, height, width, channels).swapaxes(1, 2)
    sheet = sheet.reshape(-1, columns * width, channels)
    picture = Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    if num_levels == 2:
        picture = picture.convert("1", dither=Image.Dither.NONE)

    def size(picture: Image.Image, **options: Any) -> int:
        file = io.BytesIO()
        picture.save(file, **options)
        return file.tell()

    options = {"lossless": True, "quality": 100, "method": 6, "exact": True}
    return {
        "PNG": size(picture, format="png", optimize=True),
        "WebP": size(picture.convert("RGB"), format="webp", **options),
    }


def measure(run: runs.Run, num: int | None, seed: int) -> dict[str, Any]:
    """The table of one run."""
    arguments = CompressArguments(run.record.directory, Path(), num=num, seed=seed)
    rows, changed = examples(run, arguments)
    x, state = rows["x"], run.state.state
    model: Any = run.setup.model
    began = time.process_time()
    with progress(len(x), "compressing") as advance:
        file = compression.compress(
            model, run.params, x, label=rows.get("label"), state=state, progress=advance
        )
    compressed = time.process_time()
    with progress(len(x), "decompressing") as advance:
        back = compression.decompress(model, run.params, file, state=state, progress=advance)
    decompressed = time.process_time()
    assert np.array_equal(back["x"], x)
    header, label_words, words = compression.read(file)
    nats, kind = nats_of(run, rows)
    seen = np.asarray(model.preprocess.apply(jnp.asarray(x), jax.random.key(0), model.spec))
    return {
        "run": run.record.directory.name,
        "examples": len(x),
        "entries": model.spec.num_dims,
        "levels": header.num_levels,
        "binarised": changed,
        "seed": seed,
        "bytes": len(file),
        "bytes_beside_the_code": len(file) - 4 * len(words) - 4 * len(label_words),
        "bits_per_dim": 8 * len(file) / x.size,
        "code_bits_per_dim": 32 * len(words) / x.size,
        "model_bits_per_dim": nats / math.log(2) / model.spec.num_dims,
        "model_kind": kind,
        "cpu_seconds": [round(compressed - began, 1), round(decompressed - compressed, 1)],
        "others": {
            name: 8 * size / x.size for name, size in usual_formats(seen, header.num_levels).items()
        },
    }


def in_words(row: Mapping[str, Any]) -> str:
    """A table of one run, in bits an entry."""
    over = row["code_bits_per_dim"] / row["model_bits_per_dim"] - 1
    lines = [
        f"{row['run']}: {row['examples']:,} examples of {row['entries']} entries of"
        f" {row['levels']} levels" + (f", binarised by seed {row['seed']}" * row["binarised"]),
        f"  {'the model':10} {row['model_bits_per_dim']:.4f}  ({row['model_kind']})",
        f"  {'its file':10} {row['bits_per_dim']:.4f}  ({row['bytes']:,} bytes, of which"
        f" {row['bytes_beside_the_code']} beside the code; the code is {over:+.2%} of the model's;"
        f" there and back in {row['cpu_seconds'][0]} and {row['cpu_seconds'][1]} s of CPU)",
    ]
    return "\n".join(lines + [f"  {name:10} {bits:.4f}" for name, bits in row["others"].items()])


def main() -> None:
    """Measures the runs that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.compression")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--num", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    keep_compiled_programs()
    for path in arguments.runs:
        row = measure(loading.load_run(path), arguments.num, arguments.seed)
        runs.write_json(path / TABLE, row)
        print(in_words(row), flush=True)


if __name__ == "__main__":
    main()
