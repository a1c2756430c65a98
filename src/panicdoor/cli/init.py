"""`panicdoor init DIR`: makes the directory of a new door.

Rules:
- nothing is ever overwritten, and what fails half way leaves nothing behind;
- door.toml is written last: a directory without it is no door;
- the modes are those of the table in `make_door`, whatever the umask is.
"""

import argparse
import os
import pwd
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from panicdoor.certificates import generate_tls
from panicdoor.config import (
    LEVELS,
    PORT,
    USER,
    USERADD,
    Address,
    check_text,
    parse,
    parse_address,
)
from panicdoor.errors import ConfigError
from panicdoor.keys import (
    FILE_MAX,
    PublicKey,
    fingerprint,
    generate_identity,
    parse_public_key,
)
from panicdoor.orders.signers import LOGIN, ORDER

NAMESPACES: Final = f"{ORDER},{LOGIN}"
LISTEN: Final = (Address("127.0.0.1", PORT), Address("::1", PORT))

ANY_HOST: Final = ("0.0.0.0", "::")  # noqa: S104 - shown as HOST: nobody connects to these

_FIRST_FREE_PORT = 1024  # below it, Linux wants CAP_NET_BIND_SERVICE unless told otherwise

_ABOUT = """\
Make the directory of a new door: door.toml with its policy (read it, every key
is explained there), the key that is its identity, a TLS key with its
certificate, and allowed_signers, the list of people whose ssh keys it knows.
"""

_MORE = """\
DIR must be new or empty: nothing is ever overwritten. Who may do what is
written as one [[grant]] for all signers; edit door.toml for more.

exit codes: 0 made, 1 failed and nothing left behind, 2 wrong arguments

example:
  panicdoor init /etc/panicdoor --listen 192.0.2.10:903 \\
    --contact 'Example Ops, +49 30 1234567' --signer alice=alice.pub
"""

_SIGNERS = """\
# Who may sign for this door, as ssh-keygen(1) has it under ALLOWED SIGNERS.
# A line for each key: NAME namespaces="order@panicdoor,login@panicdoor" KEY
# order@panicdoor: it may sign orders; login@panicdoor: it may log in by ssh.
# NAME,NAME cert-authority,namespaces="..." KEY lets in whom that key has certified
# under one of those names.
"""

_DOOR = """\
# A door of panicdoor, in TOML (toml.io). Every key there is stands here. What
# is not understood is refused when the door is opened, with its key and what
# was expected. Texts are printable ASCII, 80 characters at most. An open door
# takes what is changed here with: panicdoor reload DIR

# What this door is called. An order names the door it is for, so a new name
# makes orders for the old one worthless.
name = {name}

# The fleet it belongs to, if any: an order can be for all doors of a fleet.
# fleet = "prod"

# Whose machine this is and how to reach them. All who connect can read it.
{contact}

# Where it listens, tcp and udp alike: up to 8 of "HOST:PORT" or "[HOST]:PORT".
# No names: they would have to be resolved by what may have failed.
listen = [
{listen}
]

# Where to turn when this door is not enough: up to 8 texts, each under a word
# of your own (a-z). All who connect can read them.
[elsewhere]
# console = "https://bmc.example.com/web1"
# runbook = "https://wiki.example.com/web1"

# Who may do what. What no grant allows is refused; there may be many [[grant]].
{grant}
"""

