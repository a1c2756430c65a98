"""Every form and size of request, the budgets, and that no datagram is worth forging."""

import socket
from array import array
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.protocols.datagram import (
    ANSWERS_RATE,
    BUSY_RATE,
    CELLS,
    DATAGRAM_MAX,
    HEADERS,
    HINTS_BURST,
    HINTS_RATE,
    KEY_SIZE,
    LINE_MAX,
    PAGES_MAX,
    PAGES_RATE,
    PREFIX_BURST,
    PREFIX_RATE,
    Command,
    Datagrams,
    Line,
    Order,
    Page,
    Refusal,
    Verdict,
    answerable,
    ask_for,
    most,
    read_page,
    scope,
)

KEY = bytes(range(KEY_SIZE))
CLIENT = "198.51.100.7"
FULL = bytes(400)
SEALED = b"panicdoor order 1\ndoor: web1 SHA256:x\nby: alice\n"

v4 = st.builds(str, st.ip_addresses(v=4))
v6 = st.lists(
    st.sampled_from([0, 0, 0, 1, 0xFF]) | st.integers(0, 255), min_size=16, max_size=16
).map(lambda octets: socket.inet_ntop(socket.AF_INET6, bytes(octets)))
addresses = v4 | v6


def door(port: int = 903) -> Datagrams:
    return Datagrams(KEY, port)


def one(data: bytes, source: str = CLIENT, port: int = 40000, unicast: bool = True) -> Verdict:
    return door().receive(data, source, port, unicast, 1.0)


def size_of(verdict: Verdict) -> int:
    """The most bytes that this verdict puts on the wire."""
    match verdict:
        case Line(data):
            return len(data)
        case Page():
            return DATAGRAM_MAX
        case Command(_, limit) | Order(_, limit):
            return limit
        case _:
            return -HEADERS


class TestForms:
    def test_one_zero_byte_is_told_how_to_get_more(self) -> None:
        verdict = one(b"\0")
        assert verdict == Line(b"panicdoor: send 400 zero bytes, or use tcp 903, for help\n")

    @pytest.mark.parametrize("size", [1, 2, 100, 381])
    def test_too_few_zero_bytes_get_the_short_line(self, size: int) -> None:
        verdict = one(bytes(size))
        assert isinstance(verdict, Line)
        assert len(verdict.data) <= 59

    @pytest.mark.parametrize("size", [382, 400, 1200])
    def test_enough_zero_bytes_get_a_page(self, size: int) -> None:
        assert one(bytes(size)) == Page(0)

    @pytest.mark.parametrize("number", [0, 1, 255])
    def test_the_second_byte_is_the_page(self, number: int) -> None:
        assert one(ask_for(number)) == Page(number)
        assert len(ask_for(number)) == 400

    @pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\0" * 300, b"\n\0\0", b" \n"])
    def test_a_command_is_words_with_any_padding(self, end: bytes) -> None:
        data = b"\x01help 'two words'" + end
        assert one(data) == Command(("help", "two words"), most(len(data)))

    @pytest.mark.parametrize(
        "text", [b"a;b", b"a\0b", b"a\nb", b"\xff", b"'", "é".encode(), b"\x1b"]
    )
    def test_what_is_no_command_is_told_so(self, text: bytes) -> None:
        verdict = one(b"\x01" + text)
        assert isinstance(verdict, Line)
        assert b"0x01" in verdict.data

    @pytest.mark.parametrize("data", [b"\x01", b"\x01\0\0\0", b"\x01\n"])
    def test_no_command_at_all_is_told_how_to_get_help(self, data: bytes) -> None:
        assert one(data) == one(b"\0")

    def test_an_order_is_passed_on_as_it_is(self) -> None:
        assert one(SEALED) == Order(SEALED.decode(), most(len(SEALED)))

    @pytest.mark.parametrize(
        "data",
        [b"\x02", b"GET / HTTP/1.1\r\n", b"help\n", b"panicdoor order 2\n", SEALED + b"\xff"],
    )
    def test_another_format_is_refused(self, data: bytes) -> None:
        assert one(data) is Refusal.FORMAT

    @pytest.mark.parametrize("data", [b"", bytes(1201), SEALED.ljust(1201)])
    def test_empty_and_too_long_are_refused(self, data: bytes) -> None:
        assert one(data) is Refusal.LENGTH


