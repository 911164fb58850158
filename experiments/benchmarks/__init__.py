"""How fast things are: against PyTorch, sampling, tables of a run."""
