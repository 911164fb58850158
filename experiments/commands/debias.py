"""`debias`: a classifier that shares its codes with a VAE, with and without seeing rare kinds more.

A few of the training images are turned into a kind that the others are not (`negative`, say), and
nothing tells the model which. With adaptive resampling it sees images whose codes are rare more
often (DB-VAE); the same model with the same steps on the data as they are is what it is compared
with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import numpy as np
import optax

import genjax_models as gm
from experiments.commands.arguments import parse
from experiments.commands.classifying_vae import ClassifyingVAE
from experiments.runner.config import Allowed, PositiveFloat, PositiveInt, Seed
from experiments.runner.files import PICTURES, check_output
from genjax_models import plots
from genjax_models.applications import bias
from genjax_models.core import likelihoods
from genjax_models.data import Dataset
from genjax_models.training import TrainState


def negative(x: np.ndarray, num_levels: int) -> np.ndarray:
    """Dark ink on a bright ground."""
    return (num_levels - 1 - x).astype(x.dtype)


def turned(x: np.ndarray, num_levels: int) -> np.ndarray:
    """A quarter turn to the left."""
    del num_levels
    return np.rot90(x, axes=(1, 2))


BATCH = 128
"""Images a step, where there are as many."""
ChangeName = Literal["negative", "turned"]
CHANGES: Mapping[ChangeName, Callable[[np.ndarray, int], np.ndarray]] = {
    "negative": negative,
    "turned": turned,
}


def with_rare_kind(
    data: Dataset, share: float, change: Callable[[np.ndarray, int], np.ndarray], seed: int
) -> tuple[Dataset, np.ndarray]:
    """The data with some images changed, and which of them those are, bool `[N]`.

    Args:
        data: Images in memory.
        share: The fraction that is changed.
        change: Images and their number of levels to other images.
        seed: Decides which.
    """
    arrays = dict(data.arrays or {})
    rare = np.random.default_rng(seed).permutation(len(data)) < round(share * len(data))
    x = arrays["x"].copy()
    x[rare] = change(x[rare], data.spec.num_levels or 256)
    return dataclasses.replace(data, arrays={**arrays, "x": x}), rare


@dataclasses.dataclass(frozen=True)
class DebiasArguments:
    """Compare a DB-VAE with the same model without resampling, on data with a rare kind."""

    dataset: str = "mnist"
    """A dataset of images with labels."""
    change: ChangeName = "negative"
    """The rare kind."""
    num: PositiveInt | None = None
    """Training images to use; None is all."""
    share: Annotated[float, Allowed(0, 1, above=True, below=True)] = 0.02
    """The fraction of the training images that is of it."""
    alpha: PositiveFloat = 2.0
    """How common everything is taken to be at least: the smaller, the more the rare ones gain."""
    bins: PositiveInt = 10
    """Bins of an entry of the codes."""
    every: PositiveInt = 250
    """Steps between two looks at the codes."""
    steps: PositiveInt = 2000
    """Length of each training."""
    latent_dim: PositiveInt = 16
    """Entries of a code."""
    hidden: tuple[PositiveInt, ...] = (256,)
    """Widths of the encoder's layers; the decoder has the same, backwards."""
    weight: PositiveFloat = 100.0
    """Weight of a nat of the label beside one of the image."""
    learning_rate: PositiveFloat = 1e-3
    """Of Adam at the start; it falls to 0 along a cosine."""
    split: str = "test"
    """Split on which accuracies are measured; settings are chosen on validation."""
    seeds: tuple[Seed, ...] = (0, 1, 2)
    """A run with and one without resampling for each."""
    out: Path | None = None
    """A picture of the images that the last run finds the rarest."""
    overwrite: bool = False
    """Replace a file that is there already."""


class Accuracies(NamedTuple):
    """Per cent of the labels that are read right.

    Attributes:
        usual: Of images as they are.
        rare: Of the same images, all of them changed.
        overall: Of a mixture of both as in training.
    """

    usual: float
    rare: float
    overall: float


def main(argv: Sequence[str]) -> int:
    """The command `debias`.

    Args:
        argv: The arguments after the command.

    Raises:
        ValueError: Arguments or data that cannot be.
    """
    arguments = parse(DebiasArguments, "debias", argv)
    if not arguments.seeds:
        raise ValueError("--seeds is empty: give at least one")
    if arguments.every >= arguments.steps:
        raise ValueError(
            f"--every is {arguments.every} and --steps {arguments.steps}, so that nothing would be"
            " resampled: give --every less than --steps"
        )
    if arguments.out is not None:
        check_output(arguments.out, PICTURES, overwrite=arguments.overwrite)
    from experiments.runner.files import keep_compiled_programs

    keep_compiled_programs()
    compare(arguments)
    return 0


