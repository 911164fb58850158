"""Metrics at the ends of their domains: no sample, one, two, constant, alike and huge ones."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import genjax_models as gm
from genjax_models.core.types import DataSpec
from genjax_models.metrics import (
    Gaussian,
    Inception,
    aupr,
    auroc,
    evaluate_likelihood,
    frechet_distance,
    frechet_floor,
    inception_score,
    kernel_distance,
    median_bandwidth,
    memorization,
    mmd,
    nearest_neighbours,
    prdc,
    sliced_wasserstein,
    wasserstein,
)
from genjax_models.metrics import classifier as classifiers
from genjax_models.metrics.wasserstein import wasserstein_1d

KEY = jax.random.key(0)
RANDOM = np.random.default_rng(0)
A, B = RANDOM.normal(size=(2, 60, 3))
ONES = np.ones((60, 3))


def frechet(x, y):
    return frechet_distance(x, y, groups=None).value


def mmd_value(x, y, *kernel):
    return mmd(x, y, *kernel, groups=None).value


def shares(x, y):
    return tuple(figure.value for figure in prdc(x, y, groups=None))


def sliced(x, y):
    return float(sliced_wasserstein(x, y, KEY, 200))


def line(x, y):
    return float(wasserstein_1d(x[:, 0], y[:, 0]))


PAIRS = {
    "frechet": frechet,
    "frechet with its error": frechet_distance,
    "mmd": mmd_value,
    "mmd with its error": mmd,
    "kernel_distance": lambda x, y: kernel_distance(x, y, subsets=2, subset_size=10),
    "median_bandwidth": median_bandwidth,
    "prdc": shares,
    "prdc with its errors": prdc,
    "memorization": lambda x, y: memorization(x, y, B, near=0.1),
    "nearest_neighbours": nearest_neighbours,
    "sliced": sliced,
    "line": line,
    "wasserstein": wasserstein,
}


@pytest.mark.parametrize("name", PAIRS)
def test_no_sample_and_what_is_not_finite_are_refused(name):
    metric = PAIRS[name]
    for bad in (A[:0], np.where(A > 1, np.nan, A), np.where(A > 1, np.inf, A), 1e200 * A):
        for pair in ((bad, A), (A, bad)):
            with pytest.raises(ValueError, match="shape|NaN or infinite|beyond floating point"):
                metric(*pair)


@pytest.mark.parametrize("num", [1, 2])
def test_one_and_two_samples_have_the_figure_of_their_formula_or_are_too_few(num):
    x = A[:num]
    for name in (
        "frechet",
        "frechet with its error",
        "mmd with its error",
        "kernel_distance",
        "prdc",
    ):
        with pytest.raises(ValueError, match="needs at least"):
            PAIRS[name](x, B)
    assert PAIRS["nearest_neighbours"](x, x).distance.tolist() == [0.0] * num
    assert wasserstein(x, x + 2.0) == pytest.approx(2.0 * math.sqrt(3))
    assert line(x, x + 2.0) == pytest.approx(2.0, rel=1e-5)
    assert line(A[:1], B) == pytest.approx(np.sqrt(((A[0, 0] - B[:, 0]) ** 2).mean()), rel=1e-5)
    if num == 1:
        with pytest.raises(ValueError, match="there are 1 samples, and the maximum mean"):
            mmd_value(x, B)
        with pytest.raises(ValueError, match="1 samples, and the nearness of samples needs"):
            memorization(x, A, B, near=0.1)
        assert auroc([1.0], [0.0, 2.0]).interval is None
    else:
        k = (x @ x.T / 3 + 1) ** 3
        cross = (x @ B.T / 3 + 1) ** 3
        own = (B @ B.T / 3 + 1) ** 3
        within = (own.sum() - np.trace(own)) / (60 * 59)
        assert mmd_value(x, B) == pytest.approx(k[0, 1] + within - 2 * cross.mean())
    score = inception_score(np.array([[800.0, 0.0], [0.0, 800.0]])[:num], splits=1)
    assert score.value == pytest.approx(num) and math.isnan(score.standard_error)


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e30])
def test_constant_samples_have_the_figures_of_points(size):
    """A collapsed model's, and of two points at a distance of 2 sqrt(3)."""
    x, y = size * ONES, 3.0 * size * ONES
    apart = 2.0 * size * math.sqrt(3)
    assert frechet(x, y) == pytest.approx(apart**2)
    assert frechet_distance(x, y).standard_error == pytest.approx(0.0, abs=1e-9 * apart**2)
    assert wasserstein(x, y) == pytest.approx(apart)
    assert line(x, y) == pytest.approx(2.0 * size, rel=1e-5)
    assert sliced(x, y) == pytest.approx(apart / math.sqrt(3), rel=0.15)
    assert nearest_neighbours(x, y).distance[0] == pytest.approx(apart)
    kernel = Gaussian(apart)
    assert mmd_value(x, y, kernel) == pytest.approx(2.0 - 2.0 * math.exp(-0.5))
    assert median_bandwidth(x, y) == pytest.approx(apart)
    assert shares(x, y) == (0.0, 0.0, 0.0, 0.0)
    assert shares(x, x)[:2] == (1.0, 1.0) and shares(x, x)[3] == 1.0
    with pytest.raises(ValueError, match="more than half of the samples are alike"):
        median_bandwidth(x, x)


