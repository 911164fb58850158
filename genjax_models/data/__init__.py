"""Data sets: real ones through TFDS, files on disk, arrays, and sources whose law is known."""

from genjax_models.data import audio, densities, markov, shapes2d, stacked_mnist, text, tokenizers
from genjax_models.data.dataset import Dataset, Source
from genjax_models.data.load import load, names, split_names, training_split
from genjax_models.data.unpaired import resized, swapped, unpaired

__all__ = [
    "Dataset",
    "Source",
    "audio",
    "densities",
    "load",
    "markov",
    "names",
    "resized",
    "shapes2d",
    "split_names",
    "stacked_mnist",
    "swapped",
    "text",
    "tokenizers",
    "training_split",
    "unpaired",
]
