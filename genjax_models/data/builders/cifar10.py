"""CIFAR-10: the official TFDS set without TensorFlow, and a lossy stand-in made of JPEG files."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core import registered
from tensorflow_datasets.image_classification import cifar as official

from genjax_models.data.builders import originals

CLASSES = originals.CIFAR10_CLASSES
_RECORD_BYTES = 1 + 3 * 32 * 32


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(member)
    assert content is not None
    return content.read()


with registered.skip_registration():

    class Cifar10(official.Cifar10):
        """50,000 + 10,000 colour images of 32x32 in 10 classes, as published."""

        name = "cifar10"
        url_infos = originals.url_infos(originals.CIFAR10)

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            (path,) = originals.fetch(originals.CIFAR10, dl_manager).values()
            features: Any = self.info.features
            features["label"].names = list(CLASSES)
            train = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
            return {
                "train": self._records("train_", path, train),
                "test": self._records("test_", path, ("test_batch.bin",)),
            }

        def _records(
            self, prefix: str, path: Path, files: tuple[str, ...]
        ) -> Iterator[tuple[int, dict[str, Any]]]:
            with tarfile.open(path) as archive:
                members = {Path(m.name).name: m for m in archive}
                content = b"".join(_read(archive, members[file]) for file in files)
            records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD_BYTES)
            for i, record in enumerate(records):
                image = record[1:].reshape(3, 32, 32).transpose(1, 2, 0)  # planes to pixels
                yield (
                    i,
                    {
                        "id": f"{prefix}{i:05d}",
                        "image": Image.fromarray(np.ascontiguousarray(image)),
                        "label": int(record[0]),
                    },
                )

    class Cifar10Jpg(tfds.core.GeneratorBasedBuilder):
        """CIFAR-10 as JPEG files of quality 75: lossy, so its bits/dim and FID are not CIFAR's."""

        name = "cifar10_jpg"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self,
                description="CIFAR-10 as JPEG files of quality 75 (lossy).",
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Image(shape=(32, 32, 3), encoding_format="jpeg"),
                        "label": tfds.features.ClassLabel(names=CLASSES),
                    }
                ),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            (path,) = originals.fetch(originals.CIFAR10_JPG, dl_manager).values()
            return {split: self._generate_examples(path, split) for split in ("train", "test")}

        def _generate_examples(
            self, path: Path, split: str
        ) -> Iterator[tuple[str, dict[str, Any]]]:
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.name.startswith(f"{split}/") and member.name.endswith(".jpg"):
                        _, label, _ = member.name.split("/")
                        yield member.name, {"image": _read(archive, member), "label": label}
