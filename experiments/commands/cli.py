"""The commands. Whatever the user got wrong is told in one line, with exit code 2."""

from __future__ import annotations

import errno
import importlib
import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments import recipes
from experiments.commands.arguments import (
    PROGRAM,
    BenchArguments,
    ConvertArguments,
    EvaluateArguments,
    GenerateArguments,
    SampleArguments,
    TrainArguments,
    in_options,
    parse,
)
from experiments.commands.terminal import let_go, standard_streams
from experiments.runner.config import suggest
from experiments.runner.experiment import Experiment


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
    """Whether JAX failed where it looks for its devices."""
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
    return COMMANDS[command].run(rest)


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


def _train(argv: Sequence[str]) -> int:
    found, rest = _named("train", argv)
    default = TrainArguments(found.config)
    kind = TrainArguments[type(found.config.model)]
    arguments = parse(kind, f"train {found.name}", rest, default)
    from experiments.runner import runs, train
    from experiments.runner.datasets import with_absolute_paths
    from experiments.runner.files import keep_compiled_programs
    from genjax_models import training

    config = with_absolute_paths(arguments.config)
    directory = arguments.run_dir or runs.default_directory(found.name, config)
    again = runs.command_line(found, config, directory)
    if arguments.compilation_cache:
        keep_compiled_programs()
    try:
        run = train.train(
            found, config, directory, restart=arguments.restart, stop_on=_stop_on(arguments)
        )
    except training.Interrupted as stop:
        raise KeyboardInterrupt(f"step {stop.step} is saved; resume with: {again}") from stop
    except training.CheckpointDamaged as error:
        raise ValueError(f"{error}, or begin anew with --restart") from error
    except ValueError as error:
        raise ValueError(in_options(str(error), config)) from error
    if run is None:
        print(f"{directory} is finished: see {directory / runs.REPORT}, or give another --run-dir")
        return 0
    _print_result(run.record.directory)
    return 0


def _stop_on(arguments: TrainArguments) -> tuple[int, ...]:
    from genjax_models.training.interrupts import STOPPING

    return (*STOPPING, signal.SIGUSR1) if arguments.stop_on_usr1 else STOPPING


def _print_result(directory: Path) -> None:
    from experiments.runner import runs

    result = runs.read_result(directory)
    _print_metrics(result["metrics"], result["split"])
    if result["goal"]:
        word = {True: "reached", False: "not reached"}.get(result["reached"], "not measured")
        print(f"goal {result['goal']}: {word}")
    print(f"report: {directory / runs.REPORT}")


def _print_metrics(metrics: Mapping[str, Mapping], split: str) -> None:
    for name, metric in metrics.items():
        print(f"{split} {name} {metric['value']:.5g} {metric['unit']} ({metric['kind']})")


def _evaluate(argv: Sequence[str]) -> int:
    arguments = parse(EvaluateArguments, "evaluate", argv)
    from experiments.runner import evaluate
    from experiments.runner.datasets import size_in_words
    from experiments.runner.files import keep_compiled_programs

    keep_compiled_programs()
    done = evaluate.evaluate(
        arguments.run,
        arguments.split,
        num_samples=arguments.num_samples,
        seed=arguments.seed,
        inception=arguments.inception,
        classifier_steps=arguments.classifier_steps,
    )
    print(f"{arguments.run} at step {done.step}, {size_in_words(done.data)}")
    _print_metrics(done.metrics, done.data.split)
    return 0


def _sample(argv: Sequence[str]) -> int:
    arguments = parse(SampleArguments, "sample", argv)
    from experiments.runner import loading, samples
    from experiments.runner.files import keep_compiled_programs

    keep_compiled_programs()
    run = loading.load_run(arguments.run)
    path = arguments.out or samples.default_file(run.record.spec)
    samples.check_file(path, run.record.spec, run.setup.writers)  # before the work
    samples.save_samples(samples.draw_samples(run, arguments.num, arguments.seed), run, path)
    print(f"{arguments.num} samples in {path}")
    return 0


