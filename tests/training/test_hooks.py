"""Hooks: what reaches files and screen, and at which steps."""

from __future__ import annotations

import json
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.training import Diverged, TrainState, hooks


def at(step: int) -> TrainState:
    """A state of which the hooks look at the step alone."""
    return TrainState(jnp.asarray(step), {}, {}, {}, {}, jnp.zeros(()))


def test_json_lines_writes_one_object_a_report(tmp_path):
    path = tmp_path / "new" / "metrics.jsonl"
    report = hooks.json_lines(path)
    report(at(10), {"vae/loss": 2.5, "vae/kl": np.float32(0.5)})
    report(at(10), {"vae/loss": 3.0}, split="validation")
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 10, "split": "train", "vae/loss": 2.5, "vae/kl": 0.5},
        {"step": 10, "split": "validation", "vae/loss": 3.0},
    ]
    assert hooks.read_json_lines(path)[1]["vae/loss"] == 3.0


def test_a_resumed_run_takes_the_place_of_what_it_repeats(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first = hooks.json_lines(path)
    for step in (10, 20, 30):
        first(at(step), {"loss": step})
        first(at(step), {"loss": -step}, split="validation")
    with path.open("a") as file:
        file.write('{"step": 40, "spl')  # killed in the middle of a line
    again = hooks.json_lines(path)
    again(at(20), {"loss": 0.0})
    again(at(20), {"loss": 1.0}, split="validation")
    again(at(30), {"loss": 2.0})
    found = [(row["step"], row["split"], row["loss"]) for row in hooks.read_json_lines(path)]
    assert found == [
        (10, "train", 10.0),
        (10, "validation", -10.0),
        (20, "train", 0.0),
        (20, "validation", 1.0),
        (30, "train", 2.0),
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_reading_where_there_is_no_file(tmp_path):
    assert hooks.read_json_lines(tmp_path / "none.jsonl") == []


def test_a_run_is_stopped_when_a_metric_leaves_its_bound():
    hook = hooks.stop_when("energy/size", above=10.0, mend="lower the learning rate")
    hook(at(3), {"energy/size": 10.0})
    with pytest.raises(Diverged, match="step 4: energy/size is 10.5, above 10.*lower the") as error:
        hook(at(4), {"energy/size": 10.5})
    assert (error.value.step, error.value.metric) == (4, "energy/size")
    with pytest.raises(ValueError, match="no metric 'energy/size'.*: there are gan/loss"):
        hook(at(5), {"gan/loss": 1.0})


def test_every_hands_on_and_checks_its_period():
    seen = []
    every = hooks.Every(7, lambda state, metrics: seen.append(int(state.step)))
    every(at(7), {})
    assert (every.every, seen) == (7, [7])
    with pytest.raises(ValueError, match="every is 0"):
        hooks.Every(0, print)


def test_validation_reports_to_all():
    told = []

    def report(state, metrics, /, split="train"):
        told.append((int(state.step), split, dict(metrics)))

    hook = hooks.validation(lambda state: {"loss": 2.0 * int(state.step)}, [report, report])
    hook(at(3), {"loss": 1.0})
    assert told == [(3, "validation", {"loss": 6.0})] * 2


def test_tensorboard_files_hold_the_numbers(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    report = hooks.tensorboard(tmp_path)
    assert not list(tmp_path.iterdir())  # nothing before the first report
    report(at(5), {"vae/loss": 2.5})
    report(at(6), {"vae/loss": 3.5}, split="validation")
    del report  # which closes the file
    (file,) = tmp_path.glob("events.out.tfevents.*")
    found, data = [], file.read_bytes()
    while data:  # records: length (8), its checksum (4), the event, its checksum (4)
        size = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + size])
        found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
        data = data[16 + size :]
    assert found == [(5, "train/vae/loss", 2.5), (6, "validation/vae/loss", 3.5)]


def test_sample_grid_draws_from_the_state(tmp_path):
    from PIL import Image

    hook = hooks.sample_grid(
        lambda state: np.full((4, 8, 8, 1), 8), tmp_path / "s.png", num_levels=17
    )
    hook(at(1), {})
    assert abs(np.asarray(Image.open(tmp_path / "s.png").convert("L"))[5, 5] - 127.0) <= 1


def test_coverage_warns_when_modes_are_lost_and_again_when_they_are_lost_again():
    told, covered = [], iter([24, 25, 17, 16, 25, 3])

    def report(state, metrics, /, split="train"):
        told.append((int(state.step), split, metrics))

    hook = hooks.coverage(lambda state: (next(covered), 25), below=24, reports=[report])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(1, 7):
            hook(at(step), {"loss": 1.0})
    assert [str(warning.message) for warning in caught] == [
        f"step {step}: samples cover {num} of 25 modes, fewer than 24: the generator may be "
        "collapsing"
        for step, num in ((3, 17), (6, 3))
    ]
    assert told[2] == (3, "validation", {"modes": 17.0}) and len(told) == 6


def test_coverage_warns_at_the_first_look():
    with pytest.warns(UserWarning, match="cover 1 of 25 modes"):
        hooks.coverage(lambda state: (1, 25), below=24)(at(5), {})


def test_only_the_first_process_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(hooks.jax, "process_index", lambda: 1)
    with hooks.progress_bar(10) as bar:
        for report in (bar, hooks.json_lines(tmp_path / "m"), hooks.tensorboard(tmp_path / "t")):
            report(at(5), {"loss": 1.0})
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == ""


class Clock:
    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


def test_progress_in_lines(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(hooks, "time", clock)
    with hooks.progress_bar(100, interval=10.0) as bar:
        bar(at(10), {"vae/kl": 1.0, "vae/loss": 50.0})
        for step in (20, 30, 40):
            clock.now += 4.0
            bar(at(step), {"vae/kl": 2.0, "vae/loss": 49.0})
        bar(at(40), {"vae/kl": 3.0, "vae/loss": 60.0}, split="validation")
    assert bar.rate == pytest.approx(30 / 12)  # compiling, before the first report, left out
    assert capsys.readouterr().err.splitlines() == [
        "step 10/100  loss 50  kl 1",
        "step 40/100  2.5 steps/s  24s left  loss 49  kl 2",
        "step 40/100  2.5 steps/s  24s left  loss 49  kl 2  validation loss 60  kl 3",
    ]


def test_progress_on_a_terminal_gives_it_back(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with pytest.raises(RuntimeError, match="stop"), hooks.progress_bar(100) as bar:
        screen = bar._screen
        assert screen.live.is_started
        bar(at(10), {"vae/loss": 50.0})
        bar(at(50), {"vae/loss": 40.0}, split="validation")
        assert screen.bar.tasks[0].completed == 50
        assert "steps/s" in screen.bar.tasks[0].description
        raise RuntimeError("stop")
    assert not screen.live.is_started
    assert "validation  loss 40" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (0.4, "0s"), (59.6, "1m 00s"), (125, "2m 05s"), (7300, "2h 01m")],
)
def test_duration(seconds, text):
    assert hooks.duration(seconds) == text


def test_metrics_of_several_players_keep_their_names():
    text = hooks.format_metrics({"d/real": 1.0, "d/loss": 2.0, "g/loss": 3.0})
    assert text == "d/loss 2  g/loss 3  d/real 1"
