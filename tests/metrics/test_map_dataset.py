"""Every example counts once, and what is said of it is of it, its number and the key alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import genjax_models as gm
from genjax_models import flows
from genjax_models.applications import anomaly
from genjax_models.applications.bias import encode_dataset
from genjax_models.core import random
from genjax_models.diffusion import ode, time_sampler
from genjax_models.diffusion.ode import DequantizedProbabilityFlow
from genjax_models.energy import mcmc
from genjax_models.metrics.evaluate import default_metrics
from genjax_models.metrics.map_dataset import map_dataset

KEY = jax.random.key(7)
NUM = 13
SPEC = gm.DataSpec((2, 2, 1), 5, name="small")
X = np.random.default_rng(0).integers(0, 5, (NUM, *SPEC.shape)).astype(np.uint8)
DATA = gm.Dataset.from_arrays(X, num_levels=5)
mlp, binary = gm.networks.MLP, gm.preprocess.dynamic_binarization
BINARY = {"preprocess": binary, "likelihood": gm.likelihoods.bernoulli, "spec": SPEC}
REAL = dataclasses.replace(SPEC, num_levels=None)
MODELS = {
    "vae": gm.VAE(mlp((8, 4)), mlp((8, 4)), latent_dim=2, **BINARY),
    "planar": gm.VAE(
        mlp((8, 4 + 5)),
        mlp((8, 4)),
        latent_dim=2,
        posterior=gm.flows.FlowPosterior(gm.flows.Planar(), amortized=True),
        **BINARY,
    ),
    "made": gm.Autoregressive(gm.networks.MADE(SPEC.shape, 2, (8,)), spec=SPEC, preprocess=binary),
    "diffusion": gm.Diffusion(gm.networks.DiT(2, 4, 1, 2), spec=SPEC),
    "masked": gm.MaskedDiffusion(
        gm.networks.Transformer(6, 4, 2, 1, 4, causal=False, outputs=5), spec=SPEC
    ),
    "flow": gm.Dequantized(
        gm.Flow(flows.Flattened(flows.MaskedAutoregressive((8,))), spec=REAL), spec=SPEC
    ),
    "energy": gm.EnergyModel(mlp((8, 1)), spec=SPEC),
}


PROBED = DequantizedProbabilityFlow(
    gm.FlowMatching(gm.networks.DiT(2, 4, 1, 2), spec=SPEC), divergence=ode.Hutchinson()
)
"""Its bound takes the longest to compile."""


def steps_downhill(x, key):
    """Where a Langevin chain is after two steps from each example: its entries' sum."""

    def log_density(v):
        return -jnp.sum(v**2)

    places, _ = mcmc.run_chains(mcmc.Langevin(0.1), log_density, x.astype(jnp.float32), key, 2)
    return jnp.sum(places.reshape(len(x), -1), -1)


@pytest.fixture(scope="module")
def every_kind():
    """Every metric of every model as one measure, the parameters, and all in one batch."""
    init = jax.jit(lambda key: {n: model.init(key, {"x": X}) for n, model in MODELS.items()})
    metrics = {name: default_metrics(model, 2) for name, model in MODELS.items()}
    assert {kind for found in metrics.values() for kind in found} == {
        "nll",
        "energy",
        "reconstruction_error",
    }

    def measure(given, batch):
        whole, key = given
        found = {"chain": steps_downhill(batch["x"], key)}
        for name, kinds in metrics.items():
            for kind, metric in kinds.items():
                params, state = whole[name]
                found[f"{name} {kind}"] = metric(params, state, batch, key)
        return found

    return measure, init(KEY), map_dataset(MODELS["vae"], measure, batch_size=NUM, devices=1)


@pytest.mark.parametrize(("devices", "batch_size"), [(1, 1), (2, 4), (8, 64)])
def test_figures_are_the_same_for_any_devices_and_batch_size(every_kind, devices, batch_size):
    measure, whole, at_once = every_kind
    expected = at_once(whole, KEY, DATA)
    found = map_dataset(MODELS["vae"], measure, batch_size=batch_size, devices=devices)(
        whole, KEY, DATA
    )
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert values.shape == (NUM,)
        np.testing.assert_allclose(found[name], values, rtol=2e-5, atol=2e-5, err_msg=name)


