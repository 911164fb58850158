"""Image files as a viewer shows them: upright, on a background, 8 bits a channel."""

from __future__ import annotations

import collections
import dataclasses
import re
import stat
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from genjax_models.data.arrays import positive_int

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm",
           ".pbm", ".apng")  # fmt: skip
"""File name endings of images."""

Background = int | Sequence[int]
"""Colour behind transparent pixels: a grey level 0 .. 255, or red, green and blue."""
Size: TypeAlias = int | Sequence[int]
"""Pixels of a square's side, or height and width."""
Crop: TypeAlias = Literal["center", "random"]
Color: TypeAlias = Literal["gray", "rgb"]

_REACH = 32
"""Largest ratio of a scaled image's side to the target's: a strip of one pixel by a million would
take as much memory as a data set."""

# What is in the file decides, not its ending. Others, PostScript among them, would run programs.
_FORMATS = ("PNG", "JPEG", "MPO", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM")
_OPAQUE_GREY = ("1", "L", "I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_GREY_MODES = (*_OPAQUE_GREY, "LA", "La")
_ORIENTATION = 0x0112
"""The EXIF tag of how a camera was held."""

_UPRIGHT = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x[::-1].swapaxes(0, 1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x.swapaxes(0, 1)[::-1],
}
"""EXIF's orientations 2 .. 8 -> what brings a stored image upright."""

FRAMES = "several frames or pages; the first is taken"
DEEP = "16 bits a channel, reduced to 256 levels (0 .. 65535 become 0 .. 255)"
FLOAT = "floats 0 .. 1, which become 0 .. 255"


class Picture(NamedTuple):
    """One image.

    Attributes:
        pixels: uint8 `[H, W, 1]` where the file is grey, else `[H, W, 3]`.
        notes: Warnings for the user about how it was read: some of `FRAMES`, `DEEP`, `FLOAT`.
    """

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


def read(path: Path, background: Background = 255) -> Picture:
    """Reads an image file as a viewer shows it.

    EXIF orientation is applied, transparent pixels lie on the background, and the first frame of an
    animation is taken. Grey files, or files with a palette of greys only, have one channel; a file
    in true colour has three even if they are equal.

    Args:
        path: A PNG, JPEG, BMP, GIF, TIFF, WebP or PBM/PGM/PPM file, whatever its name.
        background: Colour behind transparent pixels; white by default.

    Raises:
        ValueError: The file is not such an image, is damaged or too large, or holds numbers
            without a known white level.
    """
    _background(background)
    try:
        with _open(path) as image:
            return shown(image, background)
    except Exception as error:  # a damaged file can end in nearly any error of Pillow's
        raise ValueError(f"{path} is not a readable image: {reason(error)}") from error


def shown(image: Any, background: Background = 255) -> Picture:
    """Converts a Pillow image as a viewer shows it, as `read` does.

    Raises:
        Exception: Any; the image is damaged or holds numbers without a known white level.
    """
    notes = (FRAMES,) if getattr(image, "is_animated", False) else ()
    stored, depth = _stored(image)
    if depth > 8:
        notes += (DEEP,)
    image.load()
    pixels, alpha = _channels(image)
    if stored == "LA":  # of 16 bits, which Pillow gives as colours
        pixels = pixels[..., :1]
    if image.mode == "F":
        notes += (FLOAT,)
    turn = _UPRIGHT.get(_orientation(image), lambda x: x)
    if alpha is not None:
        pixels = _compose(pixels, alpha, _background(background))
    return Picture(np.ascontiguousarray(turn(pixels)), notes)


def of_array(values: Any, background: Background = 255) -> Picture:
    """An array of integers 0 .. 255 (or truth values) `[H, W]` or `[H, W, C]` as an image.

    Two and four channels are those of one and three, and how opaque they are.

    Raises:
        ValueError: It is no such array.
    """
    array = np.asarray(values)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[-1] not in (1, 2, 3, 4) or 0 in array.shape:
        raise ValueError(f"it has shape {np.shape(values)}, not [H, W] or [H, W, C] with C last")
    if array.dtype == np.bool_:
        array = np.uint8(255) * array
    if not np.issubdtype(array.dtype, np.integer) or array.min() < 0 or array.max() > 255:
        raise ValueError(
            f"its values are {array.dtype} in {array.min():g} .. {array.max():g}, not whole numbers"
            " 0 .. 255"
        )
    pixels, opacity = array.astype(np.uint8), array.shape[-1] in (2, 4)
    if opacity:
        pixels = _compose(pixels[..., :-1], pixels[..., -1:], _background(background))
    return Picture(pixels)


def _open(path: Path) -> Any:
    """Opens the file as a Pillow image, reading only its header."""
    from PIL import Image

    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
        raise OSError("it is not a regular file")
    Image.init()
    return Image.open(path, formats=[name for name in _FORMATS if name in Image.OPEN])


def _stored(image: Any) -> tuple[str, int]:
    """The channels as they lie in the file, and bits of each: 8 for fewer, 16 for more."""
    tile = getattr(image, "tile", None)  # which an image that was never in a file lacks
    arguments = tile[0][3] if tile else ""
    arguments = arguments if isinstance(arguments, tuple) else (arguments,)
    channels, *more = arguments or ("",)
    is_deep = (
        image.mode.startswith("I")
        or re.search(";16[BLN]", str(channels)) is not None
        or (image.format == "PPM" and max(filter(_is_int, more), default=0) > 255)
    )
    return str(channels).partition(";")[0], 16 if is_deep else 8


def _is_int(value: object) -> bool:
    return isinstance(value, int)


def _background(given: Background) -> np.ndarray:
    """The background as `[1]` or `[3]`; one channel where it is grey."""
    colour = np.atleast_1d(np.asarray(given))
    whole = np.issubdtype(colour.dtype, np.integer) and colour.shape in ((1,), (3,))
    if not whole or colour.min() < 0 or colour.max() > 255:
        raise ValueError(
            f"background is {given!r}: give a grey level 0 .. 255, or three of red, green and blue"
        )
    return colour[:1] if (colour == colour[0]).all() else colour


def reason(error: Exception) -> str:
    """Why, in a few words of one line."""
    words = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
    if type(error).__name__ == "UnidentifiedImageError":
        words = "it is empty, damaged or of another format"
    elif type(error).__name__ == "DecompressionBombError":
        words = f"it claims to be too large ({words})"
    elif isinstance(error, OSError) and error.strerror:
        words = error.strerror
    return f"{words}; repair or remove it"


def _orientation(image: Any) -> int:
    """The EXIF orientation, 1 where there is none that can be read; Pillow turns TIFFs itself."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data: a viewer shows the image all the same
        return 1


def _channels(image: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels uint8 `[H, W, C]`, C of 1 or 3, and how opaque they are, `[H, W, 1]` 0 .. 255."""
    mode, clear = image.mode, image.info.get("transparency")
    if mode == "F":
        return _levels_of_floats(np.asarray(image)), None
    if mode.startswith("I"):
        if mode == "I" and image.format not in ("PNG", "PPM"):
            raise ValueError(
                "it holds 32-bit integers without a known white level; save it with 8 or 16 bits"
            )
        deep = np.asarray(image).astype(np.int64)[..., None]
        if deep.min() < 0 or deep.max() > 65_535:
            raise ValueError(f"its values lie in {deep.min()} .. {deep.max()}, not 0 .. 65535")
        alpha = None if not isinstance(clear, int) else np.where(deep == clear, 0, 255)
        return ((deep + 128) // 257).astype(np.uint8), alpha
    if mode in ("1", "L", "LA", "La"):
        if mode == "1" and clear is None:
            image = image.convert("L")
        elif mode == "La" or (mode in ("1", "L") and clear is not None):
            image = image.convert("LA")
        pixels = np.asarray(image)
        return (pixels[..., None], None) if pixels.ndim == 2 else (pixels[..., :1], pixels[..., 1:])
    may_be_clear = clear is not None or mode in ("PA", "RGBA", "RGBa")
    pixels = np.asarray(image.convert("RGBA" if may_be_clear else "RGB"))
    colours, alpha = pixels[..., :3], pixels[..., 3:] if may_be_clear else None
    if mode in ("P", "PA"):
        seen = colours if alpha is None else colours[alpha[..., 0] > 0]
        if (seen == seen[..., :1]).all():
            colours = colours[..., :1]
    return colours, alpha


def _levels_of_floats(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ValueError("it holds floats that are NaN or infinite")
    if values.min() < 0 or values.max() > 1:
        raise ValueError(
            f"it holds floats {values.min():g} .. {values.max():g} without a known white"
            " level; scale them to 0 .. 1, or save it with 8 or 16 bits"
        )
    return np.rint(255.0 * values.astype(np.float64)).astype(np.uint8)[..., None]


def _compose(pixels: np.ndarray, alpha: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """The image over a background: its share is its opacity, as stored (not linear light)."""
    if (alpha == 255).all():
        return pixels
    alpha = alpha.astype(np.int64)
    return ((pixels * alpha + colour * (255 - alpha) + 127) // 255).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Reading:
    """Options for reading the image files of a folder: as a viewer shows them, scaled and cropped.

    Attributes:
        size: Target size in pixels: one number for a square, or height and width. None keeps
            the files' sizes.
        crop: Crop of the longer side once the shorter one fits: `center`, or `random`, for which
            `__call__` crops nothing and leaves that to training.
        color: `gray` for one channel, `rgb` for three; None for one if all files are grey.
        background: Colour behind transparent pixels.

    Raises:
        ValueError: An option that is none of these, or `random` without a size.
    """

    size: Size | None = None
    crop: Crop = "center"
    color: Color | None = None
    background: Background = 255

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.crop not in ("center", "random"):
            raise ValueError(f"crop is {self.crop!r}: give 'center' or 'random'")
        if self.color not in ("gray", "rgb", None):
            raise ValueError(f"color is {self.color!r}: give 'gray', 'rgb' or None")
        if self.crop == "random" and self.size is None:
            raise ValueError("crop is 'random', and nothing says how much is kept: give size= too")
        if self.size is not None:
            sides = self.size if isinstance(self.size, Sequence) else (self.size,)
            if len(sides) not in (1, 2):
                raise ValueError(f"size is {self.size!r}: give one number, or height and width")
            for side in sides:
                positive_int(side, "size")
        _background(self.background)

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width that are asked for; None for those of the files."""
        if self.size is None:
            return None
        sides = self.size if isinstance(self.size, Sequence) else (self.size,)
        return int(sides[0]), int(sides[-1])

    def size_of(self, path: Path) -> tuple[int, int]:
        """Height and width of what `__call__` gives, from the file's head alone.

        Raises:
            ValueError: The file is not an image.
        """
        size = _size_of(path)
        return size if self.shape is None else _scaled_size(size, self.shape, self.reach)

    @property
    def reach(self) -> float:
        """Largest ratio of an image's side to that of `shape`."""
        return 1 if self.crop == "center" else _REACH

    def __call__(self, path: Path) -> Picture:
        """One file; where `crop` is `random`, of more pixels than `shape` one way."""
        return self.fit(read(path, self.background))

    def fit(self, picture: Picture) -> Picture:
        """The same of an image that was read already."""
        pixels = _in_color(picture.pixels, self.color)
        if self.shape is not None:
            pixels = scaled(pixels, *self.shape, self.reach)
        return Picture(pixels, picture.notes)


AS_THEY_ARE = Reading()
"""The files as they are."""


def _in_color(pixels: np.ndarray, color: Color | None) -> np.ndarray:
    from PIL import Image

    if color == "gray" and pixels.shape[-1] == 3:  # ITU-R 601-2, as viewers do
        return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    if color == "rgb" and pixels.shape[-1] == 1:
        return np.repeat(pixels, 3, axis=-1)
    return pixels


def scaled(pixels: np.ndarray, height: int, width: int, reach: float = 1) -> np.ndarray:
    """An image scaled, up or down, until it just covers a size; its aspect stays.

    Args:
        pixels: uint8 `[H, W, C]`.
        height: Pixels to cover.
        width: Pixels to cover.
        reach: Largest ratio of the result to that size; the rest is cut off equally at both
            ends.

    Returns:
        uint8 `[height, W', C]` or `[H', width, C]`; for a reach of 1, `[height, width, C]`.
    """
    from PIL import Image

    (high, wide), size = pixels.shape[:2], _scaled_size(pixels.shape[:2], (height, width), reach)
    scale = max(height / high, width / wide)
    # What is kept of the image in its own pixels, which need not be whole ones.
    kept_high, kept_wide = min(high, reach * height / scale), min(wide, reach * width / scale)
    left, top = (wide - kept_wide) / 2, (high - kept_high) / 2
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    box = (left, top, left + kept_wide, top + kept_high)
    # Antialiased where it shrinks.
    image = image.resize((size[1], size[0]), Image.Resampling.LANCZOS, box)
    return np.asarray(image, np.uint8).reshape(*size, -1)


def _scaled_size(size: Sequence[int], wanted: tuple[int, int], reach: float) -> tuple[int, int]:
    """Height and width of an image that just covers the wanted ones."""
    scale = max(w / s for w, s in zip(wanted, size, strict=True))
    height, width = (
        max(w, round(min(s * scale, reach * w))) for s, w in zip(size, wanted, strict=True)
    )
    return height, width


def _size_of(path: Path) -> tuple[int, int]:
    """Height and width of a file as it is shown, from its head."""
    try:
        with _open(path) as image:
            # For a PNG with EXIF data behind its pixels, these would be decoded; a TIFF's
            # size is that of the upright image already.
            has_head = "exif" in image.info if image.format == "PNG" else image.format != "TIFF"
            width, height = image.size
            is_turned = has_head and _orientation(image) in (5, 6, 7, 8)
            return (width, height) if is_turned else (height, width)
    except Exception as error:
        raise ValueError(f"{path} is not a readable image: {reason(error)}") from error


def is_grey(path: Path, background: Background = 255) -> bool:
    """Returns True if `read` gives one channel, from the file's header alone if possible.

    Raises:
        ValueError: The file is not an image.
    """
    try:
        with _open(path) as image:
            if image.mode in _GREY_MODES or _stored(image)[0] == "LA":
                is_opaque = image.mode in _OPAQUE_GREY and "transparency" not in image.info
                return is_opaque or len(_background(background)) == 1
            if image.mode not in ("P", "PA"):
                return False
    except Exception:  # `read` says what is wrong with it
        pass
    return read(path, background).pixels.shape[-1] == 1


def check_sizes(sizes: Sequence[tuple[int, int]], paths: Sequence[Path]) -> None:
    """Refuses images that differ in size.

    Args:
        sizes: Height and width of each.
        paths: Their files, for messages.

    Raises:
        ValueError: The sizes differ; the message counts them.
    """
    files = collections.defaultdict(list)
    for (height, width), path in zip(sizes, paths, strict=True):
        files[width, height].append(path)
    if len(files) > 1:
        by_number = sorted(files.items(), key=lambda item: -len(item[1]))
        told = [
            f"{len(group):,} of {width}x{height} ({group[0]}{', ...' if len(group) > 1 else ''})"
            for (width, height), group in by_number[:3]
        ]
        rest = f" and {len(files) - 3} sizes more" if len(files) > 3 else ""
        raise ValueError(
            f"images differ in size: {', '.join(told)}{rest}; give size=64 (or another) to have"
            " them scaled and cropped to one size"
        )


def tell(notes: Sequence[tuple[str, Path]], name: str) -> None:
    """Warns once of each kind of note, with how many files it is of and the first of them."""
    files = collections.defaultdict(list)
    for note, path in notes:
        files[note].append(path)
    for note, paths in files.items():
        many = f"{len(paths):,} files have" if len(paths) > 1 else "one file has"
        warnings.warn(f"{name}: {many} {note}; the first is {paths[0]}", stacklevel=2)
