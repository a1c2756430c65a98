"""Tests of a session's channel: what a client that is let in can make us hold, and sentences."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asyncssh.packet import Boolean, String, UInt32
from tests import sshclients
from tests.places import Places, resident
from tests.sshclients import (
    OPEN,
    OPEN_FAILED,
    OPENED,
    REQUEST,
    Client,
    alice_in,
    client,
    handing_over,
    journal_has_no_bug,
    opening,
)

ALICE = sshclients.key()
FLAT = 4096  # KiB that the process may grow by in a test: what it holds is bounded by less
PAGE = 99  # SSH_MSG_CHANNEL_SUCCESS
REFUSED = 100  # SSH_MSG_CHANNEL_FAILURE
ADJUST, DATA, EXTENDED, CLOSE = 93, 94, 95, 97


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """A door that knows alice, with a monitor and an ssh process in it."""
    with alice_in(tmp_path_factory.mktemp("alice") / "door", ALICE) as found:
        yield found
        journal_has_no_bug(found)


@asynccontextmanager
async def session(places: Places, **more: Any) -> AsyncIterator[Client]:
    """Somebody who has logged in and opened one session, number 0."""
    async with client(handing_over(places), ALICE, **more) as alice:
        alice.say(OPEN, opening())
        await alice.hear(OPENED)
        yield alice


def request(name: str, *parts: bytes, reply: bool = True) -> bytes:
    return UInt32(0) + String(name) + Boolean(reply) + b"".join(parts)


def pty(term: str, width: int, height: int) -> bytes:
    size = UInt32(width) + UInt32(height) + UInt32(0) * 2
    return request("pty-req", String(term), size, String(b""))


async def until(alice: Client, text: bytes) -> bytes:
    """Return what is written to the terminal, up to and with `text`."""
    seen = b""
    while text not in seen:
        seen += (await alice.hear(DATA))[8:]
    return seen


def test_one_variable_is_kept(places: Places) -> None:
    async def visit() -> None:
        async with session(places) as alice:
            before = resident(places.pids["ssh"])
            for number in range(2000):
                alice.say(REQUEST, request("env", String(f"V{number}"), String("x" * 30_000)))
                await alice.hear(REFUSED)
            assert resident(places.pids["ssh"]) - before < FLAT
            alice.say(REQUEST, request("env", String("NO_COLOR"), String("1" * 30_000)))
            await alice.hear(PAGE)

    asyncio.run(visit())


@pytest.mark.parametrize("typed", [b"ping\r", b"\x03", b"triag\t", b"processes --watch\r"])
def test_a_client_that_closes_while_it_is_answered(places: Places, typed: bytes) -> None:
    """What is then written is written to nobody, and no bug: the journal of all these has none."""

    async def visit() -> None:
        async with client(handing_over(places), ALICE) as alice:
            for _ in range(20):
                alice.say(OPEN, opening())
                about = UInt32(int.from_bytes((await alice.hear(OPENED))[4:8], "big"))
                alice.say(REQUEST, about + pty("xterm", 80, 24)[4:])
                alice.say(REQUEST, about + request("shell")[4:])
                await until(alice, b"> ")
                alice.say(DATA, about + String(typed))
                alice.say(CLOSE, about)
                await alice.hear(CLOSE)

    asyncio.run(visit())


@pytest.mark.parametrize("key", ["\x0c", "\t", "y\x7f"], ids=["clear", "complete", "edit"])
def test_keys_without_end_keep_nobody_waiting(places: Places, key: str) -> None:
    """Each has the whole line drawn anew; all at once they took seconds."""

    async def visit() -> None:
        async with session(places) as typist, client(handing_over(places), ALICE) as other:
            typist.say(REQUEST, pty("xterm", 80, 24))
            typist.say(REQUEST, request("shell"))
            await until(typist, b"> ")
            typist.say(DATA, UInt32(0) + String("x" * 1000 + "\x01"))
            typist.say(DATA, UInt32(0) + String(key * (12_000 // len(key))))
            begun = asyncio.get_running_loop().time()
            assert (await other.run("ping")).exit_status == 0
            assert asyncio.get_running_loop().time() - begun < 1.0
            assert typist.said(ADJUST) == []  # nor is more let in than is kept

    asyncio.run(visit())


@pytest.mark.parametrize("size", [1, 100, 511])
def test_answers_are_not_cut_into_crumbs(places: Places, size: int) -> None:
    async def visit() -> None:
        async with client(handing_over(places), ALICE) as alice:
            for _ in range(20):  # none of them takes the room of a session
                alice.say(OPEN, opening(size=size))
                assert b"room for 512 bytes" in await alice.hear(OPEN_FAILED)
            assert (await alice.run("ping")).exit_status == 0

    asyncio.run(visit())


def test_who_makes_us_say_more_than_they_read_is_let_go(places: Places) -> None:
    """A line editor answers each key with up to a line; a window of nothing keeps it all here."""

    async def visit() -> None:
        async with client(handing_over(places), ALICE) as alice:
            alice.say(OPEN, opening(window=0))
            await alice.hear(OPENED)
            alice.say(REQUEST, pty("xterm", 80, 24))
            alice.say(REQUEST, request("shell"))
            alice.say(DATA, UInt32(0), String(b"x" * 900))
            before = resident(places.pids["ssh"])
            for _ in range(400):
                alice.say(DATA, UInt32(0), String(b"\x01y\x05\x08" * 8))
                await asyncio.sleep(0)
                if alice.ended.is_set():
                    break
            await alice.end()
            assert resident(places.pids["ssh"]) - before < FLAT

    asyncio.run(visit())


@pytest.mark.parametrize("term", ["xterm", "tmux-256color", "dumb"])
@pytest.mark.parametrize("size", [(0, 0), (1, 1), (20, 5), (80, 24), (2**32 - 1, 2**32 - 1)])
def test_terminals_of_any_kind_and_size(places: Places, term: str, size: tuple[int, int]) -> None:
    async def visit() -> None:
        async with session(places) as alice:
            alice.say(REQUEST, pty(term, *size))
            alice.say(REQUEST, request("shell"))
            await until(alice, b"> ")
            for keys in (b"x" * 300, b"\x15", b"\x19", b"\x01\x05\x08", b"\r", b"\x1b[A", b"\x15"):
                alice.say(DATA, UInt32(0), String(keys))
            size_now = UInt32(size[1]) + UInt32(size[0]) + UInt32(0) * 2
            alice.say(REQUEST, request("window-change", size_now))
            alice.say(DATA, UInt32(0), String(b"\x15about --json\r"))
            await until(alice, b"{")

    asyncio.run(visit())


def test_what_is_typed_ahead_of_a_page_ends_nothing(places: Places) -> None:
    async def visit() -> None:
        async with session(places) as alice:
            alice.say(REQUEST, pty("xterm", 80, 10))
            alice.say(REQUEST, request("shell"))
            await until(alice, b"> ")
            alice.say(DATA, UInt32(0), String(b"count 50\rpin"))
            await until(alice, b"-- more")
            alice.say(DATA, UInt32(0), String(b"q"))
            await until(alice, b"> ")
            alice.say(DATA, UInt32(0), String(b"pinx\x08g\r"))
            await until(alice, b"pong from")

    asyncio.run(visit())


def test_the_line_editor_is_told_of_a_terminal_it_knows(places: Places) -> None:
    async def visit() -> bytes:
        async with session(places) as alice:
            alice.say(REQUEST, pty("screen-256color", 20, 24))
            alice.say(REQUEST, request("shell"))
            await until(alice, b"> ")
            alice.say(DATA, UInt32(0), String(b"x" * 60 + b"\x01"))
            return await until(alice, b"\x1b[")  # it wraps, and moves up

    assert b"x" * 40 in asyncio.run(visit())


def test_refusals_are_sentences(places: Places) -> None:
    async def visit() -> None:
        async with session(places) as alice:
            x11 = Boolean(False) + String("MIT-MAGIC-COOKIE-1") + String("00ff") + UInt32(0)
            for name, more, text in (
                ("x11-req", x11, b"no X11 here"),
                ("auth-agent-req@openssh.com", b"", b"Use ssh -a"),
            ):
                alice.say(REQUEST, request(name, more))
                assert text in await alice.hear(EXTENDED)
                await alice.hear(REFUSED)
            for name in ("x11-req", "auth-agent-req@openssh.com", "nonesuch", "env"):
                alice.say(REQUEST, request(name, String(""), String("")))
                await alice.hear(REFUSED)

    asyncio.run(visit())


def test_any_number_of_requests_at_once(places: Places) -> None:
    """They are answered one by one, not one inside the other."""

    async def visit() -> None:
        async with session(places) as alice:
            for _ in range(3000):
                alice.say(REQUEST, request("auth-agent-req@openssh.com", reply=False))
                alice.say(REQUEST, request("x", reply=False))
            alice.say(REQUEST, request("exec", String("ping")))
            await alice.hear(PAGE)

    asyncio.run(visit())


def test_a_command_without_end(places: Places) -> None:
    async def visit() -> None:
        async with client(handing_over(places), ALICE) as alice:
            done = await alice.run("x" * 30_000)
            assert done.exit_status == 2
            assert "1024 characters" in str(done.stderr)
            done = await alice.run("\x1b[31m\u00e9")
            assert done.exit_status == 2

    asyncio.run(visit())
