"""Tests of http: the transcripts, the limits, paths and headers."""

from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocols.transcript import CASES, MAKERS, Replay, cut, read

from panicdoor.protocols.base import WRITE_MAX, Form, Part, Request
from panicdoor.protocols.http import (
    HEAD_MAX,
    REASONS,
    REQUESTS_MAX,
    STATUS,
    TARGET_MAX,
    WHY,
    Http,
    Page,
    Refused,
    read_accept,
    read_path,
)
from panicdoor.words import LINE_MAX, WORDS_MAX

HTTP_CASES = [path for path in CASES if path.stem.startswith("http_")]


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("path", HTTP_CASES, ids=lambda path: path.stem)
def test_transcript(path: Path, bytewise: bool) -> None:
    name, steps = read(path)
    Replay(MAKERS[name](), bytewise).play(steps)


def test_there_are_transcripts() -> None:
    assert len(HTTP_CASES) >= 12


def head(target: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    """Return the head of a request."""
    lines = [f"{method} {target} HTTP/{version}", "Host: door", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def talk(data: bytes) -> Http:
    """Return a conversation in which this came."""
    http = Http()
    for piece in cut(data, []):
        http.receive_data(piece)
    return http


def status(http: Http) -> int:
    """Return the status of what is to be written, and check that it is one line of text, closed."""
    answer, body = http.data_to_send().split(b"\r\n\r\n")
    assert http.closed
    assert not http.hungry
    assert b"\r\nConnection: close" in answer
    assert b"\r\nContent-Type: text/plain" in answer
    assert body.count(b"\n") == 1
    assert body.endswith(b"\n")
    return int(answer.split()[1])


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"\r\n\r\n", 400),
        (head("*"), 400),
        (head("/help?x=1"), 400),
        (head("/%zz"), 400),
        (head("/%"), 400),
        (head("/it's"), 400),
        (head("/caf%c3%a9"), 400),
        (head("/%0a"), 400),
        (head("/help//ping"), 404),
        (head("//"), 404),
        (head("/.json"), 404),
        (head("/" + "/".join("x" * (WORDS_MAX + 1))), 400),
        (head("/" + "x" * (LINE_MAX + 1)), 400),
        (head("/", method="PUT"), 405),
        (head("*", method="OPTIONS"), 405),
        (head("door:903", method="CONNECT"), 405),
        (head("/", method="BREW"), 501),
        (head("/", version="2.0"), 505),
        (head("/", version="0.9"), 505),
        (head("/" + "x" * TARGET_MAX), 414),
        (b"GET /" + b"x" * HEAD_MAX, 414),
        (head("/", "X: " + "x" * HEAD_MAX), 431),
        (head("/")[:-2] + b"".join(b"X%d: y\r\n" % n for n in range(HEAD_MAX // 8)), 431),
    ],
)
def test_what_is_wrong_is_answered_in_one_line(data: bytes, code: int) -> None:
    assert status(talk(data)) == code


def test_a_half_request_at_the_end_is_wrong() -> None:
    http = talk(b"GET / HT")
    http.receive_eof()
    assert status(http) == 400


@pytest.mark.parametrize("size", [HEAD_MAX - 1, HEAD_MAX, HEAD_MAX + 1])
@pytest.mark.parametrize("places", [[], [4000, 8000], [8191], [8192], [1, 8190, 8191, 8192]])
def test_the_limit_of_a_head_is_exact_however_it_is_cut(size: int, places: list[int]) -> None:
    empty = head("/ping", "X: ")
    data = head("/ping", "X: " + "x" * (size - len(empty)))
    http = Http()
    for piece in cut(data, places):
        http.receive_data(piece)
    assert (http.next_request() == Request(("ping",))) is (size <= HEAD_MAX)
    assert http.closed is (size > HEAD_MAX)


def test_the_limit_is_exact_for_a_head_that_came_with_the_one_before() -> None:
    first, empty = head("/ping"), head("/about", "X: ")
    for size in (HEAD_MAX, HEAD_MAX + 1):
        data = first + head("/about", "X: " + "x" * (size - len(empty)))
        http = talk(data[:4000])
        assert http.next_request() == Request(("ping",))
        http.send(Part("pong", end=True))
        for piece in cut(data[4000:], [4000]):
            http.receive_data(piece)
        assert (http.next_request() == Request(("about",))) is (size <= HEAD_MAX)


def test_a_connection_is_kept_for_so_many_requests() -> None:
    http = Http()
    for number in range(REQUESTS_MAX):
        assert not http.closed
        http.receive_data(head("/ping"))
        assert http.next_request()
        http.send(Part("pong\n", end=True))
        assert (b"Connection: close" in http.data_to_send()) is (number == REQUESTS_MAX - 1)
    assert http.closed


def test_pipelined_requests_are_taken_one_by_one_and_bounded() -> None:
    http = talk((head("/ping") + head("/robots.txt")) * 40)
    assert not http.hungry
    client, seen = h11.Connection(h11.CLIENT), 0
    while http.next_request():
        assert http.next_request() is None
        http.send(Part("x" * 3000, end=True))
        while data := http.data_to_send():
            seen += data.count(b"HTTP/1.1 200 OK")
    assert client
    assert seen == 80
    assert http.hungry


def test_nothing_is_taken_up_while_much_is_unwritten() -> None:
    http = talk(head("/ping") * 2)
    assert http.next_request()
    http.send(Part("x" * WRITE_MAX, end=True))
    assert http.next_request() is None
    http.data_to_send()
    assert http.next_request()
    http = talk(head("/robots.txt") * 80)
    assert len(http._out) < WRITE_MAX + 1000
    assert not http.hungry


def test_a_part_that_nobody_asked_for_is_a_bug_of_the_owner() -> None:
    with pytest.raises(RuntimeError):
        talk(head("/ping")).send(Part("pong", end=True))
    http = talk(head("/", method="PUT"))
    http.send(Part("pong", end=True))
    assert status(http) == 405


def test_silence_says_nothing_about_a_request_being_answered() -> None:
    http = talk(head("/ping"))
    http.receive_silence()
    assert http.next_request()
    http.receive_silence()
    http.send(Part("pong", end=True))
    assert not http.closed


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/", Page((), None)),
        ("/index.html", Page((), Form.HTML)),
        ("/index.json", Page((), Form.JSON)),
        ("/doc/2.txt", Page(("doc", "2"), Form.TEXT)),
        ("/help/ping/", Page(("help", "ping"), None)),
        ("/help/ping.json", Page(("help", "ping"), Form.JSON)),
        ("/help/a%20b", Page(("help", "a b"), None)),
        ("/cat/%2Fetc%2fhosts", Page(("cat", "/etc/hosts"), None)),
        ("/x.html.txt", Page(("x.html",), Form.TEXT)),
        ("/..", Page(("..",), None)),
        ("/a%25b", Page(("a%b",), None)),
    ],
)
def test_a_path_is_words(path: str, page: Page) -> None:
    assert read_path(path) == page


