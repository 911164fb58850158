"""The table of commands, and how one is run: what the user got wrong is told in one line."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.commands.arguments import PROGRAM
from experiments.commands.terminal import let_go, standard_streams
from experiments.runner.config import suggest


def main(argv: Sequence[str]) -> int:
    """Runs a command.

    Args:
        argv: The arguments after the program's name.

    Returns:
        The exit code: 0, 1 for a run that failed, 2 for bad input, 128 and the signal's number
        (130 for Ctrl-C) for a run that was stopped.
    """
    debug = bool(os.environ.get("GENJAX_DEBUG"))
    try:
        with standard_streams(), warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return _told(argv, debug)
    except BrokenPipeError:  # the reader went away
        if debug:
            raise
        let_go(sys.stdout)
        return 0


def _told(argv: Sequence[str], debug: bool) -> int:
    """Runs a command, and tells what goes wrong in one line."""
    try:
        code = _run(argv)
        sys.stdout.flush()  # while what goes wrong is still told here
        return code
    except SystemExit as stop:  # help was asked for
        return int(stop.code or 0)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt as error:
        if debug:
            raise
        print(f"\nstopped: {error}" if str(error) else "\nstopped", file=sys.stderr)
        return 128 + getattr(error.__cause__, "signal", signal.SIGINT)
    except Exception as error:
        if debug:
            raise
        if _is_of_the_platform(error):
            print(f"error: {_no_platform(error)}", file=sys.stderr)
            return 2
        print(f"error: {_in_one_line(error)}", file=sys.stderr)
        return 2 if isinstance(error, (ValueError, TypeError, OSError, ImportError)) else 1


def _is_of_the_platform(error: BaseException) -> bool:
    """Returns True if JAX failed where it looks for its devices."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(Path(f.f_code.co_filename).name == "xla_bridge.py" for f, _ in frames)


def _no_platform(error: BaseException) -> str:
    named = os.environ.get("JAX_PLATFORMS")
    why = str(error).splitlines()[0] if str(error) else type(error).__name__
    if not named:
        return f"JAX finds no device to compute on: {why}"
    return (
        f"JAX finds no device for JAX_PLATFORMS={named} ({why}): unset it, or set it to a platform"
        " that is there, such as cpu"
    )


def _show_warning(message: Warning | str, *where: object, **more: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _run(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage(), end="")
        return 0 if argv else 2
    command, *rest = argv
    if command == "--version":
        import genjax_models

        print(f"genjax_models {genjax_models.__version__}")
        return 0
    if command not in COMMANDS:
        raise ValueError(f"there is no command {command!r}: {suggest(command, COMMANDS)}")
    module = COMMANDS[command].module or command
    return importlib.import_module(f"experiments.commands.{module}").main(rest)


def usage() -> str:
    """Every command in a line: tyro's own list would import them all, and shows no arguments."""
    lines = [f"usage: {PROGRAM} COMMAND ...\n"]
    for name, command in COMMANDS.items():
        if command.begins_group and len(lines) > 1:
            lines.append("")
        lines.append(f"  {f'{name} {command.arguments}':<34} {command.summary}".rstrip())
    lines.append(f"\n{PROGRAM} COMMAND --help says more, and --version which library it is;")
    lines.append("GENJAX_DEBUG=1 shows where an error came from.")
    return "\n".join(lines) + "\n"


def _in_one_line(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ENOSPC or "No space left on device" in str(error):
        return (
            "the disk is full: make room and give the same command again, which goes on from the"
            " last whole checkpoint"
        )
    if isinstance(error, OSError) and number is not None:
        where = f": {error.filename}" if error.filename else ""
        return f"{(error.strerror or 'cannot read or write').lower()}{where}"
    first, *more = str(error).strip().splitlines() or [""]
    if not isinstance(error, (ValueError, TypeError, OSError, ImportError, FloatingPointError)):
        first, more = f"{type(error).__name__}: {first}".rstrip(": "), ["its trace"]
    return f"{first} (GENJAX_DEBUG=1 shows more)" if more else first or type(error).__name__


class Command(NamedTuple):
    """A command.

    Attributes:
        arguments: Its arguments, in short.
        summary: Its purpose, in one line.
        begins_group: Whether it begins a group in the list of commands.
        module: The file of this folder whose `main` it is; that of its own name by default.
    """

    arguments: str
    summary: str
    begins_group: bool = False
    module: str = ""


COMMANDS: Mapping[str, Command] = {
    "list": Command("[--family NAME] [--json]", "the experiments: goal, figure on record, time"),
    "train": Command("NAME [options]", "train one; goes on where a run stopped"),
    "evaluate": Command("RUN", "the final metrics of a run directory"),
    "sample": Command("RUN [options]", "draw samples into a picture, an array, a folder"),
    "export": Command("RUN FOLDER", "the model as files that gm.load_model reads"),
    "generate": Command("RUN [options]", 'go on from --prompt "..." (text models)'),
    "convert": Command("RUN IN.wav OUT.wav", "a recording in another voice"),
    "bench": Command("NAME [options]", "time the training loop, as JSON"),
    "compare": Command(
        "[options]",
        "one model of every family, the same time, one ruler, one page",
        module="compare.command",
        begins_group=True,
    ),
    "watch": Command(
        "[--density ring]",
        "four models learn a density in the plane, as an animation",
        module="watch.command",
    ),
    "judge": Command(
        "RUN [RUN ...]",
        "a page on which people tell samples from data, or apart",
        module="judge.command",
    ),
    "compress": Command(
        "RUN OUT.gjx",
        "a split, or --input images, in about -log2 p(x) bits each",
        begins_group=True,
    ),
    "decompress": Command("RUN IN.gjx OUT.npz", "the same examples again"),
    "anomaly": Command("RUN [options]", "how well the model's scores tell other data from its own"),
    "measure": Command(
        "SAMPLES REFERENCE", "Fréchet distance and the like, of folders, files or runs"
    ),
    "edit": Command("RUN --what WHAT", "complete, inpaint, interpolate, ... test examples"),
    "debias": Command("[options]", "a rare group is seen more often: who gains, who loses"),
    "augment": Command("[options]", "what a model's samples add to few labelled examples"),
    "results": Command(
        "[add RUN ...]",
        "write RESULTS.md from the records, with those of more runs",
        begins_group=True,
    ),
    "reference": Command("[--out FOLDER]", "the library's reference as pages"),
    "notebooks": Command("[FILE ...]", "execute the notebooks, and keep their outputs in them"),
}
