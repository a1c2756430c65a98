"""The udp frontend: one packet in, at most one packet out.

Each address has two queues, filled by the kernel according to the first byte: orders are read
first, so that a flood of anything else cannot starve them. An answer leaves from the address that
was asked, which on a wildcard socket only the packet itself knows (IP_PKTINFO).
"""

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

from panicdoor.commands.registry import Here
from panicdoor.kernel import sockets
from panicdoor.printable import escape
from panicdoor.processes.clock import now_text
from panicdoor.processes.desk import Desk
from panicdoor.processes.place import Place
from panicdoor.protocols import datagram as protocol
from panicdoor.protocols.base import Part, Request
from panicdoor.protocols.datagram import Command, Datagrams, Line, Order, Page, Refusal

BATCH: Final = 64  # packets read from one queue before the other has its turn
ANCILLARY: Final = 64  # bytes: room for one in6_pktinfo
CHALLENGE_S: Final = 0.05  # seconds a page waits for its challenge, and then goes without
QUESTION_S: Final = 0.01  # seconds for each question at start; its answer may come later
HERES_MAX: Final = 256  # addresses of this host that are remembered as asked

_IN_PKTINFO: Final = struct.Struct("=I4s4s")  # ip(7): interface, our address, destination


def run(place: Place) -> None:
    """Be the datagram frontend."""
    frontend = Frontend(place)
    place.give_up_rights()
    frontend.open()
    place.serve(frontend.warm_up)


Source = tuple[str, int]  # and, for IPv6, flow and zone


class Queue:
    """A bound socket, and what is true of all its packets."""

    __slots__ = ("heres", "host", "port", "sock", "v6", "wildcard")

    def __init__(self, fd: int) -> None:
        self.sock = socket.socket(fileno=fd)
        self.sock.setblocking(False)  # again: our predecessor, taken over, may have undone it
        self.host, self.port = self.sock.getsockname()[:2]
        self.v6 = self.sock.family == socket.AF_INET6
        self.wildcard = self.host in ("0.0.0.0", "::")  # noqa: S104
        self.heres: dict[bytes, Here] = {}

    def send(self, data: bytes, to: Source, info: bytes) -> None:
        """Send one packet, from the address that was asked; a network may refuse it."""
        try:
            if not self.wildcard:
                self.sock.sendto(data, to)
            elif self.v6:
                ours = (socket.IPPROTO_IPV6, sockets.IPV6_PKTINFO, info)
                self.sock.sendmsg([data], [ours], 0, to)
            else:
                # The route decides how it goes back, not the interface it came by.
                source = _IN_PKTINFO.pack(0, info[4:8], bytes(4))
                ours = (socket.IPPROTO_IP, sockets.IP_PKTINFO, source)
                self.sock.sendmsg([data], [ours], 0, to)
        except OSError:
            return


