"""Text from a run, as it is drawn: the prompt goes on, token by token."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO

import jax
import numpy as np

from experiments import runs
from experiments.arguments import GenerateArguments
from genjax_models.autoregressive.generation import generate
from genjax_models.autoregressive.model import Autoregressive
from genjax_models.data import tokenizers
from genjax_models.data.text import printable


def stream(run: runs.Run, arguments: GenerateArguments) -> Iterator[str]:
    """The prompt, and what the run's averaged parameters make of it, piece by piece.

    Args:
        run: A run of an autoregressive model of texts.
        arguments: Prompt, length and how tokens are drawn.

    Raises:
        ValueError: The run is of no text model, or the prompt cannot be written in its tokens.
    """
    model, spec = run.setup.model, run.record.spec
    if not spec.vocabulary or not isinstance(model, Autoregressive):
        raise ValueError(
            f"{arguments.run} is a run of {run.record.experiment.name} on {spec.name}: only an"
            " autoregressive model of texts goes on from a prompt"
        )
    tokenizer = tokenizers.of(spec)
    try:
        prompt = tokenizer.encode(arguments.prompt)
    except ValueError as error:
        raise ValueError(f"--prompt cannot be written in the run's tokens: {error}") from error
    chunks = generate(
        model,
        run.params,
        jax.random.key(arguments.seed),
        prompt,
        arguments.tokens,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        min_p=arguments.min_p,
        state=run.state.state,
    )
    pieces = tokenizers.stream(tokenizer, (np.asarray(chunk).reshape(-1) for chunk in chunks))
    yield arguments.prompt
    yield from pieces if arguments.stop is None else until(arguments.stop, pieces)


def until(stop: str, pieces: Iterable[str]) -> Iterator[str]:
    """The pieces of a text up to where `stop` begins.

    What may be the beginning of `stop` is kept back until it is known whether it is.
    """
    held = ""
    for piece in pieces:
        held += piece
        before, found, _ = held.partition(stop)
        if found:
            if before:
                yield before
            return
        keep = next(n for n in range(min(len(stop), len(held)), -1, -1) if held.endswith(stop[:n]))
        ready, held = held[: len(held) - keep], held[len(held) - keep :]
        if ready:
            yield ready
    if held:
        yield held


def write(pieces: Iterable[str], out: TextIO) -> None:
    """Writes a text as it comes, and ends it with a line break.

    On a terminal, characters that would steer it are shown as U+FFFD: a model of bytes may draw
    any. A reader that goes away (`| head`) ends it quietly.
    """
    last = ""
    try:
        for piece in pieces:
            out.write(printable(piece) if out.isatty() else piece)
            out.flush()
            last = piece or last
        if not last.endswith("\n"):
            out.write("\n")
            out.flush()
    except BrokenPipeError:
        if out is sys.stdout:  # or Python itself would complain when it flushes at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
