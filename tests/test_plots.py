"""Pictures: grids are exact to the pixel, and every kind of example can be shown."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from genjax_models import plots
from genjax_models.core import DIGITS, DataSpec

GAP = 2


def pixels(figure) -> np.ndarray:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi)
    return np.asarray(Image.open(buffer).convert("RGB"))


def test_grid_shows_every_pixel_exactly():
    x = np.arange(17, dtype=np.uint8)[np.random.default_rng(0).integers(0, 17, (6, 8, 8, 1))]
    page = pixels(plots.grid(x, num_levels=17, columns=3))
    scale = 7
    size = 8 * scale
    assert page.shape == (2 * (size + GAP) + GAP, 3 * (size + GAP) + GAP, 3)
    for i in range(6):
        top, left = GAP + (i // 3) * (size + GAP), GAP + (i % 3) * (size + GAP)
        cell = page[top : top + size, left : left + size]
        expected = (x[i] / 16 * 255).repeat(scale, 0).repeat(scale, 1).astype(int)
        assert np.abs(cell.astype(int) - expected).max() <= 1


def test_grid_keeps_colours_and_large_images_as_they_are():
    x = np.random.default_rng(0).integers(0, 256, (1, 64, 48, 3)).astype(np.uint8)
    page = pixels(plots.grid(x, num_levels=256))
    assert page.shape == (64 + 2 * GAP, 48 + 2 * GAP, 3)
    assert np.abs(page[GAP:-GAP, GAP:-GAP].astype(int) - x[0]).max() <= 1


def test_grid_without_levels_scales_by_the_brightest():
    x = np.zeros((1, 8, 8), np.uint8)
    x[0, 0, 0], x[0, 0, 1] = 16, 8
    page = pixels(plots.grid(x))
    assert page[GAP, GAP, 0] == 255
    assert abs(int(page[GAP, GAP + 7, 0]) - 127) <= 1
    assert pixels(plots.grid(np.zeros((1, 8, 8)))).max() < 100  # a black image stays black


@pytest.mark.parametrize("shape", [(4,), (4, 2), (4, 8, 8, 2), (0, 8, 8, 1), (2, 4, 8, 8, 1)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match="images have shape"):
        plots.grid(np.zeros(shape))


def test_columns_must_be_positive():
    with pytest.raises(ValueError, match="columns is 0"):
        plots.grid(np.zeros((4, 8, 8)), columns=0)


def test_reconstructions_stand_beneath_their_examples():
    x = np.full((4, 8, 8, 1), 16, np.uint8)
    page = pixels(plots.reconstructions(x, np.zeros_like(x), num_levels=17, columns=2))
    white = np.argwhere((page == 255).all((1, 2)) | (page[:, 10] == 255).all(1)).ravel()
    black = np.argwhere((page[:, 10] == 0).all(1)).ravel()
    assert len(white) == len(black) == 2 * 56
    assert white[0] < black[0] < white[-1] < black[-1]


def test_reconstructions_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 8, 8, 1\) but their reconstructions \(4, 7, 7, 1"):
        plots.reconstructions(np.zeros((4, 8, 8, 1)), np.zeros((4, 7, 7, 1)))


def test_traversal_has_a_row_for_each_latent():
    page = pixels(plots.traversal(np.zeros((3, 5, 8, 8, 1))))
    assert page.shape == (3 * 58 + GAP, 5 * 58 + GAP, 3)
    with pytest.raises(ValueError, match="traversal"):
        plots.traversal(np.zeros((3, 8, 8)))


@pytest.mark.parametrize(
    ("spec", "x"),
    [
        (DIGITS, np.ones((4, 8, 8, 1), np.uint8)),
        (DataSpec((2,), num_levels=None), np.random.default_rng(0).normal(size=(50, 2))),
        (DataSpec((5,), num_levels=3, vocabulary=("a", "$", "\n")), np.ones((4, 5), np.int32)),
        (DataSpec((64, 1), num_levels=65536), np.zeros((4, 64, 1), np.int32)),
    ],
    ids=["images", "points", "text", "sound"],
)
def test_samples_of_every_kind_can_be_shown(spec, x):
    assert pixels(plots.samples(x, spec)).std() > 0


def test_text_is_broken_into_lines_that_can_be_read():
    words = plots.text(["a" * 250 + "\x07", "b\nc", "never"], max_rows=2, width=100).texts[0]
    lines = words.get_text().split("\n")
    assert lines == ["a" * 100, "a" * 100, "a" * 50 + "\ufffd", "", "b", "c"]


def test_sets_of_points_side_by_side_have_one_scale():
    near, far = np.zeros((5, 2)), np.full((5, 2), 9.0)
    left, right = plots.scatter({"near": near, "far": far}).axes
    assert left.get_xlim() == right.get_xlim() and left.get_xlim()[1] > 9
    assert [axes.get_title(loc="left") for axes in (left, right)] == ["near", "far"]
    np.testing.assert_array_equal(right.collections[0].get_offsets(), far)


def test_density_is_brightest_where_it_is_highest():
    page = pixels(plots.density(lambda x: -((x[:, 0] - 1) ** 2 + x[:, 1] ** 2) * 4, (-2, 2, -2, 2)))
    yellow = np.argwhere(np.abs(page.astype(int) - (253, 231, 37)).max(-1) < 12)
    row, column = yellow[yellow[:, 1] < 0.75 * page.shape[1]].mean(0)
    assert 0.4 < row / page.shape[0] < 0.6
    assert column / page.shape[1] > 0.45


ROWS = [
    {"step": step, "split": split, "vae/gradient_norm": 1.0, "vae/loss": 100.0 / step}
    for step in range(1, 40)
    for split in ("train", "validation")
]


@pytest.mark.parametrize("dark", [False, True])
def test_curves_put_the_loss_first(dark):
    figure = plots.curves(ROWS, dark=dark)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["vae/loss", "vae/gradient_norm"]
    assert [line.get_label() for line in figure.axes[0].lines] == ["train", "validation"]
    assert figure.axes[0].get_ylim()[1] < 100  # the first steep fall does not hide the rest


def test_curves_of_few_or_no_rows():
    assert pixels(plots.curves(ROWS[:1])).std() > 0
    assert pixels(plots.curves([])).shape[2] == 3


def test_a_notebook_can_show_a_figure_without_pyplot(tmp_path):
    figure = plots.grid(np.ones((4, 8, 8)))
    assert figure._repr_png_().startswith(b"\x89PNG")
    plots.save(figure, tmp_path / "grid.png")
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "grid.png").convert("RGB")), pixels(figure)
    )


def test_a_gif_shows_the_films(tmp_path):
    films = np.random.default_rng(0).integers(0, 5, (2, 3, 4, 4, 1))
    plots.write_gif(tmp_path / "a.gif", films, 5, milliseconds=200)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 3 and gif.info["duration"] == 200 and gif.info["loop"] == 0
        assert gif.size == (2 * 96 + 2, 96)
        for t in range(3):
            gif.seek(t)
            shown = np.asarray(gif.convert("L")).astype(int)
            for i, left in enumerate((0, 98)):
                pixels = shown[12::24, left + 12 : left + 96 : 24]
                np.testing.assert_allclose(pixels, films[i, t, ..., 0] * 63.75, atol=1)
    with pytest.raises(ValueError, match="the films have shape"):
        plots.write_gif(tmp_path / "b.gif", films[0, 0], 5)
