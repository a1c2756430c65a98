"""What the installer writes in `door.toml`: text in, a Door out.

Rules:
- whatever is not understood is refused, an unknown key as much as a wrong value: a door that half
  understands its policy is worse than one that does not start;
- a refusal is one line that names the file, the key and what was expected there;
- every text is printable ASCII, because all of it ends on other people's terminals;
- a Door is plain enough to cross to another process as one document.
"""

import re
import tomllib
from collections.abc import Collection
from ipaddress import (
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, ValidationError, convert, field

from panicdoor.errors import ConfigError
from panicdoor.printable import escape_line

PORT: Final = 903  # IANA: ideafarm-panic, tcp and udp
PORT_MAX: Final = 65535
USER: Final = "panicdoor"  # whom a door started by root becomes wherever it needs no rights
USERADD: Final = f"useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin {USER}"
LEVELS: Final = ("public", "observe", "recover", "defend")

FILE_MAX: Final = 64 * 1024  # characters; a door with every table full has fewer than 60,000
TEXT_MAX: Final = 80  # characters; a text stands on one line of a terminal
LISTEN_MAX: Final = 8  # addresses; each is two sockets that every restart has to find again
ELSEWHERE_MAX: Final = 8  # texts; the first screen of the documentation has no room for more
GRANTS_MAX: Final = 32  # grants are read one after another for every order
GRANT_LIST_MAX: Final = 64  # principals, commands or networks in one grant, for the same reason
SIGNATURES_MAX: Final = 8  # a sealed order has room for as many

_GOT_MAX: Final = 40  # characters of a wrong value that are shown: the sentence stays one line
_SHOWN_INT_MAX: Final = 2**64

_Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,31}\Z")]
_Text = Annotated[str, Meta(pattern=rf"^[\x20-\x7e]{{1,{TEXT_MAX}}}\Z")]
_Principal = Annotated[str, Meta(pattern=r"^[a-z0-9._@-]{1,64}\Z")]
_Command = Annotated[str, Meta(pattern=r"^[a-z][a-z-]{0,31}\Z")]
_Key = re.compile(r"[a-z]{1,12}")

# What stands under a key, as the end of "expected ..."; [] is any element, * any key of a table.
EXPECTED: Final = {
    "": "a table of keys",
    "name": "a name of a-z, 0-9, '.' and '-', at most 32, such as web1",
    "fleet": "a name of a-z, 0-9, '.' and '-', at most 32, such as prod",
    "contact": f"a text of 1 to {TEXT_MAX} printable ASCII characters",
    "listen": f"a list of 1 to {LISTEN_MAX} addresses",
    "listen[]": "an address such as 192.0.2.10:903 or [2001:db8::10]:903",
    "elsewhere": f"a table of at most {ELSEWHERE_MAX} texts",
    "elsewhere.*": f"a key of a-z, at most 12, with a text of 1 to {TEXT_MAX}"
    " printable ASCII characters",
    "grant": f"at most {GRANTS_MAX} tables, each under [[grant]]",
    "grant[]": "a table under [[grant]]",
    "grant[].to": f"a list of 1 to {GRANT_LIST_MAX} principals",
    "grant[].to[]": "a principal of a-z, 0-9, '.', '_', '@' and '-', at most 64",
    "grant[].may": f"a list of 1 to {GRANT_LIST_MAX} levels or commands",
    "grant[].may[]": f"a level ({', '.join(LEVELS)}) or the name of a command",
    "grant[].signatures": f"a whole number from 1 to {SIGNATURES_MAX}",
    "grant[].from": f"a list of 1 to {GRANT_LIST_MAX} networks, or no such key for any",
    "grant[].from[]": "a network such as 192.0.2.0/24",
    "grant[].sessions": "true or false",
}


class Address(Struct, frozen=True, order=True):
    """Where a door listens, tcp and udp: a literal address, without brackets, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return the form that `parse_address` reads: HOST:PORT or [HOST]:PORT."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Grant(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which principals may run what, with how many signatures, from where.

    `may` holds levels and names of commands. `networks` (the key `from`) is empty for any;
    `sessions` says whether a command typed inside an ssh session counts, or only a signed order.
    """

    to: Annotated[tuple[_Principal, ...], Meta(min_length=1, max_length=GRANT_LIST_MAX)]
    may: Annotated[tuple[_Command, ...], Meta(min_length=1, max_length=GRANT_LIST_MAX)]
    signatures: Annotated[int, Meta(ge=1, le=SIGNATURES_MAX)] = 1
    networks: Annotated[tuple[str, ...], Meta(min_length=1, max_length=GRANT_LIST_MAX)] = field(
        name="from", default=()
    )
    sessions: bool = True


