"""`panicdoor ask`: fetches a door's documentation by datagrams and prints it.

It runs at the desk, so the host may be a name. Every address of the name is asked for the first
page at once, and the rest comes from whichever answered first. Sockets are connected: the kernel
drops what others send.
"""

import argparse
import json
import re
import socket
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from select import POLLIN, poll
from typing import Final

from panicdoor.printable import escape, escape_line
from panicdoor.protocols.datagram import DATAGRAM_MAX, ask_for, read_page

PORT: Final = 903
PORT_MAX: Final = 65535
TRIES: Final = 5  # requests for one page: a network that loses half still brings 31 of 32
WAIT: Final = 1.0  # seconds for an answer; any path is shorter, and a door's budget comes back
WAIT_MAX: Final = 60.0  # seconds
LOST_MAX: Final = 2  # pages lost one after the other: there is no door any more
ADDRESSES_MAX: Final = 8  # of one name, to ask at once
SAID_MAX: Final = 80  # characters to repeat of an answer that is no page

DONE, FAILED, SILENT = 0, 1, 3

_TARGET: Final = re.compile(
    r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::([0-9]{1,5}))?|([^:\[\]]*:[^:\[\]]*:[^\[\]]*)"
)

_ABOUT = """\
Fetch the documentation of a door by datagrams, page by page, repeating what is
lost, and print it. Works where no connection can be opened any more.
"""

