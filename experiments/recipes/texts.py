"""Language models: a Transformer over the tokens of a text, autoregressive or by masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from experiments.recipes.autoencoders import DTYPES, DtypeName
from experiments.runner.config import Config, Evaluation, Fraction, Optimizer, PositiveInt
from experiments.runner.experiment import Goal, Setup, experiment
from genjax_models.autoregressive import losses
from genjax_models.autoregressive.model import Autoregressive
from genjax_models.core import DataSpec
from genjax_models.core.preprocess import tokens
from genjax_models.data.markov import MarkovText
from genjax_models.diffusion import masked
from genjax_models.diffusion.masked import Alpha, MaskedDiffusion
from genjax_models.networks.attention import Positions, learned, rotary
from genjax_models.networks.transformer import Transformer

PositionsName = Literal["learned", "rotary"]
POSITIONS: Mapping[PositionsName, Positions] = {"learned": learned, "rotary": rotary}


@dataclasses.dataclass(frozen=True)
class GPTSettings:
    """Size of a Transformer."""

    layers: PositiveInt = 4
    """Blocks, each of attention and two layers."""
    heads: PositiveInt = 4
    """Attention heads of a block."""
    width: PositiveInt = 128
    """Size of a token's vector, a multiple of the heads."""
    positions: PositionsName = "learned"
    """Positions of tokens: learned vectors, or rotated queries and keys."""
    tied: bool = True
    """Use the embeddings as the logits' weights."""
    dropout: Fraction = 0.0
    """Fraction of activations that is dropped in training."""
    dtype: DtypeName = "float32"
    """Number type of the network's computations."""


def _transformer(
    settings: GPTSettings, spec: DataSpec, context: int, **options: Any
) -> Transformer:
    """The network of a text whose windows are longer than the context."""
    if len(spec.shape) != 1 or spec.num_levels is None:
        raise ValueError(
            f"{spec.name} has examples of shape {spec.shape}, and this experiment is of texts: "
            "give --dataset a text"
        )
    (window,) = spec.shape
    if window <= context:
        raise ValueError(f"--window is {window}: this experiment takes {context + 1} at least")
    return Transformer(
        width=settings.width,
        heads=settings.heads,
        layers=settings.layers,
        max_length=window,
        positions=POSITIONS[settings.positions],
        tied=settings.tied,
        dropout=settings.dropout,
        dtype=DTYPES[settings.dtype],
        **options,
    )


def _gpt(settings: GPTSettings, spec: DataSpec, context: int) -> Setup:
    """The model, and as its loss nats a token; `next_token` is of those that have the context."""
    from experiments.measures.texts import against_the_source, variety

    network = _transformer(settings, spec, context, vocabulary=spec.num_levels)
    model = Autoregressive(network, spec, inputs=tokens, marginals=False)
    loss = model.loss.weigh(nll=1.0 / spec.num_dims).watch(next_token=losses.after(context))
    return Setup(model, {"autoregressive": loss}, measures=(variety, against_the_source))


def _masked(settings: GPTSettings, spec: DataSpec, schedule: Alpha) -> Setup:
    """The model, and as its loss the bound in nats a token."""
    from experiments.measures.texts import against_the_source, variety

    num_levels = spec.num_levels or 0
    sizes = {"vocabulary": num_levels + 1, "outputs": num_levels}
    network = _transformer(settings, spec, 0, causal=False, **sizes)
    model = MaskedDiffusion(network, spec, schedule)
    loss = model.loss.weigh(vlb=1.0 / spec.num_dims)
    return Setup(model, {"diffusion": loss}, measures=(variety, against_the_source))


ADAM = Optimizer(
    learning_rate=1e-3,
    schedule="cosine",
    warmup_steps=100,
    b2=0.99,
    weight_decay=0.1,
    gradient_clip=1.0,
)


@experiment(
    Config(
        GPTSettings(),
        dataset="tiny_shakespeare",
        window=65,  # the last token of a window is predicted from 64 others
        steps=2000,
        batch_size=12,
        # 2,000 steps are few: with a longer memory the average would lag behind.
        ema=0.98,
        # Three times nanoGPT's, which 2,000 steps can use: chosen on the validation split.
        optimizer=dataclasses.replace(ADAM, learning_rate=3e-3),
        evaluation=Evaluation(every=250),
    ),
    Goal("autoregressive/next_token", at_most=1.88, unit="nats a character"),
    family="autoregressive",
)
def gpt(config: Config[GPTSettings], spec: DataSpec) -> Setup:
    """A small GPT on the characters of a text: nanoGPT's setting for a CPU."""
    return _gpt(config.model, spec, context=1)


ENTROPY_RATE = MarkovText().entropy_rate
CONTEXT = 32
"""Characters after which the source's state is known but for a thousandth of a nat."""


@experiment(
    Config(
        GPTSettings(layers=2, width=64),
        dataset="markov",
        window=96,
        steps=2000,
        batch_size=16,
        ema=0.98,
        optimizer=ADAM,
        evaluation=Evaluation(every=250),
    ),
    Goal("autoregressive/next_token", at_most=round(ENTROPY_RATE + 0.01, 4), unit="nats"),
    family="autoregressive",
)
def gpt_markov(config: Config[GPTSettings], spec: DataSpec) -> Setup:
    """A GPT on a source of known entropy rate; the figure is of tokens with 32 or more before."""
    return _gpt(config.model, spec, context=CONTEXT)


@experiment(
    Config(
        GPTSettings(layers=4, width=64, positions="rotary"),
        dataset="markov",
        window=128,
        steps=10_000,
        batch_size=16,
        ema=0.995,
        optimizer=dataclasses.replace(ADAM, learning_rate=2e-3),
        evaluation=Evaluation(every=500, num_samples=32),
    ),
    Goal("nats_per_token", at_most=round(ENTROPY_RATE + 0.05, 4), unit="nats"),
    family="diffusion",
)
def masked_markov(config: Config[GPTSettings], spec: DataSpec) -> Setup:
    """Masked diffusion on a source of known entropy rate: a bound for whole windows."""
    # The rest of a text is hardest to tell from few of its tokens: the cosine looks there most.
    return _masked(config.model, spec, masked.cosine_alpha)


@experiment(
    Config(
        GPTSettings(positions="rotary"),
        dataset="tiny_shakespeare",
        window=65,
        steps=2000,
        batch_size=12,
        ema=0.98,
        optimizer=dataclasses.replace(ADAM, learning_rate=2e-3),
        evaluation=Evaluation(every=250, num_samples=32),
    ),
    family="diffusion",
)
def masked_text(config: Config[GPTSettings], spec: DataSpec) -> Setup:
    """Masked diffusion on the characters of a text, of the size and for the steps of `gpt`."""
    return _masked(config.model, spec, masked.linear_alpha)
