"""Watching models learn: estimates against closed forms, and what is written."""

from __future__ import annotations

import math
import re

import jax
import numpy as np
import pytest
from PIL import Image
from scipy.stats import multivariate_normal

import genjax_models as gm
from experiments.commands.watch import command, learners, watching
from experiments.commands.watch.learners import Learner, Plane
from experiments.commands.watch.mixture import MIXTURE, GaussianMixture
from genjax_models.core import DataSpec
from genjax_models.data import densities

POINTS = DataSpec((2,), num_levels=None, name="points")


def test_the_mixture_is_scipy_s():
    model = GaussianMixture(POINTS, components=3)
    params, _ = jax.jit(model.init)(jax.random.key(0), {})
    mixture = jax.tree.map(np.array, params[MIXTURE])
    mixture["precision"] += 0.3 * np.random.default_rng(0).normal(size=(3, 2, 2))
    mixture["logits"] = np.array([0.0, 1.0, -1.0], np.float32)
    x = np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)
    weights = np.exp(mixture["logits"]) / np.exp(mixture["logits"]).sum()
    total = np.zeros(50)
    for k in range(3):
        raw = mixture["precision"][k]
        inverse = np.tril(raw, -1) + np.diag(np.exp(np.diag(raw)))
        covariance = np.linalg.inv(inverse.T @ inverse)
        total += weights[k] * multivariate_normal(mixture["mean"][k], covariance).pdf(x)
    log_p = jax.jit(model.log_prob)({MIXTURE: mixture}, x)
    np.testing.assert_allclose(log_p, np.log(total), rtol=1e-4, atol=1e-4)
    sample = jax.jit(model.sample, static_argnums=2)
    drawn = np.asarray(sample({MIXTURE: mixture}, jax.random.key(2), 20_000))
    expected = weights @ mixture["mean"]
    np.testing.assert_allclose(drawn.mean(0), expected, atol=5 * drawn.std() / math.sqrt(20_000))
    # Were the samples of another law, the density would not be theirs on the average.
    near = learners.log_density_by_neighbours(x.astype(float), drawn.astype(float), 50)
    assert np.mean(near - np.log(total)) == pytest.approx(0.0, abs=0.06)


def test_neighbours_give_the_divergence_of_normals():
    rng = np.random.default_rng(0)
    x, samples = rng.normal(size=(3000, 2)), rng.normal(size=(20_000, 2)) * 2.0
    log_p = multivariate_normal(np.zeros(2), np.eye(2)).logpdf(x)
    log_q = learners.log_density_by_neighbours(x, samples, 10)
    kl = 2 * (math.log(2.0) + 0.5 / 4.0 - 0.5)
    found = gm.metrics.mean_figure(log_p - log_q)
    assert found.value == pytest.approx(kl, abs=0.05)
    assert found.standard_error < 0.05


def test_the_plane_holds_the_density():
    density, data = densities.ring(), gm.load("ring", "validation")
    plane = watching.plane_of(density, data)
    left, right, bottom, top = plane.extent
    assert right - left == pytest.approx(top - bottom)
    p = np.exp(np.asarray(jax.jit(density.log_prob)(plane.lattice)))
    # Cells are as wide as the modes, nearly: a sum over them is the integral, nearly.
    assert p.sum() * (right - left) ** 2 / plane.side**2 == pytest.approx(1.0, abs=0.01)
    assert plane.x.shape == (watching.POINTS, 2)


def test_a_histogram_is_a_density_and_what_it_measures_is_small_for_the_truth():
    density = densities.ring()
    x = np.asarray(jax.jit(density.sample, static_argnums=1)(jax.random.key(5), 4096))
    extent = (-3.0, 3.0, -3.0, 3.0)
    plane = Plane(extent, 64, x, np.asarray(jax.jit(density.log_prob)(x), np.float64))

    class Truth:
        def sample(self, params, key, num, *, state=None):
            return density.sample(key, num)

    seen, kl = learners.histogram(Truth())({}, {}, plane, jax.random.key(0))
    assert seen.sum() * 36.0 / 64**2 == pytest.approx(1.0, abs=1e-3)
    assert kl.value == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--density", "rings"], "did you mean ring"),
        (["--steps", "0"], "--steps must be positive, got 0"),
        (["--out", "here"], "holds other files"),
        (["--out", "here/note"], "is a file"),
        (["--out", "here/note/below/it"], "here/note is a file"),
    ],
)
def test_bad_input_is_one_clear_line(argv, words, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "note").write_text("mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words) as refusal:
        command.main(argv)
    assert "\n" not in str(refusal.value)


def test_there_are_four_learners_and_only_one_is_implicit():
    models = learners.learners("ring", densities_spec(), steps=100)
    assert len(models) == 4
    assert [m.kind == learners.BY_NEIGHBOURS for m in models] == [False, False, True, False]


def densities_spec():
    return DataSpec((2,), num_levels=None, name="ring")


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """The page of the mixture, once seen by its density and once by its samples."""
    out = tmp_path_factory.mktemp("watch") / "ring"

    def few(name, spec, steps):
        import optax

        model = GaussianMixture(spec, 16)
        return [
            Learner(title, model, optax.adam(5e-2), None, 64, see, kind)
            for title, see, kind in (
                ("by density", learners.density(model), learners.EXACT),
                ("by samples", learners.histogram(model), learners.BY_NEIGHBOURS),
            )
        ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learners, "learners", few)
        patch.setattr(watching, "FRAMES", 4)
        seen = []
        watch = watching.watch
        patch.setattr(watching, "watch", lambda *a: seen.append(watch(*a)) or seen[-1])
        assert command.main(["--density", "ring", "--steps", "200", "--out", str(out)]) == 0
    return out, seen[0]


def test_the_divergence_falls_and_both_ways_to_see_it_agree(watched):
    by_density, by_samples = (np.array([look.kl.value for look in w.looks]) for w in watched[1])
    assert [look.step for look in watched[1][0].looks] == [1, 6, 34, 200]
    assert by_density[-1] < 0.5 * by_density[0]
    np.testing.assert_allclose(by_samples, by_density, atol=0.1)


def test_the_files(watched):
    out = watched[0]
    assert {path.name for path in out.iterdir()} == {command.GIF, command.PAGE}
    with Image.open(out / command.GIF) as gif:
        assert gif.n_frames == 4
        assert gif.info["loop"] == 0
    page = (out / command.PAGE).read_text("utf-8")
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == 5 and all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"https?://|\$[a-z{]", page)
