"""What systemd says of its units, asked over its private socket: no bus is needed for that.

The socket is root's alone. Its interface is that of org.freedesktop.systemd1(5), where a list of
units is an array of: name, description, load, active and sub state, the unit that it follows, its
path, a job's id, kind and path.
"""

import os
from typing import Final, NamedTuple

from panicdoor.kernel import dbus

SOCKET: Final = "/run/systemd/private"
BOOTED: Final = "/run/systemd/system"  # sd_booted(3)
STARTED: Final = "/run/systemd/units"  # a link for each unit, made when it was started
LINKS_MAX: Final = 5000  # links that are looked at
UNITS_MAX: Final = 1000  # units that are kept

_INVOCATION: Final = "invocation:"
_MANAGER: Final = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1")


class Unit(NamedTuple):
    """One unit. `load` is `loaded`, or why it could not be; `active` and `sub` are its state."""

    name: str
    description: str
    load: str
    active: str
    sub: str


def booted(path: str = BOOTED) -> bool:
    """Return whether systemd runs this host, as sd_booted(3) finds out."""
    return os.path.isdir(path)


def units(states: tuple[str, ...], seconds: float, path: str = SOCKET) -> tuple[Unit, ...]:
    """Return the units in one of these states, UNITS_MAX at most; without states all of them.

    Raises OSError, DBusError. TimeoutError says that systemd did not answer in time.
    """
    with dbus.connect(path, seconds) as bus:
        if not bus.authenticate():
            raise PermissionError("systemd lets only root ask")
        to, at = _MANAGER
        call = dbus.Call(to, at, f"{to}.Manager", "ListUnitsFiltered", states)
        return parse(bus.call(call))


def parse(reader: dbus.Reader) -> tuple[Unit, ...]:
    """Read a list of units. Raises DBusError."""
    found: list[Unit] = []
    for _ in reader.structs():
        name, description, load, active, sub, _, _ = (reader.text() for _ in range(7))
        reader.u32()
        reader.text()
        reader.text()
        if len(found) < UNITS_MAX:
            found.append(Unit(name, description, load, active, sub))
    return tuple(found)


def started(folder: str = STARTED) -> dict[str, float] | None:
    """Return when each unit was started last, in seconds since 1970; None where nothing says so.

    These files are in memory, and no documented interface: a unit that is not here may run too.
    """
    found: dict[str, float] = {}
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(LINKS_MAX), entries, strict=False):
                if entry.name.startswith(_INVOCATION):
                    name = entry.name.removeprefix(_INVOCATION)
                    found[name] = entry.stat(follow_symlinks=False).st_mtime
    except OSError:
        return found or None
    return found
