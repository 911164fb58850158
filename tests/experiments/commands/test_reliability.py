"""Runs among passing errors, damage, other people's files, signals, and streams of any kind."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.commands import cli
from experiments.commands.terminal import plain_cell
from experiments.runner import runs
from experiments.runner.files import locked
from genjax_models.core.files import replaced
from genjax_models.training import checkpoint, hooks
from tests.experiments.conftest import TINY
from tests.training.test_checkpoint import an_opener_that_fails_once


def rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def damage(directory, *steps):
    for step in steps:
        data = (directory / "checkpoints" / str(step) / "state").rglob("*")
        file = max((p for p in data if p.is_file()), key=lambda p: p.stat().st_size)
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)


@pytest.fixture
def stopped(finished, tmp_path):
    """The run as if it had been killed after its last checkpoint, that of step 20."""
    copy = shutil.copytree(finished, tmp_path / "stopped")
    (copy / "result.json").unlink()
    return copy


def checkpoints(directory):
    return sorted(p.name for p in (directory / "checkpoints").iterdir())


def test_a_passing_error_moves_nothing_and_starts_nothing(run, stopped):
    before = checkpoints(stopped)
    for number in (errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.ENOMEM, errno.EMFILE):
        for command in (["train", "vae", *TINY, "--run-dir", stopped], ["sample", stopped]):
            with an_opener_that_fails_once(stopped / "checkpoints", number, 1):
                answer = run(*command)
            assert answer.code == 2
            said = answer.err.strip().splitlines()[-1]
            assert os.strerror(number).lower() in said.lower() and "Traceback" not in answer.err
            assert checkpoints(stopped) == before


def test_a_run_goes_on_from_the_newest_whole_checkpoint(run, stopped, finished):
    damage(stopped, 20)
    with (stopped / "metrics.jsonl").open("ab") as file:
        file.write(b'\xff\xfe\n{"step": 5}\n[1]\n')
    answer = run("sample", stopped, "--out", "a.npz")  # what reads moves nothing
    assert answer.code == 0 and "is damaged" in answer.err
    assert checkpoints(stopped) == ["10", "20"]
    answer = run("train", "vae", *TINY, "--run-dir", stopped)
    assert answer.code == 0, answer.err
    assert "resuming from step 10 of 20" in answer.err
    assert "metrics.jsonl is damaged at line" in answer.err
    assert checkpoints(stopped) == ["10", "20", "20.damaged"]
    assert rows(stopped) == rows(finished)
    metrics = [json.loads((d / "result.json").read_text())["metrics"] for d in (stopped, finished)]
    assert metrics[0] == metrics[1]


def test_damaged_checkpoints_alone_are_no_new_start(run, stopped):
    damage(stopped, 10, 20)
    train = ["train", "vae", *TINY, "--run-dir", stopped]
    for _ in range(2):
        answer = run(*train)
        assert answer.code == 2
        assert "damaged checkpoints alone" in answer.err and "--restart" in answer.err
        assert checkpoints(stopped) == ["10.damaged", "20.damaged"]
        assert rows(stopped)
    assert run(*train, "--restart").code == 0
    assert checkpoints(stopped) == ["10", "10.damaged", "20", "20.damaged"]
    (stopped / "result.json").unlink()
    assert "--restart is for a run whose" in run(*train, "--restart").line


# Nothing is learned, so that no evaluation is better than the first one, that of step 2.
PATIENT = [*TINY, "--optimizer.learning-rate", "1e-30", "--ema", "0", "--evaluation.every", "2",
           "--checkpoint-every", "2", "--evaluation.patience", "4"]  # fmt: skip


def test_early_stopping_remembers_what_was_before_the_checkpoint_that_was_read(
    run, tmp_path, monkeypatch
):
    assert run("train", "vae", *PATIENT, "--run-dir", "whole").code == 0
    with monkeypatch.context() as patch:
        honest, calls = checkpoint.save, []

        def killed(directory, state, *args, **kwargs):
            honest(directory, state, *args, **kwargs)
            calls.append(int(state.step))
            if Path(directory).name == "checkpoints" and int(state.step) == 8:
                raise KeyboardInterrupt

        patch.setattr(checkpoint, "save", killed)
        assert run("train", "vae", *PATIENT, "--run-dir", "cut").code == 130
    damage(tmp_path / "cut", 6, 8)
    answer = run("train", "vae", *PATIENT, "--run-dir", "cut")
    assert answer.code == 0 and "resuming from step 4" in answer.err
    assert "stopped at step 10: vae/loss was lowest at step 2" in answer.err
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


def test_what_does_not_belong_together_is_refused(run, finished, stopped, tmp_path):
    other = tmp_path / "other"
    assert run("train", "vae", *TINY, "--seed", "1", "--run-dir", other).code == 0
    (other / "result.json").unlink()
    mixed = shutil.copytree(stopped, tmp_path / "mixed")
    shutil.rmtree(mixed / "checkpoints")
    shutil.copytree(other / "checkpoints", mixed / "checkpoints")
    edited = shutil.copytree(stopped, tmp_path / "edited")
    values = json.loads((edited / "config.json").read_text())
    values["config"]["seed"] = 1
    (edited / "config.json").write_text(json.dumps(values))
    cases = ((mixed, "1 -> 0", TINY), (edited, "0 -> 1", [*TINY, "--seed", "1"]))
    for directory, seeds, train in cases:
        for command in (["train", "vae", *train, "--run-dir"], ["evaluate"], ["sample"]):
            answer = run(*command, directory)
            assert answer.code == 2
            assert f"of another run than its config.json tells of (--seed {seeds})" in answer.line
        assert checkpoints(directory) == ["10", "20"]


def test_data_that_were_exchanged_are_refused(run, tmp_path):
    draw = np.random.default_rng(0).integers(0, 256, (2, 40, 6, 6, 1)).astype(np.uint8)
    np.savez(tmp_path / "mine.npz", x=draw[0])
    settings = [*TINY, "--dataset", "mine.npz", "--model.likelihood", "discretized_logistic"]
    assert run("train", "vae", *settings, "--run-dir", "r").code == 0
    assert run("evaluate", "r").code == 0
    (tmp_path / "r" / "result.json").unlink()
    np.savez(tmp_path / "mine.npz", x=draw[1])
    for command in (["evaluate", "r"], ["train", "vae", *settings, "--run-dir", "r"]):
        answer = run(*command)
        assert answer.code == 2
        assert "r is a run of other data than mine.npz has now" in answer.line, answer.line
        assert "in its split train (the data, as many examples but others)" in answer.line


def test_a_run_directory_may_have_any_name(run, finished):
    name = "lr=[1e-3] back\\slash wh?t *"
    answer = run("train", "vae", *TINY, "--run-dir", name)
    assert answer.code == 0, answer.err
    assert rows(Path(name)) == rows(finished)
    assert run("sample", name, "--num", "2").code == 0


def test_what_a_run_started_from_may_be_gone_when_it_goes_on(run, finished, tmp_path):
    first = shutil.copytree(finished, tmp_path / "first")
    settings = [*TINY, "--initial", first, "--run-dir", "second"]
    assert run("train", "vae", *settings).code == 0
    (tmp_path / "second" / "result.json").unlink()
    shutil.rmtree(tmp_path / "second" / "checkpoints" / "20")
    shutil.rmtree(first)
    assert run("train", "vae", *settings).code == 0
    answer = run("train", "vae", *TINY, "--steps", "40", "--run-dir", "second")
    assert answer.code == 2 and "--initial second" in answer.line


def test_sigterm_saves_and_says_how_to_go_on(run, finished, tmp_path, monkeypatch):
    json_lines = hooks.json_lines

    def interrupting(path):
        report = json_lines(path)

        def interrupt(state, metrics, /, split="train"):
            report(state, metrics, split)
            if int(state.step) == 15:
                signal.raise_signal(number)

        return interrupt

    for number, options in ((signal.SIGTERM, []), (signal.SIGUSR1, ["--stop-on-usr1"])):
        directory = tmp_path / f"by{number}"
        with monkeypatch.context() as patch:
            patch.setattr(hooks, "json_lines", interrupting)
            answer = run("train", "vae", *TINY, *options, "--run-dir", directory)
        assert answer.code == 128 + number
        assert "step 15 is saved; resume with:" in answer.err.splitlines()[-1]
        assert run("train", "vae", *TINY, "--run-dir", directory).code == 0
        assert rows(directory) == rows(finished)


def test_files_are_exchanged_and_not_written_through_links(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "config.json").symlink_to(tmp_path / "mine")
    runs.write_json(tmp_path / "config.json", {"a": 1})
    assert (tmp_path / "mine").read_text() == "mine"
    assert json.loads((tmp_path / "config.json").read_text()) == {"a": 1}
    with pytest.raises(OSError, match="full"), replaced(tmp_path / "config.json") as fresh:
        fresh.write_text("half")
        raise OSError("full")
    assert json.loads((tmp_path / "config.json").read_text()) == {"a": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "mine"]


def test_a_lock_is_not_written_through_a_link(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "lock").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError), locked(tmp_path / "r"):  # noqa: PT011
        pass
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+a", "'+a"),
        ("-a", "'-a"),
        ("@a", "'@a"),
        ("\ta", "'\ta"),
        ("\ra", "'\ra"),
        ("-1.5", "-1.5"),
        ("+2e-3", "+2e-3"),
        (-1.5, -1.5),
        (None, None),
        ("vae", "vae"),
        ("", ""),
    ],
)
def test_a_cell_is_no_formula(cell, written):
    assert plain_cell(cell) == written


def test_every_error_is_one_line(run, monkeypatch):
    def fail(error):
        def command(argv):
            raise error

        return command

    for error, code, words in (
        (RuntimeError("no backend\nmore"), 1, "error: RuntimeError: no backend (GENJAX_DEBUG=1"),
        (KeyError("x"), 1, "error: KeyError: 'x'"),
        (AssertionError(), 1, "error: AssertionError (GENJAX_DEBUG=1"),
        (MemoryError(), 1, "error: MemoryError"),
        (RecursionError("deep"), 1, "error: RecursionError: deep"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), 2, "error: 'utf-8' codec"),
    ):
        monkeypatch.setattr(cli, "_run", fail(error))
        answer = run("list")
        assert answer.code == code and answer.line.startswith(words)


def command_line(arguments, **options):
    """The command line in a process of its own."""
    program = f"import sys; from experiments.commands import cli; sys.exit(cli.main({arguments!r}))"
    environment = {**os.environ, **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, **options
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_output_falls_back_where_a_character_cannot_be_written(encoding):
    end = command_line(["list"], env={"PYTHONIOENCODING": encoding})
    assert end.returncode == 0 and end.stderr == b""
    assert "<=" in end.stdout.decode(encoding)


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_a_closed_stream_is_no_reason_to_fail(closed, finished, tmp_path):
    """And no file that is opened afterwards takes its place."""
    shell = " ".join(f"{number}>&-" for number in closed)
    out = tmp_path / "x.npz"
    program = f"{sys.executable} -m experiments sample {finished} --num 2 --out {out} {shell}"
    end = subprocess.run(["sh", "-c", program], capture_output=True, check=False)
    assert end.returncode == 0, end.stderr
    # jaxlib before 0.10.2 logs a remark on the machine beside a program that it finds in the cache.
    assert not [line for line in end.stderr.splitlines() if not re.match(rb"E\d{4} ", line)]
    with np.load(out) as file:
        assert file["x"].shape == (2, 8, 8, 1)


def test_a_reader_of_messages_that_goes_away_does_not_end_a_training(tmp_path):
    program = [sys.executable, "-m", "experiments", "train", "vae", *TINY, "--run-dir"]
    end = subprocess.Popen([*program, str(tmp_path / "r")], stderr=subprocess.PIPE)
    assert end.stderr is not None and b"training" in end.stderr.readline()
    end.stderr.close()
    assert end.wait(300) == 0
    assert (tmp_path / "r" / "result.json").is_file()


def test_a_platform_that_is_not_there_is_told_in_one_line(tmp_path):
    end = command_line(
        ["train", "vae", *TINY], env={"JAX_PLATFORMS": "cuda"}, cwd=tmp_path, text=True
    )
    lines = end.stderr.strip().splitlines()
    assert end.returncode == 2 and len(lines) == 1, end.stderr
    assert "JAX_PLATFORMS=cuda" in lines[0] and "unset it" in lines[0]
