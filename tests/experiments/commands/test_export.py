"""A run's model, taken home."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

import genjax_models as gm
from experiments.runner import loading

FRESH = """
import sys, jax, numpy as np, genjax_models as gm
model, params, state, spec = gm.load_run(sys.argv[1])
assert not any(name.split(".")[0] == "experiments" for name in sys.modules)
assert spec == model.spec
np.save(sys.argv[2], model.sample(params, jax.random.key(3), 4, state=state))
"""


def test_a_finished_run_is_loaded_without_the_experiments(finished, tmp_path):
    out = tmp_path / "x.npy"
    subprocess.run([sys.executable, "-c", FRESH, finished, out], check=True)
    run = loading.load_run(finished)
    own = run.setup.model.sample(run.params, jax.random.key(3), 4, state=run.state.state)
    np.testing.assert_array_equal(np.load(out), own)
    about = json.loads((finished / "model.json").read_text())["metadata"]
    assert about == {"experiment": "vae", "dataset": "digits", "seed": 0, "step": 20}


def test_any_checkpoint_is_exported(run, finished, tmp_path):
    assert "step 20 in newest" in run("export", finished, "newest").out
    jax.tree.map(np.testing.assert_array_equal, gm.load_model("newest"), gm.load_model(finished))
    assert "step 10 in before" in run("export", finished, "before", "--step", "10").out
    kernel = [gm.load_model(f)[1]["decoder"]["Dense_0"]["kernel"] for f in ("before", "newest")]
    assert np.any(kernel[0] != kernel[1])


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nowhere", "folder"], "nowhere is no run directory"),
        (["{run}", "folder", "--step", "11"], "no checkpoint of step 11: give one of"),
        (["{run}", "full"], "full holds a model already"),
        (["{run}"], "export needs FOLDER"),
    ],
)
def test_bad_input(run, finished, tmp_path, argv, words):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "model.json").write_text("{}")
    answer = run("export", *(a.format(run=finished) for a in argv))
    assert words in answer.line and answer.code == 2
    assert not (tmp_path / "folder").exists()


def test_a_run_that_has_not_ended_says_so(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="has not ended.* experiments export"):
        gm.load_run(tmp_path)
    with pytest.raises(FileNotFoundError, match="no model.json in"):
        gm.load_run(tmp_path / "nowhere")
