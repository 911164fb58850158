"""A small classifier of images, with its penultimate layer as features of samples.

`load_classifier` trains one for a dataset, once, and stores it in the folder `classifiers` of the
cache: the environment variable GENJAX_CACHE, by default `genjax_models` in
the user's cache folder (`$XDG_CACHE_HOME` or `~/.cache`).
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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct
from jax.scipy.ndimage import map_coordinates

from genjax_models.core import random
from genjax_models.core.conditions import check_examples
from genjax_models.core.files import cache_folder
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.preprocess import to_unit_range
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.data.array_files import lock
from genjax_models.data.dataset import Dataset
from genjax_models.data.load import load, split_names, training_split
from genjax_models.metrics.features import check_range
from genjax_models.networks.convolutional import ConvEncoder
from genjax_models.networks.layers import drop
from genjax_models.training import checkpoint
from genjax_models.training.checkpoint import CheckpointDamaged, CheckpointError
from genjax_models.training.devices import over_examples
from genjax_models.training.fit import fit
from genjax_models.training.hooks import progress_bar
from genjax_models.training.state import TrainState, init_state

_VERSION = 1
"""Part of a stored classifier's fingerprint; increased when the training changes."""
_BATCH_SIZE = 128
_READ_SIZE = 512
"""Number of images that are read at a time."""


@struct.dataclass
class ClassifierOutputs:
    """Outputs of one pass.

    Attributes:
        logits: Logits of the classes `[B, K]`.
        label: True class `[B]`.
    """

    logits: Array
    label: Array


def cross_entropy(outputs: ClassifierOutputs) -> Array:
    """-log p(label | x), nats `[B]`."""
    return optax.softmax_cross_entropy_with_integer_labels(outputs.logits, outputs.label)


def accuracy(outputs: ClassifierOutputs) -> Array:
    """Share of the examples with the true class as the most likely `[]`."""
    return jnp.mean(jnp.argmax(outputs.logits, axis=-1) == outputs.label)


@dataclasses.dataclass(frozen=True)
class Classifier:
    """Classifier p(label | x) of images, a residual convolutional network.

    It is trained by `training.fit`, on slightly distorted images, but does not model data and so
    has no `sample`.

    Attributes:
        spec: Specification of one example: images, with a number of classes.
        channels: Number of channels at each resolution of the network; each halves height and
            width.
        blocks: Number of residual blocks at each resolution.
        num_features: Size of the penultimate layer.
        shift: Largest shift of an image along an axis in training, in pixels.
        distortion: Largest rotation, stretch and shear in training; see `distorted`.
        dropout: Dropout rate of the features in training.

    Raises:
        ValueError: The data are not images with labels.
    """

    spec: DataSpec = DIGITS
    channels: tuple[int, ...] = (64,)
    blocks: int = 1
    num_features: int = 64
    shift: float = 0.7
    distortion: float = 0.2
    dropout: float = 0.2

    def __post_init__(self) -> None:
        """Checks that the data are images with classes."""
        if len(self.spec.shape) != 3 or self.spec.num_classes is None:
            classes = self.spec.num_classes or "no"
            raise ValueError(
                f"{self.spec.name} has examples of shape {self.spec.shape} with {classes} classes: "
                "a classifier needs images (H, W, C) with labels"
            )

    @property
    def loss(self) -> Loss:
        """Loss with the term `cross_entropy`: -log p(label | x), in nats an example."""
        return Loss(self.forward, {"cross_entropy": cross_entropy}, watched={"accuracy": accuracy})

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, which owns all parameters."""
        return {"classifier": Player(self.loss, ("trunk", "head"))}

    @property
    def _trunk(self) -> nn.Module:
        return ConvEncoder(self.channels, self.num_features, self.blocks)

    @property
    def _head(self) -> nn.Module:
        assert self.spec.num_classes is not None
        return _Linear(self.spec.num_classes)

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Initialises the parameters.

        Raises:
            ValueError: The batch does not fit the model.
        """
        check_examples(batch["x"], self.spec)
        x = self._inputs(batch["x"])
        features = jnp.zeros((x.shape[0], self.num_features))
        return init_modules(key, {"trunk": (self._trunk, (x,)), "head": (self._head, (features,))})

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[ClassifierOutputs, State]:
        """Logits; in training, of distorted images and with dropout of features."""
        check_examples(batch["x"], self.spec)
        key_x, key_drop = jax.random.split(key)
        x = distorted(batch["x"], key_x, self.shift, self.distortion) if train else batch["x"]
        features = self._features(params, x)
        if train:
            features = drop(features, self.dropout, key_drop)
        return ClassifierOutputs(self.logits_of(params, features), batch["label"]), state

    def features(self, params: Params, x: Array) -> Array:
        """Penultimate layer `[B, num_features]` of images `[B, H, W, C]` in the data's range.

        Raises:
            ValueError: The images are not of the data's shape.
        """
        check_examples(x, self.spec)
        return self._features(params, x)

    def logits(self, params: Params, x: Array) -> Array:
        """Logits `[B, K]` of images `[B, H, W, C]` in the data's range.

        Raises:
            ValueError: The images are not of the data's shape.
        """
        return self.logits_of(params, self.features(params, x))

    def logits_of(self, params: Params, features: Array) -> Array:
        """Logits `[B, K]` from the penultimate layer `[B, num_features]`."""
        return apply_module("head", self._head, params, {}, features)[0]

    def _features(self, params: Params, x: Array) -> Array:
        out, _ = apply_module("trunk", self._trunk, params, {}, self._inputs(x))
        return nn.silu(out)

    def _inputs(self, x: Array) -> Array:
        """Images in [-1, 1], padded below and to the right until their size can be halved."""
        factor = 2 ** len(self.channels)
        below, right = -x.shape[1] % factor, -x.shape[2] % factor
        x = jnp.pad(x, ((0, 0), (0, below), (0, right), (0, 0)), mode="edge")
        return to_unit_range(x, self.spec)


