"""Names of splits, with slices as TFDS writes them: `train`, `train[:50000]`, `train[90%:]`."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PATTERN = re.compile(r"(?P<name>\w+)(?:\[(?P<start>-?\d+%?)?:(?P<stop>-?\d+%?)?\])?")


def parse(split: str, known: Sequence[str], name: str) -> tuple[str, str, str]:
    """The split's name and the two ends of its slice, as written ("" where left out).

    Raises:
        ValueError: The text is no split, or the set has no split of that name.
    """
    match = _PATTERN.fullmatch(split) if isinstance(split, str) else None
    if match is None or match["name"] not in known:
        raise ValueError(
            f"{name} has no split {split!r}; it has {', '.join(known)}, and slices of them such"
            f" as {known[0]}[:1000] or {known[0]}[90%:]"
        )
    return match["name"], match["start"] or "", match["stop"] or ""


def bounds(start: str, stop: str, num: int) -> slice:
    """The slice of `num` examples that two ends stand for; a per cent is rounded to the nearest."""

    def position(text: str, default: int) -> int:
        if not text:
            return default
        value = round(int(text[:-1]) * num / 100) if text.endswith("%") else int(text)
        return min(max(value + num if value < 0 else value, 0), num)

    return slice(position(start, 0), position(stop, num))
