"""The official TFDS `tiny_shakespeare`, prepared without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core import registered

from genjax_models.data.builders import originals

with registered.skip_registration():

    class TinyShakespeare(tfds.core.GeneratorBasedBuilder):
        """1,115,394 characters of Shakespeare's plays, 65 distinct, split 90/5/5 in order.

        References:
            A. Karpathy. The Unreasonable Effectiveness of Recurrent Neural Networks, 2015.
        """

        name = "tiny_shakespeare"
        VERSION = tfds.core.Version("1.0.0")
        url_infos = originals.url_infos(originals.TINY_SHAKESPEARE)

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self,
                description="40,000 lines from a variety of Shakespeare's plays.",
                features=tfds.features.FeaturesDict({"text": tfds.features.Text()}),
                homepage="https://github.com/karpathy/char-rnn",
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            (path,) = originals.fetch(originals.TINY_SHAKESPEARE, dl_manager).values()
            text = path.read_text(encoding="utf-8")
            # As the official builder cuts it: 90 % for training, then halves of what is left.
            train_end = int(len(text) * 0.9)
            test_start = train_end + int((len(text) - train_end) * 0.5)
            parts = {
                "train": text[:train_end],
                "validation": text[train_end:test_start],
                "test": text[test_start:],
            }
            return {split: self._generate_examples(split, part) for split, part in parts.items()}

        def _generate_examples(self, split: str, text: str) -> Iterator[tuple[str, dict[str, str]]]:
            yield split, {"text": text}
