"""Tests of signatures that count: one person once, one key once, nothing believed twice.

The last ones take the vectors and change them, 10,000 times.
"""

from collections.abc import Sequence as Several
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.sshkeys import Key, certificate, ecdsa_key, ed25519_key, rsa_key, sk_ed25519_key

from panicdoor.errors import OrderError
from panicdoor.judge.quorum import (
    FLEET_SIGNATURES,
    PENDING_EACH_MAX,
    PENDING_MAX,
    PENDING_S,
    REFUSED,
    Endorsement,
    Need,
    Pending,
    People,
    Standing,
    Verdict,
    endorse,
    weigh,
)
from panicdoor.orders import codes
from panicdoor.orders.krl import parse as parse_krl
from panicdoor.orders.signers import LOGIN, ORDER
from panicdoor.orders.signers import parse as parse_signers
from panicdoor.orders.sshsig import SshSignature, signed_data
from panicdoor.orders.sshwire import Reader, mpint, string
from panicdoor.orders.text import (
    Bare,
    Code,
    Order,
    Sealed,
    Signature,
    parse_order,
    parse_sealed,
    progress,
)

VECTORS = Path(__file__).parents[1] / "vectors"
ALLOWED = (VECTORS / "allowed_signers").read_bytes()
CODE = (VECTORS / "v3.code").read_text().strip()
NOW, WALL = 5000.0, 1_795_399_000.0
V1 = (VECTORS / "v1.order").read_text("ascii")
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def vector_key(byte: int) -> Key:
    private = Ed25519PrivateKey.from_private_bytes(bytes([byte]) * 32)
    blob = string(b"ssh-ed25519") + string(private.public_key().public_bytes_raw())
    return Key(blob, ("ssh-ed25519",), lambda data, _: string(private.sign(data)))


ALICE, BOB, MALLORY, CAROL = vector_key(0xA1), vector_key(0xB0), ed25519_key(), ecdsa_key()
CA, SPARE = ed25519_key(), ed25519_key()
EXTRA = "\n".join(
    [
        f'alice namespaces="{ORDER}" {SPARE.line()}',
        f'carol namespaces="{ORDER}" {CAROL.line()}',
        f'dave namespaces="{LOGIN}" {MALLORY.line()}',
        f'alice,erin cert-authority,namespaces="{ORDER}" {CA.line()}',
    ]
)
SIGNERS = parse_signers(ALLOWED + EXTRA.encode())


@dataclass
class Sheets:
    """The paper codes of everybody, by owner and number."""

    codes: dict[tuple[str, int], str] = field(default_factory=dict)

    def __call__(self, principal: str, number: int) -> str | None:
        return self.codes.get((principal, number))


SECOND = codes.make(bytes(range(26)))
SHEETS = Sheets({("alice", 7): CODE, ("alice", 8): SECOND, ("bob", 7): SECOND})
PEOPLE = People(SIGNERS, SHEETS, WALL)
TWO = [Need(frozenset({"alice", "bob", "carol", "erin"}), 2)]
ONE = [Need(frozenset({"alice"}), 1)]


def order(do: str = "freeze user batch", by: str = "alice") -> Order:
    text = V1.replace("freeze user batch\n", do + "\n").replace("by: alice", f"by: {by}")
    return parse_order(text.encode())


ORDER_1 = order()


def signed(key: Key, of: Order = ORDER_1, namespace: str = ORDER) -> SshSignature:
    inner = key.sign(signed_data(namespace, of.text.encode()))
    return SshSignature(key.blob, namespace, "sha512", inner)


def bare(principal: str, key: Key, of: Order = ORDER_1) -> Bare:
    return Bare(principal, signed(key, of).signature)


def code(principal: str, number: int, of: Order = ORDER_1) -> Code:
    secret = SHEETS(principal, number) or CODE
    return Code(principal, number, codes.mac(secret, of.text))


def judged(
    *signatures: Signature,
    needs: Several[Need] = TWO,
    of: Order = ORDER_1,
    people: People = PEOPLE,
    pending: Pending | None = None,
    now: float = NOW,
) -> Verdict:
    pending = Pending() if pending is None else pending
    return pending.judge(Sealed(of, signatures), people, needs, now)


# One signature


@pytest.mark.parametrize(
    ("file", "whose"),
    [
        ("v1.sealed", ["alice"]),
        ("v1.sealed-line", ["alice"]),
        ("v2.sealed-line", ["alice", "bob"]),
        ("v3.sealed", ["alice"]),
    ],
)
def test_the_vectors(file: str, whose: list[str]) -> None:
    sealed = parse_sealed((VECTORS / file).read_bytes())
    found = [endorse(sealed.order, each, PEOPLE) for each in sealed.signatures]
    assert [each.principal if each else "" for each in found] == whose
    assert judged(*sealed.signatures, of=sealed.order).have == len(whose)


