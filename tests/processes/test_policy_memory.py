"""The policy's memory: two slots in turn, of which a dead writer damages none that holds."""

import os
import signal
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.child import in_child

from panicdoor import config
from panicdoor.kernel import libc
from panicdoor.orders import signers
from panicdoor.processes import policy_memory
from panicdoor.processes.policy_memory import DOOR_MAX, Document, PolicyMemory

SLOT = policy_memory._SLOT
HEAD = policy_memory._HEAD.size


def document(name: str, listed: bytes = b"# nobody") -> Document:
    return Document(config.parse(f'name = "{name}"', "door.toml"), listed)


@pytest.fixture
def memory() -> Iterator[PolicyMemory]:
    made = PolicyMemory()
    yield made
    made.close()


def test_it_is_empty_at_first_and_costs_nothing(memory: PolicyMemory) -> None:
    assert memory.read() is None
    assert memory.newest() == 0
    assert os.fstat(memory.fd).st_blocks == 0


def test_the_last_one_holds(memory: PolicyMemory) -> None:
    for serial in range(1, 6):
        written = document(f"web{serial}", b"x" * 1000 * serial)
        assert memory.write(written) == serial
        assert memory.read() == (serial, written)
        assert memory.read_door() == (serial, written.door)
        assert memory.newest() == serial


def test_the_largest_there_can_be_fits(memory: PolicyMemory) -> None:
    networks = ", ".join(f'"10.0.{n}.0/24"' for n in range(config.GRANT_LIST_MAX))
    grant = f'[[grant]]\nto = ["{"a" * 64}"]\nmay = ["observe"]\nfrom = [{networks}]\n'
    door = config.parse('name = "web1"\n' + grant * config.GRANTS_MAX, "door.toml")
    largest = Document(door, b"x" * signers.FILE_MAX)
    assert memory.write(largest) == 1
    assert memory.read() == (1, largest)
    assert 2 * config.FILE_MAX <= DOOR_MAX  # a network may be written out longer than it was
    with pytest.raises(ValueError, match="cannot be written"):
        memory.write(Document(door, b"x" * (signers.FILE_MAX + 1)))
    assert memory.read() == (1, largest)


def test_who_only_reads_writes_nothing(memory: PolicyMemory) -> None:
    memory.write(document("web1"))

    def attempt() -> object:
        memory.only_read()
        memory.only_read()
        with pytest.raises(ValueError, match="cannot be written"):
            memory.write(document("web2"))
        with pytest.raises(PermissionError):
            os.pwrite(memory.fd, b"x", 0)
        with open("/proc/self/maps") as maps:
            return "memfd:policy" in maps.read()

    assert in_child(attempt) is False
    assert memory.write(document("web3")) == 2


@pytest.mark.parametrize("step", [0, 1, 2])
def test_who_dies_half_way_damages_nothing(
    memory: PolicyMemory, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Killed with a part of the document written, or all of it and a part of the head."""
    memory.write(document("web1"))
    memory.write(document("web2"))
    calls: list[int] = []

    def store(address: int, data: bytes) -> None:
        if len(calls) == step:
            kept(address, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        calls.append(address)
        kept(address, data)

    kept = libc.store
    pid = os.fork()
    if pid == 0:
        libc.store = store
        memory.write(document("web3", b"y" * 5000))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert memory.read() == (2, document("web2"))
    assert memory.write(document("web4")) == 3
    assert memory.read() == (3, document("web4"))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_slot_that_was_damaged_does_not_hold(data: st.DataObject) -> None:
    memory = PolicyMemory()
    try:
        first, second = document("web1"), document("web2")
        memory.write(first)
        memory.write(second)
        door, listed = struct.unpack("=QQ", os.pread(memory.fd, 16, 8))
        length = HEAD + door + listed
        at = data.draw(st.integers(0, length - 1))
        old = os.pread(memory.fd, 1, at)
        new = data.draw(st.binary(min_size=1, max_size=1).filter(lambda byte: byte != old))
        libc.store(memory._address + at, new)
        assert memory.read() == (1, first)
    finally:
        memory.close()


def test_when_both_are_damaged_the_policy_of_the_start_holds(memory: PolicyMemory) -> None:
    for _ in range(2):
        memory.write(document("web1"))
    for slot in range(2):
        libc.store(memory._address + slot * SLOT + HEAD, b"\0")
    assert memory.read() is None
