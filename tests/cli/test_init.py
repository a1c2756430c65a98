"""What `panicdoor init` makes, and that it never overwrites or leaves a half."""

import argparse
import errno
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from panicdoor.cli import init
from panicdoor.config import USERADD, Address, parse
from panicdoor.errors import ConfigError
from panicdoor.keys import check_pair, check_tls, fingerprint, identity_from, parse_public_key

MODES = {
    "allowed_signers": 0o644,
    "door.toml": 0o644,
    "identity": 0o600,
    "identity.pub": 0o644,
    "tls.pem": 0o600,
}


def run(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    init.add_arguments(parser)
    return init.run(parser.parse_args([str(word) for word in words]))


def key(where: Path, name: str) -> Path:
    file = where / name
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name} key", "-f", file],
        check=True,
    )
    return file.with_suffix(".pub")


@pytest.fixture(params=[0o022, 0o000, 0o777], ids=["022", "000", "777"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_files_and_modes_whatever_the_umask(tmp_path: Path) -> None:
    door = tmp_path / "door"
    tmp_path.chmod(0o700)
    assert run(door) == 0
    assert stat.S_IMODE(door.stat().st_mode) == 0o700
    found = {file.name: stat.S_IMODE(file.stat().st_mode) for file in door.iterdir()}
    assert found == MODES


def test_what_it_makes_fits_together(tmp_path: Path) -> None:
    door = tmp_path / "door"
    run(door, "--name", "web1", "--listen", "192.0.2.10:903", "--listen", "[::]:903")
    public = (door / "identity.pub").read_text()
    check_pair(identity_from((door / "identity").read_bytes()), public)
    check_tls((door / "tls.pem").read_bytes())
    listed = subprocess.run(
        ["ssh-keygen", "-l", "-f", door / "identity"], check=True, capture_output=True, text=True
    )
    assert listed.stdout.split()[1] == fingerprint(public)
    certificate = subprocess.run(
        ["openssl", "x509", "-in", door / "tls.pem", "-noout", "-ext", "subjectAltName"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert certificate.split("\n")[1].strip() == "DNS:web1, IP Address:192.0.2.10"
    policy = parse((door / "door.toml").read_text(), "door.toml")
    assert policy.name == "web1"
    assert policy.listen == (Address("192.0.2.10", 903), Address("::", 903))
    assert (policy.contact, policy.grants, policy.elsewhere) == ("", (), {})


def test_signers_get_a_grant_of_observe(tmp_path: Path) -> None:
    door = tmp_path / "door"
    alice, bob, other = (key(tmp_path, name) for name in ("alice", "bob", "other"))
    run(door, "--signer", f"alice={alice}", "--signer", f"bob@ops={bob}", "--signer",
        f"alice={other}", "--contact", 'The "Ops" \\o/ 50% {off}')  # fmt: skip
    policy = parse((door / "door.toml").read_text(), "door.toml")
    assert policy.contact == 'The "Ops" \\o/ 50% {off}'
    (grant,) = policy.grants
    assert (grant.to, grant.may) == (("alice", "bob@ops"), ("observe",))
    assert (grant.signatures, grant.networks, grant.sessions) == (1, (), True)
    lines = (door / "allowed_signers").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        f'{who} namespaces="order@panicdoor,login@panicdoor" {file.read_text().strip()}'
        for who, file in (("alice", alice), ("bob@ops", bob), ("alice", other))
    ]


def test_ssh_keygen_reads_allowed_signers(tmp_path: Path) -> None:
    door = tmp_path / "door"
    run(door, "--signer", f"alice={key(tmp_path, 'alice')}")
    order = tmp_path / "o.txt"
    order.write_text("panicdoor order 1\n")

    def verify(namespace: str, who: str) -> int:
        sign: list[str | Path]
        sign = ["ssh-keygen", "-Y", "sign", "-n", namespace, "-f", tmp_path / "alice"]
        with order.open() as text:
            signed = subprocess.run(sign, stdin=text, check=True, capture_output=True).stdout
        (tmp_path / "o.sig").write_bytes(signed)
        check: list[str | Path]
        check = ["ssh-keygen", "-Y", "verify", "-f", door / "allowed_signers", "-I", who,
                 "-n", namespace, "-s", tmp_path / "o.sig"]  # fmt: skip
        with order.open() as text:
            return subprocess.run(check, stdin=text, check=False, capture_output=True).returncode

    assert verify("order@panicdoor", "alice") == 0
    assert verify("login@panicdoor", "alice") == 0
    assert verify("receipt@panicdoor", "alice") != 0
    assert verify("order@panicdoor", "bob") != 0


def test_may_adds_to_observe(tmp_path: Path) -> None:
    door = tmp_path / "door"
    signer = f"alice={key(tmp_path, 'alice')}"
    run(door, "--signer", signer, "--may", "recover", "--may", "observe", "--may", "recover")
    assert parse((door / "door.toml").read_text(), "f").grants[0].may == ("observe", "recover")


def test_door_toml_is_complete_and_explained() -> None:
    text = init.door_toml("web1", "", init.LISTEN)
    # Whatever looks like TOML behind a "# " is an example: uncommented, all of it is right.
    whole = re.sub(r"^# (?=\[\[|\[?[a-z]+ = )", "", text, flags=re.MULTILINE)
    door = parse(whole, "door.toml")
    assert door.fleet
    assert door.contact
    assert door.elsewhere
    assert door.grants[0].networks
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    for name in (
        "name",
        "fleet",
        "contact",
        "listen",
        "to",
        "may",
        "signatures",
        "from",
        "sessions",
    ):
        at = next(i for i, line in enumerate(lines) if re.match(rf"(# )?{name} = ", line))
        above = "\n".join(lines[:at]).rpartition("\n# ")
        assert above[1], name
        assert above[2].strip().endswith("."), name


def test_name_is_the_short_host_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: argparse.Namespace(nodename="Web7.Example.COM"))
    run(tmp_path / "door")
    assert parse((tmp_path / "door" / "door.toml").read_text(), "f").name == "web7"
    monkeypatch.setattr(os, "uname", lambda: argparse.Namespace(nodename="my_host"))
    with pytest.raises(ConfigError, match=r"^--name, by this machine: expected a name .*'my_host'"):
        run(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_it_says_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/panic door/bin/panicdoor"])
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid())
    monkeypatch.setattr(init, "_has_user", lambda: False)
    run(tmp_path / "my door", "--name", "web1")
    said = capsys.readouterr().out
    key = fingerprint((tmp_path / "my door" / "identity.pub").read_text())
    assert said.startswith(f"Made {tmp_path}/my door, the door of web1, key {key}\n")
    assert said.endswith(f"\n  '/opt/panic door/bin/panicdoor' serve '{tmp_path}/my door'\n")
    assert (f"\n  {USERADD}\n" in said) == (os.getuid() == 0)
    monkeypatch.setattr(init, "_has_user", lambda: True)
    run(tmp_path / "second")
    assert USERADD not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("listen", "line"),
    [
        ("192.0.2.10:903", "ssh -p 903 alice@192.0.2.10 triage"),
        ("[2001:db8::10]:9903", "ssh -p 9903 alice@2001:db8::10 triage"),
        ("0.0.0.0:903", "ssh -p 903 alice@HOST triage"),
    ],
)
def test_a_signer_is_told_how_to_come_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], listen: str, line: str
) -> None:
    signer = f"alice={key(tmp_path, 'alice')}"
    run(tmp_path / "door", "--name", "web1", "--listen", listen, "--signer", signer)
    assert capsys.readouterr().out.endswith(f"\n  {line}\n")