def test_every_way_to_sign() -> None:
    token = sk_ed25519_key(5)
    signers = parse_signers(f'alice namespaces="{ORDER}" {token.line()}\n'.encode())
    people = People(signers, SHEETS, WALL, pin=True)
    assert endorse(ORDER_1, signed(token), people) == Endorsement("alice", token.blob)
    assert endorse(ORDER_1, bare("alice", token), people) == Endorsement("alice", token.blob)
    assert endorse(ORDER_1, bare("alice", SPARE), PEOPLE) == Endorsement("alice", SPARE.blob)
    erin = certificate(CAROL, CA, names=("erin",))
    assert endorse(ORDER_1, signed(erin), PEOPLE) == Endorsement("erin", CAROL.blob)


@pytest.mark.parametrize(
    "signature",
    [
        signed(MALLORY),
        signed(ed25519_key()),
        signed(ALICE, order("reboot")),
        signed(ALICE, namespace=LOGIN),
        signed(ALICE, namespace="file"),
        replace(signed(ALICE), namespace="file"),
        replace(signed(ALICE), hash="sha256"),
        replace(signed(ALICE), key=BOB.blob),
        replace(signed(ALICE), signature=b""),
        signed(certificate(ALICE, BOB)),
        signed(certificate(ALICE, CA, names=("mallory",))),
        bare("bob", ALICE),
        bare("nobody", ALICE),
        bare("erin", CA),
        Bare("alice", b""),
        Bare("alice", string(b"ssh-ed25519")),
        code("alice", 9),
        code("carol", 7),
        code("alice", 7, order("reboot")),
        replace(code("alice", 7), number=8),
    ],
    ids=range(20),
)
def test_a_signature_that_is_not_right(signature: Signature) -> None:
    assert endorse(ORDER_1, signature, PEOPLE) is None
    for signatures in ((signature,), (signature, signed(ALICE)), (signed(ALICE), signature)):
        with pytest.raises(OrderError, match=f"signature {1 + signatures.index(signature)} "):
            judged(*signatures, needs=ONE)


def test_a_token_without_pin_where_the_policy_wants_one() -> None:
    token = sk_ed25519_key(1)
    signers = parse_signers(f'alice namespaces="{ORDER}" {token.line()}\n'.encode())
    people = People(signers, SHEETS, WALL)
    assert judged(signed(token), needs=ONE, people=people).standing is Standing.MET
    for signature in (signed(token), bare("alice", token)):
        with pytest.raises(OrderError):
            judged(signature, needs=ONE, people=replace(people, pin=True))


# Who signs


def test_one_signature_where_one_is_needed() -> None:
    assert judged(signed(ALICE), needs=ONE) == Verdict(Standing.MET, ("alice",), 1)
    assert judged(bare("alice", ALICE), needs=ONE).standing is Standing.MET


def test_two_people() -> None:
    for second in (signed(BOB), bare("carol", CAROL), code("bob", 7)):
        for signatures in ((signed(ALICE), second), (second, signed(ALICE))):
            verdict = judged(*signatures)
            assert verdict.standing is Standing.MET
            assert verdict.signers[0] == "alice"
            assert verdict.have == verdict.need == 2


def test_the_author_not_among_the_signers() -> None:
    pending = Pending()
    assert judged(signed(BOB), pending=pending) == REFUSED
    assert judged(signed(BOB), signed(CAROL), pending=pending) == REFUSED
    of = order(by="bob")
    assert judged(signed(ALICE, of), signed(CAROL, of), of=of, pending=pending) == REFUSED
    assert len(pending) == 0


def test_an_author_whom_no_grant_names() -> None:
    for needs in ([], [Need(frozenset({"bob"}), 1)]):
        assert judged(signed(ALICE), needs=needs) == REFUSED
        assert judged(signed(ALICE), signed(BOB), needs=needs) == REFUSED


def test_co_signers_whom_the_grant_does_not_name_do_not_count() -> None:
    needs = [Need(frozenset({"alice", "carol"}), 2)]
    assert judged(signed(ALICE), signed(BOB), needs=needs).standing is Standing.PENDING
    assert judged(signed(ALICE), signed(CAROL), needs=needs).standing is Standing.MET


