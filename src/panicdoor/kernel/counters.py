"""What the network stack counts, and how much of what is limited is in use.

/proc/net/netstat and snmp (Documentation/networking/snmp_counter.rst), /proc/net/sockstat,
/proc/sys/fs/file-nr, /proc/sys/net. What a kernel does not have is not in the answer.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from panicdoor.kernel import reading

READ_MAX: Final = 256 << 10  # bytes of such a file that are read

NETSTAT: Final = ("/proc/net/netstat", "/proc/net/snmp")
INTERFACES: Final = "/proc/net/dev"  # proc_net(5)
SOCKSTAT: Final = "/proc/net/sockstat"
FILE_NR: Final = "/proc/sys/fs/file-nr"  # Documentation/admin-guide/sysctl/fs.rst
CONNTRACK: Final = "/proc/sys/net/netfilter/nf_conntrack_"  # count, max
ORPHANS_MAX: Final = "/proc/sys/net/ipv4/tcp_max_orphans"
TIME_WAIT_MAX: Final = "/proc/sys/net/ipv4/tcp_max_tw_buckets"
TCP_MEMORY: Final = "/proc/sys/net/ipv4/tcp_mem"  # low, pressure, high; pages

_RECEIVED_ERRORS, _SENT_ERRORS = 2, 10  # columns of INTERFACES, behind the name


class Limit(NamedTuple):
    """Something of which there is only so much."""

    name: str
    used: int
    most: int

    @property
    def percent(self) -> float:
        """How much of it is used."""
        return 100.0 * self.used / self.most if self.most > 0 else 0.0


def parse_pairs(text: bytes) -> dict[str, int]:
    """Return the counters of netstat or snmp as `TcpExt.ListenOverflows`: names, then numbers."""
    found: dict[str, int] = {}
    names: list[bytes] = []
    for line in text.split(b"\n"):
        fields = line.split()
        if len(fields) > 1 and names[:1] == fields[:1]:
            group = fields[0].rstrip(b":").decode("latin-1")
            for name, value in zip(names[1:], fields[1:], strict=False):
                number = reading.number(value)
                if number is not None:
                    found[f"{group}.{name.decode('latin-1')}"] = number
            names = []
        else:
            names = fields
    return found


def parse_sockstat(text: bytes) -> dict[str, int]:
    """Return the numbers of sockstat as `TCP.orphan`."""
    found = {}
    for line in text.split(b"\n"):
        fields = line.split()
        for name, value in zip(fields[1::2], fields[2::2], strict=False):
            number = reading.number(value)
            if number is not None:
                group = fields[0].rstrip(b":").decode("latin-1")
                found[f"{group}.{name.decode('latin-1')}"] = number
    return found


def parse_numbers(text: bytes) -> list[int]:
    """Return the numbers of a file of /proc/sys; nothing where one is none."""
    numbers = [reading.number(field) for field in text.split()]
    return [] if None in numbers else [number for number in numbers if number is not None]


def network(texts: Iterable[bytes] = ()) -> dict[str, int]:
    """Return all counters of this network namespace, or those of the `texts` of NETSTAT.

    Never raises.
    """
    found: dict[str, int] = {}
    for text in texts or map(_read, NETSTAT):
        found |= parse_pairs(text)
    return found


def parse_interfaces(text: bytes) -> dict[str, int]:
    """Return of each interface the broken packets that came and went, from /proc/net/dev."""
    found = {}
    for line in text.split(b"\n"):
        name, colon, rest = line.rpartition(b":")  # an old alias has a colon in its name
        fields = rest.split()
        if colon and len(fields) > _SENT_ERRORS:
            errors = [reading.number(fields[at]) or 0 for at in (_RECEIVED_ERRORS, _SENT_ERRORS)]
            found[name.strip().decode("latin-1")] = sum(errors)
    return found


def grown(before: Mapping[str, int], after: Mapping[str, int], name: str) -> int | None:
    """Return by how much a counter grew; None where this kernel does not have it."""
    if name not in after:
        return None
    return max(0, after[name] - before.get(name, 0))


def descriptors() -> Limit | None:
    """Return open files of the whole host, and how many there may be."""
    numbers = parse_numbers(_read(FILE_NR))
    return Limit("descriptors", numbers[0], numbers[2]) if len(numbers) > 2 else None  # noqa: PLR2004


def conntrack() -> Limit | None:
    """Return tracked connections; None where nothing is tracked."""
    used = parse_numbers(_read(f"{CONNTRACK}count"))
    most = parse_numbers(_read(f"{CONNTRACK}max"))
    return Limit("conntrack", used[0], most[0]) if used and most else None


def tcp() -> list[Limit]:
    """Return what limits TCP: orphans, connections in time-wait, memory (pages)."""
    used = parse_sockstat(_read(SOCKSTAT))
    found = []
    for name, key, path, at in (
        ("tcp orphans", "TCP.orphan", ORPHANS_MAX, 0),
        ("tcp time-wait", "TCP.tw", TIME_WAIT_MAX, 0),
        ("tcp memory pages", "TCP.mem", TCP_MEMORY, 2),
    ):
        most = parse_numbers(_read(path))
        if key in used and len(most) > at:
            found.append(Limit(name, used[key], most[at]))
    return found


def _read(path: str) -> bytes:
    try:
        return reading.read(path, READ_MAX)
    except OSError:
        return b""
