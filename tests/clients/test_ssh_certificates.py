"""A real ssh client that logs in with a certificate."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clients.programs import need, run
from tests.logins import SSH, make_key
from tests.running import LOOPBACK, Door, free_port, need_user, start

from panicdoor.cli.init import make_door
from panicdoor.config import Address

KINDS = {"erin": ("ed25519", "256"), "rsa": ("rsa", "3072"), "ca": ("ecdsa", "384")}
GRANT = '[[grant]]\nto = ["erin"]\nmay = ["observe"]\n'


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door whose allowed_signers has an authority and nobody else."""
    need("ssh", "ssh-keygen")
    need_user()
    folder = tmp_path_factory.mktemp("authority")
    for name, (kind, bits) in KINDS.items():
        make_key(folder, name, kind, bits)
    directory, port = folder / "door", free_port()
    make_door(directory, name="web1", contact="Ops", listen=(Address(LOOPBACK, port),), signers=())
    authority = (folder / "ca.pub").read_text()
    line = f'erin cert-authority,namespaces="login@panicdoor" {authority}'
    (directory / "allowed_signers").write_text(line)
    policy = directory / "door.toml"
    policy.write_text(policy.read_text() + GRANT)
    found = start(directory, port)
    yield found
    found.stop()


def ask(
    door: Door, key: str, names: str, *options: str, user: str = "erin"
) -> subprocess.CompletedProcess[bytes]:
    """Have a key certified for `names`, and log in with it."""
    folder = door.directory.parent
    sign = ["ssh-keygen", "-q", "-s", str(folder / "ca"), "-I", "x", "-n", names, *options]
    subprocess.run([*sign, str(folder / f"{key}.pub")], check=True)
    where = ("-i", str(folder / key), "-p", str(door.port), f"{user}@{LOOPBACK}")
    try:
        return run(*SSH, *where, "clock")
    finally:
        Path(folder / f"{key}-cert.pub").unlink()


@pytest.mark.parametrize("key", ["erin", "rsa"])
def test_a_certificate_lets_in(door: Door, key: str) -> None:
    done = ask(door, key, "root,erin")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"UTC" in done.stdout


@pytest.mark.parametrize(
    ("names", "options", "user"),
    [
        ("mallory", (), "erin"),
        ("mallory", (), "mallory"),
        ("erin", ("-V", "20200101:20210101"), "erin"),
        ("erin", ("-O", "force-command=true"), "erin"),
        ("erin", ("-h",), "erin"),
    ],
)
def test_certificates_that_do_not(
    door: Door, names: str, options: tuple[str, ...], user: str
) -> None:
    done = ask(door, "erin", names, *options, user=user)
    assert done.returncode == 255
    assert b"Permission denied" in done.stderr


def test_without_its_certificate_a_key_is_a_strangers(door: Door) -> None:
    where = ("-i", str(door.directory.parent / "erin"), "-p", str(door.port), f"erin@{LOOPBACK}")
    assert run(*SSH, *where, "clock").returncode == 255