def test_the_grant_that_is_nearest() -> None:
    needs = [*TWO, *ONE]
    assert judged(signed(ALICE), needs=needs) == Verdict(Standing.MET, ("alice",), 1)
    three = [Need(frozenset({"alice", "bob"}), 3), *TWO]
    assert judged(signed(ALICE), needs=three) == Verdict(Standing.PENDING, ("alice",), 2)


def test_a_fleet_needs_two() -> None:
    sealed = parse_sealed((VECTORS / "v2.sealed-line").read_bytes())
    alice, bob = sealed.signatures
    verdict = judged(alice, of=sealed.order, needs=ONE)
    assert (verdict.standing, verdict.need) == (Standing.PENDING, FLEET_SIGNATURES)
    assert judged(alice, bob, of=sealed.order, needs=TWO).standing is Standing.MET


# Counted once


def plus_order(signature: SshSignature) -> SshSignature:
    inner = signature.signature
    number = int.from_bytes(inner[-32:], "little") + ED25519_ORDER
    return replace(signature, signature=inner[:-32] + number.to_bytes(32, "little"))


def minus_s(signature: SshSignature) -> SshSignature:
    reader = Reader(signature.signature)
    name, numbers = reader.string(), Reader(reader.string())
    r, s = numbers.mpint(), numbers.mpint()
    return replace(signature, signature=string(name) + string(mpint(r) + mpint(P256_ORDER - s)))


def test_malleated_ed25519_is_no_signature() -> None:
    good = signed(ALICE)
    with pytest.raises(OrderError):
        judged(good, plus_order(good))


def test_malleated_ecdsa_counts_once() -> None:
    of = order(by="carol")
    good = signed(CAROL, of)
    assert endorse(of, minus_s(good), PEOPLE) == endorse(of, good, PEOPLE)
    verdict = judged(good, minus_s(good), of=of)
    assert (verdict.standing, verdict.have) == (Standing.PENDING, 1)
    pending = Pending()
    for signature in (good, minus_s(good), minus_s(minus_s(good)), good):
        assert judged(signature, of=of, pending=pending).have == 1


def test_sha256_and_sha512_of_one_key_count_once() -> None:
    inner = ALICE.sign(signed_data(ORDER, ORDER_1.text.encode(), "sha256"))
    other = SshSignature(ALICE.blob, ORDER, "sha256", inner)
    assert judged(signed(ALICE), other, bare("alice", ALICE)).have == 1


def test_the_same_key_under_two_names() -> None:
    allowed = f'alice namespaces="{ORDER}" {ALICE.line()}\nbob namespaces="{ORDER}" {ALICE.line()}'
    people = People(parse_signers(allowed.encode()), SHEETS, WALL)
    assert judged(signed(ALICE), people=people).have == 1
    with pytest.raises(OrderError):
        judged(signed(ALICE), bare("bob", ALICE), people=people)


def test_the_same_key_in_a_certificate_of_another_name() -> None:
    for signatures in (
        (signed(ALICE), signed(certificate(ALICE, CA, names=("erin",)))),
        (signed(certificate(ALICE, CA, names=("erin",))), signed(ALICE)),
    ):
        assert judged(*signatures).signers == ("alice",)


def test_two_certificates_of_one_key() -> None:
    alice, erin = (certificate(SPARE, CA, names=(name,)) for name in ("alice", "erin"))
    assert judged(signed(alice), signed(erin)).signers == ("alice",)


def test_two_keys_of_one_person() -> None:
    assert judged(signed(ALICE), signed(SPARE)).have == 1
    assert judged(signed(ALICE), signed(certificate(CAROL, CA))).have == 1


def test_a_key_and_a_code_of_one_person() -> None:
    verdict = judged(signed(ALICE), code("alice", 7))
    assert (verdict.standing, verdict.have) == (Standing.PENDING, 1)
    assert judged(code("alice", 7), signed(ALICE)).have == 1


def test_two_codes_of_one_sheet() -> None:
    verdict = judged(code("alice", 7), code("alice", 8))
    assert (verdict.standing, verdict.have) == (Standing.PENDING, 1)


def test_codes_with_one_number_of_two_sheets() -> None:
    verdict = judged(code("alice", 7), code("bob", 7))
    assert verdict.standing is Standing.MET
    assert verdict.codes == (("alice", 7), ("bob", 7))


def test_codes_that_signed_are_named_though_they_do_not_count() -> None:
    verdict = judged(signed(ALICE), signed(BOB), code("alice", 8))
    assert verdict.codes == (("alice", 8),)


def test_weigh_counts_people_and_keys() -> None:
    found = [Endorsement("alice", b"1"), Endorsement("bob", b"1"), Endorsement("carol", b"1")]
    assert weigh(ORDER_1, found, TWO).have == 1
    found = [Endorsement("alice", b"1"), Endorsement("alice", b"2"), Endorsement("bob", b"2")]
    assert weigh(ORDER_1, found, TWO).have == 2


