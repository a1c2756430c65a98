"""Telnet, netcat and their like: they say nothing, are greeted, and then typed into.

Each is the real program in a terminal of its own, over IPv4 and IPv6, in the clear and inside TLS.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
from tests.clients.programs import PATH, Conversation, need, piped, run, terminal
from tests.running import LOOPBACK, Door

Line = Callable[[str, int], list[str]]


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def dev_tcp(host: str, port: int) -> list[str]:
    """Both directions of bash, as the door prints them, but to be typed into."""
    script = f"exec 3<>/dev/tcp/{host}/{port}; cat <&3 & cat >&3"
    return ["bash", "-c", script]


CLEAR: dict[str, Line] = {
    "telnet": lambda host, port: ["telnet", host, str(port)],
    "telnet-8": lambda host, port: ["telnet", "-8", host, str(port)],
    "busybox-telnet": lambda host, port: ["busybox", "telnet", host, str(port)],
    "nc": lambda host, port: ["nc", host, str(port)],
    "busybox-nc": lambda host, port: ["busybox", "nc", host, str(port)],
    "ncat": lambda host, port: ["ncat", host, str(port)],
    "socat": lambda host, port: ["socat", "-", f"TCP:{bracketed(host)}:{port}"],
    "bash": dev_tcp,
    "plink-raw": lambda host, port: ["plink", "-raw", "-P", str(port), host],
    "plink-telnet": lambda host, port: ["plink", "-telnet", "-P", str(port), host],
}
TLS: dict[str, Line] = {
    "s_client": lambda host, port: [
        "openssl", "s_client", "-quiet", "-connect", f"{bracketed(host)}:{port}",
    ],
    "s_client-1.2": lambda host, port: [
        "openssl", "s_client", "-quiet", "-tls1_2", "-connect", f"{bracketed(host)}:{port}",
    ],
    "ncat-ssl": lambda host, port: ["ncat", "--ssl", host, str(port)],
    "socat-openssl": lambda host, port: [
        "socat", "-", f"OPENSSL:{bracketed(host)}:{port},verify=0",
    ],
}  # fmt: skip
ALL = {**CLEAR, **TLS}
HOSTS = (LOOPBACK, "::1")
GREETING_END = "Door key SHA256:"


def there(name: str) -> bool:
    """Say whether a client is installed; a busybox may have been built without it."""
    argv = ALL[name](LOOPBACK, 1)
    if shutil.which(argv[0], path=PATH) is None:
        return False
    return argv[0] != "busybox" or argv[1].encode() in run("busybox", "--list").stdout.split()


def converse(client: Conversation) -> None:
    """Be greeted, type, be answered, leave."""
    greeting = client.until(GREETING_END)
    assert "panicdoor of web1: an emergency door, not a login. Never type a password." in greeting
    assert "Owner: Example Ops, +49 30 1234567\n" in greeting
    client.type("ping")
    assert "pong from web1, " in client.until(" UTC\n")
    client.type("doc 2")
    assert "2 of 2" in client.until("back: doc\n")
    client.type("help ping")
    client.until("Check that the door is whole")
    client.type("ls -la /etc")
    client.until("no command 'ls'; type: help\n")
    client.type("quit")
    client.until("Goodbye.\n")
    with suppress(OSError):  # some leave with the door, others wait for the end of their input
        client.send(b"\x04")
    client.end()


@pytest.fixture(scope="module")
def waiting(house: Door) -> Iterator[dict[str, list[Conversation]]]:
    """Each client that there is, over IPv4 and IPv6, all of them waiting for the greeting."""
    with ExitStack() as stack:
        yield {
            name: [stack.enter_context(terminal(*argv(host, house.port))) for host in HOSTS]
            for name, argv in ALL.items()
            if there(name)
        }


@pytest.mark.parametrize("name", ALL)
def test_greeted_and_answered(
    house: Door, waiting: dict[str, list[Conversation]], name: str
) -> None:
    if name not in waiting:
        pytest.skip(f"{' '.join(ALL[name](LOOPBACK, house.port)[:2])} is not there")
    for client in waiting[name]:
        converse(client)
    v4, v6 = waiting[name]
    assert f"curl http://{LOOPBACK}:{house.port}/\n" in v4.seen
    assert f"curl 'http://[::1]:{house.port}/'\n" in v6.seen


@pytest.mark.parametrize("name", ["telnet", "nc", "s_client"])
def test_the_text_says_whether_the_wire_is_clear(house: Door, name: str) -> None:
    need(ALL[name](LOOPBACK, 1)[0])
    with terminal(*ALL[name](LOOPBACK, house.port)) as client:
        client.until(GREETING_END)
        client.type("doc")
        text = " ".join(client.until("more: doc 2\n").split())
    assert ("TLS hides this text" in text) == (name in TLS)
    assert ("This comes as plain text" in text) == (name in CLEAR)


@pytest.mark.parametrize("name", ["nc -N", "ncat", "socat -t5 - TCP:", "busybox nc"])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"ping\n", ["pong from web1"]),
        (b"ping", ["pong from web1"]),
        (b"about\nping\n", ["owner    Example Ops", "pong from web1"]),
        (b"\0", ["PANICDOOR web1", "1 of 2"]),
        (b"\0doc 2\n", ["1 of 2", "2 of 2"]),
        (b"", ["panicdoor of web1", "1 of 2", "2 of 2"]),
    ],
    ids=["line", "no line end", "two lines", "zero", "zero and more", "nothing"],
)
def test_piped_in(house: Door, name: str, data: bytes, expected: list[str]) -> None:
    where = f"{LOOPBACK}:{house.port}" if name.endswith(":") else f" {LOOPBACK} {house.port}"
    done = run(*f"{name}{where}".split(), data=data)
    text = done.stdout.decode("ascii")
    places = [text.find(words) for words in expected]
    assert -1 not in places, text
    assert places == sorted(places)
    assert done.returncode == 0


def test_piped_into_tls(house: Door) -> None:
    """A line that leaves is needed: s_client waits for the door, or else does not wait at all."""
    where = f"{LOOPBACK}:{house.port}"
    done = run("openssl", "s_client", "-quiet", "-connect", where, data=b"\0ping\nquit\n")
    assert b"1 of 2" in done.stdout
    assert b"pong from web1" in done.stdout
    assert done.stdout.endswith(b"Goodbye.\r\n")


@pytest.mark.parametrize("host", [LOOPBACK, "::1"])
def test_piped_into_curl(house: Door, host: str) -> None:
    """Its telnet reads all of its input before it looks at the door."""
    where = f"telnet://{bracketed(host)}:{house.port}"
    done = run("curl", "-s", where, data=b"ping\nquit\n")
    assert done.stdout.startswith(b"pong from web1")
    assert done.stdout.endswith(b"Goodbye.\r\n")


def test_a_late_zero_byte_by_hand(house: Door) -> None:
    with piped("nc", LOOPBACK, str(house.port)) as client:
        client.until(GREETING_END)
        client.send(b"\0")
        assert "1 of 2" in client.until("more: doc 2\n")
        client.type("ping")
        client.until("pong from web1")


class TestTelnet:
    """What only a telnet can do."""

    @pytest.mark.parametrize("flush", ["autoflush", "autosynch"])
    def test_control_c_swallows_nothing(self, house: Door, flush: str) -> None:
        """It is IP; with autoflush a timing mark is asked for, with autosynch urgent data sent."""
        with terminal("telnet", LOOPBACK, str(house.port)) as client:
            client.until(GREETING_END)
            if flush == "autosynch":
                client.send(b"\x1d")
                client.until("telnet> ")
                client.type("toggle autosynch")
                client.until("in urgent mode.")
            client.send(b"\x03")
            client.type("about")
            assert "column" not in client.until("program  panicdoor")

    def test_after_what_its_escape_can_send_the_next_line_is_whole(self, house: Door) -> None:
        """A Synch has its IAC in urgent data."""
        with terminal("telnet", LOOPBACK, str(house.port)) as client:
            client.until(GREETING_END)
            for command in ("synch", "ao", "ip", "ayt", "nop", "brk", "dont echo"):
                client.send(b"\x1d")
                client.until("telnet> ")
                client.type(f"send {command}")
                if command == "ayt":
                    client.until("[panicdoor is here]")
                client.type("about")
                assert "column" not in client.until("program  panicdoor")

    def test_a_line_is_edited_where_the_terminal_does_not(self, house: Door) -> None:
        with terminal("telnet", LOOPBACK, str(house.port)) as client:
            client.until(GREETING_END)
            client.send(b"\x1d")
            client.until("telnet> ")
            client.type("mode character")
            client.send(b"no\x15pimg\x7f\x7fng\r")
            client.until("pong from web1")

    def test_the_door_asks_for_no_option(self, house: Door) -> None:
        with terminal("telnet", LOOPBACK, str(house.port)) as client:
            client.until(GREETING_END)
            client.send(b"\x1d")
            client.until("telnet> ")
            client.type("status")
            assert "Operating in obsolete linemode" in client.until("Escape character")
