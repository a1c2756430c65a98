"""Pages for datagrams: small enough, numbered, and the first one stands alone."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from tests.documentation.doors import (
    CHALLENGE,
    FINGERPRINT,
    LONG_V6,
    LONGEST,
    NOW,
    WEB1,
    manual,
)
from tests.documentation.test_screens import facts

from panicdoor.commands.registry import COMMANDS, Here, Level
from panicdoor.documentation.facts import Facts
from panicdoor.documentation.manual import Manual

UDP = Here("192.0.2.10", 904, udp=True)
ORPHANS = {**COMMANDS, "long": replace(COMMANDS["ping"], name="long", manual=("word " * 2000,))}


def check(door: Manual, name: str) -> None:
    for challenge in (CHALLENGE, ""):
        pages = door.pages(replace(LONG_V6, udp=True), NOW, challenge)
        assert len(pages) == door.page_count <= 256
        for n, page in enumerate(pages):
            assert page.startswith(f"panicdoor {name} page {n + 1}/{len(pages)}\n")
            assert len(page.encode("ascii")) <= 1200
            assert page.replace("\n", "").isprintable()
            assert page.endswith("\n")
            assert page.endswith("\n\n") <= (n + 1 < len(pages))


@pytest.mark.parametrize("door", [WEB1, LONGEST], ids=["usual", "longest"])
def test_pages_fit(door: Facts) -> None:
    check(manual(door), door.name)
    check(Manual(door, ORPHANS), door.name)


@settings(max_examples=60, deadline=None)
@given(facts)
def test_pages_fit_whatever_the_owner_writes(door: Facts) -> None:
    check(manual(door), door.name)


@pytest.mark.parametrize("door", [WEB1, LONGEST], ids=["usual", "longest"])
def test_the_first_page_stands_alone(door: Facts) -> None:
    page = manual(door).pages(replace(LONG_V6, udp=True), NOW, CHALLENGE)[0]
    for words in (
        door.name,
        door.fleet,
        door.contact,
        FINGERPRINT,
        NOW,
        f"\nfresh: challenge {CHALLENGE}\n",
        f"printf '\\0\\1%398s' | tr ' ' '\\0' | nc -u -w1 {LONG_V6.host} 65535",
        "never send a password".capitalize(),
    ):
        assert words in page or words in " ".join(page.split()), words


def test_without_a_challenge_it_says_how_to_get_one() -> None:
    page = manual().pages(UDP, NOW, "")[0]
    assert "fresh:" not in page
    assert "printf '\\1challenge%99s' | nc -u -w1 192.0.2.10 904\n" in page


def test_all_the_commands_are_there() -> None:
    text = "".join(manual().pages(UDP, NOW, CHALLENGE))
    for command in COMMANDS.values():
        if command.level is Level.PUBLIC:
            assert f"\n{command.usage}\n  {command.summary}\n" in text
        else:
            assert command.name in text.split()  # and `help NAME` has the rest
    for key, value in WEB1.elsewhere.items():
        assert f"{key:<8} {value}" in text


def test_one_page_at_a_time() -> None:
    door = manual()
    pages = door.pages(UDP, NOW, CHALLENGE)
    for n, page in enumerate(pages):
        assert door.page(n, UDP, NOW, CHALLENGE) == page
    assert door.page(len(pages), UDP, NOW, CHALLENGE) == ""
    assert door.page(-1, UDP, NOW, CHALLENGE) == ""


def test_too_many_pages_are_refused_at_start() -> None:
    endless = replace(COMMANDS["ping"], name="endless", manual=("word " * 70_000,))
    with pytest.raises(ValueError, match="256 can be asked for"):
        Manual(WEB1, {"endless": endless})


def test_the_short_line() -> None:
    door = manual()
    full = "panicdoor: send 400 zero bytes, or use tcp 904, for help\n"
    assert door.short(59, UDP) == full
    assert len(door.short(59, LONG_V6)) == 59
    assert door.short(58, LONG_V6) == "panicdoor: use tcp 65535\n"
    assert door.short(20, UDP) == ""
    assert "tcp, for help" in door.short(59)
    for limit in range(70):
        assert len(door.short(limit, LONG_V6)) <= limit
