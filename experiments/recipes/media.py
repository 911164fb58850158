"""Music, films and speech: a Transformer over notes, diffusions of clips, voice conversion."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import genjax_models as gm
from experiments.recipes.autoencoders import DTYPES
from experiments.recipes.diffusion import (
    LOSSES,
    UNET_OPTIMIZER,
    UNetSettings,
    image_diffusion,
    sampling,
)
from experiments.recipes.texts import ADAM, POSITIONS, GPTSettings
from experiments.runner import needs
from experiments.runner.config import (
    Config,
    Evaluation,
    NonNegativeFloat,
    Optimizer,
    PositiveFloat,
    PositiveInt,
)
from experiments.runner.datasets import of_test_split
from experiments.runner.experiment import Goal, Setup, every_label, experiment
from experiments.runner.recordings import (
    SPEAKERS,
    SpeakerName,
    spectrograms,
    spoken_by,
    write_clips,
)
from genjax_models.adversarial.cyclegan import CycleGAN
from genjax_models.autoregressive.model import Autoregressive
from genjax_models.core import DataSpec
from genjax_models.core.preprocess import tokens
from genjax_models.data import Dataset
from genjax_models.data.audio import MelSpectrogram
from genjax_models.data.music import LEVELS, is_chorales_file, transposed, write_midi
from genjax_models.data.transforms import unpaired
from genjax_models.networks.layouts import FramesAsImages, PatchesAsChannels
from genjax_models.networks.transformer import Transformer
from genjax_models.networks.translators import PatchDiscriminator, ResNetTranslator
from genjax_models.plots import write_gif


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
    family="autoregressive",
)
def chorales(config: Config[MusicSettings], spec: DataSpec) -> Setup:
    """A Transformer over the notes of four voices: progressions by rules, or chorales in JSON."""
    from experiments.measures.music import music_figures

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
        measures=(music_figures,),
        writers={".mid": lambda rolls, path: write_midi(path, rolls)},
    )


@dataclasses.dataclass(frozen=True)
class FilmSettings(UNetSettings):
    """A U-Net over patches of frames."""

    patch: PositiveInt = 2
    """Height and width of what is one pixel to the U-Net."""


FILMS = FilmSettings(
    multipliers=(1, 2),
    blocks=1,
    dropout=0.0,
    # Films that can be lie on little of their space, and noise is everywhere in it.
    prediction="data",
    sampler="ancestral",
    sampling_steps=50,
    guidance=2.0,
    max_log_snr=7.0,
)


@experiment(
    Config(
        FILMS,
        dataset="moving_digits",
        steps=26_000,
        batch_size=16,
        ema=0.995,
        optimizer=dataclasses.replace(UNET_OPTIMIZER, learning_rate=2e-3),
        evaluation=Evaluation(every=500, num_samples=10, examples=300),
    ),
    Goal("frames_read", at_least=90.0, unit="% of frames read as the digit asked for"),
    needs=(needs.labels_for_guidance(),),
    family="diffusion",
)
def moving_digits(config: Config[FilmSettings], spec: DataSpec) -> Setup:
    """A diffusion of films in which a digit moves and bounces, given the digit, as GIF."""
    from experiments.measures.films import film_figures

    if len(spec.shape) != 4 or spec.num_levels is None:
        raise ValueError(
            f"{spec.name} has examples of shape {spec.shape}, and this experiment is of films"
            " [T, H, W, C]: give --dataset moving_digits"
        )
    settings, num_levels, (frames, *_, channels) = config.model, spec.num_levels, spec.shape
    unet = dataclasses.replace(settings.unet(settings.patch**2 * channels), frames=frames)
    network = FramesAsImages(PatchesAsChannels(unet, settings.patch))
    model = dataclasses.replace(image_diffusion(settings, spec), network=network)
    return Setup(
        model,
        {"diffusion": LOSSES[settings.loss](model)},
        condition=every_label(model.num_classes),
        sampling=sampling(settings, model.num_classes),
        measures=(film_figures,),
        writers={".gif": lambda films, path: write_gif(path, films, num_levels)},
    )


@dataclasses.dataclass(frozen=True)
class SpokenSettings(UNetSettings):
    """Settings of a spectrogram, and of a U-Net over its patches."""

    spectrogram: MelSpectrogram = MelSpectrogram()
    """The pictures that the network sees."""
    patch: PositiveInt = 4
    """Height and width of what is one pixel to the U-Net."""

    def load(self, config: Config[SpokenSettings], split: str) -> Dataset:
        """Spectrograms `x` of all speakers' recordings, with the digit as `label`."""
        return spectrograms(config, split)


