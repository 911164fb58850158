"""Image files are read as a viewer shows them, mode by mode, and held against NumPy."""

import struct
import zlib
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image

from genjax_models import data
from genjax_models.data import images

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (6, 5), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (6, 5, 3), dtype=np.uint8)
ALPHA = RANDOM.integers(0, 256, (6, 5, 1), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65_536, (6, 5), dtype=np.uint16)
FLOAT = RANDOM.random((6, 5), dtype=np.float32)
BITS = GREY > 127


def over(pixels, alpha, background=255.0):
    """Pixels over a background, in real numbers."""
    share = alpha / 255.0
    return pixels * share + background * (1.0 - share)


def read(path: Path, background=255) -> np.ndarray:
    return images.read(path, background).pixels


def exact(image: Image.Image, path: Path, **options) -> np.ndarray:
    image.save(path, **options)
    return read(path)


LOSSLESS = [
    *[(BITS, GREY * 0 + 255 * BITS, ending) for ending in ("png", "tif", "bmp", "gif", "pbm")],
    *[(GREY, GREY, ending) for ending in ("png", "tif", "bmp", "gif", "pgm")],
    *[(COLOUR, COLOUR, ending) for ending in ("png", "tif", "bmp", "ppm", "webp")],
    *[(DEEP, np.rint(DEEP / 257.0), ending) for ending in ("png", "tif", "pgm")],
    (FLOAT, np.rint(FLOAT * 255.0), "tif"),
]


@pytest.mark.parametrize(("array", "shown", "ending"), LOSSLESS)
def test_opaque_modes_in_lossless_formats(array, shown, ending: str, tmp_path: Path):
    path = tmp_path / f"a.{ending}"
    found = exact(Image.fromarray(array), path, **({"lossless": True} if ending == "webp" else {}))
    shown = shown.reshape(6, 5, -1)
    assert found.dtype == np.uint8 and found.shape == shown.shape
    np.testing.assert_array_equal(found, shown)
    assert images.is_grey(path) == (shown.shape[-1] == 1)


@pytest.mark.parametrize("order", "<>")
def test_16_bits_in_both_byte_orders(order: str, tmp_path: Path):
    """A TIFF written by hand: Pillow writes its own order alone."""
    tags = [(256, 3, 5), (257, 3, 6), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 200),
            (277, 3, 1), (278, 3, 6), (279, 4, 60)]  # fmt: skip
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8)
    head += struct.pack(f"{order}H", len(tags))
    for tag, kind, value in tags:
        packed = struct.pack(f"{order}{'I' if kind == 4 else 'H2x'}", value)
        head += struct.pack(f"{order}HHI", tag, kind, 1) + packed
    content = head.ljust(200, b"\0") + DEEP.astype(f"{order}u2").tobytes()
    (tmp_path / "a.tif").write_bytes(content)
    with Image.open(tmp_path / "a.tif") as image:
        assert image.mode == ("I;16" if order == "<" else "I;16B")
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[..., 0], np.rint(DEEP / 257.0))


def chunk(kind: bytes, body: bytes) -> bytes:
    """A part of a PNG file."""
    checksum = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + checksum


def png(head: bytes, body: bytes) -> bytes:
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_png_of_16_bits_with_and_without_colour_and_alpha(kind: int, channels: int, tmp_path: Path):
    """Files written by hand: Pillow writes grey alone, and reads colours to the level below."""
    deep = RANDOM.integers(0, 65_536, (6, 5, channels), dtype=np.uint16)
    head = struct.pack(">IIBBBBB", 5, 6, 16, kind, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(png(head, b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)))
    wanted = deep / 257.0
    if channels in (2, 4):
        wanted = over(wanted[..., :-1], wanted[..., -1:])
    picture = images.read(path)
    assert picture.notes == (images.DEEP,) and picture.pixels.shape == wanted.shape
    assert np.abs(picture.pixels - wanted).max() < 2
    assert images.is_grey(path) == (channels < 3)


def test_ppm_of_any_depth(tmp_path: Path):
    for highest in (1, 15, 255, 4_095, 65_535):
        x = RANDOM.integers(0, highest + 1, (6, 5, 3), dtype=np.uint16)
        body = x.astype(">u2" if highest > 255 else "u1").tobytes()
        (tmp_path / "a.ppm").write_bytes(b"P6\n5 6\n%d\n" % highest + body)
        picture = images.read(tmp_path / "a.ppm")
        assert picture.notes == ((images.DEEP,) if highest > 255 else ())
        assert np.abs(picture.pixels - x * (255.0 / highest)).max() <= 1