class TestNeverAnswered:
    @pytest.mark.parametrize("port", [0, 1, 7, 53, 123, 903, 1023])
    def test_low_source_ports(self, port: int) -> None:
        assert one(FULL, port=port) is Refusal.PORT
        assert one(FULL, port=1024) == Page(0)

    def test_broadcast_and_multicast_destinations(self) -> None:
        assert one(FULL, unicast=False) is Refusal.DESTINATION

    @pytest.mark.parametrize(
        "source",
        [
            *("0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "255.255.255.255"),
            *("240.0.0.1", "::", "ff02::1", "ff0e::2:3", "ffff:1::"),
        ],
    )
    def test_sources_that_nobody_has(self, source: str) -> None:
        assert one(FULL, source) is Refusal.SOURCE

    @pytest.mark.parametrize(
        "source",
        [
            "1.0.0.0",
            "127.0.0.1",
            "223.255.255.255",
            "22.4.0.1",
            "::1",
            "ff::1",
            "ff:0:0:1::",
            "fe80::1",
        ],
    )
    def test_sources_that_somebody_may_have(self, source: str) -> None:
        assert one(FULL, source) == Page(0)

    @given(v4)
    def test_v4_sources_as_ipaddress_sees_them(self, source: str) -> None:
        address = IPv4Address(source)
        nobody = address.is_multicast or address.is_reserved or source.startswith("0.")
        assert answerable(source) is not nobody

    @given(v6)
    def test_v6_sources_as_ipaddress_sees_them(self, source: str) -> None:
        address = IPv6Address(source)
        assert answerable(source) is not (address.is_multicast or address.is_unspecified)

    def test_refusals_are_counted_by_reason(self) -> None:
        datagrams = door()
        for _ in range(3):
            datagrams.receive(b"\0", CLIENT, 53, True, 1.0)
        datagrams.receive(b"?", CLIENT, 40000, True, 1.0)
        assert datagrams.refused[Refusal.PORT] == 3
        assert datagrams.refused[Refusal.FORMAT] == 1
        assert sum(datagrams.refused.values()) == 4


class TestAmplification:
    @given(st.binary(max_size=1300) | st.binary(max_size=400).map(lambda b: b"\x01" + b), addresses)
    def test_no_answer_is_over_three_times_its_request(self, data: bytes, source: str) -> None:
        sent = size_of(one(data, source)) + HEADERS
        assert sent <= 3 * (len(data) + HEADERS)
        assert sent <= DATAGRAM_MAX + HEADERS

    def test_the_limits_by_size(self) -> None:
        assert [most(n) for n in (1, 2, 381, 382, 400, 1200)] == [59, 62, 1199, 1200, 1200, 1200]

    @pytest.mark.parametrize("port", [1, 903, 65535])
    def test_every_short_line_fits_what_one_byte_earns(self, port: int) -> None:
        datagrams = door(port)
        lines = [datagrams.fit(bytes(2000), 59), datagrams.fit(bytes(2000), 1200)]
        for data in (b"\0", b"\x01;"):
            verdict = datagrams.receive(data, CLIENT, 40000, True, 1.0)
            assert isinstance(verdict, Line)
            lines.append(verdict.data)
        while isinstance(verdict := datagrams.receive(FULL, CLIENT, 40000, True, 1.0), Page):
            pass
        assert isinstance(verdict, Line)
        lines.append(verdict.data)
        assert len(set(lines)) == 5
        for line in lines:
            assert len(line) <= LINE_MAX == most(1)
            assert line.startswith(b"panicdoor: ")
            assert line.endswith(b"\n")
            assert line.isascii()

    def test_an_answer_that_does_not_fit_says_how_to_get_it(self) -> None:
        datagrams = door()
        assert datagrams.fit(b"x" * 71, 71) == b"x" * 71
        assert b"pad the request with zero bytes to 400" in datagrams.fit(b"x" * 72, 71)
        assert b"use tcp 903" in datagrams.fit(b"x" * 1201, 1200)


def flood(datagrams: Datagrams, data: bytes, sources: list[str], times: list[float]) -> list[int]:
    """Send `data` from every source at every time; return the bytes answered to each, in all."""
    sent = [0] * len(sources)
    for now in times:
        for k, source in enumerate(sources):
            sent[k] += size_of(datagrams.receive(data, source, 40000, True, now)) + HEADERS
    return sent


TEN_SECONDS = [1.0 + k / 50 for k in range(500)]


class TestBudgets:
    def test_a_prefix_gets_its_burst_then_its_rate(self) -> None:
        datagrams = door()
        pages = sum(
            datagrams.receive(FULL, f"198.51.100.{k % 256}", 40000, True, now) == Page(0)
            for k, now in enumerate(TEN_SECONDS)
        )
        most_pages = (PREFIX_BURST + 10 * PREFIX_RATE) // (DATAGRAM_MAX + HEADERS)
        assert most_pages - 1 <= pages <= most_pages

    @pytest.mark.parametrize("data", [FULL, b"\0", b"\x01help".ljust(400), b"\x01a"])
    def test_another_prefix_is_not_touched_by_one_that_floods(self, data: bytes) -> None:
        datagrams = door()
        for times in ([1.0] * 200, TEN_SECONDS):
            flood(datagrams, data, [CLIENT] * 5, times)
            for other in ("203.0.113.1", "198.51.101.7", "2001:db8::1"):
                assert datagrams.receive(data, other, 40000, True, times[-1]) == one(data)

    def test_who_is_out_of_budget_is_told_to_use_tcp_then_nothing(self) -> None:
        datagrams = door()
        verdicts = [datagrams.receive(FULL, CLIENT, 40000, True, 1.0) for _ in range(1000)]
        lines = [v for v in verdicts if isinstance(v, Line)]
        assert b"use tcp 903" in lines[0].data
        assert 0 < len(lines) * (len(lines[0].data) + HEADERS) <= BUSY_RATE
        assert verdicts[-1] is Refusal.BUDGET
        assert datagrams.receive(FULL, CLIENT, 40000, True, 10.0) == Page(0)

    @pytest.mark.parametrize(
        ("data", "rate", "burst"),
        [
            (FULL, PAGES_RATE, PAGES_RATE),
            (b"\0", HINTS_RATE, HINTS_BURST),
            (b"\x01help", ANSWERS_RATE, ANSWERS_RATE),
        ],
    )
    def test_what_is_sent_in_all_is_bounded(self, data: bytes, rate: int, burst: int) -> None:
        sources = [f"{a}.{b}.2.3" for a in range(1, 41) for b in range(50)]
        sent = sum(flood(door(), data, sources, [1.0, 1.5, 2.0, 2.5, 3.0]))
        assert 0.95 * (burst + 2 * rate) <= sent <= burst + 2 * rate + 3 * BUSY_RATE

    def test_a_flood_of_one_kind_leaves_the_others_alone(self) -> None:
        datagrams = door()
        sources = [f"{a}.{b}.2.3" for a in range(1, 41) for b in range(50)]
        flood(datagrams, b"\0", sources, [1.0])
        assert datagrams.receive(FULL, CLIENT, 40000, True, 1.0) == Page(0)
        flood(datagrams, FULL, sources, [1.0])
        command = b"\x01ping".ljust(400)
        assert isinstance(datagrams.receive(command, CLIENT, 40000, True, 1.0), Command)

    def test_orders_are_not_refused_for_a_budget(self) -> None:
        datagrams = door()
        for data in (FULL, SEALED):
            verdicts = [datagrams.receive(data, CLIENT, 40000, True, 1.0) for _ in range(1000)]
        assert all(isinstance(v, Order) for v in verdicts)
        assert not datagrams.spend(CLIENT, DATAGRAM_MAX, datagrams.answers, 1.0)

    def test_a_stranger_in_one_of_the_cells_takes_nothing(self) -> None:
        datagrams = door()
        used_up = array("d", [1000.0]) * CELLS
        datagrams._first[:] = used_up
        assert datagrams.spend(CLIENT, PREFIX_BURST - HEADERS, datagrams.pages, 1.0)
        assert not datagrams.spend(CLIENT, 1, datagrams.pages, 1.0)
        datagrams._second[:] = used_up
        assert not datagrams.spend("203.0.113.5", 1, datagrams.pages, 1.0)

    @given(st.lists(st.tuples(addresses, st.integers(1, 1200), st.floats(0, 3)), max_size=60))
    def test_no_prefix_ever_gets_more_than_its_budget(
        self, asks: list[tuple[str, int, float]]
    ) -> None:
        datagrams, now = door(), 0.0
        got: dict[str, float] = {}
        for source, size, wait in asks:
            now += wait
            if datagrams.spend(source, size, datagrams.answers, now):
                prefix = scope(source)
                got[prefix] = got.get(prefix, 0.0) + size + HEADERS
        assert all(used <= PREFIX_BURST + now * PREFIX_RATE + 1 for used in got.values())

    def test_state_is_fixed(self) -> None:
        datagrams = door()
        flood(datagrams, FULL, [f"{a}.{b}.{a}.3" for a in range(1, 201) for b in range(50)], [1.0])
        tables = (datagrams._first, datagrams._second)
        assert [len(table) for table in tables] == [CELLS, CELLS]
        assert any(tables[0])
        assert tables[0] != tables[1]

    def test_the_key_decides_the_cells(self) -> None:
        def cells(key: bytes) -> list[int]:
            datagrams = Datagrams(key, 903)
            assert datagrams.spend(CLIENT, 100, datagrams.pages, 1.0)
            return [k for k, used in enumerate(datagrams._first) if used]

        assert cells(KEY) == cells(KEY) != cells(bytes(KEY_SIZE))

    @pytest.mark.parametrize("key", [b"", bytes(15), bytes(17)])
    def test_a_key_of_another_size_is_an_error(self, key: bytes) -> None:
        with pytest.raises(ValueError, match="16"):
            Datagrams(key, 903)


class TestScope:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("192.0.2.10", "192.0.2.0/24"),
            ("1.2.3.4", "1.2.3.0/24"),
            ("2001:db8:0:12ab::1", "2001:db8:0:1200::/56"),
            ("2001:db8:0:ab::1", "2001:db8:0:0::/56"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:0::/56"),
            ("::1", "0:0:0:0::/56"),
            ("fe80::1", "fe80:0:0:0::/56"),
            ("1::2:3:4:5:6", "1:0:0:0::/56"),
            ("1:2:3:ff00::", "1:2:3:ff00::/56"),
            ("1:2:3::4", "1:2:3:0::/56"),
            ("::2:3:4:5:6:7:8", "0:2:3:0::/56"),
            ("::1.2.3.4", "0:0:0:0::/56"),
        ],
    )
    def test_examples(self, source: str, expected: str) -> None:
        assert scope(source) == expected

    @given(addresses)
    def test_it_is_the_network_of_the_address(self, source: str) -> None:
        length = 56 if ":" in source else 24
        assert ip_network(scope(source)) == ip_network(f"{source}/{length}", strict=False)
        assert len(scope(source)) <= 64

    @given(v6, v6)
    def test_one_network_has_one_text(self, a: str, b: str) -> None:
        same = ip_network(f"{a}/56", strict=False) == ip_network(f"{b}/56", strict=False)
        assert (scope(a) == scope(b)) is same

    @given(st.integers(0, 2**56 - 1), st.integers(0, 2**72 - 1), st.integers(0, 2**72 - 1))
    def test_neighbours_share_it(self, prefix: int, a: int, b: int) -> None:
        texts = [
            socket.inet_ntop(socket.AF_INET6, (prefix << 72 | low).to_bytes(16, "big"))
            for low in (a, b)
        ]
        assert scope(texts[0]) == scope(texts[1])


