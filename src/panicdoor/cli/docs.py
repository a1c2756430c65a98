"""`panicdoor docs`: write docs/commands.md and docs/panicdoor.8 from the registry."""

import argparse
import sys
from pathlib import Path
from typing import Final

from panicdoor.commands.registry import COMMANDS
from panicdoor.documentation.man import Subcommand, man
from panicdoor.documentation.markdown import markdown

SUBCOMMANDS: Final[tuple[Subcommand, ...]] = (
    (
        "init DIR",
        "Make DIR: a commented door.toml, the door's keys, and the list of those who may sign. "
        "Nothing that is there is overwritten. It says what to do next.",
    ),
    (
        "serve DIR",
        "Be the door that DIR describes, in the foreground. SIGTERM ends it, SIGHUP has the policy "
        "read anew. What is wrong in DIR is said in one line before anything is opened.",
    ),
    (
        "reload DIR",
        "Have the open door of DIR read door.toml and allowed_signers anew. What is wrong is said "
        "with its file and its key or line, and the door goes on as before. Sessions whose key or "
        "last grant is gone end.",
    ),
    (
        "who-may COMMAND DIR [--json]",
        "Say who may run COMMAND (or the commands of a level), how many must sign, from which "
        "networks, and whether it makes root. It reads the files; no door need be open.",
    ),
    (
        "demo",
        "Be a throwaway door on the loopback address, port 9903, and say what to try. Ctrl-C "
        "removes all that it made.",
    ),
    (
        "ask HOST[:PORT]",
        "Fetch the manual of a door by datagrams, all its pages, repeating what is lost, and print "
        "it.",
    ),
    (
        "journal verify|show|export JOURNAL",
        "Say whether the journal of a door (its directory, or one file) is whole, and whether it "
        "agrees with receipts; print its entries, or all its lines as one file.",
    ),
    ("docs [DIR] [--check]", "Write this page and commands.md from the registry into DIR."),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `panicdoor docs`."""
    parser.description = "Write commands.md and panicdoor.8 (the manual page) from the registry."
    parser.add_argument(
        "directory", nargs="?", type=Path, default=Path("docs"), metavar="DIR",
        help="where to write them (default: docs)",
    )  # fmt: skip
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit 1 when a page there is not what would be written",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write or check the pages. Returns 0; 1 when a page is not current; 2 when it cannot write."""
    stale = 0
    for name, text in made().items():
        path = arguments.directory / name
        if arguments.check:
            if not path.is_file() or path.read_text("utf-8") != text:
                print(f"{path} is not current; run: panicdoor docs", file=sys.stderr)
                stale = 1
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        except OSError as error:
            print(f"{path}: cannot be written: {error.strerror}", file=sys.stderr)
            return 2
    return stale


def made() -> dict[str, str]:
    """Return the pages by file name."""
    return {"commands.md": markdown(COMMANDS), "panicdoor.8": man(SUBCOMMANDS, COMMANDS)}
