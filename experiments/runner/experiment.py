"""An experiment: what it trains, on what, what is measured of it, the figure that it must reach."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

import numpy as np

from experiments.runner.config import Config, fields
from experiments.runner.needs import Need

if TYPE_CHECKING:
    import optax

    from genjax_models.core import Batch, DataSpec, Loss, Model, Params, State
    from genjax_models.training.hooks import Hook, Report

M = TypeVar("M")

FamilyName = Literal[
    "autoencoders", "flows", "autoregressive", "diffusion", "adversarial", "energy"
]
"""The six families, as the folders of the library."""
Figures: TypeAlias = dict[str, dict[str, Any]]
"""Name -> value, unit and kind."""

Start: TypeAlias = Callable[
    [tuple["Params", "State"], tuple["Params", "State"], "Batch"], tuple["Params", "State"]
]
"""`(fresh, (parameters, state) of the run before, some examples) -> (parameters, state)`."""


@dataclasses.dataclass(frozen=True)
class Setup:
    """Model and methods of an experiment, made for one dataset.

    Attributes:
        model: The model.
        losses: Player -> loss, for players whose loss is not the model's own.
        optimizer: An Optax transformation, or one a player; None takes `config.optimizer`.
        condition: Number of samples -> what they are conditioned on (`label` `[num]`).
        sampling: More keyword arguments of the model's `sample`.
        measures: `(run, data, seed) -> figures` of the final evaluation (`measures` has some).
        start: Start of a run that stands on another one, `--initial`.
        hooks: More hooks of training, each made of the run's reports.
        writers: Suffix of a file -> `(samples, path)`, which writes samples as what they are
            (films, sound, notes); the run's own samples are written so, too.
    """

    model: Model
    losses: Mapping[str, Loss] | None = None
    optimizer: optax.GradientTransformation | Mapping[str, optax.GradientTransformation] | None = (
        None
    )
    condition: Callable[[int], Mapping[str, Any]] = lambda num: {}
    sampling: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    measures: Sequence[Callable[[Any, Any, int], Figures]] = ()
    start: Start | None = None
    hooks: Sequence[Callable[[Sequence[Report]], Hook]] = ()
    writers: Mapping[str, Callable[[np.ndarray, Path], None]] = dataclasses.field(
        default_factory=dict
    )


@dataclasses.dataclass(frozen=True)
class Measure:
    """A function of figures, and what it asks of the data: without that it is left out.

    Attributes:
        of: `(run, data, seed) -> figures`.
        needs: Requirements of the data.
    """

    of: Callable[[Any, Any, int], Figures]
    needs: tuple[Need, ...] = ()

    @property
    def __name__(self) -> str:
        """The function's own name."""
        return self.of.__name__

    def __call__(self, run: Any, data: Any, seed: int) -> Figures:
        """The figures."""
        return self.of(run, data, seed)


def measure(*needs: Need) -> Callable[[Callable[[Any, Any, int], Figures]], Measure]:
    """Makes the function beneath it a `Measure` with these needs."""
    return lambda of: Measure(of, needs)


def figure(value: Any, unit: str, kind: str) -> dict[str, Any]:
    """One of `Figures`."""
    return {"value": float(value), "unit": unit, "kind": kind}


def every_label(classes: int | None) -> Callable[[int], Mapping[str, Any]]:
    """A `Setup.condition` of all labels in turn; of nothing, for an unconditional model."""

    def condition(num: int) -> Mapping[str, Any]:
        return {} if classes is None else {"label": np.arange(num) % classes}

    return condition


Build: TypeAlias = Callable[[Config[M], "DataSpec"], Setup]


@dataclasses.dataclass(frozen=True)
class Goal:
    """A figure on the test split that an experiment must reach.

    One figure alone may be reached by a model that has learned nothing, or by one that draws the
    same thing always: `also` holds what such a model fails.

    Attributes:
        metric: Name of the metric, as the final evaluation gives it.
        at_most: Highest value that reaches it.
        at_least: Lowest value that reaches it.
        unit: The metric's unit, for people.
        also: Other figures that must be reached with it.
        fixed: Fields of the configuration, by dotted name, on which the figure or its unit hangs:
            the goal is of a run that has the experiment's own values of them, and of no other.
    """

    metric: str
    at_most: float | None = None
    at_least: float | None = None
    unit: str = ""
    also: tuple[Goal, ...] = ()
    fixed: tuple[str, ...] = (
        *("dataset", "split", "tokenizer", "bpe_size", "window", "model.binarize", "model.source"),
        *("model.target", "model.other", "model.margin", "model.size", "model.spectrogram"),
        "evaluation.classifier_steps",
    )

    def belongs(self, config: Config[Any], own: Config[Any]) -> bool:
        """Returns True if it is a goal of that configuration, beside the experiment's own one."""
        before = {name: value for name, _, value in fields(own)}
        changed = [name for name, _, value in fields(config) if value != before.get(name)]
        return not any(f"{n}.".startswith(f"{f}.") for n in changed for f in self.fixed)

    def reached(self, metrics: Mapping[str, float]) -> bool | None:
        """True if all figures are reached; None if that hangs on one that was not measured."""
        low = -float("inf") if self.at_least is None else self.at_least
        high = float("inf") if self.at_most is None else self.at_most
        value = metrics.get(self.metric)
        found = [None if value is None else low <= value <= high]
        found += [other.reached(metrics) for other in self.also]
        return False if False in found else None if None in found else True

    def __str__(self) -> str:
        """As a line: `nats <= 95 nats a digit`."""
        bounds = [
            f"{sign} {bound:g}"
            for sign, bound in (("≥", self.at_least), ("≤", self.at_most))
            if bound is not None
        ]
        own = " ".join([self.metric, *bounds, self.unit]).strip()
        return ", and ".join([own, *map(str, self.also)])


@dataclasses.dataclass(frozen=True)
class Experiment(Generic[M]):
    """A named, typed configuration and how it becomes a model.

    Attributes:
        name: Its name on the command line: the function's own name.
        family: The family of its model.
        summary: One line of what it is: the first of the function's docstring.
        config: The configuration that reaches the goal.
        build: `(config, spec) -> Setup`.
        goal: The figure to reach; None for one that only reports.
        needs: Requirements of its dataset, checked before anything is made.
        spellings: Other words for options on the command line: `--domain-a` for `--dataset`.
    """

    name: str
    family: FamilyName
    summary: str
    config: Config[M]
    build: Build[M]
    goal: Goal | None = None
    needs: tuple[Need, ...] = ()
    spellings: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def goal_of(self, config: Config[M]) -> Goal | None:
        """The goal of a run with that configuration: none on other data or in another unit."""
        goal = self.goal
        return goal if goal is not None and goal.belongs(config, self.config) else None


def experiment(
    config: Config[M],
    goal: Goal | None = None,
    needs: Sequence[Need] = (),
    family: FamilyName | None = None,
    spellings: Mapping[str, str] | None = None,
) -> Callable[[Build[M]], Experiment[M]]:
    """Makes the function beneath it an experiment of that name.

    Args:
        config: The configuration that reaches the goal.
        goal: The figure to reach on the test split.
        needs: Requirements of its dataset.
        family: The family of its model; that of the file's name by default.
        spellings: Other words for options on the command line.
    """

    def make(build: Build[M]) -> Experiment[M]:
        summary = (build.__doc__ or "").strip().split("\n")[0]
        module: Any = build.__module__.rsplit(".", 1)[-1]
        return Experiment(
            build.__name__,
            family or module,
            summary,
            config,
            build,
            goal,
            tuple(needs),
            spellings or {},
        )

    return make
