"""A real door asked by ssh for all that looks: what a person sees, and what a program gets."""

import json
import re
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.clients.looking import SECONDS, document, told
from tests.clients.programs import need, run
from tests.logins import People
from tests.running import LOOPBACK

from panicdoor.commands.registry import COMMANDS, Level

LOOKING = [command.name for command in COMMANDS.values() if command.level is Level.OBSERVE]


@pytest.mark.parametrize("name", LOOKING)
def test_a_screen(observed: People, name: str) -> None:
    assert max(map(len, told(observed, name).split("\n"))) <= 80


@pytest.mark.parametrize("name", LOOKING)
def test_the_json_is_what_is_documented(observed: People, name: str) -> None:
    document(observed, name)


@pytest.mark.parametrize(
    "line", ["processes 1", "mounts --all", "disks --all", "changes --since 1h"]
)
def test_the_json_of_lines_with_words(observed: People, line: str) -> None:
    document(observed, line)


@pytest.mark.parametrize("name", LOOKING)
def test_the_examples_are_what_comes(observed: People, name: str) -> None:
    manual = told(observed, f"help {name}")
    for example in COMMANDS[name].examples:
        assert f"    > {example.line}\n" in manual
        pattern = ".*".join(map(re.escape, example.output.split("...")))
        assert re.fullmatch(pattern, told(observed, example.line).strip("\n"), re.DOTALL)


@pytest.mark.parametrize("name", LOOKING)
def test_the_fields_are_told_over_the_door(observed: People, name: str) -> None:
    fields = json.loads(told(observed, f"help {name} --json"))["fields"]
    assert [tuple(field.values()) for field in fields] == list(COMMANDS[name].fields)


def test_its_own_certificate_is_the_one_that_it_shows(observed: People, tmp_path: Path) -> None:
    need("openssl")
    pem = tmp_path / "shown.pem"
    pem.write_text(ssl.get_server_certificate((LOOPBACK, observed.door.port), timeout=SECONDS))
    said = run("openssl", "x509", "-noout", "-enddate", "-in", str(pem)).stdout.decode()
    ends = datetime.strptime(said.strip(), "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    found = document(observed, "certificates")["certificates"]
    (own,) = [one for one in found if one["file"] is None]
    assert datetime.fromisoformat(own["ends"]) == ends
    assert own["names"] == ["panicdoor web1", "web1"]
    assert "  this door's own\n" in told(observed, "certificates")
