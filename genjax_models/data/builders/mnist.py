"""The official TFDS `mnist`, prepared without TensorFlow: same content, same order."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tensorflow_datasets.core import registered
from tensorflow_datasets.image_classification import mnist as official

from genjax_models.data.builders import originals


def read_idx(path: Path) -> np.ndarray:
    """The array of bytes that a gzipped idx file holds.

    References:
        Y. LeCun, C. Cortes, C. J. C. Burges. The MNIST database of handwritten digits: the file
        format is a magic number whose last byte is the number of axes, then one big-endian int32
        an axis, then the values.
    """
    content = gzip.decompress(path.read_bytes())
    num_axes = content[3]
    shape = np.frombuffer(content, ">i4", count=num_axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * num_axes).reshape(shape)


with registered.skip_registration():

    class Mnist(official.MNIST):
        """60,000 + 10,000 handwritten digits of 28x28 pixels, 256 grey levels."""

        name = "mnist"
        url_infos = originals.url_infos(originals.MNIST)

        def _split_generators(self, dl_manager: Any) -> Any:
            paths = originals.fetch(originals.MNIST, dl_manager)
            return {
                split: self._records(
                    read_idx(paths[f"{prefix}-images-idx3-ubyte.gz"]),
                    read_idx(paths[f"{prefix}-labels-idx1-ubyte.gz"]),
                )
                for split, prefix in (("train", "train"), ("test", "t10k"))
            }

        def _records(
            self, images: np.ndarray, labels: np.ndarray
        ) -> Iterator[tuple[int, dict[str, Any]]]:
            # An Image feature encodes a PIL image by itself, but an array only by TensorFlow.
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield i, {"image": Image.fromarray(image), "label": int(label)}
