"""Tests of allowed_signers: what is taken, what is skipped, and ssh-keygen as the oracle."""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sshkeys import ecdsa_key, ed25519_key, rsa_key, sk_ed25519_key

from panicdoor.errors import ConfigError
from panicdoor.orders.signers import FILE_MAX, LOGIN, NOBODY, ORDER, SIGNERS_MAX, Signers, parse

KEY = ed25519_key()
OTHER = ed25519_key()
BOTH = f'namespaces="{ORDER},{LOGIN}"'
NOW = datetime(2026, 11, 24, tzinfo=UTC).timestamp()


def one(line: str) -> Signers:
    return parse(line.encode() + b"\n")


def test_a_line() -> None:
    signers = one(f"alice {BOTH} {KEY.line()} alice@desk")
    found = signers.find(KEY.blob, LOGIN, NOW)
    assert found is not None
    assert found.principal == "alice"
    assert found.key.blob == KEY.blob
    assert found.line == 1
    assert signers.find(KEY.blob, ORDER, NOW)
    assert signers.find(KEY.blob, "file", NOW) is None
    assert signers.find(OTHER.blob, LOGIN, NOW) is None
    assert signers.remarks == ()
    assert len(signers) == 1


@pytest.mark.parametrize(
    "key", [ecdsa_key("nistp521"), rsa_key(2048), sk_ed25519_key()], ids=["ecdsa", "rsa", "sk"]
)
def test_every_kind_of_key(key: object) -> None:
    assert len(one(f"alice {BOTH} {key.line()}")) == 1  # type: ignore[attr-defined]


def test_one_namespace_is_not_the_other() -> None:
    signers = one(f'alice namespaces="{ORDER}" {KEY.line()}')
    assert signers.find(KEY.blob, ORDER, NOW)
    assert signers.find(KEY.blob, LOGIN, NOW) is None


@pytest.mark.parametrize(
    ("options", "valid"),
    [
        ('valid-after="20261123Z"', True),
        ('valid-after="20261124Z"', True),
        ('valid-after="202611240001Z"', False),
        ('valid-before="20261124Z"', True),
        ('valid-before="20261123235959Z"', False),
        ('valid-after="20260101Z",valid-before="20270101Z"', True),
    ],
)
def test_validity(options: str, valid: bool) -> None:
    signers = one(f"alice {options},{BOTH} {KEY.line()}")
    assert not signers.remarks
    assert (signers.find(KEY.blob, LOGIN, NOW) is not None) is valid


WRONG = {
    "a pattern": (f"*@ops {BOTH} {KEY.line()}", "one literal name"),
    "two names": (f"alice,bob {BOTH} {KEY.line()}", "one literal name"),
    "a quoted name": (f'"alice" {BOTH} {KEY.line()}', "one literal name"),
    "capitals": (f"Alice {BOTH} {KEY.line()}", "one literal name"),
    "no namespaces": (f"alice {KEY.line()}", "namespaces"),
    "no namespaces, with a comment": (f"alice {KEY.line()} a comment", "namespaces"),
    "any namespace": (f'alice namespaces="*" {KEY.line()}', "written out"),
    "a pattern of them": (f'alice namespaces="*@panicdoor" {KEY.line()}', "written out"),
    "not one": (f'alice namespaces="!{LOGIN}" {KEY.line()}', "written out"),
    "an empty one": (f'alice namespaces="{LOGIN},," {KEY.line()}', "written out"),
    "none": (f'alice namespaces="" {KEY.line()}', "written out"),
    "misspelt": (f'alice namespace="{LOGIN}" {KEY.line()}', "expected namespaces"),
    "in capitals": (f'alice Namespaces="{LOGIN}" {KEY.line()}', "expected options"),
    "twice": (f"alice {BOTH},{BOTH} {KEY.line()}", "twice"),
    "unknown": (f"alice {BOTH},no-touch-required {KEY.line()}", "no-touch-required"),
    "a comma too many": (f"alice {BOTH}, {KEY.line()}", "options"),
    "local time": (f'alice {BOTH},valid-before="20270101" {KEY.line()}', "UTC"),
    "no such day": (f'alice {BOTH},valid-before="20270230Z" {KEY.line()}', "UTC"),
    "the wrong way round": (
        f'alice {BOTH},valid-after="20270101Z",valid-before="20260101Z" {KEY.line()}',
        "later",
    ),
    "an authority": (f"alice cert-authority,{BOTH} {KEY.line()}", "certificates"),
    "DSA": (f"alice {BOTH} ssh-dss AAAA", "ssh-dss"),
    "a certificate": (f"alice {BOTH} ssh-ed25519-cert-v01@openssh.com AAAA", "expected one of"),
    "another kind's name": (f"alice {BOTH} {KEY.line('ssh-rsa')}", "damaged"),
    "cut": (f"alice {BOTH} {KEY.line()[:-8]}", "damaged"),
    "short RSA": (f"alice {BOTH} {rsa_key(1024).line()}", "2048"),
    "NUL": (f"alice {BOTH} {KEY.line()} \0", "NUL"),
    "a byte order mark": (f"\ufeffalice {BOTH} {KEY.line()}", "byte order mark"),
    "a name alone": ("alice", "expected NAME"),
    "no key": (f"alice {BOTH}", "expected"),
}


