"""What the tests run in processes of their own: `python -m tests.training.worker TASK ...`."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import optax

import genjax_models as gm
from genjax_models import training
from tests.training.toys import Affine, points

MODEL = Affine(noise=0.5, coupled=True, size=8)


def fit(directory, steps=9, **kwargs):
    """The run that is stopped, killed, split over processes and resumed."""
    options = {"batch_size": 16, "log_every": 4, "checkpoint_every": 2, "devices": 1, **kwargs}
    optimizer = optax.adam(0.05)
    return gm.fit(MODEL, points(), optimizer, steps=steps, checkpoint_dir=directory, **options)


def kill_renaming(directory, name):
    """Kills this process when checkpoint 6, or its part of that name, is about to be whole."""

    def listen(event, args):
        if event == "os.rename" and (directory / "4").exists():
            if Path(os.fspath(args[1])).name == name:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(listen)
    fit(directory)


def kill_after(directory, seconds):
    """Kills this process some time after it began to save step 6."""

    def kill():
        time.sleep(float(seconds))
        os.kill(os.getpid(), signal.SIGKILL)

    def listen(event, args):
        if event == "os.mkdir" and Path(os.fspath(args[0])).name.startswith("6.orbax"):
            threading.Thread(target=kill, daemon=True).start()

    sys.addaudithook(listen)
    fit(directory, hooks=[lambda state, metrics: time.sleep(1.0) if state.step > 7 else None])


def wait_for_ctrl_c(directory):
    """Trains slowly until it is interrupted, and says when it has begun."""

    def slow(state, metrics):
        print("step", int(state.step), flush=True)
        time.sleep(0.2)

    slow.every = 1
    try:
        fit(directory, steps=1000, checkpoint_every=1000, hooks=[slow])
    except training.Interrupted as stop:
        print("saved", stop.step, stop, flush=True)


def pair(directory, address, process_id):
    """One of two processes: trains over the devices of both, and is stopped in between."""
    training.devices.initialize(address, 2, int(process_id))

    def press_ctrl_c(state, metrics):
        if process_id == "1" and state.step == 5:  # one process alone is told
            signal.raise_signal(signal.SIGINT)

    press_ctrl_c.every = 5
    options = {"devices": None, "checkpoint_every": 4, "hooks": [press_ctrl_c]}
    try:
        fit(directory, **options)
    except training.Interrupted as stop:
        assert stop.step == 5, stop.step
    else:
        raise AssertionError("Ctrl-C was not heard")
    # It goes on with its state split, so that no process can read all of it.
    partition = training.devices.fully_sharded(len(jax.devices()))
    state = fit(directory, partition=partition, **options)
    assert int(state.step) == 9
    unused = state.params["affine"]["unused"]
    assert {s.data.shape for s in unused.addressable_shards} == {(3, 2)}
    assert not unused.is_fully_addressable
    if process_id == "0":
        np.savez(directory / "shift.npz", ema=state.ema["affine"]["shift"])

    mean = training.devices.over_examples(lambda w, batch: (w * batch["x"]).mean(axis=1))
    np.testing.assert_allclose(
        mean(np.float32(2.0), points()[:8].arrays), 2 * points().arrays["x"][:8].mean(axis=1), 1e-5
    )
    try:
        fit(directory, devices=2)
    except ValueError as error:
        assert "leave out some of the 2 processes" in str(error), error
    try:
        fit(directory, devices=None, mapping="pmap")
    except ValueError as error:
        assert "mapping='pmap' is for one process" in str(error), error
    print("done")


def slow_pair(directory, address, process_id):
    """One of two processes, which train slowly, and of which one is to be killed."""
    training.devices.initialize(address, 2, int(process_id))

    def slow(state, metrics):
        print("step", int(state.step), flush=True)
        time.sleep(0.1)

    slow.every = 1
    fit(directory, steps=2000, checkpoint_every=2, devices=None, hooks=[slow])


if __name__ == "__main__":
    _, task, place, *more = sys.argv
    tasks = (kill_renaming, kill_after, wait_for_ctrl_c, pair, slow_pair)
    {t.__name__: t for t in tasks}[task](Path(place), *more)
