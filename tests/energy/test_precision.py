"""Chains and their weights keep the precision of what they are given, in 32 and in 64 bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.energy import annealing
from genjax_models.energy.mcmc import HMC, MALA, Langevin, run_chains


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", [Langevin(0.1), MALA(0.1), HMC(0.1, 2)])
def test_chains_and_annealing_run_in_both_modes(kernel, dtype, x64):
    """From N(0, 1) to N(1, 1/4), whose constants' ratio is 1/2."""
    with jax.enable_x64(x64):
        x = jax.random.normal(jax.random.key(0), (300, 1), dtype if x64 else "float32")

        def target(x):
            return jnp.sum(-2.0 * (x - 1.0) ** 2)

        path = annealing.geometric(lambda x: jnp.sum(-0.5 * x**2), target)
        betas = annealing.sigmoidal(12)

        @jax.jit
        def run(x, key):
            end, _ = run_chains(kernel, target, x, key, 3)
            sizes = annealing.tune_step_sizes(kernel, path, betas, x, key)
            done = annealing.anneal(kernel, path, betas, x, key, step_sizes=sizes)
            return end, done.x, annealing.LogPartition.of_weights(done.log_weight)

        end, annealed, z = run(x, jax.random.key(1))
        assert end.dtype == annealed.dtype == x.dtype
        assert np.all(np.isfinite(end)) and np.all(np.isfinite(annealed))
        if not isinstance(kernel, Langevin):  # which is biased
            assert abs(z.value - np.log(0.5)) < 5 * z.standard_error + 0.02
