"""A small classifier of images, whose penultimate layer tells what samples look like.

`classifier_cache.classifier_of` trains one of a data set, and keeps it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct
from jax.scipy.ndimage import map_coordinates

from genjax_models.core import random
from genjax_models.core.conditions import check_examples
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.preprocess import to_unit_range
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.metrics.images import check_range
from genjax_models.networks.convolutional import ConvEncoder
from genjax_models.networks.layers import drop
from genjax_models.training.devices import over_examples

_READ_SIZE = 512
"""Images that are read at a time."""


@struct.dataclass
class ClassifierOutputs:
    """What one pass gives.

    Attributes:
        logits: Of each class `[B, K]`.
        label: The right one `[B]`.
    """

    logits: Array
    label: Array


def cross_entropy(outputs: ClassifierOutputs) -> Array:
    """-log p(label | x), nats `[B]`."""
    return optax.softmax_cross_entropy_with_integer_labels(outputs.logits, outputs.label)


def accuracy(outputs: ClassifierOutputs) -> Array:
    """The fraction of the examples whose likeliest class is the right one `[]`."""
    return jnp.mean(jnp.argmax(outputs.logits, axis=-1) == outputs.label)


@dataclasses.dataclass(frozen=True)
class Classifier:
    """p(label | x) of images, by a residual convolutional network.

    It is trained as every model is, by `training.fit`, but it models no data and so has no
    `sample`. Training sees its images a little distorted.

    Attributes:
        spec: What one example is: images, with a number of classes.
        channels: Channels of each level of the network; each halves height and width.
        blocks: Residual blocks a level.
        num_features: Size of the penultimate layer.
        shift: Most pixels by which training moves an image along an axis.
        distortion: Most by which training turns, stretches and shears it; see `distorted`.
        dropout: Rate at which training sets features to 0.

    Raises:
        ValueError: The data are no images with labels.
    """

    spec: DataSpec = DIGITS
    channels: tuple[int, ...] = (64,)
    blocks: int = 1
    num_features: int = 64
    shift: float = 0.7
    distortion: float = 0.2
    dropout: float = 0.2

    def __post_init__(self) -> None:
        """Refuses what has no classes, or is no image."""
        if len(self.spec.shape) != 3 or self.spec.num_classes is None:
            classes = self.spec.num_classes or "no"
            raise ValueError(
                f"{self.spec.name} has examples of shape {self.spec.shape} with {classes} classes: "
                "a classifier needs images (H, W, C) with labels"
            )

    @property
    def loss(self) -> Loss:
        """`cross_entropy`: -log p(label | x), in nats an example."""
        return Loss(self.forward, {"cross_entropy": cross_entropy}, watched={"accuracy": accuracy})

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, who owns everything."""
        return {"classifier": Player(self.loss, ("trunk", "head"))}

    @property
    def _trunk(self) -> nn.Module:
        return ConvEncoder(self.channels, self.num_features, self.blocks)

    @property
    def _head(self) -> nn.Module:
        assert self.spec.num_classes is not None
        return _Linear(self.spec.num_classes)

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters.

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
        """Logits; in training, of distorted images and with some features dropped."""
        check_examples(batch["x"], self.spec)
        key_x, key_drop = jax.random.split(key)
        x = distorted(batch["x"], key_x, self.shift, self.distortion) if train else batch["x"]
        features = self._features(params, x)
        if train:
            features = drop(features, self.dropout, key_drop)
        return ClassifierOutputs(self.logits_of(params, features), batch["label"]), state

    def features(self, params: Params, x: Array) -> Array:
        """The penultimate layer `[B, num_features]` of images `[B, H, W, C]`, in the data's range.

        Raises:
            ValueError: The images are not of the data's shape.
        """
        check_examples(x, self.spec)
        return self._features(params, x)

    def logits(self, params: Params, x: Array) -> Array:
        """Logits `[B, K]` of images `[B, H, W, C]`, in the data's range.

        Raises:
            ValueError: The images are not of the data's shape.
        """
        return self.logits_of(params, self.features(params, x))

    def logits_of(self, params: Params, features: Array) -> Array:
        """Logits `[B, K]` of the penultimate layer `[B, num_features]`."""
        return apply_module("head", self._head, params, {}, features)[0]

    def _features(self, params: Params, x: Array) -> Array:
        out, _ = apply_module("trunk", self._trunk, params, {}, self._inputs(x))
        return nn.silu(out)

    def _inputs(self, x: Array) -> Array:
        """Images in [-1, 1], lower and right edges repeated until the levels can halve them."""
        factor = 2 ** len(self.channels)
        below, right = -x.shape[1] % factor, -x.shape[2] % factor
        x = jnp.pad(x, ((0, 0), (0, below), (0, right), (0, 0)), mode="edge")
        return to_unit_range(x, self.spec)


class _Linear(nn.Module):
    """A dense layer, called as networks are."""

    num_outputs: int

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        return nn.Dense(self.num_outputs)(x)


def distorted(x: Array, key: Key, shift: float, strength: float) -> Array:
    """Images moved, turned, stretched and sheared a little, their edges repeated.

    Pixel p takes the value at A (p - c) + c + b, between pixels the linear interpolation: c is the
    centre, A = I + strength U and b = shift u, where U and u have uniform entries in [-1, 1].

    Args:
        x: Images `[B, H, W, C]`.
        key: What A and b are functions of, with an example's position in the batch.
        shift: Most pixels by which an image is moved along an axis.
        strength: Most by which an entry of A differs from the identity's.

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
    """A classifier with its parameters, to read images in the data's range, of any number.

    `model.features(params, x)` and `model.logits(params, x)` are the same as pure functions.

    Attributes:
        model: The classifier.
        params: Its parameters.
        accuracy: The fraction of held-out images that it reads right.
        held_out: Which images those are.
        fingerprint: Of the data and all settings: equal ones, equal classifiers.
    """

    model: Classifier
    params: Params
    accuracy: float
    held_out: str
    fingerprint: str

    @property
    def name(self) -> str:
        """What stands beside every figure that is made with it."""
        return (
            f"{self.model.spec.name} classifier, {100 * self.accuracy:.1f} % on {self.held_out}, "
            f"{self.model.num_features} features"
        )

    def features(self, x: Any) -> np.ndarray:
        """The penultimate layer `[N, D]` of images `[N, H, W, C]`.

        Raises:
            ValueError: The images are not of the data's shape or range.
        """
        return self.read(x)[0]

    def logits(self, x: Any) -> np.ndarray:
        """Logits `[N, K]` of images `[N, H, W, C]`; raises as `features` does."""
        return self.read(x)[1]

    def read(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Features and logits in one pass; raises as `features` does."""
        return read(self.model, self.params, x)

    def predict(self, x: Any) -> np.ndarray:
        """The likeliest class int `[N]` of images `[N, H, W, C]`; raises as `features` does."""
        return self.logits(x).argmax(axis=-1)


@functools.lru_cache(maxsize=8)
def _reader(model: Classifier) -> Callable[..., Any]:
    def read(params: Params, x: Any) -> Any:
        features = model.features(params, x)
        return features, model.logits_of(params, features)

    return over_examples(read)


def read(model: Classifier, params: Params, x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Features `[N, D]` and logits `[N, K]` of images, some at a time, over all devices.

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
    check_range(x, spec.levels, spec.name, "give them in the data's own range, not scaled")
