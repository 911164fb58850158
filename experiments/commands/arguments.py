"""Parsing of command-line arguments by tyro, with every refusal in one line."""

from __future__ import annotations

import contextlib
import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from experiments import recipes
from experiments.runner.config import (
    check,
    describe,
    fields,
    flag,
    suggest,
)
from experiments.runner.experiment import Experiment

T = TypeVar("T")
M = TypeVar("M")

PROGRAM = "python -m experiments"
RunPath = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
"""A run directory as a command's argument."""


def parse(kind: Any, command: str, argv: Sequence[str], default: T | None = None) -> T:
    """The arguments of a command as an instance of its dataclass.

    Args:
        kind: The dataclass; with its parameter, where it is generic.
        command: The command's name, for help and messages.
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


def parse_experiment(kind: Any, command: str, argv: Sequence[str]) -> tuple[Experiment[Any], Any]:
    """The experiment that the first argument names, and the arguments after it.

    Args:
        kind: The command's dataclass, generic in the experiment's settings, whose first field is
            the configuration.
        command: The command.
        argv: The arguments after it.

    Raises:
        ValueError: There is no such experiment, or as for `parse`.
        SystemExit: With code 0, after help was printed.
    """
    found, rest = _named(command, argv)
    config = from_file(found.config, rest, found.name)
    settings = type(config.model)
    return found, parse(kind[settings], f"{command} {found.name}", rest, kind(config))


def from_file(default: T, argv: Sequence[str], experiment: str | None = None) -> T:
    """A command's defaults with what the file of `--config` sets, where the line has that option.

    Args:
        default: The defaults.
        argv: The arguments after the command.
        experiment: The experiment that they are of, if they are of one.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, or does not fit.
    """
    for word, after in zip(argv, [*argv[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        path = value if equals else after
        if option == "--config" and path and path != "None":
            from experiments.runner.config_file import configured

            return configured(default, Path(path), experiment)
    return default


def _named(command: str, argv: Sequence[str]) -> tuple[Experiment, Sequence[str]]:
    """The experiment that the first argument names, and the arguments after it."""
    if not argv or argv[0].startswith("-"):
        names = ", ".join(recipes.experiments())
        if argv and argv[0] in ("-h", "--help"):
            print(f"usage: {PROGRAM} {command} NAME [options]\n\nNAME is one of {names};")
            print(f"{PROGRAM} {command} NAME --help lists its options.")
            raise SystemExit(0)
        raise ValueError(f"{command} needs the name of an experiment first: one of {names}")
    found = recipes.find(argv[0])
    return found, [_spelt(word, found.spellings) for word in argv[1:]]


def _spelt(word: str, spellings: Mapping[str, str]) -> str:
    """An option as the configuration spells it."""
    option, equals, value = word.partition("=")
    return spellings.get(option, option) + equals + value


def in_options(message: str, arguments: Any) -> str:
    """A message of the library, whose arguments `name=` and `` `name` `` are said as options.

    Args:
        message: The library's message, which names its own arguments.
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
    """Suggests the options that may have been meant."""
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
    return f"{option[0]} takes {describe(hints[option[0]])}, got {_given(option[0], argv)}"


def _given(name: str, argv: Sequence[str]) -> str:
    for i, token in enumerate(argv):
        option, _, value = token.partition("=")
        if flag(option.removeprefix("--")) == name:
            after = argv[i + 1 :]
            stop = next((j for j, t in enumerate(after) if t.startswith("--")), len(after))
            given = value or " ".join(after[:stop])
            return repr(given) if given else "nothing"
    return "something else"
