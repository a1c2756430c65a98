"""Who holds which descriptor, and a place in a process of its own: its birth, its bugs, its end."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.child import in_child, status
from tests.places import FAR, Places, opened
from tests.running import ROOT, descriptors, exit_code, wait_for

from panicdoor.kernel import memory
from panicdoor.messages import Answer, Bug, Cancel, Hello, Message, Ping, Pong, Run
from panicdoor.processes.place import BUGS_A_MINUTE, Place, be_born, close_all, fill, gaps
from panicdoor.roles import ROLE_OF, ROLES, SUPERVISOR, allowed

Entry = Callable[[Place], None]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Places]:
    """A door, opened, with nobody in it."""
    with opened(tmp_path / "door") as places:
        yield places


@pytest.fixture
def hold(door: Places) -> Iterator[Callable[[str, Entry], int]]:
    """Have a place held by a function instead of its role's."""
    started: list[int] = []

    def start(name: str, entry: Entry) -> int:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            fill(name, 3, door.world, entry)
        started.append(pid)
        return pid

    yield start
    for pid in started:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


Hold = Callable[[str, Entry], int]


def run(number: int, *words: str) -> Run:
    """Return an errand that is in time."""
    return Run(number, 1, 0, FAR, words)


# Descriptors


def test_every_descriptor_belongs_to_the_places_that_roles_name(door: Places) -> None:
    holdings = door.world.holdings
    for place, role in ROLE_OF.items():
        mine = holdings.of(place)
        for name, fd in holdings.secrets.items():
            assert (fd in mine) == (name in role.secrets), (place, name)
        for name, fd in holdings.files.items():
            assert (fd in mine) == (name in role.files), (place, name)
        assert (holdings.policy.fd in mine) == bool(role.policy), place
        for name, fds in holdings.listeners.items():
            for fd in fds:
                assert (fd in mine) == (name == role.listens), (place, name)
        for (owner, _), fd in holdings.wires.items():
            assert (fd in mine) == (owner == place), (place, owner)
        assert holdings.null not in mine
        assert holdings.lock not in mine


def test_a_secret_has_one_role() -> None:
    named = [secret for role in ROLES for secret in role.secrets]
    assert len(named) == len(set(named))


def test_keeping_only_some() -> None:
    def keep() -> object:
        reader, writer = os.pipe()
        spare = os.open("/dev/null", os.O_RDONLY)
        high = os.dup2(spare, 900)
        report = max(fd for fd in descriptors(os.getpid()) if fd not in (reader, writer, spare))
        close_all(gaps({reader, high}))
        left = set(descriptors(os.getpid()))
        os.dup2(high, report)  # nothing left to report by: the exit code does it
        os._exit(40 if left == {0, 1, 2, reader, high} else 41)

    pid = os.fork()
    if pid == 0:
        keep()
    assert exit_code(pid) == 40


@pytest.mark.parametrize("name", [name for name in ROLE_OF if not name.startswith("spare")])
def test_a_place_keeps_what_is_its_own(door: Places, hold: Hold, name: str) -> None:
    def serve(place: Place) -> None:
        place.serve()

    pid = hold(name, serve)
    holdings = door.world.holdings
    ours = descriptors(os.getpid())
    own = {ours[fd] for fd in holdings.of(name)}
    others = {ours[fd] for fd in holdings.without(SUPERVISOR)} - own
    others |= {ours[fd] for (owner, _), fd in holdings.wires.items() if owner == SUPERVISOR}
    others |= {ours[holdings.lock]}
    wait_for(lambda: not others & held(pid))
    assert own <= held(pid)


def held(pid: int) -> set[str]:
    """Return what a process has open besides the first three."""
    return {link for fd, link in descriptors(pid).items() if fd > 2}


# Waiting


def test_it_says_hello_and_answers_pings(door: Places, hold: Hold) -> None:
    hold("stream1", lambda place: place.serve())
    hello = door.end("monitor", "stream1").hear(Hello)
    assert (hello.place, hello.fill) == ("stream1", 3)
    door.end(SUPERVISOR, "stream1").say(Ping(8))
    assert door.end(SUPERVISOR, "stream1").hear(Pong) == Pong(8)


def test_no_pong_before_it_is_warm(door: Places, hold: Hold) -> None:
    """Ready means: everything has been done once."""
    told: list[Answer] = []

    def serve(place: Place) -> None:
        place.on(Answer, lambda message, sender: told.append(message))
        place.serve(lambda: warm_up(place))

    def warm_up(place: Place) -> None:
        place.tell("monitor", Bug(place.name, "warming up"))
        for _ in range(1000):
            if told:
                break
            place.run_for(0.01)

    supervisor, monitor = door.end(SUPERVISOR, "datagram"), door.end("monitor", "datagram")
    supervisor.say(Ping(1))
    hold("datagram", serve)
    monitor.hear(Bug)
    wait_for(supervisor.is_read)
    assert supervisor.waiting() == []
    monitor.say(Answer(1, 1, "", end=True))
    assert supervisor.hear(Pong) == Pong(1)


