"""Records of figures, and the page that is written from them."""

import json
import shlex

import pytest

from experiments import recipes
from experiments.commands import cli, results
from experiments.runner import records
from experiments.runner.experiment import Goal
from experiments.runner.records import Figure, Record

KEPT = records.read_all()


def record(**changes):
    figures = (Figure("nll", 90.0, "nats", num=447, at_most=95.0), Figure("coverage", 0.5))
    given = {
        "summary": "A VAE", "family": "autoencoders", "command": "python -m experiments train vae",
        "seeds": (0,), "seconds": 10.0, "timed": "training", "commit": "c0ffee",
        "versions": {"jax": "0.10"}, "machine": "two cores", "figures": figures,
    }  # fmt: skip
    return Record(**{**given, **changes})


def test_the_page_is_what_the_records_give():
    assert results.PAGE.read_text("utf-8") == results.page(KEPT), (
        "experiments/RESULTS.md is not what the records give: run `python -m experiments results`"
    )


def experiment_of(record):
    words = shlex.split(record.command)
    return words[words.index("train") + 1] if "train" in words else None


def records_of(experiment):
    """Those of the experiment as it is configured: their command is its name alone."""
    command = f"python -m experiments train {experiment.name}"
    return [record for record in KEPT.values() if record.command == command]


MEASURED = [e for e in recipes.experiments().values() if e.goal and records_of(e)]


@pytest.mark.parametrize("experiment", MEASURED, ids=lambda e: e.name)
def test_an_experiments_goal_is_its_records(experiment):
    bounds = {(f.at_most, f.at_least) for r in records_of(experiment) for f in r.figures}
    assert (experiment.goal.at_most, experiment.goal.at_least) in bounds


@pytest.mark.parametrize("name", KEPT)
def test_a_record_names_an_experiment_that_there_is_and_numbers_that_can_be(name):
    kept = KEPT[name]
    if (experiment := experiment_of(kept)) is not None:
        recipes.find(experiment)
    assert kept.figures and kept.seeds and kept.machine
    metrics = [figure.metric for figure in kept.figures]
    assert len(set(metrics)) == len(metrics)
    for figure in kept.figures:
        if figure.interval:
            assert figure.low <= figure.value <= figure.high
        else:
            assert figure.low is None and figure.high is None


def test_most_goals_have_a_record():
    assert len(MEASURED) >= 20


def test_a_record_is_read_as_it_was_written(tmp_path):
    written = record(note="β ‖ |", seconds=None, commit=None)
    records.write(tmp_path / "a.json", written)
    assert records.read_all(tmp_path) == {"a": written}


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"summary": 3}'])
def test_a_file_that_holds_no_record_is_refused_by_name(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json holds no record"):
        records.read(tmp_path / "a.json")


def test_a_field_that_no_record_has_is_refused(tmp_path):
    records.write(tmp_path / "a.json", record())
    values = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps({**values, "colour": "red"}))
    with pytest.raises(ValueError, match="colour"):
        records.read(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("value", "bounds", "reached"),
    [
        (95.0, {"at_most": 95.0}, True),
        (95.1, {"at_most": 95.0}, False),
        (95.0, {"at_least": 95.0}, True),
        (94.9, {"at_least": 95.0}, False),
        (1.0, {"at_most": 2.0, "at_least": 1.5}, False),
        (float("nan"), {"at_most": 95.0}, False),
        (1.0, {}, None),
    ],
)
def test_a_goal_is_reached_at_its_bound_and_not_beyond(value, bounds, reached):
    assert Figure("m", value, **bounds).reached is reached


def test_seeds_of_one_run_are_one_record_with_their_mean_and_range():
    command = "python -m experiments train vae --seed 1 --run-dir b"
    other = record(seeds=(1,), seconds=20.0, command=command)
    higher = tuple(Figure(f.metric, f.value + 2, f.unit, at_most=f.at_most) for f in other.figures)
    joined = records.join_seeds([record(), record(**{**vars(other), "figures": higher})])
    assert (joined.seeds, joined.seconds) == ((0, 1), 15.0)
    nll = joined.figures[0]
    assert (nll.value, nll.low, nll.high, nll.reached) == (91.0, 90.0, 92.0, True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "give each once"),
        ({"seeds": (1,), "commit": "beef"}, "commit is c0ffee and beef"),
        ({"seeds": (1,), "command": "python -m experiments train vae --steps 3"}, "--steps 3"),
        ({"seeds": (1,), "figures": ()}, "has measured no nll"),
    ],
)
def test_runs_that_differ_in_more_than_their_seed_are_no_one_record(changes, said):
    with pytest.raises(ValueError, match=said):
        records.join_seeds([record(), record(**changes)])


def test_a_row_says_what_was_measured_and_whether_the_goal_was_reached():
    missed = Figure("roc | curve", 0.9, low=0.8, high=0.95, interval="95 %", at_least=0.95)
    page = results.page({"a": record(figures=(*record().figures, missed))})
    assert "| nll, 447 examples | **90** nats | ≤ 95 |" in page
    assert "| roc \\| curve | 0.9 (0.8 to 0.95; 95 %) | ≥ 0.95: not reached |" in page
    assert page.count("`python -m experiments train vae`") == 1


def test_a_runs_record_holds_its_goal_and_the_commit():
    result = {
        "command": "python -m experiments train vae", "seed": 3, "seconds": 1.5, "examples": 447,
        "versions": {"jax": "0.10"}, "devices": "1 x cpu",
        "metrics": {"nll": {"value": 91.0, "unit": "nats", "kind": "exact"}},
    }  # fmt: skip
    made = records.of_result(result, "A VAE", "autoencoders", Goal("nll", at_most=95.0))
    assert made.figures == (Figure("nll", 91.0, "nats", kind="exact", num=447, at_most=95.0),)
    assert made.seeds == (3,)


def test_results_takes_runs_in_and_writes_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(records, "FOLDER", tmp_path / "kept")
    monkeypatch.setattr(results, "PAGE", tmp_path / "RESULTS.md")
    (tmp_path / "kept").mkdir()
    for seed in (0, 1):
        run = tmp_path / f"vae-digits-seed{seed}"
        run.mkdir()
        command = f"python -m experiments train vae --seed {seed}"
        records.write(run / records.RECORD, record(seeds=(seed,), command=command))
    runs = [str(tmp_path / f"vae-digits-seed{seed}") for seed in (0, 1)]
    assert cli.main(["results", "add", *runs]) == 0
    assert (tmp_path / "kept" / "vae_digits.json").is_file()
    assert "| 0, 1 |" in (tmp_path / "RESULTS.md").read_text("utf-8")
    assert "1 records" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["add"], ["add", "nowhere"], ["remove"]])
def test_results_refuses_in_one_line(words, capsys):
    assert cli.main(["results", *words]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_trained_run_leaves_its_record(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["train", "vae", "--steps", "2", "--batch-size", "32", "--model.hidden", "8"]
    assert cli.main(words) == 0
    kept = records.read(tmp_path / "runs" / "vae-digits-seed0" / records.RECORD)
    nll = next(figure for figure in kept.figures if figure.metric == "nll")
    assert (nll.at_most, nll.num, nll.reached) == (95.0, 447, False)
    assert kept.command.startswith("python -m experiments train vae --steps 2")
    assert kept.versions and kept.seconds and kept.family == "autoencoders"
