"""Reloading, in the monitor and at a real door: whoever dies or hangs, one policy holds whole."""

import dataclasses
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.child import in_child
from tests.judge.test_sessions import hostbound
from tests.monitors import linger, out, start, taken, written
from tests.nobody import running_as_nobody
from tests.places import EPOCH, FAR, Places, opened
from tests.running import LOOPBACK, ROOT, Door, descriptors, running, wait_for
from tests.sshkeys import Key, ed25519_key, exchange

from panicdoor.commands.registry import COMMANDS
from panicdoor.config import Address, Grant
from panicdoor.messages import (
    Answer,
    Ask,
    Cancel,
    Fresh,
    Hello,
    Login,
    Message,
    More,
    Regraded,
    Reload,
    Reloaded,
    Run,
    Session,
    Sign,
    Signed,
    Write,
)
from panicdoor.orders.sshwire import string
from panicdoor.processes import monitor
from panicdoor.processes.policy_memory import Document
from panicdoor.processes.reloading import LINES_MAX
from panicdoor.roles import ROLE_OF

OTHER = '\n[[grant]]\nto = ["alice"]\nmay = ["observe"]\nfrom = ["127.0.0.0/8"]\n'
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOZ1pNEPDl9OFPaJDtRNmBXjGzIvQ0xS7+VqnVHR2zmV"
ALICE = f'alice namespaces="login@panicdoor" {KEY}\n'
FLOOD = 600  # small answers, more than a wire holds
CROWD = 24  # more than the pools of a door that is small for a test
# A pipe without a writer makes whoever opens it wait in the kernel, as a dead disk does.
HURRY = """
from panicdoor.processes import errands, worker
errands.ERRAND_S, errands.WAIT_S = 2.0, 0.5
def read_policy(directory, read=worker.read_policy):
    if (directory / "hang").exists():
        (directory / "hang").read_bytes()
    return read(directory)
worker.read_policy = read_policy
"""


# The monitor, with a worker that a test plays


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    with opened(tmp_path / "door") as places:
        start(places)
        yield places


def asked(places: Places) -> Run:
    """Have a reload begun, and return the errand for it."""
    places.end("supervisor", "monitor").say(Reload())
    run = places.end("worker1", "monitor").hear(Run)
    assert run.words == ()
    return run


def put(places: Places, listed: bytes = b"# nobody\n", /, **fields: object) -> None:
    """Put another policy in force, as a worker does."""
    door = places.world.door
    values = {name: getattr(door, name) for name in type(door).__struct_fields__}
    in_child(
        lambda: places.world.holdings.policy.write(
            Document(type(door)(**{**values, **fields}), listed)
        )
    )


def test_what_was_written_holds_and_frontends_are_told(places: Places) -> None:
    run = asked(places)
    listen = (Address(LOOPBACK, 1),)
    put(places, name="web2", fleet="prod", contact="others", listen=listen, elsewhere={"ilo": "x"})
    out(places.end("worker1", "monitor"), run, "", last=True)
    assert written(places, "reload") == {
        "policy": 1,
        "restart": ["name", "fleet", "contact", "listen", "elsewhere"],
    }
    for frontend in ("stream1", "stream2", "ssh", "datagram"):
        assert places.end(frontend, "monitor").hear(Reloaded).serial == 1
    places.end("stream1", "monitor").say(Hello("stream1", 2, 5))
    assert places.end("stream1", "monitor").hear(Reloaded).serial == 1


def test_what_a_worker_refuses_is_recorded_and_nothing_changes(places: Places) -> None:
    run = asked(places)
    out(places.end("worker1", "monitor"), run, "door.toml: name: wrong\n", last=True, code=1)
    assert written(places, "reload") == {"error": "door.toml: name: wrong"}
    places.end("stream1", "monitor").say(Hello("stream1", 2, 5))
    places.read_by("monitor")
    assert not any(isinstance(m, Reloaded) for m in places.end("stream1", "monitor").waiting())


def test_a_worker_is_not_believed_that_says_all_is_well(places: Places) -> None:
    out(places.end("worker1", "monitor"), asked(places), "", last=True)
    assert "could not be kept" in written(places, "reload")["error"]


def test_only_the_last_word_of_a_worker_counts(places: Places) -> None:
    run = asked(places)
    out(places.end("worker1", "monitor"), run, "reading\n")
    taken(places)
    put(places)
    out(places.end("worker1", "monitor"), run, "", last=True)
    assert written(places, "reload") == {"policy": 1}


