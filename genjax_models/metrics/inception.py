"""Inception-v3's features of images, by which the FID, KID and Inception Score are reported."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.core.types import Array
from genjax_models.metrics.images import check_range
from genjax_models.metrics.torch_file import read_tensors
from genjax_models.networks.inception import SIZE, InceptionV3
from genjax_models.training.devices import over_examples

WEIGHTS = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth"
)
"""Where the weights of the FID's authors are published, for PyTorch."""
_UNUSED = ("num_batches_tracked", "fc.bias")
_NAMES = {
    ("conv", "kernel"): "weight",
    ("fc", "kernel"): "weight",
    ("bn", "scale"): "weight",
    ("bn", "bias"): "bias",
    ("bn", "mean"): "running_mean",
    ("bn", "variance"): "running_var",
}
"""What the arrays of our modules are called in the published file."""


@dataclasses.dataclass(frozen=True, eq=False)
class Inception:
    """Reads images as pytorch-fid does; `load_inception` makes one.

    Images are brought to 299 pixels by linear interpolation, which does not smooth what it makes
    smaller, and grey ones are repeated for every colour. (torch-fidelity enlarges a little
    otherwise, and its figures differ by that.) Figures of small grey images mean little: the
    network has seen photographs.

    Attributes:
        variables: The network's parameters and batch statistics.
        levels: Images are in 0 .. levels - 1.
        batch_size: Images that are read at a time.
        devices: How many devices read them; all where None.
    """

    variables: Mapping[str, Any]
    levels: int = 256
    batch_size: int = 32
    devices: int | None = None

    @property
    def name(self) -> str:
        """What stands beside every figure that is made with it."""
        return "Inception-v3 of the FID, 2,048 features"

    def features(self, x: Any) -> np.ndarray:
        """The pooled features `[N, 2048]` of images `[N, H, W, 1 or 3]`.

        Raises:
            ValueError: They are no images, or not in 0 .. levels - 1.
        """
        return self.read(x)[0]

    def logits(self, x: Any) -> np.ndarray:
        """Logits without their bias `[N, 1008]`; raises as `features` does."""
        return self.read(x)[1]

    def read(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Features and logits in one pass; raises as `features` does."""
        x = np.asarray(x)
        _check(x, self.levels)
        devices = self.devices or jax.device_count()
        size = -(-self.batch_size // devices) * devices
        parts = []
        for start in range(0, len(x), size):
            part = x[start : start + size]
            filled = np.pad(part, [(0, size - len(part)), (0, 0), (0, 0), (0, 0)])
            out = _reader(self.levels, self.devices)(self.variables, filled)
            parts.append([np.asarray(a)[: len(part)] for a in out])
        features, logits = (np.concatenate(rows) for rows in zip(*parts, strict=True))
        return features, logits


def load_inception(path: str | os.PathLike[str], levels: int = 256) -> Inception:
    """Inception-v3 with the published weights, from a file that you have.

    The file is `pt_inception-2015-12-05-6726825d.pth`, of pytorch-fid (`WEIGHTS`). It is read
    without PyTorch, and no code in it is run.

    Args:
        path: Where the file lies.
        levels: The images that are to be read are in 0 .. levels - 1.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds something else: which tensor is missing, or has another shape.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"there are no weights at {os.fspath(path)}: download them from {WEIGHTS}"
        )
    tensors = read_tensors(path)
    used = set()

    def place(where: Any, array: jax.ShapeDtypeStruct) -> np.ndarray:
        _, *modules, leaf = (str(step.key) for step in where)
        name = ".".join([*modules, _NAMES[modules[-1], leaf]])
        used.add(name)
        if name not in tensors:
            raise ValueError(_refusal(path, f"it has no {name}"))
        # Kernels are [out, in, height, width] there, and matrices [out, in].
        tensor = tensors[name]
        tensor = tensor.transpose((2, 3, 1, 0)) if tensor.ndim == 4 else tensor.T
        if tensor.shape != array.shape:
            there = tensors[name].shape
            back = (3, 2, 0, 1) if len(array.shape) == 4 else range(len(array.shape))[::-1]
            here = tuple(array.shape[axis] for axis in back)
            raise ValueError(_refusal(path, f"{name} has shape {there}, not {here}"))
        if not np.isfinite(tensor).all():
            raise ValueError(_refusal(path, f"{name} has values that are not finite"))
        return tensor.astype(np.float32)

    variables = jax.tree_util.tree_map_with_path(place, _shapes())
    left = [name for name in tensors if name not in used and not name.endswith(_UNUSED)]
    if left:
        raise ValueError(_refusal(path, f"it has {left[0]}, which this network has not"))
    return Inception(jax.tree.map(jnp.asarray, variables), levels)


def prepared(x: Array, levels: int = 256) -> Array:
    """Images `[B, H, W, 1 or 3]` as the network takes them: `[B, 299, 299, 3]` in [-1, 1]."""
    x = jnp.broadcast_to(x.astype(jnp.float32) / (levels - 1), (*x.shape[:3], 3))
    x = jax.image.resize(x, (x.shape[0], SIZE, SIZE, 3), "bilinear", antialias=False)
    return 2.0 * x - 1.0


@functools.cache
def _shapes() -> Any:
    image = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    return jax.eval_shape(InceptionV3().init, jax.random.key(0), image)


@functools.cache
def _reader(levels: int, devices: int | None) -> Callable[..., Any]:
    def read(variables: Any, x: Array) -> Any:
        return InceptionV3().apply(variables, prepared(x, levels))

    return over_examples(read, devices)


def _check(x: np.ndarray, levels: int) -> None:
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or x.size == 0:
        raise ValueError(f"images have shape {x.shape}: give [N, H, W, 1] or [N, H, W, 3]")
    check_range(x, levels, "are to be", "give them so, or load_inception their levels")


def _refusal(path: str | os.PathLike[str], why: str) -> str:
    return f"{os.fspath(path)} is not the FID's Inception-v3: {why}; its weights are at {WEIGHTS}"
