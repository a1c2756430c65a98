"""Tests of what a session does with commands, lines and keys, with a real client."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import asyncssh
import pytest
from asyncssh.packet import String
from tests import sshclients
from tests.places import Places
from tests.sshclients import Client, alice_in, client, handing_over, journal_has_no_bug

from panicdoor.messages import Ping, Pong
from panicdoor.processes.ssh_session import LINE_MAX, LINES_MAX

ALICE = sshclients.key()


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """A door that knows alice, with a monitor and an ssh process in it."""
    with alice_in(tmp_path_factory.mktemp("alice") / "door", ALICE) as found:
        yield found
        journal_has_no_bug(found)


def to(places: Places, act: Callable[[Client], Awaitable[Any]]) -> Any:
    """Have something done by a client who has logged in."""

    async def visit() -> Any:
        async with client(handing_over(places), ALICE) as alice:
            return await asyncio.wait_for(act(alice), 30)

    return asyncio.run(visit())


def lines(places: Places, text: str) -> asyncssh.SSHCompletedProcess:
    """Pipe `text` to a session, and return what came of it."""
    done: asyncssh.SSHCompletedProcess = to(places, lambda alice: alice.run(None, input=text))
    return done


@pytest.mark.parametrize(
    ("command", "code", "out", "errors"),
    [
        ("ping", 0, "pong from web1", ""),
        ("nonesuch", 2, "", "no command 'nonesuch'"),
        ("   ", 2, "", "nothing to do"),
        ("'", 2, "", "column 1"),
        ("scp -t /tmp", 1, "", "no files are copied here"),
        ("rsync --server", 1, "", "no files are copied here"),
        ("ping; id", 2, "", "column 1"),
        ("ping\nping", 2, "", "column 1"),
    ],
)
def test_a_command(places: Places, command: str, code: int, out: str, errors: str) -> None:
    done = to(places, lambda alice: alice.run(command))
    assert (done.exit_status, out in done.stdout, errors in done.stderr) == (code, True, True)
    assert bool(done.stdout) is bool(out)


def test_lines_from_a_pipe_are_run_one_after_the_other(places: Places) -> None:
    done = lines(places, "# a remark\nping\n\nnonesuch\n  about --json\t\r\nping")
    assert done.exit_status == 0
    assert str(done.stdout).count("pong from") == 2
    assert "no command" in str(done.stderr)


def test_more_lines_than_are_kept_wait_at_the_client(places: Places) -> None:
    done = lines(places, "ping\n" * (20 * LINES_MAX))
    assert str(done.stdout).count("pong from") == 20 * LINES_MAX


@pytest.mark.parametrize("word", ["exit", "quit", "logout"])
def test_leaving(places: Places, word: str) -> None:
    done = lines(places, f"nonesuch\n{word}\nping\n")
    assert done.exit_status == 2
    assert "pong" not in str(done.stdout)


def test_the_longest_line(places: Places) -> None:
    assert "column" in str(lines(places, "'" + "x" * (LINE_MAX - 2)).stderr)
    done = lines(places, "x" * (LINE_MAX + 1))
    assert done.exit_status == 2
    assert f"a line may have {LINE_MAX} characters" in str(done.stderr)


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT"])
def test_a_signal_ends_the_command(places: Places, name: str) -> None:
    async def act(alice: Client) -> None:
        process = await alice.create_process("count 100000000")
        await process.stdout.readuntil("\n100\n")
        process.channel.send_signal(name)
        assert (await process.wait()).exit_status == 1
        assert (await alice.run("ping")).exit_status == 0

    to(places, act)


def test_other_signals_are_nothing(places: Places) -> None:
    async def act(alice: Client) -> None:
        process: Any = await alice.create_process(None)
        process.channel.send_signal("KILL")
        process.channel.send_signal("USR1")
        process.stdin.write("ping\n")
        assert "pong" in await process.stdout.readline()

    to(places, act)


def test_a_subsystem_is_a_sentence(places: Places) -> None:
    async def act(alice: Client) -> Any:
        process = await alice.create_process(subsystem="sftp")
        return await process.wait()

    done = to(places, act)
    assert done.exit_status == 1
    assert "no files are copied here" in done.stderr


def test_one_command_a_session(places: Places) -> None:
    async def act(alice: Client) -> None:
        process: Any = await alice.create_process(None)
        for kind in (b"exec", b"shell", b"subsystem"):
            more = (String("ping"),) if kind != b"shell" else ()
            assert not await process.channel._make_request(kind, *more)
        process.stdin.write("ping\n")
        assert "pong" in await process.stdout.readline()

    to(places, act)


def test_what_is_pasted_into_a_terminal_beyond_the_bound_is_dropped(places: Places) -> None:
    async def act(alice: Client) -> str:
        process: Any = await alice.create_process(term_type="xterm", term_size=(80, 2))
        await process.stdout.readuntil("> ")
        process.stdin.write("slowly 1000\r" + "ping\r" * (3 * LINES_MAX))
        for _ in range(LINES_MAX):
            await process.stdout.readuntil("pong from")
        process.stdin.write("about --json\r")
        return str(await process.stdout.readuntil("{"))

    assert "pong" not in to(places, act)


def test_a_session_ends_with_its_token(places: Places) -> None:
    """A frontend that holds it still has nothing: the monitor has another."""

    async def act(alice: Client) -> Any:
        places.stop("monitor", 9)
        places.fill("monitor", fill_no=2)
        places.end("supervisor", "monitor").say(Ping(7))
        places.end("supervisor", "monitor").hear(Pong)
        return await alice.run("ping")

    assert "this session has ended; log in again" in to(places, act).stderr
