"""Inception-v3 against pytorch-fid's, on weights in the published file's format."""

import collections
import contextlib
import dataclasses
import io
import pickle
import sys
import tracemalloc
import types
import zipfile
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from genjax_models.data import load
from genjax_models.metrics import mmd
from genjax_models.metrics.inception import Inception, inception_score, load_inception, prepared
from genjax_models.metrics.torch_file import read_tensors
from genjax_models.networks.inception import InceptionV3

LOGITS = 2 * np.random.RandomState(2).normal(size=(43, 4))


class Storage:
    """Stands for the numbers, which do not lie in the pickle."""

    def __init__(self, name, kind, numbers):
        self.name, self.kind, self.numbers = name, kind, numbers


class Tensor:
    def __init__(self, storage, array):
        self.storage, self.array = storage, array

    def __reduce__(self):
        strides = tuple(n // self.array.itemsize for n in self.array.strides)
        rest = (0, self.array.shape, strides, False, collections.OrderedDict())
        return sys.modules["torch._utils"]._rebuild_tensor_v2, (self.storage, *rest)


@contextlib.contextmanager
def as_torch():
    """Modules with PyTorch's names, so that a pickle refers to them."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    exec("def _rebuild_tensor_v2(): pass", utils.__dict__)
    utils._rebuild_tensor_v2.__module__ = "torch._utils"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", torch)
        patch.setitem(sys.modules, "torch._utils", utils)
        yield torch


def pickled(tensors, view=()):
    """The pickle of tensors by name, and their storages."""
    file, storages = io.BytesIO(), []
    with as_torch() as torch:

        class Pickler(pickle.Pickler):
            def persistent_id(self, x):
                if isinstance(x, Storage):
                    return ("storage", x.kind, x.name, "cpu", x.numbers.size, *view)

        held = collections.OrderedDict()
        for i, (name, array) in enumerate(tensors.items()):
            kind = torch.FloatStorage if array.dtype == np.float32 else torch.LongStorage
            storages.append(Storage(str(i), kind, array))
            held[name] = Tensor(storages[-1], array)
        Pickler(file, 2).dump(held)
    return file.getvalue(), storages


def save(path, tensors):
    """As `torch.save` does since 1.6."""
    inside, storages = pickled(tensors)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", inside)
        archive.writestr("weights/byteorder", "little")
        for storage in storages:
            archive.writestr(f"weights/data/{storage.name}", storage.numbers.tobytes("A"))
    return path


def save_old(path, tensors):
    """As `torch.save` did before."""
    inside, storages = pickled(tensors, view=(None,))
    heads = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    tail = pickle.dumps([s.name for s in storages], 2)
    with open(path, "wb") as file:
        file.write(b"".join(pickle.dumps(head, 2) for head in heads) + inside + tail)
        for storage in storages:
            file.write(np.int64(storage.numbers.size).tobytes() + storage.numbers.tobytes("A"))
    return path


SOME = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b.c": np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
    "n": np.array(7),
}


@pytest.mark.parametrize("save", [save, save_old])
def test_tensors_are_read_from_both_formats(save, tmp_path):
    found = read_tensors(save(tmp_path / "some.pth", SOME))
    assert list(found) == list(SOME)
    for name, array in SOME.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
    whole = (tmp_path / "some.pth").read_bytes()
    for size in (3, len(whole) // 2, len(whole) - 1):
        (tmp_path / "part.pth").write_bytes(whole[:size])
        with pytest.raises(ValueError, match="part.pth is not a file of PyTorch tensors"):
            read_tensors(tmp_path / "part.pth")


@pytest.mark.parametrize("archive", [True, False])
def test_no_code_in_a_file_is_run(archive, tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    path = tmp_path / "evil.pth"
    if archive:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("weights/data.pkl", pickle.dumps({"a": Evil()}))
    else:
        path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(Evil(), 2))
    with pytest.raises(ValueError, match="evil.pth is not a file .* asks for .*open"):
        read_tensors(path)
    assert not (tmp_path / "ran").exists()


def of_shape(shape, strides, stored=4, num_tensors=1):
    """The pickle of tensors that claim a shape, all of one storage."""
    numbers = np.arange(stored, dtype=np.float32)

    class Claims(Tensor):
        def __reduce__(self):
            rest = (0, shape, strides, False, collections.OrderedDict())
            return sys.modules["torch._utils"]._rebuild_tensor_v2, (self.storage, *rest)

    file = io.BytesIO()
    with as_torch() as torch:

        class Pickler(pickle.Pickler):
            def persistent_id(self, x):
                if isinstance(x, Storage):
                    return ("storage", x.kind, x.name, "cpu", x.numbers.size)

        storage = Storage("0", torch.FloatStorage, numbers)
        Pickler(file, 2).dump({str(i): Claims(storage, numbers) for i in range(num_tensors)})
    return file.getvalue(), numbers.tobytes()


def archive_of(path, inside, numbers, how=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr("weights/data.pkl", inside)
        archive.writestr("weights/data/0", numbers)
    return path


def peak_of(call):
    """What a call returns or raises, and the bytes that it took at most."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    except ValueError as error:
        return error, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


CRAFTED = {
    "strides of 0": lambda p: archive_of(p, *of_shape((2**40,), (0,))),
    "strides beyond": lambda p: archive_of(p, *of_shape((2,), (2**40,))),
    "negative strides": lambda p: archive_of(p, *of_shape((2,), (-1,))),
    "negative shape": lambda p: archive_of(p, *of_shape((-2, -2), (1, 1))),
    "zeros that are compressed": lambda p: archive_of(
        p, of_shape((1,), (1,))[0], bytes(10**8), zipfile.ZIP_DEFLATED
    ),
    "a memo of billions": lambda p: archive_of(p, b"\x80\x02]r\xff\xff\xff\x7f.", b""),
    "an old storage of billions": lambda p: p.write_bytes(
        pickle.dumps(0x1950A86A20F9469CFC6C, 2)
        + pickle.dumps(1001, 2)
        + pickle.dumps({}, 2)
        + of_shape((1,), (1,))[0].replace(b"K\x04", b"J\xff\xff\xff\x7f")
    ),
}


@pytest.mark.parametrize("case", CRAFTED)
def test_a_file_takes_no_more_memory_than_it_is_long(case, tmp_path):
    CRAFTED[case](tmp_path / "crafted.pth")
    error, most = peak_of(lambda: read_tensors(tmp_path / "crafted.pth"))
    assert isinstance(error, ValueError) and "crafted.pth is not a file of PyTorch" in str(error)
    assert most < 5e6 and "\n" not in str(error)


def test_many_tensors_of_one_storage_are_views_of_it(tmp_path):
    path = archive_of(tmp_path / "tied.pth", *of_shape((1000, 1000), (1000, 1), 10**6, 300))
    found, most = peak_of(lambda: read_tensors(path))
    assert len(found) == 300 and most < 2e7
    for tensor in found.values():
        np.testing.assert_array_equal(tensor.ravel(), np.arange(10**6))
        assert not tensor.flags.writeable


def weights():
    """Numbers for every tensor of the published file, each a function of its name alone."""
    image = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
    shapes = jax.eval_shape(InceptionV3().init, jax.random.key(0), image)
    tensors = {"fc.bias": np.zeros(1008, np.float32)}
    names = {
        "kernel": "weight",
        "scale": "weight",
        "mean": "running_mean",
        "variance": "running_var",
    }
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        _, *modules, kind = (step.key for step in path)
        name = ".".join([*modules, names.get(kind, kind)])
        shape = leaf.shape[::-1] if len(leaf.shape) < 4 else [leaf.shape[i] for i in (3, 2, 0, 1)]
        drawn = np.random.RandomState(zlib.crc32(name.encode())).random_sample(shape)
        drawn = drawn.astype(np.float32)
        if kind in ("scale", "variance"):
            tensors[name] = drawn + np.float32(0.5)
        elif kind == "kernel":
            tensors[name] = (2 * drawn - 1) * np.float32(np.sqrt(6 / np.prod(shape[1:])))
        else:
            tensors[name] = np.float32(0.2) * (drawn - np.float32(0.5))
        if kind == "mean":
            tensors[".".join([*modules, "num_batches_tracked"])] = np.array(0)
    return tensors


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return save(tmp_path_factory.mktemp("inception") / "weights.pth", weights())


def test_it_is_pytorch_fids(file):
    """Numbers of pytorch-fid 0.3.0 with the same weights, of an image both enlarged and reduced."""
    inception = dataclasses.replace(load_inception(file), batch_size=1, devices=1)
    x = np.random.RandomState(1).randint(0, 256, (1, 20, 400, 3)).astype(np.uint8)
    features, logits = inception.features(x), inception.logits(x)
    assert features.shape == (1, 2048) and logits.shape == (1, 1008)
    known = [0.48587322, 39.94771194, 11.81581879, 0.3534292, 10.25043869, 0.0]
    np.testing.assert_allclose(features[0, :6], known, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(logits[0, :3], [9.22498322, 13.59029293, 2.22076368], rtol=1e-4)
    assert np.linalg.norm(features) == pytest.approx(562.34381, rel=1e-5)
    assert np.linalg.norm(logits) == pytest.approx(530.66309, rel=1e-5)
    assert "Inception" in inception.name


def test_kernel_distances_are_torch_fidelity_s(file, tmp_path):
    """Of its 0.4.0, on pytorch-fid's features of these PNG files.

    Its own features are of pixels scaled by (x - 128) / 128, and resized as TensorFlow 1 did.
    """
    random, features = np.random.RandomState(6), []
    inception = dataclasses.replace(load_inception(file), batch_size=4, devices=1)
    for name, top in (("a", 256), ("b", 180)):
        (tmp_path / name).mkdir()
        x = random.randint(0, top, (4, 4, 4, 3)).astype(np.uint8).repeat(75, 1).repeat(75, 2)
        for i, image in enumerate(x[:, :299, :299]):
            Image.fromarray(image).save(tmp_path / name / f"{i}.png")
        features.append(inception.features(load(tmp_path / name, "all").arrays["x"]))
    assert mmd(*features, groups=None).value == pytest.approx(744537.6028803964, rel=1e-5)


def test_images_are_prepared():
    x = np.random.RandomState(0).randint(0, 17, (2, 8, 8, 1)).astype(np.uint8)
    found = np.asarray(prepared(jnp.asarray(x), 17))
    assert found.shape == (2, 299, 299, 3) and np.all(np.ptp(found, axis=-1) == 0)
    corners = found[:, [0, 0, -1, -1], [0, -1, 0, -1], 0]
    np.testing.assert_allclose(corners, x[:, [0, 0, -1, -1], [0, -1, 0, -1], 0] / 8 - 1, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda w: w.pop("Mixed_6a.branch3x3.bn.weight"), "no Mixed_6a.branch3x3.bn.weight"),
        (lambda w: w.update({"fc.weight": w["fc.weight"][:1000]}),
         r"fc.weight has shape \(1000, 2048\), not \(1008, 2048\)"),
        (lambda w: w.update({"AuxLogits.fc.weight": w["fc.weight"]}),
         "it has AuxLogits.fc.weight, which"),
        (lambda w: w["fc.weight"].fill(np.nan), "fc.weight has values that are not finite"),
    ],
)  # fmt: skip
def test_other_weights_are_refused(change, why, monkeypatch, tmp_path, request):
    tensors = request.getfixturevalue("read_once").copy()
    tensors["fc.weight"] = tensors["fc.weight"].copy()
    change(tensors)
    monkeypatch.setattr("genjax_models.metrics.inception.read_tensors", lambda path: tensors)
    (tmp_path / "other.pth").touch()
    with pytest.raises(ValueError, match=f"other.pth is not the FID's Inception-v3: .*{why}"):
        load_inception(tmp_path / "other.pth")


