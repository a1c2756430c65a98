"""What came from a host or a peer, made safe to print.

One rule: nothing but printable ASCII and the line feeds that we put there ourselves reaches a
terminal, a browser, the journal or an alert. Everything else becomes a visible escape.
"""

from typing import Final

FIRST, LAST = 0x20, 0x7E  # the printable range of ASCII

_ESCAPES: Final = {
    code: f"\\x{code:02x}" for code in [*range(FIRST), *range(LAST + 1, 0x100)] if code != ord("\n")
}


def escape(text: str) -> str:
    """Return `text` with everything but printable ASCII and line feeds as `\\xNN` or `\\u{N}`."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    visible = text.translate(_ESCAPES)
    if visible.isascii():
        return visible
    return "".join(c if c.isascii() else f"\\u{{{ord(c):x}}}" for c in visible)


def escape_line(text: str) -> str:
    """Return `text` as one line: as `escape`, and a line feed becomes `\\x0a`."""
    return escape(text).replace("\n", "\\x0a")


def escape_bytes(data: bytes) -> str:
    """Return bytes of unknown meaning as one line of printable ASCII."""
    return escape_line(data.decode("latin-1"))
