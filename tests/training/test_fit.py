"""The loop: hooks and their periods, dispatches, streams, interruptions, and what is refused."""

import dataclasses
import json
import os
import shutil
import signal
import threading

import chex
import jax
import numpy as np
import optax
import pytest

import genjax_models as gm
from genjax_models import training
from genjax_models.training import checkpoint, interrupts
from genjax_models.training.feed import batch_indices
from genjax_models.training.fit import DispatchSize, MetricMeans
from genjax_models.training.hooks import Every
from tests.training.toys import Affine, Game, Records, arrays, points, squared, streamed

STEPS = 11


def fit(model=None, data=None, **kwargs):
    kwargs = {"steps": STEPS, "devices": 1, "batch_size": 16, "log_every": 4, **kwargs}
    optimizer = kwargs.pop("optimizer", optax.adam(0.05))
    return gm.fit(model or Affine(noise=0.5), data or points(), optimizer, **kwargs)


def logger(rows):
    return lambda state, metrics: rows.append((int(state.step), dict(metrics)))


@pytest.fixture(scope="module")
def reference():
    """A run that nothing disturbed, and its logs."""
    rows = []
    return arrays(fit(hooks=[logger(rows)])), rows


def test_hooks_are_called_at_their_periods_and_at_the_end(reference):
    state, rows = reference
    logs = {1: [], 3: [], 5: []}
    again = fit(hooks=[Every(n, logger(logs[n])) for n in logs])
    chex.assert_trees_all_equal(arrays(again), state)  # looking changes nothing
    steps = {n: [step for step, _ in log] for n, log in logs.items()}
    assert steps == {1: list(range(1, 12)), 3: [3, 6, 9, 11], 5: [5, 10, 11]}
    # Between logs a hook is given the mean since the last one; the logs' own are of the period.
    assert [logs[1][i] for i in (3, 7, 10)] == rows and [step for step, _ in rows] == [4, 8, 11]
    assert [logs[3][0], logs[3][2]] == [logs[1][2], logs[1][8]]
    loss = [metrics["affine/loss"] for _, metrics in logs[1]]
    alone = [n * loss[n - 1] - (n - 1) * loss[n - 2] for n in (2, 3, 4)]  # of one step each
    assert loss[3] == pytest.approx((loss[0] + sum(alone)) / 4)
    assert loss[4] != pytest.approx(loss[3], rel=1e-3)  # of step 5 alone


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_how_much_is_dispatched_at_once_changes_nothing(seconds, reference, monkeypatch):
    """Nor does it compile more than once: every term is traced once in a run."""
    monkeypatch.setattr(DispatchSize, "seconds", seconds)
    traced, rows, dispatched = [], [], []
    timing = DispatchSize.timing
    monkeypatch.setattr(
        DispatchSize, "timing", lambda self, num: dispatched.append(num) or timing(self, num)
    )
    loss = Affine(noise=0.5).loss
    squared = loss.terms["squared"]
    counted = loss.drop("squared").add(squared=lambda outputs: traced.append(1) or squared(outputs))
    state = fit(losses={"affine": counted}, hooks=[logger(rows)])
    assert dispatched == ([1] * STEPS if seconds == 0 else [1, 3, 4, 3])
    assert len(traced) == 1
    chex.assert_trees_all_equal(arrays(state), reference[0])
    assert rows == reference[1]


def test_data_in_memory_are_moved_to_the_device_once(monkeypatch):
    data, read = points(), []
    rows = gm.Dataset.rows
    monkeypatch.setattr(gm.Dataset, "rows", lambda d, i: read.append(len(i)) or rows(d, i))
    moved = []
    put = jax.device_put
    monkeypatch.setattr(
        jax, "device_put", lambda tree, *to: moved.extend(jax.tree.leaves(tree)) or put(tree, *to)
    )
    with jax.transfer_guard_host_to_device("disallow"):  # nothing is moved behind our back
        fit(data=data)
    assert read == [16]  # the model's init looks at one batch
    assert sum(a is data.arrays["x"] for a in moved) == 1
    floats = [a for a in moved if isinstance(a, np.ndarray) and a.dtype == np.float32]
    assert sorted(len(a) for a in floats) == [16, 64]  # afterwards, numbers of examples alone


