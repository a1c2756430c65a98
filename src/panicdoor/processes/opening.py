"""Opening a door: everything that can be wrong is found here, before anything is started.

In this order: the lock on the directory, the configuration, the keys (by a child that ends, since
whatever is forked from a process that has read a secret keeps it in memory), the user, the orphans
of an earlier supervisor, the sockets, the files, the secrets' memfds, the wires.
"""

import contextlib
import errno
import fcntl
import os
import pwd
import resource
import signal
import ssl
import stat
from pathlib import Path
from typing import Final

from panicdoor import __version__, keys
from panicdoor.commands.registry import COMMANDS
from panicdoor.config import USER, USERADD, Door
from panicdoor.documentation.facts import Facts
from panicdoor.documentation.manual import Manual
from panicdoor.errors import ConfigError
from panicdoor.kernel import confine, libc, process, sockets, x509
from panicdoor.orders.signers import parse as parse_signers
from panicdoor.processes import wires
from panicdoor.processes.directory import JOURNAL, PLACES, SECRETS, holders, read_policy
from panicdoor.processes.place import Holdings, User, World
from panicdoor.roles import ROLE_OF

FILES: Final = (PLACES, JOURNAL)  # what the writer writes to
SECRET_MAX: Final = 64 << 10  # bytes: no key or certificate chain is nearly as large
PLACES_SIZE: Final = 4096  # bytes, reserved: overwriting them works on a full disk too
JOURNAL_RESERVE: Final = 1 << 20  # bytes reserved beyond the end: thousands of entries
ORPHAN_MS: Final = 2000  # milliseconds for a killed orphan to be gone
STDERR: Final = 2  # the last of the descriptors that everybody takes to be open


def open_door(directory: Path, demo: bool) -> World:
    """Open everything that the door of `directory` needs, or raise ConfigError and open nothing."""
    _undo_carelessness()
    with contextlib.ExitStack() as undo:
        holdings = Holdings(lock=_lock(directory))
        undo.callback(close, holdings)
        policy = read_policy(directory)
        door, signers = policy.door, parse_signers(policy.signers)
        fingerprint, certificate = _check_keys(directory)
        manual = _manual(door, fingerprint, certificate)
        public = directory / "identity.pub"
        host_key = keys.parse_public_key(public.read_bytes(), str(public))
        user = _user(demo)
        _end_orphans(directory)
        _raise_descriptor_limit()
        holdings.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        _listen(door, "" if demo else f"{directory / 'door.toml'}: ", holdings.listeners)
        holdings.volatile = _open_files(directory, holdings.files)
        for name, file in SECRETS.items():
            holdings.secrets[name] = _secret_memory(directory / file)
        landlock = confine.landlock_abi()
        if not landlock and os.geteuid() == 0:
            holdings.empty = _empty_directory(directory)
        holdings.wires = wires.open_all()
        gaps = holdings.gaps()
        world = World(
            directory.absolute(), door, host_key, signers, manual, holdings, user, landlock, gaps
        )
        undo.pop_all()
        return world


def _undo_carelessness() -> None:
    """Undo what whoever started us may have left: SIGCHLD ignored, or the first descriptors closed.

    Children could not be waited for then; and what is opened as one of the first three is lost to
    every child, which has /dev/null there.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    while (fd := os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)) <= STDERR:
        pass
    os.close(fd)


def close(holdings: Holdings) -> None:
    """Close everything that is held, the lock last."""
    for fd in (
        *holdings.wires.values(),
        *(fd for fds in holdings.listeners.values() for fd in fds),
        *holdings.secrets.values(),
        *holdings.files.values(),
        holdings.null,
        holdings.empty,
        holdings.lock,
    ):
        if fd >= 0:
            os.close(fd)
    holdings.policy.close()


def _lock(directory: Path) -> int:
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{directory}: {error.strerror}; panicdoor init DIR makes one") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise ConfigError(f"{directory}: another serve has this door open") from error
    return fd


def _manual(door: Door, fingerprint: str, certificate: bytes) -> Manual:
    """Prepare the documentation: once, so that all processes share it."""
    facts = Facts(
        door.name, door.fleet, door.contact, door.elsewhere, fingerprint, __version__, certificate
    )
    return Manual(facts, COMMANDS, grants=door.grants)


def _check_keys(directory: Path) -> tuple[str, bytes]:
    """Have a short-lived child read the secrets, and say what may be known of them.

    Returns the fingerprint that it found right, and the certificate in DER. Raises ConfigError.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            os.write(writer, _examine(directory).encode("utf-8", "replace"))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8", errors="replace") as report:
        verdict = report.read()
    os.waitpid(pid, 0)
    if not verdict.startswith("SHA256:"):
        raise ConfigError(verdict or f"{directory}: the keys could not be checked")
    fingerprint, _, certificate = verdict.partition(" ")
    return fingerprint, bytes.fromhex(certificate)