def compare(arguments: DebiasArguments) -> np.ndarray:
    """Runs the comparison, and prints it.

    Returns:
        Accuracies `[seeds, (as it is, resampled), (usual, rare, overall)]`, in per cent.
    """
    print("seed  training    usual   rare  overall")
    pairs = []
    for seed in arguments.seeds:
        data, rare, model = _prepared(arguments, seed)
        options = {"bins": arguments.bins, "alpha": arguments.alpha}
        weights_of = bias.by_rarity(model, data, **options)
        for name, asked in (("as it is", None), ("resampled", weights_of)):
            state = _trained(arguments, model, data, asked, seed)
            found = _accuracies(arguments, model, state)
            print(f"{seed:<4}  {name:<10}  " + "  ".join(f"{v:6.2f}" for v in found), flush=True)
            pairs.append(found)
            if asked is not None:
                weights = weights_of(state)
                _say_weights(weights, rare)
                if arguments.out is not None and seed == arguments.seeds[-1]:
                    _picture(data, weights, arguments.out)
    table = np.array(pairs).reshape(-1, 2, 3)
    gains = table[:, 1] - table[:, 0]
    for name, gain in zip(Accuracies._fields, gains.T, strict=True):
        print(f"{name}: {gain.mean():+.2f} ({', '.join(f'{g:+.2f}' for g in gain)})")
    return table


def _prepared(arguments: DebiasArguments, seed: int) -> tuple[Dataset, np.ndarray, ClassifyingVAE]:
    train = gm.load(arguments.dataset, gm.data.training_split(arguments.dataset))
    train = train if arguments.num is None else train.take(arguments.num)
    change = CHANGES[arguments.change]
    data, rare = with_rare_kind(train, arguments.share, change, seed)
    if data.spec.num_classes is None:
        raise ValueError(f"--dataset is {arguments.dataset}, which has no labels: choose another")
    likelihood = likelihoods.binomial
    hidden, dims = arguments.hidden, arguments.latent_dim
    vae = gm.VAE(
        gm.networks.Centred(gm.networks.MLP((*hidden, 2 * dims))),
        gm.networks.MLP((*reversed(hidden), likelihood.num_outputs(data.spec))),
        latent_dim=dims,
        spec=data.spec,
        likelihood=likelihood,
    )
    head = gm.networks.MLP((128, data.spec.num_classes))
    return data, rare, ClassifyingVAE(vae, head, arguments.weight)


def _trained(
    arguments: DebiasArguments,
    model: ClassifyingVAE,
    data: Dataset,
    weights_of: bias.WeightsOf | None,
    seed: int,
) -> TrainState:
    steps = arguments.steps
    optimizer = optax.adam(optax.cosine_decay_schedule(arguments.learning_rate, steps))
    options: dict[str, Any] = {"steps": steps, "batch_size": min(BATCH, len(data)), "seed": seed}
    if weights_of is None:
        return gm.fit(model, data, optimizer, **options)
    return bias.fit_resampled(model, data, optimizer, weights_of, every=arguments.every, **options)


def _accuracies(arguments: DebiasArguments, model: ClassifyingVAE, state: TrainState) -> Accuracies:
    data, change = gm.load(arguments.dataset, arguments.split), CHANGES[arguments.change]
    read = jax.jit(lambda x: model.logits(state.ema, x, state=state.state).argmax(-1))
    rows = data.rows(np.arange(len(data)))
    usual, rare = (
        100.0 * float(np.mean(np.asarray(read(x)) == rows["label"]))
        for x in (rows["x"], change(rows["x"], data.spec.num_levels or 256))
    )
    return Accuracies(usual, rare, (1 - arguments.share) * usual + arguments.share * rare)


def _say_weights(weights: np.ndarray, rare: np.ndarray) -> None:
    print(
        f"      the rare kind, {100 * rare.mean():.1f} % of the images, weighs "
        f"{100 * weights[rare].sum():.1f} %; {bias.effective_size(weights):,.0f} of {len(rare):,} "
        "examples by weight"
    )


def _picture(data: Dataset, weights: np.ndarray, path: Path, num: int = 64) -> None:
    """The images that weigh most, the rarest first."""
    rarest = data.rows(np.argsort(-weights)[:num])["x"]
    plots.save(plots.grid(rarest, data.spec.num_levels), path)
    print(f"the {len(rarest)} rarest images in {path}")
