"""Interfaces, addresses and routes, beside ip(8), and messages that no kernel would send."""

import json
import shutil
import struct
import subprocess
from socket import AF_INET, AF_INET6
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.test_netlink import attribute

from panicdoor.kernel import rtnetlink
from panicdoor.kernel.inet import host
from panicdoor.kernel.netlink import NetlinkError
from panicdoor.kernel.rtnetlink import parse_address, parse_link, parse_route


def ip(*words: str) -> list[Any]:
    """What `ip -j` says."""
    path = shutil.which("ip")
    if path is None:
        pytest.skip("ip(8) is not installed")
    told = subprocess.run([path, "-j", *words], capture_output=True, check=True).stdout
    found: list[Any] = json.loads(told or b"[]")
    return found


def test_links_as_ip_says() -> None:
    theirs = {
        (one["ifindex"], one["ifname"], one["mtu"], "UP" in one["flags"], one["operstate"].lower())
        for one in ip("link")
    }
    mine = rtnetlink.links()
    states = {"lower layer down": "lowerlayerdown", "not present": "notpresent"}
    assert theirs == {
        (one.device, one.name, one.mtu, one.up, states.get(one.state, one.state)) for one in mine
    }
    assert [one.loopback for one in mine if one.name == "lo"] == [True]


def test_kinds_and_counters_as_ip_says() -> None:
    theirs = {one["ifname"]: one for one in ip("-d", "-s", "link")}
    for one in rtnetlink.links():
        kind = theirs[one.name].get("linkinfo", {}).get("info_kind", "")
        assert one.kind == kind
        stats = theirs[one.name]["stats64"]
        assert one.errors == stats["rx"]["errors"] + stats["tx"]["errors"]
        assert one.received >= stats["rx"]["bytes"]
        assert one.sent >= stats["tx"]["bytes"]


def test_addresses_as_ip_says() -> None:
    theirs = {
        (one["ifindex"], address["local"], address["prefixlen"])
        for one in ip("address")
        for address in one["addr_info"]
    }
    mine = rtnetlink.addresses()
    assert theirs == {(one.device, host(one.address), one.prefix) for one in mine}


@pytest.mark.parametrize(("family", "option"), [(AF_INET, "-4"), (AF_INET6, "-6")])
def test_default_routes_as_ip_says(family: int, option: str) -> None:
    names = {one.device: one.name for one in rtnetlink.links()}
    theirs = [
        (one.get("gateway", ""), one["dev"], one.get("metric", 0))
        for one in ip(option, "route", "show", "default")
    ]
    mine = [one for one in rtnetlink.default_routes() if one.family == family and one.table == 254]
    assert sorted(theirs) == sorted(
        (host(one.gateway) if one.gateway else "", names[one.device], one.metric) for one in mine
    )


def route(*attributes: bytes, to: int = 0, kind: int = 1, flags: int = 0) -> bytes:
    return struct.pack("=BBBBBBBBI", AF_INET, to, 0, 0, 254, 3, 0, kind, flags) + b"".join(
        attributes
    )


def number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def test_routes() -> None:
    (one,) = parse_route(route(number(4, 2), attribute(5, b"\xc0\0\2\1"), number(6, 100)))
    assert (one.device, host(one.gateway), one.metric, one.alive) == (2, "192.0.2.1", 100, True)
    assert parse_route(route(to=24)) == []
    assert [one.kind for one in parse_route(route(kind=7))] == ["unreachable"]
    assert parse_route(route(kind=2)) == []
    assert [one.alive for one in parse_route(route(flags=0x10))] == [False]
    assert [one.table for one in parse_route(route(number(15, 1000)))] == [1000]
    (via,) = parse_route(route(attribute(18, struct.pack("=H", AF_INET6) + bytes(15) + b"\1")))
    assert host(via.gateway) == "::1"


def test_a_route_that_goes_several_ways() -> None:
    gateway = attribute(5, b"\xc0\0\2\1")
    hops = struct.pack("=HBBi", 8 + len(gateway), 0x01, 0, 2) + gateway
    hops += struct.pack("=HBBi", 8, 0, 0, 3)
    found = parse_route(route(attribute(9, hops)))
    assert [(one.device, one.alive) for one in found] == [(2, False), (3, True)]
    with pytest.raises(NetlinkError, match="a hop of 7 bytes"):
        parse_route(route(attribute(9, struct.pack("=HBBi", 7, 0, 0, 2))))


def test_an_address_that_another_host_has() -> None:
    def told(flags: int, *more: bytes) -> rtnetlink.Address:
        header = struct.pack("=BBBBI", AF_INET6, 64, flags, 0, 2)
        return parse_address(header + attribute(1, bytes(16)) + b"".join(more))

    assert (told(0).usable, told(0).taken) == (True, False)
    assert (told(0x40).usable, told(0x40).taken) == (False, False)
    assert (told(0x48).usable, told(0x48).taken) == (False, True)
    assert told(0x48, number(8, 0)).usable  # the wide flags count


def test_a_link_of_hostile_words() -> None:
    link = struct.pack("=BxHiII", 0, 1, 7, 1, 0)
    found = parse_link(link + attribute(3, b"\x1b[2J\xff\0") + attribute(16, b"\x63"))
    assert (found.device, found.name, found.state, found.up) == (7, "\x1b[2J\xff", "99", True)
    assert not found.works


KINDS = st.sampled_from([1, 2, 3, 4, 5, 6, 8, 9, 15, 16, 18, 23])
LIKELY = st.lists(st.tuples(KINDS, st.binary(max_size=70)), max_size=6).map(
    lambda some: bytes([2, *bytes(6), 1, *bytes(4)]) + b"".join(attribute(*one) for one in some)
)


@settings(max_examples=400, deadline=None, database=None)
@given(st.binary(max_size=120) | LIKELY)
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for parse in (parse_link, parse_address, parse_route):
        try:
            parse(data)
        except NetlinkError:
            continue
