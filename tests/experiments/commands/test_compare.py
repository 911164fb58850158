"""The comparison: time that is kept across resumes, the taxonomy, and a small one end to end."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import types

import numpy as np
import pytest
from PIL import Image

from experiments import recipes
from experiments.commands.compare import (
    command,
    comparing,
    contenders,
    outputs,
    page,
    pictures,
    taxonomy,
)
from experiments.commands.compare.clock import CLOCK, Clock, CompileTime, Enough, Speedometer
from experiments.commands.compare.contenders import Contender
from experiments.commands.compare.settings import STATE, Settings, take_up
from experiments.runner import evaluate, loading, pages, report, samples, train
from experiments.runner.hooks import NEVER, AtSteps, StoppedEarly, log_spaced
from genjax_models import training
from genjax_models.core import DIGITS
from genjax_models.training.fit import Cadence
from genjax_models.training.hooks import read_json_lines


def at(step):
    return types.SimpleNamespace(step=step)


def test_steps_are_spaced_evenly_on_a_log_scale():
    steps = log_spaced(1, 4096, 13)
    assert steps == tuple(2**i for i in range(13))
    assert log_spaced(1, 3, 10) == (1, 2, 3)
    assert log_spaced(5, 5, 3) == (5,)
    assert log_spaced(1, 100, 1) == (100,)
    with pytest.raises(ValueError, match="from 0 to 3"):
        log_spaced(0, 3, 2)


def test_a_hook_is_called_at_chosen_steps_alone():
    called = []
    hook = AtSteps((7, 1, 12, 40), lambda state, metrics: called.append(state.step), start=1)
    done, stops = 1, []
    cadence = Cadence(steps=50, log_every=20, save_every=None, hooks=(hook,))
    while done < 50:
        done = cadence.next_stop(done)
        stops.append(done)
        for due in cadence.hooks_at(done):
            due(at(done), {})
    assert called == [7, 12, 40]
    assert stops == [7, 12, 20, 40, 50]
    assert hook.every == NEVER


def test_compiling_is_the_union_of_what_jax_tells():
    compiling = CompileTime()
    compiling.close()
    compiling.add(1.0, 2.0)
    compiling.add(3.0, 4.0)  # within the next
    compiling.add(2.5, 5.0)
    compiling.add(9.0, 10.0)
    assert compiling.seconds == pytest.approx(1.0 + 2.5 + 1.0)


@pytest.fixture
def clock(tmp_path, monkeypatch):
    """Makes clocks of a budget of 10 s whose time is set by hand; saved states are listed."""
    monkeypatch.setattr(training.checkpoint, "save", lambda folder, state: saved.append(state.step))
    saved, now = [], types.SimpleNamespace(time=0.0, seconds=0.0)

    def look(state):
        now.time += 100.0  # however long it takes
        return {"seen": state.step}

    def make(start=0):
        return Clock(tmp_path, start, 10.0, 100, 10, look, {20}, now, lambda: now.time)

    return types.SimpleNamespace(make=make, now=now, saved=saved, path=tmp_path / CLOCK)


def test_looks_and_compiling_are_not_on_the_clock(clock):
    hook = clock.make()
    for step in (10, 20, 30):
        clock.now.time += 2.0
        clock.now.seconds += 0.5
        hook(at(step), {})
    rows = read_json_lines(clock.path)
    assert [r["seconds"] for r in rows] == pytest.approx([1.5, 3.0, 4.5])
    assert [r["compile_seconds"] for r in rows] == pytest.approx([0.5, 1.0, 1.5])
    assert [r.get("seen") for r in rows] == [None, 20, None]


def test_the_time_used_outlives_a_process(clock):
    first = clock.make()
    for step in (10, 20, 30):
        clock.now.time += 3.0
        first(at(step), {})
    again = clock.make(start=20)  # step 30 was lost, and its time with it
    clock.now.time += 3.0
    again(at(30), {})
    clock.now.time += 3.0
    with pytest.raises(StoppedEarly, match="stopped at step 40 of 100: 10 s"):
        again(at(40), {})
    rows = read_json_lines(clock.path)
    assert [r["step"] for r in rows] == [10, 20, 30, 40]
    assert [r["seconds"] for r in rows] == pytest.approx([3.0, 6.0, 9.0, 12.0])
    assert rows[-1]["seen"] == 40
    assert clock.saved == [40]


def test_a_run_that_ends_in_time_is_not_stopped(clock):
    hook = clock.make()
    clock.now.time += 20.0
    hook(at(100), {})
    assert clock.saved == []


def test_the_speed_leaves_compiling_out():
    now = types.SimpleNamespace(time=0.0, seconds=0.0)
    speed = Speedometer(4.0, now, lambda: now.time)
    now.time, now.seconds = 30.0, 29.0
    speed(at(1), {})
    with pytest.raises(Enough):
        for step in (2, 4, 8, 16, 32, 64):
            assert speed.every == step
            now.time += 0.1 * (step - step // 2) + 7.0
            now.seconds += 7.0
            speed(at(step), {})
    assert speed.rate == pytest.approx(10.0)


KINDS = {
    "pixelcnn": (taxonomy.TRACTABLE, False, False),
    "glow": (taxonomy.TRACTABLE, True, True),
    "vae": (taxonomy.APPROXIMATE, False, True),
    "ddpm": (taxonomy.APPROXIMATE, False, False),
    "energy_digits": (taxonomy.UNNORMALIZED, False, False),
    "gan_mnist": (taxonomy.IMPLICIT, False, False),
}


@pytest.mark.parametrize("contender", contenders.DIGITS, ids=lambda c: c.experiment)
def test_the_taxonomy_is_read_off_the_protocols(contender):
    config = contender.configure("digits", 0, 100)
    setup = recipes.find(contender.experiment).build(config, DIGITS)
    found = (
        taxonomy.kind_of(setup.model),
        taxonomy.is_dequantized(setup.model),
        taxonomy.has_codes(setup.model),
    )
    assert found == KINDS[contender.experiment]
    assert setup.condition(4) == {}, "all are unconditional"
    assert config.optimizer.warmup_steps < config.steps


def test_models_are_chosen_by_name():
    assert [c.experiment for c in contenders.choose("digits", ["vae", "glow"])] == ["glow", "vae"]
    assert tuple(contenders.choose("mnist")) == contenders.IMAGES
    with pytest.raises(ValueError, match="did you mean glow"):
        contenders.choose("digits", ["gloww"])
    with pytest.raises(ValueError, match="more than once"):
        contenders.choose("digits", ["vae", "vae"])


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--minutes", "0"], "--minutes must be positive, got 0"),
        (["--minutes", "-1"], "--minutes must be positive"),
        (["--dataset", "digts"], "digts"),
        (["--dataset", "ring"], "needs images"),
        (["--models", "gpt"], "not compared on digits"),
        (["--out", "here"], "holds no comparison"),
        (["--out", "here/note"], "is a file"),
    ],
)
def test_bad_input_is_one_clear_line(argv, words, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "note").write_text("mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words) as refusal:
        command.main(argv)
    assert "\n" not in str(refusal.value)
    assert [p.name for p in tmp_path.rglob("*")] == ["here", "note"]


def test_photos_of_any_size_are_compared_by_the_options_that_the_refusal_names(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(6):
            size = (8 + i, 9)
            Image.new("RGB", size).save(tmp_path / "photos" / label / f"{i}.png")
    with pytest.raises(ValueError, match="images differ in size.*give --size 64"):
        command.main(["--dataset", "photos"])
    settings = Settings("photos", 1.0, 0, 10, (8, 6), "random", True, "gray")
    splits = comparing.load_images(settings)
    assert [part.spec.shape for part in splits] == [(8, 6, 1)] * 3
    assert splits.train.augment is not None and splits.test.augment is None
    config = TABLE[0].configure("photos", 0, 10, settings.images)
    assert (config.size, config.crop, config.flip, config.color) == ((8, 6), "random", True, "gray")
    known = json.loads(json.dumps(take_up(tmp_path / "new", settings)))
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / STATE).write_text(json.dumps(known))
    assert take_up(tmp_path / "new", settings) == known
    with pytest.raises(ValueError, match="--color gray -> None"):
        take_up(tmp_path / "new", dataclasses.replace(settings, color=None))


class Halves:
    """Features that cost nothing: sums over the quarters of an image."""

    name = "sums of quarters, 4 features"

    def features(self, x):
        x = np.asarray(x, np.float64).reshape(len(x), 2, 4, 2, 4)
        return x.sum((2, 4)).reshape(len(x), 4)


TINY = {"batch_size": 16, "devices": 1}
TABLE = (
    Contender("vae", "VAE", {"hidden": (8,), "latent_dim": 2}, TINY, most_steps=12),
    # Without a density, and without convolutions, which are slow to compile.
    Contender("autoencoder", "Autoencoder", {"hidden": (8,), "latent_dim": 2}, TINY, most_steps=10),
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A comparison of two, killed once when the first was trained; and the results."""
    out = tmp_path_factory.mktemp("compare") / "digits"
    argv = ["--minutes", "0.2", "--samples", "100", "--out", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "classifier", lambda config: Halves())
        patch.setitem(contenders.CONTENDERS, "digits", TABLE)
        # What a run of any kind writes of itself has its own tests.
        patch.setattr(samples, "write_pictures", lambda *arguments: None)
        patch.setattr(report, "write", lambda *arguments: None)
        patch.setattr(evaluate, "figures_of", lambda *arguments, **options: {})
        plan = comparing._plan
        patch.setattr(  # the speed of one is measured, that of the other need not be
            comparing, "_plan", lambda c, *rest: {"steps": 10} if c is TABLE[1] else plan(c, *rest)
        )

        def drawn_once(draw):
            return pages.svg(draw(True)), "data:image/svg+xml;base64,"

        patch.setattr(pictures, "in_both", drawn_once)

        def killed(*arguments):
            raise InterruptedError

        with pytest.MonkeyPatch.context() as kill:
            kill.setattr(train, "finish", killed)
            with pytest.raises(InterruptedError):
                command.main(argv)
        used = read_json_lines(out / "runs" / "vae" / CLOCK)
        assert command.main(argv) == 0
        assert read_json_lines(out / "runs" / "vae" / CLOCK) == used, "it was trained again"
        yield types.SimpleNamespace(out=out, argv=argv)


