"""`Dataset`: examples that are asked for by number, with a description of what one example is."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.core.types import DataSpec
from genjax_models.data import arrays as arrays_
from genjax_models.data.augment import Augment, Chain, RandomCrop, RandomFlip
from genjax_models.data.images import Background, Color, Crop, Reading, Size
from genjax_models.data.records import Records


class Source(Protocol):
    """Random access to records: a TFDS data source, or anything that answers the same calls."""

    def __len__(self) -> int:
        """Number of records."""
        ...

    def __getitems__(self, record_keys: Sequence[int], /) -> Sequence[Mapping[str, Any]]:
        """The records of those numbers, each a mapping such as `{"x": ..., "label": ...}`."""
        ...


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """One split of a data set: examples by number, in memory or read when asked for.

    The order of batches is not decided here: training asks for `rows(indices)`, or copies `arrays`
    to the device once and calls `gather` there.

    A text is one long array of tokens. Its examples are all windows of `spec.shape[0]` tokens, one
    for each start, so neighbouring examples overlap; `batches` walks windows that do not.

    Attributes:
        spec: Description of one example.
        split: The split's name, for messages.
        arrays: The whole set in memory: `x` `[N, *spec.shape]` and conditions by name (`label`
            `[N]`), or `x` `[num_tokens]` for a text. None where the set streams from `source`.
        source: Random access to the records of a set too large for memory, else None.
        window: For a text, the number of tokens of one example; else None.
        augment: Augmentation of each example as a batch is formed, on the host; random only in
            training (`training_rows`). None leaves the examples as they are.
    """

    spec: DataSpec
    split: str = "train"
    arrays: Mapping[str, np.ndarray] | None = None
    source: Source | None = None
    window: int | None = None
    augment: Augment | None = None

    def __post_init__(self) -> None:
        """Checks that there is exactly one place to read from."""
        if (self.arrays is None) == (self.source is None):
            raise ValueError("a Dataset needs either arrays (in memory) or a source (streaming)")
        if self.arrays is not None and not isinstance(self.arrays, Mapping):
            raise TypeError(
                f"arrays is a {type(self.arrays).__name__}: give arrays by name, {{'x': ...}}, or"
                " use gm.Dataset.from_arrays(x, labels)"
            )
        if self.window is not None:
            arrays_.check_window(self._num_rows(), self.window, self.spec.name, self.split)
        elif self._num_rows() == 0:
            raise ValueError(f"{self.spec.name}[{self.split}] holds no examples: it needs one")

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        labels: Any = None,
        *,
        num_levels: int | None = None,
        num_classes: int | None = None,
        class_names: Sequence[str] = (),
        name: str = "arrays",
        split: str = "train",
        extra: Mapping[str, Any] | None = None,
    ) -> Dataset:
        """A data set of arrays in memory.

        Args:
            images: Images `[N, H, W, C]` or `[N, H, W]` of integers 0 .. num_levels - 1, sequences
                `[N, T]` of integers, or points `[N, D]` of floats.
            labels: Integers `[N]`, 0 .. num_classes - 1, or None. Also whole floats, truth values,
                one-hot rows, and words, which are the classes' names (`data.labels`).
            num_levels: Number of values an entry can take. By default 256 for uint8, 2 for bool,
                and the highest value plus one for wider integers; points have none.
            num_classes: Number of labels; by default those that have an example, and where their
                numbers have gaps, these are closed up with a warning.
            class_names: Names of the labels, in order.
            name: The data set's name, for messages.
            split: The split's name, for messages.
            extra: Further arrays `[N, ...]` by name, handed on in every batch as they are.

        Returns:
            The data set; `x` is uint8 (int32 above 256 levels, and for sequences of wider
            integers), `label` int32, points float32.

        Raises:
            ValueError: A shape, a type or a value that no example can have, with the mend.
        """
        x, num_levels = arrays_.examples(images, num_levels, name)
        arrays, classes = {"x": x}, tuple(map(str, class_names))
        if labels is not None:
            arrays["label"], num_classes, classes = arrays_.read_labels(
                labels, len(x), num_classes, classes, name
            )
        for key, value in (extra or {}).items():
            arrays[key] = arrays_.extra_array(np.asarray(value), len(x), key, name)
        spec = DataSpec(x.shape[1:], num_levels, num_classes, name=name, class_names=classes)
        return cls(spec, split, arrays)

    @classmethod
    def from_source(
        cls,
        source: Any,
        image: str = "image",
        label: str | None = "label",
        *,
        size: Size | None = None,
        crop: Crop = "center",
        flip: bool = False,
        color: Color | None = None,
        background: Background = 255,
        class_names: Sequence[str] = (),
        name: str = "source",
        split: str = "train",
    ) -> Dataset:
        """A data set of records that are read when they are asked for, each a mapping.

        Hugging Face's `datasets.Dataset`, with class names from its `ClassLabel`, or
        anything with `source[i]` and `len(source)`. Images are read as those of a folder are
        (`data.load`). Labels are read once, of all records.

        Args:
            source: Random access to the records.
            image: The entry that is the image: Pillow's, or integers 0 .. 255 `[H, W]` or
                `[H, W, C]`.
            label: The entry that is the label: an integer or a word. None for no labels; records
                without an entry `label` have none.
            size: Pixels that images are scaled and cropped to; without it all have one size.
            crop: Crop: `center`, or in training `random`.
            flip: If True, training mirrors images with probability 1/2.
            color: `gray` or `rgb`, which images are brought to; by default all are as the first.
            background: Colour behind transparent pixels.
            class_names: Names of the labels, in order, if the source has none.
            name: The data set's name, for messages.
            split: The split's name, for messages.

        Raises:
            TypeError: The source gives no records by number.
            ValueError: An entry is not there, or is not an image or label.
        """
        reading = Reading(size, crop, color, background)
        records = Records.of(source, image, label, reading, tuple(class_names), name)
        spec = DataSpec(
            records.shape, 256, records.num_classes, name=name, class_names=records.class_names
        )
        data = cls(spec, split, source=records)
        if crop == "random":
            data = data.augmented(RandomCrop(*spec.shape[:2]))
        return data.augmented(RandomFlip()) if flip else data

    def augmented(self, augment: Augment) -> Dataset:
        """The same data set, augmented in training, after what it is augmented by already."""
        if self.augment is not None:
            augment = Chain((self.augment, augment))
        return dataclasses.replace(self, augment=augment)

    @property
    def in_memory(self) -> bool:
        """True if the whole split is in `arrays`."""
        return self.arrays is not None

    def _num_rows(self) -> int:
        if self.arrays is not None:
            return len(self.arrays["x"])
        assert self.source is not None
        return len(self.source)

    def __len__(self) -> int:
        """Number of examples; for a text, of window starts."""
        return self._num_rows() if self.window is None else self._num_rows() - self.window + 1

    def rows(self, indices: Any) -> dict[str, np.ndarray]:
        """The examples of those numbers as one batch, on the host.

        Args:
            indices: Integers `[B]`, 0 .. len - 1.

        Returns:
            `x` `[B, *spec.shape]` and every condition `[B, ...]`.
        """
        return self._batch(np.asarray(indices), [None] * len(indices))

    def training_rows(self, indices: Any, seed: int, step: int) -> dict[str, np.ndarray]:
        """`rows` as a step of training sees them: augmented, if the data are.

        Args:
            indices: Integers `[B]`, 0 .. len - 1.
            seed: Seed of the run.
            step: Step, from 0: what is left to chance is a function of both and of the index.
        """
        return self._batch(np.asarray(indices), [_generator(seed, step, i) for i in indices])

    def _batch(
        self, indices: np.ndarray, randoms: Sequence[np.random.Generator | None]
    ) -> dict[str, np.ndarray]:
        if self.arrays is None:
            assert self.source is not None
            records = self.source.__getitems__([int(i) for i in indices])
        else:
            rows = indices[:, None] + np.arange(self.window) if self.window else indices  # [B, T]
            batch = {name: array[rows] for name, array in self.arrays.items()}
            if self.augment is None:
                return batch
            records = [{name: a[i] for name, a in batch.items()} for i in range(len(indices))]
        if self.augment is not None:
            records = [self.augment(r, g) for r, g in zip(records, randoms, strict=True)]
        return {k: np.stack([np.asarray(r[k]) for r in records]) for k in records[0]}

    def gather(self, arrays: Mapping[str, jax.Array], indices: jax.Array) -> dict[str, jax.Array]:
        """`rows` as a pure function of arrays that lie on the device; it can be jitted.

        Data that are augmented are not gathered so: training asks for their `training_rows`.

        Args:
            arrays: `self.arrays`, copied to the device.
            indices: Integers `[B]`.

        Returns:
            `x` `[B, *spec.shape]` and every condition `[B, ...]`.
        """
        if self.window is not None:
            indices = indices[:, None] + jnp.arange(self.window)  # [B, T]
        return {name: array[indices] for name, array in arrays.items()}

    def batches(self, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
        """Every example once, in order, for evaluation; the last batch may be short.

        A text is walked in windows that do not overlap, so that every token counts once; the
        tokens after the last whole window are left out.
        """
        arrays_.positive_int(batch_size, "batch_size")
        starts = np.arange(0, len(self), self.window or 1)
        for i in range(0, len(starts), batch_size):
            yield self.rows(starts[i : i + batch_size])

    def take(self, num: int) -> Dataset:
        """The first `num` examples (all, if there are fewer)."""
        arrays_.positive_int(num, "num")
        return self[:num]

    def __getitem__(self, part: slice) -> Dataset:
        """The examples `start:stop` as a data set of their own."""
        if not isinstance(part, slice) or part.step not in (None, 1):
            raise TypeError(
                f"a Dataset takes a slice start:stop, got {part!r}; use rows([...]) for examples"
            )
        start, stop, _ = part.indices(len(self))
        if self.arrays is None:
            assert self.source is not None
            return dataclasses.replace(self, source=_Part(self.source, start, stop))
        if self.window is not None and stop > start:
            stop += self.window - 1
        return dataclasses.replace(self, arrays={k: a[start:stop] for k, a in self.arrays.items()})

    def with_window(self, window: int) -> Dataset:
        """The same text with examples of another length.

        Args:
            window: Number of tokens of one example.

        Raises:
            ValueError: The set is not a text, or the text is shorter than the window.
        """
        if self.window is None:
            raise ValueError(f"{self.spec.name} is not a text: only a text is cut into windows")
        arrays_.positive_int(window, "window")
        spec = dataclasses.replace(self.spec, shape=(window,))
        return dataclasses.replace(self, spec=spec, window=window)

    def __repr__(self) -> str:
        """Name, split, size and what an example is."""
        spec = self.spec
        parts = [f"{len(self):,} examples of shape {spec.shape}"]
        parts.append("real numbers" if spec.num_levels is None else f"{spec.num_levels} levels")
        if spec.num_classes is not None:
            named = spec.class_names[:3] + ("...",) * (len(spec.class_names) > 3)
            parts.append(f"{spec.num_classes} classes" + f" ({', '.join(named)})" * bool(named))
        if self.arrays is None:
            parts.append("streaming")
        else:
            parts.append(", ".join(f"{k} {a.dtype}" for k, a in self.arrays.items()))
        if self.augment is not None:
            parts.append(f"augmented by {self.augment}")
        return f"Dataset({spec.name}[{self.split}]: {'; '.join(parts)})"


def _generator(seed: int, step: int, index: int) -> np.random.Generator:
    """Random generator of one example in one step; the examples' order uses other counters."""
    return np.random.Generator(np.random.Philox(key=[seed, step], counter=[0, int(index), 1, 0]))


