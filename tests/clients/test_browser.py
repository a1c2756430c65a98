"""A real browser: the page is whole, needs nothing else, and fits on a phone.

What it looks like is for eyes; here is checked what a program can see: that there is something on
the picture, that nothing is wider than the screen, and that no request goes anywhere else.
"""

import re
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clients.programs import ENVIRONMENT, need
from tests.running import LOOPBACK, Door

SECONDS = 30
PHONE, DESK = (390, 844), (1280, 900)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    need("chromium")
    yield tmp_path_factory.mktemp("profile")


def chromium(profile: Path, *arguments: str) -> str:
    """Run it once, without a window and without the net, and return what it prints."""
    done = subprocess.run(
        [
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--no-proxy-server",
            "--hide-scrollbars",
            "--ignore-certificate-errors",
            f"--user-data-dir={profile}",
            f"--log-net-log={profile / 'net.json'}",
            *arguments,
        ],
        capture_output=True,
        timeout=SECONDS,
        check=False,
        env={**ENVIRONMENT, "HOME": str(profile)},
    )
    return done.stdout.decode("utf-8")


def pixels(path: Path) -> tuple[int, int, list[bytes]]:
    """Return width, height and the rows of a PNG file of 8-bit RGB or RGBA, as bytes."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed, width, height, depth = 8, b"", 0, 0, 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            width, height, bits, colour = struct.unpack_from(">IIBB", body)
            assert (bits, colour in (2, 6)) == (8, True)
            depth = 3 if colour == 2 else 4
        elif kind == b"IDAT":
            packed += body
        at += size + 12
    raw = zlib.decompress(packed)
    stride = width * depth
    rows, above = [], bytes(stride)
    for y in range(height):
        start = y * (stride + 1)
        above = _unfiltered(raw[start], raw[start + 1 : start + 1 + stride], above, depth)
        rows.append(above)
    return width, height, rows


def _unfiltered(method: int, row: bytes, above: bytes, depth: int) -> bytes:
    """Undo one row's filter (PNG, section 9)."""
    out = bytearray(row)
    for x in range(len(out)):
        a = out[x - depth] if x >= depth else 0
        b = above[x]
        c = above[x - depth] if x >= depth else 0
        p = a + b - c
        nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
        out[x] = (out[x] + (0, a, b, (a + b) // 2, nearest)[method]) & 0xFF
    return bytes(out)