class TestPages:
    def test_a_page_is_read_back(self) -> None:
        assert read_page(b"panicdoor web1 page 2/5\ntext\nmore\n") == (1, 5, b"text\nmore\n")
        assert read_page(b"panicdoor web1 page 256/256\n") == (255, PAGES_MAX, b"")

    @pytest.mark.parametrize(
        "head",
        [
            "panicdoor web1 page 0/5",
            "panicdoor web1 page 6/5",
            "panicdoor web1 page 1/257",
            "panicdoor web1 page 1/0",
            "panicdoor web1 page -1/1",
            "panicdoor web1 page 1/1 ",
            "panicdoor  page 1/1",
            "panicdoor a b page 1/1",
            "panicdoor " + "n" * 65 + " page 1/1",
            "xpanicdoor web1 page 1/1",
            "panicdoor: send 400 zero bytes",
        ],
    )
    def test_what_is_no_page(self, head: str) -> None:
        assert read_page(head.encode() + b"\ntext") is None

    @given(st.binary() | st.binary().map(lambda b: b"panicdoor n page " + b))
    def test_no_bytes_raise(self, data: bytes) -> None:
        page = read_page(data)
        assert page is None or 0 <= page[0] < page[1] <= PAGES_MAX


@given(
    st.binary(max_size=1300), addresses, st.integers(0, 65535), st.booleans(), st.floats(0, 2**40)
)
def test_no_datagram_raises(data: bytes, source: str, port: int, unicast: bool, now: float) -> None:
    datagrams = door()
    datagrams.receive(data, source, port, unicast, now)
    datagrams.receive(b"\x01" + data, source, port, unicast, now)