def test_it_serves_on_without_its_supervisor(door: Places, hold: Hold) -> None:
    def serve(place: Place) -> None:
        place.on(Run, lambda message, sender: place.report(ValueError(message.words[0])))
        place.serve()

    pid = hold("worker1", serve)
    hold_datagram = hold("datagram", lambda place: place.serve())
    door.end("monitor", "datagram").hear(Hello)
    door.end(SUPERVISOR, "datagram").socket.shutdown(socket.SHUT_RDWR)
    before = cpu(hold_datagram)
    door.end("monitor", "worker1").say(run(1, "there"))
    assert "there" in door.end("monitor", "worker1").hear(Bug).text
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > 0.3)
    assert cpu(hold_datagram) - before < 0.1  # its end reads as ready for ever: it is not read
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    assert os.waitpid(hold_datagram, os.WNOHANG) == (0, 0)


def cpu(pid: int) -> float:
    """Return the seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_sigterm_ends_it(door: Places, hold: Hold) -> None:
    pid = hold("stream1", lambda place: place.serve())
    door.end("monitor", "stream1").hear(Hello)
    os.kill(pid, signal.SIGTERM)
    assert exit_code(pid) == -signal.SIGTERM


def test_what_is_last_is_done_after_sigterm(door: Places, hold: Hold) -> None:
    def serve(place: Place) -> None:
        place.serve(last=lambda: place.report(ValueError("the last word")))

    pid = hold("stream1", serve)
    door.end("monitor", "stream1").hear(Hello)
    door.end(SUPERVISOR, "stream1").say(Ping(1))
    door.end(SUPERVISOR, "stream1").hear(Pong)
    os.kill(pid, signal.SIGTERM)
    assert exit_code(pid) == 0
    assert "the last word" in door.end("monitor", "stream1").hear(Bug).text


def test_sigterm_while_it_warms_up_ends_it(door: Places, hold: Hold) -> None:
    def serve(place: Place) -> None:
        place.serve(lambda: warm_up(place), last=lambda: None)

    def warm_up(place: Place) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        place.run_for(30)

    assert exit_code(hold("stream1", serve)) == 0


# Bugs


def test_a_bug_in_a_handler_is_told_and_no_end(door: Places, hold: Hold) -> None:
    def fail(message: Message, sender: str) -> None:
        raise ValueError(f"from {sender}\nresult: \x1b[2J")

    def serve(place: Place) -> None:
        place.on(Run, fail)
        place.serve()

    hold("worker1", serve)
    end = door.end("monitor", "worker1")
    for number in range(BUGS_A_MINUTE + 3):
        end.say(run(number))
    bugs = [end.hear(Bug) for _ in range(BUGS_A_MINUTE)]
    assert bugs[0].place == "worker1"
    assert r"ValueError: from monitor\x0aresult: \x1b[2J at " in bugs[0].text
    assert "test_place.py:" in bugs[0].text
    end.say(Cancel(1, 1))
    wait_for(end.is_read)
    assert [message for message in end.waiting() if isinstance(message, Bug)] == []


def test_a_bug_at_birth_is_told_and_the_end(door: Places, hold: Hold) -> None:
    def fail(place: Place) -> None:
        raise RuntimeError("x" * 2000)

    assert exit_code(hold("writer", fail)) == 1
    bug = door.end("monitor", "writer").hear(Bug)
    assert bug.text.startswith("RuntimeError: xxx")
    assert len(bug.text) == 512


def test_an_entry_that_returns_is_an_end(door: Places, hold: Hold) -> None:
    assert exit_code(hold("observer", lambda place: None)) == 0


def test_every_role_handles_all_that_it_may_be_told(door: Places) -> None:
    """A message that the table lets through and nobody handles would be a bug at run time."""
    heard = []

    def serving(place: Place, *arguments: object, **named: object) -> None:
        may = {
            kind
            for sender in (SUPERVISOR, *(role.name for role in ROLES))
            for kind in allowed(sender, place.role.name)
        }
        missing = may - set(place._handlers)
        os._exit(50 if not missing else 51)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Place, "serve", serving)
        for name in ROLE_OF:
            if not name.startswith("spare"):
                door.fill(name)
                heard.append((name, exit_code(door.pids.pop(name))))
    assert [name for name, ended in heard if ended != 50] == []


# Birth


def test_what_is_done_after_the_fork(door: Places) -> None:
    def born() -> object:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        be_born(door.world, memory.survey(), forever=ROOT)
        return {
            "ignored": int(status("SigIgn"), 16),
            "links": sorted({descriptors(os.getpid())[fd] for fd in (0, 1, 2)}),
            "caught": int(status("SigCgt"), 16) >> (signal.SIGTERM - 1) & 1,
        }

    found = in_child(born)
    for number in (signal.SIGINT, signal.SIGHUP):
        assert found["ignored"] >> (number - 1) & 1
    assert not found["ignored"] >> (signal.SIGTERM - 1) & 1
    assert not found["caught"]
    assert found["links"] == ["/dev/null"]
