"""Real ssh clients: commands, consoles, and everything that is refused with a sentence."""

import asyncio
import contextlib
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from tests.clients.programs import Conversation, need, piped, run, terminal
from tests.logins import SSH, People, inhabited, make_key
from tests.running import LOOPBACK, free_port, read_all, running, wait_for

from panicdoor.keys import parse_public_key
from panicdoor.processes.errands import HOLD_S

INSTEAD = b"this door forwards nothing; go through another host with: ssh -J"
TALKATIVE = ("-o", "LogLevel=INFO")  # at ERROR, as tests have it, ssh hides what is told
PONG = re.compile(rb"pong from web1, [-0-9: ]+ UTC\n")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """A door with alice, who may repair, bob, who may too, and carol, who may nothing."""
    need("ssh", "ssh-keygen")
    with inhabited(tmp_path_factory.mktemp("people") / "house") as found:
        yield found


def ask(
    people: People, name: str, *words: str, key: str = "", options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[bytes]:
    return run(*people.ssh(name, *options, key=key), *words)


# Commands


@pytest.mark.parametrize("name", ["alice", "bob", "carol"])
def test_a_command(people: People, name: str) -> None:
    done = ask(people, name, "ping")
    assert (done.returncode, done.stderr) == (0, b"")
    assert PONG.fullmatch(done.stdout)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("ping", 0, b""),
        ("forbidden", 1, b"refused: forbidden needs 2 signatures"),
        ("fail", 1, b"it cannot be done"),
        ("nonesuch", 2, b"no command 'nonesuch'; type: help"),
        ("ping --json", 2, b"ping knows no '--json'"),
        ("'ping", 2, b"column 1"),
    ],
)
def test_exit_codes(people: People, words: str, code: int, said: bytes) -> None:
    done = ask(people, "alice", words)
    assert done.returncode == code
    assert said in done.stderr


def test_who_may_what(people: People) -> None:
    assert b"no grant lets bob run forbidden" in ask(people, "bob", "forbidden").stderr
    assert b"no grant lets carol run forbidden" in ask(people, "carol", "forbidden").stderr
    journal = (people.door.directory / "journal").read_text()
    assert '"by":"bob"' in journal
    assert '"do":"forbidden"' in journal


@pytest.mark.parametrize(
    ("name", "key"), [("bob", "alice"), ("root", "alice"), ("alice", "mallory"), ("mallory", "")]
)
def test_nobody_else_gets_in(people: People, name: str, key: str) -> None:
    done = ask(people, name, "ping", key=key, options=TALKATIVE)
    assert done.returncode == 255
    assert b"Permission denied (publickey)" in done.stderr
    assert done.stdout == b""
    assert b"panicdoor of web1: not this key under this name." in done.stderr
    assert f"nc 127.0.0.1 {people.door.port}".encode() in done.stderr


def test_with_many_keys_it_is_said_once(people: People) -> None:
    files = (str(people.key(name)) for name in ("bob", "mallory", "alice"))
    options = (*TALKATIVE, *(word for file in files for word in ("-i", file)))
    done = ask(people, "alice", "ping", options=options)
    assert done.returncode == 0
    assert done.stderr.count(b"not this key under this name") == 1


def test_rsa_with_sha1_does_not_get_in(people: People) -> None:
    options = ("-o", "PubkeyAcceptedAlgorithms=ssh-rsa")
    assert ask(people, "bob", "ping", options=options).returncode == 255


def test_many_parts_and_a_reader_that_stops(people: People) -> None:
    done = ask(people, "alice", "count", "3000")
    assert done.stdout.split() == [str(n).encode() for n in range(1, 3001)]
    with piped(*people.ssh("alice"), "count", "100000000") as slow:
        slow.until("\n1000\n")
        assert ask(people, "alice", "ping").returncode == 0
        assert people.door.documented()


def test_what_there_is_of_a_long_answer_is_shown_at_once(people: People) -> None:
    """And Ctrl-C is not kept waiting by a command that does not look up from its work."""
    with piped(*people.ssh("alice"), "slowly", "500") as client:
        client.until("first\n")
        begun = time.monotonic()
        client.until("second\n")
        assert time.monotonic() - begun > 0.3
    with console(people, "alice") as client:
        client.send(b"slowly 3000\r")
        client.until("first\n")
        client.send(b"\x03")
        client.until("recover> ", 2)


