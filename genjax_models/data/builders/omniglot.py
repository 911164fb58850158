"""Omniglot's handwritten characters as 28x28 grey images, bright ink on black like MNIST's."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core import registered

from genjax_models.data.builders import originals

NUM_BACKGROUND, NUM_EVALUATION = 964, 659
"""Characters of the two parts; no character is in both."""


def shrink(paper: np.ndarray) -> np.ndarray:
    """A drawing `[105, 105]` (True = paper) as 28x28 uint8 with bright ink.

    Every pixel is the mean over the 3.75 x 3.75 area that it covers, so that ink is neither lost
    nor doubled.
    """
    ink = Image.fromarray(np.where(paper, 0, 255).astype(np.uint8))
    return np.asarray(ink.resize((28, 28), Image.Resampling.BOX))


def read_npz(path: Path) -> Iterator[tuple[int, int, np.ndarray]]:
    """Character, drawer and drawing, from bool arrays `[characters, drawers, 105, 105]`."""
    with np.load(path) as arrays:
        for character, drawings in enumerate(arrays["images"]):
            for drawer, paper in enumerate(drawings):
                yield character, drawer, paper


def read_zip(path: Path) -> Iterator[tuple[int, int, np.ndarray]]:
    """Character, drawer and drawing, from images in folders `alphabet/characterNN`.

    Characters are numbered in the sorted order of alphabet and character.
    """
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        folders = sorted({name.rsplit("/", 1)[0] for name in names})
        character_of = {folder: i for i, folder in enumerate(folders)}
        for name in names:
            folder, file = name.rsplit("/", 1)
            drawer = int(file.removesuffix(".png").split("_")[1]) - 1
            with archive.open(name) as stream:
                paper = np.asarray(Image.open(stream).convert("L")) > 127
            yield character_of[folder], drawer, paper


with registered.skip_registration():

    class Omniglot28(tfds.core.GeneratorBasedBuilder):
        """19,280 + 13,180 drawings of 964 + 659 characters, 20 drawers each.

        References:
            B. M. Lake, R. Salakhutdinov, J. B. Tenenbaum. Human-level concept learning through
            probabilistic program induction. Science 350, 2015.
        """

        name = "omniglot28x28"
        VERSION = tfds.core.Version("1.0.0")
        url_infos = originals.url_infos(originals.OMNIGLOT)

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self,
                description="Omniglot, shrunk to 28x28 by area; ink is bright.",
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Tensor(shape=(28, 28, 1), dtype=np.uint8),
                        "label": tfds.features.ClassLabel(
                            num_classes=NUM_BACKGROUND + NUM_EVALUATION
                        ),
                    }
                ),
                supervised_keys=("image", "label"),
                homepage="https://github.com/brendenlake/omniglot",
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            paths = originals.fetch(originals.OMNIGLOT, dl_manager)
            npz = "images_background.npz" in paths
            read, end = (read_npz, ".npz") if npz else (read_zip, ".zip")
            background, evaluation = (
                read(paths[f"images_{part}{end}"]) for part in ("background", "evaluation")
            )
            return {
                "train": self._generate_examples(background, 0),
                "test": self._generate_examples(evaluation, NUM_BACKGROUND),
            }

        def _generate_examples(
            self, drawings: Iterable[tuple[int, int, np.ndarray]], first_label: int
        ) -> Iterator[tuple[int, dict[str, Any]]]:
            for character, drawer, paper in drawings:
                yield (
                    20 * character + drawer,
                    {"image": shrink(paper)[..., None], "label": first_label + character},
                )
