"""64-bit mode, which a process has from its start."""

import os
import subprocess
import sys


def test_every_model_trains_samples_and_scores_with_64_bit_numbers():
    """On a batch of one example; `tests/double.py` says what is checked."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.double"],
        env={**os.environ, "JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
