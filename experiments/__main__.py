"""The command line: `python -m experiments COMMAND`; `help` lists the commands."""

import sys

if __name__ == "__main__":
    try:
        from experiments.commands.cli import main
    except ModuleNotFoundError as error:
        if error.name not in ("tyro", "cattrs"):
            raise
        sys.exit(f"error: {error.name} is not installed: pip install -e '.[experiments]'")
    sys.exit(main(sys.argv[1:]))
