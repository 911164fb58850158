"""Data sets: real ones through TFDS, files on disk, arrays, and sources of known distribution."""

from genjax_models.data import (
    audio,
    augment,
    densities,
    markov,
    moving_digits,
    music,
    shapes2d,
    stacked_mnist,
    text,
    tokenizers,
)
from genjax_models.data.augment import Augment
from genjax_models.data.dataset import Dataset, Source
from genjax_models.data.load import load, names, split_names, training_split
from genjax_models.data.pairs import load_pairs
from genjax_models.data.transforms import (
    alike,
    cropped,
    only_labels,
    resized,
    swapped,
    unpaired,
    without_labels,
)

__all__ = [
    "Augment",
    "Dataset",
    "Source",
    "alike",
    "audio",
    "augment",
    "cropped",
    "densities",
    "load",
    "load_pairs",
    "markov",
    "moving_digits",
    "music",
    "names",
    "only_labels",
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
