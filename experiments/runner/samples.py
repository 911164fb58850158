"""Samples, reconstructions and curves of a run, as arrays and as files."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from experiments.runner import runs
from experiments.runner.files import PICTURES, check_folder, check_output
from genjax_models import plots
from genjax_models.autoregressive.generation import generate
from genjax_models.autoregressive.model import Autoregressive
from genjax_models.core import Representation, TractableDensity
from genjax_models.core.files import replaced
from genjax_models.data import folders, tokenizers
from genjax_models.metrics.map_dataset import progress
from genjax_models.training.devices import sampler
from genjax_models.training.hooks import read_json_lines

if TYPE_CHECKING:
    from genjax_models.core import DataSpec
    from genjax_models.data import Dataset

NUM_PICTURES = 64
ENTRIES = 2**21
"""Entries of examples that are drawn at a time, at most: 2,048 images of MNIST."""
NUM_POINTS = 2_000
NUM_TEXTS, TEXT_TOKENS = 4, 500
NUM_WRITTEN = 16


def draw_samples(
    run: runs.Run, num: int, seed: int, label: int | None = None, **options: Any
) -> np.ndarray:
    """`num` samples `[num, *shape]` in the data's units, drawn from the averaged parameters.

    Sample i is a function of the seed and of i alone, however many there are and on what devices.

    Args:
        run: The run.
        num: Number of samples.
        seed: Decides them.
        label: The label of all of them, of a conditional model; None is all labels in turn.
        **options: Arguments of the model's `sample` in place of the run's own.
    """
    devices = run.record.config.devices or jax.device_count()
    # A power of two, so that usual numbers of devices draw as many at a time.
    size = min(num, 1 << max(1, ENTRIES // run.record.spec.num_dims).bit_length() - 1)
    size = -(-size // devices) * devices  # each device draws as many
    condition = dict(run.setup.condition(-(-num // size) * size))
    if label is not None:
        condition["label"] = np.full_like(condition["label"], label)
    options = {**run.setup.sampling, **options}

    def sample(learned: tuple[Any, Any, Any], key: jax.Array) -> jax.Array:
        params, state, given = learned
        return run.setup.model.sample(params, key, size, state=state, **given, **options)

    draw, key, parts = sampler(sample, devices), jax.random.key(seed), []
    with progress(num, "drawing samples") as advance:
        for i in range(0, num, size):
            given = {name: value[i : i + size] for name, value in condition.items()}
            own = key if i == 0 else jax.random.fold_in(key, i)
            parts.append(np.asarray(draw((run.params, run.state.state, given), own)))
            advance(size)
    return np.concatenate(parts)[:num]


def draw_texts(run: runs.Run, seed: int) -> np.ndarray:
    """A few texts `[N, T]`: longer than a window where the model can go on with them."""
    model = run.setup.model
    if not isinstance(model, Autoregressive) or model.num_classes is not None:
        return draw_samples(run, NUM_TEXTS, seed)
    nothing, key = np.zeros((NUM_TEXTS, 0), np.int32), jax.random.key(seed)
    state = run.state.state
    chunks = generate(model, run.params, key, nothing, TEXT_TOKENS, state=state)
    return np.concatenate(list(chunks), axis=1)


def reconstruct(run: runs.Run, data: Dataset, num: int) -> tuple[np.ndarray, np.ndarray] | None:
    """The first examples and what comes back of them through their codes.

    Returns:
        Two arrays `[num, *shape]`; None if the model has no codes.
    """
    model = run.setup.model
    if not isinstance(model, Representation):
        return None
    rows = data.rows(np.arange(min(num, len(data))))
    condition = {k: jnp.asarray(rows[k]) for k in run.setup.condition(1)}

    @jax.jit
    def there_and_back(x: jax.Array) -> jax.Array:
        z = model.encode(run.params, x, state=run.state.state, **condition)
        return model.decode(run.params, z, state=run.state.state, **condition)

    return rows["x"], np.asarray(there_and_back(jnp.asarray(rows["x"])))


def sample_columns(run: runs.Run) -> int | None:
    """Samples in a row of a grid: one a class, where they are conditioned on labels."""
    classes = run.record.spec.num_classes
    labelled = "label" in run.setup.condition(1) and classes is not None and classes <= 16
    return classes if labelled else None


def write_pictures(run: runs.Run, data: Dataset) -> None:
    """Writes what the run makes, as what it is, and curves into the run directory.

    Texts: samples. Points: samples beside data, and the density where it is known. Everything else:
    samples, also as the experiment's writers write them, and reconstructions of images where there
    are codes.

    Args:
        run: The run.
        data: The split whose examples are shown.
    """
    directory, spec = run.record.directory, run.record.spec
    seed = run.record.config.seed
    if spec.vocabulary:
        write_texts(draw_texts(run, seed), spec, directory / runs.TEXTS)
    elif spec.shape == (2,):
        _picture_points(run, data, draw_samples(run, NUM_POINTS, seed))
    else:
        columns = sample_columns(run)
        num = NUM_PICTURES if columns is None else 8 * columns
        images = draw_samples(run, num, seed)
        plots.save(plots.samples(images, spec, columns), directory / runs.SAMPLES)
        _write_all(run, images[:NUM_WRITTEN])
    pairs = reconstruct(run, data, NUM_PICTURES // 2) if len(spec.shape) == 3 else None
    if pairs is not None:
        picture = plots.reconstructions(*pairs, spec.num_levels)
        plots.save(picture, directory / runs.RECONSTRUCTIONS)
    rows = read_json_lines(directory / runs.METRICS)
    plots.save(plots.curves(rows), directory / runs.CURVES)


def _write_all(run: runs.Run, drawn: np.ndarray) -> None:
    """Writes samples by every one of the experiment's writers."""
    for suffix, write in run.setup.writers.items():
        path = (run.record.directory / runs.SAMPLES).with_suffix(suffix)
        try:
            write(drawn, path)
        except ImportError as error:  # of an extra: the run is as good without the file
            warnings.warn(f"{path.name} is not written: {error}", stacklevel=2)


