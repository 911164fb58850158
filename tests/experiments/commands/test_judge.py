"""Human evaluation: trials, intervals, the tables of results, the file of answers."""

from __future__ import annotations

import collections
import csv
import io
import json
import math
import sqlite3

import numpy as np
import pytest

from experiments.commands.judge import intervals, results, store
from experiments.commands.judge.modes import DATA, MODES, Session, Shown
from experiments.commands.judge.store import Answer, Example

ONE = Session("real_or_generated", 3, 6, ("a", "b"), "digits")
TWO = Session("pairs", 3, 5, ("a", "b", "c"), "digits")


def trials(session):
    mode = MODES[session.mode]
    return [mode.trial(session, i) for i in range(mode.total(session))]


def test_half_of_what_is_shown_is_real_and_nothing_is_shown_twice():
    shown = [example for (example,) in trials(ONE)]
    real = [example.number for example in shown if example.source == DATA]
    assert sorted(real) == list(range(12)) == list(range(MODES[ONE.mode].num_real(ONE)))
    fake = {Shown(source, number) for source in (1, 2) for number in range(6)}
    assert {example for example in shown if example.source != DATA} == fake
    assert len(shown) == 24
    assert trials(ONE) == trials(ONE) != trials(ONE._replace(seed=4))


def test_every_pair_of_runs_is_shown_equally_often_and_on_both_sides():
    shown = trials(TWO._replace(num=200))
    assert len(shown) == 600 and all(left.number == right.number for left, right in shown)
    count = collections.Counter((left.source, right.source) for left, right in shown)
    for i, j in ((1, 2), (1, 3), (2, 3)):
        assert count[i, j] + count[j, i] == 200
        assert 70 < count[i, j] < 130  # 100 +- 4 standard deviations
    assert trials(TWO) == trials(TWO) != trials(TWO._replace(seed=4))


@pytest.mark.parametrize(("count", "num"), [(0, 10), (7, 20), (30, 30)])
def test_wilson_s_interval_is_where_the_normal_test_ends(count, num):
    """Its ends p solve |count / num - p| = z sqrt(p (1 - p) / num)."""
    found = intervals.rate(count, num)
    assert found.value == count / num and 0 <= found.low <= found.value <= found.high <= 1
    for end in (found.low, found.high):
        if 1e-9 < end < 1 - 1e-9:
            z = abs(found.value - end) / math.sqrt(end * (1 - end) / num)
            assert z == pytest.approx(1.959964, abs=1e-5)


def test_the_interval_of_a_mean_of_rates_holds_the_truth():
    rng, p, q, num = np.random.default_rng(0), 0.3, 0.05, 40
    draws = [
        intervals.mean_of(*(intervals.rate(rng.binomial(num, share), num) for share in (p, q)))
        for _ in range(300)
    ]
    held = np.mean([found.low <= (p + q) / 2 <= found.high for found in draws])
    assert 0.91 < held < 0.985  # 0.95, and three standard deviations of 300 draws
    assert np.mean([found.value for found in draws]) == pytest.approx((p + q) / 2, abs=0.01)


def test_strengths_of_two_are_a_closed_form():
    found = intervals.bradley_terry([[9, 30], [10, 9]])  # the diagonal does not count
    assert found is not None
    assert found.values == pytest.approx([math.log(3) / 2, -math.log(3) / 2])
    variance = 1 / (40 * 0.75 * 0.25)  # of the log odds log(30 / 10)
    difference = np.array([1, -1])
    assert difference @ found.covariance @ difference == pytest.approx(variance)
    half = 1.959964 * math.sqrt(variance) / 2
    assert found.intervals[0] == pytest.approx([found.values[0] - half, found.values[0] + half])


def test_strengths_of_baseball_s_american_league_of_1987():
    """Agresti, Categorical Data Analysis, table 10.10; figures as R's BradleyTerry2 has them."""
    wins = [
        [0, 7, 9, 7, 7, 9, 11],  # Milwaukee over itself, Detroit, Toronto, New York, Boston,
        [6, 0, 7, 5, 11, 9, 9],  # Cleveland, Baltimore; and so on
        [4, 6, 0, 7, 7, 8, 12],
        [6, 8, 6, 0, 6, 7, 10],
        [6, 2, 6, 7, 0, 7, 12],
        [4, 4, 5, 6, 6, 0, 6],
        [2, 4, 1, 3, 1, 7, 0],
    ]
    found = intervals.bradley_terry(wins)
    assert found is not None
    s, c = found
    assert s - s[-1] == pytest.approx(
        [1.5814, 1.4364, 1.2945, 1.2476, 1.1077, 0.6839, 0.0], abs=1e-4
    )
    errors = np.sqrt(np.maximum(np.diag(c) + c[-1, -1] - 2 * c[:, -1], 0))
    assert errors == pytest.approx([0.3433, 0.3396, 0.3367, 0.3359, 0.3339, 0.3319, 0], abs=1e-4)


