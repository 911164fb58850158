"""Figures of energy-based models: densities with their log Z, and what is unlike the data."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

import genjax_models as gm
from experiments.runner import runs
from experiments.runner.experiment import Figures, figure, measure
from experiments.runner.needs import IMAGES, LABELS, LEVELS
from genjax_models import energy
from genjax_models.autoencoders import VAE
from genjax_models.core.modules import apply_module
from genjax_models.data import densities
from genjax_models.data.transforms import alike
from genjax_models.metrics import auroc

if TYPE_CHECKING:
    from genjax_models.data import Dataset

Measure: TypeAlias = Callable[[runs.Run, "Dataset", int], Figures]
GRID_SIDE, GRID_REACH = 1000, 6.0
NUM_OTHERS = 2000
FEWEST_EFFECTIVE = 20
"""Effective chains below which annealing's error bar means nothing."""


def kl_by_annealing(betas: int, chains: int) -> Measure:
    """KL(truth || model) of a density that is known, with log Z by annealing.

    Beside it stands log Z by a sum over a grid, which is as good as exact in the plane.

    Args:
        betas: Steps from the reference to the model.
        chains: Number of chains.
    """

    def kl_by_annealing(run: runs.Run, data: Dataset, seed: int) -> Figures:
        del data
        make = densities.DENSITIES.get(run.record.config.dataset)
        model, params = _energy_model(run), run.params
        if make is None:
            return {}
        found = _annealed(run, betas, chains, seed)
        log_z, error = float(found.value), float(found.standard_error)
        density = energy.Normalized(model, log_z)
        state = run.state.state
        kl = gm.metrics.kl_to_truth(density, params, make(), jax.random.key(seed), state=state)
        total = float(np.hypot(kl.standard_error, error))
        kind = f"estimate, standard error {total:.2g}, of which log Z {error:.2g}"
        return {
            "kl_to_truth": figure(kl.value, "nats", kind),
            "log_z": figure(log_z, "nats", _of(found, chains)),
            "log_z_by_grid": figure(_grid_log_z(run), "nats", f"{GRID_SIDE} x {GRID_SIDE} points"),
        }

    return kl_by_annealing


def likelihood_by_annealing(betas: int, chains: int) -> Measure:
    """The bound of the negative log-likelihood of discrete data, with log Z by annealing.

    Args:
        betas: Steps from the reference to the model.
        chains: Number of chains.
    """

    @measure(LEVELS)
    def likelihood_by_annealing(run: runs.Run, data: Dataset, seed: int) -> Figures:
        found = _annealed(run, betas, chains, seed)
        density: Any = energy.NormalizedDiscrete(
            _energy_model(run), float(found.value), float(found.standard_error)
        )
        key, samples_ = jax.random.key(seed), 100
        values = gm.evaluate(
            density, run.params, data, key, state=run.state.state, num_samples=samples_
        )
        kind = f"bound by {samples_} points of a cell; {_of(found, chains)}"
        return {
            "nll": figure(values["nll"], "nats an example", kind),
            "bits_per_dim": figure(values["bits_per_dim"], "bits an entry", kind),
        }

    return likelihood_by_annealing


def evidence_by_annealing(betas: int, chains: int, num: int = 100) -> Measure:
    """The -log p(x) of a VAE's decoder by annealing from its prior: no encoder has a part in it.

    Args:
        betas: Steps from the prior to the posterior of an example.
        chains: Number of chains of each example.
        num: Examples of the split.

    References:
        Wu et al. 2017, arXiv:1611.04273.
    """

    def evidence_by_annealing(run: runs.Run, data: Dataset, seed: int) -> Figures:
        model, (params, state) = run.setup.model, (run.params, run.state.state)
        assert isinstance(model, VAE) and model.num_classes is None
        key_x, key_run = jax.random.split(jax.random.key(seed))
        x = jnp.asarray(data.rows(np.arange(min(num, len(data))))["x"])
        x = model.preprocess.apply(x, key_x, model.spec)

        def one(row: tuple[jax.Array, jax.Array]) -> energy.LogPartition:
            x, key = row
            options = {"betas": betas, "chains": chains}
            return decoder_evidence(model, params, state, x[None], key, **options)

        # One example at a time: each has all the chains.
        found = jax.jit(lambda rows: jax.lax.map(one, rows))((x, jax.random.split(key_run, len(x))))
        nll = -np.asarray(found.value) - model.preprocess.log_volume(model.spec)
        error = float(np.sqrt(np.sum(np.asarray(found.standard_error) ** 2)) / len(x))
        kind = (
            f"annealed, {chains} chains an example, {len(x)} examples, standard error {error:.2g}"
        )
        return {"nll_by_annealing": figure(nll.mean(), "nats an example", kind)}

    return evidence_by_annealing


