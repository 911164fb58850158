"""Every model of the contract with 64-bit numbers; its own process, since JAX has one mode each.

`JAX_ENABLE_X64=1 python -m tests.double [MODEL ...]` prints a traceback for each model that fails.
Each takes a step on a batch of one example, samples, and scores. With `--agree`, what it scores is
held against that of 32-bit numbers too, which takes twice as long.
"""

import sys
import traceback

import jax
import jax.numpy as jnp
import numpy as np
import optax

import genjax_models as gm
import tests.conftest  # noqa: F401 - the flags of quick compiles
from genjax_models.core.protocols import (
    ApproximateDensity,
    Representation,
    TractableDensity,
    UnnormalizedDensity,
)
from genjax_models.training.state import init_state
from tests.test_contract import BESIDE, MODELS


def examples(num):
    """Digits and what models are conditioned on."""
    rows = gm.load("digits").rows(np.arange(num))
    x = rows["x"]
    return {**rows, "condition": x[:, ::-1], "y": np.roll(x, 1, axis=0)}


def trains(model):
    """A step on one example leaves everything finite, and its types as they are."""
    optimizer, batch = optax.adam(1e-3), examples(1)

    @jax.jit
    def run(batch):
        state = init_state(model, optimizer, batch, 0)
        return state, gm.make_step(model, optimizer)(state, batch)

    before, (after, metrics) = run(batch)
    finite(metrics)
    finite(after.params)
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert a.dtype == b.dtype, f"a step turns {a.dtype} into {b.dtype}"
    return after


def samples(name, model, state):
    """Samples are the data's."""
    given = {} if name not in BESIDE else {BESIDE[name]: examples(2)["x"]}
    x = jax.jit(lambda s, k: model.sample(s.params, k, 2, state=s.state, **given))(
        state, jax.random.key(1)
    )
    assert x.shape == (2, *model.spec.shape) and x.dtype == jnp.uint8, (x.shape, x.dtype)


def scores(model, state):
    """Whatever the model can say of examples."""
    batch = examples(3)
    condition = gm.metrics.conditions(model, batch)

    @jax.jit
    def run(params, state, x):
        out = {}
        if isinstance(model, TractableDensity):
            out["log_prob"] = model.log_prob(params, x, state=state, **condition)
        if isinstance(model, ApproximateDensity):
            out["bound"] = model.log_prob_bound(
                params, x, jax.random.key(0), 2, state=state, **condition
            )
        if isinstance(model, UnnormalizedDensity):
            out["energy"] = model.energy(params, x, state=state)
        if isinstance(model, Representation):
            z = model.encode(params, x, state=state, **condition)
            out["code"], out["mean"] = z, model.decode(params, z, state=state, **condition)
        return out

    return run(state.params, state.state, batch["x"])


def finite(tree):
    for path, a in jax.tree_util.tree_leaves_with_path(tree):
        assert np.all(np.isfinite(a)), f"{jax.tree_util.keystr(path)} is not finite"


def agree(wide, narrow):
    for name, a in wide.items():
        scale = np.max(np.abs(a)) + 1e-6
        error = np.max(np.abs(np.asarray(a, float) - np.asarray(narrow[name], float))) / scale
        assert error < 1e-3, f"{name} is {error:.1e} off"


def check(name):
    model = MODELS[name]
    state = trains(model)
    samples(name, model, state)
    wide = scores(model, state)
    finite(wide)
    if "--agree" not in sys.argv:
        return
    with jax.enable_x64(False):
        key = lambda a: jnp.issubdtype(a.dtype, jax.dtypes.prng_key)  # noqa: E731
        narrow = jax.tree.map(lambda a: a if key(a) else jnp.asarray(np.asarray(a)), state)
        agree(wide, scores(model, narrow))


def main():
    """Checks the models of the command line, or all; the number of those that fail."""
    failed = 0
    for name in [a for a in sys.argv[1:] if a != "--agree"] or MODELS:
        try:
            check(name)
        except Exception:
            failed += 1
            print(f"{name} fails:", traceback.format_exc(limit=-3), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