_GRANT: Final = (
    ("[[grant]]", ""),
    ("to = {to}", "The people: names that stand first in lines of allowed_signers."),
    (
        "may = {may}",
        "Levels: observe (look), recover (repair), defend (lock out, reboot), public"
        "\n# (what anybody may). Or single commands, by name.",
    ),
    ("signatures = 1", "How many different people must sign one order, 1 to 8."),
    (
        'from = ["192.0.2.0/24"]',
        "From which networks; from any without this key. Whoever comes from one named"
        "\n# here finds room even when strangers fill the door.",
    ),
    (
        "sessions = true",
        "Whether a command typed inside an ssh session counts, or only signed orders.",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which arguments there are."""
    parser.description = _ABOUT
    parser.epilog = _MORE
    parser.add_argument("dir", metavar="DIR", type=Path, help="the directory to make")
    parser.add_argument(
        "--name", metavar="N", help="what the door is called (default: this machine's short name)"
    )
    parser.add_argument(
        "--contact", metavar="TEXT", help="whose machine it is; everybody can read it"
    )
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        action="append",
        help=f"where it listens; may be repeated (default: {LISTEN[0]} and {LISTEN[1]})",
    )
    parser.add_argument(
        "--signer",
        metavar="NAME=KEY.pub",
        action="append",
        default=[],
        help="a person and the file of their public ssh key; may be repeated",
    )
    parser.add_argument(
        "--may",
        metavar="LEVEL",
        action="append",
        choices=LEVELS,
        help=f"what the signers may do beside observe: {', '.join(LEVELS)}; may be repeated",
    )


def run(arguments: argparse.Namespace) -> int:
    """Make the door and say what comes next."""
    name = _name(arguments.name)
    contact = arguments.contact
    listen = tuple(parse_address(text, "--listen") for text in arguments.listen or ())
    signers = [_signer(text) for text in arguments.signer]
    if arguments.may and not signers:
        raise ConfigError("--may: expected a --signer beside it, whom it is for")
    print_of = make_door(
        arguments.dir,
        name=name,
        contact="" if contact is None else check_text(contact, "--contact", "contact"),
        listen=listen or LISTEN,
        signers=signers,
        may=("observe", *(arguments.may or ())),
    )
    print(_made(arguments.dir, name, print_of, listen or LISTEN, [who for who, _ in signers]))
    return 0


def make_door(
    directory: Path,
    *,
    name: str,
    contact: str = "",
    listen: Sequence[Address] = LISTEN,
    signers: Sequence[tuple[str, PublicKey]] = (),
    may: Iterable[str] = ("observe",),
) -> str:
    """Make `directory` (new, or an empty one of ours) a door, and return its key's fingerprint.

    Raises ConfigError before anything is made where an argument cannot stand in door.toml, a key
    is given twice, or `directory` holds anything; OSError, with everything removed that was made.
    The process that calls this has seen the door's secrets.
    """
    policy = door_toml(name, contact, listen, [who for who, _ in signers], may)
    parse(policy, "door.toml")
    _check_signers(signers)
    identity, public = generate_identity(f"panicdoor {name}")
    tls = generate_tls(name, [address.host for address in listen], datetime.now(UTC))
    lines = [f'{who} namespaces="{NAMESPACES}" {key.line}\n' for who, key in signers]
    _write_all(
        directory,
        (
            ("identity", 0o600, identity),
            ("identity.pub", 0o644, public.encode()),
            ("tls.pem", 0o600, tls),
            ("allowed_signers", 0o644, "".join([_SIGNERS, *lines]).encode()),
            ("door.toml", 0o644, policy.encode()),
        ),
    )
    return fingerprint(public)


def door_toml(
    name: str,
    contact: str,
    listen: Sequence[Address],
    people: Sequence[str] = (),
    may: Iterable[str] = ("observe",),
) -> str:
    """Return a door.toml with a sentence for every key. Whether it is right, `parse` says."""
    once = {
        "to": _toml_list(dict.fromkeys(people) or ["alice"]),
        "may": _toml_list(dict.fromkeys(may)),
    }
    grant = []
    for line, why in _GRANT:
        # Without people there is nobody to grant anything to: it stays an example.
        off = "" if people and not line.startswith("from") else "# "
        grant += ([f"# {why}"] if why else []) + [off + line.format(**once)]
    return _DOOR.format(
        name=_toml(name),
        contact=f"contact = {_toml(contact)}"
        if contact
        else '# contact = "Example Ops, +49 30 1234567"',
        listen="\n".join(f"    {_toml(str(address))}," for address in listen),
        grant="\n".join(grant),
    )


def program() -> str:
    """Return how this program was started, as it can be typed again in the same directory."""
    started = sys.argv[0]
    if os.path.basename(started) == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m panicdoor"
    found = shutil.which("panicdoor")
    if found and os.path.realpath(found) == os.path.realpath(started):
        return "panicdoor"
    return shlex.quote(started)


def _made(
    directory: Path, name: str, key: str, listen: Sequence[Address], people: Sequence[str]
) -> str:
    """Return what the installer is told at the end: what there is now, and what to do next."""
    root = os.geteuid() == 0
    who = ", ".join(dict.fromkeys(people)) or "nobody yet: add lines here and a [[grant]] there"
    lines = [
        f"Made {directory}, the door of {name}, key {key}",
        "  door.toml        where it listens, who may do what: read it now",
        f"  allowed_signers  who may sign: {who}",
        "  identity, tls.pem  its keys: for this machine alone, never copied to another",
        "",
    ]
    if root and not _has_user():
        lines += ["Make the user that its processes run as:", f"  {USERADD}", ""]
    low = min(address.port for address in listen) < _FIRST_FREE_PORT
    lines.append("Open it (as root, for a port below 1024):" if low and not root else "Open it:")
    lines.append(f"  {program()} serve {shlex.quote(str(directory))}")
    if people:
        lines += ["Come in, and see what is wrong:", f"  {_ssh(people[0], listen[0])}"]
    return "\n".join(lines)


def _ssh(who: str, address: Address) -> str:
    """Return the line that a person types to come in."""
    host = "HOST" if address.host in ANY_HOST else address.host
    return f"ssh -p {address.port} {who}@{host} triage"


def _has_user() -> bool:
    """Return whether this machine knows the user of a door that root starts."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True


def _name(given: str | None) -> str:
    """Return the door's name: as given, or the short name of this machine, without asking DNS."""
    if given is not None:
        return check_text(given, "--name", "name")
    return check_text(os.uname().nodename.split(".")[0].lower(), "--name, by this machine", "name")


def _signer(text: str) -> tuple[str, PublicKey]:
    """Return the principal and the key that "NAME=KEY.pub" means."""
    who, equals, path = text.partition("=")
    if not (who and equals and path):
        raise ConfigError(f"--signer: expected NAME=KEY.pub, got '{text}'")
    check_text(who, "--signer", "grant[].to[]")
    try:
        with open(path, "rb") as file:
            return who, parse_public_key(file.read(FILE_MAX + 1), path)
    except OSError as failed:
        raise ConfigError(f"--signer {who}: {path}: {failed.strerror}") from None


def _check_signers(signers: Sequence[tuple[str, PublicKey]]) -> None:
    """Refuse a key that is listed twice: it could not say who of the two has signed."""
    seen: dict[bytes, str] = {}
    for who, key in signers:
        if key.blob in seen:
            raise ConfigError(
                f"--signer {who}: expected a key of their own, got that of {seen[key.blob]} again"
            )
        seen[key.blob] = who


def _toml(text: str) -> str:
    """Return `text` as a TOML string; what may not stand there is refused by `parse` anyway."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _toml_list(texts: Iterable[str]) -> str:
    """Return `texts` as a TOML list on one line."""
    return "[" + ", ".join(map(_toml, texts)) + "]"


def _write_all(directory: Path, files: Sequence[tuple[str, int, bytes]]) -> None:
    """Make `directory` (0700) with `files` (name, mode, contents), or nothing at all."""
    made = _make_directory(directory)
    written: list[str] = []
    inside = -1
    try:
        if made:
            directory.chmod(0o700)  # a umask may have taken even that away
        inside = _open_empty(directory)
        os.fchmod(inside, 0o700)
        for name, mode, contents in files:
            written.append(name)
            try:
                _write(inside, directory / name, mode, contents)
            except FileExistsError:
                written.pop()  # somebody else's
                raise
        os.fsync(inside)
        _sync_directory(directory.absolute().parent)
    except BaseException:
        for name in written:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=inside)
        if made:
            with suppress(OSError):  # somebody else has put something there meanwhile
                directory.rmdir()
        raise
    finally:
        if inside >= 0:
            os.close(inside)


def _make_directory(directory: Path) -> bool:
    """Make `directory` and return True, or return False where something is there already."""
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True


def _open_empty(directory: Path) -> int:
    """Return a descriptor of `directory`, or raise ConfigError unless it is ours and empty."""
    try:
        inside = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except NotADirectoryError:
        raise ConfigError(f"{directory}: expected a new or empty directory, got a file") from None
    try:
        if os.listdir(inside):
            raise ConfigError(
                f"{directory}: expected a new or empty directory; nothing was changed"
            )
        if os.fstat(inside).st_uid != os.geteuid():
            raise ConfigError(f"{directory}: expected a directory that is yours")
    except BaseException:
        os.close(inside)
        raise
    return inside


def _write(inside: int, path: Path, mode: int, contents: bytes) -> None:
    """Make the file `path` in the directory `inside`, and return when it is on disk."""
    try:
        file = os.open(
            path.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=inside
        )
        with open(file, "wb") as out:
            os.fchmod(file, mode)
            out.write(contents)
            out.flush()
            os.fsync(file)
    except OSError as failed:
        raise OSError(failed.errno, failed.strerror, str(path)) from None


def _sync_directory(directory: Path) -> None:
    """Return when the entries of `directory` are on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
