"""`compress`: examples to a file of about -log2 p(x) bits each, by a run's model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from experiments.commands.arguments import RunPath, parse
from experiments.runner.config import PositiveInt, Seed
from experiments.runner.files import check_output

if TYPE_CHECKING:
    from experiments.runner.runs import Run


@dataclasses.dataclass(frozen=True)
class CompressArguments:
    """Compress examples without a loss, by a run's averaged parameters."""

    run: RunPath
    """The run directory: of an autoregressive model or a VAE over levels."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT.gjx")]
    """The file to write."""
    input: Path | None = None
    """An .npz with the examples as x, or a folder of images; None takes the run's own dataset."""
    split: str | None = None
    """The split; None takes test, and of an input all that there is, or what is its train."""
    num: PositiveInt | None = None
    """Number of examples to compress, from the first; None takes all."""
    seed: Seed = 0
    """Decides the draw of black and white pixels that is kept, where the model binarises."""
    block: PositiveInt | None = None
    """Examples that one pass of the networks sees, written in the file; None takes the usual."""
    verify: bool = True
    """Decompress the file again before it is written."""
    overwrite: bool = False
    """Replace a file that is there already."""


def main(argv: Sequence[str]) -> int:
    """The command `compress`."""
    arguments = parse(CompressArguments, "compress", argv)
    from experiments.runner import loading
    from experiments.runner.files import keep_compiled_programs
    from genjax_models.applications import compression
    from genjax_models.core.files import replaced
    from genjax_models.metrics.map_dataset import progress

    check_output(arguments.out, (compression.SUFFIX,), "OUT.gjx", overwrite=arguments.overwrite)
    keep_compiled_programs()
    run = loading.load_run(arguments.run)
    model: Any = run.setup.model
    rows, changed = examples(run, arguments)
    if changed:
        print("the model is of black and white pixels: what is kept is one draw of them")
    x, label = rows["x"], rows.get("label")
    with progress(len(x), "compressing") as advance:
        file = compression.compress(
            model,
            run.params,
            x,
            label=label,
            state=run.state.state,
            block=arguments.block,
            progress=advance,
        )
    if arguments.verify:
        with progress(len(x), "verifying") as advance:
            compression.decompress(model, run.params, file, state=run.state.state, progress=advance)
    with replaced(arguments.out) as fresh:
        fresh.write_bytes(file)
    print(
        f"{len(x):,} examples in {len(file):,} bytes, {8 * len(file) / x.size:.4f} bits an entry:"
        f" {arguments.out}"
    )
    return 0


def examples(run: Run, arguments: CompressArguments) -> tuple[dict[str, np.ndarray], bool]:
    """The examples to compress as the run's model sees them, and whether that changed them.

    Returns:
        `x` `[N, *shape]` and, for a model that is conditional on it, `label` `[N]`.

    Raises:
        ValueError: They are not the model's.
        FileNotFoundError: There is no such file.
    """
    import jax

    import genjax_models as gm
    from experiments.runner.datasets import load_split
    from genjax_models.applications import compression
    from genjax_models.data.transforms import relabelled

    if arguments.input is None:
        data = load_split(run.record.config, arguments.split or "test")
    else:
        path = arguments.input.expanduser().resolve()
        data = gm.load(path, arguments.split or ("all" if path.is_dir() else "train"))
        if "label" in run.setup.condition(1):
            data = relabelled(data, run.record.spec)
    if data.spec.shape != run.record.spec.shape:
        raise ValueError(
            f"{arguments.input} has examples of shape {data.spec.shape}, and {arguments.run} is of"
            f" shape {run.record.spec.shape}: give examples of that shape"
        )
    rows, left = [], arguments.num
    for batch in data.batches(1000):
        rows.append({name: batch[name][:left] for name in batch})
        left = None if left is None else left - len(batch["x"])
        if left is not None and left <= 0:
            break
    whole = {name: np.concatenate([part[name] for part in rows]) for name in rows[0]}
    wanted = {"x"} | set(run.setup.condition(1)) & {"label"}
    kept = {name: whole[name] for name in wanted if name in whole}
    model: Any = run.setup.model
    if not hasattr(model, "preprocess"):  # compress refuses it
        return kept, False
    kept["x"] = compression.as_modelled(model, whole["x"], jax.random.key(arguments.seed))
    return kept, not np.array_equal(kept["x"], whole["x"])