def test_alike_examples_have_noise_of_their_own(every_kind):
    _, whole, at_once = every_kind
    alike = gm.Dataset.from_arrays(np.full((NUM, *SPEC.shape), 2, np.uint8), num_levels=5)
    found, other = (at_once(whole, key, alike) for key in (KEY, jax.random.key(8)))
    drawn = {name: len(np.unique(values)) for name, values in found.items()}
    exact = {"flow reconstruction_error", "energy energy"}
    assert {name for name, num in drawn.items() if num == 1} <= exact
    assert min(drawn["chain"], drawn["diffusion nll"], drawn["masked nll"]) > NUM // 2
    assert {n for n in drawn if np.array_equal(found[n], other[n])} <= exact


def test_scores_and_codes_are_keyed_by_example_too():
    model = MODELS["planar"]  # its codes are drawn
    params, _ = jax.jit(model.init)(KEY, {"x": X})
    scores = [anomaly.score(model, params, DATA, KEY, batch_size=n, devices=1) for n in (3, 64)]
    codes = [encode_dataset(model, params, DATA, batch_size=n, devices=1) for n in (3, 64)]
    for a, b in (*((scores[0][name], scores[1][name]) for name in scores[0]), codes):
        assert len(a) == NUM
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_a_row_of_a_key_reaches_what_is_drawn_from_it():
    def drawn(key, num):
        first, second = jax.random.split(jax.random.fold_in(key, 3))
        return {
            "normal": random.normal(first, (num, 2)),
            "uniform": random.uniform(second, (num,)),
            "gumbel": random.gumbel(second, (num,)),
            "timesteps": time_sampler.sequence(first, num),
        }

    whole = drawn(random.from_row(KEY, 0), 40)
    part = jax.jit(lambda key, row: drawn(random.from_row(key, row), 7))(KEY, 30)
    for name, values in whole.items():
        np.testing.assert_array_equal(values[30:37], part[name])
        assert len(np.unique(values, axis=0)) == 40
    # What is for all examples is the same in every part; keys of every kind will do.
    a, b = (jax.random.normal(random.from_row(KEY, row), (3,)) for row in (0, 30))
    np.testing.assert_array_equal(a, b)
    for key in (jax.random.PRNGKey(0), jax.random.key(0, impl="rbg")):
        assert random.normal(random.from_row(key, 5), (2,)).shape == (2,)
    assert random.first_row(random.from_row(KEY, 30)) == 30 and random.first_row(KEY) == 0


@pytest.mark.parametrize("first", [0, 1, 1000, 2**24])
def test_times_in_sequence_are_even_in_any_part(first):
    t = np.sort(time_sampler.sequence(random.from_row(KEY, first), 100))
    assert 0 < t[0] and t[-1] <= 1
    # The three-distance theorem: no gap is larger than phi^2 / N, about.
    assert np.diff(t).max() < 2.7 / 100


class Batches:
    """A dataset that is no more than its batches."""

    spec = SPEC

    def __init__(self, *batches):
        self._batches = batches

    def batches(self, batch_size):
        return iter({"x": x} for x in self._batches)


def total(params, state, batch, key):
    return jnp.sum(batch["x"].reshape(len(batch["x"]), -1), -1)


def test_empty_data_are_refused_and_an_empty_batch_counts_nothing():
    for empty in (Batches(), Batches(X[:0])):
        with pytest.raises(ValueError, match="small has no example: give a data set of at least"):
            gm.evaluate(MODELS["vae"], {}, empty, KEY, {"total": total})
    found = gm.evaluate(MODELS["vae"], {}, Batches(X[:0], X[:5], X[:0], X[5:]), KEY, {"t": total})
    assert found["t"] == pytest.approx(X.reshape(NUM, -1).sum(-1).mean())


def test_a_metric_that_is_no_number_an_example_is_refused():
    def mean(params, state, batch, key):
        return jnp.mean(total(params, state, batch, key))

    with pytest.raises(ValueError, match=r"metric mean gave an array of shape \(\) for a batch"):
        gm.evaluate(MODELS["vae"], {}, DATA, KEY, {"mean": mean})


@pytest.mark.parametrize("name", ["vae", "diffusion", "masked", "flow", "probed"])
def test_a_bound_of_no_sample_is_refused(name):
    model = {**MODELS, "probed": PROBED}[name]
    with pytest.raises(ValueError, match="num_samples"):
        gm.evaluate(model, {}, DATA, KEY, num_samples=0)
    with pytest.raises(ValueError, match="num_samples"):
        init = getattr(model, "diffusion", model).init
        params, state = jax.eval_shape(init, KEY, {"x": X})  # it is refused before any work
        model.log_prob_bound(params, X, KEY, 0, state=state)
