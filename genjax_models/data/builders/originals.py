"""The original files of the TFDS datasets: names, sizes, checksums and addresses.

A dataset may have several sources, each a tuple of files. The first one with all its files in
the folder of local files is used; else the first one that can be downloaded.

Sizes and checksums are those that TFDS records, where it records them; those of files that can only
be put in place by hand were taken from the files.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast


class ChecksumError(ValueError):
    """A file's content is not what the set's authors published."""


@dataclasses.dataclass(frozen=True)
class RawFile:
    """One original file.

    Attributes:
        name: Its name in the folder of files at hand.
        size: Bytes.
        sha256: Checksum as hexadecimal digits, or None where none is published.
        url: Address for TFDS to download it from, or None if it can only be put in place by hand.
        md5: The other checksum, where only that one is published.
    """

    name: str
    size: int
    sha256: str | None = None
    url: str | None = None
    md5: str | None = None


Source: TypeAlias = tuple[RawFile, ...]


def verify(path: Path, file: RawFile) -> None:
    """Checks a file against the published checksum.

    Raises:
        ChecksumError: One line naming the file, the expected and the found checksum.
    """
    kind, expected = ("sha256", file.sha256) if file.sha256 else ("md5", file.md5)
    if expected is None:
        return
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, kind).hexdigest()
    if found != expected:
        raise ChecksumError(
            f"{path} has the wrong checksum: expected {kind} {expected}, found {found}; delete the"
            " file and fetch it again"
        )


def choose(sources: Sequence[Source], folder: Path | None) -> Source | None:
    """The source to prepare from, or None if its files are not at hand and cannot be downloaded."""
    for source in sources:
        if folder is not None and all((folder / file.name).is_file() for file in source):
            return source
    return next((s for s in sources if all(file.url for file in s)), None)


def fetch(sources: Sequence[Source], dl_manager: Any) -> dict[str, Path]:
    """Paths of the chosen source's files by name, downloaded through TFDS where needed.

    Args:
        sources: The set's sources.
        dl_manager: TFDS's download manager.

    Raises:
        ChecksumError: A file's content is not the published one.
    """
    # TFDS's own `manual_dir` property raises where the folder is empty or not there.
    folder = getattr(dl_manager, "_manual_dir", None)
    folder = None if folder is None else Path(folder)
    source = choose(sources, folder)
    if source is None:
        raise FileNotFoundError(f"none of the sources {sources} is at hand")
    at_hand = {f.name: folder / f.name for f in source if folder and (folder / f.name).is_file()}
    urls = {f.name: f.url for f in source if f.name not in at_hand}
    downloaded = dl_manager.download(urls) if urls else {}
    paths = at_hand | {name: Path(path) for name, path in downloaded.items()}
    for file in source:
        verify(paths[file.name], file)  # TFDS checks sha256 of downloads, and no md5
    return paths


def url_infos(sources: Sequence[Source]) -> dict[str, Any]:
    """TFDS's table of checksums for a builder's class attribute `url_infos`."""
    from tensorflow_datasets.core.download import checksums

    return {
        f.url: checksums.UrlInfo(size=cast(Any, f.size), checksum=f.sha256, filename=f.name)
        for source in sources
        for f in source
        if f.url and f.sha256
    }


_MNIST_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"

MNIST = (
    (
        RawFile(
            "train-images-idx3-ubyte.gz",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            _MNIST_URL + "train-images-idx3-ubyte.gz",
        ),
        RawFile(
            "train-labels-idx1-ubyte.gz",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            _MNIST_URL + "train-labels-idx1-ubyte.gz",
        ),
        RawFile(
            "t10k-images-idx3-ubyte.gz",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            _MNIST_URL + "t10k-images-idx3-ubyte.gz",
        ),
        RawFile(
            "t10k-labels-idx1-ubyte.gz",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            _MNIST_URL + "t10k-labels-idx1-ubyte.gz",
        ),
    ),
)

TINY_SHAKESPEARE = (
    (
        RawFile(
            "input.txt",
            1_115_394,
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"
            "input.txt",
        ),
    ),
)

_OMNIGLOT_URL = "https://github.com/brendenlake/omniglot/raw/master/python/"

OMNIGLOT = (
    (
        RawFile(
            "images_background.zip",
            9_464_212,
            "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
            _OMNIGLOT_URL + "images_background.zip",
        ),
        RawFile(
            "images_evaluation.zip",
            6_462_886,
            "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
            _OMNIGLOT_URL + "images_evaluation.zip",
        ),
    ),
    (
        RawFile(
            "images_background.npz",
            3_340_794,
            "8bf84167413cd00beacdce3fe582f780ab538d8dbef043a6d688f2527bbce199",
        ),
        RawFile(
            "images_evaluation.npz",
            2_415_269,
            "0b84c7ffd94c4841c0040e529c86a82eaaccb986d8eadad5673f7991b7475276",
        ),
    ),
)

SPOKEN_DIGIT = (
    (
        RawFile(
            "free-spoken-digit-dataset-1.0.9.tar.gz",
            11_975_353,
            "8bc44cde129d505cbbb6b365c09f80c663f2aa77578afc634e6141a2f87100c0",
            "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.9.tar.gz",
        ),
    ),
)

_USPS_URL = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"

USPS = (
    (
        RawFile(
            "usps.h5",
            2_913_522,
            "734f88c541104a956d88be2c95d03b4a463ffd74ccc2ba9c80841fb98e3fcb36",
        ),
    ),
    (
        RawFile(
            "usps.bz2",
            6_579_383,
            url=_USPS_URL + "usps.bz2",
            md5="ec16c51db3855ca6c91edd34d0e9b197",
        ),
        RawFile(
            "usps.t.bz2",
            1_831_726,
            url=_USPS_URL + "usps.t.bz2",
            md5="8ea070ee2aca1ac39742fdd1ef5ed118",
        ),
    ),
)

# No checksum of the download is published: the builder checks what it finds inside.
FACADES = (
    (
        RawFile(
            "facades.tar",
            31_703_040,
            "d317569604a81627542736cd1c8fe105729f061ada9cef64500dd6b096e2fbd6",
        ),
    ),
    (
        RawFile(
            "facades.tar.gz",
            30_168_306,
            url="http://efrosgans.eecs.berkeley.edu/pix2pix/datasets/facades.tar.gz",
        ),
    ),
)

CIFAR10 = (
    (
        RawFile(
            "cifar-10-binary.tar.gz",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        ),
    ),
)

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

CIFAR10_JPG = (
    (
        RawFile(
            "cifar10_jpg.tar.gz",
            19_432_481,
            "dcca44e946bcd7abce0b2f44c378f14622deea2ef11534c46e9c8d25001b438c",
        ),
    ),
)
