"""The greeting and the screens, for usual doors and for the largest."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.documentation.doors import (
    CHALLENGE,
    FINGERPRINT,
    LONG_V4,
    LONGEST,
    NOW,
    V4,
    V6,
    WEB1,
    manual,
)

from panicdoor.commands.registry import COMMANDS, Command, Here, Level
from panicdoor.documentation.facts import Facts
from panicdoor.documentation.manual import Manual

printable = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
names = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,31}", fullmatch=True)
facts = st.builds(
    Facts,
    name=names,
    fleet=st.one_of(st.just(""), names),
    contact=st.text(printable, max_size=80),
    elsewhere=st.dictionaries(
        st.text("abc", min_size=1, max_size=12),
        st.text(printable, min_size=1, max_size=80),
        max_size=8,
    ),
    fingerprint=st.just(FINGERPRINT),
    version=st.just("0.1.0"),
)


def check(door: Manual, here: Here) -> None:
    greeting = door.greeting(here)
    assert all(len(line) < 80 for line in greeting.split("\n"))
    texts = [greeting]
    for challenge in (CHALLENGE, ""):
        for n in range(door.screens):
            screen = door.screen(n + 1, here, NOW, challenge)
            lines = screen.split("\n")
            assert lines.pop() == ""
            assert len(lines) < 24  # the cursor needs one
            assert all(len(line) <= 80 for line in lines), screen
            assert lines[0].endswith(f"{n + 1} of {door.screens}     {NOW}")
            assert lines[-1].endswith(f"more: doc {n + 2}" if n + 1 < door.screens else "back: doc")
            texts.append(screen)
    for text in texts:
        assert text.isascii()
        assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("door", [WEB1, LONGEST], ids=["usual", "longest"])
def test_screens_fit(door: Facts, secure: bool) -> None:
    check(manual(door), replace(LONG_V4, secure=secure))


@settings(max_examples=60, deadline=None)
@given(facts)
def test_screens_fit_whatever_the_owner_writes(door: Facts) -> None:
    check(manual(door), LONG_V4)


def more_commands(n: int) -> dict[str, Command]:
    extra = {
        f"command{i}": replace(
            COMMANDS["ping"], name=f"command{i}", summary="S" * 49 + ".", arguments=()
        )
        for i in range(n)
    }
    return {**COMMANDS, **extra}


@pytest.mark.parametrize("n", [1, 5, 40])
@pytest.mark.parametrize("door", [WEB1, LONGEST], ids=["usual", "longest"])
def test_screens_fit_with_more_commands(door: Facts, n: int) -> None:
    check(Manual(door, more_commands(n)), LONG_V4)


def test_the_first_screen_says_what_matters() -> None:
    text = manual().screen(1, V4, NOW, CHALLENGE)
    for words in (
        "PANICDOOR web1 (prod)",
        "port 903",
        "Not a login",
        "Example Ops, +49 30 1234567. Not on call for web1? Call first.",
        FINGERPRINT,
        "ssh -p 903 YOU@192.0.2.10 ",
        *(f" {c.brief}" for c in COMMANDS.values() if c.level is Level.PUBLIC),
        *(f"{key:<8} {value}" for key, value in WEB1.elsewhere.items()),
    ):
        assert words in text


def test_only_what_its_owner_wrote() -> None:
    bare = manual(replace(WEB1, fleet="", contact="", elsewhere={}))
    text = bare.greeting(V4) + bare.whole(V4, NOW, CHALLENGE)
    for word in ("Owner", "()", "NOT ENOUGH", "on call"):
        assert word not in text


def test_a_long_name_is_whole_where_it_fits() -> None:
    text = manual(LONGEST).screen(1, V4, NOW, CHALLENGE)
    assert text.startswith(f"PANICDOOR {LONGEST.name} ")
    assert LONGEST.contact in " ".join(text.split())
    assert "more of these: type about" in text


def test_in_the_clear_and_inside_tls() -> None:
    clear = manual().screen(1, V4, NOW, CHALLENGE)
    secure = manual().screen(1, replace(V4, secure=True), NOW, CHALLENGE)
    assert "plain text" in " ".join(clear.split())
    assert "plain text" not in " ".join(secure.split())
    assert "does not prove who answers" in " ".join(secure.split())


def test_a_door_that_can_do_more_says_no_longer_that_it_cannot() -> None:
    kill = replace(COMMANDS["ping"], name="kill", level=Level.RECOVER)
    able = Manual(WEB1, {**COMMANDS, "kill": kill})
    for text in (able.greeting(V4), able.whole(V4, NOW, CHALLENGE), able.html(V4, NOW, CHALLENGE)):
        assert "only explains itself" not in " ".join(text.split())


@pytest.mark.parametrize("here", [V4, V6], ids=["IPv4", "IPv6"])
def test_lines_to_copy_mean_what_they_say(here: Here) -> None:
    """Each is run by a real shell, with functions in the place of the programs on the net."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    fakes = "".join(
        f'{name}() {{ printf "[%s]" {name} "$@"; [ -t 0 ] || tr "\\\\0\\\\1" "01"; }};'
        for name in ("nc", "telnet", "curl", "openssl", "panicdoor")
    )
    lines = [
        re.sub(r"^  [A-Za-z]+ {2,}", "", line).strip()
        for line in manual().screen(2, here, NOW, CHALLENGE).split("\n")
        if any(f"{word} " in line for word in ("telnet", "nc", "curl", "openssl", "panicdoor"))
        and "/dev/tcp" not in line
    ]
    shown = [
        subprocess.run(
            [bash, "-c", fakes + line], stdin=subprocess.DEVNULL, capture_output=True, check=True
        ).stdout.decode()
        for line in lines
    ]
    host, at = here.host, here.authority
    assert shown == [
        f"[telnet][{host}][903]",
        f"[nc][{host}][903]",
        f"[curl][http://{at}/]",
        f"[openssl][s_client][-quiet][-connect][{at}]",
        f"[nc][-u][-w1][{host}][903]" + "0" * 400,
        f"[panicdoor][ask][{at}]",
        f"[nc][-u][-w1][{host}][903]01" + "0" * 398,
        f"[nc][-u][-w1][{host}][903]1about" + " " * 394,
        f"[curl][http://{at}/index.json]",
    ]
