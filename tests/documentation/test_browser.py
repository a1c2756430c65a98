"""The HTML page: well formed, nothing fetched, everything escaped."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from tests.documentation.doors import CHALLENGE, FINGERPRINT, LONGEST, NOW, V4, V6, WEB1, manual

from panicdoor.commands.registry import COMMANDS, Here
from panicdoor.documentation.facts import Facts

VOID = {"meta"}
FETCHES = {"script", "img", "link", "iframe", "object", "embed", "video", "audio", "source", "form"}


class Reader(HTMLParser):
    """Collects the tags, the text and the targets of links; fails where tags do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.attributes: set[str] = set()
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name == "href"]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


@pytest.mark.parametrize("here", [V4, V6, replace(V4, secure=True)], ids=["v4", "v6", "tls"])
@pytest.mark.parametrize("facts", [WEB1, LONGEST], ids=["usual", "longest"])
def test_the_page(facts: Facts, here: Here) -> None:
    page = manual(facts).html(here, NOW, CHALLENGE)
    read = Reader(page)
    assert page.startswith("<!DOCTYPE html>")
    assert '<html lang="en">' in page
    assert 'name="viewport"' in page
    assert "prefers-color-scheme:dark" in page
    assert page.isascii()
    assert not FETCHES & set(read.tags)
    assert "url(" not in page
    assert "@import" not in page
    assert not {name for name in read.attributes if name.startswith("on") or name == "src"}
    assert [read.tags.count(tag) for tag in ("h1", "main", "header", "footer", "nav")] == [1] * 5
    for text in (
        facts.name,
        facts.contact,
        FINGERPRINT,
        NOW,
        here.authority,
        f"fresh: challenge {CHALLENGE}",
        *facts.elsewhere.values(),
        *(c.usage for c in COMMANDS.values()),
    ):
        assert text in read.text
    assert f"nc {here.host} 903" in read.text
    assert f"ssh -p 903 YOU@{here.host} triage\n" in read.text
    assert read.ids[0] == "ssh"
    for link in read.links:
        assert link in (
            *(f"#{name}" for name in read.ids),
            *facts.elsewhere.values(),
            *(f"/{c.name}" for c in COMMANDS.values() if c.name != "order"),
            "/index.json",
        )


def test_tls_and_the_clear() -> None:
    clear = manual().html(V4, NOW, CHALLENGE)
    secure = manual().html(replace(V4, secure=True), NOW, CHALLENGE)
    assert ("plain text" in clear, "plain text" in secure) == (True, False)


def test_only_web_addresses_become_links() -> None:
    odd = {"a": "javascript:alert(1)", "b": 'https://x"><script>', "c": "https://x y"}
    page = manual(replace(WEB1, elsewhere=odd)).html(V4, NOW, CHALLENGE)
    assert 'href="https://x&quot;&gt;&lt;script&gt;"' in page
    assert 'href="javascript' not in page
    assert "<script" not in page
    assert page.count("rel=") == 1


def test_what_is_filled_in_is_escaped() -> None:
    page = manual().html(Here("<script>", 903), NOW, "<script>")
    assert "<script>" not in page


def test_framed() -> None:
    page = manual().framed("help <b>", "a < b\n  & c\n")
    read = Reader(page)
    assert "help <b>" in read.text
    assert "a < b\n  & c\n" in read.text
    assert "b" not in read.tags
    assert read.links == ["/"]
