"""Wires: which there are, what goes through, and what no peer can do to the other end."""

import itertools
import os
import select
import socket
import time
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.places import descriptors, hostile

from panicdoor.messages import (
    PACKET_MAX,
    PART_MAX,
    Answer,
    Ask,
    Become,
    Cancel,
    Fresh,
    Handover,
    Hello,
    Message,
    More,
    Output,
    Ping,
    Run,
    Write,
)
from panicdoor.processes.wires import BURST, Wire, joined, open_all, role_of
from panicdoor.roles import MESSAGES, ROLE_OF, SUPERVISOR, allowed

ASK = Ask(1, 2, 3.0, "tcp", "127.0.0.1", "", ("ping",))
MORE = More(1, 2)


class Pair:
    """A wire: the end of `place`, and its peer's as a bare socket."""

    def __init__(self, place: str, peer: str) -> None:
        ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self.theirs.setblocking(False)
        self.wire = Wire(place, peer, ours.detach())

    def received(self) -> list[Message]:
        return list(self.wire.receive())

    def __enter__(self) -> "Pair":
        return self

    def __exit__(self, *_: object) -> None:
        self.wire.close()
        self.theirs.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Pair("monitor", "stream1") as pair:
        yield pair


@pytest.fixture
def runner() -> Iterator[Pair]:
    """A wire on which no requests come."""
    with Pair("monitor", "worker1") as pair:
        yield pair


def packed(message: Message) -> bytes:
    return msgspec.msgpack.encode(message)


def fill(sock: socket.socket, data: bytes) -> int:
    for sent in itertools.count():
        try:
            sock.send(data)
        except BlockingIOError:
            return sent
    raise AssertionError


# Which wires there are


def test_exactly_the_pairs_of_the_table_are_joined() -> None:
    places = (SUPERVISOR, *ROLE_OF)
    for a, b in itertools.combinations(places, 2):
        speak = bool(allowed(role_of(a), role_of(b)) or allowed(role_of(b), role_of(a)))
        assert ((a, b) in joined() or (b, a) in joined()) is speak
    assert len(set(joined())) == len(joined())
    assert not any(a == b for a, b in joined())


def test_frontends_have_no_wire_to_each_other_nor_to_whatever_acts() -> None:
    roles = {frozenset((role_of(a), role_of(b))) for a, b in joined()}
    assert frozenset(("stream", "datagram")) not in roles
    assert frozenset(("stream", "worker")) not in roles
    assert frozenset(("datagram", "observer")) not in roles
    assert frozenset(("stream", "writer")) not in roles
    assert frozenset(("stream", "spare")) not in roles


def test_both_ends_of_every_wire_are_opened_once_and_never_wait() -> None:
    ends = open_all()
    try:
        assert set(ends) == {*joined(), *((b, a) for a, b in joined())}
        assert len(set(ends.values())) == len(ends)
        assert not any(os.get_blocking(fd) for fd in ends.values())
        assert not any(os.get_inheritable(fd) for fd in ends.values())
        for a, b in joined():
            sender, receiver = (a, b) if allowed(role_of(a), role_of(b)) else (b, a)
            os.write(ends[sender, receiver], b"x" + sender.encode())
            assert os.read(ends[receiver, sender], 99) == b"x" + sender.encode()
    finally:
        for fd in ends.values():
            os.close(fd)


# What goes through


SAMPLES: dict[type[Message], Message] = {
    kind: kind(**{  # whatever is asked for, something that fits
        f.encode_name: {
            int: 7, float: 1.5, str: "stream1", bool: True, bytes: b"x",
        }.get(base, ())
        for f in msgspec.structs.fields(kind)
        for base in [getattr(f.type, "__origin__", f.type)]
    })
    for _, _, kinds in MESSAGES
    for kind in kinds
}  # fmt: skip


def test_a_wire_takes_what_its_row_allows_and_drops_everything_else() -> None:
    for a, b in joined():
        for place, peer in ((a, b), (b, a)):
            kinds = allowed(role_of(peer), role_of(place))
            with Pair(place, peer) as pair:
                for kind, sample in SAMPLES.items():
                    pair.theirs.send(packed(sample))
                    # A Handover is one only with a socket.
                    taken = kind in kinds and kind is not Handover
                    assert pair.received() == ([sample] if taken else [])
                assert pair.wire.dropped == len(SAMPLES) - len({*kinds} - {Handover})