def _examine(directory: Path) -> str:
    """Return the fingerprint and the certificate, or a line that says what is wrong with which."""
    file = directory
    try:
        for name in SECRETS.values():
            file = directory / name
            if stat.S_IMODE(file.stat().st_mode) & 0o077:
                return f"{file}: others may read it; expected mode 0600"
        file = directory / "tls.pem"
        pem = file.read_bytes()
        keys.check_tls(pem, str(file))
        _check_certificate(file)
        certificate = next(x509.pem_blocks(pem), b"")
        file = directory / "identity"
        identity = keys.identity_from(file.read_bytes(), str(file))
        file = directory / "identity.pub"
        public = file.read_text(encoding="ascii")
        keys.check_pair(identity, public, str(file), str(directory / "identity"))
        return f"{keys.fingerprint(public, str(file))} {certificate.hex()}"
    except ConfigError as error:
        return str(error)
    except OSError as error:
        return f"{file}: {error.strerror}"
    except UnicodeDecodeError:
        return f"{file}: expected ASCII"


def _check_certificate(file: Path) -> None:
    """Let the TLS library read what a stream will read. Raises ConfigError."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file)
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
            wanted = "the certificate of the key that stands beside it"
        else:
            wanted = "a certificate, this one is damaged"
        raise ConfigError(f"{file}: expected {wanted}") from error


def _user(demo: bool) -> User | None:
    """Return whom to become: nobody else without root or for a demo."""
    if os.geteuid() != 0 or demo:
        return None
    try:
        entry = pwd.getpwnam(USER)
    except KeyError as error:
        raise ConfigError(f"there is no user {USER}; make it with: {USERADD}") from error
    return User(entry.pw_uid, entry.pw_gid)


def _end_orphans(directory: Path) -> None:
    """End what is left of a door whose supervisor is dead: we hold the lock, so it is."""
    for holder in holders(directory):
        if process.end(holder.pid, holder.started, ORPHAN_MS):
            continue
        # It hangs in the kernel. Only one that listens is in our way: it would take our clients.
        place = holder.place
        if place not in ROLE_OF or ROLE_OF[place].listens:
            raise ConfigError(
                f"{directory}: {place} of an earlier serve (pid {holder.pid}) does not end"
            )


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _listen(door: Door, file: str, opened: dict[str, tuple[int, ...]]) -> None:
    """Listen on every address; `file` begins what is said of one that cannot be had."""
    for i, address in enumerate(door.listen):
        try:
            tcp = sockets.listen_tcp(address.host, address.port)
            opened["tcp"] = (*opened.get("tcp", ()), tcp)
            udp = sockets.open_udp(address.host, address.port)
            opened["udp"] = (*opened.get("udp", ()), *udp)
        except ConfigError as error:
            raise ConfigError(f"{file}listen[{i}]: {error}" if file else str(error)) from error


def _open_files(directory: Path, opened: dict[str, int]) -> bool:
    """Open what the writer writes to, and reserve its space where the file system can.

    A host whose file systems have become read-only needs its door most: then all is kept in
    memory, and lost with it. Returns whether that is so. Raises ConfigError.
    """
    opened["stderr"] = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 3)
    try:
        for name in FILES:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            opened[name] = os.open(directory / name, flags, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise ConfigError(f"{directory / name}: {error.strerror}") from error
        for name in FILES:
            opened[name] = os.memfd_create(name, os.MFD_CLOEXEC)
        return True
    # A full disk, or a file system that cannot reserve: the door opens all the same.
    with contextlib.suppress(OSError):
        os.posix_fallocate(opened["places"], 0, PLACES_SIZE)
    with contextlib.suppress(OSError):
        size = os.fstat(opened["journal"]).st_size
        libc.fallocate_keep_size(opened["journal"], size + JOURNAL_RESERVE)
    return False


def _secret_memory(file: Path) -> int:
    """Copy a secret into a sealed memfd by the kernel's hands alone."""
    source = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        memory = os.memfd_create(file.name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        while os.sendfile(memory, source, None, SECRET_MAX):
            pass
    finally:
        os.close(source)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seals)
    return memory


def _empty_directory(directory: Path) -> int:
    empty = directory / "empty"
    with contextlib.suppress(FileExistsError):
        empty.mkdir(mode=0o711)
    return os.open(empty, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
