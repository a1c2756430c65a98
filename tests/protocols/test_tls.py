"""Tests of tls, with OpenSSL's own client on the other side."""

import ssl

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.protocols.client import Client, choose
from tests.protocols.transcript import GREETING, cut

from panicdoor.protocols.base import READ_MAX, WRITE_MAX, Part, Request
from panicdoor.protocols.tls import HANDSHAKE_MAX, Tls

GREETED = GREETING.replace("\n", "\r\n").encode()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def client(request: pytest.FixtureRequest, context: ssl.SSLContext) -> Client:
    return Client(context, request.param).handshake()


def test_lines_inside(client: Client) -> None:
    before = client.door.opening
    client.say(b"\0")
    assert before
    assert not client.door.opening
    assert client.answer("page one\n") == Request(("doc",))
    assert client.read == b"page one\r\n"
    client.say(b"quit\n")
    assert client.door.closed
    assert client.ended
    assert client.read == b"page one\r\nGoodbye.\r\n"


def test_http_inside(client: Client) -> None:
    assert client.ssl.selected_alpn_protocol() == "http/1.1"
    client.say(b"GET /ping HTTP/1.1\r\nHost: door\r\n\r\n")
    assert client.answer("x" * 3000) == Request(("ping",))
    assert client.read.startswith(b"HTTP/1.1 200 OK\r\n")
    assert client.read.endswith(b"\r\n\r\n" + b"x" * 3000 + b"\n")
    assert not client.door.closed


def test_silence_counts_from_the_handshake_and_detection_goes_on(context: ssl.SSLContext) -> None:
    client = Client(context)
    client.door.receive_silence()
    client.handshake()
    assert client.read == b""
    client.door.receive_silence()
    client.door.receive_silence()
    client.swap()
    assert client.read == GREETED
    client.say(b"GE")
    assert client.door.opening
    client.say(b"T / HTTP/1.0\r\n\r\n")
    assert client.answer("page\n") == Request(())
    assert client.read.startswith(GREETED + b"HTTP/1.1 200 OK")
    assert client.ended


def test_a_single_byte_in_silence_is_lines(client: Client) -> None:
    client.say(b"G")
    client.door.receive_silence()
    assert not client.door.opening
    client.say(b"x\n")
    assert client.answer("?\n") == Request(("Gx",))
    assert client.read == b"?\r\n"


@pytest.mark.parametrize(
    ("data", "word"),
    [(b"\x16\x03\x01\x02\x00", b"TLS inside TLS"), (b"SSH-2.0-x\r\n", b"ssh inside")],
)
def test_no_other_layer_inside(client: Client, data: bytes, word: bytes) -> None:
    client.say(data)
    assert client.read.startswith(word)
    assert client.read.count(b"\r\n") == 1
    assert client.door.closed
    assert client.ended


def test_nothing_sent_explains_itself_and_ends(client: Client) -> None:
    client.close()
    assert client.door.next_request() == Request(("doc",))
    client.door.send(Part("one\n", end=True))
    assert client.door.next_request() == Request(("doc", "2"))
    client.door.send(Part("two\n", end=True))
    assert client.door.closed
    assert client.door.data_to_send()
    assert client.door.data_to_send() == b""


def test_its_end_is_that_of_what_is_inside(context: ssl.SSLContext) -> None:
    # Only TLS 1.3 lets the client go on reading after its own close_notify.
    client = Client(context, ssl.TLSVersion.TLSv1_3).handshake()
    client.say(b"ping\nabout")
    client.close()
    assert not client.door.hungry
    assert client.answer("pong\n") == Request(("ping",))
    assert client.answer("door\n") == Request(("about",))
    assert client.door.closed


def test_an_end_without_notice_is_one_too(client: Client) -> None:
    client.say(b"ping")
    client.door.receive_eof()
    assert client.answer("pong\n") == Request(("ping",))
    assert client.read == b"pong\r\n"
    assert client.door.closed
    assert client.ended


def test_an_interrupt_reaches_the_inside(client: Client) -> None:
    client.say(b"ping\n")
    assert client.door.next_request()
    client.say(b"\xff\xf4")
    assert client.door.cancelled()
    assert not client.door.cancelled()


def test_silence_reaches_the_inside(client: Client) -> None:
    client.say(b"GET / HT")
    client.door.receive_silence()
    client.swap()
    assert client.read.startswith(b"HTTP/1.1 408 ")
    assert client.door.closed


def test_a_client_that_stops_half_way_leaves_nothing(context: ssl.SSLContext) -> None:
    client = Client(context)
    with pytest.raises(ssl.SSLWantReadError):
        client.ssl.do_handshake()
    hello = client.outgoing.read()
    client.door.receive_data(hello[:100])
    client.door.receive_silence()
    assert client.door.data_to_send() == b""
    assert client.door.hungry
    client.door.receive_eof()
    assert client.door.closed
    assert not client.door.hungry


