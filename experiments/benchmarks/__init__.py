"""Benchmarks: speed beside PyTorch, sampling, tables of a run."""
