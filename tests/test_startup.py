"""Once a door is ready, nothing is new: no file, no process, no module, no thread, no page.

Everything that a client can cause is caused, good and bad, by every protocol, while strace(1) and
/proc look on.
"""

import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.child import kib, status
from tests.everyone import ask, everything, fresh_source, talk, talk_inside
from tests.measures import everybody, faults, resident
from tests.running import ROOT, Door, running, wait_for

from panicdoor.commands.snapshot import COUNTED

WATCHED = "trace=%file,%process,mmap,statfs,fstat,fstatfs,memfd_create,socket,connect"
# What strace(1) is not to be told of: the end of a line of its own, memory without a file, and what
# the observer looks at while nobody asks it anything.
KEPT = "|".join(re.escape(f'"{path}", O_RDONLY') for path in COUNTED)
HARMLESS = re.compile(
    r"mmap\(.*MAP_ANONYMOUS|strace: |\+\+\+|--- SIG|resumed>|exit_group" + f"|openat\\(.*(?:{KEPT})"
)
SPREAD = 24  # connections, after which both streams have had some, or chance is against us
MINOR_MAX = 20  # page faults of one process in a second round
ROUNDS = 3  # on a busy host the kernel moves pages about; what is new to us is new once
PSS_MAX = 96 << 10  # KiB, of all processes together
CAP_SYS_RESOURCE = 24
INSIDE = ("inside-frontend", "inside-monitor", "inside-observer", "inside-worker")
MORE = b"count 3\ncrash\ncrash-monitor\nfail\ndoze 1\n" + b"\n".join(i.encode() for i in INSIDE)