def test_a_command_ends_with_its_client(people: People) -> None:
    with piped(*people.ssh("alice"), "count", "100000000") as client:
        client.until("\n100\n")
    assert ask(people, "alice", "count", "2").stdout == b"1\n2\n"


def test_lines_from_a_pipe(people: People) -> None:
    done = run(*people.ssh("alice", "-T"), data=b"# first\nping\n\nnonesuch\nping")
    assert len(PONG.findall(done.stdout)) == 2
    assert b"no command 'nonesuch'" in done.stderr
    assert done.returncode == 0
    done = run(*people.ssh("alice", "-T"), data=b"ping\n" * 500 + b"nonesuch\n")
    assert len(PONG.findall(done.stdout)) == 500
    assert done.returncode == 2


def test_a_line_without_end(people: People) -> None:
    done = run(*people.ssh("alice", "-T"), data=b"x" * 100_000)
    assert done.returncode == 2
    assert b"1024 characters" in done.stderr


def test_rekeying(people: People) -> None:
    done = ask(people, "alice", "count", "20000", options=("-o", "RekeyLimit=16K"))
    assert done.returncode == 0
    assert done.stdout.endswith(b"\n20000\n")


# Refused with a sentence


def test_no_files(people: People, tmp_path: Path) -> None:
    source = tmp_path / "x"
    source.write_bytes(b"x")
    who = f"alice@{LOOPBACK}:/tmp/x"
    common = (*SSH[1:], "-i", str(people.key("alice")), "-P", str(people.door.port))
    for command in (
        ("scp", *common, str(source), who),
        ("scp", "-O", *common, str(source), who),
        ("sftp", *common, who),
    ):
        done = run(*command)
        assert done.returncode
        assert b"no files are copied here" in done.stderr


def test_rsync_is_told(people: People, tmp_path: Path) -> None:
    need("rsync")
    through = " ".join(people.ssh("alice"))
    done = run("rsync", "-e", through.rpartition(" ")[0], str(tmp_path), f"alice@{LOOPBACK}:/tmp/")
    assert done.returncode
    assert b"no files are copied here" in done.stderr


def test_no_ports(people: People, tmp_path: Path) -> None:
    target = f"{LOOPBACK}:{people.door.port}"
    done = ask(people, "alice", options=("-W", target, "-o", "LogLevel=INFO"))
    assert done.returncode == 255
    assert INSTEAD in done.stderr
    for what in (("-R", "0:localhost:22"), ("-R", f"{tmp_path}/s:localhost:22")):
        done = ask(people, "alice", "ping", options=(*what, "-o", "LogLevel=INFO"))
        assert PONG.fullmatch(done.stdout)
        assert b"remote port forwarding failed" in done.stderr
        assert b"panicdoor: " + INSTEAD in done.stderr


@pytest.mark.parametrize("option", ["-L", "-D", "unix"])
def test_no_ports_of_the_clients(people: People, option: str, tmp_path: Path) -> None:
    port = free_port()
    to = (LOOPBACK, port)
    options = {
        "-L": ("-L", f"{port}:localhost:22"),
        "-D": ("-D", str(port)),
        "unix": ("-L", f"{port}:/run/nobody"),
    }[option]
    with piped(*people.ssh("alice", *options, "-o", "LogLevel=INFO"), "-N", errors=True) as client:
        sock = connected(to)
        with sock:
            if option == "-D":
                sock.sendall(b"\x05\x01\0")
                assert sock.recv(2) == b"\x05\0"
                sock.sendall(b"\x05\x01\0\x01\x7f\0\0\x01\0\x16")
            assert INSTEAD.decode() in client.until("ssh -J")


def connected(to: tuple[str, int]) -> socket.socket:
    """Return a connection to what will soon listen there."""
    made: list[socket.socket] = []

    def connect() -> bool:
        with contextlib.suppress(OSError):
            made.append(socket.create_connection(to, 5))
        return bool(made)

    wait_for(connect)
    return made[0]


