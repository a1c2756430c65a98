"""A real browser: the page is whole, needs nothing else, and fits on a phone, in light and dark."""

from collections.abc import Iterator

import pytest
from tests.clients.browser import Browser, browser
from tests.running import LOOPBACK, Door

PHONE, SMALL, DESK = (390, 844), (320, 568), (1280, 900)
WIDER = """[...document.querySelectorAll('body *')].filter(
    e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 99))"""
LINES = "[...document.querySelectorAll('pre')].map(e => e.textContent)"
CONTRAST = """(() => {
    const light = rgb => rgb.match(/[0-9.]+/g).slice(0, 3).map(v => v / 255)
        .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const ground = e => { for (; e; e = e.parentElement) {
        const c = getComputedStyle(e).backgroundColor;
        if (c !== 'rgba(0, 0, 0, 0)') return c; } return 'rgb(255, 255, 255)'; };
    return Math.min(...[...document.querySelectorAll('body *')].map(e => {
        const pair = [light(getComputedStyle(e).color), light(ground(e))].sort();
        return (Math.max(...pair) + .05) / (Math.min(...pair) + .05); }));
})()"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(params=["http", "https"])
def url(request: pytest.FixtureRequest, house: Door) -> str:
    return f"{request.param}://{LOOPBACK}:{house.port}/"


@pytest.mark.parametrize("size", [PHONE, SMALL, DESK], ids=["phone", "small", "desk"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_manual(
    page: Browser, url: str, size: tuple[int, int], dark: bool, request: pytest.FixtureRequest
) -> None:
    page.screen(*size, dark)
    page.open(url)
    page.value("document.querySelectorAll('details').forEach(d => d.open = true)")
    text = page.value("document.body.innerText")
    for words in ("web1", "Not a login.", "Example Ops", "SHA256:", "telnet 127.0.0.1 ", "ping"):
        assert words in text
    assert ("TLS hides this page" in text) == url.startswith("https")
    assert page.value(WIDER) == []
    assert page.value("document.documentElement.scrollWidth") <= size[0]
    assert page.value(CONTRAST) >= 4.5  # WCAG 2.1, 1.4.3
    bright = page.value("getComputedStyle(document.body).backgroundColor") == "rgb(251, 250, 248)"
    assert bright != dark
    assert page.value("parseFloat(getComputedStyle(document.body).fontSize)") >= 16


def test_nothing_else_is_fetched(page: Browser, url: str) -> None:
    page.open(url)
    assert set(page.requested) <= {url, f"{url}favicon.ico"}
    assert page.value("document.scripts.length") == 0


def test_every_link_leads_somewhere(page: Browser, url: str) -> None:
    page.open(url)
    page.value("document.querySelectorAll('details').forEach(d => d.open = true)")
    inside = page.value(
        "[...document.querySelectorAll('a')].filter(a => a.getAttribute('href')[0] == '#')"
        ".map(a => !!document.querySelector(a.getAttribute('href')))"
    )
    assert len(inside) >= 3
    assert all(inside)
    links = page.value("[...document.links].filter(a => !a.hash).map(a => a.href)")
    assert f"{url}index.json" in links
    assert f"{url}help" in links
    page.screen(*PHONE)
    for link in links:
        page.open(link)
        assert page.value("performance.getEntriesByType('navigation')[0].responseStatus") == 200
        if not link.endswith(".json"):
            assert page.value("document.documentElement.scrollWidth") <= PHONE[0]


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_a_commands_answer(page: Browser, url: str, size: tuple[int, int]) -> None:
    page.screen(*size)
    page.open(f"{url}help")
    assert "order NAME [WORDS...]" in page.value("document.querySelector('pre').textContent")
    overflow = "(e => e.scrollWidth - e.clientWidth)(document.querySelector('pre'))"
    assert page.value(overflow) == 0
    page.open(f"{url}doc/2")
    assert page.value(overflow) == 0
    assert page.value("document.links[0].href") == url


def test_what_is_not_there(page: Browser, url: str) -> None:
    page.open(f"{url}nothere")
    assert "no command 'nothere'" in page.value("document.body.innerText")
    assert page.value("document.links[0].href") == url


def test_over_ipv6_its_lines_have_that_address(page: Browser, house: Door) -> None:
    page.open(f"http://[::1]:{house.port}/")
    lines = page.value(LINES)
    assert f"curl 'http://[::1]:{house.port}/'" in lines
    assert f"telnet ::1 {house.port}" in lines
