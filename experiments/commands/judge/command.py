"""The command `judge`: draws what is to be judged once, serves the page, says what was found."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from experiments.commands.arguments import parse
from experiments.commands.judge.modes import ModeName
from experiments.runner.config import Allowed, PositiveInt, Seed
from experiments.runner.files import check_output


@dataclasses.dataclass(frozen=True)
class JudgeArguments:
    """Let a person judge what runs of one dataset draw, on a page on this machine."""

    runs: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN [RUN ...]")
    ] = ()
    """The run directories, all of one dataset; none is needed for --results and --csv."""
    mode: ModeName = "real_or_generated"
    """The question: is one example real, or which of two runs' examples looks more so?"""
    num: PositiveInt = 50
    """Samples drawn of each run. Each is shown once beside as many real examples, or once in each
    pair of runs."""
    seed: Seed = 0
    """Decides the samples, the real examples and the order."""
    out: Path = Path("judgements.sqlite")
    """File of examples and answers; a session that was stopped goes on."""
    port: Annotated[int, Allowed(0, 65_535)] = 8765
    """The page's port; 0 takes a free one."""
    host: str = "127.0.0.1"
    """The address to listen on: of this machine alone, unless another one is given."""
    results: bool = False
    """Print what was found so far, and serve nothing."""
    csv: Path | None = None
    """Write every judgement to this file, and serve nothing."""
    overwrite: bool = False
    """Replace the file of --csv, if it is there already."""


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Args:
        argv: The arguments after `judge`.

    Returns:
        The exit code.
    """
    arguments = parse(JudgeArguments, "judge", argv)
    if arguments.csv is not None:
        check_output(arguments.csv, name="--csv", overwrite=arguments.overwrite)
    if arguments.results or arguments.csv is not None:
        return _tell(arguments)
    from experiments.commands.judge import server, store

    with server.listen(arguments.host, arguments.port) as listening:  # before the work
        server.check_libraries()
        prepare(arguments)
        with store.opened(arguments.out) as opened:
            where = server.address(listening, arguments.host)
            print(f"judge at {where}, answers in {arguments.out}; Ctrl-C ends", flush=True)
            try:
                server.make_server(opened, arguments.host).run(sockets=[listening])
            except KeyboardInterrupt:
                pass  # how a session ends: every answer is kept already
    return _tell(arguments)


def prepare(arguments: JudgeArguments) -> None:
    """Draws what a new session shows, or sees that the file holds this one."""
    from experiments.commands.judge import draw, store

    session = draw.session_of(arguments.runs, arguments.mode, arguments.num, arguments.seed)
    directories = [str(path.resolve()) for path in arguments.runs]
    if arguments.out.exists():
        with store.opened(arguments.out) as opened:
            store.check_same(opened, session, directories, arguments.out)
        return
    from experiments.runner.files import keep_compiled_programs

    keep_compiled_programs()
    examples = draw.draw(session, arguments.runs, lambda words: print(words, file=sys.stderr))
    store.create(arguments.out, session, directories, examples)


def _tell(arguments: JudgeArguments) -> int:
    """Prints what was found so far, and writes the table of judgements."""
    from experiments.commands.judge import results, store
    from experiments.commands.judge.modes import MODES

    with store.opened(arguments.out) as opened:
        session, answers = opened.session, opened.answers()
    total = MODES[session.mode].total(session)
    print(f"{arguments.out}: {len(answers)} of {total} judged, 95 % intervals")
    if answers:
        print("\n".join(results.lines(results.tables(session, answers))))
    if arguments.csv is not None:
        arguments.csv.write_text(results.to_csv(session, answers), "utf-8")
        print(f"every judgement is in {arguments.csv}")
    return 0