# Waiting


def test_signatures_one_after_another() -> None:
    pending = Pending()
    assert judged(signed(ALICE), pending=pending) == Verdict(Standing.PENDING, ("alice",), 2)
    assert len(pending) == 1
    assert judged(signed(BOB), pending=pending, now=NOW + 60).standing is Standing.MET
    assert len(pending) == 0


def test_two_operators_in_the_same_instant() -> None:
    pending, of = Pending(), order(by="bob")
    assert judged(signed(ALICE), pending=pending).standing is Standing.PENDING
    assert judged(signed(BOB, of), of=of, pending=pending).standing is Standing.PENDING
    assert judged(signed(ALICE, of), of=of, pending=pending).signers == ("bob", "alice")
    assert judged(signed(BOB), pending=pending).signers == ("alice", "bob")


def test_the_authors_signature_stripped_by_a_relay_then_restored() -> None:
    pending = Pending()
    assert judged(signed(BOB), pending=pending) == REFUSED
    assert judged(signed(ALICE), signed(BOB), pending=pending).standing is Standing.MET
    assert judged(signed(ALICE), pending=pending).standing is Standing.PENDING
    assert judged(signed(BOB), pending=pending).standing is Standing.MET


def test_a_co_signer_removed_while_pending() -> None:
    three = [replace(TWO[0], signatures=3)]
    pending = Pending()
    judged(signed(ALICE), signed(BOB), needs=three, pending=pending)
    without = parse_signers(ALLOWED.split(b"\n")[0] + b"\n" + EXTRA.encode())
    people = replace(PEOPLE, signers=without)
    verdict = judged(signed(CAROL), needs=three, people=people, pending=pending)
    assert (verdict.standing, verdict.signers) == (Standing.PENDING, ("alice", "carol"))


def test_a_co_signer_revoked_while_pending() -> None:
    three = [replace(TWO[0], signatures=3)]
    pending = Pending()
    judged(signed(ALICE), signed(BOB), needs=three, pending=pending)
    header = b"SSHKRL\n\0\0\0\0\1" + bytes(24) + string(b"") + string(b"")
    krl = parse_krl(header + b"\2" + string(string(BOB.blob)))
    people = replace(PEOPLE, signers=parse_signers(ALLOWED + EXTRA.encode(), krl=krl))
    verdict = judged(signed(CAROL), needs=three, people=people, pending=pending)
    assert verdict.signers == ("alice", "carol")


def test_a_code_struck_while_pending() -> None:
    three = [replace(TWO[0], signatures=3)]
    pending = Pending()
    judged(signed(ALICE), code("bob", 7), needs=three, pending=pending)
    verdict = judged(
        signed(CAROL), needs=three, people=replace(PEOPLE, code=Sheets()), pending=pending
    )
    assert verdict.signers == ("alice", "carol")


def test_the_author_removed_while_pending() -> None:
    pending = Pending()
    judged(signed(ALICE), pending=pending)
    people = replace(PEOPLE, signers=parse_signers(ALLOWED.split(b"\n")[1]))
    assert judged(signed(BOB), people=people, pending=pending) == REFUSED
    assert len(pending) == 0


def test_a_grant_changed_while_pending() -> None:
    pending = Pending()
    judged(signed(ALICE), pending=pending)
    needs = [Need(frozenset({"alice", "carol"}), 2)]
    assert judged(signed(BOB), needs=needs, pending=pending).standing is Standing.PENDING
    assert judged(signed(BOB), needs=[], pending=pending) == REFUSED


def test_a_signature_that_is_not_right_takes_nothing_away() -> None:
    pending = Pending()
    judged(signed(ALICE), pending=pending)
    with pytest.raises(OrderError):
        judged(signed(MALLORY), pending=pending)
    assert judged(signed(BOB), pending=pending).standing is Standing.MET


def test_orders_that_wait_expire() -> None:
    pending = Pending()
    judged(signed(ALICE), pending=pending)
    judged(signed(ALICE), pending=pending, now=NOW + PENDING_S - 1)
    assert judged(signed(BOB), pending=pending, now=NOW + PENDING_S) == REFUSED


def test_a_numbered_order_waits_until_its_end() -> None:
    sealed = parse_sealed((VECTORS / "v2.sealed-line").read_bytes())
    pending = Pending()
    judged(sealed.signatures[0], of=sealed.order, pending=pending)
    pending.expire(NOW + 1, 1795402800)
    assert len(pending) == 1
    pending.expire(NOW + 1, 1795402801)
    assert len(pending) == 0


