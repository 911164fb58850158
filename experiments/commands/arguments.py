"""Command-line arguments by tyro, with every refusal in one line."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import textwrap
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

import tyro

from experiments.runner.config import (
    Allowed,
    Config,
    PositiveFloat,
    PositiveInt,
    Seed,
    check,
    fields,
    flag,
    suggest,
)

T = TypeVar("T")
M = TypeVar("M")

PROGRAM = "python -m experiments"


@dataclasses.dataclass(frozen=True)
class TrainArguments(Generic[M]):
    """Train an experiment."""

    config: Annotated[Config[M], tyro.conf.arg(name="")]
    """The run's configuration."""
    run_dir: Path | None = None
    """Where the run is kept; runs/NAME-DATASET-seedN by default."""
    compilation_cache: bool = True
    """Whether compiled steps are kept for the next run."""
    restart: bool = False
    """Whether to begin anew where all of the run's checkpoints are damaged."""
    stop_on_usr1: bool = False
    """Whether SIGUSR1, which a scheduler may send before a job's time is over, saves the run and
    stops it, as Ctrl-C, SIGTERM and SIGHUP do."""


@dataclasses.dataclass(frozen=True)
class EvaluateArguments:
    """Evaluate a run's averaged parameters on one split."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run directory."""
    split: str | None = None
    """The split to evaluate on; None is test, or the best that there is where there is none."""
    num_samples: PositiveInt | None = None
    """Samples an example of a bound; None takes the run's own number."""
    seed: Seed = 0
    """Decides the noise of the evaluation."""
    inception: str | None = None
    """A file of the FID's Inception-v3, by whose features samples of images are also measured;
    None takes the run's own."""
    classifier_steps: PositiveInt | None = None
    """Steps of the classifier by which samples are measured; None takes the run's own number."""


@dataclasses.dataclass(frozen=True)
class SampleArguments:
    """Draw samples from a run's averaged parameters."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run directory."""
    num: PositiveInt = 64
    """Number of samples."""
    out: Path | None = None
    """A picture (.png, .svg, .pdf), .txt for texts, what the experiment itself writes (.mid, .gif,
    .wav), or .npz for the arrays; samples.png, or samples.txt of a text, by default."""
    seed: Seed = 0
    """Decides the samples."""


@dataclasses.dataclass(frozen=True)
class GenerateArguments:
    """Let a run of a text model go on from a prompt, shown as it is drawn."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run directory."""
    prompt: str = ""
    """What the text begins with."""
    tokens: PositiveInt = 500
    """Tokens to draw."""
    temperature: PositiveFloat = 1.0
    """Logits are divided by it: below 1 likely tokens gain, above 1 they lose."""
    top_k: PositiveInt | None = None
    """Draw among this many likeliest tokens."""
    top_p: Annotated[float, Allowed(0, 1, above=True)] | None = None
    """Draw among the likeliest tokens that together have this probability."""
    min_p: Annotated[float, Allowed(0, 1)] | None = None
    """Draw among tokens at least this fraction as likely as the likeliest."""
    stop: str | None = None
    """Stop before this text would be written."""
    mask_character: str | None = None
    """Of masked diffusion: the character of the prompt that stands for a token to fill in, as in
    --prompt "To be ____ to be" --mask-character _; nothing is drawn behind the prompt then."""
    steps: PositiveInt | None = None
    """Of masked diffusion: passes of the network a window; None is one for each token."""
    seed: Seed = 0
    """Decides the draws."""


@dataclasses.dataclass(frozen=True)
class ConvertArguments:
    """Convert a recording into the voice that a run of voice_conversion has learned."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run directory."""
    recording: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IN.wav")]
    """The recording, in the source's voice or one like it."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT.wav")]
    """The wav file to write."""
    back: bool = False
    """Whether to convert the target's voice into the source's instead."""


@dataclasses.dataclass(frozen=True)
class BenchArguments(Generic[M]):
    """Time an experiment's training loop, and print JSON."""

    config: Annotated[Config[M], tyro.conf.arg(name="")]
    """The configuration to time; `log_every` is the number of steps of one turn."""
    repeats: PositiveInt = 10
    """Turns of the loop and the bare step, of which the median counts."""