def test_what_is_finished_is_not_done_again(done, monkeypatch):
    def never(*arguments, **options):
        raise AssertionError("it trains again")

    monkeypatch.setattr(training, "fit", never)
    monkeypatch.setattr(page, "render", lambda *arguments: "")
    monkeypatch.setattr(pictures, "overview", lambda *arguments: None)
    kept = (done.out / outputs.PAGE).read_text("utf-8")
    before = (done.out / outputs.CSV).read_text()
    assert command.main(done.argv) == 0
    assert (done.out / outputs.CSV).read_text() == before
    (done.out / outputs.PAGE).write_text(kept, "utf-8")


def test_one_model_alone_leaves_the_others_on_the_page(done, monkeypatch):
    monkeypatch.setattr(page, "render", lambda results, about: "")
    monkeypatch.setattr(pictures, "overview", lambda *arguments: None)
    kept = (done.out / outputs.PAGE).read_text("utf-8")
    before = (done.out / outputs.CSV).read_text()
    assert command.main([*done.argv, "--models", "autoencoder"]) == 0
    assert (done.out / outputs.CSV).read_text() == before
    (done.out / outputs.PAGE).write_text(kept, "utf-8")


def test_a_changed_setting_is_refused(done):
    with pytest.raises(ValueError, match="--samples 100 -> 200.*give another --out"):
        command.main([*done.argv, "--samples", "200"])


