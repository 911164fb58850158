"""`generate`: text from a run, as it is drawn: the prompt goes on, or its gaps are filled."""

from __future__ import annotations

import dataclasses
import itertools
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, TextIO

import numpy as np

from experiments.commands.arguments import RunPath, parse
from experiments.commands.terminal import let_go
from experiments.runner.config import Allowed, PositiveFloat, PositiveInt, Seed, flag

if TYPE_CHECKING:
    from experiments.runner import runs
    from genjax_models.data import tokenizers
    from genjax_models.diffusion.masked import MaskedDiffusion


@dataclasses.dataclass(frozen=True)
class GenerateArguments:
    """Let a run of a text model go on from a prompt, shown as it is drawn."""

    run: RunPath
    """The run directory."""
    prompt: str = ""
    """Beginning of the text."""
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


def main(argv: Sequence[str]) -> int:
    """The command `generate`."""
    arguments = parse(GenerateArguments, "generate", argv)
    if arguments.stop == "":
        raise ValueError("--stop is empty: give the text to stop before, or leave it out")
    from experiments.runner import loading
    from experiments.runner.files import keep_compiled_programs

    keep_compiled_programs()
    run = loading.load_run(arguments.run)
    write(stream(run, arguments), sys.stdout)
    return 0


def stream(run: runs.Run, arguments: GenerateArguments) -> Iterator[str]:
    """The prompt, and what the run's averaged parameters make of it, piece by piece.

    Args:
        run: A run of a model of texts, autoregressive or by masked diffusion.
        arguments: Prompt, length and how tokens are drawn.

    Raises:
        ValueError: The run is of no text model, the prompt cannot be written in its tokens, or an
            option is for the other kind of model.
    """
    import jax

    from genjax_models.autoregressive.generation import generate
    from genjax_models.autoregressive.model import Autoregressive
    from genjax_models.data import tokenizers
    from genjax_models.diffusion.masked import MaskedDiffusion

    model, spec = run.setup.model, run.record.spec
    if not spec.vocabulary or not isinstance(model, Autoregressive | MaskedDiffusion):
        raise ValueError(
            f"{arguments.run} is a run of {run.record.experiment.name} on {spec.name}: only an"
            " autoregressive or a masked model of texts goes on from a prompt"
        )
    masked = isinstance(model, MaskedDiffusion)
    _refuse(arguments, OF_AUTOREGRESSIVE if masked else OF_MASKED, run.record.experiment.name)
    if masked and arguments.mask_character is not None:
        yield _filled(model, run, arguments)
        return
    tokenizer = tokenizers.of(spec)
    prompt = _encode(tokenizer, arguments.prompt)
    if masked:
        chunks = _windows(model, run, arguments, prompt)
    else:
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


OF_AUTOREGRESSIVE = ("top_k", "top_p", "min_p")
OF_MASKED = ("mask_character", "steps")


def _refuse(arguments: GenerateArguments, names: tuple[str, ...], experiment: str) -> None:
    """Refuses options that the run's kind of model, or another option, has no use for."""
    for name in names:
        if getattr(arguments, name) is not None:
            raise ValueError(
                f"{flag(name)} is given, but {arguments.run} is a run of {experiment}: it is for"
                f" {'masked diffusion' if name in OF_MASKED else 'autoregressive models'} alone"
            )
    if arguments.mask_character is not None and arguments.stop is not None:
        raise ValueError(
            "--stop is given with --mask-character, where nothing is drawn behind the prompt: leave"
            " one of them out"
        )


def _encode(tokenizer: tokenizers.Tokenizer, prompt: str) -> np.ndarray:
    try:
        return tokenizer.encode(prompt)
    except ValueError as error:
        raise ValueError(f"--prompt cannot be written in the run's tokens: {error}") from error


def _windows(
    model: MaskedDiffusion, run: runs.Run, arguments: GenerateArguments, prompt: np.ndarray
) -> Iterator[np.ndarray]:
    """Tokens that go on from the prompt, a window at a time: it begins with the last half of one.

    A window sees all of a prompt that is shorter than it.
    """
    (window,) = model.spec.shape
    if len(prompt) >= window:
        warnings.warn(
            f"the prompt has {len(prompt)} tokens and the model a window of {window}: it sees the"
            f" last {window // 2} of them, and the window slides on",
            stacklevel=2,
        )
    text, left, number = prompt, arguments.tokens, 0
    while left > 0:
        tail = text if len(text) < window else text[len(text) - window // 2 :]
        given = np.arange(window) < len(tail)
        known = np.pad(tail, (0, window - len(tail)))
        drawn = _complete(model, run, arguments, known, given, number)[len(tail) :][:left]
        yield drawn
        text, left, number = np.concatenate([text, drawn]), left - len(drawn), number + 1


def _filled(model: MaskedDiffusion, run: runs.Run, arguments: GenerateArguments) -> str:
    """The prompt with its gaps filled, each from the text on both sides of it."""
    from genjax_models.data import tokenizers

    prompt, gap = arguments.prompt, arguments.mask_character or ""
    if len(gap) != 1 or gap not in prompt:
        raise ValueError(
            f"--mask-character is {gap!r}: give one character that stands in the prompt wherever a"
            " token is to be filled in"
        )
    tokenizer = tokenizers.of(model.spec)
    parts = ["".join(part) for _, part in itertools.groupby(prompt, lambda c: c == gap)]
    known = [
        np.zeros(len(part), np.int32) if gap in part else _encode(tokenizer, part) for part in parts
    ]
    given = [np.full(len(x), gap not in part) for x, part in zip(known, parts, strict=True)]
    num, (window,) = sum(map(len, known)), model.spec.shape
    if num > window:
        raise ValueError(
            f"--prompt has {num} tokens, and the run's model sees {window}: give it the text around"
            " the gaps alone"
        )
    x, mask = (np.pad(np.concatenate(parts), (0, window - num)) for parts in (known, given))
    return tokenizer.decode(_complete(model, run, arguments, x, mask, 0)[:num])


def _complete(
    model: MaskedDiffusion,
    run: runs.Run,
    arguments: GenerateArguments,
    x: np.ndarray,
    given: np.ndarray,
    number: int,
) -> np.ndarray:
    """The window `[T]` with what is not given drawn."""
    import jax
    import jax.numpy as jnp

    key = jax.random.fold_in(jax.random.key(arguments.seed), number)
    options = {"steps": arguments.steps, "temperature": arguments.temperature}
    whole = jnp.asarray(x[None]), jnp.asarray(given[None])
    drawn = model.complete(run.params, *whole, key, state=run.state.state, **options)
    return np.asarray(drawn[0])


def until(stop: str, pieces: Iterable[str]) -> Iterator[str]:
    """The pieces of a text up to where `stop` begins.

    A piece that may be the beginning of `stop` is kept back until that is known.
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
    from genjax_models.data.text import printable

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
        if out is sys.stdout:
            let_go(out)
