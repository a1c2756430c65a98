"""Signatures of orders, judged by the door's code and by `ssh-keygen -Y verify`: the same, or said.

Each case is one signature, one allowed_signers file and perhaps one list of revoked keys, with
what we say and what ssh-keygen says. Where the two differ, the case has words under which
PROTOCOL.orders.md lists the difference with its reason.
"""

import hashlib
import subprocess
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.clients.programs import need
from tests.sshkeys import Key, ecdsa_key, ed25519_key, rsa_key, sk_ecdsa_key, sk_ed25519_key

from panicdoor.errors import ConfigError, OrderError
from panicdoor.judge.quorum import People, endorse
from panicdoor.orders.krl import NOTHING_REVOKED
from panicdoor.orders.krl import parse as parse_krl
from panicdoor.orders.signers import ORDER
from panicdoor.orders.signers import parse as parse_signers
from panicdoor.orders.sshsig import armor
from panicdoor.orders.sshwire import Reader, mpint, string
from panicdoor.orders.text import parse_sealed

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "tests/vectors/v1.order").read_text("ascii")
NAMESPACES = f'namespaces="{ORDER}"'
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

ALICE, OTHER, ECDSA, RSA = ed25519_key(), ed25519_key(), ecdsa_key(), rsa_key()
TOKEN = sk_ed25519_key()

# The differences, by words that stand in PROTOCOL.orders.md.
UNTOUCHED = "not touched"
WEB = "application"
SHORT = "RSA below 2048"
LOCAL = "without `Z`"
OPEN = "No `namespaces`"
NAMES = "patterns and lists"
TWICE = "listed twice"
NUL = "a NUL"
OPTIONS = "critical options"
AMBIGUOUS = "two names"
RESERVED = "the reserved field"
SHA1 = "certificate with SHA-1"
ORDER_OF_GROUP = "order of the group"
ARMOR = "armor"
LINE_ENDS = "line ends"


@dataclass(frozen=True)
class Case:
    """What both are asked, what we say, and the words for it where ssh-keygen says otherwise."""

    signature: str
    allowed: str
    ours: bool
    differs: str = ""
    krl: Path | None = None
    text: str = TEXT


class Workshop:
    """A folder in which ssh-keygen makes keys, certificates and lists."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for kind, bits in (("ed25519", 256), ("ecdsa", 256), ("ecdsa", 384), ("ecdsa", 521),
                           ("rsa", 2048)):  # fmt: skip
            self.run("-q", "-t", kind, "-b", bits, "-N", "", "-C", "", "-f", f"{kind}{bits}")
        self.authority = (folder / "ecdsa384.pub").read_text().strip()

    def run(self, *arguments: object, data: bytes = b"") -> bytes:
        command = ["ssh-keygen", *map(str, arguments)]
        done = subprocess.run(command, input=data, capture_output=True, cwd=self.folder, check=True)
        return done.stdout

    def public(self, key: Key) -> str:
        (self.folder / "subject.pub").write_text(key.line() + "\n")
        return "subject.pub"

    def certified(self, key: Key, *options: object, by: str = "ecdsa384") -> Key:
        """Return the same key in a certificate."""
        options = options or ("-n", "alice")
        self.run("-q", "-s", by, "-I", "alice@desk", *options, self.public(key))
        blob = b64decode((self.folder / "subject-cert.pub").read_text().split()[1])
        return Key(blob, key.algorithms, key._bare)

    def revoked(self, name: str, of: str, *options: object) -> Path:
        """Return a list of what `of` says: a specification, or the line of a key."""
        (self.folder / "of").write_text(of + "\n")
        self.run("-q", "-k", "-f", name, *options, "of")
        return self.folder / name

    def says(self, case: Case) -> bool:
        allowed, signature = self.folder / "allowed", self.folder / "signature"
        allowed.write_text(case.allowed)
        signature.write_text(case.signature, newline="")
        krl = ("-r", case.krl) if case.krl else ()
        done = subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "alice", "-n", ORDER,
             "-s", signature, *krl],
            input=case.text.encode(), capture_output=True, check=False,
        )  # fmt: skip
        return done.returncode == 0


def ours(case: Case) -> bool:
    """Return what the door says."""
    try:
        krl = parse_krl(case.krl.read_bytes()) if case.krl else NOTHING_REVOKED
        signers = parse_signers(case.allowed.encode(), krl=krl)
        sealed = parse_sealed((case.text + case.signature).encode())
    except (ConfigError, OrderError):
        return False
    people = People(signers, lambda principal, number: None, datetime.now(UTC).timestamp())
    found = [endorse(sealed.order, each, people) for each in sealed.signatures]
    return all(each is not None and each.principal == "alice" for each in found)


def line(key: Key | str, name: str = "alice", options: str = NAMESPACES) -> str:
    return f"{name} {options} {key if isinstance(key, str) else key.line()}\n"


def blob(
    key: Key,
    *,
    namespace: str = ORDER,
    hash_: str = "sha512",
    reserved: bytes = b"",
    algorithm: str = "",
    change: Callable[[bytes], bytes] = bytes,
) -> bytes:
    """Return a signature with each field as the case wants it; `change` is for the inner one."""
    digest = hashlib.new(hash_, TEXT.encode()).digest()
    before, after = string(namespace.encode()), string(hash_.encode())
    inner = change(key.sign(b"SSHSIG" + before + string(b"") + after + string(digest), algorithm))
    fields = string(key.blob) + before + string(reserved) + after + string(inner)
    return b"SSHSIG\0\0\0\1" + fields


def of(key: Key, allowed: str = "", ours: bool = False, differs: str = "", **how: object) -> Case:
    """Return the case of a signature by `key`, which stands in the file as alice's."""
    signature = blob(key, **how)  # type: ignore[arg-type]
    return Case(armor(signature), allowed or line(key), ours, differs)


