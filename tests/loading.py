"""A process that knows nothing of the models that it loads: `python -m tests.loading FOLDER`.

Prints, for each folder in it that `gm.save` wrote, a checksum of what the model samples.
"""

import sys
from pathlib import Path

import jax
import numpy as np

import genjax_models as gm
import tests.conftest  # noqa: F401 - the flags of quick compiles


def checksum(folder):
    """Loads a model and draws samples of it, beside the arrays in `given.npz` if it wants any."""
    model, params, state = gm.load_model(folder)
    given = dict(np.load(folder / "given.npz"))
    x = model.sample(params, jax.random.key(1), num=5, state=state, **given)
    return np.asarray(x).tobytes().hex()


if __name__ == "__main__":
    for each in sorted(Path(sys.argv[1]).iterdir()):
        print(each.name, checksum(each))
