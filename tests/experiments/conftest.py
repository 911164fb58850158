"""A tiny run that the tests of the command line share, and a way to call it."""

from __future__ import annotations

import dataclasses
import os
import pathlib

import pytest

from experiments.commands import cli

ROOT = pathlib.Path(__file__).parents[2]
TINY = [
    *("--steps", "20", "--batch-size", "16", "--log-every", "5", "--checkpoint-every", "10"),
    *("--evaluation.every", "10", "--model.hidden", "8", "--model.latent-dim", "2"),
    *("--devices", "1"),
]


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        # What is not installed is found by other processes in other folders, too.
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        yield


@dataclasses.dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The refusal, which must be one line on stderr and nothing else."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Calls the command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: str) -> Answer:
        capsys.readouterr()
        code = cli.main([str(a) for a in argv])
        return Answer(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> pathlib.Path:
    """The directory of a run that came to its end."""
    directory = tmp_path_factory.mktemp("runs") / "tiny"
    assert cli.main(["train", "vae", *TINY, "--run-dir", str(directory)]) == 0
    return directory
