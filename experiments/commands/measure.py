"""`measure`: every figure of samples beside real examples, as a table."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import tyro

from experiments.commands.arguments import parse
from experiments.commands.terminal import in_columns
from experiments.runner.config import PositiveInt, Seed, Size

if TYPE_CHECKING:
    from genjax_models.core import DataSpec
    from genjax_models.data import Dataset
    from genjax_models.metrics import CachedExtractor


@dataclasses.dataclass(frozen=True)
class MeasureArguments:
    """Measure images against real ones in the features of a network.

    Both are a folder of images, an .npz file, a dataset's name or a run directory, whose samples
    are drawn. Figures of another network, or of another number of images, cannot be compared.
    """

    samples: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SAMPLES")]
    """The images to measure, brought to the size and the levels of the real ones."""
    reference: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="REFERENCE")]
    """Real images; of a dataset, its test split."""
    inception: Path | None = None
    """File of Inception-v3's weights, as pytorch-fid publishes it, for FID and KID."""
    classifier: str | None = None
    """A dataset with labels, whose classifier reads the images; by default the reference's own."""
    num: PositiveInt | None = None
    """Images of each at most, drawn without replacement; all by default, and of a run as many as
    there are in the reference."""
    size: Size | None = None
    """Height and width of the images of a folder of real ones, or one number for both: each is
    scaled until its shorter side fits, and cropped in the middle; None takes them as they are."""
    color: Literal["gray", "rgb"] | None = None
    """Colour that the real images of a folder are brought to; None is gray if all of them are."""
    json: bool = False
    """Print JSON."""
    seed: Seed = 0
    """Decides which images, and a run's samples."""


def main(argv: Sequence[str]) -> int:
    """The command `measure`.

    Raises:
        ValueError: Arguments that cannot be, or images that cannot be compared.
    """
    arguments = parse(MeasureArguments, "measure", argv)
    if arguments.inception is not None and arguments.classifier is not None:
        raise ValueError("--inception and --classifier are both given: leave one of them out")
    from experiments.runner.files import keep_compiled_programs
    from genjax_models.data.transforms import alike
    from genjax_models.metrics import compare_samples

    keep_compiled_programs()
    reference = _reference(arguments)
    samples = _samples(arguments, reference)
    alike(samples, reference.spec, 1)  # refused before a classifier is trained
    extractor, spec = _extractor(arguments, reference)
    num, seed = arguments.num or max(len(samples), len(reference)), arguments.seed
    x, y = ((alike(data, spec, num, seed).arrays or {})["x"] for data in (samples, reference))
    missing: dict[str, str] = {}

    def leave_out(name: str, error: ValueError) -> None:
        missing[name] = str(error)

    found = compare_samples(extractor, x, y, on_error=leave_out)
    if arguments.json:
        page = {name: figure._asdict() for name, figure in found.items()}
        print(json.dumps({"figures": page, "left_out": missing}, indent=2, allow_nan=False))
        return 0
    print(f"{len(x):,} of {arguments.samples} beside {len(y):,} of {arguments.reference}")
    print(f"in the features of {extractor.name}")
    rows = [
        (
            name,
            f"{figure.value:.5g}",
            "–" if figure.interval is None else "{:.5g} to {:.5g}".format(*figure.interval),
        )
        for name, figure in found.items()
    ]
    print(in_columns([("figure", "value", "95 %"), *rows]))
    for name, why in missing.items():
        print(f"{name} is left out: {why}", file=sys.stderr)
    return 0


def _reference(arguments: MeasureArguments) -> Dataset:
    """The real images: samples of a run, or a dataset as it is.

    Raises:
        ValueError: They are no images.
    """
    import genjax_models as gm

    name = arguments.reference
    if _is_run(name):
        data = _drawn(name, arguments, None)
    else:
        folder = Path(name).expanduser().is_dir() and name not in gm.data.names()
        split = "test" if name in gm.data.names() else "all" if folder else "train"
        data = gm.load(name, split, size=arguments.size, color=arguments.color)
    if len(data.spec.shape) != 3 or data.spec.num_levels is None:
        raise ValueError(f"{name} holds no images: give a folder or an .npz of them")
    return data


def _samples(arguments: MeasureArguments, reference: Dataset) -> Dataset:
    """The images to measure.

    Raises:
        ValueError: Nothing says how many levels those of an `.npz` have, and it matters.
    """
    from experiments.runner.datasets import load_like
    from genjax_models.data.array_files import npz_names

    name, spec = arguments.samples, reference.spec
    if _is_run(name):
        return _drawn(name, arguments, len(reference))
    data = load_like(spec, name)
    path, own, levels = Path(name).expanduser(), data.spec.num_levels or 0, spec.num_levels or 0
    if path.suffix == ".npz" and path.is_file() and "num_levels" not in npz_names(path):
        highest = np.max((data.arrays or {})["x"], initial=0)
        if highest < levels < own:
            raise ValueError(
                f"{name} holds values up to {highest:g}, of {own} levels as it seems, beside the"
                f" {levels} of {arguments.reference}: save num_levels={levels} (or {own}) in it,"
                " beside x"
            )
    return data


def _is_run(name: str) -> bool:
    from experiments.runner import runs

    return (Path(name).expanduser() / runs.CONFIG).is_file()


def _drawn(name: str, arguments: MeasureArguments, num: int | None) -> Dataset:
    """Samples of a run: `num`, or as many as its test split has, unless `--num` says so."""
    import genjax_models as gm
    from experiments.runner import loading, samples
    from experiments.runner.datasets import load_splits

    run = loading.load_run(Path(name).expanduser())
    num = arguments.num or num or len(load_splits(run.record.config).test)
    x = samples.draw_samples(run, num, arguments.seed)
    spec = dataclasses.replace(run.record.spec, num_classes=None, class_names=())
    return gm.Dataset(spec, "samples", {"x": x})


def _extractor(arguments: MeasureArguments, reference: Dataset) -> tuple[CachedExtractor, DataSpec]:
    """The network that reads the images, and what images it takes."""
    from genjax_models import metrics
    from genjax_models.core.files import cache_folder
    from genjax_models.data import names

    spec: DataSpec = reference.spec
    if arguments.inception is not None:
        extractor = metrics.load_inception(arguments.inception, spec.num_levels or 256)
    elif arguments.classifier is None and spec.num_classes is None:
        raise ValueError(
            f"{arguments.reference} has no labels that a classifier of its own could learn: give"
            " --inception FILE, or --classifier NAME of a dataset with labels"
        )
    else:
        own = arguments.reference if arguments.reference in names() else reference
        extractor = metrics.load_classifier(arguments.classifier or own)
        spec = extractor.model.spec
    folder = cache_folder() / "features"
    return metrics.CachedExtractor(extractor, extractor.fingerprint, folder), spec