def parse(kind: Any, command: str, argv: Sequence[str], default: T | None = None) -> T:
    """The arguments of a command as an instance of its dataclass.

    Args:
        kind: The dataclass; with its parameter, where it is generic.
        command: What stands before the arguments, for help and messages.
        argv: The arguments.
        default: The values of those that are not given; None where one is required.

    Raises:
        ValueError: An unknown option (with the nearest ones), a wrong type, a missing value or a
            number that is not allowed.
        SystemExit: With code 0, after help was printed.
    """
    refusal = io.StringIO()
    try:
        with contextlib.redirect_stderr(refusal):
            value, unknown = tyro.cli(
                kind,
                prog=f"{PROGRAM} {command}",
                args=list(argv),
                default=tyro.MISSING_NONPROP if default is None else default,
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        message = _refusal(refusal.getvalue(), command, argv, default)
        raise ValueError(f"{message} ({PROGRAM} {command} --help)") from None
    if unknown:
        given = next((token for token in unknown if token.startswith("-")), unknown[0])
        option = given.split("=")[0]
        raise ValueError(
            f"{command} has no option {option}: {_nearest(option, value)}"
            if given.startswith("-")
            else f"{command} takes no argument {given!r} here: options start with --"
        )
    check(value)
    return value


def in_options(message: str, arguments: Any) -> str:
    """A message of the library, whose arguments `name=` and `` `name` `` are said as options.

    Args:
        message: What the library says, which names its own arguments.
        arguments: The dataclass of the command's options: a name is that of the field, at whatever
            depth, the least deep first; a name that no option sets is left as it is.
    """
    names = sorted((name for name, _, _ in fields(arguments)), key=lambda name: -name.count("."))
    options = {name.rpartition(".")[2]: flag(name) for name in names}

    def said(found: re.Match[str]) -> str:
        option = options.get(found[1] or found[2])
        space = " " if found[2] and message[found.end() : found.end() + 1].strip(" ,;:.") else ""
        return found[0] if option is None else option + space

    return re.sub(r"`(\w+)`|(?<![\w.-])(\w+)=", said, message)


def _nearest(option: str, arguments: Any) -> str:
    """Which options may have been meant."""
    kinds = [(flag(name), getattr(hint, "__metadata__", ())) for name, hint, _ in fields(arguments)]
    options = [name for name, marks in kinds if tyro.conf.Positional not in marks]
    return suggest(option, options) if options else "it takes none"


def _refusal(box: str, command: str, argv: Sequence[str], default: Any) -> str:
    """The framed refusal of tyro as one line, in our own words where a value is refused."""
    _title, *lines = [line.replace("│", " ").rstrip() for line in box.splitlines()]
    lines = ["" if not line.strip(" ─-╰╯") else line for line in lines]  # the frame's own lines
    first = textwrap.dedent("\n".join(lines).strip("\n").split("\n\n")[0])
    text = " ".join(line.strip() for line in first.splitlines())
    if text.startswith("Missing from"):
        # Names are set in by four, what they mean by more.
        *others, last = re.findall(r"^ {4}(\S.*)$", first, re.MULTILINE)
        return f"{command} needs {', '.join(others)}{' and ' if others else ''}{last}"
    option = re.search(r"--[\w.-]+", text)
    hints = {flag(name): hint for name, hint, _ in fields(default)} if default else {}
    if option is None or option[0] not in hints:
        return text
    return f"{option[0]} takes {_describe(hints[option[0]])}, got {_given(option[0], argv)}"


def _given(name: str, argv: Sequence[str]) -> str:
    for i, token in enumerate(argv):
        option, _, value = token.partition("=")
        if flag(option.removeprefix("--")) == name:
            after = argv[i + 1 :]
            stop = next((j for j, t in enumerate(after) if t.startswith("--")), len(after))
            given = value or " ".join(after[:stop])
            return repr(given) if given else "nothing"
    return "something else"


def _describe(hint: Any) -> str:
    """A type in words: `a whole number or None`, `one of mesh, pmap`."""
    simple = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}
    if hint in simple:
        return simple[hint]
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(part) for part in parts)
    if origin is tuple and Ellipsis not in parts:
        return f"{len(parts)} separated by spaces"
    if origin is tuple:
        return f"{_describe(parts[0])}, or several separated by spaces"
    if origin is not None:  # Annotated
        return _describe(parts[0])
    return {type(None): "None", Path: "a path"}.get(hint, str(hint))
