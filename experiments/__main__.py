"""The command line: `python -m experiments list | train | evaluate | sample | bench`."""

import sys

from experiments.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
