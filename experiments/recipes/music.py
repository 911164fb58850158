"""Music in four voices: a Transformer over notes, soprano, alto, tenor and bass step by step."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

import genjax_models as gm
from experiments.measures.images import Figures, figure
from experiments.recipes.autoencoders import DTYPES
from experiments.recipes.text import ADAM, POSITIONS, GPTSettings
from experiments.runner import runs, samples
from experiments.runner.config import Config, Evaluation
from experiments.runner.registry import Goal, Setup, experiment
from genjax_models.autoregressive.model import Autoregressive
from genjax_models.core import DataSpec
from genjax_models.core.preprocess import tokens
from genjax_models.data import Dataset, music
from genjax_models.data.music import LEVELS, is_chorales_file, transposed, write_midi
from genjax_models.networks.transformer import Transformer

if TYPE_CHECKING:
    from genjax_models.core import TractableDensity

NUM_WINDOWS = 500


@dataclasses.dataclass(frozen=True)
class MusicSettings(GPTSettings):
    """Size of a Transformer, and the keys that it learns in."""

    transpose: tuple[int, ...] = ()
    """Semitones by which training examples are also raised, as in -2 -1 1 2; none by default."""

    def load(self, config: Config[MusicSettings], split: str) -> Dataset:
        """Piano rolls; those of the training split also in other keys.

        Raises:
            ValueError: The data are no music in four voices.
        """
        path = Path(config.dataset).expanduser()
        if config.dataset != "progressions" and not is_chorales_file(path):
            raise ValueError(
                f"--dataset {config.dataset} is no music in four voices: give progressions, or a"
                ' JSON file {"train": [piece, ...], "valid": ..., "test": ...}, a piece a list of'
                " chords of MIDI numbers"
            )
        data = gm.load(config.dataset, split, config.data_dir, window=config.window)
        if not self.transpose or not split.startswith("train"):
            return data
        return transposed(data, (0, *self.transpose))


@experiment(
    Config(
        MusicSettings(layers=2, width=64),
        dataset="progressions",
        window=16,
        steps=3000,
        batch_size=32,
        ema=0.99,
        optimizer=dataclasses.replace(ADAM, learning_rate=3e-3, weight_decay=0.01),
        evaluation=Evaluation(every=500),
    ),
    Goal("excess", at_most=0.01, unit="nats a note above the source's own"),
)
def chorales(config: Config[MusicSettings], spec: DataSpec) -> Setup:
    """A Transformer over the notes of four voices: progressions by rules, or chorales in JSON."""
    settings = config.model
    network = Transformer(
        vocabulary=LEVELS,
        width=settings.width,
        heads=settings.heads,
        layers=settings.layers,
        max_length=spec.num_dims,
        positions=POSITIONS[settings.positions],
        tied=settings.tied,
        dropout=settings.dropout,
        dtype=DTYPES[settings.dtype],
    )
    model = Autoregressive(network, spec, inputs=tokens, marginals=False)
    loss = model.loss.weigh(nll=1.0 / spec.num_dims)
    return Setup(
        model,
        {"autoregressive": loss},
        measures=(of_music,),
        writers={".mid": lambda rolls, path: write_midi(path, rolls)},
    )


def of_music(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """Nats a note and a step; where the music is made by rules, also how far from their law.

    `excess` is what the code of a note is longer than by the source's own law, KL(source || model)
    a note; `rules_kept` is how many of the chords of new samples the rules allow.
    """
    x, steps = _rows(data), data.spec.shape[0]
    log_p = model_log_prob(run, x)
    kind = f"exact, {len(x)} windows of {steps} steps"
    notes = data.spec.num_dims
    figures = {
        "nats_per_note": figure(-log_p.mean() / notes, "nats a note", kind),
        "nats_per_step": figure(-log_p.mean() / steps, "nats a step", kind),
    }
    if run.record.config.dataset != "progressions":
        return figures
    source = music.usual_progressions()
    excess = (source.log_prob(x) - log_p) / notes
    error = excess.std() / np.sqrt(len(x))
    drawn = samples.draw_samples(run, NUM_WINDOWS, seed)
    kept = f"{NUM_WINDOWS} windows; 100 % of the source's"
    return figures | {
        "excess": figure(excess.mean(), "nats a note", f"{kind}, standard error {error:.2g}"),
        "rules_kept": figure(100 * source.follows(drawn).mean(), "% of chords", kept),
    }


def model_log_prob(run: runs.Run, x: np.ndarray, size: int = 100) -> np.ndarray:
    """Log p `[N]` in nats of piano rolls `[N, T, 4]`, some at a time."""
    model: TractableDensity = run.setup.model  # pyright: ignore - as the experiment builds it
    log_prob: Any = jax.jit(lambda params, x: model.log_prob(params, x, state=run.state.state))
    whole = np.concatenate([x, np.zeros((-len(x) % size, *x.shape[1:]), x.dtype)])
    parts = [log_prob(run.params, part) for part in np.split(whole, len(whole) // size)]
    return np.concatenate([np.asarray(part, np.float64) for part in parts])[: len(x)]


def _rows(data: Dataset) -> np.ndarray:
    return data.rows(np.arange(len(data)))["x"]
