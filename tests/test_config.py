"""The door.toml: what is understood, and the one line that says what is not."""

from datetime import datetime
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from panicdoor import config
from panicdoor.config import Address, Door, check_commands, check_text, parse, parse_address
from panicdoor.errors import ConfigError

FULL = """\
name = "web1"
fleet = "prod"
contact = "Example Ops, +49 30 1234567"
listen = ["192.0.2.10:903", "[2001:db8::10]:903"]

[elsewhere]
console = "https://bmc.example.com/web1"

[[grant]]
to = ["alice", "bob@ops"]
may = ["observe", "lockdown"]
signatures = 2
from = ["192.0.2.0/24", "2001:db8::/32"]
sessions = false

[[grant]]
to = ["carol"]
may = ["recover"]
"""
GRANT = 'name = "a"\n[[grant]]\nto = ["alice"]\nmay = ["observe"]\n'


def wrong(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "door.toml")
    line = str(caught.value)
    assert line.startswith("door.toml: ")
    assert line.isascii()
    assert line.isprintable()
    return line.removeprefix("door.toml: ")


def test_every_key_arrives() -> None:
    door = parse(FULL, "door.toml")
    assert (door.name, door.fleet) == ("web1", "prod")
    assert door.contact == "Example Ops, +49 30 1234567"
    assert door.listen == (Address("192.0.2.10", 903), Address("2001:db8::10", 903))
    assert door.elsewhere == {"console": "https://bmc.example.com/web1"}
    first, second = door.grants
    assert first.to == ("alice", "bob@ops")
    assert first.may == ("observe", "lockdown")
    assert (first.signatures, first.sessions) == (2, False)
    assert first.networks == ("192.0.2.0/24", "2001:db8::/32")
    assert (second.signatures, second.sessions, second.networks) == (1, True, ())


def test_what_is_left_out() -> None:
    door = parse('name = "a"', "door.toml")
    assert door.listen == (Address("127.0.0.1", 903), Address("::1", 903))
    assert (door.fleet, door.contact, door.elsewhere, door.grants) == ("", "", {}, ())
    assert door.operators == ()


def test_operators_are_the_named_networks_merged() -> None:
    text = GRANT + 'from = ["10.0.0.0/9", "192.0.2.7", "2001:db8::/33"]\n'
    text += '[[grant]]\nto = ["bob"]\nmay = ["observe"]\n'
    text += 'from = ["10.128.0.0/9", "10.1.0.0/16", "2001:db8:8000::/33"]\n'
    assert parse(text, "f").operators == (
        ip_network("10.0.0.0/8"),
        ip_network("192.0.2.7/32"),
        ip_network("2001:db8::/32"),
    )