def test_no_tunnel(people: People) -> None:
    done = ask(people, "alice", "ping", options=("-w", "any:any", "-o", "LogLevel=INFO"))
    if b"open failed" in done.stderr:  # a client that has no device itself may not even ask
        assert INSTEAD in done.stderr


def test_no_subsystem(people: People) -> None:
    done = ask(people, "alice", "netconf", options=("-s",))
    assert done.returncode == 1
    assert b"The door runs its own commands" in done.stderr


def test_from_ipv6(tmp_path: Path) -> None:
    need("ssh", "ssh-keygen")
    make_key(tmp_path, "alice", "ed25519", "256")
    public = parse_public_key((tmp_path / "alice.pub").read_bytes(), "alice")
    more = '\n[[grant]]\nto = ["alice"]\nmay = ["recover"]\nfrom = ["::1/128"]\n'
    with running(
        tmp_path / "door", listen=(LOOPBACK, "::1"), signers=[("alice", public)], more=more
    ) as door:
        base = (*SSH, "-i", str(tmp_path / "alice"), "-p", str(door.port))
        done = run(*base, "alice@::1", "ping")
        assert PONG.fullmatch(done.stdout)
        with terminal(*base, "-tt", "alice@::1") as client:
            assert "You are alice from ::1" in client.until("alice@web1 recover> ")
        with terminal(*base, "-tt", f"alice@{LOOPBACK}") as client:
            client.until("alice@web1 observe> ")


def test_nothing_is_logged(people: People) -> None:
    """Neither what asyncssh has to say of clients, good and bad, nor what Python has."""
    said, files = people.door.said(), sorted(people.door.directory.iterdir())
    for data in (b"SSH-2.0-x\r\n" + b"\xff" * 100, b"SSH-2.0-\xff\r\n", b"SSH-2.0-x\r\n"):
        people.door.talk(data)
    ask(people, "alice", "ping")
    ask(people, "mallory", "ping")
    assert people.door.said() == said
    assert sorted(people.door.directory.iterdir()) == files


def test_no_agent_and_no_x11(people: People) -> None:
    need("ssh-agent")
    done = run("ssh-agent", *people.ssh("alice", "-A"), "ping")
    assert PONG.fullmatch(done.stdout)
    assert b"nothing here uses it. Use ssh -a." in done.stderr
    done = run("env", "DISPLAY=:9", *people.ssh("alice", "-Y"), "ping")
    assert PONG.fullmatch(done.stdout)
    assert b"no X11 here" in done.stderr


# Consoles


@contextmanager
def console(people: People, name: str, *options: str) -> Iterator[Conversation]:
    with terminal(*people.ssh(name, "-tt", *options)) as client:
        client.until("> ")
        yield client


def test_a_console(people: People) -> None:
    with terminal(*people.ssh("alice", "-tt")) as client:
        greeting = client.until("alice@web1 recover> ")
        assert "panicdoor of web1. You are alice from 127.0.0.1" in greeting
        client.send(b"ping\r")
        assert "pong from web1" in client.until("alice@web1 recover> ")
        client.send(b"nonesuch\r")
        assert "no command 'nonesuch'; type: help" in client.until("recover> ")
        client.send(b"exit\r")
        client.end()
        assert client.process.returncode == 2


def test_ctrl_d_leaves(people: People) -> None:
    with console(people, "alice") as client:
        client.send(b"\x04")
        client.end()
        assert client.process.returncode == 0


def test_carol_is_told_that_she_may_nothing(people: People) -> None:
    with terminal(*people.ssh("carol", "-tt")) as client:
        assert "No grant of this door" in client.until("carol@web1 public> ")


def test_completion(people: People) -> None:
    with console(people, "alice") as client:
        client.send(b"pi\t\r")
        assert "pong from web1" in client.until("recover> ")
        client.send(b"help\t pi\t\r")
        assert "Check that the door is whole" in client.until("recover> ")
        client.send(b"\t")
        said = client.until("recover> ")
        assert "about" in said
        assert "exit" in said


