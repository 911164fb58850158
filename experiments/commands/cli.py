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
from experiments.commands.terminal import in_columns, let_go, standard_streams
from experiments.runner.config import suggest
from experiments.runner.experiment import Experiment

USAGE = f"""usage: {PROGRAM} COMMAND ...

  list                     the experiments: family, data set, steps, and the figure to reach
  train NAME [options]     train one; goes on where an unfinished run stopped
  evaluate RUN             the final metrics of a run directory
  sample RUN [--num 64]    draw samples from a run directory into a picture, or a text
  generate RUN [options]   go on from --prompt "...", shown as it is drawn (text models)
  convert RUN IN.wav OUT.wav   a recording in another voice (voice_conversion)
  bench NAME [options]     time the training loop, as JSON

  compare [options]        one model of every family, the same time for each, one ruler: one page
  watch [--density ring]   four models learn a density in the plane, as an animation
  judge RUN [RUN ...]      a page on which people tell samples from data, or samples apart

  compress RUN OUT.gjx     a split, or --input images, in about -log2 p(x) bits each
  decompress RUN IN.gjx OUT.npz   the same examples again
  anomaly RUN [options]    how well the model's scores tell other data from its own
  edit RUN --what WHAT     complete, inpaint, interpolate, ... examples of the test split
  debias [options]         a rare group is seen more often: what it gains and the others lose
  augment [options]        what samples of a model add to a small set of labelled examples

  results [add RUN ...]    writes experiments/RESULTS.md from the records, with those of more runs

{PROGRAM} COMMAND --help says more; GENJAX_DEBUG=1 shows where an error came from.
"""


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
        print(USAGE, end="")
        return 0 if argv else 2
    command, *rest = argv
    if command not in COMMANDS:
        raise ValueError(f"there is no command {command!r}: {suggest(command, COMMANDS)}")
    return COMMANDS[command](rest)


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


def _list(argv: Sequence[str]) -> int:
    if argv:
        raise ValueError(f"list takes no arguments, got {' '.join(argv)}")
    head = ("experiment", "family", "data set", "steps", "must reach")
    rows = [
        (e.name, e.family, e.config.dataset, f"{e.config.steps:,}", str(e.goal or "reports only"))
        for e in recipes.experiments().values()
    ]
    print(in_columns([head, *rows]))
    return 0


def _named(command: str, argv: Sequence[str]) -> tuple[Experiment, Sequence[str]]:
    """The experiment that the first argument names, and the arguments after it."""
    if not argv or argv[0].startswith("-"):
        names = ", ".join(recipes.experiments())
        if argv and argv[0] in ("-h", "--help"):
            print(f"usage: {PROGRAM} {command} NAME [options]\n\nNAME is one of {names};")
            print(f"{PROGRAM} {command} NAME --help lists its options.")
            raise SystemExit(0)
        raise ValueError(f"{command} needs the name of an experiment first: one of {names}")
    return recipes.find(argv[0]), argv[1:]


def _train(argv: Sequence[str]) -> int:
    found, rest = _named("train", argv)
    default = TrainArguments(found.config)
    kind = TrainArguments[type(found.config.model)]
    arguments = parse(kind, f"train {found.name}", rest, default)
    from experiments.runner import runs, train
    from experiments.runner.datasets import settled
    from experiments.runner.files import keep_compiled_programs
    from genjax_models import training

    config = settled(arguments.config)
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
    from experiments.runner.datasets import settled

    print(json.dumps(bench(found, settled(arguments.config), arguments.repeats), indent=2))
    return 0


def _in(module: str, function: str = "main") -> Callable[[Sequence[str]], int]:
    """A command that a module of this package runs, imported when it is given."""
    return lambda argv: getattr(
        importlib.import_module(f"experiments.commands.{module}"), function
    )(argv)


COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "list": _list,
    "train": _train,
    "evaluate": _evaluate,
    "sample": _sample,
    "generate": _generate,
    "convert": _convert,
    "bench": _bench,
    "compare": _in("compare.command"),
    "watch": _in("watch.command"),
    "judge": _in("judge.command", "judge"),
    "compress": _in("compress", "compress"),
    "decompress": _in("compress", "decompress"),
    "anomaly": _in("anomaly"),
    "edit": _in("edit"),
    "debias": _in("debias"),
    "augment": _in("augment"),
    "results": _in("results"),
}
