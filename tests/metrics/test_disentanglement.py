"""Figures of codes against codes whose figures are known: perfect, useless, mixed, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genjax_models.metrics import (
    dci,
    dci_from_importances,
    factor_vae_score,
    fixed_factor_sampler,
    linear_probe,
    mig,
    mutual_information,
    sap,
)

SIZES = (3, 4, 8)
NUM = 1920
CATEGORICAL = (True, False, False)


@pytest.fixture(scope="module")
def factors():
    """Every combination equally often, in random order."""
    every = np.indices(SIZES).reshape(3, -1).T
    return np.random.default_rng(0).permutation(np.repeat(every, NUM // len(every), axis=0))


@pytest.fixture(scope="module")
def mixed(factors):
    """Codes that are about all factors, one more than the others."""
    turned = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    return factors @ (turned + np.eye(3)) + np.random.default_rng(2).normal(0, 0.1, factors.shape)


def all_figures(codes, factors):
    scale = codes.std(0)
    return np.array(
        [
            mig(codes, factors),
            sap(codes, factors, categorical=CATEGORICAL),
            factor_vae_score(fixed_factor_sampler(codes, factors), 3, scale, votes=300),
            *dci(codes, factors, categorical=CATEGORICAL),
        ]
    )


def test_perfect_codes(factors):
    """One code a factor, and one that is noise; SAP's chance of one in three is taken off."""
    noise = np.random.default_rng(0).normal(size=(NUM, 1))
    codes = np.concatenate([2.0 * factors[:, ::-1], noise], axis=1)
    expected = [1.0, 1 - (1 / 3) / 3, 1.0, 1.0, 1.0, 1.0]
    assert all_figures(codes, factors) == pytest.approx(expected, abs=0.02)
    assert linear_probe(codes, factors, categorical=CATEGORICAL) == pytest.approx([1, 1, 1])


def test_codes_that_know_nothing(factors):
    codes = np.random.default_rng(0).normal(size=(NUM, 4))
    found = all_figures(codes, factors)
    assert found[[0, 1, 3, 4]] == pytest.approx([0, 0, 0, 0], abs=0.03)
    assert found[2] == pytest.approx(1 / 3, abs=3 * math.sqrt(2 / 9 / 300))
    assert found[5] < 0.2  # a third of a third, by guessing
    probe = linear_probe(codes, factors, categorical=CATEGORICAL)
    assert probe == pytest.approx([1 / 3, 0, 0], abs=0.08)


def test_order_sign_and_scale_of_codes_do_not_count(factors, mixed):
    found = all_figures(mixed, factors)
    other = all_figures(mixed[:, [2, 0, 1]] * np.array([-1.0, 3.0, 0.5]) + 7.0, factors)
    assert found[[0, 1]] == pytest.approx(other[[0, 1]], rel=1e-6)
    assert found == pytest.approx(other, abs=0.06)  # forests and draws have chance in them
    assert (found > 0.02).all() and (found[[0, 1, 3, 4]] < 0.9).all()


def test_two_codes_of_the_same_factor_leave_no_gap(factors):
    codes = np.concatenate([factors, factors], axis=1).astype(float)
    assert mig(codes, factors) == pytest.approx(0, abs=1e-9)
    assert sap(codes, factors, categorical=CATEGORICAL) == pytest.approx(0, abs=1e-9)
    assert dci(codes, factors, categorical=CATEGORICAL).disentanglement > 0.99


def test_information_by_hand():
    """A bit that is read wrongly one time in four: ln 2 - H(1/4); another is not looked at."""
    v = np.repeat([0, 1], 100)
    z = np.concatenate([np.repeat([0.0, 1.0], [75, 25]), np.repeat([0.0, 1.0], [25, 75])])
    other = np.tile([0.0, 1.0], 100)
    codes, factors = np.stack([z, other], 1), v[:, None]
    expected = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    assert mutual_information(codes, factors) == pytest.approx(
        np.array([[expected], [0.0]]), abs=1e-9
    )
    assert mig(codes, factors) == pytest.approx(expected / math.log(2))
    assert sap(codes, factors) == pytest.approx(0.5**2)  # their correlation is 1/2
    assert sap(codes, factors, categorical=[True]) == pytest.approx(0.75 - 0.5)