def _picture_points(run: runs.Run, data: Dataset, points: np.ndarray) -> None:
    """Samples beside as many points of the data, and p(x) over where those lie."""
    directory, model = run.record.directory, run.setup.model
    x = data.rows(np.arange(min(NUM_POINTS, len(data))))["x"]
    (left, bottom), (right, top) = x.min(0), x.max(0)
    margin = 0.1 * max(right - left, top - bottom)
    extent = (left - margin, right + margin, bottom - margin, top + margin)
    picture = plots.scatter({"data": x, "model": points}, extent)
    plots.save(picture, directory / runs.SAMPLES)
    if isinstance(model, TractableDensity) and not run.setup.condition(1):
        log_prob = jax.jit(lambda x: model.log_prob(run.params, x, state=run.state.state))
        picture = plots.density(lambda x: log_prob(jnp.asarray(x)), extent)
        plots.save(picture, directory / runs.DENSITY)


def write_texts(samples: np.ndarray, spec: DataSpec, path: Path) -> None:
    """Writes texts `[N, T]` one after the other, each beneath its number."""
    tokenizer = tokenizers.of(spec)
    texts = [f"--- {i + 1} ---\n{tokenizer.decode(row)}\n" for i, row in enumerate(samples)]
    path.write_text("\n".join(texts), "utf-8")


def default_file(spec: DataSpec) -> Path:
    """Default file of samples of such data."""
    return Path("samples.txt" if spec.vocabulary else "samples.png")


def check_file(
    path: Path, spec: DataSpec, writers: Collection[str] = (), *, overwrite: bool = False
) -> None:
    """Refuses a file or a folder that samples of such data cannot be written to.

    Args:
        path: The file; a folder, where its name has no ending.
        spec: Description of one sample.
        writers: Suffixes that the experiment itself can write.
        overwrite: Whether what is there may be replaced.

    Raises:
        ValueError: The suffix says no format that can be written, nothing can lie there, or
            something does.
    """
    if path.suffix and not path.is_dir():
        suffixes = (*PICTURES, *writers, *((".txt",) if spec.vocabulary else ()), ".npz")
        check_output(path, suffixes, overwrite=overwrite)
    elif len(spec.shape) != 3 or spec.shape[-1] not in _MODES or spec.num_levels is None:
        raise ValueError(
            f"--out is {path}, a folder, which is for images, and samples here are of"
            f" {spec.name}: give the name of a file, such as samples.npz"
        )
    else:
        check_folder(path, r"([^/]+/)?\d+\.png", overwrite=overwrite)


