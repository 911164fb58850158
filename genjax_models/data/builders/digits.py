"""scikit-learn's bundled 8x8 digits as a TFDS set: real data that needs no network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import registered

NUM_TRAIN, NUM_VALIDATION = 1_000, 350

with registered.skip_registration():

    class Digits(tfds.core.GeneratorBasedBuilder):
        """1,797 handwritten digits of 8x8 pixels with 17 grey levels, in the order of the file.

        References:
            E. Alpaydin and C. Kaynak. Optical Recognition of Handwritten Digits, 1998. UCI Machine
            Learning Repository (the test part, as scikit-learn bundles it).
        """

        name = "digits"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self,
                description="scikit-learn's bundled 8x8 handwritten digits.",
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint8),
                        "label": tfds.features.ClassLabel(num_classes=10),
                    }
                ),
                supervised_keys=("image", "label"),
                disable_shuffling=True,  # the splits are fixed in file order
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            from sklearn.datasets import load_digits

            bundle: Any = load_digits()
            images, labels = bundle["images"].astype(np.uint8)[..., None], bundle["target"]
            end = NUM_TRAIN + NUM_VALIDATION
            parts = {
                "train": slice(0, NUM_TRAIN),
                "validation": slice(NUM_TRAIN, end),
                "test": slice(end, None),
            }
            return {
                split: self._generate_examples(images[part], labels[part])
                for split, part in parts.items()
            }

        def _generate_examples(
            self, images: np.ndarray, labels: np.ndarray
        ) -> Iterator[tuple[int, dict[str, Any]]]:
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield i, {"image": image, "label": int(label)}