def kept(shop: Workshop) -> dict[str, Case]:
    """Signatures that ssh-keygen makes."""
    found = {}
    for name in ("ed25519256", "ecdsa256", "ecdsa384", "ecdsa521", "rsa2048"):
        for hash_ in ("sha256", "sha512"):
            command = ("-Y", "sign", "-q", "-n", ORDER, "-O", f"hashalg={hash_}", "-f", name)
            signature = shop.run(*command, data=TEXT.encode()).decode()
            public = (shop.folder / f"{name}.pub").read_text().strip()
            found[f"{name} {hash_}"] = Case(signature, line(public), True)
    shop.run("-q", "-s", "ecdsa384", "-I", "x", "-n", "alice", "ed25519256.pub")
    with_it = ("-Y", "sign", "-q", "-n", ORDER, "-f", "ed25519256-cert.pub")
    signature = shop.run(*with_it, data=TEXT.encode()).decode()
    allowed = line(shop.authority, options=f"cert-authority,{NAMESPACES}")
    found["ed25519256 in a certificate"] = Case(signature, allowed, True)
    return found


def keys(shop: Workshop) -> dict[str, Case]:
    """Kinds of keys, and what a token says of whoever holds it."""
    return {
        "sk-ed25519": of(TOKEN, ours=True),
        "sk-ecdsa": of(sk_ecdsa_key(), ours=True),
        "sk-ed25519 with PIN": of(sk_ed25519_key(5), ours=True),
        "sk-ed25519 untouched": of(sk_ed25519_key(0), differs=UNTOUCHED),
        "sk-ecdsa untouched, with PIN": of(sk_ecdsa_key(4), differs=UNTOUCHED),
        "sk of the web": of(sk_ed25519_key(application=b"https://example.com"), differs=WEB),
        "rsa-sha2-256": of(RSA, algorithm="rsa-sha2-256", ours=True),
        "rsa with SHA-1": of(RSA, algorithm="ssh-rsa"),
        "rsa of 1024 bits": of(rsa_key(1024), differs=SHORT),
        "a stranger": of(ALICE, line(OTHER)),
    }


def lines(shop: Workshop) -> dict[str, Case]:
    """Lines of allowed_signers."""

    def options(text: str) -> str:
        return line(ALICE, options=text)

    return {
        "valid": of(ALICE, options(f'{NAMESPACES},valid-after="20200101Z"'), True),
        "expired": of(ALICE, options(f'{NAMESPACES},valid-before="20200101Z"')),
        "not yet valid": of(ALICE, options(f'{NAMESPACES},valid-after="20990101Z"')),
        "local time": of(ALICE, options(f'{NAMESPACES},valid-before="20990101"'), differs=LOCAL),
        "for logins": of(ALICE, options('namespaces="login@panicdoor"')),
        "for anything": of(ALICE, options('namespaces="*"'), differs=OPEN),
        "for what fits": of(ALICE, options('namespaces="*@panicdoor"'), differs=OPEN),
        "without namespaces": of(ALICE, f"alice {ALICE.line()}\n", differs=OPEN),
        "a misspelt option": of(ALICE, options(f'{NAMESPACES},valid_before="20990101Z"')),
        "another's": of(ALICE, line(ALICE, "bob")),
        "everybody's": of(ALICE, line(ALICE, "*"), differs=NAMES),
        "a pattern's": of(ALICE, line(ALICE, "al*"), differs=NAMES),
        "two people's": of(ALICE, line(ALICE, "alice,bob"), differs=NAMES),
        "listed twice": of(ALICE, line(ALICE, "bob") + line(ALICE), differs=TWICE),
        "a byte order mark": of(ALICE, "\ufeff" + line(ALICE)),
        "a NUL": of(ALICE, line(ALICE).rstrip() + " a\0b\n", differs=NUL),
        "after a bad line": of(ALICE, "nonsense\n" + line(ALICE), True),
        "an authority's own": of(ALICE, options(f"cert-authority,{NAMESPACES}")),
    }