def test_of_many_lines_that_are_skipped_some_are_recorded(places: Places) -> None:
    run = asked(places)
    put(places, b"junk\n" * 20)
    out(places.end("worker1", "monitor"), run, "", last=True)
    assert len(written(places, "reload")["skipped"]) == LINES_MAX


def test_what_was_written_holds_whatever_its_worker_said(places: Places) -> None:
    """It died after it had written, before it could say so: every later process reads it."""
    asked(places)
    put(places)
    places.end("worker1", "monitor").say(Hello("worker1", 2, 99))
    assert written(places, "reload") == {"policy": 1}
    places.read_by("monitor")
    entries = places.end("writer", "monitor").waiting()
    assert not any(isinstance(m, Write) and m.kind == "reload" for m in entries)


def test_asked_twice_it_is_read_once_more(places: Places) -> None:
    worker = places.end("worker1", "monitor")
    first = asked(places)
    for _ in range(3):
        places.end("supervisor", "monitor").say(Reload())
    places.read_by("monitor")
    put(places)
    out(worker, first, "", last=True)
    second = worker.hear(Run)
    out(worker, second, "no\n", last=True, code=1)
    assert written(places, "reload") == {"policy": 1}
    assert written(places, "reload") == {"error": "no"}
    assert not worker.said_within(0.3)


def test_a_monitor_that_is_filled_anew_has_the_last_one(places: Places) -> None:
    put(places)
    places.stop("monitor", signal.SIGKILL)
    places.fill("monitor", fill_no=2)
    assert places.end("datagram", "monitor").hear(Reloaded).serial == 1


def test_what_a_worker_has_written_of_which_nobody_heard_holds_soon(tmp_path: Path) -> None:
    """It was told to by a monitor that has been replaced since."""
    with opened(tmp_path / "door") as places:
        places.fill("monitor", lambda: setattr(monitor, "FRESH_S", 0.05))
        places.end("stream1", "monitor").hear(Fresh)
        put(places)
        assert written(places, "reload") == {"policy": 1}
        assert places.end("datagram", "monitor").hear(Reloaded).serial == 1


def test_what_makes_root_for_too_little_is_recorded(tmp_path: Path) -> None:
    def shell() -> None:
        made = dataclasses.replace(COMMANDS["forbidden"], name="shell", makes_root=True)
        monitor.FRESH_S, COMMANDS["shell"] = 0.05, made  # type: ignore[misc]

    grants = (
        Grant(to=("alice",), may=("shell",)),
        Grant(to=("alice",), may=("observe",), signatures=2),
    )
    with opened(tmp_path / "door") as places:
        places.fill("monitor", shell)
        places.end("stream1", "monitor").hear(Fresh)
        put(places, grants=grants)
        (note,) = written(places, "reload")["notes"]
        assert note.startswith("shell makes root with 1 signature")


def logged_in(places: Places, key: Key) -> Session:
    """Log alice in, as connection 7 of an ssh process."""
    ssh = places.end("ssh", "monitor")
    ssh.say(Hello("ssh", 1, EPOCH))
    host = places.world.host_key.blob
    made = exchange(host, ssh.hear(Fresh).challenge, 1)
    ssh.say(Sign(1, EPOCH, 7, made.hash, made.transcript))
    assert ssh.hear(Signed).signature
    body = hostbound("alice", key, host)
    ssh.say(Login(2, EPOCH, 7, body, key.sign(string(made.hash) + body), "192.0.2.7"))
    return ssh.hear(Session)


def test_who_has_lost_a_grant_is_out_whatever_the_ssh_process_does(tmp_path: Path) -> None:
    """It has been taken over, and ends nothing by itself."""
    grants = (Grant(to=("alice",), may=("observe",)),)
    key = ed25519_key()
    listed = f'alice namespaces="login@panicdoor" {key.line()}\n'.encode()
    with opened(tmp_path / "door") as places:
        put(places, listed, grants=grants)
        start(places)
        ssh, observer = places.end("ssh", "monitor"), places.end("observer", "monitor")
        session = logged_in(places, key)
        assert (session.principal, session.level) == ("alice", "observe")
        request = Ask(3, EPOCH, FAR, "ssh", "192.0.2.7", "", ("triage",), "", session.token)
        ssh.say(request)
        run = observer.hear(Run)

        errand = asked(places)
        put(places, listed, grants=())
        out(places.end("worker1", "monitor"), errand, "", last=True)
        assert ssh.hear(Regraded) == Regraded(EPOCH, 7, "")
        assert observer.hear(Cancel).id == run.id
        assert written(places, "reload") == {"policy": 2, "ended": 1, "of": "alice"}
        ssh.say(More(3, EPOCH), replace(request, id=4))
        assert ssh.hear(Answer, id=4).text == "this session has ended; log in again\n"


