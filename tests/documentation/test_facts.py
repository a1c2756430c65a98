"""Nothing is advertised that is not there: lines and the commands and ways in that they need."""

import pytest
from tests.documentation.doors import CHALLENGE, NOW, V4, WEB1

from panicdoor.commands.registry import COMMANDS
from panicdoor.documentation.facts import WAYS, Line, Stock
from panicdoor.documentation.manual import Manual


def test_a_line_needs_all_that_it_speaks_of() -> None:
    stock = Stock(WEB1, {"help": COMMANDS["help"]}, frozenset({"nc"}))
    lines = [
        Line("always"),
        Line("nc", ("nc",)),
        Line("ssh", ("nc", "ssh")),
        Line("help", ("nc",), ("help",)),
        Line("push", commands=("help", "push")),
    ]
    assert stock.keep(lines) == ["always", "nc", "help"]


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ValueError, match="no such way in: gopher"):
        Manual(WEB1, COMMANDS, WAYS | {"gopher"})


WORDS = {
    "telnet": "telnet 192",
    "nc": "nc 192",
    "http": "curl http",
    "tls": "openssl",
    "udp": "panicdoor ask",
}


@pytest.mark.parametrize("gone", sorted(WORDS))
def test_a_way_in_that_is_gone_is_nowhere_in_the_manual(gone: str) -> None:
    def everything(ways: frozenset[str]) -> list[str]:
        manual = Manual(WEB1, COMMANDS, ways)
        pages = [page.partition("Other ways")[2] for page in manual.pages(V4, NOW, CHALLENGE)]
        return [manual.whole(V4, NOW, CHALLENGE), "".join(pages), manual.html(V4, NOW, CHALLENGE)]

    for text in everything(WAYS):
        assert WORDS[gone] in text
    for text in everything(WAYS - {gone}):
        assert WORDS[gone] not in text


@pytest.mark.parametrize("gone", sorted(COMMANDS))
def test_a_command_that_is_gone_is_nowhere_on_the_screens(gone: str) -> None:
    manual = Manual(WEB1, {k: v for k, v in COMMANDS.items() if k != gone})
    text = manual.whole(V4, NOW, CHALLENGE).partition("ANYONE MAY TYPE")[2]
    assert f"  {COMMANDS[gone].brief}" not in text
    if gone == "challenge":
        assert CHALLENGE not in text
    if gone == "help":
        assert "help" not in manual.greeting(V4)


def test_nothing_speaks_of_what_does_not_exist_yet() -> None:
    manual = Manual(WEB1, COMMANDS)
    for text in (manual.greeting(V4), manual.whole(V4, NOW, CHALLENGE)):
        for word in ("push", "ssh-keygen", "triage", "recorded", "announced"):
            assert word in COMMANDS or word not in text
