"""Named experiments and the command line that runs them: `python -m experiments --help`."""
