"""Who is dropped from a full pool, against a plain model, and floods with operators among them."""

import random
import tracemalloc
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.processes.admission import Admission

NETWORKS = [ip_network(n) for n in ("198.51.100.0/24", "10.0.0.0/8", "2001:db8::/32")]


def aggregates(address: str) -> tuple[str, str, str]:
    """The three aggregates of an address, as text, by the standard library."""
    lengths = (32, 48, 56) if ":" in address else (16, 24, 32)
    wide, middle, narrow = (str(ip_network(f"{address}/{n}", strict=False)) for n in lengths)
    return wide, middle, narrow


class Model:
    """The rule of the module's first paragraph, written down slowly."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.members: dict[int, tuple[str, str, str]] = {}  # oldest first

    def victims(self) -> set[int]:
        """Whoever the rule may drop: more than one where aggregates are equally full."""
        chosen = [list(self.members)]
        for depth in range(3):
            parts = []
            for ids in chosen:
                keys = Counter(self.members[i][depth] for i in ids)
                fullest = [key for key, n in keys.items() if n == max(keys.values())]
                parts += [[i for i in ids if self.members[i][depth] == key] for key in fullest]
            chosen = parts
        return {ids[0] for ids in chosen}


few = st.sampled_from(
    [f"{a}.{b}.{c}.{d}" for a in (20, 21) for b in (1, 2) for c in (1, 2) for d in (1, 2)]
    + [f"2001:{a}:{b}:{c}00::{d}" for a in (1, 2) for b in (1, 2) for c in (1, 2) for d in (1, 2)]
    + ["::ffff", "0.0.255.255"]
)
steps = st.lists(st.tuples(st.sampled_from(["enter", "enter", "leave"]), few, st.integers(0, 99)))


@given(st.integers(1, 12), steps)
def test_the_rule_holds_at_every_step(size: int, steps: list[tuple[str, str, int]]) -> None:
    admission, model = Admission(size, 1, []), Model(size)
    for id, (what, address, at) in enumerate(steps):
        if what == "leave":
            gone = list(model.members)[at % len(model.members)] if model.members else 0
            admission.leave(gone)
            model.members.pop(gone, None)
        else:
            victim = admission.enter(id, address)
            model.members[id] = aggregates(address)
            if len(model.members) > size:
                assert victim in model.victims()
                del model.members[victim]
            else:
                assert victim is None
        pool = admission._strangers
        assert list(pool.members) == list(model.members)
        assert pool.everybody.count == len(model.members) <= size
    for id in list(model.members):
        admission.leave(id)
    everybody = admission._strangers.everybody
    assert (everybody.count, everybody.parts, everybody.ranks, everybody.top) == (0, {}, {}, 0)


def test_the_fullest_aggregate_then_its_fullest_part_then_the_oldest() -> None:
    admission = Admission(7, 1, [])
    for id, address in enumerate(
        ["20.1.1.1", "20.2.1.1", "20.2.2.1", "20.2.2.1", "20.2.2.2", "20.3.1.1", "20.3.1.1"]
    ):
        assert admission.enter(id, address) is None
    assert admission.enter(7, "20.4.1.1") == 2


@pytest.mark.parametrize(
    "addresses",
    [
        ["20.1.1.1", "20.2.1.1", "20.1.1.1", "20.2.2.2", "20.2.3.3"],
        ["20.1.1.1", "20.1.2.1", "20.1.1.1", "20.1.2.2", "20.1.2.3"],
        ["20.1.1.1", "20.1.1.2", "20.1.1.3", "20.1.1.2", "20.1.1.4"],
        ["2001:1:1::1", "2001:2:1::1", "2001:1:1::2", "2001:2:2::1", "2001:2:3::1"],
        ["2001:1:1::1", "2001:1:2::1", "2001:1:1::2", "2001:1:2:100::", "2001:1:2:200::"],
        ["2001:1:1:100::", "2001:1:1:200::", "2001:1:1:100::", "2001:1:1:201::", "2001:1:1:2ff::"],
    ],
    ids=["/16", "/24", "address", "/32", "/48", "/56"],
)
def test_what_is_fullest_at_each_width(addresses: list[str]) -> None:
    """The second is the oldest of the fullest, though the first has a closer companion."""
    admission = Admission(len(addresses), 1, [])
    for id, address in enumerate(addresses):
        assert admission.enter(id, address) is None
    assert admission.enter(99, "99.9.9.9") == 1


def test_a_newcomer_to_the_crowd_replaces_one_of_the_crowd() -> None:
    admission = Admission(3, 1, [])
    for id, address in enumerate(["20.1.1.1", "20.2.1.1", "20.3.1.1"]):
        assert admission.enter(id, address) is None
    assert admission.enter(3, "20.3.9.9") == 2
    assert admission.enter(4, "20.9.1.1") == 0


def test_one_host_does_not_drop_its_neighbours() -> None:
    admission = Admission(20, 1, [])
    admission.enter(0, "20.1.1.9")
    victims = {admission.enter(id, "20.1.1.66") for id in range(1, 200)}
    assert 0 not in victims


def test_a_pool_of_one() -> None:
    admission = Admission(1, 1, [])
    assert admission.enter(0, "20.1.1.1") is None
    assert admission.enter(1, "20.2.1.1") == 0
    assert admission.enter(2, "20.2.1.1") == 1


class TestPools:
    @pytest.mark.parametrize("address", ["198.51.100.9", "10.9.8.7", "2001:db8:5::1"])
    def test_named_networks_keep_their_slots_and_take_no_others(self, address: str) -> None:
        admission = Admission(4, 2, NETWORKS)
        assert admission.enter(0, address) is None
        assert admission.enter(1, address) is None
        for id in range(2, 6):
            assert admission.enter(id, f"20.{id}.1.1") is None
        for id in range(6, 100):
            assert admission.enter(id, f"20.{id}.1.1") not in (None, 0, 1)
        assert admission.enter(100, address) == 0

    @given(
        st.ip_addresses(), st.lists(st.tuples(st.ip_addresses(), st.integers(0, 128)), max_size=4)
    )
    def test_a_network_is_what_ipaddress_says(
        self, address: object, wide: list[tuple[object, int]]
    ) -> None:
        networks = [
            ip_network(f"{first}/{min(n, 128 if ':' in str(first) else 32)}", strict=False)
            for first, n in wide
        ]
        admission = Admission(1, 1, networks)
        admission.enter(0, str(address))
        inside = any(ip_address(str(address)) in network for network in networks)
        assert (0 in admission._operators.members) is inside
        assert (0 in admission._strangers.members) is not inside

    def test_everybody_and_nobody(self) -> None:
        admission = Admission(1, 5, [ip_network("0.0.0.0/0")])
        admission.enter(0, "1.2.3.4")
        admission.enter(1, "::1")
        assert list(admission._operators.members) == [0]
        assert list(admission._strangers.members) == [1]


class TestLeaving:
    @pytest.mark.parametrize("address", ["20.1.1.1", "198.51.100.1"])
    def test_a_slot_given_back_is_free(self, address: str) -> None:
        admission = Admission(1, 1, NETWORKS)
        for id in range(1000):
            assert admission.enter(id, address) is None
            admission.leave(id)

    def test_who_was_dropped_may_leave_again(self) -> None:
        admission = Admission(1, 1, [])
        admission.enter(0, "20.1.1.1")
        assert admission.enter(1, "20.1.1.1") == 0
        admission.leave(0)
        admission.leave(7)
        assert admission.enter(2, "20.1.1.1") == 1

    def test_an_id_is_inside_once(self) -> None:
        admission = Admission(2, 1, [])
        admission.enter(0, "20.1.1.1")
        with pytest.raises(ValueError, match="inside"):
            admission.enter(0, "20.1.1.2")


class TestAddresses:
    def test_a_zone_is_no_part_of_the_address(self) -> None:
        admission = Admission(2, 1, [ip_network("fe80::/10")])
        admission.enter(0, "fe80::1%eth0")
        assert list(admission._operators.members) == [0]

    def test_the_families_are_apart(self) -> None:
        admission = Admission(2, 1, [])
        admission.enter(0, "0.0.0.1")
        admission.enter(1, "::1")
        assert admission.enter(2, "::2") == 1

    @pytest.mark.parametrize("text", ["", "web1", "1.2.3", "1.2.3.4.5", ":", "1:2"])
    def test_what_is_no_address_enters_nothing(self, text: str) -> None:
        admission = Admission(2, 1, [])
        with pytest.raises(OSError, match="illegal IP address"):
            admission.enter(0, text)
        assert admission._strangers.members == {}

    @pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (-1, 1)])
    def test_a_pool_has_a_slot(self, sizes: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match="slot"):
            Admission(*sizes, [])


def one_subnet(k: int) -> str:
    return f"20.1.1.{k % 254 + 1}"


def many_subnets(k: int) -> str:
    """200 /24s of eight /16s."""
    return f"20.{k % 8}.{k % 200}.{k % 251}"


def one_site(k: int) -> str:
    return f"2001:5:5:{k % 256:x}::{k % 65521:x}"


def many_sites(k: int) -> str:
    """A provider's customers: 300 /48s of three /32s."""
    return f"2001:{k % 3:x}:{k % 300:x}:{k % 65521:x}::1"


