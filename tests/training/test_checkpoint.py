"""Checkpoints: whole or refused, bounded in number, and good on any number of devices."""

import builtins
import contextlib
import errno
import io
import json
import logging
import os
import resource
import shutil
import warnings
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax_models.training import (
    CheckpointDamaged,
    CheckpointError,
    checkpoint,
    init_state,
    integrity,
)
from genjax_models.training.devices import device_strategy, fully_sharded
from tests.training.toys import Affine, arrays, points

MODEL = Affine(size=8)
BATCH = points().rows(np.arange(16))
EXTRA = {"config": {"lr": 0.1, "names": ["a", "b"]}, "window": {"num": 3, "sums": {"a": 1 / 3}}}


@pytest.fixture(scope="module")
def state():
    """A state with leaves of every kind: keys, whole numbers, bfloat16, a truth value."""
    made = jax.jit(lambda b: init_state(MODEL, optax.adam(0.1), b, 7))(BATCH)
    more = {"codes": jnp.arange(5, dtype=jnp.int8), "half": jnp.full((2, 3), 1.5, jnp.bfloat16),
            "keys": jax.random.split(jax.random.key(3), 2), 
            "flag": jnp.asarray(True)}  # fmt: skip
    return made._replace(state={**made.state, **more})


def at(state, step):
    return state._replace(
        step=jnp.asarray(step, jnp.int32), params=jax.tree.map(lambda a: a + step, state.params)
    )


def save_steps(directory, state, *steps, **kwargs):
    for step in steps:
        checkpoint.save(directory, at(state, step), EXTRA, **kwargs)