def test_history_and_editing(people: People) -> None:
    with console(people, "alice") as client:
        client.send(b"pong\x7f\x7f\x7fing\r")
        assert "pong from" in client.until("recover> ")
        client.send(b"nonesuch\r")
        client.until("recover> ")
        client.send(b"\x1b[A\x1b[A\r")
        assert "pong from" in client.until("recover> ")


def test_ctrl_c_ends_the_command_and_nothing_else(people: People) -> None:
    with console(people, "alice") as client:
        client.send(b"count 100000000\r")
        client.until("-- more")
        client.send(b"a")
        client.until("\n500\n")
        client.send(b"\x03")
        client.until("recover> ")
        client.send(b"ping\r")
        assert "pong from web1" in client.until("recover> ")
        client.send(b"half a li\x03")
        assert "^C" in client.until("recover> ")
        client.send(b"ping\r")
        assert "pong from web1" in client.until("recover> ")


def test_pages(people: People) -> None:
    with console(people, "alice") as client:
        client.send(b"count 60\r")
        assert client.until("-- more").count("\n") == 24
        client.send(b" ")
        page = client.until("-- more")
        assert "24\n25\n" in page
        assert "\n46\n" in page
        client.send(b"q")
        client.until("recover> ")
        assert "\n60\n" not in client.seen
        client.send(b"count 60\r")
        client.until("-- more")
        client.send(b"a")
        assert client.until("recover> ").endswith("60\nalice@web1 recover> ")


def test_a_page_that_is_read_keeps_nobody_waiting(people: People) -> None:
    """What a usual answer has is taken ahead; of a longer one, the rest gives way."""
    with console(people, "alice") as client:
        client.send(b"rows 200\r")
        client.until("-- more")
        begun = time.monotonic()
        assert ask(people, "bob", "rows").returncode == 0
        assert time.monotonic() - begun < 2
        client.send(b"a")
        assert client.until("recover> ").endswith("row 200\nalice@web1 recover> ")
        client.send(b"much\r")
        client.until("-- more")
        assert ask(people, "bob", "rows").returncode == 0
        client.send(b"a")
        assert "others waited for its place: ask again\n" in client.until("recover> ")


def test_lines_that_are_pasted_stand_behind_their_prompts(people: People) -> None:
    with console(people, "alice") as client:
        client.send(b"ping\rnonesuch\r\rabout\r")
        prompt = "alice@web1 recover> "
        said = client.until("program ").split(prompt)
        assert [text.partition("\n")[0] for text in said] == ["ping", "nonesuch", "", "about"]
        assert "pong" in said[0]
        client.until(prompt)
        client.send(b"count 3000\r")
        client.until("-- more")
        client.send(b"a")
        client.until("\n100\n")
        client.send(b"ping\r")
        assert "\n3000\nalice@web1 recover> ping\npong from web1" in client.until("pong from web1")


def test_a_question_mark_helps(people: People) -> None:
    with console(people, "alice") as client:
        client.send(b"?\r")
        assert "PUBLIC  (anyone, without a key)" in client.until("-- more")
        client.send(b"q")
        client.until("recover> ")
        client.send(b"? ping\r")
        assert "Check that the door is whole" in client.until("recover> ")
        client.send(b"proc\r")
        assert "no command 'proc'; did you mean processes? type: help\n" in client.until(
            "recover> "
        )


def test_colours_are_for_terminals_that_have_them(people: People) -> None:
    coloured = "\x1b[33mrecover"
    with terminal("env", "TERM=xterm", *people.ssh("alice", "-tt")) as client:
        assert coloured in client.until("> ")
    with terminal(
        "env", "TERM=xterm", "NO_COLOR=1", *people.ssh("alice", "-tt", "-o", "SendEnv=NO_COLOR")
    ) as client:
        assert coloured not in client.until("> ")


def test_a_command_in_a_terminal(people: People) -> None:
    with terminal(*people.ssh("alice", "-tt"), "count", "100000000") as client:
        client.until("\n100\n")
        client.send(b"\x03")
        client.end()
        assert client.process.returncode == 1


# Watches


