"""CMP Facades as pairs of a photo and the map of its parts, for translation between the two."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core import registered

from genjax_models.data.builders import originals

SPLITS = {"train": ("train", 400), "validation": ("val", 100), "test": ("test", 106)}
"""Split -> its folder in the archive, and how many pairs that holds."""

with registered.skip_registration():

    class FacadesPaired(tfds.core.GeneratorBasedBuilder):
        """400 + 100 + 106 pairs of 256x256: the photo on the left, the labels on the right.

        References:
            R. Tylecek and R. Sara. Spatial pattern templates for recognition of objects with
            regular structure. GCPR 2013. Paired by P. Isola et al., arXiv:1611.07004.
        """

        name = "facades_paired"
        VERSION = tfds.core.Version("1.0.0")
        url_infos = originals.url_infos(originals.FACADES)

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self,
                description="CMP Facades: photo and labels side by side.",
                # The JPEG as published: coded anew it would lose a second time.
                features=tfds.features.FeaturesDict(
                    {"pair": tfds.features.Image(shape=(256, 512, 3), encoding_format="jpeg")}
                ),
                homepage="https://cmp.felk.cvut.cz/~tylecr1/facade/",
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            (path,) = originals.fetch(originals.FACADES, dl_manager).values()
            return {split: self._generate_examples(path, *SPLITS[split]) for split in SPLITS}

        def _generate_examples(
            self, path: Path, folder: str, num_pairs: int
        ) -> Iterator[tuple[int, dict[str, bytes]]]:
            found = 0
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.name.endswith(".jpg") and f"/{folder}/" in member.name:
                        content = archive.extractfile(member)
                        assert content is not None
                        with Image.open(content) as image:
                            size = image.size
                        if size != (512, 256):
                            raise ValueError(f"{member.name} is {size} instead of (512, 256)")
                        content.seek(0)
                        found += 1
                        yield int(Path(member.name).stem), {"pair": content.read()}
            if found != num_pairs:
                raise ValueError(f"{path} holds {found} pairs in {folder}, not {num_pairs}")