class Frontend:
    """All queues of the door."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._desk = Desk(place)
        self._queues = [Queue(fd) for fd in place.world.holdings.listeners["udp"]]
        self._datagrams = self._with_fresh_budgets()

    def open(self) -> None:
        """Begin to read, orders first where both queues are ready."""
        for queue in [*self._queues[1::2], *self._queues[0::2]]:
            self._place.loop.add_reader(queue.sock, self._readable, queue)

    def warm_up(self) -> None:
        """Ask each address everything once, as a client would, each time with a fresh budget."""
        for queue in self._queues[::2]:  # the kernel finds the one for orders
            host = queue.host if not queue.wildcard else "::1" if queue.v6 else "127.0.0.1"
            with socket.socket(queue.sock.family, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                for question in self._questions():
                    self._datagrams = self._with_fresh_budgets()
                    with contextlib.suppress(OSError):  # an address that is not there yet
                        client.sendto(question, (host, queue.port))
                    self._place.run_for(QUESTION_S)
                self._place.run_for(CHALLENGE_S)
        self._datagrams = self._with_fresh_budgets()

    def _with_fresh_budgets(self) -> Datagrams:
        return Datagrams(os.urandom(protocol.KEY_SIZE), self._place.world.door.listen[0].port)

    def _questions(self) -> list[bytes]:
        words = (b"help", b"ping", b"challenge", b"no such", b"'", b"order ping", b"doc 9")
        return [
            b"\0",
            *(protocol.ask_for(n) for n in range(self._desk.manual.page_count)),
            *((b"\1" + text).ljust(protocol.PADDED, b"\0") for text in words),
            b"\1help",
            protocol.ORDER,
            b"junk",
        ]

    def _readable(self, queue: Queue) -> None:
        receive, now = self._datagrams.receive, time.monotonic()
        recvmsg, v6 = queue.sock.recvmsg, queue.v6
        for _ in range(BATCH):
            try:
                data, ancillary, _, to = recvmsg(protocol.DATAGRAM_MAX + 1, ANCILLARY)
            except OSError:
                return
            info = ancillary[0][2] if ancillary else b""
            unicast = info[:1] != b"\xff" if v6 else info[4:8] == info[8:12]
            verdict = receive(data, to[0], to[1], unicast, now)
            if type(verdict) is Line:
                queue.send(verdict.data, to, info)
            elif not isinstance(verdict, Refusal | Line):
                try:
                    self._answer(queue, verdict, to, info)
                except Exception as error:
                    self._place.report(error)

    def _answer(
        self, queue: Queue, verdict: Page | Command | Order, to: Source, info: bytes
    ) -> None:
        """Have the desk answer; what it says is one packet, or none."""
        here, scope = self._here(queue, info), protocol.scope(to[0])
        if isinstance(verdict, Page):
            self._page(verdict.number, here, scope, lambda data: queue.send(data, to, info))
            return
        paid = isinstance(verdict, Command)
        request = (
            Request(words=verdict.words)
            if isinstance(verdict, Command)
            else Request(order=verdict.text)
        )
        limit, texts = verdict.limit, list[str]()

        def collect(part: Part) -> None:
            texts.append(part.text)
            whole = part.end or sum(map(len, texts)) > limit
            if not whole:
                self._place.loop.call_soon(asked.more)
                return
            if not part.end:
                asked.cancel()
            data = self._datagrams.fit(escape("".join(texts)).encode("ascii"), limit)
            if paid or self._spend(to[0], len(data)):
                queue.send(data, to, info)

        asked = self._desk.ask(request, here, "udp", to[0], scope, collect)
        asked.more()

    def _spend(self, source: str, size: int) -> bool:
        return self._datagrams.spend(source, size, self._datagrams.answers, time.monotonic())

    def _page(self, number: int, here: Here, scope: str, send: Callable[[bytes], None]) -> None:
        """Send a page; the first has a challenge in it, if the monitor is quick."""
        manual = self._desk.manual
        number = number if number < manual.page_count else 0
        if number:
            send(manual.page(number, here, now_text(), "").encode("ascii"))
            return
        waiting = True

        def finish(challenge: str) -> None:
            nonlocal waiting
            if waiting:
                waiting = False
                timer.cancel()
                send(manual.page(0, here, now_text(), challenge).encode("ascii"))

        timer = self._place.loop.call_later(CHALLENGE_S, finish, "")
        request = Request(words=("challenge",))
        asked = self._desk.ask(
            request, here, "udp", "", scope,
            lambda part: finish(part.text.strip() if part.end and not part.code else ""),
        )  # fmt: skip
        asked.more()

    def _here(self, queue: Queue, info: bytes) -> Here:
        """Return the address that was asked; the usual ones are made once."""
        raw = info[:16] if queue.v6 else info[4:8]
        here = queue.heres.get(raw)
        if here is None:
            if len(queue.heres) >= HERES_MAX:
                queue.heres.clear()
            family = socket.AF_INET6 if queue.v6 else socket.AF_INET
            here = Here(socket.inet_ntop(family, raw), queue.port, udp=True)
            queue.heres[raw] = here
        return here