def decoder_evidence(
    model: VAE, params: Any, state: Any, x: jax.Array, key: jax.Array, *, betas: int, chains: int
) -> energy.LogPartition:
    """The log p(x) `[B]` of prepared examples `[B, ...]` under a VAE's decoder, by annealing."""
    prior = model.prior(params["prior"], 1, model.latent_dim)
    spec = model.preprocess.describe(model.spec)

    def log_prior(z: jax.Array) -> jax.Array:
        return prior.log_prob(z[None])[0]

    def log_likelihood(x: jax.Array, z: jax.Array) -> jax.Array:
        h, _ = apply_module("decoder", model.decoder, params, state or {}, z[None])
        return model.likelihood(h, spec, params["likelihood"]).log_prob(x[None])[0]

    key_z, key_run = jax.random.split(key)
    z = model.prior(params["prior"], chains, model.latent_dim).sample(key_z)
    return energy.log_evidence(
        log_likelihood,
        log_prior,
        z,
        x,
        key_run,
        kernel=energy.HMC(0.1, 10),
        betas=energy.sigmoidal(betas),
    )


def out_of_distribution(*names: str) -> Measure:
    """Separation of the split from other datasets by the energy, at the same size and levels.

    Sets whose files are not at hand are left out, with a word.

    Args:
        *names: The other datasets.
    """

    @measure(IMAGES, LEVELS)
    def out_of_distribution(run: runs.Run, data: Dataset, seed: int) -> Figures:
        model: Any = run.setup.model

        @jax.jit
        def energies(x: Any) -> jax.Array:
            return model.energy(run.params, x, state=run.state.state)

        own = energies(data.rows(np.arange(len(data)))["x"])
        figures = {}
        for name in names:
            try:
                other = alike(gm.load(name, "test"), data.spec, NUM_OTHERS, seed)
            except FileNotFoundError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
                continue
            value = auroc(own, energies(other.rows(np.arange(len(other)))["x"])).value
            kind = f"energy of {len(own):,} examples against {len(other):,} of {name}"
            figures[f"auroc_{name}"] = figure(value, "", kind)
        return figures

    return out_of_distribution


@measure(LABELS)
def accuracy(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """Accuracy of the most likely labels on the split."""
    del seed
    model = run.setup.model
    assert isinstance(model, energy.JointEnergyModel)
    batch = data.rows(np.arange(len(data)))
    logits = jax.jit(model.logits)(run.params, batch["x"], state=run.state.state)
    share = 100 * np.mean(np.argmax(logits, -1) == batch["label"])
    return {"accuracy": figure(share, "% of labels", f"{len(data):,} examples")}


def _energy_model(run: runs.Run) -> energy.EnergyModel:
    model = run.setup.model
    return model.marginal if isinstance(model, energy.JointEnergyModel) else _checked(model)


def _checked(model: Any) -> energy.EnergyModel:
    assert isinstance(model, energy.EnergyModel)
    return model


def _annealed(run: runs.Run, betas: int, chains: int, seed: int) -> energy.LogPartition:
    model = _energy_model(run)

    @jax.jit
    def estimate(params: Any, state: Any, key: jax.Array) -> energy.LogPartition:
        schedule = energy.sigmoidal(betas)
        return energy.log_partition(model, params, key, num=chains, betas=schedule, state=state)

    return estimate(run.params, run.state.state, jax.random.key(seed))


def _of(found: energy.LogPartition, chains: int) -> str:
    size = float(found.effective_sample_size)
    if size < FEWEST_EFFECTIVE:
        # The few chains that weigh most are likely not the heaviest that there could be.
        error = "log Z is too low by no one knows how much"
    else:
        error = f"standard error {float(found.standard_error):.2g}"
    return f"annealed importance sampling, {error}, effective {size:.0f} of {chains:,} chains"


def _grid_log_z(run: runs.Run) -> float:
    """The log of the integral of exp(-E) over a square about the origin, by a sum."""
    model = _energy_model(run)
    line = jnp.linspace(-GRID_REACH, GRID_REACH, GRID_SIDE)

    @jax.jit
    def log_row(y: jax.Array) -> jax.Array:
        points = jnp.stack([line, jnp.full_like(line, y)], -1)
        return jax.nn.logsumexp(model.log_density(run.params, points, state=run.state.state))

    rows = jax.lax.map(log_row, line)
    return float(jax.nn.logsumexp(rows) + 2 * jnp.log(line[1] - line[0]))