def test_a_stream_gives_the_same_run(reference, tmp_path):
    state, rows = reference
    logs = []
    stream = streamed(points())
    assert stream.arrays is None
    whole = fit(data=stream, hooks=[logger(logs)])
    chex.assert_trees_all_equal(arrays(whole), state)
    assert logs == rows
    del logs[:]
    fit(data=stream, steps=6, checkpoint_dir=tmp_path)
    resumed = fit(data=stream, checkpoint_dir=tmp_path, hooks=[logger(logs)])
    chex.assert_trees_all_equal(arrays(resumed), state)
    assert logs == rows[1:]


def test_an_error_of_a_stream_reaches_the_caller(monkeypatch):
    def fail(records, keys):
        raise OSError("the drive is gone")

    stream = streamed(points())
    first = stream.rows(np.arange(16))
    monkeypatch.setattr(Records, "__getitems__", fail)
    rows = gm.Dataset.rows
    begun = []

    def rows_at_first(data, indices):
        return rows(data, indices) if begun else begun.append(1) or first

    monkeypatch.setattr(gm.Dataset, "rows", rows_at_first)
    with pytest.raises(OSError, match="the drive is gone"):
        fit(data=stream)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    x = points().arrays["x"].copy()
    x[batch_indices(0, 3, 64, 16)[5]] = (
        1e30  # an example of the fourth batch, whose square is too large
    )
    data = dataclasses.replace(points(), arrays={"x": x})
    with pytest.raises(training.NonFiniteLoss, match="step 4: 'squared' of player 'affine' is inf"):
        fit(data=data, checkpoint_dir=tmp_path, checkpoint_every=2)
    assert checkpoint.all_steps(tmp_path) == [2]
    template = jax.eval_shape(
        lambda: training.init_state(Affine(), optax.adam(0.05), points().rows(np.arange(16)), 0)
    )
    saved, _ = checkpoint.load(tmp_path, template)
    for a in jax.tree.leaves(arrays(saved)):
        assert np.all(np.isfinite(a))


def test_parameters_that_are_not_finite_are_not_saved(tmp_path):
    """The step that spoils them has terms and a gradient that are finite."""
    spoils = optax.sgd(lambda t: np.inf * (t >= 3))
    with pytest.raises(training.NonFiniteLoss, match="step 4: the optimizer made .* of 'affine'"):
        fit(optimizer=spoils, steps=4, checkpoint_dir=tmp_path, checkpoint_every=1)
    assert checkpoint.latest_step(tmp_path) == 3


