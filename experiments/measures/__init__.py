"""Measures of a finished run, which recipes name."""