@pytest.mark.parametrize("flood", [one_subnet, many_subnets, one_site, many_sites])
@pytest.mark.parametrize("order", ["in turn", "at random"])
def test_120_of_120_operators_stay_in_under_a_flood(
    flood: Callable[[int], str], order: str
) -> None:
    chance = random.Random(903)
    admission = Admission(512, 16, [])
    inside: set[int] = set()
    operators: list[int] = []
    for id in range(12_000):
        if id % 100 == 50:
            address = f"{30 + len(operators)}.7.7.7"
            operators.append(id)
        else:
            address = flood(id if order == "in turn" else chance.randrange(1 << 24))
        victim = admission.enter(id, address)
        inside.add(id)
        if victim is not None:
            inside.remove(victim)
        if id % 7 == 0:  # some of the flood go by themselves
            some = chance.choice(sorted(inside)[:50])
            if some not in operators:
                admission.leave(some)
                inside.remove(some)
    assert len(operators) == 120
    assert len([id for id in operators if id in inside]) == 120
    assert len(inside) <= 512


def test_a_flood_leaves_nothing_behind() -> None:
    admission = Admission(256, 16, [])
    chance = random.Random(903)

    def flood(first: int) -> None:
        for id in range(first, first + 2000):
            admission.enter(id, f"{chance.randrange(20, 200)}.{chance.randrange(256)}.1.{id % 256}")

    flood(0)
    tracemalloc.start()
    flood(2000)
    before = tracemalloc.get_traced_memory()[0]
    flood(4000)
    flood(6000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 64 * 1024


def test_who_goes_first_where_there_is_no_room() -> None:
    admission = Admission(8, 8, [ip_network("10.0.0.0/8")])
    assert admission.dispensable() is None
    admission.enter(1, "10.0.0.1")
    assert admission.dispensable() == 1
    for id, address in ((2, "192.0.2.1"), (3, "198.51.100.1"), (4, "198.51.100.2")):
        admission.enter(id, address)
    assert admission.dispensable() == 3
    assert admission.dispensable() == 3


def test_networks_that_are_named_later_are_known_from_then_on() -> None:
    admission = Admission(1, 2, [ip_network("192.0.2.0/24")])
    assert admission.enter(1, "192.0.2.1") is None
    assert admission.enter(2, "198.51.100.1") is None
    admission.know([ip_network("198.51.100.0/24")])
    assert admission.enter(3, "198.51.100.2") is None  # an operator now, beside the first
    assert admission.enter(4, "192.0.2.2") == 2  # a stranger now
    for member in (1, 3, 4):
        admission.leave(member)
    assert admission.dispensable() is None
