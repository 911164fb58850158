"""The original files that the sets are prepared from: names, sizes, checksums and where they lie.

A set may have several sources, each a tuple of files. The first one whose files all lie in the
folder of files at hand is used; else the first one that can be downloaded.
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
        url: Where TFDS downloads it, or None where it can only be put in place by hand.
        md5: The other checksum, where only that one is published.
    """

    name: str
    size: int
    sha256: str | None = None
    url: str | None = None
    md5: str | None = None


Source: TypeAlias = tuple[RawFile, ...]


def verify(path: Path, file: RawFile) -> None:
    """Refuses a file whose content is not the published one.

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
