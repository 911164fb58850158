"""The list of experiments: what is on record of each, by family, as JSON."""

import json

from experiments import recipes
from experiments.commands.list import experiment_of
from experiments.runner import records


def test_what_is_on_record_stands_beside_the_goal(run):
    said = run("list", "--json")
    rows = {row["experiment"]: row for row in json.loads(said.out)}
    assert list(rows) == list(recipes.experiments())
    record = records.read_all()["vae_digits"]
    (figure,) = (f for f in record.figures if f.at_most == 95.0)
    vae = rows["vae"]
    assert vae["goal"].startswith("nll") and vae["reached"] is True
    assert (vae["value"], vae["seconds"]) == (figure.value, record.seconds)
    line = next(li for li in run("list").out.splitlines() if li.startswith("vae "))
    assert f"{figure.metric} {figure.value:.4g} " in line
    assert line.endswith(f"  {records.duration(record.seconds)}")


def test_a_goal_that_was_missed_is_said_to_be(run):
    rows = {row["experiment"]: row for row in json.loads(run("list", "--json").out)}
    missed = [name for name, row in rows.items() if row["reached"] is False]
    assert missed
    for line in run("list").out.splitlines()[1:]:
        assert ("(not reached)" in line) == (line.split()[0] in missed)


def test_one_family_is_listed_alone(run):
    rows = json.loads(run("list", "--family", "energy", "--json").out)
    own = [e.name for e in recipes.experiments().values() if e.family == "energy"]
    assert [row["experiment"] for row in rows] == own
    assert "--family takes one of autoencoders" in run("list", "--family", "gans").line


def test_a_record_of_other_options_is_not_the_experiments():
    kept = records.read_all()
    assert experiment_of(kept["vae_digits"]) == "vae"
    assert experiment_of(kept["consistency_digits"]) == "consistency"
    assert experiment_of(kept["cgan_mnist"]) is None  # with fewer steps
    assert experiment_of(kept["compare_digits_vae"]) is None
