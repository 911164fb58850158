"""The command line: `python -m experiments COMMAND`; `help` lists the commands."""

import sys

from experiments.commands.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
