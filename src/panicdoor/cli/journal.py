"""`panicdoor journal`: whether a door's journal is whole, and what stands in it.

It reads the files named journal* in the door's directory, oldest first, and needs no running door.
A journal that was copied elsewhere is one file, and is read in the same way.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from panicdoor.errors import ConfigError
from panicdoor.printable import escape_line
from panicdoor.records.journal import LINE_MAX, parse
from panicdoor.records.verification import verify
from panicdoor.words import seconds

ANCHOR_MAX: Final = 64 << 10  # bytes of a file with a receipt; the largest is far below

_ANCHOR: Final = re.compile(r"(?:^|\n)(?:journal: )?([1-9][0-9]{0,17}) ([0-9a-f]{64})(?=\s|$)")
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"

_ABOUT = """\
Read a door's journal: the record of what it was asked by people who have a
key, what it did, and what happened to itself. JOURNAL is the door's directory,
or one file.
"""

_VERIFY_ABOUT = """\
Check that every line is bound to the one before it, and say which is the first
that is not, and what is missing. A chain cannot know that its end was cut off,
or that all of it was written anew: an anchor does, the line `journal: N HASH`
of a receipt, which left the host when the entry was written.
"""

_VERIFY_MORE = """\
exit codes: 0 whole, 1 not whole, 2 wrong arguments or nothing to read

example:
  panicdoor journal verify /etc/panicdoor --anchor receipt.txt
"""

_SHOW_MORE = """\
example:
  panicdoor journal show /etc/panicdoor --since 2h --by alice
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which arguments there are."""
    parser.description = _ABOUT
    actions = parser.add_subparsers(
        title="actions", metavar="ACTION", required=True, dest="action", help="what to do with it"
    )
    verified = _action(actions, "verify", "say whether it is whole", _VERIFY_ABOUT, _VERIFY_MORE)
    verified.add_argument(
        "--anchor", metavar="FILE", action="append", default=[], type=Path,
        help="a receipt, or a line N HASH, that the journal must agree with; may be repeated",
    )  # fmt: skip
    show = _action(actions, "show", "print entries for people", "Print entries.", _SHOW_MORE)
    show.add_argument(
        "--since", metavar="WHEN", type=_since,
        help="from then on: 30m, 2h, 7d, or a time such as 2026-11-24T03:00:00Z",
    )  # fmt: skip
    show.add_argument("--by", metavar="NAME", default="", help="what this person did")
    show.add_argument("--kind", metavar="KIND", default="", help="such as login, typed, refused")
    show.add_argument("--json", action="store_true", help="one JSON object a line")
    about = "Print the lines of all its files as they stand, as one file that verifies elsewhere."
    _action(actions, "export", "print it as one file", about, "")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for; return 1 where a journal is not whole."""
    files = _files(arguments.journal)
    if arguments.action == "verify":
        return _verify(files, arguments.anchor)
    if arguments.action == "export":
        for file in files:
            sys.stdout.buffer.write(file.read_bytes())
        sys.stdout.buffer.flush()
        return 0
    for line in _lines(files):
        shown = _shown(line, arguments)
        if shown:
            print(shown)
    return 0


def _action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    about: str,
    more: str,
) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        name, help=summary, description=about, epilog=more, allow_abbrev=False,
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=78),
    )  # fmt: skip
    parser.add_argument(
        "journal", metavar="JOURNAL", type=Path, help="the door's directory, or one file"
    )
    return parser


def _files(path: Path) -> list[Path]:
    """Return the files of a journal, oldest first. Raises ConfigError where there is none."""
    if not path.is_dir():
        if not path.exists():
            raise ConfigError(f"{path}: no such file or directory")
        return [path]
    found = [file for file in path.glob("journal*") if file.is_file()]
    if not found:
        raise ConfigError(f"{path}: expected a file named journal in it")
    return sorted(found, key=lambda file: (_first(file), file.name))


def _first(file: Path) -> int:
    """Return the number of a file's first entry; of a file that has none, one beyond all."""
    with file.open("rb") as lines:
        for line in lines:
            entry = parse(line.removesuffix(b"\n"))
            if entry is not None:
                return entry.n
    return sys.maxsize


def _lines(files: list[Path]) -> Iterator[bytes]:
    for file in files:
        with file.open("rb") as lines:
            yield from lines


def _verify(files: list[Path], anchors: list[Path]) -> int:
    known: dict[int, frozenset[str]] = {}
    for anchor in anchors:
        n, hash = _anchor(anchor)
        known[n] = known.get(n, frozenset()) | {hash}
    found = verify(((str(file), _lines([file])) for file in files), known)
    for fault in found.faults:
        where = f"{fault.file} line {fault.line}: " if fault.line else ""
        print(escape_line(f"{where}{fault.text}"))
    if found.more:
        print(f"and {found.more} more")
    if found.last is None:
        print("no entry was found")
    else:
        whole = "not whole" if found.faults else "whole"
        agrees = f", {_count(len(anchors))}" if anchors and not found.faults else ""
        last = f"{found.last.n} {found.last.hash}"
        print(f"{whole}: {found.entries} entries, the last is {last}{agrees}")
    return 1 if found.faults or found.last is None else 0


def _count(anchors: int) -> str:
    return "1 anchor agrees" if anchors == 1 else f"{anchors} anchors agree"


def _anchor(file: Path) -> tuple[int, str]:
    """Return number and hash of the entry that a receipt names. Raises ConfigError."""
    with file.open("rb") as opened:
        text = opened.read(ANCHOR_MAX).decode("ascii", "replace").replace("\r", "")
    match = _ANCHOR.search(text)
    if match is None:
        raise ConfigError(f"{file}: expected a receipt with a line journal: N HASH")
    return int(match[1]), match[2]


def _shown(raw: bytes, wanted: argparse.Namespace) -> str:
    """Return a line as it is printed, "" where it is none of those that are wanted."""
    line = raw.removesuffix(b"\n")
    entry = parse(line)
    if entry is None:
        plain = not (wanted.since or wanted.by or wanted.kind or wanted.json)
        return f"(no entry: {escape_line(line[:LINE_MAX].decode('latin-1'))[:60]})" if plain else ""
    _, number, time, kind, text = line.decode("ascii").split(" ", 4)
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = {}
    people = {fields.get("by"), *_strings(fields.get("signers"))}
    if (
        time < (wanted.since or "")
        or wanted.kind not in ("", kind)
        or (wanted.by and wanted.by not in people)
    ):
        return ""
    if wanted.json:
        return json.dumps(
            {"n": int(number), "time": time, "kind": kind, "hash": entry.hash} | {"fields": fields}
        )
    return f"{number} {time} {kind} " + " ".join(
        f"{name}={_value(v)}" for name, v in fields.items()
    )


def _strings(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _value(value: object) -> str:
    """Return a field's value so that it can be told from its neighbours."""
    if isinstance(value, str):
        return escape_line(value if re.fullmatch(r"[^\s'=]+", value) else f"'{value}'")
    return json.dumps(value)


def _since(text: str) -> str:
    """Return the time, as the journal writes it, that `--since` means."""
    try:
        if ago := seconds(text):
            return (datetime.now(UTC) - timedelta(seconds=ago)).strftime(_TIME)
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC).strftime(_TIME)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected 30m, 2h, 7d or a time such as 2026-11-24T03:00:00Z, got {text!r}"
        ) from None
