"""Tests of an order's text: the vectors, what is undone, everything that is refused, any cut."""

import hashlib
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.errors import OrderError
from panicdoor.orders.sshsig import BEGIN, END, SshSignature
from panicdoor.orders.text import (
    LINE_MAX,
    SEALED_MAX,
    SIG_LINE_MAX,
    Bare,
    Challenge,
    Code,
    Fleet,
    OneDoor,
    Progress,
    Sequence,
    Stage,
    canonical,
    hashed,
    matches,
    parse_order,
    parse_sealed,
    progress,
)

VECTORS = Path(__file__).parents[1] / "vectors"
FINGERPRINT = "SHA256:TJHTMnH5fkD48dHFfooRtZyOfoMQJ5IuBeNMujJhfT8"
V1, V2, V3 = ((VECTORS / f"v{n}.order").read_text("ascii") for n in (1, 2, 3))
SEALED = {file.name: file.read_bytes() for file in sorted(VECTORS.glob("v*.sealed*"))}
ARMORED = SEALED["v1.sealed"]
TWO = SEALED["v2.sealed-line"]


def changed(text: str, old: str, new: str) -> bytes:
    assert text.count(old) == 1
    return text.replace(old, new).encode("latin-1")


# The vectors


def test_an_order_with_a_challenge() -> None:
    order = parse_order(V1.encode())
    assert order.text == V1
    assert order.door == OneDoor("web1", FINGERPRINT)
    assert order.fresh == Challenge("aadq-caqd-6enx-hcig-x4ir-mkkx")
    assert order.by == "alice"
    assert order.words == ("freeze", "user", "batch")
    assert order.why == "fork bomb of user batch, ticket 4711"
    assert order.id == "SHA256:n3pYKlpBN6DeC7EdXEoaE1bvxr5bLimciaP9uqOQ9ks"


def test_an_order_for_a_fleet() -> None:
    order = parse_order(V2.encode())
    assert order.door == Fleet("web*", "prod")
    assert order.fresh == Sequence(1795400000, 1795402800)
    assert order.words == ("lockdown", "--for", "10m")


def test_a_quoted_word() -> None:
    words = parse_order(V3.encode()).words
    assert words[-1] == "auth [success=1 default=ignore] pam_unix.so"


@pytest.mark.parametrize(
    ("file", "kinds"),
    [
        ("v1.sealed", [SshSignature]),
        ("v1.sealed-line", [Bare]),
        ("v2.sealed-line", [Bare, Bare]),
        ("v3.sealed", [Code]),
    ],
)
def test_sealed_orders(file: str, kinds: list[type]) -> None:
    sealed = parse_sealed(SEALED[file])
    assert [type(each) for each in sealed.signatures] == kinds
    text = (VECTORS / f"{file[:2]}.order").read_bytes()
    assert sealed.order == parse_order(text)
    assert sealed.order.id == hashed(text)
    assert progress(SEALED[file]) == Progress(Stage.SEALED, len(kinds), len(SEALED[file]))


def test_the_id_does_not_depend_on_signatures() -> None:
    ids = {parse_sealed(SEALED[file]).order.id for file in ("v1.sealed", "v1.sealed-line")}
    digest = b64encode(hashlib.sha256(V1.encode()).digest()).decode().rstrip("=")
    assert ids == {f"SHA256:{digest}"}


# What terminals do is undone, and nothing else

TYPED: dict[str, Callable[[str], str]] = {
    "CR LF": lambda text: text.replace("\n", "\r\n"),
    "CR NUL": lambda text: text.replace("\n", "\r\0"),
    "blanks at the ends of lines": lambda text: text.replace("\n", "   \n"),
    "empty lines before": lambda text: "\n \r\n\n" + text,
    "empty lines after": lambda text: text + "\n\r\n  \n",
    "no last line feed": lambda text: text[:-1],
    "all of it": lambda text: "\r\n" + text.replace("\n", "  \r\n") + "\r\0",
}


@pytest.mark.parametrize("typed", TYPED.values(), ids=TYPED)
def test_what_terminals_do_is_undone(typed: Callable[[str], str]) -> None:
    assert canonical(typed(V1).encode()) == V1
    for sealed in SEALED.values():
        text = typed(sealed.decode()).encode()
        assert parse_sealed(text) == parse_sealed(sealed)
        assert progress(text + b"\n").stage is Stage.SEALED