def test_a_handshake_without_end_is_ended(context: ssl.SSLContext) -> None:
    door = Tls(context, choose, GREETING)
    record = b"\x16\x03\x01\x10\x00"  # of 4096 bytes
    hello = b"\x01\x01\x00\x00\x03\x03" + b"x" * 70000  # says that it has 65536 bytes
    stream = b"".join(record + hello[at : at + 4096] for at in range(0, 65536, 4096))
    fed = 0
    for piece in cut(stream, []):
        if not door.hungry:
            break
        door.receive_data(piece)
        fed += len(piece)
    assert door.closed
    assert fed <= HANDSHAKE_MAX + READ_MAX


def test_what_is_not_tls_gets_an_alert(context: ssl.SSLContext) -> None:
    for data in (b"\x16\x03\x01\x00\x05hello", b"\x16\x03GET / HTTP/1.1\r\n\r\n" + b"x" * 600):
        door = Tls(context, choose, GREETING)
        door.receive_data(data)
        assert door.closed
        assert door.data_to_send()[:1] == b"\x15"


def test_a_bad_record_ends_it_with_an_alert(client: Client) -> None:
    client.say(b"ping\n")
    client.ssl.write(b"about\n")
    record = bytearray(client.outgoing.read())
    record[-1] ^= 1
    client.door.receive_data(bytes(record))
    assert client.door.closed
    assert client.door.next_request() is None
    assert client.door.data_to_send()[:1] in (b"\x15", b"\x17")
    assert client.door.data_to_send() == b""
    client.door.send(Part("late", end=True))
    client.door.receive_data(b"more")
    client.door.receive_eof()


def test_an_old_protocol_is_refused(context: ssl.SSLContext) -> None:
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.num_tickets == 0


def test_ciphertext_waits_outside_while_an_answer_is_unwritten(client: Client) -> None:
    client.say(b"ping\n")
    assert client.door.next_request()
    fed = 0
    while client.door.hungry:
        client.ssl.write(b"ping\n" * 200)
        for piece in cut(client.outgoing.read(), []):
            client.door.receive_data(piece)
            fed += len(piece)
    assert fed < 3 * READ_MAX
    client.door.send(Part("x" * WRITE_MAX, end=True))
    assert client.door.next_request() is None
    assert len(client.door.data_to_send()) > WRITE_MAX
    assert client.door.next_request() == Request(("ping",))


def test_what_waits_outside_is_taken_up_as_soon_as_there_is_room(client: Client) -> None:
    for _ in range(4):
        client.ssl.write(b"GET /ping HTTP/1.1\r\nHost: door\r\n\r\n")
    client.door.receive_data(client.outgoing.read())
    for text in ("pong", "x" * WRITE_MAX, "pong", "pong"):
        assert client.door.next_request() == Request(("ping",))
        client.door.send(Part(text, end=True))
        if len(text) == WRITE_MAX:
            assert client.door.next_request() is None
            client.door.data_to_send()
    assert client.door.hungry


def test_nothing_is_read_while_what_tls_itself_says_is_unwritten(client: Client) -> None:
    client.door._to_peer.write(b"x" * WRITE_MAX)
    assert not client.door.hungry
    client.door.data_to_send()
    assert client.door._wants()


def test_the_greeting_is_not_written_twice(client: Client) -> None:
    client.door.receive_silence()
    client.say(b"\xff\xf1ping\n")
    assert client.answer("pong\n")
    assert client.read == GREETED + b"pong\r\n"


def test_many_empty_or_tiny_records_do_no_harm(client: Client) -> None:
    for _ in range(300):
        client.ssl.write(b"x")
        client.ssl.write(b"\n")
    client.swap()
    answered = 0
    while client.answer("?\n"):
        answered += 1
    assert answered == 300
    assert client.read == b"?\r\n" * 300


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(0, 4000), max_size=12))
def test_any_cut_of_the_ciphertext_means_the_same(
    context: ssl.SSLContext, places: list[int]
) -> None:
    client = Client(context)
    for _ in range(4):
        try:
            client.ssl.do_handshake()
        except ssl.SSLWantReadError:
            client.swap(places)
    client.say(b"help ping\r\n" + b"# wrong\n" + b"ping\n", places)
    assert client.answer("help\n") == Request(("help", "ping"))
    assert client.answer("pong\n") == Request(("ping",))
    assert client.read.startswith(b"help\r\ncolumn 1")
    assert client.read.endswith(b"\r\npong\r\n")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(min_size=1, max_size=400), st.integers(0, 600), st.booleans())
def test_no_bytes_raise(context: ssl.SSLContext, noise: bytes, at: int, late: bool) -> None:
    """Noise laid over a good conversation, at its beginning or after the handshake."""
    client = Client(context)
    if late:
        client.handshake()
        client.ssl.write(b"ping\n" * 100)
    else:
        with pytest.raises(ssl.SSLWantReadError):
            client.ssl.do_handshake()
    data = client.outgoing.read()
    data = data[:at] + noise + data[at + len(noise) :]
    for piece in cut(data, [at]):
        client.door.receive_data(piece)
        client.door.data_to_send()
    client.door.receive_silence()
    client.door.receive_eof()
    client.door.next_request()
    client.door.data_to_send()
