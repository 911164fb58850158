"""Data sets: real ones through TFDS, files on disk, arrays, and sources whose law is known."""

from genjax_models.data import (
    audio,
    chorales,
    densities,
    markov,
    moving_digits,
    progressions,
    shapes2d,
    stacked_mnist,
    text,
    tokenizers,
)
from genjax_models.data.dataset import Dataset, Source
from genjax_models.data.load import load, names, split_names, training_split
from genjax_models.data.selection import alike, only_labels, without_labels
from genjax_models.data.unpaired import cropped, resized, swapped, unpaired

__all__ = [
    "Dataset",
    "Source",
    "alike",
    "audio",
    "chorales",
    "cropped",
    "densities",
    "load",
    "markov",
    "moving_digits",
    "names",
    "only_labels",
    "progressions",
    "resized",
    "shapes2d",
    "split_names",
    "stacked_mnist",
    "swapped",
    "text",
    "tokenizers",
    "training_split",
    "unpaired",
    "without_labels",
]
