"""Settings of a comparison, and the folder that keeps them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

STATE = "compare.json"
"""The file of a comparison's folder: its settings, and how long each run is to be."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings that a comparison's results depend on.

    Attributes:
        dataset: The dataset's name, or a path.
        minutes: Training time of each model.
        seed: Decides everything but the speed of the machine.
        samples: Number of samples of each model.
        size: Height and width that the images of a folder are brought to, or one number for both.
        crop: Part of them that is kept.
        flip: Whether training mirrors them.
        color: `gray` or `rgb`, which they are brought to.
    """

    dataset: str
    minutes: float
    seed: int
    samples: int
    size: int | Sequence[int] | None = None
    crop: str = "center"
    flip: bool = False
    color: str | None = None

    @property
    def images(self) -> dict[str, Any]:
        """Options of reading images, as in a run's configuration."""
        return {name: getattr(self, name) for name in ("size", "crop", "flip", "color")}


def take_up(out: Path, settings: Settings) -> dict[str, Any]:
    """Reads the state of the comparison in a folder; that of a new one if it is empty.

    Raises:
        ValueError: The folder holds another comparison, or something else.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: --out must be a folder")
    path = out / STATE
    if not path.exists():
        if out.is_dir() and any(out.iterdir()):
            raise ValueError(f"{out} is not empty and holds no comparison: give another --out")
        return {"settings": dataclasses.asdict(settings), "plans": {}}
    try:
        known = json.loads(path.read_text("utf-8"))
        before = Settings(**known["settings"])
        if isinstance(before.size, list):  # as JSON has it
            before = dataclasses.replace(before, size=tuple(before.size))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): give another --out") from error
    changed = [
        f"--{field.name} {getattr(before, field.name)} -> {getattr(settings, field.name)}"
        for field in dataclasses.fields(Settings)
        if getattr(before, field.name) != getattr(settings, field.name)
    ]
    if changed:
        raise ValueError(
            f"{out} holds a comparison of other settings ({', '.join(changed)}): give another"
            " --out, or the same settings to go on with it"
        )
    return known