def test_a_third_order_of_one_author_takes_the_place_of_the_oldest() -> None:
    pending = Pending()
    orders = [order(f"kill {n}") for n in range(PENDING_EACH_MAX + 1)]
    for each in orders:
        judged(signed(ALICE, each), of=each, pending=pending)
    assert len(pending) == PENDING_EACH_MAX
    first, *rest = orders
    assert judged(signed(BOB, first), of=first, pending=pending) == REFUSED
    for each in rest:
        assert judged(signed(BOB, each), of=each, pending=pending).standing is Standing.MET


def test_the_number_of_orders_that_wait_is_bounded() -> None:
    people, pending = [f"p{n}" for n in range(PENDING_MAX)], Pending()
    keys = {name: ed25519_key() for name in people}
    allowed = "\n".join(f'{name} namespaces="{ORDER}" {keys[name].line()}' for name in people)
    known = People(parse_signers(allowed.encode()), SHEETS, WALL)
    needs = [Need(frozenset(people), 2)]
    for name in people:
        of = order(by=name)
        judged(signed(keys[name], of), of=of, people=known, needs=needs, pending=pending)
    of = order("reboot", by="p0")
    with pytest.raises(OrderError, match="wait"):
        judged(signed(keys["p0"], of), of=of, people=known, needs=needs, pending=pending)
    assert len(pending) == PENDING_MAX
    of = order(by="p0")
    verdict = judged(signed(keys["p1"], of), of=of, people=known, needs=needs, pending=pending)
    assert verdict.standing is Standing.MET


def test_only_signatures_that_may_count_are_kept() -> None:
    pending, needs = Pending(), [Need(frozenset({"alice", "carol"}), 2)]
    judged(signed(ALICE), signed(BOB), code("bob", 7), needs=needs, pending=pending)
    (waiting,) = pending._waiting.values()
    assert list(waiting.signatures) == [Endorsement("alice", ALICE.blob)]


def test_what_waits_of_one_order_is_bounded() -> None:
    rsa = rsa_key()
    keys = [ed25519_key() for _ in range(20)] + [rsa]
    allowed = "\n".join(f'alice namespaces="{ORDER}" {key.line()}' for key in keys)
    people, pending = People(parse_signers(allowed.encode()), SHEETS, WALL), Pending()
    for key in keys:
        judged(signed(key), people=people, pending=pending)
    (waiting,) = pending._waiting.values()
    assert len(waiting.signatures) <= 8


# 10,000 changes to the vectors

SEALED = [file.read_bytes() for file in sorted(VECTORS.glob("v*.sealed*"))]
TEXTS = {parse_sealed(sealed).order.text for sealed in SEALED}
PIECES = [
    b"\n", b"\r\n", b"\r", b"\0", b"\t", b" ", b"'", b"-", b"=", b"A", b"\x1b[2K", b"\xef\xbb\xbf",
    b"do: reboot\n", b"why: x\n", b"by: bob\n", b"sig: alice ssh AAAA\n", b"panicdoor order 1\n",
    b"-----BEGIN SSH SIGNATURE-----\n", b"-----END SSH SIGNATURE-----\n", b"alice", b"bob", b"7",
]  # fmt: skip


def mutated(random: Random) -> bytes:
    """Return a vector with 1 to 3 changes."""
    data = random.choice(SEALED)
    for _ in range(random.randint(1, 3)):
        at, to = sorted(random.choices(range(len(data) + 1), k=2))
        lines = data.split(b"\n")
        first, second = random.choices(range(len(lines)), k=2)
        match random.randrange(8):
            case 0:
                data = data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
            case 1:
                data = data[:at] + random.choice(PIECES) + data[at:]
            case 2:
                data = data[:at] + data[at + random.randint(1, 4) :]
            case 3:
                data = data[:at] + data[to:]
            case 4:
                lines[first], lines[second] = lines[second], lines[first]
                data = b"\n".join(lines)
            case 5:
                lines.insert(first, lines[second])
                data = b"\n".join(lines)
            case 6:
                data = data[:at] + random.choice(SEALED)[at:]
            case 7 if at < len(data):
                data = data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
    return data


@pytest.mark.parametrize("seed", range(10))
def test_ten_thousand_changes_to_the_vectors(seed: int) -> None:
    random = Random(seed)
    for _ in range(1000):
        data = mutated(random)
        progress(data)
        with suppress(OrderError):
            sealed = parse_sealed(data)
            judged(*sealed.signatures, of=sealed.order, needs=[*ONE, *TWO])
            assert sealed.order.text in TEXTS
