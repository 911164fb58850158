"""Figures of codes of data whose factors of variation are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from experiments.runner import runs
from experiments.runner.experiment import Figures, figure
from genjax_models.core import Representation
from genjax_models.data import shapes2d
from genjax_models.metrics import (
    dci,
    factor_vae_score,
    fixed_factor_sampler,
    linear_probe,
    mig,
    sap,
)

if TYPE_CHECKING:
    from genjax_models.data import Dataset

CATEGORICAL = tuple(name == "shape" for name in shapes2d.FACTORS)


def disentanglement(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """MIG, FactorVAE's score, SAP, DCI and a linear probe of the sprites' codes."""
    model = run.setup.model
    if run.record.config.dataset != "shapes2d" or not isinstance(model, Representation):
        return {}
    encode = jax.jit(lambda x: model.encode(run.params, x, state=run.state.state))
    parts = [(encode(jnp.asarray(rows["x"])), rows["factors"]) for rows in data.batches(500)]
    codes, factors = (np.concatenate(part) for part in zip(*parts, strict=True))
    codes = codes.reshape(len(codes), -1)
    kind = f"{len(codes):,} examples of the {data.split} split, {codes.shape[1]} codes"
    parts = dci(codes, factors, categorical=CATEGORICAL, seed=seed)
    probe = linear_probe(codes, factors, categorical=CATEGORICAL, seed=seed)
    vote = factor_vae_score(
        fixed_factor_sampler(codes, factors), factors.shape[1], codes.std(0), seed=seed
    )
    values = {
        "mig": (mig(codes, factors), "0..1"),
        "factor_vae_score": (vote, f"0..1; guessing has {1 / factors.shape[1]:.2f}"),
        "sap": (sap(codes, factors, categorical=CATEGORICAL), "0..1"),
        "dci_disentanglement": (parts.disentanglement, "0..1"),
        "dci_completeness": (parts.completeness, "0..1"),
        "dci_informativeness": (parts.informativeness, "accuracy or R², mean"),
    }
    for name, score, mark in zip(shapes2d.FACTORS, probe, CATEGORICAL, strict=True):
        values[f"probe_{name}"] = (score, "accuracy of a line" if mark else "R² of a line")
    return {name: figure(value, unit, kind) for name, (value, unit) in values.items()}
