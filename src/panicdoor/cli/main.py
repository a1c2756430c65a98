"""The program: finds the subcommand that was asked for, runs it, and turns its end into a code.

Rules:
- it is started on machines that thrash: of the subcommands only the one that runs is imported;
- a subcommand is a module with `add_arguments(parser)` and `run(arguments)`, which returns the
  exit code: 0 done, 1 refused or failed, 2 usage or configuration, 3 nothing answered;
- whoever is at fault is told in one line, without a traceback: a traceback means a bug.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Final, Protocol, cast

from panicdoor import __version__
from panicdoor.errors import ConfigError, PanicdoorError
from panicdoor.printable import escape_line

COMMANDS: Final = {
    "init": "make the directory of a new door: its policy and its keys",
    "serve": "open a door and keep it open, in the foreground",
    "reload": "have an open door read its policy anew",
    "who-may": "say who may run a command, and how many must sign",
    "demo": "try it: a throwaway door on this machine, without root",
    "ask": "fetch a door's documentation by datagrams and print it",
    "journal": "say whether a door's journal is whole, and what stands in it",
    "docs": "print the documentation that is made from the commands",
}

FAILED: Final = 1
USAGE: Final = 2
# As a shell shows a process that its signal ended: 128 + SIGINT, 128 + SIGPIPE.
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

# For a terminal of 80 columns. To be told the width, argparse would import shutil, and with it
# three compressors, which a door would keep in memory for as long as it runs.
_FORMATTER: Final = partial(argparse.RawDescriptionHelpFormatter, width=78)

_ABOUT: Final = """\
An emergency door on port 903: a daemon that is already running and in memory
when a host is in trouble, and explains itself to whatever client is at hand.
"""

_MORE: Final = """\
panicdoor COMMAND --help says more about each. See one at work: panicdoor demo

exit codes: 0 done, 1 refused or failed, 2 usage or configuration,
3 nothing answered
"""


class Subcommand(Protocol):
    """What a module of this package offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Say which arguments there are, and describe each."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; return the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with `argv` (or the process's own) and return its exit code.

    Raises SystemExit where argparse does: after --help and --version (0), for wrong usage (2).
    """
    try:
        try:
            return _run(sys.argv[1:] if argv is None else argv)
        finally:
            if sys.stdout is not None:  # as it is after `panicdoor ... >&-`
                sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffer would complain once more while the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except ConfigError as wrong:
        return _complain(str(wrong), USAGE)
    except PanicdoorError as wrong:
        return _complain(str(wrong), FAILED)
    except OSError as failed:
        about = f"{os.fsdecode(failed.filename)}: " if failed.filename else ""
        return _complain(f"{about}{failed.strerror or failed}", FAILED)


def _run(argv: Sequence[str]) -> int:
    """Parse `argv` with the arguments of the subcommand it names, and run that."""
    parser = argparse.ArgumentParser(
        prog="panicdoor",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=_FORMATTER,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"panicdoor {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    # No option of the program itself takes a value, so this word is the subcommand.
    chosen = next((word for word in argv if not word.startswith("-")), "")
    module: Subcommand | None = None
    for name, summary in COMMANDS.items():
        subparser = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=_FORMATTER,
            allow_abbrev=False,
        )
        if name == chosen:
            module = cast(Subcommand, import_module(f"panicdoor.cli.{name.replace('-', '_')}"))
            module.add_arguments(subparser)
    arguments = parser.parse_args(argv)
    if module is None:
        parser.error("expected a COMMAND")
    return module.run(arguments)


def _complain(sentence: str, code: int) -> int:
    """Tell whoever started the program what is wrong, and return `code`."""
    print(f"panicdoor: {escape_line(sentence)}", file=sys.stderr)
    return code