@pytest.mark.parametrize("press", ["in a hook", "from outside"])
def test_ctrl_c_saves_the_run_and_it_goes_on_from_there(press, reference, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    rows = []

    def hook(state, metrics):
        if state.step == 6 and press == "in a hook":
            signal.raise_signal(signal.SIGINT)
        elif state.step == 6:
            threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            while signal.getsignal(signal.SIGINT) is not before:
                pass

    hooks = [logger(rows), Every(3, hook)]
    with pytest.raises(training.Interrupted, match="interrupted at step 6, which is saved") as stop:
        fit(hooks=hooks, checkpoint_dir=tmp_path)
    assert (stop.value.step, stop.value.checkpoint_dir) == (6, tmp_path)
    assert isinstance(stop.value, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is before
    assert checkpoint.all_steps(tmp_path) == [6]
    resumed = fit(hooks=hooks, checkpoint_dir=tmp_path)
    chex.assert_trees_all_equal(arrays(resumed), reference[0])
    assert rows == reference[1]


def test_ctrl_c_without_checkpoints_is_what_it_always_is():
    def hook(state, metrics):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as stop:
        fit(hooks=[hook])
    assert not isinstance(stop.value, training.Interrupted)


def test_a_second_ctrl_c_does_not_wait(tmp_path):
    def hook(state, metrics):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as stop:
        fit(hooks=[hook], checkpoint_dir=tmp_path)
    assert not isinstance(stop.value, training.Interrupted)
    assert checkpoint.all_steps(tmp_path) == []


def test_a_run_in_a_thread_leaves_signals_alone(reference, tmp_path):
    states = []
    thread = threading.Thread(target=lambda: states.append(fit(checkpoint_dir=tmp_path)))
    thread.start()
    thread.join()
    chex.assert_trees_all_equal(arrays(states[0]), reference[0])


def test_a_run_can_start_from_the_parameters_of_another(reference):
    first = fit(steps=3)
    kept = jax.tree.map(np.array, (first.ema, first.state))
    second = fit(steps=1, initial=(first.ema, first.state), optimizer=optax.sgd(0.0))
    chex.assert_trees_all_equal(second.params, kept[0])
    assert int(second.state["passes"]) == int(kept[1]["passes"]) + 1
    chex.assert_trees_all_equal((first.ema, first.state), kept)  # they were not given away
    with pytest.raises(
        ValueError, match=r"of another model: at \[0\]\['affine'\]\['unused'\] they"
    ):
        fit(Affine(size=3), initial=(first.ema, first.state))
    with pytest.raises(ValueError, match=r"\['affine'\]\['\w+'\] they have .*this one has nothing"):
        fit(Game(), initial=(first.ema, first.state))


def test_what_a_run_starts_from_is_asked_for_at_its_start_alone(reference, tmp_path):
    kept = jax.tree.map(np.array, (reference[0].ema, reference[0].state))
    asked = []

    def initial():
        asked.append(1)
        return kept

    fit(steps=3, initial=initial, checkpoint_dir=tmp_path)
    resumed = fit(steps=6, initial=initial, checkpoint_dir=tmp_path)
    assert asked == [1]
    chex.assert_trees_all_equal(arrays(resumed), arrays(fit(steps=6, initial=kept)))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1"])
def test_signals_that_end_a_process_save_the_run(name, reference, tmp_path):
    number = getattr(signal, name)
    before = signal.getsignal(number)

    def hook(state, metrics):
        if state.step == 6:
            signal.raise_signal(number)
            signal.raise_signal(number)  # a terminal that is closed sends it twice

    hooks = [Every(3, hook)]
    stop_on = (*interrupts.STOPPING, signal.SIGUSR1)
    with pytest.raises(training.Interrupted, match=f"by {name} at step 6, which is saved") as stop:
        fit(hooks=hooks, checkpoint_dir=tmp_path, stop_on=stop_on)
    assert stop.value.signal == number and signal.getsignal(number) is before
    assert checkpoint.all_steps(tmp_path) == [6]
    chex.assert_trees_all_equal(arrays(fit(checkpoint_dir=tmp_path)), reference[0])
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        state = fit(checkpoint_dir=tmp_path, hooks=[lambda s, m: signal.raise_signal(1)])
    finally:
        signal.signal(signal.SIGHUP, before)
    assert int(state.step) == STEPS


def test_a_run_goes_on_from_the_checkpoint_that_could_be_read(reference, tmp_path):
    """Step, means and log are those of that checkpoint, though a newer one lies there."""
    rows, starts = [], []
    options = {"checkpoint_dir": tmp_path, "checkpoint_every": 2, "on_start": starts.append}
    fit(steps=7, **options)
    assert checkpoint.all_steps(tmp_path) == [4, 6, 7]
    for step in "67":
        (tmp_path / step / "page" / "metadata").write_text("{}")
    with pytest.warns(UserWarning, match="is damaged"):
        state = fit(hooks=[logger(rows)], **options)
    assert starts == [0, 4]
    chex.assert_trees_all_equal(arrays(state), reference[0])
    assert rows == [row for row in reference[1] if row[0] > 4]


def test_damaged_checkpoints_are_no_new_start(reference, tmp_path):
    fit(steps=4, checkpoint_dir=tmp_path, checkpoint_every=2)
    with pytest.raises(ValueError, match="has a whole one of step 4: leave it out to go on"):
        fit(checkpoint_dir=tmp_path, restart=True)
    for step in "24":
        (tmp_path / step / "page" / "metadata").write_text("{}")
    with pytest.warns(UserWarning), pytest.raises(training.CheckpointDamaged, match="no whole"):
        fit(checkpoint_dir=tmp_path)
    for _ in range(2):
        with pytest.raises(training.CheckpointDamaged, match="damaged checkpoints alone .*2.dam"):
            fit(checkpoint_dir=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2.damaged", "4.damaged"]
    state = fit(checkpoint_dir=tmp_path, restart=True)
    chex.assert_trees_all_equal(arrays(state), reference[0])
    assert {"2.damaged", "4.damaged"} < {p.name for p in tmp_path.iterdir()}


def halved(data):
    return dataclasses.replace(data, arrays={"x": data.arrays["x"][:32]})


def changed(data):
    x = data.arrays["x"].copy()
    x[5] += 1
    return dataclasses.replace(data, arrays={"x": x})


LOSS = Affine().loss


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 8}, "batch_size 16 -> 8"),
        ({"ema": 0.5}, "ema 0.999 -> 0.5"),
        ({"accumulate": 2}, "accumulate 1 -> 2"),
        ({"losses": {"affine": LOSS.weigh(squared=2.0)}}, r"losses .* 1.0\} -> .* 2.0\}"),
        ({"losses": {"affine": LOSS.weigh(squared=lambda t: t)}}, "losses .* 'a schedule'}"),
        ({"losses": {"affine": LOSS.add(more=squared)}}, r"losses of affine: .* 'more': 1.0\}"),
        ({"optimizer": optax.adamw(0.05, weight_decay=0.0)}, "optimizer of affine: .*Adam"),
        ({"data": halved(points())}, "examples of the data 64 -> 32"),
        ({"data": changed(points())}, "the data, as many examples but others"),
        ({"data": streamed(halved(points()))}, "examples of the data 64 -> 32"),
        ({"data": streamed(changed(points()))}, "the data, as many examples but others"),
    ],
)
def test_a_checkpoint_belongs_to_its_run(given, message, stopped_at_three, tmp_path):
    shutil.copytree(stopped_at_three, tmp_path / "run")
    with pytest.raises(ValueError, match=f"holds another run .*{message}") as caught:
        fit(checkpoint_dir=tmp_path / "run", **given)
    assert "\n" not in str(caught.value)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["3"]


