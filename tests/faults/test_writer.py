"""The writer on a disk that fails: each call in turn, a full one, a stopped one, a damaged file."""

import errno
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from tests.journals import Entry, journal_of, verify
from tests.places import End, Places, opened
from tests.running import ROOT, running, wait_for

from panicdoor.messages import Hello, Message, Write, Written
from panicdoor.processes import writer
from panicdoor.processes.writer import TAIL_MAX, WAITING_MAX, Disk, Writer
from panicdoor.records import journal

EPOCH = 99
VECTOR = (Path(__file__).parents[1] / "vectors/v1.journal").read_bytes()
CUT = VECTOR + VECTOR.split(b"\n")[0][:70]
NEVER = 10**9

How = Literal["refused", "short", "unsynced", "dead"]


class Dead(BaseException):
    """The process ends here."""


class FaultyDisk(Disk):
    """A real file whose nth call fails, in one of the ways in which calls fail."""

    def __init__(self, fd: int, nth: int = NEVER, how: How = "refused") -> None:
        super().__init__(fd)
        self.fd = fd
        self.calls = 0
        self.nth, self.how = nth, how
        self.broken = False

    def _call(self) -> None:
        self.calls += 1
        if self.broken or (self.calls == self.nth and self.how not in ("short", "unsynced")):
            self._fail()

    def _fail(self) -> None:
        if self.how == "dead":
            raise Dead
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def size(self) -> int:
        self._call()
        return super().size()

    def read(self, start: int, end: int) -> bytes:
        self._call()
        return super().read(start, end)

    def write(self, data: bytes, at: int) -> None:
        self._call()
        if self.calls == self.nth:
            os.pwrite(self.fd, data[: len(data) // 2] if self.how == "short" else data, at)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(data, at)
        self._call()

    def cut(self, size: int) -> None:
        self._call()
        super().cut(size)

    def reserve(self, size: int) -> None:
        self._call()
        super().reserve(size)


@dataclass
class Desk:
    """What a writer needs of its place, with timers that a test lets run out."""

    files: dict[str, int]
    told: list[Message] = field(default_factory=list)
    timers: list[Callable[[], None]] = field(default_factory=list)

    def place(self) -> Any:
        return SimpleNamespace(
            world=SimpleNamespace(holdings=SimpleNamespace(files=self.files)),
            loop=SimpleNamespace(call_later=lambda _, call: self.timers.append(call)),
            tell=self.tell,
        )

    def tell(self, _: str, message: Message) -> bool:
        self.told.append(message)
        return True

    def run_out(self, most: int = 10) -> None:
        """Let timers run out, as often as new ones come."""
        for _ in range(most):
            timers, self.timers = self.timers, []
            for timer in timers:
                timer()


class Bench:
    """A journal in a file, and the writers that a test sets to work on it."""

    def __init__(self, directory: Path, start: bytes) -> None:
        self.file = directory / "journal"
        self.file.write_bytes(start)
        self.errors = directory / "errors"
        rw = os.O_RDWR | os.O_CREAT
        self.files = {
            "journal": os.open(self.file, rw),
            "places": os.open(directory / "places", rw),
            "stderr": os.open(self.errors, rw | os.O_APPEND),
        }
        self.desk = Desk(self.files)

    def writer(self, disk: FaultyDisk) -> Writer:
        self.desk = Desk(self.files)
        return Writer(self.desk.place(), disk)

    def disk(self, nth: int = NEVER, how: How = "refused") -> FaultyDisk:
        return FaultyDisk(self.files["journal"], nth, how)

    def entries(self, junk: int = 0) -> list[Entry]:
        return verify(self.file.read_bytes(), junk)

    def said(self) -> str:
        return self.errors.read_text()

    def close(self) -> None:
        for fd in self.files.values():
            os.close(fd)


@contextmanager
def bench(directory: Path, start: bytes = b"") -> Iterator[Bench]:
    directory.mkdir()
    made = Bench(directory, start)
    try:
        yield made
    finally:
        made.close()


def write(number: int, kind: str = "result") -> Write:
    # The later the shorter: what is left of a longer line would show.
    return Write(
        number, EPOCH, kind, journal.encode({"id": number, "text": "x" * (900 - 200 * number)})
    )


def ids(entries: list[Entry]) -> list[int]:
    return [
        entry.fields["id"] for entry in entries if entry.kind == "result" and "id" in entry.fields
    ]


# Each call in turn


@pytest.mark.parametrize("how", ["refused", "short", "unsynced"])
@pytest.mark.parametrize("start", [b"", VECTOR, CUT], ids=["empty", "whole", "cut"])
def test_whichever_call_fails_every_entry_comes_once_and_in_order(
    tmp_path: Path, start: bytes, how: How
) -> None:
    for nth in range(1, 100):
        with bench(tmp_path / str(nth), start) as table:
            disk = table.disk(nth, how)
            at_work = table.writer(disk)
            for number in range(4):
                at_work.write(write(number), "monitor")
            table.desk.run_out()
            assert disk.calls < 100
            found = table.entries()
            assert ids(found) == [0, 1, 2, 3]
            told = [m for m in table.desk.told if isinstance(m, Written)]
            assert [(m.id, m.n, m.hash) for m in told] == [
                (entry.fields["id"], entry.n, entry.hash) for entry in found if "id" in entry.fields
            ]
            assert sum(entry.kind == "damaged" for entry in found) == (start == CUT)
            if disk.calls < nth:
                return
    pytest.fail("it never passes")


@pytest.mark.parametrize("start", [b"", VECTOR, CUT], ids=["empty", "whole", "cut"])
def test_whichever_call_it_dies_at_the_next_writer_goes_on(tmp_path: Path, start: bytes) -> None:
    """What was told as written is there; of the rest, what was under way may be there."""
    for nth in range(1, 100):
        with bench(tmp_path / str(nth), start) as table:
            disk = table.disk(nth, "dead")
            alive = False
            try:
                at_work = table.writer(disk)
                for number in range(3):
                    at_work.write(write(number), "monitor")
                alive = True
            except Dead:
                pass
            told = [m for m in table.desk.told if isinstance(m, Written)]
            table.writer(table.disk()).write(write(4), "monitor")
            found = table.entries()
            assert {(m.n, m.hash) for m in told} <= {(entry.n, entry.hash) for entry in found}
            assert ids(found) in ([4], [0, 4], [0, 1, 4], [0, 1, 2, 4])
            if alive:
                return
    pytest.fail("it never passes")


def test_while_the_disk_fails_entries_wait_and_what_is_too_much_is_counted(tmp_path: Path) -> None:
    with bench(tmp_path / "bench") as table:
        disk = table.disk()
        at_work = table.writer(disk)
        at_work.write(write(0), "monitor")
        disk.broken = True
        calls = disk.calls
        for _ in range(WAITING_MAX + 50):
            at_work.write(write(1), "monitor")
        assert disk.calls == calls + 1
        table.desk.run_out(5)
        assert disk.calls == calls + 6
        assert len(table.entries()) == 1
        disk.broken = False
        table.desk.run_out()
        found = table.entries()
        assert ids(found) == [0] + [1] * WAITING_MAX
        assert (found[-1].kind, found[-1].fields) == ("missed", {"entries": 50})
        assert len(table.desk.told) == WAITING_MAX + 1
        assert table.said().splitlines() == [
            "panicdoor: journal not written, entries wait: Input/output error",
            'panicdoor: missed: {"entries":50}',
            "panicdoor: journal written again",
        ]
        assert table.desk.timers == []


def test_a_disk_that_fails_at_birth_is_no_reason_to_die(tmp_path: Path) -> None:
    with bench(tmp_path / "bench", VECTOR) as table:
        disk = table.disk()
        disk.broken = True
        at_work = table.writer(disk)
        at_work.write(write(1), "monitor")
        table.desk.run_out(3)
        disk.broken = False
        table.desk.run_out()
        assert [entry.n for entry in table.entries()] == [1, 2, 3, 4]


# A damaged file


@pytest.mark.parametrize("size", [1, 10, 70, 150, 400, 2000, 5000])
def test_a_cut_line_is_dropped_and_said_and_nothing_else(tmp_path: Path, size: int) -> None:
    """Also where the entry that follows is shorter than what was cut, and after another start."""
    cut = (VECTOR.split(b"\n")[1] + b"x" * size)[:size]
    with bench(tmp_path / "bench", VECTOR + cut) as table:
        table.writer(table.disk())
        found = table.entries()
        assert table.file.read_bytes().startswith(VECTOR)
        assert [(entry.kind, entry.fields) for entry in found[3:]] == [("damaged", {"lost": size})]
        assert table.said() == f'panicdoor: damaged: {{"lost":{size}}}\n'
        table.writer(table.disk()).write(write(1), "monitor")
        assert [entry.kind for entry in table.entries()[3:]] == ["damaged", "result"]


def test_a_cut_line_after_the_longest_one_does_not_hide_it(tmp_path: Path) -> None:
    """Together they are longer than any tail of one line."""
    longest = journal.following(
        None, "2026-11-24T03:12:07Z", "k" * 32, journal.encode({"x": "x" * 9999})
    )
    with bench(tmp_path / "bench", longest.line + b"\n" + b"y" * 4000) as table:
        table.writer(table.disk())
        assert [entry.n for entry in table.entries()] == [1, 2]


@pytest.mark.parametrize(
    "junk", [b"\0" * 5000, b"", b"# edited by hand", VECTOR.split(b"\n")[0] + b"!"]
)
def test_whole_lines_of_junk_stay_and_the_chain_goes_on_over_them(
    tmp_path: Path, junk: bytes
) -> None:
    with bench(tmp_path / "bench", VECTOR + junk + b"\n" + b"cut") as table:
        at_work = table.writer(table.disk())
        at_work.write(write(1), "monitor")
        found = table.entries(junk=1)
        assert table.file.read_bytes().startswith(VECTOR + junk + b"\n")
        assert [entry.n for entry in found] == [1, 2, 3, 4, 5]
        assert found[3].fields == {"junk": len(junk) + 1, "lost": 3}
        table.writer(table.disk()).write(write(2), "monitor")
        assert [entry.kind for entry in table.entries(junk=1)[3:]] == [
            "damaged",
            "result",
            "result",
        ]


def test_more_junk_than_is_read_is_left_alone_and_said(tmp_path: Path) -> None:
    start = VECTOR + b"junk\n" * (TAIL_MAX // 5 + 1)
    with bench(tmp_path / "bench", start) as table:
        at_work = table.writer(table.disk())
        at_work.write(write(1), "monitor")
        assert table.file.read_bytes() == start
        assert "no entry in its last 1048576 bytes; move it away" in table.said()
        assert table.desk.told == []


# Real disks


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    if not ROOT:
        pytest.skip("mounts need root")
    where = tmp_path / "tmpfs"
    where.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(where)],
        check=False,
        capture_output=True,
    )
    if made.returncode:
        pytest.skip(f"no mounts here: {made.stderr.decode().strip()}")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def monitor_of(places: Places) -> End:
    monitor = places.end("monitor", "writer")
    monitor.hear(Hello)
    return monitor


def retry_soon() -> None:
    writer.RETRY_S = 0.02  # type: ignore[misc]


def limited() -> None:
    retry_soon()
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))


