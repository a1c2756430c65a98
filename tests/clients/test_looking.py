"""A real door asked by ssh for all that looks: what a person sees, and what a program gets."""

import json
import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.clients.programs import need, run
from tests.commands.fitting import check
from tests.logins import People, inhabited
from tests.running import LOOPBACK

from panicdoor.commands.registry import COMMANDS, Level

LOOKING = [command.name for command in COMMANDS.values() if command.level is Level.OBSERVE]
SECONDS = 30.0  # on a machine that is busy; a command has a deadline of ten


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    need("ssh", "ssh-keygen")
    with inhabited(tmp_path_factory.mktemp("looking") / "house", extra=False) as found:
        yield found


def told(people: People, line: str) -> str:
    """Return what alice is told, which is visible ASCII whatever the host is like."""
    done = run(*people.ssh("alice"), line, seconds=SECONDS)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode("ascii")
    assert text.replace("\n", "").isprintable()
    assert text.endswith("\n")
    return text


@pytest.mark.parametrize("name", LOOKING)
def test_a_screen(people: People, name: str) -> None:
    assert max(map(len, told(people, name).split("\n"))) <= 80


@pytest.mark.parametrize("name", LOOKING)
def test_the_json_is_what_is_documented(people: People, name: str) -> None:
    check(name, json.loads(told(people, f"{name} --json")))


@pytest.mark.parametrize("line", ["processes 1", "mounts --all", "disks --all", "changes 1"])
def test_the_json_of_lines_with_words(people: People, line: str) -> None:
    check(line, json.loads(told(people, f"{line} --json")))


@pytest.mark.parametrize("name", LOOKING)
def test_the_examples_are_what_comes(people: People, name: str) -> None:
    manual = told(people, f"help {name}")
    for example in COMMANDS[name].examples:
        assert f"    > {example.line}\n" in manual
        pattern = ".*".join(map(re.escape, example.output.split("...")))
        assert re.fullmatch(pattern, told(people, example.line).strip("\n"), re.DOTALL)


@pytest.mark.parametrize("name", LOOKING)
def test_the_fields_are_told_over_the_door(people: People, name: str) -> None:
    fields = json.loads(told(people, f"help {name} --json"))["fields"]
    assert [tuple(field.values()) for field in fields] == list(COMMANDS[name].fields)


def test_its_own_certificate_is_the_one_that_it_shows(people: People, tmp_path: Path) -> None:
    need("openssl")
    pem = tmp_path / "shown.pem"
    pem.write_text(ssl.get_server_certificate((LOOPBACK, people.door.port), timeout=SECONDS))
    said = run("openssl", "x509", "-noout", "-enddate", "-in", str(pem)).stdout.decode()
    ends = datetime.strptime(said.strip(), "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    found = json.loads(told(people, "certificates --json"))["certificates"]
    (own,) = [one for one in found if one["file"] is None]
    assert datetime.fromisoformat(own["ends"]) == ends
    assert own["names"] == ["panicdoor web1", "web1"]
    assert "  this door's own\n" in told(people, "certificates")