def test_a_changed_table_is_refused(done, monkeypatch):
    (done.out / "runs" / "vae" / comparing.MEASURED).rename(done.out / "kept")
    wider = Contender("vae", "VAE", {"hidden": (9,), "latent_dim": 2}, TINY, most_steps=12)
    monkeypatch.setitem(contenders.CONTENDERS, "digits", (wider,))
    try:
        with pytest.raises(ValueError, match="another configuration.*--model.hidden.*--out"):
            command.main(done.argv)
    finally:
        (done.out / "kept").rename(done.out / "runs" / "vae" / comparing.MEASURED)


def test_the_table_has_every_column(done):
    with (done.out / outputs.CSV).open() as file:
        rows = {row["experiment"]: row for row in csv.DictReader(file)}
    assert tuple(rows["vae"]) == outputs.COLUMNS
    vae, other = rows["vae"], rows["autoencoder"]
    assert (vae["kind"], other["kind"]) == ("approximate", "implicit")
    low, value, high = (float(vae[f"bits_per_dim{end}"]) for end in ("_low", "", "_high"))
    assert low < value < high
    assert vae["bits_per_dim_kind"] == "bound, 1 sample"
    assert other["bits_per_dim"] == "" and "no density" in other["bits_per_dim_kind"]
    for row in rows.values():
        assert 0.0 <= float(row["precision"]) <= 1.0
        assert float(row["frechet_distance"]) > 0.0
        assert float(row["sample_ms"]) > 0.0
        assert 0.0 < float(row["train_seconds"]) <= 24.0
        assert int(row["steps"]) <= int(row["planned_steps"])
        assert row["failed"] == ""


