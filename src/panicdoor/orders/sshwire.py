"""The data types of ssh's packets and keys (RFC 4251 section 5): bytes in, values out.

What is cut short raises ValueError; what is left over is for the caller to refuse, by `end`.
"""

from typing import Final

UINT32: Final = 4  # bytes
UINT64: Final = 8


class Reader:
    """Reads one value after another."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        found = self._data[self._at : self._at + count]
        if len(found) != count:
            raise ValueError("cut short")
        self._at += count
        return found

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def uint32(self) -> int:
        """Return the next number of 32 bits."""
        return int.from_bytes(self.take(UINT32), "big")

    def uint64(self) -> int:
        """Return the next number of 64 bits."""
        return int.from_bytes(self.take(UINT64), "big")

    def string(self) -> bytes:
        """Return the next string: its length comes first."""
        return self.take(self.uint32())

    def text(self) -> str:
        """Return the next string, which must be ASCII."""
        return self.string().decode("ascii")

    def mpint(self) -> int:
        """Return the next number of any size: not negative, and in its shortest form."""
        data = self.string()
        number = int.from_bytes(data, "big", signed=True)
        if number < 0 or mpint(number) != string(data):
            raise ValueError("expected a number, not negative, without needless zeros")
        return number

    @property
    def ended(self) -> bool:
        """Whether everything has been read."""
        return self._at == len(self._data)

    def end(self) -> None:
        """Raise ValueError unless everything has been read."""
        if not self.ended:
            raise ValueError("bytes are left over")


def string(data: bytes) -> bytes:
    """Return `data` with its length before it."""
    return len(data).to_bytes(UINT32, "big") + data


def mpint(number: int) -> bytes:
    """Return a number that is not negative, in its shortest form."""
    bits = number.bit_length()
    return string(number.to_bytes(bits // 8 + 1, "big") if number else b"")