@pytest.mark.parametrize("shift", [0.0, 1e3])
@pytest.mark.parametrize("copied", [False, True])
def test_alike_sets_are_at_the_floor_whether_they_are_one_array_or_two(copied, shift):
    x = A + shift
    y = x.copy() if copied else x
    assert frechet(x, y) == pytest.approx(0.0, abs=1e-7)
    assert wasserstein(x, y) == sliced(x, y) == line(x, y) == 0.0
    precision, recall, _, coverage = shares(x, y)
    assert precision == recall == coverage == 1.0
    assert memorization(x, y, B, near=0.1).duplicates.value == 1.0
    assert auroc(x, y).value == 0.5 and aupr(x, y, resamples=None).value == pytest.approx(0.5)
    # Without bias: within a set pairs of one sample with itself do not count, between two they do.
    kernel = Gaussian(1.0)
    k = np.exp(-0.5 * ((x[:, None] - x) ** 2).sum(-1))
    expected = 2.0 * (k.sum() - 60) / (60 * 59) - 2.0 * k.mean()
    assert mmd_value(x, y, kernel) == pytest.approx(expected, rel=1e-6)
    assert mmd(x, y, kernel).value == pytest.approx(expected, rel=1e-6)


def test_one_array_twice_has_the_distance_of_two_copies():
    """Of constants it is 0: k is the same for all pairs."""
    assert mmd_value(ONES, ONES) == pytest.approx(0.0, abs=1e-12)
    assert mmd_value(A, A) == pytest.approx(mmd_value(A, A.copy()), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-10, 1e10, 1e30])
def test_figures_scale_with_their_samples(scale):
    x, y = scale * A, scale * B
    assert frechet(x, y) == pytest.approx(scale**2 * frechet(A, B), rel=1e-9)
    assert wasserstein(x, y) == pytest.approx(scale * wasserstein(A, B), rel=1e-9)
    assert wasserstein(x, y, order=9.0) == pytest.approx(scale * wasserstein(A, B, order=9.0))
    assert sliced(x, y) == pytest.approx(scale * sliced(A, B), rel=1e-5)
    assert line(x, y) == pytest.approx(scale * line(A, B), rel=1e-5)
    assert median_bandwidth(x, y) == pytest.approx(scale * median_bandwidth(A, B), rel=1e-9)
    np.testing.assert_allclose(shares(x, y), shares(A, B))
    gradient = jax.grad(lambda a: sliced_wasserstein(a, y, KEY, 20))(jnp.asarray(x, jnp.float32))
    assert jnp.isfinite(gradient).all() and jnp.abs(gradient).max() > 0


def test_a_kernel_beyond_floating_point_is_refused():
    with pytest.raises(ValueError, match="kernel of them is beyond floating point"):
        mmd_value(1e60 * A, 1e60 * B)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: frechet_distance(A, B, groups=1), "groups"),
        (lambda: prdc(A, B, groups=1), "groups"),
        (lambda: mmd(A, B, groups=0), "groups"),
        (lambda: frechet_floor(A, 60, KEY, splits=0), "splits"),
        (lambda: frechet_floor(A, 0, KEY), "num"),
        (lambda: kernel_distance(A, B, subsets=0), "subsets"),
        (lambda: median_bandwidth(A, B, most=0), "most"),
        (lambda: inception_score(A, splits=0), "splits"),
        (lambda: sliced_wasserstein(A, B, KEY, 0), "projections"),
        (lambda: Gaussian(0.0), "bandwidth"),
    ],
)
def test_options_of_nothing_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=f"{name} is 0|{name} is 1|{name} is 0.0"):
        call()