@pytest.fixture(scope="module")
def read_once(file):
    return read_tensors(file)


def test_a_score_is_torch_fidelity_s():
    """Of torch-fidelity 0.4.0, on the logits above."""
    score = inception_score(LOGITS, splits=4)
    assert score.value == pytest.approx(1.8712010195573665, rel=1e-9)
    assert score.standard_error == pytest.approx(0.3469242376759599 / np.sqrt(3), rel=1e-9)


def test_inception_scores_of_known_answers():
    sure = 100 * np.eye(6)[np.arange(120) % 6]
    assert inception_score(sure, splits=1).value == pytest.approx(6.0)
    assert inception_score(np.zeros((40, 6)), splits=4).value == pytest.approx(1.0)
    assert inception_score(sure[:, :2] - sure[:, 1:3], splits=1).value < 3
    assert inception_score(LOGITS + 7.0).value == pytest.approx(inception_score(LOGITS).value)


def test_bad_logits():
    with pytest.raises(ValueError, match="43 samples, and the Inception Score of 50 splits"):
        inception_score(LOGITS, splits=50)
    with pytest.raises(ValueError, match="of 1 class"):
        inception_score(LOGITS[:, :1])


def test_bad_input(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights at .*nowhere.pth: download"):
        load_inception(tmp_path / "nowhere.pth")
    inception = Inception({})
    with pytest.raises(ValueError, match=r"shape \(3, 8, 8\): give \[N, H, W, 1\]"):
        inception.features(np.zeros((3, 8, 8)))
    with pytest.raises(ValueError, match="lie in 0 .. 300, and are to be in 0 .. 255"):
        inception.features(np.full((1, 8, 8, 1), 300) * np.eye(8)[:, :, None])
    with pytest.raises(ValueError, match="lie in nan"):
        inception.logits(np.full((1, 8, 8, 1), np.nan))
