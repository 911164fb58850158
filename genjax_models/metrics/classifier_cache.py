"""A classifier of a data set, trained once and kept: labels and features of small images.

It is kept in the folder `classifiers` of the one that the environment variable GENJAX_CACHE names,
by default `genjax_models` in the user's cache folder (`$XDG_CACHE_HOME` or `~/.cache`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import math
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
import optax

from genjax_models.core.types import DataSpec
from genjax_models.data.cache import lock
from genjax_models.data.dataset import Dataset
from genjax_models.data.load import load, split_names, training_split
from genjax_models.metrics.classifier import Classifier, TrainedClassifier, read
from genjax_models.training import checkpoint
from genjax_models.training.checkpoint import CheckpointDamaged, CheckpointError
from genjax_models.training.fit import fit
from genjax_models.training.hooks import progress_bar
from genjax_models.training.state import TrainState, init_state

CACHE_VARIABLE = "GENJAX_CACHE"
"""Environment variable: the folder for what the library makes once and keeps."""

_VERSION = 1
"""Part of what a kept classifier is found by: another way of training gets another number."""
_BATCH_SIZE = 128


def classifier_of(
    data: str | os.PathLike[str] | Dataset,
    test: Dataset | None = None,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    seed: int = 0,
    model: Classifier | None = None,
    steps: int = 1_500,
) -> TrainedClassifier:
    """The classifier of a data set: read if it has been trained before, else trained and kept.

    Args:
        data: A name or path that `data.load` knows, of which all but the test split is learned; or
            a data set.
        test: What its accuracy is measured on. Where None, the named set's test split if it has
            one of the same classes, else a tenth of the data, which training then does not see.
        cache_dir: Where it is kept; see this file's head for where None.
        seed: Of the training.
        model: The network and its settings; `classifier_for(data.spec)` where None.
        steps: Length of the training, in batches of 128.

    Raises:
        ValueError: The data are no images with labels, or stream.
    """
    train, test, held_out = _splits(data, test)
    model = classifier_for(train.spec) if model is None else model
    fingerprint = _fingerprint(train, test, model, steps, seed)
    folder = _folder(cache_dir, train.spec, fingerprint)

    def trained() -> tuple[TrainState, float]:
        state = _train(model, train, steps, seed)
        x, label = _array(test, "x"), _array(test, "label")
        return state, float((read(model, state.ema, x)[1].argmax(-1) == label).mean())

    init = functools.partial(init_state, cast(Any, model), _optimizer(steps))
    template = jax.eval_shape(init, train.rows(np.arange(1)), seed)
    state, accuracy = _kept(folder, template, trained)
    return TrainedClassifier(model, state.ema, accuracy, held_out, fingerprint)


def classifier_for(spec: DataSpec) -> Classifier:
    """The classifier of such images: they are halved until 4 to 7 pixels are left.

    Raises:
        ValueError: The data are no images with labels.
    """
    model = Classifier(spec)
    size = min(spec.shape[:2])
    levels = max(1, math.ceil(math.log2(size / 7)))
    channels = tuple(max(16, 64 >> (levels - level)) for level in range(1, levels + 1))
    return dataclasses.replace(model, channels=channels, shift=size / 12)


def _optimizer(steps: int) -> optax.GradientTransformation:
    schedule = optax.warmup_cosine_decay_schedule(0.0, 3e-3, min(100, steps // 10), steps, 3e-5)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-2))


def _train(model: Classifier, train: Dataset, steps: int, seed: int) -> TrainState:
    print(f"training a classifier of {train.spec.name}, this once", file=sys.stderr)
    with progress_bar(steps) as bar:
        return fit(
            cast(Any, model),  # a `Model` but for `sample`, which training does not ask for
            train,
            _optimizer(steps),
            steps=steps,
            seed=seed,
            batch_size=min(_BATCH_SIZE, len(train)),
            ema=0.99,
            # One is enough, and whoever has more of them gets the same classifier.
            devices=1 if jax.process_count() == 1 else None,
            hooks=[bar],
        )


def _splits(
    data: str | os.PathLike[str] | Dataset, test: Dataset | None
) -> tuple[Dataset, Dataset, str]:
    """What is learned, what is held out, and the words for it."""
    train = data if isinstance(data, Dataset) else _all_but_test(data)
    labels = _array(train, "label")
    if test is None and not isinstance(data, Dataset) and "test" in split_names(data):
        test = load(data, "test")
        if not np.isin(_array(test, "label"), labels).all():
            test = None  # omniglot: its test split is of alphabets of its own
    if test is not None:
        if test.spec.shape != train.spec.shape or test.spec.levels != train.spec.levels:
            raise ValueError(
                f"the test set has examples of shape {test.spec.shape} with {test.spec.levels} "
                f"levels, and the data {train.spec.shape} with {train.spec.levels}: give a part of "
                "the same data"
            )
        return train, test, test.split
    order = np.random.default_rng(0).permutation(len(train))
    num = max(1, len(train) // 10)
    learned, held_out = (
        dataclasses.replace(train, arrays=train.rows(i)) for i in (order[num:], order[:num])
    )
    return learned, held_out, "a tenth held out"


def _all_but_test(name: str | os.PathLike[str]) -> Dataset:
    """The training split, and the validation split where that is no part of it."""
    train = load(name)
    if "validation" not in split_names(name) or training_split(name) != "train":
        return train
    parts = train, load(name, "validation")
    arrays = {k: np.concatenate([_array(part, k) for part in parts]) for k in ("x", "label")}
    return dataclasses.replace(train, arrays=arrays)


def _array(data: Dataset, name: str) -> np.ndarray:
    trouble = None
    if data.arrays is None:
        trouble = "is not in memory: load it with in_memory=True"
    elif name not in data.arrays:
        trouble = f"has no {name!r}: a classifier learns from images with labels"
    if trouble:
        raise ValueError(f"{data.spec.name}[{data.split}] {trouble}")
    assert data.arrays is not None
    return data.arrays[name]


def _fingerprint(train: Dataset, test: Dataset, model: Classifier, steps: int, seed: int) -> str:
    digest = hashlib.sha256(repr((_VERSION, model, steps, seed)).encode())
    for data in (train, test):
        for name in ("x", "label"):
            array = np.ascontiguousarray(_array(data, name))
            digest.update(f"{array.shape} {array.dtype}".encode())
            digest.update(array.data)
    return digest.hexdigest()[:16]


def _folder(cache_dir: str | os.PathLike[str] | None, spec: DataSpec, fingerprint: str) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    root = cache_dir or os.environ.get(CACHE_VARIABLE) or Path(home, "genjax_models")
    name = re.sub(r"[^\w.-]", "_", spec.name)
    return Path(root).expanduser() / "classifiers" / f"{name}-{fingerprint}"


def _kept(
    folder: Path, template: TrainState, trained: Callable[[], tuple[TrainState, float]]
) -> tuple[TrainState, float]:
    """The state and the accuracy that lie in a folder, or that are trained now and put there."""
    with contextlib.ExitStack() as stack:
        if jax.process_count() == 1:  # several processes train together
            with contextlib.suppress(OSError):  # without a place for it, the classifier serves once
                stack.enter_context(lock(folder.with_name(f"{folder.name}.lock")))
        found = _load(folder, template)
        if found is not None:
            return found
        state, accuracy = trained()
        try:
            checkpoint.prepare(folder)
            checkpoint.save(folder, state, {"accuracy": accuracy})
        except CheckpointError as error:
            warnings.warn(
                f"the classifier is not kept, and serves this once: {error}", stacklevel=4
            )
        return state, accuracy


def _load(folder: Path, template: TrainState) -> tuple[TrainState, float] | None:
    if checkpoint.latest_step(folder) is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it speaks of checkpoints, which users know nothing of
            state, extra = checkpoint.load(folder, template)
        return state, float(extra["accuracy"])
    except (CheckpointDamaged, ValueError, KeyError):
        warnings.warn(f"the classifier in {folder} is damaged: it is trained again", stacklevel=5)
        shutil.rmtree(folder, ignore_errors=True)
        return None