WORD = st.text(
    st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="'"),
    min_size=1,
    max_size=9,
)


@settings(max_examples=100)
@given(st.lists(WORD, min_size=1, max_size=5))
def test_any_words_make_a_path(words: list[str]) -> None:
    path = "/" + "/".join(quote(word, safe="") for word in words) + ".txt"
    assert read_path(path) == Page(tuple(words), Form.TEXT)


@settings(max_examples=200)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30))
def test_any_path_is_words_or_refused(path: str) -> None:
    with suppress(Refused):
        assert all(read_path("/" + path).words) or path.startswith("index")


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form.TEXT),
        ("*/*", Form.TEXT),
        ("text/html", Form.HTML),
        ("TEXT/HTML; charset=x", Form.HTML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Form.HTML),
        ("application/json", Form.JSON),
        ("application/json, text/html;q=0.9", Form.JSON),
        ("text/html;q=0.5, application/json;q=0.6", Form.JSON),
        ("text/html;q=0", Form.TEXT),
        ("text/html;q=0.1, text/plain", Form.TEXT),
        ("text/html;q=x,;;,=", Form.HTML),
    ],
)
def test_accept(accept: str, form: Form) -> None:
    assert read_accept(accept) is form


def test_every_status_has_its_words() -> None:
    assert set(WHY) <= set(REASONS)
    assert set(STATUS.values()) <= set(REASONS)


PIECES = [head("/ping"), head("/", "Accept: text/html"), head("/robots.txt"), head("/a?b")]
PIECES += [b"GET ", b"HEAD ", b"PRI ", b"/", b"%41", b" HTTP/1.1", b"\r\n", b"\n", b"Host: a\r\n"]
PIECES += [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Upgrade: h2c\r\n", b"\0"]
REQUESTS = st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join)


@settings(max_examples=150)
@given(REQUESTS)
def test_whatever_comes_what_goes_out_is_http(data: bytes) -> None:
    http, out = talk(data) if data else Http(), b""
    http.receive_eof()
    methods = []
    while True:
        if request := http.next_request():
            methods.append(request)
            http.send(Part("pong\n", end=True))
        if chunk := http.data_to_send():
            out += chunk
        elif not request:
            break
    assert http.closed
    client = h11.Connection(h11.CLIENT)
    if out and b"HEAD" not in data:
        client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        client.send(h11.EndOfMessage())
        client.receive_data(out)
        response = client.next_event()
        assert isinstance(response, h11.Response)
