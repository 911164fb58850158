"""Configurations of runs: frozen dataclasses, their allowed values, and their way to JSON."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

M = TypeVar("M")


@dataclasses.dataclass(frozen=True)
class Allowed:
    """The numbers that a field may take, written beside its type: `Annotated[int, Allowed(1)]`.

    Attributes:
        low: Lowest number.
        high: Highest number.
        above: Whether `low` itself is too low.
        below: Whether `high` itself is too high.
    """

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        """Returns True if the number is allowed; NaN and infinities never are."""
        low = value > self.low if self.above else value >= self.low
        high = value < self.high if self.below else value <= self.high
        return low and high and math.isfinite(value)

    def __str__(self) -> str:
        """In words, to follow `must be`."""
        if self.high < math.inf:
            return (
                f"{'above' if self.above else 'at least'} {self.low:g} and"
                f" {'below' if self.below else 'at most'} {self.high:.10g}"
            )
        if self.low == 0 or (self.low == 1 and not self.above):
            return "positive" if self.above or self.low == 1 else "zero or positive"
        return f"{'above' if self.above else 'at least'} {self.low:g}"


PositiveInt = Annotated[int, Allowed(1)]
NonNegativeInt = Annotated[int, Allowed(0)]
PositiveFloat = Annotated[float, Allowed(0, above=True)]
NonNegativeFloat = Annotated[float, Allowed(0)]
Fraction = Annotated[float, Allowed(0, 1, below=True)]
"""0 <= value < 1."""
Seed = Annotated[int, Allowed(0, 2**32 - 1)]
"""Seeds that JAX's and NumPy's generators both tell apart."""

Size = PositiveInt | tuple[PositiveInt, PositiveInt]
"""Pixels of a square's side, or height and width."""

ScheduleName = Literal["constant", "linear", "cosine", "exponential"]
SamplerName = Literal[
    "ancestral", "ddim", "euler", "heun", "dpm_solver_2m", "dpm_solver_2s",
    "predictor_corrector", "adaptive", "multistep_consistency",
]  # fmt: skip
"""Samplers of diffusion; `recipes.diffusion.SAMPLERS` has the functions."""
LoggerName = Literal["wandb", "mlflow"]
TokenizerName = Literal["characters", "bytes", "bpe"]


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Adam: how fast it goes, and when."""

    learning_rate: PositiveFloat = 1e-3
    """Highest learning rate."""
    schedule: ScheduleName = "constant"
    """Decay of the learning rate after the warm-up: to 0 (linear, cosine) or to a hundredth."""
    warmup_steps: NonNegativeInt = 0
    """Steps over which the learning rate rises from 0."""
    gradient_clip: PositiveFloat | None = None
    """Highest global norm of the gradient; None lets it be."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay (AdamW) of weight matrices and kernels, not of biases."""
    b1: Fraction = 0.9
    """Decay of the mean of the gradient."""
    b2: Fraction = 0.999
    """Decay of the mean of its square."""
    eps: PositiveFloat = 1e-8
    """Added to the root of that mean."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Settings of the evaluation during and after training."""

    every: PositiveInt = 500
    """Steps between evaluations of the loss on held-back data."""
    split: str = "validation"
    """The split that is watched during training."""
    examples: PositiveInt = 1000
    """Examples of it to use at most."""
    num_samples: PositiveInt = 1
    """Samples an example of a likelihood that is known by a bound, in the final evaluation."""
    batch_size: PositiveInt = 100
    """Examples evaluated at once."""
    patience: PositiveInt | None = None
    """Evaluations without a new lowest loss on held-back data after which training stops; then, and
    at the end, the best parameters are taken. None trains to the end and takes the last ones."""
    none: bool = False
    """Measure nothing at the end: samples and a report are all; a later command
    without it goes on to the figures."""
    inception: str | None = None
    """A file of the FID's Inception-v3, by whose features samples of images are also measured."""
    classifier_steps: PositiveInt | None = None
    """Steps of the classifier by which samples are measured; None is each figure's own number."""


@dataclasses.dataclass(frozen=True)
class Config(Generic[M]):
    """Everything that a run depends on."""

    model: M
    """The experiment's own settings."""
    dataset: str = "digits"
    """A dataset's name, or the path of a folder of images, an .npz or a text."""
    split: str | None = None
    """The split to train on; None is all of train that is not also validation."""
    without_labels: tuple[NonNegativeInt, ...] = ()
    """Labels whose examples are left out of training and validation, not of the test split."""
    size: Size | None = None
    """Height and width of the images of a folder, or one number for both: each is scaled until its
    shorter side fits, and cropped; None takes them as they are."""
    crop: Literal["center", "random"] = "center"
    """Part of them that is kept; of training images a random one anew each time."""
    flip: bool = False
    """Mirror training images, left and right, by a fair coin."""
    color: Literal["gray", "rgb"] | None = None
    """Colour that the images of a folder are brought to; None is gray if all of them are."""
    window: PositiveInt | None = None
    """Tokens of one example of a text; None is the dataset's own, 256."""
    tokenizer: TokenizerName = "characters"
    """Unit of text that is one token."""
    bpe_size: Annotated[int, Allowed(257)] = 1024
    """Tokens that byte-pair encoding learns from the training text, the 256 bytes among them."""
    data_dir: str | None = None
    """Folder of prepared datasets; None is the user's default."""
    steps: PositiveInt = 2000
    """Updates to make."""
    batch_size: PositiveInt = 128
    """Examples an update, over all devices."""
    accumulate: PositiveInt = 1
    """Parts in which a batch's gradient is computed, to save memory."""
    seed: Seed = 0
    """Decides the parameters' start, the order of the data and all noise."""
    initial: str | None = None
    """A run directory, whose averaged parameters this run starts from; None starts afresh."""
    ema: Fraction = 0.999
    """Decay of the averaged parameters, which are what is evaluated."""
    log_every: PositiveInt = 100
    """Steps between lines of metrics, each the mean over those steps."""
    checkpoint_every: PositiveInt = 1000
    """Steps between checkpoints."""
    devices: PositiveInt | None = None
    """Number of devices to use; None is all."""
    mapping: Literal["mesh", "pmap"] = "mesh"
    """Mapping of the step over devices."""
    optimizer: Optimizer = Optimizer()
    """The optimizer's settings."""
    evaluation: Evaluation = Evaluation()
    """The evaluation's settings."""