def formats(shop: Workshop) -> dict[str, Case]:
    """The blob, its armor and the text."""
    good, sound, crlf = blob(ALICE), armor(blob(ALICE)), TEXT.replace("\n", "\r\n")

    def raw(data: bytes, differs: str = "") -> Case:
        return Case(armor(data), line(ALICE), False, differs)

    def worn(text: str, ours: bool = False, differs: str = "") -> Case:
        return Case(text, line(ALICE), ours, differs)

    wide = sound.replace("\n", "", 2).replace("SIGNATURE-----", "SIGNATURE-----\n", 1)
    return {
        "another text": Case(sound, line(ALICE), False, text=TEXT.replace("4711", "4712")),
        "another namespace": of(ALICE, namespace="file"),
        "an empty namespace": of(ALICE, namespace=""),
        "md5": of(ALICE, hash_="md5"),
        "sha1": of(ALICE, hash_="sha1"),
        "sha384": of(ALICE, hash_="sha384"),
        "sha3-512": of(ALICE, hash_="sha3_512"),
        "a reserved field": of(ALICE, reserved=b"x", differs=RESERVED),
        "another version": raw(good.replace(b"SSHSIG\0\0\0\1", b"SSHSIG\0\0\0\2")),
        "another magic": raw(good.replace(b"SSHSIG", b"SSHSIF", 1)),
        "cut short": raw(good[:-1]),
        "bytes after it": raw(good + b"\0"),
        "bytes after the inner one": of(ALICE, change=lambda inner: inner + b"\0"),
        "S plus the order": of(ALICE, change=plus_order, differs=ORDER_OF_GROUP),
        "n minus s": of(ECDSA, ours=True, change=minus_s),
        "an ecdsa signature of zeros": of(ECDSA, change=zeros),
        "no END": worn(sound.replace("-----END SSH SIGNATURE-----", "")),
        "no padding": worn(sound.replace("=", "")),
        "an empty line in it": worn(sound.replace("\n", "\n\n", 1), differs=ARMOR),
        "blanks in it": worn(sound.replace("\nU", "\n U", 1), differs=ARMOR),
        "in one line": worn(wide, differs=ARMOR),
        "CR LF in the armor": worn(sound.replace("\n", "\r\n"), True, LINE_ENDS),
        "CR LF in the text": Case(sound, line(ALICE), True, LINE_ENDS, text=crlf),
        "blanks after the text": Case(sound, line(ALICE), True, LINE_ENDS, text=TEXT + "\n"),
    }


def certificates(shop: Workshop) -> dict[str, Case]:
    """Certificates."""
    allowed = line(shop.authority, options=f"cert-authority,{NAMESPACES}")
    team = line(shop.authority, "alice,bob", f"cert-authority,{NAMESPACES}")
    both = allowed + line(shop.authority, "root")

    def case(*options: str, ours: bool = False, differs: str = "", allowed: str = allowed) -> Case:
        return of(shop.certified(ALICE, *options), allowed, ours, differs)

    weak = shop.certified(ALICE, "-t", "ssh-rsa", "-n", "alice", by="rsa2048")
    rsa = (shop.folder / "rsa2048.pub").read_text().strip()
    by_rsa = line(rsa, options=f"cert-authority,{NAMESPACES}")
    cut = shop.certified(ALICE)
    longer = Key(cut.blob + b"\0", cut.algorithms, cut._bare)
    return {
        "ed25519": case(ours=True),
        "ecdsa": of(shop.certified(ECDSA), allowed, True),
        "rsa": of(shop.certified(RSA), allowed, True),
        "sk": of(shop.certified(TOKEN), allowed, True),
        "sk untouched": of(shop.certified(sk_ed25519_key(0)), allowed, differs=UNTOUCHED),
        "by rsa": of(shop.certified(ALICE, "-n", "alice", by="rsa2048"), by_rsa, True),
        "by rsa with SHA-1": of(weak, by_rsa, differs=SHA1),
        "for years": case("-n", "alice", "-V", "20200101:20990101", ours=True),
        "one name of several": case("-n", "root,alice,deploy", ours=True),
        "another name": case("-n", "bob"),
        "a pattern as its name": case("-n", "*"),
        "without names": case("-z", "7"),
        "two names of the line": case("-n", "alice,bob", allowed=team, differs=AMBIGUOUS),
        "expired": case("-n", "alice", "-V", "20200101:20210101"),
        "not yet valid": case("-n", "alice", "-V", "20980101:20990101"),
        "a host's": case("-h", "-n", "alice"),
        "a forced command": case("-n", "alice", "-O", "force-command=x", differs=OPTIONS),
        "of some addresses": case("-n", "alice", "-O", "source-address=::1", differs=OPTIONS),
        "of another authority": of(shop.certified(ALICE, "-n", "alice", by="ed25519256"), allowed),
        "bytes after it": of(longer, allowed),
        "the key alone": of(ALICE, allowed),
        "a plain line": case(allowed=line(shop.authority)),
        "the authority signs itself": signed_by_authority(shop, both),
        "for logins": case(
            allowed=line(shop.authority, options='cert-authority,namespaces="login@panicdoor"')
        ),
        "the authority's line is over": case(
            allowed=line(
                shop.authority, options=f'cert-authority,{NAMESPACES},valid-before="20200101Z"'
            )
        ),
    }


