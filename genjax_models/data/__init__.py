"""Data sets: real ones through TFDS, files on disk, arrays, and sources whose law is known."""

from genjax_models.data import densities, markov, shapes2d, text, tokenizers
from genjax_models.data.dataset import Dataset, Source
from genjax_models.data.load import load, names, split_names, training_split

__all__ = [
    "Dataset",
    "Source",
    "densities",
    "load",
    "markov",
    "names",
    "shapes2d",
    "split_names",
    "text",
    "tokenizers",
    "training_split",
]