@dataclasses.dataclass(frozen=True)
class _Part:
    """Records start .. stop - 1 of a source."""

    source: Source
    start: int
    stop: int

    def __len__(self) -> int:
        return max(0, self.stop - self.start)

    def __getitems__(self, record_keys: Sequence[int], /) -> Sequence[Mapping[str, Any]]:
        return self.source.__getitems__([self.start + int(k) for k in record_keys])


_SPLIT = re.compile(r"(?P<name>\w+)(?:\[(?P<start>-?\d+%?)?:(?P<stop>-?\d+%?)?\])?")


def parse_split(split: str, known: Sequence[str], name: str) -> tuple[str, str, str]:
    """The split's name and the two ends of its slice, as written ("" where left out).

    Raises:
        ValueError: The text is no split, or the set has no split of that name.
    """
    match = _SPLIT.fullmatch(split) if isinstance(split, str) else None
    if match is None or match["name"] not in known:
        raise ValueError(
            f"{name} has no split {split!r}; it has {', '.join(known)}, and slices of them such"
            f" as {known[0]}[:1000] or {known[0]}[90%:]"
        )
    return match["name"], match["start"] or "", match["stop"] or ""


def split_bounds(start: str, stop: str, num: int) -> slice:
    """The slice of `num` examples that two ends stand for; a per cent is rounded to the nearest."""

    def position(text: str, default: int) -> int:
        if not text:
            return default
        value = round(int(text[:-1]) * num / 100) if text.endswith("%") else int(text)
        return min(max(value + num if value < 0 else value, 0), num)

    return slice(position(start, 0), position(stop, num))