def fill_up(directory: Path) -> Path:
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    return ballast


def test_a_full_disk_records_in_the_space_that_was_reserved(tmpfs: Path) -> None:
    with opened(tmpfs / "door") as places:
        places.fill("writer")
        monitor = monitor_of(places)
        fill_up(tmpfs)
        for number in range(300):
            monitor.say(Write(number, EPOCH, "result", journal.encode({"x": "x" * 2000})))
            assert monitor.hear(Written, id=number).n == number + 1
        assert len(verify(journal_of(places.directory))) == 300


def test_when_the_full_disk_has_no_room_left_entries_wait_until_it_has(tmpfs: Path) -> None:
    with opened(tmpfs / "door") as places:
        places.fill("writer", retry_soon)
        monitor = monitor_of(places)
        ballast = fill_up(tmpfs)
        text = journal.encode({"x": "x" * 3000})
        number = 0
        while True:
            monitor.say(Write(number, EPOCH, "result", text))
            places.read_by("writer")
            if not monitor.said_within(0.1):
                break
            number += 1
        assert number > 300
        monitor.say(Write(number + 1, EPOCH, "result", text))
        ballast.unlink()
        assert monitor.hear(Written, id=number).n == number + 1
        assert monitor.hear(Written, id=number + 1).n == number + 2
        assert len(verify(journal_of(places.directory))) == number + 2


