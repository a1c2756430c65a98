"""Every line that the door prints to be copied is taken from its own output, and run as printed.

The lines come from the screens, the datagrams, the page for browsers and the examples of each
command, as a client on IPv4 and one on IPv6 got them.
"""

import html
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.clients.programs import ENVIRONMENT, Conversation, need, run, shell, terminal
from tests.running import LOOPBACK, Door, running

HOSTS = [LOOPBACK, "::1"]
COPIED = re.compile(
    r"^  (?:telnet|netcat|bash only|curl|TLS|datagram|program|browser)  +(\S.*)$"
    r"|^ +((?:telnet|nc|exec|curl|openssl|head|panicdoor|printf) \S.*)$"
    r"|by tcp: (nc \S+ \S+)",
    re.MULTILINE,
)
TALKING = ("telnet ", "nc ", "openssl ")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door with all of its budget for datagrams."""
    directory = tmp_path_factory.mktemp("shown") / "door"
    with running(directory, listen=tuple(HOSTS)) as door:
        yield door


def copied(text: str) -> set[str]:
    """Return the lines to copy in a text."""
    return {"".join(groups) for groups in COPIED.findall(text)}


@pytest.fixture(scope="module", params=HOSTS)
def told(shown: Door, request: pytest.FixtureRequest) -> dict[str, str]:
    """Return what this door says to a client of one family, by the way it came.

    The datagrams come by the line for the program, which is run as it was printed.
    """
    host: str = request.param
    screens = run("nc", "-N", host, str(shown.port)).stdout.decode().replace("\r", "")
    done = shell(next(line for line in copied(screens) if line.startswith("panicdoor ")))
    assert done.returncode == 0, done.stderr
    url = f"http://{f'[{host}]' if ':' in host else host}:{shown.port}/"
    page = run("curl", "-s", "-H", "Accept: text/html", url).stdout.decode()
    blocks = re.findall("<pre>(.*?)</pre>", page)
    return {
        "host": host,
        "screens": screens,
        "datagrams": done.stdout.decode(),
        "page": "".join(f"  {html.unescape(block)}\n" for block in blocks),
    }


@pytest.fixture(scope="module")
def lines(shown: Door, told: dict[str, str]) -> list[str]:
    """Return the different lines to copy that a client of one family is shown."""
    common = {"telnet", "nc", "exec", "curl", "openssl", "head", "panicdoor"}
    found = {way: copied(told[way]) for way in ("screens", "datagrams", "page")}
    for way, those in found.items():
        assert common <= {line.split(" ")[0] for line in those}, way
        for line in those:
            assert told["host"] in line, way
            assert str(shown.port) in line, way
    return sorted(set().union(*found.values()))


def talk(client: Conversation) -> None:
    """Be greeted, and type."""
    client.until("Door key SHA256:")
    client.type("ping")
    client.until("pong from web1")
    client.type("quit")
    client.until("Goodbye.")
    client.send(b"\x04")
    client.end()


def test_lines_for_talking(lines: list[str]) -> None:
    talking = [line for line in lines if line.startswith(TALKING)]
    assert {line.split(" ")[0] for line in talking} == {"telnet", "nc", "openssl"}
    need("telnet", "nc", "openssl", "bash")
    with ExitStack() as stack:
        for client in [stack.enter_context(terminal("bash", "-c", line)) for line in talking]:
            talk(client)


def test_the_line_for_bash_alone(lines: list[str]) -> None:
    line = next(line for line in lines if line.startswith("exec "))
    with terminal("bash", "--norc", "-i") as client:
        client.type(line)
        client.until("1 of 2")
        client.until("more: doc 2")
        client.type("echo doc 2 >&3")
        client.until("back: doc")
        client.type("exec 3<&-; exit")


def test_lines_that_answer_and_end(lines: list[str]) -> None:
    """Those by datagram wait a second for more, so they run side by side."""
    need("nc", "curl", "head", "tr")
    ending = [line for line in lines if not line.startswith((*TALKING, "exec ", "panicdoor "))]
    said = side_by_side({ln: f"curl -s {ln}" if ln.startswith("http") else ln for ln in ending})
    while busy := {line: line for line, text in said.items() if "too much is asked" in text}:
        said |= side_by_side(busy)  # the program has just used up most of the budget
    for line, text in said.items():
        if "index.json" in line:
            assert json.loads(text)["door"]["name"] == "web1"
        elif "printf '\\0\\1" in line:
            assert text.startswith("panicdoor web1 page 2/")
        elif "printf '\\1about" in line:
            assert "owner    Example Ops" in text
        elif line.startswith("head "):
            assert text.startswith("panicdoor web1 page 1/")
        else:
            assert line.startswith(("curl ", "http")), line
            assert text.startswith("PANICDOOR web1 ")
    kinds = {line.split(" ")[0] for line in said if not line.startswith("http")}
    assert kinds == {"curl", "head", "printf"}
    assert any(line.startswith("http") for line in said)


def test_what_is_to_be_typed(shown: Door, told: dict[str, str]) -> None:
    """Commands that the greeting, the screens, help and its examples name are commands here."""
    host, text = told["host"], told["screens"]
    typed = {"".join(g) for g in re.findall(r"type: ([a-z]+)|type ([a-z]+ --json)", text)}
    typed |= set(re.findall(r"(?:more|back): (doc(?: \d)?)", text))
    typed |= set(re.findall(r"^(?:Type|    )  (help|doc)  ", text, re.MULTILINE))
    listing = run("nc", "-N", host, str(shown.port), data=b"help\n").stdout.decode()
    names = re.findall(r"^  ([a-z-]+)[ \r]", listing, re.MULTILINE)
    assert {"help", "doc", "about", "ping", "challenge", "order"} <= set(names)
    for name in names:
        page = run("nc", "-N", host, str(shown.port), data=f"help {name}\n".encode())
        typed |= set(re.findall(r"^    > (.*)\r$", page.stdout.decode(), re.MULTILINE))
    assert {"help", "doc", "doc 2", "doc --json", "help ping", "order ping"} <= typed
    for line in sorted(typed):
        answer = run("nc", "-N", host, str(shown.port), data=f"{line}\n".encode()).stdout.decode()
        assert answer, line
        assert "no command" not in answer.splitlines()[0], line
        assert "usage: " not in answer.splitlines()[0], line


def test_lines_of_the_protocol_page(shown: Door) -> None:
    """Those of PROTOCOL.datagrams.md, with this door in the place of HOST and 903."""
    page = (Path(__file__).parents[2] / "PROTOCOL.datagrams.md").read_text()
    found = re.findall(r"^    ((?:printf|head) .*?) {3,}", page, re.MULTILINE)
    assert len(found) == 5
    heres = {}
    for number, line in enumerate(found):
        source = f"127.88.{number}.1"  # each with a budget of its own
        heres[line] = line.replace("HOST 903", f"-s {source} {LOOPBACK} {shown.port}")
    starts = ["panicdoor: ", "panicdoor web1 page 1/", "panicdoor web1 page 2/", "pong", "PUBLIC"]
    for start, text in zip(starts, side_by_side(heres).values(), strict=True):
        assert text.startswith(start)


def side_by_side(commands: dict[str, str]) -> dict[str, str]:
    """Run all these in bash, and return what each printed, by its key."""
    need("bash")
    started = {
        key: subprocess.Popen(
            ["bash", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        for key, command in commands.items()
    }
    return {key: p.communicate(timeout=20)[0].decode("ascii") for key, p in started.items()}
