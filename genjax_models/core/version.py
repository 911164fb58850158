"""The library's version, which packaging, saved models and the command line read here."""

__version__ = "0.2.0"
