"""One client of every kind there is, good and bad, all of them at a real door."""

import contextlib
import itertools
import os
import socket
import ssl
import struct

from tests.running import LOOPBACK, ROOT, Door, read_all

PATIENCE = 5.0  # seconds
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close(2) sends a reset

COMMANDS = (
    b"help\r\nhelp ping\r\nhelp doc --json\r\nabout\r\nabout --json\r\ndoc\r\ndoc 2\r\ndoc 9\r\n"
    b"doc --json\r\nping\r\nchallenge\r\nchallenge --json\r\norder ping\r\norder kill 1\r\n"
    b"no such\r\n'\r\nhelp \xff\r\nping --no\r\n"
)
HTTP = b"".join(
    b"GET %b HTTP/1.1\r\nHost: door\r\nAccept: %b\r\n\r\n" % pair
    for pair in (
        (b"/", b"text/html"),
        (b"/", b"*/*"),
        (b"/", b"application/json"),
        (b"/help/ping", b"text/html"),
        (b"/ping", b"text/html"),
        (b"/ping", b"application/json"),
        (b"/challenge.txt", b"*/*"),
        (b"/no/such", b"*/*"),
        (b"/favicon.ico", b"image/*"),
        (b"/%zz", b"*/*"),
    )
)

CLEAR = {
    "zero byte": b"\0",
    "nothing": b"",
    "text": COMMANDS,
    "bytes after zero": b"\0\0\r\n" + COMMANDS,
    "telnet": b"\xff\xfb\x1f\xff\xfd\x03\xff\xfd\x18\xff\xfa\x1f\0P\0\x18\xff\xf0\xff\xf6\xff\xf1"
    + COMMANDS,
    "interrupted": b"ping\r\n\xff\xf4\x03help\r\nhalf a li\x15\x08\x7f\r\n",
    "a line too long": b"x" * 4000,
    "subnegotiation": b"\xff\xfa" + b"\x18" * 2000,
    "order": b"panicdoor order 1\ndoor: web1\nsig: alice ssh AAAA\n",
    "half an order": b"panicdoor order 1\ndoor: web1\n",
    "http": HTTP,
    "http 1.0": b"GET / HTTP/1.0\r\n\r\n",
    "head": b"HEAD / HTTP/1.1\r\nHost: door\r\n\r\n",
    "post": b"POST / HTTP/1.1\r\nHost: door\r\nContent-Length: 3\r\n\r\nabc",
    "chunks": b"POST / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    "method": b"TRACE / HTTP/1.1\r\nHost: door\r\n\r\n",
    "header too large": b"GET / HTTP/1.1\r\nX: " + b"y" * 9000,
    "address too long": b"GET /" + b"a" * 9000,
    "not http": b"GET /\r\n\r\n",
    "two versions": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "half a method": b"GE",
    "half a handshake": b"\x16\x03\x01\x02\0\x01\0",
    "no handshake": b"\x16\x03\x01\0\x04junk",
    "garbage": bytes(range(1, 256)) * 16,
}
INSIDE_TLS = {
    "zero byte": b"\0",
    "nothing": b"",
    "text": COMMANDS,
    "http": HTTP,
    "ssh": b"SSH-2.0-x\r\n",
    "tls": b"\x16\x03\x01\x02\0\x01\0",
    "a line too long": b"x" * 4000,
}
DATAGRAMS = (
    b"\0",
    *(bytes((0, page)).ljust(400, b"\0") for page in (0, 1, 2, 3, 200)),
    b"\0".ljust(1200, b"\0"),
    b"\1help",
    b"\1\n",
    b"\1\xff",
    *((b"\1" + words).ljust(400, b"\0") for words in (b"ping", b"help", b"challenge", b"no such")),
    *((b"\1" + words).ljust(400, b"\0") for words in (b"about", b"doc 9", b"order ping", b"'")),
    b"panicdoor order 1\ndoor: web1\nsig: alice ssh AAAA\n".ljust(400, b"\n"),
    b"panicdoor order 1\xff",
    b"",
    b"junk",
    b"\2" * 400,
    b"\0" * 1201,
)

_prefixes = itertools.count(1)


def fresh_source() -> str:
    """Return an address of this machine in a /24 that no datagram came from before."""
    number = next(_prefixes)
    return f"127.{100 + number // 250}.{number % 250}.1"


def client_context(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Return a context that believes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def talk(door: Door, data: bytes) -> bytes:
    """Say something in the clear, and return the answer, as far as it came before a reset."""
    with door.connect(PATIENCE) as client, contextlib.suppress(ConnectionError):
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)
    return b""


def talk_inside(door: Door, data: bytes, version: ssl.TLSVersion | None = None) -> bytes:
    """Say something inside TLS, and return the answer."""
    context = client_context(version)
    with (
        contextlib.suppress(ConnectionError, ssl.SSLError),
        door.connect(PATIENCE) as plain,
        context.wrap_socket(plain) as client,
    ):
        if data:
            client.sendall(data)
        # Python's TLS has no half-close; the end of the transport is one, too.
        with socket.socket(fileno=os.dup(client.fileno())) as below:
            below.shutdown(socket.SHUT_WR)
        return read_all(client)
    return b""


def ask(door: Door, data: bytes, source: str, port: int = 0, wait: float = 0.3) -> bytes | None:
    """Send one datagram from an address and return the answer, None where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((source, port))
        client.settimeout(wait)
        client.sendto(data, (LOOPBACK, door.port))
        try:
            return client.recv(65536)
        except TimeoutError:
            return None


SILENT = ((b"", b"\0"), (b"", b"SSH-2.0-x\r\n"), (b"", b"ping\r\n"), (b"", b"\x16\x03\x01"))
SLOW = ((b"S", b"\r\nping\r\n"), (b"GE", b"T / HTTP/1.0\r\n\r\n"), (b"\x16", b"\r\n"))


def come_late(clients: list[socket.socket]) -> None:
    """Have the silent, once they are greeted, and then the slow say the rest after all."""
    for client, (first, late) in zip(clients, SILENT + SLOW, strict=True):
        with client, contextlib.suppress(ConnectionError):
            if first or client.recv(65536):
                client.sendall(late)
                client.shutdown(socket.SHUT_WR)
                read_all(client)


def everything(door: Door) -> None:
    """Speak everything once, each client after the other but the silent ones."""
    with contextlib.ExitStack() as connected:
        late = [connected.enter_context(door.connect(PATIENCE)) for _ in SILENT + SLOW]
        for client, (first, _) in zip(late, SILENT + SLOW, strict=True):
            client.sendall(first)
        for data in CLEAR.values():
            talk(door, data)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for data in INSIDE_TLS.values():
                talk_inside(door, data, version)
        for act in (leave_at_once, reset_at_once, reset_in_the_middle):
            act(door)
        for data in DATAGRAMS:
            ask(door, data, fresh_source(), wait=0.02)
        if ROOT:
            ask(door, b"\0", LOOPBACK, 1023, wait=0.02)
        come_late(late)


def leave_at_once(door: Door) -> None:
    """Connect and close."""
    door.connect().close()


def reset_at_once(door: Door) -> None:
    """Connect and reset."""
    with door.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def reset_in_the_middle(door: Door) -> None:
    """Reset with an answer half read."""
    with door.connect() as client:
        client.sendall(b"doc\r\n" * 20)
        client.recv(100)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