def test_whose_session_has_ended_is_told_though_a_wire_was_full(tmp_path: Path) -> None:
    grants = (Grant(to=("alice",), may=("observe",)),)
    key = ed25519_key()
    listed = f'alice namespaces="login@panicdoor" {key.line()}\n'.encode()
    with opened(tmp_path / "door") as places:
        put(places, listed, grants=grants)
        start(places)
        ssh = places.end("ssh", "monitor")
        logged_in(places, key)
        for number in range(FLOOD):  # each is answered, and nobody reads the answers
            ssh.say(Sign(10 + number, EPOCH, 8, b"1" * 32, b""))
        places.read_by("monitor")
        errand = asked(places)
        put(places, listed, grants=())
        out(places.end("worker1", "monitor"), errand, "", last=True)
        assert written(places, "reload")["ended"] == 1
        heard: list[Message] = []

        def told() -> list[Message]:
            heard.extend(ssh.waiting())
            return [m for m in heard if isinstance(m, Regraded)]

        wait_for(told)
        assert sum(isinstance(m, Signed) for m in heard) < FLOOD
        linger(places, 0.1)
        assert told() == [Regraded(EPOCH, 7, "")]


# A real door


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    directory = tmp_path_factory.mktemp("reloading") / "door"
    with running(directory, extra=True, code=HURRY) as door:
        (directory / "allowed_signers").write_text(ALICE)
        yield door


@pytest.fixture
def policy(door: Door) -> Iterator[Path]:
    """The door's policy, to be changed and put back."""
    file = door.directory / "door.toml"
    before = file.read_text()
    yield file
    file.write_text(before)
    verdict(door)


def verdicts(door: Door) -> list[dict[str, Any]]:
    """Return all that the door has recorded of reloads."""
    rows = [line.split(" ", 4) for line in (door.directory / "journal").read_text().splitlines()]
    return [json.loads(row[4]) for row in rows if row[3] == "reload"]


def verdict(door: Door) -> dict[str, Any]:
    """Have it read its policy anew, and return what it has recorded of that."""
    before = len(verdicts(door))
    door.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(verdicts(door)) > before, 10)
    return verdicts(door)[before]


def told(door: Door) -> str:
    """Return what strangers read about triage, and so which policy a stream has."""
    return " ".join(door.talk(b"help triage\r\n").decode().split())


def say_hang(door: Door) -> list[socket.socket]:
    """Have every worker hang."""
    clients = []
    for _ in range(ROLE_OF["worker1"].n):
        clients.append(door.connect())
        clients[-1].sendall(b"hang\r\n")
        while b"hanging" not in clients[-1].recv(4096):
            pass
    return clients


def test_another_policy_holds_at_once_and_is_told_of(door: Door, policy: Path) -> None:
    assert "No grant names it: nobody." in told(door)
    policy.write_text(policy.read_text() + OTHER)
    found = verdict(door)
    assert set(found) == {"policy"}
    for _ in range(8):  # both streams
        wait_for(lambda: "One signature, or typed in ssh" in told(door))
    assert f"reload: {json.dumps(found, separators=(',', ':'))}" in door.said()
    assert "127.0.0" not in told(door)
    page = door.talk(b"GET /help/triage.json HTTP/1.0\r\n\r\n")
    assert json.loads(page.partition(b"\r\n\r\n")[2])["needs"] == {"signatures": 1, "typed": True}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "web1"\n[[grant]]\nto = ["mallory"]\nmay = ["observe"]', "grant[0].to[0]: "),
        ('name = "web1"\n[[grant]]\nto = ["alice"]\nmay = ["fly"]', "grant[0].may[0]: "),
        ('name = "web1"\n\n= 1', "line 3, column 1: "),
    ],
)
def test_wrong_the_last_good_one_stays(door: Door, policy: Path, text: str, said: str) -> None:
    before = policy.read_text()
    policy.write_text(before + OTHER)
    good = verdict(door)["policy"]
    policy.write_text(text)
    assert verdict(door)["error"].startswith(f"{policy}: {said}")
    assert "One signature" in told(door)
    # Also for whoever comes later.
    for place in ("monitor", "stream1", "stream2"):
        pid = door.kill(place)
        door.wait_filled(place, pid)
    wait_for(door.documented)
    assert "One signature" in told(door)
    policy.write_text(before)
    assert verdict(door) == {"policy": good + 1}