@dataclasses.dataclass(frozen=True)
class Given:
    """A model whose negative log-probability of example i is `nats[i]`."""

    nats: tuple[float, ...]
    spec: DataSpec = DataSpec((1,), None, name="given")

    def log_prob(self, params, x, *, key=None, state=None):
        return -jnp.asarray(self.nats, jnp.float32)[x[:, 0].astype(int)]


@pytest.mark.parametrize(
    ("nats", "mean", "error"),
    [
        ([2.0], 2.0, math.inf),
        ([2.0, 4.0], 3.0, 1.0),
        ([5.0] * 7, 5.0, 0.0),
        ([3e38] * 4, 3e38, 0.0),
        ([1.0, math.inf], math.inf, math.inf),
        ([1.0, math.nan], math.nan, math.inf),
    ],
)
def test_likelihoods_of_few_alike_and_huge_numbers(nats, mean, error):
    model, data = Given(tuple(nats)), gm.Dataset.from_arrays(np.arange(len(nats))[:, None] * 1.0)
    found = evaluate_likelihood(model, {}, data, KEY)
    assert found.nats == pytest.approx(mean, rel=1e-6, nan_ok=True) and found.num == len(nats)
    assert found.standard_error == pytest.approx(error)
    once = gm.evaluate(model, {}, data, KEY)
    assert once["nll"] == pytest.approx(mean, rel=1e-6, nan_ok=True)


def reader(levels, inception):
    """What reads images of 8 x 8, with no parameters: it is to refuse before it asks for them."""
    if inception:
        return Inception({}, levels).features
    model = classifiers.Classifier(DataSpec((8, 8, 1), levels, 10, name="small"))
    return lambda x: classifiers.read(model, {}, x)


@pytest.mark.parametrize("inception", [False, True])
@pytest.mark.parametrize("levels", [17, 256])
def test_images_in_another_range_are_refused(levels, inception):
    read, top = reader(levels, inception), levels - 1
    x = RANDOM.integers(0, levels, (5, 8, 8, 1))
    x[0, 0, 0], x[0, 0, 1] = 0, top
    dtype = np.uint8
    wrong = {
        "0..1": x / top,
        "0..1 cut to whole numbers": (x / top).astype(dtype),
        "-1..1": 2.0 * x / top - 1.0,
        "x/16": x / 16.0,
        "more levels": x.astype(np.int32) * 256 // levels + 300,
        "negative": x.astype(np.int16) - 1,
        "one too many": x.astype(np.int16) + 1,
        "nan": np.where(x == top, np.nan, x),
        "infinite": np.where(x == top, np.inf, x),
        "words": x.astype(str),
    }
    for name, images in wrong.items():
        with pytest.raises(ValueError, match=f"{top}|numbers") as refusal:
            read(images)
        assert "\n" not in str(refusal.value), name
    for value in (0, 3, top):
        with pytest.raises(ValueError, match=f"the images are {value} everywhere .* one value"):
            read(np.full_like(x, value))
    with pytest.raises(ValueError, match="shape|was given"):
        read(x[:0])


def test_whole_and_real_numbers_of_the_range_are_read_alike():
    model = classifiers.Classifier(DataSpec((8, 8, 1), 17, 10, name="small"), channels=(4,))
    x = RANDOM.integers(0, 17, (3, 8, 8, 1)).astype(np.uint8)
    params, _ = model.init(KEY, {"x": jnp.asarray(x)})
    expected = classifiers.read(model, params, x)
    for same in (x.astype(np.float32), x.astype(np.float64), x.astype(np.int32)):
        for found, value in zip(classifiers.read(model, params, same), expected, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-6)
    # Two levels are two values, and a bool is a number.
    binary = classifiers.Classifier(DataSpec((8, 8, 1), 2, 10, name="binary"), channels=(4,))
    features, _ = classifiers.read(binary, params, x > 8)
    np.testing.assert_allclose(
        features, classifiers.read(binary, params, (x > 8).astype(np.uint8))[0], rtol=1e-6
    )