RUN_MAY_CHANGE = frozenset(
    {"devices", "mapping", "checkpoint_every", "data_dir"}
    | {"evaluation.none", "evaluation.inception", "evaluation.classifier_steps"}
)
"""Fields that a resumed run may set anew, since what it learns does not depend on them."""


def fields(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The leaves of nested dataclasses: dotted name, type (with its `Annotated`), value."""
    hints = get_type_hints(type(config), include_extras=True)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from fields(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, hints[field.name], value


def flag(name: str) -> str:
    """Returns a field's option on the command line; a configuration's fields have no prefix."""
    return "--" + name.removeprefix("configuration.").replace("_", "-")


def switch(name: str, value: bool) -> str:
    """Returns the option that sets a field to True or False: `--model.no-conditional`."""
    *where, last = name.split(".")
    return flag(".".join([*where, last if value else f"no_{last}"]))


def check(config: Any) -> None:
    """Refuses numbers that the fields of a dataclass do not allow.

    Raises:
        ValueError: The first such field, its value and what it may be.
    """
    for name, hint, value in fields(config):
        for allowed, number in _constrained(hint, value):
            if number not in allowed:
                raise ValueError(f"{flag(name)} must be {allowed}, got {number}")


def _constrained(hint: Any, value: Any) -> Iterator[tuple[Allowed, float]]:
    """The numbers in a value beside what its type allows: looks into `X | None` and tuples."""
    if isinstance(value, tuple):
        for part in value:
            yield from _constrained(hint, part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if allowed := _find_allowed(hint):
            yield allowed, value


def _find_allowed(hint: Any) -> Allowed | None:
    if isinstance(hint, Allowed):
        return hint
    parts = (*get_args(hint), *getattr(hint, "__metadata__", ()))
    return next((found for part in parts if (found := _find_allowed(part))), None)


def describe(hint: Any) -> str:
    """A type in words: `a whole number or None`, `one of mesh, pmap`."""
    simple = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}
    if hint in simple:
        return simple[hint]
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin in (Union, types.UnionType):
        return " or ".join(describe(part) for part in parts)
    if origin is tuple and Ellipsis not in parts:
        return f"{len(parts)} separated by spaces"
    if origin is tuple:
        return f"{describe(parts[0])}, or several separated by spaces"
    if origin is not None:  # Annotated
        return describe(parts[0])
    return {type(None): "None", Path: "a path"}.get(hint, str(hint))


def to_json(config: Config[Any]) -> dict[str, Any]:
    """The configuration as what JSON can hold."""
    import cattrs

    return cattrs.Converter().unstructure(config)


def from_json(values: Mapping[str, Any], default: Config[M], where: str) -> Config[M]:
    """A configuration of the same kind as `default` from what `to_json` made.

    Args:
        values: Values read from JSON.
        default: The experiment's own configuration, for its types.
        where: The file, for messages.

    Raises:
        ValueError: An unknown field, a wrong type or a number that is not allowed.
    """
    import cattrs

    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(int | tuple[int, int] | None, _size)  # of `Size`
    try:
        config = converter.structure(values, Config[type(default.model)])
        check(config)
    except (cattrs.BaseValidationError, ValueError) as error:
        problems = (
            cattrs.transform_error(error)
            if isinstance(error, cattrs.BaseValidationError)
            else [str(error)]
        )
        raise ValueError(
            f"{where} holds no configuration of this experiment: {'; '.join(problems)}"
        ) from error
    return config


def _size(value: Any, _: Any) -> Any:
    """A `Size | None` from what JSON held, which cattrs does not tell apart itself."""
    if value is None:
        return None
    sides = cast(Any, value) if isinstance(value, list) else (value,)
    return int(sides[0]) if len(sides) < 2 else (int(sides[0]), int(sides[1]))


def differences(old: Config[Any], new: Config[Any]) -> dict[str, tuple[Any, Any]]:
    """Fields, by dotted name, in which two configurations make different runs: old and new."""
    before = {name: value for name, _, value in fields(old)}
    after = {name: value for name, _, value in fields(new)}
    return {
        name: (before.get(name), after.get(name))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name) and name not in RUN_MAY_CHANGE
    }


def suggest(given: str, known: Mapping[str, Any] | list[str]) -> str:
    """The names nearest to a wrong one, or all of them if none is near."""
    near = difflib.get_close_matches(given, list(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(known)}"