@experiment(
    Config(
        SpokenSettings(multipliers=(1, 2), blocks=1, dropout=0.0, prediction="data", guidance=2.0),
        dataset="spoken_digit",
        steps=6000,
        batch_size=32,
        ema=0.995,
        optimizer=dataclasses.replace(UNET_OPTIMIZER, learning_rate=1e-3),
        evaluation=Evaluation(every=500, examples=200, num_samples=10),
    ),
    Goal("heard", at_least=85.0, unit="% of clips read as the digit asked for"),
    needs=(needs.labels_for_guidance(),),
    family="diffusion",
)
def spoken_digits(config: Config[SpokenSettings], spec: DataSpec) -> Setup:
    """A diffusion of log-mel spectrograms of spoken digits, given the digit, as wav files."""
    from experiments.measures.speech import speech_figures

    settings = config.model
    network = PatchesAsChannels(settings.unet(settings.patch**2), settings.patch)
    model = dataclasses.replace(image_diffusion(settings, spec), network=network)
    return Setup(
        model,
        {"diffusion": LOSSES[settings.loss](model)},
        condition=every_label(model.num_classes),
        sampling=sampling(settings, model.num_classes),
        measures=(speech_figures,),
        writers={".wav": lambda x, path: write_clips(path, x, settings.spectrogram)},
    )


@dataclasses.dataclass(frozen=True)
class VoiceSettings:
    """Settings of voice conversion: speakers, spectrogram and networks."""

    source: SpeakerName = "jackson"
    """Whose recordings are converted."""
    target: SpeakerName = "theo"
    """Whose they shall sound like."""
    spectrogram: MelSpectrogram = MelSpectrogram()
    """The pictures that the networks see."""
    channels: PositiveInt = 16
    """Of the generators' first layer; their residual blocks have four times as many."""
    blocks: PositiveInt = 4
    """Residual blocks of a generator."""
    discriminator_channels: PositiveInt = 32
    """Of the discriminators' first layer."""
    discriminator_layers: PositiveInt = 2
    """Halvings before a discriminator's logits, each of which sees a patch: 34 cells for 2."""
    cycle: PositiveFloat = 10.0
    """Weight of coming back to where one started."""
    identity: NonNegativeFloat = 5.0
    """Weight of leaving alone what is the target's already."""
    pool_size: PositiveInt = 48
    """Conversions that the discriminators are still shown: a multiple of the batch."""

    def load(self, config: Config[VoiceSettings], split: str) -> Dataset:
        """Spectrograms `x` of the source's recordings and `y` of the target's: no pairs.

        The digits, `label` and `label_y`, are for the measures alone: no model looks at them.

        Raises:
            ValueError: Source and target are the same speaker, or the data have no speakers.
        """
        if self.source == self.target:
            raise ValueError(
                f"--model.source and --model.target are both {self.source}: name two of"
                f" {', '.join(SPEAKERS)}"
            )
        data = spectrograms(config, split)
        voices = (spoken_by(data, name) for name in (self.source, self.target))
        return unpaired(*voices, labels=True)


@experiment(
    Config(
        VoiceSettings(),
        dataset="spoken_digit",
        steps=18_000,
        batch_size=1,
        checkpoint_every=2000,
        optimizer=Optimizer(learning_rate=2e-4, b1=0.5, schedule="linear"),
        evaluation=Evaluation(every=2000, batch_size=50),
    ),
    Goal("heard", at_least=80.0, unit="% of clips read as the target and as their digit"),
    family="adversarial",
)
def voice_conversion(config: Config[VoiceSettings], spec: DataSpec) -> Setup:
    """A CycleGAN of log-mel spectrograms: one speaker's digits in another's voice, as wav files."""
    from experiments.measures.speech import conversion

    settings = config.model
    model = CycleGAN(
        generator=ResNetTranslator(1, settings.channels, settings.blocks),
        discriminator=PatchDiscriminator(
            settings.discriminator_channels, settings.discriminator_layers
        ),
        spec=spec,
        cycle=settings.cycle,
        identity=settings.identity,
        pool_size=settings.pool_size,
    )

    return Setup(model, condition=of_test_split(config, "x"), measures=(conversion,))
