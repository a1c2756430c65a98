"""Tests of allowed_signers: what is taken, what is skipped, and ssh-keygen as the oracle."""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sshkeys import Key, certificate, ecdsa_key, ed25519_key, rsa_key, sk_ed25519_key

from panicdoor.errors import ConfigError
from panicdoor.orders.krl import parse as parse_krl
from panicdoor.orders.signers import (
    FILE_MAX,
    LOGIN,
    NAMES_MAX,
    NOBODY,
    ORDER,
    SIGNERS_MAX,
    Signers,
    parse,
)
from panicdoor.orders.sshwire import string

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
    "an authority with a value": (f'alice cert-authority="x",{BOTH} {KEY.line()}', "expected"),
    "an authority twice": (f"alice cert-authority,cert-authority,{BOTH} {KEY.line()}", "twice"),
    "an authority for anything": (f"alice cert-authority {KEY.line()}", "namespaces"),
    "an authority of a pattern": (f"*@ops cert-authority,{BOTH} {KEY.line()}", "one literal name"),
    "an authority of nobody": (f"alice,,bob cert-authority,{BOTH} {KEY.line()}", "literal name"),
    "an authority of too many": (
        f"{','.join(['a'] * (NAMES_MAX + 1))} cert-authority,{BOTH} {KEY.line()}",
        "at most",
    ),
    "no value": (f"alice valid-after,{BOTH} {KEY.line()}", "valid-after"),
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
    assert one(f"alice,bob cert-authority {KEY.line()}").named == {"alice", "bob"}
    assert one(f"alice,bob cert-authority,{BOTH} {KEY.line()}").named == {"alice", "bob"}
    assert NOBODY.named == frozenset()


# Certificates

CA, SECOND = ed25519_key(), ecdsa_key()
TEAM = f"alice,bob cert-authority,{BOTH} {CA.line()}"
DAY = 86400


def whose(signers: Signers, key: Key, namespace: str = ORDER, now: float = NOW) -> str:
    found = signers.find(key.blob, namespace, now)
    return found.principal if found is not None else ""


@pytest.mark.parametrize(
    "key", [ed25519_key(), ecdsa_key("nistp521"), rsa_key(), sk_ed25519_key()],
    ids=["ed25519", "ecdsa", "rsa", "sk"],
)  # fmt: skip
def test_a_certificate(key: Key) -> None:
    found = one(TEAM).find(certificate(key, CA, names=("bob",)).blob, ORDER, NOW)
    assert found is not None
    assert (found.principal, found.key.blob, found.line) == ("bob", key.blob, 1)


@pytest.mark.parametrize(
    ("names", "principal"),
    [
        (("alice",), "alice"),
        (("root", "alice", "deploy"), "alice"),
        (("mallory",), ""),
        (("*",), ""),
        (("alice,bob",), ""),
        (("alice", "bob"), ""),
        ((), ""),
    ],
)
def test_a_certificate_speaks_for_one_name(names: tuple[str, ...], principal: str) -> None:
    assert whose(one(TEAM), certificate(KEY, CA, names=names)) == principal


@pytest.mark.parametrize(
    ("after", "before", "valid"),
    [
        (0, 2**64 - 1, True),
        (int(NOW), int(NOW) + 1, True),
        (int(NOW) + 1, int(NOW) + 2, False),
        (0, int(NOW), False),
        (int(NOW) - DAY, int(NOW) - 1, False),
        (2**64 - 1, 2**64 - 1, False),
        (5, 0, False),
    ],
)
def test_a_certificate_of_another_time(after: int, before: int, valid: bool) -> None:
    certified = certificate(KEY, CA, after=after, before=before)
    assert whose(one(TEAM), certified) == ("alice" if valid else "")


def test_the_line_of_an_authority_limits_it() -> None:
    certified = certificate(KEY, CA)
    options = f'cert-authority,namespaces="{LOGIN}",valid-before="20261123Z"'
    signers = one(f"alice {options} {CA.line()}")
    assert whose(signers, certified, LOGIN, NOW - 2 * DAY) == "alice"
    assert whose(signers, certified, LOGIN) == ""
    assert whose(signers, certified, ORDER, NOW - 2 * DAY) == ""
    signers = one(f'alice cert-authority,{BOTH},valid-after="20261124Z" {CA.line()}')
    assert whose(signers, certified, LOGIN, NOW) == "alice"
    assert whose(signers, certified, LOGIN, NOW - 1) == ""


def test_certificates_that_are_not_taken() -> None:
    signers = one(TEAM)
    options = string(b"force-command") + string(string(b"true"))
    for bad in (
        certificate(KEY, SECOND),
        certificate(KEY, CA, type=2),
        certificate(KEY, CA, options=options),
        certificate(KEY, CA, signer=SECOND),
        certificate(KEY, CA, after_it=b"\0"),
        certificate(certificate(KEY, CA), CA),
    ):
        assert whose(signers, bad) == ""


def test_an_authority_never_signs_by_itself() -> None:
    signers = parse(f"{TEAM}\nmallory {BOTH} {CA.line()}\n".encode())
    assert whose(signers, CA) == ""
    assert whose(signers, certificate(KEY, CA)) == "alice"
    assert "line 1" in signers.remarks[0].text
    signers = parse(f"mallory {BOTH} {CA.line()}\n{TEAM}\n".encode())
    assert whose(signers, CA) == "mallory"
    assert whose(signers, certificate(KEY, CA)) == ""


def test_who_has_which_keys() -> None:
    text = f"alice {BOTH} {KEY.line()}\n{TEAM}\nalice {BOTH} {OTHER.line()}\n"
    signers = parse(text.encode())
    assert [each.key.blob for each in signers.of("alice", ORDER, NOW)] == [KEY.blob, OTHER.blob]
    assert list(signers.of("alice", "file", NOW)) == []
    assert list(signers.of("bob", ORDER, NOW)) == []


def revoking(*blobs: bytes) -> bytes:
    header = b"SSHKRL\n\0\0\0\0\1" + bytes(24) + string(b"") + string(b"")
    return header + b"\2" + string(b"".join(map(string, blobs)))


def test_revoked_keys_are_nobodys() -> None:
    text = f"alice {BOTH} {KEY.line()}\nbob {BOTH} {OTHER.line()}\n{TEAM}\n".encode()
    third = ed25519_key()
    signers = parse(text, krl=parse_krl(revoking(KEY.blob, third.blob)))
    assert (whose(signers, KEY), whose(signers, OTHER)) == ("", "bob")
    assert list(signers.of("alice", ORDER, NOW)) == []
    assert whose(signers, certificate(OTHER, CA)) == "alice"
    assert whose(signers, certificate(third, CA)) == ""
    signers = parse(text, krl=parse_krl(revoking(CA.blob)))
    assert whose(signers, certificate(OTHER, CA)) == ""
    assert signers.named == {"alice", "bob"}


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
                "cert-authority", 'cert-authority=""', "nonsense", 'namespaces="',
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
