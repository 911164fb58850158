"""`anomaly`: how well a run's scores tell what it learned from other data, as a table."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from experiments.commands.arguments import RunPath, parse
from experiments.commands.terminal import in_columns
from experiments.runner.config import PositiveInt, Seed

if TYPE_CHECKING:
    from experiments.runner import runs
    from genjax_models.core import DataSpec
    from genjax_models.data import Dataset
    from genjax_models.metrics import Figure

_TRAINING = "training"


@dataclasses.dataclass(frozen=True)
class AnomalyArguments:
    """Tell what a run has learned from other data, by every score that its model allows.

    A run of `train ... --without-labels 4` is also shown the test split's examples of that label.
    """

    run: RunPath
    """The run directory."""
    against: tuple[str, ...] = ("omniglot", "usps")
    """Other datasets of images, or folders of one's own, brought to the run's size and levels."""
    background: Path | None = None
    """A run of a model of the same data, for a likelihood ratio to it in place of a compressor."""
    num: PositiveInt = 2000
    """Examples of each set."""
    num_samples: PositiveInt = 1
    """Samples an example of a likelihood that is known by a bound."""
    samples: PositiveInt = 2000
    """Samples of the model to which distances are taken."""
    seed: Seed = 0
    """Decides examples, samples and noise."""


@dataclasses.dataclass(frozen=True)
class Row:
    """Separation of one set from the run's test split by one score.

    Attributes:
        against: The other set.
        score: The score's name.
        auroc: The area under the ROC curve.
        aupr: That under the precision-recall curve, the other set the positives.
    """

    against: str
    score: str
    auroc: Figure
    aupr: Figure


def main(argv: Sequence[str]) -> int:
    """Runs the command `anomaly`.

    Args:
        argv: The arguments after the command.

    Raises:
        ValueError: Arguments that cannot be, or data that cannot be compared.
    """
    arguments = parse(AnomalyArguments, "anomaly", argv)
    from experiments.runner import loading
    from experiments.runner.files import keep_compiled_programs

    keep_compiled_programs()
    run = loading.load_run(arguments.run)
    print(f"{arguments.run}: {run.record.experiment.name} of {run.record.spec.name}")
    print(as_table(rows(run, arguments)))
    return 0


def rows(run: runs.Run, arguments: AnomalyArguments) -> list[Row]:
    """Every score against every set, the best score of a set first.

    Raises:
        ValueError: The run is of no images, or there is nothing to compare with.
    """
    from genjax_models.metrics import aupr, auroc

    own, others = _sets(run, arguments)
    if not others:
        raise ValueError("there is no set to compare with: name one by --against")
    usual, found = {}, []
    for name, scores in _scores(run, {"": own, **others}, arguments).items():
        if not name:
            usual = scores
            continue
        of_set = [
            Row(
                name,
                score,
                auroc(usual[score], scores[score], extractor=score),
                aupr(usual[score], scores[score], seed=arguments.seed, extractor=score),
            )
            for score in scores
        ]
        found += sorted(of_set, key=lambda row: -row.auroc.value)
    return found


def as_table(found: Sequence[Row]) -> str:
    """The rows as a table of text."""
    head = ("against", "score", "AUROC", "95 %", "AUPR", "95 %", "examples")
    lines = [head] + [
        (
            row.against,
            row.score,
            *(cell for figure in (row.auroc, row.aupr) for cell in _cells(figure)),
            f"{row.auroc.num:,} against {row.auroc.num_reference:,}",
        )
        for row in found
    ]
    return in_columns(lines)


def _cells(figure: Figure) -> tuple[str, str]:
    interval = "–" if figure.interval is None else "{:.4f} to {:.4f}".format(*figure.interval)
    return f"{figure.value:.4f}", interval


def _sets(run: runs.Run, arguments: AnomalyArguments) -> tuple[Dataset, dict[str, Dataset]]:
    """Test examples of what was learned, and of all that was not."""
    from experiments.runner.datasets import load_like, load_splits
    from genjax_models.data.transforms import alike, only_labels, without_labels

    config, spec = run.record.config, run.record.spec
    if len(spec.shape) != 3:
        raise ValueError(f"{arguments.run} is a run on {spec.name}, which holds no images")

    def some(data: Dataset) -> Dataset:
        return alike(data, spec, arguments.num, arguments.seed)

    test, others = load_splits(config).test, {}
    if config.without_labels:
        for label in config.without_labels:
            others[f"label {spec.class_name(label)}, held out"] = some(only_labels(test, [label]))
        test = without_labels(test, config.without_labels)
    for name in arguments.against:
        try:
            others[name] = some(load_like(spec, name, config.data_dir))
        except FileNotFoundError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return some(test), others


def _scores(
    run: runs.Run, sets: Mapping[str, Dataset], arguments: AnomalyArguments
) -> dict[str, dict[str, np.ndarray]]:
    """Set -> score -> `[N]`: the scores of the model's Protocols, and those made of them."""
    from experiments.runner import loading, samples
    from experiments.runner.datasets import load_splits
    from genjax_models.applications import anomaly
    from genjax_models.data.transforms import alike

    training = load_splits(run.record.config).train
    usual = alike(training, run.record.spec, arguments.num, arguments.seed)
    found = _of_model(run, {_TRAINING: usual, **sets}, arguments)
    expected = found.pop(_TRAINING).get("nll")
    background = {}
    if arguments.background is not None:
        background = _of_model(loading.load_run(arguments.background), sets, arguments)
    drawn = samples.draw_samples(run, arguments.samples, arguments.seed)
    for name, scores in found.items():
        x = sets[name].rows(np.arange(len(sets[name])))["x"]
        if expected is not None:
            nll = scores["nll"]
            scores["typicality"] = anomaly.typicality(nll, float(expected.mean()))
            other = background[name].get("nll") if background else _complexity(run, x)
            if other is None:
                raise ValueError(f"{arguments.background} has no likelihood to be a background")
            scores["likelihood_ratio"] = anomaly.likelihood_ratio(nll, other)
        scores["sample_distance"] = anomaly.sample_distance(x, drawn)
    return found


def _of_model(
    run: runs.Run, sets: Mapping[str, Dataset], arguments: AnomalyArguments
) -> dict[str, dict[str, np.ndarray]]:
    """Set -> score -> `[N]`, of all sets in one go, so that one program does."""
    import genjax_models as gm
    from genjax_models.applications import anomaly

    scores = anomaly.default_scores(run.setup.model, arguments.num_samples)
    if not scores:
        return {name: {} for name in sets}
    parts = [data.rows(np.arange(len(data)))["x"] for data in sets.values()]
    whole = gm.Dataset(run.record.spec, "all", {"x": np.concatenate(parts)})
    key, state = jax.random.key(arguments.seed), run.state.state
    found = anomaly.score(run.setup.model, run.params, whole, key, scores, state=state)
    ends = np.cumsum([len(x) for x in parts])[:-1]
    split = {score: np.split(values, ends) for score, values in found.items()}
    return {name: {s: split[s][i] for s in split} for i, name in enumerate(sets)}


def _complexity(run: runs.Run, x: np.ndarray) -> np.ndarray:
    """The compressed length of examples as the run's model sees them, without its noise."""
    from genjax_models.applications import anomaly

    spec: DataSpec = run.record.spec
    preprocess: Any = getattr(run.setup.model, "preprocess", None)
    if preprocess is not None and preprocess.describe(spec).num_levels == 2:
        return anomaly.complexity(x > ((spec.num_levels or 2) - 1) / 2, 2)
    return anomaly.complexity(x, spec.num_levels or 256)
