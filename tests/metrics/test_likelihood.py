"""Likelihoods say what they are, come with their error, and long ones show how far they are."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import genjax_models as gm
from genjax_models.core.preprocess import (
    Preprocess,
    dynamic_binarization,
    identity,
    uniform_dequantization,
)
from genjax_models.core.protocols import LikelihoodInfo
from genjax_models.core.types import DataSpec
from genjax_models.diffusion import ode
from genjax_models.diffusion.ode import DequantizedProbabilityFlow, ProbabilityFlow
from genjax_models.energy import EnergyModel, Normalized, NormalizedDiscrete
from genjax_models.flows import Uniform, Variational
from genjax_models.flows.linear import ActNorm
from genjax_models.metrics.evaluate import evaluate_likelihood
from genjax_models.metrics.likelihood import likelihood_kind

REAL = DataSpec((2,), None, name="points")
KEY = jax.random.key(0)


@dataclasses.dataclass(frozen=True)
class Coins:
    """Independent entries, 1 with probability 1/4."""

    spec: DataSpec
    preprocess: Preprocess = identity
    likelihood_info: LikelihoodInfo = LikelihoodInfo()

    def log_prob(self, params, x, *, key=None, state=None):
        return jnp.sum(jnp.where(x > 0, math.log(0.25), math.log(0.75)), axis=-1)


@dataclasses.dataclass(frozen=True)
class Bounded:
    """A bound that samples tighten."""

    spec: DataSpec
    preprocess: Preprocess

    def log_prob_bound(self, params, x, key, num_samples=1, *, state=None):
        return -jnp.ones(x.shape[0]) * (1 + 1 / num_samples)


def coins(num, dims=6):
    x = np.random.default_rng(0).integers(0, 2, (num, dims), np.uint8)
    return gm.Dataset.from_arrays(x, num_levels=2), x


@pytest.mark.parametrize("num", [1000, 37])
def test_the_error_is_that_of_the_mean(num):
    data, x = coins(num)
    model = Coins(data.spec)
    found = evaluate_likelihood(model, {}, data, KEY, batch_size=256)
    nats = -np.where(x > 0, math.log(0.25), math.log(0.75)).sum(-1)
    assert found.nats == pytest.approx(nats.mean(), rel=1e-6) and found.num == num
    assert found.standard_error == pytest.approx(nats.std(ddof=1) / math.sqrt(num), rel=1e-5)
    assert found.bits_per_dim == pytest.approx(nats.mean() / 6 / math.log(2), rel=1e-6)
    assert found.nats == gm.evaluate(model, {}, data, KEY)["nll"]
    assert f"({num:,} examples of arrays; exact)" in str(found) and "bits an entry" in str(found)
    shared = dataclasses.replace(
        model, likelihood_info=LikelihoodInfo(estimated="log Z", standard_error=0.3)
    )
    together = evaluate_likelihood(shared, {}, data, KEY)
    assert together.standard_error == pytest.approx(math.hypot(found.standard_error, 0.3))
    assert together.kind == "estimate, log Z with standard error 0.3 nats"


def test_kinds():
    bound = "upper bound of the negative log-likelihood"
    assert likelihood_kind(Bounded(REAL, identity), 10) == f"{bound}, 10 samples"
    assert (
        likelihood_kind(Bounded(REAL, dynamic_binarization))
        == f"{bound}, 1 sample, dynamic binarisation"
    )
    assert likelihood_kind(gm.GAN) is None
    energy = EnergyModel(nn.Dense(1), REAL)
    estimate = "estimate, log Z with standard error 0.02 nats"
    assert likelihood_kind(Normalized(energy, 1.0, 0.02)) == estimate
    assert likelihood_kind(Normalized(energy, 1.0)) == "estimate, log Z"
    levels = NormalizedDiscrete(dataclasses.replace(energy, spec=gm.core.DIGITS), 1.0)
    assert likelihood_kind(levels) == (
        f"estimate of an {bound}, 1 sample, log Z, uniform dequantisation"
    )
    assert (Uniform().name, Variational(None).name) == ("uniform", "variational")


def test_kinds_of_flows():
    flow = gm.diffusion.FlowMatching(nn.Dense(2), spec=REAL)
    assert likelihood_kind(ProbabilityFlow(flow)) == "exact"
    probed = ProbabilityFlow(flow, divergence=ode.Hutchinson())
    assert likelihood_kind(probed) == "estimate, divergence by probes"
    diffusion = gm.Diffusion(nn.Dense(2), spec=gm.core.DIGITS)
    noised = DequantizedProbabilityFlow(diffusion, divergence=ode.exact)
    assert likelihood_kind(noised).endswith("1 sample, dequantisation by noise")
    uniform = dataclasses.replace(diffusion, preprocess=uniform_dequantization)
    found = likelihood_kind(DequantizedProbabilityFlow(uniform), 5)
    assert found.startswith("estimate of an upper bound")
    assert found.endswith("5 samples, divergence by probes, uniform dequantisation")


def test_a_dequantised_flow_says_how():
    real = dataclasses.replace(gm.core.DIGITS, num_levels=None)
    model = gm.Dequantized(gm.Flow(ActNorm(), spec=real))
    assert likelihood_kind(model, 3).endswith("3 samples, uniform dequantisation")


def test_energies_are_averaged():
    class Far:
        spec = REAL

        def energy(self, params, x, *, state=None):
            return jnp.sum(x**2, axis=-1)

    points = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    data = gm.Dataset.from_arrays(points, num_levels=None)
    found = gm.evaluate(Far(), {}, data, KEY)
    assert found == {"energy": pytest.approx((points**2).sum(-1).mean(), rel=1e-5)}
    with pytest.raises(ValueError, match="a Far has no likelihood"):
        evaluate_likelihood(Far(), {}, data, KEY)


def test_a_terminal_shows_how_far_it_is(monkeypatch, capsys):
    data, _ = coins(40)
    model = Coins(data.spec)
    plain = gm.evaluate(model, {}, data, KEY, batch_size=8)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert gm.evaluate(model, {}, data, KEY, batch_size=8) == plain
    out, err = capsys.readouterr()
    assert not out and "evaluating" in err and "5/5" in err


def test_a_second_evaluation_compiles_nothing():
    traced = []

    @dataclasses.dataclass(frozen=True)
    class Counted(Coins):
        def log_prob(self, params, x, *, key=None, state=None):
            traced.append(x.shape)
            return super().log_prob(params, x, key=key, state=state)

    data, _ = coins(8)
    for _ in range(3):  # each an equal model, made anew
        gm.evaluate(Counted(data.spec), {}, data, KEY)
    assert len(traced) == 1


def test_a_model_that_cannot_be_hashed_is_evaluated():
    class Loose(Coins):
        __hash__ = None

    data, _ = coins(8)
    assert gm.evaluate(Loose(data.spec), {}, data, KEY)["nll"] > 0