def load(directory, template):
    """What `load` gives, where nothing is to be warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return checkpoint.load(directory, template)


def test_a_state_comes_back_as_it_was(state, tmp_path):
    checkpoint.save(tmp_path, at(state, 4), EXTRA)
    for template in (state, jax.eval_shape(lambda: state)):
        loaded, extra = load(tmp_path, template)
        chex.assert_trees_all_equal_dtypes(arrays(loaded), arrays(state))
        chex.assert_trees_all_equal(arrays(loaded), arrays(at(state, 4)))
        assert jax.tree.structure(loaded) == jax.tree.structure(state)
        assert extra == EXTRA
        assert jax.random.key_impl(loaded.key) == jax.random.key_impl(state.key)
        np.testing.assert_array_equal(
            jax.random.normal(loaded.state["keys"][1]), jax.random.normal(state.state["keys"][1])
        )


def test_keys_of_another_kind_survive(tmp_path):
    made = init_state(Affine(), optax.sgd(0.1), BATCH, 0)
    made = made._replace(key=jax.random.key(5, impl="rbg"))
    checkpoint.save(tmp_path, made)
    loaded, extra = load(tmp_path, jax.eval_shape(lambda: made))
    assert jax.random.key_impl(loaded.key) == jax.random.key_impl(made.key)
    np.testing.assert_array_equal(jax.random.key_data(loaded.key), jax.random.key_data(made.key))
    assert extra == {}


def test_the_newest_stay(state, tmp_path):
    save_steps(tmp_path, state, 1, 2, 9, 10, 11, max_to_keep=3)
    assert checkpoint.all_steps(tmp_path) == [9, 10, 11]
    assert checkpoint.latest_step(tmp_path) == 11
    assert sorted(p.name for p in tmp_path.iterdir()) == ["10", "11", "9"]
    save_steps(tmp_path, state, 12, max_to_keep=1)
    assert checkpoint.all_steps(tmp_path) == [12]


def test_a_step_is_saved_once(state, tmp_path):
    save_steps(tmp_path, state, 3)
    with pytest.raises(FileExistsError, match="has a checkpoint of step 3: give another folder"):
        save_steps(tmp_path, state, 3)
    load(tmp_path, state)


def test_what_a_killed_save_left_is_neither_read_nor_kept(state, tmp_path):
    save_steps(tmp_path, state, 3)
    shutil.copytree(tmp_path / "3", tmp_path / "4.orbax-checkpoint-tmp")
    (tmp_path / "notes.txt").write_text("mine")
    assert checkpoint.all_steps(tmp_path) == [3]
    loaded, _ = load(tmp_path, state)
    assert int(loaded.step) == 3
    save_steps(tmp_path, state, 4)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["3", "4", "notes.txt"]


def test_damage_anywhere_is_noticed(state, tmp_path):
    """Whichever file is cut or has a byte changed: the state is right, or the one before it is."""
    save_steps(tmp_path / "good", state, 1, 2)
    whole = {step: arrays(at(state, step)) for step in (1, 2)}
    files = [p for p in (tmp_path / "good" / "2").rglob("*") if p.is_file() and p.stat().st_size]
    assert len(files) > 5
    noticed = 0
    for i, file in enumerate(files):
        for damage in (_cut, _flip):
            directory = tmp_path / f"{damage.__name__}{i}"
            shutil.copytree(tmp_path / "good", directory)
            damage(directory / file.relative_to(tmp_path / "good"))
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                loaded, extra = checkpoint.load(directory, state)
            moved = (directory / "2.damaged").exists()
            assert [moved] == [int(loaded.step) == 1]
            chex.assert_trees_all_equal(arrays(loaded), whole[int(loaded.step)])
            assert extra == EXTRA
            if moved:
                noticed += 1
                assert len(told) == 1
                message = str(told[0].message)
                assert message.startswith(f"the checkpoint {directory / '2'} is damaged (step 2: ")
                assert message.endswith("moved aside to 2.damaged, and the one before it is used")
                assert "\n" not in message
                lost = {p.relative_to(tmp_path / "good") for p in files} - {
                    Path("2") / p.relative_to(directory / "2.damaged")
                    for p in (directory / "2.damaged").rglob("*")
                }
                assert not lost  # nothing is deleted
            shutil.rmtree(directory)
    assert noticed > len(files) // 2


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_is_not_read_back_as_it_was_written_replaces_nothing(state, tmp_path, monkeypatch):
    save_steps(tmp_path, state, 1, max_to_keep=1)
    honest = integrity.make_page
    monkeypatch.setattr(integrity, "make_page", lambda arrays, extra: honest(
        arrays._replace(ema=jax.tree.map(np.zeros_like, arrays.ema)), extra))  # fmt: skip
    with pytest.raises(CheckpointError, match="of step 2 was not what had been written") as caught:
        save_steps(tmp_path, state, 2, max_to_keep=1)
    assert ".ema['affine']['scale'] does not have the checksum" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["1"]
    assert int(load(tmp_path, state)[0].step) == 1


def test_damage_to_a_checkpoint_of_a_release_without_checksums_is_noticed(state, tmp_path):
    save_steps(tmp_path, state, 1, 2)
    for step in "12":
        (tmp_path / step / integrity.CHECKSUMS).unlink()
    assert int(load(tmp_path, state)[0].step) == 2
    data = max((tmp_path / "2" / "state").rglob("*"), key=lambda p: p.stat().st_size)
    _flip(data)
    with pytest.warns(UserWarning, match=r"2 is damaged \(step 2: .*aside to 2.damaged"):
        assert int(checkpoint.load(tmp_path, state)[0].step) == 1


PASSING = (errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.ENOMEM, errno.EMFILE, errno.EACCES)


@contextlib.contextmanager
def an_opener_that_fails_once(directory, number, nth):
    """The nth file of a checkpoint that is opened cannot be."""
    count, honest = 0, builtins.open

    def opener(file, *args, **kwargs):
        nonlocal count
        if not isinstance(file, int) and os.fspath(file).startswith(str(directory)):
            count += 1
            if count == nth:
                raise OSError(number, os.strerror(number), os.fspath(file))
        return honest(file, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        for module in (builtins, io):
            patch.setattr(module, "open", opener)
        yield lambda: count


@pytest.mark.parametrize("number", PASSING, ids=errno.errorcode.get)
def test_a_file_that_cannot_be_opened_for_once_condemns_nothing(number, state, tmp_path):
    save_steps(tmp_path, state, 1, 2)
    with an_opener_that_fails_once(tmp_path, number, 0) as count:
        load(tmp_path, state)
    opened = count()
    assert opened > 5
    for nth in range(1, opened + 1):
        with an_opener_that_fails_once(tmp_path, number, nth):
            with pytest.raises(CheckpointError, match="2 cannot be read now ") as caught:
                load(tmp_path, state)
        assert os.strerror(number) in str(caught.value) and "\n" not in str(caught.value)
        assert not isinstance(caught.value, CheckpointDamaged)
        assert checkpoint.all_steps(tmp_path) == [1, 2]
    assert int(load(tmp_path, state)[0].step) == 2


def wrapped(error, how):
    """As Orbax, TensorStore and asyncio hand on what the system says."""
    if how == "group":
        return ExceptionGroup("unhandled errors in a TaskGroup", [ValueError("x"), error])
    if how == "text":
        return ValueError(f'Error reading "a/d/1": [OS error {error.errno}: {error.strerror}]')
    made = RuntimeError("the thread failed")
    setattr(made, f"__{how}__", error)
    return made


@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("how", ["group", "text", "cause", "context"])
def test_trouble_in_other_words_condemns_nothing(how, checksums, state, tmp_path, monkeypatch):
    save_steps(tmp_path, state, 1, 2)
    if not checksums:
        (tmp_path / "2" / integrity.CHECKSUMS).unlink()
    for number in PASSING:
        trouble = wrapped(OSError(number, os.strerror(number)), how)
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "_restore", raising(trouble))
            with pytest.raises(CheckpointError, match="2 cannot be read now"):
                load(tmp_path, state)
    assert int(load(tmp_path, state)[0].step) == 2


def test_what_orbax_says_of_bytes_that_are_as_written_condemns_nothing(
    state, tmp_path, monkeypatch
):
    save_steps(tmp_path, state, 1, 2)
    monkeypatch.setattr(checkpoint, "_restore", raising(ValueError("I do not understand")))
    with pytest.raises(CheckpointError, match=r"2 cannot be read now \(ValueError: I do not"):
        load(tmp_path, state)
    assert checkpoint.all_steps(tmp_path) == [1, 2]


def raising(error):
    def fail(*args):
        raise error

    return fail


def test_what_only_reads_moves_nothing(state, tmp_path):
    save_steps(tmp_path, state, 1, 2)
    _flip(tmp_path / "2" / "page" / "metadata")
    for _ in range(2):
        with pytest.warns(UserWarning, match="it stays where it is, and the one before it is used"):
            loaded, _ = checkpoint.load(tmp_path, state, move_damaged=False)
        assert int(loaded.step) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2"]


@pytest.mark.parametrize(
    "name", ["lr=[1e-3]", "back\\slash", "a*b", "**", "what?", "é", "[!a]", "line\nend", " ", "~x"]
)
def test_a_folder_may_have_any_name(name, state, tmp_path):
    save_steps(tmp_path / name / "checkpoints", state, 1, 2, max_to_keep=1)
    loaded, extra = load(tmp_path / name / "checkpoints", state)
    chex.assert_trees_all_equal(arrays(loaded), arrays(at(state, 2)))
    assert extra == EXTRA == checkpoint.read_extra(tmp_path / name / "checkpoints", 2)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_folder_that_cannot_be_looked_into_is_not_an_empty_one(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "scandir", raising(OSError(errno.ESTALE, "Stale file handle")))
    with pytest.raises(OSError, match="Stale file handle"):
        checkpoint.latest_step(tmp_path)


def test_where_all_are_damaged_nothing_is_made_up(state, tmp_path):
    save_steps(tmp_path, state, 1, 2)
    for step in "12":
        for file in (tmp_path / step).rglob("*"):
            if file.is_file():
                file.write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(CheckpointError) as caught:
        checkpoint.load(tmp_path, state)
    assert isinstance(caught.value, CheckpointDamaged)
    assert "holds no whole checkpoint (step 2: " in str(caught.value)
    assert "; step 1: " in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.damaged", "2.damaged"]
    assert checkpoint.all_damaged(tmp_path) == ["1.damaged", "2.damaged"]
    with pytest.raises(FileNotFoundError, match="holds no checkpoint: train the run first"):
        checkpoint.load(tmp_path, state)


def test_damaged_ones_of_the_same_step_do_not_meet(state, tmp_path):
    save_steps(tmp_path, state, 1)
    for name in ("2.damaged", "2.damaged2"):
        save_steps(tmp_path, state, 2)
        (tmp_path / "2" / "page" / "metadata").unlink()
        with pytest.warns(UserWarning, match=f"aside to {name},"):
            checkpoint.load(tmp_path, state)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2.damaged", "2.damaged2"]


@pytest.mark.parametrize(
    ("model", "optimizer", "message"),
    [
        (Affine(size=5), optax.adam(0.1), r"float32\[3, 8\] at .*\['unused'\].* float32\[3, 5\]"),
        (Affine(), optax.adam(0.1), r"has float32\[3, 8\] at .*\['unused'\], .* has nothing"),
        (MODEL, optax.adam(0.1, mu_dtype=jnp.bfloat16), r"float32\[2\] at .*bfloat16\[2\]; give"),
        (MODEL, optax.sgd(0.1, momentum=0.9), r"has .* at \.opt_state\['affine'\]"),
    ],
)
def test_another_model_is_no_damage(model, optimizer, message, state, tmp_path):
    made = jax.jit(lambda b: init_state(MODEL, optax.adam(0.1), b, 7))(BATCH)
    checkpoint.save(tmp_path, made)
    template = jax.eval_shape(lambda: init_state(model, optimizer, BATCH, 7))
    with pytest.raises(ValueError, match="is of another model or optimizer: it ") as caught:
        load(tmp_path, template)
    assert caught.match(message) and "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0"]  # it is left where it was
    load(tmp_path, made)


@pytest.mark.parametrize("trouble", [PermissionError(13, "Permission denied"), MemoryError("no")])
def test_trouble_that_is_not_of_the_file_moves_nothing(trouble, state, tmp_path, monkeypatch):
    save_steps(tmp_path, state, 1, 2)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_load_step", raising(trouble))
        with pytest.raises(CheckpointError, match="2 cannot be read now"):
            load(tmp_path, state)
    assert int(load(tmp_path, state)[0].step) == 2


def test_a_damaged_one_that_cannot_be_moved_is_passed_over(state, tmp_path, monkeypatch):
    save_steps(tmp_path, state, 1, 2)
    (tmp_path / "2" / "page" / "metadata").write_text("{")

    def refuse(path, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.warns(UserWarning, match=r"it cannot be moved aside \(Permission denied\), and"):
        loaded, _ = checkpoint.load(tmp_path, state)
    assert int(loaded.step) == 1


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_leaves_those_before_it_whole(state, tmp_path, capfd):
    save_steps(tmp_path, state, 1)
    large = state._replace(state={"replay": np.random.default_rng(0).normal(size=2**16)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**17, hard))  # no file may grow beyond this
    try:
        with pytest.raises(CheckpointError) as caught:
            checkpoint.save(tmp_path, at(large, 2), EXTRA)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "of step 2 could not be written to" in str(caught.value)
    assert "see that there is space" in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # what Orbax and its writers would say of it
    assert [p.name for p in tmp_path.iterdir()] == ["1"]  # a full disk is not filled further
    loaded, _ = load(tmp_path, state)
    chex.assert_trees_all_equal(arrays(loaded), arrays(at(state, 1)))
    save_steps(tmp_path, state, 2)


def test_a_folder_that_cannot_be_written_is_found_out(tmp_path, monkeypatch):
    checkpoint.prepare(tmp_path / "new" / "run")
    assert list((tmp_path / "new" / "run").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"written to .*file \(File exists\): give a folder"):
        checkpoint.prepare(tmp_path / "file")

    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CheckpointError, match=r"\(Permission denied\)"):
        checkpoint.prepare(tmp_path)


def test_nothing_is_printed_and_logging_is_left_alone(state, tmp_path, capfd):
    level = logging.getLogger("absl").level
    save_steps(tmp_path, state, 1, 2)
    load(tmp_path, state)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("absl").level == level


def test_the_page_is_readable_without_anything_of_ours(state, tmp_path):
    save_steps(tmp_path, state, 5)
    found = json.loads((tmp_path / "5" / "page" / "metadata").read_text())
    assert found["extra"] == EXTRA
    assert found["arrays"][".params['affine']['unused']"]["shape"] == [3, 8]


STRATEGIES = {
    "mesh 1": lambda: device_strategy(1),
    "mesh 8": lambda: device_strategy(8),
    "sharded 2": lambda: device_strategy(2, partition=fully_sharded(2)),
    "sharded 8": lambda: device_strategy(8, partition=fully_sharded(8)),
    "pmap 2": lambda: device_strategy(2, "pmap"),
}


@pytest.mark.parametrize(
    ("saved", "restored"),
    [
        ("mesh 1", "mesh 8"),
        ("mesh 8", "sharded 2"),
        ("sharded 8", "mesh 1"),
        ("sharded 8", "sharded 2"),
        ("sharded 2", "pmap 2"),
        ("pmap 2", "sharded 8"),
    ],
)
def test_a_state_is_restored_to_other_devices(saved, restored, tmp_path):
    made = jax.jit(lambda b: init_state(MODEL, optax.adam(0.1), b, 7))(BATCH)
    strategy = STRATEGIES[saved]()
    checkpoint.save(tmp_path, strategy.get(strategy.put(made)))
    strategy = STRATEGIES[restored]()
    loaded, _ = load(tmp_path, strategy.describe(jax.eval_shape(lambda: made)))
    placed = strategy.put(loaded)
    chex.assert_trees_all_equal(arrays(strategy.get(placed)), arrays(made))
    chex.assert_trees_all_equal(arrays(placed), arrays(strategy.put(made)))
    for a, b in zip(jax.tree.leaves(placed), jax.tree.leaves(strategy.put(made)), strict=True):
        assert a.sharding.is_equivalent_to(b.sharding, a.ndim)