def test_a_run_of_it_is_a_run_like_any_other(done):
    run = loading.load_run(done.out / "runs" / "vae")
    assert run.record.experiment.name == "vae"
    clock = read_json_lines(done.out / "runs" / "vae" / CLOCK)
    assert clock[-1]["step"] == int(run.state.step)
    assert {"bits_per_dim", "frechet_distance"} <= set(clock[-1])
    plans = json.loads((done.out / comparing.STATE).read_text())["plans"]
    assert plans["vae"]["steps"] == run.record.config.steps <= 12


def test_the_page_needs_nothing_but_itself(done):
    page = (done.out / outputs.PAGE).read_text("utf-8")
    sources = re.findall(r'(?:src|srcset|href)="([^"]{0,30})', page)
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"https?://|@import|\$[a-z{]", page)
    for words in ("tractable", "approximate", "unnormalised", "implicit", "bound, 1 sample"):
        assert words in page
    with Image.open(done.out / outputs.PICTURE) as picture:
        assert len(set(picture.convert("L").tobytes())) > 20
    lines = (done.out / outputs.TABLE).read_text().splitlines()
    assert len({line.count("|") for line in lines[:4]}) == 1


def test_a_model_that_diverges_leaves_a_row(done, monkeypatch, tmp_path):
    def diverges(*arguments):
        raise FloatingPointError("step 3: the loss is nan")

    monkeypatch.setattr(train, "train", diverges)
    monkeypatch.setattr(pictures, "in_both", lambda draw: ("data:image/png,", "data:image/png,"))
    monkeypatch.setattr(comparing, "_plan", lambda *arguments: {"steps": 10})
    assert command.main([*done.argv[:-1], str(tmp_path / "out"), "--models", "vae"]) == 1
    assert "the loss is nan" in (tmp_path / "out" / outputs.TABLE).read_text()
    assert "the loss is nan" in (tmp_path / "out" / outputs.PAGE).read_text()