@pytest.mark.parametrize(("background", "behind"), [(255, 255), (0, 0), ((10, 200, 30),) * 2])
@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
@pytest.mark.parametrize("pixels", [GREY[..., None], COLOUR], ids=["LA", "RGBA"])
def test_what_is_transparent_lies_on_the_background(pixels, ending, background, behind, tmp_path):
    if ending == "webp":
        pixels = np.broadcast_to(pixels, (6, 5, 3))  # it has no grey
    whole = np.concatenate([pixels, ALPHA], -1)
    options = {"lossless": True, "exact": True} if ending == "webp" else {}
    Image.fromarray(whole).save(tmp_path / f"a.{ending}", **options)
    found = read(tmp_path / f"a.{ending}", background)
    wanted = over(pixels, ALPHA, np.array(behind, float))
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 0.5 + 1e-9


def test_colour_hidden_behind_full_transparency_is_not_seen(tmp_path: Path):
    hidden = np.concatenate([COLOUR, 0 * ALPHA], -1)
    assert (exact(Image.fromarray(hidden), tmp_path / "a.png") == 255).all()


@pytest.mark.parametrize("ending", ["png", "gif", "bmp", "tif"])
def test_palettes_of_colours_and_of_greys(ending: str, tmp_path: Path):
    index = RANDOM.integers(0, 4, (6, 5), dtype=np.uint8)
    index.flat[:4] = range(4)  # all are in use
    for table in (COLOUR[0, :4], np.repeat(GREY[0, :4, None], 3, 1)):
        image = Image.fromarray(index)
        image.putpalette(table.tobytes())
        found, is_grey = exact(image, tmp_path / f"a.{ending}"), (table == table[:, :1]).all()
        wanted = table[index][..., :1] if is_grey else table[index]
        np.testing.assert_array_equal(found, wanted)
        assert images.is_grey(tmp_path / f"a.{ending}") == is_grey


@pytest.mark.parametrize("ending", ["png", "gif"])
def test_a_palette_with_a_transparent_colour(ending: str, tmp_path: Path):
    index = np.arange(4, dtype=np.uint8).reshape(2, 2)
    image = Image.fromarray(index)
    image.putpalette(COLOUR[0, :4].tobytes())
    wanted = COLOUR[0, :4][index]
    wanted[0, 1] = 255
    found = exact(image, tmp_path / f"a.{ending}", transparency=1)
    np.testing.assert_array_equal(found, wanted)


def test_a_palette_with_degrees_of_transparency(tmp_path: Path):
    index = np.arange(4, dtype=np.uint8).reshape(2, 2)
    image, alpha = Image.fromarray(index), np.array([0, 77, 200, 255], np.uint8)
    image.putpalette(COLOUR[0, :4].tobytes())
    found = exact(image, tmp_path / "a.png", transparency=alpha.tobytes())
    wanted = over(COLOUR[0, :4], alpha[:, None])[index]
    assert np.abs(found - wanted).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("array", "clear"),
    [(GREY, int(GREY[0, 0])), (COLOUR, tuple(map(int, COLOUR[0, 0]))), (DEEP, int(DEEP[0, 0]))],
    ids=["L", "RGB", "I;16"],
)
def test_one_colour_that_is_named_transparent(array, clear, tmp_path: Path):
    found = exact(Image.fromarray(array), tmp_path / "a.png", transparency=clear)
    wanted = np.rint(array / (257.0 if array is DEEP else 1.0)).reshape(6, 5, -1)
    wanted[(array.reshape(6, 5, -1) == array.reshape(6, 5, -1)[0, 0]).all(-1)] = 255
    np.testing.assert_array_equal(found, wanted)


def test_cmyk_and_ycbcr(tmp_path: Path):
    inks = RANDOM.integers(0, 256, (6, 5, 4), dtype=np.uint8)
    found = exact(Image.fromarray(inks, "CMYK"), tmp_path / "a.tif").astype(float)
    wanted = (255.0 - inks[..., :3]) * (255.0 - inks[..., 3:]) / 255.0
    assert np.abs(found - wanted).max() <= 1.0
    flat = np.full((16, 16, 3), (180, 90, 40), np.uint8)
    image = Image.fromarray(flat).convert("YCbCr")
    # A flat colour survives JPEG; Pillow before 13 cannot read the YCbCr TIFF that it writes.
    for ending in ("jpg", "tif") if int(PIL.__version__.split(".")[0]) >= 13 else ("jpg",):
        found = exact(image, tmp_path / f"b.{ending}").astype(float)
        assert found.shape == (16, 16, 3) and np.abs(found - flat).max() <= 3


def test_jpeg_of_grey_has_one_channel(tmp_path: Path):
    assert exact(Image.new("L", (5, 6), 99), tmp_path / "a.jpg").shape == (6, 5, 1)