@pytest.mark.parametrize(
    ("argv0", "path", "line"),
    [
        ("{bin}/panicdoor", "{bin}", "panicdoor"),
        ("{bin}/panicdoor", "/nowhere", "{bin}/panicdoor"),
        ("{other}/panicdoor", "{bin}", "{other}/panicdoor"),
        ("/lib/panicdoor/__main__.py", "{bin}", "{python} -m panicdoor"),
    ],
)
def test_how_this_program_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv0: str, path: str, line: str
) -> None:
    names = {"bin": tmp_path / "bin", "other": tmp_path / "other", "python": sys.executable}
    for name in ("bin", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "panicdoor").touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [argv0.format(**names)])
    monkeypatch.setenv("PATH", path.format(**names))
    assert init.program() == line.format(**names)


# Never overwrites, leaves no half


def test_never_twice(tmp_path: Path) -> None:
    door = tmp_path / "door"
    run(door)
    before = {file.name: file.read_bytes() for file in door.iterdir()}
    with pytest.raises(ConfigError, match="expected a new or empty directory; nothing was changed"):
        run(door)
    assert {file.name: file.read_bytes() for file in door.iterdir()} == before


def test_not_into_what_holds_anything(tmp_path: Path) -> None:
    (tmp_path / "door").mkdir(mode=0o755)
    (tmp_path / "door" / "photo").write_text("of my cat")
    with pytest.raises(ConfigError, match="expected a new or empty directory"):
        run(tmp_path / "door")
    assert (tmp_path / "door" / "photo").read_text() == "of my cat"
    assert stat.S_IMODE((tmp_path / "door").stat().st_mode) == 0o755
    with pytest.raises(ConfigError, match="got a file"):
        run(tmp_path / "door" / "photo")