def test_a_line_that_a_limit_cuts_is_repaired_by_the_next_writer(tmp_path: Path) -> None:
    with opened(tmp_path / "door") as places:
        places.fill("writer", limited)
        monitor = monitor_of(places)
        for number in range(20):
            monitor.say(Write(number, EPOCH, "result", journal.encode({"x": "x" * 900})))
        places.read_by("writer")
        wait_for(lambda: len(journal_of(places.directory)) == 10_000)
        assert not journal_of(places.directory).endswith(b"\n")
        places.stop("writer", signal.SIGKILL)
        whole = journal_of(places.directory).count(b"\n")
        lost = 10_000 - len(journal_of(places.directory).rpartition(b"\n")[0]) - 1
        places.fill("writer")
        monitor_of(places).say(Write(99, EPOCH, "result", "{}"))
        assert monitor.hear(Written, id=99).n == whole + 2
        found = verify(journal_of(places.directory))
        assert found[whole].fields == {"lost": lost}


# A writer that stops


def test_a_writer_that_is_stopped_holds_up_nobody_and_writes_later(tmp_path: Path) -> None:
    with running(tmp_path / "door", extra=True) as door:
        pid = door.place("writer")
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                assert door.documented(timeout=1.0)
                assert b"pong" in door.talk(b"ping\n", timeout=1.0)
                assert b"has a bug" in door.talk(b"crash\n", timeout=1.0)
            kinds = [entry.kind for entry in verify(journal_of(door.directory))]
            assert "bug" not in kinds
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_for(lambda: journal_of(door.directory).count(b" bug {") == 3)
        assert door.place("writer") == pid
        door.stop()
        found = verify(journal_of(door.directory))
        assert [entry.kind for entry in found] == ["start", "bug", "bug", "bug", "stop"]
        what = found[1].fields["what"]
        assert what.startswith("ValueError: a bug\\x0aresult: done at ")


def test_written_means_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with bench(tmp_path / "bench") as table:
        synced: list[bytes] = []
        monkeypatch.setattr(os, "fdatasync", lambda _: synced.append(table.file.read_bytes()))
        at_work = table.writer(table.disk())
        at_work.write(write(1), "monitor")
        at_work.write(write(2), "monitor")
        assert [data.count(b"\n") for data in synced] == [1, 2]
        assert len(table.desk.told) == 2