@pytest.mark.parametrize(("line", "why"), WRONG.values(), ids=WRONG)
def test_a_bad_line_is_skipped_with_its_number(line: str, why: str) -> None:
    text = f"# people\nbob {BOTH} {OTHER.line()}\n{line}\n"
    signers = parse(text.encode())
    assert len(signers) == 1
    assert signers.find(OTHER.blob, LOGIN, NOW)
    (remark,) = signers.remarks
    assert remark.line == 3
    assert why in remark.text
    assert str(remark).isascii()
    assert str(remark).isprintable()


def test_a_bad_line_still_names_somebody() -> None:
    signers = one(f"alice {KEY.line()}")
    assert signers.named == {"alice"}
    assert NOBODY.named == frozenset()


def test_a_key_that_is_listed_twice_is_its_first_owners() -> None:
    signers = parse(f"alice {BOTH} {KEY.line()}\nmallory {BOTH} {KEY.line()}\n".encode())
    found = signers.find(KEY.blob, LOGIN, NOW)
    assert found is not None
    assert found.principal == "alice"
    assert "line 1" in signers.remarks[0].text


def test_line_ends_blanks_and_comments() -> None:
    text = f"\r\n  # x\n\talice\t{BOTH}\t{KEY.line()}\tJ\u00f6rg\r\nbob {BOTH} {OTHER.line()}"
    signers = parse(text.encode())
    assert (len(signers), signers.remarks) == (2, ())


def test_too_large() -> None:
    with pytest.raises(ConfigError, match="bytes"):
        parse(b"#" * (FILE_MAX + 1))


def test_too_many() -> None:
    lines = [f"alice {BOTH} {ed25519_key().line()}\n" for _ in range(SIGNERS_MAX + 2)]
    signers = parse("".join(lines).encode())
    assert len(signers) == SIGNERS_MAX
    assert len(signers.remarks) == 2


@given(st.binary(max_size=400))
def test_no_bytes_raise(junk: bytes) -> None:
    good = f"alice {BOTH} {KEY.line()}\n".encode()
    signers = parse(good + junk.replace(b"\n", b"") + b"\n" + junk)
    assert signers.find(KEY.blob, LOGIN, NOW)


@given(
    st.sampled_from(["alice", "alice,bob", "*", "!alice", '"alice"']),
    st.lists(
        st.sampled_from(
            [
                BOTH, f'namespaces="{LOGIN}"', 'namespaces="*"', 'namespaces="file"',
                'valid-after="20200101Z"', 'valid-before="20200101Z"', 'valid-before="2020"',
                "cert-authority", "nonsense", 'namespaces="',
            ]
        ),
        max_size=3,
    ),
    st.sampled_from([" ", "\t", "  "]),
)  # fmt: skip
def test_whom_we_take_ssh_keygen_takes(
    tmp_path_factory: pytest.TempPathFactory, name: str, options: list[str], blank: str
) -> None:
    """Never is anybody taken whom OpenSSH would not take: the other way round is our strictness."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    folder = tmp_path_factory.getbasetemp() / "oracle"
    key, signature = _signature(folder)
    line = blank.join(filter(None, [name, ",".join(options), key]))
    signers = parse(line.encode())
    now = datetime.now(UTC).timestamp()
    blob = parse(f"alice {BOTH} {key}".encode())
    found = [s for s in (signers.find(b, LOGIN, now) for b in blob._signers) if s]
    if not found:
        return
    (folder / "allowed").write_text(line + "\n")
    done = subprocess.run(
        ["ssh-keygen", "-Y", "verify", "-f", folder / "allowed", "-I", found[0].principal,
         "-n", LOGIN, "-s", signature],
        input=b"data", capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, line


def _signature(folder: Path) -> tuple[str, Path]:
    """Return a public key's line, and a file with its signature in the login namespace."""
    private = folder / "key"
    signature = folder / "data.sig"
    if not signature.exists():
        folder.mkdir(exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", private], check=True)
        (folder / "data").write_bytes(b"data")
        subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-f", private, "-n", LOGIN, folder / "data"],
            check=True,
            capture_output=True,
        )
    return " ".join((folder / "key.pub").read_text().split()[:2]), signature
