"""The command line: `python -m experiments COMMAND`; `help` lists the commands."""

import sys

from experiments.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
