"""Commands that put a trained run to use: anomalies, edits, a rare kind, drawn examples."""

import numpy as np
import pytest
from PIL import Image

from experiments.commands import anomaly, edit
from experiments.commands import augment as augmentation
from experiments.commands import debias as debiasing
from experiments.recipes.vae_gan import VAEGANSettings
from experiments.runner.config import Config
from experiments.runner.datasets import load_like, load_splits
from genjax_models.core import DataSpec
from genjax_models.data import Dataset


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    """Images of another kind than digits, as a file."""
    path = tmp_path_factory.mktemp("data") / "stripes.npz"
    x = np.zeros((40, 8, 8), np.uint8)
    x[:, ::2] = 255
    np.savez(path, x=x, y=np.arange(40) % 2)
    return path


def test_labels_left_out_are_in_the_test_split_alone():
    splits = load_splits(Config(VAEGANSettings(), without_labels=(4, 7)))
    for part, known in zip(splits, (False, False, True), strict=True):
        assert (4 in part.arrays["label"]) == known and 3 in part.arrays["label"]


def test_a_run_tells_digits_from_stripes(finished, stripes, capsys):
    arguments = [str(finished), "--against", str(stripes), "--num", "40", "--samples", "20"]
    assert anomaly.main(arguments) == 0
    head, *lines = capsys.readouterr().out.strip().splitlines()[1:]
    assert head.split()[:3] == ["against", "score", "AUROC"]
    found = {line.split()[1]: float(line.split()[2]) for line in lines}
    assert set(found) == {
        "nll", "reconstruction_error", "typicality", "likelihood_ratio", "sample_distance",
    }  # fmt: skip
    assert found["nll"] > 0.9 and lines[0].split()[2] == f"{max(found.values()):.4f}"


def test_photos_are_brought_to_the_run_s_size_and_colour(tmp_path):
    for i, size in enumerate([(20, 11), (9, 30), (8, 8)]):
        Image.new("RGB", size, (255, 0, 0)).save(tmp_path / f"{i}.png")
    for shape, levels in (((8, 6, 1), {76}), ((5, 5, 3), {0, 255})):
        found = load_like(DataSpec(shape), str(tmp_path))
        assert found.spec.shape == shape and len(found) == 3
        assert set(np.unique(found.arrays["x"])) == levels


def test_a_run_without_anything_to_compare_with_is_refused(finished):
    with pytest.raises(ValueError, match="--against"):
        anomaly.main([str(finished), "--against"])


@pytest.mark.parametrize("what", ["attribute"])
def test_edits_leave_a_picture(finished, tmp_path, what, monkeypatch, capsys):
    monkeypatch.setattr(edit, "figures", lambda run, edited: [])  # which train a classifier
    assert edit.main([str(finished), "--what", what, "--out", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert edit.LAYOUTS[what] in capsys.readouterr().out


def test_masks_hide_what_they_say():
    assert edit.upper_half((8, 8, 1)).sum() == 32 and edit.upper_half((8, 8, 1))[0].all()
    middle = edit.around_the_middle((8, 8, 1))
    assert (~middle).sum() == 16 and not middle[2:6, 2:6].any()


def test_a_rare_kind_is_what_was_changed():
    x = np.random.default_rng(0).integers(0, 17, (100, 8, 8, 1)).astype(np.uint8)
    data = Dataset.from_arrays(x, np.arange(100) % 10, num_levels=17)
    changed, rare = debiasing.with_rare_kind(data, 0.05, debiasing.negative, seed=0)
    assert rare.sum() == 5
    np.testing.assert_array_equal(changed.arrays["x"][rare], 16 - x[rare])
    np.testing.assert_array_equal(changed.arrays["x"][~rare], x[~rare])
    np.testing.assert_array_equal(debiasing.turned(x, 17)[:, 0, :, 0], x[:, :, -1, 0])


def test_debias_compares_pairs(capsys):
    arguments = debiasing.DebiasArguments(
        "digits", share=0.03, steps=2, every=1, seeds=(0,), hidden=(8,), latent_dim=2
    )
    table = debiasing.compare(arguments)
    assert table.shape == (1, 2, 3) and ((table >= 0) & (table <= 100)).all()
    np.testing.assert_allclose(table[..., 2], 0.97 * table[..., 0] + 0.03 * table[..., 1])
    assert "the rare kind, 3.0 % of the images" in capsys.readouterr().out


def test_few_images_make_small_batches(monkeypatch):
    seen = []

    def fit(model, data, optimizer, *, batch_size, **options):
        seen.append((len(data), batch_size))
        raise InterruptedError

    monkeypatch.setattr("genjax_models.fit", fit)
    with pytest.raises(InterruptedError):
        augmentation.compare(augmentation.AugmentArguments(), 2)
    with pytest.raises(InterruptedError):
        debiasing.compare(debiasing.DebiasArguments("digits", num=100))
    with pytest.raises(InterruptedError):
        augmentation.compare(augmentation.AugmentArguments(), 10)
    assert seen == [(20, 20), (100, 100), (100, 50)]


def test_every_edit_says_what_its_rows_and_columns_are():
    assert edit.LAYOUTS.keys() == edit.EDITS.keys()
    assert "original, then strengths 0, 0.25, 0.5, 0.75, 1, 1.25" in edit.LAYOUTS["attribute"]


def test_an_interval_needs_two_seeds():
    with pytest.raises(ValueError, match="--seeds"):
        augmentation.main(["--seeds", "0"])