@pytest.fixture(scope="module")
def stopped_at_three(tmp_path_factory):
    directory = tmp_path_factory.mktemp("stopped")
    fit(steps=3, checkpoint_dir=directory)
    return directory


def test_data_that_differ_in_their_last_bits_are_the_same(stopped_at_three, reference, tmp_path):
    """Real numbers that another machine computes anew; and the same streamed."""
    x = points().arrays["x"]
    near = dataclasses.replace(points(), arrays={"x": np.nextafter(x, np.float32(np.inf))})
    for i, data in enumerate((near, streamed(points()))):
        directory = shutil.copytree(stopped_at_three, tmp_path / str(i))
        state = fit(data=data, checkpoint_dir=directory)
        chex.assert_trees_all_close(arrays(state), reference[0], rtol=1e-4)


def test_a_directory_of_another_run_is_refused(reference, tmp_path):
    fit(checkpoint_dir=tmp_path, config={"name": "first"})
    assert checkpoint.all_steps(tmp_path) == [STEPS]
    with pytest.raises(ValueError, match="holds a run of another seed than 1: give the seed"):
        fit(checkpoint_dir=tmp_path, seed=1)
    with pytest.raises(ValueError, match="is at step 11, and steps is 5: give at least 11"):
        fit(checkpoint_dir=tmp_path, steps=5)
    with pytest.raises(
        ValueError, match="is of another model or optimizer: it has .* at .opt_state"
    ):
        fit(checkpoint_dir=tmp_path, optimizer=optax.sgd(0.05), steps=20)
    again = fit(checkpoint_dir=tmp_path)  # finished: there is nothing left to do
    chex.assert_trees_all_equal(arrays(again), reference[0])
    assert checkpoint.all_steps(tmp_path) == [STEPS]


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"steps": 0}, ValueError, "steps is 0: give a whole number of at least 1"),
        ({"steps": 2.5}, TypeError, "steps is 2.5, a float: give a whole number of at least 1"),
        ({"batch_size": True}, TypeError, "batch_size is True, a bool: give a whole number"),
        ({"batch_size": 65}, ValueError, "batch_size=65 is more than the dataset's 64 examples"),
        ({"batch_size": 18, "accumulate": 4}, ValueError, "accumulate=4: give one"),
        (
            {"batch_size": 6, "devices": 4},
            ValueError,
            "batch_size=6 is no multiple of 4, 4 devices times ac",
        ),
        ({"log_every": 0}, ValueError, "log_every is 0: give"),
        ({"checkpoint_every": -1}, ValueError, "checkpoint_every is -1: give"),
        ({"max_to_keep": 0}, ValueError, "max_to_keep is 0: give"),
        ({"accumulate": "2"}, TypeError, "accumulate is '2', a str: give"),
        ({"seed": -1}, ValueError, "seed is -1: give a whole number of at least 0"),
        ({"seed": 2**32}, ValueError, r"seed is 4294967296: give a whole number below 2\*\*32"),
        ({"seed": 0.5}, TypeError, "seed is 0.5, a float: give"),
        ({"ema": 1.0}, ValueError, r"ema is 1.0: give a decay in \[0, 1\); 0 keeps no average"),
        ({"ema": float("nan")}, ValueError, "ema is nan: give a decay"),
        ({"ema": "0.9"}, TypeError, "ema is '0.9', a str: give a decay"),
        ({"hooks": print}, TypeError, "hooks are <built-in function print>: give a list of funct"),
        ({"hooks": [3]}, TypeError, r"hooks are \[3\]: give a list of functions"),
        ({"config": {"at": {1, 2}}}, TypeError, "config cannot be stored with checkpoints .*set"),
        (
            {"devices": 9},
            ValueError,
            r"9 devices are asked for, but there are 8 \(cpu\): ask for 1",
        ),
        ({"devices": []}, ValueError, r"devices are \[\]: give at least one"),
        ({"mapping": "vmap"}, ValueError, "mapping is 'vmap', but it can be 'mesh' or 'pmap'"),
        ({"optimizer": 1e-3}, TypeError, "optimizer of 'affine' is 0.001: give an Optax transf"),
        ({"optimizer": {"vae": optax.sgd(1)}}, ValueError, "are given for vae, but the model's pl"),
        ({"losses": {"vae": None}}, ValueError, "a loss is given for 'vae', but the model's play"),
    ],
)
def test_what_cannot_be_is_refused_at_once(given, kind, message, tmp_path):
    with pytest.raises(kind, match=message) as caught:
        fit(checkpoint_dir=tmp_path / "run", **given)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_data_of_another_shape_are_refused(digits):
    with pytest.raises(
        ValueError, match=r"digits has examples of shape \(8, 8, 1\) with 17 levels"
    ):
        fit(data=digits)


def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(training.CheckpointError, match="checkpoints cannot be written to"):
            fit(checkpoint_dir=place)


def test_means_do_not_depend_on_how_the_steps_are_cut():
    values = np.random.default_rng(0).lognormal(sigma=6.0, size=257).astype(np.float32)
    found = set()
    for size in (1, 3, 64, 257):
        means = MetricMeans()
        for i in range(0, 257, size):
            means.add({"a/loss": values[i : i + size]})
            means = MetricMeans(**json.loads(json.dumps(means.as_json())))  # as a checkpoint has it
        found.add(means.values()["a/loss"])
    assert len(found) == 1
    np.testing.assert_allclose(found.pop(), values.astype(np.float64).mean(), rtol=1e-12)


def test_cleared_means_start_anew():
    means = MetricMeans()
    means.add({"a/loss": np.float32([1.0, 3.0])})
    assert means.values() == {"a/loss": 2.0}
    means.clear()
    means.add({"a/loss": np.float32([5.0])})
    assert means.values() == {"a/loss": 5.0}