def test_a_door_crosses_to_another_process() -> None:
    door = parse(FULL, "door.toml")
    assert msgspec.json.decode(msgspec.json.encode(door), type=Door) == door
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(door), type=Door) == door


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "name: expected a name of a-z, 0-9, '.' and '-', at most 32, such as web1,"
             " got no such key"),
        ("name = 7", "name: expected a name of a-z, 0-9, '.' and '-', at most 32, such as web1,"
                     " got 7"),
        ('name = "Web1"', "name: expected a name of a-z, 0-9, '.' and '-', at most 32, such as"
                          " web1, got 'Web1'"),
        ('name = "a"\nfleet = ""', "fleet: expected a name of a-z, 0-9, '.' and '-', at most 32,"
                                   " such as prod, got ''"),
        ('name = "a"\ncolour = 1', "colour: expected one of the keys name, fleet, contact, listen,"
                                   " elsewhere, grant"),
        ('name = "a"\n"x`y\\n" = 1', "x`y\\x0a: expected one of the keys name, fleet, contact,"
                                     " listen, elsewhere, grant"),
        ('name = "a"\ncontact = "caf\\u00e9"', "contact: expected a text of 1 to 80 printable"
                                               " ASCII characters, got 'caf\\xe9'"),
        (f'name = "a"\ncontact = "{"x" * 81}"', "contact: expected a text of 1 to 80 printable"
         f" ASCII characters, got '{'x' * 40}...' (81 characters)"),
        ('name = "a"\nlisten = "127.0.0.1:903"', "listen: expected a list of 1 to 8 addresses,"
                                                 " got '127.0.0.1:903'"),
        ('name = "a"\nlisten = []', "listen: expected a list of 1 to 8 addresses, got a list of 0"),
        ('name = "a"\nlisten = ["127.0.0.1:903", 5]', "listen[1]: expected an address such as"
         " 192.0.2.10:903 or [2001:db8::10]:903, got 5"),
        ('name = "a"\nlisten = ["127.0.0.1:903", "[0:0::1]:903", "[::1]:903"]',
         "listen[2]: expected what listen[1] ([::1]:903) does not cover"),
        ('name = "a"\nlisten = ["0.0.0.0:903", "127.0.0.1:903"]',
         "listen[1]: expected what listen[0] (0.0.0.0:903) does not cover"),
        ('name = "a"\nelsewhere = 3', "elsewhere: expected a table of at most 8 texts, got 3"),
        ('name = "a"\n[elsewhere]\nBMC = "x"', "elsewhere.BMC: expected a key of a-z, at most 12,"
         " with a text of 1 to 80 printable ASCII characters, got 'BMC'"),
        ('name = "a"\n[elsewhere]\nbmc = true', "elsewhere.bmc: expected a key of a-z, at most 12,"
         " with a text of 1 to 80 printable ASCII characters, got true"),
        ('name = "a"\ngrant = {}', "grant: expected at most 32 tables, each under [[grant]],"
                                   " got a table"),
        ('name = "a"\ngrant = [1]', "grant[0]: expected a table under [[grant]], got 1"),
        ('name = "a"\n[[grant]]\nto = ["a"]', "grant[0].may: expected a list of 1 to 64 levels or"
                                              " commands, got no such key"),
        (GRANT + "until = 2026-01-01", "grant[0].until: expected one of the keys to, may,"
                                       " signatures, from, sessions"),
        (GRANT + "signatures = 0", "grant[0].signatures: expected a whole number from 1 to 8, got"
                                   " 0"),
        (GRANT + "signatures = 1.0", "grant[0].signatures: expected a whole number from 1 to 8,"
                                     " got 1.0"),
        (GRANT + "signatures = true", "grant[0].signatures: expected a whole number from 1 to 8,"
                                      " got true"),
        (GRANT + "signatures = 0x" + "f" * 5000, "grant[0].signatures: expected a whole number"
                                                 " from 1 to 8, got a very large number"),
        (GRANT + "sessions = 1", "grant[0].sessions: expected true or false, got 1"),
        (GRANT + "from = []", "grant[0].from: expected a list of 1 to 64 networks, or no such key"
                              " for any, got a list of 0"),
        (GRANT + GRANT[10:] + 'from = ["10.0.0.1/8"]',
         "grant[1].from[0]: expected a network such as 192.0.2.0/24, got '10.0.0.1/8'"),
        (GRANT + 'from = ["10.0.0.0/8", "10.0.0.0/255.0.0.0"]',
         "grant[0].from[1]: expected a network such as 192.0.2.0/24, got '10.0.0.0/255.0.0.0'"),
        (GRANT + 'from = ["::/0", "0::/0"]', "grant[0].from[1]: expected '::/0' only once"),
        (GRANT.replace('"alice"', '"alice", "alice"'), "grant[0].to[1]: expected 'alice' only"
                                                       " once"),
        (GRANT.replace('"alice"', '"*@ops"'), "grant[0].to[0]: expected a principal of a-z, 0-9,"
         " '.', '_', '@' and '-', at most 64, got '*@ops'"),
        (GRANT.replace('"alice"', '"alice\\n"'), "grant[0].to[0]: expected a principal of a-z,"
         " 0-9, '.', '_', '@' and '-', at most 64, got 'alice\\x0a'"),
        ('name = "a\\n"', "name: expected a name of a-z, 0-9, '.' and '-', at most 32, such as"
                          " web1, got 'a\\x0a'"),
        (GRANT.replace('"observe"', '"kill -9"'), "grant[0].may[0]: expected a level (public,"
         " observe, recover, defend) or the name of a command, got 'kill -9'"),
        (GRANT.replace('"observe"', '"observe\\n"'), "grant[0].may[0]: expected a level (public,"
         " observe, recover, defend) or the name of a command, got 'observe\\x0a'"),
        ('name = "a"\nlisten = [', "line 2: Invalid value before the file ends"),
        ('name = "a"\nlisten = [\n', "line 2: Invalid value before the file ends"),
        ('name = "a"\n\nname = "b"\n', "line 3, column 11: Cannot overwrite a value"),
        ("name = web1\n", "line 1, column 8: Invalid value"),
        ('\ufeffname = "a"', "line 1: expected no byte order mark before the first key"),
        ("a = " + "[" * 5000, "expected at most two lists in each other, got far more"),
        ("#" * 65537, "expected at most 65536 characters, got 65537"),
        ("a = " + "9" * 5000, "expected TOML: Exceeds the limit (4300 digits) for integer string"
         " conversion: value has 5000 digits; use sys.set_int_max_str_digits() to increase the"
         " limit"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(text: str, line: str) -> None:
    assert wrong(text) == line


@pytest.mark.parametrize("name", ["a" * 32, "0", "web-1.example"])
def test_names_that_will_do(name: str) -> None:
    assert parse(f'name = "{name}"', "f").name == name


@pytest.mark.parametrize("name", ["a" * 33, "-a", ".a", "a_b", "a b", ""])
def test_names_that_will_not(name: str) -> None:
    assert wrong(f'name = "{name}"').startswith("name: ")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.10:1", Address("192.0.2.10", 1)),
        ("0.0.0.0:65535", Address("0.0.0.0", 65535)),
        ("[::]:903", Address("::", 903)),
        ("[2001:DB8:0::A]:903", Address("2001:db8::a", 903)),
    ],
)
def test_addresses_in_canonical_form(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "", "903", ":903", "localhost:903", "192.0.2.10", "192.0.2.10:0", "192.0.2.10:65536",
        "192.0.2.10:0903", "192.0.2.010:903", "192.0.2:903", "2001:db8::10:903", "[::1]",
        "[192.0.2.10]:903", "[fe80::1%eth0]:903", "[::ffff:192.0.2.10]:903", "224.0.0.1:903",
        "[ff02::1]:903", "255.255.255.255:903", "192.0.2.10:903\n", "192.0.2.10:٩٠٣",
    ],
)  # fmt: skip
def test_addresses_that_will_not_do(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--listen: expected an address such as 192"):
        parse_address(text, "--listen")


@given(st.ip_addresses(), st.integers(1, 65535))
@settings(max_examples=100, deadline=None, database=None)
def test_an_address_reads_as_it_is_written(host: Any, port: int) -> None:
    address = Address(str(host), port)
    try:
        assert parse_address(str(address)) == address
    except ConfigError:
        mapped = host.version == 6 and host.ipv4_mapped
        assert mapped or host.is_multicast or str(host) == "255.255.255.255"


@pytest.mark.parametrize(
    ("key", "most", "line"),
    [
        ("listen", config.LISTEN_MAX, "listen = [{}]"),
        ("elsewhere", config.ELSEWHERE_MAX, "[elsewhere]\n{}"),
        ("grant", config.GRANTS_MAX, "{}"),
        ("grant[0].to", config.GRANT_LIST_MAX, '[[grant]]\nmay = ["observe"]\nto = [{}]'),
        ("grant[0].may", config.GRANT_LIST_MAX, '[[grant]]\nto = ["a"]\nmay = [{}]'),
        ("grant[0].from", config.GRANT_LIST_MAX, GRANT[11:] + "from = [{}]"),
    ],
)  # fmt: skip
def test_every_list_has_its_most(key: str, most: int, line: str) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [a + b for a in letters for b in letters]

    def text(n: int) -> str:
        items = {
            "listen": ", ".join(f'"127.0.0.1:{i + 1}"' for i in range(n)),
            "elsewhere": "\n".join(f'{words[i]} = "x"' for i in range(n)),
            "grant": GRANT[11:] * n,
            "grant[0].from": ", ".join(f'"10.0.0.{i}"' for i in range(n)),
        }
        several = ", ".join(f'"{word}"' for word in words[:n])
        return f'name = "a"\n{line.format(items.get(key, several))}\n'

    parse(text(most), "f")
    assert wrong(text(most + 1)).startswith(f"{key}: expected ")


def test_a_door_with_every_table_full_fits() -> None:
    networks = ", ".join(f'"2001:db8:{i:x}:ffff:ffff::/80"' for i in range(32))
    people = ", ".join(f'"{i:02d}{"p" * 10}@ops.example.com"' for i in range(16))
    grant = f'[[grant]]\nto = [{people}]\nmay = ["observe"]\nfrom = [{networks}]\n'
    text = 'name = "a"\n' + grant * config.GRANTS_MAX
    assert len(text) < config.FILE_MAX
    parse(text, "f")


def test_commands_are_checked_against_those_there_are() -> None:
    door = parse(FULL, "door.toml")
    check_commands(door, {"lockdown", "kill"}, "door.toml")
    with pytest.raises(ConfigError) as caught:
        check_commands(door, {"kill"}, "door.toml")
    assert str(caught.value) == (
        "door.toml: grant[0].may[1]: expected a level (public, observe, recover, defend) or the"
        " name of a command, got 'lockdown'"
    )


def test_texts_of_a_command_line() -> None:
    assert check_text("web1", "--name", "name") == "web1"
    with pytest.raises(ConfigError, match=r"^--contact: expected a text .*, got 'a\\x1bb'$"):
        check_text("a\x1bb", "--contact", "contact")
    with pytest.raises(ConfigError, match=r"^--signer: expected a principal .*, got 'A'$"):
        check_text("A", "--signer", "grant[].to[]")


def test_every_key_has_its_sentence() -> None:
    top = set(config._File.__struct_encode_fields__)
    grant = {f"grant[].{key}" for key in config.Grant.__struct_encode_fields__}
    assert top | grant <= set(config.EXPECTED)


def as_toml(value: object) -> str:
    """Write a value as TOML, well enough for what the strategy below makes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" for c in value) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(k)} = {as_toml(v)}" for k, v in value.items()) + "}"
    return value.isoformat() if isinstance(value, datetime) else str(value)


KEYS = st.sampled_from(
    ["name", "fleet", "contact", "listen", "elsewhere", "grant", "to", "may", "signatures", "from"]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
TEXTS = st.sampled_from(["a", "observe", "127.0.0.1:903", "::/0", "x" * 90]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=5
)
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | TEXTS | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
@example({"name": "a", "grant": [{"to": ["a"], "may": ["b"], "x` - at `$.y": 1}]})
@example({"name": "a", "x` - at `$.grant[0]": 1})
@settings(max_examples=200, deadline=None, database=None)
def test_any_tables_are_a_door_or_one_line(tables: dict[str, object]) -> None:
    either('name = "a"\n' + "\n".join(
        f"{as_toml(key)} = {as_toml(value)}" for key, value in tables.items() if key != "name"
    ))  # fmt: skip
    either("\n".join(f"{as_toml(key)} = {as_toml(value)}" for key, value in tables.items()))


@given(st.text())
@settings(max_examples=100, deadline=None, database=None)
def test_any_text_is_a_door_or_one_line(text: str) -> None:
    either(text)


def either(text: str) -> None:
    try:
        parse(text, "door.toml")
    except ConfigError as refused:
        line = str(refused)
        assert line.startswith("door.toml: ")
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 400