def test_a_watch_through_a_pipe(people: People) -> None:
    with piped(*people.ssh("alice"), "rows", "2", "--watch") as client:
        for _ in range(2):
            head, *rows = client.until("row 2\n").split("\n")[:-1]
            assert re.fullmatch(r"-- [-0-9: ]+ UTC; rows 2 --watch --", head)
            assert rows == ["row 1", "row 2"]
    with piped(*people.ssh("alice"), "onward", "--follow", "--ends", "2") as client:
        assert client.until("2\n") == "1\n2\n"
        client.end()
        assert client.process.returncode == 1


def test_a_watch_in_json_is_an_object_a_line(people: People) -> None:
    with piped(*people.ssh("alice"), "clock", "--json", "--watch") as client:
        first, second = (json.loads(client.until("}\n")) for _ in range(2))
    assert 1 < second["now"] - first["now"] < 10


def test_a_watch_that_is_not_allowed(people: People) -> None:
    done = ask(people, "carol", "rows", "--watch")
    assert done.returncode == 1
    assert b"no grant lets carol run rows" in done.stderr


def test_a_watch_that_nobody_reads_holds_nobody(people: People) -> None:
    """It stops where its client does: others watch and ask meanwhile, from the only observer."""
    with piped(*people.ssh("alice"), "much", "--watch") as slow:
        slow.until("x" * 3000)
        with piped(*people.ssh("bob"), "rows", "--watch") as other:
            for _ in range(3):
                other.until("row 3\n", HOLD_S + 5)
        begun = time.monotonic()
        assert ask(people, "bob", "rows").stdout == b"row 1\nrow 2\nrow 3\n"
        assert time.monotonic() - begun < 2


def screen(client: Conversation) -> str:
    """Return the next screen that a watch draws, up to its last row."""
    client.until("\x1b[H\x1b[2J\x1b[m")
    return client.until("--\x1b[H")


def test_a_watch_in_a_console(people: People) -> None:
    with console(people, "alice") as client:
        client.send(b"rows 3 --watch\r")
        for _ in range(2):
            assert re.fullmatch(
                r"\x1b\[24;1H-- Ctrl-C ends it; every 2 s; [-0-9: ]+ UTC; rows 3 --watch --\x1b\[H",
                screen(client),
            )
            assert client.until("row 3\n") == "row 1\nrow 2\nrow 3\n"
        client.send(b"\x03")
        client.until("alice@web1 recover> ")
        client.send(b"rows 90 --watch\r")
        client.until("row 23\n")
        client.until("\x1b[24;1H-- more than fits; Ctrl-C ends it; ")
        screen(client)
        assert "row 24\n" not in client.until("row 23\n")
        client.send(b"xq")
        client.until("alice@web1 recover> ")
        client.send(b"rows x --watch\r")
        assert client.until("recover> ").endswith(
            "\nMOST is a number, not 'x'\nalice@web1 recover> "
        )


def test_following_in_a_console(people: People) -> None:
    with console(people, "alice") as client:
        client.send(b"onward --follow --ends 2\r")
        said = client.until("recover> ")
        assert said.endswith("\n1\n2\nthat was the last\nalice@web1 recover> ")
        client.send(b"onward --follow\r")
        client.until("2\n")
        client.send(b"\x03")
        client.until("recover> ")


def test_ctrl_c_in_one_session_leaves_the_others(people: People, tmp_path: Path) -> None:
    """Both are in one connection, as ControlMaster makes it."""
    shared = ("-o", f"ControlPath={tmp_path}/c", "-o", "ControlMaster=auto")
    with console(people, "alice", *shared) as first, console(people, "alice", *shared) as second:
        first.send(b"onward --follow\r")
        first.until("1\n")
        second.send(b"onward --follow\r")
        second.until("1\n")
        second.send(b"\x03")
        second.until("recover> ")
        first.until("\n4\n")
        second.send(b"ping\r")
        assert "pong from web1" in second.until("recover> ")


# Banners


def test_a_late_banner(people: People) -> None:
    """An ssh whose first words reach the door only after the greeting gets in all the same."""
    port = people.door.port
    late = f"bash -c 'read -r line; exec 3<>/dev/tcp/{LOOPBACK}/{port}; read -r first <&3;"
    late += ' printf "%%s\\n" "$first"; printf "%%s\\n" "$line" >&3; cat <&3 & cat >&3\''
    done = ask(people, "alice", "ping", options=("-o", f"ProxyCommand={late}"))
    assert PONG.fullmatch(done.stdout)


