"""A client that speaks TLS, without a socket either."""

import contextlib
import ssl

from tests.protocols.transcript import GREETING, cut

from panicdoor.protocols.base import READ_MAX, Part, Protocol, Request
from panicdoor.protocols.detect import Way
from panicdoor.protocols.http import Http
from panicdoor.protocols.lines import Lines
from panicdoor.protocols.tls import Tls


def choose(way: Way, greeted: bool) -> Protocol:
    """Make the protocol inside, as the owner would."""
    return Http() if way is Way.HTTP else Lines(GREETING, greeted)


class Client:
    """OpenSSL as a client, and the wire between it and the door; `read` is what it decrypted."""

    def __init__(self, context: ssl.SSLContext, version: ssl.TLSVersion | None = None) -> None:
        self.door = Tls(context, choose, GREETING)
        ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ours.check_hostname = False
        ours.verify_mode = ssl.CERT_NONE
        ours.set_alpn_protocols(["h2", "http/1.1"])
        if version:
            ours.minimum_version = ours.maximum_version = version
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = ours.wrap_bio(self.incoming, self.outgoing)
        self.read = b""
        self.ended = False

    def handshake(self) -> "Client":
        for _ in range(4):
            try:
                self.ssl.do_handshake()
            except ssl.SSLWantReadError:
                self.swap()
        self.swap()
        return self

    def swap(self, places: list[int] | None = None) -> None:
        """Carry what either side has written to the other, until neither has anything."""
        while True:
            data, moved = self.outgoing.read(), False
            for piece in cut(data, places or []):
                moved = True
                self.door.receive_data(piece)
                self.take()
            if not (self.take() or moved):
                return

    def take(self) -> bool:
        data = self.door.data_to_send()
        self.incoming.write(data)
        try:
            while piece := self.ssl.read(READ_MAX):
                self.read += piece
            self.ended = True
        except ssl.SSLZeroReturnError:
            self.ended = True
        except (ssl.SSLWantReadError, ssl.SSLSyscallError):
            pass
        return bool(data)

    def say(self, data: bytes, places: list[int] | None = None) -> None:
        if data:
            self.ssl.write(data)
        self.swap(places)

    def close(self) -> None:
        """Send close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.ssl.unwrap()
        self.swap()

    def answer(self, text: str) -> Request | None:
        request = self.door.next_request()
        if request:
            self.door.send(Part(text, end=True))
            self.swap()
        return request
