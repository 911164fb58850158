"""Progressions by rules: a stationary chain whose law, entropy and rules are what they say."""

import itertools

import numpy as np
import pytest

import genjax_models as gm
from genjax_models.data.music import TRIADS, Progressions

SOURCE = Progressions()


def test_it_is_a_stationary_chain():
    p, pi = SOURCE.transition, SOURCE.stationary
    np.testing.assert_allclose(p.sum(1), 1.0)
    np.testing.assert_allclose(pi @ p, pi, atol=1e-12)
    assert abs(pi.sum() - 1) < 1e-12 and pi.min() > 0  # every voicing is sung


def test_probabilities_of_all_windows_sum_to_one():
    chords = SOURCE.voicings
    pairs = np.array([(a, b) for a in chords for b in chords])
    assert np.exp(SOURCE.log_prob(pairs)).sum() == pytest.approx(1.0)
    wrong = pairs[:1].copy()
    wrong[0, 1, 0] += 1
    assert SOURCE.log_prob(wrong)[0] == -np.inf and not SOURCE.follows(wrong).any()


def test_samples_are_of_that_law():
    x = SOURCE.sample(400, 200, seed=3)
    first = -(SOURCE.stationary * np.log(SOURCE.stationary)).sum()
    nats = -SOURCE.log_prob(x)
    expected = first + 199 * SOURCE.entropy_rate
    assert abs(nats.mean() - expected) < 4 * nats.std() / 20  # four standard errors
    assert SOURCE.follows(x).all()
    np.testing.assert_array_equal(x, SOURCE.sample(400, 200, seed=3))
    assert (x != SOURCE.sample(400, 200, seed=4)).any()


def test_the_rules_are_kept():
    x = SOURCE.sample(100, 50).astype(int)
    soprano, alto, tenor, bass = np.moveaxis(x, -1, 0)
    assert (soprano > alto).all() and (alto > tenor).all() and (tenor > bass).all()
    assert (soprano - tenor < 12).all()
    assert {tuple(sorted(set(chord % 12))) for chord in x.reshape(-1, 4)} == {
        tuple(sorted(triad)) for triad in TRIADS
    }
    roots = {tuple(sorted(triad)): triad[0] for triad in TRIADS}
    assert all(roots[tuple(sorted(set(c % 12)))] == c[3] % 12 for c in x.reshape(-1, 4))
    for i, j in itertools.combinations(range(4), 2):  # no parallel fifths or octaves
        before, after = ((x[:, s, i] - x[:, s, j]) % 12 for s in (slice(-1), slice(1, None)))
        move = np.diff(x, axis=1)
        together = (np.sign(move[..., i]) == np.sign(move[..., j])) & (move[..., i] != 0)
        assert not (together & (before == after) & np.isin(before, (0, 7))).any()


def test_it_is_loaded_by_name():
    test = gm.load("progressions", "test", window=16)
    assert len(test) == 200 * 4 and test.spec.shape == (16, 4)
    assert np.isfinite(SOURCE.log_prob(test.arrays["x"])).all()
    assert gm.load("progressions", "validation[:10]").spec.shape == (32, 4)
    with pytest.raises(ValueError, match="temperature is 0"):
        Progressions(0)
