"""Texts prepared at start, with blanks for what is known only when a client comes.

A blank is one control character: the texts of the owner are printable, so nothing they wrote can
be taken for one, and a line can be measured before it is filled in. Filling in is one `%`, because
it happens for every connection.
"""

from collections.abc import Callable
from typing import Final

from panicdoor.commands.registry import Here

HOST: Final = "\x01"  # 192.0.2.10
PORT: Final = "\x02"  # 903
AT: Final = "\x03"  # 192.0.2.10:903, or [2001:db8::10]:903
QUOTE: Final = "\x04"  # ' around what has brackets, which shells take for a pattern; else nothing
NOW: Final = "\x05"  # 2026-11-24 03:12:07 UTC
FRESH: Final = "\x06"  # an order's line with a challenge, or how to get one

CONNECT: Final = f"{QUOTE}{AT}{QUOTE}"
URL: Final = f"{QUOTE}http://{AT}/{QUOTE}"

_BLANKS: Final = {
    HOST: "%(host)s",
    PORT: "%(port)s",
    AT: "%(at)s",
    QUOTE: "%(quote)s",
    NOW: "%(now)s",
    FRESH: "%(fresh)s",
}

_LONGEST_V4: Final = Here("255.255.255.255", 65535)
_LONGEST: Final = Here("ffff:" * 7 + "ffff%" + "i" * 15, 65535, udp=True)  # IFNAMSIZ is 16
_LONGEST_NOW: Final = "9999-12-31 23:59:59 UTC"
_NONE_TCP: Final = "no challenge at hand just now; type: challenge"
_NONE_UDP: Final = "For a challenge: printf '\\1challenge%%99s' | nc -u -w1 %s %s"
_LONGEST_CHALLENGE: Final = "-".join(["aaaa"] * 8)  # what an order has room for


class Template:
    """A prepared text. `escape` is applied to what is filled in, never to the text itself."""

    __slots__ = ("_escape", "_text")

    def __init__(self, text: str, escape: Callable[[str], str] | None = None) -> None:
        text = text.replace("%", "%%")
        for blank, name in _BLANKS.items():
            text = text.replace(blank, name)
        self._text = text
        self._escape = escape

    def fill(self, here: Here, now: str = "", challenge: str = "") -> str:
        """Return the text for one client."""
        host = here.host
        quote = ""
        at = f"{host}:{here.port}"
        if ":" in host:
            quote, at = "'", f"[{host}]:{here.port}"
        if challenge:
            fresh = f"fresh: challenge {challenge}"
        else:
            fresh = _NONE_UDP % (host, here.port) if here.udp else _NONE_TCP
        if self._escape is not None:
            host, quote, at, fresh = map(self._escape, (host, quote, at, fresh))
        return self._text % {
            "host": host,
            "port": here.port,
            "at": at,
            "quote": quote,
            "now": now,
            "fresh": fresh,
        }

    def longest(self) -> str:
        """Return the text with the longest values that there can be."""
        return max(
            self.fill(_LONGEST, _LONGEST_NOW, _LONGEST_CHALLENGE),
            self.fill(_LONGEST, _LONGEST_NOW, ""),
            key=len,
        )


def width(text: str) -> int:
    """Return the columns of a line for the longest IPv4 address (IPv6 may pass the margin)."""
    return len(Template(text).fill(_LONGEST_V4, _LONGEST_NOW, _LONGEST_CHALLENGE))
