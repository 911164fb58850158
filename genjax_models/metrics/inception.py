"""Inception-v3's features of images, for FID and KID, and the Inception Score."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.core.types import Array
from genjax_models.metrics.features import at_least, check_range, checked
from genjax_models.metrics.figure import Figure, student_interval
from genjax_models.metrics.torch_file import read_tensors
from genjax_models.networks.inception import SIZE, InceptionV3
from genjax_models.training.devices import over_examples

WEIGHTS = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth"
)
"""Address of the published weights of the FID's authors, for PyTorch."""
_UNUSED = ("num_batches_tracked", "fc.bias")
_NAMES = {
    ("conv", "kernel"): "weight",
    ("fc", "kernel"): "weight",
    ("bn", "scale"): "weight",
    ("bn", "bias"): "bias",
    ("bn", "mean"): "running_mean",
    ("bn", "variance"): "running_var",
}
"""Names in the published file of the arrays of our modules."""


@dataclasses.dataclass(frozen=True, eq=False)
class Inception:
    """Inception-v3 as an extractor, with the preprocessing of pytorch-fid.

    `load_inception` makes one. Images are resized to 299 pixels by linear interpolation without
    antialiasing, and grey ones are repeated for every colour. (torch-fidelity resizes a little
    differently, and its figures differ by that.) Figures of small grey images mean little: the
    network was trained on photographs.

    Attributes:
        variables: The network's parameters and batch statistics.
        num_levels: Images are in 0 .. num_levels - 1.
        batch_size: Number of images that are read at a time.
        devices: Number of devices that read them; None for all.
    """

    variables: Mapping[str, Any]
    num_levels: int = 256
    batch_size: int = 32
    devices: int | None = None

    @property
    def name(self) -> str:
        """Name shown with every figure made with it."""
        return "Inception-v3 of the FID, 2,048 features"

    @property
    def fingerprint(self) -> str:
        """Digest of the weights."""
        digest = hashlib.sha256(str(self.num_levels).encode())
        for leaf in jax.tree.leaves(self.variables):
            digest.update(np.ascontiguousarray(leaf).data)
        return digest.hexdigest()[:16]

    def features(self, x: Any) -> np.ndarray:
        """Pooled features `[N, 2048]` of images `[N, H, W, 1 or 3]`.

        Raises:
            ValueError: They are not images, or not in 0 .. num_levels - 1.
        """
        return self.read(x)[0]

    def logits(self, x: Any) -> np.ndarray:
        """Logits without their bias `[N, 1008]`; raises as `features` does."""
        return self.read(x)[1]

    def read(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Features and logits, in one pass; raises as `features` does."""
        x = np.asarray(x)
        _check(x, self.num_levels)
        devices = self.devices or jax.device_count()
        size = -(-self.batch_size // devices) * devices
        parts = []
        for start in range(0, len(x), size):
            part = x[start : start + size]
            filled = np.pad(part, [(0, size - len(part)), (0, 0), (0, 0), (0, 0)])
            out = _reader(self.num_levels, self.devices)(self.variables, filled)
            parts.append([np.asarray(a)[: len(part)] for a in out])
        features, logits = (np.concatenate(rows) for rows in zip(*parts, strict=True))
        return features, logits


def load_inception(path: str | os.PathLike[str], num_levels: int = 256) -> Inception:
    """Loads Inception-v3 with the published weights from a local file.

    The file is `pt_inception-2015-12-05-6726825d.pth`, of pytorch-fid (`WEIGHTS`). It is read
    without PyTorch, and no code in it is run.

    Args:
        path: Path of the file.
        num_levels: Images to be read are in 0 .. num_levels - 1.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A tensor is missing or has another shape; the message names it.
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
    return Inception(jax.tree.map(jnp.asarray, variables), num_levels)


def inception_score(
    logits: Any, *, splits: int = 10, seed: int = 2020, extractor: str = ""
) -> Figure:
    """Inception Score `exp(E_x KL(p(y | x) || p(y)))`, mean over disjoint splits of the samples.

    It lies between 1 and the number of classes. It grows with the size of a split: compare figures
    of equal numbers only. It uses no reference: real images have a score of their own. The splits
    are those of torch-fidelity, and so is the figure.

    Args:
        logits: Logits of each sample `[N, K]`; Inception's without their bias, as is usual.
        splits: Number of splits.
        seed: Seed of the order that is split.
        extractor: Name of the classifier.

    Returns:
        The mean over splits, 1 .. K. Its standard error is the splits' standard deviation (which
        papers report, with N in place of N - 1) over the root of their number; NaN for one split.

    Raises:
        ValueError: Logits that are NaN, a split without samples, or a single class.

    References:
        Salimans et al. 2016, Improved Techniques for Training GANs, arXiv:1606.03498 (sec. 4).
        Barratt and Sharma 2018, A Note on the Inception Score, arXiv:1801.01973.
    """
    logits = checked(logits)
    num, classes = logits.shape
    if classes < 2:
        raise ValueError("the logits are of 1 class, and the Inception Score needs at least 2")
    if splits < 1:
        raise ValueError(f"splits is {splits}: give at least 1")
    at_least(num, splits, f"Inception Score of {splits} splits")
    logits = logits[np.random.RandomState(seed).permutation(num)]
    top = logits.max(axis=1, keepdims=True)
    log_p = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
    scores = [_score(log_p[i * num // splits : (i + 1) * num // splits]) for i in range(splits)]
    value = float(np.mean(scores))
    error = float(np.std(scores, ddof=1)) / math.sqrt(splits) if splits > 1 else math.nan
    interval = student_interval(value, error, splits, at_least=1.0)
    return Figure(value, interval, num, extractor, standard_error=error)


def _score(log_p: np.ndarray) -> float:
    p = np.exp(log_p)
    marginal = np.maximum(p.mean(axis=0), np.finfo(np.float64).tiny)
    return float(np.exp((p * (log_p - np.log(marginal))).sum(axis=1).mean()))


def prepared(x: Array, num_levels: int = 256) -> Array:
    """Images `[B, H, W, 1 or 3]` as the network takes them: `[B, 299, 299, 3]` in [-1, 1]."""
    x = jnp.broadcast_to(x.astype(jnp.float32) / (num_levels - 1), (*x.shape[:3], 3))
    x = jax.image.resize(x, (x.shape[0], SIZE, SIZE, 3), "bilinear", antialias=False)
    return 2.0 * x - 1.0


@functools.cache
def _shapes() -> Any:
    image = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    return jax.eval_shape(InceptionV3().init, jax.random.key(0), image)


@functools.cache
def _reader(num_levels: int, devices: int | None) -> Callable[..., Any]:
    def read(variables: Any, x: Array) -> Any:
        return InceptionV3().apply(variables, prepared(x, num_levels))

    return over_examples(read, devices)


def _check(x: np.ndarray, num_levels: int) -> None:
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or x.size == 0:
        raise ValueError(f"images have shape {x.shape}: give [N, H, W, 1] or [N, H, W, 3]")
    check_range(x, num_levels, "are to be", "give them so, or load_inception their levels")


def _refusal(path: str | os.PathLike[str], why: str) -> str:
    return f"{os.fspath(path)} is not the FID's Inception-v3: {why}; its weights are at {WEIGHTS}"