class _Linear(nn.Module):
    """A dense layer with the arguments of a network."""

    num_outputs: int

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        return nn.Dense(self.num_outputs)(x)


def distorted(x: Array, key: Key, shift: float, strength: float) -> Array:
    """Moves, rotates, stretches and shears images a little, and repeats their edges.

    Pixel p takes the value at A (p - c) + c + b, linearly interpolated, with c the centre,
    A = I + strength U and b = shift u, where U and u have uniform entries in [-1, 1].

    Args:
        x: Images `[B, H, W, C]`.
        key: PRNG key; A and b also depend on an example's position in the batch.
        shift: Largest shift along an axis, in pixels.
        strength: Largest difference of an entry of A from the identity's.

    Returns:
        float32 `[B, H, W, C]`.
    """
    drawn = 2.0 * random.uniform(key, (x.shape[0], 2, 3)) - 1.0
    height, width = x.shape[1:3]
    rows, columns = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    centre = jnp.array([(height - 1) / 2, (width - 1) / 2])
    pixels = jnp.stack([rows, columns], -1) - centre  # [H, W, 2]

    def one(image: Array, drawn: Array) -> Array:
        there = pixels @ (jnp.eye(2) + strength * drawn[:, :2]).T + centre + shift * drawn[:, 2]

        def channel(plane: Array) -> Array:
            return map_coordinates(plane, list(jnp.moveaxis(there, -1, 0)), 1, mode="nearest")

        return jax.vmap(channel, in_axes=-1, out_axes=-1)(image)

    return jax.vmap(one)(x.astype(jnp.float32), drawn)


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedClassifier:
    """A classifier with its parameters, an extractor of any number of images in the data's range.

    `model.features(params, x)` and `model.logits(params, x)` are the same as pure functions.

    Attributes:
        model: The classifier.
        params: Its parameters.
        accuracy: Accuracy on held-out images.
        held_out: Description of those images.
        fingerprint: Fingerprint of the data and all settings; equal ones give equal classifiers.
    """

    model: Classifier
    params: Params
    accuracy: float
    held_out: str
    fingerprint: str

    @property
    def name(self) -> str:
        """Name shown with every figure made with it."""
        return (
            f"{self.model.spec.name} classifier, {100 * self.accuracy:.1f} % on {self.held_out}, "
            f"{self.model.num_features} features"
        )

    def features(self, x: Any) -> np.ndarray:
        """Penultimate layer `[N, D]` of images `[N, H, W, C]`.

        Raises:
            ValueError: The images are not of the data's shape or range.
        """
        return self.read(x)[0]

    def logits(self, x: Any) -> np.ndarray:
        """Logits `[N, K]` of images `[N, H, W, C]`; raises as `features` does."""
        return self.read(x)[1]

    def read(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Features and logits, in one pass; raises as `features` does."""
        return read(self.model, self.params, x)

    def predict(self, x: Any) -> np.ndarray:
        """Most likely class `[N]` of images `[N, H, W, C]`, integers; raises as `features` does."""
        return self.logits(x).argmax(axis=-1)


@functools.lru_cache(maxsize=8)
def _reader(model: Classifier) -> Callable[..., Any]:
    def read(params: Params, x: Any) -> Any:
        features = model.features(params, x)
        return features, model.logits_of(params, features)

    return over_examples(read)


def read(model: Classifier, params: Params, x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Features `[N, D]` and logits `[N, K]` of images, a batch at a time, on all devices.

    Raises:
        ValueError: The images are not of the data's shape or range.
    """
    x = np.asarray(x)
    _check_images(x, model.spec)
    size = -(-_READ_SIZE // jax.device_count()) * jax.device_count()
    rows = []
    for i in range(0, len(x), size):
        part = x[i : i + size]
        filled = np.pad(part, [(0, size - len(part)), (0, 0), (0, 0), (0, 0)])
        out = _reader(model)(params, filled)
        rows.append([np.asarray(a)[: len(part)] for a in out])
    features, logits = (np.concatenate(arrays) for arrays in zip(*rows, strict=True))
    return features, logits


def _check_images(x: np.ndarray, spec: DataSpec) -> None:
    if x.shape[1:] != spec.shape or len(x) == 0:
        raise ValueError(
            f"the classifier reads {spec.name}, images [N, {', '.join(map(str, spec.shape))}], but "
            f"it was given {x.shape}"
        )
    check_range(x, spec.num_levels, spec.name, "give them in the data's own range, not scaled")


def load_classifier(
    data: str | os.PathLike[str] | Dataset,
    test: Dataset | None = None,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    seed: int = 0,
    model: Classifier | None = None,
    steps: int = 1_500,
) -> TrainedClassifier:
    """Loads the classifier of a dataset, or trains and stores it the first time.

    Args:
        data: Name or path for `data.load`, to train on all splits but the test split; or a
            dataset.
        test: Dataset for the accuracy. By default the named dataset's test split if it has the
            same classes, else a tenth of the data, held out of training.
        cache_dir: Folder to store it in; by default the cache (see the module's docstring).
        seed: Seed of the training.
        model: The classifier; by default `default_classifier(data.spec)`.
        steps: Number of training steps, with batches of 128.

    Raises:
        ValueError: The data are not images with labels, or stream.
    """
    train, test, held_out = _splits(data, test)
    model = default_classifier(train.spec) if model is None else model
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


def default_classifier(spec: DataSpec) -> Classifier:
    """Default classifier of images; its network halves them down to 4 to 7 pixels.

    Raises:
        ValueError: The data are not images with labels.
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
            # One device is enough, and gives the same classifier on every machine.
            devices=1 if jax.process_count() == 1 else None,
            hooks=[bar],
        )


def _splits(
    data: str | os.PathLike[str] | Dataset, test: Dataset | None
) -> tuple[Dataset, Dataset, str]:
    """Training data, held-out data, and a description of the latter."""
    train = data if isinstance(data, Dataset) else _all_but_test(data)
    labels = _array(train, "label")
    if test is None and not isinstance(data, Dataset) and "test" in split_names(data):
        test = load(data, "test")
        if not np.isin(_array(test, "label"), labels).all():
            test = None  # omniglot: its test split has other alphabets
    if test is not None:
        if test.spec.shape != train.spec.shape or test.spec.num_levels != train.spec.num_levels:
            raise ValueError(
                f"the test set has examples of shape {test.spec.shape} with {test.spec.num_levels} "
                f"levels, and the data {train.spec.shape} with {train.spec.num_levels}: give "
                "a part of the same data"
            )
        return train, test, test.split
    order = np.random.default_rng(0).permutation(len(train))
    num = max(1, len(train) // 10)
    learned, held_out = (
        dataclasses.replace(train, arrays=train.rows(i)) for i in (order[num:], order[:num])
    )
    return learned, held_out, "a tenth held out"


def _all_but_test(name: str | os.PathLike[str]) -> Dataset:
    """Training split, with the validation split if that is separate."""
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
    root = cache_folder() if cache_dir is None else Path(cache_dir).expanduser()
    name = re.sub(r"[^\w.-]", "_", spec.name)
    return root / "classifiers" / f"{name}-{fingerprint}"


def _kept(
    folder: Path, template: TrainState, trained: Callable[[], tuple[TrainState, float]]
) -> tuple[TrainState, float]:
    """Loads state and accuracy from a folder, or trains and stores them."""
    with contextlib.ExitStack() as stack:
        if jax.process_count() == 1:  # several processes train together
            with contextlib.suppress(OSError):  # without a writable folder it is not stored
                stack.enter_context(lock(folder.with_name(f"{folder.name}.lock")))
        found = _load(folder, template)
        if found is not None:
            return found
        state, accuracy = trained()
        try:
            checkpoint.prepare(folder)
            checkpoint.save(folder, state, {"accuracy": accuracy})
        except CheckpointError as error:
            warnings.warn(f"the classifier could not be stored: {error}", stacklevel=4)
        return state, accuracy


def _load(folder: Path, template: TrainState) -> tuple[TrainState, float] | None:
    if checkpoint.latest_step(folder) is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about checkpoints, an internal detail
            state, extra = checkpoint.load(folder, template)
        return state, float(extra["accuracy"])
    except (CheckpointDamaged, ValueError, KeyError):
        warnings.warn(f"the classifier in {folder} is damaged: it is trained again", stacklevel=5)
        shutil.rmtree(folder, ignore_errors=True)
        return None
