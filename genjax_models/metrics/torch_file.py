"""Reads the tensors of a file that PyTorch saved, without PyTorch and without running its code.

Such a file is pickled, and a pickle can run anything. Here its names can only refer to
tensors and dictionaries of them, and all else is refused. Nor can a file take more memory than its
length: storages are uncompressed and read once, and tensors are views of them.
"""

from __future__ import annotations

import collections
import math
import os
import pickle
import zipfile
from typing import IO, Any

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
"""First number of files of PyTorch before 1.6; later ones are zip archives."""
_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


def read_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads the tensors of a state dictionary, by name.

    Args:
        path: File that `torch.save(model.state_dict(), path)` wrote, of any version of PyTorch.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is of another kind, or holds anything but tensors by name.
    """
    with open(path, "rb") as file:
        try:
            found = _of_zip(file) if zipfile.is_zipfile(file) else _of_old(file)
            if not isinstance(found, dict) or not found:
                raise pickle.UnpicklingError(f"holds {type(found).__name__}, not tensors by name")
            return {str(name): _array(tensor) for name, tensor in found.items()}
        # A damaged pickle can end in nearly any error.
        except Exception as error:
            raise ValueError(
                f"{os.fspath(path)} is not a file of PyTorch tensors: "
                f"{error or type(error).__name__}"
            ) from error


def _of_zip(file: IO[bytes]) -> Any:
    size, storages = os.fstat(file.fileno()).st_size, {}
    with zipfile.ZipFile(file) as archive:
        if sum(info.file_size for info in archive.infolist()) > size:
            raise pickle.UnpicklingError("its parts are larger than itself")
        (inside,) = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
        folder = inside.removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise pickle.UnpicklingError("its numbers are big-endian")

        def storage(identity: tuple[Any, ...]) -> np.ndarray:
            _, dtype, key, *_ = identity
            if key not in storages:
                storages[key] = np.frombuffer(archive.read(f"{folder}data/{key}"), dtype)
            if storages[key].dtype != dtype:
                raise pickle.UnpicklingError("it is damaged")
            return storages[key]

        with archive.open(inside) as pickled:
            found = _Unpickler(pickled, storage).load()
            return found


def _of_old(file: IO[bytes]) -> Any:
    file.seek(0)
    storages: dict[str, np.ndarray] = {}
    size = os.fstat(file.fileno()).st_size

    def storage(identity: tuple[Any, ...]) -> np.ndarray:
        """Allocates an array, filled later: the numbers follow the pickle."""
        _, dtype, key, _, num, *view = identity
        if view and view[0] is not None:
            raise pickle.UnpicklingError("it holds views of storages")
        if key not in storages:
            taken = sum(array.nbytes for array in storages.values())
            if not 0 <= num * dtype.itemsize <= size - taken:
                raise pickle.UnpicklingError("it is damaged")
            storages[key] = np.empty(num, dtype)
        return storages[key]

    def load() -> Any:
        return _Unpickler(file, storage).load()

    if load() != _MAGIC:
        raise pickle.UnpicklingError("it begins otherwise")
    _, _, found = load(), load(), load()  # the version, what machine it was saved on, the tensors
    for key in load():
        num = int(np.frombuffer(file.read(8), "<i8")[0])
        if num != len(storages[key]):
            raise pickle.UnpicklingError("it is damaged")
        numbers = file.read(storages[key].nbytes)
        storages[key][:] = np.frombuffer(numbers, storages[key].dtype)
    return found


class _Unpickler(pickle._Unpickler):  # pyright: ignore[reportAttributeAccessIssue]
    """Unpickler that knows tensors, storages and ordered dictionaries, and nothing else.

    It is the Python implementation: the one in C allocates as many objects as a pickle declares,
    which can be billions in a few bytes.
    """

    def __init__(self, file: IO[bytes], storage: Any) -> None:
        super().__init__(file)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        }
        if (module, name) in known:
            return known[module, name]
        if module == "torch" and name in _DTYPES:
            return np.dtype(_DTYPES[name])
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> np.ndarray:
        return self._storage(pid)


class _Tensor:
    """Place of a tensor in a storage, which may be filled later."""

    def __init__(self, storage: np.ndarray, offset: int, shape: Any, strides: Any) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it holds tensors with attributes")


def _tensor(storage: np.ndarray, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


def _array(tensor: Any) -> np.ndarray:
    if not isinstance(tensor, _Tensor):
        raise pickle.UnpicklingError(f"it holds {type(tensor).__name__}, not tensors alone")
    storage, shape, strides = tensor.storage, tensor.shape, tensor.strides
    reach = tensor.offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
    num = math.prod(shape)
    if min([tensor.offset, *shape, *strides], default=0) < 0 or (num and reach > len(storage)):
        raise pickle.UnpicklingError("it is damaged")
    if num > len(storage):  # strides of 0 repeat what is stored
        raise pickle.UnpicklingError(f"a tensor of shape {shape} has {len(storage)} numbers stored")
    return np.lib.stride_tricks.as_strided(
        storage[tensor.offset :], shape, [s * storage.itemsize for s in strides], writeable=False
    )
