"""USPS: digits off envelopes, 16x16 pixels.

The published values have steps of 1/1000 in [-1, 1], which is finer than 8 bits: the uint8 levels
here are rounded from them (by at most 1/510 of the range), as other libraries do.
"""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import registered

from genjax_models.data.builders import originals

NUM_EXAMPLES = {"train": 7_291, "test": 2_007}
LIBSVM_FILES = {"train": "usps.bz2", "test": "usps.t.bz2"}


def to_levels(steps: np.ndarray) -> np.ndarray:
    """Steps of 1/2000 of the range, 0 .. 2000, as the nearest of 256 levels (a half goes up)."""
    # In integers, so that both published forms of a value give the same level.
    return ((steps.astype(np.int64) * 255 + 1_000) // 2_000).astype(np.uint8)


def read_h5(path: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images `[N, 16, 16, 1]` and labels `[N]` from HDF5: floats in [0, 1], labels 0 .. 9."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"{path} needs h5py to be read: pip install h5py") from error

    with h5py.File(path, "r") as file:
        values, labels = np.asarray(file[f"{split}/data"]), np.asarray(file[f"{split}/target"])
    return to_levels(np.rint(values * 2_000.0)).reshape(-1, 16, 16, 1), labels


def read_libsvm(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The same from LIBSVM's text: `label index:value ...`, values in [-1, 1], labels 1 .. 10.

    An index that is left out stands for the value 0.
    """
    lines = bz2.decompress(path.read_bytes()).decode("ascii").splitlines()
    steps = np.full((len(lines), 256), 1_000, np.int64)
    labels = np.empty(len(lines), np.int64)
    for row, line in enumerate(lines):
        label, *entries = line.split()
        labels[row] = int(float(label)) - 1
        for entry in entries:
            index, value = entry.split(":")
            steps[row, int(index) - 1] = round((float(value) + 1) * 1_000)
    return to_levels(steps).reshape(-1, 16, 16, 1), labels


with registered.skip_registration():

    class Usps(tfds.core.GeneratorBasedBuilder):
        """7,291 + 2,007 handwritten digits of 16x16 pixels.

        References:
            J. J. Hull. A database for handwritten text recognition research. IEEE PAMI 16, 1994.
        """

        name = "usps"
        VERSION = tfds.core.Version("1.0.0")
        url_infos = originals.url_infos(originals.USPS)

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self,
                description="USPS handwritten digits, rounded to 256 levels.",
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Tensor(shape=(16, 16, 1), dtype=np.uint8),
                        "label": tfds.features.ClassLabel(num_classes=10),
                    }
                ),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            paths = originals.fetch(originals.USPS, dl_manager)
            return {split: self._generate_examples(paths, split) for split in NUM_EXAMPLES}

        def _generate_examples(
            self, paths: dict[str, Path], split: str
        ) -> Iterator[tuple[int, dict[str, Any]]]:
            if "usps.h5" in paths:
                images, labels = read_h5(paths["usps.h5"], split)
            else:
                images, labels = read_libsvm(paths[LIBSVM_FILES[split]])
            if len(images) != NUM_EXAMPLES[split]:
                raise ValueError(
                    f"usps {split} holds {len(images)} digits instead of {NUM_EXAMPLES[split]}"
                )
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield i, {"image": image, "label": int(label)}