def _generate(argv: Sequence[str]) -> int:
    arguments = parse(GenerateArguments, "generate", argv)
    if arguments.stop == "":
        raise ValueError("--stop is empty: give the text to stop before, or leave it out")
    from experiments.commands import generate
    from experiments.runner import loading
    from experiments.runner.files import keep_compiled_programs

    keep_compiled_programs()
    run = loading.load_run(arguments.run)
    generate.write(generate.stream(run, arguments), sys.stdout)
    return 0


def _convert(argv: Sequence[str]) -> int:
    arguments = parse(ConvertArguments, "convert", argv)
    from experiments.commands import convert
    from experiments.runner import loading
    from experiments.runner.files import keep_compiled_programs

    keep_compiled_programs()
    run = loading.load_run(arguments.run)
    convert.convert(run, arguments.recording, arguments.out, back=arguments.back)
    print(f"converted {arguments.recording} into {arguments.out}")
    return 0


def _bench(argv: Sequence[str]) -> int:
    found, rest = _named("bench", argv)
    default = BenchArguments(found.config)
    kind = BenchArguments[type(found.config.model)]
    arguments = parse(kind, f"bench {found.name}", rest, default)
    from experiments.benchmarks.training import bench
    from experiments.runner.datasets import with_absolute_paths

    print(
        json.dumps(bench(found, with_absolute_paths(arguments.config), arguments.repeats), indent=2)
    )
    return 0


def _in(module: str, function: str = "main") -> Callable[[Sequence[str]], int]:
    """A command that a module of this package runs, imported when it is given."""

    def run(argv: Sequence[str]) -> int:
        return getattr(importlib.import_module(f"experiments.commands.{module}"), function)(argv)

    return run


class Command(NamedTuple):
    """A command.

    Attributes:
        arguments: What stands after its name.
        summary: What it does, in one line.
        run: Runs it with the arguments after its name; gives the exit code.
        begins_group: Whether it begins a group in the list of commands.
    """

    arguments: str
    summary: str
    run: Callable[[Sequence[str]], int]
    begins_group: bool = False


COMMANDS: Mapping[str, Command] = {
    "list": Command(
        "[--family NAME] [--json]", "the experiments: goal, figure on record, time", _in("list")
    ),
    "train": Command("NAME [options]", "train one; goes on where a run stopped", _train),
    "evaluate": Command("RUN", "the final metrics of a run directory", _evaluate),
    "sample": Command("RUN [--num 64]", "draw samples into a picture, or a text", _sample),
    "generate": Command("RUN [options]", 'go on from --prompt "..." (text models)', _generate),
    "convert": Command("RUN IN.wav OUT.wav", "a recording in another voice", _convert),
    "bench": Command("NAME [options]", "time the training loop, as JSON", _bench),
    "compare": Command(
        "[options]", "one model of every family, the same time, one ruler, one page",
        _in("compare.command"), begins_group=True,
    ),
    "watch": Command(
        "[--density ring]", "four models learn a density in the plane, as an animation",
        _in("watch.command"),
    ),
    "judge": Command(
        "RUN [RUN ...]", "a page on which people tell samples from data, or apart",
        _in("judge.command", "judge"),
    ),
    "compress": Command(
        "RUN OUT.gjx", "a split, or --input images, in about -log2 p(x) bits each",
        _in("compress", "compress"), begins_group=True,
    ),
    "decompress": Command(
        "RUN IN.gjx OUT.npz", "the same examples again", _in("compress", "decompress")
    ),
    "anomaly": Command(
        "RUN [options]", "how well the model's scores tell other data from its own", _in("anomaly")
    ),
    "edit": Command(
        "RUN --what WHAT", "complete, inpaint, interpolate, ... test examples", _in("edit")
    ),
    "debias": Command(
        "[options]", "a rare group is seen more often: who gains, who loses", _in("debias")
    ),
    "augment": Command(
        "[options]", "what a model's samples add to few labelled examples", _in("augment")
    ),
    "results": Command(
        "[add RUN ...]", "write RESULTS.md from the records, with those of more runs",
        _in("results"), begins_group=True,
    ),
    "reference": Command(
        "[--out FOLDER]", "the library's reference as pages", _in("reference")
    ),
    "notebooks": Command(
        "[FILE ...]", "execute the notebooks, and keep their outputs in them", _in("notebooks")
    ),
}  # fmt: skip
