"""Requirements of experiments and figures on a dataset, checked before anything is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from experiments.runner.config import Config, flag, switch

if TYPE_CHECKING:
    from genjax_models.core import DataSpec

Holds = Callable[[Config[Any], "DataSpec"], bool]


@dataclasses.dataclass(frozen=True)
class Need:
    """One thing that is asked of a dataset.

    Attributes:
        what: Its name, in words that follow `needs`.
        holds: Whether `(config, spec)` has it.
        mend: Advice on what to give instead, on the command line.
    """

    what: str
    holds: Holds
    mend: str


IMAGES = Need(
    "images [H, W, C]",
    lambda config, spec: len(spec.shape) == 3,
    "give --dataset images, as digits or a folder of them",
)
LEVELS = Need(
    "discrete levels",
    lambda config, spec: spec.num_levels is not None,
    "give --dataset whole numbers, as images have",
)
POINTS = Need(
    "real-valued points [D]",
    lambda config, spec: len(spec.shape) == 1 and spec.num_levels is None,
    "give --dataset points, as ring or an .npz of floats [N, D]",
)
LABELS = Need(
    "labels",
    lambda config, spec: spec.num_classes is not None,
    "give --dataset one with labels, as digits or a folder with a subfolder for each class",
)


def labels_if(field: str) -> Need:
    """Labels, where a switch of the configuration, `model.conditional`, is on."""
    where = field.split(".")

    def holds(config: Config[Any], spec: DataSpec) -> bool:
        return not _value(config, where) or spec.num_classes is not None

    return Need(
        f"labels ({switch(field, True)})",
        holds,
        f"give --dataset one with labels, or {switch(field, False)}",
    )


def labels_for_guidance(field: str = "model.guidance") -> Need:
    """Labels, where samples are guided by them."""
    where = field.split(".")

    def holds(config: Config[Any], spec: DataSpec) -> bool:
        conditional = config.model.conditional and spec.num_classes is not None
        return _value(config, where) in (None, 1.0) or conditional

    return Need(
        f"labels that guide its samples ({flag(field)} is not 1)",
        holds,
        f"give --dataset one with labels, or {flag(field)} 1",
    )


def the_set(name: str) -> Need:
    """One dataset and no other, of which a figure is."""
    return Need(
        f"the dataset {name}", lambda config, spec: config.dataset == name, f"--dataset {name}"
    )


def _value(config: Any, where: Sequence[str]) -> Any:
    for name in where:
        config = getattr(config, name)
    return config


def lacking(needs: Sequence[Need], config: Config[Any], spec: DataSpec) -> Need | None:
    """The first need that a dataset does not meet."""
    return next((need for need in needs if not need.holds(config, spec)), None)


def check(name: str, needs: Sequence[Need], config: Config[Any], spec: DataSpec) -> None:
    """Refuses a dataset that lacks what is asked of it.

    Raises:
        ValueError: What is needed, what is there, and what to give instead.
    """
    if (need := lacking(needs, config, spec)) is not None:
        raise ValueError(f"{name} needs {need.what}, and {in_words(spec)}: {need.mend}")


def in_words(spec: DataSpec) -> str:
    """Describes a dataset: `ring has examples of shape (2,), real-valued, without labels`."""
    entries = "real-valued" if spec.num_levels is None else f"of {spec.num_levels} levels"
    labels = "without labels" if spec.num_classes is None else f"of {spec.num_classes} classes"
    return f"{spec.name} has examples of shape {spec.shape}, {entries}, {labels}"
