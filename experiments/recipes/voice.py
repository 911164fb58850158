"""Voice conversion: a CycleGAN of spectrograms, from one speaker of `spoken_digit` to another.

A run's directory gets recordings to listen to, and `python -m experiments convert RUN in.wav
out.wav` converts any other.
"""

from __future__ import annotations

from experiments.measures import voice as voice_measures
from experiments.recipes.voice_data import VoiceSettings
from experiments.runner.config import Config, Evaluation, Optimizer
from experiments.runner.datasets import of_test_split
from experiments.runner.registry import Goal, Setup, experiment
from genjax_models.adversarial.cyclegan import CycleGAN
from genjax_models.core import DataSpec
from genjax_models.networks.translators import PatchDiscriminator, ResNetTranslator


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
)
def voice_conversion(config: Config[VoiceSettings], spec: DataSpec) -> Setup:
    """A CycleGAN of log-mel spectrograms: one speaker's digits in another's voice, as wav files."""
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

    return Setup(model, condition=of_test_split(config, "x"), measures=(voice_measures.conversion,))