def test_an_empty_directory_will_do(tmp_path: Path) -> None:
    (tmp_path / "door").mkdir()
    (tmp_path / "door").chmod(0o777)
    run(tmp_path / "door")
    assert stat.S_IMODE((tmp_path / "door").stat().st_mode) == 0o700


def test_nothing_above_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run(tmp_path / "no" / "door")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["open", "fchmod", "fsync", "listdir"])
def test_what_fails_half_way_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    error: BaseException,
    exists: bool,
) -> None:
    door = tmp_path / "door"
    real = getattr(os, call)
    failed = 0
    for nth in range(9):
        if exists:
            door.mkdir()
        left = iter(range(nth, -1, -1))

        def fail(*words: object, left: Iterator[int] = left, **more: object) -> object:
            if next(left, -1) == 0:
                raise error
            return real(*words, **more)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            try:
                init.make_door(door, name="web1")
            except BaseException as caught:
                failed += 1
                assert getattr(caught, "errno", None) == getattr(error, "errno", None)  # noqa: PT017
            else:
                break
        assert [file.name for file in tmp_path.rglob("*")] == ["door"] * exists
        if exists:
            door.rmdir()
    # How often a door calls it: once for each file, and for the directories around them.
    assert failed == {"open": 7, "fchmod": 6, "fsync": 7, "listdir": 1}[call]


def test_what_failed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/door/identity'"):
        init.make_door(tmp_path / "door", name="web1")


def test_a_file_that_another_made_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = tmp_path / "door"
    real = init._open_empty

    def busy(directory: Path) -> int:
        inside = real(directory)
        (directory / "tls.pem").write_text("mine")
        return inside

    monkeypatch.setattr(init, "_open_empty", busy)
    with pytest.raises(FileExistsError):
        init.make_door(door, name="web1")
    assert [file.name for file in door.iterdir()] == ["tls.pem"]
    assert (door / "tls.pem").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--name", "Web 1"], "--name: expected a name of"),
        (["--contact", ""], "--contact: expected a text of"),
        (["--contact", "a\nb"], r"--contact: expected a text of .*, got 'a\\x0ab'"),
        (["--listen", "localhost:903"], "--listen: expected an address such as"),
        (["--listen", "127.0.0.1:903", "--listen", "127.0.0.1:903"], r"door.toml: listen\[1\]: "),
        (["--listen", "127.0.0.1:1"] * 9, "door.toml: listen: expected a list of 1 to 8"),
        (["--may", "recover"], "--may: expected a --signer beside it"),
        (["--signer", "alice"], "--signer: expected NAME=KEY.pub, got 'alice'"),
        (["--signer", "=x"], "--signer: expected NAME=KEY.pub"),
        (["--signer", "Alice=x"], "--signer: expected a principal of .*, got 'Alice'"),
        (["--signer", "alice=/no/key.pub"], "--signer alice: /no/key.pub: No such file"),
        (["--signer", "alice=/"], "--signer alice: /: Is a directory"),
        (["--signer", "alice=/dev/null"], "/dev/null: expected a line .*, the file is empty"),
        (["--signer", "alice={key}", "--signer", "bob={key}"],
         "--signer bob: expected a key of their own, got that of alice again"),
        (["--signer", "alice={key}", "--signer", "alice={key}"], "--signer alice: expected a key"),
        (["--signer", "alice={private}"], "expected a public key, got a private one"),
    ],
)  # fmt: skip
def test_wrong_arguments_make_nothing(tmp_path: Path, words: list[str], sentence: str) -> None:
    public = key(tmp_path, "alice")
    names = {"key": public, "private": public.with_suffix("")}
    with pytest.raises(ConfigError, match=sentence):
        run(tmp_path / "door", *(word.format(**names) for word in words))
    assert not (tmp_path / "door").exists()


def test_unknown_level_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        run(tmp_path / "door", "--may", "shell")
    assert caught.value.code == 2


def test_make_door_returns_the_fingerprint(tmp_path: Path) -> None:
    alice = parse_public_key(key(tmp_path, "alice").read_bytes(), "alice.pub")
    printed = init.make_door(tmp_path / "door", name="a", signers=[("alice", alice)], may=["kill"])
    assert printed == fingerprint((tmp_path / "door" / "identity.pub").read_text())
    grant = parse((tmp_path / "door" / "door.toml").read_text(), "f").grants[0]
    assert grant.may == ("kill",)