def test_importances_by_hand():
    """Code 0 is about both factors alike; code 1, which counts a third as much, about one."""
    disentanglement, completeness = dci_from_importances([[3, 3], [2, 0]])
    assert disentanglement == pytest.approx(0.75 * 0 + 0.25 * 1)
    entropy = -(0.6 * math.log2(0.6) + 0.4 * math.log2(0.4))
    assert completeness == pytest.approx(((1 - entropy) + 1) / 2)
    assert dci_from_importances(np.eye(4)[[2, 0, 3, 1]]) == pytest.approx((1, 1))
    assert dci_from_importances(np.ones((3, 4))) == pytest.approx((0, 0))


def test_the_stillest_code_is_found_whatever_its_scale():
    """Code k does not move while factor k is fixed; one code is switched off altogether."""

    def draw(random, k, num):
        codes = random.normal(size=(num, 4)) * np.array([1.0, 50.0, 5.0, 1e-6])
        codes[:, k] = 3.0
        return codes

    assert factor_vae_score(draw, 3, [1.0, 50.0, 5.0, 1e-6], votes=100) == 1.0


def test_a_inactive_code_predicts_nothing_in_sap(factors):
    codes = np.stack([factors[:, 1], 1e-4 * factors[:, 1]], axis=1)
    assert sap(codes, factors[:, 1:2]) == pytest.approx(1.0)
    assert sap(codes * [1, 1e4], factors[:, 1:2]) == pytest.approx(0.0)


@pytest.mark.parametrize("scale", [1.0, 1e-9, 300.0])
def test_where_no_code_is_inactive_scales_do_not_count(factors, mixed, scale):
    off, by = np.zeros(3, bool), np.array([scale, 1.0, 1.0])

    def figures(codes, **kwargs):
        vote = factor_vae_score(
            fixed_factor_sampler(codes, factors), 3, codes.std(0), votes=100, **kwargs
        )
        return sap(codes, factors, categorical=CATEGORICAL, **kwargs), vote

    assert figures(mixed * by, inactive=off) == pytest.approx(figures(mixed), rel=1e-6)
    if scale != 1.0:  # by the rule one of them, or all the others, would be off
        assert figures(mixed * by) != pytest.approx(figures(mixed), rel=1e-6)
        by_hand = np.array([0, 1, 1]) if scale > 1 else np.array([1, 0, 0])
        assert figures(mixed * by) == figures(mixed * by, inactive=by_hand)


@pytest.mark.parametrize("marks", [[0, 1], [[0, 1, 0]], [0, 1, 2], ["a", "b", "c"]])
def test_marks_are_one_a_code(factors, mixed, marks):
    with pytest.raises(ValueError, match="give 3 marks, one a code"):
        sap(mixed, factors, inactive=marks)
    with pytest.raises(ValueError, match="give 3 marks, one a code"):
        factor_vae_score(fixed_factor_sampler(mixed, factors), 3, mixed.std(0), inactive=marks)
    with pytest.raises(ValueError, match=r"codes \[0\] never vary: mark them"):
        draw = fixed_factor_sampler(mixed, factors)
        factor_vae_score(draw, 3, mixed.std(0) * [0, 1, 1], inactive=[0, 0, 0])


@pytest.mark.parametrize(
    ("codes", "wrong", "said"),
    [
        (np.zeros((20, 2)), np.arange(10)[:, None], r"codes have shape \(20, 2\)"),
        (np.full((20, 2), np.nan), np.arange(20)[:, None], "NaN"),
        (np.zeros((20, 2)), np.zeros((20, 1)), "factors are float64"),
        (np.zeros((20, 2)), np.zeros((20, 1), int), "factor 0 is 0 everywhere"),
        (np.zeros((5, 2)), np.arange(5)[:, None], "5 examples: at least 10"),
        (np.zeros((20, 1)), np.arange(20)[:, None], "there is one code"),
    ],
)
def test_bad_arrays(codes, wrong, said):
    for measure in (mig, sap):
        with pytest.raises(ValueError, match=said):
            measure(codes, wrong)


def test_bad_factors(factors):
    with pytest.raises(ValueError, match="2 marks and there are 3"):
        sap(factors.astype(float), factors, categorical=[True, False])
    with pytest.raises(ValueError, match="no code varies"):
        factor_vae_score(lambda random, k, num: np.zeros((num, 2)), 2, [0.0, 0.0])
    with pytest.raises(ValueError, match=r"shape \(2, 1\)"):
        dci_from_importances([[1.0], [0.0]])
