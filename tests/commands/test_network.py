"""The network of this machine beside ip(8), and trouble in namespaces."""

import json
import re
from typing import Any

import pytest
from tests.commands.observed import answer, check_manual, document, in_namespaces
from tests.kernel.test_rtnetlink import ip

from panicdoor.commands import network
from panicdoor.errors import CommandError
from panicdoor.kernel import netlink

LOOPBACK = "ip link set lo up"
PAIR = f"""{LOOPBACK}
    ip link add v0 type veth peer name v1
    ip address add 192.0.2.1/24 dev v0
    ip address add 2001:db8::1/64 dev v0 nodad
    ip link set v0 up
"""


def test_its_manual() -> None:
    check_manual("network")


def test_it_says_what_ip_says() -> None:
    told = document("network")
    theirs = {one["ifname"]: one for one in ip("address")}
    assert {one["name"] for one in told["interfaces"]} == set(theirs)
    for one in told["interfaces"]:
        other = theirs[one["name"]]
        assert one["mtu"] == other["mtu"]
        assert sorted(one["addresses"]) == sorted(
            f"{address['local']}/{address['prefixlen']}" for address in other["addr_info"]
        )
    defaults = ip("-4", "route", "show", "default") + ip("-6", "route", "show", "default")
    main = [one for one in told["default_routes"] if one["table"] == 254]
    assert sorted(one["gateway"] or "" for one in main) == sorted(
        one.get("gateway", "") for one in defaults
    )


def namespace(setup: str) -> tuple[str, Any]:
    text, as_json = in_namespaces(setup, "network", "network --json")
    return text, json.loads(as_json)


def test_a_quiet_namespace_has_nothing_wrong() -> None:
    text, told = namespace(LOOPBACK)
    assert text.startswith("Nothing unusual about the network.\n")
    assert told["findings"] == []


def test_an_interface_without_its_other_end_and_no_way_out() -> None:
    text, told = namespace(PAIR)
    assert told["findings"] == ["interface v0 is switched on, but lower layer down"]
    assert told["interfaces"][0]["name"] == "v0"
    assert re.search(r"^v0 +lower layer down +1500 ", text, re.MULTILINE)
    assert re.search(r"^v1 +off +1500 ", text, re.MULTILINE)
    _, told = namespace(f"{PAIR}\nip link set v1 up")
    assert told["findings"] == [
        "there is no default route for IPv4, though there are addresses",
        "there is no default route for IPv6, though there are addresses",
    ]


def test_default_routes_alive_and_dead() -> None:
    routes = """
        ip link set v1 up
        ip route add default via 192.0.2.254 metric 7
        ip route add default via 2001:db8::fe
        ip route add unreachable default metric 4278198272
        ip route add default via 192.0.2.253 table 100
    """
    text, told = namespace(PAIR + routes)
    assert told["findings"] == []
    found = [
        (one["family"], one["kind"], one["gateway"], one["table"], one["metric"], one["interface"])
        for one in told["default_routes"]
    ]
    assert found == [
        ("IPv4", "unicast", "192.0.2.254", 254, 7, "v0"),
        ("IPv4", "unreachable", None, 254, 4278198272, None),
        ("IPv4", "unicast", "192.0.2.253", 100, 0, "v0"),
        ("IPv6", "unicast", "2001:db8::fe", 254, 1024, "v0"),
    ]
    assert re.search(r"^IPv4 192\.0\.2\.254 +v0 +7 +main$", text, re.MULTILINE)
    text, told = namespace(PAIR + routes + "ip link set v1 down\nsleep 0.1")
    assert told["findings"][1] == "the default route of IPv4 is dead: its interface does not work"
    assert "DEAD" in text


def test_a_bridge_without_members_is_no_trouble() -> None:
    setup = f"""{LOOPBACK}
        ip link add b0 type bridge
        ip address add 172.17.0.1/16 dev b0
        ip link set b0 up
    """
    _, told = namespace(setup)
    assert told["findings"] == []
    assert told["interfaces"][0]["kind"] == "bridge"


def test_a_hostile_name() -> None:
    text, told = namespace(f"{LOOPBACK}; ip link add \"$(printf 'x\\033[2J)')\" type bridge")
    assert r"x\x1b[2J)" in text
    assert r"x\x1b[2J)" in [one["name"] for one in told["interfaces"]]


def test_many_interfaces_are_left_out_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROWS_MAX", "ADDRESSES_SHOWN", "ROUTES_SHOWN"):
        monkeypatch.setattr(network, name, 0)
    text = answer("network")
    assert re.search(r"\(\d+ more interfaces left out\)", text)
    assert re.search(r"\(\d+ more addresses left out\)", text)
    assert document("network")["left_out"] > 0


def test_no_netlink_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "ROUTE", 31)
    with pytest.raises(CommandError, match="does not tell its interfaces"):
        answer("network")
