"""The splits that a run trains on, watches and is measured on."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import genjax_models as gm
from experiments.config import Config
from genjax_models.data import Dataset
from genjax_models.data.catalog import RECIPES

M = TypeVar("M")


class Splits(NamedTuple):
    """Data sets of one run.

    Attributes:
        train: What the run learns from.
        validation: What the loss is watched on; None where the data set has no such split.
        test: What the final figures are of; the best that there is where there is no test split.
    """

    train: Dataset
    validation: Dataset | None
    test: Dataset


def load_splits(config: Config[Any]) -> Splits:
    """The splits of the configured data set.

    Raises:
        ValueError: There is no such data set or split, or its examples cannot be used.
        FileNotFoundError: Its files are neither at hand nor to be had.
    """

    def load(split: str) -> Dataset:
        return gm.load(config.dataset, split, config.data_dir)

    train = load(config.split or training_split(config.dataset))
    known = gm.data.split_names(config.dataset)
    watched = config.evaluation.split
    validation = load(watched) if watched.split("[")[0] in known else None
    test = load("test") if "test" in known else validation or train
    return Splits(train, validation, test)


def settled(config: Config[M]) -> Config[M]:
    """The configuration with paths from the root, so that the run is not bound to this folder."""
    changes = {}
    if config.dataset not in gm.data.names() and Path(config.dataset).expanduser().exists():
        changes["dataset"] = str(Path(config.dataset).expanduser().resolve())
    if config.initial is not None:
        changes["initial"] = str(Path(config.initial).expanduser().resolve())
    if config.data_dir is not None:
        changes["data_dir"] = str(Path(config.data_dir).expanduser().resolve())
    return dataclasses.replace(config, **changes)


def training_split(dataset: str) -> str:
    """All of `train` that is not also `validation`: some sets have none of their own."""
    recipe = RECIPES.get(dataset)
    validation = "" if recipe is None else recipe.splits.get("validation", "")
    shared = re.fullmatch(r"train\[(.+):\]", validation)
    return f"train[:{shared[1]}]" if shared else "train"
