"""The datasets that TFDS prepares: their splits and builders, and preparing one once.

Original files are at hand or downloaded, checked, and written whole or not at all. If a
file's host cannot be reached, it fails at once, in one line: TFDS itself would try for minutes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import importlib
import io
import logging
import os
import re
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from genjax_models.core.types import DIGITS, DataSpec
from genjax_models.data.array_files import lock
from genjax_models.data.builders import originals

Record = Mapping[str, Any]
Example = dict[str, Any]


def image_and_label(record: Record) -> Example:
    """The usual record of a labelled image."""
    return {"x": record["image"], "label": np.int32(record["label"])}


def photo_and_map(record: Record) -> Example:
    """A pair side by side: the photo on the left is what is modelled, given the map of parts."""
    pair = record["pair"]  # [256, 512, 3]
    return {"x": pair[:, :256], "condition": pair[:, 256:]}


def waveform(record: Record) -> Example:
    """Returns a recording, the spoken digit, and the speaker."""
    label, speaker = np.int32(record["label"]), np.int32(record["speaker"])
    return {"x": record["audio"], "label": label, "speaker": speaker}


def characters(record: Record) -> Example:
    """A text as the numbers of its characters in Unicode."""
    text = record["text"]
    text = text.decode("utf-8") if isinstance(text, bytes) else text
    return {"x": np.frombuffer(text.encode("utf-32-le"), "<u4")}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Preparation of a data set.

    Attributes:
        spec: Description of one example. For a text, the levels and the vocabulary are read off the
            training split.
        builder: `module:Class` in `genjax_models.data.builders`.
        version: The builder's version, so that a decoded set is found without importing TFDS.
        splits: Split -> slice of the prepared set, in TFDS's notation.
        sources: The original files, in the folder `spec.name` of the files at hand.
        example: One record as one example.
    """

    spec: DataSpec
    builder: str
    version: str
    splits: Mapping[str, str]
    sources: tuple[originals.Source, ...] = ()
    example: Callable[[Record], Example] = image_and_label

    @property
    def is_text(self) -> bool:
        """True if the set is one long text."""
        return self.example is characters

    def builder_class(self) -> type:
        """The TFDS builder; importing it imports TFDS."""
        module, name = self.builder.split(":")
        return getattr(importlib.import_module(f"genjax_models.data.builders.{module}"), name)


_OWN = MappingProxyType({"train": "train", "validation": "validation", "test": "test"})
# No validation split of their own: the end of the training split serves. TFDS shuffles what it
# writes, so that the end is a fair sample.
_MNIST = MappingProxyType({"train": "train", "validation": "train[50000:]", "test": "test"})
_LAST_TENTH = MappingProxyType({"train": "train", "validation": "train[90%:]", "test": "test"})

_RECIPES = (
    Recipe(DIGITS, "digits:Digits", "1.0.0", _OWN),
    Recipe(
        DataSpec((28, 28, 1), 256, 10, name="mnist"),
        "mnist:Mnist",
        "3.0.1",
        _MNIST,
        originals.MNIST,
    ),
    Recipe(
        DataSpec((28, 28, 1), 256, 1_623, name="omniglot"),
        "omniglot:Omniglot28",
        "1.0.0",
        _LAST_TENTH,
        originals.OMNIGLOT,
    ),
    Recipe(
        DataSpec((16, 16, 1), 256, 10, name="usps"),
        "usps:Usps",
        "1.0.0",
        _LAST_TENTH,
        originals.USPS,
    ),
    Recipe(
        DataSpec((256,), name="tiny_shakespeare"),
        "tiny_shakespeare:TinyShakespeare",
        "1.0.0",
        _OWN,
        originals.TINY_SHAKESPEARE,
        example=characters,
    ),
    Recipe(
        DataSpec((8_192, 1), 65_536, 10, name="spoken_digit"),
        "spoken_digit:SpokenDigit",
        "1.0.0",
        _OWN,
        originals.SPOKEN_DIGIT,
        example=waveform,
    ),
    Recipe(
        DataSpec((256, 256, 3), 256, name="facades"),
        "facades:FacadesPaired",
        "1.0.0",
        _OWN,
        originals.FACADES,
        example=photo_and_map,
    ),
    Recipe(
        DataSpec((32, 32, 3), 256, 10, name="cifar10", class_names=originals.CIFAR10_CLASSES),
        "cifar10:Cifar10",
        "3.0.2",
        _LAST_TENTH,
        originals.CIFAR10,
    ),
    Recipe(
        DataSpec((32, 32, 3), 256, 10, name="cifar10_jpg", class_names=originals.CIFAR10_CLASSES),
        "cifar10:Cifar10Jpg",
        "1.0.0",
        _LAST_TENTH,
        originals.CIFAR10_JPG,
    ),
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.spec.name: recipe for recipe in _RECIPES})
"""The sets by name."""

SUBSTITUTES: Mapping[str, str] = MappingProxyType({"cifar10": "cifar10_jpg"})
"""Set -> the one that stands in, with a warning, where only its files are at hand."""


FILES_VARIABLE = "GENJAX_DATA"
"""Environment variable: a folder that holds the sets' original files, one folder a set."""

REACH_SECONDS = 3.0


