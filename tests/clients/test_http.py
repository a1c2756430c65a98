"""curl and its like, and requests written by hand: http and https, IPv4 and IPv6."""

import json
import socket
import ssl
from typing import Any

import pytest
from tests.clients.programs import run
from tests.running import LOOPBACK, Door, read_all

ANY_URL = pytest.mark.parametrize("host", [LOOPBACK, "[::1]"])
ANY_SCHEME = pytest.mark.parametrize("scheme", ["http", "https"])


def curl(*arguments: str) -> str:
    """Run curl, without judging the door's own certificate, and return what it prints."""
    done = run("curl", "-sSk", "--noproxy", "*", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode("ascii")


def by_hand(door: Door, data: bytes, tls: bool = False, end: bool = False) -> bytes:
    """Send a request as it is and return everything until the door closes."""
    plain = socket.create_connection((LOOPBACK, door.port), 5)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with context.wrap_socket(plain) if tls else plain as wire:
        wire.sendall(data)
        if end:
            wire.shutdown(socket.SHUT_WR)
        return read_all(wire)


@ANY_SCHEME
@ANY_URL
def test_curl_gets_the_manual_as_text(house: Door, scheme: str, host: str) -> None:
    text = curl(f"{scheme}://{host}:{house.port}/")
    assert text.startswith("PANICDOOR web1")
    assert "1 of 2" in text
    assert "2 of 2" in text
    said = " ".join(text.split())
    assert ("This comes as plain text" in said) == (scheme == "http")
    assert ("TLS hides this text" in said) == (scheme == "https")


@ANY_SCHEME
@ANY_URL
def test_automata_get_json(house: Door, scheme: str, host: str) -> None:
    url = f"{scheme}://{host}:{house.port}"
    manual: dict[str, Any] = json.loads(curl(f"{url}/index.json"))
    assert manual["door"]["name"] == "web1"
    assert manual["door"]["address"] == host.strip("[]")
    assert manual["door"]["port"] == house.port
    for command in manual["commands"]:
        assert {"name", "level", "usage", "summary", "arguments"} <= set(command)
    assert json.loads(curl("-H", "Accept: application/json", f"{url}/")) == manual
    assert json.loads(curl(f"{url}/help/doc.json"))["usage"] == "doc [PAGE] [--json]"


@ANY_SCHEME
def test_every_command_answers(house: Door, scheme: str) -> None:
    url = f"{scheme}://{LOOPBACK}:{house.port}"
    for path, expected in (
        ("/help", "PUBLIC  (anyone, without a key)"),
        ("/help/order", "order NAME [WORDS...]"),
        ("/doc/2", "2 of 2"),
        ("/about", "owner    Example Ops, +49 30 1234567"),
        ("/ping", "pong from web1"),
        ("/challenge", "-"),
        ("/order/ping", "do: ping"),
        ("/order/kill/12%20345", "do: kill '12 345'"),
    ):
        assert expected in curl(f"{url}{path}")


def test_head(house: Door) -> None:
    url = f"http://{LOOPBACK}:{house.port}/"
    heads = dict(
        line.lower().split(": ", 1) for line in curl("-I", url).splitlines() if ": " in line
    )
    body = curl(url)
    assert heads["content-type"] == "text/plain; charset=us-ascii"
    assert int(heads["content-length"]) == len(body)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["-d", "x=1", "/"], 405, "405 Method Not Allowed: only GET and HEAD"),
        (["-X", "DELETE", "/"], 405, "405 Method Not Allowed"),
        (["-T", "-", "/"], 405, "405 Method Not Allowed"),
        (["/nothing"], 404, "no command 'nothing'"),
        (["/?q=1"], 400, "no query is understood here"),
        (["/%c3%a9"], 400, "no words make that path"),
        (["/favicon.ico"], 404, "this door has no icon"),
        (["-H", f"X: {'y' * 9000}", "/"], 431, "the head of a request may have 8192 bytes"),
        (["--path-as-is", "/../../etc/passwd"], 404, "no command '..'"),
    ],
)
def test_what_is_refused_is_said_in_one_line(
    house: Door, arguments: list[str], status: int, said: str
) -> None:
    url = f"http://{LOOPBACK}:{house.port}{arguments[-1]}"
    flags = ["-sS", "-w", "\n%{http_code}", "--noproxy", "*", *arguments[:-1]]
    done = run("curl", *flags, url, data=b"body\n")
    body, _, code = done.stdout.decode("ascii").rpartition("\n")
    assert said in body
    assert (int(code), len(body.splitlines())) == (status, 1)


def test_one_connection_many_requests(house: Door) -> None:
    url = f"http://{LOOPBACK}:{house.port}"
    done = run("curl", "-sv", *[f"{url}/about", f"{url}/ping", f"{url}/help"])
    assert done.stdout.count(b"web1") == 2
    assert done.stderr.count(b"Re-using existing connection") == 2


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
class TestByHand:
    """Requests as an old program or a person may write them."""

    def test_http_1_0_closes(self, house: Door, tls: bool) -> None:
        answer = by_hand(house, b"GET /about HTTP/1.0\r\n\r\n", tls)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nConnection: close\r\n" in answer
        assert b"owner    Example Ops" in answer

    def test_http_2_is_told_which_version_this_is(self, house: Door, tls: bool) -> None:
        answer = by_hand(house, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", tls)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 505 HTTP Version Not Supported\r\n")
        assert f"\r\nContent-Length: {len(body)}\r\n".encode() in head
        assert b"\r\nConnection: close" in head
        assert body.count(b"\n") == 1

    def test_pipelined(self, house: Door, tls: bool) -> None:
        first = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET /about HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = by_hand(house, first * 3 + last, tls)
        assert answer.count(b"pong from web1") == 3
        assert answer.index(b"owner ") > answer.rindex(b"pong")


def test_half_a_request_then_the_end(house: Door) -> None:
    answer = by_hand(house, b"GET / HTTP/1.1\r\nHo", end=True)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_curl_with_http_2_by_prior_knowledge_fails_at_once(house: Door) -> None:
    url = f"http://{LOOPBACK}:{house.port}/"
    done = run("curl", "-sS", "--http2-prior-knowledge", url, seconds=3)
    assert done.returncode != 0
    assert done.stdout == b""


def test_curl_that_would_upgrade_is_answered_without(house: Door) -> None:
    assert "owner" in curl("--http2", f"http://{LOOPBACK}:{house.port}/about")
    assert "owner" in curl("--http2-prior-knowledge", f"https://{LOOPBACK}:{house.port}/about")


@pytest.mark.parametrize("program", ["wget", "busybox wget"])
def test_other_fetchers(house: Door, program: str) -> None:
    done = run(*program.split(), "-qO-", f"http://{LOOPBACK}:{house.port}/")
    assert done.stdout.startswith(b"PANICDOOR web1")


def test_the_certificate_is_the_doors_own(house: Door) -> None:
    where = f"{LOOPBACK}:{house.port}"
    done = run("openssl", "s_client", "-connect", where, "-tls1_3", data=b"quit\n")
    assert b"CN = panicdoor web1" in done.stdout
    refused = run("curl", "-sS", f"https://{where}/")
    assert refused.returncode == 60
    assert b"self-signed" in refused.stderr or b"self signed" in refused.stderr


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_tls_is_refused(house: Door, version: str) -> None:
    where = f"{LOOPBACK}:{house.port}"
    done = run(
        "openssl", "s_client", "-connect", where, version, "-cipher", "DEFAULT@SECLEVEL=0"
    )  # fmt: skip
    assert done.returncode != 0
    assert house.documented()
