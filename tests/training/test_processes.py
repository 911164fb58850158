"""Runs that are killed or interrupted from outside, and runs of several processes."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import chex
import jax
import numpy as np
import optax
import pytest

from genjax_models.training import checkpoint, init_state
from tests.training import worker
from tests.training.toys import arrays, points

ROOT = Path(__file__).parents[2]


def start(task, *arguments, devices=1):
    """A process of `tests.training.worker`."""
    environment = {
        **os.environ,
        # Of two equal flags the last counts. All else is as here: runs are compared bitwise.
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.worker", task, *map(str, arguments)],
        cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process):
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    return process.returncode, out, err


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing disturbed."""
    return arrays(worker.fit(tmp_path_factory.mktemp("whole")))


def resume(directory, whole):
    """Goes on with a run to its end, which is to be that of an undisturbed one, bit by bit."""
    chex.assert_trees_all_equal(arrays(worker.fit(directory)), whole)
    steps = checkpoint.all_steps(directory)
    assert steps == [6, 8, 9]
    assert sorted(p.name for p in directory.iterdir()) == sorted(map(str, steps))


@pytest.mark.parametrize("name", ["6", "state"])
def test_a_run_killed_in_the_middle_of_a_save_goes_on(name, whole, tmp_path):
    """Killed when the folder would get its name, and when a part of it would."""
    code, _, err = finish(start("kill_renaming", tmp_path, name))
    assert code == -signal.SIGKILL, err
    assert checkpoint.all_steps(tmp_path) == [2, 4]  # step 6 was being saved
    assert list(tmp_path.glob("6.*"))
    resume(tmp_path, whole)


def test_a_run_killed_at_any_moment_goes_on(whole, tmp_path):
    delay = random.uniform(0.0, 0.1)
    code, _, err = finish(start("kill_after", tmp_path, delay))
    assert code == -signal.SIGKILL, err
    assert checkpoint.latest_step(tmp_path) in (4, 6), f"killed after {delay} s"
    resume(tmp_path, whole)


def test_ctrl_c_from_a_terminal_saves_the_run(whole, tmp_path):
    process = start("wait_for_ctrl_c", tmp_path)
    for line in process.stdout:
        if line == "step 3\n":
            process.send_signal(signal.SIGINT)
            break
    code, out, err = finish(process)
    assert code == 0 and "Traceback" not in err, err
    (saved,) = [line for line in out.splitlines() if line.startswith("saved")]
    assert "interrupted at step" in saved
    step = int(saved.split()[1])
    assert checkpoint.all_steps(tmp_path) == [step]
    if step < 9:  # it is, unless this machine stood still for a second
        chex.assert_trees_all_equal(arrays(worker.fit(tmp_path)), whole)


def free_address():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return f"localhost:{probe.getsockname()[1]}"


def test_of_two_processes_the_other_ends_when_one_is_killed(tmp_path):
    address = free_address()
    processes = [start("slow_pair", tmp_path, address, i) for i in range(2)]
    try:
        for line in processes[0].stdout:
            if line == "step 5\n":
                break
        processes[1].kill()
        killed = time.monotonic()
        code, _, err = finish(processes[0])
        assert code == 1 and time.monotonic() - killed < 60, err
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert "ProcessLost: process 0 of 2 ends, since another one is gone" in err.splitlines()[-1]
    assert max(checkpoint.all_steps(tmp_path)) >= 4


def test_two_processes_give_the_run_of_one(whole, tmp_path):
    address = free_address()
    processes = [start("pair", tmp_path, address, i, devices=2) for i in range(2)]
    try:
        ends = [finish(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for code, out, err in ends:
        assert code == 0 and out.endswith("done\n"), err
    with np.load(tmp_path / "shift.npz") as file:
        np.testing.assert_allclose(file["ema"], whole.ema["affine"]["shift"], rtol=1e-5)
    # What two processes saved, one reads: before it was interrupted whole, at the end split.
    assert checkpoint.all_steps(tmp_path) == [5, 8, 9]
    template = jax.eval_shape(
        lambda: init_state(worker.MODEL, optax.adam(0.05), points().rows(np.arange(16)), 0)
    )
    loaded, _ = checkpoint.load(tmp_path, template)
    chex.assert_trees_all_close(arrays(loaded), whole, rtol=1e-5, atol=1e-6)
    # And one goes on from there.
    for step in ("8", "9"):
        shutil.rmtree(tmp_path / step)
    chex.assert_trees_all_close(arrays(worker.fit(tmp_path)), whole, rtol=1e-5, atol=1e-6)