class Door(Struct, frozen=True, kw_only=True):
    """A door as its installer wants it. Absent texts are empty, absent grants grant nothing."""

    name: str
    fleet: str
    contact: str
    listen: tuple[Address, ...]
    elsewhere: dict[str, str]
    grants: tuple[Grant, ...]

    @property
    def operators(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks that grants name, merged: whoever comes from there has room of their own."""
        named = {ip_network(text) for grant in self.grants for text in grant.networks}
        return (
            *collapse_addresses(n for n in named if isinstance(n, IPv4Network)),
            *collapse_addresses(n for n in named if isinstance(n, IPv6Network)),
        )


class _File(Struct, frozen=True, kw_only=True):
    """The shape of the file, before addresses, networks and free keys are looked at."""

    name: _Name
    fleet: _Name = ""
    contact: _Text = ""
    listen: Annotated[tuple[str, ...], Meta(min_length=1, max_length=LISTEN_MAX)] = (
        f"127.0.0.1:{PORT}",
        f"[::1]:{PORT}",
    )
    elsewhere: Annotated[dict[str, Any], Meta(max_length=ELSEWHERE_MAX)] = {}
    grant: Annotated[tuple[Grant, ...], Meta(max_length=GRANTS_MAX)] = ()


def parse(text: str, file: str) -> Door:
    """Return the door that `text`, the contents of `file`, describes.

    Raises ConfigError: one printable line, "FILE: KEY: expected ..., got ...", or with a line
    number instead of a key where the text is not TOML (toml.io, version 1.0). Indices count
    from 0. Names of commands are only checked for their form: see `check_commands`.
    """
    try:
        return _door(_shaped(_tables(text)))
    except ConfigError as wrong:
        raise ConfigError(f"{escape_line(file)}: {wrong}") from None


def check_commands(door: Door, known: Collection[str], file: str) -> None:
    """Raise ConfigError where a grant of `door` names a command that is not among `known`."""
    for i, grant in enumerate(door.grants):
        for j, name in enumerate(grant.may):
            if name not in LEVELS and name not in known:
                raise ConfigError(f"{escape_line(file)}: {_expected(f'grant[{i}].may[{j}]', name)}")


def check_principals(door: Door, known: Collection[str], file: str) -> None:
    """Raise ConfigError where a grant of `door` is for a principal that is not among `known`."""
    for i, grant in enumerate(door.grants):
        for j, name in enumerate(grant.to):
            if name not in known:
                raise ConfigError(
                    f"{escape_line(file)}: grant[{i}].to[{j}]: expected a name that has a line"
                    f" in allowed_signers, got {_show(name)}"
                )


def parse_address(text: str, key: str = "listen[0]") -> Address:
    """Return the address that `text` ("HOST:PORT" or "[HOST]:PORT") names, in canonical form.

    HOST is a literal IPv4 or IPv6 address of one machine, or the unspecified one; PORT 1 to 65535.
    Raises ConfigError, naming `key`, for anything else: a name would have to be resolved by what
    may just have failed.
    """
    match = re.fullmatch(
        r"(?:([0-9.]+)|\[([0-9a-fA-F.]*:[0-9a-fA-F:.]*)\]):([1-9][0-9]{0,4})", text
    )
    if match is None:
        raise ConfigError(_expected(key, text, "listen[]"))
    try:
        host = ip_address(match[1] or match[2])
    except ValueError:
        raise ConfigError(_expected(key, text, "listen[]")) from None
    mapped = isinstance(host, IPv6Address) and host.ipv4_mapped is not None
    broadcast = str(host) == "255.255.255.255"
    if mapped or broadcast or host.is_multicast or int(match[3]) > PORT_MAX:
        raise ConfigError(_expected(key, text, "listen[]"))
    return Address(str(host), int(match[3]))


def check_text(value: str, key: str, like: str) -> str:
    """Return `value` if it may stand under the key `like` (name, fleet, contact, grant[].to[]).

    Raises ConfigError naming `key`: for values that come from a command line.
    """
    kinds: dict[str, Any] = {
        "name": _Name,
        "fleet": _Name,
        "contact": _Text,
        "grant[].to[]": _Principal,
    }
    try:
        return str(convert(value, kinds[like]))
    except ValidationError:
        raise ConfigError(_expected(key, value, like)) from None


def _expected(key: str, got: object, like: str = "") -> str:
    """Return "KEY: expected ..., got ..." with the words that EXPECTED has for such a key."""
    words = EXPECTED[like or re.sub(r"\[\d+\]", "[]", key)]
    return f"{escape_line(key)}: expected {words}, got {_show(got)}"


def _show(got: object) -> str:
    """Return a value of a TOML document in so few characters that it fits into a sentence."""
    if got is None:
        return "no such key"
    if isinstance(got, bool):
        return str(got).lower()
    if isinstance(got, dict):
        return "a table"
    if isinstance(got, list):
        return f"a list of {len(got)}"
    if isinstance(got, str):
        cut = escape_line(got[:_GOT_MAX])
        return f"'{cut}'" if len(got) <= _GOT_MAX else f"'{cut}...' ({len(got)} characters)"
    # A hexadecimal number may be longer than what str() is willing to write in decimal.
    if isinstance(got, int) and abs(got) > _SHOWN_INT_MAX:
        return "a very large number"
    return escape_line(str(got))


def _tables(text: str) -> dict[str, Any]:
    """Return the TOML document in `text`."""
    if len(text) > FILE_MAX:
        raise ConfigError(f"expected at most {FILE_MAX} characters, got {len(text)}")
    if text.startswith("\ufeff"):
        raise ConfigError("line 1: expected no byte order mark before the first key")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError("expected at most two lists in each other, got far more") from None
    except ValueError as wrong:
        said = str(wrong)
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", said, re.S)
    if match is None:
        raise ConfigError(f"expected TOML: {escape_line(said)}")
    reason = escape_line(match[1])
    if match[2] is None:
        raise ConfigError(f"line {text.count(chr(10), 0, -1) + 1}: {reason} before the file ends")
    raise ConfigError(f"line {match[2]}, column {match[3]}: {reason}")


def _shaped(tables: dict[str, Any]) -> _File:
    """Return the document as a _File: every key known, every value of its type."""
    _check_keys(tables, _File)
    grants = tables.get("grant")
    for i, grant in enumerate(grants if isinstance(grants, list) else ()):
        if isinstance(grant, dict):
            _check_keys(grant, Grant, f"grant[{i}].")
    try:
        return convert(tables, _File)
    except ValidationError as wrong:
        said = str(wrong)
    where = re.search(r" - at `\$\.?([^`]*)`$", said)
    key = where[1] if where else ""
    if missing := re.match(r"Object missing required field `(\w+)`", said):
        raise ConfigError(_expected(f"{key}.{missing[1]}" if key else missing[1], None))
    value: Any = tables
    for step in re.findall(r"\w+", key):
        value = value[int(step) if step.isdigit() else step]
    raise ConfigError(_expected(key, value))


def _check_keys(table: dict[str, Any], kind: type[Struct], prefix: str = "") -> None:
    """Refuse a key that `kind` does not have."""
    known = kind.__struct_encode_fields__
    for key in table:
        if key not in known:
            name = escape_line(key[:_GOT_MAX])
            raise ConfigError(f"{prefix}{name}: expected one of the keys {', '.join(known)}")


def _door(written: _File) -> Door:
    """Return the door of a file whose shape is right, or raise for a value that is not."""
    for key, value in written.elsewhere.items():
        name = f"elsewhere.{key[:_GOT_MAX]}"
        if not _Key.fullmatch(key):
            raise ConfigError(_expected(name, key, "elsewhere.*"))
        try:
            convert(value, _Text)
        except ValidationError:
            raise ConfigError(_expected(name, value, "elsewhere.*")) from None
    return Door(
        name=written.name,
        fleet=written.fleet,
        contact=written.contact,
        listen=_addresses(written.listen),
        elsewhere=written.elsewhere,
        grants=tuple(_grant(grant, f"grant[{i}]") for i, grant in enumerate(written.grant)),
    )


def _addresses(listen: tuple[str, ...]) -> tuple[Address, ...]:
    """Return the addresses, none of them twice: a second bind would fail, whoever came first."""
    found: list[Address] = []
    for i, text in enumerate(listen):
        key = f"listen[{i}]"
        address = parse_address(text, key)
        for j, other in enumerate(found):
            if address.port == other.port and _overlap(address.host, other.host):
                raise ConfigError(f"{key}: expected what listen[{j}] ({other}) does not cover")
        found.append(address)
    return tuple(found)


def _overlap(one: str, other: str) -> bool:
    """Return whether two canonical hosts are the same, or one means every address of its kind."""
    kinds = (":" in one) == (":" in other)
    return one == other or (kinds and not {one, other}.isdisjoint({"0.0.0.0", "::"}))  # noqa: S104


def _grant(grant: Grant, key: str) -> Grant:
    """Return `grant` with its networks in canonical form and nothing in it twice."""
    networks = tuple(_network(text, f"{key}.from[{i}]") for i, text in enumerate(grant.networks))
    for name, values in (("to", grant.to), ("may", grant.may), ("from", networks)):
        for i, value in enumerate(values):
            if value in values[:i]:
                raise ConfigError(f"{key}.{name}[{i}]: expected '{value}' only once")
    return Grant(
        to=grant.to,
        may=grant.may,
        signatures=grant.signatures,
        networks=networks,
        sessions=grant.sessions,
    )


def _network(text: str, key: str) -> str:
    """Return the canonical form of a network; an address alone is a network of one."""
    # ipaddress would also take a netmask or a scope, which say the same less clearly.
    if not re.fullmatch(r"[0-9a-fA-F:.]+(?:/[0-9]{1,3})?", text):
        raise ConfigError(_expected(key, text))
    try:
        return str(ip_network(text))
    except ValueError:
        raise ConfigError(_expected(key, text)) from None