def test_a_message_comes_out_as_it_went_in() -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for sock in (one, other):
        sock.setblocking(False)
    sender = Wire("stream1", "monitor", one.detach())
    receiver = Wire("monitor", "stream1", other.detach())
    largest = Ask(2**63 - 1, 2**63 - 1, 2.0**53, "w" * 32, "p" * 64, "s" * 64, (), "o" * 8192)
    for message in (ASK, MORE, Cancel(0, 0), Hello("stream1", 3, 9), largest):
        assert sender.send(message)
        assert list(receiver.receive()) == [message]
    assert sender.refused == receiver.dropped == 0
    sender.close()
    receiver.close()


def test_requests_are_read_one_at_a_time_and_the_rest_in_bursts(pair: Pair, runner: Pair) -> None:
    for _ in range(BURST + 3):
        pair.theirs.send(packed(ASK))
        runner.theirs.send(packed(Output(1, 2, "", end=False)))
    assert [len(pair.received()) for _ in range(BURST + 4)] == [1] * (BURST + 3) + [0]
    assert [len(runner.received()) for _ in range(3)] == [BURST, 3, 0]


def test_junk_is_read_in_bursts_too_so_that_it_costs_others_little(pair: Pair) -> None:
    for _ in range(2 * BURST):
        pair.theirs.send(b"junk")
    pair.theirs.send(packed(ASK))
    assert pair.received() == []
    assert pair.wire.dropped == BURST
    assert pair.received() == []
    assert pair.received() == [ASK]
    assert pair.wire.dropped == 2 * BURST


# What a peer cannot do


def wire_for(kind: type[Message]) -> Pair:
    """Return a wire on which that may be said."""
    for a, b in joined():
        for place, peer in ((a, b), (b, a)):
            if kind in allowed(role_of(peer), role_of(place)):
                return Pair(place, peer)
    raise AssertionError


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=lambda m: type(m).__name__)
def test_whatever_does_not_fit_is_dropped_and_counted(sample: Message) -> None:
    packets = list(hostile(sample))
    assert len(packets) > 40
    with wire_for(type(sample)) as pair:
        for packet in packets:
            pair.theirs.send(packet)
            assert (packet, pair.received()) == (packet, [])
        assert pair.wire.dropped == len(packets)
        assert not pair.wire.over


@given(st.binary(max_size=400))
@settings(max_examples=400, deadline=None, database=None)
def test_no_bytes_raise_anything(data: bytes) -> None:
    for place, peer in (("monitor", "stream1"), ("stream1", "monitor"), ("worker1", "monitor")):
        with Pair(place, peer) as pair:
            pair.theirs.send(data)
            messages = pair.received()
            assert len(messages) + pair.wire.dropped == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)  # fmt: skip


@given(
    st.sampled_from([*SAMPLES.values()]),
    st.dictionaries(
        st.sampled_from(["id", "epoch", "until", "words", "text", "end", "is"]), VALUES
    ),
)
@settings(max_examples=150, deadline=None, database=None)
def test_no_fields_raise_anything(sample: Message, fields: dict[str, object]) -> None:
    packet = msgspec.msgpack.encode({**msgspec.to_builtins(sample), **fields})
    if len(packet) > PACKET_MAX:
        return
    for place, peer in (("monitor", "stream1"), ("monitor", "observer")):
        with Pair(place, peer) as pair:
            pair.theirs.send(packet)
            for message in pair.received():
                assert type(message) in allowed(role_of(peer), role_of(place))
                assert None not in msgspec.structs.astuple(message)


def test_a_packet_over_the_limit_is_dropped_whole(pair: Pair) -> None:
    least = len(packed(Ask(1, 2, 3.0, "tcp", "", "", ("x" * 1000,) * 15, "x" * 300)))
    room = PACKET_MAX - least + 300
    fits, large = (
        Ask(1, 2, 3.0, "tcp", "", "", ("x" * 1000,) * 15, "x" * size) for size in (room, room + 1)
    )
    assert (len(packed(fits)), len(packed(large))) == (PACKET_MAX, PACKET_MAX + 1)
    pair.theirs.send(packed(fits))
    assert pair.received() == [fits]
    pair.theirs.send(packed(large))
    pair.theirs.send(packed(MORE).ljust(100_000, b"\0"))
    assert pair.received() == []
    assert pair.wire.dropped == 2