_MORE = f"""\
exit codes: 0 all pages, 1 not all of them (those that came are printed),
2 usage, {SILENT} nothing answered

examples:
  panicdoor ask web1
  panicdoor ask 127.0.0.1:9903
  panicdoor ask --json '[2001:db8::10]:903'
"""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask: a name or an address without brackets, and a port."""

    host: str
    port: int


class Fetched:
    """The pages that came, by number from 0, and how many there are; 0 while that is not known."""

    def __init__(self) -> None:
        self.pages: dict[int, str] = {}
        self.count = 0
        self.said = ""  # the last answer that was no page
        self.trouble = ""  # the last error of a socket

    def take(self, data: bytes) -> bool:
        """Keep a datagram's page; return whether it was one. All have the first one's count."""
        page = read_page(data)
        if page is None:
            self.said = escape_line(data.decode("latin-1").strip())[:SAID_MAX]
            return False
        number, count, text = page
        if self.count not in (0, count):
            return False
        self.count = count
        self.pages[number] = escape(text.decode("latin-1"))
        return True

    def missing(self) -> list[int]:
        """Return the numbers, from 0, of the pages that did not come."""
        return [n for n in range(self.count) if n not in self.pages]

    def text(self) -> str:
        """Return all that came, in order, every page on lines of its own."""
        pages = [self.pages[n] for n in sorted(self.pages)]
        return "".join(p if p.endswith("\n") or not p else f"{p}\n" for p in pages)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which arguments there are."""
    parser.description = _ABOUT
    parser.epilog = _MORE
    parser.add_argument(
        "target",
        type=_target,
        metavar="HOST[:PORT]",
        help=f"a name or an address, IPv6 with a port in brackets (default port: {PORT})",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one object: host, pages (null for one that did not come), text",
    )
    parser.add_argument(
        "--timeout",
        type=_wait,
        default=WAIT,
        metavar="SECONDS",
        help=f"wait this long for a page before asking again, {TRIES} times in all; at most"
        f" {WAIT_MAX:g} (default: {WAIT:g})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Fetch and print; return the exit code."""
    target: Target = arguments.target
    where = f"{escape_line(target.host)} port {target.port}"
    fetched = Fetched()
    with ExitStack() as stack:
        try:
            peers = _connect(target, stack)
        except (OSError, UnicodeError) as wrong:
            reason = wrong.strerror if isinstance(wrong, OSError) else "not a name"
            return _complain(f"{where}: cannot be asked: {reason}", SILENT)
        _fetch(peers, arguments.timeout, fetched)
    if not fetched.count:
        return _nothing(where, fetched)
    _show(target, fetched, arguments.json)
    missing = ", ".join(str(n + 1) for n in fetched.missing())
    if missing:
        said = f"; the last answer was: {fetched.said}" if fetched.said else ""
        return _complain(f"{where}: of {fetched.count} pages these are missing: {missing}{said}")
    return DONE


def _target(text: str) -> Target:
    match = _TARGET.fullmatch(text)
    bracketed, plain, port, bare = match.groups() if match else ("", "", "", "")
    number = int(port or PORT)
    host = bracketed or plain or bare
    if not host or not 0 < number <= PORT_MAX:
        raise argparse.ArgumentTypeError(
            f"expected HOST, HOST:PORT or [ADDRESS]:PORT, got {text!r}"
        )
    return Target(host, number)


def _wait(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= WAIT_MAX:
        raise argparse.ArgumentTypeError(f"expected seconds, at most {WAIT_MAX:g}, got {text!r}")
    return seconds


def _connect(target: Target, stack: ExitStack) -> list[socket.socket]:
    """Return a connected socket for each address; raise OSError where there is none to ask."""
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
    peers = []
    failure = OSError(0, "no address")
    for family, kind, protocol, _, address in found[:ADDRESSES_MAX]:
        try:
            peer = stack.enter_context(socket.socket(family, kind, protocol))
            peer.setblocking(False)
            peer.connect(address)
        except OSError as wrong:  # no route for this family, or no such family
            failure = wrong
            continue
        peers.append(peer)
    if not peers:
        raise failure
    return peers


def _fetch(peers: list[socket.socket], wait: float, fetched: Fetched) -> None:
    lost = 0
    number = 0
    while lost < LOST_MAX and number < (fetched.count or 1):
        for _ in range(TRIES):
            if number in fetched.pages:
                break
            for peer in peers:
                _send(peer, ask_for(number), fetched)
            answered = _listen(peers, number, wait, fetched)
            peers = [answered] if answered else peers
        lost = 0 if number in fetched.pages else lost + 1
        number += 1


def _send(peer: socket.socket, data: bytes, fetched: Fetched) -> None:
    try:
        peer.send(data)
    except OSError as wrong:  # also what came back for the request before
        fetched.trouble = wrong.strerror or ""


def _listen(
    peers: list[socket.socket], number: int, wait: float, fetched: Fetched
) -> socket.socket | None:
    """Take what comes until page `number` has, or `wait` is over; return who sent a page first."""
    first = None
    by_fd = {peer.fileno(): peer for peer in peers}
    waiting = poll()
    for fd in by_fd:
        waiting.register(fd, POLLIN)
    until = time.monotonic() + wait
    while number not in fetched.pages:
        left = until - time.monotonic()
        if left <= 0:
            break
        for fd, _ in waiting.poll(left * 1000):
            try:
                data = by_fd[fd].recv(DATAGRAM_MAX + 1)
            except OSError as wrong:  # nobody listens there: perhaps not yet again
                fetched.trouble = wrong.strerror or ""
                continue
            # Two addresses of a name may be two doors: no page of the second.
            if first in (None, by_fd[fd]) and fetched.take(data):
                first = by_fd[fd]
    return first


def _show(target: Target, fetched: Fetched, as_json: bool) -> None:
    text = fetched.text()
    if as_json:
        pages = [fetched.pages.get(n) for n in range(fetched.count)]
        print(json.dumps({"host": target.host, "pages": pages, "text": text}))
    else:
        print(text, end="")


def _nothing(where: str, fetched: Fetched) -> int:
    if fetched.said:
        return _complain(f"{where}: sent no page, but: {fetched.said}")
    reason = f" ({fetched.trouble})" if fetched.trouble else ""
    return _complain(f"{where}: nothing answered {TRIES} datagrams{reason}; try tcp", SILENT)


def _complain(sentence: str, code: int = FAILED) -> int:
    print(f"panicdoor: {sentence}", file=sys.stderr)
    return code