def default_data_dir() -> Path:
    """TFDS's own: `$TFDS_DATA_DIR`, or `~/tensorflow_datasets`."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def prepared(recipe: Recipe, data_dir: Path) -> Any:
    """Returns the set's TFDS builder, with its data prepared.

    Args:
        recipe: The set.
        data_dir: Folder of TFDS's sets.

    Returns:
        A builder with a readable `as_data_source(split)`.

    Raises:
        originals.ChecksumError: A file at hand, or a downloaded one, is not the published one.
        FileNotFoundError: A file is not at hand and its host cannot be reached.
    """
    import tensorflow_datasets as tfds

    logging.getLogger("absl").addFilter(_not_about_opencv)
    array_record = tfds.core.FileFormat.ARRAY_RECORD
    _check_writable(data_dir)
    with lock(data_dir / "genjax_models" / f"{recipe.spec.name}.lock"):
        # A set prepared in another format needs TensorFlow to read: prepare ours beside it.
        for root in (data_dir, data_dir / "genjax_models"):
            builder = recipe.builder_class()(data_dir=root)
            if not Path(builder.data_dir).is_dir():
                _prepare(builder, recipe, data_dir)
                return builder
            if builder.info.file_format == array_record:
                return builder
    raise ValueError(
        f"{recipe.spec.name} in {data_dir} is not in the array_record format, which alone can be"
        " read without TensorFlow; give another data_dir"
    )


def _not_about_opencv(record: logging.LogRecord) -> bool:
    """Drops TFDS's advice to install OpenCV: an image is decoded once, and Pillow will do."""
    return "OpenCV is not installed" not in record.getMessage()


def available(recipe: Recipe, data_dir: Path) -> bool:
    """Returns True if a set is prepared, or its files are local or can be downloaded."""
    if (data_dir / recipe.spec.name / recipe.version).is_dir():
        return True
    try:
        _check_source(recipe, folder_at_hand(recipe, data_dir), data_dir / "downloads")
    except FileNotFoundError:
        return False
    return True


def _check_writable(data_dir: Path) -> None:
    try:
        (data_dir / "genjax_models").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermissionError(
            f"the data folder {data_dir} cannot be written ({error.strerror}); give another"
            " data_dir, or set TFDS_DATA_DIR"
        ) from error


def _prepare(builder: Any, recipe: Recipe, data_dir: Path) -> None:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import download_manager

    downloads = data_dir / "downloads"
    folder = folder_at_hand(recipe, data_dir)
    source = _check_source(recipe, folder, downloads)
    to_download = any(not (folder / file.name).is_file() for file in source)
    config = tfds.download.DownloadConfig(
        manual_dir=folder,
        try_download_gcs=False,  # it would only serve tfrecord files
        max_shard_size=1 << 30,
    )
    if recipe.sources:
        print(f"preparing {recipe.spec.name} in {data_dir}, this once", file=sys.stderr)
    # TFDS talks on standard output, which belongs to the caller's own results.
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        if not to_download:
            tfds.disable_progress_bar()
            stack.callback(tfds.enable_progress_bar)
        try:
            builder.download_and_prepare(
                download_dir=downloads, download_config=config, file_format="array_record"
            )
        except tfds.download.DownloadError as error:
            raise FileNotFoundError(f"{recipe.spec.name}: {_one_line(error)}") from error
        except download_manager.NonMatchingChecksumError as error:
            raise originals.ChecksumError(f"{recipe.spec.name}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()


def folder_at_hand(recipe: Recipe, data_dir: Path) -> Path:
    """Folder of the set's local files: in `$GENJAX_DATA`, else TFDS's `downloads/manual`."""
    root = os.environ.get(FILES_VARIABLE)
    return (Path(root).expanduser() if root else data_dir / "downloads/manual") / recipe.spec.name


def _check_source(recipe: Recipe, folder: Path, downloads: Path) -> originals.Source:
    """The source to prepare from, its files verified or their hosts reachable."""
    if not recipe.sources:
        return ()
    source = originals.choose(recipe.sources, folder)
    if source is None:
        raise FileNotFoundError(_missing(recipe, recipe.sources[0][0], folder, "has no download"))
    for file in source:
        if (folder / file.name).is_file():
            originals.verify(folder / file.name, file)
        elif not _downloaded(file, downloads) and (why := unreachable(str(file.url))):
            raise FileNotFoundError(_missing(recipe, file, folder, why))
    return source


def _missing(recipe: Recipe, file: originals.RawFile, folder: Path, why: str) -> str:
    mend = "connect to the network, or put it there" if file.url else "put it there"
    return (
        f"{recipe.spec.name} is not prepared yet: {file.name} is not in {folder} and {why}; {mend},"
        f" or set {FILES_VARIABLE} to a folder that holds {recipe.spec.name}/{file.name}"
    )


def _downloaded(file: originals.RawFile, downloads: Path) -> bool:
    """Returns True if TFDS has downloaded the file before."""
    from tensorflow_datasets.core.download import resource

    name = resource.get_dl_fname(str(file.url), file.sha256)
    return next(downloads.rglob(name), None) is not None


def unreachable(url: str, seconds: float = REACH_SECONDS) -> str | None:
    """Why a file cannot be downloaded now, or None if its host says that it can.

    Asks once, through the proxy if one is set, in a thread: looking up a name has no time limit of
    its own.
    """
    host = urlsplit(url).hostname
    answers: list[str | None] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=seconds).close()
            answers.append(None)
        except urllib.error.HTTPError as error:
            # 405 and 501: this host does not answer such questions, but it is there.
            refused = error.code not in (405, 501)
            answers.append(f"{host} answers {error.code} {error.reason}" if refused else None)
        except (OSError, ValueError, http.client.HTTPException):
            answers.append(f"{host} cannot be reached")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else f"{host} cannot be reached"
