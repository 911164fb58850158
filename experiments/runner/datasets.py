"""The splits that a run trains on, watches and is measured on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

import numpy as np

import genjax_models as gm
from experiments.runner.config import Config, TokenizerName
from experiments.runner.needs import in_words
from genjax_models.core import DataSpec
from genjax_models.data import Dataset, tokenizers
from genjax_models.data.transforms import divided, without_labels

M = TypeVar("M")

WHOLE = ("train",)
"""The splits of a dataset that nobody divided, such as an `.npz` file."""
MAY_LACK = ("validation", "test")
"""Splits that experiments watch by default: of a dataset without it, nothing is watched."""


@runtime_checkable
class Loads(Protocol):
    """An experiment's settings that make its data themselves, of one set or of several."""

    def load(self, config: Config[Any], split: str) -> Dataset:
        """One split, named as the configured dataset's are."""
        ...


class Splits(NamedTuple):
    """Datasets of one run.

    Attributes:
        train: Split for training.
        validation: Split on which the loss is watched; None if the dataset has no such split.
        test: Split of the final figures; the best that there is if there is no test split.
    """

    train: Dataset
    validation: Dataset | None
    test: Dataset


def load_splits(config: Config[Any]) -> Splits:
    """The splits of the configured dataset.

    Raises:
        ValueError: There is no such dataset or split, or its examples cannot be used.
        FileNotFoundError: Its files are neither at hand nor to be had.
    """

    def load(split: str) -> Dataset:
        return load_split(config, split)

    def load_without(split: str) -> Dataset:
        data, labels = load(split), config.without_labels
        return without_labels(data, labels) if labels else data

    known = gm.data.split_names(config.dataset)
    if is_divided_here(config):
        known = tuple(divided(_load(config, "train")))
    watched = config.evaluation.split
    is_lacking = watched in MAY_LACK and watched not in known
    validation = None if is_lacking else load_without(watched)
    train = load_without(config.split or gm.data.training_split(config.dataset))
    test = load("test") if "test" in known else validation or train
    for other in (validation, test):
        if other is not None:
            check_alike(train, other)
    return Splits(train, validation, test)


def check_alike(train: Dataset, other: Dataset) -> None:
    """Refuses a split whose examples are not what those that are trained on are.

    Raises:
        ValueError: In what they differ.
    """
    of, own = other.spec, train.spec
    if (of.shape, of.num_levels, of.num_classes) != (own.shape, own.num_levels, own.num_classes):
        raise ValueError(
            f"the split {other.split} is not like {train.split}: {in_words(of)}, and"
            f" {in_words(own)}; give all splits the same shape, levels and classes"
        )


def of_test_split(config: Config[Any], name: str) -> Callable[[int], Mapping[str, Any]]:
    """A `Setup.condition`: the test split's examples of that name, in order."""

    def condition(num: int) -> Mapping[str, Any]:
        data = load_split(config, "test")
        return {name: data.rows(np.arange(num) % len(data))[name]}

    return condition


def load_split(config: Config[Any], split: str) -> Dataset:
    """One split of the configured dataset, a text in its tokens and windows.

    A dataset of one split is divided (`data.transforms.divided`), so that no figure is of what was
    trained on.

    Raises:
        ValueError: There is no such dataset or split, or its examples cannot be used.
        FileNotFoundError: Its files are neither at hand nor to be had.
    """
    if isinstance(config.model, Loads):
        return config.model.load(config, split)
    if not is_divided_here(config) or split not in ("train", *MAY_LACK):
        return _load(config, split)
    parts = divided(_load(config, "train"))
    if split not in parts:
        raise ValueError(
            f"{config.dataset} has no {split} split, and too few examples to hold one back: give it"
            " three of a class at least"
        )
    return parts[split]


def _load(config: Config[Any], split: str) -> Dataset:
    fits: Mapping[TokenizerName, tokenizers.Fit | None] = {
        "characters": None,  # what a text has, and what is not asked of any other data
        "bytes": tokenizers.utf8,
        "bpe": tokenizers.bpe(config.bpe_size),
    }
    if not Path(config.dataset).expanduser().is_dir():
        for option in ("size", "color"):
            if getattr(config, option) is not None:
                raise ValueError(
                    f"--{option} is for a folder of images, and {config.dataset} is none"
                )
    return gm.load(
        config.dataset,
        split,
        config.data_dir,
        size=config.size,
        crop=config.crop,
        flip=config.flip,
        color=config.color,
        window=config.window,
        tokenizer=fits[config.tokenizer],
    )


def load_like(spec: DataSpec, name: str, data_dir: str | None = None) -> Dataset:
    """The test split of a named dataset, or all of a folder or file of the user's own.

    Args:
        spec: Images whose size and colour those of a folder are brought to.
        name: The dataset's name, or a path.
        data_dir: Folder of the datasets.
    """
    if name in gm.data.names():
        return gm.load(name, "test", data_dir)
    if not Path(name).expanduser().is_dir():
        return gm.load(name, "train", data_dir)
    color = "gray" if spec.shape[-1] == 1 else "rgb"
    return gm.load(name, "all", data_dir, size=spec.shape[:2], color=color)


def is_divided_here(config: Config[Any]) -> bool:
    """Returns True if the configured dataset has one split, of which parts are held back."""
    return not isinstance(config.model, Loads) and gm.data.split_names(config.dataset) == WHOLE


def num_examples(data: Dataset) -> int:
    """Number of examples that evaluation walks: of a text, windows that do not overlap."""
    return -(-len(data) // (data.window or 1))


def size_in_words(data: Dataset) -> str:
    """Describes the amount of data: `1,000 examples`, `1,003,854 tokens in windows of 64`."""
    if data.window is None:
        return f"{len(data):,} examples"
    return f"{len(data) + data.window - 1:,} tokens in windows of {data.window}"


def with_absolute_paths(config: Config[M]) -> Config[M]:
    """The configuration with paths from the root, so that the run is not bound to this folder."""
    changes = {}
    other = getattr(config.model, "other", None)
    if other not in (None, *gm.data.names()) and Path(other).expanduser().exists():
        other = str(Path(other).expanduser().resolve())
        changes["model"] = dataclasses.replace(cast(Any, config.model), other=other)
    if config.dataset not in gm.data.names() and Path(config.dataset).expanduser().exists():
        changes["dataset"] = str(Path(config.dataset).expanduser().resolve())
    if config.initial is not None:
        changes["initial"] = str(Path(config.initial).expanduser().resolve())
    if config.data_dir is not None:
        changes["data_dir"] = str(Path(config.data_dir).expanduser().resolve())
    return dataclasses.replace(config, **changes)