def test_an_empty_line_before_a_signature() -> None:
    sealed = ARMORED.decode().replace(BEGIN, f"\n\n{BEGIN}") + "\n" + V1_LINE
    assert len(parse_sealed(sealed.encode()).signatures) == 2


V1_LINE = SEALED["v1.sealed-line"].decode().removeprefix(V1)


@given(st.binary(max_size=300))
def test_canonical_is_so_for_good(data: bytes) -> None:
    with suppress(OrderError):
        text = canonical(data)
        assert canonical(text.encode()) == text
        assert set(text) <= set(map(chr, range(0x20, 0x7F))) | {"\n"}


# Hostile input

FOREIGN = {
    "ESC": "\x1b[2K",
    "a lone CR": "\rdo: reboot",
    "CR at the end, twice": "\r\r\n",
    "TAB": "\t",
    "NUL": "\0",
    "DEL": "\x7f",
    "a C1 control": "\x9b",
    "UTF-8 look-alike": "\u0430lice".encode().decode("latin-1"),
    "a byte order mark": "\ufeff".encode().decode("latin-1"),
    "a right-to-left override": "\u202e".encode().decode("latin-1"),
    "IAC": "\xff\xf4",
}


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_foreign_bytes_are_refused_wherever_they_stand(foreign: str) -> None:
    for at in (0, 5, len(V1) // 2, len(V1) - 1):
        data = (V1[:at] + foreign + V1[at:]).encode("latin-1")
        with pytest.raises(OrderError):
            parse_order(data)
        with pytest.raises(OrderError):
            parse_sealed(data + V1_LINE.encode())


REFUSED = {
    "nothing": b"",
    "another first line": changed(V1, "order 1", "order 2"),
    "the first line elsewhere": V1.encode().replace(b"panicdoor order 1\n", b"") + b"x",
    "a second do": changed(V1, "why:", "do: reboot\nwhy:"),
    "a second do after why": V1.encode() + b"do: reboot\n",
    "a second why": V1.encode() + b"why: again\n",
    "reordered lines": changed(V1, "by: alice\ndo: freeze user batch\n",
                               "do: freeze user batch\nby: alice\n"),
    "the first two swapped": changed(V1, V1.split("\n", 3)[1] + "\n" + V1.split("\n", 3)[2],
                                     V1.split("\n", 3)[2] + "\n" + V1.split("\n", 3)[1]),
    "an unknown key": changed(V1, "why:", "sudo: yes\nwhy:"),
    "capitals": changed(V1, "do:", "Do:"),
    "no blank after the key": changed(V1, "by: ", "by:"),
    "two blanks after the key": changed(V1, "by: ", "by:  "),
    "two blanks after do": changed(V1, "do: ", "do:  "),
    "two blanks after why": changed(V1, "why: ", "why:  "),
    "a blank before the key": changed(V1, "by: ", " by: "),
    "an empty line inside": changed(V1, "by: ", "\nby: "),
    "no by": changed(V1, "by: alice\n", ""),
    "no why": changed(V1, "why: fork bomb of user batch, ticket 4711\n", ""),
    "an empty why": changed(V1, "why: fork bomb of user batch, ticket 4711", "why: "),
    "an empty do": changed(V1, "freeze user batch\n", "\n"),
    "two authors": changed(V1, "alice", "alice bob"),
    "an author in capitals": changed(V1, "alice", "Alice"),
    "a pattern as author": changed(V1, "alice", "*@ops"),
    "a long author": changed(V1, "alice", "a" * 65),
    "a quote without end": changed(V1, "freeze user batch\n", "freeze 'user batch\n"),
    "a word in half a quote": changed(V1, "freeze user", "freeze'user'"),
    "a quote escaped": changed(V1, "user batch\n", "'it\\'s'\n"),
    "two blanks between words": changed(V1, "freeze user", "freeze  user"),
    "another character in a word": changed(V1, "freeze user", "freeze $user"),
    "a semicolon": changed(V1, "freeze user", "freeze; user"),
    "a challenge that is none": changed(V1, "aadq-caqd", "AADQ-caqd"),
    "a short challenge": changed(V1, "aadq-caqd-6enx-hcig-x4ir-mkkx", "aadq-caqd"),
    "a long challenge": changed(V1, "aadq", "aadqaadqaadqaadq"),
    "another kind of freshness": changed(V1, "challenge", "token"),
    "until with a challenge": changed(V1, "why:", "until: 2026-11-23T03:00:00Z\nwhy:"),
    "seq without until": changed(V2, "until: 2026-11-23T03:00:00Z\n", ""),
    "a fleet with a challenge": changed(
        V1, f"door: web1 {FINGERPRINT}", "door: web*@prod"
    ),
    "a negative seq": changed(V2, "1795400000", "-1"),
    "seq 0": changed(V2, "1795400000", "0"),
    "a zero before": changed(V2, "1795400000", "01795400000"),
    "a seq that is too long": changed(V2, "1795400000", "1795400000000000"),
    "seq in other digits": changed(V2, "1795400000", "\xb2"),
    "no such day": changed(V2, "11-23T", "02-30T"),
    "a leap second": changed(V2, "03:00:00Z", "23:59:60Z"),
    "local time": changed(V2, "03:00:00Z", "03:00:00"),
    "an offset": changed(V2, "03:00:00Z", "03:00:00+01"),
    "another door's form": changed(V1, FINGERPRINT, "MD5:aa"),
    "a short fingerprint": changed(V1, FINGERPRINT, FINGERPRINT[:-1]),
    "padding": changed(V1, FINGERPRINT, FINGERPRINT + "="),
    "no name": changed(V1, "web1 ", ""),
    "a name in capitals": changed(V1, "web1", "WEB1"),
    "a class in a pattern": changed(V2, "web*", "web[12]"),
    "no fleet": changed(V2, "@prod", "@"),
    "two fleets": changed(V2, "@prod", "@prod@test"),
    "a long line": changed(V1, "ticket 4711", "x" * LINE_MAX),
}  # fmt: skip


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_refused(data: bytes) -> None:
    for read, after in ((parse_order, b""), (parse_sealed, V1_LINE.encode())):
        with pytest.raises(OrderError) as caught:
            read(data + after)
        said = str(caught.value)
        assert said.isascii()
        assert said.isprintable()


WORDS = ["-rf", "--", f"/proc/1/{'root'}/etc/shadow", "''", "'a b'", "'$(x)'"]


@pytest.mark.parametrize("word", WORDS)
def test_words_are_handed_on_as_they_are(word: str) -> None:
    order = parse_order(changed(V1, "user batch\n", f"user {word}\n"))
    assert order.words == ("freeze", "user", word.strip("'"))


def test_a_result_in_the_text_stays_in_its_line() -> None:
    order = parse_order(changed(V1, "ticket 4711", "result: done"))
    assert order.why.endswith("result: done")
    with pytest.raises(OrderError):
        parse_order(changed(V1, "ticket 4711", "x\nresult: done"))


def test_the_longest_order_leaves_a_datagram_room_for_signatures() -> None:
    pad = "x" * LINE_MAX
    lines = [
        "panicdoor order 1",
        f"door: {'w' * 32} {FINGERPRINT}",
        "fresh: seq 999999999999999",
        f"by: {'a' * 64}",
        f"do: {pad}"[:LINE_MAX],
        "until: 9999-12-31T23:59:59Z",
        f"why: {pad}"[:LINE_MAX],
    ]
    assert len(parse_order("\n".join(lines).encode()).text) < 600


def test_the_longest() -> None:
    room = LINE_MAX - len("why: ")
    assert parse_order(changed(V1, "fork bomb of user batch, ticket 4711", "y" * room))
    with pytest.raises(OrderError, match="160"):
        parse_order(changed(V1, "fork bomb of user batch, ticket 4711", "y" * (room + 1)))
    with pytest.raises(OrderError, match="8192"):
        parse_sealed(ARMORED + b" " * (SEALED_MAX - len(ARMORED) + 1))
    assert parse_sealed(ARMORED + b" " * (SEALED_MAX - len(ARMORED)))


MALFORMED = {
    "no signature": V1,
    "no BEGIN": ARMORED.decode().replace(BEGIN + "\n", ""),
    "no END": ARMORED.decode().replace(END + "\n", ""),
    "an empty signature": V1 + f"{BEGIN}\n{END}\n",
    "an empty line in it": ARMORED.decode().replace(BEGIN, BEGIN + "\n"),
    "a blank before a line": ARMORED.decode().replace("\nU1N", "\n U1N"),
    "a line of other width": V1 + f"{BEGIN}\n{'A' * 80}\n{END}\n",
    "no padding": ARMORED.decode().replace("gQ=", "gQ"),
    "more padding": ARMORED.decode().replace("gQ=", "gQ=="),
    "padding in the middle": ARMORED.decode().replace("AAAQAAADM", "AAAQ=AAADM"),
    "bits beside": ARMORED.decode().replace("gQ=", "gR="),
    "a header": ARMORED.decode().replace(BEGIN, f"{BEGIN}\nVersion: 1\n"),
    "BEGIN twice": ARMORED.decode().replace(BEGIN, f"{BEGIN}\n{BEGIN}"),
    "BEGIN and more": ARMORED.decode().replace(BEGIN, BEGIN + "-"),
    "a key block": ARMORED.decode().replace("SSH SIGNATURE", "OPENSSH PRIVATE KEY"),
    "text after it": ARMORED.decode() + "do: reboot\n",
    "text between": ARMORED.decode() + "and\n" + V1_LINE,
    "nine signatures": V1 + V1_LINE * 9,
    "a sig of nothing": V1 + "sig: alice ssh \n",
    "a sig of nobody": V1 + V1_LINE.replace("alice ", ""),
    "a sig of another kind": V1 + V1_LINE.replace(" ssh ", " pgp "),
    "a sig of two": V1 + V1_LINE.replace("alice", "alice,bob"),
    "a sig with more": V1 + V1_LINE.rstrip() + " x\n",
    "a sig without padding": V1 + V1_LINE.replace("=", ""),
    "a code without number": V1 + SEALED["v3.sealed"].decode()[len(V3):].replace(" 7", ""),
    "a code of four digits": V1 + SEALED["v3.sealed"].decode()[len(V3):].replace("7", "1007", 1),
    "a zero before a number": V1 + SEALED["v3.sealed"].decode()[len(V3):].replace("7", "07", 1),
    "a MAC of another size": V1 + "sig: alice code 7 QUJD\n",
    "a long sig": V1 + f"sig: alice ssh {'A' * SIG_LINE_MAX}\n",
}  # fmt: skip


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_malformed_signatures(text: str) -> None:
    assert text.encode() not in SEALED.values()
    with pytest.raises(OrderError) as caught:
        parse_sealed(text.encode())
    assert str(caught.value).isprintable()


def test_eight_signatures() -> None:
    text = (V1 + V1_LINE * 8).encode()
    assert len(parse_sealed(text).signatures) == 8
    assert progress(text) == Progress(Stage.SEALED, 8, len(text))
    assert progress(text + b"sig: alice ssh AAAA\n").stage is Stage.WRONG


# Whom an order is for


@pytest.mark.parametrize(
    ("name", "fingerprint", "fleet", "mine"),
    [
        ("web1", FINGERPRINT, "", True),
        ("web1", FINGERPRINT, "prod", True),
        ("web2", FINGERPRINT, "", False),
        ("web1", FINGERPRINT.replace("T8", "T9"), "", False),
    ],
)
def test_another_doors_order(name: str, fingerprint: str, fleet: str, mine: bool) -> None:
    assert parse_order(V1.encode()).is_for(name, fingerprint, fleet) is mine


@pytest.mark.parametrize(
    ("name", "fleet", "mine"),
    [("web1", "prod", True), ("web", "prod", True), ("db1", "prod", False),
     ("web1", "test", False), ("web1", "", False)],
)  # fmt: skip
def test_an_order_of_another_fleet(name: str, fleet: str, mine: bool) -> None:
    assert parse_order(V2.encode()).is_for(name, FINGERPRINT, fleet) is mine


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_patterns_match_as_in_a_shell(pattern: str, name: str) -> None:
    assert matches(pattern, name) is fnmatchcase(name, pattern)


def test_no_pattern_is_slow() -> None:
    assert not matches("*a" * 16, "a" * 15 + "b" * 17)


# Any cut of the bytes means the same

AFTER = {
    Stage.TEXT: {Stage.TEXT, Stage.SIGNATURE, Stage.SEALED, Stage.WRONG},
    Stage.SIGNATURE: {Stage.SIGNATURE, Stage.SEALED, Stage.OVER, Stage.WRONG},
    Stage.SEALED: {Stage.SEALED, Stage.SIGNATURE, Stage.OVER, Stage.WRONG},
    Stage.OVER: {Stage.OVER},
    Stage.WRONG: {Stage.WRONG},
}


def stages(data: bytes) -> list[Progress]:
    found = [progress(data[:length]) for length in range(len(data) + 1)]
    for before, after in pairwise(found):
        assert after.stage in AFTER[before.stage], (before, after)
        assert after.signatures in (before.signatures, before.signatures + 1)
        assert after.length >= before.length
        if before.stage is Stage.OVER:
            assert after == before
    return found


@pytest.mark.parametrize("data", SEALED.values(), ids=SEALED)
@pytest.mark.parametrize("typed", [*TYPED.values(), lambda text: text], ids=[*TYPED, "plain"])
def test_every_beginning(data: bytes, typed: Callable[[str], str]) -> None:
    text = typed(data.decode()).encode()
    found = stages(text + b"\r\n" + b"ping\r\n")
    assert found[0].stage is Stage.TEXT
    assert found[-1].stage is Stage.OVER
    assert found[-1].signatures == len(parse_sealed(data).signatures)
    whole = text + b"\r\n" + b"ping\r\n"
    assert parse_sealed(whole[: found[-1].length]) == parse_sealed(data)
    for each in found:
        if each.signatures:
            assert parse_sealed(whole[: each.length])


def test_a_client_that_stops_in_the_middle_of_an_order() -> None:
    for length in range(len(ARMORED) - 1):
        data = ARMORED[:length]
        assert progress(data).stage in (Stage.TEXT, Stage.SIGNATURE)
        with pytest.raises(OrderError):
            parse_sealed(data)


def test_what_follows_is_something_else() -> None:
    for after in (b"q", b"quit\n", b"sign\n", b"-----BEGIN X", b"panicdoor order 1\n"):
        assert progress(ARMORED + after) == Progress(Stage.OVER, 1, len(ARMORED))
    for after in (b"", b"\n", b"\r", b"  \r\n"):
        assert progress(ARMORED + after).stage is Stage.SEALED
    for after in (b"s", b"sig: al", b"-----BEGIN SSH", b"-----BEGIN SSH SIGNATURE-----\nAA"):
        assert progress(ARMORED + after).stage is Stage.SIGNATURE


@pytest.mark.parametrize(
    "data",
    [
        b"q",
        b"\npanicdoor order 2",
        b"panicdoor order 1\n" + b"x" * (LINE_MAX + 1),
        b"panicdoor order 1\n" + b"x" * (LINE_MAX + 1) + b"\nsig: ",
        ARMORED[:-40] + b"A" * 77,
        V1.encode() + b"sig: " + b"A" * SIG_LINE_MAX,
        V1.encode() + b"\n" * SEALED_MAX,
    ],
)
def test_what_never_becomes_an_order(data: bytes) -> None:
    assert progress(data).stage is Stage.WRONG
    with pytest.raises(OrderError):
        parse_sealed(data + b"\n")


@given(
    st.lists(
        st.sampled_from(
            [
                b"panicdoor order 1\n", b"\n", b"\r\n", b"\r\0", b" ", b"x", b"do: x\n",
                b"sig: ", b"sig: a ssh AAAA\n", BEGIN.encode() + b"\n", END.encode() + b"\n",
                b"AAAA\n", b"-", b"\r", b"x" * 150, b"\xff",
            ]
        ),
        max_size=9,
    ).map(b"".join)
)  # fmt: skip
def test_any_lines_in_any_order(data: bytes) -> None:
    found = stages(data)[-1]
    try:
        parse_sealed(data)
    except OrderError:
        return
    assert progress(data + b"\n").stage is Stage.SEALED
    assert found.stage is not Stage.WRONG


@given(st.binary(max_size=200))
def test_no_bytes_raise(junk: bytes) -> None:
    for data in (junk, V1.encode() + junk, ARMORED[:-200] + junk, ARMORED + junk):
        progress(data)
        for read in (canonical, parse_order, parse_sealed):
            with suppress(OrderError):
                read(data)


@given(st.text(max_size=60), st.sampled_from(["door", "fresh", "by", "do", "until", "why"]))
def test_any_text_as_a_value(text: str, key: str) -> None:
    lines = [line for line in V1.split("\n") if not line.startswith(f"{key}: ")]
    at = ["", "door", "fresh", "by", "do", "until", "why"].index(key)
    lines.insert(min(at, len(lines) - 1), f"{key}: {text}")
    with suppress(OrderError):
        order = parse_order("\n".join(lines).encode())
        assert order.text.isascii()
        assert f"\n{key}: {text.rstrip(' ')}\n" in order.text
