"""What package managers did lately, from the ends of their logs.

dpkg.log, apt's history.log, dnf.rpm.log, pacman.log and zypper's history: the format of each is a
line, or a paragraph, of its own. Times without a zone are in this host's local time. What does not
look like an entry is passed over, so that a changed format shows as silence, not as nonsense.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

TAIL: Final = 512 << 10  # bytes of a log that are read, from its end
CHANGES_MAX: Final = 5000  # changes of one log
NAME_MAX: Final = 100  # characters of a name or a version
COMMAND_MAX: Final = 200  # characters of a command line


class Change(NamedTuple):
    """One change: seconds since 1970, `install`, `upgrade`, `remove` or `run`, and of what.

    Of a `run` the package is empty, and `detail` is the command line and who asked for it;
    otherwise `detail` are the versions.
    """

    at: float
    kind: str
    package: str
    detail: str


Parse = Callable[[str], Iterator[Change]]

_DPKG: Final = re.compile(
    r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (install|upgrade|remove|purge) "
    r"(\S{1,200}) (\S{1,200}) (\S{1,200})$",
    re.MULTILINE,
)
_APT: Final = re.compile(r"^(Start-Date|Commandline|Requested-By): +(.{1,1000})$")
_DNF: Final = re.compile(
    r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)([+-]\d{4}) \S+ "
    r"(Install|Installed|Upgrade|Upgraded|Downgrade|Erase|Erased|Reinstall|Removed): (\S{1,200})$",
    re.MULTILINE,
)
_PACMAN: Final = re.compile(
    r"^\[(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)([+-]\d{4})\] \[ALPM\] "
    r"(installed|upgraded|downgraded|removed) (\S{1,200}) \((.{1,200})\)$",
    re.MULTILINE,
)
_ZYPP: Final = re.compile(
    r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\|(install|remove) *\|([^|\n]{1,200})\|([^|\n]{1,200})\|",
    re.MULTILINE,
)
_KINDS: Final = {
    "purge": "remove", "erase": "remove", "erased": "remove", "removed": "remove",
    "installed": "install", "reinstall": "install", "upgraded": "upgrade",
    "downgrade": "upgrade", "downgraded": "upgrade",
}  # fmt: skip


def _kind(word: str) -> str:
    return _KINDS.get(word.lower(), word.lower())


def _numbers(text: str) -> list[int]:
    """Return the numbers in a time. Not strptime: it loads a module when it is used first."""
    return [int(number) for number in re.findall("[0-9]+", text)]


def _zoned(text: str, zone: str) -> float | None:
    away = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
    try:
        year, month, day, hour, minute, second = _numbers(text)
        at = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        return (at - away if zone[0] == "+" else at + away).timestamp()
    except (ValueError, OverflowError):
        return None


def _local(text: str) -> float | None:
    if _zoned(text, "+0000") is None:
        return None
    year, month, day, hour, minute, second = _numbers(text)
    try:
        return time.mktime((year, month, day, hour, minute, second, 0, 0, -1))
    except (ValueError, OverflowError):
        return None


def parse_dpkg(text: str) -> Iterator[Change]:
    """Yield the changes of a dpkg.log: dpkg(1)."""
    for match in _DPKG.finditer(text):
        at = _local(match[1])
        if at is not None:
            versions = [v for v in (match[4], match[5]) if v != "<none>"]
            yield _change(at, match[2], match[3].partition(":")[0], " -> ".join(versions))


def parse_apt(text: str) -> Iterator[Change]:
    """Yield the runs of apt, from its history.log, with the command lines."""
    for paragraph in text.split("\n\n"):
        said = {m[1]: m[2] for line in paragraph.split("\n") if (m := _APT.match(line))}
        at = _local(re.sub(" +", " ", said.get("Start-Date", "")))
        if at is None:
            continue
        by = said.get("Requested-By", "")
        line = said.get("Commandline", "apt")[:COMMAND_MAX]
        yield Change(at, "run", "", f"{line} (by {by})" if by else line)


def parse_dnf(text: str) -> Iterator[Change]:
    """Yield the changes of a dnf.rpm.log."""
    for match in _DNF.finditer(text):
        at = _zoned(match[1], match[2])
        if at is not None:
            yield _change(at, match[3], match[4], "")


def parse_pacman(text: str) -> Iterator[Change]:
    """Yield the changes of a pacman.log."""
    for match in _PACMAN.finditer(text):
        at = _zoned(match[1], match[2])
        if at is not None:
            yield _change(at, match[3], match[4], match[5])


def parse_zypp(text: str) -> Iterator[Change]:
    """Yield the changes of zypper's history."""
    for match in _ZYPP.finditer(text):
        at = _local(match[1])
        if at is not None:
            yield _change(at, match[2], match[3], match[4])


def _change(at: float, kind: str, package: str, detail: str) -> Change:
    return Change(at, _kind(kind), package[:NAME_MAX], detail[: 2 * NAME_MAX])


LOGS: Final[tuple[tuple[str, Parse], ...]] = (
    ("/var/log/dpkg.log", parse_dpkg),
    ("/var/log/apt/history.log", parse_apt),
    ("/var/log/dnf.rpm.log", parse_dnf),
    ("/var/log/pacman.log", parse_pacman),
    ("/var/log/zypp/history", parse_zypp),
)


def read(path: str, parse: Parse, since: float) -> list[Change] | None:
    """Return the changes since a moment, in the order of the log; None where there is no log.

    Only the log's end is looked at, and no log that was rotated away. May wait for the disk.
    """
    text = tail(path)
    if text is None:
        return None
    found = [change for change in parse(text.decode("utf-8", "replace")) if change.at >= since]
    return found[-CHANGES_MAX:]


def tail(path: str, most: int = TAIL) -> bytes | None:
    """Return the last bytes of a file, `most` at most; None where it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        size = os.fstat(fd).st_size
        return os.pread(fd, most, max(0, size - most))
    except OSError:
        return None
    finally:
        os.close(fd)