def test_an_empty_packet_is_junk_and_no_end(pair: Pair) -> None:
    pair.theirs.send(b"")
    pair.theirs.send(packed(ASK))
    assert pair.received() == [ASK]
    assert (pair.wire.dropped, pair.wire.over) == (1, False)


def test_descriptors_are_not_taken(pair: Pair) -> None:
    before = descriptors(os.getpid())
    for _ in range(50):
        with open(os.devnull, "rb") as null:
            socket.send_fds(pair.theirs, [packed(MORE)], [null.fileno()] * 200)
        assert pair.received() == [MORE]
        with open(os.devnull, "rb") as null:
            socket.send_fds(pair.theirs, [b""], [null.fileno()] * 200)
        assert pair.received() == []
    assert descriptors(os.getpid()) == before
    assert pair.wire.dropped == 50


def test_a_wire_that_a_predecessor_made_wait_does_not_wait() -> None:
    """One that was taken over can change what its successors inherit: the flags of the socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        wire = Wire("monitor", "stream1", ours.detach())
        assert not os.get_blocking(wire.fileno())
        wire.close()


@pytest.mark.parametrize("how", [socket.SHUT_WR, socket.SHUT_RDWR])
def test_a_peer_that_shuts_the_wire_is_over_and_not_read_for_ever(pair: Pair, how: int) -> None:
    pair.theirs.send(packed(ASK))
    pair.theirs.shutdown(how)
    assert pair.received() == [ASK]
    assert pair.received() == []
    assert (pair.wire.over, pair.wire.dropped) == (True, 0)
    assert pair.wire.send(Answer(1, 2, "", end=True)) is False
    assert pair.wire.refused == 1


def test_a_peer_that_reads_no_more_only_refuses(pair: Pair) -> None:
    pair.theirs.shutdown(socket.SHUT_RD)
    assert pair.wire.send(Answer(1, 2, "", end=True)) is False
    pair.theirs.send(packed(ASK))
    assert pair.received() == [ASK]
    assert not pair.wire.over


@pytest.mark.parametrize("unread", [0, 3])
def test_an_end_that_nobody_holds_any_more_is_over(pair: Pair, unread: int) -> None:
    for _ in range(unread):
        pair.wire.send(Fresh("x", 1))
    pair.theirs.close()
    for _ in range(3):
        assert pair.received() == []
    assert pair.wire.over
    assert pair.wire.send(Fresh("x", 1)) is False


# What never waits


@pytest.mark.parametrize("size", [0, 100, PART_MAX])
def test_a_full_wire_refuses_at_once_and_is_counted(pair: Pair, size: int) -> None:
    answer = Answer(1, 2, "x" * size, end=False)
    start = time.monotonic()
    sent = sum(pair.wire.send(answer) for _ in range(1000))
    assert time.monotonic() - start < 1
    assert 8 <= sent < 1000
    assert pair.wire.refused == 1000 - sent
    assert not pair.wire.over
    pair.theirs.recv(PACKET_MAX)
    assert pair.wire.send(answer)


def test_a_message_larger_than_a_packet_is_refused_here_and_not_dropped_there(pair: Pair) -> None:
    assert pair.wire.send(Answer(1, 2, "x" * PACKET_MAX, end=True)) is False
    assert pair.wire.refused == 1
    assert select.select([pair.theirs], [], [], 0)[0] == []


def test_a_wire_holds_eight_of_the_largest_packets(pair: Pair) -> None:
    assert fill(pair.theirs, b"x" * PACKET_MAX) >= 8


@pytest.mark.parametrize(
    "message",
    [
        Answer(2**63 - 1, 2**63 - 1, "\x7f" * PART_MAX, end=True, code=255),
        Output(2**63 - 1, 2**63 - 1, "\U0010ffff" * PART_MAX, end=True, code=255),
        Write(2**63 - 1, 2**63 - 1, "k" * 32, "\U0010ffff" * PART_MAX),
        Run(1, 2, 3, 4.0, ("\U0010ffff" * 1024,) * 3),
        Become("stream1", 1, 2),
        Ping(2**63 - 1),
    ],
)
def test_the_largest_message_fits_a_packet(message: Message) -> None:
    assert len(packed(message)) <= PACKET_MAX