@pytest.mark.parametrize(
    "wins", [[[0, 5], [0, 0]], np.zeros((3, 3)), [[0, 2, 0], [2, 0, 0], [1] * 3]]
)
def test_no_finite_strengths(wins):
    assert intervals.bradley_terry(wins) is None


def answers(session, choose):
    return [Answer(i, choose(trial), "t") for i, trial in enumerate(trials(session))]


def test_figures_of_errors():
    """All of a is taken for real and none of b; of 12 real ones, three are taken for generated."""
    given = answers(
        ONE, lambda t: int(t[0].number < 3 if t[0].source == DATA else t[0].source == 2)
    )
    hype, errors = results.tables(ONE, given)
    assert [row.value for row in errors.rows] == [100.0, 0.0, 25.0]
    assert [row.value for row in hype.rows] == [62.5, 12.5]
    assert "12 of 12" not in errors.rows[0].note and "6 of 6" in errors.rows[0].note
    rows = list(csv.DictReader(io.StringIO(results.to_csv(ONE, given))))
    assert len(rows) == 24
    wrong = {name: [r["wrong"] for r in rows if r["shown"] == name] for name in ("a", "b", "data")}
    assert {name: (w.count("1"), len(w)) for name, w in wrong.items()} == {
        "a": (6, 6),
        "b": (0, 6),
        "data": (3, 12),
    }
    unseen = results.tables(ONE, given[:1])[0].rows
    assert all(row.value is None for row in unseen) and "not known yet" in results.lines(
        results.tables(ONE, given[:1])
    )[1]  # fmt: skip


def test_figures_of_preferences():
    def choose(trial):
        """The first in the alphabet, but for the last number."""
        better = 0 if trial[0].source < trial[1].source else 1
        return better if trial[0].number < 4 else 1 - better

    given = answers(TWO, choose)
    strengths, shares = results.tables(TWO, given)
    assert [row.value for row in shares.rows] == [80.0] * 3
    a, b, c = (row.value for row in strengths.rows)
    assert a > b > c and a + b + c == pytest.approx(0) and b == pytest.approx(0, abs=1e-6)
    rows = list(csv.DictReader(io.StringIO(results.to_csv(TWO, given))))
    assert sum(row["preferred"] == "a" for row in rows) == 8
    assert all(row["preferred"] in (row["left"], row["right"]) for row in rows)
    json.dumps(strengths)  # nothing of NumPy is left
    early = results.tables(TWO, given[:1])[0]
    assert all(row.value is None for row in early.rows) and "not known" in early.note


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "deep" / "answers.sqlite"
    examples = [(shown, Example("image/png", b"%d" % shown.number)) for (shown,) in trials(ONE)]
    store.create(made, ONE, ["/x/a", "/x/b"], examples)
    return made


def test_answers_are_in_the_file_at_once_and_in_order(path):
    with store.opened(path) as opened, sqlite3.connect(path) as other:
        assert opened.session == ONE and opened.runs == ["/x/a", "/x/b"]
        assert opened.example(Shown(2, 5)) == Example("image/png", b"5")
        assert opened.answer(0, 1) and opened.answer(1, 0)
        assert not opened.answer(1, 1) and not opened.answer(3, 1)  # another one comes next
        seen = other.execute("SELECT trial, choice FROM answers").fetchall()
        assert seen == [(0, 1), (1, 0)]
        assert not opened.undo(0) and opened.undo(1) and opened.num_answers() == 1
    other.close()
    with store.opened(path) as opened:  # as it was left
        assert [answer[:2] for answer in opened.answers()] == [(0, 1)]


def test_a_file_of_something_else(path, tmp_path):
    (tmp_path / "notes.txt").write_text("nothing that SQLite reads\n" * 50)
    sqlite3.connect(tmp_path / "other.sqlite").execute("CREATE TABLE t (x)").connection.close()
    for name in ("notes.txt", "other.sqlite"):
        with pytest.raises(ValueError, match="no file of judgements"):
            with store.opened(tmp_path / name):
                pass
    with store.opened(path) as opened:
        store.check_same(opened, ONE, ["/x/a", "/x/b"], path)
        with pytest.raises(ValueError, match="seed 3, and 4 is asked for: give another --out"):
            store.check_same(opened, ONE._replace(seed=4), ["/x/a", "/x/b"], path)
        with pytest.raises(ValueError, match="runs /x/a /x/b, and /x/c"):
            store.check_same(opened, ONE, ["/x/c"], path)
