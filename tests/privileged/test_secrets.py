"""Who has which secret, by a search of every process's memory and a list of its descriptors.

The bytes that are searched for are those of the keys themselves, and of the files as they are
written. Whoever has only the descriptor of a secret has nothing of it in memory.
"""

import base64
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tests.measures import everybody
from tests.running import ROOT, Door, descriptors, running, wait_for

from panicdoor.keys import identity_from
from panicdoor.roles import ROLE_OF

pytestmark = pytest.mark.skipif(not ROOT, reason="needs root, to read the memory of others")

CHUNK = 16 << 20  # bytes read at once
SPARES = [name for name, role in ROLE_OF.items() if role.name == "spare"]
HOLDERS = {
    "identity": {"monitor"},
    "tls.pem": {name for name, role in ROLE_OF.items() if role.name == "stream"},
}
EVERYTHING = {"supervisor", *SPARES}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door of one's own."""
    with running(tmp_path_factory.mktemp("secrets") / "door") as door:
        yield door


def needles(directory: Path) -> dict[str, list[bytes]]:
    """Return what gives each secret away: the number, in both orders of bytes, and the file."""
    identity = (directory / "identity").read_bytes()
    seed = identity_from(identity).private_bytes_raw()
    tls = (directory / "tls.pem").read_bytes()
    key = load_pem_private_key(tls, None)
    assert isinstance(key, EllipticCurvePrivateKey)
    number = key.private_numbers().private_value.to_bytes(32, "big")
    return {
        "identity": [seed, seed[::-1], *encoded(identity, seed)],
        "tls.pem": [number, number[::-1], *encoded(tls, number)],
    }


def encoded(pem: bytes, secret: bytes) -> list[bytes]:
    """Return the lines of a file in which the middle of a secret stands, as 20 characters each."""
    body = re.split(rb"-----[A-Z ]+-----", pem)[1]
    lines = body.split()
    at = base64.b64decode(b"".join(lines)).index(secret)
    low, high = at * 4 // 3 + 4, (at + len(secret)) * 4 // 3 - 4
    width = len(lines[0])
    found = [b"".join(lines)[i : i + 20] for i in range(low, high - 20)]
    whole = [text for text in found if text in body]
    assert whole, f"no line of {width} has enough of it"
    return whole[:1] + whole[-1:]


def memory(pid: int) -> Iterator[bytes]:
    """Yield all that a process can read of its memory, in overlapping chunks."""
    with (
        open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps,
        open(f"/proc/{pid}/mem", "rb", buffering=0) as mem,
    ):
        for line in maps:
            places, rights, *rest = line.split()
            if not rights.startswith("r") or rest[-1] in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                continue
            low, high = (int(text, 16) for text in places.split("-"))
            for start in range(low, high, CHUNK):
                mem.seek(start)
                try:
                    yield mem.read(min(CHUNK + 64, high - start))
                except OSError:
                    continue  # a page that nothing is behind


def finders(door: Door) -> dict[str, set[str]]:
    """Return in whose memory each secret is found."""
    wanted = needles(door.directory)
    found: dict[str, set[str]] = {name: set() for name in wanted}
    for place, pid in everybody(door).items():
        for chunk in memory(pid):
            for name, texts in wanted.items():
                if any(text in chunk for text in texts):
                    found[name].add(place)
    return found


def held(pid: int) -> set[str]:
    """Return the secrets, files and listening sockets that a process has open, by name."""
    tables = {protocol: Path(f"/proc/net/{protocol}").read_text() for protocol in ("tcp", "udp")}
    found = set()
    for link in descriptors(pid).values():
        if link.startswith("/memfd:"):
            found.add(link.removeprefix("/memfd:").removesuffix(" (deleted)"))
        elif link.startswith("/"):
            found.add(Path(link).name)
        elif inode := re.fullmatch(r"socket:\[(\d+)\]", link):
            for protocol, table in tables.items():
                for row in table.splitlines()[1:]:
                    fields = row.split()
                    if fields[9] == inode[1] and fields[2].endswith(":0000"):
                        found.add(protocol)
    return found - {"null"}


def given(place: str, log: str) -> set[str]:
    """Return the same as ROLES has it."""
    names = {"identity": "identity", "tls": "tls.pem", "stderr": log}
    everything = {*names.values(), "journal", "places", "policy", "tcp", "udp"}
    if place == "supervisor":
        return {*everything, "door"}  # the directory, for the lock on it
    if place in SPARES:
        return everything
    role = ROLE_OF[place]
    wanted = {*role.secrets, *role.files, role.listens} - {""}
    wanted |= {"policy"} if role.policy else set()
    return {names.get(name, name) for name in wanted}


def as_roles_say(door: Door) -> None:
    """Compare every process with the table, and what each has in memory."""
    log = door.log.name
    assert {name: held(pid) for name, pid in everybody(door).items()} == {
        name: given(name, log) for name in ("supervisor", *ROLE_OF)
    }


def mapped(pid: int) -> bool:
    """Whether a secret's memfd is mapped in a process: any but that of the policy."""
    found = set(re.findall(r"/memfd:(\S+)", Path(f"/proc/{pid}/maps").read_text()))
    return bool(found - {"policy"})


def test_at_first_and_when_spares_have_taken_places(door: Door) -> None:
    as_roles_say(door)
    assert finders(door) == HOLDERS
    for name in ("monitor", "stream1", "worker2"):
        spares = {door.place(spare) for spare in SPARES}
        door.wait_filled(name, door.kill(name))
        assert door.place(name) in spares
        wait_for(lambda: set(door.places()) == set(ROLE_OF))
    wait_for(lambda: b"pong" in door.talk(b"ping\r\n"))
    wait_for(lambda: b"pong" in door.secure(b"ping\r\n\x04"))
    wait_for(lambda: finders(door) == HOLDERS)  # until a stream has read its key
    as_roles_say(door)


def test_nobody_maps_a_secret(door: Door) -> None:
    assert not [name for name, pid in everybody(door).items() if mapped(pid)]


def test_a_secret_cannot_be_changed(door: Door) -> None:
    """Whoever has the descriptor, even with root's rights."""
    for fd, link in descriptors(door.pid).items():
        if link.startswith("/memfd:"):
            again = os.open(f"/proc/{door.pid}/fd/{fd}", os.O_RDWR)
            try:
                with pytest.raises(PermissionError):
                    os.write(again, b"x")
            finally:
                os.close(again)


def test_the_search_finds_what_is_there() -> None:
    secret = os.urandom(32)
    assert any(secret in chunk for chunk in memory(os.getpid()))
