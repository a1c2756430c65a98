"""A door with people, and their keys as ssh clients take them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.running import LOOPBACK, Door, free_port, need_user, start

from panicdoor.cli.init import make_door
from panicdoor.config import Address
from panicdoor.keys import parse_public_key

SSH = (
    "ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR",
    "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
)  # fmt: skip
KINDS = {"alice": ("ed25519", "256"), "bob": ("rsa", "3072"), "carol": ("ecdsa", "384")}
GRANTS = """
[[grant]]
to = ["alice", "bob"]
may = ["recover"]

[[grant]]
to = ["alice"]
may = ["defend"]
signatures = 2
"""


@dataclass
class People:
    """A door that runs, and a folder with a private key for each name."""

    door: Door
    folder: Path

    def key(self, name: str) -> Path:
        """Return the file of somebody's private key."""
        return self.folder / name

    def ssh(self, name: str, *options: str, key: str = "") -> tuple[str, ...]:
        """Return the command that logs in as `name`, without what is to be run."""
        who = f"{name}@{LOOPBACK}"
        identity = ("-i", str(self.key(key or name)))
        # Of two options ssh takes the first.
        return (SSH[0], *options, *SSH[1:], *identity, "-p", str(self.door.port), who)


def make_key(folder: Path, name: str, kind: str, bits: str) -> None:
    """Make a key pair, without a passphrase."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-b", bits, "-N", "", "-C", name, "-f", folder / name],
        check=True,
    )


@contextmanager
def inhabited(
    folder: Path, *, extra: bool = True, prefix: tuple[str, ...] = ()
) -> Iterator[People]:
    """A door in a new folder that knows alice, bob and carol; mallory it does not know.

    `prefix` is a command to run it under.
    """
    need_user()
    folder.mkdir(exist_ok=True)
    for name, (kind, bits) in {**KINDS, "mallory": ("ed25519", "256")}.items():
        make_key(folder, name, kind, bits)
    directory, port = folder / "door", free_port()
    people = [
        (name, parse_public_key((folder / f"{name}.pub").read_bytes(), name)) for name in KINDS
    ]
    listen = (Address(LOOPBACK, port),)
    make_door(directory, name="web1", contact="Example Ops", listen=listen, signers=people)
    policy = directory / "door.toml"
    text = policy.read_text()
    policy.write_text(text[: text.index("\n[[grant]]")] + GRANTS)
    door = start(directory, port, extra=extra, prefix=prefix)
    try:
        yield People(door, folder)
    finally:
        door.stop()