@pytest.mark.parametrize("banner", [b"SSH-1.5-x\n", b"SSH-2.0-x\r\n" + b"\0" * 1000])
def test_what_is_no_ssh_is_let_go(people: People, banner: bytes) -> None:
    with socket.create_connection((LOOPBACK, people.door.port), 5) as client:
        client.sendall(banner)
        client.settimeout(5)
        assert read_all(client).startswith(b"SSH-2.0-panicdoor ")


def test_keyscan_sees_the_doors_key(people: People) -> None:
    done = run("ssh-keyscan", "-T", "2", "-p", str(people.door.port), LOOPBACK)
    public = (people.door.directory / "identity.pub").read_bytes().split()[1]
    assert public in done.stdout


def test_a_flood_of_half_open_connections(people: People) -> None:
    """Strangers fill their pool, and somebody with a key still gets in."""
    flood = []
    try:
        for _ in range(400):
            client = socket.create_connection((LOOPBACK, people.door.port), 5)
            client.sendall(b"SSH-2.0-flood\r\n")
            flood.append(client)
        begun = time.monotonic()
        assert ask(people, "alice", "ping").returncode == 0
        assert time.monotonic() - begun < 3
        assert people.door.documented()
    finally:
        for client in flood:
            client.close()


# Other clients: their logins do not name the host, so they may look and no more


def test_plink(people: People, tmp_path: Path) -> None:
    need("plink", "puttygen")
    key = tmp_path / "alice.ppk"
    run("puttygen", str(people.key("alice")), "-o", str(key))
    public = (people.door.directory / "identity.pub").read_text()
    fingerprint = subprocess.run(
        ["ssh-keygen", "-lf", "-"], input=public, text=True, capture_output=True, check=True
    ).stdout.split()[1]
    plink = ("plink", "-ssh", "-batch", "-P", str(people.door.port), "-i", str(key))
    who = ("-hostkey", fingerprint, f"alice@{LOOPBACK}")
    done = run(*plink, *who, "ping")
    assert PONG.fullmatch(done.stdout)
    done = run(*plink, *who, "forbidden")
    assert done.returncode == 1
    assert b"needs more than observe" in done.stderr
    assert b"OpenSSH 8.9" in done.stderr
    with terminal(*plink, "-t", *who) as client:
        assert "Observe only" in client.until("alice@web1")
        assert "observe" in client.until("> ")


def test_dbclient(people: People, tmp_path: Path) -> None:
    need("dbclient", "dropbearconvert")
    key = tmp_path / "alice.db"
    run("dropbearconvert", "openssh", "dropbear", str(people.key("alice")), str(key))
    base = ("dbclient", "-y", "-y", "-i", str(key), "-p", str(people.door.port))
    done = run(*base, f"alice@{LOOPBACK}", "ping")
    assert PONG.fullmatch(done.stdout)
    done = run(*base, f"alice@{LOOPBACK}", "forbidden")
    assert done.returncode == 1
    assert b"needs more than observe" in done.stderr


def test_paramiko(people: People) -> None:
    paramiko = pytest.importorskip("paramiko", reason="paramiko is not installed")
    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        client.connect(
            LOOPBACK, people.door.port, "alice", key_filename=str(people.key("alice")),
            look_for_keys=False, allow_agent=False,
        )  # fmt: skip
        _, out, _ = client.exec_command("ping")
        assert PONG.fullmatch(out.read())
        assert out.channel.recv_exit_status() == 0


def test_asyncssh(people: People) -> None:
    async def visit() -> Any:
        async with asyncssh.connect(
            LOOPBACK, people.door.port, username="alice", known_hosts=None, config=None,
            client_keys=[str(people.key("alice"))], agent_path=None,
        ) as client:  # fmt: skip
            many = [client.run("ping") for _ in range(8)]
            return await asyncio.gather(*many), await client.run("forbidden")

    pongs, refused = asyncio.run(visit())
    assert all(PONG.fullmatch(str(done.stdout).encode()) for done in pongs)
    assert refused.exit_status == 1
