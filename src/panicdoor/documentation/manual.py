"""One door's manual, in every form, prepared at start: what is left to do is to fill in blanks.

A door under attack serves this text thousands of times a second, so nothing here looks anything
up, wraps a line or serialises a value once the constructor is done.
"""

import re
from collections.abc import Iterable, Mapping
from json import dumps
from typing import Final

from panicdoor.commands.authority import need
from panicdoor.commands.registry import Command, Here, Level
from panicdoor.config import Grant
from panicdoor.documentation import browser, data, datagrams, screens
from panicdoor.documentation.browser import escape
from panicdoor.documentation.facts import WAYS, Facts, Stock
from panicdoor.documentation.help import explain, level_line, level_listing, listing, takes
from panicdoor.documentation.layout import columns, wrap
from panicdoor.documentation.template import HOST, PORT, Template
from panicdoor.errors import CommandError
from panicdoor.printable import escape_line

_NEEDS_JSON: Final = re.compile(r'"\\u0007([a-z-]+)"')  # the blank of data.NEEDS, in JSON
_UNKNOWN_MAX: Final = 40  # characters of an unknown name that the error repeats


class Manual:
    """What a door says about itself. `here` is the address that the client reached.

    `now` is like `2026-11-24 03:12:07 UTC`; `challenge` may be `""` where none is at hand. Lines
    end in LF, and all text is printable ASCII. `ways` are the ways in that exist, of
    `facts.KNOWN_WAYS`; the constructor raises ValueError for another. Of `grants` it tells how many
    must sign, to everybody, and never who or from where.
    """

    def __init__(
        self,
        facts: Facts,
        commands: Mapping[str, Command],
        ways: frozenset[str] = WAYS,
        grants: Iterable[Grant] = (),
    ) -> None:
        stock = Stock(facts, dict(commands), ways)
        self.name: Final = facts.name
        self.fingerprint: Final = facts.fingerprint
        self.certificate: Final = facts.certificate
        self.ways: Final = ways
        self._greeting = Template(screens.greeting(stock))
        self._screens = {
            secure: [Template(text) for text in screens.screens(stock, secure)]
            for secure in (False, True)
        }
        self.screens: Final = len(self._screens[False])
        self._whole = {
            secure: Template("\n".join(screens.screens(stock, secure))) for secure in (False, True)
        }
        self._pages = [Template(text) for text in datagrams.pages(stock)]
        self._html = {
            secure: Template(browser.page(stock, secure), escape) for secure in (False, True)
        }
        self._about = Template(_about(stock))
        self._commands = stock.commands
        self.grant(grants)
        self._help = {
            name: explain(entry, level=data.NEEDS) for name, entry in stock.commands.items()
        }
        self._help[""] = listing(stock.commands.values())
        described = {name: data.command(entry) for name, entry in stock.commands.items()}
        self._help_json = {
            name: f"{dumps({**entry, 'fields': data.fields(stock.commands[name])})}\n"
            for name, entry in described.items()
        }
        self._help_json[""] = f"{dumps({'commands': list(described.values())})}\n"
        for level in Level:
            if here := stock.level(level):
                found = {"commands": [described[command.name] for command in here]}
                self._help.setdefault(level.value, level_listing(level, here))
                self._help_json.setdefault(level.value, f"{dumps(found)}\n")
        door = data.door(stock)
        self._about_json = _json({"door": door})
        self._json = _json({"door": door, "commands": list(described.values())})

    def grant(self, grants: Iterable[Grant]) -> None:
        """Tell of these grants from now on."""
        grants = tuple(grants)
        self._levels: dict[str, str] = {}
        self._needs: dict[str, str] = {}
        for name, command in self._commands.items():
            found = need(grants, command)
            line = f"{level_line(command)} {takes(found)}"
            self._levels[name] = "\n".join(wrap(line.rstrip(), "  "))
            self._needs[name] = dumps(data.needs(found))

    def greeting(self, here: Here) -> str:
        """Return what is said to a client that says nothing: lines of under 80 columns."""
        return self._greeting.fill(here)

    def screen(self, n: int, here: Here, now: str, challenge: str) -> str:
        """Return screen `n`, from 1: at most 24 lines of 80 columns (IPv6 may take more).

        Raises CommandError where there is no such screen.
        """
        if not 0 < n <= self.screens:
            pages = ", ".join(f"doc {i + 1}" for i in range(self.screens))
            raise CommandError(f"the manual has {self.screens} screens: {pages}")
        return self._screens[here.secure][n - 1].fill(here, now, challenge)

    def whole(self, here: Here, now: str, challenge: str) -> str:
        """Return all screens, for a client that reads until the end."""
        return self._whole[here.secure].fill(here, now, challenge)

    @property
    def page_count(self) -> int:
        """How many pages the manual has for datagrams, at most 256."""
        return len(self._pages)

    def page(self, n: int, here: Here, now: str, challenge: str) -> str:
        """Return page `n`, from 0, for a datagram: at most 1200 bytes; `""` where there is none."""
        if not 0 <= n < len(self._pages):
            return ""
        return self._pages[n].fill(here, now, challenge)

    def pages(self, here: Here, now: str, challenge: str) -> tuple[str, ...]:
        """Return every page for datagrams; the first stands alone."""
        return tuple(page.fill(here, now, challenge) for page in self._pages)

    def short(self, limit: int, here: Here | None = None) -> str:
        """Return a line of at most `limit` bytes that says how to get more; it may be empty."""
        return datagrams.short(limit, here.port if here else None)

    def help(self, name: str = "") -> str:
        """Return all commands, those of a level, or one in full. Raises CommandError."""
        return _find(self._help, name).replace(data.NEEDS, self._levels.get(name, ""))

    def help_json(self, name: str = "") -> str:
        """Return the commands as JSON, or one of them. Raises CommandError."""
        return self._with_needs(_find(self._help_json, name))

    def about(self, here: Here) -> str:
        """Return whose door this is, whole, however long its owner's texts are."""
        return self._about.fill(here)

    def about_json(self, here: Here) -> str:
        """Return an object with `door`."""
        return self._about_json.fill(here)

    def json(self, here: Here) -> str:
        """Return an object with `door` and `commands`, in ASCII."""
        return self._with_needs(self._json.fill(here))

    def _with_needs(self, text: str) -> str:
        return _NEEDS_JSON.sub(lambda blank: self._needs[blank[1]], text)

    def html(self, here: Here, now: str, challenge: str) -> str:
        """Return the manual as a page for browsers, which needs nothing else."""
        return self._html[here.secure].fill(here, now, challenge)

    def framed(self, title: str, text: str) -> str:
        """Return the output of a command as a page for browsers."""
        return browser.framed(title, text)


def _find(prepared: Mapping[str, str], name: str) -> str:
    found = prepared.get(name)
    if found is None:
        raise CommandError(f"no command '{escape_line(name)[:_UNKNOWN_MAX]}'; type: help")
    return found


def _json(value: object) -> Template:
    text = dumps(value).replace(f'"\\u{ord(PORT):04x}"', PORT)
    return Template(
        f"{text}\n".replace(f"\\u{ord(HOST):04x}", HOST), lambda text: dumps(text)[1:-1]
    )


def _about(stock: Stock) -> str:
    facts = stock.facts
    pairs = [("name", facts.name), ("fleet", facts.fleet), ("owner", facts.contact)]
    pairs += [("key", facts.fingerprint), ("reached", f"{HOST} port {PORT}")]
    pairs += [*facts.elsewhere.items(), ("program", f"panicdoor {facts.version}")]
    return "\n".join([*columns([(key, text) for key, text in pairs if text], ""), ""])