def lists(shop: Workshop) -> dict[str, Case]:
    """Lists of revoked keys."""
    allowed = line(shop.authority, options=f"cert-authority,{NAMESPACES}")
    ca = ("-s", "ecdsa384.pub")

    def plain(name: str, of_: str, ours: bool = False) -> Case:
        krl = shop.revoked(name.replace(" ", "-"), of_)
        return Case(armor(blob(ALICE)), line(ALICE), ours, krl=krl)

    def serial(name: str, of_: str, ours: bool = False, *options: str) -> Case:
        krl = shop.revoked(name.replace(" ", "-"), of_, *(options or ca))
        certified = shop.certified(ALICE, "-n", "alice", "-z", "42")
        return Case(armor(blob(certified)), allowed, ours, krl=krl)

    sparse = "\n".join(f"serial: {n}" for n in range(30, 60, 4))
    found = {
        name: plain(name, text, ours)
        for name, text, ours in (
            ("another key", OTHER.line(), True),
            ("the key", ALICE.line(), False),
            ("its sha1", f"sha1: {ALICE.line()}", False),
            ("its sha256", f"sha256: {ALICE.line()}", False),
            ("another sha256", f"sha256: {OTHER.line()}", True),
        )
    }
    for name, text, ours_ in (
        ("its serial", "serial: 42", False),
        ("another serial", "serial: 43", True),
        ("a range", "serial: 40-44", False),
        ("a range before", "serial: 1-41", True),
        ("a range after", "serial: 43-90", True),
        ("a bitmap", sparse, False),
        ("a bitmap beside", sparse.replace("serial: 42\n", ""), True),
        ("its id", "id: alice@desk", False),
        ("another id", "id: alice", True),
    ):
        found[name] = serial(name, text, ours_)
    found["the authority"] = serial("authority", f"key: {shop.authority}", False, "-z", "1")
    found["the key in it"] = serial("inside", f"key: {ALICE.line()}", False, "-z", "1")
    found["an id of anybody's"] = serial("any", "id: alice@desk", False, "-s", "none")
    found["another authority's serial"] = serial("his", "serial: 42", True, "-s", "rsa2048.pub")
    return found


def plus_order(inner: bytes) -> bytes:
    """Return an ed25519 signature whose second half is greater by the order of the group."""
    number = int.from_bytes(inner[-32:], "little") + ED25519_ORDER
    return inner[:-32] + number.to_bytes(32, "little")


def minus_s(inner: bytes) -> bytes:
    """Return the other signature that fits the same key and text."""
    reader = Reader(inner)
    name, numbers = reader.string(), Reader(reader.string())
    r, s = numbers.mpint(), numbers.mpint()
    return string(name) + string(mpint(r) + mpint(P256_ORDER - s))


def zeros(inner: bytes) -> bytes:
    return string(Reader(inner).string()) + string(mpint(0) + mpint(0))


def signed_by_authority(shop: Workshop, allowed: str) -> Case:
    command = ("-Y", "sign", "-q", "-n", ORDER, "-f", "ecdsa384")
    return Case(shop.run(*command, data=TEXT.encode()).decode(), allowed, False)


GROUPS = (kept, keys, lines, formats, certificates, lists)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    need("ssh-keygen")
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_we_and_ssh_keygen(shop: Workshop, group: Callable[[Workshop], dict[str, Case]]) -> None:
    page = (ROOT / "PROTOCOL.orders.md").read_text("utf-8")
    wrong = {}
    for name, case in group(shop).items():
        said, expected = (ours(case), shop.says(case)), (case.ours, case.ours ^ bool(case.differs))
        if said != expected:
            wrong[name] = f"expected {expected}, got {said}"
        if case.differs not in page:
            wrong[name] = f"not in the page: {case.differs}"
    assert wrong == {}


def test_there_are_enough_cases(shop: Workshop) -> None:
    assert sum(len(group(shop)) for group in GROUPS) >= 100
