"""Named, typed configurations and how each becomes a model: a file a family, or a kind of data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.runner.config import suggest
from experiments.runner.experiment import Experiment

SHORT: Mapping[str, str] = {"pix2pix": "pix2pix_facades", "cyclegan": "cyclegan_facades"}
"""Other names of experiments, for those who bring data of their own."""


def experiments() -> Mapping[str, Experiment[Any]]:
    """Every experiment by name, families in order."""
    from experiments.recipes import (
        adversarial,
        autoencoders,
        autoregressive,
        diffusion,
        energy,
        flows,
        media,
        texts,
        translation,
        vae_gan,
    )

    files = (autoencoders, flows, autoregressive, texts, diffusion, adversarial, vae_gan,
             translation, energy, media)  # fmt: skip
    found = (value for file in files for value in vars(file).values())
    return {value.name: value for value in found if isinstance(value, Experiment)}


def find(name: str) -> Experiment[Any]:
    """The experiment of that name, or of that short name.

    Raises:
        ValueError: There is none; says which are nearest.
    """
    known, name = experiments(), SHORT.get(name, name)
    if name not in known:
        raise ValueError(f"there is no experiment {name!r}: {suggest(name, known)}")
    return known[name]