TURNED = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: np.fliplr(np.rot90(x, -1)),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.fliplr(np.rot90(x, 1)),
    8: lambda x: np.rot90(x, 1),
}
"""EXIF 2.32, tag 0x0112: what a viewer does to the stored rows."""


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright(orientation: int, tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for ending, options in (("png", {}), ("tif", {}), ("webp", {"lossless": True})):
        path = tmp_path / f"a.{ending}"
        found = exact(Image.fromarray(COLOUR), path, exif=exif, **options)
        np.testing.assert_array_equal(found, TURNED[orientation](COLOUR), err_msg=ending)
    blocks = np.kron([[0, 255], [90, 170], [30, 60]], np.ones((8, 8))).astype(np.uint8)
    found = exact(Image.fromarray(blocks), tmp_path / "a.jpg", exif=exif, quality=100)
    assert np.abs(found[..., 0].astype(float) - TURNED[orientation](blocks)).max() <= 3


@pytest.mark.parametrize("ending", ["gif", "tif", "webp", "png"])
def test_of_several_frames_the_first_is_taken(ending: str, tmp_path: Path):
    first, second = (Image.fromarray(np.full((6, 5, 3), c, np.uint8)) for c in (40, 200))
    path = tmp_path / f"a.{ending}"
    first.save(path, save_all=True, append_images=[second])
    picture = images.read(path)
    assert picture.notes == (images.FRAMES,)
    assert np.abs(picture.pixels.astype(int) - 40).max() <= 2


def test_notes_are_told_once_a_dataset(tmp_path: Path):
    for i in range(2):
        Image.fromarray(DEEP).save(tmp_path / f"{i}.png")
    with pytest.warns(UserWarning) as told:
        data.load(tmp_path)
    (deep,) = [str(w.message) for w in told if "16 bits" in str(w.message)]
    assert "2 files have 16 bits a channel" in deep and "0.png" in deep


@pytest.mark.parametrize(
    ("array", "ending", "why"),
    [
        (np.array([[0, 70_000]], np.int32), "tif", "32-bit integers"),
        (np.array([[0.0, 255.0]], np.float32), "tif", "floats 0 .. 255"),
        (np.array([[-0.1, 0.5]], np.float32), "tif", "floats -0.1 .. 0.5"),
        (np.array([[np.nan, 0.5]], np.float32), "tif", "NaN"),
    ],
)
def test_numbers_of_which_none_is_white_are_refused(array, ending: str, why: str, tmp_path: Path):
    Image.fromarray(array).save(tmp_path / f"a.{ending}")
    with pytest.raises(ValueError, match=f"a.{ending} is not a readable image: .*{why}") as error:
        read(tmp_path / f"a.{ending}")
    assert "\n" not in str(error.value)


def bomb(path: Path) -> None:
    """A PNG whose head says 60,000 x 60,000."""
    path.write_bytes(png(struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0), b"\0"))


def test_a_bomb_is_refused_in_one_line(tmp_path: Path):
    bomb(tmp_path / "a.png")
    with pytest.raises(ValueError, match="a.png is not a readable image: it claims") as error:
        data.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "tif", "webp", "bmp", "ppm"])
def test_damaged_files_are_named_or_read_and_nothing_else(ending: str, tmp_path: Path):
    Image.fromarray(np.kron(COLOUR, np.ones((6, 6, 1), np.uint8))).save(tmp_path / f"a.{ending}")
    whole = (tmp_path / f"a.{ending}").read_bytes()
    path = tmp_path / f"b.{ending}"
    damaged = [whole[:n] for n in (0, 3, 20, len(whole) // 2)]
    for at in RANDOM.integers(0, len(whole), 40):
        damaged.append(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            assert read(path).shape[-1] in (1, 3)
        except ValueError as error:
            assert f"{path} is not a readable image" in str(error) and "\n" not in str(error)
            refused += 1
    assert refused >= 3  # what is cut short at least


def test_a_postscript_file_runs_nothing(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
    with pytest.raises(ValueError, match="damaged or of another format"):
        read(tmp_path / "a.png")


def test_grey_files_beside_colour_get_three_channels(tmp_path: Path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    Image.fromarray(COLOUR).save(tmp_path / "b.png")
    x = data.load(tmp_path).rows([0, 1])["x"]
    np.testing.assert_array_equal(x, np.stack([np.repeat(GREY[..., None], 3, -1), COLOUR]))


def test_a_background_that_is_no_colour_is_refused(tmp_path: Path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    for background in (256, -1, 0.5, (1, 2), "white"):
        with pytest.raises(ValueError, match="background is .*: give a grey level"):
            data.load(tmp_path, background=background)
