"""The comparison with PyTorch says what it lacks before it measures anything."""

import sys

import pytest

from experiments.benchmarks import versus_pytorch


@pytest.mark.parametrize("there", [True, False])
def test_an_interpreter_without_torch_is_named(there, tmp_path, monkeypatch, capsys):
    python = tmp_path / "python"
    if there:
        python.write_text("#!/bin/sh\nexit 1\n")
        python.chmod(0o755)
    monkeypatch.setattr(sys, "argv", ["versus_pytorch", "vae", "--torch-python", str(python)])
    with pytest.raises(SystemExit, match=f"{python} cannot import torch.* by --torch-python PATH"):
        versus_pytorch.main()
    assert capsys.readouterr().out == ""


def test_an_interpreter_with_torch_is_taken(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    versus_pytorch.check_torch(str(python))