def test_a_policy_that_others_may_write_to_is_refused(door: Door, policy: Path) -> None:
    policy.chmod(0o666)
    try:
        assert "others may write to it" in verdict(door)["error"]
    finally:
        policy.chmod(0o644)


def test_places_filled_later_need_no_disk_for_it(door: Door, policy: Path) -> None:
    policy.write_text(policy.read_text() + OTHER)
    verdict(door)
    away = door.directory.with_name("away")
    door.directory.rename(away)
    try:
        for place in ("stream1", "stream2", "monitor", "ssh", "datagram"):
            pid = door.kill(place)
            door.wait_filled(place, pid)
        wait_for(door.documented)
        assert "One signature" in told(door)
    finally:
        away.rename(door.directory)
    assert "policy" in verdict(door)


def test_a_stream_that_is_filled_while_the_monitor_is_stopped_has_it(
    door: Door, policy: Path
) -> None:
    policy.write_text(policy.read_text() + OTHER)
    assert "policy" in verdict(door)
    stopped = door.kill("monitor", signal.SIGSTOP)
    for place in ("stream1", "stream2"):
        pid = door.kill(place)
        door.wait_filled(place, pid)
    wait_for(door.documented)
    assert "One signature" in told(door)
    assert door.place("monitor") == stopped
    os.kill(stopped, signal.SIGCONT)
    wait_for(lambda: "policy" in verdict(door))


def test_a_signal_twice(door: Door, policy: Path) -> None:
    policy.write_text(policy.read_text() + OTHER)
    before = len(verdicts(door))
    for _ in range(2):
        door.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(verdicts(door)) > before)
    wait_for(lambda: "One signature" in told(door))
    assert all("policy" in found for found in verdicts(door)[before:])


def test_every_worker_hangs(door: Door, policy: Path) -> None:
    """It is said that nobody is there to read; once the workers are replaced, somebody is."""
    policy.write_text(policy.read_text() + OTHER)
    clients = say_hang(door)
    try:
        assert "door.toml" not in verdict(door).get("error", "")
        assert door.documented()
        wait_for(lambda: "policy" in verdict(door), 10)
        assert "One signature" in told(door)
    finally:
        for client in clients:
            client.close()


@pytest.fixture
def pipe(door: Door) -> Iterator[Path]:
    """What keeps a worker waiting."""
    path = door.directory / "hang"
    os.mkfifo(path, 0o600)
    yield path
    path.unlink()
    wait_for(lambda: "policy" in verdict(door))


def test_a_disk_that_hangs_costs_a_worker_and_nothing_else(door: Door, pipe: Path) -> None:
    before = {name: door.place(name) for name in ("worker1", "worker2")}
    error = verdict(door)["error"]
    assert "did not answer in 2 seconds and is being replaced" in error
    assert door.documented()
    wait_for(lambda: sum(door.places().get(n) != pid for n, pid in before.items()) == 1)


def test_a_worker_that_is_killed_while_it_reads(door: Door, pipe: Path) -> None:
    before = len(verdicts(door))
    ends: list[int] = []

    def opened() -> bool:
        """Open the other end, which can be done once somebody is about to read."""
        with suppress(OSError):
            ends.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return bool(ends)

    def readers() -> list[int]:
        return [p for p in door.places().values() if str(pipe) in descriptors(p).values()]

    try:
        door.process.send_signal(signal.SIGHUP)
        wait_for(opened)
        wait_for(readers)
        os.kill(readers()[0], signal.SIGKILL)
        wait_for(lambda: len(verdicts(door)) > before)
        assert verdicts(door)[-1] == {"error": "the process that ran this ended"}
    finally:
        for end in ends:
            os.close(end)


def test_without_a_monitor_it_is_read_when_there_is_one(door: Door, policy: Path) -> None:
    policy.write_text(policy.read_text() + OTHER)
    wait_for(lambda: set(door.places()) == set(ROLE_OF) and "policy" in verdict(door))
    before = len(verdicts(door))
    pid = door.kill("monitor", signal.SIGSTOP)
    door.process.send_signal(signal.SIGHUP)
    os.kill(pid, signal.SIGKILL)
    door.wait_filled("monitor", pid)
    wait_for(lambda: len(verdicts(door)) > before)
    assert "policy" in verdicts(door)[-1]


