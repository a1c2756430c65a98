"""What `panicdoor` and `python -m panicdoor` start."""

import sys

from panicdoor.cli.main import main


def run() -> None:
    """Run the program and end the process with its exit code."""
    sys.exit(main())


if __name__ == "__main__":
    run()
