"""Certificates in folders of our own, beside openssl(1)."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509 as library
from cryptography.hazmat.primitives.serialization import Encoding
from tests.commands.fitting import check
from tests.commands.observed import answer, check_manual, document
from tests.documentation.doors import V4, WEB1
from tests.kernel.test_x509 import made

from panicdoor.commands import certificates
from panicdoor.commands.registry import COMMANDS, Context, call
from panicdoor.documentation.manual import Manual

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder that is looked into."""
    folder = tmp_path / "etc"
    folder.mkdir()
    places = (str(folder),)
    look = certificates.look
    monkeypatch.setattr(certificates, "look", lambda own: look(own, places))
    return folder


def pem(days: float, name: str = "web1", alternatives: tuple[str, ...] = ()) -> bytes:
    ends = NOW + timedelta(days=days)
    begins = min(NOW, ends) - timedelta(days=90)
    return made(begins, ends, name, alternatives).public_bytes(Encoding.PEM)


def names(told: Any) -> list[str]:
    return [one["names"][0] for one in told["certificates"]]


def test_its_manual() -> None:
    check_manual("certificates")


def test_the_next_to_end_comes_first(place: Path) -> None:
    (place / "later.pem").write_bytes(pem(80, "later"))
    (place / "ended.crt").write_bytes(pem(-3, "ended", ("www.example.com",)))
    (place / "live").mkdir()
    (place / "live" / "soon.pem").write_bytes(pem(5, "soon"))
    told = document("certificates")
    assert names(told) == ["ended", "soon", "later"]
    assert told["findings"] == [
        f"ended +1 ended 3.0 d ago ({place}/ended.crt)",
        f"soon ends in 5.0 d ({place}/live/soon.pem)",
    ]
    assert [round(one["days"]) for one in told["certificates"]] == [-3, 5, 80]
    text = answer("certificates")
    assert text.startswith(f"reading {place}\n! ended +1 ended 3.0 d ago")
    assert " ENDED  ended +1  " in text


def test_it_says_what_openssl_says(place: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl(1) is not installed")
    (place / "web.pem").write_bytes(pem(33))
    command = [openssl, "x509", "-enddate", "-noout", "-dateopt", "iso_8601"]
    run = subprocess.run(
        [*command, "-in", place / "web.pem"], capture_output=True, text=True, check=False
    )
    if run.returncode:
        pytest.skip("this openssl(1) knows no -dateopt")
    (mine,) = document("certificates")["certificates"]
    theirs = datetime.fromisoformat(run.stdout.strip().removeprefix("notAfter="))
    assert datetime.fromisoformat(mine["ends"]) == theirs


def test_chains_der_and_the_same_twice(place: Path) -> None:
    (place / "chain.pem").write_bytes(b"junk\n" + pem(50, "leaf") + pem(300, "issuer"))
    leaf = (place / "chain.pem").read_bytes()
    (place / "fullchain.pem").write_bytes(leaf)
    single = library.load_pem_x509_certificate(pem(70, "binary"))
    (place / "one.der").write_bytes(single.public_bytes(Encoding.DER))
    told = document("certificates")
    assert names(told) == ["leaf", "binary", "issuer"]
    assert told["files"] == 3


def test_what_is_not_a_certificate(place: Path) -> None:
    (place / "empty.pem").write_bytes(b"")
    (place / "key.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----")
    (place / "broken.pem").write_bytes(
        b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----"
    )
    (place / "other.conf").write_bytes(pem(-1))
    (place / "folder.pem").mkdir()
    (place / "loop.pem").symlink_to(place / "loop.pem")
    os.mkfifo(place / "fifo.pem")
    told = document("certificates")
    assert told["certificates"] == []
    assert told["broken"] == [f"{place}/broken.pem: a value ends too early"]
    assert "(1 files could not be understood: certificates --json)" in answer("certificates")


def test_stores_of_trust_are_counted(place: Path) -> None:
    (place / "ca-bundle.crt").write_bytes(b"".join(pem(n + 1, str(n)) for n in range(12)))
    told = document("certificates")
    assert (told["stores"], told["certificates"]) == (1, [])


def test_hostile_names(place: Path) -> None:
    (place / "a\n\x1b[2J.pem").write_bytes(pem(1, "x\x1b[2J\n", ("\x07.example",)))
    text = answer("certificates")
    assert r"x\x1b[2J\x0a" in text
    (mine,) = document("certificates")["certificates"]
    assert mine["file"].endswith(r"a\x0a\x1b[2J.pem")
    assert mine["names"] == [r"x\x1b[2J\x0a", r"\x07.example"]


def test_one_that_is_not_valid_yet(place: Path) -> None:
    later = made(NOW + timedelta(days=1), NOW + timedelta(days=99), "early")
    (place / "early.pem").write_bytes(later.public_bytes(Encoding.PEM))
    assert document("certificates")["findings"] == [
        f"early is not valid yet ({place}/early.pem); is this host's clock right?"
    ]


def own(certificate: bytes) -> tuple[Any, str]:
    """Return what a door with this certificate says."""
    door = Manual(replace(WEB1, certificate=certificate), COMMANDS)
    context = Context(door, V4, "", lambda: "")
    told = "".join(call(context, ["certificates", "--json"]))
    return json.loads(told), "".join(call(context, ["certificates"]))


def test_the_doors_own(place: Path) -> None:
    der = made(NOW - timedelta(days=9), NOW - timedelta(days=2), "me\x1b").public_bytes(
        Encoding.DER
    )
    (place / "other.pem").write_bytes(pem(50))
    told, text = own(der)
    check("certificates", told)
    assert told["findings"] == [r"me\x1b ended 2.0 d ago (this door's own)"]
    assert [one["file"] for one in told["certificates"]] == [None, f"{place}/other.pem"]
    assert " ENDED  me\\x1b  this door's own\n" in text
    (place / "copy.der").write_bytes(der)
    told, _ = own(der)
    assert [one["file"] for one in told["certificates"]] == [None, f"{place}/other.pem"]


def test_one_of_the_door_that_nobody_understands(place: Path) -> None:
    told, _ = own(b"\x30\x05")
    assert told["broken"] == ["this door's own: a value of 5 bytes in 0"]


@pytest.mark.parametrize(("name", "most"), [("FILES_MAX", 2), ("ENTRIES_MAX", 2)])
def test_too_many_are_left_out_with_a_word(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    for n in range(5):
        (place / f"{n}.pem").write_bytes(pem(n + 1, str(n)))
    monkeypatch.setattr(certificates, name, most)
    told = document("certificates")
    assert told["cut"]
    assert len(told["certificates"]) == 2
    assert "(too many files: not all were looked at)" in answer("certificates")


def test_folders_deeper_than_anybody_keeps_them(place: Path) -> None:
    deep = place / "1" / "2" / "3" / "4"
    (deep / "5").mkdir(parents=True)
    (deep / "found.pem").write_bytes(pem(1, "found"))
    (deep / "5" / "lost.pem").write_bytes(pem(1, "lost"))
    assert names(document("certificates")) == ["found"]