@pytest.fixture(scope="module")
def busy_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door with the commands of `tests/extra.py`, for everything that this file asks."""
    with running(tmp_path_factory.mktemp("busy") / "door", extra=True) as door:
        yield door


@contextmanager
def strace(door: Door, log: Path) -> Iterator[None]:
    """Have every process of the door watched, and what it asks of the kernel written to `log`."""
    who = [f"--attach={pid}" for pid in everybody(door).values()]
    watcher = subprocess.Popen(
        ["strace", "-f", "-q", "-o", log, "-e", WATCHED, *who], stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: all(status("TracerPid", pid) != "0" for pid in everybody(door).values()))
        yield
    finally:
        watcher.terminate()
        watcher.wait(10)


def may(capability: int) -> bool:
    """Return whether we have a capability: capabilities(7)."""
    return bool(int(status("CapEff"), 16) >> capability & 1)


def calls(log: Path) -> list[str]:
    """Return the calls in a log that nobody should make, each with the pid before it."""
    return [line for line in log.read_text().splitlines() if not HARMLESS.search(line)]


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
def test_no_file_and_no_process_after_ready(busy_door: Door, tmp_path: Path) -> None:
    clean, soiled = tmp_path / "clean", tmp_path / "soiled"
    with strace(busy_door, clean):
        for _ in range(3):
            everything(busy_door)
            talk(busy_door, MORE)
            talk_inside(busy_door, MORE)
        assert b"pong" in talk(busy_door, b"ping\n")
    assert calls(clean) == []

    # And the watch sees what it is for.
    with strace(busy_door, soiled):
        talk(busy_door, b"touch-disk\ntouch-disk-here\n")
    found = calls(soiled)
    places = busy_door.places()
    assert len({line.split()[0] for line in found}) == 2
    assert any(line.startswith(f"{places['monitor']} ") for line in found)


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
def test_ssh_that_is_filled_anew_opens_no_file(busy_door: Door, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with strace(busy_door, log):
        before = busy_door.kill("ssh")
        busy_door.wait_filled("ssh", before)
        with busy_door.connect() as client:
            client.sendall(b"SSH-2.0-test\r\n")
            assert client.recv(8) == b"SSH-2.0-"
    pid = busy_door.place("ssh")
    assert [line for line in calls(log) if line.startswith(f"{pid} ") and '"/' in line] == []


def test_no_page_is_new_in_a_second_round(calm_door: Door) -> None:
    who = everybody(calm_door)
    everything(calm_door)
    least: dict[str, int] = {}
    for _ in range(ROUNDS):
        before = {place: faults(pid) for place, pid in who.items()}
        everything(calm_door)
        came = {place: faults(pid).since(before[place]) for place, pid in who.items()}
        assert everybody(calm_door) == who
        assert {place: n.major for place, n in came.items() if n.major} == {}
        least = {place: min(n.minor, least.get(place, n.minor)) for place, n in came.items()}
        if max(least.values()) < MINOR_MAX:
            break
    assert {place: n for place, n in least.items() if n >= MINOR_MAX} == {}


def insides(door: Door) -> dict[str, set[bytes]]:
    """Return what each kind of process says of its modules and threads."""
    found: dict[str, set[bytes]] = {}
    for _ in range(SPREAD):
        for line in (*INSIDE, "size"):
            found.setdefault(line, set()).add(talk(door, line.encode() + b"\n"))
    datagram = ask(door, b"\1size".ljust(400, b"\0"), fresh_source(), wait=2)
    found["datagram"] = {datagram or b""}
    return found


def test_no_module_and_no_thread_is_new(busy_door: Door) -> None:
    before = insides(busy_door)
    everything(busy_door)
    after = insides(busy_door)
    assert after == before
    assert {line: len(said) for line, said in after.items() if len(said) != 1} == {}
    for said in after.values():
        assert all(re.match(rb"\d+ (1 |modules, 1 threads)", text) for text in said)
    # All were forked from one process that had imported everything.
    assert len({re.match(rb"\d+", text)[0] for said in after.values() for text in said}) == 1  # type: ignore[index]
    threads = {place: status("Threads", pid) for place, pid in everybody(busy_door).items()}
    assert {place: n for place, n in threads.items() if n != "1"} == {}


def test_all_memory_together(calm_door: Door) -> None:
    everything(calm_door)
    together = resident(list(everybody(calm_door).values()))
    print(f"all processes together: {together / 1024:.1f} MiB")
    assert together <= PSS_MAX


def test_everybody_is_locked_where_the_limits_allow(calm_door: Door) -> None:
    if "not locked" in calm_door.said():
        pytest.skip("here they do not, and the door has said so")
    locked = {place: kib("VmLck", pid) for place, pid in everybody(calm_door).items()}
    assert {place: size for place, size in locked.items() if not size} == {}


@pytest.mark.skipif(not ROOT, reason="only root can take rights away before the start")
@pytest.mark.parametrize(
    ("limit", "note"),
    [
        ("65536", "memory is not locked, and may be paged out"),
        ("100663296", "only memory held at start is locked"),
    ],
)
def test_a_door_that_may_not_lock_says_so(tmp_path: Path, limit: str, note: str) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if hard != resource.RLIM_INFINITY and int(limit) > hard and not may(CAP_SYS_RESOURCE):
        pytest.skip("this machine gives nobody so much")
    less = ("setpriv", "--bounding-set=-ipc_lock,-sys_resource")
    prefix = ("prlimit", f"--memlock={limit}:{limit}", *less)
    with running(tmp_path / "door", prefix=prefix) as door:
        assert f"note: {note}" in door.said()
        everything(door)
        locked = {place: kib("VmLck", pid) > 0 for place, pid in everybody(door).items()}
        assert set(locked.values()) == {"held at start" in note}
        assert b"pong" in talk(door, b"ping\n")


def test_serve_imports_no_more_than_it_needs() -> None:
    """A door imports no more than it needs: what only other subcommands need costs it nothing."""
    code = "from panicdoor.cli.main import main, sys; main(['serve', '/no']); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"shutil", "html.entities", "cryptography.x509", "tempfile", "multiprocessing"}
    assert heavy & set(ran.stdout.split()) == set()
    assert "panicdoor.processes.supervisor" in ran.stdout