def test_nothing_is_imported_or_opened_for_it(door: Door, policy: Path) -> None:
    wait_for(lambda: "policy" in verdict(door))
    wait_for(lambda: set(door.places()) == set(ROLE_OF))

    def inside() -> list[object]:
        texts = [door.talk(f"inside-{where}\r\n".encode()) for where in ("monitor", "worker")]
        sizes = [text.split()[-200:] for text in texts]
        places = ("stream1", "stream2", "ssh", "datagram", "monitor")
        return [sizes, door.talk(b"size\r\n"), [descriptors(door.place(name)) for name in places]]

    inside()
    before = inside()
    policy.write_text(policy.read_text() + OTHER)
    assert "policy" in verdict(door)
    wait_for(lambda: "One signature" in told(door))
    assert inside() == before


def test_only_workers_can_write_what_holds(door: Door) -> None:
    def mapped(pid: int) -> bool:
        return "/memfd:policy" in Path(f"/proc/{pid}/maps").read_text()

    wait_for(lambda: set(door.places()) == set(ROLE_OF))
    places = door.places()
    writers = {name for name, pid in places.items() if mapped(pid)}
    assert {n for n in writers if ROLE_OF[n].name != "spare"} == {"worker1", "worker2"}
    holders = {
        name
        for name, pid in places.items()
        if any(link.startswith("/memfd:policy") for link in descriptors(pid).values())
    }
    assert {n for n in holders if ROLE_OF[n].name != "spare"} == {
        name for name, role in ROLE_OF.items() if role.policy
    }


@pytest.mark.skipif(not ROOT, reason="only root may look at the descriptors of others")
def test_what_a_frontend_holds_cannot_be_written_by_anybody(door: Door) -> None:
    pid = door.place("stream1")
    fd = next(n for n, link in descriptors(pid).items() if link.startswith("/memfd:policy"))
    found = os.open(f"/proc/{pid}/fd/{fd}", os.O_RDWR)  # as root, and even so
    try:
        with pytest.raises(PermissionError):
            os.pwrite(found, b"x", 0)
    finally:
        os.close(found)


def test_without_root_it_is_the_same() -> None:
    with running_as_nobody() as door:
        with (door.directory / "door.toml").open("a") as policy:
            policy.write(OTHER)
        assert "expected a name that has a line" in verdict(door)["error"]
        (door.directory / "allowed_signers").write_text(ALICE)
        assert verdict(door) == {"policy": 1}
        wait_for(lambda: "One signature" in told(door))


def test_nobody_listens_elsewhere_after_it(door: Door, policy: Path) -> None:
    policy.write_text(policy.read_text().replace(str(door.port), "1"))
    assert verdict(door)["restart"] == ["listen"]
    with socket.create_connection((LOOPBACK, door.port), 5):
        pass


# Who is let into the operators' pool


def ended(client: socket.socket) -> bool:
    """Return whether the door has let go of a client."""
    client.setblocking(False)
    try:
        while client.recv(4096):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


def crowd(door: Door, first: bytes) -> int:
    """Connect CROWD times, say the same each time, and return how many are let go of again."""
    clients = [door.connect() for _ in range(CROWD)]
    try:
        for client in clients:
            client.sendall(first)
        wait_for(door.documented)  # and so all of them have been taken in
        return sum(map(ended, clients))
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("first", [b"he", b"SSH-2.0-x\r\n"])
def test_networks_of_new_grants_are_let_into_the_operators_pool(
    tmp_path: Path, first: bytes
) -> None:
    small = "from panicdoor.processes import ssh, stream; ssh.STRANGERS = 4; stream.STRANGERS = 8"
    with running(tmp_path / "door", code=small) as door:
        (door.directory / "allowed_signers").write_text(ALICE)
        wait_for(lambda: crowd(door, first) >= CROWD - 12)
        with (door.directory / "door.toml").open("a") as policy:
            policy.write(OTHER)
        assert "policy" in verdict(door)
        wait_for(lambda: "One signature" in told(door))
        assert crowd(door, first) == 0
        for place in ("stream1", "stream2", "ssh"):
            pid = door.kill(place)
            door.wait_filled(place, pid)
        wait_for(door.documented)
        assert crowd(door, first) == 0
