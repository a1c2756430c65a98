"""Starting and ending the servers that are measured: the door, its peers, and the floor.

Each is a context manager that yields a Server on a loopback port of its own; whatever it started
is ended by its pid, whatever it wrote is in a directory that goes away. What cannot be started
here raises SkippedError with the reason.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from bench.client import BUILD, HOST, SkippedError, fetch

FIRST_PORT, LAST_PORT = 20_000, 32_000  # below the range that clients' ports are taken from
READY = 15.0  # s to wait for a first answer
TELNETLIB3 = "telnetlib3==5.0.1"
SSHD_RUNTIME = Path("/run/sshd")  # compiled into Debian's sshd, made there by its service
NO_BASHRC = "SHLVL=1"  # a bash below another reads none: what is in there is not sshd's cost
OPERATOR = "me"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its name with version, its first process, its tcp (and udp) port."""

    name: str
    pid: int
    port: int


Start = Callable[[], AbstractContextManager[Server]]


def _free_port() -> int:
    for port in range(FIRST_PORT + os.getpid() % 5_000, LAST_PORT):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tcp.bind((HOST, port))
                udp.bind((HOST, port))
            except OSError:
                continue
            return port
    raise SkippedError("no port is free")


def _end(process: subprocess.Popen[bytes]) -> None:
    members = processes.family(process.pid)
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid, start in members.items():
        if processes.is_alive(pid, start):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def _running(name: str, port: int, argv: list[str], send: bytes = b"") -> Iterator[Server]:
    """Run a server in the foreground until the caller is done; ready means that it has answered."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True
        )
        try:
            answer = _first_answer(process, port, send)
            if not answer:
                errors.seek(0)
                said = errors.read()[-500:].decode("utf-8", "replace").strip()
                raise SkippedError(f"{name} did not start: {said or 'no answer'}")
            banner = re.match(rb"SSH-2\.0-([!-~]+)", answer)
            version = banner[1].decode().replace("_", " ") if banner else name
            yield Server(version, process.pid, port)
        finally:
            _end(process)


def _first_answer(process: subprocess.Popen[bytes], port: int, send: bytes) -> bytes:
    deadline = time.monotonic() + READY
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if answer := fetch(port, send):
                return answer
        except OSError:
            time.sleep(0.05)
    return b""


@contextmanager
def panicdoor(signer: Path | None = None) -> Iterator[Server]:
    """The door as `panicdoor init` and `panicdoor serve` make it.

    `signer` is a public key; its owner comes in by ssh as OPERATOR.
    """
    with tempfile.TemporaryDirectory(prefix="panicdoor-bench-") as directory:
        port = _free_port()
        program, door = [sys.executable, "-m", "panicdoor"], f"{directory}/door"
        init = [*program, "init", door, "--name", "bench", "--listen", f"{HOST}:{port}"]
        if signer:
            init += ["--signer", f"{OPERATOR}={signer}", "--may", "observe"]
        made = subprocess.run(init, capture_output=True, text=True, check=False)
        if made.returncode:
            raise SkippedError(f"panicdoor init failed: {made.stderr.strip()[-500:]}")
        with _running("panicdoor", port, [*program, "serve", door], b"\0") as server:
            yield server


@contextmanager
def floor() -> Iterator[Server]:
    """A C program that only accepts, writes 2 KB and closes."""
    port = _free_port()
    with _running("floor.c", port, [str(BUILD / "floor"), str(port)]) as server:
        yield server


@contextmanager
def telnetlib3() -> Iterator[Server]:
    """The telnet server of telnetlib3, in an environment of its own."""
    home = BUILD / "venv"
    program = home / "bin" / "telnetlib3-server"
    if not program.exists():
        venv.create(home, with_pip=True, clear=True)
        pip = [
            str(home / "bin" / "pip"),
            "install",
            "-q",
            "--disable-pip-version-check",
            TELNETLIB3,
        ]
        try:
            subprocess.run(pip, check=True, capture_output=True, timeout=120)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise SkippedError(f"{TELNETLIB3} could not be installed") from error
    port = _free_port()
    options = ["--loglevel", "error", "--timeout", "0", "--status-interval", "0"]
    name = TELNETLIB3.replace("==", " ")
    with _running(name, port, [str(program), *options, HOST, str(port)]) as server:
        yield server


def installed(program: str, package: str) -> str:
    """Return the file of a program that has to be there."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    if found is None:
        raise SkippedError(f"{program} is not installed (Debian: {package})")
    return found


def make_key(file: Path) -> None:
    """Make a key of an ssh server or client, without a passphrase; its public half is beside it."""
    program = installed("ssh-keygen", "openssh-client")
    subprocess.run([program, "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)


@contextmanager
def sshd(signer: Path | None = None, pam: bool = False) -> Iterator[Server]:
    """OpenSSH's sshd with its own key and otherwise the limits it comes with.

    `signer` is a public key; its owner may log in as the user who runs this, through Debian's PAM
    or without.
    """
    program = installed("sshd", "openssh-server")
    if os.geteuid():
        raise SkippedError("sshd separates its privileges only when started by root")
    was_there = SSHD_RUNTIME.is_dir()
    SSHD_RUNTIME.mkdir(mode=0o755, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="panicdoor-bench-") as directory:
            key, config, port = f"{directory}/key", f"{directory}/config", _free_port()
            make_key(Path(key))
            lines = ["PidFile none", "LogLevel ERROR", f"HostKey {key}"]
            lines += [f"ListenAddress {HOST}:{port}", f"UsePAM {'yes' if pam else 'no'}"]
            if signer:
                lines += ["StrictModes no", f"AuthorizedKeysFile {signer}", f"SetEnv {NO_BASHRC}"]
            Path(config).write_text("\n".join([*lines, ""]))
            with _running("sshd", port, [program, "-D", "-e", "-f", config]) as server:
                yield server
    finally:
        if not was_there:
            SSHD_RUNTIME.rmdir()


@contextmanager
def dropbear() -> Iterator[Server]:
    """Dropbear's server with its own key."""
    program, keygen = (installed(name, "dropbear-bin") for name in ("dropbear", "dropbearkey"))
    with tempfile.TemporaryDirectory(prefix="panicdoor-bench-") as directory:
        key, port = f"{directory}/key", _free_port()
        subprocess.run([keygen, "-t", "ed25519", "-f", key], check=True, capture_output=True)
        argv = [program, "-F", "-E", "-r", key, "-P", f"{directory}/pid", "-p", f"{HOST}:{port}"]
        with _running("dropbear", port, argv) as server:
            yield server


PEERS: dict[str, Start] = {"telnetlib3": telnetlib3, "dropbear": dropbear, "sshd": sshd}
