"""Blanks are filled in, and nothing else in a text is touched."""

import pytest
from tests.documentation.doors import CHALLENGE, LONG_V6, V4, V6
from tests.documentation.doors import NOW as TIME

from panicdoor.commands.registry import Here
from panicdoor.documentation.template import CONNECT, FRESH, HOST, NOW, PORT, URL, Template, width


def test_texts_of_the_owner_are_never_blanks() -> None:
    text = "100% %s %(host)s {host} %% \\x01 $host"
    assert Template(text).fill(V4) == text


@pytest.mark.parametrize(
    ("here", "line"),
    [
        (V4, "nc 192.0.2.10 903 curl http://192.0.2.10:903/ -connect 192.0.2.10:903"),
        (
            V6,
            "nc 2001:db8::10 903 curl 'http://[2001:db8::10]:903/' -connect '[2001:db8::10]:903'",
        ),
        (
            Here("::ffff:192.0.2.10", 903),
            "nc 192.0.2.10 903 curl http://192.0.2.10:903/ -connect 192.0.2.10:903",
        ),
    ],
)
def test_the_address_in_lines_to_copy(here: Here, line: str) -> None:
    assert Template(f"nc {HOST} {PORT} curl {URL} -connect {CONNECT}").fill(here) == line


def test_time_and_challenge() -> None:
    template = Template(f"{NOW}|{FRESH}")
    assert template.fill(V4, TIME, CHALLENGE) == f"{TIME}|fresh: challenge {CHALLENGE}"
    assert template.fill(V4, TIME, "").endswith("no challenge at hand just now; type: challenge")
    udp = Here("192.0.2.10", 904, udp=True)
    assert template.fill(udp, TIME, "").endswith(
        "printf '\\1challenge%99s' | nc -u -w1 192.0.2.10 904"
    )


def test_the_longest_is_longer_than_any() -> None:
    template = Template(f"{HOST} {PORT} {NOW} {FRESH} {URL}")
    longest = len(template.longest())
    for challenge in (CHALLENGE, ""):
        for address in (LONG_V6.address, V4.address):
            assert len(template.fill(Here(address, 65535, udp=True), TIME, challenge)) <= longest
    assert width(f"{HOST}:{PORT}") == len("255.255.255.255:65535")


def test_what_is_filled_in_can_be_escaped() -> None:
    def escape(text: str) -> str:
        return text.replace("<", "&lt;")

    filled = Template(f"<b>{HOST}</b>{FRESH}", escape).fill(Here("<i>", 1), "", "<u>")
    assert filled == "<b>&lt;i></b>fresh: challenge &lt;u>"