def save_samples(samples: np.ndarray, run: runs.Run, path: Path, label: int | None = None) -> None:
    """Writes samples as what the file's suffix says.

    A picture, arrays (`.npz`: `x`, and `label` where there are any), text (`.txt`), or what the
    experiment has a writer for: `.mid`, `.gif`, `.wav`. A name without a suffix is a folder: of PNG
    files, one an image, with a subfolder for each class.

    Args:
        samples: The samples `[num, *shape]`, as `draw_samples` made them.
        run: Their run.
        path: The file or folder; what is there is replaced.
        label: The label of all of them, if they were drawn with one.
    """
    spec, writers = run.record.spec, run.setup.writers
    labels = run.setup.condition(len(samples)).get("label")
    labels = labels if labels is None or label is None else np.full_like(labels, label)
    if not path.suffix or path.is_dir():
        write_folder(samples, labels, spec, path)
        return
    with replaced(path) as fresh:
        if path.suffix in writers:
            writers[path.suffix](samples, fresh)
        elif path.suffix == ".npz":
            np.savez_compressed(fresh, **cast(Any, _arrays(samples, labels, spec)))
        elif path.suffix == ".txt":
            write_texts(samples, spec, fresh)
        else:
            columns = sample_columns(run) if label is None else None
            plots.save(plots.samples(samples, spec, columns), fresh)


def _arrays(
    samples: np.ndarray, labels: np.ndarray | None, spec: DataSpec
) -> dict[str, np.ndarray]:
    """Arrays by the names under which `gm.load` reads them of an `.npz` file."""
    arrays = {"x": samples}
    if spec.num_levels is not None and samples.dtype.kind in "iu":  # means are between levels
        arrays["num_levels"] = np.array(spec.num_levels)
    if labels is not None:
        arrays["label"] = labels
    if labels is not None and spec.class_names:
        arrays["class_names"] = np.array(spec.class_names)
    return arrays


_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Channels -> the mode of a PNG file."""


def write_folder(
    images: np.ndarray, labels: np.ndarray | None, spec: DataSpec, folder: Path
) -> None:
    """Writes images `[num, H, W, C]` as PNG files that `gm.load(folder, "all")` reads again.

    They are numbered in order; with labels, each lies in a subfolder that its class has given its
    name, or its number where that can be the name of no folder. Their values are brought to
    0 .. 255. A folder that is there is replaced.
    """
    from PIL import Image

    assert spec.num_levels is not None
    pixels = np.round(images * (255.0 / (spec.num_levels - 1))).astype(np.uint8)
    pixels, mode = pixels.squeeze(-1) if spec.shape[-1] == 1 else pixels, _MODES[spec.shape[-1]]
    classes, width = _class_folders(spec), len(str(len(images) - 1))
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent) as made:
        fresh = Path(made, "samples")
        fresh.mkdir()
        for i, image in enumerate(pixels):
            where = fresh if labels is None else fresh / classes[labels[i]]
            where.mkdir(exist_ok=True)
            Image.fromarray(image, mode).save(where / f"{i:0{width}}.png")
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)


def _class_folders(spec: DataSpec) -> list[str]:
    """The name of the folder of each class."""
    num, splits = spec.num_classes or 0, set(itertools.chain(*folders.SPLITS.values()))
    names = [spec.class_name(label) for label in range(num)]
    plain = all(
        name == Path(name).name and not name.startswith(".") and name.lower() not in splits
        for name in names
    )
    width = len(str(num - 1))
    return names if plain and spec.class_names else [f"{label:0{width}}" for label in range(num)]
